//! What clients know of their messages, and what a broker therefore owes them.
//!
//! Each publisher counts its messages through all its connections; a message says whose it is and which. One that went to
//! several queues is an entry in each of them. An entry only ever gains facts.

use std::io;

/// Length of a message: publisher, number, and a filling that follows from both.
const MESSAGE_LEN: usize = 200;

/// Facts of one message in one queue.
const PUBLISHED: u8 = 1;
const CONFIRMED: u8 = 2;
const DELIVERED: u8 = 4;
const ACKED: u8 = 8;

/// All queues' entries, by publisher and number.
pub(crate) struct Ledger {
    queues: Vec<Vec<Vec<u8>>>,
    /// By publisher: the number of its next message.
    next: Vec<u64>,
}

/// One consumer's view of its queue, from the first delivery on.
pub(crate) struct Session {
    pub(crate) queue: usize,
    /// By publisher: the last number that was delivered.
    last: Vec<Option<u64>>,
}

/// A message as one of `publisher`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) publisher: usize,
    pub(crate) number: u64,
}

/// A delivery that is in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivered {
    pub(crate) id: Id,
    /// Whether some consumer of this queue has had it before.
    pub(crate) before: bool,
}

/// How many messages are in which state.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) published: usize,
    pub(crate) confirmed: usize,
    pub(crate) delivered: usize,
    pub(crate) acked: usize,
}

impl Id {
    pub(crate) fn body(self) -> Vec<u8> {
        // Of all sizes, so that a queue that fills for a while is paged out.
        let len = MESSAGE_LEN + (self.number % 16) as usize * 512;
        let mut body = Vec::with_capacity(len);
        body.extend_from_slice(&(self.publisher as u64).to_le_bytes());
        body.extend_from_slice(&self.number.to_le_bytes());
        let filling = self
            .number
            .wrapping_mul(31)
            .wrapping_add(self.publisher as u64) as u8;
        body.resize(len, filling);
        body
    }

    fn read(body: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
        let id = Self {
            publisher: usize::try_from(word(0)?).ok()?,
            number: word(8)?,
        };
        (id.body() == body).then_some(id)
    }
}

impl Ledger {
    pub(crate) fn new(queues: usize, publishers: usize) -> Self {
        Self {
            queues: vec![vec![Vec::new(); publishers]; queues],
            next: vec![0; publishers],
        }
    }

    /// A new message for these queues, about to be sent.
    pub(crate) fn publish(&mut self, publisher: usize, queues: &[usize]) -> Id {
        let number = self.next[publisher];
        self.next[publisher] += 1;
        for queue in queues {
            let entries = &mut self.queues[*queue][publisher];
            entries.resize(number as usize + 1, 0);
            entries[number as usize] = PUBLISHED;
        }
        Id { publisher, number }
    }

    /// The broker has answered for it.
    pub(crate) fn confirmed(&mut self, id: Id) {
        for queue in &mut self.queues {
            if let Some(entry) = queue[id.publisher].get_mut(id.number as usize)
                && *entry & PUBLISHED != 0
            {
                *entry |= CONFIRMED;
            }
        }
    }

    /// The ack is about to be sent.
    pub(crate) fn acked(&mut self, queue: usize, id: Id) {
        self.queues[queue][id.publisher][id.number as usize] |= ACKED;
    }

    /// A consumer that sees the queue from its first message on.
    pub(crate) fn session(&self, queue: usize) -> Session {
        Session {
            queue,
            last: vec![None; self.next.len()],
        }
    }

    /// A delivery: one of ours, in order, flagged if it was here before. An error is the broker's fault.
    pub(crate) fn delivered(
        &mut self,
        session: &mut Session,
        body: &[u8],
        redelivered: bool,
    ) -> io::Result<Delivered> {
        let queue = session.queue;
        let fault = |what: String| Err(io::Error::other(format!("queue {queue}: {what}")));
        let Some(id) = Id::read(body) else {
            return fault(format!("a message nobody has made: {body:?}"));
        };
        let entry = self.queues[queue]
            .get_mut(id.publisher)
            .and_then(|entries| entries.get_mut(id.number as usize));
        let Some(entry) = entry.filter(|entry| **entry & PUBLISHED != 0) else {
            return fault(format!("{id:?} was not published here"));
        };
        let last = session.last[id.publisher].replace(id.number);
        if last.is_some_and(|last| last >= id.number) {
            return fault(format!("{id:?} behind {last:?}"));
        }
        let before = *entry & DELIVERED != 0;
        if before && !redelivered {
            return fault(format!("{id:?} was delivered before, and is not flagged"));
        }
        *entry |= DELIVERED;
        Ok(Delivered { id, before })
    }

    /// Everything in the queue was delivered to this session: what should have been among it and was not.
    pub(crate) fn check_nothing_lost(&self, drained: &Session) -> io::Result<()> {
        let entries = self.queues[drained.queue].iter().enumerate();
        let lost: Vec<Id> = entries
            .flat_map(|(publisher, entries)| {
                let owed = |entry: u8| entry & CONFIRMED != 0 && entry & ACKED == 0;
                let entries = entries.iter().enumerate();
                entries
                    .filter(move |(_, entry)| owed(**entry))
                    .map(move |(number, _)| Id {
                        publisher,
                        number: number as u64,
                    })
            })
            .collect();
        if lost.is_empty() {
            return Ok(());
        }
        let (queue, count, some) = (drained.queue, lost.len(), &lost[..lost.len().min(10)]);
        Err(io::Error::other(format!(
            "queue {queue}: {count} confirmed messages are lost: {some:?}"
        )))
    }

    pub(crate) fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        for entry in self.queues.iter().flatten().flatten() {
            figures.published += usize::from(entry & PUBLISHED != 0);
            figures.confirmed += usize::from(entry & CONFIRMED != 0);
            figures.delivered += usize::from(entry & DELIVERED != 0);
            figures.acked += usize::from(entry & ACKED != 0);
        }
        figures
    }
}
