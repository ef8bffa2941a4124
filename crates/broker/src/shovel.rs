//! Shovels as their parameters say them (O07): from where messages are taken, and where they go. What moves them is the
//! server's; here is what such a parameter may be.

use crate::exchange::printed;
use crate::properties::PropertiesBuf;
use crate::table::{Table, Value};

pub use uri::Uri;

mod uri;

/// The component of their parameters.
pub const COMPONENT: &str = "shovel";

/// A shovel, after all checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Shovel {
    pub source: Source,
    pub destination: Destination,
    pub ack_mode: AckMode,
    /// `reconnect-delay`, seconds; 0: it does not try again.
    pub reconnect_delay_s: u64,
}

/// A broker, and what of it is used.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    pub protocol: Protocol,
    /// Tried in turn.
    pub uris: Vec<Uri>,
    pub queue: Option<Box<str>>,
    /// Of a queue that is not there yet.
    pub queue_arguments: Table,
    pub exchange: Option<Box<str>>,
    pub exchange_key: Option<Box<str>>,
    /// Nothing is declared: it has to be there.
    pub predeclared: bool,
}

/// Where messages come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    pub end: End,
    pub prefetch: u16,
    pub delete_after: DeleteAfter,
    /// `src-delete-after-duration`, seconds.
    pub delete_after_s: Option<u64>,
    pub consumer_arguments: Table,
    /// The consumer's tag; empty: the source gives it one.
    pub consumer_tag: Box<str>,
}

/// Where they go.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    pub end: End,
    properties: Table,
    pub adds_forward_headers: bool,
    pub adds_timestamp_header: bool,
}

/// By what the shovel speaks to one of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Amqp091,
    /// Kept, and refused when it is to start: it is not spoken here.
    Amqp10,
    /// To this node.
    Local,
}

/// When a message is acknowledged at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckMode {
    /// When it is delivered.
    NoAck,
    /// When it is on its way to the destination.
    OnPublish,
    /// When the destination has confirmed it.
    OnConfirm,
}

/// When a shovel is done, and its parameter deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteAfter {
    Never,
    /// After as many messages as its queue has at the start.
    QueueLength,
    Count(u64),
}

impl Protocol {
    const ALL: [Self; 3] = [Self::Local, Self::Amqp10, Self::Amqp091];

    /// Its name in parameters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amqp091 => "amqp091",
            Self::Amqp10 => "amqp10",
            Self::Local => "local",
        }
    }
}

impl AckMode {
    const ALL: [Self; 3] = [Self::NoAck, Self::OnPublish, Self::OnConfirm];

    fn name(self) -> &'static str {
        match self {
            Self::NoAck => "no-ack",
            Self::OnPublish => "on-publish",
            Self::OnConfirm => "on-confirm",
        }
    }
}

impl Shovel {
    /// Reads the value of the parameter `name`. The error is RabbitMQ's: a line for everything that is wrong.
    pub fn read(name: &str, value: &Value) -> Result<Self, String> {
        let terms = value
            .as_table()
            .ok_or_else(|| format!("{name} should be a map, actually was {}", printed(value)))?;
        let faults = faults(name, terms);
        if !faults.is_empty() {
            return Err(faults.join("\n"));
        }
        let terms = Terms(terms);
        Ok(Self {
            source: terms.source()?,
            destination: terms.destination()?,
            ack_mode: terms.one_of("ack-mode", &AckMode::ALL, AckMode::name, AckMode::OnConfirm),
            reconnect_delay_s: terms
                .number("reconnect-delay")
                .map_or(5, |delay| delay as u64),
        })
    }

    /// The virtual hosts of this node that it uses without logging in, where its own is `own`.
    pub fn vhosts_here<'a>(&'a self, own: &'a str) -> impl Iterator<Item = &'a str> {
        let ends = [&self.source.end, &self.destination.end];
        let uris = ends.into_iter().flat_map(|end| &end.uris);
        let here = uris.filter(|uri| uri.host.is_none());
        here.map(move |uri| uri.vhost.as_deref().unwrap_or(own))
    }
}

