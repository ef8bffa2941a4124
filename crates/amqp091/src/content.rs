//! Writing messages: the method, the content header and the body frames that they are on the wire. The server writes
//! more of these than of anything else, so they are laid out by hand: one reservation, then plain writes.
//!
//! A large body need not be copied behind its head: [`body_frames`] gives the octets around each piece, and the caller
//! writes head, pieces and [`frame::END`]s from where they lie.

use std::ops::Range;

use crate::content_header::{CLASS, PROPERTIES_AT};
use crate::frame::{self, FrameType, HEADER_LEN, OVERHEAD};

/// What one `basic.deliver` carries, apart from the body.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The channel.
    pub channel: u16,
    /// The consumer's tag, at most 255 octets.
    pub consumer_tag: &'a str,
    /// Counted up on the channel.
    pub delivery_tag: u64,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// Exchange and routing key as two short strings.
    pub address: &'a [u8],
    /// The properties in wire form.
    pub properties: &'a [u8],
    /// Octets of body that the caller writes behind this.
    pub body_size: usize,
}

/// Writes `basic.deliver` and the content header. The body frames are the caller's, with [`put_body`] or
/// [`body_frames`].
#[inline]
pub fn put_deliver_head(out: &mut Vec<u8>, delivery: &Delivery<'_>) {
    let tag = delivery.consumer_tag.as_bytes();
    // A tag is a short string: it came in as one, or the broker made it.
    let tag = &tag[..tag.len().min(255)];
    let method_len = 4 + 1 + tag.len() + 8 + 1 + delivery.address.len();
    let header_len = PROPERTIES_AT + delivery.properties.len();
    out.reserve(method_len + header_len + 2 * OVERHEAD);

    let [t, c1, c0, s3, s2, s1, s0] =
        frame::header(FrameType::Method, delivery.channel, len32(method_len));
    out.extend_from_slice(&[t, c1, c0, s3, s2, s1, s0, 0, 60, 0, 60, tag.len() as u8]);
    out.extend_from_slice(tag);
    out.extend_from_slice(&tag_and_flag(delivery));
    out.extend_from_slice(delivery.address);
    out.push(frame::END);
    put_content_header(
        out,
        delivery.channel,
        delivery.properties,
        delivery.body_size,
    );
}

/// Where the last delivery lies in the output. Those to one consumer often have parts of the same lengths: then what is
/// around the body is copied from the last one, and written over where the two may differ.
#[derive(Debug, Default)]
pub(crate) struct LastDelivery {
    /// Up to the body; empty: the body is not in one piece behind it.
    head: Range<usize>,
    /// Delivery tag and redelivered flag, in the head.
    tag_at: usize,
    address: Range<usize>,
    properties: Range<usize>,
    body_size: usize,
}

impl LastDelivery {
    /// The delivery that has just been written to `out`, from `start` on.
    #[inline]
    pub(crate) fn at(start: usize, out: &[u8], delivery: &Delivery<'_>) -> Self {
        let tag_at = HEADER_LEN + 4 + 1 + delivery.consumer_tag.len();
        let address_at = tag_at + TAG_AND_FLAG;
        let address = address_at..address_at + delivery.address.len();
        let properties_at = address.end + 1 + HEADER_LEN + PROPERTIES_AT;
        let properties = properties_at..properties_at + delivery.properties.len();
        let head_len = properties.end + 1 + HEADER_LEN;
        let body_size = delivery.body_size;
        let is_whole = body_size > 0 && out.len() - start == head_len + body_size + 1;
        Self {
            head: start..if is_whole { start + head_len } else { start },
            tag_at,
            address,
            properties,
            body_size,
        }
    }

    /// Writes a delivery to the same consumer if it is like the last one. Gives whether it was.
    #[inline]
    pub(crate) fn put_like_it(
        &self,
        out: &mut Vec<u8>,
        delivery: &Delivery<'_>,
        body: &[u8],
    ) -> bool {
        let is_like_it = body.len() == self.body_size
            && delivery.address.len() == self.address.len()
            && delivery.properties.len() == self.properties.len();
        if !is_like_it || self.head.is_empty() {
            return false;
        }
        out.reserve(self.head.len() + body.len() + 1);
        let start = out.len();
        out.extend_from_within(self.head.clone());
        let head = &mut out[start..];
        head[self.tag_at..self.tag_at + TAG_AND_FLAG].copy_from_slice(&tag_and_flag(delivery));
        head[self.address.clone()].copy_from_slice(delivery.address);
        head[self.properties.clone()].copy_from_slice(delivery.properties);
        out.extend_from_slice(body);
        out.push(frame::END);
        true
    }
}

