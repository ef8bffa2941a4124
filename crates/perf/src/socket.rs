//! A connection's way to the broker: TCP, with or without TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::error::Error;
use crate::options::Target;
use crate::uri::Uri;

/// How long a read waits for a broker as long as it blocks. RabbitMQ takes many seconds to delete a very long queue.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How certificates of brokers are judged; `None` where no URI asks for TLS.
#[derive(Clone)]
pub(crate) struct Trust(Option<Arc<ClientConfig>>);

impl Trust {
    pub(crate) fn new(target: &Target) -> Result<Self, Error> {
        if !target.uris.iter().any(|uri| uri.tls) {
            return Ok(Self(None));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let config = match &target.cacert {
            Some(path) => {
                let mut roots = RootCertStore::empty();
                let unreadable = |error| Error::Arguments(format!("{}: {error}", path.display()));
                for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                    roots.add(certificate.map_err(unreadable)?)?;
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
            None if target.insecure => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
                .with_no_client_auth(),
            None => {
                let missing = "amqps needs --cacert FILE, or --insecure to trust anyone";
                return Err(Error::Arguments(missing.to_owned()));
            }
        };
        Ok(Self(Some(Arc::new(config))))
    }
}

/// Takes any certificate: a test rig's is often signed by nobody. Signatures are checked all the same.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Blocks until [`Self::stop_blocking`]; a read does so for [`PATIENCE`], and is an error of kind `WouldBlock` then.
pub(crate) struct Socket {
    /// Shared with whoever polls it.
    tcp: Arc<TcpStream>,
    tls: Option<Box<ClientConnection>>,
}

impl Socket {
    pub(crate) fn connect(uri: &Uri, trust: &Trust) -> Result<Self, Error> {
        let refused = |error| Error::Connect {
            address: format!("{}:{}", uri.host, uri.port),
            error,
        };
        let tcp = TcpStream::connect((&*uri.host, uri.port)).map_err(refused)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        Self::over(tcp, uri, trust)
    }

    /// Begins to connect to `address`, without waiting for that or anything later: see [`Self::stop_blocking`].
    pub(crate) fn begin(address: SocketAddr, uri: &Uri, trust: &Trust) -> Result<Self, Error> {
        let refused = |error: Errno| Error::Connect {
            address: address.to_string(),
            error: error.into(),
        };
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(refused)?;
        match connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => Self::over(socket.into(), uri, trust),
            Err(error) => Err(refused(error)),
        }
    }

    fn over(tcp: TcpStream, uri: &Uri, trust: &Trust) -> Result<Self, Error> {
        tcp.set_nodelay(true)?;
        let tls = match &trust.0 {
            Some(config) if uri.tls => {
                let name = ServerName::try_from(uri.host.clone())
                    .map_err(|error| Error::Arguments(format!("{}: {error}", uri.host)))?;
                Some(Box::new(ClientConnection::new(config.clone(), name)?))
            }
            _ => None,
        };
        Ok(Self {
            tcp: Arc::new(tcp),
            tls,
        })
    }

    /// The socket itself, to be polled.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// From here on a read or write that would wait is an error of kind `WouldBlock`.
    pub(crate) fn stop_blocking(&self) -> io::Result<Arc<TcpStream>> {
        self.tcp.set_nonblocking(true)?;
        Ok(self.tcp.clone())
    }

    /// Whether the kernel has to have room before `unwritten` can go on. In the handshake of TLS it has to be something to
    /// read that comes first.
    pub(crate) fn waits_for_room(&self, unwritten: &[u8]) -> bool {
        match self.tls {
            None => !unwritten.is_empty(),
            Some(_) => self.holds_octets(),
        }
    }

    /// Whether TLS still has octets that the kernel did not take. They go with the next write or flush.
    pub(crate) fn holds_octets(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }
}

impl Read for Socket {
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => (&*self.tcp).read(into),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut &*self.tcp).read(into),
        }
    }
}

impl Write for Socket {
    #[inline]
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => (&*self.tcp).write(octets),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut &*self.tcp).write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut &*self.tcp).flush(),
        }
    }
}
