//! Tables of AMQP 0-9-1 as JSON, and back.

use leveret_broker::table::{Table, Value};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value as Json;

use crate::answer::Failure;

/// A table that is written as an object.
pub(crate) struct TableJson<'a>(pub(crate) &'a Table);

struct ValueJson<'a>(&'a Value);

impl Serialize for TableJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0.iter() {
            map.serialize_entry(name, &ValueJson(value))?;
        }
        map.end()
    }
}

impl Serialize for ValueJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Void => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::F32(number) => serializer.serialize_f32(*number),
            Value::F64(number) => serializer.serialize_f64(*number),
            Value::Decimal { scale, value } => {
                serializer.serialize_f64(f64::from(*value) / 10_f64.powi(i32::from(*scale)))
            }
            Value::String(bytes) | Value::Bytes(bytes) => {
                serializer.serialize_str(&String::from_utf8_lossy(bytes))
            }
            Value::Timestamp(seconds) => serializer.serialize_u64(*seconds),
            Value::Array(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(&ValueJson(value))?;
                }
                list.end()
            }
            Value::Table(table) => TableJson(table).serialize(serializer),
            integer => serializer.serialize_i64(integer.as_i64().unwrap_or_default()),
        }
    }
}

/// A table from the fields of a JSON object. Whole numbers become `long`, others `double`.
pub(crate) fn from_json(fields: &serde_json::Map<String, Json>) -> Result<Table, Failure> {
    let mut table = Table::new();
    for (name, value) in fields {
        if name.len() > usize::from(u8::MAX) {
            return Err(Failure::bad_request(format!(
                "argument name '{name}' is longer than 255 bytes"
            )));
        }
        table.insert(name.as_str(), value_from_json(value)?);
    }
    Ok(table)
}

fn value_from_json(value: &Json) -> Result<Value, Failure> {
    Ok(match value {
        Json::Null => Value::Void,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::I64(integer),
            (None, Some(float)) => Value::F64(float),
            (None, None) => return Err(Failure::bad_request(format!("{number} is no number"))),
        },
        Json::String(text) => Value::String(text.as_bytes().into()),
        Json::Array(values) => Value::Array(
            values
                .iter()
                .map(value_from_json)
                .collect::<Result<_, _>>()?,
        ),
        Json::Object(fields) => Value::Table(from_json(fields)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        let Ok(Json::Object(fields)) = serde_json::from_str(json) else {
            panic!("{json} is no object");
        };
        let table = from_json(&fields).unwrap();
        let text = serde_json::to_string(&TableJson(&table)).unwrap();
        assert_eq!(text, expected);
    }

    #[test]
    fn tables_come_back_as_they_went() {
        for json in [
            "{}",
            r#"{"x-max-length":5}"#,
            r#"{"a":null,"b":true,"c":1.5,"d":"text","e":[1,"two"],"f":{"g":-1}}"#,
        ] {
            check(json, json);
        }
        check(r#"{"a":1e2}"#, r#"{"a":100.0}"#);
    }
}
