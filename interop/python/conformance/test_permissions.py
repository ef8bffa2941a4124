"""RABBITMQ.md 4, E13 to E15: no way around a permission. `poor` may do everything with what begins with `mine`, and nothing
with what begins with `theirs`; the HTTP API at MGMT_PORT makes both."""

import base64
import json
import os
import urllib.error
import urllib.request
import uuid

import pytest

from support import channel_error, confirmed, depth, get, wait_for
from wire import table

HOST = os.environ.get("AMQP_HOST", "127.0.0.1")
PORT = os.environ.get("MGMT_PORT")

pytestmark = pytest.mark.skipif(not PORT, reason="no MGMT_PORT")


def http(method, path, body=None, user="guest", password="guest"):
    """Status and body of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{HOST}:{PORT}/api{path}", data, method=method)
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    request.add_header("Authorization", f"Basic {credentials}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Place:
    """A vhost with objects of somebody else's, and a user who may not use them."""

    def __init__(self, login):
        self.login = login
        self.vhost = self.user = f"poor-{uuid.uuid4().hex[:12]}"

    def make(self):
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        mine = {"configure": "^mine", "write": "^mine", "read": "^mine"}
        keys = {"exchange": "mine-topic", "write": "^mine\\.", "read": "^mine\\."}
        self.put(
            (f"/vhosts/{self.vhost}", {}),
            (f"/users/{self.user}", {"password": "poor", "tags": "policymaker"}),
            (f"/permissions/{self.vhost}/guest", everything),
            (f"/permissions/{self.vhost}/{self.user}", mine),
        )
        with_all = self.login(vhost=self.vhost)
        with_all.ask(1, "queue.declare", queue="theirs", durable=True)
        with_all.ask(1, "exchange.declare", exchange="theirs", type="fanout", durable=True)
        with_all.ask(1, "queue.bind", queue="theirs", exchange="theirs")
        self.guest = with_all
        self.poor = self.login(vhost=self.vhost, user=self.user, password="poor")
        self.poor.ask(1, "queue.declare", queue="mine", durable=True)
        self.poor.ask(1, "exchange.declare", exchange="mine", type="fanout", durable=True)
        self.poor.ask(1, "exchange.declare", exchange="mine-topic", type="topic", durable=True)
        self.put((f"/topic-permissions/{self.vhost}/{self.user}", keys))

    def put(self, *objects):
        for path, body in objects:
            status, answer = http("PUT", path, body)
            assert status in (201, 204), f"{path}: {answer}"

    def clean(self):
        http("DELETE", f"/vhosts/{self.vhost}")
        http("DELETE", f"/users/{self.user}")

    def http(self, method, path, body=None):
        return http(method, path, body, self.user, "poor")

    def refusal(self, access, kind, name):
        resource = f"{kind} '{name}' in vhost '{self.vhost}'"
        return f"ACCESS_REFUSED - {access} access to {resource} refused for user '{self.user}'"

    def refuses(self, access, kind, name, method, **arguments):
        channel_error(self.poor, 403, self.refusal(access, kind, name), method, **arguments)

    def refuses_publish(self, text, **arguments):
        self.poor.publish(1, b"x", **arguments)
        answer = self.poor.read(1)
        assert (answer.name, answer.code, answer.text) == ("channel.close", 403, text), answer
        self.poor.send_method(1, "channel.close-ok")
        self.poor.ask(1, "channel.open")


@pytest.fixture
def place(login):
    place = Place(login)
    try:
        place.make()
        yield place
    finally:
        place.clean()


def test_E13_publishing(place):
    place.refuses_publish(place.refusal("write", "exchange", "theirs"), exchange="theirs")
    place.refuses_publish(place.refusal("write", "exchange", "amq.default"), routing_key="theirs")
    assert depth(place.guest, "theirs") == 0


def test_E13_nothing_else_by_http(place):
    message = {"properties": {}, "routing_key": "theirs", "payload": "x", "payload_encoding": "string"}
    wanted = {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}
    place.poor.ask(1, "confirm.select")
    place.guest.ask(1, "confirm.select")
    assert confirmed(place.guest, b"x", routing_key="theirs")
    for method, path, body in [
        ("POST", f"/exchanges/{place.vhost}/theirs/publish", message),
        ("POST", f"/exchanges/{place.vhost}/amq.default/publish", message),
        ("POST", f"/queues/{place.vhost}/theirs/get", wanted),
        ("DELETE", f"/queues/{place.vhost}/theirs/contents", None),
        ("DELETE", f"/queues/{place.vhost}/theirs", None),
        ("PUT", f"/queues/{place.vhost}/theirs-too", {"durable": True}),
        ("PUT", f"/exchanges/{place.vhost}/theirs-too", {"type": "fanout"}),
        ("POST", f"/bindings/{place.vhost}/e/theirs/q/mine", {}),
        ("POST", f"/bindings/{place.vhost}/e/mine/q/theirs", {}),
        ("POST", f"/bindings/{place.vhost}/e/mine/e/theirs", {}),
    ]:
        status, answer = place.http(method, path, body)
        assert status in (400, 401), f"{method} {path}: {status} {answer}"
    assert depth(place.guest, "theirs") == 1


