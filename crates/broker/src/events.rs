//! What happens in the node, told to whoever wants to know: the names and properties are those of RabbitMQ's event
//! exchange plugin (E19).
//!
//! The broker only tells. An audit log, `amq.rabbitmq.event` or a metric is made of it by the [`EventSink`] that the
//! server sets. Without one, an event costs a look at an empty place.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::catalogue::{Binding, Catalogue, Command, Gone};
use crate::error::ResourceKind;
use crate::exchange::Destination;
use crate::ids::VhostId;
use crate::policies::Scope;
use crate::table::{Table, Value};

/// Something that has happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The routing key: `queue.created`.
    pub name: &'static str,
    /// The headers.
    pub properties: Table,
}

/// Who wants to know.
pub trait EventSink: fmt::Debug + Send + Sync {
    /// Takes an event. It is called while the broker holds locks: it must neither wait nor call the broker, and has to
    /// say for itself what happens to more events than it can keep.
    fn take(&self, event: Event);
}

/// The place of the sink.
#[derive(Debug, Default)]
pub(crate) struct Events(OnceLock<Arc<dyn EventSink>>);

impl Events {
    pub(crate) fn set(&self, sink: Arc<dyn EventSink>) -> bool {
        self.0.set(sink).is_ok()
    }

    pub(crate) fn sink(&self) -> Option<&Arc<dyn EventSink>> {
        self.0.get()
    }

    /// Tells of an event, if anybody wants to know.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(sink) = self.0.get() {
            sink.take(event());
        }
    }
}

