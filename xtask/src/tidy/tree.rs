//! The files that git knows, read once.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One text file.
pub(super) struct Source {
    /// Path from the root, with slashes.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// Whether a program wrote it.
    pub(super) fn is_generated(&self) -> bool {
        self.text.lines().next().is_some_and(|line| line.contains("@generated"))
    }

    /// Whether it is a test as a whole.
    pub(super) fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/benches/")
    }

    /// The crate's name, for files in `crates/`.
    pub(super) fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// The lines before the unit tests, with their numbers from 1.
    pub(super) fn production_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_test = self.is_test();
        let lines = self.text.lines().enumerate().map(|(i, line)| (i + 1, line));
        lines.take_while(move |(_, line)| !is_test && !line.starts_with("#[cfg(test)]"))
    }
}

/// All files of the checkout.
pub(super) struct Tree {
    pub(super) root: PathBuf,
    pub(super) rust: Vec<Source>,
    /// Every path, with its size in bytes.
    pub(super) files: Vec<(String, u64)>,
}

impl Tree {
    pub(super) fn read() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .ok_or("xtask has no parent folder")?
            .to_owned();
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .map_err(|e| format!("git cannot be run: {e}"))?;
        let mut tree = Self { rust: Vec::new(), files: Vec::new(), root };
        for path in String::from_utf8_lossy(&listed.stdout).lines() {
            let full = tree.root.join(path);
            let Ok(metadata) = full.metadata() else { continue };
            tree.files.push((path.to_owned(), metadata.len()));
            if path.ends_with(".rs") {
                let text = std::fs::read_to_string(&full).map_err(|e| format!("{path}: {e}"))?;
                tree.rust.push(Source { path: path.to_owned(), text });
            }
        }
        Ok(tree)
    }

    /// The text of a file, empty if there is none.
    pub(super) fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }
}
