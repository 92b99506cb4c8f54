//! The demo shows what it promises, and leaves nothing behind.

use std::process::Command;

use crate::fixture::TempDir;

#[test]
fn the_demo_verifies_every_byte_and_removes_its_directory() {
    let dir = TempDir::new();
    let output = Command::new(env!("CARGO_BIN_EXE_klamm"))
        .args(["demo", "--exit", "--partitions", "5", "--consumers", "2", "--rounds", "3"])
        .env("TMPDIR", &dir.0)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("every byte is there, once and in order"), "{text}");
    assert!(text.contains("klamm consume demo -b 127.0.0.1:"), "{text}");
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 0);
}

#[test]
fn a_demo_that_cannot_be_is_refused() {
    for arguments in [["--partitions", "0"], ["--consumers", "0"], ["--rounds", "x"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_klamm"))
            .args(["demo", "--exit"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{arguments:?}");
    }
}
