//! The queue itself: every op, and what it does to the message.
//!
//! ```text
//!                         ┌──────────────────── hand over ─────────────────────┐
//!  Publish ───────────────┤                                                    v
//!     │                   └──> backlog ──── Assign, Get ──────────────────> unsettled
//!     │ refused                │  ^  ^                                      │  │  │
//!     v                expired │  │  └── Return, timeout ───────────────────┘  │  │ Acknowledge
//!  (nothing kept)      dropped │  └───── delayed <── Return (quorum) ──────────┤  v
//!                              v                                              │ (released)
//!                         dead letters <── Discard, delivery limit ───────────┘
//!                              └──> (released) at once, or when every target has it
//! ```

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tracing::error;

use super::apart::Apart;
use super::backlog::{Backlog, Entry, Expiry, Freed, Marks, RETURNED, Taken};
use super::consumers::{ConsumerStatus, Consumers, Place};
use super::pages::{Leaving, Page, PageSizes, PageStore, Resident};
use super::slab::Slab;
use super::stream::Stream;
use super::{
    Arrivals, Consumer, Counts, DeadLetter, Delivery, Effect, Incoming, Kind, OnDisk, Op, Overflow,
    Reason, Recovered, RetryOn, Return, Settings, Stamp, Standing, Stats,
};
use crate::ids::{ConsumerId, DeliveryId, MessageId, PageId};
use crate::message::Message;
use crate::record::{self, RecordError};
use crate::time::Timestamp;

/// A backlog of more messages than this is not the wave of a moment.
const OUTRUN: u64 = 16 * 1024;

/// A queue's messages and consumers. Feed it ops with [`apply`](Self::apply), carry out the effects in their order, hand
/// out messages with [`Op::Assign`] while [`has_work`](Self::has_work), and send an [`Op::Tick`] at
/// [`deadline`](Self::deadline).
#[derive(Debug)]
pub struct QueueCore {
    /// Shared by queues that were declared alike.
    settings: Arc<Settings>,
    /// As long as there are any, those included that have gone and have something left to settle.
    consumers: Option<Box<Consumers>>,
    backlog: Backlog,
    unsettled: Slab<Unsettled>,
    unsettled_bytes: u64,
    /// The footprint of those of them that are in memory.
    unsettled_resident: u64,
    /// Delayed messages and dead letters, once there were any.
    apart: Option<Box<Apart>>,
    /// The place of the next message in the order of arrival.
    next_sequence: u64,
    persistent: u64,
    /// When the queue was last in use, for `x-expires`.
    last_used: Timestamp,
    /// No delivery times out before this. It may be early, never late.
    next_timeout: Option<Timestamp>,
    /// There are more expired messages than an op lets go: nobody gets any before they have left.
    expiring: bool,
    /// [`Effect::Delete`] has been given.
    deleted: bool,
    /// What only a stream has.
    pub(super) stream: Option<Box<Stream>>,
}

/// A message that has been handed out and not settled yet.
#[derive(Debug)]
pub(super) struct Unsettled {
    pub(super) taken: Taken,
    /// The message is not here but in the log, with a body of so many bytes.
    pub(super) left_in_log: Option<u32>,
    pub(super) holder: Holder,
    pub(super) since: Timestamp,
}

/// Stored messages that are handed out while the unsettled ones hold more than this stay in the log alone, and are read
/// again if they come back. Most never do.
const UNSETTLED_RESIDENT_MAX: u64 = 16 << 20;

/// With so many dead letters kept until their targets have them, expired messages stay where they are.
const DEAD_LETTERS_EXPIRED_MAX: usize = 4096;

/// What a classic queue notes of a message that came back.
const ONCE: Counts = Counts {
    deliveries: 0,
    acquisitions: 1,
};

#[derive(Debug, Clone, Copy)]
pub(super) enum Holder {
    Consumer(Place),
    /// It was got, or an operator has it. That has neither credit nor timeout.
    Session,
}

impl QueueCore {
    /// An empty queue.
    pub fn new(settings: impl Into<Arc<Settings>>, now: Timestamp) -> Self {
        let settings = settings.into();
        Self {
            stream: (settings.kind == Kind::Stream).then(|| Box::new(Stream::new())),
            settings,
            consumers: None,
            backlog: Backlog::new(),
            unsettled: Slab::new(),
            unsettled_bytes: 0,
            unsettled_resident: 0,
            apart: None,
            next_sequence: 0,
            persistent: 0,
            last_used: now,
            next_timeout: None,
            expiring: false,
            deleted: false,
        }
    }

    /// The same queue, which may page its messages out.
    #[must_use]
    pub fn with_pages(mut self, store: Arc<dyn PageStore>) -> Self {
        self.backlog.set_store(store);
        self
    }

