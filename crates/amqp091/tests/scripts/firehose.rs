//! The firehose: copies of all that is published and delivered in a vhost (O06).

use crate::world::check;

/// Keys and headers as RabbitMQ 4.3 sends them; of the message's own properties only those within.
#[test]
fn what_is_published_and_delivered_is_copied() {
    check(
        "
        t connect
        t queue trace
          t queue.declare-ok trace 0 0
        t bind trace amq.rabbitmq.trace #
          t queue.bind-ok
        a connect
        a queue q
          a queue.declare-ok q 0 0
        a bind q amq.topic a.*
          a queue.bind-ok
        a publish amq.topic a.b before
        trace / on
        a publish amq.topic a.b hello priority=3 h=1
        t get trace no-ack
          t get-ok #1 amq.rabbitmq.trace publish.amq.topic left=0 hello channel=1 connection=127.0.0.1:50000 -> 127.0.0.1:5672 exchange_name=amq.topic node=rabbit@localhost properties={priority=3 headers={h=1}} routed_queues=[q] routing_keys=[a.b] user=guest vhost=/
        a publish - missing plain mandatory
          a return 312 NO_ROUTE - missing plain
        t get trace no-ack
          t get-ok #2 amq.rabbitmq.trace publish. left=0 plain channel=1 connection=127.0.0.1:50000 -> 127.0.0.1:5672 exchange_name=- node=rabbit@localhost properties={} routed_queues=[missing] routing_keys=[missing] user=guest vhost=/
        a get q no-ack
          a get-ok #1 amq.topic a.b left=1 before
        t get trace no-ack
          t get-ok #3 amq.rabbitmq.trace deliver.q left=0 before channel=1 connection=127.0.0.1:50000 -> 127.0.0.1:5672 exchange_name=amq.topic node=rabbit@localhost properties={} redelivered=0 routing_keys=[a.b] user=guest vhost=/
        a consume q tag
          a consume-ok tag
          a deliver tag #2 amq.topic a.b hello priority=3 h=1
        t get trace no-ack
          t get-ok #4 amq.rabbitmq.trace deliver.q left=0 hello channel=1 connection=127.0.0.1:50000 -> 127.0.0.1:5672 exchange_name=amq.topic node=rabbit@localhost properties={priority=3 headers={h=1}} redelivered=0 routing_keys=[a.b] user=guest vhost=/
        a reject 2 requeue
          a deliver tag #3 again amq.topic a.b hello priority=3 h=1
        t get trace no-ack
          t get-ok #5 amq.rabbitmq.trace deliver.q left=0 hello channel=1 connection=127.0.0.1:50000 -> 127.0.0.1:5672 exchange_name=amq.topic node=rabbit@localhost properties={priority=3 headers={h=1}} redelivered=1 routing_keys=[a.b] user=guest vhost=/
        trace / off
        a publish amq.topic a.b after
          a deliver tag #4 amq.topic a.b after
        t get trace no-ack
          t get-empty
        ",
    );
}

/// Each names the keys that receivers do not see, once it is read from disk, too. Queues are named once, in order, those
/// that are not there among them.
#[test]
fn copies_name_further_keys() {
    check(
        "
        a connect
        a queue q durable
          a queue.declare-ok q 0 0
        a publish - q hello persistent CC=p BCC=q,o
        restart
        t connect
        t queue trace
          t queue.declare-ok trace 0 0
        t bind trace amq.rabbitmq.trace #
          t queue.bind-ok
        trace / on
        a connect
        a get q no-ack
          a get-ok #1 - q left=0 hello CC=[p]
        t get trace no-ack
          t get-ok #1 amq.rabbitmq.trace deliver.q left=0 hello channel=1 connection=127.0.0.1:50000 -> 127.0.0.1:5672 exchange_name=- node=rabbit@localhost properties={delivery_mode=2 headers={CC=[p]}} redelivered=0 routing_keys=[q,p,q,o] user=guest vhost=/
        a publish - q hello CC=p BCC=q,o
        t get trace no-ack
          t get-ok #2 amq.rabbitmq.trace publish. left=0 hello channel=1 connection=127.0.0.1:50000 -> 127.0.0.1:5672 exchange_name=- node=rabbit@localhost properties={headers={CC=[p]}} routed_queues=[o,p,q] routing_keys=[q,p,q,o] user=guest vhost=/
        ",
    );
}

/// Whoever reads the copies makes none by that, and a restart ends the firehose.
#[test]
fn copies_are_not_copied_and_a_restart_ends_them() {
    check(
        "
        t connect
        t queue trace durable
          t queue.declare-ok trace 0 0
        t bind trace amq.rabbitmq.trace publish.amq.direct
          t queue.bind-ok
        trace / on
        t consume trace tag no-ack
          t consume-ok tag
        t publish amq.direct nowhere one
          t deliver tag #1 amq.rabbitmq.trace publish.amq.direct one channel=1 connection=127.0.0.1:50000 -> 127.0.0.1:5672 exchange_name=amq.direct node=rabbit@localhost properties={} routed_queues=[] routing_keys=[nowhere] user=guest vhost=/
        restart
        t connect
        t consume trace tag no-ack
          t consume-ok tag
        t publish amq.direct nowhere two
        ",
    );
}
