//! What changes of definitions tell, under RabbitMQ's names and in its order.

use crate::arguments;
use crate::catalogue::{Binding, Catalogue, Changes, Command, ExchangeDeclaration, Gone, Vhost};
use crate::catalogue::{VhostLimits, VhostMetadata};
use crate::error::ResourceKind;
use crate::exchange::Destination;
use crate::ids::{QueueId, VhostId};
use crate::live_queue::Declaration;
use crate::options::Options;
use crate::policies::{Policy, Scope};
use crate::queue::Kind;
use crate::table::{Table, Value};
use crate::users::{User, UserLimits};

use super::{Event, PERFORMED_BY, connection_pid, term, text};

/// A change of definitions that is about to happen, for those who want to know.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    by: Option<&'a str>,
    /// Where it happens.
    vhost: Option<VhostId>,
    /// The policies that it changes.
    policies: Option<(VhostId, Scope)>,
    /// What it will have done.
    events: Vec<Event>,
}

impl<'a> Change<'a> {
    /// What `command` tells, as things are before it.
    pub(crate) fn of(
        options: &Options,
        catalogue: &Catalogue,
        command: &Command,
        by: Option<&'a str>,
    ) -> Self {
        let policies = match command {
            Command::PutPolicy { vhost, scope, .. }
            | Command::DeletePolicy { vhost, scope, .. } => Some((*vhost, *scope)),
            _ => None,
        };
        Self {
            by,
            vhost: command.vhost(),
            policies,
            events: events_of(options, catalogue, command),
        }
    }

    /// All that is to be told now that it has happened.
    pub(crate) fn done(self, catalogue: &Catalogue, changes: &Changes) -> Vec<Event> {
        let name = |id| catalogue.vhost_of(id).map_or("", |vhost| &vhost.name);
        let vhost = self.vhost.map_or("", name);
        let gone = changes.gone.iter().map(|gone| of_gone(gone, vhost));
        let mut events: Vec<Event> = gone.collect();
        // RabbitMQ tells of a new vhost when it has its exchanges.
        let made = self
            .events
            .iter()
            .find(|event| event.name == "vhost.created");
        let made = made.and_then(|event| event.properties.get("name")?.as_str());
        let made = made.and_then(|name| catalogue.vhost(name));
        events.extend(made.into_iter().flat_map(exchanges_created));
        if let Some((vhost, scope)) = self.policies {
            let vhost = catalogue.vhost_of(vhost);
            let queues = changes.configured.iter();
            let told = queues.filter_map(|queue| queue_policy(vhost?, scope, *queue));
            let at = self.events.len().saturating_sub(1);
            events.extend(self.events[..at].iter().cloned());
            events.extend(told);
            events.extend(self.events[at..].iter().cloned());
        } else {
            events.extend(self.events);
        }
        for event in &mut events {
            event.done_by(self.by);
        }
        events
    }
}

fn events_of(options: &Options, catalogue: &Catalogue, command: &Command) -> Vec<Event> {
    let node = &*options.node_name;
    let vhost = |id: &VhostId| catalogue.vhost_of(*id);
    match command {
        Command::AddVhost { name, metadata } => {
            vec![vhost_event("vhost.created", options, name, metadata, false)]
        }
        Command::PutVhostMetadata {
            vhost: id,
            metadata,
        } => {
            let about = |vhost: &Vhost| {
                let name = "vhost.updated";
                let mut event = vhost_event(name, options, &vhost.name, metadata, vhost.tracing);
                let protected = Value::Bool(metadata.protected_from_deletion);
                event.properties.insert("deletion_protection", protected);
                event
            };
            vhost(id).map(about).into_iter().collect()
        }
        Command::PutVhostLimits { vhost: id, limits } => {
            let about = |vhost| vhost_limits_put(vhost, limits);
            vhost(id).map(about).unwrap_or_default()
        }
        Command::DeleteVhost { vhost: id } => {
            let about = |vhost| vhost_deleted(node, catalogue, vhost);
            vhost(id).map(about).unwrap_or_default()
        }
        Command::PutUser(user) => user_put(catalogue.user(&user.name), user),
        Command::PutUserLimits { user, limits } => vec![user_limits_put(user, limits)],
        Command::PutPolicy {
            vhost: id,
            scope,
            policy,
        } => {
            let about = |vhost: &Vhost| policy_put(&vhost.name, *scope, policy);
            vhost(id).map(about).unwrap_or_default()
        }
        Command::DeletePolicy {
            vhost: id,
            scope,
            name,
        } => {
            let about = |vhost: &Vhost| policy_cleared(&vhost.name, *scope, name);
            vhost(id).map(about).unwrap_or_default()
        }
        _ => described(node, catalogue, command).into_iter().collect(),
    }
}

