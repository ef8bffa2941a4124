//! Commands against a node that answers from a script, on a control socket. What they print is what RabbitMQ 4.3.6's own
//! tools printed for the same objects, except where a test says otherwise.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::*;
use crate::{Surroundings, tool};

/// A request that is expected, and the status and body of its answer.
type Exchange = (&'static str, u16, &'static str);

/// A data directory with a control socket that answers these requests in this order, and nothing else.
struct ScriptedNode {
    folder: PathBuf,
    thread: Option<JoinHandle<VecDeque<Exchange>>>,
}

impl ScriptedNode {
    fn start(script: &[Exchange]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("leveret-ctl-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join("control.sock")).unwrap();
        let mut script: VecDeque<Exchange> = script.iter().copied().collect();
        let thread = std::thread::spawn(move || {
            loop {
                let (mut client, _) = listener.accept().unwrap();
                let Some(request) = read_request(&mut client) else {
                    return script;
                };
                let (expected, status, body) = script.pop_front().unwrap_or(("nothing", 500, ""));
                let (status, body) = match request == expected {
                    true => (status, body.to_owned()),
                    false => {
                        let reason = format!("expected {expected}, got {request}");
                        (500, serde_json::json!({ "reason": reason }).to_string())
                    }
                };
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                client.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        Self {
            folder,
            thread: Some(thread),
        }
    }

    /// Ends the node, and returns what it was not asked.
    fn stop(mut self) -> VecDeque<Exchange> {
        // A client that gave up before it asked has ended it already.
        drop(UnixStream::connect(self.folder.join("control.sock")));
        let thread = self.thread.take().unwrap();
        let left = thread.join().unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
        left
    }
}

/// `METHOD path`, and the body if there is one. Nothing from a client that says nothing.
fn read_request(client: &mut UnixStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = client.read(&mut piece).unwrap();
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if read == 0 {
                return None;
            }
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        if body.len() < length {
            continue;
        }
        let mut words = head.split(' ');
        let line = format!("{} {}", words.next().unwrap(), words.next().unwrap());
        return Some(if body.is_empty() {
            line
        } else {
            format!("{line} {body}")
        });
    }
}

/// Standard output, standard error and exit code of a command line.
fn run(line: &[&str], folder: &str) -> (String, String, u8) {
    let tool = Tool::of_program(line[0]).unwrap();
    let mut arguments: Vec<String> = line[1..].iter().map(|&word| word.to_owned()).collect();
    arguments.insert(0, format!("--data-dir={folder}"));
    let surroundings = Surroundings {
        variable: &|name| (name == "RABBITMQ_NODENAME").then(|| "rabbit@localhost".to_owned()),
        host: "localhost",
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = crate::run(tool, &arguments, &surroundings, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(out), text(err), code)
}

fn check(line: &[&str], script: &[Exchange], out: &str, err: &str, code: u8) {
    let node = ScriptedNode::start(script);
    let result = run(line, node.folder.to_str().unwrap());
    assert_eq!(result, (out.to_owned(), err.to_owned(), code), "{line:?}");
    assert_eq!(node.stop(), [], "{line:?} has not asked for it");
}

const NOT_FOUND: &str = r#"{"error":"Object Not Found","reason":"Not Found"}"#;
const QUEUES: &str = r#"[
    {"name":"q1","type":"classic","durable":true,"state":"running","messages":3,"policy":"p1",
     "arguments":{"x-max-length":100,"x-overflow":"reject-publish"}},
    {"name":"qq","type":"quorum","durable":true,"state":"down","arguments":{"x-queue-type":"quorum"}}
]"#;

#[test]
fn every_command_is_well_formed() {
    for tool in tool::ALL {
        let mut names: Vec<&str> = of(tool).map(|command| command.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name is given twice in {tool:?}");
        for command in of(tool) {
            crate::call::parser(command).debug_assert();
        }
        // The page and the scripts are made of all commands.
        assert!(crate::help::of_tool(tool).contains("Available commands"));
        for shell in ["bash", "zsh", "fish"] {
            let script = crate::help::completions(tool, tool.name(), shell).unwrap();
            assert!(String::from_utf8(script).unwrap().contains("help"));
        }
    }
}

#[test]
fn queues_are_listed() {
    check(
        &["rabbitmqctl", "-p", "v/1", "list_queues"],
        &[(
            "GET /api/queues/v%2F1?columns=name%2Cmessages%2Cname%2Cstate",
            200,
            QUEUES,
        )],
        "Timeout: 60.0 seconds ...\nListing queues for vhost v/1 ...\nname\tmessages\nq1\t3\nqq\t0\n",
        "",
        0,
    );
    check(
        &[
            "rabbitmqctl",
            "list_queues",
            "-q",
            "--online",
            "name",
            "arguments",
            "policy",
        ],
        &[(
            "GET /api/queues/%2F?columns=name%2Carguments%2Cpolicy%2Cname%2Cstate",
            200,
            QUEUES,
        )],
        "name\targuments\tpolicy\nq1\t[{\"x-max-length\",100},{\"x-overflow\",\"reject-publish\"}]\tp1\n",
        "",
        0,
    );
    check(
        &["rabbitmqctl", "list_queues", "-p", "nosuch"],
        &[(
            "GET /api/queues/nosuch?columns=name%2Cmessages%2Cname%2Cstate",
            404,
            NOT_FOUND,
        )],
        "Timeout: 60.0 seconds ...\nListing queues for vhost nosuch ...\n",
        "",
        0,
    );
}

#[test]
fn messages_are_counted_by_size() {
    let sizes = r#"{"items":[{"bytes_max":100,"messages":2},{"bytes_max":1000,"messages":1},
        {"bytes_max":50000000,"messages":0},{"bytes_max":null,"messages":0}]}"#;
    let check = |format: &str, out: &str| {
        check(
            &[
                "rabbitmq-diagnostics",
                "message_size_stats",
                "-q",
                "--formatter",
                format,
            ],
            &[("GET /api/leveret/message-sizes", 200, sizes)],
            out,
            "",
            0,
        );
    };
    check(
        "table",
        "Message Size\tCount\tPercentage\n\
         below 100B\t2\t66.67\n\
         between 100B and 1KB\t1\t33.33\n\
         between 1KB and 50MB\t0\t0.00\n\
         above 50MB\t0\t0.00\n",
    );
    check(
        "json",
        "[\n{\"Message Size\":\"below 100B\",\"Count\":2,\"Percentage\":\"66.67\"}\n\
         ,{\"Message Size\":\"between 100B and 1KB\",\"Count\":1,\"Percentage\":\"33.33\"}\n\
         ,{\"Message Size\":\"between 1KB and 50MB\",\"Count\":0,\"Percentage\":\"0.00\"}\n\
         ,{\"Message Size\":\"above 50MB\",\"Count\":0,\"Percentage\":\"0.00\"}\n]\n",
    );
}

#[test]
fn bindings_lead_away_from_exchanges() {
    let bindings = r#"[{"source":"ex1","vhost":"v","destination":"q1","destination_type":"queue",
        "routing_key":"a.*","arguments":{"k":"v","n":5},"properties_key":"a.%2A~qjCkxw"}]"#;
    check(
        &["rabbitmqctl", "list_bindings", "-p", "v"],
        &[("GET /api/bindings/v", 200, bindings)],
        "Listing bindings for vhost v...\n\
         source_name\tsource_kind\tdestination_name\tdestination_kind\trouting_key\targuments\n\
         ex1\texchange\tq1\tqueue\ta.*\t[{\"k\",\"v\"},{\"n\",5}]\n",
        "",
        0,
    );
}

