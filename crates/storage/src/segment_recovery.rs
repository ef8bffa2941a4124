//! Opening a log: finds the segments that it speaks of. Of what lies in them nothing is read.

use std::collections::BTreeMap;
use std::io;

use crate::disk::Disk;
use crate::error::{Loss, OpenError};
use crate::format::{self, FILE_HEADER, FileHeader, SEGMENT, Salt};
use crate::index::Index;
use crate::store::Segment;

/// The segments of a directory.
pub(crate) struct FoundSegments {
    /// Those in use.
    pub(crate) segments: BTreeMap<u32, Segment>,
    /// The number of the one to come.
    pub(crate) next_number: u32,
    /// Those that nothing is alive in: left behind by a crash, or emptied by the last changes before it.
    unneeded: Vec<String>,
    /// Those in use that take more space than they need, with what they need.
    too_long: Vec<(u32, u64)>,
}

/// Opens the segments that `index` needs. Those that are missing or no segments are losses.
pub(crate) fn find(
    disk: &dyn Disk,
    index: &Index,
    accept_loss: bool,
    losses: &mut Vec<Loss>,
) -> Result<FoundSegments, OpenError> {
    let names = disk
        .list()
        .map_err(|error| io_error(disk, "listing", "", error))?;
    let numbers: Vec<_> = names
        .iter()
        .filter_map(|name| format::number_in(name, ".seg"))
        .collect();
    let newest = numbers.iter().copied().max().unwrap_or(0);
    let mut found = FoundSegments {
        segments: BTreeMap::new(),
        next_number: newest.max(index.newest_segment()) + 1,
        unneeded: Vec::new(),
        too_long: Vec::new(),
    };
    let needed = ends(index);
    for (number, end) in &needed {
        match open(disk, *number, *end)? {
            Ok(segment) => {
                if segment.len > *end {
                    found.too_long.push((*number, *end));
                }
                found.segments.insert(*number, segment);
            }
            Err(what) => lose(disk, *number, what, accept_loss, losses)?,
        }
    }
    let is_unneeded = |number: &u32| !needed.contains_key(&(number | SEGMENT));
    let unneeded = numbers.into_iter().filter(is_unneeded);
    found.unneeded = unneeded.map(format::segment_name).collect();
    Ok(found)
}

impl FoundSegments {
    /// Gives back the space that nothing alive lies in. Not before what the log says of it is durable.
    pub(crate) fn give_back(&mut self, disk: &dyn Disk) -> Result<(), OpenError> {
        for name in self.unneeded.drain(..) {
            disk.remove(&name)
                .map_err(|error| io_error(disk, "removing", &name, error))?;
        }
        for (number, end) in self.too_long.drain(..) {
            let segment = self.segments.get_mut(&number).expect("it was found");
            let name = format::segment_name(number);
            segment
                .file
                .truncate(end)
                .map_err(|error| io_error(disk, "cutting", &name, error))?;
            segment.len = end;
        }
        Ok(())
    }
}

/// The segments that something alive lies in, each with where the last of it ends.
fn ends(index: &Index) -> BTreeMap<u32, u64> {
    let mut ends = BTreeMap::new();
    let pages = index.pages().map(|(_, page)| page.place);
    let records = index.records().map(|(_, place)| place);
    for place in pages.chain(records).filter(format::Place::is_in_segment) {
        let end = ends.entry(place.file).or_insert(0);
        *end = place.end().max(*end);
    }
    ends
}

/// Opens a segment, or says what is wrong with it.
fn open(
    disk: &dyn Disk,
    number: u32,
    end: u64,
) -> Result<Result<Segment, &'static str>, OpenError> {
    let name = format::segment_name(number);
    let io = |error| io_error(disk, "opening", &name, error);
    let file = match disk.open(&name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err("the segment is missing"));
        }
        Err(error) => return Err(io(error)),
    };
    let len = file.size().map_err(io)?;
    if len < end.max(FILE_HEADER) {
        return Ok(Err("the segment is too short"));
    }
    let mut header = vec![0; FILE_HEADER as usize];
    file.read_at(&mut header, 0).map_err(io)?;
    match FileHeader::decode(&header) {
        Ok(header) if header.number == number => Ok(Ok(Segment {
            file,
            salt: Salt::new(header.salt),
            len,
            end,
            is_sealed: true,
            pins: 0,
            pinned_through: 0,
        })),
        Err(format::BadFileHeader::Newer(found)) => Err(OpenError::NewerFormat {
            directory: disk.describe(),
            file: name,
            found,
            known: format::VERSION,
        }),
        _ => Ok(Err("the segment's header is not valid")),
    }
}

fn lose(
    disk: &dyn Disk,
    number: u32,
    what: &'static str,
    accept_loss: bool,
    losses: &mut Vec<Loss>,
) -> Result<(), OpenError> {
    let loss = Loss {
        file: format::segment_name(number),
        offset: 0,
        what,
        frames: None,
    };
    if !accept_loss {
        return Err(OpenError::Damaged {
            directory: disk.describe(),
            loss,
        });
    }
    losses.push(loss);
    Ok(())
}

fn io_error(disk: &dyn Disk, action: &str, name: &str, source: io::Error) -> OpenError {
    OpenError::Io {
        directory: disk.describe(),
        action: format!("{action} {name}"),
        source,
    }
}
