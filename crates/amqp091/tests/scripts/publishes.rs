//! Publishes in every shape, their confirms and their returns.

use crate::words;
use crate::world::{World, check, check_in};

/// Wherever a read ends, the message arrives whole.
#[test]
fn a_publish_may_be_cut_anywhere() {
    let mut said = Vec::new();
    let publish = ["publish", "-", "q", "0123456789", "frames=12", "priority=3"];
    words::say(&publish, 1, &mut said);
    let mut world = World::new();
    check_in(
        &mut world,
        "a connect\na queue q\n  a queue.declare-ok q 0 0",
    );
    for cut in 1..said.len() {
        for part in [&said[..cut], &said[cut..]] {
            world.client("a").unsent.extend_from_slice(part);
            world.hand_over("a");
        }
        let seen = world.play("a get q no-ack");
        let expected = format!("a get-ok #{cut} - q left=0 0123456789 priority=3");
        assert_eq!(seen, [expected], "cut at {cut}");
    }
}

/// Bodies around the sizes at which the connection changes how it takes them in.
#[test]
fn bodies_of_all_sizes_arrive_in_frames_of_all_sizes() {
    let mut world = World::new();
    check_in(
        &mut world,
        "a connect\na queue q\n  a queue.declare-ok q 0 0",
    );
    let mut tag = 0;
    for size in [
        0, 1, 4088, 4089, 15_359, 15_360, 16_384, 131_064, 131_065, 1_000_000,
    ] {
        for frames in [4096, 16_000, 131_072] {
            for read in [1000, 16_384, usize::MAX] {
                let (body, frames) = (format!("z*{size}"), format!("frames={frames}"));
                let mut said = Vec::new();
                words::say(&["publish", "-", "q", &body, &frames], 1, &mut said);
                for part in said.chunks(read.min(said.len())) {
                    world.client("a").unsent.extend_from_slice(part);
                    world.hand_over("a");
                }
                tag += 1;
                let seen = world.play("a get q no-ack");
                let body = match size {
                    0 => "-".to_owned(),
                    1 => "z".to_owned(),
                    _ => body,
                };
                let expected = format!("a get-ok #{tag} - q left=0 {body}");
                assert_eq!(seen, [expected], "{size} in {frames} and reads of {read}");
            }
        }
    }
}

#[test]
fn channels_may_publish_at_the_same_time() {
    check(
        "
        a connect
        a.2 channel
          a.2 channel.open-ok
        a queue q
          a queue.declare-ok q 0 0
        a begin - q
        a.2 begin - q
        a.2 content two
        a content o*1000 frames=100
        a get q no-ack
          a get-ok #1 - q left=1 two
        a get q no-ack
          a get-ok #2 - q left=0 o*1000
        ",
    );
}

#[test]
fn a_message_that_is_too_large_closes_its_channel() {
    let mut options = leveret_broker::options::Options::new(|| 7);
    options.message_bytes_max = 1000;
    check_in(
        &mut World::with(options),
        "
        a connect
        a.2 channel
          a.2 channel.open-ok
        a queue q
          a queue.declare-ok q 0 0
        a publish - q x*1000
        a publish - q x*1001
          a channel.close 406 PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000 60.40
        a.2 get q
          a.2 get-ok #1 - q left=0 x*1000
        a.2 publish - q x*100000 frames=131072
          a.2 channel.close 406 PRECONDITION_FAILED - message size 100000 is larger than configured max size 1000 60.40
        ",
    );
}

#[test]
fn confirms_of_one_read_are_one_frame() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a confirm
          a confirm.select-ok
        a publish - q one
          a ack 1
        a publish - q two &
        a publish - q three &
        a publish - missing four
          a ack 4 multiple
        ",
    );
}

#[test]
fn a_confirm_of_a_persistent_message_waits_for_the_log() {
    check(
        "
        a connect
        b connect
        a queue durable durable
          a queue.declare-ok durable 0 0
        a queue transient
          a queue.declare-ok transient 0 0
        a confirm
          a confirm.select-ok
        log stall
        a publish - transient one persistent
          a ack 1
        a publish - durable two
          a ack 2
        a publish - durable three persistent
        a publish - transient four
        b get durable no-ack
          b get-ok #1 - durable left=1 two
        b get durable no-ack
          b get-ok #2 - durable left=0 three
        log resume
          a ack 4 multiple
        ",
    );
}

