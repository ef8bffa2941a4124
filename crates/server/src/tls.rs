//! TLS from the `ssl_options.*` keys.
//!
//! Read in this order: this page (certificates that can be exchanged under a running node), `key` (private keys, encrypted
//! ones too), `clients` (whose certificates are trusted), [`login`] (the user that a certificate stands for), [`outgoing`] (TLS
//! towards servers that we ask).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use leveret_broker::connections::TlsFacts;
use parking_lot::{Mutex, RwLock};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ProtocolVersion, ServerConfig, ServerConnection, SupportedCipherSuite, SupportedProtocolVersion,
};
use tracing::{info, warn};

use crate::config::effective::{SslOptions, TlsVersion};

mod clients;
mod key;
pub(crate) mod login;
pub(crate) mod outgoing;

/// How often the files are looked at. Whoever renews certificates does so long before the old ones end.
const PERIOD: Duration = Duration::from_secs(3);

/// What clients are met with. New files count for handshakes to come; connections go on with what they began with.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Shared>);

struct Shared {
    acceptor: RwLock<TlsAcceptor>,
    watched: Mutex<Watched>,
}

/// The files, and how they looked when they were read.
struct Watched {
    options: SslOptions,
    stamps: Vec<Stamp>,
}

/// `None`: it can't be told, or the file is not there.
type Stamp = Option<(SystemTime, u64)>;

impl Tls {
    /// Reads the files that `options` names. The error says which one is wrong and how.
    pub(crate) fn new(options: &SslOptions) -> Result<Self, String> {
        // First, so that a file written meanwhile is read again.
        let stamps = stamps(options);
        let acceptor = RwLock::new(acceptor(options)?);
        let options = options.clone();
        let watched = Mutex::new(Watched { options, stamps });
        Ok(Self(Arc::new(Shared { acceptor, watched })))
    }

    /// For a client that has come now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.0.acceptor.read().clone()
    }

    /// Which files, and how they are used.
    pub(crate) fn options(&self) -> SslOptions {
        self.0.watched.lock().options.clone()
    }

    /// Takes new options and reads their files, changed or not. After an error all stays as it was.
    pub(crate) fn configure(&self, options: &SslOptions) -> Result<(), String> {
        let mut watched = self.0.watched.lock();
        let stamps = stamps(options);
        let acceptor = acceptor(options)?;
        *self.0.acceptor.write() = acceptor;
        let options = options.clone();
        *watched = Watched { options, stamps };
        Ok(())
    }

    /// Looks for files that have changed, for as long as it is polled.
    pub(crate) async fn watch(self) {
        let mut period = interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            self.look();
        }
    }

    /// A certificate without its key, while both are being written, is waited out: the next change is another try.
    fn look(&self) {
        let mut watched = self.0.watched.lock();
        let stamps = stamps(&watched.options);
        if stamps == watched.stamps {
            return;
        }
        watched.stamps = stamps;
        match acceptor(&watched.options) {
            Ok(acceptor) => {
                *self.0.acceptor.write() = acceptor;
                info!("TLS certificates loaded again");
            }
            Err(error) => {
                warn!(%error, "TLS certificates have changed and can't be used; the old ones stay")
            }
        }
    }
}

fn stamps(options: &SslOptions) -> Vec<Stamp> {
    let files = [&options.cert_file, &options.key_file, &options.ca_cert_file];
    let stamp = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.into_iter().flatten().map(stamp).collect()
}

/// Reads the files that `options` names. The error says which one is wrong and how.
pub(crate) fn acceptor(options: &SslOptions) -> Result<TlsAcceptor, String> {
    let provider = Arc::new(provider(options));
    let verifier = clients::verifier(options, &provider)?;
    let certificate_file = named("certfile", options.cert_file.as_ref())?;
    let key_file = named("keyfile", options.key_file.as_ref())?;
    let key = key::read(key_file, options.password.as_deref())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(options))
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(certificate_file)?, key)
        .map_err(|error| {
            format!(
                "{} and {}: {error}",
                certificate_file.display(),
                key_file.display()
            )
        })?;
    config.ignore_client_order = options.honor_cipher_order;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What the handshake agreed on, in the words of RabbitMQ's listings.
