"""Every path that can be read, of nodes with the same objects: each field that RabbitMQ has is here too.

What RabbitMQ 4.3.6 has was recorded by this program from one that ran (`fields.py record`). A field is a path into the
answer: `[]` is any item of a list; objects whose names somebody chooses are not looked into. What may be missing stands in `allowed.txt`,
with the reason; a line there that allows nothing is named, so that it can go.

And each answer is what `/api/openapi.json` says of its path: fields that are described, of the types that are described.
"""

import json
import os
import pathlib
import re
import struct
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "cli"))

from client import Client  # noqa: E402

HOST = os.environ.get("AMQP_HOST", "127.0.0.1")
AMQP = HOST, int(os.environ["AMQP_PORT"])
API = f"http://{HOST}:{os.environ['MGMT_PORT']}/api"
RECORDED = HERE / "rabbitmq-4.3.6.json"
ALLOWED = HERE / "allowed.txt"
V = "fields-suite"

# What there is on the node while it is looked at.
OBJECTS = [
    ("PUT", f"/vhosts/{V}", {"description": "d", "tags": "a"}),
    ("PUT", f"/permissions/{V}/guest", {"configure": ".*", "write": ".*", "read": ".*"}),
    ("PUT", f"/users/{V}", {"password": "p", "tags": "management"}),
    ("PUT", f"/users/{V}-none", {"password": "p", "tags": "management"}),
    ("PUT", f"/permissions/{V}/{V}", {"configure": ".*", "write": ".*", "read": ".*"}),
    ("PUT", f"/topic-permissions/{V}/{V}", {"exchange": "amq.topic", "write": ".*", "read": ".*"}),
    ("PUT", f"/vhost-limits/{V}/max-queues", {"value": 50}),
    ("PUT", f"/user-limits/{V}/max-channels", {"value": 50}),
    ("PUT", f"/queues/{V}/classic", {"durable": True, "arguments": {"x-max-priority": 3}}),
    ("PUT", f"/queues/{V}/quorum", {"durable": True, "arguments": {"x-queue-type": "quorum"}}),
    ("PUT", f"/queues/{V}/waiting", {"durable": True}),
    ("PUT", f"/exchanges/{V}/x", {"type": "topic"}),
    ("POST", f"/bindings/{V}/e/x/q/classic", {"routing_key": "k"}),
    ("POST", f"/bindings/{V}/e/x/q/quorum", {"routing_key": "k"}),
    ("PUT", f"/policies/{V}/p", {"pattern": ".", "definition": {"max-length": 5}, "apply-to": "queues"}),
    ("PUT", f"/operator-policies/{V}/o", {"pattern": ".", "definition": {"max-length": 5}, "apply-to": "queues"}),
    ("PUT", f"/global-parameters/{V}", {"value": 1}),
]

