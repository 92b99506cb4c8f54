//! Power cuts: the file system under a broker is shut down in the middle of the load, so that
//! everything that was not synced is gone, as when a machine loses power. What was acknowledged is
//! there afterwards, in order, once, and every start is unattended.
//!
//! It needs root, a loop device and `mkfs.ext4`. Where they cannot be had the test fails, unless
//! `KLAMM_TEST_WITHOUT_POWER_CUTS=1` says that this is known. `KLAMM_TEST_POWER_CUTS` sets how
//! many cuts there are.

mod load;

use std::path::PathBuf;
use std::process::Command;

use klamm_testkit::{Broker, BrokerOptions, TempDir, Tools};
use load::{Load, PARTITIONS};

/// In CI; by hand more.
const CUTS: usize = 10;
const IMAGE_BYTES: u64 = 512 * 1024 * 1024;

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`: nothing more reaches the device, the
/// journal neither (`fs/ext4/ioctl.c`).
const CUT: &str = "
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))
";

/// A file system of its own on a loop device; unmounted when dropped.
struct Disk {
    dir: TempDir,
    is_mounted: bool,
}

impl Disk {
    fn make() -> Self {
        let disk = Self { dir: TempDir::new("power"), is_mounted: false };
        let image = std::fs::File::create(disk.image()).expect("the image can be made");
        image.set_len(IMAGE_BYTES).expect("it can be sparse");
        std::fs::create_dir(disk.mount_point()).expect("the mount point can be made");
        run("mkfs.ext4", &["-q", "-F", &disk.image().display().to_string()]);
        disk
    }

    fn image(&self) -> PathBuf {
        self.dir.join("image")
    }

    fn mount_point(&self) -> PathBuf {
        self.dir.join("mounted")
    }

    fn mount(&mut self) {
        let (image, at) = (self.image(), self.mount_point());
        run("mount", &["-o", "loop", &image.display().to_string(), &at.display().to_string()]);
        self.is_mounted = true;
    }

    fn unmount(&mut self) {
        run("umount", &[&self.mount_point().display().to_string()]);
        self.is_mounted = false;
    }

    fn cut_power(&self) {
        let _ = Tools::python(CUT, &[&self.mount_point().display().to_string()]).ok();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            self.unmount();
        }
    }
}

#[track_caller]
fn run(program: &str, args: &[&str]) {
    let _ = Tools::run(Command::new(program).args(args), b"").ok();
}

/// Whether the machine cannot do it and somebody knows.
fn is_excused() -> bool {
    std::env::var_os("KLAMM_TEST_WITHOUT_POWER_CUTS").is_some_and(|value| value == "1")
}

fn cuts() -> usize {
    let asked = std::env::var("KLAMM_TEST_POWER_CUTS").ok();
    asked.map_or(CUTS, |text| text.parse().expect("KLAMM_TEST_POWER_CUTS is a number"))
}

#[test]
fn every_acknowledged_record_survives_power_cuts_in_order_and_once() {
    if is_excused() {
        println!("no power was cut: KLAMM_TEST_WITHOUT_POWER_CUTS says that this machine cannot");
        return;
    }
    // Before the broker, so that it goes after it.
    let mut disk = Disk::make();
    disk.mount();
    let options = BrokerOptions::default()
        .in_dir(&disk.mount_point().join("data"))
        .with("log.segment.bytes", "1048576")
        // Whatever the disk refuses after the cut; a panic is none of it.
        .expecting_error(" ERROR ");
    let mut broker = Broker::start_with("power", options);
    broker.client().create_topic("load", PARTITIONS, &[]);
    let mut load = Load::start(&broker, "load");
    let cuts = cuts();
    for cut in 0..cuts {
        load.wait_for_more(100 + cut % 7 * 61);
        // A call that is under way may be told that its bytes are safe though the cut took them
        // (seen with a program that does nothing but fdatasync). Power takes the processor too: who
        // was told must not go on to tell others.
        broker.freeze();
        disk.cut_power();
        broker.kill();
        disk.unmount();
        disk.mount();
        let acks = load.acknowledged();
        broker.start_again();
        load::check_records(&broker, "load", &acks);
    }
    let acks = load.finish();
    load::check_records(&broker, "load", &acks);
    println!("{cuts} power cuts, {} records acknowledged, none lost", acks.len());
    drop(load);
    drop(broker);
}
