//! The node's clock, read here and handed down as a value.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use leveret_broker::time::Timestamp;

/// Wall-clock time as it was when the node started, carried on by the monotonic clock: it never goes backwards, and
/// timers do not fire when somebody sets the machine's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    start_ms: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            start: Instant::now(),
            start_ms: since_epoch.as_millis() as u64,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.start_ms + self.start.elapsed().as_millis() as u64)
    }

    /// The first instant at which [`Self::now`] gives `time` or later; no later than a year from the start.
    pub(crate) fn instant(&self, time: Timestamp) -> Instant {
        const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;
        let ms = time.0.saturating_sub(self.start_ms).min(YEAR_MS);
        self.start + Duration::from_millis(ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_timestamps_agree() {
        let clock = Clock::start();
        let now = clock.now();
        assert!(clock.instant(now) <= Instant::now());
        assert_eq!(
            clock.instant(now.plus_ms(5)) - clock.instant(now),
            Duration::from_millis(5)
        );
        assert!(clock.instant(Timestamp(u64::MAX)) > Instant::now());
        assert_eq!(clock.instant(Timestamp(0)), clock.start);
    }
}
