"""The same random session against two brokers, step by step: the first answer that differs is a bug, or a difference to
write down.

    differential.py HOST:PORT HOST:PORT [--seed N] [--steps N] [--sessions N]

Everything is drawn from the seed, so that a failure can be played again.
"""

import argparse
import random
import re
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "conformance"))

from wire import Disconnected, Silence, Wire  # noqa: E402, found by the line before.

SETTLE_S = 0.06
QUEUES, EXCHANGES, KEYS = 4, 3, ["", "a", "b", "a.b", "a.#", "*", "q0", "q1"]
ARGUMENTS = [
    {},
    {},
    {},
    {"x-max-length": 3},
    {"x-max-length": 2, "x-overflow": "reject-publish"},
    {"x-max-length-bytes": 20},
    {"x-max-priority": 3},
    {"x-dead-letter-exchange": "x0"},
    {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q0"},
    {"x-max-length": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q1"},
    {"x-max-length": 1, "x-overflow": "reject-publish-dlx", "x-dead-letter-exchange": "x1"},
    {"x-single-active-consumer": True},
    {"x-message-ttl": 0},
    {"x-message-ttl": "nonsense"},
    {"x-delivery-limit": 2},
    {"x-unheard-of": 1},
]
BINDING_ARGUMENTS = [{}, {}, {}, {"x-match": "any", "h": 1}, {"x-match": "all", "h": 1, "i": "x"}, {"x-match": "?"}]
HEADERS = [None, None, {}, {"h": 1}, {"h": 1, "i": "x"}, {"CC": ["q0"]}, {"CC": ["q1", "a"], "BCC": ["q2"]}]


class Side:
    """One broker: a connection with two channels, put up again whenever an error takes it."""

    def __init__(self, address, prefix, kind):
        host, port = address.rsplit(":", 1)
        self.address, self.prefix, self.kind = (host, int(port)), prefix, kind
        self.connect()

    def connect(self):
        self.wire = Wire(*self.address).login(channels=(1, 2), heartbeat=0)
        for channel in (1, 2):
            self.wire.ask(channel, "confirm.select")

    def step(self, action):
        """Does `action` and gives everything that came of it, fit for comparison: the deliveries of each consumer and
        the other methods of each channel, in order. A request that changes nothing goes after it, so that we know when
        the broker is through; what queues do on their own gets a moment more."""
        action(self.wire, self.prefix)
        for channel in (1, 2):
            self.wire.send_method(channel, "access.request")
        heard, through = {}, set()
        try:
            while True:
                method = self.wire.read(timeout=SETTLE_S if through >= {1, 2} else 10)
                if method.name in ("access.request-ok", "confirm.select-ok"):
                    through.add(method.channel)
                if method.name == "connection.close":
                    through = {1, 2}
                if method.name == "access.request-ok":
                    continue
                stream = (method.channel, method.consumer_tag if method.name == "basic.deliver" else "")
                heard.setdefault(stream, []).append(self.plain(method))
                self.recover(method)
        except Silence:
            pass
        except Disconnected:
            heard[0, ""] = ["dropped"]
            self.connect()
        return heard

    def recover(self, method):
        if method.name == "channel.close":
            self.wire.send_method(method.channel, "channel.close-ok")
            self.wire.send_method(method.channel, "channel.open")
            self.wire.send_method(method.channel, "confirm.select")
        elif method.name == "connection.close":
            self.wire.send_method(0, "connection.close-ok")
            self.wire.socket.close()
            self.connect()

    def plain(self, method):
        if method.name in ("basic.ack", "basic.nack"):
            return method.name, method.delivery_tag  # Each publish is waited for, so that `multiple` means nothing.
        arguments, properties = self.canonical(method.arguments), self.canonical(method.properties)
        if self.kind == "quorum":
            arguments.pop("consumer_count", None)  # RabbitMQ counts an unacknowledged basic.get.
            headers = (properties or {}).get("headers", {})
            if "x-death" in headers:  # RabbitMQ's counts go on from the queue before.
                headers.pop("x-delivery-count", None)
                headers.pop("x-acquired-count", None)
        return method.name, arguments, properties, method.body

    def canonical(self, value):
        """Without what must differ: the session's prefix, generated names, times; headers in any order."""
        if isinstance(value, dict):
            return {name: self.canonical(item) for name, item in sorted(value.items()) if name != "time"}
        if isinstance(value, list):
            return [self.canonical(item) for item in value]
        if isinstance(value, str):
            return re.sub(r"(amq\.gen-|amq\.ctag-)[\w-]{22}", r"\1", value.replace(self.prefix, ""))
        return value


class Session:
    """Draws the steps. It knows no more of the brokers' state than which delivery tags may be open."""

    def __init__(self, seed, kind):
        self.random, self.kind = random.Random(seed), kind
        self.tags = {1: 0, 2: 0}
        self.consumers = 0

    def next(self):
        steps = {
            self.declare: 3, self.declare_exchange: 2, self.bind: 4, self.unbind: 1, self.bind_exchange: 1,
            self.publish: 16, self.get: 6, self.settle: 8, self.consume: 2, self.cancel: 1, self.qos: 1,
            self.purge: 1, self.delete: 1, self.delete_exchange: 1, self.recover: 1, self.reopen: 1, self.look: 2,
        }  # fmt: skip
        step = self.random.choices(list(steps), list(steps.values()))[0]
        return step()

    def pick(self, values):
        return self.random.choice(values)

    def queue(self):
        return f"q{self.random.randrange(QUEUES)}"

    def exchange(self):
        return f"x{self.random.randrange(EXCHANGES)}"

    def channel(self):
        return self.pick([1, 1, 1, 2])

    def call(self, method, channel=None, **arguments):
        """A step that calls one method; names of queues and exchanges get the session's prefix."""
        channel = channel or self.channel()

        def prefixed(value, prefix):
            if isinstance(value, str) and re.fullmatch(r"[qx]\d", value):
                return prefix + value
            if isinstance(value, dict):
                return {name: prefixed(item, prefix) for name, item in value.items()}
            return value

        def action(wire, prefix):
            values = {name: prefixed(value, prefix) for name, value in arguments.items()}
            wire.send_method(channel, method, **values)

        return f"{channel} {method} {arguments}", action

    def declare(self):
        arguments = {**self.pick(ARGUMENTS)}
        if self.kind == "quorum":
            arguments["x-queue-type"] = "quorum"
            arguments.pop("x-max-length", None)  # RabbitMQ's quorum queues may overshoot their limits for a while.
            arguments.pop("x-max-length-bytes", None)
        flags = {"durable": self.random.random() < 0.95, "auto_delete": self.random.random() < 0.05}
        return self.call("queue.declare", queue=self.queue(), arguments=arguments, **flags)

    def look(self):
        return self.call("queue.declare", queue=self.queue(), passive=True)

    def declare_exchange(self):
        kind = self.pick(["direct", "fanout", "topic", "headers", "direct", "topic"])
        arguments = self.pick([{}, {}, {"alternate-exchange": self.exchange()}])
        return self.call("exchange.declare", exchange=self.exchange(), type=kind, arguments=arguments)

    def binding(self):
        arguments = self.pick(BINDING_ARGUMENTS)
        return {"exchange": self.exchange(), "routing_key": self.pick(KEYS), "arguments": arguments}

    def bind(self):
        return self.call("queue.bind", queue=self.queue(), **self.binding())

    def unbind(self):
        return self.call("queue.unbind", queue=self.queue(), **self.binding())

    def bind_exchange(self):
        method = self.pick(["exchange.bind", "exchange.bind", "exchange.unbind"])
        binding = self.binding()
        return self.call(method, destination=self.exchange(), source=binding.pop("exchange"), **binding)

    def publish(self):
        channel, body = self.channel(), b"%d" % self.random.randrange(1000)
        exchange, key = self.pick(["", "", *(f"x{n}" for n in range(EXCHANGES))]), self.pick(KEYS)
        if exchange == "":
            key = self.queue()
        mandatory = self.random.random() < 0.3
        properties = {
            "headers": self.pick(HEADERS),
            "priority": self.pick([None, None, 0, 1, 2, 9]),
            "expiration": self.pick([None] * 8 + ["600000"]),
            "delivery_mode": self.pick([None, 1, 2]),
        }

        def action(wire, prefix):
            def name(plain):
                return prefix + plain if re.fullmatch(r"[qx]\d", plain) else plain

            sent = dict(properties)
            if sent["headers"]:
                sent["headers"] = {
                    header: [name(item) for item in value] if isinstance(value, list) else value
                    for header, value in sent["headers"].items()
                }
            wire.publish(
                channel, body, exchange=exchange and name(exchange), routing_key=name(key), mandatory=mandatory, **sent
            )

        described = {name: value for name, value in properties.items() if value is not None}
        return f"{channel} basic.publish {exchange!r} {key!r} {mandatory=} {described} {body}", action

    def get(self):
        return self.call("basic.get", queue=self.queue(), no_ack=self.random.random() < 0.3)

    def settle(self):
        """Mostly of a tag that is open: the caller tells which were delivered."""
        channel = self.channel()
        tag = self.random.randint(0, self.tags[channel]) if self.random.random() < 0.9 else self.random.randrange(100)
        multiple, requeue = self.random.random() < 0.2, self.random.random() < 0.5
        if tag == 0:
            multiple = True
        return self.pick(
            [
                self.call("basic.ack", channel, delivery_tag=tag, multiple=multiple),
                self.call("basic.nack", channel, delivery_tag=tag, multiple=multiple, requeue=requeue),
                self.call("basic.reject", channel, delivery_tag=max(tag, 1), requeue=requeue),
            ]
        )

    def consume(self):
        self.consumers += 1
        flags = {"no_ack": self.random.random() < 0.3, "exclusive": self.random.random() < 0.1}
        priority = self.pick([{}, {}, {"x-priority": 5}])
        return self.call(
            "basic.consume", queue=self.queue(), consumer_tag=f"c{self.consumers}", arguments=priority, **flags
        )

    def cancel(self):
        return self.call("basic.cancel", consumer_tag=f"c{self.random.randint(0, self.consumers)}")

    def qos(self):
        return self.call("basic.qos", prefetch_count=self.pick([0, 1, 2, 5]))

    def recover(self):
        return self.call("basic.recover", requeue=True)

    def purge(self):
        return self.call("queue.purge", queue=self.queue())

    def delete(self):
        conditions = {"if_empty": self.random.random() < 0.3, "if_unused": self.random.random() < 0.3}
        return self.call("queue.delete", queue=self.queue(), **(conditions if self.kind == "classic" else {}))

    def delete_exchange(self):
        return self.call("exchange.delete", exchange=self.exchange(), if_unused=self.random.random() < 0.5)

    def reopen(self):
        channel = self.channel()

        def action(wire, prefix):
            wire.send_method(channel, "channel.close", code=200, text="")
            wire.read(channel)
            wire.send_method(channel, "channel.open")
            wire.send_method(channel, "confirm.select")

        return f"{channel} channel.close, channel.open", action

    def learn(self, heard):
        """Notes the delivery tags that came, so that the next steps can settle them."""
        for (channel, _), methods in heard.items():
            for name, arguments, *_ in methods:
                if name in ("channel.open-ok", "connection.close"):
                    self.tags[channel or 1] = 0
                elif name in ("basic.deliver", "basic.get-ok"):
                    self.tags[channel] = arguments["delivery_tag"]


def clean(sides):
    for side in sides:
        side.wire.socket.close()
        with Wire(*side.address) as wire:
            wire.login()
            for number in range(QUEUES):
                wire.ask(1, "queue.delete", queue=f"{side.prefix}q{number}")
            for number in range(EXCHANGES):
                wire.ask(1, "exchange.delete", exchange=f"{side.prefix}x{number}")


def play(addresses, seed, steps, kind):
    """Gives the step at which the brokers part, None when they never do."""
    sides = [Side(address, f"d{uuid.uuid4().hex[:6]}.", kind) for address in addresses]
    session, history = Session(seed, kind), []
    try:
        for number in range(steps):
            described, action = session.next()
            history.append(described)
            heard = [side.step(action) for side in sides]
            if heard[0] != heard[1]:
                print(f"seed {seed} ({kind}) parts at step {number}: {described}")
                for address, what in zip(addresses, heard, strict=True):
                    print(f"  {address}:")
                    for stream, methods in sorted(what.items()):
                        print(*(f"    {stream} {method}" for method in methods), sep="\n")
                print("  before:", *history[-12:-1], sep="\n    ", flush=True)
                return number
            session.learn(heard[0])
    finally:
        clean(sides)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("brokers", nargs=2, metavar="HOST:PORT")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--kind", choices=["classic", "quorum"], default="classic")
    arguments = parser.parse_args()
    began, parted = time.monotonic(), 0
    for seed in range(arguments.seed, arguments.seed + arguments.sessions):
        parted += play(arguments.brokers, seed, arguments.steps, arguments.kind) is not None
    print(f"{arguments.sessions} sessions, {parted} parted, {time.monotonic() - began:.0f} s")
    return parted > 0


if __name__ == "__main__":
    sys.exit(main())
