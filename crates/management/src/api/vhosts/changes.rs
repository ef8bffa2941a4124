//! What administrators change about vhosts.

use leveret_broker::broker::administration::PermissionSpec;
use leveret_broker::catalogue::VhostMetadata;
use leveret_broker::queue::Kind;

use super::find;
use crate::answer::{Answer, Failure, Reply};
use crate::api::users::changes::tags;
use crate::call::{Call, Json};

const EVERYTHING: PermissionSpec<'_> = PermissionSpec {
    configure: ".*",
    write: ".*",
    read: ".*",
};

/// Makes a vhost, or changes what is said about it. The user who makes one may do everything in it.
pub(crate) fn put(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    let name = call.parameter("vhost");
    let broker = call.broker();
    let known = broker.vhost_info(name);
    let before = known.as_ref().map(|known| &known.metadata);
    let metadata = metadata(&body, before)?;
    let mut answer = Answer::put(known.is_none()).after(broker.put_vhost(name, metadata)?);
    if known.is_none() && broker.user_info(&call.user().name).is_some() {
        let granted = broker.set_permissions(&call.user().name, name, EVERYTHING, call.now)?;
        answer = answer.after(granted);
    }
    if let Some(on) = body.flag("tracing")? {
        answer = answer.after(broker.set_tracing(name, on)?);
    }
    Ok(answer)
}

/// What a body says, and what was said before where it is silent.
pub(crate) fn metadata(
    body: &Json,
    before: Option<&VhostMetadata>,
) -> Result<VhostMetadata, Failure> {
    let before = before.cloned().unwrap_or_default();
    let default_queue_type = match body.text("default_queue_type")? {
        None => before.default_queue_type,
        Some("" | "undefined") => None,
        Some(name) => Some(kind(name)?),
    };
    let description = body.text("description")?.map(str::to_owned);
    let protected = body.flag("protected_from_deletion")?;
    Ok(VhostMetadata {
        description: description.unwrap_or(before.description),
        tags: match body.get("tags") {
            Some(_) => tags(body)?,
            None => before.tags,
        },
        default_queue_type,
        protected_from_deletion: protected.unwrap_or(before.protected_from_deletion),
    })
}

fn kind(name: &str) -> Result<Kind, Failure> {
    match name {
        "classic" | "rabbit_classic_queue" => Ok(Kind::Classic),
        "quorum" | "rabbit_quorum_queue" => Ok(Kind::Quorum),
        "stream" | "rabbit_stream_queue" => Ok(Kind::Stream),
        _ => Err(Failure::bad_request(format!(
            "Unsupported default queue type '{name}'"
        ))),
    }
}

pub(crate) fn delete(call: &Call<'_>) -> Reply {
    let vhost = find(call)?;
    let durable_at = call.broker().delete_vhost(&vhost.name)?;
    Ok(Answer::done().after(durable_at))
}

pub(crate) fn show_protection(call: &Call<'_>) -> Reply {
    let protected = find(call)?.metadata.protected_from_deletion;
    Ok(Answer::value(&serde_json::json!({
        "protected_from_deletion": protected
    })))
}

pub(crate) fn protect(call: &Call<'_>) -> Reply {
    set_protection(call, true)
}

pub(crate) fn unprotect(call: &Call<'_>) -> Reply {
    set_protection(call, false)
}

fn set_protection(call: &Call<'_>, protected_from_deletion: bool) -> Reply {
    let vhost = find(call)?;
    let metadata = VhostMetadata {
        protected_from_deletion,
        ..vhost.metadata
    };
    let durable_at = call.broker().put_vhost(&vhost.name, metadata)?;
    Ok(Answer::done().after(durable_at))
}

/// It runs already.
pub(crate) fn start(call: &Call<'_>) -> Reply {
    find(call)?;
    crate::api::nodes::check_name(call)?;
    Ok(Answer::done())
}
