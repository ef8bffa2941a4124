//! What a command has to say, and the formats it can be said in (`--formatter`).

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::term::Term;

mod pretty_table;

/// What came of a command that did its work.
#[derive(Debug, PartialEq)]
pub(crate) enum Output {
    /// Nothing to say.
    Done,
    /// A sentence or more. As JSON it is the `value` of an object.
    Text(String),
    /// A text for people, and what stands for it in JSON.
    Report {
        text: String,
        json: Value,
    },
    Rows(Rows),
    /// Bytes that are not touched, whatever the formatter.
    Raw(Vec<u8>),
}

/// A list: columns with a name, and rows with a value for each.
#[derive(Debug, PartialEq)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Term>>,
}

/// `--formatter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Table,
    PrettyTable,
    Csv,
    Json,
    JsonStream,
    Erlang,
    String,
}

impl Format {
    /// The format of this name; RabbitMQ's names for what is printed alike here are taken, too.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "table" => Self::Table,
            "pretty_table" => Self::PrettyTable,
            "csv" => Self::Csv,
            "json" => Self::Json,
            "json_stream" => Self::JsonStream,
            "erlang" => Self::Erlang,
            "string" | "string_per_line" | "inspect" | "plugins" | "report" => Self::String,
            _ => return None,
        })
    }

    /// Whether programs read it, which do not want to be told what is being done.
    pub(crate) fn is_for_machines(self) -> bool {
        matches!(self, Self::Csv | Self::Json | Self::JsonStream)
    }
}

/// How the output is to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style<'a> {
    pub(crate) format: Format,
    /// Whether a table has a first line of names.
    pub(crate) headers: bool,
    /// The node, which is a field of some JSON.
    pub(crate) node: &'a str,
}

/// Writes the output, a line at a time.
pub(crate) fn write(out: &mut dyn Write, output: &Output, style: Style<'_>) -> io::Result<()> {
    match (output, style.format) {
        (Output::Done, Format::Json) => {
            writeln!(out, "{}", json!({ "node": style.node, "result": "ok" }))
        }
        (Output::Done, _) => Ok(()),
        (Output::Text(text), Format::Json | Format::JsonStream) => {
            let value = json!({ "node": style.node, "result": "ok", "value": text });
            writeln!(out, "{value}")
        }
        (Output::Report { json, .. }, Format::Json | Format::JsonStream) => {
            writeln!(out, "{json}")
        }
        (Output::Text(text) | Output::Report { text, .. }, _) => writeln!(out, "{text}"),
        (Output::Raw(bytes), _) => out.write_all(bytes),
        (Output::Rows(rows), _) => write_rows(out, rows, style),
    }
}

fn write_rows(out: &mut dyn Write, rows: &Rows, style: Style<'_>) -> io::Result<()> {
    match style.format {
        Format::Table | Format::String => write_table(out, rows, style.headers),
        Format::PrettyTable => pretty_table::write(out, rows),
        Format::Csv => write_csv(out, rows),
        Format::Json => write_json(out, rows),
        Format::JsonStream => {
            (rows.rows.iter()).try_for_each(|row| writeln!(out, "{}\n", object(&rows.columns, row)))
        }
        Format::Erlang => write_erlang(out, rows),
    }
}

/// Tabs between the columns, as scripts expect. An empty list has no header either.
fn write_table(out: &mut dyn Write, rows: &Rows, headers: bool) -> io::Result<()> {
    if headers && !rows.rows.is_empty() {
        writeln!(out, "{}", rows.columns.join("\t"))?;
    }
    for row in &rows.rows {
        let values: Vec<String> = row.iter().map(Term::to_text).collect();
        writeln!(out, "{}", values.join("\t"))?;
    }
    Ok(())
}

/// Text in quotes and anything else as it is, as RabbitMQ writes it. Lists, of which RabbitMQ's tools die, are quoted.
fn write_csv(out: &mut dyn Write, rows: &Rows) -> io::Result<()> {
    if rows.rows.is_empty() {
        return Ok(());
    }
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let header: Vec<String> = rows.columns.iter().map(|name| quoted(name)).collect();
    writeln!(out, "{}", header.join(","))?;
    for row in &rows.rows {
        let values: Vec<String> = row.iter().map(|value| quoted(&value.to_text())).collect();
        writeln!(out, "{}", values.join(","))?;
    }
    Ok(())
}

/// One array, with a line for each object, so that a long list is printed as it is made.
fn write_json(out: &mut dyn Write, rows: &Rows) -> io::Result<()> {
    writeln!(out, "[")?;
    for (number, row) in rows.rows.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        writeln!(out, "{comma}{}", object(&rows.columns, row))?;
    }
    writeln!(out, "]")
}

/// An object with its fields in the order of the columns, which a map of JSON would not keep.
fn object(columns: &[String], row: &[Term]) -> String {
    let field = |(name, value): (&String, &Term)| {
        format!("{}:{}", Value::from(name.as_str()), value.to_json())
    };
    let fields: Vec<String> = columns.iter().zip(row).map(field).collect();
    format!("{{{}}}", fields.join(","))
}

fn write_erlang(out: &mut dyn Write, rows: &Rows) -> io::Result<()> {
    let row = |row: &Vec<Term>| {
        let fields = rows.columns.iter().zip(row);
        let fields = fields
            .map(|(name, value)| format!("{{{},{}}}", crate::term::atom(name), value.to_erlang()));
        format!("[{}]", fields.collect::<Vec<_>>().join(","))
    };
    let list: Vec<String> = rows.rows.iter().map(row).collect();
    writeln!(out, "[{}]", list.join(",\n "))
}

#[cfg(test)]
mod tests;
