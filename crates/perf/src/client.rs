//! A connection to the broker that waits for its answers: set-up before a run, and whatever needs no speed.

use std::io::Write;
use std::sync::LazyLock;

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
        let mut client = Self::over(Socket::connect(uri, trust)?, frame_max);
        client.out.extend_from_slice(&AMQP_0_9_1);
        let mut handshake = Handshake::new(uri, frame_max);
        let mut product = None;
        loop {
            client.flush()?;
            let mut out = std::mem::take(&mut client.out);
            let is_open = client.receive(0, |method| {
                if let Method::ConnectionStart(start) = &method {
                    product = Some(product_of(start));
                }
                handshake.answer(&method, &mut out)
            })?;
            client.out = out;
            if is_open {
                break;
            }
        }
        client.frame_max = handshake.frame_max;
        client.product = product.unwrap_or_default();
        Ok(client)
    }

    /// A connection on which nothing has been said yet.
    pub(crate) fn over(socket: Socket, frame_max: u32) -> Self {
        Self {
            socket,
            inbox: Inbox::new(frame_max),
            frame_max,
            product: String::new(),
            out: Vec::new(),
        }
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
            if !self.inbox.fill(&mut self.socket)? {
                return Err(Error::Silent);
            }
        }
    }

    /// Says good-bye and waits for the answer.
    pub(crate) fn close(mut self) -> Result<(), Error> {
        self.ask(0, ConnectionClose::default())
    }
}

/// What a client says to each word of the broker, from the protocol header to the open connection.
pub(crate) struct Handshake<'a> {
    uri: &'a Uri,
    /// What is asked for, and then what was agreed on.
    frame_max: u32,
}

impl<'a> Handshake<'a> {
    pub(crate) fn new(uri: &'a Uri, frame_max: u32) -> Self {
        Self { uri, frame_max }
    }

    /// Puts the answer to `method` into `out`. `true`: there is none, the connection is open.
    pub(crate) fn answer(&mut self, method: &Method<'_>, out: &mut Vec<u8>) -> Result<bool, Error> {
        let Uri { user, password, .. } = self.uri;
        match method {
            Method::ConnectionStart(_) => {
                let response = format!("\0{user}\0{password}");
                let start = ConnectionStartOk {
                    client_properties: RawTable(&PROPERTIES),
                    mechanism: "PLAIN",
                    response: response.as_bytes(),
                    locale: "en_US",
                };
                Method::from(start).encode(0, out);
            }
            Method::ConnectionTune(tune) => {
                if tune.frame_max != 0 {
                    self.frame_max = self.frame_max.min(tune.frame_max);
                }
                let agreed = ConnectionTuneOk {
                    channel_max: tune.channel_max,
                    frame_max: self.frame_max,
                    heartbeat: 0,
                };
                Method::from(agreed).encode(0, out);
                let open = ConnectionOpen {
                    virtual_host: &self.uri.vhost,
                };
                Method::from(open).encode(0, out);
            }
            Method::ConnectionOpenOk(_) => return Ok(true),
            other => return Err(Error::unexpected(other)),
        }
        Ok(false)
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
static PROPERTIES: LazyLock<Vec<u8>> = LazyLock::new(|| {
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
});

/// A table as [`RawTable`] wants it.
pub(crate) fn table_octets(table: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    table.encode(&mut out);
    out.split_off(4)
}

fn product_of(start: &ConnectionStart<'_>) -> String {
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn broker_that_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let uri: Uri = format!("amqp://127.0.0.1:{port}").parse().unwrap();
        let target = crate::options::Target {
            uris: vec![uri.clone()],
            cacert: None,
            insecure: false,
            server_pids: Vec::new(),
        };
        let trust = Trust::new(&target).unwrap();
        let mut client = Client::over(Socket::connect(&uri, &trust).unwrap(), FRAME_MIN);
        let patience = client.socket.tcp().read_timeout().unwrap();
        assert_eq!(patience, Some(crate::socket::PATIENCE));
        let soon = Some(Duration::from_millis(1));
        client.socket.tcp().set_read_timeout(soon).unwrap();
        assert!(matches!(client.ask(0, ChannelOpen {}), Err(Error::Silent)));
    }
}
