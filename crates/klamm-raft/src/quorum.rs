//! The metadata log of a quorum of one: opened, led, appended to, snapshotted.

mod load;
mod options;
mod snapshots;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use klamm_env::Disk;
use klamm_log::{Log, Origin, names};
use klamm_metadata::{MetadataImage, Provenance};
use klamm_model::{LeaderEpoch, METADATA_TOPIC, NodeId, Offset, Timestamp};
use klamm_records::{ControlRecordType, ValidBatch};

use crate::batch::{self, BATCH_BYTES_MAX, Place, RECORD_OVERHEAD_BYTES};
use crate::core::{self, Known};
use crate::format::activation_records;
use crate::quorum_state::StateVersion;
use crate::replay::Replay;
use crate::snapshot::{self, Contents};
use crate::{QuorumState, RaftError, SnapshotId, Voter};

pub use options::{QuorumOptions, SnapshotRules};
use snapshots::Snapshots;

/// A quorum that this node leads, and what its log says.
#[derive(Debug)]
pub struct Opened {
    /// The quorum.
    pub quorum: Quorum,
    /// The metadata, the first records of a new cluster included. These are committed with the
    /// first [`Quorum::append`] or [`Quorum::sync`]; answer nobody before.
    pub image: Arc<MetadataImage>,
    /// Whether the cluster begins with this start.
    pub is_new_cluster: bool,
}

/// The metadata log and this node's leadership of it. One owner.
#[derive(Debug)]
pub struct Quorum {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    log: Log,
    node_id: NodeId,
    epoch: LeaderEpoch,
    voters: Vec<Voter>,
    /// Whether the voters are in the log (kraft.version 1) and so in every snapshot.
    has_voter_records: bool,
    snapshots: Snapshots,
    last_timestamp: Timestamp,
    is_closed: bool,
}

impl Quorum {
    /// Reads snapshot and log, takes over the leadership in a new epoch, and begins it. Nothing
    /// is synced: the first commit covers it.
    ///
    /// # Errors
    /// The files are damaged, this node may not lead, or the disk failed.
    pub fn open(
        disk: &Arc<dyn Disk>,
        options: &QuorumOptions,
        wall: Timestamp,
    ) -> Result<Opened, RaftError> {
        let dir = options.log_dir.join(names::partition_dir(METADATA_TOPIC, 0));
        disk.create_dir_all(&dir).map_err(RaftError::io(&dir))?;
        let state = QuorumState::read(disk.as_ref(), &dir)?;
        let found = load::load(disk, &dir, options, wall)?;
        let voters = found.replay.voters.clone().unwrap_or_else(|| options.fixed_voters.clone());
        let provenance = found.replay.loader.image().provenance;
        let epoch = core::elect(&Known {
            node_id: options.node_id,
            directory_id: options.directory_id,
            voters: &voters,
            state,
            last_epoch: provenance.epoch,
        })?;
        let rules = options.snapshots;
        let snapshots = Snapshots::new(rules, found.snapshots, found.bytes_replayed, wall);
        let mut quorum = Self {
            disk: Arc::clone(disk),
            dir,
            log: found.log,
            node_id: options.node_id,
            epoch,
            voters,
            has_voter_records: found.replay.kraft_version >= 1,
            snapshots,
            last_timestamp: provenance.append_time,
            is_closed: false,
        };
        quorum.begin_epoch(found.has_voters_in_log, wall)?;
        let mut replay = found.replay;
        let is_new_cluster = !replay.has_records;
        if is_new_cluster {
            quorum.begin_cluster(&options.log_dir, &mut replay, wall)?;
        }
        replay.loader.read_to(quorum.provenance());
        let (image, _) = replay.loader.take();
        Ok(Opened { quorum, image, is_new_cluster })
    }

