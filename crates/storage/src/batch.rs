//! What can be said to the log, and how it is written down inside a frame. Integers are little-endian, nothing is aligned.
//!
//! ```text
//! put        1 | owners u32 | len u32 | owner u32 …             | crc u32 | bytes     key: the frame's next
//! moved      2 | owners u32 | len u32 | (owner u32, mark u64) … | key u64 | crc u32 | bytes
//! release    3 | owner u32 | key u64
//! mark       4 | owner u32 | key u64 | mark u64
//! drop owner 5 | owner u32
//! define     6 | table u8 | id u64 | len u32 | crc u32 | bytes
//! undefine   7 | table u8 | id u64
//! close      8                                                  the last op of a clean shutdown
//! page       9 | page u64 | owner u32 | place | count u32 | first_key u64 | last_key u64 | meta u8 | own u32 | shared u32
//!            | meta bytes | own bytes, keys | shared bytes, keys
//! unpage    10 | page u64 | owner u32 | shared u32 | keys         its own records are placed in the same batch
//! drop page 11 | page u64 | owner u32 | shared u32 | keys
//! page moved 12 | page u64 | place
//! placed    13 | key u64 | place | owners u32 | (owner u32, paged u8, mark u64) …
//! relocated 14 | key u64 | place
//!
//! place        file u32 | at u32 | len u32                      in a segment; file is the segment's number
//! keys         see `keys`
//! ```
//!
//! `moved` is a record that cleaning carried to the tail of the log; it says all there is to know about the record and
//! replaces what was known before. `placed` is the same of a record whose bytes lie in a segment. `relocated` says only that
//! they lie there now, and nothing if the record is gone.
//!
//! `page` takes the *own* keys from their owner: they have no other, and the page is all there is of them from now on. It
//! refers to the *shared* ones, which stay records. A page that cleaning carried has no own keys: their records were gone
//! before it. `page moved` says where a page lies now, and nothing if it is gone. `unpage` and `drop page` say again which
//! records the page referred to: these may have been carried, each with what was known of it, when the page's op is gone.
//! They are its owner's as before, or no longer.
//!
//! The crc before the bytes is theirs alone: the index points at the bytes, and reading one
//! record back must not need the whole frame.

use crate::format::{Place, SEGMENT, u32_at, u64_at};
use crate::keys::Keys;
use crate::owners::Hold;
use crate::page::PageId;

const PUT: u8 = 1;
const MOVED: u8 = 2;
const RELEASE: u8 = 3;
const MARK: u8 = 4;
const DROP_OWNER: u8 = 5;
const DEFINE: u8 = 6;
const UNDEFINE: u8 = 7;
const CLOSE: u8 = 8;
const PAGE: u8 = 9;
const UNPAGE: u8 = 10;
const DROP_PAGE: u8 = 11;
const PAGE_MOVED: u8 = 12;
const PLACED: u8 = 13;
const RELOCATED: u8 = 14;

/// Memory that an empty batch keeps at most, bytes.
const KEPT_MAX: usize = 256 * 1024;

/// Changes that reach the disk together or not at all. A buffer to be filled, appended and filled again.
#[derive(Debug, Default)]
pub struct Batch {
    ops: Vec<u8>,
    /// Pages to be dropped behind everything else. What the log has to say of them it knows itself.
    dropped: Vec<PageId>,
    puts: u32,
    urgent: bool,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record: `parts`, one behind the other, alive as long as one of `owners` holds it, each with mark 0.
    /// Returns the record's index among the batch's puts; its key is that of the append plus this index.
    ///
    /// # Panics
    /// If the parts are 4 GiB or more, or an owner is `u32::MAX`, which the index keeps for itself.
    pub fn put(&mut self, owners: &[u32], parts: &[&[u8]]) -> u32 {
        let len = parts.iter().map(|part| part.len()).sum();
        self.ops.reserve(13 + 4 * owners.len() + len);
        self.ops.push(PUT);
        self.ops
            .extend_from_slice(&small(owners.len()).to_le_bytes());
        self.ops.extend_from_slice(&small(len).to_le_bytes());
        for owner in owners {
            assert_ne!(*owner, u32::MAX, "an owner the index keeps for itself");
            self.ops.extend_from_slice(&owner.to_le_bytes());
        }
        push_with_crc(&mut self.ops, parts);
        self.urgent = true;
        self.puts += 1;
        self.puts - 1
    }

