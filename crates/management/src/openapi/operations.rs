//! What operations take beside their paths, and what they give: the part of the description that the table of routes
//! does not have.

use serde_json::{Map, Value, json};

use super::answers;
use super::schema::{Field, schema};
use crate::routes::Verb;

/// A body: which fields it must have, and which it may.
struct Body {
    verb: Verb,
    path: &'static str,
    required: &'static [Field],
    optional: &'static [Field],
}

const fn body(
    verb: Verb,
    path: &'static str,
    required: &'static [Field],
    optional: &'static [Field],
) -> Body {
    Body {
        verb,
        path,
        required,
        optional,
    }
}

const POLICY: &[Field] = &[("pattern", "string"), ("definition", "object")];
const POLICY_MORE: &[Field] = &[("apply-to", "string"), ("priority", "integer")];

#[rustfmt::skip]
const BODIES: &[Body] = &[
    body(Verb::Put, "/cluster-name", &[("name", "string")], &[]),
    body(Verb::Put, "/exchanges/:vhost/:exchange", &[], &[("type", "string"), ("durable", "boolean"), ("auto_delete", "boolean"), ("internal", "boolean"), ("arguments", "object")]),
    body(Verb::Post, "/exchanges/:vhost/:exchange/publish", &[("properties", "object"), ("routing_key", "string"), ("payload", "string"), ("payload_encoding", "string")], &[]),
    body(Verb::Put, "/queues/:vhost/:queue", &[], &[("durable", "boolean"), ("auto_delete", "boolean"), ("arguments", "object"), ("node", "string")]),
    body(Verb::Post, "/queues/:vhost/:queue/get", &[("count", "integer"), ("ackmode", "string"), ("encoding", "string")], &[("truncate", "integer")]),
    body(Verb::Post, "/queues/:vhost/:queue/actions", &[("action", "string")], &[]),
    body(Verb::Put, "/stream/super-streams/:vhost/:name", &[], &[("partitions", "integer"), ("binding-keys", "string"), ("arguments", "object")]),
    body(Verb::Post, "/leveret/queues/:vhost/:queue/messages", &[("action", "string")], &[("ids", "[string]"), ("filter", "MessageFilter"), ("limit", "integer"), ("to", "MessageDestination"), ("origin", "string"), ("dry_run", "boolean")]),
    body(Verb::Post, "/bindings/:vhost/e/:source/:kind/:destination", &[], &[("routing_key", "string"), ("arguments", "object")]),
    body(Verb::Put, "/vhosts/:vhost", &[], &[("description", "string"), ("tags", "string"), ("default_queue_type", "string"), ("protected_from_deletion", "boolean"), ("tracing", "boolean")]),
    body(Verb::Post, "/users/bulk-delete", &[("users", "array")], &[]),
    body(Verb::Put, "/users/:user", &[("tags", "string")], &[("password", "string"), ("password_hash", "string"), ("hashing_algorithm", "string")]),
    body(Verb::Put, "/permissions/:vhost/:user", &[("configure", "string"), ("write", "string"), ("read", "string")], &[]),
    body(Verb::Put, "/topic-permissions/:vhost/:user", &[("exchange", "string"), ("write", "string"), ("read", "string")], &[]),
    body(Verb::Put, "/user-limits/:user/:name", &[("value", "integer")], &[]),
    body(Verb::Put, "/vhost-limits/:vhost/:name", &[("value", "integer")], &[]),
    body(Verb::Put, "/policies/:vhost/:name", POLICY, POLICY_MORE),
    body(Verb::Put, "/operator-policies/:vhost/:name", POLICY, POLICY_MORE),
    body(Verb::Put, "/parameters/:component/:vhost/:name", &[("value", "object")], &[]),
    body(Verb::Put, "/global-parameters/:name", &[("value", "object")], &[]),
    body(Verb::Post, "/definitions", &[], answers::DEFINITIONS),
    body(Verb::Post, "/all-configuration", &[], answers::DEFINITIONS),
    body(Verb::Post, "/definitions/:vhost", &[], answers::DEFINITIONS),
    body(Verb::Post, "/leveret/authenticate", &[("username", "string"), ("password", "string")], &[]),
    body(Verb::Put, "/leveret/auth/attempts/source", &[("enabled", "boolean")], &[]),
    body(Verb::Put, "/leveret/log/level", &[("level", "string")], &[]),
    body(Verb::Put, "/leveret/alarms/memory", &[("vm_memory_high_watermark", "Watermark")], &[]),
    body(Verb::Put, "/leveret/alarms/disk", &[], &[("disk_free_limit", "Watermark"), ("monitoring", "boolean")]),
    body(Verb::Post, "/leveret/eval", &[("expression", "string")], &[]),
];

