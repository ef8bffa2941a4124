"""RABBITMQ.md 1.1: the life of a connection, from the protocol header to close."""

import time

import pytest
from support import (
    assert_channel_closed,
    assert_close,
    assert_connection_closed,
    assert_dropped,
    connection_error,
    eventually,
    exists,
)
from wire import CAPABILITIES, HEARTBEAT, Disconnected, Silence, frame, method_frame, table

AMQP_0_9_1 = b"AMQP\x00\x00\x09\x01"
SASL_OF_1_0 = b"AMQP\x03\x01\x00\x00"


def test_C01_protocol_header(bare):
    assert bare().begin(AMQP_0_9_1).name == "connection.start"


def test_C01_header_of_0_9(bare):
    start = bare().begin(b"AMQP\x01\x01\x00\x09")
    assert (start.major, start.minor) == (0, 9)


@pytest.mark.parametrize(
    "header, answer",
    [
        pytest.param(b"AMQP\x00\x00\x09\x02", AMQP_0_9_1, id="0-9-2"),
        pytest.param(b"AMQP\x00\x00\x0a\x00", AMQP_0_9_1, id="0-10"),
        pytest.param(b"AMQP\x01\x01\x08\x00", SASL_OF_1_0, id="0-8"),
        pytest.param(b"AMQP\x00\x01\x00\x00", SASL_OF_1_0, id="1.0-without-sasl"),
        pytest.param(b"AMQP\x02\x01\x00\x00", SASL_OF_1_0, id="1.0-tls"),
        pytest.param(b"GET / HT", SASL_OF_1_0, id="http"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01", SASL_OF_1_0, id="tls-hello"),
        pytest.param(b"\x00" * 8, SASL_OF_1_0, id="zeros"),
    ],
)
def test_C01_refused_header(bare, header, answer):
    wire = bare()
    wire.send(header)
    assert wire.read_bytes(8) == answer
    wire.assert_eof()


def test_C02_connection_start(bare):
    start = bare().begin()
    assert (start.major, start.minor, start.locales) == (0, 9, "en_US")
    assert start.server_properties["product"] == "RabbitMQ"
    for name in ("capabilities", "cluster_name", "copyright", "information", "platform", "version"):
        assert start.server_properties[name], name


def test_C02_version_reads_as_rabbitmq_4(bare):
    version = bare().begin().server_properties["version"]
    assert int(version.split(".")[0]) == 4


def test_C03_server_capabilities(bare):
    assert bare().begin().server_properties["capabilities"] == {
        "publisher_confirms": True,
        "exchange_exchange_bindings": True,
        "basic.nack": True,
        "consumer_cancel_notify": True,
        "connection.blocked": True,
        "consumer_priorities": True,
        "authentication_failure_close": True,
        "per_consumer_qos": True,
        "direct_reply_to": True,
    }


def test_C04_without_consumer_cancel_notify_no_cancel(login, names):
    """A consumer that did not ask for notifications is not told that its queue has gone."""
    queue, owner = names.queue(), login()
    owner.ask(1, "queue.declare", queue=queue, durable=True)
    quiet = login(properties={})
    quiet.ask(1, "basic.consume", queue=queue)
    owner.ask(1, "queue.delete", queue=queue)
    quiet.assert_silent()
    quiet.ask(1, "basic.qos", prefetch_count=1)


def test_C05_mechanisms(bare):
    assert set(bare().begin().mechanisms.split()) >= {"PLAIN", "AMQPLAIN", "ANONYMOUS"}


@pytest.mark.parametrize(
    "mechanism, response",
    [
        ("PLAIN", b"\0guest\0guest"),
        ("AMQPLAIN", table({"LOGIN": "guest", "PASSWORD": "guest"})[4:]),
        ("AMQPLAIN", table({"PASSWORD": "guest", "LOGIN": "guest"})[4:]),
        ("ANONYMOUS", b""),
        ("ANONYMOUS", b"anything"),
    ],
)
def test_C05_C06_login(bare, mechanism, response):
    wire = bare()
    wire.begin()
    wire.accept_tune(wire.authenticate(mechanism=mechanism, response=response))
    assert wire.call(0, "connection.open", vhost="/").name == "connection.open-ok"


@pytest.mark.parametrize(
    "mechanism, response",
    [
        ("NOSUCH", b""),
        ("EXTERNAL", b""),
        ("plain", b"\0guest\0guest"),
        ("PLAIN", b"guest"),
        ("PLAIN", b"\0guest"),
        ("PLAIN", b"somebody\0guest\0guest"),
        ("AMQPLAIN", table({"LOGIN": "guest"})[4:]),
        ("AMQPLAIN", b"\xff\xff\xff\xff"),
    ],
)
def test_C05_refused_mechanism_or_response(bare, mechanism, response):
    """Before tuning RabbitMQ has no words for an error: it keeps the client waiting, then drops the socket."""
    wire = bare()
    wire.begin()
    with pytest.raises(Disconnected):
        raise AssertionError(wire.authenticate(mechanism=mechanism, response=response))


@pytest.mark.parametrize("user, password", [("guest", "wrong"), ("nobody", "guest"), ("guest", ""), ("", "")])
def test_C07_refused_login(bare, user, password):
    wire = bare()
    wire.begin()
    answer = wire.authenticate(user=user, password=password)
    text = (
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
    )
    assert_close(answer, "connection", 403, text)


def test_C07_E21_refused_login_without_the_capability(bare):
    wire = bare()
    wire.begin()
    began = time.monotonic()
    with pytest.raises(Disconnected):
        wire.authenticate(password="wrong", properties={})
    assert time.monotonic() - began > 2.5


def test_C08_tune(bare):
    wire = bare()
    wire.begin()
    tune = wire.authenticate()
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131072, 60)


