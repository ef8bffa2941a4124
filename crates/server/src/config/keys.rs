//! The keys that mean something here, each with its default, and what happens to the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use jsonwebtoken::Algorithm;
use leveret_broker::options::{Overwrite, RatesMode};
use leveret_broker::queue::Kind;
use leveret_ctl::encryption;
use regex::Regex;

use tracing::level_filters::LevelFilter;

use super::effective::{CrlCheck, Effective, Rule, TlsVersion, Watermark};
use super::value::{
    address, flag, integer, integer_or_infinity, ip, one_of, part, relative, size, text,
};
use crate::auth::http::RequestMethod;
use crate::auth::ldap::query::Query;
use crate::auth::oauth2::ServerOptions;
use crate::auth::oauth2::provider::ProviderOptions;
use crate::auth::{self, BackendName};
use crate::logs::{self, Category, Format};
use crate::tls::login::{LoginFrom, SanType};

/// One row of the table.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    /// Dotted words; `*` stands for any one word.
    pub(crate) name: &'static str,
    /// As one would write it in a file. Empty: there is none, or the entries of a list.
    pub(crate) default: &'static str,
    /// The entries of a list that none is given for: words and values.
    pub(crate) entries: &'static [(&'static str, &'static str)],
    /// Printed by `leveret --keys`.
    pub(crate) doc: &'static str,
    /// A running node takes a new value on SIGHUP; the others count at its next start.
    pub(crate) live: bool,
    /// Takes the word that `*` stood for and the value; the error says what would have been allowed.
    pub(crate) set: fn(&mut Effective, &str, &str) -> Result<(), String>,
    /// Empties the default list; called before its first entry is set, so that the entries given are all there are.
    pub(crate) clear: fn(&mut Effective),
}

/// Whether the value of a key or a variable of this name is nobody's business.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let last = name.rsplit(['.', '_']).next();
    matches!(
        last,
        Some("pass" | "password" | "secret" | "passphrase" | "cookie")
    )
}

type Set = fn(&mut Effective, &str, &str) -> Result<(), String>;

const fn one(name: &'static str, default: &'static str, doc: &'static str, set: Set) -> Key {
    Key {
        name,
        default,
        entries: &[],
        doc,
        live: false,
        set,
        clear: |_| {},
    }
}

const fn list(name: &'static str, doc: &'static str, clear: fn(&mut Effective), set: Set) -> Key {
    Key {
        clear,
        ..one(name, "", doc, set)
    }
}

impl Key {
    const fn live(self) -> Self {
        Self { live: true, ..self }
    }

    const fn entries(self, entries: &'static [(&'static str, &'static str)]) -> Self {
        Self { entries, ..self }
    }

    /// Its name with `word` for `*`.
    pub(crate) fn full_name(&self, word: &str) -> String {
        self.name.replace('*', word)
    }

    /// Its value is not to be shown to anybody.
    pub(crate) fn is_secret(&self) -> bool {
        is_secret(self.name)
    }

    /// The other way to say the same; of both the one given last counts.
    pub(crate) fn is_rival_of(&self, other: &Self) -> bool {
        let counterpart = |a: &str, b: &str, ends: (&str, &str)| {
            let (a, b) = (a.strip_suffix(ends.0), b.strip_suffix(ends.1));
            a.is_some() && a == b
        };
        [(".*", ""), (".relative", ".absolute")]
            .iter()
            .any(|&(one, two)| {
                counterpart(self.name, other.name, (one, two))
                    || counterpart(other.name, self.name, (one, two))
            })
    }
}

fn put<T>(slot: &mut T, value: Result<T, String>) -> Result<(), String> {
    *slot = value?;
    Ok(())
}

fn path(value: &str) -> Result<Option<PathBuf>, String> {
    text(value).map(|path| Some(path.into()))
}

/// The word `none` empties a list; nothing else may stand there.
fn none(value: &str) -> Result<(), String> {
    one_of(value, &[("none", ())])
}

/// A set whose members are switched on or off by name.
fn member(set: &mut BTreeSet<String>, name: &str, value: &str) -> Result<(), String> {
    if flag(value)? {
        set.insert(name.to_owned());
    } else {
        set.remove(name);
    }
    Ok(())
}

const RATES_MODES: &[(&str, RatesMode)] = &[
    ("none", RatesMode::None),
    ("basic", RatesMode::Basic),
    ("detailed", RatesMode::Detailed),
];

const LEVELS: &[(&str, LevelFilter)] = &[
    ("debug", LevelFilter::DEBUG),
    ("info", LevelFilter::INFO),
    ("notice", LevelFilter::INFO),
    ("warning", LevelFilter::WARN),
    ("error", LevelFilter::ERROR),
    ("critical", LevelFilter::ERROR),
    ("alert", LevelFilter::ERROR),
    ("emergency", LevelFilter::ERROR),
    ("none", LevelFilter::OFF),
];

const VERIFY: &[(&str, bool)] = &[("verify_none", false), ("verify_peer", true)];

const TLS_VERSIONS: &[(&str, TlsVersion)] = &[
    ("tlsv1.2", TlsVersion::Tls12),
    ("tlsv1.3", TlsVersion::Tls13),
];

const CRL_CHECKS: &[(&str, CrlCheck)] = &[
    ("true", CrlCheck::All),
    ("false", CrlCheck::Off),
    ("peer", CrlCheck::Peer),
    ("best_effort", CrlCheck::BestEffort),
];

const LOGIN_NAMES: &[(&str, LoginFrom)] = &[
    ("distinguished_name", LoginFrom::DistinguishedName),
    ("common_name", LoginFrom::CommonName),
    (
        "subject_alternative_name",
        LoginFrom::SubjectAlternativeName,
    ),
    ("subject_alt_name", LoginFrom::SubjectAlternativeName),
];

const SAN_TYPES: &[(&str, SanType)] = &[
    ("dns", SanType::Dns),
    ("ip", SanType::Ip),
    ("email", SanType::Email),
    ("uri", SanType::Uri),
    ("other_name", SanType::OtherName),
];

/// The rows of a listener for HTTP.
#[rustfmt::skip]
macro_rules! http_listener {
    ($name:literal, $what:literal, $port:literal, $c:ident => $listener:expr) => {[
        one(concat!($name, ".port"), "", concat!("Port of ", $what, " on every interface; ", $port),
            |$c, _, v| put(&mut $listener.port, integer(v, 0..=u16::MAX).map(Some))),
        one(concat!($name, ".ip"), "", concat!("The one address of ", $what, "."),
            |$c, _, v| put(&mut $listener.ip, ip(v).map(Some))),
        one(concat!($name, ".idle_timeout"), "60000", "Milliseconds without a request until a connection is closed.",
            |$c, _, v| put(&mut $listener.idle_timeout_ms, integer(v, 1..=86_400_000))),
        one(concat!($name, ".max_connections"), "infinity", concat!("Connections to ", $what, "."),
            |$c, _, v| put(&mut $listener.connections_max, integer_or_infinity(v, 1..=usize::MAX))),
    ]};
}

