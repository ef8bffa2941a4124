//! A process that is killed: what it was told is durable is there afterwards.
//!
//! The test starts itself again as the process to be killed. That appends, and says on its standard output what is durable;
//! when it has said enough, it is killed in the middle of whatever it does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use leveret_storage::{Batch, Log, OpenError, Options, PageRecord, RealDisk, Restored};

const DIRECTORY: &str = "LEVERET_TEST_DIRECTORY";
const ROUNDS: u64 = 5;

fn open(directory: &Path, restore: &mut dyn FnMut(Restored<'_>)) -> Result<Log, OpenError> {
    let disk = RealDisk::at(directory).expect("a directory");
    let options = Options {
        file_bytes: 256 << 10,
        segment_bytes: 256 << 10,
        ..Options::default()
    };
    Log::open(Arc::new(disk), options, restore)
}

/// Appends three records. Each says its own key, so that what comes back can be checked without knowing what was appended.
fn append(log: &Log, batch: &mut Batch, next: &mut u64) {
    for _ in 0..3 {
        batch.put(&[1], &[&next.to_le_bytes(), &[7; 500]]);
        let appended = log.append(batch);
        assert_eq!(appended.first_key, *next, "keys go on where they ended");
        *next += 1;
    }
}

/// Appends until it is killed. After each round all but every tenth record are released. Of those that stay, some are paged
/// out and in.
fn child(directory: &Path) {
    let mut live = Vec::new();
    let log = open(directory, &mut |restored| {
        if let Restored::Record { key, .. } = restored {
            live.push(key);
        }
    })
    .expect("the log opens");
    let mut batch = Batch::new();
    // The first key is not known before the first append.
    batch.put(&[2], &[b"start"]);
    let start = log.append(&mut batch).first_key;
    batch.release(2, start);
    let mut next = start + 1;
    let mut out = std::io::stdout();
    let mut waiting = Vec::new();
    loop {
        let first = next;
        append(&log, &mut batch, &mut next);
        waiting.extend((first..next).filter(|key| key % 10 == 0));
        if waiting.len() == 4 {
            page(&log, &waiting);
            waiting.clear();
        }
        for key in (first..next).filter(|key| key % 10 != 0) {
            batch.release(1, key);
        }
        batch.define(1, 1, &next.to_le_bytes());
        let lsn = log.append(&mut batch).lsn;
        log.wait(lsn).expect("the disk works");
        if writeln!(out, "durable {next}")
            .and_then(|()| out.flush())
            .is_err()
        {
            return;
        }
    }
}

/// Pages records out, and half of the time in again.
fn page(log: &Log, keys: &[u64]) {
    let records: Vec<_> = keys
        .iter()
        .map(|key| PageRecord::Stored {
            key: *key,
            note: *key,
        })
        .collect();
    let draft = log.draft_page(1, b"", &records).expect("the disk works");
    log.sync_drafts().expect("the disk works");
    let page = log.commit_page(draft);
    if page.0.is_multiple_of(2) {
        log.page_in(page, &mut |_| {}).expect("the disk works");
    }
    while log.clean_segments().expect("the disk works") {}
}

#[test]
fn durable_survives_kill() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return child(Path::new(&directory));
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("killed");
    let _ = std::fs::remove_dir_all(&directory);
    let mut expected = BTreeMap::new();
    for round in 1..=ROUNDS {
        let durable = run_and_kill(&directory, 50 * round);
        let (mut defined, mut records, mut pages) = (0, BTreeMap::new(), Vec::new());
        let log = open(&directory, &mut |restored| match restored {
            Restored::Definition { bytes, .. } => {
                defined = u64::from_le_bytes(bytes.try_into().unwrap());
            }
            Restored::Record { key, bytes, .. } => {
                records.insert(key, bytes.len());
                if bytes != b"start" {
                    assert_eq!(bytes[..8], key.to_le_bytes());
                }
            }
            Restored::Page { page, .. } => pages.push(page),
        })
        .unwrap();
        assert!(!pages.is_empty(), "some are paged out");
        for page in pages {
            log.read_page(page, &mut |record| {
                let key = record.key.expect("all are records of the log");
                assert_eq!(
                    (record.note, &record.bytes[..8]),
                    (key, &key.to_le_bytes()[..])
                );
                let before = records.insert(key, record.bytes.len());
                assert_eq!(before, None, "{key} is there once");
            })
            .unwrap();
        }
        assert!(defined >= durable.1, "told {}, found {defined}", durable.1);
        expected.extend(
            (durable.0..durable.1)
                .filter(|key| key % 10 == 0)
                .map(|key| (key, 508)),
        );
        for (key, len) in &expected {
            assert_eq!(records.get(key), Some(len), "record {key}");
        }
        // What was released, and durably so, does not come back.
        let back = records
            .keys()
            .filter(|key| **key < durable.1 && **key % 10 != 0)
            .count();
        assert!(
            back <= round as usize * 4,
            "{back} released records are back"
        );
        drop(log);
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Gives the first and the end of the keys that the process said are durable.
fn run_and_kill(directory: &Path, lines: u64) -> (u64, u64) {
    let this_test = std::env::current_exe().expect("the test is a file");
    let mut child = Command::new(this_test)
        .args(["--exact", "durable_survives_kill", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test starts again");
    let said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut durable = said.map_while(Result::ok).filter_map(|line| {
        line.strip_prefix("durable ")
            .map(|next| next.parse::<u64>().expect("a number"))
    });
    let first = durable.next().expect("the process runs");
    let last = durable.nth(lines as usize).expect("the process runs");
    child.kill().expect("the process runs");
    child.wait().expect("it was killed");
    (first - 3, last)
}
