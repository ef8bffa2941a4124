//! The broker itself: virtual hosts, exchanges, bindings, queues, consumers, permissions and the catalogue of
//! definitions. Plain functions that run to the end: no socket, no thread, no clock and no randomness live here; time
//! and random bits come in as arguments, disk behind `leveret-storage`.
#![forbid(unsafe_code)]

pub mod alarm;
pub mod arguments;
pub mod authority;
pub mod broker;
pub mod catalogue;
pub mod channel;
pub mod connections;
pub mod counters;
mod dead_letter;
pub mod error;
pub mod events;
pub mod exchange;
pub mod flows;
pub mod ids;
mod interceptors;
mod last;
pub mod live_queue;
pub mod login_sources;
pub mod mailbox;
pub mod message;
pub mod options;
pub mod paging;
pub mod policies;
pub mod principal;
pub mod properties;
pub mod publish;
pub mod queue;
mod record;
pub mod reply_to;
pub mod shovel;
pub mod table;
pub mod time;
pub mod timers;
pub mod users;
pub mod wire;

/// The log that a node is started on: its types are part of this crate's interface.
pub use leveret_storage as storage;
pub use leveret_storage::Lsn;
