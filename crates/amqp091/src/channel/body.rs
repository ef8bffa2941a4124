//! The body of a message that comes in pieces.

use std::ops::Range;
use std::sync::Arc;

use leveret_broker::message::Message;

/// A smaller body is read with what is around it, and copied: it is not worth reads of its own.
const TARGET_LEAST: usize = 32 * 1024;

/// Memory set aside for a body that is gathered, before any of it has come.
const RESERVE_MAX: u64 = 2 * 1024 * 1024;

/// See the module's page.
#[derive(Debug)]
pub(super) enum Body {
    /// In the block that will be the message's: all else is in place, and the octets go where they belong as they come,
    /// even straight from the socket.
    Placed(Placed),
    /// Octets that have come so far. A client can announce much and send nothing: the memory grows with what it sends.
    Gathered(Vec<u8>),
    /// It will be refused: counted only.
    Dropped,
}

#[derive(Debug)]
pub(super) struct Placed {
    block: Arc<[u8]>,
    properties: Range<usize>,
    body_at: usize,
    /// Where the next octet goes.
    filled: usize,
}

/// What a message has besides its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) exchange: Box<[u8]>,
    pub(super) routing_key: Box<[u8]>,
    pub(super) properties: Box<[u8]>,
}

impl Body {
    /// A body of `size` octets, which is placed if it has at most `place_max`.
    pub(super) fn new(head: &Head, size: u64, place_max: u64) -> Self {
        if size <= place_max {
            return Self::Placed(Placed::new(head, size as usize));
        }
        Self::Gathered(Vec::with_capacity(size.min(RESERVE_MAX) as usize))
    }

    /// More octets.
    pub(super) fn push(&mut self, octets: &[u8]) {
        match self {
            Self::Placed(placed) => {
                placed.rest()[..octets.len()].copy_from_slice(octets);
                placed.filled += octets.len();
            }
            Self::Gathered(gathered) => gathered.extend_from_slice(octets),
            Self::Dropped => {}
        }
    }

    /// Where octets may be put by others, who then tell [`Self::filled`].
    pub(super) fn target(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Placed(placed) if placed.block.len() - placed.body_at >= TARGET_LEAST => {
                Some(placed.rest())
            }
            _ => None,
        }
    }

    /// So many octets have been put into the target.
    pub(super) fn filled(&mut self, n: usize) {
        if let Self::Placed(placed) = self {
            placed.filled += n;
        }
    }

    /// The message, when all octets have come; `None` for one that was dropped.
    pub(super) fn finish(self, head: &Head) -> Option<Message> {
        match self {
            Self::Placed(Placed {
                block,
                properties,
                body_at,
                filled,
            }) => Some(Message::in_block(block, 0, properties, body_at..filled)),
            Self::Gathered(body) => {
                let Head {
                    exchange,
                    routing_key,
                    properties,
                } = head;
                Some(Message::new(exchange, routing_key, properties, &body))
            }
            Self::Dropped => None,
        }
    }
}

impl Placed {
    fn new(head: &Head, size: usize) -> Self {
        let (exchange, key) = (&head.exchange, &head.routing_key);
        // Names and keys came as short strings.
        let lens = [exchange.len() as u8, key.len() as u8];
        let parts = [&lens[..1], exchange, &lens[1..], key, &head.properties];
        let body_at = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut block: Arc<[u8]> = std::iter::repeat_n(0, body_at + size).collect();
        let octets = Arc::get_mut(&mut block).expect("nobody else has seen this block");
        let mut at = 0;
        for part in parts {
            octets[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        Self {
            block,
            properties: body_at - head.properties.len()..body_at,
            body_at,
            filled: body_at,
        }
    }

    fn rest(&mut self) -> &mut [u8] {
        let block = Arc::get_mut(&mut self.block);
        &mut block.expect("nobody sees the block before it is full")[self.filled..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placed_and_gathered_bodies_make_the_same_message() {
        let head = Head {
            exchange: b"ex".as_slice().into(),
            routing_key: b"key".as_slice().into(),
            properties: [0x10, 0, 2].as_slice().into(),
        };
        for size in [8, TARGET_LEAST] {
            let octets: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            for place_max in [0, size as u64] {
                let mut body = Body::new(&head, size as u64, place_max);
                body.push(&octets[..3]);
                let target = body.target();
                assert_eq!(
                    target.is_some(),
                    place_max as usize >= TARGET_LEAST,
                    "{size}"
                );
                match target {
                    Some(target) => {
                        assert_eq!(target.len(), size - 3);
                        target[..2].copy_from_slice(&octets[3..5]);
                        body.filled(2);
                    }
                    None => body.push(&octets[3..5]),
                }
                body.push(&octets[5..]);
                let message = body.finish(&head).unwrap();
                assert_eq!(message.address(), b"\x02ex\x03key");
                assert_eq!(message.properties(), [0x10, 0, 2]);
                assert_eq!(message.body(), octets);
            }
        }
    }
}
