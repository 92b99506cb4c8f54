//! A measured window: CPU of the broker at both ends, and what was done between them.

use std::time::{Duration, Instant};

use klamm_bench::{LoadError, cpu};
use serde_json::{Value, json};

/// The start of a window.
pub(super) struct Window {
    pid: u32,
    start: Instant,
    cpu: Duration,
}

/// What was done in a window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) requests: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Window {
    pub(super) fn open(pid: u32) -> Result<Self, LoadError> {
        Ok(Self { pid, cpu: cpu::cpu_time(pid)?, start: Instant::now() })
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// The figures: CPU for the work, and the work for the time.
    pub(super) fn close(self, done: Done) -> Result<Value, LoadError> {
        let seconds = self.start.elapsed().as_secs_f64();
        let cpu_s = cpu::cpu_time(self.pid)?.saturating_sub(self.cpu).as_secs_f64();
        let per = |n: u64| if n == 0 { 0.0 } else { cpu_s * 1e6 / n as f64 };
        Ok(json!({
            "seconds": seconds,
            "requests": done.requests,
            "records": done.records,
            "bytes": done.bytes,
            "cpu_s": cpu_s,
            "cpu_percent": cpu_s / seconds * 100.0,
            "cpu_s_per_gb": if done.bytes == 0 { 0.0 } else { cpu_s * 1e9 / done.bytes as f64 },
            "cpu_us_per_request": per(done.requests),
            "cpu_us_per_record": per(done.records),
            "mb_per_s": done.bytes as f64 / seconds / 1e6,
            "requests_per_s": done.requests as f64 / seconds,
        }))
    }
}
