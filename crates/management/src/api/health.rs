//! Health checks: 200 and `{"status":"ok"}`, or 503 and what is wrong.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Reply};
use crate::call::Call;

/// Nothing can be wrong here: there is one node, and it answers.
pub(crate) fn ok(_: &Call<'_>) -> Reply {
    Ok(passed())
}

pub(super) fn passed() -> Answer {
    Answer::value(&json!({"status": "ok"}))
}

pub(super) fn failed(reason: &str, details: Value) -> Answer {
    let mut body = Map::new();
    body.insert("status".to_owned(), "failed".into());
    body.insert("reason".to_owned(), reason.into());
    if let Value::Object(details) = details {
        body.extend(details);
    }
    let mut answer = Answer::value(&Value::Object(body));
    *answer.response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}

pub(crate) fn alarms(call: &Call<'_>) -> Reply {
    alarms_of(call, "There are alarms in effect in the cluster")
}

pub(crate) fn local_alarms(call: &Call<'_>) -> Reply {
    alarms_of(call, "There are alarms in effect on the node")
}

fn alarms_of(call: &Call<'_>, reason: &str) -> Reply {
    let node = &call.broker().options.node_name;
    let Some(scarce) = call.broker().alarms.reason() else {
        return Ok(passed());
    };
    let alarms: Vec<Value> = ["memory", "disk"]
        .into_iter()
        .filter(|resource| scarce.contains(resource))
        .map(|resource| json!({"node": node, "resource": resource}))
        .collect();
    Ok(failed(reason, json!({"alarms": alarms})))
}

pub(crate) fn port_listener(call: &Call<'_>) -> Reply {
    let listeners = call.management.options.operations.listeners();
    let ports: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
    let Ok(wanted) = call.parameter("port").parse::<u16>() else {
        return Err(crate::answer::Failure::bad_request("Invalid port"));
    };
    if ports.contains(&wanted) {
        return Ok(Answer::value(&json!({"status": "ok", "port": wanted})));
    }
    let details = json!({"missing": wanted, "ports": ports});
    Ok(failed("No active listener", details))
}

/// One protocol or several with commas between; each must be listened to.
pub(crate) fn protocol_listener(call: &Call<'_>) -> Reply {
    let listeners = call.management.options.operations.listeners();
    let protocols: Vec<&str> = listeners.iter().map(|it| it.protocol).collect();
    let is_missing = |name: &&str| !protocols.contains(&canonical(name).as_str());
    let wanted = call.parameter("protocols").split(',');
    let missing: Vec<&str> = wanted.filter(is_missing).collect();
    if missing.is_empty() {
        let ok = json!({"status": "ok", "protocols": protocols});
        return Ok(Answer::value(&ok));
    }
    let details = json!({"missing": missing, "protocols": protocols});
    Ok(failed("No active listener", details))
}

/// No queue loses its quorum with this node, since there are no others to have one with.
pub(crate) fn quorum_critical(_: &Call<'_>) -> Reply {
    let ok = json!({"status": "ok", "reason": "single node cluster"});
    Ok(Answer::value(&ok))
}

/// RabbitMQ's name for a protocol that people write in several ways.
fn canonical(name: &str) -> String {
    let name = name.to_lowercase();
    match name.as_str() {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" => "amqp".to_owned(),
        "amqps" | "amqp091/ssl" => "amqp/ssl".to_owned(),
        "https" => "https".to_owned(),
        "prometheus" => "http/prometheus".to_owned(),
        _ => name,
    }
}

/// The node serves clients, and is not in maintenance.
pub(crate) fn in_service(call: &Call<'_>) -> Reply {
    match call.management.options.operations.service().is_serving() {
        true => Ok(passed()),
        false => Ok(out_of_service("this")),
    }
}

fn out_of_service(which: &str) -> Answer {
    let reason = format!("{which} rabbit node is not currently available to serve");
    failed(&reason, Value::Null)
}

/// It is in service, listens for AMQP, and has room for more connections.
pub(crate) fn ready_for_clients(call: &Call<'_>) -> Reply {
    let operations = &call.management.options.operations;
    if !operations.service().is_serving() {
        return Ok(out_of_service("the"));
    }
    let listeners = operations.listeners();
    if !listeners.iter().any(|it| it.protocol.starts_with("amqp")) {
        return Ok(failed("no active listeners for AMQP/AMQPS", Value::Null));
    }
    connection_limit(call)
}

/// How many connections are open, against the limit of the node.
pub(crate) fn connection_limit(call: &Call<'_>) -> Reply {
    let (count, limit) = (
        call.broker().connection_count(),
        call.broker().options.connections_max,
    );
    match limit {
        Some(limit) if count >= limit => Ok(failed(
            "node connection limit is reached",
            json!({"limit": limit, "connections": count}),
        )),
        _ => Ok(passed()),
    }
}
