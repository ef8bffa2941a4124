//! Rates, from looking at counters every few seconds.
//!
//! A node may have a hundred thousand queues, most of them quiet. Of a quiet object a hash is kept, which says whether it
//! still is; of a busy one the last values and how fast they grew. The past is kept for the node as a whole, and for
//! the few objects that somebody watches (who asks for samples begins to watch).

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use leveret_broker::connections::ChannelInfo;
use leveret_broker::flows::{DeliveryFlow, PublishFlow, RoutedFlow};
use leveret_broker::time::Timestamp;

use crate::answer::Failure;
use crate::query::Query;

/// How often [`crate::Management::sample`] wants to be called, ms.
pub const SAMPLE_PERIOD_MS: u64 = 5_000;

/// Values of one object, at most.
pub(crate) const VALUES_MAX: usize = 33;

/// How far back samples go: every so many ms, so many of them. The finer levels are looked at first.
const LEVELS: [(u64, usize); 4] = [
    (SAMPLE_PERIOD_MS, 121),
    (60_000, 61),
    (600_000, 49),
    (1_800_000, 49),
];

/// Objects whose past is kept because somebody asked for it: the rows of a few pages of lists. Who was not asked for longest
/// makes room. One takes 35 KB after ten minutes, and 75 KB after a day.
const WATCHED_MAX: usize = 256;

/// The samples of one answer, at most.
const SAMPLES_MAX: u64 = 500;

type Map<K, V> = HashMap<K, V, FixedState>;

/// The counters and gauges of one object.
pub(crate) type Values = [u64; VALUES_MAX];

/// An object that is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Node,
    /// A hash of the name.
    Vhost(u64),
    Queue(u32),
    /// A hash of the names of vhost and exchange.
    Exchange(u64),
    Connection(u64),
    /// Of its connection, with its own number in the lowest 16 bits, as in a `SessionId`.
    Channel(u64),
    /// A hash of what lies at both ends.
    Flow(u64),
}

impl Key {
    pub(crate) fn vhost(name: &str) -> Self {
        Self::Vhost(hash_of(name))
    }

    pub(crate) fn exchange(vhost: &str, name: &str) -> Self {
        Self::Exchange(hash_of(&(vhost, name)))
    }

    pub(crate) fn channel(channel: &ChannelInfo) -> Self {
        Self::Channel(channel.connection.0 << 16 | u64::from(channel.number))
    }

    pub(crate) fn publishes(flow: &PublishFlow) -> Self {
        let channel = (flow.channel.connection.0, flow.channel.number);
        Self::Flow(hash_of(&("publishes", channel, &flow.exchange)))
    }

    pub(crate) fn routed(flow: &RoutedFlow) -> Self {
        Self::Flow(hash_of(&("routed", &flow.exchange, flow.queue.id.0)))
    }

    pub(crate) fn deliveries(flow: &DeliveryFlow) -> Self {
        let channel = (flow.channel.connection.0, flow.channel.number);
        Self::Flow(hash_of(&("deliveries", channel, flow.queue.id.0)))
    }
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    quiet: Map<Key, Quiet>,
    busy: Map<Key, Busy>,
    watched: Map<Key, Watched>,
    /// Counts calls of [`Self::finish`]: what was not seen since the last one is gone.
    round: u32,
}

#[derive(Debug)]
struct Quiet {
    /// Of the values.
    hash: u32,
    /// In which it was seen last.
    round: u32,
    /// When its values changed last, as far as somebody looked.
    since: Timestamp,
}

#[derive(Debug)]
struct Busy {
    at: Timestamp,
    values: Values,
    rates: [f32; VALUES_MAX],
    round: u32,
}

#[derive(Debug)]
struct Watched {
    asked_at: Timestamp,
    levels: Vec<Vec<(Timestamp, Values)>>,
}

impl Sampler {
    /// The values of an object now.
    pub(crate) fn put(&mut self, key: Key, values: &Values, now: Timestamp) {
        if key == Key::Node {
            self.watch(key, now);
        }
        if let Some(watched) = self.watched.get_mut(&key) {
            watched.put(values, now);
        }
        if let Some(busy) = self.busy.get_mut(&key) {
            if busy.values != *values {
                busy.advance(values, now);
                busy.round = self.round;
                return;
            }
            let since = busy.at;
            self.busy.remove(&key);
            self.quiet.insert(key, self.quiet_since(since, values));
            return;
        }
        match self.quiet.get_mut(&key) {
            Some(quiet) if quiet.hash == brief(values) => quiet.round = self.round,
            // A new object without any use is quiet; one with some may be in use.
            None if values.iter().all(|value| *value == 0) => {
                self.quiet.insert(key, self.quiet_since(now, values));
            }
            _ => {
                self.quiet.remove(&key);
                let busy = Busy {
                    at: now,
                    values: *values,
                    rates: [0.0; VALUES_MAX],
                    round: self.round,
                };
                self.busy.insert(key, busy);
            }
        }
    }

