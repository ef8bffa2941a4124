//! Queues: declare, look for, purge, delete (Q01 to Q18).

use std::sync::Arc;

use leveret_storage::Lsn;

use super::access::{check_not_foreign, check_owner};
use super::equivalence::{equivalent_argument, inequivalent};
use super::{RESERVED, refused, reserved_name};
use crate::arguments::{self, Effective};
use crate::broker::{Broker, Topology, limit};
use crate::catalogue::{Command, VhostLimits};
use crate::connections::ChurnTally;
use crate::error::{Error, Resource, Result};
use crate::ids::{QueueId, VhostId};
use crate::live_queue::{Browse, BrowsePage, Declaration, LiveQueue, Outbox};
use crate::policies::{self, Applied};
use crate::principal::Principal;
use crate::queue::pages::Resident;
use crate::queue::{Browsed, Kind, Op, Stats};
use crate::reply_to;
use crate::table::{Table, Value};
use crate::time::Timestamp;
use crate::users::Access;

/// A queue as a client declares it.
#[derive(Debug)]
pub struct QueueSpec<'a> {
    /// Empty: the broker makes one up.
    pub name: &'a str,
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub arguments: Table,
}

/// A declared queue.
#[derive(Debug)]
pub struct Declared {
    pub queue: Arc<LiveQueue>,
    pub stats: Stats,
    pub durable_at: Option<Lsn>,
}

impl Broker {
    /// Declares a queue, or checks that it is there as asked for.
    pub fn declare_queue(
        &self,
        by: &Principal,
        spec: QueueSpec<'_>,
        now: Timestamp,
    ) -> Result<Declared> {
        let generated;
        let name = if spec.name.is_empty() {
            let made_up = by.made_up.lock().take();
            generated = match made_up {
                Some(name) => name,
                None => self.generated_queue_name(&spec.arguments, &by.vhost_name)?,
            };
            &generated
        } else {
            spec.name
        };
        let resource = Resource::queue(name, &by.vhost_name);
        let mut topology = self.topology.write();
        let allowed = topology.check(by, Access::Configure, resource);
        if spec.name.is_empty() && matches!(allowed, Err(Error::Undecided(_))) {
            // The answer will be about this very name.
            *by.made_up.lock() = Some(name.to_owned());
        }
        allowed?;
        if spec.name.starts_with(RESERVED) {
            return Err(reserved_name(resource));
        }
        if let Some(queue) = topology.queue(by, name) {
            check_owner(&queue, by, spec.exclusive)?;
            if !self.is_equivalent_when_relaxed(&queue, &spec) {
                let default = topology.vhost(by)?.metadata.default_queue_type;
                let default = self.default_queue_kind(default, &spec).name();
                equivalent_queue(resource, &queue, &spec, default)?;
            }
            let known_at = self.known_at();
            drop(topology);
            ChurnTally::count(&self.churn.queue_declared);
            let stats = self.touch(&queue, now);
            let durable_at = known_at.filter(|_| queue.declaration.outlives_restarts());
            return Ok(Declared {
                queue,
                stats,
                durable_at,
            });
        }
        if spec.name.starts_with(RESERVED) {
            return Err(reserved_name(resource));
        }
        let vhost = topology.vhost(by)?;
        let kind = self.queue_kind(vhost.metadata.default_queue_type, resource, &spec)?;
        self.check_dead_letter_access(&topology, by, resource, &spec.arguments)?;
        let counts = [vhost.queue_count(), topology.queues.len()];
        self.check_queue_limits(vhost.limits, counts, resource)?;
        arguments::check(resource, kind, spec.auto_delete, &spec.arguments)?;
        let declaration = Arc::new(Declaration {
            name: name.into(),
            durable: spec.durable,
            auto_delete: spec.auto_delete,
            exclusive: spec.exclusive.then_some(by.connection),
            arguments: self.with_type(spec.arguments, kind),
            declared_by: Some(by.user.clone()),
        });
        let command = Command::DeclareQueue {
            vhost: by.vhost,
            declaration: declaration.clone(),
        };
        let (changes, durable_at) = self
            .apply(&mut topology, command, Some(by))
            .map_err(refused)?;
        let id = changes.queue.expect("declaring a queue makes one");
        let vhost = (by.vhost, by.vhost_name.clone());
        let queue = self.start_queue(&mut topology, id, vhost, declaration, now);
        drop(topology);
        if spec.exclusive && !self.own_exclusive(by, &queue) {
            // The connection ended while it declared: nobody is left to own the queue.
            self.remove_queue(&queue, None, |_| true);
        }
        let stats = self.touch(&queue, now);
        Ok(Declared {
            queue,
            stats,
            durable_at,
        })
    }

