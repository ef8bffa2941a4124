//! Scripts of ops and the effects expected of them, written down as one readable line each.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::pages::{Leaving, Outgoing, PageSizes};
use super::shelf::{Shelf, on_shelf};
use super::*;

mod paging;

fn classic() -> Settings {
    Settings::new(Kind::Classic)
}

fn quorum() -> Settings {
    Settings::new(Kind::Quorum)
}

/// A queue, its time, and the deliveries that its clients hold.
struct Script {
    queue: QueueCore,
    now: Timestamp,
    /// By the body of the message.
    held: Vec<(String, DeliveryId)>,
    shelf: Arc<Shelf>,
    /// Runs on their way to disk.
    leaving: VecDeque<Leaving>,
    /// What is kept beside pages, in the order of their ids.
    /// What a start is told of each page.
    metas: Vec<([u8; pages::META], RangeInclusive<MessageId>)>,
    credit: Arc<SharedCredit>,
}

/// Runs a script, one step per line: `op words … => effects`, effects separated by `, `. Afterwards the queue hands out
/// whatever it can, as its driver would. The steps:
///
/// - `publish a 1 p3 t50 l4`: bodies; `1` stores it under that id, `p` priority, `t` time to live, `l` length.
/// - `recover a 1 x2 r`: found in the log, published at time 0, returned twice before; `r` flags it whatever came before.
/// - `attach 1 noack n2 p5 shared excl o30`: consumer 1, with prefetch 2, priority 5, shared credit, timeout 30.
/// - `take a b`: an operator takes what waits with these bodies, and `untake a` puts it back; `browse` shows what waits;
/// - `detach 1`, `pause 1`, `resume 1`, `get`, `get noack`, `ack a b`, `nack a`, `reject a`, `end a`, `discard a`,
///   `dead a`, `undead a` (the answer to a dead letter), `purge`, `touch`, `time 50` (a tick at that time), `limit 2`
///   and `give 1` (of the shared credit), `stats`, `active`, `deadline`;
/// - `page 2`: all that waits is paged out, in runs of two; `leave 2`: a run begins to be, and `arrive` or `forget` is how
///   that ends; `hints`: the pages asked for; `restart` and `repage 1`: a new queue, and a page it recovers; `unmark`:
///   the log will not know what has been noted of the messages in pages; `damage`: what is not the first of a page is lost,
///   and all that is in none.
fn check(settings: Settings, script: &str) {
    let (queue, shelf) = on_shelf(QueueCore::new(settings, Timestamp(0)));
    let mut run = Script {
        queue,
        shelf,
        leaving: VecDeque::new(),
        metas: Vec::new(),
        now: Timestamp(0),
        held: Vec::new(),
        credit: Arc::new(SharedCredit::new(1)),
    };
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (step, expected) = line.split_once("=>").unwrap_or((line, ""));
        let effects = run.step(step.trim());
        assert_eq!(
            effects,
            expected.trim(),
            "after `{}` of {script}",
            step.trim()
        );
    }
}

/// The number behind this letter among the words.
fn number<T: std::str::FromStr>(words: &[&str], letter: &str) -> Option<T> {
    words
        .iter()
        .find_map(|word| word.strip_prefix(letter)?.parse().ok())
}

/// A consumer that acknowledges, without a limit.
fn consumer(id: u32) -> Consumer {
    Consumer {
        id: ConsumerId(id),
        session: SessionId(7),
        acknowledges: true,
        prefetch: 0,
        shared_credit: None,
        priority: 0,
        exclusive: false,
        timeout_ms: None,
    }
}

fn message(body: &str, length: usize) -> Message {
    let mut padded = body.as_bytes().to_vec();
    padded.resize(length.max(body.len()), b' ');
    Message::new(b"", b"q", b"", &padded)
}

