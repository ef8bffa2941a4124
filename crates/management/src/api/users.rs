//! Users and what they may do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use leveret_broker::broker::listing::{PermissionInfo, TopicPermissionInfo};
use leveret_broker::users::User;

use super::limits;
use crate::answer::{Failure, Reply};
use crate::call::Call;
use crate::json::Object;
use crate::list::{List, reply_one};

pub(crate) mod changes;

pub(crate) fn list(call: &Call<'_>) -> Reply {
    reply_list(call, call.broker().list_users())
}

pub(crate) fn list_without_permissions(call: &Call<'_>) -> Reply {
    let permissions = call.broker().list_permissions();
    let mut users = call.broker().list_users();
    users.retain(|user| !permissions.iter().any(|it| it.user == user.name));
    reply_list(call, users)
}

fn reply_list(call: &Call<'_>, rows: Vec<User>) -> Reply {
    let list = List::new(rows, |user| &user.name, |user, object| write(object, user));
    list.reply(&call.query)
}

pub(crate) fn show(call: &Call<'_>) -> Reply {
    let user = find(call)?;
    reply_one(&call.query, |object| write(object, &user))
}

pub(crate) fn find(call: &Call<'_>) -> Result<User, Failure> {
    let user = call.broker().user_info(call.parameter("user"));
    user.ok_or_else(Failure::no_such_object)
}

pub(crate) fn write(object: &mut Object<'_>, user: &User) {
    object.field("name", &*user.name);
    object.field("password_hash", &BASE64.encode(&user.password.salted));
    object.field("hashing_algorithm", user.password.hashing.name());
    object.field("tags", &user.tags);
    object.field("limits", &limits::of_user(&user.limits));
}

pub(crate) fn permissions(call: &Call<'_>) -> Reply {
    reply_permissions(call, |_| true)
}

pub(crate) fn permissions_in_vhost(call: &Call<'_>) -> Reply {
    let vhost = call.vhost()?;
    reply_permissions(call, |it| *it.vhost == *vhost)
}

pub(crate) fn permissions_of_user(call: &Call<'_>) -> Reply {
    let user = find(call)?.name;
    reply_permissions(call, |it| it.user == user)
}

fn reply_permissions(call: &Call<'_>, wanted: impl Fn(&PermissionInfo) -> bool) -> Reply {
    let mut rows = call.broker().list_permissions();
    rows.retain(wanted);
    let list = List::new(
        rows,
        |it| &it.user,
        |it, object| {
            write_permission(object, it);
        },
    );
    list.reply(&call.query)
}

pub(crate) fn show_permission(call: &Call<'_>) -> Reply {
    let permission = find_permission(call)?;
    reply_one(&call.query, |object| write_permission(object, &permission))
}

pub(crate) fn find_permission(call: &Call<'_>) -> Result<PermissionInfo, Failure> {
    let (user, vhost) = (call.parameter("user"), call.parameter("vhost"));
    let mut all = call.broker().list_permissions().into_iter();
    let found = all.find(|it| *it.user == *user && *it.vhost == *vhost);
    found.ok_or_else(Failure::no_such_object)
}

pub(crate) fn write_permission(object: &mut Object<'_>, it: &PermissionInfo) {
    object.field("user", &*it.user);
    object.field("vhost", &*it.vhost);
    object.field("configure", it.permissions.configure.source());
    object.field("write", it.permissions.write.source());
    object.field("read", it.permissions.read.source());
}

pub(crate) fn topic_permissions(call: &Call<'_>) -> Reply {
    reply_topic_permissions(call, |_| true)
}

pub(crate) fn topic_permissions_in_vhost(call: &Call<'_>) -> Reply {
    let vhost = call.vhost()?;
    reply_topic_permissions(call, |it| *it.vhost == *vhost)
}

pub(crate) fn topic_permissions_of_user(call: &Call<'_>) -> Reply {
    let user = find(call)?.name;
    reply_topic_permissions(call, |it| it.user == user)
}

/// Those of one user in one vhost, for one exchange or all.
pub(crate) fn show_topic_permissions(call: &Call<'_>) -> Reply {
    let rows = find_topic_permissions(call)?;
    reply_topic_permissions(call, |it| {
        rows.iter()
            .any(|row| row.user == it.user && row.vhost == it.vhost && row.exchange == it.exchange)
    })
}

pub(crate) fn find_topic_permissions(call: &Call<'_>) -> Result<Vec<TopicPermissionInfo>, Failure> {
    let (user, vhost) = (call.parameter("user"), call.parameter("vhost"));
    let exchange = call.parameter_if_any("exchange");
    let mut rows = call.broker().list_topic_permissions();
    rows.retain(|it| {
        *it.user == *user
            && *it.vhost == *vhost
            && exchange.is_none_or(|exchange| *it.exchange == *exchange)
    });
    match rows.is_empty() {
        true => Err(Failure::no_such_object()),
        false => Ok(rows),
    }
}

fn reply_topic_permissions(
    call: &Call<'_>,
    wanted: impl Fn(&TopicPermissionInfo) -> bool,
) -> Reply {
    let mut rows = call.broker().list_topic_permissions();
    rows.retain(wanted);
    let list = List::new(
        rows,
        |it| &it.user,
        |it, object| {
            write_topic_permission(object, it);
        },
    );
    list.reply(&call.query)
}

pub(crate) fn write_topic_permission(object: &mut Object<'_>, it: &TopicPermissionInfo) {
    object.field("user", &*it.user);
    object.field("vhost", &*it.vhost);
    object.field("exchange", &*it.exchange);
    object.field("write", it.permissions.write.source());
    object.field("read", it.permissions.read.source());
}
