//! `rabbitmqctl reset`: definitions and messages go, all of them or none.
//!
//! It is many changes in the log, and the node may end in the middle of them. So a file in the data directory says that a
//! reset has begun: it is on disk before the first change, and goes when the last one is. A node that finds it when it
//! starts ends what was begun, before anybody can see what is left.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use leveret_broker::broker::Broker;
use leveret_storage::Log;
use tracing::info;

/// The file's name. It is empty.
const MARK: &str = "reset";

/// What a reset works on.
pub(crate) struct Reset {
    pub(crate) log: Log,
    pub(crate) data_dir: PathBuf,
}

impl Reset {
    /// Resets the broker. When this returns, it is on disk.
    pub(crate) fn run(&self, broker: &Broker) -> Result<(), String> {
        let mark = self.data_dir.join(MARK);
        let made = File::create(&mark).and_then(|file| file.sync_all());
        made.and_then(|()| sync(&self.data_dir))
            .map_err(|error| format!("{}: {error}", mark.display()))?;
        self.end(broker)
    }

    /// Ends a reset that was begun before the node started.
    pub(crate) fn resume(&self, broker: &Broker) -> Result<(), String> {
        if !self.data_dir.join(MARK).exists() {
            return Ok(());
        }
        info!("ending the reset that was begun");
        self.end(broker)
    }

    fn end(&self, broker: &Broker) -> Result<(), String> {
        let durable_at = broker.reset().map_err(|refused| refused.to_string())?;
        if let Some(lsn) = durable_at {
            let written = self.log.wait(lsn);
            written.map_err(|_| "the log can't be written".to_owned())?;
        }
        let mark = self.data_dir.join(MARK);
        fs::remove_file(&mark)
            .and_then(|()| sync(&self.data_dir))
            .map_err(|error| format!("{}: {error}", mark.display()))
    }
}

/// Makes names that were added or removed last.
fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}
