//! Policies of users and of operators.

use leveret_broker::broker::administration::{PolicyInfo, PolicySpec};
use leveret_broker::policies::{Policy, Scope};
use serde_json::Value;

use crate::answer::{Answer, Failure, Reply};
use crate::call::Call;
use crate::json::Object;
use crate::list::{List, reply_one};
use crate::table::{TableJson, from_json};

pub(crate) fn list_users(call: &Call<'_>) -> Reply {
    list(call, Scope::User)
}

pub(crate) fn list_operators(call: &Call<'_>) -> Reply {
    list(call, Scope::Operator)
}

fn list(call: &Call<'_>, scope: Scope) -> Reply {
    let vhosts = call.vhosts();
    let mut rows = call.broker().list_policies(scope, None);
    rows.retain(|it| vhosts.contains(&it.vhost));
    reply_list(call, rows)
}

pub(crate) fn list_users_in_vhost(call: &Call<'_>) -> Reply {
    let rows = call
        .broker()
        .list_policies(Scope::User, Some(call.vhost()?));
    reply_list(call, rows)
}

pub(crate) fn list_operators_in_vhost(call: &Call<'_>) -> Reply {
    let rows = call
        .broker()
        .list_policies(Scope::Operator, Some(call.vhost()?));
    reply_list(call, rows)
}

fn reply_list(call: &Call<'_>, rows: Vec<PolicyInfo>) -> Reply {
    let list = List::new(
        rows,
        |it| &it.policy.name,
        |it, object| {
            object.field("vhost", &*it.vhost);
            write(object, &it.policy);
        },
    );
    list.reply(&call.query)
}

pub(crate) fn write(object: &mut Object<'_>, policy: &Policy) {
    object.field("name", &*policy.name);
    object.field("pattern", policy.pattern.source());
    object.field("apply-to", policy.apply_to.name());
    object.field("definition", &TableJson(&policy.definition));
    object.field("priority", &policy.priority);
}

fn find(call: &Call<'_>, scope: Scope) -> Result<PolicyInfo, Failure> {
    let name = call.parameter("name");
    let rows = call.broker().list_policies(scope, Some(call.vhost()?));
    let mut rows = rows.into_iter();
    let row = rows.find(|it| *it.policy.name == *name);
    row.ok_or_else(Failure::no_such_object)
}

pub(crate) fn show_users(call: &Call<'_>) -> Reply {
    show(call, Scope::User)
}

pub(crate) fn show_operators(call: &Call<'_>) -> Reply {
    show(call, Scope::Operator)
}

fn show(call: &Call<'_>, scope: Scope) -> Reply {
    let found = find(call, scope)?;
    reply_one(&call.query, |object| {
        object.field("vhost", &*found.vhost);
        write(object, &found.policy);
    })
}

pub(crate) fn put_users(call: &Call<'_>) -> Reply {
    put(call, Scope::User)
}

pub(crate) fn put_operators(call: &Call<'_>) -> Reply {
    put(call, Scope::Operator)
}

fn put(call: &Call<'_>, scope: Scope) -> Reply {
    let vhost = vhost(call)?;
    let body = call.object()?;
    body.require(&["pattern", "definition"])?;
    let existed = find(call, scope).is_ok();
    let definition = match body.get("definition") {
        Some(Value::Object(fields)) => from_json(fields)?,
        _ => return Err(Failure::bad_request("definition must be an object")),
    };
    let spec = PolicySpec {
        name: call.parameter("name"),
        pattern: body.required_text("pattern")?,
        apply_to: body.text("apply-to")?.unwrap_or("all"),
        priority: body.integer("priority")?.unwrap_or(0),
        definition,
    };
    let durable_at = call.broker().set_policy(vhost, scope, spec, call.now)?;
    Ok(Answer::put(!existed).after(durable_at))
}

/// To change what is not there is refused in other words than to look at it.
fn vhost<'a>(call: &'a Call<'_>) -> Result<&'a str, Failure> {
    call.vhost()
        .map_err(|_| Failure::not_found("vhost_not_found"))
}

pub(crate) fn delete_users(call: &Call<'_>) -> Reply {
    delete(call, Scope::User)
}

pub(crate) fn delete_operators(call: &Call<'_>) -> Reply {
    delete(call, Scope::Operator)
}

fn delete(call: &Call<'_>, scope: Scope) -> Reply {
    let found = find(call, scope)?;
    let durable_at =
        call.broker()
            .clear_policy(&found.vhost, scope, &found.policy.name, call.now)?;
    Ok(Answer::done().after(durable_at))
}
