//! The definitions of the node: virtual hosts, users, permissions, exchanges, queues and bindings.
//!
//! They change only by [`Catalogue::apply`]: a [`Command`] in, [`Changes`] out. It is deterministic (no clock, no
//! randomness, no hash order in what it does), so that every node of a cluster that applies the same commands holds the
//! same definitions. Whoever issues a command has checked what the user may do and has stamped generated names into it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::counters::ExchangeTally;
use crate::exchange::{Destination, Kind, Router};
use crate::ids::{ExchangeId, QueueId, VhostId};
use crate::live_queue::Declaration;
use crate::policies::{Applied, Object, Policy, Scope};
use crate::queue;
use crate::table::{Table, Value};
use crate::users::{Permissions, TopicPermissions, User, UserLimits};

mod administration;
mod record;

pub use administration::{VhostLimits, VhostMetadata};
pub use record::{Definition, RecordError};

/// A hash map whose order is the same in every process.
pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::FixedState>;

/// All definitions. See the module's page.
#[derive(Debug, Default)]
pub struct Catalogue {
    vhosts: BTreeMap<Arc<str>, Vhost>,
    vhost_names: BTreeMap<VhostId, Arc<str>>,
    users: BTreeMap<Arc<str>, User>,
    permissions: BTreeMap<(Arc<str>, Arc<str>), Permissions>,
    /// By user, vhost and exchange.
    topic_permissions: BTreeMap<[Arc<str>; 3], TopicPermissions>,
    global_parameters: BTreeMap<Arc<str>, Value>,
    /// The numbers of users and permissions in the log, by table and names.
    numbers: BTreeMap<(u8, String), u64>,
    /// The last number given to a definition; vhosts, exchanges, queues and bindings share the count.
    last_id: u64,
    /// The last one that was used again, once there had been 2^32 of them: a million exclusive queues an hour come to that in
    /// half a year.
    last_used_again: u32,
}

/// A virtual host and what is in it.
#[derive(Debug)]
pub struct Vhost {
    pub id: VhostId,
    pub name: Arc<str>,
    pub metadata: VhostMetadata,
    pub limits: VhostLimits,
    /// The firehose is on. Not kept in the log: it ends with the node.
    pub tracing: bool,
    exchanges: Map<Arc<str>, Exchange>,
    exchange_names: Map<ExchangeId, Arc<str>>,
    queues: Map<Arc<str>, QueueEntry>,
    queue_names: Map<QueueId, Arc<str>>,
    bindings: Map<u64, Binding>,
    binding_ids: Map<BindingKey, u64>,
    by_destination: Map<Destination, Vec<u64>>,
    /// By scope and name.
    policies: [BTreeMap<Arc<str>, Arc<Policy>>; 2],
    /// By component and name.
    parameters: BTreeMap<(Arc<str>, Arc<str>), Value>,
}

/// An exchange: its declaration, and the bindings that leave it.
#[derive(Debug)]
pub struct Exchange {
    pub id: ExchangeId,
    pub name: Arc<str>,
    pub declaration: ExchangeDeclaration,
    pub router: Router,
    /// Its policies.
    pub applied: Applied,
    /// What has been published to it since the node started.
    pub tally: Arc<ExchangeTally>,
}

/// What an exchange was declared as.
#[derive(Debug, Clone, PartialEq)]
pub struct ExchangeDeclaration {
    pub kind: Kind,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: Table,
    /// The user who did it; nobody: the node itself.
    pub declared_by: Option<Arc<str>>,
}

impl Exchange {
    /// Where unroutable messages go: an argument, or else a policy, says it (X09).
    pub fn alternate(&self) -> Option<&str> {
        let key = "alternate-exchange";
        let of_policy = || {
            let policy = self.applied.user.as_ref()?;
            policy.definition.get(key)
        };
        let arguments = &self.declaration.arguments;
        arguments.get(key).or_else(of_policy)?.as_str()
    }
}

#[derive(Debug)]
struct QueueEntry {
    id: QueueId,
    declaration: Arc<Declaration>,
    applied: Applied,
}

