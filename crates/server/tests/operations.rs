//! What operators have a running node do, against the real program.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod api;
mod client;
mod process;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use client::Client;
use leveret_amqp091::method::QueueDeclare;
use process::{Directory, Node};
use serde_json::Value;

const GUEST: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";

/// Of `guest`, salted and hashed as definitions have it.
const GUEST_HASH: &str = "AQIDBEMMOXwY6PKx/JKP9PAqfsb4ozuD0Ta3pxxa9gEYBMmD";

fn start(directory: &Directory, settings: &[&str]) -> Node {
    let program = Path::new(env!("CARGO_BIN_EXE_leveret"));
    Node::start_with(program, &directory.0, settings).unwrap()
}

fn ask(node: &Node, request: &str) -> api::Answer {
    // The API is on every interface, and so is its address.
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), node.api.port());
    api::ask(address, GUEST, request).unwrap()
}

#[track_caller]
fn check(node: &Node, request: &str, status: u16) -> api::Answer {
    let answer = ask(node, request);
    assert_eq!(answer.status, status, "{request}: {answer:?}");
    answer
}

/// Asks for a change of the node; it has to be made.
#[track_caller]
fn change(node: &Node, what: &str) {
    check(node, &format!("POST /api/leveret/node/{what} {{}}"), 204);
}

fn declare(client: &mut Client, queue: &str) {
    let declare = QueueDeclare {
        queue,
        durable: true,
        ..Default::default()
    };
    client.call(declare).unwrap().unwrap();
}

/// Why the node has closed a connection.
fn ending(client: &mut Client) -> String {
    client.next().unwrap_err().to_string()
}

