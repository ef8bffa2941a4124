//! What lapin's users rely on beyond the tutorials.

use std::time::Duration;

use futures_lite::StreamExt;
use interop::{noise, unique, within};
use lapin::options::*;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties, ExchangeKind};

use crate::world::{Acknowledgement::*, Session, field, refusal, string, table, test, text, uri};

fn none() -> FieldTable {
    FieldTable::default()
}

#[test]
fn every_publish_is_confirmed() {
    test(|world| async move {
        let session = world.open().await;
        let queue = world.queue(&session.channel, none()).await;
        session
            .channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();

        // Dropped confirms are kept by the channel, which settles them by single and multiple acks.
        for n in 0..1000 {
            let persistent = BasicProperties::default().with_delivery_mode(2);
            let body = format!("{n}");
            let options = BasicPublishOptions::default();
            let publish = session.channel.basic_publish(
                "".into(),
                queue.as_str().into(),
                options,
                body.as_bytes(),
                persistent,
            );
            drop(publish.await.unwrap());
        }

        assert!(
            within("the confirms", session.channel.wait_for_confirms())
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(session.ready(&queue).await, 1000);
    });
}

#[test]
fn unroutable_mandatory_is_returned_with_its_confirm() {
    test(|world| async move {
        let session = world.open().await;
        session
            .channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        let key = unique("nowhere");
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let properties = BasicProperties::default().with_message_id("m1".into());

        let publish = session.channel.basic_publish(
            "".into(),
            key.as_str().into(),
            mandatory,
            b"lost",
            properties,
        );
        let confirmation = within("the confirm", publish.await.unwrap()).await.unwrap();

        assert!(confirmation.is_ack());
        let returned = confirmation
            .take_message()
            .expect("lapin pairs them when the return comes first");
        assert_eq!(
            (returned.reply_code, returned.reply_text.as_str()),
            (312, "NO_ROUTE")
        );
        assert_eq!(returned.delivery.routing_key.as_str(), key);
        assert_eq!(
            returned
                .delivery
                .properties
                .message_id()
                .as_ref()
                .unwrap()
                .as_str(),
            "m1"
        );
        assert_eq!(text(&returned.delivery), "lost");
    });
}

#[test]
fn a_full_queue_nacks() {
    test(|world| async move {
        let session = world.open().await;
        let full = table([
            ("x-max-length", AMQPValue::LongInt(1)),
            ("x-overflow", string("reject-publish")),
        ]);
        let queue = world.queue(&session.channel, full).await;
        session
            .channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();

        for fits in [true, false] {
            let (options, properties) =
                (BasicPublishOptions::default(), BasicProperties::default());
            let publish = session.channel.basic_publish(
                "".into(),
                queue.as_str().into(),
                options,
                b"x",
                properties,
            );
            let confirmation = within("the confirm", publish.await.unwrap()).await.unwrap();
            assert_eq!(
                (confirmation.is_ack(), confirmation.is_nack()),
                (fits, !fits)
            );
        }
    });
}

#[test]
fn a_consumer_is_told_that_its_queue_is_deleted() {
    test(|world| async move {
        let session = world.open().await;
        let queue = world.queue(&session.channel, none()).await;
        let mut inbox = session.consume(&queue, Manual).await;

        let other = session.connection.create_channel().await.unwrap();
        other
            .queue_delete(queue.into(), Default::default())
            .await
            .unwrap();

        assert!(within("the consumer's end", inbox.0.next()).await.is_none());
    });
}

#[test]
fn prefetch_bounds_what_is_unacknowledged() {
    test(|world| async move {
        let (session, asking) = (world.open().await, world.open().await);
        let queue = world.queue(&session.channel, none()).await;
        for n in 0..10 {
            session.send(&queue, &n.to_string()).await;
        }
        session
            .channel
            .basic_qos(3, BasicQosOptions::default())
            .await
            .unwrap();
        let mut inbox = session.consume(&queue, Manual).await;

        inbox.expect(&["0", "1"]).await;
        let third = inbox.next().await;
        asking.until_ready(&queue, 7).await;

        third
            .acker
            .ack(BasicAckOptions { multiple: true })
            .await
            .unwrap();
        inbox.expect(&["3", "4", "5"]).await;
        asking.until_ready(&queue, 4).await;
    });
}

#[test]
fn nack_of_multiple_requeues_in_order() {
    test(|world| async move {
        let session = world.open().await;
        let queue = world.queue(&session.channel, none()).await;
        for n in 0..4 {
            session.send(&queue, &n.to_string()).await;
        }
        session.get(&queue, Manual).await;
        session.get(&queue, Manual).await;
        let third = session.get(&queue, Manual).await;
        assert!(!third.redelivered);

        third
            .acker
            .nack(BasicNackOptions {
                multiple: true,
                requeue: true,
            })
            .await
            .unwrap();

        session.until_ready(&queue, 4).await;
        for n in 0..4 {
            let again = session.get(&queue, Automatic).await;
            assert_eq!(
                (text(&again), again.redelivered),
                (n.to_string().as_str(), n < 3)
            );
        }
    });
}

#[test]
fn a_rejected_message_is_dead_lettered() {
    test(|world| async move {
        let session = world.open().await;
        let graveyard = world
            .exchange(&session.channel, ExchangeKind::Direct, none())
            .await;
        let dead = world.queue(&session.channel, none()).await;
        session.bind(&dead, &graveyard, "buried", none()).await;
        let dying = table([
            ("x-dead-letter-exchange", string(&graveyard)),
            ("x-dead-letter-routing-key", string("buried")),
        ]);
        let queue = world.queue(&session.channel, dying).await;

        let headers = BasicProperties::default().with_headers(table([("trace", string("abc"))]));
        session.publish("", &queue, headers, b"poison").await;
        let poison = session.get(&queue, Manual).await;
        poison
            .acker
            .reject(BasicRejectOptions { requeue: false })
            .await
            .unwrap();

        let letter = session.get(&dead, Automatic).await;
        assert_eq!(
            (text(&letter), letter.routing_key.as_str()),
            ("poison", "buried")
        );
        let headers = letter.properties.headers().as_ref().unwrap();
        assert_eq!(field(headers, "trace"), &string("abc"));
        assert_eq!(field(headers, "x-first-death-queue"), &string(&queue));
        assert_eq!(field(headers, "x-first-death-reason"), &string("rejected"));
        let AMQPValue::FieldArray(deaths) = field(headers, "x-death") else {
            panic!("x-death is no array")
        };
        let [AMQPValue::FieldTable(death)] = deaths.as_slice() else {
            panic!("not one death: {deaths:?}")
        };
        assert_eq!(field(death, "queue"), &string(&queue));
        assert_eq!(field(death, "reason"), &string("rejected"));
        assert_eq!(field(death, "exchange"), &string(""));
        assert_eq!(field(death, "count"), &AMQPValue::LongLongInt(1));
        assert_eq!(
            field(death, "routing-keys"),
            &AMQPValue::FieldArray(FieldArray::from(vec![string(&queue)]))
        );
        assert!(matches!(field(death, "time"), AMQPValue::Timestamp(_)));
    });
}

#[test]
fn a_message_is_retried_through_a_waiting_queue() {
    test(|world| async move {
        let session = world.open().await;
        let wait = unique("wait");
        let to_wait = table([
            ("x-dead-letter-exchange", string("")),
            ("x-dead-letter-routing-key", string(&wait)),
        ]);
        let work = world.queue(&session.channel, to_wait).await;
        let back_to_work = table([
            ("x-message-ttl", AMQPValue::LongInt(1)),
            ("x-dead-letter-exchange", string("")),
            ("x-dead-letter-routing-key", string(&work)),
        ]);
        world
            .queue_named(&session.channel, wait, back_to_work)
            .await;
        let mut attempts = session.consume(&work, Manual).await;

        session.send(&work, "again").await;

        for round in 0..3 {
            let attempt = attempts.next().await;
            assert_eq!(
                deaths(&attempt.properties),
                round,
                "rounds through the waiting queue"
            );
            attempt
                .acker
                .reject(BasicRejectOptions { requeue: false })
                .await
                .unwrap();
        }
        attempts
            .next()
            .await
            .acker
            .ack(BasicAckOptions::default())
            .await
            .unwrap();
    });
}

/// The count of the newest death.
fn deaths(properties: &BasicProperties) -> i64 {
    let Some(AMQPValue::FieldArray(deaths)) = properties
        .headers()
        .as_ref()
        .and_then(|headers| headers.inner().get("x-death"))
    else {
        return 0;
    };
    let AMQPValue::FieldTable(newest) = &deaths.as_slice()[0] else {
        panic!("a death is no table")
    };
    field(newest, "count").as_long_long_int().expect("a count")
}

#[test]
fn an_exclusive_queue_is_locked_for_others() {
    test(|world| async move {
        let (owner, intruder) = (world.open().await, world.open().await);
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        let queue = owner
            .channel
            .queue_declare("".into(), exclusive, none())
            .await
            .unwrap()
            .name()
            .clone();

        let passive = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let (code, reason) = refusal(
            intruder
                .channel
                .queue_declare(queue.clone(), passive, none())
                .await,
        );

        assert_eq!(code, 405);
        let text = format!(
            "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. "
        );
        assert!(reason.starts_with(&text), "{reason}");
    });
}

#[test]
fn refusals_close_the_channel_only() {
    test(|world| async move {
        let Session {
            connection,
            channel,
        } = world.open().await;
        let absent = unique("absent");
        let queue = world.queue(&channel, none()).await;
        let passive = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };

        assert_eq!(
            refusal(
                channel
                    .queue_declare(absent.as_str().into(), passive, none())
                    .await
            ),
            (404, format!("NOT_FOUND - no queue '{absent}' in vhost '/'"))
        );

        let next = connection.create_channel().await.unwrap();
        let passive = ExchangeDeclareOptions {
            passive: true,
            ..Default::default()
        };
        assert_eq!(
            refusal(
                next.exchange_declare(
                    absent.as_str().into(),
                    ExchangeKind::Direct,
                    passive,
                    none()
                )
                .await
            ),
            (
                404,
                format!("NOT_FOUND - no exchange '{absent}' in vhost '/'")
            )
        );

        let next = connection.create_channel().await.unwrap();
        let priorities = table([("x-max-priority", AMQPValue::LongInt(3))]);
        let text = format!("inequivalent arg 'x-max-priority' for queue '{queue}' in vhost '/'");
        let (code, reason) = refusal(
            next.queue_declare(queue.into(), QueueDeclareOptions::durable(), priorities)
                .await,
        );
        assert_eq!(code, 406);
        assert!(reason.contains(&text), "{reason}");

        assert!(connection.status().connected());
        connection.create_channel().await.unwrap();
    });
}

