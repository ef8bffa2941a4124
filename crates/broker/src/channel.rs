//! A channel: what one client session publishes, consumes and has yet to settle. Protocol-neutral; the doors translate
//! their frames into calls and what these give into frames.
//!
//! A channel belongs to one connection, and so to one thread at a time. Its parts: `routes` (publishes and the routes
//! it remembers), `confirms` (what it owes its publisher), `unsettled` (what its client owes).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leveret_storage::Lsn;

use crate::broker::Broker;
use crate::broker::firehose::Seen;
use crate::catalogue::Map;
use crate::connections::LiveChannel;
use crate::counters::DeliveryTally;
use crate::error::{Error, Resource, Result};
use crate::events::{Event, Events, PERFORMED_BY, channel_pid, text};
use crate::ids::{ConsumerId, DeliveryId, SessionId};
use crate::live_queue::{ConsumerFacts, Got, LiveQueue, Outbox, Subscriber};
use crate::mailbox::{ConsumerKey, Mailbox};
use crate::principal::Principal;
use crate::publish::Outcome;
use crate::queue::{AttachRefusal, Consumer, Delivery, Kind, Op, Return, SharedCredit};
use crate::reply_to::{self, ReplyConsumer};
use crate::table::{Table, Value};
use crate::time::Timestamp;
use crate::users::Access;

mod confirms;
mod consumer_arguments;
mod routes;
mod unsettled;

use consumer_arguments::ConsumerArguments;

pub use confirms::{Confirms, Settled};
pub use routes::{Held, MESSAGE_BYTES_CAP, Publish, Published, check_size, expiration_ms};
pub use unsettled::{Settle, Unsettled};

use routes::Routes;
use unsettled::To;

/// See the module's page. What few channels ever have is boxed, since there are many that have nothing.
#[derive(Debug)]
pub struct Channel {
    number: u16,
    session: SessionId,
    principal: Arc<Principal>,
    mailbox: Arc<Mailbox>,
    /// What others may know of it.
    live: Arc<LiveChannel>,
    /// Who wants to know of its consumers.
    events: Arc<Events>,
    /// Once something was published.
    routes: Option<Box<Routes>>,
    /// The same, where every message is rewritten.
    intercepted_routes: Option<Box<Routes>>,
    /// Publisher confirms, once selected.
    confirms: Option<Confirms>,
    /// The open transaction, once selected.
    transaction: Option<Box<Transaction>>,
    consumers: Map<ConsumerKey, ConsumerEntry>,
    keys_by_tag: Map<Arc<str>, ConsumerKey>,
    last_key: ConsumerKey,
    /// For consumers that come (`basic.qos` without `global`).
    prefetch: u16,
    /// For all consumers together (`basic.qos` with `global`).
    shared_credit: Option<Arc<SharedCredit>>,
    unsettled: Unsettled,
    /// Deliveries to consumers that have been settled and not yet given back to the shared credit.
    credit_due: u32,
    /// How often consumers were resumed in turn.
    turns: usize,
    /// The direct reply-to consumer.
    reply_consumer: Option<Box<(ConsumerKey, u128)>>,
    /// Empty queue names mean this one.
    last_queue: Option<Arc<str>>,
}

/// A consumer of this channel.
#[derive(Debug)]
struct ConsumerEntry {
    tag: Arc<str>,
    acknowledges: bool,
    /// What it consumes from; `None`: replies.
    queue: Option<Arc<LiveQueue>>,
    /// Where its deliveries are counted; `None`: replies are not.
    tally: Option<Arc<DeliveryTally>>,
    /// By which its queue knows it, too.
    about: Arc<ConsumerFacts>,
    /// Its number at the queue, while it is attached there.
    attached: Option<ConsumerId>,
}

/// What a transaction holds back.
#[derive(Debug, Default)]
struct Transaction {
    publishes: Vec<Held>,
    settles: Vec<(Settle, Vec<unsettled::Entry>)>,
}

/// A consumer as a client asks for it.
#[derive(Debug)]
pub struct ConsumeSpec<'a> {
    pub queue: &'a str,
    /// Empty: the broker makes one up.
    pub tag: &'a str,
    pub acknowledges: bool,
    pub exclusive: bool,
    pub arguments: Table,
}

