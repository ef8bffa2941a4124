//! Exchanges: which destinations a message goes to. One [`Router`] per exchange holds the bindings that leave it,
//! organised for the exchange's kind.
//!
//! A router knows nothing of names, permissions, alternate exchanges or other exchanges: it maps one message to the
//! queues and exchanges right behind one exchange. Order to read in: this file, then [`Binding`], then one kind each in
//! `direct`, `topic`, `headers`, `hash` and `history`.

mod bindings;
mod direct;
mod hash;
mod headers;
mod history;
mod set;
mod topic;

#[cfg(test)]
mod tests;

pub use bindings::Binding;

use bindings::Bindings;
use direct::Direct;
use hash::{ConsistentHash, ModulusHash};
use headers::Headers;
use history::History;
use set::IndexedSet;
use topic::Topic;

use crate::ids::{ExchangeId, QueueId};
use crate::message::Message;
use crate::properties::Properties;
use crate::queue;
use crate::table::{Table, Value};

/// A routing key is a short string, at every door.
const KEY_LEN_MAX: usize = 255;

/// Where a binding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    Queue(QueueId),
    Exchange(ExchangeId),
}

/// The type of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Direct,
    Fanout,
    Topic,
    Headers,
    ConsistentHash,
    ModulusHash,
    Random,
    LocalRandom,
    RecentHistory,
}

impl Kind {
    /// All of them, as listed to clients.
    pub const ALL: [Self; 9] = [
        Self::Direct,
        Self::Fanout,
        Self::Topic,
        Self::Headers,
        Self::ConsistentHash,
        Self::ModulusHash,
        Self::Random,
        Self::LocalRandom,
        Self::RecentHistory,
    ];

    /// The kind that `exchange.declare` asks for.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a client may make this binding from an exchange of this kind. `queue` is the kind of the destination, if that
    /// is a queue.
    pub fn check_binding(
        self,
        key: &[u8],
        arguments: &Table,
        queue: Option<queue::Kind>,
    ) -> Result<(), RouterError> {
        if key.len() > KEY_LEN_MAX {
            return Err(RouterError::KeyTooLong);
        }
        match self {
            Self::Topic => topic::check(key),
            Self::Headers => headers::check(arguments),
            Self::ConsistentHash => hash::weight(key).map(|_| ()),
            Self::LocalRandom => check_local_random(key, queue),
            _ => Ok(()),
        }
    }

    /// Its name at the doors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::LocalRandom => "x-local-random",
            Self::RecentHistory => "x-recent-history",
        }
    }
}

/// What of a message decides where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Route<'a> {
    /// The routing key, or one of those in `CC` and `BCC`.
    pub key: &'a [u8],
    /// The properties in their wire form; read only if the kind of exchange needs them.
    pub properties: &'a [u8],
    /// Random bits for the kinds that choose by chance.
    pub random: u64,
}

/// Why an exchange or a binding is refused; a failed precondition (406) with RabbitMQ's explanation as text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    #[error("routing key is longer than 255 octets")]
    KeyTooLong,
    #[error("Topic binding key '{key}' uses {count} '#' wildcards, at most 2 are allowed")]
    TooManyWildcards { key: String, count: usize },
    #[error("Invalid x-match field value {0}; expected all, any, all-with-x, or any-with-x")]
    MatchValue(String),
    #[error("Invalid x-match field type {kind} (value {value}); expected longstr")]
    MatchType { kind: &'static str, value: String },
    #[error("The binding key must be an integer: {0}")]
    WeightNotAnInteger(String),
    #[error("The binding key must be greater than 0")]
    WeightTooSmall,
    #[error("The binding key must not be greater than 10000")]
    WeightTooLarge,
    #[error("hash-header and hash-property are mutually exclusive")]
    HeaderAndProperty,
    #[error("Unsupported property: {0}")]
    UnsupportedProperty(String),
    #[error("Invalid argument, '{0}' must be a string")]
    NotText(&'static str),
    #[error("Invalid argument {0}, 'x-recent-history-length' must be a positive integer")]
    HistoryLength(String),
    #[error("Non empty binding '{0}' key not permitted")]
    NonEmptyKey(String),
    #[error("Queue type {0} not valid for this exchange type")]
    QueueType(&'static str),
    #[error("Destination not found")]
    NotAQueue,
}

impl RouterError {
    fn too_many_wildcards(key: &[u8], count: usize) -> Self {
        let key = String::from_utf8_lossy(key).into_owned();
        Self::TooManyWildcards { key, count }
    }

    fn x_match(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::MatchValue(term(text)),
            other => Self::MatchType {
                kind: other.type_name(),
                value: printed(other),
            },
        }
    }

    fn weight_not_an_integer(key: &[u8]) -> Self {
        Self::WeightNotAnInteger(term(key))
    }

    fn history_length(value: &Value) -> Self {
        Self::HistoryLength(printed(value))
    }
}

/// A value as RabbitMQ prints one in these texts.
pub(crate) fn printed(value: &Value) -> String {
    match value {
        Value::String(text) | Value::Bytes(text) => term(text),
        other => other.to_string(),
    }
}

/// Octets as RabbitMQ prints them in these texts: an Erlang binary.
fn term(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok("") => "<<>>".into(),
        Ok(text) => format!("<<{text:?}>>"),
        Err(_) => {
            let octets: Vec<_> = octets.iter().map(u8::to_string).collect();
            format!("<<{}>>", octets.join(","))
        }
    }
}

