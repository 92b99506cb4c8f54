//! Each API is one file whose first line tells name, key and versions, and one line in the
//! registry; all three must agree.

use super::Finding;
use super::tree::{Source, Tree};

const FOLDER: &str = "crates/klamm-apis/src/";

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>, String> {
    let registry = tree.text(&format!("{FOLDER}registry.rs"));
    let mut findings = Vec::new();
    for source in tree.rust.iter().filter(|s| s.path.starts_with(FOLDER)) {
        let Some(name) = api_name(source) else { continue };
        let module =
            source.path.trim_start_matches(FOLDER).trim_end_matches(".rs").trim_end_matches("/mod");
        if !registry.contains(&format!("    {module}::{name},")) {
            findings.push(Finding::new(
                &source.path,
                format!("add `{module}::{name},` to registry.rs"),
            ));
        }
        let versions = versions(source).unwrap_or_default();
        let header = source.text.lines().next().unwrap_or_default();
        let told = format!("Served: {versions}.");
        if !header.starts_with(&format!("//! {name} (key ")) || !header.contains(&told) {
            let cure = format!("first line: `//! {name} (key N): what it does. {told}`");
            findings.push(Finding::new(&source.path, cure));
        }
    }
    Ok(findings)
}

fn api_name(source: &Source) -> Option<&str> {
    let line = source.text.lines().find(|line| line.starts_with("impl Api for "))?;
    line.trim_start_matches("impl Api for ").split(' ').next()
}

/// `v0-v4` from `const VERSIONS: RangeInclusive<i16> = 0..=4;`.
fn versions(source: &Source) -> Option<String> {
    let line = source.text.lines().find(|line| line.contains("const VERSIONS:"))?;
    let range = line.split('=').skip(1).collect::<Vec<_>>().join("=");
    let (low, high) = range.trim().trim_end_matches(';').split_once("..=")?;
    Some(if low == high { format!("v{low}") } else { format!("v{low}-v{high}") })
}
