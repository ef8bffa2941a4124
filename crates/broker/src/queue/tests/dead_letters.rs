//! Messages that go on to somewhere else.

use super::*;

#[test]
fn discarded_messages_are_dead_letters() {
    let script = "publish a 1
                  publish b
                  get => got a left 1
                  get => got b left 0";
    for settings in [classic(), quorum()] {
        check(
            Settings {
                dead_letter: DeadLetter::AtMostOnce,
                ..settings.clone()
            },
            &format!("{script}\n discard b a => Rejected b, Rejected a, release 1\n stats"),
        );
        check(
            settings,
            &format!("{script}\n discard b a => release 1\n stats"),
        );
    }
}

fn at_least_once() -> Settings {
    Settings {
        dead_letter: DeadLetter::AtLeastOnce,
        overflow: Overflow::RejectPublish,
        ..quorum()
    }
}

#[test]
fn at_least_once_keeps_dead_letters_until_every_target_has_them() {
    check(
        at_least_once(),
        "publish a 1
         publish b 2
         get => got a left 1
         get => got b left 0
         discard a b => Rejected a, Rejected b
         stats => dead 2, persistent 2
         undead a
         dead b => release 2
         deadline => 1000
         time 999
         time 1000 => Rejected a
         deadline => none
         dead a => release 1
         stats",
    );
}

#[test]
fn purge_drops_kept_dead_letters() {
    check(
        at_least_once(),
        "publish a 1 t5
         publish b 2 t5
         publish c 3
         time 5 => Expired a, Expired b
         undead b
         purge => release 3, release 1, release 2, purged 3
         deadline => none
         dead a
         stats",
    );
}

#[test]
fn kept_dead_letters_count_towards_the_limits() {
    check(
        Settings {
            length_max: Some(1),
            ..at_least_once()
        },
        "publish a 1
         get => got a left 0
         discard a => Rejected a
         publish b => refused
         dead a => release 1
         publish b",
    );
}

#[test]
fn at_most_32_dead_letters_are_on_their_way() {
    let mut queue = QueueCore::new(at_least_once(), Timestamp(0));
    let mut effects = Vec::new();
    for _ in 0..100 {
        queue.apply(
            Timestamp(0),
            Op::Publish(Script::incoming(&["a", "t5"])),
            &mut effects,
        );
    }
    let mut sent = Vec::new();
    let mut collect = |effects: &mut Vec<Effect>| {
        sent.extend(effects.drain(..).filter_map(|effect| match effect {
            Effect::DeadLetter(_, Reason::Expired, id) => id,
            _ => None,
        }));
        sent.clone()
    };
    queue.apply(Timestamp(5), Op::Tick, &mut effects);
    let first = collect(&mut effects);
    assert_eq!(first.len(), 32);
    // One that failed keeps its place among them; one that is done makes room.
    queue.apply(
        Timestamp(5),
        Op::DeadLettered(first[0], false),
        &mut effects,
    );
    assert_eq!(collect(&mut effects).len(), 32);
    queue.apply(Timestamp(5), Op::DeadLettered(first[1], true), &mut effects);
    assert_eq!(collect(&mut effects).len(), 33);
    assert_eq!(queue.stats().dead_lettering, 99);
}

#[test]
fn without_at_least_once_kept_dead_letters_leave() {
    let mut queue = QueueCore::new(at_least_once(), Timestamp(0));
    let mut effects = Vec::new();
    for id in 1..=33 {
        let incoming = Incoming {
            id: MessageId(id),
            ..Script::incoming(&["a", "t5"])
        };
        queue.apply(Timestamp(0), Op::Publish(incoming), &mut effects);
    }
    queue.apply(Timestamp(5), Op::Tick, &mut effects);
    let Effect::DeadLetter(.., Some(first)) = effects[0] else {
        panic!("{effects:?}");
    };
    effects.clear();
    let settings = Settings {
        dead_letter: DeadLetter::AtMostOnce,
        ..at_least_once()
    };
    queue.apply(Timestamp(5), Op::Configure(settings.into()), &mut effects);
    // The one that was waiting is sent without further ado; those on their way are still answered.
    let [
        Effect::DeadLetter(_, Reason::Expired, None),
        Effect::Release(MessageId(33)),
    ] = effects[..]
    else {
        panic!("{effects:?}");
    };
    queue.apply(Timestamp(5), Op::DeadLettered(first, true), &mut effects);
    assert!(matches!(effects[2..], [Effect::Release(MessageId(1))]));
}
