//! Resource alarms: while one is on, connections that publish are not read from.

use std::sync::atomic::{AtomicU8, Ordering};

/// What is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    Memory = 1,
    Disk = 2,
}

impl Alarm {
    /// Its name in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

/// The alarms that are on.
#[derive(Debug, Default)]
pub struct Alarms(AtomicU8);

impl Alarms {
    /// Turns an alarm on or off; `true` if it was not so before.
    pub(crate) fn set(&self, alarm: Alarm, on: bool) -> bool {
        let bit = alarm as u8;
        let before = if on {
            self.0.fetch_or(bit, Ordering::AcqRel)
        } else {
            self.0.fetch_and(!bit, Ordering::AcqRel)
        };
        (before & bit != 0) != on
    }

    /// Why publishers are blocked, in the words of `connection.blocked`; `None`: they are not.
    pub fn reason(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            1 => Some("low on memory"),
            2 => Some("low on disk"),
            _ => Some("low on memory & low on disk"),
        }
    }
}
