//! The `x-` arguments of queues: which exist for which queue type, what they may hold, and what they mean together.
//! RABBITMQ: the tables of the pages "Queues" and "Quorum Queues"; the texts are those of RabbitMQ 4.3.

use std::sync::Arc;

use crate::error::{Error, Resource, Result};
use crate::live_queue::DeadLetterTo;
use crate::queue::{DeadLetter, DelayedRetry, Kind, Overflow, RetryOn, Settings};
use crate::table::{Table, Value};

/// The longest time that a TTL or an expiry may name: ten years.
pub const TIME_MAX_MS: i64 = 315_360_000_000;
/// The largest segment that a stream may ask for.
const SEGMENT_BYTES_MAX: i64 = 3_000_000_000;
/// RabbitMQ's delivery limit of quorum queues that name none.
const DELIVERY_LIMIT: u32 = 20;

/// Which queue types know an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Any,
    /// Those whose messages leave.
    ClassicAndQuorum,
    Classic,
    Quorum,
    Stream,
}

impl For {
    fn covers(self, kind: Kind) -> bool {
        match self {
            Self::Any => true,
            Self::ClassicAndQuorum => kind != Kind::Stream,
            Self::Classic => kind == Kind::Classic,
            Self::Quorum => kind == Kind::Quorum,
            Self::Stream => kind == Kind::Stream,
        }
    }
}

/// An argument: its name, the types that have it, and what it may hold.
struct Argument {
    name: &'static str,
    on: For,
    check: fn(&Value) -> std::result::Result<(), String>,
}

const fn argument(
    name: &'static str,
    on: For,
    check: fn(&Value) -> std::result::Result<(), String>,
) -> Argument {
    Argument { name, on, check }
}

/// In the order in which RabbitMQ would complain.
const ARGUMENTS: &[Argument] = &[
    argument("x-expires", For::ClassicAndQuorum, |v| time(v, 1)),
    argument("x-message-ttl", For::ClassicAndQuorum, |v| time(v, 0)),
    argument("x-dead-letter-exchange", For::ClassicAndQuorum, anything),
    argument("x-dead-letter-routing-key", For::ClassicAndQuorum, anything),
    argument("x-dead-letter-strategy", For::Quorum, |v| {
        one_of(
            v,
            &["at-most-once", "at-least-once"],
            "invalid_dlx_strategy",
        )
    }),
    argument("x-max-length", For::ClassicAndQuorum, |v| at_least(v, 0)),
    argument("x-max-length-bytes", For::Any, |v| at_least(v, 0)),
    argument("x-max-in-memory-length", For::Quorum, |v| at_least(v, 0)),
    argument("x-max-in-memory-bytes", For::Quorum, |v| at_least(v, 0)),
    argument("x-max-priority", For::Classic, priority),
    argument("x-overflow", For::ClassicAndQuorum, |v| {
        one_of(
            v,
            &["drop-head", "reject-publish", "reject-publish-dlx"],
            "invalid_overflow",
        )
    }),
    argument("x-queue-mode", For::Classic, anything),
    argument("x-queue-version", For::Classic, version),
    argument("x-single-active-consumer", For::ClassicAndQuorum, boolean),
    argument("x-queue-type", For::Any, text),
    argument("x-queue-leader-locator", For::Any, |v| {
        one_of(
            v,
            &[
                "client-local",
                "balanced",
                "random",
                "least-leaders",
                "min-masters",
            ],
            "invalid_queue_locator_arg",
        )
    }),
    argument("x-queue-master-locator", For::Classic, text),
    argument("x-delivery-limit", For::Quorum, |v| integer(v).map(drop)),
    argument("x-quorum-initial-group-size", For::Quorum, |v| {
        at_least(v, 1)
    }),
    argument("x-quorum-target-group-size", For::Quorum, |v| {
        at_least(v, 1)
    }),
    argument("x-consumer-timeout", For::Quorum, |v| at_least(v, 0)),
    argument("x-consumer-disconnected-timeout", For::Quorum, |v| {
        at_least(v, 0)
    }),
    argument("x-delayed-retry-type", For::Quorum, |v| {
        one_of(
            v,
            &["disabled", "all", "failed", "returned"],
            "invalid_delayed_retry_type",
        )
    }),
    argument("x-delayed-retry-min", For::Quorum, |v| at_least(v, 1)),
    argument("x-delayed-retry-max", For::Quorum, |v| at_least(v, 1)),
    argument("x-member-placement-tag", For::Quorum, text),
    argument("x-max-age", For::Stream, |v| match v.as_str() {
        None => Err(unacceptable(v)),
        Some(age) => age_ms(age)
            .map(drop)
            .ok_or_else(|| "invalid_max_age".to_owned()),
    }),
    argument("x-stream-max-segment-size-bytes", For::Stream, |v| {
        at_least(v, 0)
    }),
    argument("x-stream-filter-size-bytes", For::Stream, |v| {
        at_least(v, 0)
    }),
    argument("x-initial-cluster-size", For::Stream, |v| at_least(v, 1)),
];

