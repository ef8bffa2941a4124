"""RABBITMQ.md 1.3: exchanges, bindings and routing."""

import re

import pytest
from support import channel_error, confirmed, depth, drain, eventually
from wire import Typed

DEFAULT = "ACCESS_REFUSED - operation not permitted on the default exchange"


@pytest.fixture
def exchange(wire, names):
    """A durable direct exchange."""
    name = names.exchange()
    wire.ask(1, "exchange.declare", exchange=name, type="direct", durable=True)
    return name


@pytest.fixture
def declare(wire, names):
    """Declares an exchange of a kind under a new name."""

    def declare_exchange(kind, **arguments):
        name = names.exchange()
        wire.ask(1, "exchange.declare", exchange=name, type=kind, **arguments)
        return name

    return declare_exchange


@pytest.fixture
def routed(wire, names):
    """Whether a publish reaches a queue with these bindings; each question gets its own queue."""
    wire.ask(1, "confirm.select")

    def ask(exchange, bindings, routing_key="", headers=None):
        queue = names.queue()
        wire.ask(1, "queue.declare", queue=queue, durable=True)
        for binding in bindings:
            wire.ask(1, "queue.bind", queue=queue, exchange=exchange, **binding)
        assert confirmed(wire, b"x", exchange=exchange, routing_key=routing_key, headers=headers)
        return depth(wire, queue) == 1

    return ask


def exchange_exists(wire, name):
    answer = wire.call(1, "exchange.declare", exchange=name, passive=True)
    if answer.name == "exchange.declare-ok":
        return True
    wire.send_method(1, "channel.close-ok")
    wire.ask(1, "channel.open")
    return False


@pytest.mark.parametrize(
    "name, kind, internal",
    [
        ("amq.direct", "direct", False),
        ("amq.fanout", "fanout", False),
        ("amq.topic", "topic", False),
        ("amq.headers", "headers", False),
        ("amq.match", "headers", False),
        ("amq.rabbitmq.trace", "topic", True),
    ],
)
def test_X01_pre_declared(wire, name, kind, internal):
    wire.ask(1, "exchange.declare", exchange=name, type=kind, durable=True, internal=internal)


def test_X02_default_exchange_routes_by_queue_name(wire, queue):
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", routing_key=queue, mandatory=True)
    assert drain(wire, queue) == [b"x"]


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("exchange.declare", {"exchange": "", "type": "direct", "durable": True}),
        ("exchange.declare", {"exchange": "", "type": "direct", "passive": True}),
        ("exchange.delete", {"exchange": ""}),
        ("exchange.bind", {"destination": "", "source": "amq.direct"}),
        ("exchange.bind", {"destination": "amq.direct", "source": ""}),
        ("exchange.unbind", {"destination": "amq.direct", "source": ""}),
    ],
)
def test_X02_default_exchange_is_not_for_clients(wire, method, arguments):
    channel_error(wire, 403, DEFAULT, method, **arguments)


@pytest.mark.parametrize("method", ["queue.bind", "queue.unbind"])
def test_X02_no_bindings_to_the_default_exchange(wire, queue, method):
    channel_error(wire, 403, DEFAULT, method, queue=queue, exchange="", routing_key="k")


@pytest.mark.parametrize("kind", ["foo", "", "Direct", "x-delayed-message"])
def test_X03_unknown_type(wire, names, kind):
    """Invalid or unknown: RabbitMQ's choice depends on the words its runtime has met before."""
    text = re.compile(f"PRECONDITION_FAILED - (invalid|unknown) exchange type '{kind}'")
    channel_error(wire, 406, text, "exchange.declare", exchange=names.exchange(), type=kind)


def test_X03_unknown_type_for_an_existing_exchange(wire, exchange):
    text = re.compile("PRECONDITION_FAILED - (invalid|unknown) exchange type 'foo'")
    channel_error(wire, 406, text, "exchange.declare", exchange=exchange, type="foo", durable=True)


def test_X03_reserved_prefix(wire):
    text = "ACCESS_REFUSED - exchange name 'amq.new' contains reserved prefix 'amq.*'"
    channel_error(wire, 403, text, "exchange.declare", exchange="amq.new", type="direct")


