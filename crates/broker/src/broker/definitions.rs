//! Declaring, binding and deleting: what a user may do, what fits together, and the command to the catalogue.
//!
//! Every change is in the log before its lock is let go; whoever answers the client waits until the log is durable up to
//! the `Lsn` that these functions give (`None`: nothing durable has changed).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leveret_storage::{Batch as Records, Lsn};

use super::administration::ParameterWatch;
use super::{Broker, Topology};
use crate::catalogue::{ApplyError, Changes, Command, Vhost};
use crate::error::{Error, Resource, Result};
use crate::events::{Change, Event};
use crate::ids::QueueId;
use crate::live_queue::LiveQueue;
use crate::principal::Principal;

mod access;
mod bindings;
mod equivalence;
mod exchanges;
mod queues;

pub use bindings::BindingSpec;
pub use exchanges::ExchangeSpec;
pub use queues::{Declared, QueueSpec};

/// Names that begin so are the broker's.
const RESERVED: &str = "amq.";

/// What commands have done to the catalogue and the log does not know yet.
#[derive(Debug, Default)]
pub(super) struct Done {
    records: Records,
    events: Vec<Event>,
}

impl Broker {
    /// Applies a command and puts what it changed into the log. `by`: the client that wanted it.
    pub(super) fn apply(
        &self,
        topology: &mut Topology,
        command: Command,
        by: Option<&Principal>,
    ) -> std::result::Result<(Changes, Option<Lsn>), ApplyError> {
        let mut done = Done::default();
        let by = by.map(|by| &*by.user);
        let changes = self.apply_only(topology, command, by, &mut done)?;
        Ok((changes, self.log_done(topology, done)))
    }

    /// Applies a command. The lock may not be let go before [`Self::log_done`] has got what was done.
    pub(super) fn apply_only(
        &self,
        topology: &mut Topology,
        command: Command,
        by: Option<&str>,
        done: &mut Done,
    ) -> std::result::Result<Changes, ApplyError> {
        let is_told = self.events.sink().is_some() || self.opens_events(topology, &command);
        let change = is_told.then(|| Change::of(&self.options, &topology.catalogue, &command, by));
        let concerns_parameters = ParameterWatch::concerns(&command);
        let changes = topology.catalogue.apply(command)?;
        if concerns_parameters {
            self.parameters.note_change();
        }
        for definition in &changes.defined {
            let (table, id) = (definition.table, definition.id);
            done.records.define(table, id, &definition.bytes);
        }
        for (table, id) in &changes.undefined {
            done.records.undefine(*table, *id);
        }
        let nothing = changes.defined.is_empty() && changes.undefined.is_empty();
        for QueueId(owner) in changes.dropped.iter().filter(|_| !nothing) {
            done.records.drop_owner(*owner);
        }
        if let Some(change) = change {
            done.events
                .extend(change.done(&topology.catalogue, &changes));
        }
        Ok(changes)
    }

    /// Puts what commands have changed into the log, all of it or, if the node dies meanwhile, none, and tells of it.
    pub(super) fn log_done(&self, topology: &Topology, mut done: Done) -> Option<Lsn> {
        self.version.fetch_add(1, Ordering::Release);
        let nothing = done.records.is_empty();
        let durable_at = (!nothing).then(|| self.log.append(&mut done.records).lsn);
        if let Some(Lsn(at)) = durable_at {
            self.last_change.store(at, Ordering::Release);
        }
        // The first binding of the exchange is told as an event already, the end of the last one no longer.
        self.look_at_event_exchange(topology);
        if let Some(sink) = self.events.sink() {
            for event in done.events {
                sink.take(event);
            }
        }
        durable_at
    }

    /// For answers that something is there already: somebody may have made it so a moment ago, and it is not on disk yet.
    /// Asked under the topology's lock.
    fn known_at(&self) -> Option<Lsn> {
        Some(Lsn(self.last_change.load(Ordering::Acquire)))
    }

    fn change(
        &self,
        topology: &mut Topology,
        command: Command,
        by: &Principal,
    ) -> Result<Option<Lsn>> {
        self.apply(topology, command, Some(by))
            .map(|(_, durable_at)| durable_at)
            .map_err(refused)
    }

    /// 22 letters and digits with 128 random bits.
    pub(crate) fn random_name(&self) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut bits = self.random_token();
        let mut name = String::with_capacity(22);
        for _ in 0..22 {
            name.push(char::from(LETTERS[(bits & 63) as usize]));
            bits >>= 6;
        }
        name
    }

    pub(crate) fn random_token(&self) -> u128 {
        u128::from((self.options.random)()) << 64 | u128::from((self.options.random)())
    }
}

impl Topology {
    pub(super) fn vhost(&self, by: &Principal) -> Result<&Vhost> {
        let found = self.catalogue.vhost_of(by.vhost);
        found.ok_or_else(|| Error::NotAllowed(format!("vhost {} not found", by.vhost_name)))
    }

    pub(super) fn queue(&self, by: &Principal, name: &str) -> Option<Arc<LiveQueue>> {
        let (id, _) = self.catalogue.vhost_of(by.vhost)?.queue(name)?;
        self.queues.get(&id).cloned()
    }
}

fn refuse_default_exchange(name: &str) -> Result<()> {
    if name.is_empty() {
        let text = "operation not permitted on the default exchange";
        return Err(Error::AccessRefused(text.to_owned()));
    }
    Ok(())
}

fn reserved_name(resource: Resource<'_>) -> Error {
    let Resource { kind, name, .. } = resource;
    Error::AccessRefused(format!(
        "{kind} name '{name}' contains reserved prefix 'amq.*'"
    ))
}

/// What the catalogue refuses after all checks have passed can only be a name it can't take.
fn refused(error: ApplyError) -> Error {
    Error::PreconditionFailed(error.to_string())
}
