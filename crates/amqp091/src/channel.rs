//! A channel of a connection: content is put together, methods become calls to the broker's channel, and its answers
//! become frames.

use std::sync::Arc;

use leveret_broker::Lsn;
use leveret_broker::broker::Broker;
use leveret_broker::channel::{self, Publish, Published, Settle, Settlements};
use leveret_broker::error::Error;
use leveret_broker::live_queue::Outbox;
use leveret_broker::mailbox::{ConsumerKey, Mailbox};
use leveret_broker::message::Message;
use leveret_broker::principal::Principal;
use leveret_broker::publish::Outcome;
use leveret_broker::queue::{Delivery, Return};
use leveret_broker::time::Timestamp;

use crate::connection::Turn;
use crate::content::{self, LastDelivery};
use crate::fault::Fault;
use crate::frame::{self, FrameType, OVERHEAD};
use crate::method::{self, Method};
use crate::output::Output;
use crate::reply_code::ReplyCode;

mod assembly;
mod body;
mod methods;

/// Class and number of `basic.publish`.
pub(crate) const PUBLISH: (u16, u16) = (60, 40);
/// Those of `basic.ack`.
pub(crate) const ACK: (u16, u16) = (60, 80);

use assembly::Assembly;
pub(crate) use assembly::{Alike, Content, Room};

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Channel {
    number: u16,
    frame_max: u32,
    core: channel::Channel,
    state: State,
    /// Boxed: most publishes come whole, and channels are many.
    assembly: Option<Box<Assembly>>,
    /// It has published since no alarm was on.
    published: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Its consumers are detached; it is about to end.
    Stopped,
    /// `channel.close` was sent; only the answer is waited for.
    Closing,
}

/// Outcomes of a transaction's publishes.
#[derive(Debug, Default)]
struct Commit {
    refused: bool,
    durable_at: Option<Lsn>,
}

impl Channel {
    pub(crate) fn open(
        broker: &Broker,
        number: u16,
        principal: Arc<Principal>,
        mailbox: Arc<Mailbox>,
        frame_max: u32,
    ) -> Result<Self, Fault> {
        Ok(Self {
            number,
            frame_max,
            core: channel::Channel::open(broker, number, principal, mailbox)?,
            state: State::Open,
            assembly: None,
            published: false,
        })
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.state == State::Closing
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.state == State::Stopped
    }

    pub(crate) fn has_published(&self) -> bool {
        self.published
    }

    pub(crate) fn forget_publishing(&mut self) {
        self.published = false;
    }

    /// `channel.close` has been sent.
    pub(crate) fn close(&mut self) {
        self.state = State::Closing;
        self.assembly = None;
    }

    /// Whether the next frame may be a method: neither is the channel closing nor in the middle of a message.
    #[inline]
    pub(crate) fn takes_methods(&self) -> bool {
        !self.is_closing() && self.assembly.is_none()
    }

    /// A method that can't come now, in the middle of a message or at all.
    pub(crate) fn unexpected_method(&self, method: &Method<'_>) -> Option<Fault> {
        if let Some(assembly) = &self.assembly {
            return Some(assembly.interrupted());
        }
        let text = match method {
            Method::ChannelOpen(_) => "second 'channel.open' seen",
            _ => return None,
        };
        Some(Fault::new(ReplyCode::ChannelError, text).about(method.ids()))
    }

    /// A `basic.publish` whose content follows in frames of its own.
    pub(crate) fn begin(&mut self, publish: &method::BasicPublish<'_>, room: Room) {
        self.assembly = Some(Box::new(Assembly::new(publish, room)));
    }

    /// Whether a message is being put together.
    pub(crate) fn is_assembling(&self) -> bool {
        self.assembly.is_some()
    }

    /// A body frame of `size` octets begins.
    pub(crate) fn announce_body(&self, size: usize) -> Result<(), Fault> {
        match &self.assembly {
            _ if self.is_closing() => Ok(()),
            Some(assembly) => assembly.announce(size),
            None => Err(stray_frame()),
        }
    }

    /// Octets of an announced body frame.
    pub(crate) fn body_piece(&mut self, octets: &[u8]) {
        if let Some(assembly) = &mut self.assembly {
            assembly.piece(octets);
        }
    }

