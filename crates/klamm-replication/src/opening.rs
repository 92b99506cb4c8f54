//! A partition is opened where it was found, or made where it belongs. Never makes one in place of
//! another that may be in a directory which cannot be read.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_log::{FoundPartition, Log, LogError, Opening, names};
use klamm_model::{LeaderEpoch, Offset, TopicPartition};

use crate::move_refused::MoveRefused;
use crate::new_partition::{Age, NewPartition};
use crate::partition::Partition;
use crate::partitions::Partitions;

/// A log in one of the directories, or why it cannot be opened; with what was found of it.
struct Opened {
    directory: usize,
    found: Option<FoundPartition>,
    log: Result<Log, LogError>,
}

impl Partitions {
    /// Opens or makes a partition. One that cannot be opened is offline, and its directory's files
    /// stay as they are.
    pub(crate) fn open_partition(
        &self,
        wanted: NewPartition,
    ) -> (Arc<Partition>, Option<LogError>) {
        let Opened { directory: i, found, log } = self.open_somewhere(&wanted);
        let directory = Arc::clone(&self.directories().directories[i]);
        let (name, topic_id) = (wanted.name, wanted.topic_id);
        match log {
            Ok(mut log) => {
                let cleaned_to = self.cleaner_checkpoints().take(&name);
                if let Some(offset) = cleaned_to.filter(|_| found.is_some()) {
                    log.resume_cleaning_at(offset);
                }
                let partition = Partition::new(name, topic_id, log, wanted.rules, directory);
                self.resume_moves(&partition);
                (partition, None)
            }
            Err(error) => {
                let dir = found.as_ref().map(|found| found.dir.clone()).unwrap_or_default();
                let log = Log::unopened(&self.directories().disk, &dir, wanted.config);
                (Partition::unopened((name, topic_id), log, found, directory), Some(error))
            }
        }
    }

    fn open_somewhere(&self, wanted: &NewPartition) -> Opened {
        let mut known = self.take_found(&wanted.name);
        if known.is_empty() {
            match self.adopt_future(wanted) {
                Ok(adopted) => known.extend(adopted),
                Err((directory, error)) => {
                    return Opened { directory, found: None, log: Err(error) };
                }
            }
        }
        // The metadata says that it is elsewhere: what is here was not whole when the node stopped,
        // if that directory is only unreadable now.
        let is_elsewhere = !self.directories().failed().is_empty() && self.is_named_missing(wanted);
        match known.len() {
            0 => match self.choose_directory(wanted) {
                Ok(i) => Opened { directory: i, found: None, log: self.create_log(i, wanted) },
                Err(missing) => Opened { directory: 0, found: None, log: Err(missing) },
            },
            _ if is_elsewhere => {
                let (directory, found) = known.swap_remove(0);
                let log = self.choose_directory(wanted).and_then(|i| self.create_log(i, wanted));
                Opened { directory, found: Some(found), log }
            }
            _ => self.open_furthest(known, wanted),
        }
    }

    /// Opens what was found. Of several, which a crash left while a replica was moved, the log that
    /// reaches furthest has all that was acknowledged; the others go (see
    /// `klamm_log::Log::take_over`).
    fn open_furthest(&self, known: Vec<(usize, FoundPartition)>, wanted: &NewPartition) -> Opened {
        let mut best: Option<(usize, FoundPartition, Log)> = None;
        for (i, found) in known {
            let log = match self.open_log(i, &found, wanted) {
                Ok(log) => log,
                Err(error) => {
                    return Opened { directory: i, found: Some(found), log: Err(error) };
                }
            };
            let is_further = best.as_ref().is_none_or(|(_, _, other)| reach(&log) > reach(other));
            let loser = match is_further {
                true => best.replace((i, found, log)).map(|(_, found, _)| found.dir),
                false => Some(found.dir),
            };
            let Some(loser) = loser else { continue };
            tracing::warn!(partition = %wanted.name, dir = %loser.display(), "a replica was found twice: this one reaches less far, and is removed");
            if let Err(error) = self.doom(&loser, &wanted.name) {
                tracing::error!(partition = %wanted.name, %error, "a replica that was moved could not be removed where it was");
            }
        }
        let (directory, found, log) = best.expect("something was found");
        Opened { directory, found: Some(found), log: Ok(log) }
    }

    fn open_log(
        &self,
        i: usize,
        found: &FoundPartition,
        wanted: &NewPartition,
    ) -> Result<Log, LogError> {
        let (wall, config) = (self.env().clock.wall(), wanted.config.clone());
        let disk = &self.directories().disk;
        if let Some(closed) = &found.closed {
            let mut log = Log::asleep(disk, &found.dir, config, closed, wall);
            log.keep_mark(found.mark);
            log.keep_topic_id(found.topic_id);
            return Ok(log);
        }
        let opening = self.opening(i, found);
        let (mut log, report) = Log::open(disk, &found.dir, config, opening, wall)?;
        if found.topic_id.is_none() {
            log.assign_topic_id(wanted.topic_id)?;
        }
        if report.segments_checked > 0 {
            tracing::info!(partition = %found.partition, ?report, "log recovered");
        }
        Ok(log)
    }

    fn opening(&self, i: usize, found: &FoundPartition) -> Opening {
        Opening {
            was_clean: self.directories().directories[i].dir.was_clean(),
            recovery_point: found.recovery_point,
            log_start_offset: found.log_start_offset,
            mark: found.mark,
            cleaned_to: self.cleaner_checkpoints().of(&found.partition),
        }
    }

