//! Starting, stopping, waiting; joining and leaving a cluster.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};
use serde_json::json;

use super::checks::is_ready;
use crate::call::Call;
use crate::command::{CTL_AND_DIAGNOSTICS, Command, Section, Switch, TIMEOUT};
use crate::failure::{Failure, SOFTWARE, UNAVAILABLE};
use crate::node::{Node, path};
use crate::output::Output;

/// How often a node that is waited for is asked.
const PAUSE: Duration = Duration::from_millis(200);
const STARTUP_TIMEOUT_S: u64 = 300;
const ONLINE_TIMEOUT_S: u64 = 300;
const PING_TIMEOUT_S: u64 = 60;
const SHUTDOWN_TIMEOUT_S: u64 = 120;
const WAIT_TIMEOUT_S: u64 = 10;

pub(super) const COMMANDS: &[Command] = &[
    Command::new(Section::Monitoring, "ping", "Tells whether anything answers for the node", 0..=0, |_, node| {
        node.check("/api/version")?;
        Ok(Output::Text("Ping succeeded".to_owned()))
    })
    .tools(CTL_AND_DIAGNOSTICS)
    .banner(|call| {
        format!(
            "Will ping {}. This only checks if the OS process is running and answers. Timeout: {} ms.",
            call.node,
            call.timeout_or(PING_TIMEOUT_S).as_millis()
        )
    }),
    Command::new(Section::Nodes, "await_startup", "Waits until the node serves clients", 0..=0, |call, node| {
        let timeout = call.timeout_or(STARTUP_TIMEOUT_S);
        until(timeout, || is_ready(node).or_else(not_there_yet))?;
        Ok(Output::Done)
    }),
    Command::new(Section::Cluster, "await_online_nodes", "Waits until so many nodes run", 1..=1, await_nodes)
        .usage("<count>")
        .check(|call| match call.argument(0).parse::<usize>() {
            Ok(count) if count > 0 => Ok(()),
            _ => Err(Failure::argument("Argument must be a positive integer")),
        })
        .banner(|call| {
            let (count, seconds) = (call.argument(0), call.timeout_or(ONLINE_TIMEOUT_S).as_secs());
            format!(
                "Will wait for at least {count} nodes to join the cluster of {}. Timeout: {seconds} seconds.",
                call.node
            )
        }),
    Command::new(Section::Nodes, "wait", "Waits until a node, known by its process, serves clients", 0..=1, wait)
        .usage("[<pidfile>] [--pid|-P <pid>]")
        .tools(CTL_AND_DIAGNOSTICS)
        .switches(&[Switch::number("pid").short('P'), TIMEOUT])
        .check(|call| match (call.arguments.is_empty(), call.number("pid")) {
            (true, None) => Err(Failure::usage("\"No pid or pidfile specified\"")),
            (false, Some(_)) => Err(Failure::usage("\"Cannot specify both pid and pidfile\"")),
            _ => Ok(()),
        }),
    Command::new(Section::Nodes, "stop", "Stops the node", 0..=1, stop)
        .usage("[--idempotent] [<pidfile>]")
        .switches(&[Switch::flag("idempotent")])
        .banner(|call| match call.arguments.first() {
            None => format!("Stopping and halting node {} ...", call.node),
            Some(file) => format!("Stopping and halting node {} (will monitor pid file {file}) ...", call.node),
        }),
    Command::new(Section::Nodes, "shutdown", "Stops the node, and waits until it is gone", 0..=0, shutdown)
        .usage("[--wait]")
        .switches(&[Switch::flag("wait"), TIMEOUT]),
    Command::new(Section::Nodes, "stop_app", "Stops serving clients; the process stays", 0..=0, |_, node| {
        ask(node, "stop_app")
    })
    .banner(|call| format!("Stopping rabbit application on node {} ...", call.node)),
    Command::new(Section::Nodes, "start_app", "Serves clients again", 0..=0, |_, node| ask(node, "start_app"))
        .banner(|call| format!("Starting node {} ...", call.node)),
    Command::new(
        Section::Nodes,
        "reset",
        "Drops all definitions and messages of a node whose application is stopped",
        0..=0,
        |_, node| ask(node, "reset"),
    )
    .banner(|call| format!("Resetting node {} ...", call.node)),
    Command::new(Section::Cluster, "force_reset", "Resets a node, whatever its cluster says", 0..=0, |_, node| {
        ask(node, "reset")
    })
    .banner(|call| format!("Forcefully resetting node {} ...", call.node)),
    Command::new(Section::Cluster, "join_cluster", "Makes the node a member of another's cluster", 1..=1, |call, node| {
        if call.argument(0) == node.name()? {
            return Err(Failure::error_with(
                SOFTWARE,
                format!("Error: cannot cluster node with itself: {}", call.node),
            ));
        }
        let body = json!({ "node": call.argument(0) });
        node.post("/api/leveret/node/join_cluster", &body).map_err(not_offered)?;
        Ok(Output::Done)
    })
    .usage("[--disc] <existing_cluster_member>")
    .switches(&[Switch::flag("disc")])
    .banner(|call| format!("Clustering node {} with {}", call.node, call.argument(0))),
    Command::new(Section::Cluster, "forget_cluster_node", "Takes a node that is stopped out of the cluster", 1..=1, forget)
        .usage("[--offline] <existing_cluster_member_node>")
        .switches(&[Switch::flag("offline")])
        .banner(|call| format!("Removing node {} from the cluster", call.argument(0))),
    Command::new(Section::Operations, "suspend_listeners", "Lets no new clients in", 0..=0, |_, node| {
        ask(node, "suspend_listeners")
    })
    .switches(&[TIMEOUT])
    .banner(|call| {
        format!(
            "Will suspend client connection listeners on node {}. The node will no longer accept client connections!",
            call.node
        )
    }),
    Command::new(Section::Operations, "resume_listeners", "Lets clients in again", 0..=0, |_, node| {
        ask(node, "resume_listeners")
    })
    .switches(&[TIMEOUT])
    .banner(|call| {
        format!(
            "Will resume client connection listeners on node {}. The node will now accept client connections",
            call.node
        )
    }),
];

