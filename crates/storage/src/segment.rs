//! Segments: the files that pages lie in. One is written to, from its beginning to its end, until it is full; it is never
//! written to again, not even by the next process, and never given another life. Its space is allocated when it is made.
//!
//! Whoever writes reserves a place, writes, and tells; [`Segments::sync`] makes everything durable that was told before.
//! Nothing in a segment is alive until the log says so, so a segment can go when the index counts nothing alive in it and
//! nobody has it pinned.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{self, Disk, DiskFile};
use crate::error::{Failed, PageError};
use crate::format::{self, FILE_HEADER, FILE_MAX, FileHeader, Place, SEGMENT, Salt};
use crate::shared::Shared;
use crate::store::Segment;

/// See the module's page.
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    segment_bytes: u64,
    writing: Mutex<Writing>,
    /// One sync at a time: the second must not return before the first has made its drafts durable.
    syncing: Mutex<()>,
}

struct Writing {
    /// The segment that is written to.
    current: Option<u32>,
    next_number: u32,
    /// Segments with writes that are not synced.
    unsynced: BTreeMap<u32, Arc<dyn DiskFile>>,
    /// Writes that have ended.
    written: u64,
    /// Those of them that are durable.
    synced: u64,
}

/// Room in a segment for somebody who is about to write there.
pub(crate) struct Reserved {
    pub(crate) pin: Pin,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) salt: Salt,
    pub(crate) at: u32,
}

impl Reserved {
    /// The room's first `len` bytes.
    pub(crate) fn place(&self, len: usize) -> Place {
        Place {
            file: self.pin.segment,
            at: self.at,
            len: u32::try_from(len).expect("a segment is smaller than that"),
        }
    }
}

