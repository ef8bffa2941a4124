"""Each command of the tools once and more against a node, with what it prints and its exit code.

What is expected is what the tools of RabbitMQ 4.3 print. The same lines run against RabbitMQ's HTTP API and ours; where a
command needs a path of `/api/leveret` that RabbitMQ does not have, the line says so and is left out there.
"""

import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from urllib.parse import quote, unquote, urlsplit

from client import Client

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


def eventually(condition):
    """What the API tells of connections may be some seconds old. Gives what the condition came to."""
    deadline = time.monotonic() + 20
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


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


def shovels():
    """RabbitMQ has them with its plug-in only."""
    is_offered = api("GET", "/shovels")[0] == 200
    api("PUT", f"/queues/{VHOST}/cli-from", {"durable": True})
    value = '{"src-uri":"amqp://","src-queue":"cli-from","dest-uri":"amqp://","dest-queue":"cli-to","reconnect-delay":1}'
    check_if(is_offered, f"rabbitmqctl set_parameter -p {VHOST} shovel cli-s '{value}'")

    def is_running():
        return "\trunning\t" in run("rabbitmqctl shovel_status -q")[0]

    if is_offered:
        report("shovel_status", None if eventually(is_running) else "it does not run")
    check_if(
        is_offered,
        "rabbitmqctl shovel_status --formatter json",
        lambda text: "cli-from" in [shovel["source_queue"] for shovel in json.loads(text)],
    )
    restarted = f"Restarting dynamic Shovel cli-s in virtual host {VHOST}\n"
    check_if(is_offered, f"rabbitmqctl restart_shovel -p {VHOST} cli-s", restarted)
    deleted = f"Deleting shovel cli-s in vhost {VHOST}\n"
    check_if(is_offered, f"rabbitmqctl delete_shovel -p {VHOST} cli-s", deleted)
    check_if(is_offered, f"rabbitmqctl delete_shovel -p {VHOST} cli-s", code=69, err=re.compile("was not found"))


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
    streams()
    check(f"rabbitmqctl purge_queue -p {VHOST} q1", f"Purging queue 'q1' in vhost '{VHOST}' ...\n")
    check(f"rabbitmqctl purge_queue -p {VHOST} no", code=65, err="Object (queue, stream, exchange, etc) was not found\n")
    check(f"rabbitmqctl delete_queue -p {VHOST} no", code=64, err="Error:\nNo such queue was found\n")
    check(
        f"rabbitmqctl delete_queue -p {VHOST} q1 --if-empty",
        f"Deleting queue 'q1' on vhost '{VHOST}' if queue is empty ...\nQueue was successfully deleted with 0 ready messages\n",
    )


def streams():
    api("PUT", f"/queues/{VHOST}/st", {"durable": True, "arguments": {"x-queue-type": "stream"}})
    check(f"rabbitmq-streams stream_status -p {VHOST} st", re.compile(f"│ writer +│ {NODE} +│"))
    check(f"rabbitmq-streams stream_status -p {VHOST} st --formatter json", lambda text: json.loads(text)[0]["readers"] == 0)
    check(f"rabbitmq-streams stream_status -p {VHOST} st --tracking -s")
    check(f"rabbitmq-streams stream_status -p {VHOST} q1", code=69, err=re.compile("of a classic queue"))
    check(f"rabbitmq-streams stream_status -p {VHOST} no", code=65)
    check(f"rabbitmq-streams restart_stream -p {VHOST} st", f"Restarting stream st...\n{NODE}\n")
    refused = "Error:\n{:not_supported_for_type, :rabbit_classic_queue}\n"
    check(f"rabbitmq-streams restart_stream -p {VHOST} q1", code=69, err=refused)
    check(f"rabbitmq-streams restart_stream -p {VHOST} no", code=65)
    check(f"rabbitmqctl delete_queue -p {VHOST} st", re.compile("successfully deleted"))


