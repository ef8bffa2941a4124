//! Definitions as the log keeps them: a table number, a number within it, and a field table in its wire form that names
//! each part. A field table explains itself, so that a later version may add parts without a new format.
//!
//! | table | what | fields |
//! |---|---|---|
//! | 1 | vhost | name |
//! | 2 | user | name, hashing, password (binary), tags (array) |
//! | 3 | permissions | user, vhost, configure, write, read |
//! | 4 | topic permissions | user, vhost, exchange, write, read |
//! | 5 | exchange | vhost (number), name, type, auto_delete, internal, arguments |
//! | 6 | queue | vhost, name, auto_delete, arguments |
//! | 7 | binding | vhost, source (number), to (`q` or `e`), destination (number), key (binary), arguments |
//!
//! They are restored in this order, since later ones refer to earlier ones.

use super::{ApplyError, Binding, Catalogue, ExchangeDeclaration, QueueEntry};
use crate::exchange::{Destination, Kind};
use crate::ids::{ExchangeId, QueueId, VhostId};
use crate::live_queue::Declaration;
use crate::table::{Table, Value};
use crate::users::{Hashing, PasswordHash, Pattern, Permissions, TopicPermissions, User};

const VHOST: u8 = 1;
pub(super) const USER: u8 = 2;
pub(super) const PERMISSIONS: u8 = 3;
pub(super) const TOPIC_PERMISSIONS: u8 = 4;
pub(super) const EXCHANGE: u8 = 5;
pub(super) const QUEUE: u8 = 6;
pub(super) const BINDING: u8 = 7;

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
    fn new<const N: usize>(table: u8, id: u64, fields: [(&str, Value); N]) -> Self {
        let fields: Table = fields
            .into_iter()
            .map(|(name, value)| (Box::from(name), value))
            .collect();
        let mut bytes = Vec::new();
        fields.encode(&mut bytes);
        Self { table, id, bytes }
    }

    pub(super) fn vhost(id: VhostId, name: &str) -> Self {
        Self::new(VHOST, id.0.into(), [("name", text(name))])
    }

    pub(super) fn user(id: u64, user: &User) -> Self {
        let tags = user.tags.iter().map(|tag| text(tag)).collect();
        Self::new(
            USER,
            id,
            [
                ("name", text(&user.name)),
                ("hashing", text(user.password.hashing.name())),
                ("password", Value::Bytes(user.password.salted.clone())),
                ("tags", Value::Array(tags)),
            ],
        )
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
        Self::new(
            EXCHANGE,
            id.0.into(),
            [
                ("vhost", Value::I64(vhost.0.into())),
                ("name", text(name)),
                ("type", text(declaration.kind.name())),
                ("auto_delete", Value::Bool(declaration.auto_delete)),
                ("internal", Value::Bool(declaration.internal)),
                ("arguments", Value::Table(declaration.arguments.clone())),
            ],
        )
    }

    pub(super) fn queue(vhost: VhostId, id: QueueId, declaration: &Declaration) -> Self {
        Self::new(
            QUEUE,
            id.0.into(),
            [
                ("vhost", Value::I64(vhost.0.into())),
                ("name", text(&declaration.name)),
                ("auto_delete", Value::Bool(declaration.auto_delete)),
                ("arguments", Value::Table(declaration.arguments.clone())),
            ],
        )
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
        for Definition { table, id, bytes } in definitions {
            let fields = Fields::read(table, id, &bytes)?;
            catalogue.restore_one(&fields)?;
            catalogue.last_id = catalogue.last_id.max(id);
        }
        Ok(catalogue)
    }

    fn restore_one(&mut self, fields: &Fields) -> Result<(), RecordError> {
        match fields.table {
            VHOST => self.insert_vhost(VhostId(fields.own_id()?), fields.text("name")?.into()),
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
                let declaration = fields.exchange_declaration()?;
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
                let declaration = fields.queue_declaration()?;
                let id = QueueId(fields.own_id()?);
                self.vhost_by_id(VhostId(fields.number("vhost")?))
                    .map_err(|source| fields.misfit(source))?
                    .insert_queue(QueueEntry { id, declaration });
            }
            BINDING => {
                let binding = fields.binding()?;
                self.vhost_by_id(VhostId(fields.number("vhost")?))
                    .and_then(|vhost| vhost.insert_binding(fields.id, &binding))
                    .map_err(|source| fields.misfit(source))?;
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

    fn user(&self) -> Result<User, RecordError> {
        let hashing =
            Hashing::from_name(self.text("hashing")?).ok_or_else(|| self.missing("hashing"))?;
        let tags = self
            .get("tags")?
            .as_array()
            .ok_or_else(|| self.missing("tags"))?;
        Ok(User {
            name: self.text("name")?.into(),
            password: PasswordHash {
                hashing,
                salted: self.binary("password")?,
            },
            tags: tags
                .iter()
                .filter_map(Value::as_str)
                .map(Box::from)
                .collect(),
        })
    }

    fn exchange_declaration(&self) -> Result<ExchangeDeclaration, RecordError> {
        Ok(ExchangeDeclaration {
            kind: Kind::from_name(self.text("type")?).ok_or_else(|| self.missing("type"))?,
            durable: true,
            auto_delete: self.flag("auto_delete")?,
            internal: self.flag("internal")?,
            arguments: self.inner("arguments")?,
        })
    }

    fn queue_declaration(&self) -> Result<Declaration, RecordError> {
        Ok(Declaration {
            name: self.text("name")?.into(),
            durable: true,
            auto_delete: self.flag("auto_delete")?,
            exclusive: None,
            arguments: self.inner("arguments")?,
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

fn text(text: &str) -> Value {
    Value::String(text.as_bytes().into())
}
