//! Shovels (O07): for each parameter `shovel` of a virtual host one task on the main thread's runtime, which takes messages
//! from one broker and publishes them to another.
//!
//! This page starts and stops them as parameters come and go, and knows how each does; `shovels/worker.rs` is one of them at
//! work, `shovels/client.rs` a connection. A connection to this node is served like any client's, on one of its threads,
//! so that the main thread waits for no queue and no log.

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use leveret_broker::broker::Broker;
use leveret_broker::shovel::{COMPONENT, End, Shovel};
use leveret_broker::table::Value;
use leveret_broker::time::Timestamp;
use leveret_management::{ShovelEnd, ShovelRun, ShovelState, ShovelStatus};
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::{JoinSet, spawn_blocking};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::io_thread::IoThreads;

mod client;
mod worker;

/// See the module's page.
pub(crate) struct Shovels {
    broker: Arc<Broker>,
    clock: Clock,
    threads: Weak<IoThreads>,
    /// By vhost and name.
    runs: Mutex<BTreeMap<Key, Run>>,
    /// Not while the node is stopped or in maintenance.
    may_run: AtomicBool,
    /// There is something to start or to stop besides what parameters say.
    changed: Notify,
}

type Key = (Arc<str>, Arc<str>);

/// A shovel that has been started.
struct Run {
    /// Its parameter's.
    value: Value,
    status: Arc<Mutex<Status>>,
    stop: Sender<bool>,
}

struct Status {
    state: ShovelState,
    since: Timestamp,
}

/// What one shovel works by.
struct Job {
    broker: Arc<Broker>,
    node: Box<str>,
    vhost: Arc<str>,
    name: Arc<str>,
    value: Value,
    shovel: Shovel,
    clock: Clock,
    threads: Weak<IoThreads>,
    status: Arc<Mutex<Status>>,
    stop: Receiver<bool>,
}

/// How a shovel ends that has not failed.
enum Ended {
    /// All that was to be moved is.
    Done,
    Stopped,
}

/// How far one has come since it connected.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    forwarded: u64,
    /// `None`: there is no end.
    left: Option<Left>,
    /// The destination takes nothing for now.
    is_blocked: bool,
}

/// What is left to be moved.
#[derive(Debug, Clone, Copy)]
struct Left {
    unsent: u64,
    /// Those of them, and those that the source still has.
    unacked: u64,
}

impl Left {
    fn of(count: u64) -> Self {
        Self {
            unsent: count,
            unacked: count,
        }
    }
}

impl Shovels {
    pub(crate) fn new(broker: &Arc<Broker>, clock: Clock, threads: &Arc<IoThreads>) -> Arc<Self> {
        Arc::new(Self {
            broker: Arc::clone(broker),
            clock,
            threads: Arc::downgrade(threads),
            runs: Mutex::default(),
            may_run: AtomicBool::new(true),
            changed: Notify::new(),
        })
    }