    /// Has a queue work that the catalogue knows now.
    pub(in crate::broker) fn start_queue(
        &self,
        topology: &mut Topology,
        id: QueueId,
        (vhost, vhost_name): (VhostId, Arc<str>),
        declaration: Arc<Declaration>,
        now: Timestamp,
    ) -> Arc<LiveQueue> {
        let known = topology.catalogue.vhost(&vhost_name);
        let applied = known.and_then(|known| known.applied_to_queue(&declaration.name));
        let applied = applied.cloned().unwrap_or_default();
        let effective = self.effective(&declaration, &applied);
        let queue = Arc::new(LiveQueue::new(
            id,
            (vhost, vhost_name),
            declaration,
            effective,
            applied,
            self.pages.clone(),
            now,
        ));
        topology.queues.insert(id, queue.clone());
        ChurnTally::count(&self.churn.queue_declared);
        ChurnTally::count(&self.churn.queue_created);
        queue
    }

    /// What a queue's arguments and policies come to on this node.
    pub(in crate::broker) fn effective(
        &self,
        declaration: &Declaration,
        applied: &Applied,
    ) -> Effective {
        let kind = declaration.kind();
        let arguments = policies::merged(kind, &declaration.arguments, applied);
        let mut effective = arguments::effective(kind, declaration.auto_delete, &arguments);
        if kind == Kind::Quorum && effective.settings.consumer_timeout_ms.is_none() {
            let settings = Arc::make_mut(&mut effective.settings);
            settings.consumer_timeout_ms = self.options.consumer_timeout_ms;
        }
        effective.settings = self.last_settings.lock().share(effective.settings);
        effective
    }

    /// A queue keeps its type among its arguments, whoever decided on it. Most queues are declared like the one before: such
    /// queues have their arguments in common.
    pub(in crate::broker) fn with_type(&self, mut arguments: Table, kind: Kind) -> Arc<Table> {
        arguments.insert("x-queue-type", Value::String(kind.name().as_bytes().into()));
        arguments.shrink_to_fit();
        self.last_arguments.lock().share(arguments)
    }

    /// The queue of that name, if it is there (404) and `by` may use it (405). Asks for no permission.
    pub fn find_queue(&self, by: &Principal, name: &str) -> Result<Arc<LiveQueue>> {
        let topology = self.topology.read();
        let resource = Resource::queue(name, &by.vhost_name);
        let queue = topology
            .queue(by, name)
            .ok_or_else(|| resource.not_found())?;
        check_not_foreign(&queue, by)?;
        Ok(queue)
    }

    /// A passive declaration: the queue of that name and its figures.
    pub fn check_queue(
        &self,
        by: &Principal,
        name: &str,
        now: Timestamp,
    ) -> Result<(Arc<LiveQueue>, Stats)> {
        let resource = Resource::queue(name, &by.vhost_name);
        self.topology.read().check_any(by, resource)?;
        let queue = self.find_queue(by, name)?;
        let stats = self.touch(&queue, now);
        Ok((queue, stats))
    }

    /// H20: asks whether somebody waits for replies at this address: 404 if not, 541 if it is no address.
    pub fn check_reply_to(&self, by: &Principal, name: &str) -> Result<()> {
        if name == reply_to::REPLY_TO {
            return Ok(());
        }
        match reply_to::token(name.as_bytes()) {
            Some(token) if self.reply_consumers.is_alive(token) => Ok(()),
            // One that only looks like an address of ours is gone as well.
            None if name.len() != reply_to::address(0).len() => {
                Err(Error::InternalError(String::new()))
            }
            _ => Err(Resource::queue(name, &by.vhost_name).not_found()),
        }
    }