/// Messages on their way to one of the client's consumers.
#[derive(Debug)]
pub struct Outgoing<'a> {
    entry: &'a ConsumerEntry,
    unsettled: &'a mut Unsettled,
    live: &'a LiveChannel,
}

impl<'a> Outgoing<'a> {
    pub fn consumer_tag(&self) -> &'a str {
        &self.entry.tag
    }

    /// The next one; gives its delivery tag.
    #[inline]
    pub fn deliver(&mut self, delivery: &Delivery) -> u64 {
        if let Some(counters) = &self.entry.tally {
            let counter = if self.entry.acknowledges {
                &counters.deliver
            } else {
                &counters.deliver_no_ack
            };
            counter.add(1);
            if delivery.redelivered {
                counters.redeliver.add(1);
            }
        }
        let delivery_tag = self.entry.take_in(delivery, self.unsettled);
        self.live.unacknowledged.set(self.unsettled.len() as u64);
        delivery_tag
    }
}

impl Channel {
    /// Opens channel `number` of the connection that `principal` is on.
    pub fn open(
        broker: &Broker,
        number: u16,
        principal: Arc<Principal>,
        mailbox: Arc<Mailbox>,
    ) -> Result<Self> {
        let live = broker.open_channel(&principal, number)?;
        let session = SessionId(principal.connection.0 << 16 | u64::from(number));
        Ok(Self {
            number,
            session,
            live,
            events: broker.events().clone(),
            principal,
            mailbox,
            routes: None,
            intercepted_routes: None,
            confirms: None,
            transaction: None,
            consumers: Map::default(),
            keys_by_tag: Map::default(),
            last_key: 0,
            prefetch: 0,
            shared_credit: None,
            unsettled: Unsettled::default(),
            credit_due: 0,
            turns: 0,
            reply_consumer: None,
            last_queue: None,
        })
    }

    /// Who uses it.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// Notes the queue that empty names mean from now on (H19).
    pub fn remember_queue(&mut self, name: &Arc<str>) {
        self.last_queue = Some(name.clone());
    }

    /// The queue that `name` means: itself, or the one declared last on this channel if it is empty.
    pub fn queue_name(&self, name: &str) -> Result<Arc<str>> {
        if !name.is_empty() {
            return Ok(name.into());
        }
        let last = self.last_queue.clone();
        last.ok_or_else(|| Error::NotFound("no previously declared queue".to_owned()))
    }

