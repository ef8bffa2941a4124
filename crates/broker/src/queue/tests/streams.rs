use proptest::prelude::*;

use super::*;

fn stream() -> Settings {
    Settings::new(Kind::Stream)
}

fn at_most(bytes: u64) -> Settings {
    Settings {
        length_bytes_max: Some(bytes),
        ..stream()
    }
}

#[test]
fn every_consumer_reads_every_message_from_its_own_place() {
    check(
        stream(),
        "publish a 1 =>
         publish b 2 =>
         publish c 3 =>
         written 1 =>
         read 1 @first => attached, 1<a@0, 1<b@1, 1<c@2
         read 2 @last => attached, 2<c@2
         read 3 => attached
         read 4 @1 => attached, 4<b@1, 4<c@2
         read 5 @4 => attached
         stats => ready 3, bytes 3, persistent 3, consumers 5
         publish d 4 =>
         written 2 => summon 1 at 2, summon 2 at 2, summon 3 at 2, summon 4 at 2, summon 5 at 2
         resume 3 => 3<d@3
         resume 1 => 1<d@3
         resume 5 =>
         publish e 5 =>
         written 3 => summon 1 at 3, summon 3 at 3, summon 5 at 3
         resume 5 => 5<e@4",
    );
}

#[test]
fn a_time_finds_what_came_then_or_later() {
    check(
        stream(),
        "time 10 =>
         publish a 1 =>
         time 20 =>
         publish b 2 =>
         publish c 3 =>
         page 2 => 2 pages, resident 0
         time 30 =>
         publish d 4 =>
         written 1 =>
         read 1 @t0 => attached, 1<a@0, 1<b@1, 1<c@2, 1<d@3
         read 2 @t15 => attached, 2<b@1, 2<c@2, 2<d@3
         read 3 @t30 => attached, 3<d@3
         read 4 @t31 => attached
         publish e 5 =>
         written 2 => summon 1 at 2, summon 2 at 2, summon 3 at 2, summon 4 at 2
         resume 4 => 4<e@4",
    );
}

#[test]
fn acknowledging_gives_credit_and_nothing_else() {
    check(
        stream(),
        "publish a 1 =>
         publish b 2 =>
         publish c 3 =>
         publish d 4 =>
         publish e 5 =>
         written 1 =>
         read 1 n1 @first => attached, 1<a@0
         ack a => 1<b@1
         nack b => 1<c@2
         reject c => 1<d@3
         discard d => 1<e@4
         stats => ready 5, bytes 5, persistent 5, consumers 1
         detach 1 =>
         read 1 n1 @first => attached, 1<a@0
         end e =>
         ack a => 1<b@1",
    );
}

#[test]
fn nobody_reads_what_is_not_durable() {
    check(
        stream(),
        "durable 1 =>
         publish a 1 =>
         written 1 =>
         publish b 2 =>
         publish c 3 =>
         written 2 =>
         publish d 4 =>
         written 3 =>
         read 1 @first => attached, 1<a@0, summon 1 at 3
         durable 2 =>
         resume 1 => 1<b@1, 1<c@2, summon 1 at 3
         publish e 5 =>
         written 4 =>
         durable 4 =>
         resume 1 => 1<d@3, 1<e@4",
    );
}

#[test]
fn a_paused_reader_gets_nothing() {
    check(
        stream(),
        "read 1 => attached
         pause 1 =>
         publish a 1 =>
         written 1 => summon 1 at 1
         resume 1 => 1<a@0",
    );
}

#[test]
fn a_filter_takes_what_has_one_of_its_values() {
    check(
        stream(),
        "publish a 1 fx =>
         publish b 2 fy =>
         publish c 3 =>
         publish d 4 fx =>
         written 1 =>
         read 1 @first fx => attached, 1<a@0, 1<d@3
         read 2 @first fx u => attached, 2<a@0, 2<c@2, 2<d@3
         read 3 @first fz => attached",
    );
}

