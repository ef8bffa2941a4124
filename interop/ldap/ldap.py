"""Who comes in and what they may do, as a directory says: a real slapd and a node that asks it."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from base64 import b64encode

import pika
from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker, ProbableAuthenticationError

SCHEMA = pathlib.Path("/etc/ldap/schema")
MODULES = "/usr/lib/ldap"
PEOPLE = """
dn: dc=hares
objectClass: dcObject
objectClass: organization
o: hares
dc: hares

dn: ou=people,dc=hares
objectClass: organizationalUnit
ou: people

dn: ou=field,ou=people,dc=hares
objectClass: organizationalUnit
ou: field

dn: ou=groups,dc=hares
objectClass: organizationalUnit
ou: groups

dn: cn=alice,ou=people,dc=hares
objectClass: inetOrgPerson
cn: alice
sn: Liddell
uid: al
mail: alice@hares
description: ^alice
userPassword: sesame-alice

dn: cn=bob,ou=field,ou=people,dc=hares
objectClass: inetOrgPerson
cn: bob
sn: Builder
uid: bo
userPassword: sesame-bob

dn: cn=O\\2CNeil\\, jr,ou=people,dc=hares
objectClass: inetOrgPerson
cn: O,Neil, jr
sn: O'Neil
userPassword: sesame-oneil

dn: cn=reader,dc=hares
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: sesame-reader

dn: cn=users,ou=groups,dc=hares
objectClass: groupOfNames
cn: users
member: cn=alice,ou=people,dc=hares
member: cn=bob,ou=field,ou=people,dc=hares

dn: cn=writers,ou=groups,dc=hares
objectClass: groupOfNames
cn: writers
member: cn=alice,ou=people,dc=hares

dn: cn=staff,ou=groups,dc=hares
objectClass: groupOfNames
cn: staff
member: cn=writers,ou=groups,dc=hares
member: cn=everybody,ou=groups,dc=hares

dn: cn=everybody,ou=groups,dc=hares
objectClass: groupOfNames
cn: everybody
member: cn=staff,ou=groups,dc=hares
"""

SECRETS = ["sesame-alice", "sesame-bob", "sesame-reader", "guessed-by-nobody"]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port, process):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on {port}")


def end(process):
    process.send_signal(signal.SIGTERM)
    process.wait(30)


class Directory:
    """An LDAP server with PEOPLE in it."""

    def __init__(self, folder, certificates):
        self.port, self.tls_port = free_port(), free_port()
        data = folder / "slapd"
        data.mkdir()
        schemas = "\n".join(f"include {SCHEMA}/{name}.schema" for name in ["core", "cosine", "inetorgperson"])
        self.config = folder / "slapd.conf"
        self.config.write_text(
            f"""{schemas}
modulepath {MODULES}
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCACertificateFile {certificates}/ca_certificate.pem
TLSCertificateFile {certificates}/server_certificate.pem
TLSCertificateKeyFile {certificates}/server_key.pem
database mdb
suffix "dc=hares"
directory {data}
rootdn "cn=root,dc=hares"
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=reader,dc=hares" read by users read by anonymous search
"""
        )
        people = folder / "people.ldif"
        people.write_text(PEOPLE)
        tool = [os.environ["SLAPD"], "-T", "add", "-f", self.config, "-l", people]
        subprocess.run(tool, check=True, capture_output=True)
        self.start()

    def start(self):
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        command = [os.environ["SLAPD"], "-f", self.config, "-h", urls, "-d", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port, self.process)

    def stop(self):
        end(self.process)


class Node:
    """Leveret, with a configuration."""

    def __init__(self, folder, settings):
        self.port, self.http_port = free_port(), free_port()
        config = folder / "leveret.conf"
        config.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.http_port}\n"
            f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {free_port()}\n"
            "log.level = debug\n" + settings
        )
        self.log = folder / "leveret.log"
        command = [os.environ["LEVERET"], "run", "--config", config, "--data-dir", folder / "data"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self.port, self.process)

    def connect(self, user, password):
        parameters = pika.ConnectionParameters(
            "127.0.0.1", self.port, credentials=pika.PlainCredentials(user, password), socket_timeout=30
        )
        return pika.BlockingConnection(parameters)

    def knows(self, user, password):
        try:
            self.connect(user, password).close()
        except (ProbableAuthenticationError, AMQPConnectionError):
            return False
        return True

    def whoami(self, user, password):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}/api/whoami")
        credentials = b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {credentials}")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            return str(error.code)

    def may(self, user, password, step):
        """Whether the channel survives a step."""
        connection = self.connect(user, password)
        try:
            step(connection.channel())
        except ChannelClosedByBroker as refusal:
            assert refusal.reply_code == 403, refusal
            return False
        finally:
            connection.close()
        return True


class World:
    def __init__(self, folder):
        self.folder = folder
        self.certificates = folder / "certificates"
        subprocess.run(
            [os.environ["LEVERET"], "dev-certs", self.certificates], check=True, capture_output=True
        )
        self.directory = Directory(folder, self.certificates)

    @contextlib.contextmanager
    def node(self, settings, port=None):
        """A node that asks the directory; in its log there is nobody's password."""
        base = f"auth_backends.1 = ldap\nauth_ldap.servers.1 = 127.0.0.1\nauth_ldap.timeout = 10000\n"
        base += f"auth_ldap.port = {port or self.directory.port}\n"
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            node = Node(pathlib.Path(folder), base + settings)
            try:
                yield node
            finally:
                end(node.process)
            log = node.log.read_text()
            found = [secret for secret in SECRETS if secret in log]
            assert not found, f"in the log: {found}"


