"""Runs the tutorials' programs as a reader of RabbitMQ's site would, in several terminals, and reads what they say."""

import collections
import os
import queue
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pika
import pytest

HERE = Path(__file__).parent
DEADLINE_S = 30
HOST = os.environ.get("AMQP_HOST", "127.0.0.1")
PORT = int(os.environ.get("AMQP_PORT", "5672"))
QUEUES = ["hello", "task_queue", "rpc_queue", "confirms"]
EXCHANGES = ["fanout_logs", "direct_logs", "topic_logs"]


class Program:
    """One terminal: a program, and the lines it has printed."""

    def __init__(self, script, arguments, environment):
        self.process = subprocess.Popen(
            [sys.executable, script, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def line(self):
        return self.lines.get(timeout=DEADLINE_S)

    def finish(self):
        """Waits for its end, which must be a good one; gives the lines that nobody has read."""
        assert self.process.wait(DEADLINE_S) == 0, list(self.lines.queue)
        self.reader.join()
        return list(self.lines.queue)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


@pytest.fixture(params=["pika", "aio_pika"])
def start(request):
    """Starts programs of one client, under names of this test's own."""
    prefix = f"tutorial.{uuid.uuid4().hex[:8]}."
    url = f"amqp://guest:guest@{HOST}:{PORT}/%2F"
    environment = {**os.environ, "TUTORIAL_PREFIX": prefix, "AMQP_URL": url}
    programs = []

    def start_program(script, *arguments):
        path = HERE / f"with_{request.param}" / script
        programs.append(Program(path, arguments, environment))
        return programs[-1]

    yield start_program
    for program in programs:
        program.kill()
    with pika.BlockingConnection(pika.ConnectionParameters(HOST, PORT)) as connection:
        channel = connection.channel()
        for name in QUEUES:
            channel.queue_delete(prefix + name)
        for name in EXCHANGES:
            channel.exchange_delete(prefix + name)


@pytest.fixture
def waiting(start):
    """Starts a program and waits until it is ready for messages."""

    def start_and_wait(*arguments):
        program = start(*arguments)
        assert program.line() == "waiting"
        return program

    return start_and_wait


def test_1_hello_world(start, waiting):
    receiver = waiting("hello.py", "receive")
    assert start("hello.py", "send").finish() == ["sent Hello World!"]
    assert receiver.line() == "received Hello World!"


def test_1_the_receiver_may_come_later(start, waiting):
    start("hello.py", "send").finish()
    assert waiting("hello.py", "receive").line() == "received Hello World!"


def test_2_work_is_shared(start, waiting):
    workers = [waiting("work.py", "worker") for _ in range(2)]
    tasks = [f"task {number} ....." for number in range(6)]
    for task in tasks:
        start("work.py", "task", task).finish()
    lines = collections.Counter()
    for worker in workers:
        lines.update(worker.line() for _ in range(6))
    assert lines == collections.Counter(f"{word} {task}" for task in tasks for word in ("received", "done"))


def test_2_work_of_a_dead_worker_is_done_by_another(start, waiting):
    first = waiting("work.py", "worker")
    start("work.py", "task", "takes forever").finish()
    assert first.line() == "received takes forever"
    second = waiting("work.py", "worker")
    first.kill()
    assert [second.line(), second.line()] == ["received again takes forever", "done takes forever"]


def test_3_publish_subscribe(start, waiting):
    subscribers = [waiting("logs.py", "fanout", "receive", "") for _ in range(3)]
    start("logs.py", "fanout", "emit", "", "to all").finish()
    assert [subscriber.line() for subscriber in subscribers] == ["received :to all"] * 3


def test_4_routing(start, waiting):
    errors = waiting("logs.py", "direct", "receive", "error")
    everything = waiting("logs.py", "direct", "receive", "info", "warning", "error")
    for severity in ("info", "error", "warning", "debug", "error"):
        start("logs.py", "direct", "emit", severity, "message").finish()
    assert [errors.line(), errors.line()] == ["received error:message"] * 2
    received = [everything.line() for _ in range(4)]
    assert received == [f"received {severity}:message" for severity in ("info", "error", "warning", "error")]


def test_5_topics(start, waiting):
    everything = waiting("logs.py", "topic", "receive", "#")
    kernel = waiting("logs.py", "topic", "receive", "kern.*", "*.critical")
    for key in ("kern.critical", "kern.info", "cron.critical", "cron.info"):
        start("logs.py", "topic", "emit", key, "x").finish()
    assert [everything.line() for _ in range(4)] == [
        "received kern.critical:x",
        "received kern.info:x",
        "received cron.critical:x",
        "received cron.info:x",
    ]
    assert [kernel.line() for _ in range(3)] == [
        "received kern.critical:x",
        "received kern.info:x",
        "received cron.critical:x",
    ]


def test_6_remote_procedure_call(start, waiting):
    waiting("rpc.py", "serve")
    callers = [start("rpc.py", "call", str(n)) for n in (0, 1, 10, 20)]
    assert [caller.finish() for caller in callers] == [["got 0"], ["got 1"], ["got 55"], ["got 6765"]]


def test_7_publisher_confirms(start):
    assert start("confirms.py", "500").finish() == ["individually 500", "asynchronously 500", "queued 1000"]
