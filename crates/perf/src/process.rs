//! What a process has used: CPU time and memory, from `/proc`. Nothing on systems without it.

use std::fs;

/// CPU seconds so far; counted in hundredths by most kernels.
pub(crate) fn cpu_seconds(pids: &[u32]) -> f64 {
    let ticks: u64 = pids
        .iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok())
        .filter_map(|stat| ticks(&stat))
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// User and system time. The name of the program stands before them and may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<u64>().ok();
    Some(field()? + field()?)
}

/// Memory in MiB.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Memory {
    pub(crate) now: f64,
    /// Since [`forget_peak`].
    pub(crate) peak: f64,
}

pub(crate) fn memory(pids: &[u32]) -> Memory {
    let statuses = pids
        .iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
    statuses.fold(Memory::default(), |sum, status| Memory {
        now: sum.now + mib(&status, "VmRSS:"),
        peak: sum.peak + mib(&status, "VmHWM:"),
    })
}

fn mib(status: &str, figure: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(figure));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Lets the peak start anew, where we may.
pub(crate) fn forget_peak(pids: &[u32]) {
    for pid in pids {
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_is_skipped() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 120 34 0 0 20 0";
        assert_eq!(ticks(stat), Some(154));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn memory_is_read() {
        let status = "Name:\ta\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!((mib(status, "VmHWM:"), mib(status, "VmRSS:")), (4.0, 2.0));
        assert_eq!(mib("", "VmRSS:"), 0.0);
    }
}
