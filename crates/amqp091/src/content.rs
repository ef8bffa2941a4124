//! Writing messages: the method, the content header and the body frames that they are on the wire. The server writes
//! more of these than of anything else, so they are laid out by hand: one reservation, then plain writes.
//!
//! A large body need not be copied behind its head: [`body_frames`] gives the octets around each piece, and the caller
//! writes head, pieces and [`frame::END`]s from where they lie.

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
    let [d7, d6, d5, d4, d3, d2, d1, d0] = delivery.delivery_tag.to_be_bytes();
    out.extend_from_slice(&[
        d7,
        d6,
        d5,
        d4,
        d3,
        d2,
        d1,
        d0,
        u8::from(delivery.redelivered),
    ]);
    out.extend_from_slice(delivery.address);
    out.push(frame::END);
    put_content_header(
        out,
        delivery.channel,
        delivery.properties,
        delivery.body_size,
    );
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
