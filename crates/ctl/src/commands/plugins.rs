//! `rabbitmq-plugins`. What is a plugin in RabbitMQ is a part of the node here, and needs no enabling. Scripts, images
//! and operators enable plugins all the same; so the file of enabled plugins is kept as they expect it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::call::Call;
use crate::command::{Command, Section, Switch};
use crate::failure::{DATA, Failure, UNAVAILABLE};
use crate::node::{Node, path};
use crate::output::{Format, Output};
use crate::tool::Tool;

const PLUGINS: &[Tool] = &[Tool::Plugins];
const SYSTEM_FILE: &str = "/etc/rabbitmq/enabled_plugins";

/// The plugins that come with RabbitMQ 4.3.
const KNOWN: [&str; 42] = [
    "rabbitmq_amqp1_0",
    "rabbitmq_auth_backend_cache",
    "rabbitmq_auth_backend_http",
    "rabbitmq_auth_backend_internal_loopback",
    "rabbitmq_auth_backend_ldap",
    "rabbitmq_auth_backend_oauth2",
    "rabbitmq_auth_mechanism_ssl",
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_event_exchange",
    "rabbitmq_exchange_federation",
    "rabbitmq_federation",
    "rabbitmq_federation_common",
    "rabbitmq_federation_management",
    "rabbitmq_federation_prometheus",
    "rabbitmq_jms_topic_exchange",
    "rabbitmq_management",
    "rabbitmq_management_agent",
    "rabbitmq_mqtt",
    "rabbitmq_peer_discovery_aws",
    "rabbitmq_peer_discovery_common",
    "rabbitmq_peer_discovery_consul",
    "rabbitmq_peer_discovery_etcd",
    "rabbitmq_peer_discovery_k8s",
    "rabbitmq_prometheus",
    "rabbitmq_queue_federation",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_sharding",
    "rabbitmq_shovel",
    "rabbitmq_shovel_management",
    "rabbitmq_shovel_prometheus",
    "rabbitmq_stomp",
    "rabbitmq_stream",
    "rabbitmq_stream_management",
    "rabbitmq_top",
    "rabbitmq_tracing",
    "rabbitmq_trust_store",
    "rabbitmq_web_dispatch",
    "rabbitmq_web_mqtt",
    "rabbitmq_web_mqtt_examples",
    "rabbitmq_web_stomp",
    "rabbitmq_web_stomp_examples",
];

const MODE: &[Switch] = &[Switch::flag("online"), Switch::flag("offline")];
const MODE_AND_ALL: &[Switch] = &[
    Switch::flag("online"),
    Switch::flag("offline"),
    Switch::flag("all"),
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(Section::Plugins, "list", "Lists plugins, and which of them the node has", 0..=1, list)
        .usage("[pattern] [--verbose] [--minimal] [--enabled] [--implicitly-enabled]")
        .tools(PLUGINS)
        .switches(&[
            Switch::flag("verbose").short('v'),
            Switch::flag("minimal").short('m'),
            Switch::flag("enabled").short('E'),
            Switch::flag("implicitly-enabled").short('e'),
        ])
        .check(|call| match call.flag("verbose") && call.flag("minimal") {
            true => Err(Failure::argument("Cannot set both verbose and minimal")),
            false => pattern(call).map(drop),
        })
        .banner(|call| {
            let pattern = call.arguments.first().map_or(".*", String::as_str);
            format!("Listing plugins with pattern \"{pattern}\" ...")
        }),
    Command::new(Section::Plugins, "enable", "Adds plugins to those that are enabled", 0..=usize::MAX, |call, node| {
        change(call, node, |enabled, named| enabled.extend(named.iter().cloned()))
    })
    .usage("<plugin1> [ <plugin2>] | --all [--offline] [--online]")
    .tools(PLUGINS)
    .switches(MODE_AND_ALL)
    .check(check_change)
    .banner(|call| changing("Enabling", "Enabling ALL plugins", call)),
    Command::new(Section::Plugins, "disable", "Takes plugins from those that are enabled", 0..=usize::MAX, |call, node| {
        change(call, node, |enabled, named| enabled.retain(|plugin| !named.contains(plugin)))
    })
    .usage("<plugin1> [ <plugin2>] | --all [--offline] [--online]")
    .tools(PLUGINS)
    .switches(MODE_AND_ALL)
    .check(check_change)
    .banner(|call| changing("Disabling", "Disabling ALL plugins", call)),
    Command::new(Section::Plugins, "set", "Makes these plugins those that are enabled", 0..=usize::MAX, |call, node| {
        change(call, node, |enabled, named| *enabled = named.clone())
    })
    .usage("<plugin1> [ <plugin2>] [--offline] [--online]")
    .tools(PLUGINS)
    .switches(MODE)
    .check(check_mode)
    .banner(|call| changing("Enabling", "", call)),
    Command::new(Section::Monitoring, "is_enabled", "Fails if the node does not have these plugins", 1..=usize::MAX, is_enabled)
        .usage("<plugin1> [ <plugin2>] [--offline] [--online]")
        .tools(PLUGINS)
        .switches(MODE)
        .check(check_mode)
        .banner(|call| {
            let plugins = plugins_are(&call.arguments);
            match call.flag("offline") {
                true => format!("Inferring if {plugins} from local environment..."),
                false => format!("Asking node {} if {plugins} enabled...", call.node),
            }
        }),
    Command::new(Section::Monitoring, "directories", "Prints where plugins would be", 0..=0, |call, _| {
        let file = file(call).display().to_string();
        Ok(Output::Report {
            text: format!(
                "Plugin archives directory: (built in)\nPlugin expansion directory: (built in)\nEnabled plugins file: {file}"
            ),
            json: json!({
                "plugins_dir": "",
                "plugins_expand_dir": "",
                "enabled_plugins_file": file,
            }),
        })
    })
    .usage("[--offline] [--online]")
    .tools(PLUGINS)
    .switches(MODE)
    .check(check_mode)
    .banner(|call| match call.flag("offline") {
        true => "Listing plugin directories inferred from local environment...".to_owned(),
        false => format!("Listing plugin directories used by node {}", call.node),
    }),
];