    /// Ends the hold of `owner` on a record. Unknown records and owners are ignored.
    pub fn release(&mut self, owner: u32, key: u64) {
        self.ops.push(RELEASE);
        self.ops.extend_from_slice(&owner.to_le_bytes());
        self.ops.extend_from_slice(&key.to_le_bytes());
    }

    /// Sets the mark of `owner` on a record it holds.
    pub fn mark(&mut self, owner: u32, key: u64, mark: u64) {
        self.ops.push(MARK);
        self.ops.extend_from_slice(&owner.to_le_bytes());
        self.ops.extend_from_slice(&key.to_le_bytes());
        self.ops.extend_from_slice(&mark.to_le_bytes());
    }

    /// Ends the hold of `owner` on everything put before, and its pages.
    pub fn drop_owner(&mut self, owner: u32) {
        self.ops.push(DROP_OWNER);
        self.ops.extend_from_slice(&owner.to_le_bytes());
        self.urgent = true;
    }

    /// Ends a page, and its owner's hold on everything in it. Its records are not read.
    pub fn drop_page(&mut self, page: PageId) {
        self.dropped.push(page);
    }

    /// Sets a definition.
    ///
    /// # Panics
    /// If `bytes` are 4 GiB or more.
    pub fn define(&mut self, table: u8, id: u64, bytes: &[u8]) {
        push_define(&mut self.ops, table, id, bytes);
        self.urgent = true;
    }

    /// Removes a definition.
    pub fn undefine(&mut self, table: u8, id: u64) {
        self.ops.extend_from_slice(&[UNDEFINE, table]);
        self.ops.extend_from_slice(&id.to_le_bytes());
        self.urgent = true;
    }

    /// Forgets what was filled in, but keeps the memory, if it is not much.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.ops.shrink_to(KEPT_MAX);
        self.dropped.clear();
        self.puts = 0;
        self.urgent = false;
    }

    /// Whether nothing was filled in.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.dropped.is_empty()
    }

    /// Takes the pages that are to be dropped.
    pub(crate) fn take_dropped(&mut self) -> Vec<PageId> {
        std::mem::take(&mut self.dropped)
    }

    /// For ops that callers of the log can't make.
    pub(crate) fn ops_mut(&mut self) -> &mut Vec<u8> {
        &mut self.ops
    }

    pub(crate) fn ops(&self) -> &[u8] {
        &self.ops
    }

    pub(crate) fn puts(&self) -> u32 {
        self.puts
    }

    /// Whether somebody is likely to wait for it. Releases and marks alone can wait for company.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent
    }
}

/// Writes a record that cleaning carries along. None of its holds is paged: its bytes would lie in a segment.
pub(crate) fn push_moved(ops: &mut Vec<u8>, key: u64, holds: &[Hold], bytes: &[u8]) {
    ops.push(MOVED);
    ops.extend_from_slice(&small(holds.len()).to_le_bytes());
    ops.extend_from_slice(&small(bytes.len()).to_le_bytes());
    for hold in holds {
        ops.extend_from_slice(&hold.owner.to_le_bytes());
        ops.extend_from_slice(&hold.mark.to_le_bytes());
    }
    ops.extend_from_slice(&key.to_le_bytes());
    push_with_crc(ops, &[bytes]);
}

