//! `cargo xtask footprint`: what brokers weigh, idle and with things that do nothing, and how long they take to start.
//!
//! Each group of figures has a node of its own, since no broker gives back all the memory that it once had.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::broker::{Kind, Node};
use super::steady::Beside;
use super::{SERVER_CORE, build, perf, print};
use crate::run::run;

const USAGE: &str = "cargo xtask footprint [--brokers leveret,rabbitmq,lavinmq]";

const ROWS: [&str; 8] = [
    "start, nothing there",
    "resident memory, idle",
    "for each idle connection, of 2000",
    "for each idle channel, of 2000 on 200 connections, which are taken off",
    "for each empty durable queue, of 10 000",
    "the same after a restart",
    "start with 10 000 durable queues",
    "start with 1 000 000 persistent messages of 1 KiB",
];

const HEAD: &str = "\n## Memory and starts\n\nOne run, on the broker's core. Memory is what is resident of all the broker's \
                    processes, and how much more it is with so many of a thing. A start, the median of three, is from the call of the program until the \
                    first octet of the answer to a protocol header, with the program's files in the page cache; a restart comes \
                    after an orderly stop. A dash stands where a broker failed, or had not kept what it held.\n\n";

const QUEUES: u32 = 10_000;
const CONNECTIONS: u32 = 2000;
/// Of which the median counts.
const STARTS: usize = 3;
/// Until a node has nothing left to do, and memory is what it stays.
const SETTLE: Duration = Duration::from_secs(2);
/// For opening so many connections.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
const NOTHING: &str = "–";

/// Measures, and prints the table to the standard output.
pub(crate) fn footprint(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let brokers = match *arguments {
        [] => Kind::ALL.to_vec(),
        ["--brokers", names] => Kind::list(names).ok_or(USAGE)?,
        _ => return Err(USAGE.to_owned()),
    };
    print(&section(&build(root)?, root, &brokers)?)
}

/// The part of the page with the table.
pub(super) fn section(program: &Path, root: &Path, brokers: &[Kind]) -> Result<String, String> {
    let mut columns = Vec::new();
    for kind in brokers {
        if let Some(command) = kind.command(program) {
            eprintln!("── memory and starts: {}", kind.name());
            let bench = Bench {
                kind: *kind,
                command,
                program,
                root,
            };
            columns.push((kind.name(), bench.column()));
        }
    }
    Ok(HEAD.to_owned() + &table(&columns))
}

fn table(columns: &[(&str, Vec<String>)]) -> String {
    let mut text = "|".to_owned();
    for (name, _) in columns {
        let _ = write!(text, " | {name}");
    }
    let _ = writeln!(text, " |\n|---{}|", "|---:".repeat(columns.len()));
    for (at, row) in ROWS.iter().enumerate() {
        let _ = write!(text, "| {row}");
        for (_, cells) in columns {
            let _ = write!(text, " | {}", cells[at]);
        }
        text += " |\n";
    }
    text
}

struct Bench<'a> {
    kind: Kind,
    command: Vec<String>,
    program: &'a Path,
    root: &'a Path,
}

