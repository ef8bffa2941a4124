//! Bindings.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, StatusCode, header};
use leveret_broker::broker::definitions::BindingSpec;
use leveret_broker::broker::listing::{BindingInfo, BindingsOf};
use leveret_broker::error::ResourceKind;
use leveret_broker::table::Table;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::answer::{Answer, Failure, Reply};
use crate::call::Call;
use crate::json::Object;
use crate::list::{List, reply_one};
use crate::session::principal;
use crate::table::{TableJson, from_json};

/// What a properties key leaves as it is. `~` is what parts its halves.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b' ');

/// The last part of a binding's path: its routing key and, if it has arguments, a hash of them. RabbitMQ's hash is of
/// Erlang's terms, so ours differs; clients take it as it is.
pub(crate) fn properties_key(key: &[u8], arguments: &Table) -> String {
    if key.is_empty() && arguments.is_empty() {
        return "~".to_owned();
    }
    let key = percent_encode(key, PLAIN).to_string().replace(' ', "+");
    if arguments.is_empty() {
        return key;
    }
    let mut encoded = Vec::new();
    arguments.encode(&mut encoded);
    let hash = URL_SAFE_NO_PAD.encode(fnv(&encoded).to_be_bytes());
    format!("{key}~{hash}")
}

/// FNV-1a, 32 bits: short, and the same in every version.
fn fnv(bytes: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}

/// `q` and `e` in paths.
fn destination_kind(letter: &str) -> Result<ResourceKind, Failure> {
    match letter {
        "q" => Ok(ResourceKind::Queue),
        "e" => Ok(ResourceKind::Exchange),
        _ => Err(Failure::no_such_object()),
    }
}

pub(crate) fn list(call: &Call<'_>) -> Reply {
    let vhosts = call.vhosts();
    let mut rows = call.broker().list_bindings(BindingsOf::All);
    rows.retain(|binding| vhosts.contains(&binding.vhost));
    reply_list(call, rows)
}

pub(crate) fn list_in_vhost(call: &Call<'_>) -> Reply {
    let of = BindingsOf::Vhost(call.vhost()?);
    reply_list(call, call.broker().list_bindings(of))
}

pub(crate) fn list_of_source(call: &Call<'_>) -> Reply {
    let (vhost, exchange) = (call.vhost()?, call.exchange("exchange"));
    if call.broker().exchange_info(vhost, exchange).is_none() {
        return Err(Failure::no_such_object());
    }
    let of = BindingsOf::Source { vhost, exchange };
    reply_list(call, call.broker().list_bindings(of))
}

pub(crate) fn list_of_exchange(call: &Call<'_>) -> Reply {
    let (vhost, name) = (call.vhost()?, call.exchange("exchange"));
    if call.broker().exchange_info(vhost, name).is_none() {
        return Err(Failure::no_such_object());
    }
    let kind = ResourceKind::Exchange;
    let of = BindingsOf::Destination { vhost, kind, name };
    reply_list(call, call.broker().list_bindings(of))
}

pub(crate) fn list_of_queue(call: &Call<'_>) -> Reply {
    let queue = super::queues::find(call)?;
    let of = BindingsOf::Destination {
        vhost: &queue.vhost_name,
        kind: ResourceKind::Queue,
        name: queue.name(),
    };
    reply_list(call, call.broker().list_bindings(of))
}

pub(crate) fn list_between(call: &Call<'_>) -> Reply {
    let rows = between(call)?;
    reply_list(call, rows)
}

/// The bindings from the source in the path to its destination.
fn between(call: &Call<'_>) -> Result<Vec<BindingInfo>, Failure> {
    let (vhost, source) = (call.vhost()?, call.exchange("source"));
    let kind = destination_kind(call.parameter("kind"))?;
    let name = match kind {
        ResourceKind::Queue => call.parameter("destination"),
        ResourceKind::Exchange => call.exchange("destination"),
    };
    let is_there = call.broker().exchange_info(vhost, source).is_some()
        && match kind {
            ResourceKind::Queue => call.broker().queue_info(vhost, name).is_some(),
            ResourceKind::Exchange => call.broker().exchange_info(vhost, name).is_some(),
        };
    if !is_there {
        return Err(Failure::no_such_object());
    }
    let of = BindingsOf::Destination { vhost, kind, name };
    let mut rows = call.broker().list_bindings(of);
    rows.retain(|binding| *binding.source == *source);
    Ok(rows)
}

/// The one binding that the path names by its properties key.
fn find(call: &Call<'_>) -> Result<BindingInfo, Failure> {
    let wanted = call.parameter("properties_key");
    let mut all = between(call)?.into_iter();
    let binding = all.find(|it| properties_key(&it.key, &it.arguments) == wanted);
    binding.ok_or_else(Failure::no_such_object)
}

pub(crate) fn show(call: &Call<'_>) -> Reply {
    let binding = find(call)?;
    reply_one(&call.query, |object| write(object, &binding))
}

fn reply_list(call: &Call<'_>, rows: Vec<BindingInfo>) -> Reply {
    let list = List::new(
        rows,
        |binding| &binding.destination,
        |binding, object| {
            write(object, binding);
        },
    );
    list.reply(&call.query)
}

fn write(object: &mut Object<'_>, binding: &BindingInfo) {
    object.field("source", &*binding.source);
    object.field("vhost", &*binding.vhost);
    object.field("destination", &*binding.destination);
    object.field("destination_type", &binding.destination_kind.to_string());
    object.field("routing_key", &String::from_utf8_lossy(&binding.key));
    object.field("arguments", &TableJson(&binding.arguments));
    let key = properties_key(&binding.key, &binding.arguments);
    object.field("properties_key", &key);
}

pub(crate) fn unbind(call: &Call<'_>) -> Reply {
    let by = principal(call)?;
    let binding = find(call)?;
    let spec = BindingSpec {
        source: &binding.source,
        destination: &binding.destination,
        destination_kind: binding.destination_kind,
        key: &binding.key,
        arguments: binding.arguments.clone(),
    };
    let durable_at = call.broker().unbind(&by, spec)?;
    Ok(Answer::done().after(durable_at))
}

pub(crate) fn bind(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    let key = body.routing_key()?;
    let arguments = from_json(&body.map("arguments")?)?;
    let last = properties_key(key.as_bytes(), &arguments);
    let spec = BindingSpec {
        source: call.exchange("source"),
        destination: call.parameter("destination"),
        destination_kind: destination_kind(call.parameter("kind"))?,
        key: key.as_bytes(),
        arguments,
    };
    let by = principal(call)?;
    let durable_at = call.broker().bind(&by, spec, call.now)?;
    // Relative to the path of the request.
    let destination = percent_encode(call.parameter("destination").as_bytes(), PLAIN_PATH);
    let last = percent_encode(last.as_bytes(), PLAIN_PATH);
    let location = HeaderValue::from_str(&format!("{destination}/{last}"))
        .expect("what is percent-encoded is ASCII");
    let answer = Answer::empty(StatusCode::CREATED).with(header::LOCATION, location);
    Ok(answer.after(durable_at))
}

/// What a segment of a path leaves as it is.
const PLAIN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
