//! Copies of a log that is at work.

use std::sync::Arc;

use super::crashes::Run;
use super::{Stepped, for_seeds};
use crate::backup::BackupError;
use crate::batch::Batch;
use crate::log::{Log, Options};
use crate::sim::{Fault, SimDisk};

/// What was durable when the copy began is in it, and nothing else, whatever has happened meanwhile.
#[test]
fn copy_under_load_is_the_log_of_one_moment() {
    for_seeds(30, |seed| {
        let mut run = Run::new(seed);
        let mut stepped = run.open(0);
        run.work(&mut stepped, 60);
        let target = SimDisk::new(seed);
        let mut expected = run.model.as_of(stepped.log.durable().0);
        let log = stepped.log.clone();
        let copied = log.backup(&target, &mut |_| {
            run.work(&mut stepped, 15);
        });
        let lsn = copied.unwrap().lsn.0;
        // Durable, also if the power goes right now.
        target.power_on();
        let (copy, found) = Stepped::open(&target, &run.options).unwrap();
        assert_eq!(copy.log.durable().0, lsn);
        expected.check_reopened(lsn, lsn, &found);
        // The log itself is none the worse for it.
        let durable = run.work(&mut stepped, 30);
        drop(log);
        drop(stepped);
        run.open(durable);
    });
}

/// A copy that was broken off does not pass for a log.
#[test]
fn half_a_copy_does_not_open() {
    let mut run = Run::new(16);
    run.model.hoards = true;
    run.paging_percent = 30;
    run.options.file_bytes = 8 << 10;
    run.options.segment_bytes = 8 << 10;
    let mut stepped = run.open(0);
    run.work(&mut stepped, 150);
    let target = SimDisk::new(1);
    stepped.log.backup(&target, &mut |_| {}).unwrap();
    let (_, whole) = Stepped::open(&target, &run.options).unwrap();
    for cut in 0.. {
        let target = SimDisk::new(cut);
        target.fail_after(cut, Fault::PowerCut);
        let copied = stepped.log.backup(&target, &mut |_| {});
        target.power_on();
        match Stepped::open(&target, &run.options) {
            // Either it is complete, or it has not begun.
            Ok((_, found)) => assert!(found == whole || cut < 2, "cut {cut}"),
            Err(_) => assert!(copied.is_err(), "cut {cut}"),
        }
        if copied.is_ok() {
            assert!(cut > 10 && !whole.pages.is_empty(), "{cut} calls");
            break;
        }
    }
}

#[test]
fn target_must_be_empty() {
    let disk = SimDisk::new(1);
    let options = Options {
        file_bytes: 8 << 10,
        ..Options::default()
    };
    let (stepped, _) = Stepped::open(&disk, &options).unwrap();
    let other = SimDisk::new(2);
    drop(Stepped::open(&other, &options).unwrap());
    let copied = stepped.log.backup(&other, &mut |_| {});
    assert!(
        matches!(copied, Err(BackupError::NotEmpty { .. })),
        "{copied:?}"
    );
}

/// With the writer's thread, and callers that do not wait.
#[test]
fn copy_while_threads_append() {
    let disk = SimDisk::new(1);
    let options = Options {
        file_bytes: 64 << 10,
        segment_bytes: 64 << 10,
        ..Options::default()
    };
    let log = Log::open(Arc::new(disk), options.clone(), &mut |_| {}).unwrap();
    let put = |log: &Log, n: u64| {
        let mut batch = Batch::new();
        batch.put(&[1], &[&n.to_le_bytes(), &[7; 1000]]);
        let key = log.append(&mut batch).first_key;
        if !n.is_multiple_of(3) {
            batch.release(1, key);
            log.append(&mut batch);
        }
    };
    (0..500).for_each(|n| put(&log, n));
    let lsn = log.append(&mut Batch::new()).lsn;
    log.wait(lsn).unwrap();
    let target = SimDisk::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| (500..2000).for_each(|n| put(&log, n)));
        log.backup(&target, &mut |_| {}).unwrap();
    });
    let (_, copy) = Stepped::open(&target, &options).unwrap();
    assert!(copy.records.len() >= 167);
}
