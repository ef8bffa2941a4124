//! The queue against a model of it: lists that are searched from end to end, and no thought for speed. Random ops go to
//! both; the effects, the figures and the deadline must agree after each. The queue pages messages out at random moments,
//! of which the model knows nothing.

use proptest::prelude::*;

use super::pages::{Leaving, PageSizes};
use super::shelf::{Shelf, on_shelf};
use super::*;

/// A message in the model. Its body is its number, unique in the run.
#[derive(Debug, Clone)]
struct Letter {
    number: u32,
    size: u64,
    id: u64,
    /// 256 after a return to a quorum queue, else the priority.
    level: u16,
    order: u64,
    expiry: u64,
    redelivered: bool,
    persistent: bool,
    counts: Counts,
}

#[derive(Debug)]
struct Client {
    consumer: Consumer,
    attached: bool,
    paused: bool,
    /// When it came into the rota, if it is there.
    turn: Option<u64>,
}

#[derive(Debug)]
struct Out {
    letter: Letter,
    /// The client's index; `None` for a get.
    to: Option<usize>,
    since: u64,
}

#[derive(Debug)]
struct Model {
    settings: Settings,
    now: u64,
    ready: Vec<Letter>,
    out: Vec<Out>,
    delayed: Vec<(u64, Letter)>,
    dead_waiting: Vec<(Letter, Reason)>,
    dead_out: Vec<(Letter, Reason)>,
    dead_failed: Vec<(Letter, Reason)>,
    retry_at: Option<u64>,
    clients: Vec<Client>,
    active: Option<usize>,
    yielding: bool,
    counter: u64,
    last_used: u64,
    deleted: bool,
    effects: Vec<String>,
}

