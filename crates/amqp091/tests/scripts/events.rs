//! What the node tells of what happens in it (E19).

use std::sync::{Arc, Mutex};

use leveret_broker::events::{EXCHANGE, Event, EventSink};
use leveret_broker::options::Options;

use crate::words;
use crate::world::{World, check_in};

#[derive(Debug)]
struct Heard {
    events: Mutex<Vec<Event>>,
    is_listening: bool,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            events: Mutex::default(),
            is_listening: true,
        }
    }
}

impl EventSink for Heard {
    fn take(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn has_listeners(&self) -> bool {
        self.is_listening
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
    let heard = heard.events.lock().unwrap();
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
        queue.created name=q vhost=/ type=rabbit_classic_queue user_who_performed_action=guest
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
        queue.deleted name=q vhost=/ user_who_performed_action=guest
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
        parameter / federation-upstream s uri=a
        clear-parameter / federation-upstream s
        delete-vhost v
        disallow u /
        delete-user u
        alarm memory on
        alarm memory on
        alarm memory off
        ",
        "
        user.created name=u
        user.tags.set name=u tags=[monitoring]
        user.tags.set name=u tags=[]
        permission.created user=u vhost=/ read=.*
        topic.permission.created user=u exchange=amq.topic write=^u
        user.limits.set username=u max-channels=2
        user.limits.cleared username=u name=limits
        policy.set name=p vhost=/ pattern=^q priority=0
        parameter.set component=operator_policy name=o vhost=/
        policy.set name=o
        policy.cleared name=p vhost=/
        parameter.cleared component=operator_policy name=o vhost=/
        operator.policy.cleared name=o
        exchange.created name=- vhost=v
        exchange.created name=amq.direct vhost=v
        exchange.created name=amq.fanout vhost=v
        exchange.created name=amq.headers vhost=v
        exchange.created name=amq.match vhost=v
        exchange.created name=amq.rabbitmq.trace vhost=v
        exchange.created name=amq.topic vhost=v
        vhost.created name=v description=ours
        parameter.set component=vhost-limits name=limits value={max-queues=1}
        vhost.limits.set vhost=v max-queues=1
        parameter.set component=federation-upstream name=s vhost=/
        parameter.cleared component=federation-upstream name=s
        exchange.deleted name=- vhost=v
        exchange.deleted name=amq.direct vhost=v
        exchange.deleted name=amq.fanout vhost=v
        exchange.deleted name=amq.headers vhost=v
        exchange.deleted name=amq.match vhost=v
        exchange.deleted name=amq.rabbitmq.trace vhost=v
        exchange.deleted name=amq.topic vhost=v
        parameter.cleared component=vhost-limits
        vhost.limits.cleared vhost=v
        vhost.deleted name=v
        vhost.down name=v
        permission.deleted user=u vhost=/
        user.deleted name=u
        alarm.set source=memory
        alarm.cleared source=memory
        ",
    );
}

#[test]
fn queues_follow_other_policies() {
    check(
        "
        a connect
        a queue q1 durable
          a queue.declare-ok q1 0 0
        a queue other
          a queue.declare-ok other 0 0
        policy / p ^q all 0 max-length=1
        operator-policy / o ^q queues 0 expires=100000
        clear-policy / p
        clear-operator-policy / o
        ",
        "
        user.authentication.success
        connection.created
        channel.created
        queue.created name=q1
        queue.created name=other
        queue.policy.updated name=q1 vhost=/ type=rabbit_classic_queue pattern=^q apply-to=all definition={max-length=1}
        policy.set name=p
        parameter.set name=o
        queue.policy.updated name=q1 apply-to=queues definition={expires=100000}
        policy.set name=o
        queue.policy.cleared name=q1
        policy.cleared name=p
        parameter.cleared name=o
        queue.policy.cleared name=q1 type=rabbit_classic_queue
        operator.policy.cleared name=o
        ",
    );
}

/// While nothing is bound to the event exchange and nobody listens, nothing is told.
#[test]
fn events_are_told_while_something_is_bound_to_their_exchange() {
    let heard = Arc::new(Heard {
        is_listening: false,
        ..Heard::default()
    });
    let mut options = Options::new(|| 7);
    options.event_exchange_vhost = Some("/".into());
    let mut world = World::with(options);
    assert!(world.broker().set_event_sink(heard.clone()));
    assert!(!world.broker().declare_own_exchange("nowhere", EXCHANGE));
    assert!(world.broker().declare_own_exchange("/", EXCHANGE));
    check_in(
        &mut world,
        "
        a connect
        a queue unheard
          a queue.declare-ok unheard 0 0
        a queue events
          a queue.declare-ok events 0 0
        a bind events amq.rabbitmq.event queue.#
          a queue.bind-ok
        a queue q durable x-max-length=5
          a queue.declare-ok q 0 0
        a publish amq.rabbitmq.event queue.created mine
          a channel.close 403 ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.event' in vhost '/' 60.40
        ",
    );
    let events = std::mem::take(&mut *heard.events.lock().unwrap());
    let names: Vec<&str> = events.iter().map(|event| event.name).collect();
    let expected = ["binding.created", "queue.created", "channel.closed"];
    assert_eq!(names, expected);
    for event in &events {
        let now = world.now;
        world.broker().publish_event(event, 1_700_000_000_123, now);
    }
    check_in(
        &mut world,
        "
        b connect
        b get events no-ack
          b get-ok #1 amq.rabbitmq.event queue.created left=0 - arguments=[{<<\"x-max-length\">>,long,5},{<<\"x-queue-type\">>,longstr,<<\"classic\">>}] auto_delete=Bool(false) durable=Bool(true) exclusive=Bool(false) leader=rabbit@localhost members=[rabbit@localhost] name=q owner_pid=- timestamp_in_ms=1700000000123 type=rabbit_classic_queue user_who_performed_action=guest vhost=/
        b unbind events amq.rabbitmq.event queue.#
          b queue.unbind-ok
        b queue unheard
          b queue.declare-ok unheard 0 0
        ",
    );
    let events = heard.events.lock().unwrap();
    let of_definitions = ["binding.deleted", "queue.created"];
    let told = events.iter().any(|it| of_definitions.contains(&it.name));
    assert!(!told, "nothing is bound any more: {events:?}");
}
