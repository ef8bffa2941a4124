//! Definitions into a node.
//!
//! The document is read as a whole before anything is done: what is malformed, or refers to what neither the document nor
//! the node has, stops the import with nothing changed. Then objects are made in an order in which each finds what it
//! needs. Queues and exchanges that are there already stay as they are; all else is replaced. Nothing is ever deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use leveret_broker::Lsn;
use leveret_broker::broker::Broker;
use leveret_broker::broker::administration::{Password, PermissionSpec, PolicySpec, Refused};
use leveret_broker::broker::definitions::{BindingSpec, ExchangeSpec, QueueSpec};
use leveret_broker::catalogue::{VhostLimits, VhostMetadata};
use leveret_broker::error::{Error, ResourceKind};
use leveret_broker::exchange;
use leveret_broker::policies::Scope;
use leveret_broker::table::{Table, Value as TableValue};
use leveret_broker::time::Timestamp;
use leveret_broker::users::{Hashing, UserLimits};
use serde_json::{Map, Value, json};

use super::CATEGORIES;
use crate::answer::Failure;
use crate::api::users::changes::{hash_from, tags};
use crate::api::vhosts::changes::metadata;
use crate::call::Json;
use crate::table::{from_json, value_from_json};

/// Why definitions are not taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The document can't be used, and nothing has been changed.
    #[error("{0}")]
    Invalid(String),
    /// The broker refused an object. What comes before it in the order of imports is there.
    #[error("{what}: {why}")]
    Refused { what: String, why: String },
}

/// What an import did, or would do.
#[derive(Debug, Default)]
pub struct Report {
    created: Map<String, Value>,
    changed: Map<String, Value>,
    unchanged: u64,
    /// What to wait for before it is told.
    pub durable_at: Option<Lsn>,
}

impl Report {
    /// As JSON: names by category, of what is new and of what is another than before.
    pub fn json(&self) -> Value {
        json!({
            "created": self.created,
            "changed": self.changed,
            "unchanged": self.unchanged,
        })
    }

    fn note(&mut self, category: &str, name: String, fate: Fate) {
        let list = match fate {
            Fate::Created => &mut self.created,
            Fate::Changed => &mut self.changed,
            Fate::Unchanged => {
                self.unchanged += 1;
                return;
            }
        };
        let names = list
            .entry(category)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(names) = names {
            names.push(name.into());
        }
    }
}

/// What an object of the document is to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Created,
    Changed,
    Unchanged,
}

/// A document that has been read, and is fit to be taken in.
pub(crate) struct Import {
    users: Vec<User>,
    vhosts: Vec<Vhost>,
    permissions: Vec<Permission>,
    topic_permissions: Vec<TopicPermission>,
    exchanges: Vec<Exchange>,
    global_parameters: Vec<(String, TableValue)>,
    policies: Vec<Policy>,
    parameters: Vec<Parameter>,
    queues: Vec<Queue>,
    bindings: Vec<Binding>,
}

struct User {
    name: String,
    hash: String,
    hashing: Hashing,
    tags: Vec<Box<str>>,
    limits: UserLimits,
}

struct Vhost {
    name: String,
    metadata: VhostMetadata,
    limits: Option<VhostLimits>,
}

struct Permission {
    user: String,
    vhost: String,
    configure: String,
    write: String,
    read: String,
}

struct TopicPermission {
    user: String,
    vhost: String,
    exchange: String,
    write: String,
    read: String,
}

struct Exchange {
    vhost: String,
    name: String,
    kind: String,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Table,
}

struct Policy {
    vhost: String,
    name: String,
    pattern: String,
    apply_to: String,
    priority: i64,
    definition: Table,
}

struct Parameter {
    vhost: String,
    component: String,
    name: String,
    value: TableValue,
}

struct Queue {
    vhost: String,
    name: String,
    durable: bool,
    auto_delete: bool,
    arguments: Table,
}

struct Binding {
    vhost: String,
    source: String,
    destination: String,
    kind: ResourceKind,
    key: String,
    arguments: Table,
}

/// Where in the document something is.
struct Place<'a> {
    category: &'static str,
    index: usize,
    /// The vhost that all of the document is for.
    vhost: Option<&'a str>,
}

