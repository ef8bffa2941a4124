//! One request of HTTP/1.1, over TCP or a Unix socket.
//!
//! The clients that are to be had either know no Unix sockets or bring an asynchronous runtime. What is needed here is
//! little: a connection for each request, a body whose length is known, and no redirects or TLS. `httparse` reads the heads.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time to connect; a node that is there takes a connection at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A head longer than this is not one of a management API.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// A list of a million queues is about half of this.
const BODY_BYTES_MAX: u64 = 2 << 30;
/// The body is sent in pieces, so that the progress of a large one can be shown.
const PIECE_BYTES: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Socket(PathBuf),
    Tcp { host: String, port: u16 },
}

pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Percent-encoded, from the root.
    pub(crate) path: &'a str,
    /// Name and value.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<&'a [u8]>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Sends a request and reads the whole answer. `sent` is told how many bytes of the body are on their way.
///
/// # Errors
/// What the sockets report; `TimedOut` when the answer is not complete within `timeout`; `InvalidData` for what is not HTTP.
pub(crate) fn exchange(
    target: &Target,
    request: &Request<'_>,
    timeout: Option<Duration>,
    sent: &mut dyn FnMut(usize),
) -> io::Result<Response> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut stream = Stream::connect(target, timeout)?;
    let head = head(target, request);
    stream.limit(deadline)?;
    // A node that refuses a body answers before it has read it all: what it says counts, not the broken pipe.
    let wrote = send(&mut stream, &head, request.body, deadline, sent);
    match receive(&mut stream, deadline) {
        Ok(response) => Ok(response),
        Err(error) => Err(wrote.err().unwrap_or(error)),
    }
}

/// Sends a request without a body, and gives `line` each line of the answer's body as it comes, with its end. An answer that
/// is not 200 comes back whole.
///
/// # Errors
/// As [`exchange`]; `TimedOut` when the time is over.
pub(crate) fn follow(
    target: &Target,
    request: &Request<'_>,
    timeout: Option<Duration>,
    line: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<Response> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut stream = Stream::connect(target, timeout)?;
    send(
        &mut stream,
        &head(target, request),
        None,
        deadline,
        &mut |_| (),
    )?;
    let mut bytes = Vec::new();
    let (status, length, body_at) = receive_head(&mut stream, &mut bytes, deadline)?;
    if status != 200 {
        return receive_body(
            &mut stream,
            status,
            length,
            bytes.split_off(body_at),
            deadline,
        );
    }
    let mut raw = bytes.split_off(body_at);
    let mut lines = Vec::new();
    let mut is_over = false;
    while !is_over {
        match length {
            Length::Chunked => is_over = take_chunks(&mut raw, &mut lines)?,
            _ => lines.append(&mut raw),
        }
        if take_lines(&mut lines, line).is_break() {
            break;
        }
        is_over |= read_more(&mut stream, &mut raw, deadline)? == 0;
    }
    Ok(Response {
        status,
        body: Vec::new(),
    })
}

/// Moves what is in the chunks that are complete; true at the last one.
fn take_chunks(raw: &mut Vec<u8>, body: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let size = httparse::parse_chunk_size(raw);
        let Ok(size) = size else {
            return Err(malformed("the answer has a chunk without a size"));
        };
        let httparse::Status::Complete((at, size)) = size else {
            return Ok(false);
        };
        let end = usize::try_from(size)
            .ok()
            .and_then(|size| at.checked_add(size));
        let end = end.filter(|&end| end as u64 <= BODY_BYTES_MAX);
        let end = end.ok_or_else(|| malformed("a chunk of the answer is too long"))?;
        // Behind each chunk is an empty line.
        if raw.len() < end + 2 {
            return Ok(false);
        }
        body.extend_from_slice(&raw[at..end]);
        raw.drain(..end + 2);
        if size == 0 {
            return Ok(true);
        }
    }
}

fn take_lines(
    bytes: &mut Vec<u8>,
    line: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let complete = bytes
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    let lines: Vec<u8> = bytes.drain(..complete).collect();
    lines
        .split_inclusive(|&byte| byte == b'\n')
        .try_for_each(line)
}

