//! A queue at work: the state machine behind its lock, and the way of its effects to connections, log and other queues.
//!
//! Under the lock a drive applies ops and puts deliveries into the consumers' mailboxes, so that the order a queue
//! decides is the order connections see. All else that an op leads to (records to release, messages to dead-letter, the
//! queue's own deletion) is gathered in an [`Outbox`] and done by [`crate::broker::Broker::finish`] when no lock is held.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use leveret_storage::Lsn;
use parking_lot::{Mutex, MutexGuard};

mod browse;

pub use browse::{Browse, BrowsePage, InHands, UnackedPage};

use crate::arguments::Effective;
use crate::counters::QueueCounters;
use crate::ids::{ConsumerId, DeliveryId, MessageId, PageId, QueueId, VhostId};
use crate::mailbox::{CancelReason, ConsumerKey, Event, Mailbox};
use crate::message::Message;
use crate::paging::CROWDED_BYTES;
use crate::policies::Applied;
use crate::properties::Properties;
use crate::queue::pages::{Leaving, PageSizes, PageStore, Resident};
use crate::queue::{
    Arrivals, AttachRefusal, Consumer, ConsumerStatus, Counts, Delivery, Effect, Incoming, Kind,
    Op, QueueCore, Reason, Scope, Settings, Standing, Start, Stats, StreamStats,
};
use crate::record::RecordError;
use crate::table::Table;
use crate::time::Timestamp;

/// Messages handed out between two looks at whether the consumers' mailboxes are full.
const ASSIGN_RUN: usize = 256;

/// A connection, for as long as the node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What a queue was declared as. Never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Declaration {
    pub name: Arc<str>,
    pub durable: bool,
    pub auto_delete: bool,
    /// The only connection that may use it; the queue goes with it.
    pub exclusive: Option<ConnectionId>,
    /// With `x-queue-type` filled in. Shared by queues that were declared alike.
    pub arguments: Arc<Table>,
    /// The user who did it; nobody: the node itself.
    pub declared_by: Option<Arc<str>>,
}

/// Where messages of the queue go when they die.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterTo {
    pub exchange: Box<str>,
    /// Replaces the message's own routing keys.
    pub routing_key: Option<Box<[u8]>>,
}

/// A queue of this node. See the module's page.
#[derive(Debug)]
pub struct LiveQueue {
    pub id: QueueId,
    pub vhost: VhostId,
    pub vhost_name: Arc<str>,
    pub declaration: Arc<Declaration>,
    pub kind: Kind,
    pub single_active_consumer: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    core: QueueCore,
    /// The consumers, by the slot their `ConsumerId` names.
    subscribers: Vec<Option<Subscriber>>,
    effects: Vec<Effect>,
    /// Deleted: nothing goes in or out any more.
    gone: bool,
    /// The earliest tick that the node's timers know of.
    timer_at: Timestamp,
    /// Where messages go when they die, as arguments and policies say.
    dead_letter_to: Option<Arc<DeadLetterTo>>,
    applied: Applied,
    counters: QueueCounters,
    /// When somebody last asked something of it.
    last_active: Timestamp,
    /// What the node has been told that the waiting messages take in memory.
    resident: Resident,
    /// Whether the pager knows of the queue.
    crowded: bool,
}

/// Who a consumer is to the rest of the node.
#[derive(Debug, Clone)]
pub struct Subscriber {
    pub mailbox: Arc<Mailbox>,
    pub channel: u16,
    pub key: ConsumerKey,
    pub about: Arc<ConsumerFacts>,
}

/// What a client said about a consumer.
#[derive(Debug)]
pub struct ConsumerFacts {
    pub tag: Arc<str>,
    pub arguments: Table,
}

/// A queue in a listing, beside its declaration. See [`LiveQueue::status`].
#[derive(Debug, Clone)]
pub struct QueueStatus {
    pub stats: Stats,
    /// Since the node started.
    pub counters: QueueCounters,
    /// What arguments and policies come to.
    pub settings: Arc<Settings>,
    /// Its policies.
    pub applied: Applied,
    /// When somebody last asked something of it.
    pub idle_since: Timestamp,
    pub exclusive_consumer: Option<Arc<ConsumerFacts>>,
    pub single_active_consumer: Option<Arc<ConsumerFacts>>,
    /// What only a stream tells.
    pub stream: Option<StreamStats>,
}

