//! What is there after a restart, in good order or after a crash.

use crate::world::{World, check, check_in};

#[test]
fn definitions_come_back() {
    check(
        "
        user bob management
        vhost v
        allow bob v ^a ^b ^c
        allow-topic bob v amq.topic ^d ^e
        g connect
        g exchange kept topic durable
          g exchange.declare-ok
        g exchange lost topic
          g exchange.declare-ok
        g exchange also direct durable alternate-exchange=kept
          g exchange.declare-ok
        g queue q durable x-message-ttl=5000
          g queue.declare-ok q 0 0
        g queue lost
          g queue.declare-ok lost 0 0
        g queue gone durable
          g queue.declare-ok gone 0 0
        g bind q kept one.*
          g queue.bind-ok
        g bind q kept two.*
          g queue.bind-ok
        g unbind q kept two.*
          g queue.unbind-ok
        g bind q lost k
          g queue.bind-ok
        g bind-exchange kept also k
          g exchange.bind-ok
        g delete gone
          g queue.delete-ok 0
        crash
        g connect
        g publish kept one.x hello mandatory
        g publish kept two.x hello mandatory
          g return 312 NO_ROUTE kept two.x hello
        g publish also one.x alternate mandatory
        g queue q durable x-message-ttl=5000
          g queue.declare-ok q 2 0
        g queue q durable
          g channel.close 406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received none but current is the value '5000' of type 'long' 50.10
        g close-ok
        g channel
          g channel.open-ok
        g exchange lost - passive
          g channel.close 404 NOT_FOUND - no exchange 'lost' in vhost '/' 40.10
        g close-ok
        g channel
          g channel.open-ok
        g queue lost passive
          g channel.close 404 NOT_FOUND - no queue 'lost' in vhost '/' 50.10
        g close-ok
        g channel
          g channel.open-ok
        g queue gone passive
          g channel.close 404 NOT_FOUND - no queue 'gone' in vhost '/' 50.10
        b connect as bob to v
        b queue q
          b channel.close 403 ACCESS_REFUSED - configure access to queue 'q' in vhost 'v' refused for user 'bob' 50.10
        ",
    );
}

#[test]
fn messages_come_back_in_order() {
    check(
        "
        a connect
        a queue q durable
          a queue.declare-ok q 0 0
        a queue transient
          a queue.declare-ok transient 0 0
        a publish - q one persistent
        a publish - q lost
        a publish - q two persistent priority=3
        a publish - transient lost persistent
        restart
        a connect
        a get q no-ack
          a get-ok #1 - q left=1 one
        a get q no-ack
          a get-ok #2 - q left=0 two priority=3
        a get q no-ack
          a get-empty
        ",
    );
}

#[test]
fn after_a_crash_everything_may_have_been_delivered() {
    check(
        "
        a connect
        a queue q durable
          a queue.declare-ok q 0 0
        a publish - q one persistent
        a publish - q two persistent
        a get q
          a get-ok #1 - q left=1 one
        crash
        a connect
        a get q
          a get-ok #1 again - q left=1 one
        a get q
          a get-ok #2 again - q left=0 two
        ",
    );
}

#[test]
fn priorities_are_kept() {
    check(
        "
        a connect
        a queue q durable x-max-priority=5
          a queue.declare-ok q 0 0
        a publish - q low persistent priority=1
        a publish - q high persistent priority=5
        a publish - q middle persistent priority=3
        restart
        a connect
        a get q no-ack
          a get-ok #1 - q left=2 high priority=5
        a get q no-ack
          a get-ok #2 - q left=1 middle priority=3
        a get q no-ack
          a get-ok #3 - q left=0 low priority=1
        ",
    );
}

/// The clock of a message does not stop with the node.
#[test]
fn time_passes_while_the_node_is_down() {
    let mut world = World::new();
    check_in(
        &mut world,
        "
        a connect
        a queue dead durable
          a queue.declare-ok dead 0 0
        a queue q durable x-dead-letter-exchange=- x-dead-letter-routing-key=dead
          a queue.declare-ok q 0 0
        a publish - q short persistent expiration=1000
        a publish - q long persistent expiration=9000
        a leaves
        ",
    );
    world.now = world.now.plus_ms(5000);
    check_in(
        &mut world,
        "
        restart
        a connect
        a get dead no-ack
          a get-ok #1 - dead left=0 short x-death=[{count=1 exchange=- queue=q reason=expired routing-keys=[q] time=@1005 original-expiration=1000}] x-last-death-reason=expired x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=expired x-first-death-queue=q x-first-death-exchange=-
        time 3999
        a queue q passive
          a queue.declare-ok q 1 0
        time 1
        a queue q passive
          a queue.declare-ok q 0 0
        ",
    );
}

