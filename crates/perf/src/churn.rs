//! Things that come and go: connections, channels, queues.
//!
//! One thread keeps as many under way as are wanted at a time, and sleeps only when all of them wait for the broker: a
//! thread for each would be woken for every answer, which costs more than the answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use leveret_amqp091::frame::FrameType;
use leveret_amqp091::method::*;
use leveret_amqp091::protocol_header::AMQP_0_9_1;
use rustix::event::{PollFd, PollFlags, poll};

use crate::client::{CHANNEL, Client, FRAME_MIN, Handshake, no_refusal};
use crate::error::Error;
use crate::many::Done;
use crate::options::{Churn, Target, What};
use crate::publisher::write;
use crate::report::{Report, Watch};
use crate::socket::{Socket, Trust};

/// Opens and closes something as often as it goes.
pub(crate) fn churn(options: &Churn) -> Result<Report, Error> {
    let trust = Trust::new(&options.target)?;
    let brokers = Brokers::find(&options.target, &trust)?;
    let mut kept = Vec::new();
    if options.what != What::Connection {
        for n in 0..options.concurrency {
            kept.push(Client::connect_channel(
                options.target.uri(n.into()),
                &trust,
            )?);
        }
    }
    let watch = Watch::start(&options.target.server_pids);
    let done = run(options, &brokers, &mut kept)?;
    let (client, server) = watch.stop(done.seconds, done.times.len());
    let report = Report {
        name: options.output.name.clone(),
        command: "churn",
        broker: brokers.product().to_owned(),
        seconds: done.seconds,
        operations: vec![done.operations(&format!("{} churn", options.what.name()))],
        client,
        server,
        ..Default::default()
    };
    for client in kept.into_iter().chain(brokers.into_clients()) {
        client.close()?;
    }
    Ok(report)
}

/// Keeps as many rounds under way as are wanted, until there are no more. `kept` are the connections that stay.
fn run(options: &Churn, brokers: &Brokers<'_>, kept: &mut Vec<Client>) -> Result<Done, Error> {
    for client in &*kept {
        client.socket.stop_blocking()?;
    }
    let mut rounds = Rounds::new(options);
    let mut places = Vec::new();
    loop {
        while places.len() < usize::from(options.concurrency)
            && let Some(n) = rounds.next()
        {
            places.push(Place::begin(options.what, n, kept.pop(), brokers)?);
        }
        if places.is_empty() {
            break;
        }
        let ready = wait(&places)?;
        for index in (0..places.len()).rev().filter(|index| ready[*index]) {
            if places[index].turn()? {
                let place = places.swap_remove(index);
                rounds.done.note(place.started);
                kept.extend(place.kept());
            }
        }
    }
    let done = rounds.done.end();
    for client in &*kept {
        client.socket.tcp().set_nonblocking(false)?;
    }
    Ok(done)
}

/// Waits until somebody has something to do; says of each whether it has.
fn wait(places: &[Place<'_>]) -> Result<Vec<bool>, Error> {
    let mut polled: Vec<_> = places.iter().map(Place::polled).collect();
    match poll(&mut polled, None) {
        Err(rustix::io::Errno::INTR) => {}
        result => _ = result.map_err(std::io::Error::from)?,
    }
    Ok(polled.iter().map(|it| !it.revents().is_empty()).collect())
}

/// All that were given, each with a connection that shows where it is.
struct Brokers<'a> {
    target: &'a Target,
    trust: &'a Trust,
    found: Vec<(SocketAddr, Client)>,
}

impl<'a> Brokers<'a> {
    fn find(target: &'a Target, trust: &'a Trust) -> Result<Self, Error> {
        let find = |uri| {
            let client = Client::connect(uri, trust, FRAME_MIN)?;
            Ok((client.socket.tcp().peer_addr()?, client))
        };
        let found = target.uris.iter().map(find).collect::<Result<_, Error>>()?;
        Ok(Self {
            target,
            trust,
            found,
        })
    }

    fn product(&self) -> &str {
        let first = self.found.first();
        first.map_or("", |(_, client)| &client.product)
    }

    fn into_clients(self) -> impl Iterator<Item = Client> {
        self.found.into_iter().map(|(_, client)| client)
    }

    /// Begins the n-th connection.
    fn begin(&self, n: u64) -> Result<(Client, Handshake<'a>), Error> {
        let n = n as usize % self.found.len();
        let (uri, (address, _)) = (self.target.uri(n), &self.found[n]);
        let socket = Socket::begin(*address, uri, self.trust)?;
        let client = Client::over(socket, FRAME_MIN);
        Ok((client, Handshake::new(uri, FRAME_MIN)))
    }
}

/// What is still to be done, and what has been.
struct Rounds {
    begun: u64,
    count: u64,
    until: Option<Instant>,
    done: Done,
}

impl Rounds {
    fn new(options: &Churn) -> Self {
        let limit = Duration::from_secs_f64(options.seconds.max(0.0));
        Self {
            begun: 0,
            count: options.count.unwrap_or(u64::MAX),
            until: options.count.is_none().then(|| Instant::now() + limit),
            done: Done::start(),
        }
    }

