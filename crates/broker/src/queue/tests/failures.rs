//! Deliveries that were not acknowledged.

use super::*;

#[test]
fn reject_and_the_end_of_the_session_count_as_failures_but_nack_does_not() {
    check(
        Settings {
            delivery_limit: Some(2),
            dead_letter: DeadLetter::AtMostOnce,
            ..quorum()
        },
        "attach 1 => attached
         publish a 1 => 1<a
         nack a => count 1 0/1, 1<a*0/1
         reject a => count 1 1/2, 1<a*1/2
         end a => count 1 2/3, 1<a*2/3
         nack a => count 1 2/4, 1<a*2/4
         reject a => DeliveryLimit a, release 1
         publish b => 1<b
         reject b => 1<b*1/1",
    );
}

#[test]
fn classic_queues_neither_count_nor_limit_deliveries() {
    check(
        classic(),
        "attach 1 => attached
         publish a => 1<a
         reject a => 1<a*
         end a => 1<a*",
    );
}

#[test]
fn a_restart_does_not_forget_that_a_classic_queue_has_handed_out_a_message() {
    check(
        classic(),
        "attach 1 => attached
         publish a 1 => 1<a
         reject a => count 1 0/1, 1<a*
         end a => 1<a*",
    );
    check(classic(), "recover a 1 x1\nget => got a* left 0");
}

#[test]
fn delayed_retries_wait_longer_after_each_failure() {
    check(
        Settings {
            delayed_retry: Some(DelayedRetry {
                on: RetryOn::All,
                min_ms: 10,
                max_ms: 25,
            }),
            ..quorum()
        },
        "attach 1 => attached
         publish a 1 => 1<a
         publish b => 1<b
         reject b
         reject a => count 1 1/1
         stats => delayed 2, persistent 1, consumers 1
         deadline => 10
         time 9
         time 10 => 1<a*1/1, 1<b*1/1
         reject a => count 1 2/2
         deadline => 30
         nack b
         deadline => 20
         time 20 => 1<b*1/2
         time 30 => 1<a*2/2
         reject a => count 1 3/3
         deadline => 55
         purge => release 1, purged 1
         deadline => none",
    );
}

#[test]
fn delayed_retry_chooses_by_kind_of_return() {
    let settings = |on| Settings {
        delayed_retry: Some(DelayedRetry {
            on,
            min_ms: 10,
            max_ms: 10,
        }),
        ..quorum()
    };
    let start = "attach 1 => attached
                 publish a => 1<a
                 publish b => 1<b";
    let failed = "nack a => 1<a*0/1
                  reject b
                  time 10 => 1<b*1/1";
    let returned = "reject a => 1<a*1/1
                    nack b
                    time 10 => 1<b*0/1";
    check(settings(RetryOn::Failed), &format!("{start}\n{failed}"));
    check(settings(RetryOn::Returned), &format!("{start}\n{returned}"));
}

#[test]
fn delayed_messages_count_towards_the_limits() {
    check(
        Settings {
            delayed_retry: Some(DelayedRetry {
                on: RetryOn::All,
                min_ms: 10,
                max_ms: 10,
            }),
            length_bytes_max: Some(3),
            overflow: Overflow::RejectPublish,
            ..quorum()
        },
        "publish a l2
         get => got a left 0
         nack a
         publish b l2 => refused
         publish c l1
         time 10
         get => got a*0/1 left 1",
    );
}

#[test]
fn overdue_deliveries_return_and_their_consumer_is_detached() {
    check(
        Settings {
            consumer_timeout_ms: Some(100),
            delivery_limit: Some(0),
            ..quorum()
        },
        "attach 1 => attached
         attach 2 o300 => attached
         publish a 1 => 1<a
         publish b => 2<b
         publish c 3 => 1<c
         time 50
         publish d => 2<d
         publish e => 1<e
         deadline => 100
         time 100 => count 1 0/1, count 3 0/1, timed out 1 after 100, 2<a*0/1, 2<c*0/1
         deadline => 150
         time 150 => 2<e*0/1
         ack b
         deadline => 300
         time 300
         deadline => 350
         time 350 => timed out 2 after 300
         get => got d*0/1 left 0
         ack a c e => release 1, release 3
         time 9000
         deadline => none
         stats => unsettled 1, bytes 1",
    );
}

#[test]
fn overdue_deliveries_return_in_the_order_of_the_queue() {
    check(
        Settings {
            consumer_timeout_ms: Some(100),
            ..quorum()
        },
        "attach 1 => attached
         publish a => 1<a
         publish b => 1<b
         ack a
         publish c => 1<c
         time 100 => timed out 1 after 100
         get => got b*0/1 left 1",
    );
}
