//! `cargo xtask compare`: Leveret beside the brokers that are on this machine, under the same load, on the same core.
//!
//! A broker has the first core, the load (`leveret perf`) the second. Brokers take turns, each started anew for each
//! round, so that a change in the machine's mood meets all of them. `broker.rs` finds, starts and stops them,
//! `scenarios.rs` has the loads, `steps.rs` takes a message's time apart, `table.rs` is what is printed, `page.rs` the page
//! around it. `bare.rs` measures what the machine allows without a broker, `footprint.rs` memory and starts; both are on the
//! page, and commands of their own. `steady.rs` is `cargo xtask steady`.

mod bare;
mod broker;
mod footprint;
mod page;
mod scenarios;
mod steady;
mod steps;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::run::{cargo, run, succeeds};
use broker::{Kind, Node};
use scenarios::{SCENARIOS, Scenario};
use table::Measured;

const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
/// Until a load runs evenly.
const WARM_UP: Duration = Duration::from_secs(2);
const SAMPLED_SECONDS: u32 = 4;

pub(crate) use bare::{PART, bare, part};
pub(crate) use footprint::footprint;
pub(crate) use steady::steady;

pub(crate) const USAGE: &str = "\
cargo xtask compare [--only a,d,j] [--brokers leveret,rabbitmq,lavinmq] [--runs 3] [--time 4] [--page docs/performance.md]
  --only     scenarios whose names begin so
  --page     a file to write it all to, with the machine, the command, what the machine allows (`cargo xtask bare`), memory
             and starts (`cargo xtask footprint`), and where the time goes; else the table is printed
  RABBITMQ_SERVER and LAVINMQ name the commands, where they are not in the PATH; their own variables are passed on";

struct Options {
    only: Vec<String>,
    brokers: Vec<Kind>,
    runs: usize,
    seconds: String,
    page: Option<String>,
}

/// Measures, and prints the table to the standard output.
pub(crate) fn compare(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let options = parse(arguments)?;
    if !succeeds(Command::new("taskset").args(["-c", LOAD_CORE, "true"])) {
        return Err("comparing needs taskset and two cores".to_owned());
    }
    let program = build(root)?;
    let chosen: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(|scenario| {
            let begins = |only: &String| scenario.name.starts_with(&**only);
            options.only.is_empty() || options.only.iter().any(begins)
        })
        .collect();
    let bare = match options.page {
        Some(_) => bare::section(root)?,
        None => String::new(),
    };
    let mut measured = Vec::new();
    for round in 1..=options.runs {
        for kind in &options.brokers {
            let Some(command) = kind.command(&program) else {
                continue;
            };
            eprintln!("── round {round}: {}", kind.name());
            let node = Node::start(*kind, &command, root, SERVER_CORE)?;
            for scenario in &chosen {
                if let Some(one) = measure(&program, &node, scenario, &options.seconds) {
                    eprintln!("{}", one.line());
                    measured.push(one);
                }
            }
            node.stop()?;
        }
    }
    let table = table::markdown(&chosen, &options.brokers, &measured);
    let Some(page) = &options.page else {
        return print(&table);
    };
    let footprint = footprint::section(&program, root, &options.brokers)?;
    let taken = take_apart(&program, root)?;
    let text = page::page(arguments, &[&table, &bare, &footprint], &taken);
    fs::write(root.join(page), text).map_err(|error| format!("{page}: {error}"))
}

fn build(root: &Path) -> Result<PathBuf, String> {
    run(&mut cargo(root, "build --release --locked"))?;
    Ok(root.join("target/release/leveret"))
}

/// The steps of a message in the first scenario: name, and nanoseconds of CPU.
fn take_apart(program: &Path, root: &Path) -> Result<Vec<(&'static str, f64)>, String> {
    let scenario = &SCENARIOS[0];
    let command = [program.display().to_string()];
    let node = Node::start(Kind::Leveret, &command, root, SERVER_CORE)?;
    let (sampled, measured) = thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            thread::sleep(WARM_UP);
            steps::sample(&root.join("target"), &node.pids(), SAMPLED_SECONDS)
        });
        let seconds = (SAMPLED_SECONDS + 2).to_string();
        let measured = measure(program, &node, scenario, &seconds);
        (sampling.join().ok().flatten(), measured)
    });
    node.stop()?;
    let (Some(shares), Some(measured)) = (sampled, measured) else {
        return Ok(Vec::new());
    };
    let of_message = |(name, share)| (name, share * measured.server_ns());
    Ok(shares.into_iter().map(of_message).collect())
}

fn parse(arguments: &[&str]) -> Result<Options, String> {
    let mut options = Options {
        only: Vec::new(),
        brokers: Kind::ALL.to_vec(),
        runs: 3,
        seconds: "4".to_owned(),
        page: None,
    };
    for pair in arguments.chunks(2) {
        let &[option, value] = pair else {
            return Err(USAGE.to_owned());
        };
        let number = || value.parse::<u32>().ok().filter(|number| *number > 0);
        match (option, number()) {
            ("--only", _) => options.only = value.split(',').map(str::to_owned).collect(),
            ("--brokers", _) => options.brokers = Kind::list(value).ok_or(USAGE)?,
            ("--runs", Some(runs)) => options.runs = runs as usize,
            ("--page", _) => options.page = Some(value.to_owned()),
            ("--time", Some(_)) => options.seconds = value.to_owned(),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

/// Runs one scenario. What fails is told and left out: a broker may not know something, and the others go on.
fn measure(program: &Path, node: &Node, scenario: &Scenario, seconds: &str) -> Option<Measured> {
    let mut command = perf(program, node, &scenario.arguments(seconds));
    command.args(["--json", "-"]);
    for pid in node.pids() {
        command.arg(format!("--server-pid={pid}"));
    }
    let output = command.output().ok()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        eprintln!(
            "{} {}: {}",
            node.kind.name(),
            scenario.name,
            said.trim_end()
        );
        return None;
    }
    let report = String::from_utf8_lossy(&output.stdout);
    Measured::read(&report, node.kind, scenario)
}

/// A line of `leveret perf`, from the load's core.
fn perf(program: &Path, node: &Node, line: &str) -> Command {
    let mut command = Command::new("taskset");
    command
        .args(["-c", LOAD_CORE])
        .arg(program)
        .arg("perf")
        .args(line.split(' '))
        .arg("--quiet")
        .arg(format!("--uri=amqp://127.0.0.1:{}", node.port))
        .stdin(Stdio::null());
    command
}

fn print(text: &str) -> Result<(), String> {
    use std::io::Write;
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| error.to_string())
}
