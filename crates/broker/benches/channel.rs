//! What a message costs on its way through channels, routes and a queue at work, counters among it: `cargo bench -p
//! leveret-broker --bench channel`. Transient messages, and no network. Times are per [`MESSAGES`] messages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Waker};

use divan::Bencher;
use divan::counter::ItemsCount;
use leveret_broker::broker::definitions::QueueSpec;
use leveret_broker::broker::{Arrival, Broker, Restored};
use leveret_broker::channel::{Channel, ConsumeSpec, Publish, Settle, Settlements};
use leveret_broker::connections::Facts;
use leveret_broker::live_queue::{ConnectionId, Outbox};
use leveret_broker::mailbox::{self, Event, Mailbox};
use leveret_broker::message::Message;
use leveret_broker::options::Options;
use leveret_broker::publish::Batch;
use leveret_broker::storage::sim::SimDisk;
use leveret_broker::storage::{self, Log};
use leveret_broker::table::Table;
use leveret_broker::time::Timestamp;

const MESSAGES: usize = 10_000;
/// Messages of one read of a socket.
const READ: usize = 100;
const NOW: Timestamp = Timestamp(1_000_000);

fn main() {
    divan::main();
}

/// A client that publishes to its own consumer.
struct Client {
    broker: Arc<Broker>,
    mailbox: Arc<Mailbox>,
    channel: Channel,
    batch: Batch,
    settlements: Settlements,
    outbox: Outbox,
    events: VecDeque<Event>,
    block: Arc<[u8]>,
}

impl Client {
    fn new(acknowledges: bool) -> Self {
        let broker = start();
        let mailbox: Arc<Mailbox> = Arc::default();
        let user = broker
            .authenticate("guest", "guest", true)
            .expect("the default user");
        let arrival = Arrival {
            connection: ConnectionId(1),
            user: &user.into(),
            mailbox: &mailbox,
            facts: Facts::default(),
            activity: &Arc::default(),
        };
        let principal = broker.connect(arrival, "/").expect("the default vhost");
        let spec = QueueSpec {
            name: "q",
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: Table::new(),
        };
        broker
            .declare_queue(&principal, spec, NOW)
            .expect("a new queue");
        let mut outbox = Outbox::default();
        let mut channel = Channel::open(&broker, 1, principal, mailbox.clone()).expect("no limits");
        let consumer = ConsumeSpec {
            queue: "q",
            tag: "tag",
            acknowledges,
            exclusive: false,
            arguments: Table::new(),
        };
        channel
            .consume(&broker, consumer, NOW, &mut outbox)
            .expect("a queue without consumers");
        // The address of the default exchange and queue `q`, no properties, sixteen octets.
        let mut block = vec![0; 65536];
        block[1..3].copy_from_slice(b"\x01q");
        Self {
            broker,
            mailbox,
            channel,
            batch: Batch::default(),
            settlements: Settlements::default(),
            outbox,
            events: VecDeque::new(),
            block: block.into(),
        }
    }

    fn publish(&mut self) {
        for _ in 0..READ {
            let publish = Publish {
                message: Message::in_block(self.block.clone(), 0, 8..10, 10..26),
                mandatory: false,
            };
            self.channel
                .publish(&self.broker, publish, NOW, &mut self.batch)
                .expect("everything is permitted");
        }
        self.broker
            .commit(&mut self.batch, NOW, &mut self.outbox, |_| {});
        self.broker.finish(&mut self.outbox, NOW);
    }

    /// Takes the deliveries; gives the last one's tag.
    fn take(&mut self) -> u64 {
        let mut context = Context::from_waker(Waker::noop());
        let _ = self.mailbox.poll_take(&mut context, &mut self.events);
        let mut last = 0;
        let mut bytes = 0;
        for event in self.events.drain(..) {
            bytes += mailbox::weight(&event);
            if let Event::Deliver {
                consumer, delivery, ..
            } = &event
                && let Some(mut outgoing) = self.channel.outgoing(*consumer)
            {
                last = outgoing.deliver(delivery);
            }
        }
        self.mailbox.relieve(bytes);
        last
    }

    fn acknowledge(&mut self, tag: u64) {
        self.channel
            .settle(tag, true, Settle::Acknowledge, &mut self.settlements)
            .expect("a tag just given");
        self.settlements.flush(NOW, &mut self.outbox);
        self.broker.finish(&mut self.outbox, NOW);
    }
}

fn start() -> Arc<Broker> {
    let log = Log::open(
        Arc::new(SimDisk::new(1)),
        storage::Options::default(),
        &mut |_| {},
    )
    .expect("an empty disk");
    let restored = Restored::default();
    Broker::start(Options::new(|| 7), log, restored, NOW).expect("nothing to restore")
}

fn bench(bencher: Bencher<'_, '_>, acknowledges: bool) {
    let mut client = Client::new(acknowledges);
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        for _ in 0..MESSAGES / READ {
            client.publish();
            let tag = client.take();
            if acknowledges {
                client.acknowledge(tag);
            }
        }
    });
}

#[divan::bench]
fn publish_deliver(bencher: Bencher<'_, '_>) {
    bench(bencher, false);
}

#[divan::bench]
fn publish_deliver_ack(bencher: Bencher<'_, '_>) {
    bench(bencher, true);
}
