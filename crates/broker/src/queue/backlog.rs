//! The messages that wait, in the order they will leave.
//!
//! ```text
//! level 256   returned (quorum queues)   · · ·
//! level 9                                · · · · ·
//! level 4                                · · ·          <- only levels in use have a lane
//!                                        ^ head    ^ tail
//! ```
//!
//! The next message is the head of the highest lane. Every lane is sorted by sequence number, the order of arrival, so
//! a message that comes back finds its old place again: nearly always before the head or behind the tail, otherwise in
//! a small tree beside the lane, which costs O(log n).
//!
//! Of a long lane only the head and the tail are in memory, the middle is on disk ([`super::pages`]). It is read a page
//! at a time, when the head has been used up. What has counts (it came back to a quorum queue) stays in memory, and so
//! does what came back into the middle of a classic one.

mod parts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tracing::error;

pub(super) use parts::{Front, Part};

use super::line::Line;
use super::pages::{self, Held, Leaving, Measure, Page, PageSizes, PageStore, Resident};
use super::{Counts, Standing};
use crate::ids::{MessageId, PageId};
use crate::message::Message;
use crate::time::Timestamp;

/// What the queue remembers of a message: 64 bytes, since a backlog has millions of them.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) message: Message,
    /// Its place in the order of arrival; unique in the queue.
    pub(super) sequence: u64,
    pub(super) id: MessageId,
    pub(super) expiry: Expiry,
    pub(super) priority: u8,
    pub(super) marks: Marks,
}

const _: () = assert!(size_of::<Entry>() <= 64);

impl Entry {
    pub(super) fn bytes(&self) -> u64 {
        self.message.body().len() as u64
    }

    /// The same, of a message that is not persistent alone.
    pub(super) fn transient_bytes(&self) -> u64 {
        if self.marks.persistent() {
            0
        } else {
            self.bytes()
        }
    }

    /// What it costs to have it in memory, bytes: itself, and what there is of the message.
    pub(super) fn footprint(&self) -> u64 {
        (size_of::<Self>() + self.message.footprint()) as u64
    }

    /// The same, as it is counted.
    pub(super) fn resident(&self) -> Resident {
        let bytes = self.footprint().cast_signed();
        Resident {
            bytes,
            stored_bytes: if self.id.is_stored() { bytes } else { 0 },
        }
    }
}

/// When a message expires, or in a stream, when it came; in 48 bits: milliseconds since the epoch, enough for 8900 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expiry([u8; 6]);

impl Expiry {
    pub(super) const NEVER: Self = Self([0xff; 6]);

    pub(super) fn at(time: Timestamp) -> Self {
        let bytes = time.0.to_be_bytes();
        match bytes {
            [0, 0, rest @ ..] => Self(rest),
            _ => Self::NEVER,
        }
    }

    pub(super) fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    pub(super) fn to_bytes(self) -> [u8; 6] {
        self.0
    }