#[test]
fn a_cluster_keeps_its_id_and_takes_the_tags_of_its_configuration() {
    let directory = Directory::new("operations");
    let parameters = |settings: &[&str]| {
        let node = start(&directory, settings);
        let of = |name: &str| {
            let answer = check(&node, &format!("GET /api/global-parameters/{name}"), 200);
            answer.json()["value"].clone()
        };
        let (id, tags) = (of("internal_cluster_id"), of("cluster_tags"));
        assert!(node.stop().unwrap().success());
        (id.as_str().unwrap().to_owned(), tags.to_string())
    };
    let (first, tags) = parameters(&[]);
    assert!(first.starts_with("rabbitmq-cluster-id-"), "{first}");
    assert_eq!(tags, "[]");
    let tagged = parameters(&["cluster_tags.region=north"]);
    assert_eq!(tagged, (first.clone(), r#"{"region":"north"}"#.to_owned()));
    assert_eq!(parameters(&[]), (first, "[]".to_owned()));
}

#[test]
fn suspended_listeners_let_nobody_in_and_leave_those_inside() {
    let directory = Directory::new("operations");
    let node = start(&directory, &[]);
    let mut inside = Client::connect(node.address).unwrap();
    change(&node, "suspend_listeners");
    assert!(TcpStream::connect(node.address).is_err(), "nothing listens");
    check(&node, "GET /api/health/checks/protocol-listener/amqp", 503);
    declare(&mut inside, "q");
    change(&node, "resume_listeners");
    declare(&mut Client::connect(node.address).unwrap(), "q");
    inside.close().unwrap();
    assert!(node.stop().unwrap().success());
}

#[test]
fn a_drained_node_sends_its_clients_away() {
    let directory = Directory::new("operations");
    let node = start(&directory, &[]);
    let mut inside = Client::connect(node.address).unwrap();
    change(&node, "drain");
    let end = ending(&mut inside);
    assert!(
        end.contains("320 CONNECTION_FORCED - Node was put into maintenance mode"),
        "{end}"
    );
    assert!(TcpStream::connect(node.address).is_err(), "nothing listens");
    let nodes = check(&node, "GET /api/nodes?columns=being_drained,running", 200);
    let expected = serde_json::json!([{"being_drained": true, "running": true}]);
    assert_eq!(nodes.json(), expected);
    check(&node, "GET /api/health/checks/is-in-service", 503);
    change(&node, "revive");
    check(&node, "GET /api/health/checks/ready-to-serve-clients", 200);
    Client::connect(node.address).unwrap().close().unwrap();
}

/// What a node that was killed in the middle of a reset has left: some of its definitions, and the mark.
#[test]
fn a_reset_that_was_begun_is_ended() {
    let directory = Directory::new("operations");
    let node = start(&directory, &[]);
    declare(&mut Client::connect(node.address).unwrap(), "q");
    check(&node, r#"PUT /api/vhosts/other {}"#, 201);
    assert!(node.stop().unwrap().success());
    let mark = directory.0.join("reset");
    std::fs::write(&mark, "").unwrap();

    let node = start(&directory, &[]);
    let vhosts = check(&node, "GET /api/vhosts?columns=name", 200).json();
    assert_eq!(vhosts, serde_json::json!([{"name": "/"}]));
    assert_eq!(
        check(&node, "GET /api/queues", 200).json(),
        serde_json::json!([])
    );
    assert!(!mark.exists());
    assert!(node.stop().unwrap().success());
}

/// A pipe takes 64 KiB; the node used to stand still behind the line that found no room.
#[test]
fn a_node_whose_output_nobody_reads_goes_on() {
    let directory = Directory::new("operations");
    let node = start(&directory, &["log.console.level=debug"]);
    for _ in 0..500 {
        Client::connect(node.address).unwrap().close().unwrap();
    }
    check(&node, "GET /api/overview", 200);
    assert!(node.stop().unwrap().success());
}

#[test]
fn a_stopped_node_can_be_reset() {
    let directory = Directory::new("operations");
    let definitions =
        std::env::temp_dir().join(format!("leveret-reset-{}.json", std::process::id()));
    // Where definitions are loaded there is no first user but theirs.
    let loaded = serde_json::json!({
        "rabbitmq_version": "4.3.6",
        "vhosts": [{"name": "/"}, {"name": "loaded"}],
        "users": [{"name": "guest", "tags": "administrator", "password_hash": GUEST_HASH}],
        "permissions": [{"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
    });
    std::fs::write(&definitions, loaded.to_string()).unwrap();
    let load = format!("load_definitions={}", definitions.display());
    let node = start(&directory, &[&load]);
    let mut inside = Client::connect(node.address).unwrap();
    declare(&mut inside, "q");
    check(
        &node,
        r#"PUT /api/users/ann {"password":"p","tags":""}"#,
        201,
    );
    check(
        &node,
        r#"PUT /api/vhosts/kept {"protected_from_deletion":true}"#,
        201,
    );
    check(
        &node,
        r#"PUT /api/global-parameters/mine {"value":"x"}"#,
        201,
    );
    check(&node, r#"PUT /api/cluster-name {"name":"other"}"#, 204);

    check(&node, "POST /api/leveret/node/reset {}", 400);
    change(&node, "stop_app");
    let end = ending(&mut inside);
    assert!(end.contains("320 CONNECTION_FORCED"), "{end}");
    assert!(TcpStream::connect(node.address).is_err(), "nothing listens");
    let publish = r#"POST /api/exchanges/%2F/amq.default/publish
        {"routing_key":"q","properties":{},"payload":"x","payload_encoding":"string"}"#;
    check(&node, &publish.replace('\n', " "), 503);
    change(&node, "reset");
    let names = |path: &str| -> Vec<String> {
        let list = check(&node, &format!("GET /api/{path}?columns=name"), 200).json();
        let names = list.as_array().unwrap().iter();
        names
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("vhosts"), ["/"]);
    assert_eq!(names("users"), ["guest"]);
    assert_eq!(names("queues"), Vec::<String>::new());
    let known = |parameter: &str| names("global-parameters").contains(&parameter.to_owned());
    assert!(!known("mine"));
    change(&node, "start_app");
    assert!(
        known("internal_cluster_id"),
        "it is a cluster of its own again"
    );
    check(&node, &publish.replace('\n', " "), 200);
    assert_eq!(names("vhosts"), ["/", "loaded"]);
    declare(&mut Client::connect(node.address).unwrap(), "q");
    assert!(node.stop().unwrap().success());

    let node = start(&directory, &[]);
    let users = check(&node, "GET /api/users?columns=name", 200);
    assert_eq!(users.json(), serde_json::json!([{"name": "guest"}]));
    std::fs::remove_file(definitions).unwrap();
}

#[test]
fn whoever_stops_a_node_is_told_first() {
    let directory = Directory::new("operations");
    let node = start(&directory, &[]);
    let mut inside = Client::connect(node.address).unwrap();
    change(&node, "stop");
    let end = ending(&mut inside);
    assert!(end.contains("320 CONNECTION_FORCED"), "{end}");
    assert!(node.wait().unwrap().success());

    let node = start(&directory, &[]);
    let stop = "POST /api/leveret/node/stop {}";
    let answer = api::ask_as_operator(&directory.0, stop).unwrap();
    assert_eq!(answer.status, 204);
    assert!(node.wait().unwrap().success());
}

#[test]
fn the_tools_stop_a_node() {
    let directory = Directory::new("operations");
    let node = start(&directory, &[]);
    tool(&directory, &["ctl", "stop"]);
    assert!(node.wait().unwrap().success());
}

/// One of the tools, to ask the node of this directory.
fn command(directory: &Directory, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(words).arg("--data-dir").arg(&directory.0);
    command
}

/// What the tool prints; it has to succeed.
fn tool(directory: &Directory, words: &[&str]) -> String {
    let done = command(directory, words).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn the_tools_tell_of_the_process() {
    let directory = Directory::new("operations");
    let node = start(
        &directory,
        &[
            "log.level=info",
            "log.console=false",
            "log.file=node.log",
            "default_pass=guest",
        ],
    );
    let arguments = tool(&directory, &["diagnostics", "command_line_arguments"]);
    assert!(
        arguments.contains("default_pass=(not shown)"),
        "{arguments}"
    );

    let follow = ["diagnostics", "log_tail_stream", "-q", "--duration", "2"];
    let mut follow = command(&directory, &follow);
    let mut following = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = following.stdout.take().unwrap();
    let reading = thread::spawn(move || {
        let mut told = String::new();
        out.read_to_string(&mut told).map(|_| told)
    });
    // Only what is logged from its first look on is told: there is something new to tell until it ends.
    check(&node, "PUT /api/vhosts/followed {}", 201);
    while following.try_wait().unwrap().is_none() {
        check(&node, "PUT /api/vhosts/followed {}", 204);
    }
    let told = reading.join().unwrap().unwrap();
    assert!(told.contains("/api/vhosts/followed"), "{told}");
}

#[test]
fn the_log_and_the_audit_log_can_be_read() {
    let directory = Directory::new("operations");
    let node = start(&directory, &["log.level=warning"]);
    let lines = |request: &str| -> (Vec<String>, u64) {
        let log = check(&node, request, 200).json();
        let lines = log["lines"].as_array().unwrap().iter();
        let lines = lines
            .map(|line| line.as_str().unwrap().to_owned())
            .collect();
        (lines, log["next"].as_u64().unwrap())
    };
    check(&node, r#"PUT /api/vhosts/quiet {}"#, 201);
    let (_, next) = lines("GET /api/leveret/log?lines=1");
    check(&node, r#"PUT /api/leveret/log/level {"level":"loud"}"#, 400);
    check(&node, r#"PUT /api/leveret/log/level {"level":"info"}"#, 204);
    check(&node, r#"PUT /api/vhosts/heard {}"#, 201);
    let (new, after) = lines(&format!("GET /api/leveret/log?lines=100&from={next}"));
    assert!(after > next);
    assert!(
        new.iter().any(|line| line.contains("/api/vhosts/heard")),
        "{new:?}"
    );
    assert!(
        !new.iter().any(|line| line.contains("/api/vhosts/quiet")),
        "{new:?}"
    );

    let audit = check(&node, "GET /api/leveret/audit?lines=2", 200).json();
    let entry = &audit["items"][1];
    let shown: Vec<&Value> = ["user", "peer", "method", "path", "status"]
        .iter()
        .map(|field| &entry[field])
        .collect();
    let expected = serde_json::json!(["guest", "127.0.0.1", "PUT", "/api/vhosts/heard", 201]);
    assert_eq!(serde_json::json!(shown), expected);
    let configuration = check(&node, "GET /api/config/effective", 200).body;
    assert!(
        configuration.contains("set while the node runs"),
        "{configuration}"
    );
}

#[test]
fn watermarks_are_changed_while_a_node_runs() {
    let directory = Directory::new("operations");
    let mut node = start(&directory, &["log.level=info"]);
    let memory = "PUT /api/leveret/alarms/memory";
    let disk = "PUT /api/leveret/alarms/disk";
    check(
        &node,
        &format!(r#"{memory} {{"vm_memory_high_watermark":{{"absolute":"1kB"}}}}"#),
        204,
    );
    node.await_line("publishers are blocked resource=\"memory\"")
        .unwrap();
    check(
        &node,
        &format!(r#"{memory} {{"vm_memory_high_watermark":{{"relative":0.9}}}}"#),
        204,
    );
    node.await_line("alarm is over resource=\"memory\"")
        .unwrap();
    check(
        &node,
        &format!(r#"{memory} {{"vm_memory_high_watermark":{{"relative":7}}}}"#),
        400,
    );
    check(
        &node,
        &format!(r#"{disk} {{"disk_free_limit":{{"absolute":"1000PiB"}}}}"#),
        204,
    );
    node.await_line("publishers are blocked resource=\"disk\"")
        .unwrap();
    check(&node, "GET /api/health/checks/alarms", 503);
    check(&node, &format!(r#"{disk} {{"monitoring":false}}"#), 204);
    node.await_line("alarm is over resource=\"disk\"").unwrap();
    check(&node, &format!(r#"{disk} {{"monitoring":true}}"#), 204);
    node.await_line("publishers are blocked resource=\"disk\"")
        .unwrap();
}