@pytest.mark.parametrize("kind", ["direct", "fanout", "topic", "headers", "x-local-random", "x-modulus-hash"])
def test_X03_declare_and_redeclare(wire, names, kind):
    name = names.exchange()
    for _ in range(2):
        wire.ask(1, "exchange.declare", exchange=name, type=kind, durable=True, arguments={"any": "thing"})
    wire.ask(1, "exchange.declare", exchange=name, type=kind, durable=True, arguments={"another": 1})


@pytest.mark.parametrize(
    "change, argument, received, current",
    [
        ({"type": "fanout"}, "type", "fanout", "direct"),
        ({"durable": False}, "durable", "false", "true"),
        ({"auto_delete": True}, "auto_delete", "true", "false"),
        ({"internal": True}, "internal", "true", "false"),
        ({"type": "fanout", "durable": False}, "type", "fanout", "direct"),
        ({"internal": True, "durable": False, "auto_delete": True}, "durable", "false", "true"),
    ],
)
def test_X04_inequivalent(wire, exchange, change, argument, received, current):
    text = (
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for exchange '{exchange}' in vhost '/': "
        f"received '{received}' but current is '{current}'"
    )
    declare = {"type": "direct", "durable": True, **change}
    channel_error(wire, 406, text, "exchange.declare", exchange=exchange, **declare)


@pytest.mark.parametrize(
    "first, second, difference",
    [
        ({}, {"alternate-exchange": "a"}, "received the value 'a' of type 'longstr' but current is none"),
        ({"alternate-exchange": "a"}, {}, "received none but current is the value 'a' of type 'longstr'"),
        ({"alternate-exchange": "a"}, {"alternate-exchange": "b"}, "received 'b' but current is 'a'"),
        ({"alternate-exchange": "a"}, {"alternate-exchange": 5}, "received '5' but current is 'a'"),
    ],
)
def test_X04_inequivalent_alternate_exchange(wire, declare, first, second, difference):
    name = declare("direct", durable=True, arguments=first)
    text = (
        f"PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange '{name}' in vhost '/': {difference}"
    )
    arguments = {"type": "direct", "durable": True, "arguments": second}
    channel_error(wire, 406, text, "exchange.declare", exchange=name, **arguments)


def test_X05_passive(wire, exchange):
    wire.ask(1, "exchange.declare", exchange=exchange, passive=True)
    wire.ask(1, "exchange.declare", exchange=exchange, passive=True, type="fanout", internal=True)


@pytest.mark.parametrize("name", ["no-such-exchange", "amq.no-such-exchange"])
def test_X05_passive_missing(wire, name):
    text = f"NOT_FOUND - no exchange '{name}' in vhost '/'"
    channel_error(wire, 404, text, "exchange.declare", exchange=name, type="direct", passive=True)


def test_X06_delete(wire, exchange):
    wire.ask(1, "exchange.delete", exchange=exchange)
    assert not exchange_exists(wire, exchange)


def test_X06_if_unused(wire, exchange, queue):
    wire.ask(1, "queue.bind", queue=queue, exchange=exchange, routing_key="k")
    text = f"PRECONDITION_FAILED - exchange '{exchange}' in vhost '/' in use"
    channel_error(wire, 406, text, "exchange.delete", exchange=exchange, if_unused=True)
    wire.ask(1, "queue.unbind", queue=queue, exchange=exchange, routing_key="k")
    wire.ask(1, "exchange.delete", exchange=exchange, if_unused=True)


@pytest.mark.parametrize("name", ["amq.direct", "amq.rabbitmq.trace", "amq.no-such-exchange"])
def test_X06_system_exchange(wire, name):
    text = f"ACCESS_REFUSED - deletion of system exchange '{name}' in vhost '/' not allowed"
    channel_error(wire, 403, text, "exchange.delete", exchange=name)


