//! A node in memory and its clients.
//!
//! A script is lines. One that starts at the margin is something that happens; the indented ones below it are what the
//! clients are sent because of it, each with its channel.
//!
//! ```text
//! a connect                       a client connects, as guest to /, and opens channel 1
//! a publish - q hello             it publishes to the default exchange; `a.2` means channel 2
//! a publish - q hello &           the same, but in one read with what it does next
//!   a closed                      what a client sees when the node closes the socket
//! a quietly delete q              the same, but nobody is woken yet
//! a drips queue q                 the same, but each octet is a read of its own
//! time 1000                       a second passes
//! log stall / log resume          the disk does not answer / does again
//! list queues / count queue q     what an operator sees: see `operator`
//! restart / crash                 the node stops in good order / loses its power, and starts again
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use leveret_amqp091::connection::{Connection, Limits, Peer};
use leveret_amqp091::sasl::Mechanism;
use leveret_broker::Lsn;
use leveret_broker::alarm::Alarm;
use leveret_broker::broker::{Broker, Restored};
use leveret_broker::options::Options;
use leveret_broker::paging::{Pager, Turn};
use leveret_broker::storage::sim::SimDisk;
use leveret_broker::storage::{self, Batch, Log};
use leveret_broker::time::Timestamp;

use crate::backends::Later;
use crate::{operator, words};

/// Plays a script and compares what clients see.
#[track_caller]
pub(crate) fn check(script: &str) {
    check_in(&mut World::new(), script);
}

/// The same, in a world that may have gone through something already.
#[track_caller]
pub(crate) fn check_in(world: &mut World, script: &str) {
    let expected: Vec<String> = lines(script);
    let mut seen = Vec::new();
    for line in expected.iter().filter(|line| !line.starts_with(' ')) {
        seen.push(line.clone());
        seen.extend(world.play(line).iter().map(|line| format!("  {line}")));
    }
    if seen != expected {
        let first = seen.iter().zip(&expected).take_while(|(a, b)| a == b);
        let at = first.count();
        panic!("differs from line {}; seen:\n{}", at + 1, seen.join("\n"));
    }
}

/// The script's lines without its margin, which is that of its first line.
fn lines(script: &str) -> Vec<String> {
    let lines = || script.lines().filter(|line| !line.trim().is_empty());
    let margin = lines()
        .next()
        .map_or(0, |line| line.len() - line.trim_start().len());
    lines()
        .map(|line| match line[margin..].trim_start() {
            text if text.len() == line.len() - margin => text.to_owned(),
            text => format!("  {text}"),
        })
        .collect()
}

/// How far the log has told everyone to be durable.
#[derive(Default)]
struct Progress {
    durable: Mutex<Lsn>,
    moved: Condvar,
}

/// A node and its clients.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) limits: Arc<Limits>,
    pub(crate) now: Timestamp,
    disk: SimDisk,
    is_stalled: bool,
    node: Option<Node>,
    backends: Later,
    clients: BTreeMap<String, Client>,
}

struct Node {
    broker: Arc<Broker>,
    log: Log,
    progress: Arc<Progress>,
}

/// A connection, and what is on its way to it.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    /// Said, and not handed to the connection yet.
    pub(crate) unsent: Vec<u8>,
    /// Taken from its output, and not read.
    unread: Vec<u8>,
    /// It does not read.
    is_deaf: bool,
}

/// EXTERNAL, too, as an operator has it who wants it.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.mechanisms.push(Mechanism::External);
    limits
}

impl World {
    pub(crate) fn new() -> Self {
        // Scripts count on nothing random.
        Self::with(Options::new(|| 7))
    }

