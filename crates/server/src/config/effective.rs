//! The configuration as the rest of the program sees it: plain values, defaults filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use leveret_broker::users::{PasswordRule, Pattern};

use super::secret::Decoder;
use leveret_broker::options::{Interceptors, RatesMode};
use leveret_broker::queue::Kind;

use crate::auth::{self, BackendName};
use crate::definitions::Definitions;
use crate::logs;
use crate::tls::login::CertificateLogin;

/// Everything that can be configured. What is absent from every source has RabbitMQ's default, but for the interfaces:
/// a node that nobody configured listens on the loopback ones only.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Effective {
    pub(crate) node_name: String,
    pub(crate) cluster_name: Option<String>,
    pub(crate) cluster_tags: BTreeMap<String, String>,
    pub(crate) data_dir: PathBuf,
    /// Start without what is damaged in the log (`--accept-loss`).
    pub(crate) accept_loss: bool,
    /// The files that were read.
    pub(crate) files: Vec<String>,
    /// Reads encrypted values.
    pub(crate) decoder: Decoder,
    pub(crate) tcp: Numbered<Address>,
    /// Without TLS certificates there can be no entry here.
    pub(crate) ssl: Numbered<Address>,
    pub(crate) ssl_options: SslOptions,
    pub(crate) certificate_login: CertificateLogin,
    pub(crate) socket: SocketOptions,
    pub(crate) handshake_timeout_ms: u64,
    pub(crate) ssl_handshake_timeout_ms: u64,
    pub(crate) limits: Limits,
    pub(crate) access: Access,
    pub(crate) auth: Auth,
    pub(crate) default_queue_type: String,
    pub(crate) relaxed_quorum_redeclaration: bool,
    /// Deprecated features that the operator permitted (true) or forbade (false) by name.
    pub(crate) deprecated_features: BTreeMap<String, bool>,
    pub(crate) memory_high_watermark: Watermark,
    /// The part of it that waiting messages may take; `None`: an eighth, and 256 MiB at most.
    pub(crate) paging_ratio: Option<f64>,
    /// `None`: as much as the speed of publishers asks for (`disk_floor`).
    pub(crate) disk_free_limit: Option<Watermark>,
    /// What the watermarks are a part of; the machine's memory when not set. Bytes.
    pub(crate) total_memory: Option<u64>,
    pub(crate) log: logs::Options,
    pub(crate) event_exchange: EventExchange,
    pub(crate) interceptors: Interceptors,
    /// Types that no new queue may have.
    pub(crate) disabled_queue_kinds: Vec<Kind>,
    pub(crate) definitions: Definitions,
    pub(crate) management: Management,
    pub(crate) prometheus: Prometheus,
}

/// The HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Management {
    pub(crate) tcp: HttpListener,
    pub(crate) ssl: HttpsListener,
    /// Names and passwords do not count, only tokens.
    pub(crate) disable_basic_auth: bool,
    /// How long a log-in to the web pages lasts; `None`: as they please.
    pub(crate) login_session_minutes: Option<u32>,
    pub(crate) oauth: OauthPages,
    pub(crate) path_prefix: String,
    pub(crate) rates_mode: RatesMode,
    pub(crate) body_bytes_max: usize,
    /// Origins whose pages may read answers; `*` stands for all.
    pub(crate) cors_origins: Numbered<String>,
    pub(crate) cors_max_age_s: u32,
}

/// The metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prometheus {
    pub(crate) tcp: HttpListener,
    pub(crate) ssl: HttpsListener,
    pub(crate) path: String,
}

/// Where HTTP is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpListener {
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    /// A connection without a request is closed after this.
    pub(crate) idle_timeout_ms: u64,
    pub(crate) connections_max: Option<usize>,
}

impl HttpListener {
    /// Whether nobody has said where to listen.
    pub(crate) fn is_default(&self) -> bool {
        self.ip.is_none() && self.port.is_none()
    }

