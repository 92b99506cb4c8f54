//! `klamm produce`: lines of a file or of standard input become records.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use klamm_client::{Client, Idempotence, Producer, ProducerOptions, ProducerRecord};
use klamm_model::Acks;
use klamm_records::Codec;
use klamm_stdx::Str;

use super::{Failure, Outcome};
use crate::pairs::pair;
use crate::session::Bootstrap;

/// Longest line, and largest file with --whole: brokers take far less.
const RECORD_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Produce lines of a file, or of standard input, to a topic.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  echo hello | klamm produce greetings\n  \
    klamm produce users users.tsv --key-separator '\t' -z zstd\n  \
    klamm produce pictures cat.png --whole -H kind=png")]
pub(crate) struct Arguments {
    /// The topic; created if the broker does that.
    topic: String,
    /// A file; standard input if left out or '-'.
    file: Option<PathBuf>,
    /// What separates a line's key from its value.
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// A header of every record; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// The partition; by key, or spread, if left out.
    #[arg(long, short)]
    partition: Option<i32>,
    /// How batches are compressed.
    #[arg(long, short = 'z', value_enum, default_value = "none")]
    compression: Compression,
    /// How many copies are waited for: 0, 1 or all.
    #[arg(long, default_value = "all", value_parser = parse_acks)]
    acks: Acks,
    /// The whole input is one record.
    #[arg(long)]
    whole: bool,
    /// A value (or key) that stands for null.
    #[arg(long, value_name = "TEXT")]
    null_marker: Option<String>,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    fn codec(self) -> Codec {
        match self {
            Self::None => Codec::None,
            Self::Gzip => Codec::Gzip,
            Self::Snappy => Codec::Snappy,
            Self::Lz4 => Codec::Lz4,
            Self::Zstd => Codec::Zstd,
        }
    }
}

fn parse_acks(text: &str) -> Result<Acks, String> {
    match text {
        "0" => Ok(Acks::None),
        "1" => Ok(Acks::Leader),
        "all" | "-1" => Ok(Acks::All),
        _ => Err("acks are 0, 1 or all".to_owned()),
    }
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    arguments.bootstrap.clone().run(|client| produce(client, arguments))
}

async fn produce(client: Client, arguments: Arguments) -> Outcome {
    let clock = client.env().clock.clone();
    let begin = clock.now();
    let options = ProducerOptions {
        acks: arguments.acks,
        compression: arguments.compression.codec().into(),
        idempotence: match arguments.acks {
            Acks::All => Idempotence::Enabled,
            Acks::None | Acks::Leader => Idempotence::Disabled,
        },
        ..ProducerOptions::default()
    };
    let producer = Producer::new(client, options)?;
    let mut input = Input::open(arguments.file.as_ref())?;
    let lines = Lines::new(&arguments);
    let (mut records, mut bytes) = (0_u64, 0_u64);
    while let Some(line) = input.next(arguments.whole).await? {
        bytes += line.len() as u64;
        records += 1;
        input.progress(bytes, records);
        producer.send(lines.record(line)?).await?;
    }
    producer.flush().await?;
    input.end();
    let elapsed = clock.now().since(begin).as_secs_f64().max(1e-6);
    let mut out = io::stdout().lock();
    let (topic, rate) = (&arguments.topic, bytes as f64 / 1e6 / elapsed);
    writeln!(
        out,
        "produced {records} records, {bytes} bytes to {topic} in {elapsed:.2} s ({rate:.1} MB/s)"
    )?;
    Ok(())
}

/// How lines become records.
struct Lines<'a> {
    topic: Str,
    partition: Option<i32>,
    separator: Option<&'a [u8]>,
    null_marker: Option<&'a [u8]>,
    headers: Vec<(Str, Option<Bytes>)>,
}

impl<'a> Lines<'a> {
    fn new(arguments: &'a Arguments) -> Self {
        let header = |(name, value): &(String, String)| {
            (Str::from(name.as_str()), Some(Bytes::from(value.clone())))
        };
        let bytes = |text: &'a Option<String>| text.as_deref().map(str::as_bytes);
        Self {
            topic: Str::from(arguments.topic.as_str()),
            partition: arguments.partition,
            separator: bytes(&arguments.key_separator).filter(|text| !text.is_empty()),
            null_marker: bytes(&arguments.null_marker),
            headers: arguments.headers.iter().map(header).collect(),
        }
    }

    fn record(&self, line: Bytes) -> Result<ProducerRecord, Failure> {
        let (key, value) = match self.separator {
            None => (None, line),
            Some(separator) => {
                let at = line.windows(separator.len()).position(|window| window == separator);
                let at = at.ok_or_else(|| {
                    let start = String::from_utf8_lossy(&line[..line.len().min(40)]).into_owned();
                    Failure::Told(format!("line '{start}' has no key separator"))
                })?;
                (Some(line.slice(..at)), line.slice(at + separator.len()..))
            }
        };
        let nullable = |bytes: Bytes| (Some(&bytes[..]) != self.null_marker).then_some(bytes);
        Ok(ProducerRecord {
            topic: self.topic.clone(),
            partition: self.partition,
            timestamp: None,
            key: key.and_then(nullable),
            value: nullable(value),
            headers: self.headers.clone(),
        })
    }
}

