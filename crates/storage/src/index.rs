//! Which records and pages are alive, who owns them and where their bytes lie. In memory only: recovery builds it from the log.
//!
//! A record is in here by its key (`slots`), with its holder (`owners`). Of a page there is one entry, however many records it
//! holds. What is alive is counted for each file (`live`): the bytes in the file they lie in, and what the log says about them
//! in the file that says it. Nothing of the latter may go with its file while the former are needed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;

use crate::batch::{Content, Malformed, Op, Ops, PageEnd, PageOp};
use crate::format::{Place, SEGMENT};
use crate::keys::Keys;
use crate::live::Live;
use crate::owners::{Hold, Holder, OwnerSets, Step};
use crate::slots::{Slot, Slots};

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Index {
    slots: Slots,
    sets: OwnerSets,
    definitions: BTreeMap<(u8, u64), Place>,
    pages: BTreeMap<u64, Page>,
    /// Owner and id of each page.
    pages_of: BTreeSet<(u32, u64)>,
    /// Records of the log in pages.
    paged: u64,
    owners: HashMap<u32, Owned, FixedState>,
    /// Owners dropped since the last sweep, with the first key they may own again.
    doomed: HashMap<u32, u64, FixedState>,
    live: Live,
    /// The key after the last one seen.
    next_key: u64,
    /// The page after the last one seen.
    next_page: u64,
    /// The last segment that was spoken of.
    newest_segment: u32,
    /// Whether the last op was a clean shutdown.
    closed: bool,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) owner: u32,
    pub(crate) place: Place,
    /// The log file with the op that says all about it.
    pub(crate) home: u32,
    pub(crate) count: u32,
    pub(crate) first_key: u64,
    pub(crate) last_key: u64,
    pub(crate) meta: Box<[u8]>,
    /// Keys of records that others may hold too, as `keys` packs them.
    shared: Box<[u8]>,
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
const OWNER_OVERHEAD: u64 = 13;
const DEFINITION_OVERHEAD: u64 = 18;
const PAGE_OVERHEAD: u64 = 54;
/// What `placed` takes in the place of the content.
const PLACE_OVERHEAD: u64 = 12;
/// Bytes in a segment besides the content.
const CRC: u64 = 4;

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
        let place = |content: Content<'_>| {
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
                let place = place(bytes)?;
                match owners.only() {
                    Some(owner) => self.insert(self.next_key, place, file, &[Hold::new(owner)]),
                    None => self.insert(self.next_key, place, file, &owners.to_vec()),
                }
                self.next_key = self.next_key.saturating_add(1);
            }
            // Its put came before it, even if that is gone.
            Op::Moved { key, .. } | Op::Placed { key, .. } if key >= self.next_key => {
                return Err(Malformed);
            }
            Op::Moved { key, owners, bytes } => {
                self.remove(key);
                self.insert(key, place(bytes)?, file, &owners.to_vec());
            }
            Op::Placed { key, place, owners } => {
                self.remove(key);
                self.see_segment(place);
                self.insert(key, place, file, &owners.to_vec());
            }
            Op::Relocated { key, place } => self.relocate(key, place),
            Op::Release { owner, key } => self.release(owner, key),
            Op::Mark { owner, key, mark } => self.mark(owner, key, mark),
            Op::DropOwner { owner } => self.doom(owner),
            Op::Define { table, id, bytes } => {
                let place = place(bytes)?;
                let before = self.definitions.insert((table, id), place);
                self.count_definition(before, Some(place));
            }
            Op::Undefine { table, id } => {
                let before = self.definitions.remove(&(table, id));
                self.count_definition(before, None);
            }
            Op::Page(page) => self.page_out(&page, file),
            Op::Unpage(page) => self.page_in(&page),
            Op::DropPage(page) => self.drop_page(&page),
            Op::PageMoved { page, place } => self.move_page(page, place),
            Op::Close => {}
        }
        Ok(())
    }

    /// Where a record's bytes lie, if it is alive.
    pub(crate) fn place(&self, key: u64) -> Option<Place> {
        self.slots.get(key).map(|slot| slot.place)
    }

    /// A live record.
    pub(crate) fn slot(&self, key: u64) -> Option<Slot> {
        self.slots.get(key).copied()
    }

    /// Where a definition's bytes lie, if it is defined.
    pub(crate) fn definition(&self, table: u8, id: u64) -> Option<Place> {
        self.definitions.get(&(table, id)).copied()
    }

    /// Who holds a live record.
    pub(crate) fn holds_of(&self, key: u64, into: &mut Vec<Hold>) {
        into.clear();
        match self.slots.get(key).map(Slot::holder) {
            Some(Holder::One(owner)) => into.push(Hold::new(owner)),
            Some(Holder::Set(set)) => into.extend_from_slice(self.sets.holds(set)),
            None => {}
        }
    }

    /// All definitions, by table and id.
    pub(crate) fn definitions(&self) -> impl Iterator<Item = ((u8, u64), Place)> {
        self.definitions.iter().map(|(name, place)| (*name, *place))
    }

    /// All live records, by key.
    pub(crate) fn records(&self) -> impl Iterator<Item = (u64, Place)> {
        self.records_from(0)
    }

    /// The live records from a key on.
    pub(crate) fn records_from(&self, key: u64) -> impl Iterator<Item = (u64, Place)> {
        self.slots
            .from(key)
            .skip_while(move |(found, _)| *found < key)
            .map(|(key, slot)| (key, slot.place))
    }

    /// A live page.
    pub(crate) fn page(&self, page: u64) -> Option<&Page> {
        self.pages.get(&page)
    }

    /// All live pages, by id.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (u64, &Page)> {
        self.pages.iter().map(|(id, page)| (*id, page))
    }

    pub(crate) fn next_key(&self) -> u64 {
        self.next_key
    }

    pub(crate) fn next_page(&self) -> u64 {
        self.next_page
    }

    pub(crate) fn newest_segment(&self) -> u32 {
        self.newest_segment
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    pub(crate) fn record_count(&self) -> u64 {
        self.slots.len()
    }

    pub(crate) fn page_count(&self) -> u64 {
        self.pages.len() as u64
    }

    pub(crate) fn paged_count(&self) -> u64 {
        self.paged
    }

    pub(crate) fn definition_count(&self) -> u64 {
        self.definitions.len() as u64
    }

    /// Forgets the pages that hold nothing of the log: what was in them did not have to outlive its process.
    pub(crate) fn forget_transient_pages(&mut self) {
        let transient = |(id, page): (&u64, &Page)| (page.count == 0).then_some(*id);
        let ids: Vec<_> = self.pages.iter().filter_map(transient).collect();
        for id in ids {
            self.remove_page(id);
        }
    }

    fn insert(&mut self, key: u64, place: Place, home: u32, holds: &[Hold]) {
        for hold in holds {
            let owned = self.owners.entry(hold.owner).or_insert(Owned {
                records: 0,
                first_key: key,
            });
            owned.records += 1;
            owned.first_key = owned.first_key.min(key);
        }
        self.live.grow(home, holds.len() as u64 * OWNER_OVERHEAD);
        let Some(holder) = self.sets.enter(holds) else {
            return;
        };
        let slot = Slot::new(place, home, holder);
        self.slots.insert(key, slot);
        self.grow_record(slot);
    }

    /// Takes a record out with all its owners.
    fn remove(&mut self, key: u64) {
        let mut holds = Vec::new();
        self.holds_of(key, &mut holds);
        holds.iter().for_each(|hold| self.end(*hold, key));
    }

    fn release(&mut self, owner: u32, key: u64) {
        self.end(Hold::new(owner), key);
    }

    /// Ends a hold, whatever its mark.
    fn end(&mut self, hold: Hold, key: u64) {
        let step = match hold.paged {
            true => Step::DropPaged(hold.owner),
            false => Step::Release(hold.owner),
        };
        if let Some(home) = self.step(key, step) {
            self.live.shrink(home, OWNER_OVERHEAD);
            self.disown(hold.owner);
        }
    }

    /// Changes one hold on a record. Gives the record's home, if there was a hold to change.
    fn step(&mut self, key: u64, step: Step) -> Option<u32> {
        let slot = self.slots.get_mut(key)?;
        match self.sets.step(slot.holder(), step)? {
            Some(holder) => slot.set_holder(holder),
            None => {
                let slot = *slot;
                self.slots.remove(key);
                self.shrink_record(slot);
                return Some(slot.home());
            }
        }
        Some(slot.home())
    }

    fn mark(&mut self, owner: u32, key: u64, mark: u64) {
        let mut holds = Vec::new();
        self.holds_of(key, &mut holds);
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        holds
            .iter_mut()
            .filter(|hold| hold.owner == owner && !hold.paged)
            .for_each(|hold| hold.mark = mark);
        let before = slot.holder();
        let after = self.sets.enter(&holds).expect("it had holders");
        slot.set_holder(after);
        self.sets.leave(before);
    }

    fn relocate(&mut self, key: u64, place: Place) {
        self.see_segment(place);
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let before = *slot;
        slot.place = place;
        let after = *slot;
        self.grow_record(after);
        self.shrink_record(before);
    }

    fn page_out(&mut self, op: &PageOp<'_>, file: u32) {
        self.see_page(op.page);
        self.see_segment(op.place);
        self.remove_page(op.page);
        op.own.iter().for_each(|key| self.release(op.owner, key));
        for key in op.shared.iter() {
            self.step(key, Step::PageOut(op.owner));
        }
        let page = Page {
            owner: op.owner,
            place: op.place,
            home: file,
            count: op.count,
            first_key: op.first_key,
            last_key: op.last_key,
            meta: op.meta.into(),
            shared: op.shared.packed().into(),
        };
        self.live.grow(file, page.log_bytes());
        self.live.grow(op.place.file, u64::from(op.place.len));
        self.paged += u64::from(page.count);
        self.pages.insert(op.page, page);
        self.pages_of.insert((op.owner, op.page));
    }

    fn page_in(&mut self, end: &PageEnd<'_>) {
        self.see_page(end.page);
        self.remove_page(end.page);
        for key in end.shared.iter() {
            self.step(key, Step::PageIn(end.owner));
        }
    }

    fn drop_page(&mut self, end: &PageEnd<'_>) {
        self.see_page(end.page);
        self.remove_page(end.page);
        let hold = Hold {
            paged: true,
            ..Hold::new(end.owner)
        };
        end.shared.iter().for_each(|key| self.end(hold, key));
    }

    fn move_page(&mut self, id: u64, place: Place) {
        self.see_page(id);
        self.see_segment(place);
        let Some(page) = self.pages.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut page.place, place);
        self.live.grow(place.file, u64::from(place.len));
        self.live.shrink(before.file, u64::from(before.len));
    }

    /// Takes a page out. Its owner's holds on shared records stay as they are.
    fn remove_page(&mut self, id: u64) {
        let Some(page) = self.pages.remove(&id) else {
            return;
        };
        self.pages_of.remove(&(page.owner, id));
        self.paged -= u64::from(page.count);
        self.live.shrink(page.home, page.log_bytes());
        self.live.shrink(page.place.file, u64::from(page.place.len));
    }

    fn see_page(&mut self, page: u64) {
        self.next_page = self.next_page.max(page.saturating_add(1));
    }

    fn see_segment(&mut self, place: Place) {
        self.newest_segment = self.newest_segment.max(place.file & !SEGMENT);
    }

    /// The owner's pages go at once, its records with the next sweep.
    fn doom(&mut self, owner: u32) {
        let pages: Vec<_> = self
            .pages_of
            .range((owner, 0)..=(owner, u64::MAX))
            .map(|(_, page)| *page)
            .collect();
        for page in pages {
            self.remove_page(page);
        }
        if self.owners.contains_key(&owner) {
            self.doomed.insert(owner, self.next_key);
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
        // The doomed in each set, looked for once.
        let mut in_sets: HashMap<u32, Vec<Hold>, FixedState> = HashMap::default();
        let mut hits = Vec::new();
        for (key, slot) in self.slots.from(start) {
            if held == 0 {
                break;
            }
            let mut check = |hold: Hold| {
                if let Some(bound) = doomed.get(&hold.owner) {
                    held = held.saturating_sub(1);
                    if key < *bound {
                        hits.push((hold, key));
                    }
                }
            };
            match slot.holder() {
                Holder::One(owner) => check(Hold::new(owner)),
                Holder::Set(set) => in_sets
                    .entry(set)
                    .or_insert_with(|| doomed_in(self.sets.holds(set), &doomed))
                    .iter()
                    .for_each(|hold| check(*hold)),
            }
        }
        hits.iter().for_each(|(hold, key)| self.end(*hold, *key));
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
            self.live
                .grow(place.file, DEFINITION_OVERHEAD + u64::from(place.len));
        }
        if let Some(place) = before {
            self.live
                .shrink(place.file, DEFINITION_OVERHEAD + u64::from(place.len));
        }
    }

    fn grow_record(&mut self, slot: Slot) {
        for (file, bytes) in record_bytes(slot) {
            self.live.grow(file, bytes);
        }
    }

    fn shrink_record(&mut self, slot: Slot) {
        for (file, bytes) in record_bytes(slot) {
            self.live.shrink(file, bytes);
        }
    }
}