BY_NAME = "auth_ldap.user_dn_pattern = cn=${username},ou=people,dc=hares\n"


def test_a_name_and_password_that_the_server_takes(world):
    with world.node(BY_NAME) as node:
        assert node.knows("alice", "sesame-alice")
        assert not node.knows("alice", "guessed-by-nobody")
        assert not node.knows("alice", "")
        assert not node.knows("nobody", "sesame-alice")
        assert not node.knows("guest", "guest")
        assert node.knows("O,Neil, jr", "sesame-oneil")
        assert not node.knows("bob,ou=field", "sesame-bob"), "names are no parts of a distinguished name"


def test_users_are_found_by_an_attribute(world):
    lookup = "auth_ldap.dn_lookup_attribute = uid\nauth_ldap.dn_lookup_base = ou=people,dc=hares\n"
    reader = "auth_ldap.dn_lookup_bind.user_dn = cn=reader,dc=hares\nauth_ldap.dn_lookup_bind.password = sesame-reader\n"
    with world.node(lookup + reader) as node:
        assert node.knows("al", "sesame-alice")
        assert node.knows("bo", "sesame-bob")
        assert not node.knows("b*", "sesame-bob"), "a name is no pattern"
        assert not node.knows("bo", "sesame-alice")
        assert not node.knows("alice", "sesame-alice")
    with world.node(lookup + reader.replace("sesame-reader", "guessed-by-nobody")) as node:
        assert not node.knows("al", "sesame-alice")
    with world.node(lookup + "auth_ldap.dn_lookup_bind = anon\n") as node:
        assert not node.knows("al", "guessed-by-nobody")


def test_queries_decide(world):
    queries = """
auth_ldap.group_lookup_base = ou=groups,dc=hares
auth_ldap.queries.vhost_access = {in_group, "cn=users,ou=groups,dc=hares"}
auth_ldap.queries.resource_access = '''
  {for, [
    {permission, configure, {in_group_nested, "cn=everybody,ou=groups,dc=hares"}},
    {permission, write, {'or', [
      {resource, queue, {constant, true}},
      {in_group, "cn=writers,ou=groups,dc=hares"}]}},
    {permission, read, {match, {string, "${name}"}, {attribute, "${user_dn}", "description"}}}]}.
'''
auth_ldap.queries.topic_access = {match, {string, "${routing_key}"}, {string, "^${username}\\\\."}}
auth_ldap.queries.tags = [{management, {in_group, "cn=writers,ou=groups,dc=hares"}}, {administrator, {constant, false}}]
"""
    queries = queries.replace("{resource, queue, {constant, true}},\n", "")
    with world.node(BY_NAME + queries) as node:
        may = lambda step: node.may("alice", "sesame-alice", step)
        assert may(lambda channel: channel.queue_declare("alice-q"))
        assert may(lambda channel: channel.queue_purge("alice-q"))
        assert may(lambda channel: channel.queue_declare("other"))
        assert not may(lambda channel: channel.queue_purge("other")), "its name is not like her attribute says"

        def publish(key):
            def step(channel):
                channel.confirm_delivery()
                channel.basic_publish("amq.topic", key, b"")

            return step

        assert may(publish("alice.a"))
        assert not may(publish("bob.a"))
        assert '"management"' in node.whoami("alice", "sesame-alice")
        assert not node.knows("O,Neil, jr", "sesame-oneil"), "not in the group of the vhost"


