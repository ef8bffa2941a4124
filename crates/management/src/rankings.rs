//! What very many queues are sorted by, remembered for a moment.
//!
//! Whoever watches a node with a hundred thousand queues asks for the first of them by some column, over and over, and
//! so do others. To look at each queue for each of them would cost more than all else the API does. The order of long lists
//! is therefore up to [`SAMPLE_PERIOD_MS`] old, as figures of RabbitMQ's management are; what is shown of a queue is not.

use std::sync::Arc;

use leveret_broker::live_queue::LiveQueue;
use leveret_broker::time::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;

use crate::sampler::SAMPLE_PERIOD_MS;

/// Shorter lists are in the order of this moment.
pub(crate) const LONG: usize = 2_000;

/// Columns that are remembered, at most. One takes 32 bytes for each queue.
const COLUMNS_MAX: usize = 4;

type Queues = Arc<[Arc<LiveQueue>]>;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Rankings(Mutex<Vec<Ranking>>);

#[derive(Debug)]
struct Ranking {
    path: Vec<String>,
    queues: Queues,
    /// By the places of the queues.
    keys: Arc<[Value]>,
    found_at: Timestamp,
}

impl Rankings {
    /// The values of the column at `path` of all queues, which `find` knows. Who asks at the same time waits for them.
    pub(crate) fn keys(
        &self,
        path: &[String],
        queues: &Queues,
        now: Timestamp,
        find: impl Fn(&Arc<LiveQueue>) -> Value,
    ) -> Arc<[Value]> {
        let mut known = self.0.lock();
        known.retain(|it| it.is_fresh(now));
        if let Some(found) = known.iter().find(|it| it.is_of(path, queues)) {
            return found.keys.clone();
        }
        known.retain(|it| it.path != path);
        if known.len() == COLUMNS_MAX {
            known.remove(0);
        }
        let keys: Arc<[Value]> = queues.iter().map(find).collect();
        known.push(Ranking {
            path: path.to_vec(),
            queues: queues.clone(),
            keys: keys.clone(),
            found_at: now,
        });
        keys
    }

    /// Lets go of what is too old.
    pub(crate) fn tidy(&self, now: Timestamp) {
        self.0.lock().retain(|it| it.is_fresh(now));
    }
}

impl Ranking {
    /// A clock that was set back makes it old, too.
    fn is_fresh(&self, now: Timestamp) -> bool {
        now.0.wrapping_sub(self.found_at.0) < SAMPLE_PERIOD_MS
    }

    fn is_of(&self, path: &[String], queues: &Queues) -> bool {
        self.path == path && Arc::ptr_eq(&self.queues, queues)
    }
}
