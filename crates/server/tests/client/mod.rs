//! A small blocking AMQP 0-9-1 client, for tests and examples that need to know exactly what was sent and what was
//! answered: one connection, channel 1, no thread and no reconnecting of its own.
#![allow(dead_code, reason = "each of its users needs another part of it")]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use leveret_amqp091::content;
use leveret_amqp091::content_header::ContentHeader;
use leveret_amqp091::frame::{self, FrameType};
use leveret_amqp091::method::*;
use leveret_amqp091::protocol_header::AMQP_0_9_1;
use leveret_broker::table::{Table, Value};

const CHANNEL: u16 = 1;
const FRAME_MAX: u32 = 131_072;
/// Properties that hold only `delivery-mode`: 2.
const PERSISTENT: &[u8] = b"\x10\x00\x02";
/// A node that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the server says on a channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Delivery {
        tag: u64,
        redelivered: bool,
        body: Vec<u8>,
    },
    /// Publishes are taken: this one, and with `multiple` all before it.
    Confirmed { tag: u64, multiple: bool },
    /// The broker has ended a consumer.
    Cancelled,
    /// A mandatory publish went to no queue.
    Returned,
    /// The answer to a method; from `queue.declare-ok` with the number of messages.
    Answer { messages: u32 },
    /// The channel is closed; it has been opened again.
    Refused { code: u16, text: String },
}

/// Why a method was not carried out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) text: String,
}

/// A connection with its channel.
pub(crate) struct Client {
    socket: TcpStream,
    /// What was read and not yet looked at, from `at` on.
    received: Vec<u8>,
    at: usize,
    out: Vec<u8>,
    /// Events that came while an answer was waited for.
    early: VecDeque<Event>,
}

/// Whether the error says that the node is no longer there, as opposed to one that it complains or talks nonsense.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::BrokenPipe
    )
}

