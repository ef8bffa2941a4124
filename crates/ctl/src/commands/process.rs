//! What `rabbitmq-diagnostics` tells of the process: its log, its certificates and TLS, how it was started.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::checks::diagnostic;
use super::lifecycle::not_offered;
use crate::call::Call;
use crate::command::{Command, Switch, TIMEOUT};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::Output;

/// How often a log that is followed is looked at.
const PAUSE: Duration = Duration::from_millis(500);
/// Lines that are asked for at once when a log is followed.
const LINES_AT_ONCE: u64 = 1000;

pub(super) const COMMANDS: &[Command] = &[
    diagnostic(
        "log_tail",
        "Prints the last lines of the node's log",
        |call, node| {
            let (lines, _) = log(node, log_lines(call), 0)?;
            Ok(Output::Text(lines.join("\n")))
        },
    )
    .usage("[--number|-N <number>]")
    .switches(&[Switch::number("number").short('N'), TIMEOUT])
    .banner(|call| {
        format!(
            "Last {} log lines on node {} ...",
            log_lines(call),
            call.node
        )
    }),
    diagnostic(
        "log_tail_stream",
        "Prints the lines of the node's log as they come",
        follow_log,
    )
    .usage("[--duration|-d <seconds>]")
    .switches(&[Switch::number("duration").short('d'), TIMEOUT])
    .banner(|call| match call.number("duration") {
        None => format!("Streaming logs from node {} ...", call.node),
        Some(seconds) => format!(
            "Streaming logs from node {} for {seconds} seconds ...",
            call.node
        ),
    }),
    diagnostic(
        "certificates",
        "Shows the certificates of listeners with TLS",
        |_, node| {
            let listeners = node.get("/api/leveret/certificates").map_err(not_offered)?;
            let all = listeners.as_array().cloned().unwrap_or_default();
            let pages: Vec<String> = all.iter().map(listener).collect();
            Ok(Output::Report {
                text: if pages.is_empty() {
                    "#{}".to_owned()
                } else {
                    pages.join("\n")
                },
                json: listeners,
            })
        },
    )
    .banner(|call| format!("Certificates of node {} ...", call.node)),
    diagnostic(
        "tls_versions",
        "Lists the versions of TLS that are spoken",
        |_, node| {
            let versions = tls(node, "versions")?;
            Ok(Output::Report {
                text: lines(&versions),
                json: json!({ "versions": versions }),
            })
        },
    )
    .banner(|_| "Listing all TLS versions supported by the runtime...".to_owned()),
    diagnostic(
        "cipher_suites",
        "Lists the cipher suites that are spoken",
        |_, node| {
            let suites = tls(node, "cipher_suites")?;
            Ok(Output::Report {
                text: lines(&suites),
                json: suites,
            })
        },
    )
    .usage("[--format openssl] [--all]")
    .switches(&[Switch::text("format"), Switch::flag("all"), TIMEOUT])
    .check(|call| match call.value("format") {
        None | Some("openssl") => Ok(()),
        Some(_) => Err(Failure::usage(
            "\"Format should be openssl: there are no other names here\"",
        )),
    })
    .banner(|_| "Listing available cipher suites in OpenSSL format".to_owned()),
    diagnostic(
        "os_env",
        "Lists the variables of the node's environment that are about it",
        |_, node| {
            let process = node.get("/api/leveret/process").map_err(not_offered)?;
            let variables = process["variables"]
                .as_object()
                .cloned()
                .unwrap_or_default();
            let line = |(name, value): (&String, &Value)| {
                format!("{name}={}", value.as_str().unwrap_or_default())
            };
            let lines: Vec<String> = variables.iter().map(line).collect();
            Ok(Output::Report {
                text: lines.join("\n"),
                json: variables.clone().into(),
            })
        },
    )
    .banner(|call| {
        let node = &call.node;
        format!("Listing RabbitMQ-specific environment variables defined on node {node}...")
    }),
    diagnostic(
        "command_line_arguments",
        "Shows the command line that the node was started with",
        |_, node| {
            let process = node.get("/api/leveret/process").map_err(not_offered)?;
            Ok(Output::Report {
                text: lines(&process["arguments"]),
                json: process["arguments"].clone(),
            })
        },
    )
    .banner(|call| format!("Command line arguments of node {} ...", call.node)),
];

fn log_lines(call: &Call<'_>) -> u64 {
    let asked = call.number("number");
    asked.map_or(50, |count| u64::try_from(count).unwrap_or_default())
}

/// Lines of the log from one of this number on, and the number of the line that comes next.
fn log(node: &Node, count: u64, from: u64) -> Result<(Vec<String>, u64), Failure> {
    let answer = node
        .get(&format!("/api/leveret/log?lines={count}&from={from}"))
        .map_err(not_offered)?;
    let lines = answer["lines"].as_array().cloned().unwrap_or_default();
    let text = |line: &Value| line.as_str().unwrap_or_default().to_owned();
    let next = answer["next"].as_u64().unwrap_or(from);
    Ok((lines.iter().map(text).collect(), next))
}

/// Until the time is over, the node is gone, or nobody reads it any more.
fn follow_log(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let seconds = call.number("duration");
    let duration = seconds.map(|it| Duration::from_secs(u64::try_from(it).unwrap_or_default()));
    let end = duration.and_then(|duration| Instant::now().checked_add(duration));
    let (_, mut next) = log(node, 0, 0)?;
    loop {
        let (lines, after) = log(node, LINES_AT_ONCE, next)?;
        next = after;
        let mut out = io::stdout().lock();
        let written = lines.iter().try_for_each(|line| writeln!(out, "{line}"));
        if written.and_then(|()| out.flush()).is_err() {
            return Ok(Output::Done);
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok(Output::Done);
        }
        thread::sleep(PAUSE);
    }
}

fn tls(node: &Node, what: &str) -> Result<Value, Failure> {
    let answer = node.get("/api/leveret/tls").map_err(not_offered)?;
    Ok(answer[what].clone())
}

/// The texts of a list, one a line.
fn lines(list: &Value) -> String {
    let texts = list.as_array().into_iter().flatten();
    let texts: Vec<&str> = texts.filter_map(Value::as_str).collect();
    texts.join("\n")
}

fn listener(listener: &Value) -> String {
    let text = |field: &str| listener[field].as_str().unwrap_or_default();
    let mut page = format!(
        "Interface: {}, port: {}, protocol: {}\n",
        text("ip"),
        listener["port"],
        text("protocol")
    );
    for (title, file) in [
        ("Certificate file", &listener["certfile"]),
        ("CA certificate file", &listener["cacertfile"]),
    ] {
        if file.is_object() {
            page += &format!("{title}: {}\n", file["path"].as_str().unwrap_or_default());
            page += &certificates(file);
        }
    }
    page
}

fn certificates(file: &Value) -> String {
    if let Some(error) = file["error"].as_str() {
        return format!("  {error}\n");
    }
    let one = |it: &Value| {
        let text = |field: &str| it[field].as_str().unwrap_or_default();
        let names = lines(&it["names"]).replace('\n', ", ");
        format!(
            "  Subject: {}\n  Issuer: {}\n  Serial: {}\n  Names: {names}\n  Not before: {}\n  Not after: {}\n",
            text("subject"),
            text("issuer"),
            text("serial_number"),
            text("not_before_text"),
            text("not_after_text"),
        )
    };
    let all = file["certificates"].as_array().into_iter().flatten();
    all.map(one).collect()
}
