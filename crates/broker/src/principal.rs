//! Who asks for something: a user in a vhost, on a connection.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::authority::{Authority, Identity};
use crate::ids::VhostId;
use crate::live_queue::ConnectionId;

/// See the module's page.
#[derive(Debug)]
pub struct Principal {
    pub user: Arc<str>,
    /// May publish with another user's `user-id` (tag `impersonator`).
    pub impersonator: bool,
    pub vhost: VhostId,
    pub vhost_name: Arc<str>,
    pub connection: ConnectionId,
    /// Who decides what they may do; `None`: the permissions of the catalogue.
    pub authority: Option<Arc<dyn Authority>>,
    /// The name made up for a queue whose declaration is still being decided.
    pub(crate) made_up: Mutex<Option<String>>,
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
            authority: None,
            made_up: Mutex::default(),
        }
    }

    /// Somebody in the same vhost.
    #[must_use]
    pub fn as_user(self, user: &Identity, connection: ConnectionId) -> Self {
        Self {
            user: user.name.clone(),
            impersonator: user.has_tag("impersonator"),
            connection,
            authority: user.authority.clone(),
            ..self
        }
    }

    pub(crate) fn is_node(&self) -> bool {
        self.connection == NODE
    }
}
