//! Reads our own sources for what the compiler does not see. Each rule is a function from text to complaints; this file
//! gathers the texts.

mod compatibility;
mod crates;
mod documents;
mod text;

use std::fs;
use std::path::Path;

/// A file of ours.
struct Source {
    /// From the workspace's folder, with `/`.
    path: String,
    text: String,
}

/// Never ours: made by tools, or the tools' own.
const SKIPPED: [&str; 9] = [
    ".git",
    "target",
    "data",
    "node_modules",
    "__pycache__",
    ".cache",
    ".venv",
    "corpus",
    "artifacts",
];

pub(crate) fn tidy(root: &Path) -> Result<(), String> {
    let mut sources = Vec::new();
    collect(root, "", &mut sources).map_err(|error| format!("{}: {error}", root.display()))?;
    let mut complaints = Vec::new();
    text::check(&sources, &mut complaints);
    crates::check(&sources, &mut complaints);
    documents::check(&sources, &mut complaints);
    compatibility::check(&sources, &mut complaints);
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints.join("\n"))
    }
}

/// Every file below `folder` that is text, in the order of the names.
fn collect(root: &Path, folder: &str, into: &mut Vec<Source>) -> std::io::Result<()> {
    let mut entries = fs::read_dir(root.join(folder))?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}/{name}")
        };
        let kind = entry.file_type()?;
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            collect(root, &path, into)?;
        } else if kind.is_file() {
            // A picture has no text to look at, but documents may show it.
            let text = fs::read(entry.path()).map(String::from_utf8);
            let text = text.ok().and_then(Result::ok).unwrap_or_default();
            into.push(Source { path, text });
        }
    }
    Ok(())
}

impl Source {
    fn find<'a>(sources: &'a [Self], path: &str) -> Option<&'a Self> {
        sources.iter().find(|source| source.path == path)
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

#[cfg(test)]
fn sources(files: &[(&str, &str)]) -> Vec<Source> {
    let source = |(path, text): &(&str, &str)| Source {
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    files.iter().map(source).collect()
}
