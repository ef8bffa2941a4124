//! Policies and runtime parameters.
//!
//! Policies, operator policies and the limits of vhosts are parameters to RabbitMQ's tools. Here the catalogue keeps each
//! as what it is, and this page translates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::{Outcome, Refused, check_name};
use crate::broker::{Broker, Topology};
use crate::catalogue::{Command, Vhost, VhostLimits};
use crate::exchange::printed;
use crate::ids::VhostId;
use crate::live_queue::Outbox;
use crate::policies::{ApplyTo, Policy, Scope, check_definition};
use crate::shovel::{self, Shovel};
use crate::table::{Table, Value};
use crate::time::Timestamp;
use crate::users::Pattern;

/// Components of parameters that are kept for whoever asks for them.
const COMPONENTS: [&str; 3] = [
    "federation-upstream",
    "federation-upstream-set",
    shovel::COMPONENT,
];

/// A policy as an operator writes it.
#[derive(Debug)]
pub struct PolicySpec<'a> {
    pub name: &'a str,
    pub pattern: &'a str,
    /// `all` is the default.
    pub apply_to: &'a str,
    /// 0 is the default.
    pub priority: i64,
    pub definition: Table,
}

/// A parameter of a vhost as the catalogue keeps it, after all checks.
#[derive(Debug)]
pub enum Parameter {
    Policy(Scope, Policy),
    Limits(VhostLimits),
    Other {
        component: Arc<str>,
        name: Arc<str>,
        value: Value,
    },
}

/// A policy in a listing.
#[derive(Debug, Clone)]
pub struct PolicyInfo {
    pub vhost: Arc<str>,
    pub policy: Arc<Policy>,
}

/// A parameter of a vhost in a listing.
#[derive(Debug, Clone)]
pub struct ParameterInfo {
    pub vhost: Arc<str>,
    pub component: Arc<str>,
    pub name: Arc<str>,
    pub value: Value,
}

/// Tells one task that parameters of vhosts have changed.
#[derive(Debug, Default)]
pub(crate) struct ParameterWatch {
    changes: AtomicU64,
    waiting: Mutex<Option<Waker>>,
}

impl ParameterWatch {
    /// Whether the command is one that the task wants to know of is seen before it is applied, which takes it.
    pub(crate) fn concerns(command: &Command) -> bool {
        matches!(
            command,
            Command::PutParameter { .. }
                | Command::DeleteParameter { .. }
                | Command::DeleteVhost { .. }
        )
    }

    pub(crate) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::Release);
        if let Some(waker) = self.waiting.lock().take() {
            waker.wake();
        }
    }
}

impl Broker {
    /// Waits until there have been other changes of parameters, or of the vhosts that have them, than those `seen`. Only one
    /// task can wait.
    pub fn poll_parameters(&self, seen: &mut u64, context: &mut Context<'_>) -> Poll<()> {
        // First: a change after the look below finds it.
        *self.parameters.waiting.lock() = Some(context.waker().clone());
        let changes = self.parameters.changes.load(Ordering::Acquire);
        if changes == *seen {
            return Poll::Pending;
        }
        *seen = changes;
        Poll::Ready(())
    }

    /// The parameters of one component, by vhost and name.
    pub fn parameters_of(&self, component: &str) -> Vec<ParameterInfo> {
        let mut all = self.list_parameters(None);
        all.retain(|it| *it.component == *component);
        all
    }

    /// A new policy, or another one of the same name. Queues and exchanges follow it at once.
    pub fn set_policy(
        &self,
        vhost: &str,
        scope: Scope,
        spec: PolicySpec<'_>,
        now: Timestamp,
    ) -> Outcome {
        let policy = spec.checked(scope)?;
        self.change_policies(vhost, now, |vhost| Command::PutPolicy {
            vhost,
            scope,
            policy,
        })
    }

    /// Takes a policy away.
    pub fn clear_policy(&self, vhost: &str, scope: Scope, name: &str, now: Timestamp) -> Outcome {
        self.change_policies(vhost, now, |vhost| Command::DeletePolicy {
            vhost,
            scope,
            name: name.into(),
        })
    }

    fn change_policies(
        &self,
        vhost: &str,
        now: Timestamp,
        command: impl FnOnce(VhostId) -> Command,
    ) -> Outcome {
        let mut outbox = Outbox::default();
        let mut topology = self.topology.write();
        let vhost = Self::vhost_id(&topology, vhost)?;
        let (changes, durable_at) = self.apply(&mut topology, command(vhost), None)?;
        self.configure_queues(&topology, vhost, &changes, now, &mut outbox);
        drop(topology);
        self.finish(&mut outbox, now);
        Ok(durable_at)
    }

    /// The policies of a vhost (`None`: of all), by vhost and name.
    pub fn list_policies(&self, scope: Scope, vhost: Option<&str>) -> Vec<PolicyInfo> {
        let topology = self.topology.read();
        let of = |vhost: &Vhost| -> Vec<PolicyInfo> {
            let policies = vhost.policies(scope).cloned();
            let info = |policy| PolicyInfo {
                vhost: vhost.name.clone(),
                policy,
            };
            policies.map(info).collect()
        };
        topology.vhosts(vhost).flat_map(of).collect()
    }

