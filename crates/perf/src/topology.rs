//! Queues, exchange and bindings of a run, and what that makes of a message.

use leveret_amqp091::method::*;
use leveret_amqp091::properties::PropertiesBuf;
use leveret_amqp091::table::{Table, Value};

use crate::client::{CHANNEL, Client, no_refusal, table_octets};
use crate::error::Error;
use crate::messages::Shape;
use crate::options::{Flag, Load};

/// Messages that differ are laid out in all their combinations, up to so many.
const SHAPES_MAX: usize = 10_000;

pub(crate) fn queue_name(load: &Load, n: usize) -> String {
    match load.queues {
        1 => load.queue.clone(),
        _ => format!("{}-{}", load.queue, n + 1),
    }
}

/// A binding key of a topic exchange, and a routing key that it matches and no other.
fn topic_keys(n: usize) -> (String, String) {
    let binding = match n % 10 {
        0 => format!("s{n}.*.end"),
        1 => format!("s{n}.#"),
        _ => format!("s{n}.mid.end"),
    };
    (binding, format!("s{n}.mid.end"))
}

/// Queue and key of each binding.
fn bindings(load: &Load) -> Vec<(String, String)> {
    let queues = || (0..usize::from(load.queues)).map(|n| queue_name(load, n));
    if let Some(count) = load.bindings {
        let queue = |n| queue_name(load, n % usize::from(load.queues));
        (0..usize::from(count))
            .map(|n| (queue(n), topic_keys(n).0))
            .collect()
    } else if load.exchange_type == "x-consistent-hash" {
        // There the key is a weight.
        queues().map(|queue| (queue, "1".to_owned())).collect()
    } else if load.routing_keys.is_empty() {
        queues().map(|queue| (queue.clone(), queue)).collect()
    } else {
        queues()
            .flat_map(|queue| {
                load.routing_keys
                    .iter()
                    .map(move |key| (queue.clone(), key.clone()))
            })
            .collect()
    }
}

/// How many queues a message reaches; `None` when that depends on more than we know.
pub(crate) fn copies(load: &Load) -> Option<u64> {
    let every_queue = Some(u64::from(load.queues));
    let one_if_bound_by_name = match load.routing_keys.is_empty() {
        true => Some(1),
        false => every_queue,
    };
    match &*load.exchange_type {
        _ if load.exchange.is_empty() => Some(1),
        _ if load.predeclared => None,
        "fanout" => every_queue,
        "direct" | "topic" => one_if_bound_by_name,
        "headers" => every_queue,
        "x-consistent-hash" => Some(1),
        _ => None,
    }
}

/// Whether something may take messages away before a consumer gets them.
pub(crate) fn may_drop(load: &Load) -> bool {
    let limits = [
        "x-max-length",
        "x-max-length-bytes",
        "x-message-ttl",
        "x-expires",
    ];
    let limited = |(key, _): &(String, Value)| limits.contains(&&**key);
    load.ttl.is_some() || load.queue_arguments.iter().any(limited)
}

/// Declares what the run needs; gives how many messages are in the queues. Those of an earlier run are thrown away if
/// this one has publishers: without, they are what is to be consumed.
pub(crate) fn declare(load: &Load, client: &mut Client) -> Result<u64, Error> {
    let mut waiting = 0;
    let arguments = queue_arguments(load.queue_type.as_deref(), &load.queue_arguments);
    // Whoever only publishes to an exchange that is there need not know what is behind it.
    let unknown = load.predeclared && load.consumers == 0 && !load.exchange.is_empty();
    let queues = if unknown { 0 } else { load.queues };
    for n in 0..usize::from(queues) {
        let queue = &*queue_name(load, n);
        let declare = QueueDeclare {
            queue,
            passive: load.predeclared,
            durable: !load.transient,
            arguments: RawTable(&arguments),
            ..Default::default()
        };
        let messages = client.call(CHANNEL, declare, message_count)?;
        if messages > 0 && load.publishers > 0 && !load.predeclared {
            client.ask(
                CHANNEL,
                QueuePurge {
                    queue,
                    no_wait: false,
                },
            )?;
        } else {
            waiting += u64::from(messages);
        }
    }
    if !load.exchange.is_empty() && !load.predeclared {
        declare_exchange(load, client)?;
    }
    Ok(waiting)
}