impl Model {
    fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: 0,
            ready: Vec::new(),
            out: Vec::new(),
            delayed: Vec::new(),
            dead_waiting: Vec::new(),
            dead_out: Vec::new(),
            dead_failed: Vec::new(),
            retry_at: None,
            clients: Vec::new(),
            active: None,
            yielding: false,
            counter: 0,
            last_used: 0,
            deleted: false,
            effects: Vec::new(),
        }
    }

    fn tell(&mut self, effect: impl Into<String>) {
        self.effects.push(effect.into());
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn quorum(&self) -> bool {
        self.settings.kind == Kind::Quorum
    }

    fn publish(&mut self, number: u32, publish: &Publish) {
        let ttl = [self.settings.message_ttl_ms, publish.ttl_ms];
        let ttl = ttl.into_iter().flatten().min();
        let priority = if self.quorum() {
            publish.priority.unwrap_or(4).min(31)
        } else {
            let most = self.settings.priority_max.unwrap_or(0);
            publish.priority.unwrap_or(0).min(most)
        };
        let letter = Letter {
            number,
            size: publish.size as u64,
            id: if publish.stored { u64::from(number) } else { 0 },
            level: u16::from(priority),
            order: self.count(),
            expiry: ttl.map_or(u64::MAX, |ttl| self.now + ttl),
            redelivered: false,
            persistent: publish.stored,
            counts: Counts::default(),
        };
        loop {
            if self.ready.is_empty()
                && let Some(client) = self.next_client()
            {
                return self.deliver(client, letter);
            }
            if self.settings.overflow == Overflow::DropHead || self.room(1, letter.size) {
                break;
            }
            if !self.hand_out() {
                self.tell("refused");
                let to_dlx = self.settings.overflow == Overflow::RejectPublishDlx
                    && self.settings.dead_letter != DeadLetter::Off;
                if to_dlx {
                    self.tell(format!("dead {} MaxLength false", letter.number));
                }
                return self.release(&letter);
            }
        }
        if letter.expiry <= self.now {
            return self.bury(letter, Reason::Expired);
        }
        self.ready.push(letter);
        self.shed();
    }

    fn room(&self, messages: u64, bytes: u64) -> bool {
        let dead = [&self.dead_waiting, &self.dead_out, &self.dead_failed];
        let sizes: Vec<u64> = self
            .ready
            .iter()
            .chain(self.delayed.iter().map(|(_, letter)| letter))
            .chain(dead.into_iter().flatten().map(|(letter, _)| letter))
            .map(|letter| letter.size)
            .collect();
        let length = sizes.len() as u64 + messages;
        let bytes = sizes.iter().sum::<u64>() + bytes;
        self.settings.length_max.is_none_or(|most| length <= most)
            && self
                .settings
                .length_bytes_max
                .is_none_or(|most| bytes <= most)
    }

    fn shed(&mut self) {
        while !self.room(0, 0) {
            if self.hand_out() {
                continue;
            }
            if self.settings.overflow != Overflow::DropHead || self.ready.is_empty() {
                return;
            }
            let head = self.pop();
            self.bury(head, Reason::MaxLength);
            self.expire();
        }
    }

    /// The index of the next letter.
    fn head(&self) -> Option<usize> {
        let place = |&at: &usize| {
            let letter = &self.ready[at];
            (std::cmp::Reverse(letter.level), letter.order)
        };
        (0..self.ready.len()).min_by_key(place)
    }

    fn pop(&mut self) -> Letter {
        let at = self.head().expect("not empty");
        self.ready.remove(at)
    }

    /// The heads of all levels, highest first.
    fn heads(&self) -> Vec<usize> {
        let mut places: Vec<_> = (0..self.ready.len()).collect();
        places.sort_by_key(|&at| {
            (
                std::cmp::Reverse(self.ready[at].level),
                self.ready[at].order,
            )
        });
        places.dedup_by_key(|at| self.ready[*at].level);
        places
    }

    fn expire(&mut self) {
        let expired = |model: &Self| {
            let mut heads = model.heads().into_iter();
            heads.find(|&at| model.ready[at].expiry <= model.now)
        };
        while let Some(at) = expired(self) {
            let letter = self.ready.remove(at);
            self.bury(letter, Reason::Expired);
        }
    }

    fn hand_out(&mut self) -> bool {
        if self.ready.is_empty() {
            return false;
        }
        let Some(client) = self.next_client() else {
            return false;
        };
        let letter = self.pop();
        self.deliver(client, letter);
        self.expire();
        true
    }

    fn next_client(&self) -> Option<usize> {
        (0..self.clients.len())
            .filter(|&at| self.clients[at].turn.is_some())
            .min_by_key(|&at| {
                let client = &self.clients[at];
                (std::cmp::Reverse(client.consumer.priority), client.turn)
            })
    }

    fn deliver(&mut self, to: usize, letter: Letter) {
        let consumer = &self.clients[to].consumer;
        let (id, acknowledges) = (consumer.id.0, consumer.acknowledges);
        self.tell(format!("deliver {id} {}", describe(&letter, acknowledges)));
        if acknowledges {
            self.out.push(Out {
                letter,
                to: Some(to),
                since: self.now,
            });
        } else {
            self.release(&letter);
        }
        self.clients[to].turn = None;
        self.refresh(to);
    }

    fn unsettled(&self, client: usize) -> usize {
        self.out.iter().filter(|out| out.to == Some(client)).count()
    }

    fn refresh(&mut self, at: usize) {
        let client = &self.clients[at];
        let prefetch = usize::from(client.consumer.prefetch);
        let chosen =
            !self.settings.single_active_consumer || self.active == Some(at) && !self.yielding;
        let credit =
            !client.consumer.acknowledges || prefetch == 0 || self.unsettled(at) < prefetch;
        if !(client.attached && !client.paused && chosen && credit) {
            self.clients[at].turn = None;
        } else if client.turn.is_none() {
            self.clients[at].turn = Some(self.count());
        }
    }

    fn attached(&self) -> Vec<usize> {
        (0..self.clients.len())
            .filter(|&at| self.clients[at].attached)
            .collect()
    }

    fn attach(&mut self, consumer: Consumer) {
        self.last_used = self.now;
        let attached = self.attached();
        let taken = attached
            .iter()
            .any(|&at| self.clients[at].consumer.exclusive);
        let alone = attached.is_empty() && !self.settings.single_active_consumer;
        if !self.quorum() && (taken || consumer.exclusive && !alone) {
            return self.tell("exclusive use");
        }
        self.tell("attached");
        self.clients.push(Client {
            consumer,
            attached: true,
            paused: false,
            turn: None,
        });
        self.elect();
        self.refresh(self.clients.len() - 1);
    }

    fn elect(&mut self) {
        if !self.settings.single_active_consumer {
            return;
        }
        let attached = self.attached();
        let best = attached
            .into_iter()
            .rev()
            .max_by_key(|&at| self.clients[at].consumer.priority);
        let active = self.active.filter(|&at| self.clients[at].attached);
        let old = self.active;
        let outranked = |active: usize, best: usize| {
            let priority = |at: usize| self.clients[at].consumer.priority;
            self.quorum() && priority(best) > priority(active)
        };
        (self.active, self.yielding) = match (active, best) {
            (_, None) => (None, false),
            (None, best) => (best, false),
            (Some(active), Some(best)) if outranked(active, best) => {
                if self.unsettled(active) == 0 {
                    (Some(best), false)
                } else {
                    (Some(active), true)
                }
            }
            (active, _) => (active, false),
        };
        for at in [old, self.active].into_iter().flatten() {
            self.refresh(at);
        }
    }

    fn detach(&mut self, at: usize) {
        self.clients[at].attached = false;
        self.refresh(at);
        self.elect();
        self.last_used = self.now;
        if self.settings.auto_delete && self.attached().is_empty() {
            self.delete();
        }
    }

    /// One of those attached, and an id in any case.
    fn client(&self, n: usize) -> (Option<usize>, ConsumerId) {
        let attached = self.attached();
        let at = attached.get(n % attached.len().max(1)).copied();
        let id = at.map_or(ConsumerId(u32::MAX), |at| self.clients[at].consumer.id);
        (at, id)
    }

    fn set_paused(&mut self, at: usize, paused: bool) {
        self.clients[at].paused = paused;
        self.refresh(at);
    }

    fn delete(&mut self) {
        if !std::mem::replace(&mut self.deleted, true) {
            self.tell("delete");
        }
    }

    fn get(&mut self, acknowledges: bool) {
        self.last_used = self.now;
        if self.ready.is_empty() {
            return self.tell("empty");
        }
        let letter = self.pop();
        let left = self.ready.len();
        self.tell(format!(
            "got {} left {left}",
            describe(&letter, acknowledges)
        ));
        if acknowledges {
            self.out.push(Out {
                letter,
                to: None,
                since: self.now,
            });
        } else {
            self.release(&letter);
        }
        self.expire();
    }

    fn take(&mut self, numbers: &[u32]) {
        let mut taken = Vec::new();
        self.ready.retain(|letter| {
            let is_taken = numbers.contains(&letter.number);
            taken.extend(is_taken.then(|| letter.clone()));
            !is_taken
        });
        taken.sort_by_key(|letter| (std::cmp::Reverse(letter.level), letter.order));
        for letter in taken {
            self.tell(format!("taken {}", describe(&letter, true)));
            self.out.push(Out {
                letter,
                to: None,
                since: self.now,
            });
        }
        self.expire();
    }

    fn check_in(&mut self, number: u32) -> Letter {
        let at = self.out.iter().position(|out| out.letter.number == number);
        let out = self.out.remove(at.expect("only what is out is settled"));
        if let Some(client) = out.to {
            if self.yielding && self.active == Some(client) && self.clients[client].attached {
                self.elect();
            } else {
                self.refresh(client);
            }
        }
        out.letter
    }

    fn put_back(&mut self, numbers: &[u32], how: Return) {
        for &number in numbers {
            if how == Return::Untouched {
                let letter = self.check_in(number);
                self.ready.push(letter);
            } else {
                self.put_back_one(number, how != Return::Requeue);
            }
        }
        self.expire();
        self.shed();
    }

    fn put_back_one(&mut self, number: u32, failed: bool) {
        let mut letter = self.check_in(number);
        let first = !std::mem::replace(&mut letter.redelivered, true);
        if self.quorum() {
            self.try_again(letter, failed);
        } else {
            if letter.id != 0 && first {
                let once = Counts {
                    acquisitions: 1,
                    ..Counts::default()
                };
                self.tell(format!("count {} {once:?}", letter.id));
            }
            self.ready.push(letter);
        }
    }

    fn try_again(&mut self, mut letter: Letter, failed: bool) {
        letter.counts.acquisitions += 1;
        letter.counts.deliveries += u32::from(failed);
        let limit = self.settings.delivery_limit;
        if failed && limit.is_some_and(|limit| letter.counts.deliveries > limit) {
            return self.bury(letter, Reason::DeliveryLimit);
        }
        if letter.id != 0 {
            let counts = letter.counts;
            self.tell(format!("count {} {counts:?}", letter.id));
        }
        match self.settings.delayed_retry {
            Some(DelayedRetry { on, min_ms, max_ms })
                if on == RetryOn::All || (on == RetryOn::Failed) == failed =>
            {
                let failures = u64::from(letter.counts.deliveries).max(1);
                let wait = (min_ms * failures).min(max_ms);
                self.delayed.push((self.now + wait, letter));
            }
            _ => self.go_first(letter),
        }
    }

    fn go_first(&mut self, mut letter: Letter) {
        letter.order = self.count();
        letter.level = 256;
        self.ready.push(letter);
    }

    fn release(&mut self, letter: &Letter) {
        if letter.id != 0 {
            self.tell(format!("release {}", letter.id));
        }
    }

    fn bury(&mut self, letter: Letter, reason: Reason) {
        match self.settings.dead_letter {
            DeadLetter::Off => self.release(&letter),
            DeadLetter::AtMostOnce => {
                self.tell(format!("dead {} {reason:?} false", letter.number));
                self.release(&letter);
            }
            DeadLetter::AtLeastOnce => {
                self.dead_waiting.push((letter, reason));
                self.send_dead();
            }
        }
    }

    fn send_dead(&mut self) {
        while self.dead_out.len() + self.dead_failed.len() < 32 && !self.dead_waiting.is_empty() {
            let (letter, reason) = self.dead_waiting.remove(0);
            self.tell(format!("dead {} {reason:?} true", letter.number));
            self.dead_out.push((letter, reason));
        }
    }

    fn dead_lettered(&mut self, number: u32, done: bool) {
        let at = self
            .dead_out
            .iter()
            .position(|(letter, _)| letter.number == number);
        let dead = self
            .dead_out
            .remove(at.expect("only what is on its way is answered"));
        if done {
            self.release(&dead.0);
            self.send_dead();
        } else {
            self.dead_failed.push(dead);
            self.retry_at.get_or_insert(self.now + 1000);
        }
    }

    /// What a purge drops, without its order among the dead letters on their way, which nobody sees.
    fn purge(&mut self) {
        let mut purged = 0;
        while !self.ready.is_empty() {
            let letter = self.pop();
            self.release(&letter);
            purged += 1;
        }
        self.delayed
            .sort_by_key(|(due, letter)| (*due, letter.order));
        let delayed = std::mem::take(&mut self.delayed);
        let delayed = delayed.into_iter().map(|(_, letter)| letter);
        let dead = [
            &mut self.dead_out,
            &mut self.dead_failed,
            &mut self.dead_waiting,
        ];
        let dead = dead
            .map(std::mem::take)
            .into_iter()
            .flatten()
            .map(|(letter, _)| letter);
        for letter in delayed.chain(dead).collect::<Vec<_>>() {
            self.release(&letter);
            purged += 1;
        }
        self.retry_at = None;
        self.tell(format!("purged {purged}"));
    }

    fn due(&self, out: &Out) -> Option<u64> {
        let timeout = self.clients[out.to?].consumer.timeout_ms;
        let timeout = timeout.or(self.settings.consumer_timeout_ms)?;
        Some(out.since + timeout)
    }

    fn expires_at(&self) -> Option<u64> {
        let unused = self.attached().is_empty() && !self.deleted;
        let expires = self.settings.expires_ms.filter(|_| unused)?;
        Some(self.last_used + expires)
    }

    fn tick(&mut self) {
        let mut overdue: Vec<_> = self
            .out
            .iter()
            .filter(|out| self.due(out).is_some_and(|due| due <= self.now))
            .map(|out| (out.letter.order, out.letter.number, out.to.expect("due")))
            .collect();
        overdue.sort_unstable();
        let mut late = Vec::new();
        for &(_, _, client) in &overdue {
            if self.clients[client].attached {
                late.push(format!("timed out {}", self.clients[client].consumer.id.0));
                self.detach(client);
            }
        }
        for (_, number, _) in overdue {
            self.put_back_one(number, false);
        }
        self.effects.append(&mut late);
        self.delayed
            .sort_by_key(|(due, letter)| (*due, letter.order));
        while self
            .delayed
            .first()
            .is_some_and(|(due, _)| *due <= self.now)
        {
            let (_, letter) = self.delayed.remove(0);
            self.go_first(letter);
        }
        self.expire();
        self.shed();
        if self.retry_at.is_some_and(|at| at <= self.now) {
            self.retry_at = None;
            let mut again = std::mem::take(&mut self.dead_failed);
            again.append(&mut self.dead_waiting);
            self.dead_waiting = again;
            self.send_dead();
        }
        if self.expires_at().is_some_and(|at| at <= self.now) {
            self.delete();
        }
    }

    fn stats(&self) -> Stats {
        let sum = |letters: &[Letter]| letters.iter().map(|letter| letter.size).sum();
        let persistent = |letters: &[Letter]| -> u64 {
            let letters = letters.iter().filter(|letter| letter.persistent);
            letters.map(|letter| letter.size).sum()
        };
        let out: Vec<_> = self.out.iter().map(|out| out.letter.clone()).collect();
        let dead = [&self.dead_waiting, &self.dead_out, &self.dead_failed];
        let dead = dead.into_iter().flatten().map(|(letter, _)| letter);
        let delayed = self.delayed.iter().map(|(_, letter)| letter);
        let all = self
            .ready
            .iter()
            .chain(&out)
            .chain(delayed)
            .chain(dead.clone());
        Stats {
            ready: self.ready.len() as u64,
            ready_bytes: sum(&self.ready),
            unsettled: out.len() as u64,
            unsettled_bytes: sum(&out),
            delayed: self.delayed.len() as u64,
            dead_lettering: dead.count() as u64,
            persistent: all.filter(|letter| letter.persistent).count() as u64,
            persistent_bytes: persistent(&self.ready) + persistent(&out),
            on_disk: OnDisk::default(),
            consumers: self.attached().len() as u64,
        }
    }

    fn deadline(&self) -> Option<u64> {
        let expiry = self.heads().into_iter().map(|at| self.ready[at].expiry);
        let expiry = expiry.filter(|&at| at != u64::MAX);
        let due = self.out.iter().filter_map(|out| self.due(out));
        let delayed = self.delayed.iter().map(|(due, _)| *due);
        let rest = [self.retry_at, self.expires_at()].into_iter().flatten();
        expiry.chain(due).chain(delayed).chain(rest).min()
    }
}

