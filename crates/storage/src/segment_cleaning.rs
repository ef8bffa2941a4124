//! Cleaning of segments: what is alive in one with much garbage is copied to the one that is written to, so that it can go.
//!
//! Nothing needs to be known of the copies' owners, so this is no business of the log's writer: bytes are copied and synced,
//! and then an op says where they lie now. If the page or record is gone by then, the op says nothing.

use std::collections::BTreeMap;

use crate::batch::{self, Batch};
use crate::bodies::Bodies;
use crate::error::{Failed, PageError};
use crate::format;
use crate::index::Index;
use crate::page::{self, PageBytes, PageId};
use crate::paging::{Paging, Sketch};
use crate::segment::Pin;
use crate::store::Store;

/// Segments of garbage that are left alone, besides three quarters of what is alive: as in the log.
const SLACK_SEGMENTS: u64 = 2;
/// Records that lie in segments by themselves are copied this many bytes at a time.
const TOGETHER: u64 = 1 << 20;
/// Records to look at before others get at the index.
const LOOKED_AT: usize = 1 << 16;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct SegmentCleaner {
    current: Option<Current>,
    /// Segments that were gone through, and the lsn from which on nothing should be alive in them.
    emptied: BTreeMap<u32, u64>,
}

/// A segment half-way cleaned.
#[derive(Debug)]
struct Current {
    number: u32,
    /// What was alive in it when it was begun, and has not been looked at.
    left: Vec<Content>,
    is_stuck: bool,
}

#[derive(Debug, Clone, Copy)]
enum Content {
    Page(u64),
    Record(u64),
}

/// Copies that the log does not know of yet.
#[derive(Default)]
struct Copies {
    ops: Batch,
    pins: Vec<Pin>,
    bytes: u64,
    loose: Sketch,
    /// Something could not be copied, and will not be next time.
    is_stuck: bool,
}

impl Paging {
    /// A piece of the work. Says whether there may be more to do.
    pub(crate) fn clean_segments(&self) -> Result<bool, Failed> {
        let removed = self.segments.remove_dead()?;
        let mut cleaner = self.cleaner.lock();
        self.forget_emptied(&mut cleaner);
        let Some(mut current) = cleaner
            .current
            .take()
            .or_else(|| self.next_to_clean(&cleaner))
        else {
            return Ok(removed);
        };
        let mut copies = Copies::default();
        match self.copy_some(&mut current, &mut copies) {
            Ok(()) => {}
            // There is no space for copies. What was copied so far counts; the rest is for later.
            Err(PageError::NoSpace) => current.left.clear(),
            Err(PageError::Failed(failed)) => return Err(failed),
            Err(error) => return Err(Failed::new(error)),
        }
        let is_full = current.left.is_empty() && copies.bytes == 0;
        current.is_stuck |= copies.is_stuck;
        let lsn = self.append_copies(copies)?;
        if current.left.is_empty() {
            let until = if current.is_stuck { u64::MAX } else { lsn };
            cleaner.emptied.insert(current.number, until);
        } else {
            cleaner.current = Some(current);
        }
        Ok(removed || !is_full)
    }

    /// What was gone through may be gone through again if something is still alive there although all copies are known.
    fn forget_emptied(&self, cleaner: &mut SegmentCleaner) {
        let store = self.shared.store.lock();
        cleaner
            .emptied
            .retain(|number, lsn| store.segments.contains_key(number) && store.applied < *lsn);
    }

    /// The segment with the least that is alive, if cleaning is due.
    fn next_to_clean(&self, cleaner: &SegmentCleaner) -> Option<Current> {
        let store = self.shared.store.lock();
        let emptied: u64 = cleaner
            .emptied
            .keys()
            .filter_map(|number| store.segments.get(number))
            .map(|segment| segment.len)
            .sum();
        let live = store.index.live().in_segments();
        let slack = SLACK_SEGMENTS * self.segments.segment_bytes();
        if store.segment_bytes() - emptied <= live + live / 4 * 3 + slack {
            return None;
        }
        let part_alive = |number: u32, len: u64| {
            u128::from(store.index.live().in_file(number)) * 1_000_000 / u128::from(len)
        };
        let number = store
            .segments
            .iter()
            .filter(|(number, segment)| {
                store.is_free(segment) && !cleaner.emptied.contains_key(number)
            })
            .min_by_key(|(number, segment)| part_alive(**number, segment.len))
            .map(|(number, _)| *number)?;
        drop(store);
        Some(Current {
            number,
            left: self.contents(number),
            is_stuck: false,
        })
    }

