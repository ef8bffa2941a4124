//! Exchanges: declare, look for, delete (X02 to X09).

use leveret_storage::Lsn;

use super::equivalence::{equivalent_argument, inequivalent};
use super::{RESERVED, refuse_default_exchange, reserved_name};
use crate::arguments;
use crate::broker::{Broker, Topology};
use crate::catalogue::{Command, ExchangeDeclaration, Vhost};
use crate::error::{Error, Resource, Result};
use crate::exchange::{self, Router};
use crate::principal::Principal;
use crate::table::Table;
use crate::users::Access;

/// An exchange as a client declares it.
#[derive(Debug)]
pub struct ExchangeSpec<'a> {
    pub name: &'a str,
    pub kind: &'a str,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: Table,
}

impl Broker {
    /// Declares an exchange, or checks that it is there as asked for.
    pub fn declare_exchange(&self, by: &Principal, spec: ExchangeSpec<'_>) -> Result<Option<Lsn>> {
        let mut topology = self.topology.write();
        let resource = Resource::exchange(spec.name, &by.vhost_name);
        let kind = exchange::Kind::from_name(spec.kind).ok_or_else(|| {
            Error::PreconditionFailed(format!("unknown exchange type '{}'", spec.kind))
        })?;
        refuse_default_exchange(spec.name)?;
        topology.check(by, Access::Configure, resource)?;
        let declaration = ExchangeDeclaration {
            kind,
            durable: spec.durable,
            auto_delete: spec.auto_delete,
            internal: spec.internal,
            arguments: spec.arguments,
            declared_by: Some(by.user.clone()),
        };
        if let Some(existing) = topology.vhost(by)?.exchange(spec.name) {
            return equivalent_exchange(resource, &existing.declaration, &declaration)
                .map(|()| self.known_at().filter(|_| declaration.durable));
        }
        if spec.name.starts_with(RESERVED) {
            return Err(reserved_name(resource));
        }
        self.check_alternate(&topology, by, resource, &declaration.arguments)?;
        let count = topology.catalogue.vhosts().map(Vhost::exchange_count).sum();
        self.check_exchange_limit(count, resource)?;
        Router::new(kind, &declaration.arguments)
            .map_err(|error| Error::PreconditionFailed(error.to_string()))?;
        let command = Command::DeclareExchange {
            vhost: by.vhost,
            name: spec.name.into(),
            declaration,
        };
        self.change(&mut topology, command, by)
    }

    /// Whether an exchange is there (404 if not).
    pub fn check_exchange(&self, by: &Principal, name: &str) -> Result<()> {
        refuse_default_exchange(name)?;
        let topology = self.topology.read();
        let resource = Resource::exchange(name, &by.vhost_name);
        topology.check_any(by, resource)?;
        topology
            .vhost(by)?
            .exchange(name)
            .map(drop)
            .ok_or_else(|| resource.not_found())
    }

    /// Deletes an exchange; one that is not there counts as deleted.
    pub fn delete_exchange(
        &self,
        by: &Principal,
        name: &str,
        if_unused: bool,
    ) -> Result<Option<Lsn>> {
        refuse_default_exchange(name)?;
        let resource = Resource::exchange(name, &by.vhost_name);
        if name.starts_with(RESERVED) {
            return Err(Error::AccessRefused(format!(
                "deletion of system {resource} not allowed"
            )));
        }
        let mut topology = self.topology.write();
        topology.check(by, Access::Configure, resource)?;
        let Some(exchange) = topology.vhost(by)?.exchange(name) else {
            return Ok(None);
        };
        if if_unused && !exchange.router.is_empty() {
            return Err(Error::PreconditionFailed(format!("{resource} in use")));
        }
        let command = Command::DeleteExchange {
            vhost: by.vhost,
            id: exchange.id,
        };
        self.change(&mut topology, command, by)
    }

    /// `count`: how many exchanges the node has.
    pub(in crate::broker) fn check_exchange_limit(
        &self,
        count: usize,
        resource: Resource<'_>,
    ) -> Result<()> {
        match self.options.exchanges_max {
            Some(limit) if count >= limit => Err(Error::PreconditionFailed(format!(
                "cannot declare {resource}: exchange limit of {limit} is reached"
            ))),
            _ => Ok(()),
        }
    }

    /// X09: unroutable messages will be published to the alternate exchange.
    fn check_alternate(
        &self,
        topology: &Topology,
        by: &Principal,
        resource: Resource<'_>,
        arguments: &Table,
    ) -> Result<()> {
        let name = "alternate-exchange";
        let Some(alternate) = arguments::text_argument(name, resource, arguments)? else {
            return Ok(());
        };
        topology.check(by, Access::Read, resource)?;
        topology.check(
            by,
            Access::Write,
            Resource::exchange(alternate, &by.vhost_name),
        )
    }
}

/// X04: 406 unless both declarations mean the same exchange.
fn equivalent_exchange(
    resource: Resource<'_>,
    current: &ExchangeDeclaration,
    received: &ExchangeDeclaration,
) -> Result<()> {
    let differs = |name: &str, received: &str, current: &str| {
        (received != current).then(|| inequivalent(name, resource, received, current))
    };
    let flag = |flag: bool| if flag { "true" } else { "false" };
    let difference = differs("type", received.kind.name(), current.kind.name())
        .or_else(|| differs("durable", flag(received.durable), flag(current.durable)))
        .or_else(|| {
            differs(
                "auto_delete",
                flag(received.auto_delete),
                flag(current.auto_delete),
            )
        })
        .or_else(|| differs("internal", flag(received.internal), flag(current.internal)));
    match difference {
        Some(error) => Err(error),
        None => equivalent_argument(
            resource,
            "alternate-exchange",
            current.arguments.get("alternate-exchange"),
            received.arguments.get("alternate-exchange"),
        ),
    }
}
