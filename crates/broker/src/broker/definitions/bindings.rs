//! Bindings: make and remove (X08, X10).

use std::sync::Arc;

use leveret_storage::Lsn;

use super::access::check_not_foreign;
use super::refuse_default_exchange;
use crate::broker::{Broker, Topology};
use crate::catalogue::{Binding, Command};
use crate::error::{Error, Resource, ResourceKind, Result};
use crate::exchange::Destination;
use crate::live_queue::{LiveQueue, Outbox};
use crate::message::Message;
use crate::principal::Principal;
use crate::publish::{Batch, Receipt, Targets};
use crate::reply_to;
use crate::table::Table;
use crate::time::Timestamp;
use crate::users::Access;

/// A binding as a client names it.
#[derive(Debug)]
pub struct BindingSpec<'a> {
    pub source: &'a str,
    pub destination: &'a str,
    pub destination_kind: ResourceKind,
    pub key: &'a [u8],
    pub arguments: Table,
}

impl Broker {
    /// Binds a queue or an exchange to an exchange.
    pub fn bind(
        &self,
        by: &Principal,
        spec: BindingSpec<'_>,
        now: Timestamp,
    ) -> Result<Option<Lsn>> {
        let mut topology = self.topology.write();
        let (binding, queue) = topology.resolve_binding(by, spec, Missing::IsAnError)?;
        let Some(binding) = binding else {
            return Ok(None);
        };
        let source = topology
            .vhost(by)?
            .exchange_of(binding.source)
            .ok_or_else(|| Error::NotFound("the exchange was deleted".to_owned()))?;
        source
            .declaration
            .kind
            .check_binding(
                &binding.key,
                &binding.arguments,
                queue.map(|queue| queue.kind),
            )
            .map_err(|error| Error::PreconditionFailed(error.to_string()))?;
        let history = source.router.history();
        let bindings_before = source.router.len();
        let (from, to) = (binding.source, binding.destination);
        let durable_at = self.change(
            &mut topology,
            Command::Bind {
                vhost: by.vhost,
                binding,
            },
            by,
        )?;
        let bindings = topology
            .vhost(by)?
            .exchange_of(from)
            .map_or(0, |from| from.router.len());
        if bindings > bindings_before && !history.is_empty() {
            let queues = topology.queues_behind(to);
            drop(topology);
            self.replay(history, queues, now);
        }
        Ok(durable_at)
    }

    /// Removes a binding; one that is not there counts as removed.
    pub fn unbind(&self, by: &Principal, spec: BindingSpec<'_>) -> Result<Option<Lsn>> {
        let mut topology = self.topology.write();
        let (binding, _) = topology.resolve_binding(by, spec, Missing::IsFine)?;
        let Some(binding) = binding else {
            return Ok(None);
        };
        self.change(
            &mut topology,
            Command::Unbind {
                vhost: by.vhost,
                binding,
            },
            by,
        )
    }

    /// X18: gives a new binding what the exchange remembers.
    pub(in crate::broker) fn replay(
        &self,
        history: Vec<Message>,
        queues: Vec<Arc<LiveQueue>>,
        now: Timestamp,
    ) {
        let targets = Arc::new(Targets::new(queues, None));
        let mut batch = Batch::default();
        for message in history {
            batch.push(now, message, &targets, Receipt::Nobody);
        }
        let mut outbox = Outbox::default();
        self.commit(&mut batch, now, &mut outbox, |_| {});
        self.finish(&mut outbox, now);
    }
}

/// What it means when an end of a binding is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    IsAnError,
    IsFine,
}

impl Topology {
    /// The ends of a binding, after all checks; the binding is `None` when an end is missing and that is fine.
    fn resolve_binding(
        &self,
        by: &Principal,
        spec: BindingSpec<'_>,
        missing: Missing,
    ) -> Result<(Option<Binding>, Option<Arc<LiveQueue>>)> {
        refuse_default_exchange(spec.source)?;
        if spec.destination.starts_with(reply_to::ADDRESS) {
            let text = "cannot bind or unbind to a volatile (direct reply-to) queue";
            return Err(Error::AccessRefused(text.to_owned()));
        }
        let source = Resource::exchange(spec.source, &by.vhost_name);
        let destination = Resource {
            kind: spec.destination_kind,
            name: spec.destination,
            vhost: &by.vhost_name,
        };
        if spec.destination_kind == ResourceKind::Exchange {
            refuse_default_exchange(spec.destination)?;
        }
        self.check(by, Access::Write, destination)?;
        self.check(by, Access::Read, source)?;
        let vhost = self.vhost(by)?;
        let exchange = vhost.exchange(spec.source);
        let queue = self.queue(by, spec.destination);
        let to = match spec.destination_kind {
            ResourceKind::Queue => queue.as_ref().map(|queue| Destination::Queue(queue.id)),
            ResourceKind::Exchange => vhost
                .exchange(spec.destination)
                .map(|to| Destination::Exchange(to.id)),
        };
        let queue = queue.filter(|_| spec.destination_kind == ResourceKind::Queue);
        if let Some(queue) = &queue {
            check_not_foreign(queue, by)?;
        }
        let (Some(exchange), Some(to)) = (exchange, to) else {
            if missing == Missing::IsFine {
                return Ok((None, None));
            }
            return Err(if exchange.is_none() {
                source
            } else {
                destination
            }
            .not_found());
        };
        self.check_topic(by, Access::Read, exchange, spec.key)?;
        let binding = Binding {
            source: exchange.id,
            destination: to,
            key: spec.key.into(),
            arguments: spec.arguments,
        };
        Ok((Some(binding), queue))
    }
}
