//! Offsets in a file, as `--export` writes them and Kafka's tool reads them: lines of
//! `topic,partition,offset`, or `group,topic,partition,offset` for several groups.

use std::collections::BTreeMap;

use klamm_model::TopicPartition;

/// Offsets by partition.
pub(super) type Offsets = BTreeMap<TopicPartition, i64>;

/// The offsets that a file has for a group.
pub(super) fn parse(text: &str, group: &str) -> Result<Offsets, String> {
    let mut offsets = Offsets::new();
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        let refuse = || {
            format!(
                "line {number}: '{line}' is no topic,partition,offset or group,topic,partition,offset"
            )
        };
        let fields: Vec<&str> =
            line.split(',').map(|field| field.trim().trim_matches('"')).collect();
        let (of, topic, partition, offset) = match fields[..] {
            [topic, partition, offset] => (group, topic, partition, offset),
            [of, topic, partition, offset] => (of, topic, partition, offset),
            _ => return Err(refuse()),
        };
        let partition = partition.parse::<i32>().ok().filter(|n| *n >= 0).ok_or_else(refuse)?;
        let offset = offset.parse::<i64>().ok().filter(|n| *n >= 0).ok_or_else(refuse)?;
        if topic.is_empty() {
            return Err(refuse());
        }
        let key = TopicPartition::new(topic, partition);
        if of == group && offsets.insert(key.clone(), offset).is_some() {
            return Err(format!("line {number}: {key} is there twice"));
        }
    }
    if offsets.is_empty() {
        return Err(format!("nothing in the file is for group '{group}'"));
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_group_are_taken_with_or_without_its_name() {
        let expected =
            Offsets::from([(TopicPartition::new("t", 0), 5), (TopicPartition::new("t", 1), 6)]);
        assert_eq!(parse("t,0,5\n\nt, 1, 6\n", "g"), Ok(expected.clone()));
        let named = "\"g\",\"t\",0,5\nother,t,0,9\ng,t,1,6";
        assert_eq!(parse(named, "g"), Ok(expected));
    }

    #[test]
    fn a_file_that_cannot_be_meant_is_refused_with_its_line() {
        for text in ["", "t,0", "t,x,5", "t,0,-1", "t,-1,0", ",0,5", "t,0,5\nt,0,6", "o,t,0,5"] {
            assert!(parse(text, "g").is_err(), "{text}");
        }
        assert!(parse("t,0,5\nbad", "g").unwrap_err().starts_with("line 2"));
    }
}
