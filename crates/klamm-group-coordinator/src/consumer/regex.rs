//! Subscriptions by pattern: what is a pattern, and which topics it stands for.
//!
//! The engine is linear in the topic's name whatever the pattern, and a pattern that would need
//! much memory is refused. A pattern has to match the whole name, as with Kafka (RE2/J's
//! `matches`). Internal topics are matched like others.

use klamm_metadata::MetadataImage;
use klamm_model::ErrorCode;
use klamm_stdx::Str;
use regex::{Regex, RegexBuilder};

use super::heartbeat::Refusal;
use super::record::ResolvedRegex;
use crate::Time;

/// A pattern that needs more memory than this is refused.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// A pattern that is longer than this is refused.
const PATTERN_LEN_MAX: usize = 4 * 1024;

/// Makes sense of a pattern.
///
/// # Errors
/// `INVALID_REGULAR_EXPRESSION`.
pub(crate) fn compile(pattern: &str) -> Result<Regex, Refusal> {
    let refuse = |why: String| Refusal {
        error: ErrorCode::InvalidRegularExpression,
        message: format!("SubscribedTopicRegex is not a valid regular expression: {why}."),
    };
    if pattern.len() > PATTERN_LEN_MAX {
        return Err(refuse(format!("it is longer than {PATTERN_LEN_MAX} bytes")));
    }
    // On its own first: what closes a group that was never opened must not close ours.
    let bounded = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
    bounded(pattern)
        .and_then(|_| bounded(&format!("^(?:{pattern})$")))
        .map_err(|error| refuse(error.to_string()))
}

/// The topics that a pattern stands for now.
///
/// # Errors
/// `INVALID_REGULAR_EXPRESSION`.
pub(crate) fn resolve(
    pattern: &str,
    image: &MetadataImage,
    time: Time,
) -> Result<ResolvedRegex, Refusal> {
    let regex = compile(pattern)?;
    let mut topics: Vec<Str> =
        image.topics.names().filter(|name| regex.is_match(name)).cloned().collect();
    topics.sort_unstable();
    Ok(ResolvedRegex { topics, version: image.provenance.next_offset.0 - 1, at: time.wall })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, name: &str) -> bool {
        compile(pattern).unwrap().is_match(name)
    }

    #[test]
    fn a_pattern_matches_whole_names() {
        assert!(is_match("a.*", "abc"));
        assert!(!is_match("a", "abc"));
        assert!(!is_match("b", "abc"));
        assert!(is_match("abc|x", "abc"));
        assert!(!is_match("ab|bc", "abc"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["(", "a)(b", "[z-a]", "*", r"(a)\1", "a{1000}{1000}{1000}"] {
            let error = compile(pattern).unwrap_err().error;
            assert_eq!(error, ErrorCode::InvalidRegularExpression, "{pattern}");
        }
        assert!(compile(&"a".repeat(PATTERN_LEN_MAX + 1)).is_err());
    }

    #[test]
    fn a_pattern_that_other_engines_never_finish_is_matched_at_once() {
        assert!(!is_match("(a+)+b", &"a".repeat(200)));
    }
}
