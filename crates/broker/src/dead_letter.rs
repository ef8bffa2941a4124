//! What happens to a message that dies in a queue: its `x-death` history, and the keys it is published with next.
//! RABBITMQ: "Dead Letter Exchanges".

use crate::live_queue::{DeadLetterTo, LiveQueue};
use crate::message::Message;
use crate::properties::{PropertiesBuf, PropertiesError};
use crate::queue::Reason;
use crate::table::{Table, Value};
use crate::time::Timestamp;

/// A dead message, ready to be published again.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) message: Message,
    /// The key it is routed by, and unless its queue has another for it, its further keys.
    pub(crate) keys: Vec<Box<[u8]>>,
    /// Queues it has died in, with the reason, newest first: for [`Dead::is_cycle`].
    deaths: Vec<(Box<str>, Box<str>)>,
}

/// RabbitMQ's word for a reason.
pub(crate) fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Rejected => "rejected",
        Reason::Expired => "expired",
        Reason::MaxLength => "maxlen",
        Reason::DeliveryLimit => "delivery_limit",
    }
}

/// Prepares the message that died in `queue` for its dead-letter exchange.
pub(crate) fn prepare(
    queue: &LiveQueue,
    to: &DeadLetterTo,
    message: &Message,
    reason: Reason,
    now: Timestamp,
) -> Result<Dead, PropertiesError> {
    let mut properties = PropertiesBuf::parse(message.properties())?;
    let mut headers = properties.headers.take().unwrap_or_default();
    let keys = keys_before(message, &headers);
    headers.remove("BCC");
    let mut deaths = match headers.remove("x-death") {
        Some(Value::Array(deaths)) if message.has_died() => deaths,
        _ => Vec::new(),
    };
    let expiration = properties.expiration.take();
    record_death(&mut deaths, queue, message, reason, &keys, expiration, now);
    let history = deaths
        .iter()
        .filter_map(Value::as_table)
        .map(death_of)
        .collect();
    headers.insert("x-death", Value::Array(deaths));
    stamp(&mut headers, "x-last-death", queue, reason, message);
    if !message.has_died() {
        stamp(&mut headers, "x-first-death", queue, reason, message);
    }
    let (key, keys, blind) = match &to.routing_key {
        Some(key) => (key.clone(), vec![key.clone()], Vec::new()),
        None => {
            let blind: Vec<Box<[u8]>> = message.blind_keys().map(Box::from).collect();
            let keys = [keys, blind.clone()].concat();
            (message.routing_key().into(), keys, blind)
        }
    };
    properties.headers = Some(headers);
    let message = Message::new(
        to.exchange.as_bytes(),
        &key,
        &properties.encode(),
        message.body(),
    )
    .with_blind_keys(&blind)
    .marked_died();
    Ok(Dead {
        message,
        keys,
        deaths: history,
    })
}

impl Dead {
    /// Whether putting the message into `queue` would close a cycle that no client took part in: it has died there
    /// before, and was not rejected anywhere since. Such a message is dropped.
    pub(crate) fn is_cycle(&self, queue: &str) -> bool {
        let Some(last) = self.deaths.iter().position(|(name, _)| &**name == queue) else {
            return false;
        };
        self.deaths[..=last]
            .iter()
            .all(|(_, reason)| &**reason != "rejected")
    }
}

/// The message's own key and those of its CC header: what its history may tell.
fn keys_before(message: &Message, headers: &Table) -> Vec<Box<[u8]>> {
    let copies = headers
        .get("CC")
        .and_then(Value::as_array)
        .unwrap_or_default();
    let copies = copies.iter().filter_map(|value| match value {
        Value::String(key) => Some(key.clone()),
        _ => None,
    });
    std::iter::once(message.routing_key().into())
        .chain(copies)
        .collect()
}

/// Adds a death to the history: one entry per queue and reason, the newest first.
fn record_death(
    deaths: &mut Vec<Value>,
    queue: &LiveQueue,
    message: &Message,
    reason: Reason,
    keys: &[Box<[u8]>],
    expiration: Option<Box<[u8]>>,
    now: Timestamp,
) {
    let same = |value: &Value| {
        value
            .as_table()
            .map(death_of)
            .is_some_and(|(name, why)| *name == *queue.name() && &*why == reason_name(reason))
    };
    if let Some(at) = deaths.iter().position(same)
        && let Value::Table(mut entry) = deaths.remove(at)
    {
        let count = entry.get("count").and_then(Value::as_i64).unwrap_or(0);
        entry.insert("count", Value::I64(count + 1));
        deaths.insert(0, Value::Table(entry));
        return;
    }
    let keys = keys.iter().cloned().map(Value::String).collect();
    let mut entry: Table = [
        ("count", Value::I64(1)),
        ("exchange", Value::String(message.exchange().into())),
        ("queue", text(queue.name())),
        ("reason", text(reason_name(reason))),
        ("routing-keys", Value::Array(keys)),
        ("time", Value::Timestamp(now.0 / 1000)),
    ]
    .into_iter()
    .map(|(name, value)| (Box::from(name), value))
    .collect();
    if let Some(expiration) = expiration {
        entry.insert("original-expiration", Value::String(expiration));
    }
    deaths.insert(0, Value::Table(entry));
}

/// Queue and reason of an entry of `x-death`.
fn death_of(entry: &Table) -> (Box<str>, Box<str>) {
    let text = |name| {
        entry
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .into()
    };
    (text("queue"), text("reason"))
}

/// Writes the three `x-first-death-*` or `x-last-death-*` headers.
fn stamp(headers: &mut Table, prefix: &str, queue: &LiveQueue, reason: Reason, message: &Message) {
    headers.insert(format!("{prefix}-reason"), text(reason_name(reason)));
    headers.insert(format!("{prefix}-queue"), text(queue.name()));
    headers.insert(
        format!("{prefix}-exchange"),
        Value::String(message.exchange().into()),
    );
}

fn text(text: &str) -> Value {
    Value::String(text.as_bytes().into())
}
