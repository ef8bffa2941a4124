//! The program as a process: started on a directory, found by what it prints, killed or stopped.
#![allow(dead_code, reason = "each of its users needs another part of it")]

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

/// A directory that goes when it is dropped.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leveret-{name}-{}-{next}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A node that has started. Killed when it is dropped.
pub(crate) struct Node {
    child: Child,
    /// Kept, so that the node can go on printing.
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
    /// Where it listens for AMQP over TLS, if it does.
    pub(crate) tls_address: Option<SocketAddr>,
    /// Where its HTTP API is.
    pub(crate) api: SocketAddr,
    /// From the node's own line.
    pub(crate) started_in_ms: u64,
}

impl Node {
    /// Starts the program on a directory, on a port of its own.
    pub(crate) fn start(program: &Path, directory: &Path) -> io::Result<Self> {
        Self::start_with(program, directory, &[])
    }

    /// The same, with more settings.
    pub(crate) fn start_with(
        program: &Path,
        directory: &Path,
        settings: &[&str],
    ) -> io::Result<Self> {
        let settings: Vec<_> = settings
            .iter()
            .flat_map(|setting| ["--set", setting])
            .collect();
        Self::start_as(program, directory, &settings)
    }

    /// The same, with more arguments.
    pub(crate) fn start_as(
        program: &Path,
        directory: &Path,
        arguments: &[&str],
    ) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(["--set", "listeners.tcp.1=127.0.0.1:0", "--set"])
            .args(["management.tcp.port=0", "--set", "prometheus.tcp.port=0"])
            .args(["--set", "log.level=error", "--data-dir"])
            .arg(directory)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (mut address, mut tls_address, mut api) = (None, None, None);
        let mut line = String::new();
        loop {
            line.clear();
            if stdout.read_line(&mut line)? == 0 {
                let status = child.wait()?;
                return Err(io::Error::other(format!("the node ended: {status}")));
            }
            if let Some(rest) = line.strip_prefix("listening on ") {
                let found = rest.split(' ').next().and_then(|text| text.parse().ok());
                match rest {
                    rest if rest.ends_with("(amqp)\n") => address = found,
                    rest if rest.ends_with("(amqps)\n") => tls_address = found,
                    // The first of several is on IPv4.
                    rest if rest.ends_with("(http)\n") => api = api.or(found),
                    _ => {}
                }
            }
            if let Some(rest) = line.strip_prefix("started in ") {
                let number = rest.split(' ').next().and_then(|text| text.parse().ok());
                return Ok(Self {
                    child,
                    stdout,
                    address: address.expect("listening is announced before"),
                    tls_address,
                    api: api.expect("so is the API"),
                    started_in_ms: number.expect("the time is a number"),
                });
            }
        }
    }

    /// Reads on until the node has printed this.
    pub(crate) fn await_line(&mut self, text: &str) -> io::Result<()> {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            if self.stdout.read_line(&mut line)? == 0 {
                return Err(io::Error::other(format!("ended without '{text}'")));
            }
        }
        Ok(())
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(mut self) -> io::Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()
    }

    /// A figure in KiB of `/proc/PID/status`, such as `VmRSS`.
    pub(crate) fn memory_kib(&self, figure: &str) -> io::Result<u64> {
        self.figure("status", figure)
    }

    /// What it has had written to the disk, bytes.
    pub(crate) fn disk_bytes(&self) -> io::Result<u64> {
        self.figure("io", "write_bytes")
    }

    /// A number of a file of `/proc/PID`.
    fn figure(&self, file: &str, figure: &str) -> io::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(figure));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        number.ok_or_else(|| io::Error::other(format!("no {figure}")))
    }
}

/// What the files of a directory take, bytes, as their lengths say.
pub(crate) fn directory_bytes(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => directory_bytes(&entry.path())?,
            Ok(metadata) => metadata.len(),
            // The node removes files meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(bytes)
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
