//! `klamm demo`: a node of its own, a text in at one end and out at the other, and proof that
//! nothing was lost. Never leaves anything behind.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use klamm_client::{
    Client, ClientOptions, ConsumerOptions, ConsumerRecord, GroupConsumer, GroupOptions, NewTopic,
    OffsetReset, Producer, ProducerOptions, ProducerRecord,
};
use klamm_config::{BrokerConfig, Properties};
use klamm_env::{Env, Moment, task};
use klamm_server::{Node, NodeOptions};
use klamm_stdx::Str;
use tokio::sync::mpsc;

use super::{Failure, Outcome};
use crate::session::run_until_end;
use crate::signals::Watch;

/// What is streamed: a page of this project's documentation.
const TEXT: &[u8] = include_bytes!("../../../../docs/reference/configs.md");
const TOPIC: &str = "demo";
const GROUP: &str = "demo-readers";
/// Batches of records on their way from the readers to who checks them.
const READ_BATCHES_MAX: usize = 64;
/// How long nothing may arrive before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Show what Klamm does.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  klamm demo\n  klamm demo --exit --rounds 100 --partitions 12 --consumers 4"
)]
pub(crate) struct Arguments {
    /// End when all is shown, instead of serving until Ctrl-C.
    #[arg(long)]
    exit: bool,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,
    /// Members of the group that reads.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    consumers: u16,
    /// How many times the text is streamed.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rounds: u32,
}

/// A directory that goes away with its owner, on every path.
struct Temporary(PathBuf);

impl Temporary {
    fn new(env: &Env) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("klamm-demo-{}", env.random.uuid()));
        std::fs::create_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::error!(path = %self.0.display(), %error, "the demo's directory stays");
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let env = klamm_env::real::env();
    let signals = Watch::start()?;
    let directory = Temporary::new(&env)?;
    let mut properties = Properties::default();
    properties.set("log.dirs", directory.0.display().to_string());
    properties.set("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0");
    properties.set("klamm.metrics.listeners", "");
    properties.set("group.initial.rebalance.delay.ms", "200");
    let loaded = BrokerConfig::load(&properties).map_err(|errors| errors.to_string())?;
    let options = NodeOptions { config: loaded.config, properties, env: env.clone() };
    let node = Node::start(options).map_err(|e| e.to_string())?;
    let outcome = match node.address("PLAINTEXT") {
        Some(address) => show(arguments, &env, &address.to_string(), &signals),
        None => Err("the node has no listener PLAINTEXT".into()),
    };
    node.stop();
    drop(directory);
    outcome
}

fn show(arguments: &Arguments, env: &Env, address: &str, signals: &Watch) -> Outcome {
    say(&format!("a node serves {address}, its directory is temporary"))?;
    run_until_end(stream(arguments, env, address))?;
    say(&format!(
        "connect to it:\n  klamm consume {TOPIC} -b {address} --from-beginning -n 5\n  \
         kcat -b {address} -t {TOPIC} -C -c 5\n  klamm group describe {GROUP} -b {address}"
    ))?;
    if !arguments.exit {
        say("Ctrl-C ends it")?;
        signals.wait()?;
    }
    Ok(())
}