def test_X06_delete_takes_the_bindings(wire, exchange, queue):
    wire.ask(1, "queue.bind", queue=queue, exchange=exchange, routing_key="k")
    wire.ask(1, "exchange.delete", exchange=exchange)
    wire.ask(1, "exchange.declare", exchange=exchange, type="direct", durable=True)
    wire.publish(1, b"x", exchange=exchange, routing_key="k", mandatory=True)
    assert wire.read().name == "basic.return"


def test_X07_auto_delete_after_the_last_binding(wire, declare, queue):
    name = declare("direct", auto_delete=True)
    for key in ("a", "b"):
        wire.ask(1, "queue.bind", queue=queue, exchange=name, routing_key=key)
    wire.ask(1, "queue.unbind", queue=queue, exchange=name, routing_key="a")
    assert exchange_exists(wire, name)
    wire.ask(1, "queue.unbind", queue=queue, exchange=name, routing_key="b")
    assert not exchange_exists(wire, name)


def test_X07_auto_delete_when_the_queue_goes(wire, declare, queue):
    name = declare("fanout", auto_delete=True)
    wire.ask(1, "queue.bind", queue=queue, exchange=name)
    wire.ask(1, "queue.delete", queue=queue)
    eventually(lambda: not exchange_exists(wire, name))


def test_X07_auto_delete_waits_for_its_first_binding(wire, declare, queue):
    name = declare("fanout", auto_delete=True)
    wire.ask(1, "exchange.bind", destination=name, source="amq.fanout")
    wire.ask(1, "exchange.unbind", destination=name, source="amq.fanout")
    assert exchange_exists(wire, name), "a binding to it does not count"


def test_X07_internal(wire, declare, queue):
    name = declare("fanout", internal=True)
    wire.publish(1, b"x", exchange=name)
    answer = wire.read()
    assert (answer.name, answer.code) == ("channel.close", 403)
    assert answer.text == f"ACCESS_REFUSED - cannot publish to internal exchange '{name}' in vhost '/'"


def test_X07_internal_takes_what_other_exchanges_send(wire, declare, queue):
    outer, inner = declare("fanout"), declare("fanout", internal=True)
    wire.ask(1, "exchange.bind", destination=inner, source=outer)
    wire.ask(1, "queue.bind", queue=queue, exchange=inner)
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", exchange=outer)
    assert drain(wire, queue) == [b"x"]


def test_X08_exchange_to_exchange(wire, declare, queue):
    source, destination = declare("topic"), declare("direct")
    wire.ask(1, "exchange.bind", destination=destination, source=source, routing_key="a.*")
    wire.ask(1, "queue.bind", queue=queue, exchange=destination, routing_key="a.b")
    wire.ask(1, "confirm.select")
    for key in ("a.b", "a.c", "b.b"):
        assert confirmed(wire, key.encode(), exchange=source, routing_key=key)
    assert drain(wire, queue) == [b"a.b"]
    wire.ask(1, "exchange.unbind", destination=destination, source=source, routing_key="a.*")
    assert confirmed(wire, b"x", exchange=source, routing_key="a.b")
    assert depth(wire, queue) == 0


def test_X08_cycles_and_one_copy(wire, declare, queue):
    first, second = declare("fanout"), declare("fanout")
    wire.ask(1, "exchange.bind", destination=second, source=first)
    wire.ask(1, "exchange.bind", destination=first, source=second)
    wire.ask(1, "queue.bind", queue=queue, exchange=first)
    wire.ask(1, "queue.bind", queue=queue, exchange=second)
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", exchange=first)
    assert depth(wire, queue) == 1


def test_X08_nowait(wire, declare, queue):
    first, second = declare("fanout"), declare("fanout")
    wire.send_method(1, "exchange.bind", destination=second, source=first, nowait=True)
    wire.send_method(1, "queue.bind", queue=queue, exchange=second, nowait=True)
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", exchange=first)
    assert depth(wire, queue) == 1


def test_X09_alternate_exchange(wire, declare, queue):
    alternate = declare("fanout")
    name = declare("direct", arguments={"alternate-exchange": alternate})
    wire.ask(1, "queue.bind", queue=queue, exchange=alternate)
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", exchange=name, routing_key="unrouted")
    message = wire.ask(1, "basic.get", queue=queue, no_ack=True)
    assert (message.exchange, message.routing_key) == (name, "unrouted")


