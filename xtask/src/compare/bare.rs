//! `cargo xtask bare`: what the machine allows. The socket's and the disk's part of some scenarios in bare loops, without any
//! broker: one thread on the broker's core, another on the load's.
//!
//! `bare/loops.rs` has the loops. They run in processes of this program, since a process is what `taskset` gives a core.

mod loops;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::{LOAD_CORE, SERVER_CORE, print};

/// The command by which this program runs one of the loops.
pub(crate) const PART: &str = "bare-part";

const HEAD: &str = "\n## What the machine allows\n\nBare loops of the same run, without a broker: one thread on the broker's \
                    core, one on the load's, TCP over loopback without delay, reads that block (large messages: that do not). What these take, no broker can \
                    save; a figure of the table is to be read beside the loop that does its part of the work. The clock says what \
                    the cores lose to the hypervisor and to other programs: no p99 is better than its longest gap allows.\n\n\
                    | bare loop | figures | beside |\n|---|---|---|\n";

/// A message of the scenarios with a rate, and of confirms.
const MESSAGE: usize = 1024;
/// Above 20 000 messages a second `leveret perf` sends all that is due every 50 µs.
pub(super) const STEP: Duration = Duration::from_micros(50);

/// Runs one of the loops in this process.
pub(crate) fn part(words: &[&str]) -> Result<(), String> {
    loops::run(words).map_err(|error| format!("{}: {error}", words.join(" ")))
}

/// Measures, and prints the table to the standard output.
pub(crate) fn bare(root: &Path) -> Result<(), String> {
    print(&section(root)?)
}

/// The part of the page with the table.
pub(super) fn section(root: &Path) -> Result<String, String> {
    eprintln!("── bare loops");
    let folder = root.join("target/compare");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let file = folder.join("bare");
    let rows = rows(&file.display().to_string());
    let _ = fs::remove_file(&file);
    Ok(rows?.iter().fold(HEAD.to_owned(), |text, row| text + row))
}

fn rows(file: &str) -> Result<[String; 9], String> {
    Ok([
        row(
            "reading the clock, both cores at once: time in gaps over 200 µs, the longest",
            &clock()?,
            "every p99",
        ),
        row(
            "`write` and `fdatasync` of 1 KiB, one after the other, into a file filled before",
            &Times::read(&alone(SERVER_CORE, &["sync", file])?)?.line(),
            "all of e",
        ),
        row(
            "1 KiB there, written and synced as above, 32 B back, one by one",
            &Times::read(&pair(&["sync-echo", file], "one-by-one", &[])?)?.line(),
            "e_confirm_w1, e_pubonly_w1",
        ),
        row(
            "1 KiB there, written and synced with all else that has come, 32 B back for all; 100 outstanding",
            &window(file, 100)?,
            "e_confirm_w100",
        ),
        row(
            "the same, 1000 outstanding",
            &window(file, 1000)?,
            "e_confirm_w1000, e_pubonly_w1000",
        ),
        row(
            "1 MiB there and, when all has come, back; 32 outstanding",
            &relayed(1 << 20, 32)?,
            "cl_1MiB",
        ),
        row(
            "1 KiB there and back, 1000 a second",
            &there_and_back(MESSAGE, Duration::from_millis(1))?.line(),
            "j_latency_1000",
        ),
        row(
            "1 KiB there and back, 10 000 a second",
            &there_and_back(MESSAGE, Duration::from_micros(100))?.line(),
            "j_latency_10000",
        ),
        row(
            "28 KiB there and back every 50 µs: 28 messages of 1 KiB",
            &there_and_back(28 * MESSAGE, STEP)?.line(),
            "half load in steady.md",
        ),
    ])
}

fn row(what: &str, figures: &str, beside: &str) -> String {
    eprintln!("{what}: {figures}");
    format!("| {what} | {figures} | {beside} |\n")
}

/// Percentiles in µs.
pub(super) struct Times {
    pub(super) p50: f64,
    p95: f64,
    pub(super) p99: f64,
}

