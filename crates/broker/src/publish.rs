//! Publishes on their way into queues, as a batch: what one read of a connection brought.
//!
//! A batch is a list of runs, each with one set of target queues and properties that are alike to a queue. Its persistent
//! messages go into the log in one append, which gives them their ids; then each queue is locked once and takes what the
//! runs have for it. A message has its record in the log before any queue knows it, so that no acknowledgement can precede
//! its message there.
//!
//! Batches are short-lived, and connections many: a thread lends the memory of a large one to each that is large, which so
//! finds it in the processor's cache.

use std::cell::RefCell;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use leveret_storage::{Batch as Records, Lsn};

use crate::counters::{BatchSizes, ExchangeTally, PublishTally, SizeTally};
use crate::flows::RouteFlows;
use crate::ids::{MessageId, QueueId};
use crate::live_queue::{LiveQueue, Outbox};
use crate::message::{Message, packing};
use crate::queue::{Incoming, Kind, MessageFacts};
use crate::record;
use crate::time::Timestamp;

/// The queues that a message goes to.
#[derive(Debug)]
pub struct Targets {
    pub queues: Vec<Arc<LiveQueue>>,
    /// The queues among them that survive a restart, as the log knows them.
    owners: Vec<u32>,
    /// Those of them that keep messages whatever their delivery mode.
    keepers: Vec<u32>,
    has_stream: bool,
    /// Counts the messages, if a client published them.
    exchange: Option<Arc<ExchangeTally>>,
    /// Counts them by channel and queue, if those are told apart.
    flows: Option<RouteFlows>,
}

impl Targets {
    pub(crate) fn new(queues: Vec<Arc<LiveQueue>>, exchange: Option<Arc<ExchangeTally>>) -> Self {
        let durable = queues
            .iter()
            .filter(|it| it.declaration.outlives_restarts());
        let keepers = durable.clone().filter(|queue| queue.kind.keeps_all());
        let keepers = keepers.map(|queue| queue.id.0).collect();
        let owners = durable.map(|queue| queue.id.0).collect();
        Self {
            has_stream: queues.iter().any(|queue| queue.kind == Kind::Stream),
            queues,
            owners,
            keepers,
            exchange,
            flows: None,
        }
    }

    /// From now on, what goes here is counted for this channel too.
    pub(crate) fn count_for(&mut self, channel: Arc<PublishTally>) {
        if let Some(exchange) = &self.exchange {
            let flows = RouteFlows::new(channel, &exchange.flows, &self.queues);
            self.flows = Some(flows);
        }
    }

    /// Whether messages for both are counted by the same exchange, if by any.
    pub(crate) fn are_counted_as(&self, other: &Self) -> bool {
        let exchange = |targets: &Self| targets.exchange.as_ref().map(Arc::as_ptr);
        exchange(self) == exchange(other)
    }

    /// Counts a message that these targets, which are none, were found for.
    pub(crate) fn count_unroutable(&self, mandatory: bool) {
        if let Some(exchange) = &self.exchange {
            exchange.add_unroutable(mandatory);
        }
        if let Some(flows) = &self.flows {
            flows.count_unroutable(mandatory);
        }
    }
}

/// Publishes that are taken into their queues together. See the module's page.
#[derive(Debug, Default)]
pub struct Batch {
    runs: Vec<Run>,
    /// What is to be taken to which queue, while a part of the batch is.
    visits: Vec<Visit>,
    publishes: Vec<Publish>,
    records: Records,
    stored: u64,
    /// No queues: for messages that need none but whose outcome somebody wants in its turn.
    nowhere: Option<Arc<Targets>>,
    /// The last one was large: this one begins with the thread's memory.
    grows: bool,
}

thread_local! {
    /// An empty batch whose buffers have grown, unless it is lent.
    static SPARE: RefCell<Batch> = RefCell::default();
}

#[derive(Debug)]
struct Run {
    targets: Arc<Targets>,
    facts: MessageFacts,
    /// Its publishes are those from here...
    start: usize,
    /// ...to before this index.
    end: usize,
    /// Queues that have not taken them yet.
    left: usize,
}

/// A run on its way to one of its queues.
#[derive(Debug, Clone, Copy)]
struct Visit {
    queue: QueueId,
    run: u32,
    /// Which of the run's targets the queue is.
    target: u32,
}

/// A batch of more publishes is large.
const FEW: usize = 4;

/// An empty batch keeps room for so many publishes at most: a transaction may have had millions.
const PUBLISHES_KEPT: usize = 4096;

