//! Usage, help and completions: what can be said about commands without running one.

use clap_complete::Shell;

use crate::call;
use crate::command::{Command, Section, SwitchValue};
use crate::commands;
use crate::tool::Tool;

/// Names this much alike are taken for a slip of the hand.
const LIKENESS_MIN: f64 = 0.77;

const GENERAL_OPTIONS: &str = "\
General options:
  -n, --node <node>         the node; one on another machine is asked over HTTP
  -p, --vhost <vhost>       the virtual host of what the command is about [default: /]
  -q, --quiet               say only what was asked for
  -s, --silent              the same, and no names of columns
  -t, --timeout <seconds>   how long to wait for the node
      --formatter <format>  table, pretty_table, csv, json, json_stream or erlang
      --data-dir <path>     the data directory of a node on this machine [default: data]
      --host, --port, --user, --password
                            ask the node's HTTP API instead; LEVERET_CTL_URL has the same as one URL";

/// How a command is called: one line, behind a heading.
pub(crate) fn usage(tool: Tool, command: &Command) -> String {
    let has_timeout = command.switches.iter().any(|own| own.name == "timeout");
    let timeout = if has_timeout {
        " [--timeout <timeout>]"
    } else {
        ""
    };
    let arguments = if command.usage.is_empty() {
        String::new()
    } else {
        format!(" {}", command.usage)
    };
    format!(
        "\nUsage\n\n{} [--node <node>] [--longnames] [--quiet] {}{arguments}{timeout}",
        tool.name(),
        command.name
    )
}

/// All there is to say about a command.
pub(crate) fn of_command(tool: Tool, command: &Command) -> String {
    let mut text = format!("{}\n\n{}.\n", usage(tool, command), command.about);
    if !command.columns.is_empty() {
        let mut columns: Vec<&str> = command.columns.iter().map(|column| column.name).collect();
        columns.sort_unstable();
        text += &format!("\nColumns: {}\n", columns.join(", "));
    }
    if !command.switches.is_empty() {
        text += "\nOptions:\n";
        for switch in command.switches {
            let short = switch
                .short
                .map_or_else(|| "    ".to_owned(), |c| format!("-{c}, "));
            let value = match switch.value {
                SwitchValue::Flag => "",
                SwitchValue::Text => " <text>",
                SwitchValue::Number => " <number>",
            };
            text += &format!("  {short}--{}{value}\n", switch.name);
        }
    }
    format!("{text}\n{GENERAL_OPTIONS}\n")
}

/// How a tool is called, and its commands.
pub(crate) fn of_tool(tool: Tool) -> String {
    let name = tool.name();
    format!(
        "\nUsage\n\n{name} [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> [<command options>]\n\n\
         Available commands:\n{}\nUse '{name} help <command>' to learn more about a specific command",
        list(tool)
    )
}

/// The commands of a tool, by sections.
pub(crate) fn list(tool: Tool) -> String {
    let mut all: Vec<&Command> = commands::of(tool).collect();
    all.sort_by_key(|command| (command.section, command.name));
    let width = all.iter().map(|command| command.name.len()).max();
    let width = width.unwrap_or_default();
    let mut section: Option<Section> = None;
    let mut text = String::new();
    for command in all {
        if section != Some(command.section) {
            section = Some(command.section);
            text += &format!("\n{}:\n\n", command.section.title());
        }
        text += &format!("   {:width$}  {}\n", command.name, command.about);
    }
    text
}

/// The complaint about a name that no command of this tool has.
pub(crate) fn not_found(tool: Tool, name: &str) -> String {
    match like(tool, name) {
        Some(like) => format!("\nCommand '{name}' not found. \nDid you mean '{like}'? \n"),
        None => format!("\nCommand '{name}' not found. \n{}", of_tool(tool)),
    }
}

/// The command whose name is most like this one.
fn like(tool: Tool, name: &str) -> Option<&'static str> {
    commands::of(tool)
        .map(|command| (command.name, strsim::jaro(command.name, name)))
        .filter(|&(_, likeness)| likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(name, _)| name)
}

/// A script that completes the command line of a tool in a shell. Nothing if the shell is not known.
pub(crate) fn completions(tool: Tool, program: &str, shell: &str) -> Option<Vec<u8>> {
    let shell: Shell = shell.parse().ok()?;
    let subcommands = commands::of(tool).map(|command| call::parser(command).no_binary_name(false));
    let mut all = clap::Command::new(program.to_owned())
        .disable_help_subcommand(true)
        .subcommands(subcommands);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut all, program, &mut script);
    Some(script)
}
