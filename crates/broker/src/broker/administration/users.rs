//! Users and what they may do (E02, E13 to E16).

use std::sync::Arc;

use super::{Outcome, Refused, check_name};
use crate::broker::{Broker, Topology};
use crate::catalogue::Command;
use crate::live_queue::{ConnectionId, Outbox};
use crate::mailbox::CancelReason;
use crate::time::Timestamp;
use crate::users::{PasswordHash, Pattern, Permissions, TopicPermissions, User, UserLimits};

/// What becomes of a user's password.
#[derive(Debug)]
pub enum Password<'a> {
    Plain(&'a str),
    Hash(PasswordHash),
    /// Nobody can log in with a password.
    Cleared,
    /// It stays what it is; of a new user it is [`Password::Cleared`].
    Kept,
}

/// What a permission may do as it is written.
#[derive(Debug, Clone, Copy)]
pub struct PermissionSpec<'a> {
    pub configure: &'a str,
    pub write: &'a str,
    pub read: &'a str,
}

impl Broker {
    /// A new user, or a known one with another password and other tags (`None`: those it has). Connections that are open
    /// stay open.
    pub fn put_user(
        &self,
        name: &str,
        password: Password<'_>,
        tags: Option<Vec<Box<str>>>,
    ) -> Outcome {
        check_name(name, "user")?;
        if let Password::Plain(password) = password {
            let rule = &self.options.password_rule;
            rule.check(password).map_err(Refused::Invalid)?;
        }
        let mut topology = self.topology.write();
        let known = topology.catalogue.user(name);
        let password = match password {
            Password::Plain(password) => PasswordHash::new(password, self.salt()),
            Password::Hash(hash) => hash,
            Password::Cleared => PasswordHash::none(),
            Password::Kept => known.map_or_else(PasswordHash::none, |known| known.password.clone()),
        };
        let tags = tags.or_else(|| known.map(|known| known.tags.clone()));
        let user = User {
            name: name.into(),
            password,
            tags: tags.unwrap_or_default(),
            limits: UserLimits::default(),
        };
        let (_, durable_at) = self.apply(&mut topology, Command::PutUser(user), None)?;
        Ok(durable_at)
    }

    /// Other tags for a user.
    pub fn set_user_tags(&self, name: &str, tags: Vec<Box<str>>) -> Outcome {
        self.user_info(name).ok_or_else(|| Refused::no_user(name))?;
        self.put_user(name, Password::Kept, Some(tags))
    }

    /// Another password for a user.
    pub fn change_password(&self, name: &str, password: Password<'_>) -> Outcome {
        self.user_info(name).ok_or_else(|| Refused::no_user(name))?;
        self.put_user(name, password, None)
    }

    /// Limits for a user; for connections and channels to come.
    pub fn set_user_limits(&self, name: &str, limits: UserLimits) -> Outcome {
        let user = name.into();
        self.administer(Command::PutUserLimits { user, limits })
    }

    /// Deletes a user with all its permissions. Its connections are closed.
    pub fn delete_user(&self, name: &str) -> Outcome {
        if self.user_info(name).is_none() {
            return Err(Refused::no_user(name));
        }
        let durable_at = self.administer(Command::DeleteUser { name: name.into() })?;
        self.close_connections_of_user(name, &format!("user '{name}' is deleted"));
        Ok(durable_at)
    }

    /// Permissions for a user in a vhost. Consumers that may no longer read are cancelled (H14).
    pub fn set_permissions(
        &self,
        user: &str,
        vhost: &str,
        spec: PermissionSpec<'_>,
        now: Timestamp,
    ) -> Outcome {
        let permissions = spec.checked()?;
        let (user, vhost) = self.known_names(user, vhost)?;
        self.change_access(&user, &vhost, now, |user, vhost| Command::PutPermissions {
            user,
            vhost,
            permissions,
        })
    }

    /// Takes a user's permissions in a vhost away, and with them the access to it: its connections there are closed.
    pub fn clear_permissions(&self, user: &str, vhost: &str, now: Timestamp) -> Outcome {
        let (user, vhost) = self.known_names(user, vhost)?;
        self.change_access(&user, &vhost, now, |user, vhost| {
            Command::DeletePermissions { user, vhost }
        })
    }

