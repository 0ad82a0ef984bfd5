use std::path::PathBuf;

use tempfile::TempDir;

use super::power::{Careless, CarelessDisk, Power};
use super::*;
use crate::engine::saved::Kind;
use crate::store::disk::Folder;
use crate::store::snapshot::tests::sample;

/// Writes snapshot `number`; an error says that it does not count.
fn write(snapshots: &mut Snapshots, number: u64) -> io::Result<()> {
    let mut writing = snapshots.begin(&Header::new(0, None, number, Vec::new()))?;
    for length in [10, 300, 0, 1_000] {
        let noise =
            (0..length).map(|at: u64| (((at + 1) * (number + 7) * 2_654_435_761) >> 13) as u8);
        let part = Part { kind: Kind::Functions, count: 1, bytes: noise.collect() };
        snapshots.part(&mut writing, &part)?;
    }
    snapshots.end(writing).map(drop)
}

fn newest(snapshots: &mut Snapshots) -> Option<u64> {
    snapshots.newest().unwrap().found.map(|found| found.header.functions)
}

/// Lives of a process on one disk, each ended by a power cut. False when a snapshot that was said
/// to be written was not there any more.
fn survives(seed: u64, cuts: u32, disk: impl Fn(Power) -> Box<dyn Disk>) -> bool {
    let power = Power::new(seed);
    let mut counts = 0;
    let mut number = 0;
    for _ in 0..cuts {
        let mut snapshots = Snapshots::open(disk(power.clone())).unwrap();
        let found = newest(&mut snapshots).unwrap_or(0);
        if found < counts || found > number {
            return false;
        }
        power.cut_after(1 + power.draw(40));
        if power.draw(3) == 0 {
            power.fail_one_in(Some(2 + power.draw(20)));
        }
        for _ in 0..6 {
            number += 1;
            if write(&mut snapshots, number).is_ok() {
                counts = number;
            }
        }
        power.fail_one_in(None);
        power.restart();
    }
    true
}

#[test]
fn whenever_the_power_goes_the_last_snapshot_that_counts_is_there() {
    for seed in 0..100 {
        assert!(survives(seed, 100, |power| Box::new(power)), "seed {seed}");
    }
}

#[test]
fn a_writer_that_forgets_a_step_is_caught() {
    for careless in [Careless::Files, Careless::Names, Careless::InPlace] {
        let disk = |power| -> Box<dyn Disk> { Box::new(CarelessDisk(power, careless)) };
        let caught = (0..20).filter(|&seed| !survives(seed, 20, disk)).count();
        assert!(caught >= 15, "{careless:?}: {caught}");
    }
}

#[test]
fn a_newest_that_has_rotted_is_put_aside_for_the_one_before() {
    for seed in 0..300 {
        let power = Power::new(seed);
        let mut snapshots = Snapshots::open(Box::new(power.clone())).unwrap();
        (1..=3).for_each(|number| write(&mut snapshots, number).unwrap());
        power.rot();
        let mut snapshots = Snapshots::open(Box::new(power.clone())).unwrap();
        let found = snapshots.newest().unwrap();
        assert_eq!((found.found.unwrap().header.functions, found.damaged.len()), (2, 1), "{seed}");
        // What comes next does not overwrite it.
        (4..=6).for_each(|number| write(&mut snapshots, number).unwrap());
        let names = power.names().unwrap();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names[0].ends_with("03.bursar.damaged"), "{names:?}");
        assert_eq!(newest(&mut Snapshots::open(Box::new(power)).unwrap()), Some(6));
    }
}

fn folder() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("state");
    (dir, path)
}

#[test]
fn a_real_folder_keeps_two_and_passes_over_nothing_of_another_version() {
    let (_dir, path) = folder();
    let open = || Snapshots::open(Box::new(Folder::open(path.clone()).unwrap())).unwrap();
    let mut snapshots = open();
    assert_eq!(newest(&mut snapshots), None);
    (1..=4).for_each(|number| write(&mut snapshots, number).unwrap());
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 2);
    assert_eq!(newest(&mut open()), Some(4));
    let newer = path.join(name(9));
    let mut bytes = sample(1);
    bytes[8] += 1;
    let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let sum = xxhash_rust::xxh3::xxh3_64(&bytes[..16 + length]).to_le_bytes();
    bytes[16 + length..24 + length].copy_from_slice(&sum);
    std::fs::write(&newer, &bytes).unwrap();
    let (name, error) = open().newest().unwrap_err();
    let next = crate::keep::FORM + 1;
    assert!(name.ends_with("09.bursar"), "{name}");
    assert!(matches!(error, SnapshotError::Form { found } if found == next), "{error}");
    assert_eq!(std::fs::read(&newer).unwrap(), bytes, "untouched");
    std::fs::write(&newer, "something else").unwrap();
    assert_eq!(newest(&mut open()), Some(4));
}
