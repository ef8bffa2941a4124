//! Shovels, of which the node runs one for each parameter `shovel`.

use serde_json::Value;

use super::all_columns;
use crate::command::{Column, Command, Section, column};
use crate::failure::{Failure, UNAVAILABLE};
use crate::node::{Node, path};
use crate::output::Output;
use crate::term::Kind;

const COLUMNS: &[Column] = &[
    column("name", Kind::Plain),
    column("pending", Kind::Plain),
    column("type", Kind::Plain),
    column("state", Kind::Plain),
    column("source", Kind::Plain),
    column("destination", Kind::Plain),
    column("vhost", Kind::Plain),
    column("termination_reason", Kind::Plain),
    column("destination_protocol", Kind::Plain),
    column("source_protocol", Kind::Plain),
    column("last_changed", Kind::Plain),
    column("source_queue", Kind::Plain),
    column("destination_queue", Kind::Plain),
    column("remaining", Kind::Plain),
    column("remaining_unacked", Kind::Plain),
    column("forwarded", Kind::Plain),
];

/// What the HTTP API calls otherwise.
const NAMES: [(&str, &str); 8] = [
    ("source", "src_uri"),
    ("destination", "dest_uri"),
    ("termination_reason", "reason"),
    ("destination_protocol", "dest_protocol"),
    ("source_protocol", "src_protocol"),
    ("last_changed", "timestamp"),
    ("source_queue", "src_queue"),
    ("destination_queue", "dest_queue"),
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        Section::Monitoring,
        "shovel_status",
        "Displays status of Shovel on a node",
        0..=0,
        |_, node| {
            let mut objects = node.list("/api/shovels")?;
            objects.iter_mut().for_each(rename);
            Ok(all_columns(&objects, COLUMNS))
        },
    )
    .table()
    .banner(|_| "Shovel status ...".to_owned()),
    Command::new(
        Section::Parameters,
        "delete_shovel",
        "Deletes a Shovel",
        1..=1,
        |call, node| {
            let at = path(["shovels", "vhost", call.vhost(), call.argument(0)]);
            delete(node, &at, call.vhost())
        },
    )
    .usage("[--vhost <vhost>] <name>")
    .banner(|call| {
        format!(
            "Deleting shovel {} in vhost {}",
            call.argument(0),
            call.vhost()
        )
    }),
    Command::new(
        Section::Parameters,
        "restart_shovel",
        "Restarts a dynamic Shovel",
        1..=1,
        |call, node| {
            let at = path([
                "shovels",
                "vhost",
                call.vhost(),
                call.argument(0),
                "restart",
            ]);
            delete(node, &at, call.vhost())
        },
    )
    .usage("[--vhost <vhost>] <name>")
    .banner(|call| {
        format!(
            "Restarting dynamic Shovel {} in virtual host {}",
            call.argument(0),
            call.vhost()
        )
    }),
];

fn rename(object: &mut Value) {
    let Value::Object(fields) = object else {
        return;
    };
    for (ours, theirs) in NAMES {
        if let Some(value) = fields.remove(theirs) {
            fields.insert(ours.to_owned(), value);
        }
    }
}

fn delete(node: &Node, at: &str, vhost: &str) -> Result<Output, Failure> {
    let not_found = || {
        Failure::error_with(
            UNAVAILABLE,
            format!(
                "Shovel with the given name was not found on the target node and / or virtual host '{vhost}'"
            ),
        )
    };
    node.delete(at)
        .map_err(|refused| refused.or_not_found(not_found))?;
    Ok(Output::Done)
}
