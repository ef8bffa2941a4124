//! What operators change: vhosts, users, permissions, policies, parameters, and connections that are to end.
//!
//! Changes hold at once, for open connections too. Whether the operator may make them is up to the door that asks. As with
//! declarations, an answer waits until the log is durable up to the `Lsn` that these functions give.

use std::sync::Arc;

use leveret_storage::Lsn;

use super::{Broker, Topology};
use crate::catalogue::{ApplyError, Changes, Command};
use crate::connections::Connected;
use crate::ids::VhostId;
use crate::live_queue::{ConnectionId, Outbox};
use crate::mailbox::Event;
use crate::time::Timestamp;

mod import;
pub mod messages;
mod parameters;
mod reset;
mod users;
mod vhosts;

pub use import::{Detail, Fate, ImportRefused, Report, Tally, Wanted};
pub(crate) use parameters::ParameterWatch;
pub use parameters::{Parameter, ParameterInfo, PolicyInfo, PolicySpec};
pub use users::{Password, PermissionSpec, topic_permissions};

/// Why an operator's change is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such object.
    #[error("{0}")]
    NotFound(String),
    /// RabbitMQ's explanation of what is wrong with what was asked for.
    #[error("{0}")]
    Invalid(String),
    /// The object is protected.
    #[error("{0}")]
    Protected(String),
}

/// What a change came to: `Lsn` to wait for before it is answered; `None`: nothing has changed.
pub type Outcome = Result<Option<Lsn>, Refused>;

impl Refused {
    fn no_vhost(name: &str) -> Self {
        Self::NotFound(format!("vhost '{name}' not found"))
    }

    fn no_user(name: &str) -> Self {
        Self::NotFound(format!("user '{name}' not found"))
    }

    /// RabbitMQ's words around what is wrong with a parameter.
    fn validation(why: &str) -> Self {
        Self::Invalid(format!("Validation failed\n\n{why}\n"))
    }
}

/// What the catalogue says no to after all checks is something that is not there.
impl From<ApplyError> for Refused {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Exists | ApplyError::Arguments => Self::Invalid(error.to_string()),
            _ => Self::NotFound(error.to_string()),
        }
    }
}

impl Broker {
    /// Closes a connection with this reason (C18); `false`: it is gone already.
    pub fn close_connection(&self, connection: ConnectionId, reason: &str) -> bool {
        self.close_where(reason, |id, _| id == connection) > 0
    }

    /// Closes every connection of a user; gives how many.
    pub fn close_connections_of_user(&self, user: &str, reason: &str) -> usize {
        self.close_where(reason, |_, entry| &*entry.principal.user == user)
    }

    /// Closes every connection to a vhost; gives how many.
    pub fn close_connections_of_vhost(&self, vhost: &str, reason: &str) -> usize {
        self.close_where(reason, |_, entry| &*entry.principal.vhost_name == vhost)
    }

    /// Closes every connection (320); gives how many.
    pub fn close_connections(&self, reason: &str) -> usize {
        self.close_where(reason, |_, _| true)
    }

    /// Closes every connection (320) and takes none until [`Self::let_in`]: a client that is still logging in is told the
    /// same. Gives how many were closed.
    pub fn turn_away(&self, reason: &str) -> usize {
        self.connections.lock().refusal = Some(reason.into());
        self.close_connections(reason)
    }

    /// Takes clients again.
    pub fn let_in(&self) {
        self.connections.lock().refusal = None;
    }

    fn close_where(
        &self,
        reason: &str,
        is_meant: impl Fn(ConnectionId, &Connected) -> bool,
    ) -> usize {
        let reason: Arc<str> = reason.into();
        let connections = self.connections.lock();
        let mut closed = 0;
        for (&id, entry) in &connections.open {
            if is_meant(id, entry) {
                entry.mailbox.put(Event::Close(reason.clone()));
                closed += 1;
            }
        }
        closed
    }

    /// Applies a command that asks for nothing but the catalogue.
    fn administer(&self, command: Command) -> Outcome {
        let (_, durable_at) = self.apply(&mut self.topology.write(), command, None)?;
        Ok(durable_at)
    }

    /// The vhost of that name.
    fn vhost_id(topology: &Topology, name: &str) -> Result<VhostId, Refused> {
        let vhost = topology.catalogue.vhost(name);
        vhost
            .map(|vhost| vhost.id)
            .ok_or_else(|| Refused::no_vhost(name))
    }

    /// Has the queues for which that has changed follow the policies that apply to them now. Under the topology's lock, so
    /// that the last change is the last to be followed.
    fn configure_queues(
        &self,
        topology: &Topology,
        vhost: VhostId,
        changes: &Changes,
        now: Timestamp,
        outbox: &mut Outbox,
    ) {
        let Some(vhost) = topology.catalogue.vhost_of(vhost) else {
            return;
        };
        let queues = changes.configured.iter();
        for queue in queues.filter_map(|id| topology.queues.get(id)) {
            if let Some(applied) = vhost.applied_to_queue(queue.name()) {
                let effective = self.effective(&queue.declaration, applied);
                queue.configure(effective, applied, now, outbox);
            }
        }
    }
}

/// What is not a name: it could not be told from a list of others in the catalogue, or is none at all.
fn check_name(name: &str, what: &str) -> Result<(), Refused> {
    if name.is_empty() || name.contains('\0') || name.len() > 255 {
        return Err(Refused::Invalid(format!("{what} name is not valid")));
    }
    Ok(())
}