/// A binding, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    pub source: ExchangeId,
    pub destination: Destination,
    pub key: Box<[u8]>,
    pub arguments: Table,
}

/// A binding as something to look up: its arguments in their wire form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct BindingKey {
    source: ExchangeId,
    destination: Destination,
    key: Box<[u8]>,
    arguments: Box<[u8]>,
}

impl Binding {
    fn lookup_key(&self) -> BindingKey {
        let mut arguments = Vec::new();
        self.arguments.encode(&mut arguments);
        BindingKey {
            source: self.source,
            destination: self.destination,
            key: self.key.clone(),
            arguments: arguments.into(),
        }
    }
}

/// A change of the definitions.
#[derive(Debug)]
pub enum Command {
    /// A new vhost, with the exchanges every vhost has.
    AddVhost {
        name: Arc<str>,
        metadata: VhostMetadata,
    },
    /// What an operator says about a vhost is replaced.
    PutVhostMetadata {
        vhost: VhostId,
        metadata: VhostMetadata,
    },
    PutVhostLimits {
        vhost: VhostId,
        limits: VhostLimits,
    },
    SetTracing {
        vhost: VhostId,
        on: bool,
    },
    /// All that is in it goes too.
    DeleteVhost {
        vhost: VhostId,
    },
    /// A new user, or a known one but for its limits.
    PutUser(User),
    PutUserLimits {
        user: Arc<str>,
        limits: UserLimits,
    },
    /// Its permissions go too.
    DeleteUser {
        name: Arc<str>,
    },
    PutPermissions {
        user: Arc<str>,
        vhost: Arc<str>,
        permissions: Permissions,
    },
    PutTopicPermissions {
        user: Arc<str>,
        vhost: Arc<str>,
        exchange: Arc<str>,
        permissions: TopicPermissions,
    },
    DeletePermissions {
        user: Arc<str>,
        vhost: Arc<str>,
    },
    DeleteTopicPermissions {
        user: Arc<str>,
        vhost: Arc<str>,
        /// `None`: those of all exchanges.
        exchange: Option<Arc<str>>,
    },
    PutPolicy {
        vhost: VhostId,
        scope: Scope,
        policy: Policy,
    },
    DeletePolicy {
        vhost: VhostId,
        scope: Scope,
        name: Arc<str>,
    },
    PutParameter {
        vhost: VhostId,
        component: Arc<str>,
        name: Arc<str>,
        value: Value,
    },
    DeleteParameter {
        vhost: VhostId,
        component: Arc<str>,
        name: Arc<str>,
    },
    PutGlobalParameter {
        name: Arc<str>,
        value: Value,
    },
    DeleteGlobalParameter {
        name: Arc<str>,
    },
    DeclareExchange {
        vhost: VhostId,
        name: Arc<str>,
        declaration: ExchangeDeclaration,
    },
    DeleteExchange {
        vhost: VhostId,
        id: ExchangeId,
    },
    DeclareQueue {
        vhost: VhostId,
        declaration: Arc<Declaration>,
    },
    DeleteQueue {
        vhost: VhostId,
        id: QueueId,
        name: Arc<str>,
    },
    Bind {
        vhost: VhostId,
        binding: Binding,
    },
    Unbind {
        vhost: VhostId,
        binding: Binding,
    },
}

impl Command {
    /// The vhost in which it changes exchanges, queues or bindings.
    pub(crate) fn vhost(&self) -> Option<VhostId> {
        match *self {
            Self::DeclareExchange { vhost, .. }
            | Self::DeleteExchange { vhost, .. }
            | Self::DeclareQueue { vhost, .. }
            | Self::DeleteQueue { vhost, .. }
            | Self::Bind { vhost, .. }
            | Self::Unbind { vhost, .. } => Some(vhost),
            _ => None,
        }
    }
}

/// What a command did.
#[derive(Debug, Default)]
pub struct Changes {
    /// Durable definitions, new or replaced.
    pub defined: Vec<Definition>,
    /// Durable definitions removed: table and number.
    pub undefined: Vec<(u8, u64)>,
    /// The queue that a declaration made.
    pub queue: Option<QueueId>,
    /// Queues that are gone, with what the log keeps of them.
    pub dropped: Vec<QueueId>,
    /// Queues that other policies apply to than before.
    pub configured: Vec<QueueId>,
    /// Exchanges and bindings that are gone, on their own or with what they belonged to; not those of a vhost that is gone.
    pub gone: Vec<Gone>,
}