impl Place<'_> {
    fn invalid(&self, why: impl std::fmt::Display) -> ImportError {
        ImportError::Invalid(format!("{}[{}]: {why}", self.category, self.index))
    }

    fn failed(&self, failure: Failure) -> ImportError {
        self.invalid(failure.reason_text())
    }

    fn text(&self, item: &Json, name: &str) -> Result<String, ImportError> {
        let text = item.required_text(name);
        Ok(text.map_err(|failure| self.failed(failure))?.to_owned())
    }

    fn vhost(&self, item: &Json) -> Result<String, ImportError> {
        match self.vhost {
            Some(vhost) => Ok(vhost.to_owned()),
            None => self.text(item, "vhost"),
        }
    }

    fn flag(&self, item: &Json, name: &str, default: bool) -> Result<bool, ImportError> {
        let flag = item.flag(name).map_err(|failure| self.failed(failure))?;
        Ok(flag.unwrap_or(default))
    }

    fn table(&self, item: &Json, name: &str) -> Result<Table, ImportError> {
        let fields = item.map(name).map_err(|failure| self.failed(failure))?;
        from_json(&fields).map_err(|failure| self.failed(failure))
    }
}

impl Import {
    /// Reads a document; `vhost`: the one vhost that it is for.
    pub(crate) fn read(text: &[u8], vhost: Option<&str>) -> Result<Self, ImportError> {
        let parsed: Result<Value, _> = serde_json::from_slice(text);
        let Ok(Value::Object(document)) = parsed else {
            let why = parsed.err().map_or_else(
                || "the definitions are not an object".to_owned(),
                |error| format!("the definitions are not JSON: {error}"),
            );
            return Err(ImportError::Invalid(why));
        };
        check_version(&document)?;
        let hashing = default_hashing(&document);
        Ok(Self {
            users: of_cluster(&document, "users", vhost, |item, place| {
                user(item, place, hashing)
            })?,
            vhosts: of_cluster(&document, "vhosts", vhost, self::vhost)?,
            permissions: of_cluster(&document, "permissions", vhost, permission)?,
            topic_permissions: of_cluster(&document, "topic_permissions", vhost, topic_permission)?,
            global_parameters: of_cluster(&document, "global_parameters", vhost, |item, place| {
                Ok((place.text(item, "name")?, parameter_value(item, place)?))
            })?,
            exchanges: each(&document, "exchanges", vhost, exchange)?,
            policies: each(&document, "policies", vhost, policy)?,
            parameters: each(&document, "parameters", vhost, |item, place| {
                Ok(Parameter {
                    vhost: place.vhost(item)?,
                    component: place.text(item, "component")?,
                    name: place.text(item, "name")?,
                    value: parameter_value(item, place)?,
                })
            })?,
            queues: each(&document, "queues", vhost, queue)?,
            bindings: each(&document, "bindings", vhost, binding)?,
        })
    }

    /// Whether everything that the document refers to is there, or comes with it.
    pub(crate) fn check(&self, broker: &Broker) -> Result<(), ImportError> {
        let mut vhosts: BTreeSet<String> = broker
            .list_vhosts()
            .iter()
            .map(|vhost| vhost.name.to_string())
            .collect();
        vhosts.extend(self.vhosts.iter().map(|vhost| vhost.name.clone()));
        let mut users: BTreeSet<String> = broker
            .list_users()
            .iter()
            .map(|user| user.name.to_string())
            .collect();
        users.extend(self.users.iter().map(|user| user.name.clone()));
        let need = |known: &BTreeSet<String>, category: &str, kind: &str, name: &str| match known
            .contains(name)
        {
            true => Ok(()),
            false => Err(ImportError::Invalid(format!(
                "{category}: {kind} '{name}' does not exist"
            ))),
        };
        for it in &self.permissions {
            need(&users, "permissions", "user", &it.user)?;
            need(&vhosts, "permissions", "vhost", &it.vhost)?;
        }
        for it in &self.topic_permissions {
            need(&users, "topic_permissions", "user", &it.user)?;
            need(&vhosts, "topic_permissions", "vhost", &it.vhost)?;
        }
        let used = (self.exchanges.iter().map(|it| ("exchanges", &it.vhost)))
            .chain(self.policies.iter().map(|it| ("policies", &it.vhost)))
            .chain(self.parameters.iter().map(|it| ("parameters", &it.vhost)))
            .chain(self.queues.iter().map(|it| ("queues", &it.vhost)))
            .chain(self.bindings.iter().map(|it| ("bindings", &it.vhost)));
        for (category, vhost) in used {
            need(&vhosts, category, "vhost", vhost)?;
        }
        Ok(())
    }