    pub(crate) fn with(options: Options) -> Self {
        let mut world = Self {
            options,
            limits: Arc::new(limits()),
            now: Timestamp(1_000_000),
            disk: SimDisk::new(1),
            is_stalled: false,
            node: None,
            backends: Later::default(),
            clients: BTreeMap::new(),
        };
        world.start();
        world
    }

    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.node.as_ref().unwrap().broker
    }

    pub(crate) fn client(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).unwrap()
    }

    /// How many messages the log keeps.
    pub(crate) fn records(&self) -> u64 {
        self.node.as_ref().unwrap().log.stats().records
    }

    fn start(&mut self) {
        let options = storage::Options {
            file_bytes: 1 << 20,
            lazy: Duration::ZERO,
            ..storage::Options::default()
        };
        let mut restored = Restored::default();
        let log = Log::open(Arc::new(self.disk.clone()), options, &mut |record| {
            restored.take(record);
        })
        .unwrap();
        let broker = Broker::start(self.options.clone(), log.clone(), restored, self.now).unwrap();
        // Called after the broker's own: whoever sees this knows that all connections have been told.
        let progress = Arc::new(Progress::default());
        let shared = progress.clone();
        log.on_durable(Box::new(move |durable| {
            *shared.durable.lock().unwrap() = durable;
            shared.moved.notify_all();
        }));
        self.node = Some(Node {
            broker,
            log,
            progress,
        });
    }

    fn end(&mut self, is_crash: bool) {
        for (_, mut client) in std::mem::take(&mut self.clients) {
            if !is_crash {
                client.connection.disconnected(self.now);
            }
        }
        let node = self.node.take().unwrap();
        if is_crash {
            self.disk.cut_power();
            self.disk.resume();
            self.is_stalled = false;
        } else {
            node.broker.stop().unwrap();
        }
        drop(node);
        if is_crash {
            self.disk.power_on();
        }
    }

    /// Waits until the log has what was appended to it.
    pub(crate) fn sync(&self) {
        if self.is_stalled {
            return;
        }
        let node = self.node.as_ref().unwrap();
        let mut nothing = Batch::new();
        nothing.undefine(u8::MAX, 0);
        let target = node.log.append(&mut nothing).lsn;
        let durable = node.progress.durable.lock().unwrap();
        let patience = Duration::from_secs(30);
        let wait = node
            .progress
            .moved
            .wait_timeout_while(durable, patience, |at| *at < target);
        assert!(!wait.unwrap().1.timed_out(), "the log does not get on");
    }

    /// One line of a script; gives what clients are sent.
    pub(crate) fn play(&mut self, line: &str) -> Vec<String> {
        let (line, is_held) = match line.strip_suffix('&') {
            Some(line) => (line, true),
            None => (line, false),
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(mut seen) = operator::play(self.broker(), self.now, &words) {
            seen.extend(self.settle());
            return seen;
        }
        match words[..] {
            ["time", ms] => self.pass(ms.parse().unwrap()),
            ["backends"] => self.broker().use_backends(Arc::new(self.backends.clone())),
            ["backends", ref words @ ..] => self.backends.play(words),
            ["log", "stall"] => {
                self.disk.stall();
                self.is_stalled = true;
            }
            ["log", "resume"] => {
                self.disk.resume();
                self.is_stalled = false;
            }
            ["alarm", what, state] => {
                let alarm = match what {
                    "disk" => Alarm::Disk,
                    _ => Alarm::Memory,
                };
                self.broker().set_alarm(alarm, state == "on");
            }
            ["pager"] => {
                let mut pager = Pager::new(self.broker().clone());
                while pager.turn() == Turn::More {}
                let mut said = self.settle();
                let names: Vec<_> = self.clients.keys().cloned().collect();
                names.iter().for_each(|name| self.hand_over(name));
                said.extend(self.settle());
                return said;
            }
            ["restart"] => {
                self.end(false);
                self.start();
            }
            ["crash"] => {
                self.end(true);
                self.start();
            }
            [who, ref doing @ ..] => {
                let (name, channel) = who.split_once('.').unwrap_or((who, "1"));
                return self.act(name, channel.parse().unwrap(), doing, is_held);
            }
            [] => unreachable!("empty lines are skipped"),
        }
        self.settle()
    }

    /// A client does something.
    fn act(&mut self, name: &str, channel: u16, doing: &[&str], is_held: bool) -> Vec<String> {
        match *doing {
            ["connects"] => self.appear(name, "127.0.0.1:50000"),
            ["connects", "from", address] => self.appear(name, address),
            ["connects", "certified", user] => {
                self.appear_as(name, "127.0.0.1:50000", Some(user.to_owned()));
            }
            ["connect", ref how @ ..] => {
                self.appear(name, "127.0.0.1:50000");
                self.log_in(name, how);
            }
            ["leaves"] => {
                let now = self.now;
                let mut client = self.clients.remove(name).unwrap();
                client.connection.disconnected(now);
            }
            ["is", "deaf"] => self.client(name).is_deaf = true,
            ["reads"] => self.client(name).is_deaf = false,
            ["quietly", ref rest @ ..] => {
                words::say(rest, channel, &mut self.client(name).unsent);
                self.hand_over(name);
                return Vec::new();
            }
            ["drips", ref rest @ ..] => {
                let mut bytes = Vec::new();
                words::say(rest, channel, &mut bytes);
                for byte in bytes {
                    self.client(name).unsent.push(byte);
                    self.hand_over(name);
                }
            }
            _ => {
                words::say(doing, channel, &mut self.client(name).unsent);
                if is_held {
                    return Vec::new();
                }
                self.hand_over(name);
            }
        }
        self.settle()
    }

    fn appear(&mut self, name: &str, address: &str) {
        self.appear_as(name, address, None);
    }

    fn appear_as(&mut self, name: &str, address: &str, certificate_user: Option<String>) {
        let remote: SocketAddr = address.parse().unwrap();
        let local: SocketAddr = "127.0.0.1:5672".parse().unwrap();
        let peer = Peer {
            name: format!("{remote} -> {local}"),
            remote,
            local,
            tls: None,
            certificate_user,
            identity: None,
        };
        let broker = self.broker().clone();
        let client = Client {
            connection: Connection::new(broker, self.limits.clone(), peer, self.now),
            unsent: Vec::new(),
            unread: Vec::new(),
            is_deaf: false,
        };
        self.clients.insert(name.to_owned(), client);
    }

    /// The whole handshake, and channel 1: `[as USER] [to VHOST] [product=P] [frame_max=N] [heartbeat=N] [capability…]`.
    fn log_in(&mut self, name: &str, how: &[&str]) {
        let (mut user, mut vhost, mut start) = ("guest", "/", vec!["start-ok"]);
        let mut tune = vec!["tune-ok"];
        let mut rest = how.iter();
        while let Some(word) = rest.next() {
            match *word {
                "as" => user = rest.next().unwrap(),
                "to" => vhost = rest.next().unwrap(),
                product if product.starts_with("product=") => start.push(product),
                limit if limit.contains('=') => tune.push(limit),
                capability => start.push(capability),
            }
        }
        start.splice(1..1, [user, user]);
        let steps = [
            &["header"][..],
            &start,
            &tune,
            &["open", vhost],
            &["channel"],
        ];
        for step in steps {
            let said = self.act(name, 1, step, false);
            assert!(
                said.len() == usize::from(step[0] != "tune-ok")
                    && !said.iter().any(|line| line.contains("close")),
                "{step:?} was answered with {said:?}"
            );
        }
    }

    /// Hands what a client has said to its connection.
    pub(crate) fn hand_over(&mut self, name: &str) {
        let now = self.now;
        self.client(name).hand_over(now);
    }

    /// Time passes, and every timer on the way goes off at its own time.
    fn pass(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        loop {
            let deadlines = self
                .clients
                .values()
                .filter_map(|client| client.connection.deadline());
            let next = deadlines.chain(self.broker().timers.next()).min();
            let Some(next) = next.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.tick();
        }
        self.now = end;
        self.tick();
    }

    fn tick(&mut self) {
        let now = self.now;
        self.broker().tick(now);
        for client in self.clients.values_mut() {
            client.connection.tick(now);
        }
        self.dispatch();
    }

    /// Everybody does what there is to do; gives what clients are sent.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        loop {
            self.sync();
            if !self.dispatch() {
                break;
            }
        }
        let mut seen = Vec::new();
        for (name, client) in &mut self.clients {
            words::read(name, &mut client.unread, &mut seen);
            if client.connection.is_finished() {
                client.connection.disconnected(self.now);
                seen.push(format!("{name} closed"));
            }
        }
        self.clients
            .retain(|_, client| !client.connection.is_finished());
        seen
    }

    /// Connections take what there is for them; gives whether there was anything.
    fn dispatch(&mut self) -> bool {
        let now = self.now;
        let mut context = Context::from_waker(Waker::noop());
        let mut any = false;
        for client in self.clients.values_mut() {
            client.take_output();
            while client
                .connection
                .poll_dispatch(&mut context, now)
                .is_ready()
            {
                any = true;
                client.take_output();
            }
            if client.connection.wants_rest() && !client.unsent.is_empty() {
                any = true;
                client.hand_over(now);
            }
            any |= client.take_output();
        }
        any
    }
}

