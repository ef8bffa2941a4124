"""RABBITMQ.md 1.6: what classic and quorum queues do with the messages in them."""

import time

import pytest
from support import (
    channel_error,
    confirmed,
    consumers,
    depth,
    drain,
    eventually,
    fill,
    get,
    wait_for,
)
from wire import Typed

QUORUM = {"x-queue-type": "quorum"}
SAC = {"x-single-active-consumer": True}
BOTH = pytest.mark.parametrize("kind", ["classic", "quorum"])


@pytest.fixture
def declare(wire, names):
    """Declares a durable queue of a new name."""

    def declare_queue(kind="classic", **arguments):
        name = names.queue()
        arguments = {"x-queue-type": kind, **{f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}}
        wire.ask(1, "queue.declare", queue=name, durable=True, arguments=arguments)
        return name

    return declare_queue


def take(wire, queue):
    """A message held without acknowledgement."""
    return wire.ask(1, "basic.get", queue=queue)


# -- T01–T04: classic -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 4095, 4096, 100_000])
@pytest.mark.parametrize("delivery_mode", [1, 2])
def test_T01_small_and_large_messages(wire, declare, size, delivery_mode):
    queue, bodies = declare(), [bytes([number]) * size for number in range(20)]
    fill(wire, queue, bodies, delivery_mode=delivery_mode)
    assert depth(wire, queue) == 20
    assert drain(wire, queue) == bodies


def test_T02_priorities(wire, declare):
    queue = declare(max_priority=5)
    wire.ask(1, "confirm.select")
    for priority in (0, 3, None, 5, 3, 9, 1):
        assert confirmed(wire, repr(priority).encode(), routing_key=queue, priority=priority)
    assert drain(wire, queue) == [b"5", b"9", b"3", b"3", b"1", b"0", b"None"]


def test_T02_order_inside_a_priority(wire, declare):
    queue = declare(max_priority=2)
    wire.ask(1, "confirm.select")
    for number in range(10):
        assert confirmed(wire, b"%d" % number, routing_key=queue, priority=number % 2)
    assert drain(wire, queue) == [b"1", b"3", b"5", b"7", b"9", b"0", b"2", b"4", b"6", b"8"]


def test_T02_without_max_priority_there_is_none(wire, declare):
    queue = declare()
    wire.ask(1, "confirm.select")
    for priority in (1, 9, 5):
        assert confirmed(wire, b"%d" % priority, routing_key=queue, priority=priority)
    assert drain(wire, queue) == [b"1", b"9", b"5"]


def test_T03_requeued_messages_return_to_their_place(wire, declare):
    queue = declare()
    fill(wire, queue, [b"0", b"1", b"2", b"3", b"4"])
    tags = [take(wire, queue).delivery_tag for _ in range(3)]
    for tag in (tags[1], tags[0], tags[2]):
        wire.send_method(1, "basic.reject", delivery_tag=tag, requeue=True)
    assert drain(wire, queue) == [b"0", b"1", b"2", b"3", b"4"]


def test_T03_requeue_in_the_middle(wire, declare):
    queue = declare()
    fill(wire, queue, [b"0", b"1", b"2", b"3"])
    tags = [take(wire, queue).delivery_tag for _ in range(3)]
    wire.send_method(1, "basic.reject", delivery_tag=tags[0], requeue=True)
    wire.send_method(1, "basic.reject", delivery_tag=tags[2], requeue=True)
    wire.send_method(1, "basic.ack", delivery_tag=tags[1])
    assert drain(wire, queue) == [b"0", b"2", b"3"]


def test_T03_channel_close_returns_everything_in_order(wire, declare):
    queue = declare()
    fill(wire, queue, [b"%d" % number for number in range(20)])
    for _ in range(10):
        take(wire, queue)
    wire.ask(1, "channel.close", code=200, text="")
    wire.ask(1, "channel.open")
    eventually(lambda: depth(wire, queue) == 20)
    assert drain(wire, queue) == [b"%d" % number for number in range(20)]


