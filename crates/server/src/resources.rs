//! Watches memory and disk, and turns the alarms on that hold publishers back: before the machine is out of either.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use leveret_broker::alarm::Alarm;
use leveret_broker::broker::Broker;
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::config::Effective;
use crate::config::effective::Watermark;
use crate::disk_floor::DiskFloor;

/// How often to look. A publisher at full speed fills some hundred megabytes meanwhile.
const PERIOD: Duration = Duration::from_secs(1);

/// More than this for waiting messages makes nothing faster: a disk is read a page at a time.
const BACKLOG_BYTES_ENOUGH: u64 = 256 << 20;

/// Less free disk than this is an alarm.
enum DiskMin {
    /// Bytes.
    Configured(u64),
    Adaptive(DiskFloor),
}

impl DiskMin {
    fn look(&mut self, free: u64) -> u64 {
        match self {
            Self::Configured(bytes) => *bytes,
            Self::Adaptive(floor) => floor.look(free),
        }
    }
}

/// The alarms of a node, and what each depends on.
pub(crate) struct Resources {
    broker: Arc<Broker>,
    data_dir: PathBuf,
    /// More memory in use than this, bytes, is an alarm.
    memory_max: AtomicU64,
    disk_min: Mutex<DiskMin>,
    /// What the last look took for too little free disk, bytes.
    disk_min_seen: AtomicU64,
    memory_low: AtomicBool,
    disk_low: AtomicBool,
    /// Free disk is not looked at.
    disk_unwatched: AtomicBool,
    /// The log has no room, whatever the disk has.
    log_full: AtomicBool,
}

impl Resources {
    pub(crate) fn new(broker: Arc<Broker>, config: &Effective) -> Self {
        let this = Self {
            broker,
            data_dir: config.data_dir.clone(),
            memory_max: AtomicU64::default(),
            disk_min: Mutex::new(DiskMin::Configured(0)),
            disk_min_seen: AtomicU64::default(),
            memory_low: AtomicBool::new(false),
            disk_low: AtomicBool::new(false),
            disk_unwatched: AtomicBool::new(false),
            log_full: AtomicBool::new(false),
        };
        this.configure(config);
        this
    }

    /// Takes the watermarks of this configuration; the next look is by them.
    pub(crate) fn configure(&self, config: &Effective) {
        let total = memory_of(config);
        let memory_max = bytes(config.memory_high_watermark, total);
        self.memory_max.store(memory_max, Ordering::Relaxed);
        let mut disk_min = self.disk_min.lock();
        match (config.disk_free_limit, &*disk_min) {
            (Some(limit), _) => *disk_min = DiskMin::Configured(bytes(limit, total)),
            // What has been seen of the publishers' speed still counts.
            (None, DiskMin::Adaptive(_)) => {}
            (None, DiskMin::Configured(_)) => {
                *disk_min = DiskMin::Adaptive(DiskFloor::new(disk_size(&self.data_dir)));
            }
        }
    }

    /// More memory in use than this, bytes, is an alarm.
    pub(crate) fn memory_max(&self) -> u64 {
        self.memory_max.load(Ordering::Relaxed)
    }

    /// Less free disk than this, bytes, is an alarm.
    pub(crate) fn disk_min(&self) -> u64 {
        self.disk_min_seen.load(Ordering::Relaxed)
    }

    /// Bytes that are free where the data are.
    pub(crate) fn disk_free(&self) -> Option<u64> {
        free_disk(&self.data_dir)
    }

    /// Watches for as long as it is polled.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut period = interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            self.look(used_memory(), free_disk(&self.data_dir));
        }
    }

    /// Whether free disk is looked at, from the next look on.
    pub(crate) fn watch_disk(&self, on: bool) {
        self.disk_unwatched.store(!on, Ordering::Relaxed);
        info!(on, "monitoring of free disk space");
    }

    /// The log found no room for more, or found some again.
    pub(crate) fn set_log_full(&self, full: bool) {
        self.log_full.store(full, Ordering::Release);
        self.apply();
    }

    /// What cannot be told is no reason for an alarm.
    fn look(&self, memory_used: Option<u64>, disk_free: Option<u64>) {
        let memory_max = self.memory_max.load(Ordering::Relaxed);
        let memory_low = memory_used.is_some_and(|used| used > memory_max);
        if memory_low != self.memory_low.swap(memory_low, Ordering::AcqRel) {
            report("memory", memory_low, memory_used, memory_max);
        }
        let disk_free = disk_free.filter(|_| !self.disk_unwatched.load(Ordering::Relaxed));
        let disk_min = disk_free.map_or(0, |free| self.disk_min.lock().look(free));
        self.disk_min_seen.store(disk_min, Ordering::Relaxed);
        let disk_low = disk_free.is_some_and(|free| free < disk_min);
        if disk_low != self.disk_low.swap(disk_low, Ordering::AcqRel) {
            report("disk", disk_low, disk_free, disk_min);
        }
        self.apply();
    }

    fn apply(&self) {
        let is = |condition: &AtomicBool| condition.load(Ordering::Acquire);
        self.broker.set_alarm(Alarm::Memory, is(&self.memory_low));
        self.broker
            .set_alarm(Alarm::Disk, is(&self.disk_low) || is(&self.log_full));
    }
}

