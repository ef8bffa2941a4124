//! Topic exchanges: patterns of words separated by dots, where `*` stands for one word and `#` for any number of them.
//!
//! The patterns form a trie of words. Its nodes lie in one vector, and one hash table holds the edges of all nodes, so
//! that a bind, an unbind and each step of a route cost the same whatever the number of patterns.
//!
//! ```text
//! a.b, a.*.c, #.c      root ─a─ ○ ─b─ ●            ● destinations end here
//!                       │       └─*─ ○ ─c─ ●
//!                       └─#─ ○ ─c─ ●
//! ```
//!
//! A route walks the trie along the words of the key. Only a `#` makes a choice that can be regretted, and each of them
//! is tried once per route ([`Walk::any_words`]): the work is at most (nodes × words), however hostile the patterns.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::{HashSet, HashTable};

use super::set::IndexedSet;
use super::{Destination, RouterError};

const SEED: FixedState = FixedState::with_seed(0);
const ANY_WORDS_MAX: usize = 2;

/// A node's place in [`Topic::nodes`].
type At = u32;
const ROOT: At = 0;
/// The root is nobody's child.
const NONE: At = ROOT;

#[derive(Debug)]
pub(super) struct Topic {
    nodes: Vec<Node>,
    /// Places in `nodes` that are free.
    free: Vec<At>,
    /// The children by plain words: found by parent and word, both of which the child knows.
    edges: HashTable<At>,
}

#[derive(Debug, Default)]
struct Node {
    parent: At,
    /// The word that leads here from the parent.
    word: Box<[u8]>,
    /// The child behind `*`.
    one_word: At,
    /// The child behind `#`.
    any_words: At,
    /// The number of children behind plain words.
    plain: u32,
    /// Of the patterns that end here.
    destinations: IndexedSet<Destination>,
}

impl Default for Topic {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            free: Vec::new(),
            edges: HashTable::new(),
        }
    }
}

/// RabbitMQ allows two `#` in a pattern.
pub(super) fn check(pattern: &[u8]) -> Result<(), RouterError> {
    let count = words(pattern).filter(|&word| word == b"#").count();
    if count > ANY_WORDS_MAX {
        return Err(RouterError::too_many_wildcards(pattern, count));
    }
    Ok(())
}

impl Topic {
    pub(super) fn insert(&mut self, pattern: &[u8], destination: Destination) {
        let mut at = ROOT;
        for word in words(pattern) {
            at = match self.child(at, word) {
                NONE => self.add_child(at, word),
                child => child,
            };
        }
        self.node_mut(at).destinations.insert(destination);
    }

    pub(super) fn remove(&mut self, pattern: &[u8], destination: Destination) {
        let mut at = ROOT;
        for word in words(pattern) {
            at = self.child(at, word);
            if at == NONE {
                return;
            }
        }
        self.node_mut(at).destinations.remove(destination);
        self.prune(at);
    }

    /// Appends the destinations of all patterns that match `key`; one that several patterns lead to, several times.
    /// Returns how many patterns matched.
    pub(super) fn route(&self, key: &[u8], out: &mut Vec<Destination>) -> usize {
        let mut walk = Walk {
            topic: self,
            out,
            matched: 0,
            tried: Tried::default(),
        };
        walk.from(ROOT, Rest::of(key));
        walk.matched
    }

    fn child(&self, parent: At, word: &[u8]) -> At {
        match word {
            b"*" => self.node(parent).one_word,
            b"#" => self.node(parent).any_words,
            _ => self.plain_child(parent, word),
        }
    }

    fn plain_child(&self, parent: At, word: &[u8]) -> At {
        let is_it = |&at: &At| {
            let node = self.node(at);
            node.parent == parent && *node.word == *word
        };
        let found = self.edges.find(edge_hash(parent, word), is_it);
        found.copied().unwrap_or(NONE)
    }

