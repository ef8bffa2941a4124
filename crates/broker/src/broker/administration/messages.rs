//! What operators do to messages that wait in a queue: move, copy, send back to where they came from, delete.
//!
//! A [`Sweep`] goes over a queue in slices, and holds the queue's lock only to look at a slice and to take what was chosen of
//! it. What it takes is with it, as if a client had got it, so that no consumer gets it too:
//!
//! ```text
//! look at a slice ──> choose ──> take ──> append at the targets ──> acknowledge at the source
//!                                                └ nobody took it ──> put back to its place, unmarked
//! ```
//!
//! The log has a message at its targets before it is released at its source: a crash between the two leaves it in both, and
//! never in none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leveret_storage::Lsn;

use crate::broker::Broker;
use crate::error::{Error, Resource, Result};
use crate::ids::{DeliveryId, MessageId};
use crate::live_queue::{LiveQueue, Outbox};
use crate::message::Message;
use crate::principal::Principal;
use crate::properties::PropertiesBuf;
use crate::publish::{Batch, Receipt, Targets};
use crate::queue::{Browsed, Kind, Op, Return, Scope, Start};
use crate::table::{Table, Value};
use crate::time::Timestamp;
use crate::users::Access;

/// What is to be done to the messages that are chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// They are only counted.
    Count,
    Delete,
    Move(Destination),
    /// The messages themselves stay as they are.
    Copy(Destination),
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Into this queue, as if published to the default exchange with its name, whatever their `CC` headers say.
    Queue(Box<str>),
    /// Published again, with this routing key or their own.
    Exchange {
        name: Box<str>,
        routing_key: Option<Box<[u8]>>,
    },
    /// Into the queue in which they died first, addressed as they were then.
    OriginQueue,
    /// Published again as they were before they died first.
    OriginExchange,
}

/// How it went so far, in messages.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub looked_at: u64,
    pub chosen: u64,
    /// Deleted, moved or copied.
    pub done: u64,
    /// Chosen, but a client was faster.
    pub gone: u64,
    /// Left where they are: no queue is bound for them.
    pub unroutable: u64,
    /// Left where they are: a queue refused them (`reject-publish`), or the user may not publish them there.
    pub refused: u64,
    /// Left where they are: they have not died anywhere, or nobody knows where.
    pub without_origin: u64,
    /// Why the first that stays was left.
    pub reason: Option<String>,
    /// All of it holds when the log is durable up to here.
    pub durable_at: Option<Lsn>,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do.
    More,
    /// There is more to do, but the pager has to catch up first. Ask again in a moment.
    Wait,
    /// It is over.
    Over,
}

/// Which messages are meant.
pub enum Choice {
    /// These, wherever they stand by now.
    These(Vec<Handle>),
    /// The first so many that are accepted.
    Matching(Box<dyn FnMut(&Browsed) -> bool + Send>, u64),
}

/// What a message of a queue is known by for as long as it waits there. One that is stored is known by its id, which outlives
/// a restart; its sequence number says where to look for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    pub sequence: u64,
    pub id: MessageId,
}

impl Handle {
    /// The handle of a message.
    pub fn of(browsed: &Browsed) -> Self {
        Self {
            sequence: browsed.standing.sequence(),
            id: browsed.id,
        }
    }
}

/// A walk over the messages of a queue that were there when it began. See the module's page.
pub struct Sweep {
    broker: Arc<Broker>,
    by: Principal,
    queue: Arc<LiveQueue>,
    action: Action,
    chosen: Chosen,
    /// Messages that may be chosen yet.
    left: u64,
    next: Option<Start>,
    /// Those that arrive later are left alone: some may be copies that the sweep itself has made.
    through: u64,
    tally: Tally,
    routes: Routes,
}

/// Which messages are meant, ready to be asked.
enum Chosen {
    These {
        stored: BTreeSet<MessageId>,
        others: BTreeSet<u64>,
        /// Where they may be: a message that a restart has brought back has its id for its place.
        places: BTreeSet<u64>,
    },
    Matching(Box<dyn FnMut(&Browsed) -> bool + Send>),
}

impl Chosen {
    fn new(choice: Choice) -> (Self, u64) {
        let handles = match choice {
            Choice::Matching(accepts, most) => return (Self::Matching(accepts), most),
            Choice::These(handles) => handles,
        };
        let stored = handles.iter().map(|handle| handle.id);
        let stored: BTreeSet<_> = stored.filter(|id| id.is_stored()).collect();
        let others = handles.iter().filter(|handle| !handle.id.is_stored());
        let others: BTreeSet<_> = others.map(|handle| handle.sequence).collect();
        let places = handles
            .iter()
            .flat_map(|handle| [handle.sequence, handle.id.0])
            .collect();
        let most = (stored.len() + others.len()) as u64;
        let these = Self::These {
            stored,
            others,
            places,
        };
        (these, most)
    }