impl Destination {
    /// Whether messages go on as they came.
    pub fn keeps_properties(&self) -> bool {
        self.properties.is_empty() && !self.adds_forward_headers && !self.adds_timestamp_header
    }

    /// Sets what `dest-publish-properties` says.
    pub fn set_properties(&self, properties: &mut PropertiesBuf) {
        let octets = |value: &Value| value.as_str().map(|text| text.as_bytes().into());
        let small = |value: &Value| value.as_i64().and_then(|number| u8::try_from(number).ok());
        for (key, value) in self.properties.iter() {
            match key {
                "content_type" => properties.content_type = octets(value),
                "content_encoding" => properties.content_encoding = octets(value),
                "delivery_mode" => properties.delivery_mode = small(value),
                "priority" => properties.priority = small(value),
                "correlation_id" => properties.correlation_id = octets(value),
                "reply_to" => properties.reply_to = octets(value),
                "expiration" => properties.expiration = octets(value),
                "message_id" => properties.message_id = octets(value),
                "timestamp" => {
                    properties.timestamp = value.as_i64().and_then(|at| u64::try_from(at).ok());
                }
                "type" => properties.kind = octets(value),
                "user_id" => properties.user_id = octets(value),
                "app_id" => properties.app_id = octets(value),
                "cluster_id" => properties.cluster_id = octets(value),
                _ => {}
            }
        }
    }
}

/// What a term may be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
    Flag,
    Map,
    Uris,
    DeleteAfter,
    Properties,
    AckMode,
    Protocol,
}

/// Older names of some are still taken.
const TERMS: [(&str, Kind); 34] = [
    ("dest-uri", Kind::Uris),
    ("src-uri", Kind::Uris),
    ("src-protocol", Kind::Protocol),
    ("dest-protocol", Kind::Protocol),
    ("ack-mode", Kind::AckMode),
    ("reconnect-delay", Kind::Number),
    ("src-queue", Kind::Text),
    ("src-queue-args", Kind::Map),
    ("src-exchange", Kind::Text),
    ("src-exchange-key", Kind::Text),
    ("src-consumer-args", Kind::Map),
    ("src-consumer-name", Kind::Text),
    ("src-prefetch-count", Kind::Number),
    ("prefetch-count", Kind::Number),
    ("src-delete-after", Kind::DeleteAfter),
    ("delete-after", Kind::DeleteAfter),
    ("src-delete-after-duration", Kind::Number),
    ("src-predeclared", Kind::Flag),
    ("src-address", Kind::Text),
    ("dest-queue", Kind::Text),
    ("dest-queue-args", Kind::Map),
    ("dest-exchange", Kind::Text),
    ("dest-exchange-key", Kind::Text),
    ("dest-publish-properties", Kind::Properties),
    ("publish-properties", Kind::Properties),
    ("dest-add-forward-headers", Kind::Flag),
    ("add-forward-headers", Kind::Flag),
    ("dest-add-timestamp-header", Kind::Flag),
    ("add-timestamp-header", Kind::Flag),
    ("dest-predeclared", Kind::Flag),
    ("dest-address", Kind::Text),
    ("dest-properties", Kind::Map),
    ("dest-application-properties", Kind::Map),
    ("dest-message-annotations", Kind::Map),
];

const PROPERTIES: [(&str, Kind); 13] = [
    ("content_type", Kind::Text),
    ("content_encoding", Kind::Text),
    ("delivery_mode", Kind::Number),
    ("priority", Kind::Number),
    ("correlation_id", Kind::Text),
    ("reply_to", Kind::Text),
    ("expiration", Kind::Text),
    ("message_id", Kind::Text),
    ("timestamp", Kind::Number),
    ("type", Kind::Text),
    ("user_id", Kind::Text),
    ("app_id", Kind::Text),
    ("cluster_id", Kind::Text),
];

