//! Objects: made, looked at, changed and deleted.

use super::*;

use leveret_broker::broker::Arrival;
use leveret_broker::channel::{Channel, Publish};
use leveret_broker::connections::Facts;
use leveret_broker::live_queue::{ConnectionId, Outbox};
use leveret_broker::message::Message;
use leveret_broker::options::RatesMode;
use leveret_broker::publish::Batch;

use crate::rankings::LONG;

#[test]
fn a_queue_from_declaration_to_deletion() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/queues/%2F/orders {"durable":true,"arguments":{"x-max-length":5}}
        201
        PUT /api/queues/%2F/orders {"durable":true,"arguments":{"x-max-length":5}}
        204
        PUT /api/queues/%2F/orders {"durable":false}
        400 {"error":"bad_request","reason":"inequivalent arg 'durable' for queue 'orders' in vhost '/': received 'false' but current is 'true'"}
        PUT /api/queues/%2F/odd {"arguments":{"x-max-length":-5}}
        400 {"error":"bad_request","reason":"invalid arg 'x-max-length' for queue 'odd' in vhost '/': {value_negative,-5}"}
        PUT /api/queues/nowhere/orders {}
        404 {"error":"not_found","reason":"vhost_not_found"}
        GET /api/queues/%2F/orders?columns=name,vhost,type,durable,arguments,messages,consumers
        200 {"name":"orders","vhost":"/","type":"classic","durable":true,"arguments":{"x-max-length":5,"x-queue-type":"classic"},"messages":0,"consumers":0}
        GET /api/queues/%2F/nothing
        404 {"error":"Object Not Found","reason":"Not Found"}
        GET /api/queues/nowhere
        404 {"error":"Object Not Found","reason":"Not Found"}
        GET /api/queues?columns=name
        200 [{"name":"orders"}]
        GET /api/queues/%2F/orders/bindings
        200 [{"source":"","vhost":"/","destination":"orders","destination_type":"queue","routing_key":"orders","arguments":{},"properties_key":"orders"}]
        POST /api/queues/%2F/orders/actions {"action":"sync"}
        204
        DELETE /api/queues/%2F/orders/contents
        204
        DELETE /api/queues/%2F/orders?if-empty=true&if-unused=true
        204
        DELETE /api/queues/%2F/orders
        404 {"error":"Object Not Found","reason":"Not Found"}
        "#,
    );
}

#[test]
fn what_is_persistent_and_of_which_priority_is_told() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/queues/%2F/c {}
        201
        PUT /api/queues/%2F/q {"arguments":{"x-queue-type":"quorum"}}
        201
        POST /api/exchanges/%2F/amq.default/publish {"properties":{"delivery_mode":2},"routing_key":"c","payload":"lasts","payload_encoding":"string"}
        200 {"routed":true}
        POST /api/exchanges/%2F/amq.default/publish {"properties":{},"routing_key":"c","payload":"not","payload_encoding":"string"}
        200 {"routed":true}
        GET /api/queues/%2F/c?columns=messages_persistent,message_bytes,message_bytes_persistent,message_bytes_ram,messages_ready_ram,messages_paged_out,internal
        200 {"internal":false,"message_bytes_ram":8,"messages_paged_out":0,"messages_ready_ram":2,"messages_persistent":1,"message_bytes":8,"message_bytes_persistent":5}
        POST /api/exchanges/%2F/amq.default/publish {"properties":{"priority":5},"routing_key":"q","payload":"x","payload_encoding":"string"}
        200 {"routed":true}
        POST /api/exchanges/%2F/amq.default/publish {"properties":{"priority":40},"routing_key":"q","payload":"x","payload_encoding":"string"}
        200 {"routed":true}
        GET /api/queues/%2F/q?columns=messages_by_priority,messages_active_priorities,messages_ready_returned,delayed_retry
        200 {"delayed_retry":"disabled","messages_active_priorities":2,"messages_by_priority":{"5":1,"31":1},"messages_ready_returned":0}
        POST /api/queues/%2F/q/get {"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}
        200 [...
        GET /api/queues/%2F/q?columns=messages_by_priority,messages_ready_returned
        200 {"messages_by_priority":{"5":1},"messages_ready_returned":1}
        "#,
    );
}

