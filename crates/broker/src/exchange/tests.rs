use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::properties::PropertiesBuf;

fn queue(id: u32) -> Destination {
    Destination::Queue(QueueId(id))
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().collect()
}

fn none() -> Table {
    Table::new()
}

fn with_headers(headers: &Table) -> Vec<u8> {
    let headers = Some(headers.clone());
    PropertiesBuf {
        headers,
        ..Default::default()
    }
    .encode()
}

fn router(kind: Kind) -> Router {
    Router::new(kind, &none()).unwrap()
}

/// The destinations of one message, which must come out once each, in order.
fn route(router: &Router, key: &str, properties: &[u8], random: u64) -> Vec<Destination> {
    let before = queue(u32::MAX);
    let mut out = vec![before, before];
    let key = key.as_bytes();
    router.route(
        &Route {
            key,
            properties,
            random,
        },
        &mut out,
    );
    let mut found = out.split_off(2);
    assert_eq!(out, [before, before], "what was there before stays");
    found.sort_unstable();
    assert!(found.is_sorted_by(|a, b| a < b), "{found:?} has duplicates");
    found
}

/// Each message, given by routing key and headers, reaches just these queues.
fn check(kind: Kind, bindings: &[(u32, &str, Table)], messages: &[(&str, Table, &[u32])]) {
    let mut router = router(kind);
    for (id, key, arguments) in bindings {
        assert!(router.bind(queue(*id), key.as_bytes(), arguments));
    }
    for (key, headers, reached) in messages {
        let reached: Vec<_> = reached.iter().copied().map(queue).collect();
        let found = route(&router, key, &with_headers(headers), 0);
        assert_eq!(found, reached, "key {key:?}, headers {headers:?}");
    }
}

/// The refusal's text; empty for a binding that is allowed.
fn check_binding(kind: Kind, key: &str, arguments: Table, to: Option<queue::Kind>, text: &str) {
    let result = kind.check_binding(key.as_bytes(), &arguments, to);
    assert_eq!(
        result
            .err()
            .map_or(String::new(), |error| error.to_string()),
        text
    );
}

fn check_exchange(kind: Kind, arguments: Table, text: &str) {
    let result = Router::new(kind, &arguments);
    assert_eq!(
        result
            .err()
            .map_or(String::new(), |error| error.to_string()),
        text
    );
}

#[test]
fn kinds_have_names() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
        assert_eq!(router(kind).kind(), kind);
    }
    assert_eq!(Kind::from_name("x-delayed-message"), None);
}

#[test]
fn some_kinds_may_be_remembered() {
    let remembered = Kind::ALL
        .into_iter()
        .filter(|&kind| router(kind).is_cacheable());
    let expected = [
        Kind::Direct,
        Kind::Fanout,
        Kind::Topic,
        Kind::ConsistentHash,
        Kind::ModulusHash,
    ];
    assert_eq!(remembered.collect::<Vec<_>>(), expected);
}

/// Routers are read by all threads that publish.
#[test]
fn routers_can_be_shared() {
    fn check<T: Send + Sync>(_: T) {}
    check(router(Kind::RecentHistory));
}

#[test]
fn direct_compares_keys() {
    let bindings = [
        (1, "a", none()),
        (2, "a", none()),
        (2, "b", none()),
        (3, "", none()),
    ];
    let messages: [(&str, Table, &[u32]); 4] = [
        ("a", none(), &[1, 2]),
        ("b", none(), &[2]),
        ("", none(), &[3]),
        ("a.b", none(), &[]),
    ];
    check(Kind::Direct, &bindings, &messages);
}

#[test]
fn fanout_ignores_keys() {
    let bindings = [(1, "a", none()), (1, "b", none()), (2, "", none())];
    check(
        Kind::Fanout,
        &bindings,
        &[("", none(), &[1, 2]), ("zzz", none(), &[1, 2])],
    );
}

