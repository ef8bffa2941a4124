//! What is counted for people: messages by what happened to them, and octets. The names are those of RabbitMQ's
//! `message_stats` (page "Monitoring").
//!
//! Counting must cost next to nothing. A queue counts plain numbers under the lock that it holds anyway. Channels and
//! connections belong to one thread at a time: their counters are atomics with one writer, which are plain additions to
//! the processor. Only what several write, an exchange's counters, is added to atomically, and then once per batch;
//! messages that reach no queue are counted there one by one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::flows::{ChannelFlows, ExchangeFlows};
use crate::live_queue::LiveQueue;
use crate::queue::{Kind, Reason};

/// A number that one thread at a time writes and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more. Of two threads that did so at once, one would count in vain.
    #[inline]
    pub fn add(&self, n: u64) {
        self.set(self.get() + n);
    }

    /// Replaces the number.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number as it stands.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a queue counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueCounters {
    /// Messages that were published to it.
    pub publish: u64,
    pub deliveries: Deliveries,
    /// Times that a message was read from disk.
    pub disk_reads: u64,
    /// Messages that were written to disk for it.
    pub disk_writes: u64,
}

/// What happened to messages on their way to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deliveries {
    /// To consumers that acknowledge.
    pub deliver: u64,
    /// To consumers that do not.
    pub deliver_no_ack: u64,
    /// By `basic.get`, to be acknowledged.
    pub get: u64,
    /// By `basic.get`, for good.
    pub get_no_ack: u64,
    /// `basic.get` that found nothing.
    pub get_empty: u64,
    /// Acknowledged by clients.
    pub ack: u64,
    /// Of those delivered or got, not for the first time.
    pub redeliver: u64,
}

impl Deliveries {
    /// RabbitMQ's `deliver_get`: everything that went to clients.
    pub fn deliver_get(&self) -> u64 {
        self.deliver + self.deliver_no_ack + self.get + self.get_no_ack
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            deliver: self.deliver + other.deliver,
            deliver_no_ack: self.deliver_no_ack + other.deliver_no_ack,
            get: self.get + other.get,
            get_no_ack: self.get_no_ack + other.get_no_ack,
            get_empty: self.get_empty + other.get_empty,
            ack: self.ack + other.ack,
            redeliver: self.redeliver + other.redeliver,
        }
    }
}

/// What happened to a client's publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Publishes {
    pub publish: u64,
    /// Of those, the ones that want a confirm.
    pub publish_confirm: u64,
    /// Of those published, the ones that reached a queue at least.
    pub routed: u64,
    /// Publishes that were confirmed. Those refused by a queue (`basic.nack`) are not.
    pub confirm: u64,
    /// Returned for want of a queue (`mandatory`).
    pub return_unroutable: u64,
    /// Dropped for want of a queue.
    pub drop_unroutable: u64,
}

impl Publishes {
    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            publish: self.publish + other.publish,
            publish_confirm: self.publish_confirm + other.publish_confirm,
            routed: self.routed + other.routed,
            confirm: self.confirm + other.confirm,
            return_unroutable: self.return_unroutable + other.return_unroutable,
            drop_unroutable: self.drop_unroutable + other.drop_unroutable,
        }
    }
}

/// What a channel counts: its publishes, and its deliveries by the type of queue that they came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelCounters {
    pub publishes: Publishes,
    pub classic: Deliveries,
    pub quorum: Deliveries,
    pub stream: Deliveries,
}

impl ChannelCounters {
    /// Deliveries from queues of all types.
    pub fn deliveries(&self) -> Deliveries {
        self.classic.plus(&self.quorum).plus(&self.stream)
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            publishes: self.publishes.plus(&other.publishes),
            classic: self.classic.plus(&other.classic),
            quorum: self.quorum.plus(&other.quorum),
            stream: self.stream.plus(&other.stream),
        }
    }
}

/// [`ChannelCounters`] in the making.
#[derive(Debug, Default)]
pub(crate) struct ChannelTally {
    pub(crate) publishes: PublishTally,
    /// Deliveries that are not told apart by queue.
    deliveries: DeliveryTallies,
    /// Those that are, and the same of publishes.
    pub(crate) flows: Option<Box<ChannelFlows>>,
}

/// Deliveries by the type of queue that they came from. There is none of a type before one is counted: most channels publish,
/// and those that consume do it from queues of one type.
#[derive(Debug, Default)]
pub(crate) struct DeliveryTallies {
    classic: OnceLock<Arc<DeliveryTally>>,
    quorum: OnceLock<Arc<DeliveryTally>>,
    stream: OnceLock<Arc<DeliveryTally>>,
}