fn check_mode(call: &Call<'_>) -> Result<(), Failure> {
    if call.flag("online") && call.flag("offline") {
        return Err(Failure::argument("Cannot set both online and offline"));
    }
    Ok(())
}

fn check_change(call: &Call<'_>) -> Result<(), Failure> {
    match (call.arguments.is_empty(), call.flag("all")) {
        (true, false) => Err(Failure::not_enough()),
        (false, true) => Err(Failure::argument(
            "Cannot set both --all and a list of plugins",
        )),
        _ => check_mode(call),
    }
}

fn pattern(call: &Call<'_>) -> Result<regex::Regex, Failure> {
    let pattern = call.arguments.first().map_or(".*", String::as_str);
    regex::Regex::new(pattern)
        .map_err(|_| Failure::argument("the pattern is not a regular expression"))
}

fn changing(what: &str, all: &str, call: &Call<'_>) -> String {
    if call.flag("all") {
        return format!("{all} on node {}", call.node);
    }
    let lines = std::iter::once(format!("{what} plugins on node {}:", call.node));
    lines
        .chain(call.arguments.iter().cloned())
        .collect::<Vec<_>>()
        .join("\n")
}

fn plugins_are(names: &[String]) -> String {
    match names {
        [name] => format!("plugin {name} is"),
        names => format!("plugins {} are", names.join(", ")),
    }
}

/// Where the names of enabled plugins are kept.
fn file(call: &Call<'_>) -> PathBuf {
    if let Some(file) = call.value("enabled-plugins-file") {
        return PathBuf::from(file);
    }
    if let Ok(file) = std::env::var("RABBITMQ_ENABLED_PLUGINS_FILE") {
        return PathBuf::from(file);
    }
    match call.value("data-dir") {
        None if Path::new(SYSTEM_FILE).exists() => PathBuf::from(SYSTEM_FILE),
        folder => Path::new(folder.unwrap_or("data")).join("enabled_plugins"),
    }
}

/// The names in a file of enabled plugins, which is an Erlang term: `[a,b].`
fn parse(text: &str) -> Option<BTreeSet<String>> {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('%'));
    let text: String = lines.collect();
    let list = text.trim().strip_suffix('.')?.trim();
    let list = list.strip_prefix('[')?.strip_suffix(']')?;
    let names = list.split(',').map(|name| name.trim().trim_matches('\''));
    Some(
        names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

fn read(file: &Path) -> Result<BTreeSet<String>, Failure> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(unusable("read", file, &error.to_string())),
    };
    parse(&text).ok_or_else(|| unusable("read", file, "it is not a list of plugins"))
}

