//! Reads bodies that lie here and there in the files, mostly in order.

use std::io;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::Place;
use crate::page;
use crate::scan::Window;

/// Places to read from at the same time. Records lie mostly in the order of their keys, in as many runs as the oldest of them
/// were cleaned times.
const WINDOWS: usize = 16;
const READ: u64 = 256 << 10;

/// A place, and what it takes to read there.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) place: Place,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where what may be read of the file ends.
    pub(crate) end: u64,
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Bodies {
    windows: Vec<(u32, Window)>,
    /// The window used last, most likely the right one again.
    last: usize,
    /// The window to give up next.
    oldest: usize,
}

impl Bodies {
    /// The bytes at a place, or `None` if their checksum, which lies before them, is wrong.
    pub(crate) fn read(&mut self, source: &Source) -> io::Result<Option<&[u8]>> {
        let place = source.place;
        let crc = page::CRC as u64;
        let (Some(at), len) = (
            u64::from(place.at).checked_sub(crc),
            crc + u64::from(place.len),
        ) else {
            return Ok(None);
        };
        if place.end() > source.end {
            return Ok(None);
        }
        let fits = |(file, window): &(u32, Window)| *file == place.file && window.holds(at, len);
        if !self.windows.get(self.last).is_some_and(fits) {
            self.last = match self.windows.iter().position(fits) {
                Some(found) => found,
                None => self.free_window(place.file),
            };
        }
        let window = &mut self.windows[self.last].1;
        let body = window.get(&*source.file, source.end, at, len, READ)?;
        Ok(page::check_body(body))
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
