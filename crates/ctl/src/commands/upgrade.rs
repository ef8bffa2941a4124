//! `rabbitmq-upgrade`: what is done around the stop of a node.

use serde_json::json;

use super::lifecycle::ask;
use crate::call::Call;
use crate::command::{Command, Section};
use crate::commands::queues::leaders;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::Output;
use crate::tool::Tool;

const UPGRADE: &[Tool] = &[Tool::Upgrade];
const ONLINE_TIMEOUT_S: u64 = 120;

pub(super) const COMMANDS: &[Command] = &[
    Command::new(Section::Upgrade, "drain", "Puts the node into maintenance: clients go, leaders move", 0..=0, |_, node| {
        ask(node, "drain")
    })
    .tools(UPGRADE)
    .banner(|call| {
        format!(
            "Will put node {} into maintenance mode. The node will no longer serve any client traffic!",
            call.node
        )
    }),
    Command::new(Section::Upgrade, "revive", "Takes the node out of maintenance", 0..=0, |_, node| ask(node, "revive"))
        .tools(UPGRADE)
        .banner(|call| {
            format!(
                "Will put node {} back into regular operating mode. \
                 The node will again serve client traffic and host primary queue replicas.",
                call.node
            )
        }),
    Command::new(
        Section::Upgrade,
        "await_online_quorum_plus_one",
        "Waits until every quorum queue can do without this node",
        0..=0,
        await_quorum,
    )
    .tools(UPGRADE)
    .banner(|call| {
        let seconds = call.timeout_or(ONLINE_TIMEOUT_S).as_secs();
        format!(
            "Will wait for a quorum + 1 of nodes to be online for all quorum queues and streams for {seconds} seconds..."
        )
    }),
    Command::new(
        Section::Upgrade,
        "has_reached_target_cluster_size",
        "Fails until the cluster has as many nodes as it is to have",
        0..=0,
        |call, node| {
            let (status, answer) = node.check("/api/health/checks/reached-target-cluster-size")?;
            let name = &call.node;
            if status == 200 {
                return Ok(Output::Report {
                    text: format!("Target cluster size has been reached on node {name}"),
                    json: json!({ "result": "ok" }),
                });
            }
            let reason = answer["reason"].as_str().unwrap_or_default();
            Err(Failure::error(format!(
                "Target cluster size on node {name} has not been reached: {reason}"
            )))
        },
    )
    .tools(&[Tool::Ctl, Tool::Diagnostics, Tool::Upgrade])
    .banner(|call| format!("Checking if target cluster size has been reached on node {} ...", call.node)),
    Command::new(Section::Upgrade, "post_upgrade", "Spreads the leaders of queues over the nodes again", 0..=0, |_, node| {
        node.post("/api/rebalance/queues", &json!({}))?;
        let queues = node.list("/api/queues?columns=type,leader,node")?;
        let lines: Vec<String> = leaders(&queues)
            .iter()
            .map(|entry| format!("{}: {} quorum queues", entry["node"].as_str().unwrap_or_default(), entry["queues"]))
            .collect();
        Ok(Output::Text(lines.join("\n")))
    })
    .tools(UPGRADE)
    .banner(|_| "Executing post upgrade tasks...\nRebalancing queue masters...".to_owned()),
];

fn await_quorum(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    if node.list("/api/nodes?columns=name")?.len() <= 1 {
        if call.is_quiet() {
            return Ok(Output::Done);
        }
        let apply = "Target node seems to be the only one in a single node cluster, the";
        return Ok(Output::Report {
            text: format!("{apply} command does not apply"),
            json: json!({ "result": "ok", "message": format!("{apply} check does not apply") }),
        });
    }
    let deadline = std::time::Instant::now() + call.timeout_or(ONLINE_TIMEOUT_S);
    while node.check("/api/health/checks/node-is-quorum-critical")?.0 != 200 {
        if std::time::Instant::now() >= deadline {
            return Err(Failure::error(
                "time is up, no quorum + 1 online replicas came online for at least some quorum queues or streams",
            ));
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    Ok(Output::Done)
}
