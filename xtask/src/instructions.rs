//! `cargo xtask instructions`: what a message costs in instructions, load by load, held against what it may cost.
//!
//! Times of a shared machine are no test; instructions repeat. valgrind's callgrind counts those of the function `counted` in
//! `crates/amqp091/benches/turns.rs`. The budget beside it is what was counted when it was written; a compiler or a C
//! library of another version may need some more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{cargo, succeeds};

const BUDGET: &str = "crates/amqp091/benches/turns.budget";
/// Messages of each load (`MESSAGES` there).
const MESSAGES: u64 = 20_000;
/// A count may be so much over its budget, percent.
const TOLERANCE: u64 = 10;

/// Counts, and fails if something costs more than it may.
pub(crate) fn instructions(root: &Path) -> Result<(), String> {
    if !succeeds(Command::new("valgrind").arg("--version")) {
        return Err("counting instructions needs valgrind".to_owned());
    }
    let program = build(root)?;
    let path = root.join(BUDGET);
    let budget = fs::read_to_string(&path).map_err(|error| format!("{BUDGET}: {error}"))?;
    let mut over = Vec::new();
    for (load, most) in lines(&budget) {
        let counted = count(root, &program, load)?;
        eprintln!("{load:<14} {counted:>6} of {most} instructions a message");
        if is_over(counted, most) {
            over.push(load);
        }
    }
    match over[..] {
        [] => Ok(()),
        _ => Err(format!(
            "more than {TOLERANCE} % over {BUDGET}: {}",
            over.join(", ")
        )),
    }
}

/// Loads with what a message of each may cost.
fn lines(budget: &str) -> impl Iterator<Item = (&str, u64)> {
    let lines = budget.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(load, most)| Some((load, most.trim().parse().ok()?)))
}

fn is_over(counted: u64, most: u64) -> bool {
    counted * 100 > most * (100 + TOLERANCE)
}

fn build(root: &Path) -> Result<PathBuf, String> {
    let line = "bench --locked -p leveret-amqp091 --bench turns --no-run --message-format=json";
    let output = cargo(root, line)
        .output()
        .map_err(|error| error.to_string())?;
    let told = String::from_utf8_lossy(&output.stdout);
    let executable = told.rsplit("\"executable\":\"").next();
    let path = executable.and_then(|rest| rest.split('"').next());
    path.filter(|_| output.status.success())
        .map(PathBuf::from)
        .ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn count(root: &Path, program: &Path, load: &str) -> Result<u64, String> {
    let counts = root.join("target").join(format!("callgrind.{load}"));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg("--toggle-collect=turns::counted")
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(program)
        .arg(load)
        .output()
        .map_err(|error| error.to_string())?;
    let text = fs::read_to_string(&counts).unwrap_or_default();
    total(&text)
        .map(|total| total / MESSAGES)
        .filter(|_| output.status.success())
        .ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What callgrind has counted in all.
fn total(counts: &str) -> Option<u64> {
    let total = counts
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    total?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_and_counts_are_read() {
        let budget = "auto_16B 1500\nack_1   3000\n";
        assert!(lines(budget).eq([("auto_16B", 1500), ("ack_1", 3000)]));
        assert_eq!(
            total("events: Ir\n12 5\n\ntotals: 43103621\n"),
            Some(43_103_621)
        );
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn a_tenth_is_tolerated() {
        assert!(!is_over(1100, 1000));
        assert!(is_over(1101, 1000));
    }
}
