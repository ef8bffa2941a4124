//! One thread of a run: publishers and consumers that take turns, and a poll between the rounds.
//!
//! `poll(2)` and not epoll: it costs a few nanoseconds a connection, wakes to the nanosecond, and is on every system.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::client::Client;
use crate::clock::Clock;
use crate::consumer::Consumer;
use crate::counting::{Counts, Shared};
use crate::error::Error;
use crate::publisher::Publisher;

/// How long a thread sleeps at most before it looks at the phase.
const NAP_NS: u64 = 5_000_000;
/// The same for a publisher that waits for deliveries to another thread, which does not wake this one.
const GATE_NS: u64 = 20_000;

/// What the threads of a run have in common.
pub(crate) struct Common {
    pub(crate) clock: Clock,
    pub(crate) start: u64,
    pub(crate) phase: AtomicU8,
    /// Of each thread.
    pub(crate) shared: Vec<Shared>,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) busy_poll: bool,
}

/// The run's phases, in order.
pub(crate) mod phase {
    pub(crate) const RUN: u8 = 0;
    /// Publishers finish, consumers go on.
    pub(crate) const STOP_PUBLISHING: u8 = 1;
    pub(crate) const STOP: u8 = 2;
}

/// The bound of messages on their way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlight {
    pub(crate) max: u64,
    /// Deliveries of one publish.
    pub(crate) copies: u64,
}

impl InFlight {
    /// How many more may be published.
    fn room(&self, counts: &Counts) -> u64 {
        let under_way = (counts.published * self.copies).saturating_sub(counts.received);
        self.max.saturating_sub(under_way).div_ceil(self.copies)
    }
}

/// What a publisher or consumer needs to know in its turn.
pub(crate) struct Turn<'a> {
    pub(crate) now: u64,
    /// No publish before that.
    pub(crate) start: u64,
    pub(crate) shared: &'a Shared,
    /// How many messages the bound of those in flight lets through.
    pub(crate) room: u64,
    pub(crate) stop_publishing: bool,
    pub(crate) stop: bool,
}

/// What it waits for after its turn, besides something to read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) write: bool,
    /// Not even for something to read.
    pub(crate) deaf: bool,
    /// A time to come again.
    pub(crate) at: Option<u64>,
}

pub(crate) enum Role {
    Publisher(Publisher),
    Consumer(Consumer),
}

pub(crate) struct Part {
    pub(crate) client: Client,
    pub(crate) role: Role,
}

impl Part {
    fn turn(&mut self, readable: bool, turn: &mut Turn<'_>) -> Result<Wish, Error> {
        match &mut self.role {
            Role::Publisher(publisher) => publisher.turn(&mut self.client, readable, turn),
            Role::Consumer(consumer) => consumer.turn(&mut self.client, readable, turn),
        }
    }

    fn is_done(&self) -> bool {
        match &self.role {
            Role::Publisher(publisher) => publisher.is_done(),
            Role::Consumer(consumer) => consumer.is_done(),
        }
    }
}

/// Lets the parts take turns until all are done. Consumers should come first: what they take makes room for publishers.
pub(crate) fn work(mut parts: Vec<Part>, common: &Common, index: usize) -> Result<(), Error> {
    wake_on_time();
    let sockets = parts
        .iter()
        .map(|part| part.client.socket.stop_blocking())
        .collect::<Result<Vec<Arc<TcpStream>>, _>>()?;
    // The first turn looks at what set-up has left in the inboxes.
    let mut polled: Vec<PollFd<'_>> = sockets
        .iter()
        .map(|socket| PollFd::new(socket, PollFlags::IN))
        .collect();
    let mut first = true;
    while !parts.iter().all(Part::is_done) {
        let mut turn = begin(common, index);
        let mut wake_at = turn.now + NAP_NS;
        for ((part, socket), polled) in parts.iter_mut().zip(&sockets).zip(&mut polled) {
            let mut flags = PollFlags::empty();
            if !part.is_done() {
                let readable = first || polled.revents().intersects(!PollFlags::OUT);
                let wish = part.turn(readable, &mut turn)?;
                flags.set(PollFlags::IN, !wish.deaf && !part.is_done());
                flags.set(PollFlags::OUT, wish.write);
                wake_at = wake_at.min(wish.at.unwrap_or(u64::MAX));
            }
            *polled = PollFd::new(socket, flags);
        }
        first = false;
        if turn.room == 0 && common.shared.len() > 1 {
            wake_at = wake_at.min(turn.now + GATE_NS);
        }
        let wait = match common.busy_poll {
            true => 0,
            false => wake_at.saturating_sub(common.clock.now()),
        };
        wait_for(&mut polled, wait)?;
    }
    Ok(())
}

fn begin<'a>(common: &'a Common, index: usize) -> Turn<'a> {
    let phase = common.phase.load(Ordering::Relaxed);
    let room = |in_flight: InFlight| in_flight.room(&Counts::of(&common.shared));
    Turn {
        now: common.clock.now(),
        start: common.start,
        shared: &common.shared[index],
        room: common.in_flight.map_or(u64::MAX, room),
        stop_publishing: phase >= phase::STOP_PUBLISHING,
        stop: phase >= phase::STOP,
    }
}

fn wait_for(polled: &mut [PollFd<'_>], wait_ns: u64) -> Result<(), Error> {
    let timeout = Timespec {
        tv_sec: 0,
        // At most `NAP_NS`.
        tv_nsec: wait_ns as _,
    };
    match poll(polled, Some(&timeout)) {
        Err(rustix::io::Errno::INTR) => Ok(()),
        polled => Ok(polled.map(|_| ()).map_err(std::io::Error::from)?),
    }
}

/// Linux wakes threads up to 50 µs late, to wake several at once. A publisher with a rate can't use that.
fn wake_on_time() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_has_a_bound() {
        let check = |copies, published, received, expected| {
            let counts = Counts {
                published,
                received,
                ..Default::default()
            };
            let room = InFlight { max: 100, copies }.room(&counts);
            assert_eq!(room, expected, "{copies} {published} {received}");
        };
        check(1, 0, 0, 100);
        check(1, 150, 60, 10);
        check(1, 160, 60, 0);
        check(1, 10, 60, 100);
        check(10, 10, 0, 0);
        check(10, 10, 1, 1);
    }
}
