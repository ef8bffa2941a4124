"""RABBITMQ.md 1.5: which queue arguments are accepted, by queue type, and the words of each refusal."""

import pytest
from support import channel_error
from wire import Typed

TEN_YEARS_MS = 315360000000
DLX = {"x-dead-letter-exchange": "amq.fanout"}


def integer(kind):
    return f'"expected integer, got {kind}"'


def type_error(kind):
    return f"{{unacceptable_type,{kind}}}"


# argument: (accepted values, {refused value: reason}), the same for classic and quorum queues.
COMMON = {
    "x-message-ttl": (
        [0, 1, TEN_YEARS_MS],
        [
            (-1, "{value_negative,-1}"),
            (TEN_YEARS_MS + 1, "{value_too_large,315360000001}"),
            ("abc", integer("longstr")),
            (1.5, integer("double")),
            (Typed("f", 5.0), integer("float")),
            (True, integer("bool")),
            (None, integer("void")),
            (Typed("T", 5), integer("timestamp")),
        ],
    ),
    "x-expires": (
        [1000, TEN_YEARS_MS],
        [
            (0, "{value_zero,0}"),
            (-1, "{value_negative,-1}"),
            (TEN_YEARS_MS + 1, "{value_too_large,315360000001}"),
            ("abc", integer("longstr")),
        ],
    ),
    "x-max-length": ([0, 5, 2**40], [(-1, "{value_negative,-1}"), ("abc", integer("longstr"))]),
    "x-max-length-bytes": ([0, 5], [(-1, "{value_negative,-1}"), ("abc", integer("longstr"))]),
    "x-overflow": (
        ["drop-head", "reject-publish", "reject-publish-dlx"],
        [("foo", "invalid_overflow"), (5, type_error("signedint"))],
    ),
    "x-dead-letter-exchange": (["", "amq.fanout", "no-such-exchange"], []),
    "x-single-active-consumer": (
        [True, False],
        [("true", type_error("longstr")), (1, type_error("signedint"))],
    ),
    "x-queue-leader-locator": (
        ["client-local", "balanced", "random", "least-leaders", "min-masters"],
        [("foo", "invalid_queue_locator_arg"), (5, type_error("signedint"))],
    ),
}

CLASSIC = {
    "x-max-priority": (
        [0, 10, 255],
        [(256, "{max_value_exceeded,256}"), (-1, "{value_negative,-1}"), ("abc", integer("longstr"))],
    ),
    "x-queue-version": ([2], [(1, "\"unsupported queue version '1'\""), ("2", integer("longstr"))]),
    "x-queue-mode": (["default", "lazy", "foo", 5], []),
}

QUORUM = {
    "x-dead-letter-strategy": (
        ["at-most-once", "at-least-once"],
        [("foo", "invalid_dlx_strategy"), (5, type_error("signedint"))],
    ),
    "x-delivery-limit": ([0, 5, -1], []),
    "x-quorum-initial-group-size": (
        [1, 3],
        [(0, "{value_zero,0}"), (-1, "{value_negative,-1}"), ("abc", integer("longstr"))],
    ),
    "x-consumer-timeout": ([0, 1000], [(-1, "{value_negative,-1}"), ("abc", integer("longstr"))]),
    "x-consumer-disconnected-timeout": ([0, 1000], [(-1, "{value_negative,-1}")]),
    "x-delayed-retry-type": (["disabled", "all", "failed", "returned"], []),
    "x-delayed-retry-min": ([100], []),
    "x-delayed-retry-max": ([100], []),
    "x-max-in-memory-length": ([5], []),
    "x-max-in-memory-bytes": ([5], [(-1, "{value_negative,-1}")]),
}

STREAM = {
    "x-max-age": (
        ["1Y", "2M", "30D", "12h", "5m", "1s"],
        [
            ("5", "invalid_max_age"),
            ("h", "invalid_max_age"),
            ("1H", "invalid_max_age"),
            ("-5h", "invalid_max_age"),
            (5, type_error("signedint")),
        ],
    ),
    "x-stream-max-segment-size-bytes": (
        [0, 1000, 3_000_000_000],
        [(-1, "{value_negative,-1}"), ("a", integer("longstr"))],
    ),
    "x-stream-filter-size-bytes": ([16, 255], [(-1, "{value_negative,-1}"), ("a", integer("longstr"))]),
    "x-initial-cluster-size": ([1, 3], [(0, "{value_zero,0}"), (-1, "{value_negative,-1}")]),
}
OF_ALL = ["x-max-length-bytes", "x-queue-leader-locator"]

