//! A run: sets everything up, lets the threads work, looks at them once a second, and sums up.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use leveret_amqp091::method::*;

use crate::client::{CHANNEL, Client};
use crate::clock::Clock;
use crate::consumer::{self, Consumer};
use crate::counting::{Counts, Latencies, Shared};
use crate::error::Error;
use crate::messages::Ring;
use crate::options::Load;
use crate::publisher::{self, Pace, Publisher, Window};
use crate::report::{self, Messages, Percentiles, Report, Second, Watch};
use crate::socket::Trust;
use crate::topology;
use crate::worker::{self, Common, InFlight, Part, Role, phase};

const SECOND: u64 = 1_000_000_000;
/// Consumers are ready before the first publish.
const LEAD_NS: u64 = 50_000_000;
/// Consumers that get nothing for so long at the end will get nothing more.
const SILENCE_NS: u64 = 3 * SECOND;
/// Messages of one connection that are due more often than that leave in steps of it. To wake for each would take the whole
/// core, and whatever held that core up would count as the broker's latency.
const STEP_NS: u64 = 50_000;
/// How often the threads are looked at for being done.
const LOOK: Duration = Duration::from_millis(2);
/// The connections of a run answer their close within that, or are left.
const FAREWELL_NS: u64 = 10 * SECOND;

pub(crate) fn run(command: &'static str, load: &Load) -> Result<Report, Error> {
    check(load)?;
    let trust = Trust::new(&load.target)?;
    let mut control = Client::connect_channel(load.target.uri(0), &trust)?;
    let waiting = topology::declare(load, &mut control)?;
    let clock = Clock::start();
    let common = Common {
        start: 0,
        phase: AtomicU8::new(phase::RUN),
        shared: (0..load.threads).map(|_| Shared::new()).collect(),
        in_flight: load.in_flight.map(|max| InFlight {
            max,
            copies: topology::copies(load).unwrap_or(1),
        }),
        busy_poll: load.busy_poll,
        clock,
    };
    let (common, teams) = hire(load, &trust, common)?;
    let common = Arc::new(common);
    let threads: Vec<Worker> = teams
        .into_iter()
        .enumerate()
        .map(|(index, team)| {
            let common = common.clone();
            thread::spawn(move || worker::work(team, &common, index))
        })
        .collect();
    let mut run = Run {
        load,
        common: &common,
        expected: expected(load, waiting),
        threads,
        line: Line::new(load.output.quiet),
        last: (common.start, Counts::default()),
        sum: Latencies::new(),
        series: Vec::new(),
    };
    let mut report = if load.counted() {
        run.by_count()?
    } else {
        run.by_time()?
    };
    report.command = command;
    report.name.clone_from(&load.output.name);
    report.broker.clone_from(&control.product);
    if !load.keep && !load.predeclared {
        topology::delete(load, &mut control)?;
    }
    control.close()?;
    Ok(report)
}

type Worker = JoinHandle<Result<(), Error>>;

/// Combinations that would wait for ever, or that nobody can mean.
fn check(load: &Load) -> Result<(), Error> {
    let complain = |text: &str| Err(Error::Arguments(text.to_owned()));
    if load.publishers == 0 && load.consumers == 0 {
        return complain("neither publishers nor consumers");
    }
    if !load.auto_ack && load.prefetch > 0 && u32::from(load.prefetch) < load.ack_every {
        return complain("--ack-every is more than --prefetch lets through");
    }
    if load.in_flight.is_some() && (load.consumers == 0 || topology::copies(load).is_none()) {
        return complain("--in-flight needs consumers, and an exchange whose deliveries are known");
    }
    if load.bindings.is_some() && load.exchange.is_empty() {
        return complain("--bindings needs an --exchange");
    }
    if load.sizes.iter().any(|size| *size > 512 << 20) {
        return complain("--size is more than 512 MiB");
    }
    if !(load.seconds > 0.0 && load.warmup >= 0.0 && load.drain_timeout >= 0.0) {
        return complain("a negative time");
    }
    Ok(())
}

/// Deliveries to come for so many publishes, if every message is delivered once to each queue that it reaches.
type Expected = Option<(u64, u64)>;

fn expected(load: &Load, waiting: u64) -> Expected {
    let known = load.consumers > 0 && !topology::may_drop(load) && load.consumers >= load.queues;
    topology::copies(load)
        .filter(|_| known)
        .map(|copies| (waiting, copies))
}

