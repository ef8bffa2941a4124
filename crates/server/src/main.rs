//! The program `leveret`: command line, configuration, listeners, TLS, threads, clock and signals. The only part of the
//! broker that knows sockets and `async`; what is done with a client's bytes is decided in the crates below.
//!
//! To read it: [`node`] from start to stop, then [`listener`], [`io_thread`] and [`connection`], the way of a client.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use tracing::warn;

mod block;
mod cli;
mod clock;
mod config;
mod connection;
mod disk_floor;
mod io_thread;
mod listener;
mod node;
mod protocol;
mod proxy_protocol;
mod resources;
mod stream;
mod tls;

/// Most of what a broker allocates is small, and freed by another thread than allocated it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let started = Instant::now();
    let done = match cli::parse(std::env::args().skip(1)) {
        Ok(cli::Command::Run(arguments)) => run(arguments, started),
        Ok(cli::Command::Keys) => print(&config::describe_keys()),
        Ok(cli::Command::Version) => print(&format!("leveret {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(cli::Command::Help) => print(cli::HELP),
        Err(error) => Err(format!("{error}; see leveret --help")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.trim_end());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: cli::Run, started: Instant) -> Result<(), String> {
    let sources = config::Sources {
        file: arguments.config,
        data_dir: arguments.data_dir,
        set: arguments.set,
        environment: &|name| std::env::var(name).ok(),
    };
    let (config, warnings) = config::load(&sources).map_err(|error| error.to_string())?;
    tracing_subscriber::fmt()
        .with_max_level(config.log_level)
        .with_target(false)
        .with_ansi(io::stdout().is_terminal())
        .init();
    warnings.iter().for_each(|warning| warn!("{warning}"));
    node::run(&config, started)
}

fn print(text: &str) -> Result<(), String> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| error.to_string())
}
