//! The log as messages of `amq.rabbitmq.log`, with the level as routing key (O05).
//!
//! Whoever logs puts a line into a short queue and goes on; when that is full the line is lost, and how many were is a line
//! of its own. What is logged because a line is being published is not published, or it would never end.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leveret_broker::broker::Broker;
use leveret_broker::properties::PropertiesBuf;
use leveret_broker::table::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::Format;
use crate::clock::Clock;

/// How many lines wait to be published.
const KEPT: usize = 1024;
/// A longer line is cut.
const LINE_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// This thread is publishing a line.
    static PUBLISHING: Cell<bool> = const { Cell::new(false) };
}

/// A line of the log, with its level in RabbitMQ's words.
#[derive(Debug)]
struct Line {
    level: &'static str,
    text: Vec<u8>,
}

/// Where the log puts lines.
#[derive(Debug, Clone)]
pub(super) struct LinesOut {
    sender: Sender<Line>,
    lost: Arc<Lost>,
}

/// Lines that found no room.
#[derive(Debug, Default)]
struct Lost {
    /// Since it was told how many.
    untold: AtomicU64,
    /// Since the start.
    all: AtomicU64,
}

/// The lines that wait to be published.
#[derive(Debug)]
pub(crate) struct Lines {
    receiver: Receiver<Line>,
    lost: Arc<Lost>,
    content_type: &'static str,
}

pub(super) fn open(format: Format) -> (LinesOut, Lines) {
    let (sender, receiver) = channel(KEPT);
    let lost = Arc::<Lost>::default();
    let out = LinesOut {
        sender,
        lost: Arc::clone(&lost),
    };
    let content_type = match format {
        Format::Plaintext => "text/plain",
        Format::Json => "application/json",
    };
    let lines = Lines {
        receiver,
        lost,
        content_type,
    };
    (out, lines)
}

impl Lines {
    /// Publishes lines, for as long as it is polled.
    pub(crate) async fn publish(mut self, broker: Arc<Broker>, vhost: String, clock: Clock) {
        while let Some(line) = self.receiver.recv().await {
            let lost = self.lost.untold.swap(0, Ordering::Relaxed);
            PUBLISHING.set(true);
            if lost > 0 {
                let text =
                    format!("{lost} lines of the log came faster than they could be published");
                let line = Line {
                    level: "warning",
                    text: text.into_bytes(),
                };
                self.publish_line(&broker, &vhost, &line, clock);
            }
            self.publish_line(&broker, &vhost, &line, clock);
            PUBLISHING.set(false);
        }
    }

    fn publish_line(&self, broker: &Broker, vhost: &str, line: &Line, clock: Clock) {
        let now = clock.now();
        let node = Value::String(broker.options.node_name.as_bytes().into());
        let properties = PropertiesBuf {
            content_type: Some(self.content_type.as_bytes().into()),
            timestamp: Some(now.0 / 1000),
            headers: Some([(Box::from("node"), node)].into_iter().collect()),
            ..PropertiesBuf::default()
        };
        broker.publish_log(vhost, line.level, &properties.encode(), &line.text, now);
    }
}

impl LinesOut {
    /// How many lines found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost.all.load(Ordering::Relaxed)
    }

    fn writer(&self, level: Level) -> LineWriter<'_> {
        let level = match level {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            _ => "debug",
        };
        LineWriter {
            out: self,
            line: Line {
                level,
                text: Vec::new(),
            },
        }
    }
}

impl<'a> MakeWriter<'a> for LinesOut {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        self.writer(Level::INFO)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineWriter<'a> {
        self.writer(*metadata.level())
    }
}

/// Gathers a line, and sends it off when it is dropped.
#[derive(Debug)]
pub(super) struct LineWriter<'a> {
    out: &'a LinesOut,
    line: Line,
}

impl io::Write for LineWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LINE_BYTES_MAX - self.line.text.len();
        self.line
            .text
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter<'_> {
    fn drop(&mut self) {
        if PUBLISHING.get() {
            return;
        }
        let line = Line {
            level: self.line.level,
            text: std::mem::take(&mut self.line.text),
        };
        if let Err(TrySendError::Full(_)) = self.out.sender.try_send(line) {
            self.out.lost.untold.fetch_add(1, Ordering::Relaxed);
            self.out.lost.all.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_are_kept_up_to_a_number_and_none_about_publishing() {
        let (out, mut lines) = open(Format::Plaintext);
        let log = |level, text: &str| out.writer(level).write_all(text.as_bytes()).unwrap();
        log(Level::WARN, "one");
        PUBLISHING.set(true);
        log(Level::ERROR, "about publishing");
        PUBLISHING.set(false);
        for _ in 0..KEPT {
            log(Level::INFO, &"x".repeat(LINE_BYTES_MAX + 1));
        }
        let first = lines.receiver.try_recv().unwrap();
        assert_eq!((first.level, &*first.text), ("warning", b"one".as_slice()));
        let second = lines.receiver.try_recv().unwrap();
        assert_eq!((second.level, second.text.len()), ("info", LINE_BYTES_MAX));
        assert_eq!(lines.lost.untold.load(Ordering::Relaxed), 1);
        assert_eq!(out.lost(), 1);
    }
}
