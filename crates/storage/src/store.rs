//! What the writer and those who read share: the index and the files it points into.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::Salt;
use crate::index::Index;
use crate::scan::Scanner;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) index: Index,
    /// The files in use, by number, without holes except those of an accepted loss.
    pub(crate) files: BTreeMap<u32, LogFile>,
}

/// A file in use.
#[derive(Clone)]
pub(crate) struct LogFile {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) salt: Salt,
    /// The lsn of its first frame.
    pub(crate) first_lsn: u64,
    /// Bytes it takes on disk.
    pub(crate) len: u64,
    /// Where its last frame ends.
    pub(crate) end: u64,
}

impl LogFile {
    /// Reads its frames up to offset `end`.
    pub(crate) fn scanner(&self, end: u64) -> Scanner {
        Scanner::new(self.file.clone(), self.salt.clone(), self.first_lsn, end)
    }
}

impl Store {
    /// Bytes the files take.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.files.values().map(|file| file.len).sum()
    }
}
