//! Who asks for something: a user in a vhost, on a connection.

use std::sync::Arc;

use crate::ids::VhostId;
use crate::live_queue::ConnectionId;

/// See the module's page.
#[derive(Debug, Clone)]
pub struct Principal {
    pub user: Arc<str>,
    /// May publish with another user's `user-id` (tag `impersonator`).
    pub impersonator: bool,
    pub vhost: VhostId,
    pub vhost_name: Arc<str>,
    pub connection: ConnectionId,
}

/// The connection of the node itself: no client is given this number.
const NODE: ConnectionId = ConnectionId(0);

impl Principal {
    /// The node itself in a vhost, which may do everything: for definitions that are taken in as they are.
    pub(crate) fn node(vhost: VhostId, vhost_name: Arc<str>) -> Self {
        Self {
            user: "rmq-internal".into(),
            impersonator: true,
            vhost,
            vhost_name,
            connection: NODE,
        }
    }

    pub(crate) fn is_node(&self) -> bool {
        self.connection == NODE
    }
}