    /// The far end of time for a message that does not expire.
    pub(super) fn time(self) -> Timestamp {
        if self == Self::NEVER {
            return Timestamp::NEVER;
        }
        let [a, b, c, d, e, f] = self.0;
        Timestamp(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

/// Yes-or-no facts about a message, in one byte.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks(u8);

impl Marks {
    const REDELIVERED: u8 = 1;
    const PERSISTENT: u8 = 2;

    pub(super) fn new(redelivered: bool, persistent: bool) -> Self {
        let bit = |yes, bit| if yes { bit } else { 0 };
        Self(bit(redelivered, Self::REDELIVERED) | bit(persistent, Self::PERSISTENT))
    }

    pub(super) fn redelivered(self) -> bool {
        self.0 & Self::REDELIVERED != 0
    }

    pub(super) fn persistent(self) -> bool {
        self.0 & Self::PERSISTENT != 0
    }

    pub(super) fn set_redelivered(&mut self) {
        self.0 |= Self::REDELIVERED;
    }
}

/// An entry outside the backlog. In it, the counts of the few messages that have any lie apart.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) entry: Entry,
    pub(super) counts: Counts,
}

impl Taken {
    /// A message that has not been handed out in vain.
    pub(super) fn new(entry: Entry) -> Self {
        Self {
            entry,
            counts: Counts::default(),
        }
    }
}

/// The waiting messages. See the module's page.
#[derive(Debug)]
pub(super) struct Backlog {
    /// The lanes with at least one message, highest level first.
    lanes: Vec<Lane>,
    /// Lanes that ran empty, kept so that a queue that hovers around empty does not allocate.
    spare: Vec<Lane>,
    /// Nothing at the head of a lane expires before this. It may be early, never late.
    next_expiry: Timestamp,
    /// Something here may expire, or might since there was last nothing here.
    has_expiry: bool,
    /// Pages that may be read for their expired messages until [`Backlog::start_expiry`].
    expiry_pages_left: u32,
    /// Those on disk included.
    length: u64,
    bytes: u64,
    /// What those in memory take there.
    resident: Resident,
    /// Where pages are; without it there are none.
    store: Option<Arc<dyn PageStore>>,
    /// What most queues never have, apart, so that they are small.
    rare: Option<Box<Rare>>,
}

/// See [`Backlog::rare`].
#[derive(Debug, Default)]
struct Rare {
    /// Counts by sequence number.
    counts: BTreeMap<u64, Counts>,
    /// The number of the next run to be paged out.
    next_run: u64,
    /// What messages that are not persistent make of the bytes of those that wait, and of those that are handed out.
    transient_bytes: u64,
    /// What is in pages.
    paged: Held,
    /// Messages that are handed out and of which only the log has the body, and their bytes.
    left: (u64, u64),
    /// Persistent messages of pages that could not be read.
    lost_persistent: u64,
    /// Messages from pages that came back once, of which the log may not know: it was told when they were on their way.
    unmarked: Vec<MessageId>,
}

/// A run's messages, which are on disk now: to be let go without a lock.
#[derive(Debug)]
pub struct Freed(#[expect(dead_code, reason = "to be dropped")] Line<Entry>);

/// Pages that an op may read for their expired messages. Dead-lettered, they are in memory all at once.
const EXPIRY_PAGES: u32 = 32;

/// Above every priority: what comes back in a quorum queue goes first.
pub(super) const RETURNED: u16 = 256;

impl Backlog {
    pub(super) const fn new() -> Self {
        Self {
            lanes: Vec::new(),
            spare: Vec::new(),
            next_expiry: Timestamp::NEVER,
            has_expiry: false,
            expiry_pages_left: 0,
            length: 0,
            bytes: 0,
            resident: Resident::NONE,
            store: None,
            rare: None,
        }
    }

    pub(super) fn set_store(&mut self, store: Arc<dyn PageStore>) {
        self.store = Some(store);
    }

    pub(super) fn store(&self) -> Option<&dyn PageStore> {
        self.store.as_deref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.length
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What messages that are not persistent make of the bytes here and of those that are handed out.
    pub(super) fn transient_bytes(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.transient_bytes)
    }

    /// A message is here, or is handed out.
    #[inline]
    pub(super) fn count_in(&mut self, entry: &Entry) {
        if !entry.marks.persistent() {
            self.rare.get_or_insert_default().transient_bytes += entry.bytes();
        }
    }

    /// It is so no longer.
    #[inline]
    pub(super) fn count_out(&mut self, entry: &Entry) {
        if !entry.marks.persistent() {
            self.rare.get_or_insert_default().transient_bytes -= entry.bytes();
        }
    }

    /// What is on disk.
    pub(super) fn paged(&self) -> Held {
        self.rare
            .as_ref()
            .map_or_else(Held::default, |rare| rare.paged)
    }

    /// How many messages are handed out and left in the log alone, and how many bytes they have.
    pub(super) fn left(&self) -> (u64, u64) {
        self.rare.as_ref().map_or((0, 0), |rare| rare.left)
    }

    /// A message that is handed out is left in the log alone.
    pub(super) fn leave_in_log(&mut self, bytes: u32) {
        let (count, all) = &mut self.rare.get_or_insert_default().left;
        (*count, *all) = (*count + 1, *all + u64::from(bytes));
    }

    /// Such a message is settled, or has come back.
    pub(super) fn come_from_log(&mut self, bytes: u32) {
        let (count, all) = &mut self.rare.get_or_insert_default().left;
        (*count, *all) = (*count - 1, *all - u64::from(bytes));
    }

    /// How many messages there are of each level that has any, highest level first.
    pub(super) fn levels(&self) -> impl Iterator<Item = (u16, u64)> {
        self.lanes.iter().map(|lane| (lane.level, lane.count()))
    }

    /// What those in memory take there.
    pub(super) fn resident(&self) -> Resident {
        self.resident
    }

    /// Persistent messages of pages that could not be read.
    pub(super) fn lost_persistent(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.lost_persistent)
    }

    /// Whether there are messages of which the log may not know that they came back.
    pub(super) fn has_unmarked(&self) -> bool {
        self.rare
            .as_ref()
            .is_some_and(|rare| !rare.unmarked.is_empty())
    }

    /// Takes the messages of which the log may not know that they came back.
    pub(super) fn take_unmarked(&mut self) -> Vec<MessageId> {
        let rare = self.rare.as_mut();
        rare.map_or_else(Vec::new, |rare| std::mem::take(&mut rare.unmarked))
    }

    /// The first place in the order of arrival that a message here has. Costs as much as there are levels.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.lanes.iter().filter_map(Lane::oldest).min()
    }

    /// When the next head expires, or earlier.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        (self.next_expiry != Timestamp::NEVER).then_some(self.next_expiry)
    }

