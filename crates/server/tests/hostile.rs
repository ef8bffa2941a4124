//! Octets on the HTTP port that mean no good: each is refused, and the node goes on serving others.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod api;
mod process;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;

use process::{Directory, Node};

const GUEST: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";
const BODY_BYTES_MAX: usize = 1_000_000;

fn start() -> (Directory, Node) {
    let directory = Directory::new("hostile");
    let program = Path::new(env!("CARGO_BIN_EXE_leveret"));
    let settings = [
        "management.tcp.idle_timeout=500",
        &format!("management.http.max_body_size={BODY_BYTES_MAX}"),
    ];
    let node = Node::start_with(program, &directory.0, &settings).unwrap();
    (directory, node)
}

fn address(node: &Node) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), node.api.port())
}

/// What comes back until the node closes the connection; a reset is an end, too.
fn read_all(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let mut block = [0; 4096];
    loop {
        match stream.read(&mut block) {
            Ok(0) => break,
            Ok(n) => seen.extend_from_slice(&block[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// The status of each answer on a connection that sends these octets, in order.
fn statuses(node: &Node, octets: &[u8]) -> Vec<u16> {
    let mut stream = TcpStream::connect(address(node)).unwrap();
    // The node may have refused before it has everything.
    let _ = stream.write_all(octets);
    let text = read_all(&mut stream);
    let heads = text.match_indices("HTTP/1.1 ");
    heads
        .map(|(at, _)| text[at + 9..at + 12].parse().unwrap())
        .collect()
}

#[track_caller]
fn still_serves(node: &Node) {
    let answer = api::ask(address(node), GUEST, "GET /api/whoami").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// `head`: the request line and headers but `Host` and `Authorization`, a line each.
fn request(head: &str, body: &str) -> Vec<u8> {
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers
        .lines()
        .map(|it| format!("{}\r\n", it.trim_start()))
        .collect();
    format!("{line}\r\nHost: localhost\r\nAuthorization: {GUEST}\r\n{headers}\r\n{body}")
        .into_bytes()
}

#[test]
fn requests_that_are_none() {
    let (_directory, node) = start();
    let long = "a".repeat(200_000);
    let many = "x: y\n".repeat(1000);
    for (name, octets, expected) in [
        (
            "no request line",
            b"\0\x01\x02\r\n\r\n".to_vec(),
            &[400][..],
        ),
        (
            "HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            &[][..],
        ),
        ("AMQP", b"AMQP\0\0\x09\x01\r\n\r\n".to_vec(), &[400]),
        (
            "a long path",
            request(&format!("GET /{long} HTTP/1.1"), ""),
            &[431],
        ),
        (
            "a long header",
            request(&format!("GET / HTTP/1.1\nx: {long}"), ""),
            &[431],
        ),
        (
            "many headers",
            request(&format!("GET / HTTP/1.1\n{many}"), ""),
            &[431],
        ),
        (
            "an octet 0 in a header",
            request("GET / HTTP/1.1\nx: a\0b", ""),
            &[400],
        ),
        (
            "a space before the colon",
            request("GET / HTTP/1.1\nx : y", ""),
            &[400],
        ),
        (
            "two lengths",
            request(
                "PUT /api/vhosts/v HTTP/1.1\nContent-Length: 2\nContent-Length: 3",
                "{} ",
            ),
            &[400],
        ),
        (
            "lengths in one header",
            request("PUT /api/vhosts/v HTTP/1.1\nContent-Length: 2, 3", "{} "),
            &[400],
        ),
        (
            "a negative length",
            request("PUT /api/vhosts/v HTTP/1.1\nContent-Length: -1", ""),
            &[400],
        ),
        (
            "a length that is no number",
            request("PUT /api/vhosts/v HTTP/1.1\nContent-Length: +2", "{}"),
            &[400],
        ),
        (
            "an encoding that is none",
            request(
                "PUT /api/vhosts/v HTTP/1.1\nTransfer-Encoding: xchunked",
                "0\r\n\r\n",
            ),
            &[400],
        ),
        (
            "chunked, but not last",
            request(
                "PUT /api/vhosts/v HTTP/1.1\nTransfer-Encoding: chunked, identity",
                "0\r\n\r\n",
            ),
            &[400],
        ),
        (
            "methods that there are not",
            request("BREW /api/overview HTTP/1.1\nConnection: close", ""),
            &[405],
        ),
        (
            "TRACE",
            request("TRACE /api/overview HTTP/1.1\nConnection: close", ""),
            &[405],
        ),
        (
            "CONNECT",
            request("CONNECT localhost:5672 HTTP/1.1\nConnection: close", ""),
            &[404],
        ),
    ] {
        assert_eq!(statuses(&node, &octets), expected, "{name}");
        still_serves(&node);
    }
    let vhosts = api::ask(address(&node), GUEST, "GET /api/vhosts?columns=name").unwrap();
    assert_eq!(vhosts.json(), serde_json::json!([{"name": "/"}]));
}

/// What one part of the way takes for a body must not be a request to another.
#[test]
fn no_request_hides_in_a_body() {
    let (_directory, node) = start();
    let hidden = "DELETE /api/vhosts/%2F HTTP/1.1\r\n\r\n";
    let length = hidden.len() + 5;
    let both = format!(
        "GET /api/whoami HTTP/1.1\nConnection: close\nContent-Length: {length}\nTransfer-Encoding: chunked"
    );
    let seen = statuses(&node, &request(&both, &format!("0\r\n\r\n{hidden}")));
    assert!(matches!(seen[..], [200 | 400]), "{seen:?}");
    let chunk = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let chunked = "GET /api/whoami HTTP/1.1\nConnection: close\nTransfer-Encoding: chunked";
    assert_eq!(statuses(&node, &request(chunked, &chunk)), [200]);
    still_serves(&node);
    let vhosts = api::ask(address(&node), GUEST, "GET /api/vhosts/%2F").unwrap();
    assert_eq!(vhosts.status, 200);
}

#[test]
fn paths_lead_nowhere_else() {
    let (_directory, node) = start();
    for path in [
        "/../Cargo.toml",
        "/js/../../Cargo.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/js/..%5c..%5cCargo.toml",
        "//etc/passwd",
        "/js/main.js%00.css",
        "/%c0%ae%c0%ae/etc/passwd",
        "/api/..%2f..%2fetc%2fpasswd",
        "/api/definitions/..%2f%2e%2e",
        "/metrics/../../etc/passwd",
    ] {
        let answer = api::ask(address(&node), GUEST, &format!("GET {path}")).unwrap();
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
    }
    still_serves(&node);
}

#[test]
fn bodies_without_end_are_not_kept() {
    let (_directory, node) = start();
    still_serves(&node);
    let before = node.memory_kib("VmHWM").unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    for (name, head) in [
        (
            "announced",
            "POST /api/definitions HTTP/1.1\nContent-Length: 104857600",
        ),
        (
            "in chunks",
            "POST /api/definitions HTTP/1.1\nTransfer-Encoding: chunked",
        ),
    ] {
        let mut stream = TcpStream::connect(address(&node)).unwrap();
        stream.write_all(&request(head, "")).unwrap();
        // The node stops reading and closes: at last a write fails.
        let sent = (0..100)
            .take_while(|_| stream.write_all(chunk.as_bytes()).is_ok())
            .count();
        let text = read_all(&mut stream);
        let is_told = text.is_empty() || text.contains("Exceeded HTTP request body size limit");
        assert!(
            is_told && sent < 100,
            "{name}: {sent} MiB were taken: {text}"
        );
        still_serves(&node);
    }
    let grown = node.memory_kib("VmHWM").unwrap() - before;
    assert!(grown < 20_000, "{grown} KiB for bodies of 100 MiB");
}

#[test]
fn whoever_does_not_finish_is_dropped() {
    let (_directory, node) = start();
    let mut slow: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(address(&node)).unwrap();
            stream
                .write_all(b"GET /api/overview HTTP/1.1\r\nx: ")
                .unwrap();
            stream
        })
        .collect();
    still_serves(&node);
    for stream in &mut slow {
        // It ends: the node does not wait for more.
        let text = read_all(stream);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 408"),
            "{text}"
        );
    }
    still_serves(&node);
}
