//! The nodes of a cluster.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::facts::{Alarm, Page, alarms, listeners_in, or_none, pairs};
use crate::call::Call;
use crate::command::{CTL_AND_DIAGNOSTICS, Command, Section};
use crate::failure::Failure;
use crate::node::{Node, by_field};
use crate::output::Output;

pub(super) const COMMANDS: &[Command] = &[Command::new(
    Section::Cluster,
    "cluster_status",
    "Shows the nodes of a cluster",
    0..=0,
    cluster_status,
)
.tools(CTL_AND_DIAGNOSTICS)
.banner(|call| format!("Cluster status of node {} ...", call.node))];

fn cluster_status(_: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let overview = node.get("/api/overview")?;
    let nodes = node.list("/api/nodes")?;
    let flags = node.list("/api/feature-flags")?;
    Ok(Output::Report {
        text: cluster_page(&overview, &nodes, &flags),
        json: cluster_json(&overview, &nodes, &flags),
    })
}

/// The version of RabbitMQ and of Erlang; all nodes of a cluster have those of the one that is asked, or near ones.
fn versions(overview: &Value) -> (String, String, String) {
    let text = |field: &str| overview[field].as_str().unwrap_or_default().to_owned();
    (
        text("product_name"),
        text("rabbitmq_version"),
        text("erlang_version"),
    )
}

fn maintenance(node: &Value) -> &'static str {
    if node["being_drained"] == true {
        "marked for maintenance"
    } else {
        "not under maintenance"
    }
}

fn cluster_page(overview: &Value, nodes: &[Value], flags: &[Value]) -> String {
    let all = by_field(nodes, "name");
    let running: BTreeMap<_, _> = (all.iter())
        .filter(|(_, node)| node["running"] == true)
        .map(|(&name, &node)| (name, node))
        .collect();
    let lines = |of: &BTreeMap<&str, &Value>, line: &dyn Fn(&str, &Value) -> String| {
        of.iter()
            .map(|(name, node)| line(name, node))
            .collect::<Vec<_>>()
    };
    let cores: u64 = nodes
        .iter()
        .filter_map(|node| node["processors"].as_u64())
        .sum();
    let (product, version, erlang) = versions(overview);
    let alarms: Vec<String> = alarms(nodes).iter().map(Alarm::line).collect();
    let partitions = lines(&all, &|name, node| {
        let peers = node["partitions"].as_array().cloned().unwrap_or_default();
        let peers: Vec<&str> = peers.iter().filter_map(Value::as_str).collect();
        match peers.is_empty() {
            true => String::new(),
            false => format!("Node {name} cannot communicate with {}", peers.join(", ")),
        }
    });
    let partitions = partitions
        .into_iter()
        .filter(|line| !line.is_empty())
        .collect();
    let listeners = listeners_in(overview);
    let listeners = listeners.iter().map(|listener| {
        let line = listener.line();
        format!(
            "Node: {}, {}",
            listener.node,
            line.replacen("Interface", "interface", 1)
        )
    });
    let flags = flags.iter().map(|flag| {
        let text = |field: &str| flag[field].as_str().unwrap_or_default().to_owned();
        format!("Flag: {}, state: {}", text("name"), text("state"))
    });

    let mut page = Page::default();
    page.section(
        "Basics",
        [
            format!(
                "Cluster name: {}",
                overview["cluster_name"].as_str().unwrap_or_default()
            ),
            format!("Total CPU cores available cluster-wide: {cores}"),
        ],
    );
    page.section("Cluster Tags", or_none(pairs(&overview["cluster_tags"])));
    page.section("Disk Nodes", lines(&all, &|name, _| name.to_owned()));
    page.section("Running Nodes", lines(&running, &|name, _| name.to_owned()));
    page.section(
        "Versions",
        lines(&running, &|name, _| {
            format!("{name}: {product} {version} on Erlang {erlang}")
        }),
    );
    page.section(
        "CPU Cores",
        lines(&running, &|name, node| {
            format!("Node: {name}, available CPU cores: {}", node["processors"])
        }),
    );
    page.section(
        "Maintenance status",
        lines(&running, &|name, node| {
            format!("Node: {name}, status: {}", maintenance(node))
        }),
    );
    page.section("Alarms", or_none(alarms));
    page.section("Network Partitions", or_none(partitions));
    page.section("Listeners", or_none(listeners.collect()));
    page.section("Feature flags", or_none(flags.collect()));
    page.0
}

fn cluster_json(overview: &Value, nodes: &[Value], flags: &[Value]) -> Value {
    let all = by_field(nodes, "name");
    let map = |value: &dyn Fn(&Value) -> Value| {
        let entries = all
            .iter()
            .map(|(name, node)| ((*name).to_owned(), value(node)));
        Value::Object(entries.collect())
    };
    let running = all.iter().filter(|(_, node)| node["running"] == true);
    let (product, version, erlang) = versions(overview);
    let mut listeners = Map::new();
    for listener in listeners_in(overview) {
        let of_node = listeners
            .entry(listener.node.clone())
            .or_insert_with(|| json!([]));
        of_node
            .as_array_mut()
            .expect("it is a list")
            .push(listener.json());
    }
    let with_partitions = nodes.iter().filter_map(|node| {
        let peers = node["partitions"]
            .as_array()
            .filter(|peers| !peers.is_empty())?;
        Some((node["name"].as_str()?.to_owned(), json!(peers)))
    });
    json!({
        "cluster_name": overview["cluster_name"],
        "cluster_tags": overview["cluster_tags"],
        "disk_nodes": all.keys().collect::<Vec<_>>(),
        "running_nodes": running.map(|(name, _)| name).collect::<Vec<_>>(),
        "alarms": alarms(nodes).iter().map(Alarm::json).collect::<Vec<_>>(),
        "maintenance_status": map(&|node| maintenance(node).into()),
        "partitions": Value::Object(with_partitions.collect()),
        "listeners": listeners,
        "versions": map(&|_| json!({
            "rabbitmq_name": product,
            "rabbitmq_version": version,
            "erlang_version": erlang,
        })),
        "cpu_cores": map(&|node| node["processors"].clone()),
        "feature_flags": flags,
    })
}
