//! The real program, killed or stopped in the middle of its work and started again: what it has answered for is there.
//!
//! A killed process leaves to the kernel what it has written, so this is not the test of the syncs themselves: those
//! are tested below, in `leveret-storage`, on a disk that drops what is not synced. Here it is the whole way, from a
//! publish to its confirm and back from the disk to a consumer.
//!
//! `SEED=7 ROUNDS=100 QUEUES=200 cargo test -p leveret --test durability killed -- --nocapture` kills it a hundred times,
//! with two hundred queues.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod client;
mod ledger;
mod process;

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use client::{Client, Event, is_gone};
use ledger::{Delivered, Id, Ledger};
use leveret_amqp091::method::*;
use leveret_broker::table::{Table, Value};
use process::{Directory, Node};

const PUBLISHERS: usize = 4;
/// Deliveries that a consumer has not acked, at most.
const PREFETCH: u16 = 30;
/// A direct exchange that every node has.
const EXCHANGE: &str = "amq.direct";
/// The routing key that leads to every queue.
const ALL: &str = "all";

/// Numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

fn environment(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |value| value.parse().unwrap())
}

fn seed() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    let seed = environment("SEED", since.as_nanos() as u64);
    eprintln!("SEED={seed}");
    seed
}

/// Everything that waits and can be is paged out.
fn start(directory: &Directory) -> Node {
    let program = Path::new(env!("CARGO_BIN_EXE_leveret"));
    let settings = ["vm_memory_high_watermark_paging_ratio=0.0"];
    Node::start_with(program, &directory.0, &settings).unwrap()
}

fn queues() -> usize {
    environment("QUEUES", 8) as usize
}

/// A client's work ends with the node, and with nothing else.
fn until_gone(work: io::Result<()>) {
    if let Err(error) = work {
        assert!(is_gone(&error), "{error}");
    }
}

fn queue_name(queue: usize) -> String {
    format!("q{queue}")
}

/// Every other queue is a quorum queue.
fn queue_arguments(queue: usize) -> Vec<u8> {
    let mut table = Table::new();
    if queue % 2 == 1 {
        table.insert("x-queue-type", Value::String(b"quorum"[..].into()));
    }
    raw(&table)
}

/// Without the length, which the method's encoder writes.
fn raw(table: &Table) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.encode(&mut bytes);
    bytes.split_off(4)
}

fn declare_queues(address: SocketAddr) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    for queue in 0..queues() {
        let name = queue_name(queue);
        client.ask(QueueDeclare {
            queue: &name,
            durable: true,
            arguments: RawTable(&queue_arguments(queue)),
            ..Default::default()
        })?;
        for key in [&name, ALL] {
            client.ask(QueueBind {
                queue: &name,
                exchange: EXCHANGE,
                routing_key: key.as_bytes(),
                ..Default::default()
            })?;
        }
    }
    client.close()
}

/// Publishes to one queue or to all until the node is gone, with a window of unconfirmed messages.
fn publish(
    address: SocketAddr,
    publisher: usize,
    ledger: &Mutex<Ledger>,
    mut random: Random,
) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    client.ask(ConfirmSelect::default())?;
    let window = 1 + random.below(100);
    // The messages of this connection; a confirm's tag counts them.
    let mut sent: Vec<Id> = Vec::new();
    let mut confirmed = 0;
    loop {
        while ((sent.len() - confirmed) as u64) < window {
            let queue = random.below(queues() as u64) as usize;
            let (key, queues) = match random.one_in(10) {
                true => (ALL.to_owned(), (0..queues()).collect()),
                false => (queue_name(queue), vec![queue]),
            };
            let id = ledger.lock().unwrap().publish(publisher, &queues);
            let method = BasicPublish {
                exchange: EXCHANGE,
                routing_key: key.as_bytes(),
                ..Default::default()
            };
            client.publish(method, &id.body());
            sent.push(id);
        }
        client.flush()?;
        let Event::Confirmed { tag, multiple } = client.next()? else {
            return Err(io::Error::other("not a confirm"));
        };
        // Confirms come in order, as the window here takes for granted.
        let through = tag as usize;
        assert!(
            multiple || through == confirmed + 1,
            "confirm {tag} out of order"
        );
        let mut ledger = ledger.lock().unwrap();
        sent[confirmed..through]
            .iter()
            .for_each(|id| ledger.confirmed(*id));
        confirmed = through;
    }
}

