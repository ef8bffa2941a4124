//! The consumers of a queue, and whose turn it is.
//!
//! ```text
//!            Attach                   prefetch reached, Pause, credit refused
//! (nobody) ─────────> in the rota <──────────────────────────────────────────> waiting for credit
//!                          │            settled, Resume                              │
//!                          └───────────────── Detach ─────────────────┬──────────────┘
//!                                                                     v
//!                                            gone, kept until its last delivery is settled
//! ```
//!
//! Only consumers that could take a message now are in the rota, so finding one never searches. With a single active
//! consumer the others simply are not in it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{AttachRefusal, Consumer, Kind, SharedCredit};
use crate::ids::ConsumerId;

/// A place in the table of consumers. Not the [`ConsumerId`]: its owner may use that again for another consumer while
/// deliveries of the first are still unsettled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

/// A consumer, from its attachment until its last delivery is settled.
#[derive(Debug)]
struct Subscriber {
    consumer: Consumer,
    /// Its place in the order of registration.
    serial: u64,
    unsettled: u32,
    paused: bool,
    attached: bool,
    in_rota: bool,
}

/// A consumer, for people to look at.
#[derive(Debug, Clone, Copy)]
pub struct ConsumerStatus<'a> {
    pub consumer: &'a Consumer,
    pub unsettled: u32,
    /// Whether it receives messages; not so for those waiting behind a single active consumer.
    pub active: bool,
}

/// All consumers of a queue. See the module's page.
#[derive(Debug)]
pub(super) struct Consumers {
    kind: Kind,
    single_active: bool,
    subscribers: Vec<Option<Subscriber>>,
    attached: BTreeMap<ConsumerId, Place>,
    /// Highest priority first.
    rota: Vec<Turns>,
    ready: usize,
    registered: u64,
    active: Option<Place>,
    /// The active consumer gets nothing more: one of higher priority takes over once its deliveries are settled.
    yielding: bool,
}

/// The consumers of one priority that could take a message now. The first has the next turn.
#[derive(Debug)]
struct Turns {
    priority: i32,
    ring: VecDeque<Place>,
}

impl Consumers {
    pub(super) fn new(kind: Kind, single_active: bool) -> Self {
        Self {
            kind,
            single_active,
            subscribers: Vec::new(),
            attached: BTreeMap::new(),
            rota: Vec::new(),
            ready: 0,
            registered: 0,
            active: None,
            yielding: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.attached.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }

    /// Whether nobody has anything left to settle, attached or gone.
    pub(super) fn are_forgotten(&self) -> bool {
        self.subscribers.iter().all(Option::is_none)
    }

    /// Whether anybody could take a message. (A shared credit may still say no.)
    pub(super) fn is_ready(&self) -> bool {
        self.ready > 0
    }

    /// Whether all have what their prefetch allows, judged by the first of them once nobody is ready.
    pub(super) fn are_at_prefetch(&self) -> bool {
        let mut attached = self.attached.values();
        let first = attached.next().map(|&place| self.subscriber(place));
        self.ready == 0 && first.is_some_and(|first| !first.has_credit())
    }

    pub(super) fn at(&self, place: Place) -> &Consumer {
        &self.subscriber(place).consumer
    }

    pub(super) fn is_attached(&self, place: Place) -> bool {
        self.subscriber(place).attached
    }

    /// The single active consumer, if the queue has one.
    pub(super) fn active(&self) -> Option<&Consumer> {
        self.active.map(|place| self.at(place))
    }

    /// Everybody, in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = ConsumerStatus<'_>> {
        self.attached.values().map(|&place| {
            let subscriber = self.subscriber(place);
            ConsumerStatus {
                consumer: &subscriber.consumer,
                unsettled: subscriber.unsettled,
                active: !self.single_active || self.active == Some(place),
            }
        })
    }

    pub(super) fn attach(&mut self, consumer: Consumer) -> Result<(), AttachRefusal> {
        if self.kind == Kind::Classic && self.refuses(&consumer) {
            return Err(AttachRefusal::ExclusiveUse);
        }
        let id = consumer.id;
        let taken = self.attached.contains_key(&id);
        assert!(!taken, "the id of an attached consumer is given away again");
        let subscriber = Subscriber {
            consumer,
            serial: self.registered,
            unsettled: 0,
            paused: false,
            attached: true,
            in_rota: false,
        };
        self.registered += 1;
        let place = self.keep(subscriber);
        self.attached.insert(id, place);
        self.elect();
        self.join(place);
        Ok(())
    }

    fn refuses(&self, consumer: &Consumer) -> bool {
        // An exclusive consumer is the only one, hence the first.
        let first = self.attached.values().next();
        let held = first.is_some_and(|&place| self.at(place).exclusive);
        held || consumer.exclusive && (self.single_active || first.is_some())
    }