    /// Deletes a queue; gives how many messages it held. One that is not there counts as deleted.
    pub fn delete_queue(
        &self,
        by: &Principal,
        name: &str,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<(u64, Option<Lsn>)> {
        let resource = Resource::queue(name, &by.vhost_name);
        self.check_access(by, Access::Configure, resource)?;
        let queue = match self.find_queue(by, name) {
            Ok(queue) => queue,
            Err(Error::NotFound(_)) => return Ok((0, None)),
            Err(other) => return Err(other),
        };
        let mut refusal = None;
        let allows = |stats: &Stats| {
            if if_unused && stats.consumers > 0 {
                refusal = Some("in use");
            } else if if_empty && stats.ready > 0 {
                refusal = Some("not empty");
            }
            refusal.is_none()
        };
        let removed = self.remove_queue(&queue, Some(by), allows);
        match (removed, refusal) {
            (_, Some(why)) => Err(Error::PreconditionFailed(format!("{resource} {why}"))),
            (Some((stats, durable_at)), None) => Ok((stats.ready, durable_at)),
            (None, None) => Ok((0, None)),
        }
    }

    /// Looks at the messages of a queue without taking any: those that `accepts`.
    pub fn browse_queue(
        &self,
        by: &Principal,
        name: &str,
        page: BrowsePage,
        accepts: impl FnMut(&Browsed) -> bool,
    ) -> Result<Browse> {
        self.check_access(by, Access::Read, Resource::queue(name, &by.vhost_name))?;
        let queue = self.find_queue(by, name)?;
        queue
            .browse(page, accepts)
            .map_err(|error| Error::InternalError(error.to_string()))
    }

    /// Drops the ready messages of a queue; gives their number.
    pub fn purge_queue(&self, by: &Principal, name: &str, now: Timestamp) -> Result<u64> {
        self.check_access(by, Access::Read, Resource::queue(name, &by.vhost_name))?;
        let queue = self.find_queue(by, name)?;
        if queue.kind == Kind::Stream {
            let resource = Resource::queue(name, &by.vhost_name);
            let text = format!("queue.purge not supported by stream queues {resource}");
            return Err(Error::NotImplemented(text));
        }
        let mut outbox = Outbox::default();
        let count = match queue.drive(now, &mut outbox) {
            Ok(mut drive) => {
                let count = drive.purge();
                drive.finish();
                count
            }
            Err(_) => 0,
        };
        self.finish(&mut outbox, now);
        Ok(count)
    }

    /// The queue was declared, maybe again: it is in use. Gives its figures.
    pub(in crate::broker) fn touch(&self, queue: &Arc<LiveQueue>, now: Timestamp) -> Stats {
        let mut outbox = Outbox::default();
        let Ok(mut drive) = queue.drive(now, &mut outbox) else {
            return Stats::default();
        };
        drive.apply(Op::Touch);
        let mut stats = drive.stats();
        drive.finish();
        self.finish(&mut outbox, now);
        if queue.kind == Kind::Quorum && queue.single_active_consumer {
            // Quorum queues tell clients of the active one only.
            stats.consumers = stats.consumers.min(1);
        }
        stats
    }

    /// Q02: a quorum queue is declared again as a classic one, by a client that does not know.
    fn is_equivalent_when_relaxed(&self, queue: &LiveQueue, spec: &QueueSpec<'_>) -> bool {
        let asked_for = spec.arguments.get("x-queue-type").and_then(Value::as_str);
        let is_classic = matches!(asked_for, None | Some("" | "classic"));
        self.options.relaxed_quorum_redeclaration
            && queue.kind == Kind::Quorum
            && is_classic
            && COMPARED_WHEN_RELAXED.into_iter().all(|name| {
                let current = queue.declaration.arguments.get(name);
                match (spec.arguments.get(name), current) {
                    (None, None) => true,
                    (Some(received), Some(current)) => received.equivalent(current),
                    _ => false,
                }
            })
    }

    /// Takes a queue out of the node if `allows` its figures. `by`: the client that wanted it.
    pub(in crate::broker) fn remove_queue(
        &self,
        queue: &Arc<LiveQueue>,
        by: Option<&Principal>,
        allows: impl FnOnce(&Stats) -> bool,
    ) -> Option<(Stats, Option<Lsn>)> {
        let mut topology = self.topology.write();
        let (held, resident) = queue.close(allows)?;
        self.paging.add(Resident::NONE - resident);
        topology.queues.remove(&queue.id);
        ChurnTally::count(&self.churn.queue_deleted);
        let command = Command::DeleteQueue {
            vhost: queue.vhost,
            id: queue.id,
            name: queue.declaration.name.clone(),
        };
        let applied = self.apply(&mut topology, command, by);
        // Letting millions of messages go takes its time: nobody has to wait for that.
        drop(topology);
        let stats = held.stats();
        if applied.is_err() || !queue.declaration.outlives_restarts() {
            // The log has not been told that their owner is gone.
            self.drop_pages(held.pages());
        }
        drop(held);
        if let Some(owner) = queue.declaration.exclusive
            && let Some(entry) = self.connections.lock().open.get_mut(&owner)
        {
            entry.exclusive.retain(|other| other.id != queue.id);
        }
        // A queue that the catalogue no longer knows went with its vhost.
        Some((stats, applied.ok().and_then(|(_, durable_at)| durable_at)))
    }

    fn own_exclusive(&self, by: &Principal, queue: &Arc<LiveQueue>) -> bool {
        match self.connections.lock().open.get_mut(&by.connection) {
            Some(entry) => {
                entry.exclusive.push(queue.clone());
                true
            }
            None => false,
        }
    }

    fn generated_queue_name(&self, arguments: &Table, vhost: &str) -> Result<String> {
        let prefix = match arguments.get("x-name-prefix") {
            None => "amq.gen",
            Some(value) => value
                .as_str()
                .filter(|prefix| prefix.len() <= 64)
                .ok_or_else(|| {
                    Error::PreconditionFailed("invalid arg 'x-name-prefix' for queue".to_owned())
                })?,
        };
        let resource = Resource::queue("", vhost);
        if let Some(kind @ (Kind::Quorum | Kind::Stream)) =
            arguments::queue_type(resource, arguments)?
        {
            return Err(Error::PreconditionFailed(format!(
                "Cannot declare a server-named queue for type {}",
                arguments::module(kind)
            )));
        }
        Ok(format!("{prefix}-{}", self.random_name()))
    }

    /// The type of a queue that names none: the default of its vhost or of the node if that can serve the flags, or classic
    /// (Q04).
    fn default_queue_kind(&self, of_vhost: Option<Kind>, spec: &QueueSpec<'_>) -> Kind {
        if spec.durable && !spec.exclusive && !spec.auto_delete {
            of_vhost.unwrap_or(self.options.default_queue_kind)
        } else {
            Kind::Classic
        }
    }

    /// The type of a new queue, if its flags fit. `of_vhost`: the default of its vhost.
    pub(in crate::broker) fn queue_kind(
        &self,
        of_vhost: Option<Kind>,
        resource: Resource<'_>,
        spec: &QueueSpec<'_>,
    ) -> Result<Kind> {
        let transient = !spec.durable && !spec.exclusive;
        let asked_for = arguments::queue_type(resource, &spec.arguments)?;
        let kind = asked_for.unwrap_or_else(|| self.default_queue_kind(of_vhost, spec));
        if self.options.disabled_queue_kinds.contains(&kind) {
            return Err(Error::InternalError(format!(
                "Cannot declare a queue '{resource}' of type '{}' on node '{}': the corresponding feature flag is disabled",
                arguments::module(kind),
                self.options.node_name
            )));
        }
        if kind.keeps_all() {
            let property = match spec {
                QueueSpec {
                    auto_delete: true, ..
                } => Some("auto-delete"),
                QueueSpec {
                    exclusive: true, ..
                } => Some("exclusive-owner"),
                QueueSpec { durable: false, .. } => Some("non-durable"),
                _ => None,
            };
            if let Some(property) = property {
                return Err(Error::PreconditionFailed(format!(
                    "invalid property '{property}' for {resource}"
                )));
            }
        } else if transient && !self.options.permit_transient_queues {
            return Err(Error::InternalError(
                "Feature `transient_nonexcl_queues` is deprecated.\nBy default, this feature is not permitted anymore.".to_owned(),
            ));
        }
        Ok(kind)
    }

    /// Q18: messages of the queue will be published to its dead-letter exchange in the name of whoever declares it.
    fn check_dead_letter_access(
        &self,
        topology: &Topology,
        by: &Principal,
        resource: Resource<'_>,
        arguments: &Table,
    ) -> Result<()> {
        let Some(exchange) = arguments
            .get("x-dead-letter-exchange")
            .and_then(Value::as_str)
        else {
            return Ok(());
        };
        topology.check(by, Access::Read, resource)?;
        topology.check(
            by,
            Access::Write,
            Resource::exchange(exchange, &by.vhost_name),
        )
    }

    /// Q15. The counts are those of queues in the vhost and on the node.
    pub(in crate::broker) fn check_queue_limits(
        &self,
        limits: VhostLimits,
        [in_vhost, on_node]: [usize; 2],
        resource: Resource<'_>,
    ) -> Result<()> {
        if let Some(limit) = limit(limits.queues_max)
            && in_vhost >= limit
        {
            let (name, vhost) = (resource.name, resource.vhost);
            return Err(Error::PreconditionFailed(format!(
                "cannot declare queue '{name}': queue limit in vhost '{vhost}' ({limit}) is reached"
            )));
        }
        match self.options.queues_max {
            Some(limit) if on_node >= limit => Err(Error::PreconditionFailed(format!(
                "cannot declare {resource}: queue limit in cluster ({limit}) is reached"
            ))),
            _ => Ok(()),
        }
    }
}

/// What a quorum queue and a classic declaration of it must agree on where checks are relaxed (Q02).
const COMPARED_WHEN_RELAXED: [&str; 7] = [
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-single-active-consumer",
    "x-message-ttl",
];

/// Q01: 406 unless the declaration means the queue that is there. `default_type` is what a declaration without a type
/// means.
fn equivalent_queue(
    resource: Resource<'_>,
    queue: &LiveQueue,
    spec: &QueueSpec<'_>,
    default_type: &str,
) -> Result<()> {
    let current = &queue.declaration;
    let flag = |flag: bool| if flag { "true" } else { "false" };
    // An exclusive queue is never durable, whatever its declaration says.
    if spec.durable != current.durable && current.exclusive.is_none() {
        return Err(inequivalent(
            "durable",
            resource,
            flag(spec.durable),
            flag(current.durable),
        ));
    }
    if spec.auto_delete != current.auto_delete {
        let (received, current) = (flag(spec.auto_delete), flag(current.auto_delete));
        return Err(inequivalent("auto_delete", resource, received, current));
    }
    for name in arguments::compared(queue.kind) {
        let (received, current) = (spec.arguments.get(name), current.arguments.get(name));
        if name == "x-queue-type" {
            let received = received
                .and_then(Value::as_str)
                .filter(|name| !name.is_empty());
            let (received, current) = (received.unwrap_or(default_type), queue.kind.name());
            if received != current {
                return Err(inequivalent(name, resource, received, current));
            }
            continue;
        }
        if name == "x-max-age" {
            // Compared, and shown, in ms.
            let ms = |age: Option<&Value>| {
                let ms = age.and_then(Value::as_str).and_then(arguments::age_ms)?;
                i64::try_from(ms).ok().map(Value::I64)
            };
            let (received, current) = (ms(received), ms(current));
            equivalent_argument(resource, name, current.as_ref(), received.as_ref())?;
            continue;
        }
        equivalent_argument(resource, name, current, received)?;
    }
    Ok(())
}
