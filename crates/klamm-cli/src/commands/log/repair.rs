//! `klamm log repair-index`: indexes written anew from the batches. Never touches a batch.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use klamm_log::{LogConfig, names, verify};
use klamm_model::Offset;
use serde::Serialize;

use super::targets::{Bar, Locking, Targets, disk};
use crate::commands::{Failure, Outcome};
use crate::output::{Output, Printed};

/// What to repair.
#[derive(Debug, Args)]
pub(super) struct RepairIndex {
    /// Log directories, directories of partitions, or single .log or index files.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Bytes between two entries: the topic's index.interval.bytes.
    #[arg(long, value_name = "BYTES", default_value_t = LogConfig::default().index_interval_bytes)]
    index_interval_bytes: u64,
    #[command(flatten)]
    output: Output,
}

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Report {
    written: Vec<String>,
    unchanged: u64,
    damaged: Vec<String>,
}

impl Printed for Report {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        for file in &self.written {
            writeln!(out, "written: {file}")?;
        }
        for what in &self.damaged {
            writeln!(out, "left alone: {what}")?;
        }
        writeln!(out, "{} files written, {} were right", self.written.len(), self.unchanged)
    }
}

pub(super) fn run(arguments: &RepairIndex) -> Outcome {
    let disk = disk();
    let targets = Targets::find(disk.as_ref(), &arguments.paths)?;
    let _held = targets.lock(disk.as_ref(), Locking::Always)?;
    let mut report = Report::default();
    let mut bar = Bar::new(targets.bytes)?;
    for (dir, partition) in &targets.partitions {
        let mut segments: Vec<Option<Offset>> = vec![None];
        if !partition.files.is_empty() {
            segments = partition.files.iter().map(|file| base(file)).collect();
            segments.sort_unstable();
            segments.dedup();
        }
        for only in segments {
            let interval = arguments.index_interval_bytes;
            let repaired = verify::repair_indexes(&disk, (dir, only), interval, &mut bar)
                .map_err(|error| Failure::CannotRun(error.to_string()))?;
            report.unchanged += repaired.unchanged;
            report.written.extend(repaired.written.iter().map(|path| path.display().to_string()));
            report.damaged.extend(repaired.damaged.iter().map(|(path, at)| {
                format!(
                    "{}: batches are damaged at byte {at}; restore the file first",
                    path.display()
                )
            }));
        }
    }
    bar.finish();
    arguments.output.print(&report)?;
    if report.damaged.is_empty() { Ok(()) } else { Err(Failure::Found) }
}

/// The segment that a file belongs to.
fn base(file: &std::path::Path) -> Option<Offset> {
    let name = file.file_name()?.to_str()?;
    let suffixes = [
        names::LOG_SUFFIX,
        names::INDEX_SUFFIX,
        names::TIME_INDEX_SUFFIX,
        names::TRANSACTION_INDEX_SUFFIX,
        names::SNAPSHOT_SUFFIX,
    ];
    suffixes.iter().find_map(|suffix| names::base_offset(name, suffix))
}
