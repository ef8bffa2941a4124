//! Heartbeats, alarms, forced closes, and clients that do not read.

use leveret_broker::options::Options;

use crate::world::{World, check, check_in};

#[test]
fn heartbeats_are_sent_when_nothing_else_is() {
    check(
        "
        a connect heartbeat=10
        time 5000
        time 5000
          a heartbeat
        a heartbeat
        time 5000
          a heartbeat
        a queue q
          a queue.declare-ok q 0 0
        time 5000
        a heartbeat
        time 5000
          a heartbeat
        ",
    );
}

#[test]
fn a_silent_client_is_dropped_after_two_heartbeats() {
    check(
        "
        a connect heartbeat=10
        a queue q exclusive
          a queue.declare-ok q 0 0
        time 20000
          a heartbeat
          a heartbeat
          a heartbeat
        time 5000
          a heartbeat
          a closed
        b connect
        b queue q
          b queue.declare-ok q 0 0
        ",
    );
}

#[test]
fn without_heartbeats_a_client_may_be_silent() {
    check(
        "
        a connect heartbeat=0
        time 100000000
        a queue q
          a queue.declare-ok q 0 0
        ",
    );
}

/// It is not read from, so that its heartbeats are not seen.
#[test]
fn a_blocked_client_is_not_taken_for_dead() {
    check(
        "
        a connect heartbeat=10 connection.blocked
        a queue q
          a queue.declare-ok q 0 0
        alarm disk on
        a publish - q hello
          a connection.blocked low on disk
        time 100000
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
        alarm disk off
          a connection.unblocked
        ",
    );
}

#[test]
fn publishers_are_told_of_alarms() {
    let mut world = World::new();
    check_in(
        &mut world,
        "
        a connect connection.blocked
        b connect connection.blocked
        c connect
        a queue q
          a queue.declare-ok q 0 0
        a publish - q one
        c publish - q two
        alarm memory on
          a connection.blocked low on memory
        alarm disk on
        b get q
          b get-ok #1 - q left=1 one
        ",
    );
    assert!(!world.client("a").connection.wants_input());
    assert!(world.client("b").connection.wants_input());
    assert!(!world.client("c").connection.wants_input());
    check_in(&mut world, "alarm memory off");
    assert!(!world.client("a").connection.wants_input());
    check_in(
        &mut world,
        "
        alarm disk off
          a connection.unblocked
        b publish - q three
        alarm disk on
          b connection.blocked low on disk
        alarm disk off
          b connection.unblocked
        ",
    );
    for name in ["a", "b", "c"] {
        assert!(world.client(name).connection.wants_input(), "{name}");
    }
}

/// One who publishes first while the alarm is on is held after that publish.
#[test]
fn the_first_publish_under_an_alarm_blocks() {
    check(
        "
        a connect connection.blocked
        a queue q
          a queue.declare-ok q 0 0
        alarm disk on
        a publish - q hello
          a connection.blocked low on disk
        alarm disk off
          a connection.unblocked
        a get q no-ack
          a get-ok #1 - q left=0 hello
        ",
    );
}

#[test]
fn clients_are_asked_to_leave() {
    check(
        "
        a connect
        b connects
        b header
          b connection.start ANONYMOUS AMQPLAIN PLAIN
        a queue q exclusive
          a queue.declare-ok q 0 0
        c connect
        close all Node_was_put_into_maintenance_mode
          closed 2
          a connection.close 320 CONNECTION_FORCED - Node was put into maintenance mode 0.0
          c connection.close 320 CONNECTION_FORCED - Node was put into maintenance mode 0.0
        a publish - q lost
        c bye-ok
          c closed
        c connect
        c queue q
          c queue.declare-ok q 0 0
        a bye-ok
          a closed
        ",
    );
}

/// aiormq takes a `close-ok` that comes before it waits for one for the loss of the connection. Its exclusive queues are
/// gone when it hears of the end, as everybody's.
#[test]
fn a_client_confused_by_a_quick_goodbye_gets_a_slower_one() {
    check(
        "
        a connect product=aiormq
        a queue q exclusive
          a queue.declare-ok q 0 0
        a bye
        a queue ignored
        time 1
        b connect
        b queue q
          b queue.declare-ok q 0 0
        time 1
          a connection.close-ok
        b bye
          b connection.close-ok
        ",
    );
}

/// Only the one that fills what is to be paged out, and only as long as it has to.
#[test]
fn a_publisher_that_outruns_the_pager_is_not_read_from_until_it_has_caught_up() {
    let options = Options {
        backlog_bytes_max: 400_000,
        ..Options::new(|| 7)
    };
    check_in(
        &mut World::with(options),
        "
        a connect heartbeat=10
        a queue q durable
          a queue.declare-ok q 0 0
        b connect
        b queue r
          b queue.declare-ok r 0 0
        a publish - q x*500000 persistent
        a publish - q y*500000 persistent
        a queue q passive
        b publish - r z
        b get r
          b get-ok #1 - r left=0 z
        time 40000
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
          a heartbeat
        pager
          a queue.declare-ok q 2 0
        ",
    );
}
