//! The connections that have logged in, and their channels: who is there, and what they do.
//!
//! The doors register what they know of a client ([`Facts`]) when it opens its vhost, and keep the numbers that change
//! ([`Activity`]) up to date while it is there; a channel does the same with its own. Listing them takes the table's lock
//! for as long as copying what is listed takes, and stops no connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::catalogue::Map;
use crate::counters::{ChannelCounters, ChannelTally, Counter};
use crate::events::{Event, PERFORMED_BY, channel_pid, connection_pid, text};
use crate::flows::ChannelFlows;
use crate::live_queue::{ConnectionId, LiveQueue};
use crate::mailbox::Mailbox;
use crate::principal::Principal;
use crate::table::{Table, Value};
use crate::time::Timestamp;

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Amqp091,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Amqp091];

    /// Its name in metrics and counts of log-ins.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Amqp091 => "amqp091",
        }
    }

    /// Its name in listings: `AMQP 0-9-1`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amqp091 => "AMQP 0-9-1",
        }
    }

    /// Its name as a label of metrics: `amqp091`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Amqp091 => "amqp091",
        }
    }
}

/// What is known of a client from its opening on. Never changes.
#[derive(Debug, Default)]
pub struct Facts {
    /// `peer:port -> local:port`.
    pub name: String,
    /// `connection_name` of the client's properties (C14).
    pub user_provided_name: Option<String>,
    /// `None`: not by a socket that has an address.
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    pub protocol: Protocol,
    /// The name of the SASL mechanism.
    pub auth_mechanism: &'static str,
    pub tls: Option<Arc<TlsFacts>>,
    pub client_properties: Table,
    pub channel_max: u16,
    /// Octets; 0: no limit.
    pub frame_max: u32,
    /// The heartbeat interval, seconds; 0: none.
    pub timeout_s: u16,
    pub connected_at: Timestamp,
}

/// What was agreed on when the client's TLS session began. The words are those of RabbitMQ's `ssl_*` fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFacts {
    /// `tlsv1.3`.
    pub protocol: String,
    pub key_exchange: String,
    pub cipher: String,
    pub hash: String,
    /// The client's own certificate, if it has shown one.
    pub peer: Option<PeerCertificate>,
}

/// A client's certificate, in the words of RabbitMQ's `peer_cert_*` fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerCertificate {
    /// Names are written as in RFC 4514.
    pub subject: String,
    pub issuer: String,
    /// Hexadecimal.
    pub serial_number: String,
    /// `2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z`.
    pub validity: String,
}

/// A field that listings and events have of a client's certificate.
pub type PeerField = (&'static str, fn(&PeerCertificate) -> &str);

/// All of them.
pub const PEER_FIELDS: [PeerField; 4] = [
    ("peer_cert_subject", |it| &it.subject),
    ("peer_cert_issuer", |it| &it.issuer),
    ("peer_cert_serial_number", |it| &it.serial_number),
    ("peer_cert_validity", |it| &it.validity),
];

/// The numbers of a connection that change. Written by the thread that the connection lives on.
#[derive(Debug, Default)]
pub struct Activity {
    /// Octets read from the socket.
    pub received_bytes: Counter,
    /// How many reads they took.
    pub receives: Counter,
    /// Octets written to the socket.
    pub sent_bytes: Counter,
    /// How many writes they took.
    pub sends: Counter,
    /// Octets that wait to be written.
    pub send_pending: Counter,
    /// An alarm holds this publisher.
    pub blocked: AtomicBool,
    /// `connection.close` was sent.
    pub closing: AtomicBool,
}

/// A channel as others see it. Written by the thread that its connection lives on.
#[derive(Debug, Default)]
pub(crate) struct LiveChannel {
    pub(crate) counters: ChannelTally,
    pub(crate) confirm: AtomicBool,
    pub(crate) transactional: AtomicBool,
    pub(crate) prefetch: Counter,
    pub(crate) global_prefetch: Counter,
    pub(crate) consumers: Counter,
    pub(crate) unacknowledged: Counter,
    pub(crate) unconfirmed: Counter,
    pub(crate) uncommitted: Counter,
    pub(crate) acks_uncommitted: Counter,
}

impl LiveChannel {
    /// `flows`: what it tells apart, if it is to.
    pub(crate) fn new(flows: Option<Box<ChannelFlows>>) -> Self {
        Self {
            counters: ChannelTally::new(flows),
            ..Self::default()
        }
    }
}

/// A connection that has logged in.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) activity: Arc<Activity>,
    /// By number.
    pub(crate) channels: BTreeMap<u16, Arc<LiveChannel>>,
    /// Exclusive queues, which go with it.
    pub(crate) exclusive: Vec<Arc<LiveQueue>>,
}

