//! What a message costs in the queue, without network and disk: `cargo bench -p leveret-broker --bench queue`. Times and
//! allocations are per [`MESSAGES`] messages, the items per second per message.

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use leveret_broker::ids::{ConsumerId, DeliveryId, MessageId, SessionId};
use leveret_broker::message::Message;
use leveret_broker::queue::{
    Consumer, Counts, Delivery, Effect, Incoming, Kind, Op, QueueCore, Return, Settings, Stamp,
};
use leveret_broker::time::Timestamp;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const MESSAGES: usize = 10_000;
const NOW: Timestamp = Timestamp(1_000_000);

fn main() {
    divan::main();
}

/// A queue and what drives it.
struct Driver {
    queue: QueueCore,
    effects: Vec<Effect>,
    /// The read buffer that all messages lie in.
    block: Arc<[u8]>,
    delivered: Vec<DeliveryId>,
}

impl Driver {
    fn new(kind: Kind, priority_max: Option<u8>) -> Self {
        let settings = Settings {
            priority_max,
            ..Settings::new(kind)
        };
        Self {
            queue: QueueCore::new(settings, NOW),
            effects: Vec::with_capacity(2 * MESSAGES),
            block: vec![0; 65536].into(),
            delivered: Vec::with_capacity(MESSAGES),
        }
    }

    fn attach(&mut self, acknowledges: bool) {
        let consumer = Consumer {
            id: ConsumerId(0),
            session: SessionId(0),
            acknowledges,
            prefetch: 0,
            shared_credit: None,
            priority: 0,
            exclusive: false,
            timeout_ms: None,
            read_from: None,
        };
        self.apply(Op::Attach(consumer));
        self.effects.clear();
    }

    fn apply(&mut self, op: Op<'_>) {
        self.queue.apply(NOW, op, &mut self.effects);
    }

    fn message(&self) -> Message {
        Message::in_block(self.block.clone(), 0, 2..2, 2..18)
    }

    fn publish(&mut self, messages: usize) {
        for _ in 0..messages {
            self.publish_one(None);
        }
    }

    fn publish_one(&mut self, priority: Option<u8>) {
        let message = self.message();
        self.apply(Op::Publish(Incoming {
            message,
            id: MessageId::NONE,
            priority,
            ttl_ms: None,
            persistent: false,
            redelivered: false,
        }));
    }

    fn assign_all(&mut self) {
        while self.queue.has_work() {
            self.apply(Op::Assign(64));
        }
    }

    /// Takes the deliveries of the effects, as the connections would.
    fn collect(&mut self) {
        let delivered = self.effects.drain(..).filter_map(|effect| match effect {
            Effect::Deliver(_, Delivery { id, .. }) => id,
            _ => None,
        });
        self.delivered.extend(delivered);
    }

    fn acknowledge(&mut self, batch: usize) {
        for ids in self.delivered.chunks(batch) {
            let op = Op::Acknowledge(ids);
            self.queue.apply(NOW, op, &mut self.effects);
        }
        self.delivered.clear();
    }
}

fn bench(bencher: Bencher<'_, '_>, mut driver: Driver, run: impl Fn(&mut Driver)) {
    run(&mut driver);
    bencher
        .counter(ItemsCount::new(MESSAGES))
        .bench_local(|| run(&mut driver));
}

/// What the driver itself costs: making the message, and taking the effect apart. To be subtracted from all others.
#[divan::bench]
fn driver_alone(bencher: Bencher<'_, '_>) {
    let driver = Driver::new(Kind::Classic, None);
    bench(bencher, driver, |driver| {
        for _ in 0..MESSAGES / 100 {
            for _ in 0..100 {
                let delivery = Delivery {
                    id: None,
                    message: divan::black_box(driver.message()),
                    redelivered: false,
                    stamp: Stamp::Counts(Counts::default()),
                };
                let effect = Effect::Deliver(ConsumerId(0), delivery);
                driver.effects.push(divan::black_box(effect));
            }
            driver.collect();
        }
    });
}

/// Handed over at once to a consumer that does not acknowledge.
#[divan::bench]
fn publish_deliver(bencher: Bencher<'_, '_>) {
    let mut driver = Driver::new(Kind::Classic, None);
    driver.attach(false);
    bench(bencher, driver, |driver| {
        for _ in 0..MESSAGES / 100 {
            driver.publish(100);
            driver.collect();
        }
    });
}

/// Handed over at once, and acknowledged in batches.
#[divan::bench(args = [1, 100])]
fn publish_deliver_ack(bencher: Bencher<'_, '_>, batch: usize) {
    let mut driver = Driver::new(Kind::Classic, None);
    driver.attach(true);
    bench(bencher, driver, |driver| {
        for _ in 0..MESSAGES / 100 {
            driver.publish(100);
            driver.collect();
            driver.acknowledge(batch);
        }
    });
}

/// Into the backlog (which copies the message out of the read buffer), then delivered without acknowledgement.
#[divan::bench]
fn backlog_then_drain(bencher: Bencher<'_, '_>) {
    let mut driver = Driver::new(Kind::Classic, None);
    driver.attach(false);
    bench(bencher, driver, |driver| {
        driver.apply(Op::Pause(ConsumerId(0)));
        driver.publish(MESSAGES);
        driver.apply(Op::Resume(ConsumerId(0)));
        driver.assign_all();
        driver.collect();
    });
}

/// The same with messages of ten priorities.
#[divan::bench(args = [Kind::Classic, Kind::Quorum])]
fn ten_priorities(bencher: Bencher<'_, '_>, kind: &Kind) {
    let priority_max = (*kind == Kind::Classic).then_some(9);
    let mut driver = Driver::new(*kind, priority_max);
    driver.attach(false);
    bench(bencher, driver, |driver| {
        driver.apply(Op::Pause(ConsumerId(0)));
        for n in 0..MESSAGES {
            driver.publish_one(Some((n % 10) as u8));
        }
        driver.apply(Op::Resume(ConsumerId(0)));
        driver.assign_all();
        driver.collect();
    });
}

/// 100 000 deliveries come back, in order and in the order that suits the backlog least, and are delivered again.
#[divan::bench(args = ["in order", "every other first"])]
fn requeue_100_000(bencher: Bencher<'_, '_>, order: &str) {
    let mut driver = Driver::new(Kind::Classic, None);
    driver.attach(true);
    driver.publish(10 * MESSAGES);
    driver.collect();
    let every_other = order == "every other first";
    bencher
        .counter(ItemsCount::new(10 * MESSAGES))
        .bench_local(|| {
            driver.apply(Op::Pause(ConsumerId(0)));
            let ids = std::mem::take(&mut driver.delivered);
            if every_other {
                let (odd, even): (Vec<_>, Vec<_>) = ids.iter().partition(|id| id.0 % 2 == 1);
                driver.apply(Op::Return(&odd, Return::Requeue));
                driver.apply(Op::Return(&even, Return::Requeue));
            } else {
                driver.apply(Op::Return(&ids, Return::Requeue));
            }
            driver.apply(Op::Resume(ConsumerId(0)));
            driver.assign_all();
            driver.collect();
        });
}