/// A consumer in a listing.
#[derive(Debug, Clone)]
pub struct ConsumerInfo {
    pub about: Arc<ConsumerFacts>,
    pub connection: ConnectionId,
    pub channel: u16,
    pub ack_required: bool,
    pub exclusive: bool,
    pub prefetch_count: u16,
    pub priority: i32,
    /// Its own `x-consumer-timeout`, ms.
    pub timeout_ms: Option<u64>,
    /// Not so for those that wait behind a single active consumer.
    pub active: bool,
    pub unacknowledged: u32,
}

/// What drives of queues leave to be done without a lock.
#[derive(Debug, Default)]
pub struct Outbox {
    pub(crate) releases: Vec<(QueueId, MessageId)>,
    pub(crate) counts: Vec<(QueueId, MessageId, Counts)>,
    pub(crate) dropped_pages: Vec<PageId>,
    pub(crate) dead_letters: Vec<DeadLettered>,
    pub(crate) deletions: Vec<Arc<LiveQueue>>,
    /// Connections that read a stream, and up to where the log has to be durable for what they wait for.
    pub(crate) summoned: Vec<(Arc<Mailbox>, Lsn)>,
    pub(crate) timers: Vec<(Timestamp, Arc<LiveQueue>)>,
    /// How much more memory waiting messages take.
    pub(crate) resident: Resident,
    /// Queues that the pager should know of.
    pub(crate) crowded: Vec<Arc<LiveQueue>>,
    /// A message was published to a queue that has something to page out.
    pub(crate) fills_crowded: bool,
    /// A message was published to a queue whose consumers are behind.
    pub(crate) outruns_consumers: bool,
}

/// A message that died in `queue`.
#[derive(Debug)]
pub(crate) struct DeadLettered {
    pub(crate) queue: Arc<LiveQueue>,
    pub(crate) message: Message,
    pub(crate) reason: Reason,
    /// The queue keeps the message until it is told how it went.
    pub(crate) tracked: Option<DeliveryId>,
}

impl Outbox {
    /// Whether something was published to a queue that has something to page out. Says so once.
    pub fn take_fills_crowded(&mut self) -> bool {
        std::mem::take(&mut self.fills_crowded)
    }

    /// Whether something was published to a queue with a long backlog whose consumers have all that their prefetch allows.
    /// Says so once.
    pub fn take_outruns_consumers(&mut self) -> bool {
        std::mem::take(&mut self.outruns_consumers)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.releases.is_empty()
            && self.counts.is_empty()
            && self.dropped_pages.is_empty()
            && self.dead_letters.is_empty()
            && self.deletions.is_empty()
            && self.summoned.is_empty()
            && self.timers.is_empty()
            && self.resident == Resident::NONE
            && self.crowded.is_empty()
    }
}

/// How a get ended.
#[derive(Debug)]
pub enum Got {
    /// A message, and how many are still ready.
    Message(Delivery, u64),
    Empty,
}

