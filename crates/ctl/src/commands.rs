//! Every command, as tables in the files below: name, usage, what it says first, and what it does.

use std::fs::File;
use std::io::Read;

use serde_json::Value;

use crate::command::{Column, Command};
use crate::failure::Failure;
use crate::node::Refused;
use crate::output::{Output, Rows};
use crate::tool::Tool;

mod checks;
mod cluster;
mod connections;
mod definitions;
mod encryption;
mod events;
mod facts;
mod features;
mod help;
mod lifecycle;
mod listing;
mod machine;
mod memory;
mod message_sizes;
mod parameters;
mod permissions;
mod plugins;
mod policies;
mod process;
mod queues;
mod quorum;
mod settings;
mod shovels;
mod status;
mod streams;
mod upgrade;
mod users;
mod vhosts;

const ALL: [&[Command]; 27] = [
    checks::COMMANDS,
    cluster::COMMANDS,
    connections::COMMANDS,
    definitions::COMMANDS,
    encryption::COMMANDS,
    events::COMMANDS,
    features::COMMANDS,
    help::COMMANDS,
    lifecycle::COMMANDS,
    listing::COMMANDS,
    machine::COMMANDS,
    memory::COMMANDS,
    message_sizes::COMMANDS,
    parameters::COMMANDS,
    permissions::COMMANDS,
    plugins::COMMANDS,
    policies::COMMANDS,
    process::COMMANDS,
    queues::COMMANDS,
    quorum::COMMANDS,
    streams::COMMANDS,
    settings::COMMANDS,
    shovels::COMMANDS,
    status::COMMANDS,
    upgrade::COMMANDS,
    users::COMMANDS,
    vhosts::COMMANDS,
];

/// The commands of a tool.
pub(crate) fn of(tool: Tool) -> impl Iterator<Item = &'static Command> {
    let all = ALL.iter().copied().flatten();
    all.filter(move |command| command.tools.contains(&tool))
}

pub(crate) fn find(tool: Tool, name: &str) -> Option<&'static Command> {
    of(tool).find(|command| command.name == name)
}

/// The objects as rows of these columns.
fn rows(objects: &[Value], columns: &[&Column]) -> Output {
    let row = |object: &Value| columns.iter().map(|column| column.term(object)).collect();
    Output::Rows(Rows {
        columns: columns
            .iter()
            .map(|column| column.name.to_owned())
            .collect(),
        rows: objects.iter().map(row).collect(),
    })
}

/// The objects as rows of all these columns.
fn all_columns(objects: &[Value], columns: &[Column]) -> Output {
    rows(objects, &columns.iter().collect::<Vec<_>>())
}

/// A document of JSON on the command line.
fn parse_json(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|_| {
        Failure::error(format!(
            "Could not parse JSON document: {{error,{{failed_to_decode_json,<<\"{text}\">>}}}}"
        ))
    })
}

/// Whether there is such an object.
fn exists(answer: Result<Value, Refused>) -> Result<Option<Value>, Failure> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Refused::NotFound(_)) => Ok(None),
        Err(refused) => Err(refused.into()),
    }
}

/// A deletion is done when the object is not there, whoever deleted it.
fn gone(answer: Result<(), Refused>) -> Result<Output, Failure> {
    match answer {
        Ok(()) | Err(Refused::NotFound(_)) => Ok(Output::Done),
        Err(refused) => Err(refused.into()),
    }
}

/// Octets that nobody can foresee, from the system.
fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut octets = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut octets))
        .map_err(|error| Failure::error(format!("no random bits: {error}")))?;
    Ok(octets)
}

#[cfg(test)]
mod tests;