#[test]
fn topic_patterns() {
    let patterns = [
        "#", "*", "a", "a.*", "a.#", "#.b", "*.b", "#.a.#", "a.#.c", "", "a.", "#.#",
    ];
    let bindings: Vec<_> = (0..).zip(patterns).map(|(id, p)| (id, p, none())).collect();
    let messages: [(&str, Table, &[u32]); 9] = [
        ("", none(), &[0, 9, 11]),
        ("a", none(), &[0, 1, 2, 4, 7, 11]),
        ("b", none(), &[0, 1, 5, 11]),
        ("a.b", none(), &[0, 3, 4, 5, 6, 7, 11]),
        ("a.c", none(), &[0, 3, 4, 7, 8, 11]),
        ("a.x.y.c", none(), &[0, 4, 7, 8, 11]),
        ("x.a.a.y", none(), &[0, 7, 11]),
        ("a.", none(), &[0, 3, 4, 7, 10, 11]),
        (".b", none(), &[0, 5, 6, 11]),
    ];
    check(Kind::Topic, &bindings, &messages);
}

#[test]
fn headers_modes() {
    let bindings = [
        (1, "", table([("a", 1.into()), ("b", "x".into())])),
        (
            2,
            "",
            table([
                ("x-match", "any".into()),
                ("a", 1.into()),
                ("b", "x".into()),
            ]),
        ),
        (3, "", none()),
        (4, "", table([("x-match", "any".into())])),
        (
            5,
            "",
            table([
                ("x-match", "all".into()),
                ("x-c", 1.into()),
                ("a", Value::Void),
            ]),
        ),
        (
            6,
            "",
            table([
                ("x-match", "all-with-x".into()),
                ("x-c", 1.into()),
                ("a", 1.into()),
            ]),
        ),
        (
            7,
            "",
            table([("x-match", "any-with-x".into()), ("x-c", Value::Void)]),
        ),
        (8, "", table([("x-match", "any".into()), ("x-c", 1.into())])),
    ];
    let messages: [(&str, Table, &[u32]); 8] = [
        ("", none(), &[3]),
        ("", table([("a", 1.into())]), &[2, 3, 5]),
        ("", table([("a", 2.into())]), &[3, 5]),
        ("", table([("a", Value::Void)]), &[3, 5]),
        ("", table([("b", "x".into())]), &[2, 3]),
        (
            "",
            table([("b", "x".into()), ("c", 3.into()), ("a", 1.into())]),
            &[1, 2, 3, 5],
        ),
        ("", table([("x-c", 1.into())]), &[3, 7]),
        (
            "",
            table([("x-c", 1.into()), ("a", 1.into())]),
            &[2, 3, 5, 6, 7],
        ),
    ];
    check(Kind::Headers, &bindings, &messages);
}

#[test]
fn headers_ignore_the_keys_of_bindings() {
    let mut router = router(Kind::Headers);
    let arguments = table([("a", 1.into())]);
    let properties = with_headers(&arguments);
    router.bind(queue(1), b"k", &arguments);
    router.bind(queue(1), b"l", &arguments);
    for (key, reached) in [("k", true), ("l", false)] {
        router.unbind(queue(1), key.as_bytes(), &arguments);
        assert_eq!(route(&router, "", &properties, 0) == [queue(1)], reached);
    }
}

#[test]
fn headers_compare_typed_values() {
    let octets = |text: &str| Value::Bytes(text.as_bytes().into());
    let wanted = [
        Value::I64(1),
        Value::F64(1.0),
        Value::from("1"),
        Value::Bool(true),
        Value::Timestamp(1),
        Value::Array(vec![Value::I32(1)]),
    ];
    let numbered = (0..).zip(wanted);
    let bindings: Vec<_> = numbered
        .map(|(id, value)| (id, "", table([("h", value)])))
        .collect();
    let messages: [(&str, Table, &[u32]); 11] = [
        ("", table([("h", Value::I8(1))]), &[0]),
        ("", table([("h", Value::U32(1))]), &[0]),
        ("", table([("h", Value::F32(1.0))]), &[1]),
        ("", table([("h", "1".into())]), &[2]),
        ("", table([("h", octets("1"))]), &[2]),
        ("", table([("h", true.into())]), &[3]),
        ("", table([("h", "true".into())]), &[]),
        ("", table([("h", Value::Timestamp(1))]), &[4]),
        ("", table([("h", Value::Array(vec![Value::I32(1)]))]), &[5]),
        ("", table([("h", Value::Array(vec![Value::I64(1)]))]), &[]),
        ("", table([("h", Value::Void)]), &[]),
    ];
    check(Kind::Headers, &bindings, &messages);
}

