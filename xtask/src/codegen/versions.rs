//! Ranges of message versions, as schemas write them: `3`, `0-7`, `9+`, `none`.

/// Versions from `lowest` to `highest`, both included; open ranges end at `i16::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) lowest: i16,
    pub(crate) highest: i16,
}

impl Versions {
    /// Reads a range; `Ok(None)` is `none`.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        let number = |text: &str| {
            text.parse::<i16>().map_err(|error| format!("'{text}' is no version: {error}"))
        };
        if text == "none" {
            return Ok(None);
        }
        let (lowest, highest) = if let Some(lowest) = text.strip_suffix('+') {
            (number(lowest)?, i16::MAX)
        } else if let Some((lowest, highest)) = text.split_once('-') {
            (number(lowest)?, number(highest)?)
        } else {
            (number(text)?, number(text)?)
        };
        if lowest > highest {
            Err(format!("'{text}' is empty"))
        } else {
            Ok(Some(Self { lowest, highest }))
        }
    }

    /// The versions in both ranges; `None` if there are none.
    pub(crate) fn intersect(self, other: Self) -> Option<Self> {
        let both = Self {
            lowest: self.lowest.max(other.lowest),
            highest: self.highest.min(other.highest),
        };
        (both.lowest <= both.highest).then_some(both)
    }

    pub(crate) fn contains(self, version: i16) -> bool {
        (self.lowest..=self.highest).contains(&version)
    }

    /// Whether `self` holds for all of, none of or some of `scope`.
    pub(crate) fn within(self, scope: Self) -> Condition {
        let Some(both) = self.intersect(scope) else { return Condition::Never };
        let (low, high) = (both.lowest > scope.lowest, both.highest < scope.highest);
        let (lowest, highest) = (both.lowest, both.highest);
        match (low, high) {
            (false, false) => Condition::Always,
            (true, false) => Condition::When(format!("form.version >= {lowest}")),
            (false, true) => Condition::When(format!("form.version <= {highest}")),
            (true, true) if lowest == highest => {
                Condition::When(format!("form.version == {lowest}"))
            }
            (true, true) => {
                Condition::When(format!("({lowest}..={highest}).contains(&form.version)"))
            }
        }
    }

    /// As a person reads it, knowing the versions that exist.
    pub(crate) fn text(self, scope: Self) -> String {
        let lowest = self.lowest.max(scope.lowest);
        if self.highest >= scope.highest {
            format!("v{lowest}+")
        } else if lowest == self.highest {
            format!("v{lowest}")
        } else {
            format!("v{lowest}-v{}", self.highest)
        }
    }
}

/// When something holds, given that the version is in a known range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    Never,
    /// When this Rust expression over `form` is true.
    When(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, scope: &str, expected: &Condition) {
        let versions = Versions::parse(text).unwrap().unwrap();
        assert_eq!(&versions.within(Versions::parse(scope).unwrap().unwrap()), expected);
    }

    #[test]
    fn a_condition_says_no_more_than_the_scope_leaves_open() {
        let when = |text: &str| Condition::When(text.to_owned());
        check("0+", "3-5", &Condition::Always);
        check("4+", "3-5", &when("form.version >= 4"));
        check("5+", "3-5", &when("form.version >= 5"));
        check("4", "3-5", &when("form.version == 4"));
        check("0-4", "3-5", &when("form.version <= 4"));
        check("2-4", "1-5", &when("(2..=4).contains(&form.version)"));
        check("6+", "3-5", &Condition::Never);
    }

    #[test]
    fn a_text_that_is_no_range_is_refused() {
        assert_eq!(Versions::parse("none"), Ok(None));
        for text in ["", "+", "a", "5-3", "1-2-3", "40000"] {
            assert!(Versions::parse(text).is_err(), "{text}");
        }
    }
}
