//! Deliveries, settlements, limits, and the end of consumers.

use leveret_broker::mailbox::FULL_BYTES;

use crate::world::{World, check, check_in, repeat};

#[test]
fn messages_in_flight_survive_their_consumer() {
    check(
        "
        a connect
        b connect
        a queue q
          a queue.declare-ok q 0 0
        a publish - q one &
        a publish - q two &
        a publish - q three
        b qos 2
          b qos-ok
        b consume q c
          b consume-ok c
          b deliver c #1 - q one
          b deliver c #2 - q two
        b cancel c
          b cancel-ok c
        b publish - q four
        b ack 1
        b get q
          b get-ok #3 - q left=1 three
        b nack 2 requeue
        b get q no-ack
          b get-ok #4 again - q left=1 two
        b cancel c
          b cancel-ok c
        ",
    );
}

/// What the queue had handed out when the cancel arrived is sent before the answer to it.
#[test]
fn a_cancel_comes_after_what_was_on_its_way() {
    check(
        "
        a connect
        b connect
        a queue q
          a queue.declare-ok q 0 0
        b consume q c
          b consume-ok c
        a quietly publish - q one
        a quietly publish - q two
        b cancel c
          b deliver c #1 - q one
          b deliver c #2 - q two
          b cancel-ok c
        a publish - q three
        b ack 2 multiple
        a queue q passive
          a queue.declare-ok q 1 0
        ",
    );
}

#[test]
fn consumers_hear_that_their_queue_is_gone() {
    check(
        "
        a connect consumer_cancel_notify
        b connect
        a queue q
          a queue.declare-ok q 0 0
        a consume q c
          a consume-ok c
        b consume q c
          b consume-ok c
        a publish - q one
          a deliver c #1 - q one
        a publish - q two
          b deliver c #1 - q two
        b delete q
          a cancel c
          b queue.delete-ok 0
        a ack 1
        b cancel c
          b cancel-ok c
        a queue q
          a queue.declare-ok q 0 0
        a consume q c
          a consume-ok c
        ",
    );
}

#[test]
fn prefetch_is_each_consumers_own() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a qos 1
          a qos-ok
        a consume q one
          a consume-ok one
        a qos 2
          a qos-ok
        a consume q two
          a consume-ok two
        a publish - q m1 &
        a publish - q m2 &
        a publish - q m3 &
        a publish - q m4
          a deliver one #1 - q m1
          a deliver two #2 - q m2
          a deliver two #3 - q m3
        a ack 1
          a deliver one #4 - q m4
        a qos 0
          a qos-ok
        a ack 2
        ",
    );
}

#[test]
fn a_global_prefetch_is_shared_across_queues() {
    check(
        "
        a connect
        a queue p
          a queue.declare-ok p 0 0
        a queue q
          a queue.declare-ok q 0 0
        a qos 2 global
          a qos-ok
        a consume p cp
          a consume-ok cp
        a consume q cq
          a consume-ok cq
        a publish - p p1 &
        a publish - p p2 &
        a publish - q q1 &
        a publish - q q2
          a deliver cp #1 - p p1
          a deliver cp #2 - p p2
        a ack 1
          a deliver cq #3 - q q1
        a ack 2 multiple
          a deliver cq #4 - q q2
        a qos 3 global
          a qos-ok
        ",
    );
}

#[test]
fn a_global_prefetch_binds_consumers_that_were_there() {
    check(
        "
        a connect
        a queue p
          a queue.declare-ok p 0 0
        a queue q
          a queue.declare-ok q 0 0
        a consume p cp
          a consume-ok cp
        a consume q cq
          a consume-ok cq
        a qos 1 global
          a qos-ok
        a publish - p p1 &
        a publish - q q1 &
        a publish - q q2
          a deliver cp #1 - p p1
        a ack 1
          a deliver cq #2 - q q1
        a ack 2
          a deliver cq #3 - q q2
        a qos 0 global
          a qos-ok
        a publish - q q3
          a deliver cq #4 - q q3
        ",
    );
}

