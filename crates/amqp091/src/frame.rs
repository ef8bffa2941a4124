//! Frames: what everything after the protocol header is cut into.
//!
//! ```text
//! u8 type | u16 channel | u32 size | payload of that size | 0xCE
//! ```

use thiserror::Error;

/// What a payload is. There is no other type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    /// A method: [`crate::method`].
    Method = 1,
    /// A content header: [`crate::content_header`].
    Header = 2,
    /// A piece of a message's body.
    Body = 3,
    /// Nothing: a sign of life.
    Heartbeat = 8,
}

impl FrameType {
    #[inline]
    fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Method),
            2 => Some(Self::Header),
            3 => Some(Self::Body),
            8 => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

/// Octets before a payload.
pub const HEADER_LEN: usize = 7;
/// Octets around a payload.
pub const OVERHEAD: usize = HEADER_LEN + 1;
/// The octet behind a payload.
pub const END: u8 = 0xCE;
/// A heartbeat, whole.
pub const HEARTBEAT: [u8; OVERHEAD] = [8, 0, 0, 0, 0, 0, 0, END];

/// Why bytes are not a frame. None of these can be recovered from: the next frame's start is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// No such type.
    #[error("unknown frame type {0}")]
    Type(u8),
    /// The payload is over the limit.
    #[error("frame of {size} octets is over the limit of {limit}")]
    TooLarge {
        /// Octets of payload.
        size: u32,
        /// The negotiated frame_max.
        limit: u32,
    },
    /// The octet behind the payload is not 0xCE.
    #[error("frame ends with octet {0:#04x}")]
    End(u8),
    /// A heartbeat carries nothing.
    #[error("heartbeat with a payload")]
    Heartbeat,
}

/// The first seven octets of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the payload is.
    pub kind: FrameType,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// Octets of payload.
    pub size: u32,
}

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: FrameType,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// What it carries; starts [`HEADER_LEN`] octets behind the frame's start.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Octets of the whole frame: where the next one starts.
    #[inline]
    pub fn total_len(&self) -> usize {
        self.payload.len() + OVERHEAD
    }
}

/// The header of the frame that `bytes` start with, whether or not the rest of it is there; `None` when it is not there
/// itself. For bodies that are consumed piece by piece: `size` octets and [`END`] follow.
///
/// `limit` is the negotiated frame_max, 0 for none. A frame may be 8 octets longer than that: like RabbitMQ we forgive
/// clients that forget to count the octets around the payload.
#[inline]
pub fn peek(bytes: &[u8], limit: u32) -> Result<Option<FrameHeader>, FrameError> {
    let Some(&[kind, c1, c0, s3, s2, s1, s0]) = bytes.first_chunk() else {
        return Ok(None);
    };
    let kind = FrameType::from_octet(kind).ok_or(FrameError::Type(kind))?;
    let size = u32::from_be_bytes([s3, s2, s1, s0]);
    if size > limit && limit != 0 {
        return Err(FrameError::TooLarge { size, limit });
    }
    if kind == FrameType::Heartbeat && size != 0 {
        return Err(FrameError::Heartbeat);
    }
    Ok(Some(FrameHeader {
        kind,
        channel: u16::from_be_bytes([c1, c0]),
        size,
    }))
}

/// The frame that `bytes` start with; `None` when its end is not there yet. For `limit` see [`peek`].
#[inline]
pub fn next(bytes: &[u8], limit: u32) -> Result<Option<Frame<'_>>, FrameError> {
    let Some(FrameHeader {
        kind,
        channel,
        size,
    }) = peek(bytes, limit)?
    else {
        return Ok(None);
    };
    let Some((payload, rest)) = bytes[HEADER_LEN..].split_at_checked(size as usize) else {
        return Ok(None);
    };
    match rest.first() {
        None => Ok(None),
        Some(&END) => Ok(Some(Frame {
            kind,
            channel,
            payload,
        })),
        Some(&other) => Err(FrameError::End(other)),
    }
}

/// The octets before a payload of `size` octets.
#[inline]
pub fn header(kind: FrameType, channel: u16, size: u32) -> [u8; HEADER_LEN] {
    let [c1, c0] = channel.to_be_bytes();
    let [s3, s2, s1, s0] = size.to_be_bytes();
    [kind as u8, c1, c0, s3, s2, s1, s0]
}

/// Writes a frame around what `payload` writes.
pub(crate) fn put(
    out: &mut Vec<u8>,
    kind: FrameType,
    channel: u16,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&header(kind, channel, 0));
    payload(out);
    let size = u32::try_from(out.len() - start - HEADER_LEN).expect("no payload has 4 GiB");
    out[start..start + HEADER_LEN].copy_from_slice(&header(kind, channel, size));
    out.push(END);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_split() {
        let bytes = [
            b"\x01\x00\x05\x00\x00\x00\x03abc\xce".as_slice(),
            &HEARTBEAT,
            b"\x03",
        ]
        .concat();
        let first = next(&bytes, 4096).unwrap().unwrap();
        assert_eq!(
            first,
            Frame {
                kind: FrameType::Method,
                channel: 5,
                payload: b"abc"
            }
        );
        let rest = &bytes[first.total_len()..];
        let second = next(rest, 4096).unwrap().unwrap();
        assert_eq!(
            second,
            Frame {
                kind: FrameType::Heartbeat,
                channel: 0,
                payload: b""
            }
        );
        assert_eq!(next(&rest[second.total_len()..], 4096), Ok(None));
    }

    #[test]
    fn a_frame_without_its_end_shows_its_header() {
        let bytes = b"\x03\x01\x02\x00\x00\x00\x04body\xce";
        for end in 0..bytes.len() {
            assert_eq!(next(&bytes[..end], 4096), Ok(None));
            let header = FrameHeader {
                kind: FrameType::Body,
                channel: 258,
                size: 4,
            };
            assert_eq!(
                peek(&bytes[..end], 4096),
                Ok((end >= HEADER_LEN).then_some(header))
            );
        }
    }

    #[test]
    fn a_frame_may_be_eight_octets_too_long() {
        let frame = |size: u32| header(FrameType::Body, 1, size);
        assert!(peek(&frame(4096), 4096).is_ok());
        assert_eq!(
            peek(&frame(4097), 4096),
            Err(FrameError::TooLarge {
                size: 4097,
                limit: 4096
            })
        );
        assert!(peek(&frame(u32::MAX), 0).is_ok());
    }

    #[test]
    fn what_is_not_a_frame_is_refused() {
        let check = |bytes: &[u8], error| assert_eq!(next(bytes, 4096), Err(error));
        check(b"\x00\x00\x00\x00\x00\x00\x00\xce", FrameError::Type(0));
        check(b"\x04\x00\x00\x00\x00\x00\x00\xce", FrameError::Type(4));
        check(b"GET / HTTP", FrameError::Type(b'G'));
        check(b"\x01\x00\x00\x00\x00\x00\x00\xcd", FrameError::End(0xcd));
        check(b"\x08\x00\x00\x00\x00\x00\x01!\xce", FrameError::Heartbeat);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = b"before".to_vec();
        put(&mut out, FrameType::Header, 700, |out| {
            out.extend_from_slice(b"payload")
        });
        let frame = next(&out[6..], 4096).unwrap().unwrap();
        assert_eq!(
            frame,
            Frame {
                kind: FrameType::Header,
                channel: 700,
                payload: b"payload"
            }
        );
    }
}
