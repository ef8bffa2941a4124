//! The numbers of an object: what each is called, and how fast it grows (`publish`, and `publish_details.rate`).

use std::sync::Arc;

use leveret_broker::connections::{Churn, ConnectionInfo};
use leveret_broker::counters::{Deliveries, ExchangeCounters, Publishes, QueueCounters};
use leveret_broker::live_queue::LiveQueue;
use leveret_broker::options::RatesMode;
use leveret_broker::queue::Stats;
use leveret_broker::time::Timestamp;
use serde_json::Value;

use crate::answer::Failure;
use crate::call::Call;
use crate::json::Object;
use crate::sampler::{Key, Range, Sampler, VALUES_MAX, Values};
use crate::{DiskFigures, Management};

/// A number that is sampled, by its place among the values of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Stat {
    Messages,
    MessagesReady,
    MessagesUnacknowledged,
    Publish,
    PublishIn,
    PublishOut,
    Confirm,
    ReturnUnroutable,
    DropUnroutable,
    Deliver,
    DeliverNoAck,
    DeliverGet,
    Get,
    GetNoAck,
    GetEmpty,
    Ack,
    Redeliver,
    DiskReads,
    DiskWrites,
    RecvOct,
    SendOct,
    ConnectionCreated,
    ConnectionClosed,
    ChannelCreated,
    ChannelClosed,
    QueueDeclared,
    QueueCreated,
    QueueDeleted,
    IoReadCount,
    IoReadBytes,
    IoWriteCount,
    IoWriteBytes,
    IoSyncCount,
}

use Stat::*;

/// A number as listings name it: itself, and what is told of how it grows.
pub(crate) type Named = (Stat, &'static str, &'static str);

macro_rules! named {
    ($($stat:ident $name:literal),* $(,)?) => {
        [$(($stat, $name, concat!($name, "_details"))),*]
    };
}

/// How full queues are.
pub(crate) const LENGTHS: [Named; 3] = named![
    Messages "messages",
    MessagesReady "messages_ready",
    MessagesUnacknowledged "messages_unacknowledged",
];

/// `message_stats` of a queue, a vhost and the node, where all of them can be.
pub(crate) const MESSAGE_STATS: [Named; 14] = named![
    Publish "publish",
    Confirm "confirm",
    ReturnUnroutable "return_unroutable",
    DropUnroutable "drop_unroutable",
    Deliver "deliver",
    DeliverNoAck "deliver_no_ack",
    DeliverGet "deliver_get",
    Get "get",
    GetNoAck "get_no_ack",
    GetEmpty "get_empty",
    Ack "ack",
    Redeliver "redeliver",
    DiskReads "disk_reads",
    DiskWrites "disk_writes",
];

/// What a channel publishes to an exchange.
pub(crate) const PUBLISH_STATS: [Named; 3] = named![
    Publish "publish",
    ReturnUnroutable "return_unroutable",
    DropUnroutable "drop_unroutable",
];

/// What an exchange sends into a queue.
pub(crate) const ROUTED_STATS: [Named; 1] = named![Publish "publish"];

/// What a channel gets out of a queue.
pub(crate) const DELIVERY_STATS: [Named; 8] = named![
    Ack "ack",
    Deliver "deliver",
    DeliverGet "deliver_get",
    DeliverNoAck "deliver_no_ack",
    Get "get",
    GetEmpty "get_empty",
    GetNoAck "get_no_ack",
    Redeliver "redeliver",
];

/// `message_stats` of an exchange.
pub(crate) const EXCHANGE_STATS: [Named; 2] = named![
    PublishIn "publish_in",
    PublishOut "publish_out",
];

/// What went through sockets.
pub(crate) const DATA: [Named; 2] = named![RecvOct "recv_oct", SendOct "send_oct"];

/// What the log does with its disk.
pub(crate) const DISK: [Named; 5] = named![
    IoReadCount "io_read_count",
    IoReadBytes "io_read_bytes",
    IoWriteCount "io_write_count",
    IoWriteBytes "io_write_bytes",
    IoSyncCount "io_sync_count",
];

/// `churn_rates`.
pub(crate) const CHURN: [Named; 7] = named![
    ConnectionCreated "connection_created",
    ConnectionClosed "connection_closed",
    ChannelCreated "channel_created",
    ChannelClosed "channel_closed",
    QueueDeclared "queue_declared",
    QueueCreated "queue_created",
    QueueDeleted "queue_deleted",
];

