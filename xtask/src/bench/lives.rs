//! Windows in which a server is started, killed or stopped: what its lives cost. Each has a
//! server of its own, whose process and files go with the window.

use serde_json::{Value, json};

use super::server::{Kind, Pin, Probe, Server};
use super::{Bench, Side, workload};

/// Memory and descriptors may settle for so many seconds before somebody looks.
pub(super) const SETTLE_SECONDS: &str = "3";

/// Both servers write checkpoints once a minute (`log.flush.offset.checkpoint.interval.ms`).
const REST_AFTER_SECONDS: &str = "75";

impl Bench<'_> {
    /// From the start of the process to the first acknowledged record, and its memory after it.
    pub(super) fn start_window(&self, kind: Kind) -> Result<Value, String> {
        let mut server = Server::prepare(self.programs, kind, Pin::None)?;
        let (start_ms, _) = self.timed_start(&mut server, &[])?;
        let mut figures = self.memory(&server, SETTLE_SECONDS)?;
        figures["start_ms"] = json!(start_ms);
        Ok(figures)
    }

    /// From the start of the process after a kill to an acknowledged record in every partition.
    pub(super) fn restart_window(&self, side: &mut Side, bytes: u64) -> Result<Value, String> {
        let mut server = Server::prepare(self.programs, side.kind, Pin::None)?;
        server.start()?;
        self.first_ack(&server)?;
        side.server = Some(server);
        let bytes = bytes.to_string();
        let words = ["produce", "--bytes", &bytes, "--seconds", FILL_SECONDS, "--after", "keep"];
        let filled = self.load(side, &words, None);
        let mut server = side.server.take().ok_or("the server does not run")?;
        let filled = filled?;
        server.kill()?;
        let partitions = ["--topic", workload::KEPT_TOPIC, "--partitions", "6"];
        let (restart_ms, restart_cpu_s) = self.timed_start(&mut server, &partitions)?;
        let mut figures = self.memory(&server, SETTLE_SECONDS)?;
        figures["log_mb"] = json!(filled["bytes"].as_f64().unwrap_or(0.0) / 1e6);
        figures["restart_ms"] = json!(restart_ms);
        figures["restart_cpu_s"] = json!(restart_cpu_s);
        Ok(figures)
    }

    /// Many partitions: made, at rest, stopped in order and started again.
    pub(super) fn partitions_window(&self, side: &mut Side, seconds: u32) -> Result<Value, String> {
        let mut server = Server::prepare(self.programs, side.kind, Pin::None)?;
        server.start()?;
        self.first_ack(&server)?;
        self.memory(&server, SETTLE_SECONDS)?;
        side.server = Some(server);
        let made = self.load(side, self.workload.load, None);
        // What was just made is not rest yet: the first checkpoints are still to come.
        let settled = made.and_then(|made| {
            let server = side.server.as_ref().ok_or("the server does not run")?;
            self.memory(server, REST_AFTER_SECONDS).map(|_| made)
        });
        let rest = self.load(side, &["idle"], Some(seconds));
        let mut server = side.server.take().ok_or("the server does not run")?;
        let (made, rest) = (settled?, rest?);
        let mut figures = self.memory(&server, SETTLE_SECONDS)?;
        figures["create_ms"] = made["create_ms"].clone();
        figures["create_cpu_s"] = made["cpu_s"].clone();
        figures["cpu_percent"] = rest["cpu_percent"].clone();
        figures["stop_ms"] = json!(server.stop()?.as_secs_f64() * 1e3);
        let (restart_ms, restart_cpu_s) = self.timed_start(&mut server, &[])?;
        figures["restart_ms"] = json!(restart_ms);
        figures["restart_cpu_s"] = json!(restart_cpu_s);
        server.kill()?;
        // ext4 looks long for a free inode where many were freed in the last minutes: the next
        // window must not pay for the end of this one.
        side.ended.push(server);
        Ok(figures)
    }

    /// Starts a server under the eyes of a load that is there before it; gives the milliseconds
    /// until all that it asked for was acknowledged, and the CPU seconds that they took.
    fn timed_start(&self, server: &mut Server, words: &[&str]) -> Result<(f64, f64), String> {
        let address = server.address();
        let words = [&["first-ack", "--address", &address], words].concat();
        let mut probe = Probe::start(self.load_command(Pin::None, &words))?;
        probe.wait_ready()?;
        let started = server.start()?;
        let acked = probe.finish()?["acked_unix_us"].as_u64().unwrap_or(0);
        Ok((acked.saturating_sub(started) as f64 / 1e3, server.cpu_s()?))
    }

    /// Memory and open files of a server in so many seconds.
    pub(super) fn memory(&self, server: &Server, seconds: &str) -> Result<Value, String> {
        let pid = server.pid()?.to_string();
        let words = ["memory", "--seconds", seconds, "--pid", &pid];
        super::output(self.load_command(Pin::None, &words))
    }
}

/// Nothing fills a log for longer than this.
const FILL_SECONDS: &str = "300";
