//! The loop with a protocol made for the purpose, over real sockets: lines of text, each a command.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Mutex;
use std::task::Waker;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

/// The protocol: it obeys the lines that come from the client and those dispatched from elsewhere in the node.
pub(crate) struct Lines {
    output: Vec<u8>,
    wants_input: bool,
    finished: bool,
    deadline: Option<Timestamp>,
    /// Octets that follow a line, and how many of them have come.
    body: Vec<u8>,
    body_filled: usize,
    elsewhere: Elsewhere,
}

/// The rest of the node, as far as a connection sees it.
#[derive(Clone, Default)]
pub(crate) struct Elsewhere(Arc<Mutex<Mailbox>>);

#[derive(Default)]
struct Mailbox {
    lines: VecDeque<String>,
    /// They may wait for a turn.
    may_gather: bool,
    waker: Option<Waker>,
    disconnected: u32,
}

impl Elsewhere {
    fn dispatch(&self, line: &str) {
        let mut mailbox = self.0.lock().unwrap();
        mailbox.lines.push_back(line.to_owned());
        if let Some(waker) = mailbox.waker.take() {
            waker.wake();
        }
    }

    fn disconnected(&self) -> u32 {
        self.0.lock().unwrap().disconnected
    }
}

impl Lines {
    pub(crate) fn new(elsewhere: Elsewhere) -> Self {
        Self {
            output: Vec::new(),
            wants_input: true,
            finished: false,
            deadline: None,
            body: Vec::new(),
            body_filled: 0,
            elsewhere,
        }
    }

    fn obey(&mut self, line: &str, now: Timestamp) {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            _ if self.finished => {}
            "echo" => self.answer(rest),
            "flood" => self.output.resize(rest.parse().unwrap(), b'x'),
            "tick" => self.deadline = Some(now.plus_ms(rest.parse().unwrap())),
            "body" => self.body.resize(rest.parse().unwrap(), 0),
            "block" => self.wants_input = false,
            "unblock" => self.wants_input = true,
            "leave" => self.finished = true,
            "quit" => {
                self.answer("bye");
                self.finished = true;
            }
            _ => panic!("on purpose: {line}"),
        }
    }

    fn answer(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.push(b'\n');
    }
}

