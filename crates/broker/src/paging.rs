//! The memory that the waiting messages of all queues may take, and their way to disk when it is too much.
//!
//! Queues say what their messages take when they have been worked on. Above the budget the [`Pager`] is woken, and
//! takes turns until three quarters of it are in use. Messages that the log has as well get a smaller budget of their own:
//! to have them in memory makes little faster, and keeps the log long, which a start has to read.
//!
//! ```text
//! over the budget ──> name runs of the fullest queues ──> draft ──> sync ──> commit ──> still more than 3/4? ──┐
//!                ^          (queue's lock)              (no lock: copied, one sync    (queue's lock)            │
//!                └─────────────────────────────────────  for all runs of a turn) ───────────────────────────────┘
//! ```
//!
//! Publishers may be faster than the pager. At twice the budget those that fill queues with something to page out are not
//! read from, until it has come down to one and a half; all others go on. What can't be paged out (the heads of many
//! queues, returned messages of quorum queues, anything on a full disk) stays, and is the memory alarm's business.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use leveret_storage::{
    self as storage, Batch as Records, Draft, Failed, Log, PageError, PageRecord,
};
use parking_lot::Mutex;

use crate::broker::Broker;
use crate::ids::{MessageId, PageId, QueueId};
use crate::live_queue::LiveQueue;
use crate::mailbox::Mailbox;
use crate::queue::pages::{
    Leaving, Outgoing, PageSizes, PageStore, PagedRecord, Resident, Unreadable,
};
use crate::record;
use crate::time::Timestamp;

/// A queue whose messages take more than this may have something to page out.
pub(crate) const CROWDED_BYTES: i64 =
    (PageSizes::DEFAULT.head_bytes + PageSizes::DEFAULT.page_bytes_min).cast_signed();

/// Messages paged out with one sync, bytes in memory. Few enough that little is lost by a slow disk, and many enough
/// that a sync is a small part of the turn.
const TURN_BYTES: i64 = 32 << 20;

/// The part of the budget that messages may take of which the log has a copy.
const STORED_PART: i64 = 8;

/// The node's count. See the module's page.
#[derive(Debug)]
pub struct Paging {
    budget: Resident,
    bytes: AtomicI64,
    stored_bytes: AtomicI64,
    /// Queues that may have something to page out; each is in it once.
    crowded: Mutex<Vec<Weak<LiveQueue>>>,
    /// Whether the pager sleeps until the budget is exceeded.
    sleeps: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// Whether publishers have to wait for the pager.
    is_behind: AtomicBool,
    /// Whether waiting for it is of use: its last turn paged something out.
    gets_on: AtomicBool,
    /// Connections that wait for it.
    waiting: Mutex<Vec<Arc<Mailbox>>>,
}

impl Paging {
    pub(crate) fn new(budget: u64) -> Self {
        let bytes = i64::try_from(budget).unwrap_or(i64::MAX);
        Self {
            budget: Resident {
                bytes,
                stored_bytes: bytes / STORED_PART,
            },
            bytes: AtomicI64::new(0),
            stored_bytes: AtomicI64::new(0),
            crowded: Mutex::default(),
            sleeps: AtomicBool::new(false),
            waker: Mutex::default(),
            is_behind: AtomicBool::new(false),
            gets_on: AtomicBool::new(true),
            waiting: Mutex::default(),
        }
    }

    /// Whether publishers that fill crowded queues have to wait.
    pub fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// Wakes `mailbox` when nobody has to wait any more.
    pub fn wait_for_pager(&self, mailbox: &Arc<Mailbox>) {
        self.waiting.lock().push(mailbox.clone());
        // It may have caught up just before it knew who waits.
        if !self.is_behind() {
            self.wake_waiting();
        }
    }

    fn let_go(&self) {
        if self.is_behind.swap(false, Ordering::AcqRel) {
            self.wake_waiting();
        }
    }

    fn wake_waiting(&self) {
        for mailbox in std::mem::take(&mut *self.waiting.lock()) {
            mailbox.poke();
        }
    }

    /// How a turn of the pager ended.
    fn note_turn(&self, turn: Turn) {
        let gets_on = matches!(turn, Turn::More | Turn::Enough);
        self.gets_on.store(gets_on, Ordering::Release);
        if !gets_on {
            self.let_go();
        }
    }