/// The first of several headers with one name counts, as everywhere else.
#[test]
fn headers_may_repeat() {
    let bindings = [
        (1, "", table([("a", 1.into())])),
        (2, "", table([("a", 2.into())])),
        (
            3,
            "",
            table([
                ("x-match", "any".into()),
                ("a", Value::Void),
                ("b", Value::Void),
            ]),
        ),
    ];
    let repeated = table([
        ("a", 1.into()),
        ("b", 1.into()),
        ("a", 2.into()),
        ("b", 2.into()),
    ]);
    check(Kind::Headers, &bindings, &[("", repeated, &[1, 3])]);
}

#[test]
fn unreadable_properties_have_no_headers() {
    let mut router = router(Kind::Headers);
    router.bind(queue(1), b"", &none());
    router.bind(queue(2), b"", &table([("a", Value::Void)]));
    for properties in [
        b"".as_slice(),
        b"\x20\x00",
        b"\x20\x00\xff\xff\xff\xff",
        b"\x20\x00\0\0\0\x01a",
    ] {
        assert_eq!(route(&router, "", properties, 0), [queue(1)]);
    }
}

#[test]
fn keys_are_short_strings() {
    for (len, allowed) in [(255, true), (256, false)] {
        let key = vec![b'a'; len];
        let result = Kind::Direct.check_binding(&key, &none(), None);
        assert_eq!(result.is_ok(), allowed);
    }
}

#[test]
fn refused_bindings() {
    use crate::queue::Kind::{Classic, Quorum};
    let c = Some(Classic);
    let x_match = |value: Value| table([("x-match", value)]);
    let cases = [
        (Kind::Topic, "#.a.#", none(), c, ""),
        (
            Kind::Topic,
            "#.a.#.#",
            none(),
            c,
            "Topic binding key '#.a.#.#' uses 3 '#' wildcards, at most 2 are allowed",
        ),
        (Kind::Direct, "#.a.#.#", none(), c, ""),
        (Kind::Headers, "", none(), c, ""),
        (Kind::Headers, "", x_match("any-with-x".into()), None, ""),
        (
            Kind::Headers,
            "",
            x_match("some".into()),
            c,
            "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x",
        ),
        (
            Kind::Headers,
            "",
            x_match(5.into()),
            c,
            "Invalid x-match field type signedint (value 5); expected longstr",
        ),
        (Kind::ConsistentHash, "1", none(), c, ""),
        (Kind::ConsistentHash, "10000", none(), c, ""),
        (
            Kind::ConsistentHash,
            "",
            none(),
            c,
            "The binding key must be an integer: <<>>",
        ),
        (
            Kind::ConsistentHash,
            "x",
            none(),
            c,
            "The binding key must be an integer: <<\"x\">>",
        ),
        (
            Kind::ConsistentHash,
            "0",
            none(),
            c,
            "The binding key must be greater than 0",
        ),
        (
            Kind::ConsistentHash,
            "-5",
            none(),
            c,
            "The binding key must be greater than 0",
        ),
        (
            Kind::ConsistentHash,
            "10001",
            none(),
            c,
            "The binding key must not be greater than 10000",
        ),
        (Kind::LocalRandom, "", none(), c, ""),
        (
            Kind::LocalRandom,
            "k",
            none(),
            c,
            "Non empty binding 'k' key not permitted",
        ),
        (
            Kind::LocalRandom,
            "",
            none(),
            Some(Quorum),
            "Queue type rabbit_quorum_queue not valid for this exchange type",
        ),
        (Kind::LocalRandom, "", none(), None, "Destination not found"),
    ];
    for (kind, key, arguments, to, text) in cases {
        check_binding(kind, key, arguments, to, text);
    }
}

