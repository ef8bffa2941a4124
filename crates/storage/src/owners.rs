//! Who holds a record. Nearly always one owner without a mark, which takes no more than its number. The others share their
//! sets: the records of a fan-out have the same owners, and as the queues go through them they lose them in the same order.
//!
//! A set never changes. A record goes from one to another by a *step*, and where a step leads is remembered, so that a million
//! records take the way of the first without looking at a thousand owners each.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

/// What one owner has of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hold {
    pub(crate) owner: u32,
    /// A page of the owner refers to the record.
    pub(crate) paged: bool,
    pub(crate) mark: u64,
}

impl Hold {
    /// What a put gives an owner.
    pub(crate) fn new(owner: u32) -> Self {
        Self {
            owner,
            paged: false,
            mark: 0,
        }
    }
}

/// Those who hold a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// One owner, without a mark and not in a page.
    One(u32),
    /// A set of [`OwnerSets`].
    Set(u32),
}

/// What can happen to a hold, besides a new mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Ends a hold that is not paged.
    Release(u32),
    /// Ends a hold that is.
    DropPaged(u32),
    PageOut(u32),
    PageIn(u32),
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct OwnerSets {
    sets: Vec<Set>,
    free: Vec<u32>,
    ids: HashMap<Arc<[Hold]>, u32, FixedState>,
    /// Where steps lead. May speak of sets that no record has now.
    steps: HashMap<(u32, Step), Option<Holder>, FixedState>,
    /// What the sets take that some record has, in holds.
    used: usize,
    /// What those take that no record has now. They are kept, since the next record is likely to come by.
    idle: usize,
}

#[derive(Debug)]
struct Set {
    holds: Arc<[Hold]>,
    records: u64,
}

/// What is kept idle, besides as much as is used: 16 MiB, the way of a record with 1000 owners to none.
const IDLE_KEPT: usize = 1 << 20;
/// What a set takes besides its holds.
const SET: usize = 8;

impl Set {
    fn size(&self) -> usize {
        SET + self.holds.len()
    }
}

impl OwnerSets {
    /// The holder that stands for `holds`; `None` if there are none.
    pub(crate) fn enter(&mut self, holds: &[Hold]) -> Option<Holder> {
        let holder = self.find(holds);
        self.count_in(holder);
        holder
    }

    pub(crate) fn holds(&self, set: u32) -> &[Hold] {
        &self.sets[set as usize].holds
    }

    /// Takes a record with `holder` one step further; `None` if that changes nothing.
    pub(crate) fn step(&mut self, holder: Holder, step: Step) -> Option<Option<Holder>> {
        let after = match holder {
            Holder::One(owner) => match step {
                Step::Release(who) if who == owner => None,
                Step::PageOut(who) if who == owner => {
                    let paged = Hold {
                        paged: true,
                        ..Hold::new(owner)
                    };
                    self.find(&[paged])
                }
                _ => return None,
            },
            Holder::Set(set) => match self.steps.get(&(set, step)) {
                Some(after) => *after,
                None => {
                    let after = self.find(&taken(self.holds(set), step)?);
                    self.steps.insert((set, step), after);
                    after
                }
            },
        };
        self.count_in(after);
        self.leave(holder);
        Some(after)
    }

    /// A record with `holder` is gone, or has another holder now.
    pub(crate) fn leave(&mut self, holder: Holder) {
        let Holder::Set(id) = holder else {
            return;
        };
        let set = &mut self.sets[id as usize];
        set.records -= 1;
        if set.records == 0 {
            self.used -= set.size();
            self.idle += set.size();
            if self.idle > self.used + IDLE_KEPT {
                self.forget_idle();
            }
        }
    }

    fn count_in(&mut self, holder: Option<Holder>) {
        let Some(Holder::Set(id)) = holder else {
            return;
        };
        let set = &mut self.sets[id as usize];
        if set.records == 0 {
            self.idle -= set.size();
            self.used += set.size();
        }
        set.records += 1;
    }