#[test]
fn a_message_in_several_queues_is_kept_until_the_last() {
    let mut world = World::new();
    check_in(
        &mut world,
        "
        a connect
        a queue p durable
          a queue.declare-ok p 0 0
        a queue q durable
          a queue.declare-ok q 0 0
        a queue r durable
          a queue.declare-ok r 0 0
        a bind p amq.fanout -
          a queue.bind-ok
        a bind q amq.fanout -
          a queue.bind-ok
        a bind r amq.fanout -
          a queue.bind-ok
        a publish amq.fanout - hello persistent
        a get p no-ack
          a get-ok #1 amq.fanout - left=0 hello
        a get q
          a get-ok #2 amq.fanout - left=0 hello
        a delete r
          a queue.delete-ok 1
        restart
        a connect
        a get p no-ack
          a get-empty
        a get q no-ack
          a get-ok #1 again amq.fanout - left=0 hello
        restart
        a connect
        a get q
          a get-empty
        ",
    );
    assert_eq!(world.records(), 0);
}

#[test]
fn quorum_queues_remember_how_often_a_message_was_given_back() {
    check(
        "
        a connect
        a queue q durable x-queue-type=quorum x-delivery-limit=2
          a queue.declare-ok q 0 0
        a publish - q hello persistent
        a get q
          a get-ok #1 - q left=0 hello
        a nack 1 requeue
        a get q
          a get-ok #2 again - q left=0 hello x-acquired-count=1
        a nack 2 requeue
        restart
        a connect
        a get q
          a get-ok #1 again - q left=0 hello x-acquired-count=2
        a nack 1 requeue
        a get q
          a get-ok #2 again - q left=0 hello x-acquired-count=3
        ",
    );
}

#[test]
fn a_transaction_comes_back_whole() {
    check(
        "
        a connect
        a queue p durable
          a queue.declare-ok p 0 0
        a queue q durable
          a queue.declare-ok q 0 0
        a tx
          a tx.select-ok
        a publish - p one persistent
        a publish - q two persistent
        a commit
          a tx.commit-ok
        a publish - p three persistent
        crash
        a connect
        a get p no-ack
          a get-ok #1 again - p left=0 one
        a get p no-ack
          a get-empty
        a get q no-ack
          a get-ok #2 again - q left=0 two
        ",
    );
}

#[test]
fn dead_letters_come_back_as_such() {
    check(
        "
        a connect
        a queue dead durable x-dead-letter-exchange=- x-dead-letter-routing-key=again
          a queue.declare-ok dead 0 0
        a queue again durable
          a queue.declare-ok again 0 0
        a queue q durable x-dead-letter-exchange=- x-dead-letter-routing-key=dead
          a queue.declare-ok q 0 0
        a publish - q hello persistent
        a get q
          a get-ok #1 - q left=0 hello
        a reject 1
        restart
        a connect
        a get dead
          a get-ok #1 - dead left=0 hello x-death=[{count=1 exchange=- queue=q reason=rejected routing-keys=[q] time=@1000}] x-last-death-reason=rejected x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=rejected x-first-death-queue=q x-first-death-exchange=-
        a reject 1
        a get again no-ack
          a get-ok #2 - again left=0 hello x-last-death-reason=rejected x-last-death-queue=dead x-last-death-exchange=- x-first-death-reason=rejected x-first-death-queue=q x-first-death-exchange=- x-death=[{count=1 exchange=- queue=dead reason=rejected routing-keys=[dead] time=@1000},{count=1 exchange=- queue=q reason=rejected routing-keys=[q] time=@1000}]
        a get q
          a get-empty
        ",
    );
}

/// A queue of the same name after a restart is another queue.
#[test]
fn a_deleted_queue_leaves_nothing_behind() {
    check(
        "
        a connect
        a queue q durable
          a queue.declare-ok q 0 0
        a publish - q old persistent
        a delete q
          a queue.delete-ok 1
        crash
        a connect
        a queue q durable
          a queue.declare-ok q 0 0
        a get q
          a get-empty
        restart
        a connect
        a get q
          a get-empty
        ",
    );
}
