//! Clients of the stream protocol, which nobody speaks here yet: the lists are there, and empty.

use crate::answer::{Failure, Reply};
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

/// One connection, or what belongs to it: there is none.
pub(crate) fn of_connection(_: &Call<'_>) -> Reply {
    Err(Failure::no_such_object())
}