    /// What taking it in would come to.
    pub(crate) fn preview(&self, broker: &Broker) -> Report {
        let mut report = Report::default();
        self.note(broker, &mut report);
        report
    }

    /// Takes it in.
    pub(crate) fn apply(&self, broker: &Broker, now: Timestamp) -> Result<Report, ImportError> {
        let mut report = Report::default();
        self.note(broker, &mut report);
        let mut done = Done {
            broker,
            durable_at: None,
        };
        for it in &self.users {
            done.user(it)?;
        }
        for it in &self.vhosts {
            done.vhost(it)?;
        }
        for it in &self.permissions {
            done.permission(it, now)?;
        }
        for it in &self.exchanges {
            done.exchange(it)?;
        }
        for it in &self.topic_permissions {
            let patterns = (it.write.as_str(), it.read.as_str());
            let outcome = broker.set_topic_permissions(&it.user, &it.vhost, &it.exchange, patterns);
            done.administered("topic permission", &it.exchange, outcome)?;
        }
        for (name, value) in &self.global_parameters {
            let outcome = broker.set_global_parameter(name, value.clone());
            done.administered("global parameter", name, outcome)?;
        }
        for it in &self.policies {
            done.policy(it, now)?;
        }
        for it in &self.parameters {
            let outcome =
                broker.set_parameter(&it.vhost, &it.component, &it.name, it.value.clone(), now);
            done.administered("parameter", &it.name, outcome)?;
        }
        for it in &self.queues {
            done.queue(it, now)?;
        }
        for it in &self.bindings {
            done.binding(it, now)?;
        }
        report.durable_at = done.durable_at;
        Ok(report)
    }

    fn note(&self, broker: &Broker, report: &mut Report) {
        let replaced = |known: bool| if known { Fate::Changed } else { Fate::Created };
        let kept = |known: bool| {
            if known {
                Fate::Unchanged
            } else {
                Fate::Created
            }
        };
        for it in &self.users {
            let known = broker.user_info(&it.name).is_some();
            report.note(CATEGORIES[0], it.name.clone(), replaced(known));
        }
        for it in &self.vhosts {
            let known = broker.vhost_info(&it.name).is_some();
            report.note(CATEGORIES[1], it.name.clone(), replaced(known));
        }
        let permissions = broker.list_permissions();
        for it in &self.permissions {
            let known = permissions
                .iter()
                .find(|known| *known.user == *it.user && *known.vhost == *it.vhost);
            let fate = known.map_or(Fate::Created, |known| {
                let known = &known.permissions;
                let same = known.configure.source() == it.configure
                    && known.write.source() == it.write
                    && known.read.source() == it.read;
                if same { Fate::Unchanged } else { Fate::Changed }
            });
            report.note(CATEGORIES[2], format!("{} in {}", it.user, it.vhost), fate);
        }
        for it in &self.exchanges {
            let known = broker.exchange_info(&it.vhost, &it.name).is_some();
            report.note(CATEGORIES[3], named(&it.name, &it.vhost), kept(known));
        }
        let topics = broker.list_topic_permissions();
        for it in &self.topic_permissions {
            let known = topics.iter().any(|known| {
                *known.user == *it.user
                    && *known.vhost == *it.vhost
                    && *known.exchange == *it.exchange
            });
            let name = format!("{} with {}", it.user, named(&it.exchange, &it.vhost));
            report.note(CATEGORIES[4], name, replaced(known));
        }
        let globals = broker.list_global_parameters();
        for (name, value) in &self.global_parameters {
            let known = globals.iter().find(|(known, _)| **known == **name);
            let fate = known.map_or(Fate::Created, |(_, known)| {
                if known == value {
                    Fate::Unchanged
                } else {
                    Fate::Changed
                }
            });
            report.note(CATEGORIES[5], name.clone(), fate);
        }
        for it in &self.policies {
            let known = broker.list_policies(Scope::User, Some(&it.vhost));
            let known = known.iter().any(|known| *known.policy.name == *it.name);
            report.note(CATEGORIES[6], named(&it.name, &it.vhost), replaced(known));
        }
        for it in &self.parameters {
            let known = broker.list_parameters(Some(&it.vhost)).into_iter();
            let mut known =
                known.filter(|known| *known.component == *it.component && *known.name == *it.name);
            let fate = known.next().map_or(Fate::Created, |known| {
                if known.value == it.value {
                    Fate::Unchanged
                } else {
                    Fate::Changed
                }
            });
            report.note(CATEGORIES[7], named(&it.name, &it.vhost), fate);
        }
        for it in &self.queues {
            let known = broker.queue_info(&it.vhost, &it.name).is_some();
            report.note(CATEGORIES[8], named(&it.name, &it.vhost), kept(known));
        }
        for it in &self.bindings {
            // To bind again what is bound changes nothing, and to look for each would cost more than to do it.
            let name = format!("{} to {}", it.source, named(&it.destination, &it.vhost));
            report.note(CATEGORIES[9], name, Fate::Created);
        }
    }
}

