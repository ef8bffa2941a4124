//! Pages: what a caller that has too much in memory puts away, and takes back whole.
//!
//! ```text
//! draft    copy records to a segment      nothing is alive there yet; no lock of the caller's is needed
//! sync     of all drafts so far
//! commit   append the op that says so     the records are in the page; if a draft is dropped instead, nothing has happened
//! page in  read, append                   the records are what they were, only that their bytes lie in the segment
//! ```
//!
//! Who drafts and who takes back need not be the same thread. What they append has the order in which they append it, and the
//! bytes they speak of stay where they are until the index knows of it: that is what pins are for.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::batch::{self, Batch, PageEnd, PageOp};
use crate::bodies::{Bodies, Source};
use crate::disk::DiskFile;
use crate::error::{Failed, Loss, PageError, ReadError};
use crate::format::{self, Place, Salt};
use crate::keys::{self, Keys};
use crate::owners::Hold;
use crate::page::{self, CRC, Entry, Kind, PageBytes, PageId, PageRecord, PagedRecord};
use crate::segment::{Pin, Reserved, Segments};
use crate::segment_cleaning::SegmentCleaner;
use crate::shared::Shared;
use crate::store::CommittedPage;

/// What a page's meta may have.
const META_MAX: usize = 64;

/// See the module's page.
pub(crate) struct Paging {
    pub(crate) shared: Arc<Shared>,
    pub(crate) segments: Segments,
    next_page: AtomicU64,
    /// Pages from this one on are of this process, and so are their inline records.
    first_own_page: u64,
    accept_loss: bool,
    losses: Mutex<Vec<Loss>>,
    pub(crate) cleaner: Mutex<SegmentCleaner>,
}

