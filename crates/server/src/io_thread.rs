//! The threads that serve clients: one for each core, each with a runtime of its own. A connection lives and dies on the
//! thread it was handed to.

use std::io;
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use leveret_amqp091::connection::Peer;
use tokio::runtime;
use tokio::sync::{Notify, futures::OwnedNotified, mpsc};
use tokio::task::JoinSet;
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

/// Clients on their way to a thread. When it is full, accepting waits, and clients in the kernel's backlog.
const MAILBOX: usize = 256;

/// What clients have to answer `connection.close` when the node stops.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// A client that has just connected.
pub(crate) struct Client {
    socket: TcpStream,
    peer: Peer,
    tls: Option<TlsAcceptor>,
    proxied: bool,
    load: Option<Load>,
}

impl Client {
    pub(crate) fn new(socket: TcpStream, peer: Peer, tls: Option<TlsAcceptor>) -> Self {
        Self {
            socket,
            peer,
            tls,
            proxied: false,
            load: None,
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
        let mut socket = tokio::net::TcpStream::from_std(self.socket)?;
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

/// One client in a thread's count, for as long as this lives.
struct Load(Arc<AtomicUsize>);

impl Load {
    fn on(clients: &Arc<AtomicUsize>) -> Self {
        clients.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(clients))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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
    mailbox: mpsc::Sender<Client>,
    clients: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl IoThreads {
    pub(crate) fn start(count: usize, serving: &Serving) -> io::Result<Self> {
        (0..count)
            .map(|index| IoThread::start(index, serving.clone()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Gives the client to the thread that has the fewest.
    pub(crate) async fn hand_over(&self, mut client: Client) {
        let load = |thread: &&IoThread| thread.clients.load(Ordering::Relaxed);
        let thread = self
            .0
            .iter()
            .min_by_key(load)
            .expect("a node has at least one I/O thread");
        client.load = Some(Load::on(&thread.clients));
        if thread.mailbox.send(client).await.is_err() {
            debug!("client came while the node stops");
        }
    }

    /// Asks every client to leave and waits until they have, or their time is over.
    pub(crate) fn stop(self) {
        let (mailboxes, threads): (Vec<_>, Vec<_>) = self
            .0
            .into_iter()
            .map(|thread| (thread.mailbox, thread.thread))
            .unzip();
        drop(mailboxes);
        for thread in threads {
            if thread.join().is_err() {
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
        let (mailbox, clients) = mpsc::channel(MAILBOX);
        let thread = thread::Builder::new()
            .name(format!("io-{index}"))
            .spawn(move || {
                // Else the kernel may make twice as much of a lull.
                let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
                runtime.block_on(serve_clients(clients, serving));
            })?;
        Ok(Self {
            mailbox,
            clients: Arc::default(),
            thread,
        })
    }
}

/// Serves clients until the mailbox is closed, which is how a thread learns that the node stops.
async fn serve_clients(mut mailbox: mpsc::Receiver<Client>, serving: Serving) {
    let stop = Arc::new(Notify::new());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            client = mailbox.recv() => match client {
                Some(client) => {
                    connections.spawn(serve(client, serving.clone(), Arc::clone(&stop).notified_owned()));
                }
                None => break,
            },
            // Only to forget them: how each ended has been logged where it did.
            Some(_) = connections.join_next() => {}
        }
    }
    stop.notify_waiters();
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if timeout(STOP_LIMIT, all_gone).await.is_err() {
        warn!(
            connections = connections.len(),
            "clients did not answer connection.close"
        );
    }
}

async fn serve(mut client: Client, serving: Serving, stop: OwnedNotified) {
    let load = client.load.take();
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
    drop(load);
}

#[cfg(test)]
mod tests;