/// Consumes and acks, some at once, some late, some never, until the node is gone.
fn consume(
    address: SocketAddr,
    queue: usize,
    ledger: &Mutex<Ledger>,
    mut random: Random,
) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    let mut session = ledger.lock().unwrap().session(queue);
    client.ask(BasicQos {
        prefetch_count: PREFETCH,
        ..Default::default()
    })?;
    client.ask(BasicConsume {
        queue: &queue_name(queue),
        ..Default::default()
    })?;
    let mut unacked: Vec<Id> = Vec::new();
    loop {
        let Event::Delivery {
            tag,
            redelivered,
            body,
        } = client.next()?
        else {
            return Err(io::Error::other("not a delivery"));
        };
        let mut ledger = ledger.lock().unwrap();
        let Delivered { id, .. } = ledger.delivered(&mut session, &body, redelivered)?;
        unacked.push(id);
        let multiple = random.one_in(8) || unacked.len() >= usize::from(PREFETCH);
        if multiple {
            unacked.drain(..).for_each(|id| ledger.acked(queue, id));
        } else if random.one_in(2) {
            unacked.pop();
            ledger.acked(queue, id);
        } else {
            continue;
        }
        drop(ledger);
        client.send(BasicAck {
            delivery_tag: tag,
            multiple,
        });
        client.flush()?;
    }
}

/// Takes everything out of a queue that nobody else uses, and asks the ledger whether that was everything. `judge`
/// is told each delivery, and whether it says redelivered.
fn drain(
    client: &mut Client,
    queue: usize,
    ledger: &mut Ledger,
    mut judge: impl FnMut(Delivered, bool),
) -> io::Result<u32> {
    let name = queue_name(queue);
    let passive = QueueDeclare {
        queue: &name,
        passive: true,
        ..Default::default()
    };
    let count = client.ask(passive)?;
    let mut session = ledger.session(queue);
    client.ask(BasicConsume {
        queue: &name,
        consumer_tag: "drain",
        ..Default::default()
    })?;
    for _ in 0..count {
        let Event::Delivery {
            tag,
            redelivered,
            body,
        } = client.next()?
        else {
            return Err(io::Error::other("not a delivery"));
        };
        let delivered = ledger.delivered(&mut session, &body, redelivered)?;
        judge(delivered, redelivered);
        ledger.acked(queue, delivered.id);
        client.send(BasicAck {
            delivery_tag: tag,
            multiple: false,
        });
    }
    client.send(BasicCancel {
        consumer_tag: "drain",
        no_wait: true,
    });
    assert_eq!(
        client.ask(passive)?,
        0,
        "queue {queue} has more than it said"
    );
    ledger.check_nothing_lost(&session)?;
    Ok(count)
}

/// What is known of a definition that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    There,
    Gone,
}

impl Known {
    /// The same after a look: what was known must still hold.
    fn settled(self, there: bool) -> Self {
        let now = if there { Self::There } else { Self::Gone };
        assert!(
            self == Self::Nothing || self == now,
            "{self:?}, and now {now:?}"
        );
        now
    }
}

/// A queue, an exchange and the binding between them; made in this order, and some queues deleted again.
#[derive(Debug)]
struct Defined {
    number: usize,
    queue: Known,
    exchange: Known,
    binding: Known,
}

impl Defined {
    fn queue_name(&self) -> String {
        format!("defined-{}", self.number)
    }

    fn exchange_name(&self) -> String {
        format!("exchange-{}", self.number)
    }

