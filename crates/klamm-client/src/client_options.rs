//! How to reach a cluster.

use crate::connection::ConnectionOptions;
use crate::error::{ClientError, Result};

/// How to reach a cluster.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Brokers to ask first, as host and port.
    pub bootstrap: Vec<(String, u16)>,
    /// How to talk to them.
    pub connection: ConnectionOptions,
}

impl ClientOptions {
    /// From Kafka's form: `host:port,host:port`.
    ///
    /// # Errors
    /// A part of the text is no host and port.
    pub fn parse(bootstrap: &str) -> Result<Self> {
        let mut parsed = Vec::new();
        for part in bootstrap.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let pair = part
                .rsplit_once(':')
                .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
                .filter(|(host, port)| !host.is_empty() && *port > 0);
            let Some((host, port)) = pair else {
                return Err(ClientError::Invalid(format!(
                    "'{part}' is no broker: expected host:port"
                )));
            };
            parsed.push((host.trim_matches(['[', ']']).to_owned(), port));
        }
        if parsed.is_empty() {
            return Err(ClientError::Invalid("no broker is named: expected host:port".into()));
        }
        Ok(Self { bootstrap: parsed, connection: ConnectionOptions::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_named_by_host_and_port() {
        let parse = |text| ClientOptions::parse(text).map(|options| options.bootstrap);
        assert_eq!(parse("a:1, b:2").unwrap(), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(parse("[::1]:9092").unwrap(), [("::1".to_owned(), 9092)]);
    }

    #[test]
    fn a_broker_without_host_or_port_is_refused() {
        for text in ["", ",", "a", "a:", ":9092", "a:0", "a:65536", "a:x", "a:1,b"] {
            assert!(matches!(ClientOptions::parse(text), Err(ClientError::Invalid(_))), "{text}");
        }
    }
}
