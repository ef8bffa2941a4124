//! A moment's rest for a thread that is woken for every single message.
//!
//! Most clients write each message by itself. A thread that has nothing else to do sleeps in between, so that each of these
//! writes wakes it: that costs the client 3 µs instead of one, and the broker as much again for one message. While they
//! come so quickly that there must be a stream of them, the thread stays away for [`LULL`] before it looks, and then finds
//! many in one read. Measured with one such publisher: a quarter of the broker's CPU per message, three times the rate.
//!
//! It never holds up anybody who waits for an answer: a round trip takes longer than [`QUICK`].

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread stays away.
const LULL: Duration = Duration::from_micros(50);
/// Reads that follow one another more quickly are of a client that does not wait for answers.
const QUICK: Duration = Duration::from_micros(10);
/// What a single message or a few of them take; more in one read is as it should be.
const SMALL_BYTES: usize = 2048;
/// So many small and quick reads in a row are a stream.
const STREAM: u32 = 32;
/// A lull that gathers less than so many times an average read of the stream was not worth it.
const WORTH: usize = 4;

thread_local! {
    static WANTED: Cell<bool> = const { Cell::new(false) };
}

/// What this thread does before it goes to sleep.
pub(crate) fn before_sleep() {
    if WANTED.take() {
        thread::sleep(LULL);
    }
}

/// What the reads of one connection are like.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    last: Option<Instant>,
    /// Small reads in a row, each quickly after the other.
    quick: u32,
    /// What they brought, bytes.
    bytes: usize,
}

impl Reads {
    /// `n` bytes were read.
    #[inline]
    pub(crate) fn note(&mut self, n: usize) {
        if n > SMALL_BYTES && self.quick < STREAM {
            (self.quick, self.bytes) = (0, 0);
        } else if self.is_stream(n, Instant::now()) {
            WANTED.set(true);
        }
    }

    /// Whether it pays to let more gather before the next read.
    fn is_stream(&mut self, n: usize, now: Instant) -> bool {
        let last = self.last.replace(now);
        let goes_on = if self.quick >= STREAM {
            n >= WORTH * self.bytes / STREAM as usize
        } else {
            last.is_some_and(|last| now - last < QUICK)
        };
        if !goes_on {
            (self.quick, self.bytes) = (0, 0);
            return false;
        }
        if self.quick < STREAM {
            self.quick += 1;
            self.bytes += n;
        }
        self.quick == STREAM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads of so many bytes, so many µs apart: whether the last is one of a stream.
    fn check(reads: &[(u64, usize, u32)], expected: bool) {
        let mut now = Instant::now();
        let mut state = Reads::default();
        let mut is_stream = false;
        for &(micros, n, times) in reads {
            for _ in 0..times {
                now += Duration::from_micros(micros);
                is_stream = state.is_stream(n, now);
            }
        }
        assert_eq!(is_stream, expected, "{reads:?}");
    }

    #[test]
    fn quick_small_reads_are_a_stream() {
        check(&[(3, 80, STREAM)], false);
        check(&[(3, 80, STREAM + 1)], true);
    }

    #[test]
    fn who_waits_for_answers_is_never_held_up() {
        check(&[(15, 80, 1000)], false);
        check(&[(3, 80, 20), (15, 80, 1), (3, 80, 20)], false);
    }

    #[test]
    fn it_lasts_while_lulls_gather_enough() {
        let stream = (3, 80, STREAM + 1);
        check(&[stream, (60, 4000, 10)], true);
        check(&[stream, (60, 320, 10)], true);
        check(&[stream, (60, 319, 1)], false);
        check(&[stream, (60, 80, 1), (3, 80, 5)], false);
        check(&[(3, 80, 31), (3, 900, 2), (60, 600, 10)], true);
    }
}
