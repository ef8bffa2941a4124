//! HTTP/1.1 for `leveret-management`: sockets, timeouts and waiting. What is asked and answered is decided there.
//!
//! Connections live on the control runtime. The work of a request is done on its few blocking threads: a list of many
//! queues takes its time, and timers must not wait for it.

use std::convert::Infallible;
use std::fs::Permissions;
use std::future::poll_fn;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use leveret_broker::Lsn;
use leveret_broker::broker::Broker;
use leveret_broker::mailbox::Mailbox;
use leveret_broker::time::Timestamp;
use leveret_management::{Admitted, Answer, Caller, Management, SAMPLE_PERIOD_MS, Visit};
use leveret_storage::Log;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, Sleep, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, warn};

use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::effective::HttpListener;
use crate::control;
use crate::events::{EventRing, Listener as EventListener, on_behalf_of};
use crate::listener::Listener;

/// How long a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may take for the TLS handshake.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to accept nobody when that has failed.
const PAUSE: Duration = Duration::from_millis(250);

/// How long to wait for the next piece of a body when there was none.
const REST: Duration = Duration::from_millis(5);

/// The most that a request's head may be, bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Who asks on the control socket, in events.
const CLI: &str = "rmq-cli";

/// What is served.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) management: Arc<Management>,
    pub(crate) broker: Arc<Broker>,
    /// What a backup copies.
    pub(crate) log: Log,
    pub(crate) clock: Clock,
    pub(crate) events: Arc<EventRing>,
    pub(crate) kind: SiteKind,
    pub(crate) audit: Arc<Audit>,
    /// Told when an operator has the node stop.
    pub(crate) stop: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SiteKind {
    /// The HTTP API.
    Api,
    /// Metrics for Prometheus.
    Metrics,
}

/// Accepts clients and serves each until it goes, for as long as it is polled.
pub(crate) async fn serve_all(listener: Listener, site: Site, options: HttpListener) {
    let mut clients = JoinSet::new();
    loop {
        let (socket, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = clients.join_next() => continue,
        };
        if options
            .connections_max
            .is_some_and(|max| clients.len() >= max)
        {
            debug!(connection = %peer.name, "refused: management connection limit is reached");
            continue;
        }
        let site = site.clone();
        let idle = Duration::from_millis(options.idle_timeout_ms);
        let tls = listener.acceptor();
        clients.spawn(async move {
            let caller = Caller::At(peer.remote.ip());
            if let Err(error) = serve_client(socket, tls, caller, site, idle).await {
                debug!(connection = %peer.name, %error, "HTTP connection failed");
            }
        });
    }
}

async fn serve_client(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    caller: Caller,
    site: Site,
    idle: Duration,
) -> io::Result<()> {
    match tls {
        None => serve(socket, caller, site, idle).await,
        Some(tls) => {
            let socket = timeout(TLS_HANDSHAKE_TIMEOUT, tls.accept(socket)).await??;
            serve(socket, caller, site, idle).await
        }
    }
}

/// Has the counters looked at, again and again, for as long as it is polled.
pub(crate) async fn sample(site: Site) {
    let mut period = interval(Duration::from_millis(SAMPLE_PERIOD_MS));
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let (management, clock) = (Arc::clone(&site.management), site.clock);
        let sampled = spawn_blocking(move || management.sample(clock.now())).await;
        if let Err(fault) = sampled {
            error!(%fault, "counters could not be sampled because of a fault in the broker");
        }
    }
}

/// The socket for whoever runs the node. Its tools can ask over TCP as well, so a node goes on without it.
pub(crate) fn open_control_socket(data_dir: &Path) -> Option<UnixListener> {
    let path = data_dir.join(control::SOCKET);
    // What a killed node left behind: the log's lock says that no other node has this directory.
    let _ = std::fs::remove_file(&path);
    let opened = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    opened
        .inspect_err(|error| warn!(path = %path.display(), %error, "no control socket"))
        .ok()
}

