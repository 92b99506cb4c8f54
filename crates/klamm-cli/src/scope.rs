//! Partitions on the command line: `orders`, or `orders:0,1`, as Kafka's tools take them.

use std::collections::BTreeSet;
use std::str::FromStr;

use klamm_client::{AutoCreate, Client, Result as ClientResult};
use klamm_model::TopicPartition;
use klamm_stdx::Str;

use crate::commands::Failure;

/// A topic, or some of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) topic: Str,
    /// Which; `None` for all.
    pub(crate) partitions: Option<BTreeSet<i32>>,
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("'{text}' is no TOPIC or TOPIC:0,1");
        let (topic, partitions) = match text.split_once(':') {
            None => (text, None),
            Some((topic, list)) => {
                let parse = |part: &str| part.trim().parse::<u16>().map(i32::from);
                let parsed: Result<BTreeSet<i32>, _> = list.split(',').map(parse).collect();
                (topic, Some(parsed.map_err(|_| refuse())?))
            }
        };
        if topic.is_empty() {
            return Err(refuse());
        }
        Ok(Self { topic: Str::from(topic), partitions })
    }
}

/// The partitions that are meant.
pub(crate) async fn partitions(
    client: &Client,
    scopes: &[Scope],
) -> Result<Vec<TopicPartition>, Failure> {
    let mut found = BTreeSet::new();
    for scope in scopes {
        let there: BTreeSet<i32> =
            client.topic(&scope.topic, AutoCreate::Never).await?.leaders.into_keys().collect();
        let wanted = scope.partitions.as_ref().unwrap_or(&there);
        if let Some(missing) = wanted.difference(&there).next() {
            let count = there.len();
            let text = format!("topic '{}' has {count} partitions, no {missing}", scope.topic);
            return Err(text.into());
        }
        found.extend(wanted.iter().map(|index| TopicPartition::new(scope.topic.clone(), *index)));
    }
    Ok(found.into_iter().collect())
}

/// Every partition of the cluster that has a leader, also of internal topics.
pub(crate) async fn all_partitions(client: &Client) -> ClientResult<Vec<TopicPartition>> {
    let mut all = Vec::new();
    for topic in client.metadata(None, AutoCreate::Never).await?.topics {
        let name = topic.name.unwrap_or_default();
        let led = topic.partitions.iter().filter(|partition| partition.leader_id >= 0);
        all.extend(
            led.map(|partition| TopicPartition::new(name.clone(), partition.partition_index)),
        );
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_stands_for_all_of_its_partitions() {
        let scope = Scope { topic: "orders".into(), partitions: None };
        assert_eq!("orders".parse(), Ok(scope));
        let scope = Scope { topic: "orders".into(), partitions: Some([0, 2].into()) };
        assert_eq!("orders:2,0,2".parse(), Ok(scope));
    }

    #[test]
    fn what_is_no_list_of_partitions_is_refused() {
        for text in ["", ":0", "a:", "a:x", "a:-1", "a:1,,2", "a:1:2", "a:70000"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }
}
