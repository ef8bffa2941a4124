//! Space on disk comes back while a node runs, however its messages go: at any time it takes at most 2.5 times what is left
//! of them, and a constant.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod node;

use leveret_broker::broker::Broker;
use leveret_broker::paging::{Pager, Turn};
use leveret_broker::storage::sim::SimDisk;
use leveret_broker::table::{Table, Value};
use leveret_broker::time::Timestamp;
use node::{FILE_BYTES, Node, PERSISTENT};

/// Log files: slack, spares, the active one, and the one that is cleaned. Segments: slack, the one that is written to, and
/// those that are on their way out.
const CONSTANT: u64 = 13 * FILE_BYTES;
const BODY: usize = 4000;
/// One and a half times what the constant has room for: none of it can hide there.
const MESSAGES: u32 = 5_000;
/// Messages between two looks at the disk.
const RUN: u32 = 250;

/// A node with a queue `q`.
struct Space {
    node: Node,
    pager: Pager,
    /// Messages that are left.
    live: u32,
}

impl Space {
    fn new(arguments: &[(&str, Value)]) -> Self {
        let mut node = Node::start(SimDisk::new(1), Timestamp(1000));
        node.body_bytes = BODY;
        let mut space = Self {
            pager: Pager::new(node.broker.clone()),
            node,
            live: 0,
        };
        space.declare("q", arguments);
        space
    }

    /// The same, full.
    fn filled(arguments: &[(&str, Value)]) -> Self {
        let mut space = Self::new(arguments);
        space.fill(|_| PERSISTENT.into());
        space
    }

    fn declare(&mut self, name: &str, arguments: &[(&str, Value)]) {
        let arguments = arguments.iter();
        let table = arguments.map(|(key, value)| (Box::from(*key), value.clone()));
        self.node.declare_as(name, true, table.collect());
    }

    fn fill(&mut self, properties: impl Fn(u32) -> Vec<u8>) {
        for start in (0..MESSAGES).step_by(RUN as usize) {
            let numbers = start..start + RUN;
            self.node.publish_to("", "q", &properties, numbers);
            self.live += RUN;
            self.look();
        }
        assert!(
            self.node.log.stats().pages > 0,
            "most of them are paged out"
        );
    }

    /// Gets and acknowledges so many.
    fn pass(&mut self, queue: &str, count: u32) {
        for n in 1..=count {
            self.node.get(queue).unwrap();
            self.live -= 1;
            if n % RUN == 0 {
                self.look();
            }
        }
    }

    /// Lets the pager and the log's writer do what they do beside all else, and looks at what they leave.
    fn look(&mut self) {
        while self.pager.turn() == Turn::More {}
        while self.pager.clean().unwrap() {
            self.node.sync();
        }
        self.node.sync();
        self.check();
    }

    fn check(&self) {
        let used = self.node.disk.used_bytes();
        let live = u64::from(self.live) * BODY as u64;
        assert!(
            used <= live * 5 / 2 + CONSTANT,
            "{used} bytes for {live} of {} messages: {:?}",
            self.live,
            self.node.log.stats()
        );
    }

    /// Lets the queues do what is due by now.
    fn tick(&mut self) {
        let (broker, now): (&Broker, _) = (&self.node.broker, self.node.now);
        while broker.tick(now).is_some_and(|next| next <= now) {}
    }

    /// It may take some turns when all has gone at once.
    fn settle(&mut self) {
        let mut before = u64::MAX;
        while self.node.disk.used_bytes() < before {
            before = self.node.disk.used_bytes();
            // Only what is durable is known to be gone.
            self.node.sync();
            while self.pager.clean().unwrap() {
                self.node.sync();
            }
        }
        self.check();
    }
}

#[test]
fn consumed_in_order() {
    let mut space = Space::filled(&[]);
    space.pass("q", MESSAGES);
    space.settle();
    assert_eq!(space.node.log.stats().records, 0);
}

#[test]
fn acknowledged_out_of_order() {
    let mut space = Space::filled(&[]);
    let tags: Vec<u64> = (0..MESSAGES)
        .map(|_| space.node.take("q").unwrap().0)
        .collect();
    // All of them once, since their number is no multiple of this prime; one in ten is never acknowledged.
    let order = (0..tags.len()).map(|n| n * 7919 % tags.len());
    let order: Vec<u64> = order.filter(|n| n % 10 != 0).map(|n| tags[n]).collect();
    for tags in order.chunks(RUN as usize) {
        space.node.acknowledge(tags);
        space.live -= tags.len() as u32;
        space.look();
    }
    space.settle();
    let left = MESSAGES as usize - order.len();
    assert_eq!(space.node.log.stats().records, left as u64);
}

/// The lowest of five is left, scattered over all that was written.
#[test]
fn priorities() {
    let mut space = Space::new(&[("x-max-priority", Value::I32(4))]);
    space.fill(|number| vec![0x18, 0, 2, (number % 5) as u8]);
    space.pass("q", MESSAGES / 5 * 4);
    space.settle();
    let stats = space.node.log.stats();
    assert!(stats.records + stats.paged_records >= u64::from(MESSAGES / 5));
}

#[test]
fn expired() {
    let mut space = Space::filled(&[("x-message-ttl", Value::I32(5000))]);
    space.node.now = Timestamp(7000);
    space.tick();
    space.live = 0;
    space.settle();
    assert_eq!(space.node.get("q"), None);
}

/// From one queue to the next they are written anew, and then they are consumed.
#[test]
fn dead_lettered() {
    let string = |text: &str| Value::String(text.as_bytes().into());
    let mut space = Space::new(&[
        ("x-message-ttl", Value::I32(5000)),
        ("x-dead-letter-exchange", string("")),
        ("x-dead-letter-routing-key", string("dead")),
    ]);
    space.declare("dead", &[]);
    space.fill(|_| PERSISTENT.into());
    space.node.now = Timestamp(7000);
    space.tick();
    // What they carry of their death.
    space.live += MESSAGES / 2;
    space.look();
    space.settle();
    space.live = MESSAGES;
    space.pass("dead", MESSAGES);
    space.settle();
    assert_eq!(space.node.log.stats().records, 0);
}

#[test]
fn one_message_stuck_at_the_head() {
    let mut space = Space::filled(&[]);
    space.node.take("q").unwrap();
    space.pass("q", MESSAGES - 1);
    // Messages that do not wait pass by it as well.
    for start in (0..MESSAGES).step_by(RUN as usize) {
        space.node.publish("q", PERSISTENT, start..start + RUN);
        space.live += RUN;
        space.pass("q", RUN);
    }
    space.settle();
    assert_eq!(space.node.log.stats().records, 1);
}

#[test]
fn purged() {
    let mut space = Space::filled(&[]);
    let Node {
        broker, principal, ..
    } = &space.node;
    let purged = broker.purge_queue(principal, "q", space.node.now);
    assert_eq!(purged.unwrap(), u64::from(MESSAGES));
    space.live = 0;
    space.settle();
}

#[test]
fn deleted() {
    let mut space = Space::filled(&[]);
    let Node {
        broker, principal, ..
    } = &space.node;
    broker.delete_queue(principal, "q", false, false).unwrap();
    space.live = 0;
    space.settle();
    space.node.declare_as("q", true, Table::new());
    assert_eq!(space.node.get("q"), None);
}
