//! The command line. Where RabbitMQ's PerfTest has a letter for something, it is the same here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use leveret_amqp091::table::Value;

use crate::uri::Uri;

/// Puts load on any broker that speaks AMQP 0-9-1, and tells how it fares.
#[derive(Debug, Parser)]
#[command(name = "leveret perf", version, max_term_width = 100)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publishers and consumers, as fast as it goes or at a rate
    Throughput(Box<Load>),
    /// The same at 1000 messages a second unless --rate says otherwise, to see how long a message takes
    Latency(Box<Load>),
    /// Opens connections and channels and keeps them open for a while
    Connections(Connections),
    /// Declares queues, then deletes them
    Queues(Queues),
    /// Opens and closes connections, channels or queues over and over
    Churn(Churn),
}

/// Which broker.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// amqp://user:password@host:port/vhost; several, by commas, are used in turn
    #[arg(
        short = 'H',
        long = "uri",
        visible_alias = "uris",
        value_delimiter = ',',
        default_value = "amqp://localhost"
    )]
    pub(crate) uris: Vec<Uri>,
    /// Certificates of the authorities that amqps:// trusts, as PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Trust any certificate
    #[arg(long, conflicts_with = "cacert")]
    pub(crate) insecure: bool,
    /// Process of the broker on this machine, for its CPU time and memory; may be repeated
    #[arg(long = "server-pid", value_name = "PID")]
    pub(crate) server_pids: Vec<u32>,
}

impl Target {
    /// The URI of the n-th connection.
    pub(crate) fn uri(&self, n: usize) -> &Uri {
        &self.uris[n % self.uris.len()]
    }
}

/// How the result is told: as text, unless one of the others goes to the standard output.
#[derive(Debug, Clone, Args)]
pub(crate) struct Output {
    /// What to call this run in its results
    #[arg(long, default_value = "")]
    pub(crate) name: String,
    /// Writes the result as JSON; - is the standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<String>,
    /// Writes the result as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<String>,
    /// Draws rates and latencies over time
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<String>,
    /// No progress while it runs
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// A run of publishers and consumers.
#[derive(Debug, Clone, Args)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) target: Target,

    /// Publishers, each with a connection of its own
    #[arg(short = 'x', long, visible_alias = "producers", default_value_t = 1, value_parser = clap::value_parser!(u16))]
    pub(crate) publishers: u16,
    /// Consumers, each with a connection of its own
    #[arg(short = 'y', long, default_value_t = 1)]
    pub(crate) consumers: u16,

