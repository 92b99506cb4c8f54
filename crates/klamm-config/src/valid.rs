//! Which values a key accepts (Kafka: `ConfigDef.Validator`s).

use std::fmt;

use crate::ConfigType;
use crate::value::items;

/// The values that a key accepts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Valid {
    /// Any of the key's type.
    Any,
    /// A number, at least this.
    AtLeast(i64),
    /// A number between the two, both included.
    Between(i64, i64),
    /// A decimal number between the two, both included.
    BetweenF(f64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfIgnoreCase(&'static [&'static str]),
    /// A list of these texts, none twice.
    ListOf(&'static [&'static str]),
    /// A text that is not empty.
    NonEmptyString,
    /// Any text; it cannot be unset.
    NonNullString,
    /// A list with at least one item, if the key is set.
    NonEmptyList,
    /// A gzip level: 1 to 9, or -1 for the library's choice.
    GzipLevel,
    /// `*`, or `partition:broker` pairs.
    ThrottledReplicas,
    /// `latest`, `earliest`, or `by_duration:` and an ISO 8601 duration.
    OffsetReset,
}

impl Valid {
    /// Checks a value in normal form; the error is half a sentence.
    pub(crate) fn check(self, config_type: ConfigType, value: &str) -> Result<(), String> {
        let refuse = || Err(format!("expected {self}"));
        let ok = match self {
            Self::Any | Self::NonNullString => true,
            // The default of these lists is empty, and setting that explicitly means the same.
            Self::NonEmptyList => true,
            Self::AtLeast(min) => match config_type {
                ConfigType::Double => decimal(value).is_some_and(|n| n >= min as f64),
                _ => number(value).is_some_and(|n| n >= min),
            },
            Self::Between(min, max) => number(value).is_some_and(|n| n >= min && n <= max),
            Self::BetweenF(min, max) => decimal(value).is_some_and(|n| n >= min && n <= max),
            Self::OneOf(texts) => texts.contains(&value),
            Self::OneOfIgnoreCase(texts) => texts.iter().any(|t| t.eq_ignore_ascii_case(value)),
            Self::ListOf(texts) => items(value).all(|item| texts.contains(&item)),
            Self::NonEmptyString => !value.is_empty(),
            Self::GzipLevel => number(value).is_some_and(|n| n == -1 || (1..=9).contains(&n)),
            Self::ThrottledReplicas => is_throttled_replicas(value),
            Self::OffsetReset => is_offset_reset(value),
        };
        if !ok {
            return refuse();
        }
        if config_type == ConfigType::List {
            let mut seen = Vec::new();
            for item in items(value) {
                if seen.contains(&item) {
                    return Err(format!("'{item}' is in the list twice"));
                }
                seen.push(item);
            }
        }
        Ok(())
    }
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn decimal(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn is_throttled_replicas(value: &str) -> bool {
    let is_id = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let is_pair = |item: &str| item.split_once(':').is_some_and(|(p, b)| is_id(p) && is_id(b));
    value == "*" || items(value).all(is_pair)
}

/// `by_duration:` with days and an optional time part, as `java.time.Duration` reads it. A
/// negative duration is refused.
fn is_offset_reset(value: &str) -> bool {
    if matches!(value, "latest" | "earliest") {
        return true;
    }
    let Some(duration) = value.strip_prefix("by_duration:") else { return false };
    let Some(rest) = duration.strip_prefix(['P', 'p']) else { return false };
    let (days, time) = match rest.split_once(['T', 't']) {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return false,
        None => (rest, ""),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let days_ok = days.is_empty() || days.strip_suffix(['D', 'd']).is_some_and(is_number);
    let mut units = "HMS".chars();
    let mut left = time;
    while let Some(end) = left.find(|c: char| c.is_ascii_alphabetic()) {
        let unit = left[end..].chars().next().map(|c| c.to_ascii_uppercase());
        let amount = &left[..end];
        let fraction_ok = match amount.split_once('.') {
            Some((whole, part)) => unit == Some('S') && is_number(whole) && is_number(part),
            None => is_number(amount),
        };
        if !fraction_ok || !units.by_ref().any(|u| Some(u) == unit) {
            return false;
        }
        left = &left[end + 1..];
    }
    days_ok && left.is_empty() && !(days.is_empty() && time.is_empty())
}

impl fmt::Display for Valid {
    /// The form that Kafka's own documentation uses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::AtLeast(min) => write!(f, "[{min},...]"),
            Self::Between(min, max) => write!(f, "[{min},...,{max}]"),
            Self::BetweenF(min, max) => write!(f, "[{min},...,{max}]"),
            Self::OneOf(texts) | Self::ListOf(texts) => write!(f, "[{}]", texts.join(", ")),
            Self::OneOfIgnoreCase(texts) => write!(f, "(case insensitive) [{}]", texts.join(", ")),
            Self::NonEmptyString => f.write_str("non-empty string"),
            Self::NonNullString => f.write_str("non-null string"),
            Self::NonEmptyList => f.write_str("non-empty list"),
            Self::GzipLevel => f.write_str("[1,...,9] or -1"),
            Self::ThrottledReplicas => {
                f.write_str("[partitionId]:[brokerId],[partitionId]:[brokerId],...")
            }
            Self::OffsetReset => f.write_str("[latest, earliest, by_duration:PnDTnHnMn.nS]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(valid: Valid, config_type: ConfigType, good: &[&str], bad: &[&str]) {
        for value in good {
            assert_eq!(valid.check(config_type, value), Ok(()), "{value}");
        }
        for value in bad {
            assert!(valid.check(config_type, value).is_err(), "{value}");
        }
    }

    #[test]
    fn ranges_include_their_ends() {
        check(Valid::AtLeast(0), ConfigType::Int, &["0", "5"], &["-1"]);
        check(Valid::Between(2, 4), ConfigType::Int, &["2", "4"], &["1", "5"]);
        check(Valid::BetweenF(0.0, 1.0), ConfigType::Double, &["0", "1.0"], &["-0.1", "1.1"]);
        check(Valid::GzipLevel, ConfigType::Int, &["-1", "1", "9"], &["0", "-2", "10"]);
    }

    #[test]
    fn lists_hold_known_items_once() {
        let valid = Valid::ListOf(&["compact", "delete"]);
        check(valid, ConfigType::List, &["", "compact", "delete,compact"], &["x", "delete,delete"]);
    }

    #[test]
    fn throttled_replicas_are_a_star_or_pairs() {
        let good = ["", "*", "0:1", "0:1,1:2"];
        check(
            Valid::ThrottledReplicas,
            ConfigType::List,
            &good,
            &["0", "0:", ":1", "a:1", "0:1:2"],
        );
    }

    #[test]
    fn an_offset_reset_is_a_word_or_a_duration() {
        let good =
            ["latest", "earliest", "by_duration:P1D", "by_duration:PT1H30M", "by_duration:PT0.5S"];
        let bad = [
            "none",
            "by_duration:",
            "by_duration:P",
            "by_duration:PT",
            "by_duration:-P1D",
            "by_duration:PT1M1H",
            "by_duration:P1X",
            "by_duration:PT1.5H",
        ];
        check(Valid::OffsetReset, ConfigType::String, &good, &bad);
    }
}
