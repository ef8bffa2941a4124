//! What the process and its machine are like just now, for those who ask. What cannot be told is 0.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use leveret_management::{AddressFacts, Host, InterfaceFacts, ThreadFacts};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use rustix::param::clock_ticks_per_second;
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
    fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64)
}

/// A figure of `/proc/self/status`.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().parse().ok())
        .unwrap_or_default()
}

/// Names of the flags of an interface that Erlang has names for.
const FLAGS: [(InterfaceFlags, &str); 6] = [
    (InterfaceFlags::IFF_UP, "up"),
    (InterfaceFlags::IFF_BROADCAST, "broadcast"),
    (InterfaceFlags::IFF_LOOPBACK, "loopback"),
    (InterfaceFlags::IFF_POINTOPOINT, "pointtopoint"),
    (InterfaceFlags::IFF_RUNNING, "running"),
    (InterfaceFlags::IFF_MULTICAST, "multicast"),
];

/// The network interfaces, by name.
pub(crate) fn interfaces() -> Vec<InterfaceFacts> {
    let mut all: BTreeMap<String, InterfaceFacts> = BTreeMap::new();
    for entry in getifaddrs().into_iter().flatten() {
        let interface = all.entry(entry.interface_name.clone()).or_default();
        interface.name.clone_from(&entry.interface_name);
        let flags = FLAGS.iter().filter(|(flag, _)| entry.flags.contains(*flag));
        interface.flags = flags.map(|(_, name)| *name).collect();
        let link = entry
            .address
            .as_ref()
            .and_then(|it| it.as_link_addr()?.addr());
        if let Some(octets) = link {
            interface.hardware_address = Some(octets.map(|it| format!("{it:02x}")).join(":"));
        }
        interface.addresses.extend(address(&entry));
    }
    all.into_values().collect()
}

fn address(entry: &InterfaceAddress) -> Option<AddressFacts> {
    let ip = |address: &Option<SockaddrStorage>| address.as_ref().and_then(ip);
    Some(AddressFacts {
        address: ip(&entry.address)?,
        netmask: ip(&entry.netmask),
        broadcast: ip(&entry.broadcast),
    })
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let four = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
    four.or_else(|| Some(IpAddr::V6(address.as_sockaddr_in6()?.ip())))
}

/// The threads of this process.
pub(crate) fn threads() -> Vec<ThreadFacts> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let mut all: Vec<_> = tasks
        .flatten()
        .filter_map(|it| thread_at(&it.path()))
        .collect();
    all.sort_by_key(|thread| thread.id);
    all
}

/// A thread by its folder in `/proc`; nothing if it has ended meanwhile.
fn thread_at(folder: &Path) -> Option<ThreadFacts> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    thread_of(&stat, clock_ticks_per_second())
}

/// Number, name in parentheses, then fields of which the 12th and 13th are ticks of the clock. (proc(5), `stat`.)
fn thread_of(stat: &str, ticks_per_second: u64) -> Option<ThreadFacts> {
    let (id, rest) = stat.split_once(" (")?;
    let (name, fields) = rest.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11);
    let mut next_ms = || Some(times.next()?.parse::<u64>().ok()? * 1000 / ticks_per_second);
    Some(ThreadFacts {
        id: id.parse().ok()?,
        name: name.to_owned(),
        user_ms: next_ms()?,
        system_ms: next_ms()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_looked_at() {
        let loopback = interfaces()
            .into_iter()
            .find(|it| it.flags.contains(&"loopback"));
        let loopback = loopback.expect("every machine can talk to itself");
        let has_address = |it: &AddressFacts| it.address.is_loopback() && it.netmask.is_some();
        assert!(loopback.addresses.iter().any(has_address), "{loopback:?}");
        let own_id = u64::from(std::process::id());
        assert!(threads().iter().any(|thread| thread.id == own_id));
    }

    #[test]
    fn threads_have_names_and_times() {
        let check = |stat: &str, expected: Option<(u64, &str, u64, u64)>| {
            let thread = thread_of(stat, 100);
            let told = thread
                .as_ref()
                .map(|it| (it.id, it.name.as_str(), it.user_ms, it.system_ms));
            assert_eq!(told, expected, "{stat}");
        };
        check(
            "42 (io (1)) S 1 2 3 0 -1 4194560 10 0 0 0 25 7 0 0 20 0 9 0",
            Some((42, "io (1)", 250, 70)),
        );
        check("42 (io) S 1", None);
        check("", None);
    }
}