#[test]
fn the_oldest_go_when_there_are_too_many_bytes_and_the_last_stays() {
    check(
        at_most(3),
        "publish a 1 =>
         publish b 2 =>
         publish c 3 =>
         publish d 4 =>
         written 1 => from 1 without 1
         read 1 @first => attached, 1<b@1, 1<c@2, 1<d@3
         publish e 5 l9 =>
         written 2 => summon 1 at 2, from 4 without 2 3 4
         resume 1 => 1<e@4
         read 2 @0 => attached, 2<e@4
         stats => ready 1, bytes 9, persistent 1, consumers 2",
    );
}

#[test]
fn a_page_goes_as_a_whole_and_unread() {
    check(
        at_most(4),
        "publish a 1 =>
         publish b 2 =>
         publish c 3 =>
         publish d 4 =>
         page 2 => 2 pages, resident 0
         publish e 5 =>
         written 1 =>
         stats => ready 5, bytes 5, persistent 5, paged out 4
         publish f 6 =>
         written 2 => from 2 without page 1
         read 1 @first => attached, 1<c@2, 1<d@3, 1<e@4, 1<f@5
         stats => ready 4, bytes 4, persistent 4, paged out 2, consumers 1",
    );
}

#[test]
fn what_is_too_old_goes_without_anybody_publishing() {
    check(
        Settings {
            max_age_ms: Some(100),
            ..stream()
        },
        "time 10 =>
         publish a 1 =>
         time 20 =>
         publish b 2 =>
         written 1 =>
         deadline => 110
         time 109 =>
         time 110 => from 1 without 1
         deadline => 120
         time 200 => from 2 without 2
         deadline => none
         publish c 3 =>
         written 2 =>
         read 1 @first => attached, 1<c@2",
    );
}

#[test]
fn an_old_page_goes_when_what_is_behind_it_is_old() {
    check(
        Settings {
            max_age_ms: Some(100),
            ..stream()
        },
        "time 10 =>
         publish a 1 =>
         time 20 =>
         publish b 2 =>
         page 2 => 1 pages, resident 0
         time 30 =>
         publish c 3 =>
         written 1 =>
         deadline => 130
         time 129 =>
         time 130 => from 3 without 3 page 1",
    );
}

#[test]
fn offsets_are_the_same_after_a_restart() {
    check(
        at_most(4),
        "publish a 1 =>
         publish b 2 =>
         publish c 3 =>
         publish d 4 =>
         page 2 => 2 pages, resident 0
         publish e 5 =>
         publish f 6 =>
         written 1 => from 2 without page 1
         restart =>
         repage 2 =>
         recover e 5 =>
         recover f 6 =>
         publish g 7 =>
         written 2 =>
         read 1 @first => attached, 1<c@2, 1<d@3, 1<e@4, 1<f@5, 1<g@6
         read 2 @3 => attached, 2<d@3, 2<e@4, 2<f@5, 2<g@6",
    );
}

#[test]
fn a_reader_that_retention_has_overtaken_goes_on_with_what_there_is() {
    check(
        at_most(2),
        "publish a 1 =>
         publish b 2 =>
         written 1 =>
         read 1 n1 @first => attached, 1<a@0
         publish c 3 =>
         publish d 4 =>
         publish e 5 =>
         written 2 => from 3 without 1 2 3
         ack a => 1<d@3",
    );
}

