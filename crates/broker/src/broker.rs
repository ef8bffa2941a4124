//! The node: its definitions, its queues, its log, and what ties them together.
//!
//! Read in this order: this page (the state and how it starts), [`definitions`] (declare, bind, delete), [`routing`]
//! (which queues a message goes to, and what happens to dead ones), [`firehose`] (copies of all that passes), [`listing`]
//! (what operators see). Channels ([`crate::channel`]) call all of it.
//!
//! Locks are taken in one order: topology, then a queue, then a mailbox. No lock is held while another thread is waited
//! for, but for the log's back-pressure.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use leveret_storage::{self as storage, Batch as Records, Log, Lsn};
use parking_lot::{Mutex, RwLock};

use crate::alarm::Alarms;
use crate::arguments;
use crate::authority::{Backends, Identity, LoggedIn, Login, Question, Verdict, reason};
use crate::catalogue::{Catalogue, Command, Definition, Map, RecordError, Vhost, VhostMetadata};
use crate::connections::{
    Activity, Attempt, ChurnTally, Connected, Connections, Facts, LiveChannel, LoginTally, Protocol,
};
use crate::counters::{DeadLetterTally, SizeTally};
use crate::error::{Error, Resource, Result};
use crate::events::{Event, EventSink, Events, text};
use crate::flows::ChannelFlows;
use crate::ids::{MessageId, PageId, QueueId};
use crate::last::Last;
use crate::live_queue::{ConnectionId, DeadLettered, LiveQueue, Outbox};
use crate::login_sources::LoginSources;
use crate::mailbox::{self, CancelReason, Mailbox};
use crate::message::Message;
use crate::options::{Options, RatesMode};
use crate::paging::{LogPages, Paging, STREAMS};
use crate::principal::Principal;
use crate::publish::{Batch, Outcome};
use crate::queue::pages::PageStore;
use crate::queue::{Counts, Incoming, Kind, MessageFacts, Op, Recovered, Settings};
use crate::record;
use crate::reply_to::ReplyConsumers;
use crate::table::Table;
use crate::time::Timestamp;
use crate::timers::Timers;
use crate::users::{Access, PasswordHash, User, UserLimits};
use administration::ParameterWatch;
use listing::KnownRoll;

pub mod administration;
pub mod definitions;
pub mod firehose;
pub mod listing;
pub mod notices;
pub mod routing;

/// One node. See the module's page.
#[derive(Debug)]
pub struct Broker {
    pub options: Options,
    /// Who finds out who clients are; without any it is the catalogue.
    backends: OnceLock<Arc<dyn Backends>>,
    topology: RwLock<Topology>,
    /// Counts changes of the topology and of permissions; what channels remember of them is tagged with it.
    version: AtomicU64,
    pub(crate) log: Log,
    /// The same, as queues see it.
    pages: Arc<dyn PageStore>,
    pub paging: Paging,
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
    /// What lists of queues begin with.
    roll: Mutex<KnownRoll>,
    logins: [LoginTally; Protocol::ALL.len()],
    /// Where log-ins come from, whatever protocol they are by.
    pub login_sources: LoginSources,
    events: Arc<Events>,
    parameters: ParameterWatch,
    dead_letters: [DeadLetterTally; 3],
    message_sizes: SizeTally,
    /// The settings of the queue that was declared or configured last.
    last_settings: Mutex<Last<Settings>>,
    /// The arguments of the queue that was declared last.
    last_arguments: Mutex<Last<Table>>,
    /// In how many vhosts the firehose is on.
    traced_vhosts: AtomicUsize,
    /// Held by whoever appends messages of streams, until they are in their streams.
    stream_order: Mutex<()>,
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
    pub user: &'a Identity,
    pub mailbox: &'a Arc<Mailbox>,
    pub facts: Facts,
    pub activity: &'a Arc<Activity>,
}