/// The queue was deleted before the op reached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl LiveQueue {
    pub(crate) fn new(
        id: QueueId,
        vhost: (VhostId, Arc<str>),
        declaration: Arc<Declaration>,
        effective: Effective,
        applied: Applied,
        pages: Arc<dyn PageStore>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            vhost: vhost.0,
            vhost_name: vhost.1,
            declaration,
            kind: effective.settings.kind,
            single_active_consumer: effective.settings.single_active_consumer,
            state: Mutex::new(State {
                core: QueueCore::new(effective.settings, now).with_pages(pages),
                subscribers: Vec::new(),
                effects: Vec::new(),
                gone: false,
                timer_at: Timestamp::NEVER,
                dead_letter_to: effective.dead_letter_to.map(Arc::new),
                applied,
                counters: QueueCounters::default(),
                last_active: now,
                resident: Resident::NONE,
                crowded: false,
            }),
        }
    }

    /// The queue's name.
    pub fn name(&self) -> &str {
        &self.declaration.name
    }

    /// The order of listings: by vhost, then by name.
    pub fn by_name(left: &Arc<Self>, right: &Arc<Self>) -> Ordering {
        let vhosts = left.vhost_name.cmp(&right.vhost_name);
        vhosts.then_with(|| left.name().cmp(right.name()))
    }

    /// Locks the queue for a few ops; [`Drive::finish`] hands out what they made ready.
    pub(crate) fn drive<'a>(
        self: &'a Arc<Self>,
        now: Timestamp,
        outbox: &'a mut Outbox,
    ) -> Result<Drive<'a>, Gone> {
        let mut drive = self.lock(now, outbox)?;
        drive.state.last_active = now;
        Ok(drive)
    }

    fn lock<'a>(
        self: &'a Arc<Self>,
        now: Timestamp,
        outbox: &'a mut Outbox,
    ) -> Result<Drive<'a>, Gone> {
        let state = self.state.lock();
        if state.gone {
            return Err(Gone);
        }
        Ok(Drive {
            queue: self,
            state,
            outbox,
            now,
        })
    }

    /// Its figures.
    pub fn stats(&self) -> Stats {
        self.state.lock().core.stats()
    }

    /// Its figures, and what it has counted since the node started: what can be asked of very many queues.
    pub fn numbers(&self) -> (Stats, QueueCounters) {
        let state = self.state.lock();
        (state.core.stats(), state.counters)
    }

    /// Where its ready messages stand in the order of arrival; `None`: there are none, or it is a stream.
    pub fn arrivals(&self) -> Option<Arrivals> {
        self.state.lock().core.arrivals()
    }

    /// Ready messages by priority, and how many of a quorum queue came back and go ahead of those.
    pub fn ready_by_priority(&self) -> (BTreeMap<u16, u64>, u64) {
        self.state.lock().core.ready_by_priority()
    }

    /// Where its messages go when they die.
    pub(crate) fn dead_letter_to(&self) -> Option<Arc<DeadLetterTo>> {
        self.state.lock().dead_letter_to.clone()
    }

    /// Other policies apply to it, and arguments and policies come to this now.
    pub(crate) fn configure(
        self: &Arc<Self>,
        effective: Effective,
        applied: &Applied,
        now: Timestamp,
        outbox: &mut Outbox,
    ) {
        if let Ok(mut drive) = self.lock(now, outbox) {
            drive.state.dead_letter_to = effective.dead_letter_to.map(Arc::new);
            drive.state.applied = applied.clone();
            drive.apply(Op::Configure(effective.settings));
            drive.finish();
        }
    }

    /// Takes the consumers of some connections away and tells them why. What they hold stays theirs to settle.
    pub(crate) fn cancel_consumers(
        self: &Arc<Self>,
        is_meant: impl Fn(ConnectionId) -> bool,
        why: CancelReason,
        now: Timestamp,
        outbox: &mut Outbox,
    ) {
        let Ok(mut drive) = self.lock(now, outbox) else {
            return;
        };
        let meant: Vec<ConsumerId> = {
            let consumers = drive.state.core.consumers();
            let of = |status: &ConsumerStatus<'_>| ConnectionId(status.consumer.session.0 >> 16);
            let meant = consumers.filter(|status| is_meant(of(status)));
            meant.map(|status| status.consumer.id).collect()
        };
        for id in meant {
            if let Some(subscriber) = drive.state.subscribers[id.0 as usize].take() {
                subscriber.cancel(why);
            }
            drive.apply(Op::Detach(id));
        }
        drive.finish();
    }

    /// What an operator may want to know of it, as of one moment.
    pub fn status(&self) -> QueueStatus {
        let state = self.state.lock();
        let tag_of = |consumer: &Consumer| {
            let subscriber = state.subscribers.get(consumer.id.0 as usize)?.as_ref();
            subscriber.map(|subscriber| subscriber.about.clone())
        };
        let mut consumers = state.core.consumers();
        let exclusive = consumers.find(|status| status.consumer.exclusive);
        QueueStatus {
            stats: state.core.stats(),
            counters: state.counters,
            settings: state.core.settings().clone(),
            applied: state.applied.clone(),
            idle_since: state.last_active,
            exclusive_consumer: exclusive.and_then(|status| tag_of(status.consumer)),
            single_active_consumer: state.core.active_consumer().and_then(tag_of),
            stream: state.core.stream_stats(),
        }
    }

    /// The `timestamp` of the next message, s, if it has one (`head_message_timestamp`).
    pub fn head_message_timestamp(&self) -> Option<u64> {
        let mut timestamp = None;
        let state = self.state.lock();
        let read = state
            .core
            .browse(Start::Offset(0), Scope::ALL, &mut |head| {
                let properties = Properties::parse(head.message.properties()).ok();
                timestamp = properties.and_then(|properties| properties.timestamp());
                ControlFlow::Break(())
            });
        read.ok().and(timestamp)
    }

    /// Its consumers, in no particular order.
    pub fn consumers(&self) -> Vec<ConsumerInfo> {
        let state = self.state.lock();
        let info = |status: ConsumerStatus<'_>| {
            let subscriber = state.subscribers.get(status.consumer.id.0 as usize)?;
            let subscriber = subscriber.as_ref()?;
            Some(ConsumerInfo {
                about: subscriber.about.clone(),
                connection: ConnectionId(status.consumer.session.0 >> 16),
                channel: subscriber.channel,
                ack_required: status.consumer.acknowledges,
                exclusive: status.consumer.exclusive,
                prefetch_count: status.consumer.prefetch,
                priority: status.consumer.priority,
                timeout_ms: status.consumer.timeout_ms,
                active: status.active,
                unacknowledged: status.unsettled,
            })
        };
        state.core.consumers().filter_map(info).collect()
    }

    /// Marks the queue deleted, tells its consumers, and gives what it held, with what the node has been told that this
    /// takes in memory. `None`: somebody else was first, or `allows` says no.
    ///
    /// Channels may go on referring to the queue for as long as they do not publish; its messages must not stay with it.
    pub(crate) fn close(
        &self,
        allows: impl FnOnce(&Stats) -> bool,
    ) -> Option<(QueueCore, Resident)> {
        let mut state = self.state.lock();
        let stats = state.core.stats();
        if state.gone || !allows(&stats) {
            return None;
        }
        state.gone = true;
        for subscriber in state.subscribers.drain(..).flatten() {
            subscriber.cancel(CancelReason::QueueDeleted);
        }
        let empty = QueueCore::new(state.core.settings().clone(), Timestamp::default());
        let held = std::mem::replace(&mut state.core, empty);
        Some((held, std::mem::take(&mut state.resident)))
    }

    /// What the waiting messages take in memory.
    pub(crate) fn resident(&self) -> Resident {
        self.state.lock().core.resident()
    }

    /// The same in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.resident().bytes.cast_unsigned()
    }

    // What the pager does. See `paging`.

    /// Names a run of messages to be paged out. If there is none, the queue has to be told to the pager again.
    pub(crate) fn page_out(&self) -> Option<Leaving> {
        let mut state = self.state.lock();
        let leaving = state.core.page_out(&PageSizes::DEFAULT);
        state.crowded = leaving.is_some();
        leaving
    }

    /// A run is on disk. Gives how much more memory the queue takes now (less, if its turn has not come meanwhile).
    pub(crate) fn commit_page(
        &self,
        leaving: &Leaving,
        commit: impl FnOnce() -> PageId,
    ) -> Resident {
        let mut state = self.state.lock();
        let freed = state.core.commit_page(leaving, commit);
        let more = state.count_resident();
        drop(state);
        // Thousands of messages are let go without the lock.
        drop(freed);
        more
    }

    /// A run can't be written.
    pub(crate) fn give_up_page(&self, leaving: &Leaving) {
        self.state.lock().core.give_up_page(leaving);
    }

    /// A consumer can take deliveries again.
    pub fn resume(self: &Arc<Self>, consumer: ConsumerId, now: Timestamp, outbox: &mut Outbox) {
        if let Ok(mut drive) = self.drive(now, outbox) {
            drive.apply(Op::Resume(consumer));
            drive.finish();
        }
    }

    /// A timer has gone off.
    pub(crate) fn tick(self: &Arc<Self>, now: Timestamp, outbox: &mut Outbox) {
        if let Ok(mut drive) = self.lock(now, outbox) {
            drive.state.timer_at = Timestamp::NEVER;
            drive.apply(Op::Tick);
            drive.finish();
        }
    }
}

