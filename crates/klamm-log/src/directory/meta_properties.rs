//! `meta.properties`: which node of which cluster a log directory belongs to (Kafka:
//! `MetaProperties`, version 1).

use std::fmt;
use std::io;
use std::path::Path;

use klamm_env::{Disk, durable};
use klamm_model::{DirectoryId, NodeId, Timestamp};

/// The file's name.
pub(crate) const META_PROPERTIES: &str = "meta.properties";
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The contents of `meta.properties`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node_id: NodeId,
    /// This directory; absent in directories from before Kafka 3.7.
    pub directory_id: Option<DirectoryId>,
}

/// Why the file cannot be used.
#[derive(Debug)]
pub enum MetaPropertiesError {
    /// It cannot be read or written.
    Io(io::Error),
    /// Its text has another form.
    Text(String),
}

impl fmt::Display for MetaPropertiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Text(what) => write!(
                f,
                "{what}; restore the file from a backup, or move the directory away and format a new one with 'klamm storage format'"
            ),
        }
    }
}

impl std::error::Error for MetaPropertiesError {}

impl MetaProperties {
    /// The file in `dir`; `None` if the directory is not formatted.
    ///
    /// # Errors
    /// The file cannot be read or has another form.
    pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, MetaPropertiesError> {
        let bytes = durable::read(disk, &dir.join(META_PROPERTIES), FILE_BYTES_MAX)
            .map_err(MetaPropertiesError::Io)?;
        bytes.map(|bytes| Self::parse(&String::from_utf8_lossy(&bytes))).transpose()
    }

    fn parse(text: &str) -> Result<Self, MetaPropertiesError> {
        let field = |name: &str| {
            let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
            let mut pairs = lines.filter_map(|line| line.split_once('='));
            pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
        };
        let missing = |name: &str| MetaPropertiesError::Text(format!("{name} is missing"));
        match field("version").as_deref() {
            Some("1") => {}
            Some("0") => {
                let text =
                    "version 0 is of a broker with ZooKeeper: migrate it with Kafka 3.9 first";
                return Err(MetaPropertiesError::Text(text.into()));
            }
            Some(other) => {
                return Err(MetaPropertiesError::Text(format!("version '{other}' is unknown")));
            }
            None => return Err(missing("version")),
        }
        let node_id = field("node.id").ok_or_else(|| missing("node.id"))?;
        let node_id = node_id.parse().ok().filter(|id| *id >= 0);
        let node_id =
            node_id.ok_or_else(|| MetaPropertiesError::Text("node.id is no number".into()))?;
        let cluster_id =
            field("cluster.id").filter(|id| !id.is_empty()).ok_or_else(|| missing("cluster.id"))?;
        let directory_id = match field("directory.id") {
            Some(text) => Some(text.parse().map_err(|e: klamm_model::UuidParseError| {
                MetaPropertiesError::Text(format!("directory.id: {e}"))
            })?),
            None => None,
        };
        Ok(Self { cluster_id, node_id: NodeId(node_id), directory_id })
    }

    /// The file's text, as Java's `Properties` writes it: a comment with the time, then the pairs.
    #[must_use]
    pub fn to_text(&self, wall: Timestamp) -> String {
        let mut text = format!("#\n#{} ms since 1970\ncluster.id={}\n", wall.0, self.cluster_id);
        if let Some(id) = self.directory_id {
            text.push_str(&format!("directory.id={id}\n"));
        }
        text.push_str(&format!("node.id={}\nversion=1\n", self.node_id));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<MetaProperties, String> {
        MetaProperties::parse(text).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_written_is_read_back_and_what_kafka_writes_too() {
        let meta = MetaProperties {
            cluster_id: "xA2vzEOMSWuYt7P8DL4zWQ".into(),
            node_id: NodeId(3),
            directory_id: Some("yB2vzEOMSWuYt7P8DL4zWQ".parse().unwrap()),
        };
        assert_eq!(parse(&meta.to_text(Timestamp(5))), Ok(meta));
        let kafka = "#\n#Sat Nov 21 04:00:00 UTC 2026\ncluster.id=abc\nnode.id=1\nversion=1\n";
        assert_eq!(parse(kafka).unwrap().directory_id, None);
    }

    #[test]
    fn a_file_that_is_old_incomplete_or_garbage_is_refused_with_the_cure() {
        for (text, what) in [
            ("", "version is missing"),
            ("version=0\nbroker.id=1\n", "ZooKeeper"),
            ("version=2\n", "version '2' is unknown"),
            ("version=1\ncluster.id=a\n", "node.id is missing"),
            ("version=1\nnode.id=x\ncluster.id=a\n", "node.id is no number"),
            ("version=1\nnode.id=1\n", "cluster.id is missing"),
            ("version=1\nnode.id=1\ncluster.id=a\ndirectory.id=b\n", "directory.id"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(what), "{text:?}: {error}");
            assert!(error.contains("klamm storage format"), "{error}");
        }
    }
}
