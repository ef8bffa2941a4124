//! What publishers and consumers count, and how the thread that reports gets at it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;

/// Nanoseconds, to three digits, up to an hour.
pub(crate) type Times = Histogram<u64>;

pub(crate) fn times() -> Times {
    Times::new_with_bounds(1, 3_600_000_000_000, 3).expect("these bounds are sound")
}

/// Counts of one thread. Only that thread adds, so that no addition waits for another core; a cache line is its own.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) published: AtomicU64,
    pub(crate) confirmed: AtomicU64,
    pub(crate) nacked: AtomicU64,
    pub(crate) returned: AtomicU64,
    pub(crate) blocked: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) received_octets: AtomicU64,
    pub(crate) redelivered: AtomicU64,
    pub(crate) out_of_order: AtomicU64,
    /// Publishers that are done, their last message accepted by the broker.
    pub(crate) publishers_done: AtomicU64,
    /// Consumers that have all they wanted.
    pub(crate) consumers_done: AtomicU64,
    /// When the last publisher was done, and the last message arrived.
    pub(crate) last_published_at: AtomicU64,
    pub(crate) last_received_at: AtomicU64,
}

/// Adds to a counter that no other thread writes.
#[inline]
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// The counts of all threads at one time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) published: u64,
    pub(crate) confirmed: u64,
    pub(crate) nacked: u64,
    pub(crate) returned: u64,
    pub(crate) blocked: u64,
    pub(crate) received: u64,
    pub(crate) received_octets: u64,
    pub(crate) redelivered: u64,
    pub(crate) out_of_order: u64,
    pub(crate) publishers_done: u64,
    pub(crate) consumers_done: u64,
    pub(crate) last_published_at: u64,
    pub(crate) last_received_at: u64,
}

impl Counts {
    pub(crate) fn of(all: &[Shared]) -> Self {
        all.iter().fold(Self::default(), |sum, shared| {
            let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let of = &shared.counters;
            Self {
                published: sum.published + get(&of.published),
                confirmed: sum.confirmed + get(&of.confirmed),
                nacked: sum.nacked + get(&of.nacked),
                returned: sum.returned + get(&of.returned),
                blocked: sum.blocked + get(&of.blocked),
                received: sum.received + get(&of.received),
                received_octets: sum.received_octets + get(&of.received_octets),
                redelivered: sum.redelivered + get(&of.redelivered),
                out_of_order: sum.out_of_order + get(&of.out_of_order),
                publishers_done: sum.publishers_done + get(&of.publishers_done),
                consumers_done: sum.consumers_done + get(&of.consumers_done),
                last_published_at: sum.last_published_at.max(get(&of.last_published_at)),
                last_received_at: sum.last_received_at.max(get(&of.last_received_at)),
            }
        })
    }
}

/// How long things took since they were last looked at.
pub(crate) struct Latencies {
    /// From publish to delivery.
    pub(crate) delivery: Times,
    /// From publish to confirm.
    pub(crate) confirm: Times,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self {
            delivery: times(),
            confirm: times(),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let same = "all histograms have the same bounds";
        self.delivery.add(&other.delivery).expect(same);
        self.confirm.add(&other.confirm).expect(same);
    }

    fn reset(&mut self) {
        self.delivery.reset();
        self.confirm.reset();
    }
}

/// What one thread shares with the one that reports.
pub(crate) struct Shared {
    pub(crate) counters: Counters,
    latencies: Mutex<Latencies>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            counters: Counters::default(),
            latencies: Mutex::new(Latencies::new()),
        }
    }

    /// For one read's worth of records. The lock is taken by others once a second.
    #[inline]
    pub(crate) fn latencies(&self) -> MutexGuard<'_, Latencies> {
        self.latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what was recorded since the last time into `sum`.
    pub(crate) fn take_latencies(&self, sum: &mut Latencies) {
        let mut latencies = self.latencies();
        sum.add(&latencies);
        latencies.reset();
    }
}

/// Records times of which neighbours are often equal, since messages that were written together were stamped together.
pub(crate) struct Recorder<'a> {
    times: &'a mut Times,
    time: u64,
    count: u64,
}

impl<'a> Recorder<'a> {
    #[inline]
    pub(crate) fn new(times: &'a mut Times) -> Self {
        Self {
            times,
            time: 0,
            count: 0,
        }
    }

    #[inline]
    pub(crate) fn record(&mut self, time: u64) {
        if time != self.time {
            self.flush();
            self.time = time;
        }
        self.count += 1;
    }

    fn flush(&mut self) {
        if self.count > 0 {
            self.times.saturating_record_n(self.time, self.count);
            self.count = 0;
        }
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_equal_times_are_all_recorded() {
        let mut times = times();
        let mut recorder = Recorder::new(&mut times);
        for time in [7, 7, 9, 7, 1 << 60] {
            recorder.record(time);
        }
        drop(recorder);
        assert_eq!(times.len(), 5);
        assert_eq!((times.count_at(7), times.count_at(9)), (3, 1));
        assert!(times.max() >= times.high());
    }

    #[test]
    fn latencies_are_taken_once() {
        let shared = Shared::new();
        shared.latencies().delivery.saturating_record(5);
        let mut sum = Latencies::new();
        shared.take_latencies(&mut sum);
        shared.take_latencies(&mut sum);
        assert_eq!(sum.delivery.len(), 1);
    }

    #[test]
    fn threads_add_up() {
        let all = [Shared::new(), Shared::new()];
        for (n, shared) in (1..).zip(&all) {
            add(&shared.counters.published, 10 * n);
            add(&shared.counters.published, 1);
            shared
                .counters
                .last_received_at
                .store(100 / n, Ordering::Relaxed);
        }
        let counts = Counts::of(&all);
        assert_eq!((counts.published, counts.last_received_at), (32, 100));
    }
}
