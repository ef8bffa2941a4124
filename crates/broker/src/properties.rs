//! The properties of a message, in the form they have in an AMQP 0-9-1 content header:
//!
//! ```text
//! u16 flags | the values of the properties whose flag is set, in this order
//!
//! bit 15 content-type      short string     bit 8  expiration   short string
//! bit 14 content-encoding  short string     bit 7  message-id   short string
//! bit 13 headers           table            bit 6  timestamp    u64
//! bit 12 delivery-mode     octet            bit 5  type         short string
//! bit 11 priority          octet            bit 4  user-id      short string
//! bit 10 correlation-id    short string     bit 3  app-id       short string
//! bit  9 reply-to          short string     bit 2  cluster-id   short string
//! bit  1 nothing                            bit 0  more flags follow (never, with 14 properties)
//! ```
//!
//! [`Properties`] reads them in place; [`PropertiesBuf`] is for the few messages whose properties the broker changes.

use thiserror::Error;

use crate::table::{Table, TableError};
use crate::wire::{Reader, Truncated, put_short_string};

/// Why bytes are not the properties of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PropertiesError {
    /// The bytes end inside a value.
    #[error("properties end inside a value")]
    Truncated,
    /// There are bytes behind the last value.
    #[error("bytes after the last property")]
    Trailing,
    /// A flag that stands for no property.
    #[error("unknown property flags {0:#06x}")]
    Flags(u16),
    /// The headers are not a table.
    #[error("headers: {0}")]
    Headers(#[from] TableError),
}

impl From<Truncated> for PropertiesError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const KIND: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;
const NO_PROPERTY: u16 = 0b11;

/// Moves `reader` behind the value of the property `flag`.
#[inline]
fn skip(reader: &mut Reader<'_>, flag: u16) -> Result<(), Truncated> {
    match flag {
        HEADERS => reader.long_string().map(drop),
        DELIVERY_MODE | PRIORITY => reader.u8().map(drop),
        TIMESTAMP => reader.u64().map(drop),
        _ => reader.short_string().map(drop),
    }
}

/// Takes the highest flag out of `flags`; 0 when there is none.
#[inline]
fn pop_first(flags: &mut u16) -> u16 {
    let first = 0x8000_u16.checked_shr(flags.leading_zeros()).unwrap_or(0);
    *flags &= !first;
    first
}

/// The properties of a message, read in place. Most messages have none or two, so nothing is indexed: what is asked for
/// is found by walking over the values before it.
#[derive(Debug, Clone, Copy)]
pub struct Properties<'a> {
    flags: u16,
    values: &'a [u8],
}

