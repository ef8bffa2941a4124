//! The configuration: RabbitMQ's keys from a file, the environment and the command line, in that order; the later wins.
//!
//! Read [`effective`] for what there is, [`keys`] for how each key is spelled.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) mod effective;
mod given;
mod keys;
mod secret;
mod syntax;
mod value;

use effective::Rule;
pub(crate) use effective::{Access, Address, Effective};
pub(crate) use given::{Given, HIDDEN};
pub(crate) use keys::is_secret;
use keys::{Found, KEYS, Key};
use syntax::{Place, Setting};

use crate::auth::BackendName;
use crate::auth::oauth2::provider::ProviderOptions;
use crate::tls;

/// Looks an environment variable up. A function, so that tests need not change the process's own.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where the configuration comes from.
pub(crate) struct Sources<'a> {
    /// `--config`; without it RABBITMQ_CONFIG_FILE.
    pub(crate) file: Option<PathBuf>,
    /// `--data-dir`.
    pub(crate) data_dir: Option<PathBuf>,
    /// `--accept-loss`.
    pub(crate) accept_loss: bool,
    /// Each `--set`, as it was written.
    pub(crate) set: Vec<String>,
    pub(crate) environment: Environment<'a>,
}

/// A configuration that cannot be started with: one line for each thing that is wrong.
#[derive(Debug)]
pub(crate) struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// A configuration that a node can be started with.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Effective,
    pub(crate) given: Given,
    /// What the operator should know, one line each.
    pub(crate) warnings: Vec<String>,
}

impl Loaded {
    /// Gives a key another value, if a running node can take it.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let Found::Key(row, word) = keys::find(key) else {
            return Err(format!("{key} is not a known key"));
        };
        if !KEYS[row].live {
            return Err(format!("{key} can't be changed while the node runs"));
        }
        (KEYS[row].set)(&mut self.config, word, value)?;
        let setting = Setting {
            key: key.to_owned(),
            value: value.to_owned(),
            place: Place::Operator,
        };
        self.given.note(row, word, &setting);
        Ok(())
    }

    /// Every key with its value and where that comes from, as `leveret config effective` prints it. No passwords.
    pub(crate) fn describe(&self) -> String {
        let config = &self.config;
        let data_dir = config.data_dir.display();
        let mut text = format!("# node {}, data in {data_dir}\n", config.node_name);
        for entry in self.given.entries() {
            text += &format!("{entry}\n");
        }
        text
    }
}

/// Reads everything that `sources` name.
pub(crate) fn load(sources: &Sources<'_>) -> Result<Loaded, ConfigError> {
    let mut loader = Loader::default();
    let variables = loader.read_variables(sources);
    let environment = |name: &str| {
        let own = (sources.environment)(name);
        own.or_else(|| variables.get(name).cloned())
    };
    loader.read_files(sources, &environment);
    loader.read_environment(&environment);
    loader.read_command_line(sources, &environment);
    loader.finish()
}

/// The documented keys, as `--keys` prints them.
pub(crate) fn describe_keys() -> String {
    let describe = |key: &Key| {
        let line = format!("{} = {}", key.name, key.default);
        format!("# {}\n{}\n\n", key.doc, line.trim_end())
    };
    KEYS.iter().map(describe).collect()
}

#[derive(Default)]
struct Loader {
    config: Effective,
    given: Given,
    /// Rows of the table of keys whose default list has been emptied.
    cleared: BTreeSet<usize>,
    /// Encrypted values, by row and word; read when it is known how.
    encrypted: BTreeMap<(usize, String), Setting>,
    warnings: Vec<String>,
    errors: Vec<String>,
}

