"""What a node tells of itself: events (E19), its log (O05), and copies of messages (O06), as messages for a client.

The fields of events are those that RabbitMQ 4.3.6 printed (`rabbitmq-diagnostics consume_event_stream`) for the same
actions. RabbitMQ has the exchange of events with its plug-in `rabbitmq_event_exchange` only; with it, it passes as well.
"""

import json
import os
import urllib.error
import urllib.request
import uuid
from base64 import b64encode

import pika
import pytest

from conftest import HOST
from support import eventually

PORT = os.environ.get("MGMT_PORT")

pytestmark = pytest.mark.skipif(not PORT, reason="no MGMT_PORT")


def http(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{HOST}:{PORT}/api{path}", data, method=method)
    request.add_header("Authorization", "Basic " + b64encode(b"guest:guest").decode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status < 300


class Inbox:
    """A queue that is bound to an exchange, and all that has come into it."""

    def __init__(self, channel, exchange, key):
        try:
            channel.exchange_declare(exchange, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            pytest.skip(f"the node has no {exchange}")
        self.channel = channel
        self.queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(self.queue, exchange, key)
        self.messages = []

    def wait_for(self, is_meant):
        def look():
            while (message := self.channel.basic_get(self.queue, auto_ack=True))[0]:
                self.messages.append(message)
            return next((it for it in self.messages if is_meant(*it)), None)

        return eventually(look)


@pytest.fixture
def place():
    """A virtual host and a user with all permissions in it; both have the same name."""
    name = f"notices-{uuid.uuid4().hex[:8]}"
    yield name
    for path in (f"/vhosts/{name}", f"/users/{name}"):
        try:
            http("DELETE", path)
        except urllib.error.HTTPError as error:
            assert error.code == 404


ACTIONS = [
    ("PUT", "/vhosts/{0}", {"description": "d"}),
    ("PUT", "/users/{0}", {"password": "p", "tags": "management"}),
    ("PUT", "/users/{0}", {"password": "q", "tags": "monitoring"}),
    ("PUT", "/permissions/{0}/{0}", {"configure": ".*", "write": ".*", "read": ".*"}),
    ("PUT", "/permissions/{0}/guest", {"configure": ".*", "write": ".*", "read": ".*"}),
    ("PUT", "/topic-permissions/{0}/{0}", {"exchange": "amq.topic", "write": ".*", "read": ".*"}),
    ("PUT", "/vhost-limits/{0}/max-queues", {"value": 50}),
    ("PUT", "/user-limits/{0}/max-channels", {"value": 50}),
    ("PUT", "/queues/{0}/{0}", {"durable": True}),
    ("PUT", "/exchanges/{0}/{0}", {"type": "topic"}),
    ("POST", "/bindings/{0}/e/{0}/q/{0}", {"routing_key": "k"}),
    ("PUT", "/policies/{0}/{0}", {"pattern": ".", "definition": {"max-length": 5}, "apply-to": "queues"}),
    ("PUT", "/operator-policies/{0}/{0}", {"pattern": ".", "definition": {"max-length": 5}, "apply-to": "queues"}),
    ("CONNECT", "q", None),
    ("CONNECT", "wrong", None),
    ("DELETE", "/operator-policies/{0}/{0}", None),
    ("DELETE", "/policies/{0}/{0}", None),
    ("DELETE", "/bindings/{0}/e/{0}/q/{0}/k", None),
    ("DELETE", "/exchanges/{0}/{0}", None),
    ("DELETE", "/queues/{0}/{0}", None),
    ("DELETE", "/user-limits/{0}/max-channels", None),
    ("DELETE", "/vhost-limits/{0}/max-queues", None),
    ("DELETE", "/topic-permissions/{0}/{0}", None),
    ("DELETE", "/permissions/{0}/{0}", None),
    ("DELETE", "/users/{0}", None),
    ("DELETE", "/vhosts/{0}", None),
]

# By name: the header that has the name of the place, and further ones. All have `timestamp_in_ms`.
EVENTS = {
    "vhost.created": (
        "name",
        "cluster_state default_queue_type description metadata protected_from_deletion tags tracing by",
    ),
    "user.created": ("name", "by"),
    "user.tags.set": ("name", "tags by"),
    "user.password.changed": ("name", "by"),
    "permission.created": ("user", "configure read vhost write by"),
    "topic.permission.created": ("user", "exchange read vhost write by"),
    "vhost.limits.set": ("vhost", "max-queues name by"),
    "user.limits.set": ("username", "max-channels name by"),
    "queue.created": ("name", "arguments auto_delete durable exclusive owner_pid type vhost by"),
    "exchange.created": ("name", "arguments auto_delete durable internal type vhost by"),
    "binding.created": (
        "source_name",
        "arguments destination_kind destination_name routing_key source_kind vhost by",
    ),
    "policy.set": ("name", "apply-to definition pattern priority vhost by"),
    "queue.policy.updated": ("vhost", "apply-to definition name pattern priority type by"),
    "parameter.set": ("name", "component value vhost by"),
    "user.authentication.success": (
        "name",
        "auth_mechanism connection_name connection_type host peer_host peer_port protocol ssl",
    ),
    "connection.created": (
        "vhost",
        "auth_mechanism channel_max client_properties connected_at frame_max host name node peer_host peer_port pid port"
        " peer_cert_issuer peer_cert_serial_number peer_cert_subject peer_cert_validity protocol ssl timeout type user by",
    ),
    "channel.created": ("vhost", "connection name number pid user by"),
    "consumer.created": ("vhost", "ack_required arguments channel consumer_tag exclusive prefetch_count queue by"),
    "consumer.deleted": ("vhost", "channel consumer_tag queue by"),
    "user.authentication.failure": (
        "name",
        "auth_mechanism connection_name connection_type error host peer_host peer_port protocol ssl",
    ),
    "operator.policy.cleared": ("name", "vhost by"),
    "policy.cleared": ("name", "vhost by"),
    "queue.policy.cleared": ("vhost", "name type by"),
    "binding.deleted": ("source_name", "arguments destination_kind destination_name routing_key source_kind vhost by"),
    "exchange.deleted": ("name", "vhost by"),
    "queue.deleted": ("name", "type vhost by"),
    "user.limits.cleared": ("username", "name by"),
    "vhost.limits.cleared": ("vhost", "name by"),
    "topic.permission.deleted": ("user", "vhost by"),
    "permission.deleted": ("user", "vhost by"),
    "user.deleted": ("name", "by"),
    "vhost.down": ("name", "node by"),
    "vhost.deleted": ("name", "by"),
}


def test_E19_each_event_has_its_key_and_headers(place, connect, broker):
    inbox = Inbox(connect().channel(), "amq.rabbitmq.event", "#")
    for method, path, body in ACTIONS:
        if method == "CONNECT":
            come_and_go(broker, place, path)
        else:
            http(method, path.format(place), body)
    for name, (where, headers) in EVENTS.items():
        wanted = {"user_who_performed_action" if it == "by" else it for it in headers.split()}

        def is_meant(method, properties, body):
            return method.routing_key == name and properties.headers.get(where) == place

        _, properties, body = inbox.wait_for(is_meant)
        missing = (wanted | {"timestamp_in_ms"}) - set(properties.headers)
        assert not missing, f"{name}: {missing}"
        assert body == b"" and properties.timestamp is not None
    closed = {"channel.closed": "consumer_count pid by", "connection.closed": "client_properties name node pid"}
    for name, headers in closed.items():
        method, properties, _ = inbox.wait_for(lambda method, *_: method.routing_key == name)
        wanted = {"user_who_performed_action" if it == "by" else it for it in headers.split()}
        assert wanted <= set(properties.headers), name


def come_and_go(broker, place, password):
    """A client that consumes from the place's queue, if it is let in."""
    credentials = pika.PlainCredentials(place, password)
    try:
        connection = broker.pika(virtual_host=place, credentials=credentials)
    except pika.exceptions.ProbableAuthenticationError:
        assert password == "wrong"
        return
    channel = connection.channel()
    channel.basic_consume(place, lambda *_: None, consumer_tag="tag")
    channel.basic_cancel("tag")
    channel.close()
    connection.close()


def test_O06_copies_name_further_keys(place, connect):
    http("PUT", f"/vhosts/{place}", {"tracing": True})
    http("PUT", f"/permissions/{place}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    channel = connect(virtual_host=place).channel()
    inbox = Inbox(channel, "amq.rabbitmq.trace", "#")
    for queue in ("one", "two", "three"):
        channel.queue_declare(queue)
        channel.queue_bind(queue, "amq.direct", queue)
    # The binding of the inbox came while the firehose was on: publishers ask again.
    properties = pika.BasicProperties(headers={"CC": ["two"], "BCC": ["three"]}, content_type="text/plain")
    channel.basic_publish("amq.direct", "one", b"body", properties)
    _, copy, body = inbox.wait_for(lambda method, *_: method.routing_key == "publish.amq.direct")
    headers = copy.headers
    assert body == b"body"
    assert headers["exchange_name"] == "amq.direct"
    assert headers["routing_keys"] == ["one", "two", "three"]
    assert sorted(headers["routed_queues"]) == ["one", "three", "two"]
    assert (headers["vhost"], headers["user"], headers["channel"]) == (place, "guest", channel.channel_number)
    assert headers["properties"]["content_type"] == "text/plain"
    # The key that nobody is to see is seen by who traces.
    assert headers["properties"]["headers"] == {"CC": ["two"]}

    assert eventually(lambda: channel.basic_get("three", auto_ack=True)[0])
    _, copy, body = inbox.wait_for(lambda method, *_: method.routing_key == "deliver.three")
    assert body == b"body"
    assert copy.headers["redelivered"] == 0
    assert copy.headers["routing_keys"] == ["one", "two", "three"]
    assert copy.headers["properties"]["headers"] == {"CC": ["two"]}

    # Queues that are named twice, or are not there.
    channel.basic_publish("", "two", b"body", pika.BasicProperties(headers={"BCC": ["nobody", "two", "one"]}))
    _, copy, _ = inbox.wait_for(lambda method, *_: method.routing_key == "publish.")
    assert copy.headers["routing_keys"] == ["two", "nobody", "two", "one"]
    assert copy.headers["routed_queues"] == ["nobody", "one", "two"]


def test_O05_the_log_is_published_by_level(connect, broker):
    if not broker.is_leveret:
        pytest.skip("RabbitMQ keeps the exchange when its log does not go there")
    connection = connect()
    inbox = Inbox(connection.channel(), "amq.rabbitmq.log", "#")
    wrong = pika.PlainCredentials("guest", "wrong")
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        connect(credentials=wrong)
    levels = {"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}
    method, properties, body = inbox.wait_for(lambda method, properties, body: b"guest" in body)
    assert method.routing_key in levels
    assert properties.content_type == "text/plain"
    assert "node" in properties.headers
    assert properties.timestamp is not None
