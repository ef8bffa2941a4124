"""What a node with certificates does with clients of all kinds."""

import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from base64 import b64encode

import pika
from pika.exceptions import AMQPError

FOLDER = pathlib.Path(__file__).parent
DEADLINE = 30


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def certificates(folder, user="hare"):
    """Makes an authority and what it signs, among that a certificate of the user."""
    command = [os.environ["LEVERET"], "dev-certs", folder, user]
    subprocess.run(command, check=True, capture_output=True)
    return folder


class Node:
    def __init__(self, folder, settings="", user="hare"):
        self.certificates = certificates(folder / "certificates", user)
        self.port, self.tls_port, self.api_port = free_port(), free_port(), free_port()
        config = folder / "leveret.conf"
        config.write_text(
            f"""
listeners.tcp.1 = 127.0.0.1:{self.port}
listeners.ssl.1 = 127.0.0.1:{self.tls_port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {self.api_port}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {free_port()}
ssl_options.cacertfile = {self.certificates}/ca_certificate.pem
ssl_options.certfile = {self.certificates}/server_certificate.pem
ssl_options.keyfile = {self.certificates}/server_key.pem
ssl_options.verify = verify_peer
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
{settings}
"""
        )
        command = [os.environ["LEVERET"], "run", "--config", config, "--data-dir", folder / "data"]
        self.log = folder / "leveret.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + DEADLINE
        while "started in" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.log.read_text())
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE)

    def context(self, shown=None):
        """What a client trusts and shows."""
        context = ssl.create_default_context(cafile=self.certificates / "ca_certificate.pem")
        if shown:
            context.load_cert_chain(shown / "client_certificate.pem", shown / "client_key.pem")
        return context

    def connect(self, context, credentials=None):
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                "localhost",
                self.tls_port,
                ssl_options=pika.SSLOptions(context, "localhost"),
                credentials=credentials or pika.PlainCredentials("guest", "guest"),
                connection_attempts=1,
            )
        )

    def refuses(self, context, credentials=None):
        try:
            self.connect(context, credentials).close()
        except (AMQPError, OSError):
            return True
        return False

    def shown(self):
        """The certificate that a new client gets to see."""
        with socket.create_connection(("127.0.0.1", self.tls_port), DEADLINE) as plain:
            with self.context().wrap_socket(plain, server_hostname="localhost") as encrypted:
                return encrypted.getpeercert(binary_form=True)

    def s_client(self, *options):
        """What openssl prints of a handshake, and whether it is content."""
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.tls_port}", *map(str, options)]
        done = subprocess.run(command, input="", capture_output=True, text=True, timeout=DEADLINE)
        return done.stdout + done.stderr, done.returncode == 0


def round_trip(connection, size=7):
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", queue, bytes(size))
    _, _, body = channel.basic_get(queue, auto_ack=True)
    assert body == bytes(size)


def test_messages_of_every_size(node):
    connection = node.connect(node.context())
    for size in [0, 1, 16_384, 200_000, 5_000_000]:
        round_trip(connection, size)
    connection.close()


def test_versions(node):
    context = lambda version: ("-CAfile", node.certificates / "ca_certificate.pem", "-verify_return_error", version)
    for version, name in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")]:
        printed, ok = node.s_client(*context(version))
        assert ok and name in printed and "Verify return code: 0 (ok)" in printed, printed
    for version in ["-tls1", "-tls1_1"]:
        printed, ok = node.s_client(*context(version), "-cipher", "ALL:@SECLEVEL=0")
        assert not ok and "SSL alert number" in printed, printed


def test_any_server_name_is_served(node):
    for name in ["localhost", "another.example"]:
        printed, ok = node.s_client("-servername", name)
        assert ok and "BEGIN CERTIFICATE" in printed, printed
    _, ok = node.s_client("-noservername")
    assert ok


def test_certificates_log_their_users_in(node):
    with node_of_hare() as node:
        external = pika.credentials.ExternalCredentials()
        connection = node.connect(node.context(node.certificates), external)
        round_trip(connection)
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"", pika.BasicProperties(user_id="hare"))
        connection.close()
        assert node.refuses(node.context(), external), "EXTERNAL without a certificate"
        with tempfile.TemporaryDirectory() as folder:
            stranger = certificates(pathlib.Path(folder) / "stranger")
            assert node.refuses(node.context(stranger), external), "somebody else has signed it"
            assert node.refuses(node.context(stranger)), "and no password helps"