/// Asks a node of ours for something that RabbitMQ's API has no path for.
pub(super) fn ask(node: &Node, what: &str) -> Result<Output, Failure> {
    node.post(&path(["leveret", "node", what]), &json!({}))
        .map_err(not_offered)?;
    Ok(Output::Done)
}

pub(super) fn not_offered(refused: crate::node::Refused) -> Failure {
    refused.or_not_found(|| Failure::error("The node does not offer this over its HTTP API"))
}

/// Tries again and again until it is so, or the time is over.
fn until(
    timeout: Duration,
    mut is_so: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + timeout;
    while !is_so()? {
        if Instant::now() >= deadline {
            return Err(Failure::TimedOut);
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// A node that can't be reached yet is waited for; other failures are the end.
fn not_there_yet(failure: Failure) -> Result<bool, Failure> {
    match failure {
        Failure::Unreachable(_) => Ok(false),
        other => Err(other),
    }
}

fn await_nodes(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let count: usize = call.argument(0).parse().expect("the check has seen it");
    let enough = || -> Result<bool, Failure> {
        let nodes = node.list("/api/nodes?columns=name,running")?;
        Ok(nodes.iter().filter(|node| node["running"] == true).count() >= count)
    };
    match until(call.timeout_or(ONLINE_TIMEOUT_S), || {
        enough().or_else(not_there_yet)
    }) {
        Err(Failure::TimedOut) => Err(Failure::error_with(
            SOFTWARE,
            format!(
                "Error: timed out while waiting. Not enough nodes joined {}'s cluster.",
                call.node
            ),
        )),
        other => other.map(|()| Output::Done),
    }
}

fn wait(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let timeout = call.timeout_or(WAIT_TIMEOUT_S);
    let pid = match call.arguments.first() {
        None => call.number("pid").and_then(|pid| i32::try_from(pid).ok()),
        Some(file) => {
            until(timeout, || Ok(read_pid(file).is_some()))?;
            read_pid(file)
        }
    };
    let is_alive = || pid.is_some_and(is_alive);
    until(timeout, || {
        if !is_alive() {
            return Err(Failure::error_with(UNAVAILABLE, "process_not_running"));
        }
        is_ready(node).or_else(not_there_yet)
    })?;
    Ok(Output::Text(format!("Node {} is running", call.node)))
}

fn read_pid(file: &str) -> Option<i32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn is_alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// Waits for a process of this machine to end.
fn until_gone(pid: i32, timeout: Duration) -> Result<(), Failure> {
    until(timeout, || Ok(!is_alive(pid)))
}

fn stop(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let pid = match call.arguments.first() {
        None => None,
        Some(file) => Some(
            read_pid(file)
                .ok_or_else(|| Failure::error(format!("could not read pid from file {file}")))?,
        ),
    };
    match ask(node, "stop") {
        Err(Failure::Unreachable(_)) if call.flag("idempotent") => {
            let text = format!("Node {} is no longer running", call.node);
            return Ok(Output::Text(text));
        }
        answer => answer?,
    };
    let Some(pid) = pid else {
        return Ok(Output::Done);
    };
    until_gone(pid, call.timeout_or(SHUTDOWN_TIMEOUT_S))?;
    Ok(Output::Text(format!(
        "process {pid} (take from pid file {}) is no longer running",
        call.argument(0)
    )))
}

fn shutdown(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    if call.value("wait") == Some("false") {
        return ask(node, "stop");
    }
    let name = node.name()?.to_owned();
    let this = node.get(&path(["nodes", &name]))?;
    let pid = this["os_pid"].as_str().and_then(|pid| pid.parse().ok());
    let pid: i32 = pid.ok_or_else(|| Failure::error("the node does not tell its process id"))?;
    if !is_alive(pid) {
        return Err(Failure::usage(format!(
            "\nThis command can only --wait for shutdown of local nodes but node {name} seems to be remote.\n\
             Pass --no-wait to shut node {name} down without waiting.\n"
        )));
    }
    ask(node, "stop")?;
    until_gone(pid, call.timeout_or(SHUTDOWN_TIMEOUT_S))?;
    Ok(Output::Text(format!(
        "Shutting down RabbitMQ node {name} running at PID {pid}\n\
         RabbitMQ node {name} running at PID {pid} successfully shut down"
    )))
}

fn forget(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let member = call.argument(0);
    let nodes = node.list("/api/nodes?columns=name,running")?;
    match nodes.iter().find(|node| node["name"] == member) {
        None => Err(Failure::error(
            "{:not_a_cluster_node, ~c\"The node selected is not in the cluster.\"}",
        )),
        Some(found) if found["running"] == true => Err(Failure::error(format!(
            "RabbitMQ on node {member} must be stopped with 'rabbitmqctl -n {member} stop_app' before it can be removed"
        ))),
        Some(_) => {
            let body = json!({ "node": member });
            node.post("/api/leveret/node/forget_cluster_node", &body)
                .map_err(not_offered)?;
            Ok(Output::Done)
        }
    }
}