const TAG_AND_FLAG: usize = 9;

/// Delivery tag and redelivered flag.
#[inline]
fn tag_and_flag(delivery: &Delivery<'_>) -> [u8; TAG_AND_FLAG] {
    let [d7, d6, d5, d4, d3, d2, d1, d0] = delivery.delivery_tag.to_be_bytes();
    let flag = u8::from(delivery.redelivered);
    [d7, d6, d5, d4, d3, d2, d1, d0, flag]
}

/// Writes a content header; it belongs behind any method that has content.
#[inline]
pub fn put_content_header(out: &mut Vec<u8>, channel: u16, properties: &[u8], body_size: usize) {
    let size = len32(PROPERTIES_AT + properties.len());
    let mut head = [0; HEADER_LEN + PROPERTIES_AT];
    head[..HEADER_LEN].copy_from_slice(&frame::header(FrameType::Header, channel, size));
    head[HEADER_LEN..HEADER_LEN + 2].copy_from_slice(&CLASS.to_be_bytes());
    // Weight stays 0.
    head[HEADER_LEN + 4..].copy_from_slice(&(body_size as u64).to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(properties);
    out.push(frame::END);
}

/// Writes the body frames of a message; none when the body is empty.
#[inline]
pub fn put_body(out: &mut Vec<u8>, channel: u16, body: &[u8], frame_max: u32) {
    for (head, piece) in body_frames(channel, body, frame_max) {
        out.reserve(piece.len() + OVERHEAD);
        out.extend_from_slice(&head);
        out.extend_from_slice(piece);
        out.push(frame::END);
    }
}

/// Cuts a body for a connection whose frames have at most `frame_max` octets, 0 for any. Gives the octets before each
/// piece and the piece; [`frame::END`] goes behind it.
#[inline]
pub fn body_frames(
    channel: u16,
    body: &[u8],
    frame_max: u32,
) -> impl ExactSizeIterator<Item = ([u8; HEADER_LEN], &[u8])> {
    let frame_max = if frame_max == 0 { u32::MAX } else { frame_max };
    let piece_max = (frame_max as usize).saturating_sub(OVERHEAD).max(1);
    body.chunks(piece_max).map(move |piece| {
        (
            frame::header(FrameType::Body, channel, len32(piece.len())),
            piece,
        )
    })
}

/// Writes `basic.ack`.
#[inline]
pub fn put_ack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    put_settlement(out, channel, 80, delivery_tag, u8::from(multiple));
}

/// Writes `basic.nack`. From a server it says that a publish was refused, and its `requeue` bit means nothing.
#[inline]
pub fn put_nack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    put_settlement(out, channel, 120, delivery_tag, u8::from(multiple));
}

#[inline]
fn put_settlement(out: &mut Vec<u8>, channel: u16, method: u8, delivery_tag: u64, bits: u8) {
    let mut whole = [0; OVERHEAD + 13];
    whole[..HEADER_LEN].copy_from_slice(&frame::header(FrameType::Method, channel, 13));
    whole[HEADER_LEN..HEADER_LEN + 4].copy_from_slice(&[0, 60, 0, method]);
    whole[HEADER_LEN + 4..HEADER_LEN + 12].copy_from_slice(&delivery_tag.to_be_bytes());
    whole[HEADER_LEN + 12] = bits;
    whole[HEADER_LEN + 13] = frame::END;
    out.extend_from_slice(&whole);
}