impl Script {
    fn step(&mut self, step: &str) -> String {
        let words: Vec<_> = step.split_whitespace().collect();
        let rest = &words[1..];
        let id = ConsumerId(number(rest, "").unwrap_or(0));
        match words[0] {
            "publish" => {
                let incoming = Self::incoming(rest);
                self.shelf.store(incoming.id, &incoming.message);
                self.apply(Op::Publish(incoming))
            }
            "recover" => {
                let acquisitions = number(rest, "x").unwrap_or(0);
                let incoming = Self::incoming(rest);
                self.shelf.store(incoming.id, &incoming.message);
                self.apply(Op::Recover(Recovered {
                    incoming: Incoming {
                        redelivered: acquisitions > 0 || rest.contains(&"r"),
                        ..incoming
                    },
                    published_at: Timestamp(0),
                    counts: Counts {
                        deliveries: acquisitions,
                        acquisitions,
                    },
                }))
            }
            "attach" => self.apply(Op::Attach(Consumer {
                acknowledges: !rest.contains(&"noack"),
                prefetch: number(rest, "n").unwrap_or(0),
                shared_credit: rest.contains(&"shared").then(|| self.credit.clone()),
                priority: number(rest, "p").unwrap_or(0),
                exclusive: rest.contains(&"excl"),
                timeout_ms: number(rest, "o"),
                ..consumer(id.0)
            })),
            "detach" => self.apply(Op::Detach(id)),
            "pause" => self.apply(Op::Pause(id)),
            "resume" => self.apply(Op::Resume(id)),
            "get" => self.apply(Op::Get {
                session: SessionId(7),
                acknowledges: !rest.contains(&"noack"),
            }),
            "take" => {
                let waiting = self.browse();
                let is_meant = |body: &str| rest.contains(&body);
                let meant = waiting.iter().filter(|it| is_meant(&body(&it.message)));
                let standings: Vec<_> = meant.map(|it| it.standing).collect();
                self.apply(Op::Take(&standings))
            }
            "browse" => {
                let flag = |it: &Browsed| if it.redelivered { "*" } else { "" };
                let shown = |it: &Browsed| format!("{}{}", body(&it.message), flag(it));
                let shown: Vec<_> = self.browse().iter().map(shown).collect();
                shown.join(" ")
            }
            "ack" | "nack" | "reject" | "end" | "untake" | "discard" | "dead" | "undead" => {
                let ids = self.let_go(rest);
                self.apply(match words[0] {
                    "ack" => Op::Acknowledge(&ids),
                    "nack" => Op::Return(&ids, Return::Requeue),
                    "reject" => Op::Return(&ids, Return::Reject),
                    "end" => Op::Return(&ids, Return::SessionEnded),
                    "untake" => Op::Return(&ids, Return::Untouched),
                    "discard" => Op::Discard(&ids),
                    answer => Op::DeadLettered(ids[0], answer == "dead"),
                })
            }
            "purge" => self.apply(Op::Purge),
            "touch" => self.apply(Op::Touch),
            "time" => {
                self.now = Timestamp(number(rest, "").unwrap());
                self.apply(Op::Tick)
            }
            "limit" => {
                self.credit.set_limit(number(rest, "").unwrap());
                String::new()
            }
            "give" => {
                self.credit.give_back(number(rest, "").unwrap());
                String::new()
            }
            "stats" => self.stats(),
            "active" => {
                let active = self.queue.active_consumer();
                active.map_or_else(|| "none".into(), |consumer| consumer.id.0.to_string())
            }
            "deadline" => self
                .queue
                .deadline()
                .map_or_else(|| "none".into(), |at| at.0.to_string()),
            _ => self.page_step(&words),
        }
    }

    fn page_step(&mut self, words: &[&str]) -> String {
        let count = number(&words[1..], "");
        match words[0] {
            "page" => {
                while self.page_out(count) {
                    self.arrive();
                }
                let resident = self.queue.resident_bytes();
                format!("{} pages, resident {resident}", self.shelf.page_count())
            }
            "leave" => {
                let leaves = self.page_out(count);
                (if leaves { "leaving" } else { "nothing" }).into()
            }
            "arrive" => {
                let arrived = self.arrive();
                (if arrived { "paged" } else { "too late" }).into()
            }
            "forget" => {
                let leaving = self.leaving.pop_front().unwrap();
                self.queue.give_up_page(&leaving);
                String::new()
            }
            "hints" => {
                let hints = self.shelf.hints();
                let hint = hints.first();
                hint.map_or_else(|| "none".into(), |page| page.0.to_string())
            }
            "restart" => {
                self.shelf.restart();
                let queue = QueueCore::new(self.queue.settings().clone(), self.now);
                self.queue = queue.with_pages(self.shelf.clone());
                String::new()
            }
            "repage" => {
                let page: usize = count.unwrap();
                let (meta, ids) = self.metas[page - 1].clone();
                self.queue.expect_recovered(*ids.end());
                let (page, crashed) = (PageId(page as u64), words.contains(&"crashed"));
                self.queue.recover_page(page, &meta, ids, crashed).unwrap();
                String::new()
            }
            "unmark" => {
                self.shelf.forget_marks();
                String::new()
            }
            "damage" => {
                self.shelf.damage();
                String::new()
            }
            other => panic!("no such step: {other}"),
        }
    }

