//! Who may do what: permissions (E13 to E15) and exclusive queues (Q10).

use crate::authority::{Question, Verdict, reason};
use crate::broker::{Broker, Topology};
use crate::catalogue::Exchange;
use crate::error::{Error, Resource, ResourceKind, Result};
use crate::exchange;
use crate::live_queue::LiveQueue;
use crate::principal::Principal;
use crate::users::Access;

impl Broker {
    /// 403 unless `by` may have `access` to the resource.
    pub fn check_access(
        &self,
        by: &Principal,
        access: Access,
        resource: Resource<'_>,
    ) -> Result<()> {
        self.topology.read().check(by, access, resource)
    }

    /// The node itself, in the vhost of that name.
    pub fn node_in(&self, vhost: &str) -> Option<Principal> {
        let topology = self.topology.read();
        let vhost = topology.catalogue.vhost(vhost)?;
        Some(Principal::node(vhost.id, vhost.name.clone()))
    }
}

impl Topology {
    /// E13, E14: 403 unless the user's permissions allow it.
    pub(in crate::broker) fn check(
        &self,
        by: &Principal,
        access: Access,
        resource: Resource<'_>,
    ) -> Result<()> {
        if by.is_node() {
            return Ok(());
        }
        let resource = as_checked(resource);
        let question = || Question::Resource {
            vhost: &by.vhost_name,
            kind: resource.kind,
            name: resource.name,
            access,
        };
        let permissions = || self.catalogue.permissions(&by.user, &by.vhost_name);
        let verdict = match &by.authority {
            Some(authority) => authority.decide(question()),
            None if permissions().is_some_and(|own| own.allow(access, resource.name)) => {
                Verdict::Allow
            }
            None => Verdict::Deny,
        };
        match verdict {
            Verdict::Allow => Ok(()),
            Verdict::Wait => Err(Error::Undecided(resource.to_string())),
            Verdict::Deny => Err(Error::AccessRefused(format!(
                "{} access to {resource} refused for user '{}'{}",
                access.name(),
                by.user,
                reason(by.authority.as_ref())
            ))),
        }
    }

    /// X05: any one permission is enough to ask whether something is there.
    pub(super) fn check_any(&self, by: &Principal, resource: Resource<'_>) -> Result<()> {
        let mut refusal = Ok(());
        for access in [Access::Configure, Access::Write, Access::Read] {
            match self.check(by, access, resource) {
                Ok(()) => return Ok(()),
                Err(_) if matches!(refusal, Err(Error::Undecided(_))) => {}
                refused => refusal = refused,
            }
        }
        refusal
    }

    /// E15: 403 unless the user may use this key with this topic exchange.
    pub(in crate::broker) fn check_topic(
        &self,
        by: &Principal,
        access: Access,
        exchange: &Exchange,
        key: &[u8],
    ) -> Result<()> {
        if exchange.declaration.kind != exchange::Kind::Topic || by.is_node() {
            return Ok(());
        }
        let key = String::from_utf8_lossy(key);
        let verdict = match &by.authority {
            Some(authority) => authority.decide(Question::Topic {
                vhost: &by.vhost_name,
                exchange: &exchange.name,
                access,
                key: &key,
            }),
            None if self.topic_is_permitted(by, access, exchange, &key) => Verdict::Allow,
            None => Verdict::Deny,
        };
        match verdict {
            Verdict::Allow => Ok(()),
            Verdict::Wait => Err(Error::Undecided(format!("topic '{key}'"))),
            Verdict::Deny => Err(Error::AccessRefused(format!(
                "{} access to topic '{key}' in exchange '{}' in vhost '{}' refused for user '{}'{}",
                access.name(),
                exchange.name,
                by.vhost_name,
                by.user,
                reason(by.authority.as_ref())
            ))),
        }
    }

    /// Where nothing is said of the exchange, every key is allowed.
    fn topic_is_permitted(
        &self,
        by: &Principal,
        access: Access,
        exchange: &Exchange,
        key: &str,
    ) -> bool {
        let catalogue = &self.catalogue;
        let Some(own) = catalogue.topic_permissions(&by.user, &by.vhost_name, &exchange.name)
        else {
            return true;
        };
        let pattern = match access {
            Access::Read => &own.read,
            Access::Write | Access::Configure => &own.write,
        };
        pattern.matches_for(&by.user, &by.vhost_name, key)
    }
}

/// The default exchange goes by another name in permissions.
fn as_checked(resource: Resource<'_>) -> Resource<'_> {
    match resource {
        Resource {
            kind: ResourceKind::Exchange,
            name: "",
            vhost,
        } => Resource::exchange("amq.default", vhost),
        other => other,
    }
}

/// 405 if the queue is exclusive to another connection.
pub(super) fn check_not_foreign(queue: &LiveQueue, by: &Principal) -> Result<()> {
    match queue.declaration.exclusive {
        Some(owner) if owner != by.connection => Err(locked(queue)),
        _ => Ok(()),
    }
}

/// 405 unless the declaration says about exclusiveness what the queue is.
pub(super) fn check_owner(queue: &LiveQueue, by: &Principal, exclusive: bool) -> Result<()> {
    if queue.declaration.exclusive == exclusive.then_some(by.connection) {
        return Ok(());
    }
    Err(locked(queue))
}

fn locked(queue: &LiveQueue) -> Error {
    let resource = Resource::queue(queue.name(), &queue.vhost_name);
    Error::ResourceLocked(format!(
        "cannot obtain exclusive access to locked {resource}. It could be originally declared on another \
         connection or the exclusive property value does not match that of the original declaration."
    ))
}
