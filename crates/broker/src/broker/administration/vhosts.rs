//! Vhosts: their metadata, their limits, and their end.

use super::{Outcome, Refused, check_name};
use crate::broker::Broker;
use crate::catalogue::{Command, VhostLimits, VhostMetadata};
use crate::connections::ChurnTally;
use crate::ids::VhostId;
use crate::queue::pages::Resident;

impl Broker {
    /// A new vhost, or other metadata for a known one.
    pub fn put_vhost(&self, name: &str, metadata: VhostMetadata) -> Outcome {
        check_name(name, "vhost")?;
        let mut topology = self.topology.write();
        let command = match topology.catalogue.vhost(name) {
            Some(known) => Command::PutVhostMetadata {
                vhost: known.id,
                metadata,
            },
            None => {
                self.check_vhost_limit(name, topology.catalogue.vhosts().count())?;
                let name = name.into();
                Command::AddVhost { name, metadata }
            }
        };
        let (_, durable_at) = self.apply(&mut topology, command, None)?;
        Ok(durable_at)
    }

    /// `count`: how many vhosts there are.
    pub(super) fn check_vhost_limit(&self, name: &str, count: usize) -> Result<(), Refused> {
        match self.options.vhosts_max {
            Some(limit) if count >= limit => Err(Refused::Invalid(format!(
                "cannot create vhost '{name}': vhost limit of {limit} is reached"
            ))),
            _ => Ok(()),
        }
    }

    /// Limits for a vhost; for connections and queues to come.
    pub fn set_vhost_limits(&self, name: &str, limits: VhostLimits) -> Outcome {
        self.change_vhost(name, |vhost| Command::PutVhostLimits { vhost, limits })
    }

    /// Turns the firehose of a vhost on or off, until the node stops.
    pub fn set_tracing(&self, name: &str, on: bool) -> Outcome {
        let outcome = self.change_vhost(name, |vhost| Command::SetTracing { vhost, on });
        self.count_traced(&self.topology.read());
        outcome
    }

    /// Deletes a vhost and all that is in it. Its connections are closed.
    pub fn delete_vhost(&self, name: &str) -> Outcome {
        let mut topology = self.topology.write();
        let vhost = topology.catalogue.vhost(name);
        let vhost = vhost.ok_or_else(|| Refused::no_vhost(name))?;
        if vhost.metadata.protected_from_deletion {
            return Err(Refused::Protected(format!(
                "Refusing to delete virtual host '{name}' because it is protected from deletion"
            )));
        }
        let ids: Vec<_> = vhost.queue_ids().collect();
        let vhost = vhost.id;
        let queues = ids.iter().filter_map(|id| topology.queues.remove(id));
        let held: Vec<_> = queues.filter_map(|queue| queue.close(|_| true)).collect();
        for (_, resident) in &held {
            self.paging.add(Resident::NONE - *resident);
            ChurnTally::count(&self.churn.queue_deleted);
        }
        let (_, durable_at) = self.apply(&mut topology, Command::DeleteVhost { vhost }, None)?;
        self.count_traced(&topology);
        drop(topology);
        // Letting millions of messages go takes its time: nobody has to wait for that.
        drop(held);
        self.close_connections_of_vhost(name, &format!("vhost '{name}' is deleted"));
        Ok(durable_at)
    }

    fn change_vhost(&self, name: &str, command: impl FnOnce(VhostId) -> Command) -> Outcome {
        let mut topology = self.topology.write();
        let vhost = Self::vhost_id(&topology, name)?;
        let (_, durable_at) = self.apply(&mut topology, command(vhost), None)?;
        Ok(durable_at)
    }
}
