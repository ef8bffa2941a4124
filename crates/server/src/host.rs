//! What the process and its machine are like just now, for those who ask. What cannot be told is 0.

use std::sync::Arc;
use std::thread;

use leveret_management::Host;
use rustix::process::{Resource, getrlimit};

use crate::measured_disk::Meter;
use crate::resources::{Resources, total_memory, used_memory};

/// A look at the machine, whenever it is called.
pub(crate) fn facts_of(
    resources: Arc<Resources>,
    meter: Arc<Meter>,
) -> Box<dyn Fn() -> Host + Send + Sync> {
    Box::new(move || Host {
        disk: meter.figures(),
        os_pid: std::process::id(),
        processors: thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        memory_used: used_memory().unwrap_or_default(),
        memory_total: total_memory().unwrap_or_default(),
        memory_limit: resources.memory_max(),
        disk_free: resources.disk_free().unwrap_or_default(),
        disk_free_limit: resources.disk_min(),
        files_open: open_files(),
        files_max: getrlimit(Resource::Nofile).current.unwrap_or_default(),
        context_switches: status("voluntary_ctxt_switches:"),
        threads: status("Threads:"),
    })
}

fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64)
}

/// A figure of `/proc/self/status`.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().parse().ok())
        .unwrap_or_default()
}
