//! Waiting for the end: Ctrl-C or SIGTERM.

use std::io;

use klamm_env::task;
use tokio::signal::unix::{SignalKind, signal};

/// Waits until the process is asked to end; names the signal.
pub(crate) async fn end() -> io::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => Ok("interrupt"),
        _ = terminate.recv() => Ok("terminate"),
    }
}

/// Blocks until the process is asked to end; names the signal.
pub(crate) fn wait_for_end() -> Result<&'static str, String> {
    task::run_worker(end())
        .and_then(|result| result)
        .map_err(|e| format!("signals cannot be waited for: {e}"))
}

/// From now on a signal does not end the process by itself: what must be undone can be.
pub(crate) fn claim() -> io::Result<()> {
    task::run_worker(async {
        drop(signal(SignalKind::interrupt())?);
        drop(signal(SignalKind::terminate())?);
        Ok(())
    })?
}
