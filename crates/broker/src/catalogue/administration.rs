//! Commands that only operators give: about vhosts, users, permissions, policies and parameters.

use std::sync::Arc;

use super::record::{self, Definition};
use super::{ApplyError, Catalogue, Changes, ExchangeDeclaration, Map, PREDECLARED, Vhost};
use crate::ids::{QueueId, VhostId};
use crate::policies::{Applied, Object, Policy, Scope};
use crate::queue::Kind;
use crate::table::{Table, Value};
use crate::users::{User, UserLimits};

/// What an operator says about a vhost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VhostMetadata {
    pub description: String,
    pub tags: Vec<Box<str>>,
    /// The type of queues that name none; `None`: the node's (Q04).
    pub default_queue_type: Option<Kind>,
    /// It can't be deleted before this is taken back.
    pub protected_from_deletion: bool,
}

/// Limits of a vhost. Negative: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VhostLimits {
    pub connections_max: Option<i64>,
    pub queues_max: Option<i64>,
}

impl Catalogue {
    pub(super) fn add_vhost(
        &mut self,
        name: Arc<str>,
        metadata: VhostMetadata,
    ) -> Result<Changes, ApplyError> {
        if self.vhosts.contains_key(&name) {
            return Err(ApplyError::Exists);
        }
        let id = VhostId(self.small_id());
        let vhost = Vhost::new(id, name, metadata);
        let mut changes = Changes::defining(Definition::vhost(&vhost));
        self.insert_vhost(vhost);
        for (name, kind, internal) in PREDECLARED {
            let declaration = ExchangeDeclaration {
                kind,
                durable: true,
                auto_delete: false,
                internal,
                arguments: Table::new(),
                declared_by: None,
            };
            changes.add(self.declare_exchange(id, name.into(), declaration)?);
        }
        Ok(changes)
    }

    pub(super) fn insert_vhost(&mut self, vhost: Vhost) {
        self.vhost_names.insert(vhost.id, vhost.name.clone());
        self.vhosts.insert(vhost.name.clone(), vhost);
    }

    /// Changes what is kept of a vhost itself.
    pub(super) fn change_vhost(
        &mut self,
        id: VhostId,
        change: impl FnOnce(&mut Vhost),
    ) -> Result<Changes, ApplyError> {
        let vhost = self.vhost_by_id(id)?;
        change(vhost);
        Ok(Changes::defining(Definition::vhost(vhost)))
    }

    /// Everything in the vhost goes with it.
    pub(super) fn delete_vhost(&mut self, id: VhostId) -> Result<Changes, ApplyError> {
        let name = self.vhost_names.remove(&id).ok_or(ApplyError::NoVhost)?;
        let vhost = self.vhosts.remove(&name).ok_or(ApplyError::NoVhost)?;
        let mut changes = Changes::default();
        changes.undefined.push((record::VHOST, u64::from(id.0)));
        vhost.undefine_contents(&mut changes);
        let permissions: Vec<_> = self.permissions.keys().cloned().collect();
        for (user, _) in permissions.into_iter().filter(|(_, vhost)| *vhost == name) {
            changes.add(self.delete_permissions(user, name.clone()));
        }
        let topics: Vec<_> = self.topic_permissions.keys().cloned().collect();
        for [user, _, exchange] in topics.into_iter().filter(|[_, vhost, _]| *vhost == name) {
            changes.add(self.delete_topic_permissions(user, name.clone(), Some(exchange)));
        }
        for (scope, policy) in vhost.policy_names() {
            self.forget_number(scope.table(), &[&name, &policy], &mut changes);
        }
        for (component, parameter) in vhost.parameters.keys() {
            let names = [&*name, component, parameter];
            self.forget_number(record::PARAMETER, &names, &mut changes);
        }
        Ok(changes)
    }

    pub(super) fn put_user(&mut self, mut user: User) -> Changes {
        if let Some(known) = self.users.get(&user.name) {
            user.limits = known.limits;
        }
        self.store_user(user)
    }

    pub(super) fn put_user_limits(
        &mut self,
        name: &str,
        limits: UserLimits,
    ) -> Result<Changes, ApplyError> {
        let mut user = self.users.get(name).ok_or(ApplyError::NoUser)?.clone();
        user.limits = limits;
        Ok(self.store_user(user))
    }

    fn store_user(&mut self, user: User) -> Changes {
        let id = self.number(record::USER, &[&user.name]);
        let definition = Definition::user(id, &user);
        self.users.insert(user.name.clone(), user);
        Changes::defining(definition)
    }

