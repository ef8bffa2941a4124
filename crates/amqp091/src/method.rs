//! Every method of AMQP 0-9-1 as RabbitMQ speaks it, in both directions, from one table.
//!
//! ```text
//! payload of a method frame   u16 class | u16 method | arguments
//! ```
//!
//! The names of the fields are those of the specification. Fields that it reserves stand in brackets in the table: they
//! are written as zero and skipped when read. Decoding borrows from the frame.

use leveret_broker::wire::Reader;
use thiserror::Error;

pub use crate::field::RawTable;
use crate::field::{FieldError, FieldReader, FieldWriter};
use crate::frame::{self, FrameType};

/// Why the payload of a method frame is not a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MethodError {
    /// There is no such method.
    #[error("unknown method {method} of class {class}")]
    Unknown {
        /// The class it claims.
        class: u16,
        /// The number in that class.
        method: u16,
    },
    /// The arguments end inside a field.
    #[error("method ends inside a field")]
    Truncated,
    /// There are octets behind the last argument.
    #[error("octets after the last field of a method")]
    Trailing,
    /// A name is not UTF-8.
    #[error("name is not UTF-8")]
    NotUtf8,
}

impl From<FieldError> for MethodError {
    fn from(error: FieldError) -> Self {
        match error {
            FieldError::Truncated => Self::Truncated,
            FieldError::NotUtf8 => Self::NotUtf8,
        }
    }
}

/// The Rust type of a field. A `name` must be UTF-8; other short and long strings are any octets.
macro_rules! field_type {
    (bit) => { bool };
    (octet) => { u8 };
    (short) => { u16 };
    (long) => { u32 };
    (long_long) => { u64 };
    (name) => { &'a str };
    (short_string) => { &'a [u8] };
    (long_string) => { &'a [u8] };
    (table) => { RawTable<'a> };
}

macro_rules! methods {
    ($($class:literal $method:literal $name:literal $type:ident $(<$a:lifetime>)? {
        $([$before:ident])? $($field:ident: $kind:ident),* $(; [$($after:ident),*])?
    })*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
            pub struct $type $(<$a>)? {
                $(pub $field: field_type!($kind),)*
            }

            impl<'a> From<$type $(<$a>)?> for Method<'a> {
                #[inline]
                fn from(method: $type $(<$a>)?) -> Self {
                    Self::$type(method)
                }
            }
        )*

        /// A method with its arguments.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Method<'a> {
            $($type($type $(<$a>)?),)*
        }

        impl<'a> Method<'a> {
            /// Reads the payload of a method frame.
            #[inline]
            pub fn decode(payload: &'a [u8]) -> Result<Self, MethodError> {
                let mut reader = Reader::new(payload);
                let mut short = || reader.u16().map_err(|_| MethodError::Truncated);
                let id = (short()?, short()?);
                let mut fields = FieldReader::new(reader);
                let method = match id {
                    $(($class, $method) => {
                        $(let _ = fields.$before()?;)?
                        let method = $type { $($field: fields.$kind()?,)* };
                        $($(let _ = fields.$after()?;)*)?
                        Self::$type(method)
                    })*
                    (class, method) => return Err(MethodError::Unknown { class, method }),
                };
                if fields.is_empty() { Ok(method) } else { Err(MethodError::Trailing) }
            }

            /// Writes the arguments.
            fn encode_fields(&self, fields: &mut FieldWriter<'_>) {
                match self {
                    $(Self::$type($type { $($field),* }) => {
                        $(fields.$before(Default::default());)?
                        $(fields.$kind(*$field);)*
                        $($(fields.$after(Default::default());)*)?
                    })*
                }
                let _ = fields;
            }

            /// Class and method number.
            pub fn ids(&self) -> (u16, u16) {
                match self {
                    $(Self::$type(_) => ($class, $method),)*
                }
            }

            /// Its name in the specification, such as `queue.declare-ok`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$type(_) => $name,)*
                }
            }
        }

        /// One of each, its fields from `values`.
        #[cfg(test)]
        fn one_of_each(values: &mut tests::Values) -> Vec<Method<'static>> {
            vec![$($type { $($field: values.$kind(),)* }.into()),*]
        }
    };
}

