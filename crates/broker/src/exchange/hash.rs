//! Exchanges that pick one destination by a hash: `x-consistent-hash` and `x-modulus-hash`.
//!
//! The hash is defined here, not by a library, and destinations are told apart by their ids, which the catalogue never
//! changes: what goes where is the same on every node, after every restart and every upgrade.

use super::set::IndexedSet;
use super::{Destination, Route, RouterError};
use crate::properties::Properties;
use crate::table::{self, Table, ValueRef};

const WEIGHT_MAX: u32 = 10_000;

/// Weighted rendezvous hashing: each destination draws a number from the message's key, and the best one wins. A
/// destination that comes takes only what it wins, one that goes leaves only what it had, and shares follow the weights
/// exactly. It looks at each destination once; a ring or a bucket list would be faster with thousands of them, but
/// either splits unevenly, takes memory by weight, or moves keys between destinations that stay.
#[derive(Debug)]
pub(super) struct ConsistentHash {
    hashed: Hashed,
    /// By ascending weight: among equal weights the largest draw wins, which needs no logarithm.
    groups: Vec<Group>,
}

/// The destinations of one weight.
#[derive(Debug)]
struct Group {
    weight: u32,
    members: IndexedSet<Member>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Member {
    destination: Destination,
    /// A hash of `destination`, combined with that of each message.
    salt: u64,
}

impl ConsistentHash {
    pub(super) fn new(arguments: &Table) -> Result<Self, RouterError> {
        Ok(Self {
            hashed: Hashed::new(arguments)?,
            groups: Vec::new(),
        })
    }

    /// Whether the routing key alone decides.
    pub(super) fn hashes_routing_key(&self) -> bool {
        matches!(self.hashed, Hashed::RoutingKey)
    }

    /// Does nothing if `destination` is there already: a second weight is ignored, as in RabbitMQ. Nor if `key` is not a
    /// weight, which only definitions that no client was asked about could bring.
    pub(super) fn insert(&mut self, destination: Destination, key: &[u8]) {
        let Ok(weight) = weight(key) else {
            return;
        };
        let member = Member::new(destination);
        if self.group_of(member).is_some() {
            return;
        }
        let found = self
            .groups
            .binary_search_by_key(&weight, |group| group.weight);
        let at = found.unwrap_or_else(|at| {
            let members = IndexedSet::default();
            self.groups.insert(at, Group { weight, members });
            at
        });
        self.groups[at].members.insert(member);
    }

    /// Does nothing if `destination` is not there with the weight `key`.
    pub(super) fn remove(&mut self, destination: Destination, key: &[u8]) {
        let member = Member::new(destination);
        let Some(at) = self.group_of(member) else {
            return;
        };
        let group = &mut self.groups[at];
        if weight(key) != Ok(group.weight) {
            return;
        }
        group.members.remove(member);
        if group.members.is_empty() {
            self.groups.remove(at);
        }
    }

    fn group_of(&self, member: Member) -> Option<usize> {
        let mut groups = self.groups.iter();
        groups.position(|group| group.members.contains(member))
    }

