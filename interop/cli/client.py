"""As much of a client of AMQP 0-9-1 as a test of the tools needs, without a library."""

import socket
import struct


class Client:
    """A connection of AMQP 0-9-1 that is open, and does nothing."""

    def __init__(self, address, vhost, user="guest", password="guest"):
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.sendall(b"AMQP\0\0\x09\x01")
        self.expect(10, 10)
        response = b"\0" + user.encode() + b"\0" + password.encode()
        mechanism = bytes([5]) + b"PLAIN"
        locale = bytes([5]) + b"en_US"
        table = struct.pack(">I", 0)
        self.send(10, 11, table + mechanism + struct.pack(">I", len(response)) + response + locale)
        self.expect(10, 30)
        self.send(10, 31, struct.pack(">HIH", 2047, 131072, 0))
        self.send(10, 40, bytes([len(vhost)]) + vhost.encode() + b"\0\0")
        self.expect(10, 41)

    def send(self, class_, method, arguments, channel=0):
        payload = struct.pack(">HH", class_, method) + arguments
        self.socket.sendall(struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce")

    def expect(self, class_, method):
        """The arguments of the next method, which is this one."""
        while True:
            kind, _, size = struct.unpack(">BHI", self.read(7))
            payload = self.read(size + 1)
            if kind == 1:
                assert struct.unpack(">HH", payload[:4]) == (class_, method), payload
                return payload[4:-1]

    def read(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            assert piece, "the connection was closed"
            data += piece
        return data
