//! The same messages, written and read by us and by the codec of the client library lapin.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{
    AMQPClass, access, basic, basic::AMQPProperties, channel, confirm, connection, exchange, queue,
    tx,
};
use amq_protocol::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, ShortString};

use leveret_amqp091::content::put_content_header;
use leveret_amqp091::content_header::ContentHeader;
use leveret_amqp091::frame;
use leveret_amqp091::method::*;
use leveret_broker::properties::{Properties, PropertiesBuf};
use leveret_broker::table::{Table, Value};

const CHANNEL: u16 = 77;

fn written_by_them(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame(frame)(WriteContext::from(Vec::new()))
        .unwrap()
        .into_inner()
        .0
}

fn read_by_them(bytes: &[u8]) -> AMQPFrame {
    let (rest, frame) = parse_frame(bytes).unwrap();
    assert!(rest.is_empty());
    frame
}

fn method(ours: impl Into<Method<'static>>, theirs: AMQPClass) {
    let ours = ours.into();
    let theirs = AMQPFrame::Method(CHANNEL, theirs);
    let mut bytes = Vec::new();
    ours.encode(CHANNEL, &mut bytes);
    assert_eq!(bytes, written_by_them(&theirs), "{}", ours.name());
    assert_eq!(read_by_them(&bytes), theirs);
    let frame = frame::next(&bytes, 0).unwrap().unwrap();
    assert_eq!(Method::decode(frame.payload), Ok(ours));
}

/// The arguments `{"k": "v"}`, both ways.
const ARGUMENTS: RawTable<'static> = RawTable(b"\x01kS\x00\x00\x00\x01v");

fn arguments() -> FieldTable {
    let mut table = FieldTable::default();
    table.insert(short("k"), AMQPValue::LongString("v".into()));
    table
}

fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap()
}

#[test]
fn connection_methods() {
    use connection::{AMQPMethod as M, *};
    let class = AMQPClass::Connection;
    method(
        ConnectionStart {
            version_major: 0,
            version_minor: 9,
            server_properties: ARGUMENTS,
            mechanisms: b"PLAIN AMQPLAIN",
            locales: b"en_US",
        },
        class(M::Start(Start {
            version_major: 0,
            version_minor: 9,
            server_properties: arguments(),
            mechanisms: "PLAIN AMQPLAIN".into(),
            locales: "en_US".into(),
        })),
    );
    method(
        ConnectionStartOk {
            client_properties: ARGUMENTS,
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            locale: "en_US",
        },
        class(M::StartOk(StartOk {
            client_properties: arguments(),
            mechanism: short("PLAIN"),
            response: "\0guest\0guest".into(),
            locale: short("en_US"),
        })),
    );
    method(
        ConnectionSecure { challenge: b"who?" },
        class(M::Secure(Secure {
            challenge: "who?".into(),
        })),
    );
    method(
        ConnectionSecureOk { response: b"me" },
        class(M::SecureOk(SecureOk {
            response: "me".into(),
        })),
    );
    method(
        ConnectionTune {
            channel_max: 1,
            frame_max: 2,
            heartbeat: 3,
        },
        class(M::Tune(Tune {
            channel_max: 1,
            frame_max: 2,
            heartbeat: 3,
        })),
    );
    method(
        ConnectionTuneOk {
            channel_max: 1,
            frame_max: 2,
            heartbeat: 3,
        },
        class(M::TuneOk(TuneOk {
            channel_max: 1,
            frame_max: 2,
            heartbeat: 3,
        })),
    );
    method(
        ConnectionOpen { virtual_host: "/" },
        class(M::Open(Open {
            virtual_host: short("/"),
        })),
    );
    method(ConnectionOpenOk {}, class(M::OpenOk(OpenOk {})));
    method(
        ConnectionClose {
            reply_code: 320,
            reply_text: b"why",
            class_id: 50,
            method_id: 10,
        },
        class(M::Close(Close {
            reply_code: 320,
            reply_text: short("why"),
            class_id: 50,
            method_id: 10,
        })),
    );
    method(ConnectionCloseOk {}, class(M::CloseOk(CloseOk {})));
    method(
        ConnectionBlocked {
            reason: b"low on memory",
        },
        class(M::Blocked(Blocked {
            reason: short("low on memory"),
        })),
    );
    method(ConnectionUnblocked {}, class(M::Unblocked(Unblocked {})));
    method(
        ConnectionUpdateSecret {
            new_secret: b"token",
            reason: b"expiry",
        },
        class(M::UpdateSecret(UpdateSecret {
            new_secret: "token".into(),
            reason: short("expiry"),
        })),
    );
    method(
        ConnectionUpdateSecretOk {},
        class(M::UpdateSecretOk(UpdateSecretOk {})),
    );
}

