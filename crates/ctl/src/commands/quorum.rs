//! What `rabbitmq-queues` does with quorum queues beyond their members.

use regex::Regex;
use serde_json::{Map, Value, json};

use super::all_columns;
use super::lifecycle::not_offered;
use super::queues::{GROW_SWITCHES, no_target, queue_type};
use crate::call::Call;
use crate::command::{Column, Command, QUEUES, Section, TIMEOUT, plain};
use crate::failure::{Failure, USAGE};
use crate::node::{Node, encoded};
use crate::output::{Format, Output, Rows};
use crate::term::{Kind, Term};

/// Octets of a payload that are shown.
const PAYLOAD_SHOWN: usize = 64;
const PAYLOAD: &str = "payload (max 64 bytes)";

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        Section::Queues,
        "peek",
        "Shows a message of a quorum queue that waits, from 1 on, and leaves it there",
        2..=2,
        peek,
    )
    .usage("[--vhost <vhost>] <queue> <position>")
    .tools(QUEUES)
    .switches(&[TIMEOUT])
    .check(|call| match call.argument(1).parse::<usize>() {
        Ok(1..) => Ok(()),
        _ => Err(Failure::usage(
            "\"position value must be a positive integer\"",
        )),
    })
    .pretty_table()
    .banner(|call| {
        let (queue, position, node) = (call.argument(0), call.argument(1), &call.node);
        format!("Peeking at quorum queue {queue} at position {position} on node {node} ...")
    }),
    Command::new(
        Section::Operations,
        "force_checkpoint",
        "Does nothing but name the queues: they keep no log of their own",
        0..=0,
        |call, node| {
            const COLUMNS: [Column; 3] = [
                plain("vhost", "vhost"),
                plain("name", "name"),
                plain("result", "result"),
            ];
            Ok(all_columns(&matching(call, node)?, &COLUMNS))
        },
    )
    .usage("[--vhost-pattern <pattern>] [--queue-pattern <pattern>] [--errors-only]")
    .tools(QUEUES)
    .switches(GROW_SWITCHES)
    .check(check_patterns)
    .table()
    .banner(|_| "Forcing checkpoint for all matching quorum queues...".to_owned()),
    Command::new(
        Section::Cluster,
        "grow_to_count",
        "Adds members until queues have this many, as far as there are nodes",
        2..=2,
        |_, node| {
            // Every queue is on the one node that there is: there is none to add.
            node.name()?;
            Ok(Output::Rows(Rows {
                columns: ["vhost", "name", "size", "result"]
                    .map(str::to_owned)
                    .into(),
                rows: Vec::new(),
            }))
        },
    )
    .usage(
        "<node_count> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>] \
         [--membership <promotable|voter>]",
    )
    .tools(QUEUES)
    .switches(GROW_SWITCHES)
    .check(check_growth)
    .table()
    .banner(|call| {
        let (count, strategy) = (call.argument(0), call.argument(1));
        format!("Growing {strategy} quorum queues on {count} nodes...")
    }),
];

fn check_growth(call: &Call<'_>) -> Result<(), Failure> {
    let (count, strategy) = (call.argument(0), call.argument(1));
    if !matches!(strategy, "all" | "even") {
        return Err(Failure::usage(format!(
            "\"strategy '{strategy}' is not recognised.\""
        )));
    }
    match count.parse::<u64>() {
        Ok(1..) => check_patterns(call),
        _ => Err(Failure::usage(format!(
            "\"node count '{count}' must be greater than 0.\""
        ))),
    }
}

fn check_patterns(call: &Call<'_>) -> Result<(), Failure> {
    pattern(call, "vhost-pattern")?;
    pattern(call, "queue-pattern").map(drop)
}

fn pattern(call: &Call<'_>, option: &str) -> Result<Regex, Failure> {
    let pattern = call.value(option).unwrap_or(".*");
    Regex::new(pattern).map_err(|error| Failure::error_with(USAGE, format!("{option}: {error}")))
}

/// The quorum queues that are meant, each with what came of it.
fn matching(call: &Call<'_>, node: &Node) -> Result<Vec<Value>, Failure> {
    let (vhost, queue) = (
        pattern(call, "vhost-pattern")?,
        pattern(call, "queue-pattern")?,
    );
    let is_meant = |it: &Value| {
        let text = |field: &str| it[field].as_str().unwrap_or_default();
        text("type") == "quorum" && vhost.is_match(text("vhost")) && queue.is_match(text("name"))
    };
    if call.flag("errors-only") {
        return Ok(Vec::new());
    }
    let all = node.list("/api/queues?columns=vhost,name,type")?;
    let all = all.into_iter().filter(is_meant).map(|mut queue| {
        queue["result"] = json!("{ok}");
        queue
    });
    Ok(all.collect())
}

fn peek(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    match queue_type(call, node)?.as_deref() {
        Some("quorum") => {}
        Some(other) => return Err(Failure::error(format!("Cannot peek into a {other} queue"))),
        None => return Err(no_target(call)),
    }
    let position: usize = call
        .argument(1)
        .parse()
        .expect("the check let only numbers through");
    let (vhost, queue) = (encoded(call.vhost()), encoded(call.argument(0)));
    let page = node
        .get(&format!(
            "/api/leveret/queues/{vhost}/{queue}/messages?offset={}&count=1&truncate={PAYLOAD_SHOWN}",
            position - 1
        ))
        .map_err(not_offered)?;
    let message = page["items"]
        .get(0)
        .ok_or_else(|| Failure::error("Target queue does not have a message at that position"))?;
    let fields = fields(message);
    if matches!(call.format, Format::Json | Format::JsonStream) {
        let json = json!({ "result": "ok", "message": fields });
        return Ok(Output::Report {
            text: String::new(),
            json,
        });
    }
    let row = |(key, value): (&String, &Value)| {
        vec![Term::text(key.clone()), Term::new(Kind::Plain, Some(value))]
    };
    Ok(Output::Rows(Rows {
        columns: vec!["keys".to_owned(), "values".to_owned()],
        rows: fields.iter().map(row).collect(),
    }))
}

/// What RabbitMQ tells of a message: properties, headers by their names, where it came from, and how its payload begins.
fn fields(message: &Value) -> Map<String, Value> {
    let mut fields = message["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let headers = fields.remove("headers");
    for (name, value) in headers
        .as_ref()
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        fields.insert(format!("header.{name}"), value.clone());
    }
    let count = message["delivery_count"].as_u64().unwrap_or_default();
    fields
        .entry("header.x-delivery-count")
        .or_insert_with(|| count.into());
    fields.insert("exchange".to_owned(), message["exchange"].clone());
    fields.insert("routing_keys".to_owned(), json!([message["routing_key"]]));
    fields.insert(PAYLOAD.to_owned(), message["payload"].clone());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_as_rabbitmq_does() {
        let message = json!({
            "payload": "hello 2", "payload_bytes": 7, "payload_encoding": "string", "exchange": "", "routing_key": "qq",
            "properties": { "content_type": "text/plain", "delivery_mode": 2, "headers": { "a": 1 } },
            "position": 1, "delivery_count": 0,
        });
        let expected = json!({
            "content_type": "text/plain", "delivery_mode": 2, "exchange": "", "header.a": 1, "header.x-delivery-count": 0,
            "payload (max 64 bytes)": "hello 2", "routing_keys": ["qq"],
        });
        assert_eq!(Value::Object(fields(&message)), expected);
    }
}
