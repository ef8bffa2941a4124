//! Virtual hosts: what they are, their limits, and tracing in them.

use serde_json::{Map, Value, json};

use super::users::{limits_of, put_limits};
use super::{all_columns, exists, gone, parse_json, rows};
use crate::call::Call;
use crate::command::{CTL_AND_DIAGNOSTICS, Column, Command, Section, Switch, column, plain};
use crate::failure::{DATA, Failure};
use crate::node::{Node, Refusal, Refused, path};
use crate::output::Output;
use crate::term::Kind;

const DEFAULT_QUEUE_TYPES: [&str; 3] = ["quorum", "stream", "classic"];
const PRECONDITION_FAILED: u16 = 412;
const PROTECTED: &str = "Cannot delete this virtual host: it is protected from deletion. \
                         To lift the protection, inspect and update its metadata";

const LIST: [Column; 8] = [
    plain("name", "name"),
    plain("description", "description"),
    plain("tags", "tags"),
    plain("default_queue_type", "default_queue_type"),
    plain("protected_from_deletion", "protected_from_deletion"),
    plain("tracing", "tracing"),
    column("cluster_state", Kind::Pairs),
    column("metadata", Kind::Map),
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        Section::VirtualHosts,
        "add_vhost",
        "Creates a virtual host",
        1..=1,
        add,
    )
    .usage(
        "<vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" \
             --default-queue-type <quorum|classic|stream>]",
    )
    .switches(&[
        Switch::text("description").short('d'),
        Switch::text("tags"),
        Switch::text("default-queue-type"),
    ])
    .check(check_queue_type)
    .banner(|call| format!("Adding vhost \"{}\" ...", call.argument(0))),
    Command::new(
        Section::VirtualHosts,
        "delete_vhost",
        "Deletes a virtual host with all that is in it",
        1..=1,
        delete,
    )
    .usage("<vhost>")
    .banner(|call| format!("Deleting vhost \"{}\" ...", call.argument(0))),
    Command::new(
        Section::AccessControl,
        "list_vhosts",
        "Lists virtual hosts",
        0..=usize::MAX,
        list,
    )
    .usage("[--no-table-headers] [<column> ...]")
    .tools(CTL_AND_DIAGNOSTICS)
    .columns(&LIST)
    .check(|call| call.columns(&[]).map(drop))
    .table()
    .banner(|_| "Listing vhosts ...".to_owned()),
    Command::new(
        Section::VirtualHosts,
        "update_vhost_metadata",
        "Changes a virtual host's description, tags, default queue type or protection",
        1..=1,
        update,
    )
    .usage(
        "<vhost> [--description=<description>] [--tags=\"<tag1>,<tag2>,<...>\"] \
         [--default-queue-type=<quorum|classic|stream>] [--protected-from-deletion=<true|false>]",
    )
    .switches(&[
        Switch::text("description").short('d'),
        Switch::text("tags"),
        Switch::text("default-queue-type"),
        Switch::flag("protected-from-deletion"),
    ])
    .check(check_update)
    .banner(|call| format!("Updating metadata of vhost \"{}\" ...", call.argument(0))),
    Command::new(
        Section::VirtualHosts,
        "set_vhost_tags",
        "Replaces a virtual host's tags",
        1..=usize::MAX,
        set_tags,
    )
    .usage("<vhost> <tag> [...]")
    .banner(|call| {
        let tags = call.arguments[1..].join(", ");
        format!(
            "Setting tags for virtual host \"{}\" to [{tags}] ...",
            call.argument(0)
        )
    }),
    Command::new(
        Section::VirtualHosts,
        "enable_vhost_deletion_protection",
        "Refuses to delete a virtual host from now on",
        1..=1,
        |call, node| {
            let vhost = call.argument(0);
            let done = node.post(
                &path(["vhosts", vhost, "deletion", "protection"]),
                &json!({}),
            );
            done.map_err(|refused| refused.or_not_found(|| Failure::no_vhost(vhost)))?;
            Ok(Output::Done)
        },
    )
    .usage("<vhost>")
    .banner(|call| {
        let vhost = call.argument(0);
        format!("Protecting virtual host \"{vhost}\" from removal by updating its metadata...")
    }),
    Command::new(
        Section::VirtualHosts,
        "disable_vhost_deletion_protection",
        "Lets a virtual host be deleted again",
        1..=1,
        |call, node| {
            let vhost = call.argument(0);
            let done = node.delete(&path(["vhosts", vhost, "deletion", "protection"]));
            done.map_err(|refused| refused.or_not_found(|| Failure::no_vhost(vhost)))?;
            Ok(Output::Done)
        },
    )
    .usage("<vhost>")
    .banner(|call| {
        let vhost = call.argument(0);
        format!(
            "Removing deletion protection from virtual host \"{vhost}\" by updating its metadata..."
        )
    }),
    Command::new(
        Section::VirtualHosts,
        "restart_vhost",
        "Starts a virtual host that failed",
        0..=0,
        restart,
    )
    .usage("[--vhost <vhost>]")
    .banner(|call| {
        let (vhost, node) = (call.vhost(), &call.node);
        format!("Trying to restart vhost '{vhost}' on node '{node}' ...")
    }),
    Command::new(
        Section::VirtualHosts,
        "reconcile_vhosts",
        "Starts virtual hosts on nodes that miss them",
        0..=0,
        |_, node| {
            node.get("/api/vhosts?columns=name")?;
            Ok(Output::Done)
        },
    )
    .banner(|_| {
        "Will try to initiate virtual host reconciliation on all reachable cluster nodes..."
            .to_owned()
    }),
    Command::new(
        Section::VirtualHosts,
        "set_vhost_limits",
        "Limits a virtual host's connections or queues",
        1..=1,
        set_limits,
    )
    .usage("[--vhost <vhost>] <definition>")
    .banner(|call| {
        let (vhost, definition) = (call.vhost(), call.argument(0));
        format!("Setting vhost limits to \"{definition}\" for vhost \"{vhost}\" ...")
    }),
    Command::new(
        Section::VirtualHosts,
        "clear_vhost_limits",
        "Lifts all limits of a virtual host",
        0..=0,
        clear_limits,
    )
    .usage("[--vhost <vhost>]")
    .banner(|call| format!("Clearing vhost \"{}\" limits ...", call.vhost())),
    Command::new(
        Section::VirtualHosts,
        "list_vhost_limits",
        "Shows the limits of a virtual host, or of all",
        0..=0,
        list_limits,
    )
    .usage("[--vhost <vhost>] [--global] [--no-table-headers]")
    .tools(CTL_AND_DIAGNOSTICS)
    .switches(&[Switch::flag("global")])
    .table()
    .banner(|call| match call.flag("global") {
        true => "Listing limits for all vhosts ...".to_owned(),
        false => format!("Listing limits for vhost \"{}\" ...", call.vhost()),
    }),
    Command::new(
        Section::VirtualHosts,
        "trace_on",
        "Copies what is published and delivered in a virtual host to amq.rabbitmq.trace",
        0..=usize::MAX,
        |call, node| trace(call, node, true),
    )
    .usage("[--vhost <vhost>]")
    .banner(|call| format!("Starting tracing for vhost \"{}\" ...", call.vhost())),
    Command::new(
        Section::VirtualHosts,
        "trace_off",
        "Stops tracing in a virtual host",
        0..=usize::MAX,
        |call, node| trace(call, node, false),
    )
    .usage("[--vhost <vhost>]")
    .banner(|call| format!("Stopping tracing for vhost \"{}\" ...", call.vhost())),
];

