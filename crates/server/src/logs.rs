//! Where the log goes, and how much of it.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Effective;

/// The log of a running node, whose level can be changed.
pub(crate) struct Logs(Handle<LevelFilter, Registry>);

/// Starts logging, once in the life of a process.
pub(crate) fn start(config: &Effective) -> Logs {
    let (level, handle) = tracing_subscriber::reload::Layer::new(config.log_level);
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(io::stdout().is_terminal());
    tracing_subscriber::registry()
        .with(level)
        .with(lines)
        .init();
    Logs(handle)
}

impl Logs {
    pub(crate) fn set_level(&self, config: &Effective) {
        // The only way to fail is that the log has gone, and it lives as long as the process.
        let _ = self.0.reload(config.log_level);
    }
}