    fn has(&mut self, message: &Browsed) -> bool {
        match self {
            Self::These { stored, .. } if message.id.is_stored() => stored.contains(&message.id),
            Self::These { others, .. } => others.contains(&message.standing.sequence()),
            Self::Matching(accepts) => accepts(message),
        }
    }

    fn places(&self) -> Option<&BTreeSet<u64>> {
        match self {
            Self::These { places, .. } => Some(places),
            Self::Matching(_) => None,
        }
    }
}

/// Where messages go, as far as it was found out already.
#[derive(Debug, Default)]
struct Routes {
    /// The topology they were found in.
    version: u64,
    known: BTreeMap<Address, Arc<Targets>>,
    queues: BTreeMap<Box<str>, Arc<Targets>>,
}

/// Exchange and routing key.
type Address = (Box<[u8]>, Box<[u8]>);

/// Routes that are remembered at most.
const ROUTES_MAX: usize = 1024;

/// Why a message stays where it is.
#[derive(Debug)]
enum Stay {
    Unroutable,
    Refused(Error),
    WithoutOrigin,
}

/// A message on its way, and where to.
type Addressed = std::result::Result<(Message, Arc<Targets>), Stay>;

impl Sweep {
    /// Begins a sweep over the queue of that name. A user needs what a client would need: the permission to read the queue,
    /// and to write where messages go. Out of a stream messages are only copied.
    pub fn begin(
        broker: &Arc<Broker>,
        by: Principal,
        queue: &str,
        action: Action,
        choice: Choice,
    ) -> Result<Self> {
        broker.check_access(&by, Access::Read, Resource::queue(queue, &by.vhost_name))?;
        let queue = broker.find_queue(&by, queue)?;
        if queue.kind == Kind::Stream && matches!(action, Action::Delete | Action::Move(_)) {
            let resource = Resource::queue(queue.name(), &by.vhost_name);
            return Err(Error::PreconditionFailed(format!(
                "messages of the stream {resource} stay until retention lets them go"
            )));
        }
        action.check(broker, &by)?;
        let (chosen, left) = Chosen::new(choice);
        Ok(Self {
            broker: broker.clone(),
            by,
            through: queue.last_sequence(),
            queue,
            action,
            chosen,
            left,
            next: Some(Start::Offset(0)),
            tally: Tally::default(),
            routes: Routes::default(),
        })
    }

    /// How it went so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Does the next slice.
    ///
    /// # Errors
    /// It can't go on. What the tally says is done all the same.
    pub fn step(&mut self, now: Timestamp) -> Result<Progress> {
        let Some(start) = self.next.filter(|_| self.left > 0) else {
            return Ok(Progress::Over);
        };
        if self.action.publishes() {
            if let Some(reason) = self.broker.alarms.reason() {
                return Err(Error::PreconditionFailed(format!(
                    "publishers are blocked: {reason}"
                )));
            }
            if self.broker.paging.is_behind() {
                return Ok(Progress::Wait);
            }
        }
        let scope = Scope {
            through: self.through,
            places: self.chosen.places(),
        };
        let slice = self
            .queue
            .look(start, scope, usize::MAX)
            .map_err(|error| Error::InternalError(error.to_string()))?;
        self.next = slice.next;
        let chosen = self.choose_of(slice.messages);
        match &self.action {
            _ if chosen.is_empty() => {}
            Action::Count => {}
            Action::Copy(destination) => self.copy(&destination.clone(), chosen, now),
            Action::Delete => self.delete(&chosen, now),
            Action::Move(destination) => self.relocate(&destination.clone(), &chosen, now),
        }
        match self.next {
            Some(_) if self.left > 0 => Ok(Progress::More),
            _ => Ok(Progress::Over),
        }
    }

    fn choose_of(&mut self, messages: Vec<Browsed>) -> Vec<Browsed> {
        let mut chosen = Vec::new();
        for message in messages {
            if self.left == 0 {
                break;
            }
            self.tally.looked_at += 1;
            if self.chosen.has(&message) {
                self.left -= 1;
                chosen.push(message);
            }
        }
        self.tally.chosen += chosen.len() as u64;
        chosen
    }

