//! `leveret perf` against a node: that it counts right and leaves nothing behind. How fast it is no test tells.

mod client;
mod process;

use std::path::Path;
use std::process::Command;

use client::Client;
use leveret_amqp091::method::QueueDeclare;
use process::{Directory, Node};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_leveret");

/// A node for the runs of one test.
struct Target {
    node: Node,
    _directory: Directory,
}

impl Target {
    fn start() -> Self {
        let directory = Directory::new("perf");
        Self {
            node: Node::start(Path::new(PROGRAM), &directory.0).expect("a node starts"),
            _directory: directory,
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .arg("perf")
            .args(line.split_whitespace())
            .args(["--quiet", "--json", "-"])
            .arg(format!("--uri=amqp://{}", self.node.address));
        command
    }

    /// Runs it; gives the report.
    fn run(&self, line: &str) -> Value {
        let output = self.command(line).output().expect("the program is there");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {complaint}");
        serde_json::from_slice(&output.stdout).expect("a report is JSON")
    }

    /// Runs it; checks counts of messages by their names in the report. Whatever the run, nothing gets lost.
    fn check(&self, line: &str, expected: &[(&str, u64)]) -> Value {
        let report = self.run(line);
        let messages = &report["messages"];
        for (name, count) in expected.iter().chain(&[("out_of_order", 0)]) {
            assert_eq!(messages[name], *count, "{line}: {name} of {messages:#}");
        }
        assert!(
            messages["missing"].is_null() || messages["missing"] == 0,
            "{line}: {messages:#}"
        );
        report
    }
}

#[test]
fn every_message_is_counted() {
    let target = Target::start();
    let check = |line, expected: &[_]| target.check(line, expected);
    check(
        "throughput -C 5000",
        &[("published", 5000), ("received", 5000)],
    );
    check(
        "throughput -C 2000 -x 3 -y 4 --queues 2 -A 10 -q 50 -c 100 -f persistent --threads 2",
        &[("published", 6000), ("confirmed", 6000), ("received", 6000)],
    );
    check(
        "throughput -C 300 -e perf-fanout -t fanout --queues 3 -y 3 -a --in-flight 100",
        &[("published", 300), ("received", 900)],
    );
    check(
        "throughput -C 1000 -e perf-topic -t topic --bindings 50 --queues 5 -y 5 -s 0,15,16,200",
        &[("published", 1000), ("received", 1000)],
    );
    check(
        "throughput -C 200 -R 2000 -r 5000 -q 10",
        &[("published", 200), ("received", 200)],
    );
    check(
        "throughput -C 20 -s 300000 --flush 1 --header a=1 --priority 0,5 --queue-argument x-max-priority=9",
        &[("published", 20), ("received", 20)],
    );
    check(
        "throughput -C 50 -f mandatory -e amq.fanout -t fanout -p -y 0 -c 10",
        &[("published", 50), ("returned", 50), ("confirmed", 50)],
    );
}

#[test]
fn a_run_has_a_time_and_a_rate() {
    let target = Target::start();
    let report = target.check(
        "latency -r 500 -z 1.2 --warmup 0.1 -x 2 -s 32",
        &[("redelivered", 0)],
    );
    let count = |value: &Value| value.as_u64().unwrap();
    let messages = &report["messages"];
    assert_eq!(messages["published"], messages["received"]);
    // A busy machine may take longer; it is never done early.
    assert!(count(&messages["published"]) >= 1000, "{messages:#}");
    assert!(count(&report["latency"]["count"]) > 0, "{report:#}");
    assert!(!report["series"].as_array().unwrap().is_empty());
}

#[test]
fn a_backlog_is_left_and_drained() {
    let target = Target::start();
    target.check(
        "throughput -C 3000 -y 0 --keep",
        &[("published", 3000), ("received", 0)],
    );
    let declare = QueueDeclare {
        queue: "leveret-perf",
        passive: true,
        ..Default::default()
    };
    let mut client = Client::connect(target.node.address).unwrap();
    assert_eq!(client.ask(declare).unwrap(), 3000);
    target.check("throughput -x 0 -D 3000", &[("received", 3000)]);
    let refusal = client.call(declare).unwrap().unwrap_err();
    assert_eq!(refusal.code, 404);
}

#[test]
fn connections_queues_and_churn() {
    let target = Target::start();
    let check = |line: &str, expected: &[u64]| {
        let report = target.run(line);
        let operations = report["operations"].as_array().unwrap();
        let counts: Vec<&Value> = operations.iter().map(|done| &done["count"]).collect();
        assert_eq!(counts, expected.iter().collect::<Vec<_>>(), "{line}");
    };
    check("connections -n 20 --channels 3 --concurrency 4", &[20, 20]);
    check("queues -n 150", &[150, 150]);
    check("churn connection -n 20", &[20]);
    check("churn channel -n 50", &[50]);
    check("churn queue -n 20 --concurrency 2", &[20]);
    check("churn exclusive-queue -n 20", &[20]);
}

#[test]
fn files_are_written() {
    let target = Target::start();
    let directory = Directory::new("perf-files");
    std::fs::create_dir(&directory.0).unwrap();
    let path = |name: &str| directory.0.join(name);
    let mut command = target.command("latency -z 1.5 --warmup 0 --name here");
    command
        .arg("--markdown")
        .arg(path("a.md"))
        .arg("--svg")
        .arg(path("a.svg"));
    assert!(command.output().unwrap().status.success());
    let read = |name| std::fs::read_to_string(path(name)).unwrap();
    assert!(read("a.md").contains("| run | here |"));
    assert!(read("a.svg").contains("<polyline"));
}

#[test]
fn what_goes_wrong_is_said() {
    let target = Target::start();
    let check = |line: &str, expected: &str| {
        let output = target.command(line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(expected),
            "{line}: {said}"
        );
    };
    check(
        "throughput -p -u nothing-there",
        "404 NOT_FOUND - no queue 'nothing-there'",
    );
    check(
        "throughput -A 5 -q 4",
        "--ack-every is more than --prefetch",
    );
    check(
        "throughput -e x -t nonsense",
        "unknown exchange type 'nonsense'",
    );
    check("throughput -r zero", "a rate is a number above 0");
}
