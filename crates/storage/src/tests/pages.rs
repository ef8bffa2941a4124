//! Pages, one thing at a time.

use super::Stepped;
use super::model::State;
use crate::batch::Batch;
use crate::disk::Disk;
use crate::error::{OpenError, PageError};
use crate::format::FILE_HEADER;
use crate::log::{Lsn, Options};
use crate::page::{PageId, PageRecord};
use crate::restore::Restored;
use crate::sim::SimDisk;

/// What a page or a restart gave: key, note and bytes.
type Given = Vec<(Option<u64>, u64, Vec<u8>)>;

/// A record outside of pages: key and owners.
type Loose = (u64, Vec<u32>);
/// A page: id, owner, count, first and last key.
type RestoredPage = (PageId, u32, u32, u64, u64);

struct Run {
    disk: SimDisk,
    stepped: Stepped,
    batch: Batch,
}

pub(super) fn options() -> Options {
    Options {
        file_bytes: 16 << 10,
        segment_bytes: 16 << 10,
        ..Options::default()
    }
}

impl Run {
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let (stepped, _) = Stepped::open(&disk, &options()).unwrap();
        Self {
            disk,
            stepped,
            batch: Batch::new(),
        }
    }

    fn put(&mut self, owners: &[u32], bytes: &[u8]) -> u64 {
        self.batch.put(owners, &[bytes]);
        self.append()
    }

    fn append(&mut self) -> u64 {
        let key = self.stepped.log.append(&mut self.batch).first_key;
        self.stepped.settle().unwrap();
        key
    }

    fn page_out(&mut self, owner: u32, records: &[PageRecord<'_>]) -> PageId {
        let draft = self
            .stepped
            .log
            .draft_page(owner, b"meta", records)
            .unwrap();
        self.stepped.log.sync_drafts().unwrap();
        let page = self.stepped.log.commit_page(draft);
        self.stepped.settle().unwrap();
        page
    }

    fn page_in(&mut self, page: PageId) -> Given {
        let mut given = Vec::new();
        self.stepped
            .log
            .page_in(page, &mut |record| {
                given.push((record.key, record.note, record.bytes.to_vec()));
            })
            .unwrap();
        self.stepped.settle().unwrap();
        given
    }

    /// Opens the log again. Gives what is restored: records with their owners, and pages.
    fn reopen(self) -> (Self, Vec<Loose>, Vec<RestoredPage>) {
        let Self {
            disk,
            stepped,
            batch,
        } = self;
        stepped.close().unwrap();
        let (mut records, mut pages) = (Vec::new(), Vec::new());
        let mut last_key = 0;
        let (log, writer) = crate::log::Log::open_stepped(
            std::sync::Arc::new(disk.clone()),
            options(),
            &mut |restored| match restored {
                Restored::Record { key, owners, .. } => {
                    assert!(key >= last_key, "by key");
                    last_key = key;
                    let owners = owners.iter().map(|(owner, _)| *owner).collect();
                    records.push((key, owners));
                }
                Restored::Page {
                    page,
                    owner,
                    meta,
                    count,
                    first_key,
                    last_key: last,
                } => {
                    assert!(first_key >= last_key, "by first key");
                    last_key = first_key;
                    assert_eq!(meta, b"meta");
                    pages.push((page, owner, count, first_key, last));
                }
                Restored::Definition { .. } => {}
            },
        )
        .unwrap();
        let run = Self {
            disk,
            stepped: Stepped { log, writer },
            batch,
        };
        (run, records, pages)
    }
}

/// A closed log with pages of all kinds, and what it remembers.
pub(super) fn closed_log() -> (SimDisk, State) {
    let mut run = Run::new();
    let own: Vec<_> = (0..8_u8).map(|n| run.put(&[1], &[n; 300])).collect();
    let shared: Vec<_> = (0..8_u8).map(|n| run.put(&[1, 2], &[n; 300])).collect();
    run.batch.mark(1, own[1], 3);
    run.append();
    let all: Vec<_> = own.iter().chain(&shared).copied().map(stored).collect();
    run.page_out(1, &all[..6]);
    let back = run.page_out(1, &all[6..8]);
    run.page_out(1, &all[8..12]);
    run.page_out(2, &all[8..14]);
    run.page_in(back);
    run.stepped.close().unwrap();
    let (_, state) = Stepped::open(&run.disk.duplicate(), &options()).unwrap();
    assert_eq!((state.pages.len(), state.records.len()), (3, 6));
    (run.disk, state)
}

