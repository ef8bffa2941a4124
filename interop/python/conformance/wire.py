"""A small AMQP 0-9-1 client that can say anything, right or wrong, and hears exactly what the broker answers.

`Wire` is one socket. `Wire.login()` gives one that has finished the handshake. Methods are written by name with the
arguments that matter, the rest are zero: `wire.call(1, "queue.declare", queue="q", durable=True)`; what comes back is
a `Method` whose arguments are attributes. `send` takes raw bytes for everything that no codec would produce.
"""

import select
import socket
import struct
import time

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
TIMEOUT_S = 15

# Argument types: o octet, h short, l long, L longlong, s shortstr, S longstr, F table, b bit.
METHODS = {
    "connection.start": (10, 10, "major:o minor:o server_properties:F mechanisms:S locales:S"),
    "connection.start-ok": (10, 11, "client_properties:F mechanism:s response:S locale:s"),
    "connection.secure": (10, 20, "challenge:S"),
    "connection.secure-ok": (10, 21, "response:S"),
    "connection.tune": (10, 30, "channel_max:h frame_max:l heartbeat:h"),
    "connection.tune-ok": (10, 31, "channel_max:h frame_max:l heartbeat:h"),
    "connection.open": (10, 40, "vhost:s reserved1:s reserved2:b"),
    "connection.open-ok": (10, 41, "known_hosts:s"),
    "connection.close": (10, 50, "code:h text:s class_id:h method_id:h"),
    "connection.close-ok": (10, 51, ""),
    "connection.blocked": (10, 60, "reason:s"),
    "connection.unblocked": (10, 61, ""),
    "connection.update-secret": (10, 70, "new_secret:S reason:s"),
    "connection.update-secret-ok": (10, 71, ""),
    "channel.open": (20, 10, "reserved:s"),
    "channel.open-ok": (20, 11, "reserved:S"),
    "channel.flow": (20, 20, "active:b"),
    "channel.flow-ok": (20, 21, "active:b"),
    "channel.close": (20, 40, "code:h text:s class_id:h method_id:h"),
    "channel.close-ok": (20, 41, ""),
    "access.request": (30, 10, "realm:s exclusive:b passive:b active:b write:b read:b"),
    "access.request-ok": (30, 11, "ticket:h"),
    "exchange.declare": (
        40,
        10,
        "ticket:h exchange:s type:s passive:b durable:b auto_delete:b internal:b nowait:b arguments:F",
    ),
    "exchange.declare-ok": (40, 11, ""),
    "exchange.delete": (40, 20, "ticket:h exchange:s if_unused:b nowait:b"),
    "exchange.delete-ok": (40, 21, ""),
    "exchange.bind": (40, 30, "ticket:h destination:s source:s routing_key:s nowait:b arguments:F"),
    "exchange.bind-ok": (40, 31, ""),
    "exchange.unbind": (40, 40, "ticket:h destination:s source:s routing_key:s nowait:b arguments:F"),
    "exchange.unbind-ok": (40, 51, ""),
    "queue.declare": (
        50,
        10,
        "ticket:h queue:s passive:b durable:b exclusive:b auto_delete:b nowait:b arguments:F",
    ),
    "queue.declare-ok": (50, 11, "queue:s message_count:l consumer_count:l"),
    "queue.bind": (50, 20, "ticket:h queue:s exchange:s routing_key:s nowait:b arguments:F"),
    "queue.bind-ok": (50, 21, ""),
    "queue.purge": (50, 30, "ticket:h queue:s nowait:b"),
    "queue.purge-ok": (50, 31, "message_count:l"),
    "queue.delete": (50, 40, "ticket:h queue:s if_unused:b if_empty:b nowait:b"),
    "queue.delete-ok": (50, 41, "message_count:l"),
    "queue.unbind": (50, 50, "ticket:h queue:s exchange:s routing_key:s arguments:F"),
    "queue.unbind-ok": (50, 51, ""),
    "basic.qos": (60, 10, "prefetch_size:l prefetch_count:h global_:b"),
    "basic.qos-ok": (60, 11, ""),
    "basic.consume": (
        60,
        20,
        "ticket:h queue:s consumer_tag:s no_local:b no_ack:b exclusive:b nowait:b arguments:F",
    ),
    "basic.consume-ok": (60, 21, "consumer_tag:s"),
    "basic.cancel": (60, 30, "consumer_tag:s nowait:b"),
    "basic.cancel-ok": (60, 31, "consumer_tag:s"),
    "basic.publish": (60, 40, "ticket:h exchange:s routing_key:s mandatory:b immediate:b"),
    "basic.return": (60, 50, "code:h text:s exchange:s routing_key:s"),
    "basic.deliver": (60, 60, "consumer_tag:s delivery_tag:L redelivered:b exchange:s routing_key:s"),
    "basic.get": (60, 70, "ticket:h queue:s no_ack:b"),
    "basic.get-ok": (60, 71, "delivery_tag:L redelivered:b exchange:s routing_key:s message_count:l"),
    "basic.get-empty": (60, 72, "reserved:s"),
    "basic.ack": (60, 80, "delivery_tag:L multiple:b"),
    "basic.reject": (60, 90, "delivery_tag:L requeue:b"),
    "basic.recover-async": (60, 100, "requeue:b"),
    "basic.recover": (60, 110, "requeue:b"),
    "basic.recover-ok": (60, 111, ""),
    "basic.nack": (60, 120, "delivery_tag:L multiple:b requeue:b"),
    "confirm.select": (85, 10, "nowait:b"),
    "confirm.select-ok": (85, 11, ""),
    "tx.select": (90, 10, ""),
    "tx.select-ok": (90, 11, ""),
    "tx.commit": (90, 20, ""),
    "tx.commit-ok": (90, 21, ""),
    "tx.rollback": (90, 30, ""),
    "tx.rollback-ok": (90, 31, ""),
}
BY_ID = {(class_id, method_id): name for name, (class_id, method_id, _) in METHODS.items()}
CARRIES_CONTENT = {"basic.return", "basic.deliver", "basic.get-ok"}