    fn keep(&mut self, subscriber: Subscriber) -> Place {
        let at = self
            .subscribers
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.subscribers.push(None);
                self.subscribers.len() - 1
            });
        self.subscribers[at] = Some(subscriber);
        Place(u32::try_from(at).expect("fewer than 2^32 consumers"))
    }

    /// Gives whether it was attached.
    pub(super) fn detach(&mut self, id: ConsumerId) -> bool {
        let Some(place) = self.attached.remove(&id) else {
            return false;
        };
        self.leave(place);
        let subscriber = self.subscriber_mut(place);
        subscriber.attached = false;
        self.forget_if_done(place);
        self.rota.retain(|turns| !turns.ring.is_empty());
        if self.active == Some(place) {
            self.active = None;
        }
        self.elect();
        true
    }

    pub(super) fn pause(&mut self, id: ConsumerId) {
        if let Some(&place) = self.attached.get(&id) {
            self.subscriber_mut(place).paused = true;
            self.leave(place);
        }
    }

    pub(super) fn resume(&mut self, id: ConsumerId) {
        if let Some(&place) = self.attached.get(&id) {
            self.subscriber_mut(place).paused = false;
            self.join(place);
        }
    }

    pub(super) fn share(&mut self, id: ConsumerId, credit: Arc<SharedCredit>) {
        if let Some(&place) = self.attached.get(&id) {
            let subscriber = self.subscriber_mut(place);
            credit.charge(subscriber.unsettled);
            subscriber.consumer.shared_credit = Some(credit);
        }
    }

    /// Chooses the consumer for the next message, and charges it.
    pub(super) fn next(&mut self) -> Option<Place> {
        while self.ready > 0 {
            let mut levels = self.rota.iter_mut();
            let ring = levels.find_map(|turns| (!turns.ring.is_empty()).then_some(&mut turns.ring));
            let ring = ring.expect("somebody in the rota is ready");
            let place = ring[0];
            let subscriber = self.subscribers[place.0 as usize].as_mut();
            let subscriber = subscriber.expect("nobody in the rota is forgotten");
            let charged = subscriber.charge();
            if charged && subscriber.has_credit() {
                ring.rotate_left(1);
            } else {
                ring.pop_front();
                subscriber.in_rota = false;
                self.ready -= 1;
            }
            if charged {
                return Some(place);
            }
        }
        None
    }

    /// A delivery of this consumer is settled or has come back.
    pub(super) fn settled(&mut self, place: Place) {
        let subscriber = self.subscriber_mut(place);
        subscriber.unsettled -= 1;
        if !subscriber.attached {
            self.forget_if_done(place);
        } else if self.yielding && self.active == Some(place) {
            self.elect();
        } else {
            self.join(place);
        }
    }

    pub(super) fn set_single_active(&mut self, single_active: bool) {
        if self.single_active == single_active {
            return;
        }
        self.single_active = single_active;
        self.active = None;
        self.yielding = false;
        let places: Vec<_> = self.attached.values().copied().collect();
        for &place in &places {
            self.leave(place);
        }
        self.elect();
        for place in places {
            self.join(place);
        }
    }

    /// Makes sure that there is a single active consumer, and that it is the right one.
    fn elect(&mut self) {
        if !self.single_active {
            return;
        }
        let order = |&place: &Place| {
            let subscriber = self.subscriber(place);
            (
                std::cmp::Reverse(subscriber.consumer.priority),
                subscriber.serial,
            )
        };
        let Some(best) = self.attached.values().copied().min_by_key(order) else {
            self.active = None;
            self.yielding = false;
            return;
        };
        let Some(active) = self.active else {
            self.activate(best);
            return;
        };
        // Classic: only the end of the active consumer makes room for another.
        let outranked = self.at(best).priority > self.at(active).priority;
        self.yielding = self.kind == Kind::Quorum && outranked;
        if self.yielding {
            self.leave(active);
            if self.subscriber(active).unsettled == 0 {
                self.activate(best);
            }
        } else {
            self.join(active);
        }
    }

    fn activate(&mut self, place: Place) {
        self.active = Some(place);
        self.yielding = false;
        self.join(place);
    }

    /// Puts a consumer at the end of its round, if it could take a message.
    fn join(&mut self, place: Place) {
        let chosen = !self.single_active || self.active == Some(place) && !self.yielding;
        let subscriber = self.subscriber_mut(place);
        if subscriber.in_rota || subscriber.paused || !chosen || !subscriber.has_credit() {
            return;
        }
        subscriber.in_rota = true;
        let priority = subscriber.consumer.priority;
        self.ready += 1;
        let at = self.rota.partition_point(|turns| turns.priority > priority);
        if self
            .rota
            .get(at)
            .is_none_or(|turns| turns.priority != priority)
        {
            let ring = VecDeque::new();
            self.rota.insert(at, Turns { priority, ring });
        }
        self.rota[at].ring.push_back(place);
    }

    fn leave(&mut self, place: Place) {
        if std::mem::take(&mut self.subscriber_mut(place).in_rota) {
            self.ready -= 1;
            for turns in &mut self.rota {
                turns.ring.retain(|&other| other != place);
            }
        }
    }

    fn forget_if_done(&mut self, place: Place) {
        let kept = &mut self.subscribers[place.0 as usize];
        if kept
            .as_ref()
            .is_some_and(|subscriber| subscriber.unsettled == 0)
        {
            *kept = None;
        }
    }

    fn subscriber(&self, place: Place) -> &Subscriber {
        let subscriber = self.subscribers[place.0 as usize].as_ref();
        subscriber.expect("kept while it is attached or has unsettled deliveries")
    }

    fn subscriber_mut(&mut self, place: Place) -> &mut Subscriber {
        let subscriber = self.subscribers[place.0 as usize].as_mut();
        subscriber.expect("kept while it is attached or has unsettled deliveries")
    }
}

impl Subscriber {
    /// Whether its own prefetch leaves room for one more.
    fn has_credit(&self) -> bool {
        let prefetch = self.consumer.prefetch;
        !self.consumer.acknowledges || prefetch == 0 || self.unsettled < u32::from(prefetch)
    }

    /// Counts one more delivery, if the shared credit allows it. Without acknowledgements nothing is counted.
    fn charge(&mut self) -> bool {
        if !self.consumer.acknowledges {
            return true;
        }
        let shared = self.consumer.shared_credit.as_ref();
        let charged = shared.is_none_or(|credit| credit.try_take());
        self.unsettled += u32::from(charged);
        charged
    }
}
