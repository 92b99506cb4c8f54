//! Structured logs on standard error, for people at a terminal and for files alike.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging at `level`, unless KLAMM_LOG says otherwise (`info`, `debug`,
/// `klamm_network=trace` and so on).
pub(crate) fn start(level: &str) {
    let filter = EnvFilter::try_from_env("KLAMM_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(true)
        .init();
}
