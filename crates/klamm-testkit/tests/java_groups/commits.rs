//! What groups have committed, looked at again and again: no offset may ever go back.

use std::collections::BTreeMap;

use klamm_protocol::OffsetFetchRequest;
use klamm_protocol::offset_fetch_request::OffsetFetchRequestGroup;
use klamm_stdx::Str;
use klamm_testkit::Client;

/// The commits that were seen last, by group, topic and partition.
#[derive(Debug, Default)]
pub(crate) struct Commits(BTreeMap<(String, String, i32), i64>);

impl Commits {
    /// Asks for all commits of these groups.
    ///
    /// # Panics
    /// If one is lower than before.
    #[track_caller]
    pub(crate) fn look(&mut self, client: &mut Client, groups: &[String]) {
        let group = |name: &String| OffsetFetchRequestGroup {
            group_id: Str::from(name.as_str()),
            topics: None,
            ..OffsetFetchRequestGroup::default()
        };
        let groups = groups.iter().map(group).collect();
        let request = OffsetFetchRequest { groups, ..OffsetFetchRequest::default() };
        for group in &client.ask(&request, 8).groups {
            // A coordinator that is still loading answers with an error, and no topics.
            for topic in &group.topics {
                for line in &topic.partitions {
                    let place =
                        (group.group_id.to_string(), topic.name.to_string(), line.partition_index);
                    let offset = line.committed_offset;
                    let before = self.0.insert(place.clone(), offset).unwrap_or(-1);
                    assert!(before <= offset, "{place:?} went back from {before} to {offset}");
                }
            }
        }
    }

    /// How many records a group has read, as it says itself.
    pub(crate) fn total(&self, group: &str) -> usize {
        let offsets = self.0.iter().filter(|((of, _, _), _)| of == group);
        offsets.map(|(_, offset)| usize::try_from(*offset).expect("none is negative")).sum()
    }
}
