//! What operators see: every object of the node as plain data, in an order that does not change between two looks.
//!
//! Nobody's permission is asked for here; that is up to who shows it. Listings are snapshots of one object each, not of
//! all of them at one moment. Those that may be long copy no more than a reference per object under the topology's lock:
//! to show a page of a hundred thousand queues, list them, choose, and ask [`LiveQueue::status`] of those on the page.

use std::ops::{Deref, Range};
use std::sync::Arc;

use super::{Broker, Topology};
use crate::catalogue::{self, Vhost, VhostLimits, VhostMetadata};
use crate::connections::{
    ChannelInfo, Churn, ConnectionInfo, GlobalCounters, LoginCounters, LoginTally, Protocol,
};
use crate::counters::{DeadLettered, ExchangeCounters, MessageSizes};
use crate::error::ResourceKind;
use crate::exchange::{self, Destination};
use crate::flows::{DeliveryFlow, PublishFlow, RoutedFlow};
use crate::ids::ExchangeId;
use crate::live_queue::{ConnectionId, ConsumerInfo, LiveQueue};
use crate::policies::Applied;
use crate::queue;
use crate::table::Table;
use crate::users::{Permissions, TopicPermissions, User};

/// A vhost in a listing.
#[derive(Debug, Clone)]
pub struct VhostInfo {
    pub name: Arc<str>,
    pub metadata: VhostMetadata,
    pub limits: VhostLimits,
    /// The firehose is on.
    pub tracing: bool,
    /// How many queues there are.
    pub queues: usize,
}

/// What a user may do in a vhost.
#[derive(Debug, Clone)]
pub struct PermissionInfo {
    pub user: Arc<str>,
    pub vhost: Arc<str>,
    pub permissions: Permissions,
}

/// Which routing keys a user may use with a topic exchange.
#[derive(Debug, Clone)]
pub struct TopicPermissionInfo {
    pub user: Arc<str>,
    pub vhost: Arc<str>,
    pub exchange: Arc<str>,
    pub permissions: TopicPermissions,
}

/// An exchange in a listing.
#[derive(Debug, Clone)]
pub struct ExchangeInfo {
    pub vhost: Arc<str>,
    /// Empty: the default exchange.
    pub name: Arc<str>,
    pub kind: exchange::Kind,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: Table,
    /// The user who declared it; nobody: the node itself.
    pub declared_by: Option<Arc<str>>,
    /// Its policies.
    pub applied: Applied,
    /// Since the node started.
    pub counters: ExchangeCounters,
}

/// A binding in a listing. Every queue is bound to the default exchange, whose name is empty, by its name.
#[derive(Debug, Clone)]
pub struct BindingInfo {
    pub vhost: Arc<str>,
    pub source: Arc<str>,
    pub destination: Arc<str>,
    pub destination_kind: ResourceKind,
    pub key: Box<[u8]>,
    pub arguments: Table,
}

/// A consumer, with what it consumes from.
#[derive(Debug, Clone)]
pub struct ConsumerListing {
    pub queue: Arc<LiveQueue>,
    pub consumer: ConsumerInfo,
}

/// How many of each object there are (`object_totals`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ObjectTotals {
    pub vhosts: usize,
    pub exchanges: usize,
    pub queues: usize,
    pub connections: usize,
    pub channels: usize,
    pub consumers: usize,
}

/// Dead-lettered messages of queues of one type, with one `x-dead-letter-strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterTotals {
    pub kind: queue::Kind,
    pub strategy: queue::DeadLetter,
    pub counters: DeadLettered,
}

/// Which bindings to list.
#[derive(Debug, Clone, Copy)]
pub enum BindingsOf<'a> {
    /// Of all vhosts.
    All,
    Vhost(&'a str),
    /// Those that leave an exchange.
    Source {
        vhost: &'a str,
        exchange: &'a str,
    },
    /// Those that lead to a queue or an exchange.
    Destination {
        vhost: &'a str,
        kind: ResourceKind,
        name: &'a str,
    },
}