impl Bench<'_> {
    /// A cell for each of `ROWS`.
    fn column(&self) -> Vec<String> {
        let idle = cells(self.idle());
        let queues = cells(self.queues());
        let messages = cells(self.messages().map(|cell| [cell]));
        [&idle[..], &queues, &messages].concat()
    }

    fn node(&self) -> Result<Node, String> {
        Node::start(self.kind, &self.command, self.root, SERVER_CORE)
    }

    /// Empty nodes, one with connections, and one with channels.
    fn idle(&self) -> Result<[String; 4], String> {
        let mut starts = Vec::new();
        for _ in 1..STARTS {
            let node = self.node()?;
            starts.push(node.started_in);
            node.stop()?;
        }
        let node = self.node()?;
        starts.push(node.started_in);
        let empty = settled_kib(&node);
        let connection = self.kib_of_connections(&node, CONNECTIONS, 0)? / f64::from(CONNECTIONS);
        node.stop()?;
        let node = self.node()?;
        let (connections, channels) = (200, 10);
        let all = self.kib_of_connections(&node, connections, channels)?;
        node.stop()?;
        let of_channels = all - connection * f64::from(connections);
        Ok([
            seconds(median(starts)),
            format!("{:.1} MiB", empty / 1024.0),
            kib(connection),
            kib(of_channels / f64::from(connections * channels)),
        ])
    }

    /// How much a node grows by connections that do nothing.
    fn kib_of_connections(&self, node: &Node, count: u32, channels: u32) -> Result<f64, String> {
        let before = settled_kib(node);
        let line = format!("connections -n {count} --channels {channels} --hold 600");
        let beside = Beside::start(&mut perf(self.program, node, &line))?;
        let files = format!("/proc/{}/fd", beside.pid());
        let asked = Instant::now();
        while fs::read_dir(&files).map_or(0, Iterator::count) < count as usize {
            if asked.elapsed() > PATIENCE {
                return Err(format!("no {count} connections within {PATIENCE:?}"));
            }
            thread::sleep(LOOK);
        }
        let with = settled_kib(node);
        beside.end()?;
        Ok(with - before)
    }

    fn queues(&self) -> Result<[String; 3], String> {
        let mut node = self.node()?;
        let before = settled_kib(&node);
        self.load(&node, &format!("queues -u q -n {QUEUES} --keep"))?;
        let of_each = |node: &Node| kib((settled_kib(node) - before) / f64::from(QUEUES));
        let declared = of_each(&node);
        let started_in = self.restarted(&mut node)?;
        let restarted = of_each(&node);
        // Fails when the queue isn't there.
        let kept = self.load(&node, &format!("throughput -p -u q-{QUEUES} -a -C 1"));
        node.stop()?;
        Ok(match kept {
            Ok(()) => [declared, restarted, seconds(started_in)],
            Err(_) => [declared, NOTHING.to_owned(), NOTHING.to_owned()],
        })
    }

    fn messages(&self) -> Result<String, String> {
        let mut node = self.node()?;
        let line = "throughput -u m -y 0 -f persistent -s 1024 -c 1000 --keep -C 1000000";
        self.load(&node, line)?;
        let started_in = self.restarted(&mut node)?;
        let kept = self.load(&node, "throughput -p -u m -x 0 -q 1 -D 1");
        node.stop()?;
        kept.map(|()| seconds(started_in))
    }

    /// How long it takes to start on what it has.
    fn restarted(&self, node: &mut Node) -> Result<Duration, String> {
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            thread::sleep(SETTLE);
            node.restart(&self.command, SERVER_CORE)?;
            starts.push(node.started_in);
        }
        Ok(median(starts))
    }

    fn load(&self, node: &Node, line: &str) -> Result<(), String> {
        run(perf(self.program, node, line).stdout(Stdio::null()))
    }
}

/// What failed is told and left out: the other figures are worth having.
fn cells<const N: usize>(measured: Result<[String; N], String>) -> [String; N] {
    measured.unwrap_or_else(|why| {
        eprintln!("{why}");
        [(); N].map(|()| NOTHING.to_owned())
    })
}

fn settled_kib(node: &Node) -> f64 {
    thread::sleep(SETTLE);
    node.resident_kib()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn kib(figure: f64) -> String {
    format!("{figure:.1} KiB")
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let times = [3, 1, 2].map(Duration::from_secs).to_vec();
        assert_eq!(median(times), Duration::from_secs(2));
    }

    #[test]
    fn brokers_stand_side_by_side() {
        let column = |first: &str| {
            let failed = cells::<7>(Err("why".to_owned()));
            [&[first.to_owned()][..], &failed].concat()
        };
        let text = table(&[("A", column("1.000 s")), ("B", column("2.000 s"))]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["| | A | B |", "|---|---:|---:|"]);
        assert_eq!(lines[2], "| start, nothing there | 1.000 s | 2.000 s |");
        assert_eq!(lines[9], format!("| {} | – | – |", ROWS[7]));
        assert_eq!(lines.len(), 2 + ROWS.len());
    }
}
