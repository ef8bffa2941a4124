"""What RabbitMQ's cluster operator makes of an image: its init container, its pod, its probes, hooks and commands.

The pod is the image's files under systemd-nspawn, with user, environment and command from the image's configuration, the
operator's environment and mounts, and a network of its own, in which the ports are the usual ones.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

IMAGE, CONFIGURATION, WORK = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
IMAGE_CONFIG = CONFIGURATION["OCIv1"]["config"]
POD, SERVICE, NAMESPACE = "hares-server-0", "hares-nodes", "field"
NODE = f"rabbit@{POD}.{SERVICE}.{NAMESPACE}"
USER = 999

passed = failed = 0


def check(name, problem):
    """Counts a claim; a problem is what speaks against it, or nothing."""
    global passed, failed
    if problem:
        failed += 1
        print(f"  FAILED {name}\n    {problem}")
    else:
        passed += 1


def volume(name, files=(), owner=USER):
    """A folder that is mounted into the pod."""
    folder = WORK / "volumes" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in dict(files).items():
        (folder / file).write_text(text)
        os.chown(folder / file, owner, USER)
    os.chown(folder, owner, USER)
    return folder


# Where RabbitMQ's cluster operator mounts its secrets: folders of the pod, not of this machine.
MOUNTS = "/tmp"
COOKIE_SECRET = f"{MOUNTS}/erlang-cookie-secret"
PLUGINS_SECRET = f"{MOUNTS}/rabbitmq-plugins"
USER_SECRET = f"{MOUNTS}/default_user"
SECRETS = {
    COOKIE_SECRET: volume("cookie", {".erlang.cookie": "HARE"}),
    PLUGINS_SECRET: volume(
        "plugins", {"enabled_plugins": "[rabbitmq_peer_discovery_k8s,rabbitmq_prometheus,rabbitmq_management]."}
    ),
    USER_SECRET: volume("user", {"default_user.conf": "default_user = head\ndefault_pass = carrot\n"}),
}
CONF_D = volume(
    "conf.d",
    {
        # The keys that the operator still writes, most of them without a meaning here.
        "10-operatorDefaults.conf": f"""
queue_master_locator                       = min-masters
disk_free_limit.absolute                   = 100MB
cluster_partition_handling                 = pause_minority
cluster_formation.peer_discovery_backend   = rabbit_peer_discovery_k8s
cluster_formation.k8s.host                 = kubernetes.default
cluster_formation.k8s.address_type         = hostname
cluster_formation.target_cluster_size_hint = 1
cluster_name                               = hares
""",
        "11-default_user.conf": "default_user = head\ndefault_pass = carrot\n",
        "90-userDefinedConfiguration.conf": """
