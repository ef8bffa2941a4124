//! `leveret dev-certs`: a certificate authority of one's own, for trying TLS on one machine. Its files have the names that
//! RabbitMQ's guide uses. Not for anything that others can reach: the authority's key lies beside what it signs.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::config::effective::{host_name, long_host_name};

/// As long as browsers and Apple's TLS take.
const DAYS: i64 = 825;

/// Writes six files into `directory`, which need not be there yet, and gives what to do with them. A file that is there is
/// never written over.
pub(crate) fn make(directory: &Path, user: &str) -> Result<String, String> {
    let shown = directory.display();
    fs::create_dir_all(directory).map_err(|error| format!("{shown}: {error}"))?;
    let failed = |error: rcgen::Error| format!("cannot make a certificate: {error}");
    let authority = authority().map_err(failed)?;
    let server = issue(&authority.issuer, server()).map_err(failed)?;
    let client = issue(&authority.issuer, client(user)).map_err(failed)?;
    let authority = (
        authority.certificate,
        authority.issuer.key().serialize_pem(),
    );
    for (name, (certificate, key)) in [("ca", authority), ("server", server), ("client", client)] {
        write(
            &directory.join(format!("{name}_certificate.pem")),
            &certificate,
            0o644,
        )?;
        write(&directory.join(format!("{name}_key.pem")), &key, 0o600)?;
    }
    Ok(format!(
        "certificates for {DAYS} days are in {shown}; the server's configuration:\n\n\
         listeners.ssl.default = 5671\n\
         ssl_options.cacertfile = {shown}/ca_certificate.pem\n\
         ssl_options.certfile = {shown}/server_certificate.pem\n\
         ssl_options.keyfile = {shown}/server_key.pem\n\
         ssl_options.verify = verify_peer\n\
         # with client_certificate.pem a client is '{user}' without a password\n\
         auth_mechanisms.1 = EXTERNAL\n\
         auth_mechanisms.2 = PLAIN\n\
         ssl_cert_login_from = common_name\n"
    ))
}

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Result<Authority, rcgen::Error> {
    let mut params = params("Leveret development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    Ok(Authority {
        certificate,
        issuer,
    })
}

fn server() -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(&host_name());
    let mut names = vec!["localhost".to_owned(), host_name(), long_host_name()];
    names.dedup();
    for name in names {
        params
            .subject_alt_names
            .push(SanType::DnsName(name.try_into()?));
    }
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    params
        .subject_alt_names
        .extend(addresses.map(SanType::IpAddress));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn client(user: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(user);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    // Clocks are not all the same.
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(DAYS);
    params.use_authority_key_identifier_extension = true;
    params
}

/// Certificate and key as PEM.
fn issue(
    issuer: &Issuer<'static, KeyPair>,
    params: Result<CertificateParams, rcgen::Error>,
) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let certificate = params?.signed_by(&key, issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("{}: {error}", path.display()))
}
