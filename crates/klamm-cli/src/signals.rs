//! Waiting for the end: Ctrl-C or SIGTERM.

use klamm_env::task;
use tokio::signal::unix::{SignalKind, signal};

/// Blocks until the process is asked to end; names the signal.
pub(crate) fn wait_for_end() -> Result<&'static str, String> {
    let waiting = async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => Ok("interrupt"),
            _ = terminate.recv() => Ok("terminate"),
        }
    };
    task::run_worker(waiting)
        .and_then(|result: std::io::Result<&'static str>| result)
        .map_err(|e| format!("signals cannot be waited for: {e}"))
}
