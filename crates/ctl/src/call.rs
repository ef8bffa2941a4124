//! One call of a command: what the command line said.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use crate::command::{Column, Command, Switch, SwitchValue, TIMEOUT};
use crate::failure::Failure;
use crate::output::Format;
use crate::tool::Tool;

/// Options that every command takes. Those that mean nothing here, such as `--longnames`, are taken all the same.
const GLOBAL: [Switch; 21] = [
    Switch::text("node").short('n'),
    Switch::text("vhost").short('p'),
    Switch::flag("quiet").short('q'),
    Switch::flag("silent").short('s'),
    Switch::text("formatter"),
    TIMEOUT.short('t'),
    Switch::flag("table-headers"),
    Switch::flag("help").short('?'),
    Switch::flag("dry-run"),
    Switch::flag("longnames").short('l'),
    Switch::text("printer"),
    Switch::text("file"),
    Switch::text("script-name"),
    Switch::text("rabbitmq-home"),
    Switch::text("data-dir"),
    Switch::text("mnesia-dir"),
    Switch::text("plugins-dir"),
    Switch::text("enabled-plugins-file"),
    Switch::text("aliases-file"),
    Switch::text("erlang-cookie"),
    Switch::flag("print-stacktrace"),
];

/// Ours: where the node's HTTP API is, and who asks.
const CONNECTION: [Switch; 4] = [
    Switch::text("host"),
    Switch::number("port"),
    Switch::text("user"),
    Switch::text("password"),
];

/// A command with its arguments and options.
pub(crate) struct Call<'a> {
    pub(crate) tool: Tool,
    pub(crate) command: &'a Command,
    pub(crate) arguments: Vec<String>,
    pub(crate) format: Format,
    /// The node's name as it is spoken of: `rabbit@host`.
    pub(crate) node: String,
    options: BTreeMap<String, String>,
}

impl<'a> Call<'a> {
    /// Reads what stands behind the tool's name, without the command's. `default_node` is the node meant without `--node`.
    pub(crate) fn parse(
        tool: Tool,
        command: &'a Command,
        arguments: &[String],
        default_node: &str,
    ) -> Result<Self, Failure> {
        let matches = parser(command)
            .try_get_matches_from(arguments)
            .map_err(|error| invalid_option(&error))?;
        let options: BTreeMap<String, String> = switches(command)
            .filter_map(|switch| {
                let value = match matches.get_one::<String>(switch.name) {
                    Some(value) => value.clone(),
                    None if is_negated(&matches, switch) => "false".to_owned(),
                    None => return None,
                };
                Some((switch.name.to_owned(), value))
            })
            .collect();
        let format = match options.get("formatter") {
            None => command.format,
            Some(name) => Format::named(name)
                .ok_or_else(|| Failure::usage(format!("formatter '{name}' is not known")))?,
        };
        let node = options.get("node").map_or(default_node, String::as_str);
        let positional = matches.get_many::<String>("arguments").unwrap_or_default();
        Ok(Self {
            tool,
            command,
            arguments: positional.cloned().collect(),
            format,
            node: node.to_owned(),
            options,
        })
    }

    /// The argument at this place. Only for those that the command's arity asks for.
    pub(crate) fn argument(&self, place: usize) -> &str {
        &self.arguments[place]
    }

    pub(crate) fn vhost(&self) -> &str {
        self.value("vhost").unwrap_or("/")
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// An option that says where the node is, unless the command has another meaning for its name.
    pub(crate) fn connection(&self, name: &str) -> Option<&str> {
        let is_own = self
            .command
            .switches
            .iter()
            .any(|switch| switch.name == name);
        self.value(name).filter(|_| !is_own)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    /// A number; the parser let nothing else through.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.value(name)?.parse().ok()
    }

    /// Whether to say what is not the result.
    pub(crate) fn is_quiet(&self) -> bool {
        self.flag("quiet") || self.flag("silent")
    }

    /// `--timeout`, or this many seconds.
    pub(crate) fn timeout_or(&self, seconds: u64) -> Duration {
        self.timeout()
            .unwrap_or_else(|| Duration::from_secs(seconds))
    }

    /// `--timeout`, which is in seconds.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let seconds = u64::try_from(self.number("timeout")?).ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// The columns asked for, or these.
    ///
    /// # Errors
    /// A name that is not one of the command's columns.
    pub(crate) fn columns(&self, default: &[&str]) -> Result<Vec<&'a Column>, Failure> {
        let find = |name: &str| {
            self.command
                .columns
                .iter()
                .find(|column| column.name == name)
        };
        let arguments = self
            .arguments
            .iter()
            .flat_map(|argument| argument.split(','));
        let asked_for: Vec<&str> = arguments.map(str::trim).collect();
        let unknown: Vec<&str> = asked_for
            .iter()
            .copied()
            .filter(|name| find(name).is_none())
            .collect();
        if !unknown.is_empty() {
            let names = unknown.join(",");
            return Err(Failure::usage(format!(
                "Info key(s) {names} are not supported"
            )));
        }
        let names = if asked_for.is_empty() {
            default
        } else {
            &asked_for
        };
        Ok(names.iter().filter_map(|name| find(name)).collect())
    }
}

