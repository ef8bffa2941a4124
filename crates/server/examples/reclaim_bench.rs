//! What a node takes on disk after much of what it held has gone in one way or another, without a restart.
//!
//! ```sh
//! cargo build --release -p leveret
//! cargo run --release -p leveret --example reclaim_bench -- 200000
//! ```
//!
//! The argument is the number of messages, of 1 KiB each. Each scenario has a node of its own, which may keep 16 MiB of
//! them in memory; the rest is paged out. The log's spare files and the files that are being written are a constant part
//! of what is on disk: the first line is a node that never had a message.
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "../tests/client/mod.rs"]
mod client;
#[path = "../tests/process/mod.rs"]
mod process;

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use client::{Client, Event};
use leveret_amqp091::method::{
    BasicAck, BasicConsume, BasicPublish, BasicQos, ConfirmSelect, QueueDeclare, QueueDelete,
    QueuePurge, RawTable,
};
use leveret_broker::table::{Table, Value};
use process::{Directory, Node, directory_bytes};

const QUEUE: &str = "reclaim";
const DEAD: &str = "dead";
/// Messages on the way at once.
const WINDOW: u64 = 10_000;
const BODY: [u8; 1024] = [7; 1024];
/// What is on disk is looked at so often.
const LOOK: Duration = Duration::from_millis(200);
/// Nothing more is expected to go when nothing has gone for so long.
const QUIET: Duration = Duration::from_secs(3);

/// A client with what it has published and been given so far.
struct Load {
    client: Client,
    published: u64,
    delivered: u64,
}

/// Fills the queue with so many messages and has some go; gives how many are left.
type Run = fn(&mut Load, u64) -> io::Result<u64>;

