#!/usr/bin/env python3
"""Definitions from one broker to another, object by object.

    definitions.py check             everything below, against the HTTP API at AMQP_HOST:MGMT_PORT; prints a tally
    definitions.py record HOST:PORT  makes OBJECTS on a RabbitMQ, as far as it knows them, writes what it exports beside
                                     this script, cleans up
    definitions.py upgrade HOST:PORT imports what others have written into a RabbitMQ, and writes what it exports then

`written/*.json` are what RabbitMQ exported, of the version that we are like and of older ones: each is imported and
exported again, and has to be the same, or for the older ones what RabbitMQ made of it (`upgraded/*.json`). OBJECTS are made
by the API, exported and imported again. With RABBITMQ_MGMT=HOST:PORT the broker's export goes into that RabbitMQ, and what
it exports then is compared, too; without it that part is skipped. `refused/*.json` are documents that RabbitMQ refuses
(`text`: in these words), among them what older versions wrote: they have to be refused, and to change nothing.
"""

import base64
import json
import os
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).parent
MARK = "defs"
VHOSTS = [f"{MARK}-one", f"{MARK}/two"]
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
HASHES = {
    # Of `guest` with the salt 01 02 03 04.
    "rabbit_password_hashing_sha256": "AQIDBEMMOXwY6PKx/JKP9PAqfsb4ozuD0Ta3pxxa9gEYBMmD",
    "rabbit_password_hashing_sha512": "AQIDBANSvkE51MvG7pNDq4NjmP8SFay7rWsolg//30q7jnApCiuE049JxchapptDh7ryvu/VdvUXYHbwdpa9veVAv14=",
    "rabbit_password_hashing_md5": "AQIDBH/JkOf0oGZ5yhQgSBXkHS0=",
}


