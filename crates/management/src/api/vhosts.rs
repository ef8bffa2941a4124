//! Virtual hosts.

use leveret_broker::broker::listing::VhostInfo;
use leveret_broker::catalogue::VhostMetadata;
use leveret_broker::queue::Kind;
use serde_json::{Value, json};

use crate::answer::{Failure, Reply};
use crate::call::Call;
use crate::json::Object;
use crate::list::{List, reply_one};
use crate::sampler::Key;
use crate::stats::{DATA, Gathered, LENGTHS, MESSAGE_STATS, Writer};

pub(crate) mod changes;

pub(crate) fn list(call: &Call<'_>) -> Reply {
    let known = call.known_vhosts();
    let mut rows = call.broker().list_vhosts();
    rows.retain(|vhost| known.contains(&vhost.name));
    let totals = call.management.totals.lock().vhosts.clone();
    let node = call.broker().options.node_name.clone();
    let numbers = Writer::rates(call);
    let list = List::new(
        rows,
        |vhost| &vhost.name,
        move |vhost, object| {
            let gathered = totals.get(&vhost.name).copied().unwrap_or_default();
            write(object, vhost, &gathered, &node, &numbers);
        },
    );
    list.reply(&call.query)
}

pub(crate) fn show(call: &Call<'_>) -> Reply {
    let vhost = find(call)?;
    let gathered = {
        let totals = call.management.totals.lock();
        totals.vhosts.get(&vhost.name).copied().unwrap_or_default()
    };
    let node = &call.broker().options.node_name;
    let numbers = Writer::samples(call)?;
    reply_one(&call.query, |object| {
        write(object, &vhost, &gathered, node, &numbers);
    })
}

pub(crate) fn find(call: &Call<'_>) -> Result<VhostInfo, Failure> {
    let vhost = call.broker().vhost_info(call.parameter("vhost"));
    vhost.ok_or_else(Failure::no_such_object)
}

/// What an operator says about a vhost; RabbitMQ writes all of it twice.
pub(crate) fn write_metadata(object: &mut Object<'_>, metadata: &VhostMetadata) {
    write_metadata_fields(object, metadata);
    object.field("metadata", &metadata_json(metadata));
}

fn write_metadata_fields(object: &mut Object<'_>, metadata: &VhostMetadata) {
    let default_queue_type = metadata.default_queue_type.map(Kind::name);
    object.field("description", &metadata.description);
    object.field("tags", &metadata.tags);
    object.field("default_queue_type", &default_queue_type);
    object.field("protected_from_deletion", &metadata.protected_from_deletion);
}

/// The metadata, all of them.
fn metadata_json(metadata: &VhostMetadata) -> Value {
    json!({
        "description": metadata.description,
        "tags": metadata.tags,
        "default_queue_type": metadata.default_queue_type.map(Kind::name),
        "protected_from_deletion": metadata.protected_from_deletion,
    })
}

fn write(
    object: &mut Object<'_>,
    vhost: &VhostInfo,
    gathered: &Gathered,
    node: &str,
    numbers: &Writer,
) {
    let key = Key::vhost(&vhost.name);
    object.field("name", &*vhost.name);
    write_metadata(object, &vhost.metadata);
    object.field("tracing", &vhost.tracing);
    object.field("cluster_state", &json!({node: "running"}));
    numbers.write(object, &LENGTHS, key, gathered);
    numbers.write(object, &DATA, key, gathered);
    object.object("message_stats", |object| {
        numbers.write(object, &MESSAGE_STATS, key, gathered);
    });
}