impl<'a> Properties<'a> {
    /// Checks flags and lengths. What is inside the headers is left to whoever reads them.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PropertiesError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.u16()?;
        if flags & NO_PROPERTY != 0 {
            return Err(PropertiesError::Flags(flags));
        }
        let values = reader.rest();
        let mut ahead = flags;
        while ahead != 0 {
            skip(&mut reader, pop_first(&mut ahead))?;
        }
        if !reader.is_empty() {
            return Err(PropertiesError::Trailing);
        }
        Ok(Self { flags, values })
    }

    /// Whether nothing in them, besides delivery mode and priority, concerns the broker.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.flags & (HEADERS | REPLY_TO | EXPIRATION | USER_ID) == 0
    }

    /// MIME type of the body.
    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.short_string(CONTENT_TYPE)
    }

    /// MIME encoding of the body.
    pub fn content_encoding(&self) -> Option<&'a [u8]> {
        self.short_string(CONTENT_ENCODING)
    }

    /// The headers: a table in its wire form, without its length. For [`crate::table::find`] and [`Table::decode`].
    pub fn headers(&self) -> Option<&'a [u8]> {
        self.at(HEADERS)?.long_string().ok()
    }

    /// 2 is persistent; everything else, also nothing, is transient.
    #[inline]
    pub fn delivery_mode(&self) -> Option<u8> {
        self.at(DELIVERY_MODE)?.u8().ok()
    }

    /// Priority as the publisher wrote it.
    #[inline]
    pub fn priority(&self) -> Option<u8> {
        self.at(PRIORITY)?.u8().ok()
    }

    /// What the reply to this message refers to it by.
    pub fn correlation_id(&self) -> Option<&'a [u8]> {
        self.short_string(CORRELATION_ID)
    }

    /// Where a reply should go.
    pub fn reply_to(&self) -> Option<&'a [u8]> {
        self.short_string(REPLY_TO)
    }

    /// Time to live, in milliseconds written as decimal text; not checked here.
    #[inline]
    pub fn expiration(&self) -> Option<&'a [u8]> {
        self.short_string(EXPIRATION)
    }

    /// The publisher's name for the message.
    pub fn message_id(&self) -> Option<&'a [u8]> {
        self.short_string(MESSAGE_ID)
    }

    /// The publisher's time, in seconds.
    pub fn timestamp(&self) -> Option<u64> {
        self.at(TIMESTAMP)?.u64().ok()
    }

    /// The property `type`.
    pub fn kind(&self) -> Option<&'a [u8]> {
        self.short_string(KIND)
    }

    /// The user who says to have published it.
    pub fn user_id(&self) -> Option<&'a [u8]> {
        self.short_string(USER_ID)
    }

    /// The publishing application.
    pub fn app_id(&self) -> Option<&'a [u8]> {
        self.short_string(APP_ID)
    }

    /// Reserved; forwarded.
    pub fn cluster_id(&self) -> Option<&'a [u8]> {
        self.short_string(CLUSTER_ID)
    }

    #[inline]
    fn short_string(&self, flag: u16) -> Option<&'a [u8]> {
        self.at(flag)?.short_string().ok()
    }

    /// A reader that stands before the value of the property `flag`.
    #[inline]
    fn at(&self, flag: u16) -> Option<Reader<'a>> {
        if self.flags & flag == 0 {
            return None;
        }
        // The flags above this one: their values come first.
        let mut before = self.flags & !(flag | (flag - 1));
        let mut reader = Reader::new(self.values);
        while before != 0 {
            skip(&mut reader, pop_first(&mut before)).ok()?;
        }
        Some(reader)
    }
}

/// The properties of a message, taken apart so that they can be changed. Short strings of more than 255 octets are cut
/// when they are written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PropertiesBuf {
    /// MIME type of the body.
    pub content_type: Option<Box<[u8]>>,
    /// MIME encoding of the body.
    pub content_encoding: Option<Box<[u8]>>,
    /// The headers.
    pub headers: Option<Table>,
    /// 2 is persistent.
    pub delivery_mode: Option<u8>,
    /// Priority.
    pub priority: Option<u8>,
    /// What the reply to this message refers to it by.
    pub correlation_id: Option<Box<[u8]>>,
    /// Where a reply should go.
    pub reply_to: Option<Box<[u8]>>,
    /// Time to live, in milliseconds written as decimal text.
    pub expiration: Option<Box<[u8]>>,
    /// The publisher's name for the message.
    pub message_id: Option<Box<[u8]>>,
    /// The publisher's time, in seconds.
    pub timestamp: Option<u64>,
    /// The property `type`.
    pub kind: Option<Box<[u8]>>,
    /// The user who says to have published it.
    pub user_id: Option<Box<[u8]>>,
    /// The publishing application.
    pub app_id: Option<Box<[u8]>>,
    /// Reserved; forwarded.
    pub cluster_id: Option<Box<[u8]>>,
}

