//! The arguments of consumers: which a queue of some type knows, and what they mean.

use crate::arguments;
use crate::error::{Error, Resource, Result};
use crate::queue::{Kind, ReadFrom, StreamFilter, StreamStart};
use crate::table::{Table, Value};
use crate::time::Timestamp;

/// What the arguments of a consumer come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConsumerArguments {
    pub(super) priority: i32,
    /// Quorum queues: `x-consumer-timeout`.
    pub(super) timeout_ms: Option<u64>,
    /// Streams: `x-stream-offset`, `x-stream-filter` and `x-stream-match-unfiltered`.
    pub(super) read_from: Option<Box<ReadFrom>>,
}

const PRIORITY: &str = "x-priority";
const TIMEOUT: &str = "x-consumer-timeout";
const OFFSET: &str = "x-stream-offset";
const FILTER: &str = "x-stream-filter";
const UNFILTERED: &str = "x-stream-match-unfiltered";

impl ConsumerArguments {
    /// Reads them. Those of other types are refused; what no type knows is ignored.
    pub(super) fn read(
        resource: Resource<'_>,
        kind: Kind,
        arguments: &Table,
        now: Timestamp,
    ) -> Result<Self> {
        let foreign: &[&str] = match kind {
            Kind::Classic => &[OFFSET, FILTER, UNFILTERED, TIMEOUT],
            Kind::Quorum => &[OFFSET, FILTER, UNFILTERED],
            Kind::Stream => &[PRIORITY, TIMEOUT],
        };
        let given = foreign.iter().find(|name| arguments.get(name).is_some());
        if let Some(name) = given {
            return Err(Error::PreconditionFailed(format!(
                "invalid arg '{name}' for {resource} of queue type {}",
                arguments::module(kind)
            )));
        }
        let integer = |name: &str| match arguments.get(name) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| {
                let why = arguments::not_an_integer(value);
                Error::PreconditionFailed(format!("invalid arg '{name}' for {resource}: {why}"))
            }),
        };
        let priority = integer(PRIORITY)?.unwrap_or(0);
        let read_from = || -> Result<Box<ReadFrom>> {
            Ok(Box::new(ReadFrom {
                start: start(resource, arguments.get(OFFSET), now)?,
                filter: filter(resource, arguments)?,
            }))
        };
        Ok(Self {
            priority: priority.clamp(i32::MIN.into(), i32::MAX.into()) as i32,
            timeout_ms: integer(TIMEOUT)?.and_then(|ms| u64::try_from(ms).ok()),
            read_from: (kind == Kind::Stream).then(read_from).transpose()?,
        })
    }
}

/// T19: a name, an offset, a time, or how long ago.
fn start(resource: Resource<'_>, value: Option<&Value>, now: Timestamp) -> Result<StreamStart> {
    let Some(value) = value else {
        return Ok(StreamStart::Next);
    };
    if let Value::Timestamp(seconds) = value {
        return Ok(StreamStart::Time(Timestamp(seconds.saturating_mul(1000))));
    }
    if let Some(offset) = value.as_i64() {
        return Ok(StreamStart::Offset(offset.max(0).cast_unsigned()));
    }
    let ago = |text| {
        let ago = arguments::age_ms(text)?;
        Some(StreamStart::Time(Timestamp(now.0.saturating_sub(ago))))
    };
    let start = match value.as_str() {
        Some("first") => Some(StreamStart::First),
        Some("last") => Some(StreamStart::Last),
        Some("next") => Some(StreamStart::Next),
        Some(text) => ago(text),
        None => None,
    };
    start.ok_or_else(|| {
        let (kind, text) = (value.type_name(), value.text());
        Error::PreconditionFailed(format!(
            "invalid arg '{OFFSET}' for {resource}: {{invalid_stream_offset_arg,{{{kind},<<{}>>}}}}",
            if text.is_empty() { text } else { format!("\"{text}\"") }
        ))
    })
}

/// T20: the values that are wanted. RabbitMQ closes the connection for others than text in a list, and takes no notice of
/// others alone; here both are refused.
fn filter(resource: Resource<'_>, arguments: &Table) -> Result<Option<StreamFilter>> {
    let refused = |name: &str, value: &Value| {
        let kind = value.type_name();
        Error::PreconditionFailed(format!(
            "invalid arg '{name}' for {resource}: {{unacceptable_type,{kind}}}"
        ))
    };
    let Some(value) = arguments.get(FILTER) else {
        return Ok(None);
    };
    let values = match value {
        Value::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(refused(FILTER, other)),
    };
    let unfiltered = arguments.get(UNFILTERED);
    let unfiltered =
        unfiltered.map(|value| value.as_bool().ok_or_else(|| refused(UNFILTERED, value)));
    Ok(Some(StreamFilter {
        values: values.iter().map(text).collect::<Result<_>>()?,
        match_unfiltered: unfiltered.transpose()?.unwrap_or(false),
    }))
}
