//! What a handler is given: who asks for what, and the state of the node.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use leveret_broker::authority::Identity;
use leveret_broker::broker::Broker;
use leveret_broker::time::Timestamp;
use serde_json::{Map, Value};

use crate::Management;
use crate::access::{is_administrator, is_monitor};
use crate::answer::{Failure, Reply};
use crate::query::Query;
use crate::routes::{Endpoint, Parameters};
use crate::visit::{Undecided, Visit};

/// A short string of AMQP has at most so many bytes.
pub(crate) const SHORT_STRING_MAX: usize = 255;

/// A request whose user may make it. Its body has not been read.
#[derive(Debug)]
pub struct Admitted {
    pub(crate) visit: Arc<Visit>,
    pub(crate) endpoint: &'static Endpoint,
    pub(crate) parameters: Parameters,
    /// `None` only where anybody may ask.
    pub(crate) user: Option<Identity>,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    At(IpAddr),
    /// Who runs the node, as the operating system says: no password is asked for, and everything is allowed.
    Operator,
}

/// A request with all that belongs to it.
pub(crate) struct Call<'a> {
    pub(crate) management: &'a Arc<Management>,
    pub(crate) request: &'a Admitted,
    pub(crate) query: Query,
    pub(crate) body: &'a [u8],
    pub(crate) now: Timestamp,
}

impl Admitted {
    /// Who asks; nobody where anybody may.
    pub fn user_name(&self) -> Option<&str> {
        self.user.as_ref().map(|user| &*user.name)
    }

    pub fn head(&self) -> &Parts {
        &self.visit.head
    }

    pub fn caller(&self) -> Caller {
        self.visit.caller
    }

    /// Has the handler answer it.
    pub(crate) fn answer(
        &self,
        management: &Arc<Management>,
        body: &[u8],
        now: Timestamp,
    ) -> Reply {
        let query = Query::parse(self.visit.head.uri.query().unwrap_or_default());
        let call = Call {
            management,
            request: self,
            query,
            body,
            now,
        };
        self.visit.take_undecided();
        let reply = (self.endpoint.handler)(&call);
        // A list may have left out what nobody has decided on yet.
        if self.visit.take_undecided() {
            return Err(Failure::undecided());
        }
        reply
    }
}

