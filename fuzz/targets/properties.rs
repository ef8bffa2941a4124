//! Reading properties: in place and taken apart agree, and what was taken apart is written as it was.
#![no_main]

use leveret_broker::properties::{Properties, PropertiesBuf};
use leveret_broker::table::Table;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = Properties::parse(bytes) else {
        assert!(PropertiesBuf::parse(bytes).is_err());
        return;
    };
    let headers = read.headers().map(Table::decode);
    let Ok(owned) = PropertiesBuf::parse(bytes) else {
        assert!(headers.is_some_and(|headers| headers.is_err()));
        return;
    };
    assert_eq!(read.content_type(), owned.content_type.as_deref());
    assert_eq!(read.delivery_mode(), owned.delivery_mode);
    assert_eq!(read.priority(), owned.priority);
    assert_eq!(read.expiration(), owned.expiration.as_deref());
    assert_eq!(read.timestamp(), owned.timestamp);
    assert_eq!(read.cluster_id(), owned.cluster_id.as_deref());
    let encoded = owned.encode();
    assert_eq!(encoded.len(), bytes.len());
    assert_eq!(PropertiesBuf::parse(&encoded).unwrap().encode(), encoded);
});