    /// Whether the node went before it answered.
    fn is_open(&self) -> bool {
        [self.queue, self.exchange, self.binding].contains(&Known::Nothing)
    }

    fn declare_queue(&self, client: &mut Client, passive: bool) -> io::Result<bool> {
        let answer = client.call(QueueDeclare {
            queue: &self.queue_name(),
            passive,
            durable: true,
            arguments: RawTable(&queue_arguments(self.number)),
            ..Default::default()
        })?;
        found(answer)
    }

    fn declare_exchange(&self, client: &mut Client, passive: bool) -> io::Result<bool> {
        let answer = client.call(ExchangeDeclare {
            exchange: &self.exchange_name(),
            kind: "topic",
            passive,
            durable: true,
            ..Default::default()
        })?;
        found(answer)
    }

    fn make(&mut self, client: &mut Client) -> io::Result<()> {
        self.declare_queue(client, false)?;
        self.queue = Known::There;
        self.declare_exchange(client, false)?;
        self.exchange = Known::There;
        client.ask(QueueBind {
            queue: &self.queue_name(),
            exchange: &self.exchange_name(),
            routing_key: b"some.#",
            ..Default::default()
        })?;
        self.binding = Known::There;
        Ok(())
    }

    fn delete_queue(&mut self, client: &mut Client) -> io::Result<()> {
        (self.queue, self.binding) = (Known::Nothing, Known::Nothing);
        client.ask(QueueDelete {
            queue: &self.queue_name(),
            ..Default::default()
        })?;
        (self.queue, self.binding) = (Known::Gone, Known::Gone);
        Ok(())
    }

    /// Compares with what is there: what was answered must be, and what is there must be whole.
    fn check(&mut self, client: &mut Client) -> io::Result<()> {
        self.queue = self.queue.settled(self.declare_queue(client, true)?);
        self.exchange = self.exchange.settled(self.declare_exchange(client, true)?);
        if self.queue == Known::There {
            assert!(self.declare_queue(client, false)?);
        }
        if self.exchange == Known::There {
            assert!(self.declare_exchange(client, false)?);
            self.binding = self.binding.settled(self.is_routed(client)?);
        }
        Ok(())
    }

    fn is_routed(&self, client: &mut Client) -> io::Result<bool> {
        client.ask(ConfirmSelect::default())?;
        let method = BasicPublish {
            exchange: &self.exchange_name(),
            routing_key: b"some.key",
            mandatory: true,
            ..Default::default()
        };
        client.publish(method, b"probe");
        client.flush()?;
        if matches!(client.next()?, Event::Confirmed { .. }) {
            return Ok(true);
        }
        client.next().map(|_| false)
    }
}

/// Whether something is there; anything else that can be said about it (406) is a fault.
fn found(answer: Result<u32, client::Refusal>) -> io::Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.code == 404 => Ok(false),
        Err(refusal) => Err(io::Error::other(format!("{refusal:?}"))),
    }
}

/// Defines and deletes until the node is gone. Says so when something has been defined.
fn define(
    address: SocketAddr,
    defined: &mut Vec<Defined>,
    mut random: Random,
    begun: &mpsc::Sender<()>,
) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    loop {
        defined.push(Defined {
            number: defined.len(),
            queue: Known::Nothing,
            exchange: Known::Nothing,
            binding: Known::Nothing,
        });
        defined.last_mut().unwrap().make(&mut client)?;
        // Nobody listens any more after the first.
        begun.send(()).ok();
        let chosen = random.below(defined.len() as u64) as usize;
        if random.one_in(2) && defined[chosen].queue == Known::There {
            defined[chosen].delete_queue(&mut client)?;
        }
    }
}

