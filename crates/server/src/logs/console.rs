//! The standard output, which nobody may be reading.
//!
//! A pipe that is full blocks who writes to it, and a node must not stand still because a terminal was paused or a
//! collector of logs hangs. So a thread of its own writes, and lines wait for it up to a bound; further ones are lost, and
//! how many were is a line of its own. A line that comes alone is written at once; when there are many, they are written
//! together: waking the thread and a write for each would cost as much as a third of the connection that it tells of.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that wait to be written.
const KEPT_BYTES: usize = 1 << 20;

/// How long lines gather when one was written just now.
const PAUSE: Duration = Duration::from_millis(2);

/// See the module's page.
#[derive(Clone)]
pub(crate) struct Console {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Something waits to be written.
    filled: Condvar,
    /// All is written.
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Lines that found no room since the last that did.
    untold: u64,
    /// And since the start.
    lost: u64,
}

impl Console {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let this = Self {
            shared: Arc::default(),
        };
        let shared = Arc::clone(&this.shared);
        thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || shared.write_all(out))?;
        Ok(this)
    }

    /// Puts a text behind the lines that wait.
    pub(crate) fn print(&self, text: &[u8]) {
        self.shared.put(text);
    }

    /// How many lines found no room.
    pub(super) fn lost(&self) -> u64 {
        self.shared.state.lock().lost
    }

    /// Waits until all is written, for so long at most: what nobody reads by then is lost.
    pub(crate) fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state.lock();
        while state.is_writing || !state.waiting.is_empty() {
            if self
                .shared
                .emptied
                .wait_until(&mut state, deadline)
                .timed_out()
            {
                return;
            }
        }
    }
}

impl Shared {
    fn put(&self, text: &[u8]) {
        let mut state = self.state.lock();
        if state.waiting.len() + text.len() > KEPT_BYTES {
            state.untold += 1;
            state.lost += 1;
            return;
        }
        if state.untold > 0 {
            let lost = std::mem::take(&mut state.untold);
            let told =
                format!("{lost} lines of the log are lost: nobody read the standard output\n");
            state.waiting.extend_from_slice(told.as_bytes());
        }
        state.waiting.extend_from_slice(text);
        self.filled.notify_one();
    }

    fn write_all(&self, mut out: impl Write) {
        let mut taken = Vec::new();
        loop {
            {
                let mut state = self.state.lock();
                state.is_writing = false;
                if state.waiting.is_empty() {
                    self.emptied.notify_all();
                }
                while state.waiting.is_empty() {
                    self.filled.wait(&mut state);
                }
                state.is_writing = true;
                std::mem::swap(&mut state.waiting, &mut taken);
            }
            // A reader that is gone is no reason to stop, and the log can't be told of it.
            let _ = out.write_all(&taken).and_then(|()| out.flush());
            taken.clear();
            thread::sleep(PAUSE);
        }
    }
}

impl<'a> MakeWriter<'a> for Console {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            console: self,
            text: Vec::new(),
        }
    }
}

/// Gathers a line, and puts it behind the others when it is dropped.
pub(crate) struct Line<'a> {
    console: &'a Console,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.console.shared.put(&self.text);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A pipe that takes a write when it is allowed to.
    struct Pipe {
        began: Sender<()>,
        allowed: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Whoever looks on may have seen enough.
            let _ = self.began.send(());
            let _ = self.allowed.recv();
            self.written.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_nobody_reads_are_lost_and_counted() {
        let (began, has_begun) = channel();
        let (allow, allowed) = channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let pipe = Pipe {
            began,
            allowed,
            written: Arc::clone(&written),
        };
        let console = Console::start(pipe).unwrap();
        let log = |text: &str| console.make_writer().write_all(text.as_bytes()).unwrap();
        log("first\n");
        has_begun.recv().unwrap();
        let long = format!("{}\n", "x".repeat(KEPT_BYTES - 1));
        log(&long);
        log("lost\n");
        log("lost, too\n");
        console.flush(Duration::ZERO);
        assert_eq!(written.lock().len(), 0, "a flush gives up");

        allow.send(()).unwrap();
        has_begun.recv().unwrap();
        log("last\n");
        drop(allow);
        console.flush(Duration::from_secs(60));
        let told = "2 lines of the log are lost: nobody read the standard output\n";
        let expected = format!("first\n{long}{told}last\n");
        assert!(*written.lock() == expected.into_bytes());
        assert_eq!(console.lost(), 2);
    }
}