    /// `confirm.select`.
    pub fn select_confirms(&mut self) -> Result<()> {
        if self.transaction.is_some() {
            let text = "cannot switch from tx to confirm mode";
            return Err(Error::PreconditionFailed(text.to_owned()));
        }
        self.confirms.get_or_insert_default();
        self.live.confirm.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// `tx.select`.
    pub fn select_transaction(&mut self) -> Result<()> {
        if self.confirms.is_some() {
            let text = "cannot switch from confirm to tx mode";
            return Err(Error::PreconditionFailed(text.to_owned()));
        }
        self.transaction.get_or_insert_default();
        self.live.transactional.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// `basic.qos`. A limit for the whole channel takes effect at once, one per consumer for those to come.
    pub fn set_prefetch(
        &mut self,
        broker: &Broker,
        count: u16,
        global: bool,
        now: Timestamp,
        outbox: &mut Outbox,
    ) {
        if !global || !broker.options.permit_global_qos {
            self.prefetch = count;
            self.live.prefetch.set(count.into());
            return;
        }
        self.live.global_prefetch.set(count.into());
        match &self.shared_credit {
            Some(credit) => credit.set_limit(count.into()),
            None => self.share_credit(SharedCredit::new(count.into()), now, outbox),
        }
        self.resume_all(now, outbox);
    }

    /// `basic.consume`; gives the consumer's tag.
    pub fn consume(
        &mut self,
        broker: &Broker,
        spec: ConsumeSpec<'_>,
        now: Timestamp,
        outbox: &mut Outbox,
    ) -> Result<Arc<str>> {
        let tag: Arc<str> = if spec.tag.is_empty() {
            format!("amq.ctag-{}", broker.random_name()).into()
        } else {
            spec.tag.into()
        };
        if self.keys_by_tag.contains_key(&tag) {
            let text = format!("attempt to reuse consumer tag '{tag}'");
            return Err(Error::NotAllowed(text));
        }
        if let Some(limit) = broker.options.consumers_per_channel_max
            && self.consumers.len() >= limit
        {
            let text = format!("reached maximum ({limit}) of consumers per channel");
            return Err(Error::NotAllowed(text));
        }
        let key = self.last_key.wrapping_add(1);
        let arguments = spec.arguments.clone();
        let subscriber = self.subscriber(key, tag.clone(), arguments);
        let (queue, attached) = if spec.queue == reply_to::REPLY_TO {
            self.consume_replies(broker, key, spec.acknowledges)?;
            (None, None)
        } else {
            let (queue, id) = self.attach(broker, &subscriber, &spec, now, outbox)?;
            (Some(queue), Some(id))
        };
        self.last_key = key;
        self.keys_by_tag.insert(tag.clone(), key);
        let (acknowledges, exclusive) = (spec.acknowledges, spec.exclusive);
        let entry = ConsumerEntry {
            tag: tag.clone(),
            acknowledges,
            tally: queue.as_ref().map(|queue| self.live.counters.of(queue)),
            queue,
            about: subscriber.about,
            attached,
        };
        if let Some(sink) = self.events.sink() {
            let facts = ConsumerEvent {
                exclusive,
                prefetch: self.prefetch,
            };
            sink.take(entry.created(&self.principal, self.number, &facts));
        }
        self.consumers.insert(key, entry);
        self.count_consumers();
        Ok(tag)
    }

    /// The first half of `basic.cancel`: the queue hands out nothing more to this consumer. What it has handed out must be
    /// delivered before [`Self::forget_consumer`], and stays unsettled.
    pub fn stop_consumer(
        &mut self,
        broker: &Broker,
        tag: &str,
        now: Timestamp,
        outbox: &mut Outbox,
    ) {
        if let Some(entry) = self
            .keys_by_tag
            .get(tag)
            .and_then(|key| self.consumers.get_mut(key))
        {
            entry.detach(now, outbox);
        }
        self.stop_replies(broker, |entry| &*entry.tag == tag);
    }

    /// The second half of `basic.cancel`. A tag that is not known is fine (H15).
    pub fn forget_consumer(&mut self, tag: &str) {
        if let Some(key) = self.keys_by_tag.remove(tag) {
            let gone = self.consumers.remove(&key);
            self.tell_of_end(gone.iter());
            self.count_consumers();
        }
    }

    /// Detaches every consumer. What they were handed must be taken in by [`Self::absorb`] or sent before [`Self::close`].
    pub fn stop_consuming(&mut self, broker: &Broker, now: Timestamp, outbox: &mut Outbox) {
        let mut keys: Vec<_> = self.consumers.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            if let Some(entry) = self.consumers.get_mut(&key) {
                entry.detach(now, outbox);
            }
        }
        self.stop_replies(broker, |_| true);
    }

    /// The broker has detached a consumer. Gives its tag, if the channel still has it.
    pub fn cancelled(&mut self, key: ConsumerKey) -> Option<Arc<str>> {
        let entry = self.consumers.remove(&key)?;
        self.tell_of_end(std::iter::once(&entry));
        self.keys_by_tag.remove(&entry.tag);
        self.count_consumers();
        Some(entry.tag)
    }

    /// For messages that are to be sent to a consumer. `None`: it is gone, which happens only to consumers that do not
    /// acknowledge.
    pub fn outgoing(&mut self, key: ConsumerKey) -> Option<Outgoing<'_>> {
        Some(Outgoing {
            entry: self.consumers.get(&key)?,
            unsettled: &mut self.unsettled,
            live: &self.live,
        })
    }

