"""The broker under test, connections to it, and names that nobody else uses."""

import os
import uuid

import pika
import pytest

pytest.register_assert_rewrite("support", "wire")

from wire import Wire  # noqa: E402, its assertions are to be rewritten first.

HOST = os.environ.get("AMQP_HOST", "127.0.0.1")
PORT = int(os.environ.get("AMQP_PORT", "5672"))


class Broker:
    def __init__(self):
        with Wire(HOST, PORT) as wire:
            self.server_properties = wire.begin().server_properties
        # Both say that they are RabbitMQ, for the sake of clients that look (ADR 0003); Leveret adds who it is.
        self.is_leveret = "Leveret" in self.server_properties["information"]

    def wire(self, **options):
        return Wire(HOST, PORT, **options)

    def pika(self, **options):
        return pika.BlockingConnection(pika.ConnectionParameters(HOST, PORT, **options))


@pytest.fixture(scope="session")
def broker():
    return Broker()


@pytest.fixture(scope="session")
def expect(broker):
    """`expect(leveret=…, rabbitmq=…)`: what this broker should do where the two differ on purpose (DIFFERENCES.md)."""

    def choose(*, leveret, rabbitmq):
        return leveret if broker.is_leveret else rabbitmq

    return choose


@pytest.fixture
def bare(broker):
    """Makes bare sockets: the handshake is the test's."""
    opened = []

    def open_socket(**options):
        opened.append(broker.wire(**options))
        return opened[-1]

    yield open_socket
    for wire in opened:
        wire.socket.close()


@pytest.fixture
def login(bare):
    """Makes connections that have finished the handshake, channel 1 open."""

    def open_connection(*args, timeout=15, receive_buffer=None, **options):
        return bare(timeout=timeout, receive_buffer=receive_buffer).login(*args, **options)

    return open_connection


@pytest.fixture
def wire(login):
    return login()


@pytest.fixture
def connect(broker):
    """Makes pika connections."""
    opened = []

    def open_connection(**options):
        opened.append(broker.pika(**options))
        return opened[-1]

    yield open_connection
    for connection in opened:
        if connection.is_open:
            connection.close()


@pytest.fixture
def connection(connect):
    return connect()


@pytest.fixture
def channel(connection):
    return connection.channel()


class Names:
    """Unique names, and what was declared under them is deleted at the end of the test."""

    def __init__(self, broker):
        self.broker, self.queues, self.exchanges = broker, [], []

    def queue(self, kind="q"):
        self.queues.append(f"{kind}.{uuid.uuid4().hex[:12]}")
        return self.queues[-1]

    def exchange(self, kind="x"):
        self.exchanges.append(f"{kind}.{uuid.uuid4().hex[:12]}")
        return self.exchanges[-1]

    def clean(self):
        if not self.queues and not self.exchanges:
            return
        with self.broker.wire() as wire:
            wire.login()
            for queue in self.queues:
                answer = wire.call(1, "queue.delete", queue=queue)
                if answer.name == "channel.close":  # Exclusive, its connection not gone yet; it goes by itself.
                    wire.send_method(1, "channel.close-ok")
                    wire.ask(1, "channel.open")
            for exchange in self.exchanges:
                wire.ask(1, "exchange.delete", exchange=exchange)


@pytest.fixture
def names(broker):
    names = Names(broker)
    yield names
    names.clean()


@pytest.fixture
def queue(names, wire):
    """A durable classic queue."""
    name = names.queue()
    wire.ask(1, "queue.declare", queue=name, durable=True)
    return name
