//! A message as the log keeps it.
//!
//! ```text
//! u8   version: 1, or 2 if there are blind keys
//! u8   flags: bit 0 the message has died before (its x-death header is ours)
//! u64  published at, ms since the epoch, big endian
//! …    exchange and routing key, each as u8 length and bytes
//! u32  length of the properties, big endian
//! …    properties, then the body up to the end
//! ```
//!
//! In version 2 the blind keys follow the body, each as u8 length and bytes, and then
//!
//! ```text
//! u16  length of the blind keys, big endian
//! ```

use leveret_storage::Batch as Records;

use crate::message::Message;
use crate::time::Timestamp;

const VERSION: u8 = 1;
const VERSION_BLIND: u8 = 2;
const DIED: u8 = 1;
const FIXED: usize = 10;

/// Why the record of a message can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record of a message is too short")]
    Short,
    #[error("the record of a message has version {0}: written by a newer version of Leveret?")]
    Version(u8),
}

/// Adds the record of `message` to a batch for the log.
pub(crate) fn put(records: &mut Records, owners: &[u32], now: Timestamp, message: &Message) {
    with_parts(now, message, |parts| {
        records.put(owners, parts);
    });
}

/// The record of `message`, for where it is not the log that puts it together.
pub(crate) fn encode(now: Timestamp, message: &Message) -> Vec<u8> {
    with_parts(now, message, |parts| parts.concat())
}

/// The parts of a record, one behind the other.
fn with_parts<T>(now: Timestamp, message: &Message, then: impl FnOnce(&[&[u8]]) -> T) -> T {
    let blind = message.blind();
    // Most have none, and are as they were before there were such keys.
    let (version, used) = match blind {
        [] => (VERSION, 5),
        _ => (VERSION_BLIND, 7),
    };
    let mut head = [0; FIXED];
    head[0] = version;
    head[1] = if message.has_died() { DIED } else { 0 };
    head[2..].copy_from_slice(&now.0.to_be_bytes());
    let properties = message.properties();
    let properties_len = u32::try_from(properties.len()).expect("properties fit into a frame");
    let blind_len = u16::try_from(blind.len()).expect("of blind keys no more are kept");
    let parts = [
        &head,
        message.address(),
        &properties_len.to_be_bytes(),
        properties,
        message.body(),
        blind,
        &blind_len.to_be_bytes(),
    ];
    then(&parts[..used])
}

/// Reads a record: the message, which lies in a copy of it, and when it was published.
pub(crate) fn read(bytes: &[u8]) -> Result<(Message, Timestamp), RecordError> {
    let (head, rest) = bytes.split_at_checked(FIXED).ok_or(RecordError::Short)?;
    let (rest, blind_len, behind) = match head[0] {
        VERSION => (rest, 0, 0),
        VERSION_BLIND => {
            let (rest, len) = without_blind(rest)?;
            (rest, len, len + 2)
        }
        newer => return Err(RecordError::Version(newer)),
    };
    let published_at = u64::from_be_bytes(head[2..].try_into().map_err(|_| RecordError::Short)?);
    let rest = behind_short(behind_short(rest)?)?;
    let (len, rest) = rest.split_at_checked(4).ok_or(RecordError::Short)?;
    let len = u32::from_be_bytes(len.try_into().map_err(|_| RecordError::Short)?) as usize;
    let (properties, body) = rest.split_at_checked(len).ok_or(RecordError::Short)?;
    let end = bytes.len() - behind;
    let body_at = end - body.len();
    let properties_at = body_at - properties.len();
    let message = Message::in_block(bytes.into(), FIXED, properties_at..body_at, body_at..end)
        .with_blind(blind_len);
    let message = if head[1] & DIED != 0 {
        message.marked_died()
    } else {
        message
    };
    Ok((message, Timestamp(published_at)))
}

/// What is before the blind keys, and their length.
fn without_blind(bytes: &[u8]) -> Result<(&[u8], usize), RecordError> {
    let (rest, len) = bytes.split_last_chunk().ok_or(RecordError::Short)?;
    let len = usize::from(u16::from_be_bytes(*len));
    let end = rest.len().checked_sub(len).ok_or(RecordError::Short)?;
    Ok((&rest[..end], len))
}

fn behind_short(bytes: &[u8]) -> Result<&[u8], RecordError> {
    let (len, rest) = bytes.split_first().ok_or(RecordError::Short)?;
    rest.get(usize::from(*len)..).ok_or(RecordError::Short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_and_a_cut_one_does_not() {
        let message = Message::new(b"ex", b"key", b"props", b"body").marked_died();
        let bytes = encode(Timestamp(7), &message);
        let (again, published_at) = read(&bytes).unwrap();
        assert_eq!(published_at, Timestamp(7));
        assert_eq!(again.address(), message.address());
        assert_eq!(again.properties(), b"props");
        assert_eq!(again.body(), b"body");
        assert!(again.has_died());
        let body_at = bytes.len() - 4;
        for end in 0..body_at {
            assert_eq!(
                read(&bytes[..end]).err(),
                Some(RecordError::Short),
                "{end} bytes"
            );
        }
        let newer = [&[3], &bytes[1..]].concat();
        assert_eq!(read(&newer).err(), Some(RecordError::Version(3)));
    }

    #[test]
    fn blind_keys_come_back_and_are_not_believed_in_a_damaged_record() {
        let blind: [Box<[u8]>; 2] = [b"one".as_slice().into(), b"".as_slice().into()];
        let message = Message::new(b"ex", b"key", b"props", b"body").with_blind_keys(&blind);
        let bytes = encode(Timestamp(7), &message);
        let (again, _) = read(&bytes).unwrap();
        assert_eq!(again.properties(), b"props");
        assert_eq!(again.body(), b"body");
        assert!(again.blind_keys().eq([b"one".as_slice(), b""]));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] = 0xff;
            if let Ok((message, _)) = read(&damaged) {
                assert!(message.blind_keys().count() <= message.blind().len());
            }
        }
        assert_eq!(read(&bytes[..FIXED + 1]).err(), Some(RecordError::Short));
    }
}