def test_queries_are_asked_as_configured(world):
    query = 'auth_ldap.queries.vhost_access = {in_group, "cn=users,ou=groups,dc=hares"}\n'
    reader = "auth_ldap.other_bind.user_dn = cn=reader,dc=hares\nauth_ldap.other_bind.password = sesame-reader\n"
    with world.node(BY_NAME + query + reader) as node:
        assert node.knows("alice", "sesame-alice")
        assert not node.knows("alice", "guessed-by-nobody")
    with world.node(BY_NAME + query + reader.replace("sesame-reader", "guessed-by-nobody")) as node:
        assert not node.knows("alice", "sesame-alice")


def test_tls_is_used_and_certificates_are_checked(world):
    ours = f"auth_ldap.ssl_options.cacertfile = {world.certificates}/ca_certificate.pem\n"
    starttls, ssl = "auth_ldap.use_starttls = true\n", "auth_ldap.use_ssl = true\n"
    for way, port in [(starttls, world.directory.port), (ssl, world.directory.tls_port)]:
        with world.node(BY_NAME + way + ours, port) as node:
            assert node.knows("alice", "sesame-alice")
        with world.node(BY_NAME + way, port) as node:
            assert not node.knows("alice", "sesame-alice"), "nobody knows who has signed"
        with world.node(BY_NAME + way + "auth_ldap.ssl_options.verify = verify_none\n", port) as node:
            assert node.knows("alice", "sesame-alice")


def test_a_server_may_go_away_and_come_back(world):
    with world.node(BY_NAME) as node:
        assert node.knows("alice", "sesame-alice")
        world.directory.stop()
        assert not node.knows("alice", "sesame-alice")
        world.directory.start()
        assert node.knows("alice", "sesame-alice")


def test_the_next_server_is_asked(world):
    with world.node(BY_NAME + "auth_ldap.servers.0 = 127.0.0.9\n") as node:
        assert node.knows("alice", "sesame-alice")


def test_answers_are_kept(world):
    cache = "auth_cache.cached_backend = ldap\nauth_cache.cache_ttl = 60000\n"
    cache += 'auth_ldap.queries.resource_access = {in_group, "cn=users,ou=groups,dc=hares"}\n'
    settings = BY_NAME + "auth_backends.1 = cache\n" + cache
    declare = lambda channel: channel.queue_declare("q")
    with world.node(settings) as node:
        assert node.may("alice", "sesame-alice", declare)
        world.directory.stop()
        try:
            assert node.may("alice", "sesame-alice", declare)
            assert not node.knows("alice", "guessed-by-nobody")
        finally:
            world.directory.start()


def test_the_catalogue_may_say_what_they_may_do(world):
    settings = "auth_backends.1.authn = ldap\nauth_backends.1.authz = internal\n"
    with world.node(BY_NAME + settings) as node:
        assert not node.knows("alice", "sesame-alice"), "the catalogue does not know her"
    settings += "default_user = alice\ndefault_pass = another\n"
    with world.node(BY_NAME + settings) as node:
        assert node.knows("alice", "sesame-alice")
        assert not node.knows("alice", "another")
        assert '"administrator"' in node.whoami("alice", "sesame-alice"), "its tags count as well"


def main(wanted):
    tests = {name: test for name, test in globals().items() if name.startswith("test_")}
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        world = World(pathlib.Path(folder))
        try:
            for name, test in tests.items():
                if wanted and not any(word in name for word in wanted):
                    continue
                try:
                    test(world)
                    passed += 1
                except Exception as error:
                    failed += 1
                    line = traceback.extract_tb(error.__traceback__)[1].line
                    print(f"  FAILED {name}: {line}: {type(error).__name__}: {error}")
        finally:
            world.directory.stop()
    print(f"ldap: passed={passed} failed={failed} skipped=0")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