PROPERTIES = [
    ("content_type", "s"), ("content_encoding", "s"), ("headers", "F"), ("delivery_mode", "o"),
    ("priority", "o"), ("correlation_id", "s"), ("reply_to", "s"), ("expiration", "s"),
    ("message_id", "s"), ("timestamp", "L"), ("type", "s"), ("user_id", "s"), ("app_id", "s"),
    ("cluster_id", "s"),
]  # fmt: skip

NUMBERS = {"b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q", "T": ">Q", "f": ">f", "d": ">d"}


class Typed:
    """A table value under a letter of our choice: `Typed("s", 5)` is a 16-bit 5."""

    def __init__(self, letter, value):
        self.letter, self.value = letter, value

    def __eq__(self, other):
        return isinstance(other, Typed) and (self.letter, self.value) == (other.letter, other.value)

    def __repr__(self):
        return f"{self.letter}:{self.value!r}"


class Disconnected(Exception):
    """The broker has closed the socket."""


class Silence(Exception):
    """Nothing came before the deadline."""


class Method:
    def __init__(self, name, channel, arguments):
        self.name, self.channel, self.arguments = name, channel, arguments
        self.properties, self.body = None, None

    def __getattr__(self, name):
        try:
            return self.__dict__["arguments"][name]
        except KeyError:
            raise AttributeError(f"{self!r} has no {name}") from None

    def __repr__(self):
        return f"<{self.name} on {self.channel}: {self.arguments} {(self.body or b'')[:40]}>"


# -- encoding ---------------------------------------------------------------------------------------------------------


def shortstr(text):
    raw = text.encode() if isinstance(text, str) else text
    return bytes([len(raw)]) + raw


def longstr(text):
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack(">I", len(raw)) + raw


def field(value):
    if isinstance(value, Typed):
        letter, value = value.letter, value.value
        if letter in NUMBERS:
            return letter.encode() + struct.pack(NUMBERS[letter], value)
        if letter == "D":
            return b"D" + struct.pack(">Bi", *value)
        if letter in "Sx":
            return letter.encode() + longstr(value)
        return letter.encode() + value  # A letter that does not exist, with whatever bytes follow.
    if value is None:
        return b"V"
    if isinstance(value, bool):
        return b"t" + bytes([value])
    if isinstance(value, int):
        return b"I" + struct.pack(">i", value) if -(2**31) <= value < 2**31 else b"l" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"d" + struct.pack(">d", value)
    if isinstance(value, (str, bytes)):
        return b"S" + longstr(value)
    if isinstance(value, dict):
        return b"F" + table(value)
    if isinstance(value, list):
        return b"A" + longstr(b"".join(field(item) for item in value))
    raise TypeError(value)


def table(fields):
    return longstr(b"".join(shortstr(name) + field(value) for name, value in fields.items()))


def arguments_bytes(layout, values):
    out, bits, bit = bytearray(), 0, 0
    unknown = set(values) - {item.split(":")[0] for item in layout.split()}
    if unknown:
        raise TypeError(f"no such argument: {unknown}")
    for item in layout.split():
        name, kind = item.split(":")
        value = values.get(name)
        if kind == "b":
            bits |= bool(value) << bit
            bit += 1
            continue
        if bit:
            out.append(bits)
            bits, bit = 0, 0
        out += argument(kind, value)
    if bit:
        out.append(bits)
    return bytes(out)


