//! A stream: a queue that is read without anything leaving it. What was published stays until retention lets the oldest go;
//! every consumer has a place of its own, and acknowledging gives it credit and nothing else (RABBITMQ: the page "Streams").
//!
//! ```text
//!  offset   17   18   19   20   21   22   23   24
//!           ^ first         ^ a reader  ^ durable ^ last
//! ```
//!
//! The messages lie in the same backlog as those of other queues, and in the same pages on disk. In a stream the place of a
//! message in the order of arrival is its offset, counted from one, and what others keep as its expiry is the time of its
//! arrival. Nobody reads what is not durable: after a crash its offset would be another message's.
//!
//! A reader is driven by its own connection. It sleeps when it has seen all there is, or has looked at enough for one turn;
//! [`Effect::Summon`] asks its connection to resume it.

use std::collections::{BTreeMap, VecDeque};

use tracing::error;

use super::backlog::{Entry, Expiry, Front, Marks, Part};
use super::consumers::ConsumerStatus;
use super::pages::{PageStore, PagedRecord};
use super::slab::Slab;
use super::{Consumer, Delivery, Effect, Incoming, Offset, Op, QueueCore, Recovered, Stamp};
use crate::ids::{ConsumerId, DeliveryId, MessageId, PageId, QueueId};
use crate::message::Message;
use crate::properties::Properties;
use crate::table::{self, ValueRef};
use crate::time::Timestamp;

/// Where a consumer begins (`x-stream-offset`), and which messages it wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadFrom {
    pub start: StreamStart,
    /// `None`: all of them.
    pub filter: Option<StreamFilter>,
}

/// `x-stream-offset`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamStart {
    First,
    /// At the last message. (In RabbitMQ at the last chunk, which is as many as came at once.)
    Last,
    #[default]
    Next,
    /// At this offset, which may be yet to come, or the first behind it that there is.
    Offset(u64),
    /// At the first message that came then or later; a time that has not come is now.
    Time(Timestamp),
}

/// `x-stream-filter` and `x-stream-match-unfiltered`. RabbitMQ leaves out whole chunks and asks clients to look once more;
/// here every message is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFilter {
    /// Wanted values of the header `x-stream-filter-value`.
    pub values: Vec<Box<[u8]>>,
    /// Messages without that header are wanted, too.
    pub match_unfiltered: bool,
}

impl StreamFilter {
    fn wants(&self, message: &Message) -> bool {
        let properties = Properties::parse(message.properties()).ok();
        let headers = properties.and_then(|properties| properties.headers());
        let value = headers.and_then(|headers| table::find(headers, FILTER_VALUE).ok().flatten());
        match value.map(ValueRef::as_bytes) {
            None => self.match_unfiltered,
            Some(value) => self.values.iter().any(|wanted| value == Some(&**wanted)),
        }
    }
}

/// What a queue has only if it is a stream.
#[derive(Debug)]
pub(super) struct Stream {
    readers: BTreeMap<ConsumerId, Reader>,
    /// Deliveries that are not settled, and who has them.
    unsettled: Slab<Holder>,
    /// The place of the first message there is, or of the next to come.
    first: u64,
    /// The last places of what was written together, and up to where the log has to be durable for them. Oldest first.
    pending: VecDeque<(u64, u64)>,
    /// The place of the last message that is known to be durable.
    durable: u64,
    readers_so_far: u64,
}

/// A reader that has been handed something. An id alone may be another's by now.
#[derive(Debug, Clone, Copy)]
struct Holder {
    id: ConsumerId,
    serial: u64,
}

#[derive(Debug)]
struct Reader {
    consumer: Consumer,
    serial: u64,
    /// The place of the next message to look at.
    next: u64,
    /// Messages that came before are passed over.
    not_before: Timestamp,
    unsettled: u32,
    /// Its connection can take no more for now.
    paused: bool,
    /// It has seen all there is, or enough for one turn.
    asleep: bool,
    /// Its connection will resume it.
    summoned: bool,
    /// Messages it has looked at since it was resumed.
    looked_at: u32,
    /// Messages that were read for it, from `next` on.
    ahead: VecDeque<Seen>,
}

/// A message that was read for a reader.
#[derive(Debug)]
struct Seen {
    place: u64,
    came_at: Timestamp,
    message: Message,
}

/// The header by which messages are filtered.
const FILTER_VALUE: &str = "x-stream-filter-value";

/// Messages a reader gets before it is the next one's turn.
const TURN: usize = 64;

