//! TLS from the `ssl_options.*` keys.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use leveret_broker::connections::TlsFacts;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
};

use crate::config::effective::{SslOptions, TlsVersion};

/// Reads the files that `options` names. The error says which one is wrong and how.
pub(crate) fn acceptor(options: &SslOptions) -> Result<TlsAcceptor, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = client_verifier(options, &provider)?;
    let certificate_file = named("certfile", options.cert_file.as_ref())?;
    let key_file = named("keyfile", options.key_file.as_ref())?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| in_file(key_file, &error))?;
    let config = ServerConfig::builder_with_provider(provider)
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
        peer_certificate: certificate.map(|certificate| certificate.as_ref().into()),
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

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(format!("{}: no certificate in it", file.display())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(in_file(file, &error)),
    }
}

/// With `verify_none` a certificate is not even asked for, as in RabbitMQ.
fn client_verifier(
    options: &SslOptions,
    provider: &Arc<tokio_rustls::rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    if !options.verify_peer {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let file = named("cacertfile", options.ca_cert_file.as_ref())?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if options.fail_if_no_peer_cert {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder
        .build()
        .map_err(|error| format!("{}: {error}", file.display()))
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