    pub(super) fn route(&self, route: &Route<'_>, out: &mut Vec<Destination>) {
        let hash = self.hashed.hash(route);
        if let [group] = self.groups.as_slice() {
            out.extend(group.best(hash).map(|(_, destination)| destination));
            return;
        }
        let scored = self.groups.iter().filter_map(|group| {
            let (draw, destination) = group.best(hash)?;
            Some((score(draw, group.weight), destination))
        });
        let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
        out.extend(best.map(|(_, destination)| destination));
    }
}

impl Group {
    /// The largest draw and who made it. The destination breaks ties, so that the order of the members has no influence.
    fn best(&self, hash: u64) -> Option<(u64, Destination)> {
        let draws = self.members.as_slice().iter();
        draws
            .map(|member| (mix(hash ^ member.salt), member.destination))
            .max()
    }
}

impl Member {
    fn new(destination: Destination) -> Self {
        let salt = mix(match destination {
            Destination::Queue(id) => u64::from(id.0),
            Destination::Exchange(id) => 1 << 32 | u64::from(id.0),
        });
        Self { destination, salt }
    }
}

/// With `u` uniform in (0, 1), `ln(u) / weight` is largest for each with a probability in proportion to its weight.
fn score(draw: u64, weight: u32) -> f64 {
    let uniform = ((draw >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    uniform.ln() / f64::from(weight)
}

/// The finaliser of SplitMix64: every input bit changes about half of the output bits.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The weight that a binding's key stands for.
pub(super) fn weight(key: &[u8]) -> Result<u32, RouterError> {
    let text = std::str::from_utf8(key).ok();
    let Some(weight) = text.and_then(|text| text.parse::<i64>().ok()) else {
        return Err(RouterError::weight_not_an_integer(key));
    };
    match u32::try_from(weight) {
        Ok(weight @ 1..=WEIGHT_MAX) => Ok(weight),
        _ if weight < 1 => Err(RouterError::WeightTooSmall),
        _ => Err(RouterError::WeightTooLarge),
    }
}

/// What of a message is hashed.
#[derive(Debug)]
enum Hashed {
    RoutingKey,
    Header(Box<str>),
    MessageId,
    CorrelationId,
    Timestamp,
}

impl Hashed {
    fn new(arguments: &Table) -> Result<Self, RouterError> {
        let header = text_argument(arguments, "hash-header")?;
        let property = text_argument(arguments, "hash-property")?;
        match (header, property) {
            (None, None) => Ok(Self::RoutingKey),
            (Some(header), None) => Ok(Self::Header(header.into())),
            (None, Some("message_id")) => Ok(Self::MessageId),
            (None, Some("correlation_id")) => Ok(Self::CorrelationId),
            (None, Some("timestamp")) => Ok(Self::Timestamp),
            (None, Some(other)) => Err(RouterError::UnsupportedProperty(other.into())),
            (Some(_), Some(_)) => Err(RouterError::HeaderAndProperty),
        }
    }

    /// A message without the header or property hashes like any other such message: they stay together.
    fn hash(&self, route: &Route<'_>) -> u64 {
        let properties = || Properties::parse(route.properties).ok();
        match self {
            Self::RoutingKey => hash(route.key),
            Self::Header(name) => hash_header(super::headers_of(route.properties), name),
            Self::MessageId => {
                let id = properties().and_then(|properties| properties.message_id());
                hash(id.unwrap_or_default())
            }
            Self::CorrelationId => {
                let id = properties().and_then(|properties| properties.correlation_id());
                hash(id.unwrap_or_default())
            }
            Self::Timestamp => {
                let seconds = properties().and_then(|properties| properties.timestamp());
                hash(&seconds.unwrap_or_default().to_be_bytes())
            }
        }
    }
}

fn text_argument<'a>(
    arguments: &'a Table,
    name: &'static str,
) -> Result<Option<&'a str>, RouterError> {
    match arguments.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(RouterError::NotText(name)),
    }
}

/// Everything but strings by its text: equal numbers of different widths go the same way.
fn hash_header(headers: &[u8], name: &str) -> u64 {
    match table::find(headers, name) {
        Ok(Some(ValueRef::String(octets) | ValueRef::Bytes(octets))) => hash(octets),
        Ok(Some(other)) => {
            let text = other.to_owned().map(|value| value.text());
            hash(text.unwrap_or_default().as_bytes())
        }
        _ => hash(b""),
    }
}

/// FNV-1a, finished by [`mix`] because its upper bits depend too little on the last octets.
fn hash(octets: &[u8]) -> u64 {
    let step =
        |hash: u64, &octet: &u8| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(octets.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The hash of the routing key modulo the number of destinations. They are sorted, so that routing does not depend on
/// the order of binding; there is one per shard, few enough for an insertion to move the ones behind it.
#[derive(Debug, Default)]
pub(super) struct ModulusHash {
    destinations: Vec<Destination>,
}

impl ModulusHash {
    pub(super) fn insert(&mut self, destination: Destination) {
        if let Err(at) = self.destinations.binary_search(&destination) {
            self.destinations.insert(at, destination);
        }
    }

    pub(super) fn remove(&mut self, destination: Destination) {
        if let Ok(at) = self.destinations.binary_search(&destination) {
            self.destinations.remove(at);
        }
    }

    pub(super) fn route(&self, key: &[u8], out: &mut Vec<Destination>) {
        let hash = usize::try_from(hash(key) >> 32).expect("32 bits fit");
        if let Some(at) = hash.checked_rem(self.destinations.len()) {
            out.push(self.destinations[at]);
        }
    }
}
