//! Shovels at work (O07). What they are made of are parameters of the component `shovel`.

use std::sync::Arc;

use leveret_broker::broker::administration::ParameterInfo;
use leveret_broker::shovel::{COMPONENT, Uri};
use leveret_broker::table::{Table, Value};

use crate::answer::{Answer, Failure, Reply};
use crate::api::parameters;
use crate::call::Call;
use crate::json::Object;
use crate::list::{List, reply_one};
use crate::operations::{ShovelEnd, ShovelRun, ShovelState, ShovelStatus};

pub(crate) fn list(call: &Call<'_>) -> Reply {
    reply_list(call, |_| true)
}

pub(crate) fn list_in_vhost(call: &Call<'_>) -> Reply {
    let vhost = call.vhost()?;
    reply_list(call, |it| *it.vhost == *vhost)
}

fn reply_list(call: &Call<'_>, wanted: impl Fn(&ShovelStatus) -> bool) -> Reply {
    let vhosts = call.vhosts();
    let mut rows = call.management.options.operations.shovels();
    rows.retain(|it| vhosts.contains(&it.vhost) && wanted(it));
    let node: Arc<str> = call.broker().options.node_name.as_str().into();
    let list = List::new(
        rows,
        |it| &it.name,
        move |it, object| write(object, it, &node),
    );
    list.reply(&call.query)
}

fn write(object: &mut Object<'_>, it: &ShovelStatus, node: &str) {
    object.field("node", node);
    object.field("timestamp", &*it.last_changed);
    object.field("name", &*it.name);
    object.field("vhost", &*it.vhost);
    object.field("type", "dynamic");
    if let ShovelState::Running(run) = &it.state {
        write_progress(object, run);
    }
    object.field("state", it.state.name());
    match &it.state {
        ShovelState::Starting => {}
        ShovelState::Running(run) => write_ends(object, run),
        ShovelState::Terminated { reason } => object.field("reason", &**reason),
    }
}

fn write_progress(object: &mut Object<'_>, run: &ShovelRun) {
    object.field("pending", &run.pending);
    match run.left {
        Some((unsent, unacked)) => {
            object.field("remaining", &unsent);
            object.field("remaining_unacked", &unacked);
        }
        None => {
            object.field("remaining", "unlimited");
            object.field("remaining_unacked", "unlimited");
        }
    }
    object.field("forwarded", &run.forwarded);
}

fn write_ends(object: &mut Object<'_>, run: &ShovelRun) {
    let keys = [
        "src_uri",
        "src_protocol",
        "src_queue",
        "src_exchange",
        "src_exchange_key",
    ];
    write_end(object, keys, &run.source);
    let keys = [
        "dest_uri",
        "dest_protocol",
        "dest_queue",
        "dest_exchange",
        "dest_exchange_key",
    ];
    write_end(object, keys, &run.destination);
    let status = if run.is_blocked { "blocked" } else { "running" };
    object.field("blocked_status", status);
}

fn write_end(object: &mut Object<'_>, keys: [&'static str; 5], end: &ShovelEnd) {
    let [uri, protocol, queue, exchange, exchange_key] = keys;
    object.field(uri, &*end.uri);
    object.field(protocol, end.protocol);
    let names = [
        (queue, &end.queue),
        (exchange, &end.exchange),
        (exchange_key, &end.exchange_key),
    ];
    for (key, name) in names {
        if let Some(name) = name {
            object.field(key, &**name);
        }
    }
}

fn find(call: &Call<'_>) -> Result<ParameterInfo, Failure> {
    let (vhost, name) = (call.vhost()?, call.parameter("name"));
    let mut all = call.broker().parameters_of(COMPONENT).into_iter();
    let found = all.find(|it| *it.vhost == *vhost && *it.name == *name);
    found.ok_or_else(Failure::no_such_object)
}

pub(crate) fn show(call: &Call<'_>) -> Reply {
    let mut found = find(call)?;
    found.value = without_secrets(found.value);
    reply_one(&call.query, |object| parameters::write(object, &found))
}

/// Who may see a shovel need not know how it logs in (E18).
fn without_secrets(value: Value) -> Value {
    let Value::Table(terms) = value else {
        return value;
    };
    let shown = |(key, value): (&str, &Value)| {
        let value = match key {
            "src-uri" | "dest-uri" => shown_uris(value),
            _ => value.clone(),
        };
        (Box::from(key), value)
    };
    Value::Table(terms.iter().map(shown).collect::<Table>())
}

fn shown_uris(value: &Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.iter().map(shown_uris).collect()),
        value => {
            let uri = value.as_str().and_then(|text| Uri::read(text).ok());
            let shown = uri.map_or_else(String::new, |uri| uri.to_string());
            Value::String(shown.into_bytes().into())
        }
    }
}

pub(crate) fn delete(call: &Call<'_>) -> Reply {
    parameters::clear(call, &find(call)?)
}

pub(crate) fn restart(call: &Call<'_>) -> Reply {
    let (vhost, name) = (call.vhost()?, call.parameter("name"));
    let operations = &call.management.options.operations;
    match operations.restart_shovel(vhost, name) {
        true => Ok(Answer::done()),
        false => Err(Failure::no_such_object()),
    }
}
