//! Metrics.

use super::*;

impl World {
    pub(crate) fn scrape(&self, path: &str) -> Seen {
        let (head, ()) = Request::builder().uri(path).body(()).unwrap().into_parts();
        let (head, body) = self
            .management
            .metrics(&head, self.now)
            .response
            .into_parts();
        let bytes = match body {
            Body::Whole(bytes) => bytes,
            Body::Pieces(pieces) => pieces.flatten().collect(),
            Body::Events => Vec::new(),
        };
        Seen {
            status: head.status.as_u16(),
            headers: head.headers,
            not_before: None,
            body: String::from_utf8(bytes).unwrap(),
        }
    }
}

/// Each family is named once, and each sample belongs to the family above it.
fn check_format(text: &str) {
    let mut families = std::collections::BTreeSet::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            current = rest.split(' ').next().unwrap();
            assert!(families.insert(current), "{current} is there twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = name
                .strip_suffix("_sum")
                .or_else(|| name.strip_suffix("_count"))
                .or_else(|| name.strip_suffix("_bucket"));
            assert!(
                name == current || base == Some(current),
                "{line} under {current}"
            );
            let value = line.rsplit(' ').next().unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn objects_are_summed_or_told_apart() {
    let world = World::new();
    world.check(
        r#"
        PUT /api/queues/%2F/a {}
        201
        PUT /api/queues/%2F/b%22 {}
        201
        POST /api/exchanges/%2F/amq.default/publish {"properties":{},"routing_key":"a","payload":"x","payload_encoding":"string"}
        200 {"routed":true}
        "#,
    );
    let all = world.scrape("/metrics").body;
    check_format(&all);
    assert!(all.contains("\nrabbitmq_queues 2\n"), "{all}");
    assert!(all.contains("\nrabbitmq_queue_messages_ready 1\n"));
    assert!(all.contains("\nrabbitmq_global_messages_received_total{protocol=\"amqp091\"} 1\n"));

    let each = world.scrape("/metrics/per-object").body;
    check_format(&each);
    assert!(each.contains("rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"a\"} 1\n"));
    assert!(each.contains("rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"b\\\"\"} 0\n"));

    let info = r#"queue_info{vhost="/",queue="a",queue_type="rabbit_classic_queue",membership="leader"} 1"#;
    assert!(each.contains(&format!("\nrabbitmq_{info}\n")), "{each}");
    assert!(!all.contains("queue_info"));
    for text in [&all, &each] {
        assert!(text.contains("\nleveret_log_lines_lost_total{output=\"console\"} 3\n"));
    }
    assert!(each.contains("\nrabbitmq_alarms_memory_used_watermark 0\n"));

    for protocol in ["http", "amqp091"] {
        let line = format!("\nrabbitmq_auth_attempts_detailed_total{{protocol=\"{protocol}\"}} ");
        assert!(each.contains(&line), "{protocol}");
    }

    let some = world
        .scrape("/metrics/detailed?family=queue_coarse_metrics&vhost=nowhere")
        .body;
    check_format(&some);
    assert!(some.contains("# TYPE rabbitmq_detailed_queue_messages_ready gauge\n"));
    assert!(!some.contains("rabbitmq_detailed_queue_messages_ready{"));
    assert!(!some.contains("rabbitmq_detailed_queue_consumers"));
    assert!(some.contains("# TYPE rabbitmq_detailed_queue_info gauge\n"));

    check_format(&world.scrape("/metrics/memory-breakdown").body);
    assert_eq!(world.scrape("/elsewhere").status, 404);
}

#[test]
fn sizes_of_published_messages_are_told() {
    let world = World::new();
    assert_eq!(world.ask("PUT /api/queues/%2F/q {}").status, 201);
    for size in [0, 100, 101, 101, 600] {
        let payload = "x".repeat(size);
        let body = format!(
            r#"{{"properties":{{}},"routing_key":"q","payload":"{payload}","payload_encoding":"string"}}"#
        );
        let publish = format!("POST /api/exchanges/%2F/amq.default/publish {body}");
        assert_eq!(world.ask(&publish).status, 200);
    }
    let metrics = world.scrape("/metrics").body;
    let check = |sample: &str| {
        let line = format!("\nrabbitmq_message_size_bytes_{sample}\n");
        assert!(metrics.contains(&line), "{sample} is not in {metrics}");
    };
    check(r#"bucket{protocol="amqp091",le="100"} 2"#);
    check(r#"bucket{protocol="amqp091",le="1000"} 5"#);
    check(r#"bucket{protocol="amqp091",le="+Inf"} 5"#);
    check(r#"count{protocol="amqp091"} 5"#);
    check(r#"sum{protocol="amqp091"} 902"#);
    world.check(
        r#"
        GET /api/leveret/message-sizes
        200 {"items":[{"bytes_max":100,"messages":2},{"bytes_max":1000,"messages":3},{"bytes_max":10000,"messages":0},...
        "#,
    );
}

#[test]
fn many_objects_come_in_pieces() {
    let world = World::new();
    for number in 0..2500 {
        let seen = world.ask(&format!("PUT /api/queues/%2F/q{number} {{}}"));
        assert_eq!(seen.status, 201);
    }
    let each = world.scrape("/metrics/per-object").body;
    check_format(&each);
    let samples = each.matches("\nrabbitmq_queue_messages_ready{").count();
    assert_eq!(samples, 2500);
}

#[test]
fn shovels_are_counted_by_state() {
    let check = |states: &[ShovelState], expected: &str| {
        let still = operations::Still::with_shovels(states);
        let world = World::with(|options| options.operations = Box::new(still));
        let text = world.scrape("/metrics").body;
        check_format(&text);
        let samples: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("rabbitmq_shovel"))
            .collect();
        assert_eq!(samples.join("\n"), expected);
        assert!(text.contains("# TYPE rabbitmq_shovel_dynamic gauge\n"));
        assert!(text.contains("# TYPE rabbitmq_shovel_static gauge\n"));
    };
    check(&[], "");
    let running = || ShovelState::Running(Box::default());
    let terminated = ShovelState::Terminated {
        reason: "\"gone\"".to_owned(),
    };
    check(
        &[ShovelState::Starting, running(), terminated, running()],
        "rabbitmq_shovel_dynamic{status=\"running\"} 2\n\
         rabbitmq_shovel_dynamic{status=\"starting\"} 1\n\
         rabbitmq_shovel_dynamic{status=\"terminated\"} 1",
    );
}