#[derive(Debug, Default)]
pub(crate) struct PublishTally {
    pub(crate) publish: Counter,
    pub(crate) publish_confirm: Counter,
    pub(crate) confirm: Counter,
    pub(crate) return_unroutable: Counter,
    pub(crate) drop_unroutable: Counter,
    /// Published without reaching a queue, returned or dropped.
    pub(crate) unroutable: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct DeliveryTally {
    pub(crate) deliver: Counter,
    pub(crate) deliver_no_ack: Counter,
    pub(crate) get: Counter,
    pub(crate) get_no_ack: Counter,
    pub(crate) get_empty: Counter,
    pub(crate) ack: Counter,
    pub(crate) redeliver: Counter,
}

impl ChannelTally {
    pub(crate) fn new(flows: Option<Box<ChannelFlows>>) -> Self {
        Self {
            flows,
            ..Self::default()
        }
    }

    /// Where deliveries from a queue are counted, for whoever has many of them.
    pub(crate) fn of(&self, queue: &Arc<LiveQueue>) -> Arc<DeliveryTally> {
        match &self.flows {
            Some(flows) => flows.of_queue(queue, &self.deliveries),
            None => self.deliveries.of(queue.kind).clone(),
        }
    }

    /// Counts something that happened to deliveries from a queue.
    #[inline]
    pub(crate) fn count(&self, queue: &Arc<LiveQueue>, count: impl FnOnce(&DeliveryTally)) {
        match &self.flows {
            Some(_) => count(&self.of(queue)),
            None => count(self.deliveries.of(queue.kind)),
        }
    }

    pub(crate) fn read(&self) -> ChannelCounters {
        let of = |kind| {
            let told_apart = self.flows.as_ref().map(|flows| flows.sum(kind));
            let rest = self.deliveries.read(kind);
            rest.plus(&told_apart.unwrap_or_default())
        };
        ChannelCounters {
            publishes: self.publishes.read(),
            classic: of(Kind::Classic),
            quorum: of(Kind::Quorum),
            stream: of(Kind::Stream),
        }
    }
}

impl DeliveryTallies {
    #[inline]
    pub(crate) fn of(&self, kind: Kind) -> &Arc<DeliveryTally> {
        self.place(kind).get_or_init(Arc::default)
    }

    fn read(&self, kind: Kind) -> Deliveries {
        let counted = self.place(kind).get();
        counted.map_or_else(Deliveries::default, |tally| tally.read())
    }

    #[inline]
    fn place(&self, kind: Kind) -> &OnceLock<Arc<DeliveryTally>> {
        match kind {
            Kind::Classic => &self.classic,
            Kind::Quorum => &self.quorum,
            Kind::Stream => &self.stream,
        }
    }
}

impl PublishTally {
    /// Counts a publish, which has been counted as such, that reached no queue.
    pub(crate) fn count_unroutable(&self, mandatory: bool) {
        self.unroutable.add(1);
        let fate = if mandatory {
            &self.return_unroutable
        } else {
            &self.drop_unroutable
        };
        fate.add(1);
    }

    pub(crate) fn read(&self) -> Publishes {
        let publish = self.publish.get();
        Publishes {
            publish,
            publish_confirm: self.publish_confirm.get(),
            // The two are not read at one moment.
            routed: publish.saturating_sub(self.unroutable.get()),
            confirm: self.confirm.get(),
            return_unroutable: self.return_unroutable.get(),
            drop_unroutable: self.drop_unroutable.get(),
        }
    }
}

impl DeliveryTally {
    /// Takes over what another has counted.
    pub(crate) fn absorb(&self, counted: &Deliveries) {
        self.deliver.add(counted.deliver);
        self.deliver_no_ack.add(counted.deliver_no_ack);
        self.get.add(counted.get);
        self.get_no_ack.add(counted.get_no_ack);
        self.get_empty.add(counted.get_empty);
        self.ack.add(counted.ack);
        self.redeliver.add(counted.redeliver);
    }

    pub(crate) fn read(&self) -> Deliveries {
        Deliveries {
            deliver: self.deliver.get(),
            deliver_no_ack: self.deliver_no_ack.get(),
            get: self.get.get(),
            get_no_ack: self.get_no_ack.get(),
            get_empty: self.get_empty.get(),
            ack: self.ack.get(),
            redeliver: self.redeliver.get(),
        }
    }
}

/// What an exchange counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExchangeCounters {
    /// Messages that clients published to it.
    pub publish_in: u64,
    /// Copies of them that went to queues.
    pub publish_out: u64,
    /// Of those published, the ones that were returned for want of a queue.
    pub return_unroutable: u64,
    /// And those that were dropped.
    pub drop_unroutable: u64,
}