#[test]
fn refused_exchanges() {
    let history = |value: Value| table([("x-recent-history-length", value)]);
    let length = |shown: &str| {
        format!("Invalid argument {shown}, 'x-recent-history-length' must be a positive integer")
    };
    let cases = [
        (Kind::RecentHistory, history(1.into()), String::new()),
        (Kind::RecentHistory, history(0.into()), length("0")),
        (Kind::RecentHistory, history(Value::I64(-1)), length("-1")),
        (
            Kind::RecentHistory,
            history("5".into()),
            length("<<\"5\">>"),
        ),
        (
            Kind::ConsistentHash,
            table([("hash-header", "h".into())]),
            String::new(),
        ),
        (
            Kind::ConsistentHash,
            table([("hash-property", "timestamp".into())]),
            String::new(),
        ),
        (
            Kind::ConsistentHash,
            table([("hash-property", "app_id".into())]),
            "Unsupported property: app_id".into(),
        ),
        (
            Kind::ConsistentHash,
            table([
                ("hash-property", "message_id".into()),
                ("hash-header", "h".into()),
            ]),
            "hash-header and hash-property are mutually exclusive".into(),
        ),
        (
            Kind::ConsistentHash,
            table([("hash-header", 1.into())]),
            "Invalid argument, 'hash-header' must be a string".into(),
        ),
    ];
    for (kind, arguments, text) in cases {
        check_exchange(kind, arguments, &text);
    }
}

/// How many of these messages each destination gets; none may be lost.
fn shares(
    router: &Router,
    messages: impl Iterator<Item = (String, Vec<u8>)>,
) -> BTreeMap<u32, u32> {
    let mut shares = BTreeMap::new();
    for (key, properties) in messages {
        let [Destination::Queue(id)] = route(router, &key, &properties, 0)[..] else {
            panic!("{key} does not go to one queue");
        };
        *shares.entry(id.0).or_default() += 1;
    }
    shares
}

fn keys() -> impl Iterator<Item = String> {
    (0..10_000).map(|n| format!("order.{n}"))
}

#[test]
fn consistent_hash_shares_by_weight() {
    let mut router = router(Kind::ConsistentHash);
    for (id, weight) in [(1, "1"), (2, "2"), (3, "1"), (4, "4"), (4, "9")] {
        assert!(router.bind(queue(id), weight.as_bytes(), &none()));
    }
    let shares = shares(&router, keys().map(|key| (key, Vec::new())));
    for (id, weight) in [(1, 1), (2, 2), (3, 1), (4, 4)] {
        let expected = 10_000 * weight / 8;
        assert!(shares[&id].abs_diff(expected) < expected / 10, "{shares:?}");
    }
}

#[test]
fn consistent_hash_moves_only_what_it_must() {
    let mut router = router(Kind::ConsistentHash);
    for id in 0..10 {
        router.bind(queue(id), format!("{}", id % 3 + 1).as_bytes(), &none());
    }
    let place =
        |router: &Router| -> Vec<_> { keys().map(|key| route(router, &key, b"", 0)).collect() };
    let before = place(&router);
    router.unbind(queue(4), b"2", &none());
    let without = place(&router);
    for (before, without) in before.iter().zip(&without) {
        assert!(*before == [queue(4)] || before == without);
        assert_ne!(*without, [queue(4)]);
    }
    router.bind(queue(4), b"2", &none());
    assert_eq!(place(&router), before);
}

#[test]
fn consistent_hash_weights_outlive_their_bindings() {
    let mut router = router(Kind::ConsistentHash);
    router.bind(queue(1), b"5", &none());
    router.bind(queue(1), b"7", &none());
    for (key, reached) in [("5", true), ("7", false)] {
        router.unbind(queue(1), key.as_bytes(), &none());
        assert_eq!(route(&router, "k", b"", 0) == [queue(1)], reached);
    }
}

#[test]
fn consistent_hash_keeps_the_first_weight() {
    let mut router = router(Kind::ConsistentHash);
    for (id, weight) in [(1, "9"), (1, "1"), (1, "5"), (2, "9")] {
        router.bind(queue(id), weight.as_bytes(), &none());
    }
    router.unbind(queue(1), b"5", &none());
    let shares = shares(&router, keys().map(|key| (key, Vec::new())));
    assert!(shares[&1].abs_diff(5_000) < 500, "{shares:?}");
}

/// Writes a value into the property that is hashed.
type Edit = fn(&mut PropertiesBuf, String);

