//! A message as it travels through the node: immutable, and one reference count to clone.
//!
//! ```text
//! block   … | exchange: u8 len, bytes | routing key: u8 len, bytes | … | properties | … | body | blind keys | …
//!           ^ exchange_at                                               ^ properties_at  ^ body_at
//! ```
//!
//! The blind keys, those of a `BCC` header, are short strings like the two others. Hardly a message has any.
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
    blind_len: u16,
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
            blind_len: 0,
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
        Self::joined(&address, properties, body, b"")
    }

    /// No message, where there must be one: neither address nor properties nor body.
    pub fn nothing() -> Self {
        static NOTHING: LazyLock<Message> = LazyLock::new(|| Message::new(b"", b"", b"", b""));
        NOTHING.clone()
    }

    /// The parts, written one behind the other into a block of their own. `address` is exchange and routing key as short
    /// strings.
    fn joined(address: &[u8], properties: &[u8], body: &[u8], blind: &[u8]) -> Self {
        let properties_at = address.len();
        let body_at = properties_at + properties.len();
        let blind_at = body_at + body.len();
        let end = blind_at + blind.len();
        // One allocation, zeroed and then filled: there is no safe way to write into it uninitialised.
        let mut block: Arc<[u8]> = std::iter::repeat_n(0, end).collect();
        let parts = Arc::get_mut(&mut block).expect("nobody else has seen this block");
        parts[..properties_at].copy_from_slice(address);
        parts[properties_at..body_at].copy_from_slice(properties);
        parts[body_at..blind_at].copy_from_slice(body);
        parts[blind_at..].copy_from_slice(blind);
        Self::in_block(block, 0, properties_at..body_at, body_at..blind_at).with_blind(blind.len())
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

    /// The keys that took part in routing and are not shown to receivers.
    pub(crate) fn blind_keys(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.blind();
        std::iter::from_fn(move || {
            let (len, behind) = rest.split_first()?;
            let (key, behind) = behind.split_at_checked(usize::from(*len))?;
            rest = behind;
            Some(key)
        })
    }

    /// The same in the form in which they lie in the block.
    pub(crate) fn blind(&self) -> &[u8] {
        let at = (self.body_at + self.body_len) as usize;
        &self.block[at..at + usize::from(self.blind_len)]
    }

    /// The same message with blind keys, as many of them as 64 KiB have room for. Those of more than 255 octets, which no
    /// binding can name, are left out.
    #[must_use]
    pub(crate) fn with_blind_keys(self, keys: &[Box<[u8]>]) -> Self {
        if keys.is_empty() {
            return self;
        }
        let mut blind = Vec::new();
        for key in keys {
            let fits = blind.len() + 1 + key.len() <= usize::from(u16::MAX);
            if fits && key.len() <= usize::from(u8::MAX) {
                push_short(&mut blind, key);
            }
        }
        self.in_own_block(&blind)
    }

    /// The same message; its blind keys are the `len` bytes behind the body.
    ///
    /// # Panics
    /// If the block ends before, or `len` is more than 64 KiB.
    #[must_use]
    pub(crate) fn with_blind(mut self, len: usize) -> Self {
        let end = (self.body_at + self.body_len) as usize + len;
        assert!(end <= self.block.len(), "a part outside the block");
        self.blind_len = u16::try_from(len).expect("of blind keys no more are kept");
        self
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
            let bytes = self.body_at + self.body_len + u32::from(self.blind_len) - self.exchange_at;
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
    #[inline]
    pub fn compact(&mut self) {
        if !self.packed && self.block.len() > 2 * self.bytes() {
            *self = self.in_own_block(self.blind());
        }
    }

    /// The same message with these blind keys, in a block of exactly its size.
    fn in_own_block(&self, blind: &[u8]) -> Self {
        Self {
            died: self.died,
            ..Self::joined(self.address(), self.properties(), self.body(), blind)
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
        self.address().len() + self.weight() + usize::from(self.blind_len)
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
    fn blind_keys_stay_with_the_message() {
        let check = |keys: &[&[u8]], kept: &[&[u8]]| {
            let keys: Vec<Box<[u8]>> = keys.iter().map(|&key| key.into()).collect();
            let message = Message::new(b"ex", b"key", b"props", b"body").with_blind_keys(&keys);
            let mut packed = [message.clone(), message.clone()];
            packing::pack(packed.iter_mut());
            let mut compact = message.clone();
            compact.compact();
            for message in [compact].iter().chain(&packed) {
                let found: Vec<_> = message.blind_keys().collect();
                assert_eq!(found, kept);
                assert_eq!(message.body(), b"body");
            }
        };
        check(&[], &[]);
        check(&[b"one", b"", b"three"], &[b"one", b"", b"three"]);
        let (long, longest) = ([7; 256], [7; 255]);
        check(
            &[long.as_slice(), &longest, b"two"],
            &[longest.as_slice(), b"two"],
        );
        check(&[longest.as_slice(); 300], &[longest.as_slice(); 255]);
    }

    #[test]
    fn parts_come_back_and_survive_compaction() {
        let mut buffer = b"junk\x02ex\x03key--props==body".to_vec();
        buffer.resize(1000, 0);
        let message = Message::in_block(buffer.into(), 4, 13..18, 20..24);
        let mut compact = message.clone();
        compact.compact();
        for message in [
            message,
            compact,
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
        let mut message = Message::in_block(buffer.clone(), 0, 2..2, 2..3);
        assert_eq!(Arc::strong_count(&buffer), 2);
        message.compact();
        assert_eq!(Arc::strong_count(&buffer), 1);
        assert_eq!(message.body(), [7]);
    }
}
