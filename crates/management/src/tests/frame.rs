//! What holds for every request: log-in, methods, headers, limits.

use super::*;

#[test]
fn paths_and_methods() {
    World::new().check(
        r#"
        GET /api/whoami
        200 {"is_internal_user":true,"name":"guest","tags":["administrator"]}
        GET /api/whoami/
        200 {"is_internal_user":true,"name":"guest","tags":["administrator"]}
        GET /api/nothing
        404 {"error":"Object Not Found","reason":"Not Found"}
        GET /elsewhere
        404 {"error":"Object Not Found","reason":"Not Found"}
        GET /api/%FF
        400 {"error":"bad_request","reason":"the path is not percent-encoded UTF-8"}
        PUT /api/whoami
        405 {"error":"Method Not Allowed","reason":"Method Not Allowed"}
        "#,
    );
    let world = World {
        user: None,
        ..World::new()
    };
    let seen = world.ask("OPTIONS /api/whoami");
    assert_eq!(seen.status, 200);
    assert_eq!(seen.headers[header::ALLOW], "HEAD, GET, OPTIONS");
}

#[test]
fn a_prefix_stands_before_every_path() {
    let world = World::with(|options| options.path_prefix = "/mq".to_owned());
    assert_eq!(world.ask("GET /mq/api/whoami").status, 200);
    assert_eq!(world.ask("GET /api/whoami").status, 404);
}

#[test]
fn whoever_is_not_known_waits_and_learns_nothing() {
    let mut world = World::new();
    let mut answers = Vec::new();
    for user in [("guest", "wrong"), ("nobody", "guest"), ("guest", "")] {
        world.user = Some(user);
        let seen = world.ask("GET /api/whoami");
        assert_eq!(seen.status, 401);
        assert_eq!(seen.not_before, Some(world.now.plus_ms(3000)));
        let realm = &seen.headers[header::WWW_AUTHENTICATE];
        assert_eq!(realm, "Basic realm=\"RabbitMQ Management\"");
        answers.push(seen.body);
    }
    answers.dedup();
    let expected = r#"{"error":"not_authorized","reason":"Not_Authorized"}"#;
    assert_eq!(answers, [expected]);
    assert_eq!(world.management.attempts.failed(), 3);

    // The default user may come from this machine only.
    world.user = Some(("guest", "guest"));
    world.caller = Caller::At("192.0.2.1".parse().unwrap());
    assert_eq!(world.ask("GET /api/whoami").status, 401);
    world.caller = Caller::At("::ffff:127.0.0.1".parse().unwrap());
    assert_eq!(world.ask("GET /api/whoami").status, 200);
}

#[test]
fn malformed_credentials_are_none() {
    let world = World::new();
    for value in [
        "Basic",
        "Basic !!!",
        "Basic Z3Vlc3Q=",
        "Bearer Z3Vlc3Q6Z3Vlc3Q=",
        "Basic /w==",
    ] {
        let builder = Request::builder()
            .uri("/api/whoami")
            .header(header::AUTHORIZATION, value);
        assert_eq!(world.send(builder, "").status, 401, "{value}");
    }
}

#[test]
fn other_origins_are_let_in_when_they_are_named() {
    let ask = |world: &World, method: &str| {
        let builder = Request::builder()
            .method(method)
            .uri("/api/version")
            .header(header::ORIGIN, "https://ui.example");
        world.send(builder, "").headers
    };
    let closed = World::new();
    let headers = ask(&closed, "GET");
    assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    assert_eq!(headers[header::CACHE_CONTROL], "no-cache");

    for allowed in ["*", "https://ui.example"] {
        let open = World::with(|options| {
            options.cors.origins = vec![allowed.to_owned()];
            options.cors.max_age_s = 60;
        });
        let headers = ask(&open, "OPTIONS");
        let origin = &headers[header::ACCESS_CONTROL_ALLOW_ORIGIN];
        assert_eq!(origin, "https://ui.example");
        assert_eq!(headers[header::ACCESS_CONTROL_MAX_AGE], "60");
        let methods = &headers[header::ACCESS_CONTROL_ALLOW_METHODS];
        assert_eq!(methods, "HEAD, GET, OPTIONS");
    }
    let other = World::with(|options| options.cors.origins = vec!["https://other".to_owned()]);
    assert!(!ask(&other, "GET").contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}

#[test]
fn whoever_runs_the_node_needs_no_password() {
    let world = World {
        user: None,
        caller: Caller::Operator,
        ..World::new()
    };
    world.check(
        r#"
        GET /api/whoami
        200 {"is_internal_user":true,"name":"rmq-cli","tags":["administrator"]}
        PUT /api/vhosts/shop {}
        201
        PUT /api/queues/shop/q {}
        201
        GET /api/queues?columns=name
        200 [{"name":"q"}]
        DELETE /api/queues/shop/q
        204
        GET /api/vhosts/shop/permissions
        200 []
        "#,
    );
}
