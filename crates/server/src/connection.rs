//! The loop between a socket and the state machine of its protocol.
//!
//! A turn reads one block at most, hands it to the machine, lets the machine encode what others have for it, and writes
//! what there is: one read and one write, however many messages they hold. A turn that got anywhere goes to the back of
//! the thread's queue, so that no connection starves its neighbours; one that did not sleeps until the socket, the
//! machine or the clock wakes it, and holds no buffer meanwhile.
//!
//! Small deliveries that others have put there before a turn wait for the next one: what the other connections of the
//! thread read meanwhile goes along in the same write, and a client that sleeps is woken once for all of it. What
//! comes of a turn's own input alone goes out at once, as do confirms: clients wait for these before they go on.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use leveret_broker::time::Timestamp;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tracing::{debug, error};

use crate::block::{self, BLOCK_BYTES};
use crate::clock::Clock;
use crate::lull;
use crate::protocol::Protocol;
use crate::stream::Stream;

/// What a read for a large body may bring of what follows it: the frames between two pieces of bodies. More would have to be
/// copied to where it belongs.
const BEHIND_BODY: usize = 4 * 1024;

/// More than this is not written in one turn.
const WRITE_BYTES_PER_TURN: usize = 4 * BLOCK_BYTES;

/// Slices of one write. A delivery takes two.
const SLICES_PER_WRITE: usize = 128;

/// How long a finished connection may take to write its last bytes and to see the client go.
const LINGER: Duration = Duration::from_secs(3);

/// Serves one client until it has gone. `stop` is the node's wish to end; the client is asked to leave then.
///
/// A panic anywhere below unwinds to the runtime, which ends this task and no other; what the connection held goes back
/// in any case.
pub(crate) async fn serve(
    name: String,
    stream: Stream,
    protocol: Box<dyn Protocol>,
    clock: Clock,
    stop: OwnedNotified,
) {
    let mut driver = Driver {
        name,
        stream,
        protocol,
        clock,
        rest: Vec::new(),
        reads: lull::Reads::default(),
        gathered: false,
        spoke: false,
    };
    match driver.run(stop).await {
        Ok(End::Finished) => driver.finish().await,
        Ok(End::ClientLeft) => debug!(connection = %driver.name, "client closed the socket"),
        Err(error) => debug!(connection = %driver.name, %error, "socket failed"),
    }
}

/// How a connection ends, when not by an error of its socket.
enum End {
    /// The machine has no more to do.
    Finished,
    /// The other end closed its socket.
    ClientLeft,
}

struct Driver {
    name: String,
    stream: Stream,
    protocol: Box<dyn Protocol>,
    clock: Clock,
    /// Bytes read and not consumed: the beginning of a frame.
    rest: Vec<u8>,
    reads: lull::Reads,
    /// The last turn left deliveries to this one.
    gathered: bool,
    /// Something has been written: the client may have it still to read.
    spoke: bool,
}

impl Driver {
    async fn run(&mut self, stop: OwnedNotified) -> io::Result<End> {
        // Not polled before the machine has a deadline, thus without cost.
        let mut alarm = pin!(sleep(Duration::from_secs(3600)));
        let mut stop = pin!(stop);
        tokio::select! {
            biased;
            end = poll_fn(|context| self.turn(context, alarm.as_mut())) => return end,
            () = stop.as_mut() => {}
        }
        self.protocol.close("shutdown", self.clock.now());
        poll_fn(|context| self.turn(context, alarm.as_mut())).await
    }

    fn turn(&mut self, context: &mut Context<'_>, alarm: Pin<&mut Sleep>) -> Poll<io::Result<End>> {
        lull::wake_rested();
        let now = self.clock.now();
        let mut progress = false;
        let gathers = !self.gathered && self.protocol.may_gather();
        self.gathered = gathers;
        if self
            .protocol
            .deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.protocol.tick(now);
            progress = true;
        }
        if self.protocol.wants_input() {
            match self.poll_receive(context, now)? {
                Poll::Ready(0) => return Poll::Ready(Ok(End::ClientLeft)),
                Poll::Ready(_) => progress = true,
                Poll::Pending => {}
            }
        }
        progress |= gathers || self.protocol.poll_dispatch(context, now).is_ready();
        if self.protocol.wants_rest() && !self.rest.is_empty() {
            self.offer_rest(now);
            progress = true;
        }
        progress |= self.send(context)?;
        if self.protocol.is_finished() {
            return Poll::Ready(Ok(End::Finished));
        }
        progress |= self.poll_deadline(context, alarm).is_ready();
        if progress {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Reads a block behind the rest of the last one and has it consumed. Gives the number of bytes read.
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        now: Timestamp,
    ) -> Poll<io::Result<usize>> {
        ready!(self.reads.poll_ready(context));
        let kept = self.rest.len();
        let mut block = block::take(kept);
        let buffer = Arc::get_mut(&mut block).expect("nobody else refers to a block just taken");
        let limit = self.protocol.read_limit();
        let end = kept.saturating_add(limit).min(buffer.len());
        let read;
        if kept == 0
            && let Some(target) = self.protocol.body_target()
        {
            // The middle of a large body goes where it belongs.
            let len = target.len();
            let behind = &mut buffer[..end.min(BEHIND_BODY)];
            read = self.stream.poll_receive_into(context, target, behind);
            if let Poll::Ready(Ok(n @ 1..)) = read {
                self.protocol.body_received(n.min(len));
                self.consume(&block, n.saturating_sub(len), now);
            }
        } else {
            read = self.stream.poll_receive(context, &mut buffer[kept..end]);
            if let Poll::Ready(Ok(n @ 1..)) = read {
                buffer[..kept].copy_from_slice(&self.rest);
                self.reads.note(n);
                self.consume(&block, kept + n, now);
            }
        }
        block::give_back(block);
        read
    }

