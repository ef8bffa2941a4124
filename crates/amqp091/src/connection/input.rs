//! What comes from the client: frames, taken apart and handed to the connection or a channel.

use std::iter;
use std::ops::Range;
use std::sync::Arc;

use leveret_broker::channel::{MESSAGE_BYTES_CAP, Publish};
use leveret_broker::message::Message;
use leveret_broker::time::Timestamp;

use super::{Connection, OpenBody, Phase, put};
use crate::channel::{ACK, Alike, Channel, Content, PUBLISH, Room, stray_frame};
use crate::fault::{Fault, erlang_binary};
use crate::frame::{self, FrameError, FrameHeader, FrameType};
use crate::method::{self, BasicAck, BasicPublish, Method, MethodError};
use crate::reply_code::ReplyCode;

/// A publish of which this much is there is put together piece by piece; a shorter one is waited for.
const REST_MAX: usize = 15 * 1024;
/// A body of at most this many octets gets its memory at once.
const PLACE_MAX: u64 = 4 * 1024 * 1024;
/// A content header has a class, a weight, a size and at least one word of property flags.
const CONTENT_HEADER_LEAST: usize = 14;

impl Connection {
    /// Consumes one thing: the protocol header, a frame, a whole publish or a piece of a body. 0: its end is not there.
    pub(super) fn step(
        &mut self,
        block: &Arc<[u8]>,
        range: Range<usize>,
        now: Timestamp,
    ) -> Result<usize, Fault> {
        let bytes = &block[range.clone()];
        match self.phase {
            Phase::Header => return Ok(self.protocol_header(bytes)),
            // What a hasty client says meanwhile is listened to afterwards.
            Phase::Authenticating(_) => return Ok(0),
            // Whatever still comes is not listened to.
            Phase::Finished | Phase::Parting { .. } | Phase::Lingering { .. } => {
                return Ok(bytes.len());
            }
            _ => {}
        }
        if let Some(open) = self.open_body {
            return self.continue_body(open, bytes, now);
        }
        let limit = self.client.frame_max;
        let Some(head) = frame::peek(bytes, limit).map_err(|error| frame_fault(bytes, error))?
        else {
            return Ok(0);
        };
        if head.kind == FrameType::Body && bytes.len() < head.size as usize + frame::OVERHEAD {
            return self.begin_body(head).map(|()| frame::HEADER_LEN);
        }
        let Some(frame) = frame::next(bytes, limit).map_err(|error| frame_fault(bytes, error))?
        else {
            return Ok(0);
        };
        let len = frame.total_len();
        match (frame.kind, frame.channel) {
            _ if matches!(self.phase, Phase::Closing { .. }) => self.after_goodbye(frame),
            (FrameType::Heartbeat, 0) => {}
            (FrameType::Heartbeat, _) => return Err(unexpected(8, frame.payload)),
            (FrameType::Method, 0) => match self.connection_method(frame.payload, now) {
                Err(fault) if fault.is_undecided() => {
                    self.parked = true;
                    return Ok(0);
                }
                result => result?,
            },
            (kind, channel) => {
                if !matches!(self.phase, Phase::Running(_)) {
                    return self.too_early(kind, frame.payload, now).map(|()| len);
                }
                if channel == 0 {
                    return Err(unexpected(kind as u8, frame.payload));
                }
                if kind == FrameType::Method {
                    return self.channel_method(block, range, frame.payload.len(), channel, now);
                }
                self.content_frame(kind, channel, frame.payload, now)?;
            }
        }
        Ok(len)
    }