    /// What is alive in a segment.
    fn contents(&self, number: u32) -> Vec<Content> {
        let store = self.shared.store.lock();
        let pages = store.index.pages();
        let mut in_pages = 0;
        let mut contents: Vec<_> = pages
            .filter(|(_, page)| page.place.file == number)
            .inspect(|(_, page)| in_pages += u64::from(page.place.len))
            .map(|(id, _)| Content::Page(id))
            .collect();
        let has_records = store.index.live().in_file(number) > in_pages;
        drop(store);
        let mut next = has_records.then_some(0);
        while let Some(key) = next {
            next = records_in(&self.shared.store.lock().index, number, key, &mut contents);
        }
        contents
    }

    /// Copies until it is enough for once.
    fn copy_some(&self, current: &mut Current, copies: &mut Copies) -> Result<(), PageError> {
        let enough = self.segments.segment_bytes() / 8;
        let mut bodies = Bodies::default();
        while copies.bytes + copies.loose.len() < enough {
            match current.left.pop() {
                Some(Content::Page(page)) => self.copy_page(current.number, page, copies)?,
                Some(Content::Record(key)) => {
                    self.copy_record(current.number, key, &mut bodies, copies)?;
                }
                None => break,
            }
        }
        self.write_loose(copies)
    }

    fn copy_page(&self, number: u32, id: u64, copies: &mut Copies) -> Result<(), PageError> {
        let is_here = |store: &Store| {
            let page = store.index.page(id);
            page.is_some_and(|page| page.place.file == number)
        };
        if !is_here(&self.shared.store.lock()) {
            return Ok(());
        }
        let Ok(found) = self.find_page(PageId(id)) else {
            return Ok(());
        };
        let bytes = self.read_found(&found)?;
        let Some(page) = PageBytes::new(&found.salt, id, found.owner, &bytes) else {
            copies.is_stuck = true;
            return self.lose(found.place, 0, "the page is not valid");
        };
        let (reserved, _) = self.segments.write(bytes.len() as u64, |reserved| {
            let header = page::header(&reserved.salt, id, found.owner, page.directory());
            let parts = [&header[..], page.directory(), page.bodies()];
            reserved.file.write_at(&parts, u64::from(reserved.at))
        })?;
        let place = reserved.place(bytes.len());
        batch::push_page_moved(copies.ops.ops_mut(), id, place);
        copies.bytes += bytes.len() as u64;
        copies.pins.push(reserved.pin);
        Ok(())
    }

    fn copy_record(
        &self,
        number: u32,
        key: u64,
        bodies: &mut Bodies,
        copies: &mut Copies,
    ) -> Result<(), PageError> {
        let store = self.shared.store.lock();
        let place = store.index.place(key);
        let source = place
            .filter(|place| place.file == number)
            .and_then(|place| store.source(place));
        drop(store);
        let Some(source) = source else {
            return Ok(());
        };
        let read = bodies.read(&source).map_err(|error| {
            let name = format::segment_name(number);
            self.fail(Failed::io("cleaning", &name, &error))
        })?;
        match read {
            Some(bytes) => copies.loose.add_relocated(key, bytes),
            None => {
                copies.is_stuck = true;
                self.lose(source.place, 0, "a record is not valid")?;
            }
        }
        match copies.loose.len() < TOGETHER {
            true => Ok(()),
            false => self.write_loose(copies),
        }
    }

    fn write_loose(&self, copies: &mut Copies) -> Result<(), PageError> {
        let loose = std::mem::take(&mut copies.loose);
        if loose.is_empty() {
            return Ok(());
        }
        let (reserved, _) = self
            .segments
            .write(loose.len(), |reserved| loose.write(reserved, &[]))?;
        loose.push_relocated(copies.ops.ops_mut(), &reserved);
        copies.bytes += loose.len();
        copies.pins.push(reserved.pin);
        Ok(())
    }

    /// Makes the copies durable, then known. Gives the lsn that knows of them.
    fn append_copies(&self, copies: Copies) -> Result<u64, Failed> {
        if copies.ops.is_empty() {
            return Ok(0);
        }
        self.segments.sync()?;
        let lsn = self.shared.append(&copies.ops).lsn.0;
        self.shared.count_relocated(copies.bytes);
        copies
            .pins
            .into_iter()
            .for_each(|pin| pin.hold_through(lsn));
        Ok(lsn)
    }
}

/// Adds the records in a segment, from a key on, some at a time. Gives the key to go on with.
fn records_in(index: &Index, number: u32, key: u64, contents: &mut Vec<Content>) -> Option<u64> {
    let mut last = None;
    for (key, place) in index.records_from(key).take(LOOKED_AT) {
        if place.file == number {
            contents.push(Content::Record(key));
        }
        last = Some(key);
    }
    last.map(|key| key.saturating_add(1))
}
