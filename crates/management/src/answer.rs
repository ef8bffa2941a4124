//! What goes back to the client: an answer, or a failure in RabbitMQ's shape.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use leveret_broker::Lsn;
use leveret_broker::broker::administration::Refused;
use leveret_broker::error::Error;
use leveret_broker::time::Timestamp;
use serde_json::{Value, json};

use crate::visit::Undecided;

/// An answer, and when it may be sent.
#[derive(Debug)]
pub struct Answer {
    pub response: Response<Body>,
    /// Not earlier than this: whoever guesses passwords is slowed down.
    pub not_before: Option<Timestamp>,
    /// Not before the log is durable up to here: the answer says that something is done.
    pub durable_at: Option<Lsn>,
    /// This is no answer: something has to be known first, and the request is to be looked at again then.
    pub is_undecided: bool,
    /// When it has been sent, the node is to stop.
    pub stops_node: bool,
}

/// The body of an answer.
pub enum Body {
    Whole(Vec<u8>),
    /// Made piece by piece, as the client takes it, so that a long list is never in memory as a whole. An empty piece: there is
    /// nothing yet, ask again in a moment.
    Pieces(Box<dyn Iterator<Item = Vec<u8>> + Send>),
    /// A [line](crate::event_line) for each event from now on, which the listener writes as they happen.
    Events,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "{}", String::from_utf8_lossy(bytes)),
            Self::Pieces(_) => f.write_str("Pieces"),
            Self::Events => f.write_str("Events"),
        }
    }
}

/// What a handler gives.
pub(crate) type Reply = Result<Answer, Failure>;

impl Answer {
    /// An answer to be sent at once.
    pub fn new(status: StatusCode, body: Body) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Self {
            response,
            not_before: None,
            durable_at: None,
            is_undecided: false,
            stops_node: false,
        }
    }

    /// Without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self::new(status, Body::Whole(Vec::new()))
    }

    pub(crate) fn text(content_type: &'static str, body: Body) -> Self {
        let content_type = HeaderValue::from_static(content_type);
        Self::new(StatusCode::OK, body).with(header::CONTENT_TYPE, content_type)
    }

    /// JSON that is written already.
    pub(crate) fn json(body: Vec<u8>) -> Self {
        Self::text("application/json", Body::Whole(body))
    }

    pub(crate) fn value(value: &Value) -> Self {
        Self::json(value.to_string().into_bytes())
    }

    /// JSON that is written as it is read.
    pub(crate) fn pieces(pieces: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Self {
        Self::text("application/json", Body::Pieces(Box::new(pieces)))
    }

    /// 201 for something new, 204 for something that was there.
    pub(crate) fn put(created: bool) -> Self {
        Self::empty(match created {
            true => StatusCode::CREATED,
            false => StatusCode::NO_CONTENT,
        })
    }

    pub(crate) fn done() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().insert(name, value);
        self
    }

    pub(crate) fn after(mut self, durable_at: Option<Lsn>) -> Self {
        self.durable_at = self.durable_at.max(durable_at);
        self
    }

    pub(crate) fn allowing(self, methods: &str) -> Self {
        let methods = HeaderValue::from_str(methods).expect("names of methods are ASCII");
        self.with(header::ALLOW, methods)
    }
}

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    error: Cow<'static, str>,
    reason: Value,
    challenge: bool,
    not_before: Option<Timestamp>,
    is_undecided: bool,
}

impl Failure {
    pub(crate) fn new(
        status: StatusCode,
        error: impl Into<Cow<'static, str>>,
        reason: impl Into<Value>,
    ) -> Self {
        Self {
            status,
            error: error.into(),
            reason: reason.into(),
            challenge: false,
            not_before: None,
            is_undecided: false,
        }
    }

    /// The reason in words.
    pub(crate) fn reason_text(&self) -> String {
        self.reason
            .as_str()
            .map_or_else(|| self.reason.to_string(), str::to_owned)
    }

    pub(crate) fn bad_request(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// An object that the path names is not there.
    pub(crate) fn no_such_object() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    pub(crate) fn not_found(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", reason)
    }

    /// The user may not do this.
    pub(crate) fn not_authorised(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorised", reason)
    }

    /// Nobody known: the browser may ask for a name and password.
    pub(crate) fn not_authenticated() -> Self {
        let failure = Self::new(StatusCode::UNAUTHORIZED, "not_authorized", "Not_Authorized");
        Self {
            challenge: true,
            ..failure
        }
    }

    /// A backend is being asked about it. Nobody gets to see this.
    pub(crate) fn undecided() -> Self {
        let failure = Self::not_authorised("Access refused.");
        Self {
            is_undecided: true,
            ..failure
        }
    }

    /// The same with another reason.
    pub(crate) fn because(self, reason: impl Into<Value>) -> Self {
        Self {
            reason: reason.into(),
            ..self
        }
    }

    /// The client is told at that time.
    pub(crate) fn not_before(self, time: Timestamp) -> Self {
        Self {
            not_before: Some(time),
            ..self
        }
    }

    pub(crate) fn unavailable(reason: impl Into<Value>) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "service_unavailable", reason)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method Not Allowed",
            "Method Not Allowed",
        )
    }

    pub(crate) fn precondition_failed(reason: impl Into<Value>) -> Self {
        let status = StatusCode::PRECONDITION_FAILED;
        Self::new(status, "precondition_failed", reason)
    }
}

/// What the broker refuses, as RabbitMQ's API tells it: only the text of what is wrong, and nothing about what may not be
/// seen.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::ConnectionForced(text) => Self::unavailable(text),
            Error::NotFound(text) => Self::not_found(text),
            Error::Undecided(_) => Self::undecided(),
            Error::AccessRefused(_) | Error::NotAllowed(_) => {
                Self::not_authorised("Access refused.")
            }
            Error::ResourceLocked(text)
            | Error::PreconditionFailed(text)
            | Error::NotImplemented(text)
            | Error::InternalError(text) => Self::bad_request(text),
        }
    }
}

/// What of an operator's changes is refused.
impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound(text) => Self::not_found(text),
            Refused::Invalid(text) => Self::bad_request(text),
            Refused::Protected(text) => Self::precondition_failed(text),
        }
    }
}

impl From<Undecided> for Failure {
    fn from(_: Undecided) -> Self {
        Self::undecided()
    }
}

impl From<Failure> for Box<Answer> {
    fn from(failure: Failure) -> Self {
        Self::new(failure.into())
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        let body = json!({"error": failure.error, "reason": failure.reason});
        let mut answer = Self::value(&body);
        *answer.response.status_mut() = failure.status;
        answer.not_before = failure.not_before;
        answer.is_undecided = failure.is_undecided;
        if failure.challenge {
            let realm = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
            return answer.with(header::WWW_AUTHENTICATE, realm);
        }
        answer
    }
}
