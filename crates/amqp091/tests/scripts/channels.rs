//! Channels open and close on their own; transactions; what closes a channel and what the connection.

use crate::world::check;

#[test]
fn an_error_on_a_channel_leaves_the_others() {
    check(
        "
        a connect
        a.2 channel
          a.2 channel.open-ok
        a queue q
          a queue.declare-ok q 0 0
        a.2 publish - q one
        a.2 get q
          a.2 get-ok #1 - q left=0 one
        a publish nowhere k lost
          a channel.close 404 NOT_FOUND - no exchange 'nowhere' in vhost '/' 60.40
        a publish - q ignored
        a queue ignored
        a.2 ack 1
        a.2 get q
          a.2 get-empty
        a close-ok
        a channel
          a channel.open-ok
        a queue q passive
          a queue.declare-ok q 0 0
        ",
    );
}

#[test]
fn errors_on_a_channel() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a.2 channel
          a.2 channel.open-ok
        a.2 queue missing passive
          a.2 channel.close 404 NOT_FOUND - no queue 'missing' in vhost '/' 50.10
        a.3 channel
          a.3 channel.open-ok
        a.3 queue q durable
          a.3 channel.close 406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false' 50.10
        a.4 channel
          a.4 channel.open-ok
        a.4 queue amq.mine
          a.4 channel.close 403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*' 50.10
        a.5 channel
          a.5 channel.open-ok
        a.5 ack 1
          a.5 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1 60.80
        a.6 channel
          a.6 channel.open-ok
        a.6 commit
          a.6 channel.close 406 PRECONDITION_FAILED - channel is not transactional 90.20
        a.7 channel
          a.7 channel.open-ok
        a.7 tx
          a.7 tx.select-ok
        a.7 confirm
          a.7 channel.close 406 PRECONDITION_FAILED - cannot switch from tx to confirm mode 85.10
        a.8 channel
          a.8 channel.open-ok
        a.8 get missing
          a.8 channel.close 404 NOT_FOUND - no queue 'missing' in vhost '/' 60.70
        a.9 channel
          a.9 channel.open-ok
        a.9 consume missing c
          a.9 channel.close 404 NOT_FOUND - no queue 'missing' in vhost '/' 60.20
        a.10 channel
          a.10 channel.open-ok
        a.10 exchange x nonsense
          a.10 channel.close 406 PRECONDITION_FAILED - unknown exchange type 'nonsense' 40.10
        a.11 channel
          a.11 channel.open-ok
        a.11 publish - q x immediate
          a connection.close 540 NOT_IMPLEMENTED - immediate=true 60.40
        ",
    );
}

#[test]
fn errors_of_the_connection() {
    check(
        "
        a connect
        a channel
          a connection.close 504 CHANNEL_ERROR - second 'channel.open' seen 20.10
        a bye-ok
          a closed
        b connect
        b.2 queue q
          b connection.close 504 CHANNEL_ERROR - expected 'channel.open' 50.10
        b bye-ok
          b closed
        c connect
        c content stray
          c connection.close 505 UNEXPECTED_FRAME - expected method frame, got non method frame instead 0.0
        c bye-ok
          c closed
        d connect
        d queue q
          d queue.declare-ok q 0 0
        d consume q same
          d consume-ok same
        d consume q same
          d connection.close 530 NOT_ALLOWED - attempt to reuse consumer tag 'same' 60.20
        d bye-ok
          d closed
        ",
    );
}

/// A publish that is followed by something else than its content.
#[test]
fn content_must_follow_its_method() {
    check(
        "
        a connect
        a bytes 01 00 01 00 00 00 0a 00 3c 00 28 00 00 00 01 71 00 ce
        a get q
          a connection.close 505 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead 60.40
        a bye-ok
          a closed
        ",
    );
}

#[test]
fn unsettled_deliveries_return_in_order_when_their_channel_closes() {
    check(
        "
        a connect
        b connect
        a queue q
          a queue.declare-ok q 0 0
        a publish - q one &
        a publish - q two &
        a publish - q three &
        a publish - q four
        b qos 3
          b qos-ok
        b consume q c
          b consume-ok c
          b deliver c #1 - q one
          b deliver c #2 - q two
          b deliver c #3 - q three
        b ack 2
          b deliver c #4 - q four
        b close
          b channel.close-ok
        a get q no-ack
          a get-ok #1 again - q left=2 one
        a get q no-ack
          a get-ok #2 again - q left=1 three
        a get q no-ack
          a get-ok #3 again - q left=0 four
        a get q no-ack
          a get-empty
        ",
    );
}

