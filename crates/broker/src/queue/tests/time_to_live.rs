//! Messages and queues whose time is up.

use super::*;

#[test]
fn the_lower_of_both_times_to_live_counts() {
    check(
        Settings {
            message_ttl_ms: Some(100),
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "publish a 1 t50
         publish b 2 t500
         publish c 3
         deadline => 50
         time 49
         time 50 => Expired a, release 1
         deadline => 100
         time 100 => Expired b, release 2, Expired c, release 3
         deadline => none
         stats",
    );
}

#[test]
fn only_heads_expire_but_no_expired_message_is_delivered() {
    check(
        classic(),
        "publish a 1
         publish b 2 t50
         publish c 3 t90
         publish d 4
         time 50
         get => got a left 3, release 2
         time 90 => release 3
         get => got d left 0",
    );
}

#[test]
fn what_expires_between_two_messages_is_not_handed_out_with_them() {
    check(
        classic(),
        "attach 1 => attached
         pause 1
         publish a
         publish b 2 t10
         publish c
         time 10
         resume 1 => 1<a, release 2, 1<c",
    );
}

#[test]
fn the_heads_of_all_priorities_expire() {
    let script = "publish a 1 p1 t50
                  publish b 2 p2
                  publish c 3 p3 t50
                  time 50 => Expired c, release 3, Expired a, release 1
                  stats => ready 1, bytes 1, persistent 1";
    let dead_letter = DeadLetter::AtMostOnce;
    for settings in [classic(), quorum()] {
        check(
            Settings {
                dead_letter,
                priority_max: Some(9),
                ..settings
            },
            script,
        );
    }
}

#[test]
fn a_time_to_live_of_zero_means_now_or_never() {
    check(
        Settings {
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "publish a 1 t0 => Expired a, release 1
         publish b
         publish c 3 t0 => Expired c, release 3
         attach 1 n2 => attached, 1<b
         publish d t0 => 1<d
         publish e 5 t0 => Expired e, release 5
         nack d => Expired d",
    );
}
