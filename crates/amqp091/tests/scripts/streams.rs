//! Streams by AMQP 0-9-1: who may read them how, and that what is read stays.

use crate::world::check;

#[test]
fn what_is_read_stays_and_has_its_offset() {
    check(
        "
        a connect
        b connect
        a queue s durable x-queue-type=stream
          a queue.declare-ok s 0 0
        a confirm
          a confirm.select-ok
        a publish - s one
          a ack 1
        a publish - s two priority=3
          a ack 2
        b qos 10
          b qos-ok
        b consume s c x-stream-offset=first
          b consume-ok c
          b deliver c #1 - s one x-stream-offset=0
          b deliver c #2 - s two priority=3 x-stream-offset=1
        b ack 2 multiple
        b cancel c
          b cancel-ok c
        b consume s d x-stream-offset=1
          b consume-ok d
          b deliver d #3 - s two priority=3 x-stream-offset=1
        a publish - s three
          a ack 3
          b deliver d #4 - s three x-stream-offset=2
        ",
    );
}

#[test]
fn nobody_sees_a_message_before_it_is_durable() {
    check(
        "
        a connect
        b connect
        a queue s durable x-queue-type=stream
          a queue.declare-ok s 0 0
        b qos 10
          b qos-ok
        b consume s c
          b consume-ok c
        log stall
        a publish - s one
        log resume
          b deliver c #1 - s one x-stream-offset=0
        ",
    );
}

#[test]
fn offsets_outlive_a_crash_and_so_do_transient_messages() {
    check(
        "
        a connect
        a queue s durable x-queue-type=stream
          a queue.declare-ok s 0 0
        a queue q durable x-queue-type=quorum
          a queue.declare-ok q 0 0
        a confirm
          a confirm.select-ok
        a publish - s one
          a ack 1
        a publish - s two persistent
          a ack 2
        a publish - q three
          a ack 3
        crash
        a connect
        a queue q durable x-queue-type=quorum
          a queue.declare-ok q 1 0
        a publish - s four
        a qos 10
          a qos-ok
        a consume s c x-stream-offset=first
          a consume-ok c
          a deliver c #1 - s one x-stream-offset=0
          a deliver c #2 - s two x-stream-offset=1
          a deliver c #3 - s four x-stream-offset=2
        ",
    );
}

#[test]
fn readers_ask_for_what_a_stream_can_give() {
    check(
        r#"
        a connect
        a queue s durable x-queue-type=stream
          a queue.declare-ok s 0 0
        a consume s c
          a channel.close 406 PRECONDITION_FAILED - consumer prefetch count is not set for stream queue 's' in vhost '/' 60.20
        a close-ok
        a channel
          a channel.open-ok
        a qos 10
          a qos-ok
        a consume s c x-priority=1
          a channel.close 406 PRECONDITION_FAILED - invalid arg 'x-priority' for queue 's' in vhost '/' of queue type rabbit_stream_queue 60.20
        a close-ok
        a channel
          a channel.open-ok
        a qos 10
          a qos-ok
        a consume s c x-stream-offset=5x
          a channel.close 406 PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 's' in vhost '/': {invalid_stream_offset_arg,{longstr,<<"5x">>}} 60.20
        a close-ok
        a channel
          a channel.open-ok
        a consume s c no-ack
          a connection.close 540 NOT_IMPLEMENTED - automatic acknowledgement not supported by stream queue 's' in vhost '/' 60.20
        "#,
    );
}

#[test]
fn a_stream_is_neither_got_from_nor_purged() {
    check(
        "
        a connect
        a queue s durable x-queue-type=stream x-max-age=1h
          a queue.declare-ok s 0 0
        a queue s durable x-queue-type=stream x-max-age=60m
          a queue.declare-ok s 0 0
        a queue s durable x-queue-type=stream x-max-age=2h
          a channel.close 406 PRECONDITION_FAILED - inequivalent arg 'x-max-age' for queue 's' in vhost '/': received '7200000' but current is '3600000' 50.10
        a close-ok
        a channel
          a channel.open-ok
        a get s
          a connection.close 540 NOT_IMPLEMENTED - basic.get not supported by stream queues queue 's' in vhost '/' 60.70
        b connect
        b purge s
          b connection.close 540 NOT_IMPLEMENTED - queue.purge not supported by stream queues queue 's' in vhost '/' 50.30
        ",
    );
}
