//! How the tables of the description write down what a value is.

use serde_json::{Value, json};

/// The name of a field or a parameter, and its kind, as [`schema`] reads it.
pub(super) type Field = (&'static str, &'static str);

/// The schema of a kind: types of JSON or names of objects with `|` between, or one of these in brackets for a list of them.
pub(super) fn schema(kind: &str) -> Value {
    if let Some(item) = kind.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        return json!({"type": "array", "items": schema(item)});
    }
    if kind == "any" {
        return json!({});
    }
    let kinds: Vec<&str> = kind.split('|').collect();
    match kinds[..] {
        [name] if is_object(name) => json!({"$ref": format!("#/components/schemas/{name}")}),
        [one] => json!({"type": one}),
        _ if kinds.iter().any(|kind| is_object(kind)) => {
            json!({"anyOf": kinds.into_iter().map(schema).collect::<Vec<_>>()})
        }
        _ => json!({"type": kinds}),
    }
}

fn is_object(kind: &str) -> bool {
    kind.starts_with(char::is_uppercase)
}