    /// A parameter of a vhost, new or replaced.
    pub fn set_parameter(
        &self,
        vhost: &str,
        component: &str,
        name: &str,
        value: Value,
        now: Timestamp,
    ) -> Outcome {
        match Parameter::read(component, name, value)? {
            Parameter::Policy(scope, policy) => {
                self.change_policies(vhost, now, |vhost| Command::PutPolicy {
                    vhost,
                    scope,
                    policy,
                })
            }
            parameter => {
                let topology = &mut self.topology.write();
                let vhost = Self::vhost_id(topology, vhost)?;
                Ok(self.apply(topology, parameter.command(vhost), None)?.1)
            }
        }
    }

    /// Takes a parameter of a vhost away.
    pub fn clear_parameter(
        &self,
        vhost: &str,
        component: &str,
        name: &str,
        now: Timestamp,
    ) -> Outcome {
        match component {
            "policy" => Err(Refused::Invalid(
                "policies may not be cleared using this method".to_owned(),
            )),
            "operator_policy" => self.clear_policy(vhost, Scope::Operator, name, now),
            "vhost-limits" => self.set_vhost_limits(vhost, VhostLimits::default()),
            _ => {
                let topology = &mut self.topology.write();
                let vhost = Self::vhost_id(topology, vhost)?;
                let command = Command::DeleteParameter {
                    vhost,
                    component: component.into(),
                    name: name.into(),
                };
                Ok(self.apply(topology, command, None)?.1)
            }
        }
    }

    /// The parameters of a vhost (`None`: of all) but its policies, by vhost, component and name.
    pub fn list_parameters(&self, vhost: Option<&str>) -> Vec<ParameterInfo> {
        let topology = self.topology.read();
        let mut list: Vec<_> = topology.vhosts(vhost).flat_map(parameters_of).collect();
        list.sort_by(|a, b| {
            (&a.vhost, &a.component, &a.name).cmp(&(&b.vhost, &b.component, &b.name))
        });
        list
    }

    /// A parameter of the node, new or replaced.
    pub fn set_global_parameter(&self, name: &str, value: Value) -> Outcome {
        check_name(name, "parameter")?;
        if name == "cluster_name" && value.as_str().is_none() {
            return Err(Refused::Invalid("cluster_name must be a string".to_owned()));
        }
        let name = name.into();
        self.administer(Command::PutGlobalParameter { name, value })
    }

    /// Takes a parameter of the node away.
    pub fn clear_global_parameter(&self, name: &str) -> Outcome {
        self.administer(Command::DeleteGlobalParameter { name: name.into() })
    }

    /// The parameters of the node, by name. The name of the cluster is always one.
    pub fn list_global_parameters(&self) -> Vec<(Arc<str>, Value)> {
        let mut list = self.stored_global_parameters();
        if !list.iter().any(|(name, _)| &**name == "cluster_name") {
            let configured = self.options.cluster_name.as_bytes();
            list.push(("cluster_name".into(), Value::String(configured.into())));
            list.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        list
    }

    /// Those that operators have set, by name.
    pub fn stored_global_parameters(&self) -> Vec<(Arc<str>, Value)> {
        let topology = self.topology.read();
        let stored = topology.catalogue.global_parameters();
        stored
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// `cluster_name`: what an operator has set, or the configuration.
    pub fn cluster_name(&self) -> String {
        let topology = self.topology.read();
        topology
            .cluster_name()
            .unwrap_or(&self.options.cluster_name)
            .to_owned()
    }
}

impl Topology {
    fn cluster_name(&self) -> Option<&str> {
        let mut parameters = self.catalogue.global_parameters();
        let (_, name) = parameters.find(|(name, _)| &***name == "cluster_name")?;
        name.as_str()
    }
}

fn parameters_of(vhost: &Vhost) -> Vec<ParameterInfo> {
    let info = |component: Arc<str>, name: Arc<str>, value| ParameterInfo {
        vhost: vhost.name.clone(),
        component,
        name,
        value,
    };
    let operator = vhost.policies(Scope::Operator);
    let policies = operator.map(|policy| {
        info(
            "operator_policy".into(),
            policy.name.clone(),
            as_value(policy),
        )
    });
    let limits = limits_as_value(vhost.limits);
    let limits = limits.map(|limits| info("vhost-limits".into(), "limits".into(), limits));
    let stored = vhost.parameters();
    let stored =
        stored.map(|(component, name, value)| info(component.clone(), name.clone(), value.clone()));
    policies.chain(limits).chain(stored).collect()
}

impl PolicySpec<'_> {
    /// The policy that it stands for.
    pub fn checked(self, scope: Scope) -> Result<Policy, Refused> {
        check_name(self.name, "policy")?;
        let apply_to = ApplyTo::from_name(self.apply_to).ok_or_else(|| {
            Refused::validation(&format!(
                "apply-to '{}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', \
                 'exchanges', or 'all'",
                self.apply_to
            ))
        })?;
        let pattern = Pattern::checked(self.pattern).map_err(|error| {
            Refused::validation(&format!(
                "pattern should be regular expression but is invalid: {error}"
            ))
        })?;
        check_definition(scope, &self.definition).map_err(|why| Refused::validation(&why))?;
        Ok(Policy {
            name: self.name.into(),
            pattern,
            apply_to,
            priority: self.priority,
            definition: self.definition,
        })
    }
}

impl Parameter {
    /// A parameter that an operator writes, if there is such a component and the value is right for it.
    pub fn read(component: &str, name: &str, value: Value) -> Result<Self, Refused> {
        check_name(name, "parameter")?;
        match component {
            "policy" => Err(Refused::Invalid(
                "policies may not be set using this method".to_owned(),
            )),
            "operator_policy" => {
                let policy = policy_in(name, &value)?.checked(Scope::Operator)?;
                Ok(Self::Policy(Scope::Operator, policy))
            }
            "vhost-limits" => Ok(Self::Limits(limits_in(name, &value)?)),
            known if COMPONENTS.contains(&known) => {
                if known == shovel::COMPONENT {
                    Shovel::read(name, &value).map_err(|why| Refused::validation(&why))?;
                }
                Ok(Self::Other {
                    component: component.into(),
                    name: name.into(),
                    value,
                })
            }
            unknown => Err(Refused::validation(&format!(
                "component {unknown} not found"
            ))),
        }
    }

