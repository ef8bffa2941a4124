//! OAuth 2 (E08): a client's password is a signed token (JWT) that says who it is and what it may do, until it expires.
//! Nobody is asked for that but, now and then, the issuer for its keys. Read `claims` (where a token has its scopes),
//! `scope` (what they grant) and [`provider`] (the issuer).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use leveret_broker::authority::{Authority, Identity, Question, Refused, Renewed, Verdict};
use leveret_broker::time::Timestamp;
use parking_lot::RwLock;
use serde_json::Value;
use tokio::runtime::Handle;
use tracing::warn;

use crate::config::effective::Numbered;
use provider::{Provider, ProviderOptions};
use scope::Scope;

mod claims;
pub(crate) mod provider;
mod scope;

/// `auth_oauth2.*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// Also what the servers do not say of themselves.
    pub(crate) root: ServerOptions,
    pub(crate) servers: BTreeMap<String, ServerOptions>,
    pub(crate) root_provider: ProviderOptions,
    pub(crate) providers: BTreeMap<String, ProviderOptions>,
    /// The one of those that is asked where no other is named; `None`: that without a name.
    pub(crate) default_provider: Option<String>,
}

/// `auth_oauth2.resource_servers.NAME.*`, and `auth_oauth2.*` for the one that has no name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ServerOptions {
    /// What tokens call it in their audience; of one with a name that, if not set.
    pub(crate) id: Option<String>,
    /// Its type in rich authorization requests.
    pub(crate) kind: Option<String>,
    /// In front of its scopes; its id and a dot when not set.
    pub(crate) scope_prefix: Option<String>,
    /// Claims besides `scope` that have scopes in them.
    pub(crate) additional_scopes_key: Option<String>,
    /// What a scope of somebody else's stands for.
    pub(crate) scope_aliases: BTreeMap<String, String>,
    /// The same by number, for aliases that can be no part of a key.
    pub(crate) numbered_aliases: BTreeMap<String, (String, String)>,
    pub(crate) verify_aud: Option<bool>,
    pub(crate) require_exp: Option<bool>,
    /// Claims that have the user's name, before `sub` and `client_id`.
    pub(crate) preferred_username_claims: Numbered<String>,
    pub(crate) provider: Option<String>,
}

impl Options {
    /// The provider of that name.
    pub(crate) fn provider(&self, name: Option<&str>) -> Option<&ProviderOptions> {
        match name {
            None => Some(&self.root_provider),
            Some(name) => self.providers.get(name),
        }
    }

    /// Everybody whom tokens can be meant for, with all that is said of them.
    pub(crate) fn resource_servers(&self) -> Vec<Server> {
        let named = self.servers.iter().map(|(name, own)| {
            let id = own.id.clone().unwrap_or_else(|| name.clone());
            self.server(id, own)
        });
        let root = self.root.id.clone().map(|id| self.server(id, &self.root));
        root.into_iter().chain(named).collect()
    }

    fn server(&self, id: String, own: &ServerOptions) -> Server {
        let root = &self.root;
        let either =
            |own: &Option<String>, root: &Option<String>| own.clone().or_else(|| root.clone());
        let aliases = |of: &ServerOptions| {
            let numbered = of.numbered_aliases.values().cloned();
            let mut all = of.scope_aliases.clone();
            all.extend(numbered.filter(|(alias, _)| !alias.is_empty()));
            Some(all).filter(|all| !all.is_empty())
        };
        let mut names = match own.preferred_username_claims.is_empty() {
            true => root.preferred_username_claims.clone(),
            false => own.preferred_username_claims.clone(),
        }
        .values()
        .cloned()
        .collect::<Vec<_>>();
        names.extend(["sub", "client_id"].map(str::to_owned));
        Server {
            kind: either(&own.kind, &root.kind),
            scope_prefix: either(&own.scope_prefix, &root.scope_prefix)
                .unwrap_or_else(|| format!("{id}.")),
            additional_scopes_key: either(&own.additional_scopes_key, &root.additional_scopes_key),
            scope_aliases: aliases(own).or_else(|| aliases(root)).unwrap_or_default(),
            verify_aud: own.verify_aud.or(root.verify_aud).unwrap_or(true),
            require_exp: own.require_exp.or(root.require_exp).unwrap_or(true),
            username_claims: names,
            provider: own
                .provider
                .clone()
                .or_else(|| self.default_provider.clone()),
            id,
        }
    }
}

