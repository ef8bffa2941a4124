//! SIGHUP: the configuration is read again, what a running node can take is taken, and each difference is logged.

use std::sync::Arc;

use leveret_amqp091::connection::Limits;
use parking_lot::RwLock;
use tracing::{error, info, warn};

use crate::certificates::Certificates;
use crate::config::{self, Effective, Loaded, Sources};
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

/// Knows what was loaded last, and from where.
pub(crate) struct Reloader<'a> {
    pub(crate) sources: &'a Sources<'a>,
    pub(crate) loaded: Loaded,
    pub(crate) live: Live,
}

impl Reloader<'_> {
    /// A configuration that can't be used changes nothing.
    pub(crate) fn reload(&mut self) {
        service_manager::reloading();
        self.load();
        service_manager::ready();
    }

    fn load(&mut self) {
        match config::load(self.sources) {
            Ok(loaded) => self.take(loaded),
            Err(error) => {
                for line in error.to_string().lines() {
                    error!("{line}");
                }
                error!("the configuration stays as it was");
            }
        }
    }

    fn take(&mut self, loaded: Loaded) {
        let changes = self.loaded.given.changes(&loaded.given);
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
        self.loaded = loaded;
    }
}
