//! RabbitMQ's HTTP API: a request goes in and an answer comes out. No socket, no thread, no clock and no randomness live
//! here; `server` has the listeners, and tells the time and what it knows of the machine.
//!
//! A request, a [`Visit`], is looked at twice: [`Management::admit`] finds its route and who asks before any of its body is
//! read, then [`Management::answer`] does what it asks for. To read it: `routes` is the table of everything there is,
//! `access` who may do it, `visit` how that is found out, `call` what a handler is given; `list` and `json` write what it finds; the files below `api` are the
//! handlers, one for each kind of object. `ui` has the web pages, which are files below the folder `ui`.
#![forbid(unsafe_code)]

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use leveret_broker::broker::Broker;
use leveret_broker::time::Timestamp;
use parking_lot::Mutex;

mod access;
mod ages;
mod answer;
mod api;
mod call;
mod cross_site;
mod definitions;
mod events;
mod json;
mod list;
mod memory;
mod metrics;
mod openapi;
mod operations;
mod options;
mod query;
mod rankings;
mod routes;
mod sampler;
mod session;
mod stats;
mod table;
mod ui;
mod visit;

pub use answer::{Answer, Body};
pub use call::{Admitted, Caller};
pub use definitions::{ImportError, Repetition, import};
pub use events::event_line;
pub use leveret_broker::broker::administration::Report;
pub use operations::{
    AddressFacts, AuditEntry, Change, InterfaceFacts, LogLines, LostLines, MachineFacts,
    Operations, ProcessFacts, Service, ShovelEnd, ShovelRun, ShovelState, ShovelStatus,
    ThreadFacts, TlsFacts,
};
pub use options::{
    CertificateFacts, CertificateFile, Cors, DiskFigures, DiskOperations, Host,
    ListenerCertificates, ListenerFacts, Oauth, Options,
};
pub use ui::{File, file};
pub use visit::Visit;

pub use sampler::SAMPLE_PERIOD_MS;

use access::Attempts;
use ages::Ages;
use answer::Failure;
use metrics::Scrapes;
use rankings::Rankings;
use routes::Found;
use sampler::Sampler;
use stats::Totals;

/// The HTTP API of one node.
pub struct Management {
    pub(crate) broker: Arc<Broker>,
    pub(crate) options: Options,
    pub(crate) attempts: Attempts,
    pub(crate) sampler: Mutex<Sampler>,
    pub(crate) ages: Mutex<Ages>,
    pub(crate) totals: Mutex<Totals>,
    pub(crate) rankings: Rankings,
    pub(crate) scrapes: Scrapes,
    pub(crate) started_at: Timestamp,
}

impl Management {
    pub fn new(broker: Arc<Broker>, options: Options, now: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            broker,
            options,
            attempts: Attempts::default(),
            sampler: Mutex::default(),
            ages: Mutex::default(),
            totals: Mutex::default(),
            rankings: Rankings::default(),
            scrapes: Scrapes::default(),
            started_at: now,
        })
    }

    /// Most bytes that the body of a request may have (`management.http.max_body_size`).
    pub fn body_bytes_max(&self) -> usize {
        self.options.body_bytes_max
    }

    /// Finds what a request asks for and who asks. The error is the answer already, and the body need not be read; or it is
    /// undecided, and this is to be called again (see `visit`).
    pub fn admit(&self, visit: &Arc<Visit>, now: Timestamp) -> Result<Admitted, Box<Answer>> {
        let decided = self.find(visit, now);
        decided.map_err(|answer| Box::new(self.with_headers(*answer, &visit.head)))
    }

    /// Does what an admitted request asks for. An answer that is undecided has done nothing, and this is to be called again
    /// (see `visit`).
    pub fn answer(self: &Arc<Self>, admitted: &Admitted, body: &[u8], now: Timestamp) -> Answer {
        let answer = admitted.answer(self, body, now);
        self.with_headers(answer.unwrap_or_else(Answer::from), &admitted.visit.head)
    }

    /// The answer to a request with more of a body than [`Self::body_bytes_max`].
    pub fn refuse_body(&self, admitted: &Admitted) -> Answer {
        let failure = Failure::bad_request("Exceeded HTTP request body size limit");
        self.with_headers(failure.into(), &admitted.visit.head)
    }

    fn find(&self, visit: &Arc<Visit>, now: Timestamp) -> Result<Admitted, Box<Answer>> {
        let head = &visit.head;
        let (endpoint, parameters) = match self.route(head) {
            Found::Endpoint(endpoint, parameters) => (endpoint, parameters),
            Found::Options(allowed) => {
                return Err(Box::new(Answer::empty(StatusCode::OK).allowing(&allowed)));
            }
            Found::OtherMethods(allowed) => {
                let refused = Answer::from(Failure::method_not_allowed());
                return Err(Box::new(refused.allowing(&allowed)));
            }
            Found::Nothing => {
                let page = self.page(head);
                let nothing = || Answer::from(Failure::no_such_object());
                return Err(Box::new(page.unwrap_or_else(nothing)));
            }
            Found::Malformed => {
                return Err(Failure::bad_request("the path is not percent-encoded UTF-8").into());
            }
        };
        self.enter(visit, endpoint, parameters, now)
            .map_err(Into::into)
    }

    fn route(&self, head: &Parts) -> Found {
        let path = head.uri.path();
        match path.strip_prefix(self.options.path_prefix.as_str()) {
            Some(path) => routes::find(&head.method, path),
            None => Found::Nothing,
        }
    }

    /// A file of the web pages. They ask the API for everything else, so that anybody may have them.
    fn page(&self, head: &Parts) -> Option<Answer> {
        let path = head.uri.path();
        let path = path.strip_prefix(self.options.path_prefix.as_str())?;
        ui::answer(head, path, self.options.oauth.as_ref())
    }

    /// What every answer has, and what a page of another origin needs to read it.
    fn with_headers(&self, mut answer: Answer, head: &Parts) -> Answer {
        let headers = answer.response.headers_mut();
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-cache"));
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        let origin = head.headers.get(header::ORIGIN);
        if let Some(origin) = origin.filter(|origin| self.options.cors.allows(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
            if head.method == Method::OPTIONS {
                self.allow_preflight(headers);
            }
        }
        answer
    }

    fn allow_preflight(&self, headers: &mut http::HeaderMap) {
        if let Some(allowed) = headers.get(header::ALLOW).cloned() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allowed);
        }
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, x-reason"),
        );
        let max_age = HeaderValue::from(self.options.cors.max_age_s);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, max_age);
    }
}

impl std::fmt::Debug for Management {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Management").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
