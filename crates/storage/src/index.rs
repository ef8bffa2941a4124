//! Which records are alive, who owns them and where their bytes lie. In memory only: recovery builds it from the log.
//!
//! Keys come densely and in order, so the index is an ordered map of pages of 64 keys. A page is a bitmap of the live ones
//! and their slots without gaps: 16 bytes per record, also when one of a thousand is left. A record with several owners or
//! with a mark other than 0 keeps them aside.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use crate::batch::{Malformed, Op, Ops, Owners};

/// Where bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) at: u32,
    pub(crate) len: u32,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    place: Place,
    /// The only owner, whose mark is 0, or [`ASIDE`].
    owner: u32,
}

/// In a slot: the owners are in [`Index::aside`].
const ASIDE: u32 = u32::MAX;

const PAGE_BITS: u32 = 6;

/// 64 keys: those alive, and their slots in order.
#[derive(Debug, Default)]
struct Page {
    live: u64,
    slots: Vec<Slot>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pages: BTreeMap<u64, Page>,
    aside: HashMap<u64, Vec<(u32, u64)>, FixedState>,
    definitions: BTreeMap<(u8, u64), Place>,
    owners: HashMap<u32, Owned, FixedState>,
    /// Owners dropped since the last sweep, with the first key they may own again.
    doomed: HashMap<u32, u64, FixedState>,
    /// Bytes it would take to write down what is alive in each file. A file that is not in here holds nothing alive.
    live_in: BTreeMap<u32, u64>,
    live_bytes: u64,
    records: u64,
    /// The key after the last one seen.
    next_key: u64,
    /// Whether the last op was a clean shutdown.
    closed: bool,
}

/// What an owner owns.
#[derive(Debug, Clone, Copy)]
struct Owned {
    records: u64,
    /// No record with a smaller key is owned.
    first_key: u64,
}

/// Bytes of log that moving takes besides the content: these are counted as alive too, so that cleaning always shrinks a log
/// that is larger than it has to be.
const RECORD_OVERHEAD: u64 = 21;
const OWNER_OVERHEAD: u64 = 12;
const DEFINITION_OVERHEAD: u64 = 18;

impl Index {
    /// Applies a frame's ops, which lie in `file` from offset `base`.
    pub(crate) fn apply(
        &mut self,
        ops: &[u8],
        file: u32,
        base: u64,
        first_key: u64,
    ) -> Result<(), Malformed> {
        self.next_key = self.next_key.max(first_key);
        let result = Ops::new(ops).try_for_each(|op| self.apply_op(op?, file, base));
        self.sweep();
        result
    }

