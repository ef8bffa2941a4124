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
//! ```
//!
//! `moved` is a record that cleaning carried to the tail of the log; it says all there is to know about the record and
//! replaces what was known before. The crc before the bytes is theirs alone: the index points at the bytes, and reading one
//! record back must not need the whole frame.

use crate::format::{u32_at, u64_at};

const PUT: u8 = 1;
const MOVED: u8 = 2;
const RELEASE: u8 = 3;
const MARK: u8 = 4;
const DROP_OWNER: u8 = 5;
const DEFINE: u8 = 6;
const UNDEFINE: u8 = 7;
const CLOSE: u8 = 8;

/// Changes that reach the disk together or not at all. A buffer to be filled, appended and filled again.
#[derive(Debug, Default)]
pub struct Batch {
    ops: Vec<u8>,
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

    /// Ends the hold of `owner` on everything put before.
    pub fn drop_owner(&mut self, owner: u32) {
        self.ops.push(DROP_OWNER);
        self.ops.extend_from_slice(&owner.to_le_bytes());
        self.urgent = true;
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

    /// Forgets what was filled in, but keeps the memory.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.puts = 0;
        self.urgent = false;
    }

    /// Whether nothing was filled in.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
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

/// Writes a record that cleaning carries along.
pub(crate) fn push_moved(ops: &mut Vec<u8>, key: u64, owners: &[(u32, u64)], bytes: &[u8]) {
    ops.push(MOVED);
    ops.extend_from_slice(&small(owners.len()).to_le_bytes());
    ops.extend_from_slice(&small(bytes.len()).to_le_bytes());
    for (owner, mark) in owners {
        ops.extend_from_slice(&owner.to_le_bytes());
        ops.extend_from_slice(&mark.to_le_bytes());
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

fn push_with_crc(ops: &mut Vec<u8>, parts: &[&[u8]]) {
    let mut crc = crc32fast::Hasher::new();
    parts.iter().for_each(|part| crc.update(part));
    ops.extend_from_slice(&crc.finalize().to_le_bytes());
    parts.iter().for_each(|part| ops.extend_from_slice(part));
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
}

/// Bytes, and where among the ops they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content<'a> {
    pub(crate) at: u32,
    pub(crate) bytes: &'a [u8],
}

/// The owners of a record with their marks, not yet unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners<'a> {
    Bare(&'a [u8]),
    Marked(&'a [u8]),
}

impl Owners<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bare(bytes) => bytes.len() / 4,
            Self::Marked(bytes) => bytes.len() / 12,
        }
    }

    pub(crate) fn nth(&self, n: usize) -> (u32, u64) {
        match self {
            Self::Bare(bytes) => (u32_at(bytes, n * 4), 0),
            Self::Marked(bytes) => (u32_at(bytes, n * 12), u64_at(bytes, n * 12 + 4)),
        }
    }

    pub(crate) fn to_vec(self) -> Vec<(u32, u64)> {
        (0..self.len()).map(|n| self.nth(n)).collect()
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
            _ => return Err(Malformed),
        })
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
        push_moved(&mut ops, 42, &[(7, 8)], b"old");
        push_close(&mut ops);
        ops
    }

    #[test]
    fn ops_come_back() {
        let ops = everything();
        let read: Vec<_> = Ops::new(&ops).map(|op| op.unwrap()).collect();
        assert!(matches!(read[0], Op::Put { owners, bytes }
            if owners.to_vec() == [(1, 0), (2, 0)] && bytes.bytes == b"hello" && bytes.at == 21));
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
            matches!(read[6], Op::Put { owners, bytes } if owners.len() == 0 && bytes.bytes.is_empty())
        );
        assert!(matches!(read[7], Op::Moved { key: 42, owners, bytes }
            if owners.to_vec() == [(7, 8)] && bytes.bytes == b"old"));
        assert_eq!(read[8], Op::Close);
        assert_eq!(read.len(), 9);
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