def test_X09_only_what_is_not_routed(wire, declare, names, queue):
    alternate, direct = declare("fanout"), names.queue()
    name = declare("direct", arguments={"alternate-exchange": alternate})
    wire.ask(1, "queue.declare", queue=direct, durable=True)
    wire.ask(1, "queue.bind", queue=direct, exchange=name, routing_key="k")
    wire.ask(1, "queue.bind", queue=queue, exchange=alternate)
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", exchange=name, routing_key="k")
    assert (depth(wire, direct), depth(wire, queue)) == (1, 0)


def test_X09_chain_and_cycle(wire, declare, names, queue):
    last = declare("fanout")
    middle = declare("direct", arguments={"alternate-exchange": last})
    first = declare("direct", arguments={"alternate-exchange": middle})
    wire.ask(1, "queue.bind", queue=queue, exchange=last)
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", exchange=first, mandatory=True)
    assert depth(wire, queue) == 1
    one, two = names.exchange(), names.exchange()
    for name, other in ((one, two), (two, one)):
        wire.ask(1, "exchange.declare", exchange=name, type="direct", arguments={"alternate-exchange": other})
    wire.publish(1, b"x", exchange=one, mandatory=True)
    assert [wire.read().name, wire.read().name] == ["basic.return", "basic.ack"]


def test_X09_missing_alternate_exchange(wire, declare):
    name = declare("direct", arguments={"alternate-exchange": "no-such-exchange"})
    wire.publish(1, b"x", exchange=name, mandatory=True)
    assert wire.read().name == "basic.return"


@pytest.mark.parametrize("value, kind", [(5, "signedint"), ({}, "table"), (True, "bool")])
def test_X09_wrong_type(wire, names, value, kind):
    name = names.exchange()
    text = f"PRECONDITION_FAILED - invalid type '{kind}' for arg 'alternate-exchange' in exchange '{name}' in vhost '/'"
    arguments = {"alternate-exchange": value}
    channel_error(wire, 406, text, "exchange.declare", exchange=name, type="direct", arguments=arguments)


def test_X10_duplicate_bindings_are_one(wire, exchange, queue):
    for _ in range(2):
        wire.ask(1, "queue.bind", queue=queue, exchange=exchange, routing_key="k")
    wire.ask(1, "queue.unbind", queue=queue, exchange=exchange, routing_key="k")
    wire.publish(1, b"x", exchange=exchange, routing_key="k", mandatory=True)
    assert wire.read().name == "basic.return"


def test_X10_arguments_are_part_of_the_binding(wire, exchange, queue):
    for arguments in ({}, {"a": 1}):
        wire.ask(1, "queue.bind", queue=queue, exchange=exchange, routing_key="k", arguments=arguments)
    wire.ask(1, "queue.unbind", queue=queue, exchange=exchange, routing_key="k")
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", exchange=exchange, routing_key="k")
    assert depth(wire, queue) == 1


@pytest.mark.parametrize(
    "method, arguments, missing",
    [
        ("queue.bind", {"queue": "no-such-queue", "exchange": "amq.direct"}, "queue 'no-such-queue'"),
        ("queue.bind", {"queue": "no-such-queue", "exchange": "no-such"}, "exchange 'no-such'"),
        ("exchange.bind", {"destination": "no-such", "source": "amq.direct"}, "exchange 'no-such'"),
        ("exchange.bind", {"destination": "amq.direct", "source": "no-such"}, "exchange 'no-such'"),
        ("exchange.bind", {"destination": "missing", "source": "no-such"}, "exchange 'no-such'"),
    ],
)
def test_X10_missing_end(wire, method, arguments, missing):
    channel_error(wire, 404, f"NOT_FOUND - no {missing} in vhost '/'", method, **arguments)


def test_X10_bind_to_a_missing_exchange(wire, queue):
    text = "NOT_FOUND - no exchange 'no-such' in vhost '/'"
    channel_error(wire, 404, text, "queue.bind", queue=queue, exchange="no-such", routing_key="k")


