//! The configuration: RabbitMQ's keys from a file, the environment and the command line, in that order; the later wins.
//!
//! Read [`effective`] for what there is, [`keys`] for how each key is spelled.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) mod effective;
mod keys;
mod syntax;
mod value;

pub(crate) use effective::{Address, Effective};
use keys::{Found, KEYS, Key};
use syntax::{Place, Setting};

/// Looks an environment variable up. A function, so that tests need not change the process's own.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where the configuration comes from.
pub(crate) struct Sources<'a> {
    /// `--config`; without it RABBITMQ_CONFIG_FILE.
    pub(crate) file: Option<PathBuf>,
    /// `--data-dir`.
    pub(crate) data_dir: Option<PathBuf>,
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

/// Gives the configuration and what the operator should know about it, one line each.
pub(crate) fn load(sources: &Sources<'_>) -> Result<(Effective, Vec<String>), ConfigError> {
    let mut loader = Loader::default();
    loader.read_files(sources);
    loader.read_environment(sources.environment);
    loader.read_command_line(sources);
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
    /// Rows of the table of keys whose default list has been emptied.
    cleared: BTreeSet<usize>,
    warnings: Vec<String>,
    errors: Vec<String>,
}

impl Loader {
    /// The main file, then those of `conf.d` in the order of their names.
    fn read_files(&mut self, sources: &Sources<'_>) {
        let variable = |name| {
            (sources.environment)(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let main = sources
            .file
            .clone()
            .or_else(|| variable("RABBITMQ_CONFIG_FILE").map(with_extension));
        let more = variable("RABBITMQ_CONFIG_FILES");
        for path in main.iter().chain(&more) {
            match conf_files(path) {
                Ok(files) => files
                    .iter()
                    .for_each(|file| self.read_file(file, sources.environment)),
                Err(error) => self.errors.push(format!("{}: {error}", path.display())),
            }
        }
    }

    fn read_file(&mut self, path: &Path, environment: Environment<'_>) {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let (settings, errors) = syntax::parse(&text, path, environment);
                self.errors
                    .extend(errors.iter().map(|e| format!("{}: {}", e.place, e.reason)));
                settings.iter().for_each(|setting| self.apply(setting));
            }
            Err(error) => self.errors.push(format!("{}: {error}", path.display())),
        }
    }

    fn read_environment(&mut self, environment: Environment<'_>) {
        let variable = |name| environment(name).filter(|value| !value.is_empty());
        if let Some(name) = variable("RABBITMQ_NODENAME") {
            self.config.node_name = full_node_name(name);
        }
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

    fn read_command_line(&mut self, sources: &Sources<'_>) {
        for line in &sources.set {
            match syntax::parse_line(line, sources.environment) {
                Ok(Some((key, value))) => self.apply_value(Place::CommandLine, &key, value),
                Ok(None) => {}
                Err(reason) => self
                    .errors
                    .push(format!("{}: {reason}", Place::CommandLine)),
            }
        }
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

    fn apply(&mut self, Setting { key, value, place }: &Setting) {
        match keys::find(key) {
            Found::Key(index, word) => {
                let row = &KEYS[index];
                if self.cleared.insert(index) {
                    (row.clear)(&mut self.config);
                }
                if let Err(reason) = (row.set)(&mut self.config, word, value) {
                    self.errors.push(format!("{place}: {key}: {reason}"));
                }
            }
            Found::WithoutEffect => self.warn(place, key, "has no effect here"),
            Found::Unsupported => self.warn(place, key, "is not supported yet, ignored"),
            Found::Unknown => self.warn(place, key, "is not a known key, ignored"),
        }
    }

    fn warn(&mut self, place: &Place, key: &str, what: &str) {
        self.warnings.push(format!("{place}: {key} {what}"));
    }

    /// Checks what no single key can.
    fn finish(mut self) -> Result<(Effective, Vec<String>), ConfigError> {
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
        if self.errors.is_empty() {
            Ok((self.config, self.warnings))
        } else {
            Err(ConfigError(self.errors))
        }
    }
}

/// RABBITMQ_CONFIG_FILE may leave the ending out.
fn with_extension(path: PathBuf) -> PathBuf {
    if path.extension().is_some() {
        path
    } else {
        path.with_extension("conf")
    }
}

/// The file itself, or the `*.conf` files of a directory (which may be written `dir/*.conf`) in the order of their names.
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
        file.extension()
            .is_some_and(|extension| extension == "conf")
    });
    files.sort();
    Ok(files)
}

fn full_node_name(name: String) -> String {
    if name.contains('@') {
        name
    } else {
        format!("{name}@{}", effective::host_name())
    }
}

#[cfg(test)]
mod tests;