    /// Copies a delivery to the firehose, which is on ([`Broker::is_traced`]), before it is [delivered](Outgoing::deliver).
    pub fn trace_delivery(
        &self,
        broker: &Broker,
        key: ConsumerKey,
        delivery: &Delivery,
        now: Timestamp,
        outbox: &mut Outbox,
    ) {
        let Some(entry) = self.consumers.get(&key) else {
            return;
        };
        let replies = self.reply_consumer.as_deref();
        let replies = replies.filter(|(of, _)| *of == key);
        let replies = replies.map(|&(_, token)| reply_to::address(token));
        let queue = entry.queue.as_ref().map(|queue| queue.name());
        if let Some(queue) = queue.or(replies.as_deref()) {
            broker.trace_delivery(self.seen(), queue, delivery, now, outbox);
        }
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            by: &self.principal,
            channel: self.number,
        }
    }

    /// A delivery that came too late to be sent: it goes back with those that are unsettled.
    pub fn absorb(&mut self, key: ConsumerKey, delivery: &Delivery) {
        if let Some(entry) = self.consumers.get(&key) {
            entry.take_in(delivery, &mut self.unsettled);
        }
    }

    /// `basic.get`: a message with its delivery tag and the number left, if there is one.
    pub fn get(
        &mut self,
        broker: &Broker,
        queue: &str,
        acknowledges: bool,
        now: Timestamp,
        outbox: &mut Outbox,
    ) -> Result<Option<(u64, Delivery, u64)>> {
        let resource = Resource::queue(queue, &self.principal.vhost_name);
        broker.check_access(&self.principal, Access::Read, resource)?;
        let queue = broker.find_queue(&self.principal, queue)?;
        if queue.kind == Kind::Stream {
            let text = format!("basic.get not supported by stream queues {resource}");
            return Err(Error::NotImplemented(text));
        }
        if queue.single_active_consumer && queue.kind == Kind::Quorum {
            let kind = queue.kind.name();
            return Err(Error::ResourceLocked(format!(
                "cannot obtain access to locked {resource}. basic.get operations are not supported by <<\"{kind}\">> \
                 queues with single active consumer"
            )));
        }
        let got = match queue.drive(now, outbox) {
            Ok(mut drive) => {
                let got = drive.get(self.session, acknowledges);
                drive.finish();
                got
            }
            Err(_) => Got::Empty,
        };
        let counters = self.live.counters.of(&queue);
        Ok(match got {
            Got::Empty => {
                counters.get_empty.add(1);
                None
            }
            Got::Message(delivery, ready) => {
                if broker.is_traced(&self.principal) {
                    broker.trace_delivery(self.seen(), queue.name(), &delivery, now, outbox);
                }
                let counter = if acknowledges {
                    &counters.get
                } else {
                    &counters.get_no_ack
                };
                counter.add(1);
                counters.redeliver.add(delivery.redelivered.into());
                let tag = match delivery.id {
                    Some(id) if acknowledges => self.unsettled.add(queue, id, To::Get),
                    _ => self.unsettled.skip(),
                };
                self.live.unacknowledged.set(self.unsettled.len() as u64);
                Some((tag, delivery, ready))
            }
        })
    }

    /// `basic.ack`, `nack`, `reject`: settles one delivery, or all up to it.
    pub fn settle(
        &mut self,
        tag: u64,
        multiple: bool,
        settle: Settle,
        settlements: &mut Settlements,
    ) -> Result<()> {
        let start = settlements.entries.len();
        if !self.unsettled.take(tag, multiple, &mut settlements.entries) {
            return Err(Error::PreconditionFailed(format!(
                "unknown delivery tag {tag}"
            )));
        }
        self.live.unacknowledged.set(self.unsettled.len() as u64);
        match &mut self.transaction {
            Some(transaction) => {
                let held = settlements.entries.split_off(start);
                self.live.acks_uncommitted.add(held.len() as u64);
                transaction.settles.push((settle, held));
            }
            None => {
                self.settled(&settlements.entries[start..], settle);
                settlements.mark(start, settle);
            }
        }
        Ok(())
    }

    /// `basic.recover` with requeue: everything unsettled goes back.
    pub fn recover(&mut self, settlements: &mut Settlements) {
        let start = settlements.entries.len();
        self.unsettled.take_all(&mut settlements.entries);
        let settle = Settle::Return(Return::Requeue);
        self.settled(&settlements.entries[start..], settle);
        settlements.mark(start, settle);
        self.live.unacknowledged.set(0);
    }

    /// `tx.commit`: everything held back happens. Gives the publishes, for the batch, and the settlements.
    pub fn commit(&mut self, settlements: &mut Settlements) -> Result<Vec<Held>> {
        let Some(transaction) = &mut self.transaction else {
            return Err(not_transactional());
        };
        let Transaction { publishes, settles } = std::mem::take(&mut **transaction);
        for (settle, entries) in settles {
            let start = settlements.entries.len();
            settlements.entries.extend(entries);
            self.settled(&settlements.entries[start..], settle);
            settlements.mark(start, settle);
        }
        self.nothing_is_held();
        Ok(publishes)
    }

    /// `tx.rollback`: publishes are forgotten, settled deliveries are unsettled again.
    pub fn rollback(&mut self) -> Result<()> {
        let Some(transaction) = &mut self.transaction else {
            return Err(not_transactional());
        };
        transaction.publishes.clear();
        for (_, entries) in transaction.settles.drain(..) {
            self.unsettled.put_back(entries);
        }
        self.nothing_is_held();
        Ok(())
    }

    /// The channel ends, after [`Self::stop_consuming`]: unsettled deliveries return.
    pub fn close(&mut self, broker: &Broker, now: Timestamp, outbox: &mut Outbox) {
        self.keys_by_tag.clear();
        self.tell_of_end(self.consumers.values());
        self.consumers.clear();
        broker.close_channel(&self.principal, self.number, &self.live);
        let mut settlements = Settlements::default();
        for (_, entries) in self
            .transaction
            .take()
            .into_iter()
            .flat_map(|held| held.settles)
        {
            self.unsettled.put_back(entries);
        }
        self.unsettled.take_all(&mut settlements.entries);
        settlements.mark(0, Settle::Return(Return::SessionEnded));
        settlements.flush(now, outbox);
    }

    /// A publish that wanted to know has ended so.
    pub fn publish_ended(&mut self, tag: u64, outcome: &Outcome) {
        if let Some(confirms) = &mut self.confirms {
            confirms.ended(tag, outcome);
        }
    }

    /// The next answer to publishes that may be given when the log is durable up to `durable`.
    pub fn next_settled(&mut self, durable: Lsn) -> Option<Settled> {
        let settled = self.confirms.as_mut()?.next_settled(durable)?;
        if !settled.refused {
            self.live.counters.publishes.confirm.add(settled.count);
        }
        let unconfirmed = self.live.unconfirmed.get();
        self.live.unconfirmed.set(unconfirmed - settled.count);
        Some(settled)
    }

    /// Whether answers to publishes wait for the log.
    pub fn is_confirming(&self) -> bool {
        self.confirms.as_ref().is_some_and(Confirms::is_waiting)
    }

    /// After settlements have reached their queues: what they took of a channel-wide limit is free again.
    pub fn credit_returned(&mut self, now: Timestamp, outbox: &mut Outbox) {
        let due = std::mem::take(&mut self.credit_due);
        let Some(credit) = self.shared_credit.as_ref().filter(|_| due > 0) else {
            return;
        };
        credit.give_back(due);
        if credit.was_refused() {
            self.resume_all(now, outbox);
        }
    }

    /// Consumers that were there before the channel had a limit come under it.
    fn share_credit(&mut self, credit: SharedCredit, now: Timestamp, outbox: &mut Outbox) {
        let credit = Arc::new(credit);
        for entry in self.consumers.values() {
            if let (Some(queue), Some(id)) = (&entry.queue, entry.attached)
                && let Ok(mut drive) = queue.drive(now, outbox)
            {
                drive.apply(Op::Share(id, credit.clone()));
                drive.finish();
            }
        }
        self.shared_credit = Some(credit);
    }

    /// Lets consumers go on, each time beginning with another one.
    fn resume_all(&mut self, now: Timestamp, outbox: &mut Outbox) {
        let mut keys: Vec<ConsumerKey> = self.consumers.keys().copied().collect();
        if keys.is_empty() {
            return;
        }
        keys.sort_unstable();
        let first = self.turns % keys.len();
        keys.rotate_left(first);
        self.turns = self.turns.wrapping_add(1);
        for entry in keys.iter().filter_map(|key| self.consumers.get(key)) {
            if let (Some(queue), Some(id)) = (&entry.queue, entry.attached) {
                queue.resume(id, now, outbox);
            }
        }
    }

    /// These deliveries are settled for good.
    fn settled(&mut self, entries: &[unsettled::Entry], settle: Settle) {
        for entry in entries {
            self.credit_due += u32::from(entry.consumed);
        }
        if settle == Settle::Acknowledge {
            for run in entries.chunk_by(|a, b| Arc::ptr_eq(&a.queue, &b.queue)) {
                let count = |tally: &DeliveryTally| tally.ack.add(run.len() as u64);
                self.live.counters.count(&run[0].queue, count);
            }
        }
    }

    /// The transaction has ended.
    fn nothing_is_held(&self) {
        self.live.uncommitted.set(0);
        self.live.acks_uncommitted.set(0);
        self.live.unacknowledged.set(self.unsettled.len() as u64);
    }

    fn tell_of_end<'a>(&self, consumers: impl Iterator<Item = &'a ConsumerEntry>) {
        if let Some(sink) = self.events.sink() {
            for entry in consumers {
                sink.take(entry.deleted(&self.principal, self.number));
            }
        }
    }

    fn count_consumers(&self) {
        self.live.consumers.set(self.consumers.len() as u64);
    }

    fn attach(
        &self,
        broker: &Broker,
        subscriber: &Subscriber,
        spec: &ConsumeSpec<'_>,
        now: Timestamp,
        outbox: &mut Outbox,
    ) -> Result<(Arc<LiveQueue>, ConsumerId)> {
        let resource = Resource::queue(spec.queue, &self.principal.vhost_name);
        broker.check_access(&self.principal, Access::Read, resource)?;
        let queue = broker.find_queue(&self.principal, spec.queue)?;
        let asked_for = ConsumerArguments::read(resource, queue.kind, &spec.arguments, now)?;
        let mut prefetch = self.prefetch;
        if queue.kind == Kind::Stream {
            prefetch = self.stream_prefetch();
            check_stream_consumer(resource, spec.acknowledges, prefetch)?;
        }
        let consumer = Consumer {
            id: ConsumerId(0),
            session: self.session,
            acknowledges: spec.acknowledges,
            prefetch,
            shared_credit: self.shared_credit.clone(),
            priority: asked_for.priority,
            exclusive: spec.exclusive,
            timeout_ms: asked_for.timeout_ms,
            read_from: asked_for.read_from,
        };
        let mut drive = queue.drive(now, outbox).map_err(|_| resource.not_found())?;
        let attached = drive.attach(consumer, subscriber.clone());
        drive.finish();
        match attached {
            Ok(id) => Ok((queue, id)),
            Err(AttachRefusal::ExclusiveUse) => {
                Err(Error::AccessRefused(format!("{resource} in exclusive use")))
            }
        }
    }

    /// A stream has no limit in common with other queues: that of the channel counts for each of its consumers, as for all
    /// of them since RabbitMQ 4.3.
    fn stream_prefetch(&self) -> u16 {
        let shared = self.shared_credit.as_ref().map(|credit| credit.limit());
        let shared = shared.map(|limit| u16::try_from(limit).unwrap_or(u16::MAX));
        [Some(self.prefetch), shared]
            .into_iter()
            .flatten()
            .find(|limit| *limit > 0)
            .unwrap_or(0)
    }

    fn subscriber(&self, key: ConsumerKey, tag: Arc<str>, arguments: Table) -> Subscriber {
        Subscriber {
            mailbox: self.mailbox.clone(),
            channel: self.number,
            key,
            about: Arc::new(ConsumerFacts { tag, arguments }),
        }
    }

    fn consume_replies(
        &mut self,
        broker: &Broker,
        key: ConsumerKey,
        acknowledges: bool,
    ) -> Result<()> {
        if acknowledges {
            let text = "reply consumer cannot acknowledge";
            return Err(Error::PreconditionFailed(text.to_owned()));
        }
        if self.reply_consumer.is_some() {
            return Err(Error::PreconditionFailed(
                "reply consumer already set".to_owned(),
            ));
        }
        let token = broker.random_token();
        let consumer = ReplyConsumer {
            mailbox: self.mailbox.clone(),
            channel: self.number,
            key,
        };
        broker.reply_consumers.add(token, consumer);
        self.reply_consumer = Some(Box::new((key, token)));
        Ok(())
    }

    /// Ends the direct reply-to consumer if it is one that is meant.
    fn stop_replies(&mut self, broker: &Broker, is_meant: impl Fn(&ConsumerEntry) -> bool) {
        if let Some(&(key, token)) = self.reply_consumer.as_deref()
            && self.consumers.get(&key).is_some_and(is_meant)
        {
            broker.reply_consumers.remove(token);
            self.reply_consumer = None;
        }
    }
}

