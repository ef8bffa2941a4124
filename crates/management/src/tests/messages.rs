//! The messages of a queue: looked at, moved, copied, sent back, deleted.

use super::*;

const MESSAGES: &str = "/api/leveret/queues/%2F/q/messages";

impl World {
    /// Publishes to the default exchange.
    fn publish(&self, queue: &str, payload: &str, properties: &str) {
        self.check(&format!(
            r#"
            POST /api/exchanges/%2F/amq.default/publish {{"properties":{properties},"routing_key":"{queue}","payload":"{payload}","payload_encoding":"string"}}
            200 {{"routed":true}}
            "#,
        ));
    }

    fn with_messages(payloads: &[&str]) -> Self {
        let world = Self::with(|options| options.body_bytes_max = 10_000);
        world.check(
            r#"
            PUT /api/queues/%2F/q {}
            201
            PUT /api/queues/%2F/other {}
            201
            "#,
        );
        payloads
            .iter()
            .for_each(|payload| world.publish("q", payload, "{\"delivery_mode\":2}"));
        world
    }

    fn payloads(&self, queue: &str, query: &str) -> Vec<String> {
        let path = format!("GET /api/leveret/queues/%2F/{queue}/messages?{query}");
        let seen = self.ask(&path).json();
        let items = seen["items"].as_array().unwrap().iter();
        let payload = |item: &Value| item["payload"].as_str().unwrap().to_owned();
        items.map(payload).collect()
    }

    /// What came of an action, but for zeros.
    fn act(&self, body: &str) -> String {
        let seen = self.ask(&format!("POST {MESSAGES} {body}"));
        if seen.status != 200 {
            return format!("{} {}", seen.status, seen.json()["reason"]);
        }
        let mut json = seen.json();
        let fields = json.as_object_mut().unwrap();
        fields.retain(|name, value| name != "action" && *value != 0 && *value != false);
        json.to_string()
    }

