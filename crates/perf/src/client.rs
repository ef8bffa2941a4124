//! A connection to the broker that waits for its answers: set-up before a run, and whatever needs no speed.

use std::io::Write;

use leveret_amqp091::frame::FrameType;
use leveret_amqp091::method::*;
use leveret_amqp091::protocol_header::AMQP_0_9_1;
use leveret_amqp091::table::{Table, Value};

use crate::error::Error;
use crate::inbox::Inbox;
use crate::socket::{Socket, Trust};
use crate::uri::Uri;

/// What a broker lets a client ask for unless configured otherwise.
pub(crate) const FRAME_MAX: u32 = 131_072;
/// For connections that carry nothing.
pub(crate) const FRAME_MIN: u32 = 8192;

/// The channel of whoever needs only one.
pub(crate) const CHANNEL: u16 = 1;

pub(crate) struct Client {
    pub(crate) socket: Socket,
    pub(crate) inbox: Inbox,
    /// What the broker agreed to.
    pub(crate) frame_max: u32,
    /// Product and version, as the broker says.
    pub(crate) product: String,
    out: Vec<u8>,
}

impl Client {
    /// Connects and logs in; asks for frames of at most `frame_max` octets.
    pub(crate) fn connect(uri: &Uri, trust: &Trust, frame_max: u32) -> Result<Self, Error> {
        let mut client = Self {
            socket: Socket::connect(uri, trust)?,
            inbox: Inbox::new(frame_max),
            frame_max,
            product: String::new(),
            out: AMQP_0_9_1.to_vec(),
        };
        client.flush()?;
        client
            .receive(0, |method| match method {
                Method::ConnectionStart(start) => Ok(product(&start)),
                other => Err(Error::unexpected(&other)),
            })
            .map(|product| client.product = product)?;
        let response = format!("\0{}\0{}", uri.user, uri.password);
        client.send(
            0,
            ConnectionStartOk {
                client_properties: RawTable(&properties()),
                mechanism: "PLAIN",
                response: response.as_bytes(),
                locale: "en_US",
            },
        );
        client.flush()?;
        let (channel_max, offered) = client.receive(0, |method| match method {
            Method::ConnectionTune(tune) => Ok((tune.channel_max, tune.frame_max)),
            other => Err(Error::unexpected(&other)),
        })?;
        if offered != 0 {
            client.frame_max = frame_max.min(offered);
        }
        client.send(
            0,
            ConnectionTuneOk {
                channel_max,
                frame_max: client.frame_max,
                heartbeat: 0,
            },
        );
        let open = ConnectionOpen {
            virtual_host: &uri.vhost,
        };
        client.call(0, open, |method| match method {
            Method::ConnectionOpenOk(_) => Ok(()),
            other => Err(Error::unexpected(&other)),
        })?;
        Ok(client)
    }

    /// Opens [`CHANNEL`] as well.
    pub(crate) fn connect_channel(uri: &Uri, trust: &Trust) -> Result<Self, Error> {
        let mut client = Self::connect(uri, trust, FRAME_MAX)?;
        client.ask(CHANNEL, ChannelOpen {})?;
        Ok(client)
    }

    /// Writes a method; [`Self::flush`] sends it.
    pub(crate) fn send<'a>(&mut self, channel: u16, method: impl Into<Method<'a>>) {
        method.into().encode(channel, &mut self.out);
    }

    /// Sends what was written.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.socket.write_all(&self.out)?;
        self.socket.flush()?;
        self.out.clear();
        Ok(())
    }

    /// Sends a method and takes from its answer what is wanted.
    pub(crate) fn call<'a, T>(
        &mut self,
        channel: u16,
        method: impl Into<Method<'a>>,
        wanted: impl FnOnce(Method<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.send(channel, method);
        self.flush()?;
        self.receive(channel, wanted)
    }

    /// [`Self::call`], when any answer but a refusal will do.
    pub(crate) fn ask<'a>(
        &mut self,
        channel: u16,
        method: impl Into<Method<'a>>,
    ) -> Result<(), Error> {
        self.call(channel, method, no_refusal)
    }

    /// Waits for the next method on a channel; a refusal of the connection comes from any.
    pub(crate) fn receive<T>(
        &mut self,
        channel: u16,
        wanted: impl FnOnce(Method<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            while let Some(frame) = self.inbox.frame()? {
                if frame.kind != FrameType::Method {
                    continue;
                }
                match Method::decode(frame.payload)? {
                    method @ Method::ConnectionClose(_) => return Err(Error::unexpected(&method)),
                    // An alarm does not concern set-up.
                    Method::ConnectionBlocked(_) | Method::ConnectionUnblocked(_) => {}
                    method if frame.channel == channel => return wanted(method),
                    other => return Err(Error::unexpected(&other)),
                }
            }
            self.inbox.fill(&mut self.socket)?;
        }
    }

    /// Says good-bye and waits for the answer.
    pub(crate) fn close(mut self) -> Result<(), Error> {
        self.ask(0, ConnectionClose::default())
    }
}

/// Takes any method as a yes, except those that close.
pub(crate) fn no_refusal(method: Method<'_>) -> Result<(), Error> {
    match method {
        Method::ChannelClose(_) => Err(Error::unexpected(&method)),
        _ => Ok(()),
    }
}

/// Who we are, and that we want to hear of alarms. Octets of a table, without its length.
fn properties() -> Vec<u8> {
    let text = |text: &str| Value::String(text.as_bytes().into());
    let capabilities: Table = [
        "publisher_confirms",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
    ]
    .into_iter()
    .map(|name| (name, Value::Bool(true)))
    .collect();
    let table: Table = [
        ("product", text("leveret perf")),
        ("version", text(env!("CARGO_PKG_VERSION"))),
        ("connection_name", text("leveret perf")),
        ("capabilities", Value::Table(capabilities)),
    ]
    .into_iter()
    .collect();
    table_octets(&table)
}

/// A table as [`RawTable`] wants it.
pub(crate) fn table_octets(table: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    table.encode(&mut out);
    out.split_off(4)
}

fn product(start: &ConnectionStart<'_>) -> String {
    let table = start.server_properties.decode().unwrap_or_default();
    let text = |key| {
        table
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or("?")
            .to_owned()
    };
    // Leveret names itself where no client looks for a version to depend on.
    match table.get("information").and_then(Value::as_str) {
        Some(information) if information.starts_with("Leveret") => information
            .split([',', ';', ':'])
            .next()
            .unwrap_or_default()
            .to_owned(),
        _ => format!("{} {}", text("product"), text("version")),
    }
}
