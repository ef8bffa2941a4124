//! Exchanges, bindings and queues that refer to one another, and the limits of a node.

use leveret_broker::options::Options;
use leveret_broker::queue::Kind;

use crate::world::{World, check, check_in};

#[test]
fn what_no_binding_takes_goes_to_the_alternate() {
    check(
        "
        a connect
        a exchange last fanout
          a exchange.declare-ok
        a exchange main direct alternate-exchange=last
          a exchange.declare-ok
        a queue taken
          a queue.declare-ok taken 0 0
        a queue rest
          a queue.declare-ok rest 0 0
        a bind taken main known
          a queue.bind-ok
        a bind rest last -
          a queue.bind-ok
        a publish main known one mandatory
        a publish main unknown two mandatory
        a get taken no-ack
          a get-ok #1 main known left=0 one
        a get rest no-ack
          a get-ok #2 main unknown left=0 two
        a delete-exchange last
          a exchange.delete-ok
        a publish main unknown three mandatory
          a return 312 NO_ROUTE main unknown three
        ",
    );
}

#[test]
fn alternates_in_a_circle_end() {
    check(
        "
        a connect
        a exchange x direct alternate-exchange=y
          a exchange.declare-ok
        a exchange y direct alternate-exchange=x
          a exchange.declare-ok
        a publish x nobody hello mandatory
          a return 312 NO_ROUTE x nobody hello
        a exchange x direct
          a channel.close 406 PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received none but current is the value 'y' of type 'longstr' 40.10
        ",
    );
}

#[test]
fn exchanges_in_a_circle_route_each_message_once() {
    check(
        "
        a connect
        a exchange x fanout
          a exchange.declare-ok
        a exchange y topic
          a exchange.declare-ok
        a exchange z fanout internal
          a exchange.declare-ok
        a bind-exchange y x -
          a exchange.bind-ok
        a bind-exchange z y #
          a exchange.bind-ok
        a bind-exchange x z -
          a exchange.bind-ok
        a queue q
          a queue.declare-ok q 0 0
        a bind q x -
          a queue.bind-ok
        a bind q y *
          a queue.bind-ok
        a bind q z -
          a queue.bind-ok
        a publish x key hello
        a get q no-ack
          a get-ok #1 x key left=0 hello
        a get q no-ack
          a get-empty
        a unbind-exchange y x -
          a exchange.unbind-ok
        a unbind q x -
          a queue.unbind-ok
        a publish x key lost mandatory
          a return 312 NO_ROUTE x key lost
        a bind-exchange y nowhere k
          a channel.close 404 NOT_FOUND - no exchange 'nowhere' in vhost '/' 40.30
        ",
    );
}

#[test]
fn the_last_binding_takes_a_chain_of_exchanges_with_it() {
    check(
        "
        a connect
        a exchange x fanout auto-delete
          a exchange.declare-ok
        a exchange y fanout auto-delete
          a exchange.declare-ok
        a exchange kept fanout
          a exchange.declare-ok
        a bind-exchange y x -
          a exchange.bind-ok
        a bind-exchange y kept -
          a exchange.bind-ok
        a queue q auto-delete
          a queue.declare-ok q 0 0
        a bind q y -
          a queue.bind-ok
        a consume q c
          a consume-ok c
        a cancel c
          a cancel-ok c
        a exchange y - passive
          a channel.close 404 NOT_FOUND - no exchange 'y' in vhost '/' 40.10
        a close-ok
        a channel
          a channel.open-ok
        a exchange x - passive
          a channel.close 404 NOT_FOUND - no exchange 'x' in vhost '/' 40.10
        a close-ok
        a channel
          a channel.open-ok
        a publish kept k hello mandatory
          a return 312 NO_ROUTE kept k hello
        ",
    );
}

#[test]
fn an_exchange_that_never_had_a_binding_stays() {
    check(
        "
        a connect
        a exchange x fanout auto-delete
          a exchange.declare-ok
        a queue q
          a queue.declare-ok q 0 0
        a unbind q x -
          a queue.unbind-ok
        a exchange x - passive
          a exchange.declare-ok
        a bind q x one
          a queue.bind-ok
        a bind q x two
          a queue.bind-ok
        a unbind q x one
          a queue.unbind-ok
        a exchange x - passive
          a exchange.declare-ok
        a delete-exchange x if-unused
          a channel.close 406 PRECONDITION_FAILED - exchange 'x' in vhost '/' in use 40.20
        a close-ok
        a channel
          a channel.open-ok
        a unbind q x two
          a queue.unbind-ok
        a exchange x - passive
          a channel.close 404 NOT_FOUND - no exchange 'x' in vhost '/' 40.10
        ",
    );
}

#[test]
fn bindings_go_with_their_queue() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a bind q amq.topic a.*
          a queue.bind-ok
        a publish amq.topic a.b one
        a delete q if-empty
          a channel.close 406 PRECONDITION_FAILED - queue 'q' in vhost '/' not empty 50.40
        a close-ok
        a channel
          a channel.open-ok
        a delete q
          a queue.delete-ok 1
        a publish amq.topic a.b two mandatory
          a return 312 NO_ROUTE amq.topic a.b two
        a queue q
          a queue.declare-ok q 0 0
        a publish amq.topic a.b three mandatory
          a return 312 NO_ROUTE amq.topic a.b three
        a delete q
          a queue.delete-ok 0
        a delete q
          a queue.delete-ok 0
        ",
    );
}

#[test]
fn a_node_has_limits() {
    let mut options = Options::new(|| 7);
    options.queues_max = Some(1);
    options.exchanges_max = Some(8);
    options.connections_max = Some(2);
    options.consumers_per_channel_max = Some(1);
    check_in(
        &mut World::with(options),
        "
        a connect
        b connect
        c connects
        c header
          c connection.start ANONYMOUS AMQPLAIN PLAIN
        c start-ok guest guest
          c connection.tune 2047 131072 60
        c tune-ok
        c open /
          c connection.close 530 NOT_ALLOWED - connection refused: node connection limit (2) is reached 10.40
        a queue q
          a queue.declare-ok q 0 0
        b queue r
          b channel.close 406 PRECONDITION_FAILED - cannot declare queue 'r' in vhost '/': queue limit in cluster (1) is reached 50.10
        b close-ok
        b channel
          b channel.open-ok
        b queue q
          b queue.declare-ok q 0 0
        b exchange x direct
          b exchange.declare-ok
        b exchange y direct
          b channel.close 406 PRECONDITION_FAILED - cannot declare exchange 'y' in vhost '/': exchange limit of 8 is reached 40.10
        b close-ok
        b channel
          b channel.open-ok
        b exchange x direct
          b exchange.declare-ok
        a consume q one
          a consume-ok one
        b consume q other
          b consume-ok other
        b leaves
        a consume q two
          a connection.close 530 NOT_ALLOWED - reached maximum (1) of consumers per channel 60.20
        ",
    );
}

#[test]
fn no_new_queue_has_a_type_that_is_disabled() {
    let mut options = Options::new(|| 7);
    options.disabled_queue_kinds = vec![Kind::Quorum];
    check_in(
        &mut World::with(options),
        "
        a connect
        a queue q durable
          a queue.declare-ok q 0 0
        a queue qq durable x-queue-type=quorum
          a connection.close 541 INTERNAL_ERROR - Cannot declare a queue 'queue 'qq' in vhost '/'' of type 'rabbit_quorum_queue' on node 'rabbit@localhost': the corresponding feature flag is disabled 50.10
        ",
    );
}
