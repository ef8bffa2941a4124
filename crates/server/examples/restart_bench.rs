//! How long a node takes to start with much in it, and what memory that costs.
//!
//! ```sh
//! cargo build --release -p leveret
//! cargo run --release -p leveret --example restart_bench -- queues 100000
//! cargo run --release -p leveret --example restart_bench -- messages 1000000
//! ```
//!
//! Fills a node in a directory of its own, once stops and once kills it, and starts it again each time.
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "../tests/client/mod.rs"]
mod client;
#[path = "../tests/process/mod.rs"]
mod process;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use client::{Client, Event};
use leveret_amqp091::method::{BasicPublish, ConfirmSelect, QueueDeclare};
use process::{Directory, Node};

/// Methods on the way at once.
const WINDOW: u32 = 1000;
const BODY: [u8; 1024] = [7; 1024];

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = || io::Error::other("usage: restart_bench queues|messages COUNT");
    let what = arguments.next().ok_or_else(usage)?;
    let count = arguments.next().and_then(|count| count.parse().ok());
    let count = count.ok_or_else(usage)?;
    let fill = match what.as_str() {
        "queues" => declare,
        "messages" => publish,
        _ => return Err(usage()),
    };

    let program = program()?;
    let directory = Directory::new("restart");
    let node = start("empty", &program, &directory.0)?;
    let before = Instant::now();
    fill(&mut Client::connect(node.address)?, count)?;
    let took = before.elapsed();
    let rate = f64::from(count) / took.as_secs_f64();
    println!(
        "{count} {what}: {:.2} s, {rate:.0} per second",
        took.as_secs_f64()
    );
    report("filled", &node)?;
    if !node.stop()?.success() {
        return Err(io::Error::other("the node did not stop well"));
    }
    let node = start("after a stop", &program, &directory.0)?;
    node.kill()?;
    start("after a kill", &program, &directory.0)?.kill()
}

/// The program that was built beside this one.
fn program() -> io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let built = this.parent().and_then(Path::parent);
    let built = built.ok_or_else(|| io::Error::other("not run by cargo"))?;
    Ok(built.join("leveret"))
}

fn start(when: &str, program: &Path, directory: &Path) -> io::Result<Node> {
    let node = Node::start(program, directory)?;
    println!("{when}: started in {} ms", node.started_in_ms);
    report(when, &node)?;
    Ok(node)
}

fn report(when: &str, node: &Node) -> io::Result<()> {
    let mib = |figure| node.memory_kib(figure).map(|kib| kib / 1024);
    println!(
        "{when}: RSS {} MiB, peak {} MiB",
        mib("VmRSS")?,
        mib("VmHWM")?
    );
    Ok(())
}

/// Declares durable queues, without waiting for each.
fn declare(client: &mut Client, count: u32) -> io::Result<()> {
    let mut answered = 0;
    for number in 0..count {
        client.send(QueueDeclare {
            queue: &format!("queue-{number}"),
            durable: true,
            ..Default::default()
        });
        if (number + 1) % WINDOW == 0 || number + 1 == count {
            client.flush()?;
            while answered <= number {
                match client.next()? {
                    Event::Answer { .. } => answered += 1,
                    other => return Err(io::Error::other(format!("{other:?}"))),
                }
            }
        }
    }
    Ok(())
}

/// Publishes persistent messages of 1 KiB to one durable queue, with confirms.
fn publish(client: &mut Client, count: u32) -> io::Result<()> {
    let queue = "backlog";
    client.ask(QueueDeclare {
        queue,
        durable: true,
        ..Default::default()
    })?;
    client.ask(ConfirmSelect::default())?;
    let to_queue = BasicPublish {
        routing_key: queue.as_bytes(),
        ..Default::default()
    };
    let (mut sent, mut confirmed) = (0, 0);
    while confirmed < count {
        while sent < count && sent - confirmed < WINDOW {
            client.publish(to_queue, &BODY);
            sent += 1;
        }
        client.flush()?;
        match client.next()? {
            Event::Confirmed { tag, .. } => confirmed = tag as u32,
            other => return Err(io::Error::other(format!("{other:?}"))),
        }
    }
    Ok(())
}
