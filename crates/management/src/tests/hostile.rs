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

/// Values of every type where another is expected, to every path that takes a body.
#[test]
fn bodies_of_other_types_are_answered() {
    let values = [
        "null",
        "true",
        "1",
        "-1",
        "1e300",
        "\"x\"",
        "[]",
        "[1]",
        "{}",
        "{\"a\":{}}",
    ];
    let fields = [
        "name",
        "type",
        "arguments",
        "durable",
        "tags",
        "password",
        "password_hash",
        "value",
        "pattern",
        "definition",
        "priority",
        "apply-to",
        "configure",
        "write",
        "read",
        "exchange",
        "count",
        "ackmode",
        "encoding",
        "truncate",
        "properties",
        "routing_key",
        "payload",
        "payload_encoding",
        "users",
        "vhosts",
        "queues",
        "bindings",
        "policies",
        "parameters",
        "permissions",
        "limits",
        "metadata",
        "description",
        "default_queue_type",
        "action",
        "filter",
        "to",
        "enabled",
        "level",
        "expression",
        "username",
    ];
    for route in routes::ROUTES {
        let path = route.path.replace(":vhost", "%2F").replace(':', "x");
        for endpoint in route.endpoints {
            let method = endpoint.verb.name();
            let world = World::with(|options| options.body_bytes_max = 10_000);
            for value in values {
                let all: Vec<_> = fields
                    .iter()
                    .map(|name| format!("\"{name}\":{value}"))
                    .collect();
                for body in [value.to_owned(), format!("{{{}}}", all.join(","))] {
                    let seen = world.ask(&format!("{method} /api{path} {body}"));
                    let served = seen.status < 500 || path.starts_with("/health/");
                    assert!(
                        served,
                        "{method} {path} {body:.60}: {} {}",
                        seen.status, seen.body
                    );
                }
            }
        }
    }
}

#[test]
fn texts_that_are_not_json() {
    let world = World::new();
    let refused = |octets: &[u8]| {
        let encoded = BASE64.encode("guest:guest");
        let builder = Request::builder()
            .method("PUT")
            .uri("/api/queues/%2F/q")
            .header(header::AUTHORIZATION, format!("Basic {encoded}"));
        let seen = world.send_octets(builder, octets);
        assert_eq!(seen.status, 400, "{octets:?}: {}", seen.body);
    };
    refused(b"{\"durable\":NaN}");
    refused(b"{\"durable\":Infinity}");
    refused(b"{\"a\":\"\xff\xfe\"}");
    refused(b"{\"a\":\"\xed\xa0\x80\"}");
    refused(b"{\"a\":\"\\ud800\"}");
    refused(b"{\"a\":1,}");
    refused(b"\xef\xbb\xbf{}");
    refused(b"{\"durable\":true} {\"durable\":false}");
    // Of two fields with one name the last counts, as with RabbitMQ.
    world.check(
        r#"
        PUT /api/queues/%2F/twice {"durable":true,"durable":false}
        201
        GET /api/queues/%2F/twice?columns=durable
        200 {"durable":false}
        "#,
    );
}

/// Expressions that take other engines forever: here time grows with the text alone.
#[test]
fn expressions_end() {
    let world = World::with(|options| options.body_bytes_max = 10_000);
    let name = "a".repeat(200);
    for pattern in ["(a+)+$", "(a|a)*b", "(.*)*(.*)*(.*)*!", "a{1,100}{1,5}!"] {
        let body = serde_json::json!({"pattern": pattern, "definition": {"max-length": 1}});
        let put = world.ask(&format!("PUT /api/policies/%2F/p {body}"));
        assert!(matches!(put.status, 201 | 204), "{pattern}: {}", put.body);
        let declared = world.ask(&format!("PUT /api/queues/%2F/{name} {{}}"));
        assert!(declared.status < 300, "{}", declared.body);
        let encoded =
            percent_encoding::utf8_percent_encode(pattern, percent_encoding::NON_ALPHANUMERIC);
        let list = world.ask(&format!(
            "GET /api/queues?page=1&use_regex=true&name={encoded}"
        ));
        assert_eq!(list.status, 200, "{pattern}: {}", list.body);
    }
    let huge = "(((a{100}){100}){100}){100}";
    world.check(&format!(
        r#"
        PUT /api/policies/%2F/huge {{"pattern":"{huge}","definition":{{"max-length":1}}}}
        400 ...
        PUT /api/permissions/%2F/guest {{"configure":"{huge}","write":"","read":""}}
        400 ...
        GET /api/queues?page=1&use_regex=true&name={}
        400 ...
        "#,
        huge.replace('{', "%7B").replace('}', "%7D"),
    ));
}

/// A request with these headers besides name and password.
fn with_headers(world: &World, request: &str, headers: &[(&str, &str)]) -> u16 {
    let (method, path) = request.split_once(' ').unwrap();
    let encoded = BASE64.encode("guest:guest");
    let builder = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Basic {encoded}"));
    let builder = headers
        .iter()
        .fold(builder, |it, (name, value)| it.header(*name, *value));
    world.send(builder, "{\"name\":\"q\"}").status
}

/// What a page elsewhere can have a browser send that knows name and password. RabbitMQ does what it asks for.
#[test]
fn pages_of_other_origins_send_no_forms() {
    let world = World::new();
    let (host, evil) = (
        ("host", "localhost:15672"),
        ("origin", "https://evil.example"),
    );
    let bind = "POST /api/bindings/%2F/e/amq.topic/q/q";
    assert_eq!(world.ask("PUT /api/queues/%2F/q {}").status, 201);
    for form in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let form = ("content-type", form);
        assert_eq!(with_headers(&world, bind, &[host, evil, form]), 403);
        // No browser: whatever the content type is.
        assert_eq!(with_headers(&world, bind, &[host, form]), 201);
    }
    for (request, headers) in [
        ("POST /api/definitions", [host, evil]),
        ("POST /api/leveret/node/stop", [host, ("origin", "null")]),
    ] {
        assert_eq!(with_headers(&world, request, &headers), 403, "{request}");
    }
    let own = ("origin", "http://localhost:15672");
    assert_eq!(with_headers(&world, bind, &[host, own]), 201);
    // A browser asks first whether it may send JSON, and is not told so.
    let preflight = [
        host,
        evil,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let asked = preflight.iter().fold(
        Request::builder().method("OPTIONS").uri("/api/definitions"),
        |it, (name, value)| it.header(*name, *value),
    );
    let seen = world.send(asked, "");
    let allowed = header::ACCESS_CONTROL_ALLOW_ORIGIN;
    assert!(!seen.headers.contains_key(allowed), "{seen:?}");
}

/// A page whose name was made to lead here (DNS rebinding) knows the password that everybody knows, from this machine.
#[test]
fn a_page_that_moved_here_is_not_the_user_of_this_machine() {
    let world = World::new();
    let check = |host: &str, status| {
        let seen = with_headers(&world, "GET /api/overview", &[("host", host)]);
        assert_eq!(seen, status, "{host}");
    };
    check("localhost:15672", 200);
    check("127.0.0.1:15672", 200);
    check("evil.example:15672", 401);
    let options = BrokerOptions {
        loopback_users: Vec::new(),
        ..BrokerOptions::new(|| 7)
    };
    let open = World::on(options, |_| {});
    let host = ("host", "mq.example");
    assert_eq!(with_headers(&open, "GET /api/overview", &[host]), 200);
}