#[test]
fn who_declared_it_is_known() {
    let mut world = World::new();
    world.check(
        r#"
        PUT /api/users/ann {"password":"secret","tags":"management"}
        201
        PUT /api/permissions/%2F/ann {"configure":".*","write":".*","read":".*"}
        201
        PUT /api/queues/%2F/of-guest {}
        201
        GET /api/exchanges/%2F/amq.topic?columns=user_who_performed_action
        200 {"user_who_performed_action":"rmq-internal"}
        POST /api/definitions {"exchanges":[{"vhost":"/","name":"imported","type":"fanout","arguments":{}}],"queues":[{"vhost":"/","name":"imported","arguments":{}}]}
        204
        "#,
    );
    world.user = Some(("ann", "secret"));
    world.check(
        r#"
        PUT /api/queues/%2F/of-ann {}
        201
        PUT /api/exchanges/%2F/of-ann {"type":"topic"}
        201
        PUT /api/queues/%2F/of-guest {}
        204
        GET /api/users/ann/queues?columns=name
        200 [{"name":"of-ann"}]
        GET /api/users/guest/queues?columns=name
        200 [{"name":"imported"},{"name":"of-guest"}]
        GET /api/users/nobody/queues
        200 []
        GET /api/exchanges/%2F/of-ann?columns=user_who_performed_action
        200 {"user_who_performed_action":"ann"}
        GET /api/exchanges/%2F/imported?columns=user_who_performed_action
        200 {"user_who_performed_action":"guest"}
        "#,
    );
}

#[test]
fn exchanges_and_bindings() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/exchanges/%2F/events {"type":"topic"}
        201
        PUT /api/exchanges/%2F/events {"type":"fanout"}
        400 {"error":"bad_request","reason":"inequivalent arg 'type' for exchange 'events' in vhost '/': received 'fanout' but current is 'topic'"}
        PUT /api/exchanges/%2F/amq.mine {"type":"topic"}
        401 {"error":"not_authorised","reason":"Access refused."}
        PUT /api/queues/%2F/q {}
        201
        GET /api/exchanges/%2F/events?columns=name,type,durable,internal,message_stats.publish_in
        200 {"name":"events","type":"topic","durable":true,"internal":false,"message_stats":{"publish_in":0}}
        POST /api/bindings/%2F/e/nothing/q/q {"routing_key":"a.#"}
        404 {"error":"not_found","reason":"no exchange 'nothing' in vhost '/'"}
        GET /api/bindings/%2F/e/events/q/q
        200 []
        GET /api/bindings/%2F/e/events/x/q
        404 {"error":"Object Not Found","reason":"Not Found"}
        "#,
    );
    let bound = world.ask(r#"POST /api/bindings/%2F/e/events/q/q {"routing_key":"a.#"}"#);
    assert_eq!((bound.status, bound.body.as_str()), (201, ""));
    assert_eq!(bound.headers[header::LOCATION], "q/a.%2523");
    world.check(
        r#"
        GET /api/bindings/%2F/e/events/q/q/a.%2523
        200 {"source":"events","vhost":"/","destination":"q","destination_type":"queue","routing_key":"a.#","arguments":{},"properties_key":"a.%23"}
        GET /api/exchanges/%2F/events/bindings/source?columns=destination
        200 [{"destination":"q"}]
        DELETE /api/exchanges/%2F/events?if-unused=true
        400 {"error":"bad_request","reason":"exchange 'events' in vhost '/' in use"}
        DELETE /api/bindings/%2F/e/events/q/q/a.%2523
        204
        DELETE /api/bindings/%2F/e/events/q/q/a.%2523
        404 {"error":"Object Not Found","reason":"Not Found"}
        DELETE /api/exchanges/%2F/events
        204
        "#,
    );
}

