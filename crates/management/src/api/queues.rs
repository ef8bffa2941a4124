//! Queues.

use std::sync::Arc;

use leveret_broker::broker::definitions::QueueSpec;
use leveret_broker::broker::listing::QueueRoll;
use leveret_broker::live_queue::{ConsumerFacts, LiveQueue, QueueStatus};
use leveret_broker::policies::{Applied, Policy};
use leveret_broker::queue::{DelayedRetry, Kind, OnDisk, RetryOn, Stats};
use serde_json::json;

use crate::answer::{Answer, Failure, Reply};
use crate::api::{consumers, flows};
use crate::call::Call;
use crate::json::Object;
use crate::list::{List, SortKey, SortKeys, reply_one, written};
use crate::rankings;
use crate::sampler::Key;
use crate::session::principal;
use crate::stats::{Column, Gathered, LENGTHS, MESSAGE_STATS, Stat, Writer};
use crate::table::{TableJson, from_json};

pub(crate) fn list(call: &Call<'_>) -> Reply {
    let vhosts = call.vhosts();
    let list = list_of(call, call.broker().list_queues(None))?;
    list.retain(|queue| vhosts.contains(&queue.vhost_name))
        .reply(&call.query)
}

pub(crate) fn list_in_vhost(call: &Call<'_>) -> Reply {
    let vhost = call.vhost()?;
    list_of(call, call.broker().list_queues(Some(vhost)))?.reply(&call.query)
}

/// Those that a user has declared, where the caller may see them.
pub(crate) fn list_of_user(call: &Call<'_>) -> Reply {
    let user = call.parameter("user");
    let vhosts = call.vhosts();
    let list = list_of(call, call.broker().list_queues(None))?;
    list.retain(|queue| queue.declaration.declared_by.as_deref() == Some(user))
        .retain(|queue| vhosts.contains(&queue.vhost_name))
        .reply(&call.query)
}

fn list_of(call: &Call<'_>, queues: QueueRoll) -> Result<List<Arc<LiveQueue>>, Failure> {
    let scene = Scene::of(call, Writer::rows(call)?);
    let keys = sort_keys(call, &queues);
    let list = List::of(
        queues.all,
        queues.range,
        |queue| queue.name(),
        move |queue, object| write(object, queue, &scene),
    );
    Ok(list.sorted_by(keys))
}

/// Of very many queues, what they are sorted by is remembered for a moment.
fn sort_keys(call: &Call<'_>, queues: &QueueRoll) -> SortKeys<Arc<LiveQueue>> {
    let Some(path) = call.query.sort() else {
        return SortKeys::Written;
    };
    let key = sort_key(call, &path);
    if queues.len() <= rankings::LONG {
        return key.map_or(SortKeys::Written, SortKeys::Of);
    }
    let key = key.unwrap_or_else(|| {
        // Others who ask want other samples, or none.
        let (path, scene) = (path.clone(), Scene::of(call, Writer::rates(call)));
        Box::new(move |queue| written(&path, |object| write(object, queue, &scene)))
    });
    let rankings = &call.management.rankings;
    SortKeys::Known(rankings.keys(&path, &queues.all, call.now, key))
}

/// What they are sorted by, where it is had without looking at the rest of each.
fn sort_key(call: &Call<'_>, path: &[String]) -> Option<SortKey<Arc<LiveQueue>>> {
    if path == ["name"] {
        return Some(Box::new(|queue| queue.name().into()));
    }
    let numbers = Writer::rates(call);
    if path == ["oldest_message_age"] {
        // A queue without one comes before those in which the oldest has just come.
        return Some(Box::new(move |queue| {
            let age = numbers.oldest_message_age(queue);
            age.map_or(-1, u64::cast_signed).into()
        }));
    }
    let column = Column::of_queues(path)?;
    Some(Box::new(move |queue| {
        numbers.value(column, Key::Queue(queue.id.0), || {
            let (stats, counters) = queue.numbers();
            Gathered::default()
                .with_lengths(&stats)
                .with_queue(&counters)
        })
    }))
}

pub(crate) fn show(call: &Call<'_>) -> Reply {
    let queue = find(call)?;
    let scene = Scene::of(call, Writer::samples(call)?);
    let consumers = consumers::of_queue(call, &queue);
    reply_one(&call.query, |object| {
        write(object, &queue, &scene);
        object.list("consumer_details", consumers, |row, object| {
            consumers::write(object, &row, &scene.node);
        });
        flows::write_of_queue(object, call, &queue, &scene.numbers);
    })
}

pub(crate) fn find(call: &Call<'_>) -> Result<Arc<LiveQueue>, Failure> {
    let queue = call
        .broker()
        .queue_info(call.vhost()?, call.parameter("queue"));
    queue.ok_or_else(Failure::no_such_object)
}

