//! The certificates of the node's listeners, and whether they last.

use serde_json::{Value, json};

use super::health::{failed, passed};
use crate::answer::{Answer, Failure, Reply};
use crate::call::Call;
use crate::options::{CertificateFacts, CertificateFile, ListenerCertificates};

const DAY_MS: u64 = 86_400_000;

/// A path of ours: each listener with TLS, what it shows and whom it trusts. Times are ms since 1970.
pub(crate) fn list(call: &Call<'_>) -> Reply {
    let listeners = call.management.options.operations.certificates();
    let all: Vec<Value> = listeners.iter().map(shown).collect();
    Ok(Answer::value(&all.into()))
}

fn shown(listener: &ListenerCertificates) -> Value {
    json!({
        "protocol": listener.protocol,
        "ip": listener.ip,
        "port": listener.port,
        "certfile": listener.own.as_ref().map(file),
        "cacertfile": listener.authorities.as_ref().map(file),
    })
}

fn file(file: &CertificateFile) -> Value {
    match &file.certificates {
        Err(error) => json!({"path": file.path, "error": error}),
        Ok(certificates) => {
            let certificates: Vec<Value> = certificates.iter().map(certificate).collect();
            json!({"path": file.path, "certificates": certificates})
        }
    }
}

fn certificate(it: &CertificateFacts) -> Value {
    json!({
        "subject": it.subject,
        "issuer": it.issuer,
        "serial_number": it.serial_number,
        "not_before": it.not_before.0,
        "not_before_text": it.not_before_text,
        "not_after": it.not_after.0,
        "not_after_text": it.not_after_text,
        "names": it.names,
    })
}

/// A health check: no listener has a certificate that ends within that time.
pub(crate) fn check_expiration(call: &Call<'_>) -> Reply {
    let until = call.now.plus_ms(within_ms(call)?).0;
    let listeners = call.management.options.operations.certificates();
    let ends_soon = |file: &Option<CertificateFile>| ending(file.as_ref(), call.now.0, until);
    let expired: Vec<Value> = listeners
        .iter()
        .filter_map(|listener| {
            let (own, authorities) = (ends_soon(&listener.own), ends_soon(&listener.authorities));
            let path = |file: &Option<CertificateFile>| file.as_ref().map(|it| it.path.clone());
            (!own.is_empty() || !authorities.is_empty()).then(|| {
                json!({
                    "node": call.broker().options.node_name,
                    "protocol": listener.protocol,
                    "interface": listener.ip,
                    "port": listener.port,
                    "certfile": path(&listener.own),
                    "cacertfile": path(&listener.authorities),
                    "certfile_expires_on": own,
                    "cacertfile_expires_on": authorities,
                })
            })
        })
        .collect();
    if expired.is_empty() {
        return Ok(passed());
    }
    let details = json!({ "expired": expired });
    Ok(failed("Certificates expiring", details))
}

fn within_ms(call: &Call<'_>) -> Result<u64, Failure> {
    let count = call.parameter("within").parse::<u64>();
    let count = count.map_err(|_| Failure::bad_request("Invalid expiration value."))?;
    // A month is the twelfth part of a year of 365 days.
    let unit_ms = match call.parameter("unit").to_lowercase().as_str() {
        "days" => DAY_MS,
        "weeks" => 7 * DAY_MS,
        "months" => 365 * DAY_MS / 12,
        "years" => 365 * DAY_MS,
        _ => {
            return Err(Failure::bad_request(
                "Time unit not recognised. Supported units: days, weeks, months, years.",
            ));
        }
    };
    Ok(count.saturating_mul(unit_ms))
}

/// When certificates of a file end that do so before `until`. A file that can't be read or is not valid yet is as bad.
fn ending(file: Option<&CertificateFile>, now: u64, until: u64) -> Vec<String> {
    let Some(file) = file else {
        return Vec::new();
    };
    match &file.certificates {
        Err(error) => vec![error.clone()],
        Ok(certificates) => {
            let wrong = |it: &CertificateFacts| match it {
                it if it.not_before.0 > now => Some("Certificate is not yet valid".to_owned()),
                it if it.not_after.0 < until => Some(it.not_after_text.clone()),
                _ => None,
            };
            certificates.iter().filter_map(wrong).collect()
        }
    }
}
