//! The ends of connections, as other connections see them.

mod client;
mod process;

use std::path::Path;

use client::Client;
use leveret_amqp091::method::QueueDeclare;
use process::{Directory, Node};

/// Applications connect again at once, and declare what they declared before.
#[test]
fn an_exclusive_queue_is_gone_when_the_close_is_answered() {
    let directory = Directory::new("connections");
    let node = Node::start(Path::new(env!("CARGO_BIN_EXE_leveret")), &directory.0).unwrap();
    for _ in 0..200 {
        let mut client = Client::connect(node.address).unwrap();
        client
            .ask(QueueDeclare {
                queue: "mine",
                exclusive: true,
                ..Default::default()
            })
            .unwrap();
        client.close().unwrap();
    }
}