    /// Whether there is something to page out.
    fn page_out(&mut self, messages: Option<usize>) -> bool {
        let leaving = self.queue.page_out(&PageSizes {
            head_bytes: 0,
            page_bytes: 1000,
            page_messages: messages.unwrap(),
            page_bytes_min: 0,
        });
        let any = leaving.is_some();
        self.leaving.extend(leaving);
        any
    }

    /// Whether the run is on disk before its turn has come.
    fn arrive(&mut self) -> bool {
        let leaving = self.leaving.pop_front().unwrap();
        let commit = || {
            self.metas.push((leaving.meta, ids(&leaving)));
            self.shelf.page(&leaving)
        };
        self.queue.commit_page(&leaving, commit).is_some()
    }

    fn browse(&self) -> Vec<Browsed> {
        let mut waiting = Vec::new();
        let mut see = |it: Browsed| {
            waiting.push(it);
            std::ops::ControlFlow::Continue(())
        };
        self.queue
            .browse(Start::Offset(0), Scope::ALL, &mut see)
            .unwrap();
        waiting
    }

    fn incoming(words: &[&str]) -> Incoming {
        let id = number(words, "").unwrap_or(0);
        Incoming {
            message: message(words[0], number(words, "l").unwrap_or(1)),
            id: MessageId(id),
            priority: number(words, "p"),
            ttl_ms: number(words, "t"),
            persistent: id != 0,
            redelivered: false,
        }
    }

    /// The ids of these bodies, which are no longer held.
    fn let_go(&mut self, bodies: &[&str]) -> Vec<DeliveryId> {
        let take = |body: &&str| {
            let at = self.held.iter().position(|(held, _)| held == body);
            self.held.remove(at.expect("held")).1
        };
        bodies.iter().map(take).collect()
    }

    /// Applies the op, and then hands out what there is to hand out.
    fn apply(&mut self, op: Op<'_>) -> String {
        let mut effects = Vec::new();
        self.queue.apply(self.now, op, &mut effects);
        while self.queue.has_work() {
            self.queue.apply(self.now, Op::Assign(3), &mut effects);
        }
        let lines: Vec<_> = effects
            .into_iter()
            .map(|effect| self.describe(effect))
            .collect();
        lines.join(", ")
    }