/// Everything that is wrong with the terms of a shovel, in RabbitMQ's words.
fn faults(name: &str, terms: &Table) -> Vec<String> {
    let has = |key| terms.get(key).is_some();
    let speaks_1_0 = |key| terms.get(key).and_then(Value::as_str) == Some("amqp10");
    let mut faults = Vec::new();
    let mut required = vec!["dest-uri", "src-uri"];
    match (
        speaks_1_0("src-protocol"),
        has("src-exchange"),
        has("src-queue"),
    ) {
        (true, ..) => required.push("src-address"),
        (_, false, false) => faults.push("Must specify 'src-exchange' or 'src-queue'".to_owned()),
        (_, true, true) => faults.push("Cannot specify 'src-exchange' and 'src-queue'".to_owned()),
        _ => {}
    }
    match (
        speaks_1_0("dest-protocol"),
        has("dest-exchange") && has("dest-queue"),
    ) {
        (true, _) => required.push("dest-address"),
        (_, true) => faults.push("Cannot specify 'dest-exchange' and 'dest-queue'".to_owned()),
        _ => {}
    }
    let counts = ["src-delete-after", "delete-after"]
        .into_iter()
        .any(|key| terms.get(key).and_then(Value::as_i64).is_some());
    if counts && terms.get("ack-mode").and_then(Value::as_str) == Some("no-ack") {
        faults.push("Cannot specify 'no-ack' and numerical 'delete-after'".to_owned());
    }
    let missing = required.into_iter().filter(|key| !has(key));
    faults.extend(missing.map(|key| format!("Key {key:?} not found in {name}")));
    faults.extend(faults_of_terms(name, terms, &TERMS));
    faults
}

fn faults_of_terms(name: &str, terms: &Table, known: &[(&str, Kind)]) -> Vec<String> {
    let kind_of = |key: &str| {
        known
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, kind)| *kind)
    };
    let mut faults = Vec::new();
    let mut strangers = Vec::new();
    for (key, value) in terms.iter() {
        match kind_of(key) {
            Some(kind) => faults.extend(kind.faults(key, value)),
            None => strangers.push(format!("{{<<{key:?}>>,{}}}", printed(value))),
        }
    }
    if !strangers.is_empty() {
        let strangers = strangers.join(",");
        faults.push(format!("Unrecognised terms [{strangers}] in {name}"));
    }
    faults
}

impl Kind {
    fn faults(self, key: &str, value: &Value) -> Vec<String> {
        let otherwise = |is_right: bool, should: &str| match is_right {
            true => Vec::new(),
            false => vec![format!(
                "{key} should be {should}, actually was {}",
                printed(value)
            )],
        };
        let choice = |names: [&str; 3]| match value.as_str() {
            Some(name) => {
                let all = names.map(|name| format!("<<{name:?}>>")).join(",");
                otherwise(names.contains(&name), &format!("one of [{all}]"))
            }
            None => otherwise(false, "binary"),
        };
        let number = value.as_i64();
        match self {
            Self::Text => otherwise(value.as_str().is_some(), "binary"),
            Self::Number => otherwise(number.is_some(), "a number"),
            Self::Flag => otherwise(value.as_bool().is_some(), "boolean"),
            Self::Map => otherwise(value.as_table().is_some(), "a map"),
            Self::AckMode => choice(AckMode::ALL.map(AckMode::name)),
            Self::Protocol => choice(Protocol::ALL.map(Protocol::name)),
            Self::DeleteAfter => otherwise(
                delete_after(value).is_some(),
                "a number greater than or equal to 0, \"never\" or \"queue-length\"",
            ),
            Self::Properties => match value.as_table() {
                Some(properties) => faults_of_terms(key, properties, &PROPERTIES),
                None => otherwise(false, "a map"),
            },
            Self::Uris => match texts(value) {
                Some(texts) => texts
                    .iter()
                    .filter_map(|text| Uri::read(text).err())
                    .collect(),
                None => otherwise(false, "list"),
            },
        }
    }
}

/// One text or a list of them.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        value => Some(vec![value.as_str()?]),
    }
}

