//! Subscriptions by pattern: what is a pattern, and which topics it stands for.
//!
//! A pattern becomes a deterministic automaton of bounded size or is refused: then each byte of a
//! topic's name costs one step whatever the pattern, and so does the pattern itself. It has to
//! match the whole name, as with Kafka (RE2/J's `matches`). Names are ASCII, and so are the
//! classes of a pattern. Internal topics are matched like others.

use klamm_metadata::MetadataImage;
use klamm_model::ErrorCode;
use klamm_stdx::Str;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::change::ResolvedRegex;
use super::heartbeat::Refusal;
use crate::Time;

/// A pattern that is longer than this is refused.
const PATTERN_LEN_MAX: usize = 4 * 1024;
/// A pattern whose parts need more memory than this is refused.
const PARTS_BYTES_MAX: usize = 512 * 1024;
/// A pattern is refused if finding its automaton takes more memory than this; the work is that
/// times the letters that it tells apart.
const SEARCH_BYTES_MAX: usize = 512 * 1024;
/// A pattern whose automaton is larger than this is refused.
const AUTOMATON_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A pattern that is understood.
#[derive(Debug)]
pub(crate) struct Pattern(dense::DFA<Vec<u32>>);

impl Pattern {
    /// Whether it stands for a topic.
    pub(crate) fn is_match(&self, name: &str) -> bool {
        let whole = Input::new(name).anchored(Anchored::Yes);
        matches!(self.0.try_search_fwd(&whole), Ok(Some(_)))
    }
}

/// Makes sense of a pattern.
///
/// # Errors
/// `INVALID_REGULAR_EXPRESSION`.
pub(crate) fn compile(pattern: &str) -> Result<Pattern, Refusal> {
    let refuse = |why: String| Refusal {
        error: ErrorCode::InvalidRegularExpression,
        message: format!("SubscribedTopicRegex cannot be used as a pattern: {why}"),
    };
    if pattern.len() > PATTERN_LEN_MAX {
        return Err(refuse(format!("it is longer than {PATTERN_LEN_MAX} bytes")));
    }
    // On its own first: what closes a group that was never opened must not close ours.
    let syntax = syntax::Config::new().unicode(false).utf8(false);
    syntax::parse_with(pattern, &syntax).map_err(|error| refuse(error.to_string()))?;
    let sizes = dense::Config::new()
        .start_kind(StartKind::Anchored)
        .determinize_size_limit(Some(SEARCH_BYTES_MAX))
        .dfa_size_limit(Some(AUTOMATON_BYTES_MAX));
    let built = dense::Builder::new()
        .syntax(syntax)
        .configure(sizes)
        .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(PARTS_BYTES_MAX)))
        .build(&format!("(?:{pattern}){END}"));
    built.map(Pattern).map_err(|error| refuse(error.to_string()))
}

/// The end of a name.
const END: &str = r"\z";

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