    /// What makes it so in a vhost.
    pub(super) fn command(self, vhost: VhostId) -> Command {
        match self {
            Self::Policy(scope, policy) => Command::PutPolicy {
                vhost,
                scope,
                policy,
            },
            Self::Limits(limits) => Command::PutVhostLimits { vhost, limits },
            Self::Other {
                component,
                name,
                value,
            } => Command::PutParameter {
                vhost,
                component,
                name,
                value,
            },
        }
    }

    /// Whether it is what the vhost has by this name; `None`: that has nothing.
    pub(super) fn is_same_in(&self, vhost: &Vhost) -> Option<bool> {
        match self {
            Self::Policy(scope, policy) => {
                let known = vhost.policy(*scope, &policy.name);
                known.map(|known| **known == *policy)
            }
            Self::Limits(limits) => limits_as_value(vhost.limits).map(|_| vhost.limits == *limits),
            Self::Other {
                component,
                name,
                value,
            } => vhost.parameter(component, name).map(|known| known == value),
        }
    }
}

/// An operator policy that comes as a parameter.
fn policy_in<'a>(name: &'a str, value: &'a Value) -> Result<PolicySpec<'a>, Refused> {
    let missing = |key: &str| Refused::validation(&format!("Key '{key}' not found in {name}"));
    let table = value.as_table().ok_or_else(|| missing("pattern"))?;
    let pattern = table.get("pattern").and_then(Value::as_str);
    let definition = table.get("definition").and_then(Value::as_table);
    Ok(PolicySpec {
        name,
        pattern: pattern.ok_or_else(|| missing("pattern"))?,
        apply_to: table
            .get("apply-to")
            .and_then(Value::as_str)
            .unwrap_or("all"),
        priority: table.get("priority").and_then(Value::as_i64).unwrap_or(0),
        definition: definition.ok_or_else(|| missing("definition"))?.clone(),
    })
}

fn as_value(policy: &Policy) -> Value {
    let text = |text: &str| Value::String(text.as_bytes().into());
    let fields = [
        ("pattern", text(policy.pattern.source())),
        ("definition", Value::Table(policy.definition.clone())),
        ("priority", Value::I64(policy.priority)),
        ("apply-to", text(policy.apply_to.name())),
    ];
    Value::Table(
        fields
            .map(|(name, value)| (Box::from(name), value))
            .into_iter()
            .collect(),
    )
}

fn limits_in(name: &str, value: &Value) -> Result<VhostLimits, Refused> {
    let mut limits = VhostLimits::default();
    for (key, value) in value.as_table().into_iter().flat_map(Table::iter) {
        let place = match key {
            "max-connections" => &mut limits.connections_max,
            "max-queues" => &mut limits.queues_max,
            _ => {
                let strangers = format!("[{{<<{key:?}>>,{}}}]", printed(value));
                return Err(Refused::validation(&format!(
                    "Unrecognised terms {strangers} in {name}"
                )));
            }
        };
        let number = value.as_i64().ok_or_else(|| {
            let value = printed(value);
            Refused::validation(&format!("{key} should be an integer, actually was {value}"))
        })?;
        *place = Some(number);
    }
    Ok(limits)
}

fn limits_as_value(limits: VhostLimits) -> Option<Value> {
    let fields = [
        ("max-connections", limits.connections_max),
        ("max-queues", limits.queues_max),
    ];
    let table: Table = fields
        .into_iter()
        .filter_map(|(name, limit)| Some((Box::from(name), Value::I64(limit?))))
        .collect();
    (!table.is_empty()).then_some(Value::Table(table))
}
