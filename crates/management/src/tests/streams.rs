//! Super streams, and what the stream protocol would store.

use super::*;

#[test]
fn a_super_stream_is_an_exchange_and_its_partitions() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/stream/super-streams/%2F/a {"partitions":"2","arguments":{"max-age":"1h","max-length-bytes":1000,"x-max-age":"2h"}}
        204
        GET /api/exchanges/%2F/a?columns=type,durable,auto_delete,internal,arguments
        200 {"type":"direct","durable":true,"auto_delete":false,"internal":false,"arguments":{"x-super-stream":true}}
        GET /api/queues?columns=name,durable
        200 [{"name":"a-0","durable":true},{"name":"a-1","durable":true}]
        GET /api/queues/%2F/a-1?columns=type,arguments
        200 {"type":"stream","arguments":{"x-queue-type":"stream","x-queue-leader-locator":"balanced","x-max-age":"1h","x-max-length-bytes":1000}}
        GET /api/exchanges/%2F/a/bindings/source?columns=destination,routing_key,arguments
        200 [{"destination":"a-0","routing_key":"0","arguments":{"x-stream-partition-order":0}},{"destination":"a-1","routing_key":"1","arguments":{"x-stream-partition-order":1}}]
        PUT /api/stream/super-streams/%2F/b {"binding-keys":"eu,us , apac,"}
        204
        GET /api/exchanges/%2F/b/bindings/source?columns=destination,routing_key,arguments
        200 [{"destination":"b-apac","routing_key":"apac","arguments":{"x-stream-partition-order":2}},{"destination":"b-eu","routing_key":"eu","arguments":{"x-stream-partition-order":0}},{"destination":"b-us","routing_key":"us","arguments":{"x-stream-partition-order":1}}]
        GET /api/stream/super-streams/%2F/a
        405...
        "#,
    );
}

#[test]
fn a_super_stream_that_is_refused_leaves_nothing() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/queues/%2F/f-1 {}
        201
        PUT /api/exchanges/%2F/g {}
        201
        PUT /api/vhost-limits/%2F/max-queues {"value":2}
        204
        "#,
    );
    let refused = [
        ("e", "{}", "Must specify partitions or binding keys"),
        (
            "e",
            r#"{"partitions":2,"binding-keys":"x"}"#,
            "Specify partitions or binding keys, not both",
        ),
        (
            "e",
            r#"{"partitions":2.5}"#,
            "The partitions must be a number",
        ),
        (
            "e",
            r#"{"partitions":0}"#,
            "The partition number must be greater than 0",
        ),
        (
            "e",
            r#"{"partitions":1001}"#,
            "The partition number must not exceed 1000",
        ),
        (
            "e",
            r#"{"binding-keys":" ,"}"#,
            "The number of binding keys must be greater than 0",
        ),
        (
            "e",
            r#"{"binding-keys":"a,a"}"#,
            "Duplicate partition name found: e-a",
        ),
        (
            "amq.e",
            r#"{"partitions":1}"#,
            "amq.e-0 is not a correct partition name",
        ),
        (
            "f",
            r#"{"partitions":2}"#,
            "there is already a queue named f-1",
        ),
        (
            "g",
            r#"{"partitions":1}"#,
            "there is already an exchange named g",
        ),
        (
            "e",
            r#"{"partitions":1,"arguments":{"max-length-bytes":"1gb"}}"#,
            "max-length-bytes must be an integer",
        ),
        (
            "e",
            r#"{"partitions":2}"#,
            "cannot declare queue 'e-1': queue limit in vhost '/' (2) is reached",
        ),
    ];
    for (name, body, reason) in refused {
        let seen = world.ask(&format!("PUT /api/stream/super-streams/%2F/{name} {body}"));
        let seen = (seen.status, seen.json()["reason"].clone());
        assert_eq!(seen, (400, reason.into()), "{body}");
    }
    world.check(
        r#"
        GET /api/queues?columns=name
        200 [{"name":"f-1"}]
        GET /api/exchanges/%2F/e
        404...
        GET /api/exchanges/%2F/f
        404...
        "#,
    );
}

#[test]
fn a_super_stream_takes_the_permissions_of_all_its_parts() {
    let mut world = World::new();
    world.check(
        r#"
        PUT /api/users/u {"password":"x","tags":"management"}
        201
        "#,
    );
    let admitted = [
        ("", ".*", ".*", 401),
        ("^a$", ".*", ".*", 401),
        ("^a", "", ".*", 401),
        ("^a", ".*", "", 401),
        ("^a", "^a-", "^a$", 204),
    ];
    for (configure, write, read, status) in admitted {
        world.user = Some(("guest", "guest"));
        let permissions =
            format!(r#"{{"configure":"{configure}","write":"{write}","read":"{read}"}}"#);
        world.ask(&format!("PUT /api/permissions/%2F/u {permissions}"));
        world.user = Some(("u", "x"));
        let seen = world.ask(r#"PUT /api/stream/super-streams/%2F/a {"partitions":2}"#);
        assert_eq!(seen.status, status, "{permissions}: {}", seen.body);
    }
}

#[test]
fn nothing_is_tracked_in_a_stream() {
    World::new().check(
        r#"
        PUT /api/queues/%2F/s {"arguments":{"x-queue-type":"stream"}}
        201
        PUT /api/queues/%2F/q {}
        201
        GET /api/stream/%2F/s/tracking
        200 {"offsets":{},"writers":{}}
        GET /api/stream/%2F/s/tracking?type=offset
        200 {"offsets":{}}
        GET /api/stream/%2F/s/tracking?type=writer
        200 {"writers":{}}
        GET /api/stream/%2F/q/tracking
        503 {"error":"service_unavailable","reason":"The stream leader is not available"}
        GET /api/stream/%2F/missing/tracking
        404 {"error":"Object Not Found","reason":"Not Found"}
        "#,
    );
}