methods! {
    10 10 "connection.start" ConnectionStart<'a> {
        version_major: octet, version_minor: octet, server_properties: table,
        mechanisms: long_string, locales: long_string
    }
    10 11 "connection.start-ok" ConnectionStartOk<'a> {
        client_properties: table, mechanism: name, response: long_string, locale: name
    }
    10 20 "connection.secure" ConnectionSecure<'a> { challenge: long_string }
    10 21 "connection.secure-ok" ConnectionSecureOk<'a> { response: long_string }
    10 30 "connection.tune" ConnectionTune { channel_max: short, frame_max: long, heartbeat: short }
    10 31 "connection.tune-ok" ConnectionTuneOk {
        channel_max: short, frame_max: long, heartbeat: short
    }
    10 40 "connection.open" ConnectionOpen<'a> {
        virtual_host: name; [short_string, bit]
    }
    10 41 "connection.open-ok" ConnectionOpenOk { [short_string] }
    10 50 "connection.close" ConnectionClose<'a> {
        reply_code: short, reply_text: short_string, class_id: short, method_id: short
    }
    10 51 "connection.close-ok" ConnectionCloseOk {}
    10 60 "connection.blocked" ConnectionBlocked<'a> { reason: short_string }
    10 61 "connection.unblocked" ConnectionUnblocked {}
    10 70 "connection.update-secret" ConnectionUpdateSecret<'a> {
        new_secret: long_string, reason: short_string
    }
    10 71 "connection.update-secret-ok" ConnectionUpdateSecretOk {}

    20 10 "channel.open" ChannelOpen { [short_string] }
    20 11 "channel.open-ok" ChannelOpenOk { [long_string] }
    20 20 "channel.flow" ChannelFlow { active: bit }
    20 21 "channel.flow-ok" ChannelFlowOk { active: bit }
    20 40 "channel.close" ChannelClose<'a> {
        reply_code: short, reply_text: short_string, class_id: short, method_id: short
    }
    20 41 "channel.close-ok" ChannelCloseOk {}

    30 10 "access.request" AccessRequest<'a> {
        realm: short_string, exclusive: bit, passive: bit, active: bit, write: bit, read: bit
    }
    30 11 "access.request-ok" AccessRequestOk { ticket: short }

    40 10 "exchange.declare" ExchangeDeclare<'a> {
        [short] exchange: name, kind: name, passive: bit, durable: bit, auto_delete: bit,
        internal: bit, no_wait: bit, arguments: table
    }
    40 11 "exchange.declare-ok" ExchangeDeclareOk {}
    40 20 "exchange.delete" ExchangeDelete<'a> {
        [short] exchange: name, if_unused: bit, no_wait: bit
    }
    40 21 "exchange.delete-ok" ExchangeDeleteOk {}
    40 30 "exchange.bind" ExchangeBind<'a> {
        [short] destination: name, source: name, routing_key: short_string, no_wait: bit,
        arguments: table
    }
    40 31 "exchange.bind-ok" ExchangeBindOk {}
    40 40 "exchange.unbind" ExchangeUnbind<'a> {
        [short] destination: name, source: name, routing_key: short_string, no_wait: bit,
        arguments: table
    }
    40 51 "exchange.unbind-ok" ExchangeUnbindOk {}

    50 10 "queue.declare" QueueDeclare<'a> {
        [short] queue: name, passive: bit, durable: bit, exclusive: bit, auto_delete: bit,
        no_wait: bit, arguments: table
    }
    50 11 "queue.declare-ok" QueueDeclareOk<'a> {
        queue: name, message_count: long, consumer_count: long
    }
    50 20 "queue.bind" QueueBind<'a> {
        [short] queue: name, exchange: name, routing_key: short_string, no_wait: bit,
        arguments: table
    }
    50 21 "queue.bind-ok" QueueBindOk {}
    50 30 "queue.purge" QueuePurge<'a> { [short] queue: name, no_wait: bit }
    50 31 "queue.purge-ok" QueuePurgeOk { message_count: long }
    50 40 "queue.delete" QueueDelete<'a> {
        [short] queue: name, if_unused: bit, if_empty: bit, no_wait: bit
    }
    50 41 "queue.delete-ok" QueueDeleteOk { message_count: long }
    50 50 "queue.unbind" QueueUnbind<'a> {
        [short] queue: name, exchange: name, routing_key: short_string, arguments: table
    }
    50 51 "queue.unbind-ok" QueueUnbindOk {}

    60 10 "basic.qos" BasicQos { prefetch_size: long, prefetch_count: short, global: bit }
    60 11 "basic.qos-ok" BasicQosOk {}
    60 20 "basic.consume" BasicConsume<'a> {
        [short] queue: name, consumer_tag: name, no_local: bit, no_ack: bit, exclusive: bit,
        no_wait: bit, arguments: table
    }
    60 21 "basic.consume-ok" BasicConsumeOk<'a> { consumer_tag: name }
    60 30 "basic.cancel" BasicCancel<'a> { consumer_tag: name, no_wait: bit }
    60 31 "basic.cancel-ok" BasicCancelOk<'a> { consumer_tag: name }
    60 40 "basic.publish" BasicPublish<'a> {
        [short] exchange: name, routing_key: short_string, mandatory: bit, immediate: bit
    }
    60 50 "basic.return" BasicReturn<'a> {
        reply_code: short, reply_text: short_string, exchange: short_string, routing_key: short_string
    }
    60 60 "basic.deliver" BasicDeliver<'a> {
        consumer_tag: name, delivery_tag: long_long, redelivered: bit, exchange: short_string,
        routing_key: short_string
    }
    60 70 "basic.get" BasicGet<'a> { [short] queue: name, no_ack: bit }
    60 71 "basic.get-ok" BasicGetOk<'a> {
        delivery_tag: long_long, redelivered: bit, exchange: short_string,
        routing_key: short_string, message_count: long
    }
    60 72 "basic.get-empty" BasicGetEmpty { [short_string] }
    60 80 "basic.ack" BasicAck { delivery_tag: long_long, multiple: bit }
    60 90 "basic.reject" BasicReject { delivery_tag: long_long, requeue: bit }
    60 100 "basic.recover-async" BasicRecoverAsync { requeue: bit }
    60 110 "basic.recover" BasicRecover { requeue: bit }
    60 111 "basic.recover-ok" BasicRecoverOk {}
    60 120 "basic.nack" BasicNack { delivery_tag: long_long, multiple: bit, requeue: bit }

    85 10 "confirm.select" ConfirmSelect { no_wait: bit }
    85 11 "confirm.select-ok" ConfirmSelectOk {}

    90 10 "tx.select" TxSelect {}
    90 11 "tx.select-ok" TxSelectOk {}
    90 20 "tx.commit" TxCommit {}
    90 21 "tx.commit-ok" TxCommitOk {}
    90 30 "tx.rollback" TxRollback {}
    90 31 "tx.rollback-ok" TxRollbackOk {}
}

