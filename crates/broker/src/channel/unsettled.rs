//! Deliveries that the client has not settled, by delivery tag.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ids::DeliveryId;
use crate::live_queue::LiveQueue;
use crate::queue::Return;

/// How a client settles deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Done with.
    Acknowledge,
    /// Refused for good: dead-lettered or dropped.
    Discard,
    /// Back to the queue.
    Return(Return),
}

/// Tags ascend, so a deque in their order serves: single settles from the front, which is nearly all, take the first
/// entry; others leave a gap that is closed when the entries before it have gone, or when gaps are the majority.
#[derive(Debug, Default)]
pub struct Unsettled {
    last_tag: u64,
    entries: VecDeque<Slot>,
    /// Slots that are not gaps.
    held: usize,
}

#[derive(Debug)]
struct Slot {
    tag: u64,
    entry: Option<Entry>,
}

/// Who asked for a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Consumer,
    /// `basic.get`.
    Get,
}

/// One delivery.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) tag: u64,
    pub(crate) queue: Arc<LiveQueue>,
    pub(crate) id: DeliveryId,
    /// It went to a consumer, and so counts against the channel's limit.
    pub(crate) consumed: bool,
}

impl Unsettled {
    /// A delivery that must be settled; gives its tag.
    pub(crate) fn add(&mut self, queue: Arc<LiveQueue>, id: DeliveryId, to: To) -> u64 {
        let tag = self.skip();
        self.entries.push_back(Slot {
            tag,
            entry: Some(Entry {
                tag,
                queue,
                id,
                consumed: to == To::Consumer,
            }),
        });
        self.held += 1;
        tag
    }

    /// A delivery that need not be settled; gives its tag.
    pub(crate) fn skip(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held
    }

    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes the delivery with this tag, or all up to it (tag 0: all there are). `false`: it is not known.
    pub(crate) fn take(&mut self, tag: u64, multiple: bool, into: &mut Vec<Entry>) -> bool {
        if multiple {
            return self.take_up_to(tag, into);
        }
        // Nearly always the first, which is no gap.
        let is_first = self.entries.front().is_some_and(|first| first.tag == tag);
        let taken = if is_first {
            self.entries.pop_front().and_then(|first| first.entry)
        } else {
            let found = self.entries.binary_search_by_key(&tag, |slot| slot.tag);
            found.ok().and_then(|at| self.entries[at].entry.take())
        };
        let Some(entry) = taken else {
            return false;
        };
        into.push(entry);
        self.held -= 1;
        self.close_gaps();
        true
    }

    pub(crate) fn take_all(&mut self, into: &mut Vec<Entry>) {
        into.extend(self.entries.drain(..).filter_map(|slot| slot.entry));
        self.held = 0;
    }

    /// A transaction that took these is rolled back.
    pub(crate) fn put_back(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.held += 1;
            let tag = entry.tag;
            match self.entries.binary_search_by_key(&tag, |slot| slot.tag) {
                Ok(at) => self.entries[at].entry = Some(entry),
                Err(at) => self.entries.insert(
                    at,
                    Slot {
                        tag,
                        entry: Some(entry),
                    },
                ),
            }
        }
    }

    fn take_up_to(&mut self, tag: u64, into: &mut Vec<Entry>) -> bool {
        if tag == 0 {
            self.take_all(into);
            return true;
        }
        let end = match self.entries.binary_search_by_key(&tag, |slot| slot.tag) {
            Ok(at) if self.entries[at].entry.is_some() => at + 1,
            _ => return false,
        };
        let before = into.len();
        into.extend(self.entries.drain(..end).filter_map(|slot| slot.entry));
        self.held -= into.len() - before;
        self.close_gaps();
        true
    }

    #[inline]
    fn close_gaps(&mut self) {
        while self
            .entries
            .front()
            .is_some_and(|slot| slot.entry.is_none())
        {
            self.entries.pop_front();
        }
        if self.entries.len() > 64 && self.held < self.entries.len() / 2 {
            self.entries.retain(|slot| slot.entry.is_some());
        }
    }
}
