//! What a listener is: an address with a name, and what protects it.

use std::fmt;
use std::net::IpAddr;

/// A listener's name, in upper case as Kafka keeps it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerName(pub String);

impl ListenerName {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.trim().to_ascii_uppercase())
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What protects a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Nothing.
    Plaintext,
    /// TLS.
    Ssl,
    /// Authentication without encryption.
    SaslPlaintext,
    /// Authentication within TLS.
    SaslSsl,
}

impl SecurityProtocol {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Some(Self::Plaintext),
            "SSL" => Some(Self::Ssl),
            "SASL_PLAINTEXT" => Some(Self::SaslPlaintext),
            "SASL_SSL" => Some(Self::SaslSsl),
            _ => None,
        }
    }

    /// The number on the wire and in the metadata log.
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }

    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }
}

/// One address to listen on or to tell clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: ListenerName,
    /// Host name or address without brackets; empty means every address.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
    /// What protects it.
    pub protocol: SecurityProtocol,
}

impl Listener {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{}{close}:{}", self.name, self.host, self.port)
    }
}

/// The listeners of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenersConfig {
    /// What is listened on, controller listeners included.
    pub listeners: Vec<Listener>,
    /// What clients and brokers are told; port 0 stands for the port that the listener got, an
    /// empty host for the machine's own name.
    pub advertised: Vec<Listener>,
    /// Listeners that belong to the controller.
    pub controller_names: Vec<ListenerName>,
    /// The listener that brokers use among themselves.
    pub inter_broker: Option<ListenerName>,
}

impl ListenersConfig {
    /// The listeners of the broker role.
    pub fn broker(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(|l| !self.is_controller(&l.name))
    }

    /// The listeners of the controller role.
    pub fn controller(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(|l| self.is_controller(&l.name))
    }

    /// Whether a listener belongs to the controller.
    #[must_use]
    pub fn is_controller(&self, name: &ListenerName) -> bool {
        self.controller_names.contains(name)
    }
}

/// Where metrics are served over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsListener {
    /// Host name or address.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
    /// Whether a port in use stops the start. It does only if someone asked for this listener.
    pub required: bool,
}

pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| match ip {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => {
                ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
            }
        })
}

/// `host:port` or `[address]:port`; the host may be empty.
pub(crate) fn parse_host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|_| port.bytes().all(|c| c.is_ascii_digit()))?;
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        return Some((address.to_owned(), port));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (host.chars().all(legal)).then(|| (host.to_owned(), port))
}
