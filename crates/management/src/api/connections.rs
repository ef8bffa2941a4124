//! Connections and their channels.

use std::sync::Arc;

use leveret_broker::connections::{ChannelInfo, ConnectionInfo, Facts, PEER_FIELDS};
use serde_json::{Value, json};

use crate::access::is_administrator;
use crate::answer::{Answer, Failure, Reply};
use crate::api::queues::rfc3339;
use crate::api::{consumers, flows};
use crate::call::Call;
use crate::json::Object;
use crate::list::{List, reply_one};
use crate::sampler::Key;
use crate::stats::{DATA, Gathered, MESSAGE_STATS, Writer};
use crate::table::TableJson;

pub(crate) fn list(call: &Call<'_>) -> Reply {
    reply_list(call, visible(call, |_| true))
}

pub(crate) fn list_in_vhost(call: &Call<'_>) -> Reply {
    let vhost = call.vhost()?;
    reply_list(call, visible(call, |it| *it.vhost == *vhost))
}

pub(crate) fn list_of_user(call: &Call<'_>) -> Reply {
    let user = call.parameter("user");
    reply_list(call, visible(call, |it| *it.user == *user))
}

/// The connections that the user may see and `wanted` wants.
pub(crate) fn visible(
    call: &Call<'_>,
    wanted: impl Fn(&ConnectionInfo) -> bool,
) -> Vec<ConnectionInfo> {
    let mut rows = call.broker().list_connections();
    rows.retain(|it| call.sees_connections_of(&it.user) && wanted(it));
    // A call's own connection is no client's.
    rows.retain(|it| !it.facts.name.is_empty());
    rows
}

fn reply_list(call: &Call<'_>, rows: Vec<ConnectionInfo>) -> Reply {
    let node = call.broker().options.node_name.clone();
    let numbers = Writer::rows(call)?;
    let list = List::new(
        rows,
        |connection| &connection.facts.name,
        move |connection, object| write(object, connection, &node, &numbers),
    );
    list.reply(&call.query)
}

pub(crate) fn show(call: &Call<'_>) -> Reply {
    let connection = find(call)?;
    let numbers = Writer::samples(call)?;
    let node = &call.broker().options.node_name;
    reply_one(&call.query, |object| {
        write(object, &connection, node, &numbers);
    })
}

/// The connection that the path names, which the user has to be allowed to see.
pub(crate) fn find(call: &Call<'_>) -> Result<ConnectionInfo, Failure> {
    let name = call.parameter("connection");
    let mut all = call.broker().list_connections().into_iter();
    let connection = all
        .find(|it| it.facts.name == name)
        .ok_or_else(Failure::no_such_object)?;
    if !call.sees_connections_of(&connection.user) {
        return Err(Failure::not_authorised(
            "User not authorised to access object",
        ));
    }
    Ok(connection)
}

/// What a client is told when nobody gave a reason.
const CLOSED: &str = "Closed via management plugin";

/// Closes a connection: one's own, or anybody's for administrators. The header `X-Reason` is what the client is told.
pub(crate) fn close(call: &Call<'_>) -> Reply {
    let connection = find(call)?;
    refuse_other(call, &connection.user)?;
    call.broker().close_connection(connection.id, reason(call));
    Ok(Answer::done())
}

pub(crate) fn close_all_of_user(call: &Call<'_>) -> Reply {
    let user = call.parameter("user");
    refuse_other(call, user)?;
    call.broker().close_connections_of_user(user, reason(call));
    Ok(Answer::done())
}

fn refuse_other(call: &Call<'_>, user: &str) -> Result<(), Failure> {
    match is_administrator(call.user()) || *call.user().name == *user {
        true => Ok(()),
        false => Err(Failure::not_authorised(
            "User not authorised to access object",
        )),
    }
}

fn reason<'a>(call: &'a Call<'_>) -> &'a str {
    let given = call.header("x-reason").filter(|reason| !reason.is_empty());
    given.unwrap_or(CLOSED)
}

fn write(object: &mut Object<'_>, connection: &ConnectionInfo, node: &str, numbers: &Writer) {
    let facts = &connection.facts;
    object.field("name", &facts.name);
    object.field("node", node);
    object.field("vhost", &*connection.vhost);
    object.field("user", &*connection.user);
    object.field("user_who_performed_action", &*connection.user);
    if let Some(name) = &facts.user_provided_name {
        object.field("user_provided_name", name);
    }
    object.field("type", "network");
    object.field("protocol", facts.protocol.name());
    object.field("state", connection.state.name());
    write_addresses(object, facts);
    object.field("connected_at", &facts.connected_at.0);
    object.field("channels", &connection.channels);
    object.field("channel_max", &facts.channel_max);
    object.field("frame_max", &facts.frame_max);
    object.field("timeout", &facts.timeout_s);
    object.field("auth_mechanism", facts.auth_mechanism);
    write_tls(object, facts);
    object.field("client_properties", &TableJson(&facts.client_properties));
    let gathered = Gathered::default().with_connection(connection);
    numbers.write(object, &DATA, Key::Connection(connection.id.0), &gathered);
    object.field("recv_cnt", &connection.recv_cnt);
    object.field("send_cnt", &connection.send_cnt);
    object.field("send_pend", &connection.send_pend);
    object.field("reductions", &0);
    object.field("reductions_details", &json!({"rate": 0.0}));
}

fn write_addresses(object: &mut Object<'_>, facts: &Facts) {
    if let Some(local) = facts.local {
        object.field("host", &local.ip());
        object.field("port", &local.port());
    }
    if let Some(peer) = facts.peer {
        object.field("peer_host", &peer.ip());
        object.field("peer_port", &peer.port());
    }
}

