//! The project's own commands, behind `cargo xtask`. Needs nothing but cargo.
//!
//! Read `check.rs` for the gate, then `tidy.rs` for what it asks of our own sources. `compare.rs` and
//! `storage_bench.rs` measure.
#![forbid(unsafe_code)]

mod check;
mod compare;
mod instructions;
mod run;
mod storage_bench;
mod tidy;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the documents may name.
const COMMANDS: [&str; 10] = [
    "check",
    "fix",
    "tidy",
    "fuzz",
    "compare",
    "bare",
    "footprint",
    "steady",
    "storage-bench",
    "instructions",
];

const USAGE: &str = "\
cargo xtask check           the whole gate: format, tidy, clippy, tests, docs, dependencies; writes nothing
cargo xtask fix             formats, and applies what clippy can repair by itself
cargo xtask tidy            only the reading of our own sources
cargo xtask fuzz [SECONDS]  each fuzz target for so long (default 60)
cargo xtask compare         Leveret beside the brokers of this machine, under the same load
cargo xtask bare            what the machine allows a broker: bare loops over loopback and on disk
cargo xtask footprint       memory and starts of the brokers of this machine
cargo xtask steady          Leveret beside other queues, connections, backlogs, and over time
cargo xtask storage-bench   what the log and a node do with this machine's disk: confirms, pages, starts, backlogs, space
cargo xtask instructions    instructions of a message, held against crates/amqp091/benches/turns.budget (needs valgrind)";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["check"] => check::check(&root()),
        ["fix"] => check::fix(&root()),
        ["tidy"] => tidy::tidy(&root()),
        ["fuzz"] => check::fuzz(&root(), "60"),
        ["fuzz", seconds] => check::fuzz(&root(), seconds),
        ["compare", ref rest @ ..] => compare::compare(&root(), rest),
        ["bare"] => compare::bare(&root()),
        [compare::PART, ref rest @ ..] => compare::part(rest),
        ["footprint", ref rest @ ..] => compare::footprint(&root(), rest),
        ["steady", ref rest @ ..] => compare::steady(&root(), rest),
        ["instructions"] => instructions::instructions(&root()),
        ["storage-bench", ref rest @ ..] => storage_bench::storage_bench(&root(), rest),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder: this package lies directly in it.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("xtask/ lies in the workspace")
        .to_owned()
}