impl Loader {
    /// What `rabbitmq-env.conf` sets: the file of RABBITMQ_CONF_ENV_FILE, or the one in the directory of configuration.
    /// The process's own environment counts more.
    fn read_variables(&mut self, sources: &Sources<'_>) -> BTreeMap<String, String> {
        let named = variable(sources.environment, "RABBITMQ_CONF_ENV_FILE").map(PathBuf::from);
        let beside = || {
            let directory = main_file(sources, sources.environment)?;
            let file = directory.join(ENVIRONMENT_FILE);
            file.is_file().then_some(file)
        };
        let Some(path) = named.or_else(beside) else {
            return BTreeMap::new();
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let (variables, errors) = syntax::parse_variables(&text, &path);
                self.complain(&errors);
                variables
            }
            Err(error) => {
                self.errors.push(format!("{}: {error}", path.display()));
                BTreeMap::new()
            }
        }
    }

    /// The main file, then those of `conf.d` in the order of their names.
    fn read_files(&mut self, sources: &Sources<'_>, environment: Environment<'_>) {
        let main = main_file(sources, environment);
        let more = variable(environment, "RABBITMQ_CONFIG_FILES").map(PathBuf::from);
        for path in main.iter().chain(&more) {
            match conf_files(path) {
                Ok(files) => files
                    .iter()
                    .for_each(|file| self.read_file(file, environment)),
                Err(error) => self.errors.push(format!("{}: {error}", path.display())),
            }
        }
        let erlang = variable(environment, "RABBITMQ_ADVANCED_CONFIG_FILE").map(PathBuf::from);
        let beside = main.map(|main| main.join("advanced.config"));
        for path in erlang.iter().chain(&beside).filter(|path| path.is_file()) {
            let warning = format!("{}: Erlang terms are not read, ignored", path.display());
            self.warnings.push(warning);
        }
    }

    fn read_file(&mut self, path: &Path, environment: Environment<'_>) {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                self.config.files.push(path.display().to_string());
                let (settings, errors) = syntax::parse(&text, path, environment);
                self.complain(&errors);
                settings.iter().for_each(|setting| self.apply(setting));
            }
            Err(error) => self.errors.push(format!("{}: {error}", path.display())),
        }
    }

    fn complain(&mut self, errors: &[syntax::SyntaxError]) {
        let lines = errors.iter().map(|e| format!("{}: {}", e.place, e.reason));
        self.errors.extend(lines);
    }

    fn read_environment(&mut self, environment: Environment<'_>) {
        let variable = |name| variable(environment, name);
        let long = variable("RABBITMQ_USE_LONGNAME").is_some_and(|value| value == "true");
        let host = if long {
            effective::long_host_name()
        } else {
            effective::host_name()
        };
        let name = variable("RABBITMQ_NODENAME").unwrap_or_else(|| "rabbit".to_owned());
        self.config.node_name = full_node_name(name, &host);
        let directory = variable("RABBITMQ_MNESIA_DIR").map(PathBuf::from);
        let base = || Some(PathBuf::from(variable("RABBITMQ_MNESIA_BASE")?));
        let in_base = || Some(base()?.join(&self.config.node_name));
        if let Some(directory) = directory.or_else(in_base) {
            self.config.data_dir = directory;
        }
        self.read_log_variables(environment);
        let (ip, port) = (
            variable("RABBITMQ_NODE_IP_ADDRESS"),
            variable("RABBITMQ_NODE_PORT"),
        );
        let listener = match (ip, port) {
            (Some(ip), port) => {
                let port = port.unwrap_or_else(|| "5672".to_owned());
                Some(("RABBITMQ_NODE_IP_ADDRESS", format!("{ip}:{port}")))
            }
            (None, Some(port)) => Some(("RABBITMQ_NODE_PORT", port)),
            (None, None) => None,
        };
        if let Some((variable, value)) = listener {
            self.config.tcp.clear();
            if let Found::Key(row, _) = keys::find("listeners.tcp.default") {
                self.given.forget(row);
            }
            self.apply_value(Place::Environment(variable), "listeners.tcp.default", value);
        }
        for (name, key) in [
            ("RABBITMQ_DEFAULT_USER", "default_user"),
            ("RABBITMQ_DEFAULT_PASS", "default_pass"),
            ("RABBITMQ_DEFAULT_VHOST", "default_vhost"),
        ] {
            if let Some(value) = variable(name) {
                self.apply_value(Place::Environment(name), key, value);
            }
        }
    }

    /// RABBITMQ_LOG is a list of levels, alone or behind a category (`debug,queue=warning`); RABBITMQ_LOGS is the file, or `-`
    /// for the standard output.
    fn read_log_variables(&mut self, environment: Environment<'_>) {
        let mut apply = |name, key: &str, value: &str| {
            self.apply_value(Place::Environment(name), key, value.to_owned());
        };
        for word in variable(environment, "RABBITMQ_LOG")
            .iter()
            .flat_map(|list| list.split(','))
        {
            let name = "RABBITMQ_LOG";
            match word.split_once('=') {
                Some((category, level)) => apply(name, &format!("log.{category}.level"), level),
                None if word == "+color" => apply(name, "log.console.use_colors", "true"),
                None if word == "-color" => apply(name, "log.console.use_colors", "false"),
                None => apply(name, "log.level", word),
            }
        }
        if let Some(directory) = variable(environment, "RABBITMQ_LOG_BASE") {
            apply("RABBITMQ_LOG_BASE", "log.dir", &directory);
        }
        match variable(environment, "RABBITMQ_LOGS").as_deref() {
            None => {}
            Some("-") => apply("RABBITMQ_LOGS", "log.console", "true"),
            Some(file) => apply("RABBITMQ_LOGS", "log.file", file),
        }
    }

    fn read_command_line(&mut self, sources: &Sources<'_>, environment: Environment<'_>) {
        for line in &sources.set {
            match syntax::parse_line(line, environment) {
                Ok(Some((key, value))) => self.apply_value(Place::CommandLine, &key, value),
                Ok(None) => {}
                Err(reason) => self
                    .errors
                    .push(format!("{}: {reason}", Place::CommandLine)),
            }
        }
        self.config.accept_loss = sources.accept_loss;
        if let Some(data_dir) = &sources.data_dir {
            self.config.data_dir.clone_from(data_dir);
        }
    }

    fn apply_value(&mut self, place: Place, key: &str, value: String) {
        self.apply(&Setting {
            key: key.to_owned(),
            value,
            place,
        });
    }

    fn apply(&mut self, setting: &Setting) {
        let Setting { key, value, place } = setting;
        match keys::find(key) {
            Found::Key(index, word) => {
                let slot = (index, word.to_owned());
                if KEYS[index].is_secret() && value.starts_with(secret::PREFIX) {
                    self.encrypted.insert(slot, setting.clone());
                } else {
                    self.encrypted.remove(&slot);
                    self.set(index, word, setting, value);
                }
            }
            Found::WithoutEffect => self.warn(place, key, "has no effect here"),
            Found::Unsupported => self.warn(place, key, "is not supported yet, ignored"),
            Found::Unknown => self.warn(place, key, "is not a known key, ignored"),
        }
    }

    /// Takes a value, which is that of the setting unless that one is encrypted.
    fn set(&mut self, index: usize, word: &str, setting: &Setting, value: &str) {
        let row = &KEYS[index];
        if self.cleared.insert(index) {
            (row.clear)(&mut self.config);
        }
        match (row.set)(&mut self.config, word, value) {
            Ok(()) => self.given.note(index, word, setting),
            Err(reason) => self.complain_of(setting, &reason),
        }
    }

    fn complain_of(&mut self, setting: &Setting, reason: &str) {
        let Setting { key, place, .. } = setting;
        self.errors.push(format!("{place}: {key}: {reason}"));
    }

    fn decrypt(&mut self) {
        for ((index, word), setting) in std::mem::take(&mut self.encrypted) {
            match self.config.decoder.decrypt(&setting.value) {
                Ok(value) => self.set(index, &word, &setting, &value),
                Err(reason) => self.complain_of(&setting, &reason),
            }
        }
    }

    fn warn(&mut self, place: &Place, key: &str, what: &str) {
        self.warnings.push(format!("{place}: {key} {what}"));
    }

    /// Checks what no single key can.
    fn finish(mut self) -> Result<Loaded, ConfigError> {
        self.decrypt();
        let ssl = &self.config.ssl_options;
        if !self.config.ssl.is_empty() && (ssl.cert_file.is_none() || ssl.key_file.is_none()) {
            self.errors.push(
                "listeners.ssl needs ssl_options.certfile and ssl_options.keyfile".to_owned(),
            );
        }
        if ssl.verify_peer && ssl.ca_cert_file.is_none() {
            self.errors
                .push("ssl_options.verify = verify_peer needs ssl_options.cacertfile".to_owned());
        }
        let validation = &self.config.access.validation;
        if validation.rule == Rule::Expression && validation.expression.is_none() {
            let name = "rabbit_credential_validator_password_regexp";
            let error = format!("{name} needs credential_validator.regexp");
            self.errors.push(error);
        }
        self.check_backends();
        self.check_https();
        let ciphers = &self.config.ssl_options.ciphers;
        let unknown: Vec<&String> = ciphers
            .values()
            .filter(|name| tls::suite(name).is_none())
            .collect();
        if !unknown.is_empty() && unknown.len() == ciphers.values().count() {
            self.errors
                .push("ssl_options.ciphers: none of these is spoken here".to_owned());
        }
        let left_out = |name| format!("ssl_options.ciphers: {name} is not spoken here, left out");
        self.warnings.extend(unknown.into_iter().map(left_out));
        if self.errors.is_empty() {
            Ok(Loaded {
                config: self.config,
                given: self.given,
                warnings: self.warnings,
            })
        } else {
            Err(ConfigError(self.errors))
        }
    }
}