/// Something that is no longer there, by names.
#[derive(Debug, Clone, PartialEq)]
pub enum Gone {
    Exchange(Arc<str>),
    Binding {
        source: Arc<str>,
        destination: Arc<str>,
        binding: Binding,
    },
}

/// Why a command can't be applied: what it refers to is no longer there, or already is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("no such virtual host")]
    NoVhost,
    #[error("no such user")]
    NoUser,
    #[error("no such parameter")]
    NoParameter,
    #[error("no such exchange")]
    NoExchange,
    #[error("no such queue")]
    NoQueue,
    #[error("an object of this name is there already")]
    Exists,
    #[error("the arguments do not fit the exchange type")]
    Arguments,
}

/// The exchanges that every vhost has (RabbitMQ: "AMQP 0-9-1 Model Explained", default exchange and amq.*).
pub(crate) const PREDECLARED: [(&str, Kind, bool); 7] = [
    ("", Kind::Direct, false),
    ("amq.direct", Kind::Direct, false),
    ("amq.fanout", Kind::Fanout, false),
    ("amq.topic", Kind::Topic, false),
    ("amq.headers", Kind::Headers, false),
    ("amq.match", Kind::Headers, false),
    ("amq.rabbitmq.trace", Kind::Topic, true),
];

impl Catalogue {
    /// Applies a command, wholly or not at all.
    pub fn apply(&mut self, command: Command) -> Result<Changes, ApplyError> {
        match command {
            Command::AddVhost { name, metadata } => self.add_vhost(name, metadata),
            Command::PutVhostMetadata { vhost, metadata } => {
                self.change_vhost(vhost, |vhost| vhost.metadata = metadata)
            }
            Command::PutVhostLimits { vhost, limits } => {
                self.change_vhost(vhost, |vhost| vhost.limits = limits)
            }
            Command::SetTracing { vhost, on } => {
                self.change_vhost(vhost, |vhost| vhost.tracing = on)
            }
            Command::DeleteVhost { vhost } => self.delete_vhost(vhost),
            Command::PutUser(user) => Ok(self.put_user(user)),
            Command::PutUserLimits { user, limits } => self.put_user_limits(&user, limits),
            Command::DeleteUser { name } => self.delete_user(&name),
            Command::DeletePermissions { user, vhost } => Ok(self.delete_permissions(user, vhost)),
            Command::DeleteTopicPermissions {
                user,
                vhost,
                exchange,
            } => Ok(self.delete_topic_permissions(user, vhost, exchange)),
            Command::PutPolicy {
                vhost,
                scope,
                policy,
            } => self.put_policy(vhost, scope, policy),
            Command::DeletePolicy { vhost, scope, name } => self.delete_policy(vhost, scope, &name),
            Command::PutParameter {
                vhost,
                component,
                name,
                value,
            } => self.put_parameter(vhost, component, name, value),
            Command::DeleteParameter {
                vhost,
                component,
                name,
            } => self.delete_parameter(vhost, &component, &name),
            Command::PutGlobalParameter { name, value } => {
                Ok(self.put_global_parameter(name, value))
            }
            Command::DeleteGlobalParameter { name } => self.delete_global_parameter(&name),
            Command::PutPermissions {
                user,
                vhost,
                permissions,
            } => {
                let id = self.number(record::PERMISSIONS, &[&user, &vhost]);
                let definition = Definition::permissions(id, &user, &vhost, &permissions);
                self.permissions.insert((user, vhost), permissions);
                Ok(Changes::defining(definition))
            }
            Command::PutTopicPermissions {
                user,
                vhost,
                exchange,
                permissions,
            } => {
                let id = self.number(record::TOPIC_PERMISSIONS, &[&user, &vhost, &exchange]);
                let names = (&*user, &*vhost, &*exchange);
                let definition = Definition::topic_permissions(id, names, &permissions);
                self.topic_permissions
                    .insert([user, vhost, exchange], permissions);
                Ok(Changes::defining(definition))
            }
            Command::DeclareExchange {
                vhost,
                name,
                declaration,
            } => self.declare_exchange(vhost, name, declaration),
            Command::DeleteExchange { vhost, id } => {
                let mut changes = Changes::default();
                self.vhost_by_id(vhost)?.delete_exchange(id, &mut changes)?;
                Ok(changes)
            }
            Command::DeclareQueue { vhost, declaration } => self.declare_queue(vhost, declaration),
            Command::DeleteQueue { vhost, id, name } => {
                let mut changes = Changes::default();
                self.vhost_by_id(vhost)?
                    .delete_queue(id, &name, &mut changes)?;
                Ok(changes)
            }
            Command::Bind { vhost, binding } => self.bind(vhost, binding),
            Command::Unbind { vhost, binding } => {
                let mut changes = Changes::default();
                self.vhost_by_id(vhost)?.unbind(&binding, &mut changes);
                Ok(changes)
            }
        }
    }

