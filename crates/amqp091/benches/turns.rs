//! What a message costs from the bytes of its publisher to the bytes of its consumer, without a socket, in instructions:
//! they repeat to the digit where times do not. `cargo xtask instructions` counts them and holds them against
//! `turns.budget`; `cargo bench -p leveret-amqp091 --bench turns` only runs everything once.

use std::env;
use std::hint::black_box;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Waker};

use leveret_amqp091::connection::{Connection, Limits, Peer};
use leveret_amqp091::content::{put_ack, put_body, put_content_header};
use leveret_amqp091::method::{
    BasicConsume, BasicPublish, BasicQos, ChannelOpen, ConnectionOpen, ConnectionStartOk,
    ConnectionTuneOk, ExchangeDeclare, Method, QueueBind, QueueDeclare,
};
use leveret_broker::broker::{Broker, Restored};
use leveret_broker::options::Options;
use leveret_broker::storage::sim::SimDisk;
use leveret_broker::storage::{self, Log};
use leveret_broker::time::Timestamp;

const NOW: Timestamp = Timestamp(1_000_000);
/// As the server's.
const BLOCK_BYTES: usize = 64 * 1024;
/// Messages of a run.
const MESSAGES: usize = 20_000;

/// A load: who publishes what to how many queues, and how it is taken.
struct Load {
    name: &'static str,
    body: usize,
    queues: usize,
    /// Empty: the default exchange.
    exchange: &'static str,
    /// Bindings of a topic exchange, each with a key of its own.
    keys: usize,
    /// Publishes of one read.
    read: usize,
    take: Take,
}

#[derive(Clone, Copy, PartialEq)]
enum Take {
    /// Nobody does.
    Leave,
    AutoAck,
    /// With a prefetch of 200, and one acknowledgement for so many.
    AckEvery(u64),
}

const LOADS: [Load; 7] = [
    load("auto_16B", 16, 600, Take::AutoAck),
    load("auto_1KiB", 1024, 60, Take::AutoAck),
    load("small_reads", 16, 1, Take::AutoAck),
    load("ack_10", 16, 600, Take::AckEvery(10)),
    load("ack_1", 16, 600, Take::AckEvery(1)),
    load("publish_only", 16, 600, Take::Leave),
    Load {
        name: "topic_1000",
        queues: 10,
        exchange: "topic",
        keys: 1000,
        ..load("", 16, 600, Take::AutoAck)
    },
];

const fn load(name: &'static str, body: usize, read: usize, take: Take) -> Load {
    Load {
        name,
        body,
        queues: 1,
        exchange: "",
        keys: 1,
        read,
        take,
    }
}

fn main() {
    let asked = env::args().nth(1).filter(|name| !name.starts_with('-'));
    for load in &LOADS {
        if asked.as_ref().is_none_or(|name| name == load.name) {
            run(load);
        }
    }
}

fn run(load: &Load) {
    let broker = start();
    let mut consumer = Client::connect(&broker);
    consumer.set_up(load);
    let mut publisher = Client::connect(&broker);
    let reads = load.reads();
    let mut acks = Acks::default();
    // The first read learns routes and makes room.
    measured(load, &reads[..1], &mut publisher, &mut consumer, &mut acks);
    counted(load, &reads, &mut publisher, &mut consumer, &mut acks);
}

/// What is counted, by its name.
#[inline(never)]
fn counted(
    load: &Load,
    reads: &[(Arc<[u8]>, usize)],
    publisher: &mut Client,
    consumer: &mut Client,
    acks: &mut Acks,
) {
    measured(load, reads, publisher, consumer, acks);
}

fn measured(
    load: &Load,
    reads: &[(Arc<[u8]>, usize)],
    publisher: &mut Client,
    consumer: &mut Client,
    acks: &mut Acks,
) {
    for (block, len) in reads {
        publisher.connection.receive(block, 0..*len, NOW);
        if load.take == Take::Leave {
            continue;
        }
        loop {
            consumer.take();
            let Take::AckEvery(every) = load.take else {
                break;
            };
            let Some((block, len)) = acks.due(every, consumer) else {
                break;
            };
            consumer.connection.receive(&block, 0..len, NOW);
        }
    }
}

impl Load {
    fn key(&self, n: usize) -> String {
        match self.exchange {
            "" => "q0".to_owned(),
            _ => format!("orders.eu.{n}"),
        }
    }

    /// What the publisher's socket gives, as blocks and how much of each is filled.
    fn reads(&self) -> Vec<(Arc<[u8]>, usize)> {
        let body = vec![b'x'; self.body];
        let mut next = 0;
        let mut read = || {
            let mut bytes = Vec::new();
            for _ in 0..self.read {
                let key = self.key(next % self.keys);
                next += 1;
                let publish = BasicPublish {
                    exchange: self.exchange,
                    routing_key: key.as_bytes(),
                    ..BasicPublish::default()
                };
                Method::from(publish).encode(1, &mut bytes);
                put_content_header(&mut bytes, 1, &[0, 0], self.body);
                put_body(&mut bytes, 1, &body, 0);
            }
            let len = bytes.len();
            assert!(len <= BLOCK_BYTES, "a read fits a block");
            bytes.resize(BLOCK_BYTES, 0);
            (bytes.into(), len)
        };
        (0..MESSAGES / self.read).map(|_| read()).collect()
    }
}