/// What the log held at start, as `Log::open` gave it.
#[derive(Debug, Default)]
pub struct Restored {
    definitions: Vec<Definition>,
    /// In the order of the log.
    backlog: Vec<Stored>,
    messages: u64,
    last_message: Option<MessageId>,
    /// The first message that could not be read.
    damage: Option<StartError>,
    /// What [`CRASH`] said.
    crashed_through: Option<MessageId>,
    /// First offsets, as [`STREAMS`] said.
    streams: Vec<(QueueId, u64)>,
}

/// The log's table, beside those of the catalogue, for the last message that a crash left behind (number 0; the id, big
/// endian). Nobody knows which of the messages up to it had been handed out, and another restart does not change that.
const CRASH: u8 = 0;

/// What goes back into queues.
#[derive(Debug)]
enum Stored {
    /// A message that one queue holds, with what was noted of it there.
    Message {
        id: MessageId,
        owner: (u32, u64),
        message: Message,
        published_at: Timestamp,
    },
    /// Another queue holds the message before it as well.
    Also { owner: (u32, u64) },
    /// A page of a queue, with what was kept beside it.
    Page {
        page: PageId,
        owner: u32,
        /// Messages that are left.
        count: u32,
        ids: RangeInclusive<MessageId>,
        meta: Box<[u8]>,
    },
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
    #[error("page {id} in the log: {source}")]
    Page {
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
    pub fn take(&mut self, restored: storage::Restored<'_>) {
        match restored {
            storage::Restored::Definition {
                table: CRASH,
                bytes,
                ..
            } => {
                let id = bytes
                    .first_chunk()
                    .map(|id| MessageId(u64::from_be_bytes(*id)));
                self.crashed_through = id;
            }
            storage::Restored::Definition {
                table: STREAMS,
                id,
                bytes,
            } => {
                let id = u32::try_from(id).map(QueueId).ok();
                let first = bytes.first_chunk().map(|first| u64::from_be_bytes(*first));
                self.streams.extend(id.zip(first));
            }
            storage::Restored::Definition { table, id, bytes } => {
                self.definitions.push(Definition {
                    table,
                    id,
                    bytes: bytes.to_vec(),
                });
            }
            storage::Restored::Record { key, owners, bytes } => {
                self.take_message(MessageId(key), owners, bytes);
            }
            storage::Restored::Page {
                page,
                owner,
                meta,
                count,
                first_key,
                last_key,
            } => {
                self.messages += u64::from(count);
                let ids = MessageId(first_key)..=MessageId(last_key);
                self.last_message = self.last_message.max(Some(*ids.end()));
                self.backlog.push(Stored::Page {
                    page: PageId(page.0),
                    owner,
                    count,
                    ids,
                    meta: meta.into(),
                });
            }
        }
    }

    /// The message is made at once, so that it is never in memory twice.
    fn take_message(&mut self, id: MessageId, owners: &[(u32, u64)], bytes: &[u8]) {
        let (message, published_at) = match record::read(bytes) {
            Ok(read) => read,
            Err(source) => {
                let damage = StartError::Message { id: id.0, source };
                self.damage.get_or_insert(damage);
                return;
            }
        };
        self.messages += 1;
        self.last_message = self.last_message.max(Some(id));
        let mut owners = owners.iter().copied();
        if let Some(owner) = owners.next() {
            self.backlog.push(Stored::Message {
                id,
                owner,
                message,
                published_at,
            });
        }
        self.backlog
            .extend(owners.map(|owner| Stored::Also { owner }));
    }

    /// How many messages there are.
    pub fn message_count(&self) -> u64 {
        self.messages
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
        if let Some(damage) = restored.damage {
            return Err(damage);
        }
        let catalogue = Catalogue::restore(restored.definitions)?;
        let waiting_for_log: Arc<Mutex<Vec<Arc<Mailbox>>>> = Arc::default();
        let waiting = waiting_for_log.clone();
        log.on_durable(Box::new(move |_| {
            for mailbox in std::mem::take(&mut *waiting.lock()) {
                mailbox.poke();
            }
        }));
        let broker = Self {
            pages: Arc::new(LogPages(log.clone())),
            paging: Paging::new(options.backlog_bytes_max),
            options,
            backends: OnceLock::new(),
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
            roll: Mutex::default(),
            logins: Default::default(),
            login_sources: LoginSources::default(),
            events: Arc::default(),
            parameters: ParameterWatch::default(),
            dead_letters: Default::default(),
            message_sizes: SizeTally::default(),
            last_settings: Mutex::default(),
            last_arguments: Mutex::default(),
            traced_vhosts: AtomicUsize::new(0),
            stream_order: Mutex::default(),
        };
        broker.start_queues(now)?;
        let crashed_through = broker.note_crash(restored.last_message, restored.crashed_through);
        if let Some(last) = restored.last_message {
            broker.expect_recovered(last, now);
        }
        broker.begin_streams(&restored.streams, now);
        broker.restore_backlog(restored.backlog, crashed_through, now)?;
        if !broker.options.starts_blank && broker.topology.read().catalogue.is_blank() {
            broker.define_defaults().map_err(StartError::First)?;
        }
        Ok(Arc::new(broker))
    }

    /// Tells `sink` of everything that happens from now on; `false`: there is one already.
    pub fn set_event_sink(&self, sink: Arc<dyn EventSink>) -> bool {
        self.events.set(sink)
    }

    pub(crate) fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Notes that somebody has logged in, or was not let in.
    pub fn note_login(&self, login: &Attempt<'_>) {
        self.logins[login.protocol as usize].count(login.succeeded);
        let (protocol, address) = (login.protocol.short_name(), login.peer.ip());
        self.login_sources
            .note(protocol, address, login.user, login.succeeded);
        self.events.tell(|| login.event());
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

    /// Has all logins decided by others from now on.
    pub fn use_backends(&self, backends: Arc<dyn Backends>) {
        let _ = self.backends.set(backends);
    }

    /// Who somebody is. `None`: that takes a while, and comes as [`mailbox::Event::LoggedIn`].
    pub fn log_in(&self, login: Login) -> Option<Option<Identity>> {
        if let Some(backends) = self.backends.get() {
            let mailbox = login.mailbox.clone();
            let answer = move |identity| mailbox.put(mailbox::Event::LoggedIn(identity));
            backends.log_in(login, Box::new(answer));
            return None;
        }
        Some(self.known_identity(&login))
    }

    /// The same for whoever is not a connection: `answer` is called now, or later and from another thread.
    pub fn find_out(&self, login: Login, answer: LoggedIn) {
        match self.backends.get() {
            Some(backends) => backends.log_in(login, answer),
            None => answer(self.known_identity(&login)),
        }
    }

    /// Has whoever decides logins forget the answers that are kept.
    pub fn forget_answers(&self) {
        if let Some(backends) = self.backends.get() {
            backends.forget_answers();
        }
    }

    /// Who somebody is by the catalogue.
    fn known_identity(&self, login: &Login) -> Option<Identity> {
        let loopback = login.address.is_loopback();
        let user = match &login.password {
            Some(password) => self.authenticate(&login.user, password, loopback),
            None => self.authenticated(&login.user, loopback),
        };
        user.map(Identity::from)
    }

    /// What a client may do has changed outside of the catalogue: what channels remember of it does not count, and its
    /// consumers that may not read any more are cancelled.
    pub fn permissions_have_changed(&self, by: &Principal, now: Timestamp) {
        self.version.fetch_add(1, Ordering::AcqRel);
        let mut outbox = Outbox::default();
        let topology = self.topology.read();
        let Ok(vhost) = topology.vhost(by) else {
            return;
        };
        for queue in vhost.queue_ids().filter_map(|id| topology.queues.get(&id)) {
            let resource = Resource::queue(queue.name(), &by.vhost_name);
            let allowed = topology.check(by, Access::Read, resource);
            if matches!(allowed, Err(Error::AccessRefused(_))) {
                let is_theirs = |connection| connection == by.connection;
                queue.cancel_consumers(is_theirs, CancelReason::AccessRefused, now, &mut outbox);
            }
        }
        drop(topology);
        self.finish(&mut outbox, now);
    }

    /// The user that anonymous clients are.
    pub fn anonymous(&self, loopback: bool) -> Option<User> {
        let name = self.options.anonymous_user.as_deref()?;
        self.authenticate(name, &self.options.anonymous_pass, loopback)
    }

    /// A user whose identity is known without a password, such as by a certificate.
    pub fn authenticated(&self, name: &str, loopback: bool) -> Option<User> {
        let topology = self.topology.read();
        let user = topology.catalogue.user(name)?;
        self.may_log_in_from(&user.name, loopback)
            .then(|| user.clone())
    }

    /// Some users may come from this machine only.
    pub fn may_log_in_from(&self, user: &str, loopback: bool) -> bool {
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
        let topology = self.topology.read();
        let found = self.admitted(&topology, user, vhost)?;
        let principal = Arc::new(Principal {
            user: user.name.clone(),
            impersonator: user.has_tag("impersonator"),
            vhost: found.id,
            vhost_name: found.name.clone(),
            connection,
            authority: user.authority.clone(),
            made_up: Mutex::default(),
        });
        let entry = Connected {
            mailbox: mailbox.clone(),
            principal: principal.clone(),
            facts: Arc::new(facts),
            activity: activity.clone(),
            channels: BTreeMap::new(),
            exclusive: Vec::new(),
        };
        let mut connections = self.connections.lock();
        if let Some(reason) = &connections.refusal {
            return Err(Error::ConnectionForced(reason.to_string()));
        }
        self.events.tell(|| entry.created(&self.options.node_name));
        connections.open.insert(connection, entry);
        drop(connections);
        ChurnTally::count(&self.churn.connection_created);
        Ok(principal)
    }

    /// C13, in RabbitMQ's order.
    fn admitted<'a>(
        &self,
        topology: &'a Topology,
        user: &Identity,
        vhost: &str,
    ) -> Result<&'a Vhost> {
        let refused = |text| Err(Error::NotAllowed(text));
        let connections = self.connections.lock();
        if let Some(limit) = self.options.connections_max
            && connections.open.len() >= limit
        {
            return refused(format!(
                "connection refused: node connection limit ({limit}) is reached"
            ));
        }
        let Some(found) = topology.catalogue.vhost(vhost) else {
            return refused(format!("vhost {vhost} not found"));
        };
        let name = &user.name;
        if let Some(limit) = limit(found.limits.connections_max)
            && connections.count(|entry| entry.principal.vhost == found.id) >= limit
        {
            return refused(format!(
                "access to vhost '{vhost}' refused for user '{name}': connection limit ({limit}) is reached"
            ));
        }
        let limits = topology.catalogue.user(name).map(|user| user.limits);
        if let Some(limit) = limits.and_then(|limits| limit(limits.connections_max))
            && connections.count(|entry| entry.principal.user == *name) >= limit
        {
            return refused(format!(
                "connection refused for user '{name}': user connection limit ({limit}) is reached"
            ));
        }
        topology.check_vhost(user, &found.name)?;
        Ok(found)
    }