impl Method<'_> {
    /// Writes the whole frame.
    pub fn encode(&self, channel: u16, out: &mut Vec<u8>) {
        frame::put(out, FrameType::Method, channel, |out| {
            let (class, method) = self.ids();
            out.extend_from_slice(&class.to_be_bytes());
            out.extend_from_slice(&method.to_be_bytes());
            self.encode_fields(&mut FieldWriter::new(out));
        });
    }

    /// Whether a content header and a body follow.
    pub fn has_content(&self) -> bool {
        matches!(
            self,
            Self::BasicPublish(_)
                | Self::BasicReturn(_)
                | Self::BasicDeliver(_)
                | Self::BasicGetOk(_)
        )
    }
}

// The two methods that come once per message are read without going through the enum of all, which is large to move.
// What is wrong with one of them is for `Method::decode` to find.

impl<'a> BasicPublish<'a> {
    /// Reads the payload of a method frame if it is a `basic.publish` without fault.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Option<Self> {
        let arguments = payload.strip_prefix(&[0, 60, 0, 40])?;
        let mut fields = FieldReader::new(Reader::new(arguments));
        fields.short().ok()?;
        let publish = Self {
            exchange: fields.name().ok()?,
            routing_key: fields.short_string().ok()?,
            mandatory: fields.bit().ok()?,
            immediate: fields.bit().ok()?,
        };
        fields.is_empty().then_some(publish)
    }
}

impl BasicAck {
    /// Reads the payload of a method frame if it is a `basic.ack` without fault.
    #[inline]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let &[0, 60, 0, 80, t7, t6, t5, t4, t3, t2, t1, t0, bits] = payload else {
            return None;
        };
        Some(Self {
            delivery_tag: u64::from_be_bytes([t7, t6, t5, t4, t3, t2, t1, t0]),
            multiple: bits & 1 == 1,
        })
    }
}

#[cfg(test)]
mod tests;