/// The first argument that is neither an option nor an option's value, and the others: the command's name may stand
/// anywhere among the options that all commands have.
pub(crate) fn split_command(arguments: &[String]) -> (Option<&str>, Vec<String>) {
    let mut place = 0;
    while let Some(argument) = arguments.get(place) {
        if !argument.starts_with('-') || argument == "-" {
            let mut others = arguments.to_vec();
            others.remove(place);
            return (Some(argument), others);
        }
        place += if takes_next(argument) { 2 } else { 1 };
    }
    (None, arguments.to_vec())
}

/// Whether the value of this option is the next argument.
fn takes_next(argument: &str) -> bool {
    let valued = |switch: &&Switch| switch.value != SwitchValue::Flag;
    let mut all = GLOBAL.iter().chain(&CONNECTION).filter(valued);
    match argument.strip_prefix("--") {
        Some(name) => all.any(|switch| switch.name == name),
        None => all.any(|switch| {
            let mut letters = argument.chars().skip(1);
            letters.next() == switch.short && letters.next().is_none()
        }),
    }
}

fn switches(command: &Command) -> impl Iterator<Item = &Switch> {
    let own = command.switches.iter();
    let shared = GLOBAL.iter().chain(&CONNECTION);
    own.chain(shared.filter(|shared| command.switches.iter().all(|own| own.name != shared.name)))
}

/// The parser for what stands behind a command's name. Also what completions are made of.
pub(crate) fn parser(command: &Command) -> clap::Command {
    let mut parser = clap::Command::new(command.name)
        .about(command.about)
        .no_binary_name(true)
        .disable_help_flag(true)
        .allow_negative_numbers(true)
        .arg(Arg::new("arguments").num_args(0..));
    for switch in switches(command) {
        parser = parser.args(arguments_of(command, switch));
    }
    parser
}

/// The options for a switch: a flag has a `--no-` beside it, as in RabbitMQ.
fn arguments_of(command: &Command, switch: &Switch) -> Vec<Arg> {
    let mut arg = Arg::new(switch.name)
        .long(switch.name)
        .action(ArgAction::Set)
        .overrides_with(switch.name);
    let taken = |short| {
        let own = command.switches.iter();
        own.clone().any(|other| other.short == Some(short))
            && own.clone().all(|other| other.name != switch.name)
    };
    // A command's own letter goes before one that all commands have.
    if let Some(short) = switch.short.filter(|&short| !taken(short)) {
        arg = arg.short(short);
    } else if switch.name == "timeout" && !taken('t') {
        arg = arg.short('t');
    }
    match switch.value {
        SwitchValue::Text => vec![arg.allow_hyphen_values(true)],
        SwitchValue::Number => vec![
            arg.allow_hyphen_values(true)
                .value_parser(|text: &str| text.parse::<i64>().map(|_| text.to_owned())),
        ],
        SwitchValue::Flag => {
            let arg = arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(|text: &str| match text {
                    "true" | "false" => Ok(text.to_owned()),
                    _ => Err("neither true nor false"),
                });
            let no = Arg::new(negation(switch))
                .long(negation(switch))
                .action(ArgAction::SetTrue)
                .hide(true);
            vec![arg, no]
        }
    }
}

fn is_negated(matches: &ArgMatches, switch: &Switch) -> bool {
    switch.value == SwitchValue::Flag && matches.get_flag(&negation(switch))
}

