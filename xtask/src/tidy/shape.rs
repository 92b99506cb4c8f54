//! Module docs, lengths, and what must not be left lying about.

use super::Finding;
use super::tree::{Source, Tree};

const FILE_LINES_MAX: usize = 1_000;
const TEST_FILE_LINES_MAX: usize = 1_500;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_BYTES_MAX: u64 = 200 * 1024;

/// Bytes that are data: fixtures, lock files, the text that the demo streams.
const DATA_FOLDERS: [&str; 3] = ["/fixtures/", "/golden/", "/data/"];

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for source in tree.rust.iter().filter(|s| !s.is_generated()) {
        if !source.text.starts_with("//!") {
            findings.push(Finding::new(
                &source.path,
                "begin with `//!`: what it is, what it never does",
            ));
        }
        let lines = source.text.lines().count();
        let max = if source.is_test() { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
        if lines > max {
            findings.push(Finding::new(
                &source.path,
                format!("{lines} lines: split by noun (at most {max})"),
            ));
        }
        long_functions(source, &mut findings);
        leftovers(source, &mut findings);
    }
    Ok(findings)
}

/// A function ends at the first line that closes at the indentation of its `fn`.
fn long_functions(source: &Source, findings: &mut Vec<Finding>) {
    let lines: Vec<&str> = source.text.lines().collect();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        let words = [
            "fn ",
            "pub fn ",
            "pub(crate) fn ",
            "pub(super) fn ",
            "async fn ",
            "pub async fn ",
            "pub(crate) async fn ",
        ];
        if !words.iter().any(|word| trimmed.starts_with(word)) {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        if is_declaration(&lines[start..]) {
            continue;
        }
        let end = lines[start..].iter().position(|l| **l == closing).unwrap_or(0);
        if end + 1 > FUNCTION_LINES_MAX {
            let place = format!("{}:{}", source.path, start + 1);
            findings.push(Finding::new(
                place,
                format!("function of {} lines: at most {FUNCTION_LINES_MAX}", end + 1),
            ));
        }
    }
}

/// Whether the signature ends in a semicolon: a trait's function without a body.
fn is_declaration(lines: &[&str]) -> bool {
    let end = lines
        .iter()
        .map(|line| line.trim_end())
        .find(|line| line.ends_with(';') || line.ends_with('{'));
    end.is_none_or(|line| line.ends_with(';'))
}

fn leftovers(source: &Source, findings: &mut Vec<Finding>) {
    // Put together here, so that this file does not find itself.
    let todo = ["TO", "DO"].concat();
    let banned = [
        (["#[ign", "ore"].concat(), "fix the test or remove it"),
        (["should_", "panic"].concat(), "assert on the error instead"),
        (["dbg", "!("].concat(), "remove it"),
        (["#[all", "ow("].concat(), "fix the code, or `#[expect(lint, reason = \"...\")]`"),
        (["todo", "!("].concat(), "absent is better than unfinished"),
        (["unimplemented", "!("].concat(), "absent is better than unfinished"),
    ];
    for (number, line) in source.text.lines().enumerate() {
        let place = || format!("{}:{}", source.path, number + 1);
        for (word, cure) in &banned {
            if line.contains(word.as_str()) {
                findings.push(Finding::new(place(), format!("`{word}`: {cure}")));
            }
        }
        if line.contains(todo.as_str()) && !line.contains(&format!("{todo}(#")) {
            findings.push(Finding::new(place(), format!("write it as {todo}(#issue)")));
        }
        if source.is_test() && (line.contains("thread::sleep") || line.contains("time::sleep")) {
            findings.push(Finding::new(place(), "tests do not sleep: wait for what must happen"));
        }
    }
    let prints = ["klamm-cli", "klamm-testkit", "klamm-bench", "klamm-sim"];
    if source.path.starts_with("crates/")
        && !source.crate_name().is_some_and(|name| prints.contains(&name))
    {
        for (number, line) in source.production_lines() {
            if line.trim_start().starts_with("println!")
                || line.trim_start().starts_with("eprintln!")
            {
                findings.push(Finding::new(
                    format!("{}:{number}", source.path),
                    "log it, or give it back",
                ));
            }
        }
    }
}

pub(super) fn check_files(tree: &Tree) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for (path, bytes) in &tree.files {
        let is_data =
            DATA_FOLDERS.iter().any(|folder| path.contains(folder)) || path == "Cargo.lock";
        if *bytes > FILE_BYTES_MAX && !is_data {
            findings.push(Finding::new(path, format!("{bytes} bytes: at most {FILE_BYTES_MAX}")));
        }
    }
    Ok(findings)
}
