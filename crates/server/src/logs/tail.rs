//! The last lines of the log, in memory, for those who ask over HTTP.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use leveret_management::LogLines;
use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

/// Older lines are forgotten.
const LINES_MAX: usize = 10_000;
const BYTES_MAX: usize = 2 << 20;

/// See the module's page.
#[derive(Default, Clone)]
pub(super) struct Tail(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    lines: VecDeque<String>,
    bytes: usize,
    /// The number of the line that comes next.
    next: u64,
}

impl Tail {
    /// As [`leveret_management::Operations::log`].
    pub(super) fn read(&self, from: u64, count: usize) -> LogLines {
        let lines = self.0.lock();
        let first = lines.next - lines.lines.len() as u64;
        let before = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let skipped = before.max(lines.lines.len().saturating_sub(count));
        LogLines {
            lines: lines.lines.iter().skip(skipped).cloned().collect(),
            next: lines.next,
        }
    }
}

impl Lines {
    fn push(&mut self, line: &str) {
        self.lines.push_back(line.to_owned());
        self.bytes += line.len();
        self.next += 1;
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= oldest.len();
        }
    }
}

/// The formatter hands each event over in one piece, which may have several lines.
impl Write for &Tail {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut lines = self.0.lock();
        text.lines().for_each(|line| lines.push(line));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Tail {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_have_numbers() {
        let tail = Tail::default();
        for number in 0..5 {
            (&tail)
                .write_all(format!("line {number}\n").as_bytes())
                .unwrap();
        }
        let check = |from, count, expected: &[&str]| {
            let read = tail.read(from, count);
            assert_eq!(
                (read.lines, read.next),
                (expected.iter().map(|&it| it.to_owned()).collect(), 5)
            );
        };
        check(0, 2, &["line 3", "line 4"]);
        check(4, 10, &["line 4"]);
        check(5, 10, &[]);
        check(99, 10, &[]);
        check(0, 0, &[]);

        let long = "x".repeat(BYTES_MAX / 2);
        for _ in 0..3 {
            (&tail).write_all(format!("{long}\n").as_bytes()).unwrap();
        }
        assert_eq!(tail.read(0, 100).lines.len(), 2);
        assert_eq!(tail.read(0, 100).next, 8);
    }
}
