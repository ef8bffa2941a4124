//! Limits of vhosts and users.

use leveret_broker::catalogue::VhostLimits;
use leveret_broker::users::UserLimits;
use serde_json::{Map, Value, json};

use crate::access::is_administrator;
use crate::answer::{Answer, Failure, Reply};
use crate::call::Call;
use crate::list::List;

/// Vhost or user, and its limits.
type Row = (String, Map<String, Value>);

/// Limits by RabbitMQ's names; those that are not set are left out.
pub(crate) fn of_vhost(limits: &VhostLimits) -> Map<String, Value> {
    named([
        ("max-connections", limits.connections_max),
        ("max-queues", limits.queues_max),
    ])
}

pub(crate) fn of_user(limits: &UserLimits) -> Map<String, Value> {
    named([
        ("max-connections", limits.connections_max),
        ("max-channels", limits.channels_max),
    ])
}

fn named(limits: [(&str, Option<i64>); 2]) -> Map<String, Value> {
    let set = limits.into_iter();
    set.filter_map(|(name, limit)| Some((name.to_owned(), limit?.into())))
        .collect()
}

pub(crate) fn list_vhosts(call: &Call<'_>) -> Reply {
    let known = call.known_vhosts();
    reply_vhosts(call, |name| known.contains(name))
}

pub(crate) fn list_vhost(call: &Call<'_>) -> Reply {
    let vhost = call.vhost()?;
    reply_vhosts(call, |name| name == vhost)
}

fn reply_vhosts(call: &Call<'_>, wanted: impl Fn(&str) -> bool) -> Reply {
    let all = call.broker().list_vhosts().into_iter();
    let rows = all
        .filter(|vhost| wanted(&vhost.name))
        .map(|vhost| (vhost.name.to_string(), of_vhost(&vhost.limits)));
    reply_list(call, "vhost", rows.collect())
}

fn reply_list(call: &Call<'_>, kind: &'static str, mut rows: Vec<Row>) -> Reply {
    rows.retain(|(_, limits)| !limits.is_empty());
    let list = List::new(
        rows,
        |(name, _)| name,
        move |(name, limits), object| {
            object.field(kind, name);
            object.field("value", limits);
        },
    );
    list.reply(&call.query)
}

pub(crate) fn list_users(call: &Call<'_>) -> Reply {
    reply_users(call, |_| true)
}

/// One's own, or anybody's for administrators.
pub(crate) fn list_user(call: &Call<'_>) -> Reply {
    let user = call.parameter("user");
    if !is_administrator(call.user()) && *call.user().name != *user {
        return Err(Failure::not_authorised("Not administrator user"));
    }
    if call.broker().user_info(user).is_none() {
        return Err(Failure::no_such_object());
    }
    reply_users(call, |name| name == user)
}

fn reply_users(call: &Call<'_>, wanted: impl Fn(&str) -> bool) -> Reply {
    let all = call.broker().list_users().into_iter();
    let rows = all
        .filter(|user| wanted(&user.name))
        .map(|user| (user.name.to_string(), of_user(&user.limits)));
    reply_list(call, "user", rows.collect())
}

/// `{"value": 5}`; negative: no limit.
fn value(call: &Call<'_>) -> Result<i64, Failure> {
    let body = call.object()?;
    body.require(&["value"])?;
    let value = body.integer("value")?;
    value.ok_or_else(|| Failure::bad_request("value must be an integer"))
}

fn unknown(name: &str) -> Failure {
    let text = json!(format!("Unrecognised limit '{name}'"));
    Failure::bad_request(text)
}

pub(crate) fn put_vhost(call: &Call<'_>) -> Reply {
    let value = value(call)?;
    set_vhost(call, Some(value))
}

pub(crate) fn delete_vhost(call: &Call<'_>) -> Reply {
    set_vhost(call, None)
}

fn set_vhost(call: &Call<'_>, value: Option<i64>) -> Reply {
    let vhost = call.broker().vhost_info(call.parameter("vhost"));
    let vhost = vhost.ok_or_else(Failure::no_such_object)?;
    let mut limits = vhost.limits;
    match call.parameter("name") {
        "max-connections" => limits.connections_max = value,
        "max-queues" => limits.queues_max = value,
        name => return Err(unknown(name)),
    }
    let durable_at = call.broker().set_vhost_limits(&vhost.name, limits)?;
    Ok(Answer::done().after(durable_at))
}

pub(crate) fn put_user(call: &Call<'_>) -> Reply {
    let value = value(call)?;
    set_user(call, Some(value))
}

pub(crate) fn delete_user(call: &Call<'_>) -> Reply {
    set_user(call, None)
}

fn set_user(call: &Call<'_>, value: Option<i64>) -> Reply {
    let user = super::users::find(call)?;
    let mut limits = user.limits;
    match call.parameter("name") {
        "max-connections" => limits.connections_max = value,
        "max-channels" => limits.channels_max = value,
        name => return Err(unknown(name)),
    }
    let durable_at = call.broker().set_user_limits(&user.name, limits)?;
    Ok(Answer::done().after(durable_at))
}