fn write_tls(object: &mut Object<'_>, facts: &Facts) {
    object.field("ssl", &facts.tls.is_some());
    let tls = facts.tls.as_deref();
    object.field("ssl_protocol", &tls.map(|tls| &tls.protocol));
    object.field("ssl_key_exchange", &tls.map(|tls| &tls.key_exchange));
    object.field("ssl_cipher", &tls.map(|tls| &tls.cipher));
    object.field("ssl_hash", &tls.map(|tls| &tls.hash));
    let peer = tls.and_then(|tls| tls.peer.as_ref());
    for (name, value) in PEER_FIELDS {
        object.field(name, &peer.map(value));
    }
}

/// What other objects say about a connection.
pub(crate) fn details(facts: &Facts) -> Value {
    json!({
        "name": facts.name,
        "peer_host": facts.peer.map_or(Value::Null, |peer| peer.ip().to_string().into()),
        "peer_port": facts.peer.map_or(0, |peer| peer.port()),
    })
}

/// What other objects say about a channel.
pub(crate) fn channel_details(facts: &Facts, number: u16, user: &str, node: &str) -> Value {
    json!({
        "name": format!("{} ({number})", facts.name),
        "number": number,
        "connection_name": facts.name,
        "node": node,
        "peer_host": facts.peer.map_or(Value::Null, |peer| peer.ip().to_string().into()),
        "peer_port": facts.peer.map_or(0, |peer| peer.port()),
        "user": user,
    })
}

pub(crate) fn channels(call: &Call<'_>) -> Reply {
    reply_channels(call, visible_channels(call, |_| true))
}

pub(crate) fn channels_in_vhost(call: &Call<'_>) -> Reply {
    let vhost = call.vhost()?;
    reply_channels(call, visible_channels(call, |it| *it.vhost == *vhost))
}

pub(crate) fn channels_of_connection(call: &Call<'_>) -> Reply {
    let connection = find(call)?;
    reply_channels(call, call.broker().channels_of(connection.id))
}

fn visible_channels(call: &Call<'_>, wanted: impl Fn(&ChannelInfo) -> bool) -> Vec<ChannelInfo> {
    let mut rows = call.broker().list_channels();
    rows.retain(|it| call.sees_connections_of(&it.user) && wanted(it));
    rows.retain(|it| !it.facts.name.is_empty());
    rows
}

fn reply_channels(call: &Call<'_>, rows: Vec<ChannelInfo>) -> Reply {
    let node = call.broker().options.node_name.clone();
    let numbers = Writer::rows(call)?;
    let named = rows.into_iter().map(|channel| (channel.name(), channel));
    let list = List::new(
        named.collect(),
        |(name, _)| name,
        move |(_, channel), object| write_channel(object, channel, &node, &numbers),
    );
    list.reply(&call.query)
}

pub(crate) fn show_channel(call: &Call<'_>) -> Reply {
    let name = call.parameter("channel");
    let channel = visible_channels(call, |it| it.name() == name).pop();
    let channel = channel.ok_or_else(Failure::no_such_object)?;
    let numbers = Writer::samples(call)?;
    let node = &call.broker().options.node_name;
    let rows = consumers::of_channel(call, &channel);
    reply_one(&call.query, |object| {
        write_channel(object, &channel, node, &numbers);
        object.list("consumer_details", rows, |row, object| {
            consumers::write(object, &row, node);
        });
        flows::write_of_channel(object, call, &channel, &numbers);
    })
}

fn write_channel(object: &mut Object<'_>, channel: &ChannelInfo, node: &str, numbers: &Writer) {
    object.field("name", &channel.name());
    object.field("number", &channel.number);
    object.field("node", node);
    object.field("user", &*channel.user);
    object.field("user_who_performed_action", &*channel.user);
    object.field("vhost", &*channel.vhost);
    object.field("connection_details", &details(&channel.facts));
    object.field("state", "running");
    object.field("confirm", &channel.confirm);
    object.field("transactional", &channel.transactional);
    object.field("prefetch_count", &channel.prefetch_count);
    object.field("global_prefetch_count", &channel.global_prefetch_count);
    object.field("consumer_count", &channel.consumer_count);
    object.field("messages_unacknowledged", &channel.messages_unacknowledged);
    object.field("messages_unconfirmed", &channel.messages_unconfirmed);
    object.field("messages_uncommitted", &channel.messages_uncommitted);
    object.field("acks_uncommitted", &channel.acks_uncommitted);
    object.field("pending_raft_commands", &0);
    object.field("reductions", &0);
    object.field("reductions_details", &json!({"rate": 0.0}));
    let key = Key::channel(channel);
    // One that is in use has no such field.
    if let Some(since) = numbers.idle_since(key) {
        object.field_with("idle_since", || rfc3339(since.0));
    }
    object.object("message_stats", |object| {
        let gathered = Gathered::default()
            .with_publishes(&channel.counters.publishes)
            .with_deliveries(&channel.counters.deliveries());
        numbers.write(object, &MESSAGE_STATS[..12], key, &gathered);
    });
}

/// The facts of every connection, to be found by its number.
pub(crate) fn facts_by_id(
    call: &Call<'_>,
) -> std::collections::BTreeMap<u64, (Arc<Facts>, Arc<str>)> {
    let all = call.broker().list_connections().into_iter();
    all.map(|it| (it.id.0, (it.facts, it.user))).collect()
}
