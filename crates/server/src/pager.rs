//! The thread on which waiting messages leave the memory. It sleeps as long as there is room for them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use leveret_broker::broker::Broker;
use leveret_broker::paging::{Pager, Turn};
use tracing::{info, warn};

/// Until it looks again for something that can be paged out.
const NOTHING: Duration = Duration::from_millis(50);
/// Until it tries again to write, after the disk was full.
const NO_ROOM: Duration = Duration::from_secs(1);
/// Between two looks for room where pages were, while there is nothing else to do.
const ENOUGH: Duration = Duration::from_secs(1);

/// The thread, until it is told to stop.
pub(crate) struct PagerThread {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl PagerThread {
    pub(crate) fn start(broker: Arc<Broker>) -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopping);
        let thread = thread::Builder::new()
            .name("pager".to_owned())
            .spawn(move || {
                // A node without its pager would fill the memory, and what its queues are in the middle of is unknown.
                if catch_unwind(AssertUnwindSafe(|| run(Pager::new(broker), &told))).is_err() {
                    eprintln!("the pager has failed, stopping at once");
                    std::process::exit(1);
                }
            })?;
        Ok(Self { stopping, thread })
    }

    /// Lets it finish its turn, and waits for that.
    pub(crate) fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // Its panics end the process.
        let _ = self.thread.join();
    }
}

fn run(mut pager: Pager, stopping: &AtomicBool) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let context = Context::from_waker(&waker);
    let mut has_room = true;
    while !stopping.load(Ordering::Acquire) {
        let turn = pager.turn();
        if has_room != (turn != Turn::NoRoom) {
            has_room = !has_room;
            report(has_room);
        }
        // A failure of the log ends the process by itself.
        let Ok(can_clean) = pager.clean() else {
            return;
        };
        match turn {
            Turn::Failed => return,
            Turn::More => {}
            _ if can_clean => {}
            Turn::Enough => {
                if pager.poll_needed(&context).is_pending() {
                    thread::park_timeout(ENOUGH);
                }
            }
            Turn::Nothing => thread::park_timeout(NOTHING),
            Turn::NoRoom => thread::park_timeout(NO_ROOM),
        }
    }
}

fn report(has_room: bool) {
    if has_room {
        info!("messages are paged out again");
    } else {
        warn!("no room to page messages out: they stay in memory for now");
    }
}

/// Wakes a thread that has parked itself.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