    /// Whether somebody may connect to this vhost; `None`: there is none of that name.
    pub fn may_connect(&self, who: &Identity, vhost: &str) -> Option<Verdict> {
        let topology = self.topology.read();
        let vhost = topology.catalogue.vhost(vhost)?;
        Some(topology.access_to_vhost(who, &vhost.name))
    }

    /// 530 unless somebody may use this vhost.
    pub fn check_vhost(&self, user: &Identity, vhost: &str) -> Result<()> {
        self.topology.read().check_vhost(user, vhost)
    }

    /// The connection has ended: its exclusive queues go.
    pub fn disconnect(&self, connection: ConnectionId) {
        let Some((entry, channels)) = self.connections.lock().remove(connection) else {
            return;
        };
        ChurnTally::count(&self.churn.connection_closed);
        for (number, channel) in channels {
            ChurnTally::count(&self.churn.channel_closed);
            self.events.tell(|| entry.channel_closed(number, &channel));
        }
        self.events.tell(|| entry.closed(&self.options.node_name));
        for queue in entry.exclusive {
            self.remove_queue(&queue, None, |_| true);
        }
    }

    /// Notes a channel that has been opened, unless that is one too many (C19). One of an operator, or of a connection that
    /// is gone already, is noted nowhere.
    pub(crate) fn open_channel(&self, by: &Principal, number: u16) -> Result<Arc<LiveChannel>> {
        let limits = {
            let topology = self.topology.read();
            topology.catalogue.user(&by.user).map(|user| user.limits)
        };
        let detailed = self.options.rates_mode == RatesMode::Detailed;
        let flows = detailed.then(Box::<ChannelFlows>::default);
        let channel = Arc::new(LiveChannel::new(flows));
        let mut connections = self.connections.lock();
        if let Some(limit) = limits.and_then(|limits| limit(limits.channels_max))
            && connections.channels_of(&by.user) >= limit
        {
            return Err(Error::NotAllowed(format!(
                "number of channels opened for user '{}' has reached the maximum allowed user limit of {limit}",
                by.user
            )));
        }
        if let Some(limit) = self.options.channels_max
            && connections.channels() >= limit
        {
            return Err(Error::NotAllowed(format!(
                "number of channels opened on node '{}' has reached the maximum allowed limit of {limit}",
                self.options.node_name
            )));
        }
        if let Some(entry) = connections.add_channel(by.connection, number, &channel) {
            ChurnTally::count(&self.churn.channel_created);
            self.events.tell(|| entry.channel_created(number));
        }
        Ok(channel)
    }

