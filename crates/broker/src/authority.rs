//! Decisions about clients that others than the catalogue take: who somebody is ([`Backends`]) and what they may do
//! ([`Authority`]). Both may have to ask over a network, and nobody waits here for that: an answer to a login goes to the
//! connection's mailbox, and a question that can't be answered yet is put again when the mailbox is poked.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::error::ResourceKind;
use crate::mailbox::Mailbox;
use crate::time::Timestamp;
use crate::users::{Access, User};

/// Somebody who has logged in.
#[derive(Debug, Clone)]
pub struct Identity {
    pub name: Arc<str>,
    /// `administrator`, `monitoring`, …, `impersonator`.
    pub tags: Vec<Box<str>>,
    /// Who decides what they may do; `None`: the permissions of the catalogue.
    pub authority: Option<Arc<dyn Authority>>,
    /// What they have shown counts no longer than this (C17).
    pub expires: Option<Timestamp>,
}

impl Identity {
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| &**own == tag)
    }
}

impl From<User> for Identity {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            tags: user.tags,
            authority: None,
            expires: None,
        }
    }
}

/// Decides what one client may do.
pub trait Authority: fmt::Debug + Send + Sync {
    /// Asked again and again; [`Verdict::Wait`] has the client's mailbox poked when there is an answer.
    fn decide(&self, question: Question<'_>) -> Verdict;

    /// What the client may be told of why the last answer was no: `backend: why`.
    fn reason(&self) -> Option<String> {
        None
    }

    /// The client shows something newer (C16). The answer may come later and from another thread. One that knows nothing
    /// of secrets that end has no objection.
    fn renew(self: Arc<Self>, _secret: String, answer: Renewed) {
        answer(Ok(None));
    }
}

/// The end of a refusal's text: who has refused and why, where clients may know.
pub(crate) fn reason(authority: Option<&Arc<dyn Authority>>) -> String {
    let reason = authority.and_then(|authority| authority.reason());
    reason.map_or_else(String::new, |reason| format!(" by backend {reason}"))
}

/// Takes until when the new secret counts, if it ends; or that it was refused.
pub type Renewed = Box<dyn FnOnce(Result<Option<Timestamp>, Refused>) + Send>;

/// No, and the operator has been told why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question<'a> {
    /// Use a vhost at all.
    Vhost { vhost: &'a str },
    /// The default exchange is called `amq.default`.
    Resource {
        vhost: &'a str,
        kind: ResourceKind,
        name: &'a str,
        access: Access,
    },
    /// Use a key with a topic exchange, to publish (`Write`) or to bind (`Read`).
    Topic {
        vhost: &'a str,
        exchange: &'a str,
        access: Access,
        key: &'a str,
    },
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Deny,
    /// Not known yet.
    Wait,
}

/// Somebody who wants to log in.
pub struct Login {
    pub user: String,
    /// `None`: their identity is known otherwise, as by a certificate.
    pub password: Option<String>,
    pub address: IpAddr,
    /// Poked for answers to [`Question`]s.
    pub mailbox: Arc<Mailbox>,
}

/// Without the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Finds out who somebody is.
pub trait Backends: fmt::Debug + Send + Sync {
    /// The answer may come later and from another thread.
    fn log_in(&self, login: Login, answer: LoggedIn);

    /// Forgets answers that are kept, if any are.
    fn forget_answers(&self) {}
}

/// Takes who it is; `None`: they are not let in, and the operator has been told why.
pub type LoggedIn = Box<dyn FnOnce(Option<Identity>) + Send>;
