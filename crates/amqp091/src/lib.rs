//! The AMQP 0-9-1 front door: bytes in, bytes out, no socket. [`connection::Connection`] is what a server drives;
//! its channels are in `channel`.
//!
//! The wire format, from the outside in: [`protocol_header`] opens a connection, [`frame`] splits what follows,
//! [`method`] and [`content_header`] read what is in a frame, [`content`] writes whole messages.
#![forbid(unsafe_code)]

mod channel;
pub mod connection;
pub mod content;
pub mod content_header;
mod fault;
mod field;
pub mod frame;
pub mod method;
mod output;
pub mod protocol_header;
pub mod reply_code;
pub mod sasl;

/// The rest of the wire format, which the broker reads as well.
pub use leveret_broker::{properties, table};