    /// Puts an entry that has just come behind all others of its priority: its sequence number is above theirs.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        let level = entry.priority.into();
        self.put(level, entry, |lane, entry| lane.tail().push_back(entry));
    }

    /// Puts an entry into the lane of its priority, at the place its sequence number says.
    pub(super) fn insert(&mut self, taken: Taken) {
        let level = u16::from(taken.entry.priority);
        self.insert_at(level, taken);
    }

    /// Puts an entry ahead of all that have not come back, at the place among those that have that its sequence number says.
    pub(super) fn insert_returned(&mut self, taken: Taken) {
        self.insert_at(RETURNED, taken);
    }

    fn insert_at(&mut self, level: u16, Taken { entry, counts }: Taken) {
        if counts != Counts::default() {
            let rare = self.rare.get_or_insert_default();
            rare.counts.insert(entry.sequence, counts);
        }
        self.put(level, entry, Lane::insert);
    }

    #[inline]
    fn put(&mut self, level: u16, entry: Entry, insert: impl FnOnce(&mut Lane, Entry)) {
        self.length += 1;
        self.bytes += entry.bytes();
        self.count_in(&entry);
        self.resident += entry.resident();
        self.has_expiry |= entry.expiry != Expiry::NEVER;
        let soon = entry.expiry.time() < self.next_expiry;
        let lane = self.lane(level);
        insert(lane, entry);
        // It matters only if it has become the head.
        if soon {
            let head = lane.head_expiry();
            self.next_expiry = self.next_expiry.min(head);
        }
    }

    /// Takes the next message.
    pub(super) fn pop(&mut self) -> Option<Taken> {
        self.has_head().then(|| self.pop_head())
    }

    /// The same, where [there is one](Self::has_head).
    pub(super) fn pop_head(&mut self) -> Taken {
        self.pop_from(0)
    }

    /// Whether there is a next message. It is in memory afterwards.
    pub(super) fn has_head(&mut self) -> bool {
        while let Some(first) = self.lanes.first() {
            if first.has_head() {
                return true;
            }
            self.bring_in(0);
        }
        false
    }

    /// An op begins: it may look for expired messages on disk.
    pub(super) fn start_expiry(&mut self) {
        self.expiry_pages_left = EXPIRY_PAGES;
    }

    /// `false`: no head has expired. Costs one comparison.
    pub(super) fn may_have_expired(&self, now: Timestamp) -> bool {
        self.next_expiry <= now
    }

    /// Whether a head has expired, as far as is known of those on disk.
    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.next_expiry <= now && self.lanes.iter().any(|lane| lane.head_expiry() <= now)
    }

    /// Takes a message that has expired from the head of any lane. `None` while there still are some: too many pages have
    /// been read for it; [`Self::next_expiry`] stays due.
    pub(super) fn pop_expired(&mut self, now: Timestamp) -> Option<Taken> {
        if now < self.next_expiry {
            return None;
        }
        let expired = |lane: &Lane| lane.head_expiry() <= now;
        while let Some(at) = self.lanes.iter().position(expired) {
            if self.lanes[at].has_head() {
                return Some(self.pop_from(at));
            }
            if self.expiry_pages_left == 0 {
                return None;
            }
            // What is known of a page may be early.
            self.expiry_pages_left -= 1;
            self.bring_in(at);
        }
        let heads = self.lanes.iter().map(Lane::head_expiry);
        self.next_expiry = heads.min().unwrap_or(Timestamp::NEVER);
        None
    }

    fn pop_from(&mut self, at: usize) -> Taken {
        let lane = &mut self.lanes[at];
        let entry = lane.pop().expect("seen to have a head in memory");
        if lane.is_empty() {
            self.retire(at);
        } else if self.has_expiry {
            self.next_expiry = self.next_expiry.min(lane.head_expiry());
        }
        self.let_go(entry)
    }

    /// Takes messages out of their turn, those of them that wait. What is in pages is read in for it.
    pub(super) fn take(&mut self, standings: &[Standing]) -> Vec<Taken> {
        let mut wanted: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
        for standing in standings {
            wanted
                .entry(standing.level)
                .or_default()
                .push(standing.sequence);
        }
        let mut found = Vec::new();
        // Highest levels first, as they would leave.
        for (level, mut sequences) in wanted.into_iter().rev() {
            sequences.sort_unstable();
            self.take_from(level, &sequences, &mut found);
        }
        found.into_iter().map(|entry| self.let_go(entry)).collect()
    }

    /// Takes messages of one level out of its lane.
    fn take_from(&mut self, level: u16, sequences: &[u64], found: &mut Vec<Entry>) {
        let Some(at) = self.lanes.iter().position(|lane| lane.level == level) else {
            return;
        };
        let mut lane = std::mem::take(&mut self.lanes[at]);
        let first = found.len();
        lane.take(sequences, |page| self.read_in(level, page), found);
        found[first..].sort_unstable_by_key(|entry| entry.sequence);
        self.next_expiry = self.next_expiry.min(lane.head_expiry());
        self.lanes[at] = lane;
        if self.lanes[at].is_empty() {
            self.retire(at);
        }
    }

    /// A message has left its lane.
    fn let_go(&mut self, entry: Entry) -> Taken {
        self.length -= 1;
        self.bytes -= entry.bytes();
        self.count_out(&entry);
        self.resident -= entry.resident();
        let rare = self.rare.as_mut();
        let counts = rare.and_then(|rare| rare.counts.remove(&entry.sequence));
        let counts = counts.unwrap_or_default();
        Taken { entry, counts }
    }

    /// The lanes, the first to leave first.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter()
    }

    pub(super) fn counts_of(&self, entry: &Entry) -> Counts {
        let rare = self.rare.as_ref();
        let counts = rare.and_then(|rare| rare.counts.get(&entry.sequence));
        counts.copied().unwrap_or_default()
    }

    /// [`Self::resident`], counted anew.
    #[cfg(test)]
    pub(super) fn recount_resident(&self) -> Resident {
        let lines = self.lanes.iter().flat_map(|lane| {
            let behind = lane.behind.iter().filter_map(|segment| match segment {
                Segment::Waiting(line) | Segment::Leaving(_, line) => Some(line),
                Segment::Paged(_) => None,
            });
            std::iter::once(&lane.line).chain(behind)
        });
        let between = self.lanes.iter().flat_map(|lane| lane.between.values());
        let entries = lines.flat_map(Line::iter).chain(between);
        entries.map(Entry::resident).sum()
    }

    /// Takes a lane that ran empty out of the list.
    fn retire(&mut self, at: usize) {
        let lane = self.lanes.remove(at);
        self.spare.push(lane);
        if self.lanes.is_empty() {
            self.next_expiry = Timestamp::NEVER;
            self.has_expiry = false;
        }
    }

    /// The lane of a level, which the caller must not leave empty.
    #[inline]
    fn lane(&mut self, level: u16) -> &mut Lane {
        let at = self.lanes.partition_point(|lane| lane.level > level);
        if self.lanes.get(at).is_none_or(|lane| lane.level != level) {
            let mut lane = self.spare.pop().unwrap_or_default();
            lane.level = level;
            self.lanes.insert(at, lane);
        }
        &mut self.lanes[at]
    }
}

