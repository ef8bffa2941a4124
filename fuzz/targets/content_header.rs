//! Decoding content headers: one with properties that can be read is written as it was.
#![no_main]

use leveret_amqp091::content::put_content_header;
use leveret_amqp091::content_header::{CLASS, ContentHeader, PROPERTIES_AT};
use leveret_amqp091::frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(header) = ContentHeader::decode(payload) else {
        return;
    };
    assert_eq!(header.properties, &payload[PROPERTIES_AT..]);
    let Ok(body_size) = usize::try_from(header.body_size) else {
        return;
    };
    if header.class == CLASS {
        let mut encoded = Vec::new();
        put_content_header(&mut encoded, 1, header.properties, body_size);
        assert_eq!(frame::next(&encoded, 0).unwrap().unwrap().payload, payload);
    }
});
