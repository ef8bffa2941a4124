//! The node: its definitions, its queues, its log, and what ties them together.
//!
//! Read in this order: this page (the state and how it starts), [`definitions`] (declare, bind, delete), [`routing`]
//! (which queues a message goes to, and what happens to dead ones), [`listing`] (what operators see). Channels ([`crate::channel`]) call all of it.
//!
//! Locks are taken in one order: topology, then a queue, then a mailbox. No lock is held while another thread is waited
//! for, but for the log's back-pressure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leveret_storage::{Batch as Records, Log, Lsn};
use parking_lot::{Mutex, RwLock};

use crate::alarm::Alarms;
use crate::arguments;
use crate::catalogue::{Catalogue, Command, Definition, Map, RecordError};
use crate::connections::{Activity, ChurnTally, Connected, Connections, Facts, LiveChannel};
use crate::counters::DeadLetterTally;
use crate::error::{Error, Resource, Result};
use crate::ids::{MessageId, QueueId};
use crate::live_queue::{ConnectionId, DeadLettered, LiveQueue, Outbox};
use crate::mailbox::{Event, Mailbox};
use crate::options::Options;
use crate::principal::Principal;
use crate::publish::{Batch, Outcome};
use crate::queue::{Counts, Incoming, Kind, Op, Recovered};
use crate::record;
use crate::reply_to::ReplyConsumers;
use crate::time::Timestamp;
use crate::timers::Timers;
use crate::users::{PasswordHash, User};

pub mod definitions;
pub mod listing;
pub mod routing;

/// One node. See the module's page.
#[derive(Debug)]
pub struct Broker {
    pub options: Options,
    topology: RwLock<Topology>,
    /// Counts changes of the topology and of permissions; what channels remember of them is tagged with it.
    version: AtomicU64,
    log: Log,
    /// Where the last change of definitions is in the log.
    last_change: AtomicU64,
    pub timers: Timers,
    pub alarms: Alarms,
    pub(crate) reply_consumers: ReplyConsumers,
    /// Connections that wait for the log to become durable further.
    waiting_for_log: Arc<Mutex<Vec<Arc<Mailbox>>>>,
    connections: Mutex<Connections>,
    last_connection: AtomicU64,
    churn: ChurnTally,
    dead_letters: [DeadLetterTally; 3],
}

/// Definitions, and the queues at work.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    pub(crate) catalogue: Catalogue,
    pub(crate) queues: Map<QueueId, Arc<LiveQueue>>,
}

/// Who opens a vhost.
#[derive(Debug)]
pub struct Arrival<'a> {
    pub connection: ConnectionId,
    pub user: &'a User,
    pub mailbox: &'a Arc<Mailbox>,
    pub facts: Facts,
    pub activity: &'a Arc<Activity>,
}

/// What the log held at start, as `Log::open` gave it.
#[derive(Debug, Default)]
pub struct Restored {
    definitions: Vec<Definition>,
    messages: Vec<StoredMessage>,
    /// What [`CRASH`] said.
    crashed_through: Option<MessageId>,
}

/// The log's table, beside those of the catalogue, for the last message that a crash left behind (number 0; the id, big
/// endian). Nobody knows which of the messages up to it had been handed out, and another restart does not change that.
const CRASH: u8 = 0;

#[derive(Debug)]
struct StoredMessage {
    id: MessageId,
    /// Queue, and what was noted of the message there.
    owners: Vec<(u32, u64)>,
    bytes: Box<[u8]>,
}

/// Why the node can't start from what its log holds.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("definitions in the log: {0}")]
    Definitions(#[from] RecordError),
    #[error("message {id} in the log: {source}")]
    Message {
        id: u64,
        source: record::RecordError,
    },
    #[error("queue '{queue}' in the log: {source}")]
    Queue { queue: String, source: Error },
    #[error("the first definitions: {0}")]
    First(crate::catalogue::ApplyError),
}

impl Restored {
    /// Takes one record of the log, in the log's order.
    pub fn take(&mut self, restored: leveret_storage::Restored<'_>) {
        match restored {
            leveret_storage::Restored::Definition {
                table: CRASH,
                bytes,
                ..
            } => {
                let id = bytes
                    .first_chunk()
                    .map(|id| MessageId(u64::from_be_bytes(*id)));
                self.crashed_through = id;
            }
            leveret_storage::Restored::Definition { table, id, bytes } => {
                self.definitions.push(Definition {
                    table,
                    id,
                    bytes: bytes.to_vec(),
                });
            }
            leveret_storage::Restored::Record { key, owners, bytes } => {
                let owners = owners.to_vec();
                self.messages.push(StoredMessage {
                    id: MessageId(key),
                    owners,
                    bytes: bytes.into(),
                });
            }
            leveret_storage::Restored::Page { .. } => {
                unreachable!("the broker does not page out yet")
            }
        }
    }