/// The consumer is attached and its channel closed in one read: nothing of what the queue handed out was ever sent.
#[test]
fn deliveries_that_were_never_sent_return() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a publish - q one &
        a publish - q two &
        a publish - q three
        a.2 channel
          a.2 channel.open-ok
        a.2 consume q c &
        a.2 close
          a.2 consume-ok c
          a.2 channel.close-ok
        a get q no-ack
          a get-ok #1 again - q left=2 one
        a get q no-ack
          a get-ok #2 again - q left=1 two
        a get q no-ack
          a get-ok #3 again - q left=0 three
        ",
    );
}

#[test]
fn a_failed_channel_returns_its_deliveries_too() {
    check(
        "
        a connect
        a.2 channel
          a.2 channel.open-ok
        a queue q
          a queue.declare-ok q 0 0
        a publish - q one &
        a publish - q two
        a.2 consume q c
          a.2 consume-ok c
          a.2 deliver c #1 - q one
          a.2 deliver c #2 - q two
        a.2 ack 9
          a.2 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 9 60.80
        a get q no-ack
          a get-ok #1 again - q left=1 one
        a get q no-ack
          a get-ok #2 again - q left=0 two
        a.2 close-ok
        ",
    );
}

/// The notice that a consumer is gone must not be taken for one about its successor on a channel with the same number.
#[test]
fn a_reopened_channel_hears_nothing_meant_for_the_one_before() {
    check(
        "
        a connect consumer_cancel_notify
        b connect
        b queue old
          b queue.declare-ok old 0 0
        b queue new
          b queue.declare-ok new 0 0
        a consume old c
          a consume-ok c
        b quietly delete old
        a close &
        a channel &
        a consume new c
          a channel.close-ok
          a channel.open-ok
          a consume-ok c
          b queue.delete-ok 0
        b publish - new hello
          a deliver c #1 - new hello
        ",
    );
}

#[test]
fn a_transaction_is_seen_when_it_is_committed() {
    check(
        "
        a connect
        b connect
        a queue q
          a queue.declare-ok q 0 0
        a tx
          a tx.select-ok
        a publish - q one
        a publish - missing two mandatory
        b get q
          b get-empty
        a commit
          a return 312 NO_ROUTE - missing two
          a tx.commit-ok
        b get q
          b get-ok #1 - q left=0 one
        a publish - q three
        a rollback
          a tx.rollback-ok
        a commit
          a tx.commit-ok
        b get q
          b get-empty
        ",
    );
}

#[test]
fn acknowledgements_in_a_transaction_can_be_taken_back() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a publish - q one &
        a publish - q two
        a tx
          a tx.select-ok
        a get q
          a get-ok #1 - q left=1 one
        a get q
          a get-ok #2 - q left=0 two
        a ack 1
        a rollback
          a tx.rollback-ok
        a ack 1
        a ack 1
          a channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1 60.80
        a close-ok
        a channel
          a channel.open-ok
        a tx
          a tx.select-ok
        a get q
          a get-ok #1 again - q left=1 one
        a get q
          a get-ok #2 again - q left=0 two
        a ack 2 multiple
        a commit
          a tx.commit-ok
        a queue q passive
          a queue.declare-ok q 0 0
        ",
    );
}

#[test]
fn a_transaction_ends_with_its_channel() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a publish - q old
        a tx
          a tx.select-ok
        a publish - q new
        a get q
          a get-ok #1 - q left=0 old
        a ack 1
        a close
          a channel.close-ok
        a channel
          a channel.open-ok
        a get q no-ack
          a get-ok #1 again - q left=0 old
        a get q no-ack
          a get-empty
        ",
    );
}

#[test]
fn a_durable_commit_waits_for_the_log() {
    check(
        "
        a connect
        a queue q durable
          a queue.declare-ok q 0 0
        a tx
          a tx.select-ok
        a publish - q one persistent
        log stall
        a commit
        log resume
          a tx.commit-ok
        ",
    );
}

#[test]
fn exclusive_queues_are_gone_when_the_client_hears_goodbye() {
    check(
        "
        a connect
        b connect
        a queue mine exclusive
          a queue.declare-ok mine 0 0
        b queue mine
          b channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration. 50.10
        b close-ok
        b channel
          b channel.open-ok
        a bye
          a connection.close-ok
        b queue mine
          b queue.declare-ok mine 0 0
        ",
    );
}