/// Some queues by vhost and name, as they were at one moment. To have it costs nothing per queue, unless queues came or went
/// since somebody last had it.
#[derive(Debug, Clone)]
pub struct QueueRoll {
    /// Those of all vhosts.
    pub all: Arc<[Arc<LiveQueue>]>,
    /// Which of them are meant.
    pub range: Range<usize>,
}

/// The roll that was asked for last.
#[derive(Debug, Default)]
pub(super) struct KnownRoll {
    queues: Arc<[Arc<LiveQueue>]>,
    /// How often queues had come and gone; `None`: nobody has asked since the start, when what was restored came.
    changes: Option<u64>,
}

impl Broker {
    /// Every vhost, by name.
    pub fn list_vhosts(&self) -> Vec<VhostInfo> {
        let topology = self.topology.read();
        topology.catalogue.vhosts().map(VhostInfo::of).collect()
    }

    /// The vhost of that name.
    pub fn vhost_info(&self, name: &str) -> Option<VhostInfo> {
        let topology = self.topology.read();
        topology.catalogue.vhost(name).map(VhostInfo::of)
    }

    /// Every user of the internal database, by name.
    pub fn list_users(&self) -> Vec<User> {
        self.topology.read().catalogue.users().cloned().collect()
    }

    /// The user of that name.
    pub fn user_info(&self, name: &str) -> Option<User> {
        self.topology.read().catalogue.user(name).cloned()
    }

    /// Every permission, by user and vhost.
    pub fn list_permissions(&self) -> Vec<PermissionInfo> {
        let topology = self.topology.read();
        let all = topology.catalogue.all_permissions();
        all.map(|((user, vhost), permissions)| PermissionInfo {
            user: user.clone(),
            vhost: vhost.clone(),
            permissions: permissions.clone(),
        })
        .collect()
    }

    /// Every topic permission, by user, vhost and exchange.
    pub fn list_topic_permissions(&self) -> Vec<TopicPermissionInfo> {
        let topology = self.topology.read();
        let all = topology.catalogue.all_topic_permissions();
        all.map(
            |([user, vhost, exchange], permissions)| TopicPermissionInfo {
                user: user.clone(),
                vhost: vhost.clone(),
                exchange: exchange.clone(),
                permissions: permissions.clone(),
            },
        )
        .collect()
    }

    /// Every exchange of a vhost (`None`: of all), by vhost and name.
    pub fn list_exchanges(&self, vhost: Option<&str>) -> Vec<ExchangeInfo> {
        let topology = self.topology.read();
        let mut list = Vec::new();
        for vhost in topology.vhosts(vhost) {
            let start = list.len();
            list.extend(vhost.exchanges().map(|it| ExchangeInfo::of(vhost, it)));
            list[start..].sort_unstable_by(|a, b| a.name.cmp(&b.name));
        }
        list
    }

    /// The exchange of that name.
    pub fn exchange_info(&self, vhost: &str, name: &str) -> Option<ExchangeInfo> {
        let topology = self.topology.read();
        let vhost = topology.catalogue.vhost(vhost)?;
        Some(ExchangeInfo::of(vhost, vhost.exchange(name)?))
    }

    /// Every queue of a vhost (`None`: of all), by vhost and name.
    pub fn list_queues(&self, vhost: Option<&str>) -> QueueRoll {
        let topology = self.topology.read();
        // Both are counted while the topology is locked for the change.
        let churn = self.churn.read();
        let changes = Some(churn.queue_created + churn.queue_deleted);
        let mut known = self.roll.lock();
        if known.changes != changes {
            let queues = known.queues_now(&topology);
            drop(topology);
            known.replace(queues, changes);
        }
        QueueRoll::of(&known.queues, vhost)
    }

    /// The queue of that name.
    pub fn queue_info(&self, vhost: &str, name: &str) -> Option<Arc<LiveQueue>> {
        let topology = self.topology.read();
        let (id, _) = topology.catalogue.vhost(vhost)?.queue(name)?;
        topology.queues.get(&id).cloned()
    }

