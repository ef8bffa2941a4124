//! Certificates that end, or can't be told when.

use super::*;

const DAY_MS: u64 = 86_400_000;

/// A node with an HTTPS listener whose certificate ends in ten days.
fn world(change: impl FnOnce(&mut CertificateFacts)) -> World {
    let now = 1_000_000;
    let mut own = CertificateFacts {
        subject: "CN=here".to_owned(),
        issuer: "CN=authority".to_owned(),
        serial_number: "01:02".to_owned(),
        not_before: Timestamp(now - 1),
        not_after: Timestamp(now + 10 * DAY_MS),
        not_before_text: "1970-01-01 0:16:39".to_owned(),
        not_after_text: "1970-01-11 0:16:40".to_owned(),
        names: vec!["localhost".to_owned()],
    };
    change(&mut own);
    let listener = ListenerCertificates {
        protocol: "https",
        ip: "::".to_owned(),
        port: 15671,
        own: Some(CertificateFile {
            path: "server.pem".to_owned(),
            certificates: Ok(vec![own]),
        }),
        authorities: Some(CertificateFile {
            path: "ca.pem".to_owned(),
            certificates: Ok(Vec::new()),
        }),
    };
    World::with(|options| {
        options.operations = Box::new(operations::Still::with_certificates(vec![listener]));
    })
}

#[test]
fn a_certificate_that_ends_soon_is_unhealthy() {
    world(|_| {}).check(
        r#"
        GET /api/health/checks/certificate-expiration/9/days
        200 {"status":"ok"}
        GET /api/health/checks/certificate-expiration/1/weeks
        200 {"status":"ok"}
        GET /api/health/checks/certificate-expiration/1/Months
        503 {"expired":[{"cacertfile":"ca.pem","cacertfile_expires_on":[],"certfile":"server.pem","certfile_expires_on":["1970-01-11 0:16:40"],"interface":"::","node":...
        GET /api/health/checks/certificate-expiration/99999999999999999/years
        503 ...
        GET /api/health/checks/certificate-expiration/x/days
        400 {"error":"bad_request","reason":"Invalid expiration value."}
        GET /api/health/checks/certificate-expiration/1/hours
        400 {"error":"bad_request","reason":"Time unit not recognised. Supported units: days, weeks, months, years."}
        "#,
    );
    let early = world(|own| own.not_before = Timestamp(2_000_000));
    let seen = early.ask("GET /api/health/checks/certificate-expiration/1/days");
    assert!(
        seen.body.contains("Certificate is not yet valid"),
        "{seen:?}"
    );
}

#[test]
fn certificates_are_shown_to_administrators() {
    world(|_| {}).check(
        r#"
        GET /api/leveret/certificates
        200 [{"cacertfile":{"certificates":[],"path":"ca.pem"},"certfile":{"certificates":[{"issuer":"CN=authority","names":["localhost"],"not_after":865000000,"not_after_text":"1970-01-11 0:16:40","not_before":999999,"not_before_text":"1970-01-01 0:16:39","serial_number":"01:02","subject":"CN=here"}],"path":"server.pem"},"ip":"::","port":15671,"protocol":"https"}]
        "#,
    );
}
