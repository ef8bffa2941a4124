"""Clients that misbehave, and that nobody else notices."""

import contextlib
import socket
import struct
import time

import pytest
from support import confirmed, depth, drain, eventually, exists, fill, get
from wire import BODY, Disconnected, Silence, frame, header_frame, method_frame

MIB = 1024 * 1024


@pytest.fixture
def bystander(login, names):
    """Publishes and gets a message in good time, before and after what the test does."""
    wire, queue = login(), names.queue()
    wire.ask(1, "queue.declare", queue=queue, durable=True)
    wire.ask(1, "confirm.select")

    def round_trip():
        began = time.monotonic()
        assert confirmed(wire, b"still here", routing_key=queue, delivery_mode=2)
        assert get(wire, queue).body == b"still here"
        assert time.monotonic() - began < 5

    round_trip()
    yield round_trip
    round_trip()


def test_half_a_body_then_gone(login, wire, queue, bystander):
    """A message of which the end never came does not exist."""
    half = login()
    half.send(method_frame(1, "basic.publish", routing_key=queue) + header_frame(1, 1000) + frame(BODY, 1, b"x" * 500))
    half.socket.close()
    bystander()
    assert depth(wire, queue) == 0


def test_half_a_frame_then_gone(login, bystander):
    for cut in range(1, 20, 3):
        wire = login()
        wire.send(method_frame(1, "queue.declare", queue="never", durable=True)[:cut])
        wire.socket.close()


def test_reset_in_the_middle_of_a_delivery(login, wire, queue, bystander):
    """What was on its way to a client that reset its connection comes back, in order."""
    bodies = [b"%d" % number + bytes(100_000) for number in range(50)]
    fill(wire, queue, bodies)
    victim = login()
    victim.send_method(1, "basic.consume", queue=queue)
    assert victim.read().name == "basic.consume-ok"
    victim.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    victim.socket.close()
    eventually(lambda: depth(wire, queue) == 50)
    assert [body[:3] for body in drain(wire, queue)] == [body[:3] for body in bodies]


def test_consumer_that_never_reads(login, wire, queue, bystander):
    """It holds up itself only; the queue serves others."""
    lazy = login(receive_buffer=4096)
    lazy.send_method(1, "basic.consume", queue=queue)
    body = bytes(64 * 1024)
    fill(wire, queue, [body] * 400)
    bystander()
    lazy.socket.close()
    eventually(lambda: depth(wire, queue) == 400)
    wire.ask(1, "basic.qos", prefetch_count=10)
    wire.ask(1, "basic.consume", queue=queue, no_ack=True)
    for _ in range(400):
        assert wire.read().body == body


def test_publisher_that_never_reads_its_confirms(login, queue, bystander):
    lazy = login(receive_buffer=4096)
    lazy.ask(1, "confirm.select")
    lazy.socket.settimeout(2)
    one = method_frame(1, "basic.publish", routing_key=queue, mandatory=True) + header_frame(1, 0)
    with contextlib.suppress(TimeoutError):
        for _ in range(50):
            lazy.send(one * 1000)
    bystander()


def test_requests_without_reading_the_answers(login, queue, bystander):
    lazy = login(receive_buffer=4096)
    lazy.socket.settimeout(2)
    one = method_frame(1, "queue.declare", queue=queue, passive=True)
    with contextlib.suppress(TimeoutError):
        for _ in range(50):
            lazy.send(one * 1000)
    bystander()


def test_many_connections_that_say_nothing(bare, bystander):
    for _ in range(200):
        bare()
    bystander()


def test_many_connections_come_and_go(broker, bystander):
    for _ in range(100):
        with broker.wire() as wire:
            wire.login()


def test_large_table_in_client_properties(bare, bystander):
    """Up to what a frame before login may hold."""
    wire = bare()
    wire.begin()
    properties = {"capabilities": {}, "long": "x" * 7000}
    wire.accept_tune(wire.authenticate(properties=properties))
    wire.ask(0, "connection.open", vhost="/")


def test_large_headers_table(login, queue, bystander):
    """A content header must fit into one frame; this one nearly fills it."""
    wire, headers = login(), {f"key {number}": "v" * 90 for number in range(1200)}
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", routing_key=queue, headers=headers)
    assert get(wire, queue).properties["headers"] == headers


