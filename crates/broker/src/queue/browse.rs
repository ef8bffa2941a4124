//! Looking at the messages of a queue: those that wait, in the order in which they would leave, and those that are with
//! clients. None of them notices. Nothing is counted, flagged or brought in from disk to stay.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::ops::ControlFlow;

use super::backlog::{Backlog, Entry, Expiry, Lane, Segment};
use super::pages::{Page, Unreadable};
use super::{Consumer, Counts, QueueCore};
use crate::ids::{DeliveryId, MessageId};
use crate::message::Message;
use crate::time::Timestamp;

/// A message that waits, or is with a client.
#[derive(Debug, Clone)]
pub struct Browsed {
    pub message: Message,
    /// Its record in the log, if it has one.
    pub id: MessageId,
    pub standing: Standing,
    pub redelivered: bool,
    pub counts: Counts,
    /// When its time is up, if it has any.
    pub expires_at: Option<Timestamp>,
    pub persistent: bool,
    /// Its offset, in a stream.
    pub offset: Option<u64>,
}

/// Where a message stands in the order of leaving. No two messages of a queue ever share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Higher ones leave first.
    pub(super) level: u16,
    /// Its place in the order of arrival. One that comes back to a quorum queue is given another.
    pub(super) sequence: u64,
}

impl Standing {
    pub fn sequence(self) -> u64 {
        self.sequence
    }
}

/// Where a look at the waiting messages begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the message that so many others come before.
    Offset(u64),
    /// Behind a message that was seen, and may have left since.
    After(Standing),
}

/// Which of the waiting messages are worth a look.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Those that arrived later are not shown.
    pub through: u64,
    /// Pages in which no message can have one of these places in the order of arrival are left out.
    pub places: Option<&'a BTreeSet<u64>>,
}

impl Scope<'_> {
    pub const ALL: Self = Self {
        through: u64::MAX,
        places: None,
    };

    fn leaves_out(&self, page: &Page) -> bool {
        let places = self
            .places
            .map(|places| places.range(page.first..=page.last));
        page.first > self.through || places.is_some_and(|mut places| places.next().is_none())
    }
}

/// A message that a client has not settled yet.
#[derive(Debug)]
pub struct Unacked<'a> {
    pub browsed: Browsed,
    pub since: Timestamp,
    /// The consumer that has it; `None`: it was got.
    pub consumer: Option<&'a Consumer>,
    /// Whether that is still there.
    pub is_attached: bool,
}

/// Whoever looks: has the first few pass by, then sees one after the other until it has seen enough.
struct Visit<'a> {
    skip: u64,
    after: Option<Standing>,
    scope: Scope<'a>,
    see: &'a mut dyn FnMut(Browsed) -> ControlFlow<()>,
}

impl Visit<'_> {
    /// Whether a message is one of those that pass by.
    fn passes(&mut self, level: u16, sequence: u64) -> bool {
        if sequence > self.scope.through || !self.is_behind(level, sequence) {
            return true;
        }
        let passes = self.skip > 0;
        self.skip -= u64::from(passes);
        passes
    }

    fn is_behind(&self, level: u16, sequence: u64) -> bool {
        self.after.is_none_or(|after| {
            level < after.level || level == after.level && sequence > after.sequence
        })
    }
}

impl QueueCore {
    /// Shows the ready messages of `scope` from `start` on, for as long as `see` goes on.
    ///
    /// # Errors
    /// A page can't be read. What was shown so far is right.
    pub fn browse(
        &self,
        start: Start,
        scope: Scope<'_>,
        see: &mut dyn FnMut(Browsed) -> ControlFlow<()>,
    ) -> Result<(), Unreadable> {
        let (skip, after) = match start {
            Start::Offset(skip) => (skip, None),
            Start::After(standing) => (0, Some(standing)),
        };
        let is_stream = self.stream.is_some();
        let mut see = |mut browsed: Browsed| {
            if is_stream {
                // There it is when the message came.
                browsed.expires_at = None;
                browsed.offset = Some(browsed.standing.sequence - 1);
            }
            see(browsed)
        };
        let mut visit = Visit {
            skip,
            after,
            scope,
            see: &mut see,
        };
        for lane in self.backlog().lanes() {
            if after.is_some_and(|after| lane.level() > after.level) {
                continue;
            }
            let mut look = Look::at(self.backlog(), lane, &mut visit);
            if look.show_all()?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The deliveries that are not settled, with the places of their messages in the order of arrival; in no order.
    pub fn unsettled_ids(&self) -> impl Iterator<Item = (u64, DeliveryId)> {
        let unsettled = self.unsettled().iter();
        unsettled.map(|(id, unsettled)| (unsettled.taken.entry.sequence, id))
    }

    /// A delivery, if it is not settled.
    ///
    /// # Errors
    /// Its message is in the log alone, and can't be read there.
    pub fn unacked(&self, id: DeliveryId) -> Result<Option<Unacked<'_>>, Unreadable> {
        let Some(unsettled) = self.unsettled().get(id) else {
            return Ok(None);
        };
        let entry = &unsettled.taken.entry;
        let mut browsed = browsed(u16::from(entry.priority), entry, unsettled.taken.counts);
        if unsettled.left_in_log.is_some() {
            browsed.message = self.read(entry).map_err(Unreadable)?;
        }
        Ok(Some(Unacked {
            browsed,
            since: unsettled.since,
            consumer: self.holder(unsettled.holder),
            is_attached: self.is_attached(unsettled.holder),
        }))
    }
}

fn browsed(level: u16, entry: &Entry, counts: Counts) -> Browsed {
    Browsed {
        message: entry.message.clone(),
        id: entry.id,
        standing: Standing {
            level,
            sequence: entry.sequence,
        },
        redelivered: entry.marks.redelivered(),
        counts,
        expires_at: (entry.expiry != Expiry::NEVER).then(|| entry.expiry.time()),
        persistent: entry.marks.persistent(),
        offset: None,
    }
}

/// A look at one lane. Its parts are nearly in order: those that came back into the middle lie apart, and the pages of an
/// earlier process overlap.
struct Look<'a, 'v, 's, B: Iterator<Item = &'a Entry>> {
    backlog: &'a Backlog,
    lane: &'a Lane,
    visit: &'v mut Visit<'s>,
    between: Peekable<B>,
    /// Those seen already that come after the part they are in.
    later: BTreeMap<u64, Entry>,
}

impl<'a, 'v, 's> Look<'a, 'v, 's, Box<dyn Iterator<Item = &'a Entry> + 'a>> {
    fn at(backlog: &'a Backlog, lane: &'a Lane, visit: &'v mut Visit<'s>) -> Self {
        let between: Box<dyn Iterator<Item = &'a Entry> + 'a> = Box::new(lane.between());
        Self {
            backlog,
            lane,
            visit,
            between: between.peekable(),
            later: BTreeMap::new(),
        }
    }