/// Its name, the arguments of the queue, and what happens.
type Scenario = (&'static str, &'static [(&'static str, i32)], Run);

const SCENARIOS: [Scenario; 9] = [
    ("nothing published", &[], |_, _| Ok(0)),
    ("consumed in order", &[], in_order),
    ("acknowledged out of order, one in ten not", &[], shuffled),
    ("priorities", &[("x-max-priority", 9)], priorities),
    ("expired", &[("x-message-ttl", 1000)], expired),
    ("dead-lettered", &[], dead_lettered),
    ("one unacknowledged at the head", &[], stuck),
    ("deleted", &[], deleted),
    ("purged", &[], purged),
];

fn main() -> io::Result<()> {
    let usage = || io::Error::other("usage: reclaim_bench MESSAGES");
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let count = count.ok_or_else(usage)?;
    let this = std::env::current_exe()?;
    let built = this.parent().and_then(Path::parent);
    let built = built.ok_or_else(|| io::Error::other("not run by cargo"))?;
    let program = built.join("leveret");
    SCENARIOS
        .into_iter()
        .try_for_each(|scenario| measure(&program, scenario, count))
}

fn measure(program: &Path, (name, arguments, run): Scenario, count: u64) -> io::Result<()> {
    let directory = Directory::new("reclaim");
    let settings = [
        "vm_memory_high_watermark.absolute=4GB",
        "vm_memory_high_watermark_paging_ratio=0.004",
    ];
    let node = Node::start_with(program, &directory.0, &settings)?;
    let mut load = Load::new(&node)?;
    let arguments = arguments.iter();
    load.declare(
        QUEUE,
        arguments.map(|(key, value)| (Box::from(*key), Value::I32(*value))),
    )?;
    let live = run(&mut load, count)?;
    let done = Instant::now();
    let before = directory_bytes(&directory.0)?;
    let after = settled_bytes(&directory.0)?;
    println!(
        "space, {name}: {} MiB live, {} MiB on disk, {} MiB after {:.0} s",
        (live * BODY.len() as u64) >> 20,
        before >> 20,
        after >> 20,
        done.elapsed().as_secs_f64()
    );
    node.kill()
}

/// What is on disk when that has stopped changing.
fn settled_bytes(directory: &Path) -> io::Result<u64> {
    let mut bytes = directory_bytes(directory)?;
    let mut since = Instant::now();
    while since.elapsed() < QUIET {
        thread::sleep(LOOK);
        let now = directory_bytes(directory)?;
        if now != bytes {
            (bytes, since) = (now, Instant::now());
        }
    }
    Ok(bytes)
}

fn in_order(load: &mut Load, count: u64) -> io::Result<u64> {
    load.publish(count, |_| 0)?;
    load.consume(0)?;
    load.pass(count)?;
    Ok(0)
}

fn shuffled(load: &mut Load, count: u64) -> io::Result<u64> {
    load.publish(count, |_| 0)?;
    load.consume(0)?;
    load.take(count)?;
    // All of them once, since `count` is no multiple of this prime.
    let order = (0..count).map(|n| n * 7_919 % count + 1);
    let acked: Vec<u64> = order.filter(|tag| tag % 10 != 0).collect();
    for tags in acked.chunks(500) {
        tags.iter().for_each(|tag| load.ack(*tag, false));
        load.client.flush()?;
    }
    load.await_acks()?;
    Ok(count - acked.len() as u64)
}

/// The lowest of ten is left, scattered over all that was written.
fn priorities(load: &mut Load, count: u64) -> io::Result<u64> {
    load.publish(count, |n| (n % 10) as u8)?;
    load.consume(100)?;
    load.pass(count * 9 / 10)?;
    Ok(count - count * 9 / 10)
}

fn expired(load: &mut Load, count: u64) -> io::Result<u64> {
    load.publish(count, |_| 0)?;
    load.await_empty()?;
    Ok(0)
}

/// From a second queue to the first, where they stay.
fn dead_lettered(load: &mut Load, count: u64) -> io::Result<u64> {
    let string = |text: &str| Value::String(text.as_bytes().into());
    let arguments = [
        ("x-message-ttl", Value::I32(1000)),
        ("x-dead-letter-exchange", string("")),
        ("x-dead-letter-routing-key", string(DEAD)),
    ];
    load.declare(DEAD, [])?;
    load.client.ask(QueueDelete {
        queue: QUEUE,
        ..Default::default()
    })?;
    load.declare(QUEUE, arguments.map(|(key, value)| (Box::from(key), value)))?;
    load.publish(count, |_| 0)?;
    load.await_empty()?;
    Ok(count)
}

fn stuck(load: &mut Load, count: u64) -> io::Result<u64> {
    load.publish(count, |_| 0)?;
    load.consume(1_000)?;
    load.take(1)?;
    while load.delivered < count {
        load.take(1)?;
        load.ack(load.delivered, false);
        if load.delivered.is_multiple_of(50) {
            load.client.flush()?;
        }
    }
    load.await_acks()?;
    Ok(1)
}

fn deleted(load: &mut Load, count: u64) -> io::Result<u64> {
    load.publish(count, |_| 0)?;
    load.client.ask(QueueDelete {
        queue: QUEUE,
        ..Default::default()
    })?;
    Ok(0)
}

fn purged(load: &mut Load, count: u64) -> io::Result<u64> {
    load.publish(count, |_| 0)?;
    load.client.ask(QueuePurge {
        queue: QUEUE,
        ..Default::default()
    })?;
    Ok(0)
}

impl Load {
    fn new(node: &Node) -> io::Result<Self> {
        let mut client = Client::connect(node.address)?;
        client.ask(ConfirmSelect::default())?;
        Ok(Self {
            client,
            published: 0,
            delivered: 0,
        })
    }

    fn declare(
        &mut self,
        queue: &str,
        arguments: impl IntoIterator<Item = (Box<str>, Value)>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        Table::from_iter(arguments).encode(&mut bytes);
        self.client.ask(QueueDeclare {
            queue,
            durable: true,
            // Without the length, which the method's encoder writes.
            arguments: RawTable(&bytes[4..]),
            ..Default::default()
        })?;
        Ok(())
    }

    /// Publishes persistent messages, and waits until all are confirmed.
    fn publish(&mut self, count: u64, priority: fn(u64) -> u8) -> io::Result<()> {
        let to_queue = BasicPublish {
            routing_key: QUEUE.as_bytes(),
            ..Default::default()
        };
        let end = self.published + count;
        let mut confirmed = self.published;
        while confirmed < end {
            while self.published < end && self.published - confirmed < WINDOW {
                // The flags of delivery-mode and priority.
                let properties = [0x18, 0, 2, priority(self.published)];
                self.client.publish_with(to_queue, &properties, &BODY);
                self.published += 1;
            }
            self.client.flush()?;
            match self.client.next()? {
                Event::Confirmed { tag, .. } => confirmed = tag,
                other => return Err(unexpected(&other)),
            }
        }
        Ok(())
    }

    fn consume(&mut self, prefetch_count: u16) -> io::Result<()> {
        self.client.ask(BasicQos {
            prefetch_count,
            ..Default::default()
        })?;
        self.client.ask(BasicConsume {
            queue: QUEUE,
            ..Default::default()
        })?;
        Ok(())
    }

    /// Takes so many deliveries.
    fn take(&mut self, count: u64) -> io::Result<()> {
        for _ in 0..count {
            match self.client.next()? {
                Event::Delivery { tag, .. } => self.delivered = tag,
                other => return Err(unexpected(&other)),
            }
        }
        Ok(())
    }

    /// Takes and acknowledges so many deliveries, one after the other.
    fn pass(&mut self, count: u64) -> io::Result<()> {
        for n in 1..=count {
            self.take(1)?;
            self.ack(self.delivered, true);
            if n % 50 == 0 || n == count {
                self.client.flush()?;
            }
        }
        self.await_acks()
    }

    fn ack(&mut self, delivery_tag: u64, multiple: bool) {
        self.client.send(BasicAck {
            delivery_tag,
            multiple,
        });
    }

    /// An answer to anything says that the acknowledgements before it have been looked at.
    fn await_acks(&mut self) -> io::Result<()> {
        self.messages().map(|_| ())
    }

    fn await_empty(&mut self) -> io::Result<()> {
        while self.messages()? > 0 {
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn messages(&mut self) -> io::Result<u32> {
        self.client.ask(QueueDeclare {
            queue: QUEUE,
            passive: true,
            ..Default::default()
        })
    }
}

fn unexpected(event: &Event) -> io::Error {
    io::Error::other(format!("{event:?}"))
}
