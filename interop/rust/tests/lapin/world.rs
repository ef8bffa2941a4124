//! Sessions of one test, and what it declares by name, which goes away with it.

use std::future::Future;
use std::panic;
use std::sync::{Arc, Mutex};

use futures_lite::StreamExt;
use interop::{eventually, host, port, unique, within};
use lapin::message::Delivery;
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, Error, ErrorKind,
    ExchangeKind,
};
use tokio::task::{LocalSet, spawn_local};

pub fn uri(login: &str, vhost: &str, query: &str) -> String {
    format!("amqp://{login}@{}:{}/{vhost}{query}", host(), port())
}

pub struct World {
    declared: Mutex<Vec<Declared>>,
}

enum Declared {
    Queue(String),
    Exchange(String),
}

/// Runs one test and cleans up after it, also when it fails.
pub fn test<F>(body: impl FnOnce(Arc<World>) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = Arc::new(World {
        declared: Mutex::default(),
    });
    let outcome = LocalSet::new().block_on(&runtime, async {
        let outcome = spawn_local(body(world.clone())).await;
        world.clean_up().await;
        outcome
    });
    if let Err(failure) = outcome {
        panic::resume_unwind(failure.into_panic());
    }
}

impl World {
    pub async fn connect(&self) -> Connection {
        self.connect_by(&uri("guest:guest", "%2f", "")).await
    }

    pub async fn connect_by(&self, uri: &str) -> Connection {
        let properties =
            ConnectionProperties::default().with_connection_name("interop lapin".into());
        within("a connection", Connection::connect(uri, properties))
            .await
            .unwrap()
    }

    /// A channel on a connection of its own.
    pub async fn open(&self) -> Session {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.unwrap();
        Session {
            connection,
            channel,
        }
    }

    pub async fn queue(&self, channel: &Channel, arguments: FieldTable) -> String {
        self.queue_named(channel, unique("queue"), arguments).await
    }

    pub async fn queue_named(
        &self,
        channel: &Channel,
        name: String,
        arguments: FieldTable,
    ) -> String {
        channel
            .queue_declare(
                name.clone().into(),
                QueueDeclareOptions::durable(),
                arguments,
            )
            .await
            .unwrap();
        self.declared
            .lock()
            .unwrap()
            .push(Declared::Queue(name.clone()));
        name
    }

    pub async fn exchange(
        &self,
        channel: &Channel,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> String {
        let name = unique("exchange");
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        channel
            .exchange_declare(name.clone().into(), kind, durable, arguments)
            .await
            .unwrap();
        self.declared
            .lock()
            .unwrap()
            .push(Declared::Exchange(name.clone()));
        name
    }

    async fn clean_up(&self) {
        let declared = std::mem::take(&mut *self.declared.lock().unwrap());
        let session = self.open().await;
        for one in declared {
            match one {
                Declared::Queue(name) => {
                    session
                        .channel
                        .queue_delete(name.into(), Default::default())
                        .await
                        .unwrap();
                }
                Declared::Exchange(name) => {
                    session
                        .channel
                        .exchange_delete(name.into(), Default::default())
                        .await
                        .unwrap();
                }
            }
        }
        session.connection.close(200, "done".into()).await.unwrap();
    }
}

pub struct Session {
    pub connection: Connection,
    pub channel: Channel,
}

impl Session {
    pub async fn publish(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        body: &[u8],
    ) {
        let options = BasicPublishOptions::default();
        let confirm = self
            .channel
            .basic_publish(exchange.into(), key.into(), options, body, properties)
            .await
            .unwrap();
        within("the confirm", confirm).await.unwrap();
    }

    pub async fn send(&self, queue: &str, body: &str) {
        self.publish(
            "",
            queue,
            BasicProperties::default().with_delivery_mode(2),
            body.as_bytes(),
        )
        .await;
    }

    pub async fn bind(&self, queue: &str, exchange: &str, key: &str, arguments: FieldTable) {
        let options = QueueBindOptions::default();
        self.channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                key.into(),
                options,
                arguments,
            )
            .await
            .unwrap();
    }

    pub async fn consume(&self, queue: &str, acknowledgement: Acknowledgement) -> Inbox {
        self.consume_with(queue, acknowledgement, FieldTable::default())
            .await
    }

    pub async fn consume_with(
        &self,
        queue: &str,
        acknowledgement: Acknowledgement,
        arguments: FieldTable,
    ) -> Inbox {
        let options = BasicConsumeOptions {
            no_ack: acknowledgement == Acknowledgement::Automatic,
            ..Default::default()
        };
        Inbox(
            self.channel
                .basic_consume(queue.into(), "".into(), options, arguments)
                .await
                .unwrap(),
        )
    }

    /// Consumes an exclusive queue of its own that is bound by each key.
    pub async fn subscribe(&self, exchange: &str, keys: &[&str]) -> Inbox {
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        let queue = self
            .channel
            .queue_declare("".into(), exclusive, FieldTable::default())
            .await
            .unwrap();
        for key in keys {
            self.bind(queue.name().as_str(), exchange, key, FieldTable::default())
                .await;
        }
        self.consume(queue.name().as_str(), Acknowledgement::Automatic)
            .await
    }

    /// How many messages wait in the queue.
    pub async fn ready(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        self.channel
            .queue_declare(queue.into(), passive, FieldTable::default())
            .await
            .unwrap()
            .message_count()
    }

    pub async fn until_ready(&self, queue: &str, count: u32) {
        eventually("the queue's length", async || {
            (self.ready(queue).await == count).then_some(())
        })
        .await;
    }

    pub async fn get(&self, queue: &str, acknowledgement: Acknowledgement) -> Delivery {
        let options = BasicGetOptions {
            no_ack: acknowledgement == Acknowledgement::Automatic,
        };
        let message = eventually("a message", async || {
            self.channel.basic_get(queue.into(), options).await.unwrap()
        })
        .await;
        message.delivery
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Acknowledgement {
    Automatic,
    Manual,
}

pub struct Inbox(pub Consumer);

impl Inbox {
    pub async fn next(&mut self) -> Delivery {
        within("a message", self.0.next())
            .await
            .expect("the consumer goes on")
            .unwrap()
    }

    pub async fn expect(&mut self, bodies: &[&str]) {
        for body in bodies {
            assert_eq!(text(&self.next().await), *body);
        }
    }
}

pub fn text(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.data).unwrap()
}

pub fn table<const N: usize>(fields: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert(name.into(), value);
    }
    table
}

pub fn string(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

/// The header's value, which has to be there.
pub fn field<'t>(table: &'t FieldTable, name: &str) -> &'t AMQPValue {
    table
        .inner()
        .get(name)
        .unwrap_or_else(|| panic!("no field {name}"))
}

/// The code and text of the error that the broker sent.
pub fn refusal<T: std::fmt::Debug>(outcome: Result<T, Error>) -> (u16, String) {
    let error = outcome.unwrap_err();
    match error.kind() {
        ErrorKind::ProtocolError(refused) => (refused.get_id(), refused.get_message().to_string()),
        other => panic!("not refused by the broker: {other:?}"),
    }
}
