"""RABBITMQ.md 1.4: declaring, deleting and owning queues."""

import re

import pytest
from support import (
    assert_close,
    channel_error,
    confirmed,
    connection_error,
    consumers,
    depth,
    eventually,
    exists,
    fill,
    get,
)
from wire import Typed

QUORUM = {"x-queue-type": "quorum"}
STREAM = {"x-queue-type": "stream"}


def locked(queue):
    return (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be "
        "originally declared on another connection or the exclusive property value does not match that of the "
        "original declaration."
    )


def gone(queue):
    return f"NOT_FOUND - no queue '{queue}' in vhost '/'"


@pytest.fixture
def declare(wire, names):
    """Declares a durable queue of a new name."""

    def declare_queue(arguments=None, **flags):
        name = names.queue()
        wire.ask(1, "queue.declare", queue=name, arguments=arguments, **{"durable": True, **flags})
        return name

    return declare_queue


def test_Q01_redeclare(wire, declare):
    arguments = {"x-max-length": 10, "x-overflow": "reject-publish", "x-dead-letter-exchange": "amq.fanout"}
    queue = declare(arguments)
    answer = wire.ask(1, "queue.declare", queue=queue, durable=True, arguments=arguments)
    assert (answer.queue, answer.message_count, answer.consumer_count) == (queue, 0, 0)


@pytest.mark.parametrize("letter", ["b", "B", "s", "u", "I", "i", "l"])
def test_Q01_integers_are_compared_by_value(wire, declare, letter):
    queue = declare({"x-message-ttl": 100})
    wire.ask(1, "queue.declare", queue=queue, durable=True, arguments={"x-message-ttl": Typed(letter, 100)})


@pytest.mark.parametrize("first, second", [({}, {"x-queue-type": "classic"}), ({"x-queue-type": "classic"}, {})])
def test_Q01_no_type_is_classic(wire, declare, first, second):
    queue = declare(first)
    wire.ask(1, "queue.declare", queue=queue, durable=True, arguments=second)


@pytest.mark.parametrize("first, second", [({}, {"x-unheard-of": 1}), ({"x-unheard-of": 2}, {"x-unheard-of": 1})])
def test_Q01_unknown_arguments_are_not_compared(wire, declare, first, second):
    queue = declare(first)
    wire.ask(1, "queue.declare", queue=queue, durable=True, arguments=second)


@pytest.mark.parametrize(
    "flags, argument, received, current",
    [
        ({"durable": False}, "durable", "false", "true"),
        ({"auto_delete": True}, "auto_delete", "true", "false"),
        ({"durable": False, "auto_delete": True}, "durable", "false", "true"),
    ],
)
def test_Q01_inequivalent_flags(wire, queue, flags, argument, received, current):
    text = (
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': "
        f"received '{received}' but current is '{current}'"
    )
    arguments = {"durable": True, "arguments": {"x-max-length": 5}, **flags}
    channel_error(wire, 406, text, "queue.declare", queue=queue, **arguments)


TTL, DLX = "x-message-ttl", "x-dead-letter-exchange"


@pytest.mark.parametrize(
    "first, second, argument, difference",
    [
        ({TTL: 5}, {TTL: 6}, TTL, "received '6' but current is '5'"),
        ({}, {TTL: 6}, TTL, "received the value '6' of type 'signedint' but current is none"),
        ({TTL: 6}, {}, TTL, "received none but current is the value '6' of type 'signedint'"),
        ({TTL: 5}, {TTL: 5.0}, TTL, "received '5.0' but current is '5'"),
        ({}, {TTL: "abc"}, TTL, "received the value 'abc' of type 'longstr' but current is none"),
        ({DLX: "a"}, {DLX: "b"}, DLX, "received 'b' but current is 'a'"),
        (
            {},
            {"x-single-active-consumer": True},
            "x-single-active-consumer",
            "received the value 'true' of type 'bool' but current is none",
        ),
        ({"x-max-priority": 5}, {"x-max-priority": 6}, "x-max-priority", "received '6' but current is '5'"),
        (
            {},
            {"x-overflow": "drop-head"},
            "x-overflow",
            "received the value 'drop-head' of type 'longstr' but current is none",
        ),
        ({}, QUORUM, "x-queue-type", "received 'quorum' but current is 'classic'"),
        (QUORUM, {}, "x-queue-type", "received 'classic' but current is 'quorum'"),
        ({}, {"x-queue-type": "foo"}, "x-queue-type", "received 'foo' but current is 'classic'"),
        (
            QUORUM,
            {**QUORUM, "x-delivery-limit": 5},
            "x-delivery-limit",
            "received the value '5' of type 'signedint' but current is none",
        ),
    ],
)
def test_Q01_inequivalent_arguments(wire, declare, first, second, argument, difference):
    queue = declare(first)
    text = f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': {difference}"
    channel_error(wire, 406, text, "queue.declare", queue=queue, durable=True, arguments=second)


