//! LDAP servers: the first that can be reached is talked to. A connection is bound anew for each use, so that those which
//! are not in use can be had by anybody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, SearchEntry, ldap_escape};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::rustls::ClientConfig;
use tracing::debug;

use super::evaluate::{Directory, Entry, Search};
use super::query::Scope;
use super::{Credentials, Options, Unbound};

/// RFC 4511, 4.1.9: `invalidCredentials`.
const INVALID_CREDENTIALS: u32 = 49;

/// See the module's page.
pub(super) struct Servers {
    urls: Vec<String>,
    starttls: bool,
    tls: Arc<ClientConfig>,
    idle_timeout: Option<Duration>,
    free: Arc<Semaphore>,
    /// Not in use, and since when.
    idle: Mutex<Vec<(Ldap, Instant)>>,
}

/// A connection in use.
pub(super) struct Session {
    ldap: Ldap,
    permit: OwnedSemaphorePermit,
}

impl Servers {
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let scheme = if options.use_ssl { "ldaps" } else { "ldap" };
        let url = |server: &String| match server.contains(':') && !server.starts_with('[') {
            true => format!("{scheme}://[{server}]:{}", options.port),
            false => format!("{scheme}://{server}:{}", options.port),
        };
        Ok(Self {
            urls: options.servers.values().map(url).collect(),
            starttls: options.use_starttls && !options.use_ssl,
            tls: options.tls.config()?,
            idle_timeout: options.idle_timeout_ms.map(Duration::from_millis),
            free: Arc::new(Semaphore::new(options.connections_max)),
            idle: Mutex::default(),
        })
    }

    /// Waits until there is a connection to be had.
    pub(super) async fn bind(&self, credentials: &Credentials) -> Result<Session, Unbound> {
        let failed = |error: &dyn std::fmt::Display| Unbound::Failed(error.to_string());
        let free = Arc::clone(&self.free).acquire_owned().await;
        let permit = free.map_err(|error| failed(&error))?;
        // The server may have closed those that were not in use.
        while let Some(mut ldap) = self.take_idle() {
            match bind(&mut ldap, credentials).await {
                Ok(()) => return Ok(Session { ldap, permit }),
                Err(Unbound::Refused) => return Err(Unbound::Refused),
                Err(Unbound::Failed(error)) => debug!(error, "LDAP connection given up"),
            }
        }
        let mut ldap = self.connect().await.map_err(|error| failed(&error))?;
        bind(&mut ldap, credentials).await?;
        Ok(Session { ldap, permit })
    }

    fn take_idle(&self) -> Option<Ldap> {
        let mut idle = self.idle.lock();
        let is_fresh = |since: &Instant| self.idle_timeout.is_none_or(|it| since.elapsed() < it);
        idle.retain(|(_, since)| is_fresh(since));
        idle.pop().map(|(ldap, _)| ldap)
    }

    /// Done with it, and nothing went wrong.
    pub(super) fn put_back(&self, session: Session) {
        self.idle.lock().push((session.ldap, Instant::now()));
        drop(session.permit);
    }

    async fn connect(&self) -> Result<Ldap, String> {
        let mut reasons = Vec::new();
        for url in &self.urls {
            let settings = LdapConnSettings::new()
                .set_config(Arc::clone(&self.tls))
                .set_starttls(self.starttls);
            match LdapConnAsync::with_settings(settings, url).await {
                Ok((connection, ldap)) => {
                    tokio::spawn(async move {
                        if let Err(error) = connection.drive().await {
                            debug!(%error, "LDAP connection ended");
                        }
                    });
                    return Ok(ldap);
                }
                Err(error) => reasons.push(format!("{url}: {error}")),
            }
        }
        Err(reasons.join("; "))
    }
}

async fn bind(ldap: &mut Ldap, credentials: &Credentials) -> Result<(), Unbound> {
    let (dn, password) = match credentials {
        Credentials::Anonymous => ("", ""),
        Credentials::Simple { dn, password } => (dn.as_str(), password.as_str()),
    };
    let result = ldap.simple_bind(dn, password).await;
    match result.and_then(ldap3::LdapResult::success) {
        Ok(_) => Ok(()),
        Err(LdapError::LdapResult { result }) if result.rc == INVALID_CREDENTIALS => {
            Err(Unbound::Refused)
        }
        Err(error) => Err(Unbound::Failed(error.to_string())),
    }
}

impl Directory for Session {
    async fn search(&mut self, search: Search<'_>) -> Result<Vec<Entry>, String> {
        let scope = match search.scope {
            Scope::Base => ldap3::Scope::Base,
            Scope::OneLevel => ldap3::Scope::OneLevel,
            Scope::Subtree => ldap3::Scope::Subtree,
        };
        let filter = match search.with {
            None => "(objectClass=*)".to_owned(),
            Some((attribute, value)) => format!("({attribute}={})", ldap_escape(value)),
        };
        let found = self
            .ldap
            .search(search.base, scope, &filter, vec![search.wanted])
            .await
            .and_then(ldap3::SearchResult::success)
            .map_err(|error| error.to_string())?;
        let entries = found.0.into_iter().filter(|entry| !entry.is_ref());
        Ok(entries
            .map(|entry| read(SearchEntry::construct(entry), search.wanted))
            .collect())
    }
}

/// Servers write the names of attributes in their own way.
fn read(entry: SearchEntry, wanted: &str) -> Entry {
    let mut attributes = entry.attrs.into_iter();
    let values = attributes.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    Entry {
        dn: entry.dn,
        values: values.map(|(_, values)| values).unwrap_or_default(),
    }
}