// Paging. See the page of `pages`.

impl Backlog {
    /// Names a run of messages to be written to a page: the one that waits longest.
    pub(super) fn page_out(&mut self, sizes: &PageSizes) -> Option<Leaving> {
        let number = self.rare.get_or_insert_default().next_run;
        let lanes = self.lanes.iter_mut().rev();
        let mut pageable = lanes.filter(|lane| lane.level != RETURNED);
        let leaving = pageable.find_map(|lane| lane.page_out(number, sizes))?;
        self.rare.get_or_insert_default().next_run += 1;
        Some(leaving)
    }

    /// Puts a page in the place of a run, if the run still waits.
    pub(super) fn commit_page(
        &mut self,
        leaving: &Leaving,
        commit: impl FnOnce() -> PageId,
    ) -> Option<Freed> {
        let segment = self.find_run(leaving)?;
        let (entries, held) = segment.replace_run(commit)?;
        self.resident -= leaving.resident;
        self.rare.get_or_insert_default().paged.gain(&held);
        Some(Freed(entries))
    }

    /// A run will not become a page: its messages only wait.
    pub(super) fn give_up_page(&mut self, leaving: &Leaving) {
        if let Some(segment) = self.find_run(leaving) {
            segment.give_up_run();
        }
    }

    fn find_run(&mut self, leaving: &Leaving) -> Option<&mut Segment> {
        let mut lanes = self.lanes.iter_mut();
        let lane = lanes.find(|lane| lane.level == leaving.level)?;
        let mut segments = lane.behind.iter_mut().rev();
        segments.find(|segment| segment.is_run(leaving.number))
    }