#[test]
fn headers_exchange() {
    test(|world| async move {
        let session = world.open().await;
        let exchange = world
            .exchange(&session.channel, ExchangeKind::Headers, none())
            .await;
        let all = world.queue(&session.channel, none()).await;
        let any = world.queue(&session.channel, none()).await;
        let last = || table([("last", AMQPValue::Boolean(true))]);
        for (queue, kind) in [(&all, "all"), (&any, "any")] {
            let wanted = table([
                ("x-match", string(kind)),
                ("format", string("pdf")),
                ("pages", AMQPValue::LongInt(3)),
            ]);
            session.bind(queue, &exchange, "", wanted).await;
            session.bind(queue, &exchange, "", last()).await;
        }

        for (body, headers) in [
            (
                "both",
                table([("format", string("pdf")), ("pages", AMQPValue::LongInt(3))]),
            ),
            (
                "one",
                table([("format", string("pdf")), ("pages", AMQPValue::LongInt(4))]),
            ),
            ("neither", table([("format", string("zip"))])),
            ("end", last()),
        ] {
            session
                .publish(
                    &exchange,
                    "",
                    BasicProperties::default().with_headers(headers),
                    body.as_bytes(),
                )
                .await;
        }

        session
            .consume(&all, Automatic)
            .await
            .expect(&["both", "end"])
            .await;
        session
            .consume(&any, Automatic)
            .await
            .expect(&["both", "one", "end"])
            .await;
    });
}