fn unusable(what: &str, file: &Path, why: &str) -> Failure {
    Failure::Said {
        code: DATA,
        text: format!(
            "Could not {what} enabled plugins file at {}: {why}",
            file.display()
        ),
    }
}

fn change(
    call: &Call<'_>,
    node: &Node,
    change: impl FnOnce(&mut BTreeSet<String>, &BTreeSet<String>),
) -> Result<Output, Failure> {
    let named: BTreeSet<String> = if call.flag("all") {
        KNOWN.map(str::to_owned).into()
    } else {
        call.arguments.iter().cloned().collect()
    };
    let file = file(call);
    let mut enabled = read(&file)?;
    change(&mut enabled, &named);
    let list: Vec<&str> = enabled.iter().map(String::as_str).collect();
    fs::write(&file, format!("[{}].\n", list.join(",")))
        .map_err(|error| unusable("update", &file, &error.to_string()))?;

    let mut lines = Vec::new();
    let missing = named
        .iter()
        .filter(|plugin| !KNOWN.contains(&plugin.as_str()));
    let missing: Vec<&str> = missing.map(String::as_str).collect();
    if !missing.is_empty() {
        lines.push(format!(
            "WARNING - plugins currently enabled but missing: {}\n",
            missing.join(", ")
        ));
    }
    if list.is_empty() {
        lines.push("All plugins have been disabled.".to_owned());
    } else {
        lines.push("The following plugins have been configured:".to_owned());
        lines.extend(list.iter().map(|plugin| format!("  {plugin}")));
    }
    lines.push(format!("Applying plugin configuration to {}...", call.node));
    if call.flag("offline") {
        lines.push(format!("set {} plugins.", list.len()));
        lines.push("Offline change; changes will take effect at broker restart.".to_owned());
    } else {
        node.name()?;
        lines.push("Plugin configuration unchanged.".to_owned());
    }
    Ok(Output::Text(lines.join("\n")))
}

/// The plugins that the node says it has: those asked for, and those that came with them.
struct Running {
    enabled: BTreeSet<String>,
    all: BTreeSet<String>,
}

