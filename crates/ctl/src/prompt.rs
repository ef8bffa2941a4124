//! Asking the person at the terminal, and showing them how far something is.

use std::io::{self, BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// A line of standard input, which the terminal does not show. Nothing at the end of the input.
pub(crate) fn secret(asking: &str) -> Option<String> {
    secret_on(&mut io::stdout(), asking)
}

/// The same, asked for where `out` leads.
pub fn secret_on(out: &mut dyn Write, asking: &str) -> Option<String> {
    out.write_all(asking.as_bytes()).ok()?;
    out.flush().ok()?;
    let hidden = Hidden::new();
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    drop(hidden);
    out.write_all(b"\n").ok()?;
    match read {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim_end_matches(['\n', '\r']).to_owned()),
    }
}

/// The whole of standard input.
pub(crate) fn read_all() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::stdin().lock(), &mut bytes)?;
    Ok(bytes)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden {
    before: Option<Termios>,
}

impl Hidden {
    fn new() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ECHO);
            // What is typed is shown then: better than not to ask.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &quiet);
        }
        Self { before }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// A bar on standard error that fills; nothing if that is not a terminal.
pub(crate) struct Progress {
    label: &'static str,
    total: usize,
    is_shown: bool,
}

const BAR_WIDTH: usize = 40;

impl Progress {
    pub(crate) fn new(label: &'static str, total: usize) -> Self {
        let is_shown = io::stderr().is_terminal() && total > 0;
        Self {
            label,
            total,
            is_shown,
        }
    }

    pub(crate) fn at(&self, done: usize) {
        if self.is_shown {
            let end = if done >= self.total { "\n" } else { "" };
            // A bar that can't be drawn is no reason to stop.
            let _ = write!(io::stderr(), "\r{}{end}", bar(self.label, done, self.total));
        }
    }
}

fn bar(label: &str, done: usize, total: usize) -> String {
    let filled = BAR_WIDTH * done.min(total) / total;
    let percent = 100 * done.min(total) / total;
    format!("{label} [{:BAR_WIDTH$}] {percent:3} %", "#".repeat(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills() {
        assert_eq!(
            bar("Importing", 0, 8),
            format!("Importing [{}]   0 %", " ".repeat(40))
        );
        assert_eq!(
            bar("Importing", 2, 8),
            format!("Importing [{}{}]  25 %", "#".repeat(10), " ".repeat(30))
        );
        assert_eq!(
            bar("Importing", 9, 8),
            format!("Importing [{}] 100 %", "#".repeat(40))
        );
    }
}