#[test]
fn exchange_binding_and_alternate_exchange() {
    test(|world| async move {
        let session = world.open().await;
        let alternate = world
            .exchange(&session.channel, ExchangeKind::Fanout, none())
            .await;
        let arguments = table([("alternate-exchange", string(&alternate))]);
        let front = world
            .exchange(&session.channel, ExchangeKind::Topic, arguments)
            .await;
        let back = world
            .exchange(&session.channel, ExchangeKind::Fanout, none())
            .await;
        let (to, from) = (back.as_str().into(), front.as_str().into());
        session
            .channel
            .exchange_bind(to, from, "order.#".into(), Default::default(), none())
            .await
            .unwrap();
        let mut orders = session.subscribe(&back, &[""]).await;
        let mut rest = session.subscribe(&alternate, &[""]).await;

        for key in ["order.placed", "refund", "order"] {
            session
                .publish(&front, key, BasicProperties::default(), key.as_bytes())
                .await;
        }

        orders.expect(&["order.placed", "order"]).await;
        rest.expect(&["refund"]).await;
    });
}

#[test]
fn priorities() {
    test(|world| async move {
        let session = world.open().await;
        let queue = world
            .queue(
                &session.channel,
                table([("x-max-priority", AMQPValue::LongInt(5))]),
            )
            .await;
        for priority in [1, 5, 0, 3, 9, 3] {
            let properties = BasicProperties::default().with_priority(priority);
            session
                .publish("", &queue, properties, priority.to_string().as_bytes())
                .await;
        }
        session.until_ready(&queue, 6).await;

        // 9 is above the maximum and counts as 5.
        session
            .consume(&queue, Automatic)
            .await
            .expect(&["5", "9", "3", "3", "1", "0"])
            .await;
    });
}

