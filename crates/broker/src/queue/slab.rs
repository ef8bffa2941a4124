//! What has been handed out and waits for an answer, found by its [`DeliveryId`] in constant time.

use crate::ids::DeliveryId;

/// A table whose keys are given by itself. A key is a slot and a serial number, so that an answer that comes twice, or
/// too late, finds nothing even when its slot has been used again.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// The first of the free slots, each of which names the next; `END` after the last.
    free: u32,
    serial: u32,
    length: usize,
}

#[derive(Debug)]
enum Slot<T> {
    Free(u32),
    Used(u32, T),
}

const END: u32 = u32::MAX;

impl<T> Slab<T> {
    /// An empty table with more slots than this gives its memory back.
    const CAPACITY_KEPT: usize = 256;

    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: END,
            serial: 0,
            length: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn insert(&mut self, value: T) -> DeliveryId {
        self.serial = self.serial.wrapping_add(1);
        self.length += 1;
        if self.free == END {
            self.free = u32::try_from(self.slots.len()).expect("fewer than 2^32 unsettled");
            self.slots.push(Slot::Free(END));
        }
        let at = self.free;
        let slot = &mut self.slots[at as usize];
        let Slot::Free(next) = *slot else {
            unreachable!("the free list names free slots only");
        };
        self.free = next;
        *slot = Slot::Used(self.serial, value);
        key(self.serial, at)
    }

    pub(super) fn remove(&mut self, id: DeliveryId) -> Option<T> {
        let (serial, at) = parts(id);
        let slot = self.slots.get_mut(at as usize)?;
        if !matches!(slot, Slot::Used(used, _) if *used == serial) {
            return None;
        }
        let Slot::Used(_, value) = std::mem::replace(slot, Slot::Free(self.free)) else {
            unreachable!("just seen to be in use");
        };
        self.free = at;
        self.length -= 1;
        if self.length == 0 && self.slots.len() > Self::CAPACITY_KEPT {
            self.slots = Vec::new();
            self.free = END;
        }
        Some(value)
    }

    pub(super) fn get(&self, id: DeliveryId) -> Option<&T> {
        let (serial, at) = parts(id);
        match self.slots.get(at as usize)? {
            Slot::Used(used, value) if *used == serial => Some(value),
            _ => None,
        }
    }

    /// Everything in it, in the order of the slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DeliveryId, &T)> {
        self.slots
            .iter()
            .zip(0..)
            .filter_map(|(slot, at)| match slot {
                Slot::Used(serial, value) => Some((key(*serial, at), value)),
                Slot::Free(_) => None,
            })
    }
}

fn key(serial: u32, at: u32) -> DeliveryId {
    DeliveryId(u64::from(serial) << 32 | u64::from(at))
}

fn parts(id: DeliveryId) -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the key")]
    let parts = ((id.0 >> 32) as u32, id.0 as u32);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_works_once_even_when_its_slot_is_used_again() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.get(first), Some(&'a'));
        assert_eq!(slab.remove(first), Some('a'));
        assert_eq!(slab.remove(first), None);
        let second = slab.insert('b');
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.remove(second), Some('b'));
        assert_eq!(slab.len(), 0);
    }

    #[test]
    fn memory_goes_back_and_old_keys_stay_dead() {
        let mut slab = Slab::new();
        let keys: Vec<_> = (0..1000).map(|n| slab.insert(n)).collect();
        assert!(slab.iter().map(|(key, _)| key).eq(keys.iter().copied()));
        for (n, &key) in keys.iter().enumerate() {
            assert_eq!(slab.remove(key), Some(n));
        }
        assert_eq!(slab.slots.capacity(), 0);
        slab.insert(0);
        assert!(keys.iter().all(|&key| slab.remove(key).is_none()));
    }
}
