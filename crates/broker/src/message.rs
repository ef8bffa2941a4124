//! A message as it travels through the node: immutable, and one reference count to clone.
//!
//! ```text
//! block   … | exchange: u8 len, bytes | routing key: u8 len, bytes | … | properties | … | body | …
//!           ^ exchange_at                                               ^ properties_at  ^ body_at
//! ```
//!
//! The parts lie in one shared block of bytes. A message that came in one read is a slice of the connection's read
//! buffer, where the wire has put the parts in just this order; others (bodies of several frames, messages made by the
//! broker, those read back from disk) own a block of exactly their size. A message that has to wait is
//! [compacted](Message::compact), so that a backlog of small messages does not pin whole read buffers; small ones that
//! begin to wait together are packed (`packing`).
//!
//! The properties are those of AMQP 0-9-1 (`basic` content header: property flags, then the values), forwarded as the
//! publisher wrote them; [`crate::properties`] reads them where needed.

pub(crate) mod packing;

use std::sync::{Arc, LazyLock};

/// A message: where it was published to, its properties and its body. See the module's page.
#[derive(Debug, Clone)]
pub struct Message {
    block: Arc<[u8]>,
    exchange_at: u32,
    properties_at: u32,
    properties_len: u32,
    body_at: u32,
    body_len: u32,
    died: bool,
    /// It shares its block with others that wait.
    packed: bool,
}

impl Message {
    /// A message whose parts already lie in `block`. `exchange_at` is the offset of the exchange's length octet, which
    /// the routing key follows directly.
    ///
    /// # Panics
    /// If a part does not lie within `block`: the caller has decoded these offsets from it.
    pub fn in_block(
        block: Arc<[u8]>,
        exchange_at: usize,
        properties: std::ops::Range<usize>,
        body: std::ops::Range<usize>,
    ) -> Self {
        let small = |n: usize| u32::try_from(n).expect("a block is smaller than 4 GiB");
        assert!(
            properties.end <= block.len() && body.end <= block.len(),
            "a part outside the block"
        );
        Self {
            exchange_at: small(exchange_at),
            properties_at: small(properties.start),
            properties_len: small(properties.len()),
            body_at: small(body.start),
            body_len: small(body.len()),
            died: false,
            packed: false,
            block,
        }
    }

    /// A message in a block of its own.
    ///
    /// # Panics
    /// If `exchange` or `routing_key` is longer than 255 octets.
    pub fn new(exchange: &[u8], routing_key: &[u8], properties: &[u8], body: &[u8]) -> Self {
        let mut address = Vec::with_capacity(2 + exchange.len() + routing_key.len());
        push_short(&mut address, exchange);
        push_short(&mut address, routing_key);
        Self::joined(&address, properties, body)
    }

    /// No message, where there must be one: neither address nor properties nor body.
    pub fn nothing() -> Self {
        static NOTHING: LazyLock<Message> = LazyLock::new(|| Message::new(b"", b"", b"", b""));
        NOTHING.clone()
    }

    /// The parts, written one behind the other into a block of their own. `address` is exchange and routing key as short
    /// strings.
    fn joined(address: &[u8], properties: &[u8], body: &[u8]) -> Self {
        let properties_at = address.len();
        let body_at = properties_at + properties.len();
        let end = body_at + body.len();
        // One allocation, zeroed and then filled: there is no safe way to write into it uninitialised.
        let mut block: Arc<[u8]> = std::iter::repeat_n(0, end).collect();
        let parts = Arc::get_mut(&mut block).expect("nobody else has seen this block");
        parts[..properties_at].copy_from_slice(address);
        parts[properties_at..body_at].copy_from_slice(properties);
        parts[body_at..].copy_from_slice(body);
        Self::in_block(block, 0, properties_at..body_at, body_at..end)
    }

