//! One publisher: what it may write now, and what the broker says to it.
//!
//! ```text
//! Publishing ──limit reached, or told to stop──► Settling ──all confirmed──► Closing ──close-ok──► Done
//! ```
//!
//! The answer to its close says that the broker has taken all of it, with confirms or without.

use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::sync::atomic::Ordering;

use leveret_amqp091::frame::FrameType;
use leveret_amqp091::method::{BasicAck, BasicNack, Method};

use crate::client::Client;
use crate::counting::{Recorder, add};
use crate::error::Error;
use crate::messages::{Ring, Stamp, put_channel_close};
use crate::worker::{Turn, Wish};

/// Messages of one turn, if few of them go into one write: to poll after every small write would cost more than the writes.
const SMALL_WRITES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Publishing,
    Settling,
    Closing,
    Done,
}

pub(crate) struct Publisher {
    ring: Ring,
    /// What of the ring the socket has not taken yet; nothing of it may be stamped again until then.
    unwritten: Range<usize>,
    stage: Stage,
    run: u16,
    id: u16,
    /// Messages published.
    published: u64,
    limit: u64,
    write_max: usize,
    writes_per_turn: usize,
    pace: Option<Pace>,
    window: Option<Window>,
    farewell: Vec<u8>,
}

/// When each message is due. It does not move when the broker is late: a message that had to wait counts from when it
/// should have left, or the worst times would be the ones that are not seen ("coordinated omission").
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) start: u64,
    pub(crate) interval_ns: f64,
    /// Messages leave at multiples of it; 1: when they are due.
    pub(crate) step_ns: u64,
}

impl Pace {
    /// When the message is due that has `before` ahead of it.
    #[inline]
    pub(crate) fn due(&self, before: u64) -> u64 {
        self.start + (before as f64 * self.interval_ns) as u64
    }

    /// When that message may leave.
    pub(crate) fn leaves(&self, before: u64) -> u64 {
        (self.due(before) + 1).next_multiple_of(self.step_ns)
    }

    /// How many messages may have left by now.
    #[inline]
    pub(crate) fn count(&self, now: u64) -> u64 {
        let now = now - now % self.step_ns;
        match now.checked_sub(self.start) {
            Some(passed) => (passed as f64 / self.interval_ns) as u64 + 1,
            None => 0,
        }
    }
}

/// Publishes that wait for their confirms.
pub(crate) struct Window {
    /// When the publish with delivery tag `t` left, at `t` modulo the length; 0 when it is settled.
    left_at: Box<[u64]>,
    /// The oldest publish that is not settled, and the next one's tag.
    oldest: u64,
    next: u64,
}

impl Window {
    pub(crate) fn new(size: u32) -> Self {
        Self {
            left_at: vec![0; size as usize].into_boxed_slice(),
            oldest: 1,
            next: 1,
        }
    }

    #[inline]
    fn room(&self) -> u64 {
        self.left_at.len() as u64 - (self.next - self.oldest)
    }

    #[inline]
    fn slot(&mut self, tag: u64) -> &mut u64 {
        let at = (tag % self.left_at.len() as u64) as usize;
        &mut self.left_at[at]
    }

    #[inline]
    fn left(&mut self, time: u64) {
        *self.slot(self.next) = time;
        self.next += 1;
    }

    /// Settles `tag`, and with `multiple` all before it; gives how many.
    fn settle(
        &mut self,
        tag: u64,
        multiple: bool,
        now: u64,
        times: &mut Recorder<'_>,
    ) -> Result<u64, Error> {
        if tag >= self.next {
            return Err(Error::Nonsense(format!(
                "a confirm of {tag}, which was not published"
            )));
        }
        let mut settled = 0;
        let first = if multiple { self.oldest } else { tag };
        for tag in first.max(self.oldest)..=tag {
            let left_at = std::mem::take(self.slot(tag));
            if left_at != 0 {
                times.record(now.saturating_sub(left_at));
                settled += 1;
            }
        }
        while self.oldest < self.next && *self.slot(self.oldest) == 0 {
            self.oldest += 1;
        }
        Ok(settled)
    }
}

/// What makes a publisher.
pub(crate) struct Plan {
    pub(crate) run: u16,
    pub(crate) id: u16,
    pub(crate) limit: u64,
    pub(crate) write_max: usize,
    pub(crate) pace: Option<Pace>,
    pub(crate) window: Option<Window>,
}