fn head(target: &Target, request: &Request<'_>) -> String {
    let host = match target {
        Target::Socket(_) => "localhost".to_owned(),
        Target::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Target::Tcp { host, port } => format!("{host}:{port}"),
    };
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: */*\r\n",
        request.method, request.path
    );
    for (name, value) in request.headers {
        // A line break in a value would begin a header of its own.
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = request.body {
        head.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    head.push_str("\r\n");
    head
}

fn send(
    stream: &mut Stream,
    head: &str,
    body: Option<&[u8]>,
    deadline: Option<Instant>,
    sent: &mut dyn FnMut(usize),
) -> io::Result<()> {
    stream.write_all(head.as_bytes())?;
    let mut total = 0;
    for piece in body.unwrap_or_default().chunks(PIECE_BYTES) {
        stream.limit(deadline)?;
        stream.write_all(piece)?;
        total += piece.len();
        sent(total);
    }
    stream.flush()
}

/// How long the body is.
#[derive(Debug, PartialEq, Eq)]
enum Length {
    Known(u64),
    Chunked,
    UntilClosed,
}

fn receive(stream: &mut Stream, deadline: Option<Instant>) -> io::Result<Response> {
    let mut bytes = Vec::new();
    let (status, length, body_at) = receive_head(stream, &mut bytes, deadline)?;
    receive_body(stream, status, length, bytes.split_off(body_at), deadline)
}

/// Reads until the head is complete: status, length of the body, and where in `bytes` it begins.
fn receive_head(
    stream: &mut Stream,
    bytes: &mut Vec<u8>,
    deadline: Option<Instant>,
) -> io::Result<(u16, Length, usize)> {
    loop {
        if let Some(found) = parse_head(bytes)? {
            return Ok(found);
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(malformed("the head of the answer is too long"));
        }
        if read_more(stream, bytes, deadline)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads the rest of a body of which there is a beginning.
fn receive_body(
    stream: &mut Stream,
    status: u16,
    length: Length,
    mut body: Vec<u8>,
    deadline: Option<Instant>,
) -> io::Result<Response> {
    match length {
        Length::Known(length) => {
            while (body.len() as u64) < length {
                if read_more(stream, &mut body, deadline)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            body.truncate(usize::try_from(length).expect("it was read into memory"));
        }
        Length::UntilClosed => while read_more(stream, &mut body, deadline)? > 0 {},
        Length::Chunked => {
            while read_more(stream, &mut body, deadline)? > 0 {}
            body = join_chunks(&body)?;
        }
    }
    Ok(Response { status, body })
}

fn read_more(
    stream: &mut Stream,
    bytes: &mut Vec<u8>,
    deadline: Option<Instant>,
) -> io::Result<usize> {
    stream.limit(deadline)?;
    let mut piece = [0; PIECE_BYTES];
    let read = stream.read(&mut piece)?;
    bytes.extend_from_slice(&piece[..read]);
    if bytes.len() as u64 > BODY_BYTES_MAX {
        return Err(malformed("the answer is too long"));
    }
    Ok(read)
}

/// Status, length of the body, and where it begins; nothing while the head is incomplete.
fn parse_head(bytes: &[u8]) -> io::Result<Option<(u16, Length, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body_at) = response
        .parse(bytes)
        .map_err(|error| malformed(&format!("the answer is not HTTP: {error}")))?
    else {
        return Ok(None);
    };
    let status = response.code.expect("a complete head has a status");
    let value = |name: &str| {
        response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase())
    };
    let length = if status == 204 || status == 304 {
        Length::Known(0)
    } else if value("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        Length::Chunked
    } else if let Some(length) = value("content-length") {
        let length = length.trim().parse();
        let length = length.map_err(|_| malformed("the answer has no valid length"))?;
        if length > BODY_BYTES_MAX {
            return Err(malformed("the answer is too long"));
        }
        Length::Known(length)
    } else {
        Length::UntilClosed
    };
    Ok(Some((status, length, body_at)))
}

fn join_chunks(mut bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(bytes.len());
    loop {
        let Ok(httparse::Status::Complete((at, size))) = httparse::parse_chunk_size(bytes) else {
            return Err(malformed("the answer ends within a chunk"));
        };
        if size == 0 {
            return Ok(body);
        }
        let end = usize::try_from(size)
            .ok()
            .and_then(|size| at.checked_add(size));
        let chunk = end.and_then(|end| bytes.get(at..end));
        let chunk = chunk.ok_or_else(|| malformed("the answer ends within a chunk"))?;
        body.extend_from_slice(chunk);
        // Behind each chunk is an empty line.
        bytes = bytes.get(at + chunk.len() + 2..).unwrap_or_default();
    }
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn connect(target: &Target, timeout: Option<Duration>) -> io::Result<Self> {
        match target {
            Target::Socket(path) => UnixStream::connect(path).map(Self::Unix),
            Target::Tcp { host, port } => {
                let timeout = timeout.map_or(CONNECT_TIMEOUT, |timeout| {
                    timeout.clamp(Duration::from_millis(1), CONNECT_TIMEOUT)
                });
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, timeout) {
                        Ok(stream) => return Ok(Self::Tcp(stream)),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    /// What is left until the deadline is the time that the next read or write has.
    fn limit(&self, deadline: Option<Instant>) -> io::Result<()> {
        let left = match deadline {
            None => None,
            Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => Some(left),
                _ => return Err(io::ErrorKind::TimedOut.into()),
            },
        };
        match self {
            Self::Tcp(stream) => stream
                .set_read_timeout(left)
                .and_then(|()| stream.set_write_timeout(left)),
            Self::Unix(stream) => stream
                .set_read_timeout(left)
                .and_then(|()| stream.set_write_timeout(left)),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        };
        read.map_err(|error| match error.kind() {
            // This is how a socket says that its time is over.
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an answer, sent in pieces of `step` bytes by a peer that closes then.
    fn receive_in_steps(answer: &[u8], step: usize) -> Result<Response, io::ErrorKind> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let answer = answer.to_vec();
        let peer = std::thread::spawn(move || {
            for piece in answer.chunks(step) {
                // The other side may have read enough.
                let _ = theirs.write_all(piece);
            }
        });
        let response = receive(&mut Stream::Unix(ours), None).map_err(|error| error.kind());
        peer.join().unwrap();
        response
    }

    fn check(answer: &str, expected: Result<(u16, &str), io::ErrorKind>) {
        for step in [1, 7, 4096] {
            let response = receive_in_steps(answer.as_bytes(), step);
            let expected = expected.map(|(status, body)| Response {
                status,
                body: body.as_bytes().to_vec(),
            });
            assert_eq!(response, expected, "{answer:?} in steps of {step}");
        }
    }

    #[test]
    fn bodies_end_where_they_say() {
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            Ok((200, "{}")),
        );
        check(
            "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            Ok((404, "abcde")),
        );
        check("HTTP/1.1 200 OK\r\n\r\nto the end", Ok((200, "to the end")));
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok((204, "")));
    }

    #[test]
    fn broken_answers_are_refused() {
        let bad = Err(io::ErrorKind::InvalidData);
        let short = Err(io::ErrorKind::UnexpectedEof);
        check("", short);
        check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", short);
        check("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{}", bad);
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{}",
            bad,
        );
        check("SSH-2.0-OpenSSH_9\r\n\r\n", bad);
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffff0\r\nabc",
            bad,
        );
        let long = format!(
            "HTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
            "y".repeat(2 * HEAD_BYTES_MAX)
        );
        let refused = receive_in_steps(long.as_bytes(), 4096);
        assert_eq!(refused, Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn lines_come_out_of_chunks() {
        let check = |pieces: &[&str], expected: &[&str], ends: bool| {
            let (mut raw, mut body, mut lines) = (Vec::new(), Vec::new(), Vec::new());
            let mut is_over = false;
            for piece in pieces {
                raw.extend_from_slice(piece.as_bytes());
                is_over |= take_chunks(&mut raw, &mut body).unwrap();
                let _ = take_lines(&mut body, &mut |line| {
                    lines.push(String::from_utf8(line.to_vec()).unwrap());
                    ControlFlow::Continue(())
                });
            }
            assert_eq!(lines, expected, "{pieces:?}");
            assert_eq!(is_over, ends, "{pieces:?}");
        };
        check(&["3\r\na\nb\r\n"], &["a\n"], false);
        check(
            &["3\r\na\nb\r", "\n1\r\n\n\r\n0\r\n\r\n"],
            &["a\n", "b\n"],
            true,
        );
        check(&["", "2", "\r\n", "a\n", "\r\n0\r\n\r\n"], &["a\n"], true);
        for broken in ["x\r\n", "fffffffffffffff0\r\na"] {
            assert!(take_chunks(&mut broken.as_bytes().to_vec(), &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn a_header_is_one_line() {
        let target = Target::Tcp {
            host: "::1".to_owned(),
            port: 1,
        };
        let request = Request {
            method: "DELETE",
            path: "/api/x",
            headers: &[("X-Reason", "a\r\nX-Evil: b")],
            body: None,
        };
        assert_eq!(
            head(&target, &request),
            "DELETE /api/x HTTP/1.1\r\nHost: [::1]:1\r\nConnection: close\r\nAccept: */*\r\n\
             X-Reason: aX-Evil: b\r\n\r\n"
        );
    }

    #[test]
    fn an_answer_that_does_not_come_times_out() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let deadline = Some(Instant::now() + Duration::from_millis(20));
        let error = receive(&mut Stream::Unix(ours), deadline).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
