//! Metrics for Prometheus, under RabbitMQ's names (page "Monitoring with Prometheus and Grafana").
//!
//! `/metrics` sums over all objects, `/metrics/per-object` has a sample for each, `/metrics/detailed` the families that
//! are asked for. Those with many samples are written as the client takes them: what is kept is one row of numbers per
//! object, never the text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::request::Parts;
use http::{Method, StatusCode};
use leveret_broker::connections::{GlobalCounters, Protocol};
use leveret_broker::counters::{DeadLettered, Deliveries, MESSAGE_SIZE_BOUNDS, MessageSizes};
use leveret_broker::queue::{self, DeadLetter};
use leveret_broker::time::Timestamp;

use crate::Management;
use crate::answer::{Answer, Body, Failure};
use crate::memory::Memory;
use crate::operations::ShovelStatus;
use crate::query::Query;

mod absent;
mod families;
mod rows;
mod text;

use families::{ALARMS, FAMILIES, Family, MEMORY, Source};
use rows::{LoginRow, NodeRow, Rows};
use text::{CONTENT_TYPE, Kind, Label, Text};

/// Samples that are written between two pieces of an answer.
const SAMPLES_PER_PIECE: usize = 1000;

/// Who asks `/metrics/detailed` for one of these is told what each queue is.
const QUEUE_GROUPS: [&str; 3] = [
    "queue_coarse_metrics",
    "queue_consumer_count",
    "queue_metrics",
];

