//! Queues that begin, change and end.

use super::*;

#[test]
fn auto_delete_follows_the_last_consumer() {
    check(
        Settings {
            auto_delete: true,
            ..classic()
        },
        "get => empty
         detach 1
         attach 1 => attached
         attach 2 => attached
         detach 1
         detach 2 => delete
         detach 2
         attach 3 => attached
         detach 3",
    );
}

#[test]
fn an_unused_queue_expires() {
    let settings = |kind| Settings {
        expires_ms: Some(100),
        kind,
        ..classic()
    };
    check(
        settings(Kind::Classic),
        "deadline => 100
         time 50
         touch
         deadline => 150
         time 60
         get => empty
         deadline => 160
         publish a
         deadline => 160
         time 70
         attach 1 => attached, 1<a
         deadline => none
         time 500
         detach 1
         deadline => 600
         time 599
         time 600 => delete
         time 9000
         deadline => none",
    );
    check(
        settings(Kind::Quorum),
        "time 50
         touch
         deadline => 100
         get => empty
         deadline => 150",
    );
}

#[test]
fn new_limits_hold_at_once_and_a_new_expiry_starts_anew() {
    let mut queue = QueueCore::new(classic(), Timestamp(0));
    let mut effects = Vec::new();
    for (body, id) in [("a", "1"), ("b", "2"), ("c", "3")] {
        let incoming = Script::incoming(&[body, id]);
        queue.apply(Timestamp(0), Op::Publish(incoming), &mut effects);
    }
    let settings = Settings {
        length_max: Some(1),
        expires_ms: Some(100),
        ..classic()
    };
    queue.apply(
        Timestamp(1000),
        Op::Configure(settings.into()),
        &mut effects,
    );
    let [Effect::Release(MessageId(1)), Effect::Release(MessageId(2))] = effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(queue.deadline(), Some(Timestamp(1100)));
}

#[test]
fn what_waits_does_not_pin_the_block_it_came_in() {
    let block: Arc<[u8]> = vec![0; 65536].into();
    let publish = |queue: &mut QueueCore| {
        let incoming = Incoming {
            message: Message::in_block(block.clone(), 0, 2..2, 2..18),
            ..Script::incoming(&["a"])
        };
        let mut effects = Vec::new();
        queue.apply(Timestamp(0), Op::Publish(incoming), &mut effects);
        effects
    };
    let mut queue = QueueCore::new(classic(), Timestamp(0));
    publish(&mut queue);
    assert_eq!(Arc::strong_count(&block), 1);
    // A message handed over is still the slice of the block; once it comes back it is not.
    let mut queue = QueueCore::new(classic(), Timestamp(0));
    queue.apply(Timestamp(0), Op::Attach(consumer(1)), &mut Vec::new());
    let delivered = publish(&mut queue);
    let [Effect::Deliver(_, Delivery { id: Some(id), .. })] = delivered[..] else {
        panic!("{delivered:?}");
    };
    drop(delivered);
    assert_eq!(Arc::strong_count(&block), 2);
    let back = Op::Return(&[id], Return::Requeue);
    queue.apply(Timestamp(0), back, &mut Vec::new());
    assert_eq!(Arc::strong_count(&block), 1);
}
