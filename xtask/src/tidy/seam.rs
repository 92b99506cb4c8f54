//! Only klamm-env touches the world (invariant A2), and cores are synchronous (invariant A1).

use super::Finding;
use super::tree::Tree;

/// Crates that may touch the world: the seam itself, and what is not part of a node.
const OUTSIDE: [&str; 4] = ["klamm-env", "klamm-cli", "klamm-testkit", "klamm-bench"];

const WORLD: [&str; 10] = [
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Instant::now",
    "SystemTime",
    "tokio::net",
    "tokio::time",
    "thread::sleep",
    "getrandom::",
];

/// Crates that decide: no `async` outside `task.rs`.
const CORES: [&str; 12] = [
    "klamm-stdx",
    "klamm-model",
    "klamm-codec",
    "klamm-config",
    "klamm-metrics",
    "klamm-records",
    "klamm-persisted",
    "klamm-log",
    "klamm-metadata",
    "klamm-raft",
    "klamm-controller",
    "klamm-group-coordinator",
];

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for source in tree.rust.iter().filter(|s| !s.is_generated()) {
        let Some(name) = source.crate_name() else { continue };
        for (number, line) in source.production_lines() {
            let code = line.split("//").next().unwrap_or_default();
            let place = || format!("{}:{number}", source.path);
            if !OUTSIDE.contains(&name)
                && let Some(word) = WORLD.iter().find(|word| code.contains(**word))
            {
                findings.push(Finding::new(
                    place(),
                    format!("`{word}`: only klamm-env touches the world"),
                ));
            }
            let is_async = ["async fn ", "async move ", "async {", ".await;", ".await?"]
                .iter()
                .any(|w| code.contains(w));
            if CORES.contains(&name) && is_async && !source.path.ends_with("/task.rs") {
                findings.push(Finding::new(
                    place(),
                    "a core is synchronous: `async` belongs in task.rs",
                ));
            }
        }
    }
    Ok(findings)
}
