//! Events as messages of `amq.rabbitmq.event`, with the headers that RabbitMQ's plugin gives them (protocol
//! `amqp_0_9_1`): Erlang terms where it has no other form for them.

use std::net::IpAddr;

use super::Event;
use crate::exchange::printed;
use crate::message::Message;
use crate::properties::PropertiesBuf;
use crate::table::{Table, Value};

/// Where events are published: a topic exchange that clients can't publish to.
pub const EXCHANGE: &str = "amq.rabbitmq.event";

impl Event {
    /// The message that tells of it; `at_ms` is when it happened, ms since 1970.
    pub(crate) fn message(&self, at_ms: u64) -> Message {
        let properties = PropertiesBuf {
            headers: Some(self.headers(at_ms)),
            delivery_mode: Some(2),
            timestamp: Some(at_ms / 1000),
            ..PropertiesBuf::default()
        };
        let (exchange, key) = (EXCHANGE.as_bytes(), self.name.as_bytes());
        Message::new(exchange, key, &properties.encode(), b"")
    }

    /// Its properties in the form in which RabbitMQ's plugin and tools show them, by name.
    pub fn headers(&self, at_ms: u64) -> Table {
        let mut headers: Vec<(&str, Value)> = self
            .properties
            .iter()
            .map(|(name, value)| (name, shown(name, value)))
            .chain([("timestamp_in_ms", Value::I64(at_ms.cast_signed()))])
            .collect();
        headers.sort_unstable_by_key(|(name, _)| *name);
        let headers = headers.into_iter();
        headers
            .map(|(name, value)| (Box::from(name), value))
            .collect()
    }
}

fn shown(name: &str, value: &Value) -> Value {
    match (name, value) {
        ("arguments" | "client_properties", Value::Table(table)) => {
            let entries = table.iter().map(|(name, value)| entry(name, value));
            Value::Array(entries.map(|it| super::text(&it)).collect())
        }
        ("host" | "peer_host", Value::String(address)) => {
            let address = std::str::from_utf8(address).unwrap_or_default();
            address
                .parse()
                .map_or_else(|_| value.clone(), |ip| super::text(&tuple(ip)))
        }
        ("protocol", Value::String(protocol)) if **protocol == *b"AMQP 0-9-1" => {
            super::text("{0,9,1}")
        }
        _ => value.clone(),
    }
}

/// An address as Erlang prints it.
fn tuple(address: IpAddr) -> String {
    let parts: Vec<String> = match address.to_canonical() {
        IpAddr::V4(address) => address.octets().iter().map(u8::to_string).collect(),
        IpAddr::V6(address) => address.segments().iter().map(u16::to_string).collect(),
    };
    format!("{{{}}}", parts.join(","))
}

/// An entry of a table as Erlang prints it.
fn entry(name: &str, value: &Value) -> String {
    let name = printed(&super::text(name));
    format!("{{{name},{}}}", typed(value))
}

fn typed(value: &Value) -> String {
    match value {
        Value::Void => "void,undefined".to_owned(),
        Value::String(_) => format!("longstr,{}", printed(value)),
        Value::Bytes(_) => format!("binary,{}", printed(value)),
        Value::Table(table) => {
            let entries = table.iter().map(|(name, value)| entry(name, value));
            format!("table,[{}]", entries.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| format!("{{{}}}", typed(item)));
            format!("array,[{}]", items.collect::<Vec<_>>().join(","))
        }
        other => format!("{},{}", other.type_name(), printed(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_rabbitmq_shows_them() {
        let check = |name, value, expected: Value| assert_eq!(shown(name, &value), expected);
        let text = super::super::text;
        let table = |entries: &[(&str, Value)]| {
            let entries = entries.iter().cloned();
            Value::Table(
                entries
                    .map(|(name, value)| (Box::from(name), value))
                    .collect(),
            )
        };
        check("peer_host", text("127.0.0.1"), text("{127,0,0,1}"));
        check("host", text("::1"), text("{0,0,0,0,0,0,0,1}"));
        check("host", text("::ffff:10.0.0.1"), text("{10,0,0,1}"));
        check("protocol", text("AMQP 0-9-1"), text("{0,9,1}"));
        check("name", text("127.0.0.1"), text("127.0.0.1"));
        let arguments = table(&[
            ("x-max-length", Value::I32(5)),
            ("x-queue-type", text("classic")),
            ("nested", table(&[("yes", Value::Bool(true))])),
            ("list", Value::Array(vec![text("a"), Value::I64(1)])),
        ]);
        let expected = [
            "{<<\"x-max-length\">>,signedint,5}",
            "{<<\"x-queue-type\">>,longstr,<<\"classic\">>}",
            "{<<\"nested\">>,table,[{<<\"yes\">>,bool,true}]}",
            "{<<\"list\">>,array,[{longstr,<<\"a\">>},{long,1}]}",
        ];
        let expected = Value::Array(expected.map(text).into());
        check("arguments", arguments.clone(), expected);
        check("definition", arguments.clone(), arguments);
    }
}