/// Connects all parts and deals them out to the threads, consumers first.
fn hire(load: &Load, trust: &Trust, mut common: Common) -> Result<(Common, Vec<Vec<Part>>), Error> {
    let run = common.clock.now() as u16;
    let mut parts = Vec::new();
    let mut clients = Vec::new();
    for n in 0..load.publishers {
        clients.push(publishing_client(load, trust, usize::from(n))?);
    }
    // Publishers connect first, so that nothing waits for consumers that are subscribed. What is drained is drained from
    // now on: without publishers nobody waits for the consumers.
    common.start = common.clock.now();
    for n in 0..load.consumers {
        let client = consuming_client(load, trust, usize::from(n))?;
        let plan = consumer::Plan {
            run,
            publishers: load.publishers,
            ordered: load.priorities.is_empty(),
            limit: load.consume_count.unwrap_or(u64::MAX),
            ack_every: (!load.auto_ack).then_some(load.ack_every),
            pace: load
                .consumer_rate
                .map(|rate| pace(load, common.start, rate)),
        };
        let role = Role::Consumer(Consumer::new(plan));
        parts.push(Part { client, role });
    }
    if load.publishers > 0 {
        common.start = common.clock.now() + LEAD_NS;
    }
    for (id, client) in (0..load.publishers).zip(clients) {
        // Publishers with one rate take turns.
        let offset = load.rate.map_or(0.0, |rate| {
            f64::from(id) * 1e9 / rate / f64::from(load.publishers)
        });
        let plan = publisher::Plan {
            run,
            id,
            limit: load.publish_count.unwrap_or(u64::MAX),
            write_max: load.flush.unwrap_or(usize::MAX),
            pace: load
                .rate
                .map(|rate| pace(load, common.start + offset as u64, rate)),
            window: load.confirm.map(Window::new),
        };
        let ring = Ring::new(&topology::shapes(load, usize::from(id)), client.frame_max);
        let role = Role::Publisher(Publisher::new(plan, ring));
        parts.push(Part { client, role });
    }
    let mut teams: Vec<Vec<Part>> = (0..load.threads).map(|_| Vec::new()).collect();
    for (n, part) in parts.into_iter().enumerate() {
        teams[n % usize::from(load.threads)].push(part);
    }
    Ok((common, teams))
}

fn pace(load: &Load, start: u64, rate: f64) -> Pace {
    let interval_ns = 1e9 / rate;
    let exact = load.busy_poll || interval_ns >= STEP_NS as f64;
    Pace {
        start,
        interval_ns,
        step_ns: if exact { 1 } else { STEP_NS },
    }
}

fn publishing_client(load: &Load, trust: &Trust, n: usize) -> Result<Client, Error> {
    let mut client = Client::connect_channel(load.target.uri(n), trust)?;
    if load.confirm.is_some() {
        client.ask(CHANNEL, ConfirmSelect { no_wait: false })?;
    }
    Ok(client)
}

fn consuming_client(load: &Load, trust: &Trust, n: usize) -> Result<Client, Error> {
    let mut client = Client::connect_channel(load.target.uri(n), trust)?;
    if load.prefetch > 0 {
        let qos = BasicQos {
            prefetch_count: load.prefetch,
            ..Default::default()
        };
        client.ask(CHANNEL, qos)?;
    }
    let consume = BasicConsume {
        queue: &topology::queue_name(load, n % usize::from(load.queues)),
        consumer_tag: "c",
        no_ack: load.auto_ack,
        ..Default::default()
    };
    client.ask(CHANNEL, consume)?;
    Ok(client)
}

/// The thread that looks on.
struct Run<'a> {
    load: &'a Load,
    common: &'a Common,
    expected: Expected,
    threads: Vec<Worker>,
    line: Line,
    /// When and what was counted at the last tick.
    last: (u64, Counts),
    sum: Latencies,
    series: Vec<Second>,
}