/// Every connection of the node.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) open: Map<ConnectionId, Connected>,
    /// How many channels there are.
    channels: usize,
    /// Why the node takes no clients, if it takes none.
    pub(crate) refusal: Option<Arc<str>>,
    /// What channels had counted when they were closed, by the place of their protocol in [`Protocol::ALL`].
    retired: [ChannelCounters; Protocol::ALL.len()],
}

/// How often connections, channels and queues came and went since the node started (`churn_rates`).
#[derive(Debug, Default)]
pub(crate) struct ChurnTally {
    pub(crate) connection_created: AtomicU64,
    pub(crate) connection_closed: AtomicU64,
    pub(crate) channel_created: AtomicU64,
    pub(crate) channel_closed: AtomicU64,
    pub(crate) queue_declared: AtomicU64,
    pub(crate) queue_created: AtomicU64,
    pub(crate) queue_deleted: AtomicU64,
}

/// How often connections, channels and queues came and went since the node started (`churn_rates`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Churn {
    pub connection_created: u64,
    pub connection_closed: u64,
    pub channel_created: u64,
    pub channel_closed: u64,
    /// Declarations of queues, new and known.
    pub queue_declared: u64,
    pub queue_created: u64,
    pub queue_deleted: u64,
}

impl ChurnTally {
    pub(crate) fn count(which: &AtomicU64) {
        which.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Churn {
        let get = |which: &AtomicU64| which.load(Ordering::Relaxed);
        Churn {
            connection_created: get(&self.connection_created),
            connection_closed: get(&self.connection_closed),
            channel_created: get(&self.channel_created),
            channel_closed: get(&self.channel_closed),
            queue_declared: get(&self.queue_declared),
            queue_created: get(&self.queue_created),
            queue_deleted: get(&self.queue_deleted),
        }
    }
}

/// A connection in a listing.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    pub id: ConnectionId,
    pub facts: Arc<Facts>,
    pub user: Arc<str>,
    pub vhost: Arc<str>,
    pub state: ConnectionState,
    /// How many channels are open.
    pub channels: usize,
    pub recv_oct: u64,
    pub recv_cnt: u64,
    pub send_oct: u64,
    pub send_cnt: u64,
    pub send_pend: u64,
    /// Of its open channels.
    pub counters: ChannelCounters,
}

/// RabbitMQ's `state` of a connection. There is no `flow`: back-pressure is that of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    Running,
    /// An alarm is on, and would block it if it published.
    Blocking,
    /// An alarm holds it.
    Blocked,
    Closing,
}

impl ConnectionState {
    /// RabbitMQ's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Blocking => "blocking",
            Self::Blocked => "blocked",
            Self::Closing => "closing",
        }
    }
}

/// A channel in a listing.
#[derive(Debug, Clone)]
pub struct ChannelInfo {
    pub connection: ConnectionId,
    /// Those of its connection.
    pub facts: Arc<Facts>,
    pub number: u16,
    pub user: Arc<str>,
    pub vhost: Arc<str>,
    pub confirm: bool,
    pub transactional: bool,
    pub prefetch_count: u64,
    pub global_prefetch_count: u64,
    pub consumer_count: u64,
    pub messages_unacknowledged: u64,
    pub messages_unconfirmed: u64,
    pub messages_uncommitted: u64,
    pub acks_uncommitted: u64,
    pub counters: ChannelCounters,
}

impl ChannelInfo {
    /// `peer:port -> local:port (number)`.
    pub fn name(&self) -> String {
        format!("{} ({})", self.facts.name, self.number)
    }
}

/// Messages by protocol: what RabbitMQ's `rabbitmq_global_*` metrics tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlobalCounters {
    pub protocol: Protocol,
    /// Of all channels there are and were.
    pub counters: ChannelCounters,
    /// Open channels that have published.
    pub publishers: u64,
    pub consumers: u64,
}

