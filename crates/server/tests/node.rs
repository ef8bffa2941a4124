//! The real program: start, listen, stop.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod api;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use leveret_amqp091::method::{ConnectionStartOk, Method, RawTable};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A folder of its own for each test, removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "leveret-node-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command
        .args(arguments)
        .args(["--set", "management.tcp.port=0"])
        .args(["--set", "prometheus.tcp.port=0"]);
    if !arguments.contains(&"--data-dir") {
        command.arg("--data-dir").arg(folder.0.join("data"));
    }
    for name in [
        "NODENAME",
        "NODE_PORT",
        "NODE_IP_ADDRESS",
        "CONFIG_FILE",
        "CONFIG_FILES",
    ] {
        command.env_remove(format!("RABBITMQ_{name}"));
    }
    command
}

/// Runs the program to its end.
fn output(arguments: &[&str]) -> Output {
    command(&Folder::new(), arguments).output().unwrap()
}

/// A node that has announced itself.
struct Node {
    process: Child,
    stdout: BufReader<ChildStdout>,
    announced: Vec<String>,
    folder: Folder,
}

impl Node {
    fn start(folder: Folder, arguments: &[&str]) -> Self {
        let command = command(&folder, arguments);
        Self::spawn(folder, command)
    }

    fn spawn(folder: Folder, mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut announced = Vec::new();
        while !announced
            .last()
            .is_some_and(|line: &String| line.starts_with("started in "))
        {
            let mut line = String::new();
            assert_ne!(
                stdout.read_line(&mut line).unwrap(),
                0,
                "the node ended: {announced:?}"
            );
            announced.push(line.trim_end().to_owned());
        }
        Self {
            process,
            stdout,
            announced,
            folder,
        }
    }

    fn addresses(&self, protocol: &str) -> Vec<SocketAddr> {
        let address = |line: &String| {
            let (address, found) = line.strip_prefix("listening on ")?.split_once(' ')?;
            (found == format!("({protocol})")).then(|| address.parse().unwrap())
        };
        self.announced.iter().filter_map(address).collect()
    }

    /// Reads on until the node has printed this.
    fn await_line(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(
                self.stdout.read_line(&mut line).unwrap(),
                0,
                "the node ended"
            );
        }
    }

    /// Sends the signal; gives what the node still printed. It has to end well.
    fn stop(mut self, signal: Signal) -> String {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success());
        rest
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_node_announces_itself_and_stops_when_told() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let node = Node::start(Folder::new(), &["--set", "listeners.tcp.1=localhost:0"]);
        let version = concat!("Leveret ", env!("CARGO_PKG_VERSION"), ", node ");
        assert!(node.announced.iter().any(|line| line.starts_with(version)));
        let data = node.folder.0.join("data").canonicalize().unwrap();
        assert!(
            node.announced
                .contains(&format!("data in {}", data.display()))
        );
        let addresses = node.addresses("amqp");
        assert!(addresses[0].ip().is_loopback());
        for address in addresses {
            TcpStream::connect(address).unwrap();
        }
        assert!(node.stop(signal).contains(name));
    }
}

#[test]
fn nodes_run_side_by_side_and_only_explicit_ports_are_open_to_others() {
    let first = Node::start(Folder::new(), &["run", "--set", "listeners.tcp.default=0"]);
    let second = Node::start(Folder::new(), &["--set", "listeners.tcp.1=127.0.0.1:0"]);
    let (open, closed) = (first.addresses("amqp")[0], second.addresses("amqp")[0]);
    assert!(open.ip().is_unspecified());
    assert!(closed.ip().is_loopback());
    TcpStream::connect(("127.0.0.1", open.port())).unwrap();
    TcpStream::connect(closed).unwrap();
    first.stop(Signal::TERM);
    second.stop(Signal::TERM);
}

#[test]
fn a_tls_listener_is_announced_as_such() {
    let folder = Folder::new();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = folder.write("server.pem", &certified.cert.pem());
    let key = folder.write("server.key", &certified.signing_key.serialize_pem());
    let file = folder.write(
        "rabbitmq.conf",
        &format!(
            "listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:0\n\
             ssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\n"
        ),
    );
    let node = Node::start(folder, &["--config", &file]);
    assert_eq!(node.addresses("amqp"), []);
    TcpStream::connect(node.addresses("amqps")[0]).unwrap();
    node.stop(Signal::TERM);
}

#[test]
fn a_node_out_of_file_descriptors_says_so_and_goes_on() {
    let folder = Folder::new();
    let program = command(&folder, &["--set", "listeners.tcp.1=127.0.0.1:0"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 40 && exec \"$@\"", "sh"]);
    limited.arg(program.get_program()).args(program.get_args());
    let mut node = Node::spawn(folder, limited);

    let address = node.addresses("amqp")[0];
    // They all succeed: the kernel keeps those that were not accepted.
    let clients: Vec<_> = (0..60)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    node.await_line("cannot accept connections");
    drop(clients);
    TcpStream::connect(address).unwrap();
    node.stop(Signal::TERM);
}

