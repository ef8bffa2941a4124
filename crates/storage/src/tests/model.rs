//! What a log must remember, kept in the simplest way there is.

use std::collections::BTreeMap;

use crate::batch::Batch;
use crate::log::Log;
use crate::restore::Restored;
use crate::sim::Random;

/// What is alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) definitions: BTreeMap<(u8, u64), Vec<u8>>,
    pub(super) records: BTreeMap<u64, Record>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    owners: BTreeMap<u32, u64>,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Change {
    Put { owners: Vec<u32>, bytes: Vec<u8> },
    Release { owner: u32, key: u64 },
    Mark { owner: u32, key: u64, mark: u64 },
    DropOwner { owner: u32 },
    Define { table: u8, id: u64, bytes: Vec<u8> },
    Undefine { table: u8, id: u64 },
}

impl State {
    pub(super) fn restore(&mut self, restored: Restored<'_>) {
        match restored {
            Restored::Definition { table, id, bytes } => {
                assert!(self.records.is_empty(), "definitions come first");
                let before = self.definitions.insert((table, id), bytes.to_vec());
                assert!(before.is_none(), "each definition once");
            }
            Restored::Record { key, owners, bytes } => {
                let in_order = self
                    .records
                    .last_key_value()
                    .is_none_or(|(last, _)| *last < key);
                assert!(in_order, "records by key, each once");
                let owners = owners.iter().copied().collect();
                self.records.insert(
                    key,
                    Record {
                        owners,
                        bytes: bytes.to_vec(),
                    },
                );
            }
            Restored::Page { .. } => unreachable!("nothing was paged out"),
        }
    }

    fn apply(&mut self, change: &Change, next_key: &mut u64) {
        match change {
            Change::Put { owners, bytes } => {
                let owners: BTreeMap<_, _> = owners.iter().map(|owner| (*owner, 0)).collect();
                if !owners.is_empty() {
                    self.records.insert(
                        *next_key,
                        Record {
                            owners,
                            bytes: bytes.clone(),
                        },
                    );
                }
                *next_key += 1;
            }
            Change::Release { owner, key } => {
                if let Some(record) = self.records.get_mut(key) {
                    record.owners.remove(owner);
                    if record.owners.is_empty() {
                        self.records.remove(key);
                    }
                }
            }
            Change::Mark { owner, key, mark } => {
                if let Some(held) = self
                    .records
                    .get_mut(key)
                    .and_then(|record| record.owners.get_mut(owner))
                {
                    *held = *mark;
                }
            }
            Change::DropOwner { owner } => self.records.retain(|_, record| {
                record.owners.remove(owner);
                !record.owners.is_empty()
            }),
            Change::Define { table, id, bytes } => {
                self.definitions.insert((*table, *id), bytes.clone());
            }
            Change::Undefine { table, id } => {
                self.definitions.remove(&(*table, *id));
            }
        }
    }
}

/// What was appended, and what is known to be durable of it.
#[derive(Default)]
pub(super) struct Model {
    /// The state that is durable for sure.
    base: State,
    base_key: u64,
    /// Batches after that.
    batches: Vec<(u64, Vec<Change>)>,
    /// The state with all batches: what changes are made up from.
    newest: State,
    next_key: u64,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            base_key: 1,
            next_key: 1,
            ..Self::default()
        }
    }

    /// Appends a random batch.
    pub(super) fn append(&mut self, random: &mut Random, log: &Log, bytes_max: u64) {
        let mut batch = Batch::new();
        let mut changes = Vec::new();
        let first_key = self.next_key;
        for _ in 0..=random.below(5) {
            let change = self.random_change(random, bytes_max);
            self.newest.apply(&change, &mut self.next_key);
            add(&mut batch, &change);
            changes.push(change);
        }
        let appended = log.append(&mut batch);
        assert_eq!(appended.first_key, first_key, "keys are dense");
        self.batches.push((appended.lsn.0, changes));
    }

    fn random_change(&self, random: &mut Random, bytes_max: u64) -> Change {
        let owner = random.below(6) as u32;
        let key = match self.newest.records.len() as u64 {
            0 => random.below(self.next_key + 1),
            // Mostly the oldest goes first, as in a queue.
            len if random.chance(50) => *self
                .newest
                .records
                .keys()
                .nth(random.below(len.min(3)) as usize)
                .unwrap(),
            len => *self
                .newest
                .records
                .keys()
                .nth(random.below(len) as usize)
                .unwrap(),
        };
        let owner = match self.newest.records.get(&key) {
            Some(record) if random.chance(90) => *record.owners.keys().next().unwrap(),
            _ => owner,
        };
        let (table, id) = (random.below(2) as u8, random.below(10));
        match random.below(100) {
            0..40 => {
                let owners = match random.below(10) {
                    0 => (0..6).filter(|_| random.chance(50)).collect(),
                    _ => vec![random.below(6) as u32],
                };
                Change::Put {
                    owners,
                    bytes: random_bytes(random, bytes_max),
                }
            }
            40..85 => Change::Release { owner, key },
            85..90 => Change::Mark {
                owner,
                key,
                mark: random.below(3),
            },
            90..92 => Change::DropOwner { owner },
            92..97 => Change::Define {
                table,
                id,
                bytes: random_bytes(random, bytes_max),
            },
            _ => Change::Undefine { table, id },
        }
    }

    /// The log was opened again and remembers everything up to `lsn`. What was known to be `durable` must be there, and
    /// `found` must be exactly what the batches up to there make.
    pub(super) fn check_reopened(&mut self, durable: u64, lsn: u64, found: &State) {
        assert!(
            lsn >= durable,
            "durable up to {durable}, but opened at {lsn}"
        );
        self.settle(lsn);
        assert_eq!(found, &self.base);
        self.batches.clear();
        self.newest = self.base.clone();
        self.next_key = self.base_key;
    }

    /// What is durable for sure.
    pub(super) fn durable_state(&self) -> &State {
        &self.base
    }

    /// Everything up to `lsn` stays as it is.
    pub(super) fn settle(&mut self, lsn: u64) {
        let later = self.batches.partition_point(|(batch, _)| *batch <= lsn);
        for (_, changes) in self.batches.drain(..later) {
            for change in &changes {
                self.base.apply(change, &mut self.base_key);
            }
        }
    }
}

/// Bytes that differ from most others, also in their parts.
fn random_bytes(random: &mut Random, max: u64) -> Vec<u8> {
    let len = random.below(max + 1) as usize;
    let mut bytes = vec![random.draw() as u8; len];
    bytes
        .iter_mut()
        .step_by(97)
        .for_each(|byte| *byte = random.draw() as u8);
    bytes
}

fn add(batch: &mut Batch, change: &Change) {
    match change {
        Change::Put { owners, bytes } => {
            let (head, tail) = bytes.split_at(bytes.len() / 2);
            batch.put(owners, &[head, tail]);
        }
        Change::Release { owner, key } => batch.release(*owner, *key),
        Change::Mark { owner, key, mark } => batch.mark(*owner, *key, *mark),
        Change::DropOwner { owner } => batch.drop_owner(*owner),
        Change::Define { table, id, bytes } => batch.define(*table, *id, bytes),
        Change::Undefine { table, id } => batch.undefine(*table, *id),
    }
}