/// What watermarks are a part of. Without knowing how much there is, no part of it is too much.
fn memory_of(config: &Effective) -> u64 {
    let known = config.total_memory.or_else(total_memory);
    known.unwrap_or(u64::MAX)
}

/// What waiting messages may take in memory before they are paged out.
pub(crate) fn backlog_bytes_max(config: &Effective) -> u64 {
    let memory_max = bytes(config.memory_high_watermark, memory_of(config));
    match config.paging_ratio {
        Some(ratio) => (memory_max as f64 * ratio) as u64,
        None => (memory_max / 8).min(BACKLOG_BYTES_ENOUGH),
    }
}

fn report(resource: &str, low: bool, measured: Option<u64>, limit: u64) {
    if low {
        warn!(
            resource,
            ?measured,
            limit,
            "resource alarm, publishers are blocked"
        );
    } else {
        info!(resource, ?measured, limit, "resource alarm is over");
    }
}

/// Both kinds of watermark are relative to the memory, also the disk's: RabbitMQ has it so.
fn bytes(watermark: Watermark, total_memory: u64) -> u64 {
    match watermark {
        Watermark::Absolute(bytes) => bytes,
        Watermark::Relative(part) => (total_memory as f64 * part) as u64,
    }
}

/// What the process has in memory. Known on Linux only.
pub(crate) fn used_memory() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident_pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(resident_pages * rustix::param::page_size() as u64)
}

fn disk_size(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_blocks * found.f_frsize)
}

fn free_disk(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail * found.f_frsize)
}

/// The machine's memory, or less when the process is confined to a part of it.
pub(crate) fn total_memory() -> Option<u64> {
    let meminfo = read("/proc/meminfo")?;
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(confined_memory(&read).map_or(kib * 1024, |limit| limit.min(kib * 1024)))
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The least memory that any control group above the process allows, of either version.
fn confined_memory(read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let mut least = None;
    for line in read("/proc/self/cgroup")?.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        for ancestor in Path::new(group).ancestors() {
            let ancestor = ancestor.display().to_string();
            let path = format!("{root}{}/{file}", ancestor.trim_end_matches('/'));
            // `max` and files that are not there are no limit.
            let limit = read(&path).and_then(|text| text.trim().parse::<u64>().ok());
            least = least.into_iter().chain(limit).min();
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_messages_get_a_part_of_the_memory() {
        let check = |watermark, ratio, expected| {
            let config = Effective {
                memory_high_watermark: Watermark::Absolute(watermark),
                paging_ratio: ratio,
                ..Effective::default()
            };
            assert_eq!(backlog_bytes_max(&config), expected);
        };
        check(80 << 20, None, 10 << 20);
        check(80 << 30, None, 256 << 20);
        check(80 << 30, Some(0.5), 40 << 30);
    }

    #[test]
    fn watermarks() {
        assert_eq!(bytes(Watermark::Absolute(7), 1000), 7);
        assert_eq!(bytes(Watermark::Relative(0.6), 1000), 600);
        assert_eq!(bytes(Watermark::Relative(1.5), 1000), 1500);
    }

    #[test]
    fn the_least_limit_of_all_control_groups_counts() {
        let check = |files: &[(&str, &str)], expected| {
            let read = |path: &str| {
                let found = files.iter().find(|(name, _)| *name == path);
                found.map(|(_, text)| (*text).to_owned())
            };
            assert_eq!(confined_memory(&read), expected, "{files:?}");
        };
        check(&[], None);
        check(&[("/proc/self/cgroup", "0::/\n")], None);
        check(
            &[
                ("/proc/self/cgroup", "0::/\n"),
                ("/sys/fs/cgroup/memory.max", "4096\n"),
            ],
            Some(4096),
        );
        check(
            &[
                ("/proc/self/cgroup", "0::/a/b\n"),
                ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("/sys/fs/cgroup/a/memory.max", "2048\n"),
                ("/sys/fs/cgroup/memory.max", "4096\n"),
            ],
            Some(2048),
        );
        check(
            &[
                ("/proc/self/cgroup", "4:memory:/job\n1:cpu:/job\n0::/\n"),
                ("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1024\n"),
                (
                    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
            ],
            Some(1024),
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_can_be_measured() {
        let (used, total) = (used_memory().unwrap(), total_memory().unwrap());
        assert!(0 < used && used < total, "{used} of {total}");
        assert!(free_disk(&std::env::temp_dir()).is_some());
        assert_eq!(free_disk(Path::new("/nowhere")), None);
    }
}
