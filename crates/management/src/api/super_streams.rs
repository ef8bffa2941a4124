//! Super streams: several streams behind one exchange, each of which takes a part of the messages (T22).

use std::collections::HashSet;

use leveret_broker::Lsn;
use leveret_broker::broker::definitions::{BindingSpec, ExchangeSpec, QueueSpec};
use leveret_broker::error::{Resource, ResourceKind};
use leveret_broker::principal::Principal;
use leveret_broker::table::{Table, Value};
use leveret_broker::users::Access;

use crate::answer::{Answer, Failure, Reply};
use crate::call::{Call, Json, SHORT_STRING_MAX};
use crate::session::principal;

/// RabbitMQ's limit, which keeps one request from making queues without end.
const PARTITIONS_MAX: usize = 1000;

/// One stream of a super stream.
struct Partition {
    name: String,
    key: String,
}

/// What is to be made.
struct SuperStream<'a> {
    name: &'a str,
    partitions: Vec<Partition>,
    /// Of each partition.
    arguments: Table,
}

pub(crate) fn declare(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    let name = call.new_name("name")?;
    let wanted = SuperStream {
        name,
        partitions: partitions(name, &body)?,
        arguments: arguments(&body)?,
    };
    let by = principal(call)?;
    check_names(&wanted)?;
    check_access(call, &by, &wanted)?;
    check_is_new(call, &wanted)?;
    let made = make(call, &by, &wanted);
    if made.is_err() {
        unmake(call, &wanted);
    }
    Ok(Answer::done().after(made?))
}

fn partitions(name: &str, body: &Json) -> Result<Vec<Partition>, Failure> {
    let keys = match (body.get("partitions"), body.get("binding-keys")) {
        (None, None) => Err("Must specify partitions or binding keys"),
        (Some(_), Some(_)) => Err("Specify partitions or binding keys, not both"),
        (Some(_), None) => numbers(body),
        (None, Some(_)) => listed(body.text("binding-keys")?.unwrap_or_default()),
    };
    let keys = keys.map_err(Failure::bad_request)?.into_iter();
    let partition = |key| Partition {
        name: format!("{name}-{key}"),
        key,
    };
    Ok(keys.map(partition).collect())
}

fn numbers(body: &Json) -> Result<Vec<String>, &'static str> {
    let count = body.integer("partitions").ok().flatten();
    match count.ok_or("The partitions must be a number")? {
        ..1 => Err("The partition number must be greater than 0"),
        count if count > PARTITIONS_MAX as i64 => Err("The partition number must not exceed 1000"),
        count => Ok((0..count).map(|key| key.to_string()).collect()),
    }
}

fn listed(keys: &str) -> Result<Vec<String>, &'static str> {
    let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
    let keys: Vec<String> = keys.map(str::to_owned).collect();
    match keys.len() {
        0 => Err("The number of binding keys must be greater than 0"),
        1..=PARTITIONS_MAX => Ok(keys),
        _ => Err("The number of binding keys must not exceed 1000"),
    }
}

/// Those of streams, which have no `x-` here. RabbitMQ takes no notice of others.
fn arguments(body: &Json) -> Result<Table, Failure> {
    let given = Json(body.map("arguments")?);
    let mut table = Table::new();
    let text = |text: &str| Value::String(text.as_bytes().into());
    table.insert("x-queue-type", text("stream"));
    let locator = given.text("queue-leader-locator")?.unwrap_or("balanced");
    table.insert("x-queue-leader-locator", text(locator));
    if let Some(age) = given.text("max-age")? {
        table.insert("x-max-age", text(age));
    }
    let numbers = [
        "max-length-bytes",
        "stream-max-segment-size-bytes",
        "initial-cluster-size",
    ];
    for name in numbers {
        if let Some(number) = given.integer(name)? {
            table.insert(format!("x-{name}"), Value::I64(number));
        }
    }
    Ok(table)
}

fn check_names(wanted: &SuperStream<'_>) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    for Partition { name, .. } in &wanted.partitions {
        if name.len() > SHORT_STRING_MAX || name.starts_with("amq.") {
            return Err(Failure::bad_request(format!(
                "{name} is not a correct partition name"
            )));
        }
        if !seen.insert(name) {
            return Err(Failure::bad_request(format!(
                "Duplicate partition name found: {name}"
            )));
        }
    }
    Ok(())
}

/// All that will be asked for, before anything is made: a backend that has to be waited for has the request begin anew.
fn check_access(call: &Call<'_>, by: &Principal, wanted: &SuperStream<'_>) -> Result<(), Failure> {
    let check = |access, resource| call.broker().check_access(by, access, resource);
    let exchange = Resource::exchange(wanted.name, &by.vhost_name);
    check(Access::Configure, exchange)?;
    check(Access::Read, exchange)?;
    for partition in &wanted.partitions {
        let queue = Resource::queue(&partition.name, &by.vhost_name);
        check(Access::Configure, queue)?;
        check(Access::Write, queue)?;
    }
    Ok(())
}

/// Unlike a declaration, this is refused when anything of that name is there, even if it is the same.
fn check_is_new(call: &Call<'_>, wanted: &SuperStream<'_>) -> Result<(), Failure> {
    let (broker, vhost, name) = (call.broker(), call.parameter("vhost"), wanted.name);
    if broker.exchange_info(vhost, name).is_some() {
        let reason = format!("there is already an exchange named {name}");
        return Err(Failure::bad_request(reason));
    }
    for Partition { name, .. } in &wanted.partitions {
        if broker.queue_info(vhost, name).is_some() {
            let reason = format!("there is already a queue named {name}");
            return Err(Failure::bad_request(reason));
        }
    }
    Ok(())
}

/// Gives where the log has all of it.
fn make(call: &Call<'_>, by: &Principal, wanted: &SuperStream<'_>) -> Result<Option<Lsn>, Failure> {
    let broker = call.broker();
    let mut durable_at = broker.declare_exchange(by, exchange(wanted.name))?;
    for (order, partition) in wanted.partitions.iter().enumerate() {
        let queue = QueueSpec {
            name: &partition.name,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: wanted.arguments.clone(),
        };
        broker.declare_queue(by, queue, call.now)?;
        let mut arguments = Table::new();
        arguments.insert("x-stream-partition-order", Value::I64(order as i64));
        let binding = BindingSpec {
            source: wanted.name,
            destination: &partition.name,
            destination_kind: ResourceKind::Queue,
            key: partition.key.as_bytes(),
            arguments,
        };
        durable_at = durable_at.max(broker.bind(by, binding, call.now)?);
    }
    Ok(durable_at)
}

fn exchange(name: &str) -> ExchangeSpec<'_> {
    let mut arguments = Table::new();
    arguments.insert("x-super-stream", Value::Bool(true));
    ExchangeSpec {
        name,
        kind: "direct",
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
    }
}

/// Half a super stream is of no use. What somebody uses already stays.
fn unmake(call: &Call<'_>, wanted: &SuperStream<'_>) {
    // The node itself, whom no backend keeps from it.
    let Some(node) = call.broker().node_in(call.parameter("vhost")) else {
        return;
    };
    // Why it was not made is what the user is told.
    for partition in &wanted.partitions {
        let _ = call
            .broker()
            .delete_queue(&node, &partition.name, true, true);
    }
    let _ = call.broker().delete_exchange(&node, wanted.name, true);
}
