//! What the server asks of a protocol: the state machine of one client connection.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

use leveret_amqp091::connection::{Connection, Peer};
use leveret_broker::time::Timestamp;

/// One client connection as its protocol sees it; [`Connection`] has the full contract. The server knows no more of a
/// protocol than this.
pub(crate) trait Protocol: Send {
    fn receive(&mut self, block: &Arc<[u8]>, range: Range<usize>, now: Timestamp) -> usize;
    /// `Ready` asks for another turn at once, so it has to mean that something was encoded: with a full output it is
    /// `Pending`, and called again when some of that has been written.
    /// Most protocols take all their bytes by `receive`.
    fn body_target(&mut self) -> Option<&mut [u8]> {
        None
    }
    fn body_received(&mut self, _n: usize) {}
    fn poll_dispatch(&mut self, context: &mut Context<'_>, now: Timestamp) -> Poll<()>;
    /// Whether the next dispatch had better wait for a turn of the others, which may have more for it.
    fn may_gather(&self) -> bool {
        false
    }
    fn slices<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> usize;
    fn advance(&mut self, n: usize);
    fn wants_input(&self) -> bool;
    /// What one read should bring at most, bytes; more than none.
    fn read_limit(&self) -> usize {
        usize::MAX
    }
    /// Whether what was not consumed is to be handed in again, before there is more. Says so once.
    fn wants_rest(&mut self) -> bool {
        false
    }
    fn deadline(&self) -> Option<Timestamp>;
    /// Moves the deadline, or it would be called every turn.
    fn tick(&mut self, now: Timestamp);
    fn is_finished(&self) -> bool;
    /// Asks the client to leave, with `CONNECTION_FORCED`; the connection finishes when it has answered.
    fn close(&mut self, reason: &str, now: Timestamp);
    fn disconnected(&mut self, now: Timestamp);
}

/// Makes the state machine of a client that has just connected.
pub(crate) type NewProtocol = Arc<dyn Fn(Peer, Timestamp) -> Box<dyn Protocol> + Send + Sync>;

impl Protocol for Connection {
    fn receive(&mut self, block: &Arc<[u8]>, range: Range<usize>, now: Timestamp) -> usize {
        self.receive(block, range, now)
    }

    fn body_target(&mut self) -> Option<&mut [u8]> {
        self.body_target()
    }

    fn body_received(&mut self, n: usize) {
        self.body_received(n);
    }

    fn poll_dispatch(&mut self, context: &mut Context<'_>, now: Timestamp) -> Poll<()> {
        self.poll_dispatch(context, now)
    }

    fn may_gather(&self) -> bool {
        self.may_gather()
    }

    fn slices<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output().slices(slices)
    }

    fn advance(&mut self, n: usize) {
        self.output().advance(n);
    }

    fn wants_input(&self) -> bool {
        self.wants_input()
    }

    fn read_limit(&self) -> usize {
        self.read_limit()
    }

    fn wants_rest(&mut self) -> bool {
        self.wants_rest()
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.deadline()
    }

    fn tick(&mut self, now: Timestamp) {
        self.tick(now);
    }

    fn is_finished(&self) -> bool {
        self.is_finished()
    }

    fn close(&mut self, reason: &str, now: Timestamp) {
        self.close(reason, now);
    }

    fn disconnected(&mut self, now: Timestamp) {
        self.disconnected(now);
    }
}
