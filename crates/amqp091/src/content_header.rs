//! The content header: between a method that carries a message and the message's body.
//!
//! ```text
//! u16 class (60) | u16 weight (0) | u64 body size | properties
//! ```

use leveret_broker::wire::{Reader, Truncated};
use thiserror::Error;

/// The class that messages belong to: `basic`.
pub const CLASS: u16 = 60;
/// Where the properties start in the payload of a header frame.
pub const PROPERTIES_AT: usize = 12;

/// Why the payload of a header frame is not a content header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ContentHeaderError {
    /// It ends before the properties.
    #[error("content header of fewer than {PROPERTIES_AT} octets")]
    Truncated,
    /// "The weight field is unused and must be zero."
    #[error("content header with weight {0}")]
    Weight(u16),
}

impl From<Truncated> for ContentHeaderError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// A content header. Whether the class is that of the method before it is for the channel to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the method before it.
    pub class: u16,
    /// Octets of body that follow, in body frames.
    pub body_size: u64,
    /// The properties, for [`leveret_broker::properties`]; start at [`PROPERTIES_AT`].
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Reads the payload of a header frame. The properties are not looked at.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self, ContentHeaderError> {
        let mut reader = Reader::new(payload);
        let class = reader.u16()?;
        let weight = reader.u16()?;
        let body_size = reader.u64()?;
        if weight != 0 {
            return Err(ContentHeaderError::Weight(weight));
        }
        Ok(Self {
            class,
            body_size,
            properties: reader.rest(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read() {
        let payload = b"\x00\x3c\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02props";
        let header = ContentHeader::decode(payload).unwrap();
        assert_eq!(
            header,
            ContentHeader {
                class: CLASS,
                body_size: (1 << 32) + 2,
                properties: b"props"
            }
        );
        assert_eq!(payload[PROPERTIES_AT..], *header.properties);
        for cut in 0..PROPERTIES_AT {
            assert_eq!(
                ContentHeader::decode(&payload[..cut]),
                Err(ContentHeaderError::Truncated)
            );
        }
    }

    #[test]
    fn a_weight_is_refused() {
        let payload = b"\x00\x3c\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\0\0";
        assert_eq!(
            ContentHeader::decode(payload),
            Err(ContentHeaderError::Weight(1))
        );
    }
}
