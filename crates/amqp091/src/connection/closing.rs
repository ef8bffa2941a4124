//! The end of a channel or of the connection: what it held goes back, and the client is told why.

use std::sync::atomic::Ordering;

use leveret_broker::mailbox::{self, Event};
use leveret_broker::time::Timestamp;

use super::{CLOSE_TIMEOUT_MS, Connection, LINGER_MS, PARTING_MS, Phase, put};
use crate::channel::Channel;
use crate::fault::Fault;
use crate::method::{self, Method};
use crate::reply_code::{ReplyCode, Scope};

impl Connection {
    /// Ends what a channel does in the broker. The channel itself may stay until the client has agreed.
    pub(super) fn end_channel(&mut self, number: u16, now: Timestamp) {
        let Some(channel) = self.channels.get_mut(&number) else {
            return;
        };
        channel.stop_consuming(&self.broker, now, &mut self.turn.outbox);
        self.absorb_events(now);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.end(&self.broker, now, &mut self.turn.outbox);
        }
        self.broker.finish(&mut self.turn.outbox, now);
    }

    /// Notes deliveries that will never be sent, to channels that have stopped, as unsettled, so that they go back. Notices
    /// for such channels go too: the next channel of that number counts its consumers from 1 again.
    pub(super) fn absorb_events(&mut self, now: Timestamp) {
        self.mailbox.take_now(&mut self.events);
        let mut bytes = 0;
        let channels = &mut self.channels;
        self.events.retain(|event| {
            let (Event::Deliver { channel, .. } | Event::Cancelled { channel, .. }) = event else {
                return true;
            };
            let Some(channel) = channels.get_mut(channel).filter(|it| it.has_stopped()) else {
                return true;
            };
            bytes += mailbox::weight(event);
            if let Event::Deliver {
                consumer, delivery, ..
            } = event
            {
                channel.absorb(*consumer, delivery);
            }
            false
        });
        self.relieve(bytes, now);
    }

    /// Ends what the connection does and holds in the broker, its exclusive queues among it. Comes before any word of
    /// the end goes out: a client that hears it may come back at once and declare the same queues.
    pub(super) fn give_back(&mut self, now: Timestamp) {
        self.flush_into_queues(now);
        for channel in self.channels.values_mut() {
            channel.stop_consuming(&self.broker, now, &mut self.turn.outbox);
        }
        self.absorb_events(now);
        let mut channels: Vec<(u16, Box<Channel>)> = self.channels.drain().collect();
        channels.sort_unstable_by_key(|(number, _)| *number);
        for (_, mut channel) in channels {
            channel.end(&self.broker, now, &mut self.turn.outbox);
        }
        self.broker.finish(&mut self.turn.outbox, now);
        self.broker.disconnect(self.id);
    }

    /// The client has closed the connection.
    pub(super) fn closed_by_client(&mut self, now: Timestamp) {
        self.flush(now);
        self.give_back(now);
        if self.client.hates_haste {
            let until = now.plus_ms(PARTING_MS);
            self.phase = Phase::Parting { until };
        } else {
            self.part(now);
        }
    }

    /// Agrees to the end. The client closes the socket: clients that share a connection between threads may still be
    /// using it.
    pub(super) fn part(&mut self, now: Timestamp) {
        put(&mut self.output, 0, method::ConnectionCloseOk {});
        self.phase = Phase::Lingering {
            until: now.plus_ms(CLOSE_TIMEOUT_MS),
        };
    }

    /// An error on a channel: closes it, or the connection, as the code says.
    pub(super) fn fail_on(&mut self, number: u16, fault: Fault, now: Timestamp) {
        if fault.is_undecided() {
            self.parked = true;
            return;
        }
        if fault.scope() == Scope::Connection {
            return self.fail(&fault, now);
        }
        self.flush(now);
        tracing::info!(
            connection = %self.peer.name, channel = number, code = fault.code.code(), error = fault.text(),
            "channel closed with an error"
        );
        let text = fault.text();
        self.end_channel(number, now);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.close();
        }
        let close = method::ChannelClose {
            reply_code: fault.code.code(),
            reply_text: text.as_bytes(),
            class_id: fault.method.0,
            method_id: fault.method.1,
        };
        Method::ChannelClose(close).encode(number, self.output.buffer());
    }

    /// An error of the connection: closes it.
    pub(super) fn fail(&mut self, fault: &Fault, now: Timestamp) {
        if matches!(
            self.phase,
            Phase::Closing { .. }
                | Phase::Parting { .. }
                | Phase::Lingering { .. }
                | Phase::Finished
        ) {
            // We have said goodbye already; this is not a connection any more.
            self.phase = Phase::Finished;
            return;
        }
        self.give_back(now);
        self.follow_log();
        tracing::info!(
            connection = %self.peer.name, code = fault.code.code(), error = fault.text(),
            "connection closed with an error"
        );
        let text = fault.text();
        let close = method::ConnectionClose {
            reply_code: fault.code.code(),
            reply_text: text.as_bytes(),
            class_id: fault.method.0,
            method_id: fault.method.1,
        };
        Method::ConnectionClose(close).encode(0, self.output.buffer());
        // Behind a broken frame there is no telling where the next one starts.
        let (framing, wait_ms) = (fault.code == ReplyCode::FrameError, CLOSE_TIMEOUT_MS);
        self.activity.closing.store(true, Ordering::Relaxed);
        self.phase = if framing {
            Phase::Lingering {
                until: now.plus_ms(LINGER_MS),
            }
        } else {
            Phase::Closing {
                until: now.plus_ms(wait_ms),
            }
        };
    }
}
