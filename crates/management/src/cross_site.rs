//! Requests that a web page of somebody else has a browser make.
//!
//! A browser that once asked for name and password sends them along with whatever a page elsewhere has it post. It says
//! where the page is from, and lets it send nothing but the forms of old without asking us first (a preflight, which is
//! answered for the origins of `management.cors.allow_origins` alone). Clients that are no browsers say nothing of the kind.
//!
//! And a page can have its own name lead to this machine (DNS rebinding): then it is at home here, and a browser on this
//! machine asks in its place. It knows no password but the one that everybody knows.

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, Method, Uri, header};

use crate::options::Cors;

/// What a form can be sent as, and what is sent without a preflight.
const FORMS: [&str; 3] = [
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/plain",
];

/// Whether a page of another origin has posted it, and nobody was asked first.
pub(crate) fn is_forged(head: &Parts, cors: &Cors) -> bool {
    head.method == Method::POST && is_form(&head.headers) && is_from_elsewhere(&head.headers, cors)
}

fn is_form(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let content_type = content_type.to_str().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    FORMS.iter().any(|form| essence.eq_ignore_ascii_case(form))
}

/// What newer browsers say themselves counts (`Sec-Fetch-Site`); else the page's origin is compared to where it asks.
fn is_from_elsewhere(headers: &HeaderMap, cors: &Cors) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    if cors.allows(origin) {
        return false;
    }
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin";
    }
    let origin = origin.to_str().unwrap_or_default();
    let asked = headers.get(header::HOST).and_then(|it| it.to_str().ok());
    let from = origin.split_once("://").map(|(_, authority)| authority);
    from.zip(asked)
        .is_none_or(|(from, asked)| !from.eq_ignore_ascii_case(asked))
}

/// Whether whoever asks on this machine may be a page that has come by DNS rebinding: it calls us by a name that anybody
/// could have in the public DNS. `node`: the name of this host.
pub(crate) fn may_be_rebound(head: &Parts, node: &str) -> bool {
    let asked = head.headers.get(header::HOST);
    let Some(asked) = asked.and_then(|asked| asked.to_str().ok()) else {
        return false;
    };
    let uri: Result<Uri, _> = asked.parse();
    let Some(host) = uri
        .ok()
        .and_then(|uri| uri.host().map(str::to_ascii_lowercase))
    else {
        return true;
    };
    !is_private(host.trim_end_matches('.'), node)
}

/// Addresses, and names that the public DNS has for nobody (RFC 6761, RFC 6762, `internal` by ICANN).
fn is_private(host: &str, node: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let top = host.rsplit_once('.').map(|(_, top)| top);
    address.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case(node)
        || top.is_none_or(|top| ["localhost", "local", "internal", "test"].contains(&top))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(method: Method, headers: &[(&str, &str)]) -> Parts {
        let request = Request::builder().method(method).uri("/api/definitions");
        let request = headers
            .iter()
            .fold(request, |it, (name, value)| it.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    const HERE: (&str, &str) = ("host", "mq.example:15672");
    const ELSEWHERE: (&str, &str) = ("origin", "https://evil.example");

    #[test]
    fn forms_of_other_pages_are_known() {
        let cors = Cors {
            origins: vec!["https://ui.example".to_owned()],
            max_age_s: 0,
        };
        let check = |headers: &[(&str, &str)], expected| {
            let headers = [&[HERE], headers].concat();
            let head = head(Method::POST, &headers);
            assert_eq!(is_forged(&head, &cors), expected, "{headers:?}");
        };
        for form in FORMS.into_iter().chain(["Text/Plain; charset=utf-8"]) {
            check(&[("content-type", form), ELSEWHERE], true);
            check(&[("content-type", form)], false);
        }
        check(&[ELSEWHERE], true);
        check(&[("origin", "null")], true);
        check(&[ELSEWHERE, ("sec-fetch-site", "cross-site")], true);
        check(&[ELSEWHERE, ("sec-fetch-site", "same-site")], true);
        // A proxy may have given us another name than the one the page knows.
        check(&[ELSEWHERE, ("sec-fetch-site", "same-origin")], false);
        check(&[("origin", "https://ui.example")], false);
        check(&[("origin", "http://MQ.example:15672")], false);
        check(&[("origin", "http://mq.example:8080")], true);
        // Only after a preflight.
        check(&[("content-type", "application/json"), ELSEWHERE], false);
        let put = head(Method::PUT, &[HERE, ELSEWHERE]);
        assert!(!is_forged(&put, &cors));
    }

    #[test]
    fn names_that_anybody_can_have_are_known() {
        let check = |host: &str, expected| {
            let head = head(Method::GET, &[("host", host)]);
            assert_eq!(
                may_be_rebound(&head, "mq.company.example"),
                expected,
                "{host}"
            );
        };
        for host in [
            "127.0.0.1:15672",
            "[::1]:15672",
            "localhost:15672",
            "LOCALHOST",
            "rabbitmq",
            "node.localhost",
            "mq.company.example:15672",
            "mq.local.",
        ] {
            check(host, false);
        }
        for host in [
            "evil.example",
            "localhost.evil.example:15672",
            "127.0.0.1.evil.example",
        ] {
            check(host, true);
        }
        assert!(!may_be_rebound(&head(Method::GET, &[]), "mq"));
    }
}
