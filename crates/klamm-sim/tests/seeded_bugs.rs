//! Each seeded bug is found within few seeds, and the same seeds are clean without it.

use klamm_log::{SeededBug, with_bug};
use klamm_sim::campaign;

/// Tried until the bug shows.
const SEEDS_MAX: u64 = 3000;

fn is_found(bug: SeededBug) {
    is_found_from(bug, 0);
}

/// [`is_found`], but the seeds before `first` are known not to show it.
fn is_found_from(bug: SeededBug, first: u64) {
    let mut seeds = first..first + SEEDS_MAX;
    let found = seeds.find_map(|seed| with_bug(bug, || campaign::random(seed)).err());
    println!("{bug:?}: by seed {:?}", found.as_ref().map(|violation| violation.seed));
    let violation = found.unwrap_or_else(|| panic!("{bug:?} is not found by {SEEDS_MAX} seeds"));
    println!("{bug:?}: {}", violation.what);
    for seed in first..=violation.seed {
        if let Err(other) = campaign::random(seed) {
            panic!("it is found without the bug too: {other}");
        }
    }
}

#[test]
fn acknowledging_before_the_sync_is_found() {
    is_found(SeededBug::AcknowledgedBeforeSync);
}

#[test]
fn a_directory_that_is_not_synced_is_found() {
    is_found(SeededBug::DirectoryNotSynced);
}

#[test]
fn an_index_entry_off_by_one_is_found() {
    is_found(SeededBug::IndexEntryOffByOne);
}

#[test]
fn a_failed_sync_that_is_retried_is_found() {
    is_found(SeededBug::FailedSyncRetried);
}

#[test]
fn a_window_for_duplicates_off_by_one_is_found() {
    is_found_from(SeededBug::DuplicateWindowOffByOne, 1300);
}

#[test]
fn a_snapshot_that_is_not_synced_is_found() {
    is_found(SeededBug::SnapshotNotSynced);
}

#[test]
fn a_checksum_that_recovery_skips_is_found() {
    is_found(SeededBug::CrcSkipped);
}

#[test]
fn a_checkpoint_ahead_of_the_data_is_found() {
    is_found(SeededBug::CheckpointAheadOfData);
}

#[test]
fn producers_that_outlive_a_cut_are_found() {
    is_found(SeededBug::TruncationKeepsProducers);
}

#[test]
fn a_whole_batch_that_recovery_cuts_is_found() {
    is_found(SeededBug::RecoveryCutsValidBatch);
}

#[test]
fn a_transaction_marker_that_the_cleaner_drops_is_found() {
    is_found(SeededBug::MarkerDropped);
}

#[test]
fn a_tombstone_that_the_cleaner_drops_early_is_found() {
    is_found(SeededBug::TombstoneDroppedEarly);
}
