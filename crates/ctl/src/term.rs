//! Values as RabbitMQ's tools print them.
//!
//! There they are Erlang terms and here they come as JSON, which knows fewer types. So each column says what its values
//! are ([`Kind`]), and a value is printed as the term that it is in RabbitMQ.

use serde_json::{Map, Number, Value};

/// What the values of a column are, beyond what JSON says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text, a number, a flag, or a list of those.
    Plain,
    /// A number that is 0 until it is first counted.
    Count,
    /// Arguments of AMQP: names with typed values.
    Table,
    /// A map: `#{key => value}`.
    Map,
    /// A list of pairs of which the first is a name: `[{key, value}]`.
    Pairs,
    /// A list of pairs of which the first is a string: `[{<<"key">>, value}]`.
    Definition,
    /// `AMQP 0-9-1`, which is `{0,9,1}`.
    Protocol,
    /// Shown as the JSON it is.
    Json,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Term {
    Undefined,
    Flag(bool),
    Number(Number),
    Text(String),
    List(Vec<Self>),
    Table(Map<String, Value>),
    Map(Map<String, Value>),
    Pairs(Map<String, Value>),
    Definition(Map<String, Value>),
    Tuple(Vec<Self>),
}

impl Term {
    /// A value of the node's API as a term of this kind. What does not fit the kind is shown as it is.
    pub(crate) fn new(kind: Kind, value: Option<&Value>) -> Self {
        match (kind, value) {
            (Kind::Count, None) => Self::Number(0.into()),
            // The API writes an empty object as an empty list in places.
            (Kind::Table, Some(Value::Array(list))) if list.is_empty() => Self::Table(Map::new()),
            (_, None) => Self::Undefined,
            (Kind::Table, Some(Value::Object(map))) => Self::Table(map.clone()),
            (Kind::Map, Some(Value::Object(map))) => Self::Map(map.clone()),
            (Kind::Pairs, Some(Value::Object(map))) => Self::Pairs(map.clone()),
            (Kind::Definition, Some(Value::Object(map))) => Self::Definition(map.clone()),
            (Kind::Protocol, Some(Value::String(name))) => protocol(name),
            (Kind::Json, Some(value)) => Self::Text(value.to_string()),
            (_, Some(value)) => Self::plain(value),
        }
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn plain(value: &Value) -> Self {
        match value {
            Value::Null => Self::Undefined,
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(list) => Self::List(list.iter().map(Self::plain).collect()),
            Value::Object(map) => Self::Map(map.clone()),
        }
    }

    /// As it stands in a table.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Undefined => String::new(),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(list) => format!("[{}]", join(list, ", ", Self::to_text)),
            Self::Tuple(list) => format!("{{{}}}", join(list, ",", Self::to_text)),
            Self::Table(map) => format!(
                "[{}]",
                join(map, ",", |(key, value)| format!(
                    "{{{},{}}}",
                    quoted(key),
                    argument(value)
                ))
            ),
            Self::Map(map) => format!(
                "#{{{}}}",
                join(map, ", ", |(key, value)| format!(
                    "{key} => {}",
                    Self::plain(value).to_text()
                ))
            ),
            Self::Pairs(map) => pairs(map, atom),
            Self::Definition(map) => pairs(map, binary),
        }
    }

    /// As `--formatter json` prints it. Arguments of AMQP keep their types, as `[name, type, value]`.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Undefined => Value::String(String::new()),
            Self::Flag(flag) => Value::Bool(*flag),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.clone()),
            Self::List(list) | Self::Tuple(list) => list.iter().map(Self::to_json).collect(),
            Self::Map(map) | Self::Pairs(map) | Self::Definition(map) => Value::Object(map.clone()),
            Self::Table(map) => map
                .iter()
                .map(|(key, value)| {
                    let (type_, value) = typed(value);
                    Value::Array(vec![key.clone().into(), type_.into(), value])
                })
                .collect(),
        }
    }

    /// As `--formatter erlang` prints it.
    pub(crate) fn to_erlang(&self) -> String {
        match self {
            Self::Undefined => "''".to_owned(),
            Self::Text(text) => binary(text),
            Self::Flag(_) | Self::Number(_) => self.to_text(),
            Self::List(list) => format!("[{}]", join(list, ",", Self::to_erlang)),
            Self::Tuple(list) => format!("{{{}}}", join(list, ",", Self::to_erlang)),
            Self::Table(map) => format!(
                "[{}]",
                join(map, ",", |(key, value)| {
                    let (type_, _) = typed(value);
                    let value = Self::plain(value).to_erlang();
                    format!("{{{},{type_},{value}}}", binary(key))
                })
            ),
            Self::Map(map) => format!(
                "#{{{}}}",
                join(map, ",", |(key, value)| format!(
                    "{} => {}",
                    atom(key),
                    Self::plain(value).to_erlang()
                ))
            ),
            Self::Pairs(map) => erlang_pairs(map, atom),
            Self::Definition(map) => erlang_pairs(map, binary),
        }
    }
}

