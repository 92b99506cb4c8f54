//! Names that say nothing, and words of the workplace.

use super::Finding;
use super::tree::Tree;

const EMPTY: [&str; 8] = ["Manager", "Helper", "Util", "Utils", "Common", "Misc", "Impl", "Base"];

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for (path, _) in &tree.files {
        let file = path.rsplit('/').next().unwrap_or_default();
        let stem = file.strip_suffix(".rs").unwrap_or_default().to_ascii_lowercase();
        if EMPTY.iter().any(|word| stem.split('_').any(|part| part == word.to_ascii_lowercase())) {
            findings.push(Finding::new(path, "name the file after what is in it"));
        }
    }
    for source in tree.rust.iter().filter(|s| !s.is_generated()) {
        for (number, line) in source.text.lines().enumerate() {
            let place = || format!("{}:{}", source.path, number + 1);
            if let Some(name) = declared_type(line)
                && let Some(word) = EMPTY.iter().find(|word| name.ends_with(**word))
            {
                findings.push(Finding::new(
                    place(),
                    format!("`{name}`: {word} says nothing; use Kafka's noun"),
                ));
            }
            let trimmed = line.trim_start();
            let is_accessor = ["fn get_", "pub fn get_", "fn set_", "pub fn set_"]
                .iter()
                .any(|w| trimmed.starts_with(w));
            if is_accessor && !trimmed.contains("fn set_len") && !trimmed.contains("fn set_i32") {
                findings
                    .push(Finding::new(place(), "no get_ and set_: name the thing, or the event"));
            }
        }
    }
    Ok(findings)
}

fn declared_type(line: &str) -> Option<&str> {
    let words =
        line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
    let words = words.trim_start_matches("pub ");
    let rest =
        ["struct ", "enum ", "trait ", "type "].iter().find_map(|word| words.strip_prefix(word))?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_tells_its_name() {
        assert_eq!(declared_type("pub(crate) struct Log {"), Some("Log"));
        assert_eq!(declared_type("    enum State<T> {"), Some("State"));
        assert_eq!(declared_type("let x = 1;"), None);
    }
}