/// The rows of TLS towards clients.
#[rustfmt::skip]
macro_rules! server_tls {
    ($name:literal, $c:ident => $options:expr) => {[
        one(concat!($name, ".certfile"), "", "PEM file: our certificate and its chain.",
            |$c, _, v| put(&mut $options.cert_file, path(v))).live(),
        one(concat!($name, ".keyfile"), "", "PEM file: the certificate's private key.",
            |$c, _, v| put(&mut $options.key_file, path(v))).live(),
        one(concat!($name, ".password"), "", "The password of an encrypted private key.",
            |$c, _, v| put(&mut $options.password, text(v).map(Some))).live(),
        one(concat!($name, ".cacertfile"), "", "PEM file: the authorities whose client certificates we trust.",
            |$c, _, v| put(&mut $options.ca_cert_file, path(v))).live(),
        one(concat!($name, ".verify"), "verify_none", "verify_peer asks clients for certificates.",
            |$c, _, v| put(&mut $options.verify_peer, one_of(v, VERIFY))).live(),
        one(concat!($name, ".fail_if_no_peer_cert"), "false", "Refuse clients without a certificate.",
            |$c, _, v| put(&mut $options.fail_if_no_peer_cert, flag(v))).live(),
        one(concat!($name, ".depth"), "", "Intermediate certificates that a client's chain may have.",
            |$c, _, v| put(&mut $options.depth, integer(v, 0..=u8::MAX).map(Some))).live(),
        list(concat!($name, ".versions.*"), "The TLS versions that may be spoken.", |$c| $options.versions.clear(),
            |$c, name, v| { $options.versions.set(name, one_of(v, TLS_VERSIONS)?); Ok(()) }).live(),
        list(concat!($name, ".ciphers.*"), "The cipher suites that may be used, by OpenSSL's names.", |$c| $options.ciphers.clear(),
            |$c, name, v| { $options.ciphers.set(name, text(v)?); Ok(()) }).live(),
        one(concat!($name, ".honor_cipher_order"), "false", "Our order of cipher suites counts, not the client's.",
            |$c, _, v| put(&mut $options.honor_cipher_order, flag(v))).live(),
    ]};
}

/// The rows of TLS towards somebody we ask.
#[rustfmt::skip]
macro_rules! client_tls {
    ($name:literal, $whom:literal, $c:ident => $options:expr) => {[
        one(concat!($name, ".cacertfile"), "", concat!("PEM file: who may have signed the certificate of ", $whom, "; the system's when not set."),
            |$c, _, v| put(&mut $options.ca_cert_file, path(v))),
        one(concat!($name, ".certfile"), "", concat!("PEM file: our certificate towards ", $whom, "."),
            |$c, _, v| put(&mut $options.cert_file, path(v))),
        one(concat!($name, ".keyfile"), "", "PEM file: that certificate's private key.",
            |$c, _, v| put(&mut $options.key_file, path(v))),
        one(concat!($name, ".password"), "", "The password of an encrypted private key.",
            |$c, _, v| put(&mut $options.password, text(v).map(Some))),
        one(concat!($name, ".verify"), "verify_peer", concat!("verify_none takes anybody for ", $whom, "."),
            |$c, _, v| put(&mut $options.verify_peer, one_of(v, VERIFY))),
    ]};
}

/// All keys, in the order in which they are printed.
#[rustfmt::skip]
pub(crate) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| [
    FIRST,
    &server_tls!("ssl_options", c => c.ssl_options),
    AFTER_TLS,
    &client_tls!("auth_http.ssl_options", "the HTTP backend", c => c.auth.http.tls),
    AFTER_HTTP_TLS,
    &client_tls!("auth_ldap.ssl_options", "an LDAP server", c => c.auth.ldap.tls),
    AFTER_LDAP_TLS,
    &http_listener!("management.tcp", "the HTTP API", "15672 on this machine's own when not set.", c => c.management.tcp),
    &http_listener!("management.ssl", "the HTTP API with TLS", "15671 when only certificates are given.", c => c.management.ssl.listener),
    &server_tls!("management.ssl", c => c.management.ssl.options),
    MANAGEMENT,
    &http_listener!("prometheus.tcp", "the metrics", "15692 on this machine's own when not set.", c => c.prometheus.tcp),
    &http_listener!("prometheus.ssl", "the metrics with TLS", "15691 when only certificates are given.", c => c.prometheus.ssl.listener),
    &server_tls!("prometheus.ssl", c => c.prometheus.ssl.options),
    PROMETHEUS,
].concat());

#[rustfmt::skip]
const FIRST: &[Key] = &[
    // Listeners.
    list("listeners.tcp.*", "Where to listen: port or IP:port.", |c| c.tcp.clear(),
        |c, name, v| { c.tcp.set(name, address(v)?); Ok(()) }).entries(&[("1", "localhost:5672")]),
    one("listeners.tcp", "", "`none`: no listener without TLS.",
        |c, _, v| { none(v)?; c.tcp.clear(); Ok(()) }),
    list("listeners.ssl.*", "Where to listen with TLS: port or IP:port.", |c| c.ssl.clear(),
        |c, name, v| { c.ssl.set(name, address(v)?); Ok(()) }),
    one("listeners.ssl", "", "`none`: no listener with TLS.",
        |c, _, v| { none(v)?; c.ssl.clear(); Ok(()) }),
    one("tcp_listen_options.backlog", "128", "Connections the kernel keeps until we accept them.",
        |c, _, v| put(&mut c.socket.backlog, integer(v, 1..=65_535))),
    one("tcp_listen_options.nodelay", "true", "Small writes leave at once.",
        |c, _, v| put(&mut c.socket.nodelay, flag(v))),
    one("tcp_listen_options.keepalive", "false", "The kernel probes silent connections.",
        |c, _, v| put(&mut c.socket.keepalive, flag(v))),
    one("tcp_listen_options.linger.on", "true", "Whether closing a socket waits for linger.timeout only.",
        |c, _, v| put(&mut c.socket.linger_on, flag(v))),
    one("tcp_listen_options.linger.timeout", "0", "Seconds that unsent bytes outlive a closed socket.",
        |c, _, v| put(&mut c.socket.linger_s, integer(v, 0..=u16::MAX))),
    one("tcp_listen_options.sndbuf", "", "The kernel's send buffer; its own choice when not set.",
        |c, _, v| put(&mut c.socket.send_buffer, size(v, 1..=1 << 30).map(|b| Some(b as usize)))),
    one("tcp_listen_options.recbuf", "", "The kernel's receive buffer; its own choice when not set.",
        |c, _, v| put(&mut c.socket.receive_buffer, size(v, 1..=1 << 30).map(|b| Some(b as usize)))),
    one("proxy_protocol", "false", "Clients come through a proxy that speaks the PROXY protocol, version 1 or 2.",
        |c, _, v| put(&mut c.socket.proxy_protocol, flag(v))),
    one("handshake_timeout", "10000", "Milliseconds a client has to log in.",
        |c, _, v| put(&mut c.handshake_timeout_ms, integer(v, 1..=86_400_000))),
    one("ssl_handshake_timeout", "5000", "Milliseconds a client has for the TLS handshake.",
        |c, _, v| put(&mut c.ssl_handshake_timeout_ms, integer(v, 1..=86_400_000))),

    // TLS.
];

