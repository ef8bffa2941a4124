//! One shovel at work: from its two connections to the last message.
//!
//! A message is acknowledged at the source when the destination has it, in mode `on-confirm` when that has confirmed it.
//! Whatever breaks in between, the source hands out again what it has no acknowledgement of: a message may come
//! twice, and is never lost.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use leveret_amqp091::connection::Peer;
use leveret_amqp091::method::*;
use leveret_broker::authority::{Authority, Identity, Question, Verdict};
use leveret_broker::properties::PropertiesBuf;
use leveret_broker::shovel::{AckMode, DeleteAfter, End, Protocol, Uri};
use leveret_broker::table::{Table, Value};
use tokio::io::duplex;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::client::{Client, Delivery, Event, Introduction, Socket, octets, unexpected};
use super::{Ended, Job, Left, Progress};
use crate::io_thread::Client as Newcomer;
use crate::tls::outgoing::ClientTls;

/// How long set-up and goodbye may take, each.
const PATIENCE: Duration = Duration::from_secs(60);
/// `connection_timeout` of URIs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// Nothing is taken from the source while so many octets wait for the destination.
const UNSENT_MAX: usize = 1 << 20;
/// How long nothing is taken after the destination has refused a message, which is there again at once.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);
/// What is on its way between a shovel and its own node.
const OWN_BYTES: usize = 128 * 1024;

/// Why a shovel has stopped, in RabbitMQ's words and in more.
pub(super) struct Failure {
    pub(super) reason: &'static str,
    pub(super) details: String,
}

fn because(reason: &'static str) -> impl Fn(String) -> Failure {
    move |details| Failure { reason, details }
}

/// Moves messages until the shovel is done.
pub(super) async fn run(job: &Job) -> Result<Ended, Failure> {
    let shovel = &job.shovel;
    let (source, source_uri) = job
        .connect(&shovel.source.end)
        .await
        .map_err(because("failed to connect to source"))?;
    let (destination, destination_uri) = job
        .connect(&shovel.destination.end)
        .await
        .map_err(because("failed to connect to destination"))?;
    let mut transfer = Transfer {
        job,
        source,
        destination,
        source_uri,
        destination_uri,
        unconfirmed: VecDeque::new(),
        published: 0,
        progress: Progress::default(),
        paused_until: None,
    };
    let ready = timeout(PATIENCE, transfer.prepare()).await;
    ready
        .unwrap_or_else(|_| Err("no answer in time".to_owned()))
        .map_err(because("failed to set up topology"))?;
    job.is_running(&transfer.source_uri, &transfer.destination_uri);
    transfer.go_on().await.map_err(because("needed a restart"))
}

struct Transfer<'a> {
    job: &'a Job,
    source: Client,
    destination: Client,
    /// As others may see them.
    source_uri: String,
    destination_uri: String,
    /// What was published and is not confirmed yet: its number there, and its tag at the source.
    unconfirmed: VecDeque<(u64, u64)>,
    published: u64,
    progress: Progress,
    paused_until: Option<Instant>,
}