    /// The vhost of that name.
    pub fn vhost(&self, name: &str) -> Option<&Vhost> {
        self.vhosts.get(name)
    }

    /// Every vhost, by name.
    pub fn vhosts(&self) -> impl Iterator<Item = &Vhost> {
        self.vhosts.values()
    }

    /// The vhost of that number.
    pub fn vhost_of(&self, id: VhostId) -> Option<&Vhost> {
        self.vhosts.get(self.vhost_names.get(&id)?)
    }

    /// The user of that name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// Every global parameter, by name.
    pub fn global_parameters(&self) -> impl Iterator<Item = (&Arc<str>, &Value)> {
        self.global_parameters.iter()
    }

    /// Every user, by name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// Every permission, by user and vhost.
    pub fn all_permissions(&self) -> impl Iterator<Item = (&(Arc<str>, Arc<str>), &Permissions)> {
        self.permissions.iter()
    }

    /// Every topic permission, by user, vhost and exchange.
    pub fn all_topic_permissions(
        &self,
    ) -> impl Iterator<Item = (&[Arc<str>; 3], &TopicPermissions)> {
        self.topic_permissions.iter()
    }

    /// What `user` may do in `vhost`; `None`: nothing, not even open a connection to it.
    pub fn permissions(&self, user: &Arc<str>, vhost: &Arc<str>) -> Option<&Permissions> {
        self.permissions.get(&(user.clone(), vhost.clone()))
    }

    /// Which routing keys `user` may use with this topic exchange; `None`: all.
    pub fn topic_permissions(
        &self,
        user: &Arc<str>,
        vhost: &Arc<str>,
        exchange: &Arc<str>,
    ) -> Option<&TopicPermissions> {
        if self.topic_permissions.is_empty() {
            return None;
        }
        self.topic_permissions
            .get(&[user.clone(), vhost.clone(), exchange.clone()])
    }

    /// Whether nothing has ever been defined.
    pub fn is_blank(&self) -> bool {
        self.vhosts.is_empty() && self.users.is_empty()
    }

    fn declare_exchange(
        &mut self,
        vhost: VhostId,
        name: Arc<str>,
        declaration: ExchangeDeclaration,
    ) -> Result<Changes, ApplyError> {
        let id = ExchangeId(self.small_id());
        let vhost = self.vhost_by_id(vhost)?;
        if vhost.exchanges.contains_key(&name) {
            return Err(ApplyError::Exists);
        }
        let changes = match declaration.durable {
            true => Changes::defining(Definition::exchange(vhost.id, id, &name, &declaration)),
            false => Changes::default(),
        };
        vhost.insert_exchange(id, name, declaration)?;
        Ok(changes)
    }

    fn declare_queue(
        &mut self,
        vhost: VhostId,
        declaration: Arc<Declaration>,
    ) -> Result<Changes, ApplyError> {
        let id = QueueId(self.small_id());
        let vhost = self.vhost_by_id(vhost)?;
        if vhost.queues.contains_key(&declaration.name) {
            return Err(ApplyError::Exists);
        }
        let mut changes = Changes {
            queue: Some(id),
            ..Changes::default()
        };
        if declaration.outlives_restarts() {
            changes
                .defined
                .push(Definition::queue(vhost.id, id, &declaration));
        }
        vhost.insert_queue(id, declaration);
        Ok(changes)
    }