#[rustfmt::skip]
const AFTER_TLS: &[Key] = &[
    one("ssl_options.crl_check", "false", "Refuse client certificates that a revocation list in cacertfile names.",
        |c, _, v| put(&mut c.ssl_options.crl_check, one_of(v, CRL_CHECKS))).live(),
    one("ssl_cert_login_from", "distinguished_name", "Where a client certificate has the name that EXTERNAL logs in.",
        |c, _, v| put(&mut c.certificate_login.from, one_of(v, LOGIN_NAMES))),
    one("ssl_cert_login_san_type", "dns", "Which kind of alternative name that is.",
        |c, _, v| put(&mut c.certificate_login.san_type, one_of(v, SAN_TYPES))),
    one("ssl_cert_login_san_index", "0", "Which one of that kind, from 0.",
        |c, _, v| put(&mut c.certificate_login.san_index, integer(v, 0..=usize::MAX))),

    // What clients may ask for.
    one("heartbeat", "60", "Seconds, offered to clients; 0 turns heartbeats off.",
        |c, _, v| put(&mut c.limits.heartbeat_s, integer(v, 0..=u16::MAX))).live(),
    one("frame_max", "131072", "Largest frame, bytes, offered to clients; 0 is no limit.",
        |c, _, v| put(&mut c.limits.frame_max, frame_bytes(v, true))).live(),
    one("initial_frame_max", "8192", "Largest frame before a client has logged in, bytes.",
        |c, _, v| put(&mut c.limits.initial_frame_max, frame_bytes(v, false))).live(),
    one("max_channels_per_connection", "2047", "Channels of a connection, offered to clients; 0 is no limit.",
        |c, _, v| put(&mut c.limits.channel_max, integer(v, 0..=u16::MAX))).live(),
    one("max_message_size", "16777216", "Largest message body, bytes.",
        |c, _, v| put(&mut c.limits.message_bytes_max, size(v, 1..=512 << 20))),
    one("consumer_timeout", "1800000", "Milliseconds a consumer may take to acknowledge.",
        |c, _, v| put(&mut c.limits.consumer_timeout_ms, integer_or_infinity(v, 1..=u64::MAX))),
    one("consumer_max_per_channel", "infinity", "Consumers of one channel.",
        |c, _, v| put(&mut c.limits.consumers_per_channel, integer_or_infinity(v, 1..=u64::MAX))),
    one("max_connections", "infinity", "Connections of the node.",
        |c, _, v| put(&mut c.limits.connections, integer_or_infinity(v, 0..=u64::MAX))),
    one("channel_max_per_node", "infinity", "Channels of the node.",
        |c, _, v| put(&mut c.limits.channels, integer_or_infinity(v, 0..=u64::MAX))),
    one("vhost_max", "infinity", "Virtual hosts.",
        |c, _, v| put(&mut c.limits.vhosts, integer_or_infinity(v, 0..=u64::MAX))),
    one("cluster_queue_limit", "infinity", "Queues of all virtual hosts together.",
        |c, _, v| put(&mut c.limits.queues, integer_or_infinity(v, 0..=u64::MAX))),
    one("cluster_exchange_limit", "infinity", "Exchanges of all virtual hosts together.",
        |c, _, v| put(&mut c.limits.exchanges, integer_or_infinity(v, 0..=u64::MAX))),
    one("default_queue_type", "classic", "The type of a queue declared without x-queue-type.",
        |c, _, v| put(&mut c.default_queue_type, queue_type(v))),
    one("quorum_queue.property_equivalence.relaxed_checks_on_redeclaration", "false",
        "A quorum queue may be declared again as a classic one.",
        |c, _, v| put(&mut c.relaxed_quorum_redeclaration, flag(v))),
    list("deprecated_features.permit.*", "Permit or forbid a deprecated feature.", |_| {},
        |c, name, v| { c.deprecated_features.insert(name.to_owned(), flag(v)?); Ok(()) }),

    one("queue_types.classic.enabled", "true", "Whether classic queues may be declared.",
        |c, _, v| queue_type_enabled(&mut c.disabled_queue_kinds, Kind::Classic, v)),
    one("queue_types.quorum.enabled", "true", "Whether quorum queues may be declared.",
        |c, _, v| queue_type_enabled(&mut c.disabled_queue_kinds, Kind::Quorum, v)),
    one("queue_types.stream.enabled", "true", "Whether streams may be declared.",
        |c, _, v| queue_type_enabled(&mut c.disabled_queue_kinds, Kind::Stream, v)),
    one("message_interceptors.incoming.set_header_timestamp.overwrite", "", 
        "Notes in messages when they came; `true`: in place of a note that is there.",
        |c, _, v| put(&mut c.interceptors.timestamp, overwrite(v))),
    one("message_interceptors.incoming.set_header_routing_node.overwrite", "", "The same of the node that they came to.",
        |c, _, v| put(&mut c.interceptors.routing_node, overwrite(v))),
    one("message_interceptors.outgoing.timestamp.enabled", "false", "Notes in messages when they were sent to a consumer.",
        |c, _, v| put(&mut c.interceptors.sent_time, flag(v))),
    one("event_exchange.enabled", "true", "Whether there is an exchange amq.rabbitmq.event; ours, in place of enabling the plug-in.",
        |c, _, v| put(&mut c.event_exchange.on, flag(v))),
    one("event_exchange.vhost", "", "The virtual host it is in; the default one when not set.",
        |c, _, v| put(&mut c.event_exchange.vhost, text(v).map(Some))),
    one("event_exchange.protocol", "amqp_0_9_1", "How its messages are made.",
        |_, _, v| one_of(v, &[("amqp_0_9_1", ())])),

    // Who may log in.
    one("config_entry_decoder.passphrase", "", "What encrypted values of this configuration are read with.",
        |c, _, v| put(&mut c.decoder.passphrase, text(v).map(Some))).live(),
    one("config_entry_decoder.passphrase_file", "", "A file that has it in its first line; ours.",
        |c, _, v| put(&mut c.decoder.passphrase_file, path(v))).live(),
    one("config_entry_decoder.cipher", "aes_128_cbc", "How they are encrypted.",
        |c, _, v| put(&mut c.decoder.method.cipher, one_of(v, encryption::CIPHERS))).live(),
    one("config_entry_decoder.hash", "sha256", "How their key is made from the passphrase.",
        |c, _, v| put(&mut c.decoder.method.hash, one_of(v, encryption::HASHES))).live(),
    one("config_entry_decoder.iterations", "1", "How often.",
        |c, _, v| put(&mut c.decoder.method.iterations, integer(v, 1..=10_000_000))).live(),
    one("credential_validator.validation_backend", "rabbit_credential_validator_accept_everything", "What new passwords have to be.",
        |c, _, v| put(&mut c.access.validation.rule, one_of(v, VALIDATORS))),
    one("credential_validator.min_length", "5", "The octets that they need, by rabbit_credential_validator_min_password_length.",
        |c, _, v| put(&mut c.access.validation.min_length, integer(v, 0..=65_535))),
    one("credential_validator.regexp", "", "What they have to match, by rabbit_credential_validator_password_regexp.",
        |c, _, v| put(&mut c.access.validation.expression, expression(v).map(Some))),
    one("default_user", "guest", "The user of a new node.",
        |c, _, v| put(&mut c.access.default_user, text(v))),
    one("default_pass", "guest", "Its password.",
        |c, _, v| put(&mut c.access.default_pass, text(v))),
    one("default_vhost", "/", "The virtual host of a new node.",
        |c, _, v| put(&mut c.access.default_vhost, text(v))),
    list("default_user_tags.*", "The tags of the user of a new node.", |c| c.access.default_user_tags.clear(),
        |c, name, v| member(&mut c.access.default_user_tags, name, v)).entries(&[("administrator", "true")]),
    one("default_permissions.configure", ".*", "What the user of a new node may declare and delete.",
        |c, _, v| put(&mut c.access.default_permissions.configure, Ok(v.to_owned()))),
    one("default_permissions.write", ".*", "What the user of a new node may publish to.",
        |c, _, v| put(&mut c.access.default_permissions.write, Ok(v.to_owned()))),
    one("default_permissions.read", ".*", "What the user of a new node may consume from.",
        |c, _, v| put(&mut c.access.default_permissions.read, Ok(v.to_owned()))),
    list("loopback_users.*", "Users who may connect from this machine only.", |c| c.access.loopback_users.clear(),
        |c, name, v| member(&mut c.access.loopback_users, name, v)).entries(&[("guest", "true")]),
    one("loopback_users", "", "`none`: every user may connect from everywhere.",
        |c, _, v| { none(v)?; c.access.loopback_users.clear(); Ok(()) }),
    one("anonymous_login_user", "guest", "Whom SASL ANONYMOUS logs in as; `none` refuses it.",
        |c, _, v| put(&mut c.access.anonymous_login, text(v).map(|user| (user != "none").then_some(user)))),
    one("anonymous_login_pass", "guest", "The password of that user.",
        |c, _, v| put(&mut c.access.anonymous_login_pass, text(v))),
    one("track_auth_attempt_source", "false", "Log-ins are counted by who came from where, too.",
        |c, _, v| put(&mut c.access.track_attempt_source, flag(v))),
    list("auth_mechanisms.*", "SASL mechanisms, in order of preference.", |c| c.access.auth_mechanisms.clear(),
        |c, name, v| { c.access.auth_mechanisms.set(name, text(v)?); Ok(()) })
        .entries(&[("1", "PLAIN"), ("2", "AMQPLAIN"), ("3", "ANONYMOUS")]).live(),

    // Others who know who clients are and what they may do.
    list("auth_backends.*", "Who is asked, in order: N for both, or N.authn and N.authz.", |c| c.auth.chain.clear(),
        |c, name, v| auth_backend(&mut c.auth.chain, name, one_of(v, BACKENDS)?)).entries(&[("1", "internal")]),
    one("auth_http.http_method", "get", "How the HTTP backend is asked.",
        |c, _, v| put(&mut c.auth.http.method, one_of(v, &[("get", RequestMethod::Get), ("post", RequestMethod::Post)]))),
    one("auth_http.user_path", "", "URL that knows users and passwords.",
        |c, _, v| put(&mut c.auth.http.user_path, text(v).map(Some))),
    one("auth_http.vhost_path", "", "URL that knows who may use which virtual host.",
        |c, _, v| put(&mut c.auth.http.vhost_path, text(v).map(Some))),
    one("auth_http.resource_path", "", "URL that knows who may do what with queues and exchanges.",
        |c, _, v| put(&mut c.auth.http.resource_path, text(v).map(Some))),
    one("auth_http.topic_path", "", "URL that knows who may use which keys with topic exchanges.",
        |c, _, v| put(&mut c.auth.http.topic_path, text(v).map(Some))),
    one("auth_http.request_timeout", "15000", "Milliseconds the HTTP backend has to answer.",
        |c, _, v| put(&mut c.auth.http.request_timeout_ms, integer(v, 1..=86_400_000))),
    one("auth_http.authorization_failure_disclosure", "false", "Clients are told why the HTTP backend refuses something.",
        |c, _, v| put(&mut c.auth.http.authorization_failure_disclosure, flag(v))),
];

