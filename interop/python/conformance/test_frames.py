"""Bad input: frames, contents and arguments that no client library produces. Another connection never notices."""

import contextlib
import re
import struct
import time

import pytest
from support import assert_connection_closed, assert_dropped
from wire import (
    BODY,
    HEADER,
    HEARTBEAT,
    METHOD,
    METHODS,
    Disconnected,
    Silence,
    frame,
    header_frame,
    longstr,
    method_frame,
    shortstr,
)

PUBLISH = method_frame(1, "basic.publish", routing_key="nowhere")


@pytest.fixture
def bystander(login):
    """A connection that does nothing wrong and must be there at the end."""
    wire = login()
    yield wire
    wire.ask(1, "basic.qos", prefetch_count=1)


def arguments_of(raw):
    """The payload of a method frame without its class and method ids."""
    return raw[11:-1]


def queue_method(method_id, arguments):
    return frame(METHOD, 1, struct.pack(">HH", 50, method_id) + arguments)


def octets(raw):
    """A binary as RabbitMQ's texts print one that has unprintable bytes."""
    return "<<" + ",".join(str(byte) for byte in raw) + ">>"


# RabbitMQ breaks this text where its pretty printer finds the line too long.
BAD_END = re.compile(
    r"FRAME_ERROR - type 1, all octets = <<0,50,0,10,0,0,2,122,122,1,0,0,0,0>>: \{invalid_frame_end_marker,\s*0}"
)

FRAMING = [
    pytest.param(
        frame(METHOD, 1, b""),
        501,
        "FRAME_ERROR - type 1, all octets = <<>>: unknown_frame",
        id="empty-method-frame",
    ),
    pytest.param(
        frame(METHOD, 1, b"\0\x32"),
        501,
        "FRAME_ERROR - type 1, all octets = <<0,50>>: unknown_frame",
        id="method-frame-of-two-bytes",
    ),
    pytest.param(
        frame(METHOD, 1, method_frame(1, "queue.declare", queue="zz", passive=True)[7:-1], end=0),
        501,
        BAD_END,
        id="wrong-frame-end",
    ),
    pytest.param(
        frame(4, 1, b"abc"), 501, 'FRAME_ERROR - type 4, all octets = <<"abc">>: unknown_frame', id="unknown-type"
    ),
    pytest.param(
        frame(9, 0, b"\1\2\3"),
        501,
        "FRAME_ERROR - type 9, all octets = <<1,2,3>>: unknown_frame",
        id="unknown-type-on-0",
    ),
    pytest.param(
        frame(HEARTBEAT, 0, b"abc"),
        501,
        'FRAME_ERROR - type 8, all octets = <<"abc">>: unknown_frame',
        id="heartbeat-with-payload",
    ),
    pytest.param(
        frame(HEARTBEAT, 1, b""), 505, "UNEXPECTED_FRAME - type 8, all octets = <<>>", id="heartbeat-on-a-channel"
    ),
    pytest.param(
        frame(BODY, 1, bytes(131073)),
        501,
        "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064}",
        id="frame-too-large",
    ),
    pytest.param(
        struct.pack(">BHI", METHOD, 1, 0xFFFFFFFF) + b"abc",
        501,
        "FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,4294967295,131064}",
        id="length-of-4-GiB",
    ),
    pytest.param(
        frame(HEADER, 1, b"abc"),
        501,
        'FRAME_ERROR - type 2, all octets = <<"abc">>: unknown_frame',
        id="header-of-three-bytes",
    ),
    pytest.param(frame(BODY, 0, b"abc"), 505, 'UNEXPECTED_FRAME - type 3, all octets = <<"abc">>', id="body-on-0"),
    pytest.param(
        header_frame(0, 5),
        505,
        "UNEXPECTED_FRAME - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,5,0,0>>",
        id="header-on-0",
    ),
    pytest.param(
        frame(BODY, 1, b"abc"),
        505,
        "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        id="body-without-method",
    ),
    pytest.param(
        header_frame(1, 5),
        505,
        "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        id="header-without-method",
    ),
    pytest.param(
        header_frame(9, 5),
        505,
        "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        id="header-on-unopened-channel",
    ),
]

