//! Waiting for the end: Ctrl-C or SIGTERM.

use std::io;
use std::sync::mpsc::{Receiver, channel};

use klamm_env::task;
use tokio::signal::unix::{Signal, SignalKind, signal};

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn end(mut self) -> io::Result<&'static str> {
        tokio::select! {
            _ = self.interrupt.recv() => Ok("interrupt"),
            _ = self.terminate.recv() => Ok("terminate"),
        }
    }
}

/// Waits until the process is asked to end; names the signal.
pub(crate) async fn end() -> io::Result<&'static str> {
    Signals::new()?.end().await
}

/// Signals that are caught from before a node starts until after it stops, so that none is lost
/// and none ends the process in between.
pub(crate) struct Watch {
    ended: Receiver<io::Result<&'static str>>,
}

impl Watch {
    /// From when this returns, a signal is waited for and no longer ends the process by itself.
    pub(crate) fn start() -> Result<Self, String> {
        let (ready_sender, ready) = channel::<()>();
        let (sender, ended) = channel();
        let watch = move || {
            let watched = task::run_worker(async {
                let signals = Signals::new()?;
                drop(ready_sender);
                signals.end().await
            });
            // Nobody waits any more when the process ends for another reason.
            drop(sender.send(watched.and_then(|result| result)));
        };
        task::spawn_thread("signals", watch).map_err(failed)?;
        // An error comes out of `wait`; either way nothing is ever sent here.
        let _closed = ready.recv();
        Ok(Self { ended })
    }

    /// Blocks until the process is asked to end, at once if it was already; names the signal.
    pub(crate) fn wait(&self) -> Result<&'static str, String> {
        let ended = self.ended.recv().map_err(io::Error::other).map_err(failed)?;
        ended.map_err(failed)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: io::Error) -> String {
    format!("signals cannot be waited for: {error}")
}
