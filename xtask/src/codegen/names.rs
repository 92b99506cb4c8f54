//! Kafka's names as Rust's.

/// Words that Rust keeps for itself and that schemas use.
const KEYWORDS: [&str; 8] = ["type", "match", "ref", "use", "where", "move", "in", "self"];

/// Snake case, as Kafka itself makes it (Kafka: `MessageGenerator.toSnakeCase`): an underscore
/// before a capital that does not follow a capital.
pub(crate) fn snake(name: &str) -> String {
    let mut out = String::new();
    let mut after_capital = true;
    for c in name.chars() {
        if c.is_uppercase() && !after_capital {
            out.push('_');
        }
        after_capital = c.is_uppercase();
        out.extend(c.to_lowercase());
    }
    out
}

/// A field's name; keywords get an underscore behind them.
pub(crate) fn field(name: &str) -> String {
    let mut out = snake(name);
    if KEYWORDS.contains(&out.as_str()) {
        out.push('_');
    }
    out
}

/// A field's name in Kafka's JSON.
pub(crate) fn camel(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kafka_makes() {
        assert_eq!(snake("TransactionalId"), "transactional_id");
        assert_eq!(snake("KRaftVersionRecord"), "kraft_version_record");
        assert_eq!(snake("leaderEpoch"), "leader_epoch");
        assert_eq!(field("Type"), "type_");
        assert_eq!(camel("TopicId"), "topicId");
    }
}