fn describe(letter: &Letter, acknowledges: bool) -> String {
    let Letter {
        number,
        redelivered,
        counts,
        ..
    } = letter;
    format!("{number} {redelivered} {counts:?} {acknowledges}")
}

fn number(message: &Message) -> u32 {
    let digits = message.properties();
    u32::from_be_bytes(digits.try_into().expect("the number of the message"))
}

// The other side: the queue, described in the same words.

#[derive(Debug, Clone)]
struct Publish {
    priority: Option<u8>,
    ttl_ms: Option<u64>,
    size: usize,
    stored: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Publish(Publish),
    Attach {
        acknowledges: bool,
        prefetch: u16,
        priority: i32,
        exclusive: bool,
        timeout_ms: Option<u64>,
    },
    Detach(usize),
    Pause(usize),
    Resume(usize),
    Get(bool),
    /// Waiting messages, by their places.
    Take(Vec<usize>),
    Acknowledge(Vec<usize>),
    Return(Vec<usize>, Return),
    Discard(Vec<usize>),
    DeadLettered(usize, bool),
    Assign(usize),
    Purge,
    Touch,
    Tick,
    Pass(u64),
    Limit(Option<u64>),
    PageOut(PageSizes),
    /// The oldest run is on disk, or can't be written.
    PagedOut(bool),
}