    /// Applies one op, and appends what has to be done to `effects`.
    pub fn apply(&mut self, now: Timestamp, op: Op<'_>, effects: &mut Vec<Effect>) {
        if self.stream.is_some() {
            return self.apply_to_stream(now, op, effects);
        }
        self.backlog.start_expiry();
        self.expire(now, effects);
        match op {
            Op::Publish(incoming) => self.take_in(now, incoming, effects),
            Op::Recover(recovered) => self.recover(recovered),
            Op::Written(_) => {}
            Op::Attach(consumer) => self.attach(now, consumer, effects),
            Op::Detach(id) => self.detach(now, id, effects),
            Op::Pause(id) => self.with_consumers(|consumers| consumers.pause(id)),
            Op::Resume(id) => self.with_consumers(|consumers| consumers.resume(id)),
            Op::Share(id, credit) => self.with_consumers(|consumers| consumers.share(id, credit)),
            Op::Get { acknowledges, .. } => self.get(now, acknowledges, effects),
            Op::Take(standings) => self.take(now, standings, effects),
            Op::Acknowledge(ids) => self.acknowledge(ids, effects),
            Op::Return(ids, how) => self.put_back(now, ids, how, effects),
            Op::Discard(ids) => self.discard(ids, effects),
            Op::DeadLettered(id, done) => self.dead_lettered(now, id, done, effects),
            Op::Assign(most) => self.assign(now, most, effects),
            Op::Purge => self.purge(effects),
            Op::Touch => self.touch(now),
            Op::Tick => self.tick(now, effects),
            Op::Configure(settings) => self.configure(now, settings, effects),
        }
        self.mark_again(effects);
    }

    /// Applies [`Op::Publish`], what a queue does most, without the detour.
    #[inline]
    pub fn publish(&mut self, now: Timestamp, incoming: Incoming, effects: &mut Vec<Effect>) {
        if self.stream.is_some() {
            return self.apply_to_stream(now, Op::Publish(incoming), effects);
        }
        self.backlog.start_expiry();
        self.expire(now, effects);
        self.take_in(now, incoming, effects);
        self.mark_again(effects);
    }

    /// Whether [`Op::Assign`] would hand something out.
    pub fn has_work(&self) -> bool {
        if let Some(stream) = &self.stream {
            return stream.has_work();
        }
        self.has_ready_consumer() && !self.backlog.is_empty() && !self.expiring
    }

    /// Whether a message that comes now would have to wait.
    #[inline]
    pub fn makes_wait(&self) -> bool {
        !self.backlog.is_empty() || !self.has_ready_consumer()
    }

    /// Whether consumers work as fast as their prefetch allows, and thousands of messages wait all the same.
    pub fn outruns_consumers(&self) -> bool {
        self.backlog.len() > OUTRUN
            && self
                .consumers
                .as_ref()
                .is_some_and(|all| all.are_at_prefetch())
    }

