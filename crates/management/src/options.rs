//! What the API is told at start, and what it asks the machine for.

use std::collections::BTreeMap;

use http::HeaderValue;
use leveret_broker::time::Timestamp;

use crate::operations::Operations;

/// See the module's page.
pub struct Options {
    /// `management.http.max_body_size`, bytes.
    pub body_bytes_max: usize,
    /// `management.path_prefix`: what stands before `/api`, with a slash in front; empty: nothing.
    pub path_prefix: String,
    /// `prometheus.path`.
    pub metrics_path: String,
    pub cors: Cors,
    /// Whether names and passwords count, or tokens only (`management.disable_basic_auth`).
    pub basic_authentication: bool,
    /// How long a log-in to the web pages lasts, minutes (`management.login_session_timeout`).
    pub login_session_minutes: Option<u32>,
    /// How the web pages get a token, if they are to (`management.oauth_enabled`).
    pub oauth: Option<Oauth>,
    /// The version of RabbitMQ that we are compatible with.
    pub rabbitmq_version: &'static str,
    /// Ours.
    pub leveret_version: &'static str,
    /// What the node does around the broker.
    pub operations: Box<dyn Operations>,
    pub data_dir: String,
    pub config_files: Vec<String>,
    /// SASL mechanisms that clients are offered.
    pub auth_mechanisms: Vec<String>,
    /// The time, for work that goes on after it was asked for.
    pub clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// Asked for each time somebody wants to know.
    pub host: Box<dyn Fn() -> Host + Send + Sync>,
}

/// Which pages of other origins may read answers (`management.cors.allow_origins`, `management.cors.max_age`).
#[derive(Debug, Default, Clone)]
pub struct Cors {
    /// `*` stands for all. Empty: none.
    pub origins: Vec<String>,
    pub max_age_s: u32,
}

impl Cors {
    pub(crate) fn allows(&self, origin: &HeaderValue) -> bool {
        let is = |allowed: &String| allowed == "*" || allowed.as_bytes() == origin.as_bytes();
        self.origins.iter().any(is)
    }
}

/// What the web pages are told about logging in with OAuth 2 (`management.oauth_*`).
#[derive(Debug, Default, Clone)]
pub struct Oauth {
    /// What tokens call this node.
    pub resource_server_id: String,
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
    /// Where users log in.
    pub provider_url: String,
    pub metadata_url: Option<String>,
    pub scopes: Option<String>,
    /// Users come from the provider with a token, and do not begin here.
    pub is_idp_initiated: bool,
    /// The pages do not ask for name and password.
    pub hides_basic_authentication: bool,
    pub authorization_endpoint_parameters: BTreeMap<String, String>,
    pub token_endpoint_parameters: BTreeMap<String, String>,
}

/// One listening socket.
#[derive(Debug, Clone)]
pub struct ListenerFacts {
    /// RabbitMQ's name for the protocol: `amqp`, `amqp/ssl`, `http`, `https`, `http/prometheus`, `https/prometheus`.
    pub protocol: &'static str,
    pub ip: String,
    pub port: u16,
}

/// The certificates of one listener.
#[derive(Debug, Clone)]
pub struct ListenerCertificates {
    /// As of [`ListenerFacts`].
    pub protocol: &'static str,
    pub ip: String,
    pub port: u16,
    /// What it shows, its own certificate first.
    pub own: Option<CertificateFile>,
    /// Whose certificates it trusts.
    pub authorities: Option<CertificateFile>,
}

/// What is in a file of certificates.
#[derive(Debug, Clone)]
pub struct CertificateFile {
    pub path: String,
    /// The error says why the file can't be read.
    pub certificates: Result<Vec<CertificateFacts>, String>,
}

/// A certificate. Names are written as RabbitMQ does (RFC 4514).
#[derive(Debug, Clone)]
pub struct CertificateFacts {
    pub subject: String,
    pub issuer: String,
    /// Hexadecimal octets with colons between.
    pub serial_number: String,
    pub not_before: Timestamp,
    /// The same as RabbitMQ writes it: `2026-11-26 8:05:00`.
    pub not_before_text: String,
    pub not_after: Timestamp,
    pub not_after_text: String,
    /// Hosts that it is for: names and addresses.
    pub names: Vec<String>,
}

/// What the process and its machine are like just now; 0 where it is not known.
#[derive(Debug, Clone, Default)]
pub struct Host {
    pub os_pid: u32,
    pub processors: u32,
    /// Resident bytes.
    pub memory_used: u64,
    pub memory_total: u64,
    /// More memory in use than this, bytes, is an alarm.
    pub memory_limit: u64,
    /// Bytes.
    pub disk_free: u64,
    /// Less free disk than this, bytes, is an alarm.
    pub disk_free_limit: u64,
    pub files_open: u64,
    pub files_max: u64,
    pub context_switches: u64,
    pub threads: u64,
    pub disk: DiskFigures,
}

/// What the log has done with its disk since the node started.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFigures {
    pub reads: DiskOperations,
    pub writes: DiskOperations,
    pub syncs: DiskOperations,
}

/// Operations of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskOperations {
    pub count: u64,
    /// Of reads and writes.
    pub bytes: u64,
    /// How long all of them took together.
    pub seconds: f64,
}

impl DiskOperations {
    /// How long one takes, ms.
    pub(crate) fn average_ms(&self) -> f64 {
        match self.count {
            0 => 0.0,
            count => self.seconds * 1000.0 / count as f64,
        }
    }
}