    fn describe(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Refused => "refused".into(),
            Effect::Attached => "attached".into(),
            Effect::AttachRefused(AttachRefusal::ExclusiveUse) => "exclusive use".into(),
            Effect::Deliver(ConsumerId(to), delivery) => {
                format!("{to}<{}", self.hold(delivery))
            }
            Effect::Got(delivery, left) => format!("got {} left {left}", self.hold(delivery)),
            Effect::Empty => "empty".into(),
            Effect::Taken(delivery) => format!("taken {}", self.hold(delivery)),
            Effect::Purged(n) => format!("purged {n}"),
            Effect::Release(MessageId(id)) => format!("release {id}"),
            Effect::Count(MessageId(id), counts) => {
                format!("count {id} {}/{}", counts.deliveries, counts.acquisitions)
            }
            Effect::DeadLetter(message, reason, id) => {
                let body = body(&message);
                if let Some(id) = id {
                    self.held.push((body.clone(), id));
                }
                format!("{reason:?} {body}")
            }
            Effect::TimedOut(ConsumerId(id), timeout_ms) => {
                format!("timed out {id} after {timeout_ms}")
            }
            Effect::DropPage(page) => format!("drop page {}", page.0),
            Effect::Delete => "delete".into(),
        }
    }

    /// The body, `*` if redelivered, the counts if there are any.
    fn hold(&mut self, delivery: Delivery) -> String {
        let mut text = body(&delivery.message);
        if let Some(id) = delivery.id {
            self.held.retain(|(held, _)| *held != text);
            self.held.push((text.clone(), id));
        }
        if delivery.redelivered {
            text.push('*');
        }
        let counts = delivery.counts;
        if counts != Counts::default() {
            write!(text, "{}/{}", counts.deliveries, counts.acquisitions).unwrap();
        }
        text
    }

    fn stats(&self) -> String {
        let stats = self.queue.stats();
        let figures = [
            ("ready", stats.ready),
            ("bytes", stats.ready_bytes),
            ("unsettled", stats.unsettled),
            ("bytes", stats.unsettled_bytes),
            ("delayed", stats.delayed),
            ("dead", stats.dead_lettering),
            ("persistent", stats.persistent),
            ("consumers", stats.consumers),
        ];
        let set = figures.iter().filter(|(_, n)| *n > 0);
        set.map(|(name, n)| format!("{name} {n}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).trim().to_owned()
}

#[test]
fn a_message_goes_straight_to_a_ready_consumer() {
    check(
        classic(),
        "attach 1 => attached
         publish a 5 => 1<a
         stats => unsettled 1, bytes 1, persistent 1, consumers 1
         ack a => release 5
         stats => consumers 1",
    );
}

#[test]
fn without_acknowledgements_a_message_is_released_at_once() {
    check(
        classic(),
        "attach 1 noack n1 => attached
         publish a 5 => 1<a, release 5
         publish b => 1<b
         pause 1
         publish c 6
         get noack => got c left 0, release 6
         stats => consumers 1",
    );
}

#[test]
fn prefetch_holds_back_until_settled() {
    check(
        classic(),
        "attach 1 n2 => attached
         publish a => 1<a
         publish b => 1<b
         publish c
         publish d
         ack b => 1<c
         nack a => 1<a*
         ack a c => 1<d",
    );
}

#[test]
fn requeued_messages_return_to_their_places_in_any_order() {
    check(
        classic(),
        "attach 1 n5 => attached
         publish a => 1<a
         publish b => 1<b
         publish c => 1<c
         publish d => 1<d
         publish e => 1<e
         publish f
         pause 1
         nack c
         nack e a
         nack d
         nack b
         stats => ready 6, bytes 6, consumers 1
         publish g
         resume 1 => 1<a*, 1<b*, 1<c*, 1<d*, 1<e*
         ack a => 1<f",
    );
}

#[test]
fn an_answer_that_comes_twice_is_ignored() {
    let mut queue = QueueCore::new(classic(), Timestamp(0));
    let mut effects = Vec::new();
    let now = Timestamp(0);
    let get = || Op::Get {
        session: SessionId(1),
        acknowledges: true,
    };
    queue.apply(
        now,
        Op::Publish(Script::incoming(&["a", "5"])),
        &mut effects,
    );
    queue.apply(now, get(), &mut effects);
    let [Effect::Got(Delivery { id: Some(id), .. }, 0)] = effects[..] else {
        panic!("{effects:?}");
    };
    queue.apply(now, Op::Acknowledge(&[id, id]), &mut effects);
    queue.apply(now, Op::Return(&[id], Return::Requeue), &mut effects);
    queue.apply(now, Op::Discard(&[id]), &mut effects);
    assert!(
        matches!(effects[1..], [Effect::Release(MessageId(5))]),
        "{effects:?}"
    );
    assert_eq!(queue.stats(), Stats::default());
}

#[test]
fn get_takes_the_head_and_counts_what_is_left() {
    check(
        classic(),
        "get => empty
         publish a
         publish b
         get => got a left 1
         get => got b left 0
         get => empty
         nack b
         get => got b* left 0
         end a b
         get => got a* left 1
         stats => ready 1, bytes 1, unsettled 1, bytes 1",
    );
}

#[test]
fn purge_drops_what_is_ready_and_nothing_else() {
    check(
        Settings {
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "attach 1 n1 => attached
         publish a 1 => 1<a
         publish b 2
         publish c
         purge => release 2, purged 2
         purge => purged 0
         stats => unsettled 1, bytes 1, persistent 1, consumers 1",
    );
}

#[test]
fn recovered_messages_keep_their_order_age_and_counts() {
    check(
        quorum(),
        "time 100
         recover a 1 x1
         recover b 2
         recover c 3 t50
         get => got a*1/1 left 2
         get => got b left 1, release 3
         get => empty",
    );
}

// Priorities.

#[test]
fn classic_priorities_are_clamped_and_strict() {
    check(
        Settings {
            priority_max: Some(5),
            ..classic()
        },
        "publish a
         publish b p1
         publish c p9
         publish d p5
         publish e p0
         get => got c left 4
         get => got d left 3
         nack c
         get => got c* left 3
         get => got b left 2
         get => got a left 1
         get => got e left 0",
    );
}

#[test]
fn without_a_maximum_classic_queues_ignore_priorities() {
    check(
        classic(),
        "publish a p1
         publish b p9
         get => got a left 1",
    );
}

#[test]
fn quorum_priorities_have_32_levels_and_4_for_none() {
    check(
        quorum(),
        "publish a p4
         publish b
         publish c p3
         publish d p5
         publish e p31
         publish f p255
         get => got e left 5
         get => got f left 4
         get => got d left 3
         get => got a left 2
         get => got b left 1
         get => got c left 0",
    );
}

#[test]
fn quorum_returns_go_first_and_in_the_order_they_come_back() {
    check(
        quorum(),
        "publish a
         publish b
         publish c
         get => got a left 2
         get => got b left 1
         nack b
         nack a
         publish d p31
         get => got b*0/1 left 3
         get => got a*0/1 left 2
         get => got d left 1
         nack a
         get => got a*0/2 left 1",
    );
}

#[test]
fn recovered_returns_go_first_too() {
    check(
        quorum(),
        "recover a 1
         recover b 2 x3
         get => got b*3/3 left 1",
    );
}

// Time to live.

#[test]
fn the_lower_of_both_times_to_live_counts() {
    check(
        Settings {
            message_ttl_ms: Some(100),
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "publish a 1 t50
         publish b 2 t500
         publish c 3
         deadline => 50
         time 49
         time 50 => Expired a, release 1
         deadline => 100
         time 100 => Expired b, release 2, Expired c, release 3
         deadline => none
         stats",
    );
}

#[test]
fn only_heads_expire_but_no_expired_message_is_delivered() {
    check(
        classic(),
        "publish a 1
         publish b 2 t50
         publish c 3 t90
         publish d 4
         time 50
         get => got a left 3, release 2
         time 90 => release 3
         get => got d left 0",
    );
}

#[test]
fn what_expires_between_two_messages_is_not_handed_out_with_them() {
    check(
        classic(),
        "attach 1 => attached
         pause 1
         publish a
         publish b 2 t10
         publish c
         time 10
         resume 1 => 1<a, release 2, 1<c",
    );
}

#[test]
fn the_heads_of_all_priorities_expire() {
    let script = "publish a 1 p1 t50
                  publish b 2 p2
                  publish c 3 p3 t50
                  time 50 => Expired c, release 3, Expired a, release 1
                  stats => ready 1, bytes 1, persistent 1";
    let dead_letter = DeadLetter::AtMostOnce;
    for settings in [classic(), quorum()] {
        check(
            Settings {
                dead_letter,
                priority_max: Some(9),
                ..settings
            },
            script,
        );
    }
}

#[test]
fn a_time_to_live_of_zero_means_now_or_never() {
    check(
        Settings {
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "publish a 1 t0 => Expired a, release 1
         publish b
         publish c 3 t0 => Expired c, release 3
         attach 1 n2 => attached, 1<b
         publish d t0 => 1<d
         publish e 5 t0 => Expired e, release 5
         nack d => Expired d",
    );
}

// Length limits.

#[test]
fn drop_head_makes_room_for_the_new_message() {
    check(
        Settings {
            length_max: Some(2),
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "publish a 1
         publish b
         publish c => MaxLength a, release 1
         attach 1 n1 => attached, 1<b
         publish d
         publish e => MaxLength c
         nack b => 1<b*
         stats => ready 2, bytes 2, unsettled 1, bytes 1, consumers 1",
    );
}

#[test]
fn drop_head_drops_as_many_as_the_new_body_needs() {
    check(
        Settings {
            length_bytes_max: Some(10),
            ..classic()
        },
        "publish a 1 l3
         publish b 2 l3
         publish c 3 l4
         publish d 4 l6 => release 1, release 2
         publish e 5 l11 => release 3, release 4, release 5
         stats",
    );
}

#[test]
fn drop_head_with_priorities_drops_the_head_of_the_highest() {
    check(
        Settings {
            length_max: Some(1),
            priority_max: Some(9),
            ..classic()
        },
        "publish a 1 p1
         publish b 2 p2 => release 2
         publish c 3 p0 => release 1",
    );
}

#[test]
fn dropping_a_head_leaves_no_expired_one() {
    check(
        Settings {
            length_max: Some(2),
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "publish a
         publish b t10
         time 20
         publish c => MaxLength a, Expired b
         deadline => none",
    );
}

#[test]
fn reject_publish_refuses_and_keeps_what_is_there() {
    check(
        Settings {
            length_max: Some(1),
            length_bytes_max: Some(5),
            overflow: Overflow::RejectPublish,
            dead_letter: DeadLetter::AtMostOnce,
            ..classic()
        },
        "publish a 1 l6 => refused, release 1
         publish b 2
         publish c 3 => refused, release 3
         attach 1 n1 => attached, 1<b
         publish d 4
         publish e 5 => refused, release 5
         nack b => count 2 0/1, 1<b*
         ack b => release 2, 1<d
         publish f 6
         nack d => count 4 0/1, 1<d*
         stats => ready 1, bytes 1, unsettled 1, bytes 1, persistent 2, consumers 1",
    );
}

#[test]
fn reject_publish_dlx_also_sends_the_refused_message_on() {
    check(
        Settings {
            length_max: Some(0),
            overflow: Overflow::RejectPublishDlx,
            dead_letter: DeadLetter::AtLeastOnce,
            ..classic()
        },
        "publish a 1 => refused, MaxLength a, release 1
         stats",
    );
    check(
        Settings {
            length_max: Some(0),
            overflow: Overflow::RejectPublishDlx,
            ..classic()
        },
        "publish a 1 => refused, release 1",
    );
}

#[test]
fn a_message_that_can_leave_at_once_does_not_count() {
    for overflow in [Overflow::DropHead, Overflow::RejectPublish] {
        check(
            Settings {
                length_max: Some(0),
                overflow,
                ..classic()
            },
            "attach 1 => attached
             publish a => 1<a",
        );
    }
}

#[test]
fn limits_hand_out_before_they_drop() {
    for overflow in [Overflow::DropHead, Overflow::RejectPublish] {
        let settings = Settings {
            length_max: Some(1),
            overflow,
            ..classic()
        };
        let mut queue = QueueCore::new(settings, Timestamp(0));
        let mut effects = Vec::new();
        let publish = |body| Op::Publish(Script::incoming(&[body]));
        queue.apply(Timestamp(0), publish("a"), &mut effects);
        queue.apply(Timestamp(0), Op::Attach(consumer(1)), &mut effects);
        assert!(queue.has_work());
        // The driver has not come to assign `a` when `b` is published.
        queue.apply(Timestamp(0), publish("b"), &mut effects);
        queue.apply(Timestamp(0), Op::Assign(9), &mut effects);
        let [
            Effect::Attached,
            Effect::Deliver(_, a),
            Effect::Deliver(_, b),
        ] = &effects[..]
        else {
            panic!("{effects:?}");
        };
        assert_eq!((a.message.body(), b.message.body()), (&b"a"[..], &b"b"[..]));
    }
}

// Consumers.

#[test]
fn consumers_take_turns() {
    check(
        classic(),
        "attach 1 => attached
         attach 2 => attached
         attach 3 n1 => attached
         publish a => 1<a
         publish b => 2<b
         publish c => 3<c
         publish d => 1<d
         publish e => 2<e
         publish f => 1<f
         ack c
         publish g => 2<g
         publish h => 1<h
         publish i => 3<i",
    );
}

#[test]
fn higher_priority_consumers_come_first_while_they_have_credit() {
    check(
        classic(),
        "attach 1 p-1 => attached
         attach 2 => attached
         attach 3 p5 n2 => attached
         attach 4 p5 n1 => attached
         publish a => 3<a
         publish b => 4<b
         publish c => 3<c
         publish d => 2<d
         detach 2
         publish e => 1<e
         ack b
         publish f => 4<f",
    );
}

#[test]
fn a_paused_consumer_gets_nothing() {
    check(
        classic(),
        "attach 1 => attached
         pause 1
         publish a
         pause 1
         resume 1 => 1<a
         resume 1
         publish b => 1<b
         pause 1
         ack a b
         publish c
         detach 1
         resume 1
         attach 2 => attached, 2<c",
    );
}

#[test]
fn a_message_of_a_consumer_that_has_gone_stays_out() {
    check(
        classic(),
        "attach 1 n1 => attached
         publish a 1 => 1<a
         detach 1
         attach 1 n1 => attached
         publish b 2 => 1<b
         publish c
         nack a => count 1 0/1
         ack b => release 2, 1<a*",
    );
}

#[test]
fn consumers_of_a_session_can_share_their_credit() {
    check(
        classic(),
        "attach 1 shared => attached
         attach 2 shared => attached
         publish a => 1<a
         publish b
         ack a
         give 1
         resume 2 => 2<b
         publish c
         limit 2
         resume 1 => 1<c
         publish d
         nack b
         give 1
         resume 2 => 2<b*
         detach 2
         end b
         give 1
         resume 1 => 1<b*",
    );
}

#[test]
fn a_credit_shared_by_two_queues_is_spent_once() {
    let credit = Arc::new(SharedCredit::new(1));
    let mut effects = Vec::new();
    let mut queues = [0, 1].map(|id| {
        let mut queue = QueueCore::new(classic(), Timestamp(0));
        let consumer = Consumer {
            shared_credit: Some(credit.clone()),
            ..consumer(id)
        };
        queue.apply(Timestamp(0), Op::Attach(consumer), &mut effects);
        queue
    });
    effects.clear();
    for queue in &mut queues {
        let incoming = Script::incoming(&["a"]);
        queue.apply(Timestamp(0), Op::Publish(incoming), &mut effects);
    }
    let [Effect::Deliver(ConsumerId(0), Delivery { id: Some(id), .. })] = effects[..] else {
        panic!("{effects:?}");
    };
    assert!(!queues[1].has_work());
    queues[0].apply(Timestamp(0), Op::Acknowledge(&[id]), &mut effects);
    assert!(!queues[0].has_work() && !queues[1].has_work());
    credit.give_back(1);
    assert!(credit.was_refused());
    queues[1].apply(Timestamp(0), Op::Resume(ConsumerId(1)), &mut effects);
    assert!(queues[1].has_work());
}

#[test]
fn an_exclusive_consumer_is_the_only_one() {
    check(
        classic(),
        "attach 1 excl => attached
         attach 2 => exclusive use
         attach 2 excl => exclusive use
         detach 1
         attach 2 => attached
         attach 1 excl => exclusive use",
    );
    check(
        quorum(),
        "attach 1 excl => attached
         attach 2 => attached
         attach 3 excl => attached",
    );
}

// Single active consumer.

fn single(settings: Settings) -> Settings {
    Settings {
        single_active_consumer: true,
        ..settings
    }
}

#[test]
fn only_the_first_consumer_is_active_until_it_goes() {
    check(
        single(classic()),
        "attach 3 n1 => attached
         attach 2 => attached
         attach 1 => attached
         publish a => 3<a
         publish b
         publish c
         active => 3
         ack a => 3<b
         detach 3 => 2<c
         active => 2
         detach 2
         nack b => 1<b*
         detach 1
         active => none",
    );
}

#[test]
fn a_waiting_consumer_of_higher_priority_is_next_but_does_not_push() {
    check(
        single(classic()),
        "attach 1 => attached
         attach 2 => attached
         attach 3 p5 => attached
         publish a => 1<a
         detach 1
         publish b => 3<b",
    );
}

#[test]
fn a_single_active_queue_refuses_exclusive_consumers() {
    check(single(classic()), "attach 1 excl => exclusive use");
    check(single(quorum()), "attach 1 excl => attached");
}

#[test]
fn in_quorum_queues_a_higher_priority_takes_over_after_settlement() {
    check(
        single(quorum()),
        "attach 1 => attached
         publish a => 1<a
         publish b => 1<b
         attach 2 p1 => attached
         active => 1
         publish c
         ack a
         attach 3 p2 => attached
         ack b => 3<c
         active => 3
         attach 4 p2 => attached
         ack c
         active => 3
         attach 5 p3 => attached
         publish d => 5<d",
    );
}

#[test]
fn the_active_consumer_stays_when_its_successor_leaves_first() {
    check(
        single(quorum()),
        "attach 1 => attached
         publish a => 1<a
         attach 2 p1 => attached
         publish b
         detach 2 => 1<b",
    );
}

#[test]
fn single_active_consumer_can_be_switched() {
    let mut queue = QueueCore::new(classic(), Timestamp(0));
    let mut effects = Vec::new();
    for id in [2, 1] {
        queue.apply(Timestamp(0), Op::Attach(consumer(id)), &mut effects);
    }
    let active = |queue: &QueueCore| -> Vec<_> {
        queue
            .consumers()
            .map(|status| (status.consumer.id.0, status.active))
            .collect()
    };
    assert_eq!(active(&queue), [(1, true), (2, true)]);
    queue.apply(
        Timestamp(0),
        Op::Configure(single(classic()).into()),
        &mut effects,
    );
    assert_eq!(active(&queue), [(1, false), (2, true)]);
    queue.apply(Timestamp(0), Op::Configure(classic().into()), &mut effects);
    assert_eq!(active(&queue), [(1, true), (2, true)]);
}

// Failed deliveries.

#[test]
fn reject_and_the_end_of_the_session_count_as_failures_but_nack_does_not() {
    check(
        Settings {
            delivery_limit: Some(2),
            dead_letter: DeadLetter::AtMostOnce,
            ..quorum()
        },
        "attach 1 => attached
         publish a 1 => 1<a
         nack a => count 1 0/1, 1<a*0/1
         reject a => count 1 1/2, 1<a*1/2
         end a => count 1 2/3, 1<a*2/3
         nack a => count 1 2/4, 1<a*2/4
         reject a => DeliveryLimit a, release 1
         publish b => 1<b
         reject b => 1<b*1/1",
    );
}

#[test]
fn classic_queues_neither_count_nor_limit_deliveries() {
    check(
        classic(),
        "attach 1 => attached
         publish a => 1<a
         reject a => 1<a*
         end a => 1<a*",
    );
}

#[test]
fn a_restart_does_not_forget_that_a_classic_queue_has_handed_out_a_message() {
    check(
        classic(),
        "attach 1 => attached
         publish a 1 => 1<a
         reject a => count 1 0/1, 1<a*
         end a => 1<a*",
    );
    check(classic(), "recover a 1 x1\nget => got a* left 0");
}

#[test]
fn delayed_retries_wait_longer_after_each_failure() {
    check(
        Settings {
            delayed_retry: Some(DelayedRetry {
                on: RetryOn::All,
                min_ms: 10,
                max_ms: 25,
            }),
            ..quorum()
        },
        "attach 1 => attached
         publish a 1 => 1<a
         publish b => 1<b
         reject b
         reject a => count 1 1/1
         stats => delayed 2, persistent 1, consumers 1
         deadline => 10
         time 9
         time 10 => 1<a*1/1, 1<b*1/1
         reject a => count 1 2/2
         deadline => 30
         nack b
         deadline => 20
         time 20 => 1<b*1/2
         time 30 => 1<a*2/2
         reject a => count 1 3/3
         deadline => 55
         purge => release 1, purged 1
         deadline => none",
    );
}

#[test]
fn delayed_retry_chooses_by_kind_of_return() {
    let settings = |on| Settings {
        delayed_retry: Some(DelayedRetry {
            on,
            min_ms: 10,
            max_ms: 10,
        }),
        ..quorum()
    };
    let start = "attach 1 => attached
                 publish a => 1<a
                 publish b => 1<b";
    let failed = "nack a => 1<a*0/1
                  reject b
                  time 10 => 1<b*1/1";
    let returned = "reject a => 1<a*1/1
                    nack b
                    time 10 => 1<b*0/1";
    check(settings(RetryOn::Failed), &format!("{start}\n{failed}"));
    check(settings(RetryOn::Returned), &format!("{start}\n{returned}"));
}

#[test]
fn delayed_messages_count_towards_the_limits() {
    check(
        Settings {
            delayed_retry: Some(DelayedRetry {
                on: RetryOn::All,
                min_ms: 10,
                max_ms: 10,
            }),
            length_bytes_max: Some(3),
            overflow: Overflow::RejectPublish,
            ..quorum()
        },
        "publish a l2
         get => got a left 0
         nack a
         publish b l2 => refused
         publish c l1
         time 10
         get => got a*0/1 left 1",
    );
}

#[test]
fn overdue_deliveries_return_and_their_consumer_is_detached() {
    check(
        Settings {
            consumer_timeout_ms: Some(100),
            delivery_limit: Some(0),
            ..quorum()
        },
        "attach 1 => attached
         attach 2 o300 => attached
         publish a 1 => 1<a
         publish b => 2<b
         publish c 3 => 1<c
         time 50
         publish d => 2<d
         publish e => 1<e
         deadline => 100
         time 100 => count 1 0/1, count 3 0/1, timed out 1 after 100, 2<a*0/1, 2<c*0/1
         deadline => 150
         time 150 => 2<e*0/1
         ack b
         deadline => 300
         time 300
         deadline => 350
         time 350 => timed out 2 after 300
         get => got d*0/1 left 0
         ack a c e => release 1, release 3
         time 9000
         deadline => none
         stats => unsettled 1, bytes 1",
    );
}

#[test]
fn overdue_deliveries_return_in_the_order_of_the_queue() {
    check(
        Settings {
            consumer_timeout_ms: Some(100),
            ..quorum()
        },
        "attach 1 => attached
         publish a => 1<a
         publish b => 1<b
         ack a
         publish c => 1<c
         time 100 => timed out 1 after 100
         get => got b*0/1 left 1",
    );
}

// Dead letters.

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

// The life of the queue.

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

/// The ids of what a run has in the log.
fn ids(leaving: &Leaving) -> RangeInclusive<MessageId> {
    let stored = |outgoing: &Outgoing| match outgoing {
        Outgoing::Stored { id, .. } => Some(*id),
        Outgoing::Inline { .. } => None,
    };
    let ids = || leaving.records.iter().filter_map(stored);
    ids().min().unwrap_or(MessageId::NONE)..=ids().max().unwrap_or(MessageId::NONE)
}
