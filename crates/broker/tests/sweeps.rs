//! What operators do to the messages of a queue, most of which are on disk, and what a crash leaves of it.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod node;

use leveret_broker::broker::administration::messages::{
    Action, Choice, Destination, Handle, Progress, Sweep, Tally,
};
use leveret_broker::live_queue::BrowsePage;
use leveret_broker::message::Message;
use leveret_broker::queue::Browsed;
use leveret_broker::storage::sim::SimDisk;
use leveret_broker::time::Timestamp;

use node::{Node, PERSISTENT, TRANSIENT};

fn number(message: &Message) -> u32 {
    u32::from_be_bytes(*message.body().first_chunk().unwrap())
}

fn to(queue: &str) -> Destination {
    Destination::Queue(queue.into())
}

impl Node {
    fn begin(&self, queue: &str, action: Action, choice: Choice) -> Sweep {
        let by = self.broker.node_in("/").unwrap();
        Sweep::begin(&self.broker, by, queue, action, choice).unwrap()
    }

    /// Sweeps the messages whose numbers are meant. The pager catches up after each slice.
    fn sweep(
        &self,
        queue: &str,
        action: Action,
        mut is_meant: impl FnMut(u32) -> bool + Send + 'static,
    ) -> Tally {
        let accepts = move |it: &Browsed| is_meant(number(&it.message));
        let mut sweep = self.begin(queue, action, Choice::Matching(Box::new(accepts), u64::MAX));
        while sweep.step(self.now).unwrap() != Progress::Over {
            self.page();
        }
        sweep.tally().clone()
    }

    /// `count` numbers from a place on, and their handles.
    fn browse(&self, queue: &str, offset: u64, count: usize) -> Vec<(u32, Handle)> {
        let page = BrowsePage {
            offset,
            messages_max: count,
            bytes_max: usize::MAX,
            looked_at_max: u64::MAX,
        };
        let queue = self.broker.queue_info("/", queue).unwrap();
        let found = queue.browse(page, |_| true).unwrap();
        let messages = found.messages.iter();
        messages
            .map(|(_, it)| (number(&it.message), Handle::of(it)))
            .collect()
    }

    fn numbers(&self, queue: &str) -> Vec<u32> {
        let all = self.browse(queue, 0, usize::MAX);
        all.into_iter().map(|(number, _)| number).collect()
    }

    /// 20 000 numbers in `q`, nearly all of them on disk, and a queue `other`.
    fn with_backlog(seed: u64) -> Self {
        let mut node = Self::start(SimDisk::new(seed), Timestamp(1000));
        node.declare("q", &[]);
        node.declare("other", &[]);
        for start in (0..12_000).step_by(1000) {
            let properties = if start % 2000 == 0 {
                PERSISTENT
            } else {
                TRANSIENT
            };
            node.publish("q", properties, start..start + 1000);
            node.page();
        }
        node
    }
}

#[test]
fn what_is_on_disk_is_moved_copied_and_deleted() {
    let mut node = Node::with_backlog(1);
    let even = |number: u32| number.is_multiple_of(2);
    let counted = node.sweep("q", Action::Count, even);
    assert_eq!((counted.looked_at, counted.chosen), (12_000, 6000));
    let moved = node.sweep("q", Action::Move(to("other")), even);
    assert_eq!((moved.chosen, moved.done), (6000, 6000));
    let copied = node.sweep("q", Action::Copy(to("other")), |number| number < 10);
    assert_eq!((copied.chosen, copied.done), (5, 5));
    let deleted = node.sweep("q", Action::Delete, |number| number % 3 == 0);
    assert_eq!(deleted.done, 2000);
    node.page();
    let kept = |number: &u32| !number.is_multiple_of(2) && !number.is_multiple_of(3);
    assert!(node.numbers("q").into_iter().eq((0..12_000).filter(kept)));
    let there = (0..12_000).step_by(2).chain([1, 3, 5, 7, 9]);
    assert!(node.get_all("other").into_iter().eq(there));
    assert!(node.get_all("q").into_iter().eq((0..12_000).filter(kept)));
    assert_eq!(node.broker.paging.resident_bytes(), 0);
    let log = node.log.clone();
    node.stop();
    assert_eq!((log.stats().records, log.stats().pages), (0, 0));
}