def test_Q03_unknown_arguments_are_ignored(declare):
    declare({"x-unheard-of": {"any": ["thing"]}, "other": 1})


@pytest.mark.parametrize("queue_type", ["quorum", "classic", "stream"])
def test_Q04_queue_type(wire, names, queue_type):
    queue = names.queue()
    answer = wire.call(1, "queue.declare", queue=queue, durable=True, arguments={"x-queue-type": queue_type})
    assert answer.name == "queue.declare-ok"


@pytest.mark.parametrize("queue_type", ["foo", "Classic", "rabbit_classic_queue"])
def test_Q05_unsupported_type(wire, names, queue_type):
    queue = names.queue()
    text = (
        f"PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue '{queue}' in vhost '/': "
        f"\"unsupported queue type '{queue_type}'\""
    )
    arguments = {"x-queue-type": queue_type}
    channel_error(wire, 406, text, "queue.declare", queue=queue, durable=True, arguments=arguments)


def test_Q05_type_that_is_no_text(wire, names):
    queue = names.queue()
    text = (
        f"PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue '{queue}' in vhost '/': "
        "{unacceptable_type,signedint}"
    )
    channel_error(wire, 406, text, "queue.declare", queue=queue, durable=True, arguments={"x-queue-type": 5})


@pytest.mark.parametrize(
    "flags, problem",
    [
        ({"durable": False}, "non-durable"),
        ({"durable": True, "exclusive": True}, "exclusive-owner"),
        ({"durable": True, "auto_delete": True}, "auto-delete"),
        ({"durable": False, "exclusive": True, "auto_delete": True}, "auto-delete"),
    ],
)
@pytest.mark.parametrize("arguments", [QUORUM, STREAM], ids=["quorum", "stream"])
def test_Q06_flags_of_a_quorum_queue_or_stream(wire, names, flags, problem, arguments):
    queue = names.queue()
    text = f"PRECONDITION_FAILED - invalid property '{problem}' for queue '{queue}' in vhost '/'"
    channel_error(wire, 406, text, "queue.declare", queue=queue, arguments=arguments, **flags)


def test_Q07_transient_queue_that_is_not_exclusive(declare):
    """Deprecated, permitted."""
    declare(durable=False)


