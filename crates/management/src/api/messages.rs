//! Messages over HTTP: publish one, get some. Made for people and tests; a program should speak AMQP. What operators do to the
//! messages of a queue is in `browse` and `sweep`, which `filter` tells the messages that are meant.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use leveret_broker::channel::{Publish, Published, Settle, Settlements};
use leveret_broker::live_queue::Outbox;
use leveret_broker::message::Message;
use leveret_broker::properties::PropertiesBuf;
use leveret_broker::publish::Batch;
use leveret_broker::queue::{Counts, Delivery, Return, Stamp};
use leveret_broker::table::Value;
use serde_json::{Map, Value as Json, json};

use crate::answer::{Answer, Failure, Reply};
use crate::call::{Call, SHORT_STRING_MAX};
use crate::json::{self, Columns, Object};
use crate::session::Session;
use crate::table::{TableJson, from_json};

pub(crate) mod browse;
mod filter;
pub(crate) mod sweep;

/// A get ends when its messages have this many bytes together, however many were asked for.
const GET_BYTES_MAX: usize = 64 << 20;

pub(crate) fn publish(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    body.require(&["routing_key", "properties", "payload", "payload_encoding"])?;
    let payload = payload(
        body.required_text("payload")?,
        body.required_text("payload_encoding")?,
    )?;
    let key = body.routing_key()?;
    let properties = properties_from(&body.map("properties")?)?.encode();
    let exchange = call.exchange("exchange").as_bytes();
    let message = Message::new(exchange, key.as_bytes(), &properties, &payload);

    let session = Session::open(call)?;
    let mut channel = session.channel()?;
    channel.select_confirms()?;
    let mut batch = Batch::default();
    let publish = Publish {
        message,
        mandatory: true,
    };
    let published = channel.publish(call.broker(), publish, call.now, &mut batch)?;
    let committed = session.commit(&mut batch);
    session.close(channel);
    let routed = matches!(published, Published::Taken) && !committed.refused;
    Ok(Answer::value(&json!({"routed": routed})).after(committed.durable_at))
}

fn payload(text: &str, encoding: &str) -> Result<Vec<u8>, Failure> {
    match encoding {
        "string" => Ok(text.as_bytes().to_vec()),
        "base64" => BASE64
            .decode(text)
            .map_err(|_| Failure::bad_request(json!({"not_base64": text}).to_string())),
        other => Err(Failure::bad_request(format!(
            "Unsupported encoding: {other}"
        ))),
    }
}

fn properties_from(fields: &Map<String, Json>) -> Result<PropertiesBuf, Failure> {
    let mut properties = PropertiesBuf::default();
    for (name, value) in fields {
        let wrong = || Failure::bad_request(format!("invalid message property {name}: {value}"));
        let number = |max: u64| {
            let number = value.as_u64().filter(|number| *number <= max);
            number.ok_or_else(wrong)
        };
        let text = || -> Result<Option<Box<[u8]>>, Failure> {
            let text = match value {
                Json::String(text) => text.clone(),
                Json::Number(number) => number.to_string(),
                _ => return Err(wrong()),
            };
            let short = (text.len() <= SHORT_STRING_MAX).then(|| text.into_bytes().into());
            short.map(Some).ok_or_else(wrong)
        };
        match name.as_str() {
            "headers" => {
                let headers = value.as_object().ok_or_else(wrong)?;
                properties.headers = Some(from_json(headers)?);
            }
            "delivery_mode" => properties.delivery_mode = Some(number(u8::MAX.into())? as u8),
            "priority" => properties.priority = Some(number(u8::MAX.into())? as u8),
            "timestamp" => properties.timestamp = Some(number(u64::MAX)?),
            "content_type" => properties.content_type = text()?,
            "content_encoding" => properties.content_encoding = text()?,
            "correlation_id" => properties.correlation_id = text()?,
            "reply_to" => properties.reply_to = text()?,
            "expiration" => properties.expiration = text()?,
            "message_id" => properties.message_id = text()?,
            "type" => properties.kind = text()?,
            "user_id" => properties.user_id = text()?,
            "app_id" => properties.app_id = text()?,
            "cluster_id" => properties.cluster_id = text()?,
            // RabbitMQ takes no notice of others.
            _ => {}
        }
    }
    Ok(properties)
}

/// A get, as the body asks for it.
struct Get {
    count: u64,
    mode: AckMode,
    shape: Shape,
}

/// How payloads are shown.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Always so; otherwise only what is no text.
    base64: bool,
    /// Bytes of a payload that are shown.
    truncate: usize,
}

