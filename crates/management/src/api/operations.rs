//! Paths of our own, for what RabbitMQ's tools ask of a node by other ways than HTTP.

use std::net::{IpAddr, Ipv4Addr};

use http::{StatusCode, header};
use leveret_broker::counters::MESSAGE_SIZE_BOUNDS;
use serde_json::{Value, json};

use super::access::try_password;
use super::eval;
use crate::answer::{Answer, Body, Failure, Reply};
use crate::call::Call;
use crate::operations::{AddressFacts, AuditEntry, Change, InterfaceFacts, ThreadFacts};

/// Lines that are told when nobody says how many.
const LINES: usize = 50;

/// Whether somebody's password is right, wherever they come from.
pub(crate) fn authenticate(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    let (name, password) = (
        body.required_text("username")?,
        body.required_text("password")?,
    );
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let tried = try_password(call, here, (name, password));
    tried.map_err(|failure| failure.because(format!("user '{name}' - invalid credentials")))?;
    Ok(Answer::done())
}

/// `lines` at most, from the one of number `from` on.
pub(crate) fn log(call: &Call<'_>) -> Reply {
    let from = number(call, "from")?.unwrap_or_default();
    let log = call.management.options.operations.log(from, lines(call)?);
    Ok(Answer::value(
        &json!({"lines": log.lines, "next": log.next}),
    ))
}

pub(crate) fn audit(call: &Call<'_>) -> Reply {
    let entries = call.management.options.operations.audit(lines(call)?);
    let entry = |it: &AuditEntry| {
        json!({
            "time": it.time.0,
            "user": it.user,
            "peer": it.peer,
            "method": it.method,
            "path": it.path,
            "status": it.status,
        })
    };
    let items: Vec<Value> = entries.iter().map(entry).collect();
    Ok(Answer::value(&json!({ "items": items })))
}

fn lines(call: &Call<'_>) -> Result<usize, Failure> {
    let asked = number(call, "lines")?;
    Ok(asked.map_or(LINES, |count| usize::try_from(count).unwrap_or(usize::MAX)))
}

fn number(call: &Call<'_>, name: &str) -> Result<Option<u64>, Failure> {
    let wrong = |_| Failure::bad_request(format!("{name} must be a number"));
    call.query
        .get(name)
        .map(str::parse)
        .transpose()
        .map_err(wrong)
}

pub(crate) fn set_log_level(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    let level = body.required_text("level")?;
    let set = call.management.options.operations.set_log_level(level);
    set.map_err(Failure::bad_request)?;
    Ok(Answer::done())
}

pub(crate) fn set_memory_watermark(call: &Call<'_>) -> Reply {
    set_watermark(call, "vm_memory_high_watermark")?;
    Ok(Answer::done())
}

/// The limit, or whether it is looked at: `{"monitoring": false}`.
pub(crate) fn set_disk_limit(call: &Call<'_>) -> Reply {
    match call.object()?.flag("monitoring")? {
        Some(on) => call.management.options.operations.watch_free_disk(on),
        None => set_watermark(call, "disk_free_limit")?,
    }
    Ok(Answer::done())
}

/// `{"NAME": {"relative": 0.6}}` or `{"NAME": {"absolute": "2GiB"}}`, as the keys of the configuration.
fn set_watermark(call: &Call<'_>, name: &str) -> Result<(), Failure> {
    let mut body = call.object()?;
    body.require(&[name])?;
    let given = body.0.remove(name).unwrap_or_default();
    let (kind, value) = match (&given["relative"], &given["absolute"]) {
        (Value::Number(part), Value::Null) => ("relative", part.to_string()),
        (Value::Null, Value::String(amount)) => ("absolute", amount.clone()),
        (Value::Null, Value::Number(bytes)) => ("absolute", bytes.to_string()),
        _ => {
            let reason = format!("{name} must have either relative or absolute");
            return Err(Failure::bad_request(reason));
        }
    };
    let operations = &call.management.options.operations;
    let done = operations.configure(&format!("{name}.{kind}"), &value);
    done.map_err(Failure::bad_request)
}

/// The node stops when this has been answered.
pub(crate) fn stop(_: &Call<'_>) -> Reply {
    Ok(Answer {
        stops_node: true,
        ..Answer::done()
    })
}

pub(crate) fn stop_app(call: &Call<'_>) -> Reply {
    change(call, Change::StopApp)
}

pub(crate) fn start_app(call: &Call<'_>) -> Reply {
    change(call, Change::StartApp)
}

