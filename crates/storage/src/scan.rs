//! Reads the frames of one file, one after the other, checking each.

use std::io;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::{self, FILE_HEADER, FRAME_HEADER, FrameHeader, Salt, u64_at};

/// Bytes asked from the disk at once.
const READ: u64 = 1 << 20;
/// A part of a file in memory: turns many small reads that go forward into few large ones.
#[derive(Default)]
pub(crate) struct Window {
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(crate) fn holds(&self, offset: u64, len: u64) -> bool {
        offset >= self.at && offset + len <= self.at + self.bytes.len() as u64
    }

    /// What is here from `offset` on.
    fn rest(&self, offset: u64) -> &[u8] {
        let start = offset.checked_sub(self.at).unwrap_or(u64::MAX);
        usize::try_from(start)
            .ok()
            .and_then(|start| self.bytes.get(start..))
            .unwrap_or_default()
    }

    pub(crate) fn forget(&mut self) {
        self.bytes.clear();
    }

    /// The bytes at `offset`, which the caller knows to end before `file_end`. Reads ahead up to there.
    pub(crate) fn get(
        &mut self,
        file: &dyn DiskFile,
        file_end: u64,
        offset: u64,
        len: u64,
        read_ahead: u64,
    ) -> io::Result<&[u8]> {
        if !self.holds(offset, len) {
            let size = len.max(read_ahead.min(file_end - offset));
            // Not cleared first: what is there is overwritten, and only what is new has to be zeroed.
            self.bytes.resize(size as usize, 0);
            self.at = offset;
            if let Err(error) = file.read_at(&mut self.bytes, offset) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let start = (offset - self.at) as usize;
        Ok(&self.bytes[start..start + len as usize])
    }
}

/// Reads the frames of a file. It stands at an offset; [`Scanner::next`] moves it over a valid frame.
pub(crate) struct Scanner {
    file: Arc<dyn DiskFile>,
    salt: Salt,
    end: u64,
    at: u64,
    /// The lsn of the last valid frame, or the one before the file's first.
    lsn: u64,
    window: Window,
}

/// A valid frame.
pub(crate) struct Frame<'a> {
    pub(crate) header: FrameHeader,
    pub(crate) ops: &'a [u8],
    /// Where in the file the ops begin.
    pub(crate) ops_at: u64,
}

impl Scanner {
    /// Stands before the first frame of a file, of which the first `end` bytes are of interest.
    pub(crate) fn new(file: Arc<dyn DiskFile>, salt: Salt, first_lsn: u64, end: u64) -> Self {
        let lsn = first_lsn.saturating_sub(1);
        Self {
            file,
            salt,
            end,
            at: FILE_HEADER,
            lsn,
            window: Window::default(),
        }
    }

    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn seek(&mut self, at: u64) {
        self.at = at;
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    /// The frame here, or `None` if there is no valid one.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let at = self.at;
        let Some(header) = self.valid_frame(at)? else {
            return Ok(None);
        };
        self.at += header.frame_len();
        self.lsn = header.lsn;
        let ops_at = at + FRAME_HEADER as u64;
        let ops = self.bytes(ops_at, u64::from(header.len))?;
        Ok(Some(Frame {
            header,
            ops,
            ops_at,
        }))
    }

    /// The offset of the next valid frame behind this place that was written when frame `durable` was on disk.
    pub(crate) fn look_ahead(&mut self, durable: u64) -> io::Result<Option<u64>> {
        let mut at = self.at + 8;
        while let Some(candidate) = self.next_lsn_like(at)? {
            if self
                .valid_frame(candidate)?
                .is_some_and(|header| header.durable >= durable)
            {
                return Ok(Some(candidate));
            }
            at = candidate + 8;
        }
        Ok(None)
    }

    /// The first offset from `at` where a frame could stand, judged by its lsn alone. Made to be fast: what lies behind the
    /// last frame is a whole file of zeros or of an earlier life, full of numbers.
    fn next_lsn_like(&mut self, mut at: u64) -> io::Result<Option<u64>> {
        // No more frames than this fit into the file.
        let frames = self.end / FRAME_HEADER as u64;
        let lsns = self.lsn.saturating_add(1)..=self.lsn.saturating_add(frames);
        while at + FRAME_HEADER as u64 <= self.end {
            let len = (self.end - at - 8).min(READ) & !7;
            // The window is used up first: to read it anew for each number would take ages.
            let len = match self.window.rest(at + 8).len() as u64 & !7 {
                0 => len,
                rest => len.min(rest),
            };
            let words = self.bytes(at + 8, len)?.chunks_exact(8);
            let found = words
                .map(|word| u64_at(word, 0))
                .position(|lsn| lsns.contains(&lsn));
            match found {
                Some(n) => return Ok(Some(at + 8 * n as u64)),
                None => at += len,
            }
        }
        Ok(None)
    }