#[test]
fn messages_are_published_and_got() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/queues/%2F/q {}
        201
        POST /api/exchanges/%2F/amq.default/publish {"routing_key":"q"}
        400 {"error":"bad_request","reason":"[{key_missing,properties},{key_missing,payload},{key_missing,payload_encoding}]"}
        POST /api/exchanges/%2F/amq.default/publish {"properties":{"priority":1,"headers":{"n":1}},"routing_key":"q","payload":"hello","payload_encoding":"string"}
        200 {"routed":true}
        POST /api/exchanges/%2F//publish {"properties":{},"routing_key":"q","payload":"/w==","payload_encoding":"base64"}
        200 {"routed":true}
        POST /api/exchanges/%2F/amq.default/publish {"properties":{},"routing_key":"nobody","payload":"","payload_encoding":"string"}
        200 {"routed":false}
        POST /api/exchanges/%2F/amq.default/publish {"properties":{"priority":"high"},"routing_key":"q","payload":"","payload_encoding":"string"}
        400 {"error":"bad_request","reason":"invalid message property priority: \"high\""}
        POST /api/exchanges/%2F/amq.default/publish {"properties":{"user_id":"other"},"routing_key":"q","payload":"","payload_encoding":"string"}
        400 {"error":"bad_request","reason":"user_id property set to 'other' but authenticated user was 'guest'"}
        POST /api/exchanges/%2F/nothing/publish {"properties":{},"routing_key":"q","payload":"","payload_encoding":"string"}
        404 {"error":"not_found","reason":"no exchange 'nothing' in vhost '/'"}
        POST /api/queues/%2F/q/get {"count":1,"ackmode":"ack_requeue_true","encoding":"auto","truncate":2}
        200 [{"payload_bytes":5,"redelivered":false,"exchange":"","routing_key":"q","message_count":1,"properties":{"priority":1,"headers":{"n":1}},"payload":"he","payload_encoding":"string"}]
        POST /api/queues/%2F/q/get {"count":5,"ackmode":"ack_requeue_false","encoding":"auto"}
        200 [{"payload_bytes":5,"redelivered":true,"exchange":"","routing_key":"q","message_count":1,"properties":{"priority":1,"headers":{"n":1}},"payload":"hello","payload_encoding":"string"},{"payload_bytes":1,"redelivered":false,"exchange":"","routing_key":"q","message_count":0,"properties":{},"payload":"/w==","payload_encoding":"base64"}]
        POST /api/queues/%2F/q/get {"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}
        200 []
        POST /api/queues/%2F/q/get {"count":-1,"ackmode":"ack_requeue_false","encoding":"auto"}
        400 {"error":"bad_request","reason":"count must not be negative"}
        POST /api/queues/%2F/q/get {"count":1,"ackmode":"eat","encoding":"auto"}
        400 {"error":"bad_request","reason":"unknown ackmode eat"}
        "#,
    );
}

#[test]
fn users_and_permissions() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/users/ann {"password":"secret"}
        400 {"error":"bad_request","reason":"[{key_missing,tags}]"}
        PUT /api/users/ann {"password":"","tags":""}
        400 {"error":"bad_request","reason":"Cannot use empty password. Please choose a non-empty password for the user"}
        PUT /api/users/ann {"password_hash":"kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR","tags":"management, monitoring"}
        201
        GET /api/users/ann
        200 {"name":"ann","password_hash":"kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR","hashing_algorithm":"rabbit_password_hashing_sha256","tags":["management","monitoring"],"limits":{}}
        GET /api/users/without-permissions?columns=name
        200 [{"name":"ann"}]
        PUT /api/permissions/%2F/ann {"configure":"","write":"^a","read":".*"}
        201
        PUT /api/permissions/%2F/ann {"configure":"","write":"(","read":".*"}
        400 {"error":"bad_request","reason":"invalid regexp...
        PUT /api/permissions/%2F/nobody {"configure":"","write":"","read":""}
        400 {"error":"bad_request","reason":"no_such_user_or_vhost"}
        GET /api/users/ann/permissions
        200 [{"user":"ann","vhost":"/","configure":"","write":"^a","read":".*"}]
        PUT /api/topic-permissions/%2F/ann {"exchange":"amq.topic","write":"^a","read":"^b"}
        201
        GET /api/topic-permissions/%2F/ann
        200 [{"user":"ann","vhost":"/","exchange":"amq.topic","write":"^a","read":"^b"}]
        DELETE /api/topic-permissions/%2F/ann
        204
        GET /api/topic-permissions/%2F/ann
        404 {"error":"Object Not Found","reason":"Not Found"}
        PUT /api/user-limits/ann/max-channels {"value":7}
        204
        GET /api/user-limits
        200 [{"user":"ann","value":{"max-channels":7}}]
        PUT /api/user-limits/ann/max-shoes {"value":7}
        400 {"error":"bad_request","reason":"Unrecognised limit 'max-shoes'"}
        DELETE /api/permissions/%2F/ann
        204
        DELETE /api/permissions/%2F/ann
        404 {"error":"Object Not Found","reason":"Not Found"}
        POST /api/users/bulk-delete {"users":["ann","nobody"]}
        204
        GET /api/users/ann
        404 {"error":"Object Not Found","reason":"Not Found"}
        "#,
    );
}