/// A page that is written to a segment and not yet in the log: [`Log::commit_page`](crate::Log::commit_page) puts it there.
/// Dropping it gives it up.
pub struct Draft {
    page: u64,
    owner: u32,
    place: Place,
    /// What the log is to say.
    ops: Vec<u8>,
    /// Keys of records that others may hold too, as `keys` packs them.
    shared: Vec<u8>,
    pin: Pin,
    write: u64,
    /// Whether it holds records of the log, which must not get lost.
    is_stored: bool,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft")
            .field("page", &self.page)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Paging {
    pub(crate) fn new(
        shared: Arc<Shared>,
        segments: Segments,
        next_page: u64,
        accept_loss: bool,
        losses: Vec<Loss>,
    ) -> Self {
        Self {
            shared,
            segments,
            next_page: AtomicU64::new(next_page),
            first_own_page: next_page,
            accept_loss,
            losses: Mutex::new(losses),
            cleaner: Mutex::default(),
        }
    }

    pub(crate) fn draft(
        &self,
        owner: u32,
        meta: &[u8],
        records: &[PageRecord<'_>],
    ) -> Result<Draft, PageError> {
        assert!(
            meta.len() <= META_MAX,
            "a page's meta of {} bytes",
            meta.len()
        );
        let count = records.len() as u64;
        assert!(
            (1..=keys::KEYS_MAX).contains(&count),
            "a page of {count} records"
        );
        let page = self.next_page.fetch_add(1, Ordering::Relaxed);
        let sketch = self.sketch(owner, records)?;
        let (reserved, write) = self.segments.write(sketch.len(), |reserved| {
            let header = page::header(&reserved.salt, page, owner, &sketch.directory);
            sketch.write(reserved, &header)
        })?;
        let place = sketch.page_place(&reserved);
        let mut ops = Vec::new();
        sketch.push_relocated(&mut ops, &reserved);
        sketch.push_page(&mut ops, page, owner, place, meta);
        Ok(Draft {
            page,
            owner,
            place,
            ops,
            shared: pack(&sketch.shared),
            pin: reserved.pin,
            write,
            is_stored: sketch.is_stored(),
        })
    }

    /// Puts together what is to be written.
    fn sketch(&self, owner: u32, records: &[PageRecord<'_>]) -> Result<Sketch, PageError> {
        let found = match self.find(owner, records) {
            // Put or paged in a moment ago, maybe: the index knows of them when that is durable.
            Err(PageError::Gone(_)) => {
                self.shared.wait_for_appended()?;
                self.find(owner, records)
            }
            found => found,
        }?;
        let mut sketch = Sketch::default();
        let mut bodies = Bodies::default();
        for (record, found) in records.iter().zip(found) {
            let before = sketch.len();
            match (*record, found) {
                (PageRecord::Inline { bytes, note }, _) => sketch.add_inline(bytes, note),
                (PageRecord::Stored { key, note }, Found::Own { mark, source }) => {
                    self.body(key, &source, &mut bodies, |bytes| {
                        sketch.add_own(key, note, mark, bytes);
                    })?;
                }
                (PageRecord::Stored { key, note }, Found::Shared { source }) => {
                    if source.place.is_in_segment() {
                        sketch.add_shared(key, note);
                    } else {
                        self.body(key, &source, &mut bodies, |bytes| {
                            sketch.add_shared(key, note);
                            sketch.add_relocated(key, bytes);
                        })?;
                    }
                }
                (PageRecord::Stored { .. }, Found::Nothing) => {}
            }
            if let (PageRecord::Stored { key, .. }, true) = (*record, sketch.len() == before) {
                return Err(PageError::Gone(key));
            }
        }
        Ok(sketch)
    }

    /// Looks up where the records lie, all at the same time.
    fn find(&self, owner: u32, records: &[PageRecord<'_>]) -> Result<Vec<Found>, PageError> {
        let store = self.shared.store.lock();
        let mut holds = Vec::new();
        let find = |record: &PageRecord<'_>| {
            let PageRecord::Stored { key, .. } = *record else {
                return Ok(Found::Nothing);
            };
            let source = store.record(key, &mut holds).ok_or(PageError::Gone(key))?;
            match holds[..] {
                [hold] if hold.owner == owner && !hold.paged => Ok(Found::Own {
                    mark: hold.mark,
                    source,
                }),
                _ if holds.iter().any(|hold| hold.owner == owner && !hold.paged) => {
                    Ok(Found::Shared { source })
                }
                _ => Err(PageError::Gone(key)),
            }
        };
        records.iter().map(find).collect()
    }

    /// Hands out the bytes of a record that lay at `source` a moment ago, if they are still there.
    fn body(
        &self,
        key: u64,
        source: &Source,
        bodies: &mut Bodies,
        to: impl FnOnce(&[u8]),
    ) -> Result<(), PageError> {
        if let Ok(Some(bytes)) = bodies.read(source) {
            to(bytes);
            return Ok(());
        }
        // It may have moved, and its file been given another life.
        match self.shared.read(key) {
            Ok(bytes) => to(&bytes),
            Err(ReadError::Gone(_)) => {}
            Err(ReadError::Damaged { .. }) => {
                self.lose(source.place, 0, "a record is not valid")?
            }
            Err(ReadError::Failed(failed)) => return Err(failed.into()),
            Err(error) => return Err(self.fail(Failed::new(error)).into()),
        }
        Ok(())
    }

    pub(crate) fn commit(&self, draft: Draft) -> PageId {
        assert!(
            !draft.is_stored || self.segments.is_synced(draft.write),
            "a draft with records of the log is committed without a sync"
        );
        let page = draft.page;
        let committed = CommittedPage {
            owner: draft.owner,
            place: draft.place,
            shared: draft.shared,
            lsn: u64::MAX,
        };
        // Before the index can know of it, or it would stay.
        self.shared.store.lock().committed.insert(page, committed);
        let mut batch = Batch::new();
        *batch.ops_mut() = draft.ops;
        let lsn = self.shared.append(&batch).lsn.0;
        let mut store = self.shared.store.lock();
        if store.applied >= lsn {
            store.committed.remove(&page);
        } else if let Some(committed) = store.committed.get_mut(&page) {
            committed.lsn = lsn;
        }
        drop(store);
        draft.pin.hold_through(lsn);
        PageId(page)
    }

    pub(crate) fn page_in(
        &self,
        page: PageId,
        each: &mut dyn FnMut(PagedRecord<'_>),
    ) -> Result<(), PageError> {
        let found = self.find_page(page)?;
        let mut batch = Batch::new();
        let ops = batch.ops_mut();
        batch::push_unpage(ops, &found.end(page));
        self.give(page, &found, &mut |record, place| {
            if let (Some(key), Some(place)) = (record.key, place) {
                let hold = Hold {
                    mark: record.mark,
                    ..Hold::new(found.owner)
                };
                batch::push_placed(ops, key, place, &[hold]);
            }
            each(record);
        })?;
        let lsn = self.shared.append(&batch).lsn.0;
        found.pin.hold_through(lsn);
        Ok(())
    }

    pub(crate) fn read_page(
        &self,
        page: PageId,
        each: &mut dyn FnMut(PagedRecord<'_>),
    ) -> Result<(), PageError> {
        let found = self.find_page(page)?;
        self.give(page, &found, &mut |record, _| each(record))
    }

    /// Puts into a batch what the log has to say of the pages that it drops. Those that are not there are ignored.
    pub(crate) fn complete(&self, batch: &mut Batch) {
        let dropped = batch.take_dropped();
        if dropped.is_empty() {
            return;
        }
        let store = self.shared.store.lock();
        for page in dropped {
            if let Some((owner, _, shared)) = store.page(page.0) {
                let page = page.0;
                let end = PageEnd {
                    page,
                    owner,
                    shared,
                };
                batch::push_drop_page(batch.ops_mut(), &end);
            }
        }
    }

    pub(crate) fn will_need(&self, page: PageId) {
        let store = self.shared.store.lock();
        let source = store
            .page(page.0)
            .and_then(|(_, place, _)| store.source(place));
        drop(store);
        if let Some(Source { place, file, .. }) = source {
            file.will_need(u64::from(place.at), u64::from(place.len));
        }
    }

    pub(crate) fn read_found(&self, found: &FoundPage) -> Result<Vec<u8>, Failed> {
        let mut bytes = vec![0; found.place.len as usize];
        found
            .file
            .read_at(&mut bytes, u64::from(found.place.at))
            .map_err(|error| {
                let name = format::segment_name(found.place.file);
                self.fail(Failed::io("reading", &name, &error))
            })?;
        Ok(bytes)
    }

    pub(crate) fn find_page(&self, page: PageId) -> Result<FoundPage, PageError> {
        let mut store = self.shared.store.lock();
        let (owner, place, shared) = store.page(page.0).ok_or(PageError::NoPage(page))?;
        let shared = shared.packed().to_vec();
        let segment = store
            .segments
            .get_mut(&place.file)
            .ok_or(PageError::NoPage(page))?;
        Ok(FoundPage {
            owner,
            place,
            shared,
            file: segment.file.clone(),
            salt: segment.salt.clone(),
            pin: Pin::new(&self.shared, segment, place.file),
        })
    }

    /// Reads a page and hands out what is in it; of its own records also where they lie. All is read before any of it is
    /// handed out: a page is given whole, unless losses are accepted.
    fn give(
        &self,
        page: PageId,
        found: &FoundPage,
        each: &mut dyn FnMut(PagedRecord<'_>, Option<Place>),
    ) -> Result<(), PageError> {
        let bytes = self.read_found(found)?;
        let Some(content) = PageBytes::new(&found.salt, page.0, found.owner, &bytes) else {
            return self.lose(found.place, 0, "the page is not valid");
        };
        let mut shared = self.shared_bodies(found, &content)?.into_iter();
        let mut all = Vec::new();
        for (entry, at) in content.entries() {
            let is_past = entry.kind == Kind::Inline && page.0 < self.first_own_page;
            let body = match entry.kind {
                Kind::Shared => shared.next().flatten(),
                Kind::Own | Kind::Inline => content
                    .body(&entry, at)
                    .map(|bytes| (entry.mark, Cow::Borrowed(bytes))),
            };
            match body {
                Some(body) if !is_past => all.push((entry, at, body)),
                Some(_) => {}
                None => self.lose(found.place, at, "a record in a page is not valid")?,
            }
        }
        for (entry, at, (mark, bytes)) in &all {
            let record = PagedRecord {
                key: (entry.kind != Kind::Inline).then_some(entry.key),
                mark: *mark,
                note: entry.note,
                bytes,
            };
            let place = (entry.kind == Kind::Own).then(|| found.place_of(entry, *at));
            each(record, place);
        }
        Ok(())
    }

    /// The marks and bytes of the records that a page refers to, in order; `None` for one that is lost.
    fn shared_bodies(
        &self,
        found: &FoundPage,
        content: &PageBytes<'_>,
    ) -> Result<Vec<Option<SharedBody>>, PageError> {
        let mut holds = Vec::new();
        let store = self.shared.store.lock();
        let sources: Vec<_> = content
            .entries()
            .filter(|(entry, _)| entry.kind == Kind::Shared)
            .map(|(entry, _)| {
                let source = store.record(entry.key, &mut holds);
                let hold = holds.iter().find(|hold| hold.owner == found.owner);
                (entry.key, hold.map_or(0, |hold| hold.mark), source)
            })
            .collect();
        drop(store);
        let mut bodies = Bodies::default();
        let mut read = Vec::new();
        for (key, mark, source) in sources {
            let mut body = None;
            if let Some(source) = source {
                self.body(key, &source, &mut bodies, |bytes| {
                    body = Some((mark, Cow::Owned(bytes.to_vec())));
                })?;
            }
            read.push(body);
        }
        Ok(read)
    }

    /// Something at an offset in what lies at `place` is lost: the end of the log, or a loss more.
    pub(crate) fn lose(
        &self,
        place: Place,
        offset: usize,
        what: &'static str,
    ) -> Result<(), PageError> {
        let loss = Loss {
            file: format::file_name(place.file),
            offset: u64::from(place.at) + offset as u64,
            what,
            frames: None,
        };
        if !self.accept_loss {
            self.fail(Failed::new(&loss));
            return Err(PageError::Damaged(loss));
        }
        let mut losses = self.losses.lock();
        if !losses.contains(&loss) {
            losses.push(loss);
        }
        Ok(())
    }

    pub(crate) fn losses(&self) -> Vec<Loss> {
        self.losses.lock().clone()
    }

    /// Ends the log.
    pub(crate) fn fail(&self, failed: Failed) -> Failed {
        self.shared.fail(failed.clone());
        failed
    }
}

/// An owner's mark on a record, and the record's bytes.
type SharedBody = (u64, Cow<'static, [u8]>);

/// What a draft found of a record.
enum Found {
    /// The page will be all there is of it.
    Own {
        mark: u64,
        source: Source,
    },
    Shared {
        source: Source,
    },
    Nothing,
}

/// A page to read.
pub(crate) struct FoundPage {
    pub(crate) owner: u32,
    pub(crate) place: Place,
    shared: Vec<u8>,
    file: Arc<dyn DiskFile>,
    pub(crate) salt: Salt,
    pin: Pin,
}

impl FoundPage {
    /// What there is to say when it ends.
    fn end(&self, page: PageId) -> PageEnd<'_> {
        PageEnd {
            page: page.0,
            owner: self.owner,
            shared: Keys::new(&self.shared).expect("they were packed here"),
        }
    }

    /// Where the bytes of an entry lie whose body is at an offset of the page.
    fn place_of(&self, entry: &Entry, at: usize) -> Place {
        Place {
            file: self.place.file,
            at: self.place.at + (at + CRC) as u32,
            len: entry.len,
        }
    }
}

/// A page before it has a place: the shared bodies that go before it, and its parts.
#[derive(Default)]
pub(crate) struct Sketch {
    loose: Vec<u8>,
    /// Key, offset in `loose`, and length of the records there.
    relocated: Vec<(u64, u32, u32)>,
    directory: Vec<u8>,
    bodies: Vec<u8>,
    own: Vec<u64>,
    shared: Vec<u64>,
}

impl Sketch {
    fn add_own(&mut self, key: u64, note: u64, mark: u64, bytes: &[u8]) {
        self.own.push(key);
        self.add(Kind::Own, key, note, mark, bytes);
    }

    fn add_inline(&mut self, bytes: &[u8], note: u64) {
        self.add(Kind::Inline, 0, note, 0, bytes);
    }

    fn add(&mut self, kind: Kind, key: u64, note: u64, mark: u64, bytes: &[u8]) {
        let entry = Entry {
            kind,
            len: small(bytes.len()),
            key,
            note,
            mark,
        };
        entry.push(&mut self.directory);
        page::push_body(&mut self.bodies, bytes);
    }

    fn add_shared(&mut self, key: u64, note: u64) {
        self.shared.push(key);
        let entry = Entry {
            kind: Kind::Shared,
            len: 0,
            key,
            note,
            mark: 0,
        };
        entry.push(&mut self.directory);
    }

    pub(crate) fn add_relocated(&mut self, key: u64, bytes: &[u8]) {
        let at = small(self.loose.len() + CRC);
        self.relocated.push((key, at, small(bytes.len())));
        page::push_body(&mut self.loose, bytes);
    }

    fn is_stored(&self) -> bool {
        !self.own.is_empty() || !self.shared.is_empty()
    }

    fn page_len(&self) -> usize {
        match self.directory.is_empty() {
            true => 0,
            false => page::HEADER + self.directory.len() + self.bodies.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes to write, the page's header among them if there is a page.
    pub(crate) fn len(&self) -> u64 {
        (self.loose.len() + self.page_len()) as u64
    }

    /// Writes everything, with the header of its page.
    pub(crate) fn write(&self, reserved: &Reserved, header: &[u8]) -> std::io::Result<()> {
        let parts = [&self.loose, header, &self.directory, &self.bodies];
        reserved.file.write_at(&parts, u64::from(reserved.at))
    }

    /// Where the page itself is to lie.
    fn page_place(&self, reserved: &Reserved) -> Place {
        Place {
            file: reserved.pin.segment,
            at: reserved.at + small(self.loose.len()),
            len: small(self.page_len()),
        }
    }

    /// Says where the records before the page lie now.
    pub(crate) fn push_relocated(&self, ops: &mut Vec<u8>, reserved: &Reserved) {
        for (key, at, len) in &self.relocated {
            let place = Place {
                file: reserved.pin.segment,
                at: reserved.at + at,
                len: *len,
            };
            batch::push_relocated(ops, *key, place);
        }
    }

    fn push_page(&self, ops: &mut Vec<u8>, page: u64, owner: u32, place: Place, meta: &[u8]) {
        let stored = || self.own.iter().chain(&self.shared).copied();
        let (own, shared) = (pack(&self.own), pack(&self.shared));
        let op = PageOp {
            page,
            owner,
            place,
            count: small(stored().count()),
            first_key: stored().min().unwrap_or(0),
            last_key: stored().max().unwrap_or(0),
            meta,
            own: Keys::new(&own).expect("it was packed just now"),
            shared: Keys::new(&shared).expect("it was packed just now"),
        };
        batch::push_page(ops, &op);
    }
}

/// Packs keys in the order of a queue.
fn pack(keys: &[u64]) -> Vec<u8> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys::pack(keys)
}

fn small(n: usize) -> u32 {
    u32::try_from(n).expect("a page is smaller than 4 GiB")
}
