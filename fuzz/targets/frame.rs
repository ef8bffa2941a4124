//! Splitting bytes into frames: each frame lies within the bytes, is announced by `peek`, and reads the same from
//! exactly its own octets.
#![no_main]

use leveret_amqp091::frame;
use libfuzzer_sys::fuzz_target;

const LIMIT: u32 = 4096;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some(frame)) = frame::next(rest, LIMIT) {
        let header = frame::peek(rest, LIMIT).unwrap().unwrap();
        assert_eq!(header.kind, frame.kind);
        assert_eq!(header.channel, frame.channel);
        assert_eq!(header.size as usize, frame.payload.len());
        let (own, behind) = rest.split_at(frame.total_len());
        assert_eq!(frame::next(own, LIMIT), Ok(Some(frame)));
        assert_eq!(frame::next(&own[..own.len() - 1], LIMIT), Ok(None));
        rest = behind;
    }
});