/// A column of a list that is a sampled number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Number(Stat),
    /// How fast it grows.
    Rate(Stat),
}

impl Column {
    /// The column of that path, of a list whose rows have `LENGTHS` and `MESSAGE_STATS`.
    pub(crate) fn of_queues(path: &[String]) -> Option<Self> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let find = |table: &[Named], name: &str, rest: &[&str]| {
            table
                .iter()
                .find_map(|&(stat, number, details)| match rest {
                    [] if name == number => Some(Self::Number(stat)),
                    ["rate"] if name == details => Some(Self::Rate(stat)),
                    _ => None,
                })
        };
        match path.as_slice() {
            ["message_stats", name, rest @ ..] => find(&MESSAGE_STATS, name, rest),
            [name, rest @ ..] => find(&LENGTHS, name, rest),
            [] => None,
        }
    }
}

/// The values of an object as they are gathered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gathered(pub(crate) Values);

impl Default for Gathered {
    fn default() -> Self {
        Self([0; VALUES_MAX])
    }
}

impl Gathered {
    pub(crate) fn get(&self, stat: Stat) -> u64 {
        self.0[stat as usize]
    }

    fn add(&mut self, stat: Stat, value: u64) {
        self.0[stat as usize] += value;
    }

    /// Both together.
    #[must_use]
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        for (value, more) in self.0.iter_mut().zip(other.0) {
            *value += more;
        }
        self
    }

    #[must_use]
    pub(crate) fn with_lengths(mut self, stats: &Stats) -> Self {
        let ready = stats.ready;
        let unacknowledged = stats.unsettled;
        let all = ready + unacknowledged + stats.delayed + stats.dead_lettering;
        self.add(Messages, all);
        self.add(MessagesReady, ready);
        self.add(MessagesUnacknowledged, unacknowledged);
        self
    }

    #[must_use]
    pub(crate) fn with_queue(mut self, counters: &QueueCounters) -> Self {
        self.add(Publish, counters.publish);
        self.add(DiskReads, counters.disk_reads);
        self.add(DiskWrites, counters.disk_writes);
        self.with_deliveries(&counters.deliveries)
    }

    #[must_use]
    pub(crate) fn with_deliveries(mut self, deliveries: &Deliveries) -> Self {
        self.add(Deliver, deliveries.deliver);
        self.add(DeliverNoAck, deliveries.deliver_no_ack);
        self.add(DeliverGet, deliveries.deliver_get());
        self.add(Get, deliveries.get);
        self.add(GetNoAck, deliveries.get_no_ack);
        self.add(GetEmpty, deliveries.get_empty);
        self.add(Ack, deliveries.ack);
        self.add(Redeliver, deliveries.redeliver);
        self
    }

    #[must_use]
    pub(crate) fn with_publishes(mut self, publishes: &Publishes) -> Self {
        self.add(Publish, publishes.publish);
        self.add(Confirm, publishes.confirm);
        self.add(ReturnUnroutable, publishes.return_unroutable);
        self.add(DropUnroutable, publishes.drop_unroutable);
        self
    }

    #[must_use]
    pub(crate) fn with_routed(mut self, messages: u64) -> Self {
        self.add(Publish, messages);
        self
    }

    #[must_use]
    pub(crate) fn with_exchange(mut self, counters: &ExchangeCounters) -> Self {
        self.add(PublishIn, counters.publish_in);
        self.add(PublishOut, counters.publish_out);
        self
    }

    #[must_use]
    pub(crate) fn with_connection(mut self, connection: &ConnectionInfo) -> Self {
        self.add(RecvOct, connection.recv_oct);
        self.add(SendOct, connection.send_oct);
        self
    }

    #[must_use]
    pub(crate) fn with_disk(mut self, disk: &DiskFigures) -> Self {
        self.add(IoReadCount, disk.reads.count);
        self.add(IoReadBytes, disk.reads.bytes);
        self.add(IoWriteCount, disk.writes.count);
        self.add(IoWriteBytes, disk.writes.bytes);
        self.add(IoSyncCount, disk.syncs.count);
        self
    }

    #[must_use]
    pub(crate) fn with_churn(mut self, churn: &Churn) -> Self {
        self.add(ConnectionCreated, churn.connection_created);
        self.add(ConnectionClosed, churn.connection_closed);
        self.add(ChannelCreated, churn.channel_created);
        self.add(ChannelClosed, churn.channel_closed);
        self.add(QueueDeclared, churn.queue_declared);
        self.add(QueueCreated, churn.queue_created);
        self.add(QueueDeleted, churn.queue_deleted);
        self
    }
}