/// Messages that a reader looks at before its connection has to ask for more: a filter may want none of millions.
const LOOKED_AT_MAX: u32 = 8192;

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            readers: BTreeMap::new(),
            unsettled: Slab::new(),
            first: 1,
            pending: VecDeque::new(),
            durable: 0,
            readers_so_far: 0,
        }
    }

    pub(super) fn has_work(&self) -> bool {
        self.readers.values().any(Reader::is_ready)
    }

    pub(super) fn consumer_count(&self) -> usize {
        self.readers.len()
    }

    /// Everybody, in the order of their ids.
    pub(super) fn consumers(&self) -> impl Iterator<Item = ConsumerStatus<'_>> {
        self.readers.values().map(|reader| ConsumerStatus {
            consumer: &reader.consumer,
            unsettled: reader.unsettled,
            active: true,
        })
    }

    /// Deliveries are settled, in whatever way: their readers may have more.
    fn settle(&mut self, ids: &[DeliveryId]) {
        for id in ids {
            let Some(holder) = self.unsettled.remove(*id) else {
                continue;
            };
            let reader = self.readers.get_mut(&holder.id);
            if let Some(reader) = reader.filter(|reader| reader.serial == holder.serial) {
                reader.unsettled -= 1;
            }
        }
    }

    fn with_reader(&mut self, id: ConsumerId, change: impl FnOnce(&mut Reader)) {
        if let Some(reader) = self.readers.get_mut(&id) {
            change(reader);
        }
    }
}

impl Reader {
    fn is_ready(&self) -> bool {
        !self.asleep && !self.paused && self.unsettled < self.consumer.prefetch.into()
    }

    fn wants(&self, seen: &Seen) -> bool {
        let read_from = self.consumer.read_from.as_deref();
        let filter = read_from.and_then(|read_from| read_from.filter.as_ref());
        seen.came_at >= self.not_before && filter.is_none_or(|filter| filter.wants(&seen.message))
    }

    fn sleep(&mut self, summon: Option<u64>, effects: &mut Vec<Effect>) {
        self.asleep = true;
        if let Some(durable_at) = summon
            && !std::mem::replace(&mut self.summoned, true)
        {
            effects.push(Effect::Summon(self.consumer.id, durable_at));
        }
    }
}

/// What a stream tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamStats {
    /// The offset of the first message, or of the next to come if there is none.
    pub first_offset: u64,
    /// The offset that the next message gets.
    pub next_offset: u64,
    /// When the first message came.
    pub first_at: Option<Timestamp>,
    /// Parts that it is in: pages, and what is in memory.
    pub segments: u64,
}

impl QueueCore {
    /// The figures of a stream; `None`: it is none.
    pub fn stream_stats(&self) -> Option<StreamStats> {
        let stream = self.stream.as_ref()?;
        let lane = self.backlog().lanes().next();
        let pages = self.pages().count() as u64;
        Some(StreamStats {
            first_offset: stream.first - 1,
            next_offset: self.last_sequence(),
            first_at: lane.map(|lane| lane.head_expiry()),
            segments: pages + 1,
        })
    }

    /// The stream begins with this offset, as far as the log knows: what is recovered counts from there.
    pub fn begin_at(&mut self, offset: u64) {
        self.set_last_sequence(offset);
        if let Some(stream) = &mut self.stream {
            stream.first = offset + 1;
            stream.durable = offset;
        }
    }

    /// Carries [`Effect::Truncate`] out.
    pub fn truncate_log(
        &self,
        id: QueueId,
        first_offset: u64,
        messages: &[MessageId],
        pages: &[PageId],
    ) {
        if let Some(store) = self.backlog().store() {
            store.truncate(id, first_offset, messages, pages);
        }
    }

    /// [`QueueCore::apply`], of a stream.
    pub(super) fn apply_to_stream(
        &mut self,
        now: Timestamp,
        op: Op<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        match op {
            Op::Publish(incoming) => self.write(now, incoming),
            Op::Recover(Recovered {
                incoming,
                published_at,
                ..
            }) => {
                self.write(published_at, incoming);
                self.all_is_durable();
            }
            Op::Written(durable_at) => {
                self.written(durable_at, effects);
                self.retain(now, effects);
            }
            Op::Attach(consumer) => {
                self.attach_reader(now, consumer);
                effects.push(Effect::Attached);
            }
            Op::Detach(id) => drop(stream.readers.remove(&id)),
            Op::Pause(id) => stream.with_reader(id, |reader| reader.paused = true),
            Op::Resume(id) => stream.with_reader(id, |reader| {
                reader.paused = false;
                reader.asleep = false;
                reader.summoned = false;
                reader.looked_at = 0;
            }),
            Op::Acknowledge(ids) | Op::Return(ids, _) | Op::Discard(ids) => stream.settle(ids),
            Op::Assign(most) => self.assign_to_readers(most, effects),
            Op::Tick => self.retain(now, effects),
            Op::Configure(settings) => {
                self.set_settings(settings);
                self.retain(now, effects);
            }
            Op::Share(id, credit) => stream.with_reader(id, |reader| {
                credit.charge(reader.unsettled);
                reader.consumer.shared_credit = Some(credit);
            }),
            // Refused by whoever was asked for them.
            Op::Get { .. } => effects.push(Effect::Empty),
            Op::Purge => effects.push(Effect::Purged(0)),
            Op::Take(_) | Op::DeadLettered(..) | Op::Touch => {}
        }
    }