impl Publisher {
    pub(crate) fn new(plan: Plan, ring: Ring) -> Self {
        Self {
            ring,
            unwritten: 0..0,
            stage: Stage::Publishing,
            run: plan.run,
            id: plan.id,
            published: 0,
            limit: plan.limit,
            write_max: plan.write_max,
            writes_per_turn: SMALL_WRITES.div_ceil(plan.write_max),
            pace: plan.pace,
            window: plan.window,
            farewell: Vec::new(),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Reads what there is, and writes what may be written.
    pub(crate) fn turn(
        &mut self,
        client: &mut Client,
        readable: bool,
        turn: &mut Turn<'_>,
    ) -> Result<Wish, Error> {
        if readable && client.inbox.fill(&mut client.socket)? {
            self.read(client, turn)?;
        }
        let mut wish = Wish::default();
        for _ in 0..self.writes_per_turn {
            wish = self.advance(client, turn)?;
            if wish != Wish::default() || self.stage != Stage::Publishing || self.must_wait(turn) {
                break;
            }
        }
        // As long as it could go on at once, the socket alone decides when.
        wish.write |= self.stage == Stage::Publishing && wish.at.is_none() && !self.must_wait(turn);
        Ok(wish)
    }

    /// Writes once what may be written.
    fn advance(&mut self, client: &mut Client, turn: &mut Turn<'_>) -> Result<Wish, Error> {
        let mut wish = Wish::default();
        if self.stage == Stage::Publishing {
            if self.unwritten.is_empty() {
                wish.at = self.prepare(turn);
            }
            if self.published == self.limit || turn.stop_publishing {
                self.stage = Stage::Settling;
            }
        }
        if self.stage == Stage::Settling && self.is_settled() {
            put_channel_close(&mut self.farewell);
            self.stage = Stage::Closing;
        }
        wish.write = self.write(client)?;
        Ok(wish)
    }

    fn is_settled(&self) -> bool {
        let settled = |window: &Window| window.oldest == window.next;
        self.unwritten.is_empty() && self.window.as_ref().is_none_or(settled)
    }

    /// Whether only a confirm or a delivery can let it go on.
    fn must_wait(&self, turn: &Turn<'_>) -> bool {
        turn.room == 0
            || self
                .window
                .as_ref()
                .is_some_and(|window| window.room() == 0)
    }

    /// Stamps the messages of the next write. Gives the time to come again, if it is known.
    fn prepare(&mut self, turn: &mut Turn<'_>) -> Option<u64> {
        let window = self.window.as_ref().map_or(u64::MAX, Window::room);
        let mut count = window
            .min(turn.room)
            .min(self.limit - self.published)
            .min(self.write_max as u64);
        if turn.now < turn.start {
            return Some(turn.start);
        }
        let (pace, now) = (self.pace, turn.now);
        if let Some(pace) = &pace {
            let due = pace.count(now).saturating_sub(self.published);
            if due == 0 {
                return Some(pace.leaves(self.published));
            }
            count = count.min(due);
        }
        if count == 0 {
            return None;
        }
        let published = self.published;
        let (run, publisher) = (self.run, self.id);
        let window = &mut self.window;
        let (stamped, range) = self.ring.stamp(count as usize, |n| {
            let before = published + n as u64;
            let time = pace.map_or(now, |pace| pace.due(before));
            Stamp {
                time,
                run,
                publisher,
                sequence: before as u32 + 1,
            }
        });
        if let Some(window) = window {
            for before in published..published + stamped as u64 {
                window.left(pace.map_or(now, |pace| pace.due(before)));
            }
        }
        self.unwritten = range;
        self.published += stamped as u64;
        turn.room -= stamped as u64;
        add(&turn.shared.counters.published, stamped as u64);
        match pace {
            Some(pace) if !self.must_wait(turn) => Some(pace.leaves(self.published)),
            _ => None,
        }
    }

    /// Gives whether there is more to write.
    fn write(&mut self, client: &mut Client) -> Result<bool, Error> {
        if !self.unwritten.is_empty() {
            let written = write(client, self.ring.octets(self.unwritten.clone()))?;
            self.unwritten.start += written;
        } else if !self.farewell.is_empty() {
            let written = write(client, &self.farewell)?;
            self.farewell.drain(..written);
        } else if client.socket.holds_octets() {
            write(client, &[])?;
        }
        Ok(!self.unwritten.is_empty() || !self.farewell.is_empty() || client.socket.holds_octets())
    }

    fn read(&mut self, client: &mut Client, turn: &Turn<'_>) -> Result<(), Error> {
        let counters = &turn.shared.counters;
        let mut latencies = turn.shared.latencies();
        let mut times = Recorder::new(&mut latencies.confirm);
        while let Some(frame) = client.inbox.frame()? {
            // What follows a `basic.return` is the message that came back.
            if frame.kind != FrameType::Method {
                continue;
            }
            match Method::decode(frame.payload)? {
                Method::BasicAck(BasicAck {
                    delivery_tag,
                    multiple,
                }) => {
                    let settled = self.settle(delivery_tag, multiple, turn.now, &mut times)?;
                    add(&counters.confirmed, settled);
                }
                Method::BasicNack(BasicNack {
                    delivery_tag,
                    multiple,
                    ..
                }) => {
                    let settled = self.settle(delivery_tag, multiple, turn.now, &mut times)?;
                    add(&counters.nacked, settled);
                }
                Method::BasicReturn(_) => add(&counters.returned, 1),
                Method::ConnectionBlocked(_) => add(&counters.blocked, 1),
                Method::ConnectionUnblocked(_) => {}
                Method::ChannelCloseOk(_) if self.stage == Stage::Closing => {
                    self.stage = Stage::Done;
                    counters
                        .last_published_at
                        .store(turn.now, Ordering::Relaxed);
                    add(&counters.publishers_done, 1);
                }
                other => return Err(Error::unexpected(&other)),
            }
        }
        Ok(())
    }

    fn settle(
        &mut self,
        tag: u64,
        multiple: bool,
        now: u64,
        times: &mut Recorder<'_>,
    ) -> Result<u64, Error> {
        match &mut self.window {
            Some(window) => window.settle(tag, multiple, now, times),
            None => Err(Error::Nonsense(
                "a confirm that was not asked for".to_owned(),
            )),
        }
    }
}

/// Writes what the socket takes.
#[inline]
pub(crate) fn write(client: &mut Client, octets: &[u8]) -> io::Result<usize> {
    let written = if octets.is_empty() {
        client.socket.flush().map(|()| 0)
    } else {
        client.socket.write(octets)
    };
    match written {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(0)
        }
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::times;

    /// Settles one after the other; checks how many each time, and the oldest that is left.
    fn check(settlements: &[(u64, bool, u64, u64)]) {
        let mut window = Window::new(4);
        (1..=4).for_each(|time| window.left(time));
        let mut times = times();
        for &(tag, multiple, settled, oldest) in settlements {
            let mut recorder = Recorder::new(&mut times);
            let found = window.settle(tag, multiple, 10, &mut recorder).unwrap();
            assert_eq!(
                (found, window.oldest),
                (settled, oldest),
                "{tag} {multiple}"
            );
        }
        let all: u64 = settlements.iter().map(|settlement| settlement.2).sum();
        assert_eq!(times.len(), all);
    }

    #[test]
    fn confirms_come_in_any_order() {
        check(&[(4, true, 4, 5)]);
        check(&[(2, false, 1, 1), (1, false, 1, 3), (4, true, 2, 5)]);
        check(&[(3, false, 1, 1), (4, true, 3, 5), (4, true, 0, 5)]);
        check(&[(1, false, 1, 2), (1, false, 0, 2)]);
    }

    #[test]
    fn a_window_slides_past_what_is_settled() {
        let mut window = Window::new(2);
        let mut times = times();
        for tag in 1..100 {
            window.left(tag);
            let mut recorder = Recorder::new(&mut times);
            assert_eq!(
                window
                    .settle(tag, tag % 2 == 0, 100, &mut recorder)
                    .unwrap(),
                1
            );
            assert_eq!(window.room(), 2);
        }
        let mut recorder = Recorder::new(&mut times);
        assert!(window.settle(100, false, 100, &mut recorder).is_err());
    }

    #[test]
    fn a_late_message_is_due_when_it_was_due() {
        let pace = Pace {
            start: 1000,
            interval_ns: 2.5,
            step_ns: 1,
        };
        assert_eq!(
            (pace.count(999), pace.count(1000), pace.count(1005)),
            (0, 1, 3)
        );
        assert_eq!((pace.due(0), pace.due(1), pace.due(4)), (1000, 1002, 1010));
        for before in 0..1000 {
            assert!(pace.count(pace.leaves(before)) > before);
            assert!(pace.leaves(before) <= pace.due(before) + 1);
        }
    }

    #[test]
    fn quick_messages_leave_in_steps() {
        let pace = Pace {
            start: 49_000,
            interval_ns: 2.5,
            step_ns: 50_000,
        };
        assert_eq!((pace.count(49_999), pace.count(50_000)), (0, 401));
        assert_eq!(pace.count(99_999), 401);
        assert_eq!((pace.leaves(0), pace.leaves(401)), (50_000, 100_000));
        for before in 0..100_000 {
            let leaves = pace.leaves(before);
            assert!(pace.count(leaves) > before, "never in vain: {before}");
            assert!(leaves <= pace.due(before) + pace.step_ns);
        }
    }
}