    /// Name of the queue; several are called NAME-1, NAME-2, …
    #[arg(short = 'u', long, default_value = "leveret-perf")]
    pub(crate) queue: String,
    /// How many queues
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) queues: u16,
    /// classic, quorum, …
    #[arg(long, value_name = "TYPE")]
    pub(crate) queue_type: Option<String>,
    /// Argument of the queues; may be repeated
    #[arg(long = "queue-argument", visible_alias = "queue-args", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = argument)]
    pub(crate) queue_arguments: Vec<(String, Value)>,
    /// Queues and exchange do not survive a restart
    #[arg(long)]
    pub(crate) transient: bool,
    /// Declares nothing: queues, exchange and bindings are there
    #[arg(short = 'p', long)]
    pub(crate) predeclared: bool,
    /// Leaves queues with their messages, and the exchange, when the run ends
    #[arg(long)]
    pub(crate) keep: bool,

    /// Publishes to this exchange instead of the default one
    #[arg(short = 'e', long, default_value = "", hide_default_value = true)]
    pub(crate) exchange: String,
    /// direct, fanout, topic, headers, x-consistent-hash, …
    #[arg(
        short = 't',
        long = "type",
        value_name = "TYPE",
        default_value = "direct"
    )]
    pub(crate) exchange_type: String,
    /// Routing keys, by commas, used in turn; every queue is bound with each [default: the queue's name]
    #[arg(
        short = 'k',
        long = "routing-key",
        value_name = "KEY",
        value_delimiter = ','
    )]
    pub(crate) routing_keys: Vec<String>,
    /// So many bindings of a topic exchange spread over the queues, a tenth with * and a tenth with #; each message
    /// matches one
    #[arg(long, conflicts_with = "routing_keys")]
    pub(crate) bindings: Option<u16>,
    /// Argument of the bindings; may be repeated
    #[arg(long = "binding-argument", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = argument)]
    pub(crate) binding_arguments: Vec<(String, Value)>,

    /// Octets of a body; several, by commas, are used in turn. Latency needs 16
    #[arg(
        short = 's',
        long = "size",
        value_name = "OCTETS",
        value_delimiter = ',',
        default_value = "16"
    )]
    pub(crate) sizes: Vec<usize>,
    /// persistent, mandatory
    #[arg(short = 'f', long = "flag", value_name = "FLAG", value_delimiter = ',')]
    pub(crate) flags: Vec<Flag>,
    /// Header of the messages; may be repeated
    #[arg(long = "header", visible_alias = "message-properties", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = argument)]
    pub(crate) headers: Vec<(String, Value)>,
    /// Milliseconds until a message expires
    #[arg(long, value_name = "MS")]
    pub(crate) ttl: Option<u64>,
    /// Priorities, by commas, used in turn
    #[arg(long = "priority", value_name = "PRIORITY", value_delimiter = ',')]
    pub(crate) priorities: Vec<u8>,

    /// Messages a second of each publisher [default: as many as go]
    #[arg(short = 'r', long, value_name = "PER SECOND", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Asks for confirms, with at most so many outstanding at each publisher
    #[arg(short = 'c', long, value_name = "WINDOW", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) confirm: Option<u32>,
    /// Holds publishers back when so many messages are on their way to consumers
    #[arg(long, value_name = "MESSAGES")]
    pub(crate) in_flight: Option<u64>,
    /// Messages in one write at most; 1 is how simple clients write [default: as many as 64 KiB hold]
    #[arg(long, value_name = "MESSAGES")]
    pub(crate) flush: Option<usize>,

    /// Prefetch of each consumer; 0 is no limit
    #[arg(short = 'q', long, visible_alias = "qos", default_value_t = 0)]
    pub(crate) prefetch: u16,
    /// The broker takes deliveries for acknowledged
    #[arg(short = 'a', long, visible_alias = "autoack")]
    pub(crate) auto_ack: bool,
    /// Acknowledges so many deliveries at once
    #[arg(short = 'A', long, visible_alias = "multi-ack-every", value_name = "DELIVERIES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ack_every: u32,
    /// Messages a second that each consumer takes [default: as many as go]
    #[arg(short = 'R', long, value_name = "PER SECOND", value_parser = rate)]
    pub(crate) consumer_rate: Option<f64>,

    /// Seconds to measure
    #[arg(
        short = 'z',
        long = "time",
        value_name = "SECONDS",
        default_value_t = 10.0
    )]
    pub(crate) seconds: f64,
    /// Seconds before that
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub(crate) warmup: f64,
    /// Ends when each publisher has published so many, and what they published has arrived
    #[arg(
        short = 'C',
        long,
        visible_alias = "pmessages",
        value_name = "MESSAGES"
    )]
    pub(crate) publish_count: Option<u64>,
    /// Ends when each consumer has received so many
    #[arg(
        short = 'D',
        long,
        visible_alias = "cmessages",
        value_name = "MESSAGES"
    )]
    pub(crate) consume_count: Option<u64>,
    /// Seconds that consumers have at the end to receive what is on its way
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    pub(crate) drain_timeout: f64,

    /// Threads; 1 is enough for any broker on one core
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,
    /// Never sleeps: exact times on a core that nobody else wants
    #[arg(long)]
    pub(crate) busy_poll: bool,

    #[command(flatten)]
    pub(crate) output: Output,
}

impl Load {
    /// With a rate, whatever was asked for.
    pub(crate) fn paced(&self) -> Self {
        Self {
            rate: self.rate.or(Some(1000.0)),
            ..self.clone()
        }
    }

