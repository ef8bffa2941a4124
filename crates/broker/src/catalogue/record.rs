//! Definitions as the log keeps them: a table number, a number within it, and a field table in its wire form that names
//! each part. A field table explains itself, so that a later version may add parts without a new format.
//!
//! | table | what | fields |
//! |---|---|---|
//! | 1 | vhost | name; description, tags, default_queue_type, protected_from_deletion, max-connections, max-queues |
//! | 2 | user | name, hashing, password (binary), tags (array); max-connections, max-channels |
//! | 3 | permissions | user, vhost, configure, write, read |
//! | 4 | topic permissions | user, vhost, exchange, write, read |
//! | 5 | exchange | vhost (number), name, type, auto_delete, internal, arguments; declared_by (user) |
//! | 6 | queue | vhost, name, auto_delete, arguments; declared_by |
//! | 7 | binding | vhost, source (number), to (`q` or `e`), destination (number), key (binary), arguments |
//! | 8, 9 | policy, operator policy | vhost, name, pattern, apply-to, priority, definition |
//! | 10 | parameter | vhost, component, name, value |
//! | 11 | global parameter | name, value |
//!
//! What stands behind a semicolon is left out where it says nothing.
//!
//! They are restored in this order, since later ones refer to earlier ones.

use std::sync::Arc;

use super::{
    ApplyError, Binding, Catalogue, Changes, ExchangeDeclaration, Vhost, VhostLimits, VhostMetadata,
};
use crate::exchange::{Destination, Kind};
use crate::ids::{ExchangeId, QueueId, VhostId};
use crate::last::Last;
use crate::live_queue::Declaration;
use crate::policies::{ApplyTo, Policy, Scope};
use crate::queue;
use crate::table::{Table, Value};
use crate::users::{
    Hashing, PasswordHash, Pattern, Permissions, TopicPermissions, User, UserLimits,
};

pub(super) const VHOST: u8 = 1;
pub(super) const USER: u8 = 2;
pub(super) const PERMISSIONS: u8 = 3;
pub(super) const TOPIC_PERMISSIONS: u8 = 4;
pub(super) const EXCHANGE: u8 = 5;
pub(super) const QUEUE: u8 = 6;
pub(super) const BINDING: u8 = 7;
pub(super) const POLICY: u8 = 8;
pub(super) const OPERATOR_POLICY: u8 = 9;
pub(super) const PARAMETER: u8 = 10;
pub(super) const GLOBAL_PARAMETER: u8 = 11;

const DECLARED_BY: &str = "declared_by";

/// A definition in the form in which the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub table: u8,
    pub id: u64,
    pub bytes: Vec<u8>,
}

/// A definition in the log that can't be understood.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("definition {table}/{id} is not a field table: {source}")]
    Table {
        table: u8,
        id: u64,
        source: crate::table::TableError,
    },
    #[error("definition {table}/{id} has no usable field '{field}'")]
    Field {
        table: u8,
        id: u64,
        field: &'static str,
    },
    #[error("definition {table}/{id} does not fit the others: {source}")]
    Apply {
        table: u8,
        id: u64,
        source: ApplyError,
    },
    #[error("definition {table}/{id} is of an unknown kind: written by a newer version?")]
    Kind { table: u8, id: u64 },
}

impl Definition {
    fn new(table: u8, id: u64, fields: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        let fields: Table = fields
            .into_iter()
            .map(|(name, value)| (Box::from(name), value))
            .collect();
        let mut bytes = Vec::new();
        fields.encode(&mut bytes);
        Self { table, id, bytes }
    }

    pub(super) fn vhost(vhost: &Vhost) -> Self {
        let VhostMetadata {
            description,
            tags,
            default_queue_type,
            protected_from_deletion,
        } = &vhost.metadata;
        let flag = |name, is_set: bool| is_set.then_some((name, Value::Bool(true)));
        let VhostLimits {
            connections_max,
            queues_max,
        } = vhost.limits;
        let optional = [
            (!description.is_empty()).then(|| ("description", text(description))),
            (!tags.is_empty()).then(|| ("tags", texts(tags))),
            default_queue_type.map(|kind| ("default_queue_type", text(kind.name()))),
            flag("protected_from_deletion", *protected_from_deletion),
            connections_max.map(|most| ("max-connections", Value::I64(most))),
            queues_max.map(|most| ("max-queues", Value::I64(most))),
        ];
        let name = ("name", text(&vhost.name));
        let fields = std::iter::once(name).chain(optional.into_iter().flatten());
        Self::new(VHOST, vhost.id.0.into(), fields)
    }

