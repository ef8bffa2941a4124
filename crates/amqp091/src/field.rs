//! The fields of a method's arguments. Bits that stand next to each other share an octet, the first in its lowest bit;
//! any other field starts a new octet.

use leveret_broker::table::{Table, TableError};
use leveret_broker::wire::{Reader, Truncated, put_long_string, put_short_string};

/// A table as it lies on the wire, without its length. Nothing inside has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RawTable<'a>(pub &'a [u8]);

impl RawTable<'_> {
    /// Reads all of it.
    pub fn decode(&self) -> Result<Table, TableError> {
        Table::decode(self.0)
    }
}

/// Why a field could not be read.
pub(crate) enum FieldError {
    Truncated,
    NotUtf8,
}

impl From<Truncated> for FieldError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

type Read<T> = Result<T, FieldError>;

/// Reads fields one behind the other.
///
/// All of it is forced inline: decoding is one large match, in which the compiler would leave calls. It takes a seventh
/// off the parsing of a publish (`benches/codec.rs`).
pub(crate) struct FieldReader<'a> {
    reader: Reader<'a>,
    /// What is left of an octet of bits, below a marker bit: 1 when nothing is left.
    bits: u16,
}

impl<'a> FieldReader<'a> {
    #[inline(always)]
    pub(crate) fn new(reader: Reader<'a>) -> Self {
        Self { reader, bits: 1 }
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.reader.is_empty()
    }

    #[inline(always)]
    fn aligned(&mut self) -> &mut Reader<'a> {
        self.bits = 1;
        &mut self.reader
    }

    #[inline(always)]
    pub(crate) fn bit(&mut self) -> Read<bool> {
        if self.bits == 1 {
            self.bits = 0x100 | u16::from(self.reader.u8()?);
        }
        let bit = self.bits & 1 == 1;
        self.bits >>= 1;
        Ok(bit)
    }

    #[inline(always)]
    pub(crate) fn octet(&mut self) -> Read<u8> {
        Ok(self.aligned().u8()?)
    }

    #[inline(always)]
    pub(crate) fn short(&mut self) -> Read<u16> {
        Ok(self.aligned().u16()?)
    }

    #[inline(always)]
    pub(crate) fn long(&mut self) -> Read<u32> {
        Ok(self.aligned().u32()?)
    }

    #[inline(always)]
    pub(crate) fn long_long(&mut self) -> Read<u64> {
        Ok(self.aligned().u64()?)
    }

    #[inline(always)]
    pub(crate) fn name(&mut self) -> Read<&'a str> {
        let octets = self.short_string()?;
        std::str::from_utf8(octets).map_err(|_| FieldError::NotUtf8)
    }

    #[inline(always)]
    pub(crate) fn short_string(&mut self) -> Read<&'a [u8]> {
        Ok(self.aligned().short_string()?)
    }

    #[inline(always)]
    pub(crate) fn long_string(&mut self) -> Read<&'a [u8]> {
        Ok(self.aligned().long_string()?)
    }

    #[inline(always)]
    pub(crate) fn table(&mut self) -> Read<RawTable<'a>> {
        self.long_string().map(RawTable)
    }
}

/// Writes fields one behind the other.
pub(crate) struct FieldWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Where the next bit goes in the last octet; 0 when it needs a new one.
    bit: u8,
}

impl<'a> FieldWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, bit: 0 }
    }

    fn aligned(&mut self) -> &mut Vec<u8> {
        self.bit = 0;
        self.out
    }

    pub(crate) fn bit(&mut self, set: bool) {
        if self.bit == 0 {
            self.out.push(0);
            self.bit = 1;
        }
        if let (true, Some(octet)) = (set, self.out.last_mut()) {
            *octet |= self.bit;
        }
        self.bit <<= 1;
    }

    pub(crate) fn octet(&mut self, n: u8) {
        self.aligned().push(n);
    }

    pub(crate) fn short(&mut self, n: u16) {
        self.aligned().extend_from_slice(&n.to_be_bytes());
    }

    pub(crate) fn long(&mut self, n: u32) {
        self.aligned().extend_from_slice(&n.to_be_bytes());
    }

    pub(crate) fn long_long(&mut self, n: u64) {
        self.aligned().extend_from_slice(&n.to_be_bytes());
    }

    pub(crate) fn name(&mut self, name: &str) {
        self.short_string(name.as_bytes());
    }

    pub(crate) fn short_string(&mut self, octets: &[u8]) {
        put_short_string(self.aligned(), octets);
    }

    pub(crate) fn long_string(&mut self, octets: &[u8]) {
        put_long_string(self.aligned(), octets);
    }

    pub(crate) fn table(&mut self, table: RawTable<'_>) {
        self.long_string(table.0);
    }
}