    fn bind(&mut self, vhost: VhostId, binding: Binding) -> Result<Changes, ApplyError> {
        let id = self.last_id + 1;
        let vhost = self.vhost_by_id(vhost)?;
        let durable = vhost.is_durable(&binding);
        let mut changes = Changes::default();
        if vhost.insert_binding(id, &binding)? {
            if durable {
                changes
                    .defined
                    .push(Definition::binding(vhost.id, id, &binding));
            }
            self.last_id = id;
        }
        Ok(changes)
    }

    fn vhost_by_id(&mut self, id: VhostId) -> Result<&mut Vhost, ApplyError> {
        let name = self.vhost_names.get(&id).ok_or(ApplyError::NoVhost)?;
        self.vhosts.get_mut(name).ok_or(ApplyError::NoVhost)
    }

    /// The number of a definition that is known by names: the one it has, or a new one.
    fn number(&mut self, table: u8, names: &[&str]) -> u64 {
        let next = self.last_id + 1;
        let id = *self
            .numbers
            .entry(Self::number_key(table, names))
            .or_insert(next);
        self.last_id = self.last_id.max(id);
        id
    }

    fn number_key(table: u8, names: &[&str]) -> (u8, String) {
        // No name holds a NUL that could make two different lists alike: doors refuse such names for users and vhosts.
        (table, names.join("\0"))
    }

    /// The number of a vhost, an exchange or a queue.
    fn small_id(&mut self) -> u32 {
        self.last_id += 1;
        u32::try_from(self.last_id).unwrap_or_else(|_| {
            self.last_used_again = self.first_unused(self.last_used_again);
            self.last_used_again
        })
    }

    /// The first number behind that one that no vhost, exchange or queue has.
    fn first_unused(&self, after: u32) -> u32 {
        let is_used = |id: &u32| {
            let has = |vhost: &Vhost| {
                vhost.queue_names.contains_key(&QueueId(*id))
                    || vhost.exchange_names.contains_key(&ExchangeId(*id))
            };
            self.vhost_names.contains_key(&VhostId(*id)) || self.vhosts.values().any(has)
        };
        let mut behind = (after..=u32::MAX).skip(1).chain(1..=after);
        let found = behind.find(|id| !is_used(id));
        found.expect("a machine has no memory for 2^32 queues")
    }
}

impl Declaration {
    /// Exclusive queues go with their connection, whatever their durable flag says.
    pub fn outlives_restarts(&self) -> bool {
        self.durable && self.exclusive.is_none()
    }

    /// The type in its arguments.
    pub fn kind(&self) -> queue::Kind {
        let name = self.arguments.get("x-queue-type").and_then(Value::as_str);
        name.and_then(queue::Kind::from_name)
            .unwrap_or(queue::Kind::Classic)
    }
}

