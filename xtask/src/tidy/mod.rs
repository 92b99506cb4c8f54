//! `cargo xtask tidy`: the house rules that a machine can check. Each finding names the place and
//! the cure; there is no list of exceptions.

mod apis;
mod layers;
mod names;
mod seam;
mod shape;
mod tree;

use tree::Tree;

/// Something to mend.
pub(crate) struct Finding {
    place: String,
    cure: String,
}

impl Finding {
    fn new(place: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { place: place.into(), cure: cure.into() }
    }
}

type Check = (&'static str, fn(&Tree) -> Result<Vec<Finding>, String>);

const CHECKS: [Check; 6] = [
    ("shape: module docs, lengths of files and functions", shape::check),
    ("layers only go down", layers::check),
    ("one seam, and no async in cores", seam::check),
    ("names", names::check),
    ("one file per API, told by the registry", apis::check),
    ("files: size, leftovers", shape::check_files),
];

/// Runs every check.
///
/// # Errors
/// A rule is broken, or the tree cannot be read.
pub(crate) fn run() -> Result<(), String> {
    let tree = Tree::read()?;
    let mut findings = 0;
    for (name, check) in CHECKS {
        let found = check(&tree)?;
        println!("{} {name}", if found.is_empty() { "ok  " } else { "FAIL" });
        for finding in &found {
            println!("     {}: {}", finding.place, finding.cure);
        }
        findings += found.len();
    }
    if findings == 0 { Ok(()) } else { Err(format!("tidy: {findings} findings")) }
}
