//! Publisher confirms: which publishes are taken, and which of those may be told.
//!
//! Outcomes come in the order of the publishes, and the log becomes durable in that order too. So what can be confirmed
//! is always a prefix, and leaves as few frames: one `multiple` for a run of the same answer.

use std::collections::VecDeque;

use leveret_storage::Lsn;

use crate::publish::Outcome;

/// The confirms that a channel owes.
#[derive(Debug, Default)]
pub struct Confirms {
    last_tag: u64,
    pending: VecDeque<Pending>,
}

#[derive(Debug)]
struct Pending {
    /// The last tag of a run of publishes with the same fate.
    tag: u64,
    first: u64,
    refused: bool,
    durable_at: Option<Lsn>,
}

/// An answer: to one tag, or to all up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub tag: u64,
    pub multiple: bool,
    pub refused: bool,
    /// How many publishes it answers.
    pub count: u64,
}

impl Confirms {
    /// The tag of the next publish.
    pub fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// A publish has ended so.
    pub fn ended(&mut self, tag: u64, outcome: &Outcome) {
        let Outcome {
            refused,
            durable_at,
            ..
        } = *outcome;
        match self.pending.back_mut() {
            Some(last)
                if last.tag + 1 == tag
                    && last.refused == refused
                    && last.durable_at == durable_at =>
            {
                last.tag = tag;
            }
            _ => self.pending.push_back(Pending {
                tag,
                first: tag,
                refused,
                durable_at,
            }),
        }
    }

    /// The next answer that may be given when the log is durable up to `durable`.
    pub fn next_settled(&mut self, durable: Lsn) -> Option<Settled> {
        let first = self.pending.front()?;
        if first.durable_at.is_some_and(|at| at > durable) {
            return None;
        }
        let Pending {
            mut tag,
            first,
            refused,
            ..
        } = self.pending.pop_front()?;
        while let Some(next) = self.pending.front()
            && next.refused == refused
            && next.durable_at.is_none_or(|at| at <= durable)
        {
            tag = next.tag;
            self.pending.pop_front();
        }
        Some(Settled {
            tag,
            multiple: tag > first,
            refused,
            count: tag + 1 - first,
        })
    }

    /// Whether answers wait for the log.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Receipt;

    fn outcome(refused: bool, durable_at: Option<u64>) -> Outcome {
        Outcome {
            receipt: Receipt::Nobody,
            refused,
            durable_at: durable_at.map(Lsn),
        }
    }

    /// Publishes end so, and the log is durable up to there: these answers leave.
    fn check(ends: &[(bool, Option<u64>)], durable: u64, expected: &[(u64, bool, bool)]) {
        let mut confirms = Confirms::default();
        for (refused, at) in ends {
            let tag = confirms.next_tag();
            confirms.ended(tag, &outcome(*refused, *at));
        }
        let answers: Vec<_> = std::iter::from_fn(|| confirms.next_settled(Lsn(durable)))
            .map(|settled| (settled.tag, settled.multiple, settled.refused))
            .collect();
        assert_eq!(answers, expected);
    }

    #[test]
    fn a_run_leaves_as_one_answer() {
        check(&[(false, None)], 0, &[(1, false, false)]);
        check(
            &[(false, None), (false, None), (false, None)],
            0,
            &[(3, true, false)],
        );
    }

    #[test]
    fn refusals_are_told_apart() {
        let ends = [(false, None), (true, None), (true, None), (false, None)];
        check(
            &ends,
            0,
            &[(1, false, false), (3, true, true), (4, false, false)],
        );
    }

    #[test]
    fn nothing_is_confirmed_before_it_is_durable() {
        check(&[(false, Some(5))], 4, &[]);
        check(&[(false, Some(5))], 5, &[(1, false, false)]);
        check(
            &[(false, None), (false, Some(5)), (false, None)],
            4,
            &[(1, false, false)],
        );
        check(&[(false, Some(5)), (false, None)], 5, &[(2, true, false)]);
    }
}
