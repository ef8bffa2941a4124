//! Opening a log: reads the frames from the oldest file that is needed, checks each, and builds the index.
//!
//! What ends the reading is a frame that is not valid. The writer has one frame on its way to the disk at a time, so that
//! is the torn end of the log, never confirmed to anybody, unless a later frame says that it was durable. Then it is
//! damage, and going on would lose in silence what was promised: the log refuses to open, or, if told so, goes on behind
//! the damage and says what it lost.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::{Loss, OpenError};
use crate::format::{self, BadFileHeader, FILE_HEADER, FileHeader, Salt, VERSION};
use crate::index::Index;
use crate::scan::Scanner;
use crate::segment_recovery::{self, FoundSegments};
use crate::store::{LogFile, Store};

/// What recovery found.
pub(crate) struct Recovered {
    pub(crate) store: Store,
    /// Whether the log was closed and nothing is wrong with it.
    pub(crate) clean: bool,
    pub(crate) next_lsn: u64,
    /// The number of the file to come.
    pub(crate) next_file: u32,
    /// The number of the segment to come.
    pub(crate) next_segment: u32,
    /// Files up to this one have losses in them and have to go, or every later opening would find them again.
    pub(crate) heal_through: u32,
    pub(crate) losses: Vec<Loss>,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

/// Reads the log in `disk`, and gets it ready to go on.
pub(crate) fn recover(disk: &dyn Disk, accept_loss: bool) -> Result<Recovered, OpenError> {
    let (recovery, mut segments) = read(disk, accept_loss)?;
    recovery.settle()?;
    recovery.remove_retired()?;
    segments.give_back(disk)?;
    Ok(recovery.finish(segments))
}

/// Reads the log in `disk` as far as it can be read, and changes nothing.
pub(crate) fn inspect(disk: &dyn Disk) -> Result<Recovered, OpenError> {
    let (recovery, segments) = read(disk, true)?;
    Ok(recovery.finish(segments))
}

fn read(disk: &dyn Disk, accept_loss: bool) -> Result<(Recovery<'_>, FoundSegments), OpenError> {
    let numbers = log_numbers(disk)?;
    let mut recovery = Recovery::new(disk, accept_loss);
    let oldest = recovery.oldest_needed(&numbers)?;
    recovery.next_file = oldest;
    let (retired, needed) = numbers.split_at(numbers.partition_point(|number| *number < oldest));
    recovery.retired = retired.to_vec();
    for number in needed.iter().copied() {
        let expected = recovery.next_file;
        if number > expected {
            recovery.lose(expected, 0, "the file is missing", None)?;
            recovery.heal_through = number - 1;
        }
        recovery.replay(number)?;
        recovery.next_file = number + 1;
    }
    recovery.index.forget_transient_pages();
    let losses = &mut recovery.losses;
    let segments = segment_recovery::find(disk, &recovery.index, accept_loss, losses)?;
    Ok((recovery, segments))
}

/// The numbers of the log files there are, in order.
pub(crate) fn log_numbers(disk: &dyn Disk) -> Result<Vec<u32>, OpenError> {
    let names = disk.list().map_err(|source| OpenError::Io {
        directory: disk.describe(),
        action: "listing".to_owned(),
        source,
    })?;
    let mut numbers: Vec<_> = names
        .iter()
        .filter_map(|name| format::number_in(name, ".log"))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    accept_loss: bool,
    index: Index,
    files: BTreeMap<u32, LogFile>,
    /// The lsn the next frame must have; 0 before the first file.
    next_lsn: u64,
    /// Where reading stopped last: if frames turn out to be missing, they were here.
    cut: (u32, u64),
    /// The newest file with frames, and where its last frame ends: there is none behind it. Half a file to look through,
    /// which need not be done again.
    end: Option<(u32, u64)>,
    /// File, offset and length of the last valid frame.
    last_frame: Option<(u32, u64, u64)>,
    /// The number after the last file's.
    next_file: u32,
    /// Files that are not needed.
    retired: Vec<u32>,
    heal_through: u32,
    losses: Vec<Loss>,
    frames: u64,
    bytes: u64,
}

impl<'a> Recovery<'a> {
    fn new(disk: &'a dyn Disk, accept_loss: bool) -> Self {
        Self {
            disk,
            accept_loss,
            index: Index::default(),
            files: BTreeMap::new(),
            next_lsn: 0,
            cut: (0, 0),
            end: None,
            last_frame: None,
            next_file: 1,
            retired: Vec::new(),
            heal_through: 0,
            losses: Vec::new(),
            frames: 0,
            bytes: 0,
        }
    }