impl Connections {
    /// How many connections are so.
    pub(crate) fn count(&self, is_so: impl Fn(&Connected) -> bool) -> usize {
        self.open.values().filter(|entry| is_so(entry)).count()
    }

    /// How many channels there are.
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// How many of them a user has.
    pub(crate) fn channels_of(&self, user: &str) -> usize {
        let theirs = self.open.values();
        let theirs = theirs.filter(|entry| &*entry.principal.user == user);
        theirs.map(|entry| entry.channels.len()).sum()
    }

    /// Notes a channel. Gives its connection; `None`: that is not there.
    pub(crate) fn add_channel(
        &mut self,
        connection: ConnectionId,
        number: u16,
        channel: &Arc<LiveChannel>,
    ) -> Option<&Connected> {
        let connected = self.open.get_mut(&connection)?;
        connected.channels.insert(number, channel.clone());
        self.channels += 1;
        Some(connected)
    }

    /// Takes the channel's numbers into the totals. Gives its connection; `None`: it was not there any more.
    pub(crate) fn retire(
        &mut self,
        connection: ConnectionId,
        number: u16,
        channel: &Arc<LiveChannel>,
    ) -> Option<&Connected> {
        let connected = self.open.get_mut(&connection)?;
        let known = connected.channels.get(&number);
        if !known.is_some_and(|known| Arc::ptr_eq(known, channel)) {
            return None;
        }
        connected.channels.remove(&number);
        self.channels -= 1;
        let total = &mut self.retired[place(connected.facts.protocol)];
        *total = total.plus(&channel.counters.read());
        Some(connected)
    }

    /// Takes the connection out, with all channels that it still has; gives those.
    pub(crate) fn remove(
        &mut self,
        connection: ConnectionId,
    ) -> Option<(Connected, BTreeMap<u16, Arc<LiveChannel>>)> {
        let mut connected = self.open.remove(&connection)?;
        let channels = std::mem::take(&mut connected.channels);
        self.channels -= channels.len();
        let total = &mut self.retired[place(connected.facts.protocol)];
        for channel in channels.values() {
            *total = total.plus(&channel.counters.read());
        }
        Some((connected, channels))
    }

    pub(crate) fn list(&self, is_alarm_on: bool) -> Vec<ConnectionInfo> {
        let entries = self.open.iter();
        let mut list: Vec<_> = entries
            .map(|(&id, connected)| connected.info(id, is_alarm_on))
            .collect();
        list.sort_unstable_by_key(|info| info.id);
        list
    }

    pub(crate) fn list_channels(&self) -> Vec<ChannelInfo> {
        let mut list: Vec<_> = self
            .open
            .iter()
            .flat_map(|(&id, connected)| connected.channel_infos(id))
            .collect();
        list.sort_unstable_by_key(|info| (info.connection, info.number));
        list
    }

    /// What `list` makes of each channel that tells flows apart.
    pub(crate) fn list_flows<T>(
        &self,
        list: impl Fn(&ChannelInfo, &ChannelFlows, &mut Vec<T>),
    ) -> Vec<T> {
        let mut all = Vec::new();
        for (&id, connected) in &self.open {
            for (&number, channel) in &connected.channels {
                if let Some(flows) = &channel.counters.flows {
                    let info = connected.channel_info(id, number, channel);
                    list(&info, flows, &mut all);
                }
            }
        }
        all
    }

    pub(crate) fn totals(&self) -> Vec<GlobalCounters> {
        Protocol::ALL
            .into_iter()
            .map(|protocol| self.totals_of(protocol))
            .collect()
    }

    fn totals_of(&self, protocol: Protocol) -> GlobalCounters {
        let mut total = GlobalCounters {
            protocol,
            counters: self.retired[place(protocol)],
            publishers: 0,
            consumers: 0,
        };
        let of_protocol = |connected: &&Connected| connected.facts.protocol == protocol;
        for connected in self.open.values().filter(of_protocol) {
            for channel in connected.channels.values() {
                let counters = channel.counters.read();
                total.counters = total.counters.plus(&counters);
                total.publishers += u64::from(counters.publishes.publish > 0);
                total.consumers += channel.consumers.get();
            }
        }
        total
    }
}

fn place(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Amqp091 => 0,
    }
}

