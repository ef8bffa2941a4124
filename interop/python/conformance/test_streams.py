"""RABBITMQ.md T17 to T20: streams, read by pika from each kind of offset and with filters.

Each message is confirmed before the next one is published. On RabbitMQ it has a chunk for itself then, so that what
begins or filters at a chunk there is the same as what does so at a message here.
"""

import datetime
import time

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker
from support import eventually

BODIES = [b"m%d" % number for number in range(5)]
VALUES = ["f0", "f1", "f0", "f1", None]
END = b"end"
MOMENT_S = 0.3


@pytest.fixture
def stream(names, channel):
    """A stream of five messages: the first four have a filter value, f0 and f1 in turn."""
    name = declare(names, channel)
    channel.confirm_delivery()
    for body, value in zip(BODIES, VALUES, strict=True):
        publish(channel, name, body, value)
    return name


def declare(names, channel, **arguments):
    name = names.queue("stream")
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream", **arguments})
    return name


def publish(channel, stream, body, value=None):
    headers = None if value is None else {"x-stream-filter-value": value}
    channel.basic_publish("", stream, body, pika.BasicProperties(headers=headers))


class Reader:
    """Reads a stream and acknowledges, or not."""

    def __init__(self, connection, stream, offset=None, prefetch=10, acknowledges=True, **arguments):
        self.connection, self.channel = connection, connection.channel()
        self.acknowledges, self.deliveries = acknowledges, []
        self.channel.basic_qos(prefetch_count=prefetch)
        if offset is not None:
            arguments["x-stream-offset"] = offset
        self.channel.basic_consume(stream, self.note, arguments={n.replace("_", "-"): v for n, v in arguments.items()})

    def note(self, channel, method, properties, body):
        self.deliveries.append((method, properties, body))
        if self.acknowledges:
            channel.basic_ack(method.delivery_tag)

    @property
    def bodies(self):
        return [body for _, _, body in self.deliveries]

    @property
    def offsets(self):
        return [properties.headers["x-stream-offset"] for _, properties, _ in self.deliveries]

    def until(self, is_done):
        """Reads until `is_done` of the bodies."""

        def turn():
            self.connection.process_data_events(0.05)
            return is_done(self.bodies)

        eventually(turn)
        return self

    def until_there_are(self, count):
        return self.until(lambda bodies: len(bodies) >= count)


def read(connection, channel, stream, offset=None, value=None, **arguments):
    """What there is from an offset on: a last message, of the wanted filter value, says that all has come."""
    reader = Reader(connection, stream, offset, **arguments)
    publish(channel, stream, END, value)
    return reader.until(lambda bodies: END in bodies).bodies[:-1]


@pytest.mark.parametrize(
    "offset, first",
    [
        ("first", 0),
        ("last", 4),
        ("next", 5),
        (None, 5),
        (0, 0),
        (3, 3),
        (5, 5),
        (-1, 0),
        ("1h", 0),
        ("7D", 0),
    ],
)
def test_T19_where_a_reader_begins(connection, channel, stream, offset, first):
    assert read(connection, channel, stream, offset) == BODIES[first:]


def test_T19_a_reader_waits_for_an_offset_to_come(connection, channel, stream):
    reader = Reader(connection, stream, 6)
    publish(channel, stream, b"m5")
    publish(channel, stream, b"m6")
    assert reader.until_there_are(1).bodies == [b"m6"]


def test_T19_a_reader_begins_at_a_time(connection, channel, stream):
    def whole_second_later(than):
        return eventually(lambda: (now := int(time.time())) > than + 1 and now)

    between = whole_second_later(int(time.time()))
    publish(channel, stream, b"later")
    for offset, expected in [(between, [b"later"]), (between - 3600, [*BODIES, b"later"])]:
        reader = Reader(connection, stream, datetime.datetime.fromtimestamp(offset, datetime.timezone.utc))
        assert reader.until(lambda bodies: b"later" in bodies).bodies == expected


def test_T19_a_time_that_has_not_come_is_now(connection, channel, stream):
    tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    assert read(connection, channel, stream, tomorrow) == []


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({"x_stream_filter": "f1"}, [1, 3]),
        ({"x_stream_filter": ["f1", "f0"]}, [0, 1, 2, 3]),
        ({"x_stream_filter": ["f1"], "x_stream_match_unfiltered": True}, [1, 3, 4]),
        ({"x_stream_filter": "f1", "x_stream_match_unfiltered": False}, [1, 3]),
    ],
)
def test_T20_a_reader_wants_some(connection, channel, stream, arguments, expected):
    assert read(connection, channel, stream, "first", value="f1", **arguments) == [BODIES[index] for index in expected]


def test_T18_messages_say_where_they_stand(connection, stream):
    reader = Reader(connection, stream, "first").until_there_are(5)
    assert reader.offsets == [0, 1, 2, 3, 4]
    assert [properties.headers.get("x-stream-filter-value") for _, properties, _ in reader.deliveries] == VALUES
    assert not any(method.redelivered for method, _, _ in reader.deliveries)