    fn ids(&self, query: &str) -> Vec<String> {
        let seen = self.ask(&format!("GET {MESSAGES}?{query}")).json();
        let items = seen["items"].as_array().unwrap().iter();
        items
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[test]
fn looking_leaves_no_trace() {
    let world = World::with_messages(&["one", "two", "three"]);
    world.publish("q", "four", r#"{"headers":{"n":4},"expiration":"5000"}"#);
    world.check(
        r#"
        GET /api/leveret/queues/%2F/q/messages?offset=3
        200 {"offset":3,"next":null,"total":4,"items":[{"position":3,"id":"4-0-b-f4240","payload_bytes":4,"redelivered":false,"exchange":"","routing_key":"q","persistent":false,"delivery_count":0,"acquired_count":0,"expires_at":1005000,"properties":{"expiration":"5000","headers":{"n":4}},"payload":"four","payload_encoding":"string"}]}
        GET /api/leveret/queues/%2F/q/messages?count=2&columns=position,payload
        200 {"offset":0,"next":2,"total":4,"items":[{"position":0,"payload":"one"},{"position":1,"payload":"two"}]}
        GET /api/leveret/queues/%2F/q/messages?count=1&encoding=base64&truncate=2&columns=payload,payload_bytes,payload_encoding,id
        200 {"offset":0,"next":1,"total":4,"items":[{"id":"1-1","payload_bytes":3,"payload":"b24=","payload_encoding":"base64"}]}
        GET /api/leveret/queues/%2F/q/messages?offset=9
        200 {"offset":9,"next":null,"total":4,"items":[]}
        GET /api/leveret/queues/%2F/nothing/messages
        404 {"error":"not_found","reason":"no queue 'nothing' in vhost '/'"}
        GET /api/leveret/queues/nowhere/q/messages
        404 {"error":"not_found","reason":"vhost_not_found"}
        GET /api/leveret/queues/%2F/q/messages?count=-1
        400 {"error":"bad_request","reason":"count must be a whole number"}
        GET /api/leveret/queues/%2F/q/messages?state=lost
        400 {"error":"bad_request","reason":"unknown state: lost. Please use 'ready' or 'unacked'."}
        POST /api/queues/%2F/q/get {"ackmode":"ack_requeue_true","count":1,"encoding":"auto"}
        200 [{"payload_bytes":3,"redelivered":false,"exchange":"","routing_key":"q","message_count":3,"properties":{"delivery_mode":2},"payload":"one","payload_encoding":"string"}]
        GET /api/leveret/queues/%2F/q/messages?count=2&columns=redelivered,id
        200 {"offset":0,"next":2,"total":4,"items":[{"id":"1-1","redelivered":true},{"id":"2-2","redelivered":false}]}
        "#,
    );
}

#[test]
fn filters() {
    let world = World::with_messages(&["Alpha", "beta"]);
    world.publish("q", "gamma", r#"{"type":"order","priority":3}"#);
    world.publish(
        "q",
        "delta",
        r#"{"headers":{"tenant":"Acme","n":7},"priority":3}"#,
    );
    let check = |query: &str, json: &str, expected: &[&str]| {
        assert_eq!(world.payloads("q", query), expected, "{query}");
        let act = format!(r#"{{"action":"delete","dry_run":true,"filter":{json}}}"#);
        let seen = world.ask(&format!("POST {MESSAGES} {act}")).json();
        assert_eq!(seen["matched"], expected.len(), "{json}");
    };
    check("body=alpha", r#"{"body":"alpha"}"#, &["Alpha"]);
    check("body=a.*a", r#"{"body":"a.*a"}"#, &[]);
    check(
        "property.type=order",
        r#"{"properties":{"type":"order"}}"#,
        &["gamma"],
    );
    let both = r#"{"properties":{"priority":3},"headers":{"n":7}}"#;
    check("property.priority=3&header.n=7", both, &["delta"]);
    check(
        "header.tenant=acme",
        r#"{"headers":{"tenant":"acme"}}"#,
        &[],
    );
    check("text=acme", r#"{"text":"acme"}"#, &["delta"]);
    check(
        "routing_key=q&exchange=amq.default&body=eta",
        r#"{"routing_key":"q","exchange":"","body":"eta"}"#,
        &["beta"],
    );
    check("routing_key=x", r#"{"routing_key":"x"}"#, &[]);
    check("", "{}", &["Alpha", "beta", "gamma", "delta"]);
    for (filter, reason) in [
        (r#"{"bodies":"x"}"#, "invalid filter bodies: \"x\""),
        (r#"{"body":1}"#, "invalid filter body: 1"),
        (
            r#"{"properties":{"colour":"x"}}"#,
            "no such property: colour",
        ),
    ] {
        let act = format!(r#"{{"action":"delete","filter":{filter}}}"#);
        let seen = world.ask(&format!("POST {MESSAGES} {act}"));
        assert_eq!(
            (seen.status, &seen.json()["reason"]),
            (400, &Value::from(reason))
        );
    }
}

#[test]
fn chosen_messages_are_moved_copied_and_deleted() {
    let world = World::with_messages(&["a", "b", "c", "d", "e"]);
    let ids = world.ids("");
    let named = |action: &str, ids: &[&String], rest: &str| {
        world.act(&format!(r#"{{"action":"{action}","ids":{ids:?}{rest}}}"#))
    };
    let to_other = r#","to":{"queue":"other"}"#;
    let dry = format!("{to_other},\"dry_run\":true");
    assert_eq!(
        named("move", &[&ids[1], &ids[3]], &dry),
        r#"{"dry_run":true,"looked_at":4,"matched":2}"#
    );
    assert_eq!(
        named("move", &[&ids[1], &ids[3], &ids[3]], to_other),
        r#"{"done":2,"looked_at":4,"matched":2}"#
    );
    assert_eq!(world.payloads("q", ""), ["a", "c", "e"]);
    assert_eq!(world.payloads("other", "routing_key=other"), ["b", "d"]);
    assert_eq!(
        named("copy", &[&ids[4]], to_other),
        r#"{"done":1,"looked_at":3,"matched":1}"#
    );
    assert_eq!(
        named("delete", &[&ids[0], &ids[1]], ""),
        r#"{"done":1,"gone":1,"looked_at":3,"matched":1}"#
    );
    assert_eq!(world.payloads("q", ""), ["c", "e"]);
    assert_eq!(world.payloads("other", ""), ["b", "d", "e"]);
    let moved = r#"{"action":"move","filter":{},"limit":1,"to":{"exchange":"amq.fanout"}}"#;
    assert_eq!(
        world.act(moved),
        r#"{"looked_at":1,"matched":1,"reason":"no queue is bound for it","unroutable":1}"#
    );
    world.check(
        r#"
        POST /api/bindings/%2F/e/amq.topic/q/other {"routing_key":"sent.#"}
        201
        "#,
    );
    let moved = r#"{"action":"move","filter":{"body":"C"},"to":{"exchange":"amq.topic","routing_key":"sent.on"}}"#;
    assert_eq!(world.act(moved), r#"{"done":1,"looked_at":2,"matched":1}"#);
    assert_eq!(
        world.payloads("other", "routing_key=sent.on&exchange=amq.topic"),
        ["c"]
    );
    // Onto itself: each once, to the end.
    let copied = r#"{"action":"copy","filter":{},"to":{"queue":"q"}}"#;
    assert_eq!(world.act(copied), r#"{"done":1,"looked_at":1,"matched":1}"#);
    assert_eq!(world.payloads("q", ""), ["e", "e"]);
    let deleted = r#"{"action":"delete","filter":{}}"#;
    assert_eq!(
        world.act(deleted),
        r#"{"done":2,"looked_at":2,"matched":2}"#
    );
    assert_eq!(world.payloads("q", ""), Vec::<String>::new());
}

#[test]
fn a_queue_that_is_full_leaves_messages_where_they_are() {
    let world = World::with_messages(&["a", "b", "c"]);
    world.check(
        r#"
        PUT /api/queues/%2F/small {"arguments":{"x-max-length":1,"x-overflow":"reject-publish"}}
        201
        "#,
    );
    let moved = r#"{"action":"move","filter":{},"to":{"queue":"small"}}"#;
    assert_eq!(
        world.act(moved),
        r#"{"done":1,"looked_at":3,"matched":3,"reason":"a queue has refused the message","refused":2}"#
    );
    assert_eq!(world.payloads("small", ""), ["a"]);
    world.check(
        r#"
        GET /api/leveret/queues/%2F/q/messages?columns=position,payload,redelivered
        200 {"offset":0,"next":null,"total":2,"items":[{"position":0,"redelivered":false,"payload":"b"},{"position":1,"redelivered":false,"payload":"c"}]}
        "#,
    );
}

#[test]
fn dead_messages_go_back_to_where_they_came_from() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/queues/%2F/jobs {"arguments":{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"q"}}
        201
        PUT /api/queues/%2F/q {}
        201
        POST /api/bindings/%2F/e/amq.direct/q/jobs {"routing_key":"job"}
        201
        POST /api/exchanges/%2F/amq.direct/publish {"properties":{},"routing_key":"job","payload":"1","payload_encoding":"string"}
        200 {"routed":true}
        POST /api/exchanges/%2F/amq.direct/publish {"properties":{},"routing_key":"job","payload":"2","payload_encoding":"string"}
        200 {"routed":true}
        POST /api/queues/%2F/jobs/get {"ackmode":"reject_requeue_false","count":2,"encoding":"auto"}
        200 [...
        "#,
    );
    world.publish("q", "alive", "{}");
    let one = r#"{"action":"requeue","filter":{"body":"1"}}"#;
    assert_eq!(world.act(one), r#"{"done":1,"looked_at":3,"matched":1}"#);
    let rest = r#"{"action":"requeue","origin":"exchange","filter":{}}"#;
    assert_eq!(
        world.act(rest),
        r#"{"done":1,"looked_at":2,"matched":2,"reason":"it has no x-death header that says where it comes from","without_origin":1}"#
    );
    assert_eq!(world.payloads("q", ""), ["alive"]);
    let here = "exchange=amq.direct&routing_key=job&header.x-first-death-queue=jobs";
    assert_eq!(world.payloads("jobs", here), ["1", "2"]);
}

#[test]
fn what_clients_have_is_shown_with_who_has_it() {
    let world = World::with_messages(&["a", "b"]);
    let broker = &world.management.broker;
    let user = broker.authenticate("guest", "guest", true).unwrap();
    let mailbox = Arc::default();
    let arrival = leveret_broker::broker::Arrival {
        connection: broker.new_connection_id(),
        user: &user.into(),
        mailbox: &mailbox,
        facts: leveret_broker::connections::Facts::default(),
        activity: &Arc::default(),
    };
    let principal = broker.connect(arrival, "/").unwrap();
    let mut channel =
        leveret_broker::channel::Channel::open(broker, 5, principal, mailbox).unwrap();
    let mut outbox = leveret_broker::live_queue::Outbox::default();
    let got = channel.get(broker, "q", true, Timestamp(1_000_500), &mut outbox);
    assert!(got.unwrap().is_some());
    broker.finish(&mut outbox, world.now);
    world.check(
        r#"
        GET /api/leveret/queues/%2F/q/messages?state=unacked&columns=position,payload,unacked_since,consumer_details
        200 {"offset":0,"next":null,"total":1,"items":[{"position":0,"unacked_since":1000500,"consumer_details":null,"payload":"a"}]}
        "#,
    );
    assert_eq!(world.payloads("q", ""), ["b"]);
}

#[test]
fn permissions_are_those_of_a_client() {
    let mut world = World::with_messages(&["a"]);
    world.check(
        r#"
        PUT /api/users/ann {"password":"ann","tags":"management"}
        201
        PUT /api/permissions/%2F/ann {"configure":"","write":"","read":""}
        201
        "#,
    );
    let mut check = |permissions: &str, request: &str, expected: u16| {
        world.user = Some(("guest", "guest"));
        let put = format!("PUT /api/permissions/%2F/ann {permissions}");
        assert_eq!(world.ask(&put).status, 204);
        world.user = Some(("ann", "ann"));
        let seen = world.ask(request);
        assert_eq!(
            seen.status, expected,
            "{permissions} {request}: {}",
            seen.body
        );
        seen.body
    };
    let none = r#"{"configure":".*","write":".*","read":"x"}"#;
    let read = r#"{"configure":"","write":"","read":"q"}"#;
    let write = r#"{"configure":"","write":"amq.default","read":"q"}"#;
    let get = format!("GET {MESSAGES}");
    let delete = format!(r#"POST {MESSAGES} {{"action":"delete","dry_run":true,"filter":{{}}}}"#);
    let moved =
        format!(r#"POST {MESSAGES} {{"action":"move","filter":{{}},"to":{{"queue":"other"}}}}"#);
    check(none, &get, 401);
    check(none, &delete, 401);
    check(read, &get, 200);
    check(read, &delete, 200);
    check(read, &moved, 401);
    check(write, &moved, 200);
}

#[test]
fn actions_that_make_no_sense() {
    let world = World::with_messages(&["a"]);
    for (body, expected) in [
        ("{}", r#"400 "[{key_missing,action}]""#),
        (
            r#"{"action":"eat","filter":{}}"#,
            r#"400 "unknown action: eat. Please use 'move', 'copy', 'requeue' or 'delete'.""#,
        ),
        (
            r#"{"action":"delete"}"#,
            r#"400 "either ids, a list, or filter, an object, must say which messages are meant""#,
        ),
        (
            r#"{"action":"delete","ids":[],"filter":{}}"#,
            r#"400 "either ids, a list, or filter, an object, must say which messages are meant""#,
        ),
        (
            r#"{"action":"delete","ids":[7]}"#,
            r#"400 "ids must be a list of strings""#,
        ),
        (
            r#"{"action":"delete","ids":["7"]}"#,
            r#"400 "no id of a message: 7""#,
        ),
        (
            r#"{"action":"delete","ids":["1-1-1"]}"#,
            r#"400 "no id of a message: 1-1-1""#,
        ),
        (r#"{"action":"delete","ids":["1-0-1-1"]}"#, r#"{"gone":1}"#),
        (
            r#"{"action":"move","filter":{}}"#,
            r#"400 "to must name one of queue, exchange and origin""#,
        ),
        (
            r#"{"action":"move","filter":{},"to":{"queue":"none"}}"#,
            r#"404 "no queue 'none' in vhost '/'""#,
        ),
        (
            r#"{"action":"move","filter":{},"to":{"exchange":"none"}}"#,
            r#"404 "no exchange 'none' in vhost '/'""#,
        ),
        (
            r#"{"action":"requeue","filter":{},"origin":"home"}"#,
            r#"400 "unknown origin: home. Please use 'queue' or 'exchange'.""#,
        ),
    ] {
        assert_eq!(world.act(body), expected, "{body}");
    }
    let alarm = leveret_broker::alarm::Alarm::Memory;
    world.management.broker.set_alarm(alarm, true);
    let moved = r#"{"action":"move","filter":{},"to":{"queue":"other"}}"#;
    assert_eq!(
        world.act(moved),
        r#"{"error":"publishers are blocked: low on memory"}"#
    );
    let deleted = r#"{"action":"delete","filter":{}}"#;
    assert_eq!(
        world.act(deleted),
        r#"{"done":1,"looked_at":1,"matched":1}"#
    );
}

#[test]
fn messages_of_a_stream_are_looked_at_and_copied_and_stay() {
    let world = World::with_messages(&[]);
    world.check(
        r#"
        PUT /api/queues/%2F/s {"durable":true,"arguments":{"x-queue-type":"stream"}}
        201
        "#,
    );
    for payload in ["one", "two"] {
        world.publish("s", payload, "{}");
    }
    let seen = world
        .ask("GET /api/leveret/queues/%2F/s/messages?offset=1")
        .json();
    assert_eq!(seen["items"][0]["payload"], "two");
    assert_eq!(seen["items"][0]["offset"], 1);
    assert_eq!(seen["items"][0]["expires_at"], Value::Null);
    let stays = |body: &str| {
        let seen = world.ask(&format!("POST /api/leveret/queues/%2F/s/messages {body}"));
        (seen.status, seen.json()["reason"].clone())
    };
    let reason = "messages of the stream queue 's' in vhost '/' stay until retention lets them go";
    for action in [
        r#"{"action":"delete","filter":{}}"#,
        r#"{"action":"move","filter":{},"to":{"queue":"q"}}"#,
    ] {
        assert_eq!(stays(action), (400, reason.into()), "{action}");
    }
    world.check(
        r#"
        DELETE /api/queues/%2F/s/contents
        400 {"error":"bad_request","reason":"queue.purge not supported by stream queues queue 's' in vhost '/'"}
        GET /api/queues/%2F/s?columns=type,messages,first_offset,next_offset,readers
        200 {"type":"stream","messages":2,"readers":{"rabbit@localhost":0},"first_offset":0,"next_offset":2}
        GET /api/stream/publishers/%2F/s
        200 []
        GET /api/stream/publishers/%2F/missing
        404 {"error":"Object Not Found","reason":"Not Found"}
        "#,
    );
}
