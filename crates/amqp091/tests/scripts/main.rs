//! Scripts of what clients do and what they see, played to [`leveret_amqp091::connection::Connection`] without a socket
//! and in virtual time. See [`world`] for how they read.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod administration;
mod backends;
mod channels;
mod consumers;
mod dead_letters;
mod definitions;
mod events;
mod firehose;
mod handshake;
mod interceptors;
mod listings;
mod liveness;
mod operator;
mod permissions;
mod policies;
mod publishes;
mod recovery;
mod streams;
mod words;
mod world;
