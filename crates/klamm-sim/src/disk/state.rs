//! The whole disk behind one lock: files, directories, locks, and what is to go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::faults::{Call, Faults, Verdict};
use super::inode::{Fate, Inode};
use super::names::{Directory, Node};
use crate::random::Seeded;

const ROOT: u64 = 0;

/// Dirty pages go to the device by themselves once in so many changes.
const WRITE_BACK_ONE_IN: usize = 12;

#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) files: BTreeMap<u64, Inode>,
    pub(super) dirs: BTreeMap<u64, Directory>,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) faults: Faults,
    pub(super) random: Seeded,
    /// What was called, where, if it is recorded.
    pub(super) trace: Option<Vec<(Call, PathBuf)>>,
    next_id: u64,
}

pub(super) fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            files: BTreeMap::new(),
            dirs: BTreeMap::from([(ROOT, Directory::default())]),
            locks: BTreeSet::new(),
            faults: Faults::default(),
            random: Seeded::new(seed),
            trace: None,
            next_id: ROOT + 1,
        }
    }

    /// A call begins: it is counted, recorded, and may be refused.
    pub(super) fn begin(&mut self, call: Call, path: &Path) -> io::Result<Verdict> {
        let verdict = self.faults.begin(call)?;
        if let Some(trace) = &mut self.trace {
            trace.push((call, path.to_owned()));
        }
        Ok(verdict)
    }

    /// A call that either goes or fails and does nothing.
    pub(super) fn begin_simple(&mut self, call: Call, path: &Path) -> io::Result<()> {
        match self.begin(call, path)? {
            Verdict::Goes => Ok(()),
            Verdict::Fails(kind) => Err(kind.into()),
        }
    }

    pub(super) fn new_file(&mut self, inode: Inode) -> Node {
        self.next_id += 1;
        self.files.insert(self.next_id, inode);
        Node::File(self.next_id)
    }

    fn new_dir(&mut self) -> Node {
        self.next_id += 1;
        self.dirs.insert(self.next_id, Directory::default());
        Node::Dir(self.next_id)
    }

    fn dir_id(&self, path: &Path) -> Option<u64> {
        let mut id = ROOT;
        for name in names(path) {
            match self.dirs.get(&id)?.node(name)? {
                Node::Dir(next) => id = next,
                Node::File(_) => return None,
            }
        }
        Some(id)
    }

    pub(super) fn dir(&mut self, path: &Path) -> io::Result<&mut Directory> {
        let id = self.dir_id(path).ok_or_else(not_found)?;
        self.dirs.get_mut(&id).ok_or_else(not_found)
    }

    pub(super) fn node(&self, path: &Path) -> Option<Node> {
        let Some(parent) = path.parent() else { return Some(Node::Dir(ROOT)) };
        let id = self.dir_id(parent)?;
        self.dirs.get(&id)?.node(path.file_name()?.to_str()?)
    }

    pub(super) fn file(&self, path: &Path) -> Option<&Inode> {
        match self.node(path)? {
            Node::File(id) => self.files.get(&id),
            Node::Dir(_) => None,
        }
    }

    /// Makes the directory and its parents; whether there was anything to make.
    pub(super) fn make_dirs(&mut self, path: &Path) -> io::Result<bool> {
        let mut id = ROOT;
        let mut is_new = false;
        for name in names(path) {
            let found = self.dirs.get(&id).and_then(|dir| dir.node(name));
            id = match found {
                Some(Node::Dir(next)) => next,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    is_new = true;
                    let node = self.new_dir();
                    if let Some(dir) = self.dirs.get_mut(&id) {
                        dir.link(name, node);
                    }
                    let Node::Dir(next) = node else { return Err(not_found()) };
                    next
                }
            };
        }
        Ok(is_new)
    }

    /// Bytes of all files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        let named =
            self.dirs.values().flat_map(Directory::nodes).filter_map(|(_, node)| match node {
                Node::File(id) => self.files.get(&id),
                Node::Dir(_) => None,
            });
        named.map(|inode| inode.bytes().len() as u64).sum()
    }

    /// Now and then the kernel writes something by itself.
    pub(super) fn write_back(&mut self, file: u64) {
        if !self.random.one_in(WRITE_BACK_ONE_IN) {
            return;
        }
        let Self { files, faults, random, .. } = self;
        if let Some(inode) = files.get_mut(&file) {
            inode.write_back_one(random, || faults.page_write());
        }
    }

    pub(super) fn write_back_names(&mut self, path: &Path) {
        if !self.random.one_in(WRITE_BACK_ONE_IN) {
            return;
        }
        let mut random = self.random.fork();
        if let Ok(dir) = self.dir(path) {
            dir.write_back_some(&mut random);
        }
    }

    /// Every file with a name, by its path.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = open.pop() {
            for (name, node) in self.dirs.get(&id).into_iter().flat_map(Directory::nodes) {
                match node {
                    Node::File(_) => found.push(path.join(name)),
                    Node::Dir(id) => open.push((path.join(name), id)),
                }
            }
        }
        found.sort();
        found
    }

    /// A disk that holds `files` and `dirs`, with nothing planned and nothing locked.
    fn with(&self, files: BTreeMap<u64, Inode>, dirs: BTreeMap<u64, Directory>) -> Self {
        let mut random = self.random.clone();
        let fresh = Self::new(random.bits());
        Self { files, dirs, next_id: self.next_id, ..fresh }
    }

    pub(super) fn after_crash(&self, names: Fate, bytes: Fate, random: &mut Seeded) -> Self {
        let dirs = self.dirs.iter().map(|(id, dir)| (*id, dir.after_crash(names, random)));
        let dirs = dirs.collect();
        let files = self
            .files
            .iter()
            .map(|(id, inode)| (*id, Inode::stored(inode.after_crash(bytes, random))));
        let files = files.collect();
        self.with(files, dirs)
    }

    pub(super) fn after_kill(&self) -> Self {
        self.with(self.files.clone(), self.dirs.clone())
    }
}

fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    })
}