CONTENT = [
    pytest.param(
        PUBLISH + method_frame(1, "basic.qos"),
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        id="method-instead-of-header",
    ),
    pytest.param(
        PUBLISH + frame(BODY, 1, b"abc"),
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        id="body-instead-of-header",
    ),
    pytest.param(
        PUBLISH + header_frame(1, 5, class_id=50),
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead",
        id="header-of-another-class",
    ),
    pytest.param(
        PUBLISH + header_frame(1, 5, weight=3),
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        id="header-with-weight",
    ),
    pytest.param(
        PUBLISH + header_frame(1, 5) + method_frame(1, "basic.qos"),
        505,
        "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
        id="method-instead-of-body",
    ),
    pytest.param(
        PUBLISH + header_frame(1, 5) + header_frame(1, 5),
        505,
        "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
        id="header-instead-of-body",
    ),
    pytest.param(
        PUBLISH + header_frame(1, 5) + frame(BODY, 1, b"abcdefgh"),
        501,
        "FRAME_ERROR - content body frame exceeds remaining content size",
        id="body-longer-than-announced",
    ),
    pytest.param(
        PUBLISH + header_frame(1, 2**63),
        501,
        "FRAME_ERROR - content body size 9223372036854775808 exceeds maximum allowed size 536870912",
        id="announced-size-of-8-EiB",
    ),
]


@pytest.mark.parametrize("raw, code, text", FRAMING)
def test_C10_C20_bad_frame(wire, bystander, raw, code, text):
    wire.send(raw)
    assert_connection_closed(wire, wire.read(), code, text)


@pytest.mark.parametrize("raw, code, text", CONTENT)
def test_C20_bad_content(wire, bystander, raw, code, text):
    wire.send(raw)
    assert_connection_closed(wire, wire.read(), code, text, "basic.publish")


@pytest.mark.parametrize(
    "flags, payload",
    [
        pytest.param(0x8000, b"\x09ab", id="short-string"),
        pytest.param(0x2000, struct.pack(">I", 1000) + b"\1a", id="table-longer-than-the-frame"),
        pytest.param(0x2000, longstr(b"\x01aZ"), id="unknown-field-type"),
        pytest.param(0x0000, b"abc", id="trailing-bytes"),
        pytest.param(0x0001, b"\0\0", id="continued-flags"),
    ],
)
def test_C20_undecodable_properties(wire, bystander, flags, payload):
    """Properties are read when the message is; what cannot be read is nobody's expected error."""
    wire.send(PUBLISH + frame(HEADER, 1, struct.pack(">HHQH", 60, 0, 0, flags) + payload))
    answer = wire.read()
    assert (answer.name, answer.code, answer.text) == ("connection.close", 541, "INTERNAL_ERROR")


@pytest.mark.parametrize(
    "method, arguments",
    [
        pytest.param("queue.declare", b"\0\0\x09abc", id="short-string-cut"),
        pytest.param("queue.declare", b"", id="no-arguments"),
        pytest.param("queue.delete", arguments_of(method_frame(1, "queue.delete", queue="zz")) + b"abc", id="too-long"),
        pytest.param(
            "queue.declare", b"\0\0" + shortstr("zz") + b"\0" + struct.pack(">I", 1000) + b"\1a", id="table-too-long"
        ),
        pytest.param("basic.ack", b"\0\0\0", id="short-delivery-tag"),
    ],
)
def test_C20_undecodable_arguments(wire, bystander, method, arguments):
    wire.send(frame(METHOD, 1, struct.pack(">HH", *METHODS[method][:2]) + arguments))
    text = f"FRAME_ERROR - cannot decode {octets(arguments)}"
    assert_connection_closed(wire, wire.read(), 501, text, method)


@pytest.mark.parametrize("channel", [0, 1, 7])
@pytest.mark.parametrize("class_id, method_id", [(99, 10), (50, 99)])
def test_C20_unknown_method(wire, bystander, expect, channel, class_id, method_id):
    """RabbitMQ's reader crashes over it; Leveret answers as to any method that is not for clients."""
    wire.send(frame(METHOD, channel, struct.pack(">HH", class_id, method_id)))
    if expect(leveret=False, rabbitmq=True):
        assert_dropped(wire)
        return
    answer = wire.read()
    assert (answer.name, answer.code) == ("connection.close", 503)
    assert answer.text == "COMMAND_INVALID - unimplemented method"
    assert (answer.class_id, answer.method_id) == (class_id, method_id)


