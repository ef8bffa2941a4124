//! Single queues: deleting, purging, and the members of quorum queues.

use serde_json::{Value, json};

use super::lifecycle::not_offered;
use super::{all_columns, exists, gone};
use crate::call::Call;
use crate::command::{
    Column, Command, DIAGNOSTICS_AND_QUEUES, QUEUES, Section, Switch, TIMEOUT, plain,
};
use crate::failure::{DATA, Failure, USAGE};
use crate::node::{Node, Refusal, Refused, path};
use crate::output::Output;

const STATUS: [Column; 10] = [
    plain("Node Name", "Node Name"),
    plain("Raft State", "Raft State"),
    plain("Membership", "Membership"),
    plain("Last Log Index", "Last Log Index"),
    plain("Last Written", "Last Written"),
    plain("Last Applied", "Last Applied"),
    plain("Commit Index", "Commit Index"),
    plain("Snapshot Index", "Snapshot Index"),
    plain("Term", "Term"),
    plain("Machine Version", "Machine Version"),
];

/// What chooses quorum queues, and says how they get members.
pub(super) const GROW_SWITCHES: &[Switch] = &[
    Switch::text("vhost-pattern"),
    Switch::text("queue-pattern"),
    Switch::text("membership"),
    Switch::flag("errors-only"),
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        Section::Queues,
        "delete_queue",
        "Deletes a queue",
        1..=1,
        delete,
    )
    .usage("[--vhost <vhost>] <queue_name> [--if-empty|-e] [--if-unused|-u] [--force]")
    .switches(&[
        Switch::flag("if-empty").short('e'),
        Switch::flag("if-unused").short('u'),
        Switch::flag("force"),
        TIMEOUT,
    ])
    .check(|call| match call.argument(0) {
        "" => Err(Failure::argument("queue name cannot be an empty string")),
        _ => Ok(()),
    })
    .banner(deleting),
    Command::new(
        Section::Queues,
        "purge_queue",
        "Drops what waits in a queue",
        1..=1,
        |call, node| {
            node.delete(&path([
                "queues",
                call.vhost(),
                call.argument(0),
                "contents",
            ]))
            .map_err(|refused| refused.or_not_found(Failure::no_object))?;
            Ok(Output::Done)
        },
    )
    .usage("<queue>")
    .switches(&[TIMEOUT])
    .banner(|call| {
        format!(
            "Purging queue '{}' in vhost '{}' ...",
            call.argument(0),
            call.vhost()
        )
    }),
    Command::new(
        Section::Monitoring,
        "quorum_status",
        "Shows the members of a quorum queue",
        1..=1,
        quorum_status,
    )
    .usage("[--vhost <vhost>] <queue>")
    .tools(DIAGNOSTICS_AND_QUEUES)
    .pretty_table()
    .banner(|call| {
        format!(
            "Status of queue {} on node {} ...",
            call.argument(0),
            call.node
        )
    }),
    Command::new(
        Section::Replication,
        "add_member",
        "Adds a member to a quorum queue",
        2..=2,
        |call, node| {
            let body = json!({ "node": call.argument(1) });
            if queue_type(call, node)?.is_none() {
                return Err(no_queue(call));
            }
            node.post(&members(call, "add"), &body)
                .map_err(not_offered)?;
            Ok(Output::Done)
        },
    )
    .usage("[--vhost <vhost>] <queue> <node> [--membership <promotable|voter>]")
    .tools(QUEUES)
    .switches(&[Switch::text("membership"), TIMEOUT])
    .banner(|call| {
        format!(
            "Adding a member for queue {} on node {}...",
            call.argument(0),
            call.argument(1)
        )
    }),
    Command::new(
        Section::Replication,
        "delete_member",
        "Takes a member from a quorum queue",
        2..=2,
        |call, node| {
            let body = json!({ "node": call.argument(1) });
            if queue_type(call, node)?.is_none() {
                return Err(no_queue(call));
            }
            node.delete_with_body(&members(call, "delete"), &body)
                .map_err(not_offered)?;
            Ok(Output::Done)
        },
    )
    .usage("[--vhost <vhost>] <queue> <node>")
    .tools(QUEUES)
    .banner(|call| {
        format!(
            "Removing a replica of queue {} on node {}...",
            call.argument(0),
            call.argument(1)
        )
    }),
    Command::new(
        Section::Cluster,
        "grow",
        "Adds a member on a node to all queues that match",
        2..=2,
        grow,
    )
    .usage(
        "<node> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>] \
             [--membership <promotable|voter>]",
    )
    .tools(QUEUES)
    .switches(GROW_SWITCHES)
    .check(|call| match call.argument(1) {
        "all" | "even" => Ok(()),
        other => Err(Failure::usage(format!(
            "\"strategy '{other}' is not recognised.\""
        ))),
    })
    .table()
    .banner(|call| {
        format!(
            "Growing {} queues on {}...",
            call.argument(1),
            call.argument(0)
        )
    }),
    Command::new(
        Section::Cluster,
        "shrink",
        "Takes the members on a node from all queues",
        1..=1,
        |call, node| {
            let name = call.argument(0);
            if !is_member(call, node)? {
                return Err(Failure::error(format!("{{:node_not_running, :{name}}}")));
            }
            gone(node.delete(&path([
                "queues", "quorum", "replicas", "on", name, "shrink",
            ])))
        },
    )
    .usage("<node> [--errors-only]")
    .tools(QUEUES)
    .switches(&[Switch::flag("errors-only")])
    .table()
    .banner(|call| format!("Shrinking queues on {}...", call.argument(0))),
    Command::new(
        Section::Cluster,
        "rebalance",
        "Spreads the leaders of queues over the nodes",
        1..=1,
        rebalance,
    )
    .usage("< all | quorum | stream > [--vhost-pattern <pattern>] [--queue-pattern <pattern>]")
    .tools(QUEUES)
    .switches(&[Switch::text("vhost-pattern"), Switch::text("queue-pattern")])
    .check(|call| match call.argument(0) {
        "all" | "quorum" | "stream" => Ok(()),
        other => Err(Failure::error(format!(
            "type {other} is not supported. Try one of all, quorum, stream."
        ))),
    })
    .pretty_table()
    .banner(|call| format!("Re-balancing leaders of {} queues...", call.argument(0))),
    Command::new(
        Section::Operations,
        "reclaim_quorum_memory",
        "Does nothing but look for the queue: there is no garbage to collect",
        1..=1,
        |call, node| match queue_type(call, node)?.as_deref() {
            Some("quorum") => Ok(Output::Done),
            Some("classic") => Err(Failure::error(
                "This operation is not applicable to classic queues",
            )),
            _ => Err(no_target(call)),
        },
    )
    .usage("[--vhost <vhost>] <quorum queue>")
    .tools(DIAGNOSTICS_AND_QUEUES)
    .banner(|call| format!("Will garbage collect quorum queue {} ...", call.argument(0))),
    Command::new(
        Section::Replication,
        "transfer_leadership",
        "Makes another member of a quorum queue its leader",
        2..=2,
        transfer_leadership,
    )
    .usage("[--vhost <vhost>] <queue> <node>")
    .tools(QUEUES)
    .banner(|call| {
        let (queue, to) = (call.argument(0), call.argument(1));
        format!("Transferring leadership of quorum queue {queue} to node {to}...")
    }),
];