    fn begin_epoch(&mut self, has_voters_in_log: bool, wall: Timestamp) -> Result<(), RaftError> {
        let state =
            QuorumState { leader_id: Some(self.node_id), leader_epoch: self.epoch, voted: None };
        let ids: Vec<NodeId> = self.voters.iter().map(|voter| voter.node_id).collect();
        let version =
            if self.has_voter_records { StateVersion::V1 } else { StateVersion::V0(&ids) };
        state.write(self.disk.as_ref(), &self.dir, version)?;
        let refuse = |e: klamm_codec::EncodeError| RaftError::Record {
            offset: Offset::ZERO,
            what: e.to_string(),
        };
        let change = batch::leader_change(self.node_id, &self.voters).map_err(refuse)?;
        let mut records = vec![(ControlRecordType::LeaderChange, change)];
        if self.has_voter_records && !has_voters_in_log {
            records.extend(batch::voter_set(&self.voters).map_err(refuse)?);
        }
        let bytes = batch::control(self.place(wall), &records);
        self.write(&bytes, wall).map(drop)
    }

    /// The first records of a cluster: what formatting wrote, as one transaction (KIP-868).
    fn begin_cluster(
        &mut self,
        log_dir: &Path,
        replay: &mut Replay,
        wall: Timestamp,
    ) -> Result<(), RaftError> {
        let records = activation_records(self.disk.as_ref(), log_dir)?;
        let mut frames = Vec::with_capacity(records.len());
        let offset = self.next_offset();
        let refuse = |what: String| RaftError::Record { offset, what };
        for record in &records {
            frames.push(record.to_frame().map_err(|e| refuse(e.to_string()))?);
            replay.loader.replay(&record.record).map_err(|e| refuse(e.to_string()))?;
        }
        self.write(&batch::data(self.place(wall), &frames), wall).map(drop)
    }

    fn place(&self, wall: Timestamp) -> Place {
        Place { base_offset: self.next_offset(), epoch: self.epoch, timestamp: wall }
    }

    fn write(&mut self, bytes: &[u8], wall: Timestamp) -> Result<Offset, RaftError> {
        if self.is_closed {
            return Err(RaftError::Closed);
        }
        let batch = ValidBatch::own(bytes).expect("a batch that we have just built");
        let appended = self.log.append_as_leader(batch, self.epoch, Origin::Broker, wall);
        let appended = appended.map_err(|error| {
            self.is_closed = true;
            let error = std::io::Error::other(error.to_string());
            RaftError::Io { path: self.dir.clone(), error }
        })?;
        self.snapshots.on_appended(bytes.len() as u64, wall);
        self.last_timestamp = wall;
        Ok(appended.last_offset)
    }