def test_X11_direct(routed, exchange):
    bindings = [{"routing_key": "a"}, {"routing_key": "b"}]
    assert routed(exchange, bindings, "a") and routed(exchange, bindings, "b")
    assert not routed(exchange, bindings, "c") and not routed(exchange, bindings, "")


def test_X11_fanout(routed, declare):
    fanout = declare("fanout")
    assert routed(fanout, [{"routing_key": "a"}], "b") and routed(fanout, [{}], "")


@pytest.mark.parametrize(
    "pattern, matching, others",
    [
        ("a.b", ["a.b"], ["a", "a.b.c", "a.c", ""]),
        ("*", ["a"], ["a.b", ""]),
        ("#", ["", "a", "a.b.c"], []),
        ("a.*", ["a.b", "a."], ["a", "a.b.c", "b.a"]),
        ("a.#", ["a", "a.b", "a.b.c"], ["b", "b.a"]),
        ("#.z", ["z", "a.z", "a.b.z"], ["z.a", "a"]),
        ("*.#", ["a", "a.b"], []),
        ("a.*.#", ["a.b", "a.b.c.d"], ["a"]),
        ("#.a.#", ["a", "x.a", "a.x", "x.a.x"], ["b", "x.y"]),
        ("*.*.c", ["a.b.c"], ["b.c", "a.b.c.d"]),
        ("a*", ["a*"], ["ab", "a"]),
        ("a.#.b", ["a.b", "a.x.y.b"], ["a", "a.b.c"]),
        ("..", [".."], [".", "..."]),
        ("*.*", ["a.b", "."], ["a"]),
    ],
)
def test_X12_topic(routed, declare, pattern, matching, others):
    topic = declare("topic")
    answers = {key: routed(topic, [{"routing_key": pattern}], key) for key in matching + others}
    assert answers == {**dict.fromkeys(matching, True), **dict.fromkeys(others, False)}


def test_X12_one_copy_for_many_matching_bindings(wire, declare, queue):
    topic = declare("topic")
    for pattern in ("a.#", "#.b", "a.b", "*.*"):
        wire.ask(1, "queue.bind", queue=queue, exchange=topic, routing_key=pattern)
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", exchange=topic, routing_key="a.b")
    assert depth(wire, queue) == 1
    wire.ask(1, "queue.unbind", queue=queue, exchange=topic, routing_key="a.b")
    assert confirmed(wire, b"x", exchange=topic, routing_key="a.b")
    assert depth(wire, queue) == 2


@pytest.mark.parametrize("key, count", [("#.a.#.b.#", 3), ("#.#.#.a", 3), ("#.a.#.b.#.c.#", 4)])
def test_X12_too_many_wildcards(wire, queue, key, count):
    text = f"PRECONDITION_FAILED - Topic binding key '{key}' uses {count} '#' wildcards, at most 2 are allowed"
    channel_error(wire, 406, text, "queue.bind", queue=queue, exchange="amq.topic", routing_key=key)


BOTH = {"a": "1", "b": 2}