ssl_options.certfile                  = /etc/rabbitmq-tls/tls.crt
ssl_options.keyfile                   = /etc/rabbitmq-tls/tls.key
listeners.ssl.default                 = 5671
management.tcp.port                   = 15672
prometheus.tcp.port                   = 15692
total_memory_available_override_value = 858993460
load_definitions                      = /etc/definitions/definitions.json
""",
    },
)
DEFINITIONS = {
    "users": [{"name": "topology", "password": "operator", "tags": ["administrator"]}],
    "vhosts": [{"name": "/"}],
    "permissions": [{"user": "topology", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
    "queues": [{"name": "burrow", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}}],
}
PERSISTENCE = volume("persistence")
HOME = volume("home")
OPERATOR = volume("operator")
MOUNTS = {
    "/var/lib/rabbitmq": HOME,
    "/var/lib/rabbitmq/mnesia": PERSISTENCE,
    "/operator": OPERATOR,
    "/etc/rabbitmq/conf.d/10-operatorDefaults.conf": CONF_D / "10-operatorDefaults.conf",
    "/etc/rabbitmq/conf.d/11-default_user.conf": CONF_D / "11-default_user.conf",
    "/etc/rabbitmq/conf.d/90-userDefinedConfiguration.conf": CONF_D / "90-userDefinedConfiguration.conf",
    "/etc/rabbitmq-tls": volume("tls"),
    "/etc/definitions": volume("definitions", {"definitions.json": json.dumps(DEFINITIONS)}),
    # What the kubelet and the cluster's name service say.
    "/etc/hosts": volume("hosts", {"hosts": f"127.0.0.1 localhost\n127.0.0.1 {POD}.{SERVICE}.{NAMESPACE} {POD}\n"}) / "hosts",
    "/etc/pod-info": volume("pod-info", {"skipPreStopChecks": ""}),
}
ENVIRONMENT = dict(entry.split("=", 1) for entry in IMAGE_CONFIG["Env"]) | {
    "MY_POD_NAME": POD,
    "MY_POD_NAMESPACE": NAMESPACE,
    "K8S_SERVICE_NAME": SERVICE,
    "RABBITMQ_ENABLED_PLUGINS_FILE": "/operator/enabled_plugins",
    "RABBITMQ_USE_LONGNAME": "true",
    "RABBITMQ_NODENAME": NODE,
    "K8S_HOSTNAME_SUFFIX": f".{SERVICE}.{NAMESPACE}",
}
INIT = (
    f"cp {COOKIE_SECRET}/.erlang.cookie /var/lib/rabbitmq/.erlang.cookie"
    " && chmod 600 /var/lib/rabbitmq/.erlang.cookie ;"
    f" cp {PLUGINS_SECRET}/enabled_plugins /operator/enabled_plugins ;"
    " echo '[default]' > /var/lib/rabbitmq/.rabbitmqadmin.conf"
    f" && sed -e 's/default_user/username/' -e 's/default_pass/password/' {USER_SECRET}/default_user.conf"
    " >> /var/lib/rabbitmq/.rabbitmqadmin.conf && chmod 600 /var/lib/rabbitmq/.rabbitmqadmin.conf ; sleep 0"
)
PRE_STOP = (
    'if [ ! -z "$(cat /etc/pod-info/skipPreStopChecks)" ]; then exit 0; fi;'
    " rabbitmq-upgrade await_online_quorum_plus_one -t 10;"
    " rabbitmq-upgrade await_online_synchronized_mirror -t 10;"
    " rabbitmq-upgrade drain -t 10"
)


def certificate(name):
    """A certificate of this name where the secret is mounted."""
    folder = MOUNTS["/etc/rabbitmq-tls"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        + ["-keyout", folder / "tls.key", "-out", folder / "tls.crt"],
        check=True,
        capture_output=True,
    )
    for file in folder.iterdir():
        os.chown(file, USER, USER)
        file.chmod(0o400)


def container(command, mounts, output=subprocess.PIPE):
    """The image's files, as the user that the image names."""
    binds = [f"--bind={outside}:{inside}" for inside, outside in mounts.items()]
    environment = [f"--setenv={name}={value}" for name, value in ENVIRONMENT.items()]
    return subprocess.Popen(
        ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--as-pid2", "--pipe"]
        + [f"--directory={IMAGE}", f"--user={IMAGE_CONFIG['User']}", f"--hostname={POD}", *binds, *environment, *command],
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )


