//! How the log lies on disk. All integers are little-endian.
//!
//! ```text
//! 00000017.log   | file header, 4096 B | frame | frame | … | bytes of an earlier life, or zeros |
//!
//! 00000017.seg   | file header, 4096 B | pages and bodies; see `page` | … | zeros, as long as it is written to |
//!
//! file header    0 magic "LEVERETL"    8 version u32     12 crc u32     16 number u32     20 zero u32
//!                24 salt u64             32 first_lsn u64
//!                crc: CRC-32 of the 40 bytes with the crc itself as zero
//!                a segment has the magic "LEVERETS", and 0 for first_lsn
//!
//! frame          0 crc u32             4 len u32         8 lsn u64             16 durable u64
//!                24 first_key u64     32 oldest u32     36 zero u32            40 ops, len bytes, then zeros to 8
//!                crc: CRC-32 of the file's salt, then of bytes 4 .. 40 + len
//! ```
//!
//! A frame is what one turn of the writer puts on disk: whole batches, so that a frame that is there or not there is what
//! makes a batch atomic.
//!
//! - `lsn` goes up by one from frame to frame, across files. A hole in it is a frame that is missing.
//! - `durable` is the highest lsn known to be synced when the frame was written. Finding a frame with `durable >= n`
//!   proves that frame `n` was on disk once, so if `n` can't be read now it is damaged, not torn.
//! - `first_key` is the key of the frame's first put; the others follow by one.
//! - `oldest` is the first file that is still needed once this frame is durable. Files below it may be gone.
//! - The salt is new in every life of a file. The bytes of an earlier life can't pass for frames, so a file is used again
//!   without being erased.

use crc32fast::Hasher;

/// 2: pages. A log of version 1 is one without them.
pub(crate) const VERSION: u32 = 2;
const OLDEST_VERSION: u32 = 1;
/// Frames start here: the header has a page of its own, so that no frame shares a sector with it.
pub(crate) const FILE_HEADER: u64 = 4096;
pub(crate) const FRAME_HEADER: usize = 40;
/// The largest file: offsets in the index are 32 bits.
pub(crate) const FILE_MAX: u64 = u32::MAX as u64;

const LOG_MAGIC: [u8; 8] = *b"LEVERETL";
const SEGMENT_MAGIC: [u8; 8] = *b"LEVERETS";
const FILE_HEADER_USED: usize = 40;

/// In the number of a file by which the index knows it: it is a segment.
pub(crate) const SEGMENT: u32 = 1 << 31;

/// Where bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of a log file, or of a segment with [`SEGMENT`].
    pub(crate) file: u32,
    pub(crate) at: u32,
    pub(crate) len: u32,
}

impl Place {
    pub(crate) fn is_in_segment(&self) -> bool {
        self.file & SEGMENT != 0
    }

    /// Where the bytes end.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.at) + u64::from(self.len)
    }
}

/// What a file says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// With [`SEGMENT`], if it is one.
    pub(crate) number: u32,
    pub(crate) salt: u64,
    /// The lsn of the first frame the file holds or will hold: a file whose beginning is gone is noticed. 0 in a segment.
    pub(crate) first_lsn: u64,
}

/// Why a file header was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadFileHeader {
    NotALog,
    Newer(u32),
    Damaged,
}

impl FileHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; FILE_HEADER as usize];
        let magic = match self.number & SEGMENT {
            0 => LOG_MAGIC,
            _ => SEGMENT_MAGIC,
        };
        bytes[0..8].copy_from_slice(&magic);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..20].copy_from_slice(&(self.number & !SEGMENT).to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first_lsn.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..FILE_HEADER_USED]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadFileHeader> {
        let mut header: [u8; FILE_HEADER_USED] = bytes
            .get(..FILE_HEADER_USED)
            .and_then(|head| head.try_into().ok())
            .ok_or(BadFileHeader::NotALog)?;
        let kind = match header[0..8] {
            ref magic if *magic == LOG_MAGIC => 0,
            ref magic if *magic == SEGMENT_MAGIC => SEGMENT,
            _ => return Err(BadFileHeader::NotALog),
        };
        // Before the checksum: a newer format may keep it elsewhere.
        let version = u32_at(&header, 8);
        if version > VERSION {
            return Err(BadFileHeader::Newer(version));
        }
        let crc = u32_at(&header, 12);
        header[12..16].fill(0);
        if version < OLDEST_VERSION || crc != crc32fast::hash(&header) {
            return Err(BadFileHeader::Damaged);
        }
        Ok(Self {
            number: u32_at(&header, 16) | kind,
            salt: u64_at(&header, 24),
            first_lsn: u64_at(&header, 32),
        })
    }
}

/// A frame's header without its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Bytes of ops.
    pub(crate) len: u32,
    pub(crate) lsn: u64,
    pub(crate) durable: u64,
    pub(crate) first_key: u64,
    pub(crate) oldest: u32,
}

