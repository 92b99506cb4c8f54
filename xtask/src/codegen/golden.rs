//! The bytes that Kafka's own classes make of every version of every message: with default
//! values, with counted ones, with null wherever null may be, and of the newest version's counted
//! values, which an older version drops or refuses. The tests compare ours.
//!
//! The counted values are those of `klamm_codec::arbitrary`, told to Kafka as JSON.

use std::path::{Path, PathBuf};
use std::process::Command;

use klamm_model::Uuid;
use serde_json::{Map, Number, Value};

use super::jars::{Scratch, Source};
use super::names;
use super::schema::{FieldType, Schema, Struct};
use crate::peer;

/// Largest fixture that the repository takes.
const FIXTURE_BYTES_MAX: usize = 200 * 1024;

/// What a fixture has for each version of a message.
const ENTRY_COUNT: usize = 4;

/// The fixtures of all messages, and where they belong.
pub(crate) fn fixtures(
    root: &Path,
    lib: &Path,
    sources: &[Source],
) -> Result<Vec<(PathBuf, Vec<u8>)>, String> {
    let of_kind = |kind: &'static str| -> Vec<&Source> {
        sources.iter().filter(|s| s.schema.kind == kind).collect()
    };
    let requests = [of_kind("header"), of_kind("request")].concat();
    let persisted: Vec<_> = sources.iter().filter(|s| !s.is_protocol()).collect();
    let mut fixtures = Vec::new();
    for (sources, path) in [
        (requests, "crates/klamm-protocol/tests/golden/requests.bin"),
        (of_kind("response"), "crates/klamm-protocol/tests/golden/responses.bin"),
        (persisted, "crates/klamm-persisted/tests/golden/records.bin"),
    ] {
        let bytes = fixture(&kafka_bytes(root, lib, &input(&sources))?, &sources)?;
        if bytes.len() > FIXTURE_BYTES_MAX {
            return Err(format!("{path} would have {} bytes", bytes.len()));
        }
        fixtures.push((root.join(path), bytes));
    }
    Ok(fixtures)
}

/// The lines that `Golden.java` is given.
fn input(sources: &[&Source]) -> String {
    let mut input = String::new();
    for source in sources {
        let class = source.java_class();
        let newest = source.schema.valid.highest;
        for version in source.schema.valid.lowest..=newest {
            let line = |json_version: i16, json: &str| {
                format!("{class}\t{version}\t{json_version}\t{json}\n")
            };
            input += &line(version, "-");
            input += &line(version, &message(&source.schema, version, Nulls::Never));
            input += &line(version, &message(&source.schema, version, Nulls::Always));
            input += &line(newest, &message(&source.schema, newest, Nulls::Never));
        }
    }
    input
}

/// One fixture: for each message the length of its name and the name; for each of its versions
/// and entries the length of the bytes (-1: Kafka refuses) and the bytes.
fn fixture(output: &[u8], sources: &[&Source]) -> Result<Vec<u8>, String> {
    let mut entries = output;
    let mut out = Vec::new();
    for source in sources {
        let name = &source.schema.name;
        out.push(u8::try_from(name.len()).map_err(|error| format!("{name}: {error}"))?);
        out.extend_from_slice(name.as_bytes());
        let versions = source.schema.valid.lowest..=source.schema.valid.highest;
        for _ in 0..versions.count() * ENTRY_COUNT {
            let (entry, rest) = next_entry(entries).ok_or("Golden.java wrote too little")?;
            out.extend_from_slice(entry);
            entries = rest;
        }
    }
    Ok(out)
}

/// The first entry, length included, and what follows it.
fn next_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = i32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    bytes.split_at_checked(4 + usize::try_from(length).unwrap_or(0))
}

fn kafka_bytes(root: &Path, lib: &Path, input: &str) -> Result<Vec<u8>, String> {
    let scratch = Scratch::new()?;
    let (input_path, output_path) = (scratch.0.join("input"), scratch.0.join("output"));
    let failed = |error: std::io::Error| format!("cannot use {}: {error}", scratch.0.display());
    std::fs::write(&input_path, input).map_err(failed)?;
    let status = Command::new("java")
        .args(["-Xmx512m", "-cp", &peer::class_path(lib)])
        .arg(root.join("xtask/java/Golden.java"))
        .args([&input_path, &output_path])
        .status()
        .map_err(|error| format!("cannot start java: {error}; is a JDK 17 installed?"))?;
    if !status.success() {
        return Err(format!("Golden.java ended with {status}"));
    }
    std::fs::read(&output_path).map_err(failed)
}

/// Where null is put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    Never,
    Always,
}

/// The state of `klamm_codec::arbitrary::Source`.
struct Counter<'a> {
    schema: &'a Schema,
    version: i16,
    nulls: Nulls,
    n: u64,
    depth: usize,
}

fn message(schema: &Schema, version: i16, nulls: Nulls) -> String {
    let mut counter = Counter { schema, version, nulls, n: 0, depth: 0 };
    counter.fields(schema.find_struct(&schema.name)).to_string()
}

impl Counter<'_> {
    fn fields(&mut self, s: &Struct) -> Value {
        let mut map = Map::new();
        let version = self.version;
        for f in s.fields.iter().filter(|f| f.versions.contains(version)) {
            let may_be_null = f.nullable.is_some_and(|nullable| nullable.contains(version));
            let value = if may_be_null && self.nulls == Nulls::Always {
                Value::Null
            } else {
                self.value(&f.kind)
            };
            map.insert(names::camel(&f.schema_name), value);
        }
        Value::Object(map)
    }

    fn value(&mut self, kind: &FieldType) -> Value {
        match kind {
            FieldType::Array(element) => {
                let count = if self.depth == 0 { 2 } else { 1 };
                self.depth += 1;
                let values = (0..count).map(|_| self.value(element)).collect();
                self.depth -= 1;
                Value::Array(values)
            }
            FieldType::Struct(name) => {
                let schema = self.schema;
                self.fields(schema.find_struct(name))
            }
            leaf => {
                self.n += 1;
                leaf_value(leaf, self.n)
            }
        }
    }
}

fn leaf_value(kind: &FieldType, n: u64) -> Value {
    let number = |value: u64| Value::Number(Number::from(value));
    match kind {
        FieldType::Bool => Value::Bool(n % 2 == 1),
        FieldType::Int8 => number(n % 100),
        FieldType::Int16 => number(256 + n),
        FieldType::Uint16 => number(60_000 + n),
        FieldType::Int32 => number(0x1_0000 + n),
        FieldType::Uint32 => number(3_000_000_000 + n),
        FieldType::Int64 => number((1 << 40) + n),
        FieldType::Float64 => Value::from(n as f64 + 0.5),
        FieldType::String => Value::String(format!("ŝ{n}")),
        FieldType::Bytes | FieldType::Records => Value::String(base64([n as u8, 0, 0xff])),
        FieldType::Uuid => {
            let n = u128::from(n);
            Value::String(Uuid(n << 64 | n).to_string())
        }
        FieldType::Struct(_) | FieldType::Array(_) => unreachable!("only leaves are given"),
    }
}

/// Three bytes as four letters; other lengths are not needed.
fn base64(bytes: [u8; 3]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
    [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize])).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bytes_are_four_letters() {
        assert_eq!(base64(*b"Man"), "TWFu");
        assert_eq!(base64([0xff, 0xff, 0xff]), "////");
    }
}
