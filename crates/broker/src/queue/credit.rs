//! A limit on unsettled deliveries that several consumers share.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

/// The limit on unsettled deliveries of a whole session (`basic.qos` with `global`), shared by its consumers on all
/// queues. Every queue takes from it under its own lock, hence the atomics.
///
/// Queues only take; the session gives back what it has settled, and then, if somebody
/// [`was_refused`](Self::was_refused), sends [`Resume`](super::Op::Resume) to its consumers, each time beginning with
/// another one. A queue that gave back itself would take again at once, and the others would never have a turn.
#[derive(Debug)]
pub struct SharedCredit {
    /// 0: any number.
    limit: AtomicU32,
    used: AtomicU32,
    refused: AtomicBool,
}

impl SharedCredit {
    /// `limit` unsettled deliveries at most; 0: any number.
    pub const fn new(limit: u32) -> Self {
        Self {
            limit: AtomicU32::new(limit),
            used: AtomicU32::new(0),
            refused: AtomicBool::new(false),
        }
    }

    /// Changes the limit. Deliveries above a lower one stay out.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, SeqCst);
    }

    /// The limit; 0: none.
    pub fn limit(&self) -> u32 {
        self.limit.load(SeqCst)
    }

    /// Takes credit for one delivery, if there is some.
    pub fn try_take(&self) -> bool {
        if self.take() {
            return true;
        }
        self.refused.store(true, SeqCst);
        // Once more: credit given back between the refusal and the mark would wake nobody.
        self.take()
    }

    fn take(&self) -> bool {
        let limit = self.limit.load(SeqCst);
        let take = |used| (limit == 0 || used < limit).then_some(used + 1);
        self.used.fetch_update(SeqCst, SeqCst, take).is_ok()
    }

    /// Takes credit for deliveries that are out already, whatever the limit.
    pub(super) fn charge(&self, deliveries: u32) {
        self.used.fetch_add(deliveries, SeqCst);
    }

    /// The session has settled so many deliveries.
    pub fn give_back(&self, deliveries: u32) {
        let settle = |used: u32| Some(used.saturating_sub(deliveries));
        // Never refused: the closure always gives a value.
        let _ = self.used.fetch_update(SeqCst, SeqCst, settle);
    }

    /// Whether somebody was refused since the last time this was asked.
    pub fn was_refused(&self) -> bool {
        self.refused.swap(false, SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_above_the_limit_until_given_back_or_raised() {
        let credit = SharedCredit::new(1);
        assert!(credit.try_take());
        assert!(!credit.was_refused());
        assert!(!credit.try_take());
        assert!(credit.was_refused());
        assert!(!credit.was_refused());
        credit.give_back(1);
        assert!(credit.try_take());
        credit.set_limit(2);
        assert!(credit.try_take());
        assert!(!credit.try_take());
        credit.set_limit(0);
        assert!(credit.try_take());
    }
}