impl Event {
    pub(crate) fn new(
        name: &'static str,
        properties: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Self {
        let properties = properties.into_iter();
        let properties = properties.map(|(name, value)| (Box::from(name), value));
        Self {
            name,
            properties: properties.collect(),
        }
    }

    /// What is told of something that is gone.
    pub(crate) fn of_gone(gone: &Gone, vhost: &str, by: Option<&str>) -> Self {
        let mut event = match gone {
            Gone::Exchange(name) => Self::new(
                "exchange.deleted",
                [("name", text(name)), ("vhost", text(vhost))],
            ),
            Gone::Binding {
                source,
                destination,
                binding,
            } => binding_event("binding.deleted", vhost, [source, destination], binding),
        };
        event.done_by(by);
        event
    }

    fn done_by(&mut self, user: Option<&str>) {
        if let Some(user) = user {
            let name = "user_who_performed_action";
            self.properties.insert(name, text(user));
        }
    }

    /// What a command will have done, as it looks before. `None`: nothing, or what [`Self::of_gone`] tells.
    pub(crate) fn of_command(
        catalogue: &Catalogue,
        command: &Command,
        by: Option<&str>,
    ) -> Option<Self> {
        let mut event = described(catalogue, command)?;
        event.done_by(by);
        Some(event)
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::String(text.as_bytes().into())
}

fn described(catalogue: &Catalogue, command: &Command) -> Option<Event> {
    let vhost = |id: VhostId| catalogue.vhost_of(id);
    let at = |id| vhost(id).map(|vhost| ("vhost", text(&vhost.name)));
    Some(match command {
        Command::AddVhost { name, metadata } => Event::new(
            "vhost.created",
            [
                ("name", text(name)),
                ("description", text(&metadata.description)),
                ("tags", texts(&metadata.tags)),
            ],
        ),
        Command::PutVhostMetadata { .. } | Command::SetTracing { .. } => return None,
        Command::PutVhostLimits { vhost: id, limits } => {
            let limits = [
                ("max-connections", limits.connections_max),
                ("max-queues", limits.queues_max),
            ];
            limits_event(
                ["vhost.limits.set", "vhost.limits.cleared"],
                at(*id)?,
                limits,
            )
        }
        Command::DeleteVhost { vhost: id } => {
            Event::new("vhost.deleted", [("name", text(&vhost(*id)?.name))])
        }
        Command::PutUser(user) => match catalogue.user(&user.name) {
            None => Event::new("user.created", [("name", text(&user.name))]),
            Some(known) if known.password == user.password => Event::new(
                "user.tags.set",
                [("name", text(&user.name)), ("tags", texts(&user.tags))],
            ),
            Some(_) if user.password.is_none() => {
                Event::new("user.password.cleared", [("name", text(&user.name))])
            }
            Some(_) => Event::new("user.password.changed", [("name", text(&user.name))]),
        },
        Command::PutUserLimits { user, limits } => {
            let limits = [
                ("max-connections", limits.connections_max),
                ("max-channels", limits.channels_max),
            ];
            let name = ("name", text(user));
            limits_event(["user.limits.set", "user.limits.cleared"], name, limits)
        }
        Command::DeleteUser { name } => Event::new("user.deleted", [("name", text(name))]),
        Command::PutPermissions {
            user,
            vhost,
            permissions,
        } => Event::new(
            "permission.created",
            [
                ("user", text(user)),
                ("vhost", text(vhost)),
                ("configure", text(permissions.configure.source())),
                ("write", text(permissions.write.source())),
                ("read", text(permissions.read.source())),
            ],
        ),
        Command::DeletePermissions { user, vhost } => Event::new(
            "permission.deleted",
            [("user", text(user)), ("vhost", text(vhost))],
        ),
        Command::PutTopicPermissions {
            user,
            vhost,
            exchange,
            permissions,
        } => Event::new(
            "topic.permission.created",
            [
                ("user", text(user)),
                ("vhost", text(vhost)),
                ("exchange", text(exchange)),
                ("write", text(permissions.write.source())),
                ("read", text(permissions.read.source())),
            ],
        ),
        Command::DeleteTopicPermissions {
            user,
            vhost,
            exchange,
        } => {
            let exchange = exchange
                .as_ref()
                .map(|exchange| ("exchange", text(exchange)));
            let names = [("user", text(user)), ("vhost", text(vhost))];
            Event::new(
                "topic.permission.deleted",
                names.into_iter().chain(exchange),
            )
        }
        Command::PutPolicy {
            vhost,
            scope: _,
            policy,
        } => Event::new(
            "policy.set",
            [
                ("name", text(&policy.name)),
                at(*vhost)?,
                ("pattern", text(policy.pattern.source())),
                ("apply-to", text(policy.apply_to.name())),
                ("priority", Value::I64(policy.priority)),
                ("definition", Value::Table(policy.definition.clone())),
            ],
        ),
        Command::DeletePolicy { vhost, scope, name } => {
            let event = match scope {
                Scope::User => "policy.cleared",
                Scope::Operator => "operator.policy.cleared",
            };
            Event::new(event, [("name", text(name)), at(*vhost)?])
        }
        Command::PutParameter {
            vhost,
            component,
            name,
            value,
        } => Event::new(
            "parameter.set",
            [
                at(*vhost)?,
                ("component", text(component)),
                ("name", text(name)),
                ("value", value.clone()),
            ],
        ),
        Command::DeleteParameter {
            vhost,
            component,
            name,
        } => Event::new(
            "parameter.cleared",
            [
                at(*vhost)?,
                ("component", text(component)),
                ("name", text(name)),
            ],
        ),
        Command::PutGlobalParameter { name, value } => Event::new(
            "parameter.set",
            [
                ("component", text("global")),
                ("name", text(name)),
                ("value", value.clone()),
            ],
        ),
        Command::DeleteGlobalParameter { name } => Event::new(
            "parameter.cleared",
            [("component", text("global")), ("name", text(name))],
        ),
        Command::DeclareExchange {
            vhost,
            name,
            declaration,
        } => Event::new(
            "exchange.created",
            [
                ("name", text(name)),
                at(*vhost)?,
                ("type", text(declaration.kind.name())),
                ("durable", Value::Bool(declaration.durable)),
                ("auto_delete", Value::Bool(declaration.auto_delete)),
                ("internal", Value::Bool(declaration.internal)),
                ("arguments", Value::Table(declaration.arguments.clone())),
            ],
        ),
        Command::DeleteExchange { .. } | Command::Unbind { .. } => return None,
        Command::DeclareQueue { vhost, declaration } => Event::new(
            "queue.created",
            [
                ("name", text(&declaration.name)),
                at(*vhost)?,
                ("type", text(declaration.kind().name())),
                ("durable", Value::Bool(declaration.durable)),
                ("auto_delete", Value::Bool(declaration.auto_delete)),
                ("exclusive", Value::Bool(declaration.exclusive.is_some())),
                ("arguments", Value::Table(declaration.arguments.clone())),
            ],
        ),
        Command::DeleteQueue { vhost, name, .. } => {
            Event::new("queue.deleted", [("name", text(name)), at(*vhost)?])
        }
        Command::Bind { vhost: id, binding } => {
            let vhost = vhost(*id)?;
            if vhost.has_binding(binding) {
                return None;
            }
            let source = &vhost.exchange_of(binding.source)?.name;
            let destination = vhost.destination_name(binding.destination)?;
            binding_event(
                "binding.created",
                &vhost.name,
                [source, destination],
                binding,
            )
        }
    })
}

/// The limits of something were set, or cleared when there are none.
fn limits_event(
    [set, cleared]: [&'static str; 2],
    of: (&'static str, Value),
    limits: [(&'static str, Option<i64>); 2],
) -> Event {
    let limits = limits.into_iter();
    let limits: Vec<_> = limits
        .filter_map(|(name, limit)| Some((name, Value::I64(limit?))))
        .collect();
    let name = if limits.is_empty() { cleared } else { set };
    Event::new(name, std::iter::once(of).chain(limits))
}

fn binding_event(
    name: &'static str,
    vhost: &str,
    [source, destination]: [&str; 2],
    binding: &Binding,
) -> Event {
    let kind = match binding.destination {
        Destination::Queue(_) => ResourceKind::Queue,
        Destination::Exchange(_) => ResourceKind::Exchange,
    };
    Event::new(
        name,
        [
            ("vhost", text(vhost)),
            ("source_name", text(source)),
            ("source_kind", text("exchange")),
            ("destination_name", text(destination)),
            ("destination_kind", text(&kind.to_string())),
            ("routing_key", Value::String(binding.key.clone())),
            ("arguments", Value::Table(binding.arguments.clone())),
        ],
    )
}

fn texts(texts: &[Box<str>]) -> Value {
    Value::Array(texts.iter().map(|it| text(it)).collect())
}