    fn quiet_since(&self, since: Timestamp, values: &Values) -> Quiet {
        Quiet {
            hash: brief(values),
            round: self.round,
            since,
        }
    }

    /// All objects have been put: others are gone.
    pub(crate) fn finish(&mut self) {
        let round = self.round;
        self.busy.retain(|_, busy| busy.round == round);
        self.quiet.retain(|_, quiet| quiet.round == round);
        self.round = round.wrapping_add(1);
    }

    /// When the values of an object changed last, if they have been the same for a while.
    pub(crate) fn idle_since(&self, key: Key) -> Option<Timestamp> {
        self.quiet.get(&key).map(|quiet| quiet.since)
    }

    /// How fast a value grows, per second.
    pub(crate) fn rate(&self, key: Key, index: usize) -> f64 {
        let busy = self.busy.get(&key);
        busy.map_or(0.0, |busy| f64::from(busy.rates[index]))
    }

    /// The past of an object in `range`, newest first. It is watched from now on. Of one that was not, only what it is now
    /// is known.
    pub(crate) fn samples(
        &mut self,
        key: Key,
        index: usize,
        current: u64,
        range: Range,
        now: Timestamp,
    ) -> Vec<(Timestamp, u64)> {
        self.watch(key, now);
        let watched = self
            .watched
            .get(&key)
            .expect("it is watched since a line ago");
        let last = now.0 - now.0 % range.step_ms;
        let steps = 0..=range.age_ms / range.step_ms;
        let times = steps.map(|step| last.saturating_sub(step * range.step_ms));
        let known = times.map_while(|time| {
            let values = watched.at(Timestamp(time))?;
            Some((Timestamp(time), values[index]))
        });
        let mut samples: Vec<_> = known.collect();
        if samples.is_empty() {
            samples.push((Timestamp(last), current));
        }
        samples
    }

    /// What all of it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let level = |level: &Vec<_>| level.capacity() * size_of::<(Timestamp, Values)>();
        let watched = self.watched.values();
        let past: usize = watched.flat_map(|it| &it.levels).map(level).sum();
        past + self.busy.capacity() * size_of::<(Key, Busy)>()
            + self.quiet.capacity() * size_of::<(Key, Quiet)>()
    }

    fn watch(&mut self, key: Key, now: Timestamp) {
        if let Some(watched) = self.watched.get_mut(&key) {
            watched.asked_at = now;
            return;
        }
        if self.watched.len() >= WATCHED_MAX {
            let others = self.watched.iter().filter(|(key, _)| **key != Key::Node);
            let oldest = others.min_by_key(|(_, it)| it.asked_at);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.watched.remove(&key);
            }
        }
        let watched = Watched {
            asked_at: now,
            levels: vec![Vec::new(); LEVELS.len()],
        };
        self.watched.insert(key, watched);
    }
}

impl Busy {
    fn advance(&mut self, values: &Values, now: Timestamp) {
        let ms = now.0.saturating_sub(self.at.0).max(1);
        for (index, rate) in self.rates.iter_mut().enumerate() {
            let growth = values[index] as f32 - self.values[index] as f32;
            *rate = growth * 1000.0 / ms as f32;
        }
        self.values = *values;
        self.at = now;
    }
}

impl Watched {
    fn put(&mut self, values: &Values, now: Timestamp) {
        for (level, (period_ms, count)) in self.levels.iter_mut().zip(LEVELS) {
            let is_due = level
                .last()
                .is_none_or(|(at, _)| now.0 / period_ms > at.0 / period_ms);
            if is_due {
                level.push((now, *values));
                if level.len() > count {
                    level.remove(0);
                }
            }
        }
    }

    /// The values at that time: the last that were seen before it.
    fn at(&self, time: Timestamp) -> Option<&Values> {
        self.levels.iter().find_map(|level| {
            let after = level.partition_point(|(at, _)| *at <= time);
            let (_, values) = level.get(after.checked_sub(1)?)?;
            Some(values)
        })
    }
}

/// What tells values from others, nearly always.
fn brief(values: &Values) -> u32 {
    FixedState::default().hash_one(values) as u32
}

/// Of names, which clients choose.
fn hash_of<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Samples that a request asks for, such as `msg_rates_age=60&msg_rates_incr=5`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    age_ms: u64,
    step_ms: u64,
}

