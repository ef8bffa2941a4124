//! Closing connections. What RabbitMQ's tools call a connection's pid is here its name, which `list_connections` shows.

use std::thread;
use std::time::Duration;

use super::gone;
use crate::call::Call;
use crate::command::{Command, Section, Switch};
use crate::failure::Failure;
use crate::node::{Node, path};
use crate::output::Output;

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        Section::Operations,
        "close_connection",
        "Closes a connection",
        2..=2,
        |call, node| close(node, call.argument(0), call.argument(1)),
    )
    .usage("<connection pid> <explanation>")
    .banner(|call| {
        format!(
            "Closing connection {}, reason: {}...",
            call.argument(0),
            call.argument(1)
        )
    }),
    Command::new(
        Section::Operations,
        "close_all_connections",
        "Closes the connections of a virtual host, or all",
        1..=1,
        close_all,
    )
    .usage(
        "[--vhost <vhost> --limit <limit>] [-n <node> --global] \
         [--per-connection-delay <delay>] <explanation>",
    )
    .switches(&[
        Switch::flag("global"),
        Switch::number("per-connection-delay"),
        Switch::number("limit"),
    ])
    .banner(closing_all),
    Command::new(
        Section::Operations,
        "close_all_user_connections",
        "Closes a user's connections",
        2..=2,
        |call, node| {
            let at = path(["connections", "username", call.argument(0)]);
            gone(node.delete_because(&at, call.argument(1)))
        },
    )
    .usage("<username> <explanation>")
    .banner(|call| {
        let (user, reason) = (call.argument(0), call.argument(1));
        format!("Closing connections of user {user}, reason: {reason}...")
    }),
];

fn close(node: &Node, name: &str, reason: &str) -> Result<Output, Failure> {
    gone(node.delete_because(&path(["connections", name]), reason))
}

fn closing_all(call: &Call<'_>) -> String {
    let (vhost, reason) = (call.vhost(), call.argument(0));
    if call.flag("global") {
        let node = &call.node;
        return format!(
            "Closing all connections to node {node} (across all vhosts), reason: {reason}..."
        );
    }
    match call.number("limit") {
        None | Some(0) => format!("Closing all connections in vhost {vhost}, reason: {reason}..."),
        Some(limit) => format!("Closing {limit} connections in vhost {vhost}, reason: {reason}..."),
    }
}

fn close_all(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let is_global = call.flag("global");
    let mut connections = node.list("/api/connections?columns=name,vhost")?;
    connections.retain(|connection| is_global || connection["vhost"] == call.vhost());
    if let Some(limit) = call
        .number("limit")
        .and_then(|limit| usize::try_from(limit).ok())
        && limit > 0
        && !is_global
    {
        connections.truncate(limit);
    }
    // Clients that all come back at once are a storm: the delay spreads them, in milliseconds.
    let delay = call.number("per-connection-delay").unwrap_or_default();
    let delay = Duration::from_millis(u64::try_from(delay).unwrap_or_default());
    for connection in &connections {
        close(
            node,
            connection["name"].as_str().unwrap_or_default(),
            call.argument(0),
        )?;
        thread::sleep(delay);
    }
    Ok(Output::Text(format!(
        "Closed {} connections",
        connections.len()
    )))
}
