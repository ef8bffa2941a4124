//! Queues whose messages are on disk.

use super::*;

#[test]
fn a_paged_queue_is_as_before() {
    check(
        classic(),
        "publish a 1
         publish b 2
         publish c
         publish d 4
         publish e
         page 2 => 3 pages, resident 0
         stats => ready 5, bytes 5, persistent 3, paged out 5
         get => got a left 4
         get noack => got b left 3, release 2
         attach 1 => attached, 1<c, 1<d, 1<e
         ack a d => release 1, release 4
         nack e => 1<e*",
    );
}

#[test]
fn messages_return_to_their_places_among_pages() {
    check(
        classic(),
        "publish a
         publish b
         publish c
         publish d
         publish e
         publish f
         get => got a left 5
         get => got b left 4
         get => got c left 3
         nack a
         nack c
         page 2 => 2 pages, resident 129
         nack b
         get noack => got a* left 5
         get noack => got b* left 4
         get => got c* left 3
         nack c
         get => got c* left 3
         get => got d left 2
         page 2 => 1 pages, resident 0
         nack d
         get noack => got d* left 2
         get noack => got e left 1
         get noack => got f left 0",
    );
}

#[test]
fn what_came_back_into_a_page_waits_behind_its_first() {
    check(
        classic(),
        "publish a
         publish b
         publish c
         publish d
         get => got a left 3
         get => got b left 2
         get => got c left 1
         nack b
         page 2 => 1 pages, resident 0
         nack c
         nack a
         page 2 => 1 pages, resident 258
         get noack => got a* left 3
         get noack => got b* left 2
         get noack => got c* left 1
         get noack => got d left 0",
    );
}

#[test]
fn a_run_whose_turn_has_come_is_taken_back() {
    check(
        classic(),
        "publish a
         publish b
         publish c
         leave 2 => leaving
         stats => ready 3, bytes 3
         get noack => got a left 2
         arrive => too late
         get noack => got b left 1
         leave 2 => leaving
         purge => purged 1
         arrive => too late
         publish d
         leave 2 => leaving
         forget
         leave 2 => leaving
         arrive => paged
         get noack => got d left 0",
    );
}

#[test]
fn pages_of_higher_priority_go_first() {
    check(
        Settings {
            priority_max: Some(9),
            ..classic()
        },
        "publish a p1
         publish b p5
         publish c p1
         publish d p5
         page 2 => 2 pages, resident 0
         publish e p9
         get noack => got e left 4
         get noack => got b left 3
         get noack => got d left 2
         get noack => got a left 1",
    );
    check(
        quorum(),
        "publish a p1
         publish b p5
         get => got b left 1
         page 2 => 1 pages, resident 0
         nack b
         page 2 => 1 pages, resident 129
         get noack => got b*0/1 left 1
         get noack => got a left 0",
    );
}