def test_Q08_server_named(wire):
    queues = {wire.ask(1, "queue.declare", exclusive=True).queue for _ in range(3)}
    assert len(queues) == 3
    assert all(re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", queue) for queue in queues)


def test_Q09_server_named_queue_cannot_be_redeclared(wire):
    queue = wire.ask(1, "queue.declare", exclusive=True).queue
    wire.ask(1, "queue.declare", queue=queue, passive=True)
    text = f"ACCESS_REFUSED - queue name '{queue}' contains reserved prefix 'amq.*'"
    channel_error(wire, 403, text, "queue.declare", queue=queue, exclusive=True)


def test_Q08_no_server_named_quorum_queue(wire):
    text = "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue"
    channel_error(wire, 406, text, "queue.declare", durable=True, arguments=QUORUM)


def test_Q09_reserved_prefix(wire):
    text = "ACCESS_REFUSED - queue name 'amq.new' contains reserved prefix 'amq.*'"
    channel_error(wire, 403, text, "queue.declare", queue="amq.new", durable=True)


def test_Q09_passive_declare_of_a_reserved_name(wire):
    channel_error(wire, 404, gone("amq.new"), "queue.declare", queue="amq.new", passive=True)


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("queue.declare", {"exclusive": True}),
        ("queue.declare", {"durable": True}),
        ("queue.declare", {"passive": True}),
        ("queue.bind", {"exchange": "amq.direct", "routing_key": "k"}),
        ("queue.purge", {}),
        ("queue.delete", {}),
        ("basic.get", {}),
        ("basic.consume", {}),
    ],
)
def test_Q10_exclusive_is_for_its_connection(login, names, method, arguments):
    queue, owner, other = names.queue(), login(), login()
    owner.ask(1, "queue.declare", queue=queue, exclusive=True)
    channel_error(other, 405, locked(queue), method, queue=queue, **arguments)
    owner.ask(1, "queue.declare", queue=queue, exclusive=True)


def test_Q10_exclusive_is_for_all_channels_of_its_connection(login, names):
    queue, owner = names.queue(), login(channels=(1, 2))
    owner.ask(1, "queue.declare", queue=queue, exclusive=True)
    owner.ask(2, "basic.consume", queue=queue)


def test_Q10_anyone_may_publish_to_an_exclusive_queue(login, names):
    queue, owner, other = names.queue(), login(), login()
    owner.ask(1, "queue.declare", queue=queue, exclusive=True)
    fill(other, queue, [b"x"])
    assert get(owner, queue).body == b"x"


def test_Q10_goes_with_its_connection(broker, login, names):
    queue, owner = names.queue(), login()
    owner.ask(1, "queue.declare", queue=queue, exclusive=True, durable=True)
    owner.socket.close()
    eventually(lambda: not exists(broker, queue))


def test_Q10_does_not_go_with_its_channel(wire, names):
    queue = names.queue()
    wire.ask(1, "queue.declare", queue=queue, exclusive=True)
    wire.ask(1, "channel.close", code=200, text="")
    wire.ask(1, "channel.open")
    wire.ask(1, "queue.declare", queue=queue, passive=True)


def test_Q10_owner_redeclares_without_exclusive(wire, names):
    queue = names.queue()
    wire.ask(1, "queue.declare", queue=queue, exclusive=True)
    channel_error(wire, 405, locked(queue), "queue.declare", queue=queue, durable=True)


def test_Q10_existing_queue_redeclared_as_exclusive(wire, queue):
    channel_error(wire, 405, locked(queue), "queue.declare", queue=queue, durable=True, exclusive=True)


def test_Q11_auto_delete_after_the_last_consumer(broker, login, declare, wire):
    queue, other = declare(auto_delete=True), login()
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="a")
    other.ask(1, "basic.consume", queue=queue, consumer_tag="b")
    wire.ask(1, "basic.cancel", consumer_tag="a")
    assert exists(broker, queue)
    other.ask(1, "basic.cancel", consumer_tag="b")
    eventually(lambda: not exists(broker, queue))


def test_Q11_auto_delete_when_the_consumer_dies(broker, login, declare):
    queue, consumer = declare(auto_delete=True), login()
    consumer.ask(1, "basic.consume", queue=queue)
    consumer.socket.close()
    eventually(lambda: not exists(broker, queue))


def test_Q11_get_is_no_consumer(broker, declare, wire):
    queue = declare(auto_delete=True)
    assert get(wire, queue) is None
    assert exists(broker, queue)


def test_Q12_Q13_passive_counts(login, wire, queue):
    fill(wire, queue, [b"a", b"b", b"c"])
    get(wire, queue, no_ack=False)
    assert (depth(wire, queue), consumers(wire, queue)) == (2, 0)
    consumer = login()
    consumer.ask(1, "basic.qos", prefetch_count=1)
    consumer.ask(1, "basic.consume", queue=queue)
    assert consumer.read().name == "basic.deliver"
    assert (depth(wire, queue), consumers(wire, queue)) == (1, 1)