    /// Puts a page found at start behind all messages of its level.
    pub(super) fn insert_page(&mut self, level: u16, page: Page) {
        self.length += page.held.count;
        self.bytes += page.held.bytes;
        let rare = self.rare.get_or_insert_default();
        rare.paged.gain(&page.held);
        rare.transient_bytes += page.held.transient_bytes;
        self.has_expiry = true;
        let lane = self.lane(level);
        lane.behind.push_back(Segment::Paged(page));
        let head = lane.head_expiry();
        self.next_expiry = self.next_expiry.min(head);
    }

    pub(super) fn pages(&self) -> impl Iterator<Item = PageId> {
        let segments = self.lanes.iter().flat_map(|lane| &lane.behind);
        segments.filter_map(|segment| match segment {
            Segment::Paged(page) => Some(page.id),
            Segment::Waiting(_) | Segment::Leaving(..) => None,
        })
    }

    /// Drops all pages unread. Gives what was in them.
    pub(super) fn drop_pages(&mut self, mut dropped: impl FnMut(PageId)) -> Held {
        let mut all = Held::default();
        for lane in &mut self.lanes {
            lane.behind.retain(|segment| {
                let Segment::Paged(page) = segment else {
                    return true;
                };
                all.gain(&page.held);
                dropped(page.id);
                false
            });
        }
        self.length -= all.count;
        self.bytes -= all.bytes;
        if let Some(rare) = &mut self.rare {
            rare.paged = Held::default();
            rare.transient_bytes -= all.transient_bytes;
        }
        for at in (0..self.lanes.len()).rev() {
            if self.lanes[at].is_empty() {
                self.retire(at);
            }
        }
        all
    }

    /// Makes what is next of a lane its head, which has none in memory. The lane may turn out to be empty.
    fn bring_in(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        match lane.behind.pop_front() {
            Some(Segment::Waiting(line) | Segment::Leaving(_, line)) => lane.put_in_line(line),
            Some(Segment::Paged(page)) => self.page_in(at, &page),
            None => {}
        }
        if self.lanes[at].is_empty() {
            self.retire(at);
        }
    }

