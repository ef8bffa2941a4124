//! Putting a published message together.
//!
//! Nearly always the method, the header and the one body frame of a publish lie in one read: then the message is a slice
//! of the read buffer ([`Content::after`]). Otherwise its pieces are put together as they come ([`Assembly`]).

use std::ops::Range;
use std::sync::Arc;

use leveret_broker::message::Message;

use super::PUBLISH;
use super::body::{Body, Head};
use crate::content_header::{CLASS, ContentHeader, PROPERTIES_AT};
use crate::fault::Fault;
use crate::frame::{self, FrameType, HEADER_LEN, OVERHEAD};
use crate::method;
use crate::reply_code::ReplyCode;

/// Bodies may never be larger, however the limit is set (H02).
const BODY_CAP: u64 = leveret_broker::channel::MESSAGE_BYTES_CAP;

/// Where the exchange starts in a publish: class, method and ticket precede it.
const EXCHANGE_AT: usize = HEADER_LEN + 6;

/// What follows a publish method in the same read.
pub(crate) enum Content {
    /// All of it.
    Whole(Whole),
    /// Not all of it, or not in the usual form. If the form is usual, the whole publish takes `fits` octets.
    Partial { fits: usize },
}

/// Where a publish lies that came whole, in a block.
pub(crate) struct Whole {
    /// Its frames.
    pub(crate) frames: Range<usize>,
    properties: Range<usize>,
    body: Range<usize>,
}

impl Whole {
    #[inline]
    pub(crate) fn message(self, block: &Arc<[u8]>) -> Message {
        Message::in_block(
            block.clone(),
            self.frames.start + EXCHANGE_AT,
            self.properties,
            self.body,
        )
    }
}

impl Content {
    /// Looks at the frames behind the method frame that takes `method_len` octets from `range.start`.
    #[inline]
    pub(crate) fn after(
        block: &[u8],
        range: Range<usize>,
        method_len: usize,
        channel: u16,
    ) -> Self {
        const UNUSUAL: Content = Content::Partial { fits: usize::MAX };
        let header_at = range.start + method_len;
        let frame_at = |at: usize, kind: FrameType| -> Result<Option<Range<usize>>, ()> {
            let bytes = &block[at.min(range.end)..range.end];
            let Some(head) = frame::peek(bytes, 0).map_err(|_| ())? else {
                return Ok(None);
            };
            if head.kind != kind || head.channel != channel {
                return Err(());
            }
            let payload = at + HEADER_LEN..at + HEADER_LEN + head.size as usize;
            match block[..range.end].get(payload.end) {
                Some(&frame::END) => Ok(Some(payload)),
                Some(_) => Err(()),
                None => Ok(None),
            }
        };
        let header = match frame_at(header_at, FrameType::Header) {
            Ok(Some(header)) => header,
            // The header of a small message is small: wait for it.
            Ok(None) => return Self::Partial { fits: range.len() },
            Err(()) => return UNUSUAL,
        };
        let Ok(ContentHeader {
            class: CLASS,
            body_size,
            ..
        }) = ContentHeader::decode(&block[header.clone()])
        else {
            return UNUSUAL;
        };
        let properties = header.start + PROPERTIES_AT..header.end;
        let body_at = header.end + 1;
        if body_size == 0 {
            return Self::Whole(Whole {
                frames: range.start..body_at,
                properties,
                body: body_at..body_at,
            });
        }
        match frame_at(body_at, FrameType::Body) {
            Ok(Some(body)) if body.len() as u64 == body_size => {
                let frames = range.start..body.end + 1;
                Self::Whole(Whole {
                    frames,
                    properties,
                    body,
                })
            }
            Ok(None) => {
                let fits = body_at - range.start + OVERHEAD;
                Self::Partial {
                    fits: fits.saturating_add(usize::try_from(body_size).unwrap_or(usize::MAX)),
                }
            }
            _ => UNUSUAL,
        }
    }
}

/// The publishes that follow a whole one in the same read and differ from it in nothing but their bodies: most of what a
/// busy publisher sends. Their octets are compared with those of the first instead of being read again.
///
/// ```text
/// method frame | header: u8 type, u16 channel, u32 size, u16 class, u16 weight | u64 body size
/// ^ head                                                                        ^
/// properties | 0xCE | body: u8 type, u16 channel | u32 size | body | 0xCE
/// ^ middle                                        ^
/// ```
pub(crate) struct Alike<'a> {
    block: &'a Arc<[u8]>,
    /// What has been read of the block.
    read: &'a [u8],
    head: &'a [u8],
    middle: &'a [u8],
    properties_len: usize,
    body_max: u64,
    /// Where the last one ends.
    end: usize,
}