/// The arguments of a queue, as octets of a table.
pub(crate) fn queue_arguments(kind: Option<&str>, others: &[(String, Value)]) -> Vec<u8> {
    let kind = kind.map(|kind| {
        (
            "x-queue-type".to_owned(),
            Value::String(kind.as_bytes().into()),
        )
    });
    let table: Table = kind.into_iter().chain(others.iter().cloned()).collect();
    table_octets(&table)
}

/// What a `queue.declare-ok` says.
pub(crate) fn message_count(method: Method<'_>) -> Result<u32, Error> {
    match method {
        Method::QueueDeclareOk(ok) => Ok(ok.message_count),
        other => Err(Error::unexpected(&other)),
    }
}

fn declare_exchange(load: &Load, client: &mut Client) -> Result<(), Error> {
    // Those are there, and nobody else may declare one with such a name.
    if !load.exchange.starts_with("amq.") {
        let declare = ExchangeDeclare {
            exchange: &load.exchange,
            kind: &load.exchange_type,
            durable: !load.transient,
            ..Default::default()
        };
        client.ask(CHANNEL, declare)?;
    }
    let arguments = table_octets(&load.binding_arguments.iter().cloned().collect());
    for (queue, key) in bindings(load) {
        let bind = QueueBind {
            queue: &queue,
            exchange: &load.exchange,
            routing_key: key.as_bytes(),
            no_wait: false,
            arguments: RawTable(&arguments),
        };
        client.ask(CHANNEL, bind)?;
    }
    Ok(())
}

/// Takes away what [`declare`] declared.
pub(crate) fn delete(load: &Load, client: &mut Client) -> Result<(), Error> {
    for n in 0..usize::from(load.queues) {
        let delete = QueueDelete {
            queue: &queue_name(load, n),
            ..Default::default()
        };
        client.ask(CHANNEL, delete)?;
    }
    if !load.exchange.is_empty() && !load.exchange.starts_with("amq.") {
        let delete = ExchangeDelete {
            exchange: &load.exchange,
            ..Default::default()
        };
        client.call(CHANNEL, delete, no_refusal)?;
    }
    Ok(())
}

/// The messages that a publisher publishes in turn: each key with each size with each priority, as far as they go.
pub(crate) fn shapes(load: &Load, publisher: usize) -> Vec<Shape> {
    let keys = routing_keys(load, publisher);
    let priorities: Vec<Option<u8>> = match load.priorities.is_empty() {
        true => vec![None],
        false => load.priorities.iter().copied().map(Some).collect(),
    };
    let count = [keys.len(), load.sizes.len(), priorities.len()]
        .into_iter()
        .reduce(least_common_multiple)
        .unwrap_or(1);
    (0..count.min(SHAPES_MAX))
        .map(|n| Shape {
            exchange: load.exchange.clone(),
            routing_key: keys[n % keys.len()].clone(),
            mandatory: load.has(Flag::Mandatory),
            properties: properties(load, priorities[n % priorities.len()]),
            size: load.sizes[n % load.sizes.len()],
        })
        .collect()
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut gcd, mut rest) = (a, b);
    while rest != 0 {
        (gcd, rest) = (rest, gcd % rest);
    }
    a / gcd * b
}

fn routing_keys(load: &Load, publisher: usize) -> Vec<String> {
    let (queues, publishers) = (usize::from(load.queues), usize::from(load.publishers));
    if let Some(count) = load.bindings {
        shuffled(
            (0..usize::from(count)).map(|n| topic_keys(n).1).collect(),
            publisher,
        )
    } else if !load.routing_keys.is_empty() && !load.exchange.is_empty() {
        load.routing_keys.clone()
    } else if publishers >= queues {
        vec![queue_name(load, publisher % queues)]
    } else {
        let own = |n: &usize| n % publishers == publisher;
        (0..queues)
            .filter(own)
            .map(|n| queue_name(load, n))
            .collect()
    }
}