    pub(super) fn user(id: u64, user: &User) -> Self {
        let fields = [
            ("name", text(&user.name)),
            ("hashing", text(user.password.hashing.name())),
            ("password", Value::Bytes(user.password.salted.clone())),
            ("tags", texts(&user.tags)),
        ];
        let UserLimits {
            connections_max,
            channels_max,
        } = user.limits;
        let optional = [
            connections_max.map(|most| ("max-connections", Value::I64(most))),
            channels_max.map(|most| ("max-channels", Value::I64(most))),
        ];
        let optional = optional.into_iter().flatten();
        Self::new(USER, id, fields.into_iter().chain(optional))
    }

    pub(super) fn permissions(id: u64, user: &str, vhost: &str, permissions: &Permissions) -> Self {
        Self::new(
            PERMISSIONS,
            id,
            [
                ("user", text(user)),
                ("vhost", text(vhost)),
                ("configure", text(permissions.configure.source())),
                ("write", text(permissions.write.source())),
                ("read", text(permissions.read.source())),
            ],
        )
    }

    pub(super) fn topic_permissions(
        id: u64,
        (user, vhost, exchange): (&str, &str, &str),
        permissions: &TopicPermissions,
    ) -> Self {
        Self::new(
            TOPIC_PERMISSIONS,
            id,
            [
                ("user", text(user)),
                ("vhost", text(vhost)),
                ("exchange", text(exchange)),
                ("write", text(permissions.write.source())),
                ("read", text(permissions.read.source())),
            ],
        )
    }

    pub(super) fn exchange(
        vhost: VhostId,
        id: ExchangeId,
        name: &str,
        declaration: &ExchangeDeclaration,
    ) -> Self {
        let fields = [
            ("vhost", Value::I64(vhost.0.into())),
            ("name", text(name)),
            ("type", text(declaration.kind.name())),
            ("auto_delete", Value::Bool(declaration.auto_delete)),
            ("internal", Value::Bool(declaration.internal)),
            ("arguments", Value::Table(declaration.arguments.clone())),
        ];
        let by = declared_by(declaration.declared_by.as_deref());
        Self::new(EXCHANGE, id.0.into(), fields.into_iter().chain(by))
    }

    pub(super) fn queue(vhost: VhostId, id: QueueId, declaration: &Declaration) -> Self {
        let fields = [
            ("vhost", Value::I64(vhost.0.into())),
            ("name", text(&declaration.name)),
            ("auto_delete", Value::Bool(declaration.auto_delete)),
            (
                "arguments",
                Value::Table(Table::clone(&declaration.arguments)),
            ),
        ];
        let by = declared_by(declaration.declared_by.as_deref());
        Self::new(QUEUE, id.0.into(), fields.into_iter().chain(by))
    }

    pub(super) fn policy(id: u64, vhost: VhostId, scope: Scope, policy: &Policy) -> Self {
        Self::new(
            scope.table(),
            id,
            [
                ("vhost", Value::I64(vhost.0.into())),
                ("name", text(&policy.name)),
                ("pattern", text(policy.pattern.source())),
                ("apply-to", text(policy.apply_to.name())),
                ("priority", Value::I64(policy.priority)),
                ("definition", Value::Table(policy.definition.clone())),
            ],
        )
    }

    pub(super) fn parameter(
        id: u64,
        vhost: VhostId,
        component: &str,
        name: &str,
        value: &Value,
    ) -> Self {
        Self::new(
            PARAMETER,
            id,
            [
                ("vhost", Value::I64(vhost.0.into())),
                ("component", text(component)),
                ("name", text(name)),
                ("value", value.clone()),
            ],
        )
    }

