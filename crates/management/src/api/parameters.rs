//! Parameters of vhosts by component, and global ones.

use std::sync::Arc;

use leveret_broker::broker::administration::ParameterInfo;
use leveret_broker::shovel::{self, Shovel};
use leveret_broker::table::Value as TableValue;
use serde_json::Value;

use crate::answer::{Answer, Failure, Reply};
use crate::call::{Call, Caller};
use crate::json::Object;
use crate::list::{List, reply_one};
use crate::table::{ValueJson, value_from_json};

pub(crate) fn list(call: &Call<'_>) -> Reply {
    reply_list(call, |_| true)
}

pub(crate) fn list_of_component(call: &Call<'_>) -> Reply {
    let component = call.parameter("component");
    reply_list(call, |it| *it.component == *component)
}

pub(crate) fn list_in_vhost(call: &Call<'_>) -> Reply {
    let (component, vhost) = (call.parameter("component"), call.vhost()?);
    reply_list(call, |it| {
        *it.component == *component && *it.vhost == *vhost
    })
}

fn reply_list(call: &Call<'_>, wanted: impl Fn(&ParameterInfo) -> bool) -> Reply {
    let vhosts = call.vhosts();
    let mut rows = call.broker().list_parameters(None);
    rows.retain(|it| vhosts.contains(&it.vhost) && wanted(it));
    let list = List::new(rows, |it| &it.name, |it, object| write(object, it));
    list.reply(&call.query)
}

pub(crate) fn write(object: &mut Object<'_>, it: &ParameterInfo) {
    object.field("value", &ValueJson(&it.value));
    object.field("vhost", &*it.vhost);
    object.field("component", &*it.component);
    object.field("name", &*it.name);
}

fn find(call: &Call<'_>) -> Result<ParameterInfo, Failure> {
    let (component, name) = (call.parameter("component"), call.parameter("name"));
    let vhost = call.vhost()?;
    let mut all = call.broker().list_parameters(None).into_iter();
    let found =
        all.find(|it| *it.component == *component && *it.vhost == *vhost && *it.name == *name);
    found.ok_or_else(Failure::no_such_object)
}

pub(crate) fn show(call: &Call<'_>) -> Reply {
    let found = find(call)?;
    reply_one(&call.query, |object| write(object, &found))
}

pub(crate) fn put(call: &Call<'_>) -> Reply {
    let vhost = call
        .vhost()
        .map_err(|_| Failure::not_found("vhost_not_found"))?;
    let body = call.object()?;
    body.require(&["value"])?;
    let existed = find(call).is_ok();
    let value = value_from_json(body.0.get("value").unwrap_or(&Value::Null))?;
    let (component, name) = (call.parameter("component"), call.parameter("name"));
    if component == shovel::COMPONENT {
        check_vhosts(call, name, &value)?;
    }
    let durable_at = call
        .broker()
        .set_parameter(vhost, component, name, value, call.now)?;
    Ok(Answer::put(!existed).after(durable_at))
}

/// A shovel needs no password for this node; so who makes one has to be let into the virtual hosts that it uses.
fn check_vhosts(call: &Call<'_>, name: &str, value: &TableValue) -> Result<(), Failure> {
    let Ok(shovel) = Shovel::read(name, value) else {
        // That is refused with all the reasons.
        return Ok(());
    };
    if call.caller() == Caller::Operator {
        return Ok(());
    }
    for vhost in shovel.vhosts_here(call.parameter("vhost")) {
        if call.may_connect(vhost)? != Some(true) {
            let user = &call.user().name;
            return Err(Failure::bad_request(format!(
                "Validation failed\n\nuser {user:?} may not connect to vhost {vhost:?}\n"
            )));
        }
    }
    Ok(())
}

pub(crate) fn delete(call: &Call<'_>) -> Reply {
    clear(call, &find(call)?)
}

pub(crate) fn clear(call: &Call<'_>, found: &ParameterInfo) -> Reply {
    let durable_at =
        call.broker()
            .clear_parameter(&found.vhost, &found.component, &found.name, call.now)?;
    Ok(Answer::done().after(durable_at))
}

pub(crate) fn list_global(call: &Call<'_>) -> Reply {
    let list = List::new(
        call.broker().list_global_parameters(),
        |(name, _)| name,
        |(name, value), object| write_global(object, name, value),
    );
    list.reply(&call.query)
}

pub(crate) fn write_global(object: &mut Object<'_>, name: &str, value: &TableValue) {
    object.field("name", name);
    object.field("value", &ValueJson(value));
}

fn find_global(call: &Call<'_>) -> Result<(Arc<str>, TableValue), Failure> {
    let name = call.parameter("name");
    let mut all = call.broker().list_global_parameters().into_iter();
    let found = all.find(|(it, _)| **it == *name);
    found.ok_or_else(Failure::no_such_object)
}

pub(crate) fn show_global(call: &Call<'_>) -> Reply {
    let (name, value) = find_global(call)?;
    reply_one(&call.query, |object| write_global(object, &name, &value))
}

pub(crate) fn put_global(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    body.require(&["value"])?;
    let existed = find_global(call).is_ok();
    let value = value_from_json(body.0.get("value").unwrap_or(&Value::Null))?;
    let name = call.parameter("name");
    let durable_at = call.broker().set_global_parameter(name, value)?;
    Ok(Answer::put(!existed).after(durable_at))
}

pub(crate) fn delete_global(call: &Call<'_>) -> Reply {
    let (name, _) = find_global(call)?;
    let durable_at = call.broker().clear_global_parameter(&name)?;
    Ok(Answer::done().after(durable_at))
}