/// Fewer publishes than this are not packed: what that takes would not be made up for.
const PACKED_MIN: usize = 8;

/// With so many visits at hand, queues are visited before more are gathered: runs can be many, and their queues too.
const VISITS_MAX: usize = 4096;

#[derive(Debug)]
struct Publish {
    /// Until its last queue has taken it.
    message: Option<Message>,
    /// While the batch fills: its number among the stored ones, from 1. Then its id in the log.
    id: MessageId,
    receipt: Receipt,
    refused: bool,
}

/// Who wants to know how a publish ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    Nobody,
    /// The publish with this confirm tag on this channel.
    Confirm {
        channel: u16,
        tag: u64,
    },
}

/// How a publish ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub receipt: Receipt,
    /// A queue refused it (`reject-publish`).
    pub refused: bool,
    /// It counts as taken when the log is durable up to here; `None`: now.
    pub durable_at: Option<Lsn>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.publishes.is_empty()
    }

    /// Whether a stream is among the targets.
    pub(crate) fn fills_stream(&self) -> bool {
        self.runs.iter().any(|run| run.targets.has_stream)
    }

    /// Publishes that wait for the commit.
    pub fn len(&self) -> usize {
        self.publishes.len()
    }

    /// Adds a publish for `targets`.
    pub(crate) fn push(
        &mut self,
        now: Timestamp,
        message: Message,
        targets: &Arc<Targets>,
        receipt: Receipt,
    ) {
        let facts = MessageFacts::of(&message);
        self.push_run(now, facts, targets, std::iter::once((message, receipt)));
    }

    /// Adds publishes for `targets` of which the same is to be known. Gives how many these are.
    #[inline]
    pub(crate) fn push_run(
        &mut self,
        now: Timestamp,
        facts: MessageFacts,
        targets: &Arc<Targets>,
        messages: impl Iterator<Item = (Message, Receipt)>,
    ) -> u64 {
        let owners = match facts.persistent {
            true => &targets.owners,
            false => &targets.keepers,
        };
        self.begin();
        let start = self.publishes.len();
        for (message, receipt) in messages {
            let mut id = MessageId::NONE;
            if !owners.is_empty() {
                record::put(&mut self.records, owners, now, &message);
                self.stored += 1;
                id = MessageId(self.stored);
            }
            self.publishes.push(Publish {
                message: Some(message),
                id,
                receipt,
                refused: false,
            });
        }
        let end = self.publishes.len();
        match self.runs.last_mut() {
            Some(run) if Arc::ptr_eq(&run.targets, targets) && run.facts == facts => run.end = end,
            _ => self.runs.push(Run::new(targets.clone(), facts, start..end)),
        }
        (end - start) as u64
    }

    /// Adds a publish that needs no queue any more, for its outcome in its turn.
    pub(crate) fn push_done(&mut self, receipt: Receipt) {
        self.begin();
        let nowhere = self
            .nowhere
            .get_or_insert_with(|| Arc::new(Targets::new(Vec::new(), None)));
        let targets = nowhere.clone();
        let at = self.publishes.len();
        self.publishes.push(Publish {
            message: None,
            id: MessageId::NONE,
            receipt,
            refused: false,
        });
        let facts = MessageFacts::default();
        self.runs.push(Run::new(targets, facts, at..at + 1));
    }

    /// Takes the batch into the log and the queues. Tells `outcome` of every publish whose receipt somebody wants, in
    /// the order in which they were added. The batch is empty afterwards.
    pub(crate) fn commit(
        &mut self,
        log: &leveret_storage::Log,
        sizes: &SizeTally,
        now: Timestamp,
        outbox: &mut Outbox,
        mut outcome: impl FnMut(Outcome),
    ) {
        let grows = self.publishes.len() > FEW;
        let durable_at = self.store(log);
        self.deliver(sizes, durable_at, now, outbox);
        for publish in self.publishes.drain(..) {
            if publish.receipt != Receipt::Nobody {
                let durable_at = durable_at.filter(|_| publish.id.is_stored());
                outcome(Outcome {
                    receipt: publish.receipt,
                    refused: publish.refused,
                    durable_at,
                });
            }
        }
        self.end(grows);
    }

    /// Before something is added.
    #[inline]
    fn begin(&mut self) {
        if self.grows && self.is_empty() {
            self.borrow();
        }
    }

    #[inline(never)]
    fn borrow(&mut self) {
        *self = SPARE.take();
        self.grows = true;
    }

    /// When all is done.
    #[inline]
    fn end(&mut self, grows: bool) {
        if grows || self.grows {
            self.give_back();
        }
        self.grows = grows;
    }

    /// Gives the memory of a large batch, which is empty now, to the thread.
    #[inline(never)]
    fn give_back(&mut self) {
        let mut empty = mem::take(self);
        empty.publishes.shrink_to(PUBLISHES_KEPT);
        empty.runs.shrink_to(PUBLISHES_KEPT);
        SPARE.with_borrow_mut(|spare| {
            if empty.publishes.capacity() > spare.publishes.capacity() {
                *spare = empty;
            }
        });
    }

    /// Takes the runs to their queues. A queue takes them in their order; which queue comes first is nobody's concern.
    fn deliver(
        &mut self,
        sizes: &SizeTally,
        durable_at: Option<Lsn>,
        now: Timestamp,
        outbox: &mut Outbox,
    ) {
        let mut counting = Counting::default();
        for at in 0..self.runs.len() {
            let run = &self.runs[at];
            counting.count(&run.targets, &self.publishes[run.start..run.end]);
            let targets = run.targets.queues.iter().zip(0..);
            self.visits.extend(targets.map(|(queue, target)| Visit {
                queue: queue.id,
                run: u32::try_from(at).expect("fewer runs than bytes in a read"),
                target,
            }));
            if self.visits.len() >= VISITS_MAX {
                self.visit_queues(durable_at, now, outbox);
            }
        }
        counting.flush();
        sizes.add(counting.sizes);
        self.visit_queues(durable_at, now, outbox);
        self.visits.shrink_to(VISITS_MAX);
        self.runs.clear();
    }

    fn visit_queues(&mut self, durable_at: Option<Lsn>, now: Timestamp, outbox: &mut Outbox) {
        // A stable sort: what goes to one queue stays in the order in which it was published.
        self.visits.sort_by_key(|visit| visit.queue);
        for visits in self.visits.chunk_by(|a, b| a.queue == b.queue) {
            let (runs, publishes) = (&mut self.runs, &mut self.publishes);
            visit(visits, runs, publishes, durable_at, now, outbox);
        }
        self.visits.clear();
    }

    /// Appends the persistent messages to the log and gives each its id there.
    fn store(&mut self, log: &leveret_storage::Log) -> Option<Lsn> {
        if self.stored == 0 {
            return None;
        }
        let appended = log.append(&mut self.records);
        self.records.clear();
        self.stored = 0;
        for publish in &mut self.publishes {
            if publish.id.is_stored() {
                publish.id = MessageId(appended.first_key + publish.id.0 - 1);
            }
        }
        Some(appended.lsn)
    }
}

