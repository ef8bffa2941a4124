//! The log on a real directory, with its writer thread: what callers see. Failures are the business of the simulated disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;

use leveret_storage::{
    Batch, Log, Lsn, OpenError, Options, PageRecord, ReadError, RealDisk, Restored,
};

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type Records = BTreeMap<u64, (Vec<(u32, u64)>, Vec<u8>)>;
type Definitions = BTreeMap<(u8, u64), Vec<u8>>;

fn small() -> Options {
    Options {
        file_bytes: 256 << 10,
        segment_bytes: 256 << 10,
        ..Options::default()
    }
}

fn open(directory: &Directory, options: Options) -> (Log, Definitions, Records) {
    let disk = Arc::new(RealDisk::at(&directory.0).expect("a directory"));
    let (mut definitions, mut records) = (Definitions::new(), Records::new());
    let log = Log::open(disk, options, &mut |restored| match restored {
        Restored::Definition { table, id, bytes } => {
            definitions.insert((table, id), bytes.to_vec());
        }
        Restored::Record { key, owners, bytes } => {
            records.insert(key, (owners.to_vec(), bytes.to_vec()));
        }
        Restored::Page { .. } => panic!("nothing was paged out"),
    })
    .expect("it opens");
    (log, definitions, records)
}

#[test]
fn what_is_alive_comes_back() {
    let directory = Directory::new("alive");
    let (log, ..) = open(&directory, small());
    assert!(log.was_clean());
    let mut batch = Batch::new();
    batch.define(1, 10, b"queue");
    batch.define(1, 11, b"gone");
    batch.put(&[1, 2], &[b"he", b"llo"]);
    batch.put(&[1], &[b"released"]);
    batch.put(&[3], &[b"dropped"]);
    let first = log.append(&mut batch);
    assert!(batch.is_empty());
    batch.undefine(1, 11);
    batch.release(1, first.first_key);
    batch.release(1, first.first_key + 1);
    batch.mark(2, first.first_key, 7);
    batch.drop_owner(3);
    batch.put(&[3], &[b"again"]);
    let second = log.append(&mut batch);
    assert_eq!(second.first_key, first.first_key + 3);
    log.wait(second.lsn).unwrap();
    assert!(log.durable() >= second.lsn);
    assert_eq!(log.read(first.first_key).unwrap(), b"hello");
    assert!(matches!(
        log.read(first.first_key + 1),
        Err(ReadError::Gone(_))
    ));
    log.close().unwrap();

    let (log, definitions, records) = open(&directory, small());
    assert!(log.was_clean());
    assert_eq!(definitions, BTreeMap::from([((1, 10), b"queue".to_vec())]));
    let expected = BTreeMap::from([
        (first.first_key, (vec![(2, 7)], b"hello".to_vec())),
        (second.first_key, (vec![(3, 0)], b"again".to_vec())),
    ]);
    assert_eq!(records, expected);
    assert_eq!(log.append(&mut batch).first_key, second.first_key + 1);
}

#[test]
fn dropping_writes_but_is_not_clean() {
    let directory = Directory::new("dropped");
    let (log, ..) = open(&directory, small());
    let mut batch = Batch::new();
    batch.put(&[1], &[b"kept"]);
    log.append(&mut batch);
    drop(log);
    let (log, _, records) = open(&directory, small());
    assert!(!log.was_clean());
    assert_eq!(records.len(), 1);
}

#[test]
fn second_log_is_refused() {
    let directory = Directory::new("locked");
    let (log, ..) = open(&directory, small());
    let disk = Arc::new(RealDisk::at(&directory.0).unwrap());
    let second = Log::open(disk.clone(), small(), &mut |_| {});
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    drop(log);
    Log::open(disk, small(), &mut |_| {}).unwrap();
}

#[test]
fn callbacks_follow_the_durable_position() {
    let directory = Directory::new("callbacks");
    let (log, ..) = open(&directory, small());
    let (tell, told) = mpsc::channel::<Lsn>();
    log.on_durable(Box::new(move |lsn| tell.send(lsn).unwrap()));
    let mut batch = Batch::new();
    batch.put(&[1], &[b"x"]);
    let appended = log.append(&mut batch);
    assert!(told.iter().any(|lsn| lsn >= appended.lsn));
    assert!(log.durable() >= appended.lsn);
}

#[test]
fn batch_larger_than_a_file_and_than_what_may_be_in_flight() {
    let directory = Directory::new("large");
    let options = Options {
        in_flight_bytes: 100_000,
        ..small()
    };
    let (log, ..) = open(&directory, options.clone());
    let large: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    let mut batch = Batch::new();
    batch.put(&[1], &[&large]);
    let appended = log.append(&mut batch);
    assert_eq!(log.read(appended.first_key).unwrap(), large);
    log.close().unwrap();
    let (_log, _, records) = open(&directory, options);
    assert_eq!(records[&appended.first_key].1, large);
}