@pytest.mark.parametrize("tune_ok", [{"frame_max": 8192}, {"channel_max": 1}, {"heartbeat": 600}, {"heartbeat": 0}])
def test_C08_tune_ok_accepted(login, tune_ok):
    login(**tune_ok)


@pytest.mark.parametrize(
    "tune_ok, problem",
    [
        ({"frame_max": 131073}, "frame_max = 131073 is higher than the maximum allowed value (131072)"),
        ({"frame_max": 100}, "frame_max = 100 is lower than the minimum allowed value (4096)"),
        ({"channel_max": 2048}, "channel_max = 2048 is higher than the maximum allowed value (2047)"),
    ],
)
def test_C08_tune_ok_refused(bare, expect, tune_ok, problem):
    """Leveret says to the client what RabbitMQ says to its log."""
    wire = bare()
    wire.begin()
    wire.accept_tune(wire.authenticate(), **tune_ok)
    if expect(leveret=False, rabbitmq=True):
        assert_dropped(wire)
        return
    assert_close(wire.read(), "connection", 530, f"NOT_ALLOWED - negotiated {problem}")


@pytest.mark.parametrize("tune_ok", [{"frame_max": 0}, {"frame_max": 4096}, {"channel_max": 0}])
def test_C08_tune_ok_of_older_clients(bare, expect, tune_ok):
    wire = bare()
    wire.begin()
    wire.accept_tune(wire.authenticate(), **tune_ok)
    if expect(leveret=False, rabbitmq=True):
        assert_dropped(wire)
        return
    assert wire.call(0, "connection.open", vhost="/").name == "connection.open-ok"
    wire.ask(1, "channel.open")


def test_C08_smallest_frames(login, names):
    """With frame_max 8192 a body comes back in frames of that size at most."""
    wire, queue, body = login(frame_max=8192), names.queue(), bytes(range(256)) * 100
    wire.ask(1, "queue.declare", queue=queue, durable=True)
    wire.publish(1, body, routing_key=queue, frame_max=8192)
    sizes = []
    read_frame = wire.read_frame

    def measured(deadline=None):
        kind, channel, payload = read_frame(deadline)
        sizes.append(len(payload) + 8)
        return kind, channel, payload

    wire.read_frame = measured
    message = eventually(lambda: (m := wire.ask(1, "basic.get", queue=queue)).body and m)
    assert message.body == body
    assert max(sizes) == 8192


