//! Looking at a queue's messages while it works: in slices, so that nobody waits long for its lock.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{ConnectionId, ConsumerFacts, LiveQueue};
use crate::ids::DeliveryId;
use crate::queue::pages::Unreadable;
use crate::queue::{Browsed, Scope, Start};
use crate::time::Timestamp;

/// Most messages that are looked at under one lock: as many as a page has.
const SLICE_MESSAGES: usize = 4096;

/// No more are looked at when those seen have this many bytes.
const SLICE_BYTES: usize = 2 << 20;

/// How much of a queue to look at.
#[derive(Debug, Clone, Copy)]
pub struct BrowsePage {
    /// The place of the first message, counted from the one that will leave next.
    pub offset: u64,
    /// Most messages to show.
    pub messages_max: usize,
    /// No more are shown when those shown have this many bytes.
    pub bytes_max: usize,
    /// Most messages to look at, for those that are not accepted.
    pub looked_at_max: u64,
}

/// What was seen of a queue.
#[derive(Debug, Default)]
pub struct Browse {
    /// Messages with their places.
    pub messages: Vec<(u64, Browsed)>,
    /// Where the next page begins; `None`: there is nothing more.
    pub next: Option<u64>,
}

/// Part of what waits, seen under one lock.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) messages: Vec<Browsed>,
    /// Where to go on; `None`: nothing more waits.
    pub(crate) next: Option<Start>,
}

/// What clients have of a queue.
#[derive(Debug, Default)]
pub struct UnackedPage {
    /// With their places among them, in the order of their arrival in the queue.
    pub messages: Vec<(u64, InHands)>,
    /// Where the next page begins; `None`: there is nothing more.
    pub next: Option<u64>,
}

/// A message that a client has not settled yet.
#[derive(Debug)]
pub struct InHands {
    pub browsed: Browsed,
    pub since: Timestamp,
    pub holder: Option<Holder>,
}

/// The consumer that has a message.
#[derive(Debug)]
pub struct Holder {
    pub connection: ConnectionId,
    pub channel: u16,
    /// `None`: it is gone, and its channel is still to settle what it has.
    pub about: Option<Arc<ConsumerFacts>>,
}

impl LiveQueue {
    /// Looks at the messages that wait, without taking any: those that `accepts` of the ones from `page.offset` on.
    ///
    /// # Errors
    /// What lies on disk can't be read.
    pub fn browse(
        &self,
        page: BrowsePage,
        mut accepts: impl FnMut(&Browsed) -> bool,
    ) -> Result<Browse, Unreadable> {
        let mut browse = Browse::default();
        let mut place = page.offset;
        let mut bytes = 0;
        let mut next = Some(Start::Offset(page.offset));
        // Most often all that is looked at is shown; where it is not, more has to be looked at.
        let mut most = page.messages_max.saturating_add(1);
        while let Some(start) = next {
            let slice = self.look(start, Scope::ALL, most)?;
            for message in slice.messages {
                if browse.messages.len() >= page.messages_max
                    || place - page.offset >= page.looked_at_max
                    || bytes >= page.bytes_max
                {
                    browse.next = Some(place);
                    return Ok(browse);
                }
                if accepts(&message) {
                    bytes += message.message.weight();
                    browse.messages.push((place, message));
                }
                place += 1;
            }
            next = slice.next;
            most = most.saturating_mul(4);
        }
        Ok(browse)
    }

    /// Looks at the waiting messages of `scope` from `start` on, at `most` so many.
    pub(crate) fn look(
        &self,
        start: Start,
        scope: Scope<'_>,
        most: usize,
    ) -> Result<Slice, Unreadable> {
        let most = most.min(SLICE_MESSAGES);
        let mut messages: Vec<Browsed> = Vec::new();
        let mut bytes = 0;
        let mut is_cut = false;
        let mut see = |message: Browsed| {
            if messages.len() >= most || bytes >= SLICE_BYTES {
                is_cut = true;
                return ControlFlow::Break(());
            }
            bytes += message.message.weight();
            messages.push(message);
            ControlFlow::Continue(())
        };
        self.state.lock().core.browse(start, scope, &mut see)?;
        let last = messages.last().map(|last| Start::After(last.standing));
        Ok(Slice {
            next: last.filter(|_| is_cut),
            messages,
        })
    }

    /// The sequence number of the last message that has arrived.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.state.lock().core.last_sequence()
    }

    /// Looks at the messages that clients have not settled yet, `page` of them, those that `accepts`.
    ///
    /// # Errors
    /// What is in the log alone can't be read there.
    pub fn browse_unacked(
        &self,
        page: BrowsePage,
        mut accepts: impl FnMut(&InHands) -> bool,
    ) -> Result<UnackedPage, Unreadable> {
        let mut ids: Vec<(u64, DeliveryId)> = self.state.lock().core.unsettled_ids().collect();
        ids.sort_unstable();
        let mut found = UnackedPage::default();
        let mut bytes = 0;
        for (place, (_, id)) in (0..)
            .zip(ids)
            .skip(page.offset.try_into().unwrap_or(usize::MAX))
        {
            if found.messages.len() >= page.messages_max
                || place - page.offset >= page.looked_at_max
                || bytes >= page.bytes_max
            {
                found.next = Some(place);
                break;
            }
            // One that has been settled meanwhile leaves a gap.
            if let Some(held) = self.in_hands(id)?.filter(&mut accepts) {
                bytes += held.browsed.message.weight();
                found.messages.push((place, held));
            }
        }
        Ok(found)
    }

    fn in_hands(&self, id: DeliveryId) -> Result<Option<InHands>, Unreadable> {
        let state = self.state.lock();
        let Some(unacked) = state.core.unacked(id)? else {
            return Ok(None);
        };
        let holder = unacked.consumer.map(|consumer| {
            // The slot of one that is gone may be another's by now.
            let at = consumer.id.0 as usize;
            let subscriber = state.subscribers.get(at).filter(|_| unacked.is_attached);
            let about = subscriber.and_then(Option::as_ref).map(|it| &it.about);
            #[expect(clippy::cast_possible_truncation, reason = "the channel's number")]
            let channel = consumer.session.0 as u16;
            Holder {
                connection: ConnectionId(consumer.session.0 >> 16),
                channel,
                about: about.cloned(),
            }
        });
        Ok(Some(InHands {
            since: unacked.since,
            browsed: unacked.browsed,
            holder,
        }))
    }
}