#[test]
fn connections_have_protocols() {
    let connections = r#"[{"name":"127.0.0.1:40976 -> 127.0.0.1:5680","user":"guest","vhost":"v","state":"running",
        "protocol":"AMQP 0-9-1","ssl":false,"peer_cert_subject":null,"connected_at":1795665366917,
        "client_properties":{"product":"Pika"}}]"#;
    check(
        &[
            "rabbitmqctl",
            "list_connections",
            "name",
            "user",
            "protocol",
            "client_properties",
            "ssl",
            "peer_cert_subject",
            "connected_at",
        ],
        &[("GET /api/connections", 200, connections)],
        "Listing connections ...\n\
         name\tuser\tprotocol\tclient_properties\tssl\tpeer_cert_subject\tconnected_at\n\
         127.0.0.1:40976 -> 127.0.0.1:5680\tguest\t{0,9,1}\t[{\"product\",\"Pika\"}]\tfalse\t\t1795665366917\n",
        "",
        0,
    );
}

#[test]
fn users_are_managed() {
    check(
        &["rabbitmqctl", "list_users"],
        &[(
            "GET /api/users",
            200,
            r#"[{"name":"ann","tags":["monitoring","policymaker"]},{"name":"bob","tags":[]}]"#,
        )],
        "Listing users ...\nuser\ttags\nann\t[monitoring, policymaker]\nbob\t[]\n",
        "",
        0,
    );
    check(
        &["rabbitmqctl", "add_user", "ann", "pw"],
        &[
            ("GET /api/users/ann", 404, NOT_FOUND),
            (
                "PUT /api/users/ann {\"password\":\"pw\",\"tags\":\"\"}",
                201,
                "",
            ),
        ],
        "Adding user \"ann\" ...\n\
         Done. Don't forget to grant the user permissions to some virtual hosts! \
         See 'rabbitmqctl help set_permissions' to learn more.\n",
        "",
        0,
    );
    check(
        &["rabbitmqctl", "add_user", "ann", "pw"],
        &[("GET /api/users/ann", 200, r#"{"name":"ann","tags":[]}"#)],
        "Adding user \"ann\" ...\n",
        "Error:\nUser \"ann\" already exists\n",
        70,
    );
    check(
        &["rabbitmqctl", "change_password", "nosuch", "pw"],
        &[("GET /api/users/nosuch", 404, NOT_FOUND)],
        "Changing password for user \"nosuch\" ...\n",
        "Error:\nUser \"nosuch\" does not exist\n",
        67,
    );
    check(
        &[
            "rabbitmqctl",
            "set_user_tags",
            "ann",
            "monitoring",
            "management",
        ],
        &[
            (
                "GET /api/users/ann",
                200,
                r#"{"name":"ann","password_hash":"abc=","hashing_algorithm":"rabbit_password_hashing_sha512","tags":[]}"#,
            ),
            (
                "PUT /api/users/ann {\"hashing_algorithm\":\"rabbit_password_hashing_sha512\",\
                 \"password_hash\":\"abc=\",\"tags\":[\"monitoring\",\"management\"]}",
                204,
                "",
            ),
        ],
        "Setting tags for user \"ann\" to [monitoring, management] ...\n",
        "",
        0,
    );
    check(
        &["rabbitmqctl", "delete_user", "nosuch"],
        &[("DELETE /api/users/nosuch", 404, NOT_FOUND)],
        "Deleting user \"nosuch\" ...\n",
        "",
        0,
    );
}

#[test]
fn passwords_are_tried() {
    check(
        &["rabbitmqctl", "authenticate_user", "ann", "pw"],
        &[(
            "POST /api/leveret/authenticate {\"password\":\"pw\",\"username\":\"ann\"}",
            204,
            "",
        )],
        "Authenticating user \"ann\" ...\nSuccess\n",
        "",
        0,
    );
    // RabbitMQ has no such path. Who may not use its API learns that with the right password only.
    let script = |status, answer| {
        [
            (
                "POST /api/leveret/authenticate {\"password\":\"pw\",\"username\":\"ann\"}",
                405,
                "",
            ),
            ("GET /api/whoami", status, answer),
        ]
    };
    check(
        &["rabbitmqctl", "authenticate_user", "ann", "pw"],
        &script(
            401,
            r#"{"error":"not_authorised","reason":"Not management user"}"#,
        ),
        "Authenticating user \"ann\" ...\nSuccess\n",
        "",
        0,
    );
    check(
        &["rabbitmqctl", "authenticate_user", "ann", "pw"],
        &script(
            401,
            r#"{"error":"not_authorized","reason":"Not_Authorized"}"#,
        ),
        "Authenticating user \"ann\" ...\n",
        "Error:\nError: failed to authenticate user \"ann\"\nuser 'ann' - invalid credentials\n",
        65,
    );
}

#[test]
fn what_is_missing_for_a_permission_is_named() {
    let put = "PUT /api/permissions/v/ann {\"configure\":\".*\",\"read\":\".*\",\"write\":\".*\"}";
    let refused = r#"{"error":"bad_request","reason":"vhost_or_user_not_found"}"#;
    let line = [
        "rabbitmqctl",
        "set_permissions",
        "-p",
        "v",
        "ann",
        ".*",
        ".*",
        ".*",
    ];
    let banner = "Setting permissions for user \"ann\" in vhost \"v\" ...\n";
    check(&line, &[(put, 201, "")], banner, "", 0);
    check(
        &line,
        &[(put, 400, refused), ("GET /api/users/ann", 404, NOT_FOUND)],
        banner,
        "Error:\nUser ann does not exist\n",
        67,
    );
    check(
        &line,
        &[
            (put, 400, refused),
            ("GET /api/users/ann", 200, "{}"),
            ("GET /api/vhosts/v", 404, NOT_FOUND),
        ],
        banner,
        "Error:\nVirtual host v does not exist\n",
        69,
    );
}

#[test]
fn vhosts_keep_what_is_not_changed() {
    let vhost = r#"{"name":"v","description":"old","tags":["a"],"default_queue_type":"quorum","tracing":false}"#;
    check(
        &["rabbitmqctl", "set_vhost_tags", "v", "x"],
        &[
            ("GET /api/vhosts/v", 200, vhost),
            (
                "PUT /api/vhosts/v {\"default_queue_type\":\"quorum\",\"description\":\"old\",\"tags\":[\"x\"]}",
                204,
                "",
            ),
        ],
        "Setting tags for virtual host \"v\" to [x] ...\n",
        "",
        0,
    );
    check(
        &["rabbitmqctl", "add_vhost", "v"],
        &[("GET /api/vhosts/v", 200, vhost)],
        "Adding vhost \"v\" ...\n",
        "",
        0,
    );
    check(
        &["rabbitmqctl", "delete_vhost", "v"],
        &[(
            "DELETE /api/vhosts/v",
            412,
            r#"{"error":"precondition_failed","reason":"x"}"#,
        )],
        "Deleting vhost \"v\" ...\n",
        "Error:\nCannot delete this virtual host: it is protected from deletion. \
         To lift the protection, inspect and update its metadata\n",
        65,
    );
    check(
        &["rabbitmqctl", "delete_vhost", "v"],
        &[("DELETE /api/vhosts/v", 404, NOT_FOUND)],
        "Deleting vhost \"v\" ...\n",
        "Virtual host 'v' does not exist\n",
        65,
    );
}

#[test]
fn limits_are_replaced() {
    check(
        &[
            "rabbitmqctl",
            "set_vhost_limits",
            "-p",
            "v",
            "{\"max-queues\":5}",
        ],
        &[
            ("GET /api/vhosts/v", 200, "{}"),
            ("PUT /api/vhost-limits/v/max-queues {\"value\":5}", 204, ""),
            (
                "GET /api/vhost-limits/v",
                200,
                r#"[{"vhost":"v","value":{"max-connections":1,"max-queues":5}}]"#,
            ),
            ("DELETE /api/vhost-limits/v/max-connections", 204, ""),
        ],
        "Setting vhost limits to \"{\"max-queues\":5}\" for vhost \"v\" ...\n",
        "",
        0,
    );
}

#[test]
fn policies_are_refused_in_the_nodes_words() {
    let line = [
        "rabbitmqctl",
        "set_policy",
        "p",
        "^z",
        "{\"nosuch\":5}",
        "--priority",
        "7",
    ];
    let banner = "Setting policy \"p\" for pattern \"^z\" to \"{\"nosuch\":5}\" with priority \"7\" for vhost \"/\" ...\n";
    check(
        &line,
        &[(
            "PUT /api/policies/%2F/p {\"apply-to\":\"all\",\"definition\":{\"nosuch\":5},\"pattern\":\"^z\",\"priority\":7}",
            400,
            r#"{"error":"bad_request","reason":"Validation failed\n\n[{<<\"nosuch\">>,5}] are not recognised policy settings\n"}"#,
        )],
        banner,
        "Error:\nValidation failed\n\n[{<<\"nosuch\">>,5}] are not recognised policy settings\n\n",
        69,
    );
    check(
        &["rabbitmqctl", "set_policy", "p", "^z", "notjson", "-q"],
        &[],
        "",
        "Error:\nCould not parse JSON document: {error,{failed_to_decode_json,<<\"notjson\">>}}\n",
        69,
    );
    check(
        &["rabbitmqctl", "clear_policy", "p"],
        &[("DELETE /api/policies/%2F/p", 404, NOT_FOUND)],
        "Clearing policy \"p\" on vhost \"/\" ...\n",
        "Error:\nParameter does not exist\n",
        69,
    );
}

#[test]
fn queues_are_deleted_under_conditions() {
    check(
        &["rabbitmqctl", "delete_queue", "q", "--if-empty", "-u"],
        &[
            ("GET /api/queues/%2F/q", 200, r#"{"messages_ready":0}"#),
            (
                "DELETE /api/queues/%2F/q?if-empty=true&if-unused=true&",
                400,
                r#"{"error":"bad_request","reason":"queue 'q' in vhost '/' in use"}"#,
            ),
        ],
        "Deleting queue 'q' on vhost '/' if queue is empty and if queue is unused ...\n",
        "Error:\nThe queue is in use\n",
        64,
    );
    check(
        &["rabbitmqctl", "delete_queue", "q"],
        &[("GET /api/queues/%2F/q", 404, NOT_FOUND)],
        "Deleting queue 'q' on vhost '/' ...\n",
        "Error:\nNo such queue was found\n",
        64,
    );
    check(
        &["rabbitmqctl", "purge_queue", "q"],
        &[("DELETE /api/queues/%2F/q/contents", 404, NOT_FOUND)],
        "Purging queue 'q' in vhost '/' ...\n",
        "Object (queue, stream, exchange, etc) was not found\n",
        65,
    );
}

const LISTENERS: &str = r#"{"listeners":[
    {"node":"rabbit@localhost","protocol":"amqp","ip_address":"::","port":5672},
    {"node":"rabbit@localhost","protocol":"http","ip_address":"127.0.0.1","port":15672},
    {"node":"rabbit@other","protocol":"mqtt","ip_address":"127.0.0.1","port":1883}
]}"#;

#[test]
fn checks_pass_or_fail() {
    let script = [
        (
            "GET /api/overview?columns=node",
            200,
            r#"{"node":"rabbit@localhost"}"#,
        ),
        ("GET /api/overview?columns=listeners", 200, LISTENERS),
    ];
    check(
        &["rabbitmq-diagnostics", "check_port_listener", "5672"],
        &script,
        "Asking node rabbit@localhost if there's an active listener on port 5672 ...\n\
         A listener for port 5672 is running on node rabbit@localhost.\n",
        "",
        0,
    );
    check(
        &["rabbitmq-diagnostics", "-q", "check_port_listener", "1883"],
        &script,
        "",
        "No listener for port 1883 is active on node rabbit@localhost. \
         Found listeners that use the following ports: 5672, 15672\n",
        69,
    );
    check(
        &[
            "rabbitmq-diagnostics",
            "-q",
            "check_protocol_listener",
            "amqp1.0",
        ],
        &script,
        "A listener for protocol amqp is running on node rabbit@localhost.\n",
        "",
        0,
    );
    check(
        &["rabbitmq-diagnostics", "-q", "listeners"],
        &script,
        "Interface: [::], port: 5672, protocol: amqp, purpose: AMQP 0-9-1 and AMQP 1.0\n\
         Interface: 127.0.0.1, port: 15672, protocol: http, purpose: HTTP API\n",
        "",
        0,
    );
    let nodes = [(
        "GET /api/nodes",
        200,
        r#"[{"name":"rabbit@localhost","mem_alarm":true,"disk_free_alarm":false}]"#,
    )];
    check(
        &["rabbitmq-diagnostics", "-q", "check_alarms"],
        &nodes,
        "",
        "Memory alarm on node rabbit@localhost\n",
        69,
    );
    check(
        &[
            "rabbitmq-diagnostics",
            "check_alarms",
            "--formatter",
            "json",
        ],
        &nodes,
        "",
        "{\"global\":[],\"local\":[\"Memory alarm on node rabbit@localhost\"],\
         \"message\":\"Node rabbit@localhost reported alarms\",\"result\":\"error\"}\n",
        69,
    );
    check(
        &["rabbitmq-diagnostics", "-s", "check_alarms"],
        &[("GET /api/nodes", 200, r#"[{"name":"rabbit@localhost"}]"#)],
        "",
        "",
        0,
    );
}

#[test]
fn startup_is_waited_for() {
    let not_yet = ("GET /api/health/checks/ready-to-serve-clients", 503, "{}");
    let ready = (
        "GET /api/health/checks/ready-to-serve-clients",
        200,
        r#"{"status":"ok"}"#,
    );
    check(
        &["rabbitmqctl", "await_startup"],
        &[not_yet, ready],
        "",
        "",
        0,
    );
    check(
        &["rabbitmqctl", "await_startup", "--timeout", "0"],
        &[],
        "",
        "Error: operation await_startup on node rabbit@localhost timed out. Timeout value used: 0\n",
        75,
    );
}

#[test]
fn plugins_are_listed() {
    check(
        &["rabbitmq-plugins", "list", "^rabbitmq_(management|top)"],
        &[
            (
                "GET /api/overview?columns=node",
                200,
                r#"{"node":"rabbit@localhost"}"#,
            ),
            (
                "GET /api/nodes/rabbit%40localhost",
                200,
                r#"{"enabled_plugins":["rabbitmq_management"],
                    "applications":[{"name":"rabbit"},{"name":"rabbitmq_management_agent"}]}"#,
            ),
            (
                "GET /api/overview?columns=rabbitmq_version",
                200,
                r#"{"rabbitmq_version":"4.3.6"}"#,
            ),
        ],
        "Listing plugins with pattern \"^rabbitmq_(management|top)\" ...\n \
         Configured: E = explicitly enabled; e = implicitly enabled\n \
         | Status: * = running on rabbit@localhost\n |/\n\
         [E*] rabbitmq_management       4.3.6\n\
         [e*] rabbitmq_management_agent 4.3.6\n\
         [  ] rabbitmq_top              4.3.6\n",
        "",
        0,
    );
}

#[test]
fn plugins_are_kept_in_a_file() {
    let node = ScriptedNode::start(&[]);
    let folder = node.folder.to_str().unwrap().to_owned();
    let set = [
        "rabbitmq-plugins",
        "set",
        "--offline",
        "rabbitmq_management",
        "rabbitmq_mqtt",
    ];
    let (out, err, code) = run(&set, &folder);
    assert_eq!((err.as_str(), code), ("", 0), "{out}");
    assert!(out.ends_with(
        "The following plugins have been configured:\n  rabbitmq_management\n  rabbitmq_mqtt\n\
         Applying plugin configuration to rabbit@localhost...\nset 2 plugins.\n\
         Offline change; changes will take effect at broker restart.\n"
    ));
    let file = format!("{folder}/enabled_plugins");
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text, "[rabbitmq_management,rabbitmq_mqtt].\n");
    let asked = [
        "rabbitmq-plugins",
        "is_enabled",
        "--offline",
        "-q",
        "rabbitmq_mqtt",
        "rabbitmq_top",
    ];
    let (_, err, code) = run(&asked, &folder);
    assert_eq!(code, 69);
    assert_eq!(
        err,
        "Error:\nPlugin rabbitmq_top is not enabled. \
         Enabled plugins and dependencies: rabbitmq_management, rabbitmq_mqtt\n"
    );
    node.stop();
}

#[test]
fn mistakes_are_explained() {
    let usage = "\nUsage\n\nrabbitmqctl [--node <node>] [--longnames] [--quiet] add_user \
                 <username> [<password>] [<password_hash> --pre-hashed-password]\n";
    let (out, err, code) = run(&["rabbitmqctl", "add_user"], "nowhere");
    assert_eq!((out.as_str(), code), ("", 64));
    assert_eq!(
        err,
        format!(
            "Error (argument validation): not enough arguments.\nArguments given:\n\t--data-dir=nowhere add_user\n{usage}"
        )
    );
    let (_, err, code) = run(&["rabbitmqctl", "list_queue"], "nowhere");
    assert_eq!(
        err,
        "\nCommand 'list_queue' not found. \nDid you mean 'list_queues'? \n\n"
    );
    assert_eq!(code, 64);
    let (_, err, code) = run(&["rabbitmq-diagnostics", "zzz"], "nowhere");
    assert!(err.starts_with("\nCommand 'zzz' not found. \n\nUsage\n\nrabbitmq-diagnostics "));
    assert_eq!(code, 64);
    let (out, err, code) = run(&["rabbitmqctl"], "nowhere");
    assert_eq!((out.as_str(), code), ("", 64));
    assert!(err.contains("Available commands:"));
    let (_, _, code) = run(
        &["rabbitmqctl", "add_vhost", "v", "--default-queue-type", "x"],
        "nowhere",
    );
    assert_eq!(code, 65);
}

#[test]
fn a_node_that_is_not_there() {
    let (out, err, code) = run(&["rabbitmqctl", "list_users"], "nowhere");
    assert_eq!(out, "Listing users ...\n");
    assert!(err.starts_with("Error: unable to perform an operation on node 'rabbit@localhost'."));
    assert!(err.contains("control socket nowhere/control.sock"));
    assert_eq!(code, 69);
    let version = run(
        &["rabbitmqctl", "version", "--formatter", "json"],
        "nowhere",
    );
    assert_eq!(version.0, "{\"version\":\"4.3.6\"}\n");
    assert_eq!(run(&["rabbitmqctl", "--version"], "nowhere").0, "4.3.6\n");
    assert_eq!(
        run(&["rabbitmqctl", "list_users", "--help"], "nowhere").2,
        0
    );
}
