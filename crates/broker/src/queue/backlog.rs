//! The messages that wait, in the order they will leave.
//!
//! ```text
//! level 256   returned (quorum queues)   · · ·
//! level 9                                · · · · ·
//! level 4                                · · ·          <- only levels in use have a lane
//!                                        ^ head    ^ tail
//! ```
//!
//! The next message is the head of the highest lane. Every lane is sorted by sequence number, the order of arrival, so
//! a message that comes back finds its old place again: nearly always before the head or behind the tail, otherwise in
//! a small tree beside the lane, which costs O(log n).

use std::collections::BTreeMap;

use super::Counts;
use super::line::Line;
use crate::ids::MessageId;
use crate::message::Message;
use crate::time::Timestamp;

/// What the queue remembers of a message: 64 bytes, since a backlog has millions of them.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Message,
    /// Its place in the order of arrival; unique in the queue.
    pub(super) sequence: u64,
    pub(super) id: MessageId,
    pub(super) expiry: Expiry,
    pub(super) priority: u8,
    pub(super) marks: Marks,
}

const _: () = assert!(size_of::<Entry>() <= 64);

impl Entry {
    pub(super) fn bytes(&self) -> u64 {
        self.message.body().len() as u64
    }
}

/// When a message expires, in 48 bits: milliseconds since the epoch, enough for 8900 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expiry([u8; 6]);

impl Expiry {
    pub(super) const NEVER: Self = Self([0xff; 6]);

    pub(super) fn at(time: Timestamp) -> Self {
        let bytes = time.0.to_be_bytes();
        match bytes {
            [0, 0, rest @ ..] => Self(rest),
            _ => Self::NEVER,
        }
    }

