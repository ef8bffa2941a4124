//! Backlogs larger than the memory they may take, in a node with a log.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod node;

use leveret_broker::broker::definitions::BindingSpec;
use leveret_broker::error::ResourceKind;
use leveret_broker::options::Options;
use leveret_broker::storage::sim::SimDisk;
use leveret_broker::table::Table;
use leveret_broker::time::Timestamp;
use node::{Node, PERSISTENT, TRANSIENT};

#[test]
fn a_paged_backlog_is_consumed_in_order_across_restarts() {
    let mut node = Node::start(SimDisk::new(1), Timestamp(1000));
    node.declare("q", &[]);
    for start in (0..20_000).step_by(1000) {
        node.publish("q", PERSISTENT, start..start + 1000);
        node.page();
    }
    for number in 0..7000 {
        assert_eq!(node.get("q"), Some((number, false)));
    }
    node.publish("q", PERSISTENT, 20_000..21_000);
    node.page();
    let mut node = Node::start(node.stop(), Timestamp(2000));
    node.page();
    for number in 7000..9000 {
        assert_eq!(node.get("q"), Some((number, false)));
    }
    node.publish("q", PERSISTENT, 21_000..22_000);
    assert!(node.get_all("q").into_iter().eq(9000..22_000));
    assert_eq!(node.broker.paging.resident_bytes(), 0);
    let log = node.log.clone();
    node.stop();
    assert_eq!((log.stats().records, log.stats().pages), (0, 0));
}

#[test]
fn a_crash_loses_nothing_of_a_paged_backlog() {
    let mut node = Node::start(SimDisk::new(2), Timestamp(1000));
    node.declare("q", &[]);
    for start in (0..10_000).step_by(1000) {
        node.publish("q", PERSISTENT, start..start + 1000);
        node.page();
    }
    for number in 0..3000 {
        assert_eq!(node.get("q"), Some((number, false)));
    }
    node.page();
    let mut node = Node::start(node.crash(), Timestamp(2000));
    let found = node.get_all("q");
    // The last acknowledgements may have been lost, but nothing else.
    let first = found.first().copied().unwrap();
    assert!(first <= 3000, "{first} is the first");
    assert!(found.into_iter().eq(first..10_000));
}

#[test]
fn what_the_log_has_leaves_memory_earlier() {
    const BUDGET: u64 = 8 << 20;
    let change = |options: &mut Options| options.backlog_bytes_max = BUDGET;
    let mut node = Node::start_with(SimDisk::new(5), Timestamp(1000), change);
    let resident = |node: &Node| node.broker.paging.resident_bytes();
    for (queue, properties, full) in [
        ("transient", TRANSIENT, BUDGET / 4),
        ("stored", PERSISTENT, BUDGET / 2),
    ] {
        node.declare(queue, &[]);
        while resident(&node) < full {
            node.publish(queue, properties, 0..1000);
        }
    }
    node.page_some();
    node.sync();
    // What the log has gets an eighth of the budget. The others are far from all of it, and stay.
    let left = resident(&node) - BUDGET / 4;
    assert!(
        left <= BUDGET / 8,
        "{left} bytes of messages that the log has are resident"
    );
    assert!(node.log.stats().pages > 0);
    // Whose turn it was not is not forgotten.
    while resident(&node) <= BUDGET {
        node.publish("transient", TRANSIENT, 0..1000);
    }
    node.page_some();
    assert!(resident(&node) <= BUDGET / 4 * 3);
}

#[test]
fn levels_and_expiry_hold_across_pages() {
    let mut node = Node::start(SimDisk::new(3), Timestamp(1000));
    node.declare("q", &[("x-max-priority", 9)]);
    // Delivery mode, priority; the second kind has an expiration of 500 ms, too.
    node.publish("q", &[0x18, 0, 2, 1], 0..5000);
    node.page();
    node.publish("q", &[0x19, 0, 2, 7, 3, b'5', b'0', b'0'], 5000..8000);
    node.page();
    node.publish("q", &[0x18, 0, 2, 7], 8000..10_000);
    node.page();
    assert_eq!(node.get("q"), Some((5000, false)));
    node.now = Timestamp(1500);
    node.broker.tick(node.now);
    assert_eq!(node.get("q"), Some((8000, false)));
    let mut node = Node::start(node.stop(), Timestamp(2000));
    assert!(
        node.get_all("q")
            .into_iter()
            .eq((8001..10_000).chain(0..5000))
    );
}

#[test]
fn purged_and_deleted_pages_leave_nothing() {
    let mut node = Node::start(SimDisk::new(4), Timestamp(1000));
    for name in ["a", "b"] {
        node.declare(name, &[]);
        node.publish(name, PERSISTENT, 0..5000);
        node.publish(name, TRANSIENT, 0..5000);
        node.page();
    }
    let purged = node.broker.purge_queue(&node.principal, "a", node.now);
    assert_eq!(purged.unwrap(), 10_000);
    let deleted = node.broker.delete_queue(&node.principal, "b", false, false);
    deleted.unwrap();
    assert_eq!(node.broker.paging.resident_bytes(), 0);
    let log = node.log.clone();
    let disk = node.stop();
    assert_eq!((log.stats().records, log.stats().pages), (0, 0));
    drop(log);
    let mut node = Node::start(disk, Timestamp(2000));
    assert_eq!(node.get("a"), None);
}

#[test]
fn pages_of_a_transient_queue_go_with_it() {
    let mut node = Node::start(SimDisk::new(6), Timestamp(1000));
    node.declare_as("q", false, Table::new());
    node.publish("q", PERSISTENT, 0..5000);
    node.page();
    node.sync();
    assert!(node.log.stats().pages > 0);
    let deleted = node.broker.delete_queue(&node.principal, "q", false, false);
    deleted.unwrap();
    let log = node.log.clone();
    node.stop();
    assert_eq!(log.stats().pages, 0);
}

#[test]
fn queues_that_share_their_messages_page_them_each() {
    let mut node = Node::start(SimDisk::new(7), Timestamp(1000));
    for name in ["a", "b"] {
        node.declare(name, &[]);
        let spec = BindingSpec {
            source: "amq.fanout",
            destination: name,
            destination_kind: ResourceKind::Queue,
            key: b"",
            arguments: Table::new(),
        };
        node.broker.bind(&node.principal, spec, node.now).unwrap();
    }
    for start in (0..6000).step_by(1000) {
        node.publish_to("amq.fanout", "", |_| PERSISTENT.into(), start..start + 1000);
        node.page();
    }
    assert!(node.get_all("a").into_iter().eq(0..6000));
    let mut node = Node::start(node.stop(), Timestamp(2000));
    assert_eq!(node.get("a"), None);
    assert!(node.get_all("b").into_iter().eq(0..6000));
    let log = node.log.clone();
    node.stop();
    assert_eq!((log.stats().records, log.stats().pages), (0, 0));
}

#[test]
fn transient_messages_are_paged_and_end_with_the_process() {
    let mut node = Node::start(SimDisk::new(5), Timestamp(1000));
    node.declare("q", &[]);
    for start in (0..10_000).step_by(1000) {
        node.publish("q", TRANSIENT, start..start + 500);
        node.publish("q", PERSISTENT, start + 500..start + 1000);
        node.page();
    }
    for number in 0..4000 {
        assert_eq!(node.get("q"), Some((number, false)));
    }
    node.page();
    let mut node = Node::start(node.stop(), Timestamp(2000));
    let persistent = (4000..10_000).filter(|number| number % 1000 >= 500);
    assert!(node.get_all("q").into_iter().eq(persistent));
}
