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
        200 {"changed":{"users":["guest"]},"created":{"queues":["q in /"]},"unchanged":0}
        "#,
    );
    assert_eq!(world.ask("GET /api/definitions").json(), before);
}

#[test]
fn half_valid_definitions_change_nothing() {
    let world = World::new();
    let before = world.ask("GET /api/definitions").json();
    world.check(
        r#"
        POST /api/definitions []
        400 {"error":"bad_request","reason":"the definitions are not an object"}
        POST /api/definitions {"rabbitmq_version":"5.0.0"}
        400 {"error":"bad_request","reason":"definitions of RabbitMQ 5.0.0 are not understood"}
        POST /api/definitions {"vhosts":[{"name":"v"}],"queues":"none"}
        400 {"error":"bad_request","reason":"queues must be a list"}
        POST /api/definitions {"vhosts":[{"name":"v"}],"queues":[{"name":"q"}]}
        400 {"error":"bad_request","reason":"queues[0]: [{key_missing,vhost}]"}
        POST /api/definitions {"vhosts":[{"name":"v"}],"exchanges":[{"name":"x","vhost":"v","type":"odd"}]}
        400 {"error":"bad_request","reason":"exchanges[0]: unknown exchange type 'odd'"}
        POST /api/definitions {"vhosts":[{"name":"v"}],"queues":[{"name":"q","vhost":"w"}]}
        400 {"error":"bad_request","reason":"queues: vhost 'w' does not exist"}
        POST /api/definitions {"vhosts":[{"name":"v"}],"permissions":[{"user":"nobody","vhost":"v","configure":"","write":"","read":""}]}
        400 {"error":"bad_request","reason":"permissions: user 'nobody' does not exist"}
        POST /api/definitions {"vhosts":[{"name":"v"}],"users":[{"name":"u","password_hash":"!","tags":""}]}
        400 {"error":"bad_request","reason":"users[0]: password_hash is not base64"}
        POST /api/definitions {"vhosts":[{"name":"v"}],"policies":[{"name":"p","vhost":"v","pattern":"(","definition":{}}]}
        400 {"error":"bad_request","reason":"policies[0]: pattern is no regular expression"}
        "#,
    );
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