/// What a queue's arguments come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    pub settings: Arc<Settings>,
    pub dead_letter_to: Option<DeadLetterTo>,
}

/// The text of an argument that must be one, if it is there.
pub fn text_argument<'a>(
    name: &str,
    of: Resource<'_>,
    arguments: &'a Table,
) -> Result<Option<&'a str>> {
    let Some(value) = arguments.get(name) else {
        return Ok(None);
    };
    value.as_str().map(Some).ok_or_else(|| {
        let kind = value.type_name();
        Error::PreconditionFailed(format!("invalid type '{kind}' for arg '{name}' in {of}"))
    })
}

/// The queue type that `arguments` ask for; `None` when they do not name one.
pub fn queue_type(queue: Resource<'_>, arguments: &Table) -> Result<Option<Kind>> {
    let Some(value) = arguments.get("x-queue-type") else {
        return Ok(None);
    };
    match value.as_str() {
        Some("") => Ok(None),
        Some(name) => Kind::from_name(name).map(Some).ok_or_else(|| {
            let why = format!("\"unsupported queue type '{name}'\"");
            invalid("x-queue-type", queue, &why)
        }),
        None => Err(invalid("x-queue-type", queue, &unacceptable(value))),
    }
}

/// Checks every argument that is known for any queue type and gives what they mean for a queue of type `kind`.
/// Arguments that no queue type knows are left alone, as RabbitMQ does.
pub fn check(
    queue: Resource<'_>,
    kind: Kind,
    auto_delete: bool,
    arguments: &Table,
) -> Result<Effective> {
    for argument in ARGUMENTS {
        let Some(value) = arguments.get(argument.name) else {
            continue;
        };
        if !argument.on.covers(kind) {
            return Err(Error::PreconditionFailed(format!(
                "invalid arg '{}' for {queue} of queue type {}",
                argument.name,
                module(kind),
            )));
        }
        (argument.check)(value).map_err(|why| invalid(argument.name, queue, &why))?;
    }
    check_stream(arguments)?;
    for name in ["x-dead-letter-exchange", "x-dead-letter-routing-key"] {
        text_argument(name, queue, arguments)?;
    }
    if arguments.get("x-dead-letter-routing-key").is_some()
        && arguments.get("x-dead-letter-exchange").is_none()
    {
        let why = "routing_key_but_no_dlx_defined";
        return Err(invalid("x-dead-letter-routing-key", queue, why));
    }
    Ok(effective(kind, auto_delete, arguments))
}

/// Whether `name` is one of the arguments whose values a second declaration must repeat, for queues of type `kind`.
pub fn is_compared(name: &str, kind: Kind) -> bool {
    let mut known = ARGUMENTS.iter();
    known.any(|argument| argument.name == name && argument.on.covers(kind))
}

/// The names of all arguments that [`is_compared`] says yes to.
pub fn compared(kind: Kind) -> impl Iterator<Item = &'static str> {
    ARGUMENTS
        .iter()
        .map(|argument| argument.name)
        .filter(move |name| is_compared(name, kind))
}

/// What arguments that have been checked, and policies that were merged with them, mean for a queue.
pub(crate) fn effective(kind: Kind, auto_delete: bool, arguments: &Table) -> Effective {
    let text = |name| arguments.get(name).and_then(Value::as_str);
    let dead_letter_to = text("x-dead-letter-exchange").map(|exchange| DeadLetterTo {
        exchange: exchange.into(),
        routing_key: text("x-dead-letter-routing-key").map(|key| key.as_bytes().into()),
    });
    let overflow = match text("x-overflow") {
        Some("reject-publish") => Overflow::RejectPublish,
        // Quorum queues know no reject-publish-dlx and fall back to dropping the head, as RabbitMQ's do.
        Some("reject-publish-dlx") if kind == Kind::Classic => Overflow::RejectPublishDlx,
        _ => Overflow::DropHead,
    };
    let at_least_once = text("x-dead-letter-strategy") == Some("at-least-once")
        && overflow == Overflow::RejectPublish;
    let dead_letter = match (&dead_letter_to, at_least_once) {
        (None, _) => DeadLetter::Off,
        (Some(_), false) => DeadLetter::AtMostOnce,
        (Some(_), true) => DeadLetter::AtLeastOnce,
    };
    let delivery_limit = match (
        kind,
        arguments.get("x-delivery-limit").and_then(Value::as_i64),
    ) {
        (Kind::Classic | Kind::Stream, _) => None,
        (Kind::Quorum, None) => Some(DELIVERY_LIMIT),
        (Kind::Quorum, Some(limit)) => u32::try_from(limit).ok(),
    };
    let settings = Arc::new(Settings {
        kind,
        message_ttl_ms: number(arguments, "x-message-ttl"),
        expires_ms: number(arguments, "x-expires"),
        length_max: number(arguments, "x-max-length"),
        length_bytes_max: number(arguments, "x-max-length-bytes"),
        overflow,
        dead_letter,
        priority_max: number(arguments, "x-max-priority").map(|n| n.min(255) as u8),
        single_active_consumer: arguments
            .get("x-single-active-consumer")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        auto_delete,
        delivery_limit,
        consumer_timeout_ms: number(arguments, "x-consumer-timeout"),
        delayed_retry: delayed_retry(arguments),
        max_age_ms: text("x-max-age").and_then(age_ms),
    });
    Effective {
        settings,
        dead_letter_to,
    }
}

