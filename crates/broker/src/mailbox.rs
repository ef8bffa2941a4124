//! What the node has for one connection: deliveries, cancellations, notices. Queues put events in, whoever drives the
//! connection takes them out and is woken once however many there are.
//!
//! The mailbox is bounded by what it weighs. A queue that finds it full pauses the consumer and leaves a note; when the
//! connection has caught up it resumes the consumers of the notes. A client that never reads so costs the node at most
//! [`FULL_BYTES`] and one read buffer's worth of deliveries.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::authority::{Identity, Refused};
use crate::ids::ConsumerId;
use crate::live_queue::LiveQueue;
use crate::queue::Delivery;
use crate::time::Timestamp;

/// A mailbox that weighs more takes no more deliveries from a queue's backlog.
pub const FULL_BYTES: usize = 512 * 1024;
/// A full mailbox takes deliveries again when it weighs less.
const ROOM_BYTES: usize = FULL_BYTES / 2;
/// What a delivery weighs besides its body.
const DELIVERY_BYTES: usize = 128;
/// Events that weigh less on average are small.
const SMALL_BYTES: usize = 4096;

/// Something for a connection to do.
#[derive(Debug)]
pub enum Event {
    /// A message for one of its consumers.
    Deliver {
        channel: u16,
        consumer: ConsumerKey,
        delivery: Delivery,
    },
    /// A consumer was detached by the broker.
    Cancelled {
        channel: u16,
        consumer: ConsumerKey,
        why: CancelReason,
    },
    /// Who the client is that wanted to log in; `None`: it is not let in.
    LoggedIn(Option<Identity>),
    /// What became of the client's new secret (C16).
    SecretRenewed(Result<Option<Timestamp>, Refused>),
    /// The connection must be closed, with this reason.
    Close(Arc<str>),
}

/// A consumer's number on its channel, given by the channel and never used again there.
pub type ConsumerKey = u32;

/// Why the broker cancels a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// Its queue is gone.
    QueueDeleted,
    /// Its user may no longer read from the queue.
    AccessRefused,
    /// It left a delivery unsettled for this many ms.
    TimedOut { timeout_ms: u64 },
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Mailbox {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<Event>,
    bytes: usize,
    /// Consumers that were paused because the mailbox was full, and readers of streams that have something to read.
    paused: Vec<(Arc<LiveQueue>, ConsumerId)>,
    /// Something outside the mailbox has changed (the log is durable further, an alarm): look again.
    poked: bool,
    waker: Option<Waker>,
}

impl Mailbox {
    /// Puts events in while `next` gives some, under one lock and with one wake. Gives whether the mailbox is full now.
    pub(crate) fn put_all(&self, mut next: impl FnMut() -> Option<Event>) -> bool {
        let mut inner = self.inner.lock();
        while let Some(event) = next() {
            inner.bytes += weight(&event);
            inner.events.push_back(event);
        }
        inner.wake();
        inner.bytes > FULL_BYTES
    }

    /// Puts one event in.
    pub fn put(&self, event: Event) {
        let mut event = Some(event);
        self.put_all(|| event.take());
    }

    /// Wakes the connection to look at what it waits for outside the mailbox.
    pub fn poke(&self) {
        let mut inner = self.inner.lock();
        inner.poked = true;
        inner.wake();
    }

    /// Notes that `consumer` is to be resumed when there is room again; `false` when there is room.
    pub(crate) fn pause_if_full(&self, queue: &Arc<LiveQueue>, consumer: ConsumerId) -> bool {
        let mut inner = self.inner.lock();
        let full = inner.bytes > FULL_BYTES;
        if full {
            inner.paused.push((queue.clone(), consumer));
        }
        full
    }

    /// Notes that `consumer` is to be resumed at the connection's next turn, if there is room.
    pub(crate) fn note_to_resume(&self, queue: &Arc<LiveQueue>, consumer: ConsumerId) {
        self.inner.lock().paused.push((queue.clone(), consumer));
    }

    /// Whether there are small deliveries and no more, which are cheaper when others go with them: what a write costs
    /// besides its bytes is most of their cost. Whoever poked the connection wants it to be quick.
    pub fn may_gather(&self) -> bool {
        let inner = self.inner.lock();
        let is_small = inner.bytes < inner.events.len() * SMALL_BYTES;
        inner.bytes > 0 && is_small && !inner.poked
    }

    /// What the events in it weigh.
    pub(crate) fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// Moves the events into the empty `into`, in order. `Pending` when there is nothing new: the waker is kept.
    pub fn poll_take(&self, context: &mut Context<'_>, into: &mut VecDeque<Event>) -> Poll<()> {
        debug_assert!(into.is_empty(), "events of the last turn are still there");
        let mut inner = self.inner.lock();
        if inner.events.is_empty() && !inner.poked {
            inner.keep_waker(context);
            return Poll::Pending;
        }
        inner.poked = false;
        std::mem::swap(&mut inner.events, into);
        Poll::Ready(())
    }

    /// Ready when the connection was poked: for one that has no room for events, but may wait for the log.
    pub fn poll_poked(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if std::mem::take(&mut inner.poked) {
            return Poll::Ready(());
        }
        inner.keep_waker(context);
        Poll::Pending
    }

    /// Takes what is there now, without waiting.
    pub fn take_now(&self, into: &mut VecDeque<Event>) {
        into.append(&mut self.inner.lock().events);
    }

    /// Events have been dealt with. Gives the consumers to resume, if there is room for them again.
    pub fn relieve(&self, events_bytes: usize) -> Vec<(Arc<LiveQueue>, ConsumerId)> {
        let mut inner = self.inner.lock();
        inner.bytes -= events_bytes;
        if inner.bytes < ROOM_BYTES && !inner.paused.is_empty() {
            return std::mem::take(&mut inner.paused);
        }
        Vec::new()
    }
}

impl Inner {
    fn keep_waker(&mut self, context: &Context<'_>) {
        let known = self.waker.as_ref();
        if !known.is_some_and(|waker| waker.will_wake(context.waker())) {
            self.waker = Some(context.waker().clone());
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// What an event counts for against the mailbox's bound.
pub fn weight(event: &Event) -> usize {
    match event {
        Event::Deliver { delivery, .. } => DELIVERY_BYTES + delivery.message.body().len(),
        Event::Cancelled { .. }
        | Event::LoggedIn(_)
        | Event::SecretRenewed(_)
        | Event::Close(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use crate::queue::{Offset, Stamp};

    fn delivery(body: usize) -> Event {
        Event::Deliver {
            channel: 1,
            consumer: 0,
            delivery: Delivery {
                id: None,
                message: Message::new(b"", b"q", b"", &vec![0; body]),
                redelivered: false,
                stamp: Stamp::Offset(Offset::new(0)),
            },
        }
    }

    #[test]
    fn small_deliveries_may_gather() {
        let check = |events: Vec<Event>, expected: bool| {
            let text = format!("{} events", events.len());
            let mailbox = Mailbox::default();
            events.into_iter().for_each(|event| mailbox.put(event));
            assert_eq!(mailbox.may_gather(), expected, "{text}");
            mailbox.poke();
            assert!(!mailbox.may_gather(), "{text}, poked");
        };
        check(vec![], false);
        check(vec![delivery(100)], true);
        check(vec![delivery(100), delivery(100), delivery(4000)], true);
        check(vec![delivery(SMALL_BYTES)], false);
        check(
            vec![delivery(100), delivery(100), delivery(64 * 1024)],
            false,
        );
        check(vec![Event::Close("shutdown".into())], false);
    }
}
