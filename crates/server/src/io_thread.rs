//! The threads that serve clients: one for each core, each with a runtime of its own. A connection lives and dies on the
//! thread it was handed to. The first of them accepts as well: a client that stays there is handed to nobody.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use leveret_amqp091::connection::Peer;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::runtime::{self, Handle, Runtime};
use tokio::sync::{Notify, futures::OwnedNotified};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::connection;
use crate::lull;
use crate::protocol::NewProtocol;
use crate::proxy_protocol;
use crate::stream::Stream;
use crate::tls;
use crate::tls::login::CertificateLogin;

/// What clients have to answer `connection.close` when the node stops.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// A client's socket before it is served.
enum Socket {
    /// The thread that has accepted it looks after it.
    Accepted(TcpStream),
    /// Nobody does: it is on its way to another thread.
    Leaving(std::net::TcpStream),
}

/// How the client is reached.
enum Way {
    Socket(Socket),
    /// It is a part of the node.
    Own(DuplexStream),
}

impl Way {
    fn leave(self) -> io::Result<Self> {
        match self {
            Self::Socket(socket) => socket.leave().map(Self::Socket),
            own @ Self::Own(_) => Ok(own),
        }
    }
}

impl Socket {
    fn leave(self) -> io::Result<Self> {
        match self {
            Self::Accepted(socket) => socket.into_std().map(Self::Leaving),
            leaving => Ok(leaving),
        }
    }

    /// On the thread that is to serve it.
    fn arrive(self) -> io::Result<TcpStream> {
        match self {
            Self::Accepted(socket) => Ok(socket),
            Self::Leaving(socket) => TcpStream::from_std(socket),
        }
    }
}

/// A client that has just connected.
pub(crate) struct Client {
    way: Way,
    peer: Peer,
    tls: Option<TlsAcceptor>,
    proxied: bool,
}

impl Client {
    pub(crate) fn new(socket: TcpStream, peer: Peer, tls: Option<TlsAcceptor>) -> Self {
        Self {
            way: Way::Socket(Socket::Accepted(socket)),
            peer,
            tls,
            proxied: false,
        }
    }

    /// A part of the node that is a client of its broker.
    pub(crate) fn own(stream: DuplexStream, peer: Peer) -> Self {
        Self {
            way: Way::Own(stream),
            peer,
            tls: None,
            proxied: false,
        }
    }

    /// It comes through a proxy, which says first for whom it speaks.
    pub(crate) fn through_proxy(self) -> Self {
        Self {
            proxied: true,
            ..self
        }
    }

    /// What comes before the client's own protocol: the proxy's word, and TLS.
    async fn open(self, serving: &Serving) -> io::Result<(Stream, Peer)> {
        let mut socket = match self.way {
            Way::Socket(socket) => socket.arrive()?,
            Way::Own(stream) => return Ok((Stream::Own(stream), self.peer)),
        };
        let mut peer = self.peer;
        if self.proxied {
            let header = proxy_protocol::read(&mut socket);
            if let Some(endpoints) = timeout(serving.handshake_timeout, header).await?? {
                peer = Peer::new(endpoints.client, endpoints.server);
            }
        }
        let stream = match self.tls {
            None => Stream::Tcp(socket),
            Some(tls) => {
                let encrypted =
                    timeout(serving.tls_handshake_timeout, tls.accept(socket)).await??;
                peer.tls = Some(Arc::new(tls::facts(encrypted.get_ref().1)));
                let shown = encrypted.get_ref().1.peer_certificates();
                peer.certificate_user = shown
                    .and_then(<[_]>::first)
                    .and_then(|certificate| serving.certificate_login.user(certificate));
                Stream::Tls(Box::new(encrypted))
            }
        };
        Ok((stream, peer))
    }
}

/// What every connection of the node is made with.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) clock: Clock,
    pub(crate) new_protocol: NewProtocol,
    /// For the word of a proxy.
    pub(crate) handshake_timeout: Duration,
    pub(crate) tls_handshake_timeout: Duration,
    pub(crate) certificate_login: CertificateLogin,
}

/// All I/O threads of the node.
pub(crate) struct IoThreads(Vec<IoThread>);

