//! Whose turn it is.

use super::*;

#[test]
fn consumers_take_turns() {
    check(
        classic(),
        "attach 1 => attached
         attach 2 => attached
         attach 3 n1 => attached
         publish a => 1<a
         publish b => 2<b
         publish c => 3<c
         publish d => 1<d
         publish e => 2<e
         publish f => 1<f
         ack c
         publish g => 2<g
         publish h => 1<h
         publish i => 3<i",
    );
}

#[test]
fn higher_priority_consumers_come_first_while_they_have_credit() {
    check(
        classic(),
        "attach 1 p-1 => attached
         attach 2 => attached
         attach 3 p5 n2 => attached
         attach 4 p5 n1 => attached
         publish a => 3<a
         publish b => 4<b
         publish c => 3<c
         publish d => 2<d
         detach 2
         publish e => 1<e
         ack b
         publish f => 4<f",
    );
}

#[test]
fn a_paused_consumer_gets_nothing() {
    check(
        classic(),
        "attach 1 => attached
         pause 1
         publish a
         pause 1
         resume 1 => 1<a
         resume 1
         publish b => 1<b
         pause 1
         ack a b
         publish c
         detach 1
         resume 1
         attach 2 => attached, 2<c",
    );
}

#[test]
fn a_message_of_a_consumer_that_has_gone_stays_out() {
    check(
        classic(),
        "attach 1 n1 => attached
         publish a 1 => 1<a
         detach 1
         attach 1 n1 => attached
         publish b 2 => 1<b
         publish c
         nack a => count 1 0/1
         ack b => release 2, 1<a*",
    );
}

#[test]
fn consumers_of_a_session_can_share_their_credit() {
    check(
        classic(),
        "attach 1 shared => attached
         attach 2 shared => attached
         publish a => 1<a
         publish b
         ack a
         give 1
         resume 2 => 2<b
         publish c
         limit 2
         resume 1 => 1<c
         publish d
         nack b
         give 1
         resume 2 => 2<b*
         detach 2
         end b
         give 1
         resume 1 => 1<b*",
    );
}

#[test]
fn a_credit_shared_by_two_queues_is_spent_once() {
    let credit = Arc::new(SharedCredit::new(1));
    let mut effects = Vec::new();
    let mut queues = [0, 1].map(|id| {
        let mut queue = QueueCore::new(classic(), Timestamp(0));
        let consumer = Consumer {
            shared_credit: Some(credit.clone()),
            ..consumer(id)
        };
        queue.apply(Timestamp(0), Op::Attach(consumer), &mut effects);
        queue
    });
    effects.clear();
    for queue in &mut queues {
        let incoming = Script::incoming(&["a"]);
        queue.apply(Timestamp(0), Op::Publish(incoming), &mut effects);
    }
    let [Effect::Deliver(ConsumerId(0), Delivery { id: Some(id), .. })] = effects[..] else {
        panic!("{effects:?}");
    };
    assert!(!queues[1].has_work());
    queues[0].apply(Timestamp(0), Op::Acknowledge(&[id]), &mut effects);
    assert!(!queues[0].has_work() && !queues[1].has_work());
    credit.give_back(1);
    assert!(credit.was_refused());
    queues[1].apply(Timestamp(0), Op::Resume(ConsumerId(1)), &mut effects);
    assert!(queues[1].has_work());
}

#[test]
fn an_exclusive_consumer_is_the_only_one() {
    check(
        classic(),
        "attach 1 excl => attached
         attach 2 => exclusive use
         attach 2 excl => exclusive use
         detach 1
         attach 2 => attached
         attach 1 excl => exclusive use",
    );
    check(
        quorum(),
        "attach 1 excl => attached
         attach 2 => attached
         attach 3 excl => attached",
    );
}