    /// The oldest file that is needed, which the newest frame knows.
    fn oldest_needed(&mut self, numbers: &[u32]) -> Result<u32, OpenError> {
        for number in numbers.iter().rev() {
            let name = format::log_name(*number);
            let (file, len) = self.open(&name)?;
            let Ok(header) = self.header(&name, &*file, len)? else {
                continue;
            };
            let mut scanner = Scanner::new(file, Salt::new(header.salt), header.first_lsn, len);
            let mut oldest = None;
            let io = |error| self.io("reading", &name, error);
            loop {
                if let Some(frame) = scanner.next().map_err(io)? {
                    // Its own file is needed, whatever it says.
                    oldest = Some(frame.header.oldest.min(*number));
                } else if let Some(at) = scanner.look_ahead(0).map_err(io)? {
                    scanner.seek(at);
                } else {
                    break;
                }
            }
            if let Some(oldest) = oldest {
                self.end = Some((*number, scanner.at()));
                return Ok(oldest);
            }
        }
        Ok(numbers.first().copied().unwrap_or(1))
    }

    /// Applies the frames of a file.
    fn replay(&mut self, number: u32) -> Result<(), OpenError> {
        let name = format::log_name(number);
        let (file, len) = self.open(&name)?;
        let mut log_file = LogFile {
            file,
            salt: Salt::new(0),
            first_lsn: 0,
            len,
            end: 0,
        };
        match self.header(&name, &*log_file.file, len)? {
            Ok(header) if header.number == number => {
                self.expect_lsn(header.first_lsn)?;
                log_file.salt = Salt::new(header.salt);
                log_file.first_lsn = header.first_lsn;
                let mut scanner = log_file.scanner(len);
                while let Some(at) = self.replay_frames(number, &mut scanner)? {
                    scanner.seek(at);
                }
                log_file.end = scanner.at();
            }
            _ => self.lose(number, 0, "the file header is not valid", None)?,
        }
        self.files.insert(number, log_file);
        Ok(())
    }

    /// Applies frames until one is not valid. Then gives the offset of a later one that proves that it once was.
    fn replay_frames(
        &mut self,
        number: u32,
        scanner: &mut Scanner,
    ) -> Result<Option<u64>, OpenError> {
        let name = format::log_name(number);
        let io = |directory: &dyn Disk, source| OpenError::Io {
            directory: directory.describe(),
            action: format!("reading {name}"),
            source,
        };
        let disk = self.disk;
        loop {
            let at = scanner.at();
            let Some(frame) = scanner.next().map_err(|error| io(disk, error))? else {
                self.cut = (number, at);
                break;
            };
            if frame.header.lsn < self.next_lsn {
                // A frame of this very file and yet out of order: nothing the writer does.
                self.cut = (number, at);
                scanner.seek(at);
                break;
            }
            self.expect_lsn(frame.header.lsn)?;
            let applied = self
                .index
                .apply(frame.ops, number, frame.ops_at, frame.header.first_key);
            self.next_lsn = frame.header.lsn.saturating_add(1);
            self.last_frame = Some((number, at, frame.header.frame_len()));
            self.frames += 1;
            self.bytes += frame.header.frame_len();
            if applied.is_err() {
                self.lose(
                    number,
                    at,
                    "a frame holds what no version has written",
                    Some(1),
                )?;
            }
        }
        if self.end == Some((number, scanner.at())) {
            return Ok(None);
        }
        scanner
            .look_ahead(self.next_lsn)
            .map_err(|error| io(disk, error))
    }

