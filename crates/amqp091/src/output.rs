//! Encoded frames on their way to the socket.
//!
//! Small things are copied into one buffer. Large bodies stay where they are and are written from there. A *barrier* holds
//! back everything behind it until the log is durable up to some point: the reply to a durable declaration, and whatever
//! follows it, must not be seen before the definition is on disk.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;

use leveret_broker::Lsn;
use leveret_broker::message::Message;

/// Bodies from this size on are not copied.
const LARGE_BYTES: usize = 8 * 1024;

/// A buffer that has grown to no more than this stays with its connection.
const KEEP: usize = 4 * 1024;
/// One that has grown to more than this is of no use to others.
const SPARE_MAX: usize = 512 * 1024;

thread_local! {
    /// A buffer that some connection needed no more, for the next that has much to write: it need not grow again.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Output {
    buffer: Vec<u8>,
    /// Octets of the buffer that have been written.
    sent: usize,
    large: VecDeque<Large>,
    /// Octets of large bodies not yet written.
    large_bytes: usize,
    barriers: VecDeque<Barrier>,
    /// Octets written so far.
    total: u64,
    /// How many writes those took.
    writes: u64,
}

/// A piece of a body that goes out when the buffer has been written up to `at`.
#[derive(Debug)]
struct Large {
    at: usize,
    message: Message,
    from: usize,
    until: usize,
}

#[derive(Debug)]
struct Barrier {
    at: usize,
    /// Large pieces in front of it.
    large: usize,
    durable_at: Lsn,
}

impl Output {
    /// Where small frames are appended.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Gets ready for much.
    pub(crate) fn prepare(&mut self) {
        if self.buffer.is_empty() {
            SPARE.with_borrow_mut(|spare| {
                if spare.capacity() > self.buffer.capacity() {
                    mem::swap(spare, &mut self.buffer);
                }
            });
        }
    }

    /// Appends a piece of the message's body.
    #[inline]
    pub(crate) fn put_body_piece(&mut self, message: &Message, from: usize, until: usize) {
        if until - from < LARGE_BYTES {
            self.buffer.extend_from_slice(&message.body()[from..until]);
            return;
        }
        self.large_bytes += until - from;
        let at = self.buffer.len();
        self.large.push_back(Large {
            at,
            message: message.clone(),
            from,
            until,
        });
    }

    /// Holds back what is appended from now on until the log is durable up to `durable_at`.
    pub(crate) fn hold_until(&mut self, durable_at: Lsn) {
        let (at, large) = (self.buffer.len(), self.large.len());
        self.barriers.push_back(Barrier {
            at,
            large,
            durable_at,
        });
    }

    /// The log is durable up to here.
    pub(crate) fn release(&mut self, durable: Lsn) {
        while self
            .barriers
            .front()
            .is_some_and(|barrier| barrier.durable_at <= durable)
        {
            self.barriers.pop_front();
        }
    }

    /// Whether something waits for the log.
    pub(crate) fn is_held(&self) -> bool {
        !self.barriers.is_empty()
    }