    /// Bindings by vhost, source, destination and key. Those of the default exchange come first.
    pub fn list_bindings(&self, of: BindingsOf<'_>) -> Vec<BindingInfo> {
        let topology = self.topology.read();
        let mut list = Vec::new();
        for vhost in topology.vhosts(of.vhost()) {
            let start = list.len();
            topology.collect_bindings(vhost, of, &mut list);
            list[start..].sort_by(|a: &BindingInfo, b| a.order().cmp(&b.order()));
        }
        list
    }

    /// Every connection that has opened a vhost, in the order in which they came.
    pub fn list_connections(&self) -> Vec<ConnectionInfo> {
        let is_alarm_on = self.alarms.reason().is_some();
        self.connections.lock().list(is_alarm_on)
    }

    /// Every channel, by connection and number.
    pub fn list_channels(&self) -> Vec<ChannelInfo> {
        self.connections.lock().list_channels()
    }

    /// The channels of one connection, by number.
    pub fn channels_of(&self, connection: ConnectionId) -> Vec<ChannelInfo> {
        let connections = self.connections.lock();
        let connected = connections.open.get(&connection);
        connected
            .into_iter()
            .flat_map(|connected| connected.channel_infos(connection))
            .collect()
    }

    /// What each channel published to each exchange, as far as that is told apart.
    pub fn list_publish_flows(&self) -> Vec<PublishFlow> {
        self.connections.lock().list_flows(|channel, flows, list| {
            let publishes = flows.list_publishes().into_iter();
            list.extend(publishes.map(|(exchange, counters)| PublishFlow {
                channel: channel.clone(),
                exchange,
                counters,
            }));
        })
    }

    /// What each channel got out of each queue, as far as that is told apart.
    pub fn list_delivery_flows(&self) -> Vec<DeliveryFlow> {
        self.connections.lock().list_flows(|channel, flows, list| {
            let deliveries = flows.list_deliveries().into_iter();
            list.extend(deliveries.map(|(queue, counters)| DeliveryFlow {
                channel: channel.clone(),
                queue,
                counters,
            }));
        })
    }

    /// What each exchange sent into each queue, as far as that is told apart.
    pub fn list_routed_flows(&self) -> Vec<RoutedFlow> {
        let topology = self.topology.read();
        let exchanges = topology.catalogue.vhosts().flat_map(Vhost::exchanges);
        exchanges
            .flat_map(|exchange| exchange.tally.flows.list(&exchange.name))
            .collect()
    }

    /// Every consumer of a vhost's queues (`None`: of all vhosts), by queue.
    pub fn list_consumers(&self, vhost: Option<&str>) -> Vec<ConsumerListing> {
        let mut list = Vec::new();
        for queue in self.list_queues(vhost).iter() {
            for consumer in queue.consumers() {
                let queue = queue.clone();
                list.push(ConsumerListing { queue, consumer });
            }
        }
        list
    }

    /// How many of each object there are.
    pub fn object_totals(&self) -> ObjectTotals {
        let mut totals = {
            let topology = self.topology.read();
            let exchanges = topology.catalogue.vhosts().map(Vhost::exchange_count);
            ObjectTotals {
                vhosts: topology.catalogue.vhosts().count(),
                exchanges: exchanges.sum(),
                queues: topology.queues.len(),
                ..ObjectTotals::default()
            }
        };
        let connections = self.connections.lock();
        totals.connections = connections.open.len();
        for connected in connections.open.values() {
            totals.channels += connected.channels.len();
            for channel in connected.channels.values() {
                totals.consumers += usize::try_from(channel.consumers.get()).unwrap_or(0);
            }
        }
        totals
    }

    /// Messages by protocol and queue type, since the node started.
    pub fn global_counters(&self) -> Vec<GlobalCounters> {
        self.connections.lock().totals()
    }

    /// How large the messages are that clients published, since the node started.
    pub fn message_sizes(&self) -> MessageSizes {
        self.message_sizes.read()
    }

