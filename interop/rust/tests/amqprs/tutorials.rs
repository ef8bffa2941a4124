//! RabbitMQ's seven tutorials with amqprs, sender and receiver on connections of their own.

use amqprs::channel::ConfirmSelectArguments;
use amqprs::{BasicProperties, FieldTable};
use interop::{unique, within};

use crate::world::{Acknowledgement::*, Event, Session, test};

#[test]
fn tutorial_1_hello() {
    test(|world| async move {
        let (sender, receiver) = (world.open().await, world.open().await);
        let queue = world.queue(&sender, FieldTable::new()).await;

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
        let queue = world.queue(&sender, FieldTable::new()).await;
        busy.prefetch(1).await;
        diligent.prefetch(1).await;

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
            assert_eq!(task.text(), format!("task {n}"));
            diligent.ack(&task).await;
        }

        busy.connection.close().await.unwrap();
        let returned = done.next().await;
        assert_eq!((returned.text(), returned.redelivered), ("task 0", true));
        diligent.ack(&returned).await;
    });
}

#[test]
fn tutorial_3_publish_subscribe() {
    test(|world| async move {
        let (sender, receiver) = (world.open().await, world.open().await);
        let logs = world.exchange(&sender, "fanout").await;
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
        let logs = world.exchange(&sender, "direct").await;
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
        let logs = world.exchange(&sender, "topic").await;
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
        let requests = world.queue(&server, FieldTable::new()).await;
        server.prefetch(1).await;
        let serving = tokio::spawn(serve_fibonacci(server, requests.clone(), 3));

        let reply_to = client.exclusive_queue().await;
        let mut replies = client.consume(&reply_to, Automatic).await;

        for (n, answer) in [("0", "0"), ("10", "55"), ("30", "832040")] {
            let id = unique("call");
            let call = BasicProperties::default()
                .with_reply_to(&reply_to)
                .with_correlation_id(&id)
                .finish();
            client.publish("", &requests, call, n.as_bytes()).await;
            let reply = replies.next().await;
            assert_eq!(reply.text(), answer);
            assert_eq!(reply.properties.correlation_id(), Some(&id));
        }
        within("the server's end", serving).await.unwrap();
    });
}

async fn serve_fibonacci(server: Session, requests: String, count: usize) {
    let mut requests = server.consume(&requests, Manual).await;
    for _ in 0..count {
        let request = requests.next().await;
        let n: u32 = request.text().parse().unwrap();
        let answer = (0..n).fold((0_u64, 1_u64), |(a, b), _| (b, a + b)).0;
        let reply_to = request.properties.reply_to().unwrap();
        let id = request.properties.correlation_id().unwrap();
        let reply = BasicProperties::default().with_correlation_id(id).finish();
        server
            .publish("", reply_to, reply, answer.to_string().as_bytes())
            .await;
        server.ack(&request).await;
    }
    // An answer on the channel says that everything before it has been sent.
    server.channel.flow(true).await.unwrap();
}

#[test]
fn tutorial_7_publisher_confirms() {
    test(|world| async move {
        let mut session = world.open().await;
        let queue = world.queue(&session, FieldTable::new()).await;
        session
            .channel
            .confirm_select(ConfirmSelectArguments::default())
            .await
            .unwrap();

        for n in 1..=10 {
            session.send(&queue, &format!("one {n}")).await;
            assert_eq!(
                session.event().await,
                Event::Ack {
                    tag: n,
                    multiple: false
                }
            );
        }

        for n in 0..200 {
            session.send(&queue, &format!("batch {n}")).await;
        }
        let mut outstanding: Vec<u64> = (11..=210).collect();
        while !outstanding.is_empty() {
            match session.event().await {
                Event::Ack {
                    tag,
                    multiple: true,
                } => outstanding.retain(|&open| open > tag),
                Event::Ack {
                    tag,
                    multiple: false,
                } => outstanding.retain(|&open| open != tag),
                other => panic!("{other:?}"),
            }
        }

        assert_eq!(session.ready(&queue).await, 210);
    });
}
