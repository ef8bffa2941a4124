//! Small messages that begin to wait together share blocks: a block for each would cost more than what is in it.
//!
//! ```text
//! block   address | properties | body | blind keys | address | properties | …
//! ```
//!
//! A block lives as long as one of its messages. Neighbours leave their queue one after the other, so it goes with the
//! first of them, nearly; but a client may hold on to any one of them, which then takes 512 bytes. That is why blocks are
//! small.

use std::sync::Arc;

use super::Message;

/// Most bytes of a block that is shared. Its reference counts make that 512, which an allocator gives without loss.
const BLOCK_BYTES: usize = 512 - 16;

/// A message of more bytes than this has a block of its own.
const SMALL_BYTES: usize = BLOCK_BYTES / 4;

/// Moves small messages from the blocks in which they came to blocks that they share.
pub(crate) fn pack<'a>(messages: impl Iterator<Item = &'a mut Message>) {
    let mut packing = Packing::default();
    for message in messages {
        let bytes = message.bytes();
        if bytes <= SMALL_BYTES && !message.packed {
            packing.add(message, bytes);
        }
    }
    packing.seal();
}

/// A block that fills.
#[derive(Default)]
struct Packing<'a> {
    bytes: Vec<u8>,
    /// What is in it, with the offsets of this block but not yet the block.
    messages: Vec<&'a mut Message>,
}

impl<'a> Packing<'a> {
    fn add(&mut self, message: &'a mut Message, bytes: usize) {
        if self.bytes.len() + bytes > BLOCK_BYTES {
            self.seal();
        }
        // All of it at the first message, instead of growing by doubling.
        self.bytes.reserve(BLOCK_BYTES - self.bytes.len());
        let exchange_at = self.push(message.address());
        let properties_at = self.push(message.properties());
        let body_at = self.push(message.body());
        if message.blind_len > 0 {
            self.push(message.blind());
        }
        message.exchange_at = exchange_at;
        message.properties_at = properties_at;
        message.body_at = body_at;
        self.messages.push(message);
    }

    /// Gives the offset of the part.
    fn push(&mut self, part: &[u8]) -> u32 {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(part);
        u32::try_from(at).expect("a block of few bytes")
    }

    /// Ends the block and begins another.
    fn seal(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let block: Arc<[u8]> = self.bytes.as_slice().into();
        self.bytes.clear();
        for message in self.messages.drain(..) {
            message.block = block.clone();
            message.packed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_share_blocks_and_stay_what_they_are() {
        let bodies: Vec<Vec<u8>> = (0..100).map(|n| vec![n; usize::from(n) * 2]).collect();
        let mut messages: Vec<Message> = bodies
            .iter()
            .map(|body| Message::new(b"ex", b"key", b"props", body).marked_died())
            .collect();
        pack(messages.iter_mut());
        // Nothing changes for what is packed already.
        let once = messages.clone();
        pack(messages.iter_mut());
        for ((message, once), body) in messages.iter().zip(&once).zip(&bodies) {
            assert!(message.lies_with(once));
            assert_eq!(message.address(), b"\x02ex\x03key");
            assert_eq!(message.properties(), b"props");
            assert_eq!(message.body(), body);
            assert!(message.has_died());
            let is_small = message.bytes() <= SMALL_BYTES;
            assert_eq!(message.packed, is_small);
            assert!(message.block.len() <= BLOCK_BYTES.max(message.bytes()));
            let mut compact = message.clone();
            compact.compact();
            assert!(compact.lies_with(message));
        }
        let small = |message: &&Message| message.packed;
        let bytes: usize = messages.iter().filter(small).map(Message::bytes).sum();
        let mut blocks: Vec<_> = messages.iter().filter(small).collect();
        blocks.dedup_by(|a, b| a.lies_with(b));
        let full = BLOCK_BYTES - SMALL_BYTES;
        assert!(blocks.len() <= bytes / full + 1, "{} blocks", blocks.len());
    }
}