impl Run<'_> {
    /// Warms up, measures, and lets what is under way arrive.
    fn by_time(&mut self) -> Result<Report, Error> {
        let begin = self.common.start + seconds_ns(self.load.warmup);
        self.watch_until(begin, |_| false);
        let watch = Watch::start(&self.load.target.server_pids);
        let from = self.now();
        self.last = (from, self.counts());
        self.series.clear();
        self.sum = Latencies::new();
        self.take_latencies(&mut Latencies::new());
        let before = self.counts();
        self.watch_until(from + seconds_ns(self.load.seconds), |_| false);
        let (to, after) = (self.now(), self.counts());
        self.end_of_series(to);
        let seconds = (to - from) as f64 / 1e9;
        let each = (after.published - before.published).max(after.received - before.received);
        let (client, server) = watch.stop(seconds, each);
        self.drain()?;
        let per_second = |before: u64, after: u64| (after - before) as f64 / seconds;
        let messages = Messages {
            published_per_second: per_second(before.published, after.published),
            confirmed_per_second: per_second(before.confirmed, after.confirmed),
            received_per_second: per_second(before.received, after.received),
            received_mb_per_second: per_second(before.received_octets, after.received_octets) / 1e6,
            ..self.totals()
        };
        Ok(Report {
            client,
            server,
            ..self.report(seconds, messages)
        })
    }

    /// Measures from the first publish to the last delivery.
    fn by_count(&mut self) -> Result<Report, Error> {
        let start = self.common.start;
        let watch = Watch::start(&self.load.target.server_pids);
        let (publishers, consumers) = (self.load.publishers, self.load.consumers);
        let expected = self.expected;
        let by_consumers = self.load.consume_count.is_some();
        let done = move |counts: &Counts| match by_consumers {
            true => counts.consumers_done == u64::from(consumers),
            false => {
                counts.publishers_done == u64::from(publishers)
                    && expected.is_none_or(|(waiting, copies)| {
                        counts.received >= waiting + counts.published * copies
                    })
            }
        };
        self.watch_until(u64::MAX, done);
        let (to, counts) = (self.now(), self.counts());
        let wall = to.saturating_sub(start) as f64 / 1e9;
        let (client, server) = watch.stop(wall, counts.published.max(counts.received));
        self.drain()?;
        self.take_latencies_into_sum();
        let counts = self.counts();
        let seconds_to = |end: u64| (end.saturating_sub(start) as f64 / 1e9).max(1e-9);
        let publishing = seconds_to(counts.last_published_at);
        let receiving = seconds_to(counts.last_received_at);
        let rate = |count: u64, seconds: f64| {
            if count == 0 {
                0.0
            } else {
                count as f64 / seconds
            }
        };
        let messages = Messages {
            published_per_second: rate(counts.published, publishing),
            confirmed_per_second: rate(counts.confirmed, publishing),
            received_per_second: rate(counts.received, receiving),
            received_mb_per_second: rate(counts.received_octets, receiving) / 1e6,
            ..self.totals()
        };
        Ok(Report {
            client,
            server,
            ..self.report(wall, messages)
        })
    }

    fn report(&mut self, seconds: f64, messages: Messages) -> Report {
        Report {
            seconds,
            messages: Some(messages),
            latency: Percentiles::of(&self.sum.delivery),
            confirm_latency: Percentiles::of(&self.sum.confirm),
            series: std::mem::take(&mut self.series),
            ..Default::default()
        }
    }

    fn totals(&self) -> Messages {
        let counts = self.counts();
        let missing = |(waiting, copies): (u64, u64)| {
            (waiting + counts.published * copies) as i64 - counts.received as i64
        };
        Messages {
            published: counts.published,
            confirmed: counts.confirmed,
            received: counts.received,
            nacked: counts.nacked,
            returned: counts.returned,
            redelivered: counts.redelivered,
            out_of_order: counts.out_of_order,
            blocked: counts.blocked,
            missing: self
                .expected
                .filter(|_| self.load.consume_count.is_none())
                .map(missing),
            ..Default::default()
        }
    }

    /// Stops publishers, gives consumers the time to receive what is under way, and ends the threads.
    fn drain(&mut self) -> Result<(), Error> {
        self.common
            .phase
            .store(phase::STOP_PUBLISHING, Ordering::Relaxed);
        let deadline = self.now() + seconds_ns(self.load.drain_timeout);
        let (publishers, consumers) = (self.load.publishers, self.load.consumers);
        let by_consumers = self.load.consume_count.is_some();
        let expected = self.expected;
        let mut progress = (self.now(), self.counts());
        let clock = self.common.clock;
        self.watch_until(deadline, |counts| {
            if (counts.received, counts.confirmed) != (progress.1.received, progress.1.confirmed) {
                progress = (clock.now(), *counts);
            }
            let arrived = expected.is_none_or(|(waiting, copies)| {
                counts.received >= waiting + counts.published * copies
            });
            let silent = clock.now() > progress.0 + SILENCE_NS;
            let published = counts.publishers_done == u64::from(publishers);
            let enough = consumers == 0 || by_consumers || (expected.is_some() && arrived);
            silent || (published && enough)
        });
        self.common.phase.store(phase::STOP, Ordering::Relaxed);
        self.line.end();
        let deadline = self.now() + FAREWELL_NS;
        for worker in self.threads.drain(..) {
            while !worker.is_finished() && self.common.clock.now() < deadline {
                thread::sleep(LOOK);
            }
            if !worker.is_finished() {
                let text = "the broker does not answer the close of a channel";
                return Err(Error::Nonsense(text.to_owned()));
            }
            worker.join().expect("a worker does not panic")?;
        }
        Ok(())
    }

    /// Ticks each second until then, or until it is done or a thread has failed.
    fn watch_until(&mut self, deadline: u64, mut done: impl FnMut(&Counts) -> bool) {
        loop {
            let now = self.now();
            if now >= self.last.0 + SECOND {
                self.tick(now);
            }
            let failed = self.threads.iter().any(JoinHandle::is_finished);
            if now >= deadline || failed || done(&self.counts()) {
                return;
            }
            thread::sleep(LOOK.min(Duration::from_nanos(deadline - now)));
        }
    }

    /// A last second that is too short would only show noise.
    fn end_of_series(&mut self, now: u64) {
        if now >= self.last.0 + SECOND / 2 {
            self.tick(now);
        } else {
            self.take_latencies_into_sum();
            self.last = (now, self.counts());
        }
    }

    fn tick(&mut self, now: u64) {
        let counts = self.counts();
        let mut latencies = Latencies::new();
        self.take_latencies(&mut latencies);
        let (then, before) = self.last;
        let seconds = (now - then) as f64 / 1e9;
        let per_second = |before: u64, after: u64| (after - before) as f64 / seconds;
        // A run without consumers is about its confirms.
        let shown = match latencies.delivery.is_empty() {
            true => &latencies.confirm,
            false => &latencies.delivery,
        };
        let percentiles = Percentiles::of(shown).unwrap_or_default();
        let second = Second {
            at: now.saturating_sub(self.common.start) as f64 / 1e9,
            published_per_second: per_second(before.published, counts.published),
            confirmed_per_second: per_second(before.confirmed, counts.confirmed),
            received_per_second: per_second(before.received, counts.received),
            p50_us: percentiles.p50_us,
            p99_us: percentiles.p99_us,
        };
        self.line.show(&second);
        self.last = (now, counts);
        // What comes late, when the time to measure is over, is not part of it.
        let over = self.common.phase.load(Ordering::Relaxed) != phase::RUN;
        if !over || self.load.counted() {
            self.sum.add(&latencies);
            self.series.push(second);
        }
    }

    fn now(&self) -> u64 {
        self.common.clock.now()
    }

    fn counts(&self) -> Counts {
        Counts::of(&self.common.shared)
    }

    fn take_latencies(&self, into: &mut Latencies) {
        for shared in &self.common.shared {
            shared.take_latencies(into);
        }
    }

    fn take_latencies_into_sum(&mut self) {
        let mut latencies = Latencies::new();
        self.take_latencies(&mut latencies);
        self.sum.add(&latencies);
    }
}