impl State {
    /// How much more memory the waiting messages take than the node was told.
    fn count_resident(&mut self) -> Resident {
        let now = self.core.resident();
        now - std::mem::replace(&mut self.resident, now)
    }

    /// Whether the queue may have something to page out.
    fn is_crowded(&self) -> bool {
        self.resident.bytes > CROWDED_BYTES
    }
}

impl Subscriber {
    fn cancel(&self, why: CancelReason) {
        self.mailbox.put(Event::Cancelled {
            channel: self.channel,
            consumer: self.key,
            why,
        });
    }
}

/// A queue under its lock.
#[derive(Debug)]
pub(crate) struct Drive<'a> {
    queue: &'a Arc<LiveQueue>,
    state: MutexGuard<'a, State>,
    outbox: &'a mut Outbox,
    now: Timestamp,
}

impl Drive<'_> {
    /// Applies an op that gives no reply.
    pub(crate) fn apply(&mut self, op: Op<'_>) {
        let State { core, effects, .. } = &mut *self.state;
        core.apply(self.now, op, effects);
    }

    /// Publishes; `false`: refused for want of room.
    #[inline]
    pub(crate) fn publish(&mut self, incoming: Incoming) -> bool {
        let State {
            core,
            effects,
            counters,
            ..
        } = &mut *self.state;
        counters.publish += 1;
        counters.disk_writes += u64::from(incoming.id.is_stored());
        let before = effects.len();
        core.publish(self.now, incoming, effects);
        let mut new = effects[before..].iter();
        !new.any(|effect| matches!(effect, Effect::Refused))
    }

    /// What was published to a stream is durable when the log is so up to here.
    pub(crate) fn written(&mut self, durable_at: Lsn) {
        if self.queue.kind == Kind::Stream {
            self.apply(Op::Written(durable_at.0));
        }
    }

    /// A stream begins with this offset, as the log knows.
    pub(crate) fn begin_at(&mut self, offset: u64) {
        self.state.core.begin_at(offset);
    }

    /// Attaches a consumer. `consumer.id` is given here.
    pub(crate) fn attach(
        &mut self,
        mut consumer: Consumer,
        subscriber: Subscriber,
    ) -> Result<ConsumerId, AttachRefusal> {
        let slots = &mut self.state.subscribers;
        let free = slots
            .iter()
            .position(Option::is_none)
            .unwrap_or(slots.len());
        consumer.id = ConsumerId(u32::try_from(free).expect("fewer than 2^32 consumers"));
        let id = consumer.id;
        self.apply(Op::Attach(consumer));
        match self.state.effects.pop() {
            Some(Effect::Attached) => {}
            Some(Effect::AttachRefused(why)) => return Err(why),
            other => unreachable!("an attach gave {other:?}"),
        }
        let slots = &mut self.state.subscribers;
        if free == slots.len() {
            slots.push(None);
        }
        slots[free] = Some(subscriber);
        Ok(id)
    }

    /// Takes the consumer away that these are the facts of. Its unsettled deliveries stay with its session. One that the
    /// queue has detached itself is gone already, and its slot may be another's.
    pub(crate) fn detach(&mut self, consumer: ConsumerId, about: &Arc<ConsumerFacts>) {
        let slot = &mut self.state.subscribers[consumer.0 as usize];
        let is_it = |subscriber: &mut Subscriber| Arc::ptr_eq(&subscriber.about, about);
        if slot.take_if(is_it).is_some() {
            self.apply(Op::Detach(consumer));
        }
    }

    /// `basic.get`.
    pub(crate) fn get(&mut self, session: crate::ids::SessionId, acknowledges: bool) -> Got {
        self.apply(Op::Get {
            session,
            acknowledges,
        });
        let effects = &mut self.state.effects;
        let at = effects
            .iter()
            .position(|effect| matches!(effect, Effect::Got(..) | Effect::Empty))
            .expect("a get gives a message or says that there is none");
        let got = effects.remove(at);
        let counters = &mut self.state.counters.deliveries;
        match got {
            Effect::Got(delivery, ready) => {
                let counter = match delivery.id {
                    Some(_) => &mut counters.get,
                    None => &mut counters.get_no_ack,
                };
                *counter += 1;
                counters.redeliver += u64::from(delivery.redelivered);
                Got::Message(delivery, ready)
            }
            _ => {
                counters.get_empty += 1;
                Got::Empty
            }
        }
    }

    /// Takes messages out of their turn, those of them that still wait.
    pub(crate) fn take(&mut self, standings: &[Standing]) -> Vec<Delivery> {
        self.apply(Op::Take(standings));
        let mut taken = Vec::with_capacity(standings.len());
        let effects = std::mem::take(&mut self.state.effects);
        for effect in effects {
            match effect {
                Effect::Taken(delivery) => taken.push(delivery),
                other => self.state.effects.push(other),
            }
        }
        taken
    }

    /// Clients are done with these deliveries.
    pub(crate) fn acknowledge(&mut self, ids: &[DeliveryId]) {
        self.state.counters.deliveries.ack += ids.len() as u64;
        self.apply(Op::Acknowledge(ids));
    }

    /// Messages up to this id will be recovered.
    pub(crate) fn expect_recovered(&mut self, last: MessageId) {
        self.state.core.expect_recovered(last);
    }

    /// Whether what is published now will wait.
    pub(crate) fn makes_wait(&self) -> bool {
        self.state.core.makes_wait()
    }

    /// Whether the queue may have something to page out.
    pub(crate) fn is_crowded(&self) -> bool {
        self.state.is_crowded()
    }

    /// Whether consumers are behind: they work as fast as their prefetch allows, and much waits.
    pub(crate) fn outruns_consumers(&self) -> bool {
        self.state.core.outruns_consumers()
    }

    /// Takes a page found in the log at start.
    pub(crate) fn recover_page(
        &mut self,
        page: PageId,
        meta: &[u8],
        ids: RangeInclusive<MessageId>,
        crashed: bool,
    ) -> Result<(), RecordError> {
        self.state.core.recover_page(page, meta, ids, crashed)
    }

    /// Drops the ready messages; gives their number.
    pub(crate) fn purge(&mut self) -> u64 {
        self.apply(Op::Purge);
        let effects = &mut self.state.effects;
        let at = effects
            .iter()
            .position(|effect| matches!(effect, Effect::Purged(_)))
            .expect("a purge tells how many messages it dropped");
        match effects.remove(at) {
            Effect::Purged(count) => count,
            _ => 0,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.state.core.stats()
    }

    /// Hands out what can be handed out, and leaves the rest to the outbox.
    pub(crate) fn finish(mut self) {
        self.route_effects();
        while self.state.core.has_work() {
            self.apply(Op::Assign(ASSIGN_RUN));
            self.route_effects();
        }
        self.register_timer();
        self.report_resident();
    }

    /// Takes the effects of the ops so far to where they belong.
    fn route_effects(&mut self) {
        if self.state.effects.is_empty() {
            return;
        }
        let mut effects = std::mem::take(&mut self.state.effects);
        let mut rest = effects.drain(..);
        while let Some(effect) = rest.next() {
            match effect {
                Effect::Deliver(consumer, delivery) => {
                    self.deliver_run(consumer, delivery, &mut rest)
                }
                Effect::Release(id) => self.outbox.releases.push((self.queue.id, id)),
                Effect::DropPage(page) => self.outbox.dropped_pages.push(page),
                Effect::Count(id, counts) => self.outbox.counts.push((self.queue.id, id, counts)),
                Effect::DeadLetter(message, reason, tracked) => {
                    let queue = self.queue.clone();
                    self.outbox.dead_letters.push(DeadLettered {
                        queue,
                        message,
                        reason,
                        tracked,
                    });
                }
                Effect::TimedOut(consumer, timeout_ms) => {
                    if let Some(subscriber) = self.state.subscribers[consumer.0 as usize].take() {
                        subscriber.cancel(CancelReason::TimedOut { timeout_ms });
                    }
                }
                Effect::Truncate {
                    first_offset,
                    messages,
                    pages,
                } => {
                    let core = &self.state.core;
                    core.truncate_log(self.queue.id, first_offset, &messages, &pages);
                }
                Effect::Summon(consumer, durable_at) => {
                    if let Some(subscriber) = &self.state.subscribers[consumer.0 as usize] {
                        subscriber.mailbox.note_to_resume(self.queue, consumer);
                        let mailbox = subscriber.mailbox.clone();
                        self.outbox.summoned.push((mailbox, Lsn(durable_at)));
                    }
                }
                Effect::Delete => self.outbox.deletions.push(self.queue.clone()),
                // Replies, taken by those who asked.
                Effect::Refused
                | Effect::Attached
                | Effect::AttachRefused(_)
                | Effect::Got(..)
                | Effect::Empty
                | Effect::Purged(_)
                | Effect::Taken(_) => {}
            }
        }
        drop(rest);
        // Pausing a consumer may have had effects of its own: they wait for the next call.
        effects.append(&mut self.state.effects);
        self.state.effects = effects;
    }

    /// Puts a run of deliveries for one consumer into its mailbox under one lock.
    fn deliver_run(
        &mut self,
        consumer: ConsumerId,
        first: Delivery,
        rest: &mut std::vec::Drain<'_, Effect>,
    ) {
        let State {
            core,
            subscribers,
            effects,
            counters,
            ..
        } = &mut *self.state;
        let counters = &mut counters.deliveries;
        let subscriber = subscribers[consumer.0 as usize]
            .as_ref()
            .expect("the queue hands out to attached consumers only");
        let mut event = |delivery: Delivery| {
            let acknowledged = delivery.id.is_some();
            counters.deliver += u64::from(acknowledged);
            counters.deliver_no_ack += u64::from(!acknowledged);
            counters.redeliver += u64::from(delivery.redelivered);
            Event::Deliver {
                channel: subscriber.channel,
                consumer: subscriber.key,
                delivery,
            }
        };
        let mut first = Some(first);
        let outbox = &mut *self.outbox;
        let id = self.queue.id;
        let full = subscriber.mailbox.put_all(|| {
            if let Some(delivery) = first.take() {
                return Some(event(delivery));
            }
            loop {
                // Looked at where it lies: an effect is large, and moving it out to look costs as much as the rest.
                let joins = match rest.as_slice().first()? {
                    Effect::Deliver(to, _) => *to == consumer,
                    Effect::Release(_) => true,
                    _ => false,
                };
                if !joins {
                    return None;
                }
                match rest.next()? {
                    Effect::Deliver(_, delivery) => return Some(event(delivery)),
                    // An automatic acknowledgement follows each delivery of a stored message.
                    Effect::Release(message) => outbox.releases.push((id, message)),
                    _ => return None,
                }
            }
        });
        if full && subscriber.mailbox.pause_if_full(self.queue, consumer) {
            core.apply(self.now, Op::Pause(consumer), effects);
        }
    }

    /// Tells the node what memory its messages take, and the pager if that is much.
    fn report_resident(&mut self) {
        let state = &mut *self.state;
        self.outbox.resident += state.count_resident();
        if state.is_crowded() && !state.crowded {
            state.crowded = true;
            self.outbox.crowded.push(self.queue.clone());
        }
    }

    /// Tells the node's timers when this queue must be looked at, if that is earlier than they know.
    fn register_timer(&mut self) {
        let Some(at) = self.state.core.deadline() else {
            return;
        };
        if at < self.state.timer_at {
            self.state.timer_at = at;
            self.outbox.timers.push((at, self.queue.clone()));
        }
    }
}
