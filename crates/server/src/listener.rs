//! Listening sockets, and the loop that takes clients from them.
//!
//! A node takes its ports before it touches its data, and listens when it has something to offer: who only looks whether a
//! port is open, as probes do, is not told too early.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leveret_amqp091::connection::Peer;
use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::config::Address;
use crate::config::effective::SocketOptions;
use crate::io_thread::{Client, IoThreads};
use crate::tls::Tls;

/// How long to accept nobody when the machine or the process has run out of something, such as file descriptors.
const PAUSE: Duration = Duration::from_millis(250);
/// File descriptors that no client gets. The log opens a file now and then, and a log that can't be written ends the node.
const RESERVED_FILES: u64 = 16;

/// One listening socket.
pub(crate) struct Listener {
    socket: TcpListener,
    place: Place,
    files: Files,
}

/// A socket that has its port, and nobody can connect to yet.
pub(crate) struct Bound {
    socket: Socket,
    place: Place,
}

/// Where a listener is, to be opened there again when it has been closed.
#[derive(Clone)]
pub(crate) struct Place {
    address: SocketAddr,
    options: SocketOptions,
    tls: Option<Tls>,
}

impl Place {
    /// To be called inside the runtime that is going to accept.
    pub(crate) fn open(&self) -> Result<Listener, String> {
        let address = Address::At(self.address);
        let opened = Bound::open(address, &self.options, self.tls.as_ref())?;
        let bound = opened.into_iter().next();
        bound.expect("an address has one socket").listen()
    }
}

impl Bound {
    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.place.address
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.place.tls.is_some()
    }

    /// Takes the ports that `address` stands for.
    pub(crate) fn open(
        address: Address,
        options: &SocketOptions,
        tls: Option<&Tls>,
    ) -> Result<Vec<Self>, String> {
        let open = |socket: Socket| -> io::Result<Self> {
            let local = socket.local_addr()?.as_socket();
            let place = Place {
                address: local.expect("a socket of TCP has an address of IP"),
                options: options.clone(),
                tls: tls.cloned(),
            };
            Ok(Self { socket, place })
        };
        sockets(address, options)
            .and_then(|sockets| sockets.into_iter().map(open).collect())
            .map_err(|error| cannot_listen(address, &error))
    }

    /// Lets clients connect. To be called inside the runtime that is going to accept.
    pub(crate) fn listen(self) -> Result<Listener, String> {
        let Self { socket, place } = self;
        let socket = socket
            .listen(place.options.backlog)
            .and_then(|()| TcpListener::from_std(socket.into()));
        match socket {
            Ok(socket) => Ok(Listener {
                socket,
                place,
                files: Files::default(),
            }),
            Err(error) => Err(cannot_listen(Address::At(place.address), &error)),
        }
    }
}

