//! Pages: the middle of a long backlog, written down so that it takes no memory.
//!
//! ```text
//! level 4   · · · · ·   | · · · · ·    | page   | page   | (leaving) | · · · ·
//!           ^ the head    taken back     on disk           drafted     ^ the tail
//! ```
//!
//! Paging is no [`Op`](super::Op): it changes where messages wait, and nothing that anybody sees. A run of them is on
//! disk in two steps. [`QueueCore::page_out`](super::QueueCore::page_out) names it, while its messages stay where they
//! are; whoever wrote it down says so to [`QueueCore::commit_page`](super::QueueCore::commit_page). A run whose turn
//! came meanwhile has been taken back, and the page is not made. Since none of the run's messages had left the queue
//! before that, and afterwards all of them leave the page at once, what is in a page has never been handed out since
//! it was paged, and no release of it can be under way.
//!
//! What the queue remembers of a message lies beside its record in the page, as its *note*:
//!
//! ```text
//! bits  0 to 27   its place in the order of arrival, counted from the page's first
//! bits 28 to 61   when it expires, ms after the page's base; all ones: never
//! bit  62         it was delivered before
//! bit  63         it is persistent
//! ```
//!
//! and of the page in its *meta*, which a start reads instead of the page (integers are big endian):
//!
//! ```text
//! u8    version, 1
//! u8    level: the priority of its messages
//! u32   place of the last message, counted from the first
//! u32   stored messages. The others are gone after a restart.
//! u64   bytes of their bodies
//! [6]   the base of expiries
//! [6]   when the first message expires, or earlier
//! ```

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{AddAssign, RangeInclusive, Sub, SubAssign};

use super::backlog::{Entry, Expiry, Marks};
use crate::ids::{MessageId, PageId, QueueId};
use crate::message::Message;
use crate::record::{self, RecordError};
use crate::time::Timestamp;

/// Where pages are read from: the log, or in tests something like it.
pub trait PageStore: Debug + Send + Sync {
    /// Reads a page in its order. It is gone afterwards, and its stored messages are records of the log again.
    ///
    /// # Errors
    /// What could be read has been given.
    fn page_in(
        &self,
        page: PageId,
        each: &mut dyn FnMut(PagedRecord<'_>),
    ) -> Result<(), Unreadable>;

    /// Reads a page in its order, and leaves it where it is.
    ///
    /// # Errors
    /// What could be read has been given.
    fn read_page(
        &self,
        page: PageId,
        each: &mut dyn FnMut(PagedRecord<'_>),
    ) -> Result<(), Unreadable>;

    /// The page will be read soon.
    fn will_need(&self, page: PageId);

    /// The record of a stored message that is in no page.
    fn read(&self, id: MessageId) -> Result<Vec<u8>, Unreadable>;

    /// How far the log is durable.
    fn durable(&self) -> u64;

    /// Notes that a stream begins with this offset, and lets go what was before it.
    fn truncate(
        &self,
        stream: QueueId,
        first_offset: u64,
        messages: &[MessageId],
        pages: &[PageId],
    );
}

/// A message as it lies in a page.
#[derive(Debug, Clone, Copy)]
pub struct PagedRecord<'a> {
    /// `MessageId::NONE`: it is only in the page.
    pub id: MessageId,
    pub note: u64,
    /// Whether the log knows that it came back once ([`Effect::Count`](super::Effect::Count)).
    pub is_marked: bool,
    pub bytes: &'a [u8],
}

/// Something can't be read, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// How much goes where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSizes {
    /// What stays in memory at the head of each level, bytes as `Entry::footprint` counts them.
    pub head_bytes: u64,
    /// Bodies and properties of a page, bytes; more only for a single message.
    pub page_bytes: u64,
    /// Messages of a page.
    pub page_messages: usize,
    /// Not worth a page: fewer bytes, as `Entry::footprint` counts them.
    pub page_bytes_min: u64,
}

impl PageSizes {
    /// Those of a node. A page is read in a few milliseconds, and 10 million small messages are 2500 pages.
    pub const DEFAULT: Self = Self {
        head_bytes: 128 << 10,
        page_bytes: 1 << 20,
        page_messages: 4096,
        page_bytes_min: 64 << 10,
    };
}

/// What messages take in memory, bytes, about. Signed, since it is also how much more they take, or less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resident {
    /// All of them.
    pub bytes: i64,
    /// Those that the log has, too.
    pub stored_bytes: i64,
}

impl Resident {
    pub(crate) const NONE: Self = Self {
        bytes: 0,
        stored_bytes: 0,
    };

    /// Whether either is more than there.
    pub(crate) fn exceeds(&self, limit: &Self) -> bool {
        self.bytes > limit.bytes || self.stored_bytes > limit.stored_bytes
    }
}

impl AddAssign for Resident {
    fn add_assign(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.stored_bytes += more.stored_bytes;
    }
}

impl SubAssign for Resident {
    fn sub_assign(&mut self, less: Self) {
        self.bytes -= less.bytes;
        self.stored_bytes -= less.stored_bytes;
    }
}

impl Sub for Resident {
    type Output = Self;

