//! Which messages are meant: by address, properties, headers, or words in them. All that is said has to hold.

use leveret_broker::message::Message;
use leveret_broker::properties::PropertiesBuf;
use leveret_broker::queue::Counts;
use leveret_broker::table::{Table, Value};
use regex::bytes::{Regex, RegexBuilder};
use serde_json::{Map, Value as Json};

use super::write_properties;
use crate::answer::Failure;
use crate::json::{self, Columns};
use crate::query::Query;
use crate::table::ValueJson;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Filter {
    exchange: Option<String>,
    routing_key: Option<String>,
    /// Names of properties, and what they are as text.
    properties: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    /// In the body, in any case of its letters.
    body: Option<Regex>,
    /// Anywhere in the message.
    text: Option<Regex>,
}

/// The names of properties that can be asked for.
const PROPERTIES: [&str; 13] = [
    "content_type",
    "content_encoding",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
    "delivery_mode",
    "priority",
    "timestamp",
];

impl Filter {
    /// `exchange`, `routing_key`, `body`, `text`, `property.NAME` and `header.NAME` of a query string.
    pub(super) fn from_query(query: &Query) -> Result<Self, Failure> {
        let mut filter = Self::default();
        for (name, value) in query.pairs() {
            let (name, of) = name.split_once('.').unwrap_or((name, ""));
            match name {
                "property" => filter.property(of, value.to_owned())?,
                "header" => filter.headers.push((of.to_owned(), value.to_owned())),
                "exchange" | "routing_key" | "body" | "text" => filter.set(name, value)?,
                // The others are for somebody else.
                _ => {}
            }
        }
        Ok(filter)
    }

    /// The same of a JSON object, with `properties` and `headers` as objects. A name that is not known is refused: without
    /// it, more would be meant than was asked for.
    pub(super) fn from_json(fields: &Map<String, Json>) -> Result<Self, Failure> {
        let mut filter = Self::default();
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("properties", Json::Object(properties)) => {
                    for (name, value) in properties {
                        filter.property(name, plain(value))?;
                    }
                }
                ("headers", Json::Object(headers)) => {
                    let headers = headers.iter();
                    let headers = headers.map(|(name, value)| (name.clone(), plain(value)));
                    filter.headers.extend(headers);
                }
                ("exchange" | "routing_key" | "body" | "text", Json::String(value)) => {
                    filter.set(name, value)?;
                }
                _ => {
                    return Err(Failure::bad_request(format!(
                        "invalid filter {name}: {value}"
                    )));
                }
            }
        }
        Ok(filter)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        match name {
            "exchange" => {
                let name = if value == "amq.default" { "" } else { value };
                self.exchange = Some(name.to_owned());
            }
            "routing_key" => self.routing_key = Some(value.to_owned()),
            "body" => self.body = Some(words(value)?),
            _ => self.text = Some(words(value)?),
        }
        Ok(())
    }

    fn property(&mut self, name: &str, value: String) -> Result<(), Failure> {
        if !PROPERTIES.contains(&name) {
            return Err(Failure::bad_request(format!("no such property: {name}")));
        }
        self.properties.push((name.to_owned(), value));
        Ok(())
    }

    /// Whether all that is said holds for this message.
    pub(super) fn accepts(&self, message: &Message) -> bool {
        let is = |wanted: &Option<String>, bytes: &[u8]| {
            wanted.as_ref().is_none_or(|text| text.as_bytes() == bytes)
        };
        is(&self.exchange, message.exchange())
            && is(&self.routing_key, message.routing_key())
            && self.accepts_properties(message)
            && self
                .body
                .as_ref()
                .is_none_or(|it| it.is_match(message.body()))
            && self.text.as_ref().is_none_or(|it| is_in(it, message))
    }

    fn accepts_properties(&self, message: &Message) -> bool {
        if self.properties.is_empty() && self.headers.is_empty() {
            return true;
        }
        let Ok(properties) = PropertiesBuf::parse(message.properties()) else {
            return false;
        };
        let mut named = self.properties.iter();
        let mut headers = self.headers.iter();
        named.all(|(name, value)| property(&properties, name).is_some_and(|it| it == *value))
            && headers.all(|(name, value)| {
                let header = properties
                    .headers
                    .as_ref()
                    .and_then(|all| header(all, name));
                header.is_some_and(|it| it == *value)
            })
    }
}

/// Words to look for, as they stand. The expression is made of nothing else, so that it takes time in proportion to what is
/// looked through.
fn words(text: &str) -> Result<Regex, Failure> {
    RegexBuilder::new(&regex::escape(text))
        .case_insensitive(true)
        .build()
        .map_err(|_| Failure::bad_request("the text to look for is too long"))
}

/// Whether the words are anywhere in the message.
fn is_in(words: &Regex, message: &Message) -> bool {
    let mut properties = Vec::new();
    json::object(&mut properties, Columns::ALL, |object| {
        write_properties(object, message, Counts::default());
    });
    let parts = [
        message.exchange(),
        message.routing_key(),
        message.body(),
        &properties,
    ];
    parts.iter().any(|part| words.is_match(part))
}

/// A value of JSON, texts without their quotes.
fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn header(headers: &Table, name: &str) -> Option<String> {
    match headers.get(name)? {
        Value::String(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        other => serde_json::to_string(&ValueJson(other)).ok(),
    }
}

fn property(properties: &PropertiesBuf, name: &str) -> Option<String> {
    let text = |value: &Option<Box<[u8]>>| {
        let bytes = value.as_deref()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    match name {
        "content_type" => text(&properties.content_type),
        "content_encoding" => text(&properties.content_encoding),
        "correlation_id" => text(&properties.correlation_id),
        "reply_to" => text(&properties.reply_to),
        "expiration" => text(&properties.expiration),
        "message_id" => text(&properties.message_id),
        "type" => text(&properties.kind),
        "user_id" => text(&properties.user_id),
        "app_id" => text(&properties.app_id),
        "cluster_id" => text(&properties.cluster_id),
        "delivery_mode" => properties.delivery_mode.map(|it| it.to_string()),
        "priority" => properties.priority.map(|it| it.to_string()),
        "timestamp" => properties.timestamp.map(|it| it.to_string()),
        _ => None,
    }
}