fn block(bytes: Vec<u8>) -> (Arc<[u8]>, usize) {
    let len = bytes.len();
    (bytes.into(), len)
}

/// What the consumer has acknowledged.
#[derive(Default)]
struct Acks {
    until: u64,
}

impl Acks {
    /// Acknowledgements of all that was delivered since, but for an incomplete run.
    fn due(&mut self, every: u64, consumer: &Client) -> Option<(Arc<[u8]>, usize)> {
        let mut bytes = Vec::new();
        while self.until + every <= consumer.delivered {
            self.until += every;
            put_ack(&mut bytes, 1, self.until, every > 1);
        }
        (!bytes.is_empty()).then(|| block(bytes))
    }
}

/// A client, as the other end of a connection.
struct Client {
    connection: Connection,
    /// Deliveries seen.
    delivered: u64,
}

impl Client {
    fn connect(broker: &Arc<Broker>) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let peer = Peer::new(address, address);
        let limits = Arc::new(Limits::default());
        let mut client = Self {
            connection: Connection::new(broker.clone(), limits, peer, NOW),
            delivered: 0,
        };
        client.send(b"AMQP\x00\x00\x09\x01".to_vec());
        client.ask(
            0,
            ConnectionStartOk {
                mechanism: "PLAIN",
                response: b"\0guest\0guest",
                locale: "en_US",
                ..ConnectionStartOk::default()
            },
        );
        client.ask(
            0,
            ConnectionTuneOk {
                frame_max: 131_072,
                ..ConnectionTuneOk::default()
            },
        );
        client.ask(0, ConnectionOpen { virtual_host: "/" });
        client.ask(1, ChannelOpen {});
        client
    }

    fn set_up(&mut self, load: &Load) {
        if !load.exchange.is_empty() {
            self.ask(
                1,
                ExchangeDeclare {
                    exchange: load.exchange,
                    kind: "topic",
                    ..ExchangeDeclare::default()
                },
            );
        }
        if let Take::AckEvery(_) = load.take {
            self.ask(
                1,
                BasicQos {
                    prefetch_count: 200,
                    ..BasicQos::default()
                },
            );
        }
        for n in 0..load.queues {
            self.queue(load, &format!("q{n}"));
        }
        for n in (0..load.keys).filter(|_| !load.exchange.is_empty()) {
            self.ask(
                1,
                QueueBind {
                    queue: &format!("q{}", n % load.queues),
                    exchange: load.exchange,
                    routing_key: load.key(n).as_bytes(),
                    ..QueueBind::default()
                },
            );
        }
    }

    fn queue(&mut self, load: &Load, name: &str) {
        self.ask(
            1,
            QueueDeclare {
                queue: name,
                ..QueueDeclare::default()
            },
        );
        if load.take != Take::Leave {
            self.ask(
                1,
                BasicConsume {
                    queue: name,
                    consumer_tag: name,
                    no_ack: load.take == Take::AutoAck,
                    ..BasicConsume::default()
                },
            );
        }
    }

    fn ask<'a>(&mut self, channel: u16, method: impl Into<Method<'a>>) {
        let mut bytes = Vec::new();
        method.into().encode(channel, &mut bytes);
        self.send(bytes);
        assert!(
            !self.connection.is_finished(),
            "the client is refused something"
        );
    }

    fn send(&mut self, bytes: Vec<u8>) {
        let (block, len) = block(bytes);
        let consumed = self.connection.receive(&block, 0..len, NOW);
        assert_eq!(consumed, len, "whole frames are consumed");
        self.write();
    }

    /// Has its deliveries encoded and written.
    fn take(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while self.connection.poll_dispatch(&mut context, NOW).is_ready() {
            self.delivered = self.write().unwrap_or(self.delivered);
        }
    }

    /// Writes what there is; gives how many deliveries that makes in all, as the broker counts them.
    fn write(&mut self) -> Option<u64> {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = self.connection.output().slices(&mut slices);
        let written: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        let last = slices[..filled].last().and_then(|slice| last_tag(slice));
        self.connection.output().advance(black_box(written));
        last
    }
}

/// The delivery tag of the last delivery in these octets, which end with it.
fn last_tag(bytes: &[u8]) -> Option<u64> {
    const DELIVER: [u8; 4] = [0, 60, 0, 60];
    let at = bytes.windows(4).rposition(|octets| octets == DELIVER)?;
    let tag_at = at + 5 + usize::from(*bytes.get(at + 4)?);
    let tag = bytes.get(tag_at..)?.first_chunk()?;
    Some(u64::from_be_bytes(*tag))
}

fn start() -> Arc<Broker> {
    let disk = Arc::new(SimDisk::new(1));
    let log = Log::open(disk, storage::Options::default(), &mut |_| {}).expect("an empty disk");
    Broker::start(Options::new(|| 7), log, Restored::default(), NOW).expect("nothing to restore")
}
