//! How long messages have waited, without a note of the time on any of them.
//!
//! Every message has a place in its queue's order of arrival ([`Arrivals`]). At each look at a queue in which messages are
//! ready, the last place given so far is noted with the time, if it has grown. A message is at least as old as the first
//! note that its place was given by:
//!
//! ```text
//! time    12:00      12:05     12:10        now
//! last    300        450       450 again    700
//!                    ^ the oldest ready message has place 400: it has waited since 12:05 at least
//! ```
//!
//! Notes from before the oldest ready message are forgotten, so that a queue which is kept short has one or two. Of the
//! others those are left out whose absence changes no age by more than a quarter. What remains grows as the logarithm of
//! the age: some thirty notes after an hour, sixty after a week.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use leveret_broker::ids::QueueId;
use leveret_broker::live_queue::LiveQueue;
use leveret_broker::queue::Arrivals;
use leveret_broker::time::Timestamp;

use crate::Management;

/// The largest part of an age that it may be told too short by, besides the time between two looks: one in so many.
const INACCURACY: u64 = 4;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    queues: HashMap<QueueId, Notes, FixedState>,
    /// Counts calls of [`Self::finish`]: what was not seen since the last one has nothing ready any more.
    round: u32,
}

#[derive(Debug, Clone, Copy)]
struct Note {
    at: Timestamp,
    /// The last place in the order of arrival that had been given.
    last: u64,
}

/// Those of one queue, oldest first.
#[derive(Debug)]
struct Notes {
    first: Note,
    /// Apart, since most queues have but one note.
    later: Vec<Note>,
    round: u32,
}

impl Ages {
    /// A queue has ready messages.
    pub(crate) fn put(&mut self, queue: QueueId, arrivals: Arrivals, now: Timestamp) {
        let note = Note {
            at: now,
            last: arrivals.last,
        };
        let notes = self.queues.entry(queue).or_insert_with(|| Notes {
            first: note,
            later: Vec::new(),
            round: 0,
        });
        notes.round = self.round;
        notes.put(note, arrivals.oldest);
    }

    /// All queues have been put that have ready messages.
    pub(crate) fn finish(&mut self) {
        let round = self.round;
        self.queues.retain(|_, notes| notes.round == round);
        self.round = round.wrapping_add(1);
    }

    /// How long the oldest ready message of a queue has waited at least, ms.
    pub(crate) fn of(&self, queue: QueueId, arrivals: Arrivals, now: Timestamp) -> u64 {
        let notes = self.queues.get(&queue);
        // Without one it has come since the last look.
        let since = notes.and_then(|notes| notes.find(arrivals.oldest));
        since.map_or(0, |since| now.0.saturating_sub(since.0))
    }

    /// What all of it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let later = |notes: &Notes| notes.later.capacity() * size_of::<Note>();
        self.queues.values().map(later).sum::<usize>()
            + self.queues.capacity() * size_of::<(QueueId, Notes)>()
    }
}

impl Notes {
    fn put(&mut self, note: Note, oldest: u64) {
        self.forget_before(oldest);
        if self.first.last < oldest {
            self.first = note;
            return;
        }
        let newest = self.later.last().unwrap_or(&self.first);
        if newest.last < note.last {
            self.later.push(note);
            self.thin_out(note.at);
        }
    }

    /// Forgets the notes that say nothing of a message with this place or a later one, except for the last.
    fn forget_before(&mut self, oldest: u64) {
        if self.first.last >= oldest || self.later.is_empty() {
            return;
        }
        let before = self.later.partition_point(|note| note.last < oldest);
        let first = before.min(self.later.len() - 1);
        self.first = self.later[first];
        self.later.drain(..=first);
        if self.later.is_empty() {
            self.later = Vec::new();
        }
    }

    /// Leaves out notes between two that are close enough together. The first stays: the oldest message goes by it.
    fn thin_out(&mut self, now: Timestamp) {
        let mut before = self.first;
        let mut kept = 0;
        for at in 0..self.later.len() {
            let after = self.later.get(at + 1);
            let is_needed = after.is_none_or(|after| {
                let gap = after.at.0.saturating_sub(before.at.0);
                gap * INACCURACY > now.0.saturating_sub(before.at.0)
            });
            if is_needed {
                before = self.later[at];
                self.later[kept] = before;
                kept += 1;
            }
        }
        self.later.truncate(kept);
    }

