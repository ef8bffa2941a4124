//! The page of a comparison: on what machine, by what command, its parts, and where the time of a message goes.

use std::fmt::Write;
use std::fs;

/// `parts` are Markdown, one behind the other; `steps` are those of a message with the nanoseconds of each; none where they could not be told.
pub(super) fn page(arguments: &[&str], parts: &[&str], steps: &[(&str, f64)]) -> String {
    let command = ["cargo xtask compare"].iter().chain(arguments);
    let command = command.copied().collect::<Vec<_>>().join(" ");
    let mut text = format!(
        "# Performance\n\nWritten by `{command}`: brokers one after the other on one core of this machine, the load \
         (`leveret perf`) on another, each broker started anew for each round. Compare what is in one table; figures of other \
         machines and days are other figures.\n\n{}\n{}",
        machine(),
        parts.concat()
    );
    if !steps.is_empty() {
        text += "\n## Where the time of a message goes\n\nThe first scenario: nanoseconds of the broker's CPU, of which samples \
                 of `perf` tell the steps. The first two are the kernel's copies and its TCP over loopback: what the machine \
                 asks for two passes of the same bytes, whoever serves them.\n\n| step | ns |\n|---|---:|\n";
        for (name, ns) in steps {
            let _ = writeln!(text, "| {name} | {ns:.0} |");
        }
        let all: f64 = steps.iter().map(|(_, ns)| ns).sum();
        let _ = writeln!(text, "| all | {all:.0} |");
    }
    text
}

/// What can be told of the machine.
pub(super) fn machine() -> String {
    let of = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.map(|line| line.trim_start_matches(key).trim_matches([' ', ':', '\t']));
        value.unwrap_or("unknown").to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "- processor: {}, {cores} cores\n- memory: {}\n- Linux {}\n",
        of("/proc/cpuinfo", "model name"),
        of("/proc/meminfo", "MemTotal"),
        of("/proc/sys/kernel/osrelease", "")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_how_it_came_about() {
        let text = page(
            &["--runs", "3"],
            &["| table |\n", "\n## More\n"],
            &[("parse", 20.4), ("queue", 30.4)],
        );
        for part in [
            "`cargo xtask compare --runs 3`",
            "| table |\n\n## More\n",
            "| parse | 20 |",
            "| all | 51 |",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!page(&[], &[], &[]).contains("Where the time"));
    }
}