#[test]
fn vhosts_policies_and_parameters() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/vhosts/shop {"description":"a shop","tags":"prod","default_queue_type":"quorum"}
        201
        GET /api/vhosts/shop?columns=name,description,tags,default_queue_type,protected_from_deletion
        200 {"name":"shop","description":"a shop","tags":["prod"],"default_queue_type":"quorum","protected_from_deletion":false}
        GET /api/vhosts/shop/permissions
        200 [{"user":"guest","vhost":"shop","configure":".*","write":".*","read":".*"}]
        POST /api/vhosts/shop/deletion/protection
        204
        DELETE /api/vhosts/shop
        412 {"error":"precondition_failed","reason":"Refusing to delete virtual host 'shop' because it is protected from deletion"}
        DELETE /api/vhosts/shop/deletion/protection
        204
        PUT /api/vhost-limits/shop/max-queues {"value":5}
        204
        GET /api/vhost-limits/shop
        200 [{"vhost":"shop","value":{"max-queues":5}}]
        PUT /api/policies/shop/short {"pattern":"^q","definition":{"max-length":9},"apply-to":"queues"}
        201
        PUT /api/policies/shop/odd {"pattern":"^q","definition":{"max-size":9}}
        400 {"error":"bad_request","reason":"Validation failed\n\n[{<<\"max-size\">>,9}] are not recognised policy settings\n"}
        GET /api/policies/shop/short
        200 {"vhost":"shop","name":"short","pattern":"^q","apply-to":"queues","definition":{"max-length":9},"priority":0}
        PUT /api/queues/shop/q {}
        201
        GET /api/queues/shop/q?columns=type,policy,operator_policy,effective_policy_definition
        200 {"type":"quorum","policy":"short","operator_policy":null,"effective_policy_definition":{"max-length":9}}
        DELETE /api/policies/shop/short
        204
        DELETE /api/policies/shop/short
        404 {"error":"Object Not Found","reason":"Not Found"}
        PUT /api/policies/nowhere/short {"pattern":"^q","definition":{"max-length":9}}
        404 {"error":"not_found","reason":"vhost_not_found"}
        PUT /api/operator-policies/shop/cap {"pattern":"^q","definition":{"max-length":3},"apply-to":"queues"}
        201
        GET /api/parameters?columns=component,name
        200 [{"component":"operator_policy","name":"cap"},{"component":"vhost-limits","name":"limits"}]
        PUT /api/global-parameters/cluster_tags {"value":{"region":"north"}}
        201
        GET /api/overview?columns=cluster_tags
        200 {"cluster_tags":{"region":"north"}}
        GET /api/global-parameters/cluster_tags
        200 {"name":"cluster_tags","value":{"region":"north"}}
        PUT /api/cluster-name {"name":"north"}
        204
        GET /api/cluster-name
        200 {"name":"north"}
        DELETE /api/global-parameters/cluster_tags
        204
        DELETE /api/vhosts/shop
        204
        GET /api/vhosts/shop
        404 {"error":"Object Not Found","reason":"Not Found"}
        "#,
    );
}

