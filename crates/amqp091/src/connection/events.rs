//! What comes from the node: deliveries, cancellations, forced closes; encoded as far as the output has room.

use leveret_broker::mailbox::{self, CancelReason, ConsumerKey, Event};
use leveret_broker::message::Message;
use leveret_broker::queue::Delivery;
use leveret_broker::time::Timestamp;

use super::{Connection, Phase, put};
use crate::fault::Fault;
use crate::method::{self, Method};
use crate::output::Output;
use crate::reply_code::ReplyCode;

/// The output of so many events hardly grows.
const FEW: usize = 4;

impl Connection {
    /// Encodes events until `limit` octets of output wait.
    pub(super) fn dispatch(&mut self, limit: usize, now: Timestamp) {
        let mut bytes = 0;
        if self.events.len() > FEW {
            self.output.prepare();
        }
        self.intercepts = match &self.phase {
            Phase::Running(by) => {
                self.broker.options.interceptors.sent_time || self.broker.is_traced(by)
            }
            _ => false,
        };
        while self.output.pending() < limit {
            if !self.intercepts
                && let Some(&Event::Deliver {
                    channel, consumer, ..
                }) = self.events.front()
            {
                bytes += self.put_deliveries(channel, consumer, limit);
                continue;
            }
            let Some(event) = self.events.pop_front() else {
                break;
            };
            bytes += mailbox::weight(&event);
            self.event(event, now);
        }
        self.relieve(bytes, now);
    }

    /// Encodes the next deliveries, as far as they are for this consumer, until `limit` octets of output wait. Gives what
    /// they weighed.
    fn put_deliveries(&mut self, number: u16, key: ConsumerKey, limit: usize) -> usize {
        let mut bytes = 0;
        let events = &mut self.events;
        let is_next = |event: &Event| match event {
            Event::Deliver {
                channel, consumer, ..
            } => (*channel, *consumer) == (number, key),
            _ => false,
        };
        let mut next = |output: &Output| {
            if output.pending() >= limit || !events.front().is_some_and(is_next) {
                return None;
            }
            let event = events.pop_front()?;
            bytes += mailbox::weight(&event);
            match event {
                Event::Deliver { delivery, .. } => Some(delivery),
                _ => None,
            }
        };
        match self.channels.get_mut(&number) {
            Some(channel) => channel.put_deliveries(key, next, &mut self.output),
            None => while next(&self.output).is_some() {},
        }
        bytes
    }

    pub(super) fn relieve(&mut self, bytes: usize, now: Timestamp) {
        for (queue, consumer) in self.mailbox.relieve(bytes) {
            queue.resume(consumer, now, &mut self.turn.outbox);
        }
    }

    pub(super) fn event(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Deliver {
                channel,
                consumer,
                delivery,
            } => {
                self.put_intercepted(channel, consumer, delivery, now);
            }
            Event::Cancelled {
                channel,
                consumer,
                why,
            } => self.cancelled(channel, consumer, why, now),
            Event::LoggedIn(identity) => self.logged_in(identity, now),
            Event::SecretRenewed(result) => self.secret_renewed(result, now),
            Event::Close(reason) => {
                let fault = Fault::new(ReplyCode::ConnectionForced, &*reason);
                self.fail(&fault, now);
            }
        }
    }

    /// A delivery that may be copied to the firehose, or in which it is noted when it was sent.
    #[cold]
    fn put_intercepted(
        &mut self,
        number: u16,
        consumer: ConsumerKey,
        mut delivery: Delivery,
        now: Timestamp,
    ) {
        let is_traced = match &self.phase {
            Phase::Running(by) => self.broker.is_traced(by),
            _ => false,
        };
        if let Some(channel) = self.channels.get(&number).filter(|_| is_traced) {
            let outbox = &mut self.turn.outbox;
            channel.trace_delivery(&self.broker, consumer, &delivery, now, outbox);
        }
        let interceptors = &self.broker.options.interceptors;
        if let Some(message) = interceptors.outgoing(&delivery.message, now) {
            delivery.message = message;
        }
        if let Some(channel) = self.channels.get_mut(&number) {
            let mut delivery = Some(delivery);
            channel.put_deliveries(consumer, |_| delivery.take(), &mut self.output);
        }
    }

    /// The broker has taken a consumer away (H14).
    pub(super) fn cancelled(
        &mut self,
        number: u16,
        consumer: ConsumerKey,
        why: CancelReason,
        now: Timestamp,
    ) {
        let Some(channel) = self.channels.get_mut(&number) else {
            return;
        };
        let Some(tag) = channel.cancelled(consumer) else {
            return;
        };
        if self.client.told_of_cancels {
            put(
                &mut self.output,
                number,
                method::BasicCancel {
                    consumer_tag: &tag,
                    no_wait: true,
                },
            );
        } else if let CancelReason::TimedOut { timeout_ms } = why {
            let fault = Fault::new(
                ReplyCode::PreconditionFailed,
                format!(
                    "delivery acknowledgement on channel {number} timed out. Timeout value used: {timeout_ms} ms. \
                     This timeout value can be configured, see consumers doc guide to learn more"
                ),
            );
            self.fail_on(number, fault, now);
        }
    }

    pub(super) fn put_return(&mut self, number: u16, message: &Message) {
        let code = ReplyCode::NoRoute;
        put(
            &mut self.output,
            number,
            method::BasicReturn {
                reply_code: code.code(),
                reply_text: code.name().as_bytes(),
                exchange: message.exchange(),
                routing_key: message.routing_key(),
            },
        );
        crate::channel::put_content(&mut self.output, number, message, self.client.frame_max);
    }

    /// `basic.cancel`: no queue hands anything more to the consumer, and what it was handed is sent.
    pub(super) fn stop_consumer(&mut self, number: u16, method: &Method<'_>, now: Timestamp) {
        let Method::BasicCancel(cancel) = method else {
            return;
        };
        let Some(channel) = self.channels.get_mut(&number) else {
            return;
        };
        channel.stop_consumer(
            &self.broker,
            cancel.consumer_tag,
            now,
            &mut self.turn.outbox,
        );
        self.mailbox.take_now(&mut self.events);
        self.dispatch(usize::MAX, now);
    }
}
