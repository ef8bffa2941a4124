//! Streams: their members, and the coordinator of those.

use serde_json::{Value, json};

use super::{all_columns, exists};
use crate::call::Call;
use crate::command::{Column, Command, Section, Switch, plain};
use crate::failure::Failure;
use crate::node::{Node, path};
use crate::output::{Output, Rows};
use crate::tool::Tool;

const STREAMS: &[Tool] = &[Tool::Streams];

const STATUS: [Column; 9] = [
    plain("role", "role"),
    plain("node", "node"),
    plain("epoch", "epoch"),
    plain("offset", "offset"),
    plain("committed_offset", "committed_offset"),
    plain("committed_chunk_id", "committed_chunk_id"),
    plain("first_offset", "first_offset"),
    plain("readers", "readers"),
    plain("segments", "segments"),
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        Section::Monitoring,
        "stream_status",
        "Shows the members of a stream",
        1..=1,
        status,
    )
    .usage("[--vhost <vhost>] [--tracking] <stream>")
    .tools(&[Tool::Diagnostics, Tool::Queues, Tool::Streams])
    .switches(&[Switch::flag("tracking")])
    .pretty_table()
    .banner(|call| {
        format!(
            "Status of stream {} on node {} ...",
            call.argument(0),
            call.node
        )
    }),
    Command::new(
        Section::Replication,
        "restart_stream",
        "Does nothing but name the node of a stream: it has no other member that could lead it",
        1..=1,
        restart,
    )
    .usage("[--vhost <vhost>] <stream> [--preferred-leader-node <node>]")
    .tools(STREAMS)
    .switches(&[Switch::text("preferred-leader-node")])
    .banner(|call| format!("Restarting stream {}...", call.argument(0))),
    Command::new(
        Section::Monitoring,
        "coordinator_status",
        "Shows the coordinator of streams",
        0..=0,
        |_, node| {
            node.name()?;
            Err(Failure::error(
                "Cannot get coordinator status as coordinator not started or unavailable",
            ))
        },
    )
    .tools(STREAMS)
    .pretty_table()
    .banner(|_| "Status of stream coordinator ...".to_owned()),
];

/// The stream that is named; what to say of another queue is made from its type.
fn stream(
    call: &Call<'_>,
    node: &Node,
    another: impl FnOnce(&str) -> String,
) -> Result<Value, Failure> {
    let queue = exists(node.get(&path(["queues", call.vhost(), call.argument(0)])))?;
    let queue = queue.ok_or_else(Failure::no_object)?;
    match queue["type"].as_str() {
        Some("stream") => Ok(queue),
        other => Err(Failure::error(another(other.unwrap_or("classic")))),
    }
}

fn status(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let stream = stream(call, node, |kind| {
        format!("Cannot get stream status of a {kind} queue")
    })?;
    if call.flag("tracking") {
        // Offsets are stored by clients of the stream protocol.
        return Ok(Output::Rows(Rows {
            columns: ["reference", "offset"].map(str::to_owned).into(),
            rows: Vec::new(),
        }));
    }
    Ok(all_columns(&members(&stream), &STATUS))
}

fn restart(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let stream = stream(call, node, |kind| {
        format!("{{:not_supported_for_type, :rabbit_{kind}_queue}}")
    })?;
    let leader = stream["leader"].as_str().unwrap_or_default();
    Ok(Output::Text(leader.to_owned()))
}

/// A row for each member, the one that writes first. The API tells offsets of that one, and RabbitMQ's none.
fn members(stream: &Value) -> Vec<Value> {
    let leader = &stream["leader"];
    let others = stream["members"].as_array().into_iter().flatten();
    let others = others.filter(|&member| member != leader);
    let last = stream["next_offset"].as_i64().map(|next| next - 1);
    let readers = |member: &Value| {
        let name = member.as_str().unwrap_or_default();
        stream["readers"][name].as_u64().unwrap_or_default()
    };
    let writer = json!({
        "role": "writer", "node": leader, "offset": last, "committed_offset": last,
        "first_offset": stream["first_offset"], "readers": readers(leader), "segments": stream["segments"],
    });
    let replica = |member| json!({"role": "replica", "node": member, "readers": readers(member)});
    std::iter::once(writer).chain(others.map(replica)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_comes_first_and_tells_most() {
        let stream = json!({
            "leader": "b@x", "members": ["a@x", "b@x"], "readers": {"a@x": 1, "b@x": 2}, "segments": 3,
            "first_offset": 5, "next_offset": 8,
        });
        let expected = [
            json!({
                "role": "writer", "node": "b@x", "offset": 7, "committed_offset": 7, "first_offset": 5, "readers": 2,
                "segments": 3,
            }),
            json!({"role": "replica", "node": "a@x", "readers": 1}),
        ];
        assert_eq!(members(&stream), expected);
    }
}
