//! One connection of a shovel to a broker, with one channel.
//!
//! Why not a library: what there is (lapin) needs sockets and so can't reach this node without a listener, runs a thread for
//! each connection, and takes messages apart that only go through. The codec is that of our own door; this page is the
//! little that a client needs beside it. What the other end sends is trusted no more than what clients send: frames
//! have a limit, and a body takes memory as it comes.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use leveret_amqp091::content::{put_body, put_content_header};
use leveret_amqp091::content_header::ContentHeader;
use leveret_amqp091::frame::{self, FrameType, HEADER_LEN, HEARTBEAT, OVERHEAD};
use leveret_amqp091::method::*;
use leveret_amqp091::protocol_header::AMQP_0_9_1;
use leveret_broker::table::{Table, Value};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What is asked for, octets.
const FRAME_MAX: u32 = 131_072;
/// The channel of everything.
const CHANNEL: u16 = 1;

/// What a connection runs over.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// Who logs in, and where.
pub(super) struct Introduction<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) vhost: &'a str,
    pub(super) connection_name: &'a str,
    /// Seconds; `None`: what the broker says.
    pub(super) heartbeat_s: Option<u16>,
}

/// What the broker has said.
#[derive(Debug)]
pub(super) enum Event {
    Start,
    Tune(ConnectionTune),
    Delivery(Delivery),
    /// Of publishes, by their numbers.
    Confirm {
        number: u64,
        multiple: bool,
        is_taken: bool,
    },
    /// A message had nowhere to go.
    Returned(String),
    /// The consumer's queue is gone.
    Cancelled,
    /// It takes no publishes for now.
    Blocked(bool),
    /// A queue's name, and how many messages it has.
    Declared(String, u32),
    /// It has closed the channel.
    Refused(u16, String),
    /// Any other answer.
    Done,
}

/// A message.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    pub(super) tag: u64,
    pub(super) exchange: Vec<u8>,
    pub(super) routing_key: Vec<u8>,
    /// In wire form.
    pub(super) properties: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// A message of which the end has not come yet.
enum Coming {
    /// Its header comes next.
    Announced(Content),
    /// So many octets of its body are still to come.
    Body(Content, u64),
}

struct Content {
    message: Delivery,
    /// It comes back, and why.
    returned: Option<String>,
}

/// See the module's page.
pub(super) struct Client {
    socket: Box<dyn Socket>,
    /// Room for two frames: one may lie across its end, and is moved to the front then.
    inbox: Box<[u8]>,
    unread: Range<usize>,
    outbox: Vec<u8>,
    written: usize,
    frame_max: u32,
    coming: Option<Coming>,
    heartbeat: Option<Duration>,
    heard: Instant,
    spoke: Instant,
}

impl Client {
    /// Logs in and opens the channel.
    pub(super) async fn open(
        socket: Box<dyn Socket>,
        who: &Introduction<'_>,
    ) -> Result<Self, String> {
        let now = Instant::now();
        let mut client = Self {
            socket,
            inbox: vec![0; 2 * (FRAME_MAX as usize + OVERHEAD)].into_boxed_slice(),
            unread: 0..0,
            outbox: AMQP_0_9_1.to_vec(),
            written: 0,
            frame_max: FRAME_MAX,
            coming: None,
            heartbeat: None,
            heard: now,
            spoke: now,
        };
        client.log_in(who).await?;
        client.open_channel().await?;
        Ok(client)
    }

    async fn log_in(&mut self, who: &Introduction<'_>) -> Result<(), String> {
        loop {
            match self.answer().await? {
                Event::Start => {
                    let response = format!("\0{}\0{}", who.user, who.password);
                    let properties = properties(who.connection_name);
                    let start = ConnectionStartOk {
                        client_properties: RawTable(&properties),
                        mechanism: "PLAIN",
                        response: response.as_bytes(),
                        locale: "en_US",
                    };
                    self.put(0, start);
                }
                Event::Tune(tune) => self.tune(&tune, who),
                Event::Done => return Ok(()),
                other => return Err(unexpected(&other)),
            }
        }
    }

    fn tune(&mut self, tune: &ConnectionTune, who: &Introduction<'_>) {
        if tune.frame_max != 0 {
            self.frame_max = self.frame_max.min(tune.frame_max);
        }
        let heartbeat = who.heartbeat_s.unwrap_or(tune.heartbeat);
        self.heartbeat = (heartbeat > 0).then(|| Duration::from_secs(heartbeat.into()));
        let agreed = ConnectionTuneOk {
            channel_max: tune.channel_max,
            frame_max: self.frame_max,
            heartbeat,
        };
        self.put(0, agreed);
        let open = ConnectionOpen {
            virtual_host: who.vhost,
        };
        self.put(0, open);
    }

