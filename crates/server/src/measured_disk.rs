//! The disk of the log, with what its operations come to: how many, how large, how long. The log itself has no clock.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use leveret_management::{DiskFigures, DiskOperations};
use leveret_storage::{Disk, DiskFile, RealDisk};

/// See the module's page.
pub(crate) struct MeasuredDisk {
    disk: RealDisk,
    meter: Arc<Meter>,
}

/// What was measured since the node started.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    reads: Tally,
    writes: Tally,
    syncs: Tally,
}

/// Operations of one kind.
#[derive(Debug, Default)]
struct Tally {
    count: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Meter {
    pub(crate) fn figures(&self) -> DiskFigures {
        DiskFigures {
            reads: self.reads.read(),
            writes: self.writes.read(),
            syncs: self.syncs.read(),
        }
    }
}

impl Tally {
    fn measure<T>(&self, bytes: usize, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let start = Instant::now();
        let done = operation()?;
        let elapsed = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.nanoseconds.fetch_add(elapsed, Ordering::Relaxed);
        Ok(done)
    }

    fn read(&self) -> DiskOperations {
        DiskOperations {
            count: self.count.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            seconds: self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }
}

impl MeasuredDisk {
    pub(crate) fn new(disk: RealDisk, meter: Arc<Meter>) -> Self {
        Self { disk, meter }
    }

    fn measured(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let meter = Arc::clone(&self.meter);
        Arc::new(MeasuredFile { file, meter })
    }
}

impl Disk for MeasuredDisk {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.measured(self.disk.open(name)?))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.measured(self.disk.create(name, len)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.meter.syncs.measure(0, || self.disk.sync_names())
    }

    fn salt(&self) -> io::Result<u64> {
        self.disk.salt()
    }

    fn describe(&self) -> String {
        self.disk.describe()
    }
}

struct MeasuredFile {
    file: Arc<dyn DiskFile>,
    meter: Arc<Meter>,
}

impl DiskFile for MeasuredFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = into.len();
        let read = || self.file.read_at(into, offset);
        self.meter.reads.measure(bytes, read)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        let write = || self.file.write_at(parts, offset);
        self.meter.writes.measure(bytes, write)
    }

    fn sync(&self) -> io::Result<()> {
        self.meter.syncs.measure(0, || self.file.sync())
    }

    fn will_need(&self, offset: u64, len: u64) {
        self.file.will_need(offset, len);
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
}