/// Publishers, consumers and definitions at work, until at some moment `end` ends the node.
fn work_until(
    node: Node,
    ledger: &Mutex<Ledger>,
    defined: &mut Vec<Defined>,
    random: &mut Random,
    end: impl FnOnce(Node),
) {
    let address = node.address;
    let moment = Duration::from_millis(50 + random.below(500));
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let random = random.fork();
            scope.spawn(move || until_gone(publish(address, publisher, ledger, random)));
        }
        for queue in 0..queues() {
            // Some queues fill for a while.
            if random.one_in(4) {
                continue;
            }
            let random = random.fork();
            scope.spawn(move || until_gone(consume(address, queue, ledger, random)));
        }
        let random = random.fork();
        let (begun, defines) = mpsc::channel();
        scope.spawn(move || until_gone(define(address, defined, random, &begun)));
        // On a busy machine it may take them longer than that to begin.
        defines.recv().expect("something is defined");
        while ledger.lock().unwrap().figures().confirmed == 0 {
            thread::yield_now();
        }
        thread::sleep(moment);
        end(node);
    });
}

#[test]
fn a_killed_node_keeps_what_it_has_answered_for() {
    let mut random = Random(seed());
    let rounds = environment("ROUNDS", 5);
    let directory = Directory::new("killed");
    let ledger = Mutex::new(Ledger::new(queues(), PUBLISHERS));
    let mut defined: Vec<Defined> = Vec::new();
    let mut node = start(&directory);
    declare_queues(node.address).unwrap();
    let (mut drained, mut unchecked, mut longest_start_ms) = (0, 0, 0);
    for round in 0..=rounds {
        let mut client = Client::connect(node.address).unwrap();
        // What is settled is looked at once, and all of it once more in the end.
        for one in &mut defined {
            if one.number >= unchecked || one.is_open() || round == rounds {
                one.check(&mut client).unwrap();
            }
        }
        for queue in 0..queues() {
            if round == rounds || random.one_in(2) {
                let mut ledger = ledger.lock().unwrap();
                let flagged = |_, redelivered| {
                    assert!(redelivered || round == 0, "not flagged after a crash");
                };
                drained += drain(&mut client, queue, &mut ledger, flagged).unwrap();
            }
        }
        drop(client);
        if round == rounds {
            break;
        }
        unchecked = defined.len();
        work_until(node, &ledger, &mut defined, &mut random, |node| {
            node.kill().unwrap();
        });
        node = start(&directory);
        longest_start_ms = longest_start_ms.max(node.started_in_ms);
    }
    let figures = ledger.lock().unwrap().figures();
    eprintln!(
        "{rounds} kills, {figures:?}, {drained} drained, {} definitions, longest start {longest_start_ms} ms",
        defined.len()
    );
    assert!(figures.confirmed > 0 && figures.acked > 0 && !defined.is_empty());
}

/// Messages of a quiet queue: so many are published, consumed and acked while everything else is busy.
const QUIET: u64 = 100;
const QUIET_PREFETCH: u64 = 10;
const QUIET_ACKED: u64 = 4;

/// Fills a queue and takes some of it. The client that is given back holds [`QUIET_PREFETCH`] unacked messages.
fn begin_quietly(address: SocketAddr, queue: &str, arguments: &[u8]) -> io::Result<Client> {
    let mut client = Client::connect(address)?;
    client.ask(QueueDeclare {
        queue,
        durable: true,
        arguments: RawTable(arguments),
        ..Default::default()
    })?;
    client.ask(ConfirmSelect::default())?;
    let to_queue = BasicPublish {
        routing_key: queue.as_bytes(),
        ..Default::default()
    };
    for number in 0..QUIET {
        client.publish(to_queue, &number.to_le_bytes());
    }
    client.flush()?;
    while !matches!(client.next()?, Event::Confirmed { tag: QUIET, .. }) {}
    client.ask(BasicQos {
        prefetch_count: QUIET_PREFETCH as u16,
        ..Default::default()
    })?;
    client.ask(BasicConsume {
        queue,
        ..Default::default()
    })?;
    take(&mut client, 0..QUIET_PREFETCH, false)?;
    client.send(BasicAck {
        delivery_tag: QUIET_ACKED,
        multiple: true,
    });
    client.flush()?;
    // More come only after the acks.
    take(
        &mut client,
        QUIET_PREFETCH..QUIET_PREFETCH + QUIET_ACKED,
        false,
    )?;
    Ok(client)
}

