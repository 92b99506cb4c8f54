//! Kafka's schemas inside its jars, read with `unzip` or the JDK's `jar`.

use std::path::Path;
use std::process::Command;

use super::schema::{self, Schema};

/// A jar with schemas.
pub(crate) struct Jar {
    pub(crate) artifact: &'static str,
    /// The folder of the schemas in the jar.
    pub(crate) folder: &'static str,
    /// Where Kafka's own classes for them are.
    pub(crate) java_package: &'static str,
    /// The folder that those become which are neither request, response nor header.
    pub(crate) area: &'static str,
}

const fn jar(
    artifact: &'static str,
    folder: &'static str,
    java_package: &'static str,
    area: &'static str,
) -> Jar {
    Jar { artifact, folder, java_package, area }
}

/// Every jar whose schemas a broker or a controller needs.
pub(crate) const JARS: [Jar; 7] = [
    jar("kafka-clients", "common/message", "org.apache.kafka.common.message", "control"),
    jar("kafka-metadata", "common/metadata", "org.apache.kafka.common.metadata", "metadata"),
    jar(
        "kafka-group-coordinator",
        "common/message",
        "org.apache.kafka.coordinator.group.generated",
        "group",
    ),
    jar(
        "kafka-transaction-coordinator",
        "common/message",
        "org.apache.kafka.coordinator.transaction.generated",
        "transaction",
    ),
    jar(
        "kafka-share-coordinator",
        "common/message",
        "org.apache.kafka.coordinator.share.generated",
        "share",
    ),
    jar("kafka-raft", "common/message", "org.apache.kafka.raft.generated", "raft"),
    jar(
        "kafka-storage",
        "message",
        "org.apache.kafka.server.log.remote.metadata.storage.generated",
        "storage",
    ),
];

/// A schema and where it came from.
pub(crate) struct Source {
    pub(crate) jar: &'static Jar,
    pub(crate) schema: Schema,
}

impl Source {
    /// Kafka's class for the message.
    pub(crate) fn java_class(&self) -> String {
        let data = match self.schema.kind.as_str() {
            "request" | "response" | "header" => "Data",
            _ => "",
        };
        format!("{}.{}{data}", self.jar.java_package, self.schema.name)
    }

    /// Whether this is sent, not stored.
    pub(crate) fn is_protocol(&self) -> bool {
        matches!(self.schema.kind.as_str(), "request" | "response" | "header")
    }

    /// The folder of a stored message.
    pub(crate) fn area(&self) -> &'static str {
        match self.schema.name.as_str() {
            "ConsumerProtocolAssignment" | "ConsumerProtocolSubscription" => "consumer_protocol",
            "DefaultPrincipalData" => "principal",
            _ => self.jar.area,
        }
    }
}

/// All schemas with at least one version, by name within each jar.
pub(crate) fn sources(lib: &Path, version: &str) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for jar in &JARS {
        let path = lib.join(format!("{}-{version}.jar", jar.artifact));
        let folder = unpack(&path, jar.folder)?;
        let mut schemas = Vec::new();
        for text in folder {
            let parsed = schema::parse(&text);
            schemas.extend(parsed.map_err(|error| format!("{}: {error}", path.display()))?);
        }
        schemas.sort_by(|a, b| a.name.cmp(&b.name));
        sources.extend(schemas.into_iter().map(|schema| Source { jar, schema }));
    }
    Ok(sources)
}

/// The texts of the JSON files in a folder of a jar.
fn unpack(path: &Path, folder: &str) -> Result<Vec<String>, String> {
    let scratch = Scratch::new()?;
    let status = Command::new("unzip")
        .args(["-q", "-o", "-j"])
        .arg(path)
        .arg(format!("{folder}/*.json"))
        .arg("-d")
        .arg(&scratch.0)
        .status()
        .map_err(|error| format!("cannot start unzip: {error}; is it installed?"))?;
    if !status.success() {
        return Err(format!("unzip of {} ended with {status}", path.display()));
    }
    let unreadable =
        |error: std::io::Error| format!("cannot read {}: {error}", scratch.0.display());
    let mut paths = std::fs::read_dir(&scratch.0)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>())
        .map_err(unreadable)?;
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).map_err(unreadable)).collect()
}

/// A temporary folder that goes when it is dropped.
pub(crate) struct Scratch(pub(crate) std::path::PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Self, String> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("klamm-xtask-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path)
            .map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that cannot be removed is left to the system; nothing depends on it.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
