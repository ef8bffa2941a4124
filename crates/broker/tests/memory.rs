//! What an idle queue takes in memory, in the broker and the log together, as the allocator is asked for it.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use leveret_broker::broker::definitions::QueueSpec;
use leveret_broker::broker::{Arrival, Broker, Restored};
use leveret_broker::connections::Facts;
use leveret_broker::live_queue::ConnectionId;
use leveret_broker::options::Options;
use leveret_broker::storage::{self, Log, RealDisk};
use leveret_broker::table::Table;
use leveret_broker::time::Timestamp;

/// Counts the bytes that are allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps what `GlobalAlloc` asks for, and the block is the system's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Hash tables are three quarters full with so many, as they are with 100 000.
const QUEUES: usize = 12_500;
/// What one may take, bytes. Allocators round up, and a node's management keeps some 45 more: it is 1 KiB in the end.
const QUEUE_BYTES_MAX: usize = 840;

#[test]
fn an_idle_durable_queue_takes_less_than_a_kibibyte() {
    let name = format!("leveret-memory-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let (broker, log) = start(&directory);
    let before = ALLOCATED.load(Ordering::Relaxed);
    declare(&broker, &log);
    check("declared", before);
    broker.stop().unwrap();
    drop((broker, log));

    let before = ALLOCATED.load(Ordering::Relaxed);
    let (broker, log) = start(&directory);
    check("recovered", before);
    drop((broker, log));
    std::fs::remove_dir_all(directory).unwrap();
}

fn start(directory: &std::path::Path) -> (Arc<Broker>, Log) {
    let disk = Arc::new(RealDisk::at(directory).unwrap());
    let options = storage::Options {
        file_bytes: 1 << 20,
        ..storage::Options::default()
    };
    let mut restored = Restored::default();
    let log = Log::open(disk, options, &mut |record| restored.take(record)).unwrap();
    let options = Options::new(|| 7);
    let broker = Broker::start(options, log.clone(), restored, Timestamp(1000)).unwrap();
    (broker, log)
}

/// The log's own buffer stays small if it is waited for.
const DECLARED_AT_ONCE: usize = 500;

fn declare(broker: &Broker, log: &Log) {
    let user = broker.authenticate("guest", "guest", true).unwrap();
    let arrival = Arrival {
        connection: ConnectionId(1),
        user: &user.into(),
        mailbox: &Arc::default(),
        facts: Facts::default(),
        activity: &Arc::default(),
    };
    let principal = broker.connect(arrival, "/").unwrap();
    for number in 0..QUEUES {
        let spec = QueueSpec {
            name: &format!("queue-{number}"),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: Table::new(),
        };
        let declared = broker.declare_queue(&principal, spec, Timestamp(1000));
        declared.unwrap();
        if (number + 1) % DECLARED_AT_ONCE == 0 {
            log.wait(log.append(&mut storage::Batch::new()).lsn)
                .unwrap();
        }
    }
}

fn check(how: &str, before: usize) {
    let allocated = ALLOCATED.load(Ordering::Relaxed) - before;
    let each = allocated / QUEUES;
    assert!(each <= QUEUE_BYTES_MAX, "{how}, a queue takes {each} bytes");
    assert!(each > 0, "{how}, nothing was counted");
}
