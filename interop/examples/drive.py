"""Plays each example as its README tells it, and checks what the programs print.

An example is a function below: it starts programs, waits for their lines with a deadline, and asserts them. The names an
example declares are fixed, because users copy them; they are deleted before and after it.
"""

import contextlib
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import traceback

import pika

CACHE = pathlib.Path(sys.argv[1])
EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
HOST = os.environ.get("AMQP_HOST", "127.0.0.1")
PORT = os.environ.get("AMQP_PORT", "5672")
URL = os.environ.get("AMQP_URL", f"amqp://guest:guest@{HOST}:{PORT}/%2f")
DEADLINE_SECONDS = 30

checks = []


def example(queues=(), exchanges=()):
    """Registers a check, with the names to take away around it."""

    def register(check):
        checks.append((check.__name__.replace("_", "-"), check, queues, exchanges))
        return check

    return register


class Program:
    """A running program and the lines it has printed."""

    def __init__(self, folder, *command):
        self.name = " ".join(str(part) for part in command[-2:])
        environment = {**os.environ, "AMQP_URL": URL, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=EXAMPLES / folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed = []
        self.unread = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.printed.append(line.rstrip())
            self.unread.put(line.rstrip())
        self.unread.put(None)

    def next_line(self, deadline):
        try:
            line = self.unread.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            raise AssertionError(f"{self.name}: no further line; so far {self.printed}") from None
        assert line is not None, f"{self.name} ended; it printed {self.printed}"
        return line

    def expect(self, text):
        """Reads on to a line with this text, and returns it."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            line = self.next_line(deadline)
            if text in line:
                return line

    def lines(self, count):
        """The next lines, whatever they are."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        return [self.next_line(deadline) for _ in range(count)]

    def finish(self):
        """Waits for a program that ends by itself, and returns its unread lines."""
        code = self.process.wait(DEADLINE_SECONDS)
        self.reader.join(DEADLINE_SECONDS)
        assert code == 0, f"{self.name} ended with {code}: {self.printed}"
        rest = []
        while (line := self.unread.get()) is not None:
            rest.append(line)
        return rest

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


class Stage:
    """Starts the programs of one example, and stops them after it."""

    def __init__(self, folder, stack):
        self.folder = folder
        self.stack = stack

    def start(self, *command):
        program = Program(self.folder, *command)
        self.stack.callback(program.stop)
        return program

    def python(self, *command):
        return self.start(sys.executable, *command)

    def node(self, *command):
        return self.start("node", *command)


@example(queues=["tasks"])
def task_queue(stage):
    workers = {name: stage.python("worker.py", name) for name in ("alice", "bob")}
    for worker in workers.values():
        worker.expect("waits for tasks")

    stage.python("new_task.py", "report:60").finish()
    busy_name = first_to_print(workers, "takes report")
    busy = workers.pop(busy_name)
    ((idle_name, idle),) = workers.items()

    stage.python("new_task.py", *(f"thumb-{n}:0.01" for n in range(6))).finish()
    expected = [f"{idle_name} {done} thumb-{n}" for n in range(6) for done in ("takes", "finished")]
    assert idle.lines(12) == expected, "the worker with the long task gets no other"

    busy.kill()
    idle.expect(f"{idle_name} takes report again")


def first_to_print(programs, text):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        for name, program in programs.items():
            if any(text in line for line in program.printed):
                program.expect(text)
                return name
        time.sleep(0.01)
    raise AssertionError(f"nobody printed {text}")


@example(queues=["shop.events.shipping", "shop.events.invoicing"], exchanges=["shop.events"])
def event_fanout(stage):
    shipping = [stage.node("service.js", "shipping") for _ in range(2)]
    invoicing = stage.node("service.js", "invoicing")
    for service in [*shipping, invoicing]:
        service.expect("listens")

    orders = [f"A-{n}" for n in range(10)]
    assert stage.node("shop.js", *orders).finish() == ["announced 10 orders"]
    assert invoicing.lines(10) == [f"invoicing handles {order}" for order in orders]
    shared = gather(shipping, 10)
    assert sorted(shared[0] + shared[1]) == [f"shipping handles {order}" for order in orders], shared
    assert all(shared), "both instances have their part"

    invoicing.stop()
    stage.node("shop.js", "B-1", "B-2").finish()
    late = stage.node("service.js", "invoicing")
    late.expect("handles B-1")
    late.expect("handles B-2")


def gather(programs, count):
    """What each has printed by the time that all have printed `count` further lines between them."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (there := sum(program.unread.qsize() for program in programs)) < count:
        assert time.monotonic() < deadline, f"{there} of {count} lines: {[program.printed for program in programs]}"
        time.sleep(0.01)
    return [program.lines(program.unread.qsize()) for program in programs]


@example(exchanges=["logs.by-topic"])
def topic_logs(stage):
    collect, emit = CACHE / "go" / "collect", CACHE / "go" / "emit"
    patterns = {"errors": ["#.error", "end.#"], "database": ["db-1.#", "end.#"], "web": ["*.http.*", "end.#"]}
    collectors = {name: stage.start(collect, *wanted) for name, wanted in patterns.items()}
    for collector in collectors.values():
        collector.expect("collecting")

    lines = [("web-1.http.error", "upstream timed out"), ("db-1.disk.info", "checkpoint"), ("db-1.disk.error", "slow"),
             ("web-2.http.info", "GET /"), ("mail.smtp.info", "sent"), ("end.of.test", "bye")]
    emitted = stage.start(emit, *(word for line in lines for word in line)).finish()
    assert emitted == [f"emitted {topic}" for topic, _ in lines]

    # All of them get the last line, so a line too many would come before it.
    got = {name: read_to(collector, "end.of.test: bye") for name, collector in collectors.items()}
    assert got == {
        "errors": ["web-1.http.error: upstream timed out", "db-1.disk.error: slow"],
        "database": ["db-1.disk.info: checkpoint", "db-1.disk.error: slow"],
        "web": ["web-1.http.error: upstream timed out", "web-2.http.info: GET /"],
    }


def read_to(program, last):
    read = []
    while (line := program.lines(1)[0]) != last:
        read.append(line)
    return read


@example(queues=["rpc.fibonacci"])
def rpc(stage):
    for _ in range(2):
        stage.python("server.py").expect("waits for requests")

    assert stage.python("client.py", "10", "30", "-1", "90").finish() == [
        "fibonacci(10) = 55",
        "fibonacci(30) = 832040",
        "fibonacci(-1) failed: no Fibonacci number has the index -1",
        "fibonacci(90) = 2880067194370816120",
    ]


ORDER_STEPS = ["payment", "inventory", "email"]


@example(
    queues=["orders.dead", *(f"orders.{step}{kind}" for step in ORDER_STEPS for kind in ("", ".wait"))],
    exchanges=["orders"],
)
def order_processing(stage):
    payment, inventory, email = (stage.python(f"{name}.py") for name in ("payment", "inventory", "email_service"))
    for service, name in zip((payment, inventory, email), ORDER_STEPS, strict=True):
        service.expect(f"{name} is ready")

    stage.python("place_orders.py", "1:book:valid", "2:lamp:slow-bank", "3:sofa:stolen", "4:unicorn:valid").finish()

    email.expect("mailed: order 1, your book is on its way")
    email.expect("mailed: order 2, your lamp is on its way")
    inventory.expect("inventory gives up on order 4: out of stock")
    assert sorted(payment.lines(6)) == [
        "charged order 1 at attempt 1",
        "charged order 2 at attempt 3",
        "charged order 4 at attempt 1",
        "payment gives up on order 3: the card is stolen",
        "payment will retry order 2: the bank did not answer attempt 1",
        "payment will retry order 2: the bank did not answer attempt 2",
    ]
    assert inventory.printed.count("inventory will retry order 4: out of stock") == 2

    # The note is printed just before the order is in the queue of the dead.
    dead = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(dead) < 2 and time.monotonic() < deadline:
        dead += stage.python("dead_orders.py").finish()
    assert sorted(dead) == ["order 3 died in payment: the card is stolen", "order 4 died in inventory: out of stock"]


@example(queues=["api.calls"])
def rate_limited_worker(stage):
    allowed, window_ms, count = 4, 300, 14
    worker = stage.node("worker.js", allowed, window_ms)
    worker.expect("worker is ready")

    assert stage.node("enqueue.js", count).finish() == [f"enqueued {count} calls"]
    calls = [re.fullmatch(r"call (\d+) at (\d+) ms", line).groups() for line in worker.lines(count)]

    assert [int(number) for number, _ in calls] == list(range(1, count + 1))
    times = [int(at) for _, at in calls]
    for first, beyond in zip(times, times[allowed:]):
        # Both times are rounded.
        assert beyond - first >= window_ms - 1, f"more than {allowed} calls in {window_ms} ms: {times}"


@example(queues=["telemetry.archive", "telemetry.alarm", "telemetry.average.berlin"], exchanges=["telemetry"])
def telemetry(stage):
    programs = CACHE / "rust" / "debug"
    archive = stage.start(programs / "archive", "3")
    alarm = stage.start(programs / "alarm", "80")
    average = stage.start(programs / "average", "berlin")
    for name, consumer in {"archive": archive, "alarm": alarm, "average": average}.items():
        consumer.expect(f"{name} is ready")

    for topic, *values in [
        ("berlin.boiler.temperature", "20", "95", "41"),
        ("oslo.boiler.temperature", "85.5"),
        ("berlin.boiler.pressure", "200"),
        ("berlin.hall.humidity", "40"),
    ]:
        sent = stage.start(programs / "sensor", topic, *values).finish()
        assert sent == [f"sensor sent {len(values)} readings of {topic}"]

    boiler = "berlin.boiler.temperature"
    assert archive.lines(2) == [
        f"archived 3 readings: {boiler}=20 {boiler}=95 {boiler}=41",
        "archived 3 readings: oslo.boiler.temperature=85.5 berlin.boiler.pressure=200 berlin.hall.humidity=40",
    ]
    assert alarm.lines(2) == [f"ALARM {boiler} is 95", "ALARM oslo.boiler.temperature is 85.5"]
    assert average.lines(5) == [
        f"average of {boiler} is 20.00 over 1",
        f"average of {boiler} is 57.50 over 2",
        f"average of {boiler} is 52.00 over 3",
        "average of berlin.boiler.pressure is 200.00 over 1",
        "average of berlin.hall.humidity is 40.00 over 1",
    ]


@example(queues=["video.jobs"])
def video_jobs(stage):
    submitted = stage.python("submit.py", "free:holiday", "plus:talk", "free:cat", "premium:trailer", "premium:film")
    assert len(submitted.finish()) == 5
    encoder = stage.python("encoder.py")

    assert encoder.lines(6) == [
        "encoder is ready",
        "encoding premium trailer",
        "encoding premium film",
        "encoding plus talk",
        "encoding free holiday",
        "encoding free cat",
    ]


def delete(queues, exchanges):
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    for name in queues:
        channel.queue_delete(name)
    for name in exchanges:
        channel.exchange_delete(name)
    connection.close()


def play(name, check, queues, exchanges):
    delete(queues, exchanges)
    try:
        with contextlib.ExitStack() as stack:
            check(Stage(name, stack))
    finally:
        delete(queues, exchanges)


def main():
    wanted = sys.argv[2:]
    passed = failed = 0
    for name, *rest in checks:
        if wanted and name not in wanted:
            continue
        try:
            play(name, *rest)
        except Exception:
            failed += 1
            print(f"  failed {name}")
            print("    " + traceback.format_exc().rstrip().replace("\n", "\n    "))
        else:
            passed += 1
            print(f"  passed {name}")
    print(f"examples: passed={passed} failed={failed} skipped=0")
    return failed > 0


sys.exit(main())