/// What happens to a stream at random.
#[derive(Debug, Clone)]
enum Step {
    Publish(usize),
    Written,
    /// The log becomes durable up to so many writes before the last.
    Durable(u64),
    Page(usize),
    Read {
        start: StreamStart,
        prefetch: u16,
    },
    Settle(usize),
    Resume(usize),
    Detach(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let start = prop_oneof![
        Just(StreamStart::First),
        Just(StreamStart::Last),
        Just(StreamStart::Next),
        (0..60u64).prop_map(StreamStart::Offset),
    ];
    prop_oneof![
        8 => (1..6usize).prop_map(Step::Publish),
        4 => Just(Step::Written),
        3 => (0..3u64).prop_map(Step::Durable),
        2 => (1..4usize).prop_map(Step::Page),
        2 => (start, 1..5u16).prop_map(|(start, prefetch)| Step::Read { start, prefetch }),
        6 => (0..8usize).prop_map(Step::Settle),
        4 => (0..8usize).prop_map(Step::Resume),
        1 => (0..8usize).prop_map(Step::Detach),
        1 => Just(Step::Restart),
    ]
}

/// A stream, and what is true of it whatever happens.
struct Life {
    queue: QueueCore,
    shelf: Arc<Shelf>,
    metas: Vec<([u8; pages::META], RangeInclusive<MessageId>)>,
    /// All messages there ever were, by offset. Their ids are those, and one.
    messages: Vec<Message>,
    /// How many of them were written by each write.
    writes: Vec<usize>,
    durable: usize,
    first: u64,
    /// The readers, the offset each gets next at least, and what it holds.
    readers: Vec<(ConsumerId, Option<u64>, Vec<DeliveryId>)>,
}

impl Life {
    fn apply(&mut self, op: Op<'_>) {
        let mut effects = Vec::new();
        self.queue.apply(Timestamp(0), op, &mut effects);
        while self.queue.has_work() {
            self.queue.apply(Timestamp(0), Op::Assign(2), &mut effects);
        }
        for effect in effects {
            match effect {
                Effect::Attached | Effect::Summon(..) => {}
                Effect::Truncate {
                    first_offset,
                    messages,
                    pages,
                } => {
                    assert!(first_offset > self.first);
                    self.first = first_offset;
                    self.shelf
                        .truncate(QueueId(0), first_offset, &messages, &pages);
                }
                Effect::Deliver(id, delivery) => self.delivered(id, delivery),
                other => panic!("{other:?}"),
            }
        }
        let stats = self.queue.stats();
        let kept = &self.messages[self.first as usize..];
        assert_eq!(stats.ready, kept.len() as u64);
        assert_eq!(stats.persistent, stats.ready);
        let bytes: usize = kept.iter().map(|message| message.body().len()).sum();
        assert_eq!(stats.ready_bytes, bytes as u64);
        let resident = self.queue.recount_resident();
        assert_eq!(self.queue.resident(), resident);
    }

    fn delivered(&mut self, to: ConsumerId, delivery: Delivery) {
        let Stamp::Offset(offset) = delivery.stamp else {
            panic!("no offset");
        };
        let offset = offset.get();
        let at = offset as usize;
        assert!(at < self.durable, "offset {offset} is not durable");
        assert_eq!(delivery.message.body(), self.messages[at].body());
        let reader = self.readers.iter_mut().find(|reader| reader.0 == to);
        let (_, next, held) = reader.expect("a reader");
        if let Some(next) = *next {
            assert!(offset == next || offset > next && offset <= self.first.max(next));
        }
        *next = Some(offset + 1);
        held.extend(delivery.id);
    }

    fn step(&mut self, step: Step) {
        let reader = |life: &Self, n: usize| n.checked_rem(life.readers.len());
        match step {
            Step::Publish(length) => {
                let text = format!("{}.", self.messages.len());
                let message = message(&text, length);
                self.messages.push(message.clone());
                let id = MessageId(self.messages.len() as u64);
                self.shelf.store(id, &message);
                let mut words = Script::incoming(&["x"]);
                (words.message, words.id, words.persistent) = (message, id, true);
                self.apply(Op::Publish(words));
            }
            Step::Written => {
                self.writes.push(self.messages.len());
                self.apply(Op::Written(self.writes.len() as u64));
            }
            Step::Durable(behind) => {
                let durable = (self.writes.len() as u64).saturating_sub(behind);
                let through = durable.checked_sub(1).map(|at| self.writes[at as usize]);
                if through.is_some_and(|through| through > self.durable) {
                    self.durable = through.unwrap_or(0);
                    self.shelf.become_durable(durable);
                }
            }
            Step::Page(messages) => {
                let sizes = PageSizes {
                    head_bytes: 0,
                    page_bytes: 1000,
                    page_messages: messages,
                    page_bytes_min: 0,
                };
                if let Some(leaving) = self.queue.page_out(&sizes) {
                    let (shelf, metas) = (&self.shelf, &mut self.metas);
                    self.queue.commit_page(&leaving, || {
                        metas.push((leaving.meta, ids(&leaving)));
                        shelf.page(&leaving)
                    });
                }
            }
            Step::Read { start, prefetch } => {
                let id = ConsumerId(self.metas.len() as u32 * 1000 + self.readers.len() as u32);
                if self.readers.iter().any(|reader| reader.0 == id) {
                    return;
                }
                let next = match start {
                    StreamStart::Next => Some(self.messages.len() as u64),
                    StreamStart::Offset(offset) if offset >= self.first => Some(offset),
                    _ => None,
                };
                self.readers.push((id, next, Vec::new()));
                let read_from = ReadFrom {
                    start,
                    filter: None,
                };
                self.apply(Op::Attach(Consumer {
                    prefetch,
                    read_from: Some(Box::new(read_from)),
                    ..consumer(id.0)
                }));
            }
            Step::Settle(n) => {
                if let Some(at) = reader(self, n) {
                    let held = std::mem::take(&mut self.readers[at].2);
                    self.apply(Op::Acknowledge(&held));
                }
            }
            Step::Resume(n) => {
                if let Some(at) = reader(self, n) {
                    self.apply(Op::Resume(self.readers[at].0));
                }
            }
            Step::Detach(n) => {
                if let Some(at) = reader(self, n) {
                    let (id, ..) = self.readers.remove(at);
                    self.apply(Op::Detach(id));
                }
            }
            Step::Restart => self.restart(),
        }
    }