/// What neighbouring runs of a batch add to the counters of one exchange.
#[derive(Debug, Default)]
struct Counting {
    exchange: Option<Arc<ExchangeTally>>,
    messages: u64,
    copies: u64,
    /// Of the whole batch.
    sizes: BatchSizes,
}

impl Counting {
    fn count(&mut self, targets: &Targets, publishes: &[Publish]) {
        let Some(exchange) = &targets.exchange else {
            return;
        };
        let counted = self.exchange.as_ref();
        if !counted.is_some_and(|counted| Arc::ptr_eq(counted, exchange)) {
            self.flush();
            self.exchange = Some(exchange.clone());
        }
        let messages = publishes.len() as u64;
        if let Some(flows) = &targets.flows {
            flows.count(messages);
        }
        self.messages += messages;
        self.copies += messages * targets.queues.len() as u64;
        let messages = publishes.iter().filter_map(|it| it.message.as_ref());
        messages.for_each(|it| self.sizes.add(it.body().len() as u64));
    }

    fn flush(&mut self) {
        let messages = mem::take(&mut self.messages);
        let copies = mem::take(&mut self.copies);
        if let Some(exchange) = self.exchange.take() {
            exchange.add(messages, copies);
        }
    }
}

impl Run {
    fn new(targets: Arc<Targets>, facts: MessageFacts, publishes: Range<usize>) -> Self {
        Self {
            left: targets.queues.len(),
            targets,
            facts,
            start: publishes.start,
            end: publishes.end,
        }
    }
}