    /// Appends groups of framed records and makes them durable; gives the last offset of each
    /// group. A group is committed as a whole. As many groups as fit share one batch and one
    /// sync, so that nothing but the last batch of the log is ever unsynced.
    ///
    /// # Errors
    /// A group is too large (nothing was written), or the disk failed: then nobody knows what is
    /// durable, and every later call fails.
    pub fn append(
        &mut self,
        groups: &[Vec<Bytes>],
        wall: Timestamp,
    ) -> Result<Vec<Offset>, RaftError> {
        let size = |group: &Vec<Bytes>| {
            group.iter().map(|frame| frame.len() + RECORD_OVERHEAD_BYTES).sum::<usize>()
        };
        if let Some(bytes) = groups.iter().map(size).find(|bytes| *bytes > BATCH_BYTES_MAX) {
            return Err(RaftError::TooLarge { bytes });
        }
        if self.is_closed {
            return Err(RaftError::Closed);
        }
        let mut last_offsets = Vec::with_capacity(groups.len());
        let mut next = self.next_offset();
        let mut rest = groups;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |group: &&Vec<Bytes>| {
                bytes += size(group);
                bytes <= BATCH_BYTES_MAX
            };
            let n = rest.iter().take_while(fits).count();
            for group in &rest[..n] {
                next = next.plus(group.len() as i64);
                last_offsets.push(Offset(next.0 - 1));
            }
            let frames = rest[..n].iter().flatten();
            if frames.clone().next().is_some() {
                let batch = batch::data(self.place(wall), frames);
                self.write(&batch, wall)?;
                self.sync()?;
            }
            rest = &rest[n..];
        }
        assert_eq!(next, self.next_offset());
        Ok(last_offsets)
    }

    /// Makes everything appended so far durable, and so committed.
    ///
    /// # Errors
    /// The disk failed; it is never asked again.
    pub fn sync(&mut self) -> Result<(), RaftError> {
        if self.is_closed {
            return Err(RaftError::Closed);
        }
        let synced = self.sync_once();
        self.is_closed = synced.is_err();
        synced
    }

    fn sync_once(&mut self) -> Result<(), RaftError> {
        let Some(ticket) = self.log.sync_ticket()? else { return Ok(()) };
        if let Err(error) = ticket.sync(self.disk.as_ref()) {
            self.log.on_sync_failed();
            return Err(RaftError::Io { path: self.dir.clone(), error });
        }
        self.log.on_synced(ticket.up_to);
        Ok(())
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.log.log_end_offset()
    }

    /// Everything below is committed.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        let mut synced = [self.log.view().synced_offset()];
        core::high_watermark(&mut synced).expect("a quorum has a voter")
    }

    /// The epoch that this node leads.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Who votes.
    #[must_use]
    pub fn voters(&self) -> &[Voter] {
        &self.voters
    }

    /// `kraft.version`: 1 if the voters are in the log, 0 if they are fixed.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        i16::from(self.has_voter_records)
    }

    /// The log, for readers.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    fn provenance(&self) -> Provenance {
        Provenance {
            next_offset: self.next_offset(),
            epoch: self.epoch,
            append_time: self.last_timestamp,
        }
    }

    /// Whether it is time for a snapshot.
    #[must_use]
    pub fn is_snapshot_due(&self, wall: Timestamp) -> bool {
        !self.is_closed && self.snapshots.is_due(wall)
    }

    /// When a snapshot is due by time; `None` if nothing is new or time does not matter.
    #[must_use]
    pub fn next_snapshot(&self) -> Option<Timestamp> {
        self.snapshots.next_due()
    }

    /// Writes a snapshot of `image`, which must be of all records appended so far, and drops what
    /// it makes superfluous.
    ///
    /// # Errors
    /// The image is older than the log or cannot be written, or the disk failed.
    pub fn write_snapshot(
        &mut self,
        image: &MetadataImage,
        wall: Timestamp,
    ) -> Result<SnapshotId, RaftError> {
        if image.provenance.next_offset != self.next_offset() {
            let (image, log) = (image.provenance.next_offset, self.next_offset());
            return Err(RaftError::StaleImage { image, log });
        }
        self.sync()?;
        self.snapshots.begin(wall);
        let provenance = self.provenance();
        let refuse = |what: String| RaftError::Record { offset: provenance.next_offset, what };
        let records = image.to_records().map_err(|e| refuse(e.to_string()))?;
        let frames: Result<Vec<Bytes>, _> =
            records.iter().map(|record| record.to_frame()).collect();
        let bytes = snapshot::encode(&Contents {
            epoch: provenance.epoch,
            last_timestamp: provenance.append_time,
            voters: self.has_voter_records.then_some(&self.voters[..]),
            frames: &frames.map_err(|e| refuse(e.to_string()))?,
            wall,
        });
        let bytes = bytes.map_err(|e| refuse(e.to_string()))?;
        let file = snapshot::write(self.disk.as_ref(), &self.dir, provenance, &bytes)?;
        let id = file.id;
        self.snapshots.on_written(file, wall);
        self.clean(wall)?;
        Ok(id)
    }

    /// Drops the oldest snapshots, and the log below the oldest that stays (Kafka:
    /// `KafkaMetadataLog.maybeClean`).
    fn clean(&mut self, wall: Timestamp) -> Result<(), RaftError> {
        while let Some((oldest, next)) =
            self.snapshots.superfluous(wall, self.log.view().size_bytes())
        {
            let is_of_formatting = oldest.id == SnapshotId::BOOTSTRAP;
            let start = next.id.end_offset;
            self.disk.remove_file(&oldest.path).map_err(RaftError::io(&oldest.path))?;
            self.snapshots.drop_oldest();
            if !is_of_formatting {
                self.log.delete_records(start)?;
                self.log.delete_old_segments(wall, self.high_watermark())?;
            }
        }
        Ok(self.log.remove_doomed(wall)?)
    }

    /// Writes what makes the next start quick.
    ///
    /// # Errors
    /// The disk failed.
    pub fn close(mut self) -> Result<(), RaftError> {
        if self.is_closed {
            return Err(RaftError::Closed);
        }
        Ok(self.log.close_clean()?)
    }
}
