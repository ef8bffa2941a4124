//! The one who writes. A turn takes what has come together, writes it as one frame, syncs, and tells those who wait; the next
//! frame fills meanwhile. Cleaning is part of the turns, in step with what is written.
//!
//! ```text
//! turn   clean: copy what lives in the oldest file  →  write one frame: copies, then the batches  →  sync
//!        →  index  →  durable lsn, callbacks  →  retire files the frame said are not needed  →  prepare spares
//! ```
//!
//! Files are cleaned and retired strictly from the oldest. A release is only needed as long as the record it speaks of is
//! still in an older file or its own, so it can go with its file.

use std::sync::Arc;
use std::thread;

use crate::cleaning::Cleaner;
use crate::disk::Disk;
use crate::error::Failed;
use crate::format::{self, FILE_HEADER, FRAME_HEADER, FileHeader, FrameHeader, Salt};
use crate::pool::Pool;
use crate::recovery::Recovered;
use crate::shared::{PendingFrame, Shared};
use crate::store::LogFile;

/// Files to give back in a turn: removing one takes a while, and after the deletion of a large queue there are many.
const RETIRED_AT_ONCE: usize = 8;

/// See the module's page.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    pool: Pool,
    active: Option<Active>,
    /// The number of the file to come.
    next_file: u32,
    cleaner: Cleaner,
    /// The last lsn that was synced.
    durable: u64,
}

/// The file that is written to.
struct Active {
    number: u32,
    file: LogFile,
}

impl Active {
    /// Writes a frame and syncs it.
    fn write(&mut self, header: &FrameHeader, ops: &[&[u8]; 2]) -> Result<(), Failed> {
        let file = &mut self.file;
        let head = header.encode(&file.salt, ops);
        let padding =
            &[0; 8][..(header.frame_len() - head.len() as u64 - u64::from(header.len)) as usize];
        let io = |action: &str, error| Failed::io(action, &format::log_name(self.number), &error);
        file.file
            .write_at(&[&head, ops[0], ops[1], padding], file.end)
            .map_err(|error| io("writing", error))?;
        file.file.sync().map_err(|error| io("syncing", error))?;
        file.end += header.frame_len();
        Ok(())
    }
}

/// A writer that panics must not leave others waiting for it.
struct FailOnPanic(Arc<Shared>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(Failed::new("the writer panicked"));
        }
    }
}

