//! What the writer and those who read share: the index and the files it points into.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::bodies::Source;
use crate::disk::DiskFile;
use crate::format::{Place, Salt};
use crate::index::Index;
use crate::keys::Keys;
use crate::owners::Hold;
use crate::scan::Scanner;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) index: Index,
    /// The last lsn that the index knows of.
    pub(crate) applied: u64,
    /// The log files in use, by number, without holes except those of an accepted loss.
    pub(crate) files: BTreeMap<u32, LogFile>,
    /// The segments, by their numbers in the index.
    pub(crate) segments: BTreeMap<u32, Segment>,
    /// Log files from these on are being copied and have to stay.
    pub(crate) kept_from: Vec<u32>,
    /// Pages that the index does not know of yet.
    pub(crate) committed: HashMap<u64, CommittedPage, FixedState>,
}

/// A log file in use.
#[derive(Clone)]
pub(crate) struct LogFile {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) salt: Salt,
    /// The lsn of its first frame.
    pub(crate) first_lsn: u64,
    /// Bytes it takes on disk.
    pub(crate) len: u64,
    /// Where its last frame ends.
    pub(crate) end: u64,
}

/// A segment.
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) salt: Salt,
    /// Bytes it takes on disk.
    pub(crate) len: u64,
    /// Where what was written ends.
    pub(crate) end: u64,
    /// Nothing will be written to it any more.
    pub(crate) is_sealed: bool,
    /// Those who need it although nothing in it may be alive.
    pub(crate) pins: u32,
    /// It is needed until the index knows of this lsn.
    pub(crate) pinned_through: u64,
}

/// A page that was appended and is not in the index yet.
#[derive(Debug)]
pub(crate) struct CommittedPage {
    pub(crate) owner: u32,
    pub(crate) place: Place,
    /// Keys of records that others may hold too, as `keys` packs them.
    pub(crate) shared: Vec<u8>,
    /// The index knows of it with this lsn; `u64::MAX` as long as it is not known.
    pub(crate) lsn: u64,
}

impl LogFile {
    /// Reads its frames up to offset `end`.
    pub(crate) fn scanner(&self, end: u64) -> Scanner {
        Scanner::new(self.file.clone(), self.salt.clone(), self.first_lsn, end)
    }
}

impl Store {
    /// Bytes the log files take.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.files.values().map(|file| file.len).sum()
    }

    /// Bytes the log files take from one on.
    pub(crate) fn file_bytes_from(&self, oldest: u32) -> u64 {
        self.files.range(oldest..).map(|(_, file)| file.len).sum()
    }

    /// The log files below `oldest` that nobody copies.
    pub(crate) fn retirable(&self, oldest: u32) -> Vec<u32> {
        let kept_from = self.kept_from.iter().copied().min().unwrap_or(oldest);
        self.files
            .range(..oldest.min(kept_from))
            .map(|(number, _)| *number)
            .collect()
    }

    /// Bytes the segments take.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.len).sum()
    }

    /// How to read at a place; `None` if its file is gone.
    pub(crate) fn source(&self, place: Place) -> Option<Source> {
        let (file, end) = match place.is_in_segment() {
            true => self
                .segments
                .get(&place.file)
                .map(|segment| (&segment.file, segment.end))?,
            false => self
                .files
                .get(&place.file)
                .map(|file| (&file.file, file.end))?,
        };
        Some(Source {
            place,
            file: file.clone(),
            end,
        })
    }

    /// Where a live record lies and who holds it.
    pub(crate) fn record(&self, key: u64, holds: &mut Vec<Hold>) -> Option<Source> {
        self.index.holds_of(key, holds);
        self.source(self.index.place(key)?)
    }

    /// The owner, the place and the shared keys of a page, also of one that was appended just now.
    pub(crate) fn page(&self, page: u64) -> Option<(u32, Place, Keys<'_>)> {
        if let Some(page) = self.index.page(page) {
            return Some((page.owner, page.place, page.shared()));
        }
        let page = self.committed.get(&page)?;
        let shared = Keys::new(&page.shared).expect("they were packed here");
        Some((page.owner, page.place, shared))
    }

    /// The index knows of everything up to `lsn`.
    pub(crate) fn applied(&mut self, lsn: u64) {
        self.applied = lsn;
        if !self.committed.is_empty() {
            self.committed.retain(|_, page| page.lsn > lsn);
        }
    }

    /// Whether a segment may be removed or emptied: nobody needs it besides what is alive in it.
    pub(crate) fn is_free(&self, segment: &Segment) -> bool {
        segment.is_sealed && segment.pins == 0 && segment.pinned_through <= self.applied
    }

    /// Forgets up to `count` segments in which nothing is alive, and gives their numbers.
    pub(crate) fn take_dead_segments(&mut self, count: usize) -> Vec<u32> {
        let is_dead = |(number, segment): (&u32, &Segment)| {
            let dead = self.is_free(segment) && self.index.live().in_file(*number) == 0;
            dead.then_some(*number)
        };
        let dead: Vec<_> = self
            .segments
            .iter()
            .filter_map(is_dead)
            .take(count)
            .collect();
        for number in &dead {
            self.segments.remove(number);
        }
        dead
    }
}