/// Somebody who wants to log in.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub protocol: Protocol,
    pub user: &'a str,
    pub auth_mechanism: &'a str,
    /// `peer:port -> local:port`.
    pub connection: &'a str,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// What was agreed on, if the connection is encrypted.
    pub tls: Option<&'a TlsFacts>,
    pub succeeded: bool,
}

impl Attempt<'_> {
    pub(crate) fn event(&self) -> Event {
        let name = if self.succeeded {
            "user.authentication.success"
        } else {
            "user.authentication.failure"
        };
        let error = (!self.succeeded).then(|| {
            let text_of = format!("user '{}' - invalid credentials", self.user);
            ("error", text(&text_of))
        });
        let facts = [
            ("name", text(self.user)),
            ("connection_name", text(self.connection)),
            ("connection_type", text("network")),
            ("host", text(&self.local.ip().to_string())),
            ("protocol", text(self.protocol.name())),
            ("auth_mechanism", text(self.auth_mechanism)),
            ("peer_host", text(&self.peer.ip().to_string())),
            ("peer_port", Value::I64(self.peer.port().into())),
            ("ssl", Value::Bool(self.tls.is_some())),
        ];
        let suite = self.tls.map(|tls| {
            [
                ("ssl_protocol", text(&tls.protocol)),
                ("ssl_cipher", text(&tls.cipher)),
            ]
        });
        let certificate = self.tls.and_then(|tls| tls.peer.as_ref());
        let certificate =
            certificate.map(|peer| PEER_FIELDS.map(|(name, field)| (name, text(field(peer)))));
        let of_tls = suite.into_iter().flatten();
        let of_tls = of_tls.chain(certificate.into_iter().flatten());
        Event::new(name, facts.into_iter().chain(of_tls).chain(error))
    }
}

/// Log-ins by one protocol since the node started.
#[derive(Debug, Default)]
pub(crate) struct LoginTally {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

/// Log-ins by one protocol since the node started (`auth_attempts_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginCounters {
    pub protocol: Protocol,
    pub succeeded: u64,
    pub failed: u64,
}

