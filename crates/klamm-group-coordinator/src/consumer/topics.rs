//! The topics that a group reads, as the cluster's metadata has them, and their hash.

use std::collections::BTreeSet;

use klamm_metadata::{MetadataImage, TopicImage};
use klamm_stdx::Str;
use twox_hash::XxHash3_64;

/// Begins what a topic's hash is made of (Kafka: `Utils.TOPIC_HASH_MAGIC_BYTE`).
const HASH_VERSION: u8 = 0;

/// A hash of topics that exist: their ids, names, partitions and racks (KIP-1101; Kafka:
/// `Utils.computeGroupHash`). Zero without any.
pub(crate) fn metadata_hash(image: &MetadataImage, names: &BTreeSet<&Str>) -> i64 {
    let mut bytes = Vec::new();
    for topic in names.iter().filter_map(|name| image.topics.by_name(name)) {
        bytes.extend(topic_hash(image, topic).to_le_bytes());
    }
    if bytes.is_empty() { 0 } else { hash(&bytes) }
}

fn topic_hash(image: &MetadataImage, topic: &TopicImage) -> i64 {
    let mut bytes = vec![HASH_VERSION];
    bytes.extend(((topic.id.0 >> 64) as u64).to_le_bytes());
    bytes.extend((topic.id.0 as u64).to_le_bytes());
    put_text(&mut bytes, &topic.name);
    bytes.extend(int(topic.partitions.len()).to_le_bytes());
    for (index, partition) in &topic.partitions {
        bytes.extend(index.to_le_bytes());
        let rack = |id| image.cluster.broker(id).and_then(|broker| broker.rack.clone());
        let mut racks: Vec<Str> = partition.replicas.iter().filter_map(|id| rack(*id)).collect();
        racks.sort_unstable();
        for rack in racks {
            bytes.extend(int(rack.encode_utf16().count()).to_le_bytes());
            put_text(&mut bytes, &rack);
        }
    }
    hash(&bytes)
}

/// As Java's strings go into the hash: UTF-16, then how much of it.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let before = bytes.len();
    text.encode_utf16().for_each(|unit| bytes.extend(unit.to_le_bytes()));
    let units = (bytes.len() - before) / 2;
    bytes.extend(int(units).to_le_bytes());
}

fn int(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn hash(bytes: &[u8]) -> i64 {
    XxHash3_64::oneshot(bytes).cast_signed()
}
