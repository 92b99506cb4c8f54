//! The reference of all keys as Markdown.

use std::fmt::Write;

use crate::{
    ConfigKey, Default, Effect, UpdateMode, broker_keys, client_metrics_keys, group_keys,
    topic_keys,
};

/// The configuration reference, ready to be written to a file.
#[must_use]
pub fn render_reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Kafka's keys keep their names, defaults and meaning. Defaults that differ are listed \
         first. A key without effect is accepted, with a warning at start.\n\n\
         ## Defaults that differ from Kafka's\n\n| Key | Default | Kafka's | Why |\n|---|---|---|---|\n",
    );
    for key in broker_keys() {
        if let Some(deviation) = key.deviation {
            let (ours, theirs) = (shown(key.default), shown(deviation.kafka));
            row(&mut page, &[key.name, &ours, &theirs, deviation.reason]);
        }
    }
    section(&mut page, "Broker", broker_keys());
    section(&mut page, "Topic", topic_keys());
    section(&mut page, "Group", group_keys());
    section(&mut page, "Client metrics", client_metrics_keys());
    page
}

fn section(page: &mut String, title: &str, keys: impl Iterator<Item = &'static ConfigKey>) {
    let mut keys: Vec<_> = keys.collect();
    keys.sort_by_key(|key| (!key.name.starts_with("klamm."), key.name));
    let head = "| Key | Meaning | Type | Default | Accepted | Changes | Effect |\n|---|---|---|---|---|---|---|\n";
    let written = write!(page, "\n## {title} keys\n\n{head}");
    written.expect("writing to a String cannot fail");
    for key in keys {
        let changes = match key.update {
            UpdateMode::ReadOnly => "with a restart",
            UpdateMode::PerBroker => "per broker",
            UpdateMode::ClusterWide => "while running",
        };
        let effect = match key.effect {
            Effect::Acted => "yes",
            Effect::Accepted => "none",
        };
        let type_name = key.config_type.name().to_ascii_lowercase();
        let (default, valid) = (shown(key.default), key.valid.to_string());
        row(page, &[key.name, key.doc, &type_name, &default, &valid, changes, effect]);
    }
}

fn row(page: &mut String, cells: &[&str]) {
    for cell in cells {
        page.push_str("| ");
        page.push_str(&cell.replace('|', "\\|"));
        page.push(' ');
    }
    page.push_str("|\n");
}

fn shown(default: Default) -> String {
    match default {
        Default::Required => "must be set".to_owned(),
        Default::Null => "unset".to_owned(),
        Default::Is("") => "empty".to_owned(),
        Default::Is(value) => format!("`{value}`"),
    }
}
