//! Definitions over HTTP: export, import, and a look at what an import would do.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::{HeaderValue, StatusCode, header};
use leveret_broker::broker::administration::Detail;
use serde_json::json;

use crate::answer::{Answer, Failure, Reply};
use crate::call::Call;
use crate::definitions::{self, How, ImportError, Repetition, report_json};

pub(crate) fn export(call: &Call<'_>) -> Reply {
    let options = &call.management.options;
    let document = definitions::cluster(call.broker(), options);
    Ok(download(call, document))
}

pub(crate) fn export_vhost(call: &Call<'_>) -> Reply {
    let vhost = call.vhost()?;
    let document = definitions::one_vhost(call.broker(), &call.management.options, vhost);
    Ok(download(call, document))
}

/// The document with its tag; nothing for who has it already (`If-None-Match`).
fn download(call: &Call<'_>, document: Vec<u8>) -> Answer {
    let mut hasher = DefaultHasher::new();
    document.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = call.header("if-none-match");
    let is_known = known.is_some_and(|known| known == "*" || known.contains(&tag));
    let tag = HeaderValue::from_str(&tag).expect("hexadecimal digits are ASCII");
    if is_known {
        return Answer::empty(StatusCode::NOT_MODIFIED).with(header::ETAG, tag);
    }
    let answer = Answer::json(document).with(header::ETAG, tag);
    match call.query.get("download").and_then(disposition) {
        Some(disposition) => answer.with(header::CONTENT_DISPOSITION, disposition),
        None => answer,
    }
}

/// The name that a browser is to save a file under. What could end the header or its quotes is left out.
fn disposition(name: &str) -> Option<HeaderValue> {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-_.@ ".contains(*c);
    let name: String = name.chars().filter(is_plain).collect();
    HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")).ok()
}

pub(crate) fn import(call: &Call<'_>) -> Reply {
    take_in(call, None)
}

pub(crate) fn import_vhost(call: &Call<'_>) -> Reply {
    take_in(call, Some(call.vhost()?))
}

/// With `dry_run=true` nothing is changed, and the answer says what would be; with `report=true` it says what was. With
/// `skip_if_unchanged=true` the same document is not taken in a second time.
fn take_in(call: &Call<'_>, vhost: Option<&str>) -> Reply {
    let document = document(call)?;
    let broker = call.broker();
    let is_dry = call.query.is_true("dry_run");
    let is_reported = is_dry || call.query.is_true("report");
    let how = How {
        vhost,
        by: call.internal_user(),
        repetition: match call.query.is_true("skip_if_unchanged") {
            true => Repetition::Skip,
            false => Repetition::TakeIn,
        },
        detail: match is_reported {
            true => Detail::Names,
            false => Detail::Counts,
        },
    };
    if is_dry {
        let report = definitions::preview(broker, &[document], &how)?;
        return Ok(Answer::value(&report_json(&report)));
    }
    let report = definitions::take_in(broker, &[document], &how, call.now)?;
    let answer = match &report {
        Some(report) if is_reported => Answer::value(&report_json(report)),
        None if is_reported => Answer::value(&json!({ "skipped": true })),
        _ => Answer::done(),
    };
    Ok(answer.after(report.and_then(|report| report.durable_at)))
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// The body, or the field `file` of a form.
fn document<'a>(call: &'a Call<'_>) -> Result<&'a [u8], Failure> {
    let content_type = call.header("content-type").unwrap_or_default();
    if !content_type.starts_with("multipart/form-data") {
        return Ok(call.body);
    }
    let boundary = content_type
        .split(';')
        .find_map(|part| part.trim().strip_prefix("boundary="))
        .map(|boundary| boundary.trim_matches('"'));
    boundary
        .and_then(|boundary| field(call.body, boundary, "file"))
        .ok_or_else(|| Failure::bad_request("the form has no field 'file'"))
}

/// A field of a form: what stands between an empty line and the next boundary (RFC 7578).
fn field<'a>(body: &'a [u8], boundary: &str, name: &str) -> Option<&'a [u8]> {
    let boundary = format!("--{boundary}");
    let wanted = format!("name=\"{name}\"");
    let mut rest = body;
    while let Some(start) = position(rest, boundary.as_bytes()) {
        rest = &rest[start + boundary.len()..];
        let head_end = position(rest, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&rest[..head_end]);
        let content = &rest[head_end + 4..];
        if head.contains(&wanted) {
            let end = position(content, format!("\r\n{boundary}").as_bytes())?;
            return Some(&content[..end]);
        }
        rest = content;
    }
    None
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_have_fields() {
        let form = b"--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n1\r\n--x\r\n\
                     Content-Disposition: form-data; name=\"file\"; filename=\"a.json\"\r\n\r\n{}\r\n--x--\r\n";
        assert_eq!(field(form, "x", "file"), Some(&b"{}"[..]));
        assert_eq!(field(form, "x", "nothing"), None);
        assert_eq!(field(form, "y", "file"), None);
        assert_eq!(field(b"--x", "x", "file"), None);
        assert_eq!(
            field(b"--x\r\nname=\"file\"\r\n\r\nrest", "x", "file"),
            None
        );
    }

    #[test]
    fn names_of_downloads_cannot_leave_their_header() {
        let value = disposition("a\r\nset-cookie: x\"; y.json").unwrap();
        assert_eq!(value, "attachment; filename=\"aset-cookie x y.json\"");
    }
}
