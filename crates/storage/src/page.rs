//! A page: a run of one owner's records, as it lies in a segment.
//!
//! ```text
//! page     0 crc u32      4 count u32     8 page u64     16 owner u32    20 zero u32
//!         24 directory: count entries, then the bodies, one behind the other
//!            crc: CRC-32 of the segment's salt, then of bytes 4 .. 24 and the directory
//!
//! entry    0 kind u8      1 zero, 3 B     4 len u32      8 key u64       16 note u64     24 mark u64
//!            kind 1 own      a record that is in this page and nowhere else
//!                 2 shared   a record of the index, which knows where it lies; no body, len 0
//!                 3 inline   bytes that are no record, for as long as the process lives; key and mark 0
//!
//! body     crc u32 | bytes    of the bytes alone, as in the log: the index can point at them
//! ```
//!
//! A body by itself, four bytes of crc and the record, is also what lies between the pages: the shared records.

use crate::format::{Salt, u32_at, u64_at};

/// A page of a [`Log`](crate::Log).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId(pub u64);

/// What a page is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageRecord<'a> {
    /// A live record that the page's owner holds.
    Stored {
        /// The record.
        key: u64,
        /// Given back with it.
        note: u64,
    },
    /// Bytes that are no record, and gone when the process ends.
    Inline {
        /// They.
        bytes: &'a [u8],
        /// Given back with them.
        note: u64,
    },
}

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagedRecord<'a> {
    /// The record's key; `None` if it was inline.
    pub key: Option<u64>,
    /// The owner's mark on the record.
    pub mark: u64,
    /// What was noted when it was paged out.
    pub note: u64,
    /// The record's bytes.
    pub bytes: &'a [u8],
}

pub(crate) const HEADER: usize = 24;
pub(crate) const ENTRY: usize = 32;
/// Before the bytes of a body.
pub(crate) const CRC: usize = 4;

/// An entry of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) len: u32,
    pub(crate) key: u64,
    pub(crate) note: u64,
    pub(crate) mark: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Own,
    Shared,
    Inline,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Own => 1,
            Self::Shared => 2,
            Self::Inline => 3,
        }
    }

    fn decode(code: u8) -> Option<Self> {
        [Self::Own, Self::Shared, Self::Inline]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

impl Entry {
    pub(crate) fn push(&self, directory: &mut Vec<u8>) {
        directory.extend_from_slice(&[self.kind.code(), 0, 0, 0]);
        directory.extend_from_slice(&self.len.to_le_bytes());
        directory.extend_from_slice(&self.key.to_le_bytes());
        directory.extend_from_slice(&self.note.to_le_bytes());
        directory.extend_from_slice(&self.mark.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            kind: Kind::decode(bytes[0])?,
            len: u32_at(bytes, 4),
            key: u64_at(bytes, 8),
            note: u64_at(bytes, 16),
            mark: u64_at(bytes, 24),
        })
    }
}

/// The header of a page whose directory is `directory`.
pub(crate) fn header(salt: &Salt, page: u64, owner: u32, directory: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let count = u32::try_from(directory.len() / ENTRY).expect("a page has few records");
    header[4..8].copy_from_slice(&count.to_le_bytes());
    header[8..16].copy_from_slice(&page.to_le_bytes());
    header[16..20].copy_from_slice(&owner.to_le_bytes());
    let crc = checksum(salt, &header, directory);
    header[0..4].copy_from_slice(&crc.to_le_bytes());
    header
}

fn checksum(salt: &Salt, header: &[u8], directory: &[u8]) -> u32 {
    let mut crc = salt.hasher();
    crc.update(&header[4..HEADER]);
    crc.update(directory);
    crc.finalize()
}

/// Adds a body to others.
pub(crate) fn push_body(bodies: &mut Vec<u8>, bytes: &[u8]) {
    bodies.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    bodies.extend_from_slice(bytes);
}

/// The bytes of a body, if their checksum is right.
pub(crate) fn check_body(body: &[u8]) -> Option<&[u8]> {
    let (crc, bytes) = body.split_at_checked(CRC)?;
    (u32_at(crc, 0) == crc32fast::hash(bytes)).then_some(bytes)
}

/// A page in memory, its header and directory verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageBytes<'a> {
    bytes: &'a [u8],
    bodies_at: usize,
}

