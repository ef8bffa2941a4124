//! Confirmed appends per second, and how long a confirm takes, beside a bare loop of one write and one fdatasync of as many
//! bytes as the log wrote per sync, on the same disk in the same run.
//!
//! The log's producer keeps a number of messages outstanding, in batches of up to 100 as a connection would, and releases each
//! when it is durable, as a consumer would that keeps up. Then: how fast a log opens, and how fast records are paged out and in.
//! What is written per byte published is what the kernel says that this process had written to the disk, whole blocks.
//!
//! `cargo bench -p leveret-storage`, or with `-- append`, `-- open`, or `-- page` and the number of records

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures and tells"
)]

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use leveret_storage::{Batch, Log, Lsn, Options, PageId, PageRecord, RealDisk};

const ROUND: Duration = Duration::from_millis(400);
const ROUNDS: usize = 5;
const BATCH: usize = 100;

fn main() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-log");
    // Cargo adds `--bench` to what the user gives.
    let wanted = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let wants = |name: &str| {
        wanted
            .as_ref()
            .is_none_or(|wanted| name.contains(wanted.as_str()))
    };
    if wants("append") {
        compare_appends(&directory);
    }
    if wants("page") {
        let mut records = std::env::args().filter_map(|argument| argument.parse().ok());
        run_pages(&directory, 1024, records.next_back().unwrap_or(1_000_000));
    }
    if wants("open") {
        run_open(&directory, 64, 2_000_000);
        run_open(&directory, 1024, 1_000_000);
    }
    let _ = std::fs::remove_dir_all(directory);
}

fn compare_appends(directory: &Path) {
    println!(
        "| bytes | outstanding | msg/s | MB/s | msg/sync | p50 µs | p99 µs | written per byte | bare msg/s | p50 µs | p99 µs | of bare |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for bytes in [64, 1024, 64 * 1024] {
        for outstanding in [1, 100, 10_000] {
            let (log, bare) = compare(directory, bytes, outstanding);
            println!(
                "| {bytes} | {outstanding} | {:.0} | {:.1} | {:.1} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0}% |",
                log.per_second(),
                log.per_second() * bytes as f64 / 1e6,
                log.messages as f64 / log.syncs as f64,
                log.percentile(50),
                log.percentile(99),
                log.disk_bytes as f64 / (log.messages * bytes) as f64,
                bare.per_second(),
                bare.percentile(50),
                bare.percentile(99),
                100.0 * log.per_second() / bare.per_second(),
            );
        }
    }
}

/// Both by turns, since the disk may have other users: a slow second should hit both.
fn compare(directory: &Path, bytes: usize, outstanding: usize) -> (Figures, Figures) {
    let mut producer = Producer::new(open(directory, true), bytes, outstanding);
    // The first files are written for the first time: that is not what lasts.
    producer.run(ROUND);
    let (mut log, mut bare) = (Figures::default(), Figures::default());
    for _ in 0..ROUNDS {
        let round = producer.run(ROUND);
        bare.add(run_bare(directory, &round));
        log.add(round);
    }
    producer.log.close().expect("the disk works");
    (log, bare)
}

#[derive(Default)]
struct Figures {
    messages: usize,
    syncs: u64,
    written_bytes: u64,
    /// Those that went to the disk.
    disk_bytes: u64,
    elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.syncs += other.syncs;
        self.written_bytes += other.written_bytes;
        self.disk_bytes += other.disk_bytes;
        self.elapsed += other.elapsed;
        self.latencies.extend(other.latencies);
        self.latencies.sort_unstable();
    }

    fn per_second(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }

    /// In microseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let at = self.latencies.len() * percent / 100;
        self.latencies
            .get(at)
            .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
    }
}

/// Keeps messages outstanding.
struct Producer {
    log: Log,
    body: Vec<u8>,
    outstanding: usize,
    confirms: Arc<(Mutex<Confirms>, Condvar)>,
    batch: Batch,
}

/// What the producer and the log's callback share.
#[derive(Default)]
struct Confirms {
    durable: Lsn,
    /// Batches on their way: position, first key, messages, and when they were appended.
    batches: VecDeque<(Lsn, u64, usize, Instant)>,
    on_the_way: usize,
    released: Vec<u64>,
    latencies: Vec<Duration>,
    confirmed: usize,
}