/// Which pasts a request asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ranges {
    lengths: Option<Range>,
    messages: Option<Range>,
    data: Option<Range>,
}

/// Rows of a list that may have samples: more of them would push one another out of the watched objects.
const ROWS_MAX: usize = 100;

/// Writes numbers with their details.
pub(crate) struct Writer {
    management: Arc<Management>,
    ranges: Ranges,
    now: Timestamp,
}

impl Writer {
    /// For many objects: rates without a past.
    pub(crate) fn rates(call: &Call<'_>) -> Self {
        Self {
            management: call.management.clone(),
            ranges: Ranges::default(),
            now: call.now,
        }
    }

    /// For the rows of a list, with the samples that the request asks for if it is about a short page.
    pub(crate) fn rows(call: &Call<'_>) -> Result<Self, Failure> {
        match call.query.page()? {
            Some(page) if page.size <= ROWS_MAX => Self::samples(call),
            _ => Ok(Self::rates(call)),
        }
    }

    /// For one object, with the samples that the request asks for.
    pub(crate) fn samples(call: &Call<'_>) -> Result<Self, Failure> {
        Ok(Self {
            ranges: Ranges {
                lengths: Range::read(&call.query, "lengths")?,
                messages: Range::read(&call.query, "msg_rates")?,
                data: Range::read(&call.query, "data_rates")?,
            },
            ..Self::rates(call)
        })
    }

    /// Writes `name` and `name_details` for each of `stats`.
    pub(crate) fn write(
        &self,
        object: &mut Object<'_>,
        stats: &[Named],
        key: Key,
        gathered: &Gathered,
    ) {
        for &(stat, name, details) in stats {
            object.field(name, &gathered.get(stat));
            object.object(details, |object| {
                self.write_details(object, key, stat, gathered.get(stat));
            });
        }
    }

    /// What is in a column.
    pub(crate) fn value(
        &self,
        column: Column,
        key: Key,
        gathered: impl FnOnce() -> Gathered,
    ) -> Value {
        match column {
            Column::Number(stat) => gathered().get(stat).into(),
            Column::Rate(stat) => {
                let rate = self.management.sampler.lock().rate(key, stat as usize);
                rate.into()
            }
        }
    }

    /// See [`Sampler::idle_since`].
    pub(crate) fn idle_since(&self, key: Key) -> Option<Timestamp> {
        self.management.sampler.lock().idle_since(key)
    }

    /// See [`Management::oldest_message_age`].
    pub(crate) fn oldest_message_age(&self, queue: &LiveQueue) -> Option<u64> {
        self.management.oldest_message_age(queue, self.now)
    }

    fn range(&self, stat: Stat) -> Option<Range> {
        match stat {
            Messages | MessagesReady | MessagesUnacknowledged => self.ranges.lengths,
            RecvOct | SendOct => self.ranges.data,
            _ => self.ranges.messages,
        }
    }

    fn write_details(&self, object: &mut Object<'_>, key: Key, stat: Stat, current: u64) {
        object.field_with("rate", || {
            self.management.sampler.lock().rate(key, stat as usize)
        });
        // Ordering a list by a rate must not begin to watch all that is in it.
        let is_wanted = ["samples", "avg", "avg_rate"].map(|name| object.wants(name));
        let Some(range) = self.range(stat).filter(|_| is_wanted.contains(&true)) else {
            return;
        };
        let mut sampler = self.management.sampler.lock();
        let samples = sampler.samples(key, stat as usize, current, range, self.now);
        drop(sampler);
        let (mut average, mut average_rate) = (0.0, 0.0);
        if let (Some((last, newest)), Some((first, oldest))) = (samples.first(), samples.last()) {
            let sum: u64 = samples.iter().map(|(_, value)| value).sum();
            average = sum as f64 / samples.len() as f64;
            let seconds = (last.0 - first.0) as f64 / 1000.0;
            if seconds > 0.0 {
                average_rate = (*newest as f64 - *oldest as f64) / seconds;
            }
        }
        object.list("samples", samples, |(at, value), object| {
            object.field("sample", &value);
            object.field("timestamp", &at.0);
        });
        object.field("avg", &average);
        object.field("avg_rate", &average_rate);
    }
}

