//! A queue: a state machine that takes [`Op`]s and gives [`Effect`]s. It has no lock, clock, socket or disk of its own;
//! whoever drives it holds the lock, passes the time in, writes what the effects say to the log and hands deliveries to
//! the connections. The same ops in the same order give the same effects, so that a replicated log can drive it later.
//!
//! Classic and quorum queues are one machine with two sets of rules ([`Kind`]); a stream shares their backlog, and is read
//! in a way of its own (`stream`). This page is the contract between the
//! queue and its driver; `machine` draws the way of a message, `backlog` keeps those that wait in order, `consumers`
//! says whose turn it is, `slab` finds what is unsettled, `dead_letters` keeps what must not be lost, [`pages`] is how a
//! long backlog leaves the memory.
//!
//! ```
//! # use leveret_broker::ids::{ConsumerId, MessageId, SessionId};
//! # use leveret_broker::message::Message;
//! # use leveret_broker::queue::*;
//! # use leveret_broker::time::Timestamp;
//! # let consumer = Consumer {
//! #     id: ConsumerId(0), session: SessionId(0), acknowledges: true, prefetch: 1, shared_credit: None, priority: 0,
//! #     exclusive: false, timeout_ms: None, read_from: None,
//! # };
//! # let incoming = Incoming {
//! #     message: Message::new(b"", b"key", b"", b"body"), id: MessageId(1), priority: None, ttl_ms: None, persistent: true,
//! #     redelivered: false,
//! # };
//! let now = Timestamp(0);
//! let mut queue = QueueCore::new(Settings::new(Kind::Classic), now);
//! let mut effects = Vec::new();
//! queue.apply(now, Op::Publish(incoming), &mut effects);
//! queue.apply(now, Op::Attach(consumer), &mut effects);
//! while queue.has_work() {
//!     queue.apply(now, Op::Assign(64), &mut effects);
//! }
//! let [Effect::Attached, Effect::Deliver(ConsumerId(0), Delivery { id: Some(id), .. })] = effects[..] else {
//!     panic!("{effects:?}");
//! };
//! queue.apply(now, Op::Acknowledge(&[id]), &mut effects);
//! assert!(matches!(effects[2..], [Effect::Release(MessageId(1))]));
//! ```

mod apart;
mod backlog;
mod browse;
mod consumers;
mod credit;
mod dead_letters;
mod line;
mod machine;
#[cfg(test)]
mod model;
pub mod pages;
#[cfg(test)]
mod shelf;
mod slab;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use backlog::Freed;
pub use browse::{Browsed, Scope, Standing, Start, Unacked};
pub use consumers::ConsumerStatus;
pub use credit::SharedCredit;
pub use machine::QueueCore;
pub use stream::{ReadFrom, StreamFilter, StreamStart, StreamStats};

use crate::ids::{ConsumerId, DeliveryId, MessageId, PageId, SessionId};
use crate::message::Message;
use crate::properties::PropertiesBuf;
use crate::table::Value;
use crate::time::Timestamp;

/// Which set of rules a queue follows (`x-queue-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RabbitMQ's classic queue, version 2.
    Classic,
    /// RabbitMQ's quorum queue, on this one node.
    Quorum,
    /// RabbitMQ's stream, on this one node.
    Stream,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Classic, Self::Quorum, Self::Stream];

    /// Its name at the doors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it keeps every message on disk, whatever its delivery mode.
    pub fn keeps_all(self) -> bool {
        self != Self::Classic
    }
}

/// What happens at the length limit (`x-overflow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest message goes, dead-lettered with reason `maxlen`.
    DropHead,
    /// The new message is refused: a negative confirm.
    RejectPublish,
    /// As `RejectPublish`, and the refused message is dead-lettered with reason `maxlen`.
    RejectPublishDlx,
}

/// Where removed messages go (`x-dead-letter-exchange`, `x-dead-letter-strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetter {
    /// No dead-letter exchange: they are dropped, and no effect tells of them.
    Off,
    /// One try: the message leaves the queue with the effect.
    AtMostOnce,
    /// The message stays (uncounted as ready) until [`Op::DeadLettered`] says that every target has it. Goes with
    /// `RejectPublish`: what is dropped from the head would only wait elsewhere.
    AtLeastOnce,
}

