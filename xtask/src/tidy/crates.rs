//! The shape of the house: who may import whom, no unsafe code in the core, no file outside the module tree.

use super::Source;

/// The arrows of ARCHITECTURE.md. Each crate, and the crates of ours it may import.
const ARROWS: [(&str, &[&str]); 7] = [
    ("storage", &[]),
    ("broker", &["storage"]),
    ("amqp091", &["broker"]),
    ("management", &["broker"]),
    ("ctl", &[]),
    ("perf", &["amqp091"]),
    (
        "server",
        &["storage", "broker", "amqp091", "management", "ctl", "perf"],
    ),
];

/// What brings sockets, a clock or randomness with it; for `server` alone.
const SERVER_ONLY: [&str; 7] = [
    "tokio",
    "mio",
    "socket2",
    "rand",
    "getrandom",
    "chrono",
    "jiff",
];

pub(super) fn check(sources: &[Source], complaints: &mut Vec<String>) {
    let manifests = sources
        .iter()
        .filter(|source| source.path.ends_with("/Cargo.toml"));
    for manifest in manifests {
        let folder = manifest.path.trim_end_matches("/Cargo.toml");
        unreachable(sources, folder, &manifest.text, complaints);
        if let Some(name) = folder.strip_prefix("crates/") {
            arrows(name, &manifest.text, complaints);
            unsafe_code(sources, name, complaints);
        }
    }
}

fn arrows(name: &str, manifest: &str, complaints: &mut Vec<String>) {
    let Some((_, allowed)) = ARROWS.iter().find(|(crate_, _)| *crate_ == name) else {
        complaints.push(format!(
            "crates/{name} has no place in the house: draw it in ARCHITECTURE.md and in ARROWS"
        ));
        return;
    };
    for dependency in dependencies(manifest) {
        let ours = dependency.strip_prefix("leveret-");
        if ours.is_some_and(|ours| !allowed.contains(&ours)) {
            complaints.push(format!("crates/{name} must not import {dependency}"));
        }
        if name != "server" && SERVER_ONLY.contains(&dependency) {
            complaints.push(format!(
                "crates/{name} must not import {dependency}: only server may"
            ));
        }
    }
}

/// The names in a manifest's sections of dependencies, those for tests too.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut section = "";
    manifest.lines().filter_map(move |line| {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end().trim_end_matches(']');
            // `[dependencies.name]` is the long way to write an entry.
            return section.split_once("dependencies.").map(|(_, name)| name);
        }
        let name = line
            .split(['.', '=', ' '])
            .next()
            .filter(|name| !name.is_empty())?;
        (section.ends_with("dependencies") && !name.starts_with('#')).then_some(name)
    })
}

/// Everything below `server` is safe code, except the log with its files.
fn unsafe_code(sources: &[Source], name: &str, complaints: &mut Vec<String>) {
    if ["storage", "server"].contains(&name) {
        return;
    }
    let path = format!("crates/{name}/src/lib.rs");
    let forbids = Source::find(sources, &path).is_some_and(|lib| {
        lib.text
            .lines()
            .any(|line| line == "#![forbid(unsafe_code)]")
    });
    if !forbids {
        complaints.push(format!("{path}: `#![forbid(unsafe_code)]` is missing"));
    }
}

/// Rust files of a package that no `mod` leads to: the compiler never reads them.
fn unreachable(sources: &[Source], package: &str, manifest: &str, complaints: &mut Vec<String>) {
    let inside = |source: &&Source| {
        source.is_rust()
            && source
                .path
                .strip_prefix(package)
                .is_some_and(|rest| rest.starts_with('/'))
            && nearest_package(sources, &source.path) == Some(package)
    };
    let files: Vec<&Source> = sources.iter().filter(inside).collect();
    let mut reached: Vec<&str> = files
        .iter()
        .map(|file| file.path.as_str())
        .filter(|path| is_root(package, manifest, path))
        .collect();
    let mut next = 0;
    while let Some(&path) = reached.get(next) {
        next += 1;
        let Some(file) = files.iter().find(|file| file.path == path) else {
            continue;
        };
        for module in modules(&file.text) {
            let places = places(package, manifest, path, module);
            let found = files.iter().find(|file| places.contains(&file.path));
            // Without a file it is a module of another platform, or rustc says so itself.
            if let Some(found) = found
                && !reached.contains(&found.path.as_str())
            {
                reached.push(&found.path);
            }
        }
    }
    for file in files
        .iter()
        .filter(|file| !reached.contains(&file.path.as_str()))
    {
        complaints.push(format!("{}: no `mod` leads here", file.path));
    }
}

/// The folder of the innermost package that has this file.
fn nearest_package<'a>(sources: &'a [Source], path: &str) -> Option<&'a str> {
    sources
        .iter()
        .filter_map(|source| source.path.strip_suffix("/Cargo.toml"))
        .filter(|package| {
            path.strip_prefix(package)
                .is_some_and(|rest| rest.starts_with('/'))
        })
        .max_by_key(|package| package.len())
}