    /// The far end of time for a message that does not expire.
    pub(super) fn time(self) -> Timestamp {
        if self == Self::NEVER {
            return Timestamp(u64::MAX);
        }
        let [a, b, c, d, e, f] = self.0;
        Timestamp(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

/// Yes-or-no facts about a message, in one byte.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks(u8);

impl Marks {
    const REDELIVERED: u8 = 1;
    const PERSISTENT: u8 = 2;

    pub(super) fn new(redelivered: bool, persistent: bool) -> Self {
        let bit = |yes, bit| if yes { bit } else { 0 };
        Self(bit(redelivered, Self::REDELIVERED) | bit(persistent, Self::PERSISTENT))
    }

    pub(super) fn redelivered(self) -> bool {
        self.0 & Self::REDELIVERED != 0
    }

    pub(super) fn persistent(self) -> bool {
        self.0 & Self::PERSISTENT != 0
    }

    pub(super) fn set_redelivered(&mut self) {
        self.0 |= Self::REDELIVERED;
    }
}

/// An entry outside the backlog. In it, the counts of the few messages that have any lie apart.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) entry: Entry,
    pub(super) counts: Counts,
}

/// The waiting messages. See the module's page.
#[derive(Debug)]
pub(super) struct Backlog {
    /// The lanes with at least one message, highest level first.
    lanes: Vec<Lane>,
    /// Lanes that ran empty, kept so that a queue that hovers around empty does not allocate.
    spare: Vec<Lane>,
    /// Counts by sequence number.
    counts: BTreeMap<u64, Counts>,
    /// Nothing at the head of a lane expires before this. It may be early, never late.
    next_expiry: Timestamp,
    length: u64,
    bytes: u64,
}

/// Above every priority: what comes back in a quorum queue goes first.
const RETURNED: u16 = 256;

const NEVER: Timestamp = Timestamp(u64::MAX);

impl Backlog {
    pub(super) const fn new() -> Self {
        Self {
            lanes: Vec::new(),
            spare: Vec::new(),
            counts: BTreeMap::new(),
            next_expiry: NEVER,
            length: 0,
            bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.length
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the next head expires, or earlier.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        (self.next_expiry != NEVER).then_some(self.next_expiry)
    }

    /// Puts an entry into the lane of its priority, at the place its sequence number says.
    pub(super) fn insert(&mut self, taken: Taken) {
        let level = u16::from(taken.entry.priority);
        self.insert_at(level, taken);
    }

    /// Puts an entry behind those that came back before it, ahead of all others. Its sequence number must be new.
    pub(super) fn insert_returned(&mut self, taken: Taken) {
        self.insert_at(RETURNED, taken);
    }

    fn insert_at(&mut self, level: u16, Taken { entry, counts }: Taken) {
        self.length += 1;
        self.bytes += entry.bytes();
        if counts != Counts::default() {
            self.counts.insert(entry.sequence, counts);
        }
        let soon = entry.expiry.time() < self.next_expiry;
        let lane = self.lane(level);
        lane.insert(entry);
        // It matters only if it has become the head.
        if soon {
            let head = lane.head_expiry();
            self.next_expiry = self.next_expiry.min(head);
        }
    }

    /// Takes the next message.
    pub(super) fn pop(&mut self) -> Option<Taken> {
        (!self.lanes.is_empty()).then(|| self.pop_from(0))
    }

    /// Takes a message that has expired from the head of any lane.
    pub(super) fn pop_expired(&mut self, now: Timestamp) -> Option<Taken> {
        if now < self.next_expiry {
            return None;
        }
        let expired = self.lanes.iter().position(|lane| lane.head_expiry() <= now);
        if expired.is_none() {
            let heads = self.lanes.iter().map(Lane::head_expiry);
            self.next_expiry = heads.min().unwrap_or(NEVER);
        }
        expired.map(|at| self.pop_from(at))
    }

    fn pop_from(&mut self, at: usize) -> Taken {
        let lane = &mut self.lanes[at];
        let entry = lane.pop().expect("every lane in the list has a message");
        if lane.is_empty() {
            let lane = self.lanes.remove(at);
            self.spare.push(lane);
        } else {
            self.next_expiry = self.next_expiry.min(lane.head_expiry());
        }
        self.length -= 1;
        self.bytes -= entry.bytes();
        let counts = if self.counts.is_empty() {
            Counts::default()
        } else {
            self.counts.remove(&entry.sequence).unwrap_or_default()
        };
        if self.lanes.is_empty() {
            self.next_expiry = NEVER;
        }
        Taken { entry, counts }
    }

    /// The lane of a level, which the caller must not leave empty.
    fn lane(&mut self, level: u16) -> &mut Lane {
        let at = self.lanes.partition_point(|lane| lane.level > level);
        if self.lanes.get(at).is_none_or(|lane| lane.level != level) {
            let mut lane = self.spare.pop().unwrap_or_default();
            lane.level = level;
            self.lanes.insert(at, lane);
        }
        &mut self.lanes[at]
    }
}

/// The messages of one level.
#[derive(Debug, Default)]
struct Lane {
    level: u16,
    /// Ascending by sequence number.
    line: Line<Entry>,
    /// Those that came back into the middle of the line.
    between: BTreeMap<u64, Entry>,
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.line.is_empty() && self.between.is_empty()
    }

    fn insert(&mut self, entry: Entry) {
        let sequence = entry.sequence;
        if self.line.back().is_none_or(|last| last.sequence < sequence) {
            self.line.push_back(entry);
        } else if self
            .line
            .front()
            .is_some_and(|first| sequence < first.sequence)
        {
            self.line.push_front(entry);
        } else {
            self.between.insert(sequence, entry);
        }
    }

    /// Whether the head is one of those that came back into the middle.
    fn head_is_between(&self) -> bool {
        match (self.line.front(), self.between.first_key_value()) {
            (Some(first), Some((&sequence, _))) => sequence < first.sequence,
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    fn head_expiry(&self) -> Timestamp {
        let head = if self.head_is_between() {
            self.between.first_key_value().map(|(_, entry)| entry)
        } else {
            self.line.front()
        };
        head.map_or(NEVER, |entry| entry.expiry.time())
    }

    fn pop(&mut self) -> Option<Entry> {
        if self.head_is_between() {
            return self.between.pop_first().map(|(_, entry)| entry);
        }
        self.line.pop_front()
    }
}