/// What the rows of a list have in common.
struct Scene {
    node: String,
    numbers: Writer,
}

impl Scene {
    fn of(call: &Call<'_>, numbers: Writer) -> Self {
        Self {
            node: call.broker().options.node_name.clone(),
            numbers,
        }
    }
}

fn write(object: &mut Object<'_>, queue: &Arc<LiveQueue>, scene: &Scene) {
    let declaration = &queue.declaration;
    object.field("name", queue.name());
    object.field("vhost", &*queue.vhost_name);
    object.field("type", queue.kind.name());
    object.field("durable", &declaration.durable);
    object.field("auto_delete", &declaration.auto_delete);
    object.field("exclusive", &declaration.exclusive.is_some());
    // Those of plug-ins.
    object.field("internal", &false);
    object.field("internal_owner", &false);
    object.field("arguments", &TableJson(&declaration.arguments));
    object.field("node", &scene.node);
    if queue.kind.keeps_all() {
        object.field("leader", &scene.node);
        object.field("members", &[&scene.node]);
        object.field("online", &[&scene.node]);
    }
    object.field("state", "running");
    let status = queue.status();
    write_policies(object, &status.applied);
    write_status(object, queue, &status, scene);
}

/// The policies that apply to an object, and what they come to.
pub(crate) fn write_policies(object: &mut Object<'_>, applied: &Applied) {
    object.field("policy", &name_of(&applied.user));
    object.field("operator_policy", &name_of(&applied.operator));
    if object.wants("effective_policy_definition") {
        let definition = applied.definition();
        object.field("effective_policy_definition", &TableJson(&definition));
    }
}

fn name_of(policy: &Option<Arc<Policy>>) -> Option<&str> {
    policy.as_ref().map(|policy| &*policy.name)
}

fn write_status(object: &mut Object<'_>, queue: &LiveQueue, status: &QueueStatus, scene: &Scene) {
    let stats = &status.stats;
    let key = Key::Queue(queue.id.0);
    let gathered = Gathered::default()
        .with_lengths(stats)
        .with_queue(&status.counters);
    scene.numbers.write(object, &LENGTHS, key, &gathered);
    let (messages, bytes) = (
        gathered.get(Stat::Messages),
        stats.ready_bytes + stats.unsettled_bytes,
    );
    write_places(object, queue.kind, stats, messages);
    object.field("messages_persistent", &stats.persistent);
    object.field("messages_dlx", &stats.dead_lettering);
    object.field("messages_delayed", &stats.delayed);
    object.field("message_bytes", &bytes);
    object.field("message_bytes_ready", &stats.ready_bytes);
    object.field("message_bytes_unacknowledged", &stats.unsettled_bytes);
    object.field("message_bytes_persistent", &stats.persistent_bytes);
    object.field("message_bytes_dlx", &0);
    object.field("consumers", &stats.consumers);
    object.field("consumer_capacity", &capacity(stats.ready));
    object.field("consumer_utilisation", &capacity(stats.ready));
    object.field("exclusive_consumer_tag", &tag(&status.exclusive_consumer));
    object.field(
        "single_active_consumer_tag",
        &tag(&status.single_active_consumer),
    );
    object.field_with("head_message_timestamp", || queue.head_message_timestamp());
    object.field_with("oldest_message_age", || {
        scene.numbers.oldest_message_age(queue)
    });
    object.field_with("idle_since", || rfc3339(status.idle_since.0));
    if queue.kind == Kind::Quorum {
        object.field("delivery_limit", &status.settings.delivery_limit);
        let retry = status.settings.delayed_retry.as_ref();
        object.field_with("delayed_retry", || {
            retry.map_or_else(|| "disabled".to_owned(), delayed_retry)
        });
        write_priorities(object, queue);
    }
    if let Some(stream) = &status.stream {
        let first_at = stream.first_at.map_or(0, |at| at.0);
        object.field("first_timestamp", &first_at);
        object.field("segments", &stream.segments);
        object.field_with("readers", || json!({ &*scene.node: stats.consumers }));
        object.field("first_offset", &stream.first_offset);
        object.field("next_offset", &stream.next_offset);
    }
    object.object("message_stats", |object| {
        scene.numbers.write(object, &MESSAGE_STATS, key, &gathered);
    });
    object.field_with("memory", || queue.resident_bytes());
    object.field("reductions", &0);
    object.field_with("reductions_details", || json!({"rate": 0.0}));
    object.field("storage_version", &2);
}

