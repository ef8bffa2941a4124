//! Why the broker refuses something. Each variant is one of AMQP 0-9-1's reply codes, which RabbitMQ uses on every
//! protocol; the door that called decides what the scope of the refusal is. The texts are RabbitMQ's.

use std::fmt;

/// A refused operation: a reply code's name and the explanation that follows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 320: the node takes no clients just now.
    #[error("{0}")]
    ConnectionForced(String),
    /// 403: no permission, or a name reserved to the broker.
    #[error("{0}")]
    AccessRefused(String),
    /// 404: no such vhost object.
    #[error("{0}")]
    NotFound(String),
    /// 405: an exclusive queue of another connection.
    #[error("{0}")]
    ResourceLocked(String),
    /// 406: arguments or state do not allow it.
    #[error("{0}")]
    PreconditionFailed(String),
    /// 530: the client may not do this at all.
    #[error("{0}")]
    NotAllowed(String),
    /// 540: RabbitMQ has no such feature.
    #[error("{0}")]
    NotImplemented(String),
    /// Who decides has not answered yet ([`crate::authority`]): to be asked for again when the mailbox is poked. 403 where
    /// that can't be.
    #[error("access to {0} is still being decided")]
    Undecided(String),
    /// 541: denied by configuration in a way that RabbitMQ reports as an internal error.
    #[error("{0}")]
    InternalError(String),
}

/// The result of an operation that the broker may refuse.
pub type Result<T> = std::result::Result<T, Error>;

/// `queue 'q' in vhost 'v'`, as RabbitMQ names a resource in its texts.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    pub kind: ResourceKind,
    pub name: &'a str,
    pub vhost: &'a str,
}

/// What a [`Resource`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    Exchange,
    Queue,
}

impl<'a> Resource<'a> {
    pub fn queue(name: &'a str, vhost: &'a str) -> Self {
        Self {
            kind: ResourceKind::Queue,
            name,
            vhost,
        }
    }

    pub fn exchange(name: &'a str, vhost: &'a str) -> Self {
        Self {
            kind: ResourceKind::Exchange,
            name,
            vhost,
        }
    }

    /// 404 for it.
    pub fn not_found(self) -> Error {
        let Self { kind, name, vhost } = self;
        Error::NotFound(format!("no {kind} '{name}' in vhost '{vhost}'"))
    }
}

impl ResourceKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}' in vhost '{}'", self.kind, self.name, self.vhost)
    }
}
