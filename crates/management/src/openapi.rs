//! The description of the API (OpenAPI 3.1), made from the table of routes, so that neither knows of a path the other
//! does not.

use serde_json::{Map, Value, json};

use crate::access::Who;
use crate::answer::{Answer, Reply};
use crate::call::Call;
use crate::routes::{Endpoint, ROUTES, Route, Verb};

mod answers;
mod operations;
mod schema;

pub(crate) fn describe(call: &Call<'_>) -> Reply {
    let options = &call.management.options;
    let mut paths = Map::new();
    for route in ROUTES {
        let path = format!("{}/api{}", options.path_prefix, braced(route.path));
        paths.insert(path, path_item(route));
    }
    Ok(Answer::value(&json!({
        "openapi": "3.1.0",
        "info": {
            "title": "RabbitMQ HTTP API of Leveret",
            "version": options.rabbitmq_version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
            "schemas": answers::objects(),
        },
    })))
}

/// `/queues/:vhost` as OpenAPI writes it: `/queues/{vhost}`.
fn braced(path: &str) -> String {
    let segment = |segment: &str| match segment.strip_prefix(':') {
        Some(name) => format!("{{{name}}}"),
        None => segment.to_owned(),
    };
    let segments: Vec<String> = path.split('/').map(segment).collect();
    segments.join("/")
}

fn path_item(route: &Route) -> Value {
    let names = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix(':'));
    let parameters: Vec<Value> = names
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    let mut item = Map::new();
    item.insert("summary".to_owned(), route.about.into());
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    for endpoint in route.endpoints {
        let name = endpoint.verb.name().to_lowercase();
        item.insert(name, operation(route, endpoint));
    }
    Value::Object(item)
}

fn operation(route: &Route, endpoint: &Endpoint) -> Value {
    let failure = |description: &str| {
        json!({
            "description": description,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        })
    };
    let (verb, path) = (endpoint.verb, route.path);
    let answer = operations::answer(verb, path);
    let mut responses = Map::new();
    let mut respond = |status: &str, response: Value| {
        responses.insert(status.to_owned(), response);
    };
    match verb {
        Verb::Get => respond(
            "200",
            json!({"description": route.about, "content": answer}),
        ),
        Verb::Put | Verb::Post => {
            respond("200", json!({"description": "Done.", "content": answer}));
            respond("201", json!({"description": "Made."}));
            respond("204", json!({"description": "Changed."}));
        }
        Verb::Delete => respond("204", json!({"description": "Gone."})),
    }
    if path.starts_with("/health/") {
        let failed = json!({"application/json": {"schema": {"type": "object"}}});
        let failed = json!({"description": "The check has failed.", "content": failed});
        respond("503", failed);
    }
    respond("400", failure("The request can't be understood or done."));
    respond("401", failure("The user is not known, or may not do this."));
    respond("404", failure("What the path names is not there."));
    respond("412", failure("What the path names is protected."));
    let mut operation = Map::new();
    operation.insert("description".to_owned(), who(endpoint.who).into());
    if endpoint.who != Who::Anyone {
        operation.insert("security".to_owned(), json!([{"basic": []}]));
    }
    let query = operations::query(verb, path);
    if !query.is_empty() {
        operation.insert("parameters".to_owned(), query.into());
    }
    if let Some(schema) = operations::request(verb, path) {
        let content = json!({"application/json": {"schema": schema}});
        let body = json!({"required": true, "content": content});
        operation.insert("requestBody".to_owned(), body);
    }
    operation.insert("responses".to_owned(), Value::Object(responses));
    Value::Object(operation)
}

fn who(who: Who) -> &'static str {
    match who {
        Who::Anyone => "For anybody.",
        Who::User => "For users of management.",
        Who::Vhost => "For users who may connect to the virtual host.",
        Who::VhostPolicymaker => "For policymakers who may connect to the virtual host.",
        Who::Policymaker => "For policymakers.",
        Who::Monitoring => "For monitoring.",
        Who::Administrator => "For administrators.",
    }
}
