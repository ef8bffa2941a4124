//! What can go wrong, as callers tell it apart.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::page::PageId;

/// Why a log did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another log, most likely of another process, has the directory.
    #[error("{directory} is in use: another process holds its lock")]
    InUse {
        /// The directory.
        directory: String,
    },
    /// The disk failed.
    #[error("{directory}: {action}: {source}")]
    Io {
        /// The directory.
        directory: String,
        /// What was tried, with the file's name.
        action: String,
        /// What the disk said.
        source: io::Error,
    },
    /// A newer version of the program has written it.
    #[error(
        "{directory}/{file} has format {found}, and this program knows formats up to {known}: use a newer version"
    )]
    NewerFormat {
        /// The directory.
        directory: String,
        /// The file.
        file: String,
        /// Its format version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// Something that was durable can't be read.
    #[error(
        "{directory}: {loss}; restore the directory from a backup, or open it with loss accepted"
    )]
    Damaged {
        /// The directory.
        directory: String,
        /// What and where.
        loss: Loss,
    },
    /// The options make no sense.
    #[error("{0}")]
    Options(&'static str),
}

/// A part of the log that was durable and can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The file.
    pub file: String,
    /// Where in it the damage begins.
    pub offset: u64,
    /// What is wrong there.
    pub what: &'static str,
    /// Frames that are lost, if it is known: each holds the changes of one turn of the writer.
    pub frames: Option<u64>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is damaged at offset {}: {}",
            self.file, self.offset, self.what
        )?;
        match self.frames {
            Some(frames) => write!(f, " ({frames} frames of changes are lost)"),
            None => Ok(()),
        }
    }
}

/// The log failed while it ran. Nothing that was not durable by then ever will be; the process should end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the log failed and stopped: {reason}")]
pub struct Failed {
    reason: Arc<str>,
}

impl Failed {
    pub(crate) fn new(reason: impl fmt::Display) -> Self {
        Self {
            reason: reason.to_string().into(),
        }
    }

    /// `action` on `file` has ended with an error.
    pub(crate) fn io(action: &str, file: &str, error: &io::Error) -> Self {
        Self::new(format_args!("{action} {file}: {error}"))
    }

    /// What failed: the action, the file and what the disk said.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Why a page was not drafted or read.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A record is not alive, or not held by the page's owner outside of its pages.
    #[error("no record with key {0} is there to be paged out")]
    Gone(u64),
    /// There is no such page.
    #[error("there is no page {0:?}")]
    NoPage(PageId),
    /// There is no space for another segment. Nothing has happened, and it can be tried again.
    #[error("there is no space on the disk for another segment")]
    NoSpace,
    /// A page is damaged. The log has failed.
    #[error("{0}")]
    Damaged(Loss),
    /// The log has failed.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// Why a record was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not alive.
    #[error("no live record has key {0}")]
    Gone(u64),
    /// Its checksum is wrong.
    #[error("record {key} is damaged: {file} at offset {offset}")]
    Damaged {
        /// The record.
        key: u64,
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
    },
    /// The disk failed.
    #[error("record {key} can't be read: {source}")]
    Io {
        /// The record.
        key: u64,
        /// What the disk said.
        source: io::Error,
    },
    /// The log has failed.
    #[error(transparent)]
    Failed(#[from] Failed),
}
