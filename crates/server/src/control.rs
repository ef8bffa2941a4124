//! What a node is asked over its control socket and not over TCP: a backup. The socket is in the data directory, and only the
//! user that runs the node can open it.

use std::io::{self, BufRead, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use leveret_management::{Answer, Body};
use leveret_storage::{BackupProgress, Log, RealDisk};
use serde_json::{Value, json};

use crate::offline::LOG_DIRECTORY;

/// The socket's name in the data directory.
pub(crate) const SOCKET: &str = "control.sock";
/// The path that copies the node's data. POST, `{"directory": …}`.
const BACKUP: &str = "/api/leveret/backup";

/// Whether a request asks for a backup.
pub(crate) fn is_backup(head: &Parts) -> bool {
    head.method == Method::POST && head.uri.path() == BACKUP
}

/// Copies the log to an empty data directory, from which another node can start. The answer tells how far it is, a line of
/// JSON at a time, and in the last how it ended: the status has been sent by then.
pub(crate) fn backup(log: &Log, body: &[u8]) -> Answer {
    let asked: Option<Value> = serde_json::from_slice(body).ok();
    let directory = asked.as_ref().and_then(|asked| asked["directory"].as_str());
    let Some(directory) = directory.map(PathBuf::from).filter(|it| it.is_absolute()) else {
        let reason = "directory must be an absolute path";
        let refusal = json!({"error": "bad_request", "reason": reason}).to_string();
        return Answer::new(StatusCode::BAD_REQUEST, Body::Whole(refusal.into_bytes()));
    };
    // One line at a time is on its way: a client that reads slowly slows the copy, and one that leaves ends it.
    let (lines, next) = std::sync::mpsc::sync_channel::<Vec<u8>>(1);
    let log = log.clone();
    std::thread::spawn(move || {
        let say = |value: Value| lines.send(format!("{value}\n").into_bytes()).is_ok();
        let done = copy(&log, &directory, &mut |progress| {
            say(
                json!({"copied_bytes": progress.copied_bytes, "total_bytes": progress.total_bytes}),
            );
        });
        say(match done {
            Ok(bytes) => json!({"done": true, "bytes": bytes}),
            Err(reason) => json!({"error": "backup_failed", "reason": reason}),
        });
    });
    Answer::new(StatusCode::OK, Body::Pieces(Box::new(next.into_iter())))
}

fn copy(
    log: &Log,
    directory: &Path,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<u64, String> {
    let to = directory.join(LOG_DIRECTORY);
    let disk = RealDisk::at(&to).map_err(|error| format!("{}: {error}", to.display()))?;
    let done = log.backup(&disk, progress);
    done.map(|backup| backup.bytes)
        .map_err(|error| error.to_string())
}

/// `leveret backup DIR`: asks the node of a data directory for a copy, and shows how far it is.
pub(crate) fn ask_for_backup(data_dir: &Path, target: &Path) -> Result<(), String> {
    let socket = data_dir.join(SOCKET);
    let target = std::path::absolute(target).map_err(|error| error.to_string())?;
    let body = json!({"directory": target}).to_string();
    let ask = || {
        let mut stream = UnixStream::connect(&socket)?;
        write!(
            stream,
            "POST {BACKUP} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        show(stream)
    };
    let answer = ask().map_err(|error| format!("control socket {}: {error}", socket.display()))?;
    match answer {
        Some(end) if end["done"] == true => {
            println(format_args!(
                "{} bytes copied to {}",
                end["bytes"],
                target.display()
            ));
            Ok(())
        }
        Some(end) => Err(end["reason"]
            .as_str()
            .unwrap_or("it was refused")
            .to_owned()),
        None => Err("the node has gone before the copy was complete".to_owned()),
    }
}

/// Reads the lines of the answer as they come, shows them, and gives the last.
fn show(stream: UnixStream) -> io::Result<Option<Value>> {
    let mut last = None;
    for line in io::BufReader::new(stream).lines() {
        // The head of the answer is not JSON.
        let Ok(value) = serde_json::from_str::<Value>(&line?) else {
            continue;
        };
        if let (Some(copied), Some(total)) = (
            value["copied_bytes"].as_u64(),
            value["total_bytes"].as_u64(),
        ) {
            print(format_args!("\r{:3} %", copied * 100 / total.max(1)));
        }
        if value.is_object() {
            last = Some(value);
        }
    }
    print(format_args!("\r"));
    Ok(last.filter(|it| it.get("copied_bytes").is_none()))
}

fn print(text: std::fmt::Arguments<'_>) {
    let mut out = io::stderr().lock();
    let _ = out.write_fmt(text).and_then(|()| out.flush());
}

fn println(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}
