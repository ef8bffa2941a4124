//! Who clients are and what they may do, where others than the catalogue know it: the chain of `auth_backends.*` (E01).
//!
//! Each entry has a backend that finds out who somebody is and one that decides what they may do; mostly it is one for
//! both. The first entry that knows the client decides. Read [`http`] (E07), [`ldap`] (E06), [`cache`] (E09) and [`oauth2`]
//! (E08) for the backends, `remote` for what those have in common that are asked again and again.

use std::fmt;
use std::sync::{Arc, Weak};

use leveret_broker::authority::{Authority, Backends, Identity, LoggedIn, Login};
use leveret_broker::broker::Broker;
use tokio::runtime::Handle;
use tracing::info;

use crate::config::Effective;
use remote::{Decides, RemoteAuthority};

pub(crate) mod cache;
pub(crate) mod http;
pub(crate) mod ldap;
pub(crate) mod oauth2;
mod remote;

/// A backend that the configuration can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackendName {
    Internal,
    /// The same for clients of this machine; others it does not know.
    InternalLoopback,
    /// Knows nobody: what it would allow is for clients inside of RabbitMQ.
    Dummy,
    Http,
    Ldap,
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
    InternalLoopback,
    Dummy,
    Http(Arc<http::Backend>),
    Ldap(Arc<ldap::Backend>),
    Oauth2(Arc<oauth2::Backend>),
}

impl Backend {
    fn forget_answers(&self) {
        match self {
            Self::Http(backend) => backend.forget_answers(),
            Self::Ldap(backend) => backend.forget_answers(),
            Self::Internal | Self::InternalLoopback | Self::Dummy | Self::Oauth2(_) => {}
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
    cached_http: Option<Arc<http::Backend>>,
    ldap: Option<Arc<ldap::Backend>>,
    cached_ldap: Option<Arc<ldap::Backend>>,
    oauth2: Option<Arc<oauth2::Backend>>,
}

impl Made {
    fn backend(&mut self, name: BackendName, config: &Effective) -> Result<Backend, String> {
        let auth = &config.auth;
        match name {
            BackendName::Internal => Ok(Backend::Internal),
            BackendName::InternalLoopback => Ok(Backend::InternalLoopback),
            BackendName::Dummy => Ok(Backend::Dummy),
            BackendName::Http => {
                let made = || http::Backend::new(&auth.http, None).map(Arc::new);
                get_or_make(&mut self.http, made).map(Backend::Http)
            }
            BackendName::Cache if auth.cache.cached == Some(BackendName::Http) => {
                let made = || http::Backend::new(&auth.http, Some(&auth.cache)).map(Arc::new);
                get_or_make(&mut self.cached_http, made).map(Backend::Http)
            }
            BackendName::Ldap => {
                let made = || ldap::Backend::new(&auth.ldap, None).map(Arc::new);
                get_or_make(&mut self.ldap, made).map(Backend::Ldap)
            }
            BackendName::Cache if auth.cache.cached == Some(BackendName::Ldap) => {
                let made = || ldap::Backend::new(&auth.ldap, Some(&auth.cache)).map(Arc::new);
                get_or_make(&mut self.cached_ldap, made).map(Backend::Ldap)
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
            if let Some(identity) = self.authenticate(authn, authz, login).await {
                return self.authorize(authz, identity, login).await;
            }
        }
        None
    }

    async fn authenticate(
        &self,
        authn: &Backend,
        authz: &Backend,
        login: &Login,
    ) -> Option<Identity> {
        let failed = |error: String| info!(user = login.user, error, "log-in failed");
        match authn {
            Backend::Internal => self.internal(login),
            Backend::InternalLoopback if login.address.is_loopback() => self.internal(login),
            Backend::InternalLoopback | Backend::Dummy => None,
            Backend::Http(backend) => backend.user(login).await.map_err(failed).ok()?,
            Backend::Ldap(backend) => {
                let known = backend.user(login).await.map_err(failed).ok()??;
                let mut identity = plain(&login.user, known.tags.clone());
                if matches!(authz, Backend::Ldap(_)) {
                    self.ask_ldap(backend, known, &mut identity, login);
                }
                Some(identity)
            }
            Backend::Oauth2(backend) => {
                let token = login.password.as_deref()?;
                let found = oauth2::log_in(Arc::clone(backend), token, &self.runtime).await;
                found.map_err(failed).ok()
            }
        }
    }

    /// Has the second backend of an entry decide what somebody may do. What tags it knows of count as well.
    async fn authorize(
        &self,
        authz: &Backend,
        mut identity: Identity,
        login: &Login,
    ) -> Option<Identity> {
        match authz {
            // Tokens say both at once.
            Backend::Oauth2(_) => {}
            Backend::Dummy => return None,
            // Without a user of that name there can be no permissions either.
            Backend::Internal | Backend::InternalLoopback => {
                let known = self.known(&identity.name, login)?;
                identity.authority = known.authority;
                add_tags(&mut identity, known.tags);
            }
            Backend::Http(backend) => {
                let decider = http::Decider::new(Arc::clone(backend), &identity, login);
                self.ask_remote(decider, &mut identity, login);
            }
            Backend::Ldap(_) if identity.authority.is_some() => {}
            Backend::Ldap(backend) => {
                let known = backend.user(login).await;
                let failed = |error| info!(user = login.user, error, "log-in failed");
                let known = known.map_err(failed).ok()??;
                add_tags(&mut identity, known.tags.clone());
                self.ask_ldap(backend, known, &mut identity, login);
            }
        }
        Some(identity)
    }

    fn ask_ldap(
        &self,
        backend: &Arc<ldap::Backend>,
        known: ldap::Known,
        identity: &mut Identity,
        login: &Login,
    ) {
        let decider = ldap::Decider::new(Arc::clone(backend), known, identity, login);
        self.ask_remote(decider, identity, login);
    }

    fn ask_remote(&self, decider: impl Decides, identity: &mut Identity, login: &Login) {
        let authority = RemoteAuthority::new(decider, identity, login, self.runtime.clone());
        identity.authority = Some(Arc::new(authority) as Arc<dyn Authority>);
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

fn plain(name: &str, tags: Vec<Box<str>>) -> Identity {
    Identity {
        name: name.into(),
        tags,
        authority: None,
        expires: None,
    }
}

fn add_tags(identity: &mut Identity, tags: Vec<Box<str>>) {
    for tag in tags {
        if !identity.has_tag(&tag) {
            identity.tags.push(tag);
        }
    }
}
