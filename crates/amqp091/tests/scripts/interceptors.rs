//! What the node notes in messages on their way (H27).

use leveret_broker::options::{Interceptors, Options, Overwrite};

use crate::world::{World, check_in};

#[track_caller]
fn check(interceptors: Interceptors, script: &str) {
    let mut options = Options::new(|| 7);
    options.interceptors = interceptors;
    check_in(&mut World::with(options), script);
}

/// Also where a route is remembered, and where a note is there already.
#[test]
fn messages_say_when_they_came_and_where() {
    let with = |overwrite| Interceptors {
        timestamp: Some(overwrite),
        routing_node: Some(overwrite),
        sent_time: false,
    };
    check(
        with(Overwrite::No),
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a publish - q one
        a get q no-ack
          a get-ok #1 - q left=0 one timestamp_in_ms=1000000 x-routed-by=rabbit@localhost
        a publish - q two
        a get q no-ack
          a get-ok #2 - q left=0 two timestamp_in_ms=1000000 x-routed-by=rabbit@localhost
        a publish - q three x-routed-by=me
        a get q no-ack
          a get-ok #3 - q left=0 three x-routed-by=me timestamp_in_ms=1000000
        ",
    );
    check(
        with(Overwrite::Yes),
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a publish - q three x-routed-by=me
        a get q no-ack
          a get-ok #1 - q left=0 three x-routed-by=rabbit@localhost timestamp_in_ms=1000000
        ",
    );
}

#[test]
fn messages_say_when_they_were_sent() {
    let interceptors = Interceptors {
        sent_time: true,
        ..Interceptors::default()
    };
    check(
        interceptors,
        "
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a publish - q one
        time 5000
        a get q no-ack
          a get-ok #1 - q left=0 one x-opt-rabbitmq-sent-time=1005000
        a consume q tag no-ack
          a consume-ok tag
        time 1000
        a publish - q two
          a deliver tag #2 - q two x-opt-rabbitmq-sent-time=1006000
        ",
    );
}
