//! Commands about commands: help, version, completions; and a report of all there is to know.

use super::{find, of};
use crate::call::Call;
use crate::command::{CTL_AND_DIAGNOSTICS, Command, Section, Switch};
use crate::failure::{Failure, USAGE};
use crate::help;
use crate::node::Node;
use crate::output::{self, Output, Style};
use crate::tool::{ALL, Tool};

/// The version of RabbitMQ whose tools these take the place of.
const RABBITMQ_VERSION: &str = "4.3.6";

/// The columns and lists of a report.
const REPORT_OF_NODE: [&str; 5] = [
    "status",
    "cluster_status",
    "environment",
    "list_connections",
    "list_channels",
];
const REPORT_OF_VHOST: [&str; 7] = [
    "list_queues",
    "list_exchanges",
    "list_bindings",
    "list_permissions",
    "list_policies",
    "list_global_parameters",
    "list_parameters",
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        Section::Help,
        "help",
        "Explains a command, or lists all",
        0..=1,
        |call, _| {
            let Some(name) = call.arguments.first() else {
                return Ok(Output::Text(match call.flag("list-commands") {
                    true => help::list(call.tool),
                    false => help::of_tool(call.tool),
                }));
            };
            match find(call.tool, name) {
                Some(command) => Ok(Output::Text(help::of_command(call.tool, command))),
                None => Err(Failure::error_with(
                    USAGE,
                    format!("\nCommand '{name}' not found."),
                )),
            }
        },
    )
    .usage("(<command> | [--list-commands])")
    .tools(&ALL)
    .switches(&[Switch::flag("list-commands")]),
    Command::new(
        Section::Help,
        "version",
        "Prints the version of RabbitMQ's tools that these are like",
        0..=0,
        |_, _| {
            Ok(Output::Report {
                text: RABBITMQ_VERSION.to_owned(),
                json: serde_json::json!({ "version": RABBITMQ_VERSION }),
            })
        },
    )
    .tools(&[Tool::Ctl, Tool::Diagnostics, Tool::Plugins]),
    Command::new(
        Section::Help,
        "autocomplete",
        "Lists the commands that begin so",
        0..=usize::MAX,
        |call, _| {
            let prefix = call.arguments.last().map_or("", String::as_str);
            let mut names: Vec<&str> = of(call.tool).map(|command| command.name).collect();
            names.retain(|name| name.starts_with(prefix));
            names.sort_unstable();
            Ok(match names.is_empty() {
                true => Output::Done,
                false => Output::Text(names.join("\n")),
            })
        },
    )
    .usage("[prefix]")
    .tools(&[Tool::Ctl, Tool::Diagnostics, Tool::Plugins, Tool::Queues]),
    Command::new(
        Section::Help,
        "completions",
        "Prints a script that completes commands in a shell",
        1..=1,
        |call, _| {
            let script = help::completions(call.tool, call.tool.name(), call.argument(0));
            let script = script.ok_or_else(|| {
                Failure::argument("shell must be one of bash, elvish, fish, powershell, zsh")
            })?;
            Ok(Output::Raw(script))
        },
    )
    .usage("<bash | elvish | fish | powershell | zsh>")
    .tools(&ALL),
    Command::new(
        Section::Monitoring,
        "report",
        "Prints all that support may ask for",
        0..=0,
        report,
    )
    .tools(CTL_AND_DIAGNOSTICS)
    .banner(|call| format!("Reporting server status of node {} ...", call.node)),
];

fn report(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let mut page = Vec::new();
    for name in REPORT_OF_NODE {
        part(&mut page, call, node, name, "/")?;
    }
    for vhost in node.list("/api/vhosts?columns=name")? {
        for name in REPORT_OF_VHOST {
            part(
                &mut page,
                call,
                node,
                name,
                vhost["name"].as_str().unwrap_or_default(),
            )?;
        }
    }
    Ok(Output::Raw(page))
}

/// What another command prints, with all its columns. What it does not get is said in its place.
fn part(
    page: &mut Vec<u8>,
    call: &Call<'_>,
    node: &Node,
    name: &str,
    vhost: &str,
) -> Result<(), Failure> {
    let command = find(Tool::Ctl, name).expect("a report is made of commands");
    let columns = command.columns.iter().map(|column| column.name.to_owned());
    let arguments: Vec<String> = [format!("--vhost={vhost}")]
        .into_iter()
        .chain(columns)
        .collect();
    let part = Call::parse(call.tool, command, &arguments, &call.node)?;
    page.extend_from_slice((command.banner)(&part).as_bytes());
    page.push(b'\n');
    match (command.run)(&part, node) {
        Ok(output) => {
            let style = Style {
                format: part.format,
                headers: true,
                node: &call.node,
            };
            output::write(page, &output, style).expect("memory takes what is written to it");
        }
        Err(Failure::Error { text, .. }) => page.extend_from_slice(format!("{text}\n").as_bytes()),
        Err(failure) => return Err(failure),
    }
    page.push(b'\n');
    Ok(())
}