/// Exactly these messages are next.
fn take(client: &mut Client, numbers: Range<u64>, flagged: bool) -> io::Result<()> {
    for number in numbers {
        match client.next()? {
            Event::Delivery {
                redelivered, body, ..
            } => assert_eq!(
                (body.as_slice(), redelivered),
                (number.to_le_bytes().as_slice(), flagged),
                "message {number}"
            ),
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

/// What was acked is gone, what was delivered is flagged, the rest is as it was.
fn end_quietly(address: SocketAddr, queue: &str) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    client.ask(BasicConsume {
        queue,
        no_ack: true,
        ..Default::default()
    })?;
    let delivered = QUIET_PREFETCH + QUIET_ACKED;
    take(&mut client, QUIET_ACKED..delivered, true)?;
    take(&mut client, delivered..QUIET, false)?;
    client.close()
}

#[test]
fn a_node_stopped_under_load_knows_what_it_has_handed_out() {
    let mut random = Random(seed());
    let directory = Directory::new("stopped");
    let ledger = Mutex::new(Ledger::new(queues(), PUBLISHERS));
    let mut defined: Vec<Defined> = Vec::new();
    let node = start(&directory);
    declare_queues(node.address).unwrap();
    let names: Vec<String> = (0..2).map(|kind| format!("quiet-{kind}")).collect();
    let begun = names
        .iter()
        .enumerate()
        .map(|(kind, name)| begin_quietly(node.address, name, &queue_arguments(kind)).unwrap());
    let quiet: Vec<Client> = begun.collect();
    work_until(node, &ledger, &mut defined, &mut random, |node| {
        let leaving = thread::spawn(|| {
            for mut client in quiet {
                until_gone(client.next().map(|event| panic!("{event:?}")));
            }
        });
        assert!(node.stop().unwrap().success());
        leaving.join().unwrap();
    });

    let node = start(&directory);
    for name in &names {
        end_quietly(node.address, name).unwrap();
    }
    let mut client = Client::connect(node.address).unwrap();
    for one in &mut defined {
        one.check(&mut client).unwrap();
    }
    let ledger = &mut ledger.lock().unwrap();
    for queue in 0..queues() {
        // Handed to a consumer, and still on the way to it when the node stopped.
        let mut on_the_way = 0;
        let judge = |delivered: Delivered, redelivered| {
            on_the_way += usize::from(redelivered && !delivered.before);
        };
        drain(&mut client, queue, ledger, judge).unwrap();
        assert!(on_the_way <= usize::from(PREFETCH), "{on_the_way} flagged");
    }
    let figures = ledger.figures();
    eprintln!("{figures:?}");
    assert!(figures.confirmed > 0 && !defined.is_empty());
}

#[test]
fn a_stop_does_not_forget_what_a_crash_has_left_unknown() {
    let directory = Directory::new("crashed-then-stopped");
    let node = start(&directory);
    let names: Vec<String> = (0..2).map(|kind| format!("quiet-{kind}")).collect();
    let begun = names
        .iter()
        .enumerate()
        .map(|(kind, name)| begin_quietly(node.address, name, &queue_arguments(kind)).unwrap());
    let quiet: Vec<Client> = begun.collect();
    node.kill().unwrap();
    drop(quiet);
    assert!(start(&directory).stop().unwrap().success());

    let node = start(&directory);
    for name in &names {
        let mut client = Client::connect(node.address).unwrap();
        let consume = BasicConsume {
            queue: name,
            ..Default::default()
        };
        client.ask(consume).unwrap();
        // The acks may have been lost with the node.
        let Event::Delivery {
            redelivered, body, ..
        } = client.next().unwrap()
        else {
            panic!("not a delivery");
        };
        let first = u64::from_le_bytes(body.try_into().unwrap());
        assert!(redelivered && first <= QUIET_ACKED);
        take(&mut client, first + 1..QUIET, true).unwrap();
    }
}

const STREAM: &str = "stream";
/// Messages that the publisher of the stream has no confirm for, at most.
const STREAM_WINDOW: u64 = 50;

/// A message that says at which offset it belongs. Of all sizes, so that it begins and ends anywhere in a page.
fn at_offset(offset: u64) -> Vec<u8> {
    let len = 8 + (offset % 16) as usize * 512;
    let mut body = offset.to_le_bytes().to_vec();
    body.resize(len, offset as u8);
    body
}

/// Publishes to the stream, from this offset on, until the node is gone; notes up to where all is confirmed.
fn publish_to_stream(address: SocketAddr, first: u64, confirmed: &AtomicU64) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    client.ask(ConfirmSelect::default())?;
    let to_stream = BasicPublish {
        routing_key: STREAM.as_bytes(),
        ..Default::default()
    };
    let mut next = first;
    loop {
        while next - confirmed.load(Ordering::SeqCst) < STREAM_WINDOW {
            client.publish(to_stream, &at_offset(next));
            next += 1;
        }
        client.flush()?;
        let Event::Confirmed { tag, .. } = client.next()? else {
            return Err(io::Error::other("not a confirm"));
        };
        confirmed.store(first + tag, Ordering::SeqCst);
    }
}

/// Reads the stream from an offset to its end, which it gives: every message is where it belongs.
fn read_stream(address: SocketAddr, from: u64) -> io::Result<u64> {
    let mut client = Client::connect(address)?;
    let end = client.ask(QueueDeclare {
        queue: STREAM,
        passive: true,
        ..Default::default()
    })?;
    client.ask(BasicQos {
        prefetch_count: PREFETCH,
        ..Default::default()
    })?;
    let offset = (Box::from("x-stream-offset"), Value::I64(from as i64));
    client.ask(BasicConsume {
        queue: STREAM,
        arguments: RawTable(&raw(&Table::from_iter([offset]))),
        ..Default::default()
    })?;
    for offset in from..end.into() {
        let Event::Delivery { tag, body, .. } = client.next()? else {
            return Err(io::Error::other("not a delivery"));
        };
        assert!(body == at_offset(offset), "another message at {offset}");
        client.send(BasicAck {
            delivery_tag: tag,
            multiple: false,
        });
        client.flush()?;
    }
    client.close()?;
    Ok(end.into())
}

#[test]
fn a_stream_has_the_same_offsets_after_kills_and_stops() {
    let mut random = Random(seed());
    let directory = Directory::new("streamed");
    let mut node = start(&directory);
    let kind = Value::String(b"stream"[..].into());
    let declare = QueueDeclare {
        queue: STREAM,
        durable: true,
        arguments: RawTable(&raw(&Table::from_iter([(Box::from("x-queue-type"), kind)]))),
        ..Default::default()
    };
    let mut client = Client::connect(node.address).unwrap();
    client.ask(declare).unwrap();
    client.close().unwrap();
    let mut stored = 0;
    for round in 0..environment("ROUNDS", 4) {
        let (address, confirmed) = (node.address, &AtomicU64::new(stored));
        thread::scope(|scope| {
            scope.spawn(move || until_gone(publish_to_stream(address, stored, confirmed)));
            let enough = stored + 1 + random.below(1000);
            while confirmed.load(Ordering::SeqCst) < enough {
                thread::yield_now();
            }
            match round % 2 {
                0 => node.kill().unwrap(),
                _ => assert!(node.stop().unwrap().success()),
            }
        });
        node = start(&directory);
        let confirmed = confirmed.load(Ordering::SeqCst);
        stored = read_stream(node.address, 0).unwrap();
        assert!(stored >= confirmed, "{stored} of {confirmed} confirmed");
        let somewhere = random.below(stored);
        assert_eq!(read_stream(node.address, somewhere).unwrap(), stored);
    }
    eprintln!("{stored} messages");
}