fn say(text: &str) -> Outcome {
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

/// The lines of the text, their ends included, so that together they are the text.
fn lines() -> Vec<Bytes> {
    TEXT.split_inclusive(|byte| *byte == b'\n').map(Bytes::from_static).collect()
}

async fn stream(arguments: &Arguments, env: &Env, address: &str) -> Outcome {
    let options = ClientOptions::parse(address)?;
    let client = || Client::new(env.clone(), options.clone());
    let topic = NewTopic {
        name: TOPIC.into(),
        partition_count: Some(arguments.partitions),
        ..NewTopic::default()
    };
    client().create_topic(&topic).await?;
    let lines = lines();
    let total = lines.len() as u64 * u64::from(arguments.rounds);
    let bar = bar(total)?;
    let begin = env.clock.now();
    let (told, records) = mpsc::channel(READ_BATCHES_MAX);
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..arguments.consumers {
        readers.spawn_local(read(client(), told.clone()));
    }
    drop(told);
    let producer = Producer::new(client(), ProducerOptions::default())?;
    let producing = produce(&producer, &lines, arguments.rounds);
    let checking = check(Check::new(&lines, arguments), records, &bar);
    let produced = async {
        producing.await?;
        Ok::<Moment, Failure>(env.clock.now())
    };
    let (produced, ()) = tokio::try_join!(produced, checking)?;
    let end = env.clock.now();
    bar.finish_and_clear();
    // Dropped handles end the readers; they leave the group before that.
    while let Some(left) = readers.join_next().await {
        left.map_err(|e| e.to_string())??;
    }
    let rate = |until: Moment| total as f64 / until.since(begin).as_secs_f64().max(1e-6);
    let bytes = TEXT.len() as u64 * u64::from(arguments.rounds);
    say(&format!(
        "{total} records, {bytes} bytes: produced at {:.0} records/s, read by {} consumers from {} partitions at {:.0} records/s",
        rate(produced),
        arguments.consumers,
        arguments.partitions,
        rate(end)
    ))?;
    say("every byte is there, once and in order")
}

fn bar(total: u64) -> Result<ProgressBar, Failure> {
    if !io::stdout().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let bar = ProgressBar::new(total);
    let style = "{wide_bar} {pos}/{len} records read, {per_sec} {eta}";
    bar.set_style(ProgressStyle::with_template(style).map_err(|e| e.to_string())?);
    Ok(bar)
}

/// The key is the line's number over all rounds, so that order can be checked.
async fn produce(producer: &Producer, lines: &[Bytes], rounds: u32) -> Outcome {
    let topic = Str::from_static(TOPIC);
    for number in 0..lines.len() as u64 * u64::from(rounds) {
        let line = &lines[(number % lines.len() as u64) as usize];
        let record = ProducerRecord {
            topic: topic.clone(),
            key: Some(Bytes::copy_from_slice(&number.to_be_bytes())),
            value: Some(line.clone()),
            ..ProducerRecord::default()
        };
        producer.send(record).await?;
    }
    Ok(producer.flush().await?)
}

/// One member of the group: reads until nobody wants more.
async fn read(client: Client, told: mpsc::Sender<Vec<ConsumerRecord>>) -> Outcome {
    let group =
        GroupOptions { heartbeat_interval: Duration::from_millis(500), ..GroupOptions::new(GROUP) };
    let options = ConsumerOptions { reset: OffsetReset::Earliest, ..ConsumerOptions::default() };
    let mut consumer = GroupConsumer::new(client, vec![Str::from_static(TOPIC)], group, options);
    loop {
        let records = tokio::select! {
            biased;
            () = told.closed() => break,
            records = consumer.poll(Duration::from_millis(500)) => records?,
        };
        if !records.is_empty() && told.send(records).await.is_err() {
            break;
        }
    }
    Ok(consumer.leave().await?)
}

/// What has been read so far. A rebalance may give records again, which is no fault; a gap, a
/// changed byte or a wrong order is.
struct Check<'a> {
    lines: &'a [Bytes],
    seen: Vec<bool>,
    seen_count: u64,
    /// By partition: the next offset, and the last line's number.
    partitions: BTreeMap<i32, (i64, u64)>,
}

impl<'a> Check<'a> {
    fn new(lines: &'a [Bytes], arguments: &Arguments) -> Self {
        let total = lines.len() * arguments.rounds as usize;
        Self { lines, seen: vec![false; total], seen_count: 0, partitions: BTreeMap::new() }
    }

    fn take(&mut self, record: &ConsumerRecord) -> Outcome {
        let at = format!("{}-{} at offset {}", record.topic, record.partition, record.offset);
        let key = record.key.as_deref().and_then(|key| key.try_into().ok());
        let Some(number) = key.map(u64::from_be_bytes) else {
            return Err(format!("{at}: the key is no line number").into());
        };
        let line = &self.lines[(number % self.lines.len() as u64) as usize];
        if record.value.as_ref() != Some(line) {
            return Err(format!("{at}: line {number} has changed").into());
        }
        let (next, last) = self.partitions.entry(record.partition).or_insert((0, 0));
        if record.offset.0 > *next {
            return Err(format!("{at}: records from {next} are missing").into());
        }
        if record.offset.0 < *next {
            return Ok(());
        }
        if record.offset.0 > 0 && number <= *last {
            return Err(format!("{at}: line {number} comes after line {last}").into());
        }
        (*next, *last) = (record.offset.0 + 1, number);
        match self.seen.get_mut(number as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return Err(format!("{at}: line {number} is there twice").into()),
            None => return Err(format!("{at}: there is no line {number}").into()),
        }
        self.seen_count += 1;
        Ok(())
    }
}

async fn check(
    mut check: Check<'_>,
    mut records: mpsc::Receiver<Vec<ConsumerRecord>>,
    bar: &ProgressBar,
) -> Outcome {
    let total = check.seen.len() as u64;
    while check.seen_count < total {
        match task::timeout(PATIENCE, records.recv()).await {
            Some(Some(batch)) => {
                for record in &batch {
                    check.take(record)?;
                }
                bar.set_position(check.seen_count);
            }
            Some(None) => return Err("the readers have ended too early".into()),
            None => {
                let missing = total - check.seen_count;
                return Err(format!("{missing} records did not come in {PATIENCE:?}").into());
            }
        }
    }
    Ok(())
}