class Pod:
    """A running node, and what is executed in its container."""

    def __init__(self):
        self.log = WORK / "pod.log"
        command = IMAGE_CONFIG["Entrypoint"] + IMAGE_CONFIG["Cmd"]
        with self.log.open("w") as log:
            self.outer = container(command, MOUNTS, log)
        deadline = time.monotonic() + 60
        while not self.is_ready():
            if self.outer.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the pod does not become ready:\n{self.log.read_text()}")
            time.sleep(0.2)

    def is_ready(self):
        """The readiness probe. The port alone, which newer operators look at, is open while the log is still read."""
        self.process = self.find()
        return self.process is not None and self.execute("rabbitmq-diagnostics check_port_connectivity")[0] == 0

    def find(self):
        """The node's process, which is the only one of its user whose root is the image."""
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and (folder / "exe").readlink().name == "leveret":
                    if os.stat(folder).st_uid == USER and str(IMAGE) in (folder / "mountinfo").read_text():
                        return int(folder.name)
            except OSError:
                continue
        return None

    def execute(self, line, user=USER, timeout=60):
        """The exit code and the output of a line of shell in the container."""
        environment = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        done = subprocess.run(
            ["nsenter", "--target", str(self.process), "--mount", "--net", "--pid", "--root", "--wd"]
            + [f"--setuid={user}", f"--setgid={user}", "env", "-i", *environment, "/bin/sh", "-c", line],
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return done.returncode, done.stdout + done.stderr

    def outside(self, *command):
        """Another pod of the cluster: only the network is shared."""
        done = subprocess.run(
            ["nsenter", "--target", str(self.process), "--net", *command],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
        )
        return done.returncode, done.stdout + done.stderr

    def api(self, path, user="head:carrot"):
        return self.outside("curl", "--silent", "--fail", "--user", user, f"http://127.0.0.1:15672/api{path}")

    def stop(self):
        """SIGTERM, as the kubelet does; the seconds it takes."""
        started = time.monotonic()
        os.kill(self.process, signal.SIGTERM)
        self.outer.wait(timeout=60)
        return time.monotonic() - started


def succeeds(pod, line, text=""):
    code, output = pod.execute(line)
    check(line, None if code == 0 and text in output else f"{code}: {output.strip()}")


def the_init_container_finds_its_tools():
    init = container(["sh", "-c", INIT], MOUNTS | SECRETS)
    output, _ = init.communicate(timeout=60)
    check("init container", init.returncode and output)
    modes = {path: oct(path.stat().st_mode & 0o777) for path in HOME.iterdir() if path.is_file()}
    files = {path.name: mode for path, mode in modes.items()}
    expected = {".erlang.cookie": "0o600", ".rabbitmqadmin.conf": "0o600"}
    check("files of the init container", None if files == expected else files)
    check("enabled plugins", None if (OPERATOR / "enabled_plugins").exists() else "not there")


def the_pod_becomes_ready(pod):
    code, output = pod.outside("python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 5672), 5)")
    check("the pod's port", code and output)
    succeeds(pod, "rabbitmqctl cluster_status", NODE)
    check("the data has the node's name", None if (PERSISTENCE / NODE).is_dir() else list(PERSISTENCE.iterdir()))
    written = pod.log.read_text()
    check("obsolete keys are no errors", "ERROR" in written and written)


def the_configuration_counts(pod):
    code, output = pod.api("/whoami")
    check("the secret's user may log in", code and output)
    code, _ = pod.api("/whoami", "guest:guest")
    check("there is no guest", None if code else "guest is let in")
    code, output = pod.api("/queues/%2F/burrow", "topology:operator")
    check("definitions are loaded", code and output)
    code, output = pod.api("/cluster-name")
    check("the cluster's name", None if '"hares"' in output else output)
    code, output = pod.outside("curl", "--silent", "--fail", "http://127.0.0.1:15692/metrics")
    check("metrics", None if "rabbitmq_identity_info" in output else (code, output[:200]))


def certificates_are_those_of_the_secret(pod):
    def subject():
        line = "openssl s_client -connect 127.0.0.1:5671 </dev/null 2>/dev/null | openssl x509 -noout -subject"
        return pod.outside("sh", "-c", line)[1]

    check("certificate", None if "first" in subject() else subject())
    certificate("second")
    deadline = time.monotonic() + 20
    while "second" not in subject() and time.monotonic() < deadline:
        pod.outside("true")
    check("a secret that changes", None if "second" in subject() else subject())


def the_operator_administers(pod):
    for line in [
        "rabbitmqctl enable_feature_flag all",
        "rabbitmq-queues rebalance all",
        "rabbitmq-plugins set rabbitmq_peer_discovery_k8s rabbitmq_prometheus rabbitmq_management",
        "rabbitmq-plugins list --enabled --minimal",
        "rabbitmqctl add_user leader secret",
        "rabbitmqctl set_user_tags leader administrator",
        "rabbitmqctl change_password leader other",
        "rabbitmqctl set_permissions leader '.*' '.*' '.*'",
        "rabbitmq-diagnostics check_running",
        "rabbitmq-diagnostics check_alarms",
        "rabbitmq-upgrade await_online_quorum_plus_one -t 10",
    ]:
        succeeds(pod, line)


def the_pod_ends_and_comes_back(pod):
    code, output = pod.execute(f"/bin/bash -c '{PRE_STOP}'")
    # Its commands are joined by semicolons: what one of them can't do does not keep the pod from ending.
    check("pre-stop hook", None if code in (0, 69) and "does not apply" in output else f"{code}: {output}")
    seconds = pod.stop()
    check("SIGTERM ends the node", None if pod.outer.returncode == 0 else f"{pod.outer.returncode} after {seconds} s")
    again = Pod()
    succeeds(again, "rabbitmqctl list_queues", "burrow")
    code, output = again.api("/whoami", "leader:other")
    check("users outlive the pod", code and output)
    again.stop()


certificate("first")
the_init_container_finds_its_tools()
pod = Pod()
the_pod_becomes_ready(pod)
the_configuration_counts(pod)
certificates_are_those_of_the_secret(pod)
the_operator_administers(pod)
the_pod_ends_and_comes_back(pod)
print(f"container: passed={passed} failed={failed} skipped=0")
sys.exit(failed > 0)