impl Loader {
    /// What HTTP with TLS can't do without.
    fn check_https(&mut self) {
        let sections = [
            ("management", &self.config.management.ssl),
            ("prometheus", &self.config.prometheus.ssl),
        ];
        for (section, https) in sections {
            let options = &https.options;
            let is_whole = options.cert_file.is_some() && options.key_file.is_some();
            if https.is_configured() && !is_whole {
                self.errors.push(format!(
                    "{section}.ssl needs {section}.ssl.certfile and {section}.ssl.keyfile"
                ));
            }
            if options.verify_peer && options.ca_cert_file.is_none() {
                self.errors.push(format!(
                    "{section}.ssl.verify = verify_peer needs {section}.ssl.cacertfile"
                ));
            }
            let unknown = options.ciphers.values();
            let unknown = unknown.filter(|name| tls::suite(name).is_none());
            let wrong =
                |name| format!("{section}.ssl.ciphers: {name} is not spoken here, left out");
            self.warnings.extend(unknown.map(wrong));
        }
    }

    /// What the backends of the chain can't do without.
    fn check_backends(&mut self) {
        let auth = &self.config.auth;
        let names: Vec<_> = auth.chain.values().map(|entry| entry.names()).collect();
        let cached = |name| match name {
            BackendName::Cache => auth.cache.cached.unwrap_or(BackendName::Internal),
            name => name,
        };
        let knows = |name| names.iter().any(|(authn, _)| cached(*authn) == name);
        let decides = |name| names.iter().any(|(_, authz)| cached(*authz) == name);
        let http = &auth.http;
        let oauth2 = &auth.oauth2;
        let has_keys =
            |name: Option<&str>| oauth2.provider(name).is_some_and(ProviderOptions::has_keys);
        let servers = oauth2.resource_servers();
        let lacks_keys = servers
            .iter()
            .any(|server| !has_keys(server.provider.as_deref()));
        let is_named = |(authn, authz): &(_, _)| [*authn, *authz].contains(&BackendName::Cache);
        let needs = [
            (
                knows(BackendName::Http) && http.user_path.is_none(),
                "http needs auth_http.user_path",
            ),
            (
                decides(BackendName::Http)
                    && [&http.vhost_path, &http.resource_path, &http.topic_path]
                        .iter()
                        .any(|it| it.is_none()),
                "http needs auth_http.vhost_path, resource_path and topic_path",
            ),
            (
                (knows(BackendName::Ldap) || decides(BackendName::Ldap))
                    && auth.ldap.servers.is_empty(),
                "ldap needs auth_ldap.servers",
            ),
            (
                auth.ldap.dn_lookup_attribute.is_some() && auth.ldap.dn_lookup_base.is_none(),
                "auth_ldap.dn_lookup_attribute needs auth_ldap.dn_lookup_base",
            ),
            (
                knows(BackendName::Oauth2) && servers.is_empty(),
                "oauth2 needs auth_oauth2.resource_server_id or resource_servers",
            ),
            (
                knows(BackendName::Oauth2) && lacks_keys,
                "oauth2 needs auth_oauth2.jwks_uri, issuer or signing_keys",
            ),
            (
                names.iter().any(|(authn, authz)| {
                    cached(*authz) == BackendName::Oauth2 && cached(*authn) != BackendName::Oauth2
                }),
                "oauth2 decides only for those whose token it has seen",
            ),
            (
                names.iter().any(is_named) && auth.cache.cached.is_none(),
                "cache needs auth_cache.cached_backend",
            ),
        ];
        let missing = needs.into_iter().filter(|(is_missing, _)| *is_missing);
        let lines = missing.map(|(_, what)| format!("auth_backends: {what}"));
        self.errors.extend(lines.collect::<Vec<_>>());
    }
}