fn negation(switch: &Switch) -> String {
    format!("no-{}", switch.name)
}

/// clap's complaint, as RabbitMQ words it: the option and its value.
fn invalid_option(error: &clap::Error) -> Failure {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let shown = text(ContextKind::InvalidArg);
    // clap shows an option with its placeholder: `--timeout <timeout>`.
    let option = shown.split([' ', '=', '[']).next().unwrap_or_default();
    let value = match error.kind() {
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => text(ContextKind::InvalidValue),
        _ => String::new(),
    };
    Failure::usage(format!(
        "Invalid options for this command:\n{option} : {value}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// Name, arguments and options.
    type Parsed = (String, Vec<String>, BTreeMap<String, String>);

    fn parse(line: &str) -> Result<Parsed, Failure> {
        let words = words(line);
        let (name, rest) = split_command(&words);
        let command = commands::find(Tool::Ctl, name.unwrap()).unwrap();
        let call = Call::parse(Tool::Ctl, command, &rest, "rabbit@here")?;
        Ok((name.unwrap().to_owned(), call.arguments, call.options))
    }

    fn check(line: &str, name: &str, arguments: &str, options: &[(&str, &str)]) {
        let options = options
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let expected = Ok((name.to_owned(), words(arguments), options.collect()));
        assert_eq!(parse(line), expected, "{line}");
    }

    #[test]
    fn options_stand_anywhere() {
        check("list_queues", "list_queues", "", &[]);
        check(
            "-p v list_queues name",
            "list_queues",
            "name",
            &[("vhost", "v")],
        );
        check(
            "list_queues name -p v",
            "list_queues",
            "name",
            &[("vhost", "v")],
        );
        check(
            "-q --vhost=v -t 5 list_queues --formatter json name messages",
            "list_queues",
            "name messages",
            &[
                ("formatter", "json"),
                ("quiet", "true"),
                ("timeout", "5"),
                ("vhost", "v"),
            ],
        );
        check(
            "-n rabbit@x set_policy p ^q {} --apply-to queues --priority -1",
            "set_policy",
            "p ^q {}",
            &[
                ("apply-to", "queues"),
                ("node", "rabbit@x"),
                ("priority", "-1"),
            ],
        );
        check(
            "delete_queue q -e -u",
            "delete_queue",
            "q",
            &[("if-empty", "true"), ("if-unused", "true")],
        );
        check("export_definitions -", "export_definitions", "-", &[]);
        check("-p a -p b list_users", "list_users", "", &[("vhost", "b")]);
        check("add_user u -- -secret", "add_user", "u -secret", &[]);
    }

    #[test]
    fn flags_can_be_taken_back() {
        check("shutdown --no-wait", "shutdown", "", &[("wait", "false")]);
        check(
            "shutdown --wait=false",
            "shutdown",
            "",
            &[("wait", "false")],
        );
        check(
            "list_users --no-table-headers",
            "list_users",
            "",
            &[("table-headers", "false")],
        );
    }

    #[test]
    fn unknown_options_are_named() {
        let complaint = |option: &str| {
            Err(Failure::usage(format!(
                "Invalid options for this command:\n{option}"
            )))
        };
        assert_eq!(parse("list_queues --bad"), complaint("--bad : "));
        assert_eq!(
            parse("list_queues --timeout abc"),
            complaint("--timeout : abc")
        );
        assert_eq!(parse("list_users --online"), complaint("--online : "));
        assert_eq!(parse("list_users --vhost"), complaint("--vhost : "));
    }

    #[test]
    fn columns_are_checked() {
        let columns = |line: &str| {
            let words = words(line);
            let (name, rest) = split_command(&words);
            let command = commands::find(Tool::Ctl, name.unwrap()).unwrap();
            let call = Call::parse(Tool::Ctl, command, &rest, "rabbit@here").unwrap();
            let columns = call.columns(&["name", "messages"])?;
            Ok::<_, Failure>(columns.iter().map(|column| column.name).collect::<Vec<_>>())
        };
        assert_eq!(columns("list_queues").unwrap(), ["name", "messages"]);
        assert_eq!(
            columns("list_queues name,state type").unwrap(),
            ["name", "state", "type"]
        );
        assert_eq!(
            columns("list_queues name no such"),
            Err(Failure::usage("Info key(s) no,such are not supported"))
        );
    }
}