def peeking():
    address = f"/queues/{VHOST}/cli-qq"
    api("PUT", address, {"durable": True, "arguments": {"x-queue-type": "quorum"}})
    for number in (1, 2):
        message = {
            "routing_key": "cli-qq",
            "payload": f"hello {number}",
            "payload_encoding": "string",
            "properties": {"delivery_mode": 2, "headers": {"a": number}},
        }
        api("POST", f"/exchanges/{VHOST}/amq.default/publish", message)
    line = f"rabbitmq-queues peek -p {VHOST}"
    check(f"{line} cli-qq 0", code=64, err=re.compile("^Error .argument validation.: \"position value must be a positive integer\"\n"))
    check(f"{line} cli-qq x", code=64)
    check(f"{line} cli-no 1", code=69, err=f"Error:\nTarget queue was not found in virtual host '{VHOST}'\n")
    check(f"{line} q1 1", code=69, err="Error:\nCannot peek into a classic queue\n")
    expected = {
        "delivery_mode": 2,
        "exchange": "",
        "header.a": 2,
        "header.x-delivery-count": 0,
        "payload (max 64 bytes)": "hello 2",
        "routing_keys": ["cli-qq"],
    }
    check_if(
        HAS_OUR_PATHS,
        f"{line} cli-qq 2 --formatter json",
        lambda text: json.loads(text) == {"result": "ok", "message": expected},
    )
    check_if(HAS_OUR_PATHS, f"{line} cli-qq 1", re.compile(f"^Peeking at quorum queue cli-qq at position 1 on node {NODE} ...\n"))
    check_if(HAS_OUR_PATHS, f"{line} cli-qq 3", code=69, err="Error:\nTarget queue does not have a message at that position\n")
    check(
        f"rabbitmq-queues force_checkpoint --vhost-pattern ^{VHOST}$",
        "Forcing checkpoint for all matching quorum queues...\nvhost\tname\tresult\n"
        + "".join(f"{VHOST}\t{name}\t{{ok}}\n" for name in sorted(quorum_queues())),
    )
    check(f"rabbitmq-queues grow {NODE} all", f"Growing all queues on {NODE}...\n")
    check("rabbitmq-queues grow rabbit@nosuch all", code=64, err=re.compile("^Error: node rabbit@nosuch is not a member of the cluster\n"))
    check(f"rabbitmq-queues grow {NODE} x", code=64, err=re.compile("strategy 'x' is not recognised."))
    check("rabbitmq-queues shrink rabbit@nosuch", code=69, err="Error:\n{:node_not_running, :rabbit@nosuch}\n")
    check(f"rabbitmq-queues delete_member -p {VHOST} cli-no {NODE}", code=65, err=f"queue 'cli-no' was not found in virtual host '{VHOST}'\n")
    check("rabbitmq-queues grow_to_count 1 all", re.compile("^Growing all quorum queues on 1 nodes...\n"))
    check("rabbitmq-queues grow_to_count 0 all", code=64, err=re.compile("node count '0' must be greater than 0."))
    check("rabbitmq-queues grow_to_count 1 x", code=64, err=re.compile("strategy 'x' is not recognised."))
    api("DELETE", address)


def quorum_queues():
    return [queue["name"] for queue in api("GET", f"/queues/{VHOST}")[1] if queue["type"] == "quorum"]


def encryption():
    check("rabbitmqctl list_ciphers", re.compile(r"^Listing supported ciphers ...\n\[.*aes_256_cbc.*\]\n$"))
    check("rabbitmqctl list_hashes", re.compile(r"^Listing supported hash algorithms ...\n\[.*sha512.*\]\n$"))
    check("rabbitmqctl list_hashes --formatter json", lambda text: "sha256" in json.loads(text)["value"])
    check("rabbitmqctl list_ciphers x", code=64, err=re.compile("too many arguments."))
    check("rabbitmqctl encode '\"v\"' p --cipher nosuch", code=65, err=re.compile("The requested cipher is not supported.\n"))
    check("rabbitmqctl encode '\"v\"' p --hash nosuch", code=65, err=re.compile("The requested hash is not supported\n"))
    check("rabbitmqctl encode '\"v\"' p --iterations 0", code=65, err=re.compile("number of iterations is incorrect\n"))
    check("rabbitmqctl encode '\"v\"' p --iterations x", code=64)
    check("rabbitmqctl encode '\"v\"' p too-much", code=64)
    check("rabbitmqctl encode 'no term' p", code=69, err="Error:\nError during cipher operation\n")
    check("rabbitmqctl decode", code=64, err=re.compile("Please provide a value to decode and a passphrase"))
    check("rabbitmqctl decode nonsense p", code=69, err=re.compile("^Error:\nFailed to decrypt the value."))
    check("rabbitmqctl encode", code=69, err=re.compile("not_enough_args"))
    ours = lambda line: run(line)[0].strip()
    values = ['"v"', "{a,[1,\"x\"]}", "atom", "<<\"bin\">>", "12"]
    both_ways("encode", "decode", ours, ours, values)
    both_ways("encrypt_conf_value", "decrypt_conf_value", ours, ours, values)
    # A RabbitMQ's tool, such as `sudo -u rabbitmq rabbitmqctl`: what one encrypts the other reads.
    other = os.environ.get("RABBITMQCTL")
    if other:
        theirs = lambda line: real(other, line)
        for encrypts, decrypts in ((ours, theirs), (theirs, ours)):
            # It takes seconds for each.
            both_ways("encode", "decode", encrypts, decrypts, values[1:2])
            both_ways("encrypt_conf_value", "decrypt_conf_value", encrypts, decrypts, values[:1])


