//! Definitions into a node: the document is read as a whole, and what is malformed stops it. Whether its objects can be
//! there the broker knows (`Broker::import`), which takes in all of them or none.

use std::collections::BTreeSet;
use std::sync::Arc;

use leveret_broker::broker::Broker;
use leveret_broker::broker::administration::{
    Detail, ImportRefused, Parameter, Password, PermissionSpec, PolicySpec, Refused, Report, Tally,
    Wanted, topic_permissions,
};
use leveret_broker::catalogue::{ExchangeDeclaration, VhostLimits};
use leveret_broker::error::ResourceKind;
use leveret_broker::exchange;
use leveret_broker::live_queue::Declaration;
use leveret_broker::policies::Scope;
use leveret_broker::table::{Table, Value as TableValue};
use leveret_broker::time::Timestamp;
use leveret_broker::users::{Hashing, PasswordHash, Permissions, User, UserLimits};
use serde_json::{Map, Value, json};

use super::{CATEGORIES, IMPORTED_HASH};
use crate::answer::Failure;
use crate::api::users::changes::{hash_from, tags};
use crate::api::vhosts::changes::metadata;
use crate::call::Json;
use crate::table::{from_json, value_from_json};

/// Why definitions are not taken in. Nothing has been changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// One of the documents can't be read; which one, counted from 0.
    #[error("{why}")]
    Invalid { document: usize, why: String },
    /// The broker refuses an object.
    #[error(transparent)]
    Refused(#[from] ImportRefused),
}

impl ImportError {
    fn invalid(why: String) -> Self {
        Self::Invalid { document: 0, why }
    }

    pub(super) fn of_document(self, document: usize) -> Self {
        match self {
            Self::Invalid { why, .. } => Self::Invalid { document, why },
            refused => refused,
        }
    }
}

/// Documents that have been read.
#[derive(Default)]
pub(crate) struct Import {
    wanted: Vec<Wanted>,
}

