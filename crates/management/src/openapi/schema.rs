//! How the tables of the description write down what a value is.

use serde_json::{Value, json};

/// The name of a field or a parameter, and its kind, as [`schema`] reads it.
pub(super) type Field = (&'static str, &'static str);

/// The schema of a kind: types of JSON with `|` between, the name of an object, or either in brackets for a list of them.
pub(super) fn schema(kind: &str) -> Value {
    if let Some(item) = kind.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        return json!({"type": "array", "items": schema(item)});
    }
    if kind == "any" {
        return json!({});
    }
    if kind.starts_with(char::is_uppercase) {
        return json!({"$ref": format!("#/components/schemas/{kind}")});
    }
    let types: Vec<&str> = kind.split('|').collect();
    match types[..] {
        [one] => json!({"type": one}),
        _ => json!({"type": types}),
    }
}