#[test]
fn scarce_resources_are_noticed() {
    for (key, resource) in [
        ("vm_memory_high_watermark.absolute=0", "resource=\"memory\""),
        ("disk_free_limit.absolute=1000PiB", "resource=\"disk\""),
    ] {
        let arguments = ["--set", "listeners.tcp.1=127.0.0.1:0", "--set", key];
        let mut node = Node::start(Folder::new(), &arguments);
        node.await_line(&format!("publishers are blocked {resource}"));
        node.stop(Signal::TERM);
    }
}

#[test]
fn what_keeps_a_node_from_starting_is_said() {
    let check = |arguments: &[&str], expected: &str| {
        let output = output(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    };
    check(
        &["--set", "heartbeat=soon"],
        "--set: heartbeat: 'soon' is not an integer from 0 to 65535",
    );
    check(&["--config", "/nowhere.conf"], "/nowhere.conf: ");
    check(&["--frobnicate"], "unexpected '--frobnicate'");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listener = format!("listeners.tcp.1={address}");
    check(
        &["--set", &listener],
        &format!("cannot listen on {address}: "),
    );

    let file = Folder::new();
    let in_the_way = file.write("file", "");
    check(
        &[
            "--set",
            "listeners.tcp.1=127.0.0.1:0",
            "--data-dir",
            &in_the_way,
        ],
        "data directory ",
    );
}

/// A TLS client of the node, with the certificates that `dev-certs` has made.
fn connect_certified(
    address: SocketAddr,
    certificates: &Path,
) -> StreamOwned<ClientConnection, TcpStream> {
    let file = |name: &str| certificates.join(name);
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file("ca_certificate.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(file("client_certificate.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(file("client_key.pem")).unwrap(),
        )
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(client, TcpStream::connect(address).unwrap())
}

/// Reads a frame; gives its payload.
fn frame(stream: &mut impl Read) -> Vec<u8> {
    let mut head = [0; 7];
    stream.read_exact(&mut head).unwrap();
    let size = u32::from_be_bytes(head[3..].try_into().unwrap());
    let mut payload = vec![0; size as usize + 1];
    stream.read_exact(&mut payload).unwrap();
    payload
}

#[test]
fn a_certificate_made_for_development_logs_its_user_in() {
    let folder = Folder::new();
    let directory = folder.0.join("certs");
    let dev_certs = || {
        let mut program = Command::new(env!("CARGO_BIN_EXE_leveret"));
        program.arg("dev-certs").arg(&directory).output().unwrap()
    };
    let made = dev_certs();
    let printed = String::from_utf8(made.stdout).unwrap();
    let (_, configuration) = printed.split_once("\n\n").unwrap();
    let configuration = configuration.replace("ssl.default = 5671", "ssl.1 = 127.0.0.1:0");
    let file = folder.write("rabbitmq.conf", &(configuration + "listeners.tcp = none\n"));
    assert!(!dev_certs().status.success(), "nothing is written over");

    let node = Node::start(folder, &["--config", &file]);
    let mut stream = connect_certified(node.addresses("amqps")[0], &directory);
    stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
    let start = frame(&mut stream);
    assert!(start.windows(14).any(|words| words == b"EXTERNAL PLAIN"));
    let mut answer = Vec::new();
    let start_ok = ConnectionStartOk {
        client_properties: RawTable(&[]),
        mechanism: "EXTERNAL",
        response: b"",
        locale: "en_US",
    };
    Method::from(start_ok).encode(0, &mut answer);
    stream.write_all(&answer).unwrap();
    // connection.tune: the login has been taken.
    assert_eq!(frame(&mut stream)[..4], [0, 10, 0, 30]);
    drop(stream);
    node.stop(Signal::TERM);
}

#[test]
fn a_configuration_is_read_again_on_sighup() {
    let folder = Folder::new();
    let listener = "listeners.tcp.1 = 127.0.0.1:0\n";
    let file = folder.write("rabbitmq.conf", listener);
    let mut node = Node::start(folder, &["--config", &file]);
    let hang_up = |node: &mut Node, text: &str, expected: &[&str]| {
        node.folder
            .write("rabbitmq.conf", &format!("{listener}{text}"));
        kill_process(Pid::from_child(&node.process), Signal::HUP).unwrap();
        expected.iter().for_each(|line| node.await_line(line));
    };
    hang_up(
        &mut node,
        "heartbeat = 5\ncluster_name = burrow\nhartbeat = 1",
        &[
            "cluster_name: not set -> burrow, when the node starts next",
            "heartbeat: 60 -> 5",
            "hartbeat is not a known key, ignored",
        ],
    );
    hang_up(
        &mut node,
        "heartbeat = soon",
        &[
            "heartbeat: 'soon' is not an integer",
            "the configuration stays as it was",
        ],
    );
    // Publishers are held back by what has just been configured.
    hang_up(
        &mut node,
        "disk_free_limit.absolute = 1000PiB",
        &[
            "heartbeat: 5 -> 60",
            "publishers are blocked resource=\"disk\"",
        ],
    );
    node.stop(Signal::TERM);
}

#[test]
fn the_service_manager_is_told() {
    let folder = Folder::new();
    let path = folder.0.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let heard = |expected: &str| {
        let mut buffer = [0; 256];
        let len = manager.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        assert!(text.starts_with(expected), "{text}");
    };
    let mut program = command(&folder, &["--set", "listeners.tcp.1=127.0.0.1:0"]);
    program.env("NOTIFY_SOCKET", &path);
    let node = Node::spawn(folder, program);
    heard("READY=1");
    kill_process(Pid::from_child(&node.process), Signal::HUP).unwrap();
    heard("RELOADING=1\nMONOTONIC_USEC=");
    heard("READY=1");
    kill_process(Pid::from_child(&node.process), Signal::TERM).unwrap();
    heard("STOPPING=1");
    node.stop(Signal::TERM);
}

/// One request to the HTTP API, as guest; gives the status line.
fn request(address: SocketAddr, line: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: x\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap().to_owned()
}

/// An answer that a client has not read yet is still there when its idle connection is closed.
#[test]
fn an_idle_http_connection_is_closed_and_not_reset() {
    let arguments = [
        "--set",
        "listeners.tcp.1=127.0.0.1:0",
        "--set",
        "management.tcp.idle_timeout=100",
    ];
    let node = Node::start(Folder::new(), &arguments);
    let mut socket = TcpStream::connect(node.addresses("http")[0]).unwrap();
    socket
        .write_all(b"GET /api/overview HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    node.stop(Signal::TERM);
}

#[test]
fn what_administrators_do_is_logged_without_passwords() {
    let arguments = [
        "--set",
        "listeners.tcp.1=127.0.0.1:0",
        "--set",
        "log.file=node.log",
        "--set",
        "log.file.formatter=json",
        "--set",
        "log.console=false",
    ];
    let mut node = Node::start(Folder::new(), &arguments);
    let address = node.addresses("http")[0];
    request(
        address,
        "PUT /api/users/alice",
        r#"{"password":"sesame","tags":""}"#,
    );
    request(address, "GET /api/users", "");
    let file = node.folder.0.join("data/log/node.log");
    let folder = std::mem::replace(&mut node.folder, Folder::new());
    let rest = node.stop(Signal::TERM);
    let text = std::fs::read_to_string(file).unwrap();
    drop(folder);
    assert_eq!(rest, "", "nothing is on the console");
    let audit: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &Value| event["domain"] == "rabbitmq.audit")
        .collect();
    assert_eq!(audit.len(), 1, "reading changes nothing: {audit:?}");
    assert_eq!(audit[0]["user"], "guest");
    assert_eq!(audit[0]["method"], "PUT");
    assert_eq!(audit[0]["path"], "/api/users/alice");
    let peer = audit[0]["peer"].as_str().unwrap();
    assert!(["::1", "127.0.0.1"].contains(&peer), "{peer}");
    assert!(!text.contains("sesame"));
}

#[test]
fn a_configuration_can_be_looked_at_without_starting() {
    let folder = Folder::new();
    let good = folder.write("good.conf", "heartbeat = 5\ndefault_pass = sesame\n");
    let bad = folder.write("bad.conf", "heartbeat = soon\n");
    let tls = "listeners.ssl.1 = 5671\nssl_options.certfile = /none\nssl_options.keyfile = /none\n";
    let tls = folder.write("tls.conf", tls);
    let check = |arguments: &[&str], is_good: bool, expected: &str| {
        let output = output(arguments);
        assert_eq!(output.status.success(), is_good, "{arguments:?}");
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(printed.contains(expected), "{arguments:?}: {printed}");
        assert!(!printed.contains("sesame"));
    };
    check(
        &["config", "check", &good],
        true,
        "the configuration can be started with",
    );
    check(
        &["config", "check", &bad],
        false,
        "bad.conf:1: heartbeat: 'soon' is not",
    );
    check(&["config", "check", &tls], false, "/none: ");
    check(
        &["config", "effective", "--config", &good],
        true,
        "heartbeat = 5 ",
    );
}

/// The value was encrypted by `rabbitmqctl encrypt_conf_value` of RabbitMQ 4.3.6.
#[test]
fn the_passphrase_of_encrypted_values_is_asked_for_once() {
    let value = "encrypted:rxATShr2kCDaAO6NLR9CMy13gexdyQ4VKD9jt6rNNsyDKH5y/cWXqjQddlwBBhEL";
    let text = format!(
        "config_entry_decoder.passphrase = prompt\ndefault_pass = {value}\nssl_options.password = {value}\n"
    );
    let folder = Folder::new();
    let file = folder.write("prompt.conf", &text);
    let check = |typed: &str, is_good: bool, expected: &str| {
        let mut process = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .args(["config", "check", &file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = process.stdin.take().unwrap();
        stdin.write_all(typed.as_bytes()).unwrap();
        drop(stdin);
        let output = process.wait_with_output().unwrap();
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.success(), is_good, "{printed}");
        assert!(printed.contains(expected), "{printed}");
        assert_eq!(printed.matches("Passphrase: ").count(), 1, "{printed}");
    };
    check("passphrase1\n", true, "can be started with");
    check("passphrase2\n", false, "can't be decrypted");
    check("", false, "nobody told the passphrase");
}

#[test]
fn questions_are_answered_without_starting() {
    let check = |argument: &str, expected: &str| {
        let output = output(&[argument]);
        assert!(output.status.success());
        assert!(
            String::from_utf8(output.stdout).unwrap().contains(expected),
            "{argument}"
        );
    };
    check(
        "--version",
        &format!("leveret {}\n", env!("CARGO_PKG_VERSION")),
    );
    check("--help", "Usage: leveret [run]");
    check("--keys", "heartbeat = 60\n");
}

/// A TLS client that shows no certificate.
fn connect_encrypted(
    address: SocketAddr,
    authority: &CertificateDer<'static>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(client, TcpStream::connect(address).unwrap())
}

#[test]
fn the_http_api_and_the_metrics_speak_tls() {
    let folder = Folder::new();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = folder.write("server.pem", &certified.cert.pem());
    let key = folder.write("server.key", &certified.signing_key.serialize_pem());
    let settings: String = ["management", "prometheus"]
        .map(|section| {
            format!(
                "{section}.ssl.port = 0\n{section}.ssl.ip = 127.0.0.1\n\
                 {section}.ssl.certfile = {certificate}\n{section}.ssl.keyfile = {key}\n"
            )
        })
        .concat();
    let file = folder.write(
        "rabbitmq.conf",
        &("listeners.tcp.1 = 127.0.0.1:0\n".to_owned() + &settings),
    );
    let node = Node::start(folder, &["--config", &file]);
    let authority = certified.cert.der().clone();
    let ask = |protocol: &str, request: &str| {
        let stream = connect_encrypted(node.addresses(protocol)[0], &authority);
        // guest:guest
        api::converse(stream, Some("Basic Z3Vlc3Q6Z3Vlc3Q="), request).unwrap()
    };
    let api = node.addresses("https")[0];
    let shown = ask("https", "GET /api/leveret/certificates").json();
    let (https, metrics) = (&shown[0], &shown[1]);
    assert_eq!(
        (https["protocol"].as_str(), https["port"].as_u64()),
        (Some("https"), Some(api.port().into()))
    );
    assert_eq!(metrics["protocol"], "https/prometheus");
    let own = &https["certfile"]["certificates"][0];
    assert_eq!(own["names"], serde_json::json!(["localhost"]));
    let listeners = ask("https", "GET /api/overview?columns=listeners").json();
    let listeners = listeners["listeners"].to_string();
    assert!(listeners.contains(r#""protocol":"https""#), "{listeners}");
    // rcgen's certificates last to the year 4096.
    let check = "GET /api/health/checks/certificate-expiration";
    assert_eq!(ask("https", &format!("{check}/10/years")).status, 200);
    let late = ask("https", &format!("{check}/3000/years"));
    assert_eq!(late.status, 503, "{late:?}");
    assert!(late.body.contains("4096-01-01 0:00:00"), "{late:?}");
    let metrics = ask("https/prometheus", "GET /metrics");
    assert!(metrics.body.contains("rabbitmq_identity_info"));

    // They are exchanged with the others.
    let new = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    node.folder.write("server.pem", &new.cert.pem());
    node.folder
        .write("server.key", &new.signing_key.serialize_pem());
    kill_process(Pid::from_child(&node.process), Signal::HUP).unwrap();
    let mut node = node;
    node.await_line("configuration loaded again");
    let stream = connect_encrypted(api, new.cert.der());
    let answer = api::converse(stream, Some("Basic Z3Vlc3Q6Z3Vlc3Q="), "GET /api/whoami");
    assert_eq!(answer.unwrap().status, 200);
    node.stop(Signal::TERM);
}