impl LoginTally {
    pub(crate) fn count(&self, succeeded: bool) {
        let which = if succeeded {
            &self.succeeded
        } else {
            &self.failed
        };
        which.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reset(&self) {
        self.succeeded.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, protocol: Protocol) -> LoginCounters {
        LoginCounters {
            protocol,
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

// What is told of connections and channels (E19).
impl Connected {
    pub(crate) fn created(&self, node: &str) -> Event {
        let facts = &self.facts;
        let address = |names: [&'static str; 2], address: Option<SocketAddr>| {
            let parts = address.map(|it| (text(&it.ip().to_string()), it.port()));
            parts.map(|(host, port)| [(names[0], host), (names[1], Value::I64(port.into()))])
        };
        let peer = address(["peer_host", "peer_port"], facts.peer);
        let local = address(["host", "port"], facts.local);
        let tls = facts.tls.as_deref();
        let of_tls = |field: fn(&TlsFacts) -> &String| text(tls.map_or("", |it| field(it)));
        let properties = [
            ("user", text(&self.principal.user)),
            ("vhost", text(&self.principal.vhost_name)),
            ("protocol", text(facts.protocol.name())),
            ("auth_mechanism", text(facts.auth_mechanism)),
            ("type", text("network")),
            ("ssl", Value::Bool(tls.is_some())),
            ("ssl_protocol", of_tls(|it| &it.protocol)),
            ("ssl_key_exchange", of_tls(|it| &it.key_exchange)),
            ("ssl_cipher", of_tls(|it| &it.cipher)),
            ("ssl_hash", of_tls(|it| &it.hash)),
            ("channel_max", Value::I64(facts.channel_max.into())),
            ("frame_max", Value::I64(facts.frame_max.into())),
            ("timeout", Value::I64(facts.timeout_s.into())),
            (
                "connected_at",
                Value::I64(facts.connected_at.0.cast_signed()),
            ),
            (PERFORMED_BY, text(&self.principal.user)),
        ];
        let addresses = peer.into_iter().chain(local).flatten();
        let certificate = tls.and_then(|it| it.peer.as_ref());
        let certificate =
            PEER_FIELDS.map(|(name, field)| (name, text(certificate.map_or("", field))));
        let properties = self.names(node).chain(properties).chain(addresses);
        let properties = properties.chain(certificate);
        Event::new("connection.created", properties)
    }

    pub(crate) fn closed(&self, node: &str) -> Event {
        let more = [
            ("user", text(&self.principal.user)),
            ("vhost", text(&self.principal.vhost_name)),
        ];
        Event::new("connection.closed", self.names(node).chain(more))
    }

    fn names(&self, node: &str) -> impl Iterator<Item = (&'static str, Value)> {
        let facts = &self.facts;
        let named = facts.user_provided_name.as_deref();
        let names = [
            ("name", text(&facts.name)),
            ("node", text(node)),
            ("pid", connection_pid(self.principal.connection)),
            (
                "client_properties",
                Value::Table(facts.client_properties.clone()),
            ),
        ];
        let given = named.map(|name| ("user_provided_name", text(name)));
        names.into_iter().chain(given)
    }

    pub(crate) fn channel_created(&self, number: u16) -> Event {
        let mut event = self.channel_event("channel.created", number);
        let connection = connection_pid(self.principal.connection);
        event.properties.insert("connection", connection);
        event
    }

    pub(crate) fn channel_closed(&self, number: u16, channel: &LiveChannel) -> Event {
        let mut event = self.channel_event("channel.closed", number);
        let consumers = Value::I64(channel.consumers.get().cast_signed());
        event.properties.insert("consumer_count", consumers);
        event
    }

    fn channel_event(&self, name: &'static str, number: u16) -> Event {
        let connection = &self.facts.name;
        Event::new(
            name,
            [
                ("name", text(&format!("{connection} ({number})"))),
                ("number", Value::I64(number.into())),
                ("pid", channel_pid(self.principal.connection, number)),
                ("user", text(&self.principal.user)),
                ("vhost", text(&self.principal.vhost_name)),
                (PERFORMED_BY, text(&self.principal.user)),
            ],
        )
    }
}

impl Connected {
    pub(crate) fn info(&self, id: ConnectionId, is_alarm_on: bool) -> ConnectionInfo {
        let activity = &self.activity;
        let state = if activity.closing.load(Ordering::Relaxed) {
            ConnectionState::Closing
        } else if activity.blocked.load(Ordering::Relaxed) {
            ConnectionState::Blocked
        } else if is_alarm_on {
            ConnectionState::Blocking
        } else {
            ConnectionState::Running
        };
        let counters = self
            .channels
            .values()
            .map(|channel| channel.counters.read());
        ConnectionInfo {
            id,
            facts: self.facts.clone(),
            user: self.principal.user.clone(),
            vhost: self.principal.vhost_name.clone(),
            state,
            channels: self.channels.len(),
            recv_oct: activity.received_bytes.get(),
            recv_cnt: activity.receives.get(),
            send_oct: activity.sent_bytes.get(),
            send_cnt: activity.sends.get(),
            send_pend: activity.send_pending.get(),
            counters: counters.fold(ChannelCounters::default(), |sum, one| sum.plus(&one)),
        }
    }

    pub(crate) fn channel_infos(
        &self,
        connection: ConnectionId,
    ) -> impl Iterator<Item = ChannelInfo> {
        let channels = self.channels.iter();
        channels.map(move |(&number, channel)| self.channel_info(connection, number, channel))
    }

    pub(crate) fn channel_info(
        &self,
        connection: ConnectionId,
        number: u16,
        channel: &LiveChannel,
    ) -> ChannelInfo {
        ChannelInfo {
            connection,
            facts: self.facts.clone(),
            number,
            user: self.principal.user.clone(),
            vhost: self.principal.vhost_name.clone(),
            confirm: channel.confirm.load(Ordering::Relaxed),
            transactional: channel.transactional.load(Ordering::Relaxed),
            prefetch_count: channel.prefetch.get(),
            global_prefetch_count: channel.global_prefetch.get(),
            consumer_count: channel.consumers.get(),
            messages_unacknowledged: channel.unacknowledged.get(),
            messages_unconfirmed: channel.unconfirmed.get(),
            messages_uncommitted: channel.uncommitted.get(),
            acks_uncommitted: channel.acks_uncommitted.get(),
            counters: channel.counters.read(),
        }
    }
}
