//! RabbitMQ's seven tutorials with lapin, sender and receiver on connections of their own.

use futures_lite::StreamExt;
use interop::{unique, within};
use lapin::options::*;
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};

use crate::world::{Acknowledgement::*, Session, test, text};

#[test]
fn tutorial_1_hello() {
    test(|world| async move {
        let (sender, receiver) = (world.open().await, world.open().await);
        let queue = world.queue(&sender.channel, FieldTable::default()).await;

        sender.send(&queue, "Hello World!").await;

        receiver
            .consume(&queue, Automatic)
            .await
            .expect(&["Hello World!"])
            .await;
    });
}

#[test]
fn tutorial_2_work_queue() {
    test(|world| async move {
        let (sender, busy, diligent) = (world.open().await, world.open().await, world.open().await);
        let queue = world.queue(&sender.channel, FieldTable::default()).await;
        for worker in [&busy, &diligent] {
            worker
                .channel
                .basic_qos(1, BasicQosOptions::default())
                .await
                .unwrap();
        }

        let mut hoarded = busy.consume(&queue, Manual).await;
        sender.send(&queue, "task 0").await;
        hoarded.expect(&["task 0"]).await;

        // The busy worker holds its task, so the other one does all the rest.
        let mut done = diligent.consume(&queue, Manual).await;
        for n in 1..=5 {
            sender.send(&queue, &format!("task {n}")).await;
        }
        for n in 1..=5 {
            let task = done.next().await;
            assert_eq!(text(&task), format!("task {n}"));
            task.acker.ack(BasicAckOptions::default()).await.unwrap();
        }

        busy.connection.close(200, "lost".into()).await.unwrap();
        let returned = done.next().await;
        assert_eq!(text(&returned), "task 0");
        assert!(returned.redelivered);
        returned
            .acker
            .ack(BasicAckOptions::default())
            .await
            .unwrap();
    });
}

#[test]
fn tutorial_3_publish_subscribe() {
    test(|world| async move {
        let (sender, receiver) = (world.open().await, world.open().await);
        let logs = world
            .exchange(&sender.channel, ExchangeKind::Fanout, FieldTable::default())
            .await;
        let mut screen = receiver.subscribe(&logs, &[""]).await;
        let mut file = receiver.subscribe(&logs, &["ignored"]).await;

        sender
            .publish(&logs, "", BasicProperties::default(), b"info: all is well")
            .await;

        screen.expect(&["info: all is well"]).await;
        file.expect(&["info: all is well"]).await;
    });
}

#[test]
fn tutorial_4_routing() {
    test(|world| async move {
        let (sender, receiver) = (world.open().await, world.open().await);
        let logs = world
            .exchange(&sender.channel, ExchangeKind::Direct, FieldTable::default())
            .await;
        let mut errors = receiver.subscribe(&logs, &["error"]).await;
        let mut all = receiver
            .subscribe(&logs, &["info", "warning", "error"])
            .await;

        publish_under_their_names(&sender, &logs, &["info", "warning", "error"]).await;

        all.expect(&["info", "warning", "error"]).await;
        errors.expect(&["error"]).await;
    });
}

#[test]
fn tutorial_5_topics() {
    test(|world| async move {
        let (sender, receiver) = (world.open().await, world.open().await);
        let logs = world
            .exchange(&sender.channel, ExchangeKind::Topic, FieldTable::default())
            .await;
        // Each is bound to the last key as well, so a message too many would come before it.
        let mut everything = receiver.subscribe(&logs, &["#"]).await;
        let mut kernel = receiver.subscribe(&logs, &["kern.*", "end"]).await;
        let mut deep = receiver.subscribe(&logs, &["kern.#", "end"]).await;
        let mut critical = receiver.subscribe(&logs, &["*.critical", "end"]).await;

        let keys = ["kern.critical", "kern.a.b", "kern", "auth.critical", "end"];
        publish_under_their_names(&sender, &logs, &keys).await;

        everything.expect(&keys).await;
        kernel.expect(&["kern.critical", "end"]).await;
        deep.expect(&["kern.critical", "kern.a.b", "kern", "end"])
            .await;
        critical
            .expect(&["kern.critical", "auth.critical", "end"])
            .await;
    });
}

async fn publish_under_their_names(sender: &Session, exchange: &str, keys: &[&str]) {
    for key in keys {
        sender
            .publish(exchange, key, BasicProperties::default(), key.as_bytes())
            .await;
    }
}

#[test]
fn tutorial_6_rpc() {
    test(|world| async move {
        let (server, client) = (world.open().await, world.open().await);
        let requests = world.queue(&server.channel, FieldTable::default()).await;
        server
            .channel
            .basic_qos(1, BasicQosOptions::default())
            .await
            .unwrap();
        let serving = tokio::spawn(serve_fibonacci(server, requests.clone(), 3));

        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        let reply_to = client
            .channel
            .queue_declare("".into(), exclusive, FieldTable::default())
            .await
            .unwrap()
            .name()
            .clone();
        let mut replies = client.consume(reply_to.as_str(), Automatic).await;

        for (n, answer) in [("0", "0"), ("10", "55"), ("30", "832040")] {
            let id = unique("call");
            let call = BasicProperties::default()
                .with_reply_to(reply_to.clone())
                .with_correlation_id(id.as_str().into());
            client.publish("", &requests, call, n.as_bytes()).await;
            let reply = replies.next().await;
            assert_eq!(text(&reply), answer);
            assert_eq!(
                reply.properties.correlation_id().as_ref().unwrap().as_str(),
                id
            );
        }
        within("the server's end", serving).await.unwrap();
    });
}

async fn serve_fibonacci(server: Session, requests: String, count: usize) {
    let mut requests = server.consume(&requests, Manual).await.0.take(count);
    while let Some(request) = requests.next().await {
        let request = request.unwrap();
        let n: u32 = text(&request).parse().unwrap();
        let answer = (0..n).fold((0_u64, 1_u64), |(a, b), _| (b, a + b)).0;
        let id = request.properties.correlation_id().clone().unwrap();
        let reply_to = request.properties.reply_to().clone().unwrap();
        let reply = BasicProperties::default().with_correlation_id(id);
        server
            .publish("", reply_to.as_str(), reply, answer.to_string().as_bytes())
            .await;
        request.acker.ack(BasicAckOptions::default()).await.unwrap();
    }
}

#[test]
fn tutorial_7_publisher_confirms() {
    test(|world| async move {
        let session = world.open().await;
        let queue = world.queue(&session.channel, FieldTable::default()).await;
        session
            .channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();

        for n in 0..10 {
            session.send(&queue, &format!("one {n}")).await;
        }

        let mut batch = Vec::new();
        for n in 0..200 {
            let persistent = BasicProperties::default().with_delivery_mode(2);
            let body = format!("batch {n}");
            let options = BasicPublishOptions::default();
            let confirm = session.channel.basic_publish(
                "".into(),
                queue.as_str().into(),
                options,
                body.as_bytes(),
                persistent,
            );
            batch.push(confirm.await.unwrap());
        }
        for confirm in batch {
            assert!(within("a confirm", confirm).await.unwrap().is_ack());
        }

        assert_eq!(session.ready(&queue).await, 210);
    });
}
