//! Copies replicas to the log directories that they are on their way to (Kafka:
//! `ReplicaAlterLogDirsThread`). Threads call [`LogMover::turn`]; a turn ends when its replica is
//! moved, cannot be, or the thread is to end.

use std::fmt;
use std::sync::Arc;

use klamm_env::Env;
use klamm_log::{CopyError, FollowError, Log, LogError, LogOwner, Pace, ReadError, Shortage};

use crate::partition::{Replaced, Replacement};
use crate::partitions::Partitions;
use crate::replica_move::Move;

/// Copied between two looks at whether the move is still wanted.
const STEP_BYTES: u64 = 1024 * 1024;
/// Copied between two syncs: what the page cache is made to hold.
const SYNC_EVERY_BYTES: u64 = 16 * 1024 * 1024;
/// The copy is synced so often when it has caught up, so that little is left for those who wait
/// for the first sync after it became the log.
const LAST_SYNCS: usize = 3;

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveTurn {
    /// A replica was moved, or given up; there may be another.
    Done,
    /// There is nothing to move.
    Idle,
    /// The thread is to end.
    Stopped,
}

/// Why a replica does not get further.
#[derive(Debug)]
enum MoveError {
    /// The thread is to end.
    Stopped,
    /// Nobody wants it any more.
    CalledOff,
    /// The partition or the directory is offline.
    Offline,
    /// The destination has too little room.
    NearlyFull(Shortage),
    /// A disk failed, or what is on it is damaged.
    Copy(CopyError),
}

impl fmt::Display for MoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => write!(f, "the node stops"),
            Self::CalledOff => write!(f, "it was called off"),
            Self::Offline => write!(f, "the partition or the log directory is offline"),
            Self::NearlyFull(shortage) => fmt::Display::fmt(shortage, f),
            Self::Copy(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl From<CopyError> for MoveError {
    fn from(error: CopyError) -> Self {
        Self::Copy(error)
    }
}

/// Moves the replicas of one broker.
#[derive(Debug)]
pub struct LogMover {
    env: Env,
    partitions: Arc<Partitions>,
}

impl LogMover {
    /// A mover of these partitions.
    #[must_use]
    pub fn new(env: Env, partitions: Arc<Partitions>) -> Self {
        Self { env, partitions }
    }

    /// Copies the next replica that waits, until it has taken its place.
    pub fn turn(&self, pace: &mut dyn Pace) -> MoveTurn {
        let moves = self.partitions.moves();
        let Some(next) = moves.next() else { return MoveTurn::Idle };
        let Some(mut log) = next.take_log() else { return MoveTurn::Done };
        match self.copy(&next, &mut log, pace) {
            Ok(()) => self.partitions.finish_move(&next),
            Err(MoveError::Stopped) => {
                moves.give_back(&next, log);
                return MoveTurn::Stopped;
            }
            Err(MoveError::CalledOff) => self.partitions.drop_copy(&next),
            Err(error) => {
                self.on_failed(&next, &error);
                next.fail(log);
                if next.is_called_off() {
                    self.partitions.drop_copy(&next);
                }
            }
        }
        MoveTurn::Done
    }

    fn on_failed(&self, failed: &Move, error: &MoveError) {
        let (partition, dir) = (failed.partition.name(), failed.dir.display());
        tracing::error!(%partition, %dir, %error, "a replica is not moved; ask again (AlterReplicaLogDirs), or restart the node, when the cause is mended");
        let wall = self.env.clock.wall();
        match error {
            MoveError::Copy(CopyError::Copy(FollowError::Disk(LogError::Full { .. }))) => {
                failed.to.room().on_full(wall);
            }
            MoveError::Copy(CopyError::Copy(FollowError::Disk(error @ LogError::Io { .. }))) => {
                failed.to.fail(error);
            }
            MoveError::Copy(CopyError::Original(ReadError::Log(error @ LogError::Io { .. }))) => {
                failed.partition.fail(error);
            }
            _ => {}
        }
    }

    fn copy(&self, next: &Move, log: &mut Log, pace: &mut dyn Pace) -> Result<(), MoveError> {
        // What the checkpoints say of an earlier life of the partition in this directory must not
        // be believed of the copy.
        self.partitions.write_checkpoints();
        let partition = &next.partition;
        let original = |error| MoveError::Copy(CopyError::Original(ReadError::Log(error)));
        partition.with_log(|log| log.open_fully()).map_err(original)?;
        let (mut unsynced, mut last_syncs) = (0, 0);
        loop {
            self.check(next)?;
            let wall = self.env.clock.wall();
            let copied = log.follow(partition.view(), STEP_BYTES, wall)?;
            unsynced += copied.bytes;
            let is_nearly_done = copied.has_caught_up && last_syncs < LAST_SYNCS;
            if unsynced >= SYNC_EVERY_BYTES || is_nearly_done {
                last_syncs += usize::from(is_nearly_done);
                self.sync(log)?;
                unsynced = 0;
            } else if copied.has_caught_up && self.replace(next, log)? {
                return Ok(());
            }
            pace.spend(copied.bytes).map_err(|_| MoveError::Stopped)?;
        }
    }

    fn check(&self, next: &Move) -> Result<(), MoveError> {
        if next.is_called_off() {
            return Err(MoveError::CalledOff);
        }
        if next.partition.is_offline() || next.to.is_offline() {
            return Err(MoveError::Offline);
        }
        let admitted = next.to.room().admit(STEP_BYTES, self.env.clock.wall());
        admitted.map_err(MoveError::NearlyFull)
    }

    fn sync(&self, log: &mut Log) -> Result<(), MoveError> {
        let ticket = log.sync_ticket().map_err(CopyError::from)?;
        let Some(ticket) = ticket else { return Ok(()) };
        let dir = log.dir().to_owned();
        match ticket.sync(log.disk().as_ref()) {
            Ok(()) => log.on_synced(ticket.up_to),
            Err(error) => {
                log.on_sync_failed();
                return Err(CopyError::from(LogError::Io { path: dir, error }).into());
            }
        }
        Ok(())
    }

    fn replace(&self, next: &Move, log: &mut Log) -> Result<bool, MoveError> {
        next.note_left(next.partition.with_log(|log| log.dir().to_owned()));
        let replacement = Replacement {
            copy: log,
            directory: &next.to,
            cleaned_to: next.cleaned_to,
            is_wanted: &|| next.begin_replacing(),
        };
        match next.partition.replace_log(replacement, self.env.clock.wall())? {
            Replaced::Yes => Ok(true),
            Replaced::Behind => Ok(false),
            Replaced::Refused => {
                self.check(next)?;
                Err(MoveError::CalledOff)
            }
        }
    }
}
