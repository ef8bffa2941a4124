"""What the tests say over and over: an error and its scope, a queue's content, waiting for something."""

import re
import time

from wire import METHODS, Disconnected

DEADLINE_S = 20


def eventually(probe, deadline_s=DEADLINE_S):
    """Calls `probe` until it gives something true, and gives that."""
    deadline = time.monotonic() + deadline_s
    while True:
        result = probe()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {deadline_s} s"
        time.sleep(0.01)


def assert_close(answer, scope, code, text, by=None):
    """`text` may be a pattern. `by` is the method the close names, None for an error that belongs to no method."""
    assert answer.name == f"{scope}.close", f"expected a {scope} error {code}, got {answer!r}"
    if isinstance(text, re.Pattern):
        assert answer.code == code and text.fullmatch(answer.text), f"{answer.code} {answer.text!r}"
    else:
        assert (answer.code, answer.text) == (code, text)
    assert (answer.class_id, answer.method_id) == (METHODS[by][:2] if by else (0, 0)), answer


def assert_channel_closed(wire, answer, code, text, by=None):
    """The channel was closed and nothing else: it can be opened again on the same connection."""
    assert_close(answer, "channel", code, text, by)
    wire.send_method(answer.channel, "channel.close-ok")
    wire.ask(answer.channel, "channel.open")


def assert_connection_closed(wire, answer, code, text, by=None):
    """The connection was closed: after our close-ok the socket goes."""
    assert_close(answer, "connection", code, text, by)
    try:
        wire.send_method(0, "connection.close-ok")
    except OSError:
        return
    wire.assert_eof()


def channel_error(wire, code, text, method, channel=1, **arguments):
    """Calls `method` and wants the channel closed for it."""
    assert_channel_closed(wire, wire.call(channel, method, **arguments), code, text, method)


def connection_error(wire, code, text, method, channel=1, **arguments):
    """Calls `method` and wants the connection closed for it."""
    assert_connection_closed(wire, wire.call(channel, method, **arguments), code, text, method)


def assert_dropped(wire, timeout=None):
    """The socket goes without a word."""
    try:
        answer = wire.read(timeout=timeout)
    except Disconnected:
        return
    raise AssertionError(f"expected a closed socket, got {answer!r}")


def confirmed(wire, body=b"", channel=1, **arguments):
    """Publishes on a channel in confirm mode and waits for the confirm: True for an ack, False for a nack."""
    wire.publish(channel, body, **arguments)
    answer = wire.read(channel)
    assert answer.name in ("basic.ack", "basic.nack"), answer
    return answer.name == "basic.ack"


def fill(wire, queue, bodies, **properties):
    """Puts messages into a queue, in confirm mode, so that they are there when this returns."""
    wire.ask(1, "confirm.select")
    for body in bodies:
        assert confirmed(wire, body, routing_key=queue, **properties)


def get(wire, queue, channel=1, no_ack=True):
    """One message of the queue, None when it is empty."""
    answer = wire.ask(channel, "basic.get", queue=queue, no_ack=no_ack)
    return answer if answer.name == "basic.get-ok" else None


def drain(wire, queue, channel=1):
    """All bodies in the queue, in order."""
    out = []
    while message := get(wire, queue, channel):
        out.append(message.body)
    return out


def wait_for(wire, queue, channel=1):
    """The next message of a queue that something else (a dead-letter exchange, a TTL) is about to put there."""
    return eventually(lambda: get(wire, queue, channel))


def depth(wire, queue, channel=1):
    return wire.ask(channel, "queue.declare", queue=queue, passive=True).message_count


def consumers(wire, queue, channel=1):
    return wire.ask(channel, "queue.declare", queue=queue, passive=True).consumer_count


def exists(broker, queue):
    with broker.wire() as wire:
        return wire.login().call(1, "queue.declare", queue=queue, passive=True).name == "queue.declare-ok"
