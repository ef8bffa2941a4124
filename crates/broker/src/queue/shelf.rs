//! A log for the tests of paging: records and pages in memory, and the means to damage them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::QueueCore;
use super::pages::{Leaving, Outgoing, PageStore, PagedRecord, Unreadable};
use crate::ids::{MessageId, PageId, QueueId};
use crate::message::Message;
use crate::record;
use crate::time::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Shelf {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<MessageId, Vec<u8>>,
    pages: BTreeMap<u64, Vec<Record>>,
    last_page: u64,
    hints: Vec<PageId>,
    forgets_marks: bool,
    /// `None`: everything is durable.
    durable: Option<u64>,
    first_offset: u64,
}

#[derive(Debug)]
struct Record {
    id: MessageId,
    note: u64,
    bytes: Vec<u8>,
}

impl Shelf {
    /// The log is durable up to here, and what comes is not so by itself any more.
    pub(super) fn become_durable(&self, up_to: u64) {
        self.inner.lock().durable = Some(up_to);
    }

    pub(super) fn first_offset(&self) -> u64 {
        self.inner.lock().first_offset
    }

    /// What a publish would have put into the log.
    pub(super) fn store(&self, id: MessageId, message: &Message) {
        let record = record::encode(Timestamp(0), message);
        self.inner.lock().records.insert(id, record);
    }

    /// Makes a page of a run. Its stored messages are records of the log no more.
    pub(super) fn page(&self, leaving: &Leaving) -> PageId {
        let mut inner = self.inner.lock();
        let mut record = |outgoing: &Outgoing| match outgoing {
            Outgoing::Stored { id, note } => Record {
                id: *id,
                note: *note,
                bytes: inner.records.remove(id).expect("a record of the log"),
            },
            Outgoing::Inline { message, note } => Record {
                id: MessageId::NONE,
                note: *note,
                bytes: record::encode(Timestamp(0), message),
            },
        };
        let page = leaving.records.iter().map(&mut record).collect();
        inner.last_page += 1;
        let id = inner.last_page;
        inner.pages.insert(id, page);
        PageId(id)
    }

    /// Pages out what there is to page out, at once.
    pub(super) fn page_all(&self, queue: &mut QueueCore, sizes: &super::pages::PageSizes) {
        while let Some(leaving) = queue.page_out(sizes) {
            let freed = queue.commit_page(&leaving, || self.page(&leaving));
            assert!(freed.is_some(), "nobody has touched the run");
        }
    }

    /// A page is dropped. Gives the stored messages that were in it.
    pub(super) fn drop_page(&self, page: PageId) -> Vec<MessageId> {
        let records = self.inner.lock().pages.remove(&page.0).expect("a page");
        let ids = records.iter().map(|record| record.id);
        ids.filter(|id| id.is_stored()).collect()
    }

    pub(super) fn page_count(&self) -> usize {
        self.inner.lock().pages.len()
    }

    /// Takes the hints given since the last call.
    pub(super) fn hints(&self) -> Vec<PageId> {
        std::mem::take(&mut self.inner.lock().hints)
    }

    /// As after a restart: what is only in pages is gone.
    pub(super) fn restart(&self) {
        for page in self.inner.lock().pages.values_mut() {
            page.retain(|record| record.id.is_stored());
        }
    }

    /// From now on, what is noted of a message comes too late for its page.
    pub(super) fn forget_marks(&self) {
        self.inner.lock().forgets_marks = true;
    }

    /// Loses all but the first of the records of every page, and all records.
    pub(super) fn damage(&self) {
        let mut inner = self.inner.lock();
        inner.pages.values_mut().for_each(|page| page.truncate(1));
        inner.records.clear();
    }
}

impl PageStore for Shelf {
    fn page_in(
        &self,
        page: PageId,
        each: &mut dyn FnMut(PagedRecord<'_>),
    ) -> Result<(), Unreadable> {
        let mut inner = self.inner.lock();
        let is_marked = !inner.forgets_marks;
        for Record { id, note, bytes } in inner.pages.remove(&page.0).expect("a page") {
            each(PagedRecord {
                id,
                note,
                is_marked,
                bytes: &bytes,
            });
            if id.is_stored() {
                inner.records.insert(id, bytes);
            }
        }
        Ok(())
    }

    fn read_page(
        &self,
        page: PageId,
        each: &mut dyn FnMut(PagedRecord<'_>),
    ) -> Result<(), Unreadable> {
        for Record { id, note, bytes } in self.inner.lock().pages.get(&page.0).expect("a page") {
            each(PagedRecord {
                id: *id,
                note: *note,
                is_marked: true,
                bytes,
            });
        }
        Ok(())
    }

    fn will_need(&self, page: PageId) {
        self.inner.lock().hints.push(page);
    }

    fn read(&self, id: MessageId) -> Result<Vec<u8>, Unreadable> {
        let inner = self.inner.lock();
        let record = inner.records.get(&id).cloned();
        record.ok_or_else(|| Unreadable("no such record".into()))
    }

    fn durable(&self) -> u64 {
        self.inner.lock().durable.unwrap_or(u64::MAX)
    }

    fn truncate(&self, _: QueueId, first_offset: u64, messages: &[MessageId], pages: &[PageId]) {
        let mut inner = self.inner.lock();
        inner.first_offset = first_offset;
        inner.records.retain(|id, _| !messages.contains(id));
        inner.pages.retain(|id, _| !pages.contains(&PageId(*id)));
    }
}

/// A queue that pages to a shelf.
pub(super) fn on_shelf(queue: QueueCore) -> (QueueCore, Arc<Shelf>) {
    let shelf = Arc::new(Shelf::default());
    (queue.with_pages(shelf.clone()), shelf)
}
