//! Publishing on a channel: the checks of a message in RabbitMQ's order (H01), and the routes a channel remembers.
//!
//! A remembered route says that this user may publish with this exchange and key, and which queues that leads to. It
//! holds as long as neither topology nor permissions change, so a steady publisher takes no lock to route. Where the node
//! notes something in every message, the routes are remembered aside, for the careful way alone.

use std::iter;
use std::sync::Arc;

use super::{Channel, Confirms};
use crate::arguments::TIME_MAX_MS;
use crate::broker::Broker;
use crate::catalogue::Map;
use crate::connections::LiveChannel;
use crate::error::{Error, Result};
use crate::ids::QueueId;
use crate::message::Message;
use crate::options::Options;
use crate::properties::{Properties, PropertiesBuf, PropertiesError};
use crate::publish::{Batch, Receipt, Targets};
use crate::queue::MessageFacts;
use crate::reply_to;
use crate::table::{self, ValueRef};
use crate::time::Timestamp;

/// The most routes that a channel remembers; one that uses more keys forgets all and begins anew.
const REMEMBERED_MAX: usize = 1024;
/// `max_message_size` can't be set higher.
pub const MESSAGE_BYTES_CAP: u64 = 512 * 1024 * 1024;

/// A message from a client.
#[derive(Debug)]
pub struct Publish {
    pub message: Message,
    /// The client wants it back if it reaches no queue.
    pub mandatory: bool,
}

/// What became of a publish.
#[derive(Debug)]
pub enum Published {
    /// It is on its way to queues, or was dropped for want of one.
    Taken,
    /// It reaches no queue: to be returned to the client (312 NO_ROUTE).
    Returned(Message),
}

/// A publish that a transaction holds back, with its route.
#[derive(Debug)]
pub struct Held {
    message: Message,
    facts: MessageFacts,
    targets: Arc<Targets>,
    mandatory: bool,
}

/// What a channel remembers of the topology.
#[derive(Debug, Default)]
pub(super) struct Routes {
    version: u64,
    /// By exchange and key as they stand in a message.
    known: Map<Box<[u8]>, Arc<Targets>>,
    /// Routes that lead to the same queues share their targets: then their messages go into these together.
    by_queues: Map<Box<[QueueId]>, Arc<Targets>>,
}

impl Routes {
    #[inline]
    fn find(&mut self, version: u64, address: &[u8]) -> Option<&Arc<Targets>> {
        if self.version != version {
            *self = Self {
                version,
                ..Self::default()
            };
            return None;
        }
        self.known.get(address)
    }

    /// Gives the targets that are shared.
    fn remember(&mut self, address: &[u8], targets: Arc<Targets>) -> Arc<Targets> {
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
            self.by_queues.clear();
        }
        let queues = targets.queues.iter().map(|queue| queue.id).collect();
        let shared = self.by_queues.entry(queues).or_insert(targets.clone());
        let targets = match shared.are_counted_as(&targets) {
            true => shared.clone(),
            false => targets,
        };
        self.known.insert(address.into(), targets.clone());
        targets
    }
}