/// What an import did, or would do, as JSON: how many objects of each category, and which of them are new or other than
/// before.
pub(crate) fn report_json(report: &Report) -> Value {
    let tally = |it: &Tally| {
        json!({
            "created": it.created,
            "changed": it.changed,
            "unchanged": it.unchanged,
        })
    };
    let counts = CATEGORIES.iter().filter_map(|category| {
        let counts = report.tallies.get(category)?;
        Some(((*category).to_owned(), tally(counts)))
    });
    json!({
        "counts": counts.collect::<Map<_, _>>(),
        "created": report.created,
        "changed": report.changed,
        "unchanged": report.total().unchanged,
    })
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
        ImportError::invalid(format!("{}[{}]: {why}", self.category, self.index))
    }

    fn failed(&self, failure: Failure) -> ImportError {
        self.invalid(failure.reason_text())
    }

    fn text(&self, item: &Json, name: &str) -> Result<String, ImportError> {
        let text = item.required_text(name);
        Ok(text.map_err(|failure| self.failed(failure))?.to_owned())
    }

    fn name(&self, item: &Json, name: &str) -> Result<Arc<str>, ImportError> {
        Ok(self.text(item, name)?.into())
    }

    fn vhost(&self, item: &Json) -> Result<Arc<str>, ImportError> {
        match self.vhost {
            Some(vhost) => Ok(vhost.into()),
            None => self.name(item, "vhost"),
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
    pub(crate) fn read(&mut self, text: &[u8], vhost: Option<&str>) -> Result<(), ImportError> {
        let parsed: Result<Value, _> = serde_json::from_slice(text);
        let Ok(Value::Object(document)) = parsed else {
            let why = parsed.err().map_or_else(
                || "the definitions are not an object".to_owned(),
                |error| format!("the definitions are not JSON: {error}"),
            );
            return Err(ImportError::invalid(why));
        };
        check_version(&document)?;
        let hashing = default_hashing(&document);
        for category in CATEGORIES {
            // A document for one vhost says nothing of what is not in it.
            if vhost.is_some() && CLUSTER_ONLY.contains(&category) {
                continue;
            }
            each(
                &document,
                category,
                vhost,
                &mut self.wanted,
                |item, place| object(category, item, place, hashing),
            )?;
        }
        Ok(())
    }

    /// Has the node remember what has been taken in, with all else.
    pub(crate) fn remember(&mut self, hash: &str) {
        self.wanted.push(Wanted::GlobalParameter {
            name: IMPORTED_HASH.into(),
            value: TableValue::String(hash.as_bytes().into()),
        });
    }

    /// Whoever makes a vhost may do everything in it, unless the document says what they may.
    pub(crate) fn grant(&mut self, broker: &Broker, user: &Arc<str>) {
        let said: BTreeSet<Arc<str>> = (self.wanted.iter())
            .filter_map(|it| match it {
                Wanted::Permissions {
                    user: of, vhost, ..
                } if of == user => Some(vhost.clone()),
                _ => None,
            })
            .collect();
        let new = self
            .wanted
            .iter()
            .enumerate()
            .filter_map(|(at, it)| match it {
                Wanted::Vhost { name, .. } if !said.contains(name) => Some((at, name.clone())),
                _ => None,
            });
        let new = new.filter(|(_, name)| broker.vhost_info(name).is_none());
        let Some((at, _)) = new.clone().last() else {
            return;
        };
        let granted: Vec<_> = new
            .map(|(_, vhost)| Wanted::Permissions {
                user: user.clone(),
                vhost,
                permissions: Permissions::full(),
            })
            .collect();
        self.wanted.splice(at + 1..at + 1, granted);
    }

    /// What is declared is declared by that user.
    pub(crate) fn sign(&mut self, user: &Arc<str>) {
        for wanted in &mut self.wanted {
            let declared_by = match wanted {
                Wanted::Exchange { declaration, .. } => &mut declaration.declared_by,
                Wanted::Queue { declaration, .. } => &mut declaration.declared_by,
                _ => continue,
            };
            *declared_by = Some(user.clone());
        }
    }

    /// What taking it in would come to.
    pub(crate) fn preview(self, broker: &Broker, detail: Detail) -> Result<Report, ImportError> {
        Ok(broker.preview_import(self.wanted, detail)?)
    }

    /// Takes it in: all of it, or nothing.
    pub(crate) fn apply(
        self,
        broker: &Broker,
        detail: Detail,
        now: Timestamp,
    ) -> Result<Report, ImportError> {
        Ok(broker.import(self.wanted, detail, now)?)
    }
}

/// What is not in any vhost, or says who may be in which.
const CLUSTER_ONLY: [&str; 5] = [
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "global_parameters",
];

/// Definitions of a RabbitMQ to come may mean something else by the same words.
fn check_version(document: &Map<String, Value>) -> Result<(), ImportError> {
    let version = document.get("rabbitmq_version").and_then(Value::as_str);
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    match major {
        Some(major) if major > 4 => Err(ImportError::invalid(format!(
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

fn each(
    document: &Map<String, Value>,
    category: &'static str,
    vhost: Option<&str>,
    into: &mut Vec<Wanted>,
    mut read: impl FnMut(&Json, &Place<'_>) -> Result<Wanted, ImportError>,
) -> Result<(), ImportError> {
    let items = match document.get(category) {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(ImportError::invalid(format!("{category} must be a list"))),
    };
    into.reserve(items.len());
    for (index, item) in items.iter().enumerate() {
        let place = Place {
            category,
            index,
            vhost,
        };
        let Value::Object(fields) = item else {
            return Err(place.invalid("must be an object"));
        };
        into.push(read(&Json(fields.clone()), &place)?);
    }
    Ok(())
}

fn object(
    category: &'static str,
    item: &Json,
    place: &Place<'_>,
    hashing: Hashing,
) -> Result<Wanted, ImportError> {
    match category {
        "users" => user(item, place, hashing),
        "vhosts" => vhost(item, place),
        "permissions" => permission(item, place),
        "topic_permissions" => topic_permission(item, place),
        "global_parameters" => global_parameter(item, place),
        "exchanges" => exchange(item, place),
        "policies" => policy(item, place),
        "parameters" => parameter(item, place),
        "queues" => queue(item, place),
        _ => binding(item, place),
    }
}

/// The broker does not take what the document says of an object.
fn refused(what: String, why: &Refused) -> ImportError {
    ImportRefused::new(what, why.to_string()).into()
}

fn parameter_value(item: &Json, place: &Place<'_>) -> Result<TableValue, ImportError> {
    let value = item.0.get("value").unwrap_or(&Value::Null);
    value_from_json(value).map_err(|failure| place.failed(failure))
}

fn user(item: &Json, place: &Place<'_>, default: Hashing) -> Result<Wanted, ImportError> {
    let failed = |failure| place.failed(failure);
    let text = |name| item.text(name).map_err(failed);
    let hashing = match text("hashing_algorithm")? {
        None => default,
        Some(name) => Hashing::from_name(name)
            .ok_or_else(|| place.invalid(format!("unknown hashing_algorithm {name}")))?,
    };
    let hash = text("password_hash")?.unwrap_or_default();
    let password = match hash_from(hash, hashing).map_err(failed)? {
        Password::Hash(hash) => hash,
        _ => PasswordHash::none(),
    };
    let limits = item.get("limits").map(|_| item.map("limits")).transpose();
    let limits = limits.map_err(failed)?.map(|limits| UserLimits {
        connections_max: limit(&limits, "max-connections"),
        channels_max: limit(&limits, "max-channels"),
    });
    let user = User {
        name: place.name(item, "name")?,
        password,
        tags: tags(item).map_err(failed)?,
        limits: UserLimits::default(),
    };
    Ok(Wanted::User { user, limits })
}

fn limit(limits: &Map<String, Value>, name: &str) -> Option<i64> {
    limits.get(name).and_then(Value::as_i64)
}

/// The metadata stand in the vhost itself, in `metadata`, or in both.
fn vhost(item: &Json, place: &Place<'_>) -> Result<Wanted, ImportError> {
    let failed = |failure| place.failed(failure);
    let outer = metadata(item, None).map_err(failed)?;
    let inner = Json(item.map("metadata").map_err(failed)?);
    let limits = item.get("limits").map(|_| item.map("limits")).transpose();
    let limits = limits.map_err(failed)?.map(|limits| VhostLimits {
        connections_max: limit(&limits, "max-connections"),
        queues_max: limit(&limits, "max-queues"),
    });
    Ok(Wanted::Vhost {
        name: place.name(item, "name")?,
        metadata: metadata(&inner, Some(&outer)).map_err(failed)?,
        limits,
    })
}

fn permission(item: &Json, place: &Place<'_>) -> Result<Wanted, ImportError> {
    let [configure, write, read] = ["configure", "write", "read"].map(|it| place.text(item, it));
    let (user, vhost) = (place.name(item, "user")?, place.name(item, "vhost")?);
    let spec = PermissionSpec {
        configure: &configure?,
        write: &write?,
        read: &read?,
    };
    let title = format!("permissions of user '{user}' in vhost '{vhost}'");
    let permissions = spec.checked().map_err(|why| refused(title, &why))?;
    Ok(Wanted::Permissions {
        user,
        vhost,
        permissions,
    })
}

fn topic_permission(item: &Json, place: &Place<'_>) -> Result<Wanted, ImportError> {
    let patterns = (place.text(item, "write")?, place.text(item, "read")?);
    let (user, vhost) = (place.name(item, "user")?, place.name(item, "vhost")?);
    let title = format!("topic permissions of user '{user}' in vhost '{vhost}'");
    let permissions =
        topic_permissions((&patterns.0, &patterns.1)).map_err(|why| refused(title, &why))?;
    Ok(Wanted::TopicPermissions {
        user,
        vhost,
        exchange: place.name(item, "exchange")?,
        permissions,
    })
}

fn global_parameter(item: &Json, place: &Place<'_>) -> Result<Wanted, ImportError> {
    Ok(Wanted::GlobalParameter {
        name: place.name(item, "name")?,
        value: parameter_value(item, place)?,
    })
}

fn exchange(item: &Json, place: &Place<'_>) -> Result<Wanted, ImportError> {
    let kind = place.text(item, "type")?;
    let (vhost, name) = (place.vhost(item)?, place.name(item, "name")?);
    let Some(kind) = exchange::Kind::from_name(&kind) else {
        return Err(ImportRefused::new(
            format!("exchange '{name}' in vhost '{vhost}'"),
            format!("precondition_failed: unknown exchange type '{kind}'"),
        )
        .into());
    };
    Ok(Wanted::Exchange {
        vhost,
        name,
        declaration: ExchangeDeclaration {
            kind,
            durable: place.flag(item, "durable", true)?,
            auto_delete: place.flag(item, "auto_delete", false)?,
            internal: place.flag(item, "internal", false)?,
            arguments: place.table(item, "arguments")?,
            declared_by: None,
        },
    })
}

fn policy(item: &Json, place: &Place<'_>) -> Result<Wanted, ImportError> {
    let failed = |failure| place.failed(failure);
    let (vhost, name) = (place.vhost(item)?, place.name(item, "name")?);
    let spec = PolicySpec {
        name: &name,
        pattern: &place.text(item, "pattern")?,
        apply_to: item.text("apply-to").map_err(failed)?.unwrap_or("all"),
        priority: item.integer("priority").map_err(failed)?.unwrap_or(0),
        definition: place.table(item, "definition")?,
    };
    let policy = spec.checked(Scope::User).map_err(|why| {
        ImportRefused::Explained(format!("{why} (vhost: \"{vhost}\" key: \"{name}\")"))
    })?;
    Ok(Wanted::Parameter {
        vhost,
        name,
        category: place.category,
        parameter: Parameter::Policy(Scope::User, policy),
    })
}

fn parameter(item: &Json, place: &Place<'_>) -> Result<Wanted, ImportError> {
    let (vhost, name) = (place.vhost(item)?, place.name(item, "name")?);
    let component = place.text(item, "component")?;
    let parameter = Parameter::read(&component, &name, parameter_value(item, place)?);
    let parameter = parameter.map_err(|why| {
        let place = format!("vhost: \"{vhost}\" / component: \"{component}\" / key: \"{name}\"");
        ImportRefused::Explained(format!("{why} ({place})"))
    })?;
    Ok(Wanted::Parameter {
        vhost,
        name,
        category: place.category,
        parameter,
    })
}

fn queue(item: &Json, place: &Place<'_>) -> Result<Wanted, ImportError> {
    let mut arguments = place.table(item, "arguments")?;
    let kind = item.text("type").map_err(|failure| place.failed(failure))?;
    if let Some(kind) = kind.filter(|_| arguments.get("x-queue-type").is_none()) {
        arguments.insert("x-queue-type", TableValue::String(kind.as_bytes().into()));
    }
    Ok(Wanted::Queue {
        vhost: place.vhost(item)?,
        declaration: Declaration {
            name: place.name(item, "name")?,
            durable: place.flag(item, "durable", true)?,
            auto_delete: place.flag(item, "auto_delete", false)?,
            exclusive: None,
            arguments: arguments.into(),
            declared_by: None,
        },
    })
}

fn binding(item: &Json, place: &Place<'_>) -> Result<Wanted, ImportError> {
    let kind = match place.text(item, "destination_type")?.as_str() {
        "queue" => ResourceKind::Queue,
        "exchange" => ResourceKind::Exchange,
        other => return Err(place.invalid(format!("unknown destination_type '{other}'"))),
    };
    let key = item
        .text("routing_key")
        .map_err(|failure| place.failed(failure))?;
    Ok(Wanted::Binding {
        vhost: place.vhost(item)?,
        source: place.name(item, "source")?,
        destination: place.name(item, "destination")?,
        kind,
        key: key.unwrap_or_default().as_bytes().into(),
        arguments: place.table(item, "arguments")?,
    })
}
