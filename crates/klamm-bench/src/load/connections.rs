//! Connections that asked one thing and then nothing more: what each costs the broker's memory.

use std::time::Duration;

use clap::Args;
use klamm_bench::wire::Connection;
use klamm_bench::{LoadError, cpu};
use klamm_protocol::ApiVersionsRequest;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use serde_json::{Value, json};

use crate::Target;

/// Descriptors beside the connections: logs, indexes, libraries.
const OTHER_DESCRIPTORS: u64 = 2_000;

/// How long memory may settle before it is read.
const SETTLE: Duration = Duration::from_secs(2);

/// Connections that are made and closed before, so that what the first ones start is there.
const WARM_CONNECTIONS: usize = 50;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// How many.
    #[arg(long, default_value_t = 5_000)]
    count: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, LoadError> {
    let target = &arguments.target;
    raise_limits(target.pid, arguments.count as u64 + OTHER_DESCRIPTORS)?;
    drop(open(target, WARM_CONNECTIONS)?);
    std::thread::sleep(SETTLE);
    let before = cpu::resident_bytes(target.pid)?;
    let connections = open(target, arguments.count)?;
    std::thread::sleep(SETTLE);
    let after = cpu::resident_bytes(target.pid)?;
    let growth = after.saturating_sub(before);
    Ok(json!({
        "connections": connections.len(),
        "resident_mib": after as f64 / (1024.0 * 1024.0),
        "kib_per_connection": growth as f64 / 1024.0 / connections.len().max(1) as f64,
    }))
}

fn open(target: &Target, count: usize) -> Result<Vec<Connection>, LoadError> {
    let request = ApiVersionsRequest::default();
    (0..count)
        .map(|_| {
            let mut connection = Connection::open(target.address)?;
            let answer = connection.ask(&request, 2)?;
            match answer.error_code {
                0 => Ok(connection),
                code => Err(LoadError::Refused { what: "a connection", code }),
            }
        })
        .collect()
}

/// Raises the limit of descriptors here and in the broker.
fn raise_limits(pid: u32, count: u64) -> Result<(), LoadError> {
    let refused = |error| {
        LoadError::system(format!("raise the limit of open files to {count} (ulimit -n)"), error)
    };
    let old = getrlimit(Resource::Nofile);
    if old.current.is_some_and(|current| current < count) {
        let maximum = old.maximum.map(|maximum| maximum.max(count));
        let new = Rlimit { current: Some(count), maximum };
        setrlimit(Resource::Nofile, new).map_err(refused)?;
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
        prlimit(id, Resource::Nofile, new).map_err(refused)?;
    }
    Ok(())
}
