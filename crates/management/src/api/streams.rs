//! Clients of the stream protocol, which nobody speaks here yet: the lists are there, and empty.

use leveret_broker::queue::Kind;
use serde_json::json;

use crate::answer::{Answer, Failure, Reply};
use crate::call::Call;
use crate::list::List;

/// Of all virtual hosts.
pub(crate) fn list(call: &Call<'_>) -> Reply {
    List::new(Vec::<()>::new(), |()| "", |(), _| {}).reply(&call.query)
}

/// Of one.
pub(crate) fn list_in_vhost(call: &Call<'_>) -> Reply {
    call.vhost()?;
    list(call)
}

/// Of a stream.
pub(crate) fn list_of_stream(call: &Call<'_>) -> Reply {
    super::queues::find(call)?;
    list(call)
}

/// What clients have stored in a stream: nothing, where none of them can.
pub(crate) fn tracking(call: &Call<'_>) -> Reply {
    if super::queues::find(call)?.kind != Kind::Stream {
        return Err(Failure::unavailable("The stream leader is not available"));
    }
    Ok(Answer::value(&match call.query.get("type") {
        Some("offset") => json!({"offsets": {}}),
        Some("writer") => json!({"writers": {}}),
        _ => json!({"offsets": {}, "writers": {}}),
    }))
}

/// One connection, or what belongs to it: there is none.
pub(crate) fn of_connection(_: &Call<'_>) -> Reply {
    Err(Failure::no_such_object())
}
