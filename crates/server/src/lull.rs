//! A moment's rest for a connection that sends every message by itself.
//!
//! Most clients write each message by itself. To read each as it comes costs as much as some ten messages in one read, for
//! the client as well, whose every write may wake us. While such reads follow one another so quickly that there must be a
//! stream of them, the connection is left alone for [`LULL`] after each, and the next brings many. A thread that has nothing
//! else to do sleeps meanwhile. Measured with one such publisher and one consumer: an eighth of the broker's CPU per
//! message, and three times the rate.
//!
//! It does not hold up who waits for an answer: a round trip takes longer than [`QUICK`], and where it should not, a lull that
//! gathers nothing is the last for [`STREAM`] reads. Tokio's timers are too coarse for it; the other connections of the
//! thread, and the thread before it sleeps, look whether a rest is over.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// How long a connection is left alone. With half of it the client's kernel more often sent each message in a packet of its
/// own, which makes its writes dear and its rate low.
const LULL: Duration = Duration::from_micros(200);
/// Reads that follow one another more quickly are of a client that does not wait for answers.
const QUICK: Duration = Duration::from_micros(20);
/// What a single message or a few of them take; more in one read is as it should be.
const SMALL_BYTES: usize = 2048;
/// So many small and quick reads in a row are a stream.
const STREAM: u32 = 32;
/// A lull that gathers less than so many times an average read of the stream was not worth it. The reads of a client that is
/// slowed down hold several messages each already; with four times as the mark its lulls ended again and again.
const WORTH: usize = 2;

thread_local! {
    /// When the first of those who rest is to be woken.
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
    static RESTING: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// What this thread does before it goes to sleep.
pub(crate) fn before_sleep() {
    if let Some(until) = UNTIL.take() {
        thread::sleep(until.saturating_duration_since(Instant::now()));
        wake();
    }
}

/// What every connection does in its turn, since the thread may not come to sleep.
#[inline]
pub(crate) fn wake_rested() {
    if UNTIL.get().is_some_and(|until| until <= Instant::now()) {
        UNTIL.set(None);
        wake();
    }
}

fn wake() {
    let resting = RESTING.take();
    resting.into_iter().for_each(Waker::wake);
}

/// What the reads of one connection are like.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    last: Option<Instant>,
    /// Small reads in a row, each quickly after the other.
    quick: u32,
    /// What they brought, bytes.
    bytes: usize,
    /// No read before that.
    rests_until: Option<Instant>,
}

impl Reads {
    /// Whether the connection may read. If not, the context is woken when it may.
    #[inline]
    pub(crate) fn poll_ready(&mut self, context: &Context<'_>) -> Poll<()> {
        let Some(until) = self.rests_until else {
            return Poll::Ready(());
        };
        if until <= Instant::now() {
            self.rests_until = None;
            return Poll::Ready(());
        }
        UNTIL.set(Some(UNTIL.get().map_or(until, |first| first.min(until))));
        RESTING.with_borrow_mut(|resting| resting.push(context.waker().clone()));
        Poll::Pending
    }

    /// `n` bytes were read.
    #[inline]
    pub(crate) fn note(&mut self, n: usize) {
        if n > SMALL_BYTES && self.quick < STREAM {
            (self.quick, self.bytes) = (0, 0);
            return;
        }
        let now = Instant::now();
        if self.is_stream(n, now) {
            self.rests_until = Some(now + LULL);
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
        check(&[(25, 80, 1000)], false);
        check(&[(3, 80, 20), (25, 80, 1), (3, 80, 20)], false);
    }

    #[test]
    fn it_lasts_while_lulls_gather_enough() {
        let stream = (3, 80, STREAM + 1);
        check(&[stream, (60, 4000, 10)], true);
        check(&[stream, (60, 160, 10)], true);
        check(&[stream, (60, 159, 1)], false);
        check(&[stream, (60, 80, 1), (3, 80, 5)], false);
        check(&[(3, 80, 31), (3, 900, 2), (60, 600, 10)], true);
    }
}
