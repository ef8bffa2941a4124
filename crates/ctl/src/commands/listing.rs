//! Lists of what is there: queues, exchanges, bindings, connections, channels, consumers.

use serde_json::Value;

use super::rows;
use crate::call::Call;
use crate::command::{
    CTL_AND_DIAGNOSTICS, Column, Command, Section, Switch, TIMEOUT, column, plain,
};
use crate::failure::Failure;
use crate::node::{Node, encoded, path};
use crate::output::Output;
use crate::term::Kind;

/// RabbitMQ gives a list of queues a minute, and says so.
const QUEUES_TIMEOUT_S: u64 = 60;

const fn count(name: &'static str) -> Column {
    column(name, Kind::Count)
}

const QUEUES: [Column; 37] = [
    plain("name", "name"),
    plain("durable", "durable"),
    plain("auto_delete", "auto_delete"),
    column("arguments", Kind::Table),
    plain("policy", "policy"),
    plain("operator_policy", "operator_policy"),
    column("effective_policy_definition", Kind::Definition),
    // Processes of Erlang, which are not here; the connection that owns an exclusive queue has a name.
    plain("pid", "pid"),
    plain("owner_pid", "owner_pid_details.name"),
    plain("exclusive", "exclusive"),
    plain("exclusive_consumer_pid", "exclusive_consumer_pid"),
    plain("exclusive_consumer_tag", "exclusive_consumer_tag"),
    count("messages_ready"),
    count("messages_unacknowledged"),
    count("messages"),
    count("messages_ready_ram"),
    count("messages_unacknowledged_ram"),
    count("messages_ram"),
    count("messages_persistent"),
    count("message_bytes"),
    count("message_bytes_ready"),
    count("message_bytes_unacknowledged"),
    count("message_bytes_ram"),
    count("message_bytes_persistent"),
    plain("head_message_timestamp", "head_message_timestamp"),
    // RabbitMQ does not know it.
    plain("oldest_message_age", "oldest_message_age"),
    Column {
        name: "disk_reads",
        kind: Kind::Count,
        field: "message_stats.disk_reads",
    },
    Column {
        name: "disk_writes",
        kind: Kind::Count,
        field: "message_stats.disk_writes",
    },
    count("consumers"),
    plain("consumer_utilisation", "consumer_utilisation"),
    plain("consumer_capacity", "consumer_capacity"),
    count("memory"),
    plain("state", "state"),
    plain("type", "type"),
    plain("leader", "leader"),
    plain("members", "members"),
    plain("online", "online"),
];

/// Of those that do not answer not all is known.
const UNRESPONSIVE: [Column; 5] = [
    plain("name", "name"),
    plain("durable", "durable"),
    plain("auto_delete", "auto_delete"),
    column("arguments", Kind::Table),
    plain("pid", "pid"),
];

const EXCHANGES: [Column; 7] = [
    plain("name", "name"),
    plain("type", "type"),
    plain("durable", "durable"),
    plain("auto_delete", "auto_delete"),
    plain("internal", "internal"),
    column("arguments", Kind::Table),
    plain("policy", "policy"),
];

const BINDINGS: [Column; 6] = [
    plain("source_name", "source"),
    plain("source_kind", "source_kind"),
    plain("destination_name", "destination"),
    plain("destination_kind", "destination_type"),
    plain("routing_key", "routing_key"),
    column("arguments", Kind::Table),
];

const CONNECTIONS: [Column; 32] = [
    // What close_connection takes.
    plain("pid", "name"),
    plain("name", "name"),
    plain("port", "port"),
    plain("host", "host"),
    plain("peer_port", "peer_port"),
    plain("peer_host", "peer_host"),
    plain("ssl", "ssl"),
    plain("ssl_protocol", "ssl_protocol"),
    plain("ssl_key_exchange", "ssl_key_exchange"),
    plain("ssl_cipher", "ssl_cipher"),
    plain("ssl_hash", "ssl_hash"),
    plain("peer_cert_subject", "peer_cert_subject"),
    plain("peer_cert_issuer", "peer_cert_issuer"),
    plain("peer_cert_serial_number", "peer_cert_serial_number"),
    plain("peer_cert_validity", "peer_cert_validity"),
    plain("state", "state"),
    plain("channels", "channels"),
    column("protocol", Kind::Protocol),
    plain("auth_mechanism", "auth_mechanism"),
    plain("user", "user"),
    plain("vhost", "vhost"),
    plain("container_id", "container_id"),
    plain("timeout", "timeout"),
    plain("frame_max", "frame_max"),
    plain("channel_max", "channel_max"),
    column("client_properties", Kind::Table),
    count("recv_oct"),
    count("recv_cnt"),
    count("send_oct"),
    count("send_cnt"),
    count("send_pend"),
    plain("connected_at", "connected_at"),
];

const CHANNELS: [Column; 14] = [
    plain("pid", "name"),
    plain("connection", "connection_details.name"),
    plain("name", "name"),
    plain("number", "number"),
    plain("user", "user"),
    plain("vhost", "vhost"),
    plain("transactional", "transactional"),
    plain("confirm", "confirm"),
    count("consumer_count"),
    count("messages_unacknowledged"),
    count("messages_uncommitted"),
    count("acks_uncommitted"),
    count("messages_unconfirmed"),
    count("prefetch_count"),
];