impl<'a> Alike<'a> {
    /// Those behind `first`, up to `read_end`, with at most `body_max` octets of body.
    #[inline]
    pub(crate) fn new(block: &'a Arc<[u8]>, first: &Whole, read_end: usize, body_max: u64) -> Self {
        let Whole {
            frames,
            properties,
            body,
        } = first;
        let size_at = properties.start - size_of::<u64>();
        // Without a body there is no frame of it to compare with.
        let (middle, read_end) = match body.is_empty() {
            true => (properties.clone(), frames.end),
            false => (properties.start..body.start - size_of::<u32>(), read_end),
        };
        Self {
            block,
            read: &block[..read_end],
            head: &block[frames.start..size_at],
            middle: &block[middle],
            properties_len: properties.len(),
            body_max,
            end: frames.end,
        }
    }

    /// Where the last one that was taken ends.
    pub(crate) fn end(&self) -> usize {
        self.end
    }
}

impl Iterator for Alike<'_> {
    type Item = Message;

    #[inline]
    fn next(&mut self) -> Option<Message> {
        let rest = self.read[self.end..].strip_prefix(self.head)?;
        let (body_size, rest) = rest.split_first_chunk()?;
        let rest = rest.strip_prefix(self.middle)?;
        let (frame_size, rest) = rest.split_first_chunk()?;
        let size = u32::from_be_bytes(*frame_size);
        let is_whole = size > 0 && u64::from(size) == u64::from_be_bytes(*body_size);
        if !is_whole || u64::from(size) > self.body_max {
            return None;
        }
        let size = size as usize;
        if rest.get(size) != Some(&frame::END) {
            return None;
        }
        let properties_at = self.end + self.head.len() + size_of::<u64>();
        let body_at = properties_at + self.middle.len() + size_of::<u32>();
        let whole = Whole {
            frames: self.end..body_at + size + 1,
            properties: properties_at..properties_at + self.properties_len,
            body: body_at..body_at + size,
        };
        self.end = whole.frames.end;
        Some(whole.message(self.block))
    }
}

/// A publish whose content is still coming.
#[derive(Debug)]
pub(super) struct Assembly {
    head: Head,
    pub(super) mandatory: bool,
    room: Room,
    /// From the content header on.
    body: Option<Body>,
    /// Octets of body as the header announced them, and those that have come.
    body_size: u64,
    received: u64,
}

/// How much room a body gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// A body of more octets is refused in the end, and not kept till then.
    pub(crate) keep_max: u64,
    /// One of at most so many gets its memory at once.
    pub(crate) place_max: u64,
}

