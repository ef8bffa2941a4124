//! The program `leveret`: command line, configuration, listeners, TLS, threads, clock and signals. The only part of the
//! broker that knows sockets and `async`; what is done with a client's bytes is decided in the crates below.
//!
//! To read it: [`node`] from start to stop, then [`listener`], [`io_thread`] and [`connection`], the way of a client.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tracing::warn;

mod audit;
mod auth;
mod block;
mod certificates;
mod cli;
mod clock;
mod cluster;
mod config;
mod connection;
mod control;
mod definitions;
mod dev_certs;
mod disk_floor;
mod doors;
mod events;
mod host;
mod http;
mod http_client;
mod io_thread;
mod listener;
mod logs;
mod lull;
mod measured_disk;
mod node;
mod offline;
mod operations;
mod pager;
mod protocol;
mod proxy_protocol;
mod reload;
mod reset;
mod resources;
mod service;
mod service_manager;
mod shovels;
mod stream;
mod tls;

/// Most of what a broker allocates is small, and freed by another thread than allocated it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The time that somebody has to read the last lines of the log.
const LAST_LINES_LIMIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let started = Instant::now();
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    if let Some((tool, arguments)) = cli::tool(&program, &arguments) {
        return ExitCode::from(leveret_ctl::main(tool, arguments));
    }
    let done = match cli::parse(arguments) {
        Ok(cli::Command::Run(arguments)) => run(arguments, started),
        Ok(cli::Command::ConfigCheck(arguments)) => check_config(arguments),
        Ok(cli::Command::ConfigEffective(arguments)) => {
            load(&sources(arguments)).and_then(|loaded| print(&loaded.describe()))
        }
        Ok(cli::Command::Check(data_dir)) => offline::check(&data_dir),
        Ok(cli::Command::Dump(data_dir)) => offline::dump(&data_dir),
        Ok(cli::Command::Backup { data_dir, target }) => {
            control::ask_for_backup(&data_dir, &target)
        }
        Ok(cli::Command::DevCerts { directory, user }) => {
            dev_certs::make(&directory, &user).and_then(|text| print(&text))
        }
        Ok(cli::Command::Perf(arguments)) => leveret_perf::run(arguments),
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

fn sources(arguments: cli::Run) -> config::Sources<'static> {
    config::Sources {
        file: arguments.config,
        data_dir: arguments.data_dir,
        accept_loss: arguments.accept_loss,
        set: arguments.set,
        environment: &|name| std::env::var(name).ok(),
    }
}

fn load(sources: &config::Sources<'_>) -> Result<config::Loaded, String> {
    config::load(sources).map_err(|error| error.to_string())
}

fn run(arguments: cli::Run, started: Instant) -> Result<(), String> {
    let sources = sources(arguments);
    // A huge page is cleared whole when its first octet is used. Measured: a growing queue costs a quarter more with them,
    // and an idle node twice the memory. Where the kernel can't leave them out, it is that.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let loaded = load(&sources)?;
    let logs = logs::start(&loaded.config)?;
    loaded.warnings.iter().for_each(|text| warn!("{text}"));
    let console = logs.console();
    let done = node::run(loaded, &sources, logs, started);
    console.flush(LAST_LINES_LIMIT);
    done
}

/// Everything but the start itself: the files that the configuration names are read too.
fn check_config(arguments: cli::Run) -> Result<(), String> {
    let loaded = load(&sources(arguments))?;
    let config = &loaded.config;
    if !config.ssl.is_empty() {
        tls::acceptor(&config.ssl_options)?;
    }
    for https in [&config.management.ssl, &config.prometheus.ssl] {
        if https.is_configured() {
            tls::acceptor(&https.options)?;
        }
    }
    let warnings = loaded.warnings.iter().map(|text| format!("{text}\n"));
    print(&(warnings.collect::<String>() + "the configuration can be started with\n"))
}

fn print(text: &str) -> Result<(), String> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| error.to_string())
}
