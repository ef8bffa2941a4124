//! The eight octets that open a connection: `AMQP` and a version.

/// How many octets a decision needs.
pub const LEN: usize = 8;

/// The protocol header of AMQP 0-9-1.
pub const AMQP_0_9_1: [u8; LEN] = *b"AMQP\x00\x00\x09\x01";
/// That of AMQP 0-9, which is served as 0-9-1.
const AMQP_0_9: [u8; LEN] = *b"AMQP\x01\x01\x00\x09";
/// That of AMQP 1.0 with SASL: how RabbitMQ 4 refuses everything it does not know.
const AMQP_1_0_SASL: [u8; LEN] = *b"AMQP\x03\x01\x00\x00";

/// What a connection's first octets lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Negotiation {
    /// The eight octets are not there yet.
    Incomplete,
    /// The connection speaks AMQP 0-9-1; frames follow.
    Accepted,
    /// The server writes this header, which it would have liked to see, and closes.
    Refused([u8; LEN]),
}

/// Judges the first octets of a connection.
pub fn negotiate(bytes: &[u8]) -> Negotiation {
    let Some(header) = bytes.first_chunk::<LEN>() else {
        return Negotiation::Incomplete;
    };
    match *header {
        AMQP_0_9_1 | AMQP_0_9 => Negotiation::Accepted,
        // A later 0-x: its client may know 0-9-1 as well.
        [b'A', b'M', b'Q', b'P', 0, 0, 9..=255, _] => Negotiation::Refused(AMQP_0_9_1),
        // RabbitMQ accepts this one. As long as AMQP 1.0 has no door here, its own header for an answer would tell the
        // client that it was let in.
        AMQP_1_0_SASL => Negotiation::Refused(AMQP_0_9_1),
        _ => Negotiation::Refused(AMQP_1_0_SASL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_accepted_or_told_better() {
        let check = |bytes: &[u8], expected| assert_eq!(negotiate(bytes), expected, "{bytes:?}");
        check(b"", Negotiation::Incomplete);
        check(b"AMQP\0\0\x09", Negotiation::Incomplete);
        check(b"AMQP\0\0\x09\x01", Negotiation::Accepted);
        check(b"AMQP\0\0\x09\x01and more", Negotiation::Accepted);
        check(b"AMQP\x01\x01\0\x09", Negotiation::Accepted);
        check(b"AMQP\0\0\x09\x02", Negotiation::Refused(AMQP_0_9_1));
        check(b"AMQP\0\0\x0a\0", Negotiation::Refused(AMQP_0_9_1));
        check(b"AMQP\x03\x01\0\0", Negotiation::Refused(AMQP_0_9_1));
        check(b"AMQP\x01\x01\x08\0", Negotiation::Refused(AMQP_1_0_SASL));
        check(b"AMQP\0\0\x08\0", Negotiation::Refused(AMQP_1_0_SASL));
        check(b"AMQP\0\x01\0\0", Negotiation::Refused(AMQP_1_0_SASL));
        check(b"GET / HTTP/1.1\r\n", Negotiation::Refused(AMQP_1_0_SASL));
        check(
            b"\x16\x03\x01\x02\0\x01\0\x01",
            Negotiation::Refused(AMQP_1_0_SASL),
        );
    }
}