    /// This machine only, unless something else was asked for.
    pub(crate) fn address(&self, default_port: u16) -> Address {
        match (self.ip, self.port) {
            (Some(ip), port) => Address::At(SocketAddr::new(ip, port.unwrap_or(default_port))),
            (None, Some(port)) => Address::Everywhere(port),
            (None, None) => Address::Loopback(default_port),
        }
    }
}

/// Where HTTP is spoken with TLS; nowhere unless something is said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HttpsListener {
    pub(crate) listener: HttpListener,
    pub(crate) options: SslOptions,
}

impl HttpsListener {
    pub(crate) fn is_configured(&self) -> bool {
        !self.listener.is_default() || self.options != SslOptions::default()
    }
}

/// How the web pages get a token of OAuth 2 (`management.oauth_*`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OauthPages {
    pub(crate) enabled: bool,
    /// The pages ask for a name and password, too.
    pub(crate) shows_basic_auth: bool,
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret: Option<String>,
    /// `None`: the issuer of the tokens.
    pub(crate) provider_url: Option<String>,
    pub(crate) metadata_url: Option<String>,
    pub(crate) scopes: Option<String>,
    pub(crate) is_idp_initiated: bool,
    pub(crate) authorization_endpoint_params: BTreeMap<String, String>,
    pub(crate) token_endpoint_params: BTreeMap<String, String>,
}

/// Where events are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventExchange {
    pub(crate) on: bool,
    /// `None`: the default one.
    pub(crate) vhost: Option<String>,
}

impl Default for EventExchange {
    fn default() -> Self {
        Self {
            on: true,
            vhost: None,
        }
    }
}

/// What a client may ask for. `None`: no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Offered in `connection.tune`, seconds; 0 turns heartbeats off.
    pub(crate) heartbeat_s: u16,
    /// Offered in `connection.tune`, bytes.
    pub(crate) frame_max: u32,
    /// Until the client is authenticated, bytes.
    pub(crate) initial_frame_max: u32,
    /// Offered in `connection.tune`; 0 is no limit.
    pub(crate) channel_max: u16,
    pub(crate) message_bytes_max: u64,
    pub(crate) consumer_timeout_ms: Option<u64>,
    pub(crate) consumers_per_channel: Option<u64>,
    pub(crate) connections: Option<u64>,
    pub(crate) channels: Option<u64>,
    pub(crate) vhosts: Option<u64>,
    pub(crate) queues: Option<u64>,
    pub(crate) exchanges: Option<u64>,
}

/// Who may log in, and the user of a node that has none yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) default_user: String,
    pub(crate) default_pass: String,
    pub(crate) default_vhost: String,
    pub(crate) default_user_tags: BTreeSet<String>,
    pub(crate) default_permissions: Permissions,
    /// Users who may connect from this machine only.
    pub(crate) loopback_users: BTreeSet<String>,
    /// The user that SASL ANONYMOUS logs in as; `None` refuses it.
    pub(crate) anonymous_login: Option<String>,
    pub(crate) anonymous_login_pass: String,
    /// Log-ins are counted by who came from where.
    pub(crate) track_attempt_source: bool,
    /// In order of preference.
    pub(crate) auth_mechanisms: Numbered<String>,
    pub(crate) validation: Validation,
}

/// What new passwords have to be: `credential_validator.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validation {
    pub(crate) rule: Rule,
    pub(crate) min_length: usize,
    pub(crate) expression: Option<String>,
}

/// Which of them counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Anything,
    MinLength,
    Expression,
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            rule: Rule::Anything,
            min_length: 5,
            expression: None,
        }
    }
}

impl Validation {
    pub(crate) fn password_rule(&self) -> PasswordRule {
        match (self.rule, &self.expression) {
            (Rule::MinLength, _) => PasswordRule::MinLength(self.min_length),
            (Rule::Expression, Some(expression)) => {
                PasswordRule::Matching(Pattern::new(expression))
            }
            _ => PasswordRule::Anything,
        }
    }
}

