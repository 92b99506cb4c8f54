//! `klamm consume`: records of a topic, on standard output.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use clap::Args;
use klamm_client::{
    AutoCreate, Client, Consumer, ConsumerOptions, ConsumerRecord, GroupConsumer, GroupOptions,
    OffsetReset, Result as ClientResult, StartAt,
};
use klamm_env::task;
use klamm_model::{IsolationLevel, Offset, Timestamp, TopicPartition};
use klamm_stdx::Str;

use super::{Failure, Outcome};
use crate::output::Form;
use crate::record_format::{Template, write_json};
use crate::session::Bootstrap;
use crate::signals;

/// How long one poll waits: short enough that the end of a topic is seen soon.
const POLL: Duration = Duration::from_millis(200);
/// Memory for what is not written yet.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;

/// Print the records of a topic.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  klamm consume orders --from-beginning -e\n  \
    klamm consume orders --offset -10 -f '%p/%o %k %v\\n'\n  \
    klamm consume orders -g readers -o json | jq .value")]
pub(crate) struct Arguments {
    /// The topic.
    topic: String,
    /// Start at the first record that is kept, instead of at the end.
    #[arg(long, conflicts_with = "offset")]
    from_beginning: bool,
    /// Start at N, at -N records before the end, or at @MS, a time in milliseconds since 1970.
    #[arg(long, value_name = "N|-N|@MS", allow_hyphen_values = true, value_parser = parse_offset)]
    offset: Option<StartAt>,
    /// Only this partition; may be given several times.
    #[arg(long = "partition", short = 'p', value_name = "N", conflicts_with = "group")]
    partitions: Vec<i32>,
    /// Read as a member of this group, and keep its offsets.
    #[arg(long, short, conflicts_with = "offset")]
    group: Option<String>,
    /// End after so many records.
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
    /// End when everything is read that was there.
    #[arg(long, short)]
    exit: bool,
    /// How a record is printed: %t topic, %p partition, %o offset, %k key, %v value, %h headers,
    /// %T timestamp, %K and %V lengths; \n and \t.
    #[arg(long, short, default_value = "%v\\n")]
    format: Template,
    /// One line each, or one JSON object each.
    #[arg(long, short, value_enum, default_value = "table")]
    output: Form,
    /// Leave out records of transactions that were aborted or are open.
    #[arg(long)]
    committed: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

fn parse_offset(text: &str) -> Result<StartAt, String> {
    let refuse = |_| format!("'{text}' is no offset: give N, -N or @MS");
    if let Some(ms) = text.strip_prefix('@') {
        let ms: u64 = ms.parse().map_err(refuse)?;
        return Ok(StartAt::Time(Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))));
    }
    let number: i64 = text.parse().map_err(refuse)?;
    match number {
        0.. => Ok(StartAt::Offset(Offset(number))),
        _ => Ok(StartAt::BeforeEnd(number.checked_neg().unwrap_or(i64::MAX))),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let client = arguments.bootstrap.client()?;
    task::run_worker(async {
        let mut reader = Reader::open(client, arguments).await?;
        let read = read(&mut reader, arguments).await;
        // Also after a failure: the others should not wait for our session to end.
        if let Reader::Group(consumer) = reader {
            let left = consumer.leave().await;
            read?;
            return Ok(left?);
        }
        read
    })?
}

async fn read(reader: &mut Reader, arguments: &Arguments) -> Outcome {
    let mut printer = Printer::new(arguments);
    let end = signals::end();
    tokio::pin!(end);
    while !printer.is_full() {
        let records = tokio::select! {
            biased;
            _ = &mut end => break,
            records = reader.poll() => records?,
        };
        printer.print(&records)?;
        if arguments.exit && reader.is_at_end() {
            break;
        }
    }
    Ok(())
}

/// What reads.
enum Reader {
    Alone(Box<Consumer>),
    Group(Box<GroupConsumer>),
}

impl Reader {
    async fn open(client: Client, arguments: &Arguments) -> Result<Self, Failure> {
        let topic = Str::from(arguments.topic.as_str());
        let info = client.topic(&topic, AutoCreate::Never).await?;
        let options = ConsumerOptions {
            isolation: match arguments.committed {
                true => IsolationLevel::ReadCommitted,
                false => IsolationLevel::ReadUncommitted,
            },
            reset: match arguments.from_beginning {
                true => OffsetReset::Earliest,
                false => OffsetReset::Latest,
            },
            max_poll_records: arguments.count.map_or(usize::MAX, |n| n as usize).clamp(1, 5000),
            ..ConsumerOptions::default()
        };
        if let Some(group) = &arguments.group {
            let group = GroupOptions::new(group.as_str());
            let consumer = GroupConsumer::new(client, vec![topic], group, options);
            return Ok(Self::Group(Box::new(consumer)));
        }
        let at = match (arguments.from_beginning, arguments.offset) {
            (true, _) => StartAt::Beginning,
            (false, Some(at)) => at,
            (false, None) => StartAt::End,
        };
        let partitions = match arguments.partitions.is_empty() {
            true => info.leaders.keys().copied().collect(),
            false => arguments.partitions.clone(),
        };
        let assigned: Vec<_> =
            partitions.iter().map(|p| (TopicPartition::new(topic.clone(), *p), at)).collect();
        let mut consumer = Consumer::new(client, options);
        consumer.assign(&assigned).await?;
        Ok(Self::Alone(Box::new(consumer)))
    }

    async fn poll(&mut self) -> ClientResult<Vec<ConsumerRecord>> {
        match self {
            Self::Alone(consumer) => consumer.poll(POLL).await,
            Self::Group(consumer) => consumer.poll(POLL).await,
        }
    }

    fn is_at_end(&self) -> bool {
        match self {
            Self::Alone(consumer) => consumer.is_at_end(),
            Self::Group(consumer) => consumer.is_at_end(),
        }
    }
}

/// What prints, and how many records are still to come.
struct Printer<'a> {
    out: BufWriter<io::Stdout>,
    template: &'a Template,
    form: Form,
    left: u64,
}

impl<'a> Printer<'a> {
    fn new(arguments: &'a Arguments) -> Self {
        Self {
            out: BufWriter::with_capacity(WRITE_BUFFER_BYTES, io::stdout()),
            template: &arguments.format,
            form: arguments.output,
            left: arguments.count.unwrap_or(u64::MAX),
        }
    }

    fn is_full(&self) -> bool {
        self.left == 0
    }

    fn print(&mut self, records: &[ConsumerRecord]) -> Outcome {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(records.len());
        for record in &records[..count] {
            match self.form {
                Form::Table => self.template.write(&mut self.out, record)?,
                Form::Json => write_json(&mut self.out, record)?,
            }
        }
        self.left -= count as u64;
        // A reader of our pipe gets what there is before we wait for more.
        self.out.flush()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_counted_from_the_start_the_end_or_a_time() {
        assert_eq!(parse_offset("5"), Ok(StartAt::Offset(Offset(5))));
        assert_eq!(parse_offset("-5"), Ok(StartAt::BeforeEnd(5)));
        assert_eq!(parse_offset("@99"), Ok(StartAt::Time(Timestamp(99))));
        assert_eq!(parse_offset("-9223372036854775808"), Ok(StartAt::BeforeEnd(i64::MAX)));
        for text in ["", "-", "@", "@-1", "x", "1.5", "99999999999999999999"] {
            assert!(parse_offset(text).is_err(), "{text}");
        }
    }
}
