//! One issuer of tokens, and its keys: those of the configuration and those that it tells itself.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use form_urlencoded::Serializer;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::RwLock;
use serde_json::Value;
use tracing::{info, warn};

use super::is_trusted_url;
use crate::config::effective::Numbered;
use crate::http_client::HttpClient;
use crate::tls::outgoing::ClientTls;

/// `auth_oauth2.oauth_providers.NAME.*`, and `auth_oauth2.*` for the one that has no name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ProviderOptions {
    /// PEM files by key id.
    pub(crate) signing_keys: BTreeMap<String, PathBuf>,
    /// The id of the key for tokens that name none.
    pub(crate) default_key: Option<String>,
    pub(crate) jwks_uri: Option<String>,
    /// Says where its keys are.
    pub(crate) issuer: Option<String>,
    /// Where it says so; `.well-known/openid-configuration` when not set.
    pub(crate) discovery_path: Option<String>,
    /// What is asked for with that.
    pub(crate) discovery_parameters: BTreeMap<String, String>,
    /// Empty: all but those of shared secrets.
    pub(crate) algorithms: Numbered<Algorithm>,
    pub(crate) tls: ClientTls,
}

impl ProviderOptions {
    /// Whether there is any key to be had.
    pub(crate) fn has_keys(&self) -> bool {
        !self.signing_keys.is_empty() || self.jwks_uri.is_some() || self.issuer.is_some()
    }
}

/// How long an issuer has to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Keys that are not known are asked for no more often than this: anybody can make up a key's name.
const FETCH_PAUSE: Duration = Duration::from_secs(10);

/// See the module's page.
pub(super) struct Provider {
    pub(super) options: ProviderOptions,
    client: HttpClient,
    keys: RwLock<HashMap<String, DecodingKey>>,
    /// When the issuer was last asked. Held while it is.
    fetched: tokio::sync::Mutex<Option<Instant>>,
}

impl Provider {
    pub(super) fn new(options: &ProviderOptions) -> Result<Self, String> {
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
            client: HttpClient::new(&options.tls, TIMEOUT)?,
            keys: RwLock::new(keys),
            fetched: tokio::sync::Mutex::default(),
        })
    }

    /// The key of that id, or that for tokens that name none.
    pub(super) async fn key(&self, id: Option<String>) -> Result<DecodingKey, String> {
        let id = id.or_else(|| self.options.default_key.clone());
        let id = id.ok_or("it names no key")?;
        let known = || self.keys.read().get(&id).cloned();
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
        known().ok_or_else(|| format!("its key '{}' is not known", id.escape_debug()))
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
        let path = self.options.discovery_path.as_deref();
        let path = path.unwrap_or(".well-known/openid-configuration");
        let (issuer, path) = (issuer.trim_end_matches('/'), path.trim_start_matches('/'));
        let mut url = format!("{issuer}/{path}");
        if !self.options.discovery_parameters.is_empty() {
            let mut query = Serializer::new(String::new());
            query.extend_pairs(&self.options.discovery_parameters);
            url += &format!("?{}", query.finish());
        }
        let body = self.client.get(&url).await?;
        let described: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let uri = described["jwks_uri"].as_str();
        let uri = uri.ok_or("the issuer's description has no jwks_uri")?;
        is_trusted_url(uri)
            .then(|| uri.to_owned())
            .ok_or_else(|| "its jwks_uri is not https".to_owned())
    }
}
