//! What a client's certificate says: the user that it stands for (E11, `ssl_cert_login_from` and its companions), and what
//! listings tell of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use leveret_broker::connections::PeerCertificate;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Where in a certificate the name is.
#[expect(clippy::enum_variant_names, reason = "these are RabbitMQ's words")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LoginFrom {
    #[default]
    DistinguishedName,
    CommonName,
    SubjectAlternativeName,
}

/// Which kind of alternative name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SanType {
    #[default]
    Dns,
    Ip,
    Email,
    Uri,
    OtherName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CertificateLogin {
    pub(crate) from: LoginFrom,
    pub(crate) san_type: SanType,
    /// From 0, among the alternative names of that kind.
    pub(crate) san_index: usize,
}

impl CertificateLogin {
    /// Nothing when the certificate has no such name.
    pub(crate) fn user(&self, certificate: &[u8]) -> Option<String> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let name = match self.from {
            LoginFrom::DistinguishedName => distinguished_name(certificate.subject()),
            LoginFrom::CommonName => common_names(certificate.subject()),
            LoginFrom::SubjectAlternativeName => self.alternative_name(&certificate)?,
        };
        Some(name).filter(|name| !name.is_empty())
    }

    fn alternative_name(&self, certificate: &X509Certificate<'_>) -> Option<String> {
        let extension = certificate.subject_alternative_name().ok()??;
        let names = extension.value.general_names.iter();
        names
            .filter_map(|name| self.of_kind(name))
            .nth(self.san_index)
    }

    fn of_kind(&self, name: &GeneralName<'_>) -> Option<String> {
        match (self.san_type, name) {
            (SanType::Dns, GeneralName::DNSName(name))
            | (SanType::Email, GeneralName::RFC822Name(name))
            | (SanType::Uri, GeneralName::URI(name)) => Some((*name).to_owned()),
            (SanType::Ip, GeneralName::IPAddress(octets)) => address(octets),
            (SanType::OtherName, GeneralName::OtherName(_, value)) => {
                // An explicit tag around a string.
                let (_, outer) = x509_parser::der_parser::der::parse_der(value).ok()?;
                let inner = outer.as_slice().ok()?;
                let (_, text) = x509_parser::der_parser::der::parse_der(inner).ok()?;
                text.as_str().ok().map(str::to_owned)
            }
            _ => None,
        }
    }
}

/// What listings and events tell of a client's certificate. Nothing of what is none.
pub(crate) fn peer(certificate: &[u8]) -> Option<PeerCertificate> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    Some(PeerCertificate {
        subject: distinguished_name(certificate.subject()),
        issuer: distinguished_name(certificate.issuer()),
        serial_number: format!("{:X}", certificate.serial),
        validity: [validity.not_before, validity.not_after]
            .map(moment)
            .join(" - "),
    })
}

fn moment(time: ASN1Time) -> String {
    let time = time.to_datetime();
    let (hour, minute, second) = time.to_hms();
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", time.date())
}

/// The names and addresses of a host that a certificate is for.
pub(crate) fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let shown = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => address(octets),
        _ => None,
    };
    let names = extension.value.general_names.iter();
    names.filter_map(shown).collect()
}

fn address(octets: &[u8]) -> Option<String> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).to_string());
    }
    let octets = <[u8; 16]>::try_from(octets).ok()?;
    Some(Ipv6Addr::from(octets).to_string())
}

/// RFC 4514: the most specific part first, with RabbitMQ's names for the types.
pub(crate) fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter()
        .map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(",")
}

/// Several are joined, as RabbitMQ does it.
fn common_names(name: &X509Name<'_>) -> String {
    let names: Vec<&str> = name
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .collect();
    names.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let kind = KINDS
        .iter()
        .find(|(known, _)| *known == oid)
        .map_or(oid.as_str(), |(_, short)| *short);
    format!("{kind}={}", escaped(attribute.as_str().unwrap_or_default()))
}

const KINDS: [(&str, &str); 17] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
];

/// RFC 4514, section 2.4.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (index, c) in value.chars().enumerate() {
        let special = ",+\"\\<>;".contains(c);
        let edge = (index == 0 && " #".contains(c)) || (index == last && c == ' ');
        if special || edge {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use leveret_broker::connections::PEER_FIELDS;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType as San};

    use super::*;

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(0x0ACD_0001.into());
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2061, 11, 30);
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = &mut params.distinguished_name;
        name.push(DnType::CountryName, "NL");
        name.push(DnType::OrganizationName, "Hares, Inc.");
        name.push(DnType::CommonName, " alice");
        params.subject_alt_names = vec![
            San::DnsName("a.example".try_into().unwrap()),
            San::DnsName("b.example".try_into().unwrap()),
            San::Rfc822Name("alice@example".try_into().unwrap()),
            San::URI("urn:alice".try_into().unwrap()),
            San::IpAddress(Ipv4Addr::new(10, 0, 0, 1).into()),
            San::IpAddress(Ipv6Addr::LOCALHOST.into()),
            San::OtherName((vec![1, 3, 6, 1], "other alice".to_owned().into())),
        ];
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn what_is_told_of_a_certificate() {
        let peer = peer(&certificate()).unwrap();
        let told = PEER_FIELDS.map(|(_, field)| field(&peer));
        let name = "CN=\\ alice,O=Hares\\, Inc.,C=NL";
        let validity = "2026-01-02T00:00:00Z - 2061-11-30T00:00:00Z";
        assert_eq!(told, [name, name, "ACD0001", validity]);
        assert_eq!(super::peer(b"nonsense"), None);
    }

    #[test]
    fn the_name_is_where_the_configuration_says() {
        let certificate = certificate();
        let check = |from, san_type, san_index, expected: Option<&str>| {
            let login = CertificateLogin {
                from,
                san_type,
                san_index,
            };
            let expected = expected.map(str::to_owned);
            assert_eq!(login.user(&certificate), expected, "{login:?}");
        };
        use LoginFrom::{CommonName, DistinguishedName, SubjectAlternativeName as San};
        use SanType::{Dns, Email, Ip, OtherName, Uri};
        check(
            DistinguishedName,
            Dns,
            0,
            Some("CN=\\ alice,O=Hares\\, Inc.,C=NL"),
        );
        check(CommonName, Dns, 0, Some(" alice"));
        check(San, Dns, 0, Some("a.example"));
        check(San, Dns, 1, Some("b.example"));
        check(San, Dns, 2, None);
        check(San, Email, 0, Some("alice@example"));
        check(San, Uri, 0, Some("urn:alice"));
        check(San, Ip, 0, Some("10.0.0.1"));
        check(San, Ip, 1, Some("::1"));
        check(San, OtherName, 0, Some("other alice"));
        assert_eq!(CertificateLogin::default().user(b"nonsense"), None);
    }
}