fn named(name: &str, vhost: &str) -> String {
    format!("{name} in {vhost}")
}

/// An import at work.
struct Done<'a> {
    broker: &'a Broker,
    durable_at: Option<Lsn>,
}

impl Done<'_> {
    fn administered(
        &mut self,
        kind: &str,
        name: &str,
        outcome: Result<Option<Lsn>, Refused>,
    ) -> Result<(), ImportError> {
        let durable_at = outcome.map_err(|refused| ImportError::Refused {
            what: format!("{kind} '{name}'"),
            why: refused.to_string(),
        })?;
        self.durable_at = self.durable_at.max(durable_at);
        Ok(())
    }

    fn declared(
        &mut self,
        kind: &str,
        name: &str,
        outcome: Result<Option<Lsn>, Error>,
    ) -> Result<(), ImportError> {
        let durable_at = outcome.map_err(|error| ImportError::Refused {
            what: format!("{kind} '{name}'"),
            why: error.to_string(),
        })?;
        self.durable_at = self.durable_at.max(durable_at);
        Ok(())
    }

    fn user(&mut self, it: &User) -> Result<(), ImportError> {
        let password = hash_from(&it.hash, it.hashing).unwrap_or(Password::Cleared);
        let tags = Some(it.tags.clone());
        self.administered(
            "user",
            &it.name,
            self.broker.put_user(&it.name, password, tags),
        )?;
        let outcome = self.broker.set_user_limits(&it.name, it.limits);
        self.administered("user", &it.name, outcome)
    }

    fn vhost(&mut self, it: &Vhost) -> Result<(), ImportError> {
        let outcome = self.broker.put_vhost(&it.name, it.metadata.clone());
        self.administered("vhost", &it.name, outcome)?;
        let Some(limits) = it.limits else {
            return Ok(());
        };
        let outcome = self.broker.set_vhost_limits(&it.name, limits);
        self.administered("vhost", &it.name, outcome)
    }

    fn permission(&mut self, it: &Permission, now: Timestamp) -> Result<(), ImportError> {
        let spec = PermissionSpec {
            configure: &it.configure,
            write: &it.write,
            read: &it.read,
        };
        let outcome = self.broker.set_permissions(&it.user, &it.vhost, spec, now);
        self.administered("permission", &it.user, outcome)
    }

    fn policy(&mut self, it: &Policy, now: Timestamp) -> Result<(), ImportError> {
        let spec = PolicySpec {
            name: &it.name,
            pattern: &it.pattern,
            apply_to: &it.apply_to,
            priority: it.priority,
            definition: it.definition.clone(),
        };
        let outcome = self.broker.set_policy(&it.vhost, Scope::User, spec, now);
        self.administered("policy", &it.name, outcome)
    }

    fn exchange(&mut self, it: &Exchange) -> Result<(), ImportError> {
        if self.broker.exchange_info(&it.vhost, &it.name).is_some() {
            return Ok(());
        }
        let by = self.node_in(&it.vhost)?;
        let spec = ExchangeSpec {
            name: &it.name,
            kind: &it.kind,
            durable: it.durable,
            auto_delete: it.auto_delete,
            internal: it.internal,
            arguments: it.arguments.clone(),
        };
        let outcome = self.broker.declare_exchange(&by, spec);
        self.declared("exchange", &it.name, outcome)
    }

    fn queue(&mut self, it: &Queue, now: Timestamp) -> Result<(), ImportError> {
        if self.broker.queue_info(&it.vhost, &it.name).is_some() {
            return Ok(());
        }
        let by = self.node_in(&it.vhost)?;
        let spec = QueueSpec {
            name: &it.name,
            durable: it.durable,
            exclusive: false,
            auto_delete: it.auto_delete,
            arguments: it.arguments.clone(),
        };
        let outcome = self.broker.declare_queue(&by, spec, now);
        self.declared(
            "queue",
            &it.name,
            outcome.map(|declared| declared.durable_at),
        )
    }

    fn binding(&mut self, it: &Binding, now: Timestamp) -> Result<(), ImportError> {
        let by = self.node_in(&it.vhost)?;
        let spec = BindingSpec {
            source: &it.source,
            destination: &it.destination,
            destination_kind: it.kind,
            key: it.key.as_bytes(),
            arguments: it.arguments.clone(),
        };
        let outcome = self.broker.bind(&by, spec, now);
        let name = format!("{} to {}", it.source, it.destination);
        self.declared("binding", &name, outcome)
    }

    fn node_in(
        &self,
        vhost: &str,
    ) -> Result<Arc<leveret_broker::principal::Principal>, ImportError> {
        let principal = self.broker.node_in(vhost).map(Arc::new);
        principal.ok_or_else(|| ImportError::Refused {
            what: format!("vhost '{vhost}'"),
            why: "it has been deleted meanwhile".to_owned(),
        })
    }
}

