//! What a life of the process writes down of its logs: now and then, and at its orderly end.

use klamm_log::{ClosedLog, FoundPartition, Log};
use klamm_model::{TopicId, TopicPartition, Uuid};

use super::finding::{Finding, ensure};
use super::place::{cleaner_offsets, partition_name};
use super::world::World;

impl World {
    /// The orderly end: everything is synced, written down and marked.
    pub(super) fn close(&mut self) -> Finding {
        let Some(mut node) = self.node.take() else { return Ok(()) };
        let mut is_sound = true;
        for i in 0..self.models.len() {
            let closed = node.logs[i].close_clean();
            match self.allowed(i, closed)? {
                Some(()) => {
                    let model = &mut self.models[i];
                    // The log may claim less: tickets that were lost are believed to be meant.
                    // After a failed sync in the directory nothing in it is promised any more.
                    model.synced_max = model.end;
                    if is_sound {
                        model.acked = model.end;
                    }
                }
                None => is_sound = false,
            }
            if self.disk.failed_syncs() > 0 {
                // Another sync may succeed, and say nothing.
                self.is_offline = true;
                break;
            }
        }
        self.node = Some(node);
        if self.is_offline {
            return Ok(());
        }
        if self.write_checkpoints()? && is_sound {
            let is_marked = self.mark_clean();
            ensure(is_marked || self.disk.is_off() || self.disk.failed() > 0, || {
                "the orderly end cannot be marked".to_owned()
            })?;
        }
        Ok(())
    }

    /// Says how the logs were left, and that all is in order.
    fn mark_clean(&mut self) -> bool {
        self.broker_epoch += 1;
        let Some(node) = &self.node else { return false };
        let closed: Vec<(TopicPartition, TopicId, ClosedLog)> = node
            .logs
            .iter()
            .enumerate()
            .filter_map(|(i, log)| {
                Some((partition_name(i), Uuid(self.models[i].topic_id), log.closed()?))
            })
            .collect();
        let written = node.dir.write_closed(self.broker_epoch, &closed);
        written.and_then(|()| node.dir.mark_clean(self.broker_epoch)).is_ok()
    }

    /// Writes how far the logs were cleaned; whether it is done.
    pub(crate) fn write_cleaner_offsets(&self) -> bool {
        self.write_cleaner_offsets_but(usize::MAX)
    }

    /// [`World::write_cleaner_offsets`] without a partition whose topic was deleted.
    pub(crate) fn write_cleaner_offsets_but(&self, deleted: usize) -> bool {
        let Some(node) = &self.node else { return false };
        let entry = |(i, log): (usize, &Log)| Some((partition_name(i), log.cleaned_to()?));
        let logs = node.logs.iter().enumerate().filter(|(i, _)| *i != deleted);
        let entries: Vec<_> = logs.filter_map(entry).collect();
        cleaner_offsets().write(&self.disk, &entries).is_ok()
    }

    /// Writes how far all partitions have come; whether it is done.
    pub(crate) fn write_checkpoints(&mut self) -> Result<bool, String> {
        self.write_checkpoints_but(usize::MAX)
    }

    /// [`World::write_checkpoints`] without a partition whose topic was deleted.
    pub(crate) fn write_checkpoints_but(&mut self, deleted: usize) -> Result<bool, String> {
        let Some(node) = &self.node else { return Ok(false) };
        let mut entries: Vec<FoundPartition> = Vec::new();
        for (i, log) in node.logs.iter().enumerate().filter(|(i, _)| *i != deleted) {
            entries.push(FoundPartition {
                partition: partition_name(i),
                topic_id: Some(Uuid(self.models[i].topic_id)),
                dir: log.dir().to_owned(),
                recovery_point: log.recovery_point(),
                log_start_offset: log.log_start_offset(),
                high_watermark: log.view().synced_offset(),
                mark: log.mark(),
                closed: None,
            });
        }
        let written = node.dir.write_checkpoints(&entries);
        match written {
            Ok(()) => {
                for entry in &entries {
                    let i =
                        usize::try_from(entry.partition.partition).map_err(|e| e.to_string())?;
                    self.models[i].start_min = entry.log_start_offset.0;
                    let Some(mark) = entry.mark else { continue };
                    let result = self.log(i)?.on_mark_written(mark);
                    if !self.models[i].is_closed {
                        self.allowed(i, result)?;
                    }
                }
                Ok(true)
            }
            Err(_) if self.disk.is_off() || self.disk.failed() > 0 => {
                // A directory in which a sync failed is not used any more.
                self.is_offline |= self.disk.failed_syncs() > 0;
                Ok(false)
            }
            Err(error) => Err(format!("checkpoints: {error}")),
        }
    }
}
