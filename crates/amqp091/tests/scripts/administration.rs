//! What operators do to users, vhosts and connections, and what clients see of it.

use leveret_broker::options::Options;

use crate::world::{World, check, check_in};

/// E16, H14: what a user may no longer read from, its consumers no longer get.
#[test]
fn consumers_are_cancelled_when_their_right_to_read_goes() {
    check(
        "
        user u
        allow u / .* .* .*
        a connect as u consumer_cancel_notify
        b connect as u
        g connect consumer_cancel_notify
        a queue mine
          a queue.declare-ok mine 0 0
        a queue yours
          a queue.declare-ok yours 0 0
        a consume mine one
          a consume-ok one
        a consume yours two
          a consume-ok two
        b consume yours three
          b consume-ok three
        g consume yours four
          g consume-ok four
        allow u / .* .* ^mine
          a cancel two
        list consumers
          one of mine on channel 1 active prefetch=0 priority=0 unacknowledged=0
          four of yours on channel 1 active prefetch=0 priority=0 unacknowledged=0
        g publish - yours hello
          g deliver four #1 - yours hello
        a consume yours two
          a channel.close 403 ACCESS_REFUSED - read access to queue 'yours' in vhost '/' refused for user 'u' 60.20
        ",
    );
}

#[test]
fn connections_are_closed_when_access_to_their_vhost_goes() {
    check(
        "
        user u
        allow u / .* .* .*
        vhost other
        allow u other .* .* .*
        a connect as u
        b connect as u to other
        disallow u /
          a connection.close 320 CONNECTION_FORCED - access to vhost '/' refused for user 'u' 0.0
        a bye-ok
          a closed
        list connections
          127.0.0.1:50000 -> 127.0.0.1:5672 u other running channels=1
        list permissions
          guest / .*
          u other .*
        disallow nobody /
          refused: user 'nobody' not found
        allow u nowhere .* .* .*
          refused: vhost 'nowhere' not found
        ",
    );
}

