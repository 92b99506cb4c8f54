//! Users that exist before the cluster does: SCRAM credentials as records (RFC 5802; Kafka:
//! `ScramParser`). The password itself is never written.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use klamm_persisted::metadata::UserScramCredentialRecord;
use sha2::{Digest, Sha256, Sha512};

/// Fewest iterations that Kafka accepts, and what it takes when none are given.
const ITERATIONS_MIN: u32 = 4096;
/// Most iterations that Kafka accepts: clients compute them at every login.
const ITERATIONS_MAX: u32 = 16_384;

/// A user with a password.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
    /// Random bytes.
    pub salt: Vec<u8>,
    /// How often the password is hashed.
    pub iterations: u32,
}

impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramCredential").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The record of a credential.
///
/// # Errors
/// The mechanism is unknown, or something is empty or out of range.
pub fn scram_record(credential: &ScramCredential) -> Result<UserScramCredentialRecord, String> {
    let ScramCredential { user, password, salt, iterations, .. } = credential;
    if user.is_empty() || password.is_empty() || salt.is_empty() {
        return Err("a SCRAM user needs a name, a password and a salt".to_owned());
    }
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(iterations) {
        return Err(format!(
            "user {user}: {iterations} iterations, expected {ITERATIONS_MIN} to {ITERATIONS_MAX}"
        ));
    }
    let (mechanism, [stored_key, server_key]) = match credential.mechanism.as_str() {
        "SCRAM-SHA-256" => {
            let mut salted = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, *iterations, &mut salted);
            let mac = |text: &[u8]| {
                let mac = Hmac::<Sha256>::new_from_slice(&salted).expect("any key length is valid");
                mac.chain_update(text).finalize().into_bytes()
            };
            (1, [Sha256::digest(mac(CLIENT_KEY)).to_vec(), mac(SERVER_KEY).to_vec()])
        }
        "SCRAM-SHA-512" => {
            let mut salted = [0; 64];
            pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), salt, *iterations, &mut salted);
            let mac = |text: &[u8]| {
                let mac = Hmac::<Sha512>::new_from_slice(&salted).expect("any key length is valid");
                mac.chain_update(text).finalize().into_bytes()
            };
            (2, [Sha512::digest(mac(CLIENT_KEY)).to_vec(), mac(SERVER_KEY).to_vec()])
        }
        other => return Err(format!("user {user}: unknown SCRAM mechanism '{other}'")),
    };
    Ok(UserScramCredentialRecord {
        name: user.as_str().into(),
        mechanism,
        salt: Bytes::copy_from_slice(salt),
        stored_key: Bytes::from(stored_key),
        server_key: Bytes::from(server_key),
        iterations: i32::try_from(*iterations).expect("at most 16,384"),
    })
}

const CLIENT_KEY: &[u8] = b"Client Key";
const SERVER_KEY: &[u8] = b"Server Key";

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> ScramCredential {
        ScramCredential {
            mechanism: "SCRAM-SHA-256".into(),
            user: "user".into(),
            password: "pencil".into(),
            // The salt of RFC 7677's example.
            salt: vec![
                0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36,
                0xfa, 0x81,
            ],
            iterations: 4096,
        }
    }

    #[test]
    fn the_keys_are_those_of_the_rfcs_example() {
        let record = scram_record(&credential()).unwrap();
        // Computed by Python's hashlib from RFC 7677's user, password, salt and iterations.
        assert_eq!(hex(&record.stored_key), STORED_KEY);
        assert_eq!(hex(&record.server_key), SERVER_KEY_HEX);
    }

    #[test]
    fn a_credential_that_no_client_could_use_is_refused() {
        for bad in [
            ScramCredential { mechanism: "PLAIN".into(), ..credential() },
            ScramCredential { user: String::new(), ..credential() },
            ScramCredential { password: String::new(), ..credential() },
            ScramCredential { salt: Vec::new(), ..credential() },
            ScramCredential { iterations: 4095, ..credential() },
            ScramCredential { iterations: 16_385, ..credential() },
        ] {
            assert!(scram_record(&bad).is_err(), "{bad:?}");
        }
        assert!(!format!("{:?}", credential()).contains("pencil"));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    const STORED_KEY: &str = "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6";
    const SERVER_KEY_HEX: &str = "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5";
}
