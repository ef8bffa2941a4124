//! Where dead messages go, and what they say of their deaths.

use crate::world::check;

#[test]
fn a_rejected_message_says_where_it_died() {
    check(
        "
        a connect
        a exchange dlx fanout
          a exchange.declare-ok
        a queue dead
          a queue.declare-ok dead 0 0
        a bind dead dlx -
          a queue.bind-ok
        a queue q x-dead-letter-exchange=dlx
          a queue.declare-ok q 0 0
        a publish - q hello color=red
        a get q
          a get-ok #1 - q left=0 hello color=red
        a reject 1
        a get dead no-ack
          a get-ok #2 dlx q left=0 hello color=red x-death=[{count=1 exchange=- queue=q reason=rejected routing-keys=[q] time=@1000}] x-last-death-reason=rejected x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=rejected x-first-death-queue=q x-first-death-exchange=-
        ",
    );
}

#[test]
fn an_expired_message_loses_its_expiration() {
    check(
        "
        a connect
        a queue dead
          a queue.declare-ok dead 0 0
        a queue q x-dead-letter-exchange=- x-dead-letter-routing-key=dead
          a queue.declare-ok q 0 0
        a publish - q hello expiration=1000 CC=copy
        time 999
        a queue q passive
          a queue.declare-ok q 1 0
        time 1
        a queue q passive
          a queue.declare-ok q 0 0
        a get dead no-ack
          a get-ok #1 - dead left=0 hello CC=[copy] x-death=[{count=1 exchange=- queue=q reason=expired routing-keys=[q,copy] time=@1001 original-expiration=1000}] x-last-death-reason=expired x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=expired x-first-death-queue=q x-first-death-exchange=-
        ",
    );
}

#[test]
fn a_queue_that_overflows_buries_its_oldest() {
    check(
        "
        a connect
        a queue dead
          a queue.declare-ok dead 0 0
        a queue q x-max-length=1 x-dead-letter-exchange=- x-dead-letter-routing-key=dead
          a queue.declare-ok q 0 0
        a publish - q one
        a publish - q two
        a get dead no-ack
          a get-ok #1 - dead left=0 one x-death=[{count=1 exchange=- queue=q reason=maxlen routing-keys=[q] time=@1000}] x-last-death-reason=maxlen x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=maxlen x-first-death-queue=q x-first-death-exchange=-
        a get q no-ack
          a get-ok #2 - q left=0 two
        ",
    );
}

#[test]
fn a_message_given_back_too_often_dies() {
    check(
        "
        a connect
        a queue dead
          a queue.declare-ok dead 0 0
        a queue q durable x-queue-type=quorum x-delivery-limit=1 x-dead-letter-exchange=- x-dead-letter-routing-key=dead
          a queue.declare-ok q 0 0
        a publish - q hello
        a get q
          a get-ok #1 - q left=0 hello
        a reject 1 requeue
        a get q
          a get-ok #2 again - q left=0 hello x-delivery-count=1 x-acquired-count=1
        a reject 2 requeue
        a get q
          a get-empty
        a get dead no-ack
          a get-ok #3 - dead left=0 hello x-death=[{count=1 exchange=- queue=q reason=delivery_limit routing-keys=[q] time=@1000}] x-last-death-reason=delivery_limit x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=delivery_limit x-first-death-queue=q x-first-death-exchange=-
        ",
    );
}

/// One entry for each queue and reason, the latest first, and a count.
#[test]
fn deaths_are_counted() {
    check(
        "
        a connect
        a queue waiting x-message-ttl=100 x-dead-letter-exchange=- x-dead-letter-routing-key=work
          a queue.declare-ok waiting 0 0
        a queue work x-dead-letter-exchange=- x-dead-letter-routing-key=waiting
          a queue.declare-ok work 0 0
        a publish - work hello
        a get work
          a get-ok #1 - work left=0 hello
        a reject 1
        time 100
        a get work
          a get-ok #2 - work left=0 hello x-last-death-reason=expired x-last-death-queue=waiting x-last-death-exchange=- x-first-death-reason=rejected x-first-death-queue=work x-first-death-exchange=- x-death=[{count=1 exchange=- queue=waiting reason=expired routing-keys=[waiting] time=@1000},{count=1 exchange=- queue=work reason=rejected routing-keys=[work] time=@1000}]
        a reject 2
        time 100
        a get work no-ack
          a get-ok #3 - work left=0 hello x-last-death-reason=expired x-last-death-queue=waiting x-last-death-exchange=- x-first-death-reason=rejected x-first-death-queue=work x-first-death-exchange=- x-death=[{count=2 exchange=- queue=waiting reason=expired routing-keys=[waiting] time=@1000},{count=2 exchange=- queue=work reason=rejected routing-keys=[work] time=@1000}]
        ",
    );
}

