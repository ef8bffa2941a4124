//! Policies: arguments for many queues and exchanges at once, by pattern, changed while they live.
//!
//! One policy of users and one of operators apply to an object at a time, each the one of highest priority that matches.
//! Where both set a key they are merged, and where an argument says something else there is a rule for each key
//! (RabbitMQ: the page "Policies", and the table of arguments in "Queues").

use std::sync::Arc;

use crate::exchange::printed;
use crate::queue::Kind;
use crate::table::{Table, Value};
use crate::users::Pattern;

/// Who sets a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `policy`.
    User,
    /// `operator_policy`: bounds what users may set.
    Operator,
}

/// Which objects a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyTo {
    All,
    Exchanges,
    Queues,
    ClassicQueues,
    QuorumQueues,
    Streams,
}

impl ApplyTo {
    const ALL: [Self; 6] = [
        Self::All,
        Self::Exchanges,
        Self::Queues,
        Self::ClassicQueues,
        Self::QuorumQueues,
        Self::Streams,
    ];

    /// RabbitMQ's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Exchanges => "exchanges",
            Self::Queues => "queues",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
        }
    }

    /// What that word means.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    fn covers(self, object: Object<'_>) -> bool {
        match (self, object) {
            (Self::All, _)
            | (Self::Exchanges, Object::Exchange(_))
            | (Self::Queues, Object::Queue(..))
            | (Self::ClassicQueues, Object::Queue(_, Kind::Classic))
            | (Self::QuorumQueues, Object::Queue(_, Kind::Quorum))
            | (Self::Streams, Object::Queue(_, Kind::Stream)) => true,
            (
                Self::Exchanges
                | Self::Queues
                | Self::ClassicQueues
                | Self::QuorumQueues
                | Self::Streams,
                _,
            ) => false,
        }
    }
}

/// Something that a policy may match.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Object<'a> {
    Exchange(&'a str),
    Queue(&'a str, Kind),
}

/// A policy of one vhost.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub name: Arc<str>,
    pub pattern: Pattern,
    pub apply_to: ApplyTo,
    /// The highest of those that match applies; of equal ones the first by name.
    pub priority: i64,
    /// Keys and their values.
    pub definition: Table,
}

impl Policy {
    /// Whether it is for `object`. Not if it has a key that this type of queue can't follow: then the next one applies.
    fn matches(&self, object: Object<'_>) -> bool {
        let (Object::Exchange(name) | Object::Queue(name, _)) = object;
        let follows = |key| match object {
            Object::Exchange(_) => true,
            Object::Queue(_, kind) => !unsupported(kind).contains(&key),
        };
        self.apply_to.covers(object)
            && self.definition.iter().all(|(key, _)| follows(key))
            && self.pattern.matches(name)
    }
}

fn unsupported(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Classic => &[
            "max-age",
            "stream-max-segment-size-bytes",
            "initial-cluster-size",
            "delivery-limit",
            "dead-letter-strategy",
            "max-in-memory-length",
            "max-in-memory-bytes",
            "target-group-size",
        ],
        Kind::Quorum => &[
            "queue-mode",
            "max-age",
            "stream-max-segment-size-bytes",
            "initial-cluster-size",
        ],
        Kind::Stream => &[
            "expires",
            "message-ttl",
            "dead-letter-exchange",
            "dead-letter-routing-key",
            "dead-letter-strategy",
            "max-length",
            "max-in-memory-length",
            "max-in-memory-bytes",
            "max-priority",
            "overflow",
            "queue-mode",
            "delivery-limit",
            "target-group-size",
            "consumer-timeout",
        ],
    }
}

/// The policies that apply to one object.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    pub user: Option<Arc<Policy>>,
    pub operator: Option<Arc<Policy>>,
}

