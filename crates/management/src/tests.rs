//! Scripts of requests and their answers, on a node in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{Request, header};
use leveret_broker::broker::{Broker, Restored};
use leveret_broker::options::Options as BrokerOptions;
use leveret_broker::storage::sim::SimDisk;
use leveret_broker::storage::{self, Log};
use serde_json::Value;

use super::*;

mod access;
mod backends;
mod certificates;
mod definitions;
mod frame;
mod hostile;
mod messages;
mod metrics;
mod objects;
mod operations;
mod streams;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A node and its HTTP API.
pub(crate) struct World {
    pub(crate) management: Arc<Management>,
    pub(crate) now: Timestamp,
    /// Who asks: name and password.
    pub(crate) user: Option<(&'static str, &'static str)>,
    pub(crate) caller: Caller,
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) body: String,
}

impl Seen {
    fn new(answer: Answer) -> Self {
        let (head, body) = answer.response.into_parts();
        let bytes = match body {
            Body::Whole(bytes) => bytes,
            Body::Pieces(pieces) => pieces.flatten().collect(),
            Body::Events => b"events".to_vec(),
        };
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            not_before: answer.not_before,
            body: String::from_utf8(bytes).unwrap(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::on(BrokerOptions::new(|| 7), change)
    }

    /// On a broker with these options.
    pub(crate) fn on(options: BrokerOptions, change: impl FnOnce(&mut Options)) -> Self {
        let storage = storage::Options {
            file_bytes: 1 << 20,
            lazy: Duration::ZERO,
            ..storage::Options::default()
        };
        let log = Log::open(Arc::new(SimDisk::new(1)), storage, &mut |_| {}).unwrap();
        let now = Timestamp(1_000_000);
        let broker = Broker::start(options, log, Restored::default(), now).unwrap();
        let mut options = Options {
            body_bytes_max: 1000,
            path_prefix: String::new(),
            metrics_path: "/metrics".to_owned(),
            cors: Cors::default(),
            basic_authentication: true,
            login_session_minutes: None,
            oauth: None,
            rabbitmq_version: "4.3.6",
            leveret_version: "0.1.0",
            operations: Box::new(operations::Still::default()),
            data_dir: "data".to_owned(),
            config_files: Vec::new(),
            auth_mechanisms: vec!["PLAIN".to_owned()],
            clock: Box::new(|| Timestamp(1_000_000)),
            host: Box::new(Host::default),
        };
        change(&mut options);
        Self {
            management: Management::new(broker, options, now),
            now,
            user: Some(("guest", "guest")),
            caller: Caller::At(LOCALHOST),
        }
    }

    /// `GET /path`, or with a body behind the path.
    pub(crate) fn ask(&self, request: &str) -> Seen {
        let mut words = request.splitn(3, ' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut builder = Request::builder().method(method).uri(path);
        if let Some((name, password)) = self.user {
            let encoded = BASE64.encode(format!("{name}:{password}"));
            builder = builder.header(header::AUTHORIZATION, format!("Basic {encoded}"));
        }
        self.send(builder, words.next().unwrap_or_default())
    }

    pub(crate) fn send(&self, builder: http::request::Builder, body: &str) -> Seen {
        self.send_octets(builder, body.as_bytes())
    }

    pub(crate) fn send_octets(&self, builder: http::request::Builder, body: &[u8]) -> Seen {
        let (head, ()) = builder.body(()).unwrap().into_parts();
        let visit = Arc::new(Visit::new(head, self.caller));
        let answer = match self.management.admit(&visit, self.now) {
            Ok(admitted) if body.len() > self.management.body_bytes_max() => {
                self.management.refuse_body(&admitted)
            }
            Ok(admitted) => self.management.answer(&admitted, body, self.now),
            Err(answer) => *answer,
        };
        Seen::new(answer)
    }

    /// Plays a script: lines of requests, each followed by a line with the status and the body that it is answered with
    /// (`...`: whatever follows).
    #[track_caller]
    pub(crate) fn check(&self, script: &str) {
        let mut lines = script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        while let Some(request) = lines.next() {
            let seen = self.ask(request);
            let expected = lines.next().expect("each request has its answer");
            let shown = format!("{} {}", seen.status, seen.body);
            let shown = shown.trim_end();
            match expected.strip_suffix("...") {
                Some(start) => assert!(shown.starts_with(start), "{request}: {shown}"),
                None => assert_eq!(shown, expected, "{request}"),
            }
        }
    }
}
