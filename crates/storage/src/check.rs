//! Checks a log that nobody has open: every checksum of what is needed and of what is alive.

use std::io;

use crate::bodies::Bodies;
use crate::disk::{self, Disk};
use crate::error::{Loss, OpenError};
use crate::format::{self, Place};
use crate::index::Page;
use crate::owners::Hold;
use crate::page::{Kind, PageBytes};
use crate::recovery;
use crate::store::Store;

/// What a check has found to be alive, as far as it could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Frames that were read.
    pub frames: u64,
    /// Bytes of log that were read.
    pub log_bytes: u64,
    /// Definitions.
    pub definitions: u64,
    /// Records, besides those that are in a page and nowhere else.
    pub records: u64,
    /// Pages.
    pub pages: u64,
    /// Records in pages. One that several owners hold counts in each, and among `records`.
    pub paged_records: u64,
    /// Segments that something alive lies in.
    pub segments: u64,
    /// Bytes of what is alive.
    pub live_bytes: u64,
    /// How often damage was reported.
    pub damaged: u64,
}

/// Checks the log in `disk`, which must not be open, and changes nothing. What is damaged is reported with its file and offset,
/// and left out; an error is only what keeps it from being checked at all.
pub fn check(disk: &dyn Disk, report: &mut dyn FnMut(&Loss)) -> Result<Checked, OpenError> {
    let _lock = disk::lock(disk)?;
    let recovered = recovery::inspect(disk)?;
    let index = &recovered.store.index;
    let mut check = Check {
        store: &recovered.store,
        bodies: Bodies::default(),
        damaged: 0,
        report,
    };
    recovered.losses.iter().for_each(|loss| check.report(loss));
    for (_, place) in index.definitions() {
        check.body(place, "a definition is not valid");
    }
    for (_, place) in index.records() {
        check.body(place, "a record is not valid");
    }
    let mut pages: Vec<_> = index.pages().collect();
    pages.sort_unstable_by_key(|(_, page)| (page.place.file, page.place.at));
    for (id, page) in pages {
        check.page(id, page);
    }
    Ok(Checked {
        frames: recovered.frames,
        log_bytes: recovered.bytes,
        definitions: index.definition_count(),
        records: index.record_count(),
        pages: index.page_count(),
        paged_records: index.paged_count(),
        segments: recovered.store.segments.len() as u64,
        live_bytes: index.live().in_log() + index.live().in_segments(),
        damaged: check.damaged,
    })
}

struct Check<'a> {
    store: &'a Store,
    bodies: Bodies,
    damaged: u64,
    report: &'a mut dyn FnMut(&Loss),
}

impl Check<'_> {
    fn report(&mut self, loss: &Loss) {
        self.damaged += 1;
        (self.report)(loss);
    }

    fn lose(&mut self, place: Place, offset: usize, what: &'static str) {
        self.report(&Loss {
            file: format::file_name(place.file),
            offset: u64::from(place.at) + offset as u64,
            what,
            frames: None,
        });
    }

    fn body(&mut self, place: Place, what: &'static str) {
        // Its file is lost, and that is reported.
        let Some(source) = self.store.source(place) else {
            return;
        };
        match self.bodies.read(&source) {
            Ok(Some(_)) => {}
            Ok(None) => self.lose(place, 0, what),
            Err(_) => self.lose(place, 0, "it can't be read"),
        }
    }

    fn page(&mut self, id: u64, page: &Page) {
        let place = page.place;
        let Some(segment) = self.store.segments.get(&place.file) else {
            self.lose(place, 0, "a page is lost with its segment");
            return;
        };
        let mut bytes = vec![0; place.len as usize];
        let read: io::Result<()> = segment.file.read_at(&mut bytes, place.at.into());
        if read.is_err() {
            self.lose(place, 0, "it can't be read");
            return;
        }
        let Some(content) = PageBytes::new(&segment.salt, id, page.owner, &bytes) else {
            self.lose(place, 0, "the page is not valid");
            return;
        };
        let mut holds: Vec<Hold> = Vec::new();
        for (entry, at) in content.entries() {
            if entry.kind == Kind::Shared {
                self.store.index.holds_of(entry.key, &mut holds);
                if !holds
                    .iter()
                    .any(|hold| hold.owner == page.owner && hold.paged)
                {
                    self.lose(place, at, "a page refers to a record that is gone");
                }
            } else if content.body(&entry, at).is_none() {
                self.lose(place, at, "a record in a page is not valid");
            }
        }
    }
}
