//! A map from keys to slots for keys that come densely and in order: an ordered map of leaves of 64 keys. A leaf is a bitmap
//! of the live ones and their slots without gaps: 20 bytes per record, also when one of a thousand is left.

use std::collections::BTreeMap;

use crate::format::{Place, SEGMENT};
use crate::owners::Holder;

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) place: Place,
    /// The log file with the op that says who holds it: that of the bytes, unless they lie in a segment. With [`SET`] if the
    /// holder is a set.
    home: u32,
    holder: u32,
}

/// No log file has a number with this bit.
const SET: u32 = SEGMENT;

impl Slot {
    pub(crate) fn new(place: Place, home: u32, holder: Holder) -> Self {
        let mut slot = Self {
            place,
            home,
            holder: 0,
        };
        slot.set_holder(holder);
        slot
    }

    pub(crate) fn home(&self) -> u32 {
        self.home & !SET
    }

    pub(crate) fn holder(&self) -> Holder {
        match self.home & SET {
            0 => Holder::One(self.holder),
            _ => Holder::Set(self.holder),
        }
    }

    pub(crate) fn set_holder(&mut self, holder: Holder) {
        (self.home, self.holder) = match holder {
            Holder::One(owner) => (self.home & !SET, owner),
            Holder::Set(set) => (self.home | SET, set),
        };
    }
}

const LEAF_BITS: u32 = 6;

/// 64 keys: those alive, and their slots in order.
#[derive(Debug, Default)]
struct Leaf {
    live: u64,
    slots: Vec<Slot>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    leaves: BTreeMap<u64, Leaf>,
    len: u64,
}

impl Slots {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn get(&self, key: u64) -> Option<&Slot> {
        let leaf = self.leaves.get(&(key >> LEAF_BITS))?;
        (leaf.live & bit(key) != 0).then(|| &leaf.slots[leaf.rank(key)])
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut Slot> {
        let leaf = self.leaves.get_mut(&(key >> LEAF_BITS))?;
        let rank = leaf.rank(key);
        (leaf.live & bit(key) != 0).then(|| &mut leaf.slots[rank])
    }

    /// Adds a slot for a key that has none.
    pub(crate) fn insert(&mut self, key: u64, slot: Slot) {
        let leaf = self.leaves.entry(key >> LEAF_BITS).or_default();
        leaf.slots.insert(leaf.rank(key), slot);
        leaf.live |= bit(key);
        self.len += 1;
    }

    /// Removes the slot of a key that has one.
    pub(crate) fn remove(&mut self, key: u64) {
        let number = key >> LEAF_BITS;
        let leaf = self.leaves.get_mut(&number).expect("the key has a slot");
        leaf.slots.remove(leaf.rank(key));
        leaf.live &= !bit(key);
        if leaf.slots.is_empty() {
            self.leaves.remove(&number);
        } else if leaf.slots.len() * 4 <= leaf.slots.capacity() {
            leaf.slots.shrink_to(leaf.slots.len() * 2);
        }
        self.len -= 1;
    }

    /// All slots from the leaf of `key` on, by key.
    pub(crate) fn from(&self, key: u64) -> impl Iterator<Item = (u64, &Slot)> {
        self.leaves
            .range(key >> LEAF_BITS..)
            .flat_map(|(number, leaf)| keys(*number, leaf.live).zip(&leaf.slots))
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.leaves.values().map(|leaf| leaf.slots.capacity()).sum()
    }
}

impl Leaf {
    /// How many live keys of the leaf come before `key`.
    fn rank(&self, key: u64) -> usize {
        (self.live & (bit(key) - 1)).count_ones() as usize
    }
}

fn bit(key: u64) -> u64 {
    1 << (key & ((1 << LEAF_BITS) - 1))
}

fn keys(leaf: u64, live: u64) -> impl Iterator<Item = u64> {
    (0..64)
        .filter(move |n| live & (1 << n) != 0)
        .map(move |n| (leaf << LEAF_BITS) | n)
}
