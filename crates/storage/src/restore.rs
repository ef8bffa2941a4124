//! Hands out what is alive after recovery.

use std::io;

use crate::index::Place;
use crate::scan::Window;
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
        /// Those who hold it, each with its mark.
        owners: &'a [(u32, u64)],
        /// Its bytes.
        bytes: &'a [u8],
    },
}

/// Places to read from at the same time. Records lie mostly in the order of their keys, in as many runs as the oldest of them
/// were cleaned times.
const WINDOWS: usize = 16;
const READ: u64 = 256 << 10;

/// Hands out the definitions, then the records.
pub(crate) fn restore(store: &Store, to: &mut dyn FnMut(Restored<'_>)) -> io::Result<()> {
    let mut reader = Reader {
        store,
        windows: Vec::new(),
        last: 0,
        oldest: 0,
    };
    for ((table, id), place) in store.index.definitions() {
        to(Restored::Definition {
            table,
            id,
            bytes: reader.read(place)?,
        });
    }
    let mut owners = Vec::new();
    for (key, place) in store.index.records() {
        store.index.owners_of(key, &mut owners);
        to(Restored::Record {
            key,
            owners: &owners,
            bytes: reader.read(place)?,
        });
    }
    Ok(())
}

struct Reader<'a> {
    store: &'a Store,
    windows: Vec<(u32, Window)>,
    /// The window used last, most likely the right one again.
    last: usize,
    /// The window to give up next.
    oldest: usize,
}

impl Reader<'_> {
    /// The bytes at a place. Their checksum was verified a moment ago with that of their frame.
    fn read(&mut self, place: Place) -> io::Result<&[u8]> {
        let (at, len) = (u64::from(place.at), u64::from(place.len));
        let fits = |(file, window): &(u32, Window)| *file == place.file && window.holds(at, len);
        if !self.windows.get(self.last).is_some_and(fits) {
            self.last = match self.windows.iter().position(fits) {
                Some(found) => found,
                None => self.free_window(place.file),
            };
        }
        let file = &self.store.files[&place.file];
        self.windows[self.last]
            .1
            .get(&*file.file, file.end, at, len, READ)
    }

    /// A window for a file: that of the same file behind which the place lies would be better, but the oldest will do.
    fn free_window(&mut self, file: u32) -> usize {
        if self.windows.len() < WINDOWS {
            self.windows.push((file, Window::default()));
            return self.windows.len() - 1;
        }
        self.oldest = (self.oldest + 1) % WINDOWS;
        self.windows[self.oldest].0 = file;
        self.windows[self.oldest].1.forget();
        self.oldest
    }
}