/// The bindings that leave one exchange.
///
/// [Check](Kind::check_binding) what a client asks for, [`bind`](Self::bind) it, then [`route`](Self::route).
/// Where a message goes depends on the route and the bindings (in kinds that let chance decide, also on the order in
/// which they were made); never on a clock, an address or the seed of a hash table.
#[derive(Debug)]
pub struct Router {
    bindings: Bindings,
    index: Index,
}

/// How the kind finds its destinations. Bindings that differ only in what the kind ignores share an entry.
#[derive(Debug)]
enum Index {
    Direct(Direct),
    Fanout(IndexedSet<Destination>),
    Topic(Topic),
    Headers(Headers),
    ConsistentHash(ConsistentHash),
    ModulusHash(ModulusHash),
    Random(IndexedSet<Destination>),
    LocalRandom(IndexedSet<Destination>),
    RecentHistory(IndexedSet<Destination>, History),
}

impl Router {
    /// A router without bindings for an exchange declared with `arguments`.
    pub fn new(kind: Kind, arguments: &Table) -> Result<Self, RouterError> {
        let index = match kind {
            Kind::Direct => Index::Direct(Direct::default()),
            Kind::Fanout => Index::Fanout(IndexedSet::default()),
            Kind::Topic => Index::Topic(Topic::default()),
            Kind::Headers => Index::Headers(Headers::default()),
            Kind::ConsistentHash => Index::ConsistentHash(ConsistentHash::new(arguments)?),
            Kind::ModulusHash => Index::ModulusHash(ModulusHash::default()),
            Kind::Random => Index::Random(IndexedSet::default()),
            Kind::LocalRandom => Index::LocalRandom(IndexedSet::default()),
            Kind::RecentHistory => {
                Index::RecentHistory(IndexedSet::default(), History::new(arguments)?)
            }
        };
        let bindings = Bindings::default();
        Ok(Self { bindings, index })
    }

    /// The kind it was made for.
    pub fn kind(&self) -> Kind {
        match self.index {
            Index::Direct(_) => Kind::Direct,
            Index::Fanout(_) => Kind::Fanout,
            Index::Topic(_) => Kind::Topic,
            Index::Headers(_) => Kind::Headers,
            Index::ConsistentHash(_) => Kind::ConsistentHash,
            Index::ModulusHash(_) => Kind::ModulusHash,
            Index::Random(_) => Kind::Random,
            Index::LocalRandom(_) => Kind::LocalRandom,
            Index::RecentHistory(..) => Kind::RecentHistory,
        }
    }

    /// Adds a binding. False if it was there already.
    pub fn bind(&mut self, destination: Destination, key: &[u8], arguments: &Table) -> bool {
        let binding = Binding::new(destination, key, arguments);
        let is_new = !self.bindings.contains(&binding);
        if is_new {
            self.enter(&binding);
            self.bindings.insert(binding);
        }
        is_new
    }

    /// Removes a binding. False if it was not there.
    pub fn unbind(&mut self, destination: Destination, key: &[u8], arguments: &Table) -> bool {
        let binding = Binding::new(destination, key, arguments);
        let was_there = self.bindings.remove(&binding);
        if was_there {
            self.leave(&binding);
        }
        was_there
    }

    /// Removes all bindings to a destination that is no more.
    pub fn unbind_all(&mut self, destination: Destination) {
        for binding in self.bindings.take_all(destination) {
            self.leave(&binding);
        }
    }

    /// Appends the destinations of a message to `out`, each of them once.
    pub fn route(&self, route: &Route<'_>, out: &mut Vec<Destination>) {
        let start = out.len();
        match &self.index {
            Index::Direct(direct) => direct.route(route.key, out),
            Index::Fanout(all) | Index::RecentHistory(all, _) => {
                out.extend_from_slice(all.as_slice())
            }
            Index::Topic(topic) => {
                if topic.route(route.key, out) > 1 {
                    dedup_from(start, out);
                }
            }
            Index::Headers(headers) => {
                headers.route(headers_of(route.properties), out);
                dedup_from(start, out);
            }
            Index::ConsistentHash(hash) => hash.route(route, out),
            Index::ModulusHash(modulus) => modulus.route(route.key, out),
            Index::Random(all) | Index::LocalRandom(all) => out.extend(one_of(all, route.random)),
        }
    }

