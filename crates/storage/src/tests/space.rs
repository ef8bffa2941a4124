//! Space comes back while the log is open: at any time it takes at most 2.5 times what is alive, and a constant.

use super::{Stepped, model::State};
use crate::batch::Batch;
use crate::log::Options;
use crate::sim::SimDisk;

const FILE_BYTES: u64 = 64 << 10;
/// Slack, spares, the active file, and the one being cleaned.
const CONSTANT: u64 = 8 * FILE_BYTES;

struct Space {
    disk: SimDisk,
    stepped: Stepped,
    batch: Batch,
}

impl Space {
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let (stepped, _) = Self::open(&disk);
        Self {
            disk,
            stepped,
            batch: Batch::new(),
        }
    }

    fn open(disk: &SimDisk) -> (Stepped, State) {
        let options = Options {
            file_bytes: FILE_BYTES,
            ..Options::default()
        };
        Stepped::open(disk, &options).unwrap()
    }

    fn put(&mut self, owners: &[u32], len: usize) -> u64 {
        self.batch.put(owners, &[&vec![7; len]]);
        self.append()
    }

    fn release(&mut self, owner: u32, key: u64) {
        self.batch.release(owner, key);
        self.append();
    }

    /// Appends what is in the batch, makes a turn, and looks at the space.
    fn append(&mut self) -> u64 {
        let key = self.stepped.log.append(&mut self.batch).first_key;
        self.stepped.turn().unwrap();
        self.check();
        key
    }

    fn check(&self) {
        let live = self.stepped.log.stats().live_bytes;
        let used = self.disk.used_bytes();
        assert!(
            used <= live * 5 / 2 + CONSTANT,
            "{used} bytes for {live} live ones"
        );
    }

    /// Lets the log do what it wants to do by itself.
    fn settle(&mut self) {
        self.stepped.settle().unwrap();
        self.check();
    }
}

/// A queue that keeps up, and one message at its head that nobody takes.
#[test]
fn stuck_message_at_the_head() {
    let mut space = Space::new();
    let stuck = space.put(&[1], 100);
    for _ in 0..5000 {
        let key = space.put(&[2], 1000);
        space.release(2, key);
    }
    assert_eq!(space.stepped.log.read(stuck).unwrap(), [7; 100]);
    assert!(
        space.stepped.log.stats().moved_bytes < 100_000,
        "little is copied for it"
    );
}

#[test]
fn backlog_is_drained_out_of_order() {
    let mut space = Space::new();
    let mut keys: Vec<_> = (0..2000).map(|_| space.put(&[1], 1000)).collect();
    let full = space.disk.used_bytes();
    while keys.len() > 100 {
        let key = keys.swap_remove(keys.len() * 2 / 3);
        space.release(1, key);
    }
    space.settle();
    assert!(space.disk.used_bytes() < full / 3);
    for key in keys {
        assert_eq!(space.stepped.log.read(key).unwrap(), [7; 1000]);
    }
}

#[test]
fn queue_is_deleted() {
    let mut space = Space::new();
    for n in 0..2000 {
        space.put(&[n % 2], 1000);
    }
    // All the space at once: it takes a few turns.
    space.batch.drop_owner(0);
    space.batch.drop_owner(1);
    space.stepped.log.append(&mut space.batch);
    space.settle();
    assert!(space.disk.used_bytes() <= CONSTANT);
    assert_eq!(space.stepped.log.stats().live_bytes, 0);
}

/// Each file keeps one message of many: cleaning has to go through them all.
#[test]
fn survivors_everywhere() {
    let mut space = Space::new();
    for n in 0..4000 {
        let key = space.put(&[1], 1000);
        if n % 20 != 0 {
            space.release(1, key);
        }
    }
    space.settle();
    assert_eq!(space.stepped.log.stats().records, 200);
}

#[test]
fn fan_out_to_many_owners() {
    let mut space = Space::new();
    let owners: Vec<u32> = (0..1000).collect();
    let keys: Vec<_> = (0..200).map(|_| space.put(&owners, 10)).collect();
    space.settle();
    for owner in owners {
        keys.iter().for_each(|key| space.batch.release(owner, *key));
        space.append();
    }
    space.settle();
    assert_eq!(space.stepped.log.stats().live_bytes, 0);
    assert!(space.disk.used_bytes() <= CONSTANT);
}

/// Small messages one by one, all alive: the log is larger than what is alive by its frames, and must not be copied around
/// for that without end.
#[test]
fn cleaning_comes_to_an_end() {
    let mut space = Space::new();
    for _ in 0..20_000 {
        space.put(&[1], 0);
    }
    space.settle();
    let stats = space.stepped.log.stats();
    assert!(stats.moved_bytes <= 2 * stats.live_bytes, "{stats:?}");
}

/// A definition that is redefined over and over, and others that never are.
#[test]
fn definitions() {
    let mut space = Space::new();
    for id in 0..1000 {
        space.batch.define(0, id, &[1; 100]);
    }
    for _ in 0..5000 {
        space.batch.define(1, 7, &[2; 500]);
        space.append();
    }
    space.settle();
    drop(space.stepped);
    let (_, state) = Space::open(&space.disk);
    assert_eq!(state.definitions.len(), 1001);
}

/// A crash must not cost a file.
#[test]
fn many_crashes() {
    let mut space = Space::new();
    for _ in 0..100 {
        space.put(&[1], 10);
        let Space {
            disk,
            stepped,
            batch,
        } = space;
        drop(stepped);
        let (stepped, _) = Space::open(&disk);
        space = Space {
            disk,
            stepped,
            batch,
        };
        space.settle();
    }
    let stats = space.stepped.log.stats();
    assert_eq!(stats.records, 100);
    assert_eq!(stats.files, 1, "{stats:?}");
}

/// Batches that leave much of a file unused.
#[test]
fn batches_of_more_than_half_a_file() {
    let mut space = Space::new();
    let keys: Vec<_> = (0..50)
        .map(|_| space.put(&[1], FILE_BYTES as usize * 5 / 8))
        .collect();
    space.settle();
    let moved = space.stepped.log.stats().moved_bytes;
    assert_eq!(moved, 0, "nothing is gained by copying");
    keys.into_iter().for_each(|key| space.release(1, key));
    space.settle();
    assert!(space.disk.used_bytes() <= CONSTANT);
}
