//! What each operation asks of its user.

use crate::world::check;

/// Declaring and deleting: configure, and for dead letters and alternates read of itself and write of those.
#[test]
fn declaring_asks_for_configure() {
    check(
        "
        user bob
        allow bob / ^mine ^(mine|theirs-w) ^(mine-r)
        a connect as bob
        a.10 channel
          a.10 channel.open-ok
        a.10 queue mine
          a.10 queue.declare-ok mine 0 0
        a.10 exchange mine direct
          a.10 exchange.declare-ok
        a.10 queue mine-r x-dead-letter-exchange=theirs-w
          a.10 queue.declare-ok mine-r 0 0
        a.10 exchange mine-r direct alternate-exchange=theirs-w
          a.10 exchange.declare-ok
        a.10 queue mine-r2 x-dead-letter-exchange=mine-nothing
          a.10 queue.declare-ok mine-r2 0 0
        a queue theirs
          a channel.close 403 ACCESS_REFUSED - configure access to queue 'theirs' in vhost '/' refused for user 'bob' 50.10
        a.2 channel
          a.2 channel.open-ok
        a.2 exchange theirs direct
          a.2 channel.close 403 ACCESS_REFUSED - configure access to exchange 'theirs' in vhost '/' refused for user 'bob' 40.10
        a.3 channel
          a.3 channel.open-ok
        a.3 delete theirs
          a.3 channel.close 403 ACCESS_REFUSED - configure access to queue 'theirs' in vhost '/' refused for user 'bob' 50.40
        a.4 channel
          a.4 channel.open-ok
        a.4 delete-exchange theirs
          a.4 channel.close 403 ACCESS_REFUSED - configure access to exchange 'theirs' in vhost '/' refused for user 'bob' 40.20
        a.5 channel
          a.5 channel.open-ok
        a.5 queue mine2 x-dead-letter-exchange=theirs-w
          a.5 channel.close 403 ACCESS_REFUSED - read access to queue 'mine2' in vhost '/' refused for user 'bob' 50.10
        a.6 channel
          a.6 channel.open-ok
        a.6 queue mine-r3 x-dead-letter-exchange=theirs
          a.6 channel.close 403 ACCESS_REFUSED - write access to exchange 'theirs' in vhost '/' refused for user 'bob' 50.10
        a.7 channel
          a.7 channel.open-ok
        a.7 exchange mine2 direct alternate-exchange=theirs-w
          a.7 channel.close 403 ACCESS_REFUSED - read access to exchange 'mine2' in vhost '/' refused for user 'bob' 40.10
        a.8 channel
          a.8 channel.open-ok
        a.8 exchange mine-r3 direct alternate-exchange=theirs
          a.8 channel.close 403 ACCESS_REFUSED - write access to exchange 'theirs' in vhost '/' refused for user 'bob' 40.10
        ",
    );
}

#[test]
fn passive_declarations_ask_for_anything() {
    check(
        "
        user bob
        allow bob / ^c ^w ^r
        g connect
        g queue c
          g queue.declare-ok c 0 0
        g queue w
          g queue.declare-ok w 0 0
        g queue r
          g queue.declare-ok r 0 0
        g queue x
          g queue.declare-ok x 0 0
        g exchange c direct
          g exchange.declare-ok
        g exchange x direct
          g exchange.declare-ok
        a connect as bob
        a queue c passive
          a queue.declare-ok c 0 0
        a queue w passive
          a queue.declare-ok w 0 0
        a queue r passive
          a queue.declare-ok r 0 0
        a exchange c - passive
          a exchange.declare-ok
        a queue x passive
          a channel.close 403 ACCESS_REFUSED - read access to queue 'x' in vhost '/' refused for user 'bob' 50.10
        a.2 channel
          a.2 channel.open-ok
        a.2 exchange x - passive
          a.2 channel.close 403 ACCESS_REFUSED - read access to exchange 'x' in vhost '/' refused for user 'bob' 40.10
        ",
    );
}

#[test]
fn binding_asks_for_write_and_read() {
    check(
        "
        user bob
        allow bob / - ^w ^r
        g connect
        g queue w
          g queue.declare-ok w 0 0
        g queue r
          g queue.declare-ok r 0 0
        g exchange w direct
          g exchange.declare-ok
        g exchange r direct
          g exchange.declare-ok
        a connect as bob
        a bind w r key
          a queue.bind-ok
        a unbind w r key
          a queue.unbind-ok
        a bind-exchange w r key
          a exchange.bind-ok
        a unbind-exchange w r key
          a exchange.unbind-ok
        a bind r r key
          a channel.close 403 ACCESS_REFUSED - write access to queue 'r' in vhost '/' refused for user 'bob' 50.20
        a.2 channel
          a.2 channel.open-ok
        a.2 bind w w key
          a.2 channel.close 403 ACCESS_REFUSED - read access to exchange 'w' in vhost '/' refused for user 'bob' 50.20
        a.3 channel
          a.3 channel.open-ok
        a.3 unbind r r key
          a.3 channel.close 403 ACCESS_REFUSED - write access to queue 'r' in vhost '/' refused for user 'bob' 50.50
        a.4 channel
          a.4 channel.open-ok
        a.4 bind-exchange r r key
          a.4 channel.close 403 ACCESS_REFUSED - write access to exchange 'r' in vhost '/' refused for user 'bob' 40.30
        a.5 channel
          a.5 channel.open-ok
        a.5 unbind-exchange w w key
          a.5 channel.close 403 ACCESS_REFUSED - read access to exchange 'w' in vhost '/' refused for user 'bob' 40.40
        ",
    );
}

