//! Events on their way out of the node: to `amq.rabbitmq.event`, and to those who read `/api/leveret/events`.
//!
//! The broker tells of them under its locks, so they are only put into one ring here, which never waits. Whoever is more
//! than [`KEPT`] events behind has lost the oldest, and is told how many.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use leveret_broker::broker::Broker;
use leveret_broker::events::{Event, EventSink, PERFORMED_BY};
use leveret_broker::table::Value;
use leveret_management::event_line;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tracing::warn;

use crate::clock::Clock;

/// How many events wait for those who read them.
const KEPT: usize = 4096;
/// About as many bytes of lines are sent at once.
const PIECE_BYTES: usize = 16 * 1024;
/// Who does what no client and no operator has asked for.
const NODE: &str = "rmq-internal";

/// See the module's page.
#[derive(Debug)]
pub(crate) struct EventRing {
    clock: Clock,
    sender: Sender<Arc<Told>>,
    /// How many read the stream of events.
    readers: AtomicUsize,
}

/// An event and when it happened, ms since 1970.
#[derive(Debug)]
pub(crate) struct Told {
    event: Event,
    at_ms: u64,
}

impl EventRing {
    /// Takes the events of `broker` from now on.
    pub(crate) fn open(broker: &Broker, clock: Clock) -> Arc<Self> {
        let (sender, _) = channel(KEPT);
        let ring = Arc::new(Self {
            clock,
            sender,
            readers: AtomicUsize::new(0),
        });
        broker.set_event_sink(Arc::clone(&ring) as Arc<dyn EventSink>);
        ring
    }

    /// A reader of all events from now on.
    pub(crate) fn listen(self: &Arc<Self>) -> Listener {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Listener {
            events: self.sender.subscribe(),
            ring: Arc::clone(self),
        }
    }

    /// Publishes events, for as long as it is polled.
    pub(crate) async fn publish(self: Arc<Self>, broker: Arc<Broker>) {
        let mut events = self.sender.subscribe();
        loop {
            match events.recv().await {
                Ok(told) => broker.publish_event(&told.event, told.at_ms, self.clock.now()),
                Err(RecvError::Lagged(lost)) => {
                    warn!(lost, "events came faster than they could be published");
                }
                // The ring is ours: it does not close before.
                Err(RecvError::Closed) => return,
            }
        }
    }
}

impl EventSink for EventRing {
    fn take(&self, mut event: Event) {
        name_who(&mut event);
        let at_ms = self.clock.now().0;
        // Nobody may be reading.
        let _ = self.sender.send(Arc::new(Told { event, at_ms }));
    }

    fn has_listeners(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }
}

/// One who reads events.
#[derive(Debug)]
pub(crate) struct Listener {
    events: Receiver<Arc<Told>>,
    ring: Arc<EventRing>,
}

impl Listener {
    /// Waits for events; gives those there are, as lines of JSON. `None`: there will be no more.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        let mut lines = match self.events.recv().await {
            Ok(told) => event_line(&told.event, told.at_ms),
            Err(RecvError::Lagged(lost)) => lost_line(lost),
            Err(RecvError::Closed) => return None,
        };
        while lines.len() < PIECE_BYTES {
            match self.events.try_recv() {
                Ok(told) => lines.extend(event_line(&told.event, told.at_ms)),
                Err(TryRecvError::Lagged(lost)) => lines.extend(lost_line(lost)),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Some(lines)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ring.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lost_line(lost: u64) -> Vec<u8> {
    format!("{{\"event\":\"events.lost\",\"count\":{lost}}}\n").into_bytes()
}

thread_local! {
    /// Whose request this thread works on.
    static OPERATOR: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Works on a request in the name of `user`: events that name nobody else are theirs.
pub(crate) fn on_behalf_of<T>(user: Option<String>, work: impl FnOnce() -> T) -> T {
    /// Also when the work panics, or the thread's next request would go under a wrong name.
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            OPERATOR.set(None);
        }
    }
    OPERATOR.set(user);
    let _done = Done;
    work()
}

/// The broker names clients. Otherwise it was the operator whose request is worked on, or the node itself.
fn name_who(event: &mut Event) {
    let is_nobodys = |prefix| event.name.starts_with(prefix);
    let is_nobodys = ["user.authentication.", "alarm.", "connection.closed"]
        .into_iter()
        .any(is_nobodys);
    if is_nobodys || event.properties.get(PERFORMED_BY).is_some() {
        return;
    }
    let who = OPERATOR.with_borrow(|operator| {
        let name = operator.as_deref().unwrap_or(NODE);
        Value::String(name.as_bytes().into())
    });
    event.properties.insert(PERFORMED_BY, who);
}

#[cfg(test)]
mod tests {
    use leveret_broker::table::Table;

    use super::*;

    fn ring() -> Arc<EventRing> {
        let (sender, _) = channel(KEPT);
        Arc::new(EventRing {
            clock: Clock::start(),
            sender,
            readers: AtomicUsize::new(0),
        })
    }

    fn event(name: &'static str) -> Event {
        Event {
            name,
            properties: Table::default(),
        }
    }

    #[tokio::test]
    async fn who_reads_too_slowly_is_told_what_is_lost() {
        let ring = ring();
        assert!(!ring.has_listeners());
        let mut listener = ring.listen();
        assert!(ring.has_listeners());
        for _ in 0..KEPT + 10 {
            ring.take(event("queue.created"));
        }
        let lines = String::from_utf8(listener.next().await.unwrap()).unwrap();
        let first = lines.lines().next().unwrap();
        assert_eq!(first, r#"{"event":"events.lost","count":10}"#);
        assert!(lines.lines().nth(1).unwrap().contains("queue.created"));
        drop(listener);
        assert!(!ring.has_listeners());
    }

    #[test]
    fn events_name_who_did_it() {
        let check = |name, by: Option<&str>, operator: Option<&str>, expected: Option<&str>| {
            let mut event = event(name);
            if let Some(by) = by {
                event
                    .properties
                    .insert(PERFORMED_BY, Value::String(by.as_bytes().into()));
            }
            on_behalf_of(operator.map(str::to_owned), || name_who(&mut event));
            let found = event.properties.get(PERFORMED_BY);
            assert_eq!(found.and_then(Value::as_str), expected, "{name}");
        };
        check("user.created", None, Some("ann"), Some("ann"));
        check("user.created", None, None, Some("rmq-internal"));
        check("queue.created", Some("bob"), Some("ann"), Some("bob"));
        check("connection.closed", None, Some("ann"), None);
        check("alarm.set", None, None, None);
    }
}
