//! Java's `.properties` format, read strictly enough to name the line of a mistake.
//!
//! `#` and `!` start comments; key and value are separated by `=`, `:` or blanks; a backslash at
//! the end continues a line; `\t`, `\n`, `\r`, `\f`, `\uXXXX` and `\` before any other character
//! are escapes. Where Java reads Latin-1 this reads UTF-8. Of two equal keys the later wins.

use std::collections::BTreeMap;
use std::fmt;

/// Largest file that is read: a real one has a few kilobytes.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most keys of a file; Kafka knows some 400.
pub const KEYS_MAX: usize = 10_000;

/// Keys and values as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

/// What is wrong with a file or an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertiesError {
    /// More than [`FILE_BYTES_MAX`] bytes.
    TooLarge {
        /// Its length.
        len: usize,
    },
    /// More than [`KEYS_MAX`] keys.
    TooManyKeys,
    /// Not UTF-8.
    NotUtf8 {
        /// The line, from 1.
        line: usize,
    },
    /// `\u` without four hexadecimal digits, or half of a surrogate pair.
    BadEscape {
        /// The line, from 1.
        line: usize,
    },
    /// A value without a key.
    EmptyKey {
        /// The line, from 1.
        line: usize,
    },
    /// An override that is not `key=value`.
    NotAPair(String),
}

impl fmt::Display for PropertiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len } => {
                write!(f, "the file has {len} bytes, more than {FILE_BYTES_MAX}")
            }
            Self::TooManyKeys => write!(f, "the file has more than {KEYS_MAX} keys"),
            Self::NotUtf8 { line } => write!(f, "line {line}: not UTF-8"),
            Self::BadEscape { line } => {
                write!(f, "line {line}: \\u needs four hexadecimal digits that make a character")
            }
            Self::EmptyKey { line } => write!(f, "line {line}: a value without a key"),
            Self::NotAPair(text) => write!(f, "'{text}' is not key=value"),
        }
    }
}

impl std::error::Error for PropertiesError {}

impl Properties {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(bytes: &[u8]) -> Result<Self, PropertiesError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(PropertiesError::TooLarge { len: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|e| PropertiesError::NotUtf8 {
            line: 1 + bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count(),
        })?;
        let mut properties = Self::default();
        for (line, logical) in logical_lines(text.strip_prefix('\u{feff}').unwrap_or(text)) {
            let (key, value) = split(&logical);
            let key = unescape(key, line)?;
            if key.is_empty() {
                return Err(PropertiesError::EmptyKey { line });
            }
            properties.0.insert(key, unescape(value, line)?);
            if properties.0.len() > KEYS_MAX {
                return Err(PropertiesError::TooManyKeys);
            }
        }
        Ok(properties)
    }

    /// Adds one `key=value`, as after `--override`; it wins over what was there.
    ///
    /// # Errors
    /// The text has no '=' or nothing before it.
    pub fn add_override(&mut self, pair: &str) -> Result<(), PropertiesError> {
        match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                self.0.insert(key.trim().to_owned(), value.trim().to_owned());
                Ok(())
            }
            _ => Err(PropertiesError::NotAPair(pair.chars().take(200).collect())),
        }
    }

    /// Sets a key.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.insert(key.into(), value.into());
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All keys with their values, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

/// Lines with their continuations joined, without blank lines and comments; escapes are kept.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\u{c}');
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let natural = text.replace("\r\n", "\n").replace('\r', "\n");
    for (i, line) in natural.split('\n').enumerate() {
        let line = line.trim_start_matches(blank);
        if open.is_none() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let n_backslashes = line.len() - line.trim_end_matches('\\').len();
        let continues = n_backslashes % 2 == 1;
        let part = if continues { &line[..line.len() - 1] } else { line };
        let (number, mut logical) = open.take().unwrap_or((i + 1, String::new()));
        logical.push_str(part);
        if continues {
            open = Some((number, logical));
        } else if !logical.is_empty() {
            lines.push((number, logical));
        }
    }
    lines.extend(open.filter(|(_, logical)| !logical.is_empty()));
    lines
}

