//! A node with its log on a disk in memory, and one client of it, for tests of what needs both.
#![allow(dead_code, reason = "each of its users needs another part of it")]

use std::ops::Range;
use std::sync::Arc;

use leveret_broker::broker::definitions::QueueSpec;
use leveret_broker::broker::{Arrival, Broker, Restored};
use leveret_broker::channel::{Channel, Publish, Settle, Settlements};
use leveret_broker::connections::Facts;
use leveret_broker::live_queue::{ConnectionId, Outbox};
use leveret_broker::mailbox::Mailbox;
use leveret_broker::message::Message;
use leveret_broker::options::Options;
use leveret_broker::paging::{Pager, Turn};
use leveret_broker::principal::Principal;
use leveret_broker::publish::Batch;
use leveret_broker::storage::sim::SimDisk;
use leveret_broker::storage::{self, Log};
use leveret_broker::table::{Table, Value};
use leveret_broker::time::Timestamp;

/// What waiting messages may take in memory, bytes.
pub(crate) const BUDGET: u64 = 1 << 20;
pub(crate) const PERSISTENT: &[u8] = &[0x10, 0, 2];
pub(crate) const TRANSIENT: &[u8] = &[0, 0];

/// Size of the log's files, bytes.
pub(crate) const FILE_BYTES: u64 = 1 << 20;

/// See the module's page.
pub(crate) struct Node {
    pub(crate) disk: SimDisk,
    pub(crate) broker: Arc<Broker>,
    pub(crate) log: Log,
    pub(crate) principal: Arc<Principal>,
    pub(crate) channel: Channel,
    pub(crate) now: Timestamp,
    /// Of each message's body.
    pub(crate) body_bytes: usize,
}

impl Node {
    pub(crate) fn start(disk: SimDisk, now: Timestamp) -> Self {
        Self::start_with(disk, now, |_| {})
    }

    /// The same with other options.
    pub(crate) fn start_with(
        disk: SimDisk,
        now: Timestamp,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let mut options = Options {
            backlog_bytes_max: BUDGET,
            ..Options::new(|| 7)
        };
        change(&mut options);
        let (broker, log) = open(&disk, storage::Options::default(), options, now);
        let (principal, mailbox) = connect(&broker);
        Self {
            disk,
            channel: Channel::open(&broker, 1, principal.clone(), mailbox).unwrap(),
            broker,
            log,
            principal,
            now,
            body_bytes: 500,
        }
    }

    pub(crate) fn declare(&self, name: &str, arguments: &[(&str, i32)]) {
        let arguments = arguments.iter();
        let table = arguments.map(|(key, value)| (Box::from(*key), Value::I32(*value)));
        self.declare_as(name, true, table.collect());
    }

    pub(crate) fn declare_as(&self, name: &str, durable: bool, arguments: Table) {
        let spec = QueueSpec {
            name,
            durable,
            exclusive: false,
            auto_delete: false,
            arguments,
        };
        self.broker
            .declare_queue(&self.principal, spec, self.now)
            .unwrap();
    }

    /// Publishes messages whose bodies begin with these numbers, and waits until they are on disk.
    pub(crate) fn publish(&mut self, queue: &str, properties: &[u8], numbers: Range<u32>) {
        self.publish_to("", queue, |_| properties.into(), numbers);
    }

    pub(crate) fn publish_to(
        &mut self,
        exchange: &str,
        key: &str,
        properties: impl Fn(u32) -> Vec<u8>,
        numbers: Range<u32>,
    ) {
        let mut batch = Batch::default();
        for number in numbers {
            let mut body = vec![0; self.body_bytes];
            body[..4].copy_from_slice(&number.to_be_bytes());
            let (exchange, key) = (exchange.as_bytes(), key.as_bytes());
            let publish = Publish {
                message: Message::new(exchange, key, &properties(number), &body),
                mandatory: false,
            };
            self.channel
                .publish(&self.broker, publish, self.now, &mut batch)
                .unwrap();
        }
        let mut outbox = Outbox::default();
        self.broker
            .commit(&mut batch, self.now, &mut outbox, |_| {});
        self.broker.finish(&mut outbox, self.now);
        self.sync();
    }