def test_C09_large_frame_before_login(bare, expect):
    """Until the user is known a frame has 8192 bytes at most."""
    wire = bare()
    wire.begin()
    if expect(leveret=False, rabbitmq=True):
        with pytest.raises((Disconnected, ConnectionError)):
            raise AssertionError(wire.authenticate(properties={"long": "x" * 9000}))
        return
    answer = wire.authenticate(properties={"long": "x" * 9000})
    assert (answer.name, answer.code) == ("connection.close", 501)


def test_C11_heartbeats_are_sent(login):
    wire = login(heartbeat=1)
    for _ in range(5):
        wire.send(frame(HEARTBEAT, 0, b""))
        with pytest.raises(Silence):
            wire.read(timeout=0.5)
    assert wire.heartbeats >= 2


def test_C11_silent_client_is_dropped(login):
    wire = login(heartbeat=1)
    began = time.monotonic()
    wire.assert_eof(timeout=10)
    assert time.monotonic() - began > 1


def test_C11_any_traffic_counts_as_heartbeat(login):
    wire = login(heartbeat=1)
    end = time.monotonic() + 3.5
    while time.monotonic() < end:
        wire.ask(1, "basic.qos", prefetch_count=1)
        time.sleep(0.3)  # Not waiting for anything: this client talks slower than it has to, and faster than it must.


def test_C11_heartbeat_zero_means_none(login):
    wire = login(heartbeat=0)
    with pytest.raises(Silence):
        wire.read(timeout=2)
    assert wire.heartbeats == 0


def test_C12_handshake_timeout(bare):
    wire = bare()
    began = time.monotonic()
    with pytest.raises(Disconnected):
        wire.read_bytes(1)
    assert time.monotonic() - began > 8


@pytest.mark.parametrize("vhost", ["no-such-vhost", ""])
def test_C13_unknown_vhost(bare, vhost):
    wire = bare()
    wire.begin()
    wire.accept_tune(wire.authenticate())
    answer = wire.call(0, "connection.open", vhost=vhost)
    assert_connection_closed(wire, answer, 530, f"NOT_ALLOWED - vhost {vhost} not found", "connection.open")


def test_C13_open_ok_has_no_known_hosts(bare):
    wire = bare()
    wire.begin()
    wire.accept_tune(wire.authenticate())
    assert wire.call(0, "connection.open", vhost="/").known_hosts == ""


def test_C16_update_secret(wire):
    wire.ask(0, "connection.update-secret", new_secret="guest", reason="renewal")
    wire.ask(1, "basic.qos", prefetch_count=1)


def test_C19_too_many_channels(login):
    wire = login(channels=(1, 2, 3), channel_max=3)
    answer = wire.call(4, "channel.open")
    text = "NOT_ALLOWED - number of channels opened (3) has reached the negotiated channel_max (3)"
    assert_connection_closed(wire, answer, 530, text)


def test_C19_closed_channels_do_not_count(login):
    wire = login(channels=(1, 2, 3), channel_max=3)
    for _ in range(10):
        wire.ask(2, "channel.close", code=200, text="")
        wire.ask(2, "channel.open")


def test_C19_as_many_channels_as_negotiated(login):
    wire = login(channels=())
    wire.send(b"".join(method_frame(number, "channel.open") for number in range(1, 2048)))
    for _ in range(1, 2048):
        assert wire.read().name == "channel.open-ok"
    wire.ask(2047, "basic.qos", prefetch_count=1)


def test_channel_close_by_the_client(wire):
    wire.ask(1, "channel.close", code=200, text="bye")
    wire.ask(1, "channel.open")


def test_connection_close_by_the_client(wire):
    """RabbitMQ then leaves it to the client to close the socket, so that its end is not asked for here."""
    wire.ask(0, "connection.close", code=200, text="bye")