/// What is told of a new consumer, beside what its entry has.
struct ConsumerEvent {
    exclusive: bool,
    prefetch: u16,
}

// What is told of consumers (E19).
impl ConsumerEntry {
    fn created(&self, by: &Principal, channel: u16, facts: &ConsumerEvent) -> Event {
        let arguments = &self.about.arguments;
        let mut event = self.deleted(by, channel);
        event.name = "consumer.created";
        let properties = &mut event.properties;
        properties.insert("exclusive", Value::Bool(facts.exclusive));
        properties.insert("ack_required", Value::Bool(self.acknowledges));
        properties.insert("prefetch_count", Value::I64(facts.prefetch.into()));
        properties.insert("arguments", Value::Table(arguments.clone()));
        event
    }

    fn deleted(&self, by: &Principal, channel: u16) -> Event {
        let queue = self
            .queue
            .as_ref()
            .map_or(reply_to::REPLY_TO, |it| it.name());
        Event::new(
            "consumer.deleted",
            [
                ("consumer_tag", text(&self.tag)),
                ("channel", channel_pid(by.connection, channel)),
                ("queue", text(queue)),
                ("vhost", text(&by.vhost_name)),
                (PERFORMED_BY, text(&by.user)),
            ],
        )
    }
}

impl ConsumerEntry {
    /// The tag of a delivery, which is unsettled from now on if it has to be settled.
    #[inline]
    fn take_in(&self, delivery: &Delivery, unsettled: &mut Unsettled) -> u64 {
        match (&self.queue, delivery.id) {
            (Some(queue), Some(id)) if self.acknowledges => {
                unsettled.add(queue.clone(), id, To::Consumer)
            }
            _ => unsettled.skip(),
        }
    }

