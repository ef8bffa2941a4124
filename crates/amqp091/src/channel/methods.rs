//! What each method on a channel does: its arguments to the broker, the broker's answer to a frame.

use leveret_broker::broker::Broker;
use leveret_broker::broker::definitions::{BindingSpec, ExchangeSpec, QueueSpec};
use leveret_broker::channel::ConsumeSpec;
use leveret_broker::error::ResourceKind;
use leveret_broker::table::Table;
use leveret_broker::time::Timestamp;
use leveret_broker::{Lsn, reply_to};

use super::{Channel, Commit, Fault, Method, Output, ReplyCode, Turn, method, put_content};
use crate::connection::put;
use crate::method::RawTable;

type Result = std::result::Result<(), Fault>;

impl Channel {
    /// Does what any method but `basic.publish` and the settlements asks for, and answers it.
    pub(crate) fn handle(
        &mut self,
        broker: &Broker,
        method: &Method<'_>,
        now: Timestamp,
        turn: &mut Turn,
        output: &mut Output,
    ) -> Result {
        let mut call = Call {
            broker,
            now,
            turn,
            output,
        };
        match method {
            // The connection answers it when everything has gone back.
            Method::ChannelClose(_) => Ok(()),
            Method::ChannelCloseOk(_) | Method::ChannelFlowOk(_) => Ok(()),
            Method::ChannelFlow(flow) => self.flow(flow.active, &mut call),
            Method::AccessRequest(_) => {
                self.reply(&mut call, false, method::AccessRequestOk { ticket: 1 })
            }
            Method::ExchangeDeclare(declare) => self.exchange_declare(declare, &mut call),
            Method::ExchangeDelete(delete) => self.exchange_delete(delete, &mut call),
            Method::ExchangeBind(bind) => self.exchange_bind(bind, &mut call),
            Method::ExchangeUnbind(unbind) => self.exchange_unbind(unbind, &mut call),
            Method::QueueDeclare(declare) => self.queue_declare(declare, &mut call),
            Method::QueueBind(bind) => self.queue_bind(bind, &mut call),
            Method::QueueUnbind(unbind) => self.queue_unbind(unbind, &mut call),
            Method::QueuePurge(purge) => self.queue_purge(purge, &mut call),
            Method::QueueDelete(delete) => self.queue_delete(delete, &mut call),
            Method::BasicQos(qos) => self.qos(qos, &mut call),
            Method::BasicConsume(consume) => self.consume(consume, &mut call),
            Method::BasicCancel(cancel) => self.cancel(cancel, &mut call),
            Method::BasicGet(get) => self.get(get, &mut call),
            Method::BasicRecover(recover) => {
                self.recover(recover.requeue, &mut call)?;
                self.reply(&mut call, false, method::BasicRecoverOk {})
            }
            Method::BasicRecoverAsync(recover) => self.recover(recover.requeue, &mut call),
            Method::ConfirmSelect(select) => {
                self.core.select_confirms()?;
                self.reply(&mut call, select.no_wait, method::ConfirmSelectOk {})
            }
            Method::TxSelect(_) => {
                self.core.select_transaction()?;
                self.reply(&mut call, false, method::TxSelectOk {})
            }
            Method::TxCommit(_) => self.tx_commit(&mut call),
            Method::TxRollback(_) => {
                self.core.rollback()?;
                self.reply(&mut call, false, method::TxRollbackOk {})
            }
            _ => Err(Fault::new(
                ReplyCode::CommandInvalid,
                "unimplemented method",
            )),
        }
    }

