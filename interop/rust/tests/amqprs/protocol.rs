//! What amqprs' users rely on beyond the tutorials.

use amqprs::channel::*;
use amqprs::connection::Connection;
use amqprs::{BasicProperties, DecimalValue, FieldArray, FieldTable, FieldValue};
use interop::{noise, unique, within};

use crate::world::{Acknowledgement::*, Event, Session, arguments, field, table, test};

fn none() -> FieldTable {
    FieldTable::new()
}

#[test]
fn unroutable_mandatory_returns_before_its_confirm() {
    test(|world| async move {
        let mut session = world.open().await;
        session
            .channel
            .confirm_select(ConfirmSelectArguments::default())
            .await
            .unwrap();
        let key = unique("nowhere");

        let mandatory = BasicPublishArguments::new("", &key)
            .mandatory(true)
            .finish();
        session
            .channel
            .basic_publish(BasicProperties::default(), b"lost".to_vec(), mandatory)
            .await
            .unwrap();

        let returned = Event::Return {
            code: 312,
            text: "NO_ROUTE".into(),
            key,
            body: b"lost".to_vec(),
        };
        assert_eq!(session.event().await, returned);
        assert_eq!(
            session.event().await,
            Event::Ack {
                tag: 1,
                multiple: false
            }
        );
    });
}

#[test]
fn a_full_queue_nacks() {
    test(|world| async move {
        let mut session = world.open().await;
        let full = table([
            ("x-max-length", FieldValue::I(1)),
            ("x-overflow", "reject-publish".into()),
        ]);
        let queue = world.queue(&session, full).await;
        session
            .channel
            .confirm_select(ConfirmSelectArguments::default())
            .await
            .unwrap();

        session.send(&queue, "fits").await;
        assert_eq!(
            session.event().await,
            Event::Ack {
                tag: 1,
                multiple: false
            }
        );
        session.send(&queue, "too much").await;
        assert_eq!(session.event().await, Event::Nack { tag: 2 });
    });
}

#[test]
fn a_consumer_is_told_that_its_queue_is_deleted() {
    test(|world| async move {
        let (mut session, other) = (world.open().await, world.open().await);
        let queue = world.queue(&session, none()).await;
        let inbox = session.consume(&queue, Manual).await;

        other
            .channel
            .queue_delete(QueueDeleteArguments::new(&queue))
            .await
            .unwrap();

        assert_eq!(session.event().await, Event::Cancel { tag: inbox.tag });
    });
}

#[test]
fn prefetch_bounds_what_is_unacknowledged() {
    test(|world| async move {
        let (session, asking) = (world.open().await, world.open().await);
        let queue = world.queue(&session, none()).await;
        for n in 0..10 {
            session.send(&queue, &n.to_string()).await;
        }
        session.prefetch(3).await;
        let mut inbox = session.consume(&queue, Manual).await;

        inbox.expect(&["0", "1"]).await;
        let third = inbox.next().await;
        asking.until_ready(&queue, 7).await;

        session
            .channel
            .basic_ack(BasicAckArguments::new(third.tag, true))
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
        let queue = world.queue(&session, none()).await;
        for n in 0..3 {
            session.send(&queue, &n.to_string()).await;
        }
        session.get(&queue, Manual).await;
        let second = session.get(&queue, Manual).await;
        assert!(!second.redelivered);

        session
            .channel
            .basic_nack(BasicNackArguments::new(second.tag, true, true))
            .await
            .unwrap();

        session.until_ready(&queue, 3).await;
        for n in 0..3 {
            let again = session.get(&queue, Automatic).await;
            assert_eq!(
                (again.text(), again.redelivered),
                (n.to_string().as_str(), n < 2)
            );
        }
    });
}

#[test]
fn a_rejected_message_is_dead_lettered() {
    test(|world| async move {
        let session = world.open().await;
        let graveyard = world.exchange(&session, "direct").await;
        let dead = world.queue(&session, none()).await;
        session.bind(&dead, &graveyard, "buried", none()).await;
        let dying = table([
            ("x-dead-letter-exchange", graveyard.clone().into()),
            ("x-dead-letter-routing-key", "buried".into()),
        ]);
        let queue = world.queue(&session, dying).await;

        session.send(&queue, "poison").await;
        let poison = session.get(&queue, Manual).await;
        session
            .channel
            .basic_reject(BasicRejectArguments::new(poison.tag, false))
            .await
            .unwrap();

        let letter = session.get(&dead, Automatic).await;
        assert_eq!((letter.text(), letter.key.as_str()), ("poison", "buried"));
        let headers = letter.properties.headers().unwrap();
        let FieldValue::A(deaths) = field(headers, "x-death") else {
            panic!("x-death is no array")
        };
        let deaths: Vec<FieldValue> = deaths.clone().into();
        let [FieldValue::F(death)] = deaths.as_slice() else {
            panic!("not one death")
        };
        assert_eq!(field(death, "queue"), &queue.into());
        assert_eq!(field(death, "reason"), &"rejected".into());
        assert_eq!(field(death, "count"), &FieldValue::l(1));
        assert!(matches!(field(death, "time"), FieldValue::T(_)));
    });
}