#[test]
fn channel_and_access_methods() {
    use channel::{AMQPMethod as M, *};
    let class = AMQPClass::Channel;
    method(ChannelOpen {}, class(M::Open(Open {})));
    method(ChannelOpenOk {}, class(M::OpenOk(OpenOk {})));
    method(
        ChannelFlow { active: true },
        class(M::Flow(Flow { active: true })),
    );
    method(
        ChannelFlowOk { active: true },
        class(M::FlowOk(FlowOk { active: true })),
    );
    method(
        ChannelClose {
            reply_code: 404,
            reply_text: b"why",
            class_id: 60,
            method_id: 40,
        },
        class(M::Close(Close {
            reply_code: 404,
            reply_text: short("why"),
            class_id: 60,
            method_id: 40,
        })),
    );
    method(ChannelCloseOk {}, class(M::CloseOk(CloseOk {})));

    for bits in 0..32 {
        let [exclusive, passive, active, write, read] = flags(bits);
        method(
            AccessRequest {
                realm: b"/data",
                exclusive,
                passive,
                active,
                write,
                read,
            },
            AMQPClass::Access(access::AMQPMethod::Request(access::Request {
                realm: short("/data"),
                exclusive,
                passive,
                active,
                write,
                read,
            })),
        );
    }
    // They have no field for the ticket, and write a 1.
    method(
        AccessRequestOk { ticket: 1 },
        AMQPClass::Access(access::AMQPMethod::RequestOk(access::RequestOk {})),
    );
}

fn flags<const N: usize>(bits: u32) -> [bool; N] {
    std::array::from_fn(|n| bits >> n & 1 == 1)
}

#[test]
fn exchange_methods() {
    use exchange::{AMQPMethod as M, *};
    let class = AMQPClass::Exchange;
    for bits in 0..32 {
        let [passive, durable, auto_delete, internal, nowait] = flags(bits);
        method(
            ExchangeDeclare {
                exchange: "x",
                kind: "topic",
                passive,
                durable,
                auto_delete,
                internal,
                no_wait: nowait,
                arguments: ARGUMENTS,
            },
            class(M::Declare(Declare {
                exchange: short("x"),
                kind: short("topic"),
                passive,
                durable,
                auto_delete,
                internal,
                nowait,
                arguments: arguments(),
            })),
        );
        method(
            ExchangeDelete {
                exchange: "x",
                if_unused: passive,
                no_wait: durable,
            },
            class(M::Delete(Delete {
                exchange: short("x"),
                if_unused: passive,
                nowait: durable,
            })),
        );
    }
    method(ExchangeDeclareOk {}, class(M::DeclareOk(DeclareOk {})));
    method(ExchangeDeleteOk {}, class(M::DeleteOk(DeleteOk {})));
    method(
        ExchangeBind {
            destination: "to",
            source: "from",
            routing_key: b"key",
            no_wait: true,
            arguments: ARGUMENTS,
        },
        class(M::Bind(Bind {
            destination: short("to"),
            source: short("from"),
            routing_key: short("key"),
            nowait: true,
            arguments: arguments(),
        })),
    );
    method(ExchangeBindOk {}, class(M::BindOk(BindOk {})));
    method(
        ExchangeUnbind {
            destination: "to",
            source: "from",
            routing_key: b"key",
            no_wait: true,
            arguments: ARGUMENTS,
        },
        class(M::Unbind(Unbind {
            destination: short("to"),
            source: short("from"),
            routing_key: short("key"),
            nowait: true,
            arguments: arguments(),
        })),
    );
    method(ExchangeUnbindOk {}, class(M::UnbindOk(UnbindOk {})));
}

