//! Many connections and many queues. A thread each for as many connections as are opened at a time: they wait for answers
//! all the time, and nothing here is fast enough to be worth more.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use leveret_amqp091::method::*;

use crate::client::{CHANNEL, Client, FRAME_MIN, no_refusal};
use crate::counting::{Times, times};
use crate::error::Error;
use crate::options::{Connections, Queues};
use crate::report::{Operations, Percentiles, Report, Watch};
use crate::socket::Trust;
use crate::topology;

/// Opens connections, keeps them for a while, closes them.
pub(crate) fn connections(options: &Connections) -> Result<Report, Error> {
    let trust = Trust::new(&options.target)?;
    let watch = Watch::start(&options.target.server_pids);
    let started = Instant::now();
    let open = Mutex::new(Vec::with_capacity(options.count));
    let opened = at_once(options.concurrency, options.count as u64, |n| {
        let uri = options.target.uri(n as usize);
        let mut client = Client::connect(uri, &trust, FRAME_MIN)?;
        for channel in 1..=options.channels {
            client.ask(channel, ChannelOpen {})?;
        }
        let mut open = open.lock().unwrap_or_else(|open| open.into_inner());
        open.push(client);
        Ok(())
    })?;
    let (client, server) = watch.stop(started.elapsed().as_secs_f64(), opened.times.len());
    thread::sleep(Duration::from_secs_f64(options.hold.max(0.0)));
    let open = open.into_inner().unwrap_or_else(|open| open.into_inner());
    let broker = open.first().map(|client| client.product.clone());
    let seconds = opened.seconds;
    let mut operations = vec![opened.operations("connections opened")];
    let mut closed = Done::start();
    for client in open {
        closed.time(|| client.close())?;
    }
    operations.push(closed.end().operations("connections closed"));
    Ok(Report {
        name: options.output.name.clone(),
        command: "connections",
        broker: broker.unwrap_or_default(),
        seconds,
        operations,
        client,
        server,
        ..Default::default()
    })
}

/// Declares queues with many declarations under way, and deletes them one by one.
pub(crate) fn queues(options: &Queues) -> Result<Report, Error> {
    let trust = Trust::new(&options.target)?;
    let mut control = Client::connect_channel(options.target.uri(0), &trust)?;
    let watch = Watch::start(&options.target.server_pids);
    let arguments = topology::queue_arguments(options.queue_type.as_deref(), &[]);
    let names: Vec<String> = (1..=options.count)
        .map(|n| format!("{}-{n}", options.queue))
        .collect();
    let declared = pipelined(&mut control, &names, options.pipeline, |queue| {
        QueueDeclare {
            queue,
            durable: !options.transient,
            // A queue that neither lasts nor belongs to a connection is one that RabbitMQ is giving up.
            exclusive: options.transient,
            arguments: RawTable(&arguments),
            ..Default::default()
        }
        .into()
    })?;
    let (client, server) = watch.stop(declared.seconds, declared.times.len());
    let seconds = declared.seconds;
    let mut operations = vec![declared.operations("queues declared")];
    if !options.keep {
        let deleted = pipelined(&mut control, &names, options.pipeline, |queue| {
            QueueDelete {
                queue,
                ..Default::default()
            }
            .into()
        })?;
        operations.push(deleted.operations("queues deleted"));
    }
    let report = Report {
        name: options.output.name.clone(),
        command: "queues",
        broker: control.product.clone(),
        seconds,
        operations,
        client,
        server,
        ..Default::default()
    };
    control.close()?;
    Ok(report)
}

/// Sends a method for each name, `pipeline` at a time before answers are waited for.
fn pipelined<'a>(
    client: &mut Client,
    names: &'a [String],
    pipeline: u16,
    method: impl Fn(&'a str) -> Method<'a>,
) -> Result<Done, Error> {
    let mut done = Done::start();
    let mut sent = std::collections::VecDeque::new();
    for name in names {
        if sent.len() == usize::from(pipeline) {
            answer(client, &mut sent, &mut done)?;
        }
        client.send(CHANNEL, method(name));
        client.flush()?;
        sent.push_back(Instant::now());
    }
    while !sent.is_empty() {
        answer(client, &mut sent, &mut done)?;
    }
    Ok(done.end())
}

fn answer(
    client: &mut Client,
    sent: &mut std::collections::VecDeque<Instant>,
    done: &mut Done,
) -> Result<(), Error> {
    client.receive(CHANNEL, no_refusal)?;
    if let Some(sent) = sent.pop_front() {
        done.note(sent);
    }
    Ok(())
}

/// How long each of many took, and all of them.
pub(crate) struct Done {
    started: Instant,
    pub(crate) seconds: f64,
    pub(crate) times: Times,
}

impl Done {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            seconds: 0.0,
            times: times(),
        }
    }

    fn time(&mut self, work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let started = Instant::now();
        work()?;
        self.note(started);
        Ok(())
    }

    /// One that has been under way since `started` is done.
    pub(crate) fn note(&mut self, started: Instant) {
        self.times
            .saturating_record(started.elapsed().as_nanos() as u64);
    }

    pub(crate) fn end(mut self) -> Self {
        self.seconds = self.started.elapsed().as_secs_f64();
        self
    }

    pub(crate) fn operations(&self, what: &str) -> Operations {
        Operations {
            what: what.to_owned(),
            count: self.times.len(),
            per_second: self.times.len() as f64 / self.seconds.max(1e-9),
            latency: Percentiles::of(&self.times).unwrap_or_default(),
        }
    }
}

/// Does something `count` times on so many threads. The first error ends all.
fn at_once(
    threads: u16,
    count: u64,
    work: impl Fn(u64) -> Result<(), Error> + Sync,
) -> Result<Done, Error> {
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let one_thread = || {
        let mut done = Done::start();
        while !failed.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                break;
            }
            done.time(|| work(n))
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(done)
    };
    let mut all = Done::start();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one_thread)).collect();
        for thread in threads {
            let done: Result<Done, Error> = thread.join().expect("a thread of ours does not panic");
            all.times
                .add(&done?.times)
                .expect("all histograms have the same bounds");
        }
        Ok(())
    })
    .map(|()| all.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_done_once() {
        let seen = Mutex::new(Vec::new());
        let done = at_once(4, 1000, |n| {
            seen.lock().unwrap().push(n);
            Ok(())
        })
        .unwrap();
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        assert_eq!(done.times.len(), 1000);
    }

    #[test]
    fn an_error_ends_all() {
        let failing = |n| match n {
            5 => Err(Error::Arguments("five".to_owned())),
            _ => Ok(()),
        };
        let found = at_once(2, u64::MAX, failing).map(|_| ());
        assert_eq!(
            found.map_err(|error| error.to_string()),
            Err("five".to_owned())
        );
    }
}