    fn page_in(&mut self, at: usize, page: &Page) {
        let line = self.read_in(self.lanes[at].level, page);
        let lane = &mut self.lanes[at];
        lane.put_in_line(line);
        if let Some(store) = &self.store
            && let Some(Segment::Paged(next)) = lane.behind.front()
        {
            store.will_need(next.id);
        }
    }

    /// Reads a page, which is gone afterwards.
    fn read_in(&mut self, level: u16, page: &Page) -> Line<Entry> {
        let mut found = Held::default();
        let mut entries = Vec::new();
        let mut damage = None;
        let read = self.store.as_deref().map(|store| {
            store.page_in(page.id, &mut |record| match page.entry(level, &record) {
                Ok(entry) => {
                    found.add(&entry);
                    self.resident += entry.resident();
                    let came_back = pages::was_delivered(record.note);
                    if entry.id.is_stored() && came_back && !record.is_marked {
                        let rare = self.rare.get_or_insert_default();
                        rare.unmarked.push(entry.id);
                    }
                    entries.push(entry);
                }
                Err(error) => damage = Some(error),
            })
        });
        if !page.is_in_order() {
            entries.sort_unstable_by_key(|entry| entry.sequence);
        }
        let mut line = Line::new();
        entries.into_iter().for_each(|entry| line.push_back(entry));
        let rare = self.rare.get_or_insert_default();
        rare.paged.lose(&page.held);
        if found != page.held {
            error!(page = page.id.0, ?read, ?damage, expected = ?page.held, ?found, "messages of a page are lost");
            self.length = self.length - page.held.count + found.count;
            self.bytes = self.bytes - page.held.bytes + found.bytes;
            rare.transient_bytes =
                rare.transient_bytes - page.held.transient_bytes + found.transient_bytes;
            rare.lost_persistent += page.held.persistent.saturating_sub(found.persistent);
        }
        line
    }
}

/// The messages of one level.
#[derive(Debug, Default)]
pub(super) struct Lane {
    level: u16,
    /// The head; all of them, as long as nothing is paged out. Ascending by sequence number.
    line: Line<Entry>,
    /// What comes after the head, in its order.
    behind: VecDeque<Segment>,
    /// Those that came back into the middle.
    between: BTreeMap<u64, Entry>,
}