#[test]
fn queue_methods() {
    use queue::{AMQPMethod as M, *};
    let class = AMQPClass::Queue;
    for bits in 0..32 {
        let [passive, durable, exclusive, auto_delete, nowait] = flags(bits);
        method(
            QueueDeclare {
                queue: "q",
                passive,
                durable,
                exclusive,
                auto_delete,
                no_wait: nowait,
                arguments: ARGUMENTS,
            },
            class(M::Declare(Declare {
                queue: short("q"),
                passive,
                durable,
                exclusive,
                auto_delete,
                nowait,
                arguments: arguments(),
            })),
        );
        method(
            QueueDelete {
                queue: "q",
                if_unused: passive,
                if_empty: durable,
                no_wait: exclusive,
            },
            class(M::Delete(Delete {
                queue: short("q"),
                if_unused: passive,
                if_empty: durable,
                nowait: exclusive,
            })),
        );
    }
    method(
        QueueDeclareOk {
            queue: "q",
            message_count: 1,
            consumer_count: 2,
        },
        class(M::DeclareOk(DeclareOk {
            queue: short("q"),
            message_count: 1,
            consumer_count: 2,
        })),
    );
    method(
        QueueBind {
            queue: "q",
            exchange: "x",
            routing_key: b"key",
            no_wait: true,
            arguments: ARGUMENTS,
        },
        class(M::Bind(Bind {
            queue: short("q"),
            exchange: short("x"),
            routing_key: short("key"),
            nowait: true,
            arguments: arguments(),
        })),
    );
    method(QueueBindOk {}, class(M::BindOk(BindOk {})));
    method(
        QueuePurge {
            queue: "q",
            no_wait: true,
        },
        class(M::Purge(Purge {
            queue: short("q"),
            nowait: true,
        })),
    );
    method(
        QueuePurgeOk { message_count: 9 },
        class(M::PurgeOk(PurgeOk { message_count: 9 })),
    );
    method(
        QueueDeleteOk { message_count: 9 },
        class(M::DeleteOk(DeleteOk { message_count: 9 })),
    );
    method(
        QueueUnbind {
            queue: "q",
            exchange: "x",
            routing_key: b"key",
            arguments: ARGUMENTS,
        },
        class(M::Unbind(Unbind {
            queue: short("q"),
            exchange: short("x"),
            routing_key: short("key"),
            arguments: arguments(),
        })),
    );
    method(QueueUnbindOk {}, class(M::UnbindOk(UnbindOk {})));
}

#[test]
fn basic_methods_about_consumers() {
    use basic::{AMQPMethod as M, *};
    let class = AMQPClass::Basic;
    // They have no prefetch_size.
    method(
        BasicQos {
            prefetch_size: 0,
            prefetch_count: 10,
            global: true,
        },
        class(M::Qos(Qos {
            prefetch_count: 10,
            global: true,
        })),
    );
    method(BasicQosOk {}, class(M::QosOk(QosOk {})));
    for bits in 0..16 {
        let [no_local, no_ack, exclusive, nowait] = flags(bits);
        method(
            BasicConsume {
                queue: "q",
                consumer_tag: "tag",
                no_local,
                no_ack,
                exclusive,
                no_wait: nowait,
                arguments: ARGUMENTS,
            },
            class(M::Consume(Consume {
                queue: short("q"),
                consumer_tag: short("tag"),
                no_local,
                no_ack,
                exclusive,
                nowait,
                arguments: arguments(),
            })),
        );
    }
    method(
        BasicConsumeOk {
            consumer_tag: "tag",
        },
        class(M::ConsumeOk(ConsumeOk {
            consumer_tag: short("tag"),
        })),
    );
    method(
        BasicCancel {
            consumer_tag: "tag",
            no_wait: true,
        },
        class(M::Cancel(Cancel {
            consumer_tag: short("tag"),
            nowait: true,
        })),
    );
    method(
        BasicCancelOk {
            consumer_tag: "tag",
        },
        class(M::CancelOk(CancelOk {
            consumer_tag: short("tag"),
        })),
    );
    method(
        BasicGet {
            queue: "q",
            no_ack: true,
        },
        class(M::Get(Get {
            queue: short("q"),
            no_ack: true,
        })),
    );
    method(BasicGetEmpty {}, class(M::GetEmpty(GetEmpty {})));
}

