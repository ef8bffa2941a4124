//! The real program and its data: checked, copied while it runs, damaged.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod client;
mod process;

use std::path::Path;
use std::process::{Command, Output};

use client::{Client, Event};
use leveret_amqp091::method::*;
use process::{Directory, Node};

const PROGRAM: &str = env!("CARGO_BIN_EXE_leveret");
const QUEUE: &str = "kept";
const MESSAGES: u32 = 50;

fn start(directory: &Directory) -> Node {
    Node::start(Path::new(PROGRAM), &directory.0).unwrap()
}

fn leveret(arguments: &[&str], directories: &[&Directory]) -> Output {
    let directories = directories.iter().map(|directory| &directory.0);
    Command::new(PROGRAM)
        .args(arguments)
        .args(directories)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(both).unwrap()
}

/// Publishes to a durable queue and waits for the confirms.
fn fill(node: &Node) {
    let mut client = Client::connect(node.address).unwrap();
    let declare = QueueDeclare {
        queue: QUEUE,
        durable: true,
        ..Default::default()
    };
    client.ask(declare).unwrap();
    client.ask(ConfirmSelect::default()).unwrap();
    for number in 0..MESSAGES {
        let method = BasicPublish {
            routing_key: QUEUE.as_bytes(),
            ..Default::default()
        };
        client.publish(method, &[number as u8; 3000]);
    }
    client.flush().unwrap();
    let mut confirmed = 0;
    while confirmed < u64::from(MESSAGES) {
        let Event::Confirmed { tag, .. } = client.next().unwrap() else {
            panic!("not a confirm");
        };
        confirmed = tag;
    }
    client.close().unwrap();
}

fn depth(node: &Node) -> u32 {
    let mut client = Client::connect(node.address).unwrap();
    let passive = QueueDeclare {
        queue: QUEUE,
        passive: true,
        ..Default::default()
    };
    client.ask(passive).unwrap()
}

#[test]
fn a_copy_of_a_running_node_starts_as_another() {
    let (first, second) = (Directory::new("copied"), Directory::new("copy"));
    let node = start(&first);
    fill(&node);
    let copied = leveret(&["backup"], &[&second, &first]);
    assert!(copied.status.success(), "{}", said(&copied));

    let again = leveret(&["backup"], &[&second, &first]);
    assert!(!again.status.success());
    assert!(said(&again).contains("is not empty"), "{}", said(&again));
    let socket = std::fs::metadata(first.0.join("control.sock")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&socket.permissions());
    assert_eq!(mode & 0o777, 0o600);

    let checked = leveret(&["check"], &[&second]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(said(&checked).contains(&format!("{MESSAGES} messages")));
    let other = start(&second);
    assert_eq!((depth(&node), depth(&other)), (MESSAGES, MESSAGES));

    let in_use = leveret(&["check"], &[&first]);
    assert!(!in_use.status.success(), "{}", said(&in_use));
}

#[test]
fn damage_is_named_and_can_be_accepted() {
    let directory = Directory::new("damaged");
    let node = start(&directory);
    fill(&node);
    assert!(node.stop().unwrap().success());
    let dumped = leveret(&["dump"], &[&directory]);
    assert!(said(&dumped).contains("00000001.log"), "{}", said(&dumped));

    // A byte of the first message, which later frames say was durable.
    let file = directory.0.join("log/00000001.log");
    let mut bytes = std::fs::read(&file).unwrap();
    let body = bytes.windows(3000).position(|w| w == [0x07; 3000]).unwrap();
    bytes[body + 1500] ^= 1;
    std::fs::write(&file, bytes).unwrap();

    let checked = leveret(&["check"], &[&directory]);
    assert!(!checked.status.success());
    assert!(
        said(&checked).contains("00000001.log"),
        "{}",
        said(&checked)
    );
    let refused = Node::start(Path::new(PROGRAM), &directory.0).err().unwrap();
    assert!(refused.to_string().contains("the node ended"), "{refused}");

    let arguments = ["--accept-loss"];
    let node = Node::start_as(Path::new(PROGRAM), &directory.0, &arguments).unwrap();
    assert!(depth(&node) < MESSAGES);
    assert!(node.stop().unwrap().success());
    // What was lost is gone for good: the next start needs no leave.
    assert!(depth(&start(&directory)) < MESSAGES);
}
