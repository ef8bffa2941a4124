//! Records of a queue that come into the log behind the queue's end.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod node;

use std::sync::Arc;

use leveret_broker::broker::Broker;
use leveret_broker::broker::definitions::QueueSpec;
use leveret_broker::channel::{Channel, Publish};
use leveret_broker::live_queue::Outbox;
use leveret_broker::message::Message;
use leveret_broker::options::Options;
use leveret_broker::publish::Batch;
use leveret_broker::storage::sim::SimDisk;
use leveret_broker::storage::{self, Log};
use leveret_broker::table::Table;
use leveret_broker::time::Timestamp;
use node::connect;

const NOW: Timestamp = Timestamp(1000);

fn start(disk: &SimDisk) -> (Arc<Broker>, Log) {
    node::open(disk, storage::Options::default(), Options::new(|| 7), NOW)
}

/// Routed before the queue's deletion and logged after it, as when another connection deletes it meanwhile.
fn publish_late(broker: &Broker) -> Outbox {
    let (principal, mailbox) = connect(broker);
    let spec = QueueSpec {
        name: "q",
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: Table::new(),
    };
    broker.declare_queue(&principal, spec, NOW).unwrap();
    let mut channel = Channel::open(broker, 1, principal.clone(), mailbox).unwrap();
    let mut batch = Batch::default();
    // The only property is delivery-mode 2.
    let publish = Publish {
        message: Message::new(b"", b"q", &[0x10, 0, 2], b"late"),
        mandatory: false,
    };
    channel.publish(broker, publish, NOW, &mut batch).unwrap();
    broker.delete_queue(&principal, "q", false, false).unwrap();
    let mut outbox = Outbox::default();
    broker.commit(&mut batch, NOW, &mut outbox, |_| {});
    outbox
}

#[test]
fn a_record_behind_its_queues_end_is_released() {
    let (broker, log) = start(&SimDisk::new(1));
    let mut outbox = publish_late(&broker);
    broker.finish(&mut outbox, NOW);
    broker.stop().unwrap();
    assert_eq!(log.stats().records, 0);
}

/// As after a crash before the release got to the disk.
#[test]
fn a_record_without_its_queue_is_released_at_start() {
    let disk = SimDisk::new(1);
    let (broker, log) = start(&disk);
    drop(publish_late(&broker));
    broker.stop().unwrap();
    assert_eq!(log.stats().records, 1);
    drop((broker, log));
    let (broker, log) = start(&disk);
    broker.stop().unwrap();
    assert_eq!(log.stats().records, 0);
}