pub(crate) fn push_define(ops: &mut Vec<u8>, table: u8, id: u64, bytes: &[u8]) {
    ops.extend_from_slice(&[DEFINE, table]);
    ops.extend_from_slice(&id.to_le_bytes());
    ops.extend_from_slice(&small(bytes.len()).to_le_bytes());
    push_with_crc(ops, &[bytes]);
}

pub(crate) fn push_close(ops: &mut Vec<u8>) {
    ops.push(CLOSE);
}

/// A page as the log knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageOp<'a> {
    pub(crate) page: u64,
    pub(crate) owner: u32,
    pub(crate) place: Place,
    /// Records of the log in it.
    pub(crate) count: u32,
    pub(crate) first_key: u64,
    pub(crate) last_key: u64,
    pub(crate) meta: &'a [u8],
    pub(crate) own: Keys<'a>,
    pub(crate) shared: Keys<'a>,
}

/// What there is to say of a page that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageEnd<'a> {
    pub(crate) page: u64,
    pub(crate) owner: u32,
    pub(crate) shared: Keys<'a>,
}

pub(crate) fn push_page(ops: &mut Vec<u8>, page: &PageOp<'_>) {
    ops.push(PAGE);
    ops.extend_from_slice(&page.page.to_le_bytes());
    ops.extend_from_slice(&page.owner.to_le_bytes());
    push_place(ops, page.place);
    ops.extend_from_slice(&page.count.to_le_bytes());
    ops.extend_from_slice(&page.first_key.to_le_bytes());
    ops.extend_from_slice(&page.last_key.to_le_bytes());
    ops.push(u8::try_from(page.meta.len()).expect("a page's meta is short"));
    let keys = [page.own.packed(), page.shared.packed()];
    for keys in keys {
        ops.extend_from_slice(&small(keys.len()).to_le_bytes());
    }
    ops.extend_from_slice(page.meta);
    keys.iter().for_each(|keys| ops.extend_from_slice(keys));
}

pub(crate) fn push_unpage(ops: &mut Vec<u8>, page: &PageEnd<'_>) {
    ops.push(UNPAGE);
    push_page_end(ops, page);
}

pub(crate) fn push_drop_page(ops: &mut Vec<u8>, page: &PageEnd<'_>) {
    ops.push(DROP_PAGE);
    push_page_end(ops, page);
}

fn push_page_end(ops: &mut Vec<u8>, page: &PageEnd<'_>) {
    let keys = page.shared.packed();
    ops.extend_from_slice(&page.page.to_le_bytes());
    ops.extend_from_slice(&page.owner.to_le_bytes());
    ops.extend_from_slice(&small(keys.len()).to_le_bytes());
    ops.extend_from_slice(keys);
}

pub(crate) fn push_page_moved(ops: &mut Vec<u8>, page: u64, place: Place) {
    ops.push(PAGE_MOVED);
    ops.extend_from_slice(&page.to_le_bytes());
    push_place(ops, place);
}

/// Writes a record whose bytes lie in a segment.
pub(crate) fn push_placed(ops: &mut Vec<u8>, key: u64, place: Place, holds: &[Hold]) {
    ops.push(PLACED);
    ops.extend_from_slice(&key.to_le_bytes());
    push_place(ops, place);
    ops.extend_from_slice(&small(holds.len()).to_le_bytes());
    for hold in holds {
        ops.extend_from_slice(&hold.owner.to_le_bytes());
        ops.push(u8::from(hold.paged));
        ops.extend_from_slice(&hold.mark.to_le_bytes());
    }
}

pub(crate) fn push_relocated(ops: &mut Vec<u8>, key: u64, place: Place) {
    ops.push(RELOCATED);
    ops.extend_from_slice(&key.to_le_bytes());
    push_place(ops, place);
}

fn push_place(ops: &mut Vec<u8>, place: Place) {
    debug_assert!(place.is_in_segment());
    ops.extend_from_slice(&(place.file & !SEGMENT).to_le_bytes());
    ops.extend_from_slice(&place.at.to_le_bytes());
    ops.extend_from_slice(&place.len.to_le_bytes());
}