    fn reply<'a>(
        &self,
        call: &mut Call<'_>,
        no_wait: bool,
        method: impl Into<Method<'a>>,
    ) -> Result {
        if !no_wait {
            put(call.output, self.number, method);
        }
        Ok(())
    }

    /// The reply to a change of definitions: seen when the log has it.
    fn reply_durable<'a>(
        &self,
        call: &mut Call<'_>,
        durable_at: Option<Lsn>,
        no_wait: bool,
        method: impl Into<Method<'a>>,
    ) -> Result {
        if let Some(durable_at) = durable_at {
            call.output.hold_until(durable_at);
        }
        self.reply(call, no_wait, method)
    }

    /// H18.
    fn flow(&self, active: bool, call: &mut Call<'_>) -> Result {
        if !active {
            return Err(Fault::new(ReplyCode::NotImplemented, "active=false"));
        }
        self.reply(call, false, method::ChannelFlowOk { active: true })
    }

    fn exchange_declare(
        &self,
        declare: &method::ExchangeDeclare<'_>,
        call: &mut Call<'_>,
    ) -> Result {
        let by = self.core.principal();
        let name = stripped(declare.exchange);
        let durable_at = if declare.passive {
            call.broker.check_exchange(by, &name)?;
            None
        } else {
            let spec = ExchangeSpec {
                name: &name,
                kind: declare.kind,
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                internal: declare.internal,
                arguments: arguments(declare.arguments)?,
            };
            call.broker.declare_exchange(by, spec)?
        };
        self.reply_durable(
            call,
            durable_at,
            declare.no_wait,
            method::ExchangeDeclareOk {},
        )
    }

    fn exchange_delete(&self, delete: &method::ExchangeDelete<'_>, call: &mut Call<'_>) -> Result {
        let name = stripped(delete.exchange);
        let durable_at =
            call.broker
                .delete_exchange(self.core.principal(), &name, delete.if_unused)?;
        self.reply_durable(
            call,
            durable_at,
            delete.no_wait,
            method::ExchangeDeleteOk {},
        )
    }

    fn exchange_bind(&self, bind: &method::ExchangeBind<'_>, call: &mut Call<'_>) -> Result {
        let spec = BindingSpec {
            source: &stripped(bind.source),
            destination: &stripped(bind.destination),
            destination_kind: ResourceKind::Exchange,
            key: bind.routing_key,
            arguments: arguments(bind.arguments)?,
        };
        let durable_at = call.broker.bind(self.core.principal(), spec, call.now)?;
        self.reply_durable(call, durable_at, bind.no_wait, method::ExchangeBindOk {})
    }

    fn exchange_unbind(&self, unbind: &method::ExchangeUnbind<'_>, call: &mut Call<'_>) -> Result {
        let spec = BindingSpec {
            source: &stripped(unbind.source),
            destination: &stripped(unbind.destination),
            destination_kind: ResourceKind::Exchange,
            key: unbind.routing_key,
            arguments: arguments(unbind.arguments)?,
        };
        let durable_at = call.broker.unbind(self.core.principal(), spec)?;
        self.reply_durable(
            call,
            durable_at,
            unbind.no_wait,
            method::ExchangeUnbindOk {},
        )
    }

    fn queue_declare(&mut self, declare: &method::QueueDeclare<'_>, call: &mut Call<'_>) -> Result {
        let name = stripped(declare.queue);
        if name.starts_with(reply_to::REPLY_TO) {
            return self.declare_reply_to(&name, declare.no_wait, call);
        }
        let by = self.core.principal();
        let (queue, stats, durable_at) = if declare.passive {
            let name = self.core.queue_name(&name)?;
            let (queue, stats) = call.broker.check_queue(by, &name, call.now)?;
            (queue, stats, None)
        } else {
            let spec = QueueSpec {
                name: &name,
                durable: declare.durable,
                exclusive: declare.exclusive,
                auto_delete: declare.auto_delete,
                arguments: arguments(declare.arguments)?,
            };
            let declared = call.broker.declare_queue(by, spec, call.now)?;
            (declared.queue, declared.stats, declared.durable_at)
        };
        self.core.remember_queue(&queue.declaration.name);
        let ok = method::QueueDeclareOk {
            queue: queue.name(),
            message_count: small(stats.ready),
            consumer_count: small(stats.consumers),
        };
        self.reply_durable(call, durable_at, declare.no_wait, ok)
    }

    /// H20: declaring a reply address asks whether somebody waits there.
    fn declare_reply_to(&self, name: &str, no_wait: bool, call: &mut Call<'_>) -> Result {
        call.broker.check_reply_to(self.core.principal(), name)?;
        let ok = method::QueueDeclareOk {
            queue: name,
            message_count: 0,
            consumer_count: 1,
        };
        self.reply(call, no_wait, ok)
    }

    fn queue_bind(&self, bind: &method::QueueBind<'_>, call: &mut Call<'_>) -> Result {
        let queue = self.core.queue_name(&stripped(bind.queue))?;
        // Neither queue nor key named: the queue declared last, by its name (H19).
        let by_name = bind.queue.is_empty() && bind.routing_key.is_empty();
        let spec = BindingSpec {
            source: &stripped(bind.exchange),
            destination: &queue,
            destination_kind: ResourceKind::Queue,
            key: if by_name {
                queue.as_bytes()
            } else {
                bind.routing_key
            },
            arguments: arguments(bind.arguments)?,
        };
        let durable_at = call.broker.bind(self.core.principal(), spec, call.now)?;
        self.reply_durable(call, durable_at, bind.no_wait, method::QueueBindOk {})
    }

    fn queue_unbind(&self, unbind: &method::QueueUnbind<'_>, call: &mut Call<'_>) -> Result {
        let queue = self.core.queue_name(&stripped(unbind.queue))?;
        let by_name = unbind.queue.is_empty() && unbind.routing_key.is_empty();
        let spec = BindingSpec {
            source: &stripped(unbind.exchange),
            destination: &queue,
            destination_kind: ResourceKind::Queue,
            key: if by_name {
                queue.as_bytes()
            } else {
                unbind.routing_key
            },
            arguments: arguments(unbind.arguments)?,
        };
        let durable_at = call.broker.unbind(self.core.principal(), spec)?;
        self.reply_durable(call, durable_at, false, method::QueueUnbindOk {})
    }

    fn queue_purge(&self, purge: &method::QueuePurge<'_>, call: &mut Call<'_>) -> Result {
        let queue = self.core.queue_name(&stripped(purge.queue))?;
        let count = call
            .broker
            .purge_queue(self.core.principal(), &queue, call.now)?;
        self.reply(
            call,
            purge.no_wait,
            method::QueuePurgeOk {
                message_count: small(count),
            },
        )
    }

    fn queue_delete(&self, delete: &method::QueueDelete<'_>, call: &mut Call<'_>) -> Result {
        let queue = self.core.queue_name(&stripped(delete.queue))?;
        let by = self.core.principal();
        let (count, durable_at) =
            call.broker
                .delete_queue(by, &queue, delete.if_unused, delete.if_empty)?;
        let ok = method::QueueDeleteOk {
            message_count: small(count),
        };
        self.reply_durable(call, durable_at, delete.no_wait, ok)
    }

    /// H11.
    fn qos(&mut self, qos: &method::BasicQos, call: &mut Call<'_>) -> Result {
        if qos.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({})", qos.prefetch_size);
            return Err(Fault::new(ReplyCode::NotImplemented, text));
        }
        let outbox = &mut call.turn.outbox;
        self.core.set_prefetch(
            call.broker,
            qos.prefetch_count,
            qos.global,
            call.now,
            outbox,
        );
        self.reply(call, false, method::BasicQosOk {})
    }

    fn consume(&mut self, consume: &method::BasicConsume<'_>, call: &mut Call<'_>) -> Result {
        let queue = self.core.queue_name(&stripped(consume.queue))?;
        let spec = ConsumeSpec {
            queue: &queue,
            tag: consume.consumer_tag,
            acknowledges: !consume.no_ack,
            exclusive: consume.exclusive,
            arguments: arguments(consume.arguments)?,
        };
        let tag = self
            .core
            .consume(call.broker, spec, call.now, &mut call.turn.outbox)?;
        // Deliveries are in the mailbox by now, and leave it after this.
        self.reply(
            call,
            consume.no_wait,
            method::BasicConsumeOk { consumer_tag: &tag },
        )
    }

    /// The consumer has been stopped already, and what it was handed has been sent.
    fn cancel(&mut self, cancel: &method::BasicCancel<'_>, call: &mut Call<'_>) -> Result {
        self.core.forget_consumer(cancel.consumer_tag);
        let ok = method::BasicCancelOk {
            consumer_tag: cancel.consumer_tag,
        };
        self.reply(call, cancel.no_wait, ok)
    }

    fn get(&mut self, get: &method::BasicGet<'_>, call: &mut Call<'_>) -> Result {
        let queue = self.core.queue_name(&stripped(get.queue))?;
        let outbox = &mut call.turn.outbox;
        let Some((delivery_tag, mut delivery, left)) =
            self.core
                .get(call.broker, &queue, !get.no_ack, call.now, outbox)?
        else {
            return self.reply(call, false, method::BasicGetEmpty::default());
        };
        let interceptors = &call.broker.options.interceptors;
        if let Some(message) = interceptors.outgoing(&delivery.message, call.now) {
            delivery.message = message;
        }
        let counted = delivery.stamped();
        let message = counted.as_ref().unwrap_or(&delivery.message);
        let ok = method::BasicGetOk {
            delivery_tag,
            redelivered: delivery.redelivered,
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            message_count: small(left),
        };
        put(call.output, self.number, ok);
        put_content(call.output, self.number, message, self.frame_max);
        Ok(())
    }

    /// H17.
    fn recover(&mut self, requeue: bool, call: &mut Call<'_>) -> Result {
        if !requeue {
            return Err(Fault::new(ReplyCode::NotImplemented, "requeue=false"));
        }
        self.core.recover(&mut call.turn.settlements);
        Ok(())
    }

    /// H09. All publishes are one record of the log, so that a crash leaves all or none of them.
    fn tx_commit(&mut self, call: &mut Call<'_>) -> Result {
        let held = self.core.commit(&mut call.turn.settlements)?;
        for message in self.core.send_held(held, call.now, &mut call.turn.batch) {
            let code = ReplyCode::NoRoute;
            let returned = method::BasicReturn {
                reply_code: code.code(),
                reply_text: code.name().as_bytes(),
                exchange: message.exchange(),
                routing_key: message.routing_key(),
            };
            put(call.output, self.number, returned);
            put_content(call.output, self.number, &message, self.frame_max);
        }
        let Turn {
            batch,
            settlements,
            outbox,
        } = &mut *call.turn;
        settlements.flush(call.now, outbox);
        self.core.credit_returned(call.now, outbox);
        let mut commit = Commit::default();
        call.broker.commit(batch, call.now, outbox, |outcome| {
            commit.refused |= outcome.refused;
            commit.durable_at = commit.durable_at.max(outcome.durable_at);
        });
        if commit.refused {
            return Err(Fault::new(
                ReplyCode::PreconditionFailed,
                "partial tx completion",
            ));
        }
        self.reply_durable(call, commit.durable_at, false, method::TxCommitOk {})
    }
}

/// What a method needs besides its channel.
struct Call<'a> {
    broker: &'a Broker,
    now: Timestamp,
    turn: &'a mut Turn,
    output: &'a mut Output,
}

/// Arguments whose table can't be read are RabbitMQ's internal errors, without a text.
fn arguments(raw: RawTable<'_>) -> std::result::Result<Table, Fault> {
    raw.decode()
        .map_err(|_| Fault::new(ReplyCode::InternalError, ""))
}

/// H24: line ends are taken out of names.
fn stripped(name: &str) -> std::borrow::Cow<'_, str> {
    if name.contains(['\r', '\n']) {
        name.replace(['\r', '\n'], "").into()
    } else {
        name.into()
    }
}

/// Counts on the wire have 32 bits.
fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
