//! The state of a node and of its cluster, as a page.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::command::{CTL_AND_DIAGNOSTICS, Command, DIAGNOSTICS, Section, Switch, TIMEOUT};
use crate::failure::Failure;
use crate::node::{Node, by_field, path};
use crate::output::{Format, Output};

const UNKNOWN: &str = "(not available)";
const NONE: &str = "(none)";

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        Section::Monitoring,
        "status",
        "Shows what a node is, has and uses",
        0..=0,
        status,
    )
    .usage("[--unit <unit>]")
    .tools(CTL_AND_DIAGNOSTICS)
    .switches(&[Switch::text("unit"), TIMEOUT])
    .check(check_unit)
    .banner(|call| format!("Status of node {} ...", call.node)),
    Command::new(
        Section::Cluster,
        "cluster_status",
        "Shows the nodes of a cluster",
        0..=0,
        cluster_status,
    )
    .tools(CTL_AND_DIAGNOSTICS)
    .banner(|call| format!("Cluster status of node {} ...", call.node)),
    Command::new(
        Section::Monitoring,
        "memory_breakdown",
        "Shows what a node uses memory for",
        0..=0,
        memory_breakdown,
    )
    .usage("[--unit <unit>]")
    .tools(DIAGNOSTICS)
    .switches(&[Switch::text("unit"), TIMEOUT])
    .check(check_unit)
    .banner(|call| format!("Reporting memory breakdown on node {}...", call.node)),
];

/// A listener, as the API's overview has it.
pub(super) struct Listener {
    pub(super) node: String,
    pub(super) protocol: String,
    pub(super) interface: String,
    pub(super) port: u64,
}

impl Listener {
    fn new(object: &Value) -> Self {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let interface = text("ip_address");
        Self {
            node: text("node"),
            protocol: text("protocol"),
            interface: if interface.contains(':') {
                format!("[{interface}]")
            } else {
                interface
            },
            port: object["port"].as_u64().unwrap_or_default(),
        }
    }

    fn purpose(&self) -> &str {
        match self.protocol.as_str() {
            "amqp" => "AMQP 0-9-1 and AMQP 1.0",
            "amqp/ssl" => "AMQP 0-9-1 and AMQP 1.0 over TLS",
            "mqtt" => "MQTT",
            "mqtt/ssl" => "MQTT over TLS",
            "stomp" => "STOMP",
            "stomp/ssl" => "STOMP over TLS",
            "http" => "HTTP API",
            "https" => "HTTP API over TLS (HTTPS)",
            "http/prometheus" => "Prometheus exporter API over HTTP",
            "https/prometheus" => "Prometheus exporter API over TLS (HTTPS)",
            "clustering" => "inter-node and CLI tool communication",
            other => other,
        }
    }

    pub(super) fn line(&self) -> String {
        format!(
            "Interface: {}, port: {}, protocol: {}, purpose: {}",
            self.interface,
            self.port,
            self.protocol,
            self.purpose()
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "node": self.node,
            "protocol": self.protocol,
            "interface": self.interface,
            "port": self.port,
            "purpose": self.purpose(),
        })
    }
}

/// The listeners of the node that is asked.
pub(super) fn listeners(node: &Node) -> Result<Vec<Listener>, Failure> {
    let name = node.name()?.to_owned();
    let overview = node.get("/api/overview?columns=listeners")?;
    let all = listeners_in(&overview);
    Ok(all
        .into_iter()
        .filter(|listener| listener.node == name)
        .collect())
}

fn listeners_in(overview: &Value) -> Vec<Listener> {
    let list = overview["listeners"].as_array();
    list.into_iter().flatten().map(Listener::new).collect()
}

/// A resource that is short, and where.
pub(super) struct Alarm {
    pub(super) resource: &'static str,
    pub(super) node: String,
}

impl Alarm {
    pub(super) fn line(&self) -> String {
        let what = match self.resource {
            "memory" => "Memory alarm",
            _ => "Free disk space alarm",
        };
        format!("{what} on node {}", self.node)
    }