    /// The holder that stands for `holds`, perhaps a new set that nobody has yet.
    fn find(&mut self, holds: &[Hold]) -> Option<Holder> {
        match *holds {
            [] => return None,
            [hold] if hold == Hold::new(hold.owner) => return Some(Holder::One(hold.owner)),
            _ => {}
        }
        let mut holds = holds.to_vec();
        holds.sort_unstable();
        if let Some(id) = self.ids.get(&holds[..]) {
            return Some(Holder::Set(*id));
        }
        let holds: Arc<[Hold]> = holds.into();
        let set = Set {
            holds: holds.clone(),
            records: 0,
        };
        self.idle += set.size();
        let id = match self.free.pop() {
            Some(id) => {
                self.sets[id as usize] = set;
                id
            }
            None => {
                self.sets.push(set);
                u32::try_from(self.sets.len() - 1).expect("sets take far more than a byte each")
            }
        };
        self.ids.insert(holds, id);
        Some(Holder::Set(id))
    }

    /// Forgets the sets that no record has, and with them where steps lead.
    fn forget_idle(&mut self) {
        self.steps.clear();
        let sets = &mut self.sets;
        let free = &mut self.free;
        self.ids.retain(|_, id| {
            let set = &mut sets[*id as usize];
            if set.records == 0 {
                set.holds = Arc::default();
                free.push(*id);
            }
            set.records > 0
        });
        self.idle = 0;
    }
}

/// `holds` after a step; `None` if it is none for them.
fn taken(holds: &[Hold], step: Step) -> Option<Vec<Hold>> {
    let (owner, paged) = match step {
        Step::Release(owner) | Step::PageOut(owner) => (owner, false),
        Step::DropPaged(owner) | Step::PageIn(owner) => (owner, true),
    };
    let at = holds
        .iter()
        .position(|hold| hold.owner == owner && hold.paged == paged)?;
    let mut after = holds.to_vec();
    match step {
        Step::Release(_) | Step::DropPaged(_) => drop(after.remove(at)),
        Step::PageOut(_) => after[at].paged = true,
        Step::PageIn(_) => after[at].paged = false,
    }
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(owners: impl IntoIterator<Item = u32>) -> Vec<Hold> {
        owners.into_iter().map(Hold::new).collect()
    }

    #[test]
    fn records_of_a_fan_out_share_their_sets() {
        let mut sets = OwnerSets::default();
        let records: Vec<_> = (0..1000)
            .map(|_| sets.enter(&holds(0..100)).unwrap())
            .collect();
        assert_eq!(sets.sets.len(), 1);
        for record in records {
            let mut holder = Some(record);
            for owner in 0..100 {
                holder = sets.step(holder.unwrap(), Step::Release(owner)).unwrap();
            }
            assert_eq!(holder, None);
        }
        assert!(sets.sets.len() < 100, "one record's way");
        assert_eq!(sets.used, 0);
    }

    #[test]
    fn a_step_there_and_back() {
        let mut sets = OwnerSets::default();
        let both = sets.enter(&holds([2, 1])).unwrap();
        let paged = sets.step(both, Step::PageOut(2)).unwrap().unwrap();
        assert_ne!(both, paged);
        assert_eq!(sets.step(paged, Step::PageOut(2)), None, "it is in a page");
        let back = sets.step(paged, Step::PageIn(2)).unwrap().unwrap();
        assert_eq!(back, both);
        let one = sets.step(back, Step::Release(1)).unwrap().unwrap();
        assert_eq!(one, Holder::One(2));
        let paged = sets.step(one, Step::PageOut(2)).unwrap().unwrap();
        assert_eq!(sets.step(paged, Step::PageIn(1)), None);
        assert_eq!(sets.step(paged, Step::PageIn(2)), Some(Some(one)));
        let paged = sets.step(one, Step::PageOut(2)).unwrap().unwrap();
        assert_eq!(sets.step(paged, Step::Release(2)), None, "it is in a page");
        assert_eq!(sets.step(paged, Step::DropPaged(2)), Some(None));
        assert_eq!(sets.step(one, Step::Release(2)), Some(None));
        assert_eq!(sets.used, 0);
    }

    #[test]
    fn idle_sets_do_not_gather() {
        let mut sets = OwnerSets::default();
        for n in 0..3000 {
            let holder = sets.enter(&holds(n..n + 1000)).unwrap();
            sets.leave(holder);
        }
        assert!(sets.idle <= IDLE_KEPT + 1000 + SET, "{}", sets.idle);
        assert!(sets.sets.len() < 1100);
    }
}