def both_ways(encode, decode, encrypts, decrypts, values):
    """Values that one tool encrypts and another reads."""
    for value in values:
        for how in ("", " --cipher aes_256_cbc --hash sha512 --iterations 1000", " --cipher aes_192_cbc --hash sha"):
            encrypted = encrypts(f"rabbitmqctl -q {encode} '{value}' 'pass phrase'{how}").removeprefix("encrypted:")
            quoted = encrypted if encrypted.startswith("{") else f'"{encrypted}"'
            got = decrypts(f"rabbitmqctl -q {decode} '{quoted}' 'pass phrase'{how}")
            report(f"{encode} {value}{how}", "" if got == value else f"got {got!r} of {encrypted!r}")


def real(command, line):
    """What RabbitMQ's own tool prints."""
    words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]
    done = subprocess.run([*command.split(), *words[1:]], capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def events():
    environment = dict(os.environ, LEVERET_CTL_URL=os.environ["HTTP_API"], RABBITMQ_NODENAME=NODE)
    words = ["diagnostics", "consume_event_stream", "--duration", "60", "--pattern", "^queue"]
    stream = subprocess.Popen([os.environ["LEVERET"], *words], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        lines = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in stream.stdout], daemon=True).start()
        # The stream begins when the node says so; until then queues come and go.
        first = eventually(lambda: tell_of_a_queue(lines))
        event = json.loads(first)
        # It may begin between the two.
        is_told = event.get("event") in ("queue.created", "queue.deleted")
        is_told &= (event.get("name"), event.get("vhost")) == ("cli-e", VHOST)
        report("consume_event_stream", "" if is_told else event)
    finally:
        stream.kill()
        stream.wait()
    check("rabbitmq-diagnostics consume_event_stream --duration 0", "")
    check("rabbitmq-diagnostics consume_event_stream --pattern (", code=65)


def tell_of_a_queue(lines):
    api("PUT", f"/queues/{VHOST}/cli-e", {})
    api("DELETE", f"/queues/{VHOST}/cli-e")
    try:
        return lines.get(timeout=0.2)
    except queue.Empty:
        return None


def connections():
    def named():
        return [c["name"] for c in api("GET", "/connections")[1] if c.get("vhost") == VHOST]

    first, second = connect(), connect()
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


def connect():
    return Client(AMQP, VHOST, unquote(API.username), unquote(API.password))


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
    check(
        "rabbitmq-diagnostics check_if_any_deprecated_features_are_used --formatter json",
        lambda text: json.loads(text)["result"] == "ok",
    )
    check("rabbitmq-diagnostics erlang_version -q", re.compile(r"^Erlang/OTP \S+\n$"))
    check("rabbitmq-diagnostics reset_node_auth_attempt_metrics", f"Resetting auth attempt metrics on node {NODE} ...\n")
    check("rabbitmqctl reset_stats_db", f"Resetting statistics database on node {NODE}\n")
    name = api("GET", "/cluster-name")[1]["name"]
    check("rabbitmqctl set_cluster_name cli-cluster", "Setting cluster name to cli-cluster ...\n")
    report("the cluster has the name", "" if api("GET", "/cluster-name")[1]["name"] == "cli-cluster" else "it has not")
    check(f"rabbitmqctl set_cluster_name {name} -q")
    check("rabbitmq-diagnostics resolver_info", re.compile("\nLookup order: native\n"))
    check("rabbitmq-diagnostics resolver_info --formatter json", lambda text: json.loads(text)["resolver"]["lookup"] == "native")
    check("rabbitmq-diagnostics discover_peers", f"Discovering peers nodes ...\n[:{NODE}]\n")
    check("rabbitmq-diagnostics metadata_store_status", re.compile(f"^Status of metadata store on node {NODE} ...\n"))
    check("rabbitmq-diagnostics metadata_store_status --formatter json", lambda text: json.loads(text)[0]["Raft State"] == "leader")
    interfaces = "rabbitmq-diagnostics list_network_interfaces"
    check_if(HAS_OUR_PATHS, interfaces, re.compile("^Asking node .*\n(.*\n)*Interface lo\n\n(.*\n)*addr: 127.0.0.1\n"))
    check_if(HAS_OUR_PATHS, f"{interfaces} --formatter json", lambda text: "loopback" in json.loads(text)["interfaces"]["lo"]["flags"])
    threads = "rabbitmq-diagnostics runtime_thread_stats --sample-interval 0"
    check_if(HAS_OUR_PATHS, threads, re.compile("^Will collect .* for 0 seconds...\nthread\tuser\tsystem\tsleep\n"))
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
    sizes = "rabbitmq-diagnostics message_size_stats"
    check_if(HAS_OUR_PATHS, sizes, re.compile("^Gathering .*\n┌─+┬─+┬─+┐\n│ Message Size +│ Count │ Percentage │\n"))
    check_if(HAS_OUR_PATHS, f"{sizes} --formatter csv", lambda text: len(text.splitlines()) == 10)
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
    peeking,
    encryption,
    events,
    policies_and_parameters,
    shovels,
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