PATHS = [
    "/overview",
    "/cluster-name",
    "/nodes",
    "/nodes/{node}",
    "/nodes/{node}/memory",
    "/nodes/{node}/memory/relative",
    "/extensions",
    "/definitions",
    "/all-configuration",
    f"/definitions/{V}",
    "/parameters",
    "/global-parameters",
    f"/global-parameters/{V}",
    "/policies",
    f"/policies/{V}",
    f"/policies/{V}/p",
    "/operator-policies",
    f"/operator-policies/{V}",
    f"/operator-policies/{V}/o",
    "/vhost-limits",
    f"/vhost-limits/{V}",
    "/connections",
    "/connections/{connection}",
    "/connections/username/guest",
    "/connections/{connection}/channels",
    f"/vhosts/{V}/connections",
    "/channels",
    "/channels/{channel}",
    f"/vhosts/{V}/channels",
    "/consumers",
    f"/consumers/{V}",
    "/exchanges",
    f"/exchanges/{V}",
    f"/exchanges/{V}/x",
    f"/exchanges/{V}/x/bindings/source",
    f"/exchanges/{V}/x/bindings/destination",
    "/queues",
    "/queues?page=1&page_size=10",
    "/queues/detailed",
    f"/queues/{V}",
    f"/queues/{V}/classic",
    f"/queues/{V}/quorum",
    f"/queues/{V}/classic?lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5",
    f"/queues/{V}/classic/bindings",
    f"/queues/quorum/{V}/quorum/status",
    "/bindings",
    f"/bindings/{V}",
    f"/bindings/{V}/e/x/q/classic",
    f"/bindings/{V}/e/x/q/classic/k",
    "/vhosts",
    f"/vhosts/{V}",
    f"/vhosts/{V}/permissions",
    f"/vhosts/{V}/topic-permissions",
    "/users",
    "/users/without-permissions",
    f"/users/{V}",
    f"/users/{V}/permissions",
    f"/users/{V}/topic-permissions",
    "/user-limits",
    f"/user-limits/{V}",
    "/permissions",
    f"/permissions/{V}/{V}",
    "/topic-permissions",
    f"/topic-permissions/{V}/{V}",
    f"/topic-permissions/{V}/{V}/amq.topic",
    "/feature-flags",
    "/deprecated-features",
    "/deprecated-features/used",
    "/whoami",
    "/version",
    "/auth/attempts/{node}",
    "/auth/attempts/{node}/source",
    "/auth/hash_password/secret",
    "/aliveness-test/%2F",
    "/healthchecks/node",
    "/health/checks/alarms",
    "/health/checks/local-alarms",
    "/health/checks/certificate-expiration/1/weeks",
    "/health/checks/port-listener/{port}",
    "/health/checks/port-listener/1",
    "/health/checks/protocol-listener/amqp",
    "/health/checks/protocol-listener/nosuch",
    "/health/checks/virtual-hosts",
    "/health/checks/node-is-quorum-critical",
    "/health/checks/quorum-queues-without-elected-leaders/all-vhosts",
    f"/health/checks/quorum-queues-without-elected-leaders/vhost/{V}",
    "/health/checks/metadata-store/initialized",
    "/health/checks/metadata-store/initialized/with-data",
    "/health/checks/is-in-service",
    "/health/checks/ready-to-serve-clients",
    "/health/checks/below-node-connection-limit",
    "/health/checks/reached-target-cluster-size",
]

# Paths of ours: they are described, and RabbitMQ has nothing to compare them with.
OURS = [
    f"/leveret/queues/{V}/classic/messages?state=unacked",
    f"/leveret/queues/{V}/quorum/messages?state=unacked",
    f"/leveret/queues/{V}/waiting/messages",
    "/leveret/log",
    "/leveret/audit",
    "/leveret/tls",
    "/leveret/process",
    "/leveret/machine",
    "/leveret/message-sizes",
    "/leveret/certificates",
]

# Objects whose keys are names that somebody chose.
FREE = {
    "arguments",
    "client_properties",
    "cluster_state",
    "definition",
    "effective_policy_definition",
    "garbage_collection",
    "metrics_gc_queue_length",
    "open_files",
    "ra_open_file_metrics",
    "sample_retention_policies",
    "samples",
    "socket_opts",
}


def ask(method, path, body=None):
    request = urllib.request.Request(API + path, None if body is None else json.dumps(body).encode(), method=method)
    request.add_header("Authorization", "Basic " + b64encode(b"guest:guest").decode())
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        text = error.read()
        try:
            return error.code, json.loads(text)
        except ValueError:
            return error.code, None


