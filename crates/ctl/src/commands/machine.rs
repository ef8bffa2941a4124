//! What `rabbitmq-diagnostics` tells of what a node stands on: networks, names, threads, and where its metadata is.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::checks::diagnostic;
use super::lifecycle::not_offered;
use super::rows;
use crate::call::Call;
use crate::command::{Column, Command, Switch, TIMEOUT, plain};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{Output, Rows};
use crate::term::Term;

/// How long threads are watched unless told otherwise, as in RabbitMQ.
const SAMPLE_SECONDS: u64 = 5;

/// Those of a Raft log: there is one node, and its metadata is in its own log.
const METADATA: [Column; 10] = [
    plain("Node Name", "node"),
    plain("Raft State", "state"),
    plain("Membership", "membership"),
    plain("Last Log Index", "index"),
    plain("Last Written", "index"),
    plain("Last Applied", "index"),
    plain("Commit Index", "index"),
    plain("Snapshot Index", "index"),
    plain("Term", "index"),
    plain("Machine Version", "index"),
];

pub(super) const COMMANDS: &[Command] = &[
    diagnostic(
        "list_network_interfaces",
        "Lists the network interfaces of the node's machine",
        |_, node| {
            let machine = node.get("/api/leveret/machine").map_err(not_offered)?;
            let all = machine["interfaces"].as_array().into_iter().flatten();
            let all: Vec<(&str, Vec<Property>)> = all
                .map(|it| (it["name"].as_str().unwrap_or_default(), properties(it)))
                .collect();
            let pages: Vec<String> = all.iter().map(|(name, of)| page(name, of)).collect();
            let json: Map<String, Value> = (all.iter())
                .map(|(name, of)| ((*name).to_owned(), object(of)))
                .collect();
            Ok(Output::Report {
                text: pages.join("\n"),
                json: json!({
                    "result": "ok",
                    "message": format!("Node {} reported network interfaces", node.name()?),
                    "interfaces": json,
                }),
            })
        },
    )
    .switches(&[TIMEOUT, Switch::flag("offline")])
    .banner(|call| {
        let node = &call.node;
        format!("Asking node {node} to report its network interfaces ...")
    }),
    diagnostic(
        "resolver_info",
        "Tells how the node finds the addresses of names: as its system does",
        |call, node| {
            node.name()?;
            let (hosts, resolv) = ("/etc/hosts", "/etc/resolv.conf");
            Ok(Output::Report {
                text: format!(
                    "Runtime Hostname Resolver (inetrc) Settings\n\nLookup order: native\nHosts file: {hosts}\n\
                     Resolver conf file: {resolv}\nCache size: \n\ninetrc File Host Entries\n\n(none)"
                ),
                json: json!({
                    "node": call.node,
                    "result": "ok",
                    "resolver": { "lookup": "native", "hosts_file": hosts, "resolv_conf": resolv },
                }),
            })
        },
    )
    .switches(&[TIMEOUT, Switch::flag("offline")])
    .banner(|call| {
        let node = &call.node;
        format!("Asking node {node} for its effective hostname resolver (inetrc) configuration...")
    }),
    diagnostic(
        "runtime_thread_stats",
        "Shows how busy the threads of the node are",
        thread_stats,
    )
    .usage("[--sample-interval <interval>]")
    .switches(&[Switch::number("sample-interval").short('i'), TIMEOUT])
    .table()
    .banner(|call| {
        let (node, seconds) = (&call.node, sample_seconds(call));
        format!("Will collect runtime thread stats on {node} for {seconds} seconds...")
    }),
    diagnostic(
        "metadata_store_status",
        "Shows where the metadata is kept: on this node",
        |_, node| {
            let status = json!({ "node": node.name()?, "state": "leader", "membership": "voter", "index": 0 });
            Ok(rows(&[status], &METADATA.iter().collect::<Vec<_>>()))
        },
    )
    .pretty_table()
    .banner(|call| format!("Status of metadata store on node {} ...", call.node)),
    diagnostic(
        "discover_peers",
        "Looks for nodes that this one could form a cluster with: itself",
        |call, node| {
            let name = node.name()?;
            Ok(Output::Report {
                text: format!("[:{name}]"),
                json: json!({ "node": call.node, "result": "ok", "value": [name] }),
            })
        },
    )
    .banner(|_| "Discovering peers nodes ...".to_owned()),
];