    /// When the next [`Op::Tick`] is needed. It may be earlier than anything happens, never later.
    pub fn deadline(&self) -> Option<Timestamp> {
        if self.stream.is_some() {
            return self.retention_deadline();
        }
        // They are what it waits for.
        let expiry = self.backlog.next_expiry();
        let expiry = expiry.filter(|_| !self.keeps_enough_dead_letters());
        [
            expiry,
            self.next_timeout,
            self.apart.as_ref().and_then(|apart| apart.deadline()),
            self.expires_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Counters and figures.
    pub fn stats(&self) -> Stats {
        Stats {
            ready: self.backlog.len(),
            ready_bytes: self.backlog.bytes(),
            unsettled: self.unsettled.len() as u64,
            unsettled_bytes: self.unsettled_bytes,
            delayed: self
                .apart
                .as_ref()
                .map_or(0, |apart| apart.delayed() as u64),
            dead_lettering: self.dead_letter_count() as u64,
            persistent: self.persistent - self.backlog.lost_persistent(),
            persistent_bytes: self.backlog.bytes() + self.unsettled_bytes
                - self.backlog.transient_bytes(),
            on_disk: self.on_disk(),
            consumers: self.consumer_count(),
        }
    }

    fn consumer_count(&self) -> u64 {
        let readers = self.stream.as_ref().map(|stream| stream.consumer_count());
        let consumers = self.consumers.as_ref().map(|all| all.len());
        readers.or(consumers).unwrap_or_default() as u64
    }

    fn on_disk(&self) -> OnDisk {
        let (paged, (unsettled, unsettled_bytes)) = (self.backlog.paged(), self.backlog.left());
        OnDisk {
            ready: paged.count,
            ready_bytes: paged.bytes,
            unsettled,
            unsettled_bytes,
        }
    }

    /// How many messages wait of each priority that has any, and how many came back to a quorum queue and go ahead of all.
    pub fn ready_by_priority(&self) -> (BTreeMap<u16, u64>, u64) {
        let mut levels: BTreeMap<u16, u64> = self.backlog.levels().collect();
        let returned = levels.remove(&RETURNED).unwrap_or_default();
        (levels, returned)
    }

    /// Where the ready messages stand in the order of arrival; `None`: there are none. What is in a stream does not wait.
    pub fn arrivals(&self) -> Option<Arrivals> {
        let is_stream = self.stream.is_some();
        let oldest = self.backlog.oldest().filter(|_| !is_stream)?;
        Some(Arrivals {
            oldest,
            last: self.next_sequence,
        })
    }

    /// Without consumers (`if-unused`).
    pub fn is_unused(&self) -> bool {
        self.consumer_count() == 0
    }

    /// Without ready messages (`if-empty`).
    pub fn is_empty(&self) -> bool {
        self.backlog.is_empty()
    }

    /// The single active consumer.
    pub fn active_consumer(&self) -> Option<&Consumer> {
        self.consumers.as_ref()?.active()
    }

    /// The consumers, in the order of their ids.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerStatus<'_>> {
        let readers = self.stream.iter().flat_map(|stream| stream.consumers());
        self.consumers
            .iter()
            .flat_map(|all| all.iter())
            .chain(readers)
    }

    /// The settings in force.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    // Paging, which is no op. See the page of `pages`.

    /// What the waiting messages take in memory.
    pub fn resident(&self) -> Resident {
        self.backlog.resident()
    }

    #[cfg(test)]
    pub(super) fn recount_resident(&self) -> Resident {
        self.backlog.recount_resident()
    }

    pub(super) fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    pub(super) fn backlog_mut(&mut self) -> &mut Backlog {
        &mut self.backlog
    }

    pub(super) fn set_last_sequence(&mut self, last: u64) {
        self.next_sequence = last;
    }

    pub(super) fn set_settings(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// So many more persistent messages are here.
    pub(super) fn count_persistent(&mut self, more: i64) {
        self.persistent = self.persistent.strict_add_signed(more);
    }

    pub(super) fn unsettled(&self) -> &Slab<Unsettled> {
        &self.unsettled
    }

    /// The consumer that holds a delivery, if one does.
    pub(super) fn holder(&self, holder: Holder) -> Option<&Consumer> {
        match holder {
            Holder::Consumer(place) => Some(self.known_consumers().at(place)),
            Holder::Session => None,
        }
    }

    pub(super) fn is_attached(&self, holder: Holder) -> bool {
        matches!(holder, Holder::Consumer(place) if self.known_consumers().is_attached(place))
    }

    /// The last place that was given in the order of arrival.
    pub fn last_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Names a run of waiting messages to be written to a page, the one that has to wait longest. `None`: there is no
    /// run that is worth it.
    pub fn page_out(&mut self, sizes: &PageSizes) -> Option<Leaving> {
        self.backlog.page_out(sizes)
    }

    /// A run is on disk: `commit` makes it a page, if its turn has not come meanwhile (`None`).
    pub fn commit_page(
        &mut self,
        leaving: &Leaving,
        commit: impl FnOnce() -> PageId,
    ) -> Option<Freed> {
        self.backlog.commit_page(leaving, commit)
    }

    /// A run can't be written: its messages wait where they are.
    pub fn give_up_page(&mut self, leaving: &Leaving) {
        self.backlog.give_up_page(leaving);
    }

    /// The pages it has.
    pub fn pages(&self) -> impl Iterator<Item = PageId> {
        self.backlog.pages()
    }

    /// Messages up to this id will be recovered: what takes a place of its own takes one behind them.
    pub fn expect_recovered(&mut self, last: MessageId) {
        if self.stream.is_none() {
            self.next_sequence = self.next_sequence.max(last.0);
        }
    }

    /// A page found in the log at start, with what was kept beside it and the ids of its messages. `crashed`: they may have
    /// been handed out. It comes behind the pages that were recovered before.
    pub fn recover_page(
        &mut self,
        id: PageId,
        meta: &[u8],
        ids: RangeInclusive<MessageId>,
        crashed: bool,
    ) -> Result<(), RecordError> {
        let (mut page, level) = Page::from_meta(id, meta, ids, crashed)?;
        if self.stream.is_some() {
            page.place_behind(self.next_sequence);
        }
        self.next_sequence = self.next_sequence.max(page.last);
        self.persistent += page.held.persistent;
        self.backlog.insert_page(level, page);
        self.all_is_durable();
        Ok(())
    }

    // A message comes.

    #[inline]
    fn take_in(&mut self, now: Timestamp, incoming: Incoming, effects: &mut Vec<Effect>) {
        let mut entry = self.entry(now, incoming);
        loop {
            if self.backlog.is_empty()
                && let Some(place) = self.next_consumer()
            {
                return self.deliver(now, place, Taken::new(entry), effects);
            }
            if self.accepts(&entry) {
                break;
            }
            // A message that could leave at once does not count towards the limit.
            if !self.hand_out(now, effects) {
                return self.refuse(entry, effects);
            }
        }
        if entry.expiry.time() <= now {
            return self.bury(entry, Reason::Expired, effects);
        }
        entry.message.compact();
        self.backlog.push(entry);
        self.shed(now, effects);
    }

    #[inline]
    fn entry(&mut self, published_at: Timestamp, incoming: Incoming) -> Entry {
        let queue_ttl = self.settings.message_ttl_ms;
        let ttl = [queue_ttl, incoming.ttl_ms].into_iter().flatten().min();
        self.persistent += u64::from(incoming.persistent);
        Entry {
            message: incoming.message,
            sequence: self.take_sequence(),
            id: incoming.id,
            expiry: ttl.map_or(Expiry::NEVER, |ttl| Expiry::at(published_at.plus_ms(ttl))),
            priority: self.settings.priority(incoming.priority),
            marks: Marks::new(incoming.redelivered, incoming.persistent),
        }
    }

    pub(super) fn take_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    /// Whether the entry may wait here, if need be at the cost of others.
    #[inline]
    fn accepts(&self, entry: &Entry) -> bool {
        self.settings.overflow == Overflow::DropHead || self.has_room_for(1, entry.bytes())
    }

    /// Whether so many messages and bytes more would be within the limits. Those that wait for another try or for their
    /// dead-letter targets count too, or nothing would bound them.
    fn has_room_for(&self, messages: u64, bytes: u64) -> bool {
        let within = |most: Option<u64>, n| most.is_none_or(|most| n <= most);
        let apart = self.apart.as_ref();
        let (count, size) = apart.map_or((0, 0), |apart| (apart.len(), apart.bytes()));
        let length = self.backlog.len() + count;
        let size = self.backlog.bytes() + size;
        within(self.settings.length_max, length + messages)
            && within(self.settings.length_bytes_max, size + bytes)
    }

    fn refuse(&mut self, entry: Entry, effects: &mut Vec<Effect>) {
        effects.push(Effect::Refused);
        let keeps_letters = self.settings.dead_letter != DeadLetter::Off;
        if self.settings.overflow == Overflow::RejectPublishDlx && keeps_letters {
            // The publisher knows that it is not in the queue, so it is not kept for another try either.
            let message = entry.message.clone();
            effects.push(Effect::DeadLetter(message, Reason::MaxLength, None));
        }
        self.release(&entry, effects);
    }

    fn recover(&mut self, recovered: Recovered) {
        let Recovered {
            incoming,
            published_at,
            counts,
        } = recovered;
        let mut entry = self.entry(published_at, incoming);
        // Its place is its id: see `Page::from_meta`.
        if entry.id.is_stored() {
            entry.sequence = entry.id.0;
            self.next_sequence = self.next_sequence.max(entry.sequence);
        }
        match self.settings.kind {
            Kind::Quorum if counts.acquisitions > 0 => self.wait_returned(Taken { entry, counts }),
            Kind::Quorum | Kind::Stream => self.wait(Taken { entry, counts }),
            // What was noted of it has become its redelivered flag.
            Kind::Classic => self.wait(Taken::new(entry)),
        }
    }

    fn wait(&mut self, mut taken: Taken) {
        taken.entry.message.compact();
        self.backlog.insert(taken);
    }

    /// Ahead of all that have not come back.
    fn wait_returned(&mut self, mut taken: Taken) {
        taken.entry.message.compact();
        taken.entry.sequence = self.take_sequence();
        self.backlog.insert_returned(taken);
    }

    fn delay(&mut self, due: Timestamp, mut taken: Taken) {
        taken.entry.message.compact();
        self.apart.get_or_insert_default().delay(due, taken);
    }

    fn take_delayed(&mut self, due: Timestamp) -> Option<Taken> {
        self.apart.as_mut()?.take_delayed(due)
    }

    fn dead_letter_count(&self) -> usize {
        let apart = self.apart.as_ref();
        apart.map_or(0, |apart| apart.dead_letters.len())
    }

    #[inline]
    fn has_ready_consumer(&self) -> bool {
        self.consumers.as_ref().is_some_and(|all| all.is_ready())
    }

    /// Chooses the consumer for the next message, and charges it.
    fn next_consumer(&mut self) -> Option<Place> {
        self.consumers.as_mut()?.next()
    }

    /// The consumers, while something that one of them has been given is unsettled or is about to be.
    fn known_consumers(&self) -> &Consumers {
        let all = self.consumers.as_deref();
        all.expect("kept until the last delivery is settled")
    }

    fn with_consumers(&mut self, change: impl FnOnce(&mut Consumers)) {
        if let Some(all) = &mut self.consumers {
            change(all);
        }
    }

    fn forget_consumers(&mut self) {
        let gone = |all: &mut Box<Consumers>| all.is_empty() && all.are_forgotten();
        self.consumers.take_if(gone);
    }

    /// Brings the backlog below the limits: by handing out what can be handed out, then by dropping heads.
    #[inline]
    fn shed(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.settings.has_length_limit() {
            self.shed_some(now, effects);
        }
    }

    fn shed_some(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        while !self.has_room_for(0, 0) {
            if self.hand_out(now, effects) {
                continue;
            }
            if self.settings.overflow != Overflow::DropHead {
                return;
            }
            let Some(taken) = self.backlog.pop() else {
                return;
            };
            self.bury(taken.entry, Reason::MaxLength, effects);
            self.expire(now, effects);
        }
    }

    // A message is handed out.

    fn assign(&mut self, now: Timestamp, most: usize, effects: &mut Vec<Effect>) {
        for _ in 0..most {
            if !self.hand_out(now, effects) {
                return;
            }
        }
    }

    /// Hands the next message to the next consumer. Gives whether there were both.
    fn hand_out(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
        if !self.has_ready_consumer() || self.expiring || !self.backlog.has_head() {
            return false;
        }
        let Some(place) = self.next_consumer() else {
            return false;
        };
        let taken = self.backlog.pop_head();
        self.deliver(now, place, taken, effects);
        self.expire(now, effects);
        true
    }

    fn deliver(&mut self, now: Timestamp, to: Place, taken: Taken, effects: &mut Vec<Effect>) {
        let consumer = self.known_consumers().at(to);
        let id = consumer.id;
        if !consumer.acknowledges {
            return self.give_away(taken, effects, |delivery| Effect::Deliver(id, delivery));
        }
        if let Some(timeout) = consumer.timeout_ms.or(self.settings.consumer_timeout_ms) {
            let due = now.plus_ms(timeout);
            self.next_timeout = Some(self.next_timeout.map_or(due, |next| next.min(due)));
        }
        let delivery = self.check_out(now, Holder::Consumer(to), taken);
        effects.push(Effect::Deliver(id, delivery));
    }

    fn get(&mut self, now: Timestamp, acknowledges: bool, effects: &mut Vec<Effect>) {
        self.last_used = now;
        while self.expiring && !self.keeps_enough_dead_letters() {
            self.backlog.start_expiry();
            self.expire(now, effects);
        }
        let taken = if self.expiring {
            None
        } else {
            self.backlog.pop()
        };
        let Some(taken) = taken else {
            return effects.push(Effect::Empty);
        };
        let left = self.backlog.len();
        if acknowledges {
            let delivery = self.check_out(now, Holder::Session, taken);
            effects.push(Effect::Got(delivery, left));
        } else {
            self.give_away(taken, effects, |delivery| Effect::Got(delivery, left));
        }
        self.expire(now, effects);
    }

    fn take(&mut self, now: Timestamp, standings: &[Standing], effects: &mut Vec<Effect>) {
        for taken in self.backlog.take(standings) {
            let delivery = self.check_out(now, Holder::Session, taken);
            effects.push(Effect::Taken(delivery));
        }
        self.expire(now, effects);
    }

    /// Hands out a message that has to be settled.
    fn check_out(&mut self, now: Timestamp, holder: Holder, mut taken: Taken) -> Delivery {
        self.unsettled_bytes += taken.entry.bytes();
        self.backlog.count_in(&taken.entry);
        let redelivered = taken.entry.marks.redelivered();
        let counts = taken.counts;
        let (message, left_in_log) = self.share(&mut taken.entry);
        let id = self.unsettled.insert(Unsettled {
            taken,
            left_in_log,
            holder,
            since: now,
        });
        Delivery {
            id: Some(id),
            message,
            redelivered,
            stamp: Stamp::Counts(counts),
        }
    }

    /// The message, for a client that will settle it. The queue keeps it too, unless it keeps too much already.
    fn share(&mut self, entry: &mut Entry) -> (Message, Option<u32>) {
        if self.unsettled_resident > UNSETTLED_RESIDENT_MAX && self.can_be_read(entry) {
            let message = std::mem::replace(&mut entry.message, Message::nothing());
            let bytes = u32::try_from(message.body().len()).expect("a block is smaller than 4 GiB");
            self.backlog.leave_in_log(bytes);
            return (message, Some(bytes));
        }
        self.unsettled_resident += entry.footprint();
        (entry.message.clone(), None)
    }

    /// Hands out a message for good.
    fn give_away(
        &mut self,
        taken: Taken,
        effects: &mut Vec<Effect>,
        effect: impl FnOnce(Delivery) -> Effect,
    ) {
        let Taken { entry, counts } = taken;
        self.persistent -= u64::from(entry.marks.persistent());
        effects.push(effect(Delivery {
            id: None,
            redelivered: entry.marks.redelivered(),
            message: entry.message,
            stamp: Stamp::Counts(counts),
        }));
        if entry.id.is_stored() {
            effects.push(Effect::Release(entry.id));
        }
    }

    // An unsettled message is settled.

    fn acknowledge(&mut self, ids: &[DeliveryId], effects: &mut Vec<Effect>) {
        for &id in ids {
            if let Some(unsettled) = self.check_in(id) {
                self.release(&unsettled.taken.entry, effects);
            }
        }
    }

    fn discard(&mut self, ids: &[DeliveryId], effects: &mut Vec<Effect>) {
        for &id in ids {
            if let Some(taken) = self.take_back(id) {
                self.bury(taken.entry, Reason::Rejected, effects);
            }
        }
    }

    fn put_back(
        &mut self,
        now: Timestamp,
        ids: &[DeliveryId],
        how: Return,
        effects: &mut Vec<Effect>,
    ) {
        for &id in ids {
            self.put_back_one(now, id, how, effects);
        }
        self.expire(now, effects);
        self.shed(now, effects);
    }

    fn put_back_one(
        &mut self,
        now: Timestamp,
        id: DeliveryId,
        how: Return,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(taken) = self.take_back(id) {
            match (how, self.settings.kind) {
                (Return::Untouched, kind) => self.stay(kind, taken),
                (_, Kind::Classic | Kind::Stream) => self.requeue(taken, effects),
                (_, Kind::Quorum) => self.try_again(now, taken, how, effects),
            }
        }
    }

    /// Ends a delivery. `None` if it has ended before: it timed out while the answer was on its way.
    fn check_in(&mut self, id: DeliveryId) -> Option<Unsettled> {
        let unsettled = self.unsettled.remove(id)?;
        let entry = &unsettled.taken.entry;
        match unsettled.left_in_log {
            Some(bytes) => {
                self.unsettled_bytes -= u64::from(bytes);
                self.backlog.come_from_log(bytes);
            }
            None => {
                self.unsettled_bytes -= entry.bytes();
                self.backlog.count_out(entry);
                self.unsettled_resident -= entry.footprint();
            }
        }
        if let Holder::Consumer(place) = unsettled.holder {
            self.with_consumers(|consumers| consumers.settled(place));
            self.forget_consumers();
        }
        Some(unsettled)
    }

    /// Ends a delivery whose message is still needed.
    fn take_back(&mut self, id: DeliveryId) -> Option<Taken> {
        let Unsettled {
            mut taken,
            left_in_log,
            ..
        } = self.check_in(id)?;
        if left_in_log.is_some() {
            match self.read(&taken.entry) {
                Ok(message) => taken.entry.message = message,
                Err(error) => {
                    // Its record stays, for somebody to look at.
                    error!(message = taken.entry.id.0, %error, "a message that came back is lost");
                    self.persistent -= u64::from(taken.entry.marks.persistent());
                    return None;
                }
            }
        }
        Some(taken)
    }

    fn can_be_read(&self, entry: &Entry) -> bool {
        entry.id.is_stored() && self.backlog.store().is_some()
    }

    /// The message of a stored entry, from the log.
    pub(super) fn read(&self, entry: &Entry) -> Result<Message, String> {
        let store = self.backlog.store().ok_or("there is no log")?;
        let bytes = store.read(entry.id).map_err(|error| error.to_string())?;
        let (message, _) = record::read(&bytes).map_err(|error| error.to_string())?;
        Ok(message)
    }

    /// Back to its place, as if it had never left.
    fn stay(&mut self, kind: Kind, mut taken: Taken) {
        taken.entry.message.compact();
        match kind {
            Kind::Quorum if taken.counts.acquisitions > 0 => self.backlog.insert_returned(taken),
            Kind::Quorum | Kind::Classic | Kind::Stream => self.backlog.insert(taken),
        }
    }

    /// Classic: back to its place. It does not count, but that it was handed out once has to outlive a restart.
    fn requeue(&mut self, mut taken: Taken, effects: &mut Vec<Effect>) {
        if taken.entry.id.is_stored() && !taken.entry.marks.redelivered() {
            effects.push(Effect::Count(taken.entry.id, ONCE));
        }
        taken.entry.marks.set_redelivered();
        self.wait(taken);
    }

    /// What has been said of messages while they were on their way to a page is said again. (In a quorum queue those that
    /// have counts are not paged out.)
    #[inline]
    fn mark_again(&mut self, effects: &mut Vec<Effect>) {
        if !self.backlog.has_unmarked() {
            return;
        }
        for id in self.backlog.take_unmarked() {
            if self.settings.kind == Kind::Classic {
                effects.push(Effect::Count(id, ONCE));
            }
        }
    }

    /// Quorum: once more, ahead of all or after a while, unless it has failed too often.
    fn try_again(
        &mut self,
        now: Timestamp,
        mut taken: Taken,
        how: Return,
        effects: &mut Vec<Effect>,
    ) {
        let counts = &mut taken.counts;
        counts.acquisitions = counts.acquisitions.saturating_add(1);
        if how.is_failure() {
            counts.deliveries = counts.deliveries.saturating_add(1);
            if self
                .settings
                .delivery_limit
                .is_some_and(|limit| counts.deliveries > limit)
            {
                return self.bury(taken.entry, Reason::DeliveryLimit, effects);
            }
        }
        if taken.entry.id.is_stored() {
            effects.push(Effect::Count(taken.entry.id, *counts));
        }
        taken.entry.marks.set_redelivered();
        match self.settings.retry_delay_ms(taken.counts, how) {
            Some(delay) => self.delay(now.plus_ms(delay), taken),
            None => self.wait_returned(taken),
        }
    }

    // A message leaves.

    /// The queue has no more to do with the message.
    fn release(&mut self, entry: &Entry, effects: &mut Vec<Effect>) {
        self.persistent -= u64::from(entry.marks.persistent());
        if entry.id.is_stored() {
            effects.push(Effect::Release(entry.id));
        }
    }

    /// The message is dead.
    fn bury(&mut self, mut entry: Entry, reason: Reason, effects: &mut Vec<Effect>) {
        match self.settings.dead_letter {
            DeadLetter::Off => self.release(&entry, effects),
            DeadLetter::AtMostOnce => {
                let message = entry.message.clone();
                effects.push(Effect::DeadLetter(message, reason, None));
                self.release(&entry, effects);
            }
            DeadLetter::AtLeastOnce => {
                entry.message.compact();
                let apart = self.apart.get_or_insert_default();
                apart.dead_letters.push((entry, reason), effects);
            }
        }
    }

    fn dead_lettered(
        &mut self,
        now: Timestamp,
        id: DeliveryId,
        done: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(apart) = &mut self.apart else {
            return;
        };
        if !done {
            return apart.dead_letters.failed(now, id);
        }
        if let Some(entry) = apart.dead_letters.done(id) {
            self.release(&entry, effects);
            self.send_dead_letters(effects);
        }
    }

    fn send_dead_letters(&mut self, effects: &mut Vec<Effect>) {
        if let Some(apart) = &mut self.apart {
            apart.dead_letters.send(effects);
        }
    }

    /// Lets the heads go whose time is up. Of very many some stay for the next op: in a queue that keeps its dead letters
    /// until their targets have taken enough, otherwise for the tick that is due at once.
    #[inline]
    fn expire(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.expiring = false;
        // Looked at for every message, and nearly always all there is to it.
        if self.backlog.may_have_expired(now) {
            self.expire_some(now, effects);
        }
    }

    fn expire_some(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        while !self.keeps_enough_dead_letters() {
            match self.backlog.pop_expired(now) {
                Some(taken) => self.bury(taken.entry, Reason::Expired, effects),
                None => break,
            }
        }
        self.expiring = self.backlog.has_expired(now);
    }

    fn keeps_enough_dead_letters(&self) -> bool {
        self.settings.dead_letter == DeadLetter::AtLeastOnce
            && self.dead_letter_count() >= DEAD_LETTERS_EXPIRED_MAX
    }

    /// Drops all that is not in the hands of a client.
    fn purge(&mut self, effects: &mut Vec<Effect>) {
        let paged = self
            .backlog
            .drop_pages(|page| effects.push(Effect::DropPage(page)));
        self.persistent -= paged.persistent;
        let mut purged = paged.count;
        let mut drop = |queue: &mut Self, entry: &Entry| {
            purged += 1;
            queue.release(entry, effects);
        };
        while let Some(taken) = self.backlog.pop() {
            drop(self, &taken.entry);
        }
        while let Some(taken) = self.take_delayed(Timestamp::NEVER) {
            drop(self, &taken.entry);
        }
        let letters = self
            .apart
            .as_mut()
            .map(|apart| apart.dead_letters.take_all());
        for (entry, _) in letters.into_iter().flatten() {
            drop(self, &entry);
        }
        effects.push(Effect::Purged(purged));
    }

    // Consumers, and the life of the queue.

    fn attach(&mut self, now: Timestamp, consumer: Consumer, effects: &mut Vec<Effect>) {
        let Settings {
            kind,
            single_active_consumer,
            ..
        } = *self.settings;
        let new = || Box::new(Consumers::new(kind, single_active_consumer));
        let consumers = self.consumers.get_or_insert_with(new);
        effects.push(match consumers.attach(consumer) {
            Ok(()) => Effect::Attached,
            Err(refusal) => Effect::AttachRefused(refusal),
        });
        self.last_used = now;
    }

    fn detach(&mut self, now: Timestamp, id: ConsumerId, effects: &mut Vec<Effect>) {
        let detached = self.consumers.as_mut().is_some_and(|all| all.detach(id));
        if detached {
            self.last_used = now;
            self.forget_consumers();
            if self.settings.auto_delete && self.is_unused() {
                self.delete(effects);
            }
        }
    }

    fn delete(&mut self, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.deleted, true) {
            effects.push(Effect::Delete);
        }
    }

    fn touch(&mut self, now: Timestamp) {
        // A quorum queue is not kept alive by being declared again.
        if self.settings.kind == Kind::Classic {
            self.last_used = now;
        }
    }

    /// When the queue is to be deleted if nobody uses it.
    fn expires_at(&self) -> Option<Timestamp> {
        let idle = self.is_unused() && !self.deleted;
        let expires = self.settings.expires_ms.filter(|_| idle)?;
        Some(self.last_used.plus_ms(expires))
    }

    fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.time_out(now, effects);
        self.retry(now);
        self.expire(now, effects);
        self.shed(now, effects);
        if let Some(apart) = &mut self.apart {
            apart.dead_letters.tick(now, effects);
        }
        if self.expires_at().is_some_and(|at| at <= now) {
            self.delete(effects);
        }
    }

