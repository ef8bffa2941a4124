//! The LDAP backend (E06): a client is who they say if an LDAP server lets them bind with their password, and may do what
//! queries on the server's objects say. Read [`query`] (what can be asked), `names` (how names get into it), `evaluate`
//! (what it comes to) and `directory` (the server).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use leveret_broker::authority::{Identity, Login};
use tokio::time::timeout;
use tracing::{info, warn};

use super::cache::{self, Cache};
use super::remote::{Asked, Decides, Decision};
use crate::config::effective::Numbered;
use crate::tls::outgoing::ClientTls;
#[cfg(feature = "ldap")]
use directory::{Servers, Session};
use evaluate::{Asker, Directory, Search, is_true};
use names::Variables;
#[cfg(not(feature = "ldap"))]
use no_directory::{Servers, Session};
use query::{Query, Scope};

#[cfg(feature = "ldap")]
mod directory;
mod evaluate;
mod names;
#[cfg(not(feature = "ldap"))]
mod no_directory;
pub(crate) mod query;

/// `auth_ldap.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) servers: Numbered<String>,
    pub(crate) port: u16,
    /// Connections at the same time.
    pub(crate) connections_max: usize,
    /// For each step that the server has a part in; `None`: no limit.
    pub(crate) timeout_ms: Option<u64>,
    /// A connection that was not used for so long is not used again; `None`: it always is.
    pub(crate) idle_timeout_ms: Option<u64>,
    pub(crate) use_ssl: bool,
    pub(crate) use_starttls: bool,
    pub(crate) tls: ClientTls,
    pub(crate) user_bind_pattern: Option<String>,
    pub(crate) user_dn_pattern: String,
    /// Users are found by it, where their names say nothing of where they are.
    pub(crate) dn_lookup_attribute: Option<String>,
    pub(crate) dn_lookup_base: Option<String>,
    pub(crate) dn_lookup_bind: Bind,
    /// For queries.
    pub(crate) other_bind: Bind,
    pub(crate) group_lookup_base: Option<String>,
    pub(crate) queries: Queries,
}

/// `auth_ldap.queries.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queries {
    pub(crate) vhost_access: Query,
    pub(crate) resource_access: Query,
    pub(crate) topic_access: Query,
    pub(crate) tags: Vec<(String, Query)>,
}

/// As whom the server is talked to.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Bind {
    /// `anon`, where `as_user` is not meant.
    pub(crate) anonymous: bool,
    /// With a password these count, whatever else is said.
    pub(crate) user_dn: Option<String>,
    pub(crate) password: Option<String>,
}

/// Without the password.
impl fmt::Debug for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bind")
            .field("anonymous", &self.anonymous)
            .field("user_dn", &self.user_dn)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            servers: Numbered::default(),
            port: 389,
            connections_max: 64,
            timeout_ms: None,
            idle_timeout_ms: Some(300_000),
            use_ssl: false,
            use_starttls: false,
            tls: ClientTls::default(),
            user_bind_pattern: None,
            user_dn_pattern: "${username}".to_owned(),
            dn_lookup_attribute: None,
            dn_lookup_base: None,
            dn_lookup_bind: Bind::default(),
            other_bind: Bind::default(),
            group_lookup_base: None,
            queries: Queries {
                vhost_access: Query::Constant(true),
                resource_access: Query::Constant(true),
                topic_access: Query::Constant(true),
                tags: vec![("administrator".to_owned(), Query::Constant(false))],
            },
        }
    }
}

/// A name and password for the server.
#[cfg_attr(
    not(feature = "ldap"),
    expect(dead_code, reason = "there is nobody to tell")
)]
#[derive(Clone)]
enum Credentials {
    Anonymous,
    Simple { dn: String, password: String },
}

impl Bind {
    /// `None`: as the client itself.
    fn credentials(&self) -> Option<Credentials> {
        match (&self.user_dn, &self.password) {
            (Some(dn), Some(password)) => Some(Credentials::Simple {
                dn: dn.clone(),
                password: password.clone(),
            }),
            _ => self.anonymous.then_some(Credentials::Anonymous),
        }
    }
}

/// Why somebody can't be bound.
#[cfg_attr(
    not(feature = "ldap"),
    expect(dead_code, reason = "there is nobody to tell")
)]
enum Unbound {
    /// The server knows no such name and password.
    Refused,
    Failed(String),
}

/// Somebody the server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    dn: String,
    pub(super) tags: Vec<Box<str>>,
}

/// See the module's page.
pub(super) struct Backend {
    options: Options,
    servers: Servers,
    logins: Option<Cache<Option<Known>>>,
    decisions: Option<Cache<bool>>,
}

