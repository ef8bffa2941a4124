//! When queues want to be looked at: one entry per queue, never one per message.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::live_queue::LiveQueue;
use crate::time::Timestamp;

/// See the module's page.
#[derive(Debug, Default)]
pub struct Timers {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    heap: BinaryHeap<Reverse<Entry>>,
    /// Whoever sleeps until the earliest entry.
    waker: Option<Waker>,
    /// An entry came that is earlier than the sleeper knows.
    earlier: bool,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    queue: Arc<LiveQueue>,
}

impl Timers {
    pub(crate) fn add(&self, at: Timestamp, queue: Arc<LiveQueue>) {
        let mut inner = self.inner.lock();
        let earliest = inner.heap.peek().is_none_or(|Reverse(first)| at < first.at);
        inner.heap.push(Reverse(Entry { at, queue }));
        if earliest {
            inner.earlier = true;
            if let Some(waker) = inner.waker.take() {
                waker.wake();
            }
        }
    }

    /// Ready when an entry has come that is earlier than all before it, since this was last ready.
    pub fn poll_earlier(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if std::mem::take(&mut inner.earlier) {
            return Poll::Ready(());
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// The time of the earliest entry.
    pub fn next(&self) -> Option<Timestamp> {
        self.inner.lock().heap.peek().map(|Reverse(first)| first.at)
    }

    pub(crate) fn due(&self, now: Timestamp) -> Vec<Arc<LiveQueue>> {
        let mut inner = self.inner.lock();
        let mut due = Vec::new();
        while inner
            .heap
            .peek()
            .is_some_and(|Reverse(first)| first.at <= now)
        {
            due.extend(inner.heap.pop().map(|Reverse(entry)| entry.queue));
        }
        due
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.queue.id).cmp(&(other.at, other.queue.id))
    }
}