    pub(crate) fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// Whether it ends by counts and not by time.
    pub(crate) fn counted(&self) -> bool {
        self.publish_count.is_some() || self.consume_count.is_some()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flag {
    Persistent,
    Mandatory,
}

/// Connections that stand and do nothing.
#[derive(Debug, Args)]
pub(crate) struct Connections {
    #[command(flatten)]
    pub(crate) target: Target,
    /// How many connections
    #[arg(short = 'n', long, default_value_t = 1000)]
    pub(crate) count: usize,
    /// Channels on each
    #[arg(long, default_value_t = 0)]
    pub(crate) channels: u16,
    /// How many are opened at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// Seconds to keep them
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    pub(crate) hold: f64,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Queues that are declared and deleted.
#[derive(Debug, Args)]
pub(crate) struct Queues {
    #[command(flatten)]
    pub(crate) target: Target,
    /// How many queues
    #[arg(short = 'n', long, default_value_t = 1000)]
    pub(crate) count: usize,
    /// Start of their names
    #[arg(short = 'u', long, default_value = "leveret-perf")]
    pub(crate) queue: String,
    /// classic, quorum, …
    #[arg(long, value_name = "TYPE")]
    pub(crate) queue_type: Option<String>,
    /// They do not survive a restart
    #[arg(long)]
    pub(crate) transient: bool,
    /// Declarations sent before the first is answered
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) pipeline: u16,
    /// Leaves them
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Things that come and go.
#[derive(Debug, Args)]
pub(crate) struct Churn {
    #[command(flatten)]
    pub(crate) target: Target,
    /// What is opened and closed
    #[arg(value_enum, default_value = "connection")]
    pub(crate) what: What,
    /// How many at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// Seconds to measure
    #[arg(
        short = 'z',
        long = "time",
        value_name = "SECONDS",
        default_value_t = 5.0
    )]
    pub(crate) seconds: f64,
    /// Ends after so many
    #[arg(short = 'n', long)]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// A connection with a channel
    Connection,
    /// A channel on a connection that stays
    Channel,
    /// A durable queue
    Queue,
    /// A queue of the connection
    ExclusiveQueue,
}

impl What {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Channel => "channel",
            Self::Queue => "queue",
            Self::ExclusiveQueue => "exclusive queue",
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("a rate is a number above 0".to_owned()),
    }
}

/// `key=value`; what looks like a number or a boolean is one.
fn argument(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is expected")?;
    let value = match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match value.parse() {
            Ok(number) => Value::I64(number),
            Err(_) => Value::String(value.as_bytes().into()),
        },
    };
    Ok((key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(line: &str) -> Result<Load, String> {
        let line = format!("perf throughput {line}");
        match Options::try_parse_from(line.split_whitespace()).map(|options| options.command) {
            Ok(Command::Throughput(load)) => Ok(*load),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn options_are_sound() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }

    #[test]
    fn perftests_letters_mean_the_same() {
        let read = load("-x 2 -y 3 -u q -e x -t topic -k a,b -s 16,32 -r 5 -R 6 -c 7 -q 8 -A 9 -z 10 -C 11 -D 12 -f persistent -p").unwrap();
        assert_eq!((read.publishers, read.consumers), (2, 3));
        assert_eq!(
            (&*read.queue, &*read.exchange, &*read.exchange_type),
            ("q", "x", "topic")
        );
        assert_eq!(
            (read.routing_keys, read.sizes),
            (vec!["a".into(), "b".into()], vec![16, 32])
        );
        assert_eq!(
            (read.rate, read.consumer_rate, read.confirm),
            (Some(5.0), Some(6.0), Some(7))
        );
        assert_eq!((read.prefetch, read.ack_every, read.seconds), (8, 9, 10.0));
        assert_eq!(
            (read.publish_count, read.consume_count),
            (Some(11), Some(12))
        );
        assert_eq!(
            (read.flags, read.predeclared),
            (vec![Flag::Persistent], true)
        );
    }

    #[test]
    fn arguments_have_types() {
        let read = load("--queue-argument x-max-length=5,x-mode=lazy --header a=true").unwrap();
        let text = Value::String(b"lazy"[..].into());
        assert_eq!(
            read.queue_arguments,
            [
                ("x-max-length".into(), Value::I64(5)),
                ("x-mode".into(), text)
            ]
        );
        assert_eq!(read.headers, [("a".into(), Value::Bool(true))]);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "-r 0",
            "-r x",
            "-c 0",
            "-A 0",
            "--queues 0",
            "--queue-argument x",
            "-H localhost",
        ] {
            assert!(load(line).is_err(), "{line}");
        }
    }
}