# -- T04, T11: time to live -------------------------------------------------------------------------------------------


@BOTH
def test_T04_T11_queue_ttl(wire, declare, queue, kind):
    source = declare(kind, message_ttl=100, dead_letter_exchange="", dead_letter_routing_key=queue)
    fill(wire, source, [b"a", b"b"])
    assert [wait_for(wire, queue).body for _ in range(2)] == [b"a", b"b"]
    assert depth(wire, source) == 0


@BOTH
def test_T04_T11_message_ttl(wire, declare, queue, kind):
    source = declare(kind, dead_letter_exchange="", dead_letter_routing_key=queue)
    fill(wire, source, [b"a"], expiration="100")
    message = wait_for(wire, queue)
    assert "expiration" not in message.properties
    death = message.properties["headers"]["x-death"][0]
    assert (death["reason"], death["original-expiration"]) == ("expired", "100")


@BOTH
def test_T04_T11_the_lower_ttl_wins(wire, declare, queue, kind):
    source = declare(kind, message_ttl=200, dead_letter_exchange="", dead_letter_routing_key=queue)
    began = time.monotonic()
    fill(wire, source, [b"a"], expiration="60000")
    assert wait_for(wire, queue).body == b"a"
    assert 0.15 < time.monotonic() - began < 15


@BOTH
def test_T04_T11_no_early_expiry(wire, declare, kind):
    queue = declare(kind, message_ttl=60000)
    fill(wire, queue, [b"a"], expiration="30000")
    wire.assert_silent()
    assert drain(wire, queue) == [b"a"]


def test_T04_expires_at_the_head_only(wire, declare):
    """A message that lives longer keeps those behind it."""
    queue = declare()
    fill(wire, queue, [b"long"])
    fill(wire, queue, [b"short"], expiration="1")
    wire.assert_silent()
    assert depth(wire, queue) == 2
    assert drain(wire, queue) == [b"long"]


@BOTH
def test_T04_T11_ttl_zero_without_consumer(wire, declare, kind):
    queue = declare(kind)
    fill(wire, queue, [b"a"], expiration="0")
    eventually(lambda: depth(wire, queue) == 0)
    assert get(wire, queue) is None


def test_T04_ttl_zero_with_a_waiting_consumer(login, wire, declare):
    queue, consumer = declare(message_ttl=0), login()
    consumer.ask(1, "basic.consume", queue=queue, no_ack=True)
    fill(wire, queue, [b"a"])
    assert consumer.read().body == b"a"


@BOTH
def test_T04_unacked_messages_do_not_expire(wire, declare, queue, kind):
    source = declare(kind, message_ttl=300, dead_letter_exchange="", dead_letter_routing_key=queue)
    fill(wire, source, [b"held", b"left"])
    tag = take(wire, source).delivery_tag
    assert wait_for(wire, queue).body == b"left"
    wire.send_method(1, "basic.nack", delivery_tag=tag, requeue=True)
    assert wait_for(wire, queue).body == b"held"


def routable(wire, queue):
    """Whether the queue is there, asked without using it: a declare would renew its lease."""
    wire.publish(1, routing_key=queue, mandatory=True)
    wire.send_method(1, "basic.qos")
    returned = wire.read().name == "basic.return"
    return not (returned and wire.read().name == "basic.qos-ok")


@BOTH
def test_queue_expires_when_unused(wire, declare, kind):
    queue = declare(kind, expires=500)
    eventually(lambda: not routable(wire, queue))


@BOTH
def test_queue_with_a_consumer_does_not_expire(login, wire, declare, kind):
    consumer, queue = login(), declare(kind, expires=1000)
    consumer.ask(1, "basic.consume", queue=queue, consumer_tag="t")
    consumer.assert_silent(2)
    assert routable(wire, queue)
    consumer.send_method(1, "basic.ack", delivery_tag=consumer.read().delivery_tag)
    consumer.ask(1, "basic.cancel", consumer_tag="t")
    eventually(lambda: not routable(wire, queue))


