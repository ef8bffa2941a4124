//! Definitions that are taken in while the power goes: all of them are there afterwards, or none.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod node;

use std::sync::Arc;
use std::time::Duration;

use leveret_broker::broker::Broker;
use leveret_broker::broker::administration::{Detail, Wanted};
use leveret_broker::broker::listing::BindingsOf;
use leveret_broker::catalogue::{ExchangeDeclaration, VhostMetadata};
use leveret_broker::error::ResourceKind;
use leveret_broker::exchange::Kind;
use leveret_broker::live_queue::Declaration;
use leveret_broker::options::Options;
use leveret_broker::storage::sim::{Fault, SimDisk};
use leveret_broker::storage::{self, Log};
use leveret_broker::table::Table;
use leveret_broker::time::Timestamp;

const NOW: Timestamp = Timestamp(1000);
const QUEUES: usize = 300;

fn start(disk: &SimDisk) -> (Arc<Broker>, Log) {
    let storage = storage::Options {
        lazy: Duration::ZERO,
        ..storage::Options::default()
    };
    node::open(disk, storage, Options::new(|| 7), NOW)
}

/// A vhost with an exchange, and queues that are bound to it.
fn wanted() -> Vec<Wanted> {
    let vhost: Arc<str> = "v".into();
    let mut all = vec![
        Wanted::Vhost {
            name: vhost.clone(),
            metadata: VhostMetadata::default(),
            limits: None,
        },
        Wanted::Exchange {
            vhost: vhost.clone(),
            name: "x".into(),
            declaration: ExchangeDeclaration {
                kind: Kind::Fanout,
                durable: true,
                auto_delete: false,
                internal: false,
                arguments: Table::new(),
                declared_by: None,
            },
        },
    ];
    for number in 0..QUEUES {
        let name: Arc<str> = format!("q{number}").into();
        all.push(Wanted::Queue {
            vhost: vhost.clone(),
            declaration: Declaration {
                name: name.clone(),
                durable: true,
                auto_delete: false,
                exclusive: None,
                arguments: Arc::default(),
                declared_by: None,
            },
        });
        all.push(Wanted::Binding {
            vhost: vhost.clone(),
            source: "x".into(),
            destination: name,
            kind: ResourceKind::Queue,
            key: Box::default(),
            arguments: Table::new(),
        });
    }
    all
}

/// Queues, and bindings of the exchange.
fn counts(broker: &Broker) -> (usize, usize) {
    let bindings = broker.list_bindings(BindingsOf::Vhost("v"));
    let own = bindings.iter().filter(|it| &*it.source == "x").count();
    (broker.list_queues(Some("v")).len(), own)
}

#[test]
fn an_import_is_one_thing_to_the_log() {
    let mut seen = [0, 0];
    for changes in 0..12 {
        let disk = SimDisk::new(changes);
        let (broker, log) = start(&disk);
        log.wait(broker.durable()).unwrap();
        disk.fail_after(changes, Fault::PowerCut);
        let report = broker.import(wanted(), Detail::Counts, NOW).unwrap();
        assert_eq!(counts(&broker), (QUEUES, QUEUES));
        let told = log.wait(report.durable_at.unwrap()).is_ok();
        drop((broker, log));
        disk.cut_power();
        disk.heal();
        disk.power_on();
        let (broker, _log) = start(&disk);
        let is_there = broker.vhost_info("v").is_some();
        let expected = if is_there { (QUEUES, QUEUES) } else { (0, 0) };
        assert_eq!(counts(&broker), expected, "after {changes} changes");
        assert!(is_there || !told, "what was told is there");
        seen[usize::from(is_there)] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}: both ends were seen");
}
