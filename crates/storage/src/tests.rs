//! The log on a disk that fails, against a model of what it must remember.

mod backups;
mod crashes;
mod faults;
mod gathering;
mod model;
mod pages;
mod space;
mod tools;

use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{Failed, OpenError};
use crate::log::{Log, Lsn, Options};
use crate::shared::{PendingFrame, Stop};
use crate::sim::SimDisk;
use crate::writer::{Turn, Writer};
use model::State;

/// A log whose writer's turns are made by the test, so that a seed is a run.
struct Stepped {
    log: Log,
    writer: Writer,
}

impl Stepped {
    /// Opens the log and says what it remembers.
    fn open(disk: &SimDisk, options: &Options) -> Result<(Self, State), OpenError> {
        let (stepped, mut state) = Self::open_unread(disk, options)?;
        state.read_pages(&stepped.log).expect("the pages are whole");
        Ok((stepped, state))
    }

    /// The same, but what is in the pages is not read.
    fn open_unread(disk: &SimDisk, options: &Options) -> Result<(Self, State), OpenError> {
        let mut state = State::default();
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let (log, writer) = Log::open_stepped(disk, options.clone(), &mut |restored| {
            state.restore(restored)
        })?;
        Ok((Self { log, writer }, state))
    }

    /// One turn of the writer, if there is anything to do. Says whether there was.
    fn turn(&mut self) -> Result<bool, Failed> {
        if !self.log.shared().has_frames() && !self.writer.wants_turn() {
            return Ok(false);
        }
        let frame = self.log.shared().next_frame(true).expect("the log is open");
        self.write(frame)?;
        Ok(true)
    }

    fn write(&mut self, frame: PendingFrame) -> Result<(), Failed> {
        let mut turn = self.writer.turn(&frame)?;
        if turn == Turn::NoSpace {
            // A fault is one call.
            turn = self.writer.turn(&frame)?;
        }
        assert_eq!(turn, Turn::Done, "there is space");
        self.log.shared().recycle(frame);
        Ok(())
    }

    /// Turns until there is nothing to do.
    fn settle(&mut self) -> Result<(), Failed> {
        while self.turn()? {}
        Ok(())
    }

    /// Closes the log. Gives its last position.
    fn close(mut self) -> Result<Lsn, Failed> {
        self.log.shared().stop(Stop::Close);
        while let Some(frame) = self.log.shared().next_frame(false) {
            self.write(frame)?;
        }
        Ok(self.log.durable())
    }
}

/// Runs `check` with `count` seeds, or with those in the environment: `SEED=7` is one, `SEEDS=1000..9000` are many. A failure
/// names its seed.
fn for_seeds(count: u64, check: impl Fn(u64) + std::panic::RefUnwindSafe) {
    if let Ok(seed) = std::env::var("SEED") {
        return check(seed.parse().expect("SEED is a number"));
    }
    for seed in seeds_wanted().unwrap_or(0..count) {
        if let Err(panic) = std::panic::catch_unwind(|| check(seed)) {
            eprintln!("failed with SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn seeds_wanted() -> Option<std::ops::Range<u64>> {
    let text = std::env::var("SEEDS").ok()?;
    let number = |text: &str| text.parse().expect("SEEDS is two numbers with .. between");
    let (first, end) = text.split_once("..").unwrap_or(("0", &text));
    Some(number(first)..number(end))
}
