//! How a record is printed: a template of kcat's kind, or JSON. Never looks into a value.

use std::io::{self, Write};

use bytes::Bytes;
use klamm_client::ConsumerRecord;
use serde_json::{Map, Value, json};

/// Stands for null, as in Kafka's console consumer.
const NULL: &[u8] = b"null";

/// A template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    Headers,
    Timestamp,
    KeyLen,
    ValueLen,
}

impl std::str::FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let piece = match c {
                '%' => directive(chars.next())?,
                '\\' => Piece::Text(vec![escape(chars.next())?]),
                other => Piece::Text(other.to_string().into_bytes()),
            };
            match piece {
                Piece::Text(bytes) => literal.extend(bytes),
                piece => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(piece);
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }
}

fn directive(c: Option<char>) -> Result<Piece, String> {
    Ok(match c {
        Some('t') => Piece::Topic,
        Some('p') => Piece::Partition,
        Some('o') => Piece::Offset,
        Some('k') => Piece::Key,
        Some('v' | 's') => Piece::Value,
        Some('h') => Piece::Headers,
        Some('T') => Piece::Timestamp,
        Some('K') => Piece::KeyLen,
        Some('V' | 'S') => Piece::ValueLen,
        Some('%') => Piece::Text(b"%".to_vec()),
        Some(other) => {
            return Err(format!("there is no %{other}; there are %t %p %o %k %v %h %T %K %V %%"));
        }
        None => return Err("a % stands alone at the end; write %% for one".to_owned()),
    })
}

fn escape(c: Option<char>) -> Result<u8, String> {
    match c {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some(other) => Err(format!("there is no \\{other}; there are \\n \\t \\r \\0 \\\\")),
        None => Err("a \\ stands alone at the end; write \\\\ for one".to_owned()),
    }
}

impl Template {
    /// Prints a record.
    pub(crate) fn write(&self, out: &mut dyn Write, record: &ConsumerRecord) -> io::Result<()> {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(-1, |b| b.len() as i64);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.write_all(text)?,
                Piece::Topic => out.write_all(record.topic.as_bytes())?,
                Piece::Partition => write!(out, "{}", record.partition)?,
                Piece::Offset => write!(out, "{}", record.offset)?,
                Piece::Key => out.write_all(record.key.as_deref().unwrap_or(NULL))?,
                Piece::Value => out.write_all(record.value.as_deref().unwrap_or(NULL))?,
                Piece::Headers => write_headers(out, record)?,
                Piece::Timestamp => write!(out, "{}", record.timestamp)?,
                Piece::KeyLen => write!(out, "{}", len(&record.key))?,
                Piece::ValueLen => write!(out, "{}", len(&record.value))?,
            }
        }
        Ok(())
    }
}

fn write_headers(out: &mut dyn Write, record: &ConsumerRecord) -> io::Result<()> {
    for (i, (key, value)) in record.headers.iter().enumerate() {
        if i > 0 {
            out.write_all(b",")?;
        }
        out.write_all(key)?;
        out.write_all(b"=")?;
        out.write_all(value.as_deref().unwrap_or(NULL))?;
    }
    Ok(())
}

/// Prints a record as one line of JSON.
pub(crate) fn write_json(out: &mut dyn Write, record: &ConsumerRecord) -> io::Result<()> {
    let mut object = Map::new();
    object.insert("topic".into(), record.topic.as_str().into());
    object.insert("partition".into(), record.partition.into());
    object.insert("offset".into(), record.offset.0.into());
    object.insert("timestamp".into(), record.timestamp.0.into());
    insert(&mut object, "key", record.key.as_deref());
    insert(&mut object, "value", record.value.as_deref());
    let headers = record.headers.iter().map(|(key, value)| {
        let mut header = Map::new();
        insert(&mut header, "key", Some(key));
        insert(&mut header, "value", value.as_deref());
        Value::Object(header)
    });
    object.insert("headers".into(), headers.collect());
    writeln!(out, "{}", json!(object))
}

/// Text as text; what is no text in hexadecimal, under a name that says so.
pub(crate) fn insert(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else {
        object.insert(name.to_owned(), Value::Null);
        return;
    };
    match str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_hex"), hex(bytes).into()),
    };
}

/// Two digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ConsumerRecord {
        ConsumerRecord {
            topic: "t".into(),
            partition: 3,
            offset: 5.into(),
            timestamp: 7.into(),
            key: Some(Bytes::from_static(b"k")),
            value: None,
            headers: vec![
                (Bytes::from_static(b"a"), Some(Bytes::from_static(b"1"))),
                (Bytes::from_static(b"b"), None),
            ],
        }
    }

    fn check(template: &str, expected: &str) {
        let mut out = Vec::new();
        template.parse::<Template>().unwrap().write(&mut out, &record()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn every_directive_prints_its_part() {
        check("%t-%p@%o %k=%v%%\\n", "t-3@5 k=null%\n");
        check("%T %K %V [%h]\\t\\\\", "7 1 -1 [a=1,b=null]\t\\");
        check("", "");
    }

    #[test]
    fn unknown_directives_and_escapes_are_refused() {
        for template in ["%x", "%", "a\\", "\\x"] {
            assert!(template.parse::<Template>().is_err(), "{template}");
        }
    }

    #[test]
    fn json_keeps_what_is_no_text() {
        let mut out = Vec::new();
        let record = ConsumerRecord { key: Some(Bytes::from_static(b"\xff\x0a")), ..record() };
        write_json(&mut out, &record).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(r#"{"topic":"t","partition":3,"offset":5,"timestamp":7,"#));
        assert!(text.contains(r#""key_hex":"ff0a","value":null"#), "{text}");
        assert!(text.ends_with("}\n"));
    }
}
