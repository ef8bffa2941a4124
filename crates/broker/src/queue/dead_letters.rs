//! Dead letters that the queue keeps until every target has them (`x-dead-letter-strategy: at-least-once`).
//!
//! ```text
//!             ┌───────────── retry, after a while ─────────────┐
//!             v                                                │
//! dead ──> waiting ──> outstanding (effect sent) ──> answer: failed
//!                            └─────────────────────> answer: done, released
//! ```

use std::collections::VecDeque;

use super::backlog::Entry;
use super::slab::Slab;
use super::{Effect, Reason};
use crate::ids::DeliveryId;
use crate::time::Timestamp;

/// Most dead letters on their way at a time, those to be tried again included: RabbitMQ's prefetch.
const OUTSTANDING_MAX: usize = 32;

/// How long a dead letter that did not reach every target waits for its next try.
const RETRY_MS: u64 = 1000;

#[derive(Debug)]
pub(super) struct DeadLetters {
    waiting: VecDeque<Dead>,
    outstanding: Slab<Dead>,
    failed: Vec<Dead>,
    retry_at: Option<Timestamp>,
    bytes: u64,
}

/// A message and why it is dead.
pub(super) type Dead = (Entry, Reason);

impl Default for DeadLetters {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            outstanding: Slab::new(),
            failed: Vec::new(),
            retry_at: None,
            bytes: 0,
        }
    }
}

impl DeadLetters {
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.outstanding.len() + self.failed.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn retry_at(&self) -> Option<Timestamp> {
        self.retry_at
    }

    pub(super) fn push(&mut self, dead: Dead, effects: &mut Vec<Effect>) {
        self.bytes += dead.0.bytes();
        self.waiting.push_back(dead);
        self.send(effects);
    }

    /// Every target has it: it may go, and another can be [sent](Self::send).
    pub(super) fn done(&mut self, id: DeliveryId) -> Option<Entry> {
        let (entry, _) = self.outstanding.remove(id)?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    /// Some target does not have it.
    pub(super) fn failed(&mut self, now: Timestamp, id: DeliveryId) {
        if let Some(dead) = self.outstanding.remove(id) {
            self.failed.push(dead);
            self.retry_at = self.retry_at.or_else(|| Some(now.plus_ms(RETRY_MS)));
        }
    }

    /// Tries the failed ones again when it is time.
    pub(super) fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            for dead in self.failed.drain(..).rev() {
                self.waiting.push_front(dead);
            }
            self.send(effects);
        }
    }

    /// Takes everything that is not on its way, because the queue no longer keeps its dead letters.
    pub(super) fn take_unsent(&mut self) -> Vec<Dead> {
        let mut unsent = std::mem::take(&mut self.failed);
        unsent.extend(self.waiting.drain(..));
        self.bytes -= unsent.iter().map(|(entry, _)| entry.bytes()).sum::<u64>();
        self.retry_at = None;
        unsent
    }

    /// Takes everything; answers that still come find nothing.
    pub(super) fn take_all(&mut self) -> Vec<Dead> {
        let ids: Vec<_> = self.outstanding.iter().map(|(id, _)| id).collect();
        let mut all: Vec<_> = ids
            .into_iter()
            .filter_map(|id| self.outstanding.remove(id))
            .collect();
        all.append(&mut self.take_unsent());
        self.bytes = 0;
        all
    }

    /// Sends as many as may be on their way.
    pub(super) fn send(&mut self, effects: &mut Vec<Effect>) {
        while self.outstanding.len() + self.failed.len() < OUTSTANDING_MAX
            && let Some((entry, reason)) = self.waiting.pop_front()
        {
            let message = entry.message.clone();
            let id = self.outstanding.insert((entry, reason));
            effects.push(Effect::DeadLetter(message, reason, Some(id)));
        }
    }
}