#[rustfmt::skip]
const AFTER_HTTP_TLS: &[Key] = &[

    // LDAP.
    list("auth_ldap.servers.*", "Names or addresses of LDAP servers; the first that can be reached is asked.", |_| {},
        |c, name, v| { c.auth.ldap.servers.set(name, text(v)?); Ok(()) }),
    one("auth_ldap.port", "389", "Their port.",
        |c, _, v| put(&mut c.auth.ldap.port, integer(v, 1..=u16::MAX))),
    one("auth_ldap.connection_pool_size", "64", "Connections to LDAP servers at the same time.",
        |c, _, v| put(&mut c.auth.ldap.connections_max, integer(v, 1..=65_535))),
    one("auth_ldap.timeout", "infinity", "Milliseconds an LDAP server has to answer.",
        |c, _, v| put(&mut c.auth.ldap.timeout_ms, integer_or_infinity(v, 1..=86_400_000))),
    one("auth_ldap.idle_timeout", "300000", "Milliseconds without use until a connection is not used again.",
        |c, _, v| put(&mut c.auth.ldap.idle_timeout_ms, integer_or_infinity(v, 0..=86_400_000))),
    one("auth_ldap.user_bind_pattern", "", "What users bind as, where that is not their distinguished name.",
        |c, _, v| put(&mut c.auth.ldap.user_bind_pattern, name_or_none(v))),
    one("auth_ldap.user_dn_pattern", "${username}", "The distinguished name of a user.",
        |c, _, v| put(&mut c.auth.ldap.user_dn_pattern, text(v))),
    one("auth_ldap.dn_lookup_attribute", "none", "The attribute that users are found by.",
        |c, _, v| put(&mut c.auth.ldap.dn_lookup_attribute, name_or_none(v))),
    one("auth_ldap.dn_lookup_base", "none", "Where they are looked for.",
        |c, _, v| put(&mut c.auth.ldap.dn_lookup_base, name_or_none(v))),
    one("auth_ldap.dn_lookup_bind", "as_user", "As whom they are looked for.",
        |c, _, v| put(&mut c.auth.ldap.dn_lookup_bind.anonymous, one_of(v, LDAP_BINDS))),
    one("auth_ldap.dn_lookup_bind.user_dn", "", "A name to look for them as.",
        |c, _, v| put(&mut c.auth.ldap.dn_lookup_bind.user_dn, text(v).map(Some))),
    one("auth_ldap.dn_lookup_bind.password", "", "Its password.",
        |c, _, v| put(&mut c.auth.ldap.dn_lookup_bind.password, text(v).map(Some))),
    one("auth_ldap.other_bind", "as_user", "As whom queries are asked.",
        |c, _, v| put(&mut c.auth.ldap.other_bind.anonymous, one_of(v, LDAP_BINDS))),
    one("auth_ldap.other_bind.user_dn", "", "A name to ask them as.",
        |c, _, v| put(&mut c.auth.ldap.other_bind.user_dn, text(v).map(Some))),
    one("auth_ldap.other_bind.password", "", "Its password.",
        |c, _, v| put(&mut c.auth.ldap.other_bind.password, text(v).map(Some))),
    one("auth_ldap.group_lookup_base", "none", "Where groups of groups are looked for; dn_lookup_base when not set.",
        |c, _, v| put(&mut c.auth.ldap.group_lookup_base, name_or_none(v))),
    one("auth_ldap.use_ssl", "false", "LDAP servers are talked to with TLS.",
        |c, _, v| put(&mut c.auth.ldap.use_ssl, flag(v))),
    one("auth_ldap.use_starttls", "false", "The same, by StartTLS.",
        |c, _, v| put(&mut c.auth.ldap.use_starttls, flag(v))),
];

