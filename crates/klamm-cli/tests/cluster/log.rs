//! `klamm log verify` and `repair-index` over the files that a node has left.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::fixture::{Cluster, TempDir};

fn log(arguments: &[&str], path: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
    command.arg("log").args(arguments).arg(path).output().unwrap()
}

/// The exit code, and what was printed.
fn verify(path: &Path) -> (i32, String) {
    let output = log(&["verify", "-o", "json"], path);
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn stopped() -> (Cluster, PathBuf) {
    let mut cluster = Cluster::start();
    cluster.klamm(&["topic", "create", "orders", "-p", "1"]);
    let lines = "a line of some length\n".repeat(20_000);
    let produced = cluster.klamm_with_input(&["produce", "orders"], lines.as_bytes());
    assert!(produced.status.success());
    let data = cluster.data_dir();
    let running = log(&["verify"], &data);
    assert_eq!(running.status.code(), Some(2), "a node writes to it");
    assert!(String::from_utf8_lossy(&running.stderr).contains("in use by another process"));
    assert_eq!(log(&["repair-index"], &data.join("orders-0")).status.code(), Some(2));
    cluster.stop();
    (cluster, data)
}

#[test]
fn what_a_node_left_is_sound_and_damage_is_told_with_file_byte_and_cure() {
    let (_cluster, data) = stopped();
    let (code, told) = verify(&data);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("\"records\": 20"), "{told}");
    let table = log(&["verify"], &data.join("orders-0"));
    assert!(String::from_utf8_lossy(&table.stdout).contains("sound"), "{table:?}");

    let path = data.join("orders-0/00000000000000000000.log");
    let whole = std::fs::read(&path).unwrap();
    let mut harmed = whole.clone();
    harmed[70] ^= 1;
    std::fs::write(&path, &harmed).unwrap();
    for place in [&data, &data.join("orders-0"), &path] {
        let (code, told) = verify(place);
        assert_eq!(code, 1, "{told}");
        for word in ["00000000000000000000.log", "\"position\": 0", "crc", "restore the file"] {
            assert!(told.contains(word), "{word}: {told}");
        }
    }
    std::fs::write(&path, &whole).unwrap();
    for (file, bytes) in [
        ("meta.properties", &b"version=1\n"[..]),
        ("recovery-point-offset-checkpoint", b"0\n1\norders 0 900000\n"),
        ("klamm-closed-logs", b"1\n"),
        ("__cluster_metadata-0/quorum-state", b"{\"leaderId\":1"),
        ("bootstrap.checkpoint", b"garbage"),
    ] {
        let before = std::fs::read(data.join(file)).ok();
        std::fs::write(data.join(file), bytes).unwrap();
        let (code, told) = verify(&data);
        assert!(code == 1 && told.contains(file), "{file}: {told}");
        match before {
            Some(before) => std::fs::write(data.join(file), before).unwrap(),
            None => std::fs::remove_file(data.join(file)).unwrap(),
        }
    }
    assert_eq!(verify(&data).0, 0);
}

#[test]
fn a_wrong_index_is_written_anew_and_then_all_is_sound() {
    let (_cluster, data) = stopped();
    for file in ["00000000000000000000.index", "00000000000000000000.timeindex"] {
        let path = data.join("orders-0").join(file);
        let before = std::fs::read(&path).unwrap();
        assert!(!before.is_empty(), "{file}");
        let mut harmed = before.clone();
        harmed[7] ^= 1;
        std::fs::write(&path, &harmed).unwrap();
        let (code, told) = verify(&data);
        assert!(code == 1 && told.contains("repair-index"), "{told}");
        let repaired = log(&["repair-index"], &path);
        assert_eq!(repaired.status.code(), Some(0), "{repaired:?}");
        let said = String::from_utf8_lossy(&repaired.stdout).into_owned();
        assert!(said.contains(file), "{said}");
        assert_eq!(verify(&data).0, 0);
    }
}

#[test]
fn what_is_no_log_cannot_be_verified() {
    let dir = TempDir::new();
    assert_eq!(verify(&dir.0).0, 2);
    assert_eq!(verify(&dir.0.join("nowhere")).0, 2);
    std::fs::write(dir.0.join("notes.txt"), "x").unwrap();
    assert_eq!(verify(&dir.0.join("notes.txt")).0, 2);
}
