//! Replicas that are moved to other log directories: asked for, called off, and what becomes of
//! their files (KIP-113; Kafka: `ReplicaManager.alterReplicaLogDirs`). Copies nothing; that is the
//! mover's part.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::task::Rests;
use klamm_log::{Log, LogError, LogOwner, names};
use klamm_model::{Offset, TopicPartition, Uuid};

use crate::directory::Directory;
use crate::move_refused::MoveRefused;
use crate::partition::Partition;
use crate::partitions::Partitions;
use crate::replica_move::{CalledOff, FutureReplica, Move};

impl Partitions {
    /// Has a replica moved to the log directory at `path`, in the background. Where it is already,
    /// a move elsewhere is called off (Kafka: `ReplicaManager.alterReplicaLogDirs`).
    ///
    /// # Errors
    /// See [`MoveRefused`].
    pub fn move_to(&self, name: &TopicPartition, path: &str) -> Result<(), MoveRefused> {
        if names::future_dir(&name.topic, name.partition, Uuid::ZERO).is_none() {
            return Err(MoveRefused::NameTooLong);
        }
        let to = self.destination(path)?;
        let Some(partition) = self.by_name(&name.topic, name.partition) else {
            self.moves().prefer(name, to.dir.directory_id());
            return Err(MoveRefused::UnknownPartition);
        };
        if partition.is_offline() {
            return Err(MoveRefused::Offline);
        }
        if let Some(under_way) = self.moves().of(name) {
            if Arc::ptr_eq(&under_way.to, &to) {
                self.retry(&under_way);
                return Ok(());
            }
            self.call_off(&under_way)?;
        }
        if Arc::ptr_eq(&partition.directory(), &to) {
            return Ok(());
        }
        self.begin_move(&partition, &to)
    }

    fn destination(&self, path: &str) -> Result<Arc<Directory>, MoveRefused> {
        let directories = self.directories();
        let Some(to) = directories.all().iter().find(|d| d.dir.path() == Path::new(path)) else {
            let is_failed = directories.failed().iter().any(|failed| failed == Path::new(path));
            let offline = || MoveRefused::Offline;
            return Err(if is_failed { offline() } else { MoveRefused::NoSuchDirectory });
        };
        match to {
            to if to.is_offline() => Err(MoveRefused::Offline),
            to if to.is_cordoned() => Err(MoveRefused::Cordoned),
            to => Ok(Arc::clone(to)),
        }
    }

    fn retry(&self, failed: &Arc<Move>) {
        if failed.retry() {
            self.moves().enqueue(failed);
        }
    }

    fn begin_move(
        &self,
        partition: &Arc<Partition>,
        to: &Arc<Directory>,
    ) -> Result<(), MoveRefused> {
        let name = partition.name();
        let future = names::future_dir(&name.topic, name.partition, self.env().random.uuid());
        let dir = to.dir.path().join(future.ok_or(MoveRefused::NameTooLong)?);
        let (config, cleaned_to) =
            partition.with_log(|log| (log.config().clone(), log.cleaned_to()));
        let (topic_id, wall) = (Some(partition.topic_id()), self.env().clock.wall());
        let created = Log::create(&self.directories().disk, &dir, topic_id, config, wall);
        let log = created.map_err(|error| {
            if let LogError::Io { .. } = &error {
                to.fail(&error);
            }
            MoveRefused::Log(error)
        })?;
        self.register_move(partition, to, log, cleaned_to)
    }

    /// A copy that an earlier life began, or that was just made, is worked at from now on.
    pub(crate) fn register_move(
        &self,
        partition: &Arc<Partition>,
        to: &Arc<Directory>,
        mut log: Log,
        cleaned_to: Option<Offset>,
    ) -> Result<(), MoveRefused> {
        log.bound_open_files(to.open_files());
        let paused = partition.with_log(|log| log.pause_compaction());
        if let Err(error) = paused {
            partition.fail(&error);
            return Err(MoveRefused::Log(error));
        }
        let begun = Move::new(partition, to, log, cleaned_to);
        if !self.moves().begin(&begun) {
            // Two asked at once: the first has it.
            self.drop_copy(&begun);
            return Err(MoveRefused::Busy);
        }
        Ok(())
    }

