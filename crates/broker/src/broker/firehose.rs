//! The firehose: a copy of each message that clients publish in a vhost or are handed from its queues, for whoever binds
//! a queue to `amq.rabbitmq.trace` (RabbitMQ: `trace_on`; O06). Keys, headers and body are RabbitMQ's.
//!
//! While it is off it costs nothing per message: a connection asks once before it encodes what is there for it, and
//! a publisher's routes, which are forgotten when the firehose is turned on, are not remembered again before it is off.
//! Nothing survives a restart, as in RabbitMQ.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Broker, Topology};
use crate::events::text;
use crate::live_queue::{LiveQueue, Outbox};
use crate::message::Message;
use crate::principal::Principal;
use crate::properties::{Properties, PropertiesBuf};
use crate::publish::{Batch, Receipt};
use crate::queue::Delivery;
use crate::table::{self, Table, Value, ValueRef};
use crate::time::Timestamp;

/// Where the copies go. What passes through it is not copied again.
const EXCHANGE: &str = "amq.rabbitmq.trace";
/// A routing key is a short string.
const KEY_BYTES_MAX: usize = 255;

/// A client's channel, on which a message has been seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) by: &'a Principal,
    pub(crate) channel: u16,
}

impl Broker {
    /// Whether the firehose is on in the vhost of `by`.
    pub fn is_traced(&self, by: &Principal) -> bool {
        self.traced_vhosts.load(Ordering::Relaxed) > 0
            && self
                .topology
                .read()
                .vhost(by)
                .is_ok_and(|vhost| vhost.tracing)
    }

    /// Notes in how many vhosts the firehose is on. Under the topology's lock.
    pub(super) fn count_traced(&self, topology: &Topology) {
        let vhosts = topology.catalogue.vhosts();
        let traced = vhosts.filter(|vhost| vhost.tracing).count();
        self.traced_vhosts.store(traced, Ordering::Relaxed);
    }

    /// Adds the copy of a publish, which was routed by `keys` to `queues`, to its batch.
    pub(crate) fn trace_publish(
        &self,
        seen: Seen<'_>,
        message: &Message,
        keys: &[&[u8]],
        queues: &[Arc<LiveQueue>],
        now: Timestamp,
        batch: &mut Batch,
    ) {
        // The default exchange leads to the queues that the keys name, and RabbitMQ names those that are not there, too.
        let routed: Vec<Value> = match message.exchange() {
            [] => strings(keys.iter().copied().collect::<BTreeSet<_>>().into_iter()),
            _ => strings(queues.iter().map(|queue| queue.name().as_bytes())),
        };
        let what = ("routed_queues", Value::Array(routed));
        let key = [b"publish.".as_slice(), message.exchange()].concat();
        self.trace(seen, message, keys, &key, what, now, batch);
    }

    /// Publishes the copy of what a client is handed from `queue`.
    pub(crate) fn trace_delivery(
        &self,
        seen: Seen<'_>,
        queue: &str,
        delivery: &Delivery,
        now: Timestamp,
        outbox: &mut Outbox,
    ) {
        let counted = delivery.stamped();
        let message = counted.as_ref().unwrap_or(&delivery.message);
        let carbon = carbon_copies(message);
        let mut keys = vec![message.routing_key()];
        keys.extend(carbon.iter().map(|key| &**key));
        keys.extend(delivery.message.blind_keys());
        let what = ("redelivered", Value::I32(delivery.redelivered.into()));
        let key = format!("deliver.{queue}");
        let mut batch = Batch::default();
        self.trace(seen, message, &keys, key.as_bytes(), what, now, &mut batch);
        self.commit(&mut batch, now, outbox, |_| {});
    }