#[test]
fn many_threads_append() {
    let directory = Directory::new("threads");
    let (log, ..) = open(
        &directory,
        Options {
            in_flight_bytes: 64 << 10,
            ..small()
        },
    );
    std::thread::scope(|scope| {
        for owner in 0..4_u32 {
            let log = log.clone();
            scope.spawn(move || {
                let mut batch = Batch::new();
                for n in 0..2000_u32 {
                    batch.put(&[owner], &[&n.to_le_bytes(), &[7; 100]]);
                    let key = log.append(&mut batch).first_key;
                    assert_eq!(log.read(key).unwrap()[..4], n.to_le_bytes());
                    if n % 100 != 0 {
                        batch.release(owner, key);
                    }
                }
                let appended = log.append(&mut batch);
                log.wait(appended.lsn).unwrap();
            });
        }
    });
    assert_eq!(log.stats().records, 80);
    log.close().unwrap();
    let (_log, _, records) = open(&directory, small());
    assert_eq!(records.len(), 80);
}

/// Queues that page out and in while segments are cleaned beside them.
#[test]
fn many_threads_page() {
    let directory = Directory::new("paging");
    let (log, ..) = open(&directory, small());
    let (done, cleaner_ends) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let cleaner = log.clone();
        scope.spawn(move || {
            // Until the last queue has ended.
            while cleaner_ends.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                if !cleaner.clean_segments().unwrap() {
                    let lsn = cleaner.append(&mut Batch::new()).lsn;
                    cleaner.wait(lsn).unwrap();
                }
            }
        });
        for owner in 0..3_u32 {
            let (log, done) = (log.clone(), done.clone());
            scope.spawn(move || {
                page_out_and_in(&log, owner);
                drop(done);
            });
        }
        drop(done);
    });
    assert_eq!(log.stats().records, 3 * 50);
    log.close().unwrap();
    let (log, _, records) = open(&directory, small());
    assert_eq!(records.len(), 3 * 50);
    while log.clean_segments().unwrap() {}
    let stats = log.stats();
    assert!(stats.segment_bytes < 2 << 20, "{stats:?}");
}

/// A queue that pages out what comes, and of each page that it takes back leaves one message.
fn page_out_and_in(log: &Log, owner: u32) {
    let mut batch = Batch::new();
    let mut pages = std::collections::VecDeque::new();
    for round in 0..50_u64 {
        for n in 0..40_u64 {
            batch.put(&[owner], &[&(round * 40 + n).to_le_bytes(), &[7; 1000]]);
        }
        let first_key = log.append(&mut batch).first_key;
        let records: Vec<_> = (0..40)
            .map(|n| PageRecord::Stored {
                key: first_key + n,
                note: round * 40 + n,
            })
            .collect();
        let draft = log
            .draft_page(owner, b"", &records)
            .expect("the disk works");
        log.sync_drafts().expect("the disk works");
        pages.push_back(log.commit_page(draft));
        if round % 10 == 9 {
            pages.drain(..).for_each(|page| consume(log, owner, page));
        }
    }
}

fn consume(log: &Log, owner: u32, page: leveret_storage::PageId) {
    let mut keys = Vec::new();
    log.page_in(page, &mut |record| {
        assert_eq!(record.bytes[..8], record.note.to_le_bytes());
        keys.extend(record.key);
    })
    .expect("the disk works");
    assert_eq!(keys.len(), 40);
    let mut batch = Batch::new();
    keys[1..].iter().for_each(|key| batch.release(owner, *key));
    log.append(&mut batch);
    assert_eq!(log.read(keys[0]).expect("the disk works").len(), 1008);
}

#[test]
fn copy_is_a_log_and_whole() {
    let directory = Directory::new("copied");
    let target = Directory::new("copy");
    let (log, ..) = open(&directory, small());
    let mut batch = Batch::new();
    for n in 0..1000_u32 {
        batch.put(&[1], &[&n.to_le_bytes(), &[7; 1000]]);
    }
    let appended = log.append(&mut batch);
    log.wait(appended.lsn).unwrap();
    let record = |n| PageRecord::Stored {
        key: appended.first_key + n,
        note: n,
    };
    let records: Vec<_> = (0..500).map(record).collect();
    let draft = log.draft_page(1, b"", &records).unwrap();
    log.sync_drafts().unwrap();
    let page = log.commit_page(draft);
    let lsn = log.append(&mut batch).lsn;
    log.wait(lsn).unwrap();

    let disk = RealDisk::at(&target.0).unwrap();
    let mut copied = 0;
    let copy = log
        .backup(&disk, &mut |progress| copied = progress.copied_bytes)
        .unwrap();
    assert_eq!(copied, copy.bytes);
    let checked = leveret_storage::check(&disk, &mut |loss| panic!("{loss}")).unwrap();
    assert_eq!((checked.records, checked.paged_records), (500, 500));
    let mut given = 0;
    let copy = Log::open(Arc::new(disk), small(), &mut |_| {}).unwrap();
    copy.page_in(page, &mut |_| given += 1).unwrap();
    assert_eq!(given, 500);
}