@pytest.mark.parametrize(
    "binding, headers, expected",
    [
        pytest.param({"x-match": "all", **BOTH}, {"a": "1", "b": 2, "c": 3}, True, id="all"),
        pytest.param({"x-match": "all", **BOTH}, {"a": "1"}, False, id="all-one-missing"),
        pytest.param({"x-match": "all", **BOTH}, {"a": "1", "b": 3}, False, id="all-one-different"),
        pytest.param(BOTH, {"a": "1"}, False, id="all-is-the-default"),
        pytest.param({"x-match": "any", **BOTH}, {"b": 2}, True, id="any"),
        pytest.param({"x-match": "any", **BOTH}, {"b": 3}, False, id="any-none"),
        pytest.param({"x-match": "all"}, {}, True, id="all-of-nothing"),
        pytest.param({}, {"a": 1}, True, id="no-arguments"),
        pytest.param({"x-match": "any"}, {"a": 1}, False, id="any-of-nothing"),
        pytest.param({"x-match": "all", "a": None}, {"a": "whatever"}, True, id="void-is-presence"),
        pytest.param({"x-match": "all", "a": None}, {"b": 1}, False, id="void-absent"),
        pytest.param({"x-match": "all", "a": 1}, {"a": "1"}, False, id="typed"),
        pytest.param({"x-match": "all", "a": 1}, {"a": Typed("l", 1)}, True, id="integers-of-all-widths"),
        pytest.param({"x-match": "all", "a": True}, {"a": True}, True, id="bool"),
        pytest.param({"x-match": "all", "a": True}, {"a": "true"}, False, id="bool-and-text"),
        pytest.param({"x-match": "all", "x-a": 1}, {}, True, id="x-headers-are-ignored"),
        pytest.param({"x-match": "any", "x-a": 1}, {"x-a": 1}, False, id="any-ignores-x-headers"),
        pytest.param({"x-match": "all-with-x", "x-a": 1}, {}, False, id="all-with-x"),
        pytest.param({"x-match": "all-with-x", "x-a": 1}, {"x-a": 1}, True, id="all-with-x-present"),
        pytest.param({"x-match": "any-with-x", "x-a": 1, "b": 2}, {"x-a": 1}, True, id="any-with-x"),
    ],
)
def test_X13_headers(routed, declare, binding, headers, expected):
    exchange = declare("headers")
    assert routed(exchange, [{"arguments": binding}], headers=headers) is expected


def test_X13_message_without_headers(routed, declare):
    exchange = declare("headers")
    assert routed(exchange, [{"arguments": {}}]) and not routed(exchange, [{"arguments": {"a": 1}}])


@pytest.mark.parametrize(
    "value, problem",
    [
        ("foo", 'value <<"foo">>; expected all, any, all-with-x, or any-with-x'),
        (5, "type signedint (value 5); expected longstr"),
    ],
)
def test_X13_invalid_x_match(wire, queue, value, problem):
    text = f"PRECONDITION_FAILED - Invalid x-match field {problem}"
    arguments = {"x-match": value}
    channel_error(wire, 406, text, "queue.bind", queue=queue, exchange="amq.headers", arguments=arguments)


def test_X14_local_random(wire, names, declare):
    exchange, queues = declare("x-local-random"), [names.queue() for _ in range(3)]
    for queue in queues:
        wire.ask(1, "queue.declare", queue=queue, durable=True)
        wire.ask(1, "queue.bind", queue=queue, exchange=exchange)
    wire.ask(1, "confirm.select")
    for _ in range(60):
        assert confirmed(wire, b"x", exchange=exchange, routing_key="ignored", mandatory=True)
    depths = [depth(wire, queue) for queue in queues]
    assert sum(depths) == 60 and min(depths) > 0


def test_X14_binding_key(wire, queue, declare):
    text = "PRECONDITION_FAILED - Non empty binding 'k' key not permitted"
    exchange = declare("x-local-random")
    channel_error(wire, 406, text, "queue.bind", queue=queue, exchange=exchange, routing_key="k")


def test_X15_modulus_hash(wire, names, declare):
    """One queue for each routing key, always the same."""
    exchange, queues = declare("x-modulus-hash"), [names.queue() for _ in range(3)]
    for queue in queues:
        wire.ask(1, "queue.declare", queue=queue, durable=True)
        wire.ask(1, "queue.bind", queue=queue, exchange=exchange, routing_key="ignored")
    wire.ask(1, "confirm.select")
    for key in range(60):
        for _ in range(2):
            assert confirmed(wire, b"%d" % key, exchange=exchange, routing_key=f"key {key}", mandatory=True)
    contents = [drain(wire, queue) for queue in queues]
    assert sum(len(content) for content in contents) == 120
    assert all(content and len(content) == 2 * len(set(content)) for content in contents)


@pytest.fixture
def bound(wire, names):
    """Three queues bound to an exchange, with the same key."""

    def bind_queues(exchange, routing_key):
        queues = [names.queue() for _ in range(3)]
        for queue in queues:
            wire.ask(1, "queue.declare", queue=queue, durable=True)
            wire.ask(1, "queue.bind", queue=queue, exchange=exchange, routing_key=routing_key)
        return queues

    return bind_queues