impl Transfer<'_> {
    /// Declares what is to be there, and begins to consume.
    async fn prepare(&mut self) -> Result<(), String> {
        let shovel = &self.job.shovel;
        let destination = &shovel.destination.end;
        if let Some(queue) = &destination.queue {
            declare_queue(&mut self.destination, queue, destination).await?;
        } else if let Some(exchange) = destination.exchange.as_deref().filter(|it| !it.is_empty()) {
            find_exchange(&mut self.destination, exchange).await?;
        }
        if shovel.ack_mode == AckMode::OnConfirm {
            self.destination
                .ask(ConfirmSelect { no_wait: false })
                .await?;
        }
        let (queue, messages) = self.source_queue().await?;
        self.progress.left = match shovel.source.delete_after {
            DeleteAfter::Never => None,
            DeleteAfter::QueueLength => Some(Left::of(messages.into())),
            DeleteAfter::Count(count) => Some(Left::of(count)),
        };
        self.consume(&queue).await
    }

    /// The queue to consume from, one of our own if there is none.
    async fn source_queue(&mut self) -> Result<(String, u32), String> {
        let end = &self.job.shovel.source.end;
        if let Some(queue) = &end.queue {
            let messages = declare_queue(&mut self.source, queue, end).await?;
            return Ok((queue.to_string(), messages));
        }
        let own = QueueDeclare {
            queue: "",
            passive: false,
            durable: false,
            exclusive: true,
            auto_delete: false,
            no_wait: false,
            arguments: RawTable(&[]),
        };
        let queue = match self.source.ask(own).await? {
            Event::Declared(queue, _) => queue,
            other => return Err(unexpected(&other)),
        };
        let bind = QueueBind {
            queue: &queue,
            exchange: end.exchange.as_deref().unwrap_or_default(),
            routing_key: end.exchange_key.as_deref().unwrap_or_default().as_bytes(),
            no_wait: false,
            arguments: RawTable(&[]),
        };
        self.source.ask(bind).await?;
        Ok((queue, 0))
    }

    async fn consume(&mut self, queue: &str) -> Result<(), String> {
        let shovel = &self.job.shovel;
        let qos = BasicQos {
            prefetch_size: 0,
            prefetch_count: shovel.source.prefetch,
            global: false,
        };
        self.source.ask(qos).await?;
        let arguments = octets(&shovel.source.consumer_arguments);
        self.source.send(BasicConsume {
            queue,
            consumer_tag: &shovel.source.consumer_tag,
            no_local: false,
            no_ack: shovel.ack_mode == AckMode::NoAck,
            exclusive: false,
            no_wait: true,
            arguments: RawTable(&arguments),
        });
        Ok(())
    }

    async fn go_on(&mut self) -> Result<Ended, String> {
        let pulses = [self.source.pulse(), self.destination.pulse()];
        let pulse = pulses.into_iter().flatten().min();
        let mut pulse = tokio::time::interval(pulse.unwrap_or(Duration::from_secs(3600)));
        let ends = self.job.shovel.source.delete_after_s;
        let ends = ends.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        loop {
            while self.may_take()
                && let Some(event) = self.source.next()?
            {
                self.source_says(event)?;
            }
            while let Some(event) = self.destination.next()? {
                self.destination_says(event)?;
            }
            self.job.tell(&self.progress, self.unconfirmed.len());
            let is_over = ends.is_some_and(|ends| ends <= Instant::now());
            if is_over || self.progress.left.is_some_and(|left| left.unacked == 0) {
                return self.close().await.map(|()| Ended::Done);
            }
            let receives = self.may_take();
            tokio::select! {
                turned = self.source.turn(receives) => turned.map_err(told("source"))?,
                turned = self.destination.turn(true) => turned.map_err(told("destination"))?,
                _ = pulse.tick() => {
                    self.source.beat(receives)?;
                    self.destination.beat(true)?;
                }
                () = until(self.paused_until) => self.paused_until = None,
                () = until(ends) => {}
                () = self.job.stopped() => return self.close().await.map(|()| Ended::Stopped),
            }
        }
    }

    /// Whether another message may be taken.
    fn may_take(&self) -> bool {
        let is_done = self.progress.left.is_some_and(|left| left.unsent == 0);
        self.destination.unsent() < UNSENT_MAX
            && !self.progress.is_blocked
            && self.paused_until.is_none()
            && !is_done
    }

    fn source_says(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Delivery(message) => self.publish(&message)?,
            Event::Cancelled => return Err("the source queue is gone".to_owned()),
            Event::Refused(code, why) => return Err(format!("source: {code} {why}")),
            _ => {}
        }
        Ok(())
    }

    fn publish(&mut self, message: &Delivery) -> Result<(), String> {
        let shovel = &self.job.shovel;
        let destination = &shovel.destination.end;
        let (exchange, key) = match (&destination.queue, &destination.exchange) {
            (Some(queue), _) => ("", queue.as_bytes()),
            (None, Some(exchange)) => {
                let key = destination.exchange_key.as_deref().map(str::as_bytes);
                (&**exchange, key.unwrap_or(&message.routing_key))
            }
            // Where it was published to at the source.
            (None, None) => (
                std::str::from_utf8(&message.exchange).map_err(|error| error.to_string())?,
                destination
                    .exchange_key
                    .as_deref()
                    .map_or(&*message.routing_key, str::as_bytes),
            ),
        };
        let publish = BasicPublish {
            exchange,
            routing_key: key,
            // A queue that was deleted meanwhile must not swallow it.
            mandatory: destination.queue.is_some() && shovel.ack_mode == AckMode::OnConfirm,
            immediate: false,
        };
        let changed = self.changed_properties(message);
        let properties = changed.as_deref().unwrap_or(&message.properties);
        self.destination.publish(publish, properties, &message.body);
        self.published += 1;
        self.progress.forwarded += 1;
        if let Some(left) = &mut self.progress.left {
            left.unsent -= 1;
        }
        match shovel.ack_mode {
            AckMode::OnConfirm => self.unconfirmed.push_back((self.published, message.tag)),
            AckMode::OnPublish => self.acknowledge(message.tag, false, 1),
            AckMode::NoAck => self.settled(1),
        }
        Ok(())
    }

    /// `None`: they stay as they are, as properties do that can't be read.
    fn changed_properties(&self, message: &Delivery) -> Option<Vec<u8>> {
        let destination = &self.job.shovel.destination;
        if destination.keeps_properties() {
            return None;
        }
        let mut properties = PropertiesBuf::parse(&message.properties).ok()?;
        destination.set_properties(&mut properties);
        if destination.adds_forward_headers {
            self.add_forward_header(properties.headers_mut());
        }
        if destination.adds_timestamp_header {
            let seconds = self.job.clock.now().0 / 1000;
            let seconds = Value::I64(i64::try_from(seconds).unwrap_or(i64::MAX));
            properties
                .headers_mut()
                .insert("x-shovelled-timestamp", seconds);
        }
        Some(properties.encode())
    }

    /// `x-shovelled`: by which shovels it has come, the last one first.
    fn add_forward_header(&self, headers: &mut Table) {
        let text = |text: &str| Value::String(text.as_bytes().into());
        let (source, destination) = (
            &self.job.shovel.source.end,
            &self.job.shovel.destination.end,
        );
        let known = [
            ("shovelled-by", Some(&*self.job.node)),
            ("shovel-type", Some("dynamic")),
            ("shovel-name", Some(&*self.job.name)),
            ("shovel-vhost", Some(&*self.job.vhost)),
            ("src-uri", Some(&*self.source_uri)),
            ("dest-uri", Some(&*self.destination_uri)),
            ("src-queue", source.queue.as_deref()),
            ("src-exchange", source.exchange.as_deref()),
            ("src-exchange-key", source.exchange_key.as_deref()),
            ("dest-queue", destination.queue.as_deref()),
            ("dest-exchange", destination.exchange.as_deref()),
            ("dest-exchange-key", destination.exchange_key.as_deref()),
        ];
        let known = known.into_iter();
        let table: Table = known
            .filter_map(|(name, value)| Some((name, text(value?))))
            .collect();
        let mut ways = vec![Value::Table(table)];
        if let Some(Value::Array(before)) = headers.remove("x-shovelled") {
            ways.extend(before);
        }
        headers.insert("x-shovelled", Value::Array(ways));
    }

    fn destination_says(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Confirm {
                number,
                multiple,
                is_taken,
            } => self.confirmed(number, multiple, is_taken),
            Event::Blocked(is_blocked) => self.progress.is_blocked = is_blocked,
            Event::Returned(why) => return Err(format!("destination: returned, {why}")),
            Event::Refused(code, why) => return Err(format!("destination: {code} {why}")),
            _ => {}
        }
        Ok(())
    }

    /// The destination has messages, or will not have them. Then they go back, to be tried again.
    fn confirmed(&mut self, number: u64, multiple: bool, is_taken: bool) {
        let place = self
            .unconfirmed
            .binary_search_by_key(&number, |(it, _)| *it);
        let Ok(place) = place else {
            return;
        };
        let (_, tag) = self.unconfirmed[place];
        let count = match multiple {
            true => self.unconfirmed.drain(..=place).count(),
            false => self.unconfirmed.remove(place).into_iter().count(),
        } as u64;
        // Numbers and tags count up together: what comes before one at the destination does so at the source.
        if is_taken {
            return self.acknowledge(tag, multiple, count);
        }
        self.source.send(BasicNack {
            delivery_tag: tag,
            multiple,
            requeue: true,
        });
        self.progress.forwarded -= count;
        if let Some(left) = &mut self.progress.left {
            left.unsent += count;
        }
        self.paused_until = Some(Instant::now() + REFUSED_PAUSE);
    }

    fn acknowledge(&mut self, delivery_tag: u64, multiple: bool, count: u64) {
        self.source.send(BasicAck {
            delivery_tag,
            multiple,
        });
        self.settled(count);
    }

    fn settled(&mut self, count: u64) {
        if let Some(left) = &mut self.progress.left {
            left.unacked -= count;
        }
    }

    /// Sends what is still to be sent. The destination first: in the modes that do not wait for it, it is not to miss
    /// what the source has forgotten.
    async fn close(&mut self) -> Result<(), String> {
        let goodbye = async {
            self.destination.close().await?;
            self.source.close().await
        };
        let closed = timeout(PATIENCE, goodbye).await;
        closed.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

fn told(end: &'static str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{end}: {error}")
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Finds a queue, or declares it: one that is there may have any arguments. Gives how many messages it has.
async fn declare_queue(client: &mut Client, queue: &str, end: &End) -> Result<u32, String> {
    const NOT_FOUND: u16 = 404;
    let arguments = octets(&end.queue_arguments);
    let mut declare = QueueDeclare {
        queue,
        passive: true,
        durable: true,
        exclusive: false,
        auto_delete: false,
        no_wait: false,
        arguments: RawTable(&arguments),
    };
    let mut answer = client.call(declare).await?;
    if matches!(answer, Event::Refused(NOT_FOUND, _)) && !end.predeclared {
        client.reopen().await?;
        declare.passive = false;
        answer = client.call(declare).await?;
    }
    match answer {
        Event::Declared(_, messages) => Ok(messages),
        other => Err(unexpected(&other)),
    }
}

async fn find_exchange(client: &mut Client, exchange: &str) -> Result<(), String> {
    let declare = ExchangeDeclare {
        exchange,
        kind: "direct",
        passive: true,
        durable: true,
        auto_delete: false,
        internal: false,
        no_wait: false,
        arguments: RawTable(&[]),
    };
    client.ask(declare).await.map(drop)
}

impl Job {
    /// Connects by the first URI that leads anywhere. Gives what others may see of it.
    async fn connect(&self, end: &End) -> Result<(Client, String), String> {
        if end.protocol == Protocol::Amqp10 {
            return Err("AMQP 1.0 is not spoken by this node".to_owned());
        }
        let mut last = "there is no URI to connect by".to_owned();
        for uri in &end.uris {
            let limit = uri.parameter("connection_timeout");
            let limit = limit.and_then(|ms| ms.parse().ok());
            let limit = limit.map_or(CONNECT_TIMEOUT, Duration::from_millis);
            let connected = timeout(limit, self.connect_by(uri, end.protocol)).await;
            match connected.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(client) if end.protocol == Protocol::Local => {
                    return Ok((client, String::new()));
                }
                Ok(client) => return Ok((client, uri.to_string())),
                Err(why) => last = format!("{uri}: {why}"),
            }
        }
        Err(last)
    }

    async fn connect_by(&self, uri: &Uri, protocol: Protocol) -> Result<Client, String> {
        let socket: Box<dyn Socket> = match &uri.host {
            Some(host) if protocol == Protocol::Amqp091 => reach(uri, host).await?,
            _ => self.reach_own_node(uri)?,
        };
        let is_own = uri.host.is_none() || protocol == Protocol::Local;
        let heartbeat = uri.parameter("heartbeat").and_then(|it| it.parse().ok());
        let who = Introduction {
            user: uri.user.as_deref().unwrap_or("guest"),
            password: uri.password.as_deref().unwrap_or("guest"),
            vhost: uri.vhost.as_deref().unwrap_or(&self.vhost),
            connection_name: &format!("Shovel {}", self.name),
            heartbeat_s: if is_own { Some(0) } else { heartbeat },
        };
        Client::open(socket, &who).await
    }

    /// This node, which serves the connection as any other, on one of its threads. Without a name in the URI it is the
    /// node's own: the one who made the shovel was let into the virtual host, as in RabbitMQ.
    fn reach_own_node(&self, uri: &Uri) -> Result<Box<dyn Socket>, String> {
        let threads = self.threads.upgrade().ok_or("the node stops")?;
        let (ours, theirs) = duplex(OWN_BYTES);
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let identity = uri.user.is_none().then(|| Identity {
            name: "none".into(),
            tags: vec!["impersonator".into()],
            authority: Some(Arc::new(OwnRights)),
            expires: None,
        });
        let peer = Peer {
            name: format!("<{}.shovel.{}.{}>", self.node, self.vhost, self.name),
            identity,
            ..Peer::new(here, here)
        };
        threads.hand_over(Newcomer::own(theirs, peer));
        Ok(Box::new(ours))
    }
}

/// A part of the node may do everything.
#[derive(Debug)]
struct OwnRights;

impl Authority for OwnRights {
    fn decide(&self, _: Question<'_>) -> Verdict {
        Verdict::Allow
    }
}

async fn reach(uri: &Uri, host: &str) -> Result<Box<dyn Socket>, String> {
    let socket = TcpStream::connect((host, uri.port))
        .await
        .map_err(|error| error.to_string())?;
    socket
        .set_nodelay(true)
        .map_err(|error| error.to_string())?;
    if !uri.tls {
        return Ok(Box::new(socket));
    }
    let file = |name| uri.parameter(name).map(Into::into);
    let tls = ClientTls {
        ca_cert_file: file("cacertfile"),
        cert_file: file("certfile"),
        key_file: file("keyfile"),
        password: uri.parameter("password").map(str::to_owned),
        verify_peer: uri.parameter("verify") != Some("verify_none"),
    };
    let name = uri.parameter("server_name_indication").unwrap_or(host);
    let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    // Files are read, which takes a moment.
    let tls = tokio::task::spawn_blocking(move || tls.config())
        .await
        .map_err(|error| error.to_string())??;
    let socket = TlsConnector::from(tls).connect(name, socket).await;
    Ok(Box::new(socket.map_err(|error| error.to_string())?))
}
