//! Definitions out of one node and into another.

use super::*;

const SHOP: &str = r#"
    PUT /api/vhosts/shop {"description":"a shop","tags":["prod"]}
    201
    PUT /api/users/ann {"password":"secret","tags":"monitoring"}
    201
    PUT /api/user-limits/ann/max-connections {"value":3}
    204
    PUT /api/permissions/shop/ann {"configure":"","write":"","read":".*"}
    201
    PUT /api/topic-permissions/shop/ann {"exchange":"amq.topic","write":"^a","read":"^b"}
    201
    PUT /api/vhost-limits/shop/max-queues {"value":5}
    204
    PUT /api/policies/shop/short {"pattern":"^q","definition":{"max-length":9},"priority":1}
    201
    PUT /api/operator-policies/shop/cap {"pattern":"^q","definition":{"max-length":3},"apply-to":"queues"}
    201
    PUT /api/global-parameters/cluster_tags {"value":{"region":"north"}}
    201
    PUT /api/exchanges/shop/events {"type":"topic","arguments":{"alternate-exchange":"amq.fanout"}}
    201
    PUT /api/queues/shop/q {"arguments":{"x-queue-type":"quorum"}}
    201
    POST /api/bindings/shop/e/events/q/q {"routing_key":"a.#","arguments":{"n":1}}
    201
"#;

#[test]
fn what_is_exported_is_what_comes_of_an_import() {
    let first = World::with(|options| options.body_bytes_max = 100_000);
    first.check(SHOP);
    let exported = first.ask("GET /api/definitions");
    assert_eq!(exported.json()["rabbitmq_definition_format"], "cluster");

    let second = World::with(|options| options.body_bytes_max = 100_000);
    let imported = second.ask(&format!("POST /api/definitions {}", exported.body));
    assert_eq!(imported.status, 204, "{}", imported.body);
    assert_eq!(second.ask("GET /api/definitions").json(), exported.json());
    // A second time changes nothing.
    let again = second.ask(&format!(
        "POST /api/definitions?report=true {}",
        exported.body
    ));
    assert_eq!(again.json()["created"].get("queues"), None);
    assert_eq!(second.ask("GET /api/definitions").json(), exported.json());
}