    /// The channel has ended. Saying it again changes nothing.
    pub(crate) fn close_channel(&self, by: &Principal, number: u16, channel: &Arc<LiveChannel>) {
        let mut connections = self.connections.lock();
        if let Some(entry) = connections.retire(by.connection, number, channel) {
            ChurnTally::count(&self.churn.channel_closed);
            self.events.tell(|| entry.channel_closed(number, channel));
        }
    }

    /// `peer:port -> local:port`; empty: nobody is there who has addresses.
    pub(crate) fn connection_name(&self, connection: ConnectionId) -> String {
        let connections = self.connections.lock();
        let entry = connections.open.get(&connection);
        entry.map_or_else(String::new, |entry| entry.facts.name.clone())
    }

    /// How many connections are open.
    pub fn connection_count(&self) -> usize {
        self.connections.lock().open.len()
    }

    /// Sets or clears a resource alarm and lets every connection know.
    pub fn set_alarm(&self, alarm: crate::alarm::Alarm, on: bool) {
        if self.alarms.set(alarm, on) {
            let name = if on { "alarm.set" } else { "alarm.cleared" };
            let node = &self.options.node_name;
            let about = || [("source", text(alarm.name())), ("node", text(node))];
            self.events.tell(|| Event::new(name, about()));
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
        // In a stream the order of the log is the order of its offsets, also after a restart.
        let _order = batch.fills_stream().then(|| self.stream_order.lock());
        batch.commit(&self.log, &self.message_sizes, now, outbox, outcome);
    }

    /// Does what drives of queues have left to be done. No lock may be held.
    pub fn finish(&self, outbox: &mut Outbox, now: Timestamp) {
        while !outbox.is_empty() {
            for (mailbox, durable_at) in outbox.summoned.drain(..) {
                self.wait_for_log(&mailbox);
                if self.durable() >= durable_at {
                    mailbox.poke();
                }
            }
            for (at, queue) in outbox.timers.drain(..) {
                self.timers.add(at, queue);
            }
            self.paging.add(std::mem::take(&mut outbox.resident));
            for queue in outbox.crowded.drain(..) {
                self.paging.add_crowded(&queue);
            }
            // The new record of a dead message is in the log before the old one goes.
            let dead: Vec<DeadLettered> = outbox.dead_letters.drain(..).collect();
            let releases = std::mem::take(&mut outbox.releases);
            let counts = std::mem::take(&mut outbox.counts);
            let pages = std::mem::take(&mut outbox.dropped_pages);
            self.dead_letter(dead, now, outbox);
            self.log_changes(releases, counts);
            self.drop_pages(pages);
            for queue in std::mem::take(&mut outbox.deletions) {
                self.remove_queue(&queue, None, |_| true);
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

    /// Lets pages go, with all that is in them.
    pub(crate) fn drop_pages(&self, pages: impl IntoIterator<Item = PageId>) {
        let mut records = Records::default();
        for page in pages {
            records.drop_page(storage::PageId(page.0));
        }
        if !records.is_empty() {
            self.log.append(&mut records);
        }
    }

    /// Makes the queues that the catalogue names.
    fn start_queues(&self, now: Timestamp) -> std::result::Result<(), StartError> {
        let mut topology = self.topology.write();
        let Topology { catalogue, queues } = &mut *topology;
        for vhost in catalogue.vhosts() {
            for (id, declaration) in vhost.queues() {
                let resource = Resource::queue(&declaration.name, &vhost.name);
                arguments::queue_type(resource, &declaration.arguments)
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
                let applied = vhost.applied_to_queue(&declaration.name);
                let applied = applied.cloned().unwrap_or_default();
                let effective = self.effective(declaration, &applied);
                let vhost = (vhost.id, vhost.name.clone());
                let queue = LiveQueue::new(
                    id,
                    vhost,
                    declaration.clone(),
                    effective,
                    applied,
                    self.pages.clone(),
                    now,
                );
                queues.insert(id, Arc::new(queue));
            }
        }
        Ok(())
    }

    /// The last message of which a crash, now or earlier, left it unknown whether it had been handed out.
    fn note_crash(&self, last: Option<MessageId>, earlier: Option<MessageId>) -> Option<MessageId> {
        let last = match last {
            Some(last) if !self.log.was_clean() => last,
            _ => return earlier,
        };
        let mut records = Records::default();
        records.define(CRASH, 0, &last.0.to_be_bytes());
        self.log.append(&mut records);
        Some(last)
    }

    fn expect_recovered(&self, last: MessageId, now: Timestamp) {
        let mut outbox = Outbox::default();
        for queue in self.topology.read().queues.values() {
            if let Ok(mut drive) = queue.drive(now, &mut outbox) {
                drive.expect_recovered(last);
            }
        }
    }

    /// Has every stream count from where it began. What the log knows of streams that are gone is forgotten.
    fn begin_streams(&self, first_offsets: &[(QueueId, u64)], now: Timestamp) {
        let mut outbox = Outbox::default();
        let mut gone = Records::default();
        let topology = self.topology.read();
        for (id, first) in first_offsets {
            match topology
                .queues
                .get(id)
                .map(|queue| queue.drive(now, &mut outbox))
            {
                Some(Ok(mut drive)) => drive.begin_at(*first),
                _ => gone.undefine(STREAMS, id.0.into()),
            }
        }
        if !gone.is_empty() {
            self.log.append(&mut gone);
        }
    }

    /// Puts the messages and pages of the log back into their queues, in the log's order.
    fn restore_backlog(
        &self,
        backlog: Vec<Stored>,
        crashed_through: Option<MessageId>,
        now: Timestamp,
    ) -> std::result::Result<(), StartError> {
        let mut outbox = Outbox::default();
        let topology = self.topology.read();
        // Where it is not known whether a message had been handed out, the flag must not be missing. That goes for pages,
        // too: one may have been taken back and handed out just before the crash, and the log may not say so.
        let may_be_known = |id| crashed_through.is_some_and(|last| id <= last);
        let mut last = None;
        for stored in backlog {
            match stored {
                Stored::Message {
                    id,
                    owner,
                    message,
                    published_at,
                } => {
                    let facts = MessageFacts::of(&message);
                    let incoming = Incoming {
                        redelivered: may_be_known(id),
                        ..Incoming::new(message, id, facts)
                    };
                    restore_message(&topology, owner, &incoming, published_at, now, &mut outbox);
                    last = Some((incoming, published_at));
                }
                Stored::Also { owner } => {
                    if let Some((incoming, published_at)) = &last {
                        restore_message(
                            &topology,
                            owner,
                            incoming,
                            *published_at,
                            now,
                            &mut outbox,
                        );
                    }
                }
                Stored::Page {
                    page,
                    owner,
                    count,
                    ids,
                    meta,
                } => {
                    // As with messages: its queue may be gone.
                    let queue = topology.queues.get(&QueueId(owner));
                    let Some(queue) = queue.filter(|_| count > 0) else {
                        outbox.dropped_pages.push(page);
                        continue;
                    };
                    if let Ok(mut drive) = queue.drive(now, &mut outbox) {
                        let crashed = may_be_known(*ids.end());
                        let recovered = drive.recover_page(page, &meta, ids, crashed);
                        recovered.map_err(|source| StartError::Page { id: page.0, source })?;
                    }
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
    fn define_defaults(&self) -> std::result::Result<Option<Lsn>, crate::catalogue::ApplyError> {
        let default = &self.options.first;
        let salt = ((self.options.random)() as u32).to_be_bytes();
        let vhost: Arc<str> = default.vhost.as_str().into();
        let user: Arc<str> = default.user.as_str().into();
        let commands = [
            Command::AddVhost {
                name: vhost.clone(),
                metadata: VhostMetadata::default(),
            },
            Command::PutUser(User {
                name: user.clone(),
                password: PasswordHash::new(&default.password, salt),
                tags: default.tags.clone(),
                limits: UserLimits::default(),
            }),
            Command::PutPermissions {
                user,
                vhost,
                permissions: default.permissions.clone(),
            },
        ];
        let mut topology = self.topology.write();
        let mut durable_at = None;
        for command in commands {
            let (_, at) = self.apply(&mut topology, command, None)?;
            durable_at = durable_at.max(at);
        }
        Ok(durable_at)
    }
}

/// Puts a message of the log back into one of its queues.
fn restore_message(
    topology: &Topology,
    (owner, noted): (u32, u64),
    incoming: &Incoming,
    published_at: Timestamp,
    now: Timestamp,
    outbox: &mut Outbox,
) {
    // An owner that is no queue: the crash came between the queue's end and its last records. They must not wait for a
    // queue that is given the same number.
    let Some(queue) = topology.queues.get(&QueueId(owner)) else {
        return outbox.releases.push((QueueId(owner), incoming.id));
    };
    let counts = counts(noted);
    if let Ok(mut drive) = queue.drive(now, outbox) {
        drive.apply(Op::Recover(Recovered {
            incoming: Incoming {
                redelivered: incoming.redelivered || counts != Counts::default(),
                ..incoming.clone()
            },
            published_at,
            counts,
        }));
    }
}

/// A limit that an operator has set. A negative one is none.
fn limit(limit: Option<i64>) -> Option<usize> {
    limit.and_then(|limit| usize::try_from(limit).ok())
}

impl Topology {
    fn access_to_vhost(&self, user: &Identity, vhost: &str) -> Verdict {
        let is_known = || {
            let vhost: Arc<str> = vhost.into();
            self.catalogue.permissions(&user.name, &vhost).is_some()
        };
        match &user.authority {
            Some(authority) => authority.decide(Question::Vhost { vhost }),
            None if is_known() => Verdict::Allow,
            None => Verdict::Deny,
        }
    }

    fn check_vhost(&self, user: &Identity, vhost: &str) -> Result<()> {
        match self.access_to_vhost(user, vhost) {
            Verdict::Allow => Ok(()),
            Verdict::Wait => Err(Error::Undecided(format!("vhost '{vhost}'"))),
            Verdict::Deny => Err(Error::NotAllowed(format!(
                "access to vhost '{vhost}' refused for user '{}'{}",
                user.name,
                reason(user.authority.as_ref())
            ))),
        }
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
