//! Random changes of definitions against a naive model, with restarts in between.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

use std::sync::Arc;

use std::collections::{BTreeMap, BTreeSet};

use leveret_broker::catalogue::{
    Binding, Catalogue, Changes, Command, Definition, ExchangeDeclaration, VhostMetadata,
};
use leveret_broker::exchange::{Destination, Kind};
use leveret_broker::ids::VhostId;
use leveret_broker::live_queue::Declaration;
use leveret_broker::table::Table;
use proptest::prelude::*;

/// Names are small numbers, so that most steps meet something that is there.
#[derive(Debug, Clone)]
enum Step {
    Exchange { name: u8, durable: bool },
    Queue { name: u8, durable: bool },
    Bind { from: u8, to: u8 },
    Unbind { from: u8, to: u8 },
    DeleteExchange(u8),
    DeleteQueue(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..4_u8;
    prop_oneof![
        (name(), any::<bool>()).prop_map(|(name, durable)| Step::Exchange { name, durable }),
        (name(), any::<bool>()).prop_map(|(name, durable)| Step::Queue { name, durable }),
        (name(), name()).prop_map(|(from, to)| Step::Bind { from, to }),
        (name(), name()).prop_map(|(from, to)| Step::Unbind { from, to }),
        name().prop_map(Step::DeleteExchange),
        name().prop_map(Step::DeleteQueue),
        Just(Step::Restart),
    ]
}

/// What there should be: names with their durable flags, and bindings by names.
#[derive(Default)]
struct Model {
    exchanges: BTreeMap<u8, bool>,
    queues: BTreeMap<u8, bool>,
    bindings: BTreeSet<(u8, u8)>,
}

impl Model {
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Exchange { name, durable } => {
                self.exchanges.entry(name).or_insert(durable);
            }
            Step::Queue { name, durable } => {
                self.queues.entry(name).or_insert(durable);
            }
            Step::Bind { from, to } => {
                self.bindings.insert((from, to));
            }
            Step::Unbind { from, to } => {
                self.bindings.remove(&(from, to));
            }
            Step::DeleteExchange(name) => {
                self.exchanges.remove(&name);
            }
            Step::DeleteQueue(name) => {
                self.queues.remove(&name);
            }
            Step::Restart => {
                self.exchanges.retain(|_, durable| *durable);
                self.queues.retain(|_, durable| *durable);
            }
        }
        let (exchanges, queues) = (&self.exchanges, &self.queues);
        self.bindings
            .retain(|(from, to)| exchanges.contains_key(from) && queues.contains_key(to));
    }
}

/// The catalogue, and the log that its changes have left.
struct Node {
    catalogue: Catalogue,
    vhost: VhostId,
    log: BTreeMap<(u8, u64), Vec<u8>>,
}

impl Node {
    fn new() -> Self {
        let mut node = Self {
            catalogue: Catalogue::default(),
            vhost: VhostId(0),
            log: BTreeMap::new(),
        };
        let changes = node.catalogue.apply(Command::AddVhost {
            name: "/".into(),
            metadata: VhostMetadata::default(),
        });
        node.note(changes.unwrap());
        node.vhost = node.catalogue.vhost("/").unwrap().id;
        node
    }

    fn note(&mut self, changes: Changes) {
        for definition in changes.defined {
            let key = (definition.table, definition.id);
            self.log.insert(key, definition.bytes);
        }
        for key in changes.undefined {
            self.log.remove(&key);
        }
    }

    fn binding(&self, from: u8, to: u8) -> Option<Binding> {
        let vhost = self.catalogue.vhost("/")?;
        Some(Binding {
            source: vhost.exchange(&exchange_name(from))?.id,
            destination: Destination::Queue(vhost.queue(&queue_name(to))?.0),
            key: b"key".as_slice().into(),
            arguments: Table::new(),
        })
    }

    fn command(&self, step: &Step) -> Option<Command> {
        let vhost = self.vhost;
        let there = self.catalogue.vhost("/")?;
        Some(match *step {
            Step::Exchange { name, durable } => Command::DeclareExchange {
                vhost,
                name: exchange_name(name).into(),
                declaration: ExchangeDeclaration {
                    kind: Kind::Direct,
                    durable,
                    auto_delete: false,
                    internal: false,
                    arguments: Table::new(),
                    declared_by: Some("ann".into()),
                },
            },
            Step::Queue { name, durable } => Command::DeclareQueue {
                vhost,
                declaration: Arc::new(Declaration {
                    name: queue_name(name).into(),
                    durable,
                    auto_delete: false,
                    exclusive: None,
                    arguments: Arc::default(),
                    declared_by: Some("ann".into()),
                }),
            },
            Step::Bind { from, to } => Command::Bind {
                vhost,
                binding: self.binding(from, to)?,
            },
            Step::Unbind { from, to } => Command::Unbind {
                vhost,
                binding: self.binding(from, to)?,
            },
            Step::DeleteExchange(name) => Command::DeleteExchange {
                vhost,
                id: there.exchange(&exchange_name(name))?.id,
            },
            Step::DeleteQueue(name) => Command::DeleteQueue {
                vhost,
                id: there.queue(&queue_name(name))?.0,
                name: queue_name(name).into(),
            },
            Step::Restart => return None,
        })
    }

    fn apply(&mut self, step: &Step) {
        if matches!(step, Step::Restart) {
            let log = self.log.iter();
            let definitions = log.map(|(&(table, id), bytes)| Definition {
                table,
                id,
                bytes: bytes.clone(),
            });
            self.catalogue = Catalogue::restore(definitions.collect()).unwrap();
        } else if let Some(command) = self.command(step)
            && let Ok(changes) = self.catalogue.apply(command)
        {
            self.note(changes);
        }
    }

    fn compare(&self, model: &Model) {
        let vhost = self.catalogue.vhost("/").unwrap();
        for name in 0..4 {
            let exchange = vhost.exchange(&exchange_name(name));
            let durable = exchange.map(|exchange| exchange.declaration.durable);
            assert_eq!(durable, model.exchanges.get(&name).copied());
            let queue = vhost.queue(&queue_name(name));
            let durable = queue.map(|(_, declaration)| declaration.durable);
            assert_eq!(durable, model.queues.get(&name).copied());
            let bound = model.bindings.iter().filter(|(from, _)| *from == name);
            let bound = bound.count();
            assert_eq!(exchange.map_or(0, |exchange| exchange.router.len()), bound);
        }
    }
}

fn exchange_name(name: u8) -> String {
    format!("x{name}")
}

fn queue_name(name: u8) -> String {
    format!("q{name}")
}

proptest! {
    #[test]
    fn definitions_are_what_the_model_says(steps in prop::collection::vec(step(), 1..60)) {
        let (mut node, mut model) = (Node::new(), Model::default());
        for step in &steps {
            node.apply(step);
            model.apply(step);
            node.compare(&model);
        }
    }
}
