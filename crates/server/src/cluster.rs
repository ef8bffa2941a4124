//! What a cluster says of itself among its global parameters, as RabbitMQ's do: an id that it keeps for life
//! (`internal_cluster_id`), and the tags of its configuration (`cluster_tags.*`).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leveret_broker::broker::Broker;
use leveret_broker::table::{Table, Value};

const ID: &str = "internal_cluster_id";
const TAGS: &str = "cluster_tags";

/// Writes down what is not there yet, or has become another.
pub(crate) fn introduce(broker: &Broker, tags: &BTreeMap<String, String>) -> Result<(), String> {
    let known = broker.list_global_parameters();
    let known = |name: &str| known.iter().find(|(it, _)| &**it == name);
    if known(ID).is_none() {
        let random = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        let id = format!("rabbitmq-cluster-id-{random}");
        put(broker, ID, text(&id))?;
    }
    let tags = value_of(tags);
    if known(TAGS).is_none_or(|(_, value)| *value != tags) {
        put(broker, TAGS, tags)?;
    }
    Ok(())
}

/// Without tags it is an empty list, as in RabbitMQ.
fn value_of(tags: &BTreeMap<String, String>) -> Value {
    if tags.is_empty() {
        return Value::Array(Vec::new());
    }
    let tags = tags.iter();
    let tags = tags.map(|(name, tag)| (Box::<str>::from(name.as_str()), text(tag)));
    Value::Table(tags.collect::<Table>())
}

fn text(text: &str) -> Value {
    Value::String(text.as_bytes().into())
}

fn put(broker: &Broker, name: &str, value: Value) -> Result<(), String> {
    let stored = broker.set_global_parameter(name, value);
    stored
        .map(|_| ())
        .map_err(|error| format!("global parameter {name}: {error}"))
}
