//! Whether a frame waits a moment for more.
//!
//! Who publishes and waits for confirms has more to say soon after a sync. If the next frame is written at once, with what came
//! in during that sync, they miss it and wait for a whole sync before their own begins, and so it stays: two groups take turns,
//! and the disk makes two syncs where one would do. A frame that waits for those who were just answered takes both.
//!
//! It pays if they are there before two more syncs would be over, and if next to nothing comes in during the sync of such a
//! frame: then all who publish were in it. Where messages come by the clock it is not so, and a wait would only hold them up.
//! After one that did not pay it is tried again ever more rarely. Measured on one core, with a sync of 130 µs: two publishers
//! who wait for each confirm have 1.3 times the rate, one with 100 outstanding has 1.1 times.

use std::time::{Duration, Instant};

/// The most frames without a wait after one that did not pay.
const REST_MAX: u32 = 256;
/// What a fast disk takes for a sync.
const QUICK_SYNC: Duration = Duration::from_micros(50);

/// The time by which waits are measured.
#[expect(
    clippy::disallowed_methods,
    reason = "how long the writer's own syncs take is nobody else's affair"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What frames were like of late.
#[derive(Debug)]
pub(crate) struct Gather {
    /// The writer took the frame that is written, or was written last.
    taken: Instant,
    /// From there until it is durable, as a rule: a sync that takes far longer than those before may be alone.
    usual: Duration,
    /// What to wait for before the next is taken.
    wait: Option<Wait>,
    /// It was held up by a wait.
    is_held: bool,
    /// And then what was expected came.
    has_grown: bool,
    /// Frames to come without a wait.
    rest: u32,
    /// The same, after the next wait that does not pay.
    next_rest: u32,
}

/// A frame's wait for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    /// So much that somebody waits for need not wait for more.
    pub(crate) enough: u32,
    pub(crate) until: Instant,
}

impl Gather {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            taken: now,
            usual: QUICK_SYNC,
            wait: None,
            is_held: false,
            has_grown: false,
            rest: 0,
            next_rest: 1,
        }
    }

    /// What the next frame waits for. Asked for once.
    pub(crate) fn wait(&mut self) -> Option<Wait> {
        self.is_held = false;
        self.wait.take()
    }

    /// Somebody waits for what is in the frame, and the frame waits for more.
    pub(crate) fn holds(&mut self) {
        self.is_held = true;
    }

    /// The wait is over: what was expected has come, or has not. One that has held nobody up tells nothing.
    pub(crate) fn has_waited(&mut self, came: bool) {
        self.has_grown = came && self.is_held;
        if self.is_held && !came {
            self.did_not_pay();
        }
    }

    /// The writer takes a frame.
    pub(crate) fn taken(&mut self, now: Instant) {
        self.taken = now;
    }

    /// The frame is durable: somebody waited for so many of its messages and definitions, and waits for `pending` that have
    /// come in since it was taken.
    pub(crate) fn synced(&mut self, awaited: u32, pending: u32, now: Instant) {
        if std::mem::take(&mut self.has_grown) {
            if pending <= awaited / 4 {
                self.next_rest = (self.next_rest - 1).max(1);
            } else {
                self.did_not_pay();
            }
        }
        self.usual = (now - self.taken).min(2 * self.usual + QUICK_SYNC);
        let rests = self.rest > 0;
        self.rest = self.rest.saturating_sub(1);
        self.wait = (awaited > 0 && !rests).then(|| Wait {
            enough: pending + awaited - awaited / 8,
            until: now + 2 * self.usual,
        });
    }

    fn did_not_pay(&mut self) {
        self.rest = self.next_rest;
        self.next_rest = (self.next_rest * 2).min(REST_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(200);

    /// A frame is taken and synced. Gives what the next waits for, if it does.
    fn sync(gather: &mut Gather, now: &mut Instant, awaited: u32, pending: u32) -> Option<u32> {
        gather.taken(*now);
        *now += SYNC;
        gather.synced(awaited, pending, *now);
        gather.wait().map(|wait| wait.enough)
    }

    #[test]
    fn two_groups_become_one_and_stay_one() {
        let mut now = now();
        let mut gather = Gather::new(now);
        assert_eq!(sync(&mut gather, &mut now, 800, 800), Some(1500));
        for _ in 0..1000 {
            gather.holds();
            gather.has_waited(true);
            assert_eq!(sync(&mut gather, &mut now, 1600, 100), Some(1500));
        }
    }

    #[test]
    fn it_lasts_as_long_as_two_syncs_as_a_rule() {
        let mut now = now();
        let mut gather = Gather::new(now);
        let mut sync = |micros| {
            gather.taken(now);
            now += Duration::from_micros(micros);
            gather.synced(800, 800, now);
            (gather.wait().expect("it has paid so far").until - now).as_micros()
        };
        assert_eq!([1000; 5].map(&mut sync), [300, 700, 1500, 2000, 2000]);
        assert_eq!([60_000_000, 1000, 200].map(sync), [4100, 2000, 400]);
    }

    /// How many of 10 000 frames wait when each wait ends like that, and is followed by so much.
    fn waits(came: bool, pending: u32) -> usize {
        let mut now = now();
        let mut gather = Gather::new(now);
        let mut frame = || {
            let waits = sync(&mut gather, &mut now, 800, pending).is_some();
            if waits {
                gather.holds();
                gather.has_waited(came);
            }
            waits
        };
        (0..10_000).filter(|_| frame()).count()
    }

    #[test]
    fn what_does_not_pay_is_tried_ever_more_rarely() {
        assert!(waits(false, 100) < 60);
        assert!(waits(true, 700) < 60);
        assert_eq!(waits(true, 100), 10_000);
    }

    /// A lone publisher is all of its frames: that nothing comes in during their syncs does not say that a wait pays.
    #[test]
    fn a_wait_that_held_nobody_up_tells_nothing() {
        let mut now = now();
        let mut gather = Gather::new(now);
        let mut frames_until_a_wait = |is_held, came| {
            let frames = 1
                + (0..1000)
                    .take_while(|_| sync(&mut gather, &mut now, 100, 0).is_none())
                    .count();
            if is_held {
                gather.holds();
            }
            gather.has_waited(came);
            frames
        };
        for _ in 0..10 {
            frames_until_a_wait(true, false);
        }
        let rare = REST_MAX as usize + 1;
        assert_eq!(frames_until_a_wait(false, true), rare);
        for _ in 0..1000 {
            assert_eq!(frames_until_a_wait(false, true), 1);
            assert_eq!(frames_until_a_wait(false, false), 1);
        }
        frames_until_a_wait(true, false);
        assert_eq!(frames_until_a_wait(true, false), rare);
    }

    #[test]
    fn it_is_found_again_that_it_pays() {
        let mut now = now();
        let mut gather = Gather::new(now);
        for _ in 0..10_000 {
            if sync(&mut gather, &mut now, 800, 800).is_some() {
                gather.holds();
                gather.has_waited(false);
            }
        }
        let mut frame = || {
            let waits = sync(&mut gather, &mut now, 1600, 100).is_some();
            if waits {
                gather.holds();
                gather.has_waited(true);
            }
            waits
        };
        let rest = (0..10_000).take_while(|_| !frame()).count();
        assert!(rest <= REST_MAX as usize, "{rest}");
        assert!((0..100).all(|_| frame()));
    }
}