pub(super) fn no_target(call: &Call<'_>) -> Failure {
    let vhost = call.vhost();
    Failure::error(format!(
        "Target queue was not found in virtual host '{vhost}'"
    ))
}

fn deleting(call: &Call<'_>) -> String {
    let (queue, vhost) = (call.argument(0), call.vhost());
    let conditions = match (call.flag("if-empty"), call.flag("if-unused")) {
        (false, false) => "",
        (true, false) => "if queue is empty ",
        (false, true) => "if queue is unused ",
        (true, true) => "if queue is empty and if queue is unused ",
    };
    format!("Deleting queue '{queue}' on vhost '{vhost}' {conditions}...")
}

fn delete(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let at = path(["queues", call.vhost(), call.argument(0)]);
    let no_queue = || Failure::error_with(USAGE, "No such queue was found");
    let queue = exists(node.get(&at))?.ok_or_else(no_queue)?;
    let (if_empty, if_unused) = (call.flag("if-empty"), call.flag("if-unused"));
    let condition = |name: &str, is_set: bool| {
        if is_set {
            format!("{name}=true&")
        } else {
            String::new()
        }
    };
    let conditions = condition("if-empty", if_empty) + &condition("if-unused", if_unused);
    match node.delete(&format!("{at}?{conditions}")) {
        Ok(()) => {
            let ready = queue["messages_ready"].as_u64().unwrap_or_default();
            Ok(Output::Text(format!(
                "Queue was successfully deleted with {ready} ready messages"
            )))
        }
        Err(Refused::Refusal(refusal)) => Err(not_deleted(refusal)),
        Err(refused) => Err(refused.or_not_found(no_queue)),
    }
}

/// The broker's refusals have shorter words here.
fn not_deleted(refusal: Refusal) -> Failure {
    let said = |text: &str| Failure::error_with(USAGE, text);
    let reason = refusal.reason;
    if reason.contains(" not empty") {
        said("The queue is not empty")
    } else if reason.contains(" in use") {
        said("The queue is in use")
    } else if reason.contains("exclusive access to locked queue") || reason.contains("protected") {
        said("The queue is locked or protected from deletion")
    } else {
        Failure::error(reason)
    }
}

