//! What holds for every request, response and header in every version.

use bytes::Bytes;
use klamm_codec::checks::{
    Downgrade, Garbage, Golden, RoundTrip, Tally, Truncation, VersionCounts, check_splice,
};
use klamm_codec::{Message, RecordsField, Writer};
use klamm_protocol::fetch_response::{FetchableTopicResponse, PartitionData};
use klamm_protocol::{FetchResponse, visit_messages};

#[test]
fn every_message_is_read_back_as_it_was_written() {
    let mut check = RoundTrip { seed_count: 24, tally: Tally::default() };
    visit_messages(&mut check);
    assert!(check.tally.message_count > 170, "{:?}", check.tally);
    println!("{:?}", check.tally);
}

#[test]
fn every_message_cut_short_anywhere_is_refused() {
    let mut check = Truncation::default();
    visit_messages(&mut check);
    println!("{:?}", check.tally);
}

#[test]
fn faulty_bytes_are_refused_or_are_a_message_that_can_be_written() {
    let mut check = Garbage { seed_count: 200, tally: Tally::default() };
    visit_messages(&mut check);
    println!("{:?}", check.tally);
}

#[test]
fn a_value_that_an_older_version_lacks_is_dropped_or_refused() {
    let mut check = Downgrade::default();
    visit_messages(&mut check);
    assert!(check.refused_count > 100);
    println!("{check:?}");
}

#[test]
fn our_bytes_are_those_of_kafkas_own_classes() {
    let mut counts = VersionCounts::default();
    visit_messages(&mut counts);
    let files: [&[u8]; 2] =
        [include_bytes!("golden/requests.bin"), include_bytes!("golden/responses.bin")];
    let mut check = Golden::new(&files, &counts);
    visit_messages(&mut check);
    println!("{:?}, refused {}", check.tally, check.refused_count);
    assert!(check.faults.is_empty(), "{}", check.faults.join("\n"));
}

#[test]
fn records_that_are_not_in_memory_leave_a_cut_where_they_belong() {
    let response = |records: [RecordsField; 2]| FetchResponse {
        responses: vec![FetchableTopicResponse {
            partitions: records
                .map(|records| PartitionData { records, ..PartitionData::default() })
                .into(),
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    };
    let (first, second) = ([1_u8; 200], [2_u8; 3]);
    let whole = response([
        RecordsField::Bytes(Bytes::copy_from_slice(&first)),
        RecordsField::Bytes(Bytes::copy_from_slice(&second)),
    ]);
    let deferred = response([RecordsField::Deferred(200), RecordsField::Deferred(3)]);
    for version in FetchResponse::VERSIONS {
        let mut w = Writer::new();
        deferred.encode(&mut w, version).unwrap();
        check_splice(&w, &[&first, &second], &whole.to_bytes(version).unwrap());
    }
}