/// Both sides of a run.
struct Run {
    queue: QueueCore,
    model: Model,
    published: u32,
    attached: u32,
    held: Vec<(u32, DeliveryId)>,
    dead: Vec<(u32, DeliveryId)>,
    shelf: Arc<Shelf>,
    leaving: Vec<Leaving>,
}

impl Run {
    fn new(settings: Settings) -> Self {
        let (queue, shelf) = on_shelf(QueueCore::new(settings.clone(), Timestamp(0)));
        Self {
            queue,
            shelf,
            leaving: Vec::new(),
            model: Model::new(settings),
            published: 0,
            attached: 0,
            held: Vec::new(),
            dead: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        let model = &mut self.model;
        match step {
            Step::Pass(ms) => return model.now += ms,
            Step::PageOut(sizes) => {
                self.leaving.extend(self.queue.page_out(&sizes));
                return self.agree("paging out");
            }
            Step::PagedOut(done) => {
                self.paged_out(done);
                return self.agree("having paged out");
            }
            _ => {}
        }
        model.expire();
        let context = format!("{step:?}");
        match step {
            Step::Publish(publish) => {
                self.published += 1;
                let number = self.published;
                model.publish(number, &publish);
                let Publish {
                    priority,
                    ttl_ms,
                    size,
                    stored,
                } = publish;
                let message = Message::new(b"", b"", &number.to_be_bytes(), &vec![0; size]);
                let id = MessageId(if stored { u64::from(number) } else { 0 });
                if stored {
                    self.shelf.store(id, &message);
                }
                self.apply(Op::Publish(Incoming {
                    message,
                    id,
                    priority,
                    ttl_ms,
                    persistent: stored,
                    redelivered: false,
                }));
            }
            Step::Attach {
                acknowledges,
                prefetch,
                priority,
                exclusive,
                timeout_ms,
            } => {
                self.attached += 1;
                let consumer = Consumer {
                    id: ConsumerId(self.attached),
                    session: SessionId(0),
                    acknowledges,
                    prefetch,
                    shared_credit: None,
                    priority,
                    exclusive,
                    timeout_ms,
                    read_from: None,
                };
                model.attach(consumer.clone());
                self.apply(Op::Attach(consumer));
            }
            Step::Detach(n) => {
                let (client, id) = model.client(n);
                client.into_iter().for_each(|at| model.detach(at));
                self.apply(Op::Detach(id));
            }
            Step::Pause(n) => {
                let (client, id) = model.client(n);
                client.into_iter().for_each(|at| model.set_paused(at, true));
                self.apply(Op::Pause(id));
            }
            Step::Resume(n) => {
                let (client, id) = model.client(n);
                client
                    .into_iter()
                    .for_each(|at| model.set_paused(at, false));
                self.apply(Op::Resume(id));
            }
            Step::Get(acknowledges) => {
                model.get(acknowledges);
                let session = SessionId(0);
                self.apply(Op::Get {
                    session,
                    acknowledges,
                });
            }
            Step::Take(places) => {
                let mut waiting = Vec::new();
                let mut see = |it: Browsed| {
                    waiting.push((number(&it.message), it.standing));
                    std::ops::ControlFlow::Continue(())
                };
                let all = Start::Offset(0);
                self.queue.browse(all, Scope::ALL, &mut see).unwrap();
                let chosen = places.iter().filter_map(|place| waiting.get(*place));
                let (numbers, standings): (Vec<_>, Vec<_>) = chosen.copied().unzip();
                model.take(&numbers);
                self.apply(Op::Take(&standings));
            }
            Step::Acknowledge(places) => {
                let (numbers, ids) = take(&mut self.held, &places);
                for number in numbers {
                    let letter = model.check_in(number);
                    model.release(&letter);
                }
                self.apply(Op::Acknowledge(&ids));
            }
            Step::Return(places, how) => {
                let (numbers, ids) = take(&mut self.held, &places);
                model.put_back(&numbers, how);
                self.apply(Op::Return(&ids, how));
            }
            Step::Discard(places) => {
                let (numbers, ids) = take(&mut self.held, &places);
                for number in numbers {
                    let letter = model.check_in(number);
                    model.bury(letter, Reason::Rejected);
                }
                self.apply(Op::Discard(&ids));
            }
            Step::DeadLettered(place, done) => {
                let (numbers, ids) = take(&mut self.dead, &[place]);
                numbers
                    .into_iter()
                    .for_each(|number| model.dead_lettered(number, done));
                self.apply(Op::DeadLettered(
                    ids.first().copied().unwrap_or(NOBODYS),
                    done,
                ));
            }
            Step::Assign(most) => {
                for _ in 0..most {
                    model.hand_out();
                }
                self.apply(Op::Assign(most));
            }
            Step::Purge => {
                model.purge();
                self.apply(Op::Purge);
                self.dead.clear();
            }
            Step::Touch => {
                if !model.quorum() {
                    model.last_used = model.now;
                }
                self.apply(Op::Touch);
            }
            Step::Tick => {
                model.tick();
                self.apply(Op::Tick);
                let deadline = self.queue.deadline();
                assert!(
                    deadline.is_none_or(|at| at.0 > self.model.now),
                    "a tick leaves none due"
                );
            }
            Step::Limit(length_max) => {
                model.settings.length_max = length_max;
                model.shed();
                let settings = model.settings.clone();
                self.apply(Op::Configure(settings.into()));
            }
            Step::Pass(_) | Step::PageOut(_) | Step::PagedOut(_) => {
                unreachable!("handled above")
            }
        }
        // A timeout returns deliveries behind the clients' backs.
        let out = &self.model.out;
        let is_out = |number| out.iter().any(|out| out.letter.number == number);
        self.held.retain(|&(number, _)| is_out(number));
        self.agree(&context);
    }

    fn paged_out(&mut self, done: bool) {
        if self.leaving.is_empty() {
            return;
        }
        let leaving = self.leaving.remove(0);
        if done {
            let commit = || self.shelf.page(&leaving);
            self.queue.commit_page(&leaving, commit);
        } else {
            self.queue.give_up_page(&leaving);
        }
    }

    fn apply(&mut self, op: Op<'_>) {
        let mut effects = Vec::new();
        let purge = matches!(op, Op::Purge);
        self.queue
            .apply(Timestamp(self.model.now), op, &mut effects);
        let mut described = Vec::new();
        for effect in effects {
            match effect {
                Effect::DropPage(page) => {
                    let released = self.shelf.drop_page(page).into_iter();
                    described.extend(released.map(|id| self.describe(Effect::Release(id))));
                }
                other => described.push(self.describe(other)),
            }
        }
        let mut expected = std::mem::take(&mut self.model.effects);
        if purge {
            // The dead letters on their way have no order among themselves, and pages go before all else.
            described.sort();
            expected.sort();
        }
        assert_eq!(described, expected);
    }

    fn describe(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Refused => "refused".into(),
            Effect::Attached => "attached".into(),
            Effect::AttachRefused(AttachRefusal::ExclusiveUse) => "exclusive use".into(),
            Effect::Deliver(id, delivery) => format!("deliver {} {}", id.0, self.hold(&delivery)),
            Effect::Got(delivery, left) => format!("got {} left {left}", self.hold(&delivery)),
            Effect::Empty => "empty".into(),
            Effect::Taken(delivery) => format!("taken {}", self.hold(&delivery)),
            Effect::Purged(n) => format!("purged {n}"),
            Effect::Release(id) => format!("release {}", id.0),
            Effect::Count(id, counts) => format!("count {} {counts:?}", id.0),
            Effect::DeadLetter(message, reason, id) => {
                let number = number(&message);
                self.dead.extend(id.map(|id| (number, id)));
                format!("dead {number} {reason:?} {}", id.is_some())
            }
            Effect::TimedOut(id, _) => format!("timed out {}", id.0),
            Effect::DropPage(_) => unreachable!("described by what was in it"),
            Effect::Truncate { .. } | Effect::Summon(..) => unreachable!("of streams"),
            Effect::Delete => "delete".into(),
        }
    }