impl FrameHeader {
    /// The header's bytes, with the checksum over it and `ops`, which are `len` bytes in all.
    pub(crate) fn encode(&self, salt: &Salt, ops: &[&[u8]]) -> [u8; FRAME_HEADER] {
        let mut bytes = [0; FRAME_HEADER];
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.lsn.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.durable.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_key.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.oldest.to_le_bytes());
        let mut crc = salt.hasher();
        crc.update(&bytes[4..]);
        ops.iter().for_each(|part| crc.update(part));
        bytes[0..4].copy_from_slice(&crc.finalize().to_le_bytes());
        bytes
    }

    /// Reads a header without checking anything. [`verify`] does.
    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER]) -> Self {
        Self {
            len: u32_at(bytes, 4),
            lsn: u64_at(bytes, 8),
            durable: u64_at(bytes, 16),
            first_key: u64_at(bytes, 24),
            oldest: u32_at(bytes, 32),
        }
    }

    /// Bytes the whole frame takes in the file.
    pub(crate) fn frame_len(&self) -> u64 {
        frame_len(u64::from(self.len))
    }
}

/// Bytes a frame with `ops` bytes of ops takes in the file.
pub(crate) fn frame_len(ops: u64) -> u64 {
    (FRAME_HEADER as u64 + ops).next_multiple_of(8)
}

/// Whether `frame`, header and ops without the padding, carries the right checksum.
pub(crate) fn verify(salt: &Salt, frame: &[u8]) -> bool {
    let mut crc = salt.hasher();
    crc.update(&frame[4..]);
    u32_at(frame, 0) == crc.finalize()
}

/// A file's salt, ready to start checksums from.
#[derive(Debug, Clone)]
pub(crate) struct Salt(Hasher);

impl Salt {
    pub(crate) fn new(salt: u64) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(&salt.to_le_bytes());
        Self(hasher)
    }

    /// A checksum that has begun with the salt.
    pub(crate) fn hasher(&self) -> Hasher {
        self.0.clone()
    }
}

/// The integer at `at`, which the caller knows to lie within `bytes`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The integer at `at`, which the caller knows to lie within `bytes`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub(crate) fn log_name(number: u32) -> String {
    format!("{number:08}.log")
}

pub(crate) fn spare_name(number: u32) -> String {
    format!("{number:08}.spare")
}

pub(crate) fn segment_name(number: u32) -> String {
    format!("{:08}.seg", number & !SEGMENT)
}

/// The name of a file that the index knows by `number`.
pub(crate) fn file_name(number: u32) -> String {
    match number & SEGMENT {
        0 => log_name(number),
        _ => segment_name(number),
    }
}

/// Far more files than there will ever be. A name with a larger number is not ours.
const NUMBER_MAX: u32 = u32::MAX / 2;

/// The number in a name made by [`log_name`], [`segment_name`] or [`spare_name`], by its suffix.
pub(crate) fn number_in(name: &str, suffix: &str) -> Option<u32> {
    let digits = name.strip_suffix(suffix)?;
    let number = digits.parse().ok()?;
    (number <= NUMBER_MAX && digits == format!("{number:08}")).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_header_comes_back_and_every_flip_is_noticed() {
        for number in [17, 17 | SEGMENT] {
            let header = FileHeader {
                number,
                salt: 0x0123_4567_89ab_cdef,
                first_lsn: 3,
            };
            let bytes = header.encode();
            assert_eq!(FileHeader::decode(&bytes), Ok(header));
            for bit in 0..FILE_HEADER_USED * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(FileHeader::decode(&flipped).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn newer_format_is_told_from_damage() {
        let mut bytes = FileHeader {
            number: 1,
            salt: 2,
            first_lsn: 1,
        }
        .encode();
        bytes[8] = 3;
        assert_eq!(FileHeader::decode(&bytes), Err(BadFileHeader::Newer(3)));
        assert_eq!(FileHeader::decode(&[0; 4096]), Err(BadFileHeader::NotALog));
    }

    #[test]
    fn frame_of_another_salt_is_not_valid() {
        let header = FrameHeader {
            len: 5,
            lsn: 7,
            durable: 6,
            first_key: 3,
            oldest: 1,
        };
        let salt = Salt::new(1);
        let mut frame = header.encode(&salt, &[b"he", b"llo"]).to_vec();
        frame.extend_from_slice(b"hello");
        assert!(verify(&salt, &frame));
        assert!(!verify(&Salt::new(2), &frame));
        assert_eq!(
            FrameHeader::decode(frame[..FRAME_HEADER].try_into().unwrap()),
            header
        );
        assert_eq!(header.frame_len(), 48);
    }

    #[test]
    fn names() {
        assert_eq!(number_in("00000017.log", ".log"), Some(17));
        assert_eq!(number_in("17.log", ".log"), None);
        assert_eq!(number_in("00000017.spare", ".log"), None);
        assert_eq!(
            number_in(&log_name(1_234_567_890), ".log"),
            Some(1_234_567_890)
        );
        assert_eq!(number_in(&log_name(u32::MAX), ".log"), None);
    }
}
