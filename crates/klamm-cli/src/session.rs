//! Commands that talk to a cluster: which one, and how they end.

use std::future::Future;

use clap::Args;
use klamm_client::{Client, ClientOptions};
use klamm_env::task;

use crate::commands::{Failure, Outcome};
use crate::signals;

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bootstrap {
    /// Brokers to ask first, as host:port,host:port.
    #[arg(
        long = "bootstrap-server",
        short = 'b',
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092"
    )]
    pub(crate) bootstrap_server: String,
}

impl Bootstrap {
    /// A client of the cluster.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let options = ClientOptions::parse(&self.bootstrap_server)?;
        Ok(Client::new(klamm_env::real::env(), options))
    }

    /// Runs `command` to its end, or until Ctrl-C.
    pub(crate) fn run<F, Fut>(&self, command: F) -> Outcome
    where
        F: FnOnce(Client) -> Fut,
        Fut: Future<Output = Outcome>,
    {
        let client = self.client()?;
        run_until_end(command(client))
    }
}

/// Runs `command` on this thread; Ctrl-C ends it where it is.
pub(crate) fn run_until_end<F: Future<Output = Outcome>>(command: F) -> Outcome {
    task::run_worker(async {
        tokio::select! {
            biased;
            outcome = command => outcome,
            _ = signals::end() => Err("interrupted".into()),
        }
    })?
}
