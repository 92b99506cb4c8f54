//! A topic is deleted and made again under its name, as a broker does it (Kafka: `LogManager.
//! asyncDelete`): the directory gets another name at once, and goes later.

use std::path::Path;

use klamm_env::Disk;
use klamm_log::{Log, names};
use klamm_model::Uuid;

use super::finding::Finding;
use super::mix::Mix;
use super::place::{partition_name, partition_path};
use super::stored::NOW;
use super::world::World;

impl World {
    /// Gives a partition's directory a name that says that it waits for its removal.
    pub(crate) fn doom(&mut self, dir: &Path) -> std::io::Result<()> {
        let name = partition_name(0);
        let random = (u128::from(self.random.bits()) << 64) | u128::from(self.random.bits());
        let to = dir.with_file_name(names::doomed_dir(&name.topic, 0, Uuid(random)));
        self.disk.rename(dir, &to)?;
        self.doomed.push(to);
        Ok(())
    }

    /// Nothing of the old topic is promised any more; the new one begins empty.
    pub(crate) fn make_topic_again(&mut self, i: usize) -> Finding {
        // Until its first sync a directory may lose the file that says whose it is: after a power
        // cut nobody could tell its records, none of them acknowledged, from the new topic's.
        let has_id = self.models[i].synced_max > 0 || self.models[i].end == 0;
        let is_kept = matches!(self.mix, Mix::Plain(_));
        if self.models[i].is_closed || !has_id || is_kept {
            return Ok(());
        }
        self.say(|| format!("{i}: the topic is deleted and made again"));
        self.log(i)?.close_for_deletion();
        self.tickets.retain(|(of, _)| *of != i);
        self.models[i] = self.models[i].make_again();
        let made = self.replace_directory(i)?;
        self.tally.topics_made_again += u64::from(made);
        // A disk that fails here is not used any more.
        self.is_offline |= !made;
        Ok(())
    }

    fn replace_directory(&mut self, i: usize) -> Result<bool, String> {
        if let Err(error) = self.doom(&partition_path(i)) {
            return self.excused(&error);
        }
        if !self.write_checkpoints_but(i)? || !self.write_cleaner_offsets_but(i) {
            return Ok(false);
        }
        let (disk, config) = (self.disk.as_disk(), self.configs[i].clone());
        let id = Some(Uuid(self.models[i].topic_id));
        match Log::create(&disk, &partition_path(i), id, config, NOW) {
            Ok(log) => *self.log(i)? = log,
            Err(error) => return self.excused(&error),
        }
        if self.random.one_in(2) {
            for dir in std::mem::take(&mut self.doomed) {
                if let Err(error) = self.disk.remove_dir_all(&dir) {
                    return self.excused(&error);
                }
            }
        }
        Ok(true)
    }

    fn excused(&self, error: &dyn std::fmt::Display) -> Result<bool, String> {
        let is_excused = self.disk.is_off() || self.disk.failed() > 0;
        if is_excused { Ok(false) } else { Err(error.to_string()) }
    }
}