#[test]
fn a_vhost_moves_under_another_name() {
    let world = World::with(|options| options.body_bytes_max = 100_000);
    world.check(SHOP);
    let exported = world.ask("GET /api/definitions/shop");
    assert!(!exported.body.contains("\"vhost\""), "{}", exported.body);
    world.check(
        r#"
        PUT /api/vhosts/copy {}
        201
        "#,
    );
    let imported = world.ask(&format!("POST /api/definitions/copy {}", exported.body));
    assert_eq!(imported.status, 204, "{}", imported.body);
    world.check(
        r#"
        GET /api/queues/copy?columns=name,type,policy
        200 [{"name":"q","type":"quorum","policy":"short"}]
        GET /api/bindings/copy/e/events/q/q?columns=routing_key,arguments
        200 [{"routing_key":"a.#","arguments":{"n":1}}]
        "#,
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = World::new();
    let before = world.ask("GET /api/definitions").json();
    world.check(
        r#"
        POST /api/definitions?dry_run=true {"users":[{"name":"guest","tags":[]}],"queues":[{"name":"q","vhost":"/"}]}
        200 {"changed":{"users":["guest"]},"counts":{"queues":{"changed":0,"created":1,"unchanged":0},"users":{"changed":1,"created":0,"unchanged":0}},"created":{"queues":["q in /"]},"unchanged":0}
        "#,
    );
    assert_eq!(world.ask("GET /api/definitions").json(), before);
}

#[test]
fn a_report_tells_new_from_known() {
    let world = World::with(|options| options.body_bytes_max = 100_000);
    world.check(SHOP);
    let exported = world.ask("GET /api/definitions").body;
    let again = world.ask(&format!("POST /api/definitions?report=true {exported}"));
    let report = again.json();
    let categories = report["counts"].as_object().unwrap();
    assert_eq!(categories.len(), 10, "{report}");
    for (category, counts) in categories {
        let changes = (&counts["created"], &counts["changed"]);
        assert_eq!(changes, (&0.into(), &0.into()), "{category}: {report}");
    }
    let other = exported
        .replace("secret", "")
        .replace("\"max-length\":9", "\"max-length\":8");
    let changed = world.ask(&format!("POST /api/definitions?report=true {other}"));
    assert_eq!(
        changed.json()["changed"],
        serde_json::json!({"policies": ["short in shop"]})
    );
}

#[test]
fn who_brings_a_vhost_may_use_it() {
    let world = World::new();
    world.check(
        r#"
        POST /api/definitions {"vhosts":[{"name":"v"},{"name":"w"}],"permissions":[{"user":"guest","vhost":"w","configure":"","write":"","read":"a"}]}
        204
        GET /api/permissions/v/guest
        200 {"user":"guest","vhost":"v","configure":".*","write":".*","read":".*"}
        GET /api/permissions/w/guest
        200 {"user":"guest","vhost":"w","configure":"","write":"","read":"a"}
        "#,
    );
}

#[test]
fn the_same_definitions_are_skipped() {
    let world = World::new();
    let ask = |definitions: &str| {
        let path = "/api/definitions?skip_if_unchanged=true&report=true";
        world.ask(&format!("POST {path} {definitions}")).json()
    };
    let [first, second] = [
        r#"{"vhosts":[{"name":"v"}]}"#,
        r#"{"vhosts":[{"name":"w"}]}"#,
    ];
    let skipped = serde_json::json!({"skipped": true});
    assert_ne!(ask(first), skipped);
    assert_eq!(ask(first), skipped);
    assert_ne!(ask(second), skipped);
    assert_ne!(ask(first), skipped, "only the last are remembered");
    world.check(
        r#"
        POST /api/definitions?skip_if_unchanged=true {"vhosts":[{"name":"v"}]}
        204
        DELETE /api/vhosts/v
        204
        POST /api/definitions {"vhosts":[{"name":"v"}]}
        204
        GET /api/vhosts/v?columns=name
        200 {"name":"v"}
        "#,
    );
    // Elsewhere they have not been taken in.
    let exported = world.ask("GET /api/definitions");
    assert!(!exported.body.contains("imported_definition_hash_value"));
}

#[test]
fn half_valid_definitions_change_nothing() {
    let world = World::new();
    let before = world.ask("GET /api/definitions").json();
    let check = |definitions: &str, reason: &str| {
        let answer = world.ask(&format!("POST /api/definitions {definitions}"));
        let expected = serde_json::json!({"error": "bad_request", "reason": reason});
        assert_eq!(
            (answer.status, answer.json()),
            (400, expected),
            "{definitions}"
        );
    };
    check("[]", "the definitions are not an object");
    check(
        r#"{"rabbitmq_version":"5.0.0"}"#,
        "definitions of RabbitMQ 5.0.0 are not understood",
    );
    // Each comes behind a vhost that would be new.
    for (rest, reason) in [
        (r#""queues":"none""#, "queues must be a list"),
        (
            r#""queues":[{"name":"q"}]"#,
            "queues[0]: [{key_missing,vhost}]",
        ),
        (
            r#""exchanges":[{"name":"x","vhost":"v","type":"odd"}]"#,
            "exchange 'x' in vhost 'v': precondition_failed: unknown exchange type 'odd'",
        ),
        (
            r#""queues":[{"name":"q","vhost":"w"}]"#,
            r#"Please create virtual host "w" prior to importing definitions."#,
        ),
        (
            r#""permissions":[{"user":"nobody","vhost":"v","configure":"","write":"","read":""}]"#,
            "permissions of user 'nobody' in vhost 'v': user 'nobody' not found",
        ),
        (
            r#""users":[{"name":"u","password_hash":"!","tags":""}]"#,
            "users[0]: password_hash is not base64",
        ),
        (
            r#""policies":[{"name":"p","vhost":"v","pattern":"a","definition":{"odd":1}}]"#,
            "Validation failed\n\n[{<<\"odd\">>,1}] are not recognised policy settings\n (vhost: \"v\" key: \"p\")",
        ),
        (
            r#""parameters":[{"name":"p","vhost":"v","component":"odd","value":{}}]"#,
            "Validation failed\n\ncomponent odd not found\n (vhost: \"v\" / component: \"odd\" / key: \"p\")",
        ),
        (
            r#""queues":[{"name":"q","vhost":"v","arguments":{"x-message-ttl":-1}}]"#,
            "precondition_failed: invalid arg 'x-message-ttl' for queue 'q' in vhost 'v': {value_negative,-1}",
        ),
        (
            r#""queues":[{"name":"q","vhost":"v","arguments":{"x-queue-type":"odd"}}]"#,
            "precondition_failed: invalid arg 'x-queue-type' for queue 'q' in vhost 'v': \"unsupported queue type 'odd'\"",
        ),
        (
            r#""parameters":[{"name":"l","vhost":"v","component":"vhost-limits","value":{"max-queues":1}}],
               "queues":[{"name":"a","vhost":"v"},{"name":"b","vhost":"v"}]"#,
            "queue 'b' in vhost 'v': precondition_failed: cannot declare queue 'b': queue limit in vhost 'v' (1) is reached",
        ),
        (
            r#""queues":[{"name":"q","vhost":"v"}],
               "bindings":[{"vhost":"v","source":"amq.topic","destination":"r","destination_type":"queue"}]"#,
            "binding of exchange 'amq.topic' to queue 'r' in vhost 'v': no queue 'r' in vhost 'v'",
        ),
        (
            r#""exchanges":[{"name":"x","vhost":"v","type":"x-consistent-hash"}],
               "queues":[{"name":"q","vhost":"v"}],
               "bindings":[{"vhost":"v","source":"x","destination":"q","destination_type":"queue","routing_key":"much"}]"#,
            "binding of exchange 'x' to queue 'q' in vhost 'v': precondition_failed: The binding key must be an integer: <<\"much\">>",
        ),
    ] {
        check(&format!(r#"{{"vhosts":[{{"name":"v"}}],{rest}}}"#), reason);
    }
    assert_eq!(world.ask("GET /api/definitions").json(), before);
}

#[test]
fn who_has_the_definitions_is_not_sent_them_again() {
    let world = World::new();
    let seen = world.ask("GET /api/definitions");
    let tag = seen.headers[header::ETAG].to_str().unwrap();
    let encoded = BASE64.encode("guest:guest");
    let builder = Request::builder()
        .uri("/api/definitions")
        .header(header::AUTHORIZATION, format!("Basic {encoded}"))
        .header(header::IF_NONE_MATCH, tag);
    assert_eq!(world.send(builder, "").status, 304);
}