#[inline]
fn len32(len: usize) -> u32 {
    u32::try_from(len).expect("what fits a message fits 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content_header::ContentHeader;
    use crate::frame::Frame;
    use crate::method::{BasicAck, BasicDeliver, BasicNack, Method};

    fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
        let mut frames = Vec::new();
        while let Some(frame) = frame::next(bytes, 0).unwrap() {
            bytes = &bytes[frame.total_len()..];
            frames.push(frame);
        }
        assert!(bytes.is_empty());
        frames
    }

    #[test]
    fn a_delivery_reads_as_one() {
        let mut out = Vec::new();
        let delivery = Delivery {
            channel: 3,
            consumer_tag: "ctag",
            delivery_tag: 1 << 40,
            redelivered: true,
            address: b"\x02ex\x03key",
            properties: b"\x10\x00\x02",
            body_size: 10,
        };
        put_deliver_head(&mut out, &delivery);
        put_body(&mut out, 3, b"0123456789", 12);
        let frames = frames(&out);
        assert!(frames.iter().all(|frame| frame.channel == 3));
        let method = BasicDeliver {
            consumer_tag: "ctag",
            delivery_tag: 1 << 40,
            redelivered: true,
            exchange: b"ex",
            routing_key: b"key",
        };
        assert_eq!(Method::decode(frames[0].payload), Ok(method.into()));
        assert_eq!(frames[1].kind, FrameType::Header);
        let header = ContentHeader {
            class: 60,
            body_size: 10,
            properties: b"\x10\x00\x02",
        };
        assert_eq!(ContentHeader::decode(frames[1].payload), Ok(header));
        let pieces: Vec<&[u8]> = frames[2..].iter().map(|frame| frame.payload).collect();
        assert_eq!(pieces, [b"0123".as_slice(), b"4567", b"89"]);
        assert!(
            frames[2..]
                .iter()
                .all(|frame| frame.kind == FrameType::Body)
        );
    }

    #[test]
    fn a_delivery_like_the_last_one_is_written_as_any_other() {
        let delivery = |delivery_tag, address, properties| Delivery {
            channel: 3,
            consumer_tag: "ctag",
            delivery_tag,
            redelivered: delivery_tag % 2 == 0,
            address,
            properties,
            body_size: 4,
        };
        let plain = |out: &mut Vec<u8>, delivery: &Delivery<'_>, body: &[u8], frame_max| {
            put_deliver_head(out, delivery);
            put_body(out, 3, body, frame_max);
        };
        let first = delivery(1, b"\x02ex\x03key", &[0, 0]);
        let mut out = b"before".to_vec();
        plain(&mut out, &first, b"1234", 0);
        let last = LastDelivery::at(6, &out, &first);

        let mut check = |delivery: Delivery<'_>, body: &[u8], is_like_it| {
            let body_size = body.len();
            let delivery = Delivery {
                body_size,
                ..delivery
            };
            let before = out.len();
            assert_eq!(last.put_like_it(&mut out, &delivery, body), is_like_it);
            let mut expected = Vec::new();
            if is_like_it {
                plain(&mut expected, &delivery, body, 0);
            }
            assert_eq!(out[before..], expected);
        };
        check(delivery(2, b"\x02ex\x03key", &[0, 0]), b"abcd", true);
        check(delivery(u64::MAX, b"\x02EX\x03KEY", &[0, 1]), b"efgh", true);
        // Other lengths of exchange and key that come to the same.
        check(delivery(3, b"\x01e\x04keys", &[0, 0]), b"efgh", true);
        check(delivery(4, b"\x02ex\x04keys", &[0, 0]), b"abcd", false);
        check(delivery(5, b"\x02ex\x03key", &[0x10, 0, 2]), b"abcd", false);
        check(delivery(6, b"\x02ex\x03key", &[0, 0]), b"abc", false);
        check(delivery(7, b"\x02ex\x03key", &[0, 0]), b"", false);

        // What is not in one piece is no pattern: a body of several frames, or one that is not copied.
        for written in [11, 0] {
            let mut out = Vec::new();
            match written {
                0 => put_deliver_head(&mut out, &first),
                frame_max => plain(&mut out, &first, b"1234", frame_max),
            }
            let last = LastDelivery::at(0, &out, &first);
            assert!(!last.put_like_it(&mut out, &first, b"1234"));
        }
        assert!(!LastDelivery::default().put_like_it(&mut Vec::new(), &first, b""));
    }

    #[test]
    fn bodies_are_cut_at_the_limit() {
        let check = |len: usize, frame_max: u32, expected: &[usize]| {
            let body = vec![7; len];
            let pieces: Vec<usize> = body_frames(1, &body, frame_max)
                .map(|(_, p)| p.len())
                .collect();
            assert_eq!(pieces, expected);
        };
        check(0, 4096, &[]);
        check(4088, 4096, &[4088]);
        check(4089, 4096, &[4088, 1]);
        check(100_000, 0, &[100_000]);
        check(2, 8, &[1, 1]);
    }

    #[test]
    fn settlements_are_what_the_method_writes() {
        let check = |written: &[u8], method: Method<'_>| {
            let mut expected = Vec::new();
            method.encode(9, &mut expected);
            assert_eq!(written, expected);
        };
        for multiple in [false, true] {
            let mut out = Vec::new();
            put_ack(&mut out, 9, 7, multiple);
            check(
                &out,
                BasicAck {
                    delivery_tag: 7,
                    multiple,
                }
                .into(),
            );
            out.clear();
            put_nack(&mut out, 9, 7, multiple);
            check(
                &out,
                BasicNack {
                    delivery_tag: 7,
                    multiple,
                    requeue: false,
                }
                .into(),
            );
        }
    }
}
