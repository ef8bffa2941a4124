//! Publishes on their way into queues, as a batch: what one read of a connection brought.
//!
//! A batch is a list of runs, each with one set of target queues. Its persistent messages go into the log in one append,
//! which gives them their ids; then each queue is locked once and takes what the runs have for it. A message has its
//! record in the log before any queue knows it, so that no acknowledgement can precede its message there.

use std::sync::Arc;

use leveret_storage::{Batch as Records, Lsn};

use crate::counters::{BatchSizes, ExchangeTally, PublishTally, SizeTally};
use crate::flows::RouteFlows;
use crate::ids::{MessageId, QueueId};
use crate::live_queue::{LiveQueue, Outbox};
use crate::message::packing;
use crate::queue::{Incoming, Kind};
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
}

#[derive(Debug)]
struct Run {
    targets: Arc<Targets>,
    /// Its publishes are those from here...
    start: usize,
    /// ...to before this index.
    end: usize,
    /// Queues that have not taken them yet.
    left: usize,
}

/// A run on its way to one of its queues. They are ordered by queue, then as they were published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Visit {
    queue: QueueId,
    run: usize,
    /// Which of the run's targets the queue is.
    target: usize,
}

/// Fewer publishes than this are not packed: what that takes would not be made up for.
const PACKED_MIN: usize = 8;

/// With so many visits at hand, queues are visited before more are gathered: runs can be many, and their queues too.
const VISITS_MAX: usize = 4096;

#[derive(Debug)]
struct Publish {
    /// Until its last queue has taken it.
    incoming: Option<Incoming>,
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
    #[inline]
    pub fn push(
        &mut self,
        now: Timestamp,
        incoming: Incoming,
        targets: &Arc<Targets>,
        receipt: Receipt,
    ) {
        let mut id = MessageId::NONE;
        let owners = match incoming.persistent {
            true => &targets.owners,
            false => &targets.keepers,
        };
        if !owners.is_empty() {
            record::put(&mut self.records, owners, now, &incoming.message);
            self.stored += 1;
            id = MessageId(self.stored);
        }
        self.publishes.push(Publish {
            incoming: Some(incoming),
            id,
            receipt,
            refused: false,
        });
        let end = self.publishes.len();
        match self.runs.last_mut() {
            Some(run) if Arc::ptr_eq(&run.targets, targets) => run.end = end,
            _ => self.runs.push(Run::of_last(targets.clone(), end)),
        }
    }

    /// Adds a publish that needs no queue any more, for its outcome in its turn.
    pub(crate) fn push_done(&mut self, receipt: Receipt) {
        let nowhere = self
            .nowhere
            .get_or_insert_with(|| Arc::new(Targets::new(Vec::new(), None)));
        let targets = nowhere.clone();
        self.publishes.push(Publish {
            incoming: None,
            id: MessageId::NONE,
            receipt,
            refused: false,
        });
        self.runs.push(Run::of_last(targets, self.publishes.len()));
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
            let targets = run.targets.queues.iter().enumerate();
            self.visits.extend(targets.map(|(target, queue)| Visit {
                queue: queue.id,
                run: at,
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
        self.visits.sort_unstable();
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
        let incoming = publishes.iter().filter_map(|it| it.incoming.as_ref());
        incoming.for_each(|it| self.sizes.add(it.message.body().len() as u64));
    }

    fn flush(&mut self) {
        let messages = std::mem::take(&mut self.messages);
        let copies = std::mem::take(&mut self.copies);
        if let Some(exchange) = self.exchange.take() {
            exchange.add(messages, copies);
        }
    }
}

impl Run {
    /// A run of the publish that was pushed last, before `end`.
    fn of_last(targets: Arc<Targets>, end: usize) -> Self {
        Self {
            left: targets.queues.len(),
            targets,
            start: end - 1,
            end,
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
    let targets = runs[run].targets.clone();
    let queue = &targets.queues[target];
    let durable = queue.declaration.outlives_restarts();
    let keeps_all = queue.kind.keeps_all();
    // A queue that has just been deleted takes its messages with it: they count as accepted (RabbitMQ: confirms).
    // Their records came into the log after the queue's end, which so has not released them.
    let Ok(mut drive) = queue.drive(now, outbox) else {
        if durable {
            let publishes = visits.iter().flat_map(|visit| {
                let run = &runs[visit.run];
                &publishes[run.start..run.end]
            });
            let stored = publishes.filter(|publish| publish.id.is_stored());
            let releases = stored.map(|publish| (queue.id, publish.id));
            outbox.releases.extend(releases);
        }
        return;
    };
    for visit in visits {
        let run = &mut runs[visit.run];
        run.left -= 1;
        if run.end - run.start >= PACKED_MIN && drive.makes_wait() {
            pack(&mut publishes[run.start..run.end]);
        }
        for publish in &mut publishes[run.start..run.end] {
            // The last queue takes the message itself.
            let incoming = if run.left == 0 {
                publish.incoming.take()
            } else {
                publish.incoming.clone()
            };
            let Some(mut incoming) = incoming else {
                continue;
            };
            let is_kept = durable && (incoming.persistent || keeps_all);
            incoming.id = if is_kept { publish.id } else { MessageId::NONE };
            incoming.persistent |= is_kept;
            publish.refused |= !drive.publish(incoming);
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

/// Has messages that will wait share blocks. What is in one has one priority, or it would not leave one after the other.
fn pack(publishes: &mut [Publish]) {
    let priority = |publish: &Publish| publish.incoming.as_ref().map(|it| it.priority);
    for alike in publishes.chunk_by_mut(|a, b| priority(a) == priority(b)) {
        let incoming = alike.iter_mut().filter_map(|it| it.incoming.as_mut());
        packing::pack(incoming.map(|it| &mut it.message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    #[test]
    fn only_neighbours_of_one_priority_share_a_block() {
        let publish = |priority| Publish {
            incoming: Some(Incoming {
                message: Message::new(b"", b"q", b"", b"x"),
                id: MessageId::NONE,
                priority,
                ttl_ms: None,
                persistent: false,
                redelivered: false,
            }),
            id: MessageId::NONE,
            receipt: Receipt::Nobody,
            refused: false,
        };
        let priorities = [None, None, Some(1), Some(1), Some(2), None];
        let mut publishes = priorities.map(publish);
        pack(&mut publishes);
        let messages = publishes.map(|it| it.incoming.unwrap().message);
        for (pair, expected) in messages.windows(2).zip(priorities.windows(2)) {
            assert_eq!(pair[0].lies_with(&pair[1]), expected[0] == expected[1]);
        }
    }
}
