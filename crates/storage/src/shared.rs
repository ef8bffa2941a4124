//! What the callers of a log and its writer share: frames that fill, who waits for what, and the store.
//!
//! ```text
//! append → frames, in order → next_frame → (the writer's turn) → publish → durable, progress, callbacks
//! ```
//!
//! The writer sleeps when there is nothing to write, and for [`Options::lazy`] when there are only releases and marks that
//! nobody waits for. A frame may also wait a moment for more, see [`Gather`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use crate::batch::{self, Batch};
use crate::disk::DiskFile;
use crate::error::{Failed, ReadError};
use crate::format::{self, Place};
use crate::gather::{self, Gather};
use crate::log::{Appended, Callback, FailureCallback, Lsn, Options, Stats};
use crate::store::Store;

/// What the callers and the writer share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    work: Condvar,
    /// Something was written: there is room for more, and somebody's lsn may be durable.
    progress: Condvar,
    pub(crate) store: Mutex<Store>,
    durable: AtomicU64,
    full: AtomicBool,
    callbacks: RwLock<Callbacks>,
    counts: Counts,
    frame_bytes: usize,
    in_flight_bytes: usize,
    lazy: Duration,
    file_bytes: u64,
}

/// Batches that will be one frame.
pub(crate) struct PendingFrame {
    pub(crate) lsn: u64,
    pub(crate) first_key: u64,
    pub(crate) ops: Vec<u8>,
    /// Messages and definitions that somebody waits for.
    awaited: u32,
}