#[rustfmt::skip]
const AFTER_LDAP_TLS: &[Key] = &[
    one("auth_ldap.queries.vhost_access", "{constant, true}", "Who may use a virtual host, as an Erlang term.",
        |c, _, v| put(&mut c.auth.ldap.queries.vhost_access, Query::parse(v))),
    one("auth_ldap.queries.resource_access", "{constant, true}", "Who may do what with queues and exchanges.",
        |c, _, v| put(&mut c.auth.ldap.queries.resource_access, Query::parse(v))),
    one("auth_ldap.queries.topic_access", "{constant, true}", "Who may use which keys with topic exchanges.",
        |c, _, v| put(&mut c.auth.ldap.queries.topic_access, Query::parse(v))),
    one("auth_ldap.queries.tags", "[{administrator, {constant, false}}]", "Who has which tags.",
        |c, _, v| put(&mut c.auth.ldap.queries.tags, Query::parse_tags(v))),

    // Answers that are kept, and tokens.
    one("auth_cache.cached_backend", "", "The backend whose answers are kept.",
        |c, _, v| put(&mut c.auth.cache.cached, one_of(v, CACHED_BACKENDS).map(Some))),
    one("auth_cache.cache_ttl", "15000", "Milliseconds for which an answer is kept.",
        |c, _, v| put(&mut c.auth.cache.ttl_ms, integer(v, 0..=86_400_000))),
    one("auth_cache.cache_refusals", "false", "Refusals are kept, too.",
        |c, _, v| put(&mut c.auth.cache.refusals, flag(v))),
    one("auth_oauth2.resource_server_id", "", "What tokens call us in their audience.",
        |c, _, v| put(&mut c.auth.oauth2.root.id, text(v).map(Some))),
    one("auth_oauth2.resource_server_type", "", "Our type in rich authorization requests.",
        |c, _, v| put(&mut c.auth.oauth2.root.kind, text(v).map(Some))),
    one("auth_oauth2.scope_prefix", "", "In front of our scopes; resource_server_id and a dot when not set.",
        |c, _, v| put(&mut c.auth.oauth2.root.scope_prefix, Ok(Some(v.to_owned())))),
    one("auth_oauth2.additional_scopes_key", "", "Claims with more scopes.",
        |c, _, v| put(&mut c.auth.oauth2.root.additional_scopes_key, text(v).map(Some))),
    list("auth_oauth2.scope_aliases.*", "Our scopes that a scope of somebody else's stands for: by its name, or N.alias and N.scope.", |_| {},
        |c, name, v| scope_alias(&mut c.auth.oauth2.root, name, v)),
    one("auth_oauth2.verify_aud", "true", "A token has to name us in its audience.",
        |c, _, v| put(&mut c.auth.oauth2.root.verify_aud, flag(v).map(is_off))),
    one("auth_oauth2.require_exp", "true", "A token has to have an end.",
        |c, _, v| put(&mut c.auth.oauth2.root.require_exp, flag(v).map(is_off))),
    list("auth_oauth2.preferred_username_claims.*", "Claims with the user's name, before sub and client_id.", |_| {},
        |c, name, v| { c.auth.oauth2.root.preferred_username_claims.set(name, text(v)?); Ok(()) }),
    list("auth_oauth2.resource_servers.*", "NAME.id and the keys above, for one more name that tokens may call us.", |_| {},
        |c, name, v| resource_server(&mut c.auth.oauth2.servers, name, v)),
    list("auth_oauth2.signing_keys.*", "PEM files: public keys of the issuer, by their ids.", |_| {},
        |c, name, v| { c.auth.oauth2.root_provider.signing_keys.insert(name.to_owned(), text(v)?.into()); Ok(()) }),
    one("auth_oauth2.default_key", "", "The id of the key for tokens that name none.",
        |c, _, v| provider_setting(&mut c.auth.oauth2.root_provider, "default_key", v)),
    one("auth_oauth2.jwks_uri", "", "URL of the issuer's keys, by https or on this machine.",
        |c, _, v| provider_setting(&mut c.auth.oauth2.root_provider, "jwks_uri", v)),
    one("auth_oauth2.issuer", "", "URL of the issuer, which says where its keys are.",
        |c, _, v| provider_setting(&mut c.auth.oauth2.root_provider, "issuer", v)),
    one("auth_oauth2.discovery_endpoint_path", "", "Where it says so; .well-known/openid-configuration when not set.",
        |c, _, v| provider_setting(&mut c.auth.oauth2.root_provider, "discovery_endpoint_path", v)),
    list("auth_oauth2.discovery_endpoint_params.*", "What is asked for with that.", |_| {},
        |c, name, v| { c.auth.oauth2.root_provider.discovery_parameters.insert(name.to_owned(), v.to_owned()); Ok(()) }),
    list("auth_oauth2.algorithms.*", "The signature algorithms that count.", |c| c.auth.oauth2.root_provider.algorithms.clear(),
        |c, name, v| { c.auth.oauth2.root_provider.algorithms.set(name, one_of(v, ALGORITHMS)?); Ok(()) }),
    one("auth_oauth2.https.cacertfile", "", "PEM file: who may have signed the issuer's certificate; the system's when not set.",
        |c, _, v| provider_setting(&mut c.auth.oauth2.root_provider, "https.cacertfile", v)),
    one("auth_oauth2.https.verify", "verify_peer", "verify_none takes anybody for the issuer.",
        |c, _, v| provider_setting(&mut c.auth.oauth2.root_provider, "https.verify", v)),
    list("auth_oauth2.oauth_providers.*", "NAME.issuer and the keys above, for one more issuer.", |_| {},
        |c, name, v| oauth_provider(&mut c.auth.oauth2.providers, name, v)),
    one("auth_oauth2.default_oauth_provider", "", "The one of those that counts where nothing else is said.",
        |c, _, v| put(&mut c.auth.oauth2.default_provider, text(v).map(Some))),

    // Resources.
    one("vm_memory_high_watermark.relative", "0.6", "Publishers are blocked above this part of the memory.",
        |c, _, v| put(&mut c.memory_high_watermark, relative(v, 1.0))).live(),
    one("vm_memory_high_watermark.absolute", "", "Publishers are blocked above this much memory.",
        |c, _, v| put(&mut c.memory_high_watermark, size(v, 0..=u64::MAX).map(Watermark::Absolute))).live(),
    one("vm_memory_high_watermark_paging_ratio", "", "Waiting messages are paged out above this part of the watermark.",
        |c, _, v| put(&mut c.paging_ratio, part(v).map(Some))),
    one("disk_free_limit.relative", "", "Publishers are blocked below this much free disk, in parts of the memory.",
        |c, _, v| put(&mut c.disk_free_limit, relative(v, 1000.0).map(Some))).live(),
    one("disk_free_limit.absolute", "", "Publishers are blocked below this much free disk; by their speed when not set.",
        |c, _, v| put(&mut c.disk_free_limit, size(v, 0..=u64::MAX).map(|b| Some(Watermark::Absolute(b))))).live(),

    // The node.
    one("total_memory_available_override_value", "", "The memory that watermarks are a part of; the machine's when not set.",
        |c, _, v| put(&mut c.total_memory, size(v, 1..=u64::MAX).map(Some))).live(),
    one("cluster_name", "", "What the cluster is called; the node's name when not set.",
        |c, _, v| put(&mut c.cluster_name, text(v).map(Some))),
    list("cluster_tags.*", "What the cluster is tagged with; programs read it in the overview.", |c| c.cluster_tags.clear(),
        |c, name, v| { c.cluster_tags.insert(name.to_owned(), text(v)?); Ok(()) }),
    // The log.
    one("log.level", "info", "How much is logged where nothing else is said.",
        |c, _, v| put(&mut c.log.level, one_of(v, LEVELS))).live(),
    one("log.connection.level", "", "The same of connections.",
        |c, _, v| category(&mut c.log, Category::Connection, v)).live(),
    one("log.channel.level", "", "The same of channels.",
        |c, _, v| category(&mut c.log, Category::Channel, v)).live(),
    one("log.queue.level", "", "The same of queues.",
        |c, _, v| category(&mut c.log, Category::Queue, v)).live(),
    one("log.user.level", "", "The same of log-ins.",
        |c, _, v| category(&mut c.log, Category::User, v)).live(),
    one("log.audit.level", "", "The same of what administrators do; ours.",
        |c, _, v| category(&mut c.log, Category::Audit, v)).live(),
    one("log.console", "true", "Whether the log goes to the standard output.",
        |c, _, v| put(&mut c.log.console.on, flag(v))).live(),
    one("log.console.level", "", "How much of it.",
        |c, _, v| put(&mut c.log.console.level, one_of(v, LEVELS).map(Some))).live(),
    one("log.console.formatter", "plaintext", "How it looks there.",
        |c, _, v| put(&mut c.log.console.format, one_of(v, FORMATS))),
    one("log.console.use_colors", "", "Whether it is coloured there; if somebody may be looking when not set.",
        |c, _, v| put(&mut c.log.colors, flag(v).map(Some))),
    one("log.file", "false", "The file that the log goes to; `true`: one named like the node.",
        |c, _, v| log_file(&mut c.log, v)),
    one("log.file.level", "", "How much of it.",
        |c, _, v| put(&mut c.log.file.level, one_of(v, LEVELS).map(Some))).live(),
    one("log.file.formatter", "plaintext", "How it looks there.",
        |c, _, v| put(&mut c.log.file.format, one_of(v, FORMATS))),
    one("log.file.rotation.size", "0", "A file of this size is moved aside; 0: never.",
        |c, _, v| put(&mut c.log.rotation_bytes, size(v, 0..=u64::MAX))),
    one("log.file.rotation.count", "10", "How many older files are kept.",
        |c, _, v| put(&mut c.log.rotation_count, integer(v, 0..=1000))),
    one("log.exchange", "false", "Whether the log is published to the exchange amq.rabbitmq.log.",
        |c, _, v| put(&mut c.log.exchange.on, flag(v))),
    one("log.exchange.level", "", "How much of it.",
        |c, _, v| put(&mut c.log.exchange.level, one_of(v, LEVELS).map(Some))).live(),
    one("log.exchange.formatter", "plaintext", "How it looks there.",
        |c, _, v| put(&mut c.log.exchange.format, one_of(v, FORMATS))),
    one("log.dir", "", "Where the file is; `log` in the data directory when not set.",
        |c, _, v| put(&mut c.log.directory, path(v))),

    // Definitions.
    one("load_definitions", "", "A file of definitions, or a directory of such files, to take in at each start.",
        |c, _, v| { c.definitions.paths.push(text(v)?.into()); Ok(()) }),
    one("definitions.import_backend", "local_filesystem", "Where definitions.local.path is.",
        |_, _, v| one_of(v, &[("local_filesystem", ())])),
    one("definitions.local.path", "", "The same as load_definitions.",
        |c, _, v| { c.definitions.paths.push(text(v)?.into()); Ok(()) }),
    one("definitions.skip_if_unchanged", "false", "Whether definitions are left out that are those of the last start.",
        |c, _, v| put(&mut c.definitions.skip_if_unchanged, flag(v))),

    // HTTP.
];