    /// Dead-lettered messages by queue type and strategy, since the node started.
    pub fn dead_letter_totals(&self) -> [DeadLetterTotals; 3] {
        use queue::{DeadLetter, Kind};
        let [classic, at_most_once, at_least_once] = &self.dead_letters;
        [
            (Kind::Classic, DeadLetter::AtMostOnce, classic),
            (Kind::Quorum, DeadLetter::AtMostOnce, at_most_once),
            (Kind::Quorum, DeadLetter::AtLeastOnce, at_least_once),
        ]
        .map(|(kind, strategy, tally)| DeadLetterTotals {
            kind,
            strategy,
            counters: tally.read(),
        })
    }

    /// Log-ins by protocol since the node started.
    pub fn logins(&self) -> Vec<LoginCounters> {
        let protocols = Protocol::ALL.into_iter();
        protocols
            .map(|protocol| self.logins[protocol as usize].read(protocol))
            .collect()
    }

    /// Counts of log-ins begin anew.
    pub fn reset_logins(&self) {
        self.logins.iter().for_each(LoginTally::reset);
        self.login_sources.reset();
    }

    /// How often connections, channels and queues came and went since the node started.
    pub fn churn(&self) -> Churn {
        self.churn.read()
    }
}

impl KnownRoll {
    /// What is there now: first those that are known, in their order, then the others.
    fn queues_now(&self, topology: &Topology) -> Vec<Arc<LiveQueue>> {
        let is_there = |queue: &&Arc<LiveQueue>| {
            let now = topology.queues.get(&queue.id);
            now.is_some_and(|now| Arc::ptr_eq(now, queue))
        };
        let mut queues: Vec<_> = self.queues.iter().filter(is_there).cloned().collect();
        let all = topology.queues.values();
        if queues.len() < all.len() {
            let last = self.queues.iter().map(|queue| queue.id).max();
            queues.extend(all.clone().filter(|queue| Some(queue.id) > last).cloned());
        }
        // Ids grow, until after 2^32 of them they are used again.
        if queues.len() != all.len() {
            queues = all.cloned().collect();
        }
        queues
    }

    fn replace(&mut self, mut queues: Vec<Arc<LiveQueue>>, changes: Option<u64>) {
        // Few are new, as a rule: a stable sort makes use of the order of the rest.
        queues.sort_by(LiveQueue::by_name);
        *self = Self {
            queues: queues.into(),
            changes,
        };
    }
}

impl QueueRoll {
    fn of(all: &Arc<[Arc<LiveQueue>]>, vhost: Option<&str>) -> Self {
        let range = vhost.map_or(0..all.len(), |vhost| {
            let start = all.partition_point(|queue| &*queue.vhost_name < vhost);
            let end = all.partition_point(|queue| &*queue.vhost_name <= vhost);
            start..end
        });
        Self {
            all: all.clone(),
            range,
        }
    }
}

impl Deref for QueueRoll {
    type Target = [Arc<LiveQueue>];

    fn deref(&self) -> &Self::Target {
        &self.all[self.range.clone()]
    }
}

impl Topology {
    /// The vhost of that name, or all.
    pub(super) fn vhosts(&self, name: Option<&str>) -> impl Iterator<Item = &Vhost> {
        let one = name.map(|name| self.catalogue.vhost(name));
        let all = one.is_none().then(|| self.catalogue.vhosts());
        one.flatten().into_iter().chain(all.into_iter().flatten())
    }