impl Listener {
    /// What a client that has come now begins with, if that is TLS.
    pub(crate) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.place.tls.as_ref().map(Tls::acceptor)
    }

    /// Accepts for as long as it is polled, and hands each client to the thread that has the fewest.
    pub(crate) async fn accept_all(self, threads: Arc<IoThreads>) {
        loop {
            let (socket, peer) = self.accept().await;
            let client = Client::new(socket, peer, self.acceptor());
            let client = match self.place.options.proxy_protocol {
                true => client.through_proxy(),
                false => client,
            };
            threads.hand_over(client);
        }
    }

    /// The next client, whatever goes wrong with others.
    pub(crate) async fn accept(&self) -> (TcpStream, Peer) {
        loop {
            match self.socket.accept().await {
                Ok((socket, _)) if self.files.takes_from_reserve(&socket) => {
                    // The client is let go, and may try again.
                    drop(socket);
                    self.pause(&io::Error::other("the last files are kept for the log"))
                        .await;
                }
                Ok((socket, remote)) => match socket.local_addr() {
                    Ok(local) => {
                        let peer = Peer::new(remote, local);
                        debug!(connection = %peer.name, "accepted");
                        return (socket, peer);
                    }
                    Err(error) => debug!(%remote, %error, "client left at once"),
                },
                Err(error) if is_the_clients(&error) => debug!(%error, "client left at once"),
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// Clients wait in the backlog meanwhile.
    async fn pause(&self, error: &io::Error) {
        warn!(listener = %self.place.address, %error, "cannot accept connections, trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// How many files the process may open, as it was when it last mattered.
#[derive(Debug, Default)]
struct Files(AtomicU64);

impl Files {
    /// Descriptors are given out from the lowest: a high one says that few are left.
    fn takes_from_reserve(&self, socket: &TcpStream) -> bool {
        let Ok(number) = u64::try_from(socket.as_raw_fd()) else {
            return false;
        };
        let is_near = |limit: u64| number + RESERVED_FILES >= limit;
        if !is_near(self.0.load(Ordering::Relaxed)) {
            return false;
        }
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        self.0.store(limit, Ordering::Relaxed);
        is_near(limit)
    }
}

/// The connection failed, not the listener.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

fn cannot_listen(address: Address, error: &io::Error) -> String {
    format!("cannot listen on {}: {error}", shown(address))
}

fn shown(address: Address) -> String {
    match address {
        Address::Everywhere(port) => format!("port {port}"),
        Address::Loopback(port) => format!("localhost:{port}"),
        Address::At(address) => address.to_string(),
    }
}

fn sockets(address: Address, options: &SocketOptions) -> io::Result<Vec<Socket>> {
    let v4 = |ip, port| SocketAddr::new(Ipv4Addr::into(ip), port);
    let v6 = |ip, port| SocketAddr::new(Ipv6Addr::into(ip), port);
    match address {
        Address::At(address) => Ok(vec![bind(address, options)?]),
        Address::Everywhere(port) => {
            // One socket for both; the machine may have been built or started without IPv6.
            let both = bind(v6(Ipv6Addr::UNSPECIFIED, port), options);
            Ok(vec![without_ipv6(both, || {
                bind(v4(Ipv4Addr::UNSPECIFIED, port), options)
            })?])
        }
        Address::Loopback(port) => {
            let first = bind(v4(Ipv4Addr::LOCALHOST, port), options)?;
            // Port 0 stands for any free one; the same on both then.
            let port = first
                .local_addr()?
                .as_socket()
                .map_or(port, |local| local.port());
            let second = bind(v6(Ipv6Addr::LOCALHOST, port), options).map(Some);
            Ok([Some(first), without_ipv6(second, || Ok(None))?]
                .into_iter()
                .flatten()
                .collect())
        }
    }
}

/// What else to do when the machine has no IPv6.
fn without_ipv6<T>(
    result: io::Result<T>,
    otherwise: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    match result {
        Err(error)
            if error.kind() == io::ErrorKind::AddrNotAvailable
                || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
        {
            otherwise()
        }
        result => result,
    }
}

fn bind(address: SocketAddr, options: &SocketOptions) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Accepted sockets inherit all these; the sizes have to be known when the window is negotiated.
    socket.set_tcp_nodelay(options.nodelay)?;
    socket.set_keepalive(options.keepalive)?;
    if options.linger_on {
        socket.set_linger(Some(Duration::from_secs(options.linger_s.into())))?;
    }
    // The server's answer acknowledges what the client has said, and nothing else has to. A proxy's header has no answer.
    if !options.proxy_protocol {
        socket.set_tcp_quickack(false)?;
    }
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[tokio::test]
    async fn sockets_are_set_up_as_configured() {
        let options = SocketOptions {
            nodelay: true,
            keepalive: true,
            linger_on: true,
            linger_s: 7,
            receive_buffer: Some(64 << 10),
            ..crate::config::Effective::default().socket
        };
        let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let bound = Bound::open(Address::At(local), &options, None)
            .unwrap()
            .remove(0);
        let address = bound.address();
        let connect = || std::net::TcpStream::connect(address);
        assert!(connect().is_err(), "it does not listen");
        let listener = bound.listen().unwrap();
        let _client = connect().unwrap();
        let (accepted, _) = listener.accept().await;

        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.linger().unwrap(), Some(Duration::from_secs(7)));
        // Linux keeps as much again for its own use.
        assert_eq!(socket.recv_buffer_size().unwrap(), 128 << 10);
    }
}