struct IoThread {
    runtime: Handle,
    serving: Serving,
    clients: Arc<Clients>,
    thread: JoinHandle<()>,
}

/// The clients of one thread.
#[derive(Default)]
struct Clients {
    count: AtomicUsize,
    /// They are to leave.
    stop: Arc<Notify>,
    /// The node stops.
    ends: Notify,
    /// The last one has gone.
    are_gone: Notify,
}

impl IoThreads {
    pub(crate) fn start(count: usize, serving: &Serving) -> io::Result<Self> {
        (0..count)
            .map(|index| IoThread::start(index, serving.clone()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Where to accept.
    pub(crate) fn acceptor(&self) -> &Handle {
        let first = self.0.first();
        &first.expect("a node has at least one I/O thread").runtime
    }

    /// Gives the client, who has been accepted at [`Self::acceptor`], to the thread that has the fewest.
    pub(crate) fn hand_over(&self, mut client: Client) {
        let load = |(_, thread): &(usize, &IoThread)| thread.clients.count.load(Ordering::Relaxed);
        let fewest = self.0.iter().enumerate().min_by_key(load);
        let (index, thread) = fewest.expect("a node has at least one I/O thread");
        if index > 0 {
            match client.way.leave() {
                Ok(way) => client.way = way,
                Err(error) => {
                    return debug!(connection = %client.peer.name, %error, "client left at once");
                }
            }
        }
        thread.serve(client);
    }

    /// Asks every client to leave and waits until they have, or their time is over. Nobody accepts any more.
    pub(crate) fn stop(self) {
        for thread in &self.0 {
            thread.clients.ends.notify_one();
        }
        for thread in self.0 {
            if thread.thread.join().is_err() {
                warn!("an I/O thread had failed");
            }
        }
    }
}

impl IoThread {
    fn start(index: usize, serving: Serving) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            // A publisher that always has more is runnable all the time; the sockets of others are looked at after every
            // turn of it, not after 61 (tokio's default), or their acknowledgements would wait that long.
            .event_interval(1)
            .on_thread_park(lull::before_sleep)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let clients = Arc::<Clients>::default();
        let of_thread = Arc::clone(&clients);
        let thread = thread::Builder::new()
            .name(format!("io-{index}"))
            .spawn(move || run(&runtime, &of_thread))?;
        Ok(Self {
            runtime: handle,
            serving,
            clients,
            thread,
        })
    }

    fn serve(&self, client: Client) {
        let presence = Presence::among(&self.clients);
        // From now on, not from the first turn on: the node may stop before that.
        let stop = Arc::clone(&self.clients.stop).notified_owned();
        let client = serve(client, self.serving.clone(), stop, presence);
        self.runtime.spawn(client);
    }
}

/// One client in a thread's count, for as long as this lives.
struct Presence(Arc<Clients>);

impl Presence {
    fn among(clients: &Arc<Clients>) -> Self {
        clients.count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(clients))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.are_gone.notify_one();
        }
    }
}

/// Lets clients be served until the node stops, and then until they have left.
fn run(runtime: &Runtime, clients: &Clients) {
    // Else the kernel may make twice as much of a lull.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    runtime.block_on(async {
        clients.ends.notified().await;
        clients.stop.notify_waiters();
        let all_gone = async {
            while clients.count.load(Ordering::Relaxed) > 0 {
                clients.are_gone.notified().await;
            }
        };
        if timeout(STOP_LIMIT, all_gone).await.is_err() {
            let connections = clients.count.load(Ordering::Relaxed);
            warn!(connections, "clients did not answer connection.close");
        }
    });
}

async fn serve(client: Client, serving: Serving, stop: OwnedNotified, presence: Presence) {
    let name = client.peer.name.clone();
    // Boxed: only the handshake needs the room, not the connection's whole life.
    match Box::pin(client.open(&serving)).await {
        Ok((stream, peer)) => {
            let name = peer.name.clone();
            let protocol = (serving.new_protocol)(peer, serving.clock.now());
            connection::serve(name, stream, protocol, serving.clock, stop).await;
        }
        Err(error) => info!(connection = %name, %error, "handshake failed"),
    }
    drop(presence);
}

#[cfg(test)]
mod tests;