def test_C20_unknown_field_type_in_arguments(wire, bystander, expect):
    """RabbitMQ's reader crashes over this as well."""
    wire.send(queue_method(10, b"\0\0" + shortstr("zz") + b"\0" + longstr(b"\x01aZabc")))
    if expect(leveret=False, rabbitmq=True):
        assert_dropped(wire)
        return
    answer = wire.read()
    assert (answer.name, answer.code) == ("connection.close", 541)


def test_C10_largest_frame(wire, names):
    """The limit of tune is on the payload, with the 8 bytes of framing for free."""
    wire.send(PUBLISH + header_frame(1, 131072) + frame(BODY, 1, bytes(131072)))
    wire.ask(1, "basic.qos", prefetch_count=1)


def test_body_in_frames_of_any_size(wire, queue):
    """Bodies may come in one-byte frames and with empty frames between."""
    publish = method_frame(1, "basic.publish", routing_key=queue)
    wire.ask(1, "confirm.select")
    wire.send(publish + header_frame(1, 5) + b"".join(frame(BODY, 1, part) for part in (b"", b"a", b"bc", b"", b"de")))
    assert wire.read().name == "basic.ack"
    assert wire.ask(1, "basic.get", queue=queue).body == b"abcde"


def test_bytes_one_by_one(bare):
    """The network may cut anything anywhere."""
    wire = bare()
    handshake = bytearray(b"AMQP\x00\x00\x09\x01")
    for byte in handshake:
        wire.send(bytes([byte]))
    assert wire.read().name == "connection.start"
    wire.accept_tune(wire.authenticate())
    wire.ask(0, "connection.open", vhost="/")
    raw = (
        method_frame(1, "channel.open")
        + method_frame(1, "confirm.select")
        + method_frame(1, "basic.publish", routing_key="nowhere", mandatory=True)
        + header_frame(1, 3, headers={"a": [1, {"b": None}]})
        + frame(BODY, 1, b"abc")
    )
    for byte in raw:
        wire.send(bytes([byte]))
    names = [wire.read().name for _ in range(4)]
    assert names == ["channel.open-ok", "confirm.select-ok", "basic.return", "basic.ack"]


def test_frames_of_many_channels_interleaved(login, names):
    """A content on one channel may be interrupted by frames of another."""
    wire, queue = login(channels=(1, 2)), names.queue()
    wire.ask(1, "queue.declare", queue=queue, durable=True)
    for channel in (1, 2):
        wire.ask(channel, "confirm.select")
    publish = [method_frame(channel, "basic.publish", routing_key=queue) for channel in (1, 2)]
    wire.send(publish[0] + publish[1] + header_frame(2, 4) + header_frame(1, 4))
    wire.send(frame(BODY, 1, b"on") + frame(HEARTBEAT, 0, b"") + frame(BODY, 2, b"zw") + frame(BODY, 1, b"e1"))
    assert wire.read(1).name == "basic.ack"
    wire.send(frame(BODY, 2, b"ei"))
    assert wire.read(2).name == "basic.ack"
    bodies = [wire.ask(1, "basic.get", queue=queue).body for _ in range(2)]
    assert bodies == [b"one1", b"zwei"]


def test_non_utf8_name(wire, bystander):
    answer = wire.call(1, "queue.declare", queue=b"\xff\xfe", exclusive=True)
    assert_connection_closed(wire, answer, 501, "FRAME_ERROR - Malformed UTF-8 in shortstr")


def test_C12_dripping_handshake(bare, bystander):
    """A frame that comes byte by byte does not keep a handshake alive."""
    wire = bare()
    wire.begin()
    began = time.monotonic()
    with pytest.raises((Disconnected, ConnectionError)):
        for byte in method_frame(0, "connection.start-ok", mechanism="PLAIN", response="x" * 100):
            assert time.monotonic() - began < 30, "the broker keeps waiting"
            wire.send(bytes([byte]))
            with contextlib.suppress(Silence):
                wire.read(timeout=0.5)
    assert time.monotonic() - began > 8
