//! What operators have the node do, besides what the broker does.

use std::sync::Arc;

use leveret_broker::Lsn;
use leveret_broker::broker::Broker;
use leveret_broker::time::Timestamp;
use leveret_management::{
    AuditEntry, Change, ListenerCertificates, ListenerFacts, LogLines, Management, Service,
};

use crate::audit::Audit;
use crate::definitions;
use crate::reload::Current;
use crate::service::ServiceHandle;

/// What clients are told when the node is put into maintenance.
const MAINTENANCE: &str = "Node was put into maintenance mode";
/// What clients are told when it stops serving them.
const SHUTDOWN: &str = "broker forced connection closure with reason 'shutdown'";

/// See the module's page.
pub(crate) struct Operations {
    pub(crate) broker: Arc<Broker>,
    pub(crate) current: Arc<Current>,
    pub(crate) service: ServiceHandle,
    /// Those that are always open, of HTTP.
    pub(crate) listeners: Vec<ListenerFacts>,
    pub(crate) audit: Arc<Audit>,
}

impl leveret_management::Operations for Operations {
    fn listeners(&self) -> Vec<ListenerFacts> {
        let mut all = self.service.listeners();
        all.extend(self.listeners.iter().cloned());
        all
    }

    fn certificates(&self) -> Vec<ListenerCertificates> {
        self.current.live.certificates.facts()
    }

    fn log_files(&self) -> Vec<String> {
        self.current.live.logs.places()
    }

    fn log(&self, from: u64, count: usize) -> LogLines {
        self.current.live.logs.last(from, count)
    }

    fn audit(&self, count: usize) -> Vec<AuditEntry> {
        self.audit.last(count)
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        self.current.set_log_level(level)
    }

    fn configure(&self, key: &str, value: &str) -> Result<(), String> {
        self.current.set(&[key], value)
    }

    fn watch_free_disk(&self, on: bool) {
        self.current.live.resources.watch_disk(on);
    }

    fn effective_configuration(&self) -> String {
        self.current.describe()
    }

    fn service(&self) -> Service {
        self.service.service()
    }

    fn change(
        &self,
        change: Change,
        management: &Management,
        now: Timestamp,
    ) -> Result<Option<Lsn>, String> {
        let was_stopped = self.service().is_stopped;
        // A node that was reset takes in what a blank one would.
        if change == Change::StartApp && was_stopped {
            let paths = self.current.definitions();
            definitions::load(&paths, management, now)?;
        }
        self.service.change(change)?;
        match change {
            Change::StopApp => {
                self.broker.close_connections(SHUTDOWN);
            }
            Change::Drain => {
                self.broker.close_connections(MAINTENANCE);
            }
            Change::Reset => return self.broker.reset().map_err(|refused| refused.to_string()),
            Change::StartApp
            | Change::SuspendListeners
            | Change::ResumeListeners
            | Change::Revive => {}
        }
        Ok(None)
    }
}