#[test]
fn consistent_hash_of_headers_and_properties() {
    let of = |edit: Edit| {
        keys().map(move |value| {
            let mut properties = PropertiesBuf::default();
            edit(&mut properties, value);
            (String::new(), properties.encode())
        })
    };
    let spread: [(&str, &str, Edit); 4] = [
        ("hash-header", "h", |p, value| {
            p.headers_mut().insert("h", value.into())
        }),
        ("hash-property", "message_id", |p, value| {
            p.message_id = Some(value.into_bytes().into())
        }),
        ("hash-property", "correlation_id", |p, value| {
            p.correlation_id = Some(value.into_bytes().into());
        }),
        ("hash-property", "timestamp", |p, value| {
            p.timestamp = value[6..].parse().ok()
        }),
    ];
    for (argument, name, edit) in spread {
        let mut router =
            Router::new(Kind::ConsistentHash, &table([(argument, name.into())])).unwrap();
        router.bind(queue(1), b"1", &none());
        router.bind(queue(2), b"1", &none());
        assert!(!router.is_cacheable());
        let found = shares(&router, of(edit));
        assert!(
            found[&1].abs_diff(5_000) < 500,
            "{argument} {name}: {found:?}"
        );
        let without = shares(&router, keys().map(|key| (key, Vec::new())));
        assert_eq!(without.len(), 1, "messages without it stay together");
    }
}

#[test]
fn consistent_hash_of_a_number_ignores_its_width() {
    let mut router =
        Router::new(Kind::ConsistentHash, &table([("hash-header", "h".into())])).unwrap();
    (0..100).for_each(|id| assert!(router.bind(queue(id), b"1", &none())));
    let place = |value| route(&router, "", &with_headers(&table([("h", value)])), 0);
    assert_eq!(place(Value::I8(77)), place(Value::I64(77)));
    assert_ne!(place(Value::I8(77)), place(Value::I8(78)));
}

#[test]
fn modulus_hash_ignores_the_order_of_binding() {
    let (mut up, mut down) = (router(Kind::ModulusHash), router(Kind::ModulusHash));
    for id in 0..7 {
        up.bind(queue(id), b"", &none());
        down.bind(queue(6 - id), b"x", &none());
    }
    for key in keys() {
        assert_eq!(route(&up, &key, b"", 0), route(&down, &key, b"", 0));
    }
    let shares = shares(&up, keys().map(|key| (key, Vec::new())));
    assert!(
        shares
            .values()
            .all(|share| share.abs_diff(10_000 / 7) < 200),
        "{shares:?}"
    );
}

#[test]
fn random_reaches_every_destination() {
    for kind in [Kind::Random, Kind::LocalRandom] {
        let mut router = router(kind);
        (0..4).for_each(|id| assert!(router.bind(queue(id), b"", &none())));
        let quarters = (0..4).map(|quarter| route(&router, "k", b"", (quarter << 62) + 5));
        let reached: BTreeSet<_> = quarters.flatten().collect();
        assert_eq!(reached.len(), 4);
        assert_eq!(
            route(&router, "k", b"", u64::MAX),
            route(&router, "k", b"", 3 << 62)
        );
    }
}

#[test]
fn recent_history_keeps_the_last_messages() {
    let check = |arguments: Table, published: u32, kept: &[u32]| {
        let router = Router::new(Kind::RecentHistory, &arguments).unwrap();
        for n in 0..published {
            router.record(&Message::new(b"x", b"k", b"\0\0", &n.to_be_bytes()));
            let secret = with_headers(&table([("x-recent-history-no-store", true.into())]));
            router.record(&Message::new(b"x", b"k", &secret, b"secret"));
        }
        let history = router.history();
        let bodies: Vec<_> = history.iter().map(Message::body).collect();
        let kept: Vec<_> = kept.iter().map(|n| n.to_be_bytes()).collect();
        assert_eq!(bodies, kept);
    };
    check(none(), 0, &[]);
    check(none(), 22, &Vec::from_iter(2..22));
    check(
        table([("x-recent-history-length", Value::I64(2))]),
        5,
        &[3, 4],
    );
}

#[test]
fn other_kinds_have_no_history() {
    let router = router(Kind::Fanout);
    router.record(&Message::new(b"x", b"k", b"\0\0", b""));
    assert!(router.history().is_empty());
}