impl Range {
    /// `prefix`: `lengths`, `msg_rates`, `data_rates` or `node_stats`. `None`: no samples.
    pub(crate) fn read(query: &Query, prefix: &str) -> Result<Option<Self>, Failure> {
        let number = |what: &str| {
            let text = query.get(&format!("{prefix}_{what}"))?;
            text.parse::<u64>().ok()
        };
        let (Some(age), Some(step)) = (number("age"), number("incr")) else {
            return Ok(None);
        };
        if age == 0 || step == 0 || age / step > SAMPLES_MAX {
            return Err(Failure::new(
                http::StatusCode::BAD_REQUEST,
                "invalid_range_parameters",
                format!("Invalid range parameters: age {age}, incr {step}"),
            ));
        }
        let ms = |seconds: u64| seconds.saturating_mul(1000);
        Ok(Some(Self {
            age_ms: ms(age),
            step_ms: ms(step),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(first: u64) -> Values {
        let mut values = [0; VALUES_MAX];
        values[0] = first;
        values
    }

    #[test]
    fn what_does_not_change_is_idle() {
        let mut sampler = Sampler::default();
        let times = [0, 1, 2, 3, 4].map(|round| Timestamp(1_000_000 + round * SAMPLE_PERIOD_MS));
        let mut check = |round: usize, value, expected: Option<usize>| {
            sampler.put(Key::Queue(1), &values(value), times[round]);
            sampler.finish();
            let idle_since = sampler.idle_since(Key::Queue(1));
            assert_eq!(idle_since, expected.map(|it| times[it]), "round {round}");
            assert_eq!(sampler.busy.is_empty(), expected.is_some(), "round {round}");
        };
        check(0, 0, Some(0));
        check(1, 7, None);
        check(2, 7, Some(1));
        check(3, 7, Some(1));
        check(4, 8, None);
    }

    /// Samples of one queue, one each period; the rate after each.
    fn check(samples: &[(u64, f64)]) {
        let mut sampler = Sampler::default();
        for (round, (value, rate)) in samples.iter().enumerate() {
            let now = Timestamp(1_000_000 + round as u64 * SAMPLE_PERIOD_MS);
            sampler.put(Key::Queue(1), &values(*value), now);
            sampler.finish();
            assert_eq!(sampler.rate(Key::Queue(1), 0), *rate, "round {round}");
        }
    }

    #[test]
    fn rates_follow_the_counters() {
        check(&[(0, 0.0), (0, 0.0), (0, 0.0)]);
        check(&[(10, 0.0), (60, 10.0), (60, 0.0), (60, 0.0)]);
        // The first sample after a silence only shows that it is over.
        check(&[(0, 0.0), (50, 0.0), (150, 20.0), (100, -10.0), (100, 0.0)]);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut sampler = Sampler::default();
        let now = Timestamp(1_000_000);
        sampler.put(Key::Queue(1), &values(0), now);
        sampler.put(Key::Queue(2), &values(7), now);
        sampler.finish();
        assert_eq!((sampler.quiet.len(), sampler.busy.len()), (1, 1));
        sampler.finish();
        assert!(sampler.quiet.is_empty() && sampler.busy.is_empty());
    }

    #[test]
    fn the_past_of_the_node_is_kept() {
        let mut sampler = Sampler::default();
        let start = 1_800_000_000;
        for round in 0..2000_u64 {
            let now = Timestamp(start + round * SAMPLE_PERIOD_MS);
            sampler.put(Key::Node, &values(round), now);
        }
        let now = Timestamp(start + 1999 * SAMPLE_PERIOD_MS);
        let check = |sampler: &mut Sampler, age, incr, count: usize, second: u64| {
            let query = Query::parse(&format!("lengths_age={age}&lengths_incr={incr}"));
            let range = Range::read(&query, "lengths").unwrap().unwrap();
            let samples = sampler.samples(Key::Node, 0, 0, range, now);
            assert_eq!(samples.len(), count, "{age} {incr}");
            assert_eq!(samples[1].1, second, "{age} {incr}");
        };
        check(&mut sampler, 60, 5, 13, 1998);
        check(&mut sampler, 3600, 60, 61, 1980);
        check(&mut sampler, 28_800, 600, 17, 1800);
    }

    #[test]
    fn few_objects_are_watched() {
        let mut sampler = Sampler::default();
        let query = Query::parse("lengths_age=60&lengths_incr=5");
        let range = Range::read(&query, "lengths").unwrap().unwrap();
        for number in 0..1000 {
            let now = Timestamp(1_000_000 + u64::from(number));
            sampler.samples(Key::Queue(number), 0, 0, range, now);
        }
        assert_eq!(sampler.watched.len(), WATCHED_MAX);
        assert!(sampler.watched.contains_key(&Key::Queue(999)));
    }

    #[test]
    fn too_many_samples_are_refused() {
        let query = Query::parse("lengths_age=6000&lengths_incr=5");
        assert!(Range::read(&query, "lengths").is_err());
    }
}