    async fn open_channel(&mut self) -> Result<(), String> {
        self.ask(ChannelOpen {}).await.map(drop)
    }

    /// Sends a method and waits for its answer, which may be [`Event::Refused`].
    pub(super) async fn call<'a>(
        &mut self,
        method: impl Into<Method<'a>>,
    ) -> Result<Event, String> {
        self.put(CHANNEL, method);
        self.answer().await
    }

    /// The same, when a refusal is an error.
    pub(super) async fn ask<'a>(&mut self, method: impl Into<Method<'a>>) -> Result<Event, String> {
        match self.call(method).await? {
            Event::Refused(code, why) => Err(format!("{code} {why}")),
            answer => Ok(answer),
        }
    }

    /// Opens a channel in the place of the one that the broker has closed.
    pub(super) async fn reopen(&mut self) -> Result<(), String> {
        self.put(CHANNEL, ChannelCloseOk {});
        self.open_channel().await
    }

    /// Says goodbye, and so sends everything that is still to be sent.
    pub(super) async fn close(&mut self) -> Result<(), String> {
        let close = ConnectionClose {
            reply_code: 200,
            reply_text: b"OK",
            class_id: 0,
            method_id: 0,
        };
        self.put(0, close);
        loop {
            // Messages may come until then.
            if let Event::Done = self.answer().await? {
                return Ok(());
            }
        }
    }

    async fn answer(&mut self) -> Result<Event, String> {
        loop {
            if let Some(event) = self.next()? {
                // An alarm does not concern set-up.
                if !matches!(event, Event::Blocked(_)) {
                    return Ok(event);
                }
                continue;
            }
            self.turn(true).await.map_err(|error| error.to_string())?;
        }
    }

    /// Writes a method; it is sent by turns.
    pub(super) fn send<'a>(&mut self, method: impl Into<Method<'a>>) {
        self.put(CHANNEL, method);
    }

    fn put<'a>(&mut self, channel: u16, method: impl Into<Method<'a>>) {
        method.into().encode(channel, &mut self.outbox);
    }

    /// Writes a message; it is sent by turns.
    pub(super) fn publish(&mut self, publish: BasicPublish<'_>, properties: &[u8], body: &[u8]) {
        self.put(CHANNEL, publish);
        put_content_header(&mut self.outbox, CHANNEL, properties, body.len());
        put_body(&mut self.outbox, CHANNEL, body, self.frame_max);
    }

    /// Octets that are still to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.outbox.len() - self.written
    }

    /// When it wants [`Self::beat`] called.
    pub(super) fn pulse(&self) -> Option<Duration> {
        self.heartbeat.map(|period| period / 4)
    }

    /// Sends a sign of life when there was none for a while, and misses those of the broker.
    pub(super) fn beat(&mut self, listens: bool) -> Result<(), String> {
        let Some(period) = self.heartbeat else {
            return Ok(());
        };
        let now = Instant::now();
        if listens && now - self.heard > 2 * period {
            return Err("no sign of life from the broker".to_owned());
        }
        if now - self.spoke > period / 4 && self.unsent() == 0 {
            self.outbox.extend_from_slice(&HEARTBEAT);
        }
        Ok(())
    }

    /// Sends and, if it may, receives until something has moved. What was received is to be taken by [`Self::next`] before
    /// the next turn. It can be given up at any time.
    pub(super) async fn turn(&mut self, receives: bool) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_turn(receives, context)).await
    }

    fn poll_turn(&mut self, receives: bool, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut progress = self.poll_send(context)?;
        if receives {
            progress |= self.poll_receive(context)?;
        }
        match progress {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let before = self.written;
        while self.unsent() > 0 {
            let unsent = &self.outbox[self.written..];
            match Pin::new(&mut self.socket).poll_write(context, unsent)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(n) => self.written += n,
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(flushed) = Pin::new(&mut self.socket).poll_flush(context) {
            flushed?;
        }
        if self.written == before {
            return Ok(false);
        }
        self.spoke = Instant::now();
        self.outbox.drain(..self.written);
        self.written = 0;
        Ok(true)
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        self.inbox.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        let mut room = ReadBuf::new(&mut self.inbox[self.unread.end..]);
        match Pin::new(&mut self.socket).poll_read(context, &mut room)? {
            Poll::Ready(()) if room.filled().is_empty() => {
                Err(io::Error::other("the broker has closed the connection"))
            }
            Poll::Ready(()) => {
                self.unread.end += room.filled().len();
                self.heard = Instant::now();
                Ok(true)
            }
            Poll::Pending => Ok(false),
        }
    }

    /// What has been received next; `None`: nothing whole.
    pub(super) fn next(&mut self) -> Result<Option<Event>, String> {
        loop {
            let octets = &self.inbox[self.unread.clone()];
            let Some(frame) =
                frame::next(octets, self.frame_max).map_err(|error| error.to_string())?
            else {
                return Ok(None);
            };
            let (kind, len) = (frame.kind, frame.payload.len());
            let start = self.unread.start + HEADER_LEN;
            self.unread.start += frame.total_len();
            let event = match kind {
                FrameType::Method => self.method(start..start + len)?,
                FrameType::Header => self.header(start..start + len)?,
                FrameType::Body => self.body(start..start + len)?,
                FrameType::Heartbeat => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn method(&mut self, payload: Range<usize>) -> Result<Option<Event>, String> {
        let method = Method::decode(&self.inbox[payload]).map_err(|error| error.to_string())?;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let event = match method {
            Method::BasicDeliver(deliver) => {
                let message = Delivery {
                    tag: deliver.delivery_tag,
                    exchange: deliver.exchange.to_vec(),
                    routing_key: deliver.routing_key.to_vec(),
                    ..Delivery::default()
                };
                return self.announced(message, None);
            }
            Method::BasicReturn(returned) => {
                let why = text(returned.reply_text);
                return self.announced(Delivery::default(), Some(why));
            }
            Method::ConnectionClose(close) => {
                return Err(format!("{} {}", close.reply_code, text(close.reply_text)));
            }
            Method::ChannelClose(close) => Event::Refused(close.reply_code, text(close.reply_text)),
            Method::ConnectionStart(_) => Event::Start,
            Method::ConnectionTune(tune) => Event::Tune(tune),
            Method::BasicAck(ack) => Event::Confirm {
                number: ack.delivery_tag,
                multiple: ack.multiple,
                is_taken: true,
            },
            Method::BasicNack(nack) => Event::Confirm {
                number: nack.delivery_tag,
                multiple: nack.multiple,
                is_taken: false,
            },
            Method::BasicCancel(_) => Event::Cancelled,
            Method::ConnectionBlocked(_) => Event::Blocked(true),
            Method::ConnectionUnblocked(_) => Event::Blocked(false),
            Method::QueueDeclareOk(declared) => {
                Event::Declared(declared.queue.to_owned(), declared.message_count)
            }
            _ => Event::Done,
        };
        Ok(Some(event))
    }

    fn announced(
        &mut self,
        message: Delivery,
        returned: Option<String>,
    ) -> Result<Option<Event>, String> {
        let content = Content { message, returned };
        match self.coming.replace(Coming::Announced(content)) {
            None => Ok(None),
            Some(_) => Err(disordered()),
        }
    }

    fn header(&mut self, payload: Range<usize>) -> Result<Option<Event>, String> {
        let Some(Coming::Announced(mut content)) = self.coming.take() else {
            return Err(disordered());
        };
        let header = ContentHeader::decode(&self.inbox[payload]);
        let header = header.map_err(|error| error.to_string())?;
        content.message.properties = header.properties.to_vec();
        Ok(self.went_on(content, header.body_size))
    }

    fn body(&mut self, payload: Range<usize>) -> Result<Option<Event>, String> {
        let Some(Coming::Body(mut content, left)) = self.coming.take() else {
            return Err(disordered());
        };
        let left = left
            .checked_sub(payload.len() as u64)
            .ok_or_else(disordered)?;
        content.message.body.extend_from_slice(&self.inbox[payload]);
        Ok(self.went_on(content, left))
    }

    fn went_on(&mut self, content: Content, left: u64) -> Option<Event> {
        if left > 0 {
            self.coming = Some(Coming::Body(content, left));
            return None;
        }
        Some(match content.returned {
            Some(why) => Event::Returned(why),
            None => Event::Delivery(content.message),
        })
    }
}

fn disordered() -> String {
    "the frames of a message are out of order".to_owned()
}

pub(super) fn unexpected(event: &Event) -> String {
    match event {
        Event::Refused(code, why) => format!("{code} {why}"),
        other => format!("unexpected answer: {other:?}"),
    }
}

/// A table as [`RawTable`] wants it.
pub(super) fn octets(table: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    table.encode(&mut out);
    out.split_off(4)
}

fn properties(connection_name: &str) -> Vec<u8> {
    let text = |text: &str| Value::String(text.as_bytes().into());
    let capabilities = [
        "publisher_confirms",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "authentication_failure_close",
    ];
    let capabilities: Table = capabilities
        .into_iter()
        .map(|name| (name, Value::Bool(true)))
        .collect();
    let table: Table = [
        ("product", text("Leveret")),
        ("version", text(env!("CARGO_PKG_VERSION"))),
        ("connection_name", text(connection_name)),
        ("capabilities", Value::Table(capabilities)),
    ]
    .into_iter()
    .collect();
    octets(&table)
}
