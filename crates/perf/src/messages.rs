//! The octets that a publisher writes, laid out before the run: a ring of whole publishes, of which a run of any length
//! goes out in one write. All that changes from one round to the next is the stamp at the front of each body:
//!
//! ```text
//! u64 nanoseconds since 1970 | u16 run | u16 publisher | u32 sequence number
//! ```

use std::ops::Range;

use leveret_amqp091::content;
use leveret_amqp091::frame::{self, FrameType};
use leveret_amqp091::method::{BasicPublish, Method};

use crate::client::CHANNEL;

/// A write that is longer gains nothing: the kernel's work is then all copying.
const WRITE_MAX: usize = 64 << 10;
/// A ring may be larger than a write when the messages in it differ.
const RING_MAX: usize = 8 << 20;

/// Octets of a stamp; a body that is shorter has none.
pub(crate) const STAMP_LEN: usize = 16;

/// What a message says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When it was, or should have been, published.
    pub(crate) time: u64,
    /// Tells the messages of this run from those that lay in the queue.
    pub(crate) run: u16,
    pub(crate) publisher: u16,
    /// Counts the publisher's messages from 1 on.
    pub(crate) sequence: u32,
}

impl Stamp {
    #[inline]
    fn octets(self) -> [u8; STAMP_LEN] {
        let identity = (u64::from(self.run) << 48)
            | (u64::from(self.publisher) << 32)
            | u64::from(self.sequence);
        (u128::from(self.time) << 64 | u128::from(identity)).to_be_bytes()
    }

    /// The stamp at the front of a body.
    #[inline]
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let octets = u128::from_be_bytes(*body.first_chunk()?);
        Some(Self {
            time: (octets >> 64) as u64,
            run: (octets >> 48) as u16,
            publisher: (octets >> 32) as u16,
            sequence: octets as u32,
        })
    }
}

/// One of the messages that a publisher publishes in turn.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) mandatory: bool,
    /// In wire form.
    pub(crate) properties: Vec<u8>,
    pub(crate) size: usize,
}

struct Place {
    /// Where the body starts, if a stamp has room in it.
    stamp: Option<usize>,
    end: usize,
}

pub(crate) struct Ring {
    octets: Vec<u8>,
    places: Vec<Place>,
    /// The next message to publish.
    next: usize,
}

impl Ring {
    /// Lays `shapes` out one behind the other, and again until a write is full of them.
    pub(crate) fn new(shapes: &[Shape], frame_max: u32) -> Self {
        let mut ring = Self {
            octets: Vec::new(),
            places: Vec::new(),
            next: 0,
        };
        let mut body = Vec::new();
        while ring.octets.len() < WRITE_MAX {
            for shape in shapes {
                if ring.octets.len() > RING_MAX {
                    break;
                }
                body.resize(shape.size, b'x');
                ring.put(shape, &body, frame_max);
            }
        }
        ring
    }

    fn put(&mut self, shape: &Shape, body: &[u8], frame_max: u32) {
        let publish = BasicPublish {
            exchange: &shape.exchange,
            routing_key: shape.routing_key.as_bytes(),
            mandatory: shape.mandatory,
            immediate: false,
        };
        Method::from(publish).encode(CHANNEL, &mut self.octets);
        content::put_content_header(&mut self.octets, CHANNEL, &shape.properties, body.len());
        let body_at = self.octets.len() + frame::HEADER_LEN;
        content::put_body(&mut self.octets, CHANNEL, body, frame_max);
        self.places.push(Place {
            stamp: (body.len() >= STAMP_LEN).then_some(body_at),
            end: self.octets.len(),
        });
    }

    /// Stamps the next messages for one write: `count` of them, or fewer where the ring or the write ends. Gives how
    /// many, and where they lie.
    #[inline]
    pub(crate) fn stamp(
        &mut self,
        count: usize,
        mut stamp: impl FnMut(usize) -> Stamp,
    ) -> (usize, Range<usize>) {
        let start = match self.next {
            0 => 0,
            next => self.places[next - 1].end,
        };
        let mut end = start;
        let mut stamped = 0;
        for place in self.places[self.next..].iter().take(count) {
            if place.end - start > WRITE_MAX && stamped > 0 {
                break;
            }
            if let Some(at) = place.stamp {
                self.octets[at..at + STAMP_LEN].copy_from_slice(&stamp(stamped).octets());
            }
            end = place.end;
            stamped += 1;
        }
        self.next = (self.next + stamped) % self.places.len();
        (stamped, start..end)
    }

    #[inline]
    pub(crate) fn octets(&self, range: Range<usize>) -> &[u8] {
        &self.octets[range]
    }
}