/// A line about an interface: what it is, and the value.
type Property = (&'static str, String);

/// What Erlang tells of an interface, by its names.
fn properties(interface: &Value) -> Vec<Property> {
    let mut all = Vec::new();
    if let Some(address) = interface["hardware_address"].as_str() {
        all.push(("hwaddr", hardware_address(address)));
    }
    for address in interface["addresses"].as_array().into_iter().flatten() {
        for (name, field) in [
            ("broadaddr", "broadcast"),
            ("netmask", "netmask"),
            ("addr", "address"),
        ] {
            all.extend(
                address[field]
                    .as_str()
                    .map(|value| (name, value.to_owned())),
            );
        }
    }
    let flags = interface["flags"].as_array().into_iter().flatten();
    let flags: Vec<&str> = flags.filter_map(Value::as_str).collect();
    all.push(("flags", flags.join(", ")));
    all
}

/// `02:fc:00:00:00:01` is `2:FC:0:0:0:1` to Erlang.
fn hardware_address(address: &str) -> String {
    let octet = |text: &str| match text.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => digits.to_ascii_uppercase(),
    };
    let octets: Vec<String> = address.split(':').map(octet).collect();
    octets.join(":")
}

fn page(name: &str, properties: &[Property]) -> String {
    let lines = properties
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"));
    format!("Interface {name}\n\n{}\n", lines.collect::<String>())
}

/// Of several addresses the last one is told: an object has a name once, in RabbitMQ's answer, too.
fn object(properties: &[Property]) -> Value {
    let fields = properties.iter();
    let fields = fields.map(|(name, value)| ((*name).to_owned(), json!(value)));
    fields.collect::<Map<_, _>>().into()
}

fn sample_seconds(call: &Call<'_>) -> u64 {
    let asked = call.number("sample-interval");
    asked.map_or(SAMPLE_SECONDS, |it| u64::try_from(it).unwrap_or_default())
}

/// A thread, and the milliseconds that it has computed for itself and for the system.
type Busy = (String, u64, u64);

fn thread_stats(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let before = threads(node)?;
    let seconds = sample_seconds(call);
    thread::sleep(Duration::from_secs(seconds));
    let share = |ms: u64| 100.0 * ms as f64 / (seconds.max(1) * 1000) as f64;
    let row = |(id, (name, user, system)): (u64, Busy)| {
        let (_, user_before, system_before) = before.get(&id).cloned().unwrap_or_default();
        let user = share(user.saturating_sub(user_before));
        let system = share(system.saturating_sub(system_before));
        let percent = |share: f64| Term::text(format!("{share:.2}%"));
        let sleep = (100.0 - user - system).max(0.0);
        vec![
            Term::text(name),
            percent(user),
            percent(system),
            percent(sleep),
        ]
    };
    Ok(Output::Rows(Rows {
        columns: ["thread", "user", "system", "sleep"]
            .map(str::to_owned)
            .into(),
        rows: threads(node)?.into_iter().map(row).collect(),
    }))
}

fn threads(node: &Node) -> Result<BTreeMap<u64, Busy>, Failure> {
    let machine = node.get("/api/leveret/machine").map_err(not_offered)?;
    let all = machine["threads"].as_array().into_iter().flatten();
    let thread = |it: &Value| {
        let number = |field: &str| it[field].as_u64().unwrap_or_default();
        let name = it["name"].as_str().unwrap_or_default().to_owned();
        (number("id"), (name, number("user_ms"), number("system_ms")))
    };
    Ok(all.map(thread).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_told_as_erlang_does() {
        let interface = json!({
            "name": "eth0",
            "hardware_address": "02:fc:00:00:00:01",
            "addresses": [{ "address": "192.0.2.2", "netmask": "255.255.255.0", "broadcast": "192.0.2.255" }],
            "flags": ["up", "running"],
        });
        let properties = properties(&interface);
        assert_eq!(
            page("eth0", &properties),
            "Interface eth0\n\nhwaddr: 2:FC:0:0:0:1\nbroadaddr: 192.0.2.255\nnetmask: 255.255.255.0\n\
             addr: 192.0.2.2\nflags: up, running\n\n"
        );
        assert_eq!(object(&properties)["addr"], "192.0.2.2");
    }
}
