//! OAuth 2 (E08): a client's password is a signed token (JWT) that says who it is and what it may do, until it expires.
//! Nobody is asked for that but, now and then, the issuer for its keys.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use leveret_broker::authority::{Authority, Identity, Question, Refused, Renewed, Verdict};
use leveret_broker::time::Timestamp;
use parking_lot::RwLock;
use serde_json::Value;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::scope::Scope;
use crate::config::effective::Numbered;
use crate::http_client::HttpClient;

/// `auth_oauth2.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) resource_server_id: Option<String>,
    /// In front of our scopes; `resource_server_id` and a dot when not set.
    pub(crate) scope_prefix: Option<String>,
    /// Claims besides `scope` that have scopes in them.
    pub(crate) additional_scopes_key: Option<String>,
    /// What a scope of somebody else's stands for.
    pub(crate) scope_aliases: BTreeMap<String, String>,
    pub(crate) verify_aud: bool,
    pub(crate) require_exp: bool,
    /// Claims that have the user's name, before `sub` and `client_id`.
    pub(crate) preferred_username_claims: Numbered<String>,
    /// PEM files by key id.
    pub(crate) signing_keys: BTreeMap<String, PathBuf>,
    /// The id of the key for tokens that name none.
    pub(crate) default_key: Option<String>,
    pub(crate) jwks_uri: Option<String>,
    /// Says by its `.well-known/openid-configuration` where its keys are.
    pub(crate) issuer: Option<String>,
    /// Empty: all but those of shared secrets.
    pub(crate) algorithms: Numbered<Algorithm>,
    pub(crate) ca_cert_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            resource_server_id: None,
            scope_prefix: None,
            additional_scopes_key: None,
            scope_aliases: BTreeMap::new(),
            verify_aud: true,
            require_exp: true,
            preferred_username_claims: Numbered::default(),
            signing_keys: BTreeMap::new(),
            default_key: None,
            jwks_uri: None,
            issuer: None,
            algorithms: Numbered::default(),
            ca_cert_file: None,
        }
    }
}

/// How long an issuer has to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Keys that are not known are asked for no more often than this: anybody can make up a key's name.
const FETCH_PAUSE: Duration = Duration::from_secs(10);

/// See the module's page.
pub(super) struct Backend {
    options: Options,
    client: HttpClient,
    keys: RwLock<HashMap<String, DecodingKey>>,
    /// When the issuer was last asked. Held while it is.
    fetched: tokio::sync::Mutex<Option<Instant>>,
}

/// What a token says, as far as it matters here.
struct Token {
    user: Arc<str>,
    tags: Vec<Box<str>>,
    scopes: Vec<Scope>,
    expires: Option<Timestamp>,
}