    pub(super) fn global_parameter(id: u64, name: &str, value: &Value) -> Self {
        let fields = [("name", text(name)), ("value", value.clone())];
        Self::new(GLOBAL_PARAMETER, id, fields)
    }

    pub(super) fn binding(vhost: VhostId, id: u64, binding: &Binding) -> Self {
        let (to, destination) = match binding.destination {
            Destination::Queue(id) => ("q", id.0),
            Destination::Exchange(id) => ("e", id.0),
        };
        Self::new(
            BINDING,
            id,
            [
                ("vhost", Value::I64(vhost.0.into())),
                ("source", Value::I64(binding.source.0.into())),
                ("to", text(to)),
                ("destination", Value::I64(destination.into())),
                ("key", Value::Bytes(binding.key.clone())),
                ("arguments", Value::Table(binding.arguments.clone())),
            ],
        )
    }
}

impl Catalogue {
    /// The definitions that a node's log holds, in any order.
    pub fn restore(mut definitions: Vec<Definition>) -> Result<Self, RecordError> {
        definitions.sort_by_key(|definition| (definition.table, definition.id));
        let mut catalogue = Self::default();
        let mut last_arguments = Last::default();
        for Definition { table, id, bytes } in definitions {
            let fields = Fields::read(table, id, &bytes)?;
            catalogue.restore_one(&fields, &mut last_arguments)?;
            catalogue.last_id = catalogue.last_id.max(id);
        }
        for vhost in catalogue.vhosts.values_mut() {
            vhost.match_policies(&mut Changes::default());
        }
        Ok(catalogue)
    }

    /// Most are declared by a few users, whose names are here already.
    fn declarer(&self, fields: &Fields) -> Option<Arc<str>> {
        let name = fields.text(DECLARED_BY).ok()?;
        let known = self.users.get_key_value(name);
        Some(known.map_or_else(|| name.into(), |(known, _)| known.clone()))
    }

    fn restore_one(
        &mut self,
        fields: &Fields,
        last_arguments: &mut Last<Table>,
    ) -> Result<(), RecordError> {
        match fields.table {
            VHOST => self.insert_vhost(fields.vhost()?),
            USER => {
                let user = fields.user()?;
                self.numbers
                    .insert(Self::number_key(USER, &[&user.name]), fields.id);
                self.users.insert(user.name.clone(), user);
            }
            PERMISSIONS => {
                let (user, vhost) = (fields.text("user")?, fields.text("vhost")?);
                self.numbers
                    .insert(Self::number_key(PERMISSIONS, &[user, vhost]), fields.id);
                let permissions = Permissions {
                    configure: Pattern::new(fields.text("configure")?),
                    write: Pattern::new(fields.text("write")?),
                    read: Pattern::new(fields.text("read")?),
                };
                self.permissions
                    .insert((user.into(), vhost.into()), permissions);
            }
            TOPIC_PERMISSIONS => {
                let (user, vhost) = (fields.text("user")?, fields.text("vhost")?);
                let exchange = fields.text("exchange")?;
                let key = Self::number_key(TOPIC_PERMISSIONS, &[user, vhost, exchange]);
                self.numbers.insert(key, fields.id);
                let permissions = TopicPermissions {
                    write: Pattern::new(fields.text("write")?),
                    read: Pattern::new(fields.text("read")?),
                };
                let key = [user, vhost, exchange].map(Into::into);
                self.topic_permissions.insert(key, permissions);
            }
            EXCHANGE => {
                let mut declaration = fields.exchange_declaration()?;
                declaration.declared_by = self.declarer(fields);
                let id = ExchangeId(fields.own_id()?);
                self.vhost_by_id(VhostId(fields.number("vhost")?))
                    .and_then(|vhost| {
                        vhost.insert_exchange(
                            id,
                            fields.text("name").unwrap_or("").into(),
                            declaration,
                        )
                    })
                    .map_err(|source| fields.misfit(source))?;
            }
            QUEUE => {
                let mut declaration = fields.queue_declaration(last_arguments)?;
                declaration.declared_by = self.declarer(fields);
                let id = QueueId(fields.own_id()?);
                self.vhost_by_id(VhostId(fields.number("vhost")?))
                    .map_err(|source| fields.misfit(source))?
                    .insert_queue(id, Arc::new(declaration));
            }
            BINDING => {
                let binding = fields.binding()?;
                self.vhost_by_id(VhostId(fields.number("vhost")?))
                    .and_then(|vhost| vhost.insert_binding(fields.id, &binding))
                    .map_err(|source| fields.misfit(source))?;
            }
            POLICY | OPERATOR_POLICY => self.restore_policy(fields)?,
            PARAMETER => {
                let (component, name) = (fields.text("component")?, fields.text("name")?);
                let value = fields.get("value")?.clone();
                let vhost = self.restored_vhost(fields)?;
                let key = (component.into(), name.into());
                vhost.parameters.insert(key, value);
                let key = Self::number_key(PARAMETER, &[&vhost.name, component, name]);
                self.numbers.insert(key, fields.id);
            }
            GLOBAL_PARAMETER => {
                let name = fields.text("name")?;
                let value = fields.get("value")?.clone();
                self.global_parameters.insert(name.into(), value);
                let key = Self::number_key(GLOBAL_PARAMETER, &[name]);
                self.numbers.insert(key, fields.id);
            }
            table => {
                return Err(RecordError::Kind {
                    table,
                    id: fields.id,
                });
            }
        }
        Ok(())
    }

