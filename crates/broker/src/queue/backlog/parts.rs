//! The backlog as streams see it: parts in order, of which only the first ever goes.

use super::{Backlog, Entry, Lane, Segment};
use crate::queue::line::Line;
use crate::queue::pages::{Held, Page};
use crate::time::Timestamp;

/// Where a message is to be read.
#[derive(Debug)]
pub(in crate::queue) enum Part<'a> {
    Line(&'a Line<Entry>),
    Page(&'a Page),
}

/// What would go first.
#[derive(Debug)]
pub(in crate::queue) enum Front<'a> {
    Entry(&'a Entry),
    /// A page, which goes as a whole.
    Page {
        held: Held,
        /// When the message behind it came, if there is one.
        next_at: Timestamp,
    },
}

impl Backlog {
    /// What would go first. Nothing is read for it.
    pub(in crate::queue) fn front(&mut self) -> Option<Front<'_>> {
        let lane = self.lanes.first_mut()?;
        if lane.line.is_empty() && !matches!(lane.behind.front(), Some(Segment::Paged(_))) {
            self.bring_in(0);
        }
        let lane = self.lanes.first()?;
        match (lane.line.front(), lane.behind.front()) {
            (Some(entry), _) => Some(Front::Entry(entry)),
            (None, Some(Segment::Paged(page))) => Some(Front::Page {
                held: page.held,
                next_at: lane.front_leaves_after(),
            }),
            (None, _) => None,
        }
    }

    /// Takes the page away that would go first.
    pub(in crate::queue) fn drop_front_page(&mut self) -> Option<Page> {
        let lane = self.lanes.first_mut()?;
        if !lane.line.is_empty() {
            return None;
        }
        if !matches!(lane.behind.front(), Some(Segment::Paged(_))) {
            return None;
        }
        let Some(Segment::Paged(page)) = lane.behind.pop_front() else {
            return None;
        };
        if lane.is_empty() {
            self.retire(0);
        }
        self.length -= page.held.count;
        self.bytes -= page.held.bytes;
        let rare = self.rare.get_or_insert_default();
        rare.paged.lose(&page.held);
        rare.transient_bytes -= page.held.transient_bytes;
        Some(page)
    }
}

impl Lane {
    /// The part that has the message with this place.
    pub(in crate::queue) fn part_with(&self, sequence: u64) -> Option<Part<'_>> {
        if self
            .line
            .back()
            .is_some_and(|last| sequence <= last.sequence)
        {
            return Some(Part::Line(&self.line));
        }
        let at = self.behind.partition_point(|part| part.last() < sequence);
        self.behind.get(at).map(|part| match part {
            Segment::Waiting(line) | Segment::Leaving(_, line) => Part::Line(line),
            Segment::Paged(page) => Part::Page(page),
        })
    }

    /// The first place of the last part whose first message came before `time`: what came then is in it, or behind it.
    pub(in crate::queue) fn last_part_before(&self, time: Timestamp) -> Option<u64> {
        let behind = self
            .behind
            .partition_point(|part| part.head_expiry() < time);
        match behind.checked_sub(1) {
            Some(last) => Some(self.behind[last].first()),
            None => self.line.front().map(|first| first.sequence),
        }
    }

    /// When what is behind the first message came, or behind the page that would go first: it does not go earlier.
    pub(in crate::queue) fn front_leaves_after(&self) -> Timestamp {
        match self.line.front() {
            Some(first) => first.expiry.time(),
            None => self
                .behind
                .get(1)
                .map_or(Timestamp::NEVER, Segment::head_expiry),
        }
    }
}
