//! Direct exchanges: the routing key is the binding's key, octet by octet.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::Destination;
use super::set::IndexedSet;

#[derive(Debug, Default)]
pub(super) struct Direct {
    by_key: HashMap<Box<[u8]>, IndexedSet<Destination>, FixedState>,
}

impl Direct {
    pub(super) fn insert(&mut self, key: &[u8], destination: Destination) {
        self.by_key
            .entry(key.into())
            .or_default()
            .insert(destination);
    }

    pub(super) fn remove(&mut self, key: &[u8], destination: Destination) {
        let Some(destinations) = self.by_key.get_mut(key) else {
            return;
        };
        destinations.remove(destination);
        if destinations.is_empty() {
            self.by_key.remove(key);
        }
    }

    pub(super) fn route(&self, key: &[u8], out: &mut Vec<Destination>) {
        if let Some(destinations) = self.by_key.get(key) {
            out.extend_from_slice(destinations.as_slice());
        }
    }
}