def test_Q12_passive_ignores_flags_and_arguments(wire, queue):
    arguments = {"x-max-length": "nonsense"}
    wire.ask(1, "queue.declare", queue=queue, passive=True, auto_delete=True, arguments=arguments)


def test_Q12_passive_missing(wire):
    channel_error(wire, 404, gone("no-such-queue"), "queue.declare", queue="no-such-queue", passive=True)


def test_Q12_passive_nowait_says_nothing(wire, queue):
    wire.send_method(1, "queue.declare", queue=queue, passive=True, nowait=True)
    wire.ask(1, "basic.qos")


@pytest.mark.parametrize("arguments", [{}, QUORUM])
def test_Q14_delete_counts_messages(wire, declare, arguments):
    queue = declare(arguments)
    fill(wire, queue, [b"a", b"b"])
    assert wire.ask(1, "queue.delete", queue=queue).message_count == 2
    channel_error(wire, 404, gone(queue), "queue.declare", queue=queue, passive=True)


def test_Q14_if_unused(login, wire, queue):
    consumer = login()
    consumer.ask(1, "basic.consume", queue=queue, consumer_tag="t")
    text = f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use"
    channel_error(wire, 406, text, "queue.delete", queue=queue, if_unused=True)
    consumer.ask(1, "basic.cancel", consumer_tag="t")
    wire.ask(1, "queue.delete", queue=queue, if_unused=True)


def test_Q14_if_empty(wire, queue):
    fill(wire, queue, [b"x"])
    text = f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"
    channel_error(wire, 406, text, "queue.delete", queue=queue, if_empty=True)
    assert get(wire, queue).body == b"x"
    wire.ask(1, "queue.delete", queue=queue, if_empty=True)


@pytest.mark.parametrize("flag", ["unused", "empty"])
def test_Q14_conditions_on_a_quorum_queue(wire, declare, expect, flag):
    queue = declare(QUORUM)
    if expect(leveret=True, rabbitmq=False):
        wire.ask(1, "queue.delete", queue=queue, **{f"if_{flag}": True})
        return
    text = (
        f"NOT_IMPLEMENTED - cannot delete queue '{queue}' in vhost '/'. "
        f"queue.delete operations with if-{flag} flag set are not supported by quorum queues"
    )
    connection_error(wire, 540, text, "queue.delete", queue=queue, **{f"if_{flag}": True})


def test_Q14_delete_returns_nothing_to_a_dead_queue(wire, declare):
    """Acknowledging a message of a deleted queue is fine."""
    queue = declare()
    fill(wire, queue, [b"x"])
    tag = get(wire, queue, no_ack=False).delivery_tag
    wire.ask(1, "queue.delete", queue=queue)
    wire.send_method(1, "basic.ack", delivery_tag=tag)
    wire.ask(1, "basic.qos")


def test_nowait_everywhere(broker, wire, names):
    queue, exchange = names.queue(), names.exchange()
    wire.send_method(1, "exchange.declare", exchange=exchange, type="fanout", nowait=True)
    wire.send_method(1, "queue.declare", queue=queue, durable=True, nowait=True)
    wire.send_method(1, "queue.bind", queue=queue, exchange=exchange, nowait=True)
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", exchange=exchange, mandatory=True)
    wire.send_method(1, "queue.purge", queue=queue, nowait=True)
    assert depth(wire, queue) == 0
    wire.send_method(1, "queue.delete", queue=queue, nowait=True)
    wire.send_method(1, "exchange.delete", exchange=exchange, nowait=True)
    wire.ask(1, "basic.qos")
    assert not exists(broker, queue)


def test_Q18_routing_key_without_exchange(wire, names):
    queue = names.queue()
    text = (
        f"PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue '{queue}' in vhost '/': "
        "routing_key_but_no_dlx_defined"
    )
    arguments = {"x-dead-letter-routing-key": "k"}
    channel_error(wire, 406, text, "queue.declare", queue=queue, durable=True, arguments=arguments)
