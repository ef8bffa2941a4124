//! Shovels between real nodes, and within one.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod api;
mod client;
mod process;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

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

/// What is told of shovels once one is in this state.
fn await_shovels(node: &Node, state: &str) -> String {
    let state = format!(r#""state":"{state}""#);
    loop {
        let list = check(node, "GET /api/shovels", 200).body;
        if list.contains(&state) {
            return list;
        }
    }
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
    let list = await_shovels(&node, "terminated");
    assert!(list.contains("AMQP 1.0 is not spoken"), "{list}");
    assert!(!list.contains("secret"), "{list}");
}

/// Certificates of an authority of their own.
fn certificates(name: &str) -> Directory {
    let directory = Directory::new(name);
    let mut program = Command::new(env!("CARGO_BIN_EXE_leveret"));
    let made = program.arg("dev-certs").arg(&directory.0).output();
    assert!(made.unwrap().status.success());
    directory
}

/// Only certificates that the node's authority has signed are let in, on either side, unless the address says otherwise.
#[test]
fn both_ends_of_a_shovel_may_be_over_tls() {
    let (directory, trusted, strange) = (
        Directory::new("shovel-tls"),
        certificates("shovel-trusted"),
        certificates("shovel-strange"),
    );
    let (trusted, strange) = (trusted.0.display(), strange.0.display());
    let files = [
        format!("ssl_options.cacertfile={trusted}/ca_certificate.pem"),
        format!("ssl_options.certfile={trusted}/server_certificate.pem"),
        format!("ssl_options.keyfile={trusted}/server_key.pem"),
    ];
    let mut settings = vec![
        "listeners.ssl.1=127.0.0.1:0",
        "ssl_options.verify=verify_peer",
        "ssl_options.fail_if_no_peer_cert=true",
    ];
    settings.extend(files.iter().map(String::as_str));
    let node = start(&directory, &settings);
    let port = node.tls_address.unwrap().port();
    let mut client = Client::connect(node.address).unwrap();
    declare(&mut client, "from");
    declare(&mut client, "to");

    let put = |source: &str, destination: &str| {
        let address = |parameters: &str| match parameters {
            "" => "amqp://".to_owned(),
            parameters => format!("amqps://guest:guest@127.0.0.1:{port}?{parameters}"),
        };
        let (source, destination) = (address(source), address(destination));
        let request = format!(
            r#"PUT /api/parameters/shovel/%2F/move {{"value":{{"src-uri":"{source}","src-queue":"from","src-delete-after":"queue-length","dest-uri":"{destination}","dest-queue":"to","reconnect-delay":1}}}}"#
        );
        check(&node, &request, 201);
    };
    let shown =
        format!("certfile={trusted}/client_certificate.pem&keyfile={trusted}/client_key.pem");
    let own = format!("cacertfile={trusted}/ca_certificate.pem");
    let other = format!("cacertfile={strange}/ca_certificate.pem");

    let mut count = 0;
    let mut arrives = |source: &str, destination: &str| {
        publish(&mut client, "from", 0..10);
        // After this answer all are in the queue.
        assert_eq!(declare(&mut client, "from"), 10);
        put(source, destination);
        while check(&node, "GET /api/parameters/shovel", 200).body != "[]" {}
        count += 10;
        assert_eq!(declare(&mut client, "to"), count);
    };
    arrives(
        &format!("{own}&{shown}"),
        &format!("{own}&verify=verify_peer&{shown}"),
    );
    arrives(&format!("verify=verify_none&{shown}"), "");

    let fails = |source: &str, destination: &str, expected: &[&str]| {
        put(source, destination);
        let list = await_shovels(&node, "terminated");
        for text in expected {
            assert!(list.contains(text), "{text} in {list}");
        }
        check(&node, "DELETE /api/parameters/shovel/%2F/move", 204);
    };
    // Both authorities have the same name, so that the signature tells them apart.
    let unknown = "invalid peer certificate: BadSignature";
    fails(
        &format!("{other}&{shown}"),
        "",
        &["failed to connect to source", unknown],
    );
    fails(
        "",
        &format!("{other}&{shown}"),
        &["failed to connect to destination", unknown],
    );
    // The system's authorities have not signed it.
    fails(&shown, "", &["invalid peer certificate: UnknownIssuer"]);
    fails(&own, "", &["failed to connect to source"]);
    let elsewhere = format!("{own}&{shown}&server_name_indication=elsewhere.example");
    fails(&elsewhere, "", &["certificate not valid for name"]);
    fails("cacertfile=/none/ca.pem", "", &["/none/ca.pem"]);
}

/// It is tried again, with the files as they are then.
#[test]
fn a_shovel_goes_on_once_the_authority_is_the_right_one() {
    let directory = Directory::new("shovel-authority");
    let (trusted, strange) = (certificates("shovel-right"), certificates("shovel-wrong"));
    let right = trusted.0.display();
    let settings = [
        "listeners.ssl.1=127.0.0.1:0",
        &format!("ssl_options.certfile={right}/server_certificate.pem"),
        &format!("ssl_options.keyfile={right}/server_key.pem"),
    ];
    let node = start(&directory, &settings);
    let port = node.tls_address.unwrap().port();
    let authority = strange.0.join("ca_certificate.pem");
    let request = format!(
        r#"PUT /api/parameters/shovel/%2F/move {{"value":{{"src-uri":"amqps://guest:guest@127.0.0.1:{port}?cacertfile={}","src-queue":"from","dest-uri":"amqp://","dest-queue":"to","reconnect-delay":1}}}}"#,
        authority.display()
    );
    check(&node, &request, 201);
    let list = await_shovels(&node, "terminated");
    assert!(list.contains("BadSignature"), "{list}");
    std::fs::copy(trusted.0.join("ca_certificate.pem"), &authority).unwrap();
    await_shovels(&node, "running");
}

/// What RabbitMQ has static shovels for.
#[test]
fn a_shovel_may_stand_in_a_file_of_definitions() {
    let (directory, files) = (
        Directory::new("shovel-file"),
        Directory::new("shovel-files"),
    );
    std::fs::create_dir_all(&files.0).unwrap();
    let file = files.0.join("shovels.json");
    let definitions = r#"{"parameters":[{"component":"shovel","vhost":"/","name":"move","value":{"src-uri":"amqp://","src-queue":"from","dest-uri":"amqp://","dest-queue":"to"}}]}"#;
    std::fs::write(&file, definitions).unwrap();
    let setting = format!("load_definitions={}", file.display());
    // With such a file a new node makes no virtual host of itself.
    let new = start(&directory, &[]);
    assert!(new.stop().unwrap().success());
    for numbers in [0..10, 10..20] {
        let node = start(&directory, &[&setting]);
        let mut client = Client::connect(node.address).unwrap();
        declare(&mut client, "from");
        declare(&mut client, "to");
        publish(&mut client, "from", numbers.clone());
        await_all(&mut client, "to", &mut numbers.collect());
        // It comes back with the next start.
        check(&node, "DELETE /api/parameters/shovel/%2F/move", 204);
        assert!(node.stop().unwrap().success());
    }
}
