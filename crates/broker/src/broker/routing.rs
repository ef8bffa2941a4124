//! Which queues a message goes to, and what happens to messages that have died.

use std::sync::Arc;

use super::{Broker, Topology};
use crate::catalogue::{Exchange, Map, Vhost};
use crate::counters::ExchangeTally;
use crate::dead_letter;
use crate::error::{Error, Resource, Result};
use crate::exchange::{Destination, Kind, Route};
use crate::ids::QueueId;
use crate::live_queue::{DeadLettered, LiveQueue, Outbox};
use crate::message::Message;
use crate::principal::Principal;
use crate::publish::{Batch, Receipt, Targets};
use crate::queue::{self, Op, Reason};
use crate::time::Timestamp;
use crate::users::Access;

/// What a publish wants to know of the topology.
#[derive(Debug)]
pub struct Routed {
    pub targets: Arc<Targets>,
    /// The result depends on exchange and key alone, until the topology changes.
    pub cacheable: bool,
    /// The firehose is on.
    pub traced: bool,
}

impl Broker {
    /// The version of topology and permissions: what was read under another one may be out of date.
    pub fn version(&self) -> u64 {
        self.version.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Routes a client's message: permission, existence, then the queues (H01).
    pub fn route(&self, by: &Principal, message: &Message, keys: &[&[u8]]) -> Result<Routed> {
        let name = std::str::from_utf8(message.exchange()).unwrap_or_default();
        let resource = Resource::exchange(name, &by.vhost_name);
        let topology = self.topology.read();
        topology.check(by, Access::Write, resource)?;
        let vhost = topology.vhost(by)?;
        let exchange = vhost.exchange(name).ok_or_else(|| resource.not_found())?;
        if exchange.declaration.internal {
            let text = format!("cannot publish to internal {resource}");
            return Err(Error::AccessRefused(text));
        }
        for key in keys {
            topology.check_topic(by, Access::Write, exchange, key)?;
        }
        let found = self.follow(&topology, vhost, exchange, message, keys);
        let mut routed = found.routed(Some(&exchange.tally));
        if vhost.tracing {
            routed.traced = true;
            routed.cacheable = false;
        }
        Ok(routed)
    }

    /// What [`Self::route`] will ask before it routes: for a message of which only the beginning is there.
    pub fn check_publish(&self, by: &Principal, exchange: &str, key: &[u8]) -> Result<()> {
        let resource = Resource::exchange(exchange, &by.vhost_name);
        let topology = self.topology.read();
        topology.check(by, Access::Write, resource)?;
        match topology.vhost(by)?.exchange(exchange) {
            Some(exchange) => topology.check_topic(by, Access::Write, exchange, key),
            None => Ok(()),
        }
    }

    /// Publishes dead messages where their queues send them.
    pub(super) fn dead_letter(&self, dead: Vec<DeadLettered>, now: Timestamp, outbox: &mut Outbox) {
        for DeadLettered {
            queue,
            message,
            reason,
            tracked,
        } in dead
        {
            let taken = self.dead_letter_one(&queue, &message, reason, now, outbox);
            self.count_dead_letter(queue.kind, reason, tracked.is_some(), taken);
            if let (Some(id), Ok(mut drive)) = (tracked, queue.drive(now, outbox)) {
                drive.apply(Op::DeadLettered(id, taken));
                drive.finish();
            }
        }
    }

    /// One that is tried again is counted when it has arrived.
    fn count_dead_letter(&self, kind: queue::Kind, reason: Reason, tracked: bool, taken: bool) {
        let [classic, at_most_once, at_least_once] = &self.dead_letters;
        match (kind, tracked) {
            (queue::Kind::Classic, _) => classic.add(reason),
            (queue::Kind::Quorum, false) => at_most_once.add(reason),
            (queue::Kind::Quorum, true) if taken => {
                at_least_once.add(reason);
                at_least_once.add_confirmed();
            }
            // From a stream nothing dies.
            (queue::Kind::Quorum, true) | (queue::Kind::Stream, _) => {}
        }
    }

    /// `true`: it is in every queue it was routed to, and that was at least one.
    fn dead_letter_one(
        &self,
        queue: &Arc<LiveQueue>,
        message: &Message,
        reason: Reason,
        now: Timestamp,
        outbox: &mut Outbox,
    ) -> bool {
        let Some(to) = queue.dead_letter_to() else {
            return true;
        };
        let dead = match dead_letter::prepare(queue, &to, message, reason, now) {
            Ok(dead) => dead,
            Err(error) => {
                // Its properties can't be read: nobody could tell what it is, so it is kept as little as RabbitMQ would.
                tracing::warn!(queue = queue.name(), %error, "a message with damaged properties was not dead-lettered");
                return true;
            }
        };
        let topology = self.topology.read();
        let Some(vhost) = topology.catalogue.vhost_of(queue.vhost) else {
            return true;
        };
        let Some(exchange) = vhost.exchange(&to.exchange) else {
            return false;
        };
        let keys: Vec<&[u8]> = dead.keys.iter().map(|key| &**key).collect();
        let mut found = self.follow(&topology, vhost, exchange, &dead.message, &keys);
        drop(topology);
        let routed = !found.queues.is_empty();
        if reason != Reason::Rejected {
            found.queues.retain(|target| !dead.is_cycle(target.name()));
        }
        let cycle = routed && found.queues.is_empty();
        let routed = found.routed(None);
        let mut batch = Batch::default();
        let receipt = Receipt::Confirm { channel: 0, tag: 0 };
        batch.push(now, dead.message, &routed.targets, receipt);
        let mut refused = false;
        self.commit(&mut batch, now, outbox, |outcome| {
            refused |= outcome.refused
        });
        cycle || (!routed.targets.queues.is_empty() && !refused)
    }

    /// Follows bindings from `exchange`, through other exchanges and alternates, to queues.
    pub(super) fn follow(
        &self,
        topology: &Topology,
        vhost: &Vhost,
        exchange: &Exchange,
        message: &Message,
        keys: &[&[u8]],
    ) -> Found {
        let mut found = Found {
            queues: Vec::new(),
            seen: Map::default(),
            cacheable: true,
        };
        let mut visited = vec![exchange.id];
        let mut next = 0;
        let mut destinations = Vec::new();
        while let Some(id) = visited.get(next).copied() {
            next += 1;
            let Some(exchange) = vhost.exchange_of(id) else {
                continue;
            };
            destinations.clear();
            if exchange.name.is_empty() {
                destinations.extend(keys.iter().filter_map(|key| {
                    let name = std::str::from_utf8(key).ok()?;
                    vhost.queue(name).map(|(id, _)| Destination::Queue(id))
                }));
            } else {
                for key in keys {
                    let route = Route {
                        key,
                        properties: message.properties(),
                        random: (self.options.random)(),
                    };
                    exchange.router.route(&route, &mut destinations);
                }
                // An exchange that keeps a history must see every message.
                let remembers = exchange.declaration.kind == Kind::RecentHistory;
                exchange.router.record(message);
                found.cacheable &= exchange.router.is_cacheable() && !remembers;
            }
            if destinations.is_empty()
                && let Some(alternate) = exchange.alternate()
                && let Some(alternate) = vhost.exchange(alternate)
                && !visited.contains(&alternate.id)
            {
                visited.push(alternate.id);
            }
            for destination in destinations.drain(..) {
                match destination {
                    Destination::Exchange(id) if !visited.contains(&id) => visited.push(id),
                    Destination::Exchange(_) => {}
                    Destination::Queue(id) => found.add(topology.queues.get(&id)),
                }
            }
        }
        found
    }
}

/// Queues found so far, each once.
pub(super) struct Found {
    queues: Vec<Arc<LiveQueue>>,
    seen: Map<QueueId, ()>,
    cacheable: bool,
}

impl Found {
    fn add(&mut self, queue: Option<&Arc<LiveQueue>>) {
        let Some(queue) = queue else { return };
        if self.seen.insert(queue.id, ()).is_none() {
            self.queues.push(queue.clone());
        }
    }

    /// `exchange`: where a client published the message.
    pub(super) fn routed(self, exchange: Option<&Arc<ExchangeTally>>) -> Routed {
        Routed {
            targets: Arc::new(Targets::new(self.queues, exchange.cloned())),
            cacheable: self.cacheable,
            traced: false,
        }
    }
}

impl Topology {
    /// The queues that a binding to `destination` leads to at once: the queue itself.
    pub(super) fn queues_behind(&self, destination: Destination) -> Vec<Arc<LiveQueue>> {
        match destination {
            Destination::Queue(id) => self.queues.get(&id).cloned().into_iter().collect(),
            Destination::Exchange(_) => Vec::new(),
        }
    }
}
