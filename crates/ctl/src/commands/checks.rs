//! Health checks and questions of `rabbitmq-diagnostics`.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::{Value, json};

use super::all_columns;
use super::facts::{Alarm, Listener, alarms, listeners};
use super::lifecycle::not_offered;
use crate::call::Call;
use crate::command::{
    CTL_AND_DIAGNOSTICS, Column, Command, DIAGNOSTICS, DIAGNOSTICS_AND_QUEUES, Section, Switch,
    TIMEOUT, plain,
};
use crate::failure::{DATA, Failure};
use crate::node::{Node, path};
use crate::output::{Format, Output, Rows};
use crate::term::Term;

/// Time for a connection to each port.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

const READY: &str = "/api/health/checks/ready-to-serve-clients";

pub(super) const COMMANDS: &[Command] = &[
    diagnostic("is_running", "Says whether the node is up and serves clients", |call, node| {
        let (is_running, text) = running(call, node)?;
        Ok(said(text, is_running))
    })
    .banner(|call| format!("Asking node {} for its status ...", call.node)),
    diagnostic("check_running", "Fails if the node does not serve clients", |call, node| {
        match running(call, node)? {
            (true, text) => Ok(Output::Text(text)),
            (false, _) => Err(Failure::error(format!(
                "RabbitMQ on node {} is not running or has not fully booted yet (check with is_booting)",
                call.node
            ))),
        }
    })
    .banner(|call| format!("Checking if RabbitMQ is running on node {} ...", call.node)),
    diagnostic("is_booting", "Says whether the node is on its way up", |call, node| {
        let is_booting = !running(call, node)?.0;
        let text = if is_booting {
            format!("RabbitMQ on node {} is booting", call.node)
        } else {
            format!(
                "RabbitMQ on node {} is fully booted (check with is_running), stopped or has not started booting yet",
                call.node
            )
        };
        Ok(said(text, is_booting))
    })
    .banner(|call| format!("Asking node {} for its boot status ...", call.node)),
    diagnostic("alarms", "Lists the alarms in effect", |call, node| {
        let alarms = alarms(&node.list("/api/nodes")?);
        if alarms.is_empty() {
            return Ok(no_alarms(call));
        }
        let (text, json) = alarm_report(call, &alarms, "ok");
        Ok(Output::Report { text, json })
    })
    .banner(|call| format!("Asking node {} to report any known resource alarms ...", call.node)),
    diagnostic("check_alarms", "Fails if there is an alarm in the cluster", |call, node| {
        let alarms = alarms(&node.list("/api/nodes")?);
        if alarms.is_empty() {
            return Ok(passed(call, &format!("Node {} reported no alarms, local or clusterwide", call.node)));
        }
        let (text, json) = alarm_report(call, &alarms, "error");
        Err(Failure::Check { text, json })
    })
    .banner(|call| format!("Asking node {} to report any local resource alarms ...", call.node)),
    Command::new(Section::Deprecated, "check_local_alarms", "Does nothing: all alarms are the cluster's", 0..=0, |call, _| {
        Ok(passed(call, &format!("Node {} reported no local alarms", call.node)))
    })
    .tools(DIAGNOSTICS)
    .banner(|_| "This command is DEPRECATED and is a no-op. It will be removed in a future version.".to_owned()),
    diagnostic("check_port_connectivity", "Connects to each port that the node listens on", check_ports)
        .usage("[--address <target address>]")
        .switches(&[TIMEOUT, Switch::text("address").short('a')])
        .banner(|call| match call.value("address") {
            None => format!(
                "Testing TCP connections to all active listeners on node {} using hostname resolution ...",
                call.node
            ),
            Some(address) => format!(
                "Testing TCP connections to all active listeners on node {} using {address} for node IP address ...",
                call.node
            ),
        }),
    Command::new(Section::Monitoring, "check_port_listener", "Fails if the node does not listen on a port", 1..=1, check_port)
        .usage("<port>")
        .tools(DIAGNOSTICS)
        .switches(&[TIMEOUT])
        .check(|call| match call.argument(0).parse::<u64>() {
            Ok(port) if port > 0 => Ok(()),
            _ => Err(Failure::argument("Argument must be a positive integer")),
        })
        .banner(|call| {
            let (node, port) = (&call.node, call.argument(0));
            format!("Asking node {node} if there's an active listener on port {port} ...")
        }),
    Command::new(
        Section::Monitoring,
        "check_protocol_listener",
        "Fails if the node does not listen for a protocol",
        1..=1,
        check_protocol,
    )
    .usage("<protocol>")
    .tools(DIAGNOSTICS)
    .switches(&[TIMEOUT])
    .banner(|call| {
        let (node, protocol) = (&call.node, protocol(call.argument(0)));
        format!("Asking node {node} if there's an active listener for protocol {protocol} ...")
    }),
    diagnostic("check_virtual_hosts", "Fails if a virtual host is down", |call, node| {
        let down = node.check("/api/health/checks/virtual-hosts")?;
        if down.0 == 200 {
            return Ok(passed(call, &format!("Node {} reported all vhosts as running", call.node)));
        }
        let vhosts: Vec<Value> = down.1["virtual-hosts"].as_array().cloned().unwrap_or_default();
        let names: Vec<&str> = vhosts.iter().filter_map(Value::as_str).collect();
        Err(Failure::error(format!(
            "Some virtual hosts on node {} are down:\n{}",
            call.node,
            names.join("\n")
        )))
    })
    .banner(|call| format!("Checking if all vhosts are running on node {} ...", call.node)),
    diagnostic("listeners", "Lists what the node listens on", list_listeners)
        .banner(|call| format!("Asking node {} to report its protocol listeners ...", call.node)),
    diagnostic("server_version", "Prints the version of RabbitMQ that the node is, or is compatible with", |_, node| {
        let overview = node.get("/api/overview?columns=rabbitmq_version")?;
        let version = overview["rabbitmq_version"].as_str().unwrap_or_default();
        Ok(Output::Report {
            text: version.to_owned(),
            json: json!({ "result": "ok", "value": version }),
        })
    })
    .banner(|call| format!("Asking node {} for its RabbitMQ version...", call.node)),
    diagnostic("erlang_version", "Prints the version of Erlang that the node says it runs on", |_, node| {
        let overview = node.get("/api/overview?columns=erlang_version")?;
        let version = format!("Erlang/OTP {}", overview["erlang_version"].as_str().unwrap_or_default());
        Ok(Output::Report {
            json: json!({ "result": "ok", "value": version }),
            text: version,
        })
    })
    .switches(&[Switch::flag("details"), Switch::flag("offline"), TIMEOUT])
    .banner(|call| format!("Asking node {} for its Erlang/OTP version...", call.node)),
    diagnostic("log_location", "Prints where the node logs to", log_location)
        .usage("[--all|-a]")
        .switches(&[Switch::flag("all").short('a'), TIMEOUT])
        .banner(|call| format!("Log file location(s) on node {} ...", call.node)),
    diagnostic("check_certificate_expiration", "Fails if a certificate of the node expires soon", check_certificates)
        .usage("[--within <period>] [--unit <unit>]")
        .switches(&[Switch::text("unit"), Switch::number("within")])
        .check(|call| match certificate_unit(call) {
            "days" | "weeks" | "months" | "years" => Ok(()),
            unit => Err(Failure::usage(format!(
                "\"unit '{unit}' is not supported. Please use one of: days, weeks, months, years\""
            ))),
        })
        .banner(|call| {
            let node = &call.node;
            format!("Checking certificate expiration for all certificates on node {node} ...")
        }),
    diagnostic("check_if_metadata_store_is_initialized", "Fails until definitions are loaded", |call, node| {
        metadata_store(call, node, "/api/health/checks/metadata-store/initialized")
    })
    .banner(|call| format!("Checking if metadata store on node {} has finished initializing ...", call.node)),
    diagnostic(
        "check_if_metadata_store_is_initialized_with_data",
        "Fails until definitions are loaded and there is a virtual host",
        |call, node| metadata_store(call, node, "/api/health/checks/metadata-store/initialized/with-data"),
    )
    .banner(|call| format!("Checking if metadata store on node {} has finished initializing ...", call.node)),
    diagnostic("check_if_node_is_quorum_critical", "Fails if queues lose their quorum without this node", quorum_critical)
        .tools(DIAGNOSTICS_AND_QUEUES)
        .banner(|call| format!("Checking if node {} is critical for quorum of any queues/streams ...", call.node)),
    diagnostic(
        "check_if_new_quorum_queue_replicas_have_finished_initial_sync",
        "Fails if members of quorum queues on this node still catch up",
        |call, node| {
            node.name()?;
            Ok(passed(call, &format!("Node {} reported no queues with promotable replicas", call.node)))
        },
    )
    .tools(DIAGNOSTICS_AND_QUEUES)
    .banner(|call| format!("Checking if node {} runs promotable replicas of any queues ...", call.node)),
    Command::new(
        Section::Monitoring,
        "check_for_quorum_queues_without_an_elected_leader",
        "Fails if quorum queues have no leader",
        1..=1,
        check_leaders,
    )
    .usage("[--vhost <vhost>] [--across-all-vhosts] <pattern>")
    .tools(DIAGNOSTICS)
    .switches(&[Switch::flag("across-all-vhosts")])
    .banner(|call| {
        let place = match call.flag("across-all-vhosts") {
            true => "all vhosts".to_owned(),
            false => format!("vhost {}", call.vhost()),
        };
        format!("Checking leader replicas of quorum queues matching '{}' in {place} ...", call.argument(0))
    }),
    diagnostic(
        "check_if_cluster_has_classic_queue_mirroring_policy",
        "Fails if a policy asks for mirrored queues, which RabbitMQ no longer has",
        check_mirroring,
    )
    .tools(DIAGNOSTICS_AND_QUEUES)
    .banner(|_| "Checking if cluster has any classic queue mirroring policy ...".to_owned()),
    Command::new(Section::Monitoring, "resolve_hostname", "Looks up the addresses of a name, from this machine", 1..=1, resolve)
        .usage("<hostname> [--address-family <ipv4 | ipv6>]")
        .tools(DIAGNOSTICS)
        .switches(&[Switch::text("address-family").short('a'), Switch::flag("offline")])
        .check(|call| match address_family(call).to_ascii_lowercase().as_str() {
            "ipv4" | "ipv6" => Ok(()),
            family => Err(Failure::argument(format!(
                "unsupported IP address family {family}. Valid values are: ipv4, ipv6"
            ))),
        })
        .banner(|call| {
            let (name, family) = (call.argument(0), address_family(call));
            format!("Resolving hostname {name} to {family} addresses...")
        }),
    diagnostic("list_node_auth_attempt_stats", "Counts attempts to log in, by protocol", |call, node| {
        let by_source = call.flag("by-source");
        let name = node.name()?;
        let at = match by_source {
            true => path(["auth", "attempts", name, "source"]),
            false => path(["auth", "attempts", name]),
        };
        let objects = node.list(&at)?;
        let columns = if by_source { &ATTEMPTS[..] } else { &ATTEMPTS[2..] };
        Ok(all_columns(&objects, columns))
    })
    .tools(CTL_AND_DIAGNOSTICS)
    .switches(&[Switch::flag("by-source")])
    .table()
    .banner(|call| format!("Listing authentication\n attempts for node \"{}\" ...", call.node)),
    diagnostic("reset_node_auth_attempt_metrics", "Sets the counts of attempts to log in to zero", |_, node| {
        node.delete(&path(["auth", "attempts", node.name()?]))?;
        Ok(Output::Done)
    })
    .banner(|call| format!("Resetting auth attempt metrics on node {} ...", call.node)),
    diagnostic("enable_auth_attempt_source_tracking", "Counts attempts to log in by who came from where, too", |_, node| {
        track_sources(node, true)
    })
    .banner(|_| "Enabling authentication attempt source tracking ...".to_owned()),
    diagnostic("disable_auth_attempt_source_tracking", "Counts attempts to log in by protocol only", |_, node| {
        track_sources(node, false)
    })
    .banner(|_| "Disabling authentication attempt source tracking ...".to_owned()),
];

