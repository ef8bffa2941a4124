//! Whether a second declaration means what is there (X04, Q01), and how RabbitMQ says that it does not.

use crate::error::{Error, Resource, Result};
use crate::table::Value;

pub(super) fn equivalent_argument(
    resource: Resource<'_>,
    name: &str,
    current: Option<&Value>,
    received: Option<&Value>,
) -> Result<()> {
    let whole = |value: &Value| {
        format!(
            "the value '{}' of type '{}'",
            value.text(),
            value.type_name()
        )
    };
    let (received, current) = match (received, current) {
        (None, None) => return Ok(()),
        (Some(received), Some(current)) if received.equivalent(current) => return Ok(()),
        (Some(received), Some(current)) => {
            return Err(inequivalent(
                name,
                resource,
                &received.text(),
                &current.text(),
            ));
        }
        (None, Some(current)) => ("none".to_owned(), whole(current)),
        (Some(received), None) => (whole(received), "none".to_owned()),
    };
    Err(Error::PreconditionFailed(format!(
        "inequivalent arg '{name}' for {resource}: received {received} but current is {current}"
    )))
}

pub(super) fn inequivalent(
    name: &str,
    resource: Resource<'_>,
    received: &str,
    current: &str,
) -> Error {
    Error::PreconditionFailed(format!(
        "inequivalent arg '{name}' for {resource}: received '{received}' but current is '{current}'"
    ))
}
