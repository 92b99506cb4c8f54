//! Waiting until a new broker coordinates everything.
//!
//! Both brokers make the topics of their coordinators for the first client that asks, and Kafka
//! takes up their fifty partitions one after another: one group may be refused with
//! NOT_COORDINATOR while another is served. A group or transactional id belongs to the partition
//! that its `String.hashCode` gives, which for one character is the character's number; so fifty
//! characters in a row belong to fifty partitions.

use klamm_model::ErrorCode;
use klamm_protocol::{DescribeGroupsRequest, DescribeTransactionsRequest, FindCoordinatorRequest};
use klamm_stdx::Str;
use klamm_testkit::{Client, WAIT_MAX, wait_until};

/// One name for each partition (`offsets.topic.num.partitions`,
/// `transaction.state.log.num.partitions`: 50).
fn names() -> Vec<Str> {
    ('A'..).take(50).map(|name| Str::from(name.to_string())).collect()
}

/// As `coordinator.key.type` of FindCoordinator numbers them.
const KEY_TYPES: [(&str, i8); 2] = [("groups", 0), ("transactions", 1)];

pub(crate) fn wait_for_all(client: &mut Client) {
    for (of, key_type) in KEY_TYPES {
        wait_until(&format!("a coordinator of {of}"), WAIT_MAX, || {
            let request = FindCoordinatorRequest {
                key_type,
                coordinator_keys: names(),
                ..FindCoordinatorRequest::default()
            };
            let answer = client.ask(&request, 4);
            answer.coordinators.iter().all(|one| one.error_code == 0).then_some(())
        });
    }
    wait_until("every coordinator of groups", WAIT_MAX, || {
        let request = DescribeGroupsRequest { groups: names(), ..DescribeGroupsRequest::default() };
        let answer = client.ask(&request, 5);
        answer.groups.iter().all(|group| group.error_code == 0).then_some(())
    });
    wait_until("every coordinator of transactions", WAIT_MAX, || {
        let request = DescribeTransactionsRequest { transactional_ids: names() };
        let answer = client.ask(&request, 0);
        let unknown = ErrorCode::TransactionalIdNotFound.code();
        answer.transaction_states.iter().all(|state| state.error_code == unknown).then_some(())
    });
}