/// A channel's close, for the end of a publisher or consumer.
pub(crate) fn put_channel_close(out: &mut Vec<u8>) {
    Method::from(leveret_amqp091::method::ChannelClose {
        reply_code: 200,
        ..Default::default()
    })
    .encode(CHANNEL, out);
}

/// Whether a frame is a `basic.deliver`, and if so what counts in it: delivery tag and whether it is redelivered. Read by
/// hand, for it is most of what a consumer gets.
#[inline]
pub(crate) fn deliver(frame: &frame::Frame<'_>) -> Option<(u64, bool)> {
    let [0, 60, 0, 60, tag_len, rest @ ..] = frame.payload else {
        return None;
    };
    let rest = rest.get(usize::from(*tag_len)..)?;
    let (delivery_tag, rest) = rest.split_first_chunk()?;
    let redelivered = rest.first()? & 1 == 1;
    (frame.kind == FrameType::Method).then_some((u64::from_be_bytes(*delivery_tag), redelivered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_amqp091::content_header::ContentHeader;
    use leveret_amqp091::method::BasicDeliver;

    fn shape(routing_key: &str, size: usize) -> Shape {
        Shape {
            exchange: "x".to_owned(),
            routing_key: routing_key.to_owned(),
            mandatory: false,
            properties: vec![0, 0],
            size,
        }
    }

    /// The routing keys, body sizes and stamps of a run of publishes.
    fn read(mut octets: &[u8]) -> Vec<(String, u64, Option<Stamp>)> {
        let mut found: Vec<(String, u64, Option<Stamp>)> = Vec::new();
        let mut fresh = false;
        while let Some(frame) = frame::next(octets, 0).unwrap() {
            octets = &octets[frame.total_len()..];
            match frame.kind {
                FrameType::Method => {
                    let Ok(Method::BasicPublish(publish)) = Method::decode(frame.payload) else {
                        panic!("not a publish");
                    };
                    let key = String::from_utf8_lossy(publish.routing_key).into_owned();
                    found.push((key, 0, None));
                }
                FrameType::Header => {
                    found.last_mut().unwrap().1 =
                        ContentHeader::decode(frame.payload).unwrap().body_size;
                    fresh = true;
                }
                _ if fresh => {
                    found.last_mut().unwrap().2 = Stamp::read(frame.payload);
                    fresh = false;
                }
                _ => {}
            }
        }
        assert!(octets.is_empty());
        found
    }

    #[test]
    fn messages_come_in_turn_and_are_stamped() {
        let stamp = |sequence| Stamp {
            time: 1 << 60 | 5,
            run: 7,
            publisher: 65_535,
            sequence,
        };
        let mut ring = Ring::new(&[shape("a", 16), shape("b", 15), shape("c", 9000)], 4096);
        let expected = [("a", 16, true), ("b", 15, false), ("c", 9000, true)];
        let mut total = 0;
        for count in (1..30).cycle().take(500) {
            let (stamped, range) = ring.stamp(count, |n| stamp((total + n) as u32));
            assert!((1..=count).contains(&stamped));
            let found = read(ring.octets(range));
            assert_eq!(found.len(), stamped);
            for (key, size, found_stamp) in found {
                let (wanted_key, wanted_size, has_stamp) = expected[total % 3];
                assert_eq!((&*key, size), (wanted_key, wanted_size));
                assert_eq!(found_stamp, has_stamp.then(|| stamp(total as u32)));
                total += 1;
            }
        }
    }

    #[test]
    fn a_write_has_a_bound() {
        let mut ring = Ring::new(&[shape("a", 100)], 4096);
        let nothing = |_| Stamp {
            time: 0,
            run: 0,
            publisher: 0,
            sequence: 0,
        };
        let (_, range) = ring.stamp(usize::MAX, nothing);
        assert!(range.len() <= WRITE_MAX && range.len() > WRITE_MAX - 300);
        let mut large = Ring::new(&[shape("a", 1 << 20)], 131_072);
        assert_eq!(large.stamp(usize::MAX, nothing).0, 1);
    }

    #[test]
    fn deliveries_are_told_from_other_methods() {
        let check = |method: Method<'_>, expected| {
            let mut out = Vec::new();
            method.encode(1, &mut out);
            let frame = frame::next(&out, 0).unwrap().unwrap();
            assert_eq!(deliver(&frame), expected);
        };
        let delivery = BasicDeliver {
            consumer_tag: "c",
            delivery_tag: 1 << 40,
            redelivered: true,
            exchange: b"x",
            routing_key: b"k",
        };
        check(delivery.into(), Some((1 << 40, true)));
        check(leveret_amqp091::method::BasicQosOk {}.into(), None);
    }
}
