//! Definitions that a node takes in when it starts (`load_definitions`), before any client can come.

use std::io;
use std::path::{Path, PathBuf};

use leveret_broker::broker::Broker;
use leveret_broker::time::Timestamp;
use leveret_management::{ImportError, Repetition, Report};
use tracing::info;

/// What is to be taken in at each start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Definitions {
    /// Files, or directories of files.
    pub(crate) paths: Vec<PathBuf>,
    /// Nothing is taken in while the files are what they were the last time.
    pub(crate) skip_if_unchanged: bool,
}

impl Definitions {
    /// Takes in every file, in this order: all of them, or none. What can't be taken in stops the start.
    pub(crate) fn load(&self, broker: &Broker, now: Timestamp) -> Result<(), String> {
        let files = self.files()?;
        if files.is_empty() {
            return Ok(());
        }
        let read = |file: &PathBuf| std::fs::read(file).map_err(|error| shown(file, &error));
        let texts = files.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let documents: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let repetition = match self.skip_if_unchanged {
            true => Repetition::Skip,
            false => Repetition::TakeIn,
        };
        let imported = leveret_management::import(broker, &documents, repetition, now);
        let imported = imported.map_err(|error| match &error {
            ImportError::Invalid { document, .. } => shown(&files[*document], &error),
            ImportError::Refused(_) => format!("definitions: {error}"),
        })?;
        for file in &files {
            match imported {
                Some(_) => info!(file = %file.display(), "definitions loaded"),
                None => info!(file = %file.display(), "definitions are unchanged, skipped"),
            }
        }
        if let Some(report) = imported {
            log(&report);
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<PathBuf>, String> {
        let mut all = Vec::new();
        for path in &self.paths {
            all.extend(files(path).map_err(|error| shown(path, &error))?);
        }
        Ok(all)
    }
}

/// How many objects of each category came of it.
fn log(report: &Report) {
    for (category, tally) in &report.tallies {
        info!(
            category,
            created = tally.created,
            changed = tally.changed,
            unchanged = tally.unchanged,
            "definitions"
        );
    }
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