impl Management {
    /// Looks at every counter, for rates and samples. To be called every [`SAMPLE_PERIOD_MS`](crate::SAMPLE_PERIOD_MS).
    pub fn sample(&self, now: Timestamp) {
        let broker = &self.broker;
        let disk = (self.options.host)().disk;
        let mut node = Gathered::default()
            .with_churn(&broker.churn())
            .with_disk(&disk);
        let mut vhosts: std::collections::BTreeMap<Arc<str>, Gathered> = broker
            .list_vhosts()
            .into_iter()
            .map(|vhost| (vhost.name, Gathered::default()))
            .collect();
        let queues = broker.list_queues(None);
        let exchanges = broker.list_exchanges(None);
        let connections = broker.list_connections();
        let flows = self.flows();
        let mut sampler = self.sampler.lock();
        let mut ages = self.ages.lock();
        for queue in queues.iter() {
            let (stats, counters) = queue.numbers();
            let arrivals = (stats.ready > 0).then(|| queue.arrivals()).flatten();
            if let Some(arrivals) = arrivals {
                ages.put(queue.id, arrivals, now);
            }
            let gathered = Gathered::default()
                .with_lengths(&stats)
                .with_queue(&counters);
            sampler.put(Key::Queue(queue.id.0), &gathered.0, now);
            node = node.with_lengths(&stats);
            node.add(DiskReads, counters.disk_reads);
            node.add(DiskWrites, counters.disk_writes);
            if let Some(vhost) = vhosts.get_mut(&queue.vhost_name) {
                *vhost = vhost.with_lengths(&stats).with_queue(&counters);
            }
        }
        ages.finish();
        drop(ages);
        for exchange in &exchanges {
            let gathered = Gathered::default().with_exchange(&exchange.counters);
            let key = Key::exchange(&exchange.vhost, &exchange.name);
            sampler.put(key, &gathered.0, now);
        }
        for connection in &connections {
            let gathered = Gathered::default().with_connection(connection);
            sampler.put(Key::Connection(connection.id.0), &gathered.0, now);
            node = node.with_connection(connection);
            // Not listed all together: for a moment that would take as much again as they do.
            for channel in broker.channels_of(connection.id) {
                let gathered = Gathered::default()
                    .with_publishes(&channel.counters.publishes)
                    .with_deliveries(&channel.counters.deliveries());
                sampler.put(Key::channel(&channel), &gathered.0, now);
            }
        }
        for total in broker.global_counters() {
            node = node
                .with_publishes(&total.counters.publishes)
                .with_deliveries(&total.counters.deliveries());
        }
        for (name, gathered) in &vhosts {
            sampler.put(Key::vhost(name), &gathered.0, now);
        }
        for (key, gathered) in flows {
            sampler.put(key, &gathered.0, now);
        }
        sampler.put(Key::Node, &node.0, now);
        sampler.finish();
        if broker.options.rates_mode == RatesMode::None {
            *sampler = Sampler::default();
        }
        drop(sampler);
        *self.totals.lock() = Totals { node, vhosts };
        self.rankings.tidy(now);
    }

    /// What is told apart between objects; nothing, unless that is wanted.
    fn flows(&self) -> Vec<(Key, Gathered)> {
        let broker = &self.broker;
        if broker.options.rates_mode != RatesMode::Detailed {
            return Vec::new();
        }
        let publishes = broker.list_publish_flows().into_iter().map(|flow| {
            let gathered = Gathered::default().with_publishes(&flow.counters);
            (Key::publishes(&flow), gathered)
        });
        let routed = broker.list_routed_flows().into_iter().map(|flow| {
            let gathered = Gathered::default().with_routed(flow.messages);
            (Key::routed(&flow), gathered)
        });
        let deliveries = broker.list_delivery_flows().into_iter().map(|flow| {
            let gathered = Gathered::default().with_deliveries(&flow.counters);
            (Key::deliveries(&flow), gathered)
        });
        publishes.chain(routed).chain(deliveries).collect()
    }
}

/// Sums of the last look at the counters.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) node: Gathered,
    pub(crate) vhosts: std::collections::BTreeMap<Arc<str>, Gathered>,
}
