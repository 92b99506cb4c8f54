//! Flipped bits, zeros, truncations, duplicated and misplaced pages and garbage in every file of a
//! log, after orderly stops and after kills: more than two thousand cases.

use klamm_sim::DeviceFault;
use klamm_sim::campaign::{Stop, Tally, damage, device, small_files};

fn damage_all(stop: Stop, seeds: u64) -> Tally {
    let mut all = Tally::default();
    for seed in 0..seeds {
        match damage(seed, stop) {
            Ok(tally) => all.add(tally),
            Err(violation) => panic!("{}: {}", violation.seed, violation.what),
        }
    }
    println!("{stop:?}: {} cases: {all:?}", all.cases());
    all
}

#[test]
fn damage_after_an_orderly_stop_serves_no_wrong_byte_and_is_not_cut_in_silence() {
    let tally = damage_all(Stop::Clean, 80);
    assert!(tally.cases() > 900 && tally.refused > 0 && tally.healed > 0, "{tally:?}");
}

#[test]
fn damage_below_the_recovery_point_serves_no_wrong_byte_and_is_not_cut_in_silence() {
    let tally = damage_all(Stop::Synced, 80);
    assert!(tally.cases() > 900 && tally.healed > 0, "{tally:?}");
}

#[test]
fn damage_above_the_recovery_point_serves_no_wrong_byte_and_the_log_is_opened() {
    let tally = damage_all(Stop::Unsynced, 80);
    assert!(tally.cases() > 900 && tally.refused == 0 && tally.opened > 0, "{tally:?}");
}

#[test]
fn a_device_that_flips_zeroes_misplaces_or_loses_a_page_serves_no_wrong_byte() {
    let faults = [
        DeviceFault::Flip(12_345),
        DeviceFault::Zero,
        DeviceFault::Misdirect(1),
        DeviceFault::Lose,
    ];
    let mut all = Tally::default();
    for (seed, fault) in faults.iter().cycle().take(400).enumerate() {
        let seed = seed as u64;
        match device(seed, 1 + seed / 6, *fault) {
            Ok(tally) => all.add(tally),
            Err(violation) => panic!("{}: {fault:?}: {}", violation.seed, violation.what),
        }
    }
    println!("devices: {all:?}");
    assert!(all.healed > 0 && all.opened > 0 && all.refused > 0, "{all:?}");
}

#[test]
fn each_small_file_may_be_old_new_empty_half_garbage_or_missing() {
    for seed in 0..40 {
        if let Err(violation) = small_files(seed) {
            panic!("{}: {}", violation.seed, violation.what);
        }
    }
}
