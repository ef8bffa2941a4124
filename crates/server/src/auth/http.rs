//! The HTTP backend (E07): each question is a request, the answer is `allow`, with the user's tags behind it, or `deny`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use form_urlencoded::Serializer;
use leveret_broker::authority::{Identity, Login};
use tracing::{info, warn};

use super::cache::{self, Cache};
use super::remote::{Asked, Decides, Decision};
use crate::http_client::HttpClient;
use crate::tls::outgoing::ClientTls;

/// `auth_http.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) method: RequestMethod,
    pub(crate) user_path: Option<String>,
    pub(crate) vhost_path: Option<String>,
    pub(crate) resource_path: Option<String>,
    pub(crate) topic_path: Option<String>,
    pub(crate) request_timeout_ms: u64,
    pub(crate) tls: ClientTls,
    /// Clients are told why they may not do something.
    pub(crate) authorization_failure_disclosure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestMethod {
    Get,
    Post,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: RequestMethod::Get,
            user_path: None,
            vhost_path: None,
            resource_path: None,
            topic_path: None,
            request_timeout_ms: 15_000,
            tls: ClientTls::default(),
            authorization_failure_disclosure: false,
        }
    }
}

/// See the module's page.
pub(super) struct Backend {
    client: HttpClient,
    options: Options,
    cache: Option<Cache<String>>,
}

impl Backend {
    pub(super) fn new(options: &Options, cache: Option<&cache::Options>) -> Result<Self, String> {
        let limit = Duration::from_millis(options.request_timeout_ms);
        Ok(Self {
            client: HttpClient::new(&options.tls, limit)?,
            options: options.clone(),
            cache: cache.map(Cache::new),
        })
    }

    /// Whether the backend knows somebody by this name and password.
    pub(super) async fn user(&self, login: &Login) -> Result<Option<Identity>, String> {
        let mut parameters = vec![("username", login.user.as_str())];
        if let Some(password) = &login.password {
            parameters.push(("password", password));
        }
        let answer = self
            .ask(&self.options.user_path, &form(&parameters))
            .await?;
        if !is_allowed(&answer) {
            let reason = reason(&answer).unwrap_or_default();
            info!(user = login.user, reason, "HTTP authentication denied");
            return Ok(None);
        }
        let tags = answer.split_whitespace().skip(1);
        Ok(Some(Identity {
            name: login.user.as_str().into(),
            tags: tags.map(Box::from).collect(),
            authority: None,
            expires: None,
        }))
    }

    pub(super) fn forget_answers(&self) {
        if let Some(cache) = &self.cache {
            cache.clear();
        }
    }

    async fn ask(&self, path: &Option<String>, form: &str) -> Result<String, String> {
        let path = path.as_deref().ok_or("no path is configured for this")?;
        let asked = format!("{path}?{form}");
        let now = Instant::now();
        if let Some(answer) = self
            .cache
            .as_ref()
            .and_then(|cache| cache.find(&asked, now))
        {
            return Ok(answer);
        }
        let body = match self.options.method {
            RequestMethod::Get => self.client.get(&asked).await?,
            RequestMethod::Post => self.client.post(path, form.to_owned()).await?,
        };
        let answer = String::from_utf8_lossy(&body).trim().to_owned();
        if let Some(cache) = &self.cache {
            cache.keep(&asked, answer.clone(), !is_allowed(&answer), now);
        }
        Ok(answer)
    }
}

fn form(parameters: &[(&str, &str)]) -> String {
    Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

fn is_allowed(answer: &str) -> bool {
    let word = answer.split_whitespace().next();
    word.is_some_and(|word| word.eq_ignore_ascii_case("allow"))
}

/// Asks the backend what one client may do.
pub(super) struct Decider {
    backend: Arc<Backend>,
    user: Arc<str>,
    tags: String,
    address: IpAddr,
}

impl Decider {
    pub(super) fn new(backend: Arc<Backend>, identity: &Identity, login: &Login) -> Self {
        Self {
            backend,
            user: identity.name.clone(),
            tags: identity.tags.join(" "),
            address: login.address,
        }
    }

    fn form(&self, asked: &Asked) -> String {
        let address = self.address.to_string();
        let mut all = vec![("username", &*self.user)];
        match asked {
            Asked::Vhost { vhost } => all.extend([("vhost", vhost.as_str()), ("ip", &address)]),
            Asked::Resource {
                vhost,
                kind,
                name,
                access,
            } => {
                all.extend([("vhost", vhost.as_str()), ("resource", kind.name())]);
                all.extend([("name", name.as_str()), ("permission", access.name())]);
            }
            Asked::Topic {
                vhost,
                exchange,
                access,
                key,
            } => {
                all.extend([("vhost", vhost.as_str()), ("resource", "topic")]);
                all.extend([("name", exchange.as_str()), ("permission", access.name())]);
                all.push(("routing_key", key));
            }
        }
        all.push(("tags", &self.tags));
        form(&all)
    }
}

impl Decides for Decider {
    async fn decide(&self, asked: &Asked) -> Decision {
        let options = &self.backend.options;
        let path = match asked {
            Asked::Vhost { .. } => &options.vhost_path,
            Asked::Resource { .. } => &options.resource_path,
            Asked::Topic { .. } => &options.topic_path,
        };
        match self.backend.ask(path, &self.form(asked)).await {
            Ok(answer) if is_allowed(&answer) => Decision::Allow,
            Ok(answer) => {
                let reason = reason(&answer);
                if let Some(reason) = reason {
                    info!(user = %self.user, reason, "HTTP authorization denied");
                }
                let disclosed = reason.filter(|_| options.authorization_failure_disclosure);
                Decision::Deny(
                    disclosed.map(|reason| format!("rabbit_auth_backend_http: {reason}")),
                )
            }
            Err(error) => {
                warn!(%error, "HTTP authorisation backend failed, access is refused");
                Decision::Deny(None)
            }
        }
    }
}

/// What stands behind `deny`.
fn reason(answer: &str) -> Option<&str> {
    let (_, reason) = answer.split_once(' ')?;
    Some(reason.trim()).filter(|reason| !reason.is_empty())
}