def fields(value, at=""):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{at}.{name}"
            if name not in FREE:
                yield from fields(inner, f"{at}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from fields(item, f"{at}[]")


def populate():
    clean()
    for method, path, body in OBJECTS:
        status, answer = ask(method, path, body)
        assert status in (201, 204), (method, path, status, answer)
    client = Client(AMQP, V)
    client.send(20, 10, b"\0", channel=1)
    client.expect(20, 11)
    for queue in (b"classic", b"quorum"):
        empty = struct.pack(">I", 0)
        consume = struct.pack(">H", 0) + bytes([len(queue)]) + queue + bytes([len(queue)]) + queue + b"\0" + empty
        client.send(60, 20, consume, channel=1)
        client.expect(60, 21)
    message = {"routing_key": "k", "properties": {"delivery_mode": 2}, "payload": "x", "payload_encoding": "string"}
    for _ in range(2):
        ask("POST", f"/exchanges/{V}/x/publish", message)
    properties = {"priority": 1, "timestamp": 1, "expiration": "600000", "type": "t", "headers": {"h": 1}}
    ask("POST", f"/exchanges/{V}/amq.default/publish", message | {"routing_key": "waiting", "properties": properties})
    return client


def clean():
    ask("DELETE", f"/vhosts/{V}")
    for path in (f"/users/{V}", f"/users/{V}-none", f"/global-parameters/{V}"):
        ask("DELETE", path)


def look():
    """The status and the fields of each path. Those of statistics come with their next sample."""
    names = {}
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        _, connections = ask("GET", f"/vhosts/{V}/connections")
        _, channels = ask("GET", f"/vhosts/{V}/channels")
        _, queue = ask("GET", f"/queues/{V}/classic")
        is_counted = "deliver" in (queue or {}).get("message_stats", {})
        is_idle = channels and "idle_since" in channels[0]
        if connections and is_idle and is_counted and "recv_oct_details" in connections[0]:
            names["connection"] = urllib.request.quote(connections[0]["name"], safe="")
            names["channel"] = urllib.request.quote(channels[0]["name"], safe="")
            break
        time.sleep(0.5)
    assert names, "the client is not in the statistics"
    names["node"], names["port"] = ask("GET", "/overview")[1]["node"], AMQP[1]
    found, answers = {}, {}
    for path in PATHS:
        status, answers[path] = ask("GET", path.format(**names))
        found[path] = {"status": status, "fields": sorted(set(fields(answers[path])))}
    return found, answers


def described(answers):
    """Whether the answers are as the description of the API has them."""
    _, description = ask("GET", "/openapi.json")
    templates = sorted(description["paths"], key=lambda path: path.count("{"))
    answers |= {path: ask("GET", path)[1] for path in OURS}
    failed = 0
    for path, answer in answers.items():
        plain = "/api" + re.sub(r"\{\w+\}", "x", path).split("?")[0]
        template = next(it for it in templates if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", it), plain))
        schema = description["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        wrong = sorted(set(faults(answer, schema, description["components"]["schemas"])))
        failed += bool(wrong)
        if wrong:
            print(f"  FAILED {path} is not as described: {' '.join(wrong)}")
    print(f"description: passed={len(answers) - failed} failed={failed} skipped=0")
    return failed


def faults(value, schema, schemas, at=""):
    if "oneOf" in schema:
        schema = next(it for it in schema["oneOf"] if ("allOf" in it) == isinstance(value, dict))
    if "anyOf" in schema:
        schema = next(it for it in schema["anyOf"] if (it.get("type") == "null") == (value is None))
    if "allOf" in schema:
        page, rows = schema["allOf"]
        yield from faults(value["items"], rows["properties"]["items"], schemas, f"{at}.items")
        schema = page
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rsplit("/", 1)[1]]
    types = schema.get("type", [])
    if types and not any(is_of(value, it) for it in ([types] if isinstance(types, str) else types)):
        yield f"{at}:{json.dumps(value)}"
    elif isinstance(value, list):
        for item in value:
            yield from faults(item, schema.get("items", {}), schemas, f"{at}[]")
    elif isinstance(value, dict) and "properties" in schema:
        for name, inner in value.items():
            if name in schema["properties"]:
                yield from faults(inner, schema["properties"][name], schemas, f"{at}.{name}")
            else:
                yield f"{at}.{name}"


def is_of(value, kind):
    if isinstance(value, bool):
        return kind == "boolean"
    of = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
    return isinstance(value, of.get(kind, ()))


def compare(found):
    recorded = json.loads(RECORDED.read_text())
    allowed = [line.split("#")[0].split() for line in ALLOWED.read_text().splitlines()]
    allowed = [(path, field) for path, field in (it for it in allowed if it)]
    used, passed, failed = set(), 0, 0
    for path in PATHS:
        wanted, got = recorded[path], found[path]
        missing = set(wanted["fields"]) - set(got["fields"])
        if wanted["status"] != got["status"]:
            missing.add(f"status={wanted['status']}")
        left = []
        for field in sorted(missing):
            by = [it for it in allowed if matches(path, it[0]) and matches(in_object(field), it[1])]
            used.update(by)
            if not by:
                left.append(field)
        passed, failed = passed + (not left), failed + bool(left)
        if left:
            print(f"  FAILED {path}: missing {' '.join(left)}")
    for path, field in sorted(set(allowed) - used):
        print(f"  allowed.txt: nothing is missing any more of {path} {field}")
    print(f"fields: passed={passed} failed={failed} skipped=0")
    return failed


def matches(name, pattern):
    """A pattern is a name or the beginning of several, before `*`. (`[]` is not a set of characters.)"""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def in_object(field):
    """A field without the list or the page that its object is in."""
    return field.removeprefix(".items").removeprefix("[]").removeprefix(".")


client = populate()
try:
    found, answers = look()
    wrong = 0 if sys.argv[1:] else described(answers)
finally:
    client.socket.close()
    clean()
if sys.argv[1:] == ["record"]:
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit()
sys.exit(compare(found) + wrong > 0)