/// Definitions of a RabbitMQ to come may mean something else by the same words.
fn check_version(document: &Map<String, Value>) -> Result<(), ImportError> {
    let version = document.get("rabbitmq_version").and_then(Value::as_str);
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    match major {
        Some(major) if major > 4 => Err(ImportError::Invalid(format!(
            "definitions of RabbitMQ {} are not understood",
            version.unwrap_or_default()
        ))),
        _ => Ok(()),
    }
}

/// What hashed the passwords of a document that does not say so for each: MD5 before RabbitMQ 3.6.
fn default_hashing(document: &Map<String, Value>) -> Hashing {
    let version = ["rabbitmq_version", "rabbit_version"]
        .into_iter()
        .find_map(|name| document.get(name)?.as_str());
    let mut numbers = version.unwrap_or_default().split('.');
    let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    match (next(), next()) {
        (Some(major), Some(minor)) if (major, minor) >= (3, 6) => Hashing::Sha256,
        _ => Hashing::Md5,
    }
}

/// The items of a category that only definitions of a whole cluster have.
fn of_cluster<T>(
    document: &Map<String, Value>,
    category: &'static str,
    vhost: Option<&str>,
    read: impl FnMut(&Json, &Place<'_>) -> Result<T, ImportError>,
) -> Result<Vec<T>, ImportError> {
    match vhost {
        Some(_) => Ok(Vec::new()),
        None => each(document, category, None, read),
    }
}

fn each<T>(
    document: &Map<String, Value>,
    category: &'static str,
    vhost: Option<&str>,
    mut read: impl FnMut(&Json, &Place<'_>) -> Result<T, ImportError>,
) -> Result<Vec<T>, ImportError> {
    let items = match document.get(category) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(ImportError::Invalid(format!("{category} must be a list"))),
    };
    let mut list = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let place = Place {
            category,
            index,
            vhost,
        };
        let Value::Object(fields) = item else {
            return Err(place.invalid("must be an object"));
        };
        list.push(read(&Json(fields.clone()), &place)?);
    }
    Ok(list)
}

fn parameter_value(item: &Json, place: &Place<'_>) -> Result<TableValue, ImportError> {
    let value = item.0.get("value").unwrap_or(&Value::Null);
    value_from_json(value).map_err(|failure| place.failed(failure))
}

fn user(item: &Json, place: &Place<'_>, default: Hashing) -> Result<User, ImportError> {
    let text = |name| item.text(name).map_err(|failure| place.failed(failure));
    let hashing = match text("hashing_algorithm")? {
        None => default,
        Some(name) => Hashing::from_name(name)
            .ok_or_else(|| place.invalid(format!("unknown hashing_algorithm {name}")))?,
    };
    let hash = text("password_hash")?.unwrap_or_default().to_owned();
    hash_from(&hash, hashing).map_err(|failure| place.failed(failure))?;
    let limits = item
        .map("limits")
        .map_err(|failure| place.failed(failure))?;
    let limit = |name: &str| limits.get(name).and_then(Value::as_i64);
    Ok(User {
        name: place.text(item, "name")?,
        hash,
        hashing,
        tags: tags(item).map_err(|failure| place.failed(failure))?,
        limits: UserLimits {
            connections_max: limit("max-connections"),
            channels_max: limit("max-channels"),
        },
    })
}

