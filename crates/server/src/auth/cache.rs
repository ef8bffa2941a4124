//! Answers of a backend, kept for a while (E09). What was asked is kept as a digest: it has passwords in it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::BackendName;

/// More answers are not kept; a full cache is emptied of what has ended, or else altogether.
const ANSWERS_MAX: usize = 10_000;

/// `auth_cache.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) cached: Option<BackendName>,
    pub(crate) ttl_ms: u64,
    /// Refusals are kept, too.
    pub(crate) refusals: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cached: None,
            ttl_ms: 15_000,
            refusals: false,
        }
    }
}

/// See the module's page.
pub(super) struct Cache<A> {
    ttl: Duration,
    refusals: bool,
    answers: Mutex<HashMap<[u8; 32], (Instant, A)>>,
}

impl<A: Clone> Cache<A> {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            ttl: Duration::from_millis(options.ttl_ms),
            refusals: options.refusals,
            answers: Mutex::new(HashMap::new()),
        }
    }

    /// What was answered not long ago.
    pub(super) fn find(&self, asked: &str, now: Instant) -> Option<A> {
        let answers = self.answers.lock();
        let (until, answer) = answers.get(&digest(asked))?;
        (now < *until).then(|| answer.clone())
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.answers.lock().clear();
    }

    pub(super) fn keep(&self, asked: &str, answer: A, is_refusal: bool, now: Instant) {
        if is_refusal && !self.refusals {
            return;
        }
        let mut answers = self.answers.lock();
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, (until, _)| now < *until);
        }
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(digest(asked), (now + self.ttl, answer));
    }
}

fn digest(asked: &str) -> [u8; 32] {
    Sha256::digest(asked).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_for_their_time() {
        let start = Instant::now();
        let check = |refusals, is_refusal, after_ms, expected: Option<&str>| {
            let cache = Cache::new(&Options {
                ttl_ms: 100,
                refusals,
                ..Options::default()
            });
            cache.keep("may guest?", "answer", is_refusal, start);
            let then = start + Duration::from_millis(after_ms);
            assert_eq!(cache.find("may guest?", then), expected);
            assert_eq!(cache.find("may alice?", then), None);
        };
        check(false, false, 99, Some("answer"));
        check(false, false, 100, None);
        check(false, true, 0, None);
        check(true, true, 99, Some("answer"));
    }

    #[test]
    fn a_full_cache_makes_room() {
        let cache = Cache::new(&Options::default());
        let now = Instant::now();
        for number in 0..=ANSWERS_MAX {
            cache.keep(&number.to_string(), "allow", false, now);
        }
        assert_eq!(cache.answers.lock().len(), 1);
    }
}
