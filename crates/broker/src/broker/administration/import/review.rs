//! Before anything is taken in: whether every object can be there, with what is there and what comes before it, and what
//! would become of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::{Parameter, check_name};
use super::{Detail, Fate, ImportRefused, Report, Wanted, destination_in};
use crate::arguments;
use crate::broker::definitions::QueueSpec;
use crate::broker::{Broker, Topology};
use crate::catalogue::{
    Binding, ExchangeDeclaration, Map, PREDECLARED, Vhost, VhostLimits, VhostMetadata,
};
use crate::error::{Error, Resource, ResourceKind};
use crate::exchange::{self, Router};
use crate::live_queue::Declaration;
use crate::queue;
use crate::reply_to;
use crate::table::Table;
use crate::users::{User, UserLimits};

/// A refusal, or what becomes of the object.
type Verdict = Result<Fate, Refusal>;

/// Why an object can't be there.
enum Refusal {
    /// RabbitMQ asks for a vhost in words of its own.
    NoVhost(Arc<str>),
    Because(String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        // RabbitMQ puts the code before the text where it reports a declaration that failed.
        Self::Because(match error {
            Error::PreconditionFailed(text) => format!("precondition_failed: {text}"),
            other => other.to_string(),
        })
    }
}

impl From<super::super::Refused> for Refusal {
    fn from(refused: super::super::Refused) -> Self {
        Self::Because(refused.to_string())
    }
}

impl Broker {
    /// Leaves of `wanted` only what is not yet as wanted, and gives every queue its type.
    pub(super) fn review(
        &self,
        topology: &Topology,
        wanted: &mut Vec<Wanted>,
        detail: Detail,
    ) -> Result<Report, ImportRefused> {
        let mut review = Review {
            broker: self,
            topology,
            users: BTreeSet::new(),
            vhosts: Map::default(),
            vhosts_new: 0,
            exchanges_new: 0,
            queues_new: 0,
        };
        let mut report = Report::new(detail);
        let mut refused = None;
        wanted.retain_mut(|object| {
            if refused.is_some() {
                return false;
            }
            match review.look_at(object) {
                Ok(fate) => {
                    report.note(object, fate);
                    fate != Fate::Unchanged
                }
                Err(refusal) => {
                    refused = Some(explained(object, refusal));
                    false
                }
            }
        });
        match refused {
            Some(refused) => Err(refused),
            None => Ok(report),
        }
    }
}

fn explained(object: &Wanted, refusal: Refusal) -> ImportRefused {
    match refusal {
        Refusal::NoVhost(vhost) => ImportRefused::Explained(format!(
            "Please create virtual host \"{vhost}\" prior to importing definitions."
        )),
        Refusal::Because(why) => ImportRefused::new(object.title(), why),
    }
}

/// What is there, and what comes with the objects that have been looked at.
struct Review<'a> {
    broker: &'a Broker,
    topology: &'a Topology,
    users: BTreeSet<Arc<str>>,
    vhosts: Map<Arc<str>, Coming>,
    vhosts_new: usize,
    exchanges_new: usize,
    queues_new: usize,
}

/// What comes to a vhost.
#[derive(Default)]
struct Coming {
    default_queue_type: Option<queue::Kind>,
    limits: VhostLimits,
    exchanges: Map<Arc<str>, exchange::Kind>,
    queues: Map<Arc<str>, queue::Kind>,
}

impl Coming {
    fn to(known: Option<&Vhost>) -> Self {
        let Some(known) = known else {
            let predeclared = PREDECLARED.iter();
            return Self {
                exchanges: predeclared
                    .map(|(name, kind, _)| (Arc::from(*name), *kind))
                    .collect(),
                ..Self::default()
            };
        };
        Self {
            default_queue_type: known.metadata.default_queue_type,
            limits: known.limits,
            ..Self::default()
        }
    }
}

fn fate(known: Option<bool>) -> Fate {
    match known {
        None => Fate::Created,
        Some(true) => Fate::Unchanged,
        Some(false) => Fate::Changed,
    }
}

