"""Each command of the tools once and more against a node, with what it prints and its exit code.

What is expected is what the tools of RabbitMQ 4.3 print. The same lines run against RabbitMQ's HTTP API and ours; where a
command needs a path of `/api/leveret` that RabbitMQ does not have, the line says so and is left out there.
"""

import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from urllib.parse import quote, unquote, urlsplit

API = urlsplit(os.environ["HTTP_API"])
AMQP = os.environ["AMQP_HOST"], int(os.environ["AMQP_PORT"])
VHOST = "cli-suite"
TOOLS = {
    "rabbitmqctl": "ctl",
    "rabbitmq-diagnostics": "diagnostics",
    "rabbitmq-queues": "queues",
    "rabbitmq-streams": "streams",
    "rabbitmq-plugins": "plugins",
    "rabbitmq-upgrade": "upgrade",
}
ALREADY = object()  # for tests that look at nothing but the exit code

passed = failed = skipped = 0


def api(method, path, body=None):
    """The status and the value of a request to the node's API."""
    request = urllib.request.Request(
        f"http://{API.hostname}:{API.port}/api{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
    )
    credentials = f"{unquote(API.username)}:{unquote(API.password)}"
    request.add_header("Authorization", "Basic " + b64encode(credentials.encode()).decode())
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return response.status, json.loads(text) if text and is_json else None
    except urllib.error.HTTPError as error:
        return error.code, None


