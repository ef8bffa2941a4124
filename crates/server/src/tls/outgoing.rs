//! TLS towards servers that we ask: `ssl_options.*` of the backends.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::{certificates, key};

/// Whom we trust, and who we say that we are.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientTls {
    /// Those of the system when not set.
    pub(crate) ca_cert_file: Option<PathBuf>,
    /// Shown to servers that ask for it.
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    /// Of an encrypted key.
    pub(crate) password: Option<String>,
    /// Without it anybody is taken for the server.
    pub(crate) verify_peer: bool,
}

impl Default for ClientTls {
    fn default() -> Self {
        Self {
            ca_cert_file: None,
            cert_file: None,
            key_file: None,
            password: None,
            verify_peer: true,
        }
    }
}

/// Without the password.
impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("ca_cert_file", &self.ca_cert_file)
            .field("cert_file", &self.cert_file)
            .field("key_file", &self.key_file)
            .field("verify_peer", &self.verify_peer)
            .finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads the files. The error says which one is wrong and how.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        let authorities = match &self.ca_cert_file {
            Some(file) => certificates(file)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        roots.add_parsable_certificates(authorities);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let mut config = match (&self.cert_file, &self.key_file) {
            (Some(certificate), Some(key)) => {
                let key = key::read(key, self.password.as_deref())?;
                let wrong = |error: Error| format!("{}: {error}", certificate.display());
                builder
                    .with_client_auth_cert(certificates(certificate)?, key)
                    .map_err(wrong)?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err("ssl_options need both a certfile and a keyfile".to_owned()),
        };
        if !self.verify_peer {
            let anybody = Arc::new(Anybody(provider));
            config.dangerous().set_certificate_verifier(anybody);
        }
        Ok(Arc::new(config))
    }
}

/// `verify_none`: the operator wants to talk to whoever is there.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
