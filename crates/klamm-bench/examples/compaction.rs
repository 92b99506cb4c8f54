//! How many megabytes compaction cleans in a second of CPU time: 1 GB of 100-byte values over a
//! million keys, as a cleaner thread would, on the disk that holds the directory given.
//!
//! ```text
//! cargo run --release -p klamm-bench --example compaction -- DIRECTORY
//! ```

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use klamm_env::real;
use klamm_log::{
    Cleaner, CleanerOptions, Cleanup, KeySecret, Log, LogConfig, LogOwner, Origin, Pace, Stopped,
};
use klamm_model::{LeaderEpoch, Timestamp};
use klamm_records::{BatchBuilder, BatchOptions, Codec, RecordToAppend, ValidBatch};

const LOG_BYTES: u64 = 1 << 30;
const KEYS: u64 = 1_000_000;
const BATCH_BYTES: usize = 16 * 1024;
const NOW: Timestamp = Timestamp(1_700_000_000_000);

struct AtOnce;

impl Pace for AtOnce {
    fn spend(&mut self, _bytes: u64) -> Result<(), Stopped> {
        Ok(())
    }
}

fn fill(log: &Mutex<Log>, codec: Codec) {
    let mut state: u64 = 1;
    let mut value = [0; 100];
    while log.with_log(|log| log.view().size_bytes()) < LOG_BYTES {
        let options = BatchOptions { compression: codec.into(), ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        while builder.len_bytes() < BATCH_BYTES {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = format!("key-{:08}", (state >> 33) % KEYS);
            // Text that compresses about as well as text does.
            for (i, byte) in value.iter_mut().enumerate() {
                *byte = b'a' + ((state >> (i % 48)) & 15) as u8;
            }
            let (key, value) = (Some(key.as_bytes()), Some(&value[..]));
            builder.push(RecordToAppend { timestamp: NOW, key, value, headers: &[] });
        }
        let bytes = builder.build().expect("compressors work");
        let batch = ValidBatch::own(&bytes).expect("it was just built");
        log.with_log(|log| log.append_as_leader(batch, LeaderEpoch(0), Origin::Broker, NOW))
            .expect("the directory has room");
    }
    log.with_log(|log| log.roll(NOW)).expect("the directory has room");
}

/// Nanoseconds that this thread was on a processor.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this is Linux");
    text.split_whitespace().next().and_then(|n| n.parse().ok()).expect("the kernel counts")
}

fn measure(dir: &Path, codec: Codec) {
    let env = real::env();
    let config = LogConfig {
        segment_bytes: 100 * 1024 * 1024,
        cleanup: Cleanup { delete: false, compact: true },
        ..LogConfig::default()
    };
    let log = Log::create(&env.disk, dir, None, config, NOW).expect("the directory is empty");
    let log = Mutex::new(log);
    fill(&log, codec);
    let candidate = log.with_log(|log| log.compaction_candidate()).expect("it has segments");
    let end = log.with_log(|log| log.log_end_offset());
    let plan = candidate.assess(end, NOW).expect("nothing is read");
    let options = CleanerOptions { keys_bytes: 128 << 20, load_factor: 0.9, io_bytes: 512 << 10 };
    let mut cleaner = Cleaner::new(KeySecret::new(env.random.as_ref()), options);
    let (started, cpu) = (std::time::Instant::now(), cpu_ns());
    let report = cleaner.clean(&log, (&candidate, &plan), NOW, &mut AtOnce).expect("it is sound");
    let (wall, cpu) = (started.elapsed().as_secs_f64(), (cpu_ns() - cpu) as f64 / 1e9);
    let megabytes = report.bytes_before as f64 / 1e6;
    println!(
        "{codec}: {megabytes:.0} MB, {} records -> {:.0} MB, {} records; {:.0} MB per CPU-second ({cpu:.2} s), {:.0} MB/s ({wall:.2} s)",
        report.records_before,
        report.bytes_after as f64 / 1e6,
        report.records_after,
        megabytes / cpu,
        megabytes / wall,
    );
}

fn main() {
    let root = std::env::args_os().nth(1).map(PathBuf::from).expect("say in which directory");
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        let dir = root.join(format!("compaction-{codec}-0"));
        measure(&dir, codec);
        std::fs::remove_dir_all(&dir).expect("what was made can be removed");
    }
}