#[test]
fn basic_methods_about_messages() {
    use basic::{AMQPMethod as M, *};
    let class = AMQPClass::Basic;
    for bits in 0..4 {
        let [mandatory, immediate] = flags(bits);
        method(
            BasicPublish {
                exchange: "x",
                routing_key: b"key",
                mandatory,
                immediate,
            },
            class(M::Publish(Publish {
                exchange: short("x"),
                routing_key: short("key"),
                mandatory,
                immediate,
            })),
        );
        let (multiple, requeue) = (mandatory, immediate);
        method(
            BasicNack {
                delivery_tag: 1 << 60,
                multiple,
                requeue,
            },
            class(M::Nack(Nack {
                delivery_tag: 1 << 60,
                multiple,
                requeue,
            })),
        );
    }
    method(
        BasicReturn {
            reply_code: 312,
            reply_text: b"NO_ROUTE",
            exchange: b"x",
            routing_key: b"key",
        },
        class(M::Return(Return {
            reply_code: 312,
            reply_text: short("NO_ROUTE"),
            exchange: short("x"),
            routing_key: short("key"),
        })),
    );
    method(
        BasicDeliver {
            consumer_tag: "tag",
            delivery_tag: 6,
            redelivered: true,
            exchange: b"x",
            routing_key: b"key",
        },
        class(M::Deliver(Deliver {
            consumer_tag: short("tag"),
            delivery_tag: 6,
            redelivered: true,
            exchange: short("x"),
            routing_key: short("key"),
        })),
    );
    method(
        BasicGetOk {
            delivery_tag: 6,
            redelivered: true,
            exchange: b"x",
            routing_key: b"key",
            message_count: 7,
        },
        class(M::GetOk(GetOk {
            delivery_tag: 6,
            redelivered: true,
            exchange: short("x"),
            routing_key: short("key"),
            message_count: 7,
        })),
    );
    method(
        BasicAck {
            delivery_tag: 6,
            multiple: true,
        },
        class(M::Ack(Ack {
            delivery_tag: 6,
            multiple: true,
        })),
    );
    method(
        BasicReject {
            delivery_tag: 6,
            requeue: true,
        },
        class(M::Reject(Reject {
            delivery_tag: 6,
            requeue: true,
        })),
    );
    method(
        BasicRecoverAsync { requeue: true },
        class(M::RecoverAsync(RecoverAsync { requeue: true })),
    );
    method(
        BasicRecover { requeue: true },
        class(M::Recover(Recover { requeue: true })),
    );
    method(BasicRecoverOk {}, class(M::RecoverOk(RecoverOk {})));
}

#[test]
fn confirm_and_tx_methods() {
    use confirm::AMQPMethod as C;
    method(
        ConfirmSelect { no_wait: true },
        AMQPClass::Confirm(C::Select(confirm::Select { nowait: true })),
    );
    method(
        ConfirmSelectOk {},
        AMQPClass::Confirm(C::SelectOk(confirm::SelectOk {})),
    );
    use tx::{AMQPMethod as M, *};
    let class = AMQPClass::Tx;
    method(TxSelect {}, class(M::Select(Select {})));
    method(TxSelectOk {}, class(M::SelectOk(SelectOk {})));
    method(TxCommit {}, class(M::Commit(Commit {})));
    method(TxCommitOk {}, class(M::CommitOk(CommitOk {})));
    method(TxRollback {}, class(M::Rollback(Rollback {})));
    method(TxRollbackOk {}, class(M::RollbackOk(RollbackOk {})));
}

