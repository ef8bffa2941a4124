//! The log's face: what callers append to, wait for and read from. The [`Writer`] does the work behind it, on a thread of its own.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use crate::backup::{self, Backup, BackupError, BackupProgress};
use crate::batch::Batch;
use crate::disk::{self, Disk};
use crate::error::{Failed, Loss, OpenError, PageError, ReadError};
use crate::format::{FILE_HEADER, FILE_MAX};
use crate::page::{PageId, PageRecord, PagedRecord};
use crate::paging::{Draft, Paging};
use crate::pool::Pool;
use crate::recovery;
use crate::restore::{self, Restored};
use crate::segment::Segments;
use crate::shared::{Shared, Stop};
use crate::writer::Writer;

/// A position in the log. What was appended is durable when [`Log::durable`] has reached the position it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// How a log is to be run. The defaults suit a node.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of a file. Three are allocated from the start.
    pub file_bytes: u64,
    /// Size of a segment, the kind of file that pages lie in. A page that is larger has one of its own.
    pub segment_bytes: u64,
    /// Bytes that may wait for the disk. An append beyond that waits, too.
    pub in_flight_bytes: usize,
    /// How long releases and marks wait for something that has to be synced anyway.
    pub lazy: Duration,
    /// Whether to open a damaged log without what is damaged. See [`Log::losses`].
    pub accept_loss: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file_bytes: 64 << 20,
            segment_bytes: 64 << 20,
            in_flight_bytes: 32 << 20,
            lazy: Duration::from_millis(25),
            accept_loss: false,
        }
    }
}

impl Options {
    /// The largest frame made of more than one batch. Small enough that little of a file stays unused at its end.
    pub(crate) fn frame_bytes(&self) -> usize {
        (self.file_bytes / 16) as usize
    }

    fn check(&self) -> Result<(), OpenError> {
        let sizes = [self.file_bytes, self.segment_bytes];
        if sizes
            .iter()
            .any(|bytes| *bytes < 2 * FILE_HEADER || *bytes > FILE_MAX)
        {
            return Err(OpenError::Options(
                "a file must have between 8 KiB and 4 GiB",
            ));
        }
        Ok(())
    }
}

/// What an append was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The key of the batch's first put. The others follow by one.
    pub first_key: u64,
    /// When this is durable, the batch is.
    pub lsn: Lsn,
}

/// Figures of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records that are alive.
    pub records: u64,
    /// Definitions that are alive.
    pub definitions: u64,
    /// Bytes of what is alive, as it takes to write it down.
    pub live_bytes: u64,
    /// Bytes of changes that were appended and are not durable.
    pub in_flight_bytes: u64,
    /// Bytes of the log files in use and of the spares.
    pub file_bytes: u64,
    /// Log files in use.
    pub files: u64,
    /// Pages that are alive.
    pub pages: u64,
    /// Records in them. One that several owners hold counts in each page that refers to it, and among `records`.
    pub paged_records: u64,
    /// Segments there are.
    pub segments: u64,
    /// Bytes they take.
    pub segment_bytes: u64,
    /// Bytes in them that are alive: also part of `live_bytes`.
    pub segment_live_bytes: u64,
    /// Allocated files that wait to be used.
    pub spares: u64,
    /// Frames written, each followed by a sync.
    pub syncs: u64,
    /// Bytes of frames written.
    pub written_bytes: u64,
    /// Those of them that cleaning has written.
    pub moved_bytes: u64,
    /// Bytes that cleaning of segments has copied.
    pub relocated_bytes: u64,
}

/// Called on the writer's thread.
pub type Callback<T> = Box<dyn Fn(T) + Send + Sync>;
/// Called on the writer's thread, once.
pub type FailureCallback = Box<dyn Fn(&Failed) + Send + Sync>;

/// What opening found.
#[derive(Debug, Clone, Default)]
struct Opened {
    clean: bool,
    frames: u64,
    bytes: u64,
}

/// An open log. Clones are the same log. When the last is dropped, what was appended is written, but without the mark of a
/// clean shutdown that [`Log::close`] leaves.
///
/// Callbacks must not hold a clone, or the log would never be dropped; and they must not register callbacks.
#[derive(Clone)]
pub struct Log {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    paging: Paging,
    opened: Opened,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The directory is ours until this is dropped, which is after the writer has ended.
    _lock: Box<dyn Send + Sync>,
}