#[test]
fn everything_can_be_looked_at() {
    let world = World::new();
    world.management.sample(world.now);
    for path in [
        "overview",
        "nodes",
        "nodes/rabbit@localhost",
        "nodes/rabbit@localhost/memory",
        "nodes/rabbit@localhost/memory/relative",
        "extensions",
        "connections",
        "channels",
        "consumers",
        "consumers/%2F",
        "exchanges",
        "bindings",
        "vhosts",
        "users",
        "permissions",
        "topic-permissions",
        "parameters",
        "global-parameters",
        "policies",
        "operator-policies",
        "feature-flags",
        "deprecated-features",
        "auth/attempts/rabbit@localhost",
        "health/checks/alarms",
        "health/checks/port-listener/5672",
        "health/checks/protocol-listener/amqp091",
        "openapi.json",
    ] {
        let seen = world.ask(&format!("GET /api/{path}"));
        assert_eq!(seen.status, 200, "{path}: {}", seen.body);
        assert!(!seen.json().is_null(), "{path}");
    }
    world.check(
        r#"
        GET /api/nodes/rabbit@elsewhere
        404 {"error":"Object Not Found","reason":"Not Found"}
        GET /api/health/checks/port-listener/1
        503 {"missing":1,"ports":[5672],"reason":"No active listener","status":"failed"}
        GET /api/health/checks/protocol-listener/mqtt
        503 {"missing":["mqtt"],"protocols":["amqp"],"reason":"No active listener","status":"failed"}
        POST /api/rebalance/queues
        204
        "#,
    );
}

#[test]
fn alarms_are_unhealthy() {
    let world = World::new();
    let alarm = leveret_broker::alarm::Alarm::Disk;
    world.management.broker.set_alarm(alarm, true);
    world.check(
        r#"
        GET /api/health/checks/local-alarms
        503 {"alarms":[{"node":"rabbit@localhost","resource":"disk"}],"reason":"There are alarms in effect on the node","status":"failed"}
        "#,
    );
}

#[test]
fn numbers_and_their_past() {
    let mut world = World::new();
    world.management.sample(world.now);
    world.check(
        r#"
        PUT /api/queues/%2F/q {}
        201
        "#,
    );
    let publish = r#"POST /api/exchanges/%2F/amq.default/publish {"properties":{},"routing_key":"q","payload":"x","payload_encoding":"string"}"#;
    for _ in 0..3 {
        for _ in 0..10 {
            assert_eq!(world.ask(publish).status, 200);
        }
        world.now = world.now.plus_ms(SAMPLE_PERIOD_MS);
        world.management.sample(world.now);
    }
    let queue = world
        .ask("GET /api/queues/%2F/q?lengths_age=10&lengths_incr=5&columns=messages,messages_details,message_stats.publish_details")
        .json();
    assert_eq!(queue["messages"], 30);
    assert_eq!(queue["messages_details"]["rate"], 2.0);
    assert_eq!(queue["message_stats"]["publish_details"]["rate"], 2.0);
    let overview = world
        .ask("GET /api/overview?lengths_age=10&lengths_incr=5&columns=queue_totals")
        .json();
    let samples = &overview["queue_totals"]["messages_details"]["samples"];
    let counts: Vec<_> = samples
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["sample"])
        .collect();
    assert_eq!(counts, [30, 20, 10]);
}

#[test]
fn memory_and_disk_are_told_apart() {
    let world = World::with(|options| {
        let disk = DiskFigures {
            writes: DiskOperations {
                count: 4,
                bytes: 4096,
                seconds: 0.01,
            },
            ..DiskFigures::default()
        };
        options.host = Box::new(move || Host {
            memory_used: 1_000_000,
            disk,
            ..Host::default()
        });
    });
    world.check(
        r#"
        PUT /api/queues/%2F/c {}
        201
        PUT /api/queues/%2F/q {"arguments":{"x-queue-type":"quorum"}}
        201
        GET /api/nodes/rabbit@localhost?columns=io_write_count,io_write_bytes,io_write_avg_time,io_sync_avg_time
        200 {"io_write_count":4,"io_write_bytes":4096,"io_write_avg_time":2.5,"io_sync_avg_time":0.0}
        "#,
    );
    publish_to(&world, "amq.default", "c");
    for queue in ["c", "q"] {
        (0..2).for_each(|_| publish_to(&world, "amq.default", queue));
    }
    let memory = world.ask("GET /api/nodes/rabbit@localhost/memory").json();
    let part = |name: &str| memory["memory"][name].as_u64().unwrap();
    assert!(part("queue_procs") > part("quorum_queue_procs"));
    assert!(part("quorum_queue_procs") > 0);
    let parts = memory::PARTS.map(part);
    assert_eq!(parts.iter().sum::<u64>(), 1_000_000);
    let queue = world.ask("GET /api/queues/%2F/c?columns=memory").json();
    assert_eq!(queue["memory"], part("queue_procs"));
    let metrics = world.scrape("/metrics/memory-breakdown").body;
    let line = format!(
        "\nrabbitmq_memory_classic_queue_erlang_process_bytes {}\n",
        part("queue_procs")
    );
    assert!(metrics.contains(&line), "{metrics}");
    let metrics = world.scrape("/metrics").body;
    assert!(metrics.contains("\nrabbitmq_io_write_bytes_total 4096\n"));
    assert!(metrics.contains("\nrabbitmq_io_write_time_seconds_total 0.01\n"));
}

