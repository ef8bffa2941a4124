//! The scopes of a token (E08): `permission:vhost/name/key`, where each part may have wildcards and is percent-encoded. In
//! braces there can be the name of a claim, or `vhost`, for what these are.

use leveret_broker::authority::Question;
use leveret_broker::users::Access;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

/// What one scope grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    access: Access,
    vhost: Part,
    name: Part,
    /// Without it nothing is said of topics, and that is a no.
    key: Option<Part>,
}

impl Scope {
    /// A scope without its prefix; nothing when it grants no permission.
    pub(super) fn parse(text: &str, claims: &Value) -> Option<Self> {
        let (access, place) = text.split_once(':')?;
        let access = match access {
            "configure" => Access::Configure,
            "write" => Access::Write,
            "read" => Access::Read,
            _ => return None,
        };
        let parts: Vec<Part> = place
            .split('/')
            .map(|part| Part::new(&with_claims(part, claims)))
            .collect();
        let (vhost, name, key) = match parts.as_slice() {
            [vhost, name] => (vhost, name, None),
            [vhost, name, key] => (vhost, name, Some(key.clone())),
            _ => return None,
        };
        Some(Self {
            access,
            vhost: vhost.clone(),
            name: name.clone(),
            key,
        })
    }

    pub(super) fn grants(&self, question: &Question<'_>) -> bool {
        match *question {
            Question::Vhost { vhost } => self.vhost.matches(vhost, vhost),
            Question::Resource {
                vhost,
                name,
                access,
                ..
            } => self.is_for(access, vhost, name),
            Question::Topic {
                vhost,
                exchange,
                access,
                key,
            } => {
                let allows = |part: &Part| part.matches(key, vhost);
                self.is_for(access, vhost, exchange) && self.key.as_ref().is_some_and(allows)
            }
        }
    }

    fn is_for(&self, access: Access, vhost: &str, name: &str) -> bool {
        self.access == access && self.vhost.matches(vhost, vhost) && self.name.matches(name, vhost)
    }
}

/// Whether the text is like the pattern.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    Wildcard::new(pattern).matches(text)
}

const VHOST: &str = "{vhost}";

/// Puts in what claims that are texts say, to be taken literally. What names no such claim stays, without its braces.
fn with_claims(part: &str, claims: &Value) -> String {
    let mut out = String::new();
    let mut rest = part;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((name, behind)) = behind.split_once('}') else {
            break;
        };
        out.push_str(before);
        match claims[name].as_str() {
            _ if name == "vhost" => out.push_str(VHOST),
            Some(value) => out += &literal(value),
            None => out.push_str(name),
        }
        rest = behind;
    }
    out + rest
}

fn literal(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// One part of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Fixed(Wildcard),
    /// With [`VHOST`] in it.
    ByVhost(String),
}

impl Part {
    fn new(pattern: &str) -> Self {
        if pattern.contains(VHOST) {
            Self::ByVhost(pattern.to_owned())
        } else {
            Self::Fixed(Wildcard::new(pattern))
        }
    }

    fn matches(&self, text: &str, vhost: &str) -> bool {
        match self {
            Self::Fixed(wildcard) => wildcard.matches(text),
            Self::ByVhost(pattern) => matches(&pattern.replace(VHOST, &literal(vhost)), text),
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
    use serde_json::json;

    use super::*;

    #[test]
    fn wildcards() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
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
            let claims = json!({ "sub": "q", "team": "a*", "age": 7 });
            let scope_of = Scope::parse(scope, &claims);
            let granted = scope_of.is_some_and(|scope| scope.grants(&question));
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
        check("read:v/{sub}", queue(Access::Read, "q"), true);
        check("read:{vhost}/{vhost}-*", queue(Access::Read, "v-1"), true);
        check("read:{vhost}/{vhost}-*", queue(Access::Read, "w-1"), false);
        check("read:v/{team}", queue(Access::Read, "a*"), true);
        check("read:v/{team}", queue(Access::Read, "ab"), false);
        check("read:v/{age}", queue(Access::Read, "age"), true);
        check("read:v/{sub", queue(Access::Read, "q"), false);
        check("write:v/x", topic(Access::Write, "any.key"), false);
        check("write:v/x/*", topic(Access::Write, "any.key"), true);
        check("write:v/x/a.*", topic(Access::Write, "a.b"), true);
        check("write:v/x/a.*", topic(Access::Write, "b.a"), false);
        check("write:v/x/a.*", topic(Access::Read, "a.b"), false);
        check("write:v/x", Question::Vhost { vhost: "v" }, true);
        check("write:v/x", Question::Vhost { vhost: "w" }, false);
        for nonsense in [
            "",
            "read",
            "read:v",
            "own:v/q",
            "read:v/q/k/more",
            "tag:administrator",
        ] {
            check(nonsense, queue(Access::Read, "q"), false);
        }
    }
}