impl Protocol for Lines {
    fn receive(&mut self, block: &Arc<[u8]>, range: Range<usize>, now: Timestamp) -> usize {
        let mut bytes = &block[range.clone()];
        loop {
            if let Some(target) = self.body_target() {
                let (body, rest) = bytes.split_at(target.len().min(bytes.len()));
                target[..body.len()].copy_from_slice(body);
                self.body_received(body.len());
                bytes = rest;
            }
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                return range.len() - bytes.len();
            };
            let line = std::str::from_utf8(&bytes[..end]).unwrap().to_owned();
            bytes = &bytes[end + 1..];
            self.obey(&line, now);
        }
    }

    fn body_target(&mut self) -> Option<&mut [u8]> {
        let target = &mut self.body[self.body_filled..];
        (!target.is_empty()).then_some(target)
    }

    fn body_received(&mut self, n: usize) {
        self.body_filled += n;
        if self.body_filled == self.body.len() {
            let body = String::from_utf8(std::mem::take(&mut self.body)).unwrap();
            self.body_filled = 0;
            self.answer(&body);
        }
    }

    fn poll_dispatch(&mut self, context: &mut Context<'_>, now: Timestamp) -> Poll<()> {
        let mut mailbox = self.elsewhere.0.lock().unwrap();
        let Some(line) = mailbox.lines.pop_front() else {
            mailbox.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        drop(mailbox);
        self.obey(&line, now);
        Poll::Ready(())
    }

    fn may_gather(&self) -> bool {
        self.elsewhere.0.lock().unwrap().may_gather
    }

    /// Two slices, so that more than one is written at a time.
    fn slices<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> usize {
        let (first, second) = self.output.split_at(self.output.len() / 2);
        slices[0] = IoSlice::new(first);
        slices[1] = IoSlice::new(second);
        if self.output.is_empty() { 0 } else { 2 }
    }

    fn advance(&mut self, n: usize) {
        self.output.drain(..n);
    }

    fn wants_input(&self) -> bool {
        self.wants_input
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    fn tick(&mut self, _now: Timestamp) {
        self.deadline = None;
        self.answer("tick");
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn close(&mut self, reason: &str, _now: Timestamp) {
        self.answer(&format!("closing: {reason}"));
    }

    fn disconnected(&mut self, _now: Timestamp) {
        self.elsewhere.0.lock().unwrap().disconnected += 1;
    }
}

/// A client, and the task that serves it.
struct Served {
    client: BufReader<TcpStream>,
    elsewhere: Elsewhere,
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        let (client, server) = sockets().await;
        let (elsewhere, stop) = (Elsewhere::default(), Arc::new(Notify::new()));
        let protocol = Box::new(Lines::new(elsewhere.clone()));
        let stopped = Arc::clone(&stop).notified_owned();
        let serving = serve(
            "a client".to_owned(),
            Stream::Tcp(server),
            protocol,
            Clock::start(),
            stopped,
        );
        let client = BufReader::new(client);
        Self {
            client,
            elsewhere,
            stop,
            task: tokio::spawn(serving),
        }
    }

    async fn say(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    async fn hear(&mut self, expected: &str) {
        let mut line = String::new();
        self.client.read_line(&mut line).await.unwrap();
        assert_eq!(line.trim_end(), expected);
    }

    /// The server has closed the socket, the task has ended, and what the connection held went back once.
    async fn ends(self) {
        drop(self.client);
        self.task.await.unwrap();
        assert_eq!(self.elsewhere.disconnected(), 1);
    }
}

pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let any_port: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = TcpListener::bind(any_port).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

#[tokio::test]
async fn what_was_not_consumed_comes_again_with_the_next_bytes() {
    let mut served = Served::start().await;
    for byte in "echo in pieces\n".bytes() {
        served.client.get_ref().writable().await.unwrap();
        served.client.write_all(&[byte]).await.unwrap();
        // The server gets to see each byte alone.
        tokio::task::yield_now().await;
    }
    served.hear("in pieces").await;
    served.say("echo one\necho two\necho thr").await;
    served.hear("one").await;
    served.hear("two").await;
    served.say("ee\n").await;
    served.hear("three").await;
    served.ends().await;
}

#[tokio::test]
async fn more_than_a_block_arrives_in_order() {
    let mut served = Served::start().await;
    let count = 20_000;
    let text: String = (0..count).map(|n| format!("echo number {n}\n")).collect();
    assert!(text.len() > 4 * BLOCK_BYTES);
    let (reader, mut writer) = served.client.get_mut().split();
    let mut reader = BufReader::new(reader);
    let check = async {
        let mut line = String::new();
        for n in 0..count {
            line.clear();
            reader.read_line(&mut line).await.unwrap();
            assert_eq!(line, format!("number {n}\n"));
        }
    };
    let (written, ()) = tokio::join!(writer.write_all(text.as_bytes()), check);
    written.unwrap();
    served.ends().await;
}

#[tokio::test]
async fn large_bodies_go_where_they_belong_and_what_follows_is_not_lost() {
    let mut served = Served::start().await;
    let count = 100;
    let bodies = (0..count).map(|n| format!("{n:06}").repeat(n * 331));
    let text: String = bodies
        .clone()
        .map(|body| format!("body {}\n{body}echo behind it\n", body.len()))
        .collect();
    let (reader, mut writer) = served.client.get_mut().split();
    let mut reader = BufReader::new(reader);
    let check = async {
        for body in bodies {
            let mut lines = String::new();
            if !body.is_empty() {
                reader.read_line(&mut lines).await.unwrap();
            }
            reader.read_line(&mut lines).await.unwrap();
            let body = if body.is_empty() { body } else { body + "\n" };
            assert!(lines == body + "behind it\n", "{} octets", lines.len());
        }
    };
    let (written, ()) = tokio::join!(writer.write_all(text.as_bytes()), check);
    written.unwrap();
    served.ends().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_else() {
    const BYTES: usize = 16 << 20;
    let (mut slow, mut quick) = (Served::start().await, Served::start().await);
    slow.say(&format!("flood {BYTES}\n")).await;
    for _ in 0..100 {
        quick.say("echo still here\n").await;
        quick.hear("still here").await;
    }
    let mut received = vec![0; BYTES];
    slow.client.read_exact(&mut received).await.unwrap();
    assert!(received.iter().all(|byte| *byte == b'x'));
    slow.say("echo and now\n").await;
    slow.hear("and now").await;
    slow.ends().await;
    quick.ends().await;
}

#[tokio::test]
async fn dispatches_are_written_without_input() {
    let mut served = Served::start().await;
    served.say("echo ready\n").await;
    served.hear("ready").await;
    let elsewhere = served.elsewhere.clone();
    std::thread::spawn(move || {
        elsewhere.dispatch("echo first");
        elsewhere.dispatch("echo second");
    });
    served.hear("first").await;
    served.hear("second").await;
    served.ends().await;
}

#[tokio::test]
async fn dispatches_that_may_gather_wait_for_one_turn() {
    for may_gather in [false, true] {
        let (_client, server) = sockets().await;
        let elsewhere = Elsewhere::default();
        let serving = serve(
            "a client".to_owned(),
            Stream::Tcp(server),
            Box::new(Lines::new(elsewhere.clone())),
            Clock::start(),
            Arc::new(Notify::new()).notified_owned(),
        );
        let mut serving = pin!(serving);
        elsewhere.0.lock().unwrap().may_gather = may_gather;
        elsewhere.dispatch("echo first");
        elsewhere.dispatch("echo second");
        let mut waiting = Vec::new();
        for _ in 0..4 {
            let turn = poll_fn(|context| Poll::Ready(serving.as_mut().poll(context))).await;
            assert!(turn.is_pending());
            waiting.push(elsewhere.0.lock().unwrap().lines.len());
        }
        let expected = if may_gather {
            [2, 1, 1, 0]
        } else {
            [1, 0, 0, 0]
        };
        assert_eq!(waiting, expected);
    }
}

#[tokio::test]
async fn nothing_is_read_while_the_protocol_wants_no_input() {
    let mut served = Served::start().await;
    served.say("echo before\nblock\n").await;
    served.hear("before").await;
    served.say("echo after\n").await;
    // Answered while the client's line waits in the socket.
    served.elsewhere.dispatch("echo meanwhile");
    served.hear("meanwhile").await;
    served.elsewhere.dispatch("unblock");
    served.hear("after").await;
    served.ends().await;
}

#[tokio::test]
async fn deadlines_are_kept_when_they_move_in_both_directions() {
    let mut served = Served::start().await;
    served.say("tick 3600000\n").await;
    served.say("tick 5\n").await;
    served.hear("tick").await;
    served.say("tick 10\ntick 20\n").await;
    served.hear("tick").await;
    served.say("tick 0\n").await;
    served.hear("tick").await;
    served.ends().await;
}

#[tokio::test]
async fn a_finished_connection_delivers_its_last_words() {
    let mut served = Served::start().await;
    // The server is going to close with input unread, and the client is still to read.
    served.say(&format!("flood {}\nquit\n", 1 << 20)).await;
    served.say(&"echo too late\n".repeat(1000)).await;
    let mut all = Vec::new();
    served.client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), (1 << 20) + "bye\n".len());
    assert!(all.ends_with(b"bye\n"));
    served.ends().await;
}

#[tokio::test]
async fn a_client_that_was_told_nothing_is_not_waited_for() {
    let mut served = Served::start().await;
    let before = Instant::now();
    served.say("leave\n").await;
    // The client's socket is open still.
    served.task.await.unwrap();
    assert!(before.elapsed() < LINGER);
    assert_eq!(served.elsewhere.disconnected(), 1);
}

#[tokio::test]
async fn a_stopping_node_asks_its_clients_to_leave() {
    let mut served = Served::start().await;
    served.say("echo ready\n").await;
    served.hear("ready").await;
    served.stop.notify_waiters();
    served.hear("closing: shutdown").await;
    served.say("quit\n").await;
    served.hear("bye").await;
    served.hear("").await;
    served.ends().await;
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let (mut faulty, mut healthy) = (Served::start().await, Served::start().await);
    faulty.say("nonsense\n").await;
    assert!(faulty.task.await.unwrap_err().is_panic());
    assert_eq!(faulty.elsewhere.disconnected(), 1);
    healthy.say("echo alive\n").await;
    healthy.hear("alive").await;
    healthy.ends().await;
}

#[tokio::test]
async fn what_a_connection_held_goes_back_also_when_its_thread_gives_up() {
    let mut served = Served::start().await;
    served.say("echo ready\n").await;
    served.hear("ready").await;
    served.task.abort();
    assert!(served.task.await.unwrap_err().is_cancelled());
    assert_eq!(served.elsewhere.disconnected(), 1);
}