    fn json(&self) -> Value {
        json!({ "type": "resource_limit", "resource": self.resource, "node": self.node })
    }
}

/// The alarms of these objects of `/api/nodes`.
pub(super) fn alarms(nodes: &[Value]) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    for node in nodes {
        let fields = [("memory", "mem_alarm"), ("disk", "disk_free_alarm")];
        for (resource, _) in fields.into_iter().filter(|(_, field)| node[field] == true) {
            let node = node["name"].as_str().unwrap_or_default().to_owned();
            alarms.push(Alarm { resource, node });
        }
    }
    alarms
}

/// Bytes in a unit of RabbitMQ's tools: `gb` is 1000³, `gib` 1024³.
fn unit_bytes(unit: &str) -> Option<f64> {
    let unit = unit.to_ascii_lowercase();
    if unit == "bytes" {
        return Some(1.0);
    }
    let (letter, suffix) = unit.split_at_checked(1)?;
    let power = "kmgtp".find(letter)? + 1;
    let base = match suffix {
        "" | "b" => 1000.0_f64,
        "i" | "ib" => 1024.0,
        _ => return None,
    };
    Some(base.powi(i32::try_from(power).ok()?))
}

fn check_unit(call: &Call<'_>) -> Result<(), Failure> {
    let unit = unit(call);
    match unit_bytes(unit) {
        Some(_) => Ok(()),
        None => Err(Failure::usage(format!(
            "\"unit '{unit}' is not supported. Please use one of: bytes, mb, mib, gb, gib, tb, tib\""
        ))),
    }
}

fn unit<'a>(call: &'a Call<'_>) -> &'a str {
    call.value("unit").unwrap_or("gb")
}

/// An amount of bytes in a unit, to four places.
fn amount(bytes: &Value, unit: &str) -> String {
    match (bytes.as_f64(), unit_bytes(unit)) {
        (Some(bytes), Some(1.0)) => format!("{bytes} {unit}"),
        (Some(bytes), Some(size)) => format!("{:?} {unit}", rounded(bytes / size, 4)),
        _ => UNKNOWN.to_owned(),
    }
}

fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    (value * scale).round() / scale
}

/// One use of memory: its name, bytes, and per cent of the whole.
struct Share<'a> {
    name: &'a str,
    bytes: &'a Value,
    percentage: f64,
}

/// The parts of memory, the largest first.
fn shares(memory: &Value) -> Vec<Share<'_>> {
    let Value::Object(parts) = memory else {
        return Vec::new();
    };
    let total = total(memory).as_f64().filter(|&total| total > 0.0);
    let mut shares: Vec<Share<'_>> = parts
        .iter()
        .filter_map(|(name, bytes)| {
            let percentage = 100.0 * bytes.as_f64()? / total.unwrap_or(f64::INFINITY);
            Some(Share {
                name,
                bytes,
                percentage: rounded(percentage, 2),
            })
        })
        .collect();
    shares.sort_by(|a, b| {
        b.bytes
            .as_f64()
            .partial_cmp(&a.bytes.as_f64())
            .expect("numbers")
    });
    shares
}

/// What a node uses in all, by its own way to count.
fn total(memory: &Value) -> &Value {
    let strategy = memory["strategy"].as_str().unwrap_or("rss");
    &memory["total"][strategy]
}

fn memory_breakdown(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let answer = node.get(&path(["nodes", node.name()?, "memory"]))?;
    let shares = shares(&answer["memory"]);
    if call.format == Format::Csv {
        return Ok(Output::Text(memory_csv(&shares)));
    }
    let unit = unit(call).to_ascii_lowercase();
    let lines = shares.iter().map(|share| {
        format!(
            "{}: {} ({:?}%)\n",
            share.name,
            amount(share.bytes, &unit),
            share.percentage
        )
    });
    let json = shares.iter().map(|share| {
        let value = json!({ "bytes": share.bytes, "percentage": share.percentage });
        (share.name.to_owned(), value)
    });
    Ok(Output::Report {
        text: lines.collect(),
        json: Value::Object(json.collect()),
    })
}