    /// The user's permissions go with it.
    pub(super) fn delete_user(&mut self, name: &Arc<str>) -> Result<Changes, ApplyError> {
        self.users.remove(name).ok_or(ApplyError::NoUser)?;
        let mut changes = Changes::default();
        self.forget_number(record::USER, &[name], &mut changes);
        let permissions: Vec<_> = self.permissions.keys().cloned().collect();
        for (_, vhost) in permissions.into_iter().filter(|(user, _)| user == name) {
            changes.add(self.delete_permissions(name.clone(), vhost));
        }
        let topics: Vec<_> = self.topic_permissions.keys().cloned().collect();
        for [_, vhost, exchange] in topics.into_iter().filter(|[user, _, _]| user == name) {
            changes.add(self.delete_topic_permissions(name.clone(), vhost, Some(exchange)));
        }
        Ok(changes)
    }

    pub(super) fn delete_permissions(&mut self, user: Arc<str>, vhost: Arc<str>) -> Changes {
        let mut changes = Changes::default();
        self.forget_number(record::PERMISSIONS, &[&user, &vhost], &mut changes);
        self.permissions.remove(&(user, vhost));
        changes
    }

    /// Those with one exchange, or with all of the vhost.
    pub(super) fn delete_topic_permissions(
        &mut self,
        user: Arc<str>,
        vhost: Arc<str>,
        exchange: Option<Arc<str>>,
    ) -> Changes {
        let mut changes = Changes::default();
        let keys: Vec<_> = self.topic_permissions.keys().cloned().collect();
        for key in keys {
            let [of, at, with] = &key;
            let is_meant = exchange.as_ref().is_none_or(|exchange| exchange == with);
            if *of == user && *at == vhost && is_meant {
                let names = [&**of, &**at, &**with];
                self.forget_number(record::TOPIC_PERMISSIONS, &names, &mut changes);
                self.topic_permissions.remove(&key);
            }
        }
        changes
    }

    pub(super) fn put_policy(
        &mut self,
        id: VhostId,
        scope: Scope,
        policy: Policy,
    ) -> Result<Changes, ApplyError> {
        let vhost = self.vhost_by_id(id)?.name.clone();
        let number = self.number(scope.table(), &[&vhost, &policy.name]);
        let mut changes = Changes::defining(Definition::policy(number, id, scope, &policy));
        let vhost = self.vhost_by_id(id)?;
        let policies = vhost.policies_mut(scope);
        policies.insert(policy.name.clone(), Arc::new(policy));
        vhost.match_policies(&mut changes);
        Ok(changes)
    }

    pub(super) fn delete_policy(
        &mut self,
        id: VhostId,
        scope: Scope,
        name: &str,
    ) -> Result<Changes, ApplyError> {
        let vhost = self.vhost_by_id(id)?;
        let policies = vhost.policies_mut(scope);
        policies.remove(name).ok_or(ApplyError::NoParameter)?;
        let mut changes = Changes::default();
        vhost.match_policies(&mut changes);
        let vhost = vhost.name.clone();
        self.forget_number(scope.table(), &[&vhost, name], &mut changes);
        Ok(changes)
    }

    pub(super) fn put_parameter(
        &mut self,
        id: VhostId,
        component: Arc<str>,
        name: Arc<str>,
        value: Value,
    ) -> Result<Changes, ApplyError> {
        let vhost = self.vhost_by_id(id)?.name.clone();
        let number = self.number(record::PARAMETER, &[&vhost, &component, &name]);
        let definition = Definition::parameter(number, id, &component, &name, &value);
        let parameters = &mut self.vhost_by_id(id)?.parameters;
        parameters.insert((component, name), value);
        Ok(Changes::defining(definition))
    }

    pub(super) fn delete_parameter(
        &mut self,
        id: VhostId,
        component: &Arc<str>,
        name: &Arc<str>,
    ) -> Result<Changes, ApplyError> {
        let vhost = self.vhost_by_id(id)?;
        let key = (component.clone(), name.clone());
        let parameters = &mut vhost.parameters;
        parameters.remove(&key).ok_or(ApplyError::NoParameter)?;
        let vhost = vhost.name.clone();
        let mut changes = Changes::default();
        let names = [&*vhost, component, name];
        self.forget_number(record::PARAMETER, &names, &mut changes);
        Ok(changes)
    }

    pub(super) fn put_global_parameter(&mut self, name: Arc<str>, value: Value) -> Changes {
        let number = self.number(record::GLOBAL_PARAMETER, &[&name]);
        let definition = Definition::global_parameter(number, &name, &value);
        self.global_parameters.insert(name, value);
        Changes::defining(definition)
    }