/// Which returns are delayed (`x-delayed-retry-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOn {
    /// Every return.
    All,
    /// Returns that count as a failed delivery.
    Failed,
    /// Returns that do not.
    Returned,
}

/// Delayed retry: after `n` failed deliveries a message waits `min(min_ms * n, max_ms)`, and `min_ms` before any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayedRetry {
    pub on: RetryOn,
    pub min_ms: u64,
    pub max_ms: u64,
}

/// What a queue is told by its declaration, arguments and policies, merged by the caller. May change while it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub kind: Kind,
    /// Time to live of every message, ms.
    pub message_ttl_ms: Option<u64>,
    /// Deletes the queue when unused this long, ms.
    pub expires_ms: Option<u64>,
    /// Most messages that wait. What a consumer can take at once does not wait, and what is unsettled no longer does;
    /// delayed messages and kept dead letters do.
    pub length_max: Option<u64>,
    /// Most bytes of their bodies.
    pub length_bytes_max: Option<u64>,
    pub overflow: Overflow,
    pub dead_letter: DeadLetter,
    /// Classic: the highest priority there is (`None`: no priorities). Quorum queues always have 0..=31.
    pub priority_max: Option<u8>,
    pub single_active_consumer: bool,
    pub auto_delete: bool,
    /// Failed deliveries allowed before the message is dead-lettered; `None`: any number.
    pub delivery_limit: Option<u32>,
    /// How long a delivery may stay unsettled, ms.
    pub consumer_timeout_ms: Option<u64>,
    pub delayed_retry: Option<DelayedRetry>,
    /// Streams: how long a message is kept at least, ms.
    pub max_age_ms: Option<u64>,
}

impl Settings {
    /// Those of a queue declared without arguments, and without the limits that the node may set.
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            message_ttl_ms: None,
            expires_ms: None,
            length_max: None,
            length_bytes_max: None,
            overflow: Overflow::DropHead,
            dead_letter: DeadLetter::Off,
            priority_max: None,
            single_active_consumer: false,
            auto_delete: false,
            delivery_limit: None,
            consumer_timeout_ms: None,
            delayed_retry: None,
            max_age_ms: None,
        }
    }

    /// Whether so few may wait that some may have to go.
    fn has_length_limit(&self) -> bool {
        self.length_max.is_some() || self.length_bytes_max.is_some()
    }
}

/// What queue and log need to know of a message's properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageFacts {
    /// `priority`.
    pub priority: Option<u8>,
    /// `expiration`, ms.
    pub ttl_ms: Option<u64>,
    /// Whether the delivery mode is persistent.
    pub persistent: bool,
}

/// A message on its way into the queue.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub message: Message,
    /// Its record in the log, if the queue and the message survive a restart.
    pub id: MessageId,
    /// Its `priority` property.
    pub priority: Option<u8>,
    /// Its `expiration` property, ms.
    pub ttl_ms: Option<u64>,
    /// Whether its delivery mode is persistent (counted, not interpreted).
    pub persistent: bool,
    /// It may have been delivered by this queue before: it is found in the log.
    pub redelivered: bool,
}

impl Incoming {
    /// A message that this queue has not had before.
    #[inline]
    pub(crate) fn new(message: Message, id: MessageId, facts: MessageFacts) -> Self {
        Self {
            message,
            id,
            priority: facts.priority,
            ttl_ms: facts.ttl_ms,
            persistent: facts.persistent,
            redelivered: false,
        }
    }
}

/// A message that was in the queue before a restart.
#[derive(Debug, Clone)]
pub struct Recovered {
    pub incoming: Incoming,
    pub published_at: Timestamp,
    pub counts: Counts,
}

/// How often a message was handed out in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Failed deliveries (`x-delivery-count`).
    pub deliveries: u32,
    /// Returns of any kind (`x-acquired-count`).
    pub acquisitions: u32,
}