#[test]
fn both_limits_hold() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a qos 3 global
          a qos-ok
        a qos 2
          a qos-ok
        a consume q one
          a consume-ok one
        a consume q two
          a consume-ok two
        a publish - q m1 &
        a publish - q m2 &
        a publish - q m3 &
        a publish - q m4
          a deliver one #1 - q m1
          a deliver two #2 - q m2
          a deliver one #3 - q m3
        a ack 1
          a deliver one #4 - q m4
        ",
    );
}

#[test]
fn automatic_acknowledgement_knows_no_limit() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a qos 1
          a qos-ok
        a consume q c no-ack
          a consume-ok c
        a publish - q m1 &
        a publish - q m2
          a deliver c #1 - q m1
          a deliver c #2 - q m2
        a ack 1
          a channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1 60.80
        a close-ok
        a channel
          a channel.open-ok
        a queue q passive
          a queue.declare-ok q 0 0
        ",
    );
}

#[test]
fn recover_sends_everything_again() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a qos 2
          a qos-ok
        a consume q c
          a consume-ok c
        a publish - q m1 &
        a publish - q m2 &
        a publish - q m3
          a deliver c #1 - q m1
          a deliver c #2 - q m2
        a recover
          a recover-ok
          a deliver c #3 again - q m1
          a deliver c #4 again - q m2
        a ack 1
          a channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1 60.80
        ",
    );
}

#[test]
fn settlements_with_multiple() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a publish - q m1 &
        a publish - q m2 &
        a publish - q m3 &
        a publish - q m4
        a get q
          a get-ok #1 - q left=3 m1
        a get q
          a get-ok #2 - q left=2 m2
        a get q
          a get-ok #3 - q left=1 m3
        a get q
          a get-ok #4 - q left=0 m4
        a nack 2 multiple requeue
        a get q
          a get-ok #5 again - q left=1 m1
        a ack 0 multiple
        a queue q passive
          a queue.declare-ok q 1 0
        a ack 0 multiple
        ",
    );
}

#[test]
fn an_exclusive_consumer_is_alone() {
    check(
        "
        a connect
        b connect
        a queue q
          a queue.declare-ok q 0 0
        a consume q c exclusive
          a consume-ok c
        b consume q d
          b channel.close 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use 60.20
        a cancel c
          a cancel-ok c
        b close-ok
        b channel
          b channel.open-ok
        b consume q d
          b consume-ok d
        a consume q c exclusive
          a channel.close 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use 60.20
        ",
    );
}

#[test]
fn a_queue_that_deletes_itself_goes_with_its_last_consumer() {
    check(
        "
        a connect
        b connect
        a queue q auto-delete
          a queue.declare-ok q 0 0
        a consume q c
          a consume-ok c
        b consume q d
          b consume-ok d
        a cancel c
          a cancel-ok c
        b queue q passive
          b queue.declare-ok q 0 1
        b leaves
        a queue q passive
          a channel.close 404 NOT_FOUND - no queue 'q' in vhost '/' 50.10
        ",
    );
}

#[test]
fn replies_go_straight_to_who_asked() {
    check(
        "
        a connect
        b connect
        b queue service
          b queue.declare-ok service 0 0
        a consume amq.rabbitmq.reply-to replies no-ack
          a consume-ok replies
        a publish - service question reply-to=amq.rabbitmq.reply-to
        b get service no-ack
          b get-ok #1 - service left=0 question reply-to=amq.rabbitmq.reply-to.00000000000000070000000000000007
        b publish - amq.rabbitmq.reply-to.nonsense answer mandatory
          b return 312 NO_ROUTE - amq.rabbitmq.reply-to.nonsense answer
        ",
    );
}