    #[expect(clippy::too_many_arguments, reason = "what both ways have in common")]
    fn trace(
        &self,
        seen: Seen<'_>,
        message: &Message,
        keys: &[&[u8]],
        key: &[u8],
        what: (&'static str, Value),
        now: Timestamp,
        batch: &mut Batch,
    ) {
        if message.exchange() == EXCHANGE.as_bytes() {
            return;
        }
        let key = &key[..key.len().min(KEY_BYTES_MAX)];
        let properties = PropertiesBuf {
            headers: Some(self.trace_headers(seen, message, keys, what)),
            ..PropertiesBuf::default()
        };
        let copy = Message::new(
            EXCHANGE.as_bytes(),
            key,
            &properties.encode(),
            message.body(),
        );
        let topology = self.topology.read();
        let Ok(vhost) = topology.vhost(seen.by) else {
            return;
        };
        let Some(exchange) = vhost.exchange(EXCHANGE) else {
            return;
        };
        let found = self.follow(&topology, vhost, exchange, &copy, &[key]);
        drop(topology);
        let targets = found.routed(None).targets;
        batch.push(now, copy, &targets, Receipt::Nobody);
    }

    /// In the order in which RabbitMQ sends them.
    fn trace_headers(
        &self,
        Seen { by, channel }: Seen<'_>,
        message: &Message,
        keys: &[&[u8]],
        what: (&'static str, Value),
    ) -> Table {
        let connection = self.connection_name(by.connection);
        let exchange = Value::String(message.exchange().into());
        let mut headers = [
            ("channel", Value::I32(channel.into())),
            ("connection", text(&connection)),
            ("exchange_name", exchange),
            ("node", text(&self.options.node_name)),
            ("properties", Value::Table(properties_of(message))),
            what,
            ("routing_keys", Value::Array(strings(keys.iter().copied()))),
            ("user", text(&by.user)),
            ("vhost", text(&by.vhost_name)),
        ];
        headers.sort_unstable_by_key(|(name, _)| *name);
        let headers = headers.into_iter();
        headers
            .map(|(name, value)| (Box::from(name), value))
            .collect()
    }
}

fn strings<'a>(strings: impl Iterator<Item = &'a [u8]>) -> Vec<Value> {
    strings.map(|it| Value::String(it.into())).collect()
}

/// The further keys that receivers see.
fn carbon_copies(message: &Message) -> Vec<Box<[u8]>> {
    let properties = Properties::parse(message.properties());
    let headers = properties.ok().and_then(|it| it.headers());
    let copies = headers.and_then(|headers| table::find(headers, "CC").ok()?);
    let items = copies.and_then(|copies| copies.as_items());
    let key = |item| match item {
        Ok(ValueRef::String(key)) => Some(Box::from(key)),
        _ => None,
    };
    items.into_iter().flatten().filter_map(key).collect()
}

/// The properties that are set, in the order and with the types in which RabbitMQ tells them.
fn properties_of(message: &Message) -> Table {
    let Ok(it) = PropertiesBuf::parse(message.properties()) else {
        return Table::default();
    };
    let string = |value: Option<Box<[u8]>>| value.map(Value::String);
    let octet = |value: Option<u8>| value.map(|value| Value::I32(value.into()));
    let timestamp =
        |at: u64| i32::try_from(at).map_or_else(|_| Value::I64(at.cast_signed()), Value::I32);
    let set = [
        ("cluster_id", string(it.cluster_id)),
        ("app_id", string(it.app_id)),
        ("user_id", string(it.user_id)),
        ("type", string(it.kind)),
        ("timestamp", it.timestamp.map(timestamp)),
        ("message_id", string(it.message_id)),
        ("expiration", string(it.expiration)),
        ("reply_to", string(it.reply_to)),
        ("correlation_id", string(it.correlation_id)),
        ("priority", octet(it.priority)),
        ("delivery_mode", octet(it.delivery_mode)),
        ("headers", it.headers.map(Value::Table)),
        ("content_encoding", string(it.content_encoding)),
        ("content_type", string(it.content_type)),
    ];
    let set = set.into_iter();
    set.filter_map(|(name, value)| Some((Box::from(name), value?)))
        .collect()
}