fn accepting() -> Options {
    Options {
        accept_loss: true,
        ..options()
    }
}

fn stored(key: u64) -> PageRecord<'static> {
    PageRecord::Stored {
        key,
        note: key * 10,
    }
}

#[test]
fn page_goes_out_and_comes_in_across_restarts() {
    let mut run = Run::new();
    let first = run.put(&[1], b"before");
    for n in 0..10_u8 {
        run.put(&[1], &[n; 500]);
    }
    let last = run.put(&[1], b"behind");
    let inline = PageRecord::Inline {
        bytes: b"transient",
        note: 7,
    };
    let mut records = vec![inline];
    records.extend((first + 1..last).map(stored));
    let page = run.page_out(1, &records);
    let stats = run.stepped.log.stats();
    assert_eq!(
        (stats.records, stats.pages, stats.paged_records),
        (2, 1, 10)
    );

    let mut seen = 0;
    run.stepped.log.read_page(page, &mut |_| seen += 1).unwrap();
    assert_eq!(seen, 11, "a look changes nothing");

    let (mut run, loose, pages) = run.reopen();
    assert_eq!(loose, [(first, vec![1]), (last, vec![1])]);
    assert_eq!(pages, [(page, 1, 10, first + 1, last - 1)]);
    let expected: Given = (0..10_u8)
        .map(|n| {
            let key = first + 1 + u64::from(n);
            (Some(key), key * 10, vec![n; 500])
        })
        .collect();
    assert_eq!(run.page_in(page), expected, "without what was transient");
    assert_eq!(run.stepped.log.read(first + 3).unwrap(), [2; 500]);

    let (mut run, loose, pages) = run.reopen();
    assert_eq!((loose.len(), pages.len()), (12, 0));
    run.batch.drop_owner(1);
    run.append();
    while run.stepped.log.clean_segments().unwrap() {}
    let stats = run.stepped.log.stats();
    assert_eq!((stats.live_bytes, stats.records), (0, 0));
}

#[test]
fn inline_records_come_back_in_the_same_process() {
    let mut run = Run::new();
    let inline = |note| PageRecord::Inline {
        bytes: b"transient",
        note,
    };
    let draft = run
        .stepped
        .log
        .draft_page(1, b"meta", &[inline(1), inline(2)])
        .unwrap();
    let page = run.stepped.log.commit_page(draft);
    let given = run.page_in(page);
    assert_eq!(
        given,
        [1, 2].map(|note| (None, note, b"transient".to_vec()))
    );
    let page = run.page_out(1, &[inline(3)]);
    let (run, loose, pages) = run.reopen();
    assert!(loose.is_empty() && pages.is_empty(), "{page:?}");
    assert_eq!(run.stepped.log.stats().live_bytes, 0);
}

/// Two queues with the same messages: the body is copied once, and each queue has its own pages.
#[test]
fn shared_records() {
    let mut run = Run::new();
    let keys: Vec<_> = (0..6_u8).map(|n| run.put(&[1, 2, 3], &[n; 1000])).collect();
    let records: Vec<_> = keys.iter().copied().map(stored).collect();
    let first = run.page_out(1, &records[..4]);
    let after_first = run.stepped.log.stats().segment_live_bytes;
    let second = run.page_out(2, &records);
    let grown = run.stepped.log.stats().segment_live_bytes - after_first;
    assert!(grown < 3000, "only what was not there: {grown}");

    let (mut run, loose, pages) = run.reopen();
    let owners = |key: &u64| (*key, vec![3]);
    let mut expected: Vec<_> = keys.iter().map(owners).collect();
    expected[4].1 = vec![1, 3];
    expected[5].1 = vec![1, 3];
    assert_eq!(loose, expected);
    assert_eq!(pages.len(), 2);

    assert_eq!(run.page_in(first).len(), 4);
    run.batch.drop_page(second);
    run.append();
    for owner in [1, 3] {
        keys.iter().for_each(|key| run.batch.release(owner, *key));
    }
    run.append();
    let stats = run.stepped.log.stats();
    assert_eq!((stats.records, stats.live_bytes), (0, 0));
}

