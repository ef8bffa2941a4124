//! Definitions into the node, all at once. Every object is held against what will be there (`review`), and if one of them
//! can't be, nothing has happened. What is new or other than before is then one change under the topology's lock and one
//! batch of the log: a node that is killed meanwhile comes back with all of it or with nothing. Queues and exchanges that
//! are there stay as they are. Nothing is ever deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_storage::Lsn;

use super::Parameter;
use crate::broker::definitions::Done;
use crate::broker::{Broker, Topology};
use crate::catalogue::{
    ApplyError, Binding, Changes, Command, ExchangeDeclaration, Vhost, VhostLimits, VhostMetadata,
};
use crate::error::{Resource, ResourceKind};
use crate::exchange::Destination;
use crate::live_queue::{Declaration, LiveQueue, Outbox};
use crate::message::Message;
use crate::table::{Table, Value};
use crate::time::Timestamp;
use crate::users::{Permissions, TopicPermissions, User, UserLimits};

mod review;

/// Who declares what an import declares, in events.
const IMPORTER: Option<&str> = Some("rmq-internal");

/// An object that is to be there. Each may refer to what comes before it.
#[derive(Debug)]
pub enum Wanted {
    User {
        user: User,
        /// `None`: those it has.
        limits: Option<UserLimits>,
    },
    Vhost {
        name: Arc<str>,
        metadata: VhostMetadata,
        /// `None`: those it has.
        limits: Option<VhostLimits>,
    },
    Permissions {
        user: Arc<str>,
        vhost: Arc<str>,
        permissions: Permissions,
    },
    TopicPermissions {
        user: Arc<str>,
        vhost: Arc<str>,
        exchange: Arc<str>,
        permissions: TopicPermissions,
    },
    GlobalParameter {
        name: Arc<str>,
        value: Value,
    },
    /// Policies as well.
    Parameter {
        vhost: Arc<str>,
        name: Arc<str>,
        /// `policies` or `parameters`: definitions list operator policies among the latter.
        category: &'static str,
        parameter: Parameter,
    },
    Exchange {
        vhost: Arc<str>,
        name: Arc<str>,
        declaration: ExchangeDeclaration,
    },
    Queue {
        vhost: Arc<str>,
        /// With or without a type among its arguments.
        declaration: Declaration,
    },
    Binding {
        vhost: Arc<str>,
        source: Arc<str>,
        destination: Arc<str>,
        kind: ResourceKind,
        key: Box<[u8]>,
        arguments: Table,
    },
}

impl Wanted {
    /// The list of definitions that it stands in.
    pub fn category(&self) -> &'static str {
        match self {
            Self::User { .. } => "users",
            Self::Vhost { .. } => "vhosts",
            Self::Permissions { .. } => "permissions",
            Self::TopicPermissions { .. } => "topic_permissions",
            Self::GlobalParameter { .. } => "global_parameters",
            Self::Parameter { category, .. } => category,
            Self::Exchange { .. } => "exchanges",
            Self::Queue { .. } => "queues",
            Self::Binding { .. } => "bindings",
        }
    }

    /// What a list of such objects calls it.
    fn name(&self) -> String {
        match self {
            Self::User { user, .. } => user.name.to_string(),
            Self::Vhost { name, .. } | Self::GlobalParameter { name, .. } => name.to_string(),
            Self::Permissions { user, vhost, .. } => format!("{user} in {vhost}"),
            Self::TopicPermissions {
                user,
                vhost,
                exchange,
                ..
            } => format!("{user} with {exchange} in {vhost}"),
            Self::Parameter { vhost, name, .. } | Self::Exchange { vhost, name, .. } => {
                format!("{name} in {vhost}")
            }
            Self::Queue { vhost, declaration } => format!("{} in {vhost}", declaration.name),
            Self::Binding {
                vhost,
                source,
                destination,
                ..
            } => format!("{source} to {destination} in {vhost}"),
        }
    }

    /// It, in a sentence.
    pub(super) fn title(&self) -> String {
        match self {
            Self::User { user, .. } => format!("user '{}'", user.name),
            Self::Vhost { name, .. } => format!("vhost '{name}'"),
            Self::Permissions { user, vhost, .. } => {
                format!("permissions of user '{user}' in vhost '{vhost}'")
            }
            Self::TopicPermissions {
                user,
                vhost,
                exchange,
                ..
            } => format!(
                "topic permissions of user '{user}' with {}",
                Resource::exchange(exchange, vhost)
            ),
            Self::GlobalParameter { name, .. } => format!("global parameter '{name}'"),
            Self::Parameter {
                vhost,
                name,
                category,
                ..
            } => {
                let kind = match *category {
                    "policies" => "policy",
                    _ => "parameter",
                };
                format!("{kind} '{name}' in vhost '{vhost}'")
            }
            Self::Exchange { vhost, name, .. } => Resource::exchange(name, vhost).to_string(),
            Self::Queue { vhost, declaration } => {
                Resource::queue(&declaration.name, vhost).to_string()
            }
            Self::Binding {
                vhost,
                source,
                destination,
                kind,
                ..
            } => format!(
                "binding of exchange '{source}' to {kind} '{destination}' in vhost '{vhost}'"
            ),
        }
    }
}

