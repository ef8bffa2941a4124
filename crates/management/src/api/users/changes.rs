//! What administrators change about users.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use leveret_broker::broker::administration::{Password, PermissionSpec};
use leveret_broker::users::{Hashing, PasswordHash, User};
use serde_json::Value;

use super::{find, find_permission, find_topic_permissions};
use crate::answer::{Answer, Failure, Reply};
use crate::call::{Call, Json};

/// The most tags of a user.
const TAGS_MAX: usize = 32;

/// Users with this tag can't be changed over HTTP.
const PROTECTED: &str = "protected";

pub(crate) fn put(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    let name = call.parameter("user");
    let known = call.broker().user_info(name);
    if let Some(known) = &known {
        refuse_protected(known)?;
    }
    body.require(&["tags"])?;
    let tags = Some(tags(&body)?);
    let durable_at = call.broker().put_user(name, password(&body)?, tags)?;
    Ok(Answer::put(known.is_none()).after(durable_at))
}

/// `password`, or `password_hash` with `hashing_algorithm`; neither: nobody logs in by password.
pub(crate) fn password(body: &Json) -> Result<Password<'_>, Failure> {
    if let Some(hash) = body.text("password_hash")? {
        let hashing = match body.text("hashing_algorithm")? {
            None => Hashing::Sha256,
            Some(name) => Hashing::from_name(name)
                .ok_or_else(|| Failure::bad_request(format!("unknown hashing_algorithm {name}")))?,
        };
        return hash_from(hash, hashing);
    }
    match body.text("password")? {
        Some("") => Err(Failure::bad_request(
            "Cannot use empty password. Please choose a non-empty password for the user",
        )),
        Some(password) => Ok(Password::Plain(password)),
        None => Ok(Password::Cleared),
    }
}

/// A hash as definitions write it; empty: no password.
pub(crate) fn hash_from(text: &str, hashing: Hashing) -> Result<Password<'static>, Failure> {
    if text.is_empty() {
        return Ok(Password::Cleared);
    }
    let salted = BASE64
        .decode(text)
        .map_err(|_| Failure::bad_request("password_hash is not base64"))?
        .into();
    Ok(Password::Hash(PasswordHash { hashing, salted }))
}

/// `tags`: a list, or a text with commas between.
pub(crate) fn tags(body: &Json) -> Result<Vec<Box<str>>, Failure> {
    let wrong = || Failure::bad_request("tags must be a string or a list of strings");
    let tags: Vec<Box<str>> = match body.get("tags") {
        None => Vec::new(),
        Some(Value::String(text)) => {
            let tags = text.split(',').map(str::trim);
            tags.filter(|tag| !tag.is_empty()).map(Box::from).collect()
        }
        Some(Value::Array(list)) => {
            let text = |tag: &Value| tag.as_str().map(Box::from);
            let tags: Option<_> = list.iter().map(text).collect();
            tags.ok_or_else(wrong)?
        }
        Some(_) => return Err(wrong()),
    };
    if tags.len() > TAGS_MAX {
        return Err(Failure::bad_request(format!(
            "a user may have {TAGS_MAX} tags at most"
        )));
    }
    Ok(tags)
}

fn refuse_protected(user: &User) -> Result<(), Failure> {
    match user.has_tag(PROTECTED) {
        true => Err(Failure::not_authorised("User is protected")),
        false => Ok(()),
    }
}

pub(crate) fn delete(call: &Call<'_>) -> Reply {
    let user = find(call)?;
    refuse_protected(&user)?;
    let durable_at = call.broker().delete_user(&user.name)?;
    Ok(Answer::done().after(durable_at))
}

/// Users that are not there count as deleted.
pub(crate) fn delete_some(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    body.require(&["users"])?;
    let names = body.get("users").and_then(Value::as_array);
    let names = names.ok_or_else(|| Failure::bad_request("users must be a list"))?;
    let mut answer = Answer::done();
    for name in names.iter().filter_map(Value::as_str) {
        if let Some(user) = call.broker().user_info(name) {
            refuse_protected(&user)?;
            answer = answer.after(call.broker().delete_user(name)?);
        }
    }
    Ok(answer)
}

pub(crate) fn put_permissions(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    body.require(&["configure", "write", "read"])?;
    let spec = PermissionSpec {
        configure: body.required_text("configure")?,
        write: body.required_text("write")?,
        read: body.required_text("read")?,
    };
    let existed = find_permission(call).is_ok();
    let (user, vhost) = user_and_vhost(call)?;
    let durable_at = call
        .broker()
        .set_permissions(&user, &vhost, spec, call.now)?;
    Ok(Answer::put(!existed).after(durable_at))
}

pub(crate) fn delete_permissions(call: &Call<'_>) -> Reply {
    let found = find_permission(call)?;
    let durable_at = call
        .broker()
        .clear_permissions(&found.user, &found.vhost, call.now)?;
    Ok(Answer::done().after(durable_at))
}

/// A user and a vhost that are to be brought together have to be there.
fn user_and_vhost(call: &Call<'_>) -> Result<(Arc<str>, Arc<str>), Failure> {
    let broker = call.broker();
    let user = broker.user_info(call.parameter("user"));
    let vhost = broker.vhost_info(call.parameter("vhost"));
    match (user, vhost) {
        (Some(user), Some(vhost)) => Ok((user.name, vhost.name)),
        _ => Err(Failure::bad_request("no_such_user_or_vhost")),
    }
}

pub(crate) fn put_topic_permissions(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    body.require(&["exchange", "write", "read"])?;
    let exchange = match body.required_text("exchange")? {
        "amq.default" => "",
        name => name,
    };
    let patterns = (body.required_text("write")?, body.required_text("read")?);
    let existed = find_topic_permissions(call)
        .is_ok_and(|rows| rows.iter().any(|row| *row.exchange == *exchange));
    let (user, vhost) = user_and_vhost(call)?;
    let durable_at = call
        .broker()
        .set_topic_permissions(&user, &vhost, exchange, patterns)?;
    Ok(Answer::put(!existed).after(durable_at))
}

/// Those for one exchange, or for all of the vhost.
pub(crate) fn delete_topic_permissions(call: &Call<'_>) -> Reply {
    find_topic_permissions(call)?;
    let (user, vhost) = (call.parameter("user"), call.parameter("vhost"));
    let exchange = call.parameter_if_any("exchange");
    let durable_at = call
        .broker()
        .clear_topic_permissions(user, vhost, exchange)?;
    Ok(Answer::done().after(durable_at))
}
