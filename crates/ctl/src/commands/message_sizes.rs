//! How large published messages are, by RabbitMQ's ranges.

use serde_json::Value;

use super::checks::diagnostic;
use super::lifecycle::not_offered;
use crate::call::Call;
use crate::command::{Command, TIMEOUT};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{Output, Rows};
use crate::term::Term;

pub(super) const COMMANDS: &[Command] = &[diagnostic(
    "message_size_stats",
    "Counts published messages by their size",
    message_sizes,
)
.switches(&[TIMEOUT])
.pretty_table()
.banner(|call| {
    let node = &call.node;
    format!("Gathering message size statistics across the cluster using node {node} ...")
})];

fn message_sizes(_: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let answer = node
        .get("/api/leveret/message-sizes")
        .map_err(not_offered)?;
    let items = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    let count = |item: &Value| item["messages"].as_u64().unwrap_or_default();
    let total: u64 = items.iter().map(count).sum();
    let mut above = 0;
    let row = |item: &Value| {
        let bytes_max = item["bytes_max"].as_u64();
        let range = range(above, bytes_max);
        above = bytes_max.unwrap_or_default();
        let percentage = 100.0 * count(item) as f64 / total.max(1) as f64;
        vec![
            Term::text(range),
            Term::Number(count(item).into()),
            Term::text(format!("{percentage:.2}")),
        ]
    };
    Ok(Output::Rows(Rows {
        columns: ["Message Size", "Count", "Percentage"]
            .map(str::to_owned)
            .into(),
        rows: items.iter().map(row).collect(),
    }))
}

fn range(above: u64, bytes_max: Option<u64>) -> String {
    match (above, bytes_max) {
        (above, None) => format!("above {}", size(above)),
        (0, Some(bytes_max)) => format!("below {}", size(bytes_max)),
        (above, Some(bytes_max)) => format!("between {} and {}", size(above), size(bytes_max)),
    }
}

/// In powers of 1000, as RabbitMQ counts here.
fn size(bytes: u64) -> String {
    match bytes {
        1_000_000.. => format!("{}MB", bytes / 1_000_000),
        1000.. => format!("{}KB", bytes / 1000),
        _ => format!("{bytes}B"),
    }
}