impl Applied {
    /// Those of `user` and `operator` policies, in any order, that apply to `object`.
    pub(crate) fn find<'a>(
        object: Object<'_>,
        user: impl Iterator<Item = &'a Arc<Policy>>,
        operator: impl Iterator<Item = &'a Arc<Policy>>,
    ) -> Self {
        Self {
            user: first(object, user),
            operator: first(object, operator),
        }
    }

    /// The very same policies, not only equal ones.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let same = |a: &Option<Arc<Policy>>, b: &Option<Arc<Policy>>| match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        same(&self.user, &other.user) && same(&self.operator, &other.operator)
    }

    /// What both say together (`effective_policy_definition`), by key.
    pub fn definition(&self) -> Table {
        let of = |policy: &Option<Arc<Policy>>| {
            let policy = policy.as_ref();
            policy.map_or_else(Table::new, |policy| policy.definition.clone())
        };
        let (user, operator) = (of(&self.user), of(&self.operator));
        let mut keys: Vec<&str> = user
            .iter()
            .chain(operator.iter())
            .map(|(key, _)| key)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys.iter()
            .filter_map(|key| {
                let value = match (user.get(key), operator.get(key)) {
                    (Some(user), Some(operator)) => bounded(key, user, operator),
                    (Some(one), None) | (None, Some(one)) => one,
                    (None, None) => return None,
                };
                Some((Box::from(*key), value.clone()))
            })
            .collect()
    }

    /// What they say about one key.
    pub fn value(&self, key: &str) -> Option<Value> {
        let of = |policy: &Option<Arc<Policy>>| {
            policy
                .as_ref()
                .and_then(|policy| policy.definition.get(key).cloned())
        };
        match (of(&self.user), of(&self.operator)) {
            (Some(user), Some(operator)) => Some(bounded(key, &user, &operator).clone()),
            (user, operator) => user.or(operator),
        }
    }
}

fn first<'a>(
    object: Object<'_>,
    policies: impl Iterator<Item = &'a Arc<Policy>>,
) -> Option<Arc<Policy>> {
    let matching = policies.filter(|policy| policy.matches(object));
    matching
        .max_by(|a, b| (a.priority, &b.name).cmp(&(b.priority, &a.name)))
        .cloned()
}

/// The value in force where a user's policy and an operator's set the same key.
fn bounded<'a>(key: &str, user: &'a Value, operator: &'a Value) -> &'a Value {
    match key {
        "delivery-limit" => lower_limit(user, operator),
        "target-group-size" | "delayed-retry-min" => higher(user, operator),
        "overflow" | "delayed-retry-type" | "member-placement-tag" => operator,
        _ => lower(user, operator),
    }
}

/// The arguments in force: those of the declaration and what policies say, by the rule of each key. Keys without an
/// argument of the same meaning have no effect on one node.
pub(crate) fn merged(kind: Kind, arguments: &Table, applied: &Applied) -> Table {
    let mut merged = arguments.clone();
    for (key, value) in applied.definition().iter() {
        let name = format!("x-{key}");
        let value = match arguments.get(&name) {
            None => value,
            Some(argument) => match key {
                _ if kind == Kind::Stream => value,
                "message-ttl"
                | "expires"
                | "max-length"
                | "max-length-bytes"
                | "consumer-timeout"
                | "consumer-disconnected-timeout"
                | "delayed-retry-min"
                | "delayed-retry-max" => lower(argument, value),
                "delivery-limit" => lower_limit(argument, value),
                "overflow" if kind == Kind::Classic => argument,
                "dead-letter-exchange" | "dead-letter-routing-key" | "dead-letter-strategy" => {
                    argument
                }
                _ => value,
            },
        };
        merged.insert(name, value.clone());
    }
    merged
}

fn lower<'a>(a: &'a Value, b: &'a Value) -> &'a Value {
    if b.as_i64() < a.as_i64() { b } else { a }
}

fn higher<'a>(a: &'a Value, b: &'a Value) -> &'a Value {
    if b.as_i64() > a.as_i64() { b } else { a }
}

