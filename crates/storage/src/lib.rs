//! The log of a node on disk: the one place where a node writes what must outlive it.
//!
//! It knows bytes and not messages. A *record* is bytes with a key, which the log gives out in the order of the log, and
//! *owners* (a node's queues), each with a *mark*; it lives as long as it has an owner. A *definition* is bytes under a
//! table and an id, replaced or removed by them. Changes are put together in a [`Batch`], which is on disk whole or not at
//! all, and [`Log::append`]ed from any thread; one writer thread writes and syncs what has come together, and
//! [`Log::durable`] goes up. There are no queries: whoever opens a log is handed what is alive, and knows the keys.
//!
//! It is not a message store with an index on disk: the index of what is alive is in memory, 20 bytes for a record. An owner
//! that has to wait for its records puts runs of them into *pages* ([`Log::draft_page`]), which take next to no memory and are
//! taken back whole, in the order in which they were put in. Pages lie in files of their own, the segments; the log says which
//! there are.
//!
//! To read it: `format`, `batch` and `page` for what is on disk, then `log`, `shared`, `writer`, `cleaning`, `recovery` for the
//! log, `index` for what is alive, and `paging`, `segment`, `segment_cleaning` for pages. [`check()`] and [`dump()`] look at a
//! log that is not open, [`Log::backup`] copies one that is. `disk` is the seam to the operating system, [`sim`] a disk that
//! fails on purpose.
#![forbid(unsafe_code)]

mod backup;
mod batch;
mod bodies;
mod check;
mod cleaning;
mod disk;
mod dump;
mod error;
mod format;
mod gather;
mod index;
mod keys;
mod live;
mod log;
mod owners;
mod page;
mod paging;
mod pool;
mod recovery;
mod restore;
mod scan;
mod segment;
mod segment_cleaning;
mod segment_recovery;
mod shared;
pub mod sim;
mod slots;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use backup::{Backup, BackupError, BackupProgress};
pub use batch::Batch;
pub use check::{Checked, check};
pub use disk::{Disk, DiskFile, RealDisk};
pub use dump::dump;
pub use error::{Failed, Loss, OpenError, PageError, ReadError};
pub use log::{Appended, Callback, FailureCallback, Log, Lsn, Options, Stats};
pub use page::{PageId, PageRecord, PagedRecord};
pub use paging::Draft;
pub use restore::Restored;