/// `x-delayed-retry-*` belong together. Like RabbitMQ we take any values: without a minimum nothing is delayed, and a
/// maximum below it is the minimum.
fn delayed_retry(arguments: &Table) -> Option<DelayedRetry> {
    let on = match arguments
        .get("x-delayed-retry-type")
        .and_then(Value::as_str)?
    {
        "failed" => RetryOn::Failed,
        "returned" => RetryOn::Returned,
        "all" => RetryOn::All,
        _ => return None,
    };
    let min_ms = number(arguments, "x-delayed-retry-min")?;
    let max_ms = number(arguments, "x-delayed-retry-max").map_or(min_ms, |max| max.max(min_ms));
    Some(DelayedRetry { on, min_ms, max_ms })
}

/// An age, such as `7D` or `90m`, in ms: a number of years of 365 days, months of 30, days, hours, minutes or seconds.
pub(crate) fn age_ms(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "Y" => 365 * 24 * 60 * 60,
        "M" => 30 * 24 * 60 * 60,
        "D" => 24 * 60 * 60,
        "h" => 60 * 60,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| is_number)?;
    number.checked_mul(seconds * 1000)
}

/// Values of streams that are refused without naming the queue.
fn check_stream(arguments: &Table) -> Result<()> {
    let number = |name| arguments.get(name).and_then(Value::as_i64);
    let segment = "x-stream-max-segment-size-bytes";
    if number(segment).is_some_and(|bytes| bytes > SEGMENT_BYTES_MAX) {
        let text = format!("Exceeded max value for {segment}");
        return Err(Error::PreconditionFailed(text));
    }
    let filter = "x-stream-filter-size-bytes";
    if number(filter).is_some_and(|bytes| !(16..=255).contains(&bytes)) {
        return Err(Error::PreconditionFailed(format!(
            "Invalid value for {filter}"
        )));
    }
    Ok(())
}

fn number(arguments: &Table, name: &str) -> Option<u64> {
    arguments
        .get(name)
        .and_then(Value::as_i64)
        .and_then(|n| u64::try_from(n).ok())
}

/// The Erlang module of a queue type, which RabbitMQ's texts print.
pub(crate) fn module(kind: Kind) -> &'static str {
    match kind {
        Kind::Classic => "rabbit_classic_queue",
        Kind::Quorum => "rabbit_quorum_queue",
        Kind::Stream => "rabbit_stream_queue",
    }
}

fn invalid(name: &str, queue: Resource<'_>, why: &str) -> Error {
    Error::PreconditionFailed(format!("invalid arg '{name}' for {queue}: {why}"))
}

fn unacceptable(value: &Value) -> String {
    format!("{{unacceptable_type,{}}}", value.type_name())
}

fn integer(value: &Value) -> std::result::Result<i64, String> {
    value.as_i64().ok_or_else(|| not_an_integer(value))
}

/// How RabbitMQ refuses a value that should be an integer.
pub(crate) fn not_an_integer(value: &Value) -> String {
    format!("\"expected integer, got {}\"", value.type_name())
}

fn anything(_: &Value) -> std::result::Result<(), String> {
    Ok(())
}

fn at_least(value: &Value, least: i64) -> std::result::Result<(), String> {
    match integer(value)? {
        n if n < 0 => Err(format!("{{value_negative,{n}}}")),
        n if n < least => Err(format!("{{value_zero,{n}}}")),
        _ => Ok(()),
    }
}

fn time(value: &Value, least: i64) -> std::result::Result<(), String> {
    at_least(value, least)?;
    match value.as_i64() {
        Some(n) if n > TIME_MAX_MS => Err(format!("{{value_too_large,{n}}}")),
        _ => Ok(()),
    }
}

fn priority(value: &Value) -> std::result::Result<(), String> {
    at_least(value, 0)?;
    match value.as_i64() {
        Some(n) if n > 255 => Err(format!("{{max_value_exceeded,{n}}}")),
        _ => Ok(()),
    }
}

fn version(value: &Value) -> std::result::Result<(), String> {
    match integer(value)? {
        2 => Ok(()),
        n => Err(format!("\"unsupported queue version '{n}'\"")),
    }
}

fn boolean(value: &Value) -> std::result::Result<(), String> {
    value.as_bool().map(drop).ok_or_else(|| unacceptable(value))
}

fn text(value: &Value) -> std::result::Result<(), String> {
    value.as_str().map(drop).ok_or_else(|| unacceptable(value))
}

fn one_of(value: &Value, allowed: &[&str], error: &str) -> std::result::Result<(), String> {
    match value.as_str() {
        None => Err(unacceptable(value)),
        Some(text) if allowed.contains(&text) => Ok(()),
        Some(_) => Err(error.to_owned()),
    }
}