    /// A stop in good order: all that was published is durable.
    fn restart(&mut self) {
        self.readers.clear();
        let pages: Vec<PageId> = self.queue.pages().collect();
        let mut queue = QueueCore::new(self.queue.settings().clone(), Timestamp(0));
        queue = queue.with_pages(self.shelf.clone());
        queue.begin_at(self.shelf.first_offset());
        let mut paged = Vec::new();
        for page in pages {
            let (meta, ids) = self.metas[page.0 as usize - 1].clone();
            paged.push((*ids.start(), page, meta, ids));
        }
        paged.sort_by_key(|page| page.0);
        let mut paged = paged.into_iter().peekable();
        let mut at = MessageId(self.first + 1);
        while at.0 <= self.messages.len() as u64 {
            if let Some((_, page, meta, ids)) = paged.next_if(|page| page.0 == at) {
                at = MessageId(ids.end().0 + 1);
                queue.recover_page(page, &meta, ids, true).unwrap();
                continue;
            }
            let mut incoming = Script::incoming(&["x"]);
            incoming.message = self.messages[at.0 as usize - 1].clone();
            (incoming.id, incoming.persistent) = (at, true);
            let recovered = Op::Recover(Recovered {
                incoming,
                published_at: Timestamp(0),
                counts: Counts::default(),
            });
            queue.apply(Timestamp(0), recovered, &mut Vec::new());
            at = MessageId(at.0 + 1);
        }
        self.queue = queue;
        self.writes.push(self.messages.len());
        self.durable = self.messages.len();
        self.shelf.become_durable(self.writes.len() as u64);
    }
}

proptest! {
    #[test]
    fn readers_see_every_durable_message_once_and_in_order(
        bytes_max in proptest::option::of(1..60u64),
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let settings = Settings {
            length_bytes_max: bytes_max,
            ..stream()
        };
        let (queue, shelf) = on_shelf(QueueCore::new(settings, Timestamp(0)));
        shelf.become_durable(0);
        let mut life = Life {
            queue,
            shelf,
            metas: Vec::new(),
            messages: Vec::new(),
            writes: Vec::new(),
            durable: 0,
            first: 0,
            readers: Vec::new(),
        };
        for step in steps {
            life.step(step);
        }
        // In the end everybody gets everything there is.
        life.step(Step::Written);
        life.step(Step::Durable(0));
        for _ in 0..2 * life.messages.len() + 1 {
            for at in 0..life.readers.len() {
                life.step(Step::Settle(at));
                life.step(Step::Resume(at));
            }
        }
        let end = life.messages.len() as u64;
        prop_assert!(life.readers.iter().all(|reader| reader.1.is_none_or(|next| next >= end)));
    }
}