struct State {
    /// Frames that fill, in order. Only the last is added to.
    frames: VecDeque<PendingFrame>,
    /// Buffers of frames that were written.
    buffers: Vec<Vec<u8>>,
    next_lsn: u64,
    next_key: u64,
    /// Bytes of ops that were appended and are not durable.
    in_flight: usize,
    /// Somebody waits, or lazy changes have waited long enough.
    hurry: bool,
    /// How the writer waits for work, if it does.
    sleep: Option<Sleep>,
    gather: Gather,
    stop: Option<Stop>,
    failed: Option<Failed>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleep {
    /// Until something comes in.
    Idle,
    /// Until something urgent comes in, but not long.
    Lazy,
    /// Until somebody waits for so much of the first frame, but not long.
    Gather(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Write what there is, then the mark of a clean shutdown.
    Close,
    /// Write what there is.
    Abandon,
    /// All is written.
    Written,
}

#[derive(Default)]
struct Callbacks {
    durable: Vec<Callback<Lsn>>,
    failure: Vec<FailureCallback>,
    full: Vec<Callback<bool>>,
}

#[derive(Default)]
struct Counts {
    spares: AtomicU64,
    syncs: AtomicU64,
    written_bytes: AtomicU64,
    moved_bytes: AtomicU64,
    relocated_bytes: AtomicU64,
}

/// The largest batch: with what is moved in the same frame it stays below the largest file.
const BATCH_MAX: usize = 1 << 30;
/// Buffers that are kept for frames to come.
const BUFFERS_KEPT: usize = 2;
/// How often a writer without space looks whether there is some again.
const SPACE_RETRY: Duration = Duration::from_millis(100);

impl Shared {
    pub(crate) fn new(options: &Options, store: Store, next_lsn: u64) -> Self {
        Self {
            state: Mutex::new(State {
                frames: VecDeque::new(),
                buffers: Vec::new(),
                next_lsn,
                next_key: store.index.next_key().max(1),
                in_flight: 0,
                hurry: false,
                sleep: None,
                gather: Gather::new(gather::now()),
                stop: None,
                failed: None,
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
            store: Mutex::new(store),
            durable: AtomicU64::new(next_lsn - 1),
            full: AtomicBool::new(false),
            callbacks: RwLock::default(),
            counts: Counts::default(),
            frame_bytes: options.frame_bytes(),
            in_flight_bytes: options.in_flight_bytes,
            lazy: options.lazy,
            file_bytes: options.file_bytes,
        }
    }

    pub(crate) fn append(&self, batch: &Batch) -> Appended {
        let len = batch.ops().len();
        assert!(len < BATCH_MAX, "a batch of {len} bytes");
        let mut state = self.state.lock();
        while state.has_to_wait(len, self.in_flight_bytes) {
            state.hurry = true;
            self.wake(&mut state);
            self.progress.wait(&mut state);
        }
        let first_key = state.next_key;
        if state.failed.is_some() {
            // Nobody writes any more: what is not kept does not fill the memory.
            return Appended {
                first_key,
                lsn: Lsn(u64::MAX),
            };
        }
        let frame = state.frame_for(len, self.frame_bytes);
        frame.ops.extend_from_slice(batch.ops());
        if batch.is_urgent() {
            frame.awaited += batch.puts().max(1);
        }
        let lsn = Lsn(frame.lsn);
        state.next_key += u64::from(batch.puts());
        state.in_flight += len;
        let has_work = match state.sleep {
            Some(Sleep::Idle) => true,
            Some(Sleep::Lazy) => state.is_ready(),
            Some(Sleep::Gather(enough)) => {
                let is_enough = state.is_enough(enough);
                if !is_enough && state.is_ready() {
                    state.gather.holds();
                }
                is_enough
            }
            None => false,
        };
        if has_work {
            self.wake(&mut state);
        }
        Appended { first_key, lsn }
    }

    pub(crate) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    pub(crate) fn on_durable(&self, callback: Callback<Lsn>) {
        self.callbacks.write().durable.push(callback);
    }

    pub(crate) fn on_full(&self, callback: Callback<bool>) {
        self.callbacks.write().full.push(callback);
    }

    pub(crate) fn on_failure(&self, callback: FailureCallback) {
        // Held while we look, or a failure could come in between and miss this callback.
        let mut callbacks = self.callbacks.write();
        let failed = self.state.lock().failed.clone();
        match failed {
            Some(failed) => callback(&failed),
            None => callbacks.failure.push(callback),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let in_flight_bytes = self.state.lock().in_flight as u64;
        let store = self.store.lock();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let spares = count(&self.counts.spares);
        Stats {
            records: store.index.record_count(),
            definitions: store.index.definition_count(),
            live_bytes: store.index.live().in_log() + store.index.live().in_segments(),
            in_flight_bytes,
            file_bytes: store.file_bytes() + spares * self.file_bytes,
            files: store.files.len() as u64,
            pages: store.index.page_count(),
            paged_records: store.index.paged_count(),
            segments: store.segments.len() as u64,
            segment_bytes: store.segment_bytes(),
            segment_live_bytes: store.index.live().in_segments(),
            spares,
            syncs: count(&self.counts.syncs),
            written_bytes: count(&self.counts.written_bytes),
            moved_bytes: count(&self.counts.moved_bytes),
            relocated_bytes: count(&self.counts.relocated_bytes),
        }
    }

    /// Wakes the writer if it sleeps. Once: until it runs nobody else has to.
    fn wake(&self, state: &mut State) {
        if state.sleep.take().is_some() {
            self.work.notify_one();
        }
    }

    pub(crate) fn wait(&self, lsn: Lsn) -> Result<(), Failed> {
        if self.durable.load(Ordering::Acquire) >= lsn.0 {
            return Ok(());
        }
        let mut state = self.state.lock();
        loop {
            if self.durable.load(Ordering::Acquire) >= lsn.0 {
                return Ok(());
            }
            if let Some(failed) = &state.failed {
                return Err(failed.clone());
            }
            if state.frames.front().is_some_and(|frame| frame.lsn <= lsn.0) {
                state.hurry = true;
                self.wake(&mut state);
            }
            self.progress.wait(&mut state);
        }
    }

    /// Waits until everything is durable that was appended before.
    pub(crate) fn wait_for_appended(&self) -> Result<(), Failed> {
        self.wait(self.last_lsn())
    }

    pub(crate) fn read(&self, key: u64) -> Result<Vec<u8>, ReadError> {
        let mut place = self.place(key)?;
        loop {
            let source = self.store.lock().source(place);
            let read = source.map(|source| read_record(&*source.file, place));
            if let Some(Ok(Some(bytes))) = read {
                return Ok(bytes);
            }
            // It may have been moved, and its file given another life, while it was read.
            let now = self.place(key)?;
            if now == place {
                return Err(match read {
                    Some(Err(source)) => ReadError::Io { key, source },
                    _ => ReadError::Damaged {
                        key,
                        file: format::file_name(place.file),
                        offset: u64::from(place.at),
                    },
                });
            }
            place = now;
        }
    }

    /// Where a record lies. Waits if it may be on its way: put just now, or come in with a page.
    fn place(&self, key: u64) -> Result<Place, ReadError> {
        let is_known = key < self.state.lock().next_key;
        let find = || self.store.lock().index.place(key);
        let found = find();
        if found.is_none() && is_known {
            self.wait_for_appended()?;
            return find().ok_or(ReadError::Gone(key));
        }
        found.ok_or(ReadError::Gone(key))
    }

    /// The frame to write next: waits for one, unless the writer wants a turn anyway. `None` when the log has ended.
    pub(crate) fn next_frame(&self, wants_turn: bool) -> Option<PendingFrame> {
        let mut state = self.state.lock();
        if !wants_turn {
            self.gather(&mut state);
        }
        loop {
            if state.failed.is_some() {
                return None;
            }
            let ready = wants_turn || state.is_ready();
            if !state.frames.is_empty() && ready {
                state.gather.taken(gather::now());
                state.hurry = false;
                return state.frames.pop_front();
            }
            match state.stop {
                Some(Stop::Close) => {
                    state.stop = Some(Stop::Written);
                    let mut frame = state.new_frame();
                    batch::push_close(&mut frame.ops);
                    state.in_flight += frame.ops.len();
                    return Some(frame);
                }
                Some(Stop::Abandon | Stop::Written) => return None,
                None if wants_turn => {
                    state.gather.taken(gather::now());
                    return Some(state.new_frame());
                }
                None => self.sleep(&mut state),
            }
        }
    }

    /// Lets the first frame grow, if that is likely to pay.
    fn gather(&self, state: &mut MutexGuard<'_, State>) {
        let Some(wait) = state.gather.wait() else {
            return;
        };
        if state.is_ready() {
            state.gather.holds();
        }
        let mut has_waited = false;
        while state.failed.is_none() && !state.is_enough(wait.enough) && gather::now() < wait.until
        {
            state.sleep = Some(Sleep::Gather(wait.enough));
            self.work.wait_until(state, wait.until);
            has_waited = true;
        }
        state.sleep = None;
        if has_waited {
            let came = state.is_enough(wait.enough);
            state.gather.has_waited(came);
        }
    }

    fn sleep(&self, state: &mut MutexGuard<'_, State>) {
        if state.frames.is_empty() {
            state.sleep = Some(Sleep::Idle);
            self.work.wait(state);
        } else {
            state.sleep = Some(Sleep::Lazy);
            state.hurry |= self.work.wait_for(state, self.lazy).timed_out();
        }
        state.sleep = None;
    }

    /// A frame is durable and in the index.
    pub(crate) fn publish(&self, frame: &PendingFrame, written: u64) {
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.counts
            .written_bytes
            .fetch_add(written, Ordering::Relaxed);
        let mut state = self.state.lock();
        state.in_flight -= frame.ops.len();
        let pending = state.frames.iter().map(|frame| frame.awaited).sum();
        state.gather.synced(frame.awaited, pending, gather::now());
        self.durable.store(frame.lsn, Ordering::Release);
        drop(state);
        self.progress.notify_all();
        self.callbacks
            .read()
            .durable
            .iter()
            .for_each(|callback| callback(Lsn(frame.lsn)));
    }

    /// Keeps a written frame's buffer for another.
    pub(crate) fn recycle(&self, frame: PendingFrame) {
        let mut state = self.state.lock();
        if state.buffers.len() < BUFFERS_KEPT && frame.ops.capacity() <= 2 * self.frame_bytes {
            state.buffers.push(frame.ops);
        }
    }

    /// Waits a little for space on the disk. Says whether to try again.
    pub(crate) fn wait_for_space(&self) -> bool {
        let mut state = self.state.lock();
        if state.stop.is_some() {
            return false;
        }
        self.work.wait_for(&mut state, SPACE_RETRY);
        true
    }

    pub(crate) fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::AcqRel) != full {
            self.callbacks
                .read()
                .full
                .iter()
                .for_each(|callback| callback(full));
        }
    }

    pub(crate) fn set_spares(&self, spares: u64) {
        self.counts.spares.store(spares, Ordering::Relaxed);
    }

    pub(crate) fn count_moved(&self, bytes: u64) {
        self.counts.moved_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_relocated(&self, bytes: u64) {
        self.counts
            .relocated_bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }

    /// The last lsn that was given out.
    pub(crate) fn last_lsn(&self) -> Lsn {
        Lsn(self.state.lock().next_lsn - 1)
    }

    /// Ends the log for good. Only the first failure counts.
    pub(crate) fn fail(&self, failed: Failed) {
        let mut state = self.state.lock();
        if state.failed.is_some() {
            return;
        }
        state.failed = Some(failed.clone());
        self.wake(&mut state);
        drop(state);
        self.progress.notify_all();
        self.callbacks
            .read()
            .failure
            .iter()
            .for_each(|callback| callback(&failed));
    }

    pub(crate) fn stop(&self, stop: Stop) {
        let mut state = self.state.lock();
        if state.stop.is_none() {
            state.stop = Some(stop);
        }
        state.sleep = None;
        self.work.notify_one();
    }

    #[cfg(test)]
    pub(crate) fn has_frames(&self) -> bool {
        !self.state.lock().frames.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn has_to_wait(&self, len: usize) -> bool {
        self.state.lock().has_to_wait(len, self.in_flight_bytes)
    }

    #[cfg(test)]
    pub(crate) fn is_ready(&self) -> bool {
        self.state.lock().is_ready()
    }

    /// As if a frame of so many messages had just been synced, and syncs took so long that a test which waits it out hangs.
    #[cfg(test)]
    pub(crate) fn expect_messages(&self, count: u32) {
        let now = gather::now() + Duration::from_secs(24 * 3600);
        self.state.lock().gather.synced(count, 0, now);
    }

    #[cfg(test)]
    pub(crate) fn is_gathering(&self) -> bool {
        matches!(self.state.lock().sleep, Some(Sleep::Gather(_)))
    }

    /// The writer has ended: whoever comes now is told so.
    pub(crate) fn end(&self) -> Result<(), Failed> {
        let mut state = self.state.lock();
        match &state.failed {
            Some(failed) => Err(failed.clone()),
            None => {
                state.failed = Some(Failed::new("it was closed"));
                drop(state);
                self.progress.notify_all();
                Ok(())
            }
        }
    }
}

impl State {
    /// Whether there is no room for `len` more bytes on their way to the disk. One batch always has room.
    fn has_to_wait(&self, len: usize, in_flight_max: usize) -> bool {
        self.failed.is_none() && self.in_flight > 0 && self.in_flight + len > in_flight_max
    }

    /// Whether the first frame should be written now.
    fn is_ready(&self) -> bool {
        self.hurry
            || self.stop.is_some()
            || self.frames.len() > 1
            || self.frames.front().is_some_and(|frame| frame.awaited > 0)
    }

    /// Whether the first frame need not wait until somebody waits for more than so much of it.
    fn is_enough(&self, awaited: u32) -> bool {
        self.hurry
            || self.stop.is_some()
            || self.frames.len() > 1
            || self
                .frames
                .front()
                .is_some_and(|frame| frame.awaited >= awaited)
    }

    /// The frame that a batch of `len` bytes goes into. One that would grow beyond `frame_bytes` is left as it is.
    fn frame_for(&mut self, len: usize, frame_bytes: usize) -> &mut PendingFrame {
        let fits = self
            .frames
            .back()
            .is_some_and(|frame| frame.ops.is_empty() || frame.ops.len() + len <= frame_bytes);
        if !fits {
            let frame = self.new_frame();
            self.frames.push_back(frame);
        }
        self.frames.back_mut().expect("there is one now")
    }

    fn new_frame(&mut self) -> PendingFrame {
        let mut ops = self.buffers.pop().unwrap_or_default();
        ops.clear();
        let lsn = self.next_lsn;
        self.next_lsn += 1;
        PendingFrame {
            lsn,
            first_key: self.next_key,
            ops,
            awaited: 0,
        }
    }
}

/// The bytes of a record, if its checksum, which lies before them, is right.
fn read_record(file: &dyn DiskFile, place: Place) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; place.len as usize + 4];
    file.read_at(&mut bytes, u64::from(place.at) - 4)?;
    let crc = format::u32_at(&bytes, 0);
    bytes.drain(..4);
    Ok((crc == crc32fast::hash(&bytes)).then_some(bytes))
}