/// E02, E13, E15: what goes with a user.
#[test]
fn a_deleted_user_is_gone_with_its_connections_and_permissions() {
    check(
        "
        user u monitoring
        allow u / .* .* .*
        allow-topic u / amq.topic ^u -
        limit user u max-channels=2
        a connect as u
        list users
          guest [\"administrator\"] UserLimits { connections_max: None, channels_max: None }
          u [\"monitoring\"] UserLimits { connections_max: None, channels_max: Some(2) }
        user u
        list users
          guest [\"administrator\"] UserLimits { connections_max: None, channels_max: None }
          u [] UserLimits { connections_max: None, channels_max: Some(2) }
        list topic-permissions
          u / amq.topic ^u
        delete-user u
          a connection.close 320 CONNECTION_FORCED - user 'u' is deleted 0.0
        list permissions
          guest / .*
        list topic-permissions
        restart
        list permissions
          guest / .*
        list topic-permissions
        list users
          guest [\"administrator\"] UserLimits { connections_max: None, channels_max: None }
        delete-user u
          refused: user 'u' not found
        ",
    );
}

#[test]
fn a_deleted_vhost_is_gone_with_all_that_was_in_it() {
    check(
        "
        vhost v description=ours
        allow guest v .* .* .*
        policy v p .* all 0 max-length=1
        a connect to v consumer_cancel_notify
        a queue q durable
          a queue.declare-ok q 0 0
        a queue mine exclusive
          a queue.declare-ok mine 0 0
        a publish - q stored persistent
        a consume mine tag
          a consume-ok tag
        vhost v description=ours protected
        delete-vhost v
          refused: Refusing to delete virtual host 'v' because it is protected from deletion
        vhost v description=ours
        list vhosts
          / - -
          v ours -
        delete-vhost v
          a cancel tag
          a connection.close 320 CONNECTION_FORCED - vhost 'v' is deleted 0.0
        list vhosts
          / - -
        list queues
        list permissions
          guest / .*
        delete-vhost v
          refused: vhost 'v' not found
        vhost v
        allow guest v .* .* .*
        restart
        b connect to v
        b queue q passive
          b channel.close 404 NOT_FOUND - no queue 'q' in vhost 'v' 50.10
        ",
    );
}

/// Nothing of the vhost's messages stays in the log.
#[test]
fn a_deleted_vhost_frees_its_messages() {
    let mut world = World::new();
    check_in(
        &mut world,
        "
        vhost v
        allow guest v .* .* .*
        a connect to v
        a queue q durable
          a queue.declare-ok q 0 0
        a publish - q stored persistent
        a leaves
        ",
    );
    assert_eq!(world.records(), 1);
    check_in(&mut world, "delete-vhost v");
    assert_eq!(world.records(), 0);
}

/// C18.
#[test]
fn operators_close_connections_with_a_reason() {
    check(
        "
        user u
        allow u / .* .* .*
        vhost v
        allow guest v .* .* .*
        a connect as u
        b connect
        c connect to v
        close user u Closed_via_management_plugin
          closed 1
          a connection.close 320 CONNECTION_FORCED - Closed via management plugin 0.0
        close vhost v enough
          closed 1
          c connection.close 320 CONNECTION_FORCED - enough 0.0
        list connections
          127.0.0.1:50000 -> 127.0.0.1:5672 guest / running channels=1
        ",
    );
}

/// A client that was logging in when the node was drained used to stay.
#[test]
fn nobody_slips_in_while_clients_are_turned_away() {
    check(
        "
        a connect
        b connects
        b header
          b connection.start ANONYMOUS AMQPLAIN PLAIN
        b start-ok guest guest
          b connection.tune 2047 131072 60
        b tune-ok
        turn-away maintenance
          closed 1
          a connection.close 320 CONNECTION_FORCED - maintenance 0.0
        b open /
          b connection.close 320 CONNECTION_FORCED - maintenance 10.40
        list connections
        let-in
        c connect
        list connections
          127.0.0.1:50000 -> 127.0.0.1:5672 guest / running channels=1
        ",
    );
}

/// C13: limits of vhosts and users, the vhost's first.
#[test]
fn connections_are_limited_by_vhost_and_user() {
    let refused = |script: &str, text: &str| {
        check(&format!(
            "
            user u
            allow u / .* .* .*
            {script}
            a connects
            a header
              a connection.start ANONYMOUS AMQPLAIN PLAIN
            a start-ok u u
              a connection.tune 2047 131072 60
            a tune-ok
            a open /
              a connection.close 530 NOT_ALLOWED - {text} 10.40
            "
        ));
    };
    let of_vhost = "access to vhost '/' refused for user 'u': connection limit (0) is reached";
    let of_user = "connection refused for user 'u': user connection limit (0) is reached";
    refused("limit vhost / max-connections=0", of_vhost);
    refused("limit user u max-connections=0", of_user);
    check(
        "
        user u
        allow u / .* .* .*
        limit vhost / max-connections=2
        limit user u max-connections=1
        a connect as u
        b connect
        a leaves
        a connect as u
        limit vhost / max-connections=-1
        limit user u max-connections=-1
        c connect as u
        ",
    );
}

/// C19.
#[test]
fn channels_are_limited_by_user_and_node() {
    check(
        "
        limit user guest max-channels=2
        a connect
        a.2 channel
          a.2 channel.open-ok
        a.3 channel
          a connection.close 530 NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of 2 20.10
        ",
    );
    let options = Options {
        channels_max: Some(2),
        ..Options::new(|| 7)
    };
    check_in(
        &mut World::with(options),
        "
        a connect
        b connect
        a close
          a channel.close-ok
        a channel
          a channel.open-ok
        a.2 channel
          a connection.close 530 NOT_ALLOWED - number of channels opened on node 'rabbit@localhost' has reached the maximum allowed limit of 2 20.10
        b.2 channel
          b.2 channel.open-ok
        ",
    );
}

/// Q15.
#[test]
fn queues_are_limited_by_vhost() {
    check(
        "
        limit vhost / max-queues=1
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a queue q
          a queue.declare-ok q 0 0
        a queue another
          a channel.close 406 PRECONDITION_FAILED - cannot declare queue 'another': queue limit in vhost '/' (1) is reached 50.10
        ",
    );
}

/// Q04.
#[test]
fn a_vhost_has_a_default_queue_type() {
    check(
        "
        vhost / default_queue_type=quorum
        a connect
        a queue q durable
          a queue.declare-ok q 0 0
        a queue temporary exclusive
          a queue.declare-ok temporary 0 0
        a queue classic durable x-queue-type=classic
          a queue.declare-ok classic 0 0
        restart
        a connect
        a queue q durable
          a queue.declare-ok q 0 0
        list queues
          / classic classic ready=0 unsettled=0 consumers=0 idle_since=1000000
          / q quorum ready=0 unsettled=0 consumers=0 idle_since=1000000
        ",
    );
}

/// Q02.
#[test]
fn a_quorum_queue_may_be_declared_as_a_classic_one_where_that_is_allowed() {
    let options = Options {
        relaxed_quorum_redeclaration: true,
        ..Options::new(|| 7)
    };
    check_in(
        &mut World::with(options),
        "
        a connect
        a queue q durable x-queue-type=quorum x-max-length=5
          a queue.declare-ok q 0 0
        a queue q x-max-length=5 x-max-priority=3
          a queue.declare-ok q 0 0
        a queue q x-queue-type=classic x-max-length=5
          a queue.declare-ok q 0 0
        a queue q durable x-queue-type=classic x-max-length=6
          a channel.close 406 PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received '6' but current is '5' 50.10
        ",
    );
}
