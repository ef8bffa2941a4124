//! What is counted between channels, exchanges and queues.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod node;

use leveret_broker::broker::definitions::BindingSpec;
use leveret_broker::error::ResourceKind;
use leveret_broker::options::RatesMode;
use leveret_broker::storage::sim::SimDisk;
use leveret_broker::table::Table;
use leveret_broker::time::Timestamp;

use node::{Node, TRANSIENT};

impl Node {
    fn counting(mode: RatesMode) -> Self {
        let disk = SimDisk::new(1);
        let node = Self::start_with(disk, Timestamp(1000), |options| options.rates_mode = mode);
        node.declare("a", &[]);
        node.declare("b", &[]);
        for queue in ["a", "b"] {
            let spec = BindingSpec {
                source: "amq.topic",
                destination: queue,
                destination_kind: ResourceKind::Queue,
                key: queue.as_bytes(),
                arguments: Table::new(),
            };
            let by = &node.principal;
            node.broker.bind(by, spec, node.now).unwrap();
        }
        node
    }

    fn check(&self, published: &[&str], routed: &[&str], delivered: &[&str]) {
        let sorted = |mut lines: Vec<String>| {
            lines.sort();
            lines
        };
        let lines = self.broker.list_publish_flows().into_iter().map(|flow| {
            let counters = flow.counters;
            format!(
                "{}: {} {}",
                flow.exchange, counters.publish, counters.drop_unroutable
            )
        });
        assert_eq!(sorted(lines.collect()), published);
        let lines = self.broker.list_routed_flows().into_iter();
        let lines = lines.map(|flow| {
            format!(
                "{} > {}: {}",
                flow.exchange,
                flow.queue.name(),
                flow.messages
            )
        });
        assert_eq!(sorted(lines.collect()), routed);
        let lines = self.broker.list_delivery_flows().into_iter().map(|flow| {
            let counters = flow.counters;
            format!("{}: {} {}", flow.queue.name(), counters.get, counters.ack)
        });
        assert_eq!(sorted(lines.collect()), delivered);
    }

    /// Of the only channel: publishes, those that went nowhere, gets, acknowledgements.
    fn totals(&self) -> [u64; 4] {
        let channel = &self.broker.list_channels()[0].counters;
        let (publishes, deliveries) = (channel.publishes, channel.deliveries());
        let dropped = publishes.drop_unroutable;
        [publishes.publish, dropped, deliveries.get, deliveries.ack]
    }

    fn use_all(&mut self) {
        self.publish("a", TRANSIENT, 0..5);
        self.publish_to("amq.topic", "a", |_| TRANSIENT.into(), 0..3);
        self.publish_to("amq.topic", "b", |_| TRANSIENT.into(), 0..1);
        self.publish_to("amq.topic", "nowhere", |_| TRANSIENT.into(), 0..2);
        let tags: Vec<u64> = (0..4).map(|_| self.take("a").unwrap().0).collect();
        self.acknowledge(&tags[..3]);
        self.get("b");
    }
}

#[test]
fn messages_are_counted_between_objects_if_that_is_wanted() {
    let mut node = Node::counting(RatesMode::Detailed);
    node.check(&[], &[], &[]);
    node.use_all();
    node.check(
        &[": 5 0", "amq.topic: 6 2"],
        &[" > a: 5", "amq.topic > a: 3", "amq.topic > b: 1"],
        &["a: 4 3", "b: 1 1"],
    );
    assert_eq!(node.totals(), [11, 2, 5, 4]);

    // What is gone is not told of, and what was counted of it is still in the sums.
    let by = &node.principal;
    node.broker.delete_queue(by, "b", false, false).unwrap();
    node.publish("a", TRANSIENT, 0..1);
    node.check(
        &[": 6 0", "amq.topic: 6 2"],
        &[" > a: 6", "amq.topic > a: 3"],
        &["a: 4 3"],
    );
    assert_eq!(node.totals(), [12, 2, 5, 4]);
}

#[test]
fn otherwise_only_sums_are_counted() {
    let mut node = Node::counting(RatesMode::Basic);
    node.use_all();
    node.check(&[], &[], &[]);
    assert_eq!(node.totals(), [11, 2, 5, 4]);
}

/// A channel that goes through queues, as those of replies do, keeps its sums and tells the last queues apart.
#[test]
fn a_channel_tells_so_many_queues_apart() {
    let mut node = Node::counting(RatesMode::Detailed);
    for number in 0..2000 {
        let name = format!("q{number}");
        node.declare(&name, &[]);
        node.publish(&name, TRANSIENT, 0..1);
        node.get(&name).unwrap();
        let by = &node.principal;
        node.broker.delete_queue(by, &name, false, false).unwrap();
    }
    assert_eq!(node.totals(), [2000, 0, 2000, 2000]);
    node.publish("a", TRANSIENT, 0..1);
    node.get("a").unwrap();
    node.check(&[": 2001 0"], &[" > a: 1"], &["a: 1 1"]);
}