#[test]
fn identity_is_destination_key_and_arguments() {
    let mut router = router(Kind::Topic);
    let ab = table([("a", 1.into()), ("b", 2.into())]);
    let ba = table([("b", 2.into()), ("a", 1.into())]);
    assert!(router.bind(queue(1), b"k", &ab));
    assert!(
        !router.bind(queue(1), b"k", &ba),
        "the order of arguments does not count"
    );
    assert!(router.bind(queue(1), b"k", &table([("a", 1.into())])));
    assert!(router.bind(queue(1), b"l", &ab));
    assert!(router.bind(Destination::Exchange(ExchangeId(1)), b"k", &ab));
    assert_eq!(router.len(), 4);
    assert!(!router.unbind(queue(1), b"k", &none()));
    assert!(router.unbind(queue(1), b"k", &ba));
    assert_eq!(
        route(&router, "k", b"", 0).len(),
        2,
        "the other arguments still hold"
    );
    router.unbind_all(queue(1));
    assert_eq!(router.bindings().count(), 1);
    assert_eq!(
        route(&router, "k", b"", 0),
        [Destination::Exchange(ExchangeId(1))]
    );
}

/// A binding as the model keeps it.
type Bound = (Destination, &'static str, Table);

/// The destinations that a plain reading of the rules gives.
fn naive(kind: Kind, bound: &[Bound], key: &str, headers: &Table) -> BTreeSet<Destination> {
    let matches = |(_, pattern, arguments): &&Bound| match kind {
        Kind::Direct => *pattern == key,
        Kind::Topic => topic_matches(&words(pattern), &words(key)),
        Kind::Headers => headers_match(arguments, headers),
        _ => true,
    };
    bound
        .iter()
        .filter(matches)
        .map(|(destination, ..)| *destination)
        .collect()
}

pub(super) fn words(key: &str) -> Vec<&str> {
    if key.is_empty() {
        Vec::new()
    } else {
        key.split('.').collect()
    }
}

pub(super) fn topic_matches(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], key) => key.is_empty(),
        (["#", pattern @ ..], key) => (0..=key.len()).any(|n| topic_matches(pattern, &key[n..])),
        (["*", pattern @ ..], [_, key @ ..]) => topic_matches(pattern, key),
        ([a, pattern @ ..], [b, key @ ..]) => a == b && topic_matches(pattern, key),
        (_, []) => false,
    }
}

fn headers_match(arguments: &Table, headers: &Table) -> bool {
    let mode = arguments
        .get("x-match")
        .and_then(Value::as_str)
        .unwrap_or("all");
    let mut verdicts = arguments
        .iter()
        .filter(|(name, _)| {
            *name != "x-match" && (mode.ends_with("with-x") || !name.starts_with("x-"))
        })
        .map(|(name, value)| {
            headers
                .get(name)
                .is_some_and(|h| *value == Value::Void || h.equivalent(value))
        });
    if mode.starts_with("any") {
        verdicts.any(|yes| yes)
    } else {
        verdicts.all(|yes| yes)
    }
}

fn any_key() -> impl Strategy<Value = &'static str> {
    // Few words, so that patterns and keys meet; digits are the weights of a consistent hash exchange.
    prop::sample::select(
        &[
            "",
            "1",
            "2",
            "a",
            "b",
            ".",
            "a.",
            ".a",
            "a.b",
            "a.a",
            "a.b.a",
            "a.a.b.b",
            "b.a.b.a.b",
            "*",
            "#",
            "a.*",
            "*.b",
            "*.*",
            "a.#",
            "#.b",
            "#.a.#",
            "*.#",
            "#.*",
            "a.#.b",
            "#.#",
            "#.a.#.b.#",
            "#.*.#.*",
            "a.#.b.#",
            "*.#.a",
            "a.*.#.b",
            "#.a.b",
            "#.a.*.b.#",
        ][..],
    )
}