impl<'a> PageBytes<'a> {
    /// `None` if this is not that page.
    pub(crate) fn new(salt: &Salt, page: u64, owner: u32, bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let count = u32_at(header, 4) as usize;
        let directory = rest.get(..count.checked_mul(ENTRY)?)?;
        let is_sound = u32_at(header, 0) == checksum(salt, header, directory)
            && u64_at(header, 8) == page
            && u32_at(header, 16) == owner;
        let page = Self {
            bytes,
            bodies_at: HEADER + directory.len(),
        };
        (is_sound && page.adds_up()).then_some(page)
    }

    /// Whether the directory speaks of exactly the bytes there are.
    fn adds_up(&self) -> bool {
        let mut at = self.bodies_at;
        for entry in self.directory().chunks_exact(ENTRY) {
            match Entry::decode(entry) {
                None => return false,
                Some(entry) => at = at.saturating_add(entry.body_len()),
            }
        }
        at == self.bytes.len()
    }

    /// The entries in order, each with where in the page its body begins.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Entry, usize)> + use<'a> {
        let mut at = self.bodies_at;
        self.directory()
            .chunks_exact(ENTRY)
            .filter_map(Entry::decode)
            .map(move |entry| {
                let body_at = at;
                at += entry.body_len();
                (entry, body_at)
            })
    }

    /// The bytes of an entry that has a body, which begins at `at`, if their checksum is right.
    pub(crate) fn body(&self, entry: &Entry, at: usize) -> Option<&'a [u8]> {
        check_body(self.bytes.get(at..at + entry.body_len())?)
    }

    pub(crate) fn directory(&self) -> &'a [u8] {
        &self.bytes[HEADER..self.bodies_at]
    }

    pub(crate) fn bodies(&self) -> &'a [u8] {
        &self.bytes[self.bodies_at..]
    }
}

impl Entry {
    /// Bytes of its body, with the checksum.
    fn body_len(&self) -> usize {
        match self.kind {
            Kind::Shared => 0,
            Kind::Own | Kind::Inline => CRC + self.len as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: [Entry; 3] = [
        Entry {
            kind: Kind::Own,
            len: 5,
            key: 9,
            note: 90,
            mark: 2,
        },
        Entry {
            kind: Kind::Shared,
            len: 0,
            key: 4,
            note: 40,
            mark: 0,
        },
        Entry {
            kind: Kind::Inline,
            len: 0,
            key: 0,
            note: 50,
            mark: 0,
        },
    ];

    fn page(salt: &Salt) -> Vec<u8> {
        let (mut directory, mut bodies) = (Vec::new(), Vec::new());
        ENTRIES.iter().for_each(|entry| entry.push(&mut directory));
        push_body(&mut bodies, b"hello");
        push_body(&mut bodies, b"");
        [&header(salt, 7, 3, &directory)[..], &directory, &bodies].concat()
    }

    #[test]
    fn page_comes_back() {
        let salt = Salt::new(1);
        let bytes = page(&salt);
        let page = PageBytes::new(&salt, 7, 3, &bytes).unwrap();
        let entries: Vec<_> = page.entries().collect();
        assert_eq!(
            entries.iter().map(|(entry, _)| *entry).collect::<Vec<_>>(),
            ENTRIES
        );
        let body = |n: usize| page.body(&entries[n].0, entries[n].1);
        assert_eq!((body(0), body(2)), (Some(&b"hello"[..]), Some(&b""[..])));
        for (salt, id, owner) in [(2, 7, 3), (1, 8, 3), (1, 7, 4)] {
            assert!(PageBytes::new(&Salt::new(salt), id, owner, &bytes).is_none());
        }
    }

    #[test]
    fn every_flip_and_cut_is_noticed() {
        let salt = Salt::new(1);
        let bytes = page(&salt);
        for end in 0..bytes.len() {
            assert!(PageBytes::new(&salt, 7, 3, &bytes[..end]).is_none());
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let is_whole = PageBytes::new(&salt, 7, 3, &flipped).is_some_and(|page| {
                page.entries().all(|(entry, at)| {
                    entry.kind == Kind::Shared || page.body(&entry, at).is_some()
                })
            });
            assert!(!is_whole, "bit {bit}");
        }
    }
}