/// A part of a lane, never empty.
#[derive(Debug)]
pub(super) enum Segment {
    /// In memory.
    Waiting(Line<Entry>),
    /// The run with this number, in memory until it has been written to a page.
    Leaving(u64, Line<Entry>),
    /// On disk.
    Paged(Page),
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.line.is_empty() && self.behind.is_empty() && self.between.is_empty()
    }

    pub(super) fn level(&self) -> u16 {
        self.level
    }

    fn count(&self) -> u64 {
        let behind: u64 = self.behind.iter().map(Segment::count).sum();
        self.line.len() + behind + self.between.len() as u64
    }

    /// The entries of its head from a place on.
    pub(super) fn head_from(&self, sequence: u64) -> impl Iterator<Item = &Entry> {
        self.line.iter_from(move |entry| entry.sequence < sequence)
    }

    /// What comes after the head, in its order.
    pub(super) fn behind(&self) -> impl Iterator<Item = &Segment> {
        self.behind.iter()
    }

    /// Those that came back into the middle, in their order.
    pub(super) fn between(&self) -> impl Iterator<Item = &Entry> {
        self.between.values()
    }

    /// Takes out what is there of `sequences`, which are in order.
    fn take(
        &mut self,
        sequences: &[u64],
        mut read_in: impl FnMut(&Page) -> Line<Entry>,
        found: &mut Vec<Entry>,
    ) {
        for sequence in sequences {
            let between = self.between.remove(sequence);
            found.extend(between.or_else(|| take_from_line(&mut self.line, *sequence)));
        }
        for segment in &mut self.behind {
            let from = sequences.partition_point(|it| *it < segment.first());
            let to = sequences.partition_point(|it| *it <= segment.last());
            if from < to {
                let line = segment.in_memory(&mut read_in);
                let taken = sequences[from..to].iter();
                found.extend(taken.filter_map(|sequence| take_from_line(line, *sequence)));
            }
        }
        self.behind.retain(|segment| !segment.is_empty());
    }

    /// Whether some of those that came back have their place before the end of this page.
    pub(super) fn is_mixed(&self, page: &Page) -> bool {
        self.between.range(..page.last).next().is_some()
    }

    fn insert(&mut self, entry: Entry) {
        let sequence = entry.sequence;
        if self.last().is_none_or(|last| last < sequence) {
            self.tail().push_back(entry);
        } else if self.first().is_some_and(|first| sequence < first) {
            self.line.push_front(entry);
        } else {
            self.between.insert(sequence, entry);
        }
    }

    /// Puts what comes next into the line: behind it, or where pages of an earlier process overlap, among it.
    fn put_in_line(&mut self, mut next: Line<Entry>) {
        if self.line.is_empty() {
            self.line = next;
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        let sequence = |line: &Line<Entry>| line.front().map(|first| first.sequence);
        loop {
            let from = match (sequence(&line), sequence(&next)) {
                (Some(here), Some(there)) if here < there => &mut line,
                (Some(_), None) => &mut line,
                _ => &mut next,
            };
            let Some(entry) = from.pop_front() else {
                return;
            };
            self.line.push_back(entry);
        }
    }

    /// The line that new messages join.
    #[inline]
    fn tail(&mut self) -> &mut Line<Entry> {
        if self.behind.is_empty() {
            return &mut self.line;
        }
        if !matches!(self.behind.back(), Some(Segment::Waiting(_))) {
            self.behind.push_back(Segment::Waiting(Line::new()));
        }
        match self.behind.back_mut() {
            Some(Segment::Waiting(tail)) => tail,
            _ => &mut self.line,
        }
    }

    /// The sequence number of the first message, but for those between.
    fn first(&self) -> Option<u64> {
        match self.line.front() {
            Some(first) => Some(first.sequence),
            None => self.behind.front().map(Segment::first),
        }
    }

    /// The first of all sequence numbers.
    fn oldest(&self) -> Option<u64> {
        let line = self.line.front().map(|first| first.sequence);
        let behind = self.behind.front().map(Segment::first);
        let between = self.between.first_key_value();
        let between = between.map(|(sequence, _)| *sequence);
        [line, behind, between].into_iter().flatten().min()
    }

    fn last(&self) -> Option<u64> {
        match self.behind.back() {
            Some(segment) => Some(segment.last()),
            None => self.line.back().map(|last| last.sequence),
        }
    }

    /// Whether the head is one of those that came back into the middle, as far as they and the line go.
    #[inline]
    fn head_is_between(&self) -> bool {
        let Some((&sequence, _)) = self.between.first_key_value() else {
            return false;
        };
        let first = self.line.front();
        first.is_none_or(|first| sequence < first.sequence)
    }

    /// The first that is in memory, besides what is behind.
    #[inline]
    fn at_hand(&self) -> Option<&Entry> {
        if self.head_is_between() {
            return self.between.first_key_value().map(|(_, entry)| entry);
        }
        self.line.front()
    }

    /// Whether the head is in memory. What is behind the line may come before it all the same: pages of an earlier process
    /// overlap where publishers were not queued in the order of their ids.
    #[inline]
    fn has_head(&self) -> bool {
        let Some(next) = self.behind.front() else {
            return self.at_hand().is_some();
        };
        self.at_hand()
            .is_some_and(|head| head.sequence < next.first())
    }

    #[inline]
    pub(super) fn head_expiry(&self) -> Timestamp {
        match self.at_hand().filter(|_| self.has_head()) {
            Some(head) => head.expiry.time(),
            None => self
                .behind
                .front()
                .map_or(Timestamp::NEVER, Segment::head_expiry),
        }
    }

    /// Takes the head, if it is in memory.
    fn pop(&mut self) -> Option<Entry> {
        if self.head_is_between() {
            return self.between.pop_first().map(|(_, entry)| entry);
        }
        self.line.pop_front()
    }

    /// Cuts a run off what waits, from the last part that is long enough.
    fn page_out(&mut self, number: u64, sizes: &PageSizes) -> Option<Leaving> {
        let last = (0..self.behind.len()).rev();
        last.filter_map(|at| self.cut_run(at, number, sizes))
            .next()
            .or_else(|| {
                self.split_head(sizes);
                self.cut_run(0, number, sizes)
            })
    }

    fn cut_run(&mut self, at: usize, number: u64, sizes: &PageSizes) -> Option<Leaving> {
        let Some(Segment::Waiting(line)) = self.behind.get_mut(at) else {
            return None;
        };
        let mut measure = Measure::default();
        let is_full = !line.iter().all(|entry| measure.takes(entry, sizes));
        if !is_full && measure.footprint < sizes.page_bytes_min {
            return None;
        }
        let run = line.take_front(measure.count);
        if line.is_empty() {
            self.behind.remove(at);
        }
        let leaving = pages::describe(number, self.level, run.iter());
        self.behind.insert(at, Segment::Leaving(number, run));
        Some(leaving)
    }

    /// Parts a long head in two. One that is followed by pages may consist of one that has just been read, and of what
    /// is returned to it meanwhile.
    fn split_head(&mut self, sizes: &PageSizes) {
        let next = self.behind.front().map(Segment::first);
        let last = self.line.back().map(|last| last.sequence);
        if next.is_some_and(|next| last.is_some_and(|last| next < last)) {
            // The line and what is behind it overlap, and are to be merged first.
            return;
        }
        let just_read = if self.behind.is_empty() {
            0
        } else {
            4 * sizes.page_bytes
        };
        let mut footprint = 0;
        let mut kept = 0;
        let least = sizes.head_bytes + sizes.page_bytes_min + just_read;
        let is_long = self.line.iter().any(|entry| {
            footprint += entry.footprint();
            kept += usize::from(footprint <= sizes.head_bytes);
            footprint > least
        });
        if is_long {
            let head = self.line.take_front(kept);
            let rest = std::mem::replace(&mut self.line, head);
            self.behind.push_front(Segment::Waiting(rest));
        }
    }
}

