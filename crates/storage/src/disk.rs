//! The disk as the log sees it: one directory of files. The seam at which tests put a disk that forgets, tears and fails.

mod real;

use std::io;
use std::sync::Arc;

use crate::error::OpenError;

pub use real::RealDisk;

/// One directory that belongs to one log.
pub trait Disk: Send + Sync {
    /// Claims the directory until the guard is dropped. [`io::ErrorKind::WouldBlock`] if somebody else holds it.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;

    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a file of `len` zero bytes whose space is allocated: writing into it can't run out of space. When this
    /// returns, the file's length is durable; its name is so after [`Disk::sync_names`].
    /// [`io::ErrorKind::StorageFull`] or [`io::ErrorKind::QuotaExceeded`] if there is no space; then there is no file.
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, replacing what has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names of the files durable: all that was created, renamed and removed so far.
    fn sync_names(&self) -> io::Result<()>;

    /// Random bits that no earlier call has given, also none before a restart: they tell the lives of a file apart.
    fn salt(&self) -> io::Result<u64>;

    /// The directory, for messages to people.
    fn describe(&self) -> String;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Bytes in the file.
    fn size(&self) -> io::Result<u64>;

    /// Fills `into` from `offset`; an error if the file ends before.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes the parts one behind the other, all of them. Not durable before [`DiskFile::sync`].
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;

    /// Makes what was written durable. After an error nothing is known about any unsynced write, and none may be tried
    /// again: the kernel may have dropped the pages and called them clean.
    fn sync(&self) -> io::Result<()>;

    /// Says that these bytes will be read soon. A hint: it changes nothing and can't fail.
    fn will_need(&self, offset: u64, len: u64);

    /// Cuts the file to `len` bytes and gives the space back.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// Whether an error says that there is no space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Claims the directory.
pub(crate) fn lock(disk: &dyn Disk) -> Result<Box<dyn Send + Sync>, OpenError> {
    disk.lock().map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse {
            directory: disk.describe(),
        },
        _ => OpenError::Io {
            directory: disk.describe(),
            action: "locking".to_owned(),
            source,
        },
    })
}