    /// Returns the deliveries that were not settled in time, and detaches their consumers.
    fn time_out(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.next_timeout.is_none_or(|next| now < next) {
            return;
        }
        // A search through all of them, but at most one per timeout: what is left is due much later.
        let mut overdue = Vec::new();
        self.next_timeout = None;
        for (id, unsettled) in self.unsettled.iter() {
            let Holder::Consumer(place) = unsettled.holder else {
                continue;
            };
            let timeout = self.known_consumers().at(place).timeout_ms;
            let Some(timeout) = timeout.or(self.settings.consumer_timeout_ms) else {
                continue;
            };
            let due = unsettled.since.plus_ms(timeout);
            if due <= now {
                overdue.push((unsettled.taken.entry.sequence, id, place));
            } else {
                self.next_timeout = Some(self.next_timeout.map_or(due, |next| next.min(due)));
            }
        }
        overdue.sort_unstable_by_key(|&(sequence, ..)| sequence);
        let mut late = Vec::new();
        for &(_, _, place) in &overdue {
            let consumers = self.known_consumers();
            if consumers.is_attached(place) {
                let consumer = consumers.at(place);
                let id = consumer.id;
                let timeout_ms = consumer.timeout_ms.or(self.settings.consumer_timeout_ms);
                late.push(Effect::TimedOut(id, timeout_ms.unwrap_or(0)));
                self.detach(now, id, effects);
            }
        }
        for (_, id, _) in overdue {
            self.put_back_one(now, id, Return::Requeue, effects);
        }
        effects.append(&mut late);
    }

