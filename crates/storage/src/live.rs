//! How many bytes are alive, by file: what decides which files can go and whether cleaning is due.

use std::collections::BTreeMap;

use crate::format::SEGMENT;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Bytes it would take to write down what is alive in each file. A file that is not in here holds nothing alive.
    in_file: BTreeMap<u32, u64>,
    in_log: u64,
    in_segments: u64,
}

impl Live {
    pub(crate) fn grow(&mut self, file: u32, bytes: u64) {
        if bytes == 0 {
            return;
        }
        *self.in_file.entry(file).or_insert(0) += bytes;
        *self.total_of(file) += bytes;
    }

    pub(crate) fn shrink(&mut self, file: u32, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let live = self
            .in_file
            .get_mut(&file)
            .expect("it was counted when it was added");
        *live -= bytes;
        if *live == 0 {
            self.in_file.remove(&file);
        }
        *self.total_of(file) -= bytes;
    }

    fn total_of(&mut self, file: u32) -> &mut u64 {
        match file & SEGMENT {
            0 => &mut self.in_log,
            _ => &mut self.in_segments,
        }
    }

    pub(crate) fn in_log(&self) -> u64 {
        self.in_log
    }

    pub(crate) fn in_segments(&self) -> u64 {
        self.in_segments
    }

    pub(crate) fn in_file(&self, file: u32) -> u64 {
        self.in_file.get(&file).copied().unwrap_or(0)
    }

    /// The oldest log file that holds something alive, and how many bytes of it.
    pub(crate) fn oldest_log_file(&self) -> Option<(u32, u64)> {
        self.in_file
            .range(..SEGMENT)
            .next()
            .map(|(file, live)| (*file, *live))
    }
}
