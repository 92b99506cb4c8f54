//! The orderly end of all partitions of a directory. Where they are many, their files are written
//! by a few threads and then synced at once, with the file system: one commit of it takes as long
//! as a few single files, and there are half a dozen of each partition.
//!
//! Never says that a directory is sound before everything in it is synced.

use std::io::ErrorKind;
use std::sync::Arc;

use klamm_log::{Closing, LogError, LogOwner};

use crate::directory::Directory;
use crate::partition::Partition;

/// Fewer partitions are closed one after another: the file system may hold a lot that is not ours.
const TOGETHER_FROM: usize = 32;

/// Threads that write files, or sync them where the file system cannot be synced as a whole.
const LANES: usize = 4;

/// How a directory was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Everything is written and synced.
    InOrder,
    /// Something failed: the next start recovers.
    ToBeRecovered,
}

impl Ended {
    fn of(results: Vec<Result<(), LogError>>, partitions: &[&Arc<Partition>]) -> Self {
        let mut ended = Self::InOrder;
        for (result, partition) in results.into_iter().zip(partitions) {
            if let Err(error) = result {
                tracing::error!(partition = %partition.name(), %error, "a partition could not be closed in order");
                ended = Self::ToBeRecovered;
            }
        }
        ended
    }
}

/// Closes all partitions of a directory.
pub(crate) fn close_all(directory: &Directory, partitions: &[&Arc<Partition>]) -> Ended {
    if directory.is_offline() {
        return Ended::ToBeRecovered;
    }
    if partitions.len() >= TOGETHER_FROM
        && let Some(ended) = close_together(directory, partitions)
    {
        return ended;
    }
    Ended::of(in_lanes(partitions, |partition| close_alone(directory, partition)), partitions)
}

/// Closes a partition, unless another's sync has failed meanwhile: after that a sync may succeed
/// and say nothing.
fn close_alone(directory: &Directory, partition: &Partition) -> Result<(), LogError> {
    if directory.is_offline() {
        return Ok(());
    }
    let closed = partition.close_clean();
    if let Err(error) = &closed
        && !matches!(error, LogError::Full { .. })
    {
        partition.fail(error);
    }
    closed
}

/// `None` if the file system cannot be synced as a whole.
fn close_together(directory: &Directory, partitions: &[&Arc<Partition>]) -> Option<Ended> {
    let begun = in_lanes(partitions, |partition| partition.begin_close());
    let mut closing: Vec<(&Arc<Partition>, Closing)> = Vec::with_capacity(begun.len());
    let mut results = Vec::with_capacity(begun.len());
    for (partition, begun) in partitions.iter().zip(begun) {
        results.push(begun.map(|begun| closing.extend(begun.map(|begun| (*partition, begun)))));
    }
    let ended = Ended::of(results, partitions);
    match sync_all(directory, &closing) {
        Synced::Done => {}
        Synced::Failed => return Some(Ended::ToBeRecovered),
        Synced::Impossible => return None,
    }
    if closing.iter().any(|(_, closing)| closing.has_files_to_name()) {
        let name = |(partition, closing): &(&Arc<Partition>, Closing)| {
            partition.with_log(|log| log.name_closed(closing))
        };
        let named = in_lanes(&closing, name);
        let partitions: Vec<&Arc<Partition>> = closing.iter().map(|(p, _)| *p).collect();
        let is_named = Ended::of(named, &partitions) == Ended::InOrder;
        if sync_all(directory, &closing) != Synced::Done || !is_named {
            return Some(Ended::ToBeRecovered);
        }
    }
    closing
        .iter()
        .for_each(|(partition, closing)| partition.with_log(|log| log.end_close(closing)));
    Some(ended)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Synced {
    Done,
    Failed,
    Impossible,
}

fn sync_all(directory: &Directory, closing: &[(&Arc<Partition>, Closing)]) -> Synced {
    if closing.is_empty() {
        return Synced::Done;
    }
    match directory.dir.sync_file_system() {
        Ok(()) => Synced::Done,
        Err(error) if error.kind() == ErrorKind::Unsupported => Synced::Impossible,
        Err(error) => {
            for (partition, _) in closing {
                partition.with_log(klamm_log::Log::on_sync_failed);
            }
            directory.fail(&error);
            Synced::Failed
        }
    }
}

/// Does the same with each, in a few threads; gives the outcomes in order.
fn in_lanes<T: Sync, R: Send>(items: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if items.len() < TOGETHER_FROM {
        return items.iter().map(act).collect();
    }
    let act = &act;
    std::thread::scope(|scope| {
        let lanes: Vec<_> = items
            .chunks(items.len().div_ceil(LANES))
            .map(|part| scope.spawn(move || part.iter().map(act).collect::<Vec<R>>()))
            .collect();
        let done = lanes.into_iter().map(|lane| lane.join().expect("closing does not panic"));
        done.flatten().collect()
    })
}