/// The lower of two limits where a negative one means that there is none. RabbitMQ takes the higher one then.
fn lower_limit<'a>(a: &'a Value, b: &'a Value) -> &'a Value {
    let is_open = |value: &Value| value.as_i64().is_some_and(|limit| limit < 0);
    if is_open(a) || is_open(b) {
        higher(a, b)
    } else {
        lower(a, b)
    }
}

/// A key that a definition may have: who may set it, what it may hold, and what RabbitMQ calls it in a refusal.
struct Key {
    name: &'static str,
    is_operators: bool,
    accepts: fn(&Value) -> bool,
    what: &'static str,
}

const fn key(name: &'static str, accepts: fn(&Value) -> bool, what: &'static str) -> Key {
    Key {
        name,
        is_operators: false,
        accepts,
        what,
    }
}

/// One that operators may set too.
const fn bound(name: &'static str, accepts: fn(&Value) -> bool, what: &'static str) -> Key {
    Key {
        is_operators: true,
        ..key(name, accepts, what)
    }
}

const KEYS: &[Key] = &[
    key("alternate-exchange", text, "alternate exchange name"),
    key("dead-letter-exchange", text, "dead letter exchange name"),
    key("dead-letter-routing-key", text, "dead letter routing key"),
    key(
        "dead-letter-strategy",
        |value| matches!(value.as_str(), Some("at-most-once" | "at-least-once")),
        "dead letter strategy",
    ),
    bound("message-ttl", |value| at_least(value, 0), "message TTL"),
    bound("expires", |value| at_least(value, 1), "queue expiry"),
    bound("max-length", |value| at_least(value, 0), "maximum length"),
    bound(
        "max-length-bytes",
        |value| at_least(value, 0),
        "maximum length in bytes",
    ),
    bound(
        "max-in-memory-length",
        |value| at_least(value, 0),
        "maximum memory in bytes",
    ),
    bound(
        "max-in-memory-bytes",
        |value| at_least(value, 0),
        "maximum memory in bytes",
    ),
    bound(
        "overflow",
        |value| {
            let known = ["drop-head", "reject-publish", "reject-publish-dlx"];
            value.as_str().is_some_and(|text| known.contains(&text))
        },
        "overflow value",
    ),
    bound("delivery-limit", is_integer, "delivery limit"),
    bound(
        "target-group-size",
        |value| at_least(value, 1),
        "target group size",
    ),
    bound(
        "consumer-timeout",
        |value| at_least(value, 0),
        "consumer timeout",
    ),
    bound(
        "consumer-disconnected-timeout",
        |value| at_least(value, 0),
        "consumer disconnected timeout",
    ),
    bound(
        "delayed-retry-type",
        |value| {
            let known = ["disabled", "all", "failed", "returned"];
            value.as_str().is_some_and(|text| known.contains(&text))
        },
        "delayed retry type",
    ),
    bound(
        "delayed-retry-min",
        |value| at_least(value, 1),
        "delayed retry min",
    ),
    bound(
        "delayed-retry-max",
        |value| at_least(value, 1),
        "delayed retry max",
    ),
    bound("member-placement-tag", text, "member placement tag"),
    key(
        "queue-mode",
        |value| matches!(value.as_str(), Some("default" | "lazy")),
        "queue-mode value",
    ),
    bound(
        "queue-version",
        |value| matches!(value.as_i64(), Some(1 | 2)),
        "queue-version value",
    ),
    key(
        "queue-leader-locator",
        |value| {
            let known = ["client-local", "balanced", "random", "least-leaders"];
            value.as_str().is_some_and(|text| known.contains(&text))
        },
        "queue leader locator value",
    ),
    key(
        "initial-cluster-size",
        |value| at_least(value, 0),
        "cluster size",
    ),
    key("max-age", text, "max age"),
    key(
        "stream-max-segment-size-bytes",
        |value| at_least(value, 0),
        "segment size",
    ),
    key(
        "stream-filter-size-bytes",
        |value| {
            value
                .as_i64()
                .is_some_and(|size| (16..=255).contains(&size))
        },
        "filter size",
    ),
    key("federation-upstream", text, "federation upstream name"),
    key(
        "federation-upstream-set",
        text,
        "federation upstream set name",
    ),
    key(
        "federation-upstream-pattern",
        text,
        "federation upstream pattern",
    ),
];