    /// Where octets of an announced body frame may be put by others, who then tell [`Self::body_filled`].
    pub(crate) fn body_target(&mut self) -> Option<&mut [u8]> {
        self.assembly.as_mut()?.target()
    }

    /// So many octets have been put into the target.
    pub(crate) fn body_filled(&mut self, n: usize) {
        if let Some(assembly) = &mut self.assembly {
            assembly.filled(n);
        }
    }

    /// A content header or a whole body frame.
    pub(crate) fn content_frame(&mut self, kind: FrameType, payload: &[u8]) -> Result<(), Fault> {
        match &mut self.assembly {
            Some(assembly) => assembly.frame(kind, payload),
            None => Err(stray_frame()),
        }
    }

    /// The message that has been put together, or that it is too large.
    pub(crate) fn completed(&mut self, broker: &Broker) -> Option<Result<Publish, Fault>> {
        let assembly = self.assembly.take_if(|assembly| assembly.is_complete())?;
        let mandatory = assembly.mandatory;
        let message = assembly.finish().or_else(|size| {
            channel::check_size(broker, size)?;
            Err(Fault::new(ReplyCode::InternalError, ""))
        });
        Some(message.map(|message| Publish { message, mandatory }))
    }

    /// Publishes, and what it takes of those that are `alike`; gives the message back if it is to be returned.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        broker: &Broker,
        publish: Publish,
        alike: impl Iterator<Item = Message>,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Option<Message>, Fault> {
        self.published = true;
        let batch = &mut turn.batch;
        match self.core.publish_run(broker, publish, alike, now, batch)? {
            Published::Taken => Ok(None),
            Published::Returned(message) => Ok(Some(message)),
        }
    }

    /// Whether a publish has to wait until it is decided whether it may be made.
    pub(crate) fn is_undecided(&self, broker: &Broker, publish: &method::BasicPublish<'_>) -> bool {
        let (exchange, key) = (publish.exchange, publish.routing_key);
        matches!(
            self.core.may_publish(broker, exchange, key),
            Err(Error::Undecided(_))
        )
    }

    /// `basic.ack`.
    #[inline]
    pub(crate) fn acknowledge(
        &mut self,
        ack: &method::BasicAck,
        settlements: &mut Settlements,
    ) -> Result<(), Fault> {
        let (tag, multiple) = (ack.delivery_tag, ack.multiple);
        Ok(self
            .core
            .settle(tag, multiple, Settle::Acknowledge, settlements)?)
    }

    /// `basic.nack` and `reject`.
    pub(crate) fn settle(
        &mut self,
        method: &Method<'_>,
        settlements: &mut Settlements,
    ) -> Result<(), Fault> {
        let returned = |requeue, how| {
            if requeue {
                Settle::Return(how)
            } else {
                Settle::Discard
            }
        };
        let (tag, multiple, settle) = match *method {
            Method::BasicNack(nack) => (
                nack.delivery_tag,
                nack.multiple,
                returned(nack.requeue, Return::Requeue),
            ),
            Method::BasicReject(reject) => (
                reject.delivery_tag,
                false,
                returned(reject.requeue, Return::Reject),
            ),
            _ => return Ok(()),
        };
        Ok(self.core.settle(tag, multiple, settle, settlements)?)
    }

    /// A publish that wanted to know has ended so.
    pub(crate) fn publish_ended(&mut self, tag: u64, outcome: &Outcome) {
        self.core.publish_ended(tag, outcome);
    }

    /// Writes the confirms that may be told; gives whether others wait.
    pub(crate) fn confirm(&mut self, durable: Lsn, out: &mut Vec<u8>) -> bool {
        while let Some(settled) = self.core.next_settled(durable) {
            if self.state == State::Closing {
                continue;
            }
            match settled.refused {
                // The log is durable at least as far as all of these need it (or they need it not).
                false => content::put_ack(out, self.number, settled.tag, settled.multiple),
                true => content::put_nack(out, self.number, settled.tag, settled.multiple),
            }
        }
        self.core.is_confirming()
    }