#[test]
fn every_flipped_byte_in_a_segment_is_noticed_or_of_no_matter() {
    let (disk, state) = closed_log();
    let name = "00000001.seg";
    let len = disk.contents(name).unwrap().len();
    let mut noticed = 0;
    // The rest of the header's page is zeros that nobody reads.
    for offset in (0..64).chain(FILE_HEADER as usize - 8..len) {
        let flipped = disk.duplicate();
        flipped.flip(name, offset, (offset % 8) as u8);
        match Stepped::open_unread(&flipped, &options()) {
            Ok((stepped, mut found)) => match found.read_pages(&stepped.log) {
                Ok(()) => assert_eq!(found, state, "at {offset}"),
                Err(PageError::Damaged(loss)) => {
                    // A record's place is that of its bytes, behind their checksum.
                    assert!(
                        loss.file == name && loss.offset <= offset as u64 + 4,
                        "{loss}"
                    );
                    let failed = stepped.log.wait(Lsn(1 << 40));
                    assert!(failed.is_err(), "it is the end of the log");
                    noticed += 1;
                }
                Err(error) => panic!("{error}"),
            },
            Err(OpenError::Damaged { .. } | OpenError::NewerFormat { .. }) => noticed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(noticed > 4000, "{noticed} flips were noticed");
}

/// What can be read of a damaged page is given, and the rest is named.
#[test]
fn damage_in_a_page_can_be_left_behind() {
    let mut run = Run::new();
    let keys: Vec<_> = (0..5_u8).map(|n| run.put(&[1], &[n; 300])).collect();
    let records: Vec<_> = keys.iter().copied().map(stored).collect();
    let page = run.page_out(1, &records);
    let Run { disk, stepped, .. } = run;
    stepped.close().unwrap();
    let whole = disk.contents("00000001.seg").unwrap();
    let third = whole
        .windows(300)
        .position(|bytes| bytes == [2; 300])
        .unwrap();
    disk.flip("00000001.seg", third + 7, 1);

    let (stepped, _) = Stepped::open_unread(&disk, &accepting()).unwrap();
    let mut run = Run {
        disk,
        stepped,
        batch: Batch::new(),
    };
    let given: Vec<_> = run.page_in(page).into_iter().map(|(key, ..)| key).collect();
    assert_eq!(given, [0, 1, 3, 4].map(|n| Some(keys[n])));
    let losses = run.stepped.log.losses();
    assert!(
        losses.len() == 1 && losses[0].offset == third as u64 - 4,
        "{losses:?}"
    );
    let (_, loose, pages) = run.reopen();
    assert_eq!((loose.len(), pages.len()), (4, 0));
}

#[test]
fn missing_segment_is_noticed_and_can_be_left_behind() {
    let (disk, _) = closed_log();
    disk.remove("00000001.seg").unwrap();
    let Err(OpenError::Damaged { loss, .. }) = Stepped::open_unread(&disk, &options()) else {
        panic!("it opened");
    };
    assert_eq!(
        (loss.file.as_str(), loss.what),
        ("00000001.seg", "the segment is missing")
    );
    let (mut stepped, found) = Stepped::open(&disk, &accepting()).unwrap();
    let losses = stepped.log.losses();
    let lost_pages = losses.iter().filter(|loss| loss.what.contains("page"));
    assert_eq!(lost_pages.count(), 3, "each is named: {losses:?}");
    assert_eq!((found.records.len(), found.pages.len()), (2, 0));
    // What is lost is not found again.
    stepped.settle().unwrap();
    stepped.close().unwrap();
    let (stepped, again) = Stepped::open(&disk, &options()).unwrap();
    assert_eq!(again, found);
    assert_eq!(stepped.log.stats().segment_live_bytes, 0);
}

#[test]
fn full_disk_is_told_and_costs_nothing() {
    let mut run = Run::new();
    let keys: Vec<_> = (0..40).map(|_| run.put(&[1], &[7; 1000])).collect();
    let records: Vec<_> = keys.iter().copied().map(stored).collect();
    run.disk.set_capacity(run.disk.used_bytes() + 20_000);
    run.page_out(1, &records[..10]);
    let full = run.stepped.log.draft_page(1, b"meta", &records[10..]);
    assert!(matches!(full, Err(PageError::NoSpace)), "{full:?}");
    run.disk.set_capacity(u64::MAX);
    run.page_out(1, &records[10..]);
    let (_, loose, pages) = run.reopen();
    assert_eq!((loose.len(), pages.len()), (0, 2));
}

/// A consumer was faster, or the owner let go of something: there is nothing to page out.
#[test]
fn draft_of_what_is_not_there() {
    let mut run = Run::new();
    let key = run.put(&[1, 2], b"x");
    run.batch.release(1, key);
    run.append();
    for (owner, key) in [(1, key), (2, key + 1)] {
        let draft = run.stepped.log.draft_page(owner, b"", &[stored(key)]);
        assert!(matches!(draft, Err(PageError::Gone(gone)) if gone == key));
    }
    let page = run.page_out(2, &[stored(key)]);
    let again = run.stepped.log.draft_page(2, b"", &[stored(key)]);
    assert!(matches!(again, Err(PageError::Gone(_))), "it is in a page");
    run.page_in(page);
    assert!(matches!(
        run.stepped.log.read_page(page, &mut |_| {}),
        Err(PageError::NoPage(_))
    ));
}

/// A page is there from its commit on, before the log has written a word of it.
#[test]
fn page_comes_in_before_it_is_durable() {
    let mut run = Run::new();
    let key = run.put(&[1], b"x");
    let log = run.stepped.log.clone();
    let draft = log.draft_page(1, b"meta", &[stored(key)]).unwrap();
    log.sync_drafts().unwrap();
    let page = log.commit_page(draft);
    log.will_need(page);
    let mut given = 0;
    log.page_in(page, &mut |_| given += 1).unwrap();
    assert_eq!(given, 1);
    run.stepped.settle().unwrap();
    drop(log);
    let (_, loose, pages) = run.reopen();
    assert_eq!((loose.len(), pages.len()), (1, 0));
}

/// A page that was read is spoken of later than one that moved meanwhile: its segment has to stay.
#[test]
fn segment_stays_while_somebody_is_about_to_speak_of_it() {
    let mut run = Run::new();
    let keys: Vec<_> = (0..64).map(|_| run.put(&[1], &[7; 1000])).collect();
    let records: Vec<_> = keys.iter().copied().map(stored).collect();
    let pages: Vec<_> = records
        .chunks(4)
        .map(|run_of| run.page_out(1, run_of))
        .collect();
    // Every third page stays, in all segments.
    for page in pages
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 3 != 0)
        .map(|(_, page)| *page)
    {
        run.batch.drop_page(page);
    }
    run.append();
    let log = run.stepped.log.clone();
    let segments = log.stats().segments;
    // The copies are made while a page is read, and known of before what the reader says of the old place.
    let mut moved = 0;
    log.page_in(pages[0], &mut |_| {
        while log.clean_segments().unwrap() {}
        run.stepped.settle().unwrap();
        while log.clean_segments().unwrap() {}
        moved = log.stats().relocated_bytes;
    })
    .unwrap();
    run.stepped.settle().unwrap();
    while log.clean_segments().unwrap() {}
    assert!(
        moved > 0 && log.stats().segments < segments,
        "{:?}",
        log.stats()
    );
    drop(log);
    let (run, loose, _) = run.reopen();
    assert_eq!(loose.len(), 4);
    for (key, _) in loose {
        assert_eq!(run.stepped.log.read(key).unwrap(), [7; 1000]);
    }
}
