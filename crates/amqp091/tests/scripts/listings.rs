//! What operators see of clients and their messages.

use crate::world::check;

#[test]
fn messages_are_counted_by_queue_exchange_and_protocol() {
    check(
        "
        a connect
        a confirm
          a confirm.select-ok
        a queue q durable
          a queue.declare-ok q 0 0
        a queue qq durable x-queue-type=quorum
          a queue.declare-ok qq 0 0
        a exchange x fanout
          a exchange.declare-ok
        a bind q x -
          a queue.bind-ok
        a bind qq x -
          a queue.bind-ok
        a publish x k one persistent
          a ack 1
        a publish - nowhere two
          a ack 2
        a publish - nowhere three mandatory
          a return 312 NO_ROUTE - nowhere three
          a ack 3
        count exchange x
          in=1 out=2
        count exchange -
          in=2
        count queue q
          publish=1 disk_writes=1
        count all
          publish=3 publish_confirm=3 routed=1 confirm=3 return=1 drop=1
        ",
    );
}

#[test]
fn deliveries_are_counted_as_they_are_sent_and_settled() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a publish - q one
        a publish - q two
        a publish - q three
        a consume q tag
          a consume-ok tag
          a deliver tag #1 - q one
          a deliver tag #2 - q two
          a deliver tag #3 - q three
        a ack 1
        a reject 2 requeue
          a deliver tag #4 again - q two
        list channels
          127.0.0.1:50000 -> 127.0.0.1:5672 (1) consumers=1 unacknowledged=2
        list consumers
          tag of q on channel 1 active prefetch=0 priority=0 unacknowledged=2
        count queue q
          publish=3 deliver=4 ack=1 redeliver=1
        a ack 0 multiple
        a cancel tag
          a cancel-ok tag
        a get q
          a get-empty
        a publish - q four
        a get q no-ack
          a get-ok #5 - q left=0 four
        count queue q
          publish=4 deliver=4 get_no_ack=1 get_empty=1 ack=3 redeliver=1
        count all
          publish=4 routed=4 classic: deliver=4 get_no_ack=1 get_empty=1 ack=3 redeliver=1
        ",
    );
}

/// What a channel had counted stays in the totals.
#[test]
fn totals_outlive_channels_and_connections() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a publish - q one
        a close
          a channel.close-ok
        count all
          publish=1 routed=1
        b connect
        b publish - q two
        b leaves
        count all
          publish=2 routed=2
        ",
    );
}

#[test]
fn transactions_and_confirms_show_what_is_open() {
    check(
        "
        a connect
        a queue q durable
          a queue.declare-ok q 0 0
        a publish - q one
        a tx
          a tx.select-ok
        a get q
          a get-ok #1 - q left=0 one
        a ack 1
        a publish - q two
        list channels
          127.0.0.1:50000 -> 127.0.0.1:5672 (1) consumers=0 tx uncommitted=1 acks_uncommitted=1
        a rollback
          a tx.rollback-ok
        list channels
          127.0.0.1:50000 -> 127.0.0.1:5672 (1) consumers=0 tx unacknowledged=1
        a leaves
        b connect
        b confirm
          b confirm.select-ok
        log stall
        b publish - q three persistent
        list channels
          127.0.0.1:50000 -> 127.0.0.1:5672 (1) consumers=0 confirm unconfirmed=1
        log resume
          b ack 1
        list channels
          127.0.0.1:50000 -> 127.0.0.1:5672 (1) consumers=0 confirm
        ",
    );
}

#[test]
fn connections_and_what_they_declared_are_listed() {
    check(
        "
        a connect
        a exchange x topic
          a exchange.declare-ok
        a queue q x-message-ttl=5
          a queue.declare-ok q 0 0
        a bind q x a.#
          a queue.bind-ok
        list exchanges
          / - direct
          / x topic
        list bindings
          / - -> queue q q
          / x -> queue q a.#
        list connections
          127.0.0.1:50000 -> 127.0.0.1:5672 guest / running channels=1
        alarm memory on
        list connections
          127.0.0.1:50000 -> 127.0.0.1:5672 guest / blocking channels=1
        a publish - q one
        list connections
          127.0.0.1:50000 -> 127.0.0.1:5672 guest / blocked channels=1
        time 1000
        list queues
          / q classic ready=0 unsettled=0 consumers=0 idle_since=1000000
        ",
    );
}

#[test]
fn a_queue_can_be_browsed_without_a_trace() {
    check(
        "
        a connect
        a queue q x-max-priority=5
          a queue.declare-ok q 0 0
        a publish - q one
        a publish - q two
        a publish - q three priority=5
        a publish - q four
        a publish - q five
        a get q
          a get-ok #1 - q left=4 three priority=5
        a nack 1 requeue
        browse q 0 3
          0 again three
          1 one
          2 two
          next 3
        browse q 3 3
          3 four
          4 five
        browse q 0 3 o
          1 one
          2 two
          3 four
          next 4
        browse q 4 3 o
        browse q 9 3
        a get q no-ack
          a get-ok #2 again - q left=4 three priority=5
        a get q no-ack
          a get-ok #3 - q left=3 one
        count queue q
          publish=5 get=1 get_no_ack=2 redeliver=1
        ",
    );
}
