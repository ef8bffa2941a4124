//! Consumers.

use std::sync::Arc;

use leveret_broker::connections::{ChannelInfo, Facts};
use leveret_broker::live_queue::{ConsumerInfo, LiveQueue};
use serde_json::{Value, json};

use crate::answer::Reply;
use crate::api::connections::{self, facts_by_id};
use crate::call::Call;
use crate::json::Object;
use crate::list::List;
use crate::table::TableJson;

/// A consumer, and what belongs to it.
pub(crate) struct Row {
    queue: Arc<LiveQueue>,
    consumer: ConsumerInfo,
    connection: Option<(Arc<Facts>, Arc<str>)>,
    /// The node's time limit for acknowledgements, ms.
    timeout_ms: Option<u64>,
}

pub(crate) fn list(call: &Call<'_>) -> Reply {
    let vhosts = call.vhosts();
    let mut rows = rows(call, None);
    rows.retain(|row| vhosts.contains(&row.queue.vhost_name));
    reply_list(call, rows)
}

pub(crate) fn list_in_vhost(call: &Call<'_>) -> Reply {
    let rows = rows(call, Some(call.vhost()?));
    reply_list(call, rows)
}

fn reply_list(call: &Call<'_>, rows: Vec<Row>) -> Reply {
    let node = call.broker().options.node_name.clone();
    let list = List::new(
        rows,
        |row| &row.consumer.about.tag,
        move |row, object| write(object, row, &node),
    );
    list.reply(&call.query)
}

fn rows(call: &Call<'_>, vhost: Option<&str>) -> Vec<Row> {
    let facts = facts_by_id(call);
    let listed = call.broker().list_consumers(vhost).into_iter();
    listed
        .map(|it| Row {
            connection: facts.get(&it.consumer.connection.0).cloned(),
            queue: it.queue,
            consumer: it.consumer,
            timeout_ms: call.broker().options.consumer_timeout_ms,
        })
        .collect()
}

/// The consumers of one queue.
pub(crate) fn of_queue(call: &Call<'_>, queue: &Arc<LiveQueue>) -> Vec<Row> {
    let consumers = queue.consumers();
    if consumers.is_empty() {
        return Vec::new();
    }
    let facts = facts_by_id(call);
    let row = |consumer: ConsumerInfo| Row {
        queue: queue.clone(),
        connection: facts.get(&consumer.connection.0).cloned(),
        consumer,
        timeout_ms: call.broker().options.consumer_timeout_ms,
    };
    consumers.into_iter().map(row).collect()
}

/// The consumers of one channel.
pub(crate) fn of_channel(call: &Call<'_>, channel: &ChannelInfo) -> Vec<Row> {
    let mut rows = rows(call, Some(&channel.vhost));
    rows.retain(|row| {
        row.consumer.connection == channel.connection && row.consumer.channel == channel.number
    });
    rows
}

pub(crate) fn write(object: &mut Object<'_>, row: &Row, node: &str) {
    let Row {
        queue, consumer, ..
    } = row;
    object.field("consumer_tag", &*consumer.about.tag);
    object.field(
        "queue",
        &json!({"name": queue.name(), "vhost": *queue.vhost_name}),
    );
    object.field("channel_details", &channel_details(row, node));
    object.field("ack_required", &consumer.ack_required);
    object.field("exclusive", &consumer.exclusive);
    object.field("prefetch_count", &consumer.prefetch_count);
    object.field("priority", &consumer.priority);
    object.field("active", &consumer.active);
    let activity = match (queue.single_active_consumer, consumer.active) {
        (false, _) => "up",
        (true, true) => "single_active",
        (true, false) => "waiting",
    };
    object.field("activity_status", activity);
    object.field("arguments", &TableJson(&consumer.about.arguments));
    let timeout = consumer.timeout_ms.or(row.timeout_ms).unwrap_or_default();
    object.field("consumer_timeout", &timeout);
    object.field("unacknowledged", &consumer.unacknowledged);
}

fn channel_details(row: &Row, node: &str) -> Value {
    let Some((facts, user)) = &row.connection else {
        return json!({});
    };
    connections::channel_details(facts, row.consumer.channel, user, node)
}