impl Confirms {
    fn confirm(&mut self) {
        let now = Instant::now();
        while self
            .batches
            .front()
            .is_some_and(|(lsn, ..)| *lsn <= self.durable)
        {
            let (_, key, messages, since) = self.batches.pop_front().expect("it is there");
            self.on_the_way -= messages;
            self.confirmed += messages;
            self.latencies.push(now - since);
            self.released.extend(key..key + messages as u64);
        }
    }
}

impl Producer {
    fn new(log: Log, bytes: usize, outstanding: usize) -> Self {
        let confirms = Arc::new((Mutex::new(Confirms::default()), Condvar::new()));
        let callback = confirms.clone();
        log.on_durable(Box::new(move |durable| {
            let mut state = callback.0.lock().expect("nobody panics");
            state.durable = durable;
            state.confirm();
            callback.1.notify_one();
        }));
        Self {
            log,
            body: vec![7; bytes],
            outstanding,
            confirms,
            batch: Batch::new(),
        }
    }

    fn run(&mut self, duration: Duration) -> Figures {
        let before = self.log.stats();
        let disk_bytes = disk_bytes();
        let start = Instant::now();
        while start.elapsed() < duration {
            self.append();
        }
        let mut state = self.confirms.0.lock().expect("nobody panics");
        while state.on_the_way > 0 {
            state = self.confirms.1.wait(state).expect("nobody panics");
        }
        let after = self.log.stats();
        Figures {
            messages: std::mem::take(&mut state.confirmed),
            syncs: after.syncs - before.syncs,
            written_bytes: after.written_bytes - before.written_bytes,
            disk_bytes: self::disk_bytes() - disk_bytes,
            elapsed: start.elapsed(),
            latencies: std::mem::take(&mut state.latencies),
        }
    }

    /// Appends one batch, as soon as there is room for one.
    fn append(&mut self) {
        let mut state = self.confirms.0.lock().expect("nobody panics");
        while state.on_the_way == self.outstanding {
            state = self.confirms.1.wait(state).expect("nobody panics");
        }
        let messages = (self.outstanding - state.on_the_way).min(BATCH);
        state.on_the_way += messages;
        let released = std::mem::take(&mut state.released);
        drop(state);
        let since = Instant::now();
        released.iter().for_each(|key| self.batch.release(1, *key));
        for _ in 0..messages {
            self.batch.put(&[1], &[&self.body]);
        }
        let appended = self.log.append(&mut self.batch);
        let mut state = self.confirms.0.lock().expect("nobody panics");
        state
            .batches
            .push_back((appended.lsn, appended.first_key, messages, since));
        // It may have become durable before it was in the table.
        state.confirm();
    }
}

/// Writes and syncs as many bytes at a time as the log did, in a file whose every byte was written before.
fn run_bare(directory: &Path, log: &Figures) -> Figures {
    const FILE: usize = 64 << 20;
    let path = directory.join("bare");
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)
        .expect("a file");
    file.write_all_at(&vec![0; FILE], 0)
        .expect("the disk works");
    file.sync_all().expect("the disk works");
    let bytes = vec![7; (log.written_bytes / log.syncs) as usize];
    let mut latencies = Vec::new();
    let mut at = 0;
    let start = Instant::now();
    while start.elapsed() < ROUND {
        if at + bytes.len() > FILE {
            at = 0;
        }
        let since = Instant::now();
        file.write_all_at(&bytes, at as u64)
            .expect("the disk works");
        file.sync_data().expect("the disk works");
        latencies.push(since.elapsed());
        at += bytes.len();
    }
    let elapsed = start.elapsed();
    std::fs::remove_file(path).expect("the disk works");
    let syncs = latencies.len() as u64;
    let messages = (syncs as f64 * log.messages as f64 / log.syncs as f64) as usize;
    Figures {
        messages,
        syncs,
        written_bytes: syncs * bytes.len() as u64,
        disk_bytes: 0,
        elapsed,
        latencies,
    }
}

fn run_open(directory: &Path, bytes: usize, messages: usize) {
    let log = open(directory, true);
    let body = vec![7; bytes];
    let mut batch = Batch::new();
    for n in 1..=messages {
        batch.put(&[n as u32 % 100], &[&body]);
        if n % BATCH == 0 {
            log.append(&mut batch);
        }
    }
    log.close().expect("the disk works");
    let start = Instant::now();
    let log = open(directory, false);
    let elapsed = start.elapsed().as_secs_f64();
    let stats = log.stats();
    assert_eq!(stats.records, messages as u64);
    println!(
        "open {messages} live records of {bytes} bytes: {:.0} ms, {:.2} GB/s of log, {:.2} M records/s",
        elapsed * 1e3,
        log.replayed_bytes() as f64 / elapsed / 1e9,
        messages as f64 / elapsed / 1e6,
    );
    drop(log);
}