def test_get_keeps_a_queue_from_expiring(wire, declare):
    queue = declare(expires=1000)
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert get(wire, queue) is None
        time.sleep(0.2)  # Slower than the network, faster than the expiry.
    eventually(lambda: not routable(wire, queue))


# -- T06–T09: quorum queues: counting, priorities, delayed retry ------------------------------------------------------


def redeliver(wire, queue, method, count):
    """Delivers and returns a message `count` times."""
    for _ in range(count):
        message = eventually(lambda: (m := take(wire, queue)).name == "basic.get-ok" and m)
        wire.send_method(1, method, delivery_tag=message.delivery_tag, requeue=True)


def test_T06_delivery_limit(wire, declare, queue):
    source = declare("quorum", delivery_limit=2, dead_letter_exchange="", dead_letter_routing_key=queue)
    fill(wire, source, [b"a"])
    redeliver(wire, source, "basic.reject", 3)
    message = wait_for(wire, queue)
    assert message.properties["headers"]["x-death"][0]["reason"] == "delivery_limit"
    assert depth(wire, source) == 0


def test_T06_default_delivery_limit_is_20(wire, declare, queue):
    source = declare("quorum", dead_letter_exchange="", dead_letter_routing_key=queue)
    fill(wire, source, [b"a"])
    redeliver(wire, source, "basic.reject", 20)
    last = eventually(lambda: (m := take(wire, source)).name == "basic.get-ok" and m)
    assert last.properties["headers"]["x-delivery-count"] == Typed("l", 20)
    wire.send_method(1, "basic.reject", delivery_tag=last.delivery_tag, requeue=True)
    assert wait_for(wire, queue).body == b"a"


def test_T06_no_delivery_limit(wire, declare):
    source = declare("quorum", delivery_limit=-1)
    fill(wire, source, [b"a"])
    redeliver(wire, source, "basic.reject", 30)
    assert wait_for(wire, source).properties["headers"]["x-delivery-count"] == Typed("l", 30)


def test_T06_limit_without_dead_letter_exchange_drops(wire, declare):
    source = declare("quorum", delivery_limit=1)
    fill(wire, source, [b"a"])
    redeliver(wire, source, "basic.reject", 2)
    wire.assert_silent()
    assert get(wire, source) is None and depth(wire, source) == 0


def test_T07_nack_does_not_count(wire, declare):
    source = declare("quorum", delivery_limit=2)
    fill(wire, source, [b"a"])
    redeliver(wire, source, "basic.nack", 10)
    headers = wait_for(wire, source).properties["headers"]
    assert headers["x-acquired-count"] == Typed("l", 10)
    assert headers.get("x-delivery-count", Typed("l", 0)) == Typed("l", 0)


def test_T07_closed_channel_counts(wire, declare):
    source = declare("quorum")
    fill(wire, source, [b"a"])
    take(wire, source)
    wire.ask(1, "channel.close", code=200, text="")
    wire.ask(1, "channel.open")
    headers = wait_for(wire, source).properties["headers"]
    assert (headers["x-acquired-count"], headers["x-delivery-count"]) == (Typed("l", 1), Typed("l", 1))


def test_T08_priorities(wire, declare):
    queue = declare("quorum")
    wire.ask(1, "confirm.select")
    for priority in (0, 9, None, 5, 3, 200, 31, 4):
        assert confirmed(wire, repr(priority).encode(), routing_key=queue, priority=priority)
    assert drain(wire, queue) == [b"200", b"31", b"9", b"5", b"None", b"4", b"3", b"0"]


def test_T08_returned_messages_go_first(wire, declare):
    queue = declare("quorum")
    fill(wire, queue, [b"low"], priority=1)
    tag = take(wire, queue).delivery_tag
    fill(wire, queue, [b"high"], priority=9)
    wire.send_method(1, "basic.nack", delivery_tag=tag, requeue=True)
    eventually(lambda: depth(wire, queue) == 2)
    assert drain(wire, queue) == [b"low", b"high"]