/// Who is asked who somebody is, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Auth {
    /// By number.
    pub(crate) chain: BTreeMap<u32, auth::Entry>,
    pub(crate) http: auth::http::Options,
    pub(crate) ldap: auth::ldap::Options,
    pub(crate) oauth2: auth::oauth2::Options,
    pub(crate) cache: auth::cache::Options,
}

impl Default for Auth {
    fn default() -> Self {
        let internal = auth::Entry {
            authn: Some(BackendName::Internal),
            authz: Some(BackendName::Internal),
        };
        Self {
            chain: BTreeMap::from([(1, internal)]),
            http: auth::http::Options::default(),
            ldap: auth::ldap::Options::default(),
            oauth2: auth::oauth2::Options::default(),
            cache: auth::cache::Options::default(),
        }
    }
}

/// Three regular expressions on names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permissions {
    pub(crate) configure: String,
    pub(crate) write: String,
    pub(crate) read: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SslOptions {
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) ca_cert_file: Option<PathBuf>,
    /// Ask the client for a certificate and check it against `ca_cert_file`.
    pub(crate) verify_peer: bool,
    /// Refuse a client that has none.
    pub(crate) fail_if_no_peer_cert: bool,
    /// Empty: all that we speak.
    pub(crate) versions: Numbered<TlsVersion>,
    /// OpenSSL's names, the preferred one first. Empty: all that we speak.
    pub(crate) ciphers: Numbered<String>,
    /// Our order of cipher suites counts, not the client's.
    pub(crate) honor_cipher_order: bool,
    /// Intermediate certificates that a client's chain may have.
    pub(crate) depth: Option<u8>,
    pub(crate) crl_check: CrlCheck,
    /// Of an encrypted private key.
    pub(crate) password: Option<String>,
}

/// Whether revoked certificates are looked for. The lists stand in `ca_cert_file`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum CrlCheck {
    #[default]
    Off,
    /// Of the client's certificate only.
    Peer,
    /// Of the whole chain.
    All,
    /// Of the whole chain, as far as there are lists.
    BestEffort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    Tls12,
    Tls13,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SocketOptions {
    pub(crate) backlog: i32,
    pub(crate) nodelay: bool,
    pub(crate) keepalive: bool,
    pub(crate) linger_on: bool,
    pub(crate) linger_s: u16,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) receive_buffer: Option<usize>,
    /// A proxy says first for whom it speaks.
    pub(crate) proxy_protocol: bool,
}

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address {
    /// On every interface, IPv4 and IPv6.
    Everywhere(u16),
    /// On 127.0.0.1 and ::1.
    Loopback(u16),
    At(SocketAddr),
}

/// A limit on memory or disk: a part of the memory there is, or bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Watermark {
    Relative(f64),
    Absolute(u64),
}

/// A list whose entries the file names: `listeners.tcp.1`, `listeners.tcp.2`, `listeners.tcp.default`. Numbers come in
/// their order, before other names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbered<T>(BTreeMap<(u32, String), T>);

impl<T> Numbered<T> {
    pub(crate) fn set(&mut self, name: &str, value: T) {
        let rank = name.parse().unwrap_or(u32::MAX);
        self.0.insert((rank, name.to_owned()), value);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> FromIterator<T> for Numbered<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut list = Self::default();
        for (index, value) in values.into_iter().enumerate() {
            list.set(&(index + 1).to_string(), value);
        }
        list
    }
}