/// What is told of something that has gone with something else.
fn of_gone(gone: &Gone, vhost: &str) -> Event {
    match gone {
        Gone::Exchange(name) => exchange_deleted(vhost, name),
        Gone::Binding {
            source,
            destination,
            binding,
        } => binding_event("binding.deleted", vhost, [source, destination], binding),
    }
}

/// What a command that says one thing tells.
fn described(node: &str, catalogue: &Catalogue, command: &Command) -> Option<Event> {
    let vhost = |id: VhostId| catalogue.vhost_of(id);
    let at = |id| vhost(id).map(|vhost| ("vhost", text(&vhost.name)));
    Some(match command {
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
        Command::DeletePermissions { user, vhost } => permission_deleted(user, vhost),
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
            vhost: id,
            name,
            declaration,
        } => exchange_created(&vhost(*id)?.name, name, declaration),
        Command::DeclareQueue {
            vhost: id,
            declaration,
        } => queue_created(node, &vhost(*id)?.name, declaration),
        Command::DeleteQueue {
            vhost: id, name, ..
        } => {
            let vhost = vhost(*id)?;
            let (_, declaration) = vhost.queue(name)?;
            queue_deleted(&vhost.name, declaration)
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
        _ => return None,
    })
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

fn vhost_event(
    event: &'static str,
    options: &Options,
    name: &str,
    metadata: &VhostMetadata,
    tracing: bool,
) -> Event {
    let kind = metadata.default_queue_type;
    let kind = kind.unwrap_or(options.default_queue_kind);
    let running = [(Box::from(options.node_name.as_str()), text("running"))];
    Event::new(
        event,
        [
            ("name", text(name)),
            ("description", text(&metadata.description)),
            ("tags", texts(&metadata.tags)),
            ("default_queue_type", text(kind.name())),
            ("metadata", text(&metadata_term(metadata, kind))),
            (
                "protected_from_deletion",
                Value::Bool(metadata.protected_from_deletion),
            ),
            ("tracing", Value::Bool(tracing)),
            ("cluster_state", Value::Table(Table::from_iter(running))),
        ],
    )
}

/// The map that RabbitMQ keeps of a vhost, as it prints it.
fn metadata_term(metadata: &VhostMetadata, kind: Kind) -> String {
    let tags: Vec<String> = metadata.tags.iter().map(|tag| term::atom(tag)).collect();
    let protected = match metadata.protected_from_deletion {
        true => ",protected_from_deletion => true",
        false => "",
    };
    format!(
        "#{{description => {},tags => [{}],default_queue_type => {}{protected}}}",
        term::binary(&metadata.description),
        tags.join(","),
        term::binary(kind.name()),
    )
}

fn exchanges_created(vhost: &Vhost) -> Vec<Event> {
    let mut exchanges: Vec<_> = vhost.exchanges().collect();
    exchanges.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let created = exchanges.into_iter();
    created
        .map(|it| exchange_created(&vhost.name, &it.name, &it.declaration))
        .collect()
}

/// All that is in it goes first.
fn vhost_deleted(node: &str, catalogue: &Catalogue, vhost: &Vhost) -> Vec<Event> {
    let name = &*vhost.name;
    let permissions = catalogue.all_permissions();
    let permissions = permissions.filter(|((_, of), _)| **of == *name);
    let mut events: Vec<Event> = permissions
        .map(|((user, _), _)| permission_deleted(user, name))
        .collect();
    let mut queues: Vec<_> = vhost.queues().collect();
    queues.sort_unstable_by_key(|(id, _)| *id);
    let queues = queues.into_iter();
    events.extend(queues.map(|(_, declaration)| queue_deleted(name, declaration)));
    let mut exchanges: Vec<_> = vhost.exchanges().map(|it| &*it.name).collect();
    exchanges.sort_unstable();
    events.extend(exchanges.into_iter().map(|it| exchange_deleted(name, it)));
    if vhost.limits != VhostLimits::default() {
        events.extend(vhost_limits_put(vhost, &VhostLimits::default()));
    }
    let about = ("name", text(name));
    events.push(Event::new("vhost.deleted", [about.clone()]));
    let by = (PERFORMED_BY, text("rmq-internal"));
    events.push(Event::new("vhost.down", [about, ("node", text(node)), by]));
    events
}

fn permission_deleted(user: &str, vhost: &str) -> Event {
    Event::new(
        "permission.deleted",
        [("user", text(user)), ("vhost", text(vhost))],
    )
}

fn user_put(known: Option<&User>, user: &User) -> Vec<Event> {
    let name = ("name", text(&user.name));
    let password = match known {
        None => Some("user.created"),
        Some(known) if known.password == user.password => None,
        Some(_) if user.password.is_none() => Some("user.password.cleared"),
        Some(_) => Some("user.password.changed"),
    };
    let password = password.map(|event| Event::new(event, [name.clone()]));
    let tags = Event::new("user.tags.set", [name, ("tags", texts(&user.tags))]);
    password.into_iter().chain([tags]).collect()
}

/// RabbitMQ keeps limits as a parameter, and tells of that, too.
fn vhost_limits_put(vhost: &Vhost, limits: &VhostLimits) -> Vec<Event> {
    let about = [("vhost", text(&vhost.name)), ("name", text("limits"))];
    let component = ("component", text("vhost-limits"));
    let set = limits_set([
        ("max-connections", limits.connections_max),
        ("max-queues", limits.queues_max),
    ]);
    let parameter = about.clone().into_iter().chain([component]);
    if set.is_empty() {
        return vec![
            Event::new("parameter.cleared", parameter),
            Event::new("vhost.limits.cleared", about),
        ];
    }
    let named = set.iter().cloned();
    let value: Table = named
        .map(|(name, value)| (Box::from(name), value))
        .collect();
    let value = ("value", Value::Table(value));
    vec![
        Event::new("parameter.set", parameter.chain([value])),
        Event::new("vhost.limits.set", about.into_iter().chain(set)),
    ]
}

fn user_limits_put(user: &str, limits: &UserLimits) -> Event {
    let about = [("username", text(user)), ("name", text("limits"))];
    let set = limits_set([
        ("max-connections", limits.connections_max),
        ("max-channels", limits.channels_max),
    ]);
    let event = match set.is_empty() {
        true => "user.limits.cleared",
        false => "user.limits.set",
    };
    Event::new(event, about.into_iter().chain(set))
}

fn limits_set(limits: [(&'static str, Option<i64>); 2]) -> Vec<(&'static str, Value)> {
    let limits = limits.into_iter();
    limits
        .filter_map(|(name, limit)| Some((name, Value::I64(limit?))))
        .collect()
}

fn policy_put(vhost: &str, scope: Scope, policy: &Policy) -> Vec<Event> {
    let names = [("vhost", text(vhost)), ("name", text(&policy.name))];
    let set = names.clone().into_iter().chain(policy_terms(policy));
    let set = Event::new("policy.set", set);
    match scope {
        Scope::User => vec![set],
        Scope::Operator => {
            let terms = policy_terms(policy).into_iter();
            let value = terms.map(|(name, value)| (Box::from(name), value));
            let parameter = [
                ("component", text("operator_policy")),
                ("value", Value::Table(value.collect())),
            ];
            let parameter = names.into_iter().chain(parameter);
            vec![Event::new("parameter.set", parameter), set]
        }
    }
}

fn policy_cleared(vhost: &str, scope: Scope, name: &str) -> Vec<Event> {
    let names = [("vhost", text(vhost)), ("name", text(name))];
    match scope {
        Scope::User => vec![Event::new("policy.cleared", names)],
        Scope::Operator => {
            let component = ("component", text("operator_policy"));
            let parameter = names.clone().into_iter().chain([component]);
            vec![
                Event::new("parameter.cleared", parameter),
                Event::new("operator.policy.cleared", names),
            ]
        }
    }
}

fn policy_terms(policy: &Policy) -> [(&'static str, Value); 4] {
    [
        ("pattern", text(policy.pattern.source())),
        ("apply-to", text(policy.apply_to.name())),
        ("priority", Value::I64(policy.priority)),
        ("definition", Value::Table(policy.definition.clone())),
    ]
}

/// A queue follows another policy than before, or none.
fn queue_policy(vhost: &Vhost, scope: Scope, queue: QueueId) -> Option<Event> {
    let name = vhost.queue_name(queue)?;
    let (_, declaration) = vhost.queue(name)?;
    let applied = vhost.applied_to_queue(name)?;
    let policy = match scope {
        Scope::User => applied.user.as_ref(),
        Scope::Operator => applied.operator.as_ref(),
    };
    let about = queue_names(&vhost.name, declaration);
    Some(match policy {
        Some(policy) => Event::new(
            "queue.policy.updated",
            about.into_iter().chain(policy_terms(policy)),
        ),
        None => Event::new("queue.policy.cleared", about),
    })
}

fn queue_names(vhost: &str, declaration: &Declaration) -> [(&'static str, Value); 3] {
    [
        ("name", text(&declaration.name)),
        ("vhost", text(vhost)),
        ("type", text(arguments::module(declaration.kind()))),
    ]
}

fn queue_created(node: &str, vhost: &str, declaration: &Declaration) -> Event {
    let owner = declaration.exclusive;
    let facts = [
        ("durable", Value::Bool(declaration.durable)),
        ("auto_delete", Value::Bool(declaration.auto_delete)),
        ("exclusive", Value::Bool(owner.is_some())),
        (
            "arguments",
            Value::Table(Table::clone(&declaration.arguments)),
        ),
        ("owner_pid", owner.map_or_else(|| text(""), connection_pid)),
        ("leader", text(node)),
        ("members", Value::Array(vec![text(node)])),
    ];
    let names = queue_names(vhost, declaration);
    Event::new("queue.created", names.into_iter().chain(facts))
}

fn queue_deleted(vhost: &str, declaration: &Declaration) -> Event {
    Event::new("queue.deleted", queue_names(vhost, declaration))
}

fn exchange_created(vhost: &str, name: &str, declaration: &ExchangeDeclaration) -> Event {
    Event::new(
        "exchange.created",
        [
            ("name", text(name)),
            ("vhost", text(vhost)),
            ("type", text(declaration.kind.name())),
            ("durable", Value::Bool(declaration.durable)),
            ("auto_delete", Value::Bool(declaration.auto_delete)),
            ("internal", Value::Bool(declaration.internal)),
            ("arguments", Value::Table(declaration.arguments.clone())),
            ("policy", text("")),
        ],
    )
}

fn exchange_deleted(vhost: &str, name: &str) -> Event {
    Event::new(
        "exchange.deleted",
        [("name", text(name)), ("vhost", text(vhost))],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As RabbitMQ 4.3.6 told of such vhosts.
    #[test]
    fn metadata_is_a_map_of_erlang() {
        let check = |metadata: &VhostMetadata, expected: &str| {
            assert_eq!(metadata_term(metadata, Kind::Classic), expected);
        };
        check(
            &VhostMetadata::default(),
            "#{description => <<>>,tags => [],default_queue_type => <<\"classic\">>}",
        );
        let described = VhostMetadata {
            description: "d 1".into(),
            tags: vec!["a".into(), "b".into()],
            ..VhostMetadata::default()
        };
        check(
            &described,
            "#{description => <<\"d 1\">>,tags => [a,b],default_queue_type => <<\"classic\">>}",
        );
    }
}