#[test]
fn what_was_done_outlives_a_restart() {
    let node = Node::with_backlog(2);
    node.sweep("q", Action::Delete, |number| number % 4 == 0);
    node.sweep("q", Action::Move(to("other")), |number| number % 4 == 1);
    let node = Node::start(node.stop(), Timestamp(2000));
    let of =
        |rest: u32| (0..12_000).filter(move |number| number % 2000 < 1000 && number % 4 == rest);
    assert!(node.numbers("other").into_iter().eq(of(1)));
    let mut left: Vec<u32> = of(2).chain(of(3)).collect();
    left.sort_unstable();
    assert_eq!(node.numbers("q"), left);
}

#[test]
fn a_crash_between_two_slices_loses_nothing_and_makes_up_nothing() {
    for steps in [0, 1, 3] {
        let node = Node::with_backlog(3);
        let accepts = |_: &Browsed| true;
        let all = Choice::Matching(Box::new(accepts), u64::MAX);
        let mut sweep = node.begin("q", Action::Move(to("other")), all);
        for _ in 0..steps {
            sweep.step(node.now).unwrap();
            node.page();
        }
        let node = Node::start(node.crash(), Timestamp(2000));
        let mut found = [node.numbers("q"), node.numbers("other")].concat();
        found.sort_unstable();
        found.dedup();
        let stored = (0..12_000).filter(|number| number % 2000 < 1000);
        assert!(found.into_iter().eq(stored), "after {steps} slices");
    }
}

#[test]
fn handles_find_stored_messages_after_a_restart_and_no_others() {
    let node = Node::with_backlog(4);
    let before = node.browse("q", 0, usize::MAX);
    // Of a page in the middle, of one of transient messages, and of the tail.
    let meant = [6100, 7100, 10_900];
    let handles = meant.map(|number| before[number as usize].1);
    assert!(
        meant
            .iter()
            .all(|number| before[*number as usize].0 == *number)
    );
    let node = Node::start(node.stop(), Timestamp(2000));
    let mut sweep = node.begin("q", Action::Count, Choice::These(handles.to_vec()));
    while sweep.step(node.now).unwrap() != Progress::Over {}
    assert_eq!(sweep.tally().chosen, 2);
    let stored = vec![handles[0], handles[2]];
    let mut sweep = node.begin("q", Action::Delete, Choice::These(stored));
    while sweep.step(node.now).unwrap() != Progress::Over {}
    assert_eq!((sweep.tally().chosen, sweep.tally().done), (2, 2));
    // Pages that can't have them were not read.
    assert!(sweep.tally().looked_at < 5000, "{:?}", sweep.tally());
    let left = node.numbers("q");
    assert_eq!(left.len(), 5998);
    assert!(!left.contains(&6100) && !left.contains(&10_900));
}

#[test]
fn what_comes_meanwhile_is_left_alone() {
    let mut node = Node::with_backlog(5);
    let all = Choice::Matching(Box::new(|_: &Browsed| true), u64::MAX);
    let mut sweep = node.begin("q", Action::Move(to("q")), all);
    let mut next = 12_000;
    while sweep.step(node.now).unwrap() != Progress::Over {
        node.publish("q", PERSISTENT, next..next + 1);
        next += 1;
        // A client takes what is next.
        assert!(node.get("q").is_some());
        node.page_some();
    }
    let tally = sweep.tally();
    assert_eq!((tally.chosen, tally.gone), (tally.done, 0));
    let mut left = node.numbers("q");
    assert_eq!(left.len(), 12_000);
    left.dedup();
    assert_eq!(left.len(), 12_000);
}