    /// The exchange it was published to; empty for the default exchange.
    pub fn exchange(&self) -> &[u8] {
        self.short_at(self.exchange_at as usize)
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> &[u8] {
        self.short_at(self.routing_key_at())
    }

    /// The properties in their wire form: property flags, then the values.
    pub fn properties(&self) -> &[u8] {
        let at = self.properties_at as usize;
        &self.block[at..at + self.properties_len as usize]
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        let at = self.body_at as usize;
        &self.block[at..at + self.body_len as usize]
    }

    /// What it is measured by where its memory counts: bytes of properties and body.
    pub fn weight(&self) -> usize {
        self.properties_len as usize + self.body_len as usize
    }

    /// Exchange and routing key as they stand on the wire: two short strings, one behind the other.
    pub fn address(&self) -> &[u8] {
        let key_at = self.routing_key_at();
        &self.block[self.exchange_at as usize..key_at + 1 + self.block[key_at] as usize]
    }

    /// What it takes in memory while it waits, bytes, about: its part of a block, and of what an allocator adds to one.
    pub(crate) fn footprint(&self) -> usize {
        const ALONE: usize = 64;
        const SHARED: usize = 16;
        if self.packed {
            // The parts lie one behind the other. Reading the address would be a miss of the cache for each message.
            let bytes = self.body_at + self.body_len - self.exchange_at;
            return SHARED + bytes as usize;
        }
        ALONE + self.weight()
    }

    /// Whether both lie in one block.
    #[cfg(test)]
    pub(crate) fn lies_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.block, &other.block)
    }

    /// Moves the message into a block of exactly its size, if the block it lies in is more than twice as large and not
    /// one in which messages wait.
    #[must_use]
    pub fn compact(self) -> Self {
        if self.packed || self.block.len() <= 2 * self.bytes() {
            return self;
        }
        let died = self.died;
        Self {
            died,
            ..Self::joined(self.address(), self.properties(), self.body())
        }
    }

    /// Whether the `x-death` header is this broker's own. What a client writes there counts for nothing (RabbitMQ 4.0).
    pub fn has_died(&self) -> bool {
        self.died
    }

    /// The same message, with an `x-death` header that the broker wrote.
    #[must_use]
    pub fn marked_died(mut self) -> Self {
        self.died = true;
        self
    }

    /// Bytes of all its parts.
    fn bytes(&self) -> usize {
        self.address().len() + self.weight()
    }

    fn routing_key_at(&self) -> usize {
        self.exchange_at as usize + 1 + self.block[self.exchange_at as usize] as usize
    }

    fn short_at(&self, at: usize) -> &[u8] {
        &self.block[at + 1..at + 1 + self.block[at] as usize]
    }
}

fn push_short(into: &mut Vec<u8>, text: &[u8]) {
    into.push(u8::try_from(text.len()).expect("a short string has at most 255 octets"));
    into.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_survive_compaction() {
        let mut buffer = b"junk\x02ex\x03key--props==body".to_vec();
        buffer.resize(1000, 0);
        let message = Message::in_block(buffer.into(), 4, 13..18, 20..24);
        for message in [
            message.clone(),
            message.compact(),
            Message::new(b"ex", b"key", b"props", b"body"),
        ] {
            assert_eq!(message.exchange(), b"ex");
            assert_eq!(message.routing_key(), b"key");
            assert_eq!(message.properties(), b"props");
            assert_eq!(message.body(), b"body");
            assert_eq!(message.address(), b"\x02ex\x03key");
        }
    }

    #[test]
    fn compaction_leaves_the_read_buffer() {
        let buffer: Arc<[u8]> = [b"\x00\x00".as_slice(), &[7; 5000]].concat().into();
        let message = Message::in_block(buffer.clone(), 0, 2..2, 2..3);
        assert_eq!(Arc::strong_count(&buffer), 2);
        let message = message.compact();
        assert_eq!(Arc::strong_count(&buffer), 1);
        assert_eq!(message.body(), [7]);
    }
}