def run(line, stdin=""):
    """Standard output and error, and the exit code. A word may stand in quotes."""
    words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]
    environment = dict(os.environ, LEVERET_CTL_URL=os.environ["HTTP_API"], RABBITMQ_NODENAME=NODE)
    done = subprocess.run(
        [os.environ["LEVERET"], TOOLS[words[0]], *words[1:]],
        input=stdin,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout, done.stderr, done.returncode


def report(name, complaint):
    global passed, failed
    if complaint:
        failed += 1
        print(f"  FAILED {name}\n    {complaint}")
    else:
        passed += 1


def check(line, out=ALREADY, err=None, code=0, stdin=""):
    """Runs a line. `out` and `err` are texts, patterns, or functions that say whether it is right."""
    got_out, got_err, got_code = run(line, stdin)
    if err is None:
        err = "" if code == 0 else ALREADY
    complaints = [
        f"{what}: expected {wanted!r}\n    got {got!r}"
        for what, wanted, got in (("stdout", out, got_out), ("stderr", err, got_err), ("code", code, got_code))
        if not is_right(wanted, got)
    ]
    report(line, "\n    ".join(complaints))


def is_right(wanted, got):
    if wanted is ALREADY:
        return True
    if isinstance(wanted, re.Pattern):
        return bool(wanted.search(got))
    if callable(wanted):
        return bool(wanted(got))
    return wanted == got


def check_if(is_offered, line, *arguments, **options):
    """A line that needs a path that not every node has."""
    global skipped
    if is_offered:
        check(line, *arguments, **options)
    else:
        skipped += 1


class Client:
    """A connection of AMQP 0-9-1 that is open, and does nothing."""

    def __init__(self, vhost):
        self.socket = socket.create_connection(AMQP, timeout=10)
        self.socket.sendall(b"AMQP\0\0\x09\x01")
        self.expect(10, 10)
        user, password = unquote(API.username).encode(), unquote(API.password).encode()
        response = b"\0" + user + b"\0" + password
        mechanism = bytes([5]) + b"PLAIN"
        locale = bytes([5]) + b"en_US"
        table = struct.pack(">I", 0)
        self.send(10, 11, table + mechanism + struct.pack(">I", len(response)) + response + locale)
        self.expect(10, 30)
        self.send(10, 31, struct.pack(">HIH", 2047, 131072, 0))
        self.send(10, 40, bytes([len(vhost)]) + vhost.encode() + b"\0\0")
        self.expect(10, 41)

    def send(self, class_, method, arguments):
        payload = struct.pack(">HH", class_, method) + arguments
        self.socket.sendall(struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce")

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


def eventually(condition):
    """What the API tells of connections may be some seconds old."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)


def rows(*lines):
    """Whether these are among the lines, whatever else the node has."""
    return lambda text: all(line in text.split("\n") for line in lines)


def users():
    check("rabbitmqctl add_user cli-ann secret", re.compile(r'^Adding user "cli-ann" \.\.\.\nDone\. Don\'t forget'))
    check("rabbitmqctl add_user cli-ann secret", code=70, err='Error:\nUser "cli-ann" already exists\n')
    check("rabbitmqctl -q add_user cli-bob", "Password: \n", stdin="secret\n")
    check("rabbitmqctl add_user cli-eve", code=65, err="Error:\nPassword is not provided via argument or stdin\n")
    check("rabbitmqctl add_user", code=64, err=re.compile("^Error \\(argument validation\\): not enough arguments"))
    check("rabbitmqctl authenticate_user cli-ann secret", 'Authenticating user "cli-ann" ...\nSuccess\n')
    check(
        "rabbitmqctl authenticate_user cli-ann wrong",
        code=65,
        err="Error:\nError: failed to authenticate user \"cli-ann\"\nuser 'cli-ann' - invalid credentials\n",
    )
    check("rabbitmqctl change_password cli-ann other", 'Changing password for user "cli-ann" ...\n')
    check("rabbitmqctl authenticate_user cli-ann other")
    check("rabbitmqctl change_password cli-no one", code=67, err='Error:\nUser "cli-no" does not exist\n')
    check(
        "rabbitmqctl set_user_tags cli-ann monitoring policymaker",
        'Setting tags for user "cli-ann" to [monitoring, policymaker] ...\n',
    )
    check("rabbitmqctl authenticate_user cli-ann other")
    check("rabbitmqctl set_user_tags cli-no management", code=67)
    check("rabbitmqctl list_users", rows("Listing users ...", "user\ttags", "cli-ann\t[monitoring, policymaker]"))
    check("rabbitmqctl list_users -s", lambda text: "user\ttags" not in text and "cli-bob\t[]" in text)
    check(
        "rabbitmqctl list_users --formatter json",
        lambda text: {"user": "cli-ann", "tags": ["monitoring", "policymaker"]} in json.loads(text),
    )
    check("rabbitmqctl list_users extra", code=64, err=re.compile("too many arguments"))
    check("rabbitmqctl set_user_limits cli-ann '{\"max-channels\":10}'")
    check(
        "rabbitmqctl list_user_limits --user cli-ann",
        'Listing limits for user "cli-ann" ...\n{"max-channels":10}\n',
    )
    check("rabbitmqctl list_user_limits --global", rows("user\tlimits", 'cli-ann\t{"max-channels":10}'))
    check("rabbitmqctl set_user_limits cli-ann '{\"nosuch\":5}'", code=69)
    check("rabbitmqctl set_user_limits cli-ann nojson", code=69, err=re.compile("Could not parse JSON document"))
    check("rabbitmqctl clear_user_limits cli-ann all", 'Clearing all limits for user "cli-ann" ...\n')
    check("rabbitmqctl clear_password cli-ann")
    check("rabbitmqctl authenticate_user cli-ann other", code=65)
    check("rabbitmqctl add_user cli-eve secret -q", "")
    check("rabbitmqctl delete_user cli-eve", 'Deleting user "cli-eve" ...\n')
    check("rabbitmqctl delete_user cli-eve", 'Deleting user "cli-eve" ...\n')
    check("rabbitmqctl hash_password foo", re.compile(r"^Will hash password foo\n[A-Za-z0-9+/]{48}\n$"))


def permissions():
    check(f"rabbitmqctl set_permissions -p {VHOST} cli-ann ^c ^w ^r")
    check(f"rabbitmqctl set_permissions -p {VHOST} cli-no . . .", code=67, err="Error:\nUser cli-no does not exist\n")
    check("rabbitmqctl set_permissions -p cli-no cli-ann . . .", code=69, err="Error:\nVirtual host cli-no does not exist\n")
    check(f"rabbitmqctl set_permissions -p {VHOST} cli-ann ( . .", code=69, err=re.compile("invalid.regexp"))
    check(
        f"rabbitmqctl list_permissions -p {VHOST}",
        rows(f'Listing permissions for vhost "{VHOST}" ...', "user\tconfigure\twrite\tread", "cli-ann\t^c\t^w\t^r"),
    )
    check("rabbitmqctl list_user_permissions cli-ann -s", f"{VHOST}\t^c\t^w\t^r\n")
    check("rabbitmqctl list_user_permissions cli-no", code=69)
    check("rabbitmqctl list_permissions -p cli-no", code=65, err="Virtual host 'cli-no' does not exist\n")
    check(f"rabbitmqctl set_topic_permissions -p {VHOST} cli-ann amq.topic ^w ^r")
    check(
        f"rabbitmqctl set_topic_permissions -p {VHOST} cli-ann cli-no . .",
        code=69,
        err="Error:\nExchange cli-no does not exist\n",
    )
    check(
        f"rabbitmqctl list_topic_permissions -p {VHOST} -q",
        rows("user\texchange\twrite\tread", "cli-ann\tamq.topic\t^w\t^r"),
    )
    check("rabbitmqctl list_user_topic_permissions cli-ann -q", f"{VHOST}\tamq.topic\t^w\t^r\n")
    check(f"rabbitmqctl clear_topic_permissions -p {VHOST} cli-ann amq.topic")
    check("rabbitmqctl list_user_topic_permissions cli-ann -q", "")
    check(f"rabbitmqctl clear_permissions -p {VHOST} cli-ann")
    check(f"rabbitmqctl clear_permissions -p {VHOST} cli-ann")
    check("rabbitmqctl set_permissions_globally cli-bob ^a ^b ^c")
    check("rabbitmqctl list_user_permissions cli-bob -q", rows(f"{VHOST}\t^a\t^b\t^c"))


def vhosts():
    check("rabbitmqctl add_vhost cli-v --description d --tags x,y --default-queue-type quorum")
    check("rabbitmqctl add_vhost cli-v")
    check(
        "rabbitmqctl list_vhosts name description tags default_queue_type tracing",
        rows("name\tdescription\ttags\tdefault_queue_type\ttracing", "cli-v\td\t[x, y]\tquorum\tfalse"),
    )
    check("rabbitmqctl add_vhost cli-w --default-queue-type nosuch", code=65)
    check("rabbitmqctl update_vhost_metadata cli-v --description e", 'Updating metadata of vhost "cli-v" ...\n')
    check("rabbitmqctl set_vhost_tags cli-v z")
    check("rabbitmqctl list_vhosts -q name description tags", rows("cli-v\te\t[z]"))
    check("rabbitmqctl update_vhost_metadata cli-v", code=64)
    check("rabbitmqctl update_vhost_metadata cli-no -d x", code=65, err="Virtual host 'cli-no' does not exist\n")
    check("rabbitmqctl set_vhost_limits -p cli-v '{\"max-queues\":5,\"max-connections\":9}'")
    check("rabbitmqctl set_vhost_limits -p cli-v '{\"max-queues\":6}'")
    check("rabbitmqctl list_vhost_limits -p cli-v -q", '{"max-queues":6}\n')
    check("rabbitmqctl list_vhost_limits --global -q", rows("vhost\tlimits", 'cli-v\t{"max-queues":6}'))
    check("rabbitmqctl set_vhost_limits -p cli-v '{\"nosuch\":5}'", code=69, err=re.compile("Unrecognised (terms|limit)"))
    check("rabbitmqctl clear_vhost_limits -p cli-v")
    check("rabbitmqctl clear_vhost_limits -p cli-v", code=69, err="Error:\nParameter does not exist\n")
    check("rabbitmqctl trace_on -p cli-v", re.compile("Trace enabled for vhost cli-v\n$"))
    check("rabbitmqctl list_vhosts -q name tracing", rows("cli-v\ttrue"))
    check("rabbitmqctl trace_off -p cli-v", re.compile("Trace disabled for vhost cli-v\n$"))
    check("rabbitmqctl restart_vhost -p cli-v", re.compile(f"Vhost 'cli-v' is already running on node '{NODE}'\n$"))
    check("rabbitmqctl enable_vhost_deletion_protection cli-v")
    check("rabbitmqctl delete_vhost cli-v", code=65, err=re.compile("^Error:\nCannot delete this virtual host"))
    check("rabbitmqctl disable_vhost_deletion_protection cli-v")
    check("rabbitmqctl delete_vhost cli-v", 'Deleting vhost "cli-v" ...\n')
    check("rabbitmqctl delete_vhost cli-v", code=65, err="Virtual host 'cli-v' does not exist\n")


def policies_and_parameters():
    check(
        f"rabbitmqctl set_policy -p {VHOST} p1 ^q '{{\"max-length\":50}}' --apply-to queues --priority 3",
        f'Setting policy "p1" for pattern "^q" to "{{"max-length":50}}" with priority "3" for vhost "{VHOST}" ...\n',
    )
    row = f'{VHOST}\tp1\t^q\tqueues\t{{"max-length":50}}\t3'
    check(f"rabbitmqctl list_policies -p {VHOST}", rows("vhost\tname\tpattern\tapply-to\tdefinition\tpriority", row))
    check(f"rabbitmq-diagnostics list_policies_that_match -p {VHOST} q1 -s", f"{row}\n")
    check(f"rabbitmqctl set_policy -p {VHOST} p2 ^q '{{\"nosuch\":5}}'", code=69, err=re.compile("not recognised policy settings"))
    check(f"rabbitmqctl set_policy -p {VHOST} p2 ^q nojson", code=69)
    check("rabbitmqctl set_policy -p cli-no p2 ^q '{\"max-length\":5}'", code=65, err="Virtual host 'cli-no' does not exist\n")
    check(f"rabbitmqctl set_policy -p {VHOST} p2", code=64)
    check(f"rabbitmqctl set_operator_policy -p {VHOST} o1 ^q '{{\"max-length\":40}}' --apply-to queues")
    check(f"rabbitmqctl list_operator_policies -p {VHOST} -s", f'{VHOST}\to1\t^q\tqueues\t{{"max-length":40}}\t0\n')
    check(f"rabbitmqctl list_parameters -p {VHOST} -q", rows("component\tname\tvalue"))
    check(f"rabbitmqctl clear_operator_policy -p {VHOST} o1")
    check(f"rabbitmqctl clear_operator_policy -p {VHOST} o1", code=69, err="Error:\nParameter does not exist\n")
    check(f"rabbitmqctl clear_policy -p {VHOST} p1")
    check(f"rabbitmqctl clear_policy -p {VHOST} p1", code=69, err="Error:\nParameter does not exist\n")
    check(f"rabbitmqctl set_parameter -p {VHOST} nosuch n '{{}}'", code=69, err=re.compile("component nosuch not found"))
    check(f"rabbitmqctl clear_parameter -p {VHOST} nosuch n", code=69, err="Error:\nParameter does not exist\n")
    check("rabbitmqctl set_global_parameter cli-g '{\"a\":[1,\"x\"]}'")
    check("rabbitmqctl list_global_parameters", rows("name\tvalue", 'cli-g\t{"a":[1,"x"]}'))
    check("rabbitmqctl clear_global_parameter cli-g")
    check("rabbitmqctl clear_global_parameter cli-g", code=69)


def queues():
    place = quote(VHOST)
    api("PUT", f"/queues/{place}/q1", {"durable": True, "arguments": {"x-max-length": 100, "x-overflow": "reject-publish"}})
    api("PUT", f"/queues/{place}/qq", {"durable": True, "arguments": {"x-queue-type": "quorum"}})
    api("PUT", f"/exchanges/{place}/ex1", {"type": "topic", "durable": True, "arguments": {"alternate-exchange": "amq.fanout"}})
    api("POST", f"/bindings/{place}/e/ex1/q/q1", {"routing_key": "a.*", "arguments": {"k": "v"}})
    check(
        f"rabbitmqctl -p {VHOST} list_queues",
        rows("Timeout: 60.0 seconds ...", f"Listing queues for vhost {VHOST} ...", "name\tmessages", "q1\t0", "qq\t0"),
    )
    check(f"rabbitmqctl list_queues name type durable -p {VHOST} -s", rows("q1\tclassic\ttrue", "qq\tquorum\ttrue"))
    check(f"rabbitmqctl list_queues -p {VHOST} -q arguments", re.compile(r'\{"x-max-length",100\},\{"x-overflow","reject-publish"\}'))
    check(
        f"rabbitmqctl list_queues -p {VHOST} --formatter json name messages",
        lambda text: {"name": "q1", "messages": 0} in json.loads(text),
    )
    check(f"rabbitmqctl list_queues -p {VHOST} --formatter csv name messages", rows('"name","messages"', '"q1","0"'))
    check("rabbitmqctl list_queues nosuch1 nosuch2", code=64, err=re.compile("Info key\\(s\\) nosuch1,nosuch2 are not supported"))
    check("rabbitmqctl list_queues --bad", code=64, err=re.compile("Invalid options for this command:\n--bad : \n"))
    check("rabbitmqctl -q list_queues -p cli-no", "")
    check(f"rabbitmqctl list_exchanges -p {VHOST}", rows("name\ttype", "ex1\ttopic", "amq.direct\tdirect", "\tdirect"))
    check(
        f"rabbitmqctl list_exchanges -p {VHOST} -s name durable arguments",
        rows('ex1\ttrue\t[{"alternate-exchange","amq.fanout"}]', "amq.topic\ttrue\t[]"),
    )
    check(f"rabbitmqctl list_bindings -p {VHOST} -s", rows('ex1\texchange\tq1\tqueue\ta.*\t[{"k","v"}]'))
    check(f"rabbitmqctl list_consumers -p {VHOST}", f"Listing consumers in vhost {VHOST} ...\n")
    check(f"rabbitmqctl list_unresponsive_queues -p {VHOST}", f"Listing unresponsive queues for vhost {VHOST} ...\n")
    check(f"rabbitmq-queues quorum_status -p {VHOST} qq", re.compile(f"│ {NODE} +│"))
    check(f"rabbitmq-queues quorum_status -p {VHOST} no", code=65, err=f"queue 'no' was not found in virtual host '{VHOST}'\n")
    check(f"rabbitmq-queues add_member -p {VHOST} qq rabbit@nosuch", code=69)
    check(f"rabbitmq-queues reclaim_quorum_memory -p {VHOST} qq")
    check(f"rabbitmq-queues reclaim_quorum_memory -p {VHOST} q1", code=69, err=re.compile("not applicable to classic queues"))
    check(f"rabbitmq-queues transfer_leadership -p {VHOST} qq {NODE}", code=69, err=re.compile("already the leader"))
    check("rabbitmq-queues rebalance all", re.compile("Number of quorum queues"))
    check(f"rabbitmq-streams stream_status -p {VHOST} q1", code=69, err=re.compile("of a classic queue"))
    check(f"rabbitmqctl purge_queue -p {VHOST} q1", f"Purging queue 'q1' in vhost '{VHOST}' ...\n")
    check(f"rabbitmqctl purge_queue -p {VHOST} no", code=65, err="Object (queue, stream, exchange, etc) was not found\n")
    check(f"rabbitmqctl delete_queue -p {VHOST} no", code=64, err="Error:\nNo such queue was found\n")
    check(
        f"rabbitmqctl delete_queue -p {VHOST} q1 --if-empty",
        f"Deleting queue 'q1' on vhost '{VHOST}' if queue is empty ...\nQueue was successfully deleted with 0 ready messages\n",
    )


def connections():
    def named():
        return [c["name"] for c in api("GET", "/connections")[1] if c.get("vhost") == VHOST]

    first, second = Client(VHOST), Client(VHOST)
    eventually(lambda: len(named()) == 2)
    check("rabbitmqctl list_connections", re.compile(r"user\tpeer_host\tpeer_port\tstate\n(.*\n)*guest\t[^\t]+\t\d+\trunning"))
    check("rabbitmqctl -q list_connections name vhost protocol", re.compile(f"\t{VHOST}\t\\{{0,9,1\\}}\n"))
    check("rabbitmqctl list_channels name", re.compile("^Listing channels"))
    name = named()[0]
    check(f"rabbitmqctl close_connection '{name}' 'the suite says so'", f"Closing connection {name}, reason: the suite says so...\n")
    left = [client for client in (first, second) if not closed_because(client, "the suite says so")]
    report("close_connection closes one of two", "" if len(left) == 1 else f"{len(left)} are left")
    eventually(lambda: len(named()) == 1)
    check(f"rabbitmqctl close_all_connections -p {VHOST} bye", re.compile("Closed 1 connections\n$"))
    check("rabbitmqctl close_all_user_connections cli-no bye", "Closing connections of user cli-no, reason: bye...\n")


def closed_because(client, reason):
    """Whether the node closes this connection, with this reason."""
    client.socket.settimeout(2)
    try:
        told = client.expect(10, 50)
        client.send(10, 51, b"")
        return reason.encode() in told
    except TimeoutError:
        return False


def definitions():
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/definitions.json"
        check(f"rabbitmqctl export_definitions {file}", f'Exporting definitions in JSON to a file at "{file}" ...\n')
        with open(file) as text:
            names = [vhost["name"] for vhost in json.load(text)["vhosts"]]
        report("the file has the virtual hosts", "" if VHOST in names else names)
        check(f"rabbitmqctl import_definitions {file}", re.compile("Successfully imported definitions|Successfully started definition import"))
        check("rabbitmqctl export_definitions -", lambda text: VHOST in [v["name"] for v in json.loads(text)["vhosts"]])
        check("rabbitmqctl import_definitions -q", stdin='{"vhosts":[]}')
        check("rabbitmqctl import_definitions -q", code=65, stdin="{")
        check(f"rabbitmqctl import_definitions {folder}/no", code=65, err=re.compile("does not exist"))
        check(f"rabbitmqctl export_definitions {folder}/no/x", code=65, err=re.compile("Directory .* does not exist"))


def nodes():
    check("rabbitmqctl status", re.compile(f"Node name: {NODE}\n(.*\n)*.*Listeners"))
    check("rabbitmqctl status --formatter json", lambda text: json.loads(text)["totals"]["queue_count"] >= 1)
    check("rabbitmqctl status --unit nosuch", code=64)
    check("rabbitmqctl cluster_status", re.compile(f"Running Nodes\n\n{NODE}\n"))
    check("rabbitmqctl cluster_status --formatter json", lambda text: json.loads(text)["running_nodes"] == [NODE])
    check("rabbitmqctl ping", re.compile("Ping succeeded\n$"))
    check("rabbitmqctl await_startup", "")
    check("rabbitmqctl await_online_nodes 1 -q", "")
    check("rabbitmqctl await_online_nodes 9 -q --timeout 1", code=70)
    check(f"rabbitmqctl wait -q --pid {os.getpid()}")
    check("rabbitmqctl wait --pid 999999999", code=69)
    check("rabbitmqctl wait", code=64)
    check("rabbitmqctl rotate_logs", code=69)
    check("rabbitmqctl force_gc")
    check("rabbitmqctl node_health_check")
    check("rabbitmqctl rename_cluster_node a b")
    check("rabbitmqctl reconcile_vhosts")
    check(f"rabbitmqctl join_cluster {NODE}", code=70)
    check("rabbitmqctl forget_cluster_node rabbit@nosuch", code=69, err=re.compile("not_a_cluster_node"))
    check_if(HAS_EFFECTIVE_CONFIGURATION, "rabbitmqctl environment", re.compile("Application environment of node"))
    check("rabbitmqctl set_log_level nosuch", code=69)
    check("rabbitmqctl set_vm_memory_high_watermark 2", code=65)
    check("rabbitmqctl set_disk_free_limit nosuch", code=65)
    check("rabbitmqctl list_feature_flags", rows("name\tstate"))
    check("rabbitmqctl enable_feature_flag all", "Enabling all feature flags ...\n")
    check("rabbitmqctl enable_feature_flag nosuch", code=64)
    check("rabbitmqctl list_deprecated_features -q", re.compile("deprecation_phase"))
    check("rabbitmqctl report", re.compile(f"Listing queues for vhost {VHOST} ..."))
    check_if(HAS_OUR_PATHS, "rabbitmqctl set_log_level info")
    check_if(HAS_OUR_PATHS, "rabbitmqctl suspend_listeners")
    check_if(HAS_OUR_PATHS, "rabbitmqctl resume_listeners")
    check_if(HAS_OUR_PATHS, "rabbitmq-diagnostics log_tail -N 1")
    check_if(HAS_OUR_PATHS, "rabbitmqctl set_vm_memory_high_watermark 0.6", f"Setting memory threshold on {NODE} to 0.6 ...\n")
    check_if(HAS_OUR_PATHS, "rabbitmqctl set_vm_memory_high_watermark absolute 8GiB")
    check_if(HAS_OUR_PATHS, "rabbitmqctl set_vm_memory_high_watermark 0.6")
    check_if(HAS_OUR_PATHS, "rabbitmqctl set_disk_free_limit 50MB")
    check_if(HAS_OUR_PATHS, "rabbitmqctl eval 'rabbit_nodes:reached_target_cluster_size().'", "true\n")
    check_if(HAS_OUR_PATHS, "rabbitmqctl eval", "true\n", stdin="rabbit:is_running().")
    check_if(HAS_OUR_PATHS, "rabbitmqctl eval 'os:cmd(1).'", code=69, err=re.compile("there is no Erlang here"))
    check_if(HAS_OUR_PATHS, "rabbitmqctl join_cluster rabbit@nosuch", code=69, err=re.compile("no clusters of several nodes"))
    check_if(HAS_OUR_PATHS, "rabbitmqctl deactivate_free_disk_space_monitoring", re.compile("^Deactivating free disk"))
    check_if(HAS_OUR_PATHS, "rabbitmqctl activate_free_disk_space_monitoring", re.compile(r"^\[Re-\]activating free disk"))
    check_if(HAS_OUR_PATHS, "rabbitmqctl clear_auth_backend_cache")
    check_if(HAS_OUR_PATHS, "rabbitmqctl reset", code=69, err=re.compile("stopped by stop_app first"))
    check_if(HAS_OUR_PATHS, "rabbitmqctl stop_app", f"Stopping rabbit application on node {NODE} ...\n")
    check_if(HAS_OUR_PATHS, "rabbitmqctl start_app", f"Starting node {NODE} ...\n")


def diagnostics():
    port = AMQP[1]
    check("rabbitmq-diagnostics is_running", re.compile(f"RabbitMQ on node {NODE} is fully booted and running\n$"))
    check("rabbitmq-diagnostics check_running -q", f"RabbitMQ on node {NODE} is fully booted and running\n")
    check("rabbitmq-diagnostics is_booting")
    check("rabbitmq-diagnostics -s check_alarms", "")
    check("rabbitmq-diagnostics --formatter json check_alarms", '{"result":"ok"}\n')
    check("rabbitmq-diagnostics alarms -q", f"Node {NODE} reported no alarms, local or clusterwide\n")
    check("rabbitmq-diagnostics check_local_alarms -q", f"Node {NODE} reported no local alarms\n")
    check("rabbitmq-diagnostics check_port_connectivity --address 127.0.0.1 -q", re.compile("Successfully connected to ports"))
    check(f"rabbitmq-diagnostics check_port_listener {port} -q", f"A listener for port {port} is running on node {NODE}.\n")
    check("rabbitmq-diagnostics check_port_listener 1 -q", code=69, err=re.compile("^No listener for port 1 is active"))
    check("rabbitmq-diagnostics check_port_listener abc", code=65)
    check("rabbitmq-diagnostics check_protocol_listener amqp -q", f"A listener for protocol amqp is running on node {NODE}.\n")
    check("rabbitmq-diagnostics check_protocol_listener nosuch -q", code=69)
    check("rabbitmq-diagnostics check_virtual_hosts -q", f"Node {NODE} reported all vhosts as running\n")
    check("rabbitmq-diagnostics listeners -q", re.compile(f"port: {port}, protocol: amqp, purpose: AMQP 0-9-1"))
    check("rabbitmq-diagnostics --formatter csv listeners", rows('"node","protocol","interface","port","purpose"'))
    check("rabbitmq-diagnostics memory_breakdown --unit mb -q", re.compile(r"^\S+: [\d.]+ mb \([\d.]+%\)\n"))
    check("rabbitmq-diagnostics server_version -q", re.compile(r"^\d+\.\d+\.\d+\n$"))
    check("rabbitmq-diagnostics log_location -q")
    check("rabbitmq-diagnostics check_certificate_expiration -q", "No certificates are expiring within 4 weeks.\n")
    check("rabbitmq-diagnostics check_if_metadata_store_is_initialized -s", "")
    check("rabbitmq-diagnostics check_if_metadata_store_is_initialized_with_data -s", "")
    check("rabbitmq-diagnostics check_if_node_is_quorum_critical -q", re.compile("the check does not apply"))
    check("rabbitmq-diagnostics check_for_quorum_queues_without_an_elected_leader .* -s", "")
    check("rabbitmq-diagnostics check_if_new_quorum_queue_replicas_have_finished_initial_sync -s", "")
    check("rabbitmq-diagnostics check_if_cluster_has_classic_queue_mirroring_policy -s", "")
    check("rabbitmq-diagnostics resolve_hostname 127.0.0.1 -q", "127.0.0.1\n")
    check("rabbitmq-diagnostics resolve_hostname nosuch.invalid -q", code=65)
    check("rabbitmq-diagnostics list_node_auth_attempt_stats", re.compile("\nprotocol\tauth_attempts\t"))
    check_if(HAS_OUR_PATHS, "rabbitmq-diagnostics tls_versions -q", "tlsv1.3\ntlsv1.2\n")
    check_if(
        HAS_OUR_PATHS,
        "rabbitmq-diagnostics tls_versions --formatter json",
        lambda text: json.loads(text) == {"versions": ["tlsv1.3", "tlsv1.2"]},
    )
    check_if(HAS_OUR_PATHS, "rabbitmq-diagnostics cipher_suites -q", rows("TLS_AES_128_GCM_SHA256"))
    check_if(HAS_OUR_PATHS, "rabbitmq-diagnostics cipher_suites --format erlang", code=64)
    check_if(HAS_OUR_PATHS, "rabbitmq-diagnostics certificates", re.compile(f"^Certificates of node {NODE} ...\n"))
    check_if(HAS_OUR_PATHS, "rabbitmq-diagnostics log_tail_stream --duration 0 -q")
    check_if(HAS_OUR_PATHS, "rabbitmq-diagnostics os_env", re.compile("^Listing RabbitMQ-specific environment variables"))
    check_if(HAS_OUR_PATHS, "rabbitmq-diagnostics command_line_arguments -q")
    check_if(HAS_OUR_PATHS, "rabbitmq-diagnostics enable_auth_attempt_source_tracking")
    check_if(
        HAS_OUR_PATHS,
        "rabbitmq-diagnostics list_node_auth_attempt_stats --by-source -s",
        re.compile(r"\tguest\thttp\t\d+\t\d+\t\d+\n"),
    )
    check_if(HAS_OUR_PATHS, "rabbitmq-diagnostics disable_auth_attempt_source_tracking")
    check("rabbitmq-diagnostics add_user a b", code=64, err=re.compile("Command 'add_user' not found"))


def plugins_and_upgrade():
    check("rabbitmq-plugins list", re.compile(r"\n \|/\n(.*\n)*\[E\*\] rabbitmq_management "))
    check("rabbitmq-plugins list -m rabbitmq_top -q", "rabbitmq_top\n")
    check("rabbitmq-plugins is_enabled rabbitmq_management -q", f"Plugin rabbitmq_management is enabled on node {NODE}\n")
    check("rabbitmq-plugins is_enabled rabbitmq_no_such -q", code=69)
    with tempfile.TemporaryDirectory() as folder:
        file = f"--enabled-plugins-file={folder}/enabled_plugins"
        check(f"rabbitmq-plugins enable {file} rabbitmq_management", re.compile("Plugin configuration unchanged.\n$"))
        check(f"rabbitmq-plugins set --offline {file} rabbitmq_stomp", re.compile("set 1 plugins"))
        check(f"rabbitmq-plugins is_enabled --offline {file} rabbitmq_management", code=69)
        check(f"rabbitmq-plugins disable --offline {file} --all", re.compile("All plugins have been disabled"))
        check(f"rabbitmq-plugins directories {file} -q", re.compile(f"Enabled plugins file: {folder}/enabled_plugins\n$"))
    check("rabbitmq-upgrade await_online_quorum_plus_one", re.compile("the command does not apply\n$"))
    check("rabbitmq-upgrade has_reached_target_cluster_size", re.compile("Target cluster size has been reached"))
    check("rabbitmq-upgrade post_upgrade")
    check("rabbitmq-upgrade await_online_synchronized_mirror", code=64)
    check_if(HAS_OUR_PATHS, "rabbitmq-upgrade drain")
    check_if(HAS_OUR_PATHS, "rabbitmq-diagnostics check_protocol_listener amqp -q", code=69)
    check_if(HAS_OUR_PATHS, "rabbitmq-upgrade revive")
    check_if(HAS_OUR_PATHS, "rabbitmq-diagnostics check_protocol_listener amqp -q")


def help_():
    check("rabbitmqctl", "", code=64, err=re.compile("Available commands:"))
    check("rabbitmqctl --help", re.compile("Available commands:"))
    check("rabbitmqctl help list_queues", re.compile("Usage\n\nrabbitmqctl .*list_queues"))
    check("rabbitmqctl help nosuch", code=64)
    check("rabbitmqctl list_queue", code=64, err="\nCommand 'list_queue' not found. \nDid you mean 'list_queues'? \n\n")
    check("rabbitmqctl version", re.compile(r"^\d+\.\d+\.\d+\n$"))
    check("rabbitmqctl --version", re.compile(r"^\d+\.\d+\.\d+\n$"))
    check("rabbitmqctl autocomplete list_q", "list_queues\n")
    check("rabbitmqctl completions bash", re.compile("list_queues"))
    check("rabbitmqctl list_users --host 127.0.0.1 --port 1", code=69, err=re.compile("unable to perform an operation on node"))


def clean():
    api("DELETE", f"/vhosts/{VHOST}")
    for vhost in ("cli-v", "cli-w"):
        api("DELETE", f"/vhosts/{vhost}/deletion/protection")
        api("DELETE", f"/vhosts/{vhost}")
    for user in ("cli-ann", "cli-bob", "cli-eve"):
        api("DELETE", f"/users/{user}")
    api("DELETE", "/global-parameters/cli-g")


SCENARIOS = [
    help_,
    users,
    permissions,
    vhosts,
    queues,
    policies_and_parameters,
    connections,
    definitions,
    nodes,
    diagnostics,
    plugins_and_upgrade,
]

try:
    status, overview = api("GET", "/overview")
except OSError:
    print("  there is no HTTP API at", API.hostname, API.port)
    print("cli: passed=0 failed=0 skipped=1")
    sys.exit(0)
NODE = overview["node"]
HAS_OUR_PATHS = api("GET", "/leveret/log?lines=1")[0] == 200
HAS_EFFECTIVE_CONFIGURATION = api("GET", "/config/effective")[0] == 200

clean()
api("PUT", f"/vhosts/{VHOST}", {})
api("PUT", f"/permissions/{VHOST}/{API.username}", {"configure": ".*", "write": ".*", "read": ".*"})
try:
    for scenario in SCENARIOS:
        if len(sys.argv) == 1 or scenario.__name__ in sys.argv[1:]:
            scenario()
            # The policies below need the queue that this one deletes.
            if scenario is queues:
                api("PUT", f"/queues/{VHOST}/q1", {"durable": True})
finally:
    clean()
print(f"cli: passed={passed} failed={failed} skipped={skipped}")
sys.exit(failed > 0)