    fn write(&mut self, came_at: Timestamp, mut incoming: Incoming) {
        incoming.message.compact();
        let entry = Entry {
            message: incoming.message,
            sequence: self.take_sequence(),
            id: incoming.id,
            expiry: Expiry::at(came_at),
            priority: 0,
            marks: Marks::new(false, true),
        };
        self.count_persistent(1);
        self.backlog_mut().push(entry);
    }

    /// What was written since the last time is durable when the log is so up to `durable_at`. Those who wait for it will be
    /// woken.
    fn written(&mut self, durable_at: u64, effects: &mut Vec<Effect>) {
        let last = self.last_sequence();
        self.durable_through();
        let Some(stream) = &mut self.stream else {
            return;
        };
        match stream.pending.back_mut() {
            Some((through, at)) if *at == durable_at => *through = last,
            _ => stream.pending.push_back((last, durable_at)),
        }
        for reader in stream.readers.values_mut().filter(|reader| reader.asleep) {
            reader.sleep(Some(durable_at), effects);
        }
    }

    /// The place of the last message that is durable.
    fn durable_through(&mut self) -> u64 {
        let last = self.last_sequence();
        let log = self.backlog().store().map_or(u64::MAX, PageStore::durable);
        let Some(stream) = &mut self.stream else {
            return last;
        };
        while let Some(&(through, at)) = stream.pending.front()
            && at <= log
        {
            stream.durable = through;
            stream.pending.pop_front();
        }
        stream.durable
    }

    /// What has come so far was found in the log.
    pub(super) fn all_is_durable(&mut self) {
        let last = self.last_sequence();
        if let Some(stream) = &mut self.stream {
            stream.durable = last;
        }
    }

    fn attach_reader(&mut self, now: Timestamp, consumer: Consumer) {
        let read_from = consumer.read_from.as_deref();
        let start = read_from.map(|it| it.start).unwrap_or_default();
        let (next, not_before) = self.place_of(now, start);
        let Some(stream) = &mut self.stream else {
            return;
        };
        stream.readers_so_far += 1;
        let reader = Reader {
            serial: stream.readers_so_far,
            next,
            not_before,
            unsettled: 0,
            paused: false,
            asleep: false,
            summoned: false,
            looked_at: 0,
            ahead: VecDeque::new(),
            consumer,
        };
        stream.readers.insert(reader.consumer.id, reader);
    }

    /// Where to begin to read, and what is too old to be shown.
    fn place_of(&self, now: Timestamp, start: StreamStart) -> (u64, Timestamp) {
        let always = Timestamp::default();
        let (first, last) = (self.first_place(), self.last_sequence());
        match start {
            StreamStart::First => (first, always),
            StreamStart::Last => (last.max(first), always),
            StreamStart::Next => (last + 1, always),
            StreamStart::Offset(offset) => (offset.saturating_add(1).max(first), always),
            // Nobody waits for a time to come.
            StreamStart::Time(time) if time > now => (last + 1, always),
            StreamStart::Time(time) => {
                let lane = self.backlog().lanes().next();
                let part = lane.and_then(|lane| lane.last_part_before(time));
                (part.unwrap_or(first), time)
            }
        }
    }

    fn first_place(&self) -> u64 {
        self.stream.as_ref().map_or(1, |stream| stream.first)
    }

    // Reading.

    /// Hands out at most so many messages, a few to each reader in turn.
    fn assign_to_readers(&mut self, most: usize, effects: &mut Vec<Effect>) {
        let durable = self.durable_through();
        let mut left = most;
        let Some(mut stream) = self.stream.take() else {
            return;
        };
        let Stream {
            readers,
            unsettled,
            first,
            pending,
            ..
        } = &mut *stream;
        let waits_for = pending.back().map(|&(_, at)| at);
        for reader in readers.values_mut() {
            reader.next = reader.next.max(*first);
            for _ in 0..TURN.min(left) {
                if !reader.is_ready() {
                    break;
                }
                if reader.next > durable {
                    reader.sleep(waits_for, effects);
                    break;
                }
                if reader.looked_at >= LOOKED_AT_MAX {
                    reader.sleep(Some(0), effects);
                    break;
                }
                if reader.ahead.is_empty() && !self.read_ahead(reader, durable) {
                    reader.sleep(None, effects);
                    break;
                }
                if let Some(delivery) = reader.take_next(unsettled) {
                    left -= 1;
                    effects.push(Effect::Deliver(reader.consumer.id, delivery));
                }
            }
        }
        self.stream = Some(stream);
    }

