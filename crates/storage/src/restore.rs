//! Hands out what is alive after recovery.

use std::io;

use crate::batch::Batch;
use crate::bodies::Bodies;
use crate::disk::Disk;
use crate::error::{Loss, OpenError};
use crate::format::{self, Place};
use crate::owners::Hold;
use crate::page::PageId;
use crate::recovery::Recovered;
use crate::store::Store;

/// Something that was alive when the log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored<'a> {
    /// A definition.
    Definition {
        /// Its table.
        table: u8,
        /// Its id in the table.
        id: u64,
        /// What it was defined to be.
        bytes: &'a [u8],
    },
    /// A record.
    Record {
        /// Its key.
        key: u64,
        /// Those who hold it outside of their pages, each with its mark.
        owners: &'a [(u32, u64)],
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A page. Nothing of it has been read.
    Page {
        /// It.
        page: PageId,
        /// Whose it is.
        owner: u32,
        /// What was said of it when it was drafted.
        meta: &'a [u8],
        /// Records in it.
        count: u32,
        /// The smallest of their keys.
        first_key: u64,
        /// The largest.
        last_key: u64,
    },
}

/// Hands out the definitions, then records and pages. What is damaged is a loss or an error. Gives what has to be appended so
/// that the losses are not found again.
pub(crate) fn restore(
    recovered: &mut Recovered,
    disk: &dyn Disk,
    accept_loss: bool,
    to: &mut dyn FnMut(Restored<'_>),
) -> Result<Batch, OpenError> {
    let mut restore = Restore {
        store: &recovered.store,
        disk,
        accept_loss,
        bodies: Bodies::default(),
        losses: &mut recovered.losses,
        lost: Batch::new(),
        to,
    };
    restore.definitions()?;
    let mut pages: Vec<_> = restore
        .store
        .index
        .pages()
        .map(|(id, page)| (page.first_key, id))
        .collect();
    pages.sort_unstable();
    let mut pages = pages.into_iter().peekable();
    for (key, place) in restore.store.index.records() {
        while let Some((_, page)) = pages.next_if(|(first_key, _)| *first_key <= key) {
            restore.page(page)?;
        }
        restore.record(key, place)?;
    }
    pages.try_for_each(|(_, page)| restore.page(page))?;
    Ok(restore.lost)
}

struct Restore<'a> {
    store: &'a Store,
    disk: &'a dyn Disk,
    accept_loss: bool,
    bodies: Bodies,
    losses: &'a mut Vec<Loss>,
    /// Ends what is lost.
    lost: Batch,
    to: &'a mut dyn FnMut(Restored<'_>),
}

impl Restore<'_> {
    fn definitions(&mut self) -> Result<(), OpenError> {
        for ((table, id), place) in self.store.index.definitions() {
            let given = self.give(place, |to, bytes| {
                to(Restored::Definition { table, id, bytes });
            })?;
            if !given {
                self.lose(place, "a definition is not valid")?;
                self.lost.undefine(table, id);
            }
        }
        Ok(())
    }

    fn record(&mut self, key: u64, place: Place) -> Result<(), OpenError> {
        let mut holds = Vec::new();
        self.store.index.holds_of(key, &mut holds);
        let owners: Vec<_> = holds
            .iter()
            .filter(|hold| !hold.paged)
            .map(|hold: &Hold| (hold.owner, hold.mark))
            .collect();
        // The others find it when they read their pages.
        if owners.is_empty() {
            return Ok(());
        }
        let given = self.give(place, |to, bytes| {
            to(Restored::Record {
                key,
                owners: &owners,
                bytes,
            });
        })?;
        if !given {
            self.lose(place, "a record is not valid")?;
            owners
                .iter()
                .for_each(|(owner, _)| self.lost.release(*owner, key));
        }
        Ok(())
    }

    fn page(&mut self, id: u64) -> Result<(), OpenError> {
        let page = self.store.index.page(id).expect("it is one of them");
        if self.store.source(page.place).is_none() {
            self.lose(page.place, "a page is lost with its segment")?;
            self.lost.drop_page(PageId(id));
            return Ok(());
        }
        (self.to)(Restored::Page {
            page: PageId(id),
            owner: page.owner,
            meta: &page.meta,
            count: page.count,
            first_key: page.first_key,
            last_key: page.last_key,
        });
        Ok(())
    }

    /// Reads the bytes at a place and hands them out. Says whether they are valid.
    fn give(
        &mut self,
        place: Place,
        give: impl FnOnce(&mut dyn FnMut(Restored<'_>), &[u8]),
    ) -> Result<bool, OpenError> {
        let Some(source) = self.store.source(place) else {
            return Ok(false);
        };
        let io = |source: io::Error| OpenError::Io {
            directory: self.disk.describe(),
            action: format!("reading {}", format::file_name(place.file)),
            source,
        };
        let Some(bytes) = self.bodies.read(&source).map_err(io)? else {
            return Ok(false);
        };
        give(&mut *self.to, bytes);
        Ok(true)
    }

    fn lose(&mut self, place: Place, what: &'static str) -> Result<(), OpenError> {
        let loss = Loss {
            file: format::file_name(place.file),
            offset: place.at.into(),
            what,
            frames: None,
        };
        if !self.accept_loss {
            return Err(OpenError::Damaged {
                directory: self.disk.describe(),
                loss,
            });
        }
        self.losses.push(loss);
        Ok(())
    }
}
