"""A real Celery worker, and kombu, with their defaults where they matter: prefetch, acknowledgement, ETA, events."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import kombu
import pytest

HERE = Path(__file__).parent
HOST = os.environ.get("AMQP_HOST", "127.0.0.1")
PORT = int(os.environ.get("AMQP_PORT", "5672"))
URL = f"amqp://guest:guest@{HOST}:{PORT}//"
PREFIX = f"celery.{uuid.uuid4().hex[:8]}."
DEADLINE_S = 240

os.environ.update(AMQP_URL=URL, CELERY_PREFIX=PREFIX)


def start_worker(log):
    command = [sys.executable, "-m", "celery", "--app", "tasks", "worker", "--concurrency", "2", "--loglevel", "INFO"]
    return subprocess.Popen(
        [*command, "--hostname", f"{uuid.uuid4().hex[:8]}@%h"],
        cwd=HERE,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def ready(log, worker):
    deadline = time.monotonic() + DEADLINE_S
    while "ready." not in log.read_text():
        assert worker.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def tasks():
    sys.path.insert(0, str(HERE))
    import tasks

    yield tasks
    sys.path.remove(str(HERE))
    with kombu.Connection(URL) as connection:
        channel = connection.channel()
        channel.queue_delete(PREFIX + "tasks")
        for exchange in ("{}tasks", "{}events", "{}control.pidbox", "reply.{}control.pidbox"):
            channel.exchange_delete(exchange.format(PREFIX))


@pytest.fixture(scope="module")
def worker(tasks, tmp_path_factory):
    log = tmp_path_factory.mktemp("celery") / "worker.log"
    process = start_worker(log)
    try:
        ready(log, process)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def test_ten_thousand_tasks(tasks, worker):
    results = [tasks.double.delay(number) for number in range(10_000)]
    answers = [result.get(timeout=DEADLINE_S) for result in results]
    assert answers == [2 * number for number in range(10_000)]


def test_retries(tasks, worker):
    results = [tasks.third_time_lucky.delay(number) for number in range(100)]
    assert [result.get(timeout=DEADLINE_S) for result in results] == [[number, 2] for number in range(100)]


def test_retries_run_out(tasks, worker):
    with pytest.raises(ValueError, match="out of luck"):
        tasks.never_lucky.delay().get(timeout=DEADLINE_S)


def test_eta(tasks, worker):
    """More of them than the worker prefetches."""
    due = time.time() + 2
    results = [tasks.time_of_run.apply_async(countdown=2) for _ in range(50)]
    assert all(result.get(timeout=DEADLINE_S) >= due - 0.1 for result in results)


def test_expired_task_is_not_run(tasks, worker):
    from celery.exceptions import TaskRevokedError

    with pytest.raises(TaskRevokedError):
        tasks.double.apply_async([1], countdown=1, expires=0.1).get(timeout=DEADLINE_S)


def test_canvas(tasks, worker):
    from celery import chain, group

    assert chain(tasks.double.s(1), tasks.double.s(), tasks.double.s())().get(timeout=DEADLINE_S) == 8
    results = group(tasks.double.s(number) for number in range(20)).apply_async()
    assert [child.get(timeout=DEADLINE_S) for child in results.children] == [2 * number for number in range(20)]


def test_remote_control(tasks, worker):
    replies = tasks.app.control.ping(timeout=10, limit=1)
    assert [answer for reply in replies for answer in reply.values()] == [{"ok": "pong"}]
    stats = tasks.app.control.inspect(timeout=10, limit=1).stats()
    assert len(stats) == 1


def test_killed_worker_loses_nothing(tasks, worker, tmp_path):
    """Late acknowledgement: what the dead worker held runs elsewhere."""
    log = tmp_path / "victim.log"
    victim = start_worker(log)
    try:
        ready(log, victim)
        slow = [tasks.double.apply_async([number], countdown=2) for number in range(200)]
        os.killpg(victim.pid, 9)
        assert [result.get(timeout=DEADLINE_S) for result in slow] == [2 * number for number in range(200)]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(victim.pid, 9)
        victim.wait(30)


# -- kombu, without Celery around it ----------------------------------------------------------------------------------


@pytest.fixture
def connection():
    with kombu.Connection(URL, heartbeat=10) as connection:
        yield connection


def unique(kind):
    return f"kombu.{kind}.{uuid.uuid4().hex[:12]}"


def test_kombu_simple_queue(connection):
    name = unique("simple")
    with contextlib.closing(connection.SimpleQueue(name)) as queue:
        for number in range(10):
            queue.put({"number": number}, serializer="json")
        assert queue.qsize() == 10
        for number in range(10):
            message = queue.get(timeout=10)
            assert message.payload == {"number": number}
            message.ack()
    connection.default_channel.queue_delete(name)
    connection.default_channel.exchange_delete(name)


def test_kombu_producer_and_consumer(connection):
    exchange = kombu.Exchange(unique("topic"), type="topic", durable=False, auto_delete=True)
    queue = kombu.Queue(unique("queue"), exchange, routing_key="a.#", exclusive=True)
    received = []

    def on_message(body, message):
        received.append((message.delivery_info["routing_key"], body))
        message.ack()

    with connection.Consumer(queue, callbacks=[on_message], accept=["json", "pickle"]):
        producer = connection.Producer(serializer="json")
        for key in ("a.b", "b.a", "a"):
            producer.publish([key], exchange=exchange, routing_key=key, compression="zlib")
        while len(received) < 2:
            connection.drain_events(timeout=10)
    assert received == [("a.b", ["a.b"]), ("a", ["a"])]


def test_kombu_confirms(connection):
    with kombu.Connection(URL, transport_options={"confirm_publish": True}) as confirming:
        queue = kombu.Queue(unique("confirms"), durable=True)(confirming.default_channel)
        queue.declare()
        producer = confirming.Producer()
        for number in range(20):
            producer.publish(str(number), routing_key=queue.name)
        assert queue.queue_declare(passive=True).message_count == 20
        queue.delete()


def test_kombu_requeue_and_reject(connection):
    queue = kombu.Queue(unique("requeue"), exclusive=True)(connection.default_channel)
    queue.declare()
    connection.Producer().publish("x", routing_key=queue.name)
    message = queue.get()
    assert not message.delivery_info["redelivered"]
    message.requeue()
    message = queue.get()
    assert message.delivery_info["redelivered"]
    message.reject()
    assert queue.get() is None


def test_kombu_mailbox(connection):
    """kombu.pidbox, under which Celery's remote control works."""
    name = unique("pidbox")
    mailbox = kombu.pidbox.Mailbox(name, type="fanout")(connection)
    node = mailbox.Node("node", state={}, handlers={"hello": lambda state, whom: f"hello {whom}"})
    consumer = node.listen(channel=connection.channel())
    with kombu.Connection(URL) as other:
        asking = kombu.pidbox.Mailbox(name, type="fanout")(other)
        reply_queue = asking.get_reply_queue()
        reply_queue(other.default_channel).declare()
        asking._publish("hello", {"whom": "you"}, reply_ticket=(ticket := uuid.uuid4().hex), channel=other.channel())
        connection.drain_events(timeout=10)
        replies = asking._collect(ticket, limit=1, timeout=10, channel=other.channel())
    assert replies == [{"node": "hello you"}]
    consumer.cancel()
    channel = connection.channel()
    for exchange in (f"{name}.pidbox", f"reply.{name}.pidbox"):
        channel.exchange_delete(exchange)


def test_kombu_heartbeat(connection):
    connection.ensure_connection()
    for _ in range(3):
        connection.heartbeat_check()
        with contextlib.suppress(socket.timeout):
            connection.drain_events(timeout=0.2)
    assert connection.connected
