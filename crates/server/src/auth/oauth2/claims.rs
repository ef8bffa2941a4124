//! The scopes that the claims of a token grant to a resource server, whatever the issuer's way to write them is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Server;

/// More are not taken, as in RabbitMQ.
const SCOPES_MAX: usize = 2048;

/// Where a requesting party's token (UMA 2.0) has scopes.
const REQUESTING_PARTY: &str = "authorization.permissions.scopes";

/// Words that rich authorization requests may have for actions: those of scopes, and tags.
const ACTIONS: [&str; 3] = ["configure", "write", "read"];
const TAGS: [&str; 4] = ["administrator", "management", "monitoring", "policymaker"];

/// The scopes that are meant for the server, without their prefix.
pub(super) fn scopes(claims: &Value, server: &Server) -> Result<BTreeSet<String>, String> {
    let mut found = words(&claims["scope"]);
    found.extend(at_path(claims, REQUESTING_PARTY, server));
    let more = server.additional_scopes_key.as_deref().unwrap_or_default();
    for path in more.split_whitespace() {
        found.extend(at_path(claims, path, server));
    }
    add_aliases(&mut found, &server.scope_aliases);
    found.extend(requested(&claims["authorization_details"], server));
    let ours = found
        .iter()
        .filter_map(|scope| scope.strip_prefix(&server.scope_prefix))
        .map(str::to_owned);
    let ours: BTreeSet<String> = ours.collect();
    if ours.len() > SCOPES_MAX {
        return Err("it has too many scopes".to_owned());
    }
    Ok(ours)
}