impl Backend {
    pub(super) fn new(options: &Options, cache: Option<&cache::Options>) -> Result<Self, String> {
        Ok(Self {
            servers: Servers::new(options)?,
            options: options.clone(),
            logins: cache.map(Cache::new),
            decisions: cache.map(Cache::new),
        })
    }

    pub(super) fn forget_answers(&self) {
        self.logins.iter().for_each(Cache::clear);
        self.decisions.iter().for_each(Cache::clear);
    }

    /// Whom the server knows by this name and password; without a password somebody else has made sure of them.
    pub(super) async fn user(&self, login: &Login) -> Result<Option<Known>, String> {
        let (user, password) = (login.user.as_str(), login.password.as_deref());
        let Some(cache) = &self.logins else {
            return self.find(user, password).await;
        };
        let asked = format!("{user}\0{password:?}");
        let now = Instant::now();
        if let Some(known) = cache.find(&asked, now) {
            return Ok(known);
        }
        let known = self.find(user, password).await?;
        cache.keep(&asked, known.clone(), known.is_none(), now);
        Ok(known)
    }

    async fn find(&self, user: &str, password: Option<&str>) -> Result<Option<Known>, String> {
        let variables = Variables::of_user(user);
        let (credentials, looked_up) = match password {
            // The server would take it for somebody who does not say who they are (RFC 4513, 5.1.2).
            Some("") => return Ok(None),
            Some(password) => self.bind_of(user, password, &variables).await?,
            None => {
                let other = self.options.other_bind.credentials();
                let other = other.ok_or("there is no password to bind with for queries")?;
                (other, None)
            }
        };
        let mut session = match self.bind(&credentials).await {
            Ok(session) => session,
            Err(Unbound::Refused) => return Ok(None),
            Err(Unbound::Failed(error)) => return Err(error),
        };
        let dn = match looked_up {
            Some(dn) => dn,
            None if self.looks_up_as_user() => self.look_up(user, &variables, &mut session).await?,
            None => variables.fill_dn(&self.options.user_dn_pattern),
        };
        let tags = match self.options.other_bind.credentials() {
            Some(other) if password.is_some() => {
                self.servers.put_back(session);
                session = self.bind(&other).await.map_err(failure)?;
                self.tags(&dn, variables, &mut session).await
            }
            _ => self.tags(&dn, variables, &mut session).await,
        };
        self.servers.put_back(session);
        Ok(Some(Known { dn, tags }))
    }

    /// How a client's password is tried, and their name if it had to be found for that.
    async fn bind_of(
        &self,
        user: &str,
        password: &str,
        variables: &Variables,
    ) -> Result<(Credentials, Option<String>), String> {
        let options = &self.options;
        let with = |dn| Credentials::Simple {
            dn,
            password: password.to_owned(),
        };
        let lookup = options.dn_lookup_bind.credentials();
        if let (Some(_), Some(lookup)) = (&options.dn_lookup_attribute, lookup) {
            let mut session = self.bind(&lookup).await.map_err(failure)?;
            let dn = self.look_up(user, variables, &mut session).await?;
            self.servers.put_back(session);
            return Ok((with(dn.clone()), Some(dn)));
        }
        let pattern = options.user_bind_pattern.as_ref();
        let dn = variables.fill_dn(pattern.unwrap_or(&options.user_dn_pattern));
        Ok((with(dn), None))
    }

    fn looks_up_as_user(&self) -> bool {
        let lookup = self.options.dn_lookup_bind.credentials();
        self.options.dn_lookup_attribute.is_some() && lookup.is_none()
    }

    /// The one object that is this user; if there is none, or several, the pattern says who it is.
    async fn look_up(
        &self,
        user: &str,
        variables: &Variables,
        session: &mut Session,
    ) -> Result<String, String> {
        let options = &self.options;
        let (Some(attribute), Some(base)) = (&options.dn_lookup_attribute, &options.dn_lookup_base)
        else {
            return Err("dn_lookup_attribute needs auth_ldap.dn_lookup_base".to_owned());
        };
        let value = variables.fill(&options.user_dn_pattern);
        let search = Search {
            base,
            scope: Scope::Subtree,
            with: Some((attribute, &value)),
            wanted: "1.1",
        };
        let found = self.in_time(session.search(search)).await?;
        match found.as_slice() {
            [only] => Ok(only.dn.clone()),
            others => {
                let found = others.len();
                warn!(user, found, "LDAP server does not know who this is");
                Ok(variables.fill_dn(&options.user_dn_pattern))
            }
        }
    }

