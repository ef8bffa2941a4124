//! Queues that may hold so much and no more.

use super::*;

#[test]
fn drop_head_makes_room_for_the_new_message() {
    check(
        Settings {
            length_max: Some(2),
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "publish a 1
         publish b
         publish c => MaxLength a, release 1
         attach 1 n1 => attached, 1<b
         publish d
         publish e => MaxLength c
         nack b => 1<b*
         stats => ready 2, bytes 2, unsettled 1, bytes 1, consumers 1",
    );
}

#[test]
fn drop_head_drops_as_many_as_the_new_body_needs() {
    check(
        Settings {
            length_bytes_max: Some(10),
            ..classic()
        },
        "publish a 1 l3
         publish b 2 l3
         publish c 3 l4
         publish d 4 l6 => release 1, release 2
         publish e 5 l11 => release 3, release 4, release 5
         stats",
    );
}

#[test]
fn drop_head_with_priorities_drops_the_head_of_the_highest() {
    check(
        Settings {
            length_max: Some(1),
            priority_max: Some(9),
            ..classic()
        },
        "publish a 1 p1
         publish b 2 p2 => release 2
         publish c 3 p0 => release 1",
    );
}

#[test]
fn dropping_a_head_leaves_no_expired_one() {
    check(
        Settings {
            length_max: Some(2),
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "publish a
         publish b t10
         time 20
         publish c => MaxLength a, Expired b
         deadline => none",
    );
}

#[test]
fn reject_publish_refuses_and_keeps_what_is_there() {
    check(
        Settings {
            length_max: Some(1),
            length_bytes_max: Some(5),
            overflow: Overflow::RejectPublish,
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "publish a 1 l6 => refused, release 1
         publish b 2
         publish c 3 => refused, release 3
         attach 1 n1 => attached, 1<b
         publish d 4
         publish e 5 => refused, release 5
         nack b => count 2 0/1, 1<b*
         ack b => release 2, 1<d
         publish f 6
         nack d => count 4 0/1, 1<d*
         stats => ready 1, bytes 1, unsettled 1, bytes 1, persistent 2, consumers 1",
    );
}

#[test]
fn reject_publish_dlx_also_sends_the_refused_message_on() {
    check(
        Settings {
            length_max: Some(0),
            overflow: Overflow::RejectPublishDlx,
            dead_letter: DeadLetter::AtLeastOnce,
            ..classic()
        },
        "publish a 1 => refused, MaxLength a, release 1
         stats",
    );
    check(
        Settings {
            length_max: Some(0),
            overflow: Overflow::RejectPublishDlx,
            ..classic()
        },
        "publish a 1 => refused, release 1",
    );
}

#[test]
fn a_message_that_can_leave_at_once_does_not_count() {
    for overflow in [Overflow::DropHead, Overflow::RejectPublish] {
        check(
            Settings {
                length_max: Some(0),
                overflow,
                ..classic()
            },
            "attach 1 => attached
             publish a => 1<a",
        );
    }
}

#[test]
fn limits_hand_out_before_they_drop() {
    for overflow in [Overflow::DropHead, Overflow::RejectPublish] {
        let settings = Settings {
            length_max: Some(1),
            overflow,
            ..classic()
        };
        let mut queue = QueueCore::new(settings, Timestamp(0));
        let mut effects = Vec::new();
        let publish = |body| Op::Publish(Script::incoming(&[body]));
        queue.apply(Timestamp(0), publish("a"), &mut effects);
        queue.apply(Timestamp(0), Op::Attach(consumer(1)), &mut effects);
        assert!(queue.has_work());
        // The driver has not come to assign `a` when `b` is published.
        queue.apply(Timestamp(0), publish("b"), &mut effects);
        queue.apply(Timestamp(0), Op::Assign(9), &mut effects);
        let [
            Effect::Attached,
            Effect::Deliver(_, a),
            Effect::Deliver(_, b),
        ] = &effects[..]
        else {
            panic!("{effects:?}");
        };
        assert_eq!((a.message.body(), b.message.body()), (&b"a"[..], &b"b"[..]));
    }
}