def argument(kind, value):
    if kind == "s":
        return shortstr(value or "")
    if kind == "S":
        return longstr(value or "")
    if kind == "F":
        return longstr(value) if isinstance(value, bytes) else table(value or {})
    return struct.pack({"o": ">B", "h": ">H", "l": ">I", "L": ">Q"}[kind], value or 0)


def frame(kind, channel, payload, end=FRAME_END):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


def method_frame(channel, name, **values):
    class_id, method_id, layout = METHODS[name]
    return frame(METHOD, channel, struct.pack(">HH", class_id, method_id) + arguments_bytes(layout, values))


def header_frame(channel, size, class_id=60, weight=0, **properties):
    flags, out = 0, b""
    for index, (name, kind) in enumerate(PROPERTIES):
        if properties.get(name) is not None:
            flags |= 1 << (15 - index)
            out += argument(kind, properties[name])
    return frame(HEADER, channel, struct.pack(">HHQH", class_id, weight, size, flags) + out)


def content_frames(channel, body, frame_max=131072, **properties):
    out, room = header_frame(channel, len(body), **properties), frame_max - 8
    for start in range(0, len(body), room):
        out += frame(BODY, channel, body[start : start + room])
    return out


# -- decoding ---------------------------------------------------------------------------------------------------------


class Reader:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, count):
        assert self.at + count <= len(self.raw), f"the broker sent a short value: {self.raw!r}"
        self.at += count
        return self.raw[self.at - count : self.at]

    def unpack(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def argument(self, kind):
        if kind == "s":
            return text(self.take(self.unpack(">B")))
        if kind == "S":
            return text(self.take(self.unpack(">I")))
        if kind == "F":
            return Reader(self.take(self.unpack(">I"))).fields()
        return self.unpack({"o": ">B", "h": ">H", "l": ">I", "L": ">Q"}[kind])

    def fields(self):
        out = {}
        while self.at < len(self.raw):
            name = self.argument("s")
            out[name] = self.field()
        return out

    def field(self):
        letter = chr(self.take(1)[0])
        if letter == "t":
            return bool(self.take(1)[0])
        if letter == "V":
            return None
        if letter == "S":
            return text(self.take(self.unpack(">I")))
        if letter == "x":
            return Typed("x", self.take(self.unpack(">I")))
        if letter == "F":
            return self.argument("F")
        if letter == "A":
            inner, out = Reader(self.take(self.unpack(">I"))), []
            while inner.at < len(inner.raw):
                out.append(inner.field())
            return out
        if letter == "D":
            return Typed("D", struct.unpack(">Bi", self.take(5)))
        value = self.unpack(NUMBERS[letter])
        return value if letter in "Id" else Typed(letter, value)  # As `field` writes plain numbers.


def text(raw):
    """Strings are text where they can be; a test that sends other bytes gets them back as they are."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return bytes(raw)


def decode_method(channel, payload):
    reader = Reader(payload)
    ids = (reader.unpack(">H"), reader.unpack(">H"))
    assert ids in BY_ID, f"the broker sent an unknown method {ids}"
    name = BY_ID[ids]
    values, bits, bit = {}, 0, 8
    for item in METHODS[name][2].split():
        argument_name, kind = item.split(":")
        if kind != "b":
            bit = 8
            values[argument_name] = reader.argument(kind)
            continue
        if bit == 8:
            bits, bit = reader.unpack(">B"), 0
        values[argument_name] = bool(bits >> bit & 1)
        bit += 1
    assert reader.at == len(payload), f"{name} has {len(payload) - reader.at} bytes too many"
    return Method(name, channel, values)


def decode_header(payload):
    reader = Reader(payload)
    class_id, weight, size, flags = (reader.unpack(form) for form in (">H", ">H", ">Q", ">H"))
    assert (class_id, weight) == (60, 0)
    properties = {}
    for index, (name, kind) in enumerate(PROPERTIES):
        if flags >> (15 - index) & 1:
            properties[name] = reader.argument(kind)
    return size, properties


# -- the client -------------------------------------------------------------------------------------------------------


class Wire:
    def __init__(self, host, port, timeout=TIMEOUT_S, receive_buffer=None):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = bytearray()
        self.waiting = []  # Methods read while another channel was asked for.
        self.heartbeats = 0
        self.tune = None
        self.start = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # Writing.

    def send(self, raw):
        self.socket.sendall(raw)

    def send_method(self, channel, name, **values):
        self.send(method_frame(channel, name, **values))

    def publish(self, channel, body=b"", exchange="", routing_key="", mandatory=False, immediate=False, **properties):
        self.send(
            method_frame(
                channel, "basic.publish",
                exchange=exchange, routing_key=routing_key, mandatory=mandatory, immediate=immediate,
            )
            + content_frames(channel, body, **properties)
        )  # fmt: skip

    # Reading.

    def read_bytes(self, count, deadline=None):
        deadline = deadline or time.monotonic() + self.timeout
        while len(self.buffer) < count:
            self._fill(deadline)
        out = bytes(self.buffer[:count])
        del self.buffer[:count]
        return out

    def _fill(self, deadline):
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not select.select([self.socket], [], [], remaining)[0]:
            raise Silence("nothing came from the broker")
        try:
            chunk = self.socket.recv(65536)
        except ConnectionResetError:
            raise Disconnected("connection reset") from None
        if not chunk:
            raise Disconnected("connection closed")
        self.buffer += chunk

    def read_frame(self, deadline=None):
        """(type, channel, payload). Raises Silence with the buffer intact when a whole frame does not come in time."""
        deadline = deadline or time.monotonic() + self.timeout
        while len(self.buffer) < 7 or len(self.buffer) < 8 + struct.unpack(">I", self.buffer[3:7])[0]:
            self._fill(deadline)
        kind, channel, size = struct.unpack(">BHI", self.read_bytes(7))
        payload = self.read_bytes(size)
        assert self.read_bytes(1) == b"\xce", "the broker's frame has a wrong end octet"
        return kind, channel, payload

    def read(self, channel=None, timeout=None):
        """The next method on `channel` (any when None), with its content."""
        for index, method in enumerate(self.waiting):
            if channel is None or method.channel == channel:
                return self.waiting.pop(index)
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            method = self._read_method(deadline)
            if channel is None or method.channel == channel or method.name == "connection.close":
                return method
            self.waiting.append(method)

    def _read_method(self, deadline):
        kind, channel, payload = self.read_frame(deadline)
        while kind == HEARTBEAT:
            self.heartbeats += 1
            kind, channel, payload = self.read_frame(deadline)
        assert kind == METHOD, f"expected a method frame, the broker sent type {kind}"
        method = decode_method(channel, payload)
        if method.name in CARRIES_CONTENT:
            kind, same, payload = self.read_frame(deadline)
            assert (kind, same) == (HEADER, channel)
            size, method.properties = decode_header(payload)
            method.body = b""
            while len(method.body) < size:
                kind, same, payload = self.read_frame(deadline)
                assert (kind, same) == (BODY, channel)
                method.body += payload
        return method

    def call(self, channel, name, **values):
        """Sends and gives what comes back on that channel, be it the answer or a close."""
        self.send_method(channel, name, **values)
        return self.read(channel)

    def ask(self, channel, name, **values):
        """`call` that insists on the method's own answer."""
        answer = self.call(channel, name, **values)
        wanted = ["basic.get-ok", "basic.get-empty"] if name == "basic.get" else [name + "-ok"]
        assert answer.name in wanted, f"{name} was answered by {answer!r}"
        return answer

    def assert_silent(self, seconds=0.3):
        """Nothing comes for a while; the one place where only the passing of time can tell."""
        try:
            method = self.read(timeout=seconds)
        except Silence:
            return
        raise AssertionError(f"unexpected {method!r}")

    def assert_eof(self, timeout=None):
        """The broker closes the socket, whatever it still had to say."""
        deadline = time.monotonic() + (timeout or self.timeout)
        try:
            while True:
                self._fill(deadline)
                self.buffer.clear()
        except Disconnected:
            pass

    # The handshake, in steps and whole.

    def begin(self, header=PROTOCOL_HEADER):
        self.send(header)
        self.start = self.read(0)
        assert self.start.name == "connection.start"
        return self.start

    def authenticate(self, user="guest", password="guest", mechanism="PLAIN", response=None, properties=None):
        if response is None:
            response = f"\0{user}\0{password}"
        if properties is None:
            properties = {"product": "wire", "capabilities": CAPABILITIES}
        return self.call(
            0, "connection.start-ok",
            client_properties=properties, mechanism=mechanism, response=response, locale="en_US",
        )  # fmt: skip

    def accept_tune(self, tune, channel_max=None, frame_max=None, heartbeat=0):
        self.tune = tune
        self.send_method(
            0, "connection.tune-ok",
            channel_max=tune.channel_max if channel_max is None else channel_max,
            frame_max=tune.frame_max if frame_max is None else frame_max,
            heartbeat=heartbeat,
        )  # fmt: skip

    def login(self, vhost="/", channels=(1,), properties=None, user="guest", password="guest", **tune):
        self.begin()
        answer = self.authenticate(user=user, password=password, properties=properties)
        assert answer.name == "connection.tune", answer
        self.accept_tune(answer, **tune)
        answer = self.call(0, "connection.open", vhost=vhost)
        assert answer.name == "connection.open-ok", answer
        for channel in channels:
            self.ask(channel, "channel.open")
        return self


CAPABILITIES = {
    "publisher_confirms": True,
    "exchange_exchange_bindings": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}
