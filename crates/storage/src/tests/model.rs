//! What a log must remember, kept in the simplest way there is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use crate::batch::Batch;
use crate::error::PageError;
use crate::log::Log;
use crate::page::{PageId, PageRecord, PagedRecord};
use crate::paging::Draft;
use crate::restore::Restored;
use crate::sim::Random;

/// What is alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) definitions: BTreeMap<(u8, u64), Vec<u8>>,
    /// Records with the owners that hold them outside of their pages.
    pub(super) records: BTreeMap<u64, Record>,
    pub(super) pages: BTreeMap<u64, Page>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    owners: BTreeMap<u32, u64>,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    owner: u32,
    meta: Vec<u8>,
    records: Vec<Paged>,
}

/// A record in a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paged {
    key: Option<u64>,
    mark: u64,
    note: u64,
    bytes: Vec<u8>,
}

/// A page that is written and not in the log.
struct Drafted {
    draft: Draft,
    owner: u32,
    meta: Vec<u8>,
    records: Vec<Paged>,
}

#[derive(Debug, Clone)]
enum Change {
    Put { owners: Vec<u32>, bytes: Vec<u8> },
    Release { owner: u32, key: u64 },
    Mark { owner: u32, key: u64, mark: u64 },
    DropOwner { owner: u32 },
    Define { table: u8, id: u64, bytes: Vec<u8> },
    Undefine { table: u8, id: u64 },
    PageOut { page: u64, content: Page },
    PageIn { page: u64 },
    DropPage { page: u64 },
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
            Restored::Page {
                page,
                owner,
                meta,
                count,
                first_key,
                last_key,
            } => {
                let in_order = self
                    .records
                    .last_key_value()
                    .is_none_or(|(last, _)| *last <= first_key);
                assert!(
                    in_order && first_key <= last_key,
                    "pages by their first keys"
                );
                let content = Page {
                    owner,
                    meta: meta.to_vec(),
                    records: Vec::with_capacity(count as usize),
                };
                let before = self.pages.insert(page.0, content);
                assert!(before.is_none(), "each page once");
            }
        }
    }

    /// Reads what is in the pages that were restored.
    pub(super) fn read_pages(&mut self, log: &Log) -> Result<(), PageError> {
        for (page, content) in &mut self.pages {
            let count = content.records.capacity();
            content.records = read_page(log, *page)?;
            assert_eq!(content.records.len(), count, "page {page}");
        }
        Ok(())
    }

    /// Fails with what differs: all of it would be hard to read.
    fn check_same(&self, found: &Self) {
        let mut differences = Vec::new();
        differ(
            "definition",
            &self.definitions,
            &found.definitions,
            &mut differences,
        );
        differ("record", &self.records, &found.records, &mut differences);
        differ("page", &self.pages, &found.pages, &mut differences);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }

    /// The process has ended: what was no record is gone.
    fn end_process(&mut self) {
        for page in self.pages.values_mut() {
            page.records.retain(|record| record.key.is_some());
        }
        self.pages.retain(|_, page| !page.records.is_empty());
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
            Change::DropOwner { owner } => {
                self.pages.retain(|_, page| page.owner != *owner);
                self.records.retain(|_, record| {
                    record.owners.remove(owner);
                    !record.owners.is_empty()
                });
            }
            Change::PageOut { page, content } => {
                for record in &content.records {
                    if let Some(key) = record.key {
                        let owner = content.owner;
                        self.apply(&Change::Release { owner, key }, next_key);
                    }
                }
                self.pages.insert(*page, content.clone());
            }
            Change::PageIn { page } => {
                let content = self.pages.remove(page).expect("only live pages");
                for record in content.records {
                    let Some(key) = record.key else { continue };
                    let loose = self.records.entry(key).or_insert_with(|| Record {
                        owners: BTreeMap::new(),
                        bytes: record.bytes,
                    });
                    loose.owners.insert(content.owner, record.mark);
                }
            }
            Change::DropPage { page } => {
                self.pages.remove(page);
            }
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
    drafts: Vec<Drafted>,
    notes: u64,
    /// More is put than released: there is a backlog.
    pub(super) hoards: bool,
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

    /// Does something with pages. What is durable has been settled.
    pub(super) fn page(
        &mut self,
        random: &mut Random,
        log: &Log,
        bytes_max: u64,
    ) -> Result<(), PageError> {
        match random.below(10) {
            0..4 => self.draft(random, log, bytes_max)?,
            4..6 => {
                log.sync_drafts()?;
                while let Some(drafted) = self.drafts.pop() {
                    if random.chance(80) {
                        self.commit(drafted, log);
                    }
                }
            }
            6..8 if self.hoards && random.chance(70) => {}
            6..8 => {
                if let Some(page) = self.random_page(random) {
                    let mut given = Vec::new();
                    log.page_in(PageId(page), &mut |record| given.push(Paged::from(record)))?;
                    assert_eq!(given, self.newest.pages[&page].records);
                    self.changed(Change::PageIn { page }, log.shared().last_lsn().0);
                }
            }
            8 => {
                if let Some(page) = self.random_page(random) {
                    assert_eq!(read_page(log, page)?, self.newest.pages[&page].records);
                    if random.chance(30) {
                        let mut batch = Batch::new();
                        batch.drop_page(PageId(page));
                        let lsn = log.append(&mut batch).lsn;
                        self.changed(Change::DropPage { page }, lsn.0);
                    }
                }
            }
            _ => while log.clean_segments()? && random.chance(80) {},
        }
        Ok(())
    }

    fn random_page(&self, random: &mut Random) -> Option<u64> {
        let pages = &self.newest.pages;
        let n = random.below(pages.len().max(1) as u64) as usize;
        pages.keys().nth(n).copied()
    }

    /// Drafts a run of one owner's records, with some that are in no log.
    fn draft(&mut self, random: &mut Random, log: &Log, bytes_max: u64) -> Result<(), PageError> {
        let owner = random.below(6) as u32;
        let held: Vec<_> = self
            .newest
            .records
            .iter()
            .filter(|(key, record)| {
                // The log has no more to say of them than it knows: a draft would wait for it.
                let mark = record.owners.get(&owner);
                let known = self.base.records.get(key);
                mark.is_some() && known.and_then(|known| known.owners.get(&owner)) == mark
            })
            .collect();
        let skipped = random.below(held.len() as u64 / 2 + 1) as usize;
        let len = random.below(20) as usize + 1;
        let mut records = Vec::new();
        for (key, record) in held.into_iter().skip(skipped).take(len) {
            self.notes += 1;
            records.push(Paged {
                key: Some(*key),
                mark: record.owners[&owner],
                note: self.notes,
                bytes: record.bytes.clone(),
            });
            if random.chance(5) {
                self.notes += 1;
                records.push(Paged {
                    key: None,
                    mark: 0,
                    note: self.notes,
                    bytes: random_bytes(random, bytes_max),
                });
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        let wanted: Vec<_> = records
            .iter()
            .map(|record| match record.key {
                Some(key) => PageRecord::Stored {
                    key,
                    note: record.note,
                },
                None => PageRecord::Inline {
                    bytes: &record.bytes,
                    note: record.note,
                },
            })
            .collect();
        let meta = random_bytes(random, 8);
        match log.draft_page(owner, &meta, &wanted) {
            Ok(draft) => self.drafts.push(Drafted {
                draft,
                owner,
                meta,
                records,
            }),
            Err(PageError::NoSpace) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Makes a draft a page, if everything in it is still as it was.
    fn commit(&mut self, drafted: Drafted, log: &Log) {
        let is_untouched = drafted.records.iter().all(|paged| {
            paged.key.is_none_or(|key| {
                let record = self.newest.records.get(&key);
                let mark = record.and_then(|record| record.owners.get(&drafted.owner));
                mark == Some(&paged.mark)
            })
        });
        if !is_untouched {
            return;
        }
        let page = log.commit_page(drafted.draft).0;
        let content = Page {
            owner: drafted.owner,
            meta: drafted.meta,
            records: drafted.records,
        };
        self.changed(Change::PageOut { page, content }, log.shared().last_lsn().0);
    }

    fn changed(&mut self, change: Change, lsn: u64) {
        self.newest.apply(&change, &mut self.next_key);
        self.batches.push((lsn, vec![change]));
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
        let what = match random.below(100) {
            40..60 if self.hoards => 0,
            what => what,
        };
        match what {
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
        self.base.end_process();
        self.base.check_same(found);
        self.drafts.clear();
        self.batches.clear();
        self.newest = self.base.clone();
        self.next_key = self.base_key;
    }

    /// The same without what is durable by chance only, and without drafts.
    pub(super) fn as_of(&self, lsn: u64) -> Self {
        let mut copy = Self {
            base: self.base.clone(),
            base_key: self.base_key,
            batches: self.batches.clone(),
            ..Self::default()
        };
        copy.settle(lsn);
        copy.batches.clear();
        copy
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

/// Lists what is not the same in two maps.
fn differ<K: Ord + Debug, V: PartialEq + Debug>(
    what: &str,
    expected: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
    into: &mut Vec<String>,
) {
    let keys: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    for key in keys {
        let (expected, found) = (expected.get(key), found.get(key));
        if expected != found {
            let line =
                |value: Option<&V>| format!("{value:.0?}").chars().take(300).collect::<String>();
            into.push(format!(
                "{what} {key:?}: expected {}, found {}",
                line(expected),
                line(found)
            ));
        }
    }
}

impl From<PagedRecord<'_>> for Paged {
    fn from(record: PagedRecord<'_>) -> Self {
        Self {
            key: record.key,
            mark: record.mark,
            note: record.note,
            bytes: record.bytes.to_vec(),
        }
    }
}

fn read_page(log: &Log, page: u64) -> Result<Vec<Paged>, PageError> {
    let mut records = Vec::new();
    log.read_page(PageId(page), &mut |record| records.push(record.into()))?;
    Ok(records)
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
        Change::PageOut { .. } | Change::PageIn { .. } | Change::DropPage { .. } => {
            unreachable!("pages have their own appends")
        }
    }
}
