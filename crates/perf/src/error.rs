//! Why a run could not be carried out.

use std::io;

use leveret_amqp091::frame::FrameError;
use leveret_amqp091::method::{ChannelClose, ConnectionClose, Method, MethodError};
use thiserror::Error;

/// Each is told to the user and ends the run.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Arguments(String),
    /// There is no way to the broker.
    #[error("can't connect to {address}: {error}")]
    Connect { address: String, error: io::Error },
    /// A connection that stood, or a file of ours, broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The broker closed a channel or the connection.
    #[error("the broker refused: {code} {text}")]
    Refused { code: u16, text: String },
    /// A broker that is out of descriptors, say, takes connections and then never greets.
    #[error("the broker has not answered for {} s", crate::socket::PATIENCE.as_secs())]
    Silent,
    /// The broker does not speak AMQP 0-9-1 as it should.
    #[error("the broker sent nonsense: {0}")]
    Nonsense(String),
    /// Certificates, or a connection secured by them.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        Self::Nonsense(error.to_string())
    }
}

impl From<MethodError> for Error {
    fn from(error: MethodError) -> Self {
        Self::Nonsense(error.to_string())
    }
}

impl Error {
    /// A method that has no place where it came; a close says why.
    pub(crate) fn unexpected(method: &Method<'_>) -> Self {
        match *method {
            Method::ConnectionClose(ConnectionClose {
                reply_code,
                reply_text,
                ..
            })
            | Method::ChannelClose(ChannelClose {
                reply_code,
                reply_text,
                ..
            }) => Self::Refused {
                code: reply_code,
                text: String::from_utf8_lossy(reply_text).into_owned(),
            },
            _ => Self::Nonsense(format!("unexpected {}", method.name())),
        }
    }
}