    /// Has shovels run as parameters say, for as long as it is polled.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut workers = JoinSet::new();
        let mut seen = 0;
        loop {
            self.follow_parameters(&mut workers);
            let mut changed = pin!(self.changed.notified());
            tokio::select! {
                () = poll_fn(|context| self.broker.poll_parameters(&mut seen, context)) => {}
                () = changed.as_mut() => {}
                Some(_) = workers.join_next() => {}
            }
        }
    }

    /// How all are, by vhost and name.
    pub(crate) fn list(&self) -> Vec<ShovelStatus> {
        let runs = self.runs.lock();
        let status = |((vhost, name), run): (&Key, &Run)| {
            let status = run.status.lock();
            ShovelStatus {
                vhost: Arc::clone(vhost),
                name: Arc::clone(name),
                last_changed: text_of(status.since),
                state: status.state.clone(),
            }
        };
        runs.iter().map(status).collect()
    }

    /// Has one start anew; `false`: there is none.
    pub(crate) fn restart(&self, vhost: &str, name: &str) -> bool {
        let stopped = self.runs.lock().remove(&(vhost.into(), name.into()));
        let Some(run) = stopped else {
            return false;
        };
        let _ = run.stop.send(true);
        self.changed.notify_one();
        true
    }

    /// Lets all run, or none.
    pub(crate) fn let_run(&self, may_run: bool) {
        self.may_run.store(may_run, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn follow_parameters(&self, workers: &mut JoinSet<()>) {
        let may_run = self.may_run.load(Ordering::Relaxed);
        let parameters = match may_run {
            true => self.broker.parameters_of(COMPONENT),
            false => Vec::new(),
        };
        let mut wanted: BTreeMap<Key, Value> = parameters
            .into_iter()
            .map(|it| ((it.vhost, it.name), it.value))
            .collect();
        let mut runs = self.runs.lock();
        let ended: Vec<Key> = runs
            .iter()
            .filter(|(key, run)| wanted.get(*key) != Some(&run.value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in ended {
            let Some(run) = runs.remove(&key) else {
                continue;
            };
            let _ = run.stop.send(true);
            info!(shovel = %key.1, vhost = %key.0, "shovel stops");
            self.broker
                .tell("shovel.worker.removed", about(&key.0, &key.1));
        }
        wanted.retain(|key, _| !runs.contains_key(key));
        for (key, value) in wanted {
            let run = self.start(&key, value, workers);
            runs.insert(key, run);
        }
    }

    fn start(&self, (vhost, name): &Key, value: Value, workers: &mut JoinSet<()>) -> Run {
        let status = Arc::new(Mutex::new(Status {
            state: ShovelState::Starting,
            since: self.clock.now(),
        }));
        let (stop, is_stopped) = channel(false);
        match Shovel::read(name, &value) {
            Ok(shovel) => {
                let job = Job {
                    broker: Arc::clone(&self.broker),
                    node: self.broker.options.node_name.as_str().into(),
                    vhost: Arc::clone(vhost),
                    name: Arc::clone(name),
                    value: value.clone(),
                    shovel,
                    clock: self.clock,
                    threads: Weak::clone(&self.threads),
                    status: Arc::clone(&status),
                    stop: is_stopped,
                };
                workers.spawn(job.work());
            }
            // It was stored before such parameters were looked at.
            Err(reason) => {
                warn!(shovel = %name, %vhost, reason, "shovel can't start");
                status.lock().state = ShovelState::Terminated { reason };
            }
        }
        Run {
            value,
            status,
            stop,
        }
    }
}

impl Job {
    /// Runs, and again after each failure.
    async fn work(self) {
        loop {
            info!(shovel = %self.name, vhost = %self.vhost, "shovel connects");
            self.is(ShovelState::Starting, "starting");
            let ended = tokio::select! {
                ended = worker::run(&self) => ended,
                () = self.stopped_before_running() => return,
            };
            match ended {
                Ok(Ended::Done) => return self.done().await,
                Ok(Ended::Stopped) => return,
                Err(failure) => {
                    let worker::Failure { reason, details } = failure;
                    warn!(shovel = %self.name, vhost = %self.vhost, reason, details, "shovel has failed");
                    let reason = format!("\"{reason}: {details}\"");
                    self.is(ShovelState::Terminated { reason }, "terminated");
                }
            }
            let delay = Duration::from_secs(self.shovel.reconnect_delay_s);
            tokio::select! {
                () = tokio::time::sleep(delay), if !delay.is_zero() => {}
                () = self.stopped() => return,
            }
        }
    }

    /// Waits until it is to end.
    async fn stopped(&self) {
        let mut stop = self.stop.clone();
        // Who could tell may be gone: that ends it as well.
        let _ = stop.wait_for(|is_stopped| *is_stopped).await;
    }

    /// The same, but for one that runs: that has to say goodbye first, and looks for itself.
    async fn stopped_before_running(&self) {
        self.stopped().await;
        if matches!(self.status.lock().state, ShovelState::Running(_)) {
            pending().await
        }
    }

    /// It is not needed any more, nor is its parameter, unless that is another one by now.
    async fn done(self) {
        info!(shovel = %self.name, vhost = %self.vhost, "shovel has ended");
        let now = self.clock.now();
        let forget = move || {
            let own = |it: &leveret_broker::broker::administration::ParameterInfo| {
                it.vhost == self.vhost && it.name == self.name && it.value == self.value
            };
            if self.broker.parameters_of(COMPONENT).iter().any(own) {
                let cleared = self
                    .broker
                    .clear_parameter(&self.vhost, COMPONENT, &self.name, now);
                if let Err(why) = cleared {
                    warn!(shovel = %self.name, vhost = %self.vhost, %why, "parameter stays");
                }
            }
        };
        // The log may be behind.
        let _ = spawn_blocking(forget).await;
    }

    fn is(&self, state: ShovelState, name: &'static str) {
        *self.status.lock() = Status {
            state,
            since: self.clock.now(),
        };
        let status = ("status", Value::String(name.as_bytes().into()));
        let about = about(&self.vhost, &self.name).into_iter();
        self.broker
            .tell("shovel.worker.status", about.chain([status]));
    }

    /// It is connected by these URIs.
    fn is_running(&self, source: &str, destination: &str) {
        info!(shovel = %self.name, vhost = %self.vhost, source, destination, "shovel runs");
        let run = ShovelRun {
            source: end(&self.shovel.source.end, source),
            destination: end(&self.shovel.destination.end, destination),
            ..ShovelRun::default()
        };
        self.is(ShovelState::Running(Box::new(run)), "running");
    }

    fn tell(&self, progress: &Progress, pending: usize) {
        if let ShovelState::Running(run) = &mut self.status.lock().state {
            run.forwarded = progress.forwarded;
            run.pending = pending;
            run.left = progress.left.map(|left| (left.unsent, left.unacked));
            run.is_blocked = progress.is_blocked;
        }
    }
}

fn end(end: &End, uri: &str) -> ShovelEnd {
    ShovelEnd {
        uri: uri.to_owned(),
        protocol: end.protocol.name(),
        queue: end.queue.clone(),
        exchange: end.exchange.clone(),
        exchange_key: end.exchange_key.clone(),
    }
}

fn about(vhost: &str, name: &str) -> [(&'static str, Value); 2] {
    let text = |text: &str| Value::String(text.as_bytes().into());
    [("vhost", text(vhost)), ("name", text(name))]
}

/// As RabbitMQ writes it here: the hour has one digit if that is enough.
fn text_of(Timestamp(ms): Timestamp) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (month, day) = (u8::from(time.month()), time.day());
    let (hour, minute, second) = time.to_hms();
    format!(
        "{}-{month:02}-{day:02} {hour}:{minute:02}:{second:02}",
        time.year()
    )
}