#[test]
fn refusals_close_the_channel_only() {
    test(|world| async move {
        let mut session = world.open().await;
        let owner = world.open().await;
        let absent = unique("absent");
        let locked = owner.exclusive_queue().await;

        let passive = QueueDeclareArguments::new(&absent).passive(true).finish();
        session.channel.queue_declare(passive).await.unwrap_err();
        let text = format!("NOT_FOUND - no queue '{absent}' in vhost '/'");
        assert_eq!(session.event().await, Event::Close { code: 404, text });

        let mut session = session.reopen().await;
        session
            .publish(&absent, "", BasicProperties::default(), b"x")
            .await;
        let text = format!("NOT_FOUND - no exchange '{absent}' in vhost '/'");
        assert_eq!(session.event().await, Event::Close { code: 404, text });

        let mut session = session.reopen().await;
        let passive = QueueDeclareArguments::new(&locked).passive(true).finish();
        session.channel.queue_declare(passive).await.unwrap_err();
        let Event::Close { code: 405, text } = session.event().await else {
            panic!("not RESOURCE_LOCKED")
        };
        assert!(
            text.starts_with("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue"),
            "{text}"
        );

        let mut session = session.reopen().await;
        session
            .channel
            .basic_ack(BasicAckArguments::new(99, false))
            .await
            .unwrap();
        let text = "PRECONDITION_FAILED - unknown delivery tag 99".into();
        assert_eq!(session.event().await, Event::Close { code: 406, text });

        assert!(session.connection.is_open());
    });
}