fn running(node: &Node) -> Result<Running, Failure> {
    let this = node.get(&path(["nodes", node.name()?]))?;
    let names = |list: &Value, name: &dyn Fn(&Value) -> Option<String>| {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(name).collect::<BTreeSet<String>>()
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let enabled = names(&this["enabled_plugins"], &text);
    let mut all = names(&this["applications"], &|application| {
        text(&application["name"])
    });
    all.retain(|name| KNOWN.contains(&name.as_str()));
    all.extend(enabled.iter().cloned());
    Ok(Running { enabled, all })
}

fn is_enabled(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let (enabled, place) = if call.flag("offline") {
        (read(&file(call))?, String::new())
    } else {
        (running(node)?.all, format!(" on node {}", call.node))
    };
    let asked_for = call.arguments.iter().cloned();
    let missing: Vec<String> = asked_for
        .filter(|plugin| !enabled.contains(plugin))
        .collect();
    if missing.is_empty() {
        let text = capitalized(&format!("{} enabled{place}", plugins_are(&call.arguments)));
        return Ok(Output::Report {
            json: json!({ "result": "ok", "message": text }),
            text,
        });
    }
    let all: Vec<String> = enabled.into_iter().collect();
    Err(Failure::error_with(
        UNAVAILABLE,
        capitalized(&format!(
            "{} not enabled{place}. Enabled plugins and dependencies: {}",
            plugins_are(&missing),
            all.join(", ")
        )),
    ))
}

fn capitalized(text: &str) -> String {
    text[..1].to_uppercase() + &text[1..]
}

/// A plugin in a list.
struct Plugin {
    name: &'static str,
    state: State,
    is_running: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Enabled,
    /// It came with another.
    Implicit,
    NotEnabled,
}

impl State {
    fn sign(self) -> char {
        match self {
            Self::Enabled => 'E',
            Self::Implicit => 'e',
            Self::NotEnabled => ' ',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Implicit => "implicit",
            Self::NotEnabled => "not_enabled",
        }
    }
}

fn list(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let (running, version) = match running(node) {
        Ok(running) => {
            let overview = node.get("/api/overview?columns=rabbitmq_version")?;
            let version = overview["rabbitmq_version"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            (Some(running), version)
        }
        // A list can be had of a node that is down, too.
        Err(Failure::Unreachable(_)) => (None, String::new()),
        Err(failure) => return Err(failure),
    };
    let configured = read(&file(call))?;
    let pattern = pattern(call)?;
    let is_shown = |state| match state {
        State::Enabled => true,
        State::Implicit => !call.flag("enabled"),
        State::NotEnabled => !call.flag("enabled") && !call.flag("implicitly-enabled"),
    };
    let known = KNOWN.into_iter().filter(|name| pattern.is_match(name));
    let plugins: Vec<Plugin> = known
        .map(|name| {
            let enabled = running
                .as_ref()
                .map_or(&configured, |running| &running.enabled);
            let is_running = running
                .as_ref()
                .is_some_and(|running| running.all.contains(name));
            let state = match enabled.contains(name) {
                true => State::Enabled,
                false if is_running => State::Implicit,
                false => State::NotEnabled,
            };
            Plugin {
                name,
                state,
                is_running,
            }
        })
        .filter(|plugin| is_shown(plugin.state))
        .collect();
    Ok(if call.format == Format::Json {
        let status = if running.is_some() {
            "running"
        } else {
            "node_down"
        };
        list_json(call, &plugins, &version, status)
    } else {
        Output::Text(list_text(call, &plugins, &version, running.is_some()))
    })
}

fn list_text(call: &Call<'_>, plugins: &[Plugin], version: &str, is_up: bool) -> String {
    if call.flag("minimal") {
        let names: Vec<&str> = plugins.iter().map(|plugin| plugin.name).collect();
        return names.join("\n");
    }
    let mut lines = Vec::new();
    if !call.is_quiet() {
        let status = match is_up {
            true => format!("* = running on {}", call.node),
            false => format!("[failed to contact {} - status not shown]", call.node),
        };
        lines.push(" Configured: E = explicitly enabled; e = implicitly enabled".to_owned());
        lines.push(format!(" | Status: {status}"));
        lines.push(" |/".to_owned());
    }
    let width = plugins
        .iter()
        .map(|plugin| plugin.name.len())
        .max()
        .unwrap_or_default();
    for plugin in plugins {
        let configured = plugin.state.sign();
        let running = if plugin.is_running { '*' } else { ' ' };
        let name = plugin.name;
        lines.push(if call.flag("verbose") {
            format!(
                "[{configured}{running}] {name}\n     Version:     \t{version}\n     Dependencies:\t[]\n     Description: \t"
            )
        } else {
            format!("[{configured}{running}] {name:width$} {version}")
        });
    }
    lines.join("\n")
}

fn list_json(call: &Call<'_>, plugins: &[Plugin], version: &str, status: &str) -> Output {
    let format = match (call.flag("verbose"), call.flag("minimal")) {
        (true, _) => "verbose",
        (_, true) => "minimal",
        _ => "normal",
    };
    let plugins: Vec<Value> = plugins
        .iter()
        .map(|plugin| match call.flag("minimal") {
            true => json!({ "name": plugin.name }),
            false => json!({
                "name": plugin.name,
                "enabled": plugin.state.name(),
                "running": plugin.is_running,
                "version": version,
                "running_version": if plugin.is_running { version } else { "" },
            }),
        })
        .collect();
    Output::Report {
        text: String::new(),
        json: json!({ "status": status, "format": format, "plugins": plugins }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_enabled_plugins_are_read() {
        let check = |text: &str, names: Option<&[&str]>| {
            let names = names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
            assert_eq!(parse(text), names, "{text:?}");
        };
        check("[].", Some(&[]));
        check(
            "[rabbitmq_management,rabbitmq_prometheus].\n",
            Some(&["rabbitmq_management", "rabbitmq_prometheus"]),
        );
        check(
            "% by hand\n[ 'rabbitmq_mqtt',\n  rabbitmq_stomp ] .\n",
            Some(&["rabbitmq_mqtt", "rabbitmq_stomp"]),
        );
        check("[rabbitmq_management]", None);
        check("rabbitmq_management.", None);
        check("", None);
    }
}
