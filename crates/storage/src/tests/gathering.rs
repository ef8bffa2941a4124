//! A frame that waits for more, and what ends its wait.

use std::sync::Arc;
use std::thread;

use crate::batch::Batch;
use crate::error::Failed;
use crate::log::{Log, Options};
use crate::shared::Stop;
use crate::sim::SimDisk;

const BODY: [u8; 1000] = [0; 1000];

fn append(log: &Log) {
    let mut batch = Batch::new();
    batch.put(&[1], &[&BODY]);
    log.append(&mut batch);
}

/// A log whose next frame has one message and waits for four.
fn waiting() -> Log {
    let disk = Arc::new(SimDisk::new(1));
    let (log, _) = Log::open_stepped(disk, Options::default(), &mut |_| {}).unwrap();
    log.shared().expect_messages(4);
    append(&log);
    log
}

/// Whether the frame still waits after `count` messages more, and how many bytes it has when it is taken.
fn frame_after(count: usize) -> (bool, usize) {
    let log = waiting();
    thread::scope(|scope| {
        let frame = scope.spawn(|| log.shared().next_frame(false).expect("there is one"));
        while !log.shared().is_gathering() {
            thread::yield_now();
        }
        (0..count).for_each(|_| append(&log));
        let waits = log.shared().is_gathering();
        log.shared().stop(Stop::Abandon);
        (waits, frame.join().unwrap().ops.len())
    })
}

#[test]
fn a_frame_waits_until_it_is_as_large_as_expected() {
    let (waits, bytes) = frame_after(1);
    assert!(waits && (2000..3000).contains(&bytes), "{waits}, {bytes}");
    let (waits, bytes) = frame_after(3);
    assert!(!waits && bytes > 4000, "{waits}, {bytes}");
}

#[test]
fn who_waits_for_the_disk_ends_the_wait() {
    let log = waiting();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| log.shared().wait_for_appended());
        let frame = log.shared().next_frame(false).expect("there is one");
        assert!(frame.ops.len() < 2000);
        log.shared().fail(Failed::new("nobody writes it"));
        assert!(waiter.join().unwrap().is_err());
    });
}
