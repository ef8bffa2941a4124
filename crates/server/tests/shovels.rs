//! Shovels between real nodes, and within one.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod api;
mod client;
mod process;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use client::{Client, Event};
use leveret_amqp091::method::{BasicAck, BasicConsume, BasicPublish, QueueDeclare};
use process::{Directory, Node};

const GUEST: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";

fn start(directory: &Directory, settings: &[&str]) -> Node {
    let program = Path::new(env!("CARGO_BIN_EXE_leveret"));
    Node::start_with(program, &directory.0, settings).unwrap()
}

#[track_caller]
fn check(node: &Node, request: &str, status: u16) -> api::Answer {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), node.api.port());
    let answer = api::ask(address, GUEST, request).unwrap();
    assert_eq!(answer.status, status, "{request}: {answer:?}");
    answer
}

fn declare(client: &mut Client, queue: &str) -> u32 {
    let declare = QueueDeclare {
        queue,
        durable: true,
        ..Default::default()
    };
    client.call(declare).unwrap().unwrap()
}

fn publish(client: &mut Client, queue: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let to = BasicPublish {
            routing_key: queue.as_bytes(),
            ..Default::default()
        };
        client.publish(to, number.to_string().as_bytes());
    }
    client.flush().unwrap();
}

/// Consumes until all of `missing` have come.
fn await_all(client: &mut Client, queue: &str, missing: &mut BTreeSet<u32>) {
    let consume = BasicConsume {
        queue,
        ..Default::default()
    };
    client.ask(consume).unwrap();
    while !missing.is_empty() {
        if let Event::Delivery { tag, body, .. } = client.next().unwrap() {
            missing.remove(&std::str::from_utf8(&body).unwrap().parse().unwrap());
            client.send(BasicAck {
                delivery_tag: tag,
                multiple: false,
            });
            client.flush().unwrap();
        }
    }
}

/// The destination dies while messages are on their way; all of them arrive.
#[test]
fn nothing_is_lost_when_the_destination_is_killed() {
    const COUNT: u32 = 20_000;
    let (here, there) = (
        Directory::new("shovel-here"),
        Directory::new("shovel-there"),
    );
    let source = start(&here, &[]);
    let destination = start(&there, &[]);
    let address = destination.address;

    let mut publisher = Client::connect(source.address).unwrap();
    declare(&mut publisher, "from");
    publish(&mut publisher, "from", 0..COUNT);
    let parameter = format!(
        r#"{{"value":{{"src-uri":"amqp://","src-queue":"from","reconnect-delay":1,"dest-uri":"amqp://guest:guest@{address}","dest-queue":"to"}}}}"#
    );
    let put = format!("PUT /api/parameters/shovel/%2F/move {parameter}");
    check(&source, &put, 201);

    // Some have been confirmed by the time it dies.
    let mut consumer = Client::connect(address).unwrap();
    declare(&mut consumer, "to");
    let mut missing: BTreeSet<u32> = (0..COUNT / 10).collect();
    await_all(&mut consumer, "to", &mut missing);
    destination.kill().unwrap();

    let destination = start(&there, &[&format!("listeners.tcp.1={address}")]);
    let mut consumer = Client::connect(destination.address).unwrap();
    declare(&mut consumer, "to");
    // Those that were consumed before need not come again.
    let mut missing: BTreeSet<u32> = (COUNT / 2..COUNT).collect();
    await_all(&mut consumer, "to", &mut missing);
    let shown = check(&source, "GET /api/shovels/vhost/%2F/move", 200).body;
    assert!(!shown.contains("guest"), "{shown}");
    let list = check(&source, "GET /api/shovels", 200).body;
    assert!(list.contains(r#""state":"running""#), "{list}");
    check(&source, "DELETE /api/shovels/vhost/%2F/move/restart", 204);
    check(&source, "DELETE /api/shovels/vhost/%2F/move", 204);
    check(&source, "DELETE /api/shovels/vhost/%2F/move", 404);
    assert!(source.stop().unwrap().success());
}

/// The one that moves what is there leaves nothing of itself.
#[test]
fn a_local_shovel_ends_with_what_was_there() {
    let directory = Directory::new("shovel-local");
    let node = start(&directory, &[]);
    let mut client = Client::connect(node.address).unwrap();
    declare(&mut client, "from");
    publish(&mut client, "from", 0..1500);
    // After this answer all are in the queue.
    assert_eq!(declare(&mut client, "from"), 1500);
    let put = r#"PUT /api/parameters/shovel/%2F/move {"value":{"src-protocol":"local","src-uri":"amqp://","src-queue":"from","src-delete-after":"queue-length","dest-protocol":"local","dest-uri":"amqp://","dest-queue":"to"}}"#;
    check(&node, put, 201);
    while check(&node, "GET /api/parameters/shovel", 200).body != "[]" {}
    assert_eq!(declare(&mut client, "from"), 0);
    assert_eq!(declare(&mut client, "to"), 1500);
}

/// A queue that feeds itself does so without an end; others go on meanwhile.
#[test]
fn a_shovel_to_its_own_queue_hurts_nobody() {
    let directory = Directory::new("shovel-round");
    let node = start(&directory, &[]);
    let mut client = Client::connect(node.address).unwrap();
    declare(&mut client, "round");
    publish(&mut client, "round", 0..10);
    let put = r#"PUT /api/parameters/shovel/%2F/round {"value":{"src-uri":"amqp://","src-queue":"round","dest-uri":"amqp://","dest-queue":"round"}}"#;
    check(&node, put, 201);
    declare(&mut client, "other");
    publish(&mut client, "other", 0..1000);
    let mut missing = (0..1000).collect();
    await_all(&mut client, "other", &mut missing);
    check(&node, "DELETE /api/parameters/shovel/%2F/round", 204);
}

/// Who may not use a virtual host does not by way of a shovel.
#[test]
fn what_is_wrong_with_a_shovel_is_told() {
    let directory = Directory::new("shovel-wrong");
    let node = start(&directory, &[]);
    let put = |value: &str| {
        let request = format!("PUT /api/parameters/shovel/%2F/s {{\"value\":{value}}}");
        check(&node, &request, 400).body
    };
    let body = put(r#"{"src-uri":"amqp:///none","src-queue":"a","dest-uri":"amqp://"}"#);
    assert!(body.contains("may not connect to vhost"), "{body}");
    let body = put(r#"{"src-uri":"amqp://"}"#);
    assert!(
        body.contains("Must specify 'src-exchange' or 'src-queue'\\nKey"),
        "{body}"
    );
    let request = r#"PUT /api/parameters/shovel/%2F/s {"value":{"src-protocol":"amqp10","src-uri":"amqp://u:secret@h","src-address":"a","dest-uri":"amqp://","dest-queue":"b","reconnect-delay":0}}"#;
    check(&node, request, 201);
    let mut list = String::new();
    while !list.contains("terminated") {
        list = check(&node, "GET /api/shovels/%2F", 200).body;
    }
    assert!(list.contains("AMQP 1.0 is not spoken"), "{list}");
    assert!(!list.contains("secret"), "{list}");
}
