//! The declared keys are Kafka 4.3.1's: names, types, defaults, accepted values, importance and
//! how they change, compared with tables read from Kafka itself.

use std::collections::BTreeMap;

use klamm_config::{ConfigKey, Default, UpdateMode, broker_keys, group_keys, topic_keys};

type Table = BTreeMap<&'static str, Vec<&'static str>>;

fn table(text: &'static str) -> Table {
    let rows = text.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.map(|row| (row[0], row)).collect()
}

fn shown(key: &ConfigKey) -> String {
    let default = key.deviation.map_or(key.default, |deviation| deviation.kafka);
    match default {
        Default::Required => "(required)".to_owned(),
        Default::Null => "null".to_owned(),
        Default::Is(text) if key.config_type.name() == "LIST" => {
            format!("[{}]", text.replace(',', ", "))
        }
        Default::Is(text) => text.to_owned(),
    }
}

fn check<'a>(keys: impl Iterator<Item = &'a ConfigKey>, mut table: Table) {
    for key in keys {
        if key.name.starts_with("klamm.") {
            continue;
        }
        let row = table.remove(key.name).unwrap_or_else(|| panic!("Kafka has no {}", key.name));
        assert_eq!(key.config_type.name(), row[1], "{}", key.name);
        // Kafka's default of log.dir names the system's temporary directory.
        assert_eq!(shown(key), row[2], "{}", key.name);
        assert_eq!(key.valid.to_string(), row[3], "{}", key.name);
        assert_eq!(format!("{:?}", key.importance).to_uppercase(), row[4], "{}", key.name);
        let update = match key.update {
            UpdateMode::ReadOnly => "read-only",
            UpdateMode::PerBroker => "per-broker",
            UpdateMode::ClusterWide => "cluster-wide",
        };
        assert!(row.get(5).is_none_or(|kafka| *kafka == update), "{}", key.name);
        if let Default::Is(value) = key.default {
            assert!(key.check(value).is_ok(), "{}'s own default is refused", key.name);
        }
        assert!(key.doc.ends_with('.') && key.doc.len() < 160, "{}: {}", key.name, key.doc);
    }
    assert!(table.is_empty(), "not declared: {:?}", table.keys());
}

#[test]
fn broker_keys_are_kafkas() {
    check(broker_keys(), table(include_str!("fixtures/broker.tsv")));
}

#[test]
fn topic_keys_are_kafkas() {
    check(topic_keys(), table(include_str!("fixtures/topic.tsv")));
}

#[test]
fn group_keys_are_kafkas() {
    check(group_keys(), table(include_str!("fixtures/group.tsv")));
}

#[test]
fn the_reference_names_every_key() {
    let page = klamm_config::render_reference();
    for key in broker_keys().chain(topic_keys()).chain(group_keys()) {
        assert!(page.contains(&format!("| {} |", key.name)), "{}", key.name);
    }
}
