//! AMQP URIs as RabbitMQ reads them: where a broker is, who logs in there, and how.

use percent_encoding::percent_decode_str;

/// `amqp://user:password@host:port/vhost?key=value`; everything but the scheme may be left out.
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    pub tls: bool,
    pub user: Option<Box<str>>,
    pub password: Option<Box<str>>,
    /// `None`: this node.
    pub host: Option<Box<str>>,
    pub port: u16,
    /// `None`: that of whoever uses the URI.
    pub vhost: Option<Box<str>>,
    parameters: Vec<(Box<str>, Box<str>)>,
    /// The text without name, password and parameters.
    shown: Box<str>,
}

/// Without the password.
impl std::fmt::Debug for Uri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

/// What others than the node may see of it: no name, no password, no parameters.
impl std::fmt::Display for Uri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Uri {
    /// Reads one. The error is RabbitMQ's explanation.
    pub fn read(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|why| format!("{text:?} not a valid URI: {{{{{why}}},{text:?}}}"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let malformed = |why: &str| format!("unable_to_parse_uri,{why:?}");
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| malformed("no scheme"))?;
        let tls = match scheme {
            "amqp" => false,
            "amqps" => true,
            other => return Err(format!("unexpected_uri_scheme,{other:?}")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, address) = match authority.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, authority),
        };
        let (user, password) = match credentials {
            Some(credentials) => match credentials.split_once(':') {
                Some((user, password)) => (Some(user), Some(password)),
                None => (Some(credentials), None),
            },
            None => (None, None),
        };
        let (host, port) = split_port(address).map_err(malformed)?;
        let decoded = |text: &str| decode(text).map_err(malformed);
        let parameters = query.split('&').filter(|pair| !pair.is_empty());
        let parameters = parameters.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(key)?, decoded(value)?))
        });
        let slash = if path.is_empty() { "" } else { "/" };
        Ok(Self {
            tls,
            user: user.map(decoded).transpose()?,
            password: password.map(decoded).transpose()?,
            host: (!host.is_empty()).then(|| host.into()),
            port: port.unwrap_or(if tls { 5671 } else { 5672 }),
            // By the letter `amqp://host/` means a virtual host without a name. Nobody has one, and many write that.
            vhost: (!path.is_empty()).then(|| decoded(path)).transpose()?,
            parameters: parameters.collect::<Result<_, String>>()?,
            shown: format!("{scheme}://{address}{slash}{path}").into(),
        })
    }

    /// What stands behind the `?` by this name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let (_, value) = parameters.find(|(key, _)| **key == *name)?;
        Some(value)
    }
}

/// `host`, `host:port`, `[::1]` or `[::1]:port`.
fn split_port(address: &str) -> Result<(&str, Option<u16>), &str> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("a [ without ]")?;
            (host, rest.strip_prefix(':'))
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = port.map(|port| port.parse().map_err(|_| "not a port"));
    Ok((host, port.transpose()?))
}

fn decode(text: &str) -> Result<Box<str>, &'static str> {
    let is_escape = |rest: &str| matches!(rest.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    // The decoder would take it for itself.
    if !text.split('%').skip(1).all(is_escape) {
        return Err("a % without two digits");
    }
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| "not UTF-8")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_read() {
        let check =
            |text: &str, expected: (Option<&str>, Option<&str>, u16, Option<&str>), shown| {
                let uri = Uri::read(text).unwrap();
                let found = (
                    uri.user.as_deref(),
                    uri.host.as_deref(),
                    uri.port,
                    uri.vhost.as_deref(),
                );
                assert_eq!(found, expected, "{text}");
                assert_eq!(uri.to_string(), shown);
                assert!(!format!("{uri:?}").contains("secret"));
            };
        check("amqp://", (None, None, 5672, None), "amqp://");
        check("amqp:///v", (None, None, 5672, Some("v")), "amqp:///v");
        check("amqps://h/", (None, Some("h"), 5671, None), "amqps://h");
        check(
            "amqp://u:secret@h:7/%2f?heartbeat=5",
            (Some("u"), Some("h"), 7, Some("/")),
            "amqp://h:7/%2f",
        );
        check("amqp://u:secret@", (Some("u"), None, 5672, None), "amqp://");
        check(
            "amqp://[::1]:7",
            (None, Some("::1"), 7, None),
            "amqp://[::1]:7",
        );
        let uri = Uri::read("amqp://u:p%40q@h?a=1&verify=verify_none").unwrap();
        assert_eq!(uri.password.as_deref(), Some("p@q"));
        assert_eq!(uri.parameter("verify"), Some("verify_none"));
        assert_eq!(uri.parameter("b"), None);
    }

    #[test]
    fn what_is_no_uri_is_explained() {
        let check = |text, expected: &str| {
            assert_eq!(Uri::read(text).unwrap_err(), expected);
        };
        check(
            "foo://",
            r#""foo://" not a valid URI: {{unexpected_uri_scheme,"foo"},"foo://"}"#,
        );
        check(
            "amqp://h:x/",
            r#""amqp://h:x/" not a valid URI: {{unable_to_parse_uri,"not a port"},"amqp://h:x/"}"#,
        );
        check(
            "amqp://h/%2",
            r#""amqp://h/%2" not a valid URI: {{unable_to_parse_uri,"a % without two digits"},"amqp://h/%2"}"#,
        );
        check(
            "amqp://h/%ff",
            r#""amqp://h/%ff" not a valid URI: {{unable_to_parse_uri,"not UTF-8"},"amqp://h/%ff"}"#,
        );
    }
}
