//! Running other programs.

use std::env;
use std::path::Path;
use std::process::Command;

/// A call of the cargo that runs us, from the workspace's folder. `line` is split at blanks: no argument of ours has one.
pub(crate) fn cargo(root: &Path, line: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(line.split(' ')).current_dir(root);
    command
}

/// Runs it with our own output; an error names the call.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let status = command
        .status()
        .map_err(|error| format!("can't start {command:?}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("failed ({status}): {command:?}"))
    }
}

/// Whether it can be started and succeeds; what it prints is thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