    fn delete(&mut self, chosen: &[Browsed], now: Timestamp) {
        let mut outbox = Outbox::default();
        let standings: Vec<_> = chosen.iter().map(|it| it.standing).collect();
        let mut deleted = 0;
        if let Ok(mut drive) = self.queue.drive(now, &mut outbox) {
            let taken = drive.take(&standings);
            let ids: Vec<_> = taken.iter().filter_map(|delivery| delivery.id).collect();
            drive.apply(Op::Acknowledge(&ids));
            drive.finish();
            deleted = ids.len() as u64;
        }
        self.broker.finish(&mut outbox, now);
        self.tally.done += deleted;
        self.tally.gone += chosen.len() as u64 - deleted;
    }

    fn copy(&mut self, destination: &Destination, chosen: Vec<Browsed>, now: Timestamp) {
        let messages = chosen.into_iter().map(|it| it.message).collect();
        let stayed = self.publish(destination, messages, now);
        self.tally.done += stayed.iter().filter(|stays| !**stays).count() as u64;
    }

    fn relocate(&mut self, destination: &Destination, chosen: &[Browsed], now: Timestamp) {
        let mut outbox = Outbox::default();
        let standings: Vec<_> = chosen.iter().map(|it| it.standing).collect();
        let taken = match self.queue.drive(now, &mut outbox) {
            Ok(mut drive) => {
                let taken = drive.take(&standings);
                drive.finish();
                taken
            }
            Err(_) => Vec::new(),
        };
        self.broker.finish(&mut outbox, now);
        self.tally.gone += (chosen.len() - taken.len()) as u64;
        let (ids, messages): (Vec<_>, Vec<_>) = taken
            .into_iter()
            .filter_map(|delivery| Some((delivery.id?, delivery.message)))
            .unzip();
        let stayed = self.publish(destination, messages, now);
        let of = |stays: bool| -> Vec<DeliveryId> {
            let both = ids.iter().zip(&stayed);
            let these = both.filter(|(_, stayed)| **stayed == stays);
            these.map(|(id, _)| *id).collect()
        };
        let (moved, kept) = (of(false), of(true));
        if let Ok(mut drive) = self.queue.drive(now, &mut outbox) {
            drive.apply(Op::Acknowledge(&moved));
            drive.apply(Op::Return(&kept, Return::Untouched));
            drive.finish();
        }
        self.broker.finish(&mut outbox, now);
        self.tally.done += moved.len() as u64;
    }

    /// Publishes messages; gives of each whether it stays where it is.
    fn publish(
        &mut self,
        destination: &Destination,
        messages: Vec<Message>,
        now: Timestamp,
    ) -> Vec<bool> {
        let version = self.broker.version();
        if self.routes.version != version || self.routes.is_full() {
            self.routes = Routes {
                version,
                ..Routes::default()
            };
        }
        let mut batch = Batch::default();
        let mut stays = vec![false; messages.len()];
        for (at, message) in messages.into_iter().enumerate() {
            match self.address(destination, message) {
                Ok((message, targets)) => {
                    let tag = at as u64;
                    let receipt = Receipt::Confirm { channel: 0, tag };
                    batch.push(now, message, &targets, receipt);
                }
                Err(why) => {
                    stays[at] = true;
                    self.tally.note(&why);
                }
            }
        }
        let mut outbox = Outbox::default();
        let tally = &mut self.tally;
        self.broker.commit(&mut batch, now, &mut outbox, |outcome| {
            tally.durable_at = tally.durable_at.max(outcome.durable_at);
            if let (true, Receipt::Confirm { tag, .. }) = (outcome.refused, outcome.receipt) {
                let at = usize::try_from(tag).unwrap_or_default();
                stays[at] = true;
                let full = Error::PreconditionFailed("a queue has refused the message".to_owned());
                tally.note(&Stay::Refused(full));
            }
        });
        self.broker.finish(&mut outbox, now);
        stays
    }

    fn address(&mut self, destination: &Destination, message: Message) -> Addressed {
        match destination {
            Destination::Queue(name) => {
                let targets = self.queue_targets(name)?;
                Ok((readdressed(&message, b"", name.as_bytes()), targets))
            }
            Destination::Exchange { name, routing_key } => {
                let key = routing_key
                    .as_deref()
                    .unwrap_or_else(|| message.routing_key());
                self.route(readdressed(&message, name.as_bytes(), key))
            }
            Destination::OriginQueue => {
                let origin = Origin::of(&message).ok_or(Stay::WithoutOrigin)?;
                let targets = self.queue_targets(&origin.queue)?;
                let message = readdressed(&message, &origin.exchange, &origin.routing_key);
                Ok((message, targets))
            }
            Destination::OriginExchange => {
                let origin = Origin::of(&message).ok_or(Stay::WithoutOrigin)?;
                self.route(readdressed(&message, &origin.exchange, &origin.routing_key))
            }
        }
    }

