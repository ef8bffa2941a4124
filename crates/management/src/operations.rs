//! What the API asks of the node around the broker: its listeners, its log, its configuration, and whether it serves
//! clients. `server` knows.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use leveret_broker::time::Timestamp;

use crate::options::{ListenerCertificates, ListenerFacts};

/// See the module's page. Calls may take their time: they are made where requests are worked on.
pub trait Operations: Send + Sync {
    /// Where the node listens just now.
    fn listeners(&self) -> Vec<ListenerFacts>;

    /// What listeners with TLS show and trust.
    fn certificates(&self) -> Vec<ListenerCertificates>;

    /// Where the log goes: files, or `<stdout>`.
    fn log_files(&self) -> Vec<String>;

    /// Lines of the log that are still in memory, oldest first: the last `count` of them, and none before the line of this
    /// number.
    fn log(&self, from: u64, count: usize) -> LogLines;

    /// How many lines of the log were lost since the node started.
    fn lost_log_lines(&self) -> LostLines;

    /// What administrators did last, oldest first, `count` at most.
    fn audit(&self, count: usize) -> Vec<AuditEntry>;

    /// How much is logged from now on, by the words of `log.level`.
    ///
    /// # Errors
    /// There is no such level.
    fn set_log_level(&self, level: &str) -> Result<(), String>;

    /// Gives a key of the configuration another value until the node stops.
    ///
    /// # Errors
    /// The value is none for this key, or the key can't be changed while the node runs.
    fn configure(&self, key: &str, value: &str) -> Result<(), String>;

    /// Whether free disk is looked at, and may be an alarm.
    fn watch_free_disk(&self, on: bool);

    /// Every key of the configuration with its value, and no passwords.
    fn effective_configuration(&self) -> String;

    /// What TLS can be spoken.
    fn tls(&self) -> TlsFacts;

    /// How the process was started. No passwords.
    fn process(&self) -> ProcessFacts;

    /// What the machine has of networks, and what the process's threads have done.
    fn machine(&self) -> MachineFacts;

    /// The shovels that have been started, by vhost and name.
    fn shovels(&self) -> Vec<ShovelStatus>;

    /// Has a shovel start anew; `false`: there is none.
    fn restart_shovel(&self, vhost: &str, name: &str) -> bool;

    /// Whether it serves clients.
    fn service(&self) -> Service;

    /// Has the node serve clients, or not. It is done when this returns, also on disk.
    ///
    /// # Errors
    /// Why it can't be done now.
    fn change(&self, change: Change, now: Timestamp) -> Result<(), String>;
}

/// Some lines of the log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LogLines {
    pub lines: Vec<String>,
    /// The number of the line that will be logged next.
    pub next: u64,
}

/// Lines of the log that nobody took in time, by where they should have gone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LostLines {
    pub console: u64,
    pub exchange: u64,
}

/// What an administrator did, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub time: Timestamp,
    pub user: String,
    /// An address, or the name of the control socket.
    pub peer: String,
    pub method: String,
    /// Without the query, which may have passwords in it.
    pub path: String,
    pub status: u16,
}

/// What TLS can be spoken, the preferred first.
#[derive(Debug, Clone, Default)]
pub struct TlsFacts {
    /// `tlsv1.3`, …
    pub versions: Vec<&'static str>,
    /// OpenSSL's names.
    pub cipher_suites: Vec<&'static str>,
}

/// How a process was started.
#[derive(Debug, Clone, Default)]
pub struct ProcessFacts {
    /// The program's name first.
    pub arguments: Vec<String>,
    /// Those of the environment that are about the node.
    pub variables: BTreeMap<String, String>,
}

/// What there is below the process. What can't be told is left out.
#[derive(Debug, Clone, Default)]
pub struct MachineFacts {
    pub interfaces: Vec<InterfaceFacts>,
    pub threads: Vec<ThreadFacts>,
}

/// A network interface.
#[derive(Debug, Clone, Default)]
pub struct InterfaceFacts {
    pub name: String,
    /// `up`, `broadcast`, …
    pub flags: Vec<&'static str>,
    /// As `02:fc:00:00:00:01`.
    pub hardware_address: Option<String>,
    pub addresses: Vec<AddressFacts>,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressFacts {
    pub address: IpAddr,
    pub netmask: Option<IpAddr>,
    pub broadcast: Option<IpAddr>,
}

/// A thread of the process, and the processor time that it has taken since it began.
#[derive(Debug, Clone, Default)]
pub struct ThreadFacts {
    pub id: u64,
    pub name: String,
    pub user_ms: u64,
    pub system_ms: u64,
}

/// How a shovel does.
#[derive(Debug, Clone)]
pub struct ShovelStatus {
    pub vhost: Arc<str>,
    pub name: Arc<str>,
    /// Since when it is in this state: `2026-11-27 9:05:00`, UTC.
    pub last_changed: String,
    pub state: ShovelState,
}

/// Where a shovel is on its way.
#[derive(Debug, Clone)]
pub enum ShovelState {
    Starting,
    Running(Box<ShovelRun>),
    /// It has failed, and tries again if it may.
    Terminated {
        reason: String,
    },
}

impl ShovelState {
    /// RabbitMQ's word for it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running(_) => "running",
            Self::Terminated { .. } => "terminated",
        }
    }
}

/// What a shovel has done since it connected.
#[derive(Debug, Clone, Default)]
pub struct ShovelRun {
    pub source: ShovelEnd,
    pub destination: ShovelEnd,
    pub forwarded: u64,
    /// Messages that the destination has not confirmed yet.
    pub pending: usize,
    /// Messages to forward and to be acknowledged before it is done; `None`: it never is.
    pub left: Option<(u64, u64)>,
    /// The destination takes nothing for now.
    pub is_blocked: bool,
}

/// One end of a shovel.
#[derive(Debug, Clone, Default)]
pub struct ShovelEnd {
    /// Without name and password.
    pub uri: String,
    pub protocol: &'static str,
    pub queue: Option<Box<str>>,
    pub exchange: Option<Box<str>>,
    pub exchange_key: Option<Box<str>>,
}

/// Whether the node serves clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Service {
    /// `stop_app` has been called.
    pub is_stopped: bool,
    /// No new clients are let in.
    pub is_suspended: bool,
    /// It is in maintenance.
    pub is_drained: bool,
}

impl Service {
    /// Whether clients are let in.
    pub fn is_open(self) -> bool {
        !self.is_stopped && !self.is_suspended
    }

    /// Whether it is what RabbitMQ calls serving.
    pub(crate) fn is_serving(self) -> bool {
        !self.is_stopped && !self.is_drained
    }
}

/// What RabbitMQ's tools may want of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    StopApp,
    StartApp,
    Reset,
    SuspendListeners,
    ResumeListeners,
    Drain,
    Revive,
}
