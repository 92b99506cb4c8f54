//! What clients may read of a partition, and what they believe of its leader.

use klamm_log::{Limits, Read, ReadError};
use klamm_model::{IsolationLevel, LeaderEpoch, Offset};

use super::{Partition, ReadRefused};

impl Partition {
    /// What a reader may see.
    #[must_use]
    pub fn readable_end(&self, isolation: IsolationLevel) -> Offset {
        let end = self.committed_end(isolation);
        // Nobody knows what became of the rest.
        if self.is_offline() { end.min(self.view.synced_offset()) } else { end }
    }

    fn committed_end(&self, isolation: IsolationLevel) -> Offset {
        match isolation {
            IsolationLevel::ReadUncommitted => self.high_watermark(),
            IsolationLevel::ReadCommitted => self.last_stable_offset(),
        }
    }

    /// Checks what a client believes of the leader (KIP-320).
    ///
    /// # Errors
    /// It should look for the leader again.
    pub fn check_leader(
        &self,
        client_epoch: Option<LeaderEpoch>,
    ) -> Result<LeaderEpoch, ReadRefused> {
        if self.is_unopened() {
            return Err(ReadRefused::Offline);
        }
        // Nobody leads what is in a log directory that failed.
        let refused = || match self.is_offline() {
            true => ReadRefused::Offline,
            false => ReadRefused::NotLeader,
        };
        let epoch = self.leader_epoch().ok_or_else(refused)?;
        match client_epoch {
            Some(client) if client < epoch => Err(ReadRefused::FencedEpoch),
            Some(client) if client > epoch => Err(ReadRefused::UnknownEpoch),
            _ => Ok(epoch),
        }
    }

    /// Reads; see [`LogView::read`](klamm_log::LogView::read).
    ///
    /// # Errors
    /// See [`ReadRefused`].
    pub fn read(&self, offset: Offset, limits: Limits) -> Result<Read, ReadRefused> {
        self.read_result(offset, self.view.read(offset, limits))
    }

    /// Reads without waiting for a device: `None` if it would have to; see
    /// [`LogView::read_cached`](klamm_log::LogView::read_cached).
    ///
    /// # Errors
    /// See [`ReadRefused`].
    pub fn read_cached(&self, offset: Offset, limits: Limits) -> Result<Option<Read>, ReadRefused> {
        let read = self.view.read_cached(offset, limits).transpose();
        read.map(|read| self.read_result(offset, read)).transpose()
    }

    fn read_result(
        &self,
        offset: Offset,
        read: Result<Read, ReadError>,
    ) -> Result<Read, ReadRefused> {
        match &read {
            Err(ReadError::Log(error)) => {
                tracing::error!(partition = %self.name, %offset, %error, "a read failed");
            }
            Ok(Read { slice: None }) => self.hurry(),
            Ok(_) | Err(_) => {}
        }
        read.map_err(ReadRefused::Log)
    }

    /// Moves the log start up (DeleteRecords); gives the new one.
    ///
    /// # Errors
    /// The offset is out of range, or this broker does not lead.
    pub fn delete_records(&self, offset: Option<Offset>) -> Result<Offset, ReadRefused> {
        self.check_leader(None)?;
        let high_watermark = self.high_watermark();
        let offset = offset.unwrap_or(high_watermark);
        let (start, end) = (self.view.log_start_offset(), self.view.log_end_offset());
        if offset > high_watermark || offset < Offset::ZERO {
            let error = ReadError::OutOfRange { log_start_offset: start, log_end_offset: end };
            return Err(ReadRefused::Log(error));
        }
        self.lock()
            .delete_records(offset)
            .map_err(|error| ReadRefused::Log(ReadError::Log(error)))?;
        Ok(self.view.log_start_offset())
    }
}