impl Times {
    fn read(figures: &[f64]) -> Result<Self, String> {
        let &[p50, p95, p99] = figures else {
            return Err(format!("no percentiles: {figures:?}"));
        };
        let [p50, p95, p99] = [p50, p95, p99].map(|ns| ns / 1000.0);
        Ok(Self { p50, p95, p99 })
    }

    fn line(&self) -> String {
        let Self { p50, p95, p99 } = self;
        format!("p50 {p50:.0} µs, p95 {p95:.0} µs, p99 {p99:.0} µs")
    }
}

/// How many messages a second are confirmed, if so many are outstanding.
fn window(file: &str, outstanding: u32) -> Result<String, String> {
    let arguments = [outstanding.to_string()];
    let figures = pair(&["sync-all", file], "window", &arguments)?;
    let rate = figures.first().ok_or("a loop has no rate")?;
    Ok(format!("{:.0} k/s", rate / 1000.0))
}

/// How much of messages of so many octets comes back, if so many are outstanding.
fn relayed(octets: u32, outstanding: u32) -> Result<String, String> {
    let arguments = [octets, outstanding].map(|number| number.to_string());
    let figures = pair(&["relay", &arguments[0]], "outstanding", &arguments)?;
    let rate = figures.first().ok_or("a loop has no rate")?;
    Ok(format!("{:.2} GB/s", rate * f64::from(octets) / 1e9))
}

/// So many octets from the load's core to the broker's and back, each time from when it was due.
pub(super) fn there_and_back(octets: usize, every: Duration) -> Result<Times, String> {
    let pace = [octets.to_string(), every.as_nanos().to_string()];
    Times::read(&pair(&["echo"], "paced", &pace)?)
}

fn clock() -> Result<String, String> {
    let parts = [SERVER_CORE, LOAD_CORE].map(|core| Part::start(core, &["clock"]));
    let mut figures = Vec::new();
    for (name, part) in ["the broker's", "the load's"].iter().zip(parts) {
        let [lost, longest, all] = part?.figures()?[..] else {
            return Err("the clock says nothing".to_owned());
        };
        let (share, longest) = (100.0 * lost / all, longest / 1e6);
        figures.push(format!("{name} {share:.2} %, {longest:.1} ms"));
    }
    Ok(figures.join("; "))
}

/// What a loop on the load's core finds that talks to one on the broker's.
fn pair(server: &[&str], load: &str, arguments: &[String]) -> Result<Vec<f64>, String> {
    let mut server = Part::start(SERVER_CORE, server)?;
    let port = server.figures()?;
    let port = port.first().ok_or("a loop has no port")?.to_string();
    let arguments = arguments.iter().map(String::as_str);
    let words: Vec<&str> = [load, &port].into_iter().chain(arguments).collect();
    alone(LOAD_CORE, &words)
}

fn alone(core: &str, words: &[&str]) -> Result<Vec<f64>, String> {
    Part::start(core, words)?.figures()
}

/// A loop that runs in a process of its own, until this is dropped.
struct Part {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Part {
    fn start(core: &str, words: &[&str]) -> Result<Self, String> {
        let program = env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new("taskset");
        command.args(["-c", core]).arg(program).arg(PART);
        command.args(words).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| format!("can't start {command:?}: {error}"))?;
        let said = child.stdout.take().expect("it is piped");
        let said = BufReader::new(said);
        Ok(Self { child, said })
    }

    /// The numbers of the next line that it says.
    fn figures(&mut self) -> Result<Vec<f64>, String> {
        let mut line = String::new();
        match self.said.read_line(&mut line) {
            Ok(0) => return Err("a loop ended without a word".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        let numbers = line.split_whitespace().map(str::parse);
        numbers
            .collect::<Result<_, _>>()
            .map_err(|_| format!("a loop says {line:?}"))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_told_in_microseconds() {
        let times = Times::read(&[1_400.0, 2_600.0, 1_000_000.0]).map(|times| times.line());
        assert_eq!(times.unwrap(), "p50 1 µs, p95 3 µs, p99 1000 µs");
        assert!(Times::read(&[1.0]).is_err());
    }
}
