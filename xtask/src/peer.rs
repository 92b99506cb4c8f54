//! `cargo xtask peer`: Apache Kafka's jars, fetched with Maven into a cache outside the
//! repository. They are the oracle of the tests and the source of the schemas; never shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version of Apache Kafka that Klamm speaks.
pub(crate) const KAFKA_VERSION: &str = "4.3.1";

/// What Maven resolves; the rest of Kafka comes along as their dependencies.
const ARTIFACTS: [&str; 10] = [
    "kafka_2.13",
    "kafka-tools",
    "kafka-shell",
    "connect-runtime",
    "connect-file",
    "connect-mirror",
    "connect-transforms",
    "kafka-streams",
    "kafka-streams-test-utils",
    "kafka-streams-examples",
];

/// Kafka's programs: the name of the shell script without `kafka-` and `.sh`, and the class.
const PROGRAMS: [(&str, &str); 37] = [
    ("acls", "org.apache.kafka.tools.AclCommand"),
    ("broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("client-metrics", "org.apache.kafka.tools.ClientMetricsCommand"),
    ("cluster", "org.apache.kafka.tools.ClusterTool"),
    ("configs", "kafka.admin.ConfigCommand"),
    ("connect-distributed", "org.apache.kafka.connect.cli.ConnectDistributed"),
    ("connect-standalone", "org.apache.kafka.connect.cli.ConnectStandalone"),
    ("console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("console-producer", "org.apache.kafka.tools.ConsoleProducer"),
    ("console-share-consumer", "org.apache.kafka.tools.consumer.ConsoleShareConsumer"),
    ("consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("consumer-perf-test", "org.apache.kafka.tools.ConsumerPerformance"),
    ("delegation-tokens", "org.apache.kafka.tools.DelegationTokenCommand"),
    ("delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("dump-log", "org.apache.kafka.tools.DumpLogSegments"),
    ("e2e-latency", "org.apache.kafka.tools.EndToEndLatency"),
    ("features", "org.apache.kafka.tools.FeatureCommand"),
    ("get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("groups", "org.apache.kafka.tools.GroupsCommand"),
    ("leader-election", "org.apache.kafka.tools.LeaderElectionCommand"),
    ("log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    ("metadata-quorum", "org.apache.kafka.tools.MetadataQuorumCommand"),
    ("metadata-shell", "org.apache.kafka.shell.MetadataShell"),
    ("mirror-maker", "org.apache.kafka.connect.mirror.MirrorMaker"),
    ("producer-perf-test", "org.apache.kafka.tools.ProducerPerformance"),
    ("reassign-partitions", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"),
    ("replica-verification", "org.apache.kafka.tools.ReplicaVerificationTool"),
    ("server-start", "kafka.Kafka"),
    ("share-groups", "org.apache.kafka.tools.consumer.group.ShareGroupCommand"),
    ("storage", "kafka.tools.StorageTool"),
    ("streams-application-reset", "org.apache.kafka.tools.StreamsResetter"),
    ("streams-groups", "org.apache.kafka.tools.streams.StreamsGroupCommand"),
    ("topics", "org.apache.kafka.tools.TopicCommand"),
    ("transactions", "org.apache.kafka.tools.TransactionsCommand"),
    ("verifiable-consumer", "org.apache.kafka.tools.VerifiableConsumer"),
    ("verifiable-producer", "org.apache.kafka.tools.VerifiableProducer"),
    ("verifiable-share-consumer", "org.apache.kafka.tools.VerifiableShareConsumer"),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Run a program by its script's name or its class, such as `topics --list`.
    Run {
        /// The script's name without `kafka-` and `.sh`, or a class.
        program: String,
        /// What the program is given.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    match &arguments.action {
        None => println!("{}", jars()?.display()),
        Some(Action::Run { program, arguments }) => {
            let status = program_command(program, arguments)?
                .status()
                .map_err(|error| format!("cannot start java: {error}; is a JRE 17 installed?"))?;
            if !status.success() {
                return Err(format!("{program} ended with {status}"));
            }
        }
    }
    Ok(())
}

/// A program of Kafka's, ready to be started.
pub(crate) fn program_command(program: &str, arguments: &[String]) -> Result<Command, String> {
    let class = PROGRAMS
        .binary_search_by_key(&program, |(name, _)| name)
        .map_or(program, |found| PROGRAMS[found].1);
    let heap = if program == "server-start" { "1g" } else { "256m" };
    let mut command = Command::new("java");
    command.arg(format!("-Xmx{heap}")).args(["-cp", &class_path(&jars()?), class]).args(arguments);
    Ok(command)
}

/// Java's class path of all jars in `lib`.
pub(crate) fn class_path(lib: &Path) -> String {
    format!("{}/*", lib.display())
}

/// The folder with Kafka's jars; fetches them if this machine does not have them yet.
pub(crate) fn jars() -> Result<PathBuf, String> {
    let lib = cache()?.join(format!("kafka-{KAFKA_VERSION}")).join("lib");
    let marker = lib.join(".complete");
    if !marker.exists() {
        fetch(&lib)?;
        fs::write(&marker, "")
            .map_err(|error| format!("cannot write {}: {error}", marker.display()))?;
    }
    Ok(lib)
}

pub(crate) fn cache() -> Result<PathBuf, String> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("KLAMM_PEER_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("klamm-peer")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/klamm-peer")))
        .ok_or_else(|| "none of KLAMM_PEER_CACHE, XDG_CACHE_HOME and HOME is set".to_owned())
}

fn fetch(lib: &Path) -> Result<(), String> {
    let failed = |what: &str, error: std::io::Error| format!("cannot {what}: {error}");
    fs::create_dir_all(lib).map_err(|error| failed("create the folder of the jars", error))?;
    let pom = lib.with_file_name("pom.xml");
    fs::write(&pom, pom_text()).map_err(|error| failed("write pom.xml", error))?;
    eprintln!("fetching Apache Kafka {KAFKA_VERSION} into {}", lib.display());
    let status = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", lib.display()))
        .stdin(Stdio::null())
        // Standard output is for the folder alone.
        .stdout(std::io::stderr())
        .status()
        .map_err(|error| format!("cannot start mvn: {error}; is Maven installed?"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("mvn could not fetch Apache Kafka {KAFKA_VERSION} ({status}); its output says why"))
}

fn pom_text() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>\n"
        )
    };
    let kafka = ARTIFACTS.iter().map(|name| dependency("org.apache.kafka", name, KAFKA_VERSION));
    format!(
        "<project>\n\
         <modelVersion>4.0.0</modelVersion>\n\
         <groupId>klamm</groupId><artifactId>peer</artifactId><version>1</version>\n\
         <dependencies>\n{}{}</dependencies>\n</project>\n",
        kafka.collect::<String>(),
        dependency("org.slf4j", "slf4j-nop", "1.7.36"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_in_order_so_that_each_is_found() {
        assert!(PROGRAMS.is_sorted_by_key(|(name, _)| name));
    }
}