#[rustfmt::skip]
const MANAGEMENT: &[Key] = &[
    one("management.path_prefix", "", "What stands before /api in every path.",
        |c, _, v| put(&mut c.management.path_prefix, path_prefix(v))),
    one("management.rates_mode", "basic", "How much is counted: none, basic, or detailed, between objects too.",
        |c, _, v| put(&mut c.management.rates_mode, one_of(v, RATES_MODES))),
    one("management.http.max_body_size", "20000000", "Most bytes of a request's body.",
        |c, _, v| put(&mut c.management.body_bytes_max, size(v, 1..=1 << 30).map(|b| b as usize))),
    list("management.cors.allow_origins.*", "Origins whose pages may use the HTTP API; `*` is all.", |c| c.management.cors_origins.clear(),
        |c, name, v| { c.management.cors_origins.set(name, text(v)?); Ok(()) }),
    one("management.cors.max_age", "1800", "Seconds a browser may remember that it may.",
        |c, _, v| put(&mut c.management.cors_max_age_s, integer(v, 0..=u32::MAX))),
    one("management.disable_basic_auth", "false", "The HTTP API takes no names and passwords, only tokens.",
        |c, _, v| put(&mut c.management.disable_basic_auth, flag(v))),
    one("management.login_session_timeout", "", "Minutes that a log-in to the web pages lasts; 480 when not set.",
        |c, _, v| put(&mut c.management.login_session_minutes, integer(v, 1..=525_600).map(Some))),
    one("management.oauth_enabled", "false", "The web pages log their users in with OAuth 2.",
        |c, _, v| put(&mut c.management.oauth.enabled, flag(v))),
    one("management.oauth_disable_basic_auth", "true", "The web pages do not ask for name and password then.",
        |c, _, v| put(&mut c.management.oauth.shows_basic_auth, flag(v).map(|hidden| !hidden))),
    one("management.oauth_client_id", "", "What the web pages call themselves towards the provider.",
        |c, _, v| put(&mut c.management.oauth.client_id, text(v).map(Some))),
    one("management.oauth_client_secret", "", "And prove it with, if the provider asks for that.",
        |c, _, v| put(&mut c.management.oauth.client_secret, text(v).map(Some))),
    one("management.oauth_provider_url", "", "Where users log in; at auth_oauth2.issuer when not set.",
        |c, _, v| put(&mut c.management.oauth.provider_url, text(v).map(Some))),
    one("management.oauth_metadata_url", "", "What the provider says of itself, if not at its usual place.",
        |c, _, v| put(&mut c.management.oauth.metadata_url, text(v).map(Some))),
    one("management.oauth_scopes", "", "What the web pages ask for, in a token.",
        |c, _, v| put(&mut c.management.oauth.scopes, text(v).map(Some))),
    one("management.oauth_initiated_logon_type", "sp_initiated", "Whether users begin here or at the provider (idp_initiated).",
        |c, _, v| put(&mut c.management.oauth.is_idp_initiated, one_of(v, &[("sp_initiated", false), ("idp_initiated", true)]))),
    list("management.oauth_authorization_endpoint_params.*", "More parameters for the provider's authorization endpoint.", |_| {},
        |c, name, v| { c.management.oauth.authorization_endpoint_params.insert(name.to_owned(), text(v)?); Ok(()) }),
    list("management.oauth_token_endpoint_params.*", "More parameters for the provider's token endpoint.", |_| {},
        |c, name, v| { c.management.oauth.token_endpoint_params.insert(name.to_owned(), text(v)?); Ok(()) }),
];