    fn apply_op(&mut self, op: Op<'_>, file: u32, base: u64) -> Result<(), Malformed> {
        let place = |content: crate::batch::Content<'_>| {
            let at = u32::try_from(base + u64::from(content.at)).map_err(|_| Malformed)?;
            Ok(Place {
                file,
                at,
                len: content.bytes.len() as u32,
            })
        };
        self.closed = op == Op::Close;
        match op {
            Op::Put { owners, bytes } => {
                self.insert(self.next_key, place(bytes)?, owners);
                self.next_key = self.next_key.saturating_add(1);
            }
            // Its put came before it, even if that is gone.
            Op::Moved { key, .. } if key >= self.next_key => return Err(Malformed),
            Op::Moved { key, owners, bytes } => {
                self.remove(key);
                self.insert(key, place(bytes)?, owners);
            }
            Op::Release { owner, key } => self.release(owner, key),
            Op::Mark { owner, key, mark } => self.mark(owner, key, mark),
            Op::DropOwner { owner } => {
                if self.owners.contains_key(&owner) {
                    self.doomed.insert(owner, self.next_key);
                }
            }
            Op::Define { table, id, bytes } => {
                let place = place(bytes)?;
                let before = self.definitions.insert((table, id), place);
                self.count_definition(before, Some(place));
            }
            Op::Undefine { table, id } => {
                let before = self.definitions.remove(&(table, id));
                self.count_definition(before, None);
            }
            Op::Close => {}
        }
        Ok(())
    }

    /// Where a record's bytes lie, if it is alive.
    pub(crate) fn place(&self, key: u64) -> Option<Place> {
        self.slot(key).map(|slot| slot.place)
    }

    /// Where a definition's bytes lie, if it is defined.
    pub(crate) fn definition(&self, table: u8, id: u64) -> Option<Place> {
        self.definitions.get(&(table, id)).copied()
    }

    /// The owners of a live record, with their marks.
    pub(crate) fn owners_of(&self, key: u64, into: &mut Vec<(u32, u64)>) {
        into.clear();
        match self.slot(key) {
            Some(slot) if slot.owner == ASIDE => into.extend_from_slice(&self.aside[&key]),
            Some(slot) => into.push((slot.owner, 0)),
            None => {}
        }
    }

    /// All definitions, by table and id.
    pub(crate) fn definitions(&self) -> impl Iterator<Item = ((u8, u64), Place)> {
        self.definitions.iter().map(|(name, place)| (*name, *place))
    }

    /// All live records, by key.
    pub(crate) fn records(&self) -> impl Iterator<Item = (u64, Place)> {
        self.pages.iter().flat_map(|(page_number, page)| {
            keys(*page_number, page.live).zip(page.slots.iter().map(|slot| slot.place))
        })
    }

    pub(crate) fn next_key(&self) -> u64 {
        self.next_key
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    pub(crate) fn record_count(&self) -> u64 {
        self.records
    }

    pub(crate) fn definition_count(&self) -> u64 {
        self.definitions.len() as u64
    }

    /// The oldest file that holds something alive, and how many bytes of it.
    pub(crate) fn oldest_live(&self) -> Option<(u32, u64)> {
        self.live_in
            .first_key_value()
            .map(|(file, live)| (*file, *live))
    }

    fn insert(&mut self, key: u64, place: Place, owners: Owners<'_>) {
        if owners.len() == 0 {
            return;
        }
        let owner = match (owners.len(), owners.nth(0)) {
            (1, (owner, 0)) if owner != ASIDE => owner,
            _ => {
                self.aside.insert(key, owners.to_vec());
                ASIDE
            }
        };
        let page = self.pages.entry(key >> PAGE_BITS).or_default();
        page.slots.insert(page.rank(key), Slot { place, owner });
        page.live |= bit(key);
        self.records += 1;
        for n in 0..owners.len() {
            let owned = self.owners.entry(owners.nth(n).0).or_insert(Owned {
                records: 0,
                first_key: key,
            });
            owned.records += 1;
            owned.first_key = owned.first_key.min(key);
        }
        let owners = owners.len() as u64;
        self.grow(
            place,
            RECORD_OVERHEAD + u64::from(place.len) + owners * OWNER_OVERHEAD,
        );
    }

    /// Takes a record out with all its owners.
    fn remove(&mut self, key: u64) {
        let mut owners = Vec::new();
        self.owners_of(key, &mut owners);
        owners
            .iter()
            .for_each(|(owner, _)| self.release(*owner, key));
    }

    fn release(&mut self, owner: u32, key: u64) {
        let Some(slot) = self.slot(key).copied() else {
            return;
        };
        if slot.owner == ASIDE {
            let Some(owners) = self.aside.get_mut(&key) else {
                return;
            };
            let Some(position) = owners.iter().position(|(held_by, _)| *held_by == owner) else {
                return;
            };
            owners.swap_remove(position);
            if owners.is_empty() {
                self.aside.remove(&key);
                self.remove_slot(key, slot.place);
            }
        } else if slot.owner == owner {
            self.remove_slot(key, slot.place);
        } else {
            return;
        }
        self.shrink(slot.place, OWNER_OVERHEAD);
        self.disown(owner);
    }

    fn remove_slot(&mut self, key: u64, place: Place) {
        let page_number = key >> PAGE_BITS;
        let page = self
            .pages
            .get_mut(&page_number)
            .expect("the slot was found in it");
        page.slots.remove(page.rank(key));
        page.live &= !bit(key);
        if page.slots.is_empty() {
            self.pages.remove(&page_number);
        } else if page.slots.len() * 4 <= page.slots.capacity() {
            page.slots.shrink_to(page.slots.len() * 2);
        }
        self.records -= 1;
        self.shrink(place, RECORD_OVERHEAD + u64::from(place.len));
    }

    fn mark(&mut self, owner: u32, key: u64, mark: u64) {
        let Some(slot) = self.slot_mut(key) else {
            return;
        };
        if slot.owner == owner && owner != ASIDE {
            if mark != 0 {
                slot.owner = ASIDE;
                self.aside.insert(key, vec![(owner, mark)]);
            }
        } else if let Some(owners) = self.aside.get_mut(&key) {
            owners
                .iter_mut()
                .filter(|held| held.0 == owner)
                .for_each(|held| held.1 = mark);
        }
    }

    /// Ends the hold of all doomed owners in one walk. A walk per frame and not per owner: the more queues are deleted at
    /// once, the larger the frames are.
    fn sweep(&mut self) {
        let doomed = std::mem::take(&mut self.doomed);
        let Some(start) = doomed
            .keys()
            .filter_map(|owner| self.owners.get(owner))
            .map(|owned| owned.first_key)
            .min()
        else {
            return;
        };
        let mut held: u64 = doomed
            .keys()
            .filter_map(|owner| self.owners.get(owner))
            .map(|owned| owned.records)
            .sum();
        let mut hits = Vec::new();
        for (page_number, page) in self.pages.range(start >> PAGE_BITS..) {
            if held == 0 {
                break;
            }
            for (key, slot) in keys(*page_number, page.live).zip(&page.slots) {
                let mut check = |owner: u32| {
                    if let Some(bound) = doomed.get(&owner) {
                        held = held.saturating_sub(1);
                        if key < *bound {
                            hits.push((owner, key));
                        }
                    }
                };
                if slot.owner == ASIDE {
                    self.aside[&key].iter().for_each(|(owner, _)| check(*owner));
                } else {
                    check(slot.owner);
                }
            }
        }
        hits.iter()
            .for_each(|(owner, key)| self.release(*owner, *key));
    }

    fn disown(&mut self, owner: u32) {
        if let Some(owned) = self.owners.get_mut(&owner) {
            owned.records -= 1;
            if owned.records == 0 {
                self.owners.remove(&owner);
            }
        }
    }

    fn count_definition(&mut self, before: Option<Place>, after: Option<Place>) {
        if let Some(place) = after {
            self.grow(place, DEFINITION_OVERHEAD + u64::from(place.len));
        }
        if let Some(place) = before {
            self.shrink(place, DEFINITION_OVERHEAD + u64::from(place.len));
        }
    }

    fn grow(&mut self, place: Place, bytes: u64) {
        *self.live_in.entry(place.file).or_insert(0) += bytes;
        self.live_bytes += bytes;
    }

    fn shrink(&mut self, place: Place, bytes: u64) {
        let live = self
            .live_in
            .get_mut(&place.file)
            .expect("it was counted when it was added");
        *live -= bytes;
        if *live == 0 {
            self.live_in.remove(&place.file);
        }
        self.live_bytes -= bytes;
    }

    fn slot(&self, key: u64) -> Option<&Slot> {
        let page = self.pages.get(&(key >> PAGE_BITS))?;
        (page.live & bit(key) != 0).then(|| &page.slots[page.rank(key)])
    }

    fn slot_mut(&mut self, key: u64) -> Option<&mut Slot> {
        let page = self.pages.get_mut(&(key >> PAGE_BITS))?;
        let rank = page.rank(key);
        (page.live & bit(key) != 0).then(|| &mut page.slots[rank])
    }
}