impl PropertiesBuf {
    /// Takes properties in their wire form apart, headers included.
    pub fn parse(bytes: &[u8]) -> Result<Self, PropertiesError> {
        let properties = Properties::parse(bytes)?;
        let owned = |string: Option<&[u8]>| string.map(Box::from);
        Ok(Self {
            content_type: owned(properties.content_type()),
            content_encoding: owned(properties.content_encoding()),
            headers: properties.headers().map(Table::decode).transpose()?,
            delivery_mode: properties.delivery_mode(),
            priority: properties.priority(),
            correlation_id: owned(properties.correlation_id()),
            reply_to: owned(properties.reply_to()),
            expiration: owned(properties.expiration()),
            message_id: owned(properties.message_id()),
            timestamp: properties.timestamp(),
            kind: owned(properties.kind()),
            user_id: owned(properties.user_id()),
            app_id: owned(properties.app_id()),
            cluster_id: owned(properties.cluster_id()),
        })
    }

    /// The headers, to be added to: an empty table when there were none.
    pub fn headers_mut(&mut self) -> &mut Table {
        self.headers.get_or_insert_default()
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer {
            flags: 0,
            out: vec![0; 2],
        };
        writer.short_string(CONTENT_TYPE, self.content_type.as_deref());
        writer.short_string(CONTENT_ENCODING, self.content_encoding.as_deref());
        writer.value(HEADERS, self.headers.as_ref(), |out, table| {
            table.encode(out)
        });
        writer.value(DELIVERY_MODE, self.delivery_mode, Vec::push);
        writer.value(PRIORITY, self.priority, Vec::push);
        writer.short_string(CORRELATION_ID, self.correlation_id.as_deref());
        writer.short_string(REPLY_TO, self.reply_to.as_deref());
        writer.short_string(EXPIRATION, self.expiration.as_deref());
        writer.short_string(MESSAGE_ID, self.message_id.as_deref());
        writer.value(TIMESTAMP, self.timestamp, |out, seconds| {
            out.extend_from_slice(&seconds.to_be_bytes());
        });
        writer.short_string(KIND, self.kind.as_deref());
        writer.short_string(USER_ID, self.user_id.as_deref());
        writer.short_string(APP_ID, self.app_id.as_deref());
        writer.short_string(CLUSTER_ID, self.cluster_id.as_deref());
        writer.finish()
    }
}

/// Writes values one behind the other and the flags that say which before them.
struct Writer {
    flags: u16,
    out: Vec<u8>,
}

impl Writer {
    fn value<T>(&mut self, flag: u16, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
        if let Some(value) = value {
            self.flags |= flag;
            write(&mut self.out, value);
        }
    }

    fn short_string(&mut self, flag: u16, string: Option<&[u8]>) {
        self.value(flag, string, put_short_string);
    }