    fn hold(&mut self, delivery: &Delivery) -> String {
        let number = number(&delivery.message);
        // It may have been delivered before and returned by a timeout.
        self.held.retain(|&(held, _)| held != number);
        self.held.extend(delivery.id.map(|id| (number, id)));
        let Delivery {
            id,
            redelivered,
            stamp,
            ..
        } = delivery;
        let Stamp::Counts(counts) = stamp else {
            unreachable!("of streams")
        };
        format!("{number} {redelivered} {counts:?} {}", id.is_some())
    }

    fn agree(&self, context: &str) {
        let model = &self.model;
        // Where messages are is nothing that a model knows.
        let stats = Stats {
            on_disk: OnDisk::default(),
            ..self.queue.stats()
        };
        assert_eq!(stats, model.stats(), "after {context}");
        let resident = self.queue.recount_resident();
        assert_eq!(self.queue.resident(), resident, "after {context}");
        let work = !model.ready.is_empty() && model.next_client().is_some();
        assert_eq!(self.queue.has_work(), work, "after {context}");
        let active = model.active.map(|at| model.clients[at].consumer.id);
        let queue_active = self.queue.active_consumer().map(|consumer| consumer.id);
        assert_eq!(queue_active, active, "after {context}");
        if let Some(needed) = model.deadline() {
            let deadline = self.queue.deadline();
            assert!(
                deadline.is_some_and(|at| at.0 <= needed),
                "too late after {context}"
            );
        }
        self.agree_on_what_waits(context);
    }