impl Log {
    /// Opens the log in `disk`, or makes one, and hands to `restore` what is alive in it: first the definitions by table and
    /// id, then the records and pages by key, a page by its first.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        restore: &mut dyn FnMut(Restored<'_>),
    ) -> Result<Self, OpenError> {
        let directory = disk.describe();
        let (log, writer) = Self::open_stepped(disk, options, restore)?;
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(|| writer.run())
            .map_err(|source| OpenError::Io {
                directory,
                action: "starting the writer".to_owned(),
                source,
            })?;
        *log.handle.writer.lock() = Some(thread);
        Ok(log)
    }

    /// Like [`Log::open`], but the caller makes the writer's turns.
    pub(crate) fn open_stepped(
        disk: Arc<dyn Disk>,
        options: Options,
        restore: &mut dyn FnMut(Restored<'_>),
    ) -> Result<(Self, Writer), OpenError> {
        options.check()?;
        let io = |action: &str, source: io::Error| OpenError::Io {
            directory: disk.describe(),
            action: action.to_owned(),
            source,
        };
        let lock = disk::lock(&*disk)?;
        let mut recovered = recovery::recover(&*disk, options.accept_loss)?;
        let mut lost = restore::restore(&mut recovered, &*disk, options.accept_loss, restore)?;
        let pool = Pool::open(disk.clone(), options.file_bytes)
            .map_err(|error| io("opening the spare files", error))?;
        let opened = Opened {
            clean: recovered.clean && recovered.losses.is_empty(),
            frames: recovered.frames,
            bytes: recovered.bytes,
        };
        let store = std::mem::take(&mut recovered.store);
        let next_page = store.index.next_page();
        let shared = Arc::new(Shared::new(&options, store, recovered.next_lsn));
        let segments = Segments::new(
            disk.clone(),
            shared.clone(),
            options.segment_bytes,
            recovered.next_segment,
        );
        let paging = Paging::new(
            shared.clone(),
            segments,
            next_page,
            options.accept_loss,
            std::mem::take(&mut recovered.losses),
        );
        let mut writer = Writer::new(
            shared.clone(),
            disk.clone(),
            pool,
            options.file_bytes,
            &recovered,
        );
        writer.prepare().map_err(|failed| {
            io(
                failed.reason(),
                io::Error::other("the log can't be written"),
            )
        })?;
        if !lost.is_empty() {
            paging.complete(&mut lost);
            shared.append(&lost);
            lost.clear();
        }
        let handle = Handle {
            shared,
            paging,
            opened,
            writer: Mutex::new(None),
            _lock: lock,
        };
        Ok((
            Self {
                handle: Arc::new(handle),
            },
            writer,
        ))
    }

    /// Appends a batch, whole or, after a crash, not at all, and leaves it empty. Does not wait for the disk, unless too many
    /// bytes wait for it already. After a failure the batch is gone and its lsn will never be durable.
    ///
    /// # Panics
    /// If the batch has 1 GiB or more.
    pub fn append(&self, batch: &mut Batch) -> Appended {
        self.handle.paging.complete(batch);
        let appended = self.handle.shared.append(batch);
        batch.clear();
        appended
    }

    /// Everything up to this position is on disk: written and synced.
    pub fn durable(&self) -> Lsn {
        self.handle.shared.durable()
    }

    /// Waits until a position is durable.
    pub fn wait(&self, lsn: Lsn) -> Result<(), Failed> {
        self.handle.shared.wait(lsn)
    }

    /// Calls `callback` on the writer's thread after every sync, with the position that is now durable. The next frame waits
    /// for its return.
    pub fn on_durable(&self, callback: Callback<Lsn>) {
        self.handle.shared.on_durable(callback);
    }

    /// Calls `callback` once, when a write or sync has failed: at once, if that has happened already.
    pub fn on_failure(&self, callback: FailureCallback) {
        self.handle.shared.on_failure(callback);
    }

    /// Calls `callback` whenever [`Log::is_full`] changes.
    pub fn on_full(&self, callback: Callback<bool>) {
        self.handle.shared.on_full(callback);
    }

    /// Whether there is no space for another file. There is still some room in those there are: for what is in flight, and
    /// for releases. Nobody should put now.
    pub fn is_full(&self) -> bool {
        self.handle.shared.is_full()
    }

    /// The bytes of a live record. Waits for a put that is still on its way to the disk.
    pub fn read(&self, key: u64) -> Result<Vec<u8>, ReadError> {
        self.handle.shared.read(key)
    }

    /// Copies a run of records of `owner` to a segment, in the order given. Waits until they are durable, and needs no lock
    /// of the caller's: the records stay what they are until [`Log::commit_page`]. If the owner releases one of them, the
    /// draft has to be given up. A mark that was not durable before may not be in the page.
    ///
    /// # Panics
    /// If `meta` has more than 64 bytes, there are no records or more than 1 048 576, or they have nearly 4 GiB.
    pub fn draft_page(
        &self,
        owner: u32,
        meta: &[u8],
        records: &[PageRecord<'_>],
    ) -> Result<Draft, PageError> {
        self.handle.paging.draft(owner, meta, records)
    }

    /// Makes all drafts so far durable.
    pub fn sync_drafts(&self) -> Result<(), Failed> {
        self.handle.paging.segments.sync()
    }

    /// Makes a draft a page: an append that does not wait for the disk, unless too many bytes wait for it already. The page
    /// holds from now on what its owner held of the records. Nobody may release or mark them before they are paged in.
    ///
    /// # Panics
    /// If the draft has records of the log and [`Log::sync_drafts`] was not called after it was made.
    pub fn commit_page(&self, draft: Draft) -> PageId {
        self.handle.paging.commit(draft)
    }

    /// Takes a page back: hands out what is in it, in order, and ends it. Its records are again what they were. Reads from
    /// the disk, and does not wait for the log. Records that were inline in a page of an earlier process are left out.
    ///
    /// Damage is the end of the log. With [`Options::accept_loss`] it is among [`Log::losses`], and what can be read is given.
    pub fn page_in(
        &self,
        page: PageId,
        each: &mut dyn FnMut(PagedRecord<'_>),
    ) -> Result<(), PageError> {
        self.handle.paging.page_in(page, each)
    }

    /// Hands out what is in a page and changes nothing.
    pub fn read_page(
        &self,
        page: PageId,
        each: &mut dyn FnMut(PagedRecord<'_>),
    ) -> Result<(), PageError> {
        self.handle.paging.read_page(page, each)
    }

    /// Says that a page will be taken back soon, so that the disk can read ahead.
    pub fn will_need(&self, page: PageId) {
        self.handle.paging.will_need(page);
    }

    /// Makes room in the segments: removes some that nobody needs, or moves some of what is alive out of one with much
    /// garbage. A bounded piece of work, for a thread that may wait for the disk; to be called now and then, and again as
    /// long as it says that there may be more to do.
    pub fn clean_segments(&self) -> Result<bool, Failed> {
        self.handle.paging.clean_segments()
    }

    /// Copies the log to an empty directory, as it is durable now, while it goes on. The copy opens like any log that was not
    /// closed. Space that comes free meanwhile is not given back before the copy is complete. Calls `progress` now and then.
    pub fn backup(
        &self,
        to: &dyn Disk,
        progress: &mut dyn FnMut(BackupProgress),
    ) -> Result<Backup, BackupError> {
        backup::backup(&self.handle.shared, to, progress)
    }

    /// Writes what was appended, marks the log as closed, and ends it.
    pub fn close(self) -> Result<(), Failed> {
        self.handle.stop(Stop::Close)
    }

    /// Whether the log was closed before it was opened now, or is new.
    pub fn was_clean(&self) -> bool {
        self.handle.opened.clean || self.handle.opened.frames == 0
    }

    /// Bytes of log that were read when it was opened.
    pub fn replayed_bytes(&self) -> u64 {
        self.handle.opened.bytes
    }

    /// Frames that were read when it was opened.
    pub fn replayed_frames(&self) -> u64 {
        self.handle.opened.frames
    }

    /// What turned out to be damaged since the log was opened with [`Options::accept_loss`].
    pub fn losses(&self) -> Vec<Loss> {
        self.handle.paging.losses()
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Figures as of now.
    pub fn stats(&self) -> Stats {
        self.handle.shared.stats()
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("durable", &self.durable())
            .finish_non_exhaustive()
    }
}

impl Handle {
    fn stop(&self, stop: Stop) -> Result<(), Failed> {
        self.shared.stop(stop);
        if let Some(writer) = self.writer.lock().take() {
            // A callback may have held the last clone: the writer can't wait for itself.
            if writer.thread().id() != thread::current().id() {
                // If it has panicked, it has told so itself.
                let _ = writer.join();
            }
        }
        self.shared.end()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Whoever wants to know has called `close`, or waits for an lsn and hears of a failure there.
        let _ = self.stop(Stop::Abandon);
    }
}
