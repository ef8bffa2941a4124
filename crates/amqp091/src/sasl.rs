//! Logging in: the SASL mechanisms and what their responses say. RABBITMQ: "Access Control", mechanisms.

use leveret_broker::table::{Table, Value};

/// A mechanism that the server can offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    AmqPlain,
    Anonymous,
    /// The client's certificate says who it is (E11); for clients that have shown one.
    External,
}

impl Mechanism {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::Anonymous => "ANONYMOUS",
            Self::External => "EXTERNAL",
        }
    }

    /// The mechanism of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Plain, Self::AmqPlain, Self::Anonymous, Self::External]
            .into_iter()
            .find(|known| known.name() == name)
    }
}

/// What a client says to be.
#[derive(PartialEq, Eq)]
pub(crate) enum Credentials {
    Password { user: String, password: String },
    Anonymous,
    Certificate,
}

/// Reads a response; `None` when it is malformed.
pub(crate) fn read(mechanism: Mechanism, response: &[u8]) -> Option<Credentials> {
    match mechanism {
        Mechanism::Plain => plain(response),
        Mechanism::AmqPlain => amqplain(response),
        Mechanism::Anonymous => Some(Credentials::Anonymous),
        // What it may carry is a wish to be somebody else, which nobody is granted.
        Mechanism::External => Some(Credentials::Certificate),
    }
}

/// RFC 4616: authorization identity, user and password, with a NUL before each of the last two. Like RabbitMQ we know
/// no identity to act as but one's own.
fn plain(response: &[u8]) -> Option<Credentials> {
    let text = std::str::from_utf8(response).ok()?;
    let (user, password) = text.strip_prefix('\0')?.split_once('\0')?;
    Some(Credentials::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

/// A field table without its length, with `LOGIN` and `PASSWORD`.
fn amqplain(response: &[u8]) -> Option<Credentials> {
    let table = Table::decode(response).ok()?;
    let text = |name| table.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Credentials::Password {
        user: text("LOGIN")?,
        password: text("PASSWORD")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mechanism: Mechanism, response: &[u8], expected: Option<(&str, &str)>) {
        let found = match read(mechanism, response) {
            Some(Credentials::Password { user, password }) => Some((user, password)),
            Some(Credentials::Anonymous | Credentials::Certificate) => {
                Some((String::new(), String::new()))
            }
            None => None,
        };
        let expected = expected.map(|(user, password)| (user.to_owned(), password.to_owned()));
        assert_eq!(found, expected, "{}", response.escape_ascii());
    }

    #[test]
    fn responses() {
        check(
            Mechanism::Plain,
            b"\0guest\0secret",
            Some(("guest", "secret")),
        );
        check(Mechanism::Plain, b"\0guest\0", Some(("guest", "")));
        check(Mechanism::Plain, b"other\0guest\0secret", None);
        check(Mechanism::Plain, b"\0guest", None);
        check(Mechanism::Plain, b"", None);
        check(Mechanism::Plain, b"\0\xff\0x", None);
        check(
            Mechanism::AmqPlain,
            b"\x05LOGINS\0\0\0\x01a\x08PASSWORDS\0\0\0\x01b",
            Some(("a", "b")),
        );
        check(Mechanism::AmqPlain, b"\x05LOGINS\0\0\0\x01a", None);
        check(Mechanism::AmqPlain, b"\x05LOG", None);
        check(Mechanism::Anonymous, b"whatever", Some(("", "")));
        check(Mechanism::External, b"whatever", Some(("", "")));
    }
}
