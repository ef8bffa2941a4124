//! What connections and channels cost a node in memory, and whether it gets that back.
//!
//! ```sh
//! cargo build --release -p leveret
//! cargo run --release -p leveret --example connections_bench
//! ```
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "../tests/client/mod.rs"]
mod client;
#[path = "../tests/process/mod.rs"]
mod process;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use client::{Client, Event};
use leveret_amqp091::method::{BasicConsume, BasicPublish, ConfirmSelect, QueueDeclare};
use process::{Directory, Node};

const LOOPS: u32 = 10_000;
const HELD: u64 = 1_000;
const CHANNELS: u16 = 10;

fn main() -> io::Result<()> {
    let this = std::env::current_exe()?;
    let built = this.parent().and_then(Path::parent);
    let built = built.ok_or_else(|| io::Error::other("not run by cargo"))?;
    let directory = Directory::new("connections");
    let node = Node::start(&built.join("leveret"), &directory.0)?;

    // What is made once, such as the buffers of the threads, is no leak.
    (0..100).try_for_each(|_| use_once(node.address))?;
    let before = report("before", &node)?;

    let start = Instant::now();
    (0..LOOPS).try_for_each(|_| use_once(node.address))?;
    let rate = f64::from(LOOPS) / start.elapsed().as_secs_f64();
    println!("{LOOPS} connections opened, used and closed, {rate:.0} per second");
    let used = report("after them", &node)?;
    println!(
        "difference: {} KiB",
        used.cast_signed() - before.cast_signed()
    );

    let mut held = Vec::new();
    for _ in 0..HELD {
        let mut client = Client::connect(node.address)?;
        (2..=CHANNELS).try_for_each(|channel| client.open_channel(channel))?;
        held.push(client);
    }
    let open = report(
        &format!("{HELD} connections with {CHANNELS} channels"),
        &node,
    )?;
    println!("each: {} bytes", open.saturating_sub(used) * 1024 / HELD);
    held.into_iter().try_for_each(Client::close)?;
    report("after closing them", &node)?;
    node.kill()
}

/// Declares, publishes, is confirmed, consumes, leaves; the queue goes with the connection.
fn use_once(address: SocketAddr) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    let queue = "mine";
    client.ask(QueueDeclare {
        queue,
        exclusive: true,
        ..Default::default()
    })?;
    client.ask(ConfirmSelect::default())?;
    let to_queue = BasicPublish {
        routing_key: queue.as_bytes(),
        ..Default::default()
    };
    client.publish(to_queue, b"message");
    client.ask(BasicConsume {
        queue,
        no_ack: true,
        ..Default::default()
    })?;
    let (mut confirmed, mut delivered) = (false, false);
    while !(confirmed && delivered) {
        match client.next()? {
            Event::Confirmed { .. } => confirmed = true,
            Event::Delivery { .. } => delivered = true,
            other => return Err(io::Error::other(format!("{other:?}"))),
        }
    }
    client.close()
}

fn report(when: &str, node: &Node) -> io::Result<u64> {
    let kib = node.memory_kib("VmRSS")?;
    println!("{when}: RSS {kib} KiB");
    Ok(kib)
}
