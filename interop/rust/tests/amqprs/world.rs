//! Sessions of one test, and what it declares by name, which goes away with it.

use std::future::Future;
use std::panic;
use std::sync::{Arc, Mutex};

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::*;
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, FieldTable, FieldValue, Nack, Return};
use async_trait::async_trait;
use interop::{eventually, host, port, unique, within};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

pub fn arguments() -> OpenConnectionArguments {
    OpenConnectionArguments::new(&host(), port(), "guest", "guest")
        .connection_name("interop amqprs")
        .finish()
}

#[derive(Default)]
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
    let world = Arc::new(World::default());
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
    /// A channel on a connection of its own.
    pub async fn open(&self) -> Session {
        self.open_by(arguments()).await
    }

    pub async fn open_by(&self, arguments: OpenConnectionArguments) -> Session {
        let connection = within("a connection", Connection::open(&arguments))
            .await
            .unwrap();
        Session::on(connection).await
    }

    pub async fn queue(&self, session: &Session, arguments: FieldTable) -> String {
        let name = unique("queue");
        let durable = QueueDeclareArguments::durable_client_named(&name)
            .arguments(arguments)
            .finish();
        session.channel.queue_declare(durable).await.unwrap();
        self.declared
            .lock()
            .unwrap()
            .push(Declared::Queue(name.clone()));
        name
    }

    pub async fn exchange(&self, session: &Session, kind: &str) -> String {
        let name = unique(kind);
        let durable = ExchangeDeclareArguments::new(&name, kind)
            .durable(true)
            .finish();
        session.channel.exchange_declare(durable).await.unwrap();
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
                        .queue_delete(QueueDeleteArguments::new(&name))
                        .await
                        .unwrap();
                }
                Declared::Exchange(name) => {
                    session
                        .channel
                        .exchange_delete(ExchangeDeleteArguments::new(&name))
                        .await
                        .unwrap();
                }
            }
        }
        session.channel.close().await.unwrap();
        session.connection.close().await.unwrap();
    }
}

/// A connection with one channel, and what the broker says on it unasked.
pub struct Session {
    pub connection: Connection,
    pub channel: Channel,
    events: UnboundedReceiver<Event>,
}

#[derive(Debug, PartialEq)]
pub enum Event {
    Ack {
        tag: u64,
        multiple: bool,
    },
    Nack {
        tag: u64,
    },
    Return {
        code: u16,
        text: String,
        key: String,
        body: Vec<u8>,
    },
    Cancel {
        tag: String,
    },
    Close {
        code: u16,
        text: String,
    },
}

impl Session {
    pub async fn on(connection: Connection) -> Self {
        let channel = connection.open_channel(None).await.unwrap();
        let (sender, events) = unbounded_channel();
        channel.register_callback(Events(sender)).await.unwrap();
        Self {
            connection,
            channel,
            events,
        }
    }

    pub async fn event(&mut self) -> Event {
        within("an event", self.events.recv())
            .await
            .expect("the callbacks stay registered")
    }

    /// Another channel, for after the first has been closed.
    pub async fn reopen(self) -> Self {
        Self::on(self.connection).await
    }

    pub async fn publish(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        body: &[u8],
    ) {
        let arguments = BasicPublishArguments::new(exchange, key);
        self.channel
            .basic_publish(properties, body.to_vec(), arguments)
            .await
            .unwrap();
    }

    pub async fn send(&self, queue: &str, body: &str) {
        let persistent = BasicProperties::default().with_persistence(true).finish();
        self.publish("", queue, persistent, body.as_bytes()).await;
    }

    pub async fn bind(&self, queue: &str, exchange: &str, key: &str, arguments: FieldTable) {
        let arguments = QueueBindArguments::new(queue, exchange, key)
            .arguments(arguments)
            .finish();
        self.channel.queue_bind(arguments).await.unwrap();
    }

    pub async fn prefetch(&self, count: u16) {
        self.channel
            .basic_qos(BasicQosArguments::new(0, count, false))
            .await
            .unwrap();
    }

    pub async fn exclusive_queue(&self) -> String {
        self.channel
            .queue_declare(QueueDeclareArguments::exclusive_server_named())
            .await
            .unwrap()
            .unwrap()
            .0
    }

