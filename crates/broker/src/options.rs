//! What a node is told at start. Names and defaults are those of `rabbitmq.conf`.

use crate::queue::Kind;
use crate::users::{PasswordRule, Permissions};

/// See the module's page.
#[derive(Debug, Clone)]
pub struct Options {
    /// `cluster_name`.
    pub cluster_name: String,
    /// The node's name, `rabbit@host`.
    pub node_name: String,
    /// `max_message_size`, bytes.
    pub message_bytes_max: u64,
    /// `consumer_max_per_channel`.
    pub consumers_per_channel_max: Option<usize>,
    /// `vhost_max`.
    pub vhosts_max: Option<usize>,
    /// `channel_max_per_node`.
    pub channels_max: Option<usize>,
    /// `max_connections`.
    pub connections_max: Option<usize>,
    /// `cluster_queue_limit`.
    pub queues_max: Option<usize>,
    /// `cluster_exchange_limit`.
    pub exchanges_max: Option<usize>,
    /// `quorum_queue.property_equivalence.relaxed_checks_on_redeclaration`: a quorum queue may be declared again as a classic
    /// one (Q02).
    pub relaxed_quorum_redeclaration: bool,
    /// `default_queue_type`.
    pub default_queue_kind: Kind,
    /// `consumer_timeout`, ms; quorum queues only.
    pub consumer_timeout_ms: Option<u64>,
    /// What waiting messages may take in memory before they are paged out, bytes: `vm_memory_high_watermark` times
    /// `vm_memory_high_watermark_paging_ratio`.
    pub backlog_bytes_max: u64,
    /// `deprecated_features.permit.transient_nonexcl_queues`; RabbitMQ 4.3 says no.
    pub permit_transient_queues: bool,
    /// `deprecated_features.permit.global_qos`; RabbitMQ 4.3 says no.
    pub permit_global_qos: bool,
    /// `loopback_users`: may only log in from this machine.
    pub loopback_users: Vec<Box<str>>,
    /// `anonymous_login_user`.
    pub anonymous_user: Option<Box<str>>,
    /// `credential_validator`.
    pub password_rule: PasswordRule,
    /// `anonymous_login_pass`: the password of that user, or nobody is let in as them.
    pub anonymous_pass: Box<str>,
    /// `event_exchange.vhost`: where events are published; `None`: nowhere.
    pub event_exchange_vhost: Option<Box<str>>,
    /// `message_interceptors.*`.
    pub interceptors: Interceptors,
    /// `management.rates_mode`.
    pub rates_mode: RatesMode,
    /// `queue_types.*.enabled = false`: types that no new queue may have.
    pub disabled_queue_kinds: Vec<Kind>,
    /// What a blank node begins with.
    pub first: FirstDefinitions,
    /// A blank node stays so when it starts: definitions will be taken in.
    pub starts_blank: bool,
    /// A source of random bits, for generated names and salts.
    pub random: fn() -> u64,
}

/// How much is counted for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RatesMode {
    /// Numbers without a past.
    None,
    #[default]
    Basic,
    /// And by channel, exchange and queue.
    Detailed,
}

impl RatesMode {
    /// RabbitMQ's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::Detailed => "detailed",
        }
    }
}

/// What is noted in messages on their way (H27).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interceptors {
    /// `message_interceptors.incoming.set_header_timestamp.overwrite`: when a message came. `None`: it is not noted.
    pub timestamp: Option<Overwrite>,
    /// `message_interceptors.incoming.set_header_routing_node.overwrite`: to which node it came.
    pub routing_node: Option<Overwrite>,
    /// `message_interceptors.outgoing.timestamp.enabled`: when it was sent to a client.
    pub sent_time: bool,
}

/// Whether what a message says itself counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    Yes,
    No,
}

/// `default_vhost`, `default_user`, `default_pass`, `default_user_tags` and `default_permissions`.
#[derive(Clone)]
pub struct FirstDefinitions {
    pub vhost: String,
    pub user: String,
    pub password: String,
    pub tags: Vec<Box<str>>,
    pub permissions: Permissions,
}

impl std::fmt::Debug for FirstDefinitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { vhost, user, .. } = self;
        f.debug_struct("FirstDefinitions")
            .field("vhost", vhost)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults, with a source of random bits.
    pub fn new(random: fn() -> u64) -> Self {
        Self {
            cluster_name: "rabbit@localhost".to_owned(),
            node_name: "rabbit@localhost".to_owned(),
            message_bytes_max: 16 * 1024 * 1024,
            consumers_per_channel_max: None,
            vhosts_max: None,
            channels_max: None,
            connections_max: None,
            queues_max: None,
            exchanges_max: None,
            relaxed_quorum_redeclaration: false,
            default_queue_kind: Kind::Classic,
            consumer_timeout_ms: Some(30 * 60 * 1000),
            backlog_bytes_max: 256 * 1024 * 1024,
            permit_transient_queues: true,
            permit_global_qos: true,
            loopback_users: vec!["guest".into()],
            anonymous_user: Some("guest".into()),
            password_rule: PasswordRule::Anything,
            anonymous_pass: "guest".into(),
            event_exchange_vhost: None,
            rates_mode: RatesMode::Basic,
            interceptors: Interceptors::default(),
            disabled_queue_kinds: Vec::new(),
            first: FirstDefinitions {
                vhost: "/".to_owned(),
                user: "guest".to_owned(),
                password: "guest".to_owned(),
                tags: vec!["administrator".into()],
                permissions: Permissions::full(),
            },
            starts_blank: false,
            random,
        }
    }
}
