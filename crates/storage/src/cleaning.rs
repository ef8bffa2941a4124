//! Cleaning: what is alive in the oldest file is copied to the tail, so that the file can go.
//!
//! A step is part of a turn of the writer and looks through some frames of the oldest file. What of them is still where the
//! index points to is alive; the writer puts the copies before the frame's own batches, since they say how things stood
//! before these.

use std::sync::Arc;

use crate::batch::{self, Content, Op, Ops};
use crate::error::Failed;
use crate::format;
use crate::index::Place;
use crate::scan::Scanner;
use crate::shared::Shared;

/// Files of garbage that are left alone, besides three quarters of what is alive: on the way to the garbage cleaning may have
/// to copy everything alive once, and the log, which grows meanwhile, is to stay below 2.5 times that.
const SLACK_FILES: u64 = 2;
/// Bytes to look through in a step, at least. Each turn ends with a sync, so this also bounds how much of the disk cleaning
/// takes when nothing else happens.
const STEP_BYTES: u64 = 1 << 20;

/// See the module's page.
pub(crate) struct Cleaner {
    shared: Arc<Shared>,
    file_bytes: u64,
    /// Files up to this one have losses that were accepted, and have to go.
    heal_through: u32,
    current: Option<Current>,
    /// Copies that are not written yet, as ops.
    moved: Vec<u8>,
}

/// A file half-way cleaned.
struct Current {
    number: u32,
    scanner: Scanner,
}

impl Cleaner {
    pub(crate) fn new(shared: Arc<Shared>, file_bytes: u64, heal_through: u32) -> Self {
        Self {
            shared,
            file_bytes,
            heal_through,
            current: None,
            moved: Vec::new(),
        }
    }

    pub(crate) fn has_to_heal(&self) -> bool {
        self.heal_through > 0
    }

    /// The file to clean, if one below `active` has to be. `scarce_room` is what room there is on a full disk.
    pub(crate) fn due(&self, active: u32, scarce_room: Option<u64>) -> Option<u32> {
        let store = self.shared.store.lock();
        let (oldest, live_in_oldest) = store
            .index
            .oldest_live()
            .filter(|(oldest, _)| *oldest < active)?;
        let live = store.index.live_bytes();
        let garbage_allowed = if scarce_room.is_some() {
            live / 4
        } else {
            live / 4 * 3
        };
        let slack = SLACK_FILES * self.file_bytes;
        let is_due =
            store.file_bytes() > live + garbage_allowed + slack || oldest <= self.heal_through;
        // On a full disk cleaning must not take the room that releases need, or nothing would ever be released again.
        let fits = scarce_room.is_none_or(|room| live_in_oldest + self.file_bytes / 2 <= room);
        (is_due && fits).then_some(oldest)
    }

    /// Looks through a part of file `number`. `written` bytes come in at the same time: six times as much is looked through,
    /// so that the log shrinks even if most of what is looked through has to be copied. Does nothing as long as earlier
    /// copies are not written.
    pub(crate) fn step(&mut self, number: u32, written: u64) -> Result<(), Failed> {
        if !self.moved.is_empty() {
            return Ok(());
        }
        let mut current = match self.current.take() {
            Some(current) if current.number == number => current,
            _ => Current {
                number,
                scanner: self.scanner(number),
            },
        };
        let budget = STEP_BYTES.min(self.file_bytes / 8).max(6 * written);
        let stop_at = current.scanner.at() + budget;
        while current.scanner.at() < stop_at
            && !current.scanner.is_at_end()
            && (self.moved.len() as u64) < self.file_bytes / 4
        {
            self.clean_frame(&mut current)?;
        }
        self.shared.count_moved(self.moved.len() as u64);
        if !current.scanner.is_at_end() {
            self.current = Some(current);
        }
        Ok(())
    }

    /// The copies to write next.
    pub(crate) fn moved(&self) -> &[u8] {
        &self.moved
    }

    /// The copies are written and in the index.
    pub(crate) fn written(&mut self) {
        self.moved.clear();
    }

    /// Lets go of a file that is retired: as long as it is open it keeps its space.
    pub(crate) fn forget_below(&mut self, oldest: u32) {
        self.current.take_if(|current| current.number < oldest);
    }

    fn scanner(&self, number: u32) -> Scanner {
        let file = self.shared.store.lock().files[&number].clone();
        file.scanner(file.end)
    }

    fn clean_frame(&mut self, current: &mut Current) -> Result<(), Failed> {
        let name = format::log_name(current.number);
        let at = current.scanner.at();
        let io = |error| Failed::io("cleaning", &name, &error);
        let Some(frame) = current.scanner.next().map_err(io)? else {
            if current.number > self.heal_through {
                return Err(Failed::new(format_args!(
                    "{name} is damaged at offset {at}"
                )));
            }
            // A loss that was accepted when the log was opened.
            let next = current.scanner.look_ahead(0).map_err(io)?;
            current.scanner.seek(next.unwrap_or(u64::MAX));
            return Ok(());
        };
        let store = self.shared.store.lock();
        let lives_here = |place: Option<Place>, content: Content<'_>| {
            place.is_some_and(|place| {
                place.file == current.number
                    && u64::from(place.at) == frame.ops_at + u64::from(content.at)
            })
        };
        let mut owners = Vec::new();
        let mut next_key = frame.header.first_key;
        for op in Ops::new(frame.ops).map_while(Result::ok) {
            match op {
                Op::Put { bytes, .. } => {
                    let key = next_key;
                    next_key = next_key.saturating_add(1);
                    if lives_here(store.index.place(key), bytes) {
                        store.index.owners_of(key, &mut owners);
                        batch::push_moved(&mut self.moved, key, &owners, bytes.bytes);
                    }
                }
                Op::Moved { key, bytes, .. } if lives_here(store.index.place(key), bytes) => {
                    store.index.owners_of(key, &mut owners);
                    batch::push_moved(&mut self.moved, key, &owners, bytes.bytes);
                }
                Op::Define { table, id, bytes }
                    if lives_here(store.index.definition(table, id), bytes) =>
                {
                    batch::push_define(&mut self.moved, table, id, bytes.bytes);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