    /// Which keys a user may use with a topic exchange.
    pub fn set_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        patterns: (&str, &str),
    ) -> Outcome {
        let permissions = topic_permissions(patterns)?;
        let (user, vhost) = self.known_names(user, vhost)?;
        self.administer(Command::PutTopicPermissions {
            user,
            vhost,
            exchange: exchange.into(),
            permissions,
        })
    }

    /// Allows a user all keys again, with one exchange or with all of the vhost.
    pub fn clear_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Outcome {
        let (user, vhost) = self.known_names(user, vhost)?;
        self.administer(Command::DeleteTopicPermissions {
            user,
            vhost,
            exchange: exchange.map(Into::into),
        })
    }

    /// Four random octets for a new password.
    pub fn salt(&self) -> [u8; 4] {
        ((self.options.random)() as u32).to_be_bytes()
    }

    fn known_names(&self, user: &str, vhost: &str) -> Result<(Arc<str>, Arc<str>), Refused> {
        let topology = self.topology.read();
        let known = topology.catalogue.user(user);
        let known = known.ok_or_else(|| Refused::no_user(user))?;
        let at = topology.catalogue.vhost(vhost);
        let at = at.ok_or_else(|| Refused::no_vhost(vhost))?;
        Ok((known.name.clone(), at.name.clone()))
    }

    fn change_access(
        &self,
        user: &Arc<str>,
        vhost: &Arc<str>,
        now: Timestamp,
        command: impl FnOnce(Arc<str>, Arc<str>) -> Command,
    ) -> Outcome {
        let mut outbox = Outbox::default();
        let mut topology = self.topology.write();
        let command = command(user.clone(), vhost.clone());
        let (_, durable_at) = self.apply(&mut topology, command, None)?;
        self.enforce_access(&topology, user, vhost, now, &mut outbox);
        drop(topology);
        self.finish(&mut outbox, now);
        Ok(durable_at)
    }

    /// Ends what open connections do and may not do any more. What they ask for from now on is checked then.
    pub(super) fn enforce_access(
        &self,
        topology: &Topology,
        user: &Arc<str>,
        vhost: &Arc<str>,
        now: Timestamp,
        outbox: &mut Outbox,
    ) {
        let theirs = self.connections_of(user, vhost);
        let Some(permissions) = topology.catalogue.permissions(user, vhost) else {
            let reason = format!("access to vhost '{vhost}' refused for user '{user}'");
            self.close_where(&reason, |id, _| theirs.contains(&id));
            return;
        };
        let Some(vhost) = topology
            .catalogue
            .vhost(vhost)
            .filter(|_| !theirs.is_empty())
        else {
            return;
        };
        let queues = vhost.queue_ids();
        for queue in queues.filter_map(|id| topology.queues.get(&id)) {
            if !permissions.read.matches(queue.name()) {
                let is_theirs = |connection| theirs.contains(&connection);
                queue.cancel_consumers(is_theirs, CancelReason::AccessRefused, now, outbox);
            }
        }
    }

    fn connections_of(&self, user: &str, vhost: &str) -> Vec<ConnectionId> {
        let connections = self.connections.lock();
        let entries = connections.open.iter();
        let theirs = entries.filter(|(_, entry)| {
            let principal = &entry.principal;
            // Of others the catalogue does not decide.
            let is_ours = principal.authority.is_none();
            is_ours && &*principal.user == user && &*principal.vhost_name == vhost
        });
        theirs.map(|(id, _)| *id).collect()
    }
}

impl PermissionSpec<'_> {
    /// The permissions that it stands for.
    pub fn checked(self) -> Result<Permissions, Refused> {
        Ok(Permissions {
            configure: checked_pattern(self.configure)?,
            write: checked_pattern(self.write)?,
            read: checked_pattern(self.read)?,
        })
    }
}

/// The permissions that two patterns stand for.
pub fn topic_permissions((write, read): (&str, &str)) -> Result<TopicPermissions, Refused> {
    Ok(TopicPermissions {
        write: checked_topic_pattern(write)?,
        read: checked_topic_pattern(read)?,
    })
}

/// A pattern that is a regular expression. One that is none would match nothing, which nobody means.
fn checked_pattern(source: &str) -> Result<Pattern, Refused> {
    Pattern::checked(source).map_err(|error| Refused::Invalid(format!("invalid regexp: {error}")))
}

/// The same where `{username}` and `{vhost}` will be put in.
fn checked_topic_pattern(source: &str) -> Result<Pattern, Refused> {
    let filled = source.replace("{username}", "u").replace("{vhost}", "v");
    checked_pattern(&filled.replace("{client_id}", "c"))?;
    Ok(Pattern::new(source))
}