    pub(super) fn delete_global_parameter(&mut self, name: &str) -> Result<Changes, ApplyError> {
        let parameters = &mut self.global_parameters;
        parameters.remove(name).ok_or(ApplyError::NoParameter)?;
        let mut changes = Changes::default();
        self.forget_number(record::GLOBAL_PARAMETER, &[name], &mut changes);
        Ok(changes)
    }

    /// Takes a definition that is known by names out of the log.
    fn forget_number(&mut self, table: u8, names: &[&str], changes: &mut Changes) {
        if let Some(id) = self.numbers.remove(&Self::number_key(table, names)) {
            changes.undefined.push((table, id));
        }
    }
}

impl Scope {
    pub(super) fn table(self) -> u8 {
        match self {
            Self::User => record::POLICY,
            Self::Operator => record::OPERATOR_POLICY,
        }
    }
}

impl Vhost {
    pub(super) fn new(id: VhostId, name: Arc<str>, metadata: VhostMetadata) -> Self {
        Self {
            id,
            name,
            metadata,
            limits: VhostLimits::default(),
            tracing: false,
            exchanges: Map::default(),
            exchange_names: Map::default(),
            queues: Map::default(),
            queue_names: Map::default(),
            bindings: Map::default(),
            binding_ids: Map::default(),
            by_destination: Map::default(),
            policies: Default::default(),
            parameters: Default::default(),
        }
    }

    /// Every policy of that scope, by name.
    pub fn policies(&self, scope: Scope) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies[scope as usize].values()
    }

    /// The policy of that name.
    pub fn policy(&self, scope: Scope, name: &str) -> Option<&Arc<Policy>> {
        self.policies[scope as usize].get(name)
    }

    /// Every parameter: component, name and value.
    pub fn parameters(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &Value)> {
        let parameters = self.parameters.iter();
        parameters.map(|((component, name), value)| (component, name, value))
    }

    /// The value of a parameter.
    pub fn parameter(&self, component: &Arc<str>, name: &Arc<str>) -> Option<&Value> {
        self.parameters.get(&(component.clone(), name.clone()))
    }

    /// The policies that apply to the queue of that name.
    pub fn applied_to_queue(&self, name: &str) -> Option<&Applied> {
        self.queues.get(name).map(|entry| &entry.applied)
    }

    pub(super) fn policies_mut(
        &mut self,
        scope: Scope,
    ) -> &mut std::collections::BTreeMap<Arc<str>, Arc<Policy>> {
        &mut self.policies[scope as usize]
    }

    pub(super) fn applied(&self, object: Object<'_>) -> Applied {
        let (user, operator) = (self.policies(Scope::User), self.policies(Scope::Operator));
        Applied::find(object, user, operator)
    }

    /// Finds anew what applies to every exchange and queue, and tells of the queues for which that has changed.
    pub(super) fn match_policies(&mut self, changes: &mut Changes) {
        let [user, operator] = &self.policies;
        let find = |object| Applied::find(object, user.values(), operator.values());
        for exchange in self.exchanges.values_mut() {
            exchange.applied = find(Object::Exchange(&exchange.name));
        }
        for (name, entry) in &mut self.queues {
            let applied = find(Object::Queue(name, entry.declaration.kind()));
            if !applied.is(&entry.applied) {
                entry.applied = applied;
                changes.configured.push(entry.id);
            }
        }
        changes.configured.sort_unstable();
    }

    fn policy_names(&self) -> impl Iterator<Item = (Scope, Arc<str>)> {
        [Scope::User, Scope::Operator]
            .into_iter()
            .flat_map(|scope| self.policies(scope).map(move |it| (scope, it.name.clone())))
    }

    /// Exchanges, queues and bindings of a vhost that is gone, in the order of their numbers.
    fn undefine_contents(&self, changes: &mut Changes) {
        let start = changes.undefined.len();
        let exchanges = self.exchanges.values();
        let durable = exchanges.filter(|exchange| exchange.declaration.durable);
        let gone = durable.map(|exchange| (record::EXCHANGE, u64::from(exchange.id.0)));
        changes.undefined.extend(gone);
        for entry in self.queues.values() {
            changes.dropped.push(entry.id);
            if entry.declaration.outlives_restarts() {
                let id = u64::from(entry.id.0);
                changes.undefined.push((record::QUEUE, id));
            }
        }
        let bindings = self.bindings.keys().map(|id| (record::BINDING, *id));
        changes.undefined.extend(bindings);
        changes.undefined[start..].sort_unstable();
        changes.dropped.sort_unstable();
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// The number of every queue.
    pub(crate) fn queue_ids(&self) -> impl Iterator<Item = QueueId> {
        self.queues.values().map(|entry| entry.id)
    }
}
