//! Putting a published message together.
//!
//! Nearly always the method, the header and the one body frame of a publish lie in one read: then the message is a slice
//! of the read buffer ([`Content::after`]). Otherwise its pieces are put together as they come ([`Assembly`]).

use std::ops::Range;

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

/// What follows a publish method in the same read.
pub(crate) enum Content {
    /// All of it: where properties and body lie, and where the frames end.
    Whole {
        properties: Range<usize>,
        body: Range<usize>,
        end: usize,
    },
    /// Not all of it, or not in the usual form. If the form is usual, the whole publish takes `fits` octets.
    Partial { fits: usize },
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
            return Self::Whole {
                properties,
                body: body_at..body_at,
                end: body_at,
            };
        }
        match frame_at(body_at, FrameType::Body) {
            Ok(Some(body)) if body.len() as u64 == body_size => {
                let end = body.end + 1;
                Self::Whole {
                    properties,
                    body,
                    end,
                }
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