/// Another order, the same in each run: keys should not come in the order of the bindings.
fn shuffled(mut keys: Vec<String>, seed: usize) -> Vec<String> {
    let mut state = seed as u64;
    for n in (1..keys.len()).rev() {
        // The generator is Knuth's MMIX; its high bits are good enough to shuffle.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        keys.swap(n, (state >> 33) as usize % (n + 1));
    }
    keys
}

fn properties(load: &Load, priority: Option<u8>) -> Vec<u8> {
    let headers: Table = load.headers.iter().cloned().collect();
    PropertiesBuf {
        headers: (!headers.is_empty()).then_some(headers),
        delivery_mode: load.has(Flag::Persistent).then_some(2),
        priority,
        expiration: load.ttl.map(|ttl| ttl.to_string().into_bytes().into()),
        ..Default::default()
    }
    .encode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Command, Options};
    use clap::Parser;

    fn load(line: &str) -> Load {
        let line = format!("perf throughput {line}");
        match Options::try_parse_from(line.split_whitespace())
            .unwrap()
            .command
        {
            Command::Throughput(load) => *load,
            other => panic!("{other:?}"),
        }
    }

    fn keys(line: &str, publisher: usize) -> Vec<String> {
        let shapes = shapes(&load(line), publisher);
        shapes.into_iter().map(|shape| shape.routing_key).collect()
    }

    #[test]
    fn every_queue_has_a_publisher() {
        assert_eq!(keys("-u q", 0), ["q"]);
        assert_eq!(keys("-u q -x 3 --queues 2", 2), ["q-1"]);
        assert_eq!(keys("-u q -x 2 --queues 5", 1), ["q-2", "q-4"]);
        assert_eq!(keys("-e x -k a,b", 0), ["a", "b"]);
    }

    #[test]
    fn sizes_keys_and_priorities_go_round() {
        let shapes = shapes(&load("-e x -k a,b -s 1,2,3 --priority 0,9"), 0);
        let found: Vec<_> = shapes
            .iter()
            .map(|shape| (&*shape.routing_key, shape.size))
            .collect();
        assert_eq!(
            found,
            [("a", 1), ("b", 2), ("a", 3), ("b", 1), ("a", 2), ("b", 3)]
        );
    }

    #[test]
    fn each_topic_key_has_its_binding() {
        let load = load("-e x -t topic --bindings 1000 --queues 10");
        let bindings = bindings(&load);
        assert_eq!(bindings.len(), 1000);
        let with = |c: char| bindings.iter().filter(|(_, key)| key.contains(c)).count();
        assert_eq!((with('*'), with('#')), (100, 100));
        let mut keys: Vec<String> = shapes(&load, 0)
            .into_iter()
            .map(|shape| shape.routing_key)
            .collect();
        assert_ne!(keys[..3], ["s0.mid.end", "s1.mid.end", "s2.mid.end"]);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 1000);
    }

    #[test]
    fn deliveries_of_a_publish_are_known() {
        let check = |line: &str, expected| assert_eq!(copies(&load(line)), expected, "{line}");
        check("--queues 10", Some(1));
        check("--queues 10 -e x -t fanout", Some(10));
        check("--queues 10 -e x", Some(1));
        check("--queues 10 -e x -k a", Some(10));
        check("--queues 10 -e x -t topic --bindings 100", Some(1));
        check("--queues 10 -e x -t x-random", None);
        check("-e x -p", None);
    }

    #[test]
    fn properties_say_what_was_asked_for() {
        let load = load("-f persistent --ttl 500 --header a=1 --priority 4");
        let encoded = properties(&load, Some(4));
        let read = PropertiesBuf::parse(&encoded).unwrap();
        assert_eq!((read.delivery_mode, read.priority), (Some(2), Some(4)));
        assert_eq!(read.expiration.as_deref(), Some(&b"500"[..]));
        assert_eq!(read.headers.unwrap().get("a"), Some(&Value::I64(1)));
    }
}