fn no_queue(call: &Call<'_>) -> Failure {
    let (queue, vhost) = (call.argument(0), call.vhost());
    Failure::Said {
        code: DATA,
        text: format!("queue '{queue}' was not found in virtual host '{vhost}'"),
    }
}

pub(super) fn queue_type(call: &Call<'_>, node: &Node) -> Result<Option<String>, Failure> {
    let queue = exists(node.get(&path(["queues", call.vhost(), call.argument(0)])))?;
    let type_ = queue.and_then(|queue| queue["type"].as_str().map(str::to_owned));
    Ok(type_)
}

fn quorum_status(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let at = path(["queues", "quorum", call.vhost(), call.argument(0), "status"]);
    if queue_type(call, node)?.is_none() {
        return Err(no_queue(call));
    }
    Ok(all_columns(&node.list(&at)?, &STATUS))
}

fn members(call: &Call<'_>, what: &str) -> String {
    path([
        "queues",
        "quorum",
        call.vhost(),
        call.argument(0),
        "replicas",
        what,
    ])
}

/// Whether the cluster has the node that is the first argument.
fn is_member(call: &Call<'_>, node: &Node) -> Result<bool, Failure> {
    Ok(exists(node.get(&path(["nodes", call.argument(0)])))?.is_some())
}

fn grow(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    if !is_member(call, node)? {
        let name = call.argument(0);
        return Err(Failure::Said {
            code: USAGE,
            text: format!("Error: node {name} is not a member of the cluster"),
        });
    }
    let mut body = json!({
        "strategy": call.argument(1),
        "vhost_pattern": call.value("vhost-pattern").unwrap_or(".*"),
        "queue_pattern": call.value("queue-pattern").unwrap_or(".*"),
    });
    if let Some(membership) = call.value("membership") {
        body["membership"] = membership.into();
    }
    let place = [
        "queues",
        "quorum",
        "replicas",
        "on",
        call.argument(0),
        "grow",
    ];
    match node.post(&path(place), &body) {
        // Without the path there is one node, and every queue is on it.
        Ok(_) | Err(Refused::NotFound(_)) => Ok(Output::Done),
        Err(refused) => Err(refused.into()),
    }
}

fn rebalance(_: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    const COLUMNS: [Column; 2] = [
        plain("Node name", "node"),
        plain("Number of quorum queues", "queues"),
    ];
    node.post("/api/rebalance/queues", &json!({}))?;
    let queues = node.list("/api/queues?columns=type,leader,node")?;
    Ok(all_columns(&leaders(&queues), &COLUMNS))
}

/// How many quorum queues each node leads, by the node's name.
pub(super) fn leaders(queues: &[Value]) -> Vec<Value> {
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    for queue in queues.iter().filter(|queue| queue["type"] == "quorum") {
        let leader = queue["leader"].as_str().or_else(|| queue["node"].as_str());
        *counts.entry(leader.unwrap_or_default()).or_default() += 1;
    }
    let count = |(node, queues)| json!({ "node": node, "queues": queues });
    counts.into_iter().map(count).collect()
}

fn transfer_leadership(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let at = path(["queues", call.vhost(), call.argument(0)]);
    let queue = exists(node.get(&at))?.ok_or_else(|| no_queue(call))?;
    if queue["type"] != "quorum" {
        return Err(Failure::error(
            "Cannot transfer leadership of a non-quorum queue",
        ));
    }
    if queue["leader"] == call.argument(1) {
        return Err(Failure::error(
            "The target node is already the leader of this queue",
        ));
    }
    let members = queue["members"].as_array();
    let is_member = members.is_some_and(|members| members.contains(&call.argument(1).into()));
    Err(Failure::error(if is_member {
        "The HTTP API does not transfer leadership"
    } else {
        "The target node is not a member of this queue"
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_are_counted() {
        let queues = [
            json!({"type": "quorum", "leader": "b@x"}),
            json!({"type": "classic", "node": "a@x"}),
            json!({"type": "quorum", "leader": "b@x"}),
            json!({"type": "quorum", "node": "a@x"}),
        ];
        let expected = [
            json!({"node": "a@x", "queues": 1}),
            json!({"node": "b@x", "queues": 2}),
        ];
        assert_eq!(leaders(&queues), expected);
    }

    #[test]
    fn refusals_are_short() {
        let check = |reason: &str, text: &str| {
            let refusal = Refusal {
                status: 400,
                reason: reason.to_owned(),
            };
            assert_eq!(not_deleted(refusal), Failure::error_with(USAGE, text));
        };
        check("queue 'q' in vhost '/' not empty", "The queue is not empty");
        check("queue 'q' in vhost '/' in use", "The queue is in use");
    }
}
