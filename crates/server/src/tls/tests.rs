use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::*;
use crate::config::effective::Numbered;

/// An authority of its own for each test, and the files it has issued.
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "leveret-tls-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
        let certificate = certificate.der().clone();
        Self {
            folder,
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn issue(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// As in RabbitMQ's guide: our certificate, no question for the client's.
    pub(crate) fn options(&self) -> SslOptions {
        self.issue("server");
        SslOptions {
            cert_file: Some(self.path("server.pem")),
            key_file: Some(self.path("server.key")),
            ca_cert_file: Some(self.path("ca.pem")),
            ..SslOptions::default()
        }
    }

    /// A client that trusts this authority and shows a certificate of `shown`.
    pub(crate) fn client(
        &self,
        shown: Option<&Self>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            None => config.with_no_client_auth(),
            Some(authority) => {
                authority.issue("client");
                let chain = certificates(&authority.path("client.pem")).unwrap();
                let key = PrivateKeyDer::from_pem_file(authority.path("client.key")).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Whether the server takes the client.
async fn check(options: &SslOptions, client: TlsConnector, expected: bool) {
    let acceptor = acceptor(options).unwrap();
    let (near, far) = tokio::io::duplex(16 * 1024);
    let name = ServerName::try_from("localhost").unwrap();
    let (server, _client) = tokio::join!(acceptor.accept(near), client.connect(name, far));
    assert_eq!(server.is_ok(), expected, "{options:?}: {:?}", server.err());
}

#[tokio::test]
async fn both_versions_are_spoken_unless_one_is_chosen() {
    let authority = Authority::new();
    let both = authority.options();
    check(&both, authority.client(None, &[&TLS12]), true).await;
    check(&both, authority.client(None, &[&TLS13]), true).await;

    let versions = Numbered::from_iter([TlsVersion::Tls13]);
    let new_only = SslOptions {
        versions,
        ..authority.options()
    };
    check(&new_only, authority.client(None, &[&TLS12]), false).await;
    check(&new_only, authority.client(None, &[&TLS13]), true).await;
}

#[tokio::test]
async fn client_certificates_are_checked_as_configured() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let with = |shown| authority.client(shown, &[&TLS12, &TLS13]);

    let none = authority.options();
    check(&none, with(None), true).await;
    check(&none, with(Some(&stranger)), true).await;

    let optional = SslOptions {
        verify_peer: true,
        ..authority.options()
    };
    check(&optional, with(None), true).await;
    check(&optional, with(Some(&authority)), true).await;
    check(&optional, with(Some(&stranger)), false).await;

    let required = SslOptions {
        fail_if_no_peer_cert: true,
        ..optional
    };
    check(&required, with(None), false).await;
    check(&required, with(Some(&authority)), true).await;
    check(&required, with(Some(&stranger)), false).await;
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let authority = Authority::new();
    std::fs::write(authority.path("empty.pem"), "nothing here").unwrap();
    let check = |change: &dyn Fn(&mut SslOptions), expected: &str| {
        let mut options = authority.options();
        change(&mut options);
        let error = acceptor(&options).err().unwrap();
        assert!(error.contains(expected), "{error}");
    };
    check(&|o| o.cert_file = None, "ssl_options.certfile is not set");
    check(
        &|o| o.key_file = Some("/nowhere/key.pem".into()),
        "/nowhere/key.pem: ",
    );
    check(
        &|o| o.cert_file = Some(authority.path("empty.pem")),
        "empty.pem: no certificate in it",
    );
    check(
        &|o| o.key_file = Some(authority.path("empty.pem")),
        "empty.pem: nothing of the kind in it",
    );
    let another = Authority::new();
    another.issue("server");
    check(
        &|o| o.key_file = Some(another.path("server.key")),
        "server.pem and ",
    );
}

#[test]
fn cipher_suites_are_named_in_parts() {
    let check = |suite, key_exchange: &str, cipher: &str| {
        let expected = (key_exchange.into(), cipher.into(), "aead".into());
        assert_eq!(suite_parts(suite), expected);
    };
    check(
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ecdhe_rsa",
        "aes_256_gcm",
    );
    check("TLS13_AES_128_GCM_SHA256", "any", "aes_128_gcm");
    check(
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ecdhe_ecdsa",
        "chacha20_poly1305",
    );
}