fn delete_after(value: &Value) -> Option<DeleteAfter> {
    match (value.as_str(), value.as_i64()) {
        (Some("never"), _) => Some(DeleteAfter::Never),
        (Some("queue-length"), _) => Some(DeleteAfter::QueueLength),
        (_, Some(count)) => u64::try_from(count).ok().map(DeleteAfter::Count),
        _ => None,
    }
}

/// Terms without fault.
struct Terms<'a>(&'a Table);

impl Terms<'_> {
    fn source(&self) -> Result<Source, String> {
        let delete_after = self.first(["src-delete-after", "delete-after"]);
        let prefetch = self.first(["src-prefetch-count", "prefetch-count"]);
        let prefetch = prefetch.and_then(Value::as_i64).unwrap_or(1000);
        let duration = self.number("src-delete-after-duration");
        Ok(Source {
            end: self.end("src")?,
            // What AMQP can't say is as many as there are, as 0 is.
            prefetch: u16::try_from(prefetch).unwrap_or(0),
            delete_after: delete_after
                .and_then(self::delete_after)
                .unwrap_or(DeleteAfter::Never),
            delete_after_s: duration.map(|seconds| seconds.max(DURATION_LEAST_S) as u64),
            consumer_arguments: self.map("src-consumer-args"),
            consumer_tag: self.text("src-consumer-name").unwrap_or_default(),
        })
    }

    fn destination(&self) -> Result<Destination, String> {
        let properties = self.first(["dest-publish-properties", "publish-properties"]);
        let flag = |names| self.first(names).and_then(Value::as_bool).unwrap_or(false);
        Ok(Destination {
            end: self.end("dest")?,
            properties: properties
                .and_then(Value::as_table)
                .cloned()
                .unwrap_or_default(),
            adds_forward_headers: flag(["dest-add-forward-headers", "add-forward-headers"]),
            adds_timestamp_header: flag(["dest-add-timestamp-header", "add-timestamp-header"]),
        })
    }

    fn end(&self, side: &str) -> Result<End, String> {
        let key = |term: &str| format!("{side}-{term}");
        let uris = self.0.get(&key("uri")).and_then(texts).unwrap_or_default();
        let predeclared = self.0.get(&key("predeclared")).and_then(Value::as_bool);
        Ok(End {
            protocol: self.one_of(
                &key("protocol"),
                &Protocol::ALL,
                Protocol::name,
                Protocol::Amqp091,
            ),
            uris: uris.into_iter().map(Uri::read).collect::<Result<_, _>>()?,
            queue: self.text(&key("queue")),
            queue_arguments: self.map(&key("queue-args")),
            exchange: self.text(&key("exchange")),
            exchange_key: self.text(&key("exchange-key")),
            predeclared: predeclared.unwrap_or(false),
        })
    }

    fn first(&self, names: [&str; 2]) -> Option<&Value> {
        names.into_iter().find_map(|name| self.0.get(name))
    }

    fn text(&self, name: &str) -> Option<Box<str>> {
        self.0.get(name).and_then(Value::as_str).map(Box::from)
    }

    /// Nothing that is counted or waited for is negative.
    fn number(&self, name: &str) -> Option<i64> {
        let number = self.0.get(name).and_then(Value::as_i64);
        number.map(|number| number.max(0))
    }

    fn map(&self, name: &str) -> Table {
        let map = self.0.get(name).and_then(Value::as_table);
        map.cloned().unwrap_or_default()
    }

    fn one_of<T: Copy>(&self, key: &str, all: &[T], name: fn(T) -> &'static str, default: T) -> T {
        let given = self.0.get(key).and_then(Value::as_str);
        let found = all.iter().find(|one| given == Some(name(**one)));
        found.copied().unwrap_or(default)
    }
}

