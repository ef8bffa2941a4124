//! The HTTP backend (E07): each question is a request, the answer is `allow`, with the user's tags behind it, or `deny`.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use form_urlencoded::Serializer;
use leveret_broker::authority::{Authority, Identity, Login, Question, Verdict};
use leveret_broker::error::ResourceKind;
use leveret_broker::mailbox::Mailbox;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::cache::{self, Cache};
use crate::http_client::HttpClient;

/// `auth_http.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) method: RequestMethod,
    pub(crate) user_path: Option<String>,
    pub(crate) vhost_path: Option<String>,
    pub(crate) resource_path: Option<String>,
    pub(crate) topic_path: Option<String>,
    pub(crate) request_timeout_ms: u64,
    pub(crate) ca_cert_file: Option<PathBuf>,
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
            ca_cert_file: None,
        }
    }
}

/// See the module's page.
pub(super) struct Backend {
    client: HttpClient,
    options: Options,
    cache: Option<Cache>,
}

impl Backend {
    pub(super) fn new(options: &Options, cache: Option<&cache::Options>) -> Result<Self, String> {
        let limit = Duration::from_millis(options.request_timeout_ms);
        Ok(Self {
            client: HttpClient::new(options.ca_cert_file.as_deref(), limit)?,
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
        let mut words = answer.split_whitespace();
        if words
            .next()
            .is_none_or(|word| !word.eq_ignore_ascii_case("allow"))
        {
            info!(
                user = login.user,
                "HTTP authentication backend refused the login"
            );
            return Ok(None);
        }
        Ok(Some(Identity {
            name: login.user.as_str().into(),
            tags: words.map(Box::from).collect(),
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
            cache.keep(&asked, &answer, !is_allowed(&answer), now);
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

/// Permissions that a connection remembers. RabbitMQ remembers 12 for each channel; who asks for more than this asks anew.
const REMEMBERED_MAX: usize = 1024;

/// What the backend says that one client may do. A permission that was granted counts for the life of the connection, as
/// in RabbitMQ; a refusal is asked for again.
pub(super) struct HttpAuthority {
    backend: Arc<Backend>,
    user: Arc<str>,
    tags: String,
    address: IpAddr,
    mailbox: Arc<Mailbox>,
    runtime: Handle,
    answers: Arc<Mutex<HashMap<Asked, Answer>>>,
}

/// Which path, and the parameters.
type Asked = (Path, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Path {
    Vhost,
    Resource,
    Topic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// On its way.
    Awaited,
    Known(bool),
}

impl fmt::Debug for HttpAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAuthority")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl HttpAuthority {
    pub(super) fn new(
        backend: Arc<Backend>,
        identity: &Identity,
        login: &Login,
        runtime: Handle,
    ) -> Self {
        Self {
            backend,
            user: identity.name.clone(),
            tags: identity.tags.join(" "),
            address: login.address,
            mailbox: login.mailbox.clone(),
            runtime,
            answers: Arc::default(),
        }
    }

    fn asked(&self, question: &Question<'_>) -> Asked {
        let address = self.address.to_string();
        let user = ("username", &*self.user);
        let tags = ("tags", self.tags.as_str());
        match *question {
            Question::Vhost { vhost } => {
                let parameters = [user, ("vhost", vhost), ("ip", address.as_str()), tags];
                (Path::Vhost, form(&parameters))
            }
            Question::Resource {
                vhost,
                kind,
                name,
                access,
            } => {
                let kind = match kind {
                    ResourceKind::Exchange => "exchange",
                    ResourceKind::Queue => "queue",
                };
                let resource = [
                    ("resource", kind),
                    ("name", name),
                    ("permission", access.name()),
                ];
                let parameters = [user, ("vhost", vhost)].into_iter().chain(resource);
                let parameters: Vec<_> = parameters.chain([tags]).collect();
                (Path::Resource, form(&parameters))
            }
            Question::Topic {
                vhost,
                exchange,
                access,
                key,
            } => {
                let resource = [
                    ("resource", "topic"),
                    ("name", exchange),
                    ("permission", access.name()),
                    ("routing_key", key),
                ];
                let parameters = [user, ("vhost", vhost)].into_iter().chain(resource);
                let parameters: Vec<_> = parameters.chain([tags]).collect();
                (Path::Topic, form(&parameters))
            }
        }
    }

    /// Asks the backend, and pokes the mailbox when it is known.
    fn ask(&self, asked: Asked) {
        let backend = Arc::clone(&self.backend);
        let answers = Arc::clone(&self.answers);
        let mailbox = Arc::clone(&self.mailbox);
        self.runtime.spawn(async move {
            let (path, form) = &asked;
            let path = match path {
                Path::Vhost => &backend.options.vhost_path,
                Path::Resource => &backend.options.resource_path,
                Path::Topic => &backend.options.topic_path,
            };
            let allowed = match backend.ask(path, form).await {
                Ok(answer) => is_allowed(&answer),
                Err(error) => {
                    warn!(%error, "HTTP authorisation backend failed, access is refused");
                    false
                }
            };
            answers.lock().insert(asked, Answer::Known(allowed));
            mailbox.poke();
        });
    }
}

impl Authority for HttpAuthority {
    fn decide(&self, question: Question<'_>) -> Verdict {
        let asked = self.asked(&question);
        let mut answers = self.answers.lock();
        match answers.get(&asked) {
            Some(Answer::Known(true)) => Verdict::Allow,
            Some(Answer::Known(false)) => {
                answers.remove(&asked);
                Verdict::Deny
            }
            Some(Answer::Awaited) => Verdict::Wait,
            None => {
                if answers.len() >= REMEMBERED_MAX {
                    answers.retain(|_, answer| *answer == Answer::Awaited);
                }
                answers.insert(asked.clone(), Answer::Awaited);
                drop(answers);
                self.ask(asked);
                Verdict::Wait
            }
        }
    }
}
