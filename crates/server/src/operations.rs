//! What operators have the node do, besides what the broker does.

use std::sync::Arc;

use leveret_broker::broker::Broker;
use leveret_broker::time::Timestamp;
use leveret_management::{
    AuditEntry, Change, ListenerCertificates, ListenerFacts, LogLines, LostLines, MachineFacts,
    ProcessFacts, Service, ShovelStatus, TlsFacts,
};

use crate::audit::Audit;
use crate::cluster;
use crate::config::{self, HIDDEN};
use crate::host;
use crate::reload::Current;
use crate::reset::Reset;
use crate::service::ServiceHandle;
use crate::shovels::Shovels;
use crate::tls;

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
    pub(crate) reset: Reset,
    pub(crate) shovels: Arc<Shovels>,
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

    fn lost_log_lines(&self) -> LostLines {
        self.current.live.logs.lost()
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

    fn tls(&self) -> TlsFacts {
        TlsFacts {
            versions: vec!["tlsv1.3", "tlsv1.2"],
            cipher_suites: tls::SUITES.iter().map(|(name, _)| *name).collect(),
        }
    }

    fn process(&self) -> ProcessFacts {
        let variables = std::env::vars().filter(|(name, _)| name.starts_with("RABBITMQ_"));
        let shown = |(name, value): (String, String)| match config::is_secret(&name) {
            true => (name, HIDDEN.to_owned()),
            false => (name, value),
        };
        ProcessFacts {
            arguments: without_secrets(std::env::args()),
            variables: variables.map(shown).collect(),
        }
    }

    fn machine(&self) -> MachineFacts {
        MachineFacts {
            interfaces: host::interfaces(),
            threads: host::threads(),
        }
    }

    fn shovels(&self) -> Vec<ShovelStatus> {
        self.shovels.list()
    }

    fn restart_shovel(&self, vhost: &str, name: &str) -> bool {
        self.shovels.restart(vhost, name)
    }

    fn service(&self) -> Service {
        self.service.service()
    }

    fn change(&self, change: Change, now: Timestamp) -> Result<(), String> {
        let was_stopped = self.service().is_stopped;
        // A node that was reset takes in what a blank one would.
        if change == Change::StartApp && was_stopped {
            self.current.definitions().load(&self.broker, now)?;
            cluster::introduce(&self.broker, &self.current.cluster_tags())?;
        }
        self.service.change(change)?;
        let service = self.service();
        self.shovels
            .let_run(!service.is_stopped && !service.is_drained);
        match change {
            Change::StopApp => {
                self.broker.turn_away(SHUTDOWN);
            }
            Change::Drain => {
                self.broker.turn_away(MAINTENANCE);
            }
            Change::Reset => self.reset.run(&self.broker)?,
            Change::StartApp | Change::Revive => self.let_in(),
            Change::SuspendListeners | Change::ResumeListeners => {}
        }
        Ok(())
    }
}

impl Operations {
    /// A node that is revived may still be stopped, and one that is started still in maintenance.
    fn let_in(&self) {
        let service = self.service.service();
        if !service.is_stopped && !service.is_drained {
            self.broker.let_in();
        }
    }
}

/// A password may stand in the value of `--set`.
fn without_secrets(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let shown = |argument: String| {
        let (option, setting) = match argument.strip_prefix("--set=") {
            Some(setting) => ("--set=", setting),
            None => ("", argument.as_str()),
        };
        match setting.split_once('=') {
            Some((name, _)) if config::is_secret(name.trim()) => format!("{option}{name}={HIDDEN}"),
            _ => argument,
        }
    };
    arguments.map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_on_the_command_line_are_not_shown() {
        let check = |argument: &str, expected: &str| {
            let shown = without_secrets([argument.to_owned()].into_iter());
            assert_eq!(shown, [expected]);
        };
        check(
            "--set=default_pass=secret",
            "--set=default_pass=(not shown)",
        );
        check("default_pass = secret", "default_pass =(not shown)");
        check(
            "ssl_options.password=a=b",
            "ssl_options.password=(not shown)",
        );
        check("--set=heartbeat=5", "--set=heartbeat=5");
        check("run", "run");
    }
}