    fn detach(&mut self, now: Timestamp, outbox: &mut Outbox) {
        if let (Some(queue), Some(id)) = (&self.queue, self.attached.take())
            && let Ok(mut drive) = queue.drive(now, outbox)
        {
            drive.detach(id, &self.about);
            drive.finish();
        }
    }
}

/// Deliveries that clients have settled, until their queues are told: those of one read of a connection together.
#[derive(Debug, Default)]
pub struct Settlements {
    pub(crate) entries: Vec<unsettled::Entry>,
    /// How the entries are settled: up to this index in this way.
    runs: Vec<(usize, Settle)>,
}

impl Settlements {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many deliveries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    fn mark(&mut self, start: usize, settle: Settle) {
        let end = self.entries.len();
        if start == end {
            return;
        }
        match self.runs.last_mut() {
            Some((until, last)) if *last == settle => *until = end,
            _ => self.runs.push((end, settle)),
        }
    }

    /// Tells the queues, each once per run of neighbours.
    pub fn flush(&mut self, now: Timestamp, outbox: &mut Outbox) {
        let mut start = 0;
        let mut ids: Vec<DeliveryId> = Vec::with_capacity(self.entries.len());
        for (end, settle) in self.runs.drain(..) {
            let mut rest = &self.entries[start..end];
            start = end;
            while let Some(first) = rest.first() {
                let queue = &first.queue;
                let count = rest
                    .iter()
                    .take_while(|entry| Arc::ptr_eq(&entry.queue, queue))
                    .count();
                ids.clear();
                ids.extend(rest[..count].iter().map(|entry| entry.id));
                if let Ok(mut drive) = queue.drive(now, outbox) {
                    match settle {
                        Settle::Acknowledge => drive.acknowledge(&ids),
                        Settle::Discard => drive.apply(Op::Discard(&ids)),
                        Settle::Return(how) => drive.apply(Op::Return(&ids, how)),
                    }
                    drive.finish();
                }
                rest = &rest[count..];
            }
        }
        self.entries.clear();
    }
}

/// T18: what a consumer of a stream must have asked for.
fn check_stream_consumer(resource: Resource<'_>, acknowledges: bool, prefetch: u16) -> Result<()> {
    let Resource { name, vhost, .. } = resource;
    if !acknowledges {
        return Err(Error::NotImplemented(format!(
            "automatic acknowledgement not supported by stream queue '{name}' in vhost '{vhost}'"
        )));
    }
    if prefetch == 0 {
        return Err(Error::PreconditionFailed(format!(
            "consumer prefetch count is not set for stream queue '{name}' in vhost '{vhost}'"
        )));
    }
    Ok(())
}

fn not_transactional() -> Error {
    Error::PreconditionFailed("channel is not transactional".to_owned())
}
