//! What an idle channel and an idle consumer take in memory, in the door and the broker together, as the allocator is asked
//! for it.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use leveret_amqp091::connection::{Connection, Limits, Peer};
use leveret_amqp091::method::{
    BasicConsume, ChannelOpen, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, Method,
    QueueDeclare,
};
use leveret_broker::broker::{Broker, Restored};
use leveret_broker::options::Options;
use leveret_broker::storage::sim::SimDisk;
use leveret_broker::storage::{self, Log};
use leveret_broker::time::Timestamp;

/// Counts the bytes that each thread allocates: the log's writer makes files meanwhile, on a disk that is memory.
struct Counting;

thread_local! {
    /// Wraps when what another thread had allocated is freed.
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

fn allocated() -> usize {
    ALLOCATED.get()
}

// SAFETY: all is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(allocated().wrapping_add(layout.size()));
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ALLOCATED.set(allocated().wrapping_sub(layout.size()));
        // SAFETY: the caller keeps what `GlobalAlloc` asks for, and the block is the system's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Timestamp = Timestamp(1_000_000);
const CONNECTIONS: usize = 200;
/// Of each connection.
const CHANNELS: u16 = 10;
/// What one channel may take, bytes. The rest of a KiB is the allocator's, which rounds up, and the management's.
const CHANNEL_BYTES_MAX: usize = 600;
/// What the first consumer of a channel may take, bytes, with what it takes in its queue.
const CONSUMER_BYTES_MAX: usize = 700;

#[test]
fn what_was_only_opened_takes_less_than_a_kibibyte() {
    let broker = start();
    let limits = Arc::new(Limits::default());
    let connect = |_| Client::connect(&broker, &limits);
    let mut clients: Vec<_> = (0..CONNECTIONS).map(connect).collect();
    let mut ask_on_all = |what: Method<'_>| {
        for client in &mut clients {
            for number in 1..=CHANNELS {
                client.ask(number, what);
            }
        }
    };
    check("channel", CHANNEL_BYTES_MAX, || {
        ask_on_all(ChannelOpen {}.into());
    });
    let queue = "orders";
    let declare = QueueDeclare {
        queue,
        ..QueueDeclare::default()
    };
    ask_on_all(declare.into());
    let consume = BasicConsume {
        queue,
        ..BasicConsume::default()
    };
    check("consumer", CONSUMER_BYTES_MAX, || {
        ask_on_all(consume.into())
    });
}

/// One on every channel of all connections.
fn check(what: &str, bytes_max: usize, make: impl FnOnce()) {
    let before = allocated();
    make();
    let each = allocated().wrapping_sub(before) / (CONNECTIONS * usize::from(CHANNELS));
    assert!(each <= bytes_max, "a {what} takes {each} bytes");
    assert!(each > 0, "nothing was counted");
}

fn start() -> Arc<Broker> {
    let disk = Arc::new(SimDisk::new(1));
    let log = Log::open(disk, storage::Options::default(), &mut |_| {}).unwrap();
    Broker::start(Options::new(|| 7), log, Restored::default(), NOW).unwrap()
}

/// A client, as the other end of a connection.
struct Client {
    connection: Connection,
}

impl Client {
    fn connect(broker: &Arc<Broker>, limits: &Arc<Limits>) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let peer = Peer::new(address, address);
        let mut client = Self {
            connection: Connection::new(broker.clone(), limits.clone(), peer, NOW),
        };
        client.send(b"AMQP\x00\x00\x09\x01".to_vec());
        let start_ok = ConnectionStartOk {
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            locale: "en_US",
            ..ConnectionStartOk::default()
        };
        client.ask(0, start_ok);
        let tune_ok = ConnectionTuneOk {
            frame_max: 131_072,
            ..ConnectionTuneOk::default()
        };
        client.ask(0, tune_ok);
        client.ask(0, ConnectionOpen { virtual_host: "/" });
        client
    }

    fn ask<'a>(&mut self, channel: u16, method: impl Into<Method<'a>>) {
        let mut bytes = Vec::new();
        method.into().encode(channel, &mut bytes);
        self.send(bytes);
    }

    /// Sends whole frames, and reads the answer.
    fn send(&mut self, bytes: Vec<u8>) {
        let len = bytes.len();
        let consumed = self.connection.receive(&bytes.into(), 0..len, NOW);
        assert_eq!(consumed, len);
        assert!(!self.connection.is_finished(), "the client is refused");
        let output = self.connection.output();
        output.advance(output.pending());
    }
}
