//! Who clients are and what they may do, where others than the catalogue know it: the chain of `auth_backends.*` (E01).
//!
//! Each entry has a backend that finds out who somebody is and one that decides what they may do; mostly it is one for
//! both. The first entry that knows the client decides. Read [`http`] (E07), [`cache`] (E09) and [`oauth2`] (E08) for the
//! backends.

use std::fmt;
use std::sync::{Arc, Weak};

use leveret_broker::authority::{Authority, Backends, Identity, LoggedIn, Login};
use leveret_broker::broker::Broker;
use tokio::runtime::Handle;
use tracing::info;

use crate::config::Effective;

pub(crate) mod cache;
pub(crate) mod http;
pub(crate) mod oauth2;
mod scope;

/// A backend that the configuration can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackendName {
    Internal,
    Http,
    Oauth2,
    /// The one that `auth_cache.cached_backend` names, with a memory.
    Cache,
}

/// One entry of `auth_backends`. Of two that are named one at least is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) authn: Option<BackendName>,
    pub(crate) authz: Option<BackendName>,
}

impl Entry {
    /// Who finds out who somebody is, and who decides what they may do. One that is missing is the other one, as in
    /// RabbitMQ.
    pub(crate) fn names(self) -> (BackendName, BackendName) {
        let either = self.authn.or(self.authz).unwrap_or(BackendName::Internal);
        (self.authn.unwrap_or(either), self.authz.unwrap_or(either))
    }
}

#[derive(Clone)]
enum Backend {
    Internal,
    Http(Arc<http::Backend>),
    Oauth2(Arc<oauth2::Backend>),
}

impl Backend {
    fn forget_answers(&self) {
        match self {
            Self::Http(backend) => backend.forget_answers(),
            Self::Internal | Self::Oauth2(_) => {}
        }
    }
}

/// The chain at work.
pub(crate) struct Chain(Arc<Inner>);

struct Inner {
    /// It owns the chain.
    broker: Weak<Broker>,
    /// Where the network is waited for.
    runtime: Handle,
    steps: Vec<(Backend, Backend)>,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").finish_non_exhaustive()
    }
}

/// Has the broker's logins decided as configured. With the catalogue alone there is nothing to do. To be called inside the
/// runtime that is going to wait for backends.
pub(crate) fn start(config: &Effective, broker: &Arc<Broker>) -> Result<(), String> {
    let entries: Vec<_> = config
        .auth
        .chain
        .values()
        .map(|entry| entry.names())
        .collect();
    let internal = (BackendName::Internal, BackendName::Internal);
    if entries.is_empty() || entries == [internal] {
        return Ok(());
    }
    let mut made = Made::default();
    let mut steps = Vec::new();
    for (authn, authz) in entries {
        steps.push((made.backend(authn, config)?, made.backend(authz, config)?));
    }
    broker.use_backends(Arc::new(Chain(Arc::new(Inner {
        broker: Arc::downgrade(broker),
        runtime: Handle::current(),
        steps,
    }))));
    Ok(())
}

/// Backends made so far: one of each, whatever names it.
#[derive(Default)]
struct Made {
    http: Option<Arc<http::Backend>>,
    cached: Option<Arc<http::Backend>>,
    oauth2: Option<Arc<oauth2::Backend>>,
}

impl Made {
    fn backend(&mut self, name: BackendName, config: &Effective) -> Result<Backend, String> {
        let auth = &config.auth;
        match name {
            BackendName::Internal => Ok(Backend::Internal),
            BackendName::Http => {
                let made = || http::Backend::new(&auth.http, None).map(Arc::new);
                get_or_make(&mut self.http, made).map(Backend::Http)
            }
            BackendName::Cache if auth.cache.cached == Some(BackendName::Http) => {
                let made = || http::Backend::new(&auth.http, Some(&auth.cache)).map(Arc::new);
                get_or_make(&mut self.cached, made).map(Backend::Http)
            }
            // The others ask nobody: there is nothing to keep.
            BackendName::Cache if auth.cache.cached == Some(BackendName::Oauth2) => {
                self.backend(BackendName::Oauth2, config)
            }
            BackendName::Cache => Ok(Backend::Internal),
            BackendName::Oauth2 => {
                let made = || oauth2::Backend::new(&auth.oauth2).map(Arc::new);
                get_or_make(&mut self.oauth2, made).map(Backend::Oauth2)
            }
        }
    }
}

fn get_or_make<T>(
    slot: &mut Option<Arc<T>>,
    make: impl FnOnce() -> Result<Arc<T>, String>,
) -> Result<Arc<T>, String> {
    let made = match slot.take() {
        Some(made) => made,
        None => make()?,
    };
    *slot = Some(Arc::clone(&made));
    Ok(made)
}

impl Backends for Chain {
    fn log_in(&self, login: Login, answer: LoggedIn) {
        let inner = Arc::clone(&self.0);
        self.0.runtime.spawn(async move {
            answer(inner.log_in(&login).await);
        });
    }

    fn forget_answers(&self) {
        for (authn, authz) in &self.0.steps {
            authn.forget_answers();
            authz.forget_answers();
        }
    }
}

impl Inner {
    async fn log_in(&self, login: &Login) -> Option<Identity> {
        for (authn, authz) in &self.steps {
            let Some(mut identity) = self.authenticate(authn, login).await else {
                continue;
            };
            match authz {
                // Tokens say both at once.
                Backend::Oauth2(_) => {}
                // Without a user of that name there can be no permissions either.
                Backend::Internal => {
                    let known = self.known(&identity.name, login)?;
                    identity.authority = known.authority;
                }
                Backend::Http(backend) => {
                    let authority = http::HttpAuthority::new(
                        Arc::clone(backend),
                        &identity,
                        login,
                        self.runtime.clone(),
                    );
                    identity.authority = Some(Arc::new(authority) as Arc<dyn Authority>);
                }
            }
            return Some(identity);
        }
        None
    }

    async fn authenticate(&self, backend: &Backend, login: &Login) -> Option<Identity> {
        match backend {
            Backend::Internal => self.internal(login),
            Backend::Http(backend) => match backend.user(login).await {
                Ok(identity) => identity,
                Err(error) => {
                    info!(user = login.user, %error, "HTTP authentication backend failed");
                    None
                }
            },
            Backend::Oauth2(backend) => {
                let token = login.password.as_deref()?;
                let found = oauth2::log_in(Arc::clone(backend), token, &self.runtime).await;
                found
                    .inspect_err(
                        |error| info!(user = login.user, %error, "not a token that counts"),
                    )
                    .ok()
            }
        }
    }

    fn internal(&self, login: &Login) -> Option<Identity> {
        let Some(password) = &login.password else {
            return self.known(&login.user, login);
        };
        let broker = self.broker.upgrade()?;
        let loopback = login.address.is_loopback();
        let user = broker.authenticate(&login.user, password, loopback)?;
        Some(user.into())
    }

    fn known(&self, name: &str, login: &Login) -> Option<Identity> {
        let broker = self.broker.upgrade()?;
        let user = broker.authenticated(name, login.address.is_loopback())?;
        Some(user.into())
    }
}
