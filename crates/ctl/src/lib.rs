//! RabbitMQ's command-line tools, `rabbitmqctl` and its siblings, as one program: `leveret ctl`.
//!
//! RabbitMQ's tools are nodes of Erlang that call functions in the broker. These ask the broker's HTTP API, over a control
//! socket in its data directory or over TCP; so they work against RabbitMQ itself, too, which is how they are tested. Names
//! of commands, their arguments, output and exit codes are RabbitMQ's. This crate is a client: it knows nothing of the broker
//! but the API, and imports nothing of ours.
//!
//! To read it: `call` is what a command line says, `command` what a command is, and the files below `commands` are all
//! of them. `node` asks the node, by `http`. `output`, `term` and `failure` are what is said in the end. `encryption` and
//! `erlang` are for values of a configuration that are encrypted; a node that reads one uses them, too.

#![forbid(unsafe_code)]

use std::io::{self, Write};

use crate::call::Call;
use crate::failure::{Failure, TEMPORARY, UNAVAILABLE, USAGE};
use crate::node::Node;
use crate::output::Style;
pub use crate::tool::Tool;

mod call;
mod command;
mod commands;
pub mod encryption;
pub mod erlang;
mod failure;
mod help;
mod http;
mod node;
mod output;
pub mod prompt;
mod term;
mod tool;

const OK: u8 = 0;

/// What a tool is told of the machine it runs on.
pub struct Surroundings<'a> {
    /// The variables of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The machine's name, which is the second half of its node's.
    pub host: &'a str,
}

/// Runs a tool with the arguments behind its name, and returns its exit code.
pub fn main(tool: Tool, arguments: &[String]) -> u8 {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let host = host.split('.').next().unwrap_or("localhost");
    let surroundings = Surroundings {
        variable: &|name| std::env::var(name).ok(),
        host,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let code = run(tool, arguments, &surroundings, &mut out, &mut io::stderr());
    // Who closed the pipe does not want to know.
    let _ = out.flush();
    code
}

/// The same, with what it prints going to `out` and `err`.
pub fn run(
    tool: Tool,
    arguments: &[String],
    surroundings: &Surroundings<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let (name, mut rest) = call::split_command(arguments);
    let name = match name {
        Some(name) => name,
        None if asks_for(arguments, "--version") => "version",
        None if asks_for(arguments, "--help") || asks_for(arguments, "-?") => {
            return say(out, &help::of_tool(tool), OK);
        }
        None => return say(err, &help::of_tool(tool), USAGE),
    };
    let Some(command) = commands::find(tool, name) else {
        return say(err, &help::not_found(tool, name), USAGE);
    };
    rest.retain(|argument| argument != "--version" || name != "version");
    let default_node = (surroundings.variable)("RABBITMQ_NODENAME")
        .unwrap_or_else(|| format!("rabbit@{}", surroundings.host));
    let call = match Call::parse(tool, command, &rest, &default_node) {
        Ok(call) => call,
        Err(failure) => return fail(err, &failure, &Failed::unparsed(tool, command, arguments)),
    };
    let failed = Failed {
        is_json: call.format == output::Format::Json,
        node: &call.node,
        timeout_ms: call.timeout().map(|timeout| timeout.as_millis()),
        ..Failed::unparsed(tool, command, arguments)
    };
    match execute(&call, surroundings, out) {
        Ok(()) => OK,
        Err(failure) => {
            // What was said before it went wrong comes first.
            let _ = out.flush();
            fail(err, &failure, &failed)
        }
    }
}

fn asks_for(arguments: &[String], option: &str) -> bool {
    arguments.iter().any(|argument| argument == option)
}

fn execute(
    call: &Call<'_>,
    surroundings: &Surroundings<'_>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let command = call.command;
    if call.flag("help") {
        return print(writeln!(out, "{}", help::of_command(call.tool, command)));
    }
    check_arity(call)?;
    (command.check)(call)?;
    let node = Node::of(call, surroundings.variable, surroundings.host)?;
    let banner = (command.banner)(call);
    if !banner.is_empty() && !call.is_quiet() && !call.format.is_for_machines() {
        // At once: a command may wait long, or ask for a password.
        print(writeln!(out, "{banner}").and_then(|()| out.flush()))?;
    }
    if call.flag("dry-run") {
        return Ok(());
    }
    let output = (command.run)(call, &node)?;
    let headers = call
        .value("table-headers")
        .map_or(command.headers, |value| value == "true");
    let style = Style {
        format: call.format,
        headers: headers && !call.flag("silent"),
        node: &call.node,
    };
    print(output::write(out, &output, style))
}

/// Output that nobody reads any more is no failure.
fn print(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("cannot write: {error}")))
        }
        _ => Ok(()),
    }
}

fn check_arity(call: &Call<'_>) -> Result<(), Failure> {
    let count = call.arguments.len();
    if count < *call.command.arity.start() {
        return Err(Failure::not_enough());
    }
    if count > *call.command.arity.end() {
        return Err(Failure::usage("too many arguments."));
    }
    Ok(())
}

/// What a failure is told with.
struct Failed<'a> {
    tool: Tool,
    command: &'a command::Command,
    arguments: &'a [String],
    node: &'a str,
    timeout_ms: Option<u128>,
    is_json: bool,
}

impl<'a> Failed<'a> {
    fn unparsed(tool: Tool, command: &'a command::Command, arguments: &'a [String]) -> Self {
        Self {
            tool,
            command,
            arguments,
            node: "",
            timeout_ms: None,
            is_json: false,
        }
    }
}

/// Says what went wrong, and returns the exit code for it.
fn fail(err: &mut dyn Write, failure: &Failure, failed: &Failed<'_>) -> u8 {
    match failure {
        Failure::Arguments { code, detail } => {
            let text = format!(
                "Error (argument validation): {detail}\nArguments given:\n\t{}\n{}",
                failed.arguments.join(" "),
                help::usage(failed.tool, failed.command)
            );
            say(err, &text, *code)
        }
        Failure::Said { code, text } => say(err, text, *code),
        Failure::Error { code, text } => say(err, &format!("Error:\n{text}"), *code),
        Failure::Check { json, .. } if failed.is_json => say(err, &json.to_string(), UNAVAILABLE),
        Failure::Check { text, .. } => say(err, text, UNAVAILABLE),
        Failure::Unreachable(reason) => say(err, &unreachable(failed.node, reason), UNAVAILABLE),
        Failure::TimedOut => {
            let value = failed
                .timeout_ms
                .map_or_else(|| "infinity".to_owned(), |ms| ms.to_string());
            let text = format!(
                "Error: operation {} on node {} timed out. Timeout value used: {value}",
                failed.command.name, failed.node
            );
            say(err, &text, TEMPORARY)
        }
    }
}

fn unreachable(node: &str, reason: &str) -> String {
    format!(
        "Error: unable to perform an operation on node '{node}'. Please see diagnostics information and suggestions below.\n\n\
         Tried: {reason}\n\n\
         A node on this machine is asked over the control socket in its data directory (--data-dir), which only the user\n\
         that runs it may open. Any other node is asked over its HTTP API: --host, --port, --user and --password, or\n\
         LEVERET_CTL_URL=http://user:password@host:15672."
    )
}

fn say(to: &mut dyn Write, text: &str, code: u8) -> u8 {
    // There is nobody else to tell.
    let _ = writeln!(to, "{text}");
    code
}