RULES = {
    "classic": {**COMMON, **CLASSIC},
    "quorum": {**COMMON, **QUORUM},
    "stream": {**{name: COMMON[name] for name in OF_ALL}, **STREAM},
}
EXAMPLES = {
    name: next((value for value in values if value is not None), None)
    for rules in (COMMON, CLASSIC, QUORUM, STREAM)
    for name, (values, _) in rules.items()
}
FOREIGN = {
    queue_type: {name: value for name, value in EXAMPLES.items() if name not in rules}
    for queue_type, rules in RULES.items()
}

ACCEPTED = [
    pytest.param(kind, name, value, id=f"{kind}-{name}-{value!r}")
    for kind, rules in RULES.items()
    for name, (values, _) in rules.items()
    for value in values
]
REFUSED = [
    pytest.param(kind, name, value, reason, id=f"{kind}-{name}-{value!r}")
    for kind, rules in RULES.items()
    for name, (_, refused) in rules.items()
    for value, reason in refused
]
BELONGS_ELSEWHERE = [
    pytest.param(kind, name, value, id=f"{kind}-{name}")
    for kind, arguments in FOREIGN.items()
    for name, value in arguments.items()
]


@pytest.mark.parametrize("queue_type, name, value", ACCEPTED)
def test_Q03_accepted(wire, names, queue_type, name, value):
    """Accepted, and again when the same is declared a second time."""
    queue = names.queue()
    for _ in range(2):
        arguments = {"x-queue-type": queue_type, name: value}
        wire.ask(1, "queue.declare", queue=queue, durable=True, arguments=arguments)


@pytest.mark.parametrize("queue_type, name, value, reason", REFUSED)
def test_Q03_refused_value(wire, names, queue_type, name, value, reason):
    queue = names.queue()
    text = f"PRECONDITION_FAILED - invalid arg '{name}' for queue '{queue}' in vhost '/': {reason}"
    arguments = {"x-queue-type": queue_type, name: value}
    channel_error(wire, 406, text, "queue.declare", queue=queue, durable=True, arguments=arguments)


@pytest.mark.parametrize("queue_type, name, value", BELONGS_ELSEWHERE)
def test_Q03_argument_of_another_type(wire, names, queue_type, name, value):
    queue = names.queue()
    text = (
        f"PRECONDITION_FAILED - invalid arg '{name}' for queue '{queue}' in vhost '/' "
        f"of queue type rabbit_{queue_type}_queue"
    )
    arguments = {"x-queue-type": queue_type, name: value}
    channel_error(wire, 406, text, "queue.declare", queue=queue, durable=True, arguments=arguments)


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_Q18_dead_letter_routing_key(wire, names, queue_type):
    arguments = {"x-queue-type": queue_type, "x-dead-letter-routing-key": "k", **DLX}
    wire.ask(1, "queue.declare", queue=names.queue(), durable=True, arguments=arguments)


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_Q18_dead_letter_exchange_of_another_type(wire, names, queue_type):
    queue = names.queue()
    text = (
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' "
        f"in queue '{queue}' in vhost '/'"
    )
    arguments = {"x-queue-type": queue_type, "x-dead-letter-exchange": 5}
    channel_error(wire, 406, text, "queue.declare", queue=queue, durable=True, arguments=arguments)


@pytest.mark.parametrize("letter", ["b", "B", "s", "u", "I", "i", "l"])
def test_integers_of_every_width(wire, names, letter):
    queue = names.queue()
    wire.ask(1, "queue.declare", queue=queue, durable=True, arguments={"x-message-ttl": Typed(letter, 5)})


def test_master_locator(wire, names, expect):
    """A name of old that RabbitMQ 4.3 no longer permits."""
    arguments = {"x-queue-master-locator": "client-local"}
    answer = wire.call(1, "queue.declare", queue=names.queue(), durable=True, arguments=arguments)
    if expect(leveret=True, rabbitmq=False):
        assert answer.name == "queue.declare-ok"
        return
    assert (answer.name, answer.code) == ("connection.close", 541)
    assert answer.text.startswith("INTERNAL_ERROR - Feature `queue_master_locator` is deprecated.")
