//! The simple types that AMQP 0-9-1 builds everything from: integers in network order, short strings (a length octet,
//! then up to 255 octets) and long strings (a length of four octets, then the octets).

use thiserror::Error;

/// The bytes ended inside a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("truncated")]
pub struct Truncated;

/// Reads values off the front of a slice. A failed read leaves the rest as it was.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` octets.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Truncated> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// An octet.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        self.array().map(u8::from_be_bytes)
    }

    /// A short integer.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_be_bytes)
    }

    /// A long integer.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_be_bytes)
    }

    /// A long long integer.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_be_bytes)
    }

    /// A short string.
    #[inline]
    pub fn short_string(&mut self) -> Result<&'a [u8], Truncated> {
        let mut ahead = *self;
        let len = ahead.u8()?;
        let string = ahead.take(usize::from(len))?;
        *self = ahead;
        Ok(string)
    }

    /// A long string; tables and arrays have the same shape.
    #[inline]
    pub fn long_string(&mut self) -> Result<&'a [u8], Truncated> {
        let mut ahead = *self;
        let len = ahead.u32()?;
        let string = ahead.take(usize::try_from(len).map_err(|_| Truncated)?)?;
        *self = ahead;
        Ok(string)
    }
}

/// Writes a short string. What is over its 255 octets is cut off; doors check the length of what clients choose.
#[inline]
pub fn put_short_string(out: &mut Vec<u8>, string: &[u8]) {
    let len = u8::try_from(string.len()).unwrap_or(u8::MAX);
    out.push(len);
    out.extend_from_slice(&string[..usize::from(len)]);
}

/// Writes a long string.
///
/// # Panics
/// If it has 4 GiB or more.
#[inline]
pub fn put_long_string(out: &mut Vec<u8>, string: &[u8]) {
    out.extend_from_slice(&len32(string.len()).to_be_bytes());
    out.extend_from_slice(string);
}

/// Writes what `contents` writes, behind its length in four octets.
///
/// # Panics
/// If that is 4 GiB or more.
pub fn put_prefixed(out: &mut Vec<u8>, contents: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    contents(out);
    let len = len32(out.len() - start - 4);
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

fn len32(len: usize) -> u32 {
    u32::try_from(len).expect("nothing of 4 GiB is ever held in one value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_takes_nothing() {
        let mut reader = Reader::new(b"\x05abc");
        assert_eq!(reader.short_string(), Err(Truncated));
        assert_eq!(reader.long_string(), Err(Truncated));
        assert_eq!(reader.u64(), Err(Truncated));
        assert_eq!(reader.rest(), b"\x05abc");
    }

    #[test]
    fn strings_round_trip_and_short_ones_are_cut() {
        let mut out = Vec::new();
        put_short_string(&mut out, b"key");
        put_long_string(&mut out, b"value");
        put_prefixed(&mut out, |out| out.extend_from_slice(b"more"));
        put_short_string(&mut out, &[7; 300]);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.short_string(), Ok(b"key".as_slice()));
        assert_eq!(reader.long_string(), Ok(b"value".as_slice()));
        assert_eq!(reader.long_string(), Ok(b"more".as_slice()));
        assert_eq!(reader.short_string(), Ok([7; 255].as_slice()));
        assert!(reader.is_empty());
    }
}
