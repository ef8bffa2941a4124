//! Cleaning: what is alive in the oldest file is copied to the tail, so that the file can go.
//!
//! A step is part of a turn of the writer and looks through some frames of the oldest file. What of them is still where the
//! index points to is alive; the writer puts the copies before the frame's own batches, since they say how things stood
//! before these.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::batch::{self, Content, Op, Ops};
use crate::error::Failed;
use crate::format::{self, Place};
use crate::index::Index;
use crate::scan::Scanner;
use crate::shared::Shared;

/// Files of garbage that are left alone, besides three quarters of what is alive: on the way to the garbage cleaning may have
/// to copy everything alive once, and the log, which grows meanwhile, is to stay below 2.5 times that.
pub(crate) const SLACK_FILES: u64 = 2;
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
    /// Records among them whose bytes lie in a segment: a file may have several ops that would tell the same of one.
    placed: HashSet<u64, FixedState>,
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
            placed: HashSet::default(),
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
            .live()
            .oldest_log_file()
            .filter(|(oldest, _)| *oldest < active)?;
        let live = store.index.live().in_log();
        let garbage_allowed = if scarce_room.is_some() {
            live / 4
        } else {
            live / 4 * 3
        };
        let slack = SLACK_FILES * self.file_bytes;
        let is_due = store.file_bytes_from(oldest) > live + garbage_allowed + slack
            || oldest <= self.heal_through;
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
        self.placed.clear();
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
        let mut here = Here {
            index: &store.index,
            file: current.number,
            ops_at: frame.ops_at,
            moved: &mut self.moved,
            placed: &mut self.placed,
        };
        let mut next_key = frame.header.first_key;
        for op in Ops::new(frame.ops).map_while(Result::ok) {
            match op {
                Op::Put { bytes, .. } => {
                    here.carry_record(next_key, Some(bytes));
                    next_key = next_key.saturating_add(1);
                }
                Op::Moved { key, bytes, .. } => {
                    here.carry_record(key, Some(bytes));
                }
                Op::Placed { key, .. } => here.carry_record(key, None),
                Op::Page(page) => here.carry_page(page.page),
                Op::Define { table, id, bytes }
                    if here.is_at(store.index.definition(table, id), bytes) =>
                {
                    batch::push_define(here.moved, table, id, bytes.bytes);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The frame that is cleaned, what is alive, and what is carried.
struct Here<'a> {
    index: &'a Index,
    file: u32,
    ops_at: u64,
    moved: &'a mut Vec<u8>,
    placed: &'a mut HashSet<u64, FixedState>,
}

impl Here<'_> {
    /// Whether `place` is that of an op's content.
    fn is_at(&self, place: Option<Place>, content: Content<'_>) -> bool {
        place.is_some_and(|place| {
            place.file == self.file && u64::from(place.at) == self.ops_at + u64::from(content.at)
        })
    }

    /// Carries what an op says of a record, if it is what the index goes by; with its content, unless that lies in a segment.
    fn carry_record(&mut self, key: u64, content: Option<Content<'_>>) {
        let Some(slot) = self.index.slot(key).filter(|slot| slot.home() == self.file) else {
            return;
        };
        let mut holds = Vec::new();
        if slot.place.is_in_segment() {
            if self.placed.insert(key) {
                self.index.holds_of(key, &mut holds);
                batch::push_placed(self.moved, key, slot.place, &holds);
            }
        } else if let Some(content) =
            content.filter(|content| self.is_at(Some(slot.place), *content))
        {
            self.index.holds_of(key, &mut holds);
            batch::push_moved(self.moved, key, &holds, content.bytes);
        }
    }

    fn carry_page(&mut self, id: u64) {
        if let Some(page) = self.index.page(id).filter(|page| page.home == self.file) {
            batch::push_page(self.moved, &page.to_op(id));
        }
    }
}