    /// Waits until all so far is on disk.
    pub(crate) fn sync(&self) {
        let last = self.log.append(&mut storage::Batch::new()).lsn;
        self.log.wait(last).unwrap();
    }

    /// Has the pager do what it can.
    pub(crate) fn page_some(&self) {
        let mut pager = Pager::new(self.broker.clone());
        while pager.turn() == Turn::More {}
    }

    /// Has the pager work until it has nothing more to do.
    pub(crate) fn page(&self) {
        self.page_some();
        let resident = self.broker.paging.resident_bytes();
        assert!(resident <= BUDGET, "{resident} bytes are resident");
    }

    /// Gets the next message: its number, and whether it is flagged.
    pub(crate) fn get(&mut self, queue: &str) -> Option<(u32, bool)> {
        let (tag, number, redelivered) = self.take(queue)?;
        self.acknowledge(&[tag]);
        Some((number, redelivered))
    }

    /// The same without acknowledging it: its tag, too.
    pub(crate) fn take(&mut self, queue: &str) -> Option<(u64, u32, bool)> {
        let mut outbox = Outbox::default();
        let got = self
            .channel
            .get(&self.broker, queue, true, self.now, &mut outbox);
        self.broker.finish(&mut outbox, self.now);
        let (tag, delivery, _) = got.unwrap()?;
        let number = *delivery.message.body().first_chunk().unwrap();
        Some((tag, u32::from_be_bytes(number), delivery.redelivered))
    }

    pub(crate) fn acknowledge(&mut self, tags: &[u64]) {
        let mut outbox = Outbox::default();
        let mut settlements = Settlements::default();
        for tag in tags {
            self.channel
                .settle(*tag, false, Settle::Acknowledge, &mut settlements)
                .unwrap();
        }
        settlements.flush(self.now, &mut outbox);
        self.broker.finish(&mut outbox, self.now);
    }

    pub(crate) fn get_all(&mut self, queue: &str) -> Vec<u32> {
        let numbers = std::iter::from_fn(|| self.get(queue));
        numbers.map(|(number, _)| number).collect()
    }

    pub(crate) fn stop(self) -> SimDisk {
        self.broker.stop().unwrap();
        self.disk
    }

    /// What is not on disk by now is lost.
    pub(crate) fn crash(self) -> SimDisk {
        let after = self.disk.duplicate();
        after.cut_power();
        after.power_on();
        after
    }
}

/// A broker with what its log on this disk holds, in files of [`FILE_BYTES`].
pub(crate) fn open(
    disk: &SimDisk,
    storage: storage::Options,
    options: Options,
    now: Timestamp,
) -> (Arc<Broker>, Log) {
    let mut restored = Restored::default();
    let storage = storage::Options {
        file_bytes: FILE_BYTES,
        segment_bytes: FILE_BYTES,
        ..storage
    };
    let log = Log::open(Arc::new(disk.clone()), storage, &mut |record| {
        restored.take(record);
    });
    let log = log.unwrap();
    let broker = Broker::start(options, log.clone(), restored, now).unwrap();
    (broker, log)
}

/// `guest` as the node's one connection.
pub(crate) fn connect(broker: &Broker) -> (Arc<Principal>, Arc<Mailbox>) {
    let user = broker.authenticate("guest", "guest", true).unwrap();
    let mailbox = Arc::default();
    let arrival = Arrival {
        connection: ConnectionId(1),
        user: &user.into(),
        mailbox: &mailbox,
        facts: Facts::default(),
        activity: &Arc::default(),
    };
    let principal = broker.connect(arrival, "/").unwrap();
    (principal, mailbox)
}