const CONSUMERS: [Column; 8] = [
    plain("queue_name", "queue.name"),
    plain("channel_pid", "channel_details.name"),
    plain("consumer_tag", "consumer_tag"),
    plain("ack_required", "ack_required"),
    plain("prefetch_count", "prefetch_count"),
    plain("active", "active"),
    plain("activity_status", "activity_status"),
    column("arguments", Kind::Table),
];

pub(super) const COMMANDS: &[Command] = &[
    list(
        "list_queues",
        "Lists the queues of a virtual host",
        list_queues,
    )
    .usage(
        "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, ...]",
    )
    .switches(&[
        Switch::flag("offline"),
        Switch::flag("online"),
        Switch::flag("local"),
        TIMEOUT,
    ])
    .columns(&QUEUES)
    .banner(|call| {
        let seconds = call.timeout_or(QUEUES_TIMEOUT_S).as_secs();
        format!(
            "Timeout: {seconds}.0 seconds ...\nListing queues for vhost {} ...",
            call.vhost()
        )
    }),
    list(
        "list_unresponsive_queues",
        "Lists queues that do not answer in time; here there are none, a queue is not a process",
        |call, node| {
            let names = call.columns(&["name"])?;
            node.list(&path(["vhosts"]))?;
            Ok(rows(&[], &names))
        },
    )
    .usage("[--local] [--queue-timeout <seconds>] [<column> ...] [--no-table-headers]")
    .switches(&[
        Switch::number("queue-timeout"),
        Switch::flag("local"),
        TIMEOUT,
    ])
    .columns(&UNRESPONSIVE)
    .banner(|call| format!("Listing unresponsive queues for vhost {} ...", call.vhost())),
    list(
        "list_exchanges",
        "Lists the exchanges of a virtual host",
        |call, node| {
            let names = call.columns(&["name", "type"])?;
            let objects = node.list(&path(["exchanges", call.vhost()]))?;
            Ok(rows(&objects, &names))
        },
    )
    .usage("[--vhost <vhost>] [--no-table-headers] [<column> ...]")
    .switches(&[TIMEOUT])
    .columns(&EXCHANGES)
    .banner(|call| format!("Listing exchanges for vhost {} ...", call.vhost())),
    list(
        "list_bindings",
        "Lists the bindings of a virtual host",
        list_bindings,
    )
    .usage("[--vhost <vhost>] [--no-table-headers] [<column> ...]")
    .switches(&[TIMEOUT])
    .columns(&BINDINGS)
    .banner(|call| format!("Listing bindings for vhost {}...", call.vhost())),
    list("list_connections", "Lists connections", |call, node| {
        let names = call.columns(&["user", "peer_host", "peer_port", "state"])?;
        let objects = node.list("/api/connections")?;
        Ok(rows(&objects, &names))
    })
    .usage("[--no-table-headers] [<column> ...]")
    .columns(&CONNECTIONS)
    .banner(|_| "Listing connections ...".to_owned()),
    list("list_channels", "Lists channels", |call, node| {
        let default = ["pid", "user", "consumer_count", "messages_unacknowledged"];
        let names = call.columns(&default)?;
        let objects = node.list("/api/channels")?;
        Ok(rows(&objects, &names))
    })
    .usage("[--no-table-headers] [<column> ...]")
    .columns(&CHANNELS)
    .banner(|_| "Listing channels ...".to_owned()),
    list(
        "list_consumers",
        "Lists the consumers of a virtual host",
        |call, node| {
            let default = [
                "queue_name",
                "channel_pid",
                "consumer_tag",
                "ack_required",
                "prefetch_count",
                "active",
                "arguments",
            ];
            let names = call.columns(&default)?;
            let objects = node.list(&path(["consumers", call.vhost()]))?;
            Ok(rows(&objects, &names))
        },
    )
    .usage("[--vhost <vhost>] [--no-table-headers] [<column> ...]")
    .columns(&CONSUMERS)
    .banner(|call| format!("Listing consumers in vhost {} ...", call.vhost())),
];

/// A list whose columns are chosen by the arguments.
const fn list(
    name: &'static str,
    about: &'static str,
    run: fn(&Call<'_>, &Node) -> Result<Output, Failure>,
) -> Command {
    Command::new(Section::Monitoring, name, about, 0..=usize::MAX, run)
        .tools(CTL_AND_DIAGNOSTICS)
        .check(|call| call.columns(&[]).map(drop))
        .table()
}

fn list_queues(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let names = call.columns(&["name", "messages"])?;
    // Only what is shown is asked for: of 100 000 queues that is a tenth of the whole.
    let fields: Vec<&str> = names
        .iter()
        .map(|column| column.field)
        .chain(["name", "state"])
        .collect();
    let at = path(["queues", call.vhost()]);
    let mut objects = node.list(&format!("{at}?columns={}", encoded(&fields.join(","))))?;
    let (online, offline) = (call.flag("online"), call.flag("offline"));
    if online != offline {
        objects.retain(|queue| is_down(queue) == offline);
    }
    Ok(rows(&objects, &names))
}

fn is_down(queue: &Value) -> bool {
    ["down", "stopped"]
        .iter()
        .any(|state| queue["state"] == *state)
}

fn list_bindings(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let names = call.columns(&BINDINGS.each_ref().map(|column| column.name))?;
    let mut objects = node.list(&path(["bindings", call.vhost()]))?;
    for binding in &mut objects {
        // What a binding leads away from is always an exchange.
        binding["source_kind"] = "exchange".into();
    }
    Ok(rows(&objects, &names))
}