    fn add_child(&mut self, parent: At, word: &[u8]) -> At {
        let node = Node {
            parent,
            word: word.into(),
            ..Node::default()
        };
        let at = match self.free.pop() {
            Some(at) => {
                *self.node_mut(at) = node;
                at
            }
            None => {
                self.nodes.push(node);
                At::try_from(self.nodes.len() - 1).expect("fewer than 2^32 nodes fit in memory")
            }
        };
        match word {
            b"*" => self.node_mut(parent).one_word = at,
            b"#" => self.node_mut(parent).any_words = at,
            _ => {
                self.node_mut(parent).plain += 1;
                let nodes = &self.nodes;
                let rehash = |&at: &At| nodes[at as usize].edge_hash();
                self.edges
                    .insert_unique(edge_hash(parent, word), at, rehash);
            }
        }
        at
    }

    /// Removes `at` and its ancestors as long as they lead nowhere.
    fn prune(&mut self, mut at: At) {
        while at != ROOT && self.node(at).leads_nowhere() {
            let node = std::mem::take(self.node_mut(at));
            let parent = self.node_mut(node.parent);
            match &*node.word {
                b"*" => parent.one_word = NONE,
                b"#" => parent.any_words = NONE,
                _ => {
                    parent.plain -= 1;
                    let edge = self
                        .edges
                        .find_entry(node.edge_hash(), |&other| other == at);
                    edge.expect("a node has an edge from its parent").remove();
                }
            }
            self.free.push(at);
            at = node.parent;
        }
    }

    fn node(&self, at: At) -> &Node {
        &self.nodes[at as usize]
    }

    fn node_mut(&mut self, at: At) -> &mut Node {
        &mut self.nodes[at as usize]
    }
}

impl Node {
    fn leads_nowhere(&self) -> bool {
        self.destinations.is_empty()
            && self.plain == 0
            && self.one_word == NONE
            && self.any_words == NONE
    }

    fn edge_hash(&self) -> u64 {
        edge_hash(self.parent, &self.word)
    }
}

fn edge_hash(parent: At, word: &[u8]) -> u64 {
    let mut hasher = SEED.build_hasher();
    hasher.write_u32(parent);
    hasher.write(word);
    hasher.finish()
}

/// What is left of a key: the words from an offset on, or nothing.
#[derive(Clone, Copy)]
struct Rest<'k>(Option<&'k [u8]>);

impl<'k> Rest<'k> {
    /// An empty key has no words, while `a.` has two, the second of them empty: as in RabbitMQ.
    fn of(key: &'k [u8]) -> Self {
        Self((!key.is_empty()).then_some(key))
    }

    fn is_empty(self) -> bool {
        self.0.is_none()
    }

    /// The first word, and what follows it.
    fn split(self) -> Option<(&'k [u8], Self)> {
        let key = self.0?;
        Some(match key.iter().position(|&octet| octet == b'.') {
            Some(dot) => (&key[..dot], Self(Some(&key[dot + 1..]))),
            None => (key, Self(None)),
        })
    }
}

fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Rest::of(key);
    std::iter::from_fn(move || {
        let (word, behind) = rest.split()?;
        rest = behind;
        Some(word)
    })
}

/// One route through the trie.
struct Walk<'a> {
    topic: &'a Topic,
    out: &'a mut Vec<Destination>,
    matched: usize,
    tried: Tried,
}

impl Walk<'_> {
    /// Everything below `at` that matches `rest`. The recursion is as deep as the longest pattern.
    fn from(&mut self, at: At, rest: Rest<'_>) {
        let topic = self.topic;
        let node = topic.node(at);
        if rest.is_empty() {
            self.arrive(node);
        }
        if node.any_words != NONE {
            self.any_words(node.any_words, rest);
        }
        let Some((word, behind)) = rest.split() else {
            return;
        };
        if node.one_word != NONE {
            self.from(node.one_word, behind);
        }
        if node.plain > 0 {
            let child = topic.plain_child(at, word);
            if child != NONE {
                self.from(child, behind);
            }
        }
    }

    /// `at` is behind a `#`, which may take none of the words of `rest`, or one, or more of them.
    ///
    /// Once per route is enough: the first arrival has the most words left, so all that a later one could find has been
    /// found. (Two arrivals at one node differ only in how many words the `#` before it took, fewest first.)
    fn any_words(&mut self, at: At, mut rest: Rest<'_>) {
        if !self.tried.insert(at) {
            return;
        }
        let node = self.topic.node(at);
        // With no pattern that goes on, only the end of the key matters.
        let goes_on = node.plain > 0 || node.one_word != NONE || node.any_words != NONE;
        while goes_on && !rest.is_empty() {
            self.from(at, rest);
            rest = rest.split().map_or(Rest(None), |(_, behind)| behind);
        }
        self.from(at, Rest(None));
    }

    fn arrive(&mut self, node: &Node) {
        if !node.destinations.is_empty() {
            self.matched += 1;
            self.out.extend_from_slice(node.destinations.as_slice());
        }
    }
}

