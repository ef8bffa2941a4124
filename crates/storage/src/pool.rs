//! Files that are ready to become part of the log. Their space is allocated, so that the log finds out that the disk is full
//! while it still has room for what it has taken on, and for the releases that will make room again.

use std::io;
use std::sync::Arc;

use crate::cleaning::SLACK_FILES;
use crate::disk::{self, Disk, DiskFile};
use crate::error::Failed;
use crate::format::{self, FILE_HEADER};

/// Spares there should be. With fewer the log is full.
const WANTED: usize = 2;
/// Spares that are kept when files come back. The others are removed. Cleaning lets as many files as it may leave alone come
/// back at once: with fewer kept, a busy log would forever remove files and make new ones, zeros and all.
const KEPT: usize = WANTED + SLACK_FILES as usize;
/// So many zeros are written in a turn, which takes about a millisecond: confirms wait that long.
const ZEROS: u64 = 1 << 20;
/// In writes of this size: it is that of the folios which the file will have in the page cache. Each frame costs a walk
/// through all of the folios that it touches.
const ZEROS_AT_ONCE: usize = 128 << 10;

/// See the module's page.
pub(crate) struct Pool {
    disk: Arc<dyn Disk>,
    file_bytes: u64,
    spares: Vec<Spare>,
    next_number: u32,
    /// Bytes of zeros that may be written by now.
    zeros_due: u64,
}

/// A file without a place in the log yet.
pub(crate) struct Spare {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) name: String,
    pub(crate) len: u64,
    /// How much of it was ever written. Writing where nothing was written before makes the filesystem note it down,
    /// which doubles the time of a sync.
    written: u64,
}

impl Pool {
    /// Takes over the spares found in the directory, as far as they are of use.
    pub(crate) fn open(disk: Arc<dyn Disk>, file_bytes: u64) -> io::Result<Self> {
        let mut pool = Self {
            disk,
            file_bytes,
            spares: Vec::new(),
            next_number: 1,
            zeros_due: 0,
        };
        for name in pool.disk.list()? {
            let Some(number) = format::number_in(&name, ".spare") else {
                continue;
            };
            pool.next_number = pool.next_number.max(number + 1);
            let file = pool.disk.open(&name)?;
            let len = file.size()?;
            if len == file_bytes && pool.spares.len() < KEPT {
                pool.spares.push(Spare {
                    file,
                    name,
                    len,
                    written: len,
                });
            } else {
                pool.disk.remove(&name)?;
            }
        }
        Ok(pool)
    }

    pub(crate) fn len(&self) -> usize {
        self.spares.len()
    }

    /// Whether there are fewer spares than there should be, which means that there is no space for more.
    pub(crate) fn is_low(&self) -> bool {
        self.spares.len() < WANTED
    }

    /// Bytes of frames that the spares have room for.
    pub(crate) fn room(&self) -> u64 {
        self.spares.len() as u64 * (self.file_bytes - FILE_HEADER)
    }

    /// Makes spares until there are enough. Says whether there are: not, if there is no space for them.
    pub(crate) fn fill(&mut self) -> Result<bool, Failed> {
        while self.spares.len() < WANTED {
            let Some(spare) = self.create(self.file_bytes)? else {
                return Ok(false);
            };
            self.spares.push(spare);
        }
        Ok(true)
    }

    /// A spare with room for `frame` bytes of frames, if there is one or space for one.
    pub(crate) fn take(&mut self, frame: u64) -> Result<Option<Spare>, Failed> {
        let len = FILE_HEADER + frame;
        if len > self.file_bytes {
            return self.create(len);
        }
        // The one that zeros were written to longest ago.
        match self.spares.is_empty() {
            true => self.create(self.file_bytes),
            false => Ok(Some(self.spares.remove(0))),
        }
    }

    /// Takes back files that the log does not need any more, given with their lengths.
    pub(crate) fn give_back(
        &mut self,
        retired: Vec<(u32, Arc<dyn DiskFile>, u64)>,
    ) -> Result<(), Failed> {
        for (number, file, len) in retired {
            let name = format::log_name(number);
            if len == self.file_bytes && self.spares.len() < KEPT {
                let spare = self.new_name();
                self.disk
                    .rename(&name, &spare)
                    .map_err(|error| Failed::io("renaming", &name, &error))?;
                self.spares.push(Spare {
                    file,
                    name: spare,
                    len,
                    written: len,
                });
            } else {
                self.disk
                    .remove(&name)
                    .map_err(|error| Failed::io("removing", &name, &error))?;
            }
        }
        // Nothing needs to be synced. If the new names are lost, the old ones are below the oldest file that is needed.
        Ok(())
    }

    /// Writes zeros to a spare that needs them, in step with the `written` bytes of frames: the next file is ready before
    /// the current one is full, and the work is spread evenly.
    pub(crate) fn write_zeros(&mut self, written: u64) -> Result<(), Failed> {
        let Some(spare) = self
            .spares
            .iter_mut()
            .find(|spare| spare.written < spare.len)
        else {
            self.zeros_due = 0;
            return Ok(());
        };
        self.zeros_due = (self.zeros_due + 2 * written).min(ZEROS);
        if self.zeros_due < ZEROS {
            return Ok(());
        }
        self.zeros_due = 0;
        spare
            .write_zeros()
            .map_err(|error| Failed::io("preparing", &spare.name, &error))
    }

    fn create(&mut self, len: u64) -> Result<Option<Spare>, Failed> {
        let name = self.new_name();
        match self.disk.create(&name, len) {
            Ok(file) => Ok(Some(Spare {
                file,
                name,
                len,
                written: 0,
            })),
            Err(error) if disk::is_full(&error) => Ok(None),
            Err(error) => Err(Failed::io("creating", &name, &error)),
        }
    }

    fn new_name(&mut self) -> String {
        let name = format::spare_name(self.next_number);
        self.next_number += 1;
        name
    }
}

impl Spare {
    /// Writes the next zeros and syncs them.
    fn write_zeros(&mut self) -> io::Result<()> {
        static ZERO: [u8; ZEROS_AT_ONCE] = [0; ZEROS_AT_ONCE];
        let end = self.len.min(self.written + ZEROS);
        while self.written < end {
            let len = (end - self.written).min(ZERO.len() as u64);
            self.file.write_at(&[&ZERO[..len as usize]], self.written)?;
            self.written += len;
        }
        self.file.sync()
    }
}