    /// Whether a channel may remember where a routing key leads to: nothing else of the message decides, nor does chance,
    /// and the exchange need not see every message.
    pub fn is_cacheable(&self) -> bool {
        match &self.index {
            Index::Direct(_) | Index::Fanout(_) | Index::Topic(_) | Index::ModulusHash(_) => true,
            Index::ConsistentHash(hash) => hash.hashes_routing_key(),
            Index::Headers(_)
            | Index::Random(_)
            | Index::LocalRandom(_)
            | Index::RecentHistory(..) => false,
        }
    }

    /// Takes note of a message that is published to this exchange, if it keeps a history.
    pub fn record(&self, message: &Message) {
        if let Index::RecentHistory(_, history) = &self.index {
            history.record(message);
        }
    }

    /// What a destination receives at the moment it is bound, oldest first; empty unless the exchange keeps a history.
    pub fn history(&self) -> Vec<Message> {
        match &self.index {
            Index::RecentHistory(_, history) => history.messages(),
            _ => Vec::new(),
        }
    }

    /// The bindings, sorted by destination, routing key and arguments.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter()
    }

    /// The bindings to one destination.
    pub fn bindings_to(&self, destination: Destination) -> impl Iterator<Item = &Binding> {
        self.bindings.of(destination)
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Enters a new binding into the index.
    fn enter(&mut self, binding: &Binding) {
        let (destination, key) = (binding.destination, &*binding.key);
        match &mut self.index {
            Index::Direct(direct) => direct.insert(key, destination),
            Index::Topic(topic) => topic.insert(key, destination),
            Index::Headers(headers) => headers.insert(binding),
            Index::ConsistentHash(hash) => hash.insert(destination, key),
            Index::ModulusHash(modulus) => modulus.insert(destination),
            Index::Fanout(all)
            | Index::Random(all)
            | Index::LocalRandom(all)
            | Index::RecentHistory(all, _) => all.insert(destination),
        }
    }

    /// Takes a binding that is gone out of the index, unless another one needs the same entry.
    fn leave(&mut self, binding: &Binding) {
        let (destination, key) = (binding.destination, &*binding.key);
        let same_key = self.bindings.contains_key(destination, key);
        let other = self.bindings.of(destination).next();
        match &mut self.index {
            Index::Direct(direct) if !same_key => direct.remove(key, destination),
            Index::Topic(topic) if !same_key => topic.remove(key, destination),
            Index::Headers(headers) => headers.remove(binding),
            Index::ConsistentHash(hash) if !same_key => {
                hash.remove(destination, key);
                if let Some(other) = other {
                    hash.insert(destination, &other.key);
                }
            }
            Index::ModulusHash(modulus) if other.is_none() => modulus.remove(destination),
            Index::Fanout(all)
            | Index::Random(all)
            | Index::LocalRandom(all)
            | Index::RecentHistory(all, _)
                if other.is_none() =>
            {
                all.remove(destination);
            }
            _ => {}
        }
    }
}

/// Only the classic queues of this node can be reached without a hop, which is what the kind is for.
fn check_local_random(key: &[u8], queue: Option<queue::Kind>) -> Result<(), RouterError> {
    if !key.is_empty() {
        let key = String::from_utf8_lossy(key).into_owned();
        return Err(RouterError::NonEmptyKey(key));
    }
    match queue {
        Some(queue::Kind::Classic) => Ok(()),
        Some(queue::Kind::Quorum) => Err(RouterError::QueueType("rabbit_quorum_queue")),
        Some(queue::Kind::Stream) => Err(RouterError::QueueType("rabbit_stream_queue")),
        None => Err(RouterError::NotAQueue),
    }
}

/// Sorts what was appended from `start` on, and keeps one of each.
fn dedup_from(start: usize, out: &mut Vec<Destination>) {
    out[start..].sort_unstable();
    let mut kept = start;
    for at in start..out.len() {
        if kept == start || out[at] != out[kept - 1] {
            out[kept] = out[at];
            kept += 1;
        }
    }
    out.truncate(kept);
}

/// One member, by chance.
fn one_of(all: &IndexedSet<Destination>, random: u64) -> Option<Destination> {
    let members = all.as_slice();
    // The upper half of the product is uniform in 0..len, without the bias of a remainder.
    let at = (u128::from(random) * members.len() as u128) >> 64;
    members
        .get(usize::try_from(at).expect("less than a length"))
        .copied()
}

/// The headers of a message in their wire form; empty if its properties have none, or can't be read.
fn headers_of(properties: &[u8]) -> &[u8] {
    let properties = Properties::parse(properties).ok();
    let headers = properties.and_then(|properties| properties.headers());
    headers.unwrap_or_default()
}
