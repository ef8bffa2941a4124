"""RABBITMQ.md 4, as far as a broker shows it that knows one user; test_permissions.py has more users, DIFFERENCES.md what is
left out."""

from support import confirmed, get
from wire import table


def test_E05_default_user(login):
    login(user="guest", password="guest", vhost="/")


def test_E04_guest_from_loopback(login):
    """The suite runs on the broker's machine."""
    peer = login().socket.getpeername()[0]
    assert peer.startswith("127.") or peer == "::1"


def test_E02_blank_password_is_refused(bare):
    for mechanism, response in (
        ("PLAIN", b"\0guest\0"),
        ("AMQPLAIN", table({"LOGIN": "guest", "PASSWORD": ""})[4:]),
    ):
        wire = bare()
        wire.begin()
        answer = wire.authenticate(mechanism=mechanism, response=response)
        assert (answer.name, answer.code) == ("connection.close", 403)
        assert f"mechanism {mechanism}." in answer.text


def test_E13_E14_E15_guest_may_everything(login, names):
    wire, queue, exchange, other = login(), names.queue(), names.exchange(), names.exchange()
    wire.ask(1, "exchange.declare", exchange=other, type="fanout")
    wire.ask(1, "exchange.declare", exchange=exchange, type="topic", arguments={"alternate-exchange": other})
    wire.ask(1, "queue.declare", queue=queue, durable=True, arguments={"x-dead-letter-exchange": other})
    wire.ask(1, "queue.bind", queue=queue, exchange=exchange, routing_key="any.key")
    wire.ask(1, "exchange.bind", destination=other, source=exchange, routing_key="any.key")
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", exchange=exchange, routing_key="any.key")
    assert get(wire, queue).body == b"x"
    wire.ask(1, "queue.purge", queue=queue)
    wire.ask(1, "exchange.unbind", destination=other, source=exchange, routing_key="any.key")
    wire.ask(1, "queue.unbind", queue=queue, exchange=exchange, routing_key="any.key")