#[test]
fn publishing_asks_for_write_and_consuming_for_read() {
    check(
        "
        user bob
        allow bob / - ^w ^r
        g connect
        g queue w
          g queue.declare-ok w 0 0
        g queue r
          g queue.declare-ok r 0 0
        g exchange w fanout
          g exchange.declare-ok
        g exchange r fanout
          g exchange.declare-ok
        a connect as bob
        a publish w key hello
        a get r
          a get-empty
        a consume r c
          a consume-ok c
        a purge r
          a queue.purge-ok 0
        a publish r key hello
          a channel.close 403 ACCESS_REFUSED - write access to exchange 'r' in vhost '/' refused for user 'bob' 60.40
        a.2 channel
          a.2 channel.open-ok
        a.2 publish - r hello
          a.2 channel.close 403 ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'bob' 60.40
        a.3 channel
          a.3 channel.open-ok
        a.3 get w
          a.3 channel.close 403 ACCESS_REFUSED - read access to queue 'w' in vhost '/' refused for user 'bob' 60.70
        a.4 channel
          a.4 channel.open-ok
        a.4 consume w c
          a.4 channel.close 403 ACCESS_REFUSED - read access to queue 'w' in vhost '/' refused for user 'bob' 60.20
        a.5 channel
          a.5 channel.open-ok
        a.5 purge w
          a.5 channel.close 403 ACCESS_REFUSED - read access to queue 'w' in vhost '/' refused for user 'bob' 50.30
        allow bob / - ^(w|amq.default) ^r
        a.6 channel
          a.6 channel.open-ok
        a.6 publish - r hello
        ",
    );
}

/// A publisher that is used to its route is stopped as soon as it may not use it any more.
#[test]
fn a_permission_taken_back_stops_a_steady_publisher() {
    check(
        "
        user bob
        allow bob / .* .* .*
        a connect as bob
        a queue q
          a queue.declare-ok q 0 0
        a publish - q one
        a publish - q two
        allow bob / .* - .*
        a publish - q three
          a channel.close 403 ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'bob' 60.40
        ",
    );
}

#[test]
fn topic_permissions_look_at_the_key() {
    check(
        "
        user bob
        allow bob / .* .* .*
        allow-topic bob / amq.topic ^mine ^yours
        a connect as bob
        a queue q
          a queue.declare-ok q 0 0
        a publish amq.topic mine.key hello
        a bind q amq.topic yours.#
          a queue.bind-ok
        a publish amq.fanout theirs hello
        a publish amq.topic theirs hello
          a channel.close 403 ACCESS_REFUSED - write access to topic 'theirs' in exchange 'amq.topic' in vhost '/' refused for user 'bob' 60.40
        a.2 channel
          a.2 channel.open-ok
        a.2 publish amq.topic mine.key hello CC=theirs
          a.2 channel.close 403 ACCESS_REFUSED - write access to topic 'theirs' in exchange 'amq.topic' in vhost '/' refused for user 'bob' 60.40
        a.3 channel
          a.3 channel.open-ok
        a.3 bind q amq.topic mine.#
          a.3 channel.close 403 ACCESS_REFUSED - read access to topic 'mine.#' in exchange 'amq.topic' in vhost '/' refused for user 'bob' 50.20
        a.4 channel
          a.4 channel.open-ok
        a.4 unbind q amq.topic mine.#
          a.4 channel.close 403 ACCESS_REFUSED - read access to topic 'mine.#' in exchange 'amq.topic' in vhost '/' refused for user 'bob' 50.50
        g connect
        g publish amq.topic theirs hello
        ",
    );
}

#[test]
fn topic_permissions_know_who_asks() {
    check(
        "
        user b.b
        vhost v
        allow b.b v .* .* .*
        allow-topic b.b v amq.topic ^{vhost}.{username}.x .*
        a connect as b.b to v
        a publish amq.topic v.b.b.x hello
        a publish amq.topic v.bxb.x hello
          a channel.close 403 ACCESS_REFUSED - write access to topic 'v.bxb.x' in exchange 'amq.topic' in vhost 'v' refused for user 'b.b' 60.40
        ",
    );
}

#[test]
fn exclusive_queues_are_their_connections_own() {
    check(
        "
        a connect
        b connect
        a queue q exclusive
          a queue.declare-ok q 0 0
        b queue q exclusive
          b channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration. 50.10
        b.2 channel
          b.2 channel.open-ok
        b.2 get q
          b.2 channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration. 60.70
        b.3 channel
          b.3 channel.open-ok
        b.3 consume q c
          b.3 channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration. 60.20
        b.4 channel
          b.4 channel.open-ok
        b.4 bind q amq.fanout k
          b.4 channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration. 50.20
        b.5 channel
          b.5 channel.open-ok
        b.5 delete q
          b.5 channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration. 50.40
        b.6 channel
          b.6 channel.open-ok
        b.6 purge q
          b.6 channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration. 50.30
        b.7 channel
          b.7 channel.open-ok
        b.7 queue q passive
          b.7 channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration. 50.10
        b.8 channel
          b.8 channel.open-ok
        b.8 publish - q hello
        a get q no-ack
          a get-ok #1 - q left=0 hello
        ",
    );
}
