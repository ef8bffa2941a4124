//! What one client may do, where that has to be asked for over a network. A permission that was granted counts for the
//! life of the connection, as in RabbitMQ; a refusal is asked for again.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use leveret_broker::authority::{Authority, Identity, Login, Question, Verdict};
use leveret_broker::error::ResourceKind;
use leveret_broker::mailbox::Mailbox;
use leveret_broker::users::Access;
use parking_lot::Mutex;
use tokio::runtime::Handle;

/// Permissions that a connection remembers. RabbitMQ remembers 12 for each channel; who asks for more than this asks anew.
const REMEMBERED_MAX: usize = 1024;

/// A [`Question`] that lives as long as its answer is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Asked {
    Vhost {
        vhost: String,
    },
    Resource {
        vhost: String,
        kind: ResourceKind,
        name: String,
        access: Access,
    },
    Topic {
        vhost: String,
        exchange: String,
        access: Access,
        key: String,
    },
}

impl From<&Question<'_>> for Asked {
    fn from(question: &Question<'_>) -> Self {
        match *question {
            Question::Vhost { vhost } => Self::Vhost {
                vhost: vhost.to_owned(),
            },
            Question::Resource {
                vhost,
                kind,
                name,
                access,
            } => Self::Resource {
                vhost: vhost.to_owned(),
                kind,
                name: name.to_owned(),
                access,
            },
            Question::Topic {
                vhost,
                exchange,
                access,
                key,
            } => Self::Topic {
                vhost: vhost.to_owned(),
                exchange: exchange.to_owned(),
                access,
                key: key.to_owned(),
            },
        }
    }
}

/// What somebody far away has decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Allow,
    /// Perhaps with what the client may be told of the reason.
    Deny(Option<String>),
}

impl From<bool> for Decision {
    fn from(is_allowed: bool) -> Self {
        if is_allowed {
            Self::Allow
        } else {
            Self::Deny(None)
        }
    }
}

/// Knows what one client may do. Tells the operator of what fails, which is a no.
pub(super) trait Decides: Send + Sync + 'static {
    fn decide(&self, asked: &Asked) -> impl Future<Output = Decision> + Send;
}

/// See the module's page.
pub(super) struct RemoteAuthority<D> {
    user: Arc<str>,
    decides: Arc<D>,
    mailbox: Arc<Mailbox>,
    runtime: Handle,
    answers: Arc<Mutex<Answers>>,
}

#[derive(Default)]
struct Answers {
    by_question: HashMap<Asked, Answer>,
    /// What the client may be told of the last refusal.
    reason: Option<String>,
}

enum Answer {
    /// On its way.
    Awaited,
    Known(Decision),
}

impl<D> fmt::Debug for RemoteAuthority<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAuthority")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl<D: Decides> RemoteAuthority<D> {
    pub(super) fn new(decides: D, identity: &Identity, login: &Login, runtime: Handle) -> Self {
        Self {
            user: identity.name.clone(),
            decides: Arc::new(decides),
            mailbox: login.mailbox.clone(),
            runtime,
            answers: Arc::default(),
        }
    }

    /// Asks, and pokes the mailbox when it is known.
    fn ask(&self, asked: Asked) {
        let decides = Arc::clone(&self.decides);
        let answers = Arc::clone(&self.answers);
        let mailbox = Arc::clone(&self.mailbox);
        self.runtime.spawn(async move {
            let decision = decides.decide(&asked).await;
            let mut answers = answers.lock();
            answers.by_question.insert(asked, Answer::Known(decision));
            drop(answers);
            mailbox.poke();
        });
    }
}

impl<D: Decides> Authority for RemoteAuthority<D> {
    fn decide(&self, question: Question<'_>) -> Verdict {
        let asked = Asked::from(&question);
        let mut answers = self.answers.lock();
        match answers.by_question.get(&asked) {
            Some(Answer::Known(Decision::Allow)) => Verdict::Allow,
            Some(Answer::Known(Decision::Deny(reason))) => {
                answers.reason = reason.clone();
                answers.by_question.remove(&asked);
                Verdict::Deny
            }
            Some(Answer::Awaited) => Verdict::Wait,
            None => {
                let known = &mut answers.by_question;
                if known.len() >= REMEMBERED_MAX {
                    known.retain(|_, answer| matches!(answer, Answer::Awaited));
                }
                known.insert(asked.clone(), Answer::Awaited);
                drop(answers);
                self.ask(asked);
                Verdict::Wait
            }
        }
    }

    fn reason(&self) -> Option<String> {
        self.answers.lock().reason.take()
    }
}
