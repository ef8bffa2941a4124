use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::*;
use crate::connection::tests::{Elsewhere, Lines, sockets};
use crate::tls::{self, tests::Authority};

/// The names of the threads that clients came to, in order.
type Seen = Arc<Mutex<Vec<String>>>;

fn start(count: usize) -> (IoThreads, Seen) {
    let seen = Seen::default();
    let note = Arc::clone(&seen);
    let serving = Serving {
        clock: Clock::start(),
        new_protocol: Arc::new(move |_, _| {
            note.lock()
                .unwrap()
                .push(thread::current().name().unwrap_or_default().to_owned());
            Box::new(Lines::new(Elsewhere::default()))
        }),
        handshake_timeout: Duration::from_secs(5),
        tls_handshake_timeout: Duration::from_secs(5),
        certificate_login: CertificateLogin::default(),
    };
    (IoThreads::start(count, &serving).unwrap(), seen)
}

fn client(socket: TcpStream, tls: Option<TlsAcceptor>) -> Client {
    let (remote, local) = (socket.peer_addr().unwrap(), socket.local_addr().unwrap());
    let peer = Peer::new(remote, local);
    Client::new(socket, peer, tls)
}

async fn echo<S>(stream: &mut S, text: &str)
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    stream
        .write_all(format!("echo {text}\n").as_bytes())
        .await
        .unwrap();
    let mut answer = vec![0; text.len() + 1];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, format!("{text}\n").as_bytes());
}

#[tokio::test]
async fn clients_go_to_the_thread_that_has_the_fewest() {
    let (threads, seen) = start(2);
    let mut clients = Vec::new();
    for _ in 0..6 {
        let (mut near, far) = sockets().await;
        threads.hand_over(client(far, None));
        echo(&mut near, "hello").await;
        clients.push(near);
    }
    let count = |name| {
        seen.lock()
            .unwrap()
            .iter()
            .filter(|thread| *thread == name)
            .count()
    };
    assert_eq!((count("io-0"), count("io-1")), (3, 3));
    drop(clients);
    tokio::task::spawn_blocking(|| threads.stop())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stop_waits_for_the_clients_to_leave() {
    let (threads, _) = start(1);
    let (mut near, far) = sockets().await;
    threads.hand_over(client(far, None));
    echo(&mut near, "hello").await;
    let stopping = tokio::task::spawn_blocking(|| threads.stop());
    let mut answer = [0; "closing: shutdown\n".len()];
    near.read_exact(&mut answer).await.unwrap();
    assert!(!stopping.is_finished());
    near.write_all(b"quit\n").await.unwrap();
    let mut rest = String::new();
    near.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "bye\n");
    drop(near);
    stopping.await.unwrap();
}

#[tokio::test]
async fn encrypted_clients_are_served_by_the_same_loop() {
    let authority = Authority::new();
    let acceptor = tls::acceptor(&authority.options()).unwrap();
    let (threads, _) = start(1);
    for version in [&TLS12, &TLS13] {
        let (near, far) = sockets().await;
        threads.hand_over(client(far, Some(acceptor.clone())));
        let name = ServerName::try_from("localhost").unwrap();
        let near = authority
            .client(None, &[version])
            .connect(name, near)
            .await
            .unwrap();
        let (mut reader, mut writer) = tokio::io::split(near);

        // More than sockets and TLS hold together, in both directions at once.
        let text = "echo a line of some length, to be sent back by the other end\n".repeat(100_000);
        let expected = text.replace("echo ", "");
        let mut answer = vec![0; expected.len()];
        let write = async {
            writer.write_all(text.as_bytes()).await?;
            // Encryption keeps some of it back otherwise.
            writer.flush().await
        };
        let (written, read) = tokio::join!(write, reader.read_exact(&mut answer));
        written.unwrap();
        read.unwrap();
        assert!(answer == expected.as_bytes());

        writer.write_all(b"quit\n").await.unwrap();
        writer.flush().await.unwrap();
        let mut rest = String::new();
        reader.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "bye\n", "and the end of the stream is announced");
    }
    tokio::task::spawn_blocking(|| threads.stop())
        .await
        .unwrap();
}

#[tokio::test]
async fn what_tls_agreed_on_is_known_of_the_client() {
    let authority = Authority::new();
    let acceptor = tls::acceptor(&authority.options()).unwrap();
    let serving = Serving {
        tls_handshake_timeout: Duration::from_secs(10),
        ..impatient()
    };
    for (version, protocol) in [(&TLS12, "tlsv1.2"), (&TLS13, "tlsv1.3")] {
        let (near, far) = sockets().await;
        let name = ServerName::try_from("localhost").unwrap();
        let connector = authority.client(None, &[version]);
        let (opened, _client) = tokio::join!(
            client(far, Some(acceptor.clone())).open(&serving),
            connector.connect(name, near)
        );
        let (_, peer) = opened.unwrap();
        assert_eq!(peer.tls.unwrap().protocol, protocol);
    }
}

#[tokio::test]
async fn a_tls_client_that_says_nothing_is_left_after_the_handshake_timeout() {
    let authority = Authority::new();
    let acceptor = tls::acceptor(&authority.options()).unwrap();
    let (_near, far) = sockets().await;
    let opened = client(far, Some(acceptor)).open(&impatient()).await;
    assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

/// Waits for handshakes no longer than it must.
fn impatient() -> Serving {
    Serving {
        clock: Clock::start(),
        new_protocol: Arc::new(|_, _| Box::new(Lines::new(Elsewhere::default()))),
        handshake_timeout: Duration::from_millis(10),
        tls_handshake_timeout: Duration::from_millis(10),
        certificate_login: CertificateLogin::default(),
    }
}

#[tokio::test]
async fn a_proxy_speaks_for_its_client() {
    let (mut near, far) = sockets().await;
    near.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.9 40000 5672\r\nAMQP")
        .await
        .unwrap();
    let opened = client(far, None).through_proxy().open(&impatient()).await;
    let (stream, peer) = opened.unwrap();
    assert_eq!(peer.name, "192.0.2.1:40000 -> 192.0.2.9:5672");
    assert!(!peer.remote.ip().is_loopback());
    let Stream::Tcp(mut stream) = stream else {
        panic!("{stream:?} is encrypted");
    };
    let mut rest = [0; 4];
    stream.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"AMQP");
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_left_after_the_handshake_timeout() {
    let (_near, far) = sockets().await;
    let opened = client(far, None).through_proxy().open(&impatient()).await;
    assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::TimedOut);
}