    /// A method on a channel, with the content of a publish if that is all there.
    fn channel_method(
        &mut self,
        block: &Arc<[u8]>,
        range: Range<usize>,
        payload_len: usize,
        number: u16,
        now: Timestamp,
    ) -> Result<usize, Fault> {
        let payload_at = range.start + frame::HEADER_LEN;
        let payload = &block[payload_at..payload_at + payload_len];
        let len = payload_len + frame::OVERHEAD;
        if let Some(channel) = self.channels.get_mut(&number)
            && channel.takes_methods()
        {
            if let Some(publish) = BasicPublish::decode(payload) {
                return self.publish_method(block, range, len, number, &publish, now);
            }
            if let Some(ack) = BasicAck::decode(payload) {
                if let Err(fault) = channel.acknowledge(&ack, &mut self.turn.settlements) {
                    self.fail_on(number, fault.about(ACK), now);
                }
                return Ok(len);
            }
        }
        let method = decode(payload)?;
        let Some(channel) = self.channels.get_mut(&number) else {
            return self.open_channel(number, &method, now).map(|()| len);
        };
        if channel.is_closing() {
            self.closing_channel(number, &method);
            return Ok(len);
        }
        if let Some(fault) = channel.unexpected_method(&method) {
            return Err(fault);
        }
        match method {
            Method::BasicNack(_) | Method::BasicReject(_) => {
                let result = channel.settle(&method, &mut self.turn.settlements);
                self.outcome_of(number, result, &method, now);
            }
            _ => {
                self.flush(now);
                self.handle(number, &method, now);
            }
        }
        Ok(if self.parked { 0 } else { len })
    }

    /// A publish, with its content if that is all there.
    #[inline]
    fn publish_method(
        &mut self,
        block: &Arc<[u8]>,
        range: Range<usize>,
        len: usize,
        number: u16,
        publish: &BasicPublish<'_>,
        now: Timestamp,
    ) -> Result<usize, Fault> {
        if publish.immediate {
            let fault = Fault::new(ReplyCode::NotImplemented, "immediate=true");
            return Err(fault.about(PUBLISH));
        }
        let Some(channel) = self.channels.get_mut(&number) else {
            return Ok(len);
        };
        let room = range.len() < REST_MAX;
        match Content::after(block, range.clone(), len, number) {
            Content::Whole(whole) => {
                let body_max = self.broker.options.message_bytes_max;
                let mut alike = Alike::new(block, &whole, range.end, body_max);
                let publish = Publish {
                    message: whole.message(block),
                    mandatory: publish.mandatory,
                };
                let result =
                    channel.publish(&self.broker, publish, &mut alike, now, &mut self.turn);
                let consumed = alike.end() - range.start;
                self.published(number, result, now);
                return Ok(if self.parked { 0 } else { consumed });
            }
            Content::Partial { fits } if room && fits < REST_MAX => return Ok(0),
            Content::Partial { .. } => {
                // Its content can't be taken twice: what is still to be decided has to be before it comes.
                if channel.is_undecided(&self.broker, publish) {
                    self.parked = true;
                    return Ok(0);
                }
                self.begin_content(number, publish);
            }
        }
        Ok(len)
    }

