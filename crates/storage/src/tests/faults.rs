//! Disks that fail, fill up, decay or do not answer, one failure at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Stepped, model::State};
use crate::batch::Batch;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::{self, FILE_HEADER};
use crate::log::{Log, Options};
use crate::sim::{Fault, SimDisk};

fn small() -> Options {
    Options {
        file_bytes: 8 << 10,
        ..Options::default()
    }
}

fn open(disk: &SimDisk) -> Result<(Stepped, State), OpenError> {
    Stepped::open(disk, &small())
}

/// A closed log of two files with a bit of everything in it.
fn closed_log() -> (SimDisk, State) {
    let disk = SimDisk::new(1);
    let (mut stepped, _) = open(&disk).unwrap();
    let mut batch = Batch::new();
    for n in 0..12_u8 {
        batch.define(1, u64::from(n), &[n; 30]);
        batch.put(&[1, 2], &[&[n; 400]]);
        let key = stepped.log.append(&mut batch).first_key;
        stepped.turn().unwrap();
        batch.release(1 + u32::from(n % 2), key);
        batch.mark(1, key, 3);
    }
    stepped.close().unwrap();
    let (_, state) = open(&disk.duplicate()).unwrap();
    assert_eq!(state.records.len(), 12);
    (disk, state)
}