    fn restore_policy(&mut self, fields: &Fields) -> Result<(), RecordError> {
        let scope = match fields.table {
            OPERATOR_POLICY => Scope::Operator,
            _ => Scope::User,
        };
        let policy = fields.policy()?;
        let vhost = self.restored_vhost(fields)?;
        let key = Self::number_key(fields.table, &[&vhost.name, &policy.name]);
        let policies = vhost.policies_mut(scope);
        policies.insert(policy.name.clone(), policy.into());
        self.numbers.insert(key, fields.id);
        Ok(())
    }

    fn restored_vhost(&mut self, fields: &Fields) -> Result<&mut Vhost, RecordError> {
        self.vhost_by_id(VhostId(fields.number("vhost")?))
            .map_err(|source| fields.misfit(source))
    }
}

/// The fields of one record, with its place for error messages.
struct Fields {
    table: u8,
    id: u64,
    fields: Table,
}

impl Fields {
    fn read(table: u8, id: u64, bytes: &[u8]) -> Result<Self, RecordError> {
        let (fields, _) = Table::decode_prefixed(bytes).map_err(|source| RecordError::Table {
            table,
            id,
            source,
        })?;
        Ok(Self { table, id, fields })
    }

    fn missing(&self, field: &'static str) -> RecordError {
        RecordError::Field {
            table: self.table,
            id: self.id,
            field,
        }
    }

    fn misfit(&self, source: ApplyError) -> RecordError {
        RecordError::Apply {
            table: self.table,
            id: self.id,
            source,
        }
    }

    fn own_id(&self) -> Result<u32, RecordError> {
        u32::try_from(self.id).map_err(|_| self.missing("id"))
    }

    fn get(&self, field: &'static str) -> Result<&Value, RecordError> {
        self.fields.get(field).ok_or_else(|| self.missing(field))
    }

    fn text(&self, field: &'static str) -> Result<&str, RecordError> {
        self.get(field)?.as_str().ok_or_else(|| self.missing(field))
    }