    fn show_all(&mut self) -> Result<ControlFlow<()>, Unreadable> {
        let mut parts = self.lane.behind().peekable();
        let after = self.visit.after.filter(|it| it.level == self.lane.level());
        let head = self.lane.head_from(after.map_or(0, |it| it.sequence));
        let next = parts.peek().map_or(u64::MAX, |next| next.first());
        for entry in head {
            if self.pass(entry, next).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        while let Some(part) = parts.next() {
            let next = parts.peek().map_or(u64::MAX, |next| next.first());
            if self.show_part(part, next)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(self.show_before(u64::MAX))
    }

    /// Shows a part, of which what does not come before `next` has to wait.
    fn show_part(&mut self, part: &Segment, next: u64) -> Result<ControlFlow<()>, Unreadable> {
        match part {
            Segment::Waiting(line) | Segment::Leaving(_, line) => {
                let mut entries = line.iter();
                Ok(entries.try_for_each(|entry| self.pass(entry, next)))
            }
            Segment::Paged(page) if self.leaves_out(page, next) => Ok(ControlFlow::Continue(())),
            Segment::Paged(page) => {
                self.read(page)?;
                Ok(self.show_before(next))
            }
        }
    }

    /// Whether nothing of a page is to be shown, which so need not be read.
    fn leaves_out(&mut self, page: &Page, next: u64) -> bool {
        let level = self.lane.level();
        if self.visit.scope.leaves_out(page) || !self.visit.is_behind(level, page.last) {
            return true;
        }
        let is_apart = self.later.is_empty() && page.last < next && !self.lane.is_mixed(page);
        let is_skipped = is_apart && self.visit.skip >= page.held.count;
        if is_skipped {
            self.visit.skip -= page.held.count;
        }
        is_skipped
    }

    fn read(&mut self, page: &Page) -> Result<(), Unreadable> {
        let Some(store) = self.backlog.store() else {
            return Ok(());
        };
        store.read_page(page.id, &mut |record| {
            if let Ok(entry) = page.entry(self.lane.level(), &record) {
                self.later.insert(entry.sequence, entry);
            }
        })
    }

    fn pass(&mut self, entry: &Entry, next: u64) -> ControlFlow<()> {
        self.show_before(entry.sequence)?;
        if entry.sequence < next {
            return self.show(entry);
        }
        self.later.insert(entry.sequence, entry.clone());
        ControlFlow::Continue(())
    }

    /// Shows those that lie apart and come before a place.
    fn show_before(&mut self, sequence: u64) -> ControlFlow<()> {
        loop {
            let between = self.between.peek().map(|entry| entry.sequence);
            let between = between.filter(|first| *first < sequence);
            let later = self.later.first_key_value().map(|(first, _)| *first);
            match (between, later.filter(|first| *first < sequence)) {
                (Some(between), later) if later.is_none_or(|later| between < later) => {
                    if let Some(entry) = self.between.next() {
                        self.show(entry)?;
                    }
                }
                (_, Some(_)) => {
                    if let Some((_, entry)) = self.later.pop_first() {
                        self.show(&entry)?;
                    }
                }
                _ => return ControlFlow::Continue(()),
            }
        }
    }

    fn show(&mut self, entry: &Entry) -> ControlFlow<()> {
        let level = self.lane.level();
        if self.visit.passes(level, entry.sequence) {
            return ControlFlow::Continue(());
        }
        (self.visit.see)(browsed(level, entry, self.backlog.counts_of(entry)))
    }
}
