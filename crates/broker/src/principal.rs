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