#[test]
fn the_head_of_a_queue_says_when_it_was_sent() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/queues/%2F/q {}
        201
        GET /api/queues/%2F/q?columns=head_message_timestamp
        200 {"head_message_timestamp":null}
        POST /api/exchanges/%2F/amq.default/publish {"properties":{"timestamp":1700000000},"routing_key":"q","payload":"x","payload_encoding":"string"}
        200 {"routed":true}
        GET /api/queues/%2F/q?columns=head_message_timestamp
        200 {"head_message_timestamp":1700000000}
        "#,
    );
    let metrics = world.scrape("/metrics/per-object").body;
    let line = "rabbitmq_queue_head_message_timestamp{vhost=\"/\",queue=\"q\"} 1700000000\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn the_oldest_message_of_each_queue_has_an_age() {
    let mut world = World::new();
    for queue in ["a", "b", "c"] {
        let seen = world.ask(&format!("PUT /api/queues/%2F/{queue} {{}}"));
        assert_eq!(seen.status, 201);
    }
    publish_to(&world, "amq.default", "a");
    world.management.sample(world.now);
    world.now = world.now.plus_ms(60_000);
    publish_to(&world, "amq.default", "a");
    publish_to(&world, "amq.default", "b");
    let check = |world: &World, ages: [Option<u64>; 3]| {
        for (queue, age) in ["a", "b", "c"].iter().zip(ages) {
            let path = format!("GET /api/queues/%2F/{queue}?columns=oldest_message_age");
            assert_eq!(
                world.ask(&path).json()["oldest_message_age"],
                serde_json::json!(age)
            );
        }
    };
    check(&world, [Some(60), Some(0), None]);
    world.management.sample(world.now);
    world.now = world.now.plus_ms(1_000);
    check(&world, [Some(61), Some(1), None]);
    world.check(
        r#"
        GET /api/queues?columns=name&sort=oldest_message_age
        200 [{"name":"c"},{"name":"b"},{"name":"a"}]
        GET /api/queues?columns=name&sort=oldest_message_age&sort_reverse=true
        200 [{"name":"a"},{"name":"b"},{"name":"c"}]
        "#,
    );
    let metrics = world.scrape("/metrics").body;
    assert!(
        metrics.contains("\nleveret_queue_oldest_message_age_seconds 61\n"),
        "{metrics}"
    );
    let name = "queue_oldest_message_age_seconds{vhost=\"/\",queue";
    for (path, infix) in [
        ("per-object", ""),
        ("detailed?family=queue_metrics", "detailed_"),
    ] {
        let metrics = world.scrape(&format!("/metrics/{path}")).body;
        for (queue, age) in [("a", 61), ("b", 1), ("c", 0)] {
            let line = format!("\nleveret_{infix}{name}=\"{queue}\"}} {age}\n");
            assert!(metrics.contains(&line), "{line} is not in {metrics}");
        }
    }
    let get = r#"{"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}"#;
    for _ in 0..2 {
        assert_eq!(
            world
                .ask(&format!("POST /api/queues/%2F/a/get {get}"))
                .status,
            200
        );
    }
    check(&world, [None, Some(1), None]);
}

#[test]
fn deprecated_features_are_told_while_they_are_used() {
    let world = World::new();
    world.check(
        r#"
        GET /api/deprecated-features/used?columns=name
        200 []
        PUT /api/queues/%2F/q {"durable":false}
        201
        GET /api/deprecated-features/used?columns=name
        200 [{"name":"transient_nonexcl_queues"}]
        DELETE /api/queues/%2F/q
        204
        GET /api/deprecated-features/used?columns=name
        200 []
        "#,
    );
}

