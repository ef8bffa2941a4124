//! Where the log goes, how it looks, and how much of it there is: the keys `log.*`.
//!
//! Each output has a level of its own and each category one ([`Category`]); [`console`] writes to the standard output
//! without waiting for who reads it, [`mod@file`] writes and rotates a file,
//! [`exchange`] publishes to `amq.rabbitmq.log`, [`json`] formats events as RabbitMQ's JSON formatter does, and [`tail`]
//! keeps the last lines in memory.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Effective;

mod console;
mod exchange;
mod file;
mod json;
mod tail;

pub(crate) use console::Console;
pub(crate) use exchange::Lines;
use exchange::LinesOut;
use file::LogFile;
use leveret_management::{LogLines, LostLines};
use tail::Tail;

/// What an event is about. RabbitMQ's words; `audit`, of what administrators do, is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Category {
    Default,
    Connection,
    Channel,
    Queue,
    User,
    Audit,
}

impl Category {
    /// By the module that an event comes from, or the target that it names.
    fn of(target: &str) -> Self {
        let is_in = |modules: &[&str]| modules.iter().any(|module| target.starts_with(module));
        if is_in(&["leveret_amqp091::channel"]) {
            Self::Channel
        } else if is_in(&[
            "leveret_amqp091",
            "leveret::connection",
            "leveret::io_thread",
        ]) {
            Self::Connection
        } else if is_in(&["leveret_broker::queue", "leveret_broker::live_queue"]) {
            Self::Queue
        } else if is_in(&["user", "leveret::auth"]) {
            Self::User
        } else if is_in(&["audit"]) {
            Self::Audit
        } else {
            Self::Default
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Connection => "connection",
            Self::Channel => "channel",
            Self::Queue => "queue",
            Self::User => "user",
            Self::Audit => "audit",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Plaintext,
    Json,
}

/// One place that the log goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) on: bool,
    pub(crate) level: Option<LevelFilter>,
    pub(crate) format: Format,
}

/// `log.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) level: LevelFilter,
    pub(crate) categories: BTreeMap<Category, LevelFilter>,
    pub(crate) console: Output,
    /// `None`: if somebody may be looking.
    pub(crate) colors: Option<bool>,
    pub(crate) file: Output,
    /// `None`: it is named like the node.
    pub(crate) file_name: Option<PathBuf>,
    /// `None`: `log` in the data directory.
    pub(crate) directory: Option<PathBuf>,
    /// `amq.rabbitmq.log`.
    pub(crate) exchange: Output,
    /// 0: the file grows.
    pub(crate) rotation_bytes: u64,
    /// How many older files are kept.
    pub(crate) rotation_count: u32,
}

impl Default for Options {
    fn default() -> Self {
        let output = |on| Output {
            on,
            level: None,
            format: Format::default(),
        };
        Self {
            level: LevelFilter::INFO,
            categories: BTreeMap::new(),
            console: output(true),
            colors: None,
            file: output(false),
            file_name: None,
            directory: None,
            exchange: output(false),
            rotation_bytes: 0,
            rotation_count: 10,
        }
    }
}

impl Options {
    /// What an output takes of a category: no more than either allows, and where nothing is said of them, the level of all.
    fn level_of(&self, output: &Output, category: Category) -> LevelFilter {
        if !output.on {
            return LevelFilter::OFF;
        }
        let own = self.categories.get(&category).copied();
        own.into_iter()
            .chain(output.level)
            .min()
            .unwrap_or(self.level)
    }

    /// What is kept in memory is what the file is told, or else the console.
    fn tail(&self) -> &Output {
        match self.file.on {
            true => &self.file,
            false => &self.console,
        }
    }

    fn file_path(&self, data_dir: &Path, node_name: &str) -> PathBuf {
        let directory = self
            .directory
            .clone()
            .unwrap_or_else(|| data_dir.join("log"));
        let name = self.file_name.clone();
        directory.join(name.unwrap_or_else(|| format!("{node_name}.log").into()))
    }
}

/// The log of a running node.
pub(crate) struct Logs {
    options: Arc<RwLock<Options>>,
    console: Console,
    file: Option<Arc<LogFile>>,
    tail: Tail,
    published: LinesOut,
    lines: Mutex<Option<Lines>>,
}

