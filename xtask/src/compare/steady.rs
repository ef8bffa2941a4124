//! `cargo xtask steady`: whether Leveret stays as fast as it is, beside what a busy node has to bear.
//!
//! Each condition has a node of its own, which is measured alone first and then under the condition. Ratios of the two are what
//! counts; what makes them is in the table, as command lines of `leveret perf`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::bare;
use super::broker::{Kind, Node};
use super::page::machine;
use super::scenarios::{Latency, Rate, Scenario};
use super::table::{Measured, short};
use super::{LOAD_CORE, SERVER_CORE, measure, perf, print};
use crate::run::{cargo, run};

pub(crate) const USAGE: &str = "\
cargo xtask steady [--time 5] [--minutes 10] [--page docs/steady.md]
  --minutes  of the run that shows whether throughput falls with time
  --page     a file to write the table to; else it is printed";

/// What is measured alone and under each condition.
const LOAD: &str = "throughput -A 10 -q 200 -s 16 --in-flight 10000";
/// Until what runs beside the load is up.
const SETTLE: Duration = Duration::from_secs(5);

struct Condition {
    what: &'static str,
    /// Runs to its end before.
    first: Option<&'static str>,
    /// Goes on meanwhile, longer than any measurement: it is ended when that is done.
    beside: Option<&'static str>,
}

const CONDITIONS: [Condition; 4] = [
    Condition {
        what: "10 000 other queues",
        first: Some("queues -u other -n 10000 --keep"),
        beside: None,
    },
    Condition {
        what: "5 000 idle connections",
        first: None,
        beside: Some("connections -n 5000 --channels 1 --concurrency 8 --hold 600"),
    },
    Condition {
        what: "10 million messages in another queue",
        first: Some("throughput -u other -y 0 -s 16 --keep -C 10000000"),
        beside: None,
    },
    Condition {
        what: "a consumer beside that takes 100 of 1000 messages a second",
        first: None,
        beside: Some("throughput -u slow -r 1000 -R 100 -q 200 -s 16 --time 600"),
    },
];

struct Options {
    seconds: String,
    minutes: u32,
    page: Option<String>,
}

struct Bench<'a> {
    root: &'a Path,
    program: std::path::PathBuf,
    seconds: &'a str,
}

/// Measures, and prints the table to the standard output.
pub(crate) fn steady(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let options = parse(arguments)?;
    run(&mut cargo(root, "build --release --locked"))?;
    let bench = Bench {
        root,
        program: root.join("target/release/leveret"),
        seconds: &options.seconds,
    };
    let mut text = format!(
        "# How steady it is\n\nWritten by `cargo xtask steady`: the broker on one core, the load on another.\n\n{}\n\
         Each row is a node of its own, measured alone and then under the condition, with `leveret perf {LOAD}`.\n\n\
         | condition | made by | alone, /s | with it, /s | ratio | alone, CPU ns | with it, CPU ns |\n\
         |---|---|---:|---:|---:|---:|---:|\n",
        machine()
    );
    for condition in &CONDITIONS {
        text += &bench.condition(condition)?;
    }
    text += "\n| over time, and at half load | |\n|---|---:|\n";
    text += &bench.over_time(options.minutes)?;
    text += &bench.half_load()?;
    text += &bench.two_cores()?;
    match &options.page {
        None => print(&text),
        Some(page) => fs::write(root.join(page), text).map_err(|error| format!("{page}: {error}")),
    }
}