/// What has been scraped, for the metrics about metrics.
#[derive(Debug, Default)]
pub(crate) struct Scrapes {
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Management {
    /// Answers a request for metrics. Anybody may ask.
    pub fn metrics(self: &Arc<Self>, head: &Parts, now: Timestamp) -> Answer {
        if head.method == Method::OPTIONS {
            return Answer::empty(StatusCode::OK).allowing("HEAD, GET, OPTIONS");
        }
        if !matches!(head.method, Method::GET | Method::HEAD) {
            let refused = Answer::from(Failure::method_not_allowed());
            return refused.allowing("HEAD, GET, OPTIONS");
        }
        let path = head.uri.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let query = Query::parse(head.uri.query().unwrap_or_default());
        match path.strip_prefix(self.options.metrics_path.as_str()) {
            Some("") => self.aggregated(now),
            Some("/per-object") => self.per_object(now),
            Some("/detailed") => self.detailed(&query, now),
            Some("/memory-breakdown") => self.memory_breakdown(),
            _ => Failure::no_such_object().into(),
        }
    }

    fn aggregated(&self, now: Timestamp) -> Answer {
        let node = NodeRow::of(self, now);
        let rows = Rows::of(self, now);
        let mut text = Text::default();
        self.identity(&mut text);
        let summed = FAMILIES
            .iter()
            .filter(|family| !matches!(family.source, Source::QueueInfo));
        for family in summed.chain(ALARMS) {
            let name = family.whole_name("");
            text.family(&name, family.kind, family.help);
            text.sample(&name, &[], sum(family, &node, &rows));
        }
        write_global(&mut text, &node);
        write_message_sizes(&mut text, &self.broker.message_sizes());
        write_start(&mut text, &node);
        self.write_lost_log_lines(&mut text);
        write_shovels(&mut text, &self.options.operations.shovels());
        write_absent(&mut text);
        self.whole(text)
    }

    fn per_object(self: &Arc<Self>, now: Timestamp) -> Answer {
        let node = NodeRow::of(self, now);
        let mut first = Text::default();
        self.identity(&mut first);
        write_global(&mut first, &node);
        write_message_sizes(&mut first, &self.broker.message_sizes());
        write_start(&mut first, &node);
        write_absent(&mut first);
        write_logins(&mut first, &node);
        self.write_lost_log_lines(&mut first);
        self.scraped(&mut first, 0);
        let families = FAMILIES.iter().chain(ALARMS).collect();
        self.pieces(first, "", families, node, Rows::of(self, now))
    }

    fn detailed(self: &Arc<Self>, query: &Query, now: Timestamp) -> Answer {
        let groups: Vec<&str> = query.all("family").collect();
        let vhosts: Vec<&str> = query.all("vhost").collect();
        let wanted = |vhost: &str| vhosts.is_empty() || vhosts.contains(&vhost);
        let node = NodeRow::of(self, now);
        let mut rows = Rows::of(self, now);
        rows.queues.retain(|row| wanted(&row.queue.vhost_name));
        rows.exchanges.retain(|row| wanted(&row.vhost));
        rows.connections.retain(|row| wanted(&row.vhost));
        rows.channels.retain(|row| wanted(&row.vhost));
        let mut first = Text::default();
        self.identity(&mut first);
        if groups.contains(&"vhost_status") {
            let name = "rabbitmq_cluster_vhost_status";
            first.family(name, Kind::Gauge, "1 while a virtual host runs.");
            for vhost in self.broker.list_vhosts() {
                first.sample(name, &[("vhost", &vhost.name)], 1.0);
            }
        }
        if groups.contains(&"exchange_names") {
            let name = "rabbitmq_cluster_exchange_name";
            first.family(name, Kind::Gauge, "1 for each exchange.");
            for row in &rows.exchanges {
                let labels = [
                    ("vhost", &*row.vhost),
                    ("exchange", &*row.name),
                    ("type", row.kind.name()),
                ];
                first.sample(name, &labels, 1.0);
            }
        }
        self.scraped(&mut first, 0);
        let is_wanted = |family: &&Family| match family.source {
            Source::QueueInfo => QUEUE_GROUPS.iter().any(|group| groups.contains(group)),
            _ => groups.contains(&family.group),
        };
        let families = FAMILIES.iter().filter(is_wanted).collect();
        self.pieces(first, "detailed_", families, node, rows)
    }

    fn memory_breakdown(&self) -> Answer {
        let memory = Memory::of(self);
        let mut text = Text::default();
        self.identity(&mut text);
        for (name, part) in MEMORY {
            text.family(name, Kind::Gauge, "Memory in use, bytes.");
            text.sample(name, &[], memory.part(part) as f64);
        }
        self.whole(text)
    }

    fn whole(&self, mut text: Text) -> Answer {
        let bytes = text.out.len();
        self.scraped(&mut text, bytes);
        Answer::text(CONTENT_TYPE, Body::Whole(text.out))
    }

    /// `first`, then family by family, a piece at a time.
    fn pieces(
        self: &Arc<Self>,
        first: Text,
        prefix: &'static str,
        families: Vec<&'static Family>,
        node: NodeRow,
        rows: Rows,
    ) -> Answer {
        let mut first = Some(first.out);
        let mut place = (0, 0);
        let pieces = std::iter::from_fn(move || {
            if let Some(first) = first.take() {
                return Some(first);
            }
            let (at, start) = place;
            let family = *families.get(at)?;
            let mut text = Text::default();
            let name = family.whole_name(prefix);
            if start == 0 {
                text.family(&name, family.kind, family.help);
            }
            let end = start + SAMPLES_PER_PIECE;
            place = match write_samples(&mut text, &name, family, &node, &rows, start..end) {
                true => (at, end),
                false => (at + 1, 0),
            };
            Some(text.out)
        });
        Answer::text(CONTENT_TYPE, Body::Pieces(Box::new(pieces)))
    }

    fn identity(&self, text: &mut Text) {
        let options = &self.broker.options;
        let name = "rabbitmq_build_info";
        text.family(name, Kind::Untyped, "What runs here.");
        let labels = [
            ("rabbitmq_version", self.options.rabbitmq_version),
            ("prometheus_plugin_version", self.options.rabbitmq_version),
            ("prometheus_client_version", self.options.leveret_version),
            ("erlang_version", "0"),
            ("product_name", "Leveret"),
            ("product_version", self.options.leveret_version),
        ];
        text.sample(name, &labels, 1.0);
        let name = "rabbitmq_identity_info";
        text.family(name, Kind::Untyped, "Who this is.");
        let cluster_name = self.broker.cluster_name();
        let parameters = self.broker.list_global_parameters();
        let id = parameters
            .iter()
            .find(|(name, _)| &**name == "internal_cluster_id");
        let id = id.and_then(|(_, value)| value.as_str());
        let labels = [
            ("rabbitmq_node", options.node_name.as_str()),
            ("rabbitmq_cluster", cluster_name.as_str()),
            ("rabbitmq_cluster_permanent_id", id.unwrap_or(&cluster_name)),
            ("rabbitmq_endpoint", "aggregated"),
        ];
        text.sample(name, &labels, 1.0);
    }

    fn write_lost_log_lines(&self, text: &mut Text) {
        let name = "leveret_log_lines_lost_total";
        let help = "Lines of the log that were lost because nobody took them.";
        text.family(name, Kind::Counter, help);
        let lost = self.options.operations.lost_log_lines();
        for (output, lines) in [("console", lost.console), ("exchange", lost.exchange)] {
            text.sample(name, &[("output", output)], lines as f64);
        }
    }

    /// Counts this scrape. How long scrapes take is not told: nobody below the listeners has a clock.
    fn scraped(&self, text: &mut Text, bytes: usize) {
        let count = self.scrapes.count.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self
            .scrapes
            .bytes
            .fetch_add(bytes as u64, Ordering::Relaxed)
            + bytes as u64;
        for (name, help, sum) in [
            ("telemetry_scrape_duration_seconds", "Not measured.", 0),
            ("telemetry_scrape_size_bytes", "Sizes of scrapes.", bytes),
            (
                "telemetry_scrape_encoded_size_bytes",
                "Sizes of scrapes.",
                bytes,
            ),
        ] {
            text.family(name, Kind::Summary, help);
            text.sample(&format!("{name}_count"), &[], count as f64);
            text.sample(&format!("{name}_sum"), &[], sum as f64);
        }
    }
}

fn sum(family: &Family, node: &NodeRow, rows: &Rows) -> f64 {
    fn total<T>(rows: &[T], value: fn(&T) -> u64) -> f64 {
        rows.iter().map(value).sum::<u64>() as f64
    }
    match family.source {
        Source::Node(value) => value(node),
        Source::Queue(value) => total(&rows.queues, value),
        Source::QueueShare(value) => rows.queues.iter().map(value).sum(),
        Source::QueueMax(value) => rows.queues.iter().map(value).max().unwrap_or(0) as f64,
        Source::QueueInfo => rows.queues.len() as f64,
        Source::Exchange(value) => total(&rows.exchanges, value),
        Source::Connection(value) => total(&rows.connections, value),
        Source::Channel(value)
        | Source::ChannelQueue(value)
        | Source::ChannelExchange(value)
        | Source::ChannelQueueExchange(value) => total(&rows.channels, value),
    }
}

/// The samples of the rows in `range`; gives whether there are more behind them.
fn write_samples(
    text: &mut Text,
    name: &str,
    family: &Family,
    node: &NodeRow,
    rows: &Rows,
    range: std::ops::Range<usize>,
) -> bool {
    fn part<T>(rows: &[T], range: std::ops::Range<usize>) -> (&[T], bool) {
        let end = range.end.min(rows.len());
        (&rows[range.start.min(end)..end], rows.len() > range.end)
    }
    match family.source {
        Source::Node(value) => {
            text.sample(name, &[], value(node));
            false
        }
        Source::Queue(_) | Source::QueueMax(_) | Source::QueueShare(_) => {
            let (part, is_more) = part(&rows.queues, range);
            for row in part {
                let value = match family.source {
                    Source::Queue(value) | Source::QueueMax(value) => value(row) as f64,
                    Source::QueueShare(value) => value(row),
                    _ => 0.0,
                };
                let labels = [
                    ("vhost", &*row.queue.vhost_name),
                    ("queue", row.queue.name()),
                ];
                text.sample(name, &labels, value);
            }
            is_more
        }
        Source::QueueInfo => {
            let (part, is_more) = part(&rows.queues, range);
            for row in part {
                let labels = [
                    ("vhost", &*row.queue.vhost_name),
                    ("queue", row.queue.name()),
                    ("queue_type", type_label(row.queue.kind)),
                    ("membership", "leader"),
                ];
                text.sample(name, &labels, 1.0);
            }
            is_more
        }
        Source::Exchange(value) => {
            let (part, is_more) = part(&rows.exchanges, range);
            for row in part {
                let labels = [("vhost", &*row.vhost), ("exchange", &*row.name)];
                text.sample(name, &labels, value(row) as f64);
            }
            is_more
        }
        Source::Connection(value) => {
            let (part, is_more) = part(&rows.connections, range);
            for row in part {
                text.sample(name, &[("connection", &row.facts.name)], value(row) as f64);
            }
            is_more
        }
        Source::Channel(value)
        | Source::ChannelQueue(value)
        | Source::ChannelExchange(value)
        | Source::ChannelQueueExchange(value) => {
            let (part, is_more) = part(&rows.channels, range);
            for row in part {
                text.sample(name, &[("channel", &row.name())], value(row) as f64);
            }
            is_more
        }
    }
}

type ByProtocol = (&'static str, Kind, fn(&GlobalCounters) -> u64);
type ByQueueType = (&'static str, fn(&Deliveries) -> u64);
type ByStrategy = (&'static str, fn(&DeadLettered) -> u64);

/// `rabbitmq_global_*` by protocol.
#[rustfmt::skip]
const BY_PROTOCOL: &[ByProtocol] = &[
    ("messages_received_total", Kind::Counter, |g| g.counters.publishes.publish),
    ("messages_received_confirm_total", Kind::Counter, |g| g.counters.publishes.publish_confirm),
    ("messages_routed_total", Kind::Counter, |g| g.counters.publishes.routed),
    ("messages_unroutable_dropped_total", Kind::Counter, |g| g.counters.publishes.drop_unroutable),
    ("messages_unroutable_returned_total", Kind::Counter, |g| g.counters.publishes.return_unroutable),
    ("messages_confirmed_total", Kind::Counter, |g| g.counters.publishes.confirm),
    ("publishers", Kind::Gauge, |g| g.publishers),
    ("consumers", Kind::Gauge, |g| g.consumers),
];

/// `rabbitmq_global_*` by protocol and queue type.
#[rustfmt::skip]
const BY_QUEUE_TYPE: &[ByQueueType] = &[
    ("messages_delivered_total", Deliveries::deliver_get),
    ("messages_delivered_consume_manual_ack_total", |d| d.deliver),
    ("messages_delivered_consume_auto_ack_total", |d| d.deliver_no_ack),
    ("messages_delivered_get_manual_ack_total", |d| d.get),
    ("messages_delivered_get_auto_ack_total", |d| d.get_no_ack),
    ("messages_get_empty_total", |d| d.get_empty),
    ("messages_redelivered_total", |d| d.redeliver),
    ("messages_acknowledged_total", |d| d.ack),
];

/// `rabbitmq_global_*` by queue type and dead-letter strategy.
#[rustfmt::skip]
const BY_STRATEGY: &[ByStrategy] = &[
    ("messages_dead_lettered_maxlen_total", |d| d.maxlen),
    ("messages_dead_lettered_expired_total", |d| d.expired),
    ("messages_dead_lettered_rejected_total", |d| d.rejected),
    ("messages_dead_lettered_delivery_limit_total", |d| d.delivery_limit),
    ("messages_dead_lettered_confirmed_total", |d| d.confirmed),
];

fn write_global(text: &mut Text, node: &NodeRow) {
    const HELP: &str = "Since the node started.";
    for (name, kind, value) in BY_PROTOCOL {
        let name = format!("rabbitmq_global_{name}");
        text.family(&name, *kind, HELP);
        for global in &node.global {
            let labels = [("protocol", global.protocol.label())];
            text.sample(&name, &labels, value(global) as f64);
        }
    }
    for (name, value) in BY_QUEUE_TYPE {
        let name = format!("rabbitmq_global_{name}");
        text.family(&name, Kind::Counter, HELP);
        for global in &node.global {
            let counters = &global.counters;
            for (kind, deliveries) in [
                ("rabbit_classic_queue", &counters.classic),
                ("rabbit_quorum_queue", &counters.quorum),
                ("rabbit_stream_queue", &counters.stream),
            ] {
                let labels = [("protocol", global.protocol.label()), ("queue_type", kind)];
                text.sample(&name, &labels, value(deliveries) as f64);
            }
        }
    }
    for (name, value) in BY_STRATEGY {
        let name = format!("rabbitmq_global_{name}");
        text.family(&name, Kind::Counter, HELP);
        for totals in &node.dead_letters {
            text.sample(
                &name,
                &strategy_labels(totals),
                value(&totals.counters) as f64,
            );
        }
    }
}

/// How large published messages are. AMQP 0-9-1 is the only protocol so far.
fn write_message_sizes(text: &mut Text, sizes: &MessageSizes) {
    let name = "rabbitmq_message_size_bytes";
    text.family(name, Kind::Histogram, "Sizes of published messages, bytes.");
    let protocol = ("protocol", Protocol::Amqp091.label());
    let bounds = MESSAGE_SIZE_BOUNDS.iter().map(u64::to_string);
    let mut count = 0;
    for (bound, messages) in bounds.chain(["+Inf".to_owned()]).zip(sizes.buckets) {
        count += messages;
        let labels = [protocol, ("le", bound.as_str())];
        text.sample(&format!("{name}_bucket"), &labels, count as f64);
    }
    text.sample(&format!("{name}_count"), &[protocol], count as f64);
    text.sample(&format!("{name}_sum"), &[protocol], sizes.sum as f64);
}

fn strategy_labels(
    totals: &leveret_broker::broker::listing::DeadLetterTotals,
) -> [Label<'static>; 2] {
    let strategy = match totals.strategy {
        DeadLetter::Off => "disabled",
        DeadLetter::AtMostOnce => "at_most_once",
        DeadLetter::AtLeastOnce => "at_least_once",
    };
    [
        ("queue_type", type_label(totals.kind)),
        ("dead_letter_strategy", strategy),
    ]
}

fn type_label(kind: queue::Kind) -> &'static str {
    match kind {
        queue::Kind::Classic => "rabbit_classic_queue",
        queue::Kind::Quorum => "rabbit_quorum_queue",
        queue::Kind::Stream => "rabbit_stream_queue",
    }
}

fn write_start(text: &mut Text, node: &NodeRow) {
    let name = "process_start_time_seconds";
    text.family(name, Kind::Gauge, "When the node started, since the epoch.");
    text.sample(name, &[], node.started_at.0 as f64 / 1000.0);
}

/// How many shovels there are in each state, and as in RabbitMQ (rabbitmq_shovel_prometheus) nothing of a state that none is in.
fn write_shovels(text: &mut Text, shovels: &[ShovelStatus]) {
    let name = "rabbitmq_shovel_dynamic";
    text.family(name, Kind::Gauge, "Shovels of parameters, by state.");
    let mut states = BTreeMap::<_, u64>::new();
    for shovel in shovels {
        *states.entry(shovel.state.name()).or_default() += 1;
    }
    for (state, count) in states {
        text.sample(name, &[("status", state)], count as f64);
    }
    let name = "rabbitmq_shovel_static";
    text.family(name, Kind::Gauge, "Shovels of the configuration: none.");
}

/// Log-ins by protocol.
fn write_logins(text: &mut Text, node: &NodeRow) {
    type Figure = fn(&LoginRow) -> u64;
    let kinds: [(&str, Figure); 3] = [
        ("total", |row| row.succeeded + row.failed),
        ("succeeded_total", |row| row.succeeded),
        ("failed_total", |row| row.failed),
    ];
    for (name, value) in kinds {
        let name = format!("rabbitmq_auth_attempts_detailed_{name}");
        text.family(&name, Kind::Counter, "Log-ins by protocol.");
        for row in &node.logins {
            text.sample(&name, &[("protocol", row.protocol)], value(row) as f64);
        }
    }
}

fn write_absent(text: &mut Text) {
    for (name, kind) in absent::ABSENT {
        text.family(name, *kind, absent::HELP);
        text.sample(name, &[], 0.0);
    }
}