impl Page {
    /// How many live keys of the page come before `key`.
    fn rank(&self, key: u64) -> usize {
        (self.live & (bit(key) - 1)).count_ones() as usize
    }
}

fn bit(key: u64) -> u64 {
    1 << (key & ((1 << PAGE_BITS) - 1))
}

fn keys(page_number: u64, live: u64) -> impl Iterator<Item = u64> {
    (0..64)
        .filter(move |n| live & (1 << n) != 0)
        .map(move |n| (page_number << PAGE_BITS) | n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{self, Batch};

    /// Applies a batch as if it were a frame's ops at offset 1000 of `file`.
    fn apply(index: &mut Index, file: u32, batch: &mut Batch) {
        let first_key = index.next_key();
        index.apply(batch.ops(), file, 1000, first_key).unwrap();
        batch.clear();
    }

    fn filled(records: u64) -> Index {
        let mut index = Index::default();
        let mut batch = Batch::new();
        for n in 0..records {
            batch.put(&[n as u32 % 3], &[b"1234567"]);
        }
        apply(&mut index, 1, &mut batch);
        index
    }

    #[test]
    fn few_of_many_stay_where_they_are() {
        let mut index = filled(1000);
        let kept: Vec<_> = index.records().filter(|(key, _)| key % 97 == 5).collect();
        let mut batch = Batch::new();
        for key in (0..1000).filter(|key| key % 97 != 5) {
            batch.release(key as u32 % 3, key);
        }
        apply(&mut index, 2, &mut batch);
        assert_eq!(index.records().collect::<Vec<_>>(), kept);
        assert_eq!(index.record_count(), 11);
        let slots: usize = index.pages.values().map(|page| page.slots.capacity()).sum();
        assert!(slots <= 4 * 11, "{slots} slots for 11 records");
    }

    #[test]
    fn releases_count_only_from_owners() {
        let mut index = filled(3);
        let mut batch = Batch::new();
        batch.release(1, 0);
        batch.release(7, 1);
        batch.release(0, 99);
        apply(&mut index, 1, &mut batch);
        assert_eq!(index.record_count(), 3);
    }

    #[test]
    fn drop_ends_at_what_was_put_before() {
        let mut index = filled(6);
        let mut batch = Batch::new();
        batch.drop_owner(0);
        batch.put(&[0, 1], &[b"later"]);
        apply(&mut index, 1, &mut batch);
        let keys: Vec<_> = index.records().map(|(key, _)| key).collect();
        assert_eq!(keys, [1, 2, 4, 5, 6]);
        let mut owners = Vec::new();
        index.owners_of(6, &mut owners);
        assert_eq!(owners, [(0, 0), (1, 0)]);
    }

    /// What is counted as alive comes back to nothing on every way out.
    #[test]
    fn live_bytes_balance() {
        let mut index = filled(9);
        let mut batch = Batch::new();
        batch.put(&[1, 2, 2, 5], &[b"four holds"]);
        batch.define(1, 1, b"definition");
        batch.define(1, 1, b"again");
        batch.mark(2, 9, 8);
        apply(&mut index, 2, &mut batch);
        let mut moved = Vec::new();
        let mut owners = Vec::new();
        index.owners_of(9, &mut owners);
        batch::push_moved(&mut moved, 9, &owners, b"four holds");
        index.apply(&moved, 3, 1000, 0).unwrap();
        assert_eq!(index.oldest_live().map(|(file, _)| file), Some(1));
        for owner in 0..6 {
            batch.drop_owner(owner);
        }
        batch.undefine(1, 1);
        apply(&mut index, 3, &mut batch);
        assert_eq!(
            (
                index.live_bytes(),
                index.oldest_live(),
                index.record_count()
            ),
            (0, None, 0)
        );
        assert!(index.pages.is_empty() && index.aside.is_empty() && index.owners.is_empty());
    }

    #[test]
    fn moved_record_without_a_put_before_it_is_malformed() {
        let mut moved = Vec::new();
        batch::push_moved(&mut moved, 9, &[(1, 0)], b"x");
        assert!(filled(9).apply(&moved, 1, 1000, 0).is_err());
    }
}