fn parse(arguments: &[&str]) -> Result<Options, String> {
    let mut options = Options {
        seconds: "5".to_owned(),
        minutes: 10,
        page: None,
    };
    for pair in arguments.chunks(2) {
        match (pair, pair.last().and_then(|value| value.parse().ok())) {
            (&["--time", seconds], Some(1..)) => options.seconds = seconds.to_owned(),
            (&["--minutes", _], Some(minutes @ 1..)) => options.minutes = minutes,
            (&["--page", page], _) => options.page = Some(page.to_owned()),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

/// A load of messages whose deliveries count.
const fn load(name: &'static str, line: &'static str) -> Scenario {
    super::scenarios::scenario(name, "", line, Rate::Received, Latency::Delivery)
}

impl Bench<'_> {
    fn node(&self, cores: &str) -> Result<Node, String> {
        let command = [self.program.display().to_string()];
        Node::start(Kind::Leveret, &command, self.root, cores)
    }

    fn measure(&self, node: &Node, scenario: &Scenario) -> Result<Measured, String> {
        let measured = measure(&self.program, node, scenario, self.seconds);
        let measured = measured.ok_or_else(|| format!("{} gave no figures", scenario.name))?;
        eprintln!("{}", measured.line());
        Ok(measured)
    }

    fn condition(&self, condition: &Condition) -> Result<String, String> {
        eprintln!("── {}", condition.what);
        let node = self.node(SERVER_CORE)?;
        let alone = self.measure(&node, &load("alone", LOAD))?;
        if let Some(line) = condition.first {
            run(perf(&self.program, &node, line).stdout(Stdio::null()))?;
        }
        let start = |line| Beside::start(&mut perf(&self.program, &node, line));
        let beside = condition.beside.map(start).transpose()?;
        if beside.is_some() {
            thread::sleep(SETTLE);
        }
        let under = self.measure(&node, &load("under it", LOAD))?;
        beside.map_or(Ok(()), Beside::end)?;
        node.stop()?;
        let line = condition.first.or(condition.beside).unwrap_or_default();
        Ok(format!(
            "| {} | `{line}` | {} | {} | {:.2} | {:.0} | {:.0} |\n",
            condition.what,
            short(alone.rate),
            short(under.rate),
            under.rate / alone.rate,
            alone.server_ns(),
            under.server_ns()
        ))
    }

    /// The slowest of the minutes against the fastest.
    fn over_time(&self, minutes: u32) -> Result<String, String> {
        eprintln!("── {minutes} minutes");
        let node = self.node(SERVER_CORE)?;
        let mut rates = Vec::new();
        for _ in 0..minutes {
            let minute = measure(&self.program, &node, &load("a minute", LOAD), "60");
            let minute = minute.ok_or("a minute gave no figures")?;
            eprintln!("{}", minute.line());
            rates.push(minute.rate);
        }
        node.stop()?;
        let (first, last) = (rates[0], rates[rates.len() - 1]);
        let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
        Ok(format!(
            "| {minutes} minutes: messages/s in the first, the last, and the slowest | {}, {}, {} |\n",
            short(first),
            short(last),
            short(least)
        ))
    }

    /// Latency at half of what it takes.
    fn half_load(&self) -> Result<String, String> {
        eprintln!("── half load");
        let node = self.node(SERVER_CORE)?;
        let most = self.measure(
            &node,
            &load("all it takes", "throughput -a -s 1024 --in-flight 10000"),
        )?;
        // A scenario lives as long as the program.
        let line = format!("latency -a -s 1024 -r {:.0}", most.rate / 2.0);
        let half = self.measure(&node, &load("half of it", line.leak()))?;
        node.stop()?;
        let (p50, p99) = half.latency.ok_or("no latencies")?;
        let octets = (1024.0 * most.rate / 2.0 * bare::STEP.as_secs_f64()) as usize;
        let floor = bare::there_and_back(octets, bare::STEP)?;
        Ok(format!(
            "| 1 KiB, auto-ack, at half of {} messages/s: p50, p99, ratio | {p50:.0} µs, {p99:.0} µs, {:.1} |\n\
             | as many octets there and back without a broker, {} KiB every 50 µs: the same | {:.0} µs, {:.0} µs, {:.1} |\n",
            short(most.rate),
            p99 / p50,
            octets / 1024,
            floor.p50,
            floor.p99,
            floor.p99 / floor.p50
        ))
    }

    /// What a message costs on one core and on two. The load shares the second of them, so that rates would say nothing.
    fn two_cores(&self) -> Result<String, String> {
        eprintln!("── two cores");
        let scenario = load(
            "8 connections",
            "throughput -x 4 -y 4 --queues 4 -A 10 -q 200 -s 16 -r 100000",
        );
        let mut costs = Vec::new();
        for cores in [SERVER_CORE.to_owned(), format!("{SERVER_CORE},{LOAD_CORE}")] {
            let node = self.node(&cores)?;
            costs.push(self.measure(&node, &scenario)?.server_ns());
            node.stop()?;
        }
        Ok(format!(
            "| 8 connections, 400 000 messages/s: ns of CPU for each on one core, on two | {:.0}, {:.0} |\n",
            costs[0], costs[1]
        ))
    }
}

/// What runs beside a measurement, until it is dropped.
pub(super) struct Beside(Child);

impl Beside {
    pub(super) fn start(command: &mut Command) -> Result<Self, String> {
        let child = command.stdout(Stdio::null()).spawn();
        child.map(Self).map_err(|error| error.to_string())
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// What has ended by itself was no condition.
    pub(super) fn end(mut self) -> Result<(), String> {
        match self.0.try_wait() {
            Ok(None) => Ok(()),
            ended => Err(format!("what should go on beside has ended: {ended:?}")),
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
