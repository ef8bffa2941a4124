//! Definitions in and out of a file.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::call::Call;
use crate::command::{Command, Section, Switch, TIMEOUT};
use crate::failure::{DATA, Failure};
use crate::node::Node;
use crate::output::Output;
use crate::prompt::{self, Progress};

const DEFINITIONS: &str = "/api/definitions";

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        Section::Definitions,
        "export_definitions",
        "Writes all definitions to a file, as JSON",
        1..=1,
        export,
    )
    .usage("<file_path | \"-\"> [--format <json | erlang>]")
    .switches(&[TIMEOUT, Switch::text("format")])
    .check(check_export)
    .banner(|call| match call.argument(0) {
        "-" => String::new(),
        file => format!("Exporting definitions in JSON to a file at \"{file}\" ..."),
    }),
    Command::new(
        Section::Definitions,
        "import_definitions",
        "Reads definitions from a file of JSON, or from standard input",
        0..=1,
        import,
    )
    .usage("<file_path> [--format <json | erlang>] [--skip-if-unchanged]")
    .switches(&[
        TIMEOUT,
        Switch::text("format"),
        Switch::flag("skip-if-unchanged"),
    ])
    .check(check_import)
    .banner(|call| match call.arguments.first().map(String::as_str) {
        None => "Importing definitions in JSON from standard input ...".to_owned(),
        Some("-") => String::new(),
        Some(file) => format!("Importing definitions in JSON from a file at \"{file}\" ..."),
    }),
];

fn check_format(call: &Call<'_>) -> Result<(), Failure> {
    match call.value("format").map(str::to_ascii_lowercase).as_deref() {
        None | Some("json") => Ok(()),
        Some("erlang") => Err(Failure::argument(
            "Format erlang is not supported here, json is",
        )),
        Some(_) => Err(Failure::argument("Format should be either json or erlang")),
    }
}

fn check_export(call: &Call<'_>) -> Result<(), Failure> {
    check_format(call)?;
    let folder = Path::new(call.argument(0))
        .parent()
        .unwrap_or_else(|| Path::new("/"));
    if folder.as_os_str().is_empty() || folder.exists() {
        return Ok(());
    }
    Err(Failure::argument(format!(
        "Directory {} does not exist",
        folder.display()
    )))
}

fn check_import(call: &Call<'_>) -> Result<(), Failure> {
    check_format(call)?;
    match call.arguments.first() {
        Some(file) if file != "-" && !Path::new(file).exists() => {
            Err(Failure::argument(format!("File {file} does not exist")))
        }
        _ => Ok(()),
    }
}

fn export(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let definitions = node.get_raw(DEFINITIONS)?;
    let file = call.argument(0);
    if file == "-" {
        return Ok(Output::Raw(definitions));
    }
    fs::write(file, definitions).map_err(|error| {
        let text = match error.kind() {
            io::ErrorKind::NotFound => {
                format!("Parent directory or file {file} does not exist")
            }
            io::ErrorKind::NotADirectory => {
                format!("Parent directory of file {file} is not a directory")
            }
            io::ErrorKind::StorageFull => format!("No space left on device hosting {file}"),
            io::ErrorKind::PermissionDenied => {
                format!("No permissions to write to file {file} or its parent directory")
            }
            io::ErrorKind::IsADirectory => format!("Path {file} is a directory"),
            _ => format!("Could not write to file {file}: {error}"),
        };
        Failure::error_with(DATA, text)
    })?;
    Ok(Output::Raw(Vec::new()))
}

fn import(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let bytes = match call.arguments.first().map(String::as_str) {
        None | Some("-") => prompt::read_all()
            .map_err(|error| Failure::error_with(DATA, format!("Could not read: {error}")))?,
        Some(file) => read(file)?,
    };
    // A file that is not JSON is found here, before anything is sent.
    if let Err(error) = serde_json::from_slice::<Value>(&bytes) {
        return Err(Failure::error_with(
            DATA,
            format!("Failed to deserialise input (format: JSON) (error: {error})"),
        ));
    }
    let skip = call.flag("skip-if-unchanged");
    let path = format!("{DEFINITIONS}?report=true&skip_if_unchanged={skip}");
    let progress = Progress::new("Importing", bytes.len());
    let report = node.upload(&path, &bytes, &mut |sent| progress.at(sent))?;
    if call.is_quiet() {
        return Ok(Output::Done);
    }
    Ok(Output::Report {
        text: told(&report),
        json: json!({ "result": "ok", "node": call.node, "report": report }),
    })
}

/// What an import did, a line for each category. RabbitMQ imports after its tool has ended, and so has nothing to tell;
/// its nodes do not answer this question either.
fn told(report: &Value) -> String {
    if report["skipped"] == true {
        return "Definitions are those that were imported last, nothing to do.".to_owned();
    }
    let Some(counts) = report["counts"].as_object() else {
        return "Definitions are imported.".to_owned();
    };
    let line = |(category, counts): (&String, &Value)| {
        let [created, changed, unchanged] =
            ["created", "changed", "unchanged"].map(|fate| counts[fate].as_u64().unwrap_or(0));
        format!("\n{category}: {created} created, {changed} changed, {unchanged} unchanged")
    };
    let lines: String = counts.iter().map(line).collect();
    format!("Successfully imported definitions.{lines}")
}

fn read(file: &str) -> Result<Vec<u8>, Failure> {
    let bytes = fs::read(file).map_err(|error| {
        let text = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                format!("No permissions to read from file {file} or its parent directory")
            }
            io::ErrorKind::IsADirectory => format!("Path {file} is a directory"),
            _ => format!("Could not read from file {file}: {error}"),
        };
        Failure::error_with(DATA, text)
    })?;
    if bytes.is_empty() {
        return Err(Failure::error_with(
            DATA,
            format!("File {file} is zero-sized"),
        ));
    }
    Ok(bytes)
}
