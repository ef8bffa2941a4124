//! What the node notes in messages on their way in and out (H27, `message_interceptors.*`), in the headers that RabbitMQ
//! uses. Nothing is noted unless it was asked for, and then the message's properties are written anew.

use crate::message::Message;
use crate::options::{Interceptors, Overwrite};
use crate::properties::PropertiesBuf;
use crate::table::Value;
use crate::time::Timestamp;

const RECEIVED_AT: &str = "timestamp_in_ms";
const ROUTED_BY: &str = "x-routed-by";
const SENT_AT: &str = "x-opt-rabbitmq-sent-time";

impl Interceptors {
    /// Whether anything is noted in messages that come.
    pub(crate) fn is_any_incoming(&self) -> bool {
        self.timestamp.is_some() || self.routing_node.is_some()
    }

    /// Notes in a message that has come to `node`.
    pub(crate) fn incoming(&self, properties: &mut PropertiesBuf, node: &str, now: Timestamp) {
        if let Some(overwrite) = self.timestamp {
            note(properties, overwrite, RECEIVED_AT, now_value(now));
            if overwrite == Overwrite::Yes || properties.timestamp.is_none() {
                properties.timestamp = Some(now.0 / 1000);
            }
        }
        if let Some(overwrite) = self.routing_node {
            let node = Value::String(node.as_bytes().into());
            note(properties, overwrite, ROUTED_BY, node);
        }
    }

    /// The message as it is sent to a client now. `None`: as it is.
    pub fn outgoing(&self, message: &Message, now: Timestamp) -> Option<Message> {
        if !self.sent_time {
            return None;
        }
        let mut properties = PropertiesBuf::parse(message.properties()).ok()?;
        properties.headers_mut().insert(SENT_AT, now_value(now));
        let (exchange, key) = (message.exchange(), message.routing_key());
        Some(Message::new(
            exchange,
            key,
            &properties.encode(),
            message.body(),
        ))
    }
}

fn note(properties: &mut PropertiesBuf, overwrite: Overwrite, name: &str, value: Value) {
    let headers = properties.headers_mut();
    if overwrite == Overwrite::Yes || headers.get(name).is_none() {
        headers.insert(name, value);
    }
}

fn now_value(now: Timestamp) -> Value {
    Value::I64(now.0.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timestamp_is_set_as_the_header_is() {
        let check = |overwrite, before, expected| {
            let interceptors = Interceptors {
                timestamp: Some(overwrite),
                ..Interceptors::default()
            };
            let mut properties = PropertiesBuf {
                timestamp: before,
                ..PropertiesBuf::default()
            };
            interceptors.incoming(&mut properties, "rabbit@here", Timestamp(1_234_567));
            assert_eq!(properties.timestamp, Some(expected));
            let header = properties.headers_mut().get(RECEIVED_AT);
            assert_eq!(header, Some(&Value::I64(1_234_567)));
        };
        check(Overwrite::No, None, 1234);
        check(Overwrite::No, Some(7), 7);
        check(Overwrite::Yes, None, 1234);
        check(Overwrite::Yes, Some(7), 1234);
    }
}
