//! Who tried to log in from where, if operators want to know it (`track_auth_attempt_source`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// Anybody can make up names: when there are so many sources, new ones are not counted.
const SOURCES_MAX: usize = 10_000;
/// A longer name is cut.
const USER_CHARS_MAX: usize = 255;

/// See the module's page.
#[derive(Debug, Default)]
pub struct LoginSources {
    is_on: AtomicBool,
    counts: Mutex<BTreeMap<LoginSource, LoginCounts>>,
}

/// Somebody, somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoginSource {
    pub address: IpAddr,
    pub user: String,
    /// RabbitMQ's name for it: `amqp091`, `http`.
    pub protocol: &'static str,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoginCounts {
    pub succeeded: u64,
    pub failed: u64,
}

impl LoginSources {
    /// Starts to count or ends it. What was counted stays until it is [`Self::reset`].
    pub fn track(&self, on: bool) {
        self.is_on.store(on, Ordering::Relaxed);
    }

    pub fn note(&self, protocol: &'static str, address: IpAddr, user: &str, succeeded: bool) {
        if !self.is_on.load(Ordering::Relaxed) {
            return;
        }
        let source = LoginSource {
            address: address.to_canonical(),
            user: user.chars().take(USER_CHARS_MAX).collect(),
            protocol,
        };
        let mut counts = self.counts.lock();
        if counts.len() >= SOURCES_MAX && !counts.contains_key(&source) {
            return;
        }
        let count = counts.entry(source).or_default();
        match succeeded {
            true => count.succeeded += 1,
            false => count.failed += 1,
        }
    }

    /// In the order of addresses.
    pub fn list(&self) -> Vec<(LoginSource, LoginCounts)> {
        let counts = self.counts.lock();
        let all = counts.iter();
        all.map(|(source, count)| (source.clone(), *count))
            .collect()
    }

    pub fn reset(&self) {
        self.counts.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn sources_are_counted_while_somebody_wants_that() {
        let sources = LoginSources::default();
        sources.note("http", HERE, "ann", true);
        sources.track(true);
        for succeeded in [true, false, true] {
            sources.note("http", HERE, "ann", succeeded);
        }
        sources.note("amqp091", HERE, "ann", false);
        sources.track(false);
        sources.note("http", HERE, "ann", true);
        let counts: Vec<_> = sources
            .list()
            .into_iter()
            .map(|(source, count)| (source.protocol, count.succeeded, count.failed))
            .collect();
        assert_eq!(counts, [("amqp091", 0, 1), ("http", 2, 1)]);
        sources.reset();
        assert!(sources.list().is_empty());
    }

    #[test]
    fn made_up_names_cost_no_more_than_the_bound() {
        let sources = LoginSources::default();
        sources.track(true);
        for number in 0..SOURCES_MAX + 5 {
            sources.note("http", HERE, &number.to_string(), false);
        }
        assert_eq!(sources.list().len(), SOURCES_MAX);
        sources.note("http", HERE, "0", true);
        let first = sources.list().into_iter().next().unwrap();
        assert_eq!((first.0.user.as_str(), first.1.succeeded), ("0", 1));
    }
}