impl Review<'_> {
    fn look_at(&mut self, object: &mut Wanted) -> Verdict {
        match object {
            Wanted::User { user, limits } => self.user(user, *limits),
            Wanted::Vhost {
                name,
                metadata,
                limits,
            } => self.vhost(name, metadata, *limits),
            Wanted::Permissions {
                user,
                vhost,
                permissions,
            } => {
                self.need_user_and_vhost(user, vhost)?;
                let known = self.topology.catalogue.permissions(user, vhost);
                Ok(fate(known.map(|known| known == permissions)))
            }
            Wanted::TopicPermissions {
                user,
                vhost,
                exchange,
                permissions,
            } => {
                self.need_user_and_vhost(user, vhost)?;
                let catalogue = &self.topology.catalogue;
                let known = catalogue.topic_permissions(user, vhost, exchange);
                Ok(fate(known.map(|known| known == permissions)))
            }
            Wanted::GlobalParameter { name, value } => {
                check_name(name, "parameter")?;
                let mut known = self.topology.catalogue.global_parameters();
                let known = known.find(|(known, _)| *known == name);
                Ok(fate(known.map(|(_, known)| known == value)))
            }
            Wanted::Parameter {
                vhost, parameter, ..
            } => self.parameter(vhost, parameter),
            Wanted::Exchange {
                vhost,
                name,
                declaration,
            } => self.exchange(vhost, name, declaration),
            Wanted::Queue { vhost, declaration } => self.queue(vhost, declaration),
            Wanted::Binding {
                vhost,
                source,
                destination,
                kind,
                key,
                arguments,
            } => self.binding(vhost, [source, destination], *kind, key, arguments),
        }
    }

    fn known(&self, vhost: &str) -> Option<&Vhost> {
        self.topology.catalogue.vhost(vhost)
    }

    /// What comes to a vhost that is there, or is to be.
    fn coming(&mut self, vhost: &Arc<str>) -> Result<&mut Coming, Refusal> {
        let known = self.topology.catalogue.vhost(vhost);
        if known.is_none() && !self.vhosts.contains_key(vhost) {
            return Err(Refusal::NoVhost(vhost.clone()));
        }
        let entry = self.vhosts.entry_ref(vhost);
        Ok(entry.or_insert_with(|| Coming::to(known)))
    }

    fn need_user_and_vhost(&mut self, user: &Arc<str>, vhost: &Arc<str>) -> Result<(), Refusal> {
        self.coming(vhost)?;
        match self.users.contains(user) || self.topology.catalogue.user(user).is_some() {
            true => Ok(()),
            false => Err(Refusal::Because(format!("user '{user}' not found"))),
        }
    }

    fn user(&mut self, user: &User, limits: Option<UserLimits>) -> Verdict {
        check_name(&user.name, "user")?;
        self.users.insert(user.name.clone());
        let known = self.topology.catalogue.user(&user.name);
        Ok(fate(known.map(|known| {
            known.password == user.password
                && known.tags == user.tags
                && limits.is_none_or(|limits| limits == known.limits)
        })))
    }

    fn vhost(
        &mut self,
        name: &Arc<str>,
        metadata: &VhostMetadata,
        limits: Option<VhostLimits>,
    ) -> Verdict {
        check_name(name, "vhost")?;
        let known = self.topology.catalogue.vhost(name);
        if known.is_none() && !self.vhosts.contains_key(name) {
            let count = self.topology.catalogue.vhosts().count() + self.vhosts_new;
            self.broker.check_vhost_limit(name, count)?;
            self.vhosts_new += 1;
        }
        let entry = self.vhosts.entry_ref(name);
        let coming = entry.or_insert_with(|| Coming::to(known));
        coming.default_queue_type = metadata.default_queue_type;
        coming.limits = limits.unwrap_or(coming.limits);
        let default = self.broker.options.default_queue_kind;
        let filled = |metadata: &VhostMetadata| VhostMetadata {
            default_queue_type: metadata.default_queue_type.or(Some(default)),
            ..metadata.clone()
        };
        Ok(fate(known.map(|known| {
            filled(&known.metadata) == filled(metadata)
                && limits.is_none_or(|limits| limits == known.limits)
        })))
    }

    fn parameter(&mut self, vhost: &Arc<str>, parameter: &Parameter) -> Verdict {
        let coming = self.coming(vhost)?;
        if let Parameter::Limits(limits) = parameter {
            coming.limits = *limits;
        }
        let known = self.known(vhost);
        Ok(fate(known.and_then(|known| parameter.is_same_in(known))))
    }

    /// One that is there already stays what it is, whatever is said of it.
    fn exchange(
        &mut self,
        vhost: &Arc<str>,
        name: &Arc<str>,
        declaration: &ExchangeDeclaration,
    ) -> Verdict {
        let known = self.known(vhost);
        let is_known = known.is_some_and(|known| known.exchange(name).is_some());
        if self.coming(vhost)?.exchanges.contains_key(name) || is_known {
            return Ok(Fate::Unchanged);
        }
        let resource = Resource::exchange(name, vhost);
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(Refusal::Because("exchange name is not valid".to_owned()));
        }
        arguments::text_argument("alternate-exchange", resource, &declaration.arguments)?;
        let vhosts = self.topology.catalogue.vhosts();
        let count: usize = vhosts.map(Vhost::exchange_count).sum();
        let count = count + self.exchanges_new;
        self.broker.check_exchange_limit(count, resource)?;
        Router::new(declaration.kind, &declaration.arguments)
            .map_err(|error| Error::PreconditionFailed(error.to_string()))?;
        self.exchanges_new += 1;
        let exchanges = &mut self.coming(vhost)?.exchanges;
        exchanges.insert(name.clone(), declaration.kind);
        Ok(Fate::Created)
    }

    /// The same. A new one is given its type.
    fn queue(&mut self, vhost: &Arc<str>, declaration: &mut Declaration) -> Verdict {
        let name = declaration.name.clone();
        let known = self.known(vhost);
        let is_known = known.is_some_and(|known| known.queue(&name).is_some());
        let in_vhost = known.map_or(0, Vhost::queue_count);
        if self.coming(vhost)?.queues.contains_key(&name) || is_known {
            return Ok(Fate::Unchanged);
        }
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(Refusal::Because("queue name is not valid".to_owned()));
        }
        let (broker, on_node) = (self.broker, self.topology.queues.len() + self.queues_new);
        let coming = self.coming(vhost)?;
        let resource = Resource::queue(&name, vhost);
        let spec = QueueSpec {
            name: &name,
            durable: declaration.durable,
            exclusive: false,
            auto_delete: declaration.auto_delete,
            arguments: Arc::unwrap_or_clone(std::mem::take(&mut declaration.arguments)),
        };
        let kind = broker.queue_kind(coming.default_queue_type, resource, &spec)?;
        let counts = [in_vhost + coming.queues.len(), on_node];
        broker.check_queue_limits(coming.limits, counts, resource)?;
        arguments::check(resource, kind, spec.auto_delete, &spec.arguments)?;
        declaration.arguments = broker.with_type(spec.arguments, kind);
        coming.queues.insert(name.clone(), kind);
        self.queues_new += 1;
        Ok(Fate::Created)
    }

    fn binding(
        &mut self,
        vhost: &Arc<str>,
        [source, destination]: [&Arc<str>; 2],
        kind: ResourceKind,
        key: &[u8],
        arguments: &Table,
    ) -> Verdict {
        self.coming(vhost)?;
        if source.is_empty() {
            // The default exchange's bindings come with the queues.
            return Ok(Fate::Unchanged);
        }
        if destination.starts_with(reply_to::ADDRESS) {
            let text = "cannot bind or unbind to a volatile (direct reply-to) queue";
            return Err(Refusal::Because(text.to_owned()));
        }
        let from = self.exchange_kind(vhost, source);
        let from = from.ok_or_else(|| Resource::exchange(source, vhost).not_found())?;
        let to = Resource {
            kind,
            name: destination,
            vhost,
        };
        let queue = match kind {
            ResourceKind::Queue => self.queue_kind(vhost, destination).map(Some),
            ResourceKind::Exchange => self.exchange_kind(vhost, destination).map(|_| None),
        };
        let queue = queue.ok_or_else(|| to.not_found())?;
        from.check_binding(key, arguments, queue)
            .map_err(|error| Error::PreconditionFailed(error.to_string()))?;
        Ok(
            match self.has_binding(vhost, [source, destination], kind, key, arguments) {
                true => Fate::Unchanged,
                false => Fate::Created,
            },
        )
    }

    fn exchange_kind(&self, vhost: &Arc<str>, name: &Arc<str>) -> Option<exchange::Kind> {
        let known = self.known(vhost).and_then(|known| known.exchange(name));
        let coming = || self.vhosts.get(vhost)?.exchanges.get(name).copied();
        known.map(|it| it.declaration.kind).or_else(coming)
    }

    fn queue_kind(&self, vhost: &Arc<str>, name: &Arc<str>) -> Option<queue::Kind> {
        let known = self.known(vhost).and_then(|known| known.queue(name));
        let coming = || self.vhosts.get(vhost)?.queues.get(name).copied();
        known
            .map(|(_, declaration)| declaration.kind())
            .or_else(coming)
    }

    fn has_binding(
        &self,
        vhost: &str,
        [source, destination]: [&str; 2],
        kind: ResourceKind,
        key: &[u8],
        arguments: &Table,
    ) -> bool {
        let Some(vhost) = self.known(vhost) else {
            return false;
        };
        let source = vhost.exchange(source);
        let destination = destination_in(vhost, destination, kind);
        let ends = source.zip(destination);
        ends.is_some_and(|(source, destination)| {
            vhost.has_binding(&Binding {
                source: source.id,
                destination,
                key: key.into(),
                arguments: arguments.clone(),
            })
        })
    }
}

/// Names of AMQP are short strings.
const NAME_MAX: usize = 255;
