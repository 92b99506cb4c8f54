//! Each small file of a directory: old, new, empty, half, garbage, missing. The log opens and
//! serves all that was durable, or says what to do.

use std::path::{Path, PathBuf};

use super::check;
use super::corruption::serve;
use super::finding::{Finding, ensure};
use super::mix::Mix;
use super::model::Model;
use super::place::{partition_path, root};
use super::world::World;
use super::{Violation, run};
use crate::disk::SimDisk;
use crate::random::Seeded;

/// Steps before each of the two states of the directory.
const STEPS: usize = 30;

/// The directory's own files.
const DIRECTORY: [&str; 6] = [
    "meta.properties",
    "recovery-point-offset-checkpoint",
    "log-start-offset-checkpoint",
    "replication-offset-checkpoint",
    "klamm-recovery-checkpoint",
    ".kafka_cleanshutdown",
];
/// The partition's, besides its snapshots.
const PARTITION: [&str; 2] = ["leader-epoch-checkpoint", "partition.metadata"];

/// A directory as it was found, with what is in it.
struct Found {
    disk: SimDisk,
    models: Vec<Model>,
}

/// Puts every small file of a directory into every state.
///
/// # Errors
/// The promise that was broken.
pub fn small_files(seed: u64) -> Result<(), Violation> {
    run(seed, Mix::Plain(1), |world| {
        world.open_in_peace();
        let old = settle(world)?;
        let new = settle(world)?;
        world.node = None;
        world.is_damaged = true;
        let mut files: Vec<PathBuf> = DIRECTORY.iter().map(|name| root().join(name)).collect();
        files.extend(PARTITION.iter().map(|name| partition_path(0).join(name)));
        let is_snapshot = |path: &PathBuf| path.extension().is_some_and(|e| e == "snapshot");
        files.extend(new.disk.paths().into_iter().filter(is_snapshot));
        for path in &files {
            let bytes = new.disk.bytes(path).unwrap_or_default();
            let half = bytes[..bytes.len() / 2].to_vec();
            let states: [(&str, &Found, Option<Vec<u8>>); 7] = [
                ("empty", &new, Some(Vec::new())),
                ("half", &new, Some(half)),
                ("garbage", &new, Some(vec![0xa7; 60])),
                ("zeros", &new, Some(vec![0; bytes.len().max(20)])),
                ("missing", &new, None),
                ("old", &new, old.disk.bytes(path)),
                ("new", &old, new.disk.bytes(path)),
            ];
            for (state, found, bytes) in states {
                world.disk = found.disk.kill();
                world.models.clone_from(&found.models);
                replace(&world.disk, path, bytes)?;
                judge(world, path, state)
                    .map_err(|what| format!("{state} {}: {what}", path.display()))?;
            }
        }
        Ok(())
    })
    .map(drop)
}

/// Some work, all of it durable and written down; the disk as a kill leaves it.
fn settle(world: &mut World) -> Result<Found, String> {
    for _ in 0..STEPS {
        world.step_in_one_life()?;
    }
    world.tickets.clear();
    world.sync(0)?;
    world.write_checkpoints()?;
    Ok(Found { disk: world.disk.kill(), models: world.models.clone() })
}

fn replace(disk: &SimDisk, path: &Path, bytes: Option<Vec<u8>>) -> Finding {
    match bytes {
        Some(bytes) => disk.put(path, &bytes).map_err(|e| e.to_string()),
        None => {
            // Some are missing anyhow.
            let _removed = disk.remove(path);
            Ok(())
        }
    }
}

fn judge(world: &mut World, path: &Path, state: &str) -> Finding {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let node = match world.try_open() {
        Ok(node) => node,
        Err(what) => {
            let says_what_to_do = ["restore", "remove", "klamm storage format"]
                .iter()
                .any(|word| what.contains(word));
            ensure(says_what_to_do, || format!("the error does not help: {what}"))?;
            let is_identity = ["meta.properties", "partition.metadata"].contains(&name);
            return ensure(is_identity, || format!("it is not opened: {what}"));
        }
    };
    let (log, model) = (&node.logs[0], &mut world.models[0]);
    let view = log.view();
    let (start, end) = (view.log_start_offset().0, view.log_end_offset().0);
    if name == "log-start-offset-checkpoint" && state == "new" {
        // It says that more was deleted, and is believed.
        return serve(view, model).map(drop);
    }
    ensure(end == model.end, || format!("it ends at {end} instead of {}", model.end))?;
    ensure(start <= model.start, || format!("it starts at {start} instead of {}", model.start))?;
    model.start = start;
    check::contents(view, model, &mut Seeded::new(1))?;
    check::places(view, model, &mut Seeded::new(2))
}