class Api:
    def __init__(self, address):
        self.base = f"http://{address}/api"

    def ask(self, method, path, body=None):
        request = urllib.request.Request(self.base + path, method=method)
        request.add_header("authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        request.add_header("content-type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def do(self, method, path, body=None):
        status, text = self.ask(method, path, body)
        if status >= 300:
            raise AssertionError(f"{method} {path}: {status} {text.decode()}")
        return json.loads(text) if text else None


def q(name):
    return urllib.parse.quote(name, safe="")


def objects():
    """Requests that make an object of every kind."""
    one, two = VHOSTS
    yield "PUT", f"/vhosts/{q(one)}", {"description": "the first", "tags": ["a", "b"], "default_queue_type": "quorum"}
    yield "PUT", f"/vhosts/{q(two)}", {"description": "mit Ümlaut", "tags": [], "protected_from_deletion": False}
    for algorithm, hashed in HASHES.items():
        user = f"{MARK}-{algorithm[24:]}"
        yield "PUT", f"/users/{user}", {"password_hash": hashed, "hashing_algorithm": algorithm, "tags": "monitoring,mine"}
        yield "PUT", f"/permissions/{q(one)}/{user}", {"configure": "^$", "write": "^a|b$", "read": ".*"}
    yield "PUT", f"/users/{MARK}-certificate", {"password_hash": "", "tags": ""}
    yield "PUT", f"/user-limits/{MARK}-md5/max-connections", {"value": 7}
    yield "PUT", f"/user-limits/{MARK}-md5/max-channels", {"value": -1}
    yield "PUT", f"/topic-permissions/{q(one)}/{MARK}-md5", {"exchange": "amq.topic", "write": "^{username}", "read": "^x\\.{vhost}"}
    yield "PUT", f"/topic-permissions/{q(one)}/{MARK}-sha256", {"exchange": "", "write": "^", "read": "$"}
    for vhost in VHOSTS:
        yield "PUT", f"/permissions/{q(vhost)}/guest", EVERYTHING
    yield "PUT", f"/vhost-limits/{q(two)}/max-queues", {"value": 100}
    yield "PUT", f"/vhost-limits/{q(two)}/max-connections", {"value": -1}
    yield "PUT", f"/global-parameters/{MARK}", {"value": {"a": [1, 2.5, None, True], "b": {"c": "d"}}}

    policies = {
        "all": {"pattern": ".*", "definition": {"max-length": 10}, "priority": -1},
        "classic": {"pattern": "^c\\.", "apply-to": "classic_queues", "definition": {"expires": 3600000, "queue-version": 2}},
        "quorum": {"pattern": "^q", "apply-to": "quorum_queues", "priority": 3, "definition": {
            "delivery-limit": 5, "dead-letter-strategy": "at-least-once", "overflow": "reject-publish", "dead-letter-exchange": "x"}},
        "exchanges": {"pattern": "^x", "apply-to": "exchanges", "definition": {"alternate-exchange": "amq.fanout"}},
        "lazy": {"pattern": "^lazy", "apply-to": "queues", "definition": {"queue-mode": "lazy"}},
        "ttl ü": {"pattern": "ü", "apply-to": "queues", "definition": {"message-ttl": 0, "max-length-bytes": 1 << 40}},
    }
    for name, policy in policies.items():
        yield "PUT", f"/policies/{q(one)}/{q(name)}", policy
    yield "PUT", f"/operator-policies/{q(one)}/cap", {
        "pattern": ".*", "apply-to": "queues", "priority": 1, "definition": {"max-length": 1000, "expires": 7200000}}

    exchanges = {
        "x.direct": {"type": "direct"}, "x.fanout": {"type": "fanout", "durable": False},
        "x.topic": {"type": "topic"}, "x.internal": {"type": "fanout", "internal": True}, "x.headers": {"type": "headers", "auto_delete": True},
        "x.ae": {"type": "direct", "arguments": {"alternate-exchange": "x.fanout"}},
        "x.hash": {"type": "x-consistent-hash", "arguments": {"hash-header": "h"}},
        "x.random": {"type": "x-random"}, "x.modulus": {"type": "x-modulus-hash"},
        "x.local": {"type": "x-local-random"}, "x.history": {"type": "x-recent-history", "arguments": {"x-recent-history-length": 3}},
    }
    for name, exchange in exchanges.items():
        yield "PUT", f"/exchanges/{q(one)}/{q(name)}", {"durable": True} | exchange
    queues = {
        "c.plain": {"arguments": {"x-queue-type": "classic"}},
        "c.all": {"arguments": {
            "x-queue-type": "classic", "x-message-ttl": 1000, "x-expires": 100000, "x-max-length": 5, "x-max-length-bytes": 500,
            "x-overflow": "reject-publish", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "c.plain", "x-max-priority": 5,
            "x-queue-mode": "lazy", "x-queue-version": 2, "x-single-active-consumer": True, "x-queue-leader-locator": "client-local"}},
        "c.gone": {"durable": True, "auto_delete": True, "arguments": {"x-queue-type": "classic"}},
        "c.transient": {"durable": False},
        "q.default": {},
        "q.all": {"arguments": {
            "x-queue-type": "quorum", "x-delivery-limit": 3, "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
            "x-dead-letter-exchange": "x.direct", "x-quorum-initial-group-size": 1, "x-quorum-target-group-size": 1,
            "x-max-in-memory-length": 10, "x-queue-leader-locator": "balanced", "x-single-active-consumer": True}},
        "ü q/?#": {"arguments": {"x-queue-type": "classic", "unknown": {"a": [1, "b"]}}},
    }
    for name, queue in queues.items():
        yield "PUT", f"/queues/{q(one)}/{q(name)}", {"durable": True} | queue
    yield "PUT", f"/queues/{q(two)}/c.plain", {"durable": True}

    def bind(source, kind, destination, key="", **arguments):
        body = {"routing_key": key, "arguments": arguments}
        return "POST", f"/bindings/{q(one)}/e/{q(source)}/{kind}/{q(destination)}", body

    yield bind("x.direct", "q", "c.plain", "key")
    yield bind("x.direct", "q", "ü q/?#", "schlüssel/#")
    yield bind("x.topic", "q", "c.plain", "a.*.#")
    yield bind("x.headers", "q", "c.plain", **{"x-match": "any", "format": "pdf", "pages": 5, "new": True})
    yield bind("x.headers", "e", "x.fanout", **{"x-match": "all-with-x", "x-a": "b"})
    yield bind("x.direct", "e", "x.topic", "to.topic")
    yield bind("x.hash", "q", "c.plain", "3")
    yield bind("amq.fanout", "q", "q.all", note="mine")
    yield bind("x.fanout", "q", "c.transient")


def clean(api):
    for vhost in VHOSTS:
        api.ask("DELETE", f"/vhosts/{q(vhost)}")
    for user in [*(f"{MARK}-{algorithm[24:]}" for algorithm in HASHES), f"{MARK}-certificate"]:
        api.ask("DELETE", f"/users/{user}")
    api.ask("DELETE", f"/global-parameters/{MARK}")


def make(api, may_refuse=False):
    clean(api)
    for method, path, body in objects():
        status, text = api.ask(method, path, body)
        if status >= 300:
            refused = f"{method} {path}: {status} {text.decode()}"
            if not may_refuse:
                raise AssertionError(refused)
            print(f"left out: {refused}")


def exported(api):
    """What is ours of an export, by category and name. The order of lists means nothing."""
    document = api.do("GET", "/definitions")
    own = {}
    for category in ("users", "vhosts", "permissions", "topic_permissions", "parameters", "global_parameters",
                     "policies", "exchanges", "queues", "bindings"):
        own[category] = {key(it): it for it in document[category] if is_own(it)}
    return own


def is_own(it):
    return it.get("vhost", "").startswith(MARK) or it.get("vhost") is None and it["name"].startswith(MARK)


def key(it):
    names = ("name", "user", "vhost", "exchange", "component", "source", "destination_type", "destination", "routing_key")
    return json.dumps([it.get(name) for name in names] + [it.get("arguments") if "source" in it else None])


def document(own, version="4.3.6"):
    head = {"rabbit_version": version, "rabbitmq_version": version, "rabbitmq_definition_format": "cluster"}
    return head | {category: list(items.values()) for category, items in own.items()}


def differences(before, after):
    for category, items in before.items():
        for name in items.keys() | after[category].keys():
            wanted, found = items.get(name), after[category].get(name)
            if wanted != found:
                yield f"{category}: {wanted} became {found}"


def record(address):
    api = Api(address)
    try:
        make(api, may_refuse=True)
        version = api.do("GET", "/overview")["rabbitmq_version"]
        write(HERE / "written" / f"rabbitmq-{version}.json", exported(api), version)
    finally:
        clean(api)


def upgrade(address):
    """What the RabbitMQ there makes of the definitions of other versions."""
    api = Api(address)
    version = api.do("GET", "/overview")["rabbitmq_version"]
    try:
        for file in sorted((HERE / "written").glob("*.json")):
            if file.stem != f"rabbitmq-{version}":
                own = through(api, by_name(file))
                write(HERE / "upgraded" / file.name, own, version)
    finally:
        clean(api)


def write(file, own, version):
    file.write_text(json.dumps(document(own, version), indent=1, ensure_ascii=False) + "\n")
    print(file)


def by_name(file):
    written = json.loads(file.read_text())
    return {name: {key(it): it for it in items} for name, items in written.items() if isinstance(items, list)}


def through(api, own):
    """What comes of it when it is imported into a broker that has none of it."""
    clean(api)
    api.do("POST", "/definitions", document(own))
    return exported(api)


def but_internal(own):
    """Without internal exchanges, of which RabbitMQ 4.3 exports none."""
    exchanges = {name: it for name, it in own["exchanges"].items() if not it.get("internal")}
    return own | {"exchanges": exchanges}


class Tally:
    passed = failed = skipped = 0

    def check(self, name, found):
        found = list(found)
        for line in found[:20]:
            print(f"  {name}: {line}")
        self.failed += bool(found)
        self.passed += not found


def refusals(api):
    for file in sorted((HERE / "refused").glob("*.json")):
        case = json.loads(file.read_text())
        before = api.do("GET", "/definitions")
        status, text = api.ask("POST", "/definitions", case["definitions"])
        found = []
        if status != 400 or words(json.loads(text)["reason"]) != words(case["text"]):
            found.append(f"{status} {text.decode()}")
        if is_atomic(api) and api.do("GET", "/definitions") != before:
            found.append("something has changed")
        clean(api)
        yield file.name, found


def words(text):
    """RabbitMQ breaks long terms into lines."""
    return "".join(text.split())


def is_atomic(api):
    """RabbitMQ leaves what came before the object that it refuses."""
    return api.do("GET", "/overview")["product_name"] != "RabbitMQ"


def check():
    api = Api(f"{os.environ['AMQP_HOST']}:{os.environ['MGMT_PORT']}")
    tally = Tally()
    try:
        for file in sorted((HERE / "written").glob("*.json")):
            own = by_name(file)
            upgraded = HERE / "upgraded" / file.name
            wanted = by_name(upgraded) if upgraded.exists() else own
            tally.check(file.name, differences(wanted, but_internal(through(api, own))))
        make(api)
        own = exported(api)
        tally.check("what was made, exported and imported", differences(own, through(api, own)))
        if other := os.environ.get("RABBITMQ_MGMT"):
            rabbit = Api(other)
            try:
                own = but_internal(own)
                tally.check("into a RabbitMQ", differences(own, through(rabbit, own)))
            finally:
                clean(rabbit)
        else:
            print("definitions: no RABBITMQ_MGMT, nothing goes into a RabbitMQ")
            tally.skipped += 1
        for name, found in refusals(api):
            tally.check(name, found)
    finally:
        clean(api)
    print(f"definitions: passed={tally.passed} failed={tally.failed} skipped={tally.skipped}")
    return tally.failed > 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", address]:
            record(address)
        case ["upgrade", address]:
            upgrade(address)
        case ["check"] | []:
            sys.exit(check())
        case _:
            sys.exit(__doc__)
