//! The state of a node, as a page.

use serde_json::{Value, json};

use super::facts::{Alarm, Listener, Page, alarms, bullets, listeners_in, or_none, pairs};
use super::memory::{amount, check_unit, shares, total, unit};
use crate::call::Call;
use crate::command::{CTL_AND_DIAGNOSTICS, Command, Section, Switch, TIMEOUT};
use crate::failure::Failure;
use crate::node::{Node, path};
use crate::output::Output;

const UNKNOWN: &str = "(not available)";

pub(super) const COMMANDS: &[Command] = &[Command::new(
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
.banner(|call| format!("Status of node {} ...", call.node))];

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
                format!("Product: {}", text(&overview["product_name"])),
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
