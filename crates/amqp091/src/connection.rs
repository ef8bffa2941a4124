//! One client connection as a state machine: the server feeds it what the socket has and writes what it leaves in its
//! [`Output`].
//!
//! ```text
//!              header      start-ok        tune-ok       open
//! Header ──────────▶ Starting ──▶ Tuning ────────▶ Opening ──▶ Running ──▶ Closing ──▶ Finished
//!    │                   │  refused, without a word                │ error, forced close   ▲ close-ok
//!    └ other protocol ───┴──────────────▶ Lingering ◀── Parting ◀──┴───────────────────────┤
//!                                             └────────────────────────────────────────────┘
//! ```
//!
//! Where others than the catalogue know who the client is, it waits in `Authenticating` before `Tuning`; and where they
//! decide what it may do, what it wants is *parked*: not consumed, until the mailbox is poked.
//!
//! Read in this order: this page (what the server calls, and what a turn brings to queues and log), `handshake` (up to
//! `Running`), `input` (frames), `events` (deliveries), `closing`; then `crate::channel` (what a channel does with its
//! methods and content).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use leveret_broker::Lsn;
use leveret_broker::authority::Identity;
use leveret_broker::broker::Broker;
use leveret_broker::channel::Settlements;
use leveret_broker::connections::{Activity, TlsFacts};
use leveret_broker::live_queue::{ConnectionId, Outbox};
use leveret_broker::mailbox::{Event, Mailbox};
use leveret_broker::principal::Principal;
use leveret_broker::publish::{Batch, Outcome, Receipt};
use leveret_broker::table::Table;
use leveret_broker::time::Timestamp;

use crate::channel::Channel;
use crate::fault::Fault;
use crate::frame;
use crate::method::{self, Method};
pub use crate::output::Output;
use crate::reply_code::ReplyCode;
use crate::sasl::Mechanism;
pub use handshake::RABBITMQ_VERSION;

mod closing;
mod events;
mod handshake;
mod input;

/// Deliveries wait in the mailbox while this much output is unwritten.
const OUTPUT_FULL: usize = 256 * 1024;
/// Input waits while this much output is unwritten: a client that asks and never reads.
const OUTPUT_STUCK: usize = 4 * 1024 * 1024;
/// How long the other side has to answer `connection.close`.
const CLOSE_TIMEOUT_MS: u64 = 30_000;
/// How long a connection is kept that is closed without a word, so that guessing passwords is slow (E21).
const LINGER_MS: u64 = 3_000;
/// Publishes that a connection may bring in one read while the consumers of its queues are behind. They share the thread with
/// it, and have but their prefetch for each of its turns.
const FAIR_PUBLISHES: usize = 64;

/// How long `connection.close-ok` is kept back from clients that are confused by a quick one.
const PARTING_MS: u64 = 2;

/// What the server knows of the other end.
#[derive(Debug, Clone)]
pub struct Peer {
    /// `peer:port -> local:port`, the connection's name in logs and the management UI.
    pub name: String,
    pub remote: SocketAddr,
    pub local: SocketAddr,
    pub tls: Option<Arc<TlsFacts>>,
    /// Who the client is by its certificate, if it has shown one that is trusted.
    pub certificate_user: Option<String>,
    /// Who it is, when it is a part of the node itself and needs to show nothing.
    pub identity: Option<Identity>,
}

impl Peer {
    /// A client at `remote` that has connected to `local`. An IPv4 client of an IPv6 socket is an IPv4 client, in names and
    /// for the loopback rule.
    pub fn new(remote: SocketAddr, local: SocketAddr) -> Self {
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (remote, local) = (canonical(remote), canonical(local));
        Self {
            name: format!("{remote} -> {local}"),
            remote,
            local,
            tls: None,
            certificate_user: None,
            identity: None,
        }
    }
}