/// Why nothing is taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportRefused {
    /// RabbitMQ's explanation says itself which object is meant.
    #[error("{0}")]
    Explained(String),
    #[error("{what}: {why}")]
    Object { what: String, why: String },
}

impl ImportRefused {
    /// The object is named once.
    pub fn new(what: String, why: String) -> Self {
        match why.contains(&what) {
            true => Self::Explained(why),
            false => Self::Object { what, why },
        }
    }
}

/// What an object is to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Created,
    Changed,
    Unchanged,
}

/// How much a report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    Counts,
    /// Names, too, of what is new and what is other than before.
    Names,
}

/// How many objects of a category had each fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub created: u64,
    pub changed: u64,
    pub unchanged: u64,
}

/// What an import did, or would do.
#[derive(Debug)]
pub struct Report {
    detail: Detail,
    pub tallies: BTreeMap<&'static str, Tally>,
    pub created: BTreeMap<&'static str, Vec<String>>,
    pub changed: BTreeMap<&'static str, Vec<String>>,
    /// What to wait for before it is told.
    pub durable_at: Option<Lsn>,
}

impl Report {
    fn new(detail: Detail) -> Self {
        Self {
            detail,
            tallies: BTreeMap::new(),
            created: BTreeMap::new(),
            changed: BTreeMap::new(),
            durable_at: None,
        }
    }

    /// All categories together.
    pub fn total(&self) -> Tally {
        let add = |sum: Tally, it: &Tally| Tally {
            created: sum.created + it.created,
            changed: sum.changed + it.changed,
            unchanged: sum.unchanged + it.unchanged,
        };
        self.tallies.values().fold(Tally::default(), add)
    }

    fn note(&mut self, wanted: &Wanted, fate: Fate) {
        let tally = self.tallies.entry(wanted.category()).or_default();
        let (count, names) = match fate {
            Fate::Created => (&mut tally.created, &mut self.created),
            Fate::Changed => (&mut tally.changed, &mut self.changed),
            Fate::Unchanged => {
                tally.unchanged += 1;
                return;
            }
        };
        *count += 1;
        if self.detail == Detail::Names {
            names
                .entry(wanted.category())
                .or_default()
                .push(wanted.name());
        }
    }
}

impl Broker {
    /// Takes objects in: all of them, or none.
    pub fn import(
        &self,
        mut wanted: Vec<Wanted>,
        detail: Detail,
        now: Timestamp,
    ) -> Result<Report, ImportRefused> {
        let mut topology = self.topology.write();
        let mut report = self.review(&topology, &mut wanted, detail)?;
        let mut import = Import {
            broker: self,
            topology: &mut topology,
            now,
            done: Done::default(),
            outbox: Outbox::default(),
            queues: Vec::new(),
            replays: Vec::new(),
        };
        // After the review nothing is refused. Were it, what is in the catalogue would have to be in the log all the same.
        let refused = wanted.into_iter().try_for_each(|it| import.put(it)).err();
        let Import {
            done,
            mut outbox,
            queues,
            replays,
            ..
        } = import;
        report.durable_at = self.log_done(&topology, done);
        drop(topology);
        self.finish(&mut outbox, now);
        for queue in queues {
            self.touch(&queue, now);
        }
        for (history, queues) in replays {
            self.replay(history, queues, now);
        }
        match refused {
            Some(error) => Err(ImportRefused::Explained(error.to_string())),
            None => Ok(report),
        }
    }

    /// What taking objects in would come to.
    pub fn preview_import(
        &self,
        mut wanted: Vec<Wanted>,
        detail: Detail,
    ) -> Result<Report, ImportRefused> {
        self.review(&self.topology.read(), &mut wanted, detail)
    }
}

/// An import at work, under the topology's lock.
struct Import<'a> {
    broker: &'a Broker,
    topology: &'a mut Topology,
    now: Timestamp,
    done: Done,
    // What is left for when the lock is free:
    outbox: Outbox,
    /// New ones.
    queues: Vec<Arc<LiveQueue>>,
    /// X18: what an exchange remembers, for the queues that are bound to it now.
    replays: Vec<(Vec<Message>, Vec<Arc<LiveQueue>>)>,
}