    /// Where a partition that was not found is made: in the directory that the metadata names, or
    /// an administrator has, or the one with the fewest partitions. Nowhere, if it may be in a
    /// directory that failed (Kafka: `LogManager.getOrCreateLog`): an empty one in its place would
    /// be taken for it.
    fn choose_directory(&self, wanted: &NewPartition) -> Result<usize, LogError> {
        let dirs = self.directories().all();
        let failed = self.directories().failed();
        let place_of = |id| dirs.iter().position(|d| d.dir.directory_id() == id);
        if let Some(named) = wanted.directory {
            return place_of(named).ok_or_else(|| LogError::Unreadable {
                path: failed.first().cloned().unwrap_or_default(),
                what: format!("the partition is in log directory {named}, which is not among those in use; mend it or put it back (log.dirs), and start again"),
            });
        }
        if let Some(path) = failed.first().filter(|_| wanted.age == Age::Old) {
            let what = "the partition is in none of the other log directories, so it may be in this one, which failed; mend it and start again".to_owned();
            return Err(LogError::Unreadable { path: path.clone(), what });
        }
        let usable = (0..dirs.len()).filter(|i| !dirs[*i].is_offline());
        let preferred = self.moves().take_preference(&wanted.name).and_then(place_of);
        if let Some(preferred) = preferred.filter(|i| !dirs[*i].is_offline()) {
            return Ok(preferred);
        }
        // Where all are cordoned the controller does not ask, if it was so at the start.
        let order = |i: &usize| (dirs[*i].is_cordoned(), dirs[*i].partition_count());
        Ok(usable.min_by_key(order).unwrap_or(0))
    }

    fn is_named_missing(&self, wanted: &NewPartition) -> bool {
        let dirs = self.directories().all();
        wanted.directory.is_some_and(|id| dirs.iter().all(|d| d.dir.directory_id() != id))
    }

    /// A copy in the directory that the metadata names is the partition, if there is no other
    /// (Kafka: `LogManager.recoverAbandonedFutureLogs`).
    fn adopt_future(
        &self,
        wanted: &NewPartition,
    ) -> Result<Option<(usize, FoundPartition)>, (usize, LogError)> {
        let mut futures = self.moves().take_found(&wanted.name);
        let dirs = self.directories().all();
        let at = futures.iter().position(|(i, found)| {
            Some(dirs[*i].dir.directory_id()) == wanted.directory
                && found.topic_id == Some(wanted.topic_id)
        });
        let adopted = at.map(|at| futures.swap_remove(at));
        self.moves().put_back_found(futures);
        let Some((i, mut found)) = adopted else { return Ok(None) };
        let to = names::partition_dir(&wanted.name.topic, wanted.name.partition);
        let to: PathBuf = dirs[i].dir.path().join(to);
        let io = |path: &Path, error| (i, LogError::Io { path: path.to_owned(), error });
        let disk = &self.directories().disk;
        disk.rename(&found.dir, &to).map_err(|error| io(&found.dir, error))?;
        disk.sync_dir(dirs[i].dir.path()).map_err(|error| io(&to, error))?;
        tracing::warn!(partition = %wanted.name, dir = %to.display(), "a replica that was on its way is taken, as the metadata says");
        found.dir = to;
        Ok(Some((i, found)))
    }

    /// Moves that an earlier life began go on.
    fn resume_moves(&self, partition: &Arc<Partition>) {
        for (i, found) in self.moves().take_found(partition.name()) {
            let to = Arc::clone(&self.directories().directories[i]);
            if found.topic_id != Some(partition.topic_id()) {
                self.moves().put_back_found(vec![(i, found)]);
                continue;
            }
            let config = klamm_log::LogOwner::with_log(&**partition, |log| log.config().clone());
            let (opening, wall) = (self.opening(i, &found), self.env().clock.wall());
            let is_here = Arc::ptr_eq(&to, &partition.directory());
            let opened = Log::open(&self.directories().disk, &found.dir, config, opening, wall);
            let resumed = opened.map_err(MoveRefused::Log).and_then(|(log, _)| match is_here {
                true => Err(MoveRefused::Busy),
                // What was cleaned before it was copied is not known any more.
                false => self.register_move(partition, &to, log, None),
            });
            if let Err(error) = resumed {
                tracing::warn!(partition = %partition.name(), dir = %found.dir.display(), %error, "a copy is of no use, and removed: the move has to be asked for again");
                if let Err(error) = self.doom(&found.dir, partition.name()) {
                    tracing::warn!(%error, "it could not be removed");
                }
            }
        }
    }

    fn create_log(&self, i: usize, wanted: &NewPartition) -> Result<Log, LogError> {
        let name = names::partition_dir(&wanted.name.topic, wanted.name.partition);
        let dir = self.directories().directories[i].dir.path().join(name);
        // A directory of a deleted topic of the same name makes room first.
        self.make_room(&dir, &wanted.name)?;
        let (topic_id, wall) = (Some(wanted.topic_id), self.env().clock.wall());
        Log::create(&self.directories().disk, &dir, topic_id, wanted.config.clone(), wall)
    }

    fn make_room(&self, dir: &Path, name: &TopicPartition) -> Result<(), LogError> {
        let io = |error| LogError::Io { path: dir.to_owned(), error };
        match self.directories().disk.list(dir) {
            Ok(_) => self.doom(dir, name),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(io(e)),
        }
    }
}

/// How far a log reaches, as an order.
fn reach(log: &Log) -> (Option<LeaderEpoch>, Offset) {
    (log.view().latest_epoch(), log.log_end_offset())
}