    fn sub(mut self, less: Self) -> Self {
        self -= less;
        self
    }
}

impl Sum for Resident {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::NONE, |mut all, one| {
            all += one;
            all
        })
    }
}

/// A run of messages that is to become a page.
#[derive(Debug)]
pub struct Leaving {
    /// Its number among the queue's runs.
    pub(super) number: u64,
    pub(super) level: u16,
    /// What is to be kept beside the page.
    pub meta: [u8; META],
    pub records: Vec<Outgoing>,
    /// The memory it takes until it is on disk.
    pub resident: Resident,
}

/// A message of a run.
#[derive(Debug)]
pub enum Outgoing {
    /// It has a record in the log.
    Stored { id: MessageId, note: u64 },
    /// It has none: this is all there is of it.
    Inline { message: Message, note: u64 },
}

/// What a page leaves in the queue's memory.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) id: PageId,
    /// The lowest and highest sequence number.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) held: Held,
    /// When its first message expires, or earlier.
    pub(super) head_expiry: Expiry,
    base: Expiry,
    origin: Origin,
}

/// Who made a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    This,
    /// An earlier process. Places in the order of arrival are ids since then: see [`Page::from_meta`].
    Earlier {
        /// It crashed, perhaps just after it had taken the page back and handed its messages out.
        crashed: bool,
    },
}

/// Messages, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) count: u64,
    pub(super) bytes: u64,
    pub(super) persistent: u64,
    pub(super) transient_bytes: u64,
}

impl Held {
    pub(super) fn add(&mut self, entry: &Entry) {
        self.count += 1;
        self.bytes += entry.bytes();
        self.persistent += u64::from(entry.marks.persistent());
        self.transient_bytes += entry.transient_bytes();
    }

    pub(super) fn gain(&mut self, more: &Self) {
        self.count += more.count;
        self.bytes += more.bytes;
        self.persistent += more.persistent;
        self.transient_bytes += more.transient_bytes;
    }

    pub(super) fn lose(&mut self, less: &Self) {
        self.count -= less.count;
        self.bytes -= less.bytes;
        self.persistent -= less.persistent;
        self.transient_bytes -= less.transient_bytes;
    }
}

/// Bytes of a page's meta.
pub const META: usize = 30;
const VERSION: u8 = 1;

const PLACE_BITS: u32 = 28;
const PLACE_MAX: u64 = (1 << PLACE_BITS) - 1;
const EXPIRY_BITS: u32 = 34;
const EXPIRY_NEVER: u64 = (1 << EXPIRY_BITS) - 1;
const REDELIVERED: u64 = 1 << 62;
const PERSISTENT: u64 = 1 << 63;

/// The beginning of a line of messages, looked through for how much of it makes a page.
#[derive(Debug, Default)]
pub(super) struct Measure {
    pub(super) count: usize,
    pub(super) footprint: u64,
    bytes: u64,
    first: u64,
    earliest: Option<Timestamp>,
    latest: Option<Timestamp>,
}

impl Measure {
    /// Whether the page takes this entry, too.
    pub(super) fn takes(&mut self, entry: &Entry, sizes: &PageSizes) -> bool {
        let bytes = self.bytes + entry.message.weight() as u64;
        if self.count > 0 && (bytes > sizes.page_bytes || self.count == sizes.page_messages) {
            return false;
        }
        let first = if self.count == 0 {
            entry.sequence
        } else {
            self.first
        };
        let expiry = (entry.expiry != Expiry::NEVER).then(|| entry.expiry.time());
        let earliest = self.earliest.into_iter().chain(expiry).min();
        let latest = self.latest.max(expiry);
        let spread = latest.zip(earliest).map_or(0, |(to, from)| to.0 - from.0);
        if entry.sequence - first > PLACE_MAX || spread >= EXPIRY_NEVER {
            return false;
        }
        *self = Self {
            count: self.count + 1,
            footprint: self.footprint + entry.footprint(),
            bytes,
            first,
            earliest,
            latest,
        };
        true
    }
}

/// The log gives a page its id when it is there to stay.
const NO_ID_YET: PageId = PageId(0);

/// What is to be written of these entries, which a [`Measure`] has found to fit into a page, and the page they will be.
pub(super) fn describe<'a>(
    number: u64,
    level: u16,
    entries: impl Iterator<Item = &'a Entry> + Clone,
) -> Leaving {
    let page = Page::of(NO_ID_YET, entries.clone());
    let outgoing = |entry: &Entry| {
        let note = page.note(entry);
        if entry.id.is_stored() {
            Outgoing::Stored { id: entry.id, note }
        } else {
            let message = entry.message.clone();
            Outgoing::Inline { message, note }
        }
    };
    Leaving {
        number,
        level,
        meta: page.meta(level, entries.clone()),
        records: entries.clone().map(outgoing).collect(),
        resident: entries.map(Entry::resident).sum(),
    }
}