/// However the column is found, it orders as what is shown of it.
#[test]
fn queues_are_sorted_by_what_they_show() {
    let mut world = World::new();
    let queues = [("a", 1), ("b", 3), ("c", 0), ("d", 2)];
    for (queue, _) in queues {
        let seen = world.ask(&format!("PUT /api/queues/%2F/{queue} {{}}"));
        assert_eq!(seen.status, 201);
    }
    // The first look at a queue in use only shows that it is.
    for _ in 0..2 {
        for (queue, messages) in queues {
            (0..messages).for_each(|_| publish_to(&world, "amq.default", queue));
        }
        world.now = world.now.plus_ms(SAMPLE_PERIOD_MS);
        world.management.sample(world.now);
    }
    let check = |sort: &str, expected: &str| {
        let page = world.ask(&format!("GET /api/queues?page=1&page_size=3&sort={sort}"));
        let page = page.json();
        let rows = page["items"].as_array().unwrap().iter();
        let names: String = rows.map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{sort}");
    };
    check("name", "abc");
    check("name&sort_reverse=true", "dcb");
    check("messages", "cad");
    check("messages_ready&sort_reverse=true", "bda");
    check("messages_details.rate&sort_reverse=true", "bda");
    check("message_stats.publish", "cad");
    check(
        "message_stats.publish_details.rate&sort_reverse=true",
        "bda",
    );
    check("message_stats.nothing&sort_reverse=true", "dcb");
    check("message_bytes", "cad");
    check("state&sort_reverse=true", "dcb");
}

/// RabbitMQ's figures are as old, all of them.
#[test]
fn a_long_list_is_ordered_by_figures_of_a_moment_ago() {
    let mut world = World::new();
    let put = |world: &World, queue: &str| {
        let seen = world.ask(&format!("PUT /api/queues/%2F/{queue} {{}}"));
        assert_eq!(seen.status, 201);
    };
    for number in 0..=LONG {
        put(&world, &format!("q{number:04}"));
    }
    let check = |world: &World, expected: [(&str, u64); 2]| {
        let query = "page=1&page_size=2&sort=messages&sort_reverse=true";
        let page = world.ask(&format!("GET /api/queues/%2F?{query}")).json();
        let rows = [0, 1].map(|at| {
            let row = &page["items"][at];
            let name = row["name"].as_str().unwrap().to_owned();
            (name, row["messages"].as_u64().unwrap())
        });
        assert_eq!(rows, expected.map(|(name, count)| (name.to_owned(), count)));
    };
    publish_to(&world, "amq.default", "q0500");
    check(&world, [("q0500", 1), ("q2000", 0)]);
    (0..3).for_each(|_| publish_to(&world, "amq.default", "q0700"));
    publish_to(&world, "amq.default", "q0500");
    check(&world, [("q0500", 2), ("q2000", 0)]);
    world.now = world.now.plus_ms(SAMPLE_PERIOD_MS);
    check(&world, [("q0700", 3), ("q0500", 2)]);
    // What is there is as of now, and so is the order then.
    put(&world, "r");
    check(&world, [("q0700", 3), ("q0500", 2)]);
    assert_eq!(world.ask("DELETE /api/queues/%2F/q0700").status, 204);
    check(&world, [("q0500", 2), ("r", 0)]);
    // One that is short is in the order of this moment, however many queues others have.
    world.check(
        r#"
        PUT /api/vhosts/small {}
        201
        PUT /api/queues/small/a {}
        201
        PUT /api/queues/small/b {}
        201
        GET /api/queues/small?columns=name&sort=messages
        200 [{"name":"a"},{"name":"b"}]
        POST /api/exchanges/small/amq.default/publish {"properties":{},"routing_key":"a","payload":"x","payload_encoding":"string"}
        200 {"routed":true}
        GET /api/queues/small?columns=name&sort=messages
        200 [{"name":"b"},{"name":"a"}]
        "#,
    );
}

fn publish_to(world: &World, exchange: &str, key: &str) {
    let body = format!(
        r#"{{"properties":{{}},"routing_key":"{key}","payload":"x","payload_encoding":"string"}}"#
    );
    let seen = world.ask(&format!(
        "POST /api/exchanges/%2F/{exchange}/publish {body}"
    ));
    assert_eq!(seen.status, 200);
}

