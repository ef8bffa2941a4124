//! A log in a file, which is moved aside when it is large: `x.log` becomes `x.log.0`, and what was that `x.log.1`.

use std::fs::{File, OpenOptions, create_dir_all, remove_file, rename};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// See the module's page.
pub(super) struct LogFile {
    path: PathBuf,
    /// 0: it is not moved aside.
    bytes_max: u64,
    /// How many older files are kept.
    count: u32,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    bytes: u64,
}

impl LogFile {
    pub(super) fn open(path: PathBuf, bytes_max: u64, count: u32) -> Result<Self, String> {
        let wrong = |error: io::Error| format!("log file {}: {error}", path.display());
        if let Some(directory) = path.parent() {
            create_dir_all(directory).map_err(wrong)?;
        }
        let open = Mutex::new(Open::at(&path).map_err(wrong)?);
        Ok(Self {
            path,
            bytes_max,
            count,
            open,
        })
    }

    pub(super) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Goes on with a file of the old name, which may be a new one. If that fails, with the one that is open.
    pub(super) fn reopen(&self) {
        if let Ok(open) = Open::at(&self.path) {
            *self.open.lock() = open;
        }
    }

    fn rotate(&self, open: &mut Open) -> io::Result<()> {
        let aside = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.count).rev() {
            let older = aside(number - 1);
            if older.exists() {
                rename(older, aside(number))?;
            }
        }
        match self.count {
            0 => remove_file(&self.path)?,
            _ => rename(&self.path, aside(0))?,
        }
        *open = Open::at(&self.path)?;
        Ok(())
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

/// A line at a time: the formatter hands each event over in one piece.
impl Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.open.lock();
        let is_full = open.bytes > 0 && open.bytes + line.len() as u64 > self.bytes_max;
        if self.bytes_max > 0 && is_full {
            // A file that can't be moved goes on growing; there is nowhere to say so.
            let _ = self.rotate(&mut open);
        }
        open.file.write_all(line)?;
        open.bytes += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open.lock().file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("leveret-log-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_large_file_is_moved_aside_and_the_oldest_goes() {
        let folder = folder("rotation");
        let path = folder.join("deep/node.log");
        let log = LogFile::open(path.clone(), 10, 2).unwrap();
        for line in [
            "one one\n",
            "two two\n",
            "3\n",
            "four four\n",
            "more than ten bytes\n",
            "6\n",
        ] {
            (&log).write_all(line.as_bytes()).unwrap();
        }
        let read = |ending: &str| {
            let path = format!("{}{ending}", path.display());
            std::fs::read_to_string(path).ok()
        };
        assert_eq!(read("").as_deref(), Some("6\n"));
        assert_eq!(read(".0").as_deref(), Some("more than ten bytes\n"));
        assert_eq!(read(".1").as_deref(), Some("four four\n"));
        assert_eq!(read(".2"), None);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_moved_away_by_others_is_left_to_them() {
        let folder = folder("reopen");
        let path = folder.join("node.log");
        let log = LogFile::open(path.clone(), 0, 0).unwrap();
        (&log).write_all(b"before\n").unwrap();
        rename(&path, folder.join("moved")).unwrap();
        log.reopen();
        (&log).write_all(b"after\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
        assert_eq!(
            std::fs::read_to_string(folder.join("moved")).unwrap(),
            "before\n"
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