/// Cuts at the first '=', ':' or blank that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\u{c}');
    let mut escaped = false;
    let mut end = line.len();
    for (i, c) in line.char_indices() {
        if !escaped && (blank(c) || c == '=' || c == ':') {
            end = i;
            break;
        }
        escaped = c == '\\' && !escaped;
    }
    let value = line[end..].trim_start_matches(blank);
    let value = value.strip_prefix(['=', ':']).unwrap_or(value);
    (&line[..end], value.trim_start_matches(blank))
}

fn unescape(text: &str, line: usize) -> Result<String, PropertiesError> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let mut buffer = [0_u16; 2];
    while let Some(c) = chars.next() {
        let plain = match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let is_hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                    let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| is_hex);
                    units.push(unit.ok_or(PropertiesError::BadEscape { line })?);
                    continue;
                }
                Some(other) => other,
                None => continue,
            },
            (c, false) => c,
        };
        units.extend_from_slice(plain.encode_utf16(&mut buffer));
    }
    String::from_utf16(&units).map_err(|_| PropertiesError::BadEscape { line })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let properties = Properties::parse(text.as_bytes()).unwrap();
        assert_eq!(properties.iter().collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn separators_blanks_and_comments_are_javas() {
        check("a=1\nb: 2\n  c 3\nd\n", &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "")]);
        check("# x=1\n ! y=2\n\n\t\nz = = 1 ", &[("z", "= 1 ")]);
        check("a\\=b=c\\:d", &[("a=b", "c:d")]);
        check("a = b\r\nc=d\re=f", &[("a", "b"), ("c", "d"), ("e", "f")]);
        check("a=1\na=2", &[("a", "2")]);
    }

    #[test]
    fn a_backslash_continues_a_line_and_two_do_not() {
        check("a=b,\\\n   c\nd=e\\\\\nf=g", &[("a", "b,c"), ("d", "e\\"), ("f", "g")]);
        check("a=b\\", &[("a", "b")]);
        check("a=b\\\n# no comment", &[("a", "b# no comment")]);
    }

    #[test]
    fn escapes_become_characters() {
        check("a=\\u00e4\\t\\ud83d\\ude00\\x", &[("a", "ä\t😀x")]);
    }

    #[test]
    fn mistakes_name_their_line() {
        let parse = |text: &[u8]| Properties::parse(text).unwrap_err();
        assert_eq!(parse(b"a=1\nb=\\u12"), PropertiesError::BadEscape { line: 2 });
        assert_eq!(parse(b"a=1\n\nb=\\u+123"), PropertiesError::BadEscape { line: 3 });
        assert_eq!(parse(b"a=\\ud800"), PropertiesError::BadEscape { line: 1 });
        assert_eq!(parse(b"\n=1"), PropertiesError::EmptyKey { line: 2 });
        assert_eq!(parse(b"a=1\nb=\xff"), PropertiesError::NotUtf8 { line: 2 });
    }

    #[test]
    fn a_hostile_file_is_refused_by_its_size() {
        let big = vec![b'a'; FILE_BYTES_MAX + 1];
        assert!(matches!(Properties::parse(&big), Err(PropertiesError::TooLarge { .. })));
        let many: String = (0..=KEYS_MAX).map(|i| format!("k{i}=1\n")).collect();
        assert_eq!(Properties::parse(many.as_bytes()), Err(PropertiesError::TooManyKeys));
    }

    #[test]
    fn an_override_wins_and_must_be_a_pair() {
        let mut properties = Properties::parse(b"a=1").unwrap();
        properties.add_override("a = 2").unwrap();
        assert_eq!(properties.value("a"), Some("2"));
        for pair in ["a", "=1", ""] {
            assert!(properties.add_override(pair).is_err(), "{pair}");
        }
    }
}
