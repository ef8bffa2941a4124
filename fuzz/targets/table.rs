//! Decoding tables: one that is decoded encodes to something that decodes and encodes to the same; looking a key up in
//! place agrees with the decoded table.
#![no_main]

use leveret_broker::table::{Table, check, find};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(check(bytes).err(), Table::decode(bytes).err());
    // Seldom there; the fuzzer sees what it is compared with, and makes tables that have it.
    let key = "another key";
    let found = find(bytes, key).map(|value| value.is_some());
    let Ok(table) = Table::decode(bytes) else {
        return;
    };
    assert_eq!(found, Ok(table.get(key).is_some()));
    for (key, value) in table.iter() {
        let found = find(bytes, key).unwrap().unwrap().to_owned().unwrap();
        // By text, for the sake of NaN.
        assert_eq!(
            format!("{found:?}"),
            format!("{:?}", table.get(key).unwrap())
        );
        assert!(!value.type_name().is_empty());
        let _ = value.text();
    }
    let mut once = Vec::new();
    table.encode(&mut once);
    let (again, rest) = Table::decode_prefixed(&once).unwrap();
    assert!(rest.is_empty());
    let mut twice = Vec::new();
    again.encode(&mut twice);
    assert_eq!(once, twice);
    assert_eq!(format!("{again:?}"), format!("{table:?}"));
    assert_eq!(once.len(), bytes.len() + 4);
});