impl Shape {
    fn new(encoding: &str, truncate: Option<u64>) -> Result<Self, Failure> {
        let base64 = match encoding {
            "auto" => false,
            "base64" => true,
            other => {
                return Err(Failure::bad_request(format!(
                    "Unsupported encoding: {other}. Please use 'auto' or 'base64'."
                )));
            }
        };
        let truncate = truncate.and_then(|bytes| usize::try_from(bytes).ok());
        Ok(Self {
            base64,
            truncate: truncate.unwrap_or(usize::MAX),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AckMode {
    /// The messages are gone.
    Remove,
    /// They return, or die, when all have been read.
    Settle(Settle),
}

impl Get {
    fn read(call: &Call<'_>) -> Result<Self, Failure> {
        let body = call.object()?;
        body.require(&["ackmode", "count", "encoding"])?;
        let mode = match body.required_text("ackmode")? {
            "ack_requeue_false" => AckMode::Remove,
            "ack_requeue_true" => AckMode::Settle(Settle::Return(Return::Requeue)),
            "reject_requeue_true" => AckMode::Settle(Settle::Return(Return::Reject)),
            "reject_requeue_false" => AckMode::Settle(Settle::Discard),
            other => return Err(Failure::bad_request(format!("unknown ackmode {other}"))),
        };
        let encoding = body.required_text("encoding")?;
        let positive = |number: Option<i64>, name: &str| match number.map(u64::try_from) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(Failure::bad_request(format!("{name} must not be negative"))),
        };
        let truncate = positive(body.integer("truncate")?, "truncate")?;
        Ok(Self {
            count: positive(body.integer("count")?, "count")?.unwrap_or_default(),
            mode,
            shape: Shape::new(encoding, truncate)?,
        })
    }
}

pub(crate) fn get(call: &Call<'_>) -> Reply {
    let get = Get::read(call)?;
    let session = Session::open(call)?;
    let mut channel = session.channel()?;
    let mut outbox = Outbox::default();
    let mut out = vec![b'['];
    let mut last_tag = None;
    let mut outcome = Ok(());
    for _ in 0..get.count {
        if out.len() >= GET_BYTES_MAX {
            break;
        }
        let acknowledges = get.mode != AckMode::Remove;
        let queue = call.parameter("queue");
        let got = channel.get(call.broker(), queue, acknowledges, call.now, &mut outbox);
        let (tag, delivery, left) = match got {
            Ok(Some(got)) => got,
            Ok(None) => break,
            Err(error) => {
                outcome = Err(error);
                break;
            }
        };
        if last_tag.replace(tag).is_some() {
            out.push(b',');
        }
        json::object(&mut out, Columns::new(call.query.columns()), |object| {
            let Delivery {
                message,
                stamp,
                redelivered,
                ..
            } = &delivery;
            let shown = Shown {
                message,
                counts: match stamp {
                    Stamp::Counts(counts) => *counts,
                    Stamp::Offset(_) => Counts::default(),
                },
                redelivered: *redelivered,
            };
            write(object, &shown, get.shape, |object| {
                object.field("message_count", &left);
            });
        });
    }
    call.broker().finish(&mut outbox, call.now);
    if let (Some(tag), AckMode::Settle(settle)) = (last_tag, get.mode) {
        let mut settlements = Settlements::default();
        channel.settle(tag, true, settle, &mut settlements)?;
        session.settle(&mut settlements);
    }
    session.close(channel);
    outcome?;
    out.push(b']');
    Ok(Answer::json(out))
}

/// A message that is shown.
struct Shown<'a> {
    message: &'a Message,
    counts: Counts,
    redelivered: bool,
}

/// Writes a message, with what else is known of it behind its address.
fn write(
    object: &mut Object<'_>,
    shown: &Shown<'_>,
    shape: Shape,
    more: impl FnOnce(&mut Object<'_>),
) {
    let Shown {
        message, counts, ..
    } = *shown;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    object.field("payload_bytes", &message.body().len());
    object.field("redelivered", &shown.redelivered);
    object.field("exchange", &text(message.exchange()));
    object.field("routing_key", &text(message.routing_key()));
    more(object);
    object.object("properties", |object| {
        write_properties(object, message, counts);
    });
    let body = message.body();
    let payload = &body[..body.len().min(shape.truncate)];
    match std::str::from_utf8(payload).ok().filter(|_| !shape.base64) {
        Some(payload) => {
            object.field("payload", payload);
            object.field("payload_encoding", "string");
        }
        None => {
            object.field("payload", &BASE64.encode(payload));
            object.field("payload_encoding", "base64");
        }
    }
}

fn write_properties(object: &mut Object<'_>, message: &Message, counts: Counts) {
    // The broker has read them when the message came.
    let mut properties = PropertiesBuf::parse(message.properties()).unwrap_or_default();
    for (name, count) in [
        ("x-delivery-count", counts.deliveries),
        ("x-acquired-count", counts.acquisitions),
    ] {
        if count > 0 {
            let count = Value::I64(count.into());
            properties.headers_mut().insert(name, count);
        }
    }
    let mut text = |name: &str, value: &Option<Box<[u8]>>| {
        if let Some(bytes) = value {
            object.field(name, &String::from_utf8_lossy(bytes));
        }
    };
    text("content_type", &properties.content_type);
    text("content_encoding", &properties.content_encoding);
    text("correlation_id", &properties.correlation_id);
    text("reply_to", &properties.reply_to);
    text("expiration", &properties.expiration);
    text("message_id", &properties.message_id);
    text("type", &properties.kind);
    text("user_id", &properties.user_id);
    text("app_id", &properties.app_id);
    text("cluster_id", &properties.cluster_id);
    if let Some(mode) = properties.delivery_mode {
        object.field("delivery_mode", &mode);
    }
    if let Some(priority) = properties.priority {
        object.field("priority", &priority);
    }
    if let Some(seconds) = properties.timestamp {
        object.field("timestamp", &seconds);
    }
    if let Some(headers) = &properties.headers {
        object.field("headers", &TableJson(headers));
    }
}
