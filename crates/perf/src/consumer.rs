//! One consumer: reads deliveries where they lie, checks them, acknowledges.
//!
//! ```text
//! Consuming ──limit reached, or told to stop──► Closing ──close-ok──► Done
//! ```

use std::sync::atomic::Ordering;

use leveret_amqp091::content;
use leveret_amqp091::content_header::ContentHeader;
use leveret_amqp091::frame::{Frame, FrameType};
use leveret_amqp091::method::Method;

use crate::client::{CHANNEL, Client};
use crate::counting::{Recorder, add};
use crate::error::Error;
use crate::messages::{Stamp, deliver, put_channel_close};
use crate::publisher::{Pace, write};
use crate::worker::{Turn, Wish};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Consuming,
    Closing,
    Done,
}

/// What makes a consumer.
pub(crate) struct Plan {
    pub(crate) run: u16,
    pub(crate) publishers: u16,
    /// Whether the messages of one publisher come in their order.
    pub(crate) ordered: bool,
    pub(crate) limit: u64,
    /// Deliveries for one acknowledgement; `None` when the broker takes them for acknowledged.
    pub(crate) ack_every: Option<u32>,
    pub(crate) pace: Option<Pace>,
}

pub(crate) struct Consumer {
    plan: Plan,
    stage: Stage,
    received: u64,
    /// The message that is being read.
    arriving: Arriving,
    /// Deliveries behind the last acknowledgement.
    unacknowledged: u32,
    /// The last sequence number of each publisher.
    last: Box<[u32]>,
    out: Vec<u8>,
}

#[derive(Default)]
struct Arriving {
    delivery_tag: u64,
    redelivered: bool,
    /// The body has not begun.
    fresh: bool,
    /// Octets of body to come.
    left: u64,
}

/// What one read brought, added to the counters once.
#[derive(Default)]
struct Tally {
    received: u64,
    octets: u64,
    redelivered: u64,
    out_of_order: u64,
}

impl Consumer {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            stage: Stage::Consuming,
            received: 0,
            arriving: Arriving::default(),
            unacknowledged: 0,
            last: vec![0; usize::from(plan.publishers)].into_boxed_slice(),
            out: Vec::new(),
            plan,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Reads once, looks at what it may look at, and writes what came of it.
    pub(crate) fn turn(
        &mut self,
        client: &mut Client,
        readable: bool,
        turn: &mut Turn<'_>,
    ) -> Result<Wish, Error> {
        let mut wish = Wish::default();
        let allowed = self.allowed(turn.now);
        if allowed > 0 {
            if readable {
                client.inbox.fill(&mut client.socket)?;
            }
            // With a rate there may be something left from an earlier read.
            if readable || self.plan.pace.is_some() {
                self.read(client, turn, allowed)?;
            }
        }
        if let Some(pace) = &self.plan.pace
            && self.stage == Stage::Consuming
            && self.allowed(turn.now) == 0
        {
            wish.at = Some(pace.leaves(self.received));
            wish.deaf = true;
        }
        if self.stage == Stage::Consuming && (self.received >= self.plan.limit || turn.stop) {
            self.finish(turn);
        }
        if !self.out.is_empty() || client.socket.holds_octets() {
            let written = write(client, &self.out)?;
            self.out.drain(..written);
        }
        wish.write = !self.out.is_empty() || client.socket.holds_octets();
        Ok(wish)
    }

    fn allowed(&self, now: u64) -> u64 {
        match (&self.plan.pace, self.stage) {
            (Some(pace), Stage::Consuming) => pace.count(now).saturating_sub(self.received),
            _ => u64::MAX,
        }
    }

    fn finish(&mut self, turn: &Turn<'_>) {
        self.acknowledge();
        put_channel_close(&mut self.out);
        self.stage = Stage::Closing;
        if self.received >= self.plan.limit {
            add(&turn.shared.counters.consumers_done, 1);
        }
    }

