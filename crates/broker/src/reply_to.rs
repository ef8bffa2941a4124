//! Direct reply-to: consumers of `amq.rabbitmq.reply-to`, to whom replies go without a queue.
//! RABBITMQ: "Direct Reply-to".

use std::sync::Arc;

use parking_lot::RwLock;

use crate::catalogue::Map;
use crate::mailbox::{ConsumerKey, Event, FULL_BYTES, Mailbox};
use crate::message::Message;
use crate::queue::{Counts, Delivery, Stamp};

/// The name that requesters consume from and write into `reply-to`.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// What responders see in `reply-to`: this, then the token in hexadecimal.
pub(crate) const ADDRESS: &str = "amq.rabbitmq.reply-to.";

/// The consumers there are, by the token in their address. A token is random: it is all that a responder needs.
#[derive(Debug, Default)]
pub(crate) struct ReplyConsumers {
    by_token: RwLock<Map<u128, ReplyConsumer>>,
}

#[derive(Debug, Clone)]
pub(crate) struct ReplyConsumer {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) channel: u16,
    pub(crate) key: ConsumerKey,
}

/// The address of the consumer with that token.
pub(crate) fn address(token: u128) -> String {
    format!("{ADDRESS}{token:032x}")
}

/// The token in a routing key or queue name, if it is such an address.
pub(crate) fn token(key: &[u8]) -> Option<u128> {
    let digits = key.strip_prefix(ADDRESS.as_bytes())?;
    u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Whether a message goes to a reply address instead of a queue.
pub(crate) fn is_address(message: &Message) -> bool {
    message.exchange().is_empty() && message.routing_key().starts_with(ADDRESS.as_bytes())
}

impl ReplyConsumers {
    pub(crate) fn add(&self, token: u128, consumer: ReplyConsumer) {
        self.by_token.write().insert(token, consumer);
    }

    pub(crate) fn remove(&self, token: u128) {
        self.by_token.write().remove(&token);
    }

    pub(crate) fn is_alive(&self, token: u128) -> bool {
        self.by_token.read().contains_key(&token)
    }

    /// Hands a reply over; `false` when the requester is gone. The reply is dropped when the requester reads so slowly that
    /// its mailbox is full.
    pub(crate) fn deliver(&self, message: &Message) -> bool {
        let consumer = token(message.routing_key())
            .and_then(|token| self.by_token.read().get(&token).cloned());
        let Some(consumer) = consumer else {
            return false;
        };
        let ReplyConsumer {
            mailbox,
            channel,
            key,
        } = consumer;
        if mailbox.bytes() > FULL_BYTES {
            return true;
        }
        let delivery = Delivery {
            id: None,
            message: message.clone(),
            redelivered: false,
            stamp: Stamp::Counts(Counts::default()),
        };
        mailbox.put(Event::Deliver {
            channel,
            consumer: key,
            delivery,
        });
        true
    }
}