    fn number(&self, field: &'static str) -> Result<u32, RecordError> {
        let number = self
            .get(field)?
            .as_i64()
            .and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| self.missing(field))
    }

    fn flag(&self, field: &'static str) -> Result<bool, RecordError> {
        self.get(field)?
            .as_bool()
            .ok_or_else(|| self.missing(field))
    }

    fn binary(&self, field: &'static str) -> Result<Box<[u8]>, RecordError> {
        match self.get(field)? {
            Value::Bytes(bytes) => Ok(bytes.clone()),
            _ => Err(self.missing(field)),
        }
    }

    fn inner(&self, field: &'static str) -> Result<Table, RecordError> {
        self.get(field)?
            .as_table()
            .cloned()
            .ok_or_else(|| self.missing(field))
    }

    /// A number that may be left out.
    fn limit(&self, field: &str) -> Option<i64> {
        self.fields.get(field).and_then(Value::as_i64)
    }

    /// A flag that is off where it is left out.
    fn is_set(&self, field: &str) -> bool {
        let flag = self.fields.get(field).and_then(Value::as_bool);
        flag.unwrap_or(false)
    }

    /// A list that may be left out.
    fn texts(&self, field: &str) -> Vec<Box<str>> {
        let list = self.fields.get(field).and_then(Value::as_array);
        let texts = list.unwrap_or_default().iter().filter_map(Value::as_str);
        texts.map(Box::from).collect()
    }

    fn vhost(&self) -> Result<Vhost, RecordError> {
        let text = |field| self.fields.get(field).and_then(Value::as_str);
        let metadata = VhostMetadata {
            description: text("description").unwrap_or_default().to_owned(),
            tags: self.texts("tags"),
            default_queue_type: text("default_queue_type").and_then(queue::Kind::from_name),
            protected_from_deletion: self.is_set("protected_from_deletion"),
        };
        let name = self.text("name")?.into();
        let mut vhost = Vhost::new(VhostId(self.own_id()?), name, metadata);
        vhost.limits = VhostLimits {
            connections_max: self.limit("max-connections"),
            queues_max: self.limit("max-queues"),
        };
        Ok(vhost)
    }

    fn policy(&self) -> Result<Policy, RecordError> {
        let apply_to = ApplyTo::from_name(self.text("apply-to")?);
        let priority = self.get("priority")?.as_i64();
        Ok(Policy {
            name: self.text("name")?.into(),
            pattern: Pattern::new(self.text("pattern")?),
            apply_to: apply_to.ok_or_else(|| self.missing("apply-to"))?,
            priority: priority.ok_or_else(|| self.missing("priority"))?,
            definition: self.inner("definition")?,
        })
    }

    fn user(&self) -> Result<User, RecordError> {
        let hashing =
            Hashing::from_name(self.text("hashing")?).ok_or_else(|| self.missing("hashing"))?;
        Ok(User {
            name: self.text("name")?.into(),
            password: PasswordHash {
                hashing,
                salted: self.binary("password")?,
            },
            tags: self.texts("tags"),
            limits: UserLimits {
                connections_max: self.limit("max-connections"),
                channels_max: self.limit("max-channels"),
            },
        })
    }

    fn exchange_declaration(&self) -> Result<ExchangeDeclaration, RecordError> {
        Ok(ExchangeDeclaration {
            kind: Kind::from_name(self.text("type")?).ok_or_else(|| self.missing("type"))?,
            durable: true,
            auto_delete: self.flag("auto_delete")?,
            internal: self.flag("internal")?,
            arguments: self.inner("arguments")?,
            declared_by: None,
        })
    }

    fn queue_declaration(
        &self,
        last_arguments: &mut Last<Table>,
    ) -> Result<Declaration, RecordError> {
        let mut arguments: Table = self.inner("arguments")?;
        arguments.shrink_to_fit();
        Ok(Declaration {
            name: self.text("name")?.into(),
            durable: true,
            auto_delete: self.flag("auto_delete")?,
            exclusive: None,
            arguments: last_arguments.share(arguments),
            declared_by: None,
        })
    }

    fn binding(&self) -> Result<Binding, RecordError> {
        let destination = self.number("destination")?;
        Ok(Binding {
            source: ExchangeId(self.number("source")?),
            destination: match self.text("to")? {
                "q" => Destination::Queue(QueueId(destination)),
                _ => Destination::Exchange(ExchangeId(destination)),
            },
            key: self.binary("key")?,
            arguments: self.inner("arguments")?,
        })
    }
}

fn declared_by(user: Option<&str>) -> Option<(&'static str, Value)> {
    user.map(|user| (DECLARED_BY, text(user)))
}

fn texts(texts: &[Box<str>]) -> Value {
    Value::Array(texts.iter().map(|it| text(it)).collect())
}

fn text(text: &str) -> Value {
    Value::String(text.as_bytes().into())
}