fn any_table() -> impl Strategy<Value = Table> {
    let name = prop::sample::select(&["a", "b", "x-a"][..]);
    let value = prop::sample::select(vec![Value::Void, Value::I8(1), Value::I64(1), "x".into()]);
    let modes = ["all", "any", "all-with-x", "any-with-x"].map(Some);
    let mode = prop::sample::select([modes.as_slice(), &[None]].concat());
    let entries = prop::collection::btree_map(name, value, 0..3);
    (entries, mode).prop_map(|(entries, mode)| {
        let mode = mode.map(|mode| ("x-match", mode.into()));
        entries.into_iter().chain(mode).collect()
    })
}

#[derive(Debug, Clone)]
enum Op {
    Bind(Bound),
    Unbind(Bound),
    UnbindAll(Destination),
    Route(&'static str, Table, u64),
}

fn any_op() -> impl Strategy<Value = Op> {
    let to = (any::<bool>(), 0..6u32).prop_map(|(exchange, id)| match exchange {
        true => Destination::Exchange(ExchangeId(id)),
        false => queue(id),
    });
    let bound = || (to.clone(), any_key(), any_table());
    prop_oneof![
        6 => bound().prop_map(Op::Bind),
        4 => bound().prop_map(Op::Unbind),
        1 => to.prop_map(Op::UnbindAll),
        4 => (any_key(), any_table(), any::<u64>()).prop_map(|(k, t, r)| Op::Route(k, t, r)),
    ]
}

fn same(a: &Bound, b: &Bound) -> bool {
    let entries = |table: &Table| -> BTreeMap<String, String> {
        table
            .iter()
            .map(|(name, value)| (name.into(), format!("{value:?}")))
            .collect()
    };
    (a.0, a.1, entries(&a.2)) == (b.0, b.1, entries(&b.2))
}

fn check_against_model(kind: Kind, ops: Vec<Op>) {
    let mut router = router(kind);
    let mut model: Vec<Bound> = Vec::new();
    for op in ops {
        match op {
            Op::Bind(bound) => {
                let known = model.iter().any(|other| same(other, &bound));
                assert_eq!(router.bind(bound.0, bound.1.as_bytes(), &bound.2), !known);
                if !known {
                    model.push(bound);
                }
            }
            Op::Unbind(bound) => {
                // Mostly one that exists, or nothing would ever be unbound.
                let at = model
                    .iter()
                    .position(|other| (other.0, other.1) == (bound.0, bound.1));
                let bound = at.map_or(bound, |at| model[at].clone());
                let known = router.unbind(bound.0, bound.1.as_bytes(), &bound.2);
                assert_eq!(known, at.is_some());
                model.retain(|other| !same(other, &bound));
            }
            Op::UnbindAll(destination) => {
                router.unbind_all(destination);
                model.retain(|(other, ..)| *other != destination);
            }
            Op::Route(key, headers, random) => {
                let found = route(&router, key, &with_headers(&headers), random);
                check_route(kind, &model, key, &headers, &found);
            }
        }
        assert_eq!(router.len(), model.len());
        let listed = |b: &Binding| {
            model.iter().any(|(to, key, arguments)| {
                *to == b.destination && key.as_bytes() == &*b.key && *arguments == b.arguments
            })
        };
        assert!(router.bindings().all(listed));
    }
}

fn check_route(kind: Kind, model: &[Bound], key: &str, headers: &Table, found: &[Destination]) {
    let expected = naive(kind, model, key, headers);
    match kind {
        Kind::Direct | Kind::Fanout | Kind::Topic | Kind::Headers | Kind::RecentHistory => {
            assert_eq!(
                found,
                Vec::from_iter(expected),
                "{key:?} {headers:?} in {model:?}"
            );
        }
        Kind::ConsistentHash => {
            let weighted =
                |(to, key, _): &&Bound| found == [*to] && hash::weight(key.as_bytes()).is_ok();
            assert!(found.is_empty() || model.iter().any(|bound| weighted(&bound)));
        }
        Kind::ModulusHash | Kind::Random | Kind::LocalRandom => {
            assert_eq!(found.len(), expected.len().min(1));
            assert!(found.iter().all(|to| expected.contains(to)));
        }
    }
}

proptest! {
    #[test]
    fn any_history_of_bindings_agrees_with_a_list(
        kind in prop::sample::select(&Kind::ALL[..]),
        ops in prop::collection::vec(any_op(), 0..80),
    ) {
        check_against_model(kind, ops);
    }
}
