//! What a backlog costs that is larger than memory: filling it, starting with it, and consuming it.
//!
//! ```sh
//! cargo build --release -p leveret
//! cargo run --release -p leveret --example backlog_bench -- 10000000 1024
//! ```
//!
//! The arguments are the number of messages and the size of their bodies in bytes. They are persistent, in one durable
//! queue, and published with confirms; each carries its number, and their order is checked.
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "../tests/client/mod.rs"]
mod client;
#[path = "../tests/process/mod.rs"]
mod process;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::{Client, Event};
use leveret_amqp091::method::{
    BasicAck, BasicConsume, BasicPublish, BasicQos, ConfirmSelect, QueueDeclare,
};
use process::{Directory, Node};

const QUEUE: &str = "backlog";
/// Messages on the way at once: unconfirmed, or unacknowledged.
const WINDOW: u64 = 10_000;
/// Messages written to the socket, or acknowledged, at once.
const RUN: u64 = 500;

fn main() -> io::Result<()> {
    let usage = || io::Error::other("usage: backlog_bench MESSAGES BODY_BYTES");
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok());
    let (count, size) = number().zip(number()).ok_or_else(usage)?;
    let program = program()?;
    let directory = Directory::new("backlog");

    let node = start(&program, &directory.0)?;
    let mut client = Client::connect(node.address)?;
    let before = node.disk_bytes()?;
    timed("publish", count, || publish(&mut client, count, size))?;
    let written = (node.disk_bytes()? - before) as f64 / (count * size) as f64;
    println!("written per byte published: {written:.2}");
    report("filled", &node, &directory.0)?;
    drop(client);
    stop(node)?;

    let node = start(&program, &directory.0)?;
    report("started", &node, &directory.0)?;
    let mut client = Client::connect(node.address)?;
    timed("consume", count, || consume(&mut client, count))?;
    report("emptied", &node, &directory.0)?;
    drop(client);
    stop(node)
}

/// The program that was built beside this one.
fn program() -> io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let built = this.parent().and_then(Path::parent);
    let built = built.ok_or_else(|| io::Error::other("not run by cargo"))?;
    Ok(built.join("leveret"))
}

fn start(program: &Path, directory: &Path) -> io::Result<Node> {
    let node = Node::start(program, directory)?;
    println!("start: {} ms", node.started_in_ms);
    Ok(node)
}

fn stop(node: Node) -> io::Result<()> {
    let status = node.stop()?;
    if !status.success() {
        return Err(io::Error::other(format!("the node ended: {status}")));
    }
    Ok(())
}

fn timed(what: &str, count: u64, run: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let before = Instant::now();
    run()?;
    let took = before.elapsed();
    let rate = count as f64 / took.max(Duration::from_millis(1)).as_secs_f64();
    println!(
        "{what} {count} messages: {:.1} s, {rate:.0} per second",
        took.as_secs_f64()
    );
    Ok(())
}

fn report(when: &str, node: &Node, directory: &Path) -> io::Result<()> {
    let mib = |figure| node.memory_kib(figure).map(|kib| kib / 1024);
    println!(
        "{when}: RSS {} MiB, peak {} MiB, {} MiB on disk",
        mib("VmRSS")?,
        mib("VmHWM")?,
        process::directory_bytes(directory)? >> 20
    );
    Ok(())
}

fn publish(client: &mut Client, count: u64, size: u64) -> io::Result<()> {
    client.ask(QueueDeclare {
        queue: QUEUE,
        durable: true,
        ..Default::default()
    })?;
    client.ask(ConfirmSelect::default())?;
    let to_queue = BasicPublish {
        routing_key: QUEUE.as_bytes(),
        ..Default::default()
    };
    let mut body = vec![0; (size as usize).max(8)];
    let (mut sent, mut confirmed) = (0, 0);
    while confirmed < count {
        while sent < count && sent - confirmed < WINDOW {
            body[..8].copy_from_slice(&sent.to_be_bytes());
            client.publish(to_queue, &body);
            sent += 1;
            if sent % RUN == 0 {
                client.flush()?;
            }
        }
        client.flush()?;
        match client.next()? {
            Event::Confirmed { tag, .. } => confirmed = tag,
            other => return Err(io::Error::other(format!("{other:?}"))),
        }
    }
    Ok(())
}

fn consume(client: &mut Client, count: u64) -> io::Result<()> {
    client.ask(BasicQos {
        prefetch_count: WINDOW as u16,
        ..Default::default()
    })?;
    client.ask(BasicConsume {
        queue: QUEUE,
        ..Default::default()
    })?;
    for expected in 0..count {
        let (tag, body) = match client.next()? {
            Event::Delivery { tag, body, .. } => (tag, body),
            other => return Err(io::Error::other(format!("{other:?}"))),
        };
        let number = body.first_chunk().map(|number| u64::from_be_bytes(*number));
        if number != Some(expected) {
            let text = format!("message {number:?} came instead of {expected}");
            return Err(io::Error::other(text));
        }
        if tag % RUN == 0 || expected + 1 == count {
            client.send(BasicAck {
                delivery_tag: tag,
                multiple: true,
            });
            client.flush()?;
        }
    }
    Ok(())
}
