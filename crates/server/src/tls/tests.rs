use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::config::effective::{CrlCheck, Numbered};

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
        self.issue_numbered(name, 1);
    }

    fn issue_numbered(&self, name: &str, serial: u64) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.serial_number = Some(serial.into());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A certificate for a client, and between it and this authority another one.
    fn issue_through_another(&self) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let between = params.signed_by(&key, &self.issuer).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let chain = certificate.pem() + &between.pem();
        std::fs::write(self.path("client.pem"), chain).unwrap();
        std::fs::write(self.path("client.key"), key.serialize_pem()).unwrap();
    }

    /// The authority's file says from now on which certificates do not count any more.
    fn revoke(&self, serials: &[u64]) {
        let now = time::OffsetDateTime::now_utc();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: now + time::Duration::days(1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).unwrap().pem().unwrap();
        let file = std::fs::read_to_string(self.path("ca.pem")).unwrap();
        std::fs::write(self.path("ca.pem"), file + &list).unwrap();
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
                if !authority.path("client.pem").exists() {
                    authority.issue("client");
                }
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

#[tokio::test]
async fn only_chosen_cipher_suites_are_used() {
    let authority = Authority::new();
    let only = |names: &[&str]| SslOptions {
        ciphers: names.iter().map(|&name| name.to_owned()).collect(),
        ..authority.options()
    };
    let new_only = only(&["TLS_AES_256_GCM_SHA384", "DHE-RSA-AES256-SHA"]);
    check(&new_only, authority.client(None, &[&TLS13]), true).await;
    check(&new_only, authority.client(None, &[&TLS12]), false).await;
    let old_only = only(&["ECDHE-ECDSA-AES128-GCM-SHA256"]);
    check(&old_only, authority.client(None, &[&TLS12]), true).await;
    // Our key is an elliptic one.
    let of_another_key = only(&["ECDHE-RSA-AES128-GCM-SHA256"]);
    check(&of_another_key, authority.client(None, &[&TLS12]), false).await;
}

#[tokio::test]
async fn a_chain_may_be_as_long_as_configured() {
    let authority = Authority::new();
    authority.issue_through_another();
    for (depth, expected) in [(None, true), (Some(1), true), (Some(0), false)] {
        let options = SslOptions {
            verify_peer: true,
            fail_if_no_peer_cert: true,
            depth,
            ..authority.options()
        };
        let client = authority.client(Some(&authority), &[&TLS12, &TLS13]);
        check(&options, client, expected).await;
    }
}

#[tokio::test]
async fn revoked_certificates_are_refused() {
    let authority = Authority::new();
    authority.issue_numbered("client", 7);
    let with = |crl_check| SslOptions {
        verify_peer: true,
        fail_if_no_peer_cert: true,
        crl_check,
        ..authority.options()
    };
    let client = || authority.client(Some(&authority), &[&TLS13]);
    // Without a list nothing is known of the certificate.
    check(&with(CrlCheck::Off), client(), true).await;
    check(&with(CrlCheck::BestEffort), client(), true).await;

    authority.revoke(&[8]);
    check(&with(CrlCheck::All), client(), true).await;
    authority.issue_numbered("client", 8);
    check(&with(CrlCheck::Off), client(), true).await;
    for way in [CrlCheck::All, CrlCheck::Peer, CrlCheck::BestEffort] {
        check(&with(way), client(), false).await;
    }
}

/// Does the handshake, then has both ends hear one another.
async fn connect(
    tls: &Tls,
    client: &TlsConnector,
) -> (
    tokio_rustls::server::TlsStream<tokio::io::DuplexStream>,
    tokio_rustls::client::TlsStream<tokio::io::DuplexStream>,
) {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let name = ServerName::try_from("localhost").unwrap();
    let acceptor = tls.acceptor();
    let (server, client) = tokio::join!(acceptor.accept(near), client.connect(name, far));
    (server.unwrap(), client.unwrap())
}

#[tokio::test]
async fn changed_certificates_are_used_for_new_connections_and_old_ones_go_on() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let authority = Authority::new();
    let tls = Tls::new(&authority.options()).unwrap();
    let client = authority.client(None, &[&TLS12, &TLS13]);
    let shown = |stream: &tokio_rustls::client::TlsStream<tokio::io::DuplexStream>| {
        let certificates = stream.get_ref().1.peer_certificates().unwrap();
        certificates[0].clone().into_owned()
    };
    let (mut server, mut old) = connect(&tls, &client).await;
    let before = shown(&old);
    tls.look();
    assert_eq!(shown(&connect(&tls, &client).await.1), before);

    // A number of another length makes another size, whatever the clock of the file system is.
    authority.issue_numbered("server", u64::MAX);
    tls.look();
    let after = shown(&connect(&tls, &client).await.1);
    assert_ne!(after, before);

    std::fs::write(authority.path("server.pem"), "half a cert").unwrap();
    tls.look();
    assert_eq!(shown(&connect(&tls, &client).await.1), after);
    assert!(tls.configure(&SslOptions::default()).is_err());
    assert_eq!(shown(&connect(&tls, &client).await.1), after);

    old.write_all(b"still here").await.unwrap();
    old.flush().await.unwrap();
    let mut heard = [0; 10];
    server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");
}
