//! Formatting writes Kafka's files, and never over what is there.

use crate::support::{TempDir, endpoint, env, standalone};
use klamm_metadata::MetadataVersion;
use klamm_model::{NodeId, Uuid};
use klamm_raft::{Format, FormatVoters, ScramCredential, Voter, format};

/// A file's batches without what differs from run to run: times, ids and so checksums.
fn shape(bytes: &[u8]) -> Vec<(i64, usize, Vec<Vec<u8>>)> {
    let mut scratch = klamm_records::Scratch::with_bytes_max(1 << 20);
    let mut shape = Vec::new();
    for batch in klamm_records::batches(bytes) {
        let batch = batch.expect("a whole batch");
        batch.check_crc().expect("an undamaged batch");
        let records = batch.records(&mut scratch).expect("not compressed");
        let records = records.map(|r| r.expect("a whole record"));
        let values = records.map(|r| r.value.unwrap_or_default().to_vec()).collect();
        shape.push((batch.header().base_offset.0, batch.bytes().len(), values));
    }
    shape
}

#[test]
fn the_files_are_kafkas() {
    let dir = TempDir::new();
    format(&env(), &standalone(&dir.0)).unwrap();
    let ours = std::fs::read(dir.0.join("bootstrap.checkpoint")).unwrap();
    assert_eq!(shape(&ours), shape(include_bytes!("fixtures/kafka-bootstrap.checkpoint")));
    let name = "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint";
    let ours = std::fs::read(dir.0.join(name)).unwrap();
    let kafkas = include_bytes!("fixtures/kafka-first-snapshot.checkpoint");
    let sizes = |bytes: &[u8]| -> Vec<(i64, usize)> {
        shape(bytes).into_iter().map(|(offset, len, _)| (offset, len)).collect()
    };
    assert_eq!(sizes(&ours), sizes(kafkas));
    let meta = std::fs::read_to_string(dir.0.join("meta.properties")).unwrap();
    assert!(meta.contains("cluster.id=4L6g3nShT-eMCtK--X86sw\n") && meta.contains("version=1\n"));
    assert!(!dir.0.join("meta.properties.tmp").exists());
}

#[test]
fn a_formatted_directory_is_left_alone() {
    let (one, two) = (TempDir::new(), TempDir::new());
    let first = format(&env(), &standalone(&one.0)).unwrap();
    let again = format(&env(), &standalone(&one.0)).unwrap_err().to_string();
    assert!(again.contains("already formatted"), "{again}");
    let both = Format {
        log_dirs: vec![one.0.clone(), two.0.clone()],
        ignore_formatted: true,
        ..standalone(&one.0)
    };
    let report = format(&env(), &both).unwrap();
    assert_eq!(report.skipped.as_slice(), std::slice::from_ref(&one.0));
    assert_eq!(report.formatted.len(), 1);
    assert_ne!(report.formatted[0].1, first.formatted[0].1);
    assert!(!two.0.join("__cluster_metadata-0").exists());
    let foreign = Format { cluster_id: "other".into(), ..both.clone() };
    assert!(format(&env(), &foreign).unwrap_err().to_string().contains("belongs to cluster"));
    let foreign = Format { node_id: NodeId(9), ..both };
    assert!(format(&env(), &foreign).unwrap_err().to_string().contains("belongs to node"));
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let voter = |id: i32, directory_id| Voter {
        node_id: NodeId(id),
        directory_id,
        endpoints: vec![endpoint()],
    };
    let dir = TempDir::new();
    let base = || standalone(&dir.0);
    let initial = |voters| Format { voters: FormatVoters::Initial(voters), ..base() };
    let user = ScramCredential {
        mechanism: "SCRAM-SHA-256".into(),
        user: "u".into(),
        password: "p".into(),
        salt: vec![1],
        iterations: 4096,
    };
    for (bad, part) in [
        (Format { cluster_id: String::new(), ..base() }, "no cluster id"),
        (Format { cluster_id: "a\nnode.id=5".into(), ..base() }, "no cluster id"),
        (Format { features: vec![("no.such".into(), 1)], ..base() }, "unknown"),
        (Format { features: vec![("group.version".into(), 9)], ..base() }, "level 9"),
        (Format { features: vec![("metadata.version".into(), 7)], ..base() }, "metadata.version"),
        (initial(vec![]), "at least one"),
        (initial(vec![voter(1, Some(Uuid(300))), voter(1, Some(Uuid(301)))]), "named twice"),
        (initial(vec![voter(1, None)]), "no directory id"),
        (initial(vec![voter(2, Some(Uuid(300)))]), "not among"),
        (
            Format { metadata_version: MetadataVersion::from_name("3.8").unwrap(), ..base() },
            "no voters in the log",
        ),
        (
            Format { scram: vec![ScramCredential { iterations: 1, ..user.clone() }], ..base() },
            "iterations",
        ),
        (
            Format {
                scram: vec![user.clone()],
                voters: FormatVoters::Fixed,
                metadata_version: MetadataVersion::MINIMUM,
                ..base()
            },
            "no SCRAM",
        ),
    ] {
        let error = format(&env(), &bad).unwrap_err().to_string();
        assert!(error.contains(part), "{error} lacks {part}");
        assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 0, "{part}");
    }
}

#[test]
fn features_and_users_are_in_the_bootstrap_file() {
    let dir = TempDir::new();
    let user = ScramCredential {
        mechanism: "SCRAM-SHA-512".into(),
        user: "u".into(),
        password: "p".into(),
        salt: vec![1, 2, 3],
        iterations: 8192,
    };
    let options = Format {
        features: vec![("share.version".into(), 0), ("kraft.version".into(), 1)],
        scram: vec![user],
        voters: FormatVoters::Fixed,
        ..standalone(&dir.0)
    };
    format(&env(), &options).unwrap();
    let bytes = std::fs::read(dir.0.join("bootstrap.checkpoint")).unwrap();
    let records = &shape(&bytes)[1].2;
    assert_eq!(records.len(), 6);
    assert!(!dir.0.join("__cluster_metadata-0").exists());
    assert!(records.iter().all(|r| !r.windows(13).any(|w| w == b"share.version")));
}