fn memory_csv(shares: &[Share<'_>]) -> String {
    let mut fields: Vec<(String, String)> = Vec::new();
    for share in shares {
        fields.push((
            format!("\"{}.bytes\"", share.name),
            format!("\"{}\"", share.bytes),
        ));
        let percentage = format!("\"{:?}\"", share.percentage);
        fields.push((format!("\"{}.percentage\"", share.name), percentage));
    }
    let (names, values): (Vec<String>, Vec<String>) = fields.into_iter().unzip();
    format!("{}\n{}", names.join(","), values.join(","))
}

fn status(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let name = node.name()?.to_owned();
    let overview = node.get("/api/overview")?;
    let this = node.get(&path(["nodes", &name]))?;
    // A node that does not break its memory down still has a status.
    let memory = node
        .get(&path(["nodes", &name, "memory"]))
        .unwrap_or_default();
    let vhosts = node.list("/api/vhosts?columns=name")?;
    let facts = Facts {
        name,
        overview,
        node: this,
        memory: memory["memory"].clone(),
        vhosts: vhosts.len(),
    };
    Ok(Output::Report {
        text: facts.page(unit(call)),
        json: facts.json(),
    })
}

/// What `status` tells.
struct Facts {
    name: String,
    overview: Value,
    node: Value,
    memory: Value,
    vhosts: usize,
}

impl Facts {
    fn listeners(&self) -> Vec<Listener> {
        let all = listeners_in(&self.overview);
        all.into_iter()
            .filter(|listener| listener.node == self.name)
            .collect()
    }

    fn uptime_s(&self) -> u64 {
        self.node["uptime"].as_u64().unwrap_or_default() / 1000
    }

    fn page(&self, unit: &str) -> String {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => UNKNOWN.to_owned(),
            other => other.to_string(),
        };
        let (node, overview) = (&self.node, &self.overview);
        let alarms: Vec<String> = alarms(std::slice::from_ref(node))
            .iter()
            .map(Alarm::line)
            .collect();
        let memory = shares(&self.memory);
        let memory = memory.iter().map(|share| {
            format!(
                "{}: {} ({:?} %)",
                share.name,
                amount(share.bytes, unit),
                share.percentage
            )
        });
        let mut page = Page::default();
        page.section(
            "Runtime",
            [
                format!("OS PID: {}", text(&node["os_pid"])),
                format!("OS: {}", text(&node["os"])),
                format!("Uptime (seconds): {}", self.uptime_s()),
                format!("Is under maintenance?: {}", node["being_drained"] == true),
                format!("Product name: {}", text(&overview["product_name"])),
                format!("Product version: {}", text(&overview["product_version"])),
                format!("RabbitMQ version: {}", text(&overview["rabbitmq_version"])),
                format!("Node name: {}", self.name),
                format!(
                    "Erlang configuration: {}",
                    text(&overview["erlang_full_version"])
                ),
                format!("Crypto library: {}", text(&overview["crypto_lib_version"])),
                format!(
                    "Erlang processes: {} used, {} limit",
                    text(&node["proc_used"]),
                    text(&node["proc_total"])
                ),
                format!("Scheduler run queue: {}", text(&node["run_queue"])),
                format!(
                    "Cluster heartbeat timeout (net_ticktime): {}",
                    text(&node["net_ticktime"])
                ),
            ],
        );
        let plugins = bullets(&node["enabled_plugins"]);
        page.section(
            "Plugins",
            ["Enabled plugins:\n".to_owned()].into_iter().chain(plugins),
        );
        page.section(
            "Data directory",
            [format!("Node data directory: {}", text(&node["db_dir"]))],
        );
        page.section("Config files", bullets(&node["config_files"]));
        page.section("Log file(s)", bullets(&node["log_files"]));
        page.section("Alarms", or_none(alarms));
        page.section("Tags", or_none(pairs(&overview["node_tags"])));
        let memory_head = [
            format!("Total memory used: {}", amount(self.total_memory(), unit)),
            format!(
                "Calculation strategy: {}",
                text(&node["mem_calculation_strategy"])
            ),
            format!(
                "Memory high watermark, computed to: {}\n",
                amount(&node["mem_limit"], unit)
            ),
        ];
        page.section("Memory", memory_head.into_iter().chain(memory));
        page.section(
            "Free Disk Space",
            [
                format!(
                    "Low free disk space watermark: {}",
                    amount(&node["disk_free_limit"], unit)
                ),
                format!("Free disk space: {}", amount(&node["disk_free"], unit)),
            ],
        );
        let totals = &overview["object_totals"];
        page.section(
            "Totals",
            [
                format!("Connection count: {}", text(&totals["connections"])),
                format!("Queue count: {}", text(&totals["queues"])),
                format!("Virtual host count: {}", self.vhosts),
            ],
        );
        let listeners = self.listeners().iter().map(Listener::line).collect();
        page.section("Listeners", or_none(listeners));
        page.0
    }

    fn total_memory(&self) -> &Value {
        match total(&self.memory) {
            Value::Null => &self.node["mem_used"],
            total => total,
        }
    }

    fn json(&self) -> Value {
        let (node, overview) = (&self.node, &self.overview);
        let alarms: Vec<Value> = alarms(std::slice::from_ref(node))
            .iter()
            .map(Alarm::json)
            .collect();
        let listeners: Vec<Value> = self.listeners().iter().map(Listener::json).collect();
        let totals = &overview["object_totals"];
        let pid = node["os_pid"]
            .as_str()
            .and_then(|pid| pid.parse::<u64>().ok());
        json!({
            "pid": pid,
            "os": node["os"],
            "uptime": self.uptime_s(),
            "is_under_maintenance": node["being_drained"] == true,
            "product_name": overview["product_name"],
            "product_version": overview["product_version"],
            "rabbitmq_version": overview["rabbitmq_version"],
            "erlang_version": overview["erlang_full_version"],
            "crypto_lib_version": overview["crypto_lib_version"],
            "processes": { "used": node["proc_used"], "limit": node["proc_total"] },
            "run_queue": node["run_queue"],
            "net_ticktime": node["net_ticktime"],
            "active_plugins": node["enabled_plugins"],
            "data_directory": node["db_dir"],
            "config_files": node["config_files"],
            "log_files": node["log_files"],
            "alarms": alarms,
            "tags": overview["node_tags"],
            "memory": self.memory,
            "vm_memory_calculation_strategy": node["mem_calculation_strategy"],
            "vm_memory_high_watermark_limit": node["mem_limit"],
            "disk_free_limit": node["disk_free_limit"],
            "disk_free": node["disk_free"],
            "totals": {
                "connection_count": totals["connections"],
                "queue_count": totals["queues"],
                "virtual_host_count": self.vhosts,
            },
            "listeners": listeners,
        })
    }
}

/// A text of sections with headings.
#[derive(Default)]
struct Page(String);

impl Page {
    fn section(&mut self, title: &str, lines: impl IntoIterator<Item = String>) {
        let gap = if self.0.is_empty() { "" } else { "\n\n" };
        self.0.push_str(&format!("{gap}{title}\n"));
        for line in lines {
            self.0.push('\n');
            self.0.push_str(&line);
        }
    }
}

fn bullets(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str)
        .map(|text| format!(" * {text}"))
        .collect()
}

fn pairs(map: &Value) -> Vec<String> {
    let map = map.as_object().into_iter().flatten();
    map.map(|(key, value)| match value.as_str() {
        Some(text) => format!("{key}: {text}"),
        None => format!("{key}: {value}"),
    })
    .collect()
}

fn or_none(lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() {
        return vec![NONE.to_owned()];
    }
    lines
}

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

#[cfg(test)]
mod tests;