    /// When a place had been given, as far as was noted.
    fn find(&self, place: u64) -> Option<Timestamp> {
        if place <= self.first.last {
            return Some(self.first.at);
        }
        let before = self.later.partition_point(|note| note.last < place);
        self.later.get(before).map(|note| note.at)
    }
}

impl Management {
    /// How long the oldest ready message of a queue has waited at least, s; `None`: none is ready.
    pub(crate) fn oldest_message_age(&self, queue: &LiveQueue, now: Timestamp) -> Option<u64> {
        let arrivals = queue.arrivals()?;
        Some(self.ages.lock().of(queue.id, arrivals, now) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SAMPLE_PERIOD_MS;

    const QUEUE: QueueId = QueueId(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000 + seconds * 1000)
    }

    /// Looks at a queue, one each second (`None`: nothing is ready), and the age after each, s.
    fn check(looks: &[(Option<(u64, u64)>, u64)]) {
        let mut ages = Ages::default();
        for (second, (look, expected)) in looks.iter().enumerate() {
            let now = at(second as u64);
            let arrivals = look.map(|(oldest, last)| Arrivals { oldest, last });
            if let Some(arrivals) = arrivals {
                ages.put(QUEUE, arrivals, now);
            }
            ages.finish();
            let age = arrivals.map_or(0, |arrivals| ages.of(QUEUE, arrivals, now));
            assert_eq!(age, expected * 1000, "second {second} of {looks:?}");
            assert_eq!(ages.queues.is_empty(), look.is_none());
        }
    }

    #[test]
    fn the_oldest_message_ages_until_it_leaves() {
        check(&[(Some((1, 1)), 0), (Some((1, 1)), 1), (Some((1, 9)), 2)]);
        // Five more come each second. The oldest goes, and the next one has been there since the look after it came.
        check(&[
            (Some((1, 5)), 0),
            (Some((1, 10)), 1),
            (Some((5, 15)), 2),
            (Some((6, 20)), 2),
            (Some((11, 20)), 2),
            (Some((20, 20)), 2),
        ]);
        // As many come as go.
        check(&[(Some((1, 1)), 0), (Some((2, 2)), 0), (Some((3, 3)), 0)]);
    }

    #[test]
    fn a_queue_that_was_empty_begins_anew() {
        check(&[
            (Some((1, 1)), 0),
            (Some((1, 1)), 1),
            (None, 0),
            (Some((2, 2)), 0),
        ]);
    }

    #[test]
    fn one_that_comes_back_to_its_old_place_is_as_old_as_what_is_remembered() {
        check(&[
            (Some((1, 9)), 0),
            (Some((5, 20)), 1),
            (Some((2, 20)), 2),
            (Some((15, 20)), 2),
            (Some((2, 20)), 3),
        ]);
    }

    /// Two messages each period, and none leaves, for a week. Afterwards each is asked for its age.
    #[test]
    fn long_waits_are_known_to_a_quarter_from_few_notes() {
        let mut ages = Ages::default();
        let rounds = 7 * 24 * 3600 * 1000 / SAMPLE_PERIOD_MS;
        let came_at = |place: u64| (place - 1) / 2 * SAMPLE_PERIOD_MS;
        for round in 0..rounds {
            let arrivals = Arrivals {
                oldest: 1,
                last: 2 * (round + 1),
            };
            ages.put(QUEUE, arrivals, Timestamp(came_at(arrivals.last)));
        }
        let notes = ages.queues[&QUEUE].later.len();
        assert!(notes < 80, "{notes} notes");
        let now = Timestamp(came_at(2 * rounds));
        for oldest in (1..=2 * rounds).step_by(7) {
            let arrivals = Arrivals {
                oldest,
                last: 2 * rounds,
            };
            let (age, told) = (now.0 - came_at(oldest), ages.of(QUEUE, arrivals, now));
            assert!(
                told <= age && age - told <= age / INACCURACY,
                "{told} of {age}"
            );
        }
    }

    #[test]
    fn what_came_since_the_last_look_has_no_age() {
        let mut ages = Ages::default();
        ages.put(QUEUE, Arrivals { oldest: 1, last: 1 }, at(0));
        let later = Arrivals { oldest: 2, last: 2 };
        assert_eq!(ages.of(QUEUE, later, at(3)), 0);
    }
}