pub(crate) fn reset(call: &Call<'_>) -> Reply {
    change(call, Change::Reset)
}

pub(crate) fn suspend_listeners(call: &Call<'_>) -> Reply {
    change(call, Change::SuspendListeners)
}

pub(crate) fn resume_listeners(call: &Call<'_>) -> Reply {
    change(call, Change::ResumeListeners)
}

pub(crate) fn drain(call: &Call<'_>) -> Reply {
    change(call, Change::Drain)
}

pub(crate) fn revive(call: &Call<'_>) -> Reply {
    change(call, Change::Revive)
}

fn change(call: &Call<'_>, change: Change) -> Reply {
    let management = call.management;
    let changed = management.options.operations.change(change, call.now);
    changed.map_err(Failure::bad_request)?;
    Ok(Answer::done())
}

/// There are no clusters yet: a node is one by itself.
pub(crate) fn refuse_cluster(_: &Call<'_>) -> Reply {
    Err(Failure::bad_request(
        "this node runs by itself: there are no clusters of several nodes yet",
    ))
}

/// `{"enabled": true}`.
pub(crate) fn track_auth_attempt_source(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    body.require(&["enabled"])?;
    let on = body.flag("enabled")?.unwrap_or_default();
    call.broker().login_sources.track(on);
    Ok(Answer::done())
}

/// What TLS there is, by RabbitMQ's and OpenSSL's names.
pub(crate) fn tls(call: &Call<'_>) -> Reply {
    let tls = call.management.options.operations.tls();
    Ok(Answer::value(&json!({
        "versions": tls.versions,
        "cipher_suites": tls.cipher_suites,
    })))
}

pub(crate) fn process(call: &Call<'_>) -> Reply {
    let process = call.management.options.operations.process();
    Ok(Answer::value(&json!({
        "arguments": process.arguments,
        "variables": process.variables,
    })))
}

pub(crate) fn machine(call: &Call<'_>) -> Reply {
    let machine = call.management.options.operations.machine();
    let address = |it: &AddressFacts| {
        json!({
            "address": it.address.to_string(),
            "netmask": it.netmask.map(|mask| mask.to_string()),
            "broadcast": it.broadcast.map(|address| address.to_string()),
        })
    };
    let interface = |it: &InterfaceFacts| {
        json!({
            "name": it.name,
            "flags": it.flags,
            "hardware_address": it.hardware_address,
            "addresses": it.addresses.iter().map(address).collect::<Vec<_>>(),
        })
    };
    let thread = |it: &ThreadFacts| {
        json!({
            "id": it.id,
            "name": it.name,
            "user_ms": it.user_ms,
            "system_ms": it.system_ms,
        })
    };
    Ok(Answer::value(&json!({
        "interfaces": machine.interfaces.iter().map(interface).collect::<Vec<_>>(),
        "threads": machine.threads.iter().map(thread).collect::<Vec<_>>(),
    })))
}

/// Messages up to each size and over the one before; the last has no bound.
pub(crate) fn message_sizes(call: &Call<'_>) -> Reply {
    let bounds = MESSAGE_SIZE_BOUNDS.into_iter().map(Some).chain([None]);
    let items: Vec<Value> = bounds
        .zip(call.broker().message_sizes().buckets)
        .map(|(bound, messages)| json!({ "bytes_max": bound, "messages": messages }))
        .collect();
    Ok(Answer::value(&json!({ "items": items })))
}

/// Forgets what authentication backends have answered.
pub(crate) fn clear_auth_cache(call: &Call<'_>) -> Reply {
    call.broker().forget_answers();
    Ok(Answer::done())
}

pub(crate) fn evaluate(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    let expression = body.required_text("expression")?;
    match eval::value(call, expression) {
        Some(value) => Ok(Answer::value(&json!({ "value": value }))),
        None => Err(Failure::bad_request(format!(
            "there is no Erlang here, and '{expression}' is not among the expressions that are known"
        ))),
    }
}

/// The configuration as text, a line for each key. RabbitMQ's is an Erlang term.
pub(crate) fn effective_configuration(call: &Call<'_>) -> Reply {
    let text = call.management.options.operations.effective_configuration();
    let body = Body::Whole(text.into_bytes());
    let content_type = header::HeaderValue::from_static("text/plain");
    Ok(Answer::new(StatusCode::OK, body).with(header::CONTENT_TYPE, content_type))
}
