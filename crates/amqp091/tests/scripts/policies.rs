//! Policies, as clients and operators see them.

use crate::world::check;

#[test]
fn queues_follow_a_policy_from_the_moment_it_is_set() {
    check(
        "
        a connect
        a queue q durable
          a queue.declare-ok q 0 0
        a publish - q one
        a publish - q two
        a publish - q three
        policy / short ^q queues 0 max-length=2
        list policies
          q short -
        a queue q passive
          a queue.declare-ok q 2 0
        a publish - q four
        a queue q2 durable
          a queue.declare-ok q2 0 0
        list policies
          q short -
          q2 short -
        restart
        list policies
          q short -
          q2 short -
        clear-policy / short
        list policies
          q - -
          q2 - -
        clear-policy / short
          refused: no such parameter
        ",
    );
}

/// The lower limit counts, whoever set it.
#[test]
fn operator_policies_bound_arguments_and_policies() {
    check(
        "
        a connect
        a queue q x-max-length=3
          a queue.declare-ok q 0 0
        operator-policy / bound .* queues 0 max-length=2
        a publish - q one
        a publish - q two
        a publish - q three
        a queue q passive
          a queue.declare-ok q 2 0
        policy / tight .* queues 0 max-length=1
        a queue q passive
          a queue.declare-ok q 1 0
        list policies
          q tight bound
        clear-operator-policy / bound
        clear-policy / tight
        a publish - q four
        a publish - q five
        a publish - q six
        a queue q passive
          a queue.declare-ok q 3 0
        list parameters
        ",
    );
}

#[test]
fn messages_die_where_a_policy_sends_them() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a queue dead
          a queue.declare-ok dead 0 0
        policy / dlx ^q$ queues 0 dead-letter-exchange=- dead-letter-routing-key=dead
        a publish - q one
        a get q
          a get-ok #1 - q left=0 one
        a reject 1
        a queue dead passive
          a queue.declare-ok dead 1 0
        clear-policy / dlx
        a publish - q two
        a get q
          a get-ok #2 - q left=0 two
        a reject 2
        a queue dead passive
          a queue.declare-ok dead 1 0
        count dead-letters
          rejected=1
        ",
    );
}

/// X09.
#[test]
fn an_alternate_exchange_may_come_from_a_policy() {
    check(
        "
        a connect
        a exchange x direct
          a exchange.declare-ok
        a exchange y direct alternate-exchange=nowhere
          a exchange.declare-ok
        a queue q
          a queue.declare-ok q 0 0
        a bind q amq.fanout -
          a queue.bind-ok
        a publish x k lost
        policy / ae ^[xy]$ exchanges 0 alternate-exchange=amq.fanout
        a publish x k found
        a publish y k lost
        a get q no-ack
          a get-ok #1 x k left=0 found
        a get q no-ack
          a get-empty
        clear-policy / ae
        a publish x k lost
        a get q no-ack
          a get-empty
        ",
    );
}

#[test]
fn policies_are_refused_in_rabbitmqs_words() {
    check(
        "
        policy nowhere p .* all 0 max-length=1
          refused: vhost 'nowhere' not found
        operator-policy / p .* all 0 alternate-exchange=x
          refused: Validation failed  [{<<\"alternate-exchange\">>,<<\"x\">>}] are not recognised policy settings
        ",
    );
}

#[test]
fn expiry_by_policy_deletes_unused_queues() {
    check(
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        policy / gone .* queues 0 expires=1000
        time 1001
        a queue q passive
          a channel.close 404 NOT_FOUND - no queue 'q' in vhost '/' 50.10
        ",
    );
}

#[test]
fn parameters_are_kept_and_translated() {
    check(
        "
        parameter / federation-upstream s uri=amqp://
        parameter / operator_policy bound pattern=^q
          refused: Validation failed  Key 'definition' not found in bound
        parameter / vhost-limits limits max-queues=7
        parameter / vhost-limits limits max-kittens=7
          refused: Validation failed  Unrecognised terms [{<<\"max-kittens\">>,7}] in limits
        parameter / policy p pattern=^q
          refused: policies may not be set using this method
        parameter / nonsense n a=b
          refused: Validation failed  component nonsense not found
        operator-policy / bound ^q queues 0 max-length=2
        global-parameter cluster_name hares
        global-parameter other 5
        restart
        list parameters
          / federation-upstream s {uri=amqp://}
          / operator_policy bound {pattern=^q definition={max-length=2} priority=0 apply-to=queues}
          / vhost-limits limits {max-queues=7}
        list global-parameters
          cluster_name hares
          other 5
        clear-parameter / federation-upstream s
        clear-parameter / vhost-limits limits
        clear-parameter / operator_policy bound
        clear-parameter / federation-upstream s
          refused: no such parameter
        clear-global-parameter cluster_name
        list parameters
        list global-parameters
          cluster_name rabbit@localhost
          other 5
        ",
    );
}