    /// How many messages there are.
    pub fn message_count(&self) -> usize {
        self.messages.len()
    }
}

impl Broker {
    /// A node with what its log held. On a blank one: the first vhost and user.
    pub fn start(
        options: Options,
        log: Log,
        restored: Restored,
        now: Timestamp,
    ) -> std::result::Result<Arc<Self>, StartError> {
        let catalogue = Catalogue::restore(restored.definitions)?;
        let waiting_for_log: Arc<Mutex<Vec<Arc<Mailbox>>>> = Arc::default();
        let waiting = waiting_for_log.clone();
        log.on_durable(Box::new(move |_| {
            for mailbox in std::mem::take(&mut *waiting.lock()) {
                mailbox.poke();
            }
        }));
        let broker = Self {
            options,
            topology: RwLock::new(Topology {
                catalogue,
                queues: Map::default(),
            }),
            version: AtomicU64::new(1),
            log,
            last_change: AtomicU64::new(0),
            timers: Timers::default(),
            alarms: Alarms::default(),
            reply_consumers: ReplyConsumers::default(),
            waiting_for_log,
            connections: Mutex::default(),
            last_connection: AtomicU64::new(0),
            churn: ChurnTally::default(),
            dead_letters: Default::default(),
        };
        broker.start_queues(now)?;
        let crashed_through = broker.note_crash(&restored.messages, restored.crashed_through);
        broker.restore_messages(restored.messages, crashed_through, now)?;
        if broker.topology.read().catalogue.is_blank() {
            broker.define_defaults().map_err(StartError::First)?;
        }
        Ok(Arc::new(broker))
    }

    /// How far the log is on disk.
    pub fn durable(&self) -> Lsn {
        self.log.durable()
    }

    /// Wakes `mailbox` when the log is durable further than now. One that asks while that happens may miss it, and so
    /// must look at [`Self::durable`] once more after asking.
    pub fn wait_for_log(&self, mailbox: &Arc<Mailbox>) {
        self.waiting_for_log.lock().push(mailbox.clone());
    }

