//! A short connection to the broker in the name of whoever asks: what is done over HTTP obeys the permissions that a
//! client of AMQP has.

use std::sync::Arc;

use leveret_broker::Lsn;
use leveret_broker::broker::{Arrival, Broker};
use leveret_broker::channel::{Channel, Settlements};
use leveret_broker::connections::Facts;
use leveret_broker::live_queue::Outbox;
use leveret_broker::mailbox::Mailbox;
use leveret_broker::principal::Principal;
use leveret_broker::publish::Batch;
use leveret_broker::time::Timestamp;

use crate::answer::Failure;
use crate::call::{Call, Caller};

/// See the module's page. The connection ends with it.
pub(crate) struct Session<'a> {
    broker: &'a Arc<Broker>,
    principal: Arc<Principal>,
    mailbox: Arc<Mailbox>,
    now: Timestamp,
}

/// Who declares, binds and deletes in the vhost that the path names: the user who asks, without a connection.
pub(crate) fn principal(call: &Call<'_>) -> Result<Principal, Failure> {
    let (broker, vhost) = (call.broker(), call.parameter("vhost"));
    let node = broker.node_in(vhost);
    let node = node.ok_or_else(|| Failure::not_found("vhost_not_found"))?;
    if call.caller() == Caller::Operator {
        return Ok(node);
    }
    if call.may_connect(vhost)? != Some(true) {
        return Err(Failure::not_authorised("Access refused."));
    }
    Ok(node.as_user(call.user(), broker.new_connection_id()))
}

/// How publishes of a session ended, all together.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(crate) refused: bool,
    pub(crate) durable_at: Option<Lsn>,
}

impl<'a> Session<'a> {
    /// Opens the vhost that the path names.
    pub(crate) fn open(call: &Call<'a>) -> Result<Self, Failure> {
        let broker = call.broker();
        let vhost = call.parameter("vhost");
        if call.may_connect(vhost)?.is_none() {
            return Err(Failure::not_found("vhost_not_found"));
        }
        let mailbox = Arc::clone(call.request.visit.mailbox());
        let arrival = Arrival {
            connection: broker.new_connection_id(),
            user: call.user(),
            mailbox: &mailbox,
            facts: Facts::default(),
            activity: &Arc::default(),
        };
        let principal = broker.connect(arrival, vhost)?;
        Ok(Self {
            broker,
            principal,
            mailbox,
            now: call.now,
        })
    }

    pub(crate) fn channel(&self) -> Result<Channel, Failure> {
        let (principal, mailbox) = (self.principal.clone(), self.mailbox.clone());
        Ok(Channel::open(self.broker, 1, principal, mailbox)?)
    }

    /// Hands what a channel has published to the queues.
    pub(crate) fn commit(&self, batch: &mut Batch) -> Committed {
        let mut committed = Committed::default();
        let mut outbox = Outbox::default();
        self.broker.commit(batch, self.now, &mut outbox, |outcome| {
            committed.refused |= outcome.refused;
            committed.durable_at = committed.durable_at.max(outcome.durable_at);
        });
        self.broker.finish(&mut outbox, self.now);
        committed
    }

    /// Hands what a channel has settled to the queues.
    pub(crate) fn settle(&self, settlements: &mut Settlements) {
        let mut outbox = Outbox::default();
        settlements.flush(self.now, &mut outbox);
        self.broker.finish(&mut outbox, self.now);
    }

    /// Ends a channel: what it has not settled returns.
    pub(crate) fn close(&self, mut channel: Channel) {
        let mut outbox = Outbox::default();
        channel.close(self.broker, self.now, &mut outbox);
        self.broker.finish(&mut outbox, self.now);
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.broker.disconnect(self.principal.connection);
    }
}