impl<'a> Call<'a> {
    pub(crate) fn broker(&self) -> &'a Arc<Broker> {
        &self.management.broker
    }

    /// Who asks.
    pub(crate) fn user(&self) -> &Identity {
        let user = self.request.user.as_ref();
        user.expect("only routes for anybody have no user, and their handlers do not ask")
    }

    /// Who asks, if the internal database knows them: others have their permissions from elsewhere.
    pub(crate) fn internal_user(&self) -> Option<Arc<str>> {
        let known = self.broker().user_info(&self.request.user.as_ref()?.name);
        known.map(|user| user.name)
    }

    /// The part of the path that the route calls so.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        let found = self.parameter_if_any(name);
        found.expect("the route has this parameter")
    }

    /// The name of an object to be, as the path has it. AMQP's names have 255 bytes at most.
    pub(crate) fn new_name(&self, parameter: &str) -> Result<&str, Failure> {
        match self.parameter(parameter) {
            name if name.len() > SHORT_STRING_MAX => Err(Failure::bad_request(format!(
                "{parameter} name is longer than {SHORT_STRING_MAX} bytes"
            ))),
            name => Ok(name),
        }
    }

    pub(crate) fn parameter_if_any(&self, name: &str) -> Option<&str> {
        let mut parameters = self.request.parameters.iter();
        let found = parameters.find(|(key, _)| *key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The vhost that the path names, which has to be there.
    pub(crate) fn vhost(&self) -> Result<&str, Failure> {
        let name = self.parameter("vhost");
        let found = self.broker().vhost_info(name);
        found.map(|_| name).ok_or_else(Failure::no_such_object)
    }

    /// Whether the user may connect to a vhost; `None`: there is no such vhost.
    pub(crate) fn may_connect(&self, vhost: &str) -> Result<Option<bool>, Undecided> {
        let visit = &self.request.visit;
        visit.may_connect(self.broker(), self.user(), vhost)
    }

    /// Where the request comes from.
    pub(crate) fn caller(&self) -> Caller {
        self.request.visit.caller
    }

    /// Which vhosts' objects the user may see.
    pub(crate) fn vhosts(&self) -> Vhosts {
        if is_administrator(self.user()) {
            return Vhosts::All;
        }
        Vhosts::These(self.own_vhosts())
    }

    /// Which vhosts the user may know of.
    pub(crate) fn known_vhosts(&self) -> Vhosts {
        if is_monitor(self.user()) {
            return Vhosts::All;
        }
        Vhosts::These(self.own_vhosts())
    }

    fn own_vhosts(&self) -> BTreeSet<Arc<str>> {
        let may_connect = |vhost: &str| self.may_connect(vhost) == Ok(Some(true));
        let all = self.broker().list_vhosts().into_iter();
        let names = all.map(|vhost| vhost.name);
        names.filter(|name| may_connect(name)).collect()
    }

    /// Whether the user may see connections of that user.
    pub(crate) fn sees_connections_of(&self, user: &str) -> bool {
        is_monitor(self.user()) || *self.user().name == *user
    }

    /// An exchange that the path names; the default exchange is `amq.default` there.
    pub(crate) fn exchange(&self, parameter: &str) -> &str {
        match self.parameter(parameter) {
            "amq.default" => "",
            name => name,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.request.visit.head.headers.get(name)?.to_str().ok()
    }

    /// The body as an object. Nothing, and `null`, count as an empty one.
    pub(crate) fn object(&self) -> Result<Json, Failure> {
        let is_blank = matches!(self.body, b"" | b"null" | b"undefined");
        if is_blank {
            return Ok(Json(Map::new()));
        }
        match serde_json::from_slice(self.body) {
            Ok(Value::Object(fields)) => Ok(Json(fields)),
            Ok(Value::String(_)) => Err(Failure::bad_request(
                "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?",
            )),
            _ => Err(Failure::bad_request("not_json")),
        }
    }
}

/// Some vhosts.
#[derive(Debug, Clone)]
pub(crate) enum Vhosts {
    All,
    These(BTreeSet<Arc<str>>),
}

impl Vhosts {
    pub(crate) fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(name),
        }
    }
}

/// The fields of a body.
#[derive(Debug)]
pub(crate) struct Json(pub(crate) Map<String, Value>);

impl Json {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Refuses a body without these fields, as RabbitMQ words it.
    pub(crate) fn require(&self, names: &[&str]) -> Result<(), Failure> {
        let missing: Vec<String> = names
            .iter()
            .filter(|name| !self.0.contains_key(**name))
            .map(|name| format!("{{key_missing,{name}}}"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Failure::bad_request(format!("[{}]", missing.join(","))))
    }

    /// A routing key; an empty one when it is not there.
    pub(crate) fn routing_key(&self) -> Result<&str, Failure> {
        match self.text("routing_key")?.unwrap_or_default() {
            key if key.len() > SHORT_STRING_MAX => Err(Failure::bad_request(format!(
                "routing_key is longer than {SHORT_STRING_MAX} bytes"
            ))),
            key => Ok(key),
        }
    }

    /// A text, if it is there.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        let expect = |value: &'_ Value| value.as_str().is_some();
        match self.get(name) {
            Some(value) if !expect(value) => Err(wrong_type(name, "a string")),
            found => Ok(found.and_then(Value::as_str)),
        }
    }

    pub(crate) fn required_text(&self, name: &str) -> Result<&str, Failure> {
        self.require(&[name])?;
        self.text(name)?.ok_or_else(|| wrong_type(name, "a string"))
    }

    /// A flag; also as the text `true` or `false`, which older clients send.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(_) => Err(wrong_type(name, "a boolean")),
        }
    }

    /// A whole number; also as a text.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Failure> {
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_i64(),
        };
        number
            .map(Some)
            .ok_or_else(|| wrong_type(name, "an integer"))
    }

    /// An object; RabbitMQ writes empty ones as empty lists at times.
    pub(crate) fn map(&self, name: &str) -> Result<Map<String, Value>, Failure> {
        match self.get(name) {
            None => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map.clone()),
            Some(Value::Array(list)) if list.is_empty() => Ok(Map::new()),
            Some(_) => Err(wrong_type(name, "an object")),
        }
    }
}

fn wrong_type(name: &str, expected: &str) -> Failure {
    Failure::bad_request(format!("{name} must be {expected}"))
}
