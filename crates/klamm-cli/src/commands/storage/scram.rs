//! `SCRAM-SHA-256=[name=alice,password=secret]`: users that exist before the cluster does
//! (KIP-900; Kafka: `ScramParser`). Never prints a password.

use klamm_env::Random;
use klamm_raft::ScramCredential;

/// What Kafka takes when none are given.
const ITERATIONS: u32 = 4096;

pub(super) fn parse(text: &str, random: &dyn Random) -> Result<ScramCredential, String> {
    let (mechanism, rest) =
        text.split_once('=').ok_or("add-scram: expected MECHANISM=[name=..,password=..]")?;
    if !matches!(mechanism, "SCRAM-SHA-256" | "SCRAM-SHA-512") {
        return Err(format!("The add-scram mechanism {mechanism} is not supported."));
    }
    let inner = rest.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.ok_or("add-scram: expected [...] after the mechanism")?;
    let mut fields = Fields::default();
    for field in split(inner) {
        fields.take(field)?;
    }
    let user = fields.name.ok_or("You must supply 'name' to add-scram")?;
    if fields.salted_password.is_some() {
        return Err("add-scram: 'saltedpassword' is not supported yet, give 'password'".to_owned());
    }
    let password = fields
        .password
        .ok_or("You must supply one of 'password' or 'saltedpassword' to add-scram")?;
    let salt = match fields.salt {
        Some(text) => base64(&text).ok_or("add-scram: the salt is no base64")?,
        None => random.uuid().to_bytes().into(),
    };
    let iterations = match fields.iterations {
        Some(text) => text.parse().map_err(|_| "add-scram: 'iterations' is no number")?,
        None => ITERATIONS,
    };
    Ok(ScramCredential { mechanism: mechanism.to_owned(), user, password, salt, iterations })
}

#[derive(Default)]
struct Fields {
    name: Option<String>,
    password: Option<String>,
    salted_password: Option<String>,
    salt: Option<String>,
    iterations: Option<String>,
}

impl Fields {
    fn take(&mut self, field: &str) -> Result<(), String> {
        let (name, value) = field.split_once('=').ok_or("add-scram: expected NAME=VALUE")?;
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = quoted.unwrap_or(value).to_owned();
        let slot = match name.trim() {
            "name" => &mut self.name,
            "password" => &mut self.password,
            "saltedpassword" => &mut self.salted_password,
            "salt" => &mut self.salt,
            "iterations" => &mut self.iterations,
            other => return Err(format!("add-scram has no '{other}'")),
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(format!("add-scram: '{}' is given twice", name.trim())),
        }
    }
}

/// At commas that are not inside quotes.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut is_quoted) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The bytes of a text in RFC 4648's base64, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut n_bits, mut bytes) = (0_u32, 0, Vec::new());
    for c in text.trim_end_matches('=').bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xffff;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((bits >> n_bits & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_env::real::RealRandom;

    #[test]
    fn a_user_has_a_name_a_password_a_salt_and_iterations() {
        let text = r#"SCRAM-SHA-512=[name=alice,iterations=8192,salt="N3E=",password="a,b"]"#;
        let user = parse(text, &RealRandom).unwrap();
        assert_eq!((user.user.as_str(), user.password.as_str()), ("alice", "a,b"));
        assert_eq!((user.iterations, user.salt), (8192, b"7q".to_vec()));
        let user = parse("SCRAM-SHA-256=[name=a,password=p]", &RealRandom).unwrap();
        assert_eq!((user.iterations, user.salt.len()), (4096, 16));
    }

    #[test]
    fn what_is_missing_twice_or_unknown_is_refused() {
        for text in [
            "",
            "x",
            "SCRAM-SHA-1=[name=a,password=b]",
            "SCRAM-SHA-256=name=a",
            "SCRAM-SHA-256=[name=a]",
            "SCRAM-SHA-256=[password=a]",
            "SCRAM-SHA-256=[]",
            "SCRAM-SHA-256=[name=a,name=b,password=c]",
            "SCRAM-SHA-256=[name=a,password=b,x=c]",
            "SCRAM-SHA-256=[name=a,password=b,salt=*]",
            "SCRAM-SHA-256=[name=a,password=b,iterations=x]",
        ] {
            assert!(parse(text, &RealRandom).is_err(), "{text}");
        }
    }
}