def test_T09_delayed_retry(wire, declare):
    queue = declare("quorum", delayed_retry_type="all", delayed_retry_min=500, delayed_retry_max=1000)
    fill(wire, queue, [b"a"])
    tag = take(wire, queue).delivery_tag
    began = time.monotonic()
    wire.send_method(1, "basic.reject", delivery_tag=tag, requeue=True)
    assert wait_for(wire, queue).body == b"a"
    assert time.monotonic() - began > 0.4


def test_T12_at_least_once(wire, declare, names, queue):
    """The message waits in its queue until there is a target that takes it."""
    exchange = names.exchange()
    source = declare(
        "quorum",
        delivery_limit=0,
        dead_letter_exchange=exchange,
        dead_letter_strategy="at-least-once",
        overflow="reject-publish",
    )
    wire.ask(1, "exchange.declare", exchange=exchange, type="fanout", durable=True)
    wire.ask(1, "queue.bind", queue=queue, exchange=exchange)
    fill(wire, source, [b"a", b"b"])
    for _ in range(2):
        wire.send_method(1, "basic.reject", delivery_tag=take(wire, source).delivery_tag)
    assert {wait_for(wire, queue).body for _ in range(2)} == {b"a", b"b"}


# -- T13, T29: single active consumer ---------------------------------------------------------------------------------


@BOTH
def test_T13_T29_one_consumer_at_a_time(login, wire, declare, kind):
    queue, first, second = declare(kind, single_active_consumer=True), login(), login()
    for consumer in (first, second):
        consumer.ask(1, "basic.consume", queue=queue, consumer_tag="t", no_ack=True)
    fill(wire, queue, [b"a", b"b"])
    assert [first.read().body, first.read().body] == [b"a", b"b"]
    second.assert_silent()
    first.ask(1, "basic.cancel", consumer_tag="t")
    fill(wire, queue, [b"c"])
    assert second.read().body == b"c"


@BOTH
def test_T13_T29_the_next_takes_over_when_the_active_dies(login, wire, declare, kind):
    queue, first, second = declare(kind, single_active_consumer=True), login(), login()
    for consumer in (first, second):
        consumer.ask(1, "basic.consume", queue=queue)
    fill(wire, queue, [b"a"])
    assert first.read().redelivered is False
    first.socket.close()
    message = second.read()
    assert (message.body, message.redelivered) == (b"a", True)


@pytest.mark.parametrize("kind, count", [("classic", 3), ("quorum", 1)])
def test_T13_T29_consumer_count(wire, declare, kind, count):
    """A classic queue counts all of them, a quorum queue those that get messages."""
    queue = declare(kind, single_active_consumer=True)
    for tag in ("a", "b", "c"):
        wire.ask(1, "basic.consume", queue=queue, consumer_tag=tag)
    eventually(lambda: consumers(wire, queue) == count)


def test_T29_exclusive_consumer(wire, declare):
    queue = declare(single_active_consumer=True)
    text = f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"
    channel_error(wire, 403, text, "basic.consume", queue=queue, exclusive=True)


def test_T13_H16_get_from_a_quorum_queue(wire, declare):
    queue = declare("quorum", single_active_consumer=True)
    text = (
        f"RESOURCE_LOCKED - cannot obtain access to locked queue '{queue}' in vhost '/'. "
        'basic.get operations are not supported by <<"quorum">> queues with single active consumer'
    )
    channel_error(wire, 405, text, "basic.get", queue=queue)


def test_T29_H16_get_from_a_classic_queue(wire, declare):
    queue = declare(single_active_consumer=True)
    assert get(wire, queue) is None


def test_T13_priority_decides_who_is_active(login, wire, declare):
    queue, low, high = declare("quorum", single_active_consumer=True), login(), login()
    low.ask(1, "basic.consume", queue=queue, arguments={"x-priority": 1}, no_ack=True)
    high.ask(1, "basic.consume", queue=queue, arguments={"x-priority": 5}, no_ack=True)
    fill(wire, queue, [b"a"])
    assert high.read().body == b"a"
    low.assert_silent()


