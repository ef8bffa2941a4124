//! What the node itself publishes: events to `amq.rabbitmq.event` (E19), its log to `amq.rabbitmq.log` (O05). Only the node
//! can publish there.

use leveret_storage::Lsn;

use super::{Broker, Topology};
use crate::catalogue::{Command, ExchangeDeclaration};
use crate::events::{self, Event};
use crate::exchange::Kind;
use crate::live_queue::Outbox;
use crate::message::Message;
use crate::publish::{Batch, Receipt};
use crate::table::{Table, Value};
use crate::time::Timestamp;

/// Where the log is published, with the level as routing key: a topic exchange that clients can't publish to.
pub const LOG_EXCHANGE: &str = "amq.rabbitmq.log";

impl Broker {
    /// Makes an exchange of the node, a durable topic exchange that clients can't publish to, unless it is there. `false`:
    /// there is no such vhost.
    pub fn declare_own_exchange(&self, vhost: &str, name: &str) -> bool {
        let mut topology = self.topology.write();
        let Some(vhost) = topology.catalogue.vhost(vhost) else {
            return false;
        };
        if vhost.exchange(name).is_none() {
            let command = Command::DeclareExchange {
                vhost: vhost.id,
                name: name.into(),
                declaration: ExchangeDeclaration {
                    kind: Kind::Topic,
                    durable: true,
                    auto_delete: false,
                    internal: true,
                    arguments: Table::default(),
                    declared_by: None,
                },
            };
            let declared: Result<(_, Option<Lsn>), _> = self.apply(&mut topology, command, None);
            declared.expect("the vhost is there and the exchange is not");
        }
        self.look_at_event_exchange(&topology);
        true
    }

    /// Tells of an event that the server knows of, to whoever wants to know.
    pub fn tell(
        &self,
        name: &'static str,
        properties: impl IntoIterator<Item = (&'static str, Value)>,
    ) {
        self.events.tell(|| Event::new(name, properties));
    }

    /// Publishes an event to the event exchange, if something is bound to it. `at_ms`: when it happened, ms since 1970.
    pub fn publish_event(&self, event: &Event, at_ms: u64, now: Timestamp) {
        if let Some(vhost) = &self.options.event_exchange_vhost
            && self.events.is_bound()
        {
            self.publish_own(vhost, event.message(at_ms), now);
        }
    }

    /// Publishes a line of the log, if there is an exchange for it.
    pub fn publish_log(
        &self,
        vhost: &str,
        level: &str,
        properties: &[u8],
        line: &[u8],
        now: Timestamp,
    ) {
        let exchange = LOG_EXCHANGE.as_bytes();
        let message = Message::new(exchange, level.as_bytes(), properties, line);
        self.publish_own(vhost, message, now);
    }

    /// Publishes to an exchange that may not be there.
    fn publish_own(&self, vhost: &str, message: Message, now: Timestamp) {
        let name = std::str::from_utf8(message.exchange()).unwrap_or_default();
        let topology = self.topology.read();
        let Some(vhost) = topology.catalogue.vhost(vhost) else {
            return;
        };
        let Some(exchange) = vhost.exchange(name) else {
            return;
        };
        let keys = [message.routing_key()];
        let found = self.follow(&topology, vhost, exchange, &message, &keys);
        drop(topology);
        let targets = found.routed(None).targets;
        let (mut batch, mut outbox) = (Batch::default(), Outbox::default());
        batch.push(now, message, &targets, Receipt::Nobody);
        self.commit(&mut batch, now, &mut outbox, |_| {});
        self.finish(&mut outbox, now);
    }

    /// Whether a command binds something to the event exchange.
    pub(super) fn opens_events(&self, topology: &Topology, command: &Command) -> bool {
        let Command::Bind { vhost, binding } = command else {
            return false;
        };
        let vhost = topology.catalogue.vhost_of(*vhost);
        let source =
            vhost.and_then(|vhost| Some((&vhost.name, vhost.exchange_of(binding.source)?)));
        source.is_some_and(|(vhost, exchange)| {
            Some(&**vhost) == self.options.event_exchange_vhost.as_deref()
                && *exchange.name == *events::EXCHANGE
        })
    }

    /// Whether anything is bound to the event exchange decides whether events are told. Under the topology's lock.
    pub(super) fn look_at_event_exchange(&self, topology: &Topology) {
        let Some(vhost) = &self.options.event_exchange_vhost else {
            return;
        };
        let vhost = topology.catalogue.vhost(vhost);
        let exchange = vhost.and_then(|vhost| vhost.exchange(events::EXCHANGE));
        let is_bound = exchange.is_some_and(|exchange| !exchange.router.is_empty());
        self.events.set_bound(is_bound);
    }
}
