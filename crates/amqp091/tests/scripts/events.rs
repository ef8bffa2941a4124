//! What the node tells of what happens in it (E19).

use std::sync::{Arc, Mutex};

use leveret_broker::events::{Event, EventSink};

use crate::words;
use crate::world::{World, check_in};

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Event>>);

impl EventSink for Heard {
    fn take(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// Plays a script, and compares the events with those expected: a name, and the values of the properties that the line
/// names.
#[track_caller]
fn check(script: &str, expected: &str) {
    let heard = Arc::new(Heard::default());
    let mut world = World::new();
    assert!(world.broker().set_event_sink(heard.clone()));
    check_in(&mut world, script);
    let heard = heard.0.lock().unwrap();
    let names: Vec<&str> = heard.iter().map(|event| event.name).collect();
    let expected = expected.lines().map(str::trim).filter(|it| !it.is_empty());
    let expected: Vec<Vec<&str>> = expected.map(|it| it.split(' ').collect()).collect();
    let expected_names: Vec<&str> = expected.iter().map(|words| words[0]).collect();
    assert_eq!(names, expected_names);
    for (event, words) in heard.iter().zip(expected) {
        for word in &words[1..] {
            let (name, value) = word.split_once('=').unwrap();
            let found = event.properties.get(name).map(words::describe_value);
            assert_eq!(found.as_deref(), Some(value), "{name} of {event:?}");
        }
    }
}

#[test]
fn clients_come_and_go() {
    check(
        "
        a connects
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a start-ok guest wrong
        a leaves
        b connect
        b queue q
          b queue.declare-ok q 0 0
        b consume q tag no-ack
          b consume-ok tag
        b cancel tag
          b cancel-ok tag
        b consume q other
          b consume-ok other
        b leaves
        ",
        "
        user.authentication.failure name=guest auth_mechanism=PLAIN peer_host=127.0.0.1
        user.authentication.success name=guest
        connection.created peer_port=50000 port=5672 user=guest vhost=/
        channel.created number=1 user=guest
        queue.created name=q vhost=/ type=classic user_who_performed_action=guest
        consumer.created consumer_tag=tag queue=q ack_required=Bool(false)
        consumer.deleted consumer_tag=tag
        consumer.created consumer_tag=other ack_required=Bool(true)
        consumer.deleted consumer_tag=other queue=q
        channel.closed number=1
        connection.closed user=guest
        ",
    );
}

/// What goes with something else is told as well.
#[test]
fn definitions_are_made_and_deleted() {
    check(
        "
        a connect
        a exchange x topic auto-delete
          a exchange.declare-ok
        a exchange x topic auto-delete
          a exchange.declare-ok
        a queue q
          a queue.declare-ok q 0 0
        a bind q x a.b
          a queue.bind-ok
        a bind q x a.b
          a queue.bind-ok
        a unbind q x never
          a queue.unbind-ok
        a bind q amq.fanout -
          a queue.bind-ok
        a unbind q amq.fanout -
          a queue.unbind-ok
        a delete q
          a queue.delete-ok 0
        ",
        "
        user.authentication.success
        connection.created
        channel.created
        exchange.created name=x type=topic vhost=/ user_who_performed_action=guest
        queue.created name=q
        binding.created source_name=x destination_name=q destination_kind=queue routing_key=a.b
        binding.created source_name=amq.fanout
        binding.deleted source_name=amq.fanout user_who_performed_action=guest
        binding.deleted source_name=x destination_name=q vhost=/
        exchange.deleted name=x vhost=/
        queue.deleted name=q vhost=/
        ",
    );
}

#[test]
fn operators_change_what_they_may() {
    check(
        "
        user u monitoring
        user u
        allow u / .* .* .*
        allow-topic u / amq.topic ^u -
        limit user u max-channels=2
        limit user u
        policy / p ^q all 0 max-length=1
        operator-policy / o ^q all 0 max-length=1
        clear-policy / p
        clear-operator-policy / o
        vhost v description=ours
        limit vhost v max-queues=1
        parameter / shovel s src-uri=a
        clear-parameter / shovel s
        delete-vhost v
        disallow u /
        delete-user u
        alarm memory on
        alarm memory on
        alarm memory off
        ",
        "
        user.created name=u
        user.tags.set name=u tags=[]
        permission.created user=u vhost=/ read=.*
        topic.permission.created user=u exchange=amq.topic write=^u
        user.limits.set name=u max-channels=2
        user.limits.cleared name=u
        policy.set name=p vhost=/ pattern=^q priority=0
        policy.set name=o
        policy.cleared name=p vhost=/
        operator.policy.cleared name=o
        vhost.created name=v description=ours
        vhost.limits.set vhost=v max-queues=1
        parameter.set component=shovel name=s vhost=/
        parameter.cleared component=shovel name=s
        vhost.deleted name=v
        permission.deleted user=u vhost=/
        user.deleted name=u
        alarm.set source=memory
        alarm.cleared source=memory
        ",
    );
}
