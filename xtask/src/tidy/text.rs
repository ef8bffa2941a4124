//! Words that have no business in a committed file.

use super::Source;

/// Notes to self, and tests that do not run.
const LEFTOVERS: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[ig", "nore"),
];

/// Where people and build machines keep their check-outs. A path into one works on that machine only.
const MACHINES: [&str; 6] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/work", "space/"),
    concat!("/bui", "lds/"),
];

pub(super) fn check(sources: &[Source], complaints: &mut Vec<String>) {
    for source in sources.iter().filter(|source| !is_generated(&source.path)) {
        for (number, line) in source.text.lines().enumerate() {
            let place = format!("{}:{}", source.path, number + 1);
            for word in LEFTOVERS.iter().filter(|word| has_word(line, word)) {
                complaints.push(format!("{place}: a leftover `{word}`"));
            }
            for path in MACHINES.iter().filter(|path| has_path(line, path)) {
                complaints.push(format!("{place}: a path of one machine, `{path}`"));
            }
        }
    }
}

/// Lists of checksums, written by tools.
fn is_generated(path: &str) -> bool {
    path.ends_with(".lock") || path.ends_with("go.sum") || path.ends_with("package-lock.json")
}

/// Whether the line has this very word, not only as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let outside = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        // A word that ends in punctuation (`(`) may be followed by anything.
        let open = word.ends_with(|c: char| !c.is_alphanumeric());
        outside(line[..at].chars().next_back())
            && (open || outside(line[at + word.len()..].chars().next()))
    })
}

/// Whether an absolute path in this line begins so.
fn has_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"_-.}~*/".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::super::sources;
    use super::*;

    fn check_line(line: &str, wanted: usize) {
        let mut complaints = Vec::new();
        check(&sources(&[("a.rs", line)]), &mut complaints);
        assert_eq!(complaints.len(), wanted, "{line:?}: {complaints:?}");
    }

    #[test]
    fn leftovers_are_found_as_words() {
        check_line("// the method", 0);
        check_line(concat!("// TO", "DO: later"), 1);
        check_line(
            concat!("// TO", "DOS is a word, and so is METHO", "DTO", "DO"),
            0,
        );
        check_line(concat!("// (FIX", "ME)"), 1);
        check_line(concat!("XX", "XX"), 0);
        check_line(concat!("todo", "!();"), 1);
        check_line(concat!("    #[ig", "nore = \"slow\"]"), 1);
    }

    #[test]
    fn absolute_paths_of_machines_are_found() {
        check_line(concat!("cd /ho", "me/ann/leveret"), 1);
        check_line(concat!("file = \"/ro", "ot/x\""), 1);
        check_line(concat!("a route such as docs/ho", "me/index"), 0);
        check_line(concat!("$HOME/wo", "rk/x and ~/wo", "rk/y"), 0);
    }

    #[test]
    fn lists_of_checksums_are_not_read() {
        let mut complaints = Vec::new();
        let line = concat!("h1:XX", "X/+=");
        check(&sources(&[("interop/go/go.sum", line)]), &mut complaints);
        assert_eq!(complaints, [""; 0]);
    }
}