impl Assembly {
    pub(super) fn new(publish: &method::BasicPublish<'_>, room: Room) -> Self {
        Self {
            head: Head {
                exchange: publish.exchange.as_bytes().into(),
                routing_key: publish.routing_key.into(),
                properties: Box::default(),
            },
            mandatory: publish.mandatory,
            room,
            body: None,
            body_size: 0,
            received: 0,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.body.is_some() && self.received == self.body_size
    }

    /// The message; its size, if that is more than is kept.
    pub(super) fn finish(self) -> Result<Message, u64> {
        let message = self.body.and_then(|body| body.finish(&self.head));
        message.ok_or(self.body_size)
    }

    /// The next frame of the content.
    pub(super) fn frame(&mut self, kind: FrameType, payload: &[u8]) -> Result<(), Fault> {
        match (kind, &self.body) {
            (FrameType::Header, None) => self.header(payload),
            (FrameType::Body, Some(_)) => {
                self.announce(payload.len())?;
                self.piece(payload);
                Ok(())
            }
            _ => Err(self.interrupted()),
        }
    }

    /// A body frame of `size` octets begins.
    pub(super) fn announce(&self, size: usize) -> Result<(), Fault> {
        if self.body.is_none() {
            return Err(self.interrupted());
        }
        if size as u64 > self.body_size - self.received {
            let text = "content body frame exceeds remaining content size";
            return Err(Fault::new(ReplyCode::FrameError, text).about(PUBLISH));
        }
        Ok(())
    }

    /// Octets of an announced body frame.
    pub(super) fn piece(&mut self, octets: &[u8]) {
        self.received += octets.len() as u64;
        if let Some(body) = &mut self.body {
            body.push(octets);
        }
    }

    /// Where octets of an announced body frame may be put by others, who then tell [`Self::filled`].
    pub(super) fn target(&mut self) -> Option<&mut [u8]> {
        self.body.as_mut()?.target()
    }

    /// So many octets have been put into the target.
    pub(super) fn filled(&mut self, n: usize) {
        self.received += n as u64;
        if let Some(body) = &mut self.body {
            body.filled(n);
        }
    }

    fn header(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let Ok(header) = ContentHeader::decode(payload) else {
            return Err(self.interrupted());
        };
        if header.class != CLASS {
            let text = format!(
                "expected content header for class {CLASS}, got one for class {} instead",
                header.class
            );
            return Err(Fault::new(ReplyCode::UnexpectedFrame, text).about(PUBLISH));
        }
        if header.body_size > BODY_CAP {
            let text = format!(
                "content body size {} exceeds maximum allowed size {BODY_CAP}",
                header.body_size
            );
            return Err(Fault::new(ReplyCode::FrameError, text).about(PUBLISH));
        }
        self.head.properties = header.properties.into();
        self.body_size = header.body_size;
        self.body = Some(if header.body_size > self.room.keep_max {
            Body::Dropped
        } else {
            Body::new(&self.head, header.body_size, self.room.place_max)
        });
        Ok(())
    }

    /// 505: a frame that is not what the content needs next.
    pub(super) fn interrupted(&self) -> Fault {
        let text = match self.body {
            None => format!(
                "expected content header for class {CLASS}, got non content header frame instead"
            ),
            Some(_) => "expected content body, got non content body frame instead".to_owned(),
        };
        Fault::new(ReplyCode::UnexpectedFrame, text).about(PUBLISH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{put_body, put_content_header};
    use crate::method::{BasicPublish, Method};

    const BODY_MAX: u64 = 100;

    fn put_publish(out: &mut Vec<u8>, channel: u16, key: &str, properties: &[u8], body: &[u8]) {
        let publish = BasicPublish {
            exchange: "ex",
            routing_key: key.as_bytes(),
            ..BasicPublish::default()
        };
        Method::from(publish).encode(channel, out);
        put_content_header(out, channel, properties, body.len());
        put_body(out, channel, body, 0);
    }

    /// The publish at `at`, read by itself.
    fn whole_at(bytes: &[u8], at: usize) -> Option<Whole> {
        let method = frame::next(&bytes[at..], 0).ok().flatten()?;
        BasicPublish::decode(method.payload)?;
        let (len, channel) = (method.total_len(), method.channel);
        match Content::after(bytes, at..bytes.len(), len, channel) {
            Content::Whole(whole) => Some(whole),
            Content::Partial { .. } => None,
        }
    }

    /// How many publishes of `bytes` are like the first; they must be those that are read by themselves.
    fn count_alike(bytes: &[u8]) -> usize {
        let block: Arc<[u8]> = bytes.into();
        let first = whole_at(&block, 0).unwrap();
        let mut at = first.frames.end;
        let mut alike = Alike::new(&block, &first, block.len(), BODY_MAX);
        let first = first.message(&block);
        let mut count = 0;
        while let Some(message) = alike.next() {
            let whole = whole_at(&block, at).unwrap();
            at = whole.frames.end;
            assert_eq!(alike.end(), at);
            let expected = whole.message(&block);
            assert_eq!(message.address(), expected.address());
            assert_eq!(message.properties(), expected.properties());
            assert_eq!(message.body(), expected.body());
            assert_eq!(message.address(), first.address());
            assert_eq!(message.properties(), first.properties());
            assert!(message.body().len() as u64 <= BODY_MAX);
            count += 1;
        }
        assert_eq!(alike.end(), at);
        count
    }

    #[test]
    fn publishes_are_alike_when_they_differ_in_their_bodies_alone() {
        let plain = [0, 0].as_slice();
        let persistent = [0x10, 0, 2].as_slice();
        let check = |(channel, key, properties, body): (u16, &str, &[u8], &[u8]), expected| {
            let mut bytes = Vec::new();
            put_publish(&mut bytes, 1, "key", plain, b"first");
            put_publish(&mut bytes, 1, "key", plain, b"another one");
            put_publish(&mut bytes, channel, key, properties, body);
            assert_eq!(
                count_alike(&bytes),
                expected,
                "{channel} {key} {properties:?} {body:?}"
            );
        };
        check((1, "key", plain, b"body"), 2);
        check((1, "key", plain, &[7; BODY_MAX as usize]), 2);
        check((1, "key", plain, &[7; BODY_MAX as usize + 1]), 1);
        check((1, "key", plain, b""), 1);
        check((2, "key", plain, b"body"), 1);
        check((1, "kez", plain, b"body"), 1);
        check((1, "longer", plain, b"body"), 1);
        check((1, "key", persistent, b"body"), 1);
        let mut bytes = Vec::new();
        (0..3).for_each(|_| put_publish(&mut bytes, 1, "key", plain, b""));
        assert_eq!(count_alike(&bytes), 0);
    }

    #[test]
    fn what_is_cut_short_or_damaged_is_not_alike_or_reads_as_it_is() {
        let mut bytes = Vec::new();
        put_publish(&mut bytes, 1, "key", &[0, 0], b"first");
        let first = bytes.len();
        put_publish(&mut bytes, 1, "key", &[0, 0], b"other");
        let second = bytes.len();
        put_publish(&mut bytes, 1, "key", &[0, 0], b"third");
        for end in first..bytes.len() {
            assert_eq!(count_alike(&bytes[..end]), usize::from(end >= second));
        }
        for at in first..second {
            for octet in 0..=255 {
                let mut damaged = bytes.clone();
                damaged[at] = octet;
                count_alike(&damaged);
            }
        }
    }
}