    /// Returns the messages whose delay is over.
    fn retry(&mut self, now: Timestamp) {
        while let Some(taken) = self.take_delayed(now) {
            self.wait_returned(taken);
        }
    }

    fn configure(&mut self, now: Timestamp, settings: Arc<Settings>, effects: &mut Vec<Effect>) {
        let old = std::mem::replace(&mut self.settings, settings);
        let single_active = self.settings.single_active_consumer;
        self.with_consumers(|consumers| consumers.set_single_active(single_active));
        if old.expires_ms != self.settings.expires_ms {
            self.last_used = now;
        }
        if old.consumer_timeout_ms != self.settings.consumer_timeout_ms {
            // Soon enough for any of them; the tick finds out which.
            self.next_timeout = Some(now);
        }
        if self.settings.dead_letter != DeadLetter::AtLeastOnce {
            let unsent = self
                .apart
                .as_mut()
                .map(|apart| apart.dead_letters.take_unsent());
            for (entry, reason) in unsent.into_iter().flatten() {
                self.bury(entry, reason, effects);
            }
        }
        self.shed(now, effects);
    }
}

impl Settings {
    /// Where a message with this `priority` property stands.
    fn priority(&self, priority: Option<u8>) -> u8 {
        match self.kind {
            Kind::Classic => priority.unwrap_or(0).min(self.priority_max.unwrap_or(0)),
            Kind::Quorum => priority.unwrap_or(4).min(31),
            Kind::Stream => 0,
        }
    }

    /// How long a message that came back has to wait.
    fn retry_delay_ms(&self, counts: Counts, how: Return) -> Option<u64> {
        let retry = self.delayed_retry?;
        let applies = match retry.on {
            RetryOn::All => true,
            RetryOn::Failed => how.is_failure(),
            RetryOn::Returned => !how.is_failure(),
        };
        // A message that has never failed waits as after the first failure.
        let failures = u64::from(counts.deliveries.max(1));
        applies.then(|| retry.min_ms.saturating_mul(failures).min(retry.max_ms))
    }
}

impl Return {
    fn is_failure(self) -> bool {
        match self {
            Self::Requeue | Self::Untouched => false,
            Self::Reject | Self::SessionEnded => true,
        }
    }
}
