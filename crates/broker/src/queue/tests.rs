//! Scripts of ops and the effects expected of them, written down as one readable line each.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::pages::{Leaving, Outgoing, PageSizes, PageStore as _};
use super::shelf::{Shelf, on_shelf};
use super::*;
use crate::ids::QueueId;

mod consumers;
mod dead_letters;
mod failures;
mod life;
mod limits;
mod paging;
mod priorities;
mod single_active;
mod streams;
mod time_to_live;

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
/// - `publish a 1 fx`: with a value to filter by; `written 7`: what was published to a stream is durable from there on;
///   `durable 7`: the log is so up to there, and what comes is not so by itself any more;
/// - `read 1 n2 @first fx u`: consumer 1 of a stream, from `@next`, `@last`, an offset `@3` or a time `@t50`, which wants the
///   value `x`, and with `u` what has none;
/// - `take a b`: an operator takes what waits with these bodies, and `untake a` puts it back; `browse` shows what waits;
/// - `detach 1`, `pause 1`, `resume 1`, `get`, `get noack`, `ack a b`, `nack a`, `reject a`, `end a`, `discard a`,
///   `dead a`, `undead a` (the answer to a dead letter), `purge`, `touch`, `time 50` (a tick at that time), `limit 2`
///   and `give 1` (of the shared credit), `stats`, `arrivals`, `active`, `deadline`;
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
        read_from: None,
    }
}

/// A message with a value to filter by.
fn filterable(value: &str, body: &[u8]) -> Message {
    let mut properties = PropertiesBuf::default();
    let value = Value::String(value.as_bytes().into());
    let headers = properties.headers_mut();
    headers.insert("x-stream-filter-value", value);
    Message::new(b"", b"q", &properties.encode(), body)
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
            "read" => {
                let consumer = self.reader(id.0, rest);
                self.apply(Op::Attach(consumer))
            }
            "written" => self.apply(Op::Written(number(rest, "").unwrap())),
            "durable" => {
                self.shelf.become_durable(number(rest, "").unwrap());
                String::new()
            }
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
            "arrivals" => self.queue.arrivals().map_or_else(
                || "none".into(),
                |arrivals| format!("{} of {}", arrivals.oldest, arrivals.last),
            ),
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
                let resident = self.queue.resident().bytes;
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
                if self.queue.settings().kind == Kind::Stream {
                    self.queue.begin_at(self.shelf.first_offset());
                }
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

    /// A consumer of a stream: `n` its prefetch, `@` where it begins, `f` what it wants, `u` and what has no value.
    fn reader(&self, id: u32, words: &[&str]) -> Consumer {
        let start = match number::<String>(words, "@").as_deref() {
            Some("first") => StreamStart::First,
            Some("last") => StreamStart::Last,
            None | Some("next") => StreamStart::Next,
            Some(at) => match at.strip_prefix('t') {
                Some(time) => StreamStart::Time(Timestamp(time.parse().unwrap())),
                None => StreamStart::Offset(at.parse().unwrap()),
            },
        };
        let filter = number::<String>(words, "f").map(|value| StreamFilter {
            values: vec![value.as_bytes().into()],
            match_unfiltered: words.contains(&"u"),
        });
        Consumer {
            prefetch: number(words, "n").unwrap_or(10),
            read_from: Some(Box::new(ReadFrom { start, filter })),
            ..consumer(id)
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
        let body = message(words[0], number(words, "l").unwrap_or(1));
        let value = number::<String>(words, "f");
        Incoming {
            message: match &value {
                Some(value) => filterable(value, body.body()),
                None => body,
            },
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
            Effect::Truncate {
                first_offset,
                messages,
                pages,
            } => {
                self.shelf
                    .truncate(QueueId(0), first_offset, &messages, &pages);
                let ids = messages.iter().map(|id| format!(" {}", id.0));
                let pages = pages.iter().map(|page| format!(" page {}", page.0));
                let gone: String = ids.chain(pages).collect();
                format!("from {first_offset} without{gone}")
            }
            Effect::Summon(ConsumerId(id), durable_at) => format!("summon {id} at {durable_at}"),
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
        match delivery.stamp {
            Stamp::Counts(counts) if counts == Counts::default() => {}
            Stamp::Counts(Counts {
                deliveries,
                acquisitions,
            }) => write!(text, "{deliveries}/{acquisitions}").unwrap(),
            Stamp::Offset(offset) => write!(text, "@{}", offset.get()).unwrap(),
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
            ("paged out", stats.on_disk.ready),
            ("in the log", stats.on_disk.unsettled),
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
fn the_oldest_ready_message_is_known_by_its_place() {
    check(
        classic(),
        "arrivals => none
         publish a
         publish b
         publish c
         arrivals => 1 of 3
         get => got a left 2
         get => got b left 1
         arrivals => 3 of 3
         nack b
         arrivals => 2 of 3
         nack a
         arrivals => 1 of 3
         purge => purged 3
         arrivals => none",
    );
    // A place of its own among those that came back.
    check(
        quorum(),
        "publish a
         publish b
         get => got a left 1
         nack a
         arrivals => 2 of 3
         get => got a*0/1 left 1
         get => got b left 0
         nack a
         arrivals => 4 of 4",
    );
    // On disk, too.
    check(
        classic(),
        "publish a 1
         publish b 2
         publish c 3
         publish d 4
         page 2 => 2 pages, resident 0
         arrivals => 1 of 4",
    );
    // However long the higher priorities are.
    check(
        Settings {
            priority_max: Some(5),
            ..classic()
        },
        "publish a
         publish b p5
         publish c p5
         get => got b left 2
         arrivals => 1 of 3",
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

/// The ids of what a run has in the log.
fn ids(leaving: &Leaving) -> RangeInclusive<MessageId> {
    let stored = |outgoing: &Outgoing| match outgoing {
        Outgoing::Stored { id, .. } => Some(*id),
        Outgoing::Inline { .. } => None,
    };
    let ids = || leaving.records.iter().filter_map(stored);
    ids().min().unwrap_or(MessageId::NONE)..=ids().max().unwrap_or(MessageId::NONE)
}