def test_listings_tell_of_certificates(node):
    with node_of_hare() as node:
        external = pika.credentials.ExternalCredentials()
        connection = node.connect(node.context(node.certificates), external)
        request = urllib.request.Request(f"http://127.0.0.1:{node.api_port}/api/connections")
        request.add_header("Authorization", "Basic " + b64encode(b"hare:never-used").decode())
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            (shown,) = json.load(answer)
        connection.close()
    printed = subprocess.run(
        ["openssl", "x509", "-in", node.certificates / "client_certificate.pem", "-noout"]
        + ["-subject", "-issuer", "-serial", "-dates", "-nameopt", "RFC2253", "-dateopt", "iso_8601"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    told = dict(line.split("=", 1) for line in printed.splitlines())
    moments = [told[name].replace(" ", "T", 1) for name in ("notBefore", "notAfter")]
    assert shown["peer_cert_subject"] == told["subject"], (shown, told)
    assert shown["peer_cert_issuer"] == told["issuer"], (shown, told)
    assert shown["peer_cert_serial_number"].zfill(len(told["serial"])) == told["serial"], (shown, told)
    assert shown["peer_cert_validity"] == " - ".join(moments), (shown, told)
    assert shown["ssl_protocol"] == "tlsv1.3"


def test_users_without_a_name_here_are_refused(node):
    external = pika.credentials.ExternalCredentials()
    assert node.refuses(node.context(node.certificates), external), "there is no user hare"


def node_of_hare(settings=""):
    folder = pathlib.Path(tempfile.mkdtemp(dir=FOLDERS))
    return Node(folder, "default_user = hare\ndefault_pass = never-used\n" + settings)


def test_a_certificate_may_be_asked_of_everybody(node):
    with node_of_hare("ssl_options.fail_if_no_peer_cert = true\nloopback_users = none") as node:
        password = pika.PlainCredentials("hare", "never-used")
        assert node.refuses(node.context(), password)
        node.connect(node.context(node.certificates), password).close()


def test_plain_clients_get_nothing_on_the_port_of_tls(node):
    with socket.create_connection(("127.0.0.1", node.tls_port), DEADLINE) as client:
        client.sendall(b"AMQP\0\0\x09\x01")
        answer = b""
        try:
            while part := client.recv(4096):
                answer += part
        except ConnectionResetError:
            pass
        # At most an alert (RFC 8446, section 6).
        assert answer == b"" or answer[0] == 21, answer
    node.connect(node.context()).close()


def test_clients_of_tls_get_nothing_on_the_plain_port(node):
    context = node.context()
    try:
        with socket.create_connection(("127.0.0.1", node.port), DEADLINE) as plain:
            context.wrap_socket(plain, server_hostname="localhost")
        raise AssertionError("TLS on the plain port")
    except (ssl.SSLError, OSError):
        pass


def test_certificates_are_exchanged_under_open_connections(node):
    for by_signal in [True, False]:
        connection = node.connect(node.context())
        before = node.shown()
        with tempfile.TemporaryDirectory() as folder:
            newer = certificates(pathlib.Path(folder) / "newer")
            for file in newer.iterdir():
                shutil.copy(file, node.certificates / file.name)
        if by_signal:
            node.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                if node.shown() != before:
                    break
            except ssl.SSLError:
                pass  # It still shows what the new authority has not signed.
            assert time.monotonic() < deadline, "the old certificate is still shown"
            time.sleep(0.1)
        round_trip(connection)
        connection.close()
        node.connect(node.context()).close()


def test_cipher_suites_are_those_of_the_configuration(node):
    with node_of_hare("ssl_options.ciphers.1 = ECDHE-ECDSA-AES256-GCM-SHA384") as node:
        printed, ok = node.s_client("-tls1_2")
        assert ok and "ECDHE-ECDSA-AES256-GCM-SHA384" in printed, printed
        _, ok = node.s_client("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")
        assert not ok
        _, ok = node.s_client("-tls1_3")
        assert not ok


def test_the_key_may_be_encrypted(node):
    """The password of the key is itself encrypted, as `rabbitmqctl encrypt_conf_value` of RabbitMQ 4.3.6 does it."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=FOLDERS))
    key = folder / "encrypted.pem"
    plain = certificates(folder / "own")
    convert = ["openssl", "pkcs8", "-topk8", "-in", plain / "server_key.pem", "-out", key, "-passout", "pass:s3cret"]
    subprocess.run(convert, check=True, capture_output=True)
    settings = f"""
ssl_options.certfile = {plain}/server_certificate.pem
ssl_options.keyfile = {key}
ssl_options.password = encrypted:rxATShr2kCDaAO6NLR9CMy13gexdyQ4VKD9jt6rNNsyDKH5y/cWXqjQddlwBBhEL
config_entry_decoder.passphrase = passphrase1
"""
    with node_of_hare(settings) as node:
        printed, ok = node.s_client()
        assert ok and "BEGIN CERTIFICATE" in printed, printed


def test_clients_of_other_languages(node):
    """The Go and Node suites print their own tallies."""
    with Node(pathlib.Path(tempfile.mkdtemp(dir=FOLDERS)), user="guest") as node:
        environment = dict(
            os.environ,
            AMQPS_PORT=str(node.tls_port),
            TLS_FOLDER=str(node.certificates),
            AMQP_HOST="127.0.0.1",
            AMQP_PORT=str(node.port),
            AMQP_URL=f"amqp://guest:guest@127.0.0.1:{node.port}/%2F",
        )
        for language in ["go", "node"]:
            done = subprocess.run([FOLDER.parent / language / "run", "TLS"], env=environment)
            assert done.returncode == 0, f"{language} failed"


def main(wanted):
    global FOLDERS
    tests = {name: test for name, test in globals().items() if name.startswith("test_")}
    passed = failed = 0
    with tempfile.TemporaryDirectory() as FOLDERS:
        with Node(pathlib.Path(tempfile.mkdtemp(dir=FOLDERS))) as node:
            for name, test in tests.items():
                if wanted and not any(word in name for word in wanted):
                    continue
                try:
                    test(node)
                    passed += 1
                except Exception as error:
                    failed += 1
                    line = traceback.extract_tb(error.__traceback__)[1].line
                    print(f"  FAILED {name}: {line}: {type(error).__name__}: {error}")
    print(f"tls: passed={passed} failed={failed} skipped=0")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