    fn collect_bindings(&self, vhost: &Vhost, of: BindingsOf<'_>, into: &mut Vec<BindingInfo>) {
        match of {
            BindingsOf::All | BindingsOf::Vhost(_) => {
                into.extend(
                    vhost
                        .queues()
                        .map(|(_, queue)| implicit(vhost, &queue.name)),
                );
                for exchange in vhost.exchanges() {
                    into.extend(leaving(vhost, exchange));
                }
            }
            BindingsOf::Source { exchange: "", .. } => {
                into.extend(
                    vhost
                        .queues()
                        .map(|(_, queue)| implicit(vhost, &queue.name)),
                );
            }
            BindingsOf::Source { exchange, .. } => {
                let exchange = vhost.exchange(exchange);
                into.extend(exchange.into_iter().flat_map(|it| leaving(vhost, it)));
            }
            BindingsOf::Destination { kind, name, .. } => {
                let destination = match kind {
                    ResourceKind::Queue => vhost.queue(name).map(|(id, queue)| {
                        into.push(implicit(vhost, &queue.name));
                        Destination::Queue(id)
                    }),
                    ResourceKind::Exchange => {
                        vhost.exchange(name).map(|it| Destination::Exchange(it.id))
                    }
                };
                let bindings = destination.map(|to| vhost.bindings_to(to));
                into.extend(
                    bindings
                        .into_iter()
                        .flatten()
                        .filter_map(|binding| BindingInfo::of(vhost, binding)),
                );
            }
        }
    }
}

/// The binding to the default exchange that every queue has.
fn implicit(vhost: &Vhost, queue: &Arc<str>) -> BindingInfo {
    BindingInfo {
        vhost: vhost.name.clone(),
        source: "".into(),
        destination: queue.clone(),
        destination_kind: ResourceKind::Queue,
        key: queue.as_bytes().into(),
        arguments: Table::new(),
    }
}

fn leaving<'a>(
    vhost: &'a Vhost,
    exchange: &'a catalogue::Exchange,
) -> impl Iterator<Item = BindingInfo> {
    exchange.router.bindings().filter_map(|binding| {
        let (kind, name) = destination(vhost, binding.destination)?;
        Some(BindingInfo {
            vhost: vhost.name.clone(),
            source: exchange.name.clone(),
            destination: name,
            destination_kind: kind,
            key: binding.key.clone(),
            arguments: binding.arguments.clone(),
        })
    })
}

fn destination(vhost: &Vhost, destination: Destination) -> Option<(ResourceKind, Arc<str>)> {
    match destination {
        Destination::Queue(id) => Some((ResourceKind::Queue, vhost.queue_name(id)?.clone())),
        Destination::Exchange(id) => Some((ResourceKind::Exchange, exchange_name(vhost, id)?)),
    }
}

fn exchange_name(vhost: &Vhost, id: ExchangeId) -> Option<Arc<str>> {
    vhost.exchange_of(id).map(|exchange| exchange.name.clone())
}

impl BindingsOf<'_> {
    fn vhost(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Vhost(vhost) | Self::Source { vhost, .. } | Self::Destination { vhost, .. } => {
                Some(vhost)
            }
        }
    }
}

impl BindingInfo {
    fn of(vhost: &Vhost, binding: &catalogue::Binding) -> Option<Self> {
        let (kind, name) = destination(vhost, binding.destination)?;
        Some(Self {
            vhost: vhost.name.clone(),
            source: exchange_name(vhost, binding.source)?,
            destination: name,
            destination_kind: kind,
            key: binding.key.clone(),
            arguments: binding.arguments.clone(),
        })
    }

    fn order(&self) -> (&str, bool, &str, &[u8]) {
        let to_queue = self.destination_kind == ResourceKind::Queue;
        (&self.source, !to_queue, &self.destination, &self.key)
    }
}

impl VhostInfo {
    fn of(vhost: &Vhost) -> Self {
        Self {
            name: vhost.name.clone(),
            metadata: vhost.metadata.clone(),
            limits: vhost.limits,
            tracing: vhost.tracing,
            queues: vhost.queue_count(),
        }
    }
}

impl ExchangeInfo {
    fn of(vhost: &Vhost, exchange: &catalogue::Exchange) -> Self {
        let declaration = &exchange.declaration;
        Self {
            vhost: vhost.name.clone(),
            name: exchange.name.clone(),
            kind: declaration.kind,
            durable: declaration.durable,
            auto_delete: declaration.auto_delete,
            internal: declaration.internal,
            arguments: declaration.arguments.clone(),
            declared_by: declaration.declared_by.clone(),
            applied: exchange.applied.clone(),
            counters: exchange.tally.read(),
        }
    }
}