#[test]
fn consumer_priorities() {
    test(|world| async move {
        let session = world.open().await;
        let queue = world.queue(&session.channel, none()).await;
        let _low = session.consume(&queue, Automatic).await;
        let first = table([("x-priority", AMQPValue::LongInt(10))]);
        let mut high = session.consume_with(&queue, Automatic, first).await;

        for n in ["0", "1", "2"] {
            session.send(&queue, n).await;
        }

        high.expect(&["0", "1", "2"]).await;
    });
}

#[test]
fn large_and_empty_bodies() {
    test(|world| async move {
        let session = world.open().await;
        let queue = world.queue(&session.channel, none()).await;
        let large = noise(1 << 20);
        let mut inbox = session.consume(&queue, Automatic).await;

        for body in [large.as_slice(), &[], &large] {
            session
                .publish(
                    "",
                    &queue,
                    BasicProperties::default().with_delivery_mode(2),
                    body,
                )
                .await;
        }

        for body in [large.as_slice(), &[], &large] {
            assert!(
                inbox.next().await.data == body,
                "the body changed on its way"
            );
        }
    });
}

#[test]
fn properties_and_header_types() {
    test(|world| async move {
        let session = world.open().await;
        let queue = world.queue(&session.channel, none()).await;
        let headers = table([
            ("bool", AMQPValue::Boolean(true)),
            ("i8", AMQPValue::ShortShortInt(-5)),
            ("u8", AMQPValue::ShortShortUInt(200)),
            ("i16", AMQPValue::ShortInt(-300)),
            ("u16", AMQPValue::ShortUInt(60_000)),
            ("i32", AMQPValue::LongInt(-70_000)),
            ("u32", AMQPValue::LongUInt(4_000_000_000)),
            ("i64", AMQPValue::LongLongInt(1 << 40)),
            ("f32", AMQPValue::Float(0.5)),
            ("f64", AMQPValue::Double(0.25)),
            (
                "decimal",
                AMQPValue::DecimalValue(DecimalValue {
                    scale: 2,
                    value: 1234,
                }),
            ),
            ("string", string("snowman \u{2603}")),
            ("bytes", AMQPValue::ByteArray(vec![0, 1, 255].into())),
            ("time", AMQPValue::Timestamp(1_700_000_000)),
            ("void", AMQPValue::Void),
            (
                "table",
                AMQPValue::FieldTable(table([(
                    "deeper",
                    AMQPValue::FieldTable(table([("x", string("y"))])),
                )])),
            ),
            (
                "array",
                AMQPValue::FieldArray(FieldArray::from(vec![
                    string("a"),
                    AMQPValue::Boolean(false),
                ])),
            ),
        ]);
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_content_encoding("identity".into())
            .with_headers(headers)
            .with_delivery_mode(2)
            .with_priority(7)
            .with_correlation_id("c-1".into())
            .with_reply_to("somewhere".into())
            .with_expiration("600000".into())
            .with_message_id("m-1".into())
            .with_timestamp(1_700_000_000)
            .with_type("order.placed".into())
            .with_user_id("guest".into())
            .with_app_id("shop".into());

        session.publish("", &queue, properties.clone(), b"{}").await;

        assert_eq!(session.get(&queue, Automatic).await.properties, properties);
    });
}