impl Channel {
    /// `basic.publish`: checks and routes the message and puts it into the batch.
    pub fn publish(
        &mut self,
        broker: &Broker,
        publish: Publish,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Published> {
        self.publish_run(broker, publish, iter::empty(), now, batch)
    }

    /// The same, and then for `alike`: messages that differ from the first in nothing but their bodies, of sizes that
    /// [may be](check_size). Those that are not taken from there are to be published by themselves.
    pub fn publish_run(
        &mut self,
        broker: &Broker,
        publish: Publish,
        alike: impl Iterator<Item = Message>,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Published> {
        let Publish { message, mandatory } = publish;
        check_size(broker, message.body().len() as u64)?;
        let properties = Properties::parse(message.properties()).map_err(undecodable)?;
        let version = broker.version();
        if properties.is_plain()
            && let Some(routes) = &mut self.routes
            && let Some(targets) = routes.find(version, message.address())
        {
            let facts = MessageFacts::new(&properties, None);
            let mut ways = Ways {
                channel: self.number,
                transaction: &mut self.transaction,
                confirms: &mut self.confirms,
                live: &self.live,
            };
            if ways.are_open_to(targets) {
                ways.send_run(iter::once(message).chain(alike), facts, targets, now, batch);
                return Ok(Published::Taken);
            }
            return Ok(ways.send(message, facts, targets, mandatory, now, batch));
        }
        self.publish_with_care(broker, message, mandatory, now, batch)
    }

    /// Whether this may be published to, as far as that can be told without the message's properties.
    pub fn may_publish(&self, broker: &Broker, exchange: &str, key: &[u8]) -> Result<()> {
        broker.check_publish(&self.principal, exchange, key)
    }

    /// The way for messages with a new route, or with properties that need looking at.
    fn publish_with_care(
        &mut self,
        broker: &Broker,
        message: Message,
        mandatory: bool,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Published> {
        let properties = Properties::parse(message.properties()).map_err(undecodable)?;
        let copies = Copies::of(&properties)?;
        let mut keys = vec![message.routing_key()];
        keys.extend(copies.keys());
        let to_reply = reply_to::is_address(&message);
        let version = broker.version();
        let may_remember = copies.is_empty() && !to_reply;
        let intercepts = broker.options.interceptors.is_any_incoming();
        let routes = match intercepts {
            true => &mut self.intercepted_routes,
            false => &mut self.routes,
        };
        let routes = routes.get_or_insert_default();
        let remembered = may_remember
            .then(|| routes.find(version, message.address()).cloned())
            .flatten();
        let (targets, traced) = match remembered {
            Some(targets) => (targets, false),
            None => {
                let mut routed = broker.route(&self.principal, &message, &keys)?;
                count_for(&self.live, &message, &mut routed.targets);
                let targets = match routed.cacheable && may_remember {
                    true => routes.remember(message.address(), routed.targets),
                    false => routed.targets,
                };
                (targets, routed.traced)
            }
        };
        let ttl_ms = properties
            .expiration()
            .map(checked_expiration)
            .transpose()?;
        self.check_user_id(&properties)?;
        let facts = MessageFacts::new(&properties, ttl_ms);
        let message = self
            .rewritten(broker, &properties, &copies, &message, now)?
            .unwrap_or_else(|| message.clone());
        if traced {
            broker.trace_publish(self.seen(), &message, &keys, &targets.queues, now, batch);
        }
        if to_reply {
            return Ok(self.send_reply(broker, message, mandatory, batch));
        }
        let mut ways = Ways {
            channel: self.number,
            transaction: &mut self.transaction,
            confirms: &mut self.confirms,
            live: &self.live,
        };
        Ok(ways.send(message, facts, &targets, mandatory, now, batch))
    }

    /// Hands a message to a direct reply-to consumer (H20).
    fn send_reply(
        &mut self,
        broker: &Broker,
        message: Message,
        mandatory: bool,
        batch: &mut Batch,
    ) -> Published {
        let taken = broker.reply_consumers.deliver(&message);
        batch.push_done(receipt(&mut self.confirms, self.number, &self.live));
        count_publish(&self.live, taken, mandatory);
        if mandatory && !taken {
            Published::Returned(message)
        } else {
            Published::Taken
        }
    }

    /// Puts what a transaction held back into the batch; gives the messages to return.
    pub fn send_held(&self, held: Vec<Held>, now: Timestamp, batch: &mut Batch) -> Vec<Message> {
        let mut returned = Vec::new();
        for Held {
            message,
            facts,
            targets,
            mandatory,
        } in held
        {
            let routed = !targets.queues.is_empty();
            count_publish(&self.live, routed, mandatory);
            if !routed {
                targets.count_unroutable(mandatory);
            }
            if mandatory && !routed {
                returned.push(message.clone());
            }
            // Nobody is told of the single publishes; the outcome of all of them is the commit's.
            let receipt = Receipt::Confirm {
                channel: self.number,
                tag: 0,
            };
            batch.push_run(now, facts, &targets, iter::once((message, receipt)));
        }
        returned
    }

    /// H06: nobody may claim to be somebody else.
    fn check_user_id(&self, properties: &Properties<'_>) -> Result<()> {
        let Some(claimed) = properties.user_id() else {
            return Ok(());
        };
        if self.principal.impersonator || claimed == self.principal.user.as_bytes() {
            return Ok(());
        }
        Err(Error::PreconditionFailed(format!(
            "user_id property set to '{}' but authenticated user was '{}'",
            String::from_utf8_lossy(claimed),
            self.principal.user
        )))
    }

    /// The message with its reply address filled in, its blind copies removed, and what the node notes in it; `None`: as it
    /// came.
    fn rewritten(
        &self,
        broker: &Broker,
        properties: &Properties<'_>,
        copies: &Copies,
        message: &Message,
        now: Timestamp,
    ) -> Result<Option<Message>> {
        let wants_reply = properties.reply_to() == Some(reply_to::REPLY_TO.as_bytes());
        let Options {
            interceptors,
            node_name,
            ..
        } = &broker.options;
        if !wants_reply && copies.blind.is_empty() && !interceptors.is_any_incoming() {
            return Ok(None);
        }
        let mut edited = PropertiesBuf::parse(message.properties()).map_err(undecodable)?;
        if wants_reply {
            let Some(&(_, token)) = self.reply_consumer.as_deref() else {
                let text = "fast reply consumer does not exist";
                return Err(Error::PreconditionFailed(text.to_owned()));
            };
            edited.reply_to = Some(reply_to::address(token).into_bytes().into());
        }
        edited.headers_mut().remove("BCC");
        if edited.headers.as_ref().is_some_and(table::Table::is_empty)
            && properties.headers().is_none()
        {
            edited.headers = None;
        }
        interceptors.incoming(&mut edited, node_name, now);
        let (exchange, key) = (message.exchange(), message.routing_key());
        let edited = Message::new(exchange, key, &edited.encode(), message.body());
        Ok(Some(edited.with_blind_keys(&copies.blind)))
    }
}

/// Where a channel's publishes go: into the open transaction, or into the batch with a confirm tag.
struct Ways<'a> {
    channel: u16,
    transaction: &'a mut Option<Box<super::Transaction>>,
    confirms: &'a mut Option<Confirms>,
    live: &'a LiveChannel,
}

impl Ways<'_> {
    /// Whether messages for these targets go straight into the batch, and none of them comes back.
    #[inline]
    fn are_open_to(&self, targets: &Targets) -> bool {
        self.transaction.is_none() && !targets.queues.is_empty()
    }

    /// Puts messages of which the same is to be known into the batch.
    #[inline]
    fn send_run(
        &mut self,
        messages: impl Iterator<Item = Message>,
        facts: MessageFacts,
        targets: &Arc<Targets>,
        now: Timestamp,
        batch: &mut Batch,
    ) {
        let mut receipt = || receipt(self.confirms, self.channel, self.live);
        let messages = messages.map(|message| (message, receipt()));
        let count = batch.push_run(now, facts, targets, messages);
        self.live.counters.publishes.publish.add(count);
    }

    fn send(
        &mut self,
        message: Message,
        facts: MessageFacts,
        targets: &Arc<Targets>,
        mandatory: bool,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Published {
        if let Some(transaction) = self.transaction {
            transaction.publishes.push(Held {
                message,
                facts,
                targets: targets.clone(),
                mandatory,
            });
            self.live
                .uncommitted
                .set(transaction.publishes.len() as u64);
            return Published::Taken;
        }
        let routed = !targets.queues.is_empty();
        if !routed {
            let counters = &self.live.counters.publishes;
            counters.count_unroutable(mandatory);
            targets.count_unroutable(mandatory);
        }
        let returned = (mandatory && !routed).then(|| message.clone());
        self.send_run(iter::once(message), facts, targets, now, batch);
        returned.map_or(Published::Taken, Published::Returned)
    }
}

#[inline]
fn receipt(confirms: &mut Option<Confirms>, channel: u16, live: &LiveChannel) -> Receipt {
    let Some(confirms) = confirms else {
        return Receipt::Nobody;
    };
    live.counters.publishes.publish_confirm.add(1);
    live.unconfirmed.add(1);
    Receipt::Confirm {
        channel,
        tag: confirms.next_tag(),
    }
}

#[inline]
fn count_publish(live: &LiveChannel, routed: bool, mandatory: bool) {
    let counters = &live.counters.publishes;
    counters.publish.add(1);
    if !routed {
        counters.count_unroutable(mandatory);
    }
}

/// Has what goes to new targets counted by exchange and queue, if this channel tells those apart.
fn count_for(live: &LiveChannel, message: &Message, targets: &mut Arc<Targets>) {
    let flows = live.counters.flows.as_ref();
    let exchange = std::str::from_utf8(message.exchange()).unwrap_or_default();
    let tally = flows.and_then(|flows| flows.to_exchange(exchange));
    if let (Some(tally), Some(targets)) = (tally, Arc::get_mut(targets)) {
        targets.count_for(tally);
    }
}

impl MessageFacts {
    /// Of properties that have been read, with the time to live that they name.
    #[inline]
    fn new(properties: &Properties<'_>, ttl_ms: Option<u64>) -> Self {
        Self {
            priority: properties.priority(),
            ttl_ms,
            persistent: properties.delivery_mode() == Some(2),
        }
    }

    /// Of a message that the broker itself publishes. Properties that can't be read say nothing.
    pub(crate) fn of(message: &Message) -> Self {
        let properties = Properties::parse(message.properties());
        properties.map_or_else(
            |_| Self::default(),
            |properties| {
                let ttl_ms = properties.expiration().and_then(expiration_ms);
                Self::new(&properties, ttl_ms)
            },
        )
    }
}

/// The further keys of a message (H07): `CC`, which receivers see, and `BCC`, which they do not.
struct Copies {
    carbon: Vec<Box<[u8]>>,
    blind: Vec<Box<[u8]>>,
}

impl Copies {
    fn of(properties: &Properties<'_>) -> Result<Self> {
        let headers = properties.headers().unwrap_or_default();
        // Whoever receives the message must be able to read them.
        table::check(headers).map_err(|error| undecodable(error.into()))?;
        Ok(Self {
            carbon: Self::read(headers, "CC")?,
            blind: Self::read(headers, "BCC")?,
        })
    }

    fn read(headers: &[u8], name: &str) -> Result<Vec<Box<[u8]>>> {
        let found = table::find(headers, name).map_err(|error| undecodable(error.into()))?;
        let Some(value) = found else {
            return Ok(Vec::new());
        };
        let unacceptable = || {
            let kind = value
                .to_owned()
                .map_or("unknown", |value| value.type_name());
            Error::PreconditionFailed(format!(
                "invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}"
            ))
        };
        let mut keys = Vec::new();
        for item in value.as_items().ok_or_else(unacceptable)? {
            // Whatever else stands in the list is no key.
            if let ValueRef::String(key) = item.map_err(|error| undecodable(error.into()))? {
                keys.push(key.into());
            }
        }
        Ok(keys)
    }

    fn is_empty(&self) -> bool {
        self.carbon.is_empty() && self.blind.is_empty()
    }

    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.carbon.iter().chain(&self.blind).map(|key| &**key)
    }
}

/// H02: 406 over the configured size.
pub fn check_size(broker: &Broker, size: u64) -> Result<()> {
    let max = broker.options.message_bytes_max;
    if size <= max {
        return Ok(());
    }
    let which = if max >= MESSAGE_BYTES_CAP {
        ""
    } else {
        "configured "
    };
    Err(Error::PreconditionFailed(format!(
        "message size {size} is larger than {which}max size {max}"
    )))
}

/// The milliseconds of an `expiration` property, if it is valid.
pub fn expiration_ms(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let ms = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (ms <= TIME_MAX_MS as u64).then_some(ms)
}

/// H03: 406 unless it is a number of milliseconds up to ten years. The reasons are those of RabbitMQ's parser.
fn checked_expiration(text: &[u8]) -> Result<u64> {
    if let Some(ms) = expiration_ms(text) {
        return Ok(ms);
    }
    let text = String::from_utf8_lossy(text);
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(unsigned.len());
    let (digits, rest) = unsigned.split_at(end);
    let why = if digits.is_empty() {
        "no_integer".to_owned()
    } else if !rest.is_empty() {
        format!("{{leftover_string,\"{rest}\"}}")
    } else if text.starts_with('-') {
        format!("{{value_negative,{text}}}")
    } else {
        format!("{{value_too_large,{digits}}}")
    };
    Err(Error::PreconditionFailed(format!(
        "invalid expiration '{text}': {why}"
    )))
}

/// RabbitMQ answers damaged properties with 541 and no explanation.
fn undecodable(_: PropertiesError) -> Error {
    Error::InternalError(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::ExchangeTally;

    #[test]
    fn routes_to_the_same_queues_share_their_targets() {
        let exchanges = [(); 2].map(|()| Arc::new(ExchangeTally::default()));
        let targets = |exchange: &Arc<ExchangeTally>| {
            Arc::new(Targets::new(Vec::new(), Some(exchange.clone())))
        };
        let mut routes = Routes::default();
        let first = routes.remember(b"\x01a\x01x", targets(&exchanges[0]));
        let second = routes.remember(b"\x01a\x01y", targets(&exchanges[0]));
        // What goes there is counted elsewhere.
        let third = routes.remember(b"\x01b\x01y", targets(&exchanges[1]));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &third));
        for (address, targets) in [(b"\x01a\x01y", &first), (b"\x01b\x01y", &third)] {
            let found = routes.find(0, address);
            assert!(found.is_some_and(|found| Arc::ptr_eq(found, targets)));
        }
        for n in 0..REMEMBERED_MAX {
            routes.remember(&n.to_be_bytes(), targets(&exchanges[0]));
        }
        assert!(routes.known.len() <= REMEMBERED_MAX && routes.by_queues.len() == 1);
        assert!(routes.find(1, b"\x01a\x01y").is_none());
    }
}