/// What the server offers, and what it insists on. Names and defaults are those of `rabbitmq.conf`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `heartbeat`, seconds.
    pub heartbeat_s: u16,
    /// `frame_max`, octets.
    pub frame_max: u32,
    /// `initial_frame_max`, octets: until the client is logged in.
    pub initial_frame_max: u32,
    /// `channel_max`.
    pub channel_max: u16,
    /// `handshake_timeout`, ms.
    pub handshake_timeout_ms: u64,
    /// `auth_mechanisms`, in order of preference.
    pub mechanisms: Vec<Mechanism>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heartbeat_s: 60,
            frame_max: 131_072,
            initial_frame_max: 8192,
            channel_max: 2047,
            handshake_timeout_ms: 10_000,
            mechanisms: vec![Mechanism::Anonymous, Mechanism::AmqPlain, Mechanism::Plain],
        }
    }
}

/// One client connection. See the module's page.
#[derive(Debug)]
pub struct Connection {
    pub(crate) broker: Arc<Broker>,
    limits: Arc<Limits>,
    peer: Peer,
    id: ConnectionId,
    mailbox: Arc<Mailbox>,
    /// What listings show of its work.
    activity: Arc<Activity>,
    output: Output,
    phase: Phase,
    client: Client,
    channels: Channels,
    /// A body frame that has come in part.
    open_body: Option<OpenBody>,
    turn: Turn,
    /// Events taken from the mailbox and not dealt with yet.
    events: VecDeque<Event>,
    /// Channels with confirms that wait for the log.
    confirming: Vec<u16>,
    /// The mailbox is poked when the log becomes durable further.
    waits_for_log: bool,
    /// What the client wants next is still being decided; it waits, unconsumed, for the mailbox to be poked.
    parked: bool,
    /// What was not consumed can be now.
    resumed: bool,
    /// When what the client has shown at its login counts no more (C17).
    expires: Option<Timestamp>,
    /// An alarm holds this publisher: `Some(true)` when the client was told.
    blocked: Option<bool>,
    /// It fills queues faster than they are paged out, and is not read from meanwhile.
    outruns_pager: bool,
    /// What one read should bring at most, bytes.
    read_limit: usize,
    /// Deliveries are copied to the firehose or rewritten: how it was when events were last looked at.
    intercepts: bool,
    pulse: Pulse,
}

/// Boxed, since a table has room for more than it holds.
type Channels = hashbrown::HashMap<u16, Box<Channel>, foldhash::fast::FixedState>;

/// Where the connection is. See the module's page.
#[derive(Debug)]
enum Phase {
    Header,
    Starting,
    /// Others find out who this is, who says to be this.
    Authenticating(String),
    Tuning(Box<Identity>),
    Opening(Box<Identity>),
    Running(Arc<Principal>),
    /// `connection.close` was sent; only the answer is waited for.
    Closing {
        until: Timestamp,
    },
    /// The client has closed, and is told so at this time.
    Parting {
        until: Timestamp,
    },
    /// Nothing more is said or listened to, but the socket stays open for a while, or until the client closes it.
    Lingering {
        until: Timestamp,
    },
    Finished,
}

/// What the client said about itself.
#[derive(Debug, Default)]
struct Client {
    /// It wants to be told when its login fails (C07).
    told_of_refusal: bool,
    /// It wants `connection.blocked` (C15).
    told_of_blocks: bool,
    /// It wants `basic.cancel` (H14).
    told_of_cancels: bool,
    /// `connection_name` of its properties (C14).
    name: Option<String>,
    properties: Table,
    mechanism: &'static str,
    /// It takes a `connection.close-ok` that is quicker than its own event loop for the loss of the connection, and opens
    /// its channels again: aiormq 7, the AMQP part of aio-pika. RabbitMQ, which ends a process per channel first, never is.
    hates_haste: bool,
    frame_max: u32,
    channel_max: u16,
    user: Option<String>,
}

/// A body frame on `channel` of which `left` octets and the end are still to come.
#[derive(Debug, Clone, Copy)]
struct OpenBody {
    channel: u16,
    left: usize,
}

/// What one read of the socket brings together before it goes on to queues and log.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) batch: Batch,
    pub(crate) settlements: Settlements,
    pub(crate) outbox: Outbox,
}

