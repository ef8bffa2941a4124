//! The gate: what has to hold before a change goes in, in the order of what fails soonest.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::run::{cargo, run, succeeds};
use crate::tidy;

type Step = fn(&Path) -> Result<(), String>;

const STEPS: [(&str, Step); 6] = [
    ("format", |root| format(root, " --check")),
    ("tidy", tidy::tidy),
    ("clippy", |root| {
        run(&mut cargo(
            root,
            "clippy --workspace --all-targets --locked -- -D warnings",
        ))
    }),
    ("tests", |root| {
        run(&mut cargo(root, "test --workspace --locked --quiet"))
    }),
    ("docs", |root| {
        let mut doc = cargo(
            root,
            "doc --workspace --no-deps --document-private-items --locked --quiet",
        );
        run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("dependencies", dependencies),
];

/// Every step, even after one has failed, so that one run tells all there is to repair.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        eprintln!("── {name}");
        let start = Instant::now();
        match step(root) {
            Ok(()) => eprintln!("── {name}: ok ({:.1} s)", start.elapsed().as_secs_f32()),
            Err(why) => {
                eprintln!("{why}\n── {name}: FAILED");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        eprintln!("── the gate is green");
        Ok(())
    } else {
        Err(format!("── not green: {}", failed.join(", ")))
    }
}

/// What can be repaired without thinking.
pub(crate) fn fix(root: &Path) -> Result<(), String> {
    run(&mut cargo(
        root,
        "clippy --workspace --all-targets --fix --allow-dirty --allow-staged",
    ))?;
    format(root, "")
}

/// Our workspaces. Two are apart from the main one: other compiler flags, and dependencies that the broker does not have.
const WORKSPACES: [&str; 3] = ["Cargo.toml", "fuzz/Cargo.toml", "interop/rust/Cargo.toml"];

fn format(root: &Path, option: &str) -> Result<(), String> {
    let present = WORKSPACES
        .iter()
        .filter(|manifest| root.join(manifest).exists());
    for manifest in present {
        let line = format!("fmt --all --manifest-path {manifest}{option}");
        run(&mut cargo(root, &line))?;
    }
    Ok(())
}

/// A while of every fuzz target. They are a workspace of their own, built with other compiler flags.
pub(crate) fn fuzz(root: &Path, seconds: &str) -> Result<(), String> {
    run(Command::new(root.join("fuzz/run.sh")).arg(seconds))
}

/// Licences, sources and advisories of what we depend on (`deny.toml`).
///
/// The one step that needs more than a Rust toolchain. Without cargo-deny, CI installs it (about three minutes on two
/// cores) and everybody else is told how to. Advisories live in a repository on the network: out of its reach they are
/// left out, and the output says so; licences and sources need no network.
fn dependencies(root: &Path) -> Result<(), String> {
    if !succeeds(&mut cargo(root, "deny --version")) {
        if env::var_os("CI").is_none_or(|ci| ci != "true") {
            eprintln!(
                "cargo-deny is not installed: left out. To have it: cargo install --locked cargo-deny"
            );
            return Ok(());
        }
        run(&mut cargo(root, "install --locked cargo-deny"))?;
    }
    if succeeds(&mut cargo(root, "deny fetch db")) {
        run(&mut cargo(root, "deny check --hide-inclusion-graph"))
    } else {
        eprintln!("the advisory database can't be fetched: advisories are left out of this run");
        run(&mut cargo(
            root,
            "deny check --hide-inclusion-graph bans licenses sources",
        ))
    }
}