#[test]
fn transactions() {
    test(|world| async move {
        let (session, asking) = (world.open().await, world.open().await);
        let queue = world.queue(&session.channel, none()).await;
        session.channel.tx_select().await.unwrap();

        session.send(&queue, "undone").await;
        session.channel.tx_rollback().await.unwrap();
        session.send(&queue, "kept").await;
        assert_eq!(asking.ready(&queue).await, 0);
        session.channel.tx_commit().await.unwrap();
        assert_eq!(asking.ready(&queue).await, 1);

        let kept = session.get(&queue, Manual).await;
        kept.acker.ack(BasicAckOptions::default()).await.unwrap();
        session.channel.tx_commit().await.unwrap();
        session.channel.close(200, "done".into()).await.unwrap();
        assert_eq!(asking.ready(&queue).await, 0);
    });
}

#[test]
fn recover_requeues() {
    test(|world| async move {
        let session = world.open().await;
        let queue = world.queue(&session.channel, none()).await;
        session.send(&queue, "held").await;
        session.get(&queue, Manual).await;

        session
            .channel
            .basic_recover(BasicRecoverOptions { requeue: true })
            .await
            .unwrap();

        assert!(session.get(&queue, Automatic).await.redelivered);
    });
}

#[test]
fn direct_reply_to() {
    test(|world| async move {
        let (server, client) = (world.open().await, world.open().await);
        let queue = world.queue(&server.channel, none()).await;
        let mut requests = server.consume(&queue, Automatic).await;
        let mut replies = client.consume("amq.rabbitmq.reply-to", Automatic).await;

        let asking = BasicProperties::default().with_reply_to("amq.rabbitmq.reply-to".into());
        client.publish("", &queue, asking, b"ping").await;
        let reply_to = requests.next().await.properties.reply_to().clone().unwrap();
        assert!(
            reply_to.as_str().starts_with("amq.rabbitmq.reply-to."),
            "{reply_to}"
        );
        server
            .publish("", reply_to.as_str(), BasicProperties::default(), b"pong")
            .await;

        replies.expect(&["pong"]).await;
    });
}

#[test]
fn heartbeats_keep_an_idle_connection() {
    test(|world| async move {
        let connection = world
            .connect_by(&uri("guest:guest", "%2f", "?heartbeat=1"))
            .await;
        let mut events = Box::pin(
            connection
                .events_listener()
                .filter(|event| matches!(event, lapin::Event::Error(_))),
        );

        // Both sides give up after a few silent seconds.
        let failure = tokio::time::timeout(Duration::from_secs(4), events.next()).await;

        assert!(failure.is_err(), "{failure:?}");
        connection.create_channel().await.unwrap();
    });
}

#[test]
fn update_secret() {
    test(|world| async move {
        let connection = world.connect().await;
        within(
            "update-secret-ok",
            connection.update_secret("guest".into(), "rotated".into()),
        )
        .await
        .unwrap();
        connection.create_channel().await.unwrap();
    });
}

#[test]
fn login_and_vhost_are_checked() {
    test(|_| async move {
        let connect = async |uri: String| {
            refusal(
                within(
                    "an answer",
                    Connection::connect(&uri, ConnectionProperties::default()),
                )
                .await,
            )
        };

        assert_eq!(
            connect(uri("guest:wrong", "%2f", "")).await,
            (403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.".into())
        );
        assert_eq!(
            connect(uri("guest:guest", "no-such-vhost", "")).await,
            (530, "NOT_ALLOWED - vhost no-such-vhost not found".into())
        );
    });
}