    /// A publish whose content follows piece by piece. One message of a connection at a time gets its memory when it is
    /// announced; a client that announces more of them has to send them first.
    fn begin_content(&mut self, number: u16, publish: &BasicPublish<'_>) {
        let keep_max = self.broker.options.message_bytes_max.min(MESSAGE_BYTES_CAP);
        let alone = !self
            .channels
            .values()
            .any(|channel| channel.is_assembling());
        let place_max = if alone { PLACE_MAX } else { 0 };
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.begin(
                publish,
                Room {
                    keep_max,
                    place_max,
                },
            );
        }
    }

    /// Where the next bytes of the socket can go without being copied again: into the body that is just coming. Who puts
    /// some there calls [`Self::body_received`] instead of [`Self::receive`].
    pub fn body_target(&mut self) -> Option<&mut [u8]> {
        let OpenBody { channel, left } = self.open_body?;
        let target = self.channels.get_mut(&channel)?.body_target()?;
        let len = left.min(target.len());
        (len > 0).then(|| &mut target[..len])
    }

    /// So many bytes have been put into the body's target.
    pub fn body_received(&mut self, n: usize) {
        self.note_received(n);
        if let Some(OpenBody { channel, left }) = &mut self.open_body {
            *left -= n;
            if let Some(channel) = self.channels.get_mut(channel) {
                channel.body_filled(n);
            }
        }
    }

    /// A body frame whose end is not there yet: its octets are taken as they come.
    fn begin_body(&mut self, head: FrameHeader) -> Result<(), Fault> {
        if !matches!(self.phase, Phase::Running(_) | Phase::Closing { .. }) || head.channel == 0 {
            return Err(unexpected(FrameType::Body as u8, &[]));
        }
        let left = head.size as usize;
        match self.channels.get(&head.channel) {
            Some(channel) => channel.announce_body(left)?,
            None if matches!(self.phase, Phase::Closing { .. }) => {}
            None => return Err(stray_frame()),
        }
        self.open_body = Some(OpenBody {
            channel: head.channel,
            left,
        });
        Ok(())
    }

    /// More octets of the body frame that has begun, and its end.
    fn continue_body(
        &mut self,
        open: OpenBody,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<usize, Fault> {
        let OpenBody { channel, left } = open;
        let piece = &bytes[..left.min(bytes.len())];
        if let Some(channel) = self.channels.get_mut(&channel) {
            channel.body_piece(piece);
        }
        match bytes.get(left) {
            None => {
                self.open_body = Some(OpenBody {
                    channel,
                    left: left - piece.len(),
                });
                Ok(piece.len())
            }
            Some(&frame::END) => {
                self.open_body = None;
                self.complete_content(channel, now);
                Ok(left + 1)
            }
            Some(&other) => {
                let why = format!("{{invalid_frame_end_marker,{other}}}");
                Err(frame_error(FrameType::Body as u8, &[], &why))
            }
        }
    }

    /// A content header or a whole body frame.
    fn content_frame(
        &mut self,
        kind: FrameType,
        number: u16,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<(), Fault> {
        if kind == FrameType::Header && payload.len() < CONTENT_HEADER_LEAST {
            return Err(frame_error(kind as u8, payload, "unknown_frame"));
        }
        let channel = self.channels.get_mut(&number).ok_or_else(stray_frame)?;
        if !channel.is_closing() {
            channel.content_frame(kind, payload)?;
            self.complete_content(number, now);
        }
        Ok(())
    }

    /// Publishes what a channel has put together, if that is complete.
    fn complete_content(&mut self, number: u16, now: Timestamp) {
        let Some(channel) = self.channels.get_mut(&number) else {
            return;
        };
        let Some(publish) = channel.completed(&self.broker) else {
            return;
        };
        let result = publish.and_then(|publish| {
            channel.publish(&self.broker, publish, iter::empty(), now, &mut self.turn)
        });
        self.published(number, result.map_err(Fault::decided), now);
    }

    fn published(&mut self, number: u16, result: Result<Option<Message>, Fault>, now: Timestamp) {
        match result {
            Ok(None) => {}
            Ok(Some(message)) => self.put_return(number, &message),
            Err(fault) => self.fail_on(number, fault.about(PUBLISH), now),
        }
    }

    /// Any other method on an open channel.
    fn handle(&mut self, number: u16, method: &Method<'_>, now: Timestamp) {
        if let Method::BasicCancel(_) = method {
            // What the consumer has been sent so far precedes the end of its sending.
            self.stop_consumer(number, method, now);
        }
        let Some(channel) = self.channels.get_mut(&number) else {
            return;
        };
        let result = channel.handle(&self.broker, method, now, &mut self.turn, &mut self.output);
        self.outcome_of(number, result, method, now);
        self.flush(now);
        if matches!(method, Method::ChannelClose(_)) {
            self.end_channel(number, now);
            self.channels.remove(&number);
            put(&mut self.output, number, method::ChannelCloseOk {});
        }
    }

    fn outcome_of(
        &mut self,
        number: u16,
        result: Result<(), Fault>,
        method: &Method<'_>,
        now: Timestamp,
    ) {
        if let Err(fault) = result {
            self.fail_on(number, fault.about(method.ids()), now);
        }
    }

    /// A method for a channel that is not open.
    fn open_channel(
        &mut self,
        number: u16,
        method: &Method<'_>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Phase::Running(principal) = &self.phase else {
            return Ok(());
        };
        let principal = principal.clone();
        if !matches!(method, Method::ChannelOpen(_)) {
            let fault = Fault::new(ReplyCode::ChannelError, "expected 'channel.open'");
            return Err(fault.about(method.ids()));
        }
        let max = self.client.channel_max;
        if max != 0 && self.channels.len() >= usize::from(max) {
            let opened = self.channels.len();
            return Err(Fault::new(
                ReplyCode::NotAllowed,
                format!(
                    "number of channels opened ({opened}) has reached the negotiated channel_max ({max})"
                ),
            ));
        }
        self.flush_into_queues(now);
        let channel = Channel::open(
            &self.broker,
            number,
            principal,
            self.mailbox.clone(),
            self.client.frame_max,
        )
        .map_err(|fault| fault.about(method.ids()))?;
        self.channels.insert(number, Box::new(channel));
        put(&mut self.output, number, method::ChannelOpenOk::default());
        Ok(())
    }

    /// A channel that we have closed listens for the answer only.
    fn closing_channel(&mut self, number: u16, method: &Method<'_>) {
        match method {
            Method::ChannelCloseOk(_) => {
                self.channels.remove(&number);
            }
            Method::ChannelClose(_) => put(&mut self.output, number, method::ChannelCloseOk {}),
            _ => {}
        }
    }
}