fn seconds_ns(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// The progress: one line that is written over on a terminal, else a line a second.
struct Line {
    quiet: bool,
    terminal: bool,
    shown: bool,
}

impl Line {
    fn new(quiet: bool) -> Self {
        Self {
            quiet,
            terminal: io::stderr().is_terminal(),
            shown: false,
        }
    }

    fn show(&mut self, second: &Second) {
        if self.quiet {
            return;
        }
        let mut text = format!(
            "{:5.0} s   published {:>7}/s   received {:>7}/s",
            second.at,
            report::short(second.published_per_second),
            report::short(second.received_per_second)
        );
        if second.confirmed_per_second > 0.0 {
            text += &format!(
                "   confirmed {:>7}/s",
                report::short(second.confirmed_per_second)
            );
        }
        if second.p50_us > 0.0 {
            text += &format!(
                "   p50 {}   p99 {}",
                report::time(second.p50_us),
                report::time(second.p99_us)
            );
        }
        // Clears what is left of a longer line.
        let text = if self.terminal {
            format!("\r{text}\x1b[K")
        } else {
            text + "\n"
        };
        let _ = io::stderr().write_all(text.as_bytes());
        self.shown = true;
    }

    fn end(&mut self) {
        if self.shown && self.terminal {
            let _ = io::stderr().write_all(b"\n");
            self.shown = false;
        }
    }
}