/// A text with spaces between, or a list of texts.
pub(super) fn words(claim: &Value) -> Vec<String> {
    match claim {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::Array(list) => {
            let texts = list.iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// What stands behind dotted words; a list on the way stands for each of its members.
fn at_path(claims: &Value, path: &str, server: &Server) -> Vec<String> {
    let mut places = vec![claims];
    for word in path.split('.').filter(|word| !word.is_empty()) {
        let members = places.into_iter().flat_map(|place| match place {
            Value::Array(members) => members.iter().collect(),
            place => vec![place],
        });
        places = members.filter_map(|place| place.get(word)).collect();
    }
    places
        .into_iter()
        .flat_map(|place| granted(place, server))
        .collect()
}

/// Scopes, or an object that has those of each resource server, without its name in front.
fn granted(place: &Value, server: &Server) -> Vec<String> {
    let Value::Object(by_server) = place else {
        return words(place);
    };
    let own = by_server.get(&server.id).map(words).unwrap_or_default();
    let full = |scope| format!("{}.{scope}", server.id);
    own.into_iter().map(full).collect()
}

fn add_aliases(scopes: &mut Vec<String>, aliases: &BTreeMap<String, String>) {
    let known = scopes.iter().filter_map(|scope| aliases.get(scope));
    let meant: Vec<String> = known
        .flat_map(|meant| meant.split_whitespace())
        .map(str::to_owned)
        .collect();
    scopes.extend(meant);
}

/// The scopes that rich authorization requests (RFC 9396) of the server's type stand for.
fn requested(details: &Value, server: &Server) -> Vec<String> {
    let Some(kind) = server.kind.as_deref().filter(|kind| !kind.is_empty()) else {
        return Vec::new();
    };
    let details = details.as_array().map(Vec::as_slice).unwrap_or_default();
    let ours = details.iter().filter(|detail| detail["type"] == kind);
    ours.flat_map(|detail| requested_by(detail, server))
        .collect()
}

fn requested_by(detail: &Value, server: &Server) -> Vec<String> {
    let locations = one_or_more(&detail["locations"]);
    let places: Vec<String> = locations
        .iter()
        .filter_map(|location| place(location, &server.id))
        .collect();
    let mut scopes = Vec::new();
    for action in one_or_more(&detail["actions"]) {
        if ACTIONS.contains(&action) {
            let scope = |place: &String| format!("{}.{action}:{place}", server.id);
            scopes.extend(places.iter().map(scope));
        } else if TAGS.contains(&action) && !places.is_empty() {
            scopes.push(format!("{}.tag:{action}", server.id));
        }
    }
    scopes
}

fn one_or_more(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// `cluster:C/vhost:V/queue:Q` as a scope has it, if the cluster is this server. What is not named is everything.
fn place(location: &str, server: &str) -> Option<String> {
    let parts = location.split('/').filter_map(|part| part.split_once(':'));
    let named: BTreeMap<&str, &str> = parts.filter(|(_, value)| !value.is_empty()).collect();
    let cluster = named.get("cluster")?;
    let (queue, exchange) = (named.get("queue"), named.get("exchange"));
    let is_both = queue.is_some() && exchange.is_some() && queue != exchange;
    if is_both || !super::scope::matches(cluster, server) {
        return None;
    }
    let part = |value: Option<&&str>| value.map_or("*", |value| *value).to_owned();
    let name = part(queue.or(exchange));
    let (vhost, key) = (part(named.get("vhost")), part(named.get("routing-key")));
    Some(format!("{vhost}/{name}/{key}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server() -> Server {
        Server {
            id: "rabbit".to_owned(),
            kind: Some("broker".to_owned()),
            scope_prefix: "rabbit.".to_owned(),
            additional_scopes_key: Some("roles realm.access".to_owned()),
            scope_aliases: BTreeMap::from([
                (
                    "admin".to_owned(),
                    "rabbit.tag:administrator rabbit.read:*/*".to_owned(),
                ),
                ("rabbit.own".to_owned(), "rabbit.write:*/*".to_owned()),
            ]),
            ..Server::default()
        }
    }

    fn check(claims: Value, expected: &[&str]) {
        let found = scopes(&claims, &server()).unwrap();
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, expected, "{claims}");
    }

    #[test]
    fn scopes_stand_in_many_places() {
        check(json!({}), &[]);
        check(json!({"scope": 7}), &[]);
        check(json!({"scope": "rabbit.a other.b c"}), &["a"]);
        check(json!({"scope": ["rabbit.a", 7, "rabbit.b"]}), &["a", "b"]);
        check(json!({"roles": "rabbit.a"}), &["a"]);
        check(json!({"roles": {"rabbit": ["a"], "other": ["b"]}}), &["a"]);
        check(json!({"roles": {"rabbit": "a b"}}), &["a", "b"]);
        check(json!({"realm": {"access": ["rabbit.a"]}}), &["a"]);
        check(
            json!({"realm": [{"access": "rabbit.a"}, {"access": "rabbit.b"}, 7]}),
            &["a", "b"],
        );
        let party = json!({"authorization": {"permissions": [{"scopes": ["rabbit.a"]}]}});
        check(party, &["a"]);
    }

    #[test]
    fn aliases_stand_beside_what_they_are_for() {
        check(
            json!({"scope": "admin"}),
            &["read:*/*", "tag:administrator"],
        );
        check(json!({"scope": "rabbit.own"}), &["own", "write:*/*"]);
    }

    #[test]
    fn rich_requests_are_scopes_too() {
        let with = |actions: Value, locations: Value| {
            json!({"authorization_details": [
                {"type": "another", "actions": ["read"], "locations": ["cluster:rabbit"]},
                {"type": "broker", "actions": actions, "locations": locations},
            ]})
        };
        check(
            with(json!("read"), json!("cluster:rabbit")),
            &["read:*/*/*"],
        );
        check(
            with(
                json!(["read", "write", "fly"]),
                json!(["cluster:rab*/vhost:v/queue:q"]),
            ),
            &["read:v/q/*", "write:v/q/*"],
        );
        check(
            with(
                json!(["write"]),
                json!(["cluster:rabbit/exchange:x/routing-key:k", "cluster:other"]),
            ),
            &["write:*/x/k"],
        );
        check(
            with(json!(["management"]), json!(["cluster:rabbit"])),
            &["tag:management"],
        );
        check(with(json!(["management"]), json!(["cluster:other"])), &[]);
        check(with(json!(["read"]), json!(["vhost:v"])), &[]);
        check(
            with(
                json!(["read"]),
                json!(["cluster:rabbit/queue:q/exchange:x"]),
            ),
            &[],
        );
    }

    #[test]
    fn too_many_scopes_are_refused() {
        let many: Vec<String> = (0..=SCOPES_MAX).map(|n| format!("rabbit.{n}")).collect();
        assert!(scopes(&json!({"scope": many}), &server()).is_err());
        check(json!({"scope": vec!["rabbit.a"; SCOPES_MAX + 1]}), &["a"]);
    }
}