/// Whether a policy may have this definition; the error is RabbitMQ's explanation.
pub fn check_definition(scope: Scope, definition: &Table) -> Result<(), String> {
    if definition.is_empty() {
        return Err("no policy provided".to_owned());
    }
    let mut strangers = Vec::new();
    for (name, value) in definition.iter() {
        if name == "queue-master-locator" {
            return Err(
                "use of deprecated queue-master-locator argument is not permitted".to_owned(),
            );
        }
        let known = KEYS.iter().find(|key| key.name == name);
        match known.filter(|key| key.is_operators || scope == Scope::User) {
            Some(key) if (key.accepts)(value) => {}
            Some(key) => return Err(format!("{} is not a valid {}", printed(value), key.what)),
            None => strangers.push(format!("{{<<{name:?}>>,{}}}", printed(value))),
        }
    }
    if strangers.is_empty() {
        return Ok(());
    }
    let strangers = strangers.join(",");
    Err(format!("[{strangers}] are not recognised policy settings"))
}

fn text(value: &Value) -> bool {
    value.as_str().is_some()
}

fn is_integer(value: &Value) -> bool {
    value.as_i64().is_some()
}

fn at_least(value: &Value, least: i64) -> bool {
    value.as_i64().is_some_and(|n| n >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(pairs: &[(&str, Value)]) -> Table {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (Box::from(*name), value.clone()))
            .collect()
    }

    fn applied(user: &[(&str, Value)], operator: &[(&str, Value)]) -> Applied {
        let policy = |definition: &[(&str, Value)]| {
            (!definition.is_empty()).then(|| {
                Arc::new(Policy {
                    name: "p".into(),
                    pattern: Pattern::new(".*"),
                    apply_to: ApplyTo::All,
                    priority: 0,
                    definition: table(definition),
                })
            })
        };
        Applied {
            user: policy(user),
            operator: policy(operator),
        }
    }

    /// RABBITMQ: the table of arguments and policy keys; one line per rule.
    #[test]
    fn every_key_has_its_rule_of_precedence() {
        let check = |kind, key: &str, argument: Value, policy: Value, expected: Value| {
            let arguments = table(&[(&format!("x-{key}"), argument)]);
            let merged = merged(kind, &arguments, &applied(&[(key, policy)], &[]));
            assert_eq!(merged.get(&format!("x-{key}")), Some(&expected), "{key}");
        };
        let (n, s) = (Value::I64, |s: &str| Value::String(s.as_bytes().into()));
        for key in ["message-ttl", "expires", "max-length", "max-length-bytes"] {
            check(Kind::Classic, key, n(5), n(9), n(5));
            check(Kind::Quorum, key, n(9), n(5), n(5));
        }
        let (a, b) = ("drop-head", "reject-publish");
        check(Kind::Classic, "overflow", s(a), s(b), s(a));
        check(Kind::Quorum, "overflow", s(a), s(b), s(b));
        check(Kind::Quorum, "dead-letter-exchange", s("a"), s("b"), s("a"));
        check(Kind::Quorum, "delivery-limit", n(5), n(9), n(5));
        check(Kind::Quorum, "delivery-limit", n(5), n(-1), n(5));
        check(Kind::Quorum, "delivery-limit", n(-1), n(9), n(9));
        check(
            Kind::Quorum,
            "delayed-retry-type",
            s("all"),
            s("failed"),
            s("failed"),
        );
        check(Kind::Quorum, "delayed-retry-min", n(5), n(9), n(5));
        check(Kind::Quorum, "consumer-timeout", n(5), n(0), n(0));
    }

    #[test]
    fn operators_bound_what_users_set() {
        let check = |key: &str, user: Value, operator: Value, expected: Value| {
            let applied = applied(&[(key, user)], &[(key, operator)]);
            assert_eq!(applied.value(key), Some(expected.clone()), "{key}");
            assert_eq!(applied.definition().get(key), Some(&expected), "{key}");
        };
        let (n, s) = (Value::I64, |s: &str| Value::String(s.as_bytes().into()));
        check("max-length", n(5), n(9), n(5));
        check("max-length", n(9), n(5), n(5));
        check(
            "overflow",
            s("drop-head"),
            s("reject-publish"),
            s("reject-publish"),
        );
        check("target-group-size", n(3), n(5), n(5));
        check("delayed-retry-min", n(3), n(5), n(5));
        check("delayed-retry-max", n(3), n(5), n(3));
        check("delivery-limit", n(-1), n(5), n(5));
    }

    #[test]
    fn definitions_are_refused_in_rabbitmqs_words() {
        let check = |scope, definition: &[(&str, Value)], expected: &str| {
            let refused = check_definition(scope, &table(definition)).unwrap_err();
            assert_eq!(refused, expected);
        };
        let (n, s) = (Value::I64, |s: &str| Value::String(s.as_bytes().into()));
        check(Scope::User, &[], "no policy provided");
        check(
            Scope::User,
            &[("max-length", s("many"))],
            "<<\"many\">> is not a valid maximum length",
        );
        check(
            Scope::User,
            &[("max-length", n(1)), ("max-lenght", n(1)), ("x", s("y"))],
            "[{<<\"max-lenght\">>,1},{<<\"x\">>,<<\"y\">>}] are not recognised policy settings",
        );
        check(
            Scope::Operator,
            &[("alternate-exchange", s("x"))],
            "[{<<\"alternate-exchange\">>,<<\"x\">>}] are not recognised policy settings",
        );
        check(
            Scope::User,
            &[("queue-master-locator", s("min-masters"))],
            "use of deprecated queue-master-locator argument is not permitted",
        );
        let fine = table(&[("message-ttl", n(0)), ("overflow", s("drop-head"))]);
        assert_eq!(check_definition(Scope::Operator, &fine), Ok(()));
    }

    #[test]
    fn the_highest_priority_that_matches_applies() {
        let policy = |name: &str, pattern, priority, apply_to, key: &str| {
            Arc::new(Policy {
                name: name.into(),
                pattern: Pattern::new(pattern),
                apply_to,
                priority,
                definition: table(&[(key, Value::I64(1))]),
            })
        };
        let policies = [
            policy("low", ".*", 0, ApplyTo::All, "max-length"),
            policy("high", "^a", 9, ApplyTo::Queues, "max-length"),
            policy("twin", "^b", 5, ApplyTo::Queues, "max-length"),
            policy("other twin", "^b", 5, ApplyTo::Queues, "max-length"),
            policy("quorum", "^c", 9, ApplyTo::QuorumQueues, "max-length"),
            policy("unfit", "^d", 9, ApplyTo::All, "delivery-limit"),
        ];
        let check = |object, expected| {
            let applied = Applied::find(object, policies.iter(), std::iter::empty());
            let name = applied.user.map(|policy| policy.name.clone());
            assert_eq!(name.as_deref(), Some(expected), "{object:?}");
        };
        check(Object::Queue("a", Kind::Classic), "high");
        check(Object::Exchange("a"), "low");
        check(Object::Queue("b", Kind::Classic), "other twin");
        check(Object::Queue("c", Kind::Classic), "low");
        check(Object::Queue("c", Kind::Quorum), "quorum");
        check(Object::Queue("d", Kind::Classic), "low");
        check(Object::Queue("d", Kind::Quorum), "unfit");
    }
}
