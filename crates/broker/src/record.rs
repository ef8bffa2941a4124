//! A message as the log keeps it.
//!
//! ```text
//! u8   version, 1
//! u8   flags: bit 0 the message has died before (its x-death header is ours)
//! u64  published at, ms since the epoch, big endian
//! …    exchange and routing key, each as u8 length and bytes
//! u32  length of the properties, big endian
//! …    properties, then the body up to the end
//! ```

use leveret_storage::Batch as Records;

use crate::message::Message;
use crate::time::Timestamp;

const VERSION: u8 = 1;
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
    let mut head = [0; FIXED];
    head[0] = VERSION;
    head[1] = if message.has_died() { DIED } else { 0 };
    head[2..].copy_from_slice(&now.0.to_be_bytes());
    let properties = message.properties();
    let properties_len = u32::try_from(properties.len()).expect("properties fit into a frame");
    records.put(
        owners,
        &[
            &head,
            message.address(),
            &properties_len.to_be_bytes(),
            properties,
            message.body(),
        ],
    );
}

/// Reads a record: the message and when it was published.
pub(crate) fn read(bytes: &[u8]) -> Result<(Message, Timestamp), RecordError> {
    let (head, rest) = bytes.split_at_checked(FIXED).ok_or(RecordError::Short)?;
    if head[0] != VERSION {
        return Err(RecordError::Version(head[0]));
    }
    let published_at = u64::from_be_bytes(head[2..].try_into().map_err(|_| RecordError::Short)?);
    let (exchange, rest) = short(rest)?;
    let (key, rest) = short(rest)?;
    let (len, rest) = rest.split_at_checked(4).ok_or(RecordError::Short)?;
    let len = u32::from_be_bytes(len.try_into().map_err(|_| RecordError::Short)?) as usize;
    let (properties, body) = rest.split_at_checked(len).ok_or(RecordError::Short)?;
    let message = Message::new(exchange, key, properties, body);
    let message = if head[1] & DIED != 0 {
        message.marked_died()
    } else {
        message
    };
    Ok((message, Timestamp(published_at)))
}

fn short(bytes: &[u8]) -> Result<(&[u8], &[u8]), RecordError> {
    let (len, rest) = bytes.split_first().ok_or(RecordError::Short)?;
    rest.split_at_checked(usize::from(*len))
        .ok_or(RecordError::Short)
}
