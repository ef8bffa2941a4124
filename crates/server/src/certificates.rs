//! The certificates that listeners show and trust: exchanged together, and told to operators.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use leveret_broker::time::Timestamp;
use leveret_management::{CertificateFacts, CertificateFile, ListenerCertificates};
use tokio::task::JoinSet;
use tracing::error;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::config::Effective;
use crate::config::effective::SslOptions;
use crate::tls::login::{alternative_names, distinguished_name};
use crate::tls::{self, Tls};

/// Where in the configuration the files of some listeners are named.
pub(crate) type Section = fn(&Effective) -> &SslOptions;

/// See the module's page.
#[derive(Clone, Default)]
pub(crate) struct Certificates(Arc<[Entry]>);

/// Listeners of one protocol, which have their certificates in common.
pub(crate) struct Entry {
    /// RabbitMQ's name for the protocol.
    pub(crate) protocol: &'static str,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) section: Section,
    pub(crate) tls: Tls,
}

impl Certificates {
    pub(crate) fn new(entries: Vec<Entry>) -> Self {
        Self(entries.into())
    }

    /// Has all files watched, for as long as the tasks run.
    pub(crate) fn watch(&self, tasks: &mut JoinSet<()>) {
        for entry in &*self.0 {
            tasks.spawn(entry.tls.clone().watch());
        }
    }

    /// Takes new options. Files may have changed where the configuration did not.
    pub(crate) fn configure(&self, config: &Effective) {
        for entry in &*self.0 {
            if let Err(error) = entry.tls.configure((entry.section)(config)) {
                let protocol = entry.protocol;
                error!(protocol, %error, "the TLS certificates stay as they were");
            }
        }
    }

    /// What is in the files just now.
    pub(crate) fn facts(&self) -> Vec<ListenerCertificates> {
        let of_entry = |entry: &Entry| {
            let options = entry.tls.options();
            let own = options.cert_file.as_deref().map(read);
            let authorities = options.ca_cert_file.as_deref().map(read);
            let at = |address: &SocketAddr| ListenerCertificates {
                protocol: entry.protocol,
                ip: address.ip().to_string(),
                port: address.port(),
                own: own.clone(),
                authorities: authorities.clone(),
            };
            entry.addresses.iter().map(at).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_entry).collect()
    }
}

fn read(path: &Path) -> CertificateFile {
    let facts = tls::certificates(path)
        .and_then(|chain| chain.iter().map(|it| facts(it)).collect::<Result<_, _>>());
    CertificateFile {
        path: path.display().to_string(),
        certificates: facts,
    }
}

fn facts(der: &[u8]) -> Result<CertificateFacts, String> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| format!("not a certificate: {error}"))?;
    let ms = |seconds: i64| Timestamp(u64::try_from(seconds).unwrap_or_default() * 1000);
    let validity = certificate.validity();
    let text = |time: ASN1Time| {
        let time = time.to_datetime();
        let (hour, minute, second) = time.to_hms();
        format!("{} {hour}:{minute:02}:{second:02}", time.date())
    };
    Ok(CertificateFacts {
        subject: distinguished_name(certificate.subject()),
        issuer: distinguished_name(certificate.issuer()),
        serial_number: certificate.raw_serial_as_string(),
        not_before: ms(validity.not_before.timestamp()),
        not_before_text: text(validity.not_before),
        not_after: ms(validity.not_after.timestamp()),
        not_after_text: text(validity.not_after),
        names: alternative_names(&certificate),
    })
}
