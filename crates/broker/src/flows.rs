//! How many messages went between which objects: what each channel publishes to each exchange, what each exchange sends
//! into each queue, and what each channel gets out of each queue. Told apart if an operator wants that
//! (`management.rates_mode = detailed`); then it is what RabbitMQ calls fine statistics.
//!
//! Nothing is looked up for a message. A channel that remembers a route remembers with it where its messages are counted,
//! once per run of a batch; a consumer holds the counters of its channel and queue, in place of those of the channel.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::catalogue::Map;
use crate::connections::ChannelInfo;
use crate::counters::{Deliveries, DeliveryTallies, DeliveryTally, PublishTally, Publishes};
use crate::ids::QueueId;
use crate::live_queue::LiveQueue;
use crate::queue::Kind;

/// So many exchanges, and so many queues, a channel tells apart. Of further ones only their sum is counted.
const TOLD_APART_MAX: usize = 1024;

/// What a channel published to an exchange.
#[derive(Debug, Clone)]
pub struct PublishFlow {
    pub channel: ChannelInfo,
    /// Its name; empty: the default exchange.
    pub exchange: Arc<str>,
    /// Without confirms, of which it is not known where the publishes went.
    pub counters: Publishes,
}

/// What clients published to an exchange and a queue got.
#[derive(Debug, Clone)]
pub struct RoutedFlow {
    /// Empty: the default exchange.
    pub exchange: Arc<str>,
    pub queue: Arc<LiveQueue>,
    pub messages: u64,
}

/// What a channel got out of a queue.
#[derive(Debug, Clone)]
pub struct DeliveryFlow {
    pub channel: ChannelInfo,
    pub queue: Arc<LiveQueue>,
    pub counters: Deliveries,
}

/// Where the messages of a remembered route are counted.
#[derive(Debug)]
pub(crate) struct RouteFlows {
    channel: Arc<PublishTally>,
    queues: Vec<Arc<AtomicU64>>,
}

impl RouteFlows {
    pub(crate) fn new(
        channel: Arc<PublishTally>,
        exchange: &ExchangeFlows,
        queues: &[Arc<LiveQueue>],
    ) -> Self {
        let queues = queues.iter().map(|queue| exchange.of_queue(queue));
        Self {
            channel,
            queues: queues.collect(),
        }
    }

    /// Counts what a run of a batch brought.
    pub(crate) fn count(&self, messages: u64) {
        self.channel.publish.add(messages);
        for queue in &self.queues {
            queue.fetch_add(messages, Ordering::Relaxed);
        }
    }

    /// Counts a message that reached no queue.
    pub(crate) fn count_unroutable(&self, mandatory: bool) {
        self.channel.count_unroutable(mandatory);
    }
}

/// What an exchange sends into queues. Every connection that publishes there adds to it.
#[derive(Debug, Default)]
pub(crate) struct ExchangeFlows {
    queues: Mutex<Map<QueueId, IntoQueue>>,
}

#[derive(Debug)]
struct IntoQueue {
    queue: Weak<LiveQueue>,
    messages: Arc<AtomicU64>,
}

impl ExchangeFlows {
    fn of_queue(&self, queue: &Arc<LiveQueue>) -> Arc<AtomicU64> {
        let mut queues = self.queues.lock();
        // Those of queues that are gone leave whenever there are twice as many.
        if queues.len().is_power_of_two() {
            queues.retain(|_, flow| flow.queue.strong_count() > 0);
        }
        let flow = queues.entry(queue.id).or_insert_with(|| IntoQueue {
            queue: Arc::downgrade(queue),
            messages: Arc::default(),
        });
        flow.messages.clone()
    }

    pub(crate) fn list(&self, exchange: &Arc<str>) -> Vec<RoutedFlow> {
        let queues = self.queues.lock();
        let flow = |flow: &IntoQueue| {
            Some(RoutedFlow {
                exchange: exchange.clone(),
                queue: flow.queue.upgrade()?,
                messages: flow.messages.load(Ordering::Relaxed),
            })
        };
        queues.values().filter_map(flow).collect()
    }
}

/// What a channel tells apart. Looked up when it learns a route, begins to consume, gets, or settles.
#[derive(Debug, Default)]
pub(crate) struct ChannelFlows {
    publishes: Mutex<BTreeMap<Arc<str>, Arc<PublishTally>>>,
    deliveries: Mutex<Map<QueueId, FromQueue>>,
}

#[derive(Debug)]
struct FromQueue {
    queue: Weak<LiveQueue>,
    kind: Kind,
    tally: Arc<DeliveryTally>,
}

impl FromQueue {
    /// The queue is gone, and nobody will count here any more.
    fn is_over(&self) -> bool {
        self.queue.strong_count() == 0 && Arc::strong_count(&self.tally) == 1
    }
}

impl ChannelFlows {
    /// Where publishes to this exchange are counted; `None`: nowhere, there are too many.
    pub(crate) fn to_exchange(&self, exchange: &str) -> Option<Arc<PublishTally>> {
        let mut publishes = self.publishes.lock();
        if let Some(known) = publishes.get(exchange) {
            return Some(known.clone());
        }
        if publishes.len() >= TOLD_APART_MAX {
            return None;
        }
        let tally = Arc::default();
        publishes.insert(exchange.into(), Arc::clone(&tally));
        Some(tally)
    }

    /// Where deliveries from this queue are counted. `rest` counts those that are not told apart.
    pub(crate) fn of_queue(
        &self,
        queue: &Arc<LiveQueue>,
        rest: &DeliveryTallies,
    ) -> Arc<DeliveryTally> {
        let mut deliveries = self.deliveries.lock();
        if let Some(known) = deliveries.get(&queue.id) {
            return known.tally.clone();
        }
        if deliveries.len() >= TOLD_APART_MAX {
            for (_, over) in deliveries.extract_if(|_, it| it.is_over()) {
                rest.of(over.kind).absorb(&over.tally.read());
            }
        }
        if deliveries.len() >= TOLD_APART_MAX {
            return rest.of(queue.kind).clone();
        }
        let tally = Arc::default();
        let entry = FromQueue {
            queue: Arc::downgrade(queue),
            kind: queue.kind,
            tally: Arc::clone(&tally),
        };
        deliveries.insert(queue.id, entry);
        tally
    }

    /// All that is told apart of queues of one type, together.
    pub(crate) fn sum(&self, kind: Kind) -> Deliveries {
        let deliveries = self.deliveries.lock();
        let those = deliveries.values().filter(|it| it.kind == kind);
        those.fold(Deliveries::default(), |sum, it| sum.plus(&it.tally.read()))
    }

    pub(crate) fn list_publishes(&self) -> Vec<(Arc<str>, Publishes)> {
        let publishes = self.publishes.lock();
        let all = publishes.iter();
        all.map(|(exchange, tally)| (exchange.clone(), tally.read()))
            .collect()
    }

    pub(crate) fn list_deliveries(&self) -> Vec<(Arc<LiveQueue>, Deliveries)> {
        let deliveries = self.deliveries.lock();
        let all = deliveries.values();
        all.filter_map(|it| Some((it.queue.upgrade()?, it.tally.read())))
            .collect()
    }
}
