//! How long pages of a long list of queues take, and the overview beside them.
//!
//! ```sh
//! cargo build --release -p leveret
//! cargo run --release -p leveret --example listing_bench -- 100000
//! ```
//!
//! The argument is the number of queues. One in a hundred has messages. Each request has a connection of its own.
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "../tests/api/mod.rs"]
mod api;
#[path = "../tests/client/mod.rs"]
mod client;
#[path = "../tests/process/mod.rs"]
mod process;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use api::ask;
use client::Client;
use leveret_amqp091::method::{BasicPublish, QueueDeclare};
use process::{Directory, Node};

/// `guest:guest`.
const GUEST: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";
/// How often each request is made.
const ROUNDS: usize = 21;

/// What is asked, with what it stands for.
const REQUESTS: [(&str, &str); 7] = [
    ("overview", "/api/overview"),
    ("page, by name", "/api/queues?page=1&page_size=100"),
    (
        "page, by name, the last",
        "/api/queues?page=1&page_size=100&sort=name&sort_reverse=true",
    ),
    (
        "page, by a part of the name",
        "/api/queues?page=1&page_size=100&name=77&use_regex=false",
    ),
    (
        "page, by messages",
        "/api/queues?page=1&page_size=100&sort=messages&sort_reverse=true",
    ),
    (
        "page, by a rate",
        "/api/queues?page=1&page_size=100&sort=message_stats.publish_details.rate&sort_reverse=true",
    ),
    (
        "page, by state",
        "/api/queues?page=1&page_size=100&sort=state",
    ),
];

fn main() -> io::Result<()> {
    let usage = || io::Error::other("usage: listing_bench QUEUES");
    let count = std::env::args().nth(1);
    let count = count.and_then(|text| text.parse().ok()).ok_or_else(usage)?;
    let directory = Directory::new("listing");
    let node = Node::start(&program()?, &directory.0)?;
    let mut client = Client::connect(node.address)?;
    declare(&mut client, count)?;
    println!("{count} queues, {ROUNDS} requests each: the one in the middle, and the slowest");
    for (name, path) in REQUESTS {
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            times.push(time_of(&node, path)?);
        }
        times.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        println!(
            "{name}: {:.1} ms, {:.1} ms",
            ms(times[ROUNDS / 2]),
            ms(times[ROUNDS - 1])
        );
    }
    node.kill()
}

/// The program that was built beside this one.
fn program() -> io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let built = this.parent().and_then(Path::parent);
    let built = built.ok_or_else(|| io::Error::other("not run by cargo"))?;
    Ok(built.join("leveret"))
}

/// Queues with names of some length; one in a hundred gets a message or more.
fn declare(client: &mut Client, count: usize) -> io::Result<()> {
    let names: Vec<String> = (0..count)
        .map(|number| format!("tenant-{:03}.events.{number:06}", number % 997))
        .collect();
    for (at, name) in names.iter().enumerate() {
        client.ask(QueueDeclare {
            queue: name,
            ..Default::default()
        })?;
        let messages = if at % 100 == 0 { at / 1000 + 1 } else { 0 };
        for _ in 0..messages {
            let to_queue = BasicPublish {
                routing_key: name.as_bytes(),
                ..Default::default()
            };
            client.publish(to_queue, b"message");
        }
    }
    Ok(())
}

fn time_of(node: &Node, path: &str) -> io::Result<Duration> {
    let start = Instant::now();
    let answer = ask(node.api, GUEST, &format!("GET {path}"))?;
    if answer.status != 200 {
        return Err(io::Error::other(format!("{path}: {answer:?}")));
    }
    Ok(start.elapsed())
}
