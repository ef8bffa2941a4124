//! Events as lines of JSON, as RabbitMQ's tools print them.

use leveret_broker::events::Event;
use leveret_broker::table::Value;

use crate::answer::{Answer, Body, Reply};
use crate::call::Call;
use crate::table::TableJson;

/// A line that tells of an event; `at_ms` is when it happened, ms since 1970.
pub fn event_line(event: &Event, at_ms: u64) -> Vec<u8> {
    let mut fields = event.headers(at_ms);
    fields.insert("event", Value::String(event.name.as_bytes().into()));
    let mut line = Vec::new();
    crate::json::write(&mut line, &TableJson(&fields));
    line.push(b'\n');
    line
}

/// All that happens from now on, until the client goes.
pub(crate) fn listen(_: &Call<'_>) -> Reply {
    Ok(Answer::text("application/x-ndjson", Body::Events))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let name = (Box::from("name"), Value::String(b"q\n".as_slice().into()));
        let event = Event {
            name: "queue.deleted",
            properties: [name].into_iter().collect(),
        };
        let line = String::from_utf8(event_line(&event, 5)).unwrap();
        let expected = r#"{"name":"q\n","timestamp_in_ms":5,"event":"queue.deleted"}"#;
        assert_eq!(line, format!("{expected}\n"));
    }
}
