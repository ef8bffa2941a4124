//! Looks at the messages of a queue, those that wait or those that clients have, and leaves them as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_broker::broker::administration::messages::Handle;
use leveret_broker::connections::Facts;
use leveret_broker::error::Resource;
use leveret_broker::ids::MessageId;
use leveret_broker::live_queue::{BrowsePage, InHands, LiveQueue};
use leveret_broker::queue::Browsed;
use leveret_broker::users::Access;
use serde_json::{Value, json};

use super::filter::Filter;
use super::{Shape, Shown, write};
use crate::Management;
use crate::answer::{Answer, Failure, Reply};
use crate::api::connections::facts_by_id;
use crate::call::Call;
use crate::json::{self, Columns, Object};
use crate::session::principal;

/// Messages of a page when nobody says how many, and at most.
const COUNT: usize = 20;
const COUNT_MAX: usize = 1000;

/// A page ends when its messages have this many bytes.
const BYTES_MAX: usize = 16 << 20;

/// Messages that are looked at for one page.
const LOOKED_AT_MAX: u64 = 100_000;

pub(crate) fn browse(call: &Call<'_>) -> Reply {
    let by = principal(call)?;
    let broker = call.broker();
    let resource = Resource::queue(call.parameter("queue"), &by.vhost_name);
    broker.check_access(&by, Access::Read, resource)?;
    let queue = broker.find_queue(&by, resource.name)?;
    let page = page(call)?;
    let view = View {
        filter: Filter::from_query(&call.query)?,
        shape: shape(call)?,
        epoch: Epoch::of(call.management, &queue),
        facts: facts_by_id(call),
    };
    match call.query.get("state").unwrap_or("ready") {
        "ready" => view.ready(call, &queue, page),
        "unacked" => view.unacked(call, &queue, page),
        other => Err(Failure::bad_request(format!(
            "unknown state: {other}. Please use 'ready' or 'unacked'."
        ))),
    }
}

fn page(call: &Call<'_>) -> Result<BrowsePage, Failure> {
    let count = number(call, "count")?.map(usize::try_from);
    Ok(BrowsePage {
        offset: number(call, "offset")?.unwrap_or_default(),
        messages_max: count.map_or(COUNT, |count| count.unwrap_or(COUNT_MAX).min(COUNT_MAX)),
        bytes_max: BYTES_MAX,
        looked_at_max: LOOKED_AT_MAX,
    })
}

fn shape(call: &Call<'_>) -> Result<Shape, Failure> {
    let encoding = call.query.get("encoding").unwrap_or("auto");
    Shape::new(encoding, number(call, "truncate")?)
}

fn number(call: &Call<'_>, name: &str) -> Result<Option<u64>, Failure> {
    let wrong = || Failure::bad_request(format!("{name} must be a whole number"));
    let parse = |text: &str| text.parse().map_err(|_| wrong());
    call.query.get(name).map(parse).transpose()
}

/// What tells apart messages without a record in the log that had the same place in a queue of this name: queues and
/// processes count anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch {
    queue: u32,
    started_at: u64,
}

impl Epoch {
    pub(super) fn of(management: &Management, queue: &LiveQueue) -> Self {
        Self {
            queue: queue.id.0,
            started_at: management.started_at.0,
        }
    }

    /// A handle as text: numbers with 16 digits, the place and the id, and without one the epoch.
    fn id(self, handle: Handle) -> String {
        let Handle { sequence, id } = handle;
        if id.is_stored() {
            return format!("{sequence:x}-{:x}", id.0);
        }
        format!("{sequence:x}-0-{:x}-{:x}", self.queue, self.started_at)
    }

    /// The handle behind a text. `None`: the text may be right, but such a message is not there any more.
    pub(super) fn handle(self, text: &str) -> Result<Option<Handle>, Failure> {
        let wrong = || Failure::bad_request(format!("no id of a message: {text}"));
        let number = |part: &str| u64::from_str_radix(part, 16).map_err(|_| wrong());
        let parts = text.split('-').map(number).collect::<Result<Vec<_>, _>>()?;
        match parts[..] {
            [sequence, id] if id != 0 => Ok(Some(Handle {
                sequence,
                id: MessageId(id),
            })),
            [sequence, 0, queue, started_at] => {
                let is_now = (u64::from(self.queue), self.started_at) == (queue, started_at);
                let id = MessageId::NONE;
                Ok(is_now.then_some(Handle { sequence, id }))
            }
            _ => Err(wrong()),
        }
    }
}

