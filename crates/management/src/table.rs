//! Tables of AMQP 0-9-1 as JSON, and back.

use leveret_broker::table::{DEPTH_MAX, Table, Value};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value as Json;

use crate::answer::Failure;
use crate::call::SHORT_STRING_MAX;

/// A table that is written as an object.
pub(crate) struct TableJson<'a>(pub(crate) &'a Table);

/// A value that is written as it is.
pub(crate) struct ValueJson<'a>(pub(crate) &'a Value);

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
    table_within(fields, DEPTH_MAX)
}

/// A value from JSON.
pub(crate) fn value_from_json(value: &Json) -> Result<Value, Failure> {
    value_within(value, DEPTH_MAX - 1)
}

/// `depth`: how many levels there may be, with this one. Deeper ones could not be read from the log again.
fn table_within(fields: &serde_json::Map<String, Json>, depth: u32) -> Result<Table, Failure> {
    let inner = depth.checked_sub(1).ok_or_else(|| {
        Failure::bad_request(format!(
            "tables lie at most {DEPTH_MAX} deep in one another"
        ))
    })?;
    let mut table = Table::new();
    for (name, value) in fields {
        if name.len() > SHORT_STRING_MAX {
            return Err(Failure::bad_request(format!(
                "argument name '{name}' is longer than {SHORT_STRING_MAX} bytes"
            )));
        }
        table.insert(name.as_str(), value_within(value, inner)?);
    }
    Ok(table)
}

fn value_within(value: &Json, depth: u32) -> Result<Value, Failure> {
    Ok(match value {
        Json::Null => Value::Void,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::I64(integer),
            (None, Some(float)) => Value::F64(float),
            (None, None) => return Err(Failure::bad_request(format!("{number} is no number"))),
        },
        Json::String(text) => Value::String(text.as_bytes().into()),
        Json::Array(values) => {
            let inner = depth.checked_sub(1).ok_or_else(|| {
                Failure::bad_request(format!("lists lie at most {DEPTH_MAX} deep in one another"))
            })?;
            let values = values.iter().map(|value| value_within(value, inner));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Json::Object(fields) => Value::Table(table_within(fields, depth)?),
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

    #[test]
    fn what_is_taken_can_be_read_again() {
        for depth in 1..100 {
            let nested = |open: &str, close: &str| {
                let json = format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth));
                let fields: serde_json::Map<String, Json> = serde_json::from_str(&json).unwrap();
                let Ok(table) = from_json(&fields) else {
                    return false;
                };
                let mut encoded = Vec::new();
                table.encode(&mut encoded);
                assert_eq!(Table::decode(&encoded[4..]).unwrap(), table);
                true
            };
            let fits = depth < DEPTH_MAX as usize;
            assert_eq!(nested("[", "]"), fits, "{depth}");
            assert_eq!(nested("{\"b\":", "}"), fits, "{depth}");
        }
    }
}
