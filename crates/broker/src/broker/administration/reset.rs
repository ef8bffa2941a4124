//! A node without a past.

use super::Outcome;
use crate::broker::Broker;
use crate::catalogue::VhostMetadata;

impl Broker {
    /// Drops all definitions and messages and makes the first ones again, as a blank node does. Not all at once: a node that
    /// is killed meanwhile comes back with what was left.
    pub fn reset(&self) -> Outcome {
        for vhost in self.list_vhosts() {
            if vhost.metadata.protected_from_deletion {
                let metadata = VhostMetadata {
                    protected_from_deletion: false,
                    ..vhost.metadata.clone()
                };
                self.put_vhost(&vhost.name, metadata)?;
            }
            self.delete_vhost(&vhost.name)?;
        }
        for user in self.list_users() {
            self.delete_user(&user.name)?;
        }
        for (name, _) in self.stored_global_parameters() {
            self.clear_global_parameter(&name)?;
        }
        Ok(self.define_defaults()?)
    }
}
