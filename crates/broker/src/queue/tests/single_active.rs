//! One consumer at a time.

use super::*;

fn single(settings: Settings) -> Settings {
    Settings {
        single_active_consumer: true,
        ..settings
    }
}

#[test]
fn only_the_first_consumer_is_active_until_it_goes() {
    check(
        single(classic()),
        "attach 3 n1 => attached
         attach 2 => attached
         attach 1 => attached
         publish a => 3<a
         publish b
         publish c
         active => 3
         ack a => 3<b
         detach 3 => 2<c
         active => 2
         detach 2
         nack b => 1<b*
         detach 1
         active => none",
    );
}

#[test]
fn a_waiting_consumer_of_higher_priority_is_next_but_does_not_push() {
    check(
        single(classic()),
        "attach 1 => attached
         attach 2 => attached
         attach 3 p5 => attached
         publish a => 1<a
         detach 1
         publish b => 3<b",
    );
}

#[test]
fn a_single_active_queue_refuses_exclusive_consumers() {
    check(single(classic()), "attach 1 excl => exclusive use");
    check(single(quorum()), "attach 1 excl => attached");
}

#[test]
fn in_quorum_queues_a_higher_priority_takes_over_after_settlement() {
    check(
        single(quorum()),
        "attach 1 => attached
         publish a => 1<a
         publish b => 1<b
         attach 2 p1 => attached
         active => 1
         publish c
         ack a
         attach 3 p2 => attached
         ack b => 3<c
         active => 3
         attach 4 p2 => attached
         ack c
         active => 3
         attach 5 p3 => attached
         publish d => 5<d",
    );
}

#[test]
fn the_active_consumer_stays_when_its_successor_leaves_first() {
    check(
        single(quorum()),
        "attach 1 => attached
         publish a => 1<a
         attach 2 p1 => attached
         publish b
         detach 2 => 1<b",
    );
}

#[test]
fn single_active_consumer_can_be_switched() {
    let mut queue = QueueCore::new(classic(), Timestamp(0));
    let mut effects = Vec::new();
    for id in [2, 1] {
        queue.apply(Timestamp(0), Op::Attach(consumer(id)), &mut effects);
    }
    let active = |queue: &QueueCore| -> Vec<_> {
        queue
            .consumers()
            .map(|status| (status.consumer.id.0, status.active))
            .collect()
    };
    assert_eq!(active(&queue), [(1, true), (2, true)]);
    queue.apply(
        Timestamp(0),
        Op::Configure(single(classic()).into()),
        &mut effects,
    );
    assert_eq!(active(&queue), [(1, false), (2, true)]);
    queue.apply(Timestamp(0), Op::Configure(classic().into()), &mut effects);
    assert_eq!(active(&queue), [(1, true), (2, true)]);
}