#[rustfmt::skip]
const PROMETHEUS: &[Key] = &[
    one("prometheus.path", "/metrics", "The path of the metrics.",
        |c, _, v| put(&mut c.prometheus.path, path_prefix(v))),
];

/// 4096, the least that AMQP 0-9-1 allows, up to what a frame's length can say.
fn frame_bytes(value: &str, zero_is_no_limit: bool) -> Result<u32, String> {
    if zero_is_no_limit && value == "0" {
        return Ok(0);
    }
    size(value, 4096..=u64::from(u32::MAX)).map(|bytes| bytes as u32)
}

fn queue_type(value: &str) -> Result<String, String> {
    let types = Kind::ALL.map(Kind::name);
    one_of(value, &types.map(|name| (name, name))).map(str::to_owned)
}

fn queue_type_enabled(disabled: &mut Vec<Kind>, kind: Kind, value: &str) -> Result<(), String> {
    let on = flag(value)?;
    disabled.retain(|it| *it != kind);
    disabled.extend((!on).then_some(kind));
    Ok(())
}

fn overwrite(value: &str) -> Result<Option<Overwrite>, String> {
    Ok(Some(match flag(value)? {
        true => Overwrite::Yes,
        false => Overwrite::No,
    }))
}

/// A path, with the slash in front that may be left out.
fn path_prefix(value: &str) -> Result<String, String> {
    let path = text(value)?;
    let path = path.trim_matches('/');
    Ok(match path {
        "" => String::new(),
        path => format!("/{path}"),
    })
}

/// Of an entry of the chain, both backends or (`.authn`, `.authz`) one of them.
fn auth_backend(
    chain: &mut BTreeMap<u32, auth::Entry>,
    name: &str,
    backend: BackendName,
) -> Result<(), String> {
    let (number, part) = name.split_once('.').unwrap_or((name, ""));
    let number = integer(number, 0..=u32::MAX)?;
    let entry = chain.entry(number).or_default();
    match part {
        "" => (entry.authn, entry.authz) = (Some(backend), Some(backend)),
        "authn" => entry.authn = Some(backend),
        "authz" => entry.authz = Some(backend),
        _ => return Err("behind the number there can only be authn or authz".to_owned()),
    }
    Ok(())
}

const BACKENDS: &[(&str, BackendName)] = &[
    ("internal", BackendName::Internal),
    ("rabbit_auth_backend_internal", BackendName::Internal),
    ("internal_loopback", BackendName::InternalLoopback),
    (
        "rabbit_auth_backend_internal_loopback",
        BackendName::InternalLoopback,
    ),
    ("dummy", BackendName::Dummy),
    ("rabbit_auth_backend_dummy", BackendName::Dummy),
    ("http", BackendName::Http),
    ("rabbit_auth_backend_http", BackendName::Http),
    ("ldap", BackendName::Ldap),
    ("rabbit_auth_backend_ldap", BackendName::Ldap),
    ("oauth2", BackendName::Oauth2),
    ("oauth", BackendName::Oauth2),
    ("rabbit_auth_backend_oauth2", BackendName::Oauth2),
    ("cache", BackendName::Cache),
    ("rabbit_auth_backend_cache", BackendName::Cache),
];

const CACHED_BACKENDS: &[(&str, BackendName)] = &[
    ("internal", BackendName::Internal),
    ("http", BackendName::Http),
    ("ldap", BackendName::Ldap),
    ("oauth2", BackendName::Oauth2),
];

const VALIDATORS: &[(&str, Rule)] = &[
    (
        "rabbit_credential_validator_accept_everything",
        Rule::Anything,
    ),
    (
        "rabbit_credential_validator_min_password_length",
        Rule::MinLength,
    ),
    (
        "rabbit_credential_validator_password_regexp",
        Rule::Expression,
    ),
];

fn expression(value: &str) -> Result<String, String> {
    let wrong = |_| format!("'{value}' is not a regular expression");
    Regex::new(value).map_err(wrong)?;
    text(value)
}

/// Whether it is anonymous.
const LDAP_BINDS: &[(&str, bool)] = &[("as_user", false), ("anon", true)];

fn name_or_none(value: &str) -> Result<Option<String>, String> {
    text(value).map(|name| (name != "none").then_some(name))
}

const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
];

fn trusted_url(value: &str) -> Result<String, String> {
    if auth::oauth2::is_trusted_url(value) {
        Ok(value.to_owned())
    } else {
        Err(format!(
            "'{value}' is not an https URL, nor http on this machine"
        ))
    }
}

/// What is on when nothing is said.
fn is_off(flag: bool) -> Option<bool> {
    (!flag).then_some(false)
}

/// `ALIAS = scopes`, or in two lines `N.alias` and `N.scope`.
fn scope_alias(server: &mut ServerOptions, name: &str, value: &str) -> Result<(), String> {
    let value = text(value)?;
    let parts = name
        .rsplit_once('.')
        .filter(|(number, _)| number.parse::<u32>().is_ok());
    let slot = |number: &str| number.to_owned();
    match parts {
        Some((number, "alias")) => {
            server.numbered_aliases.entry(slot(number)).or_default().0 = value;
        }
        Some((number, "scope")) => {
            server.numbered_aliases.entry(slot(number)).or_default().1 = value;
        }
        _ => _ = server.scope_aliases.insert(name.to_owned(), value),
    }
    Ok(())
}

fn resource_server(
    servers: &mut BTreeMap<String, ServerOptions>,
    name: &str,
    value: &str,
) -> Result<(), String> {
    let (name, setting) = name
        .split_once('.')
        .ok_or("a setting is missing behind it")?;
    let server = servers.entry(name.to_owned()).or_default();
    match setting.split_once('.') {
        Some(("scope_aliases", alias)) => return scope_alias(server, alias, value),
        Some(("preferred_username_claims", number)) => {
            server.preferred_username_claims.set(number, text(value)?);
            return Ok(());
        }
        _ => {}
    }
    let word = || text(value).map(Some);
    match setting {
        "id" => put(&mut server.id, word()),
        "resource_server_type" => put(&mut server.kind, word()),
        "scope_prefix" => put(&mut server.scope_prefix, word()),
        "additional_scopes_key" => put(&mut server.additional_scopes_key, word()),
        "oauth_provider_id" => put(&mut server.provider, word()),
        "verify_aud" => put(&mut server.verify_aud, flag(value).map(Some)),
        "require_exp" => put(&mut server.require_exp, flag(value).map(Some)),
        other => Err(format!("'{other}' is no setting of a resource server")),
    }
}