def test_deeply_nested_headers(login, queue, bystander):
    """Nested as deep as a frame allows; whatever the broker thinks of it, it stays up."""
    wire, raw = login(), b""
    for _ in range(4000):
        raw = b"\x01aF" + struct.pack(">I", len(raw)) + raw
    table = struct.pack(">I", len(raw)) + raw
    payload = struct.pack(">HHQH", 60, 0, 1, 0x2000) + table
    wire.send(method_frame(1, "basic.publish", routing_key=queue) + frame(2, 1, payload) + frame(BODY, 1, b"x"))
    with contextlib.suppress(Disconnected):
        wire.call(1, "basic.qos")
    bystander()


def test_deeply_nested_arguments(login, names, bystander):
    wire, raw = login(), b""
    for _ in range(4000):
        raw = b"\x01aF" + struct.pack(">I", len(raw)) + raw
    declare = method_frame(1, "queue.declare", queue=names.queue(), durable=True, arguments=raw)
    wire.send(declare)
    with contextlib.suppress(Disconnected):
        wire.read()
    bystander()


def test_array_length_beyond_its_table(login, queue, bystander):
    wire = login()
    lying = b"\x01aA" + struct.pack(">I", 0x7FFFFFFF) + b"I"
    payload = struct.pack(">HHQH", 60, 0, 0, 0x2000) + struct.pack(">I", len(lying)) + lying
    wire.send(method_frame(1, "basic.publish", routing_key=queue) + frame(2, 1, payload))
    answer = wire.read()
    assert (answer.name, answer.code) == ("connection.close", 541)


def test_announced_body_costs_nothing_until_it_comes(login, bystander):
    """A hundred clients announce 500 MiB each and send none of it."""
    for _ in range(100):
        login().send(method_frame(1, "basic.publish", routing_key="nowhere") + header_frame(1, 500 * MIB))
    bystander()


def test_publishing_to_a_full_queue(login, wire, names, bystander):
    """Ten thousand refusals, each with its nack."""
    queue = names.queue()
    arguments = {"x-max-length": 10, "x-overflow": "reject-publish"}
    wire.ask(1, "queue.declare", queue=queue, durable=True, arguments=arguments)
    wire.ask(1, "confirm.select")
    wire.send((method_frame(1, "basic.publish", routing_key=queue) + header_frame(1, 0)) * 10_000)
    outcomes = {}
    while len(outcomes) < 10_000:
        answer = wire.read()
        first = max(outcomes, default=0) + 1 if answer.multiple else answer.delivery_tag
        for tag in range(min(first, answer.delivery_tag), answer.delivery_tag + 1):
            outcomes.setdefault(tag, answer.name)
    assert [tag for tag, name in sorted(outcomes.items()) if name == "basic.ack"] == list(range(1, 11))
    assert depth(wire, queue) == 10


def test_channel_opened_and_closed_a_thousand_times(wire, bystander):
    for _ in range(1000):
        wire.ask(2, "channel.open")
        wire.ask(2, "channel.close", code=200, text="")


def test_a_thousand_consumers_on_one_channel(wire, login, queue, bystander):
    wire.send(
        b"".join(
            method_frame(1, "basic.consume", queue=queue, consumer_tag=f"c{number}", no_ack=True)
            for number in range(1000)
        )
    )
    assert {wire.read().name for _ in range(1000)} == {"basic.consume-ok"}
    fill(login(), queue, [b"x"] * 100)
    assert len({wire.read().consumer_tag for _ in range(100)}) == 100


def test_client_dies_with_everything_open(broker, login, names, bystander):
    """Exclusive queues, consumers, unacknowledged messages and a transaction go with their connection."""
    shared, own, wire, victim = names.queue(), names.queue(), login(), login(channels=(1, 2, 3))
    wire.ask(1, "queue.declare", queue=shared, durable=True)
    fill(wire, shared, [b"a", b"b"])
    victim.ask(1, "queue.declare", queue=own, exclusive=True)
    victim.ask(1, "basic.consume", queue=own)
    victim.ask(2, "basic.consume", queue=shared)
    victim.ask(3, "tx.select")
    victim.publish(3, b"never", routing_key=shared)
    victim.ask(3, "basic.qos")
    victim.socket.close()
    eventually(lambda: not exists(broker, own))
    eventually(lambda: depth(wire, shared) == 2)
    assert drain(wire, shared) == [b"a", b"b"]


def test_connection_in_error_is_not_kept_for_ever(login):
    """A client that ignores connection.close loses its socket all the same."""
    wire = login()
    answer = wire.call(1, "basic.qos", prefetch_size=1)
    assert answer.name == "connection.close"
    with pytest.raises((Disconnected, OSError)):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            wire.send_method(1, "basic.qos")
            with contextlib.suppress(Silence):
                wire.read(timeout=1)
        raise AssertionError("still connected after a minute")