const PAGE: &[Field] = &[
    ("page", "integer"),
    ("page_size", "integer"),
    ("name", "string"),
    ("use_regex", "boolean"),
    ("pagination", "boolean"),
];
const ROWS: &[Field] = &[
    ("columns", "string"),
    ("sort", "string"),
    ("sort_reverse", "boolean"),
];
const SAMPLES: &[Field] = &[
    ("msg_rates_age", "integer"),
    ("msg_rates_incr", "integer"),
    ("data_rates_age", "integer"),
    ("data_rates_incr", "integer"),
    ("lengths_age", "integer"),
    ("lengths_incr", "integer"),
];
const MESSAGES: &[Field] = &[
    ("state", "string"),
    ("offset", "integer"),
    ("count", "integer"),
    ("encoding", "string"),
    ("truncate", "integer"),
    ("columns", "string"),
    ("exchange", "string"),
    ("routing_key", "string"),
    ("body", "string"),
    ("text", "string"),
];
const IMPORT: &[Field] = &[
    ("dry_run", "boolean"),
    ("report", "boolean"),
    ("skip_if_unchanged", "boolean"),
];

/// Lists that come by pages.
const PAGED: &[&str] = &[
    "/connections",
    "/channels",
    "/consumers",
    "/exchanges",
    "/exchanges/:vhost",
    "/queues",
    "/queues/detailed",
    "/queues/:vhost",
    "/vhosts/:vhost/connections",
    "/vhosts/:vhost/channels",
];

/// What has samples of its past.
const SAMPLED: &[&str] = &[
    "/overview",
    "/nodes/:node",
    "/vhosts/:vhost",
    "/queues/:vhost/:queue",
    "/exchanges/:vhost/:exchange",
    "/connections/:connection",
    "/channels/:channel",
];

/// The parameters of an operation's query.
pub(super) fn query(verb: Verb, path: &str) -> Vec<Value> {
    let mut fields: Vec<Field> = Vec::new();
    match (verb, path) {
        (Verb::Get, "/definitions" | "/all-configuration" | "/definitions/:vhost") => {
            fields.push(("download", "string"));
        }
        (Verb::Post, "/definitions" | "/all-configuration" | "/definitions/:vhost") => {
            fields.extend(IMPORT);
        }
        (Verb::Delete, "/queues/:vhost/:queue") => {
            fields.extend([("if-unused", "boolean"), ("if-empty", "boolean")]);
        }
        (Verb::Delete, "/exchanges/:vhost/:exchange") => fields.push(("if-unused", "boolean")),
        (Verb::Get, "/leveret/log") => {
            fields.extend([("lines", "integer"), ("from", "integer")]);
        }
        (Verb::Get, "/stream/:vhost/:queue/tracking") => fields.push(("type", "string")),
        (Verb::Get, "/leveret/audit") => fields.push(("lines", "integer")),
        (Verb::Get, "/leveret/queues/:vhost/:queue/messages") => fields.extend(MESSAGES),
        (Verb::Get, path) if path.starts_with("/leveret/") => {}
        (Verb::Get, _) => {
            fields.extend(ROWS);
            if PAGED.contains(&path) {
                fields.extend(PAGE);
            }
            if PAGED.contains(&path) || SAMPLED.contains(&path) {
                fields.extend(SAMPLES);
            }
        }
        _ => {}
    }
    fields
        .into_iter()
        .map(|(name, kind)| json!({"name": name, "in": "query", "schema": schema(kind)}))
        .collect()
}

/// The schema of an operation's body; `None`: it takes any, and looks at none.
pub(super) fn request(verb: Verb, path: &str) -> Option<Value> {
    let body = BODIES
        .iter()
        .find(|it| it.verb == verb && it.path == path)?;
    let fields = body.required.iter().chain(body.optional);
    let properties: Map<String, Value> = fields
        .map(|(name, kind)| ((*name).to_owned(), schema(kind)))
        .collect();
    let mut object = json!({"type": "object", "properties": properties});
    if !body.required.is_empty() {
        object["required"] = body.required.iter().map(|(name, _)| *name).collect();
    }
    Some(object)
}

/// The content of an answer of 200.
pub(super) fn answer(verb: Verb, path: &str) -> Value {
    match (verb, path) {
        (Verb::Get, "/config/effective") => text("text/plain"),
        (Verb::Get, "/leveret/events") => text("application/x-ndjson"),
        (Verb::Get, path) if PAGED.contains(&path) => {
            let rows = answers::answer(path);
            let page = json!({"allOf": [{"$ref": "#/components/schemas/Page"}, {"properties": {"items": rows}}]});
            content(&json!({"oneOf": [rows, page]}))
        }
        (Verb::Get, path) => content(&answers::answer(path)),
        (Verb::Post, "/leveret/queues/:vhost/:queue/messages") => content(&schema("Sweep")),
        (Verb::Post, "/leveret/eval") => content(&schema("Evaluated")),
        _ => content(&json!({})),
    }
}

fn content(schema: &Value) -> Value {
    json!({"application/json": {"schema": schema}})
}

fn text(kind: &str) -> Value {
    json!({kind: {"schema": {"type": "string"}}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    #[test]
    fn what_is_described_is_there() {
        let has = |path: &str, verb| {
            let mut routes = ROUTES.iter().filter(|route| route.path == path);
            routes.any(|route| route.endpoints.iter().any(|it| it.verb == verb))
        };
        for body in BODIES {
            assert!(has(body.path, body.verb), "{}", body.path);
        }
        for path in PAGED.iter().chain(SAMPLED) {
            assert!(has(path, Verb::Get), "{path}");
        }
    }
}