# -- T16: what quorum queues leave out --------------------------------------------------------------------------------


def test_T16_exclusive_consume_is_ignored(login, declare):
    queue, first, second = declare("quorum"), login(), login()
    first.ask(1, "basic.consume", queue=queue, exclusive=True)
    second.ask(1, "basic.consume", queue=queue)


def test_T16_reject_publish_dlx_is_drop_head(wire, declare):
    queue = declare("quorum", max_length=1, overflow="reject-publish-dlx")
    wire.ask(1, "confirm.select")
    for body in (b"a", b"b", b"c"):
        assert confirmed(wire, body, routing_key=queue)
    eventually(lambda: depth(wire, queue) == 1)
    assert drain(wire, queue) == [b"c"]


def test_T16_global_qos(login, wire, declare):
    queue = declare("quorum")
    wire.ask(1, "basic.qos", prefetch_count=2, global_=True)
    wire.ask(1, "basic.consume", queue=queue)
    fill(login(), queue, [b"a", b"b", b"c"])
    assert [wire.read().body, wire.read().body] == [b"a", b"b"]
    wire.assert_silent()


# -- T27: dead letters ------------------------------------------------------------------------------------------------


def dead_letter(wire, source, target):
    """Rejects the next message of `source` and gives what arrives in `target`."""
    tag = take(wire, source).delivery_tag
    wire.send_method(1, "basic.reject", delivery_tag=tag, requeue=False)
    return wait_for(wire, target)


@BOTH
def test_T27_headers(wire, declare, names, queue, kind):
    exchange = names.exchange()
    wire.ask(1, "exchange.declare", exchange=exchange, type="direct", durable=True)
    source = declare(kind, dead_letter_exchange="", dead_letter_routing_key=queue)
    wire.ask(1, "queue.bind", queue=source, exchange=exchange, routing_key="key")
    wire.ask(1, "confirm.select")
    before = int(time.time())
    headers = {"CC": ["copy"], "own": "header"}
    assert confirmed(wire, b"body", exchange=exchange, routing_key="key", headers=headers, content_type="a/b")
    message = dead_letter(wire, source, queue)
    assert (message.body, message.exchange, message.routing_key) == (b"body", "", queue)
    assert message.properties["content_type"] == "a/b"
    headers = message.properties["headers"]
    [death] = headers.pop("x-death")
    assert death.pop("time").letter == "T"
    assert death == {
        "count": Typed("l", 1),
        "exchange": exchange,
        "queue": source,
        "reason": "rejected",
        "routing-keys": ["key", "copy"],
    }
    assert headers == {
        "CC": ["copy"],
        "own": "header",
        "x-first-death-exchange": exchange,
        "x-first-death-queue": source,
        "x-first-death-reason": "rejected",
        "x-last-death-exchange": exchange,
        "x-last-death-queue": source,
        "x-last-death-reason": "rejected",
    }
    assert before <= int(time.time())


@BOTH
def test_T27_redelivered(wire, declare, queue, kind, expect):
    """For RabbitMQ a message that was rejected was delivered before, also where it comes to; one that was refused by
    basic.nack was not. For Leveret it was not delivered by the queue it is in."""
    rejecting = declare(kind, dead_letter_exchange="", dead_letter_routing_key=queue)
    fill(wire, rejecting, [b"x"])
    assert dead_letter(wire, rejecting, queue).redelivered is expect(leveret=False, rabbitmq=True)
    fill(wire, rejecting, [b"x"])
    wire.send_method(1, "basic.nack", delivery_tag=take(wire, rejecting).delivery_tag, requeue=False)
    assert wait_for(wire, queue).redelivered is False
    expiring = declare(kind, message_ttl=10, dead_letter_exchange="", dead_letter_routing_key=queue)
    fill(wire, expiring, [b"x"])
    assert wait_for(wire, queue).redelivered is False


