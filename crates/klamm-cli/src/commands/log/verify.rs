//! `klamm log verify`: everything in log directories is read and decoded, and what is wrong is told
//! with its place and its cure. Never changes a file.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use klamm_log::names;
use klamm_log::verify::{Finding, Severity, verify_partition, verify_small_files};
use klamm_model::METADATA_TOPIC;
use klamm_raft::verify_metadata_files;
use serde::Serialize;

use super::targets::{Bar, Locking, Targets, disk};
use crate::commands::{Failure, Outcome};
use crate::output::{Output, Printed, write_table};

/// What to look at.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Log directories, directories of partitions, or single files of them; ./klamm-data if none
    /// is named.
    paths: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    partitions: usize,
    files: u64,
    batches: u64,
    records: u64,
    bytes: u64,
    damaged: usize,
    findings: Vec<Told>,
}

/// A finding, as it is printed.
#[derive(Debug, Serialize)]
struct Told {
    file: String,
    position: Option<u64>,
    severity: &'static str,
    what: String,
    cure: String,
}

impl From<Finding> for Told {
    fn from(finding: Finding) -> Self {
        Self {
            file: finding.path.display().to_string(),
            position: finding.position,
            severity: match finding.severity {
                Severity::Damage => "damage",
                Severity::Note => "note",
            },
            what: finding.what,
            cure: finding.cure.to_owned(),
        }
    }
}

impl Printed for Report {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let rows = self.findings.iter().map(|told| {
            let position = told.position.map_or("-".to_owned(), |at| at.to_string());
            vec![
                told.severity.to_owned(),
                told.file.clone(),
                position,
                told.what.clone(),
                told.cure.clone(),
            ]
        });
        if !self.findings.is_empty() {
            write_table(out, &["severity", "file", "byte", "what is wrong", "what helps"], rows)?;
        }
        let Self { partitions, files, batches, records, bytes, damaged, .. } = self;
        writeln!(
            out,
            "{partitions} partitions, {files} files, {batches} batches, {records} records, {bytes} bytes: {}",
            if *damaged == 0 {
                "sound".to_owned()
            } else {
                format!("{damaged} findings of damage")
            }
        )
    }
}

pub(super) fn run(arguments: &Verify) -> Outcome {
    let disk = disk();
    let targets = Targets::find(disk.as_ref(), &arguments.paths)?;
    let _held = targets.lock(disk.as_ref(), Locking::IfPossible)?;
    let cannot = |error: &dyn std::fmt::Display| Failure::CannotRun(error.to_string());
    let mut report = Report { bytes: targets.bytes, ..Report::default() };
    let mut bar = Bar::new(targets.bytes)?;
    let (mut extents, mut found) = (HashMap::new(), Vec::new());
    for (dir, partition) in &targets.partitions {
        let of_partition =
            verify_partition(&disk, dir, &mut bar).map_err(|error| cannot(&error))?;
        report.partitions += 1;
        report.files += of_partition.files;
        report.batches += of_partition.batches;
        report.records += of_partition.records;
        let is_meant =
            |finding: &Finding| partition.files.is_empty() || is_of(finding, &partition.files);
        found.extend(of_partition.findings.into_iter().filter(is_meant));
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(name) = names::parse_partition_dir(name) {
            if &*name.topic == METADATA_TOPIC {
                metadata(dir, &mut report)?;
            }
            extents.insert((dir.parent().map(Path::to_owned), name), of_partition.extent);
        }
    }
    for root in &targets.roots {
        let here: HashMap<_, _> = extents
            .iter()
            .filter(|((of, _), _)| of.as_deref() == Some(root))
            .map(|((_, name), extent)| (name.clone(), *extent))
            .collect();
        let small = verify_small_files(disk.as_ref(), root, &here);
        found.extend(small.map_err(|error| cannot(&error))?);
        metadata(root, &mut report)?;
    }
    bar.finish();
    report.findings.extend(found.into_iter().map(Told::from));
    report.damaged = report.findings.iter().filter(|told| told.severity == "damage").count();
    arguments.output.print(&report)?;
    if report.damaged == 0 { Ok(()) } else { Err(Failure::Found) }
}

/// Whether a finding is of one of these files, or of what belongs to the same segment.
fn is_of(finding: &Finding, files: &[PathBuf]) -> bool {
    let is_log = |file: &Path| file.extension().is_some_and(|suffix| suffix == "log");
    files.iter().any(|file| {
        finding.path == *file
            || (is_log(file) && finding.path.with_extension("") == file.with_extension(""))
    })
}

/// The snapshots and the quorum's state of the metadata log.
fn metadata(dir: &Path, report: &mut Report) -> Result<(), Failure> {
    let checked = verify_metadata_files(disk().as_ref(), dir)
        .map_err(|error| Failure::CannotRun(error.to_string()))?;
    for file in checked {
        report.files += 1;
        let Err(error) = file.result else { continue };
        report.findings.push(Told {
            file: file.path.display().to_string(),
            position: None,
            severity: "damage",
            what: error.to_string(),
            cure: "restore it from a backup or another controller".to_owned(),
        });
    }
    Ok(())
}