    pub async fn consume(&self, queue: &str, acknowledgement: Acknowledgement) -> Inbox {
        let manual = acknowledgement == Acknowledgement::Manual;
        let arguments = BasicConsumeArguments::new(queue, "")
            .manual_ack(manual)
            .finish();
        let (tag, messages) = self.channel.basic_consume_rx(arguments).await.unwrap();
        Inbox { tag, messages }
    }

    /// Consumes an exclusive queue of its own that is bound by each key.
    pub async fn subscribe(&self, exchange: &str, keys: &[&str]) -> Inbox {
        let queue = self.exclusive_queue().await;
        for key in keys {
            self.bind(&queue, exchange, key, FieldTable::new()).await;
        }
        self.consume(&queue, Acknowledgement::Automatic).await
    }

    pub async fn ack(&self, message: &Message) {
        self.channel
            .basic_ack(BasicAckArguments::new(message.tag, false))
            .await
            .unwrap();
    }

    /// How many messages wait in the queue.
    pub async fn ready(&self, queue: &str) -> u32 {
        let passive = QueueDeclareArguments::new(queue).passive(true).finish();
        self.channel
            .queue_declare(passive)
            .await
            .unwrap()
            .unwrap()
            .1
    }

    pub async fn until_ready(&self, queue: &str, count: u32) {
        eventually("the queue's length", async || {
            (self.ready(queue).await == count).then_some(())
        })
        .await;
    }

    pub async fn get(&self, queue: &str, acknowledgement: Acknowledgement) -> Message {
        let automatic = acknowledgement == Acknowledgement::Automatic;
        let arguments = BasicGetArguments::new(queue).no_ack(automatic).finish();
        let ask = async || self.channel.basic_get(arguments.clone()).await.unwrap();
        let (ok, properties, body) = eventually("a message", ask).await;
        Message {
            tag: ok.delivery_tag(),
            redelivered: ok.redelivered(),
            key: ok.routing_key().clone(),
            properties,
            body,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Acknowledgement {
    Automatic,
    Manual,
}

pub struct Message {
    pub tag: u64,
    pub redelivered: bool,
    pub key: String,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

impl Message {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub struct Inbox {
    pub tag: String,
    messages: UnboundedReceiver<ConsumerMessage>,
}

impl Inbox {
    pub async fn next(&mut self) -> Message {
        let message = within("a message", self.messages.recv())
            .await
            .expect("the consumer goes on");
        let deliver = message.deliver.expect("a delivery");
        Message {
            tag: deliver.delivery_tag(),
            redelivered: deliver.redelivered(),
            key: deliver.routing_key().clone(),
            properties: message.basic_properties.expect("properties"),
            body: message.content.expect("a body"),
        }
    }

    pub async fn expect(&mut self, bodies: &[&str]) {
        for body in bodies {
            assert_eq!(self.next().await.text(), *body);
        }
    }
}

/// Forwards what the broker says to the test; nobody listens any more once the test has ended.
struct Events(UnboundedSender<Event>);

#[async_trait]
impl ChannelCallback for Events {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        let _ = self.0.send(Event::Close {
            code: close.reply_code(),
            text: close.reply_text().clone(),
        });
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, cancel: Cancel) -> Result<(), Error> {
        let _ = self.0.send(Event::Cancel {
            tag: cancel.consumer_tag().clone(),
        });
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        let _ = self.0.send(Event::Ack {
            tag: ack.delivery_tag(),
            multiple: ack.mutiple(),
        });
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        let _ = self.0.send(Event::Nack {
            tag: nack.delivery_tag(),
        });
    }

    async fn publish_return(
        &mut self,
        _: &Channel,
        returned: Return,
        _: BasicProperties,
        body: Vec<u8>,
    ) {
        let _ = self.0.send(Event::Return {
            code: returned.reply_code(),
            text: returned.reply_text().clone(),
            key: returned.routing_key().clone(),
            body,
        });
    }
}

pub fn table<const N: usize>(fields: [(&str, FieldValue); N]) -> FieldTable {
    let mut table = FieldTable::new();
    for (name, value) in fields {
        table.insert(name.try_into().unwrap(), value);
    }
    table
}

/// The header's value, which has to be there.
pub fn field<'t>(table: &'t FieldTable, name: &str) -> &'t FieldValue {
    table
        .get(&name.try_into().unwrap())
        .unwrap_or_else(|| panic!("no field {name}"))
}