/// RABBITMQ_CONFIG_FILE may leave the ending out.
fn with_extension(path: PathBuf) -> PathBuf {
    if path.extension().is_some() || path.is_dir() {
        path
    } else {
        path.with_extension("conf")
    }
}

/// Sets variables for a node, in a directory of configuration; its ending is that of the other files there.
const ENVIRONMENT_FILE: &str = "rabbitmq-env.conf";

/// An empty variable counts as not set.
fn variable(environment: Environment<'_>, name: &str) -> Option<String> {
    environment(name).filter(|value| !value.is_empty())
}

fn main_file(sources: &Sources<'_>, environment: Environment<'_>) -> Option<PathBuf> {
    let named = || variable(environment, "RABBITMQ_CONFIG_FILE").map(PathBuf::from);
    sources.file.clone().or_else(|| named().map(with_extension))
}

/// The file itself, or the `*.conf` files of a directory (which may be written `dir/*.conf`) in the order of their names,
/// and then those of its `conf.d`.
fn conf_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let wildcard = path.file_name().is_some_and(|name| name == "*.conf");
    let path = if wildcard {
        path.parent().unwrap_or(path)
    } else {
        path
    };
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = std::fs::read_dir(path)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| {
        file.is_file()
            && file.extension().is_some_and(|ending| ending == "conf")
            && !file.ends_with(ENVIRONMENT_FILE)
    });
    files.sort();
    let more = path.join("conf.d");
    if more.is_dir() {
        files.extend(conf_files(&more)?);
    }
    Ok(files)
}

fn full_node_name(name: String, host: &str) -> String {
    if name.contains('@') {
        name
    } else {
        format!("{name}@{host}")
    }
}

#[cfg(test)]
mod tests;