impl Vhost {
    /// The exchange of that name.
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.get(name)
    }

    /// The exchange of that number.
    pub fn exchange_of(&self, id: ExchangeId) -> Option<&Exchange> {
        self.exchanges.get(self.exchange_names.get(&id)?)
    }

    /// How many exchanges there are.
    pub fn exchange_count(&self) -> usize {
        self.exchanges.len()
    }

    /// Every exchange.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.values()
    }

    /// The name of the queue of that number.
    pub fn queue_name(&self, id: QueueId) -> Option<&Arc<str>> {
        self.queue_names.get(&id)
    }

    /// The bindings that lead to a queue or an exchange.
    pub fn bindings_to(&self, destination: Destination) -> impl Iterator<Item = &Binding> {
        let ids = self.by_destination.get(&destination);
        ids.into_iter()
            .flatten()
            .filter_map(|id| self.bindings.get(id))
    }

    /// Whether this binding is there.
    pub fn has_binding(&self, binding: &Binding) -> bool {
        self.binding_ids.contains_key(&binding.lookup_key())
    }

    /// The number and declaration of the queue of that name.
    pub fn queue(&self, name: &str) -> Option<(QueueId, &Arc<Declaration>)> {
        self.queues
            .get(name)
            .map(|entry| (entry.id, &entry.declaration))
    }

    /// Every queue: number and declaration.
    pub fn queues(&self) -> impl Iterator<Item = (QueueId, &Arc<Declaration>)> {
        self.queues
            .values()
            .map(|entry| (entry.id, &entry.declaration))
    }

    fn exchange_by_id(&mut self, id: ExchangeId) -> Option<&mut Exchange> {
        self.exchanges.get_mut(self.exchange_names.get(&id)?)
    }

    fn insert_exchange(
        &mut self,
        id: ExchangeId,
        name: Arc<str>,
        declaration: ExchangeDeclaration,
    ) -> Result<(), ApplyError> {
        let router = Router::new(declaration.kind, &declaration.arguments)
            .map_err(|_| ApplyError::Arguments)?;
        self.exchange_names.insert(id, name.clone());
        let applied = self.applied(Object::Exchange(&name));
        self.exchanges.insert(
            name.clone(),
            Exchange {
                id,
                name,
                declaration,
                router,
                applied,
                tally: Arc::default(),
            },
        );
        Ok(())
    }

    fn delete_exchange(&mut self, id: ExchangeId, changes: &mut Changes) -> Result<(), ApplyError> {
        let name = self.exchange_names.get(&id).cloned();
        let name = name.ok_or(ApplyError::NoExchange)?;
        let exchange = self.exchanges.remove(&name).ok_or(ApplyError::NoExchange)?;
        if exchange.declaration.durable {
            changes.undefined.push((record::EXCHANGE, u64::from(id.0)));
        }
        for binding in exchange.router.bindings() {
            let binding = Binding {
                source: id,
                destination: binding.destination,
                key: binding.key.clone(),
                arguments: binding.arguments.clone(),
            };
            self.forget_binding(&binding, changes);
        }
        self.delete_bindings_to(Destination::Exchange(id), changes);
        self.exchange_names.remove(&id);
        changes.gone.push(Gone::Exchange(name));
        Ok(())
    }

    fn delete_queue(
        &mut self,
        id: QueueId,
        name: &str,
        changes: &mut Changes,
    ) -> Result<(), ApplyError> {
        if self.queues.get(name).is_none_or(|entry| entry.id != id) {
            return Err(ApplyError::NoQueue);
        }
        let entry = self.queues.remove(name).ok_or(ApplyError::NoQueue)?;
        changes.dropped.push(id);
        if entry.declaration.outlives_restarts() {
            changes.undefined.push((record::QUEUE, u64::from(id.0)));
        }
        self.delete_bindings_to(Destination::Queue(id), changes);
        self.queue_names.remove(&id);
        Ok(())
    }

    /// A binding survives a restart if both its ends do.
    fn is_durable(&self, binding: &Binding) -> bool {
        let exchange = |id| {
            self.exchange_of(id)
                .is_some_and(|exchange| exchange.declaration.durable)
        };
        exchange(binding.source)
            && match binding.destination {
                Destination::Exchange(id) => exchange(id),
                Destination::Queue(id) => self
                    .queue_of(id)
                    .is_some_and(|entry| entry.declaration.outlives_restarts()),
            }
    }

    fn queue_of(&self, id: QueueId) -> Option<&QueueEntry> {
        self.queues.get(self.queue_names.get(&id)?)
    }

    fn insert_queue(&mut self, id: QueueId, declaration: Arc<Declaration>) {
        let name = declaration.name.clone();
        let applied = self.applied(Object::Queue(&name, declaration.kind()));
        let entry = QueueEntry {
            id,
            declaration,
            applied,
        };
        self.queue_names.insert(id, name.clone());
        self.queues.insert(name, entry);
    }

    /// Puts a binding in; `false` when it was there.
    fn insert_binding(&mut self, id: u64, binding: &Binding) -> Result<bool, ApplyError> {
        let key = binding.lookup_key();
        if self.binding_ids.contains_key(&key) {
            return Ok(false);
        }
        let source = self
            .exchange_by_id(binding.source)
            .ok_or(ApplyError::NoExchange)?;
        source
            .router
            .bind(binding.destination, &binding.key, &binding.arguments);
        self.binding_ids.insert(key, id);
        self.by_destination
            .entry(binding.destination)
            .or_default()
            .push(id);
        self.bindings.insert(id, binding.clone());
        Ok(true)
    }

    fn unbind(&mut self, binding: &Binding, changes: &mut Changes) {
        if self.forget_binding(binding, changes) {
            self.leave_source(binding, changes);
        }
    }

    fn delete_bindings_to(&mut self, destination: Destination, changes: &mut Changes) {
        for id in self.by_destination.remove(&destination).unwrap_or_default() {
            let Some(binding) = self.bindings.get(&id).cloned() else {
                continue;
            };
            self.forget_binding(&binding, changes);
            self.leave_source(&binding, changes);
        }
    }

    /// Takes the binding out of the tables; `false` when it was not there.
    fn forget_binding(&mut self, binding: &Binding, changes: &mut Changes) -> bool {
        let Some(id) = self.binding_ids.remove(&binding.lookup_key()) else {
            return false;
        };
        self.bindings.remove(&id);
        if let Some(ids) = self.by_destination.get_mut(&binding.destination) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_destination.remove(&binding.destination);
            }
        }
        changes.undefined.push((record::BINDING, id));
        if let (Some(source), Some(destination)) = (
            self.exchange_names.get(&binding.source),
            self.destination_name(binding.destination),
        ) {
            changes.gone.push(Gone::Binding {
                source: source.clone(),
                destination: destination.clone(),
                binding: binding.clone(),
            });
        }
        true
    }

    /// The name of what a binding leads to.
    pub(crate) fn destination_name(&self, destination: Destination) -> Option<&Arc<str>> {
        match destination {
            Destination::Queue(id) => self.queue_names.get(&id),
            Destination::Exchange(id) => self.exchange_names.get(&id),
        }
    }

    /// Takes the binding out of its source's router; an auto-delete source goes with its last binding.
    fn leave_source(&mut self, binding: &Binding, changes: &mut Changes) {
        let Some(source) = self.exchange_by_id(binding.source) else {
            return;
        };
        source
            .router
            .unbind(binding.destination, &binding.key, &binding.arguments);
        if source.declaration.auto_delete && source.router.is_empty() {
            let id = source.id;
            self.delete_exchange(id, changes)
                .expect("this exchange was just seen");
        }
    }
}

