//! `name=value` on the command line.

use klamm_client::ConfigChange;
use klamm_stdx::Str;

/// A name and a value, at the first '='.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err(format!("'{text}' is no NAME=VALUE")),
    }
}

/// Changes of configs from `--set` and `--unset`.
pub(crate) fn changes(set: &[(String, String)], unset: &[String]) -> Vec<ConfigChange> {
    let set = set.iter().map(|(name, value)| {
        ConfigChange::Set(Str::from(name.as_str()), Str::from(value.as_str()))
    });
    let unset = unset.iter().map(|name| ConfigChange::Unset(Str::from(name.as_str())));
    set.chain(unset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_split_at_its_first_equals_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        for text in ["", "a", "=b", " =b"] {
            assert!(pair(text).is_err(), "{text}");
        }
    }
}