impl Backend {
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let mut keys = HashMap::new();
        for (id, file) in &options.signing_keys {
            let wrong = |what: &dyn fmt::Display| format!("{}: {what}", file.display());
            let pem = std::fs::read(file).map_err(|error| wrong(&error))?;
            let key = DecodingKey::from_rsa_pem(&pem)
                .or_else(|_| DecodingKey::from_ec_pem(&pem))
                .or_else(|_| DecodingKey::from_ed_pem(&pem))
                .map_err(|_| wrong(&"no public key in it"))?;
            keys.insert(id.clone(), key);
        }
        Ok(Self {
            options: options.clone(),
            client: HttpClient::new(options.ca_cert_file.as_deref(), TIMEOUT)?,
            keys: RwLock::new(keys),
            fetched: tokio::sync::Mutex::default(),
        })
    }

    /// What the token says, if it counts; or why not, without any of it.
    async fn verify(&self, token: &str) -> Result<Token, String> {
        let header = decode_header(token).map_err(|_| "it is not a signed token".to_owned())?;
        let id = header.kid.or_else(|| self.options.default_key.clone());
        let key = self.key(&id.ok_or("it names no key")?).await?;
        let mut validation = Validation::new_for_family(key.family());
        let chosen = &self.options.algorithms;
        if !chosen.is_empty() {
            validation
                .algorithms
                .retain(|algorithm| chosen.values().any(|own| own == algorithm));
        }
        validation.leeway = 0;
        validation.validate_nbf = true;
        // There may be several, and any of them may be a list.
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        if self.options.require_exp {
            validation.required_spec_claims.insert("exp".to_owned());
        }
        let claims = decode::<Value>(token, &key, &validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => "it has expired".to_owned(),
                ErrorKind::InvalidSignature => "its signature is wrong".to_owned(),
                ErrorKind::MissingRequiredClaim(claim) => format!("it has no claim '{claim}'"),
                _ => "it can't be verified".to_owned(),
            })?
            .claims;
        self.read(&claims)
    }

    fn read(&self, claims: &Value) -> Result<Token, String> {
        let own = self
            .options
            .resource_server_id
            .as_deref()
            .unwrap_or_default();
        if self.options.verify_aud && !texts(&claims["aud"]).contains(&own) {
            return Err("it is not meant for this resource server".to_owned());
        }
        let preferred = self
            .options
            .preferred_username_claims
            .values()
            .map(String::as_str);
        let user = preferred
            .chain(["sub", "client_id"])
            .find_map(|claim| claims[claim].as_str())
            .unwrap_or("unknown");
        let prefix = self
            .options
            .scope_prefix
            .clone()
            .unwrap_or_else(|| format!("{own}."));
        let scopes = self.scopes(claims, own);
        let ours = || {
            scopes
                .iter()
                .filter_map(|scope| scope.strip_prefix(&prefix))
        };
        Ok(Token {
            user: user.into(),
            tags: ours()
                .filter_map(|scope| scope.strip_prefix("tag:"))
                .map(Box::from)
                .collect(),
            scopes: ours().filter_map(Scope::parse).collect(),
            expires: claims["exp"]
                .as_f64()
                .map(|s| Timestamp((s * 1000.0) as u64)),
        })
    }

    /// The scopes of all claims that have some, with aliases resolved.
    fn scopes<'a>(&'a self, claims: &'a Value, own: &str) -> Vec<&'a str> {
        let more = self
            .options
            .additional_scopes_key
            .as_deref()
            .unwrap_or_default();
        let mut found: Vec<&str> = texts(&claims["scope"]);
        for name in more.split_whitespace() {
            let claim = name.split('.').fold(claims, |value, part| &value[part]);
            match claim {
                Value::Object(by_server) => {
                    found.extend(by_server.get(own).map(texts).unwrap_or_default());
                }
                claim => found.extend(texts(claim)),
            }
        }
        let resolved = |scope: &'a str| -> Vec<&'a str> {
            match self.options.scope_aliases.get(scope) {
                Some(stands_for) => stands_for.split_whitespace().collect(),
                None => vec![scope],
            }
        };
        found.into_iter().flat_map(resolved).collect()
    }

    async fn key(&self, id: &str) -> Result<DecodingKey, String> {
        let known = || self.keys.read().get(id).cloned();
        let unknown = || format!("its key '{}' is not known", id.escape_debug());
        if let Some(key) = known() {
            return Ok(key);
        }
        let mut fetched = self.fetched.lock().await;
        if fetched.is_none_or(|at| at.elapsed() >= FETCH_PAUSE) && known().is_none() {
            *fetched = Some(Instant::now());
            if let Err(error) = self.fetch_keys().await {
                warn!(%error, "the keys of the token issuer can't be had");
            }
        }
        known().ok_or_else(unknown)
    }

    async fn fetch_keys(&self) -> Result<(), String> {
        let discovered;
        let uri = match (&self.options.jwks_uri, &self.options.issuer) {
            (Some(uri), _) => uri,
            (None, Some(issuer)) => {
                discovered = self.discover(issuer).await?;
                &discovered
            }
            (None, None) => return Ok(()),
        };
        let body = self.client.get(uri).await?;
        let set: JwkSet = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let named = set.keys.iter().filter_map(|jwk| {
            let id = jwk.common.key_id.clone()?;
            Some((id, DecodingKey::from_jwk(jwk).ok()?))
        });
        let mut keys: HashMap<String, DecodingKey> = named.collect();
        info!(keys = keys.len(), "keys of the token issuer loaded");
        let mut all = self.keys.write();
        // What the issuer does not name any more does not count any more.
        all.retain(|id, _| self.options.signing_keys.contains_key(id));
        for (id, key) in keys.drain() {
            all.entry(id).or_insert(key);
        }
        Ok(())
    }

    async fn discover(&self, issuer: &str) -> Result<String, String> {
        let issuer = issuer.trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration");
        let body = self.client.get(&url).await?;
        let described: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let uri = described["jwks_uri"].as_str();
        let uri = uri.ok_or("the issuer's description has no jwks_uri")?;
        is_trusted_url(uri)
            .then(|| uri.to_owned())
            .ok_or_else(|| "its jwks_uri is not https".to_owned())
    }
}

/// Keys come by https, or from this very machine.
pub(crate) fn is_trusted_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<hyper::Uri>() else {
        return false;
    };
    let here = ["localhost", "127.0.0.1", "[::1]"];
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => here.contains(&host),
        _ => false,
    }
}

/// Words of a claim: a text with spaces between, or a list of texts.
fn texts(claim: &Value) -> Vec<&str> {
    match claim {
        Value::String(text) => text.split_whitespace().collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Logs in whom the token names; what the client calls itself does not matter.
pub(super) async fn log_in(
    backend: Arc<Backend>,
    token: &str,
    runtime: &Handle,
) -> Result<Identity, String> {
    let token = backend.verify(token).await?;
    let authority = TokenAuthority {
        backend,
        user: token.user.clone(),
        scopes: RwLock::new(token.scopes),
        runtime: runtime.clone(),
    };
    Ok(Identity {
        name: token.user,
        tags: token.tags,
        authority: Some(Arc::new(authority)),
        expires: token.expires,
    })
}

/// What the scopes of one client's token grant.
struct TokenAuthority {
    backend: Arc<Backend>,
    user: Arc<str>,
    scopes: RwLock<Vec<Scope>>,
    runtime: Handle,
}

impl fmt::Debug for TokenAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAuthority")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl TokenAuthority {
    async fn take(&self, secret: &str) -> Result<Option<Timestamp>, String> {
        let token = self.backend.verify(secret).await?;
        if token.user != self.user {
            return Err("it is somebody else's".to_owned());
        }
        *self.scopes.write() = token.scopes;
        Ok(token.expires)
    }
}

impl Authority for TokenAuthority {
    fn decide(&self, question: Question<'_>) -> Verdict {
        let granted = self
            .scopes
            .read()
            .iter()
            .any(|scope| scope.grants(&question));
        if granted {
            Verdict::Allow
        } else {
            Verdict::Deny
        }
    }

    fn renew(self: Arc<Self>, secret: String, answer: Renewed) {
        let runtime = self.runtime.clone();
        runtime.spawn(async move {
            let result = self.take(&secret).await;
            answer(result.map_err(|error| {
                warn!(user = %self.user, %error, "a new token was refused");
                Refused
            }));
        });
    }
}
