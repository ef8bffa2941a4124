//! Brokers of this machine: found, started on an empty directory and one core, stopped.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// RabbitMQ takes seconds, on a busy machine many.
const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
/// How exactly a start is timed.
const KNOCK: Duration = Duration::from_millis(1);

/// An environment variable that all processes of a node inherit, also those that leave their parents: how we know them.
const MARK: &str = "LEVERET_COMPARE";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Leveret,
    RabbitMq,
    LavinMq,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Leveret, Self::RabbitMq, Self::LavinMq];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Leveret => "Leveret",
            Self::RabbitMq => "RabbitMQ",
            Self::LavinMq => "LavinMQ",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        let same = |kind: &Self| kind.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(same)
    }

    /// The brokers of a list by commas.
    pub(super) fn list(names: &str) -> Option<Vec<Self>> {
        names.split(',').map(Self::from_name).collect()
    }

    /// The words that start it; `None` when it is not on this machine.
    pub(super) fn command(self, leveret: &Path) -> Option<Vec<String>> {
        let (variable, program) = match self {
            Self::Leveret => return Some(vec![leveret.display().to_string()]),
            Self::RabbitMq => ("RABBITMQ_SERVER", "rabbitmq-server"),
            Self::LavinMq => ("LAVINMQ", "lavinmq"),
        };
        if let Ok(line) = env::var(variable) {
            return Some(line.split_whitespace().map(str::to_owned).collect());
        }
        let mut folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
        // Packages put it where only root's PATH leads.
        folders.extend(["/usr/sbin", "/usr/lib/rabbitmq/bin"].map(PathBuf::from));
        let mut places = folders.iter().map(|folder| folder.join(program));
        let found = places.find(|place| place.is_file())?;
        Some(vec![found.display().to_string()])
    }

    /// Arguments and environment for a node on this port, with its data in this directory.
    fn settings(self, port: u16, directory: &Path) -> (Vec<String>, Vec<(&'static str, String)>) {
        let at = |name: &str| directory.join(name).display().to_string();
        let data = at("data");
        match self {
            Self::Leveret => {
                let listener = format!("listeners.tcp.1=127.0.0.1:{port}");
                // Other nodes of this machine may have the usual ports.
                let settings = [
                    &listener,
                    "management.tcp.port=0",
                    "prometheus.tcp.port=0",
                    "log.level=error",
                ];
                let set = settings.iter().flat_map(|set| ["--set", set]);
                let words = ["--data-dir", &data].into_iter().chain(set);
                (words.map(str::to_owned).collect(), Vec::new())
            }
            Self::RabbitMq => {
                let settings = vec![
                    ("RABBITMQ_NODENAME", "leveret-compare@localhost".to_owned()),
                    ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
                    ("RABBITMQ_NODE_PORT", port.to_string()),
                    ("RABBITMQ_DIST_PORT", free_port().to_string()),
                    ("ERL_EPMD_PORT", free_port().to_string()),
                    ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
                    ("RABBITMQ_MNESIA_BASE", at("mnesia")),
                    ("RABBITMQ_LOG_BASE", at("log")),
                    ("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins")),
                    // One scheduler for one core.
                    ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1".to_owned()),
                ];
                (Vec::new(), settings)
            }
            Self::LavinMq => {
                let words = [
                    "-D",
                    &data,
                    "-b",
                    "127.0.0.1",
                    "-p",
                    &port.to_string(),
                    "-l",
                    "warn",
                ];
                (words.map(str::to_owned).to_vec(), Vec::new())
            }
        }
    }
}

/// A node that has started.
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) port: u16,
    /// From the call of its program until it answered a protocol header.
    pub(super) started_in: Duration,
    child: Child,
    mark: String,
    directory: PathBuf,
}

impl Node {
    /// Starts it on one core and an empty directory, and waits until it talks AMQP.
    pub(super) fn start(
        kind: Kind,
        command: &[String],
        root: &Path,
        core: &str,
    ) -> Result<Self, String> {
        let mark = format!("{}-{}", std::process::id(), free_port());
        let directory = root.join("target/compare").join(&mark);
        let prepare = || -> std::io::Result<()> {
            fs::create_dir_all(&directory)?;
            fs::write(directory.join("enabled_plugins"), "[].\n")
        };
        prepare().map_err(|error| format!("{}: {error}", directory.display()))?;
        let (child, port) = spawn(kind, command, core, &mark, &directory)?;
        let mut node = Self {
            kind,
            port,
            started_in: Duration::ZERO,
            child,
            mark,
            directory,
        };
        node.wait_for_amqp().map(|()| node)
    }

