//! `klamm log dump`: what the files of a log say. Never changes a file, and shows what is damaged
//! with the place where it is. `verify` and `repair-index` have files of their own.

mod decoders;
mod repair;
mod targets;
mod verify;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use klamm_env::OpenMode;
use klamm_log::dump::{DumpedBatch, dump_batches, leader_epochs, offsets, transaction_index};
use klamm_log::{decode_index, decode_snapshot, decode_time_index};
use klamm_model::{GROUP_OFFSETS_TOPIC, METADATA_TOPIC};
use klamm_records::{BatchView, RecordView, Scratch};
use serde_json::{Map, Value, json};

use super::{Failure, Outcome};
use crate::output::{Form, Output};
use crate::record_format::insert;
use decoders::Decoder;

/// Largest file other than a log that is read as a whole: Kafka's indexes have 10 MiB.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Which command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the batches and records of .log files and .checkpoint snapshots, and what indexes,
    /// producer snapshots and checkpoints say.
    #[command(after_help = "Examples:\n  \
        klamm log dump klamm-data/orders-0/00000000000000000000.log --values\n  \
        klamm log dump klamm-data/__cluster_metadata-0/*.log -o json\n  \
        klamm log dump klamm-data/orders-0/*.index")]
    Dump(Dump),
    /// Read and decode everything in log directories, and say what is wrong and what helps. Ends
    /// with 0 if all is sound, 1 if something is damaged, 2 if it cannot be looked at.
    #[command(after_help = "Examples:\n  \
        klamm log verify klamm-data\n  \
        klamm log verify klamm-data/orders-0 -o json")]
    Verify(verify::Verify),
    /// Write indexes anew from the batches, of a directory that no node uses.
    #[command(after_help = "Examples:\n  \
        klamm log repair-index klamm-data/orders-0\n  \
        klamm log repair-index klamm-data/orders-0/00000000000000000000.log")]
    RepairIndex(repair::RepairIndex),
}

#[derive(Debug, Args)]
struct Dump {
    /// The files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Keys, values and headers of records too.
    #[arg(long)]
    values: bool,
    /// Records are those of __consumer_offsets; found by the path otherwise.
    #[arg(long, conflicts_with = "cluster_metadata_decoder")]
    offsets_decoder: bool,
    /// Records are those of __cluster_metadata; found by the path otherwise.
    #[arg(long)]
    cluster_metadata_decoder: bool,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    let arguments = match arguments.command {
        Command::Dump(arguments) => arguments,
        Command::Verify(arguments) => return verify::run(&arguments),
        Command::RepairIndex(arguments) => return repair::run(&arguments),
    };
    let mut printer = Printer { out: BufWriter::new(io::stdout()), form: arguments.output.form };
    for path in &arguments.files {
        dump(&arguments, path, &mut printer)?;
    }
    printer.out.flush()?;
    Ok(())
}

/// Prints facts as they come: a log may be larger than memory.
struct Printer {
    out: BufWriter<io::Stdout>,
    form: Form,
}

impl Printer {
    fn print(&mut self, indent: &str, facts: &Value) -> Outcome {
        match self.form {
            Form::Json => writeln!(self.out, "{facts}")?,
            Form::Table => {
                write!(self.out, "{indent}")?;
                for (i, (name, value)) in facts.as_object().into_iter().flatten().enumerate() {
                    let separator = if i > 0 { " " } else { "" };
                    match value {
                        Value::String(text) if !text.contains([' ', '\n']) => {
                            write!(self.out, "{separator}{name}={text}")?;
                        }
                        value => write!(self.out, "{separator}{name}={value}")?,
                    }
                }
                writeln!(self.out)?;
            }
        }
        Ok(())
    }

    fn title(&mut self, path: &Path) -> Outcome {
        match self.form {
            Form::Table => writeln!(self.out, "{}", path.display())?,
            Form::Json => {}
        }
        Ok(())
    }
}

fn dump(arguments: &Dump, path: &Path, printer: &mut Printer) -> Outcome {
    printer.title(path)?;
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match (extension, name) {
        ("log" | "checkpoint", _) => return dump_log(arguments, path, printer),
        ("index" | "timeindex" | "snapshot" | "txnindex", _) => {}
        (_, name) if name.ends_with("-checkpoint") => {}
        _ => {
            let path = path.display();
            return Err(format!("{path}: expected .log, .index, .timeindex, .txnindex, .snapshot, .checkpoint or a checkpoint of offsets").into());
        }
    }
    let bytes = read(path)?;
    for facts in facts(extension, name, &bytes).map_err(|e| told(path, &e))? {
        printer.print("  ", &facts)?;
    }
    Ok(())
}

fn told(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Told(format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let len = std::fs::metadata(path).map_err(|e| told(path, &e))?.len();
    if len > FILE_BYTES_MAX {
        return Err(told(path, &format!("{len} bytes are too large for such a file")));
    }
    std::fs::read(path).map_err(|e| told(path, &e))
}

/// What a file other than a log says.
fn facts(extension: &str, name: &str, bytes: &[u8]) -> Result<Vec<Value>, String> {
    let base: i64 = name.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    Ok(match extension {
        "index" => decode_index(bytes)
            .iter()
            .map(|e| json!({"offset": base + i64::from(e.relative_offset), "position": e.position}))
            .collect(),
        "timeindex" => decode_time_index(bytes)
            .iter()
            .map(|e| {
                let offset = base + i64::from(e.relative_offset);
                json!({"timestamp": e.timestamp.0, "offset": offset})
            })
            .collect(),
        "txnindex" => transaction_index(bytes)
            .iter()
            .map(|e| {
                json!({"producer_id": e.producer_id.0, "first_offset": e.first_offset.0,
                    "last_offset": e.last_offset.0, "last_stable_offset": e.last_stable_offset.0})
            })
            .collect(),
        "snapshot" => decode_snapshot(bytes)
            .map_err(|e| e.to_string())?
            .iter()
            .map(|(id, entry)| {
                let last = entry.batches.back();
                json!({"producer_id": id.0, "epoch": entry.epoch.0,
                    "last_sequence": last.map(|batch| batch.last_sequence),
                    "last_offset": last.map(|batch| batch.last_offset.0),
                    "last_timestamp": entry.last_timestamp.0,
                    "coordinator_epoch": entry.coordinator_epoch,
                    "transaction_first_offset": entry.transaction_first_offset.map(|o| o.0)})
            })
            .collect(),
        _ if name == "leader-epoch-checkpoint" => leader_epochs(bytes)
            .map_err(|e| e.to_string())?
            .iter()
            .map(|(epoch, offset)| json!({"leader_epoch": epoch.0, "start_offset": offset.0}))
            .collect(),
        _ => offsets(bytes)
            .map_err(|e| e.to_string())?
            .iter()
            .map(|(partition, offset)| {
                json!({"partition": partition.to_string(), "offset": offset.0})
            })
            .collect(),
    })
}

fn decoder(arguments: &Dump, path: &Path) -> Decoder {
    let dir = path.parent().and_then(Path::file_name).and_then(|dir| dir.to_str());
    let topic = dir.and_then(|dir| dir.rsplit_once('-')).map(|(topic, _)| topic);
    let is_bootstrap = path.file_name().is_some_and(|name| name == "bootstrap.checkpoint");
    match topic {
        _ if arguments.offsets_decoder => Decoder::Offsets,
        _ if arguments.cluster_metadata_decoder || is_bootstrap => Decoder::ClusterMetadata,
        Some(GROUP_OFFSETS_TOPIC) => Decoder::Offsets,
        Some(METADATA_TOPIC) => Decoder::ClusterMetadata,
        _ => Decoder::None,
    }
}

fn dump_log(arguments: &Dump, path: &Path, printer: &mut Printer) -> Outcome {
    let decoder = decoder(arguments, path);
    let disk = klamm_env::real::env().disk;
    let file = disk.open(path, OpenMode::Read).map_err(|e| told(path, &e))?;
    let mut scratch = Scratch::default();
    for batch in dump_batches(file).map_err(|e| told(path, &e))? {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                printer.out.flush()?;
                return Err(told(path, &error));
            }
        };
        printer.print("  ", &batch_facts(&batch))?;
        if decoder == Decoder::None && !arguments.values {
            continue;
        }
        let told_at = |error: &dyn std::fmt::Display| {
            told(path, &format!("batch at byte {}: {error}", batch.position))
        };
        let view = BatchView::parse(&batch.bytes).map_err(|e| told_at(&e))?;
        let records = view.records(&mut scratch).map_err(|e| told_at(&e))?;
        for record in records {
            let record = record.map_err(|e| told_at(&e))?;
            let is_control = view.attributes.is_control();
            printer.print("    ", &record_facts(&record, decoder, is_control))?;
        }
    }
    Ok(())
}

fn batch_facts(batch: &DumpedBatch) -> Value {
    let header = &batch.header;
    let codec = header.attributes.codec();
    json!({
        "base_offset": header.base_offset.0,
        "last_offset": header.base_offset.0 + i64::from(header.last_offset_delta),
        "records": header.record_count,
        "position": batch.position,
        "bytes": batch.bytes.len(),
        "leader_epoch": header.partition_leader_epoch.0,
        "max_timestamp": header.max_timestamp.0,
        "compression": codec.map_or_else(|id| format!("unknown {id}"), |c| c.name().to_owned()),
        "producer_id": header.producer.map(|producer| producer.id.0),
        "producer_epoch": header.producer.map(|producer| producer.epoch.0),
        "base_sequence": header.producer.map(|producer| producer.base_sequence),
        "transactional": header.attributes.is_transactional(),
        "control": header.attributes.is_control(),
        "crc": match &batch.checksum {
            Ok(()) => "valid".to_owned(),
            Err(error) => error.to_string(),
        },
    })
}

fn record_facts(record: &RecordView<'_>, decoder: Decoder, is_control: bool) -> Value {
    let mut facts = Map::new();
    facts.insert("offset".into(), record.offset.0.into());
    facts.insert("timestamp".into(), record.timestamp.0.into());
    if is_control || decoder != Decoder::None {
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let (key, value) = (copy(record.key), copy(record.value));
        let decoded = match is_control {
            true => decoders::control(record),
            false => decoder.decode(key, value),
        };
        facts.insert("record".into(), decoded.into());
        return Value::Object(facts);
    }
    insert(&mut facts, "key", record.key);
    insert(&mut facts, "value", record.value);
    let headers: Vec<Value> = record
        .headers()
        .map(|header| {
            let mut of = Map::new();
            insert(&mut of, "key", Some(header.key));
            insert(&mut of, "value", header.value);
            Value::Object(of)
        })
        .collect();
    if !headers.is_empty() {
        facts.insert("headers".into(), headers.into());
    }
    Value::Object(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_told_in_absolute_offsets() {
        let bytes = [0, 0, 0, 5, 0, 0, 1, 0];
        let facts = facts("index", "00000000000000000100.index", &bytes).unwrap();
        assert_eq!(facts, [json!({"offset": 105, "position": 256})]);
    }

    #[test]
    fn checkpoints_are_told_line_by_line_and_damaged_ones_refused() {
        let told = facts("", "recovery-point-offset-checkpoint", b"0\n1\nt 3 9\n").unwrap();
        assert_eq!(told, [json!({"partition": "t-3", "offset": 9})]);
        let told = facts("", "leader-epoch-checkpoint", b"0\n1\n2 7\n").unwrap();
        assert_eq!(told, [json!({"leader_epoch": 2, "start_offset": 7})]);
        assert!(facts("", "recovery-point-offset-checkpoint", b"x").is_err());
        assert!(facts("snapshot", "00000000000000000000.snapshot", b"x").is_err());
    }
}
