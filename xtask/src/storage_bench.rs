//! `cargo xtask storage-bench`: what the log and a node do with this machine's disk, as tables.
//!
//! The programs that measure print lines `what: figure`, or rows of a table of their own; this runs them one after the other
//! and puts their lines into tables. Each says in its own file what exactly it does.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::run::{cargo, run};

pub(crate) const USAGE: &str = "\
cargo xtask storage-bench [--messages 2000000] [--queues 100000] [--only confirms,pages,open,restart,backlog,reclaim]
  --messages  of 1 KiB, in the backlog; it needs twice their size on the disk of the folder for temporary files";

struct Options {
    messages: u64,
    queues: u64,
    only: Vec<String>,
}

/// A program and its arguments, as a line for cargo.
struct Bench {
    name: &'static str,
    line: String,
}

/// Measures, and prints the tables to the standard output.
pub(crate) fn storage_bench(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let options = parse(arguments)?;
    run(&mut cargo(
        root,
        "build --release --locked -p leveret --bins --examples",
    ))?;
    let wanted = |bench: &Bench| {
        options.only.is_empty() || options.only.iter().any(|only| only == bench.name)
    };
    for bench in benches(&options).iter().filter(|bench| wanted(bench)) {
        eprintln!("── cargo {}", bench.line);
        let printed = output(&mut cargo(root, &bench.line))?;
        print(&table(&format!("`cargo {}`", bench.line), &printed))?;
    }
    Ok(())
}

fn parse(arguments: &[&str]) -> Result<Options, String> {
    let mut options = Options {
        messages: 2_000_000,
        queues: 100_000,
        only: Vec::new(),
    };
    for pair in arguments.chunks(2) {
        let &[option, value] = pair else {
            return Err(USAGE.to_owned());
        };
        match (option, value.parse()) {
            ("--messages", Ok(messages)) => options.messages = messages,
            ("--queues", Ok(queues)) => options.queues = queues,
            ("--only", _) => options.only = value.split(',').map(str::to_owned).collect(),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

fn benches(options: &Options) -> Vec<Bench> {
    let log =
        |arguments: &str| format!("bench --quiet -p leveret-storage --bench log -- {arguments}");
    let node = |arguments: String| {
        let (example, arguments) = arguments.split_once(' ').unwrap_or((&arguments, ""));
        format!("run --quiet --release -p leveret --example {example} -- {arguments}")
    };
    let Options {
        messages, queues, ..
    } = options;
    let lines = [
        ("confirms", log("append")),
        ("pages", log("page")),
        ("open", log("open")),
        ("restart", node("restart_bench queues 10000".to_owned())),
        ("restart", node(format!("restart_bench queues {queues}"))),
        ("restart", node("restart_bench messages 1000000".to_owned())),
        ("backlog", node(format!("backlog_bench {messages} 1024"))),
        ("reclaim", node("reclaim_bench 200000".to_owned())),
    ];
    lines.map(|(name, line)| Bench { name, line }).into()
}

/// What it prints; its complaints go where ours go.
fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("can't start {command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("failed ({}): {command:?}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Rows stay what they are, other lines become rows of what and how much.
fn table(title: &str, printed: &str) -> String {
    let mut table = format!("\n{title}\n\n");
    if !printed.starts_with('|') {
        table.push_str("| | |\n|---|---|\n");
    }
    for line in printed.lines() {
        match line.split_once(": ") {
            _ if line.starts_with('|') => table.push_str(line),
            Some((what, figure)) => table.push_str(&format!("| {what} | {figure} |")),
            None => table.push_str(&format!("| {line} | |")),
        }
        table.push('\n');
    }
    table
}

fn print(text: &str) -> Result<(), String> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_rows() {
        let of_lines = table("t", "start: 3 ms\nfilled: RSS 1 MiB, peak 2: so\ndone\n");
        let rows = "| start | 3 ms |\n| filled | RSS 1 MiB, peak 2: so |\n| done | |\n";
        assert_eq!(of_lines, format!("\nt\n\n| | |\n|---|---|\n{rows}"));
        let rows = "| a | b |\n|---|---|\n| 1 | 2 |\n";
        assert_eq!(table("t", rows), format!("\nt\n\n{rows}"));
    }

    #[test]
    fn options_that_make_no_sense() {
        assert!(parse(&["--messages"]).is_err());
        assert!(parse(&["--messages", "many"]).is_err());
        assert_eq!(
            parse(&["--messages", "5"]).map(|options| options.messages),
            Ok(5)
        );
    }
}