/// Where the records come from.
struct Input {
    reader: Option<Box<dyn BufRead + Send>>,
    /// A file is read where we are; standard input may keep us waiting, so a thread reads it.
    waits: bool,
    bar: ProgressBar,
}

impl Input {
    fn open(path: Option<&PathBuf>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            let reader: Box<dyn BufRead + Send> = Box::new(BufReader::new(io::stdin()));
            return Ok(Self { reader: Some(reader), waits: true, bar: ProgressBar::hidden() });
        };
        let told = |e: io::Error| Failure::Told(format!("{}: {e}", path.display()));
        let file = File::open(path).map_err(told)?;
        let len = file.metadata().map_err(told)?.len();
        let bar = match io::stdout().is_terminal() {
            true => ProgressBar::new(len),
            false => ProgressBar::hidden(),
        };
        let style = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        bar.set_style(ProgressStyle::with_template(style).map_err(|e| e.to_string())?);
        let reader: Box<dyn BufRead + Send> = Box::new(BufReader::with_capacity(256 * 1024, file));
        Ok(Self { reader: Some(reader), waits: false, bar })
    }

    async fn next(&mut self, whole: bool) -> Result<Option<Bytes>, Failure> {
        let Some(mut reader) = self.reader.take() else { return Ok(None) };
        let read = move || {
            let result = if whole { read_whole(&mut *reader) } else { read_line(&mut *reader) };
            (result, reader)
        };
        let (result, reader) = match self.waits {
            true => klamm_env::task::blocking(read).await?,
            false => read(),
        };
        if !whole {
            self.reader = Some(reader);
        }
        Ok(result?)
    }

    fn progress(&self, bytes: u64, records: u64) {
        /// Records between two looks at the bar.
        const EVERY: u64 = 1024;
        if records.is_multiple_of(EVERY) {
            self.bar.set_position(bytes);
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn read_whole(reader: &mut dyn BufRead) -> io::Result<Option<Bytes>> {
    let mut bytes = Vec::new();
    reader.take(RECORD_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    check_len(&bytes)?;
    Ok(Some(bytes.into()))
}

fn read_line(reader: &mut dyn BufRead) -> io::Result<Option<Bytes>> {
    let mut line = Vec::new();
    reader.take(RECORD_BYTES_MAX + 1).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    check_len(&line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(Some(line.into()))
}

fn check_len(bytes: &[u8]) -> io::Result<()> {
    if bytes.len() as u64 <= RECORD_BYTES_MAX {
        return Ok(());
    }
    Err(io::Error::other(format!("a record is larger than {RECORD_BYTES_MAX} bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines<'a>(separator: Option<&'a str>, null_marker: Option<&'a str>) -> Lines<'a> {
        Lines {
            topic: "t".into(),
            partition: None,
            separator: separator.map(str::as_bytes),
            null_marker: null_marker.map(str::as_bytes),
            headers: Vec::new(),
        }
    }

    fn split(lines: &Lines<'_>, line: &'static str) -> (Option<String>, Option<String>) {
        let record = lines.record(Bytes::from_static(line.as_bytes())).unwrap();
        let text = |bytes: Option<Bytes>| bytes.map(|b| String::from_utf8(b.to_vec()).unwrap());
        (text(record.key), text(record.value))
    }

    #[test]
    fn a_line_is_split_at_the_first_separator_and_markers_become_null() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(split(&lines(None, None), "a:b"), (None, some("a:b")));
        assert_eq!(split(&lines(Some(":"), None), "a:b:c"), (some("a"), some("b:c")));
        assert_eq!(split(&lines(Some("::"), None), "a::"), (some("a"), some("")));
        assert_eq!(split(&lines(Some(":"), Some("NULL")), "a:NULL"), (some("a"), None));
        assert_eq!(split(&lines(Some(":"), Some("")), ":"), (None, None));
        assert_eq!(split(&lines(None, Some("")), ""), (None, None));
    }

    #[test]
    fn a_line_without_the_separator_is_refused() {
        for line in ["", "abc", "a;b"] {
            assert!(lines(Some(":"), None).record(Bytes::from_static(line.as_bytes())).is_err());
        }
    }

    #[test]
    fn the_last_line_may_lack_its_end() {
        let mut reader = &b"a\n\nb"[..];
        let mut next = || read_line(&mut reader).unwrap().map(|line| line.to_vec());
        assert_eq!(next(), Some(b"a".to_vec()));
        assert_eq!(next(), Some(Vec::new()));
        assert_eq!(next(), Some(b"b".to_vec()));
        assert_eq!(next(), None);
    }

    #[test]
    fn acks_are_kafkas() {
        assert_eq!(parse_acks("all"), Ok(Acks::All));
        assert_eq!(parse_acks("0"), Ok(Acks::None));
        assert!(parse_acks("2").is_err());
    }
}
