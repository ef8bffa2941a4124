//! The events of a node as they happen.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use super::checks::diagnostic;
use super::lifecycle::not_offered;
use crate::call::Call;
use crate::command::{Command, Switch, TIMEOUT};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::Output;

pub(super) const COMMANDS: &[Command] = &[diagnostic(
    "consume_event_stream",
    "Prints the events of the node as they happen, a line of JSON for each",
    follow,
)
.usage("[--duration|-d <seconds>] [--pattern <pattern>]")
.switches(&[
    Switch::number("duration").short('d'),
    Switch::text("pattern"),
    TIMEOUT,
])
.check(|call| pattern(call).map(drop))];

/// Which events are wanted, by their names.
fn pattern(call: &Call<'_>) -> Result<Option<Regex>, Failure> {
    let pattern = call.value("pattern").map(Regex::new).transpose();
    pattern.map_err(|error| Failure::argument(format!("not a regular expression: {error}")))
}

/// Until the time is over, the node is gone, or nobody reads it any more.
fn follow(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let pattern = pattern(call)?;
    let seconds = call.number("duration");
    let duration = seconds.map(|it| Duration::from_secs(u64::try_from(it).unwrap_or_default()));
    let is_wanted = |line: &[u8]| {
        let Some(pattern) = &pattern else { return true };
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        pattern.is_match(event["event"].as_str().unwrap_or_default())
    };
    let mut print = |line: &[u8]| {
        let mut out = io::stdout().lock();
        let written = match is_wanted(line) {
            true => out.write_all(line).and_then(|()| out.flush()),
            false => Ok(()),
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    };
    node.follow("/api/leveret/events", duration, &mut print)
        .map_err(not_offered)?;
    Ok(Output::Done)
}