#[test]
fn a_paged_head_expires_in_its_time() {
    check(
        Settings {
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "publish a 1 t50
         publish b 2 t30
         publish c 3 t90
         publish d 4
         page 2 => 2 pages, resident 0
         deadline => 50
         time 49
         time 50 => Expired a, release 1, Expired b, release 2
         deadline => 90
         time 90 => Expired c, release 3
         deadline => none
         get => got d left 0",
    );
}

#[test]
fn the_length_limit_drops_paged_heads() {
    check(
        Settings {
            length_max: Some(2),
            ..classic()
        },
        "publish a 1
         publish b 2
         page 2 => 1 pages, resident 0
         publish c 3 => release 1
         publish d 4 => release 2
         publish e 5 => release 3
         stats => ready 2, bytes 2, persistent 2",
    );
}

#[test]
fn dead_letters_of_pages_are_kept_until_their_targets_have_them() {
    check(
        Settings {
            dead_letter: DeadLetter::AtLeastOnce,
            overflow: Overflow::RejectPublish,
            ..quorum()
        },
        "publish a 1 t50
         publish b 2 t50
         page 2 => 1 pages, resident 0
         time 50 => Expired a, Expired b
         stats => dead 2, persistent 2
         dead a => release 1
         undead b
         time 1050 => Expired b
         dead b => release 2",
    );
}

#[test]
fn a_purge_drops_pages_unread() {
    check(
        classic(),
        "publish a 1
         publish b 2
         publish c 3
         page 2 => 2 pages, resident 0
         publish d 4
         stats => ready 4, bytes 4, persistent 4, paged out 3
         purge => drop page 1, drop page 2, release 4, purged 4
         stats =>
         publish e
         get => got e left 0",
    );
}

#[test]
fn pages_of_an_earlier_process_come_back_among_the_others() {
    check(
        classic(),
        "publish a 2 t70
         publish b t20
         publish c 4
         publish d 5
         publish e
         page 2 => 3 pages, resident 0
         restart
         recover x 1
         repage 1
         recover y 3
         repage 2
         recover z 6
         stats => ready 6, bytes 6, persistent 6, paged out 3
         deadline => none
         get noack => got x left 5, release 1
         deadline => 70
         get noack => got a left 4, release 2
         get noack => got y left 3, release 3
         nack
         get noack => got c left 2, release 4
         get noack => got d left 1, release 5
         get noack => got z left 0, release 6",
    );
}

/// It had been handed out when the page was made, and came back before the node stopped.
#[test]
fn a_message_whose_place_is_in_a_page_of_an_earlier_process_finds_it() {
    check(
        classic(),
        "publish b 2
         publish d 4
         page 2 => 1 pages, resident 0
         restart
         recover a 1
         repage 1
         recover c 3 r
         recover e 5
         get noack => got a left 4, release 1
         get noack => got b left 3, release 2
         get noack => got c* left 2, release 3
         get noack => got d left 1, release 4
         get noack => got e left 0, release 5",
    );
}

/// Publishers are not queued in the order of their ids, but each one's messages are.
#[test]
fn pages_of_an_earlier_process_may_overlap() {
    check(
        classic(),
        "publish a 1
         publish d 7
         publish b 3
         publish f 9
         publish g 8
         publish h 10
         page 2 => 3 pages, resident 0
         restart
         repage 1
         repage 2
         recover c 5
         repage 3
         stats => ready 7, bytes 7, persistent 7, paged out 6
         get noack => got a left 6, release 1
         leave 1 => nothing
         get noack => got b left 5, release 3
         get noack => got c left 4, release 5
         get noack => got d left 3, release 7
         get noack => got g left 2, release 8
         get noack => got f left 1, release 9
         get noack => got h left 0, release 10",
    );
}

/// It may have taken the page back and handed its messages out just before: the log need not say so.
#[test]
fn what_a_crashed_process_had_in_a_page_is_redelivered() {
    check(
        classic(),
        "publish a 1
         publish b 2
         page 2 => 1 pages, resident 0
         restart
         repage 1 crashed
         publish c 3
         get noack => got a* left 2, release 1
         get noack => got b* left 1, release 2
         get noack => got c left 0, release 3",
    );
}

#[test]
fn what_a_page_says_of_its_first_may_be_early() {
    check(
        classic(),
        "publish a t20
         publish b 2 t70
         page 2 => 1 pages, resident 0
         restart
         repage 1
         deadline => 20
         time 20
         deadline => 70
         get noack => got b left 0, release 2",
    );
}

#[test]
fn redelivered_is_what_the_message_was_when_it_was_paged() {
    check(
        classic(),
        "publish a 1
         publish b 2
         get => got a left 1
         nack a => count 1 0/1
         page 2 => 1 pages, resident 0
         restart
         repage 1
         get noack => got a* left 1, release 1
         get noack => got b left 0, release 2",
    );
}

#[test]
fn what_was_noted_too_late_for_a_page_is_noted_again() {
    let script = "publish a 1
         publish b 2
         get => got a left 1
         nack a => count 1 0/1
         page 2 => 1 pages, resident 0
         unmark
         get => got a* left 1, count 1 0/1
         get => got b left 0";
    check(classic(), script);
    // A quorum queue keeps what has counts in memory; this one was flagged by a crash.
    check(
        quorum(),
        "recover a 1 r
         page 2 => 1 pages, resident 0
         unmark
         get => got a* left 0",
    );
}

#[test]
fn the_next_page_is_asked_for() {
    check(
        classic(),
        "publish a
         publish b
         publish c
         page 1 => 3 pages, resident 0
         get noack => got a left 2
         hints => 2
         get noack => got b left 1
         hints => 3
         get noack => got c left 0
         hints => none",
    );
}

#[test]
fn what_a_damaged_page_has_lost_is_not_counted() {
    check(
        classic(),
        "publish a 1
         publish b 2
         publish c 3
         page 2 => 2 pages, resident 0
         damage
         get noack => got a left 1, release 1
         stats => ready 1, bytes 1, persistent 1, paged out 1
         get noack => got c left 0, release 3
         get => empty
         stats =>",
    );
}

#[test]
fn what_is_unsettled_in_masses_is_read_again_when_it_comes_back() {
    check(
        Settings {
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "attach 1 => attached
         publish a 1 l17000000 => 1<a
         publish b 2 => 1<b
         publish c 3 => 1<c
         publish d 4 => 1<d
         publish e => 1<e
         stats => unsettled 5, bytes 17000004, persistent 4, in the log 3, consumers 1
         nack b => count 2 0/1, 1<b*
         ack c => release 3
         discard d => Rejected d, release 4
         nack e => 1<e*
         ack a => release 1
         ack e
         damage
         nack b
         stats => consumers 1",
    );
}

#[test]
fn a_head_stays_in_memory_and_a_short_tail_too() {
    let sizes = PageSizes {
        head_bytes: 3 * 129,
        page_bytes: 1000,
        page_messages: 4,
        page_bytes_min: 2 * 129,
    };
    let (mut queue, shelf) = on_shelf(QueueCore::new(classic(), Timestamp(0)));
    let publish = |queue: &mut QueueCore, messages| {
        for _ in 0..messages {
            let incoming = Script::incoming(&["a"]);
            queue.apply(Timestamp(0), Op::Publish(incoming), &mut Vec::new());
        }
    };
    // (published, pages, in memory)
    for (messages, pages, resident) in [(5, 0, 5), (1, 1, 3), (1, 1, 4), (2, 2, 3), (9, 4, 4)] {
        publish(&mut queue, messages);
        shelf.page_all(&mut queue, &sizes);
        let found = (shelf.page_count(), queue.resident().bytes / 129);
        assert_eq!(found, (pages, resident), "after {messages} more");
    }
}

/// Publishes messages that expire at time 50 and one that does not, each to a page of its own.
fn expiring(settings: Settings, messages: u64) -> (QueueCore, Arc<Shelf>) {
    let (mut queue, shelf) = on_shelf(QueueCore::new(settings, Timestamp(0)));
    for number in 1..=messages + 1 {
        let ttl = if number <= messages { "t50" } else { "" };
        let incoming = Script::incoming(&["a", &number.to_string(), ttl]);
        shelf.store(incoming.id, &incoming.message);
        queue.apply(Timestamp(0), Op::Publish(incoming), &mut Vec::new());
    }
    let sizes = PageSizes {
        head_bytes: 0,
        page_bytes: 1000,
        page_messages: 1,
        page_bytes_min: 0,
    };
    shelf.page_all(&mut queue, &sizes);
    (queue, shelf)
}

#[test]
fn very_many_expired_messages_leave_by_and_by() {
    let settings = Settings {
        dead_letter: DeadLetter::AtMostOnce,
        ..classic()
    };
    let (mut queue, _) = expiring(settings.clone(), 70);
    let mut effects = Vec::new();
    queue.apply(Timestamp(50), Op::Attach(consumer(1)), &mut effects);
    for ready in [39, 7] {
        assert_eq!(queue.stats().ready, ready);
        assert!(!queue.has_work(), "an expired message would be handed out");
        assert_eq!(queue.deadline(), Some(Timestamp(50)));
        queue.apply(Timestamp(50), Op::Tick, &mut effects);
    }
    assert!(queue.has_work());
    assert_eq!((queue.stats().ready, queue.deadline()), (1, None));
    // Whoever asks does not get one, and does not have to ask twice.
    let (mut queue, _) = expiring(settings, 70);
    let (session, acknowledges) = (SessionId(0), false);
    let get = Op::Get {
        session,
        acknowledges,
    };
    let mut effects = Vec::new();
    queue.apply(Timestamp(50), get, &mut effects);
    let [.., Effect::Got(_, 0), Effect::Release(MessageId(71))] = effects[..] else {
        panic!("{effects:?}");
    };
}

#[test]
fn expired_messages_wait_for_dead_letters_that_are_kept() {
    let settings = Settings {
        dead_letter: DeadLetter::AtLeastOnce,
        overflow: Overflow::RejectPublish,
        ..quorum()
    };
    let (mut queue, _) = expiring(settings, 5000);
    let mut effects = Vec::new();
    for _ in 0..5000 / 32 {
        queue.apply(Timestamp(50), Op::Tick, &mut effects);
    }
    let kept = queue.stats().dead_lettering;
    assert!((4096..5000).contains(&kept), "{kept} are kept");
    assert_eq!(queue.deadline(), None);
    // The answers make room, and in the end none is left.
    while let Some(effect) = effects.pop() {
        if let Effect::DeadLetter(_, _, Some(id)) = effect {
            let done = Op::DeadLettered(id, true);
            queue.apply(Timestamp(50), done, &mut effects);
        }
    }
    let stats = queue.stats();
    assert_eq!((stats.ready, stats.dead_lettering), (1, 0));
}

#[test]
fn an_operator_takes_messages_out_of_pages_and_lines() {
    check(
        classic(),
        "
        publish a 1 =>
        publish b 2 =>
        publish c 3 =>
        publish d 4 =>
        publish e 5 =>
        page 2 => 3 pages, resident 0
        publish f 6 =>
        leave 1 => leaving
        browse => a b c d e f
        take d b f => taken b, taken d, taken f
        arrive => too late
        browse => a c e
        stats => ready 3, bytes 3, unsettled 3, bytes 3, persistent 6, paged out 1
        untake d =>
        ack b f => release 2, release 6
        browse => a c d e
        get => got a left 3
        get => got c left 2
        get => got d left 1
        get => got e left 0
        take a =>
        ",
    );
    check(
        quorum(),
        "
        publish a 1 =>
        publish b 2 =>
        publish c 3 =>
        get => got a left 2
        reject a => count 1 1/1
        take a c => taken a*1/1, taken c
        untake a c =>
        browse => a* b c
        ",
    );
}