/// Serves whoever runs the node, on a socket that nobody else can open, for as long as it is polled.
pub(crate) async fn serve_operator(listener: UnixListener, site: Site, idle: Duration) {
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = clients.join_next() => continue,
        };
        match accepted {
            Ok((socket, _)) => {
                let site = site.clone();
                clients.spawn(async move {
                    if let Err(error) = serve(socket, Caller::Operator, site, idle).await {
                        debug!(%error, "connection to the control socket failed");
                    }
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept on the control socket, trying again");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn serve<S>(socket: S, caller: Caller, site: Site, idle: Duration) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.answer(request, caller).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service)
        .await
        .map_err(io::Error::other)
}

impl Site {
    async fn answer(self, request: Request<Incoming>, caller: Caller) -> Response<Outgoing> {
        let (head, body) = request.into_parts();
        let answer = match self.kind {
            SiteKind::Api => self.api(head, body, caller).await,
            SiteKind::Metrics => {
                let (management, clock) = (Arc::clone(&self.management), self.clock);
                work(move || management.metrics(&head, clock.now())).await
            }
        };
        self.hold(answer.not_before, answer.durable_at).await;
        if answer.stops_node {
            // Another task gets its turn when this one has handed the answer to the socket.
            let stop = Arc::clone(&self.stop);
            tokio::spawn(async move { stop.notify_one() });
        }
        let events = self.events;
        answer.response.map(|body| Outgoing::new(body, &events))
    }

    /// The body of somebody unknown is not read, and no body beyond the limit.
    async fn api(&self, head: Parts, body: Incoming, caller: Caller) -> Answer {
        if caller == Caller::Operator && control::is_backup(&head) {
            return self.backup(body).await;
        }
        let visit = Arc::new(Visit::new(head, caller));
        let admitted = match self.admit(&visit).await {
            Ok(admitted) => Arc::new(admitted),
            Err(answer) => return *answer,
        };
        let management = &self.management;
        match read(body, management.body_bytes_max()).await {
            Ok(body) => {
                let answer = self.answer_to(&visit, &admitted, body, caller).await;
                let status = answer.response.status();
                self.audit.note(&admitted, status, self.clock.now());
                answer
            }
            Err(Cut::TooLong) => management.refuse_body(&admitted),
            Err(Cut::Unfinished) => Answer::empty(StatusCode::REQUEST_TIMEOUT),
        }
    }

    /// Who asks, as soon as that is known.
    async fn admit(&self, visit: &Arc<Visit>) -> Result<Admitted, Box<Answer>> {
        loop {
            match self.management.admit(visit, self.clock.now()) {
                Err(answer) if answer.is_undecided => poll_fn(|it| visit.poll_poked(it)).await,
                decided => return decided,
            }
        }
    }

    /// What comes of a request, as soon as all is known that it depends on.
    async fn answer_to(
        &self,
        visit: &Visit,
        admitted: &Arc<Admitted>,
        body: Bytes,
        caller: Caller,
    ) -> Answer {
        let by = match admitted.user_name() {
            None if caller == Caller::Operator => Some(CLI),
            user => user,
        };
        loop {
            let (management, clock) = (Arc::clone(&self.management), self.clock);
            let (admitted, body) = (Arc::clone(admitted), body.clone());
            let by = by.map(str::to_owned);
            let answer = move || management.answer(&admitted, &body, clock.now());
            let answer = work(move || on_behalf_of(by, answer)).await;
            if !answer.is_undecided {
                return answer;
            }
            poll_fn(|it| visit.poll_poked(it)).await;
        }
    }

    async fn backup(&self, body: Incoming) -> Answer {
        match read(body, self.management.body_bytes_max()).await {
            Ok(body) => {
                let log = self.log.clone();
                work(move || control::backup(&log, &body)).await
            }
            Err(_) => Answer::empty(StatusCode::BAD_REQUEST),
        }
    }

    /// Waits until an answer may be sent.
    async fn hold(&self, not_before: Option<Timestamp>, durable_at: Option<Lsn>) {
        if let Some(time) = not_before {
            let at = tokio::time::Instant::from_std(self.clock.instant(time));
            tokio::time::sleep_until(at).await;
        }
        if let Some(at) = durable_at {
            self.wait_until_durable(at).await;
        }
    }

    async fn wait_until_durable(&self, at: Lsn) {
        let mailbox = Arc::new(Mailbox::default());
        while self.broker.durable() < at {
            self.broker.wait_for_log(&mailbox);
            // It may have become durable just before the broker knew who waits.
            if self.broker.durable() >= at {
                break;
            }
            poll_fn(|context| mailbox.poll_poked(context)).await;
        }
    }
}

/// Why a body has not been read.
#[derive(Debug, PartialEq, Eq)]
enum Cut {
    TooLong,
    /// The client is gone, or takes too long. It will hardly read an answer.
    Unfinished,
}

/// A whole body, of so many bytes at most.
async fn read<B>(body: B, bytes_max: usize) -> Result<Bytes, Cut>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limited = Limited::new(body, bytes_max);
    match timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Cut::TooLong),
        Ok(Err(_)) | Err(_) => Err(Cut::Unfinished),
    }
}