/// Where messages are: in memory, or on disk only.
fn write_places(object: &mut Object<'_>, kind: Kind, stats: &Stats, messages: u64) {
    let OnDisk {
        ready,
        ready_bytes,
        unsettled,
        unsettled_bytes,
    } = stats.on_disk;
    let bytes = stats.ready_bytes + stats.unsettled_bytes;
    object.field("messages_ram", &(messages - ready - unsettled));
    object.field(
        "message_bytes_ram",
        &(bytes - ready_bytes - unsettled_bytes),
    );
    object.field("messages_paged_out", &(ready + unsettled));
    object.field("message_bytes_paged_out", &(ready_bytes + unsettled_bytes));
    if kind == Kind::Classic {
        object.field("messages_ready_ram", &(stats.ready - ready));
        object.field(
            "messages_unacknowledged_ram",
            &(stats.unsettled - unsettled),
        );
    }
}

/// What quorum queues tell of their priorities, and of messages that came back.
fn write_priorities(object: &mut Object<'_>, queue: &LiveQueue) {
    let names = [
        "messages_by_priority",
        "messages_active_priorities",
        "messages_ready_returned",
    ];
    if !names.iter().any(|name| object.wants(name)) {
        return;
    }
    let (by_priority, returned) = queue.ready_by_priority();
    object.field("messages_active_priorities", &by_priority.len());
    object.field("messages_by_priority", &by_priority);
    object.field("messages_ready_returned", &returned);
}

/// As RabbitMQ prints it.
fn delayed_retry(retry: &DelayedRetry) -> String {
    let on = match retry.on {
        RetryOn::All => "all",
        RetryOn::Failed => "failed",
        RetryOn::Returned => "returned",
    };
    let (min, max) = (retry.min_ms, retry.max_ms);
    format!("{on} (min: {min}ms, max: {max}ms)")
}

fn tag(consumer: &Option<Arc<ConsumerFacts>>) -> Option<&str> {
    consumer.as_ref().map(|consumer| &*consumer.tag)
}

/// A queue hands out what it has as soon as somebody can take it: while messages wait, its consumers are the limit.
fn capacity(ready: u64) -> f64 {
    if ready == 0 { 1.0 } else { 0.0 }
}

/// Milliseconds since the epoch as `2026-11-26T04:00:00.000+00:00`, which is how RabbitMQ writes times.
pub(crate) fn rfc3339(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    // The civil calendar from a count of days: eras of 400 years that begin in March.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, millisecond) = (rest / 1000 % 60, rest % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}+00:00"
    )
}

pub(crate) fn declare(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    let spec = QueueSpec {
        name: call.new_name("queue")?,
        durable: body.flag("durable")?.unwrap_or(true),
        // There is no connection that it could be exclusive to.
        exclusive: false,
        auto_delete: body.flag("auto_delete")?.unwrap_or(false),
        arguments: from_json(&body.map("arguments")?)?,
    };
    let by = principal(call)?;
    let existed = find(call).is_ok();
    let declared = call.broker().declare_queue(&by, spec, call.now)?;
    Ok(Answer::put(!existed).after(declared.durable_at))
}

pub(crate) fn delete(call: &Call<'_>) -> Reply {
    let by = principal(call)?;
    let queue = find(call)?;
    let if_unused = call.query.is_true("if-unused");
    let if_empty = call.query.is_true("if-empty");
    let (_, durable_at) = call
        .broker()
        .delete_queue(&by, queue.name(), if_unused, if_empty)?;
    Ok(Answer::done().after(durable_at))
}

pub(crate) fn purge(call: &Call<'_>) -> Reply {
    let by = principal(call)?;
    let queue = find(call)?;
    call.broker().purge_queue(&by, queue.name(), call.now)?;
    Ok(Answer::done())
}

/// Mirrors of classic queues were synchronised so, once. There is nothing to do, and the words are still known.
pub(crate) fn act(call: &Call<'_>) -> Reply {
    find(call)?;
    match call.object()?.required_text("action")? {
        "sync" | "cancel_sync" => Ok(Answer::done()),
        other => Err(Failure::bad_request(format!("unknown action: {other}"))),
    }
}

/// The state of a quorum queue on each node.
pub(crate) fn quorum_status(call: &Call<'_>) -> Reply {
    let queue = find(call)?;
    if queue.kind != Kind::Quorum {
        return Err(Failure::bad_request("not_quorum_queue"));
    }
    Ok(Answer::value(&json!([{
        "Node Name": call.broker().options.node_name,
        "Raft State": "leader",
        "Membership": "voter",
        "Last Log Index": 0,
        "Last Written": 0,
        "Last Applied": 0,
        "Commit Index": 0,
        "Snapshot Index": 0,
        "Term": 1,
        "Machine Version": 0,
    }])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let check = |ms, expected| assert_eq!(rfc3339(ms), expected);
        check(0, "1970-01-01T00:00:00.000+00:00");
        check(951_782_400_123, "2000-02-29T00:00:00.123+00:00");
        check(1_767_225_599_999, "2025-12-31T23:59:59.999+00:00");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000+00:00");
    }
}