@BOTH
def test_T27_cc_is_shown_but_no_longer_routed_by(wire, declare, names, queue, kind):
    """With a dead-letter routing key that key alone counts."""
    copied = names.queue()
    wire.ask(1, "queue.declare", queue=copied, durable=True)
    source = declare(kind, dead_letter_exchange="", dead_letter_routing_key=queue)
    fill(wire, source, [b"x"], headers={"CC": [copied]})
    assert drain(wire, copied) == [b"x"]
    assert dead_letter(wire, source, queue).properties["headers"]["CC"] == [copied]
    assert depth(wire, copied) == 0


@BOTH
def test_T27_original_routing_keys(wire, declare, names, queue, kind):
    """Without a dead-letter routing key the message keeps its own, CC included; BCC never."""
    exchange, copied = names.exchange(), names.queue()
    wire.ask(1, "exchange.declare", exchange=exchange, type="direct", durable=True)
    wire.ask(1, "queue.declare", queue=copied, durable=True)
    source = declare(kind, dead_letter_exchange=exchange)
    wire.ask(1, "queue.bind", queue=queue, exchange=exchange, routing_key=source)
    wire.ask(1, "queue.bind", queue=copied, exchange=exchange, routing_key="copy")
    fill(wire, source, [b"x"], headers={"CC": ["copy"], "BCC": ["hidden"]})
    message = dead_letter(wire, source, queue)
    assert (message.exchange, message.routing_key) == (exchange, source)
    assert message.properties["headers"]["CC"] == ["copy"]
    assert "BCC" not in message.properties["headers"]
    assert wait_for(wire, copied).body == b"x"