pub(crate) fn facts(session: &ServerConnection) -> TlsFacts {
    let protocol = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "tlsv1.2",
        _ => "tlsv1.3",
    };
    let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
    let suite = suite.and_then(|suite| suite.as_str()).unwrap_or_default();
    let (key_exchange, cipher, hash) = suite_parts(suite);
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    TlsFacts {
        protocol: protocol.to_owned(),
        key_exchange,
        cipher,
        hash,
        peer: certificate.and_then(|certificate| login::peer(certificate)),
    }
}

/// Key exchange, cipher and hash in the name of a cipher suite, `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384` or
/// `TLS13_AES_256_GCM_SHA384`. All that we speak authenticate with the cipher itself (`aead`).
fn suite_parts(suite: &str) -> (String, String, String) {
    let (key_exchange, rest) = match suite.split_once("_WITH_") {
        Some((prefix, rest)) => (prefix.trim_start_matches("TLS_"), rest),
        None => ("any", suite.trim_start_matches("TLS13_")),
    };
    let cipher = rest.rsplit_once("_SHA").map_or(rest, |(cipher, _)| cipher);
    let parts = [key_exchange, cipher, "aead"].map(str::to_ascii_lowercase);
    let [key_exchange, cipher, hash] = parts;
    (key_exchange, cipher, hash)
}

/// All that we have, or the chosen suites in the order they are given.
fn provider(options: &SslOptions) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !options.ciphers.is_empty() {
        let suites = options.ciphers.values();
        provider.cipher_suites = suites.filter_map(|name| suite(name)).collect();
    }
    provider
}

/// The cipher suite of this name, if it is one that we speak.
pub(crate) fn suite(name: &str) -> Option<SupportedCipherSuite> {
    let found = SUITES.iter().find(|(own, _)| *own == name);
    found.map(|(_, suite)| *suite)
}

/// All that we speak, by RabbitMQ's names, which are those of OpenSSL.
pub(crate) const SUITES: [(&str, SupportedCipherSuite); 9] = {
    use aws_lc_rs::cipher_suite as suites;
    [
        ("TLS_AES_256_GCM_SHA384", suites::TLS13_AES_256_GCM_SHA384),
        ("TLS_AES_128_GCM_SHA256", suites::TLS13_AES_128_GCM_SHA256),
        (
            "TLS_CHACHA20_POLY1305_SHA256",
            suites::TLS13_CHACHA20_POLY1305_SHA256,
        ),
        (
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        ),
        (
            "ECDHE-RSA-AES256-GCM-SHA384",
            suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ),
        (
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ),
        (
            "ECDHE-RSA-CHACHA20-POLY1305",
            suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ),
        (
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ),
        (
            "ECDHE-RSA-AES128-GCM-SHA256",
            suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ),
    ]
};

fn named<'a>(key: &str, file: Option<&'a PathBuf>) -> Result<&'a Path, String> {
    file.map(PathBuf::as_path)
        .ok_or_else(|| format!("ssl_options.{key} is not set"))
}

fn in_file(file: &Path, error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => format!("{}: nothing of the kind in it", file.display()),
        error => format!("{}: {error}", file.display()),
    }
}

pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(format!("{}: no certificate in it", file.display())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(in_file(file, &error)),
    }
}

fn versions(options: &SslOptions) -> Vec<&'static SupportedProtocolVersion> {
    if options.versions.is_empty() {
        return vec![&TLS12, &TLS13];
    }
    let version = |version: &TlsVersion| match version {
        TlsVersion::Tls12 => &TLS12,
        TlsVersion::Tls13 => &TLS13,
    };
    options.versions.values().map(version).collect()
}

#[cfg(test)]
pub(crate) mod tests;