/// Nobody took part: such a message would go round for ever.
#[test]
fn an_automatic_cycle_is_broken() {
    check(
        "
        a connect
        a queue p x-message-ttl=10 x-dead-letter-exchange=- x-dead-letter-routing-key=q
          a queue.declare-ok p 0 0
        a queue q x-message-ttl=10 x-dead-letter-exchange=- x-dead-letter-routing-key=p
          a queue.declare-ok q 0 0
        a publish - p hello
        time 10
        a queue q passive
          a queue.declare-ok q 1 0
        time 10
        a queue p passive
          a queue.declare-ok p 0 0
        a queue q passive
          a queue.declare-ok q 0 0
        ",
    );
}

#[test]
fn a_message_rejected_into_its_own_queue_comes_again() {
    check(
        "
        a connect
        a queue q x-dead-letter-exchange=-
          a queue.declare-ok q 0 0
        a publish - q hello
        a get q
          a get-ok #1 - q left=0 hello
        a reject 1
        a get q
          a get-ok #2 - q left=0 hello x-death=[{count=1 exchange=- queue=q reason=rejected routing-keys=[q] time=@1000}] x-last-death-reason=rejected x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=rejected x-first-death-queue=q x-first-death-exchange=-
        a reject 2
        a get q no-ack
          a get-ok #3 - q left=0 hello x-last-death-reason=rejected x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=rejected x-first-death-queue=q x-first-death-exchange=- x-death=[{count=2 exchange=- queue=q reason=rejected routing-keys=[q] time=@1000}]
        ",
    );
}

#[test]
fn copies_die_with_their_keys() {
    check(
        "
        a connect
        a exchange dlx direct
          a exchange.declare-ok
        a queue one
          a queue.declare-ok one 0 0
        a bind one dlx q
          a queue.bind-ok
        a queue two
          a queue.declare-ok two 0 0
        a bind two dlx copy
          a queue.bind-ok
        a queue three
          a queue.declare-ok three 0 0
        a bind three dlx blind
          a queue.bind-ok
        a queue q x-dead-letter-exchange=dlx
          a queue.declare-ok q 0 0
        a publish - q hello CC=copy BCC=blind
        a get q
          a get-ok #1 - q left=0 hello CC=[copy]
        a reject 1
        a get one no-ack
          a get-ok #2 dlx q left=0 hello CC=[copy] x-death=[{count=1 exchange=- queue=q reason=rejected routing-keys=[q,copy] time=@1000}] x-last-death-reason=rejected x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=rejected x-first-death-queue=q x-first-death-exchange=-
        a get two no-ack
          a get-ok #3 dlx q left=0 hello CC=[copy] x-death=[{count=1 exchange=- queue=q reason=rejected routing-keys=[q,copy] time=@1000}] x-last-death-reason=rejected x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=rejected x-first-death-queue=q x-first-death-exchange=-
        a get three no-ack
          a get-ok #4 dlx q left=0 hello CC=[copy] x-death=[{count=1 exchange=- queue=q reason=rejected routing-keys=[q,copy] time=@1000}] x-last-death-reason=rejected x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=rejected x-first-death-queue=q x-first-death-exchange=-
        ",
    );
}

/// What a client writes there itself is no history.
#[test]
fn a_forged_history_does_not_count() {
    check(
        "
        a connect
        a queue dead
          a queue.declare-ok dead 0 0
        a queue q x-dead-letter-exchange=- x-dead-letter-routing-key=dead
          a queue.declare-ok q 0 0
        a publish - q hello x-death=forged
        a get q
          a get-ok #1 - q left=0 hello x-death=forged
        a reject 1
        a get dead no-ack
          a get-ok #2 - dead left=0 hello x-death=[{count=1 exchange=- queue=q reason=rejected routing-keys=[q] time=@1000}] x-last-death-reason=rejected x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=rejected x-first-death-queue=q x-first-death-exchange=-
        ",
    );
}

#[test]
fn without_an_exchange_to_go_to_the_dead_are_gone() {
    check(
        "
        a connect
        a queue q x-dead-letter-exchange=nowhere
          a queue.declare-ok q 0 0
        a publish - q hello persistent
        a get q
          a get-ok #1 - q left=0 hello
        a reject 1
        a queue q passive
          a queue.declare-ok q 0 0
        ",
    );
}

/// The settlement that kills it and what follows on the same channel keep their order.
#[test]
fn the_dead_are_there_before_the_next_answer() {
    check(
        "
        a connect
        a queue dead
          a queue.declare-ok dead 0 0
        a queue q x-dead-letter-exchange=- x-dead-letter-routing-key=dead
          a queue.declare-ok q 0 0
        a publish - q hello
        a get q
          a get-ok #1 - q left=0 hello
        a reject 1 &
        a get dead no-ack
          a get-ok #2 - dead left=0 hello x-death=[{count=1 exchange=- queue=q reason=rejected routing-keys=[q] time=@1000}] x-last-death-reason=rejected x-last-death-queue=q x-last-death-exchange=- x-first-death-reason=rejected x-first-death-queue=q x-first-death-exchange=-
        ",
    );
}
