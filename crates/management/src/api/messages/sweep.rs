//! Moves, copies, sends back or deletes messages that wait in a queue: those that are named, or all that a filter accepts.

use std::collections::BTreeSet;
use std::sync::Arc;

use leveret_broker::Lsn;
use leveret_broker::broker::administration::messages::{
    Action, Choice, Destination, Progress, Sweep, Tally,
};
use leveret_broker::queue::Browsed;
use serde_json::{Map, Value, json};

use super::browse::Epoch;
use super::filter::Filter;
use crate::Management;
use crate::answer::{Answer, Failure, Reply};
use crate::call::{Call, Json, SHORT_STRING_MAX};
use crate::session::principal;

pub(crate) fn act(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    let by = principal(call)?;
    let name = body.required_text("action")?.to_owned();
    let action = action(&name, &body)?;
    let dry_run = body.flag("dry_run")?.unwrap_or(false);
    let queue = call.broker().find_queue(&by, call.parameter("queue"))?;
    let (choice, named) = choice(&body, Epoch::of(call.management, &queue))?;
    let action = if dry_run { Action::Count } else { action };
    let sweep = Sweep::begin(call.broker(), by, queue.name(), action, choice)?;
    let mut run = Run {
        management: call.management.clone(),
        sweep: Some(sweep),
        about: json!({"action": name, "dry_run": dry_run}),
        named,
        durable_at: None,
        answer: None,
    };
    Ok(Answer::pieces(std::iter::from_fn(move || run.next())))
}

fn action(name: &str, body: &Json) -> Result<Action, Failure> {
    match name {
        "move" => Ok(Action::Move(destination(&body.map("to")?)?)),
        "copy" => Ok(Action::Copy(destination(&body.map("to")?)?)),
        "requeue" => Ok(Action::Move(origin(
            body.text("origin")?.unwrap_or("queue"),
        )?)),
        "delete" => Ok(Action::Delete),
        other => Err(Failure::bad_request(format!(
            "unknown action: {other}. Please use 'move', 'copy', 'requeue' or 'delete'."
        ))),
    }
}

/// `{"queue": …}`, `{"exchange": …, "routing_key": …}` or `{"origin": …}`.
fn destination(to: &Map<String, Value>) -> Result<Destination, Failure> {
    let text = |name: &str| match to.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= SHORT_STRING_MAX => Ok(Some(text.as_str())),
        Some(_) => Err(Failure::bad_request(format!(
            "{name} must be a string of at most {SHORT_STRING_MAX} bytes"
        ))),
    };
    match (text("queue")?, text("exchange")?, text("origin")?) {
        (Some(queue), None, None) => Ok(Destination::Queue(queue.into())),
        (None, Some(exchange), None) => Ok(Destination::Exchange {
            name: if exchange == "amq.default" {
                ""
            } else {
                exchange
            }
            .into(),
            routing_key: text("routing_key")?.map(|key| key.as_bytes().into()),
        }),
        (None, None, Some(which)) => origin(which),
        _ => Err(Failure::bad_request(
            "to must name one of queue, exchange and origin",
        )),
    }
}

fn origin(which: &str) -> Result<Destination, Failure> {
    match which {
        "queue" => Ok(Destination::OriginQueue),
        "exchange" => Ok(Destination::OriginExchange),
        other => Err(Failure::bad_request(format!(
            "unknown origin: {other}. Please use 'queue' or 'exchange'."
        ))),
    }
}

/// What `ids` or `filter` say, and how many messages are named.
fn choice(body: &Json, epoch: Epoch) -> Result<(Choice, u64), Failure> {
    match (body.get("ids"), body.get("filter")) {
        (Some(Value::Array(ids)), None) => {
            let wrong = || Failure::bad_request("ids must be a list of strings");
            let ids = ids.iter().map(|id| id.as_str().ok_or_else(wrong));
            let ids = ids.collect::<Result<BTreeSet<_>, _>>()?;
            let handles = ids.iter().map(|id| epoch.handle(id));
            let handles = handles.collect::<Result<Vec<_>, _>>()?;
            let handles = handles.into_iter().flatten().collect();
            Ok((Choice::These(handles), ids.len() as u64))
        }
        (None, Some(Value::Object(filter))) => {
            let filter = Filter::from_json(filter)?;
            let most = match body.integer("limit")?.map(u64::try_from) {
                None => u64::MAX,
                Some(Ok(most)) => most,
                Some(Err(_)) => return Err(Failure::bad_request("limit must not be negative")),
            };
            let accepts = move |it: &Browsed| filter.accepts(&it.message);
            Ok((Choice::Matching(Box::new(accepts), most), 0))
        }
        _ => Err(Failure::bad_request(
            "either ids, a list, or filter, an object, must say which messages are meant",
        )),
    }
}

/// A sweep on its way. Blanks are sent as it goes on: who has gone meanwhile stops it.
struct Run {
    management: Arc<Management>,
    /// `None`: it is over.
    sweep: Option<Sweep>,
    about: Value,
    /// Messages that were named one by one.
    named: u64,
    /// The answer has to wait until the log is durable up to here.
    durable_at: Option<Lsn>,
    answer: Option<Vec<u8>>,
}

impl Run {
    fn next(&mut self) -> Option<Vec<u8>> {
        let Some(sweep) = &mut self.sweep else {
            return self.finish();
        };
        let progress = sweep.step((self.management.options.clock)());
        let failure = match progress {
            Ok(Progress::More) => return Some(b" ".to_vec()),
            Ok(Progress::Wait) => return Some(Vec::new()),
            Ok(Progress::Over) => None,
            Err(error) => Some(Failure::from(error)),
        };
        let tally = sweep.tally().clone();
        self.durable_at = tally.durable_at;
        self.answer = Some(self.written(&tally, failure));
        self.sweep = None;
        self.finish()
    }

    /// The answer, once it holds.
    fn finish(&mut self) -> Option<Vec<u8>> {
        let durable = self.management.broker.durable();
        match self.durable_at {
            Some(at) if at > durable => Some(Vec::new()),
            _ => self.answer.take(),
        }
    }

    fn written(&self, tally: &Tally, failure: Option<Failure>) -> Vec<u8> {
        let mut answer = self.about.clone();
        let mut set = |name: &str, value: Value| answer[name] = value;
        set("looked_at", tally.looked_at.into());
        set("matched", tally.chosen.into());
        set("done", tally.done.into());
        let not_there = self.named.saturating_sub(tally.chosen);
        set("gone", (tally.gone + not_there).into());
        set("unroutable", tally.unroutable.into());
        set("refused", tally.refused.into());
        set("without_origin", tally.without_origin.into());
        if let Some(reason) = &tally.reason {
            set("reason", reason.as_str().into());
        }
        if let Some(failure) = failure {
            set("error", failure.reason_text().into());
        }
        answer.to_string().into_bytes()
    }
}