def test_E14_bindings(place):
    place.refuses("read", "exchange", "theirs", "queue.bind", queue="mine", exchange="theirs")
    place.refuses("write", "queue", "theirs", "queue.bind", queue="theirs", exchange="mine")
    place.refuses("read", "exchange", "theirs", "exchange.bind", destination="mine", source="theirs")
    place.refuses("write", "exchange", "theirs", "exchange.bind", destination="theirs", source="mine")
    place.refuses("write", "queue", "theirs", "queue.unbind", queue="theirs", exchange="mine")
    place.refuses("read", "queue", "theirs", "basic.get", queue="theirs")
    place.refuses("read", "queue", "theirs", "basic.consume", queue="theirs")
    place.refuses("read", "queue", "theirs", "queue.purge", queue="theirs")
    place.refuses("configure", "queue", "theirs", "queue.delete", queue="theirs")
    place.refuses("configure", "exchange", "theirs", "exchange.delete", exchange="theirs")


def test_E14_alternate_and_dead_letter_exchanges(place):
    to_theirs = {"alternate-exchange": "theirs"}
    arguments = dict(exchange="mine-new", type="fanout", arguments=to_theirs)
    place.refuses("write", "exchange", "theirs", "exchange.declare", **arguments)
    arguments = dict(queue="mine-new", durable=True, arguments={"x-dead-letter-exchange": "theirs"})
    place.refuses("write", "exchange", "theirs", "queue.declare", **arguments)


def test_E14_policies_are_not_asked_for_permissions(place):
    """As in RabbitMQ: who makes policies is trusted with where messages go."""
    definition = {"dead-letter-exchange": "theirs", "message-ttl": 0}
    policy = {"pattern": "^mine$", "apply-to": "queues", "definition": definition}
    status, answer = place.http("PUT", f"/policies/{place.vhost}/mine", policy)
    assert status in (201, 204), answer
    policy = {"pattern": "^mine$", "apply-to": "exchanges", "definition": {"alternate-exchange": "theirs"}}
    status, answer = place.http("PUT", f"/policies/{place.vhost}/mine-x", policy)
    assert status in (201, 204), answer
    place.poor.ask(1, "confirm.select")
    assert confirmed(place.poor, b"alternate", exchange="mine")
    assert wait_for(place.guest, "theirs").body == b"alternate"
    place.poor.ask(1, "queue.bind", queue="mine", exchange="mine")
    assert confirmed(place.poor, b"dead", exchange="mine")
    assert wait_for(place.guest, "theirs").body == b"dead"


def test_E14_who_makes_no_policies_has_none_made(place):
    status, answer = http("PUT", f"/users/{place.user}", {"password": "poor", "tags": "management"})
    assert status == 204, answer
    policy = {"pattern": "^mine$", "definition": {"dead-letter-exchange": "theirs"}}
    status, answer = place.http("PUT", f"/policies/{place.vhost}/mine", policy)
    assert status == 401, answer


def topic_refusal(place, access, key):
    where = f"exchange 'mine-topic' in vhost '{place.vhost}'"
    return f"ACCESS_REFUSED - {access} access to topic '{key}' in {where} refused for user '{place.user}'"


def test_E15_keys_of_topics(place):
    place.poor.ask(1, "queue.bind", queue="mine", exchange="mine-topic", routing_key="mine.#")
    text = topic_refusal(place, "read", "#")
    channel_error(place.poor, 403, text, "queue.bind", queue="mine", exchange="mine-topic", routing_key="#")
    text = topic_refusal(place, "read", "#")
    binding = dict(destination="mine", source="mine-topic", routing_key="#")
    channel_error(place.poor, 403, text, "exchange.bind", **binding)
    text = topic_refusal(place, "write", "theirs.a")
    place.refuses_publish(text, exchange="mine-topic", routing_key="theirs.a")


@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_E15_keys_in_headers(place, header):
    text = topic_refusal(place, "write", "theirs.a")
    headers = {header: ["theirs.a"]}
    place.refuses_publish(text, exchange="mine-topic", routing_key="mine.a", headers=headers)


def test_E13_headers_do_not_lead_into_queues(place):
    """Through an exchange that one may use, CC names further keys of that exchange, not queues."""
    place.poor.ask(1, "confirm.select")
    assert confirmed(place.poor, b"x", exchange="mine", headers={"CC": ["theirs"], "BCC": ["theirs"]})
    assert depth(place.guest, "theirs") == 0


def test_E13_direct_replies(place):
    """A reply goes through the default exchange like everything else, whoever waits for it."""
    asker = place.login(vhost=place.vhost)
    asker.ask(1, "basic.consume", queue="amq.rabbitmq.reply-to", no_ack=True)
    asker.publish(1, b"?", routing_key="theirs", reply_to="amq.rabbitmq.reply-to")
    reply_to = wait_for(place.guest, "theirs").properties["reply_to"]
    place.refuses_publish(place.refusal("write", "exchange", "amq.default"), routing_key=reply_to)