    /// Ends it, and starts it on what it has left.
    pub(super) fn restart(&mut self, command: &[String], core: &str) -> Result<(), String> {
        self.end();
        let spawned = spawn(self.kind, command, core, &self.mark, &self.directory);
        (self.child, self.port) = spawned?;
        self.wait_for_amqp()
    }

    fn wait_for_amqp(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while started.elapsed() < START {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{} ended: {status}", self.kind.name()));
            }
            if answers(self.port).is_ok() {
                self.started_in = started.elapsed();
                return Ok(());
            }
            thread::sleep(KNOCK);
        }
        Err(format!("{} does not answer", self.kind.name()))
    }

    /// The processes of this node.
    pub(super) fn pids(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.mark);
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &u32| {
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment
                    .split(|octet| *octet == 0)
                    .any(|variable| variable == mark.as_bytes())
            })
            .collect()
    }

    /// Resident memory of all its processes.
    pub(super) fn resident_kib(&self) -> f64 {
        let of = |pid: u32| resident_kib(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?);
        self.pids().into_iter().filter_map(of).sum()
    }

    /// Ends it and removes what it has written.
    pub(super) fn stop(mut self) -> Result<(), String> {
        self.end();
        fs::remove_dir_all(&self.directory).map_err(|error| error.to_string())
    }

    /// Asks all its processes to end, and ends those that do not.
    fn end(&mut self) {
        let asked = Instant::now();
        for signal in ["-TERM", "-KILL"] {
            for pid in self.pids() {
                let _ = Command::new("kill")
                    .args([signal, &pid.to_string()])
                    .output();
            }
            while asked.elapsed() < STOP && !self.has_ended() {
                thread::sleep(LOOK);
            }
        }
        let _ = self.child.wait();
    }

    fn has_ended(&mut self) -> bool {
        let _ = self.child.try_wait();
        self.pids().is_empty()
    }
}

fn resident_kib(status: &str) -> Option<f64> {
    let mut lines = status.lines();
    let figure = lines.find_map(|line| line.strip_prefix("VmRSS:"))?;
    figure.split_whitespace().next()?.parse().ok()
}

/// Whoever gives a node up early leaves nothing behind.
impl Drop for Node {
    fn drop(&mut self) {
        self.end();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Starts its program on a port that is free.
fn spawn(
    kind: Kind,
    command: &[String],
    core: &str,
    mark: &str,
    directory: &Path,
) -> Result<(Child, u16), String> {
    let port = free_port();
    let (words, settings) = kind.settings(port, directory);
    let mut start = Command::new("taskset");
    start.args(["-c", core]).args(command).args(words);
    // Whoever has set a variable knows better.
    let unset = |(name, _): &(&str, String)| env::var_os(name).is_none();
    start
        .envs(settings.into_iter().filter(unset))
        .env(MARK, mark);
    let child = start
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("can't start {start:?}: {error}"))?;
    Ok((child, port))
}

/// Whether a broker answers the protocol header there.
fn answers(port: u16) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.write_all(b"AMQP\x00\x00\x09\x01")?;
    socket.read_exact(&mut [0])
}

/// A port that nobody listens on now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.expect("a machine has a free port").port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_have_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(&kind.name().to_lowercase()), Some(kind));
        }
        assert_eq!(Kind::from_name("other"), None);
        let two = vec![Kind::LavinMq, Kind::Leveret];
        assert_eq!(Kind::list("lavinmq,leveret"), Some(two));
        assert_eq!(Kind::list("lavinmq,"), None);
    }

    #[test]
    fn resident_memory_is_found() {
        let status = "Name:\tbeam.smp\nVmHWM:\t  200 kB\nVmRSS:\t  107 kB\n";
        assert_eq!(resident_kib(status), Some(107.0));
        // A process that has ended and was not waited for.
        assert_eq!(resident_kib("Name:\tsh\n"), None);
    }
}