/// RabbitMQ's floor of `src-delete-after-duration`.
const DURATION_LEAST_S: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    /// `key=value` words: whole numbers, flags and, beginning with `{`, tables of one entry are what they look like.
    fn table(words: &str) -> Table {
        words.split_whitespace().map(entry).collect()
    }

    fn entry(word: &str) -> (&str, Value) {
        let (key, text) = word.split_once('=').unwrap();
        let value = match (text.parse(), text.parse()) {
            (Ok(number), _) => Value::I64(number),
            (_, Ok(flag)) => Value::Bool(flag),
            _ => match text.strip_prefix('{') {
                Some(inner) => Value::Table([entry(inner)].into_iter().collect()),
                None => Value::String(text.as_bytes().into()),
            },
        };
        (key, value)
    }

    fn read(words: &str) -> Result<Shovel, String> {
        Shovel::read("s", &Value::Table(table(words)))
    }

    const WHOLE: &str = "src-uri=amqp:// dest-uri=amqp:// src-queue=a dest-queue=b";

    /// The texts are those of RabbitMQ 4.3.6.
    #[test]
    fn what_is_wrong_is_said_as_rabbitmq_says_it() {
        let check = |words: &str, expected: &str| {
            assert_eq!(read(words).unwrap_err(), expected, "{words}");
        };
        check(
            "src-uri=amqp://",
            "Must specify 'src-exchange' or 'src-queue'\nKey \"dest-uri\" not found in s",
        );
        check(
            "src-protocol=amqp10 src-uri=amqp:// dest-uri=amqp://",
            "Key \"src-address\" not found in s",
        );
        let check = |more: &str, expected: &str| check(&format!("{WHOLE} {more}"), expected);
        check(
            "src-exchange=x",
            "Cannot specify 'src-exchange' and 'src-queue'",
        );
        check(
            "dest-exchange=x",
            "Cannot specify 'dest-exchange' and 'dest-queue'",
        );
        check("bogus=1", "Unrecognised terms [{<<\"bogus\">>,1}] in s");
        check("src-uri=5", "src-uri should be list, actually was 5");
        check(
            "ack-mode=foo",
            "ack-mode should be one of [<<\"no-ack\">>,<<\"on-publish\">>,<<\"on-confirm\">>], actually was <<\"foo\">>",
        );
        check("ack-mode=5", "ack-mode should be binary, actually was 5");
        check(
            "reconnect-delay=x",
            "reconnect-delay should be a number, actually was <<\"x\">>",
        );
        check(
            "src-delete-after=-1",
            "src-delete-after should be a number greater than or equal to 0, \"never\" or \"queue-length\", actually was -1",
        );
        check(
            "src-delete-after=5 ack-mode=no-ack",
            "Cannot specify 'no-ack' and numerical 'delete-after'",
        );
        check(
            "dest-add-forward-headers=x",
            "dest-add-forward-headers should be boolean, actually was <<\"x\">>",
        );
        check(
            "dest-publish-properties={foo=1",
            "Unrecognised terms [{<<\"foo\">>,1}] in dest-publish-properties",
        );
        check(
            "src-protocol=foo",
            "src-protocol should be one of [<<\"local\">>,<<\"amqp10\">>,<<\"amqp091\">>], actually was <<\"foo\">>",
        );
    }

    #[test]
    fn defaults_are_rabbitmqs() {
        let shovel = read(WHOLE).unwrap();
        assert_eq!(shovel.ack_mode, AckMode::OnConfirm);
        assert_eq!(shovel.reconnect_delay_s, 5);
        assert_eq!(shovel.source.prefetch, 1000);
        assert_eq!(shovel.source.delete_after, DeleteAfter::Never);
        assert!(shovel.destination.keeps_properties());
        let here: Vec<_> = shovel.vhosts_here("v").collect();
        assert_eq!(here, ["v", "v"]);
        let shovel = read(&format!(
            "{WHOLE} src-prefetch-count=-1 src-delete-after-duration=5"
        ));
        let source = shovel.unwrap().source;
        assert_eq!((source.prefetch, source.delete_after_s), (0, Some(60)));
    }

    #[test]
    fn properties_are_set() {
        let shovel = read(&format!(
            "{WHOLE} dest-publish-properties={{delivery_mode=1"
        ));
        let mut properties = PropertiesBuf::default();
        let destination = shovel.unwrap().destination;
        assert!(!destination.keeps_properties());
        destination.set_properties(&mut properties);
        assert_eq!(properties.delivery_mode, Some(1));
    }
}
