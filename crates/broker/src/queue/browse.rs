//! Looking at the messages that wait: in the order in which they would leave, and without any of them noticing. Nothing is
//! counted, flagged or brought in from disk to stay.

use std::ops::ControlFlow;

use super::backlog::{Backlog, Entry, Expiry, Lane, Segment};
use super::pages::Unreadable;
use super::{Counts, QueueCore};
use crate::message::Message;
use crate::time::Timestamp;

/// A waiting message.
#[derive(Debug, Clone)]
pub struct Browsed {
    pub message: Message,
    pub redelivered: bool,
    pub counts: Counts,
    /// When its time is up, if it has any.
    pub expires_at: Option<Timestamp>,
    pub persistent: bool,
}

/// Whoever looks: has the first few pass by, then sees one after the other until it has seen enough.
struct Visit<'a> {
    skip: u64,
    see: &'a mut dyn FnMut(Browsed) -> ControlFlow<()>,
}

impl QueueCore {
    /// Shows the ready messages from the one at `offset` on, for as long as `see` goes on.
    ///
    /// # Errors
    /// A page can't be read. What was shown so far is right.
    pub fn browse(
        &self,
        offset: u64,
        see: &mut dyn FnMut(Browsed) -> ControlFlow<()>,
    ) -> Result<(), Unreadable> {
        let mut visit = Visit { skip: offset, see };
        for lane in self.backlog().lanes() {
            if self.backlog().browse_lane(lane, &mut visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Backlog {
    fn browse_lane(
        &self,
        lane: &Lane,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, Unreadable> {
        // Those that came back into the middle lie apart, and have their places among the others.
        let mut between = lane.between().peekable();
        let mut pass = |entry: &Entry, visit: &mut Visit<'_>| {
            while let Some(earlier) = between.next_if(|it| it.sequence < entry.sequence) {
                self.show(earlier, visit)?;
            }
            self.show(entry, visit)
        };
        for entry in lane.head() {
            if pass(entry, visit).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        for segment in lane.behind() {
            let flow = match segment {
                Segment::Waiting(line) | Segment::Leaving(_, line) => {
                    line.iter().try_for_each(|entry| pass(entry, visit))
                }
                Segment::Paged(page) if visit.skip >= page.held.count && !lane.is_mixed(page) => {
                    visit.skip -= page.held.count;
                    ControlFlow::Continue(())
                }
                Segment::Paged(page) => {
                    let mut flow = ControlFlow::Continue(());
                    if let Some(store) = self.store() {
                        store.read_page(page.id, &mut |record| {
                            if flow.is_continue()
                                && let Ok(entry) = page.entry(lane.level(), &record)
                            {
                                flow = pass(&entry, visit);
                            }
                        })?;
                    }
                    flow
                }
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(between.try_for_each(|entry| self.show(entry, visit)))
    }

    fn show(&self, entry: &Entry, visit: &mut Visit<'_>) -> ControlFlow<()> {
        if visit.skip > 0 {
            visit.skip -= 1;
            return ControlFlow::Continue(());
        }
        (visit.see)(Browsed {
            message: entry.message.clone(),
            redelivered: entry.marks.redelivered(),
            counts: self.counts_of(entry),
            expires_at: (entry.expiry != Expiry::NEVER).then(|| entry.expiry.time()),
            persistent: entry.marks.persistent(),
        })
    }
}