    /// What the waiting messages of all queues take in memory, bytes, about: each in each of its queues, with what is
    /// remembered of it.
    pub fn resident_bytes(&self) -> u64 {
        self.resident().bytes.try_into().unwrap_or(0)
    }

    /// A queue is counted when it has been worked on: for a moment a sum may be less than nothing.
    fn resident(&self) -> Resident {
        Resident {
            bytes: self.bytes.load(Ordering::Relaxed),
            stored_bytes: self.stored_bytes.load(Ordering::Relaxed),
        }
    }

    /// They take so much more, or less.
    pub(crate) fn add(&self, more: Resident) {
        let add = |to: &AtomicI64, more| more + to.fetch_add(more, Ordering::Relaxed);
        let now = Resident {
            bytes: add(&self.bytes, more.bytes),
            stored_bytes: add(&self.stored_bytes, more.stored_bytes),
        };
        let budget = self.budget.bytes;
        if more.bytes > 0
            && now.bytes > budget.saturating_mul(2)
            && self.gets_on.load(Ordering::Acquire)
        {
            self.is_behind.store(true, Ordering::Release);
        } else if more.bytes < 0 && now.bytes <= budget / 2 * 3 {
            self.let_go();
        }
        if more.bytes > 0
            && now.exceeds(&self.budget)
            && self.sleeps.load(Ordering::Relaxed)
            && self.sleeps.swap(false, Ordering::AcqRel)
            && let Some(waker) = self.waker.lock().take()
        {
            waker.wake();
        }
    }

    /// The queue may have something to page out.
    pub(crate) fn add_crowded(&self, queue: &Arc<LiveQueue>) {
        self.crowded.lock().push(Arc::downgrade(queue));
    }

    /// Those queues with what they have, by `part`, the fullest first.
    fn take_crowded(&self, part: Part) -> Vec<(i64, Arc<LiveQueue>)> {
        let queues = std::mem::take(&mut *self.crowded.lock());
        let alive = queues.iter().filter_map(Weak::upgrade);
        let counted = alive.map(|queue| (part(queue.resident()), queue));
        let mut queues: Vec<_> = counted.collect();
        queues.sort_by_key(|(bytes, queue)| (Reverse(*bytes), queue.id));
        queues
    }
}

/// Which bytes count.
type Part = fn(Resident) -> i64;

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Enough is on disk. [`Pager::poll_needed`] tells when another turn is needed.
    Enough,
    /// More has to go.
    More,
    /// Nothing can be paged out, though it would be needed. Look again a little later.
    Nothing,
    /// Pages can't be written for now, for want of room. Try again later.
    NoRoom,
    /// The log has failed: there is nothing more to do.
    Failed,
}

/// Pages messages out, by turns of whoever has a thread for it.
#[derive(Debug)]
pub struct Pager {
    broker: Arc<Broker>,
    /// The budget was exceeded, and what is resident has not come down to the goal yet.
    working: bool,
}

/// A run of a queue that has been written down.
#[derive(Debug)]
struct Drafted {
    queue: Arc<LiveQueue>,
    leaving: Leaving,
    draft: Draft,
}

impl Pager {
    /// The pager of a node, which needs one.
    pub fn new(broker: Arc<Broker>) -> Self {
        Self {
            broker,
            working: false,
        }
    }

    /// Ready when the budget is exceeded.
    pub fn poll_needed(&self, context: &Context<'_>) -> Poll<()> {
        let paging = &self.broker.paging;
        *paging.waker.lock() = Some(context.waker().clone());
        paging.sleeps.store(true, Ordering::SeqCst);
        // Whoever exceeds it at this very moment may not see that somebody sleeps; the next one will.
        if !paging.resident().exceeds(&paging.budget) {
            return Poll::Pending;
        }
        paging.sleeps.store(false, Ordering::Relaxed);
        Poll::Ready(())
    }

    /// Pages out as much as is worth one sync, if it is needed.
    pub fn turn(&mut self) -> Turn {
        let turn = self.take_turn();
        self.broker.paging.note_turn(turn);
        turn
    }