def test_connection_close_takes_channels_and_exclusive_queues(broker, login, names):
    queue, wire = names.queue(), login()
    wire.ask(1, "queue.declare", queue=queue, exclusive=True)
    wire.ask(0, "connection.close", code=200, text="bye")
    eventually(lambda: not exists(broker, queue))


def test_closed_channel_ignores_what_was_under_way(wire):
    """Between the broker's close and the client's close-ok everything on the channel is discarded."""
    wire.send_method(1, "queue.declare", queue="no-such-queue", passive=True)
    wire.send_method(1, "basic.qos", prefetch_count=1)
    wire.publish(1, b"lost", routing_key="nowhere", mandatory=True)
    text = "NOT_FOUND - no queue 'no-such-queue' in vhost '/'"
    assert_channel_closed(wire, wire.read(), 404, text, "queue.declare")
    wire.assert_silent()


def test_error_of_one_channel_leaves_the_others(login):
    wire = login(channels=(1, 2))
    answer = wire.call(1, "queue.declare", queue="no-such-queue", passive=True)
    assert answer.name == "channel.close"
    wire.ask(2, "basic.qos", prefetch_count=1)


def test_reply_text_is_cut_at_255_bytes(wire):
    answer = wire.call(1, "queue.declare", queue="n" * 250, passive=True)
    assert answer.code == 404
    assert answer.text == ("NOT_FOUND - no queue '" + "n" * 250)[:252] + "..."


@pytest.mark.parametrize("method", ["connection.open", "connection.start-ok", "connection.tune-ok", "connection.start"])
def test_C20_handshake_method_when_running(wire, method):
    text = "CHANNEL_ERROR - unexpected method in connection state running"
    connection_error(wire, 504, text, method, channel=0)


@pytest.mark.parametrize("method", ["connection.open", "connection.tune-ok"])
def test_C20_wrong_method_before_start_ok(bare, method):
    wire = bare()
    wire.begin()
    wire.send_method(0, method)
    assert_dropped(wire)


def test_C20_channel_open_before_start_ok(bare):
    wire = bare()
    wire.begin()
    wire.send_method(1, "channel.open")
    assert_dropped(wire)


def test_C20_connection_open_before_tune_ok(bare):
    wire = bare()
    wire.begin()
    wire.authenticate()
    wire.send_method(0, "connection.open", vhost="/")
    assert_dropped(wire)


def test_C20_channel_open_before_connection_open(bare):
    wire = bare()
    wire.begin()
    wire.accept_tune(wire.authenticate())
    answer = wire.call(1, "channel.open")
    assert_connection_closed(wire, answer, 505, "UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>")


def test_C20_second_channel_open(wire):
    connection_error(wire, 504, "CHANNEL_ERROR - second 'channel.open' seen", "channel.open")


@pytest.mark.parametrize("method", ["queue.declare", "channel.close", "basic.qos", "tx.select"])
def test_C20_method_on_a_channel_that_is_not_open(wire, method):
    connection_error(wire, 504, "CHANNEL_ERROR - expected 'channel.open'", method, channel=7)


@pytest.mark.parametrize("method", ["channel.open", "queue.declare", "basic.qos"])
def test_C20_channel_method_on_channel_zero(wire, method):
    text = "CHANNEL_ERROR - unexpected method in connection state running"
    connection_error(wire, 504, text, method, channel=0)


@pytest.mark.parametrize("method", ["queue.declare-ok", "channel.open-ok", "basic.consume-ok", "connection.close"])
def test_C20_method_that_a_client_may_not_send(wire, method):
    connection_error(wire, 503, "COMMAND_INVALID - unimplemented method", method)


def test_access_request_is_always_granted(wire):
    assert wire.ask(1, "access.request", realm="/data", active=True, write=True).ticket == 1


def test_capabilities_may_be_absent(login):
    login(properties={}).ask(1, "basic.qos", prefetch_count=1)
    login(properties={"capabilities": {**CAPABILITIES, "unknown": True}}).ask(1, "basic.qos", prefetch_count=1)