    /// A number for a new connection.
    pub fn new_connection_id(&self) -> ConnectionId {
        ConnectionId(self.last_connection.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A user by name and password, or that it is none. `loopback`: the client is on this machine.
    pub fn authenticate(&self, name: &str, password: &str, loopback: bool) -> Option<User> {
        let topology = self.topology.read();
        let user = topology.catalogue.user(name)?;
        let allowed = user.password.matches(password);
        (allowed && self.may_log_in_from(&user.name, loopback)).then(|| user.clone())
    }

    /// Whether `user` may connect to `vhost`; `None`: there is no such vhost.
    pub fn may_connect(&self, user: &User, vhost: &str) -> Option<bool> {
        let topology = self.topology.read();
        let vhost = topology.catalogue.vhost(vhost)?;
        let permissions = topology.catalogue.permissions(&user.name, &vhost.name);
        Some(permissions.is_some())
    }

    /// The user that anonymous clients are.
    pub fn anonymous(&self, loopback: bool) -> Option<User> {
        let name = self.options.anonymous_user.as_deref()?;
        let topology = self.topology.read();
        let user = topology.catalogue.user(name)?;
        self.may_log_in_from(&user.name, loopback)
            .then(|| user.clone())
    }

    fn may_log_in_from(&self, user: &str, loopback: bool) -> bool {
        loopback
            || !self
                .options
                .loopback_users
                .iter()
                .any(|name| **name == *user)
    }

    /// Opens `vhost` for a user: the checks of C13, and the entry that listings, exclusive queues and forced closes need.
    pub fn connect(&self, arrival: Arrival<'_>, vhost: &str) -> Result<Arc<Principal>> {
        let Arrival {
            connection,
            user,
            mailbox,
            facts,
            activity,
        } = arrival;
        if let Some(limit) = self.options.connections_max
            && self.connection_count() >= limit
        {
            return Err(Error::NotAllowed(format!(
                "connection refused: node connection limit ({limit}) is reached"
            )));
        }
        let topology = self.topology.read();
        let Some(found) = topology.catalogue.vhost(vhost) else {
            return Err(Error::NotAllowed(format!("vhost {vhost} not found")));
        };
        if topology
            .catalogue
            .permissions(&user.name, &found.name)
            .is_none()
        {
            return Err(Error::NotAllowed(format!(
                "access to vhost '{vhost}' refused for user '{}'",
                user.name
            )));
        }
        let principal = Arc::new(Principal {
            user: user.name.clone(),
            impersonator: user.has_tag("impersonator"),
            vhost: found.id,
            vhost_name: found.name.clone(),
            connection,
        });
        let entry = Connected {
            mailbox: mailbox.clone(),
            principal: principal.clone(),
            facts: Arc::new(facts),
            activity: activity.clone(),
            channels: BTreeMap::new(),
            exclusive: Vec::new(),
        };
        self.connections.lock().open.insert(connection, entry);
        ChurnTally::count(&self.churn.connection_created);
        Ok(principal)
    }

    /// The connection has ended: its exclusive queues go.
    pub fn disconnect(&self, connection: ConnectionId) {
        let Some((entry, channels)) = self.connections.lock().remove(connection) else {
            return;
        };
        ChurnTally::count(&self.churn.connection_closed);
        for _ in 0..channels {
            ChurnTally::count(&self.churn.channel_closed);
        }
        for queue in entry.exclusive {
            self.remove_queue(&queue, |_| true);
        }
    }

    /// Notes a channel that has been opened. One whose connection is gone already is noted nowhere.
    pub(crate) fn open_channel(&self, by: &Principal, number: u16) -> Arc<LiveChannel> {
        let channel: Arc<LiveChannel> = Arc::default();
        if let Some(entry) = self.connections.lock().open.get_mut(&by.connection) {
            entry.channels.insert(number, channel.clone());
            ChurnTally::count(&self.churn.channel_created);
        }
        channel
    }

    /// The channel has ended. Saying it again changes nothing.
    pub(crate) fn close_channel(&self, by: &Principal, number: u16, channel: &Arc<LiveChannel>) {
        if self
            .connections
            .lock()
            .retire(by.connection, number, channel)
        {
            ChurnTally::count(&self.churn.channel_closed);
        }
    }

    /// Asks every connection to close with this reason (320).
    pub fn close_connections(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        for entry in self.connections.lock().open.values() {
            entry.mailbox.put(Event::Close(reason.clone()));
        }
    }

    /// How many connections are open.
    pub fn connection_count(&self) -> usize {
        self.connections.lock().open.len()
    }

    /// Sets or clears a resource alarm and lets every connection know.
    pub fn set_alarm(&self, alarm: crate::alarm::Alarm, on: bool) {
        if self.alarms.set(alarm, on) {
            for entry in self.connections.lock().open.values() {
                entry.mailbox.poke();
            }
        }
    }

    /// Takes a batch of publishes into the log and the queues; tells how each ended.
    pub fn commit(
        &self,
        batch: &mut Batch,
        now: Timestamp,
        outbox: &mut Outbox,
        outcome: impl FnMut(Outcome),
    ) {
        batch.commit(&self.log, now, outbox, outcome);
    }

    /// Does what drives of queues have left to be done. No lock may be held.
    pub fn finish(&self, outbox: &mut Outbox, now: Timestamp) {
        while !outbox.is_empty() {
            for (at, queue) in outbox.timers.drain(..) {
                self.timers.add(at, queue);
            }
            // The new record of a dead message is in the log before the old one goes.
            let dead: Vec<DeadLettered> = outbox.dead_letters.drain(..).collect();
            let releases = std::mem::take(&mut outbox.releases);
            let counts = std::mem::take(&mut outbox.counts);
            self.dead_letter(dead, now, outbox);
            self.log_changes(releases, counts);
            for queue in std::mem::take(&mut outbox.deletions) {
                self.remove_queue(&queue, |_| true);
            }
        }
    }

    /// Looks at every queue whose time has come. Gives when the next one wants to be looked at.
    pub fn tick(&self, now: Timestamp) -> Option<Timestamp> {
        let mut outbox = Outbox::default();
        for queue in self.timers.due(now) {
            queue.tick(now, &mut outbox);
        }
        self.finish(&mut outbox, now);
        self.timers.next()
    }

    /// Everything is on disk and marked as stopped in good order. Nothing may use the node afterwards.
    pub fn stop(&self) -> std::result::Result<(), leveret_storage::Failed> {
        self.log.clone().close()
    }

    fn log_changes(
        &self,
        releases: Vec<(QueueId, MessageId)>,
        counts: Vec<(QueueId, MessageId, Counts)>,
    ) {
        if releases.is_empty() && counts.is_empty() {
            return;
        }
        let mut records = Records::default();
        for (queue, message, counts) in counts {
            records.mark(queue.0, message.0, mark(counts));
        }
        for (queue, message) in releases {
            records.release(queue.0, message.0);
        }
        self.log.append(&mut records);
    }

    /// Makes the queues that the catalogue names.
    fn start_queues(&self, now: Timestamp) -> std::result::Result<(), StartError> {
        let mut topology = self.topology.write();
        let Topology { catalogue, queues } = &mut *topology;
        for vhost in catalogue.vhosts() {
            for (id, declaration) in vhost.queues() {
                let resource = Resource::queue(&declaration.name, &vhost.name);
                let effective = arguments::queue_type(resource, &declaration.arguments)
                    .and_then(|kind| {
                        let kind = kind.unwrap_or(Kind::Classic);
                        arguments::check(
                            resource,
                            kind,
                            declaration.auto_delete,
                            &declaration.arguments,
                        )
                    })
                    .map_err(|source| StartError::Queue {
                        queue: resource.to_string(),
                        source,
                    })?;
                let vhost = (vhost.id, vhost.name.clone());
                let queue = LiveQueue::new(id, vhost, declaration.clone(), effective, now);
                queues.insert(id, Arc::new(queue));
            }
        }
        Ok(())
    }

    /// The last message of which a crash, now or earlier, left it unknown whether it had been handed out.
    fn note_crash(
        &self,
        messages: &[StoredMessage],
        earlier: Option<MessageId>,
    ) -> Option<MessageId> {
        let last = match messages.last() {
            Some(last) if !self.log.was_clean() => last.id,
            _ => return earlier,
        };
        let mut records = Records::default();
        records.define(CRASH, 0, &last.0.to_be_bytes());
        self.log.append(&mut records);
        Some(last)
    }

    /// Puts the messages of the log back into their queues, in the log's order.
    fn restore_messages(
        &self,
        messages: Vec<StoredMessage>,
        crashed_through: Option<MessageId>,
        now: Timestamp,
    ) -> std::result::Result<(), StartError> {
        let mut outbox = Outbox::default();
        let topology = self.topology.read();
        for StoredMessage { id, owners, bytes } in messages {
            let (message, published_at) =
                record::read(&bytes).map_err(|source| StartError::Message { id: id.0, source })?;
            // Where it is not known whether a message had been handed out, the flag must not be missing.
            let redelivered = crashed_through.is_some_and(|last| id <= last);
            let incoming = Incoming {
                id,
                ..Incoming::from_message(message)
            };
            for (owner, noted) in owners {
                // An owner that is no queue: the crash came between the queue's end and its last records. They must not
                // wait for a queue that is given the same number.
                let Some(queue) = topology.queues.get(&QueueId(owner)) else {
                    outbox.releases.push((QueueId(owner), id));
                    continue;
                };
                let counts = counts(noted);
                let recovered = Recovered {
                    incoming: Incoming {
                        redelivered: redelivered || counts != Counts::default(),
                        ..incoming.clone()
                    },
                    published_at,
                    counts,
                };
                if let Ok(mut drive) = queue.drive(now, &mut outbox) {
                    drive.apply(Op::Recover(recovered));
                }
            }
        }
        for queue in topology.queues.values() {
            if let Ok(drive) = queue.drive(now, &mut outbox) {
                drive.finish();
            }
        }
        drop(topology);
        self.finish(&mut outbox, now);
        Ok(())
    }

    /// A blank node's vhost and user (RabbitMQ: `default_vhost`, `default_user`, `default_pass`).
    fn define_defaults(&self) -> std::result::Result<(), crate::catalogue::ApplyError> {
        let default = &self.options.first;
        let salt = ((self.options.random)() as u32).to_be_bytes();
        let vhost: Arc<str> = default.vhost.as_str().into();
        let user: Arc<str> = default.user.as_str().into();
        let commands = [
            Command::AddVhost {
                name: vhost.clone(),
            },
            Command::PutUser(User {
                name: user.clone(),
                password: PasswordHash::new(&default.password, salt),
                tags: default.tags.clone(),
            }),
            Command::PutPermissions {
                user,
                vhost,
                permissions: default.permissions.clone(),
            },
        ];
        let mut topology = self.topology.write();
        for command in commands {
            self.apply(&mut topology, command)?;
        }
        Ok(())
    }
}

/// Counts as the log notes them beside a message's owner.
fn mark(counts: Counts) -> u64 {
    u64::from(counts.deliveries) << 32 | u64::from(counts.acquisitions)
}

fn counts(mark: u64) -> Counts {
    Counts {
        deliveries: (mark >> 32) as u32,
        acquisitions: mark as u32,
    }
}
