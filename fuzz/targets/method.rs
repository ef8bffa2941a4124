//! Decoding methods: what is decoded comes back the same after it was encoded.
#![no_main]

use leveret_amqp091::frame;
use leveret_amqp091::method::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(method) = Method::decode(payload) else {
        return;
    };
    let mut encoded = Vec::new();
    method.encode(1, &mut encoded);
    let frame = frame::next(&encoded, 0).unwrap().unwrap();
    assert_eq!(frame.total_len(), encoded.len());
    assert_eq!(Method::decode(frame.payload), Ok(method));
});
