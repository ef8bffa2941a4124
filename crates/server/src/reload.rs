//! The configuration of a node that runs. At SIGHUP it is read again, and operators change some of it; what a running node
//! can take is taken, and each difference is logged.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_amqp091::connection::Limits;
use parking_lot::{Mutex, RwLock};
use tracing::{error, info, warn};

use crate::certificates::Certificates;
use crate::config::{self, Effective, Loaded, Sources};
use crate::definitions::Definitions;
use crate::logs::Logs;
use crate::node;
use crate::resources::Resources;
use crate::service_manager;

/// The parts of a running node that can be configured anew.
pub(crate) struct Live {
    pub(crate) logs: Logs,
    pub(crate) limits: LiveLimits,
    pub(crate) resources: Arc<Resources>,
    pub(crate) certificates: Certificates,
}

/// What connections to come are offered.
#[derive(Clone)]
pub(crate) struct LiveLimits(Arc<RwLock<Arc<Limits>>>);

impl LiveLimits {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(limits))))
    }

    pub(crate) fn now(&self) -> Arc<Limits> {
        Arc::clone(&self.0.read())
    }
}

impl Live {
    fn configure(&self, config: &Effective) {
        self.logs.configure(config);
        *self.limits.0.write() = Arc::new(node::limits(config));
        self.resources.configure(config);
        self.certificates.configure(config);
    }
}

/// A running node's configuration, as files and operators have it.
pub(crate) struct Current {
    pub(crate) live: Live,
    loaded: Mutex<Loaded>,
}

impl Current {
    pub(crate) fn new(loaded: Loaded, live: Live) -> Self {
        let loaded = Mutex::new(loaded);
        Self { live, loaded }
    }

    /// Reads the configuration again. One that can't be used changes nothing.
    pub(crate) fn reload(&self, sources: &Sources<'_>) {
        service_manager::reloading();
        self.load(sources);
        service_manager::ready();
    }

    fn load(&self, sources: &Sources<'_>) {
        match config::load(sources) {
            Ok(loaded) => self.take(loaded),
            Err(error) => {
                for line in error.to_string().lines() {
                    error!("{line}");
                }
                error!("the configuration stays as it was");
            }
        }
    }

    fn take(&self, loaded: Loaded) {
        let mut current = self.loaded.lock();
        let changes = current.given.changes(&loaded.given);
        // The level of the log may be among them: one of the two hears of it.
        for change in &changes {
            if change.live {
                info!("{change}");
            } else {
                warn!("{change}, when the node starts next");
            }
        }
        loaded.warnings.iter().for_each(|text| warn!("{text}"));
        self.live.configure(&loaded.config);
        info!(changes = changes.len(), "configuration loaded again");
        *current = loaded;
    }

    /// Gives these keys another value, until the configuration is read again.
    pub(crate) fn set(&self, keys: &[&str], value: &str) -> Result<(), String> {
        let mut current = self.loaded.lock();
        let mut changed = current.clone();
        for key in keys {
            changed.set(key, value)?;
        }
        self.live.configure(&changed.config);
        for change in current.given.changes(&changed.given) {
            info!("{change}");
        }
        *current = changed;
        Ok(())
    }

    /// The level of all, and of each output and category that has one of its own.
    pub(crate) fn set_log_level(&self, level: &str) -> Result<(), String> {
        let own = self.loaded.lock().given.log_levels();
        let keys: Vec<&str> = own.iter().map(String::as_str).collect();
        self.set(&[&["log.level"], keys.as_slice()].concat(), level)
    }

    /// As `leveret config effective` prints it.
    pub(crate) fn describe(&self) -> String {
        self.loaded.lock().describe()
    }

    /// What is taken in at each start.
    pub(crate) fn definitions(&self) -> Definitions {
        self.loaded.lock().config.definitions.clone()
    }

    pub(crate) fn cluster_tags(&self) -> BTreeMap<String, String> {
        self.loaded.lock().config.cluster_tags.clone()
    }
}
