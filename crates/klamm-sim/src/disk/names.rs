//! The names in one directory: as the process sees them, and as the device has them.
//!
//! Each change is on the device after a sync of the directory, or earlier by chance, and then not
//! always in the order in which it was made. A rename is whole: never both names, never neither.

use std::collections::BTreeMap;

use super::inode::Fate;
use crate::random::Seeded;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(u64),
    Dir(u64),
}

#[derive(Debug, Clone)]
enum Change {
    Link { name: String, node: Node },
    Unlink { name: String, node: Node },
    Rename { from: String, to: String, node: Node },
}

#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    now: BTreeMap<String, Node>,
    stored: BTreeMap<String, Node>,
    pending: Vec<Change>,
}

impl Directory {
    /// Names that are all on the device.
    fn stored(names: BTreeMap<String, Node>) -> Self {
        Self { now: names.clone(), stored: names, pending: Vec::new() }
    }

    pub(super) fn node(&self, name: &str) -> Option<Node> {
        self.now.get(name).copied()
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&String, Node)> {
        self.now.iter().map(|(name, node)| (name, *node))
    }

    pub(super) fn link(&mut self, name: &str, node: Node) {
        self.now.insert(name.to_owned(), node);
        self.pending.push(Change::Link { name: name.to_owned(), node });
    }

    pub(super) fn unlink(&mut self, name: &str) -> Option<Node> {
        let node = self.now.remove(name)?;
        self.pending.push(Change::Unlink { name: name.to_owned(), node });
        Some(node)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Option<Node> {
        let node = self.now.remove(from)?;
        self.now.insert(to.to_owned(), node);
        self.pending.push(Change::Rename { from: from.to_owned(), to: to.to_owned(), node });
        Some(node)
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            apply(&mut self.stored, &change);
        }
    }

    /// The journal is written by itself, up to some change.
    pub(super) fn write_back_some(&mut self, random: &mut Seeded) {
        let n = random.below(self.pending.len() + 1);
        for change in self.pending.drain(..n) {
            apply(&mut self.stored, &change);
        }
    }

    /// A sync that fails: what did not reach the device is not tried again.
    pub(super) fn fail_sync(&mut self, random: &mut Seeded) {
        self.write_back_some(random);
        self.pending.clear();
    }

    pub(super) fn after_crash(&self, fate: Fate, random: &mut Seeded) -> Self {
        let mut names = self.stored.clone();
        let is_ordered = random.one_in(2);
        let first = random.below(self.pending.len() + 1);
        for (i, change) in self.pending.iter().enumerate() {
            let survives = match fate {
                Fate::Nothing => false,
                Fate::Everything => true,
                Fate::Something if is_ordered => i < first,
                Fate::Something => random.one_in(2),
            };
            if survives {
                apply(&mut names, change);
            }
        }
        Self::stored(names)
    }
}

fn apply(names: &mut BTreeMap<String, Node>, change: &Change) {
    let mut remove = |name: &String, node: Node| {
        if names.get(name) == Some(&node) {
            names.remove(name);
        }
    };
    match change {
        Change::Link { name, node } => {
            names.insert(name.clone(), *node);
        }
        Change::Unlink { name, node } => remove(name, *node),
        Change::Rename { from, to, node } => {
            remove(from, *node);
            names.insert(to.clone(), *node);
        }
    }
}