    async fn tags(&self, dn: &str, variables: Variables, session: &mut Session) -> Vec<Box<str>> {
        let variables = variables.with("user_dn", dn);
        let mut tags = Vec::new();
        for (tag, query) in &self.options.queries.tags {
            match self.answer(query, dn, &variables, session).await {
                Ok(true) => tags.push(tag.as_str().into()),
                Ok(false) => {}
                Err(error) => info!(tag, %error, "LDAP query for a tag failed"),
            }
        }
        tags
    }

    async fn answer(
        &self,
        query: &Query,
        user_dn: &str,
        variables: &Variables,
        session: &mut Session,
    ) -> Result<bool, String> {
        let groups_base = self.options.group_lookup_base.as_deref();
        let asker = Asker {
            variables,
            user_dn,
            groups_base: groups_base.or(self.options.dn_lookup_base.as_deref()),
        };
        self.in_time(is_true(query, &asker, session)).await
    }

    async fn bind(&self, credentials: &Credentials) -> Result<Session, Unbound> {
        let bound = async { Ok(self.servers.bind(credentials).await) };
        self.in_time(bound).await.map_err(Unbound::Failed)?
    }

    async fn in_time<T>(&self, step: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        match self.options.timeout_ms {
            None => step.await,
            Some(limit) => timeout(Duration::from_millis(limit), step)
                .await
                .map_err(|_| "no answer in time".to_owned())?,
        }
    }
}

fn failure(unbound: Unbound) -> String {
    match unbound {
        Unbound::Refused => {
            "the server refuses the name or password of the configuration".to_owned()
        }
        Unbound::Failed(error) => error,
    }
}

/// Asks the server what one client may do.
pub(super) struct Decider {
    backend: Arc<Backend>,
    user: Arc<str>,
    dn: String,
    /// `None`: there is nobody to bind as.
    credentials: Option<Credentials>,
}

impl Decider {
    pub(super) fn new(
        backend: Arc<Backend>,
        known: Known,
        identity: &Identity,
        login: &Login,
    ) -> Self {
        let own = || {
            Some(Credentials::Simple {
                dn: known.dn.clone(),
                password: login.password.clone()?,
            })
        };
        let credentials = backend.options.other_bind.credentials().or_else(own);
        Self {
            backend,
            user: identity.name.clone(),
            dn: known.dn,
            credentials,
        }
    }

    async fn ask(&self, asked: &Asked) -> Result<bool, String> {
        let backend = &self.backend;
        let (query, variables) = self.question(asked);
        if let Query::Constant(answer) = query {
            return Ok(*answer);
        }
        let name = format!("{}\0{asked:?}", self.dn);
        let now = Instant::now();
        let cache = backend.decisions.as_ref();
        if let Some(answer) = cache.and_then(|cache| cache.find(&name, now)) {
            return Ok(answer);
        }
        let credentials = self.credentials.as_ref();
        let credentials = credentials.ok_or("there is no password to bind with for queries")?;
        let mut session = backend.bind(credentials).await.map_err(failure)?;
        let answer = backend
            .answer(query, &self.dn, &variables, &mut session)
            .await?;
        backend.servers.put_back(session);
        if let Some(cache) = cache {
            cache.keep(&name, answer, !answer, now);
        }
        Ok(answer)
    }

    /// The query that decides, and what is filled into it.
    fn question(&self, asked: &Asked) -> (&Query, Variables) {
        let queries = &self.backend.options.queries;
        let variables = Variables::of_user(&self.user).with("user_dn", &self.dn);
        match asked {
            Asked::Vhost { vhost } => (&queries.vhost_access, variables.with("vhost", vhost)),
            Asked::Resource {
                vhost,
                kind,
                name,
                access,
            } => {
                let variables = variables
                    .with("vhost", vhost)
                    .with("resource", kind.name())
                    .with("name", name)
                    .with("permission", access.name());
                (&queries.resource_access, variables)
            }
            Asked::Topic {
                vhost,
                exchange,
                access,
                key,
            } => {
                let variables = variables
                    .with("vhost", vhost)
                    .with("resource", "topic")
                    .with("name", exchange)
                    .with("permission", access.name())
                    .with("routing_key", key);
                (&queries.topic_access, variables)
            }
        }
    }
}

impl Decides for Decider {
    async fn decide(&self, asked: &Asked) -> Decision {
        let answer = self.ask(asked).await;
        let answer = answer.unwrap_or_else(|error| {
            warn!(user = %self.user, %error, "LDAP query failed, access is refused");
            false
        });
        answer.into()
    }
}
