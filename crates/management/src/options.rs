//! What the API is told at start, and what it asks the machine for.

use http::HeaderValue;

/// See the module's page.
pub struct Options {
    /// `management.http.max_body_size`, bytes.
    pub body_bytes_max: usize,
    /// `management.path_prefix`: what stands before `/api`, with a slash in front; empty: nothing.
    pub path_prefix: String,
    /// `prometheus.path`.
    pub metrics_path: String,
    pub cors: Cors,
    /// The version of RabbitMQ that we are compatible with.
    pub rabbitmq_version: &'static str,
    /// Ours.
    pub leveret_version: &'static str,
    /// Where the node listens.
    pub listeners: Vec<ListenerFacts>,
    pub data_dir: String,
    pub config_files: Vec<String>,
    /// SASL mechanisms that clients are offered.
    pub auth_mechanisms: Vec<String>,
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

/// One listening socket.
#[derive(Debug, Clone)]
pub struct ListenerFacts {
    /// RabbitMQ's name for the protocol: `amqp`, `amqp/ssl`, `http`, `http/prometheus`.
    pub protocol: &'static str,
    pub ip: String,
    pub port: u16,
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
}