impl Default for Effective {
    fn default() -> Self {
        Self {
            node_name: format!("rabbit@{}", host_name()),
            cluster_name: None,
            cluster_tags: BTreeMap::new(),
            data_dir: PathBuf::from("data"),
            accept_loss: false,
            files: Vec::new(),
            decoder: Decoder::default(),
            tcp: Numbered::from_iter([Address::Loopback(5672)]),
            ssl: Numbered::default(),
            ssl_options: SslOptions::default(),
            certificate_login: CertificateLogin::default(),
            socket: SocketOptions::default(),
            handshake_timeout_ms: 10_000,
            ssl_handshake_timeout_ms: 5_000,
            limits: Limits::default(),
            access: Access::default(),
            auth: Auth::default(),
            default_queue_type: "classic".to_owned(),
            relaxed_quorum_redeclaration: false,
            deprecated_features: BTreeMap::new(),
            event_exchange: EventExchange::default(),
            interceptors: Interceptors::default(),
            disabled_queue_kinds: Vec::new(),
            memory_high_watermark: Watermark::Relative(0.6),
            paging_ratio: None,
            disk_free_limit: None,
            total_memory: None,
            log: logs::Options::default(),
            definitions: Definitions::default(),
            management: Management::default(),
            prometheus: Prometheus::default(),
        }
    }
}

impl Default for Management {
    fn default() -> Self {
        Self {
            tcp: HttpListener::default(),
            ssl: HttpsListener::default(),
            disable_basic_auth: false,
            login_session_minutes: None,
            oauth: OauthPages::default(),
            path_prefix: String::new(),
            rates_mode: RatesMode::Basic,
            body_bytes_max: 20_000_000,
            cors_origins: Numbered::default(),
            cors_max_age_s: 1800,
        }
    }
}

impl Default for Prometheus {
    fn default() -> Self {
        Self {
            tcp: HttpListener::default(),
            ssl: HttpsListener::default(),
            path: "/metrics".to_owned(),
        }
    }
}

impl Default for HttpListener {
    fn default() -> Self {
        Self {
            ip: None,
            port: None,
            idle_timeout_ms: 60_000,
            connections_max: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heartbeat_s: 60,
            frame_max: 131_072,
            initial_frame_max: 8192,
            channel_max: 2047,
            message_bytes_max: 16 << 20,
            consumer_timeout_ms: Some(1_800_000),
            consumers_per_channel: None,
            connections: None,
            channels: None,
            vhosts: None,
            queues: None,
            exchanges: None,
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Self {
            default_user: "guest".to_owned(),
            default_pass: "guest".to_owned(),
            default_vhost: "/".to_owned(),
            default_user_tags: BTreeSet::from(["administrator".to_owned()]),
            default_permissions: Permissions {
                configure: ".*".to_owned(),
                write: ".*".to_owned(),
                read: ".*".to_owned(),
            },
            loopback_users: BTreeSet::from(["guest".to_owned()]),
            anonymous_login: Some("guest".to_owned()),
            anonymous_login_pass: "guest".to_owned(),
            track_attempt_source: false,
            validation: Validation::default(),
            auth_mechanisms: ["PLAIN", "AMQPLAIN", "ANONYMOUS"]
                .map(str::to_owned)
                .into_iter()
                .collect(),
        }
    }
}

impl SocketOptions {
    /// For HTTP, which `tcp_listen_options` is not about. What a client has yet to read when its connection ends stays
    /// readable.
    pub(crate) fn http() -> Self {
        Self {
            linger_on: false,
            ..Self::default()
        }
    }
}

impl Default for SocketOptions {
    /// A linger of 0 s: closing a socket drops what its client would not read, instead of keeping it in the kernel.
    fn default() -> Self {
        Self {
            backlog: 128,
            nodelay: true,
            keepalive: false,
            linger_on: true,
            linger_s: 0,
            send_buffer: None,
            receive_buffer: None,
            proxy_protocol: false,
        }
    }
}

/// The machine's name up to the first dot, as RabbitMQ's short node names have it.
pub(crate) fn host_name() -> String {
    let name = long_host_name();
    name.split('.').next().unwrap_or("localhost").to_owned()
}

/// The machine's whole name, for RABBITMQ_USE_LONGNAME.
pub(crate) fn long_host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    match name.as_ref() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
