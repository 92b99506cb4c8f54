//! What holds for every stored message in every version.

use klamm_codec::checks::{
    Downgrade, Garbage, Golden, RoundTrip, Tally, Truncation, VersionCounts,
};
use klamm_persisted::visit_messages;

#[test]
fn every_message_is_read_back_as_it_was_written() {
    let mut check = RoundTrip { seed_count: 48, tally: Tally::default() };
    visit_messages(&mut check);
    assert!(check.tally.message_count > 80, "{:?}", check.tally);
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
    let mut check = Garbage { seed_count: 400, tally: Tally::default() };
    visit_messages(&mut check);
    println!("{:?}", check.tally);
}

#[test]
fn a_value_that_an_older_version_lacks_is_dropped_or_refused() {
    let mut check = Downgrade::default();
    visit_messages(&mut check);
    println!("{check:?}");
}

#[test]
fn our_bytes_are_those_of_kafkas_own_classes() {
    let mut counts = VersionCounts::default();
    visit_messages(&mut counts);
    let mut check = Golden::new(&[include_bytes!("golden/records.bin")], &counts);
    visit_messages(&mut check);
    println!("{:?}, refused {}", check.tally, check.refused_count);
    assert!(check.faults.is_empty(), "{}", check.faults.join("\n"));
}