def test_T18_everybody_reads_everything(connection, connect, stream):
    readers = [Reader(connection, stream, "first"), Reader(connect(), stream, "first"), Reader(connection, stream, 2)]
    for reader, first in zip(readers, [0, 0, 2], strict=True):
        assert reader.until_there_are(5 - first).bodies == BODIES[first:]


def test_T18_an_acknowledgement_is_credit_for_one_more(connection, stream):
    reader = Reader(connection, stream, "first", prefetch=2, acknowledges=False).until_there_are(2)
    connection.process_data_events(MOMENT_S)
    assert reader.bodies == BODIES[:2]
    reader.channel.basic_ack(1)
    reader.until_there_are(3)
    reader.channel.basic_ack(3, multiple=True)
    assert reader.until_there_are(5).bodies == BODIES


@pytest.mark.parametrize("refuse", ["basic_nack", "basic_reject"])
def test_T18_what_is_refused_does_not_come_again(connection, stream, refuse):
    reader = Reader(connection, stream, "first", prefetch=1, acknowledges=False)
    for count in range(1, 6):
        reader.until_there_are(count)
        getattr(reader.channel, refuse)(count, requeue=True)
    connection.process_data_events(MOMENT_S)
    assert reader.bodies == BODIES


def test_T18_a_message_stays_after_its_reader_is_gone(connection, channel, stream):
    reader = Reader(connection, stream, "first").until_there_are(5)
    reader.channel.close()
    assert read(connection, channel, stream, "first") == BODIES


def test_T18_more_than_a_frame_a_prefetch_or_a_page_holds(connection, names, channel):
    name, count = declare(names, channel), 20_000
    for number in range(count):
        publish(channel, name, b"%d" % number + b"." * 200)
    for first in [0, 12_345]:
        reader = Reader(connection, name, first, prefetch=1000).until_there_are(count - first)
        assert reader.offsets == list(range(first, count))
        assert [int(body.rstrip(b".")) for body in reader.bodies] == reader.offsets
        reader.channel.close()


def of(stream, text):
    return text.format(f"queue '{stream}' in vhost '/'")


@pytest.mark.parametrize(
    "ask, code, text",
    [
        (
            lambda channel, name: channel.basic_get(name),
            540,
            "NOT_IMPLEMENTED - basic.get not supported by stream queues {}",
        ),
        (
            lambda channel, name: channel.queue_purge(name),
            540,
            "NOT_IMPLEMENTED - queue.purge not supported by stream queues {}",
        ),
        (
            lambda channel, name: channel.basic_consume(name, print, auto_ack=True),
            540,
            "NOT_IMPLEMENTED - automatic acknowledgement not supported by stream {}",
        ),
    ],
    ids=["get", "purge", "no-ack"],
)
def test_T18_what_a_stream_does_not_do(channel, stream, ask, code, text):
    channel.basic_qos(prefetch_count=10)
    with pytest.raises(ConnectionClosedByBroker) as error:
        ask(channel, stream)
    assert (error.value.reply_code, error.value.reply_text) == (code, of(stream, text))


@pytest.mark.parametrize(
    "prefetch, arguments, text",
    [
        (0, {}, "consumer prefetch count is not set for stream {}"),
        (1, {"x-priority": 5}, "invalid arg 'x-priority' for {} of queue type rabbit_stream_queue"),
        (
            1,
            {"x-stream-offset": ""},
            "invalid arg 'x-stream-offset' for {}: {{invalid_stream_offset_arg,{{longstr,<<>>}}}}",
        ),
        (
            1,
            {"x-stream-offset": "5x"},
            "invalid arg 'x-stream-offset' for {}: {{invalid_stream_offset_arg,{{longstr,<<\"5x\">>}}}}",
        ),
    ],
)
def test_T18_how_a_stream_is_not_read(channel, stream, prefetch, arguments, text):
    if prefetch:
        channel.basic_qos(prefetch_count=prefetch)
    with pytest.raises(ChannelClosedByBroker) as error:
        channel.basic_consume(stream, print, arguments=arguments)
    assert (error.value.reply_code, error.value.reply_text) == (406, "PRECONDITION_FAILED - " + of(stream, text))


def test_T17_a_stream_forgets_the_oldest(connection, names, channel):
    name = declare(names, channel, **{"x-max-length-bytes": 100_000, "x-stream-max-segment-size-bytes": 50_000})
    channel.confirm_delivery()
    for number in range(400):
        publish(channel, name, b"%d" % number + b"." * 1000)

    def oldest():
        reader = Reader(connection, name, "first").until_there_are(1)
        reader.channel.close()
        return reader.offsets[0]

    first = eventually(oldest)
    reader = Reader(connection, name, 0).until(lambda bodies: b"399" in [body.rstrip(b".") for body in bodies])
    numbers = [int(body.rstrip(b".")) for body in reader.bodies]
    assert numbers == list(range(numbers[0], 400)) and numbers[0] > 0
    # On RabbitMQ a new segment begins with an offset of its own.
    assert reader.offsets[0] >= first and reader.offsets == sorted(set(reader.offsets))
