//! Documents: links lead to files, and commands exist.

use super::Source;
use crate::COMMANDS;

pub(super) fn check(sources: &[Source], complaints: &mut Vec<String>) {
    for document in sources.iter().filter(|source| source.path.ends_with(".md")) {
        for link in links(&document.text) {
            let target = resolve(&document.path, link);
            let exists = |source: &Source| {
                source
                    .path
                    .strip_prefix(&target)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if !sources.iter().any(exists) {
                complaints.push(format!(
                    "{}: a link to `{link}`, which is not there",
                    document.path
                ));
            }
        }
        for command in commands(&document.text) {
            if !is_known(sources, &document.path, command) {
                complaints.push(format!("{}: no such command: `{command}`", document.path));
            }
        }
    }
}

/// The targets of `[text](target)` that are files of ours, without `#section`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("](").filter_map(|(at, open)| {
        let target = text[at + open.len()..].split(')').next()?;
        let file = target.split('#').next()?;
        (!file.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
            .then_some(file)
    })
}

/// A relative link as a path from the workspace's folder.
fn resolve(document: &str, link: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The lines of fenced blocks of shell.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    let mut shell = false;
    text.lines().filter_map(move |line| {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            shell = ["sh", "bash", "console"].contains(&language);
            return None;
        }
        let command = line.trim().trim_start_matches("$ ");
        (shell && !command.is_empty() && !command.starts_with('#')).then_some(command)
    })
}

/// Whether a command of ours exists, seen from the workspace's folder or from the document's. What other people's programs
/// can do is not checked.
fn is_known(sources: &[Source], document: &str, command: &str) -> bool {
    let mut words = command
        .split_whitespace()
        .filter(|word| !word.contains('='));
    let program = words.next().unwrap_or_default();
    match (program, words.next()) {
        ("cargo", Some("xtask")) => words.next().is_some_and(|name| COMMANDS.contains(&name)),
        _ if program.starts_with("./target/") || program.starts_with("target/") => true,
        _ if program.contains('/') && !program.starts_with(['/', '$', '~']) => {
            let places = [resolve("", program), resolve(document, program)];
            places
                .iter()
                .any(|place| Source::find(sources, place).is_some())
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sources;
    use super::*;

    fn check_document(text: &str, wanted: &[&str]) {
        let files = [
            ("docs/a.md", text),
            ("README.md", ""),
            ("interop/run", ""),
            ("docs/all.sh", ""),
        ];
        let mut complaints = Vec::new();
        check(&sources(&files), &mut complaints);
        assert_eq!(complaints, wanted);
    }

    #[test]
    fn links_lead_somewhere() {
        check_document(
            "[a](../README.md#tests) [b](https://x.y/z) [c](#here) [d](../interop/)",
            &[],
        );
        check_document(
            "[a](README.md)",
            &["docs/a.md: a link to `README.md`, which is not there"],
        );
    }

    #[test]
    fn commands_exist() {
        check_document(
            "```sh\ncargo xtask check\n$ interop/run --only x\n./all.sh 60\nA=1 ls\n```\nno/command",
            &[],
        );
        check_document(
            "```sh\ncargo xtask chek\n```",
            &["docs/a.md: no such command: `cargo xtask chek`"],
        );
        check_document(
            "```sh\ninterop/go\n```",
            &["docs/a.md: no such command: `interop/go`"],
        );
        check_document("```python\nimport a/b\n```", &[]);
    }
}