/// Somebody whom tokens can be meant for: us, by one of our names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Server {
    id: String,
    kind: Option<String>,
    scope_prefix: String,
    additional_scopes_key: Option<String>,
    scope_aliases: BTreeMap<String, String>,
    verify_aud: bool,
    require_exp: bool,
    username_claims: Vec<String>,
    pub(crate) provider: Option<String>,
}

/// See the module's page.
pub(super) struct Backend {
    servers: Vec<(Server, Arc<Provider>)>,
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
        let mut providers: BTreeMap<Option<String>, Arc<Provider>> = BTreeMap::new();
        let mut servers = Vec::new();
        for server in options.resource_servers() {
            let name = server.provider.clone();
            let known = options.provider(name.as_deref());
            let known = known.ok_or_else(|| format!("no oauth_provider '{name:?}'"))?;
            let provider = match providers.get(&name) {
                Some(provider) => Arc::clone(provider),
                None => Arc::new(Provider::new(known)?),
            };
            providers.insert(name, Arc::clone(&provider));
            servers.push((server, provider));
        }
        Ok(Self { servers })
    }

    /// What the token says, if it counts; or why not, without any of it.
    async fn verify(&self, token: &str) -> Result<Token, String> {
        let no_token = || "it is not a signed token".to_owned();
        let header = decode_header(token).map_err(|_| no_token())?;
        let claimed = unverified(token).ok_or_else(no_token)?;
        let (server, provider) = self.meant(&claimed["aud"])?;
        let key = provider.key(header.kid).await?;
        let mut validation = Validation::new_for_family(key.family());
        let chosen = &provider.options.algorithms;
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
        if server.require_exp {
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
        read(&claims, server)
    }

    /// The one server that the audience names; without any, the one that need not be named.
    fn meant(&self, audience: &Value) -> Result<&(Server, Arc<Provider>), String> {
        let names = claims::words(audience);
        let only = |mut found: Vec<_>| match found.len() {
            0 => Err("it is not meant for this resource server".to_owned()),
            1 => Ok(found.remove(0)),
            _ => Err("it may be meant for several resource servers".to_owned()),
        };
        let all = self.servers.iter();
        let named: Vec<_> = all.clone().filter(|it| names.contains(&it.0.id)).collect();
        if !named.is_empty() {
            return only(named);
        }
        only(all.filter(|(server, _)| !server.verify_aud).collect())
    }
}

/// The claims of a token that may be anybody's, for nothing but to find out whose it would have to be.
fn unverified(token: &str) -> Option<Value> {
    let claims = token.split('.').nth(1)?;
    let octets = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice(&octets).ok()
}

fn read(claims: &Value, server: &Server) -> Result<Token, String> {
    let user = server
        .username_claims
        .iter()
        .find_map(|claim| claims[claim.as_str()].as_str())
        .unwrap_or("unknown");
    let scopes = claims::scopes(claims, server)?;
    let tags = scopes.iter().filter_map(|scope| scope.strip_prefix("tag:"));
    Ok(Token {
        user: user.into(),
        tags: tags.map(Box::from).collect(),
        scopes: scopes
            .iter()
            .filter_map(|scope| Scope::parse(scope, claims))
            .collect(),
        expires: claims["exp"]
            .as_f64()
            .map(|s| Timestamp((s * 1000.0) as u64)),
    })
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
