//! Tells people what a log says: every op in order, and every page that is alive.

use std::fmt;
use std::io;

use crate::batch::{Op, Ops, Owners};
use crate::disk::{self, Disk};
use crate::error::OpenError;
use crate::format::{self, FILE_HEADER, FileHeader, Place, Salt};
use crate::index::Page;
use crate::page::{Entry, Kind, PageBytes};
use crate::recovery;
use crate::scan::Scanner;
use crate::store::Store;

/// Hands out what is in the log in `disk`, which must not be open, line by line: first the ops as they lie in the log files, also
/// those of no matter any more, then the pages that are alive. Contents are told by their lengths. Changes nothing.
pub fn dump(disk: &dyn Disk, line: &mut dyn FnMut(fmt::Arguments<'_>)) -> Result<(), OpenError> {
    let _lock = disk::lock(disk)?;
    for number in recovery::log_numbers(disk)? {
        let name = format::log_name(number);
        dump_log(disk, &name, line).map_err(|source| OpenError::Io {
            directory: disk.describe(),
            action: format!("reading {name}"),
            source,
        })?;
    }
    let recovered = recovery::inspect(disk)?;
    let mut pages: Vec<_> = recovered.store.index.pages().collect();
    pages.sort_unstable_by_key(|(_, page)| (page.place.file, page.place.at));
    for (id, page) in pages {
        dump_page(&recovered.store, id, page, line);
    }
    Ok(())
}

fn dump_log(
    disk: &dyn Disk,
    name: &str,
    line: &mut dyn FnMut(fmt::Arguments<'_>),
) -> io::Result<()> {
    let file = disk.open(name)?;
    let len = file.size()?;
    let mut header = vec![0; FILE_HEADER.min(len) as usize];
    file.read_at(&mut header, 0)?;
    let header = match FileHeader::decode(&header) {
        Ok(header) => header,
        Err(error) => {
            line(format_args!("{name}: no header: {error:?}"));
            return Ok(());
        }
    };
    line(format_args!("{name}: from frame {}", header.first_lsn));
    let mut scanner = Scanner::new(file, Salt::new(header.salt), header.first_lsn, len);
    loop {
        let at = scanner.at();
        if let Some(frame) = scanner.next()? {
            let header = frame.header;
            line(format_args!(
                "{at}: frame {}, durable {}, oldest file {}",
                header.lsn, header.durable, header.oldest
            ));
            let mut next_key = header.first_key;
            for op in Ops::new(frame.ops) {
                match op {
                    Ok(op) => line(format_args!("  {}", Said { op, next_key })),
                    Err(_) => line(format_args!("  an op that makes no sense")),
                }
                next_key += u64::from(matches!(op, Ok(Op::Put { .. })));
                if op.is_err() {
                    break;
                }
            }
        } else if let Some(next) = scanner.look_ahead(0)? {
            line(format_args!("{at}: not valid up to {next}"));
            scanner.seek(next);
        } else {
            return Ok(());
        }
    }
}

fn dump_page(store: &Store, id: u64, page: &Page, line: &mut dyn FnMut(fmt::Arguments<'_>)) {
    let (owner, place) = (page.owner, page.place);
    line(format_args!("page {id} of {owner}, {}", At(place)));
    let Some(segment) = store.segments.get(&place.file) else {
        line(format_args!("  its segment is lost"));
        return;
    };
    let mut bytes = vec![0; place.len as usize];
    if let Err(error) = segment.file.read_at(&mut bytes, place.at.into()) {
        line(format_args!("  can't be read: {error}"));
        return;
    }
    let Some(content) = PageBytes::new(&segment.salt, id, owner, &bytes) else {
        line(format_args!("  is not valid"));
        return;
    };
    for (entry, at) in content.entries() {
        let Entry {
            kind,
            len,
            key,
            note,
            mark,
        } = entry;
        let wrong = match kind != Kind::Shared && content.body(&entry, at).is_none() {
            true => ", not valid",
            false => "",
        };
        match kind {
            Kind::Own => line(format_args!(
                "  record {key}, mark {mark}, note {note}, {len} bytes{wrong}"
            )),
            Kind::Shared => line(format_args!("  shared record {key}, note {note}")),
            Kind::Inline => line(format_args!("  inline, note {note}, {len} bytes{wrong}")),
        }
    }
}

/// A place, for people.
struct At(Place);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, at, len } = self.0;
        write!(f, "{len} bytes at {} {at}", format::file_name(file))
    }
}

/// Owners, for people.
struct For<'a>(Owners<'a>);

impl fmt::Display for For<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("of")?;
        for hold in self.0.to_vec() {
            write!(f, " {}", hold.owner)?;
            if hold.mark != 0 {
                write!(f, "(mark {})", hold.mark)?;
            }
            if hold.paged {
                f.write_str("(paged)")?;
            }
        }
        Ok(())
    }
}

/// An op, and the key that it gives if it is a put.
struct Said<'a> {
    op: Op<'a>,
    next_key: u64,
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.op {
            Op::Put { owners, bytes } => {
                let len = bytes.bytes.len();
                write!(f, "put {} {}, {len} bytes", self.next_key, For(owners))
            }
            Op::Moved { key, owners, bytes } => {
                write!(
                    f,
                    "moved {key} {}, {} bytes",
                    For(owners),
                    bytes.bytes.len()
                )
            }
            Op::Placed { key, place, owners } => {
                write!(f, "placed {key} {}, {}", For(owners), At(place))
            }
            Op::Relocated { key, place } => write!(f, "relocated {key}, {}", At(place)),
            Op::Release { owner, key } => write!(f, "release {key} of {owner}"),
            Op::Mark { owner, key, mark } => write!(f, "mark {key} of {owner} with {mark}"),
            Op::DropOwner { owner } => write!(f, "drop owner {owner}"),
            Op::Define { table, id, bytes } => {
                write!(f, "define {table}/{id}, {} bytes", bytes.bytes.len())
            }
            Op::Undefine { table, id } => write!(f, "undefine {table}/{id}"),
            Op::Close => f.write_str("close"),
            Op::Page(page) => write!(
                f,
                "page {} of {}, {} records from {} to {}, {} own, {} shared, {}",
                page.page,
                page.owner,
                page.count,
                page.first_key,
                page.last_key,
                page.own.iter().count(),
                page.shared.iter().count(),
                At(page.place)
            ),
            Op::Unpage(page) => write!(f, "unpage {} of {}", page.page, page.owner),
            Op::DropPage(page) => write!(f, "drop page {} of {}", page.page, page.owner),
            Op::PageMoved { page, place } => write!(f, "page {page} moved, {}", At(place)),
        }
    }
}