impl Page {
    /// The page of these entries.
    pub(super) fn of<'a>(id: PageId, entries: impl Iterator<Item = &'a Entry> + Clone) -> Self {
        let mut page = Self {
            id,
            first: entries.clone().next().map_or(0, |first| first.sequence),
            last: 0,
            held: Held::default(),
            head_expiry: entries
                .clone()
                .next()
                .map_or(Expiry::NEVER, |first| first.expiry),
            base: Expiry::NEVER,
            origin: Origin::This,
        };
        for entry in entries {
            page.last = entry.sequence;
            page.held.add(entry);
            if entry.expiry.time() < page.base.time() {
                page.base = entry.expiry;
            }
        }
        page
    }

    /// A page of a stream, in which nothing is missing: its places are those it was written with, and the first of them
    /// follows `last`.
    pub(super) fn place_behind(&mut self, last: u64) {
        self.first = last + 1;
        self.last = last + self.held.count;
        self.origin = Origin::This;
    }

    fn note(&self, entry: &Entry) -> u64 {
        let place = entry.sequence - self.first;
        let expiry = match entry.expiry {
            Expiry::NEVER => EXPIRY_NEVER,
            expiry => expiry.time().0 - self.base.time().0,
        };
        let bit = |yes, bit| if yes { bit } else { 0 };
        place
            | expiry << PLACE_BITS
            | bit(entry.marks.redelivered(), REDELIVERED)
            | bit(entry.marks.persistent(), PERSISTENT)
    }

    /// The entry of a record of this page.
    pub(super) fn entry(&self, level: u16, paged: &PagedRecord<'_>) -> Result<Entry, RecordError> {
        let (message, _) = record::read(paged.bytes)?;
        let note = paged.note;
        let expiry = match note >> PLACE_BITS & EXPIRY_NEVER {
            EXPIRY_NEVER => Expiry::NEVER,
            after => Expiry::at(self.base.time().plus_ms(after)),
        };
        let (sequence, crashed) = match self.origin {
            Origin::This => (self.first + (note & PLACE_MAX), false),
            Origin::Earlier { crashed } => (paged.id.0, crashed),
        };
        Ok(Entry {
            message,
            sequence,
            id: paged.id,
            expiry,
            priority: u8::try_from(level).unwrap_or(u8::MAX),
            marks: Marks::new(crashed || was_delivered(note), note & PERSISTENT != 0),
        })
    }

    fn meta<'a>(&self, level: u16, entries: impl Iterator<Item = &'a Entry> + Clone) -> [u8; META] {
        let stored = entries.filter(|entry| entry.id.is_stored());
        let count = u32::try_from(stored.clone().count()).unwrap_or(u32::MAX);
        let bytes: u64 = stored.clone().map(Entry::bytes).sum();
        // After a restart the first message may be gone, and the order is that of ids: then another is the first.
        let first = stored
            .min_by_key(|entry| entry.id)
            .map(|entry| entry.expiry)
            .filter(|first| first.time() < self.head_expiry.time());
        let place = u32::try_from(self.last - self.first).unwrap_or(u32::MAX);
        let mut meta = [0; META];
        meta[0] = VERSION;
        meta[1] = u8::try_from(level).unwrap_or(u8::MAX);
        meta[2..6].copy_from_slice(&place.to_be_bytes());
        meta[6..10].copy_from_slice(&count.to_be_bytes());
        meta[10..18].copy_from_slice(&bytes.to_be_bytes());
        meta[18..24].copy_from_slice(&self.base.to_bytes());
        meta[24..30].copy_from_slice(&first.unwrap_or(self.head_expiry).to_bytes());
        meta
    }

    /// Whether its messages are in the order of their places as they are read.
    pub(super) fn is_in_order(&self) -> bool {
        self.origin == Origin::This
    }

    /// The page that an earlier process made, and its level. Places are ids, as those of other recovered messages: some that
    /// had been handed out when the page was made, and came back, belong into its middle.
    pub(super) fn from_meta(
        id: PageId,
        meta: &[u8],
        ids: RangeInclusive<MessageId>,
        crashed: bool,
    ) -> Result<(Self, u16), RecordError> {
        let meta: &[u8; META] = match meta.first() {
            Some(&VERSION) => meta.try_into().map_err(|_| RecordError::Short)?,
            Some(&version) => return Err(RecordError::Version(version)),
            None => return Err(RecordError::Short),
        };
        let u32_at = |at: usize| u64::from(u32::from_be_bytes(array(meta, at)));
        let count = u32_at(6);
        let page = Self {
            id,
            first: ids.start().0,
            last: ids.end().0,
            held: Held {
                count,
                bytes: u64::from_be_bytes(array(meta, 10)),
                persistent: count,
                // What was not persistent is gone.
                transient_bytes: 0,
            },
            base: Expiry::from_bytes(array(meta, 18)),
            head_expiry: Expiry::from_bytes(array(meta, 24)),
            origin: Origin::Earlier { crashed },
        };
        Ok((page, u16::from(meta[1])))
    }
}

/// Whether a note says that its message was delivered before.
pub(super) fn was_delivered(note: u64) -> bool {
    note & REDELIVERED != 0
}

fn array<const N: usize>(meta: &[u8; META], at: usize) -> [u8; N] {
    std::array::from_fn(|offset| meta[at + offset])
}