    /// Octets not yet written, held back or not.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.sent + self.large_bytes
    }

    /// Octets written in the life of the connection.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Writes in the life of the connection.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// Fills `slices` with what may be written now, in order; gives how many slices were filled. 0: nothing to write.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (end, large) = match self.barriers.front() {
            Some(barrier) => (barrier.at, barrier.large),
            None => (self.buffer.len(), self.large.len()),
        };
        let mut at = self.sent;
        let mut filled = 0;
        let mut put = |bytes: &'a [u8]| {
            if !bytes.is_empty() && filled < slices.len() {
                slices[filled] = IoSlice::new(bytes);
                filled += 1;
            }
        };
        for piece in self.large.iter().take(large) {
            put(&self.buffer[at..piece.at]);
            put(&piece.message.body()[piece.from..piece.until]);
            at = piece.at;
        }
        put(&self.buffer[at..end.max(at)]);
        filled
    }

    /// The first `n` of these octets have been written.
    pub fn advance(&mut self, n: usize) {
        self.total += n as u64;
        self.writes += 1;
        let mut left = n;
        while let Some(piece) = self.large.front_mut() {
            let before = piece.at - self.sent;
            if left < before {
                break;
            }
            self.sent = piece.at;
            left -= before;
            let written = left.min(piece.until - piece.from);
            piece.from += written;
            left -= written;
            self.large_bytes -= written;
            if piece.from < piece.until {
                return;
            }
            self.large.pop_front();
            for barrier in &mut self.barriers {
                barrier.large -= 1;
            }
        }
        self.sent += left;
        self.reclaim();
    }

    /// Gives back the written part of the buffer, and all of it when the connection falls idle.
    fn reclaim(&mut self) {
        if self.sent == self.buffer.len() && self.large.is_empty() {
            self.buffer.clear();
            if self.buffer.capacity() > KEEP && self.barriers.is_empty() {
                self.give_back();
            }
        } else if self.sent > 256 * 1024 && self.sent > self.buffer.len() / 2 {
            self.buffer.drain(..self.sent);
            for piece in &mut self.large {
                piece.at -= self.sent;
            }
        } else {
            return;
        }
        for barrier in &mut self.barriers {
            barrier.at -= self.sent;
        }
        self.sent = 0;
    }

    /// Parts with a large buffer that is empty.
    fn give_back(&mut self) {
        SPARE.with_borrow_mut(|spare| {
            if (spare.capacity()..=SPARE_MAX).contains(&self.buffer.capacity()) {
                mem::swap(spare, &mut self.buffer);
            }
        });
        if self.buffer.capacity() > KEEP {
            self.buffer = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = output.slices(&mut slices);
        slices[..filled]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    #[test]
    fn large_bodies_keep_their_place_however_little_is_written_at_a_time() {
        let body: Vec<u8> = (0..LARGE_BYTES * 2).map(|n| (n % 251) as u8).collect();
        let message = Message::new(b"", b"", &[0, 0], &body);
        for step in [1, 7, LARGE_BYTES - 1, LARGE_BYTES * 3] {
            let mut output = Output::default();
            output.buffer().extend_from_slice(b"head");
            output.put_body_piece(&message, 0, LARGE_BYTES);
            output.buffer().extend_from_slice(b"middle");
            output.put_body_piece(&message, LARGE_BYTES, body.len());
            output.put_body_piece(&message, 0, 3);
            let expected = [
                b"head",
                &body[..LARGE_BYTES],
                b"middle",
                &body[LARGE_BYTES..],
                &body[..3],
            ]
            .concat();
            let mut seen = Vec::new();
            while output.pending() > 0 {
                let some = written(&output);
                let n = step.min(some.len());
                seen.extend_from_slice(&some[..n]);
                output.advance(n);
            }
            assert!(seen == expected, "in steps of {step}");
            assert_eq!(output.total(), expected.len() as u64);
        }
    }

    #[test]
    fn a_buffer_that_has_grown_goes_to_the_next_who_has_much_to_write() {
        let write = |output: &mut Output, octets: usize| {
            output.prepare();
            output.buffer().resize(octets, 0);
            let capacity = output.buffer.capacity();
            output.advance(octets);
            assert!(output.buffer.capacity() <= KEEP);
            capacity
        };
        let (mut one, mut another) = (Output::default(), Output::default());
        write(&mut one, KEEP / 2);
        write(&mut one, 25 * KEEP);
        assert!(write(&mut another, 1) >= 25 * KEEP);
        assert!(write(&mut one, 1) >= 25 * KEEP);
        // One that is too large is given up.
        write(&mut one, SPARE_MAX + 1);
        assert!(write(&mut another, 1) < SPARE_MAX);
    }

    #[test]
    fn nothing_behind_a_barrier_leaves_before_the_log_is_durable() {
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"before");
        output.hold_until(Lsn(7));
        output.buffer().extend_from_slice(b"after");
        output.hold_until(Lsn(9));
        output.buffer().extend_from_slice(b"last");
        assert_eq!(written(&output), b"before");
        output.advance(6);
        assert_eq!(written(&output), b"");
        output.release(Lsn(6));
        assert_eq!(written(&output), b"");
        output.release(Lsn(8));
        assert_eq!(written(&output), b"after");
        output.advance(5);
        assert_eq!(written(&output), b"");
        output.release(Lsn(9));
        assert_eq!(written(&output), b"last");
    }
}