fn push_with_crc(ops: &mut Vec<u8>, parts: &[&[u8]]) {
    let crc_at = ops.len();
    ops.extend_from_slice(&[0; 4]);
    parts.iter().for_each(|part| ops.extend_from_slice(part));
    // Over all of them at once: a checksum of a few bytes takes as long as one of many.
    let crc = crc32fast::hash(&ops[crc_at + 4..]);
    ops[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
}

fn small(n: usize) -> u32 {
    u32::try_from(n).expect("less than 4 GiB")
}

/// One change, as read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Put {
        owners: Owners<'a>,
        bytes: Content<'a>,
    },
    Moved {
        key: u64,
        owners: Owners<'a>,
        bytes: Content<'a>,
    },
    Release {
        owner: u32,
        key: u64,
    },
    Mark {
        owner: u32,
        key: u64,
        mark: u64,
    },
    DropOwner {
        owner: u32,
    },
    Define {
        table: u8,
        id: u64,
        bytes: Content<'a>,
    },
    Undefine {
        table: u8,
        id: u64,
    },
    Close,
    Page(PageOp<'a>),
    Unpage(PageEnd<'a>),
    DropPage(PageEnd<'a>),
    PageMoved {
        page: u64,
        place: Place,
    },
    Placed {
        key: u64,
        place: Place,
        owners: Owners<'a>,
    },
    Relocated {
        key: u64,
        place: Place,
    },
}

/// Bytes, and where among the ops they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content<'a> {
    pub(crate) at: u32,
    pub(crate) bytes: &'a [u8],
}

/// The owners of a record, not yet unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners<'a> {
    Bare(&'a [u8]),
    Marked(&'a [u8]),
    Held(&'a [u8]),
}

impl Owners<'_> {
    /// The owner of a record that has one, without a mark.
    pub(crate) fn only(self) -> Option<u32> {
        match self {
            Self::Bare(bytes) => bytes.try_into().ok().map(u32::from_le_bytes),
            _ => None,
        }
    }

    pub(crate) fn to_vec(self) -> Vec<Hold> {
        match self {
            Self::Bare(bytes) => bytes
                .chunks_exact(4)
                .map(|owner| Hold::new(u32_at(owner, 0)))
                .collect(),
            Self::Marked(bytes) => bytes
                .chunks_exact(12)
                .map(|held| Hold {
                    owner: u32_at(held, 0),
                    paged: false,
                    mark: u64_at(held, 4),
                })
                .collect(),
            Self::Held(bytes) => bytes
                .chunks_exact(13)
                .map(|held| Hold {
                    owner: u32_at(held, 0),
                    paged: held[4] != 0,
                    mark: u64_at(held, 5),
                })
                .collect(),
        }
    }
}

/// Reads the ops of a frame one after the other. The checksum has been verified, and yet nothing in here is trusted.
pub(crate) struct Ops<'a> {
    ops: &'a [u8],
    at: usize,
}

/// The ops make no sense although their checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Ops<'a> {
    pub(crate) fn new(ops: &'a [u8]) -> Self {
        Self { ops, at: 0 }
    }

    fn op(&mut self) -> Result<Op<'a>, Malformed> {
        Ok(match self.u8()? {
            PUT => {
                let (owners, len) = (self.u32()?, self.u32()?);
                let owners = Owners::Bare(self.list(owners, 4)?);
                Op::Put {
                    owners,
                    bytes: self.content(len)?,
                }
            }
            MOVED => {
                let (owners, len) = (self.u32()?, self.u32()?);
                let owners = Owners::Marked(self.list(owners, 12)?);
                Op::Moved {
                    key: self.u64()?,
                    owners,
                    bytes: self.content(len)?,
                }
            }
            RELEASE => Op::Release {
                owner: self.u32()?,
                key: self.u64()?,
            },
            MARK => Op::Mark {
                owner: self.u32()?,
                key: self.u64()?,
                mark: self.u64()?,
            },
            DROP_OWNER => Op::DropOwner { owner: self.u32()? },
            DEFINE => {
                let (table, id, len) = (self.u8()?, self.u64()?, self.u32()?);
                Op::Define {
                    table,
                    id,
                    bytes: self.content(len)?,
                }
            }
            UNDEFINE => Op::Undefine {
                table: self.u8()?,
                id: self.u64()?,
            },
            CLOSE => Op::Close,
            PAGE => Op::Page(self.page()?),
            UNPAGE => Op::Unpage(self.page_end()?),
            DROP_PAGE => Op::DropPage(self.page_end()?),
            PAGE_MOVED => Op::PageMoved {
                page: self.u64()?,
                place: self.place()?,
            },
            PLACED => {
                let (key, place, owners) = (self.u64()?, self.place()?, self.u32()?);
                let owners = Owners::Held(self.list(owners, 13)?);
                Op::Placed { key, place, owners }
            }
            RELOCATED => Op::Relocated {
                key: self.u64()?,
                place: self.place()?,
            },
            _ => return Err(Malformed),
        })
    }

    fn page(&mut self) -> Result<PageOp<'a>, Malformed> {
        let (page, owner, place, count) = (self.u64()?, self.u32()?, self.place()?, self.u32()?);
        let (first_key, last_key) = (self.u64()?, self.u64()?);
        let (meta, own, shared) = (self.u8()?, self.u32()?, self.u32()?);
        Ok(PageOp {
            page,
            owner,
            place,
            count,
            first_key,
            last_key,
            meta: self.take(meta.into())?,
            own: self.keys(own)?,
            shared: self.keys(shared)?,
        })
    }

    fn page_end(&mut self) -> Result<PageEnd<'a>, Malformed> {
        let (page, owner, shared) = (self.u64()?, self.u32()?, self.u32()?);
        Ok(PageEnd {
            page,
            owner,
            shared: self.keys(shared)?,
        })
    }

    fn place(&mut self) -> Result<Place, Malformed> {
        let (file, at, len) = (self.u32()?, self.u32()?, self.u32()?);
        let is_sound = file & SEGMENT == 0 && at.checked_add(len).is_some();
        is_sound
            .then_some(Place {
                file: file | SEGMENT,
                at,
                len,
            })
            .ok_or(Malformed)
    }

    fn keys(&mut self, len: u32) -> Result<Keys<'a>, Malformed> {
        Keys::new(self.take(len as usize)?).ok_or(Malformed)
    }

    /// A crc, which the frame's makes needless here, and `len` bytes.
    fn content(&mut self, len: u32) -> Result<Content<'a>, Malformed> {
        self.u32()?;
        let at = u32::try_from(self.at).map_err(|_| Malformed)?;
        Ok(Content {
            at,
            bytes: self.take(len as usize)?,
        })
    }

    fn list(&mut self, count: u32, size: usize) -> Result<&'a [u8], Malformed> {
        self.take((count as usize).checked_mul(size).ok_or(Malformed)?)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32_at(self.take(4)?, 0))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64_at(self.take(8)?, 0))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.ops[self.at..].get(..len).ok_or(Malformed)?;
        self.at += len;
        Ok(taken)
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.at < self.ops.len()).then(|| self.op())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    fn everything() -> Vec<u8> {
        let mut batch = Batch::new();
        assert_eq!(batch.put(&[1, 2], &[b"he", b"llo"]), 0);
        batch.release(1, 77);
        batch.mark(2, 78, 3);
        batch.drop_owner(9);
        batch.define(4, 5, b"queue");
        batch.undefine(4, 6);
        assert_eq!(batch.put(&[], &[]), 1);
        let mut ops = batch.ops().to_vec();
        push_moved(&mut ops, 42, &[MARKED], b"old");
        push_close(&mut ops);
        let (own, shared) = (keys::pack([1, 2, 3]), keys::pack([7]));
        push_drop_page(&mut ops, &end(3, &shared));
        push_page(&mut ops, &page(&own, &shared));
        push_unpage(&mut ops, &end(4, &[]));
        push_page_moved(&mut ops, 5, PLACE);
        push_placed(&mut ops, 6, PLACE, &[PAGED, MARKED]);
        push_relocated(&mut ops, 7, PLACE);
        ops
    }

    const MARKED: Hold = Hold {
        owner: 7,
        paged: false,
        mark: 8,
    };
    const PAGED: Hold = Hold {
        owner: 5,
        paged: true,
        mark: 1 << 40,
    };
    const PLACE: Place = Place {
        file: SEGMENT | 3,
        at: 4096,
        len: 77,
    };

    fn end(page: u64, shared: &[u8]) -> PageEnd<'_> {
        PageEnd {
            page,
            owner: 5,
            shared: Keys::new(shared).unwrap(),
        }
    }

    fn page<'a>(own: &'a [u8], shared: &'a [u8]) -> PageOp<'a> {
        PageOp {
            page: 9,
            owner: 5,
            place: PLACE,
            count: 4,
            first_key: 1,
            last_key: 7,
            meta: b"level",
            own: Keys::new(own).unwrap(),
            shared: Keys::new(shared).unwrap(),
        }
    }

    #[test]
    fn ops_come_back() {
        let ops = everything();
        let read: Vec<_> = Ops::new(&ops).map(|op| op.unwrap()).collect();
        assert!(matches!(read[0], Op::Put { owners, bytes }
            if owners.to_vec() == [Hold::new(1), Hold::new(2)] && bytes.bytes == b"hello" && bytes.at == 21));
        assert_eq!(read[1], Op::Release { owner: 1, key: 77 });
        assert_eq!(
            read[2],
            Op::Mark {
                owner: 2,
                key: 78,
                mark: 3
            }
        );
        assert_eq!(read[3], Op::DropOwner { owner: 9 });
        assert!(
            matches!(read[4], Op::Define { table: 4, id: 5, bytes } if bytes.bytes == b"queue")
        );
        assert_eq!(read[5], Op::Undefine { table: 4, id: 6 });
        assert!(
            matches!(read[6], Op::Put { owners, bytes } if owners.to_vec().is_empty() && bytes.bytes.is_empty())
        );
        assert!(matches!(read[7], Op::Moved { key: 42, owners, bytes }
            if owners.to_vec() == [MARKED] && bytes.bytes == b"old"));
        assert_eq!(read[8], Op::Close);
        let (own, shared) = (keys::pack([1, 2, 3]), keys::pack([7]));
        assert_eq!(read[9], Op::DropPage(end(3, &shared)));
        assert_eq!(read[10], Op::Page(page(&own, &shared)));
        assert_eq!(read[11], Op::Unpage(end(4, &[])));
        let place = PLACE;
        assert_eq!(read[12], Op::PageMoved { page: 5, place });
        assert!(
            matches!(read[13], Op::Placed { key: 6, place: PLACE, owners }
            if owners.to_vec() == [PAGED, MARKED])
        );
        assert_eq!(read[14], Op::Relocated { key: 7, place });
        assert_eq!(read.len(), 15);
    }

    /// The first error ends the reading of a frame, so an iterator that goes on after it is of no interest.
    #[test]
    fn cut_and_flipped_ops_do_not_panic() {
        let ops = everything();
        for end in 0..ops.len() {
            let _ = Ops::new(&ops[..end]).take_while(Result::is_ok).count();
        }
        for bit in 0..ops.len() * 8 {
            let mut flipped = ops.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = Ops::new(&flipped).take_while(Result::is_ok).count();
        }
    }
}