    /// Writes deliveries for one consumer.
    #[inline]
    pub(crate) fn put_deliveries(
        &mut self,
        consumer: ConsumerKey,
        mut next: impl FnMut(&Output) -> Option<Delivery>,
        output: &mut Output,
    ) {
        let Some(mut outgoing) = self.core.outgoing(consumer) else {
            while next(output).is_some() {}
            return;
        };
        let consumer_tag = outgoing.consumer_tag();
        let mut last = LastDelivery::default();
        while let Some(delivery) = next(output) {
            let delivery_tag = outgoing.deliver(&delivery);
            let counted;
            let message = match delivery.stamped() {
                Some(message) => {
                    counted = message;
                    &counted
                }
                None => &delivery.message,
            };
            let head = content::Delivery {
                channel: self.number,
                consumer_tag,
                delivery_tag,
                redelivered: delivery.redelivered,
                address: message.address(),
                properties: message.properties(),
                body_size: message.body().len(),
            };
            if !last.put_like_it(output.buffer(), &head, message.body()) {
                let start = output.buffer().len();
                content::put_deliver_head(output.buffer(), &head);
                put_body(output, self.number, message, self.frame_max);
                last = LastDelivery::at(start, output.buffer(), &head);
            }
        }
    }

    /// Copies a delivery to the firehose.
    pub(crate) fn trace_delivery(
        &self,
        broker: &Broker,
        consumer: ConsumerKey,
        delivery: &Delivery,
        now: Timestamp,
        outbox: &mut Outbox,
    ) {
        self.core
            .trace_delivery(broker, consumer, delivery, now, outbox);
    }

    /// The broker has detached a consumer; gives its tag.
    pub(crate) fn cancelled(&mut self, consumer: ConsumerKey) -> Option<Arc<str>> {
        self.core.cancelled(consumer)
    }

    /// No queue hands anything more to this consumer.
    pub(crate) fn stop_consumer(
        &mut self,
        broker: &Broker,
        tag: &str,
        now: Timestamp,
        outbox: &mut Outbox,
    ) {
        self.core.stop_consumer(broker, tag, now, outbox);
    }

    /// No queue hands anything more to this channel.
    pub(crate) fn stop_consuming(&mut self, broker: &Broker, now: Timestamp, outbox: &mut Outbox) {
        if self.state == State::Open {
            self.state = State::Stopped;
            self.core.stop_consuming(broker, now, outbox);
        }
    }

    /// A delivery that will not be sent any more goes back with the unsettled ones.
    pub(crate) fn absorb(&mut self, consumer: ConsumerKey, delivery: &Delivery) {
        self.core.absorb(consumer, delivery);
    }

    /// Unsettled deliveries return to their queues.
    pub(crate) fn end(&mut self, broker: &Broker, now: Timestamp, outbox: &mut Outbox) {
        self.core.close(broker, now, outbox);
    }

    /// Settlements of this connection may let consumers under a channel-wide limit go on.
    pub(crate) fn credit_returned(&mut self, now: Timestamp, outbox: &mut Outbox) {
        self.core.credit_returned(now, outbox);
    }
}

/// 505: content that no method announced.
pub(crate) fn stray_frame() -> Fault {
    let text = "expected method frame, got non method frame instead";
    Fault::new(ReplyCode::UnexpectedFrame, text)
}

/// Writes content header and body of a message behind a method.
pub(crate) fn put_content(output: &mut Output, channel: u16, message: &Message, frame_max: u32) {
    let body_size = message.body().len();
    content::put_content_header(output.buffer(), channel, message.properties(), body_size);
    put_body(output, channel, message, frame_max);
}

/// Writes the body frames of a message.
#[inline]
fn put_body(output: &mut Output, channel: u16, message: &Message, frame_max: u32) {
    let size = message.body().len();
    let most = match frame_max {
        0 => size.max(1),
        limit => limit as usize - OVERHEAD,
    };
    let mut from = 0;
    while from < size {
        let until = size.min(from + most);
        let head = frame::header(FrameType::Body, channel, (until - from) as u32);
        output.buffer().extend_from_slice(&head);
        output.put_body_piece(message, from, until);
        output.buffer().push(frame::END);
        from = until;
    }
}
