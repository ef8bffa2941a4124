//! A set that is read as a slice, with insertion and removal at a cost that does not grow with its size.

use std::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Up to this many members a scan is as fast as the position table, and most sets (the queues behind one routing key)
/// have a single member.
const SCANNED_MAX: usize = 16;

/// The members lie in a vector, in an order given by the history of insertions and removals. A larger set also keeps
/// where each one lies.
#[derive(Debug)]
pub(super) struct IndexedSet<T> {
    members: Vec<T>,
    positions: Option<Box<HashMap<T, u32, FixedState>>>,
}

impl<T> Default for IndexedSet<T> {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            positions: None,
        }
    }
}

impl<T: Copy + Eq + Hash> IndexedSet<T> {
    pub(super) fn as_slice(&self) -> &[T] {
        &self.members
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn contains(&self, member: T) -> bool {
        self.position(member).is_some()
    }

    /// Does nothing if `member` is there already.
    pub(super) fn insert(&mut self, member: T) {
        if self.contains(member) {
            return;
        }
        if self.members.is_empty() {
            // A set of one is the common case; the usual growth would start with room for four.
            self.members.reserve_exact(1);
        }
        self.members.push(member);
        match &mut self.positions {
            Some(positions) => {
                positions.insert(member, position(self.members.len() - 1));
            }
            None if self.members.len() > SCANNED_MAX => {
                let numbered = self.members.iter().enumerate();
                let positions = numbered.map(|(at, &member)| (member, position(at)));
                self.positions = Some(Box::new(positions.collect()));
            }
            None => {}
        }
    }

    /// Does nothing if `member` is not there.
    pub(super) fn remove(&mut self, member: T) {
        let Some(at) = self.position(member) else {
            return;
        };
        self.members.swap_remove(at);
        if let Some(positions) = &mut self.positions {
            positions.remove(&member);
            if let Some(&moved) = self.members.get(at) {
                positions.insert(moved, position(at));
            }
        }
        if self.members.is_empty() {
            *self = Self::default();
        }
    }

    fn position(&self, member: T) -> Option<usize> {
        match &self.positions {
            Some(positions) => positions.get(&member).map(|&at| at as usize),
            None => self.members.iter().position(|&other| other == member),
        }
    }
}

fn position(at: usize) -> u32 {
    u32::try_from(at).expect("members are ids of 32 bits, each at most once")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set(ops in prop::collection::vec((any::<bool>(), 0..40u32), 0..300)) {
            let (mut set, mut model) = (IndexedSet::default(), BTreeSet::new());
            for (insert, member) in ops {
                if insert {
                    set.insert(member);
                    model.insert(member);
                } else {
                    set.remove(member);
                    model.remove(&member);
                }
                let mut members = set.as_slice().to_vec();
                members.sort_unstable();
                prop_assert_eq!(members, model.iter().copied().collect::<Vec<_>>());
            }
        }
    }
}
