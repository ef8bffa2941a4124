//! A copy of a log that goes on meanwhile.
//!
//! The copy is the log as it was durable at one moment: the log files up to there and the segments that something was alive in.
//! They are kept for as long as it takes, so a slow copy costs space. The last thing to be written is the header of the newest
//! log file: a copy that was broken off does not open.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::format::{self, FILE_HEADER};
use crate::log::Lsn;
use crate::segment::Pin;
use crate::shared::Shared;

/// Bytes that are copied at once.
const PIECE: u64 = 1 << 20;

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupProgress {
    /// Bytes that are copied.
    pub copied_bytes: u64,
    /// Bytes there are to copy.
    pub total_bytes: u64,
}

/// A copy that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// What was durable up to here is in it, and nothing else.
    pub lsn: Lsn,
    /// Bytes that were copied.
    pub bytes: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target holds files of a log, or is in use by one.
    #[error("{directory} is not empty: it holds {name}")]
    NotEmpty {
        /// The target.
        directory: String,
        /// One of its files.
        name: String,
    },
    /// The log could not be read.
    #[error("reading {file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The copy could not be written.
    #[error("{directory}: {action}: {source}")]
    Write {
        /// The target.
        directory: String,
        /// What was tried, with the file's name.
        action: String,
        /// What the disk said.
        source: io::Error,
    },
}

/// Files of one moment, which stay as they are until this is dropped.
struct Moment {
    shared: Arc<Shared>,
    lsn: u64,
    /// The oldest log file.
    kept_from: Option<u32>,
    files: Vec<Part>,
    _pins: Vec<Pin>,
}

/// What is to be copied of a file.
struct Part {
    number: u32,
    file: Arc<dyn DiskFile>,
    end: u64,
}

impl Moment {
    fn new(shared: &Arc<Shared>) -> Self {
        let mut store = shared.store.lock();
        let store = &mut *store;
        let kept_from = store.files.first_key_value().map(|(number, _)| *number);
        store.kept_from.extend(kept_from);
        let (mut files, mut pins) = (Vec::new(), Vec::new());
        for (number, segment) in &mut store.segments {
            if store.index.live().in_file(*number) > 0 {
                pins.push(Pin::new(shared, segment, *number));
                files.push(Part {
                    number: *number,
                    file: segment.file.clone(),
                    end: segment.end,
                });
            }
        }
        files.extend(store.files.iter().map(|(number, file)| Part {
            number: *number,
            file: file.file.clone(),
            end: file.end,
        }));
        Self {
            shared: shared.clone(),
            lsn: store.applied,
            kept_from,
            files,
            _pins: pins,
        }
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        let kept = &mut self.shared.store.lock().kept_from;
        if let Some(at) = kept.iter().position(|from| Some(*from) == self.kept_from) {
            kept.swap_remove(at);
        }
    }
}

/// Copies the log to `to`.
pub(crate) fn backup(
    shared: &Arc<Shared>,
    to: &dyn Disk,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<Backup, BackupError> {
    let _lock = to
        .lock()
        .map_err(|error| failed(to, "locking", "", error))?;
    check_empty(to)?;
    let moment = Moment::new(shared);
    let mut progress = Progress {
        done: BackupProgress {
            copied_bytes: 0,
            total_bytes: moment.files.iter().map(|part| part.end).sum(),
        },
        to: progress,
    };
    let Some((newest, others)) = moment.files.split_last() else {
        return Ok(Backup {
            lsn: Lsn(moment.lsn),
            bytes: 0,
        });
    };
    // Without its header a log file can't be read, and without that file the others are no log.
    let file = create(newest, to)?;
    to.sync_names()
        .map_err(|error| failed(to, "syncing", "", error))?;
    for part in others {
        let file = create(part, to)?;
        copy(part, &*file, 0, to, &mut progress)?;
    }
    to.sync_names()
        .map_err(|error| failed(to, "syncing", "", error))?;
    copy(newest, &*file, FILE_HEADER, to, &mut progress)?;
    // What makes it a log.
    copy_piece(newest, &*file, 0, FILE_HEADER.min(newest.end), to)?;
    sync(newest, &*file, to)?;
    progress.add(FILE_HEADER.min(newest.end));
    Ok(Backup {
        lsn: Lsn(moment.lsn),
        bytes: progress.done.total_bytes,
    })
}

fn check_empty(to: &dyn Disk) -> Result<(), BackupError> {
    let names = to
        .list()
        .map_err(|error| failed(to, "listing", "", error))?;
    let is_ours = |name: &String| {
        [".log", ".seg", ".spare"]
            .iter()
            .any(|suffix| format::number_in(name, suffix).is_some())
    };
    match names.into_iter().find(is_ours) {
        Some(name) => Err(BackupError::NotEmpty {
            directory: to.describe(),
            name,
        }),
        None => Ok(()),
    }
}

/// Copies a part of a file from offset `start` on, durably.
fn copy(
    part: &Part,
    file: &dyn DiskFile,
    start: u64,
    to: &dyn Disk,
    progress: &mut Progress<'_>,
) -> Result<(), BackupError> {
    let mut at = start;
    while at < part.end {
        let len = PIECE.min(part.end - at);
        copy_piece(part, file, at, len, to)?;
        at += len;
        progress.add(len);
    }
    sync(part, file, to)
}

fn create(part: &Part, to: &dyn Disk) -> Result<Arc<dyn DiskFile>, BackupError> {
    let name = format::file_name(part.number);
    to.create(&name, part.end)
        .map_err(|error| failed(to, "creating", &name, error))
}

fn copy_piece(
    part: &Part,
    file: &dyn DiskFile,
    at: u64,
    len: u64,
    to: &dyn Disk,
) -> Result<(), BackupError> {
    let mut bytes = vec![0; len as usize];
    part.file
        .read_at(&mut bytes, at)
        .map_err(|source| BackupError::Read {
            file: format::file_name(part.number),
            source,
        })?;
    file.write_at(&[&bytes], at)
        .map_err(|error| failed(to, "writing", &format::file_name(part.number), error))
}

fn sync(part: &Part, file: &dyn DiskFile, to: &dyn Disk) -> Result<(), BackupError> {
    file.sync()
        .map_err(|error| failed(to, "syncing", &format::file_name(part.number), error))
}

fn failed(to: &dyn Disk, action: &str, name: &str, source: io::Error) -> BackupError {
    BackupError::Write {
        directory: to.describe(),
        action: format!("{action} {name}").trim_end().to_owned(),
        source,
    }
}

struct Progress<'a> {
    done: BackupProgress,
    to: &'a mut dyn FnMut(BackupProgress),
}

impl Progress<'_> {
    fn add(&mut self, bytes: u64) {
        self.done.copied_bytes += bytes;
        (self.to)(self.done);
    }
}