#[test]
fn headers_exchange() {
    test(|world| async move {
        let session = world.open().await;
        let exchange = world.exchange(&session, "headers").await;
        let all = world.queue(&session, none()).await;
        let any = world.queue(&session, none()).await;
        for (queue, kind) in [(&all, "all"), (&any, "any")] {
            let wanted = table([
                ("x-match", kind.into()),
                ("format", "pdf".into()),
                ("pages", FieldValue::I(3)),
            ]);
            session.bind(queue, &exchange, "", wanted).await;
            session
                .bind(queue, &exchange, "", table([("last", true.into())]))
                .await;
        }

        for (body, headers) in [
            (
                "both",
                table([("format", "pdf".into()), ("pages", FieldValue::I(3))]),
            ),
            (
                "one",
                table([("format", "pdf".into()), ("pages", FieldValue::I(4))]),
            ),
            ("neither", table([("format", "zip".into())])),
            ("end", table([("last", true.into())])),
        ] {
            let properties = BasicProperties::default().with_headers(headers).finish();
            session
                .publish(&exchange, "", properties, body.as_bytes())
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
fn priorities() {
    test(|world| async move {
        let session = world.open().await;
        let queue = world
            .queue(&session, table([("x-max-priority", FieldValue::I(5))]))
            .await;
        for priority in [1, 5, 0, 3] {
            let properties = BasicProperties::default().with_priority(priority).finish();
            session
                .publish("", &queue, properties, priority.to_string().as_bytes())
                .await;
        }
        session.until_ready(&queue, 4).await;

        session
            .consume(&queue, Automatic)
            .await
            .expect(&["5", "3", "1", "0"])
            .await;
    });
}

#[test]
fn large_and_empty_bodies() {
    test(|world| async move {
        let session = world.open().await;
        let queue = world.queue(&session, none()).await;
        let large = noise(1 << 20);
        let mut inbox = session.consume(&queue, Automatic).await;

        for body in [large.as_slice(), &[], &large] {
            session
                .publish("", &queue, BasicProperties::default(), body)
                .await;
        }

        for body in [large.as_slice(), &[], &large] {
            assert!(
                inbox.next().await.body == body,
                "the body changed on its way"
            );
        }
    });
}

#[test]
fn properties_and_header_types() {
    test(|world| async move {
        let session = world.open().await;
        let queue = world.queue(&session, none()).await;
        let headers = table([
            ("bool", FieldValue::t(true)),
            ("i8", FieldValue::b(-5)),
            ("u8", FieldValue::B(200)),
            ("i16", FieldValue::s(-300)),
            ("u16", FieldValue::u(60_000)),
            ("i32", FieldValue::I(-70_000)),
            ("u32", FieldValue::i(4_000_000_000)),
            ("i64", FieldValue::l(1 << 40)),
            ("f32", FieldValue::f(0.5)),
            ("f64", FieldValue::d(0.25)),
            ("decimal", FieldValue::D(DecimalValue::new(2, 1234))),
            ("string", "snowman \u{2603}".into()),
            ("bytes", FieldValue::x(vec![0, 1, 255].try_into().unwrap())),
            ("time", FieldValue::T(1_700_000_000)),
            ("void", FieldValue::V),
            (
                "table",
                table([("deeper", table([("x", "y".into())]).into())]).into(),
            ),
            (
                "array",
                FieldValue::A(FieldArray::try_from(vec!["a".into(), false.into()]).unwrap()),
            ),
        ]);
        let properties = BasicProperties::default()
            .with_content_type("application/json")
            .with_content_encoding("identity")
            .with_headers(headers)
            .with_persistence(true)
            .with_priority(7)
            .with_correlation_id("c-1")
            .with_reply_to("somewhere")
            .with_expiration("600000")
            .with_message_id("m-1")
            .with_timestamp(1_700_000_000)
            .with_message_type("order.placed")
            .with_user_id("guest")
            .with_app_id("shop")
            .finish();

        session.publish("", &queue, properties.clone(), b"{}").await;

        let got = session.get(&queue, Automatic).await.properties;
        assert_eq!(got.headers(), properties.headers());
        // The other properties compare as text only, and the headers' order in it is random.
        let rest =
            |properties: &BasicProperties| properties.clone().with_headers(none()).to_string();
        assert_eq!(rest(&got), rest(&properties));
    });
}

#[test]
fn transactions() {
    test(|world| async move {
        let (session, asking) = (world.open().await, world.open().await);
        let queue = world.queue(&session, none()).await;
        session.channel.tx_select().await.unwrap();

        session.send(&queue, "undone").await;
        session.channel.tx_rollback().await.unwrap();
        session.send(&queue, "kept").await;
        assert_eq!(asking.ready(&queue).await, 0);
        session.channel.tx_commit().await.unwrap();

        assert_eq!(asking.ready(&queue).await, 1);
        assert_eq!(asking.get(&queue, Automatic).await.text(), "kept");
    });
}

#[test]
fn direct_reply_to() {
    test(|world| async move {
        let (server, client) = (world.open().await, world.open().await);
        let queue = world.queue(&server, none()).await;
        let mut requests = server.consume(&queue, Automatic).await;
        let mut replies = client.consume("amq.rabbitmq.reply-to", Automatic).await;

        let asking = BasicProperties::default()
            .with_reply_to("amq.rabbitmq.reply-to")
            .finish();
        client.publish("", &queue, asking, b"ping").await;
        let request = requests.next().await;
        server
            .publish(
                "",
                request.properties.reply_to().unwrap(),
                BasicProperties::default(),
                b"pong",
            )
            .await;

        replies.expect(&["pong"]).await;
    });
}

#[test]
fn heartbeats_keep_an_idle_connection() {
    test(|world| async move {
        let session = world.open_by(arguments().heartbeat(1).finish()).await;
        assert_eq!(session.connection.heartbeat(), 1);

        // Both sides give up after a few silent seconds.
        let failure = session.connection.listen_network_io_failure();
        let idle = tokio::time::timeout(std::time::Duration::from_secs(4), failure).await;

        assert!(idle.is_err(), "the connection was lost");
        Session::on(session.connection)
            .await
            .exclusive_queue()
            .await;
    });
}

#[test]
fn the_server_presents_itself() {
    test(|world| async move {
        let session = world.open().await;
        let server = session.connection.server_properties();

        assert_eq!(server.product(), "RabbitMQ");
        let capabilities = server.capabilities();
        assert!(capabilities.publisher_confirms() && capabilities.basic_nack());
        assert!(capabilities.consumer_cancel_notify() && capabilities.connection_blocked());
        assert_eq!(session.connection.connection_name(), "interop amqprs");
    });
}

#[test]
fn login_and_vhost_are_checked() {
    test(|_| async move {
        let wrong = amqprs::security::SecurityCredentials::new_plain("guest", "wrong");
        for refused in [
            arguments().credentials(wrong).finish(),
            arguments().virtual_host("no-such-vhost").finish(),
        ] {
            assert!(
                within("an answer", Connection::open(&refused))
                    .await
                    .is_err()
            );
        }
    });
}