    fn read(&mut self, client: &mut Client, turn: &Turn<'_>, allowed: u64) -> Result<(), Error> {
        let mut tally = Tally::default();
        let mut latencies = turn.shared.latencies();
        let mut times = Recorder::new(&mut latencies.delivery);
        let until = self.received.saturating_add(allowed).min(self.plan.limit);
        while self.received < until || self.stage != Stage::Consuming {
            let Some(frame) = client.inbox.frame()? else {
                break;
            };
            self.take(&frame, turn.now, &mut tally, &mut times)?;
        }
        let counters = &turn.shared.counters;
        if tally.received > 0 {
            add(&counters.received, tally.received);
            add(&counters.received_octets, tally.octets);
            add(&counters.redelivered, tally.redelivered);
            add(&counters.out_of_order, tally.out_of_order);
            counters.last_received_at.store(turn.now, Ordering::Relaxed);
        }
        Ok(())
    }

    #[inline]
    fn take(
        &mut self,
        frame: &Frame<'_>,
        now: u64,
        tally: &mut Tally,
        times: &mut Recorder<'_>,
    ) -> Result<(), Error> {
        match frame.kind {
            FrameType::Body => {
                let arriving = &mut self.arriving;
                if std::mem::take(&mut arriving.fresh)
                    && let Some(stamp) = Stamp::read(frame.payload)
                {
                    self.judge(stamp, now, tally, times);
                }
                let size = frame.payload.len() as u64;
                let Some(left) = self.arriving.left.checked_sub(size) else {
                    return Err(Error::Nonsense("more body than announced".to_owned()));
                };
                self.arriving.left = left;
                tally.octets += size;
                if left == 0 {
                    self.arrived(tally);
                }
            }
            FrameType::Header => {
                let header = ContentHeader::decode(frame.payload)
                    .map_err(|error| Error::Nonsense(error.to_string()))?;
                self.arriving.left = header.body_size;
                if header.body_size == 0 {
                    self.arrived(tally);
                }
            }
            FrameType::Method => match deliver(frame) {
                Some((delivery_tag, redelivered)) => {
                    self.arriving = Arriving {
                        delivery_tag,
                        redelivered,
                        fresh: true,
                        left: 0,
                    };
                }
                None => self.method(&Method::decode(frame.payload)?)?,
            },
            FrameType::Heartbeat => {}
        }
        Ok(())
    }

    fn method(&mut self, method: &Method<'_>) -> Result<(), Error> {
        match method {
            Method::ChannelCloseOk(_) if self.stage == Stage::Closing => self.stage = Stage::Done,
            Method::ConnectionBlocked(_) | Method::ConnectionUnblocked(_) => {}
            other => return Err(Error::unexpected(other)),
        }
        Ok(())
    }

    /// Records how long a message took, and whether its publisher's messages keep their order.
    #[inline]
    fn judge(&mut self, stamp: Stamp, now: u64, tally: &mut Tally, times: &mut Recorder<'_>) {
        times.record(now.saturating_sub(stamp.time));
        if stamp.run != self.plan.run || !self.plan.ordered || self.arriving.redelivered {
            return;
        }
        if let Some(last) = self.last.get_mut(usize::from(stamp.publisher)) {
            // The numbers wrap around.
            if stamp.sequence.wrapping_sub(*last) as i32 <= 0 {
                tally.out_of_order += 1;
            }
            *last = stamp.sequence;
        }
    }

    #[inline]
    fn arrived(&mut self, tally: &mut Tally) {
        if self.stage != Stage::Consuming {
            return;
        }
        self.received += 1;
        tally.received += 1;
        tally.redelivered += u64::from(self.arriving.redelivered);
        if let Some(ack_every) = self.plan.ack_every {
            self.unacknowledged += 1;
            if self.unacknowledged >= ack_every {
                self.acknowledge();
            }
        }
    }