    /// Reads some messages for a reader, from its next one on, as far as they are durable: from memory a few, from disk the
    /// rest of a page. `false`: there is nothing to read.
    fn read_ahead(&self, reader: &mut Reader, durable: u64) -> bool {
        let Some(lane) = self.backlog().lanes().next() else {
            return false;
        };
        let next = reader.next;
        match lane.part_with(next) {
            Some(Part::Line(line)) => {
                let entries = line.iter_from(|entry| entry.sequence < next);
                let known = entries.take_while(|entry| entry.sequence <= durable);
                reader.ahead.extend(known.take(TURN).map(Seen::of));
            }
            Some(Part::Page(page)) => {
                let mut each = |record: PagedRecord<'_>| {
                    if let Ok(entry) = page.entry(lane.level(), &record)
                        && entry.sequence >= next
                    {
                        reader.ahead.push_back(Seen::of(&entry));
                    }
                };
                let store = self.backlog().store();
                let read = store.map(|store| store.read_page(page.id, &mut each));
                if let Some(Err(error)) = read {
                    error!(page = page.id.0, %error, "messages of a stream can't be read");
                }
                if reader.ahead.is_empty() {
                    // Nothing of it can be shown: the reader goes on behind it.
                    reader.next = page.last + 1;
                }
            }
            None => {}
        }
        !reader.ahead.is_empty() || reader.next > next
    }

    // Retention.

    /// Lets the oldest messages go, as far as arguments and policies say so: those in memory one by one, those on disk by
    /// the page.
    fn retain(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let (mut messages, mut pages) = (Vec::new(), Vec::new());
        let bytes_max = self.settings().length_bytes_max;
        let max_age = self.settings().max_age_ms;
        let is_old = |came_at: Timestamp| max_age.is_some_and(|age| came_at.plus_ms(age) <= now);
        let mut first = self.first_place();
        loop {
            let bytes = self.backlog().bytes();
            let is_last = first == self.last_sequence();
            match self.backlog_mut().front() {
                Some(Front::Entry(entry)) => {
                    let is_too_much = bytes_max.is_some_and(|most| bytes > most && !is_last);
                    if !is_old(entry.expiry.time()) && !is_too_much {
                        break;
                    }
                    let taken = self.backlog_mut().pop();
                    messages.extend(taken.map(|taken| taken.entry.id));
                    first += 1;
                }
                Some(Front::Page { held, next_at }) => {
                    let is_too_much = bytes_max.is_some_and(|most| bytes - held.bytes >= most);
                    if !is_old(next_at) && !is_too_much {
                        break;
                    }
                    let Some(page) = self.backlog_mut().drop_front_page() else {
                        break;
                    };
                    pages.push(page.id);
                    first = page.last + 1;
                }
                None => break,
            }
        }
        self.truncate(first, messages, pages, effects);
    }

    fn truncate(
        &mut self,
        first: u64,
        messages: Vec<MessageId>,
        pages: Vec<PageId>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let before = std::mem::replace(&mut stream.first, first);
        if before < first {
            self.count_persistent(before.cast_signed() - first.cast_signed());
            effects.push(Effect::Truncate {
                first_offset: first - 1,
                messages,
                pages,
            });
        }
    }

    /// When the oldest message goes, if nothing else happens.
    pub(super) fn retention_deadline(&self) -> Option<Timestamp> {
        let max_age = self.settings().max_age_ms?;
        let lane = self.backlog().lanes().next()?;
        Some(lane.front_leaves_after().plus_ms(max_age))
    }
}

impl Reader {
    /// The next message that was read for it, if it wants it.
    fn take_next(&mut self, unsettled: &mut Slab<Holder>) -> Option<Delivery> {
        let seen = self.ahead.pop_front()?;
        let is_left = seen.place >= self.next;
        self.next = self.next.max(seen.place + 1);
        self.looked_at += 1;
        if !is_left || !self.wants(&seen) {
            return None;
        }
        self.unsettled += 1;
        if let Some(credit) = &self.consumer.shared_credit {
            credit.charge(1);
        }
        let (id, serial) = (self.consumer.id, self.serial);
        Some(Delivery {
            id: Some(unsettled.insert(Holder { id, serial })),
            message: seen.message,
            redelivered: false,
            stamp: Stamp::Offset(Offset::new(seen.place - 1)),
        })
    }
}

impl Seen {
    fn of(entry: &Entry) -> Self {
        Self {
            place: entry.sequence,
            came_at: entry.expiry.time(),
            message: entry.message.clone(),
        }
    }
}
