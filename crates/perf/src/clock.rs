//! Time as messages carry it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970, read from a clock that never steps back. Two processes of one machine agree on it, so that
/// one may consume what another published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
    origin_ns: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            origin: Instant::now(),
            origin_ns: since_1970.map_or(0, |since| since.as_nanos() as u64),
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.origin_ns + self.origin.elapsed().as_nanos() as u64
    }
}
