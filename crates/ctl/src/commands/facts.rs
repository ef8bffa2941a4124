//! What the API tells of a node and its cluster, as commands print it.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::node::Node;

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

pub(super) fn listeners_in(overview: &Value) -> Vec<Listener> {
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

    pub(super) fn json(&self) -> Value {
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

/// A text of sections with headings.
#[derive(Default)]
pub(super) struct Page(pub(super) String);

impl Page {
    pub(super) fn section(&mut self, title: &str, lines: impl IntoIterator<Item = String>) {
        let gap = if self.0.is_empty() { "" } else { "\n\n" };
        self.0.push_str(&format!("{gap}{title}\n"));
        for line in lines {
            self.0.push('\n');
            self.0.push_str(&line);
        }
    }
}

pub(super) fn bullets(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str)
        .map(|text| format!(" * {text}"))
        .collect()
}

pub(super) fn pairs(map: &Value) -> Vec<String> {
    let map = map.as_object().into_iter().flatten();
    map.map(|(key, value)| match value.as_str() {
        Some(text) => format!("{key}: {text}"),
        None => format!("{key}: {value}"),
    })
    .collect()
}

pub(super) fn or_none(lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() {
        return vec!["(none)".to_owned()];
    }
    lines
}