/// Reads the method in a frame.
pub(super) fn decode(payload: &[u8]) -> Result<Method<'_>, Fault> {
    Method::decode(payload).map_err(|error| match error {
        _ if payload.len() < 4 => frame_error(1, payload, "unknown_frame"),
        MethodError::NotUtf8 => Fault::new(ReplyCode::FrameError, "Malformed UTF-8 in shortstr"),
        MethodError::Unknown { class, method } => {
            Fault::new(ReplyCode::CommandInvalid, "unimplemented method").about((class, method))
        }
        _ => {
            let ids = (
                u16::from_be_bytes([payload[0], payload[1]]),
                u16::from_be_bytes([payload[2], payload[3]]),
            );
            let text = format!("cannot decode {}", erlang_binary(&payload[4..]));
            Fault::new(ReplyCode::FrameError, text).about(ids)
        }
    })
}

/// 501 in RabbitMQ's words: what came, and what is wrong with it.
fn frame_fault(bytes: &[u8], error: FrameError) -> Fault {
    let kind = bytes.first().copied().unwrap_or(0);
    let payload = |size: usize| {
        let start = frame::HEADER_LEN.min(bytes.len());
        &bytes[start..(start + size).min(bytes.len())]
    };
    let size = bytes.get(3..7).map_or(0, |size| {
        size.iter()
            .fold(0_usize, |sum, octet| sum << 8 | usize::from(*octet))
    });
    match error {
        FrameError::TooLarge { size, limit } => {
            let why = format!("{{frame_too_large,{size},{}}}", limit.saturating_sub(8));
            frame_error(kind, &[], &why)
        }
        FrameError::End(octet) => {
            let why = format!("{{invalid_frame_end_marker,{octet}}}");
            frame_error(kind, payload(size), &why)
        }
        FrameError::Type(_) | FrameError::Heartbeat => {
            frame_error(kind, payload(size), "unknown_frame")
        }
    }
}

fn frame_error(kind: u8, payload: &[u8], why: &str) -> Fault {
    let text = format!(
        "type {kind}, all octets = {}: {why}",
        erlang_binary(payload)
    );
    Fault::new(ReplyCode::FrameError, text)
}

/// 505: a frame that has no place here.
pub(super) fn unexpected(kind: u8, payload: &[u8]) -> Fault {
    let text = format!("type {kind}, all octets = {}", erlang_binary(payload));
    Fault::new(ReplyCode::UnexpectedFrame, text)
}