#[test]
fn messages_between_objects_are_told_apart_if_that_is_wanted() {
    let options = BrokerOptions {
        rates_mode: RatesMode::Detailed,
        ..BrokerOptions::new(|| 7)
    };
    let mut world = World::on(options, |_| {});
    assert_eq!(world.ask("PUT /api/queues/%2F/q {}").status, 201);
    let mailbox = Arc::default();
    let arrival = Arrival {
        connection: ConnectionId(77),
        user: &world
            .management
            .broker
            .authenticate("guest", "guest", true)
            .unwrap()
            .into(),
        mailbox: &mailbox,
        facts: Facts {
            name: "client".to_owned(),
            ..Facts::default()
        },
        activity: &Arc::default(),
    };
    let broker = world.management.broker.clone();
    let by = broker.connect(arrival, "/").unwrap();
    let mut channel = Channel::open(&broker, 1, by, mailbox).unwrap();
    for _ in 0..3 {
        let mut batch = Batch::default();
        for _ in 0..10 {
            let publish = Publish {
                message: Message::new(b"", b"q", &[0, 0], b"x"),
                mandatory: false,
            };
            channel
                .publish(&broker, publish, world.now, &mut batch)
                .unwrap();
        }
        let mut outbox = Outbox::default();
        broker.commit(&mut batch, world.now, &mut outbox, |_| {});
        channel
            .get(&broker, "q", false, world.now, &mut outbox)
            .unwrap();
        broker.finish(&mut outbox, world.now);
        world.now = world.now.plus_ms(SAMPLE_PERIOD_MS);
        world.management.sample(world.now);
    }
    let published = r#""stats":{"publish":30,"publish_details":{"rate":2.0}"#;
    let got = r#""get_no_ack":3,"get_no_ack_details":{"rate":0.2"#;
    let here = r#""channel_details":{"connection_name":"client","name":"client (1)","node":"rabbit@localhost","number":1,"#;
    let queue = r#""queue":{"name":"q","vhost":"/"}"#;
    let exchange = r#""exchange":{"name":"","vhost":"/"}"#;
    let check = |path: &str, parts: &[&str]| {
        let body = world.ask(&format!("GET /api/{path}")).body;
        for part in parts {
            assert!(body.contains(part), "{path}: {part} is not in {body}");
        }
    };
    check(
        "exchanges/%2F/amq.default?columns=incoming",
        &[published, here],
    );
    check(
        "exchanges/%2F/amq.default?columns=outgoing",
        &[published, queue],
    );
    check("queues/%2F/q?columns=incoming", &[published, exchange]);
    check("queues/%2F/q?columns=deliveries", &[got, here]);
    check(
        "channels/client%20(1)?columns=publishes",
        &[published, exchange],
    );
    check("channels/client%20(1)?columns=deliveries", &[got, queue]);
    check(
        "overview?columns=rates_mode",
        &[r#""rates_mode":"detailed""#],
    );
}

#[test]
fn the_rows_of_a_short_page_have_a_past() {
    let mut world = World::new();
    world.check(
        r#"
        PUT /api/queues/%2F/q {}
        201
        "#,
    );
    let check = |world: &World, query: &str, expected: Option<usize>| {
        let page = world.ask(&format!("GET /api/queues?{query}")).json();
        let rows = page.get("items").unwrap_or(&page);
        let samples = rows[0]["messages_details"]["samples"].as_array();
        assert_eq!(samples.map(Vec::len), expected, "{query}");
    };
    let range = "lengths_age=10&lengths_incr=5";
    let ordered = "page=1&page_size=50&sort=messages_details.rate&columns=name";
    check(&world, &format!("{ordered}&{range}"), None);
    world.management.sample(world.now);
    world.now = world.now.plus_ms(SAMPLE_PERIOD_MS);
    world.management.sample(world.now);
    let short = format!("page=1&page_size=50&{range}");
    // Ordering by a rate does not begin to watch: only what is there now is known.
    check(&world, &short, Some(1));
    for expected in 1..=2 {
        world.now = world.now.plus_ms(SAMPLE_PERIOD_MS);
        world.management.sample(world.now);
        check(&world, &short, Some(expected));
    }
    check(&world, range, None);
    check(&world, &format!("page=1&page_size=101&{range}"), None);
    check(&world, "page=1&page_size=50", None);
}