/// How messages are looked at.
struct View {
    filter: Filter,
    shape: Shape,
    epoch: Epoch,
    facts: BTreeMap<u64, (Arc<Facts>, Arc<str>)>,
}

impl View {
    fn ready(&self, call: &Call<'_>, queue: &LiveQueue, page: BrowsePage) -> Reply {
        let accepts = |it: &Browsed| self.filter.accepts(&it.message);
        let found = queue.browse(page, accepts);
        let found = found.map_err(|error| unreadable(&error))?;
        let mut items = Items::of(call);
        for (position, message) in &found.messages {
            items.add(|object| self.write(object, *position, message, |_| {}));
        }
        let total = queue.stats().ready;
        Ok(items.reply(page, found.next, total))
    }

    fn unacked(&self, call: &Call<'_>, queue: &LiveQueue, page: BrowsePage) -> Reply {
        let accepts = |it: &InHands| self.filter.accepts(&it.browsed.message);
        let found = queue.browse_unacked(page, accepts);
        let found = found.map_err(|error| unreadable(&error))?;
        let mut items = Items::of(call);
        for (position, held) in &found.messages {
            items.add(|object| {
                self.write(object, *position, &held.browsed, |object| {
                    object.field("unacked_since", &held.since.0);
                    object.field("consumer_details", &self.consumer(held));
                });
            });
        }
        let total = queue.stats().unsettled;
        Ok(items.reply(page, found.next, total))
    }

    fn write(
        &self,
        object: &mut Object<'_>,
        position: u64,
        browsed: &Browsed,
        more: impl FnOnce(&mut Object<'_>),
    ) {
        object.field("position", &position);
        object.field("id", &self.epoch.id(Handle::of(browsed)));
        let shown = Shown {
            message: &browsed.message,
            counts: browsed.counts,
            redelivered: browsed.redelivered,
        };
        write(object, &shown, self.shape, |object| {
            object.field("persistent", &browsed.persistent);
            if let Some(offset) = browsed.offset {
                object.field("offset", &offset);
            }
            object.field("delivery_count", &browsed.counts.deliveries);
            object.field("acquired_count", &browsed.counts.acquisitions);
            object.field("expires_at", &browsed.expires_at.map(|at| at.0));
            more(object);
        });
    }

    /// Who has a message; `null`: it was got, and by whom is not kept.
    fn consumer(&self, held: &InHands) -> Value {
        let Some(holder) = &held.holder else {
            return Value::Null;
        };
        let connection = self.facts.get(&holder.connection.0);
        json!({
            "consumer_tag": holder.about.as_ref().map(|about| &*about.tag),
            "channel_number": holder.channel,
            "connection_name": connection.map(|(facts, _)| &*facts.name),
            "user": connection.map(|(_, user)| &**user),
        })
    }
}

fn unreadable(error: &impl ToString) -> Failure {
    let status = http::StatusCode::INTERNAL_SERVER_ERROR;
    Failure::new(status, "unreadable", error.to_string())
}

/// The messages of an answer as they are written.
struct Items<'a> {
    out: Vec<u8>,
    columns: Columns<'a>,
}

impl<'a> Items<'a> {
    fn of(call: &'a Call<'_>) -> Self {
        Self {
            out: Vec::new(),
            columns: Columns::new(call.query.columns()),
        }
    }

    fn add(&mut self, fill: impl FnOnce(&mut Object<'_>)) {
        if !self.out.is_empty() {
            self.out.push(b',');
        }
        json::object(&mut self.out, self.columns.clone(), fill);
    }

    fn reply(self, page: BrowsePage, next: Option<u64>, total: u64) -> Answer {
        let mut out = Vec::with_capacity(self.out.len() + 100);
        json::object(&mut out, Columns::ALL, |object| {
            object.field("offset", &page.offset);
            object.field("next", &next);
            object.field("total", &total);
        });
        out.pop();
        out.extend(b",\"items\":[");
        out.extend(self.out);
        out.extend(b"]}");
        Answer::json(out)
    }
}