/// Records of a page, and pages that are synced together.
const PAGE: usize = 1024;
const DRAFTS: usize = 8;
/// Records that are appended, then paged out.
const CHUNK: usize = 128 * PAGE;

/// A backlog that is paged out as it comes; then the log opens with it, and it is taken back.
fn run_pages(directory: &Path, bytes: usize, records: usize) {
    let log = open(directory, true);
    let (before, written) = (resident_bytes(), disk_bytes());
    let mut pages = Vec::new();
    let (mut appending, mut paging) = (Duration::ZERO, Duration::ZERO);
    for chunk in (0..records).step_by(CHUNK) {
        let start = Instant::now();
        let keys = append_records(&log, bytes, CHUNK.min(records - chunk));
        appending += start.elapsed();
        let start = Instant::now();
        for keys in keys.chunks(PAGE * DRAFTS) {
            page_out(&log, keys, &mut pages);
        }
        paging += start.elapsed();
        while log.clean_segments().expect("the disk works") {}
    }
    let rate = |elapsed: Duration| {
        let seconds = elapsed.as_secs_f64();
        format!(
            "{:.0} ms, {:.2} M records/s, {:.0} MB/s",
            seconds * 1e3,
            records as f64 / seconds / 1e6,
            (records * bytes) as f64 / seconds / 1e6
        )
    };
    println!(
        "append {records} records of {bytes} bytes: {}",
        rate(appending)
    );
    println!("page out: {}", rate(paging));
    println!(
        "written per byte paged out: {:.2}",
        (disk_bytes() - written) as f64 / (records * bytes) as f64
    );
    println!(
        "resident memory with the pages: {:.1} MB more",
        (resident_bytes() as f64 - before as f64) / 1e6
    );
    log.close().expect("the disk works");

    let start = Instant::now();
    let log = open(directory, false);
    println!(
        "open with {} pages: {:.0} ms, {:.1} MB of log",
        pages.len(),
        start.elapsed().as_secs_f64() * 1e3,
        log.replayed_bytes() as f64 / 1e6
    );
    let start = Instant::now();
    let mut batch = Batch::new();
    let mut taken = 0;
    for (n, page) in pages.iter().enumerate() {
        if let Some(next) = pages.get(n + 1) {
            log.will_need(*next);
        }
        log.page_in(*page, &mut |record| {
            taken += 1;
            batch.release(1, record.key.expect("all are records of the log"));
        })
        .expect("the disk works");
        log.append(&mut batch);
        if n % 64 == 0 {
            log.clean_segments().expect("the disk works");
        }
    }
    println!("page in and release: {}", rate(start.elapsed()));
    assert_eq!(taken, records);
    log.close().expect("the disk works");
}

fn append_records(log: &Log, bytes: usize, records: usize) -> Vec<u64> {
    let body = vec![7; bytes];
    let mut batch = Batch::new();
    let mut keys = Vec::new();
    let mut last = Lsn::default();
    while keys.len() < records {
        let count = BATCH.min(records - keys.len());
        for _ in 0..count {
            batch.put(&[1], &[&body]);
        }
        let appended = log.append(&mut batch);
        keys.extend(appended.first_key..appended.first_key + count as u64);
        last = appended.lsn;
    }
    log.wait(last).expect("the disk works");
    keys
}

fn page_out(log: &Log, keys: &[u64], pages: &mut Vec<PageId>) {
    let draft = |keys: &[u64]| {
        let record = |key: &u64| PageRecord::Stored {
            key: *key,
            note: *key,
        };
        let records: Vec<_> = keys.iter().map(record).collect();
        log.draft_page(1, b"", &records).expect("the disk works")
    };
    let drafts: Vec<_> = keys.chunks(PAGE).map(draft).collect();
    log.sync_drafts().expect("the disk works");
    pages.extend(drafts.into_iter().map(|draft| log.commit_page(draft)));
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// What this process has had written to the disk, bytes.
fn disk_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

fn open(directory: &Path, afresh: bool) -> Log {
    if afresh {
        let _ = std::fs::remove_dir_all(directory);
    }
    let disk = RealDisk::at(directory).expect("a directory");
    let mut bytes = 0;
    Log::open(Arc::new(disk), Options::default(), &mut |restored| {
        if let leveret_storage::Restored::Record { bytes: body, .. } = restored {
            bytes += body.len();
        }
    })
    .expect("the log opens")
}