const ATTEMPTS: [Column; 6] = [
    plain("remote_address", "remote_address"),
    plain("username", "username"),
    plain("protocol", "protocol"),
    plain("auth_attempts", "auth_attempts"),
    plain("auth_attempts_failed", "auth_attempts_failed"),
    plain("auth_attempts_succeeded", "auth_attempts_succeeded"),
];

fn track_sources(node: &Node, on: bool) -> Result<Output, Failure> {
    let body = json!({ "enabled": on });
    node.put("/api/leveret/auth/attempts/source", &body)
        .map_err(not_offered)?;
    Ok(Output::Done)
}

/// A command of `rabbitmq-diagnostics` without arguments.
pub(super) const fn diagnostic(
    name: &'static str,
    about: &'static str,
    run: fn(&Call<'_>, &Node) -> Result<Output, Failure>,
) -> Command {
    Command::new(Section::Monitoring, name, about, 0..=0, run).tools(DIAGNOSTICS)
}

/// What a check that passed says: nothing with `--silent`.
fn passed(call: &Call<'_>, text: &str) -> Output {
    if call.flag("silent") && call.format != Format::Json {
        return Output::Done;
    }
    Output::Report {
        text: text.to_owned(),
        json: json!({ "result": "ok" }),
    }
}

fn said(text: String, result: bool) -> Output {
    Output::Report {
        json: json!({ "result": result, "message": text }),
        text,
    }
}

/// Whether the node serves clients, and how that is said.
fn running(call: &Call<'_>, node: &Node) -> Result<(bool, String), Failure> {
    let is_running = is_ready(node)?;
    let state = if is_running {
        "is fully booted and running"
    } else {
        "is not running or has not fully booted yet (check with is_booting)"
    };
    Ok((
        is_running,
        format!("RabbitMQ on node {} {state}", call.node),
    ))
}

/// Whether the node answers that it serves clients.
pub(super) fn is_ready(node: &Node) -> Result<bool, Failure> {
    Ok(node.check(READY)?.0 == 200)
}

fn no_alarms(call: &Call<'_>) -> Output {
    let node = &call.node;
    Output::Report {
        text: format!("Node {node} reported no alarms, local or clusterwide"),
        json: json!({ "result": "ok", "node": node, "alarms": [] }),
    }
}

fn alarm_report(call: &Call<'_>, alarms: &[Alarm], result: &str) -> (String, Value) {
    let lines = |local: bool| {
        let of = alarms
            .iter()
            .filter(move |alarm| (alarm.node == call.node) == local);
        of.map(Alarm::line).collect::<Vec<_>>()
    };
    let all: Vec<String> = alarms.iter().map(Alarm::line).collect();
    let json = json!({
        "result": result,
        "local": lines(true),
        "global": lines(false),
        "message": format!("Node {} reported alarms", call.node),
    });
    (all.join("\n"), json)
}

fn check_ports(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let listeners = listeners(node)?;
    let address = call.value("address");
    let host = address.unwrap_or_else(|| node.host());
    let (good, bad): (Vec<&Listener>, Vec<&Listener>) = listeners
        .iter()
        .partition(|listener| connects(host, listener.port, call.timeout()));
    if !bad.is_empty() {
        let lines: Vec<String> = bad.iter().map(|listener| listener.line()).collect();
        return Err(Failure::error(format!(
            "Connection to ports of the following listeners on node {} failed: \n{}",
            call.node,
            lines.join("\n")
        )));
    }
    let how = match address {
        None => "using node hostname resolution".to_owned(),
        Some(address) => format!("using {address} for target IP address"),
    };
    let json: Vec<Value> = good.iter().map(|listener| listener.json()).collect();
    Ok(Output::Report {
        text: format!(
            "Successfully connected to ports {} on node {} ({how})",
            ports(&listeners),
            call.node
        ),
        json: json!({ "result": "ok", "node": call.node, "listeners": json }),
    })
}

fn connects(host: &str, port: u64, timeout: Option<Duration>) -> bool {
    let timeout = timeout.filter(|timeout| !timeout.is_zero());
    let Ok(port) = u16::try_from(port) else {
        return false;
    };
    let addresses = (host, port).to_socket_addrs();
    addresses.is_ok_and(|mut addresses| {
        addresses.any(|address| {
            TcpStream::connect_timeout(&address, timeout.unwrap_or(CONNECT_TIMEOUT)).is_ok()
        })
    })
}

fn ports(listeners: &[Listener]) -> String {
    let mut ports: Vec<u64> = listeners.iter().map(|listener| listener.port).collect();
    ports.sort_unstable();
    let ports: Vec<String> = ports.iter().map(u64::to_string).collect();
    ports.join(", ")
}

fn check_port(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let listeners = listeners(node)?;
    let (port, name) = (call.argument(0), &call.node);
    let wanted = port.parse::<u64>().ok();
    if listeners
        .iter()
        .any(|listener| Some(listener.port) == wanted)
    {
        return Ok(Output::Report {
            text: format!("A listener for port {port} is running on node {name}."),
            json: json!({ "result": "ok", "node": name, "port": wanted }),
        });
    }
    let numbers: Vec<u64> = listeners.iter().map(|listener| listener.port).collect();
    let found: Vec<Value> = listeners.iter().map(Listener::json).collect();
    Err(Failure::Check {
        text: format!(
            "No listener for port {port} is active on node {name}. \
             Found listeners that use the following ports: {}",
            ports(&listeners)
        ),
        json: json!({ "result": "error", "missing": wanted, "ports": numbers, "listeners": found }),
    })
}

fn check_protocol(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let listeners = listeners(node)?;
    let (protocol, name) = (protocol(call.argument(0)), &call.node);
    if listeners
        .iter()
        .any(|listener| listener.protocol == protocol)
    {
        return Ok(Output::Report {
            text: format!("A listener for protocol {protocol} is running on node {name}."),
            json: json!({ "result": "ok", "node": name, "protocol": protocol }),
        });
    }
    let mut protocols: Vec<&str> = listeners
        .iter()
        .map(|listener| listener.protocol.as_str())
        .collect();
    protocols.sort_unstable();
    Err(Failure::error(format!(
        "No listener for protocol {protocol} is active on node {name}. \
         Found listeners for the following protocols: {}",
        protocols.join(", ")
    )))
}

/// The name that a listener has for a protocol that is known by more than one.
fn protocol(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let known = match name.replace(['.', '-', '_'], "").as_str() {
        "amqp091" | "amqp10" => "amqp",
        "amqps" => "amqp/ssl",
        "mqtt31" | "mqtt311" => "mqtt",
        "mqtts" | "mqtt+tls" | "mqtt+ssl" => "mqtt/ssl",
        "stomp10" | "stomp11" | "stomp12" => "stomp",
        "stomps" | "stomp+tls" | "stomp+ssl" => "stomp/ssl",
        "http1" | "http11" | "httpapi" | "management" | "managementui" | "ui" => "http",
        "cli" | "distribution" => "clustering",
        "prometheus" => "http/prometheus",
        _ => return name,
    };
    known.to_owned()
}

fn list_listeners(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let listeners = listeners(node)?;
    if matches!(call.format, Format::Csv | Format::Erlang) {
        return Ok(Output::Rows(listener_rows(&listeners)));
    }
    let lines: Vec<String> = listeners.iter().map(Listener::line).collect();
    let json: Vec<Value> = listeners.iter().map(Listener::json).collect();
    let text = match lines.is_empty() {
        true => format!("Node {} reported no enabled listeners.", call.node),
        false => lines.join("\n"),
    };
    Ok(Output::Report {
        text,
        json: json!({ "result": "ok", "node": call.node, "listeners": json }),
    })
}

fn listener_rows(listeners: &[Listener]) -> Rows {
    let names = ["node", "protocol", "interface", "port", "purpose"];
    let row = |listener: &Listener| {
        let json = listener.json();
        let terms = names.map(|name| Term::new(crate::term::Kind::Plain, json.get(name)));
        terms.to_vec()
    };
    Rows {
        columns: names.map(str::to_owned).to_vec(),
        rows: listeners.iter().map(row).collect(),
    }
}

fn log_location(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let name = node.name()?;
    let this = node.get(&path(["nodes", name]))?;
    let files = this["log_files"].as_array().cloned().unwrap_or_default();
    let mut files: Vec<&str> = files.iter().filter_map(Value::as_str).collect();
    if !call.flag("all") {
        files.truncate(1);
    }
    Ok(Output::Report {
        text: files.join("\n"),
        json: json!({ "result": "ok", "node_name": name, "paths": files }),
    })
}

fn certificate_unit<'a>(call: &'a Call<'_>) -> &'a str {
    call.value("unit").unwrap_or("weeks")
}

fn check_certificates(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let (within, unit) = (call.number("within").unwrap_or(4), certificate_unit(call));
    let number = within.to_string();
    let at = path(["health", "checks", "certificate-expiration", &number, unit]);
    let (status, answer) = node.check(&at)?;
    if status == 200 {
        let unit = if within == 1 {
            unit.trim_end_matches('s')
        } else {
            unit
        };
        return Ok(passed(
            call,
            &format!("No certificates are expiring within {within} {unit}."),
        ));
    }
    Err(Failure::Check {
        text: format!("{:#}", answer["expired"]),
        json: json!({ "result": "error", "expired": answer["expired"] }),
    })
}

fn metadata_store(call: &Call<'_>, node: &Node, at: &str) -> Result<Output, Failure> {
    let name = &call.node;
    if node.check(at)?.0 == 200 {
        let text = format!("Metadata store on node {name} has completed its initialization");
        return Ok(passed(call, &text));
    }
    Err(Failure::error(format!(
        "Metadata store on node {name} reports to not yet have finished initialization"
    )))
}

fn quorum_critical(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let name = &call.node;
    if node.list("/api/nodes?columns=name")?.len() <= 1 {
        let text = format!(
            "Node {name} seems to be the only one in a single node cluster, the check does not apply"
        );
        return Ok(passed(call, &text));
    }
    let (status, answer) = node.check("/api/health/checks/node-is-quorum-critical")?;
    if status == 200 {
        return Ok(passed(
            call,
            &format!("Node {name} reported no queues/streams with minimum quorum"),
        ));
    }
    Err(queues_failed(
        &answer,
        "would lose quorum if node is shut down",
    ))
}

fn check_leaders(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    const CHECK: &str = "quorum-queues-without-elected-leaders";
    let pattern = call.argument(0);
    let at = match call.flag("across-all-vhosts") {
        true => path(["health", "checks", CHECK, "all-vhosts", "pattern", pattern]),
        false => path([
            "health",
            "checks",
            CHECK,
            "vhost",
            call.vhost(),
            "pattern",
            pattern,
        ]),
    };
    let (status, answer) = node.check(&at)?;
    if status == 200 {
        let text = format!(
            "Node {} reported all quorum queue as having responsive leader replicas",
            call.node
        );
        return Ok(passed(call, &text));
    }
    Err(queues_failed(
        &answer,
        "does not have an elected leader replica or the replica was unresponsive",
    ))
}

/// A failed check that names queues.
fn queues_failed(answer: &Value, what: &str) -> Failure {
    let queues = answer["queues"].as_array().cloned().unwrap_or_default();
    let lines: Vec<String> = queues
        .iter()
        .map(|queue| {
            format!(
                "{} {what}",
                queue["readable_name"].as_str().unwrap_or_default()
            )
        })
        .collect();
    Failure::Check {
        text: lines.join("\n"),
        json: json!({ "result": "error", "queues": queues, "message": answer["reason"] }),
    }
}

fn check_mirroring(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let mut lines = Vec::new();
    for (kind, label) in [
        ("policies", "Policy"),
        ("operator-policies", "Operator policy"),
    ] {
        for policy in node.list(&path([kind]))? {
            let definition = policy["definition"].as_object();
            if definition.is_some_and(|keys| keys.keys().any(|key| key.starts_with("ha-"))) {
                let name = policy["name"].as_str().unwrap_or_default();
                lines.push(format!("{label} {name} enables classic queue mirroring"));
            }
        }
    }
    if lines.is_empty() {
        return Ok(passed(
            call,
            "Cluster reported no policies that enable classic queue mirroring",
        ));
    }
    Err(Failure::Check {
        json: json!({ "result": "error", "message": "Cluster reported policies enabling classic queue mirroring" }),
        text: lines.join("\n"),
    })
}

fn address_family<'a>(call: &'a Call<'_>) -> &'a str {
    call.value("address-family").unwrap_or("IPv4")
}

fn resolve(call: &Call<'_>, _: &Node) -> Result<Output, Failure> {
    let (name, family) = (call.argument(0), address_family(call));
    let is_v6 = family.eq_ignore_ascii_case("ipv6");
    let found = (name, 0).to_socket_addrs().map(|addresses| {
        let addresses = addresses.filter(|address| address.is_ipv6() == is_v6);
        addresses
            .map(|address| address.ip().to_string())
            .collect::<Vec<_>>()
    });
    match found {
        Ok(addresses) if !addresses.is_empty() => Ok(Output::Report {
            text: addresses.join("\n"),
            json: json!({
                "result": "ok",
                "node": call.node,
                "hostname": name,
                "address_family": family,
                "addresses": addresses,
            }),
        }),
        _ => Err(Failure::error_with(
            DATA,
            "Hostname does not resolve (resolution failed with an nxdomain)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_have_several_names() {
        let check = |name: &str, listener: &str| assert_eq!(protocol(name), listener, "{name}");
        check("amqp", "amqp");
        check("AMQP0-9-1", "amqp");
        check("amqp1.0", "amqp");
        check("amqps", "amqp/ssl");
        check("amqp/ssl", "amqp/ssl");
        check("mqtt3.1.1", "mqtt");
        check("stomp+tls", "stomp/ssl");
        check("http_api", "http");
        check("https", "https");
        check("cli", "clustering");
        check("http/web-stomp", "http/web-stomp");
    }
}
