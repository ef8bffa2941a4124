//! Why a command failed, and how that is said: RabbitMQ's texts on standard error, and its exit codes, which are those of
//! `sysexits.h`.

use serde_json::Value;

pub(crate) const USAGE: u8 = 64;
pub(crate) const DATA: u8 = 65;
pub(crate) const NO_USER: u8 = 67;
pub(crate) const UNAVAILABLE: u8 = 69;
pub(crate) const SOFTWARE: u8 = 70;
pub(crate) const TEMPORARY: u8 = 75;

/// What went wrong, by how it is reported.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// The arguments make no sense; shown with the command's usage.
    Arguments { code: u8, detail: String },
    /// Said as it is.
    Said { code: u8, text: String },
    /// Said below a line `Error:`.
    Error { code: u8, text: String },
    /// A health check that did not pass: a text, and what `--formatter json` prints in its place.
    Check { text: String, json: Value },
    /// The node can't be reached, or does not answer.
    Unreachable(String),
    /// Nothing came within `--timeout`.
    TimedOut,
}

impl Failure {
    /// An argument that is not what the command can take.
    pub(crate) fn argument(detail: impl Into<String>) -> Self {
        Self::Arguments {
            code: DATA,
            detail: format!("Bad argument: {}", detail.into()),
        }
    }

    /// Arguments that do not go together.
    pub(crate) fn usage(detail: impl Into<String>) -> Self {
        Self::Arguments {
            code: USAGE,
            detail: detail.into(),
        }
    }

    pub(crate) fn not_enough() -> Self {
        Self::usage("not enough arguments.")
    }

    /// The common end: the node refused.
    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self::error_with(UNAVAILABLE, text)
    }

    pub(crate) fn error_with(code: u8, text: impl Into<String>) -> Self {
        Self::Error {
            code,
            text: text.into(),
        }
    }

    pub(crate) fn no_vhost(vhost: &str) -> Self {
        Self::Said {
            code: DATA,
            text: format!("Virtual host '{vhost}' does not exist"),
        }
    }

    pub(crate) fn no_object() -> Self {
        Self::Said {
            code: DATA,
            text: "Object (queue, stream, exchange, etc) was not found".to_owned(),
        }
    }
}