/// [`ExchangeCounters`] in the making; every connection that publishes there adds to it.
#[derive(Debug, Default)]
pub struct ExchangeTally {
    publish_in: AtomicU64,
    publish_out: AtomicU64,
    return_unroutable: AtomicU64,
    drop_unroutable: AtomicU64,
    /// Told apart by queue.
    pub(crate) flows: ExchangeFlows,
}

impl ExchangeTally {
    pub(crate) fn add(&self, messages: u64, copies: u64) {
        self.publish_in.fetch_add(messages, Ordering::Relaxed);
        self.publish_out.fetch_add(copies, Ordering::Relaxed);
    }

    pub(crate) fn add_unroutable(&self, mandatory: bool) {
        let fate = if mandatory {
            &self.return_unroutable
        } else {
            &self.drop_unroutable
        };
        fate.fetch_add(1, Ordering::Relaxed);
    }

    /// As they stand.
    pub fn read(&self) -> ExchangeCounters {
        ExchangeCounters {
            publish_in: self.publish_in.load(Ordering::Relaxed),
            publish_out: self.publish_out.load(Ordering::Relaxed),
            return_unroutable: self.return_unroutable.load(Ordering::Relaxed),
            drop_unroutable: self.drop_unroutable.load(Ordering::Relaxed),
        }
    }
}

/// Bounds of the buckets of [`MessageSizes`], bytes.
pub const MESSAGE_SIZE_BOUNDS: [u64; 8] = [
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
];

/// How large the bodies of published messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageSizes {
    /// Messages up to each bound and over the one before, and those over all of them.
    pub buckets: [u64; MESSAGE_SIZE_BOUNDS.len() + 1],
    /// All sizes together, bytes.
    pub sum: u64,
}

impl MessageSizes {
    fn add(&mut self, bytes: u64, messages: u64) {
        let bucket = MESSAGE_SIZE_BOUNDS.partition_point(|bound| *bound < bytes);
        self.buckets[bucket] += messages;
        self.sum += bytes * messages;
    }
}

/// [`MessageSizes`] of one batch in the making. Neighbours are mostly of one size, and cost a comparison each.
#[derive(Debug, Default)]
pub(crate) struct BatchSizes {
    bytes: u64,
    messages: u64,
    sizes: MessageSizes,
}

impl BatchSizes {
    #[inline]
    pub(crate) fn add(&mut self, bytes: u64) {
        if bytes != self.bytes {
            self.sizes.add(self.bytes, self.messages);
            (self.bytes, self.messages) = (bytes, 0);
        }
        self.messages += 1;
    }

    fn finish(mut self) -> MessageSizes {
        self.sizes.add(self.bytes, self.messages);
        self.sizes
    }
}

/// [`MessageSizes`] of all clients in the making.
#[derive(Debug, Default)]
pub(crate) struct SizeTally {
    buckets: [AtomicU64; MESSAGE_SIZE_BOUNDS.len() + 1],
    sum: AtomicU64,
}

impl SizeTally {
    pub(crate) fn add(&self, batch: BatchSizes) {
        let sizes = batch.finish();
        for (bucket, messages) in self.buckets.iter().zip(sizes.buckets) {
            if messages > 0 {
                bucket.fetch_add(messages, Ordering::Relaxed);
            }
        }
        self.sum.fetch_add(sizes.sum, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> MessageSizes {
        MessageSizes {
            buckets: self.buckets.each_ref().map(|it| it.load(Ordering::Relaxed)),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// Dead-lettered messages of queues of one type and strategy, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeadLettered {
    pub rejected: u64,
    pub expired: u64,
    pub maxlen: u64,
    pub delivery_limit: u64,
    /// At-least-once: all targets have them.
    pub confirmed: u64,
}

/// [`DeadLettered`] in the making. Death is rare enough for additions that are really atomic.
#[derive(Debug, Default)]
pub(crate) struct DeadLetterTally {
    by_reason: [AtomicU64; 4],
    confirmed: AtomicU64,
}

impl DeadLetterTally {
    pub(crate) fn add(&self, reason: Reason) {
        let at = match reason {
            Reason::Rejected => 0,
            Reason::Expired => 1,
            Reason::MaxLength => 2,
            Reason::DeliveryLimit => 3,
        };
        self.by_reason[at].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_confirmed(&self) {
        self.confirmed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> DeadLettered {
        let [rejected, expired, maxlen, delivery_limit] =
            [0, 1, 2, 3].map(|at: usize| self.by_reason[at].load(Ordering::Relaxed));
        DeadLettered {
            rejected,
            expired,
            maxlen,
            delivery_limit,
            confirmed: self.confirmed.load(Ordering::Relaxed),
        }
    }
}
