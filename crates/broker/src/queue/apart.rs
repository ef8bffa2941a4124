//! Messages that are in the queue but not in its backlog, and not in a client's hands: those that came back and wait for
//! their next try, and those that are dead and kept until their targets have them. Few queues ever have any.

use std::collections::BTreeMap;

use super::backlog::Taken;
use super::dead_letters::DeadLetters;
use crate::time::Timestamp;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Apart {
    /// Those that came back, by the time of their next try and then by their sequence number.
    delayed: BTreeMap<(Timestamp, u64), Taken>,
    delayed_bytes: u64,
    pub(super) dead_letters: DeadLetters,
}

impl Apart {
    pub(super) fn delayed(&self) -> usize {
        self.delayed.len()
    }

    /// How many they are, of both kinds.
    pub(super) fn len(&self) -> u64 {
        (self.delayed.len() + self.dead_letters.len()) as u64
    }

    /// Bytes of their bodies.
    pub(super) fn bytes(&self) -> u64 {
        self.delayed_bytes + self.dead_letters.bytes()
    }

    /// When one of them is to be looked at.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let delayed = self.delayed.first_key_value().map(|(&(due, _), _)| due);
        let retry = self.dead_letters.retry_at();
        delayed.into_iter().chain(retry).min()
    }

    pub(super) fn delay(&mut self, due: Timestamp, taken: Taken) {
        self.delayed_bytes += taken.entry.bytes();
        self.delayed.insert((due, taken.entry.sequence), taken);
    }

    /// Takes the next whose delay is over.
    pub(super) fn take_delayed(&mut self, due: Timestamp) -> Option<Taken> {
        let first = self.delayed.first_entry();
        let first = first.filter(|first| first.key().0 <= due)?;
        let taken = first.remove();
        self.delayed_bytes -= taken.entry.bytes();
        Some(taken)
    }
}