    /// The next frame has this lsn: those before it are lost.
    fn expect_lsn(&mut self, lsn: u64) -> Result<(), OpenError> {
        if self.next_lsn != 0 && lsn > self.next_lsn {
            let (file, offset) = self.cut;
            self.lose(
                file,
                offset,
                "a frame that was durable is not valid",
                Some(lsn - self.next_lsn),
            )?;
        }
        self.next_lsn = self.next_lsn.max(lsn);
        Ok(())
    }

    fn lose(
        &mut self,
        number: u32,
        offset: u64,
        what: &'static str,
        frames: Option<u64>,
    ) -> Result<(), OpenError> {
        let loss = Loss {
            file: format::log_name(number),
            offset,
            what,
            frames,
        };
        if !self.accept_loss {
            return Err(OpenError::Damaged {
                directory: self.disk.describe(),
                loss,
            });
        }
        self.losses.push(loss);
        self.heal_through = self.heal_through.max(number);
        Ok(())
    }

    /// Makes the end of the log durable. A killed process leaves its last frame in the kernel's memory, where it was read
    /// just now: before anybody acts on it, it must be on disk. It is written again, since after a failed sync the kernel
    /// may think that there is nothing to do.
    fn settle(&self) -> Result<(), OpenError> {
        let directory = self.disk.describe();
        self.disk
            .sync_names()
            .map_err(|error| self.io("syncing", &directory, error))?;
        let Some((number, at, len)) = self.last_frame else {
            return Ok(());
        };
        let file = &self.files[&number].file;
        let rewrite = || {
            let mut frame = vec![0; len as usize];
            file.read_at(&mut frame, at)?;
            file.write_at(&[&frame], at)?;
            file.sync()
        };
        rewrite().map_err(|error| self.io("settling", &format::log_name(number), error))
    }

    /// Removes files that were retired when the crash came before their names were gone. Only now that the frame that says
    /// so is durable.
    fn remove_retired(&self) -> Result<(), OpenError> {
        for number in &self.retired {
            let name = format::log_name(*number);
            self.disk
                .remove(&name)
                .map_err(|error| self.io("removing", &name, error))?;
        }
        Ok(())
    }

    fn finish(self, segments: FoundSegments) -> Recovered {
        Recovered {
            clean: self.index.is_closed() && self.losses.is_empty(),
            store: Store {
                index: self.index,
                files: self.files,
                applied: self.next_lsn.saturating_sub(1),
                segments: segments.segments,
                ..Store::default()
            },
            next_lsn: self.next_lsn.max(1),
            next_file: self.next_file,
            next_segment: segments.next_number,
            heal_through: self.heal_through,
            losses: self.losses,
            frames: self.frames,
            bytes: self.bytes,
        }
    }

    fn open(&self, name: &str) -> Result<(Arc<dyn DiskFile>, u64), OpenError> {
        let file = self
            .disk
            .open(name)
            .map_err(|error| self.io("opening", name, error))?;
        let len = file
            .size()
            .map_err(|error| self.io("opening", name, error))?;
        Ok((file, len))
    }

    /// The file's header, or what is wrong with it. A newer format is never skipped, also not with loss accepted.
    fn header(
        &self,
        name: &str,
        file: &dyn DiskFile,
        len: u64,
    ) -> Result<Result<FileHeader, BadFileHeader>, OpenError> {
        if len < FILE_HEADER {
            return Ok(Err(BadFileHeader::NotALog));
        }
        let mut bytes = vec![0; FILE_HEADER as usize];
        file.read_at(&mut bytes, 0)
            .map_err(|error| self.io("reading", name, error))?;
        match FileHeader::decode(&bytes) {
            Err(BadFileHeader::Newer(found)) => Err(OpenError::NewerFormat {
                directory: self.disk.describe(),
                file: name.to_owned(),
                found,
                known: VERSION,
            }),
            header => Ok(header),
        }
    }

    fn io(&self, action: &str, name: &str, source: io::Error) -> OpenError {
        OpenError::Io {
            directory: self.disk.describe(),
            action: format!("{action} {name}"),
            source,
        }
    }
}
