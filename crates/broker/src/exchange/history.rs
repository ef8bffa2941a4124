//! What an `x-recent-history` exchange remembers: its last messages, for the next destination that is bound to it.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::RouterError;
use crate::message::Message;
use crate::table::{self, Table, Value, ValueRef};

const LENGTH: &str = "x-recent-history-length";
const NO_STORE: &str = "x-recent-history-no-store";
const LENGTH_DEFAULT: usize = 20;

/// The newest message at the back. Publishing only reads a router otherwise, hence the lock of its own.
#[derive(Debug)]
pub(super) struct History {
    length_max: usize,
    messages: Mutex<VecDeque<Message>>,
}

impl History {
    pub(super) fn new(arguments: &Table) -> Result<Self, RouterError> {
        let length_max = match arguments.get(LENGTH) {
            None => LENGTH_DEFAULT,
            Some(value) => length(value).ok_or_else(|| RouterError::history_length(value))?,
        };
        Ok(Self {
            length_max,
            messages: Mutex::default(),
        })
    }

    /// Keeps `message`, unless its headers forbid it, and forgets the oldest one when there are too many.
    pub(super) fn record(&self, message: &Message) {
        let no_store = table::find(super::headers_of(message.properties()), NO_STORE);
        if matches!(no_store, Ok(Some(ValueRef::Bool(true)))) {
            return;
        }
        let mut messages = self.messages.lock();
        if messages.len() == self.length_max {
            messages.pop_front();
        }
        let mut message = message.clone();
        message.compact();
        messages.push_back(message);
    }

    /// Oldest first: the order in which they were published.
    pub(super) fn messages(&self) -> Vec<Message> {
        self.messages.lock().iter().cloned().collect()
    }
}

fn length(value: &Value) -> Option<usize> {
    let length = usize::try_from(value.as_i64()?).ok()?;
    (length > 0).then_some(length)
}
