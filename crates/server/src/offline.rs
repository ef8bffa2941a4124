//! What can be done with a data directory that no node uses: `leveret check` and `leveret dump`. Neither changes anything.

use std::io::{self, Write};
use std::path::Path;

use leveret_storage::{Loss, RealDisk};

/// Where a node keeps its log below its data directory.
pub(crate) const LOG_DIRECTORY: &str = "log";

fn log_of(data_dir: &Path) -> Result<RealDisk, String> {
    let directory = data_dir.join(LOG_DIRECTORY);
    // Opening would make it.
    if !directory.is_dir() {
        return Err(format!("there is no log in {}", data_dir.display()));
    }
    RealDisk::at(&directory)
        .map_err(|error| format!("log directory {}: {error}", directory.display()))
}

/// Verifies every checksum. Prints what is damaged, then what is there; damage is an error.
pub(crate) fn check(data_dir: &Path) -> Result<(), String> {
    let disk = log_of(data_dir)?;
    let mut out = io::stdout().lock();
    let mut report = |loss: &Loss| {
        let _ = writeln!(out, "{loss}");
    };
    let found = leveret_storage::check(&disk, &mut report).map_err(|error| error.to_string())?;
    let _ = writeln!(
        out,
        "{} definitions, {} messages in the log, {} in {} pages of {} segments; {} bytes alive, {} bytes of log read",
        found.definitions,
        found.records,
        found.paged_records,
        found.pages,
        found.segments,
        found.live_bytes,
        found.log_bytes
    );
    match found.damaged {
        0 => Ok(()),
        damaged => Err(format!(
            "{damaged} damaged places; `leveret run --accept-loss` starts without what is lost"
        )),
    }
}

/// Prints what the log says, op by op.
pub(crate) fn dump(data_dir: &Path) -> Result<(), String> {
    let disk = log_of(data_dir)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    // Whoever reads may have seen enough.
    let mut line = |text: std::fmt::Arguments<'_>| drop(writeln!(out, "{text}"));
    leveret_storage::dump(&disk, &mut line).map_err(|error| error.to_string())
}