fn oauth_provider(
    providers: &mut BTreeMap<String, ProviderOptions>,
    name: &str,
    value: &str,
) -> Result<(), String> {
    let (name, setting) = name
        .split_once('.')
        .ok_or("a setting is missing behind it")?;
    provider_setting(
        providers.entry(name.to_owned()).or_default(),
        setting,
        value,
    )
}

/// One setting of an issuer, by its name behind `auth_oauth2.` or `auth_oauth2.oauth_providers.NAME.`.
fn provider_setting(provider: &mut ProviderOptions, name: &str, value: &str) -> Result<(), String> {
    match name.split_once('.') {
        Some(("signing_keys", id)) => {
            provider
                .signing_keys
                .insert(id.to_owned(), text(value)?.into());
            return Ok(());
        }
        Some(("discovery_endpoint_params", parameter)) => {
            let value = value.to_owned();
            provider
                .discovery_parameters
                .insert(parameter.to_owned(), value);
            return Ok(());
        }
        Some(("algorithms", number)) => {
            provider.algorithms.set(number, one_of(value, ALGORITHMS)?);
            return Ok(());
        }
        _ => {}
    }
    match name {
        "default_key" => put(&mut provider.default_key, text(value).map(Some)),
        "jwks_uri" | "jwks_url" => put(&mut provider.jwks_uri, trusted_url(value).map(Some)),
        "issuer" => put(&mut provider.issuer, trusted_url(value).map(Some)),
        "discovery_endpoint_path" => put(&mut provider.discovery_path, text(value).map(Some)),
        "https.cacertfile" => {
            let file = text(value).map(|file| Some(file.into()));
            put(&mut provider.tls.ca_cert_file, file)
        }
        "https.verify" | "https.peer_verification" => {
            put(&mut provider.tls.verify_peer, one_of(value, VERIFY))
        }
        // What pages need that send people to the issuer.
        "authorization_endpoint" | "end_session_endpoint" | "token_endpoint" => Ok(()),
        other => Err(format!("'{other}' is no setting of an issuer")),
    }
}

fn category(log: &mut logs::Options, category: Category, value: &str) -> Result<(), String> {
    log.categories.insert(category, one_of(value, LEVELS)?);
    Ok(())
}

/// A name, or whether there is a file at all.
fn log_file(log: &mut logs::Options, value: &str) -> Result<(), String> {
    match flag(value) {
        Ok(on) => (log.file.on, log.file_name) = (on, None),
        Err(_) => (log.file.on, log.file_name) = (true, Some(text(value)?.into())),
    }
    Ok(())
}

const FORMATS: &[(&str, Format)] = &[("plaintext", Format::Plaintext), ("json", Format::Json)];

/// Older names of the same thing.
const ALIASES: &[(&str, &str)] = &[
    ("log.default.level", "log.level"),
    ("auth_oauth2.jwks_url", "auth_oauth2.jwks_uri"),
    (
        "auth_oauth2.https.peer_verification",
        "auth_oauth2.https.verify",
    ),
    ("channel_max", "max_channels_per_connection"),
    ("connection_max", "max_connections"),
];

/// Keys of RabbitMQ that need nothing here: what they tune does not exist, or is always so. Each begins with one of these.
const WITHOUT_EFFECT: &[&str] = &[
    "cluster_formation.",
    "classic_queue.default_version",
    "cluster_keepalive_interval",
    "cluster_partition_handling",
    "collect_statistics",
    "delegate_count",
    "distribution.",
    "hipe_compile",
    "log.error_logger_format_depth",
    "log.federation.",
    "log.mirroring.",
    "log.ra.",
    "log.summarize_process_state",
    "log.upgrade.",
    "message_store_shutdown_timeout",
    "metadata_store.khepri.",
    "mirroring_",
    "mnesia_",
    "msg_store_",
    "net_ticktime",
    "num_acceptors.",
    "queue_index_",
    "queue_master_locator",
    "quorum_queue.",
    "raft.",
    "ssl_options.client_renegotiation",
    "ssl_options.dh",
    "ssl_options.honor_ecc_order",
    "ssl_options.log_alert",
    "ssl_options.reuse_sessions",
    "ssl_options.secure_renegotiate",
    "tcp_listen_options.buffer",
    "tcp_listen_options.exit_on_close",
    "vm_memory_calculation_strategy",
];

/// Keys of RabbitMQ for what is not here yet.
const UNSUPPORTED: &[&str] = &[
    "auth_",
    "channel_interceptor.",
    "consumer_disconnected_timeout",
    "default_limits.",
    "default_policies.",
    "default_users.",
    "definitions.",
    "event_exchange.",
    "link_max_per_session",
    "log.",
    "management.",
    "message_interceptors.",
    "mqtt.",
    "node_tags.",
    "password_hashing_module",
    "prometheus.",
    "queue_leader_locator",
    "session_max_per_connection",
    "shovel.",
    "ssl_options.",
    "stomp.",
    "stream.",
    "tracing.",
    "trust_store.",
    "web_mqtt.",
    "web_stomp.",
];

/// What a key written by an operator is.
pub(crate) enum Found<'a> {
    /// The index of its row, and the word that `*` stood for.
    Key(usize, &'a str),
    WithoutEffect,
    Unsupported,
    Unknown,
}

pub(crate) fn find(key: &str) -> Found<'_> {
    let resolved = ALIASES
        .iter()
        .find(|(alias, _)| *alias == key)
        .map_or(key, |(_, name)| *name);
    let row = |(index, row): (usize, &Key)| Some((index, wildcard(row.name, resolved)?));
    match KEYS.iter().enumerate().find_map(row) {
        Some((index, word)) => Found::Key(index, word),
        None if is_among(key, WITHOUT_EFFECT) => Found::WithoutEffect,
        None if is_among(key, UNSUPPORTED) => Found::Unsupported,
        None => Found::Unknown,
    }
}

fn is_among(key: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| key.starts_with(prefix))
}

/// The word that `*` stands for in `key`, empty when the name has none; nothing when they do not match.
fn wildcard<'a>(name: &str, key: &'a str) -> Option<&'a str> {
    match name.strip_suffix('*') {
        Some(prefix) => key.strip_prefix(prefix).filter(|word| !word.is_empty()),
        None => (name == key).then_some(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_table_are_those_of_the_program() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            let mut config = Effective::default();
            (key.set)(&mut config, "", key.default).unwrap();
            assert_eq!(
                config,
                Effective::default(),
                "{} = {}",
                key.name,
                key.default
            );
        }
    }

    #[test]
    fn the_default_entries_of_lists_are_those_of_the_program() {
        for key in KEYS.iter().filter(|key| !key.entries.is_empty()) {
            let mut config = Effective::default();
            (key.clear)(&mut config);
            for (word, value) in key.entries {
                (key.set)(&mut config, word, value).unwrap();
            }
            assert_eq!(config, Effective::default(), "{}", key.name);
        }
    }

    #[test]
    fn every_key_is_found_by_its_name_and_once() {
        for (index, key) in KEYS.iter().enumerate() {
            let name = key.name.replace('*', "word");
            assert!(
                matches!(find(&name), Found::Key(found, _) if found == index),
                "{name}"
            );
        }
    }
}