fn check_queue_type(call: &Call<'_>) -> Result<(), Failure> {
    match call.value("default-queue-type") {
        Some("") => Err(Failure::argument(
            "Default queue type must not be an empty string",
        )),
        Some(name) if !DEFAULT_QUEUE_TYPES.contains(&name) => Err(Failure::argument(format!(
            "Default queue type must be one of: {}. Provided: {name}",
            DEFAULT_QUEUE_TYPES.join(", ")
        ))),
        _ => Ok(()),
    }
}

fn check_update(call: &Call<'_>) -> Result<(), Failure> {
    let fields = [
        "description",
        "tags",
        "default-queue-type",
        "protected-from-deletion",
    ];
    if fields.iter().all(|field| call.value(field).is_none()) {
        return Err(Failure::not_enough());
    }
    check_queue_type(call)
}

/// What the call's options say about a virtual host, as fields of the API.
fn metadata(call: &Call<'_>) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    set("description", call.value("description").map(Value::from));
    set("tags", call.value("tags").map(tags));
    set(
        "default_queue_type",
        call.value("default-queue-type").map(Value::from),
    );
    let is_protected = call
        .value("protected-from-deletion")
        .map(|value| value == "true");
    set("protected_from_deletion", is_protected.map(Value::from));
    fields
}

fn tags(text: &str) -> Value {
    let tags = text.split(',').map(str::trim);
    tags.filter(|tag| !tag.is_empty()).collect()
}

/// One that is there already stays as it is.
fn add(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let at = path(["vhosts", call.argument(0)]);
    if exists(node.get(&at))?.is_none() {
        node.put(&at, &Value::Object(metadata(call)))?;
    }
    Ok(Output::Done)
}