/// After a failed call nothing is confirmed, and the failure is told once.
#[test]
fn failing_call_stops_the_log() {
    for skip in 0..200 {
        let disk = SimDisk::new(skip);
        let (mut stepped, _) = open(&disk).unwrap();
        let failures = Arc::new(AtomicU64::new(0));
        let count = failures.clone();
        stepped.log.on_failure(Box::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        disk.fail_after(skip, Fault::Io);
        let mut batch = Batch::new();
        let failed = loop {
            batch.put(&[1], &[&[1; 300]]);
            let appended = stepped.log.append(&mut batch);
            batch.release(1, appended.first_key);
            if let Err(failed) = stepped.turn() {
                break failed;
            }
        };
        let durable = stepped.log.durable();
        stepped.log.shared().fail(failed);
        batch.put(&[1], &[b"late"]);
        let late = stepped.log.append(&mut batch);
        assert!(stepped.log.wait(late.lsn).is_err());
        assert_eq!(stepped.log.durable(), durable);
        assert!(
            stepped.log.stats().in_flight_bytes < 1000,
            "what comes late is not kept"
        );
        assert_eq!(failures.load(Ordering::Relaxed), 1);
    }
}

/// The same through the writer's thread.
#[test]
fn waiters_hear_of_the_failure() {
    let disk = SimDisk::new(1);
    let log = Log::open(Arc::new(disk.clone()), small(), &mut |_| {}).unwrap();
    disk.fail_after(5, Fault::Io);
    let mut batch = Batch::new();
    let failed = loop {
        batch.put(&[1], &[b"x"]);
        let appended = log.append(&mut batch);
        if let Err(failed) = log.wait(appended.lsn) {
            break failed;
        }
    };
    assert!(
        failed.to_string().contains("input/output error"),
        "{failed}"
    );
    assert!(log.close().is_err());
}

#[test]
fn panicking_writer_is_a_failure() {
    let disk = SimDisk::new(1);
    let log = Log::open(Arc::new(disk), small(), &mut |_| {}).unwrap();
    log.on_durable(Box::new(|_| panic!("on purpose")));
    let (tell, told) = std::sync::mpsc::channel();
    log.on_failure(Box::new(move |failed| {
        tell.send(failed.reason().to_owned()).unwrap()
    }));
    let mut batch = Batch::new();
    batch.put(&[1], &[b"x"]);
    log.append(&mut batch);
    assert_eq!(told.recv().unwrap(), "the writer panicked");
    batch.put(&[1], &[b"y"]);
    let late = log.append(&mut batch);
    assert!(log.wait(late.lsn).is_err());
}

#[test]
fn every_flipped_byte_is_noticed_or_of_no_matter() {
    let (disk, state) = closed_log();
    let names = disk.list().unwrap();
    let logs: Vec<_> = names.iter().filter(|name| name.ends_with(".log")).collect();
    assert!(logs.len() > 1);
    let mut noticed = 0;
    for name in logs {
        let len = disk.contents(name).unwrap().len();
        // The rest of the header's page is zeros that nobody reads.
        for offset in (0..64).chain(FILE_HEADER as usize - 8..len) {
            let flipped = disk.duplicate();
            flipped.flip(name, offset, (offset % 8) as u8);
            match open(&flipped) {
                Ok((_, found)) => assert_eq!(found, state, "{name} at {offset}"),
                Err(OpenError::Damaged { .. } | OpenError::NewerFormat { .. }) => noticed += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(noticed > 4000, "{noticed} flips were noticed");
}

#[test]
fn damage_is_named_and_can_be_left_behind() {
    let (disk, state) = closed_log();
    let offset = 4096 + 1000;
    disk.flip("00000001.log", offset, 0);
    let Err(OpenError::Damaged { loss, .. }) = open(&disk) else {
        panic!("it opened");
    };
    assert_eq!(loss.file, "00000001.log");
    assert!(loss.offset <= offset as u64 && loss.offset + 600 > offset as u64);

    let options = Options {
        accept_loss: true,
        ..small()
    };
    let (mut stepped, found) = Stepped::open(&disk, &options).unwrap();
    assert_eq!(stepped.log.losses(), [loss]);
    assert_eq!(found.records.len(), 11);
    assert!(
        found
            .records
            .iter()
            .all(|(key, _)| state.records.contains_key(key))
    );
    // What is left moves out of the damaged file, so that the next opening is an ordinary one.
    stepped.settle().unwrap();
    stepped.close().unwrap();
    let (_, again) = open(&disk).unwrap();
    assert_eq!(again, found);
}

#[test]
fn missing_file_is_noticed() {
    let (disk, _) = closed_log();
    disk.remove("00000001.log").unwrap();
    let Err(OpenError::Damaged { loss, .. }) = open(&disk) else {
        panic!("it opened");
    };
    assert_eq!(
        (loss.file.as_str(), loss.what),
        ("00000001.log", "the file is missing")
    );
    let options = Options {
        accept_loss: true,
        ..small()
    };
    let (mut stepped, found) = Stepped::open(&disk, &options).unwrap();
    assert!(!found.records.is_empty());
    stepped.settle().unwrap();
    stepped.close().unwrap();
    assert_eq!(open(&disk).unwrap().1, found);
}

#[test]
fn newer_format_is_refused() {
    let (disk, _) = closed_log();
    disk.flip("00000002.log", 8, 4);
    let error = open(&disk).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("00000002.log has format 18"), "{error}");
    let options = Options {
        accept_loss: true,
        ..small()
    };
    assert!(
        Stepped::open(&disk, &options).is_err(),
        "not even with loss accepted"
    );
}

#[test]
fn directory_belongs_to_one_log() {
    let disk = SimDisk::new(1);
    let first = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(OpenError::InUse { .. })));
    drop(first);
    assert!(open(&disk).is_ok());
}

/// The disk fills up. The log says so while there is room, keeps all it has taken on, lets records be released, and goes on
/// when there is space again.
#[test]
fn full_disk() {
    let disk = SimDisk::new(1);
    let options = Options {
        file_bytes: 16 << 10,
        ..small()
    };
    disk.set_capacity(12 * options.file_bytes);
    let (mut stepped, _) = Stepped::open(&disk, &options).unwrap();
    let log = stepped.log.clone();
    let mut batch = Batch::new();
    let mut keys = Vec::new();
    while !log.is_full() {
        batch.put(&[1], &[&[1; 400]]);
        keys.push(log.append(&mut batch).first_key);
        stepped.turn().unwrap();
    }
    assert!(keys.len() > 50);
    // What was on its way when the disk was full.
    for _ in 0..10 {
        batch.put(&[1], &[&[1; 400]]);
        keys.push(log.append(&mut batch).first_key);
    }
    stepped.settle().unwrap();
    assert_eq!(log.stats().records, keys.len() as u64);
    for key in keys.drain(..) {
        batch.release(1, key);
        log.append(&mut batch);
        stepped.turn().unwrap();
    }
    stepped.settle().unwrap();
    assert!(!log.is_full());
    assert_eq!(log.stats().records, 0);
}

/// The same with puts that went on until only one file was left, and releases that begin with the newest: no old file comes
/// free for a long time, and copying one to the last room there is would leave none for the releases.
#[test]
fn full_disk_keeps_room_for_releases() {
    let disk = SimDisk::new(1);
    let options = Options {
        file_bytes: 16 << 10,
        ..small()
    };
    disk.set_capacity(8 * options.file_bytes);
    let (mut stepped, _) = Stepped::open(&disk, &options).unwrap();
    let log = stepped.log.clone();
    let mut batch = Batch::new();
    let mut keys = Vec::new();
    while log.stats().spares > 0 {
        batch.put(&[1], &[&[1; 400]]);
        keys.push(log.append(&mut batch).first_key);
        stepped.turn().unwrap();
    }
    for released in keys.rchunks(4) {
        released.iter().for_each(|key| batch.release(1, *key));
        log.append(&mut batch);
        stepped.turn().unwrap();
    }
    stepped.settle().unwrap();
    assert!(!log.is_full());
    assert_eq!(log.stats().records, 0);
}

/// With the writer's thread: a disk without space at all holds the writer up, and does not make it fail.
#[test]
fn writer_waits_for_space() {
    let disk = SimDisk::new(1);
    let log = Log::open(Arc::new(disk.clone()), small(), &mut |_| {}).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    log.on_full(Box::new(move |full| tell.send(full).unwrap()));
    disk.set_capacity(0);
    let mut batch = Batch::new();
    for _ in 0..100 {
        batch.put(&[1], &[&[1; 1000]]);
        log.append(&mut batch);
    }
    assert!(told.recv().unwrap());
    disk.set_capacity(u64::MAX);
    assert!(!told.recv().unwrap());
    log.close().unwrap();
    assert_eq!(open(&disk).unwrap().1.records.len(), 100);
}

#[test]
fn only_so_much_may_be_in_flight() {
    let options = Options {
        in_flight_bytes: 10_000,
        ..small()
    };
    let (mut stepped, _) = Stepped::open(&SimDisk::new(1), &options).unwrap();
    let log = stepped.log.clone();
    let mut batch = Batch::new();
    assert!(
        !log.shared().has_to_wait(1_000_000),
        "one batch has room, however large"
    );
    for _ in 0..9 {
        batch.put(&[1], &[&[0; 1000]]);
        log.append(&mut batch);
    }
    assert_eq!(log.stats().in_flight_bytes, 9 * 1017);
    assert!(!log.shared().has_to_wait(800));
    assert!(log.shared().has_to_wait(900));
    stepped.turn().unwrap();
    assert!(!log.shared().has_to_wait(900));
}

/// A disk that does not answer: appends go on up to the bound, then wait.
#[test]
fn appends_wait_when_too_much_is_in_flight() {
    let disk = SimDisk::new(1);
    let options = Options {
        in_flight_bytes: 10_000,
        ..small()
    };
    let log = Log::open(Arc::new(disk.clone()), options, &mut |_| {}).unwrap();
    disk.stall();
    let append = |log: &Log| {
        let mut batch = Batch::new();
        batch.put(&[1], &[&[0; 1000]]);
        log.append(&mut batch)
    };
    for _ in 0..9 {
        append(&log);
    }
    assert_eq!(log.durable().0, 0);
    let blocked = std::thread::spawn({
        let log = log.clone();
        move || (append(&log), log.durable())
    });
    disk.resume();
    let (_, durable) = blocked.join().unwrap();
    assert!(durable.0 > 0, "it could only go on after a sync");
    log.close().unwrap();
}

/// Releases and marks alone do not ask for a sync; whoever waits does.
#[test]
fn releases_wait_for_company() {
    let disk = SimDisk::new(1);
    let (mut stepped, _) = open(&disk).unwrap();
    let shared = stepped.log.clone();
    let mut batch = Batch::new();
    batch.put(&[1], &[b"x"]);
    let key = stepped.log.append(&mut batch).first_key;
    assert!(shared.shared().is_ready());
    stepped.turn().unwrap();
    batch.release(1, key);
    batch.mark(1, key, 1);
    stepped.log.append(&mut batch);
    assert!(!shared.shared().is_ready());
    batch.define(1, 1, b"y");
    stepped.log.append(&mut batch);
    assert!(shared.shared().is_ready());
}

#[test]
fn options_that_make_no_sense() {
    let options = Options {
        file_bytes: 100,
        ..small()
    };
    assert!(matches!(
        Stepped::open(&SimDisk::new(1), &options),
        Err(OpenError::Options(_))
    ));
}

/// Bytes that a client chose can look like a frame, but do not know the file's salt.
#[test]
fn frame_inside_a_body_is_not_taken_for_one() {
    let disk = SimDisk::new(1);
    let (mut stepped, _) = open(&disk).unwrap();
    let mut batch = Batch::new();
    batch.define(1, 1, b"kept");
    stepped.log.append(&mut batch);
    stepped.turn().unwrap();
    let forged = format::FrameHeader {
        len: 0,
        lsn: 3,
        durable: 2,
        first_key: 1,
        oldest: 1,
    };
    let body = forged.encode(&format::Salt::new(0), &[]).repeat(8);
    batch.put(&[1], &[&[0; 3], &body]);
    stepped.log.append(&mut batch);
    disk.fail_after(1, Fault::PowerCut);
    assert!(stepped.turn().is_err());
    drop(stepped);
    disk.power_on();
    assert!(open(&disk).is_ok());
}
