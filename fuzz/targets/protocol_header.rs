//! Negotiation: eight octets decide, no fewer, and nothing behind them matters.
#![no_main]

use leveret_amqp091::protocol_header::{LEN, Negotiation, negotiate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let verdict = negotiate(bytes);
    assert_eq!(verdict == Negotiation::Incomplete, bytes.len() < LEN);
    assert_eq!(negotiate(&bytes[..bytes.len().min(LEN)]), verdict);
    if let Negotiation::Refused(answer) = verdict {
        assert_ne!(
            &answer[..],
            &bytes[..LEN],
            "the refusal would look like consent"
        );
    }
});