/// Their tables are sorted by key, so ours is written in that order.
fn every_type() -> (Table, FieldTable) {
    let mut inner = FieldTable::default();
    inner.insert(short("k"), AMQPValue::Void);
    let mut items = FieldArray::default();
    items.push(AMQPValue::LongLongInt(-1));
    items.push(AMQPValue::FieldTable(inner));
    let array = vec![
        Value::I64(-1),
        Table::from_iter([("k", Value::Void)]).into(),
    ];
    let values = [
        (Value::Bool(true), AMQPValue::Boolean(true)),
        (Value::I8(-8), AMQPValue::ShortShortInt(-8)),
        (Value::U8(200), AMQPValue::ShortShortUInt(200)),
        (Value::I16(-16), AMQPValue::ShortInt(-16)),
        (Value::U16(60_000), AMQPValue::ShortUInt(60_000)),
        (Value::I32(-32), AMQPValue::LongInt(-32)),
        (
            Value::U32(4_000_000_000),
            AMQPValue::LongUInt(4_000_000_000),
        ),
        (Value::I64(i64::MIN), AMQPValue::LongLongInt(i64::MIN)),
        (Value::F32(0.25), AMQPValue::Float(0.25)),
        (Value::F64(-1e300), AMQPValue::Double(-1e300)),
        (
            Value::Decimal {
                scale: 2,
                value: 314,
            },
            AMQPValue::DecimalValue(DecimalValue {
                scale: 2,
                value: 314,
            }),
        ),
        ("text".into(), AMQPValue::LongString("text".into())),
        (
            Value::Bytes([0, 255].into()),
            AMQPValue::ByteArray(vec![0, 255].into()),
        ),
        (Value::Timestamp(1 << 40), AMQPValue::Timestamp(1 << 40)),
        (Value::Array(array), AMQPValue::FieldArray(items)),
        (
            Table::new().into(),
            AMQPValue::FieldTable(FieldTable::default()),
        ),
        (Value::Void, AMQPValue::Void),
    ];
    let mut ours = Table::new();
    let mut theirs = FieldTable::default();
    for ((our_value, their_value), key) in values.into_iter().zip("abcdefghijklmnopq".chars()) {
        ours.insert(key.to_string(), our_value);
        theirs.insert(short(&key.to_string()), their_value);
    }
    (ours, theirs)
}

fn properties(ours: &PropertiesBuf, theirs: AMQPProperties) {
    let header = AMQPContentHeader {
        class_id: 60,
        body_size: 1 << 33,
        properties: theirs,
    };
    let theirs = AMQPFrame::Header(CHANNEL, header);
    let mut bytes = Vec::new();
    put_content_header(&mut bytes, CHANNEL, &ours.encode(), 1 << 33);
    assert_eq!(bytes, written_by_them(&theirs));
    assert_eq!(read_by_them(&bytes), theirs);
    let frame = frame::next(&bytes, 0).unwrap().unwrap();
    let header = ContentHeader::decode(frame.payload).unwrap();
    assert_eq!((header.class, header.body_size), (60, 1 << 33));
    assert!(Properties::parse(header.properties).is_ok());
    assert_eq!(PropertiesBuf::parse(header.properties).as_ref(), Ok(ours));
}

#[test]
fn properties_and_tables() {
    let theirs = AMQPProperties::default;
    let text = |text: &str| Some(text.as_bytes().into());
    let mut ours = PropertiesBuf::default();
    properties(&ours, theirs());
    ours.delivery_mode = Some(2);
    properties(&ours, theirs().with_delivery_mode(2));

    let (headers, their_headers) = every_type();
    ours = PropertiesBuf {
        content_type: text("text/plain"),
        content_encoding: text("gzip"),
        headers: Some(headers),
        delivery_mode: Some(2),
        priority: Some(9),
        correlation_id: text("correlation"),
        reply_to: text("reply"),
        expiration: text("60000"),
        message_id: text("id"),
        timestamp: Some(1_700_000_000),
        kind: text("type"),
        user_id: text("guest"),
        app_id: text("app"),
        cluster_id: text("cluster"),
    };
    let all = theirs()
        .with_content_type(short("text/plain"))
        .with_content_encoding(short("gzip"))
        .with_headers(their_headers)
        .with_delivery_mode(2)
        .with_priority(9)
        .with_correlation_id(short("correlation"))
        .with_reply_to(short("reply"))
        .with_expiration(short("60000"))
        .with_message_id(short("id"))
        .with_timestamp(1_700_000_000)
        .with_type(short("type"))
        .with_user_id(short("guest"))
        .with_app_id(short("app"))
        .with_cluster_id(short("cluster"));
    properties(&ours, all);
}