    /// Browsing shows what waits, from any place on, and leaves it where it is (or the next steps will tell).
    fn agree_on_what_waits(&self, context: &str) {
        let mut waiting: Vec<&Letter> = self.model.ready.iter().collect();
        waiting.sort_by_key(|letter| (std::cmp::Reverse(letter.level), letter.order));
        let expected: Vec<_> = waiting
            .iter()
            .map(|letter| (letter.number, letter.redelivered, letter.counts))
            .collect();
        let mut behind_first = None;
        for offset in [0, expected.len() / 2, expected.len(), 1] {
            let start = match behind_first.filter(|_| offset == 1) {
                Some(standing) => Start::After(standing),
                None => Start::Offset(offset as u64),
            };
            let offset = offset.min(expected.len());
            let mut seen = Vec::new();
            let mut see = |it: Browsed| {
                behind_first.get_or_insert(it.standing);
                seen.push((number(&it.message), it.redelivered, it.counts));
                match seen.len() {
                    // Whoever has seen enough sees no more.
                    3 => std::ops::ControlFlow::Break(()),
                    _ => std::ops::ControlFlow::Continue(()),
                }
            };
            self.queue.browse(start, Scope::ALL, &mut see).unwrap();
            let expected = &expected[offset..];
            assert_eq!(seen, expected[..expected.len().min(3)], "after {context}");
        }
    }
}