/// Signs of life: what was written and read at the last look.
#[derive(Debug)]
struct Pulse {
    started: Timestamp,
    heartbeat_ms: u64,
    next_look: Timestamp,
    received: u64,
    received_before: u64,
    written_before: u64,
    /// Looks in a row at which nothing had been read.
    silent_looks: u8,
}

impl Connection {
    /// A connection that a client has just made.
    pub fn new(broker: Arc<Broker>, limits: Arc<Limits>, peer: Peer, now: Timestamp) -> Self {
        let id = broker.new_connection_id();
        let frame_max = limits.initial_frame_max;
        Self {
            broker,
            limits,
            peer,
            id,
            mailbox: Arc::default(),
            activity: Arc::default(),
            output: Output::default(),
            phase: Phase::Header,
            client: Client {
                frame_max,
                ..Client::default()
            },
            channels: Channels::default(),
            open_body: None,
            turn: Turn::default(),
            events: VecDeque::new(),
            confirming: Vec::new(),
            waits_for_log: false,
            parked: false,
            resumed: false,
            expires: None,
            blocked: None,
            outruns_pager: false,
            read_limit: usize::MAX,
            intercepts: false,
            pulse: Pulse {
                started: now,
                heartbeat_ms: 0,
                next_look: now,
                received: 0,
                received_before: 0,
                written_before: 0,
                silent_looks: 0,
            },
        }
    }

    /// Takes the bytes `block[range]`, which continue where the last call stopped consuming. Gives how many it consumed;
    /// the rest is the beginning of something whose end has not arrived, and must be handed in again at the front of
    /// the next block. The rest is shorter than the negotiated frame_max, and than 16 KiB unless it is the frame of a
    /// single method or content header.
    pub fn receive(&mut self, block: &Arc<[u8]>, range: Range<usize>, now: Timestamp) -> usize {
        self.note_received(range.len());
        let mut at = range.start;
        while at < range.end {
            match self.step(block, at..range.end, now) {
                Ok(0) => break,
                Ok(consumed) => at += consumed,
                Err(fault) => self.fail(&fault, now),
            }
        }
        let published = self.turn.batch.len();
        self.flush(now);
        self.limit_reads(range.len(), published);
        self.look_at_alarms();
        at.min(range.end) - range.start
    }

    /// So many bytes held so many publishes. Who outruns consumers is read from in smaller parts, that they get turns as often.
    fn limit_reads(&mut self, bytes: usize, published: usize) {
        let outruns = self.turn.outbox.take_outruns_consumers();
        self.read_limit = match bytes.checked_div(published) {
            Some(each) if outruns => each.max(1) * FAIR_PUBLISHES,
            _ => usize::MAX,
        };
    }

    /// What the next read should bring at most, bytes.
    pub fn read_limit(&self) -> usize {
        self.read_limit
    }

    fn note_received(&mut self, n: usize) {
        self.pulse.received += n as u64;
        self.activity.receives.add(1);
    }

    /// Whether what the next [`Self::poll_dispatch`] would encode may wait for a moment, if more may come in it.
    pub fn may_gather(&self) -> bool {
        self.events.is_empty() && self.mailbox.may_gather()
    }

    /// Takes what other parts of the node have for this connection (deliveries, confirms, forced close) and encodes it,
    /// as far as the output has room. `Pending` when there was nothing: the context's waker is called when there is.
    pub fn poll_dispatch(&mut self, context: &mut Context<'_>, now: Timestamp) -> Poll<()> {
        if self.events.is_empty() {
            ready!(self.mailbox.poll_take(context, &mut self.events));
            self.poked();
        } else if self.output.pending() >= OUTPUT_FULL {
            // Asked again when the socket has taken some of it. That may have to wait for the log.
            ready!(self.mailbox.poll_poked(context));
            self.poked();
        }
        self.dispatch(OUTPUT_FULL, now);
        self.flush(now);
        Poll::Ready(())
    }

    /// Tells listings how much came and went.
    fn note_activity(&self) {
        let activity = &self.activity;
        activity.received_bytes.set(self.pulse.received);
        activity.sent_bytes.set(self.output.total());
        activity.sends.set(self.output.writes());
        activity.send_pending.set(self.output.pending() as u64);
    }

