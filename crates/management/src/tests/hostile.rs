//! Requests that mean no good.

use super::*;

#[test]
fn bodies_that_are_no_objects() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let world = World::with(|options| options.body_bytes_max = 100_000);
    for body in [
        "{",
        "[]",
        "1",
        "true",
        "{\"a\":1}{",
        "\u{0}",
        "{\"durable\":1e400}",
        "{\"arguments\":[1]}",
        "{\"arguments\":{\"x\":99999999999999999999999999}}",
        &deep,
        &format!("{{\"arguments\":{{\"a\":{deep}}}}}"),
    ] {
        let seen = world.ask(&format!("PUT /api/queues/%2F/q {body}"));
        let status = seen.status;
        assert!(
            matches!(status, 201 | 204 | 400),
            "{status} for {body:.40}: {}",
            seen.body
        );
    }
    world.check(
        r#"
        PUT /api/queues/%2F/q "{}"
        400 {"error":"bad_request","reason":"invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?"}
        "#,
    );
}

#[test]
fn bodies_that_are_too_long() {
    let world = World::new();
    let body = "x".repeat(1001);
    let seen = world.ask(&format!("PUT /api/queues/%2F/q {body}"));
    let expected = r#"{"error":"bad_request","reason":"Exceeded HTTP request body size limit"}"#;
    assert_eq!((seen.status, seen.body.as_str()), (400, expected));
}

#[test]
fn names_are_names_and_never_paths() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/queues/%2F/..%2F..%2Fetc {}
        201
        GET /api/queues/%2F/..%2F..%2Fetc?columns=name
        200 {"name":"../../etc"}
        PUT /api/queues/%2F/a%0D%0Ab {}
        201
        "#,
    );
    let seen = world.ask("GET /api/queues/%2F/../..");
    assert_eq!(seen.status, 404);
    let long = "q".repeat(300);
    let seen = world.ask(&format!("PUT /api/queues/%2F/{long} {{}}"));
    assert_eq!(seen.status, 400, "{}", seen.body);
}

#[test]
fn a_name_of_a_binding_cannot_break_its_header() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/queues/%2F/q {}
        201
        "#,
    );
    let seen =
        world.ask(r#"POST /api/bindings/%2F/e/amq.topic/q/q {"routing_key":"a\r\nset-cookie: b"}"#);
    assert_eq!(seen.status, 201);
    let location = seen.headers[header::LOCATION].to_str().unwrap();
    assert!(!location.contains(['\r', '\n', ' ']), "{location}");
}