/// The id of no delivery.
const NOBODYS: DeliveryId = DeliveryId(u64::MAX);

/// Takes some out, by place.
fn take(from: &mut Vec<(u32, DeliveryId)>, places: &[usize]) -> (Vec<u32>, Vec<DeliveryId>) {
    let mut taken = Vec::new();
    for place in places {
        if !from.is_empty() {
            taken.push(from.remove(place % from.len()));
        }
    }
    taken.into_iter().unzip()
}

fn maybe<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(value)
}

fn settings() -> impl Strategy<Value = Settings> {
    let kind = prop_oneof![Just(Kind::Classic), Just(Kind::Quorum)];
    let overflow = prop_oneof![
        Just(Overflow::DropHead),
        Just(Overflow::RejectPublish),
        Just(Overflow::RejectPublishDlx)
    ];
    let dead_letter = prop_oneof![
        Just(DeadLetter::Off),
        Just(DeadLetter::AtMostOnce),
        Just(DeadLetter::AtLeastOnce)
    ];
    let on = prop_oneof![
        Just(RetryOn::All),
        Just(RetryOn::Failed),
        Just(RetryOn::Returned)
    ];
    let delayed_retry = (on, 1..20u64, 20..50u64).prop_map(|(on, min_ms, max_ms)| DelayedRetry {
        on,
        min_ms,
        max_ms,
    });
    let limits = (maybe(0..40u64), maybe(0..8u64), maybe(0..20u64));
    let more = (maybe(0..4u8), any::<bool>(), any::<bool>(), maybe(0..3u32));
    let times = (maybe(1..100u64), maybe(delayed_retry), maybe(50..200u64));
    (kind, overflow, dead_letter, limits, more, times).prop_map(
        |(kind, overflow, dead_letter, limits, more, times)| Settings {
            kind,
            message_ttl_ms: limits.0,
            expires_ms: times.2,
            length_max: limits.1,
            length_bytes_max: limits.2,
            overflow,
            dead_letter,
            priority_max: more.0,
            single_active_consumer: more.1,
            auto_delete: more.2,
            delivery_limit: more.3,
            consumer_timeout_ms: times.0,
            delayed_retry: times.1,
            max_age_ms: None,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let publish = (maybe(0..40u8), maybe(0..40u64), 0..6usize, any::<bool>()).prop_map(
        |(priority, ttl_ms, size, stored)| {
            Step::Publish(Publish {
                priority,
                ttl_ms,
                size,
                stored,
            })
        },
    );
    let attach = (any::<bool>(), 0..4u16, -1..3i32, 0..6u8, maybe(1..60u64)).prop_map(
        |(acknowledges, prefetch, priority, exclusive, timeout_ms)| Step::Attach {
            acknowledges,
            prefetch,
            priority,
            exclusive: exclusive == 0,
            timeout_ms,
        },
    );
    // A message weighs 132 to 137 bytes, 4 to 9 of them in its page.
    let sizes = (0..400u64, 0..40u64, 1..5usize, 0..300u64).prop_map(
        |(head_bytes, page_bytes, page_messages, page_bytes_min)| PageSizes {
            head_bytes,
            page_bytes,
            page_messages,
            page_bytes_min,
        },
    );
    let one = 0..8usize;
    let some = || proptest::collection::vec(0..8usize, 1..4);
    let how = prop_oneof![
        Just(Return::Requeue),
        Just(Return::Reject),
        Just(Return::SessionEnded),
        Just(Return::Untouched)
    ];
    prop_oneof![
        8 => publish,
        2 => attach,
        1 => one.clone().prop_map(Step::Detach),
        1 => one.clone().prop_map(Step::Pause),
        2 => one.clone().prop_map(Step::Resume),
        2 => any::<bool>().prop_map(Step::Get),
        3 => proptest::collection::vec(0..12usize, 1..4).prop_map(Step::Take),
        3 => some().prop_map(Step::Acknowledge),
        4 => (some(), how).prop_map(|(places, how)| Step::Return(places, how)),
        1 => some().prop_map(Step::Discard),
        2 => (one, any::<bool>()).prop_map(|(place, done)| Step::DeadLettered(place, done)),
        4 => (0..4usize).prop_map(Step::Assign),
        1 => Just(Step::Touch),
        2 => Just(Step::Tick),
        2 => (0..30u64).prop_map(Step::Pass),
        1 => prop_oneof![9 => Just(Step::Tick), 1 => Just(Step::Purge)],
        1 => maybe(0..8u64).prop_map(Step::Limit),
        6 => sizes.prop_map(Step::PageOut),
        6 => (0..8u8).prop_map(|n| Step::PagedOut(n != 0)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_the_model_does(
        settings in settings(),
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut run = Run::new(settings);
        for step in steps {
            run.step(step);
        }
    }
}
