//! The bindings that leave one exchange, as a set: what they are, apart from how the exchange's kind looks them up.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::Destination;
use crate::table::Table;

/// One binding. Its identity is destination, routing key and arguments, the order of the arguments aside.
#[derive(Debug, Clone)]
pub struct Binding {
    /// Where it leads to.
    pub destination: Destination,
    /// The binding's routing key: a pattern for a topic exchange, a weight for a consistent hash exchange.
    pub key: Box<[u8]>,
    /// The arguments as they were given.
    pub arguments: Table,
    /// The arguments sorted by name, in wire form: what equality and order go by.
    canonical: Box<[u8]>,
}

impl Binding {
    pub(super) fn new(destination: Destination, key: &[u8], arguments: &Table) -> Self {
        Self {
            destination,
            key: key.into(),
            arguments: arguments.clone(),
            canonical: canonical(arguments),
        }
    }

    /// Two bindings with equal arguments have equal bytes here.
    pub(super) fn canonical_arguments(&self) -> &[u8] {
        &self.canonical
    }

    fn identity(&self) -> (Destination, &[u8], &[u8]) {
        (self.destination, &self.key, &self.canonical)
    }
}

fn canonical(arguments: &Table) -> Box<[u8]> {
    if arguments.is_empty() {
        return Box::default();
    }
    let mut entries: Vec<_> = arguments.iter().collect();
    entries.sort_by_key(|(name, _)| *name);
    let sorted: Table = entries
        .into_iter()
        .map(|(name, value)| (Box::from(name), value.clone()))
        .collect();
    let mut bytes = Vec::new();
    sorted.encode(&mut bytes);
    bytes.into()
}

impl PartialEq for Binding {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Binding {}

impl PartialOrd for Binding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Binding {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

/// Ordered by destination first, so that the bindings of a queue that goes away lie side by side, and so that a
/// listing does not depend on the order in which the bindings were made.
#[derive(Debug, Default)]
pub(super) struct Bindings(BTreeSet<Binding>);

impl Bindings {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.0.iter()
    }

    pub(super) fn contains(&self, binding: &Binding) -> bool {
        self.0.contains(binding)
    }

    /// False if it is there already.
    pub(super) fn insert(&mut self, binding: Binding) -> bool {
        self.0.insert(binding)
    }

    /// False if it is not there.
    pub(super) fn remove(&mut self, binding: &Binding) -> bool {
        self.0.remove(binding)
    }

    /// Removes and returns all that lead to `destination`.
    pub(super) fn take_all(&mut self, destination: Destination) -> Vec<Binding> {
        let gone: Vec<_> = self.of(destination).cloned().collect();
        for binding in &gone {
            self.0.remove(binding);
        }
        gone
    }

    /// All that lead to `destination`.
    pub(super) fn of(&self, destination: Destination) -> impl Iterator<Item = &Binding> {
        self.starting_at(destination, b"")
    }

    /// Whether `destination` is bound with `key`, whatever the arguments.
    pub(super) fn contains_key(&self, destination: Destination, key: &[u8]) -> bool {
        let first = self.starting_at(destination, key).next();
        first.is_some_and(|binding| *binding.key == *key)
    }

    fn starting_at(&self, destination: Destination, key: &[u8]) -> impl Iterator<Item = &Binding> {
        // Empty arguments have the smallest canonical form: nothing with this key lies before.
        let first = Binding::new(destination, key, &Table::new());
        self.0
            .range(first..)
            .take_while(move |binding| binding.destination == destination)
    }
}
