//! What happens in the node, told to whoever wants to know: the names and properties are those of RabbitMQ's event
//! exchange plugin (E19).
//!
//! The broker only tells. `amq.rabbitmq.event`, a stream of lines or a metric is made of it by the [`EventSink`] that the
//! server sets. Without one, or while nobody listens, an event costs a look at an empty place. `events/changes.rs` is what
//! changes of definitions tell, `events/exchange.rs` how events are published.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::live_queue::ConnectionId;
use crate::table::{Table, Value};

mod changes;
mod exchange;
mod term;

pub(crate) use changes::Change;
pub use exchange::EXCHANGE;

/// Something that has happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The routing key: `queue.created`.
    pub name: &'static str,
    /// The headers.
    pub properties: Table,
}

/// Who wants to know.
pub trait EventSink: fmt::Debug + Send + Sync {
    /// Takes an event. It is called while the broker holds locks: it must neither wait nor call the broker, and has to
    /// say for itself what happens to more events than it can keep.
    fn take(&self, event: Event);

    /// Whether anybody listens, beside the queues that are bound to `amq.rabbitmq.event`.
    fn has_listeners(&self) -> bool;
}

/// The place of the sink.
#[derive(Debug, Default)]
pub(crate) struct Events {
    sink: OnceLock<Arc<dyn EventSink>>,
    /// Something is bound to the event exchange.
    is_bound: AtomicBool,
}

impl Events {
    pub(crate) fn set(&self, sink: Arc<dyn EventSink>) -> bool {
        self.sink.set(sink).is_ok()
    }

    /// Who wants to know of what happens now.
    pub(crate) fn sink(&self) -> Option<&Arc<dyn EventSink>> {
        let sink = self.sink.get()?;
        let is_wanted = self.is_bound() || sink.has_listeners();
        is_wanted.then_some(sink)
    }

    /// Whether something is bound to the event exchange.
    pub(crate) fn is_bound(&self) -> bool {
        self.is_bound.load(Ordering::Relaxed)
    }

    pub(crate) fn set_bound(&self, is_bound: bool) {
        self.is_bound.store(is_bound, Ordering::Relaxed);
    }

    /// Tells of an event, if anybody wants to know.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(sink) = self.sink() {
            sink.take(event());
        }
    }
}

impl Event {
    pub(crate) fn new(
        name: &'static str,
        properties: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Self {
        let properties = properties.into_iter();
        let properties = properties.map(|(name, value)| (Box::from(name), value));
        Self {
            name,
            properties: properties.collect(),
        }
    }

    fn done_by(&mut self, user: Option<&str>) {
        if let Some(user) = user {
            self.properties.insert(PERFORMED_BY, text(user));
        }
    }
}

/// Who brought it about.
pub const PERFORMED_BY: &str = "user_who_performed_action";

/// Connections and channels as events refer to them: what RabbitMQ's process identifiers are for.
pub(crate) fn connection_pid(connection: ConnectionId) -> Value {
    channel_pid(connection, 0)
}

pub(crate) fn channel_pid(ConnectionId(connection): ConnectionId, channel: u16) -> Value {
    text(&format!("<0.{connection}.{channel}>"))
}

pub(crate) fn text(text: &str) -> Value {
    Value::String(text.as_bytes().into())
}
