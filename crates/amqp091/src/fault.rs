//! What a client did wrong, as the protocol tells it: a reply code, a text, and the method that it was about.

use leveret_broker::error::Error;

use crate::reply_code::{ReplyCode, Scope};

/// An error that closes a channel or the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: ReplyCode,
    pub(crate) explanation: String,
    /// Class and number of the method it is about; zeros when it is about none.
    pub(crate) method: (u16, u16),
    /// Nothing is wrong yet: what was asked for is to be tried again.
    undecided: bool,
}

impl Fault {
    pub(crate) fn new(code: ReplyCode, explanation: impl Into<String>) -> Self {
        Self {
            code,
            explanation: explanation.into(),
            method: (0, 0),
            undecided: false,
        }
    }

    /// The same, about this method.
    pub(crate) fn about(mut self, method: (u16, u16)) -> Self {
        self.method = method;
        self
    }

    /// Whether what was asked for is to be tried again, when the mailbox is poked.
    pub(crate) fn is_undecided(&self) -> bool {
        self.undecided
    }

    /// The same where nothing can be tried again: a refusal.
    pub(crate) fn decided(mut self) -> Self {
        self.undecided = false;
        self
    }

    /// What it ends.
    pub(crate) fn scope(&self) -> Scope {
        self.code.scope()
    }

    /// The reply text. RabbitMQ explains internal errors to nobody: their text is just the name.
    pub(crate) fn text(&self) -> String {
        if self.explanation.is_empty() {
            return self.code.name().to_owned();
        }
        self.code.text(&self.explanation)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::ConnectionForced(_) => ReplyCode::ConnectionForced,
            Error::AccessRefused(_) | Error::Undecided(_) => ReplyCode::AccessRefused,
            Error::NotFound(_) => ReplyCode::NotFound,
            Error::ResourceLocked(_) => ReplyCode::ResourceLocked,
            Error::PreconditionFailed(_) => ReplyCode::PreconditionFailed,
            Error::NotAllowed(_) => ReplyCode::NotAllowed,
            Error::NotImplemented(_) => ReplyCode::NotImplemented,
            Error::InternalError(_) => ReplyCode::InternalError,
        };
        Self {
            undecided: matches!(error, Error::Undecided(_)),
            ..Self::new(code, error.to_string())
        }
    }
}

/// Octets as Erlang prints a binary, which is how RabbitMQ's frame errors quote what they got.
pub(crate) fn erlang_binary(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "<<>>".to_owned();
    }
    if bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return format!("<<\"{}\">>", String::from_utf8_lossy(bytes));
    }
    let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("<<{}>>", list.join(","))
}