/// Runs a request's work where it may take its time. A panic in it is this request's alone.
async fn work(answer: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    spawn_blocking(answer).await.unwrap_or_else(|fault| {
        error!(%fault, "an HTTP request failed because of a fault in the broker");
        Answer::empty(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

type EventLines = Pin<Box<dyn Future<Output = (EventListener, Option<Vec<u8>>)> + Send>>;

fn next_events(mut listener: EventListener) -> EventLines {
    Box::pin(async move {
        let lines = listener.next().await;
        (listener, lines)
    })
}

type Pieces = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// A body on its way out. The next piece of a long one is made when the socket has taken the last.
enum Outgoing {
    Whole(Option<Bytes>),
    Pieces(Pieces),
    /// A piece is being made.
    Making(JoinHandle<(Pieces, Option<Vec<u8>>)>),
    /// There was none yet.
    Resting(Pin<Box<Sleep>>, Pieces),
    /// Something is waited for that happens.
    Events(EventLines),
    Over,
}

impl Outgoing {
    fn new(body: leveret_management::Body, events: &Arc<EventRing>) -> Self {
        match body {
            leveret_management::Body::Whole(bytes) => Self::Whole(Some(bytes.into())),
            leveret_management::Body::Pieces(pieces) => Self::Pieces(pieces),
            leveret_management::Body::Events => Self::Events(next_events(events.listen())),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            match std::mem::replace(&mut *self, Self::Over) {
                Self::Over => return Poll::Ready(None),
                Self::Whole(bytes) => {
                    let bytes = bytes.filter(|bytes| !bytes.is_empty());
                    return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))));
                }
                Self::Pieces(mut pieces) => {
                    *self = Self::Making(spawn_blocking(move || {
                        let piece = pieces.next();
                        (pieces, piece)
                    }));
                }
                Self::Resting(mut rest, pieces) => {
                    if rest.as_mut().poll(context).is_pending() {
                        *self = Self::Resting(rest, pieces);
                        return Poll::Pending;
                    }
                    *self = Self::Pieces(pieces);
                }
                Self::Events(mut waiting) => {
                    let Poll::Ready((listener, lines)) = waiting.as_mut().poll(context) else {
                        *self = Self::Events(waiting);
                        return Poll::Pending;
                    };
                    if lines.is_some() {
                        *self = Self::Events(next_events(listener));
                    }
                    return Poll::Ready(lines.map(|lines| Ok(Frame::data(lines.into()))));
                }
                Self::Making(mut making) => {
                    let Poll::Ready(made) = Pin::new(&mut making).poll(context) else {
                        *self = Self::Making(making);
                        return Poll::Pending;
                    };
                    // Half a list must not look like a whole one: the connection breaks.
                    let (pieces, piece) = made.map_err(io::Error::other)?;
                    let Some(piece) = piece else {
                        return Poll::Ready(None);
                    };
                    if piece.is_empty() {
                        *self = Self::Resting(Box::pin(sleep(REST)), pieces);
                        continue;
                    }
                    *self = Self::Pieces(pieces);
                    return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Pieces(_) | Self::Making(_) | Self::Resting(..) | Self::Events(_) => {
                SizeHint::default()
            }
            Self::Over => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// An octet every ten seconds.
    struct Trickle {
        left: usize,
        next: Pin<Box<Sleep>>,
    }

    impl Trickle {
        const PERIOD: Duration = Duration::from_secs(10);

        fn new(octets: usize) -> Self {
            Self {
                left: octets,
                next: Box::pin(sleep(Self::PERIOD)),
            }
        }
    }

    impl Body for Trickle {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            std::task::ready!(self.next.as_mut().poll(context));
            self.left -= 1;
            self.next = Box::pin(sleep(Self::PERIOD));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    /// In virtual time.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_in_has_a_minute() {
        let began = Instant::now();
        assert_eq!(read(Trickle::new(5), 5).await.unwrap(), "xxxxx");
        assert_eq!(read(Trickle::new(5), 4).await, Err(Cut::TooLong));
        assert_eq!(began.elapsed(), 2 * 5 * Trickle::PERIOD);

        let began = Instant::now();
        assert_eq!(read(Trickle::new(7), 100).await, Err(Cut::Unfinished));
        assert_eq!(began.elapsed(), BODY_TIMEOUT);
    }
}
