//! Whose certificates are trusted: the `cacertfile`, how long a chain may be, and what has been revoked.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::{certificates, in_file, named};
use crate::config::effective::{CrlCheck, SslOptions};

/// With `verify_none` a certificate is not even asked for, as in RabbitMQ.
pub(super) fn verifier(
    options: &SslOptions,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    if !options.verify_peer {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let file = named("cacertfile", options.ca_cert_file.as_ref())?;
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let authorities = certificates(file)?;
    let mut roots = RootCertStore::empty();
    for certificate in &authorities {
        roots
            .add(certificate.clone())
            .map_err(|error| wrong(&error))?;
    }
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if !options.fail_if_no_peer_cert {
        builder = builder.allow_unauthenticated();
    }
    if options.crl_check != CrlCheck::Off {
        let lists = CertificateRevocationListDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| in_file(file, &error))?;
        builder = builder.with_crls(lists);
    }
    match options.crl_check {
        CrlCheck::Off | CrlCheck::All => {}
        CrlCheck::Peer => builder = builder.only_check_end_entity_revocation(),
        CrlCheck::BestEffort => builder = builder.allow_unknown_revocation_status(),
    }
    let verifier = builder.build().map_err(|error| wrong(&error))?;
    Ok(match options.depth {
        None => verifier,
        Some(depth) => Arc::new(WithDepth {
            verifier,
            depth: depth.into(),
            authorities,
        }),
    })
}

/// Refuses chains of more intermediate certificates than `ssl_options.depth` allows.
#[derive(Debug)]
struct WithDepth {
    verifier: Arc<dyn ClientCertVerifier>,
    depth: usize,
    /// Those of them that a client sends along do not count: they end a chain.
    authorities: Vec<CertificateDer<'static>>,
}

impl ClientCertVerifier for WithDepth {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let between = intermediates
            .iter()
            .filter(|certificate| !self.authorities.iter().any(|own| own == *certificate));
        if between.count() > self.depth {
            return Err(CertificateError::UnknownIssuer.into());
        }
        self.verifier
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