impl Import<'_> {
    fn apply(&mut self, command: Command) -> Result<Changes, ApplyError> {
        let (topology, done) = (&mut *self.topology, &mut self.done);
        self.broker.apply_only(topology, command, IMPORTER, done)
    }

    fn vhost(&self, name: &str) -> Result<&Vhost, ApplyError> {
        let known = self.topology.catalogue.vhost(name);
        known.ok_or(ApplyError::NoVhost)
    }

    /// An object that is not yet as wanted.
    fn put(&mut self, wanted: Wanted) -> Result<(), ApplyError> {
        match wanted {
            Wanted::User { user, limits } => self.put_user(user, limits),
            Wanted::Vhost {
                name,
                metadata,
                limits,
            } => self.put_vhost(name, metadata, limits),
            Wanted::Permissions {
                user,
                vhost,
                permissions,
            } => self.put_permissions(user, vhost, permissions),
            Wanted::TopicPermissions {
                user,
                vhost,
                exchange,
                permissions,
            } => {
                let command = Command::PutTopicPermissions {
                    user,
                    vhost,
                    exchange,
                    permissions,
                };
                self.apply(command).map(drop)
            }
            Wanted::GlobalParameter { name, value } => self
                .apply(Command::PutGlobalParameter { name, value })
                .map(drop),
            Wanted::Parameter {
                vhost, parameter, ..
            } => self.put_parameter(&vhost, parameter),
            Wanted::Exchange {
                vhost,
                name,
                declaration,
            } => {
                let vhost = self.vhost(&vhost)?.id;
                let command = Command::DeclareExchange {
                    vhost,
                    name,
                    declaration,
                };
                self.apply(command).map(drop)
            }
            Wanted::Queue { vhost, declaration } => self.declare_queue(&vhost, declaration),
            Wanted::Binding {
                vhost,
                source,
                destination,
                kind,
                key,
                arguments,
            } => self.bind(&vhost, [&source, &destination], kind, key, arguments),
        }
    }

    fn put_user(&mut self, user: User, limits: Option<UserLimits>) -> Result<(), ApplyError> {
        let name = user.name.clone();
        self.apply(Command::PutUser(user))?;
        if let Some(limits) = limits {
            self.apply(Command::PutUserLimits { user: name, limits })?;
        }
        Ok(())
    }

    fn put_vhost(
        &mut self,
        name: Arc<str>,
        metadata: VhostMetadata,
        limits: Option<VhostLimits>,
    ) -> Result<(), ApplyError> {
        let known = self.vhost(&name).map(|vhost| vhost.id);
        self.apply(match known {
            Ok(vhost) => Command::PutVhostMetadata { vhost, metadata },
            Err(_) => Command::AddVhost {
                name: name.clone(),
                metadata,
            },
        })?;
        if let Some(limits) = limits {
            let vhost = self.vhost(&name)?.id;
            self.apply(Command::PutVhostLimits { vhost, limits })?;
        }
        Ok(())
    }

    fn put_permissions(
        &mut self,
        user: Arc<str>,
        vhost: Arc<str>,
        permissions: Permissions,
    ) -> Result<(), ApplyError> {
        let command = Command::PutPermissions {
            user: user.clone(),
            vhost: vhost.clone(),
            permissions,
        };
        self.apply(command)?;
        let (topology, outbox) = (&*self.topology, &mut self.outbox);
        self.broker
            .enforce_access(topology, &user, &vhost, self.now, outbox);
        Ok(())
    }

    fn put_parameter(&mut self, vhost: &str, parameter: Parameter) -> Result<(), ApplyError> {
        let vhost = self.vhost(vhost)?.id;
        let changes = self.apply(parameter.command(vhost))?;
        let (topology, outbox) = (&*self.topology, &mut self.outbox);
        self.broker
            .configure_queues(topology, vhost, &changes, self.now, outbox);
        Ok(())
    }

    fn declare_queue(&mut self, vhost: &str, declaration: Declaration) -> Result<(), ApplyError> {
        let vhost = self.vhost(vhost)?;
        let vhost = (vhost.id, vhost.name.clone());
        let declaration = Arc::new(declaration);
        let command = Command::DeclareQueue {
            vhost: vhost.0,
            declaration: declaration.clone(),
        };
        let id = self.apply(command)?.queue.ok_or(ApplyError::NoQueue)?;
        let topology = &mut *self.topology;
        let queue = self
            .broker
            .start_queue(topology, id, vhost, declaration, self.now);
        self.queues.push(queue);
        Ok(())
    }

    fn bind(
        &mut self,
        vhost: &str,
        [source, destination]: [&str; 2],
        kind: ResourceKind,
        key: Box<[u8]>,
        arguments: Table,
    ) -> Result<(), ApplyError> {
        let vhost = self.vhost(vhost)?;
        let source = vhost.exchange(source).ok_or(ApplyError::NoExchange)?;
        let to = destination_in(vhost, destination, kind).ok_or(ApplyError::NoQueue)?;
        let binding = Binding {
            source: source.id,
            destination: to,
            key,
            arguments,
        };
        let history = source.router.history();
        let vhost = vhost.id;
        let is_new = !self
            .apply(Command::Bind { vhost, binding })?
            .defined
            .is_empty();
        if is_new && !history.is_empty() {
            let queues = self.topology.queues_behind(to);
            self.replays.push((history, queues));
        }
        Ok(())
    }
}

/// What a binding to this name leads to.
fn destination_in(vhost: &Vhost, name: &str, kind: ResourceKind) -> Option<Destination> {
    match kind {
        ResourceKind::Queue => vhost.queue(name).map(|(id, _)| Destination::Queue(id)),
        ResourceKind::Exchange => {
            let exchange = vhost.exchange(name);
            exchange.map(|exchange| Destination::Exchange(exchange.id))
        }
    }
}