/// A consumer as the queue needs to know it.
#[derive(Debug, Clone)]
pub struct Consumer {
    pub id: ConsumerId,
    pub session: SessionId,
    /// Deliveries must be acknowledged.
    pub acknowledges: bool,
    /// Most unsettled deliveries; 0: any number. Ignored without acknowledgements.
    pub prefetch: u16,
    pub shared_credit: Option<Arc<SharedCredit>>,
    pub priority: i32,
    /// The only consumer (refused by a queue that has another; ignored by quorum queues).
    pub exclusive: bool,
    /// Overrides the queue's `consumer_timeout_ms`.
    pub timeout_ms: Option<u64>,
    /// Streams: where it begins, and what it wants. `None`: with the next message.
    pub read_from: Option<Box<ReadFrom>>,
}

/// How deliveries come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// `basic.nack`/`basic.recover` with requeue: not counted as a failure.
    Requeue,
    /// `basic.reject` with requeue: a failed delivery.
    Reject,
    /// The session ended with the delivery unsettled: a failed delivery.
    SessionEnded,
    /// [`Op::Take`] took it and nobody has seen it: it is neither counted nor flagged, and has its old place in a quorum
    /// queue, too.
    Untouched,
}

/// What can happen to a queue. Whatever the op, messages whose time is up leave first, and their effects come before its
/// own. Ids of deliveries that were settled before, or have timed out, are ignored.
#[derive(Debug)]
pub enum Op<'a> {
    /// A message is published. Gives `Deliver`, nothing, or `Refused`.
    Publish(Incoming),
    /// What was published to a stream since the last time is durable when the log is so up to here.
    Written(u64),
    /// Messages found in the log at start, oldest first.
    Recover(Recovered),
    /// A consumer comes, under an id that no attached consumer has. Gives `Attached` or `AttachRefused`.
    Attach(Consumer),
    /// A consumer goes; its unsettled deliveries stay checked out.
    Detach(ConsumerId),
    /// The connection of a consumer can take no more for now.
    Pause(ConsumerId),
    /// It can again, or the session's shared credit grew (see [`SharedCredit`]).
    Resume(ConsumerId),
    /// From now on the consumer's deliveries, those that are unsettled too, count against its session's credit.
    Share(ConsumerId, Arc<SharedCredit>),
    /// `basic.get`. Gives `Got` or `Empty`.
    Get {
        session: SessionId,
        acknowledges: bool,
    },
    /// An operator takes waiting messages out of their turn, those of them that still wait. Gives a `Taken` for each.
    Take(&'a [Standing]),
    /// Deliveries are done with.
    Acknowledge(&'a [DeliveryId]),
    /// Deliveries come back: in a classic queue to their old places, in a quorum queue ahead of all others, in this
    /// order; or, delayed, later; or, at the delivery limit, to the dead-letter exchange.
    Return(&'a [DeliveryId], Return),
    /// Deliveries are refused for good: dead-lettered with reason `rejected`.
    Discard(&'a [DeliveryId]),
    /// A message of an at-least-once dead-letter effect: every target has it (`true`), or it must be tried again later.
    DeadLettered(DeliveryId, bool),
    /// Hands out at most so many ready messages to consumers with credit. Driven until `has_work` is false.
    Assign(usize),
    /// Drops every message that is not in a client's hands: ready, delayed, or kept for its dead-letter targets. Gives
    /// `Purged`.
    Purge,
    /// The queue was declared again or read: it is in use (`x-expires`).
    Touch,
    /// Time has passed: expiry, consumer timeouts, delayed retries.
    Tick,
    /// Arguments or policies have changed.
    Configure(Arc<Settings>),
}

/// Why a message leaves for the dead-letter exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Rejected,
    Expired,
    MaxLength,
    DeliveryLimit,
}

/// Why a consumer can't be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachRefusal {
    /// An exclusive consumer holds the queue, or an exclusive one asks while others are there (403).
    ExclusiveUse,
}

/// A message handed out.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// To settle it by; `None` when nothing needs to be settled.
    pub id: Option<DeliveryId>,
    pub message: Message,
    pub redelivered: bool,
    pub stamp: Stamp,
}

/// What the queue says in headers of a message that it hands out (H22).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// A quorum queue: how often it was handed out in vain.
    Counts(Counts),
    /// A stream: its offset.
    Offset(Offset),
}

/// An offset in a stream, in two halves: so a delivery is no larger than it was without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset([u32; 2]);

impl Offset {
    pub fn new(offset: u64) -> Self {
        Self([(offset >> 32) as u32, offset as u32])
    }