impl Changes {
    fn defining(definition: Definition) -> Self {
        Self {
            defined: vec![definition],
            ..Self::default()
        }
    }

    fn add(&mut self, other: Self) {
        self.defined.extend(other.defined);
        self.undefined.extend(other.undefined);
        self.dropped.extend(other.dropped);
        self.configured.extend(other.configured);
        self.gone.extend(other.gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_when_there_have_been_so_many() {
        let mut catalogue = Catalogue::default();
        // Itself and its exchanges have the first numbers.
        let vhost = Command::AddVhost {
            name: "/".into(),
            metadata: VhostMetadata::default(),
        };
        catalogue.apply(vhost).unwrap();
        let (vhost, first_free) = (VhostId(1), u32::try_from(catalogue.last_id).unwrap() + 1);
        catalogue.last_id = u64::from(u32::MAX) - 1;
        let mut declare = |name: &str| {
            let declaration = Declaration {
                name: name.into(),
                durable: false,
                auto_delete: false,
                exclusive: None,
                declared_by: None,
                arguments: Arc::default(),
            };
            let declaration = Arc::new(declaration);
            let changes = catalogue.apply(Command::DeclareQueue { vhost, declaration });
            changes.unwrap().queue.unwrap().0
        };
        let ids = ["a", "b", "c"].map(&mut declare);
        assert_eq!(ids, [u32::MAX, first_free, first_free + 1]);
        catalogue.last_used_again = u32::MAX - 1;
        assert_eq!(catalogue.small_id(), first_free + 2);
    }
}
