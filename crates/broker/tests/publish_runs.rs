//! Publishes that differ in their bodies alone, taken together.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod node;

use leveret_broker::channel::{Publish, Published};
use leveret_broker::live_queue::Outbox;
use leveret_broker::message::Message;
use leveret_broker::publish::{Batch, Receipt};
use leveret_broker::storage::sim::SimDisk;
use leveret_broker::time::Timestamp;

use node::{Node, PERSISTENT, TRANSIENT};

/// `expiration`: an hour.
const EXPIRING: &[u8] = b"\x01\x00\x073600000";
/// Messages that follow the first.
const FOLLOWING: u32 = 4;

/// Publishes a message with others behind it. Gives what became of the first, how many of the others were not taken, and
/// the confirm tags.
fn publish_run(
    node: &mut Node,
    key: &str,
    properties: &[u8],
    mandatory: bool,
) -> (Published, u32, Vec<u64>) {
    let message =
        |number: u32| Message::new(b"", key.as_bytes(), properties, &number.to_be_bytes());
    let publish = Publish {
        message: message(0),
        mandatory,
    };
    let mut alike = (1..=FOLLOWING).map(message);
    let mut batch = Batch::default();
    let published = node
        .channel
        .publish_run(&node.broker, publish, &mut alike, node.now, &mut batch)
        .unwrap();
    let mut tags = Vec::new();
    let mut outbox = Outbox::default();
    node.broker
        .commit(&mut batch, node.now, &mut outbox, |outcome| {
            match outcome.receipt {
                Receipt::Confirm { tag, .. } => tags.push(tag),
                Receipt::Nobody => {}
            }
        });
    node.broker.finish(&mut outbox, node.now);
    node.sync();
    (published, alike.count() as u32, tags)
}

fn node_with_queue() -> Node {
    let mut node = Node::start(SimDisk::new(1), Timestamp(1000));
    node.declare("q", &[]);
    // Routes are remembered from the first message on.
    node.publish("q", TRANSIENT, 0..1);
    assert_eq!(node.get_all("q"), [0]);
    node
}

#[test]
fn all_that_are_alike_are_routed_confirmed_and_kept() {
    for properties in [TRANSIENT, PERSISTENT] {
        let mut node = node_with_queue();
        node.channel.select_confirms().unwrap();
        let (published, left, tags) = publish_run(&mut node, "q", properties, true);
        assert!(matches!(published, Published::Taken));
        assert_eq!((left, tags), (0, vec![1, 2, 3, 4, 5]));
        if properties == PERSISTENT {
            node = Node::start(node.crash(), Timestamp(2000));
        }
        assert_eq!(node.get_all("q"), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn what_needs_care_is_taken_alone() {
    let mut node = node_with_queue();
    let (published, left, _) = publish_run(&mut node, "nowhere", TRANSIENT, true);
    assert!(matches!(published, Published::Returned(_)));
    assert_eq!(left, FOLLOWING);
    // The route is known now, and leads nowhere.
    let (published, left, _) = publish_run(&mut node, "nowhere", TRANSIENT, true);
    assert!(matches!(published, Published::Returned(_)));
    assert_eq!(left, FOLLOWING);
    let (published, left, _) = publish_run(&mut node, "q", EXPIRING, false);
    assert!(matches!(published, Published::Taken));
    assert_eq!(left, FOLLOWING);
    assert_eq!(node.get_all("q"), [0]);
    node.channel.select_transaction().unwrap();
    let (published, left, _) = publish_run(&mut node, "q", TRANSIENT, false);
    assert!(matches!(published, Published::Taken));
    assert_eq!(left, FOLLOWING);
    assert_eq!(node.get_all("q"), []);
}

#[test]
fn each_queue_takes_what_is_for_it_in_its_order() {
    let mut node = node_with_queue();
    node.declare("other", &[]);
    let mut batch = Batch::default();
    for number in 0..200_u32 {
        let key = if number % 3 == 0 { "other" } else { "q" };
        let body = number.to_be_bytes();
        let publish = Publish {
            message: Message::new(b"", key.as_bytes(), TRANSIENT, &body),
            mandatory: false,
        };
        let published = node
            .channel
            .publish(&node.broker, publish, node.now, &mut batch);
        assert!(matches!(published, Ok(Published::Taken)));
    }
    let mut outbox = Outbox::default();
    node.broker
        .commit(&mut batch, node.now, &mut outbox, |_| {});
    node.broker.finish(&mut outbox, node.now);
    let (thirds, others): (Vec<u32>, Vec<u32>) = (0..200).partition(|number| number % 3 == 0);
    assert_eq!(node.get_all("other"), thirds);
    assert_eq!(node.get_all("q"), others);
}