#[test]
fn a_consumer_that_settles_nothing_is_ended_by_quorum_queues() {
    check(
        "
        a connect consumer_cancel_notify
        b connect
        a queue q durable x-queue-type=quorum x-consumer-timeout=60000
          a queue.declare-ok q 0 0
        a publish - q hello
        a consume q c
          a consume-ok c
          a deliver c #1 - q hello
        time 59999
        time 1
          a cancel c
        b get q
          b get-ok #1 again - q left=0 hello x-acquired-count=1
        ",
    );
}

/// Whatever waits in the queue, only so much of it waits for a client that does not read.
#[test]
fn a_client_that_never_reads_costs_a_bounded_amount() {
    let mut world = World::new();
    check_in(
        &mut world,
        "a connect\nb connect\na queue q\n  a queue.declare-ok q 0 0",
    );
    let publishes = repeat(4000, |_| "a publish - q w*1000 &".to_owned());
    check_in(&mut world, &publishes);
    world.hand_over("a");
    check_in(&mut world, "b is deaf\nb consume q c no-ack");
    // Nothing leaves; so everything that is not in the queue is in mailbox and output.
    let pending = world.client("b").connection.output().pending();
    assert!(
        (256 * 1024..260 * 1024).contains(&pending),
        "{pending} octets of output"
    );
    let waiting = world.play("a queue q passive");
    let ready: usize = waiting[0].split(' ').nth(3).unwrap().parse().unwrap();
    let taken = 4000 - ready;
    let handed_out = taken * (1000 + 128);
    assert!(
        handed_out < FULL_BYTES + pending + 256 * 1128,
        "{taken} messages left the queue"
    );
    // And when it reads after all, it gets everything.
    let seen = world.play("b reads");
    assert_eq!(seen.len(), 4001);
    assert_eq!(seen[4000], "b deliver c #4000 - q w*1000");
    check_in(&mut world, "a queue q passive\n  a queue.declare-ok q 0 1");
}

/// A client that asks for more and more and reads nothing is no longer listened to.
#[test]
fn a_client_that_only_asks_is_not_read_from() {
    let mut world = World::new();
    check_in(
        &mut world,
        "a connect\na queue q\n  a queue.declare-ok q 0 0\na is deaf",
    );
    let declares = repeat(1000, |_| "a queue q passive &".to_owned());
    let mut reads = 0;
    while world.client("a").connection.wants_input() {
        check_in(&mut world, &declares);
        world.hand_over("a");
        reads += 1;
        assert!(reads < 1000, "it is read from for ever");
    }
    let pending = world.client("a").connection.output().pending();
    assert!(pending < 5 * 1024 * 1024, "{pending} octets of output");
    world.play("a reads");
    assert!(world.client("a").connection.wants_input());
}

/// Consumers share a thread with the publisher, and have but their prefetch for each of its turns.
#[test]
fn who_outruns_consumers_is_read_from_in_smaller_parts() {
    let mut world = World::new();
    check_in(
        &mut world,
        "a connect\nb connect\na queue q\n  a queue.declare-ok q 0 0\nb qos 1\n  b qos-ok\n\
         b consume q c\n  b consume-ok c\n\
         a publish - q first\n  b deliver c #1 - q first",
    );
    let publishes = repeat(1000, |_| "a quietly publish - q w*50".to_owned());
    for _ in 0..17 {
        assert_eq!(world.client("a").connection.read_limit(), usize::MAX);
        check_in(&mut world, &publishes);
    }
    check_in(&mut world, "a publish - q w*50");
    let limit = world.client("a").connection.read_limit();
    assert!((4 * 1024..16 * 1024).contains(&limit), "{limit} octets");
    // What goes elsewhere is nothing to these consumers.
    check_in(&mut world, "a publish - elsewhere w*50");
    assert_eq!(world.client("a").connection.read_limit(), usize::MAX);
    // Nor does a queue without consumers have any that could be behind.
    check_in(
        &mut world,
        "b cancel c\n  b cancel-ok c\na publish - q w*50",
    );
    assert_eq!(world.client("a").connection.read_limit(), usize::MAX);
}