/// The metadata stand in the vhost itself, in `metadata`, or in both.
fn vhost(item: &Json, place: &Place<'_>) -> Result<Vhost, ImportError> {
    let failed = |failure| place.failed(failure);
    let outer = metadata(item, None).map_err(failed)?;
    let inner = Json(item.map("metadata").map_err(failed)?);
    let limits = item.map("limits").unwrap_or_default();
    let limit = |name: &str| limits.get(name).and_then(Value::as_i64);
    Ok(Vhost {
        name: place.text(item, "name")?,
        metadata: metadata(&inner, Some(&outer)).map_err(failed)?,
        limits: (!limits.is_empty()).then(|| VhostLimits {
            connections_max: limit("max-connections"),
            queues_max: limit("max-queues"),
        }),
    })
}

fn permission(item: &Json, place: &Place<'_>) -> Result<Permission, ImportError> {
    Ok(Permission {
        user: place.text(item, "user")?,
        vhost: place.text(item, "vhost")?,
        configure: expression(item, place, "configure")?,
        write: expression(item, place, "write")?,
        read: expression(item, place, "read")?,
    })
}

fn topic_permission(item: &Json, place: &Place<'_>) -> Result<TopicPermission, ImportError> {
    Ok(TopicPermission {
        user: place.text(item, "user")?,
        vhost: place.text(item, "vhost")?,
        exchange: place.text(item, "exchange")?,
        write: place.text(item, "write")?,
        read: place.text(item, "read")?,
    })
}

fn expression(item: &Json, place: &Place<'_>, name: &str) -> Result<String, ImportError> {
    let source = place.text(item, name)?;
    match regex::Regex::new(&source) {
        Ok(_) => Ok(source),
        Err(_) => Err(place.invalid(format!("{name} is no regular expression"))),
    }
}

fn exchange(item: &Json, place: &Place<'_>) -> Result<Exchange, ImportError> {
    let kind = place.text(item, "type")?;
    if exchange::Kind::from_name(&kind).is_none() {
        return Err(place.invalid(format!("unknown exchange type '{kind}'")));
    }
    Ok(Exchange {
        vhost: place.vhost(item)?,
        name: place.text(item, "name")?,
        kind,
        durable: place.flag(item, "durable", true)?,
        auto_delete: place.flag(item, "auto_delete", false)?,
        internal: place.flag(item, "internal", false)?,
        arguments: place.table(item, "arguments")?,
    })
}

fn policy(item: &Json, place: &Place<'_>) -> Result<Policy, ImportError> {
    let failed = |failure| place.failed(failure);
    Ok(Policy {
        vhost: place.vhost(item)?,
        name: place.text(item, "name")?,
        pattern: expression(item, place, "pattern")?,
        apply_to: item
            .text("apply-to")
            .map_err(failed)?
            .unwrap_or("all")
            .to_owned(),
        priority: item.integer("priority").map_err(failed)?.unwrap_or(0),
        definition: place.table(item, "definition")?,
    })
}

fn queue(item: &Json, place: &Place<'_>) -> Result<Queue, ImportError> {
    let failed = |failure| place.failed(failure);
    let mut arguments = place.table(item, "arguments")?;
    let kind = item.text("type").map_err(failed)?;
    if let Some(kind) = kind.filter(|_| arguments.get("x-queue-type").is_none()) {
        arguments.insert("x-queue-type", TableValue::String(kind.as_bytes().into()));
    }
    Ok(Queue {
        vhost: place.vhost(item)?,
        name: place.text(item, "name")?,
        durable: place.flag(item, "durable", true)?,
        auto_delete: place.flag(item, "auto_delete", false)?,
        arguments,
    })
}

fn binding(item: &Json, place: &Place<'_>) -> Result<Binding, ImportError> {
    let kind = match place.text(item, "destination_type")?.as_str() {
        "queue" => ResourceKind::Queue,
        "exchange" => ResourceKind::Exchange,
        other => return Err(place.invalid(format!("unknown destination_type '{other}'"))),
    };
    let key = item
        .text("routing_key")
        .map_err(|failure| place.failed(failure))?;
    Ok(Binding {
        vhost: place.vhost(item)?,
        source: place.text(item, "source")?,
        destination: place.text(item, "destination")?,
        kind,
        key: key.unwrap_or_default().to_owned(),
        arguments: place.table(item, "arguments")?,
    })
}