/// Takes the publishes of some runs into the queue that all of these visits are for.
fn visit(
    visits: &[Visit],
    runs: &mut [Run],
    publishes: &mut [Publish],
    durable_at: Option<Lsn>,
    now: Timestamp,
    outbox: &mut Outbox,
) {
    let Visit { run, target, .. } = visits[0];
    let targets = runs[run as usize].targets.clone();
    let queue = &targets.queues[target as usize];
    let durable = queue.declaration.outlives_restarts();
    let keeps_all = queue.kind.keeps_all();
    // A queue that has just been deleted takes its messages with it: they count as accepted (RabbitMQ: confirms).
    // Their records came into the log after the queue's end, which so has not released them.
    let Ok(mut drive) = queue.drive(now, outbox) else {
        if durable {
            let publishes = visits.iter().flat_map(|visit| {
                let run = &runs[visit.run as usize];
                &publishes[run.start..run.end]
            });
            let stored = publishes.filter(|publish| publish.id.is_stored());
            let releases = stored.map(|publish| (queue.id, publish.id));
            outbox.releases.extend(releases);
        }
        return;
    };
    for visit in visits {
        let run = &mut runs[visit.run as usize];
        run.left -= 1;
        let is_last = run.left == 0;
        let is_kept = durable && (run.facts.persistent || keeps_all);
        let facts = MessageFacts {
            persistent: run.facts.persistent || is_kept,
            ..run.facts
        };
        let publishes = &mut publishes[run.start..run.end];
        let mut packed = publishes.len() < PACKED_MIN;
        for at in 0..publishes.len() {
            if !packed && drive.makes_wait() {
                // The rest will wait, and leave in this order: it has one priority.
                let rest = publishes[at..].iter_mut();
                packing::pack(rest.filter_map(|it| it.message.as_mut()));
                packed = true;
            }
            let publish = &mut publishes[at];
            // The last queue takes the message itself.
            let message = match is_last {
                true => publish.message.take(),
                false => publish.message.clone(),
            };
            let Some(message) = message else {
                continue;
            };
            let id = if is_kept { publish.id } else { MessageId::NONE };
            publish.refused |= !drive.publish(Incoming::new(message, id, facts));
        }
    }
    if let Some(durable_at) = durable_at {
        drive.written(durable_at);
    }
    let (is_crowded, outruns) = (drive.is_crowded(), drive.outruns_consumers());
    drive.finish();
    outbox.fills_crowded |= is_crowded;
    outbox.outruns_consumers |= outruns;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_the_same_targets_and_facts() {
        let facts = |priority| MessageFacts {
            priority,
            ..MessageFacts::default()
        };
        let message = || Message::new(b"", b"q", b"", b"x");
        let targets = [(); 2].map(|()| Arc::new(Targets::new(Vec::new(), None)));
        let mut batch = Batch::default();
        for (target, priority) in [(0, None), (0, None), (0, Some(1)), (1, Some(1)), (0, None)] {
            let publishes = [(message(), Receipt::Nobody), (message(), Receipt::Nobody)];
            let publishes = publishes.into_iter();
            batch.push_run(Timestamp(0), facts(priority), &targets[target], publishes);
        }
        let runs = batch
            .runs
            .iter()
            .map(|run| (run.start..run.end, run.facts.priority));
        let expected = [
            (0..4, None),
            (4..6, Some(1)),
            (6..8, Some(1)),
            (8..10, None),
        ];
        assert!(runs.eq(expected));
    }

    #[test]
    fn the_memory_of_large_batches_goes_round_and_stays_with_none() {
        let targets = Arc::new(Targets::new(Vec::new(), None));
        // Gives how many publishes there was room for at the beginning, and what the batch keeps.
        let fill = |batch: &mut Batch, count: usize| {
            batch.begin();
            let room = batch.publishes.capacity();
            let publish = || (Message::new(b"", b"q", b"", b"x"), Receipt::Nobody);
            let publishes = (0..count).map(|_| publish());
            batch.push_run(Timestamp(0), MessageFacts::default(), &targets, publishes);
            batch.publishes.clear();
            batch.runs.clear();
            batch.end(count > FEW);
            (room, batch.publishes.capacity())
        };
        let [mut one, mut another, mut small] = [(); 3].map(|()| Batch::default());
        assert_eq!(fill(&mut one, 100), (0, 0));
        assert_eq!(fill(&mut another, 100), (0, 0));
        let (room, kept) = fill(&mut one, 2 * PUBLISHES_KEPT);
        assert!(room >= 100 && kept == 0, "{room}, {kept}");
        let (room, kept) = fill(&mut another, FEW);
        assert_eq!((room, kept), (PUBLISHES_KEPT, 0));
        // Small ones have memory of their own.
        fill(&mut small, FEW);
        let (room, kept) = fill(&mut small, FEW);
        assert!((FEW..PUBLISHES_KEPT).contains(&room) && kept == room);
    }
}