    fn acknowledge(&mut self) {
        if self.unacknowledged > 0 {
            let multiple = self.unacknowledged > 1;
            content::put_ack(&mut self.out, CHANNEL, self.arriving.delivery_tag, multiple);
            self.unacknowledged = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::times;
    use leveret_amqp091::content::{Delivery, put_body, put_content_header, put_deliver_head};
    use leveret_amqp091::frame;
    use leveret_amqp091::method::BasicAck;

    fn delivery(tag: u64, sequence: u32, redelivered: bool, size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        put_deliver_head(
            &mut out,
            &Delivery {
                channel: CHANNEL,
                consumer_tag: "c",
                delivery_tag: tag,
                redelivered,
                address: b"\0\x01q",
                properties: &[0, 0],
                body_size: size,
            },
        );
        let mut body = vec![0; size];
        let identity = (7 << 48) | u64::from(sequence);
        if let Some((time, rest)) = body.split_at_mut_checked(8) {
            time.copy_from_slice(&100_u64.to_be_bytes());
            if let Some(place) = rest.get_mut(..8) {
                place.copy_from_slice(&identity.to_be_bytes());
            }
        }
        put_body(&mut out, CHANNEL, &body, 4096);
        out
    }

    fn consumer(ack_every: Option<u32>) -> Consumer {
        Consumer::new(Plan {
            run: 7,
            publishers: 1,
            ordered: true,
            limit: u64::MAX,
            ack_every,
            pace: None,
        })
    }

    /// Lets the consumer take all frames at time 150.
    fn take(consumer: &mut Consumer, mut octets: &[u8]) -> Result<(Tally, u64), Error> {
        let mut tally = Tally::default();
        let mut times = times();
        let mut recorder = Recorder::new(&mut times);
        while let Some(frame) = frame::next(octets, 0).unwrap() {
            consumer.take(&frame, 150, &mut tally, &mut recorder)?;
            octets = &octets[frame.total_len()..];
        }
        drop(recorder);
        assert_eq!(times.count_at(50), times.len());
        Ok((tally, times.len()))
    }

    #[test]
    fn messages_of_any_size_are_counted() {
        for (size, stamped) in [(0, 0), (15, 0), (16, 1), (4088, 1), (4089, 1), (100_000, 1)] {
            let (tally, times) = take(&mut consumer(None), &delivery(1, 1, false, size)).unwrap();
            assert_eq!((tally.received, tally.octets), (1, size as u64));
            assert_eq!(times, stamped, "{size}");
        }
    }

    #[test]
    fn order_is_watched() {
        let check = |sequences: &[(u32, bool)], wrong| {
            let mut consumer = consumer(None);
            let octets: Vec<u8> = sequences
                .iter()
                .flat_map(|&(sequence, again)| delivery(1, sequence, again, 16))
                .collect();
            let (tally, _) = take(&mut consumer, &octets).unwrap();
            assert_eq!(tally.out_of_order, wrong, "{sequences:?}");
        };
        check(&[(1, false), (2, false), (5, false)], 0);
        check(&[(2, false), (1, false)], 1);
        check(&[(1, false), (1, false)], 1);
        check(&[(2, false), (1, true), (3, false)], 0);
    }

    #[test]
    fn acknowledgements_are_batched() {
        let mut consumer = consumer(Some(3));
        let octets: Vec<u8> = (1..=7)
            .flat_map(|tag| delivery(tag, tag as u32, false, 16))
            .collect();
        take(&mut consumer, &octets).unwrap();
        consumer.acknowledge();
        let mut rest = &consumer.out[..];
        let mut found = Vec::new();
        while let Some(frame) = frame::next(rest, 0).unwrap() {
            rest = &rest[frame.total_len()..];
            if let Method::BasicAck(BasicAck {
                delivery_tag,
                multiple,
            }) = Method::decode(frame.payload).unwrap()
            {
                found.push((delivery_tag, multiple));
            }
        }
        assert_eq!(found, [(3, true), (6, true), (7, false)]);
    }

    #[test]
    fn more_body_than_announced_is_refused() {
        let mut out = Vec::new();
        put_content_header(&mut out, CHANNEL, &[0, 0], 3);
        put_body(&mut out, CHANNEL, b"four", 4096);
        assert!(take(&mut consumer(None), &out).is_err());
    }
}