    /// What is to be written to the socket.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Whether the server should read from the socket. Not while a resource alarm blocks a publisher or the pager has to catch
    /// up with it, nor while the client leaves its replies unread.
    pub fn wants_input(&self) -> bool {
        let is_free = self.blocked.is_none() && !self.outruns_pager;
        (is_free || !matches!(self.phase, Phase::Running(_)))
            && self.output.pending() < OUTPUT_STUCK
            && !self.parked
            && !matches!(self.phase, Phase::Authenticating(_))
            && !self.is_finished()
    }

    /// Whether what [`Self::receive`] did not consume is to be handed in again without waiting for more. Says so once.
    pub fn wants_rest(&mut self) -> bool {
        std::mem::take(&mut self.resumed)
    }

    /// When [`Self::tick`] has to be called, whatever else happens.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Header
            | Phase::Starting
            | Phase::Authenticating(_)
            | Phase::Tuning(_)
            | Phase::Opening(_) => {
                Some(self.pulse.started.plus_ms(self.limits.handshake_timeout_ms))
            }
            Phase::Closing { until } | Phase::Parting { until } | Phase::Lingering { until } => {
                Some(until)
            }
            Phase::Running(_) => {
                let next_look = (self.pulse.heartbeat_ms > 0).then_some(self.pulse.next_look);
                next_look.into_iter().chain(self.expires).min()
            }
            Phase::Finished => None,
        }
    }

    /// Time has passed: heartbeats and handshake limits.
    pub fn tick(&mut self, now: Timestamp) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            Phase::Running(_) if self.expires.is_some_and(|at| at <= now) => {
                let fault = Fault::new(ReplyCode::ConnectionForced, "credential expired");
                return self.fail(&fault, now);
            }
            Phase::Running(_) => return self.look_at_pulse(now),
            Phase::Parting { .. } => return self.part(now),
            Phase::Closing { .. } | Phase::Lingering { .. } => {}
            _ => tracing::info!(connection = %self.peer.name, "handshake timed out"),
        }
        self.phase = Phase::Finished;
    }

    /// The connection is over: the server writes what is left in the output and closes the socket.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }

    /// Its name in logs: `peer:port -> local:port`.
    pub fn name(&self) -> &str {
        &self.peer.name
    }

    /// The node wants the client to leave: `connection.close` with 320, `CONNECTION_FORCED - broker forced connection
    /// closure with reason '<reason>'`. A client that has not logged in yet is dropped at once.
    pub fn close(&mut self, reason: &str, now: Timestamp) {
        match self.phase {
            Phase::Running(_) => {
                let text = format!("broker forced connection closure with reason '{reason}'");
                self.fail(&Fault::new(ReplyCode::ConnectionForced, text), now);
            }
            Phase::Closing { .. } => {}
            _ => self.phase = Phase::Finished,
        }
    }

    /// The socket has gone, or the connection is finished and written: everything it held goes back.
    pub fn disconnected(&mut self, now: Timestamp) {
        self.phase = Phase::Finished;
        self.give_back(now);
    }

    /// Takes what this read brought into queues and log, and answers what can be answered.
    fn flush(&mut self, now: Timestamp) {
        self.flush_into_queues(now);
        self.follow_log();
        self.note_activity();
    }

    fn flush_into_queues(&mut self, now: Timestamp) {
        let Turn {
            batch,
            settlements,
            outbox,
        } = &mut self.turn;
        if !settlements.is_empty() {
            settlements.flush(now, outbox);
            for channel in self.channels.values_mut() {
                channel.credit_returned(now, outbox);
            }
        }
        if !batch.is_empty() {
            let (channels, confirming) = (&mut self.channels, &mut self.confirming);
            self.broker.commit(batch, now, outbox, |outcome| {
                note(channels, confirming, &outcome)
            });
        }
        self.broker.finish(outbox, now);
        if outbox.take_fills_crowded() && self.broker.paging.is_behind() && !self.outruns_pager {
            self.outruns_pager = true;
            self.broker.paging.wait_for_pager(&self.mailbox);
        }
    }

    /// Tells publishers what the log and the queues have taken.
    fn confirm(&mut self, durable: Lsn) {
        let (channels, output) = (&mut self.channels, &mut self.output);
        self.confirming.retain(|number| {
            let Some(channel) = channels.get_mut(number) else {
                return false;
            };
            channel.confirm(durable, output.buffer())
        });
    }

    /// Something outside has changed: an alarm, or how far the log is durable.
    fn poked(&mut self) {
        self.waits_for_log = false;
        self.resumed |= std::mem::take(&mut self.parked);
        self.outruns_pager &= self.broker.paging.is_behind();
        self.look_at_alarms();
        self.follow_log();
    }

    /// Lets out what the log is durable for, and asks to be woken when it is durable further, if anything waits for that.
    fn follow_log(&mut self) {
        let durable = self.broker.durable();
        self.output.release(durable);
        self.confirm(durable);
        let waits = self.output.is_held() || !self.confirming.is_empty();
        if !waits || self.waits_for_log {
            return;
        }
        self.waits_for_log = true;
        self.broker.wait_for_log(&self.mailbox);
        if self.broker.durable() != durable {
            // The log went on since it was looked at, maybe before it knew of us.
            self.mailbox.poke();
        }
    }

    /// Blocks or unblocks this publisher as the alarms say (C15).
    fn look_at_alarms(&mut self) {
        let reason = self.broker.alarms.reason();
        match (reason, self.blocked) {
            (Some(reason), None)
                if self
                    .channels
                    .values()
                    .any(|channel| channel.has_published()) =>
            {
                let tell = self.client.told_of_blocks;
                if tell {
                    put(
                        &mut self.output,
                        0,
                        method::ConnectionBlocked {
                            reason: reason.as_bytes(),
                        },
                    );
                }
                self.blocked = Some(tell);
                self.activity.blocked.store(true, Ordering::Relaxed);
            }
            (None, Some(told)) => {
                if told {
                    put(&mut self.output, 0, method::ConnectionUnblocked {});
                }
                self.blocked = None;
                self.activity.blocked.store(false, Ordering::Relaxed);
                for channel in self.channels.values_mut() {
                    channel.forget_publishing();
                }
            }
            _ => {}
        }
    }

    /// Looks twice per heartbeat interval whether both sides have shown signs of life (C11).
    fn look_at_pulse(&mut self, now: Timestamp) {
        let pulse = &mut self.pulse;
        pulse.next_look = now.plus_ms(pulse.heartbeat_ms / 2);
        let written = self.output.total();
        if written == pulse.written_before && self.output.pending() == 0 {
            self.output.buffer().extend_from_slice(&frame::HEARTBEAT);
            // Our own heartbeat is no reason to leave out the next one.
            pulse.written_before = written + frame::HEARTBEAT.len() as u64;
        } else {
            pulse.written_before = written;
        }
        // A blocked, parked or held connection is not read from, and can't show that it lives.
        let is_read = self.blocked.is_none() && !self.parked && !self.outruns_pager;
        if pulse.received != pulse.received_before || !is_read {
            pulse.received_before = pulse.received;
            pulse.silent_looks = 0;
            return;
        }
        pulse.silent_looks += 1;
        if pulse.silent_looks >= 4 {
            tracing::warn!(connection = %self.peer.name, "missed heartbeats from client");
            self.phase = Phase::Finished;
        }
    }
}

/// Notes how a publish ended on the channel it came from.
fn note(channels: &mut Channels, confirming: &mut Vec<u16>, outcome: &Outcome) {
    let Receipt::Confirm {
        channel: number,
        tag,
    } = outcome.receipt
    else {
        return;
    };
    let Some(channel) = channels.get_mut(&number) else {
        return;
    };
    channel.publish_ended(tag, outcome);
    if tag != 0 && confirming.last() != Some(&number) && !confirming.contains(&number) {
        confirming.push(number);
    }
}

/// Appends a method frame to the output.
pub(crate) fn put<'a>(output: &mut Output, channel: u16, method: impl Into<Method<'a>>) {
    method.into().encode(channel, output.buffer());
}