    fn finish(mut self) -> Vec<u8> {
        self.out[..2].copy_from_slice(&self.flags.to_be_bytes());
        self.out
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;
    use crate::table::Value;

    /// Every property set, in wire form.
    const FULL: &[u8] =
        b"\xff\xfc\x02ct\x02ce\x00\x00\x00\x04\x01kt\x01\x02\x09\x02ci\x02rt\x0260\x02mi\
        \x00\x00\x00\x00\x00\x00\x01\x00\x02ty\x02us\x02ap\x02cl";

    #[test]
    fn every_property_is_read() {
        let all = Properties::parse(FULL).unwrap();
        assert_eq!(all.content_type(), Some(b"ct".as_slice()));
        assert_eq!(all.content_encoding(), Some(b"ce".as_slice()));
        assert_eq!(all.headers(), Some(b"\x01kt\x01".as_slice()));
        assert_eq!(all.delivery_mode(), Some(2));
        assert_eq!(all.priority(), Some(9));
        assert_eq!(all.correlation_id(), Some(b"ci".as_slice()));
        assert_eq!(all.reply_to(), Some(b"rt".as_slice()));
        assert_eq!(all.expiration(), Some(b"60".as_slice()));
        assert_eq!(all.message_id(), Some(b"mi".as_slice()));
        assert_eq!(all.timestamp(), Some(256));
        assert_eq!(all.kind(), Some(b"ty".as_slice()));
        assert_eq!(all.user_id(), Some(b"us".as_slice()));
        assert_eq!(all.app_id(), Some(b"ap".as_slice()));
        assert_eq!(all.cluster_id(), Some(b"cl".as_slice()));
    }

    #[test]
    fn properties_that_are_not_set_are_none() {
        let none = Properties::parse(b"\0\0").unwrap();
        assert_eq!(none.content_type(), None);
        assert_eq!(none.headers(), None);
        assert_eq!(none.delivery_mode(), None);
        assert_eq!(none.cluster_id(), None);
        let last = Properties::parse(b"\x00\x04\x01c").unwrap();
        assert_eq!(last.app_id(), None);
        assert_eq!(last.cluster_id(), Some(b"c".as_slice()));
    }

    #[test]
    fn taking_apart_and_writing_gives_the_same_bytes() {
        for bytes in [FULL, b"\0\0", b"\x10\x00\x02", b"\x20\x00\x00\x00\x00\x00"] {
            assert_eq!(PropertiesBuf::parse(bytes).unwrap().encode(), bytes);
        }
    }

    #[test]
    fn a_change_moves_nothing_else() {
        let mut all = PropertiesBuf::parse(FULL).unwrap();
        all.expiration = None;
        all.headers_mut().remove("k");
        all.reply_to = Some(b"elsewhere".as_slice().into());
        let bytes = all.encode();
        let read = Properties::parse(&bytes).unwrap();
        assert_eq!(read.expiration(), None);
        assert_eq!(read.headers(), Some([].as_slice()));
        assert_eq!(read.reply_to(), Some(b"elsewhere".as_slice()));
        assert_eq!(read.message_id(), Some(b"mi".as_slice()));
    }

    fn any_properties() -> impl Strategy<Value = PropertiesBuf> {
        let short = || option::of(vec(any::<u8>(), 0..20).prop_map(Box::from));
        let headers = option::of(vec((".{0,5}", any::<i64>().prop_map(Value::from)), 0..4));
        let octets = any::<(Option<u8>, Option<u8>, Option<u64>)>();
        let shorts = [(); 10].map(|()| short());
        (headers, octets, shorts).prop_map(
            |(headers, (delivery_mode, priority, timestamp), shorts)| {
                let [
                    content_type,
                    content_encoding,
                    correlation_id,
                    reply_to,
                    expiration,
                    message_id,
                    kind,
                    user_id,
                    app_id,
                    cluster_id,
                ] = shorts;
                PropertiesBuf {
                    content_type,
                    content_encoding,
                    headers: headers.map(Table::from_iter),
                    delivery_mode,
                    priority,
                    correlation_id,
                    reply_to,
                    expiration,
                    message_id,
                    timestamp,
                    kind,
                    user_id,
                    app_id,
                    cluster_id,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn any_properties_come_back(properties in any_properties()) {
            let bytes = properties.encode();
            prop_assert_eq!(PropertiesBuf::parse(&bytes), Ok(properties));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Properties::parse(&bytes[..cut]).err(), Some(PropertiesError::Truncated));
            }
        }
    }

    #[test]
    fn damaged_properties_are_refused() {
        let check = |bytes: &[u8], error| assert_eq!(Properties::parse(bytes).err(), Some(error));
        for cut in 0..FULL.len() {
            check(&FULL[..cut], PropertiesError::Truncated);
        }
        check(&[FULL, b"!"].concat(), PropertiesError::Trailing);
        check(b"\0\x01\0\0", PropertiesError::Flags(1));
        check(b"\0\x02", PropertiesError::Flags(2));
        check(b"\x20\0\xff\xff\xff\xff", PropertiesError::Truncated);
        assert_eq!(
            PropertiesBuf::parse(b"\x20\0\0\0\0\x02\x00?"),
            Err(PropertiesError::Headers(TableError::Type(b'?')))
        );
    }
}