    /// The number of a round that may begin now.
    fn next(&mut self) -> Option<u64> {
        let is_over = self.until.is_some_and(|until| Instant::now() >= until);
        let n = self.begun;
        (n < self.count && !is_over).then(|| {
            self.begun += 1;
            n
        })
    }
}

/// One round under way: something is opened and closed.
struct Place<'a> {
    what: What,
    n: u64,
    started: Instant,
    client: Client,
    /// Until the connection is open.
    handshake: Option<Handshake<'a>>,
    /// How many questions have been asked.
    asked: u8,
    /// What is still to be written.
    out: Vec<u8>,
}

impl<'a> Place<'a> {
    /// Without a connection that stays, the round has its own.
    fn begin(
        what: What,
        n: u64,
        kept: Option<Client>,
        brokers: &Brokers<'a>,
    ) -> Result<Self, Error> {
        let started = Instant::now();
        let (client, handshake) = match kept {
            Some(client) => (client, None),
            None => {
                let (client, handshake) = brokers.begin(n)?;
                (client, Some(handshake))
            }
        };
        let mut place = Self {
            what,
            n,
            started,
            client,
            handshake,
            asked: 0,
            out: Vec::new(),
        };
        if place.handshake.is_some() {
            place.out.extend_from_slice(&AMQP_0_9_1);
        } else {
            ask(what, n, 0, &mut place.out);
            place.asked = 1;
        }
        place.speak()?;
        Ok(place)
    }

    /// The connection, if it is not what came and went.
    fn kept(self) -> Option<Client> {
        (self.what != What::Connection).then_some(self.client)
    }

    /// What it waits for.
    fn polled(&self) -> PollFd<'_> {
        let socket = &self.client.socket;
        let mut flags = PollFlags::IN;
        flags.set(PollFlags::OUT, socket.waits_for_room(&self.out));
        PollFd::new(socket.tcp(), flags)
    }

    /// Hears what there is and answers it. `true`: the round is over.
    fn turn(&mut self) -> Result<bool, Error> {
        let mut is_over = false;
        self.client.inbox.fill(&mut self.client.socket)?;
        while let Some(frame) = self.client.inbox.frame()? {
            if frame.kind != FrameType::Method {
                continue;
            }
            let is_next = match (&mut self.handshake, Method::decode(frame.payload)?) {
                (_, Method::ConnectionBlocked(_) | Method::ConnectionUnblocked(_)) => false,
                (Some(handshake), method) => handshake.answer(&method, &mut self.out)?,
                (None, method) => no_refusal(method).map(|()| true)?,
            };
            if is_next {
                self.handshake = None;
                is_over = !ask(self.what, self.n, self.asked, &mut self.out);
                self.asked += 1;
            }
        }
        self.speak()?;
        Ok(is_over)
    }

    /// Writes what the socket takes.
    fn speak(&mut self) -> Result<(), Error> {
        if !self.out.is_empty() || self.client.socket.holds_octets() {
            let written = write(&mut self.client, &self.out)?;
            self.out.drain(..written);
        }
        Ok(())
    }
}

/// Puts the question behind `asked` others of the n-th round into `out`. `false`: there is none.
fn ask(what: What, n: u64, asked: u8, out: &mut Vec<u8>) -> bool {
    let queue = &*format!("leveret-perf-churn-{n}");
    let exclusive = what == What::ExclusiveQueue;
    let (channel, method) = match (what, asked) {
        (What::Connection, 0) => (CHANNEL, ChannelOpen {}.into()),
        (What::Connection, 1) => (0, ConnectionClose::default().into()),
        (What::Channel, 0) => (CHANNEL + 1, ChannelOpen {}.into()),
        (What::Channel, 1) => (CHANNEL + 1, ChannelClose::default().into()),
        (What::Queue | What::ExclusiveQueue, 0) => {
            let declare = QueueDeclare {
                queue,
                durable: !exclusive,
                exclusive,
                ..Default::default()
            };
            (CHANNEL, Method::from(declare))
        }
        (What::Queue | What::ExclusiveQueue, 1) => {
            let delete = QueueDelete {
                queue,
                ..Default::default()
            };
            (CHANNEL, delete.into())
        }
        _ => return false,
    };
    method.encode(channel, out);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked in the fifth round, one after the other.
    fn check(what: What, expected: &[&str]) {
        let mut out = Vec::new();
        let mut asked = 0;
        let mut names = Vec::new();
        while ask(what, 5, asked, &mut out) {
            let frame = leveret_amqp091::frame::next(&out, 8192).unwrap().unwrap();
            let method = Method::decode(frame.payload).unwrap();
            names.push(format!("{} {}", frame.channel, method.name()));
            out.clear();
            asked += 1;
        }
        assert_eq!(names, expected);
    }

    #[test]
    fn what_is_opened_is_closed() {
        check(What::Connection, &["1 channel.open", "0 connection.close"]);
        check(What::Channel, &["2 channel.open", "2 channel.close"]);
        for what in [What::Queue, What::ExclusiveQueue] {
            check(what, &["1 queue.declare", "1 queue.delete"]);
        }
    }
}
