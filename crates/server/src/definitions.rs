//! Definitions that a node takes in when it starts (`load_definitions`), before any client can come.

use std::io;
use std::path::{Path, PathBuf};

use leveret_broker::time::Timestamp;
use leveret_management::Management;
use tracing::info;

/// Takes in every file, in this order. What can't be taken in stops the start.
pub(crate) fn load(
    paths: &[PathBuf],
    management: &Management,
    now: Timestamp,
) -> Result<(), String> {
    for path in paths {
        for file in files(path).map_err(|error| shown(path, &error))? {
            let text = std::fs::read(&file).map_err(|error| shown(&file, &error))?;
            let imported = management.import(&text, now);
            imported.map_err(|error| shown(&file, &error))?;
            info!(file = %file.display(), "definitions loaded");
        }
    }
    Ok(())
}

fn shown(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("definitions in {}: {error}", path.display())
}

/// The file itself, or the `*.json` files of a directory in the order of their names.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = std::fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    Ok(files)
}
