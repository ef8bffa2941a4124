"""A stream across the end of its node, in good order and by `kill -9`, on a node of its own: LEVERET is the program.

A reader follows while others publish, and the node ends in the middle. Afterwards what was confirmed is there in order,
and what was read at an offset is at that offset.
"""

import os
import signal
import subprocess
import threading

import pika
import pytest
from pika.exceptions import AMQPError

ARGUMENTS = {"x-queue-type": "stream"}
CONFIRMED = 400
ROUNDS = 3
GONE = (AMQPError, OSError)


class Node:
    """A node on a directory, on ports of its own."""

    def __init__(self, directory):
        settings = ["listeners.tcp.1=127.0.0.1:0", "management.tcp.port=0", "prometheus.tcp.port=0", "log.level=error"]
        command = [os.environ["LEVERET"], "run", "--data-dir", directory]
        for setting in settings:
            command += ["--set", setting]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.endswith("(amqp)\n"):
                self.port = int(line.split()[2].rpartition(":")[2])
            if line.startswith("started in "):
                return
        raise RuntimeError(f"the node ended: {self.process.wait()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGKILL)

    def connect(self):
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port))

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait()
        self.process.stdout.close()


def publish(node, queue, name, confirmed, enough):
    """Publishes numbers and keeps those that are confirmed, until the node is gone."""
    try:
        channel = node.connect().channel()
        channel.confirm_delivery()
        number = 0
        while True:
            body = f"{name} {number}"
            channel.basic_publish("", queue, body.encode())
            confirmed.append(body)
            if len(confirmed) >= CONFIRMED:
                enough.set()
            number += 1
    except GONE:
        enough.set()


def follow(node, queue, seen):
    """Reads from the start and notes what is at which offset, until the node is gone."""
    try:
        for offset, body in deliveries(node.connect(), queue):
            seen[offset] = body
    except GONE:
        pass


def deliveries(connection, queue, offset="first", timeout_s=None):
    """Offsets and bodies from `offset` on, until nothing comes for as long as that."""
    channel = connection.channel()
    channel.basic_qos(prefetch_count=50)
    arguments = {"x-stream-offset": offset}
    for method, properties, body in channel.consume(queue, arguments=arguments, inactivity_timeout=timeout_s):
        if method is None:
            return
        channel.basic_ack(method.delivery_tag)
        yield properties.headers["x-stream-offset"], body.decode()


def until(connection, queue, end, offset="first"):
    """Publishes `end`, and reads from `offset` to there."""
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("", queue, end.encode())
    found = []
    for one in deliveries(connection, queue, offset):
        found.append(one)
        if one[1] == end:
            return found
    raise AssertionError("a stream has no end")


def lives(node, queue, how):
    """Publishes and reads until the node has an end. Gives what was confirmed to each publisher, and what was seen."""
    enough, confirmed, seen = threading.Event(), ([], []), {}
    work = [
        threading.Thread(target=publish, args=(node, queue, name, to, enough))
        for name, to in zip("ab", confirmed, strict=True)
    ]
    work.append(threading.Thread(target=follow, args=(node, queue, seen)))
    for thread in work:
        thread.start()
    enough.wait()
    node.end(how)
    for thread in work:
        thread.join()
    return confirmed, seen


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_what_was_confirmed_or_read_stays_where_it_is(tmp_path, how):
    known = {}
    for number in range(ROUNDS):
        queue = "history"
        with Node(tmp_path) as node:
            connection = node.connect()
            connection.channel().queue_declare(queue, durable=True, arguments=ARGUMENTS)
            connection.close()
            confirmed, seen = lives(node, queue, how)
        with Node(tmp_path) as node:
            connection = node.connect()
            found = until(connection, queue, f"end {number}")
            offsets, bodies = zip(*found, strict=True)
            assert offsets == tuple(range(len(found)))
            assert known.items() | seen.items() <= dict(found).items()
            mine = bodies[len(known) :]
            for name, to in zip("ab", confirmed, strict=True):
                assert len(to) > 0
                # One that was on its way may be there, too.
                assert [body for body in mine if body.startswith(f"{name} ")][: len(to)] == to
            middle = len(found) // 2
            assert (
                until(connection, queue, f"end {number} again", offset=middle)[: middle // 2]
                == found[middle:][: middle // 2]
            )
            known = dict(until(connection, queue, f"end {number} at last"))
            connection.close()
            node.end(how)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_what_was_let_go_stays_gone(tmp_path, how):
    with Node(tmp_path) as node:
        connection = node.connect()
        channel = connection.channel()
        channel.queue_declare("short", durable=True, arguments={**ARGUMENTS, "x-max-length-bytes": 100_000})
        channel.confirm_delivery()
        for number in range(400):
            channel.basic_publish("", "short", b"%d" % number + b"." * 1000)
        before = until(connection, "short", "before")
        node.end(how)
    with Node(tmp_path) as node:
        after = until(node.connect(), "short", "after")
    assert before[0][0] > 0 and before[-1][0] == 400
    # To take "after" in, one more may have had to go.
    assert after[:-1] in (before, before[1:])
    assert after[-1] == (401, "after")