/// Starts logging, once in the life of a process.
pub(crate) fn start(config: &Effective) -> Result<Logs, String> {
    let log = &config.log;
    let options = Arc::new(RwLock::new(log.clone()));
    let file = match log.file.on {
        true => {
            let path = log.file_path(&config.data_dir, &config.node_name);
            let file = LogFile::open(path, log.rotation_bytes, log.rotation_count)?;
            Some(Arc::new(file))
        }
        false => None,
    };
    let colors = log.colors.unwrap_or_else(|| io::stdout().is_terminal());
    let console = Console::start(io::stdout())
        .map_err(|error| format!("cannot start the thread that writes the log: {error}"))?;
    let to_console = layer(log.console.format, console.clone(), colors).with_filter(ForOutput {
        options: Arc::clone(&options),
        output: |options| &options.console,
    });
    let to_file = file.clone().map(|file| {
        let lines = layer(log.file.format, file, false);
        lines.with_filter(ForOutput {
            options: Arc::clone(&options),
            output: |options| &options.file,
        })
    });
    let tail = Tail::default();
    let in_memory = layer(Format::Plaintext, tail.clone(), false).with_filter(ForOutput {
        options: Arc::clone(&options),
        output: Options::tail,
    });
    let (lines_out, lines) = exchange::open(log.exchange.format);
    let published = log.exchange.on.then(|| {
        let lines = layer(log.exchange.format, lines_out.clone(), false);
        lines.with_filter(ForOutput {
            options: Arc::clone(&options),
            output: |options| &options.exchange,
        })
    });
    tracing_subscriber::registry()
        .with(to_console)
        .with(to_file)
        .with(in_memory)
        .with(published)
        .init();
    Ok(Logs {
        options,
        console,
        file,
        tail,
        published: lines_out,
        lines: Mutex::new(Some(lines)),
    })
}

fn layer<S, W>(format: Format, writer: W, colors: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        Format::Json => Box::new(json::Lines::new(writer)),
        Format::Plaintext => Box::new(
            tracing_subscriber::fmt::layer()
                .with_target(false)
                .with_ansi(colors)
                .with_writer(writer),
        ),
    }
}

impl Logs {
    /// The lines that are to be published, for the one who does.
    pub(crate) fn lines(&self) -> Option<Lines> {
        self.lines.lock().take()
    }

    /// The standard output, for what is printed whatever the level of the log is.
    pub(crate) fn console(&self) -> Console {
        self.console.clone()
    }

    /// Takes new levels, and writes to the file of the configured name even if somebody has moved it away.
    pub(crate) fn configure(&self, config: &Effective) {
        *self.options.write() = config.log.clone();
        tracing::callsite::rebuild_interest_cache();
        if let Some(file) = &self.file {
            file.reopen();
        }
    }

    /// As [`leveret_management::Operations::log`].
    pub(crate) fn last(&self, from: u64, count: usize) -> LogLines {
        self.tail.read(from, count)
    }

    /// As [`leveret_management::Operations::lost_log_lines`].
    pub(crate) fn lost(&self) -> LostLines {
        LostLines {
            console: self.console.lost(),
            exchange: self.published.lost(),
        }
    }

    /// Where the log goes, as RabbitMQ tells it.
    pub(crate) fn places(&self) -> Vec<String> {
        let console = self.options.read().console.on;
        let file = self.file.iter().map(|file| file.path());
        let console = console.then(|| "<stdout>".to_owned());
        console.into_iter().chain(file).collect()
    }
}

/// Lets through what an output takes.
struct ForOutput {
    options: Arc<RwLock<Options>>,
    output: fn(&Options) -> &Output,
}

impl<S> Filter<S> for ForOutput {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        let options = self.options.read();
        let category = Category::of(metadata.target());
        *metadata.level() <= options.level_of((self.output)(&options), category)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let options = self.options.read();
        let output = (self.output)(&options);
        let categories = options.categories.keys().copied();
        categories
            .chain([Category::Default])
            .map(|category| options.level_of(output, category))
            .chain(output.on.then_some(options.level))
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_takes_what_it_and_the_category_allow() {
        use LevelFilter as L;
        let check = |output, category, expected| {
            let mut options = Options::default();
            options.console.level = output;
            if let Some(level) = category {
                options.categories.insert(Category::Queue, level);
            }
            let found = options.level_of(&options.console, Category::Queue);
            assert_eq!(found, expected, "{output:?} {category:?}");
            assert_eq!(options.level_of(&options.file, Category::Queue), L::OFF);
        };
        check(None, None, L::INFO);
        check(Some(L::DEBUG), None, L::DEBUG);
        check(None, Some(L::DEBUG), L::DEBUG);
        check(Some(L::ERROR), Some(L::DEBUG), L::ERROR);
        check(Some(L::DEBUG), Some(L::ERROR), L::ERROR);
    }

    #[test]
    fn events_belong_to_categories_by_where_they_come_from() {
        let check = |target, expected| assert_eq!(Category::of(target), expected, "{target}");
        check(
            "leveret_amqp091::connection::handshake",
            Category::Connection,
        );
        check("leveret::io_thread", Category::Connection);
        check("leveret_amqp091::channel::methods", Category::Channel);
        check("leveret_broker::live_queue", Category::Queue);
        check("leveret_broker::broker", Category::Default);
        check("leveret::auth::http", Category::User);
        check("audit", Category::Audit);
    }
}