fn delete(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let vhost = call.argument(0);
    match node.delete(&path(["vhosts", vhost])) {
        Ok(()) => Ok(Output::Done),
        Err(Refused::Refusal(Refusal {
            status: PRECONDITION_FAILED,
            ..
        })) => Err(Failure::error_with(DATA, PROTECTED)),
        Err(refused) => Err(refused.or_not_found(|| Failure::no_vhost(vhost))),
    }
}

fn list(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let names = call.columns(&["name"])?;
    let objects = node.list("/api/vhosts")?;
    Ok(rows(&objects, &names))
}

fn update(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let vhost = call.argument(0);
    let now = exists(node.get(&path(["vhosts", vhost])))?;
    let now = now.ok_or_else(|| Failure::no_vhost(vhost))?;
    change(node, vhost, &now, metadata(call))
}

fn set_tags(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let vhost = call.argument(0);
    let Some(now) = exists(node.get(&path(["vhosts", vhost])))? else {
        let text = format!("Virtual host \"{vhost}\" does not exist");
        return Err(Failure::error_with(DATA, text));
    };
    let tags = Map::from_iter([("tags".to_owned(), json!(call.arguments[1..]))]);
    change(node, vhost, &now, tags)
}

/// Puts a virtual host with some fields changed. What a PUT does not name it would forget.
fn change(
    node: &Node,
    vhost: &str,
    now: &Value,
    changes: Map<String, Value>,
) -> Result<Output, Failure> {
    let fields = [
        "description",
        "tags",
        "default_queue_type",
        "protected_from_deletion",
    ];
    let kept = fields.iter().filter_map(|&field| {
        let value = now.get(field).filter(|value| !value.is_null())?;
        Some((field.to_owned(), value.clone()))
    });
    let body: Map<String, Value> = kept.chain(changes).collect();
    node.put(&path(["vhosts", vhost]), &Value::Object(body))?;
    Ok(Output::Done)
}

fn restart(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let vhost = call.vhost();
    let now = exists(node.get(&path(["vhosts", vhost])))?;
    let now = now.ok_or_else(|| Failure::no_vhost(vhost))?;
    let name = node.name()?;
    if now["cluster_state"][name] == "running" {
        return Ok(Output::Text(format!(
            "Vhost '{vhost}' is already running on node '{name}'"
        )));
    }
    node.post(&path(["vhosts", vhost, "start", name]), &json!({}))?;
    Ok(Output::Text(format!(
        "Successfully restarted vhost '{vhost}' on node '{name}'"
    )))
}

/// The limits become these: those that are not named are lifted.
fn set_limits(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let vhost = call.vhost();
    let Value::Object(limits) = parse_json(call.argument(0))? else {
        return Err(Failure::error("Limits are an object of JSON"));
    };
    if exists(node.get(&path(["vhosts", vhost])))?.is_none() {
        return Err(Failure::no_vhost(vhost));
    }
    put_limits(node, "vhost-limits", vhost, &limits)?;
    for name in limits_of(node, "vhost-limits", vhost)?.keys() {
        if !limits.contains_key(name) {
            gone(node.delete(&path(["vhost-limits", vhost, name])))?;
        }
    }
    Ok(Output::Done)
}

fn clear_limits(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let vhost = call.vhost();
    let limits = limits_of(node, "vhost-limits", vhost)?;
    if limits.is_empty() {
        return Err(Failure::error("Parameter does not exist"));
    }
    for name in limits.keys() {
        gone(node.delete(&path(["vhost-limits", vhost, name])))?;
    }
    Ok(Output::Done)
}

fn list_limits(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    const COLUMNS: [Column; 2] = [
        plain("vhost", "vhost"),
        Column {
            name: "limits",
            kind: Kind::Json,
            field: "value",
        },
    ];
    if call.flag("global") {
        return Ok(all_columns(&node.list("/api/vhost-limits")?, &COLUMNS));
    }
    let vhost = call.vhost();
    if exists(node.get(&path(["vhosts", vhost])))?.is_none() {
        return Err(Failure::no_vhost(vhost));
    }
    let limits = limits_of(node, "vhost-limits", vhost)?;
    Ok(Output::Text(if limits.is_empty() {
        String::new()
    } else {
        Value::Object(limits).to_string()
    }))
}

fn trace(call: &Call<'_>, node: &Node, on: bool) -> Result<Output, Failure> {
    let vhost = call.vhost();
    let now = exists(node.get(&path(["vhosts", vhost])))?;
    let now = now.ok_or_else(|| Failure::no_vhost(vhost))?;
    let tracing = Map::from_iter([("tracing".to_owned(), Value::Bool(on))]);
    change(node, vhost, &now, tracing)?;
    let state = if on { "enabled" } else { "disabled" };
    Ok(Output::Text(format!("Trace {state} for vhost {vhost}")))
}