    fn call_off(&self, under_way: &Arc<Move>) -> Result<(), MoveRefused> {
        let called_off = under_way.call_off().ok_or(MoveRefused::Busy)?;
        self.moves().forget(under_way);
        under_way.partition.with_log(|log| log.resume_compaction());
        if called_off == CalledOff::Idle {
            self.drop_copy(under_way);
        }
        Ok(())
    }

    /// The copy is not wanted any more.
    pub(crate) fn drop_copy(&self, called_off: &Arc<Move>) {
        drop(called_off.take_log());
        if let Err(error) = self.doom(&called_off.dir, called_off.partition.name()) {
            tracing::warn!(%error, "a copy that is not wanted any more could not be removed");
        }
    }

    /// The partition's topic is gone: its log is closed already.
    pub(crate) fn on_deleted(&self, partition: &Partition) {
        let Some(under_way) = self.moves().of(partition.name()) else { return };
        // One that was replaced just now: nobody else removes its files before a topic of the same
        // name may have others there.
        if self.call_off(&under_way).is_err() {
            self.doom_left(&under_way);
        }
    }

    fn doom_left(&self, replaced: &Move) {
        let Some(left) = replaced.take_left() else { return };
        let name = replaced.partition.name();
        let disk = &self.directories().disk;
        let gone = self.doom(&left, name).and_then(|()| {
            let parent = left.parent().unwrap_or(&left);
            disk.sync_dir(parent).map_err(|error| LogError::Io { path: left.clone(), error })
        });
        if let Err(error) = gone {
            tracing::error!(partition = %name, %error, "the files that a replica has left could not be removed: the next start compares them with those in use, and removes them");
        }
    }

    /// The copy is the log now: it is synced, and the old files go.
    pub(crate) fn finish_move(&self, replaced: &Arc<Move>) {
        let partition = &replaced.partition;
        match partition.sync_whole() {
            Ok(()) => {
                self.doom_left(replaced);
                self.write_checkpoints();
                if replaced.cleaned_to.is_some() {
                    self.write_cleaner_checkpoints();
                }
                self.note_directory(partition, None);
                tracing::info!(partition = %partition.name(), dir = %replaced.to.dir.path().display(), "a replica was moved");
            }
            // The partition is offline. The next start finds both, and takes the one that
            // reaches further.
            Err(error) => {
                tracing::error!(partition = %partition.name(), %error, "a replica that was moved could not be synced");
                let left = replaced.take_left();
                let unsettled = left.as_deref().and_then(Path::parent).map(Path::to_owned);
                self.moves().note_unsettled(unsettled);
            }
        }
        self.moves().forget(replaced);
    }

    /// The replicas on their way.
    #[must_use]
    pub fn futures(&self) -> Vec<FutureReplica> {
        let moves = self.moves().all();
        moves.iter().filter(|m| !m.is_replaced()).map(|m| m.future()).collect()
    }

    /// Where threads rest while there is nothing to move.
    #[must_use]
    pub fn mover_rests(&self) -> &Rests {
        self.moves().rests()
    }

    /// Closes the copies in order; gives the directories in which that failed.
    pub(crate) fn close_moves(&self) -> Vec<PathBuf> {
        let mut failed = self.moves().unsettled();
        for unfinished in self.moves().all() {
            let Some(mut log) = unfinished.take_log() else { continue };
            if let Err(error) = log.close_clean() {
                tracing::error!(partition = %unfinished.partition.name(), %error, "a copy could not be closed in order");
                failed.push(unfinished.to.dir.path().to_owned());
            }
        }
        failed
    }
}