impl Client {
    /// Connects as `guest` and opens the channel.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::connect_as(address, "guest", "guest")
    }

    /// Connects as this user and opens the channel.
    pub(crate) fn connect_as(address: SocketAddr, user: &str, password: &str) -> io::Result<Self> {
        Self::connect_by(address, "", user, password)
    }

    /// The same, with the line that a proxy says first.
    pub(crate) fn connect_by(
        address: SocketAddr,
        proxy: &str,
        user: &str,
        password: &str,
    ) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self {
            socket,
            received: Vec::new(),
            at: 0,
            out: [proxy.as_bytes(), &AMQP_0_9_1].concat(),
            early: VecDeque::new(),
        };
        client.flush()?;
        client.frame()?;
        let mut properties = Vec::new();
        client_properties().encode(&mut properties);
        client.send_on(
            0,
            ConnectionStartOk {
                client_properties: RawTable(&properties[4..]),
                mechanism: "PLAIN",
                response: format!("\0{user}\0{password}").as_bytes(),
                locale: "en_US",
            },
        );
        client.flush()?;
        let (_, payload) = client.frame()?;
        if let Method::ConnectionClose(close) = decode(&payload)? {
            return Err(closed(&close));
        }
        client.send_on(
            0,
            ConnectionTuneOk {
                channel_max: 2047,
                frame_max: FRAME_MAX,
                heartbeat: 0,
            },
        );
        client.send_on(0, ConnectionOpen { virtual_host: "/" });
        client.open_channel(CHANNEL)?;
        Ok(client)
    }

    /// Opens a channel; this client talks on the first only.
    pub(crate) fn open_channel(&mut self, channel: u16) -> io::Result<()> {
        self.send_on(channel, ChannelOpen {});
        self.flush()?;
        loop {
            let (_, payload) = self.frame()?;
            match decode(&payload)? {
                Method::ChannelOpenOk(_) => return Ok(()),
                Method::ConnectionOpenOk(_) => {}
                Method::ConnectionClose(close) => return Err(closed(&close)),
                other => return Err(nonsense(other.name())),
            }
        }
    }

    /// Shows a new secret and waits for the answer.
    pub(crate) fn update_secret(&mut self, secret: &str) -> io::Result<()> {
        self.send_on(
            0,
            ConnectionUpdateSecret {
                new_secret: secret.as_bytes(),
                reason: b"renewed",
            },
        );
        self.flush()?;
        let (_, payload) = self.frame()?;
        match decode(&payload)? {
            Method::ConnectionUpdateSecretOk(_) => Ok(()),
            Method::ConnectionClose(close) => Err(closed(&close)),
            other => Err(nonsense(other.name())),
        }
    }

    /// Closes the connection and waits for the answer.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.send_on(0, ConnectionClose::default());
        self.flush()?;
        loop {
            if let (FrameType::Method, payload) = self.frame()?
                && let Method::ConnectionCloseOk(_) = decode(&payload)?
            {
                return Ok(());
            }
        }
    }

    /// Writes a method; [`Self::flush`] sends it.
    pub(crate) fn send<'a>(&mut self, method: impl Into<Method<'a>>) {
        self.send_on(CHANNEL, method);
    }

    fn send_on<'a>(&mut self, channel: u16, method: impl Into<Method<'a>>) {
        method.into().encode(channel, &mut self.out);
    }

    /// Writes a persistent message; [`Self::flush`] sends it.
    pub(crate) fn publish(&mut self, publish: BasicPublish<'_>, body: &[u8]) {
        self.publish_with(publish, PERSISTENT, body);
    }

    /// The same with other properties, as they are on the wire.
    pub(crate) fn publish_with(
        &mut self,
        publish: BasicPublish<'_>,
        properties: &[u8],
        body: &[u8],
    ) {
        self.send(publish);
        content::put_content_header(&mut self.out, CHANNEL, properties, body.len());
        content::put_body(&mut self.out, CHANNEL, body, FRAME_MAX);
    }

    /// Sends what was written.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Sends a method and waits for its answer; gives the number of messages, if it tells one.
    pub(crate) fn call<'a>(
        &mut self,
        method: impl Into<Method<'a>>,
    ) -> io::Result<Result<u32, Refusal>> {
        self.send(method);
        self.flush()?;
        loop {
            match self.receive()? {
                Event::Answer { messages } => return Ok(Ok(messages)),
                Event::Refused { code, text } => return Ok(Err(Refusal { code, text })),
                event => self.early.push_back(event),
            }
        }
    }

    /// [`Self::call`] for what can't be refused.
    pub(crate) fn ask<'a>(&mut self, method: impl Into<Method<'a>>) -> io::Result<u32> {
        let refused = |Refusal { code, text }| io::Error::other(format!("{code} {text}"));
        self.call(method)?.map_err(refused)
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> io::Result<Event> {
        match self.early.pop_front() {
            Some(event) => Ok(event),
            None => self.receive(),
        }
    }

    fn receive(&mut self) -> io::Result<Event> {
        let (_, payload) = self.frame()?;
        Ok(match decode(&payload)? {
            Method::BasicDeliver(deliver) => Event::Delivery {
                tag: deliver.delivery_tag,
                redelivered: deliver.redelivered,
                body: self.content()?,
            },
            Method::BasicReturn(_) => {
                self.content()?;
                Event::Returned
            }
            Method::BasicAck(ack) => Event::Confirmed {
                tag: ack.delivery_tag,
                multiple: ack.multiple,
            },
            Method::QueueDeclareOk(ok) => Event::Answer {
                messages: ok.message_count,
            },
            Method::ChannelClose(close) => {
                let (code, text) = (close.reply_code, lossy(close.reply_text));
                self.send(ChannelCloseOk {});
                self.open_channel(CHANNEL)?;
                Event::Refused { code, text }
            }
            Method::ConnectionClose(close) => return Err(closed(&close)),
            Method::BasicCancel(_) => Event::Cancelled,
            Method::BasicNack(_) => return Err(nonsense("nack")),
            _ => Event::Answer { messages: 0 },
        })
    }

    fn content(&mut self) -> io::Result<Vec<u8>> {
        let (_, payload) = self.frame()?;
        let header = ContentHeader::decode(&payload).map_err(nonsense)?;
        let mut body = Vec::new();
        while (body.len() as u64) < header.body_size {
            body.extend_from_slice(&self.frame()?.1);
        }
        Ok(body)
    }

    fn frame(&mut self) -> io::Result<(FrameType, Vec<u8>)> {
        loop {
            if let Some(frame) = frame::next(&self.received[self.at..], 0).map_err(nonsense)? {
                self.at += frame.total_len();
                return Ok((frame.kind, frame.payload.to_vec()));
            }
            self.received.drain(..self.at);
            self.at = 0;
            let mut more = [0; 16 << 10];
            match self.socket.read(&mut more)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => self.received.extend_from_slice(&more[..read]),
            }
        }
    }
}

/// That it wants to be told when it is not let in, and when a consumer has ended.
fn client_properties() -> Table {
    let names = ["authentication_failure_close", "consumer_cancel_notify"];
    let capabilities = names.map(|name| (Box::from(name), Value::Bool(true)));
    let capabilities = Table::from_iter(capabilities);
    Table::from_iter([(Box::from("capabilities"), Value::Table(capabilities))])
}

fn decode(payload: &[u8]) -> io::Result<Method<'_>> {
    Method::decode(payload).map_err(nonsense)
}

fn nonsense(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("unexpected: {what}"))
}

/// 320 is how a node that stops says good-bye.
fn closed(close: &ConnectionClose<'_>) -> io::Error {
    let kind = match close.reply_code {
        320 => ErrorKind::ConnectionAborted,
        _ => ErrorKind::Other,
    };
    let text = lossy(close.reply_text);
    io::Error::new(kind, format!("closed: {} {text}", close.reply_code))
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