/// Whether cargo compiles this file by itself.
fn is_root(package: &str, manifest: &str, path: &str) -> bool {
    let inside = &path[package.len() + 1..];
    let parts: Vec<&str> = inside.split('/').collect();
    let named = manifest.contains(&format!("path = \"{inside}\""));
    named
        || matches!(
            parts[..],
            ["build.rs"]
                | ["src", "lib.rs" | "main.rs"]
                | ["src", "bin", _]
                | ["src", "bin", _, "main.rs"]
                | ["tests" | "benches" | "examples", _]
                | ["tests" | "benches" | "examples", _, "main.rs"]
        )
}

/// The names in `mod name;`.
fn modules(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("pub").map_or(line, |rest| {
            // `pub(crate)`, `pub(super)`, `pub(in …)`
            rest.split_once(')')
                .map_or(rest, |(_, rest)| rest)
                .trim_start()
        });
        line.strip_prefix("mod ")?.strip_suffix(';')
    })
}

/// Where the file of `module`, declared in `path`, may lie.
fn places(package: &str, manifest: &str, path: &str, module: &str) -> [String; 2] {
    let (folder, name) = path
        .rsplit_once('/')
        .expect("a file of a package lies in a folder");
    let own = if is_root(package, manifest, path) || name == "mod.rs" {
        folder.to_owned()
    } else {
        path.trim_end_matches(".rs").to_owned()
    };
    [
        format!("{own}/{module}.rs"),
        format!("{own}/{module}/mod.rs"),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::sources;
    use super::*;

    fn check_crate(files: &[(&str, &str)], wanted: &[&str]) {
        let mut complaints = Vec::new();
        check(&sources(files), &mut complaints);
        assert_eq!(complaints, wanted);
    }

    const LIB: (&str, &str) = (
        "crates/broker/src/lib.rs",
        "#![forbid(unsafe_code)]\npub mod queue;",
    );
    const QUEUE: (&str, &str) = (
        "crates/broker/src/queue.rs",
        "pub(crate) mod lanes;\nmod inline {\n}",
    );
    const LANES: (&str, &str) = ("crates/broker/src/queue/lanes.rs", "");

    fn broker(manifest: &str) -> (&str, &str) {
        ("crates/broker/Cargo.toml", manifest)
    }

    #[test]
    fn imports_follow_the_arrows() {
        let down = broker("[dependencies]\nleveret-storage.workspace = true\nbytes = \"1\"");
        check_crate(&[down, LIB, QUEUE, LANES], &[]);
        let up = broker(
            "[dev-dependencies]\nleveret-amqp091 = { path = \"..\" }\n[features]\ntokio = []",
        );
        check_crate(
            &[up, LIB, QUEUE, LANES],
            &["crates/broker must not import leveret-amqp091"],
        );
        let async_ = broker("[dependencies.tokio]\nversion = \"1\"");
        check_crate(
            &[async_, LIB, QUEUE, LANES],
            &["crates/broker must not import tokio: only server may"],
        );
        check_crate(
            &[
                ("crates/misc/Cargo.toml", ""),
                ("crates/misc/src/lib.rs", "#![forbid(unsafe_code)]"),
            ],
            &["crates/misc has no place in the house: draw it in ARCHITECTURE.md and in ARROWS"],
        );
    }

    #[test]
    fn the_core_forbids_unsafe_code() {
        let lib = ("crates/broker/src/lib.rs", "//! #![forbid(unsafe_code)]");
        check_crate(
            &[broker(""), lib],
            &["crates/broker/src/lib.rs: `#![forbid(unsafe_code)]` is missing"],
        );
    }

    #[test]
    fn every_file_is_reached() {
        let test = ("crates/broker/tests/restart.rs", "mod support;");
        let support = ("crates/broker/tests/support/mod.rs", "mod disk;");
        let disk = ("crates/broker/tests/support/disk.rs", "");
        check_crate(&[broker(""), LIB, QUEUE, LANES, test, support, disk], &[]);
        let dead = ("crates/broker/src/lanes.rs", "");
        check_crate(
            &[broker(""), LIB, QUEUE, LANES, dead],
            &["crates/broker/src/lanes.rs: no `mod` leads here"],
        );
        let inner = [
            ("crates/broker/fuzz/Cargo.toml", ""),
            ("crates/broker/fuzz/src/main.rs", ""),
        ];
        let mut files = vec![broker(""), LIB, QUEUE, LANES];
        files.extend(inner);
        check_crate(
            &files,
            &[
                "crates/broker/fuzz has no place in the house: draw it in ARCHITECTURE.md and in ARROWS",
                "crates/broker/fuzz/src/lib.rs: `#![forbid(unsafe_code)]` is missing",
            ],
        );
    }
}