/// What a record takes besides its owners: in its home, and where its bytes lie.
fn record_bytes(slot: Slot) -> [(u32, u64); 2] {
    let len = u64::from(slot.place.len);
    match slot.place.is_in_segment() {
        true => [
            (slot.home(), RECORD_OVERHEAD + PLACE_OVERHEAD),
            (slot.place.file, CRC + len),
        ],
        false => [(slot.home(), RECORD_OVERHEAD + len), (slot.home(), 0)],
    }
}

fn doomed_in(holds: &[Hold], doomed: &HashMap<u32, u64, FixedState>) -> Vec<Hold> {
    holds
        .iter()
        .copied()
        .filter(|hold| doomed.contains_key(&hold.owner))
        .collect()
}

impl Page {
    /// Keys of records that others may hold too.
    pub(crate) fn shared(&self) -> Keys<'_> {
        Keys::new(&self.shared).expect("they were checked when they were read")
    }

    /// What the log says about the page, to be written again.
    pub(crate) fn to_op(&self, page: u64) -> PageOp<'_> {
        PageOp {
            page,
            owner: self.owner,
            place: self.place,
            count: self.count,
            first_key: self.first_key,
            last_key: self.last_key,
            meta: &self.meta,
            own: Keys::NONE,
            shared: self.shared(),
        }
    }

    fn log_bytes(&self) -> u64 {
        PAGE_OVERHEAD + (self.meta.len() + self.shared.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{self, Batch};
    use crate::keys;

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
        let slots = index.slots.capacity();
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
        index.holds_of(6, &mut owners);
        assert_eq!(owners, [Hold::new(0), Hold::new(1)]);
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
        index.holds_of(9, &mut owners);
        batch::push_moved(&mut moved, 9, &owners, b"four holds");
        index.apply(&moved, 3, 1000, 0).unwrap();
        assert_eq!(
            index.live().oldest_log_file().map(|(file, _)| file),
            Some(1)
        );
        for owner in 0..6 {
            batch.drop_owner(owner);
        }
        batch.undefine(1, 1);
        apply(&mut index, 3, &mut batch);
        assert_eq!(
            (
                index.live().in_log(),
                index.live().oldest_log_file(),
                index.record_count()
            ),
            (0, None, 0)
        );
        assert!(index.slots.len() == 0 && index.owners.is_empty());
    }

    #[test]
    fn moved_record_without_a_put_before_it_is_malformed() {
        let mut moved = Vec::new();
        batch::push_moved(&mut moved, 9, &[Hold::new(1)], b"x");
        assert!(filled(9).apply(&moved, 1, 1000, 0).is_err());
    }

    const SEGMENT_1: u32 = SEGMENT | 1;

    fn place(at: u32, len: u32) -> Place {
        Place {
            file: SEGMENT_1,
            at,
            len,
        }
    }

    /// Applies ops that only the log makes.
    fn apply_ops(index: &mut Index, file: u32, push: impl FnOnce(&mut Vec<u8>)) {
        let mut ops = Vec::new();
        push(&mut ops);
        index.apply(&ops, file, 1000, 0).unwrap();
    }

    /// Record 0 of one owner, and record 1 of two, both in a page of owner 1.
    fn paged() -> Index {
        let mut index = Index::default();
        let mut batch = Batch::new();
        batch.put(&[1], &[b"1234567"]);
        batch.put(&[1, 2], &[b"7654321"]);
        apply(&mut index, 1, &mut batch);
        apply_ops(&mut index, 2, |ops| {
            batch::push_relocated(ops, 1, place(4100, 7));
            let (own, shared) = (keys::pack([0]), keys::pack([1]));
            batch::push_page(ops, &page(5, &own, &shared));
        });
        index
    }

    fn page<'a>(page: u64, own: &'a [u8], shared: &'a [u8]) -> PageOp<'a> {
        PageOp {
            page,
            owner: 1,
            place: place(5000, 99),
            count: 2,
            first_key: 0,
            last_key: 1,
            meta: b"meta",
            own: Keys::new(own).unwrap(),
            shared: Keys::new(shared).unwrap(),
        }
    }

    fn end(page: u64, shared: &[u8]) -> PageEnd<'_> {
        PageEnd {
            page,
            owner: 1,
            shared: Keys::new(shared).unwrap(),
        }
    }

    fn holds(index: &Index, key: u64) -> Vec<Hold> {
        let mut holds = Vec::new();
        index.holds_of(key, &mut holds);
        holds
    }

    /// Owners of a record outside of pages.
    fn loose(index: &Index, key: u64) -> Vec<u32> {
        let holds = holds(index, key);
        let loose = holds.iter().filter(|hold| !hold.paged);
        loose.map(|hold| hold.owner).collect()
    }

    #[test]
    fn page_takes_and_gives_back() {
        let mut index = paged();
        assert_eq!((loose(&index, 0), loose(&index, 1)), (vec![], vec![2]));
        assert_eq!((index.record_count(), index.paged_count()), (1, 2));
        assert_eq!(index.live().in_segments(), 99 + 7 + CRC);
        // A release of what is in a page is none.
        let mut batch = Batch::new();
        batch.release(1, 1);
        apply(&mut index, 2, &mut batch);
        apply_ops(&mut index, 3, |ops| {
            batch::push_unpage(ops, &end(5, &keys::pack([1])));
            batch::push_placed(ops, 0, place(5060, 7), &[Hold::new(1)]);
        });
        assert_eq!((loose(&index, 0), loose(&index, 1)), (vec![1], vec![1, 2]));
        assert_eq!(index.live().in_segments(), 2 * (7 + CRC));
        assert_eq!((index.page_count(), index.paged_count()), (0, 0));
    }

    /// A page and a record go where they are copied to, and nothing comes back for them when they are gone.
    #[test]
    fn copies_in_another_segment() {
        let mut index = paged();
        let there = |len| Place {
            file: SEGMENT | 2,
            at: 4096,
            len,
        };
        let copy = |index: &mut Index| {
            apply_ops(index, 3, |ops| {
                batch::push_page_moved(ops, 5, there(99));
                batch::push_relocated(ops, 1, there(7));
            });
        };
        copy(&mut index);
        assert_eq!(index.live().in_file(SEGMENT_1), 0);
        assert_eq!(index.live().in_file(SEGMENT | 2), 99 + 7 + CRC);
        let mut batch = Batch::new();
        batch.drop_owner(1);
        batch.drop_owner(2);
        apply(&mut index, 3, &mut batch);
        copy(&mut index);
        assert_eq!((index.live().in_segments(), index.live().in_log()), (0, 0));
    }

    /// Every way out of a page brings what is counted as alive back to nothing.
    #[test]
    fn live_bytes_of_pages_balance() {
        let shared = keys::pack([1]);
        let ways: [fn(&mut Index, &[u8]); 3] = [
            |index, shared| {
                apply_ops(index, 4, |ops| {
                    batch::push_unpage(ops, &end(5, shared));
                    batch::push_placed(ops, 0, place(5060, 7), &[Hold::new(1)]);
                });
                let mut batch = Batch::new();
                batch.release(1, 0);
                batch.release(1, 1);
                apply(index, 4, &mut batch);
            },
            |index, shared| apply_ops(index, 4, |ops| batch::push_drop_page(ops, &end(5, shared))),
            |index, _| {
                let mut batch = Batch::new();
                batch.drop_owner(1);
                apply(index, 4, &mut batch);
            },
        ];
        for way in ways {
            let mut index = paged();
            // Cleaning has carried it all.
            apply_ops(&mut index, 3, |ops| {
                batch::push_placed(ops, 1, place(4100, 7), &holds(&paged(), 1));
                batch::push_page(ops, &page(5, &[], &shared));
            });
            assert_eq!(
                index.live().oldest_log_file().map(|(file, _)| file),
                Some(3)
            );
            way(&mut index, &shared);
            assert_eq!(loose(&index, 1), [2]);
            let mut batch = Batch::new();
            batch.release(2, 1);
            apply(&mut index, 4, &mut batch);
            assert_eq!((index.live().in_segments(), index.live().in_log()), (0, 0));
            assert!(index.pages_of.is_empty() && index.owners.is_empty());
        }
    }

    /// The page's own op may be gone while the record's, carried further, says that a page refers to it.
    #[test]
    fn end_of_a_page_is_understood_without_the_page() {
        for (is_dropped, expected) in [(false, vec![1, 2]), (true, vec![2])] {
            let mut index = Index::default();
            let mut ops = Vec::new();
            batch::push_placed(&mut ops, 1, place(4100, 7), &holds(&paged(), 1));
            index.apply(&ops, 6, 1000, 2).unwrap();
            let shared = keys::pack([1]);
            apply_ops(&mut index, 7, |ops| match is_dropped {
                true => batch::push_drop_page(ops, &end(5, &shared)),
                false => batch::push_unpage(ops, &end(5, &shared)),
            });
            assert_eq!(loose(&index, 1), expected);
            assert!(holds(&index, 1).iter().all(|hold| !hold.paged));
        }
    }

    #[test]
    fn transient_pages_are_forgotten() {
        let mut index = Index::default();
        apply_ops(&mut index, 1, |ops| {
            let transient = PageOp {
                count: 0,
                ..page(1, &[], &[])
            };
            batch::push_page(ops, &transient);
        });
        index.forget_transient_pages();
        assert_eq!((index.page_count(), index.live().in_segments()), (0, 0));
        assert_eq!(index.next_page(), 2, "its number is not given again");
    }
}
