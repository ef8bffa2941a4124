//! Space comes back while the log is open: at any time it takes at most 2.5 times what is alive, and a constant.

use super::{Stepped, model::State};
use crate::batch::Batch;
use crate::log::Options;
use crate::page::{PageId, PageRecord};
use crate::sim::{Random, SimDisk};

const FILE_BYTES: u64 = 64 << 10;
/// Slack, spares, the active file, and the one being cleaned; of segments the slack, the one written to, and two on their way
/// out.
const CONSTANT: u64 = 8 * FILE_BYTES;
const CONSTANT_WITH_PAGES: u64 = CONSTANT + 5 * FILE_BYTES;

struct Space {
    disk: SimDisk,
    stepped: Stepped,
    batch: Batch,
    constant: u64,
}

impl Space {
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let (stepped, _) = Self::open(&disk);
        Self {
            disk,
            stepped,
            batch: Batch::new(),
            constant: CONSTANT,
        }
    }

    fn open(disk: &SimDisk) -> (Stepped, State) {
        let options = Options {
            file_bytes: FILE_BYTES,
            segment_bytes: FILE_BYTES,
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
            used <= live * 5 / 2 + self.constant,
            "{used} bytes for {live} live ones"
        );
    }

    /// Lets the log do what it wants to do by itself.
    fn settle(&mut self) {
        self.stepped.settle().unwrap();
        while self.clean_segments() {
            self.stepped.settle().unwrap();
        }
        self.check();
    }

    /// A piece of the pager's work.
    fn clean_segments(&self) -> bool {
        self.stepped.log.clean_segments().unwrap()
    }

    fn page_out(&mut self, owner: u32, keys: &[u64]) -> PageId {
        self.stepped.settle().unwrap();
        let records: Vec<_> = keys
            .iter()
            .map(|key| PageRecord::Stored { key: *key, note: 0 })
            .collect();
        let log = &self.stepped.log;
        let draft = log.draft_page(owner, b"", &records).unwrap();
        log.sync_drafts().unwrap();
        let page = log.commit_page(draft);
        self.turn_and_clean();
        page
    }

    fn page_in(&mut self, page: PageId) -> Vec<u64> {
        let mut keys = Vec::new();
        self.stepped
            .log
            .page_in(page, &mut |record| keys.extend(record.key))
            .unwrap();
        self.turn_and_clean();
        keys
    }

    /// What goes on beside all else.
    fn turn_and_clean(&mut self) {
        self.clean_segments();
        self.stepped.turn().unwrap();
        self.clean_segments();
        self.check();
    }

    /// A backlog of `owner` in pages of 16 records of 1000 bytes.
    fn backlog(owner: u32, pages: usize) -> (Self, Vec<PageId>) {
        let mut space = Self::new();
        space.constant = CONSTANT_WITH_PAGES;
        let pages = (0..pages)
            .map(|_| {
                let keys: Vec<_> = (0..16).map(|_| space.put(&[owner], 1000)).collect();
                space.page_out(owner, &keys)
            })
            .collect();
        (space, pages)
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

/// What is put is soon released: the log goes round in the files it has. The definition lives on, and has to be moved out of
/// the way of the files behind it.
#[test]
fn a_busy_log_makes_no_new_files() {
    let mut space = Space::new();
    space.batch.define(1, 7, &[2; 500]);
    let mut go_round = || {
        for _ in 0..4000 {
            let key = space.put(&[1], 200);
            space.release(1, key);
        }
        space.disk.created()
    };
    assert_eq!(go_round(), go_round());
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
            constant,
        } = space;
        drop(stepped);
        let (stepped, _) = Space::open(&disk);
        space = Space {
            disk,
            stepped,
            batch,
            constant,
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

#[test]
fn paged_backlog_is_consumed_in_order() {
    let (mut space, pages) = Space::backlog(1, 200);
    let stats = space.stepped.log.stats();
    assert!(
        stats.file_bytes < CONSTANT,
        "the log itself stays short: {stats:?}"
    );
    for page in pages {
        for key in space.page_in(page) {
            space.release(1, key);
        }
        space.turn_and_clean();
    }
    space.settle();
    assert_eq!(space.stepped.log.stats().live_bytes, 0);
    let relocated = space.stepped.log.stats().relocated_bytes;
    assert!(relocated < 300_000, "little is copied: {relocated}");
}

#[test]
fn one_message_of_each_page_is_stuck() {
    let (mut space, pages) = Space::backlog(1, 200);
    let mut stuck = Vec::new();
    for page in pages {
        let mut keys = space.page_in(page);
        stuck.push(keys.swap_remove(5));
        keys.into_iter().for_each(|key| space.batch.release(1, key));
        space.append();
        space.turn_and_clean();
    }
    space.settle();
    let stats = space.stepped.log.stats();
    assert_eq!(stats.records, 200);
    assert!(stats.segment_bytes < 800_000, "{stats:?}");
    for key in stuck {
        assert_eq!(space.stepped.log.read(key).unwrap(), [7; 1000]);
    }
}

/// Priorities, expiry, deletes: pages go in no order.
#[test]
fn pages_go_in_any_order() {
    let (mut space, mut pages) = Space::backlog(1, 300);
    let mut random = Random::new(1);
    while !pages.is_empty() {
        let page = pages.swap_remove(random.below(pages.len() as u64) as usize);
        if random.chance(50) {
            space.batch.drop_page(page);
            space.append();
        } else {
            let mut keys = space.page_in(page);
            while !keys.is_empty() {
                let key = keys.swap_remove(random.below(keys.len() as u64) as usize);
                space.release(1, key);
            }
        }
        space.turn_and_clean();
    }
    space.settle();
    assert_eq!(space.stepped.log.stats().live_bytes, 0);
}

#[test]
fn purge_and_delete() {
    let (mut space, pages) = Space::backlog(1, 100);
    pages
        .into_iter()
        .for_each(|page| space.batch.drop_page(page));
    // All the space at once: it takes a few turns.
    space.stepped.log.append(&mut space.batch);
    space.settle();
    assert!(space.disk.used_bytes() <= CONSTANT_WITH_PAGES);
    assert_eq!(space.stepped.log.stats().live_bytes, 0);

    let (mut space, _) = Space::backlog(1, 100);
    space.batch.drop_owner(1);
    space.stepped.log.append(&mut space.batch);
    space.settle();
    assert!(space.disk.used_bytes() <= CONSTANT_WITH_PAGES);
    assert_eq!(space.stepped.log.stats().live_bytes, 0);
}

/// The same few pages over and over, beside a backlog that stays.
#[test]
fn pages_come_and_go_and_come_back() {
    let (mut space, mut pages) = Space::backlog(1, 40);
    for round in 0..400 {
        let n = round * 7 % 40;
        let keys = space.page_in(pages[n]);
        assert_eq!(keys.len(), 16);
        pages[n] = space.page_out(1, &keys);
    }
    space.settle();
    assert_eq!(space.stepped.log.stats().paged_records, 640);
}

/// Each queue has its pages of the same messages, and they go through them at their own pace.
#[test]
fn paged_fan_out() {
    const QUEUES: u32 = 10;
    let mut space = Space::new();
    space.constant = CONSTANT_WITH_PAGES;
    let owners: Vec<_> = (0..QUEUES).collect();
    let mut pages = vec![Vec::new(); owners.len()];
    for _ in 0..60 {
        let keys: Vec<_> = (0..16).map(|_| space.put(&owners, 1000)).collect();
        for owner in &owners {
            pages[*owner as usize].push(space.page_out(*owner, &keys));
        }
    }
    let used = space.disk.used_bytes();
    assert!(
        used < 2 * 60 * 16 * 1000 + CONSTANT_WITH_PAGES,
        "a body is there once: {used}"
    );
    for owner in owners {
        for page in std::mem::take(&mut pages[owner as usize]) {
            let keys = space.page_in(page);
            assert_eq!(keys.len(), 16);
            keys.iter().for_each(|key| space.batch.release(owner, *key));
            space.append();
            space.turn_and_clean();
        }
    }
    space.settle();
    assert_eq!(space.stepped.log.stats().live_bytes, 0);
}

/// A copy keeps what it copies, and no longer than it takes.
#[test]
fn space_of_a_copy_comes_back() {
    let (mut space, pages) = Space::backlog(1, 100);
    let log = space.stepped.log.clone();
    let mut pages = pages.into_iter();
    log.backup(&SimDisk::new(2), &mut |_| {
        if let Some(page) = pages.next() {
            space.batch.drop_page(page);
            space.stepped.log.append(&mut space.batch);
            space.stepped.settle().unwrap();
            space.clean_segments();
        }
    })
    .unwrap();
    space.settle();
    pages.for_each(|page| space.batch.drop_page(page));
    // All the space at once: it takes a few turns.
    space.stepped.log.append(&mut space.batch);
    space.settle();
    assert_eq!(space.stepped.log.stats().segments, 1);
}

#[test]
fn transient_backlog() {
    let mut space = Space::new();
    space.constant = CONSTANT_WITH_PAGES;
    let log = space.stepped.log.clone();
    let body = [7; 1000];
    let records: Vec<_> = (0..16)
        .map(|note| PageRecord::Inline { bytes: &body, note })
        .collect();
    let mut pages = Vec::new();
    for _ in 0..200 {
        let draft = log.draft_page(1, b"", &records).unwrap();
        pages.push(log.commit_page(draft));
        space.turn_and_clean();
    }
    for page in pages {
        space.page_in(page);
    }
    space.settle();
    assert_eq!(log.stats().live_bytes, 0);
    assert!(space.disk.used_bytes() < CONSTANT_WITH_PAGES);
}

/// What a log file says of a record many times is carried once.
#[test]
fn page_that_came_and_went_many_times() {
    let pass = |space: &mut Space, messages: u32| {
        for _ in 0..messages {
            let key = space.put(&[2], 1000);
            space.release(2, key);
        }
    };
    // It depends on where in a file that begins.
    for messages in (50..110).step_by(10) {
        let (mut space, pages) = Space::backlog(1, 1);
        pass(&mut space, messages);
        let mut page = pages[0];
        for _ in 0..40 {
            let keys = space.page_in(page);
            page = space.page_out(1, &keys);
        }
        space.page_in(page);
        let before = space.stepped.log.stats().moved_bytes;
        pass(&mut space, 500);
        let moved = space.stepped.log.stats().moved_bytes - before;
        assert!(moved > 0 && moved < 4000, "{moved} bytes for 16 records");
    }
}
