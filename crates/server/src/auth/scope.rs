//! The scopes of a token (E08): `permission:vhost/name/key`, where each part may have wildcards and is percent-encoded.

use leveret_broker::authority::Question;
use leveret_broker::users::Access;
use percent_encoding::percent_decode_str;

/// What one scope grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    access: Access,
    vhost: Wildcard,
    name: Wildcard,
    key: Wildcard,
}

impl Scope {
    /// A scope without its prefix; nothing when it grants no permission.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (access, place) = text.split_once(':')?;
        let access = match access {
            "configure" => Access::Configure,
            "write" => Access::Write,
            "read" => Access::Read,
            _ => return None,
        };
        let mut parts = place.split('/');
        let mut next = || Wildcard::new(parts.next().unwrap_or("*"));
        let (vhost, name, key) = (next(), next(), next());
        parts.next().is_none().then_some(Self {
            access,
            vhost,
            name,
            key,
        })
    }

    pub(super) fn grants(&self, question: &Question<'_>) -> bool {
        match *question {
            Question::Vhost { vhost } => self.vhost.matches(vhost),
            Question::Resource {
                vhost,
                name,
                access,
                ..
            } => self.access == access && self.vhost.matches(vhost) && self.name.matches(name),
            Question::Topic {
                vhost,
                exchange,
                access,
                key,
            } => {
                self.access == access
                    && self.vhost.matches(vhost)
                    && self.name.matches(exchange)
                    && self.key.matches(key)
            }
        }
    }
}

/// The pieces between the `*`s, which stand for any text. A `*` to be taken literally is written `%2A`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wildcard(Vec<String>);

impl Wildcard {
    fn new(pattern: &str) -> Self {
        let decoded = |piece| percent_decode_str(piece).decode_utf8_lossy().into_owned();
        Self(pattern.split('*').map(decoded).collect())
    }

    /// The first piece has to stand at the front, the last at the end, and those between them in their order; the
    /// leftmost place of each leaves most to those that follow.
    fn matches(&self, text: &str) -> bool {
        let [first, between @ ..] = self.0.as_slice() else {
            return false;
        };
        let [between @ .., last] = between else {
            return text == first;
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for piece in between {
            match rest.split_once(piece.as_str()) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use leveret_broker::error::ResourceKind;

    use super::*;

    #[test]
    fn wildcards() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(
                Wildcard::new(pattern).matches(text),
                expected,
                "{pattern} {text}"
            );
        };
        check("*", "", true);
        check("*", "anything", true);
        check("", "", true);
        check("", "x", false);
        check("orders", "orders", true);
        check("orders", "orders-2", false);
        check("orders*", "orders-2", true);
        check("*-2", "orders-2", true);
        check("o*s*2", "orders-2", true);
        check("o*s*2", "orders-", false);
        check("a*a", "a", false);
        check("a*a", "aa", true);
        check("*ab*ab*", "xabyab", true);
        check("*ab*ab*", "xaby", false);
        check("%2F", "/", true);
        check("%2A", "*", true);
        check("%2A", "x", false);
        check("**", "x", true);
    }

    #[test]
    fn scopes_grant_what_they_say() {
        let check = |scope: &str, question: Question<'_>, expected: bool| {
            let granted = Scope::parse(scope).is_some_and(|scope| scope.grants(&question));
            assert_eq!(granted, expected, "{scope} {question:?}");
        };
        let queue = |access, name| Question::Resource {
            vhost: "v",
            kind: ResourceKind::Queue,
            name,
            access,
        };
        let topic = |access, key| Question::Topic {
            vhost: "v",
            exchange: "x",
            access,
            key,
        };
        check("read:v/q", queue(Access::Read, "q"), true);
        check("read:v/q", queue(Access::Read, "other"), false);
        check("read:v/q", queue(Access::Write, "q"), false);
        check("read:other/q", queue(Access::Read, "q"), false);
        check("configure:*/*", queue(Access::Configure, "q"), true);
        check("read:v", queue(Access::Read, "q"), true);
        check("write:v/x", topic(Access::Write, "any.key"), true);
        check("write:v/x/a.*", topic(Access::Write, "a.b"), true);
        check("write:v/x/a.*", topic(Access::Write, "b.a"), false);
        check("write:v/x/a.*", topic(Access::Read, "a.b"), false);
        check("write:v/x", Question::Vhost { vhost: "v" }, true);
        check("write:v/x", Question::Vhost { vhost: "w" }, false);
        for nonsense in [
            "",
            "read",
            "own:v/q",
            "read:v/q/k/more",
            "tag:administrator",
        ] {
            check(nonsense, queue(Access::Read, "q"), false);
        }
    }
}
