//! `klamm storage` formats what a node then starts from, and refuses what Kafka refuses.

use std::path::PathBuf;
use std::process::Command;

use klamm_config::{BrokerConfig, Properties};
use klamm_metadata::MetadataVersion;
use klamm_server::{Node, NodeOptions};

use crate::fixture::TempDir;

const ID: &str = "JEXY6aqzQY-32P5TStzaFg";
const DYNAMIC: &str = "controller.quorum.bootstrap.servers=127.0.0.1:9093\n";
const FIXED: &str = "controller.quorum.voters=1@127.0.0.1:9093\n";

struct Storage {
    dir: TempDir,
}

impl Storage {
    fn new(quorum: &str) -> Self {
        let dir = TempDir::new();
        let data = dir.0.join("data");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\nlog.dirs={}\n\
             listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:9093\n\
             controller.listener.names=CONTROLLER\nklamm.metrics.listeners=\n{quorum}",
            data.display()
        );
        std::fs::write(dir.0.join("server.properties"), text).unwrap();
        Self { dir }
    }

    fn config(&self) -> PathBuf {
        self.dir.0.join("server.properties")
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_klamm"))
            .args(["storage", arguments[0], "-c"])
            .arg(self.config())
            .args(&arguments[1..])
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8(output.stderr).unwrap()),
        }
    }

    fn format(&self, arguments: &[&str]) -> Result<String, String> {
        self.run(&[&["format", "-t", ID], arguments].concat())
    }

    fn start(&self) -> Node {
        let properties = Properties::parse(&std::fs::read(self.config()).unwrap()).unwrap();
        let config = BrokerConfig::load(&properties).unwrap().config;
        let env = klamm_env::real::env();
        Node::start(NodeOptions { config, properties, env }).unwrap()
    }
}

#[test]
fn a_formatted_directory_starts_and_belongs_to_its_cluster() {
    for (quorum, flags) in [(DYNAMIC, &["--standalone"][..]), (FIXED, &[])] {
        let storage = Storage::new(quorum);
        let text = storage.format(flags).unwrap();
        assert!(text.starts_with("Formatting ") && text.contains("4.3-IV0"), "{text}");
        let info = storage.run(&["info"]).unwrap();
        assert!(info.contains(&format!("cluster.id={ID}")) && info.contains("node.id=1"), "{info}");
        let node = storage.start();
        assert_eq!(node.cluster_id(), ID);
        node.stop();
    }
}

#[test]
fn a_directory_is_formatted_once() {
    let storage = Storage::new(DYNAMIC);
    storage.format(&["-s"]).unwrap();
    assert!(storage.format(&["-s"]).unwrap_err().contains("--ignore-formatted"));
    let text = storage.format(&["-s", "-g"]).unwrap();
    assert_eq!(text, "All of the log directories are already formatted.\n");
}

#[test]
fn every_released_metadata_version_can_be_formatted() {
    for version in MetadataVersion::all().filter(|v| *v <= MetadataVersion::LATEST_STABLE) {
        let storage = Storage::new(FIXED);
        let text = storage.format(&["-r", version.name()]).unwrap();
        assert!(text.contains(version.name()), "{text}");
    }
    let storage = Storage::new(&format!("{FIXED}unstable.feature.versions.enable=true\n"));
    storage.format(&["-r", "4.4-IV0"]).unwrap();
}

#[test]
fn features_users_and_voters_are_taken() {
    let voter = format!("1@127.0.0.1:9093:{ID}");
    for arguments in [
        &["-s", "-f", "group.version=0", "-f", "transaction.version=1"][..],
        &["-s", "-S", "SCRAM-SHA-256=[name=alice,password=secret]"],
        &["-I", &voter],
        &["-N"],
    ] {
        let storage = Storage::new(DYNAMIC);
        storage.format(arguments).unwrap();
    }
}

#[test]
fn what_contradicts_itself_is_refused_and_nothing_is_written() {
    for (quorum, arguments) in [
        (DYNAMIC, &[][..]),
        (FIXED, &["--standalone"]),
        (FIXED, &["-f", "kraft.version=1"]),
        (DYNAMIC, &["-s", "-N"]),
        (DYNAMIC, &["-I", "x"]),
        (DYNAMIC, &["-I", "2@127.0.0.1:9093:JEXY6aqzQY-32P5TStzaFg"]),
        (DYNAMIC, &["-s", "-r", "9.9"]),
        (DYNAMIC, &["-s", "-r", "4.4-IV0"]),
        (DYNAMIC, &["-s", "-r", "3.7"]),
        (DYNAMIC, &["-s", "-f", "kraft.version=0"]),
        (DYNAMIC, &["-s", "-f", "foo.version=1"]),
        (DYNAMIC, &["-s", "-f", "group.version=7"]),
        (DYNAMIC, &["-s", "-f", "group.version=x"]),
        (DYNAMIC, &["-s", "-f", "group.version=1", "-f", "group.version=0"]),
        (DYNAMIC, &["-s", "-S", "SCRAM-SHA-256=[name=a]"]),
        (FIXED, &["-r", "3.4", "-S", "SCRAM-SHA-256=[name=a,password=b]"]),
    ] {
        let storage = Storage::new(quorum);
        assert!(storage.format(arguments).is_err(), "{arguments:?}");
        let meta = storage.dir.0.join("data/meta.properties");
        assert!(!meta.exists(), "{arguments:?}");
    }
}

#[test]
fn a_random_id_is_one() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_klamm")).args(["storage", "random-uuid"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(text.trim_end().parse::<klamm_model::Uuid>().is_ok(), "{text}");
}