fn take_from_line(line: &mut Line<Entry>, sequence: u64) -> Option<Entry> {
    line.remove(sequence, |entry| entry.sequence)
}

impl Segment {
    /// Its messages, which wait in memory from now on.
    fn in_memory(&mut self, read_in: impl FnOnce(&Page) -> Line<Entry>) -> &mut Line<Entry> {
        self.give_up_run();
        if let Self::Paged(page) = self {
            *self = Self::Waiting(read_in(page));
        }
        match self {
            Self::Waiting(line) | Self::Leaving(_, line) => line,
            Self::Paged(_) => unreachable!("just read in"),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Waiting(line) | Self::Leaving(_, line) => line.is_empty(),
            Self::Paged(_) => false,
        }
    }

    pub(super) fn first(&self) -> u64 {
        match self {
            Self::Waiting(line) | Self::Leaving(_, line) => {
                line.front().map_or(0, |first| first.sequence)
            }
            Self::Paged(page) => page.first,
        }
    }

    fn last(&self) -> u64 {
        match self {
            Self::Waiting(line) | Self::Leaving(_, line) => {
                line.back().map_or(0, |last| last.sequence)
            }
            Self::Paged(page) => page.last,
        }
    }

    fn head_expiry(&self) -> Timestamp {
        match self {
            Self::Waiting(line) | Self::Leaving(_, line) => line
                .front()
                .map_or(Timestamp::NEVER, |first| first.expiry.time()),
            Self::Paged(page) => page.head_expiry.time(),
        }
    }

    fn count(&self) -> u64 {
        match self {
            Self::Waiting(line) | Self::Leaving(_, line) => line.len(),
            Self::Paged(page) => page.held.count,
        }
    }

    fn is_run(&self, number: u64) -> bool {
        matches!(self, Self::Leaving(run, _) if *run == number)
    }

    /// Becomes the page of its run, whose messages it gives back.
    fn replace_run(&mut self, commit: impl FnOnce() -> PageId) -> Option<(Line<Entry>, Held)> {
        let Self::Leaving(_, entries) = self else {
            return None;
        };
        let page = Page::of(commit(), entries.iter());
        let (entries, held) = (std::mem::take(entries), page.held);
        *self = Self::Paged(page);
        Some((entries, held))
    }

    fn give_up_run(&mut self) {
        if let Self::Leaving(_, entries) = self {
            *self = Self::Waiting(std::mem::take(entries));
        }
    }
}
