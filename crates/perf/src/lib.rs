//! `leveret perf`: load for any broker that speaks AMQP 0-9-1, and what the broker made of it.
//!
//! It must never be what is measured. So messages are laid out once and only stamped anew, many of them leave in one
//! write, deliveries are read where they lie, and nothing is allocated for a message.
//!
//! To read it: `options` for what can be asked for; `load` is a run of publishers and consumers, whose threads are
//! in `worker` with `publisher` and `consumer`; `counting` is where they count. The other
//! commands are `many`, many connections or queues, and `churn`. `report` is what is told at the end, `chart` its picture. Below
//! them `client` talks to a broker, with `inbox`, `socket` and `uri`, and `messages` has the octets to publish.
#![forbid(unsafe_code)]

mod chart;
mod churn;
mod client;
mod clock;
mod consumer;
mod counting;
mod error;
mod inbox;
mod load;
mod many;
mod messages;
mod options;
mod process;
mod publisher;
mod report;
mod socket;
mod topology;
mod uri;
mod worker;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Parser;

use options::{Command, Options, Output};
use report::Report;

/// Runs the command line behind `leveret perf`. An error is a line for the user.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    let name = OsString::from("leveret perf");
    let options = match Options::try_parse_from(std::iter::once(name).chain(arguments)) {
        Ok(options) => options,
        // Help is an error to clap, which knows where it belongs.
        Err(help) if !help.use_stderr() => {
            return help.print().map_err(|error| error.to_string());
        }
        Err(error) => return Err(error.to_string()),
    };
    carry_out(&options).map_err(|error| error.to_string())
}

fn carry_out(options: &Options) -> Result<(), error::Error> {
    match &options.command {
        Command::Throughput(load) => finish(&load.output, &load::run("throughput", load)?),
        Command::Latency(load) => finish(&load.output, &load::run("latency", &load.paced())?),
        Command::Connections(many) => finish(&many.output, &many::connections(many)?),
        Command::Queues(many) => finish(&many.output, &many::queues(many)?),
        Command::Churn(churn) => finish(&churn.output, &churn::churn(churn)?),
    }
}

/// Tells the result in all the ways that were asked for.
fn finish(output: &Output, report: &Report) -> Result<(), error::Error> {
    let mut printed = false;
    let mut write = |path: &str, text: String| {
        if path == "-" {
            printed = true;
            io::stdout().write_all(text.as_bytes())
        } else {
            std::fs::write(path, text)
        }
    };
    if let Some(path) = &output.json {
        write(path, report.json())?;
    }
    if let Some(path) = &output.markdown {
        write(path, report.markdown())?;
    }
    if let Some(path) = &output.svg {
        write(path, chart::draw(report))?;
    }
    if !printed {
        io::stdout().write_all(report.text().as_bytes())?;
    }
    Ok(())
}