impl Segments {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        shared: Arc<Shared>,
        segment_bytes: u64,
        next_number: u32,
    ) -> Self {
        Self {
            disk,
            shared,
            segment_bytes,
            writing: Mutex::new(Writing {
                current: None,
                next_number,
                unsynced: BTreeMap::new(),
                written: 0,
                synced: 0,
            }),
            syncing: Mutex::new(()),
        }
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Lets `write` write `len` bytes. Gives the place, and the number by which [`Segments::is_synced`] knows the write.
    pub(crate) fn write(
        &self,
        len: u64,
        write: impl FnOnce(&Reserved) -> std::io::Result<()>,
    ) -> Result<(Reserved, u64), PageError> {
        let reserved = self.reserve(len)?;
        let number = reserved.pin.segment;
        if let Err(error) = write(&reserved) {
            if disk::is_full(&error) {
                // Allocated, and yet there is no space: some filesystems can't keep their word. Nothing is lost.
                return Err(PageError::NoSpace);
            }
            let name = format::segment_name(number);
            return Err(self.fail(Failed::io("writing", &name, &error)).into());
        }
        let mut writing = self.writing.lock();
        writing.unsynced.insert(number, reserved.file.clone());
        writing.written += 1;
        Ok((reserved, writing.written))
    }

    fn reserve(&self, len: u64) -> Result<Reserved, PageError> {
        assert!(len < FILE_MAX - FILE_HEADER, "a page of {len} bytes");
        let mut writing = self.writing.lock();
        let room = writing.current.map_or(0, |current| {
            let store = self.shared.store.lock();
            let segment = &store.segments[&current];
            segment.len - segment.end
        });
        if room < len {
            let next = self.create(&mut writing, len)?;
            if let Some(full) = writing.current.replace(next) {
                self.seal(full)?;
            }
        }
        let current = writing.current.expect("there is room in it");
        let mut store = self.shared.store.lock();
        let segment = store.segments.get_mut(&current).expect("it is written to");
        let at = segment.end;
        segment.end += len;
        segment.pins += 1;
        Ok(Reserved {
            file: segment.file.clone(),
            salt: segment.salt.clone(),
            at: u32::try_from(at).expect("a segment is smaller than that"),
            pin: Pin {
                shared: self.shared.clone(),
                segment: current,
            },
        })
    }

    /// Makes a segment with room for `len` bytes.
    fn create(&self, writing: &mut Writing, len: u64) -> Result<u32, PageError> {
        let number = writing.next_number | SEGMENT;
        let name = format::segment_name(number);
        let len = self.segment_bytes.max(FILE_HEADER + len);
        let fail = |action, error| self.fail(Failed::io(action, &name, &error));
        let file = match self.disk.create(&name, len) {
            Ok(file) => file,
            Err(error) if disk::is_full(&error) => return Err(PageError::NoSpace),
            Err(error) => return Err(fail("creating", error).into()),
        };
        let header = FileHeader {
            number,
            salt: self
                .disk
                .salt()
                .map_err(|error| fail("drawing a salt for", error))?,
            first_lsn: 0,
        };
        // The header becomes durable with what is written behind it, before the log speaks of that.
        file.write_at(&[&header.encode()], 0)
            .and_then(|()| self.disk.sync_names())
            .map_err(|error| fail("starting", error))?;
        writing.next_number += 1;
        let segment = Segment {
            file,
            salt: Salt::new(header.salt),
            len,
            end: FILE_HEADER,
            is_sealed: false,
            pins: 0,
            pinned_through: 0,
        };
        self.shared.store.lock().segments.insert(number, segment);
        Ok(number)
    }

    /// Ends a segment, and gives back what is left of it.
    fn seal(&self, number: u32) -> Result<(), Failed> {
        let mut store = self.shared.store.lock();
        let segment = store.segments.get_mut(&number).expect("it was written to");
        segment.is_sealed = true;
        segment.len = segment.end;
        let (file, end) = (segment.file.clone(), segment.end);
        drop(store);
        file.truncate(end).map_err(|error| {
            self.fail(Failed::io("cutting", &format::segment_name(number), &error))
        })
    }

    /// Makes everything durable that was written before.
    pub(crate) fn sync(&self) -> Result<(), Failed> {
        let _one_at_a_time = self.syncing.lock();
        let mut writing = self.writing.lock();
        let unsynced = std::mem::take(&mut writing.unsynced);
        let written = writing.written;
        drop(writing);
        for (number, file) in unsynced {
            let name = format::segment_name(number);
            file.sync()
                .map_err(|error| self.fail(Failed::io("syncing", &name, &error)))?;
        }
        self.writing.lock().synced = written;
        Ok(())
    }

    /// Whether a write is durable.
    pub(crate) fn is_synced(&self, write: u64) -> bool {
        self.writing.lock().synced >= write
    }

    /// Removes segments that nobody needs, some at a time. Says whether there were any.
    pub(crate) fn remove_dead(&self) -> Result<bool, Failed> {
        let dead = self.shared.store.lock().take_dead_segments(REMOVED_AT_ONCE);
        for number in &dead {
            let name = format::segment_name(*number);
            self.disk
                .remove(&name)
                .map_err(|error| self.fail(Failed::io("removing", &name, &error)))?;
        }
        Ok(!dead.is_empty())
    }

    /// Ends the log: what was written can't be relied on.
    fn fail(&self, failed: Failed) -> Failed {
        self.shared.fail(failed.clone());
        failed
    }
}

/// Segments to remove in one call: removing one takes a while, and after the deletion of a large queue there are many.
const REMOVED_AT_ONCE: usize = 8;

/// Keeps a segment although nothing in it may be alive: it is read from, or is about to be spoken of.
pub(crate) struct Pin {
    shared: Arc<Shared>,
    pub(crate) segment: u32,
}

impl Pin {
    /// A pin on a segment there is.
    pub(crate) fn new(shared: &Arc<Shared>, segment: &mut Segment, number: u32) -> Self {
        segment.pins += 1;
        Self {
            shared: shared.clone(),
            segment: number,
        }
    }

    /// Stays until the index knows of everything up to `lsn`.
    pub(crate) fn hold_through(self, lsn: u64) {
        let mut store = self.shared.store.lock();
        if let Some(segment) = store.segments.get_mut(&self.segment) {
            segment.pinned_through = segment.pinned_through.max(lsn);
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(segment) = self.shared.store.lock().segments.get_mut(&self.segment) {
            segment.pins -= 1;
        }
    }
}
