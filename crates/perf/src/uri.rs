//! AMQP URIs: where a broker is and who logs in.

use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// `amqp://user:password@host:port/vhost`; all but the host may be left out. As in every URI, `%2F` stands for a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uri {
    pub(crate) tls: bool,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) vhost: String,
}

impl FromStr for Uri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tls, rest) = match text.split_once("://") {
            Some(("amqp", rest)) => (false, rest),
            Some(("amqps", rest)) => (true, rest),
            _ => return Err("an AMQP URI starts with amqp:// or amqps://".to_owned()),
        };
        let rest = rest.split('?').next().unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, address) = authority.rsplit_once('@').unwrap_or(("guest", authority));
        let (user, password) = credentials
            .split_once(':')
            .unwrap_or((credentials, "guest"));
        let (host, port) = split_port(address)?;
        Ok(Self {
            tls,
            user: decode(user)?,
            password: decode(password)?,
            host: if host.is_empty() { "localhost" } else { host }.to_owned(),
            port: port.unwrap_or(if tls { 5671 } else { 5672 }),
            // By the letter `amqp://host/` means a virtual host without a name. Nobody has one, and many write that.
            vhost: if path.is_empty() {
                "/".to_owned()
            } else {
                decode(path)?
            },
        })
    }
}

/// `host`, `host:port`, `[::1]` or `[::1]:port`.
fn split_port(address: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("a `[` without `]`")?;
            (host, rest.strip_prefix(':'))
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = port.map(|port| port.parse().map_err(|_| format!("not a port: {port}")));
    Ok((host, port.transpose()?))
}

fn decode(text: &str) -> Result<String, String> {
    let is_escape = |rest: &str| matches!(rest.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    // The decoder would take it for itself.
    if !text.split('%').skip(1).all(is_escape) {
        return Err(format!("`%` without two digits in {text}"));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| format!("not UTF-8: {text}"))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, &str, &str, u16, &str), &str>) {
        let parsed = text.parse::<Uri>();
        let found = parsed.as_ref().map(|uri| {
            let Uri {
                user,
                password,
                host,
                port,
                vhost,
                ..
            } = uri;
            (&**user, &**password, &**host, *port, &**vhost)
        });
        assert_eq!(found.map_err(|error| &**error), expected, "{text}");
    }

    #[test]
    fn uris_are_read() {
        check("amqp://", Ok(("guest", "guest", "localhost", 5672, "/")));
        check("amqps://b", Ok(("guest", "guest", "b", 5671, "/")));
        check("amqp://a:b@c:1/d", Ok(("a", "b", "c", 1, "d")));
        check("amqp://c/", Ok(("guest", "guest", "c", 5672, "/")));
        check(
            "amqp://c/%2f?heartbeat=5",
            Ok(("guest", "guest", "c", 5672, "/")),
        );
        check(
            "amqp://[::1]:7/v%20w",
            Ok(("guest", "guest", "::1", 7, "v w")),
        );
        check("amqp://u%40x:p%3Aq@h", Ok(("u@x", "p:q", "h", 5672, "/")));
    }

    #[test]
    fn what_is_not_a_uri_is_named() {
        check(
            "localhost",
            Err("an AMQP URI starts with amqp:// or amqps://"),
        );
        check("amqp://a:b", Err("not a port: b"));
        check("amqp://[::1", Err("a `[` without `]`"));
        check("amqp://a/%2", Err("`%` without two digits in %2"));
        check("amqp://a/%ff", Err("not UTF-8: %ff"));
    }
}
