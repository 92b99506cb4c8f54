//! Each crate states its layer; a dependency's must be smaller (invariant A3).

use std::collections::BTreeMap;

use super::Finding;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>, String> {
    let manifests: Vec<&String> = tree
        .files
        .iter()
        .map(|(path, _)| path)
        .filter(|path| path.starts_with("crates/") && path.ends_with("/Cargo.toml"))
        .collect();
    let mut layers = BTreeMap::new();
    let mut findings = Vec::new();
    for path in &manifests {
        let name = path.split('/').nth(1).unwrap_or_default().to_owned();
        match layer(&tree.text(path)) {
            Some(layer) => {
                layers.insert(name, layer);
            }
            None => {
                findings
                    .push(Finding::new(*path, "say `layer = N` under [package.metadata.klamm]"));
            }
        }
    }
    for path in &manifests {
        let name = path.split('/').nth(1).unwrap_or_default();
        let Some(own) = layers.get(name) else { continue };
        for dependency in dependencies(&tree.text(path)) {
            if let Some(theirs) = layers.get(&dependency).filter(|theirs| *theirs >= own) {
                let cure = format!(
                    "layer {own} depends on {dependency} of layer {theirs}: layers only go down"
                );
                findings.push(Finding::new(*path, cure));
            }
        }
    }
    Ok(findings)
}

fn layer(manifest: &str) -> Option<u32> {
    let line = manifest.lines().find(|line| line.starts_with("layer = "))?;
    line.trim_start_matches("layer = ").trim().parse().ok()
}

/// The crates of ours under `[dependencies]`; those of tests may come from anywhere.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && line.starts_with("klamm-") {
            let end = line.find(['.', ' ', '=']).unwrap_or(line.len());
            found.push(line[..end].to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_tells_its_layer_and_its_own_crates() {
        let manifest = "layer = 4\n[dependencies]\nklamm-a.workspace = true\nbytes = \"1\"\n[dev-dependencies]\nklamm-b.workspace = true\n";
        assert_eq!(layer(manifest), Some(4));
        assert_eq!(dependencies(manifest), ["klamm-a"]);
    }
}