impl Drop for World {
    /// A log whose disk does not answer would never end.
    fn drop(&mut self) {
        self.disk.resume();
    }
}

impl Client {
    /// Gives the connection what was said, as far as it takes it.
    fn hand_over(&mut self, now: Timestamp) {
        if !self.connection.wants_input() {
            return;
        }
        let block: Arc<[u8]> = std::mem::take(&mut self.unsent).into();
        let consumed = self.connection.receive(&block, 0..block.len(), now);
        self.unsent = block[consumed..].to_vec();
    }

    /// Writes the connection's output to nobody in particular; gives whether there was any.
    fn take_output(&mut self) -> bool {
        if self.is_deaf {
            return false;
        }
        let before = self.unread.len();
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let filled = self.connection.output().slices(&mut slices);
            let mut written = 0;
            for slice in &slices[..filled] {
                self.unread.extend_from_slice(slice);
                written += slice.len();
            }
            if written == 0 {
                return self.unread.len() > before;
            }
            self.connection.output().advance(written);
        }
    }
}

/// A script of this many lines of the same kind.
pub(crate) fn repeat(count: u64, line: impl Fn(u64) -> String) -> String {
    (1..=count).fold(String::new(), |mut script, n| {
        writeln!(script, "{}", line(n)).unwrap();
        script
    })
}
