//! Pages, one thing at a time.

use super::Stepped;
use crate::batch::Batch;
use crate::log::Options;
use crate::page::{PageId, PageRecord};
use crate::restore::Restored;
use crate::sim::SimDisk;

/// What a page or a restart gave: key, note and bytes.
type Given = Vec<(Option<u64>, u64, Vec<u8>)>;

struct Run {
    disk: SimDisk,
    stepped: Stepped,
    batch: Batch,
}

fn options() -> Options {
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
    fn reopen(
        self,
    ) -> (
        Self,
        Vec<(u64, Vec<u32>)>,
        Vec<(PageId, u32, u32, u64, u64)>,
    ) {
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