    fn take_turn(&mut self) -> Turn {
        let paging = &self.broker.paging;
        let goal = Resident {
            bytes: paging.budget.bytes / 4 * 3,
            stored_bytes: paging.budget.stored_bytes / 4 * 3,
        };
        let resident = paging.resident();
        let limit = if self.working { goal } else { paging.budget };
        self.working = resident.exceeds(&limit);
        if !self.working {
            return Turn::Enough;
        }
        let part: Part = if resident.bytes > limit.bytes {
            |resident| resident.bytes
        } else {
            |resident| resident.stored_bytes
        };
        let mut drafts = Vec::new();
        let bytes = part(resident - goal).clamp(TURN_BYTES / 8, TURN_BYTES);
        let end = self.draft(bytes, part, &mut drafts);
        if drafts.is_empty() {
            return end;
        }
        if self.broker.log.sync_drafts().is_err() {
            return Turn::Failed;
        }
        for drafted in drafts {
            self.commit(drafted);
        }
        match end {
            Turn::Nothing => Turn::More,
            end => end,
        }
    }

    /// Makes room where pages were: a bounded piece of work. Gives whether there is more of it.
    pub fn clean(&self) -> Result<bool, Failed> {
        self.broker.log.clean_segments()
    }

    /// Writes down runs of the fullest queues, until they take so many bytes.
    fn draft(&self, mut bytes: i64, part: Part, drafts: &mut Vec<Drafted>) -> Turn {
        let paging = &self.broker.paging;
        let mut end = Turn::Nothing;
        for (held, queue) in paging.take_crowded(part) {
            if held == 0 {
                paging.add_crowded(&queue);
                continue;
            }
            while end == Turn::Nothing
                && let Some(leaving) = queue.page_out()
            {
                let footprint = leaving.resident.bytes;
                match self.draft_one(&queue, leaving) {
                    Ok(drafted) => {
                        drafts.extend(drafted);
                        bytes -= footprint;
                    }
                    Err(turn) => end = turn,
                }
                if bytes <= 0 {
                    end = Turn::More;
                }
            }
            if end != Turn::Nothing {
                paging.add_crowded(&queue);
            }
        }
        end
    }

    /// Writes one run down; gives nothing if its turn came meanwhile. The error ends the pager's turn.
    fn draft_one(&self, queue: &Arc<LiveQueue>, leaving: Leaving) -> Result<Option<Drafted>, Turn> {
        let error = match write(&self.broker.log, queue.id, &leaving) {
            Ok(draft) => {
                let queue = queue.clone();
                return Ok(Some(Drafted {
                    queue,
                    leaving,
                    draft,
                }));
            }
            Err(error) => error,
        };
        queue.give_up_page(&leaving);
        match error {
            PageError::NoSpace => Err(Turn::NoRoom),
            // Messages of the run were consumed while it was written.
            PageError::Gone(_) => Ok(None),
            PageError::NoPage(_) | PageError::Damaged(_) | PageError::Failed(_) => {
                Err(Turn::Failed)
            }
        }
    }

    fn commit(&self, drafted: Drafted) {
        let Drafted {
            queue,
            leaving,
            draft,
        } = drafted;
        let commit = || PageId(self.broker.log.commit_page(draft).0);
        self.broker.paging.add(queue.commit_page(&leaving, commit));
    }
}

/// Writes a run down, without making it a page yet.
fn write(log: &Log, queue: QueueId, leaving: &Leaving) -> Result<Draft, PageError> {
    let inline = |outgoing: &Outgoing| match outgoing {
        Outgoing::Stored { .. } => Vec::new(),
        // When it was published is told by what the queue notes of it.
        Outgoing::Inline { message, .. } => record::encode(Timestamp(0), message),
    };
    let inline: Vec<Vec<u8>> = leaving.records.iter().map(inline).collect();
    let records = leaving.records.iter().zip(&inline);
    let records: Vec<_> = records
        .map(|(outgoing, bytes)| match *outgoing {
            Outgoing::Stored { id, note } => PageRecord::Stored { key: id.0, note },
            Outgoing::Inline { note, .. } => PageRecord::Inline { bytes, note },
        })
        .collect();
    log.draft_page(queue.0, &leaving.meta, &records)
}

fn paged<'a>(record: &storage::PagedRecord<'a>) -> PagedRecord<'a> {
    PagedRecord {
        id: record.key.map_or(MessageId::NONE, MessageId),
        note: record.note,
        is_marked: record.mark != 0,
        bytes: record.bytes,
    }
}