    fn queue_targets(&mut self, name: &str) -> std::result::Result<Arc<Targets>, Stay> {
        if let Some(known) = self.routes.queues.get(name) {
            return Ok(known.clone());
        }
        let found = self
            .broker
            .check_publish(&self.by, "", name.as_bytes())
            .and_then(|()| self.broker.find_queue(&self.by, name));
        let queue = found.map_err(Stay::Refused)?;
        let targets = Arc::new(Targets::new(vec![queue], None));
        self.routes.queues.insert(name.into(), targets.clone());
        Ok(targets)
    }

    fn route(&mut self, message: Message) -> Addressed {
        let address = (message.exchange().into(), message.routing_key().into());
        if let Some(known) = self.routes.known.get(&address) {
            return Ok((message, known.clone()));
        }
        let routed = self
            .broker
            .route(&self.by, &message, &[message.routing_key()])
            .map_err(Stay::Refused)?;
        if routed.targets.queues.is_empty() {
            return Err(Stay::Unroutable);
        }
        if routed.cacheable {
            self.routes.known.insert(address, routed.targets.clone());
        }
        Ok((message, routed.targets))
    }
}

impl std::fmt::Debug for Sweep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sweep")
            .field("queue", &self.queue.name())
            .field("action", &self.action)
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

impl Action {
    fn publishes(&self) -> bool {
        match self {
            Self::Count | Self::Delete => false,
            Self::Move(_) | Self::Copy(_) => true,
        }
    }

    /// Refuses what would be refused for every message.
    fn check(&self, broker: &Broker, by: &Principal) -> Result<()> {
        match self {
            Self::Move(Destination::Queue(name)) | Self::Copy(Destination::Queue(name)) => {
                broker.check_publish(by, "", name.as_bytes())?;
                broker.find_queue(by, name).map(drop)
            }
            Self::Move(Destination::Exchange { name, .. })
            | Self::Copy(Destination::Exchange { name, .. }) => {
                let resource = Resource::exchange(name, &by.vhost_name);
                broker.check_access(by, Access::Write, resource)?;
                let found = broker.exchange_info(&by.vhost_name, name);
                found.map(drop).ok_or_else(|| resource.not_found())
            }
            Self::Count | Self::Delete | Self::Move(_) | Self::Copy(_) => Ok(()),
        }
    }
}

impl Tally {
    fn note(&mut self, why: &Stay) {
        let (counter, reason) = match why {
            Stay::Unroutable => (&mut self.unroutable, "no queue is bound for it".to_owned()),
            Stay::Refused(error) => (&mut self.refused, error.to_string()),
            Stay::WithoutOrigin => (
                &mut self.without_origin,
                "it has no x-death header that says where it comes from".to_owned(),
            ),
        };
        *counter += 1;
        self.reason.get_or_insert(reason);
    }
}

impl Routes {
    fn is_full(&self) -> bool {
        self.known.len() + self.queues.len() >= ROUTES_MAX
    }
}

/// The same message with another address. What the broker has written into its headers stays the broker's.
fn readdressed(message: &Message, exchange: &[u8], routing_key: &[u8]) -> Message {
    let moved = Message::new(exchange, routing_key, message.properties(), message.body());
    if message.has_died() {
        moved.marked_died()
    } else {
        moved
    }
}

/// Where a message was before it died for the first time.
#[derive(Debug)]
struct Origin {
    queue: Box<str>,
    exchange: Box<[u8]>,
    routing_key: Box<[u8]>,
}

impl Origin {
    /// As `x-death` has it: the entry of the queue that `x-first-death-queue` names, or else the oldest one.
    fn of(message: &Message) -> Option<Self> {
        let properties = PropertiesBuf::parse(message.properties()).ok()?;
        let headers = properties.headers?;
        let deaths = headers.get("x-death")?.as_array()?;
        let first = headers.get("x-first-death-queue").and_then(Value::as_str);
        let mut deaths = deaths.iter().rev().filter_map(Value::as_table);
        let queue_of = |death: &Table| death.get("queue").and_then(Value::as_str).map(Box::from);
        let is_first = |death: &&Table| queue_of(death).as_deref() == first;
        let oldest = deaths.clone().next();
        let death: &Table = deaths.find(is_first).or(oldest)?;
        let keys = death.get("routing-keys").and_then(Value::as_array);
        Some(Self {
            queue: queue_of(death)?,
            exchange: short(death.get("exchange")?)?,
            routing_key: short(keys?.first()?)?,
        })
    }
}

/// The bytes of a text that fits into an address.
fn short(value: &Value) -> Option<Box<[u8]>> {
    match value {
        Value::String(bytes) if bytes.len() <= u8::MAX.into() => Some(bytes.clone()),
        _ => None,
    }
}
