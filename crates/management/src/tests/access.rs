//! What a user may see and do.

use super::*;

/// A node with a user of each tag, all of whom may connect to `/` only.
fn world() -> World {
    let world = World::new();
    world.check(
        r#"
        PUT /api/vhosts/other {}
        201
        PUT /api/queues/other/hidden {}
        201
        PUT /api/queues/%2F/q {}
        201
        "#,
    );
    for tag in ["none", "management", "policymaker", "monitoring"] {
        let tags = if tag == "none" { "" } else { tag };
        let user = format!(r#"PUT /api/users/{tag} {{"password":"p","tags":"{tags}"}}"#);
        assert_eq!(world.ask(&user).status, 201);
        let permission = format!(
            r#"PUT /api/permissions/%2F/{tag} {{"configure":"^mine","write":"^mine","read":".*"}}"#
        );
        assert_eq!(world.ask(&permission).status, 201);
    }
    world
}

/// The status that each of the users gets.
#[track_caller]
fn check(world: &mut World, request: &str, expected: [(&'static str, u16); 4]) {
    for (user, status) in expected {
        world.user = Some((user, "p"));
        let seen = world.ask(request);
        assert_eq!(seen.status, status, "{request} by {user}: {}", seen.body);
    }
}

#[test]
fn tags_open_doors() {
    let mut world = world();
    let all = |none, management, policymaker, monitoring| {
        [
            ("none", none),
            ("management", management),
            ("policymaker", policymaker),
            ("monitoring", monitoring),
        ]
    };
    check(&mut world, "GET /api/whoami", all(401, 200, 200, 200));
    check(&mut world, "GET /api/overview", all(401, 200, 200, 200));
    check(&mut world, "GET /api/nodes", all(401, 401, 401, 200));
    check(&mut world, "GET /api/users", all(401, 401, 401, 401));
    check(&mut world, "GET /api/definitions", all(401, 401, 401, 401));
    check(&mut world, "GET /api/parameters", all(401, 401, 200, 401));
    check(&mut world, "GET /api/queues/%2F", all(401, 200, 200, 200));
    check(&mut world, "GET /api/queues/other", all(401, 401, 401, 401));
    check(
        &mut world,
        "GET /api/queues/nowhere",
        all(401, 404, 404, 404),
    );
    check(&mut world, "GET /api/policies/%2F", all(401, 200, 200, 200));
    let policy = r#"PUT /api/policies/%2F/p {"pattern":"a","definition":{"max-length":1}}"#;
    check(&mut world, policy, all(401, 401, 201, 401));
    let operator =
        r#"PUT /api/operator-policies/%2F/p {"pattern":"a","definition":{"max-length":1}}"#;
    check(&mut world, operator, all(401, 401, 401, 401));
    check(&mut world, "PUT /api/vhosts/new", all(401, 401, 401, 401));
}

#[test]
fn lists_hide_what_is_not_ones_own() {
    let mut world = world();
    let mut names = |user, path: &str| {
        world.user = Some((user, "p"));
        let list = world.ask(&format!("GET /api/{path}?columns=name")).json();
        let rows = list.as_array().unwrap().iter();
        let names: Vec<String> = rows
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect();
        names.join(" ")
    };
    assert_eq!(names("management", "queues"), "q");
    assert_eq!(names("monitoring", "queues"), "q");
    assert_eq!(names("management", "vhosts"), "/");
    assert_eq!(names("monitoring", "vhosts"), "/ other");
}

#[test]
fn permissions_hold_over_http_too() {
    let mut world = world();
    world.user = Some(("management", "p"));
    let publish = |exchange: &str| {
        format!(
            r#"POST /api/exchanges/%2F/{exchange}/publish {{"properties":{{}},"routing_key":"q","payload":"","payload_encoding":"string"}}"#
        )
    };
    let refused = r#"401 {"error":"not_authorised","reason":"Access refused."}"#;
    for request in [
        "PUT /api/queues/%2F/theirs {}",
        "DELETE /api/queues/%2F/q",
        "PUT /api/exchanges/%2F/theirs {}",
        // What may be declared must not lead to where one may not publish.
        r#"PUT /api/queues/%2F/mine {"arguments":{"x-dead-letter-exchange":"amq.direct"}}"#,
        r#"PUT /api/exchanges/%2F/mine {"arguments":{"alternate-exchange":"amq.direct"}}"#,
        r#"POST /api/bindings/%2F/e/amq.direct/q/q {"routing_key":""}"#,
        &publish("amq.default"),
        &publish("amq.topic"),
        // Not even a vhost that the user may not connect to.
        "PUT /api/exchanges/other/mine {}",
    ] {
        let seen = world.ask(request);
        let shown = format!("{} {}", seen.status, seen.body);
        let other_vhost = shown.contains("User not authorised to access virtual host");
        assert!(shown == refused || other_vhost, "{request}: {shown}");
    }
    world.check(
        r#"
        PUT /api/queues/%2F/mine {}
        201
        DELETE /api/queues/%2F/mine
        204
        "#,
    );
}

#[test]
fn topic_permissions_hold_over_http_too() {
    let mut world = world();
    world.check(
        r#"
        PUT /api/exchanges/%2F/mine {"type":"topic"}
        201
        PUT /api/topic-permissions/%2F/management {"exchange":"mine","write":"^ok","read":""}
        201
        "#,
    );
    world.user = Some(("management", "p"));
    world.check(
        r#"
        POST /api/exchanges/%2F/mine/publish {"properties":{},"routing_key":"no","payload":"","payload_encoding":"string"}
        401 {"error":"not_authorised","reason":"Access refused."}
        POST /api/exchanges/%2F/mine/publish {"properties":{"headers":{"CC":["no"]}},"routing_key":"ok","payload":"","payload_encoding":"string"}
        401 {"error":"not_authorised","reason":"Access refused."}
        POST /api/exchanges/%2F/mine/publish {"properties":{},"routing_key":"ok","payload":"","payload_encoding":"string"}
        200 {"routed":false}
        "#,
    );
}