    /// Has the machine take what a block was filled with.
    fn consume(&mut self, block: &Arc<[u8]>, filled: usize, now: Timestamp) {
        if filled > 0 {
            let consumed = self.protocol.receive(block, 0..filled, now);
            // Empty most of the time, and then it allocates nothing.
            self.rest = block[consumed..filled].to_vec();
        }
    }

    /// Has what was not consumed looked at again.
    fn offer_rest(&mut self, now: Timestamp) {
        let kept = self.rest.len();
        let mut block = block::take(kept);
        let buffer = Arc::get_mut(&mut block).expect("nobody else refers to a block just taken");
        buffer[..kept].copy_from_slice(&self.rest);
        let consumed = self.protocol.receive(&block, 0..kept, now);
        self.rest.drain(..consumed);
        block::give_back(block);
    }

    /// Writes until there is no more, the socket takes no more, or the turn's share is used. Gives whether anything was
    /// written. When the socket takes no more the context is woken when it does.
    fn send(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut written = 0;
        while written < WRITE_BYTES_PER_TURN {
            let Poll::Ready(n) = self.poll_send(context)? else {
                break;
            };
            if n == 0 {
                break;
            }
            written += n;
        }
        // What is held back goes out when the context is woken; no need to wait for it here.
        if let Poll::Ready(flushed) = self.stream.poll_flush(context) {
            flushed?;
        }
        Ok(written > 0)
    }

    /// One write. `Ready(0)`: there is nothing to write.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let count = self.protocol.slices(&mut slices);
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        let n = ready!(self.stream.poll_send(context, &slices[..count]))?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.protocol.advance(n);
        self.spoke = true;
        Poll::Ready(Ok(n))
    }

    /// Has the context woken at the machine's deadline. `Ready`: it has been reached.
    ///
    /// Deadlines mostly move away with each turn. The alarm stays where it is then, goes off too early once, and is set
    /// anew: much cheaper than moving it every time.
    fn poll_deadline(&self, context: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<()> {
        let Some(deadline) = self.protocol.deadline() else {
            return Poll::Pending;
        };
        let deadline = Instant::from_std(self.clock.instant(deadline));
        if deadline < alarm.deadline() {
            alarm.as_mut().reset(deadline);
        }
        while alarm.as_mut().poll(context).is_ready() {
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Writes what is left, says goodbye and waits for the client to go: closing a socket that has unread input would
    /// throw away what the client has not read yet, such as the reason why it is being closed. Who was told nothing has
    /// nothing to miss.
    async fn finish(&mut self) {
        let goodbye = async {
            poll_fn(|context| self.poll_send_all(context)).await?;
            if !self.spoke {
                return Ok(());
            }
            poll_fn(|context| self.stream.poll_shutdown(context)).await?;
            poll_fn(|context| self.poll_discard_all(context)).await
        };
        match timeout(LINGER, goodbye).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(connection = %self.name, %error, "socket failed at the end"),
            Err(_) => debug!(connection = %self.name, "client stayed after the end"),
        }
    }

    fn poll_send_all(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while ready!(self.poll_send(context))? > 0 {}
        self.stream.poll_flush(context)
    }

    fn poll_discard_all(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scrap = [0; 4096];
        while ready!(self.stream.poll_receive(context, &mut scrap))? > 0 {}
        Poll::Ready(Ok(()))
    }
}

/// However the connection ended: finished, by an error, by a panic, or dropped with its runtime.
impl Drop for Driver {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(connection = %self.name, "closed because of a fault in the broker; other connections go on");
        }
        let now = self.clock.now();
        // The machine may be what panicked, and a panic while another unwinds would end the process.
        if catch_unwind(AssertUnwindSafe(|| self.protocol.disconnected(now))).is_err() {
            error!(connection = %self.name, "could not give back what the connection held");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