    fn valid_frame(&mut self, at: u64) -> io::Result<Option<FrameHeader>> {
        let Some(header) = self.header(at)? else {
            return Ok(None);
        };
        let len = FRAME_HEADER as u64 + u64::from(header.len);
        // Before its checksum, which takes longer: it says that something before it was durable, and never itself.
        if header.durable >= header.lsn || at + len > self.end {
            return Ok(None);
        }
        let salt = self.salt.clone();
        Ok(format::verify(&salt, self.bytes(at, len)?).then_some(header))
    }

    fn header(&mut self, at: u64) -> io::Result<Option<FrameHeader>> {
        if at + FRAME_HEADER as u64 > self.end {
            return Ok(None);
        }
        let bytes = self.bytes(at, FRAME_HEADER as u64)?;
        Ok(Some(FrameHeader::decode(
            bytes.try_into().expect("as many as asked for"),
        )))
    }

    fn bytes(&mut self, at: u64, len: u64) -> io::Result<&[u8]> {
        self.window.get(&*self.file, self.end, at, len, READ)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::sim::SimDisk;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Counts what is read.
    struct Counting {
        file: Arc<dyn DiskFile>,
        read: AtomicU64,
    }

    impl DiskFile for Counting {
        fn size(&self) -> io::Result<u64> {
            self.file.size()
        }

        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
            self.read.fetch_add(into.len() as u64, Ordering::Relaxed);
            self.file.read_at(into, offset)
        }

        fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
            self.file.write_at(parts, offset)
        }

        fn sync(&self) -> io::Result<()> {
            self.file.sync()
        }

        fn will_need(&self, offset: u64, len: u64) {
            self.file.will_need(offset, len);
        }

        fn truncate(&self, len: u64) -> io::Result<()> {
            self.file.truncate(len)
        }
    }

    /// An earlier life of a file was full of numbers like those that frames have now: keys, for one. To look for frames among
    /// them must not take much longer than to read the file.
    #[test]
    fn numbers_of_an_earlier_life_are_passed_quickly() {
        const WORDS: u64 = 1 << 19;
        let disk = SimDisk::new(1);
        let file = disk.create("file", FILE_HEADER + WORDS * 8).unwrap();
        let words: Vec<u8> = (0..WORDS).flat_map(|n| (n / 2 + 5).to_le_bytes()).collect();
        file.write_at(&[&words], FILE_HEADER).unwrap();
        let counting = Arc::new(Counting {
            file,
            read: AtomicU64::new(0),
        });
        let end = FILE_HEADER + WORDS * 8;
        let mut scanner = Scanner::new(counting.clone(), Salt::new(1), 1, end);
        assert!(scanner.next().unwrap().is_none());
        assert_eq!(scanner.look_ahead(0).unwrap(), None);
        let read = counting.read.load(Ordering::Relaxed);
        assert!(read < 3 * end, "{read} bytes for {end}");
    }

    #[test]
    fn frame_behind_damage_is_found() {
        let disk = SimDisk::new(1);
        let file = disk.create("file", 5 << 20).unwrap();
        let salt = Salt::new(7);
        let mut at = FILE_HEADER;
        for lsn in 1..=3000_u64 {
            let header = FrameHeader {
                len: 1000,
                lsn,
                durable: lsn - 1,
                first_key: 1,
                oldest: 1,
            };
            let ops = [lsn as u8; 1000];
            let head = header.encode(&salt, &[&ops]);
            file.write_at(&[&head, &ops], at).unwrap();
            if lsn == 10 || lsn == 2990 {
                file.write_at(&[b"x"], at + 100).unwrap();
            }
            at += header.frame_len();
        }
        let mut scanner = Scanner::new(file, salt, 1, 5 << 20);
        let (mut frames, mut gaps) = (0, 0);
        loop {
            if scanner.next().unwrap().is_some() {
                frames += 1;
            } else if let Some(next) = scanner.look_ahead(0).unwrap() {
                scanner.seek(next);
                gaps += 1;
            } else {
                break;
            }
        }
        assert_eq!((frames, gaps), (2998, 2));
    }
}