    pub fn get(self) -> u64 {
        let [high, low] = self.0;
        u64::from(high) << 32 | u64::from(low)
    }
}

const _: () = assert!(size_of::<Delivery>() <= 72);

impl Delivery {
    /// The message with what the queue says of it. `None`: as it is.
    #[inline]
    pub fn stamped(&self) -> Option<Message> {
        match self.stamp {
            Stamp::Counts(counts) if counts == Counts::default() => None,
            stamp => self.with_stamp(stamp),
        }
    }

    fn with_stamp(&self, stamp: Stamp) -> Option<Message> {
        let message = &self.message;
        let mut properties = PropertiesBuf::parse(message.properties()).ok()?;
        let headers = properties.headers_mut();
        match stamp {
            Stamp::Counts(Counts {
                deliveries,
                acquisitions,
            }) => {
                if deliveries > 0 {
                    headers.insert("x-delivery-count", Value::I64(deliveries.into()));
                }
                headers.insert("x-acquired-count", Value::I64(acquisitions.into()));
            }
            Stamp::Offset(offset) => {
                let offset = offset.get().cast_signed();
                headers.insert("x-stream-offset", Value::I64(offset));
            }
        }
        let (exchange, key) = (message.exchange(), message.routing_key());
        Some(Message::new(
            exchange,
            key,
            &properties.encode(),
            message.body(),
        ))
    }
}

/// What the driver has to do, in this order.
///
/// Every stored message that was published or recovered is released exactly once: when it is settled, dropped, purged,
/// refused, or dead-lettered, and then after its `DeadLetter`; or with the page that it is in.
#[derive(Debug)]
pub enum Effect {
    /// The publish just applied is refused (reject-publish): a negative confirm. If it was stored, `Release` follows.
    Refused,
    Attached,
    AttachRefused(AttachRefusal),
    Deliver(ConsumerId, Delivery),
    /// The reply to a get, with the number of messages still ready.
    Got(Delivery, u64),
    Empty,
    Purged(u64),
    /// A message that was taken out of its turn.
    Taken(Delivery),
    /// The queue no longer needs this stored message.
    Release(MessageId),
    /// The queue no longer needs this page and the messages in it.
    DropPage(PageId),
    /// The counts of this stored message have changed.
    Count(MessageId, Counts),
    /// Publish this to the dead-letter exchange. With an id: answer by `Op::DeadLettered`.
    DeadLetter(Message, Reason, Option<DeliveryId>),
    /// A delivery was not settled within this many ms and has been returned; the consumer is detached and must be told.
    /// What else it holds stays out until it is settled or overdue itself.
    TimedOut(ConsumerId, u64),
    /// A stream lets its oldest messages go: it begins with this offset from now on. To be noted in the log together, under
    /// the queue's lock.
    Truncate {
        first_offset: u64,
        messages: Vec<MessageId>,
        pages: Vec<PageId>,
    },
    /// The connection of this consumer of a stream is to resume it, once the log is durable up to here.
    Summon(ConsumerId, u64),
    /// The queue is to be deleted: its last consumer has gone, or it was unused for too long.
    Delete,
}

/// Counters and figures for people and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    pub ready: u64,
    pub ready_bytes: u64,
    pub unsettled: u64,
    pub unsettled_bytes: u64,
    /// Returned, and waiting for their next try.
    pub delayed: u64,
    /// Waiting until every dead-letter target has them.
    pub dead_lettering: u64,
    /// How many of all these are persistent.
    pub persistent: u64,
    /// What the bodies of those make of `ready_bytes` and `unsettled_bytes`.
    pub persistent_bytes: u64,
    pub on_disk: OnDisk,
    pub consumers: u64,
}

/// Places in the order of arrival. Whoever notes the last one from time to time can tell how long a message has waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrivals {
    /// That of the ready message that came first, whatever its priority. What comes back to a classic queue has its old
    /// place, to a quorum queue a new one.
    pub oldest: u64,
    /// The last one that was given.
    pub last: u64,
}

/// Messages of a queue that are not in memory, as far as they are counted among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OnDisk {
    /// Ready ones that have been paged out.
    pub ready: u64,
    pub ready_bytes: u64,
    /// Unsettled ones that only the log has.
    pub unsettled: u64,
    pub unsettled_bytes: u64,
}