/// The `#` nodes that a walk has been through. A few have room on the stack; only a key that meets more of them than
/// usual costs an allocation.
#[derive(Default)]
struct Tried {
    few: [At; 16],
    few_len: usize,
    many: HashSet<At, FixedState>,
}

impl Tried {
    /// False if `at` is there already.
    fn insert(&mut self, at: At) -> bool {
        if self.few[..self.few_len].contains(&at) {
            return false;
        }
        if let Some(slot) = self.few.get_mut(self.few_len) {
            *slot = at;
            self.few_len += 1;
            return true;
        }
        self.many.insert(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{topic_matches, words};
    use super::{Destination, ROOT, Topic};
    use crate::ids::QueueId;

    fn queue(id: usize) -> Destination {
        Destination::Queue(QueueId(u32::try_from(id).unwrap()))
    }

    /// A pattern of up to six words, more than half of them wildcards; read as a key, they are words like others.
    fn any_pattern() -> impl Strategy<Value = String> {
        let word = prop::sample::select(&["#", "#", "*", "a", "b", ""][..]);
        prop::collection::vec(word, 0..7).prop_map(|words| words.join("."))
    }

    proptest! {
        /// Each pattern has a destination of its own, so that a pattern which is met twice shows.
        #[test]
        fn agrees_with_a_naive_matcher(
            patterns in prop::collection::btree_set(any_pattern(), 0..30),
            keys in prop::collection::vec(any_pattern(), 1..20),
        ) {
            let mut topic = Topic::default();
            for (id, pattern) in patterns.iter().enumerate() {
                topic.insert(pattern.as_bytes(), queue(id));
            }
            for key in keys {
                let numbered = patterns.iter().enumerate();
                let expected: Vec<_> = numbered
                    .filter(|(_, pattern)| topic_matches(&words(pattern), &words(&key)))
                    .map(|(id, _)| queue(id))
                    .collect();
                let mut found = Vec::new();
                let matched = topic.route(key.as_bytes(), &mut found);
                prop_assert_eq!(matched, found.len());
                found.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn nothing_is_left_of_patterns_that_are_gone(
            patterns in prop::collection::btree_set(any_pattern(), 0..30),
            first in any::<prop::sample::Index>(),
        ) {
            let mut topic = Topic::default();
            for pattern in &patterns {
                topic.insert(pattern.as_bytes(), queue(1));
            }
            let first = first.index(patterns.len() + 1);
            for pattern in patterns.iter().skip(first).chain(patterns.iter().take(first)) {
                topic.remove(pattern.as_bytes(), queue(1));
            }
            prop_assert_eq!(topic.nodes.len() - topic.free.len(), 1);
            prop_assert!(topic.edges.is_empty());
            prop_assert!(topic.node(ROOT).leads_nowhere());
        }
    }

    /// Trying each way to share out the words among the wildcards would take longer than anybody waits.
    #[test]
    fn hostile_patterns_end() {
        let mut topic = Topic::default();
        for hostile in ["#.a", "#.*", "#.#.a", "*.#.a.#"] {
            topic.insert([hostile; 30].join(".").as_bytes(), queue(1));
            topic.insert(
                format!("{}.b", [hostile; 30].join(".")).as_bytes(),
                queue(2),
            );
        }
        let key = [b"a".as_slice(); 128].join(&b'.');
        let mut found = Vec::new();
        assert_eq!(topic.route(&key, &mut found), 4);
        assert_eq!(found, [queue(1); 4]);
    }
}