#[test]
fn what_comes_back_comes_before_its_confirm() {
    check(
        "
        a connect
        a confirm
          a confirm.select-ok
        a publish - missing one mandatory
          a return 312 NO_ROUTE - missing one
          a ack 1
        a publish - missing two
          a ack 2
        a publish amq.topic no.binding three mandatory persistent
          a return 312 NO_ROUTE amq.topic no.binding three
          a ack 3
        ",
    );
}

#[test]
fn a_full_queue_that_refuses_says_so() {
    check(
        "
        a connect
        a queue q x-max-length=1 x-overflow=reject-publish
          a queue.declare-ok q 0 0
        a confirm
          a confirm.select-ok
        a publish - q one
          a ack 1
        a publish - q two
          a nack 2
        a publish - q three &
        a publish - other four &
        a publish - q five
          a nack 3
          a ack 4
          a nack 5
        a get q no-ack
          a get-ok #1 - q left=0 one
        ",
    );
}

#[test]
fn definitions_are_answered_when_they_are_on_disk() {
    check(
        "
        a connect
        b connect
        log stall
        a queue transient
          a queue.declare-ok transient 0 0
        a queue q durable
        a publish - missing m mandatory
        a exchange x topic durable
        a bind q x key
        b queue q durable
        b exchange x topic durable
        log resume
          a queue.declare-ok q 0 0
          a return 312 NO_ROUTE - missing m
          a exchange.declare-ok
          a queue.bind-ok
          b queue.declare-ok q 0 0
          b exchange.declare-ok
        ",
    );
}

#[test]
fn half_a_message_is_none() {
    let mut world = World::new();
    check_in(
        &mut world,
        "a connect\nb connect\na queue q\n  a queue.declare-ok q 0 0",
    );
    let mut said = Vec::new();
    words::say(&["publish", "-", "q", "y*50000"], 1, &mut said);
    world.client("a").unsent.extend_from_slice(&said[..30_000]);
    world.hand_over("a");
    check_in(
        &mut world,
        "
        a leaves
        b get q
          b get-empty
        ",
    );
}

#[test]
fn what_a_publisher_may_not_say() {
    check(
        "
        user bob
        allow bob / .* .* .*
        user eve impersonator
        allow eve / .* .* .*
        a connect as bob
        b connect as eve
        a queue q
          a queue.declare-ok q 0 0
        a publish - q one user-id=bob
        a get q no-ack
          a get-ok #1 - q left=0 one user-id=bob
        b publish - q two user-id=bob
        a get q no-ack
          a get-ok #2 - q left=0 two user-id=bob
        a publish - q three user-id=eve
          a channel.close 406 PRECONDITION_FAILED - user_id property set to 'eve' but authenticated user was 'bob' 60.40
        a close-ok
        a channel
          a channel.open-ok
        a publish - q four expiration=soon
          a channel.close 406 PRECONDITION_FAILED - invalid expiration 'soon': no_integer 60.40
        a close-ok
        a channel
          a channel.open-ok
        a exchange inside direct internal
          a exchange.declare-ok
        a publish inside q five
          a channel.close 403 ACCESS_REFUSED - cannot publish to internal exchange 'inside' in vhost '/' 60.40
        ",
    );
}

#[test]
fn copies_go_where_they_are_asked_to() {
    check(
        "
        a connect
        a queue one
          a queue.declare-ok one 0 0
        a queue two
          a queue.declare-ok two 0 0
        a queue three
          a queue.declare-ok three 0 0
        a publish - one hello CC=two BCC=three,one
        a get one no-ack
          a get-ok #1 - one left=0 hello CC=[two]
        a get one no-ack
          a get-empty
        a get two no-ack
          a get-ok #2 - one left=0 hello CC=[two]
        a get three no-ack
          a get-ok #3 - one left=0 hello CC=[two]
        a publish - missing hello BCC=three mandatory
        a get three no-ack
          a get-ok #4 - missing left=0 hello
        ",
    );
}