fn join<T>(
    items: impl IntoIterator<Item = T>,
    separator: &str,
    text: impl Fn(T) -> String,
) -> String {
    let texts: Vec<String> = items.into_iter().map(text).collect();
    texts.join(separator)
}

fn pairs(map: &Map<String, Value>, key: impl Fn(&str) -> String) -> String {
    let pair = |(name, value): (&String, &Value)| {
        format!("{{{}, {}}}", key(name), Term::plain(value).to_text())
    };
    format!("[{}]", join(map, ", ", pair))
}

fn erlang_pairs(map: &Map<String, Value>, key: impl Fn(&str) -> String) -> String {
    let pair = |(name, value): (&String, &Value)| {
        format!("{{{},{}}}", key(name), Term::plain(value).to_erlang())
    };
    format!("[{}]", join(map, ",", pair))
}

/// A value in a table of AMQP, as Erlang prints its strings: an empty one is an empty list.
fn argument(value: &Value) -> String {
    match value {
        Value::Null => "undefined".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(list) => format!("[{}]", join(list, ",", argument)),
        Value::Object(map) => Term::Table(map.clone()).to_text(),
    }
}

/// The AMQP type that RabbitMQ gives to an argument that came as JSON.
fn typed(value: &Value) -> (&'static str, Value) {
    match value {
        Value::Null => ("void", Value::String("undefined".to_owned())),
        Value::Bool(_) => ("bool", value.clone()),
        Value::Number(number) if number.is_f64() => ("double", value.clone()),
        Value::Number(_) => ("long", value.clone()),
        Value::String(_) => ("longstr", value.clone()),
        Value::Array(list) => {
            let items = list.iter().map(|item| {
                let (type_, item) = typed(item);
                Value::Array(vec![type_.into(), item])
            });
            ("array", items.collect())
        }
        Value::Object(map) => ("table", Term::Table(map.clone()).to_json()),
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() {
        return "[]".to_owned();
    }
    format!("\"{}\"", escape(text))
}

fn binary(text: &str) -> String {
    format!("<<\"{}\">>", escape(text))
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
        .replace('\t', "\\t")
}

/// An Erlang atom, in quotes where Erlang wants them.
pub(crate) fn atom(name: &str) -> String {
    let bare = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@');
    if bare {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

/// The tuple that stands for a version of AMQP; other protocols have their names.
fn protocol(name: &str) -> Term {
    let version = name.strip_prefix("AMQP ").map(|version| {
        let parts = version.split(['-', '.']).map(str::parse::<u64>);
        parts.collect::<Result<Vec<_>, _>>()
    });
    match version {
        Some(Ok(parts)) => Term::Tuple(
            parts
                .into_iter()
                .map(|part| Term::Number(part.into()))
                .collect(),
        ),
        _ => Term::text(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How RabbitMQ's tools print a value of this kind: in a table, as JSON, and as Erlang.
    fn check(kind: Kind, value: &str, text: &str, json: &str, erlang: &str) {
        let value: Value = serde_json::from_str(value).unwrap();
        let term = Term::new(kind, Some(&value));
        assert_eq!(term.to_text(), text, "{value} in a table");
        assert_eq!(term.to_json().to_string(), json, "{value} as JSON");
        assert_eq!(term.to_erlang(), erlang, "{value} in Erlang");
    }

    #[test]
    fn plain_values() {
        check(
            Kind::Plain,
            r#""running""#,
            "running",
            r#""running""#,
            r#"<<"running">>"#,
        );
        check(Kind::Plain, "true", "true", "true", "true");
        check(Kind::Plain, "-3", "-3", "-3", "-3");
        check(Kind::Plain, "null", "", r#""""#, "''");
        check(
            Kind::Plain,
            r#"["monitoring","policymaker"]"#,
            "[monitoring, policymaker]",
            r#"["monitoring","policymaker"]"#,
            r#"[<<"monitoring">>,<<"policymaker">>]"#,
        );
        check(Kind::Plain, "[]", "[]", "[]", "[]");
        assert_eq!(Term::new(Kind::Count, None).to_text(), "0");
        assert_eq!(Term::new(Kind::Plain, None).to_text(), "");
    }

    #[test]
    fn arguments_keep_their_types() {
        check(Kind::Table, "{}", "[]", "[]", "[]");
        check(Kind::Table, "[]", "[]", "[]", "[]");
        check(
            Kind::Table,
            r#"{"x-max-length":100,"x-overflow":"reject-publish"}"#,
            r#"[{"x-max-length",100},{"x-overflow","reject-publish"}]"#,
            r#"[["x-max-length","long",100],["x-overflow","longstr","reject-publish"]]"#,
            r#"[{<<"x-max-length">>,long,100},{<<"x-overflow">>,longstr,<<"reject-publish">>}]"#,
        );
        check(
            Kind::Table,
            r#"{"c":{"d":true},"e":"","f":[1]}"#,
            r#"[{"c",[{"d",true}]},{"e",[]},{"f",[1]}]"#,
            r#"[["c","table",[["d","bool",true]]],["e","longstr",""],["f","array",[["long",1]]]]"#,
            r#"[{<<"c">>,table,#{d => true}},{<<"e">>,longstr,<<"">>},{<<"f">>,array,[1]}]"#,
        );
    }

    #[test]
    fn maps_and_pairs() {
        check(
            Kind::Map,
            r#"{"description":"for probes","tags":["a","b"]}"#,
            "#{description => for probes, tags => [a, b]}",
            r#"{"description":"for probes","tags":["a","b"]}"#,
            r#"#{description => <<"for probes">>,tags => [<<"a">>,<<"b">>]}"#,
        );
        check(
            Kind::Pairs,
            r#"{"rabbit@localhost":"running"}"#,
            "[{rabbit@localhost, running}]",
            r#"{"rabbit@localhost":"running"}"#,
            r#"[{rabbit@localhost,<<"running">>}]"#,
        );
        check(
            Kind::Pairs,
            r#"{"rabbit@my-host":"running"}"#,
            "[{'rabbit@my-host', running}]",
            r#"{"rabbit@my-host":"running"}"#,
            r#"[{'rabbit@my-host',<<"running">>}]"#,
        );
        check(
            Kind::Definition,
            r#"{"max-length":40}"#,
            r#"[{<<"max-length">>, 40}]"#,
            r#"{"max-length":40}"#,
            r#"[{<<"max-length">>,40}]"#,
        );
    }

    #[test]
    fn protocols() {
        check(
            Kind::Protocol,
            r#""AMQP 0-9-1""#,
            "{0,9,1}",
            "[0,9,1]",
            "{0,9,1}",
        );
        check(
            Kind::Protocol,
            r#""MQTT 5.0""#,
            "MQTT 5.0",
            r#""MQTT 5.0""#,
            r#"<<"MQTT 5.0">>"#,
        );
    }
}