@pytest.mark.parametrize(
    "arguments, publish",
    [
        ({}, lambda key: {"routing_key": key}),
        ({"hash-header": "by"}, lambda key: {"headers": {"by": key}}),
        ({"hash-property": "message_id"}, lambda key: {"message_id": key}),
        ({"hash-property": "correlation_id"}, lambda key: {"correlation_id": key}),
    ],
)
def test_X16_consistent_hash(wire, declare, bound, arguments, publish):
    """One queue for each value that is hashed, always the same; the load is spread by weight."""
    exchange = declare("x-consistent-hash", arguments=arguments)
    queues = bound(exchange, "10")
    wire.ask(1, "confirm.select")
    for key in range(90):
        for _ in range(2):
            properties = publish(f"key {key}")
            assert confirmed(wire, b"%d" % key, exchange=exchange, mandatory=True, **properties)
    contents = [drain(wire, queue) for queue in queues]
    assert sum(len(content) for content in contents) == 180
    assert all(content and len(content) == 2 * len(set(content)) for content in contents)


def test_X16_binding_key(wire, queue, declare):
    exchange = declare("x-consistent-hash")
    for key, text in [
        ("many", "The binding key must be an integer"),
        ("0", "The binding key must be greater than 0"),
    ]:
        text = re.compile(rf"PRECONDITION_FAILED - .*{text}.*")
        channel_error(wire, 406, text, "queue.bind", queue=queue, exchange=exchange, routing_key=key)


def test_X16_one_way_to_hash(wire, names):
    for arguments in [{"hash-header": "h", "hash-property": "message_id"}, {"hash-property": "app_id"}]:
        channel_error(
            wire, 406, re.compile("PRECONDITION_FAILED - .*"), "exchange.declare",
            exchange=names.exchange(), type="x-consistent-hash", arguments=arguments,
        )  # fmt: skip


def test_X17_random(wire, declare, bound):
    exchange = declare("x-random")
    queues = bound(exchange, "ignored")
    wire.ask(1, "confirm.select")
    for _ in range(60):
        assert confirmed(wire, b"x", exchange=exchange, routing_key="k", mandatory=True)
    depths = [depth(wire, queue) for queue in queues]
    assert sum(depths) == 60 and min(depths) > 0


def test_X18_recent_history(wire, names, declare):
    """A new binding is given the last messages, but for those that asked not to be kept."""
    exchange = declare("x-recent-history", arguments={"x-recent-history-length": 2})
    wire.ask(1, "confirm.select")
    for body in [b"1", b"2", b"3"]:
        assert confirmed(wire, body, exchange=exchange, routing_key="k")
    assert confirmed(wire, b"4", exchange=exchange, headers={"x-recent-history-no-store": True})
    queue = names.queue()
    wire.ask(1, "queue.declare", queue=queue, durable=True)
    wire.ask(1, "queue.bind", queue=queue, exchange=exchange)
    eventually(lambda: depth(wire, queue) == 2)
    assert sorted(drain(wire, queue)) == [b"2", b"3"]
    assert confirmed(wire, b"5", exchange=exchange)
    assert drain(wire, queue) == [b"5"]


@pytest.mark.parametrize("length", [0, -1, "many"])
def test_X18_length(wire, names, length):
    text = re.compile("PRECONDITION_FAILED - Invalid argument .*, 'x-recent-history-length' must be a positive integer")
    channel_error(
        wire, 406, text, "exchange.declare",
        exchange=names.exchange(), type="x-recent-history", arguments={"x-recent-history-length": length},
    )  # fmt: skip


def test_durable_exchange_with_an_exclusive_queue(wire, exchange):
    queue = wire.ask(1, "queue.declare", exclusive=True).queue
    wire.ask(1, "queue.bind", queue=queue, exchange=exchange, routing_key="k")
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", exchange=exchange, routing_key="k")
    assert drain(wire, queue) == [b"x"]
