//! What the metrics are made of: one look at every object of the node.

use std::sync::Arc;

use leveret_broker::broker::listing::{DeadLetterTotals, ExchangeInfo, ObjectTotals};
use leveret_broker::connections::{ChannelInfo, Churn, ConnectionInfo, GlobalCounters};
use leveret_broker::counters::QueueCounters;
use leveret_broker::live_queue::LiveQueue;
use leveret_broker::queue::Stats;
use leveret_broker::time::Timestamp;

use crate::{Host, Management};

/// The figures of the node.
pub(super) struct NodeRow {
    pub(super) host: Host,
    pub(super) uptime_ms: u64,
    pub(super) started_at: Timestamp,
    pub(super) memory_alarm: bool,
    pub(super) disk_alarm: bool,
    pub(super) totals: ObjectTotals,
    pub(super) churn: Churn,
    pub(super) global: Vec<GlobalCounters>,
    pub(super) dead_letters: Vec<DeadLetterTotals>,
    pub(super) logins: Vec<LoginRow>,
}

/// Log-ins by one protocol: those that succeeded, and those that failed.
pub(super) struct LoginRow {
    pub(super) protocol: &'static str,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
}

impl NodeRow {
    pub(super) fn of(management: &Management, now: Timestamp) -> Self {
        let broker = &management.broker;
        let alarms = broker.alarms.reason().unwrap_or_default();
        Self {
            host: (management.options.host)(),
            uptime_ms: now.0.saturating_sub(management.started_at.0),
            started_at: management.started_at,
            memory_alarm: alarms.contains("memory"),
            disk_alarm: alarms.contains("disk"),
            totals: broker.object_totals(),
            churn: broker.churn(),
            global: broker.global_counters(),
            dead_letters: broker.dead_letter_totals().to_vec(),
            logins: logins(management),
        }
    }

    pub(super) fn logins_succeeded(&self) -> u64 {
        self.logins.iter().map(|row| row.succeeded).sum()
    }

    pub(super) fn logins_failed(&self) -> u64 {
        self.logins.iter().map(|row| row.failed).sum()
    }
}

fn logins(management: &Management) -> Vec<LoginRow> {
    let attempts = &management.attempts;
    let http = LoginRow {
        protocol: "http",
        succeeded: attempts.succeeded(),
        failed: attempts.failed(),
    };
    let others = management.broker.logins().into_iter();
    let others = others.map(|it| LoginRow {
        protocol: it.protocol.short_name(),
        succeeded: it.succeeded,
        failed: it.failed,
    });
    [http].into_iter().chain(others).collect()
}

/// A queue and its figures.
pub(super) struct QueueRow {
    pub(super) queue: Arc<LiveQueue>,
    pub(super) stats: Stats,
    pub(super) counters: QueueCounters,
    /// How long the oldest ready message has waited at least, s.
    pub(super) oldest_message_age: u64,
}

impl QueueRow {
    fn of(management: &Management, queue: &Arc<LiveQueue>, now: Timestamp) -> Self {
        let (stats, counters) = queue.numbers();
        let age = || management.oldest_message_age(queue, now);
        let age = (stats.ready > 0).then(age).flatten();
        Self {
            queue: queue.clone(),
            stats,
            counters,
            oldest_message_age: age.unwrap_or_default(),
        }
    }

    /// Of an empty queue it is 0, and not looked for.
    pub(super) fn head_message_timestamp(&self) -> u64 {
        match self.stats.ready {
            0 => 0,
            _ => self.queue.head_message_timestamp().unwrap_or_default(),
        }
    }

    /// Messages that are on disk only.
    pub(super) fn paged_out(&self) -> u64 {
        self.stats.on_disk.ready + self.stats.on_disk.unsettled
    }

    /// Bodies that are on disk only.
    pub(super) fn paged_out_bytes(&self) -> u64 {
        self.stats.on_disk.ready_bytes + self.stats.on_disk.unsettled_bytes
    }

    /// Messages in it, wherever in their lives they are.
    pub(super) fn messages(&self) -> u64 {
        let stats = &self.stats;
        stats.ready + stats.unsettled + stats.delayed + stats.dead_lettering
    }
}

/// Every object, for families with a sample for each.
pub(super) struct Rows {
    pub(super) queues: Vec<QueueRow>,
    pub(super) exchanges: Vec<ExchangeInfo>,
    pub(super) connections: Vec<ConnectionInfo>,
    pub(super) channels: Vec<ChannelInfo>,
}

impl Rows {
    /// In an order that does not change between two scrapes.
    pub(super) fn of(management: &Management, now: Timestamp) -> Self {
        let broker = &management.broker;
        let queues = broker.list_queues(None);
        let queues = queues.iter();
        Self {
            queues: queues.map(|it| QueueRow::of(management, it, now)).collect(),
            exchanges: broker.list_exchanges(None),
            connections: broker.list_connections(),
            channels: broker.list_channels(),
        }
    }
}
