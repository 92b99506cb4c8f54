//! Whatever a file says, it is read or refused: nothing panics, and nothing is believed.

use klamm_config::{BrokerConfig, Properties, broker_keys, describe_broker};
use proptest::prelude::*;

fn any_key() -> impl Strategy<Value = &'static str> {
    let names: Vec<_> = broker_keys().map(|key| key.name).collect();
    prop::sample::select(names)
}

fn any_value() -> impl Strategy<Value = String> {
    let odd = [
        "",
        " ",
        "0",
        "-1",
        "1",
        "9223372036854775807",
        "-9223372036854775808",
        "1e400",
        "NaN",
        "true",
        "a,b",
        ",",
        "://:",
        "A://[::1]:0",
        "PLAINTEXT://:9092,PLAINTEXT://:9092",
        "1@h:1",
        "é",
        "${x:y}",
    ];
    prop_oneof![prop::sample::select(odd.to_vec()).prop_map(str::to_owned), "\\PC{0,20}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_properties_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(Properties::parse(&bytes));
    }

    #[test]
    fn what_is_written_escaped_is_read_back(key in "\\PC{1,10}", value in "\\PC{0,10}") {
        let escape = |text: &str| text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
        let line = format!("{}={}", escape(&key), escape(&value));
        let properties = Properties::parse(line.as_bytes()).expect("escapes are legal everywhere");
        prop_assert_eq!(properties.value(&key), Some(value.as_str()));
    }

    #[test]
    fn any_values_load_or_are_refused(pairs in prop::collection::vec((any_key(), any_value()), 1..6)) {
        let mut file = Properties::default();
        for (key, value) in &pairs {
            file.set(*key, value.as_str());
        }
        match BrokerConfig::load(&file) {
            Ok(loaded) => prop_assert!(!loaded.config.listeners.listeners.is_empty()),
            Err(errors) => prop_assert!(!errors.0.is_empty() && !errors.to_string().is_empty()),
        }
        let none = klamm_config::ConfigMap::new();
        let layers = klamm_config::Layers { per_broker: &none, cluster: &none, file: &file };
        prop_assert_eq!(describe_broker(&layers).len(), broker_keys().count());
    }
}