@BOTH
def test_T27_deaths_are_merged_and_newest_first(wire, declare, kind):
    """Round and round between two queues: one entry for each queue and reason."""
    first = declare(kind, dead_letter_exchange="", dead_letter_routing_key="to be declared")
    second = declare(kind, dead_letter_exchange="", dead_letter_routing_key=first)
    wire.ask(1, "queue.delete", queue=first)
    arguments = {"x-queue-type": kind, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": second}
    wire.ask(1, "queue.declare", queue=first, durable=True, arguments=arguments)
    fill(wire, first, [b"x"])
    for source, target in ((first, second), (second, first), (first, second)):
        tag = take(wire, source).delivery_tag
        wire.send_method(1, "basic.reject", delivery_tag=tag, requeue=False)
        eventually(lambda target=target: depth(wire, target) == 1)
    headers = take(wire, second).properties["headers"]
    deaths = [(death["queue"], death["reason"], death["count"].value) for death in headers["x-death"]]
    assert deaths == [(first, "rejected", 2), (second, "rejected", 1)]
    assert (headers["x-first-death-queue"], headers["x-last-death-queue"]) == (first, first)


@BOTH
def test_T27_automatic_cycle_is_dropped(wire, declare, kind):
    """A message that would come back to a queue without ever having been rejected is dropped."""
    queue = declare(kind, message_ttl=50, dead_letter_exchange="", dead_letter_routing_key="placeholder")
    wire.ask(1, "queue.delete", queue=queue)
    arguments = {
        "x-queue-type": kind,
        "x-message-ttl": 50,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
    }
    wire.ask(1, "queue.declare", queue=queue, durable=True, arguments=arguments)
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", routing_key=queue)
    eventually(lambda: depth(wire, queue) == 0)
    wire.assert_silent()
    assert depth(wire, queue) == 0


@BOTH
def test_T27_missing_dead_letter_exchange(wire, declare, kind):
    source = declare(kind, dead_letter_exchange="no-such-exchange")
    fill(wire, source, [b"x"])
    wire.send_method(1, "basic.reject", delivery_tag=take(wire, source).delivery_tag, requeue=False)
    wire.ask(1, "basic.qos")
    assert depth(wire, source) == 0


@BOTH
def test_T27_client_sent_death_history_is_ignored(wire, declare, queue, kind):
    source = declare(kind, dead_letter_exchange="", dead_letter_routing_key=queue)
    forged = [{"queue": source, "reason": "rejected", "count": Typed("l", 99), "exchange": "", "routing-keys": []}]
    fill(wire, source, [b"x"], headers={"x-death": forged})
    message = dead_letter(wire, source, queue)
    assert message.properties["headers"]["x-death"][0]["count"] == Typed("l", 1)


@BOTH
def test_T27_without_dead_letter_exchange_it_is_gone(wire, declare, kind):
    source = declare(kind)
    fill(wire, source, [b"x"])
    wire.send_method(1, "basic.reject", delivery_tag=take(wire, source).delivery_tag, requeue=False)
    assert get(wire, source) is None


# -- T28: length limits -----------------------------------------------------------------------------------------------


@BOTH
def test_T28_drop_head(wire, declare, queue, kind):
    source = declare(kind, max_length=3, dead_letter_exchange="", dead_letter_routing_key=queue)
    fill(wire, source, [b"%d" % number for number in range(5)])
    dropped = [wait_for(wire, queue) for _ in range(2)]
    assert [m.body for m in dropped] == [b"0", b"1"]
    assert dropped[0].properties["headers"]["x-death"][0]["reason"] == "maxlen"
    assert drain(wire, source) == [b"2", b"3", b"4"]


@BOTH
def test_T28_bytes(wire, declare, kind):
    queue = declare(kind, max_length_bytes=100)
    fill(wire, queue, [b"a" * 40, b"b" * 40, b"c" * 40])
    eventually(lambda: depth(wire, queue) == 2)
    assert drain(wire, queue) == [b"b" * 40, b"c" * 40]


@BOTH
def test_T28_the_first_limit_reached_counts(wire, declare, kind):
    queue = declare(kind, max_length=10, max_length_bytes=50)
    fill(wire, queue, [b"x" * 20] * 5)
    eventually(lambda: depth(wire, queue) == 2)


def test_T28_only_ready_messages_count(wire, declare):
    queue = declare(max_length=2)
    fill(wire, queue, [b"a", b"b"])
    tags = [take(wire, queue).delivery_tag for _ in range(2)]
    fill(wire, queue, [b"c", b"d"])
    assert depth(wire, queue) == 2
    wire.send_method(1, "basic.nack", delivery_tag=tags[0], multiple=False, requeue=True)
    eventually(lambda: depth(wire, queue) == 2)


def test_T28_limit_zero(wire, declare, login):
    """Nothing stays in the queue."""
    queue = declare(max_length=0)
    fill(wire, queue, [b"a"])
    assert depth(wire, queue) == 0


@BOTH
def test_T28_reject_publish(wire, declare, kind):
    queue = declare(kind, max_length=2, overflow="reject-publish")
    wire.ask(1, "confirm.select")
    results = [confirmed(wire, b"%d" % number, routing_key=queue) for number in range(6)]
    assert results[:2] == [True, True] and results[-1] is False
    if kind == "classic":
        assert results == [True, True, False, False, False, False]
    kept = drain(wire, queue)
    assert kept == [b"%d" % number for number in range(len(kept))] and len(kept) == results.count(True)


def test_T28_reject_publish_dlx(wire, declare, queue):
    arguments = {"dead_letter_exchange": "", "dead_letter_routing_key": queue}
    source = declare(max_length=1, overflow="reject-publish-dlx", **arguments)
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"first", routing_key=source)
    assert not confirmed(wire, b"second", routing_key=source)
    assert wait_for(wire, queue).body == b"second"
    assert drain(wire, source) == [b"first"]


def test_T28_room_again_after_consuming(wire, declare):
    queue = declare(max_length=1, overflow="reject-publish")
    wire.ask(1, "confirm.select")
    for _ in range(3):
        assert confirmed(wire, b"x", routing_key=queue)
        assert not confirmed(wire, b"y", routing_key=queue)
        assert drain(wire, queue) == [b"x"]