/// How a turn ended, if the log did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Done,
    /// There is no space for another file. Nothing has happened; the turn can be tried again with the same frame.
    NoSpace,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
        pool: Pool,
        file_bytes: u64,
        recovered: &Recovered,
    ) -> Self {
        Self {
            cleaner: Cleaner::new(shared.clone(), file_bytes, recovered.heal_through),
            shared,
            disk,
            pool,
            active: None,
            next_file: recovered.next_file,
            durable: recovered.next_lsn - 1,
        }
    }

    /// Gets ready to write: behind the last frame, also after a crash. What may be there of a torn frame can't be taken for one
    /// later, since it had one header and that is overwritten. Files with losses are left as they are and cleaned.
    pub(crate) fn prepare(&mut self) -> Result<(), Failed> {
        let store = self.shared.store.lock();
        let newest = store.files.last_key_value();
        self.active = newest.map(|(number, file)| Active {
            number: *number,
            file: file.clone(),
        });
        drop(store);
        if self.cleaner.has_to_heal() {
            self.seal()?;
        }
        self.fill_pool()
    }

    /// Runs until the log is told to stop or fails.
    pub(crate) fn run(mut self) {
        let shared = self.shared.clone();
        let _guard = FailOnPanic(shared.clone());
        if let Err(failed) = self.run_turns(&shared) {
            shared.fail(failed);
        }
    }

    fn run_turns(&mut self, shared: &Shared) -> Result<(), Failed> {
        while let Some(frame) = shared.next_frame(self.wants_turn()) {
            while self.turn(&frame)? == Turn::NoSpace {
                if !shared.wait_for_space() {
                    return Err(Failed::new("stopped while the disk was full"));
                }
            }
            shared.recycle(frame);
            // Where those who were told share this core they go first: what they bring is in the next frame.
            thread::yield_now();
        }
        Ok(())
    }

    /// Whether there is something to do besides what comes in.
    pub(crate) fn wants_turn(&self) -> bool {
        let keep_from = self.keep_from();
        let store = self.shared.store.lock();
        let retire = !store.retirable(keep_from).is_empty();
        drop(store);
        retire || self.to_clean().is_some()
    }

    /// Writes a frame and everything that goes with it.
    pub(crate) fn turn(&mut self, frame: &PendingFrame) -> Result<Turn, Failed> {
        if let Some(number) = self.to_clean() {
            self.cleaner.step(number, frame.ops.len() as u64)?;
        }
        let oldest = self.keep_from();
        let len = self.cleaner.moved().len() + frame.ops.len();
        let needed = format::frame_len(len as u64);
        if !self.make_room(needed, frame.lsn)? {
            return Ok(Turn::NoSpace);
        }
        let active = self.active.as_mut().expect("there is room in it");
        let header = FrameHeader {
            len: u32::try_from(len).expect("batches and what is moved at once are far smaller"),
            lsn: frame.lsn,
            durable: self.durable,
            first_key: frame.first_key,
            oldest,
        };
        active.write(&header, &[self.cleaner.moved(), &frame.ops])?;
        self.durable = frame.lsn;
        self.apply(frame, needed)?;
        self.cleaner.written();
        self.shared.publish(frame, needed);
        self.retire(oldest)?;
        self.fill_pool()?;
        self.pool.write_zeros(needed)?;
        Ok(Turn::Done)
    }

    /// Brings the index up to what is durable now: a frame of `frame_len` bytes at the end of the active file.
    fn apply(&mut self, frame: &PendingFrame, frame_len: u64) -> Result<(), Failed> {
        let active = self.active.as_ref().expect("it was written to");
        let (number, end) = (active.number, active.file.end);
        let moved_at = end - frame_len + FRAME_HEADER as u64;
        let own_at = moved_at + self.cleaner.moved().len() as u64;
        let mut store = self.shared.store.lock();
        store
            .files
            .get_mut(&number)
            .expect("the active file is one of them")
            .end = end;
        let index = &mut store.index;
        index
            .apply(self.cleaner.moved(), number, moved_at, 0)
            .and_then(|()| index.apply(&frame.ops, number, own_at, frame.first_key))
            .map_err(|_| Failed::new("a batch holds what no batch can"))?;
        store.applied(frame.lsn);
        Ok(())
    }

    /// The oldest file that is needed: everything below holds nothing alive, also not in what is still to come.
    fn keep_from(&self) -> u32 {
        let active = self.active_number();
        let oldest_live = self.shared.store.lock().index.live().oldest_log_file();
        oldest_live.map_or(active, |(oldest, _)| oldest.min(active))
    }

    /// The number of the active file, or of the one that will be.
    fn active_number(&self) -> u32 {
        self.active
            .as_ref()
            .map_or(self.next_file, |active| active.number)
    }

    /// Makes sure that the active file has room for a frame. Says whether there is.
    fn make_room(&mut self, needed: u64, lsn: u64) -> Result<bool, Failed> {
        if self.left() >= needed {
            return Ok(true);
        }
        let Some(spare) = self.pool.take(needed)? else {
            self.shared.set_full(true);
            return Ok(false);
        };
        self.seal()?;
        let number = self.next_file;
        let header = FileHeader {
            number,
            salt: self
                .disk
                .salt()
                .map_err(|error| Failed::io("drawing", "a salt", &error))?,
            first_lsn: lsn,
        };
        let name = format::log_name(number);
        spare
            .file
            .write_at(&[&header.encode()], 0)
            .and_then(|()| spare.file.sync())
            .and_then(|()| self.disk.rename(&spare.name, &name))
            .and_then(|()| self.disk.sync_names())
            .map_err(|error| Failed::io("starting", &name, &error))?;
        self.next_file += 1;
        let file = LogFile {
            file: spare.file,
            salt: Salt::new(header.salt),
            first_lsn: lsn,
            len: spare.len,
            end: FILE_HEADER,
        };
        self.shared.store.lock().files.insert(number, file.clone());
        self.active = Some(Active { number, file });
        Ok(true)
    }

    /// Bytes left in the active file.
    fn left(&self) -> u64 {
        self.active
            .as_ref()
            .map_or(0, |active| active.file.len - active.file.end)
    }

    /// Ends the active file. If much of it is unused, because a very large frame did not fit, that is given back.
    fn seal(&mut self) -> Result<(), Failed> {
        let left = self.left();
        let Some(Active { number, file }) = self.active.take() else {
            return Ok(());
        };
        if left <= file.len / 8 {
            return Ok(());
        }
        file.file
            .truncate(file.end)
            .map_err(|error| Failed::io("cutting", &format::log_name(number), &error))?;
        let mut store = self.shared.store.lock();
        store
            .files
            .get_mut(&number)
            .expect("the active file is one of them")
            .len = file.end;
        Ok(())
    }

    /// Gives the files below `oldest` back, after a durable frame has said that they are not needed.
    fn retire(&mut self, oldest: u32) -> Result<(), Failed> {
        let mut store = self.shared.store.lock();
        let numbers = store.retirable(oldest);
        let retired: Vec<_> = numbers
            .into_iter()
            .take(RETIRED_AT_ONCE)
            .filter_map(|number| Some((number, store.files.remove(&number)?)))
            .collect();
        drop(store);
        if retired.is_empty() {
            return Ok(());
        }
        // An open file would keep its space.
        self.cleaner.forget_below(oldest);
        let retired = retired
            .into_iter()
            .map(|(number, file)| (number, file.file, file.len))
            .collect();
        self.pool.give_back(retired)
    }

    fn fill_pool(&mut self) -> Result<(), Failed> {
        let filled = self.pool.fill()?;
        self.shared.set_full(!filled);
        self.shared.set_spares(self.pool.len() as u64);
        Ok(())
    }

    /// The file to clean, if one has to be.
    fn to_clean(&self) -> Option<u32> {
        let scarce_room = self.pool.is_low().then(|| self.left() + self.pool.room());
        self.cleaner.due(self.active_number(), scarce_room)
    }
}