/// The log, where queues read their pages.
#[derive(Debug)]
pub(crate) struct LogPages(pub(crate) Log);

impl PageStore for LogPages {
    fn page_in(
        &self,
        page: PageId,
        each: &mut dyn FnMut(PagedRecord<'_>),
    ) -> Result<(), Unreadable> {
        let mut each = |record: storage::PagedRecord<'_>| each(paged(&record));
        let read = self.0.page_in(storage::PageId(page.0), &mut each);
        read.map_err(|error| Unreadable(error.to_string()))
    }

    fn read_page(
        &self,
        page: PageId,
        each: &mut dyn FnMut(PagedRecord<'_>),
    ) -> Result<(), Unreadable> {
        let mut each = |record: storage::PagedRecord<'_>| each(paged(&record));
        let read = self.0.read_page(storage::PageId(page.0), &mut each);
        read.map_err(|error| Unreadable(error.to_string()))
    }

    fn will_need(&self, page: PageId) {
        self.0.will_need(storage::PageId(page.0));
    }

    fn read(&self, id: MessageId) -> Result<Vec<u8>, Unreadable> {
        let read = self.0.read(id.0);
        read.map_err(|error| Unreadable(error.to_string()))
    }

    fn durable(&self) -> u64 {
        self.0.durable().0
    }

    fn truncate(
        &self,
        stream: QueueId,
        first_offset: u64,
        messages: &[MessageId],
        pages: &[PageId],
    ) {
        let mut records = Records::default();
        records.define(STREAMS, stream.0.into(), &first_offset.to_be_bytes());
        for message in messages {
            records.release(stream.0, message.0);
        }
        for page in pages {
            records.drop_page(storage::PageId(page.0));
        }
        self.0.append(&mut records);
    }
}

/// The log's table for the first offset of each stream that has let messages go (number: the queue's; big endian).
pub(crate) const STREAMS: u8 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn transient(bytes: i64) -> Resident {
        Resident {
            bytes,
            ..Resident::NONE
        }
    }

    fn is_woken(mailbox: &Mailbox) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        mailbox.poll_poked(&mut context).is_ready()
    }

    #[test]
    fn the_pager_is_woken_above_either_budget() {
        let check = |enough: Resident, more: Resident| {
            let paging = Paging::new(800);
            *paging.waker.lock() = Some(Waker::noop().clone());
            paging.sleeps.store(true, Ordering::SeqCst);
            // It is taken to be called.
            let is_woken = || paging.waker.lock().is_none();
            paging.add(enough);
            assert!(!is_woken(), "by {enough:?}");
            paging.add(more);
            assert!(is_woken(), "by {more:?}");
        };
        check(transient(800), transient(1));
        let stored = |bytes| Resident {
            bytes,
            stored_bytes: bytes,
        };
        check(stored(100), stored(1));
    }

    #[test]
    fn publishers_wait_from_twice_the_budget_until_one_and_a_half() {
        let paging = Paging::new(100);
        let mailbox = Arc::<Mailbox>::default();
        paging.add(transient(200));
        assert!(!paging.is_behind());
        paging.add(transient(1));
        assert!(paging.is_behind());
        paging.wait_for_pager(&mailbox);
        paging.add(transient(-50));
        assert!(paging.is_behind() && !is_woken(&mailbox));
        paging.add(transient(-1));
        assert!(!paging.is_behind() && is_woken(&mailbox));
        // Who asks too late is not forgotten.
        paging.wait_for_pager(&mailbox);
        assert!(is_woken(&mailbox));
    }

    #[test]
    fn nobody_waits_for_a_pager_that_does_not_get_on() {
        let paging = Paging::new(100);
        let mailbox = Arc::<Mailbox>::default();
        paging.add(transient(300));
        paging.wait_for_pager(&mailbox);
        paging.note_turn(Turn::More);
        assert!(paging.is_behind() && !is_woken(&mailbox));
        for turn in [Turn::Nothing, Turn::NoRoom] {
            paging.note_turn(turn);
            paging.add(transient(1));
            assert!(!paging.is_behind());
        }
        assert!(is_woken(&mailbox));
        paging.note_turn(Turn::More);
        paging.add(transient(1));
        assert!(paging.is_behind());
    }
}
