//! Requests to a node's HTTP API.
#![allow(dead_code, reason = "each of its users needs another part of it")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

/// The status of an answer, and its body.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// `METHOD path body`, by whoever the value of `Authorization` is.
pub(crate) fn ask(api: SocketAddr, authorization: &str, request: &str) -> io::Result<Answer> {
    converse(TcpStream::connect(api)?, Some(authorization), request)
}

/// The same on the control socket of a data directory, by whoever runs the node.
pub(crate) fn ask_as_operator(data_dir: &Path, request: &str) -> io::Result<Answer> {
    let socket = UnixStream::connect(data_dir.join("control.sock"))?;
    converse(socket, None, request)
}

/// The same on a stream of any kind.
pub(crate) fn converse(
    mut stream: impl Read + Write,
    authorization: Option<&str>,
    request: &str,
) -> io::Result<Answer> {
    let mut words = request.splitn(3, ' ');
    let mut next = || words.next().unwrap_or_default();
    let (method, path, body) = (next(), next(), next());
    let authorization = authorization
        .map(|value| format!("Authorization: {value}\r\n"))
        .unwrap_or_default();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        // Not every peer says goodbye before it closes its end of TLS.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        read => drop(read?),
    }
    let broken = || io::Error::other(format!("not an answer: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    let body = match head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        true => unchunked(body).ok_or_else(broken)?,
        false => body.to_owned(),
    };
    Ok(Answer {
        status: status.ok_or_else(broken)?,
        body,
    })
}

/// RFC 9112, section 7.1.
fn unchunked(mut rest: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, behind) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole += behind.get(..size)?;
        rest = behind.get(size + 2..)?;
    }
}
