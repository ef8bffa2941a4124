//! Publishes on their way into queues, as a batch: what one read of a connection brought.
//!
//! A batch is a list of runs, each with one set of target queues. Its persistent messages go into the log in one append,
//! which gives them their ids; then each run locks each of its queues once. A message has its record in the log before
//! any queue knows it, so that no acknowledgement can precede its message there.

use std::sync::Arc;

use leveret_storage::{Batch as Records, Lsn};

use crate::counters::ExchangeTally;
use crate::ids::MessageId;
use crate::live_queue::{LiveQueue, Outbox};
use crate::queue::Incoming;
use crate::record;
use crate::time::Timestamp;

/// The queues that a message goes to.
#[derive(Debug)]
pub struct Targets {
    pub queues: Vec<Arc<LiveQueue>>,
    /// The queues among them that survive a restart, as the log knows them.
    owners: Vec<u32>,
    /// Counts the messages, if a client published them.
    exchange: Option<Arc<ExchangeTally>>,
}

impl Targets {
    pub(crate) fn new(queues: Vec<Arc<LiveQueue>>, exchange: Option<Arc<ExchangeTally>>) -> Self {
        let durable = |queue: &&Arc<LiveQueue>| queue.declaration.outlives_restarts();
        let owners = queues
            .iter()
            .filter(durable)
            .map(|queue| queue.id.0)
            .collect();
        Self {
            queues,
            owners,
            exchange,
        }
    }
}

/// Publishes that are taken into their queues together. See the module's page.
#[derive(Debug, Default)]
pub struct Batch {
    runs: Vec<Run>,
    publishes: Vec<Publish>,
    records: Records,
    stored: u64,
    /// No queues: for messages that need none but whose outcome somebody wants in its turn.
    nowhere: Option<Arc<Targets>>,
}

#[derive(Debug)]
struct Run {
    targets: Arc<Targets>,
    /// The publishes of this run end before this index.
    end: usize,
}

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

    /// Adds a publish for `targets`.
    pub fn push(
        &mut self,
        now: Timestamp,
        incoming: Incoming,
        targets: &Arc<Targets>,
        receipt: Receipt,
    ) {
        let mut id = MessageId::NONE;
        if incoming.persistent && !targets.owners.is_empty() {
            record::put(&mut self.records, &targets.owners, now, &incoming.message);
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
            _ => self.runs.push(Run {
                targets: targets.clone(),
                end,
            }),
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
        self.runs.push(Run {
            targets,
            end: self.publishes.len(),
        });
    }

    /// Takes the batch into the log and the queues. Tells `outcome` of every publish whose receipt somebody wants, in
    /// the order in which they were added. The batch is empty afterwards.
    pub(crate) fn commit(
        &mut self,
        log: &leveret_storage::Log,
        now: Timestamp,
        outbox: &mut Outbox,
        mut outcome: impl FnMut(Outcome),
    ) {
        let durable_at = self.store(log);
        let mut start = 0;
        let mut counting = Counting::default();
        for run in self.runs.drain(..) {
            let publishes = &mut self.publishes[start..run.end];
            start = run.end;
            counting.count(&run.targets, publishes.len());
            deliver_run(&run.targets, publishes, now, outbox);
        }
        counting.flush();
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
}

impl Counting {
    fn count(&mut self, targets: &Targets, messages: usize) {
        let Some(exchange) = &targets.exchange else {
            return;
        };
        let counted = self.exchange.as_ref();
        if !counted.is_some_and(|counted| Arc::ptr_eq(counted, exchange)) {
            self.flush();
            self.exchange = Some(exchange.clone());
        }
        self.messages += messages as u64;
        self.copies += (messages * targets.queues.len()) as u64;
    }

    fn flush(&mut self) {
        let (messages, copies) = (self.messages, self.copies);
        if let Some(exchange) = self.exchange.take() {
            exchange.add(messages, copies);
        }
        *self = Self::default();
    }
}

fn deliver_run(targets: &Targets, publishes: &mut [Publish], now: Timestamp, outbox: &mut Outbox) {
    let last = targets.queues.len().saturating_sub(1);
    for (at, queue) in targets.queues.iter().enumerate() {
        let durable = queue.declaration.outlives_restarts();
        // A queue that has just been deleted takes its messages with it: they count as accepted (RabbitMQ: confirms).
        // Their records came into the log after the queue's end, which so has not released them.
        let Ok(mut drive) = queue.drive(now, outbox) else {
            if durable {
                let stored = publishes.iter().filter(|publish| publish.id.is_stored());
                let releases = stored.map(|publish| (queue.id, publish.id));
                outbox.releases.extend(releases);
            }
            continue;
        };
        for publish in &mut *publishes {
            // The last queue takes the message itself.
            let incoming = if at == last {
                publish.incoming.take()
            } else {
                publish.incoming.clone()
            };
            let Some(mut incoming) = incoming else {
                continue;
            };
            incoming.id = if durable { publish.id } else { MessageId::NONE };
            publish.refused |= !drive.publish(incoming);
        }
        let is_crowded = drive.is_crowded();
        drive.finish();
        outbox.fills_crowded |= is_crowded;
    }
}
